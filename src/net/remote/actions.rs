//! Actions on a pipeline, with verification: baseline, send, watch, result. An action is recorded
//! before it is sent; an ambiguous request is never repeated blindly.

use super::client::{Ask, Capabilities, Client, ClientError};
use super::state_db::{Intent, StateDb};
use super::untracked_runs;
use super::watch::Watcher;
use crate::net::sqlite::StoreError;
use crate::net::{jitter, now, random_id};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::backoff::Backoff;
use synctop_core::fleet::bulk::{Bulk, BulkStep};
use synctop_core::fleet::verify::{ActionResult, Baseline, PipelineAction, Watch};
use synctop_core::fleet::{Pipeline, PipelineFault};
use synctop_core::protocol::Millis;
use tokio::sync::watch;

/// Maximum time until an action shows an effect.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polling interval of a pipeline while its result is open; longer for a service that returns its
/// whole state.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_WHOLE: Duration = Duration::from_secs(2);

/// Executor of actions: user, service, action log.
#[derive(Clone)]
pub struct Actor {
    pub client: Arc<Client>,
    pub memory: Arc<StateDb>,
    /// Watcher to notify at once.
    pub watcher: Option<Arc<Watcher>>,
    pub who: String,
    pub patience: Duration,
}

/// Stage of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionStage {
    /// As it was before.
    Baseline(String),
    /// It was sent, and not answered; why.
    MaybeSent(String),
    Accepted(String),
}

/// Result of sending.
enum Sent {
    /// The pipeline as the service answered, if it did.
    Accepted(Option<Value>),
    Refused(ClientError),
    /// It may have been applied: ambiguous.
    Unknown(ClientError),
}

fn refused(trouble: &ClientError) -> ActionResult {
    ActionResult::Refused(trouble.words(), trouble.class())
}

impl Actor {
    /// Executes the action and returns its result. `tell` receives its stages.
    pub async fn act(
        &self,
        action: PipelineAction,
        id: &str,
        why: Option<&str>,
        mut tell: impl FnMut(ActionStage),
    ) -> ActionResult {
        let capabilities = match self.client.capabilities().await {
            Ok(capabilities) => capabilities,
            Err(trouble) => return refused(&trouble),
        };
        let told = match self.baseline(id).await {
            Ok(told) => told,
            Err(trouble) => return refused(&trouble),
        };
        let before = match Pipeline::read(told, now(), None) {
            Ok(before) => before,
            Err(why) => return refused(&ClientError::Odd(why)),
        };
        let mark = Baseline::of(&before);
        tell(ActionStage::Baseline(mark.words()));
        let intent = Intent {
            id: random_id("intent"),
            who: self.who.clone(),
            action: action.as_str().into(),
            pipeline: id.to_owned(),
            why: why.map(str::to_owned),
            before: mark.words(),
        };
        // An action that cannot be recorded is not executed: its author would be unknown.
        let noting = intent.clone();
        if let Err(why) = self.note(move |memory| memory.intend(&noting)).await {
            return ActionResult::Refused(format!("it cannot be noted who does it: {why}"), ResultClass::Output);
        }
        let (verdict, after) = self.carry_out(action, &intent, &before, mark, capabilities, &mut tell).await;
        let (word, sentence) = (verdict.as_str(), verdict.to_string());
        if let Err(why) = self.note(move |memory| memory.came_of(&intent, &after, word, &sentence)).await {
            tracing::warn!(target: "synctop::memory", "{why}");
        }
        verdict
    }

