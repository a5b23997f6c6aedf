//! Who brings a pipeline to where it is wanted: looks at what is kept, does what is to be done, keeps what came of it, and looks again.
//! One for each pipeline. All that it knows is in the store and the log, so that a crash at any instant costs nothing but time.

use super::call::{Call, Came, Cause};
use super::engines::Action;
use super::hub::{Service, Slot, progress_words, step};
use super::judge::{Judged, judge, said};
use super::lifecycle::{Event, Phase, Todo};
use super::model::{CallLimits, Config, Pipeline, Reason, Retry, Task, TaskState, Trigger};
use super::problem::Problem;
use super::store::{self, KeptState, Tx};
use crate::engine::backfill::{Backfill, Next, Verdict, Wish};
use crate::engine::classify::FailureType;
use crate::engine::drive::fresh_id;
use crate::net::http::How;
use crate::net::now;
use crate::progress::{Outcome, Progress, outcome};
use crate::protocol::Millis;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Live events that one call takes in (as the published service does).
const BATCH: usize = 10;

/// A caller who syncs by single calls has so long for his next one; then the service goes on by itself.
const CALLERS_TURN: Duration = Duration::from_secs(30);

/// When the store or the disk fails.
const PATIENCE: Duration = Duration::from_secs(1);

/// Failures of setup whose kind nobody knows, before it is parked.
const UNKNOWN_FAILURES: u32 = 3;

/// Bytes of the log of a run that is over which are read when the service begins, so that its streams are known.
const READ_AT_ONCE: u64 = 1 << 20;

/// Until it is gone, or the service ends.
pub async fn drive(service: &Arc<Service>, slot: &Arc<Slot>) {
    let mut driver = Driver { service: Arc::clone(service), slot: Arc::clone(slot), run: None };
    while let Err(problem) = driver.recover().await {
        if driver.pause(&problem).await {
            return;
        }
    }
    loop {
        match driver.turn().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(problem) => {
                if driver.pause(&problem).await {
                    return;
                }
            }
        }
    }
}

/// The run that is open, between its calls.
struct Open {
    task: Task,
    run: Backfill,
    came: Came,
}

struct Driver {
    service: Arc<Service>,
    slot: Arc<Slot>,
    run: Option<Open>,
}

impl Driver {
    /// Something of ours failed: waits, and answers whether to give up.
    async fn pause(&self, problem: &Problem) -> bool {
        if *self.service.ending.borrow() || self.slot.pipeline().is_none() {
            return true;
        }
        tracing::error!(target: "service", "{}: {}", self.slot.id, problem.sentence);
        tokio::select! {
            () = tokio::time::sleep(PATIENCE) => false,
            () = self.service.ends() => true,
        }
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx, &mut Pipeline) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(Arc<Pipeline>, T), Problem> {
        self.service.change(&self.slot, work).await
    }

    /// Does what is to be done next; `false`: nothing ever again.
    async fn turn(&mut self) -> Result<bool, Problem> {
        let mut status = self.slot.status.subscribe();
        let seen = status.borrow_and_update().clone();
        let Some(pipeline) = seen else { return Ok(false) };
        if *self.service.ending.borrow() {
            return Ok(false);
        }
        let due = pipeline.retry.as_ref().map_or(0, |retry| retry.at) - now();
        let todo = pipeline.life.todo();
        if due > 0
            && matches!(todo, Todo::SetUp | Todo::Sync | Todo::TearDown | Todo::Live)
            && pipeline.task_is_patient()
        {
            let wait = Duration::from_millis(u64::try_from(due).unwrap_or(0));
            tokio::select! {
                _ = status.changed() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.service.ends() => {}
            }
            return Ok(true);
        }
        match todo {
            Todo::Nothing => {
                self.run = None;
                tokio::select! {
                    _ = status.changed() => {}
                    () = self.service.ends() => {}
                }
            }
            Todo::Halt => {
                self.change(|_, pipeline| step(pipeline, Event::Halted)).await?;
            }
            Todo::SetUp => self.set_up(&pipeline).await?,
            Todo::Sync => self.sync(&pipeline).await?,
            Todo::Live => {
                self.run = None;
                let waiting = self.service.store.read(|it| store::inputs(it, &self.slot.id, BATCH))?;
                if waiting.is_empty() {
                    tokio::select! {
                        _ = status.changed() => {}
                        () = self.slot.inputs.notified() => {}
                        () = self.service.ends() => {}
                    }
                } else {
                    self.live(&pipeline, waiting).await?;
                }
            }
            Todo::TearDown => return self.tear_down(&pipeline).await,
        }
        Ok(true)
    }

