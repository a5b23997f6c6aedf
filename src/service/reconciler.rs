//! Reconciles one pipeline: compares desired with stored state, performs the next transition,
//! persists the result, repeats. One per pipeline. Everything it knows is in the store and the log,
//! so that a crash at any instant costs only time.

use super::call::{CallProgress, RunCall};
use super::engines::EngineAction;
use super::lifecycle::{LifecycleEvent, Todo};
use super::model::{ParkReason, PipelineConfig, StoredPipeline, StoredRetry, Task};
use super::problem::Problem;
use super::registry::{Service, Slot, end_with_its_pipeline, step};
use super::run::{Open, put_task};
use super::run_verdict::{Judged, judge, said};
use super::secrets::Known;
use super::store::{self, KeptState, Tx};
use crate::engine::backfill::{Backfill, BackfillOptions, BackfillResult, Next};
use crate::engine::classify::FailureType;
use crate::net::http::CallOutcome;
use crate::net::now;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use synctop_core::protocol::Millis;
use tokio::sync::SemaphorePermit;

/// Live events that one call takes in (as the published service does).
const BATCH: usize = 10;

/// Delay after a failure of the store or the disk.
const PATIENCE: Duration = Duration::from_secs(1);

/// Unclassified failures of setup before the pipeline is parked.
const UNKNOWN_FAILURES: u32 = 3;

/// Bytes of the log of a run that is over which are read when the service begins, so that its
/// streams are known.
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

pub(super) struct Driver {
    pub service: Arc<Service>,
    pub slot: Arc<Slot>,
    pub run: Option<Open>,
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

