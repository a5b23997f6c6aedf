//! Actions on a pipeline, with verification: baseline, send, watch, result. An action is recorded
//! before it is sent; an ambiguous request is never repeated blindly.

use crate::net::client::http::{Capabilities, Client, ClientError, ServiceRequest};
use crate::net::client::poller::Watcher;
use crate::net::client::state_db::{Intent, StateDb};
use crate::net::client::untracked_runs;
use crate::util::sqlite::StoreError;
use crate::util::sys::{jitter, now, random_id};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::backoff::Backoff;
use synctop_core::fleet::DesiredStatus;
use synctop_core::fleet::bulk::{Bulk, BulkStep};
use synctop_core::fleet::requests::{StartRun, UpdatePipeline};
use synctop_core::fleet::verify::{ActionResult, ActionWatch, Baseline, PipelineAction};
use synctop_core::fleet::{Pipeline, PipelineFault};
use synctop_core::protocol::{Millis, mask};
use synctop_core::report::{Advice, Audience};
use tokio::sync::watch;

/// Default maximum time until an action shows an effect.
pub const EFFECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Polling interval of a pipeline until its result is known.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The same for a service that always returns the whole state, which is larger.
const POLL_INTERVAL_WHOLE: Duration = Duration::from_secs(2);

/// Executor of actions: service, action log and acting user.
#[derive(Clone)]
pub struct Actor {
    pub client: Arc<Client>,
    pub memory: Arc<StateDb>,
    /// Watcher that receives each fresh state at once.
    pub watcher: Option<Arc<Watcher>>,
    pub who: String,
    pub patience: Duration,
}

/// Stage of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionStage {
    /// State before the action.
    Baseline(String),
    /// Reason that a request has no answer yet; it is retried.
    MaybeSent(String),
    /// State as the service answered; may be empty.
    Accepted(String),
}

/// Action log that cannot be written.
#[derive(Debug, thiserror::Error)]
enum NoteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Panicked(#[from] tokio::task::JoinError),
}

/// Result of sending.
enum Sent {
    /// Accepted, with the pipeline if the answer contains it.
    Accepted(Option<Value>),
    Refused(ClientError),
    /// Ambiguous: the action may have been applied.
    Unknown(ClientError),
}

fn refused(client_error: &ClientError) -> ActionResult {
    ActionResult::Refused(client_error.to_string(), client_error.class())
}

impl Actor {
    /// Executes the action, verifies its effect and returns the result. `emit` receives the stages.
    pub async fn act(
        &self,
        action: PipelineAction,
        id: &str,
        why: Option<&str>,
        mut emit: impl FnMut(ActionStage),
    ) -> ActionResult {
        let capabilities = match self.client.capabilities().await {
            Ok(capabilities) => capabilities,
            Err(client_error) => return refused(&client_error),
        };
        let told = match self.baseline(id).await {
            Ok(told) => told,
            Err(client_error) => return refused(&client_error),
        };
        let before = match Pipeline::read(told, now(), None) {
            Ok(before) => before,
            Err(why) => return refused(&ClientError::Odd(why.to_string())),
        };
        let mark = Baseline::of(&before);
        emit(ActionStage::Baseline(mark.to_string()));
        let intent = Intent {
            id: random_id("intent"),
            who: self.who.clone(),
            action: action.as_str().into(),
            pipeline: id.to_owned(),
            why: why.map(|why| mask::secrets(why).into_owned()),
            before: mark.to_string(),
        };
        // An action that cannot be recorded is not executed: its author would be unknown.
        let noting = intent.clone();
        if let Err(why) = self.note(move |memory| memory.record_intent(&noting)).await {
            return ActionResult::Refused(
                format!("it was not sent, because the action log cannot be written: {why}"),
                ResultClass::Output,
            );
        }
        let (verdict, after) = self.send_and_watch(action, &intent, &before, mark, capabilities, &mut emit).await;
        let (word, sentence) = (verdict.as_str(), verdict.to_string());
        if let Err(why) = self.note(move |memory| memory.record_result(&intent, &after, word, &sentence)).await {
            tracing::warn!(target: "synctop::memory", "{why}");
        }
        verdict
    }

    /// Writes into the action log and updates the watcher, on a blocking thread: another process
    /// may lock the file for seconds.
    async fn note(
        &self,
        write: impl FnOnce(&StateDb) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), NoteError> {
        let (memory, watcher) = (Arc::clone(&self.memory), self.watcher.clone());
        let noted = tokio::task::spawn_blocking(move || {
            let written = write(&memory);
            if let Some(watcher) = &watcher {
                watcher.read_actions();
            }
            written
        });
        Ok(noted.await??)
    }

    /// Passes a fresh state to the watcher.
    async fn show(&self, told: Value) {
        if let Some(watcher) = &self.watcher {
            watcher.run_blocking(|watcher| watcher.take_one(told)).await;
        }
    }