    /// What a crash left in the middle: the checkpoints of the call that was in flight are in the log.
    async fn recover(&mut self) -> Result<(), Problem> {
        let kept = self.service.store.read(|it| store::state(it, &self.slot.id))?;
        let Some(pipeline) = self.slot.pipeline() else { return Ok(()) };
        let last = pipeline.task.as_ref().or(pipeline.last.as_ref());
        let Some(task) = last.and_then(|id| self.service.store.read(|it| store::task(it, id)).ok().flatten()) else {
            return Ok(());
        };
        let mut came = Came::begin(&self.slot, task.checkpoints_before);
        let length = task.log.1.map_or(0, |to| to.saturating_sub(task.log.0));
        if length <= READ_AT_ONCE {
            came.read_again(task.log.0, task.log.1)?;
        }
        let Some(from) = kept.call_from else { return Ok(()) };
        let mut run = self.backfill(&task, &kept)?;
        run.begin();
        came.replay(from, &mut run)?;
        run.cut();
        run.over(&How::Broke("the service was restarted".into()), 0.0);
        self.slot.say(
            "log",
            &json!({
                "level": "warn",
                "message": "the service was restarted in the middle of a call: it goes on from the last checkpoint",
            }),
        );
        let kept =
            KeptState { state: Some(run.to_keep().get().to_owned()), checkpoints: came.checkpoints(), call_from: None };
        let id = self.slot.id.clone();
        let task = Task { calls: task.calls + 1, ..task };
        let open = (!task.state.over()).then(|| task.clone());
        let put = open.clone();
        self.service
            .store
            .write(move |tx| {
                put.iter().try_for_each(|task| tx.put_task(task))?;
                tx.put_state(&id, &kept).map_err(Problem::from)
            })
            .await?;
        self.run = open.map(|task| Open { task, run, came });
        Ok(())
    }

    fn backfill(&self, task: &Task, kept: &KeptState) -> Result<Backfill, Problem> {
        let wish = Wish { retries: u32::MAX, kept: true, ..Wish::default() };
        let state = kept.state.as_deref();
        let mut run = Backfill::new(wish, state, task.run_id.clone()).map_err(|why| {
            Problem::new(
                500,
                "state_unreadable",
                format!("the state of pipeline {} cannot be read: {why}", self.slot.id),
            )
        })?;
        run.name(task.run_id.clone());
        Ok(run)
    }

    // A run.

    async fn sync(&mut self, pipeline: &Arc<Pipeline>) -> Result<(), Problem> {
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
        if self.run.as_ref().is_none_or(|open| open.task.id != id) {
            let Some(task) = self.service.store.read(|it| store::task(it, &id))? else {
                return Err(Problem::new(500, "task_lost", format!("the run {id} is not in the store")));
            };
            let kept = self.service.store.read(|it| store::state(it, &self.slot.id))?;
            let kept = if task.reset { KeptState { state: None, ..kept } } else { kept };
            let run = self.backfill(&task, &kept)?;
            let mut came = Came::begin(&self.slot, task.checkpoints_before);
            if task.started_at.is_some() {
                came.read_again(task.log.0, None)?;
            }
            self.run = Some(Open { task, run, came });
        }
        if self.canceled(&id)? {
            return self.cancel().await;
        }
        // As many engines at once as the machine bears; whoever waits longest is next.
        let service = Arc::clone(&self.service);
        let mut status = self.slot.status.subscribe();
        status.borrow_and_update();
        let _permit = tokio::select! {
            permit = service.permits.acquire() => permit.ok(),
            _ = status.changed() => return Ok(()),
            () = service.ends() => return Ok(()),
        };
        self.one_call(pipeline).await
    }