    pub(super) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx, &mut StoredPipeline) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(Arc<StoredPipeline>, T), Problem> {
        self.service.change(&self.slot, work).await
    }

    /// Performs the next transition; `false`: none will ever follow.
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
                self.change(|_, pipeline| step(pipeline, LifecycleEvent::Halted)).await?;
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

    /// Recovers from a crash: the checkpoints of the interrupted call are in the log.
    pub(super) async fn recover(&mut self) -> Result<(), Problem> {
        let kept = self.service.store.read(|it| store::state(it, &self.slot.id))?;
        let Some(pipeline) = self.slot.pipeline() else { return Ok(()) };
        let Some(id) = pipeline.task.as_ref().or(pipeline.last.as_ref()) else { return Ok(()) };
        let Some(task) = self.service.store.read(|it| store::task(it, id))? else { return Ok(()) };
        let mut came = CallProgress::begin(&self.slot, &task);
        let length = task.log.1.map_or(0, |to| to.saturating_sub(task.log.0));
        if length > READ_AT_ONCE {
            return Ok(());
        }
        // An unreadable state is read again at the source.
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
        run.over(&CallOutcome::Broke("the service was restarted".into()), 0.0);
        tracing::warn!(target: "service", "{}: goes on from the last checkpoint of a call that was cut", self.slot.id);
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

    pub(super) fn backfill(&self, task: &Task, kept: &KeptState) -> Result<Backfill, Problem> {
        let wish = BackfillOptions { retries: u32::MAX, kept: true, ..BackfillOptions::default() };
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

    /// The configuration with its secrets, and these; or why it cannot be had.
    pub(super) fn resolved(&self, pipeline: &StoredPipeline) -> Result<(Value, Known), String> {
        let config = pipeline.config.resolved(&pipeline.id, &self.service.config.secrets)?;
        let known = Known::of(&config, &pipeline.config.whole(&pipeline.id));
        Ok((config, known))
    }

    /// A call without limits.
    pub(super) fn call<'c>(
        &'c self,
        pipeline: &'c Arc<StoredPipeline>,
        known: &'c Known,
        action: EngineAction,
        body: String,
    ) -> RunCall<'c> {
        RunCall { service: &self.service, slot: &self.slot, pipeline, known, action, body, limits: (None, None) }
    }

    /// Waits for a turn. `None`: something else is to be done meanwhile.
    pub(super) async fn permit<'s>(
        &self,
        service: &'s Arc<Service>,
        seen: &StoredPipeline,
    ) -> Option<SemaphorePermit<'s>> {
        let mut status = self.slot.status.subscribe();
        // Changes since the read count too.
        let other = status.wait_for(|it| it.as_ref().is_none_or(|it| it.revision != seen.revision));
        tokio::select! {
            biased;
            _ = other => None,
            () = service.ends() => None,
            permit = service.permits.acquire() => permit.ok(),
        }
    }

    // Live events.

    async fn live(&mut self, pipeline: &Arc<StoredPipeline>, waiting: Vec<(u64, String)>) -> Result<(), Problem> {
        let service = Arc::clone(&self.service);
        let Some(_permit) = self.permit(&service, pipeline).await else { return Ok(()) };
        let (config, known) = match self.resolved(pipeline) {
            Ok(resolved) => resolved,
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
        run.pipeline(config);
        let upto = waiting.last().map_or(0, |(seq, _)| *seq);
        let events: Vec<Box<RawValue>> =
            waiting.into_iter().filter_map(|(_, body)| serde_json::from_str(&body).ok()).collect();
        let count = events.len();
        let body = run.begin_with(&events);
        let before = kept.checkpoints;
        let mut came = CallProgress::begin_beside(&self.slot, before);
        let call = self.call(pipeline, &known, EngineAction::Sync, body);
        let (how, cause) = call.sync(&mut run, &mut came, "").await;
        run.cut();
        let next = run.over(&how, super::jitter());
        if cause.is_some() {
            // They are still there, and are taken in again.
            return Ok(());
        }
        let judged = match next {
            Next::Done(BackfillResult::Through) => judge(&came.progress(), now()),
            // It has not taken in all of them.
            Next::Again(_, None) => Judged::Again("the engine did not come to the end of the live events".into()),
            Next::Again(_, Some(why)) => Judged::Again(known.mask(&why)),
            Next::Done(BackfillResult::Failed(why, _)) => Judged::Park(said(&known.mask(&why), None, now())),
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

    async fn set_up(&mut self, pipeline: &Arc<StoredPipeline>) -> Result<(), Problem> {
        let done = self.prepare(pipeline, EngineAction::Setup).await?;
        let Some(done) = done else { return Ok(()) };
        self.change(move |_, pipeline| match done {
            Prepared::Well(source, destination) => {
                pipeline.retry = None;
                let mut config = pipeline.config.as_ref().clone();
                take_over(&mut config, source, destination);
                pipeline.config = Arc::new(config);
                step(pipeline, LifecycleEvent::SetUp)
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
    async fn tear_down(&mut self, pipeline: &Arc<StoredPipeline>) -> Result<bool, Problem> {
        // A running call is canceled.
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
        match self.prepare(pipeline, EngineAction::Teardown).await? {
            None => Ok(true),
            Some(Prepared::Well(..)) => {
                self.service.remove(&self.slot).await?;
                Ok(false)
            }
            Some(Prepared::Failed(why, kind)) => {
                // Final all the same: it is tried until it succeeds, or is forced.
                self.change(move |_, pipeline| {
                    let since = pipeline.reason.as_ref().map_or_else(now, |reason| reason.since);
                    let next = "fix the cause, or delete it with force=true, which skips the teardown".into();
                    pipeline.reason = Some(ParkReason { since, next, ..said(&why, kind, now()) });
                    retry(pipeline, why);
                    Ok(())
                })
                .await?;
                Ok(true)
            }
        }
    }

    /// Asks the engine to set up or tear down; `None`: it was stopped.
    async fn prepare(
        &mut self,
        pipeline: &Arc<StoredPipeline>,
        action: EngineAction,
    ) -> Result<Option<Prepared>, Problem> {
        if !self.service.engines.can(pipeline.config.engine(), action) {
            return Ok(Some(Prepared::Well(None, None)));
        }
        let (config, known) = match self.resolved(pipeline) {
            Ok(resolved) => resolved,
            Err(why) => return Ok(Some(Prepared::Failed(why, Some(FailureType::Config)))),
        };
        let service = Arc::clone(&self.service);
        let Some(_permit) = self.permit(&service, pipeline).await else { return Ok(None) };
        let body = json!({"pipeline": config}).to_string();
        let call = self.call(pipeline, &known, action, body);
        Ok(call.prepare().await)
    }
}

/// Result of setup or teardown.
pub(super) enum Prepared {
    /// The configurations that source and destination want to have from now on.
    Well(Option<Value>, Option<Value>),
    Failed(String, Option<FailureType>),
}

pub(super) fn after(wait: Duration) -> Millis {
    now().saturating_add(Millis::try_from(wait.as_millis()).unwrap_or(Millis::MAX))
}

pub(super) fn park(pipeline: &mut StoredPipeline, reason: ParkReason) -> Result<(), Problem> {
    pipeline.retry = None;
    // Failed streams are retried by another run.
    pipeline.run_id = None;
    step(pipeline, LifecycleEvent::Parked)?;
    if pipeline.life.hold == super::lifecycle::Hold::Parked {
        pipeline.reason = Some(reason);
    }
    Ok(())
}

fn retry(pipeline: &mut StoredPipeline, message: String) {
    let attempt = pipeline.retry.as_ref().map_or(0, |retry| retry.attempt) + 1;
    let wait = crate::engine::backfill::wait(attempt, super::jitter());
    pipeline.retry = Some(StoredRetry { at: after(wait), attempt, message });
}

/// The configuration as setup wants it; secrets stay as they were given, a reference a reference.
pub fn take_over(config: &mut PipelineConfig, source: Option<Value>, destination: Option<Value>) {
    for (own, new) in [(&mut config.source, source), (&mut config.destination, destination)] {
        let kind = own.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(Value::Object(new)) = new else { continue };
        let Some(own) = own.as_object_mut() else { continue };
        let own = own.entry(kind).or_insert_with(|| json!({}));
        let Some(own) = own.as_object_mut() else { continue };
        for (key, value) in new {
            // The configuration as requested.
            own.entry(key).or_insert(value);
        }
    }
}
