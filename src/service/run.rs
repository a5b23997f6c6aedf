//! Run of a pipeline, call by call: opened, called, stored with its result.

use super::call::{CallProgress, Cause, RunCall};
use super::engines::EngineAction;
use super::lifecycle::{LifecycleEvent, Phase, Todo};
use super::model::{CallLimits, ParkReason, StoredPipeline, StoredRetry, Task, TaskState, Trigger};
use super::problem::Problem;
use super::reconciler::{Driver, after, park};
use super::registry::{progress_words, step};
use super::run_verdict::{Judged, judge, said};
use super::store::{self, KeptState, Tx};
use crate::engine::backfill::{Backfill, BackfillResult, Next};
use crate::engine::classify::FailureType;
use crate::engine::drive::fresh_id;
use crate::net::http::CallOutcome;
use crate::net::now;
use crate::net::random_id;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use synctop_core::protocol::time;
use synctop_core::reduce::{Outcome, Progress, outcome};

/// A caller who syncs by single calls has so long for his next one; then the service goes on by
/// itself.
const CALLERS_TURN: Duration = Duration::from_secs(30);

/// The run that is open, between its calls.
pub(super) struct Open {
    pub task: Task,
    pub run: Backfill,
    pub came: CallProgress,
}

/// Result of a call.
#[derive(Debug, Clone)]
enum End {
    /// The next call, at once.
    Next,
    /// It was brought to a safe point: it goes on when it may.
    Stopped,
    Through,
    Canceled,
    /// One call was asked for, and there is more.
    CallersTurn,
    Again(Duration, String),
    Park(ParkReason),
}