    fn canceled(&self, id: &str) -> Result<bool, Problem> {
        Ok(self.service.store.read(|it| store::task(it, id))?.is_some_and(|task| task.cancel))
    }

    async fn one_call(&mut self, pipeline: &Arc<Pipeline>) -> Result<(), Problem> {
        let Some(mut open) = self.run.take() else { return Ok(()) };
        let config = match pipeline.config.resolved(&pipeline.id, &self.service.config.secrets) {
            Ok(config) => config,
            Err(why) => {
                let reason = said(&why, Some(FailureType::Config), now());
                return self.over(open, End::Park(reason), None).await;
            }
        };
        let limits = self.service.engines.limits(pipeline.config.engine());
        open.run.limits(
            Some(open.task.limits.time_limit.unwrap_or(limits.0)),
            Some(open.task.limits.state_limit.unwrap_or(limits.1)),
        );
        open.run.pipeline(config.clone());
        // From here on a crash finds the checkpoints in the log.
        let from = self.slot.log.end();
        let first = open.task.state == TaskState::Pending;
        if first {
            open.task.state = TaskState::Running;
            open.task.started_at = Some(now());
            open.task.message = None;
        }
        let id = self.slot.id.clone();
        let task = first.then(|| open.task.clone());
        let reset = open.task.reset && open.task.calls == 0;
        self.service
            .store
            .write(move |tx| {
                let mut kept = tx.state(&id)?;
                if reset {
                    kept.state = None;
                }
                task.iter().try_for_each(|task| tx.put_task(task))?;
                tx.put_state(&id, &KeptState { call_from: Some(from), ..kept }).map_err(Problem::from)
            })
            .await?;
        let body = open.run.begin();
        let call =
            Call { service: &self.service, slot: &self.slot, pipeline, config: &config, action: Action::Sync, body };
        let task_id = open.task.id.clone();
        let (how, cause) = call.sync(&mut open.run, &mut open.came, &task_id).await;
        open.run.cut();
        open.task.calls += 1;
        let next = open.run.over(&how, super::dice());
        let end = match (cause, next) {
            (Some(Cause::Canceled), _) => End::Canceled,
            (Some(_), _) => End::Stopped,
            (None, Next::Again(_, None)) if open.task.trigger != Trigger::Sync => End::Next,
            (None, Next::Again(_, None)) => End::CallersTurn,
            (None, Next::Again(wait, Some(why))) => End::Again(wait, why),
            (None, Next::Done(Verdict::Failed(why, code))) => {
                let kind = match code {
                    77 => Some(FailureType::Auth),
                    4 => Some(FailureType::Config),
                    _ => None,
                };
                match judge(&open.came.progress(), now()) {
                    Judged::Park(reason) if kind.is_none() => End::Park(reason),
                    _ => End::Park(said(&why, kind.or(Some(FailureType::System)), now())),
                }
            }
            (None, Next::Done(Verdict::Through)) => match judge(&open.came.progress(), now()) {
                Judged::Ready => End::Through,
                Judged::Park(reason) => End::Park(reason),
                Judged::Again(why) => {
                    let attempt = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
                    End::Again(crate::engine::backfill::wait(attempt + 1, super::dice()), why)
                }
            },
        };
        let exit = if let How::Exited(how) = &how { Some(how.clone()) } else { None };
        self.over(open, end, exit).await
    }

