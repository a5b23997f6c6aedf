//! Registry of pipelines of a running service: published state, and changes.
//!
//! ```text
//!  a request, or a driver's result --> Service::change --> store (one transaction) --committed--> Slot::status (watch) --> waits, drivers
//!  an engine's lines --> driver --> Slot::log (file) --> readers of events, each at his own place
//!                              '--> reducer --> Slot::facts (watch) --> waits for progress, tasks
//! ```

use super::config::Config;
use super::engines::Engines;
use super::lifecycle::{Life, LifecycleEvent, Refusal};
use super::log::{self, PipelineLog};
use super::model::{Cursor, StoredPipeline, Task};
use super::problem::Problem;
use super::store::{self, Store, StoreError, Tx};
use crate::net::now;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use synctop_core::protocol::{Millis, Status, time};
use synctop_core::reduce::Progress;
use tokio::sync::{Notify, Semaphore, watch};

/// After a driver that ended badly.
const BREATH: Duration = Duration::from_secs(1);

/// Interval of pruning, and retention of results of deleted pipelines.
const HOUSEKEEPING: Duration = Duration::from_secs(600);
const GONE_KEPT: Millis = 30 * 86_400_000;

/// Emitter of lines that are not an engine's.
pub const SERVICE: &str = "synctop/service";

/// Live state of a pipeline's run.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// All that the pipeline ever had.
    pub checkpoints: u64,
    /// Task of the run.
    pub task: Option<String>,
    /// State of that run; absent if it was not read again since the service started.
    pub progress: Option<Arc<Progress>>,
    /// The place in the log up to which it is known.
    pub position: u64,
}

impl RunFacts {
    /// State of this run.
    #[must_use]
    pub fn of(&self, task: Option<&String>) -> Option<&Arc<Progress>> {
        self.progress.as_ref().filter(|_| task.is_some() && self.task.as_ref() == task)
    }
}

/// A pipeline that is there.
pub struct Slot {
    pub id: String,
    pub incarnation: u64,
    /// As it was committed last; `None`: it is gone.
    pub status: watch::Sender<Option<Arc<StoredPipeline>>>,
    pub facts: watch::Sender<RunFacts>,
    pub log: Arc<PipelineLog>,
    /// Live events came.
    pub inputs: Notify,
}

/// Pipelines by name.
type Slots = BTreeMap<String, Arc<Slot>>;

/// The service.
pub struct Service {
    pub config: Arc<Config>,
    pub store: Store,
    pub engines: Engines,
    /// Permits of concurrent engines; the longest waiting run is next.
    pub permits: Semaphore,
    /// As many may be asked besides.
    pub asks: Semaphore,
    pub ending: watch::Sender<bool>,
    /// Changes that a poll saw before their notification.
    pub missed: AtomicU64,
    slots: RwLock<Slots>,
    logs: PathBuf,
    packer: log::Packer,
    /// Drivers that have not come to their end; when the last is gone, so is the sender.
    drivers: watch::Sender<usize>,
    /// Held for as long as we are the one service of this folder.
    _lock: File,
}

/// Reason that the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error("another synctop serves from {0} already: end it, or name another folder after --data-dir")]
    Taken(PathBuf),
    #[error("the folder {0} cannot be used: {1}. Name another one after --data-dir")]
    Folder(PathBuf, String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Engine(String),
}

