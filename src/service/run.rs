//! Run of a pipeline: opens it, makes its calls one by one, and stores the result of each.

use crate::engine::backfill::drive::new_run_id;
use crate::engine::backfill::retry_loop::{BackfillResult, Next};
use crate::engine::failure_type::FailureType;
use crate::net::source::engine_http::CallOutcome;
use crate::service::call::{CallProgress, RunCall, StopReason};
use crate::service::engine_action::EngineAction;
use crate::service::lifecycle::{LifecycleEvent, Phase, Todo};
use crate::service::model::{CallLimits, ParkReason, StoredPipeline, StoredRetry, Task};
use crate::service::problem::Problem;
use crate::service::reconciler_state::{OpenRun, Reconciler};
use crate::service::registry::apply_event;
use crate::service::run_measures::RunMeasures;
use crate::service::run_verdict::{COMPARED_RUNS, RunVerdict, park_reason, unusual_silence, verdict_of};
use crate::service::slot::finished_streams;
use crate::service::store::{StoredState, Tx};
use crate::service::totals::totals;
use crate::service::transitions::{after, park, put_task_keeping_cancel};
use crate::util::sys::{lock, now, random_id};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use synctop_core::ResultClass;
use synctop_core::fleet::wire::{TaskState, Trigger};
use synctop_core::protocol::{Millis, time};
use synctop_core::reduce::{Outcome, Progress, outcome};

/// Time that a caller of single syncs has for its next call; then the service continues the run.
const CALLER_TIMEOUT: Duration = Duration::from_secs(30);

/// Message of a run that was stopped because of its duration.
const OVERLONG: &str = "the run took longer than max_runtime of its schedule, and was stopped at a checkpoint";

/// Delay after a run that was stopped because of its duration, if more is left to read.
const OVERLONG_DELAY: Duration = Duration::from_secs(60);

/// Result of a call.
#[derive(Debug, Clone)]
enum CallResult {
    /// The next call follows at once.
    Next,
    /// The call was stopped at a safe point; the run continues later.
    Stopped,
    /// Nothing is left to read.
    Through,
    Canceled,
    /// The run exceeded the maximum of its schedule.
    Overlong,
    /// The requested single call ended, and more is left to read.
    AwaitCaller,
    /// Retry after this delay, and its reason.
    Again(Duration, String),
    Park(ParkReason),
}

impl Reconciler {
    /// Opens a run, or makes the next call of the open run.
    pub(super) async fn sync(&mut self, pipeline: &Arc<StoredPipeline>) -> Result<(), Problem> {
        if pipeline.task.is_none() {
            let log = self.slot.log.end();
            self.run = None;
            self.change(move |tx, pipeline| {
                if pipeline.life.todo() != Todo::Sync || pipeline.task.is_some() {
                    return Ok(());
                }
                let run_id = pipeline.run_id.clone();
                create_task(tx, pipeline, Trigger::Backfill, CallLimits::default(), run_id, log)?;
                pipeline.retry = None;
                Ok(())
            })
            .await?;
            return Ok(());
        }
        let Some(id) = pipeline.task.clone() else { return Ok(()) };
        self.open(&id).await?;
        // Concurrent engines are limited; the longest waiting run is next.
        let service = Arc::clone(&self.service);
        let Some(_permit) = self.permit(&service, pipeline).await else { return Ok(()) };
        Box::pin(self.one_call(pipeline)).await
    }

    /// Loads the run with this task id, unless it is loaded.
    async fn open(&mut self, id: &str) -> Result<(), Problem> {
        if self.run.as_ref().is_some_and(|open| open.task.id == id) {
            return Ok(());
        }
        self.run = None;
        let Some(task) = self.task(id).await? else {
            return Err(Problem::new(500, "task_lost", format!("the run {id} is not in the store")));
        };
        let kept = self.state().await?;
        if kept.call_from.is_some() && task.started_at.is_some() {
            // The service stopped during a call of this run.
            self.recover().await?;
            if self.run.is_some() {
                return Ok(());
            }
        }
        let begun = task.started_at.is_some();
        let from = if task.reset && !begun { StoredState { state: None, ..kept.clone() } } else { kept.clone() };
        let run = self.backfill(&task, &from)?;
        let mut call_progress = CallProgress::of_run(&self.slot, &task);
        if begun {
            call_progress.read_log(task.log.0, None).await?;
            call_progress.raise_checkpoints_to(kept.checkpoints);
        }
        call_progress.publish();
        self.run = Some(Box::new(OpenRun { task, run, call_progress }));
        Ok(())
    }

