//! Reconciles one pipeline: compares desired with stored state, performs the next transition,
//! persists the result, repeats. All state is in the store and the log: a crash at any time loses
//! no confirmed work.

use crate::engine::backfill::retry_loop::{Backfill, BackfillOptions, BackfillResult, Next};
use crate::engine::failure_type::FailureType;
use crate::net::source::engine_http::CallOutcome;
use crate::service::call::{CallProgress, PreparationResult, RunCall};
use crate::service::engine_action::EngineAction;
use crate::service::lifecycle::{LifecycleEvent, Todo};
use crate::service::model::{CallLimits, ParkReason, PipelineConfig, StoredPipeline, StoredRetry, Task};
use crate::service::problem::Problem;
use crate::service::reconciler_state::{OpenRun, Reconciler};
use crate::service::registry::{Service, apply_event};
use crate::service::run::create_task;
use crate::service::run_measures::RunMeasures;
use crate::service::run_verdict::{RunVerdict, park_reason, verdict_of};
use crate::service::schedule::Demand;
use crate::service::secrets::{KnownSecrets, ReferenceError};
use crate::service::slot::Slot;
use crate::service::store::{StoreError, StoredState, Tx};
use crate::service::transitions::{park, put_task_keeping_cancel, wait_until};
use crate::util::sys::{lock, now};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use synctop_core::backoff::MAX_RETRY_DELAY;
use synctop_core::fleet::wire::Trigger;
use synctop_core::protocol::Millis;
use tokio::sync::SemaphorePermit;

/// Maximum live events per call, as in the published service.
const EVENTS_PER_CALL: usize = 10;

/// Delay after a failure of the store or the disk.
const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// Times that a pipeline is handed over because a node cannot read its secrets; then it is parked.
const MAX_HAND_OVERS: u32 = 6;

/// Unclassified failures of setup before the pipeline is parked.
const MAX_UNCLASSIFIED_FAILURES: u32 = 3;

/// Maximum log size in bytes of a finished run whose state is restored from the log at startup.
const MAX_RESTORED_LOG: u64 = 16 << 20;

/// Reconciles a pipeline until it is deleted or the service shuts down.
pub fn reconcile(service: Arc<Service>, slot: Arc<Slot>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(run_reconciler(Reconciler { lease: slot.fence(), service, slot, run: None, retry: None }))
}

async fn run_reconciler(mut reconciler: Reconciler) {
    // Transitions are boxed: most pipelines wait for the next one most of the time, and a future is
    // as large as its largest part. Each has a statement of its own, at whose end its room is free.
    loop {
        let recovery = Box::pin(reconciler.recover());
        let Err(problem) = recovery.await else { break };
        if reconciler.wait_after_failure(&problem).await {
            return;
        }
    }
    loop {
        match reconciler.perform_next().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(problem) => {
                if reconciler.wait_after_failure(&problem).await {
                    return;
                }
            }
        }
    }
}

impl Reconciler {
    /// Returns the deadline of a planned retry. It is fixed when the retry is first seen, at most its
    /// delay ahead: a clock that is set neither hastens nor holds it.
    fn retry_deadline(&mut self, retry: &StoredRetry) -> tokio::time::Instant {
        if let Some((at, deadline)) = self.retry
            && at == retry.at
        {
            return deadline;
        }
        let left = u64::try_from(retry.at.saturating_sub(now())).unwrap_or(0);
        let longest = retry.wait_ms.map_or(MAX_RETRY_DELAY, Duration::from_millis);
        let deadline = tokio::time::Instant::now() + Duration::from_millis(left).min(longest);
        self.retry = Some((retry.at, deadline));
        deadline
    }

    /// Logs a failure of the service and waits. Returns true if the reconciler has to end.
    async fn wait_after_failure(&self, problem: &Problem) -> bool {
        if self.slot.is_ending() || self.slot.pipeline().is_none() || self.fence().is_err() {
            return true;
        }
        tracing::error!(target: "service", "{}: {}", self.slot.id, problem.sentence);
        tokio::select! {
            () = tokio::time::sleep(FAILURE_DELAY) => {
                // A commit whose answer was lost may have been stored.
                let _ = self.service.read_slot(&self.slot.id).await;
                false
            }
            () = self.slot.ends() => true,
        }
    }