impl Service {
    /// Opens the store in `folder`, and continues its work.
    ///
    /// # Errors
    /// When the folder is taken or cannot be used.
    pub fn begin(config: Config, folder: &Path) -> Result<Arc<Self>, BeginError> {
        let bad = |error: &dyn std::fmt::Display| BeginError::Folder(folder.to_owned(), error.to_string());
        std::fs::create_dir_all(folder).map_err(|error| bad(&error))?;
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(|error| bad(&error))?;
        }
        let held = File::options().create(true).truncate(false).write(true).open(folder.join("lock"));
        let held = held.map_err(|error| bad(&error))?;
        let how = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(&held, how).map_err(|_| BeginError::Taken(folder.to_owned()))?;
        let config = Arc::new(config);
        let engines = Engines::new(Arc::clone(&config), folder).map_err(BeginError::Engine)?;
        let service = Arc::new(Self {
            store: Store::open(folder)?,
            engines,
            permits: Semaphore::new(config.limits.runs),
            asks: Semaphore::new(config.limits.runs),
            ending: watch::channel(false).0,
            missed: AtomicU64::new(0),
            slots: RwLock::default(),
            logs: folder.join("logs"),
            packer: log::packer().map_err(|error| bad(&error))?,
            drivers: watch::channel(0).0,
            _lock: held,
            config,
        });
        for pipeline in service.store.read(store::pipelines)? {
            let state = service.store.read(|it| store::state(it, &pipeline.id))?;
            service.place(Arc::new(pipeline), state.checkpoints).map_err(|error| bad(&error))?;
        }
        let own = Arc::clone(&service);
        tokio::spawn(async move {
            loop {
                let keeping = Arc::clone(&own);
                let _ = tokio::task::spawn_blocking(move || keeping.prune()).await;
                let gone = own.store.write(|tx| tx.forget_gone(now() - GONE_KEPT)).await;
                if let Err(error) = gone {
                    tracing::warn!(target: "service", "{error}");
                }
                tokio::select! {
                    () = tokio::time::sleep(HOUSEKEEPING) => {}
                    () = own.ends() => return,
                }
            }
        });
        Ok(service)
    }

    /// Prunes expired data of all logs.
    fn prune(&self) {
        log::prune_gone(&self.logs, self.config.logs.age, |name| {
            self.slots().values().any(|slot| slot.log.folder().file_name().is_some_and(|it| it == name))
        });
        for slot in self.slots_after("") {
            slot.log.prune(std::time::SystemTime::now());
        }
    }

    /// Makes room for a pipeline, and begins to drive it.
    fn place(self: &Arc<Self>, pipeline: Arc<StoredPipeline>, checkpoints: u64) -> io::Result<Arc<Slot>> {
        let folder = self.logs.join(format!("{}.{}", pipeline.id, pipeline.incarnation));
        let slot = Arc::new(Slot {
            id: pipeline.id.clone(),
            incarnation: pipeline.incarnation,
            log: PipelineLog::open(folder, self.config.keep(), self.packer.clone())?,
            status: watch::channel(Some(pipeline)).0,
            facts: watch::channel(RunFacts { checkpoints, ..RunFacts::default() }).0,
            inputs: Notify::new(),
        });
        let mut slots = self.slots_to_change();
        slots.insert(slot.id.clone(), Arc::clone(&slot));
        drop(slots);
        self.drivers.send_modify(|running| *running += 1);
        let (service, driven) = (Arc::clone(self), Arc::clone(&slot));
        tokio::spawn(async move {
            let _count = Count(&service.drivers);
            loop {
                let (service, driven) = (Arc::clone(&service), Arc::clone(&driven));
                let driver = tokio::spawn(async move { Box::pin(super::reconciler::drive(&service, &driven)).await });
                match driver.await {
                    Ok(()) => return,
                    // A bug of ours: the stored state is consistent, and another reconciler
                    // continues with it.
                    Err(error) => {
                        tracing::error!(target: "service", "a driver ended badly, and is begun again: {error}");
                    }
                }
                tokio::time::sleep(BREATH).await;
            }
        });
        Ok(slot)
    }

    /// Creates a pipeline. `note` is done in the same transaction.
    ///
    /// # Errors
    /// When there is one of that name, or it cannot be kept.
    pub async fn create(
        self: &Arc<Self>,
        mut pipeline: StoredPipeline,
        note: impl FnOnce(&mut Tx, &StoredPipeline) -> Result<(), Problem> + Send + 'static,
    ) -> Result<Arc<Slot>, Problem> {
        let most = self.config.limits.pipelines;
        if self.slots().len() >= most {
            let sentence = format!("the service has {most} pipelines, which is the most that it takes");
            return Err(Problem::new(429, "too_many_pipelines", sentence).after(60));
        }
        let id = pipeline.id.clone();
        let made = self
            .store
            .write(move |tx| {
                if tx.pipeline(&pipeline.id)?.is_some() {
                    let sentence = format!("Pipeline {} already exists", pipeline.id);
                    return Err(Problem::new(409, "pipeline_exists", sentence));
                }
                pipeline.incarnation = tx.incarnation()?;
                tx.put_pipeline(&pipeline)?;
                note(tx, &pipeline)?;
                Ok(Arc::new(pipeline))
            })
            .await?;
        let slot = match self.place(Arc::clone(&made), 0) {
            Ok(slot) => slot,
            Err(error) => {
                // Without a log it cannot be.
                let sentence = format!("the log of pipeline {id} cannot be kept: {error}");
                self.store.write(move |tx| tx.delete_pipeline(&id).map_err(Problem::from)).await?;
                return Err(Problem::new(503, "store_unavailable", sentence).after(5));
            }
        };
        slot.tell(&made);
        Ok(slot)
    }

    fn slots(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots_to_change(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pipeline.
    #[must_use]
    pub fn slot(&self, id: &str) -> Option<Arc<Slot>> {
        self.slots().get(id).cloned()
    }

    /// All pipelines behind this name, by name.
    #[must_use]
    pub fn slots_after(&self, id: &str) -> Vec<Arc<Slot>> {
        let slots = self.slots();
        let behind = (std::ops::Bound::Excluded(id.to_owned()), std::ops::Bound::Unbounded);
        slots.range(behind).map(|(_, slot)| Arc::clone(slot)).collect()
    }

    /// Changes a pipeline in one transaction; returns once the new state is committed and
    /// published.
    ///
    /// # Errors
    /// Those of `work`, and when it is gone or cannot be kept; nothing has changed then.
    pub async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        work: impl FnOnce(&mut Tx, &mut StoredPipeline) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(Arc<StoredPipeline>, T), Problem> {
        let own = Arc::clone(slot);
        self.store
            .write(move |tx| {
                let found = tx.this_pipeline(&own.id, own.incarnation)?;
                let Some(before) = found else { return Err(Problem::no_pipeline(&own.id)) };
                let mut pipeline = before.clone();
                let result = work(tx, &mut pipeline)?;
                if pipeline == before {
                    return Ok((Arc::new(before), result));
                }
                pipeline.revision = before.revision + 1;
                pipeline.updated_at = now().max(before.updated_at);
                tx.put_pipeline(&pipeline)?;
                let pipeline = Arc::new(pipeline);
                let published = Arc::clone(&pipeline);
                tx.then(move || own.publish(&before, published));
                Ok((pipeline, result))
            })
            .await
    }

    /// Stores unpublished data of a pipeline, while it exists.
    ///
    /// # Errors
    /// When it is gone, or cannot be kept.
    pub async fn keep<T: Send + 'static>(
        &self,
        slot: &Arc<Slot>,
        work: impl FnOnce(&mut Tx) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let own = Arc::clone(slot);
        self.store
            .write(move |tx| match tx.this_pipeline(&own.id, own.incarnation)? {
                Some(_) => work(tx),
                None => Err(Problem::no_pipeline(&own.id)),
            })
            .await
    }

    /// Takes a pipeline out that is torn down.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub async fn remove(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<(), Problem> {
        let (service, own) = (Arc::clone(self), Arc::clone(slot));
        self.store
            .write(move |tx| {
                let found = tx.this_pipeline(&own.id, own.incarnation)?;
                let Some(pipeline) = found else { return Ok(()) };
                if !matches!(pipeline.life.after(LifecycleEvent::TornDown), Ok(None)) {
                    return Ok(());
                }
                if let Some(mut task) = pipeline.task.as_ref().map(|id| tx.task(id)).transpose()?.flatten() {
                    end_with_its_pipeline(&mut task, own.log.end());
                    tx.put_task(&task)?;
                }
                tx.delete_pipeline(&own.id)?;
                tx.note("service", "deleted", Some(&own.id), None)?;
                tx.then(move || {
                    let mut slots = service.slots_to_change();
                    if slots.get(&own.id).is_some_and(|it| it.incarnation == own.incarnation) {
                        slots.remove(&own.id);
                    }
                    drop(slots);
                    service.engines.forget(&own.id);
                    own.say("pipeline", &json!({"id": own.id, "desired_status": "deleted", "status": "deleted"}));
                    own.log.finish();
                    own.status.send_replace(None);
                });
                Ok(())
            })
            .await
    }

    /// Stops taking part: calls come to a safe point, waits are answered.
    pub async fn end(&self) {
        self.ending.send_replace(true);
        let mut drivers = self.drivers.subscribe();
        let patience = self.config.calls.grace * 3;
        let _ = tokio::time::timeout(patience, drivers.wait_for(|running| *running == 0)).await;
    }

    /// Returns when the service is about to end.
    pub async fn ends(&self) {
        let mut ending = self.ending.subscribe();
        let _ = ending.wait_for(|ending| *ending).await;
    }

    /// Counts a change that a poll saw before its notification.
    pub fn count_missed(&self, slot: &Slot) {
        self.missed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(target: "service", "{}: a change was seen before its notification", slot.id);
    }
}