impl Driver {
    pub(super) async fn sync(&mut self, pipeline: &Arc<StoredPipeline>) -> Result<(), Problem> {
        if pipeline.task.is_none() {
            let log = self.slot.log.end();
            self.run = None;
            self.change(move |tx, pipeline| {
                if pipeline.life.todo() != Todo::Sync || pipeline.task.is_some() {
                    return Ok(());
                }
                let run_id = pipeline.run_id.clone();
                begin_task(tx, pipeline, Trigger::Backfill, CallLimits::default(), run_id, log)?;
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
        self.one_call(pipeline).await
    }

    /// Opens the run, unless it is.
    async fn open(&mut self, id: &str) -> Result<(), Problem> {
        if self.run.as_ref().is_some_and(|open| open.task.id == id) {
            return Ok(());
        }
        self.run = None;
        let Some(task) = self.service.store.read(|it| store::task(it, id))? else {
            return Err(Problem::new(500, "task_lost", format!("the run {id} is not in the store")));
        };
        let kept = self.service.store.read(|it| store::state(it, &self.slot.id))?;
        if kept.call_from.is_some() && task.started_at.is_some() {
            // A call of it came to no end that is kept.
            self.recover().await?;
            if self.run.is_some() {
                return Ok(());
            }
        }
        let begun = task.started_at.is_some();
        let from = if task.reset && !begun { KeptState { state: None, ..kept.clone() } } else { kept.clone() };
        let run = self.backfill(&task, &from)?;
        let mut came = CallProgress::begin(&self.slot, &task);
        if begun {
            came.read_again(task.log.0, None)?;
            came.at_least(kept.checkpoints);
        }
        came.publish();
        self.run = Some(Open { task, run, came });
        Ok(())
    }

    pub(super) fn canceled(&self, id: &str) -> Result<bool, Problem> {
        Ok(self.service.store.read(|it| store::task(it, id))?.is_some_and(|task| task.cancel))
    }

    async fn one_call(&mut self, pipeline: &Arc<StoredPipeline>) -> Result<(), Problem> {
        let Some(mut open) = self.run.take() else { return Ok(()) };
        let (config, known) = match self.resolved(pipeline) {
            Ok(resolved) => resolved,
            Err(why) => {
                let reason = said(&why, Some(FailureType::Config), now());
                return self.over(open, End::Park(reason), None).await;
            }
        };
        let limits = self.service.engines.limits(pipeline.config.engine());
        let limits = (
            Some(open.task.limits.time_limit.unwrap_or(limits.0)),
            Some(open.task.limits.state_limit.unwrap_or(limits.1)),
        );
        open.run.limits(limits.0, limits.1);
        open.run.pipeline(config);
        // From here on a crash finds the checkpoints in the log.
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
            .keep(&self.slot, move |tx| {
                let mut kept = tx.state(&id)?;
                if first && task.reset {
                    kept.state = None;
                }
                if first {
                    put_task(tx, task)?;
                }
                tx.put_state(&id, &KeptState { call_from: Some(from), ..kept })?;
                Ok(())
            })
            .await?;
        let body = open.run.begin();
        self.say_risk(&mut open)?;
        let call = RunCall { limits, ..self.call(pipeline, &known, EngineAction::Sync, body) };
        let task_id = open.task.id.clone();
        let (how, cause) = call.sync(&mut open.run, &mut open.came, &task_id).await;
        open.run.cut();
        open.task.calls += 1;
        let next = open.run.over(&how, super::jitter());
        self.say_risk(&mut open)?;
        let end = match (cause, next) {
            (Some(Cause::Canceled), _) => End::Canceled,
            (Some(_), _) => End::Stopped,
            (None, Next::Again(_, None)) if open.task.trigger != Trigger::Sync => End::Next,
            (None, Next::Again(_, None)) => End::CallersTurn,
            (None, Next::Again(wait, Some(why))) => End::Again(wait, known.mask(&why)),
            (None, Next::Done(BackfillResult::Failed(why, code))) => {
                let kind = match code {
                    77 => Some(FailureType::Auth),
                    4 => Some(FailureType::Config),
                    _ if matches!(how, CallOutcome::Refused { .. }) => Some(FailureType::Config),
                    _ => None,
                };
                let why = known.mask(&why);
                match judge(&open.came.progress(), now()) {
                    Judged::Park(reason) if kind.is_none() => End::Park(reason),
                    _ => End::Park(said(&why, kind.or(Some(FailureType::System)), now())),
                }
            }
            (None, Next::Done(BackfillResult::Through)) => match judge(&open.came.progress(), now()) {
                Judged::Ready => End::Through,
                Judged::Park(reason) => End::Park(reason),
                Judged::Again(why) => {
                    let attempt = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
                    End::Again(crate::engine::backfill::wait(attempt + 1, super::jitter()), known.mask(&why))
                }
            },
        };
        let exit = if let CallOutcome::Exited(how) = &how { Some(known.mask(how)) } else { None };
        self.over(open, end, exit).await
    }

    /// Logs the streams at risk when they change.
    fn say_risk(&self, open: &mut Open) -> Result<(), Problem> {
        let Some(line) = open.run.risk_line(now()) else { return Ok(()) };
        open.came.say(&line).map_err(|error| {
            let why = format!("the log of pipeline {} cannot be written: {error}", self.slot.id);
            Problem::new(500, "log_unwritable", why)
        })
    }

    /// Stores the result of a call: state, run and lifecycle in one transaction.
    async fn over(&mut self, open: Open, end: End, exit: Option<String>) -> Result<(), Problem> {
        let Open { mut task, run, came } = open;
        if matches!(end, End::Canceled) {
            self.slot.say("log", &json!({"level": "warn", "message": "the run was canceled"}));
        }
        let before = task.clone();
        let progress = came.progress();
        task.progress = Some(progress_words(&progress));
        let kept =
            KeptState { state: Some(run.to_keep().get().to_owned()), checkpoints: came.checkpoints(), call_from: None };
        let ends = match end {
            End::Next | End::Stopped => false,
            // A single call that was asked for is over with its failure; a run goes on trying.
            End::Again(..) => task.trigger == Trigger::Sync,
            End::Through | End::Canceled | End::CallersTurn | End::Park(_) => true,
        };
        if ends {
            task.ended_at = Some(now());
            task.log.1 = Some(self.slot.log.end());
            task.state = match end {
                End::Canceled => TaskState::Canceled,
                End::Park(_) | End::Again(..) => TaskState::Failed,
                _ if outcome(&closed(&progress)) == Outcome::Failed => TaskState::Failed,
                _ => TaskState::Succeeded,
            };
            task.message = Some(match &end {
                End::Park(reason) => reason.message.clone(),
                End::Again(_, why) => why.clone(),
                End::Canceled => "canceled".into(),
                _ => came.headline(),
            });
            task.result = Some(result(&progress, exit.as_deref()));
        } else if let End::Again(wait, why) = &end {
            task.message = Some(format!("tries again at {}: {why}", time::iso(after(*wait))));
        }
        let failures = run.failures();
        let number = task.number;
        let closed = task.clone();
        let (open_task, was) = (task.clone(), end.clone());
        let called = task.calls > 0;
        let kept_it = self
            .change(move |tx, pipeline| {
                if called {
                    tx.put_state(&pipeline.id, &kept)?;
                }
                let cancel = put_task(tx, closed.clone())?;
                if ends && pipeline.task.as_ref() == Some(&closed.id) {
                    pipeline.task = None;
                }
                match end {
                    End::Next | End::Stopped => {
                        if matches!(end, End::Next) {
                            pipeline.retry = None;
                        }
                    }
                    End::Through => {
                        pipeline.retry = None;
                        // The next run is another one.
                        pipeline.run_id = None;
                        step(pipeline, LifecycleEvent::Through)?;
                    }
                    End::CallersTurn => {
                        pipeline.retry = Some(StoredRetry {
                        at: after(CALLERS_TURN),
                        attempt: 0,
                        message:
                            "the sync that was asked for has more to do: its caller may go on, else the service does"
                                .into(),
                    });
                    }
                    End::Again(wait, why) => {
                        let before = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
                        pipeline.retry =
                            Some(StoredRetry { at: after(wait), attempt: failures.max(before + 1), message: why });
                    }
                    End::Park(reason) => park(pipeline, reason)?,
                    End::Canceled => {
                        pipeline.retry = None;
                        pipeline.run_id = None;
                        // A pipeline that was never ready was paused when it was canceled.
                        if closed.leaves_ready() {
                            step(pipeline, LifecycleEvent::GivenUp)?;
                        }
                    }
                }
                Ok(cancel)
            })
            .await;
        match kept_it {
            Ok((_, cancel)) if !ends => self.run = Some(Open { task: Task { cancel, ..open_task }, run, came }),
            Ok(_) => self.slot.log.end_run(),
            Err(problem) => {
                // It is not kept, but not forgotten: it goes on from here.
                self.run = Some(Open { task: before, run, came });
                return Err(problem);
            }
        }
        tracing::debug!(target: "service", "{}: a call of run {number}: {was:?}", self.slot.id);
        Ok(())
    }

    pub(super) async fn cancel(&mut self, id: &str) -> Result<(), Problem> {
        self.open(id).await?;
        let Some(open) = self.run.take() else { return Ok(()) };
        self.over(open, End::Canceled, None).await
    }
}

/// Keeps a run; that it was asked to end meanwhile is not forgotten. Answers whether it was.
pub(super) fn put_task(tx: &Tx, mut task: Task) -> Result<bool, Problem> {
    task.cancel |= tx.task(&task.id)?.is_some_and(|kept| kept.cancel);
    tx.put_task(&task)?;
    Ok(task.cancel)
}

fn closed(progress: &Progress) -> Progress {
    let mut closed = progress.clone();
    closed.close(None);
    closed
}

/// Result of a run in short; its log has all of it.
fn result(progress: &Progress, exit: Option<&str>) -> Value {
    let mut all = totals(&closed(progress));
    if let Some(all) = all.as_object_mut() {
        all.insert("exit".into(), exit.into());
    }
    all
}

/// Totals of a run so far.
pub fn totals(progress: &Progress) -> Value {
    let summary = synctop_core::report::summary(progress);
    let now = progress.last_at.unwrap_or(0);
    let mut by_status = serde_json::Map::new();
    for stream in &progress.streams {
        let count = by_status.get(stream.status.as_str()).and_then(Value::as_u64).unwrap_or(0);
        by_status.insert(stream.status.as_str().into(), (count + 1).into());
    }
    json!({
        "outcome": summary.outcome, "reason": summary.reason, "has_more": summary.has_more, "attempts": summary.attempts,
        "records": summary.records, "checkpoints": summary.checkpoints, "elapsed_ms": summary.elapsed_ms,
        "records_per_second": progress.rate.per_second(synctop_core::reduce::ONE_MINUTE, now), "coverage": progress.coverage(),
        "covers_all": progress.covers_all(),
        "streams": progress.streams.len(), "by_status": by_status, "errors": summary.errors, "doubts": summary.doubts,
    })
}

/// Opens a run of a pipeline.
///
/// # Errors
/// When it cannot be kept.
pub fn begin_task(
    tx: &mut Tx,
    pipeline: &mut StoredPipeline,
    trigger: Trigger,
    limits: CallLimits,
    run_id: Option<String>,
    log: u64,
) -> Result<Task, Problem> {
    pipeline.runs += 1;
    let run_id = run_id.unwrap_or_else(fresh_id);
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
    /// It waits for the time of its retry: a run that was asked for does not.
    pub(super) fn task_is_patient(&self) -> bool {
        self.life.phase != Phase::Backfill
            || self.task.is_none()
            || self.retry.as_ref().is_some_and(|it| it.attempt > 0)
    }
}
