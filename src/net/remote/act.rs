//! Doing something to a pipeline, and finding out whether it helped: baseline, send, watch, verdict. What is about to be done is noted
//! before it is sent; what may have been sent is never sent again blindly.

use super::calls;
use super::client::{Ask, Client, Talks, Trouble};
use super::memory::{Intent, Memory};
use super::watch::Watcher;
use crate::fleet::bulk::{Bulk, Step};
use crate::fleet::verify::{Action, Mark, Verdict, Watch};
use crate::fleet::{Pace, Pipeline};
use crate::net::{dice, fresh, now};
use crate::protocol::Millis;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long it may take until anything is seen of what was asked.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a pipeline is looked at while its verdict is open; of a service that has to give all of its state, rarer.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_WHOLE: Duration = Duration::from_secs(2);

/// Who acts, on which service, and where that is noted.
#[derive(Clone)]
pub struct Actor {
    pub client: Arc<Client>,
    pub memory: Option<Arc<Memory>>,
    /// Who shows the pipelines hears of it at once.
    pub watcher: Option<Arc<Watcher>>,
    pub who: String,
    pub patience: Duration,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// As it was before.
    Baseline(String),
    /// It was sent, and not answered; why.
    MaybeSent(String),
    Accepted(String),
}

/// What came of sending.
enum Sent {
    /// The pipeline as the service answered, if it did.
    Accepted(Option<Value>),
    Refused(Trouble),
}

impl Actor {
    /// Does it, and says what came of it. `tell` hears how far it is.
    pub async fn act(&self, action: Action, id: &str, why: Option<&str>, mut tell: impl FnMut(Stage)) -> Verdict {
        let talks = match self.client.talks().await {
            Ok(talks) => talks,
            Err(trouble) => return Verdict::Refused(trouble.words()),
        };
        let told = match self.baseline(id).await {
            Ok(told) => told,
            Err(trouble) => return Verdict::Refused(trouble.words()),
        };
        let before = match Pipeline::read(told, now(), None) {
            Ok(before) => before,
            Err(why) => return Verdict::Refused(why),
        };
        let mark = Mark::of(&before);
        tell(Stage::Baseline(mark.words()));
        let intent = Intent {
            id: fresh("intent"),
            who: self.who.clone(),
            action: action.word().into(),
            pipeline: id.to_owned(),
            why: why.map(str::to_owned),
            before: mark.words(),
        };
        // What cannot be noted is not done: nobody could say later who did it.
        if let Some(Err(error)) = self.memory.as_ref().map(|memory| memory.intend(&intent)) {
            return Verdict::Refused(format!("it cannot be noted who does it: {error}"));
        }
        self.noted();
        let (verdict, after) = self.carry_out(action, &intent, &before, mark, talks, &mut tell).await;
        if let Some(memory) = &self.memory
            && let Err(error) = memory.came_of(&intent, &after, verdict.word(), &verdict.sentence())
        {
            tracing::warn!(target: "synctop::memory", "{error}");
        }
        self.noted();
        verdict
    }

    fn noted(&self) {
        if let Some(watcher) = &self.watcher {
            watcher.read_deeds();
        }
    }

    async fn baseline(&self, id: &str) -> Result<Value, Trouble> {
        let begun = Instant::now();
        let mut pace = Pace::default();
        loop {
            match self.client.pipeline(id, true).await {
                Err(trouble) if trouble.passes() && begun.elapsed() < self.patience / 2 => {
                    tokio::time::sleep(pace.wait(trouble.retry_after(), None, dice())).await;
                }
                other => return other,
            }
        }
    }