    /// Reads the pipeline before the action; retries for half of the patience.
    async fn baseline(&self, id: &str) -> Result<Value, ClientError> {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let client_error = match self.client.pipeline(id, true).await {
                Ok(told) => return Ok(told),
                Err(client_error) => client_error,
            };
            // Give up instead of waiting long: the user expects the action now.
            let left = (self.patience / 2).saturating_sub(started.elapsed());
            let asked = client_error.retry_after().unwrap_or_default();
            if !client_error.is_retryable() || left.is_zero() || asked > left {
                return Err(client_error);
            }
            tokio::time::sleep(backoff.wait(client_error.retry_after(), Some(left), jitter())).await;
        }
    }

    /// Sends the action and watches its effect. Returns the result and the last state as text.
    async fn send_and_watch(
        &self,
        action: PipelineAction,
        intent: &Intent,
        before: &Pipeline,
        mark: Baseline,
        capabilities: Capabilities,
        emit: &mut impl FnMut(ActionStage),
    ) -> (ActionResult, String) {
        let id = &intent.pipeline;
        if matches!(action, PipelineAction::Sync | PipelineAction::Retry) && !capabilities.tasks {
            return self.call(action, id, emit).await;
        }
        let accepted = match self.send(action, intent, before, emit).await {
            Sent::Accepted(told) => told,
            Sent::Refused(client_error) => return (refused(&client_error), mark.to_string()),
            Sent::Unknown(client_error) => {
                let why = format!("it may have been applied, and the service does not confirm it: it {client_error}");
                return (ActionResult::Unknown(why), mark.to_string());
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
        emit(ActionStage::Accepted(accepted.as_ref().map_or_else(String::new, |it| Baseline::of(it).to_string())));
        if let Some(watcher) =
            self.watcher.as_ref().filter(|_| !matches!(action, PipelineAction::Pause | PipelineAction::Delete))
        {
            watcher.sent(id, action.as_str());
        }
        // The patience for the effect starts when the service has accepted the action.
        let sent_at = now();
        let patience = Millis::try_from(self.patience.as_millis()).unwrap_or(Millis::MAX / 2);
        let mut watch = ActionWatch::new(action, mark.clone(), accepted.as_ref(), sent_at, patience);
        let mut latest = accepted.unwrap_or_else(|| before.clone());
        let look = if capabilities.pages { POLL_INTERVAL } else { POLL_INTERVAL_WHOLE };
        let mut backoff = Backoff::default();
        loop {
            let wait = match self.client.pipeline(id, false).await {
                Ok(told) => match Pipeline::read(told.clone(), now(), Some(&latest)) {
                    Ok(seen) => {
                        self.show(told).await;
                        latest = seen;
                        backoff.reset();
                        if let Some(verdict) = watch.see(Some(&latest), now()) {
                            return (verdict, Baseline::of(&latest).to_string());
                        }
                        look
                    }
                    Err(why) => match watch.observation_lost(&why.to_string(), now()) {
                        Some(verdict) => return (verdict, Baseline::of(&latest).to_string()),
                        None => look,
                    },
                },
                Err(client_error) if client_error.absent() => {
                    if let Some(watcher) = &self.watcher {
                        watcher.remove(id);
                    }
                    let verdict = watch.see(None, now());
                    return (
                        verdict.unwrap_or(ActionResult::Unknown("the pipeline was deleted".into())),
                        "gone".into(),
                    );
                }
                // A failed request says nothing about the action: keep watching.
                Err(client_error) => match watch.observation_lost(&client_error.to_string(), now()) {
                    Some(verdict) => return (verdict, Baseline::of(&latest).to_string()),
                    None => backoff.wait(client_error.retry_after(), Some(self.patience), jitter()),
                },
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends the action. Repeats the request only if it has an idempotency key or was not applied.
    async fn send(
        &self,
        action: PipelineAction,
        intent: &Intent,
        before: &Pipeline,
        emit: &mut impl FnMut(ActionStage),
    ) -> Sent {
        let id = intent.pipeline.as_str();
        let (started, mark) = (Instant::now(), Baseline::of(before));
        let mut backoff = Backoff::default();
        // Requests with an idempotency key can be repeated safely.
        let has_idempotency_key = matches!(action, PipelineAction::Sync | PipelineAction::Retry);
        let mut maybe_sent = false;
        let mut revision = before.revision;
        loop {
            let client_error = match self.client.ask(request(action, intent, revision)).await {
                Ok(reply) => {
                    let whole = reply.get("status").is_some() && reply.get("id").is_some();
                    return Sent::Accepted(Some(reply).filter(|_| whole));
                }
                Err(client_error) => client_error,
            };
            // The pipeline changed or is gone, through an earlier request or another client.
            let changed = matches!(client_error, ClientError::Refused { status: 412, .. });
            if !has_idempotency_key && (changed || (maybe_sent && client_error.absent())) {
                match self.client.pipeline(id, true).await {
                    Ok(told) => match Pipeline::read(told.clone(), now(), Some(before)) {
                        Ok(seen) if mark.is_applied(action, &seen) => return Sent::Accepted(Some(told)),
                        // Another part changed, such as its run: the baseline still holds.
                        Ok(seen)
                            if seen.desired == before.desired
                                && seen.status == before.status
                                && seen.revision != revision
                                && started.elapsed() < self.patience =>
                        {
                            revision = seen.revision;
                            continue;
                        }
                        _ => {}
                    },
                    Err(gone) if gone.absent() && action == PipelineAction::Delete => return Sent::Accepted(None),
                    Err(_) => {}
                }
                return if maybe_sent { Sent::Unknown(client_error) } else { Sent::Refused(client_error) };
            }
            if !client_error.is_retryable() {
                return Sent::Refused(client_error);
            }
            maybe_sent |= client_error.may_have_been_applied();
            let left = self.patience.saturating_sub(started.elapsed());
            if left.is_zero() || client_error.retry_after().is_some_and(|asked| asked > left) {
                return if maybe_sent { Sent::Unknown(client_error) } else { Sent::Refused(client_error) };
            }
            emit(ActionStage::MaybeSent(client_error.to_string()));
            tokio::time::sleep(backoff.wait(client_error.retry_after(), Some(left), jitter())).await;
            if has_idempotency_key || !maybe_sent {
                continue;
            }
            // Check first if the earlier request was applied.
            match self.client.pipeline(id, true).await {
                Ok(told) => {
                    let seen = Pipeline::read(told.clone(), now(), Some(before));
                    if seen.is_ok_and(|seen| mark.is_applied(action, &seen)) {
                        return Sent::Accepted(Some(told));
                    }
                }
                Err(gone) if gone.absent() && action == PipelineAction::Delete => return Sent::Accepted(None),
                Err(client_error) if !client_error.is_retryable() => return Sent::Refused(client_error),
                Err(_) => {}
            }
        }
    }

    /// Runs a pipeline of a service without tasks: the run lasts as long as the response.
    async fn call(
        &self,
        action: PipelineAction,
        id: &str,
        emit: &mut impl FnMut(ActionStage),
    ) -> (ActionResult, String) {
        emit(ActionStage::Accepted("called; it lasts as long as its answer".into()));
        let fresh_run = action == PipelineAction::Retry;
        let started = now();
        let called = untracked_runs::call_until_done(&self.client, id, fresh_run, None, &mut |_| {}).await;
        if let Some(watcher) = &self.watcher {
            watcher.refresh();
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
                    next: Some(Advice::for_error(&progress, group).text(Audience::Pipeline).into()),
                    since: None,
                });
                let took = now() - started;
                let verdict = match (outcome.class(), first) {
                    (ResultClass::Done, _) => ActionResult::TookEffect(words.headline.to_string()),
                    (ResultClass::Failed, Some(fault)) => ActionResult::RanAndFailed(fault, took),
                    _ => ActionResult::Unknown(words.headline.to_string()),
                };
                (verdict, words.headline.to_string())
            }
            Err(client_error) if client_error.may_have_been_applied() => {
                (ActionResult::Unknown(client_error.to_string()), String::new())
            }
            Err(client_error) => (refused(&client_error), String::new()),
        }
    }
}

/// Builds the request of an action.
fn request(action: PipelineAction, intent: &Intent, revision: Option<u64>) -> ServiceRequest {
    let own = &["pipelines", intent.pipeline.as_str()];
    let want = |desired: DesiredStatus| {
        let mut ask = ServiceRequest::of(Method::PATCH, own);
        ask.body = Some(json!(UpdatePipeline { desired_status: Some(desired), ..UpdatePipeline::default() }));
        // The service refuses the change if the pipeline changed since the baseline.
        match revision {
            Some(revision) => ask.header("if-match", format!("\"{revision}\"")),
            None => ask,
        }
    };
    match action {
        PipelineAction::Resume => want(DesiredStatus::Active),
        PipelineAction::Pause => want(DesiredStatus::Paused),
        PipelineAction::Delete => ServiceRequest::of(Method::DELETE, own),
        PipelineAction::Sync | PipelineAction::Retry => {
            let mut ask = ServiceRequest::of(Method::POST, &["pipelines", &intent.pipeline, "runs"]);
            ask.body = Some(json!(StartRun::default()));
            ask.header("idempotency-key", &intent.id)
        }
    }
}

/// Executes the action on several pipelines in the order of [`Bulk`]; `seen` receives the state.
/// Returns when every result is known or the rest is skipped. `stop` ends sending, as does the
/// instant `until`.
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
            bulk.stop("stopped by the user");
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
        if bulk.is_finished() {
            return bulk;
        }
        tokio::select! {
            Some(done) = running.join_next() => {
                if let Ok((place, verdict)) = done {
                    bulk.done(place, verdict);
                } else {
                    // A task panicked: stop, and report the open results as unknown.
                    running.abort_all();
                    bulk.stop("synctop failed internally: a result is unknown");
                    let lost = |item: &synctop_core::fleet::bulk::BulkItem| matches!(item.step, BulkStep::Sent(_));
                    while let Some(place) = bulk.items.iter().position(lost) {
                        bulk.done(place, ActionResult::Unknown("synctop failed internally: its result is unknown".into()));
                    }
                }
            }
            changed = stop.changed(), if stoppable => stoppable = changed.is_ok(),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}