/// Counts a driver for as long as it lives.
struct Count<'c>(&'c watch::Sender<usize>);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl Slot {
    /// The pipeline as it was committed last.
    #[must_use]
    pub fn pipeline(&self) -> Option<Arc<StoredPipeline>> {
        self.status.borrow().clone()
    }

    fn publish(&self, before: &StoredPipeline, pipeline: Arc<StoredPipeline>) {
        if pipeline.runs > before.runs {
            self.log.begin_run(pipeline.runs);
        }
        if shows(before) != shows(&pipeline) {
            self.tell(&pipeline);
            told(before, &pipeline);
        }
        self.status.send_replace(Some(pipeline));
    }

    /// Writes the state of the pipeline into the log.
    fn tell(&self, pipeline: &StoredPipeline) {
        self.say("pipeline", &shows(pipeline));
    }

    /// A line of ours in the log.
    pub fn say(&self, kind: &str, payload: &Value) {
        let line = line(kind, payload);
        if let Err(error) = self.log.append(line.as_bytes()) {
            tracing::error!(target: "service", "{}: the log cannot be written: {error}", self.id);
        }
    }

    #[must_use]
    pub fn cursor(&self, pipeline: &StoredPipeline) -> Cursor {
        Cursor {
            incarnation: self.incarnation,
            revision: pipeline.revision,
            position: self.log.end(),
            checkpoints: self.facts.borrow().checkpoints,
        }
    }
}