    /// The verdict, and how the pipeline was then.
    async fn carry_out(
        &self,
        action: Action,
        intent: &Intent,
        before: &Pipeline,
        mark: Mark,
        talks: Talks,
        tell: &mut impl FnMut(Stage),
    ) -> (Verdict, String) {
        let id = &intent.pipeline;
        let sent_at = now();
        if matches!(action, Action::Sync | Action::Retry) && !talks.tasks {
            return self.call(action, id, tell).await;
        }
        let accepted = match self.send(action, intent, before, tell).await {
            Sent::Accepted(told) => told,
            Sent::Refused(trouble) => return (Verdict::Refused(trouble.words()), mark.words()),
        };
        let accepted = accepted.and_then(|told| {
            let read = Pipeline::read(told.clone(), now(), Some(before)).ok();
            if let Some(watcher) = self.watcher.as_ref().filter(|_| read.is_some()) {
                watcher.take_one(told);
            }
            read
        });
        tell(Stage::Accepted(accepted.as_ref().map_or_else(String::new, |it| Mark::of(it).words())));
        if let Some(watcher) = &self.watcher {
            watcher.sent(id, action.word());
        }
        let patience = Millis::try_from(self.patience.as_millis()).unwrap_or(Millis::MAX / 2);
        let mut watch = Watch::new(action, mark.clone(), accepted.as_ref(), sent_at, patience);
        let mut latest = accepted.unwrap_or_else(|| before.clone());
        let look = if talks.pages { LOOK } else { LOOK_WHOLE };
        let mut pace = Pace::default();
        loop {
            let wait = match self.client.pipeline(id, true).await {
                Ok(told) => match Pipeline::read(told.clone(), now(), Some(&latest)) {
                    Ok(seen) => {
                        if let Some(watcher) = &self.watcher {
                            watcher.take_one(told);
                        }
                        latest = seen;
                        pace.reset();
                        if let Some(verdict) = watch.see(Some(&latest), now()) {
                            return (verdict, Mark::of(&latest).words());
                        }
                        look
                    }
                    Err(why) => match watch.blind(&why, now()) {
                        Some(verdict) => return (verdict, Mark::of(&latest).words()),
                        None => look,
                    },
                },
                Err(trouble) if trouble.absent() => {
                    if let Some(watcher) = &self.watcher {
                        watcher.remove(id);
                    }
                    let verdict = watch.see(None, now());
                    return (verdict.unwrap_or(Verdict::Unknown("it is gone".into())), "gone".into());
                }
                // A broken connection is no result.
                Err(trouble) => match watch.blind(&trouble.words(), now()) {
                    Some(verdict) => return (verdict, Mark::of(&latest).words()),
                    None => pace.wait(trouble.retry_after(), Some(self.patience), dice()),
                },
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends it once; or again, where that can do no harm.
    async fn send(&self, action: Action, intent: &Intent, before: &Pipeline, tell: &mut impl FnMut(Stage)) -> Sent {
        let id = intent.pipeline.as_str();
        let begun = Instant::now();
        let mut pace = Pace::default();
        loop {
            let trouble = match self.client.ask(request(action, intent, before)).await {
                Ok(reply) => {
                    return Sent::Accepted(
                        Some(reply.json).filter(|json| json.get("status").is_some() && json.get("id").is_some()),
                    );
                }
                Err(trouble) => trouble,
            };
            if !trouble.passes() || begun.elapsed() >= self.patience {
                return Sent::Refused(trouble);
            }
            tell(Stage::MaybeSent(trouble.words()));
            tokio::time::sleep(pace.wait(trouble.retry_after(), Some(self.patience), dice())).await;
            // One that has a key is the same however often it is sent; of all others it is looked at first whether it was done.
            let keyed = matches!(action, Action::Sync | Action::Retry);
            if keyed || !trouble.maybe_done() {
                continue;
            }
            match self.client.pipeline(id, true).await {
                Ok(told) => {
                    let seen = Pipeline::read(told.clone(), now(), Some(before));
                    if seen.is_ok_and(|seen| Mark::of(&seen) != Mark::of(before)) {
                        return Sent::Accepted(Some(told));
                    }
                }
                Err(trouble) if trouble.absent() && action == Action::Delete => return Sent::Accepted(None),
                Err(trouble) if !trouble.passes() => return Sent::Refused(trouble),
                Err(_) => {}
            }
        }
    }

    /// A run of a service that has no tasks: it lasts as long as its answer.
    async fn call(&self, action: Action, id: &str, tell: &mut impl FnMut(Stage)) -> (Verdict, String) {
        tell(Stage::Accepted("called; it lasts as long as its answer".into()));
        let fresh_run = action == Action::Retry;
        let called = calls::until_over(&self.client, id, fresh_run, None, &mut |_| {}).await;
        if let Some(watcher) = &self.watcher {
            watcher.look_now();
        }
        match called {
            Ok(progress) => {
                let outcome = crate::progress::outcome(&progress);
                let words = crate::progress::verdict(&progress);
                let verdict = match outcome.exit_code() {
                    0 => Verdict::TookEffect(words.headline.clone()),
                    1 => Verdict::NothingRan(words.why.unwrap_or(words.headline.clone())),
                    _ => Verdict::Unknown(words.headline.clone()),
                };
                (verdict, words.headline)
            }
            Err(trouble) if trouble.maybe_done() => (Verdict::Unknown(trouble.words()), String::new()),
            Err(trouble) => (Verdict::Refused(trouble.words()), String::new()),
        }
    }
}

fn request(action: Action, intent: &Intent, before: &Pipeline) -> Ask {
    let own = &["pipelines", intent.pipeline.as_str()];
    let want = |desired: &str| {
        let mut ask = Ask::of(Method::PATCH, own);
        ask.body = Some(json!({"desired_status": desired}));
        // Only if it is still what was looked at.
        match before.revision {
            Some(revision) => ask.header("if-match", format!("\"{revision}\"")),
            None => ask,
        }
    };
    match action {
        Action::Resume => want("active"),
        Action::Pause => want("paused"),
        Action::Delete => Ask::of(Method::DELETE, own),
        Action::Sync | Action::Retry => {
            let mut ask = Ask::of(Method::POST, &["pipelines", &intent.pipeline, "runs"]);
            ask.body = Some(json!({}));
            ask.header("idempotency-key", &intent.id)
        }
    }
}

/// Does it to many, as [`Bulk`] says; `seen` shows how far it is. Ends when all is told, or held back.
pub async fn act_on_many(
    actor: Actor,
    bulk: Bulk,
    why: Option<String>,
    seen: watch::Sender<Bulk>,
    stop: watch::Receiver<bool>,
) -> Bulk {
    let mut bulk = bulk;
    let mut running = tokio::task::JoinSet::new();
    let mut stop = stop;
    let mut stoppable = true;
    loop {
        if *stop.borrow_and_update() {
            bulk.stop("stopped by hand");
        }
        for place in bulk.next(now()) {
            let Some(item) = bulk.items.get(place) else { continue };
            let (actor, id, why, action) = (actor.clone(), Arc::clone(&item.id), why.clone(), bulk.action);
            running.spawn(async move { (place, actor.act(action, &id, why.as_deref(), |_| {}).await) });
        }
        seen.send_replace(bulk.clone());
        if bulk.over() {
            return bulk;
        }
        tokio::select! {
            Some(done) = running.join_next() => {
                if let Ok((place, verdict)) = done {
                    bulk.done(place, verdict);
                } else {
                    // A mistake of ours: nothing is said of it, and nothing more is done.
                    let lost = |item: &crate::fleet::bulk::Item| matches!(item.step, Step::Sent(_));
                    if let Some(place) = bulk.items.iter().position(lost) {
                        bulk.done(place, Verdict::Unknown("synctop lost sight of it".into()));
                    }
                    bulk.stop("synctop lost sight of one of them");
                }
            }
            changed = stop.changed(), if stoppable => stoppable = changed.is_ok(),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}