    /// Keeps what a call came to: state, run and lifecycle in one transaction.
    async fn over(&mut self, open: Open, end: End, exit: Option<String>) -> Result<(), Problem> {
        let Open { mut task, run, came } = open;
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
            task.message = Some(format!("tries again in {:.0} s: {why}", wait.as_secs_f64()));
        }
        let failures = run.failures();
        let number = task.number;
        let closed = task.clone();
        let (open_task, was) = (task.clone(), end.clone());
        self.change(move |tx, pipeline| {
            tx.put_state(&pipeline.id, &kept)?;
            tx.put_task(&closed)?;
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
                    step(pipeline, Event::Through)?;
                }
                End::CallersTurn => {
                    pipeline.retry = Some(Retry {
                        at: after(CALLERS_TURN),
                        attempt: 0,
                        message:
                            "the sync that was asked for has more to do: its caller may go on, else the service does"
                                .into(),
                    });
                }
                End::Again(wait, why) => {
                    let before = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
                    pipeline.retry = Some(Retry { at: after(wait), attempt: failures.max(before + 1), message: why });
                }
                End::Park(reason) => park(pipeline, reason)?,
                End::Canceled => {
                    pipeline.retry = None;
                    pipeline.run_id = None;
                    if closed.trigger == Trigger::Backfill {
                        // It would begin again at once.
                        step(pipeline, Event::Want(super::lifecycle::Desired::Paused)).or_else(only_deleted)?;
                    } else {
                        step(pipeline, Event::GivenUp)?;
                    }
                }
            }
            Ok(())
        })
        .await?;
        if ends {
            self.slot.log.end_run();
        } else {
            let run = Open { task: open_task, run, came };
            self.run = matches!(was, End::Next | End::Again(..) | End::Stopped).then_some(run);
        }
        tracing::debug!(target: "service", "{}: a call of run {number}: {was:?}", self.slot.id);
        Ok(())
    }

    async fn cancel(&mut self) -> Result<(), Problem> {
        let Some(open) = self.run.take() else { return Ok(()) };
        self.over(open, End::Canceled, None).await
    }

    // Live events.

    async fn live(&mut self, pipeline: &Arc<Pipeline>, waiting: Vec<(u64, String)>) -> Result<(), Problem> {
        let _permit = tokio::select! {
            permit = self.service.permits.acquire() => permit.ok(),
            () = self.service.ends() => return Ok(()),
        };
        let config = match pipeline.config.resolved(&pipeline.id, &self.service.config.secrets) {
            Ok(config) => config,
            Err(why) => {
                let reason = said(&why, Some(FailureType::Config), now());
                self.change(move |_, pipeline| park(pipeline, reason)).await?;
                return Ok(());
            }
        };
        let last = pipeline.last.as_ref();
        let Some(task) = last.and_then(|id| self.service.store.read(|it| store::task(it, id)).ok().flatten()) else {
            return Err(Problem::new(500, "task_lost", "there was no run yet"));
        };
        let kept = self.service.store.read(|it| store::state(it, &self.slot.id))?;
        let mut run = self.backfill(&task, &kept)?;
        run.pipeline(config.clone());
        let limits = self.service.engines.limits(pipeline.config.engine());
        run.limits(Some(limits.0), None);
        let upto = waiting.last().map_or(0, |(seq, _)| *seq);
        let events: Vec<Box<RawValue>> =
            waiting.into_iter().filter_map(|(_, body)| serde_json::from_str(&body).ok()).collect();
        let count = events.len();
        let body = run.begin_with(&events);
        let before = kept.checkpoints;
        let mut came = Came::begin_beside(&self.slot, before);
        let call =
            Call { service: &self.service, slot: &self.slot, pipeline, config: &config, action: Action::Sync, body };
        let (how, cause) = call.sync(&mut run, &mut came, "").await;
        run.cut();
        let next = run.over(&how, super::dice());
        if cause.is_some() {
            // They are still there, and are taken in again.
            return Ok(());
        }
        let judged = match next {
            Next::Again(_, None) | Next::Done(Verdict::Through) => judge(&came.progress(), now()),
            Next::Again(_, Some(why)) => Judged::Again(why),
            Next::Done(Verdict::Failed(why, _)) => Judged::Park(said(&why, None, now())),
        };
        let kept =
            KeptState { state: Some(run.to_keep().get().to_owned()), checkpoints: came.checkpoints(), call_from: None };
        tracing::debug!(target: "service", "{}: {count} live events: {judged:?}", self.slot.id);
        self.change(move |tx, pipeline| {
            tx.put_state(&pipeline.id, &kept)?;
            match judged {
                Judged::Ready => {
                    pipeline.retry = None;
                    tx.drop_inputs(&pipeline.id, upto)?;
                    Ok(())
                }
                Judged::Park(reason) => park(pipeline, reason),
                Judged::Again(why) => {
                    retry(pipeline, why);
                    Ok(())
                }
            }
        })
        .await?;
        Ok(())
    }

    // Setup and teardown.

    async fn set_up(&mut self, pipeline: &Arc<Pipeline>) -> Result<(), Problem> {
        let done = self.prepare(pipeline, Action::Setup).await?;
        let Some(done) = done else { return Ok(()) };
        self.change(move |_, pipeline| match done {
            Prepared::Well(source, destination) => {
                pipeline.retry = None;
                let mut config = pipeline.config.as_ref().clone();
                take_over(&mut config, source, destination);
                pipeline.config = Arc::new(config);
                step(pipeline, Event::SetUp)
            }
            Prepared::Failed(why, kind) => {
                let attempts = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt);
                let permanent = kind.map_or(attempts + 1 >= UNKNOWN_FAILURES, FailureType::permanent);
                if permanent {
                    park(pipeline, said(&why, kind, now()))
                } else {
                    retry(pipeline, why);
                    Ok(())
                }
            }
        })
        .await?;
        Ok(())
    }

    /// Tears down, and answers whether it is still there.
    async fn tear_down(&mut self, pipeline: &Arc<Pipeline>) -> Result<bool, Problem> {
        // What was in flight is canceled.
        if let Some(id) = pipeline.task.clone() {
            let log = self.slot.log.end();
            self.change(move |tx, pipeline| {
                if let Some(mut task) = tx.task(&id)? {
                    task.state = TaskState::Canceled;
                    task.ended_at = Some(now());
                    task.log.1 = Some(log);
                    task.message = Some("the pipeline was deleted".into());
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
        match self.prepare(pipeline, Action::Teardown).await? {
            None => Ok(true),
            Some(Prepared::Well(..)) => {
                self.service.remove(&self.slot).await?;
                Ok(false)
            }
            Some(Prepared::Failed(why, kind)) => {
                // Final all the same: it is tried until it succeeds, or is forced.
                self.change(move |_, pipeline| {
                    let since = pipeline.reason.as_ref().map_or_else(now, |reason| reason.since);
                    let next = "mend the cause, or delete it with force=true, which leaves the rest behind".into();
                    pipeline.reason = Some(Reason { since, next, ..said(&why, kind, now()) });
                    retry(pipeline, why);
                    Ok(())
                })
                .await?;
                Ok(true)
            }
        }
    }

    /// Asks the engine to set up or tear down; `None`: it was stopped.
    async fn prepare(&mut self, pipeline: &Arc<Pipeline>, action: Action) -> Result<Option<Prepared>, Problem> {
        if !self.service.engines.can(pipeline.config.engine(), action) {
            return Ok(Some(Prepared::Well(None, None)));
        }
        let config = match pipeline.config.resolved(&pipeline.id, &self.service.config.secrets) {
            Ok(config) => config,
            Err(why) => return Ok(Some(Prepared::Failed(why, Some(FailureType::Config)))),
        };
        let service = Arc::clone(&self.service);
        let _permit = tokio::select! {
            permit = service.permits.acquire() => permit.ok(),
            () = service.ends() => return Ok(None),
        };
        let body = json!({"pipeline": config}).to_string();
        let call = Call { service: &self.service, slot: &self.slot, pipeline, config: &config, action, body };
        Ok(call.prepare().await)
    }
}

/// What a call came to.
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
    Park(Reason),
}

/// What setup or teardown came to.
pub(super) enum Prepared {
    /// The configurations that source and destination want to have from now on.
    Well(Option<Value>, Option<Value>),
    Failed(String, Option<FailureType>),
}

fn only_deleted(problem: Problem) -> Result<(), Problem> {
    if problem.code == "pipeline_deleted" { Ok(()) } else { Err(problem) }
}

fn closed(progress: &Progress) -> Progress {
    let mut closed = progress.clone();
    closed.close(None);
    closed
}

fn after(wait: Duration) -> Millis {
    now().saturating_add(Millis::try_from(wait.as_millis()).unwrap_or(Millis::MAX))
}

fn park(pipeline: &mut Pipeline, reason: Reason) -> Result<(), Problem> {
    pipeline.retry = None;
    // What failed is tried again by another run.
    pipeline.run_id = None;
    step(pipeline, Event::Parked)?;
    if pipeline.life.hold == super::lifecycle::Hold::Parked {
        pipeline.reason = Some(reason);
    }
    Ok(())
}

fn retry(pipeline: &mut Pipeline, message: String) {
    let attempt = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt) + 1;
    let wait = crate::engine::backfill::wait(attempt, super::dice());
    pipeline.retry = Some(Retry { at: after(wait), attempt, message });
}

/// The configuration as setup wants it; secrets stay as they were given, a reference a reference.
pub fn take_over(config: &mut Config, source: Option<Value>, destination: Option<Value>) {
    for (own, new) in [(&mut config.source, source), (&mut config.destination, destination)] {
        let kind = own.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Object(new)) = new else { continue };
        let Some(own) = own.as_object_mut() else { continue };
        let own = own.entry(kind).or_insert_with(|| json!({}));
        let Some(own) = own.as_object_mut() else { continue };
        for (key, value) in new {
            // What was said is what is wanted.
            own.entry(key).or_insert(value);
        }
    }
}

