//! Who brings a pipeline to where it is wanted: looks at what is kept, does what is to be done, keeps what came of it, and looks again.
//! One for each pipeline. All that it knows is in the store and the log, so that a crash at any instant costs nothing but time.

use super::call::{Call, Came, Cause};
use super::engines::Action;
use super::hub::{Service, Slot, end_with_its_pipeline, progress_words, step};
use super::judge::{Judged, judge, said};
use super::lifecycle::{Event, Phase, Todo};
use super::model::{CallLimits, Config, Pipeline, Reason, Retry, Task, TaskState, Trigger};
use super::problem::Problem;
use super::secrets::Known;
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
use tokio::sync::SemaphorePermit;

/// Live events that one call takes in (as the published service does).
const BATCH: usize = 10;

/// A caller who syncs by single calls has so long for his next one; then the service goes on by itself.
const CALLERS_TURN: Duration = Duration::from_secs(30);

/// When the store or the disk fails.
const PATIENCE: Duration = Duration::from_secs(1);

/// Failures of setup whose kind nobody knows, before it is parked.
const UNKNOWN_FAILURES: u32 = 3;

/// Bytes of the log of a run that is over which are read when the service begins, so that its streams are known.
const READ_AT_ONCE: u64 = 16 << 20;

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
        // A run that is to end ends, whatever else is to be done.
        if let Some(id) = &pipeline.task
            && pipeline.life.todo() != Todo::TearDown
            && self.canceled(id)?
        {
            self.cancel(id).await?;
            return Ok(true);
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
        let Some(id) = pipeline.task.as_ref().or(pipeline.last.as_ref()) else { return Ok(()) };
        let Some(task) = self.service.store.read(|it| store::task(it, id))? else { return Ok(()) };
        let mut came = Came::begin(&self.slot, &task);
        let length = task.log.1.map_or(0, |to| to.saturating_sub(task.log.0));
        if length > READ_AT_ONCE {
            return Ok(());
        }
        // What cannot be read is read again at the source.
        if let Err(problem) = came.read_again(task.log.0, task.log.1) {
            tracing::error!(target: "service", "{}", problem.sentence);
        }
        came.at_least(kept.checkpoints);
        came.publish();
        let Some(from) = kept.call_from.filter(|_| !task.state.over()) else { return Ok(()) };
        let mut run = self.backfill(&task, &kept)?;
        run.begin();
        if let Err(problem) = came.replay(from, &mut run) {
            tracing::error!(target: "service", "{}", problem.sentence);
        }
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
        let mut task = Task { calls: task.calls + 1, ..task };
        let put = task.clone();
        let pipeline = self.slot.id.clone();
        task.cancel = self
            .service
            .keep(&self.slot, move |tx| {
                let cancel = put_task(tx, put)?;
                tx.put_state(&pipeline, &kept)?;
                Ok(cancel)
            })
            .await?;
        self.run = Some(Open { task, run, came });
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
        self.open(&id).await?;
        // As many engines at once as the machine bears; whoever waits longest is next.
        let service = Arc::clone(&self.service);
        let Some(_permit) = self.permit(&service, pipeline).await else { return Ok(()) };
        self.one_call(pipeline).await
    }

    /// Waits for a turn. `None`: something else is to be done meanwhile.
    async fn permit<'s>(&self, service: &'s Arc<Service>, seen: &Pipeline) -> Option<SemaphorePermit<'s>> {
        let mut status = self.slot.status.subscribe();
        // What came since it was looked at counts too.
        let other = status.wait_for(|it| it.as_ref().is_none_or(|it| it.revision != seen.revision));
        tokio::select! {
            biased;
            _ = other => None,
            () = service.ends() => None,
            permit = service.permits.acquire() => permit.ok(),
        }
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
        let mut came = Came::begin(&self.slot, &task);
        if begun {
            came.read_again(task.log.0, None)?;
            came.at_least(kept.checkpoints);
        }
        came.publish();
        self.run = Some(Open { task, run, came });
        Ok(())
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
        let known = Known::of(&config, &pipeline.config.whole(&pipeline.id));
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
        let call = Call {
            service: &self.service,
            slot: &self.slot,
            pipeline,
            known: &known,
            action: Action::Sync,
            body,
            limits,
        };
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
            (None, Next::Again(wait, Some(why))) => End::Again(wait, known.sentence(&why)),
            (None, Next::Done(Verdict::Failed(why, code))) => {
                let kind = match code {
                    77 => Some(FailureType::Auth),
                    4 => Some(FailureType::Config),
                    _ => None,
                };
                let why = known.sentence(&why);
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
                    End::Again(crate::engine::backfill::wait(attempt + 1, super::dice()), known.sentence(&why))
                }
            },
        };
        let exit = if let How::Exited(how) = &how { Some(known.sentence(how)) } else { None };
        self.over(open, end, exit).await
    }

    /// Keeps what a call came to: state, run and lifecycle in one transaction.
    async fn over(&mut self, open: Open, end: End, exit: Option<String>) -> Result<(), Problem> {
        let Open { mut task, run, came } = open;
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
            task.message = Some(format!("tries again in {:.0} s: {why}", wait.as_secs_f64()));
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
                        pipeline.retry =
                            Some(Retry { at: after(wait), attempt: failures.max(before + 1), message: why });
                    }
                    End::Park(reason) => park(pipeline, reason)?,
                    End::Canceled => {
                        pipeline.retry = None;
                        pipeline.run_id = None;
                        // What was never ready was paused when it was canceled.
                        if closed.was_ready {
                            step(pipeline, Event::GivenUp)?;
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

    async fn cancel(&mut self, id: &str) -> Result<(), Problem> {
        self.open(id).await?;
        let Some(open) = self.run.take() else { return Ok(()) };
        self.over(open, End::Canceled, None).await
    }

    // Live events.

    async fn live(&mut self, pipeline: &Arc<Pipeline>, waiting: Vec<(u64, String)>) -> Result<(), Problem> {
        let service = Arc::clone(&self.service);
        let Some(_permit) = self.permit(&service, pipeline).await else { return Ok(()) };
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
        let known = Known::of(&config, &pipeline.config.whole(&pipeline.id));
        run.pipeline(config);
        let upto = waiting.last().map_or(0, |(seq, _)| *seq);
        let events: Vec<Box<RawValue>> =
            waiting.into_iter().filter_map(|(_, body)| serde_json::from_str(&body).ok()).collect();
        let count = events.len();
        let body = run.begin_with(&events);
        let before = kept.checkpoints;
        let mut came = Came::begin_beside(&self.slot, before);
        let call = Call {
            service: &self.service,
            slot: &self.slot,
            pipeline,
            known: &known,
            action: Action::Sync,
            body,
            limits: (None, None),
        };
        let (how, cause) = call.sync(&mut run, &mut came, "").await;
        run.cut();
        let next = run.over(&how, super::dice());
        if cause.is_some() {
            // They are still there, and are taken in again.
            return Ok(());
        }
        let judged = match next {
            Next::Done(Verdict::Through) => judge(&came.progress(), now()),
            // It has not taken in all of them.
            Next::Again(_, None) => Judged::Again("the engine did not come to the end of the live events".into()),
            Next::Again(_, Some(why)) => Judged::Again(known.sentence(&why)),
            Next::Done(Verdict::Failed(why, _)) => Judged::Park(said(&known.sentence(&why), None, now())),
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
                    end_with_its_pipeline(&mut task, log);
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
        let Some(_permit) = self.permit(&service, pipeline).await else { return Ok(None) };
        let known = Known::of(&config, &pipeline.config.whole(&pipeline.id));
        let body = json!({"pipeline": config}).to_string();
        let limits = (None, None);
        let call = Call { service: &self.service, slot: &self.slot, pipeline, known: &known, action, body, limits };
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

/// Keeps a run; that it was asked to end meanwhile is not forgotten. Answers whether it was.
fn put_task(tx: &Tx, mut task: Task) -> Result<bool, Problem> {
    task.cancel |= tx.task(&task.id)?.is_some_and(|kept| kept.cancel);
    tx.put_task(&task)?;
    Ok(task.cancel)
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
        was_ready: false,
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