    /// Changes the pipeline in one transaction.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx, &mut StoredPipeline) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(Arc<StoredPipeline>, T), Problem> {
        // Stored results refer to lines of the log.
        self.flush().await?;
        self.service.change_as(&self.slot, Some(self.fence()?), work).await
    }

    /// Returns the fencing number of the lease.
    ///
    /// # Errors
    /// Returns 503 if another node runs the pipeline.
    pub(super) fn fence(&self) -> Result<u64, Problem> {
        let fence = self.slot.fence().filter(|_| self.slot.fence() == self.lease);
        fence.ok_or_else(|| StoreError::Fenced.into())
    }

    /// Waits until the lines of the log are stored.
    pub(super) async fn flush(&self) -> Result<(), Problem> {
        self.slot.log.flush().await.map_err(|_| StoreError::Fenced.into())
    }

    /// Returns the run with this task id.
    pub(super) async fn task(&self, id: &str) -> Result<Option<Task>, Problem> {
        let id = id.to_owned();
        Ok(self.service.store.read(move |it| it.task(&id)).await?)
    }

    /// Returns the stored state of the pipeline.
    pub(super) async fn state(&self) -> Result<StoredState, Problem> {
        let id = self.slot.id.clone();
        Ok(self.service.store.read(move |it| it.state(&id)).await?)
    }

    /// Performs the next transition. Returns false if no further one will follow.
    async fn perform_next(&mut self) -> Result<bool, Problem> {
        let mut status = self.slot.status.subscribe();
        let seen = status.borrow_and_update().clone();
        let Some(pipeline) = seen else { return Ok(false) };
        if self.slot.is_ending() || self.fence().is_err() {
            return Ok(false);
        }
        // A canceled run ends before any other transition except teardown.
        if let Some(id) = &pipeline.task
            && pipeline.life.todo() != Todo::TearDown
            && self.canceled(id).await?
        {
            let cancellation = Box::pin(self.cancel(id));
            cancellation.await?;
            return Ok(true);
        }
        let retry_at = pipeline.retry.as_ref().map(|retry| self.retry_deadline(retry));
        let todo = pipeline.life.todo();
        if let Some(retry_at) = retry_at
            && retry_at > tokio::time::Instant::now()
            && matches!(todo, Todo::SetUp | Todo::Sync | Todo::TearDown | Todo::Live)
            && pipeline.waits_for_retry()
        {
            tokio::select! {
                _ = status.changed() => {}
                () = tokio::time::sleep_until(retry_at) => {}
                () = self.slot.ends() => {}
            }
            return Ok(true);
        }
        match todo {
            Todo::Nothing => {
                self.run = None;
                tokio::select! {
                    _ = status.changed() => {}
                    () = self.slot.ends() => {}
                }
            }
            Todo::Halt => {
                let change = Box::pin(self.change(|_, pipeline| apply_event(pipeline, LifecycleEvent::Halted)));
                change.await?;
            }
            Todo::SetUp => {
                let setup = Box::pin(self.set_up(&pipeline));
                setup.await?;
            }
            Todo::Sync => {
                let sync = Box::pin(self.sync(&pipeline));
                sync.await?;
            }
            Todo::Live => {
                self.run = None;
                let own = self.slot.id.clone();
                let waiting = self.service.store.read(move |it| it.inputs(&own, EVENTS_PER_CALL)).await?;
                if waiting.is_empty() {
                    let scheduled = Box::pin(self.follow_schedule(&pipeline));
                    let Some(begin) = scheduled.await? else { return Ok(true) };
                    tokio::select! {
                        _ = status.changed() => {}
                        () = self.slot.inputs.notified() => {}
                        () = wait_until(begin) => {}
                        () = self.slot.ends() => {}
                    }
                } else {
                    let live = Box::pin(self.live(&pipeline, waiting));
                    live.await?;
                }
            }
            Todo::TearDown => {
                let teardown = Box::pin(self.tear_down(&pipeline));
                return teardown.await;
            }
        }
        Ok(true)
    }

    /// Starts the run that is due. Otherwise returns the time of the next one; `Millis::MAX` without a
    /// schedule.
    async fn follow_schedule(&mut self, pipeline: &StoredPipeline) -> Result<Option<Millis>, Problem> {
        let Some((schedule, plan)) = pipeline.schedule() else { return Ok(Some(Millis::MAX)) };
        let step = schedule.demand(&pipeline.id, plan, now());
        if let Demand::Wait(begin) = step {
            return Ok(Some(begin));
        }
        let log = self.slot.log.end();
        self.change(move |tx, pipeline| {
            // A request may have changed the schedule, or started a run.
            if pipeline.plan != Some(plan) || pipeline.task.is_some() || pipeline.life.todo() != Todo::Live {
                return Ok(());
            }
            pipeline.plan = Some(schedule.after(plan, now(), step));
            if step == Demand::Run {
                apply_event(pipeline, LifecycleEvent::Run)?;
                pipeline.retry = None;
                let task = create_task(tx, pipeline, Trigger::Schedule, CallLimits::default(), None, log)?;
                tx.put_task(&Task { was_ready: true, ..task })?;
            }
            Ok(())
        })
        .await?;
        Ok(None)
    }

    /// Recovers from a crash: the checkpoints of the interrupted call are in the log.
    pub(super) async fn recover(&mut self) -> Result<(), Problem> {
        let kept = self.state().await?;
        let Some(pipeline) = self.slot.pipeline() else { return Ok(()) };
        let Some(id) = pipeline.task.as_ref().or(pipeline.last.as_ref()) else { return Ok(()) };
        let Some(task) = self.task(id).await? else { return Ok(()) };
        if task.state.is_finished() {
            *lock(&self.slot.measures) = RunMeasures::of(&task);
        }
        let mut call_progress = CallProgress::of_run(&self.slot, &task);
        let length = task.log.1.map_or(0, |to| to.saturating_sub(task.log.0));
        if length > MAX_RESTORED_LOG {
            return Ok(());
        }
        // Rows of an unreadable log are read again from the source.
        if let Err(problem) = call_progress.read_log(task.log.0, task.log.1).await {
            tracing::error!(target: "service", "{}", problem.sentence);
        }
        call_progress.raise_checkpoints_to(kept.checkpoints);
        call_progress.publish();
        let Some(from) =
            kept.call_from.filter(|_| pipeline.task.as_ref() == Some(&task.id) && !task.state.is_finished())
        else {
            return Ok(());
        };
        let mut run = self.backfill(&task, &kept)?;
        run.begin();
        if let Err(problem) = call_progress.replay(from, &mut run).await {
            tracing::error!(target: "service", "{}", problem.sentence);
        }
        run.cut();
        run.over(&CallOutcome::Broke("the service was restarted".into()), 0.0);
        tracing::warn!(target: "service", "{}: continues from the last checkpoint of an interrupted call", self.slot.id);
        self.slot.append_line(
            "log",
            &json!({
                "level": "warn",
                "message": "the service was restarted in the middle of a call: it continues from the last checkpoint",
            }),
        );
        let kept = StoredState {
            state: Some(run.to_stored_state().get().to_owned()),
            checkpoints: call_progress.checkpoints(),
            call_from: None,
        };
        let mut task = Task { calls: task.calls + 1, ..task };
        let put = task.clone();
        let pipeline = self.slot.id.clone();
        task.cancel = self
            .service
            .persist(&self.slot, (self.fence()?, put.id.clone()), move |tx| {
                let cancel = put_task_keeping_cancel(tx, put)?;
                tx.put_state(&pipeline, &kept)?;
                Ok(cancel)
            })
            .await?;
        self.run = Some(Box::new(OpenRun { task, run, call_progress }));
        Ok(())
    }

    /// Creates the `Backfill` of a run from its stored state.
    pub(super) fn backfill(&self, task: &Task, kept: &StoredState) -> Result<Backfill, Problem> {
        let options = BackfillOptions { retries: u32::MAX, kept: true, ..BackfillOptions::default() };
        let state = kept.state.as_deref();
        let mut run = Backfill::new(options, state, task.run_id.clone()).map_err(|why| {
            Problem::new(
                500,
                "state_unreadable",
                format!("the state of pipeline {} cannot be read: {why}", self.slot.id),
            )
        })?;
        run.set_run_id(task.run_id.clone());
        Ok(run)
    }

    /// Returns the configuration with resolved references, and its secrets.
    ///
    /// # Errors
    /// Returns the [`ReferenceError`] of the first reference that cannot be resolved.
    pub(super) async fn resolved(
        &self,
        pipeline: &StoredPipeline,
    ) -> Result<(Value, Arc<KnownSecrets>), ReferenceError> {
        self.slot.resolved(&self.service.engines, &self.service.config.secrets, pipeline).await
    }

    /// Returns the message and the class of a reference that cannot be resolved. If there are other
    /// nodes, which may be able to, this one hands the pipeline over, a few times.
    pub(super) fn unresolved(&self, pipeline: &StoredPipeline, why: &ReferenceError) -> (String, FailureType) {
        let peers = self.service.peers.as_ref();
        let node = peers.and_then(|peers| peers.name_of(&self.slot));
        let attempts = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
        match (why, node) {
            (ReferenceError::NotUsable(_), Some(node)) => {
                let message = format!("node {node}: {why}");
                if attempts >= MAX_HAND_OVERS || !peers.is_some_and(|peers| peers.has_others()) {
                    return (message, FailureType::Config);
                }
                self.slot.stopping.send_replace(true);
                (message, FailureType::Transient)
            }
            _ => (why.to_string(), FailureType::Config),
        }
    }

    /// Creates a call without limits.
    pub(super) fn call<'c>(
        &'c self,
        pipeline: &'c Arc<StoredPipeline>,
        known: &'c KnownSecrets,
        action: EngineAction,
        body: String,
    ) -> RunCall<'c> {
        RunCall {
            service: &self.service,
            slot: &self.slot,
            pipeline,
            known,
            action,
            body,
            limits: (None, None),
            overlong_at: None,
        }
    }

    /// Waits for a permit of the service. `None` if the pipeline changed or the service shuts down.
    pub(super) async fn permit<'s>(
        &self,
        service: &'s Arc<Service>,
        seen: &StoredPipeline,
    ) -> Option<SemaphorePermit<'s>> {
        let mut status = self.slot.status.subscribe();
        // A change between reading and subscribing also ends the wait.
        let other = status.wait_for(|it| it.as_ref().is_none_or(|it| it.revision != seen.revision));
        tokio::select! {
            biased;
            _ = other => None,
            () = self.slot.ends() => None,
            permit = service.permits.acquire() => permit.ok(),
        }
    }

    // Live events.

    /// Passes queued live events to the engine in one call.
    async fn live(&mut self, pipeline: &Arc<StoredPipeline>, waiting: Vec<(u64, String)>) -> Result<(), Problem> {
        let service = Arc::clone(&self.service);
        let Some(_permit) = self.permit(&service, pipeline).await else { return Ok(()) };
        let (config, known) = match self.resolved(pipeline).await {
            Ok(resolved) => resolved,
            Err(why) => {
                let (why, kind) = self.unresolved(pipeline, &why);
                self.change(move |_, pipeline| {
                    if kind.permanent() {
                        return park(pipeline, park_reason(&why, Some(kind), now()));
                    }
                    retry(pipeline, why);
                    Ok(())
                })
                .await?;
                return Ok(());
            }
        };
        let last = match &pipeline.last {
            Some(id) => self.task(id).await?,
            None => None,
        };
        let Some(task) = last else {
            return Err(Problem::new(500, "task_lost", "the pipeline has no run"));
        };
        let kept = self.state().await?;
        let mut run = self.backfill(&task, &kept)?;
        run.set_pipeline(config);
        let upto = waiting.last().map_or(0, |(seq, _)| *seq);
        let events: Vec<Box<RawValue>> =
            waiting.into_iter().filter_map(|(_, body)| serde_json::from_str(&body).ok()).collect();
        let count = events.len();
        let body = run.begin_with(&events);
        let before = kept.checkpoints;
        let mut call_progress = CallProgress::of_live_events(&self.slot, before);
        let call = self.call(pipeline, &known, EngineAction::Sync, body);
        let (call_outcome, stop_reason) = call.sync(&mut run, &mut call_progress, "").await;
        run.cut();
        let next = run.over(&call_outcome, crate::util::sys::jitter());
        if stop_reason.is_some() {
            // The events stay queued and are sent again.
            return Ok(());
        }
        let verdict = match next {
            Next::Done(BackfillResult::Through) => verdict_of(&call_progress.progress(), now()),
            // The engine did not read all events.
            Next::Again(_, None) => RunVerdict::Again("the engine did not read all live events".into()),
            Next::Again(_, Some(why)) => RunVerdict::Again(known.mask(&why)),
            Next::Done(BackfillResult::Failed(error)) => {
                RunVerdict::Park(park_reason(&known.mask(&error.sentence), None, now()))
            }
            Next::Done(BackfillResult::Stopped) => RunVerdict::Park(park_reason("stopped", None, now())),
        };
        let kept = StoredState {
            state: Some(run.to_stored_state().get().to_owned()),
            checkpoints: call_progress.checkpoints(),
            call_from: None,
        };
        tracing::debug!(target: "service", "{}: {count} live events: {verdict:?}", self.slot.id);
        self.change(move |tx, pipeline| {
            tx.put_state(&pipeline.id, &kept)?;
            match verdict {
                RunVerdict::Ready => {
                    pipeline.retry = None;
                    tx.drop_inputs(&pipeline.id, upto)?;
                    Ok(())
                }
                RunVerdict::Park(reason) => park(pipeline, reason),
                RunVerdict::Again(why) => {
                    retry(pipeline, why);
                    Ok(())
                }
            }
        })
        .await?;
        Ok(())
    }

    // Setup and teardown.

    /// Sets up the pipeline; a permanent failure parks it.
    async fn set_up(&mut self, pipeline: &Arc<StoredPipeline>) -> Result<(), Problem> {
        let done = self.prepare(pipeline, EngineAction::Setup).await?;
        let Some(done) = done else { return Ok(()) };
        self.change(move |_, pipeline| match done {
            PreparationResult::Succeeded(source, destination) => {
                pipeline.retry = None;
                let mut config = pipeline.config.as_ref().clone();
                add_returned_config(&mut config, source, destination);
                pipeline.config = Arc::new(config);
                apply_event(pipeline, LifecycleEvent::SetUp)
            }
            PreparationResult::Failed(why, kind) => {
                let attempts = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
                let permanent = kind.map_or(attempts + 1 >= MAX_UNCLASSIFIED_FAILURES, FailureType::permanent);
                if permanent {
                    park(pipeline, park_reason(&why, kind, now()))
                } else {
                    retry(pipeline, why);
                    Ok(())
                }
            }
        })
        .await?;
        Ok(())
    }

    /// Tears down. Returns false once the pipeline is deleted.
    async fn tear_down(&mut self, pipeline: &Arc<StoredPipeline>) -> Result<bool, Problem> {
        // The open run is canceled before the teardown.
        if let Some(id) = pipeline.task.clone() {
            let log = self.slot.log.end();
            self.change(move |tx, pipeline| {
                if let Some(mut task) = tx.task(&id)? {
                    task.cancel_for_deletion(log);
                    tx.put_task(&task)?;
                }
                pipeline.task = None;
                pipeline.retry = None;
                Ok(())
            })
            .await?;
            self.run = None;
            return Ok(true);
        }
        match self.prepare(pipeline, EngineAction::Teardown).await? {
            None => Ok(true),
            Some(PreparationResult::Succeeded(..)) => {
                self.service.remove(&self.slot).await?;
                Ok(false)
            }
            Some(PreparationResult::Failed(why, kind)) => {
                // The deletion is final: the teardown is retried until it succeeds or is forced.
                self.change(move |_, pipeline| {
                    let since = pipeline.reason.as_ref().map_or_else(now, |reason| reason.since);
                    let next = "fix the cause, or delete it with force=true, which skips the teardown".into();
                    pipeline.reason = Some(ParkReason { since, next, ..park_reason(&why, kind, now()) });
                    retry(pipeline, why);
                    Ok(())
                })
                .await?;
                Ok(true)
            }
        }
    }

    /// Calls the engine to set up or tear down; `None` if the call was stopped.
    async fn prepare(
        &mut self,
        pipeline: &Arc<StoredPipeline>,
        action: EngineAction,
    ) -> Result<Option<PreparationResult>, Problem> {
        if !self.service.engines.can(pipeline.config.engine(), action) {
            return Ok(Some(PreparationResult::Succeeded(None, None)));
        }
        let (config, known) = match self.resolved(pipeline).await {
            Ok(resolved) => resolved,
            Err(why) => {
                let (why, kind) = self.unresolved(pipeline, &why);
                return Ok(Some(PreparationResult::Failed(why, Some(kind))));
            }
        };
        let service = Arc::clone(&self.service);
        let Some(_permit) = self.permit(&service, pipeline).await else { return Ok(None) };
        let body = json!({"pipeline": config}).to_string();
        let call = self.call(pipeline, &known, action, body);
        Ok(call.prepare().await)
    }
}

/// Schedules the next retry, with backoff.
fn retry(pipeline: &mut StoredPipeline, message: String) {
    let attempt = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt) + 1;
    let wait = synctop_core::backoff::retry_delay(attempt, crate::util::sys::jitter());
    pipeline.retry = Some(StoredRetry::after(wait, attempt, message));
}

/// Adds the configuration fields that an engine returned. Existing fields, such as references to
/// secrets, stay unchanged.
pub fn add_returned_config(config: &mut PipelineConfig, source: Option<Value>, destination: Option<Value>) {
    for (own, new) in [(&mut config.source, source), (&mut config.destination, destination)] {
        let kind = own.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Object(new)) = new else { continue };
        let Some(own) = own.as_object_mut() else { continue };
        let own = own.entry(kind).or_insert_with(|| json!({}));
        let Some(own) = own.as_object_mut() else { continue };
        for (key, value) in new {
            own.entry(key).or_insert(value);
        }
    }
}