    /// True if cancellation of this run was requested.
    pub(super) async fn canceled(&self, id: &str) -> Result<bool, Problem> {
        Ok(self.task(id).await?.is_some_and(|task| task.cancel))
    }

    /// Makes one call of the open run and stores its result.
    async fn one_call(&mut self, pipeline: &Arc<StoredPipeline>) -> Result<(), Problem> {
        let Some(mut open) = self.run.take() else { return Ok(()) };
        let (config, known) = match self.resolved(pipeline).await {
            Ok(resolved) => resolved,
            Err(why) => {
                let (why, kind) = self.unresolved(pipeline, &why);
                let result = if kind.permanent() {
                    CallResult::Park(park_reason(&why, Some(kind), now()))
                } else {
                    let attempt = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt) + 1;
                    CallResult::Again(synctop_core::backoff::retry_delay(attempt, crate::util::sys::jitter()), why)
                };
                return self.store_result(open, result, None).await;
            }
        };
        let limits = self.service.engines.limits(pipeline.config.engine());
        let limits = (
            Some(open.task.limits.time_limit.unwrap_or(limits.0)),
            Some(open.task.limits.state_limit.unwrap_or(limits.1)),
        );
        open.run.set_limits(limits.0, limits.1);
        open.run.set_pipeline(config);
        // Stored before the call, so that recovery finds the call's checkpoints in the log.
        let from = self.slot.log.end();
        let first = open.task.started_at.is_none();
        if first {
            open.task.state = TaskState::Running;
            open.task.started_at = Some(now());
            open.task.message = None;
        }
        let id = self.slot.id.clone();
        let task = open.task.clone();
        self.service
            .persist(&self.slot, (self.fence()?, task.id.clone()), move |tx| {
                let mut kept = tx.state(&id)?;
                if first && task.reset {
                    kept.state = None;
                }
                if first {
                    put_task_keeping_cancel(tx, task)?;
                }
                tx.put_state(&id, &StoredState { call_from: Some(from), ..kept })?;
                Ok(())
            })
            .await?;
        let body = open.run.begin();
        self.log_risk(&mut open)?;
        let call = RunCall { limits, ..self.call(pipeline, &known, EngineAction::Sync, body) };
        let task_id = open.task.id.clone();
        // The first backfill of a pipeline has to end at some time.
        let schedule = pipeline.schedule().filter(|_| open.task.was_ready);
        let overlong_at = schedule.and_then(|(schedule, _)| schedule.max_runtime).map(|most| {
            let started = open.task.started_at.unwrap_or_else(now);
            started.saturating_add(Millis::try_from(most.as_millis()).unwrap_or(Millis::MAX))
        });
        let call = RunCall { overlong_at, ..call };
        let (call_outcome, stop_reason) = call.sync(&mut open.run, &mut open.call_progress, &task_id).await;
        open.run.cut();
        open.task.calls += 1;
        let next = open.run.over(&call_outcome, crate::util::sys::jitter());
        self.log_risk(&mut open)?;
        let end = match (stop_reason, next) {
            (Some(StopReason::Canceled), _) => CallResult::Canceled,
            (Some(StopReason::Overlong), _) => CallResult::Overlong,
            (Some(_), _) => CallResult::Stopped,
            (None, Next::Again(_, None)) if open.task.trigger != Trigger::Sync => CallResult::Next,
            (None, Next::Again(_, None)) => CallResult::AwaitCaller,
            (None, Next::Again(wait, Some(why))) => CallResult::Again(wait, known.mask(&why)),
            (None, Next::Done(BackfillResult::Stopped)) => CallResult::Stopped,
            (None, Next::Done(BackfillResult::Failed(error))) => {
                let kind = match error.class {
                    ResultClass::NotAllowed => Some(FailureType::Auth),
                    ResultClass::NotFound => Some(FailureType::Config),
                    _ if matches!(call_outcome, CallOutcome::Refused { .. }) => Some(FailureType::Config),
                    _ => None,
                };
                let why = known.mask(&error.sentence);
                match verdict_of(&open.call_progress.progress(), now()) {
                    RunVerdict::Park(reason) if kind.is_none() => CallResult::Park(reason),
                    _ => CallResult::Park(park_reason(&why, kind.or(Some(FailureType::System)), now())),
                }
            }
            (None, Next::Done(BackfillResult::Through)) => match verdict_of(&open.call_progress.progress(), now()) {
                RunVerdict::Ready => CallResult::Through,
                RunVerdict::Park(reason) => CallResult::Park(reason),
                RunVerdict::Again(why) => {
                    let attempt = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
                    CallResult::Again(
                        synctop_core::backoff::retry_delay(attempt + 1, crate::util::sys::jitter()),
                        known.mask(&why),
                    )
                }
            },
        };
        let exit = if let CallOutcome::Exited(status) = &call_outcome { Some(known.mask(status)) } else { None };
        self.store_result(open, end, exit).await
    }

    /// Logs the streams at risk when they change.
    fn log_risk(&self, open: &mut OpenRun) -> Result<(), Problem> {
        let Some(line) = open.run.risk_line(now()) else { return Ok(()) };
        open.call_progress.append_line(&line).map_err(|error| {
            let why = format!("the log of pipeline {} cannot be written: {error}", self.slot.id);
            Problem::new(500, "log_unwritable", why)
        })
    }

    /// Stores the result of a call: state, run and lifecycle in one transaction.
    async fn store_result(&mut self, open: Box<OpenRun>, end: CallResult, exit: Option<String>) -> Result<(), Problem> {
        let OpenRun { mut task, run, call_progress } = *open;
        if matches!(end, CallResult::Canceled) {
            self.slot.append_line("log", &json!({"level": "warn", "message": "the run was canceled"}));
        }
        let before = task.clone();
        let progress = call_progress.progress();
        task.progress = Some(finished_streams(&progress));
        let kept = StoredState {
            state: Some(run.to_stored_state().get().to_owned()),
            checkpoints: call_progress.checkpoints(),
            call_from: None,
        };
        let ends = match end {
            CallResult::Next | CallResult::Stopped => false,
            // A failed single call ends its run; other runs retry.
            CallResult::Again(..) => task.trigger == Trigger::Sync,
            CallResult::Through
            | CallResult::Canceled
            | CallResult::Overlong
            | CallResult::AwaitCaller
            | CallResult::Park(_) => true,
        };
        if ends {
            task.ended_at = Some(now());
            task.log.1 = Some(self.slot.log.end());
            task.state = end_state(&end, &progress);
            task.message = Some(match &end {
                CallResult::Park(reason) => reason.message.clone(),
                CallResult::Again(_, why) => why.clone(),
                CallResult::Canceled => "canceled".into(),
                CallResult::Overlong => OVERLONG.into(),
                _ => call_progress.headline(),
            });
            let mut result = run_result(&progress, exit.as_deref());
            if matches!(end, CallResult::Through) {
                self.doubt_silence(&task, &mut result).await;
            }
            task.result = Some(result);
        } else if let CallResult::Again(wait, why) = &end {
            task.message = Some(format!("retries at {}: {why}", time::iso(after(*wait))));
        }
        let failures = run.failures();
        let number = task.number;
        let closed = task.clone();
        let (open_task, was) = (task.clone(), end.clone());
        let called = task.calls > 0;
        let store_outcome = self
            .change(move |tx, pipeline| {
                if pipeline.task.as_ref() != Some(&closed.id) {
                    // A commit whose answer was lost has stored a result already.
                    return Ok(closed.cancel);
                }
                if called {
                    tx.put_state(&pipeline.id, &kept)?;
                }
                let cancel = put_task_keeping_cancel(tx, closed.clone())?;
                if ends {
                    pipeline.task = None;
                }
                apply_result(pipeline, end, &closed, failures)?;
                Ok(cancel)
            })
            .await;
        match store_outcome {
            Ok((_, cancel)) if !ends => {
                self.run = Some(Box::new(OpenRun { task: Task { cancel, ..open_task }, run, call_progress }));
            }
            Ok(_) => {
                *lock(&self.slot.measures) = RunMeasures::of(&open_task);
                self.slot.log.end_run();
            }
            Err(problem) => {
                // The result is not stored yet: the run stays open with it.
                self.run = Some(Box::new(OpenRun { task: before, run, call_progress }));
                return Err(problem);
            }
        }
        tracing::debug!(target: "service", "{}: a call of run {number}: {was:?}", self.slot.id);
        Ok(())
    }

    /// Adds a doubt to the result of a run that read no record where there usually are many.
    async fn doubt_silence(&self, task: &Task, result: &mut Value) {
        let records = result.pointer("/records/cumulative").and_then(Value::as_u64);
        if records != Some(0) {
            return;
        }
        let (id, incarnation, number) = (task.pipeline.clone(), task.incarnation, task.number);
        let earlier = self.service.store.read(move |it| it.tasks(&id, incarnation, number, COMPARED_RUNS)).await;
        let earlier: Vec<Task> = earlier.into_iter().flatten().flatten().collect();
        if let Some(doubt) = unusual_silence(records, &earlier)
            && let Some(doubts) = result.get_mut("doubts").and_then(Value::as_array_mut)
        {
            doubts.push(doubt);
        }
    }

    /// Ends a run as canceled.
    pub(super) async fn cancel(&mut self, id: &str) -> Result<(), Problem> {
        self.open(id).await?;
        let Some(open) = self.run.take() else { return Ok(()) };
        self.store_result(open, CallResult::Canceled, None).await
    }
}