/// Logs a change on stderr.
fn told(before: &StoredPipeline, now: &StoredPipeline) {
    let id = &now.id;
    let (was, is) = (before.life.status().as_str(), now.life.status().as_str());
    match (&now.reason, &now.retry) {
        (Some(reason), _) if before.reason.as_ref() != Some(reason) => {
            tracing::warn!(target: "service", "{id}: {is}: {}; {}", reason.message, reason.next);
        }
        (_, Some(retry)) if before.retry.as_ref() != Some(retry) => {
            tracing::warn!(target: "service", "{id}: tries again at {}: {}", time::iso(retry.at), retry.message);
        }
        _ if was != is => tracing::info!(target: "service", "{id}: {was} -> {is}"),
        _ => {}
    }
}

/// State of a pipeline for the log.
fn shows(pipeline: &StoredPipeline) -> Value {
    json!({
        "id": pipeline.id,
        "desired_status": pipeline.life.desired.as_str(),
        "status": pipeline.life.status().as_str(),
        "reason": pipeline.reason.as_ref().map(super::model::ParkReason::shown),
        "retry": pipeline.retry.as_ref().map(super::model::StoredRetry::shown),
        "task_id": pipeline.task,
    })
}

/// A line of ours.
#[must_use]
pub fn line(kind: &str, payload: &Value) -> String {
    format!("{}\n", json!({"type": kind, kind: payload, "_emitted_by": SERVICE, "_ts": time::iso(now())}))
}

/// `3/7`: streams that are over, of all.
#[must_use]
pub fn progress_words(progress: &Progress) -> String {
    let over = |status: Status| matches!(status, Status::Completed | Status::Skipped | Status::Errored);
    let done = progress.streams.iter().filter(|stream| over(stream.status)).count();
    format!("{done}/{}", progress.streams.len())
}

/// A run that is over because its pipeline is deleted.
pub fn end_with_its_pipeline(task: &mut Task, log: u64) {
    task.state = super::model::TaskState::Canceled;
    task.ended_at = Some(now());
    task.log.1 = Some(log);
    task.message = Some("the pipeline was deleted".into());
}

/// Takes an event of the lifecycle.
///
/// # Errors
/// When a request is refused.
pub fn step(pipeline: &mut StoredPipeline, event: LifecycleEvent) -> Result<(), Problem> {
    let after = pipeline.life.after(event).map_err(|refusal: Refusal| Problem::refused(&pipeline.id, refusal))?;
    // That it is gone is for `remove` to keep.
    if let Some(after) = after {
        pipeline.life = after;
    }
    Ok(())
}

/// A new pipeline, wanted to be active.
#[must_use]
pub fn fresh(id: String, config: super::model::PipelineConfig) -> StoredPipeline {
    let at = now();
    StoredPipeline {
        id,
        incarnation: 0,
        created_at: at,
        updated_at: at,
        revision: 1,
        life: Life::default(),
        config: Arc::new(config),
        reason: None,
        retry: None,
        task: None,
        last: None,
        run_id: None,
        runs: 0,
    }
}

/// Current task of a run, with the reducer's state of it.
#[must_use]
pub fn live_task(slot: &Slot, mut task: Task) -> Task {
    if !task.state.over()
        && let Some(progress) = slot.facts.borrow().of(Some(&task.id))
    {
        task.progress = Some(progress_words(progress));
        task.so_far = Some(super::run::totals(progress));
    }
    task
}