    /// Writes into the action log and shows it, on a blocking thread: another process may hold the
    /// file for seconds.
    async fn note(
        &self,
        write: impl FnOnce(&StateDb) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), String> {
        let (memory, watcher) = (Arc::clone(&self.memory), self.watcher.clone());
        let noted = tokio::task::spawn_blocking(move || {
            let written = write(&memory);
            if let Some(watcher) = &watcher {
                watcher.read_deeds();
            }
            written.map_err(|error| error.to_string())
        });
        noted.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Passes a fresh state to the watcher.
    async fn show(&self, told: Value) {
        if let Some(watcher) = &self.watcher {
            watcher.beside(|watcher| watcher.take_one(told)).await;
        }
    }

    async fn baseline(&self, id: &str) -> Result<Value, ClientError> {
        let begun = Instant::now();
        let mut pace = Backoff::default();
        loop {
            let trouble = match self.client.pipeline(id, true).await {
                Ok(told) => return Ok(told),
                Err(trouble) => trouble,
            };
            // A request made now is not wanted in an hour.
            let left = (self.patience / 2).saturating_sub(begun.elapsed());
            let asked = trouble.retry_after().unwrap_or_default();
            if !trouble.is_retryable() || left.is_zero() || asked > left {
                return Err(trouble);
            }
            tokio::time::sleep(pace.wait(trouble.retry_after(), Some(left), jitter())).await;
        }
    }

    /// The verdict, and how the pipeline was then.
    async fn carry_out(
        &self,
        action: PipelineAction,
        intent: &Intent,
        before: &Pipeline,
        mark: Baseline,
        capabilities: Capabilities,
        tell: &mut impl FnMut(ActionStage),
    ) -> (ActionResult, String) {
        let id = &intent.pipeline;
        if matches!(action, PipelineAction::Sync | PipelineAction::Retry) && !capabilities.tasks {
            return self.call(action, id, tell).await;
        }
        let accepted = match self.send(action, intent, before, tell).await {
            Sent::Accepted(told) => told,
            Sent::Refused(trouble) => return (refused(&trouble), mark.words()),
            Sent::Unknown(trouble) => {
                let why =
                    format!("it may have been applied, and the service does not confirm it: it {}", trouble.words());
                return (ActionResult::Unknown(why), mark.words());
            }
        };
        let accepted = match accepted {
            Some(told) => {
                let read = Pipeline::read(told.clone(), now(), Some(before)).ok();
                self.show(told).await;
                read
            }
            None => None,
        };
        tell(ActionStage::Accepted(accepted.as_ref().map_or_else(String::new, |it| Baseline::of(it).words())));
        if let Some(watcher) =
            self.watcher.as_ref().filter(|_| !matches!(action, PipelineAction::Pause | PipelineAction::Delete))
        {
            watcher.sent(id, action.as_str());
        }
        // From now on it is to be seen; however long it took to be accepted.
        let sent_at = now();
        let patience = Millis::try_from(self.patience.as_millis()).unwrap_or(Millis::MAX / 2);
        let mut watch = Watch::new(action, mark.clone(), accepted.as_ref(), sent_at, patience);
        let mut latest = accepted.unwrap_or_else(|| before.clone());
        let look = if capabilities.pages { LOOK } else { LOOK_WHOLE };
        let mut pace = Backoff::default();
        loop {
            let wait = match self.client.pipeline(id, false).await {
                Ok(told) => match Pipeline::read(told.clone(), now(), Some(&latest)) {
                    Ok(seen) => {
                        self.show(told).await;
                        latest = seen;
                        pace.reset();
                        if let Some(verdict) = watch.see(Some(&latest), now()) {
                            return (verdict, Baseline::of(&latest).words());
                        }
                        look
                    }
                    Err(why) => match watch.blind(&why, now()) {
                        Some(verdict) => return (verdict, Baseline::of(&latest).words()),
                        None => look,
                    },
                },
                Err(trouble) if trouble.absent() => {
                    if let Some(watcher) = &self.watcher {
                        watcher.remove(id);
                    }
                    let verdict = watch.see(None, now());
                    return (verdict.unwrap_or(ActionResult::Unknown("it is gone".into())), "gone".into());
                }
                // A broken connection is no result.
                Err(trouble) => match watch.blind(&trouble.words(), now()) {
                    Some(verdict) => return (verdict, Baseline::of(&latest).words()),
                    None => pace.wait(trouble.retry_after(), Some(self.patience), jitter()),
                },
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends it once; or again, where that can do no harm.
    async fn send(
        &self,
        action: PipelineAction,
        intent: &Intent,
        before: &Pipeline,
        tell: &mut impl FnMut(ActionStage),
    ) -> Sent {
        let id = intent.pipeline.as_str();
        let (begun, mark) = (Instant::now(), Baseline::of(before));
        let mut pace = Backoff::default();
        // One that has a key is the same however often it is sent.
        let keyed = matches!(action, PipelineAction::Sync | PipelineAction::Retry);
        let mut maybe_sent = false;
        let mut revision = before.revision;
        loop {
            let trouble = match self.client.ask(request(action, intent, revision)).await {
                Ok(reply) => {
                    let whole = reply.get("status").is_some() && reply.get("id").is_some();
                    return Sent::Accepted(Some(reply).filter(|_| whole));
                }
                Err(trouble) => trouble,
            };
            // It changed or is gone: by the earlier request, or by another client.
            let changed = matches!(trouble, ClientError::Refused { status: 412, .. });
            if !keyed && (changed || (maybe_sent && trouble.absent())) {
                match self.client.pipeline(id, true).await {
                    Ok(told) => match Pipeline::read(told.clone(), now(), Some(before)) {
                        Ok(seen) if mark.done(action, &seen) => return Sent::Accepted(Some(told)),
                        // Another part changed, such as its run: the baseline still holds.
                        Ok(seen)
                            if seen.desired == before.desired
                                && seen.status == before.status
                                && seen.revision != revision
                                && begun.elapsed() < self.patience =>
                        {
                            revision = seen.revision;
                            continue;
                        }
                        _ => {}
                    },
                    Err(gone) if gone.absent() && action == PipelineAction::Delete => return Sent::Accepted(None),
                    Err(_) => {}
                }
                return if maybe_sent { Sent::Unknown(trouble) } else { Sent::Refused(trouble) };
            }
            if !trouble.is_retryable() {
                return Sent::Refused(trouble);
            }
            maybe_sent |= trouble.may_have_been_applied();
            let left = self.patience.saturating_sub(begun.elapsed());
            if left.is_zero() || trouble.retry_after().is_some_and(|asked| asked > left) {
                return if maybe_sent { Sent::Unknown(trouble) } else { Sent::Refused(trouble) };
            }
            tell(ActionStage::MaybeSent(trouble.words()));
            tokio::time::sleep(pace.wait(trouble.retry_after(), Some(left), jitter())).await;
            if keyed || !maybe_sent {
                continue;
            }
            // It is looked at first whether it was done.
            match self.client.pipeline(id, true).await {
                Ok(told) => {
                    let seen = Pipeline::read(told.clone(), now(), Some(before));
                    if seen.is_ok_and(|seen| mark.done(action, &seen)) {
                        return Sent::Accepted(Some(told));
                    }
                }
                Err(gone) if gone.absent() && action == PipelineAction::Delete => return Sent::Accepted(None),
                Err(trouble) if !trouble.is_retryable() => return Sent::Refused(trouble),
                Err(_) => {}
            }
        }
    }

    /// A run of a service that has no tasks: it lasts as long as its answer.
    async fn call(
        &self,
        action: PipelineAction,
        id: &str,
        tell: &mut impl FnMut(ActionStage),
    ) -> (ActionResult, String) {
        tell(ActionStage::Accepted("called; it lasts as long as its answer".into()));
        let fresh_run = action == PipelineAction::Retry;
        let begun = now();
        let called = untracked_runs::until_over(&self.client, id, fresh_run, None, &mut |_| {}).await;
        if let Some(watcher) = &self.watcher {
            watcher.look_now();
        }
        match called {
            Ok(progress) => {
                let outcome = synctop_core::reduce::outcome(&progress);
                let words = synctop_core::report::verdict(&progress);
                let first = synctop_core::reduce::standing(&progress).first().map(|group| PipelineFault {
                    fingerprint: format!("{:016x}", group.fingerprint).into(),
                    message: Arc::clone(&group.message),
                    failure_type: group.failure_type.clone(),
                    streams: group.streams().cloned().collect(),
                    next: Some(synctop_core::report::verdict_remedy(&progress, group).into()),
                    since: None,
                });
                let took = now() - begun;
                let verdict = match (outcome.class(), first) {
                    (ResultClass::Done, _) => ActionResult::TookEffect(words.headline.clone()),
                    (ResultClass::Failed, Some(fault)) => ActionResult::RanAndFailed(fault, took),
                    _ => ActionResult::Unknown(words.headline.clone()),
                };
                (verdict, words.headline)
            }
            Err(trouble) if trouble.may_have_been_applied() => (ActionResult::Unknown(trouble.words()), String::new()),
            Err(trouble) => (refused(&trouble), String::new()),
        }
    }
}

fn request(action: PipelineAction, intent: &Intent, revision: Option<u64>) -> Ask {
    let own = &["pipelines", intent.pipeline.as_str()];
    let want = |desired: &str| {
        let mut ask = Ask::of(Method::PATCH, own);
        ask.body = Some(json!({"desired_status": desired}));
        // Only if it is unchanged since the baseline.
        match revision {
            Some(revision) => ask.header("if-match", format!("\"{revision}\"")),
            None => ask,
        }
    };
    match action {
        PipelineAction::Resume => want("active"),
        PipelineAction::Pause => want("paused"),
        PipelineAction::Delete => Ask::of(Method::DELETE, own),
        PipelineAction::Sync | PipelineAction::Retry => {
            let mut ask = Ask::of(Method::POST, &["pipelines", &intent.pipeline, "runs"]);
            ask.body = Some(json!({}));
            ask.header("idempotency-key", &intent.id)
        }
    }
}

/// Executes the action on several pipelines in the order of [`Bulk`]; `seen` receives the state.
/// Ends when every result is known or the rest skipped; `until`: sends no more.
pub async fn act_on_many(
    actor: Actor,
    bulk: Bulk,
    why: Option<String>,
    seen: watch::Sender<Bulk>,
    stop: watch::Receiver<bool>,
    until: Option<Instant>,
) -> Bulk {
    let mut bulk = bulk;
    let mut running = tokio::task::JoinSet::new();
    let mut stop = stop;
    let mut stoppable = true;
    loop {
        if *stop.borrow_and_update() {
            bulk.stop("stopped by hand");
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            bulk.stop("not armed any more: ten minutes are over");
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
                    // A bug of ours: no result is reported, and nothing more is done.
                    running.abort_all();
                    bulk.stop("synctop lost sight of one of them");
                    let lost = |item: &synctop_core::fleet::bulk::BulkItem| matches!(item.step, BulkStep::Sent(_));
                    while let Some(place) = bulk.items.iter().position(lost) {
                        bulk.done(place, ActionResult::Unknown("synctop lost sight of it".into()));
                    }
                }
            }
            changed = stop.changed(), if stoppable => stoppable = changed.is_ok(),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}