/// Applies the result of a call to its pipeline. `failures` in a row preceded it.
fn apply_result(pipeline: &mut StoredPipeline, end: CallResult, closed: &Task, failures: u32) -> Result<(), Problem> {
    match end {
        CallResult::Next | CallResult::Stopped => {
            if matches!(end, CallResult::Next) {
                pipeline.retry = None;
            }
        }
        CallResult::Through => {
            pipeline.retry = None;
            // The next run gets a new run id.
            pipeline.run_id = None;
            if closed.state == TaskState::Succeeded {
                pipeline.last_success = closed.ended_at;
                pipeline.plan = pipeline.plan.map(|plan| plan.succeeded(closed.created_at));
            }
            apply_event(pipeline, LifecycleEvent::Through)?;
        }
        CallResult::AwaitCaller => {
            let message = "the requested sync has more to read: its caller may continue it, otherwise the service does";
            pipeline.retry = Some(StoredRetry::after(CALLER_TIMEOUT, 0, message.into()));
        }
        CallResult::Again(wait, why) => {
            let before = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
            pipeline.retry = Some(StoredRetry::after(wait, failures.max(before + 1), why));
        }
        CallResult::Park(reason) => park(pipeline, reason)?,
        CallResult::Overlong if !closed.ready_if_canceled() => {
            pipeline.run_id = None;
            pipeline.retry = Some(StoredRetry::after(OVERLONG_DELAY, 1, OVERLONG.into()));
        }
        CallResult::Canceled | CallResult::Overlong => {
            pipeline.retry = None;
            pipeline.run_id = None;
            // A pipeline that was never ready was paused when it was canceled.
            if closed.ready_if_canceled() {
                apply_event(pipeline, LifecycleEvent::RunCanceled)?;
            }
        }
    }
    Ok(())
}