/// What a run came to, in short; all of it is in its log.
fn result(progress: &Progress, exit: Option<&str>) -> Value {
    let closed = closed(progress);
    let summary = crate::progress::summary(&closed);
    json!({
        "outcome": summary.outcome, "reason": summary.reason, "has_more": summary.has_more, "attempts": summary.attempts,
        "records": summary.records, "checkpoints": summary.checkpoints, "elapsed_ms": summary.elapsed_ms,
        "streams": closed.streams.len(), "errors": summary.errors, "doubts": summary.doubts, "exit": exit,
    })
}

/// Opens a run of a pipeline.
///
/// # Errors
/// When it cannot be kept.
pub fn begin_task(
    tx: &mut Tx,
    pipeline: &mut Pipeline,
    trigger: Trigger,
    limits: CallLimits,
    run_id: Option<String>,
    log: u64,
) -> Result<Task, Problem> {
    pipeline.runs += 1;
    let run_id = run_id.unwrap_or_else(fresh_id);
    let task = Task {
        id: fresh_id().replacen("run_", "task_", 1),
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
        checkpoints_before: tx.state(&pipeline.id)?.checkpoints,
        calls: 0,
        progress: None,
        message: None,
        result: None,
    };
    tx.put_task(&task)?;
    pipeline.run_id = Some(run_id);
    pipeline.task = Some(task.id.clone());
    pipeline.last = Some(task.id.clone());
    Ok(task)
}

impl Pipeline {
    /// It waits for the time of its retry: a run that was asked for does not.
    fn task_is_patient(&self) -> bool {
        self.life.phase != Phase::Backfill
            || self.task.is_none()
            || self.retry.as_ref().is_some_and(|it| it.attempt > 0)
    }
}