/// Returns the state as of the end of the feed.
fn closed(progress: &Progress) -> Progress {
    let mut closed = progress.clone();
    closed.close(None);
    closed
}

/// Returns the stored result of a run: its totals, and the exit status of a failed command.
#[must_use]
pub fn run_result(progress: &Progress, exit: Option<&str>) -> Value {
    let mut all = totals(&closed(progress));
    if let Some(all) = all.as_object_mut() {
        all.insert("exit".into(), exit.into());
    }
    all
}

/// Creates a run of a pipeline. `log` is the log position at which it starts.
///
/// # Errors
/// Returns 503 if the store fails.
pub fn create_task(
    tx: &mut Tx,
    pipeline: &mut StoredPipeline,
    trigger: Trigger,
    limits: CallLimits,
    run_id: Option<String>,
    log: u64,
) -> Result<Task, Problem> {
    pipeline.runs += 1;
    let run_id = run_id.unwrap_or_else(new_run_id);
    let task = Task {
        id: random_id("task"),
        pipeline: pipeline.id.clone(),
        incarnation: pipeline.incarnation,
        number: pipeline.runs,
        trigger,
        state: TaskState::Pending,
        created_at: now(),
        started_at: None,
        ended_at: None,
        run_id: run_id.clone(),
        limits,
        reset: false,
        cancel: false,
        log: (log, None),
        was_ready: false,
        checkpoints_before: tx.state(&pipeline.id)?.checkpoints,
        calls: 0,
        progress: None,
        message: None,
        result: None,
        so_far: None,
    };
    tx.put_task(&task)?;
    pipeline.run_id = Some(run_id);
    pipeline.task = Some(task.id.clone());
    pipeline.last = Some(task.id.clone());
    Ok(task)
}

impl StoredPipeline {
    /// True if the pipeline waits for its retry time. A requested run that has not failed does not.
    pub(super) fn waits_for_retry(&self) -> bool {
        self.life.phase != Phase::Backfill
            || self.task.is_none()
            || self.retry.as_ref().is_some_and(|it| it.attempt > 0)
    }
}

/// Returns the state of a task whose last call ended like this.
fn end_state(end: &CallResult, progress: &Progress) -> TaskState {
    match end {
        CallResult::Canceled => TaskState::Canceled,
        CallResult::Park(_) | CallResult::Again(..) | CallResult::Overlong => TaskState::Failed,
        _ if outcome(&closed(progress)) == Outcome::Failed => TaskState::Failed,
        _ => TaskState::Succeeded,
    }
}
