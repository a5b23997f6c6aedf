//! Registry of the pipelines of a running service: publishes their state, applies changes.
//!
//! ```text
//!  request, result of a reconciler --> Service::change --> store (one transaction)
//!      --committed--> Slot::status (watch) --> waits, reconcilers
//!  lines of an engine --> reconciler --> Slot::log (file) --> readers, each with its own position
//!                             '--> reducer --> Slot::facts (watch) --> waits for progress, tasks
//! ```

use crate::service::changes::ChangeList;
use crate::service::config::Config;
use crate::service::engines::{EngineError, Engines};
use crate::service::lifecycle::{Life, LifecycleEvent, Refusal};
use crate::service::log::{self, PipelineLog};
use crate::service::model::{Cursor, PipelineConfig, StoredPipeline, Task};
use crate::service::problem::Problem;
use crate::service::secrets::{KnownSecrets, ReferenceError};
use crate::service::store::{self, Store, StoreError, Tx};
use crate::util::sys::{lock, now, steady_now};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use synctop_core::fleet::PipelineStatus;
use synctop_core::fleet::wire::{PipelineBody, ReasonBody};
use synctop_core::protocol::SERVICE_EMITTER;
use synctop_core::protocol::mask;
use synctop_core::protocol::{Millis, Status, time};
use synctop_core::reduce::Progress;
use tokio::sync::{Notify, Semaphore, watch};

/// Delay before a failed reconciler is restarted.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Interval of pruning.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// Maximum threads that open the stored pipelines at the start.
const MAX_OPENING_THREADS: usize = 8;

/// Retention of the runs of deleted pipelines.
const DELETED_RETENTION: Millis = 30 * 86_400_000;

/// Live state of a pipeline's run.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// Total checkpoints of the pipeline.
    pub checkpoints: u64,
    /// Task id of the run.
    pub task: Option<String>,
    /// State of that run; `None` if its log was not read since the service started.
    pub progress: Option<Arc<Progress>>,
    /// Log position that `progress` covers.
    pub position: u64,
}

impl RunFacts {
    /// Returns the state of the run with this task id.
    #[must_use]
    pub fn of(&self, task: Option<&String>) -> Option<&Arc<Progress>> {
        self.progress.as_ref().filter(|_| task.is_some() && self.task.as_ref() == task)
    }
}

/// Live pipeline: published state, log and notifications.
pub struct Slot {
    pub id: String,
    pub incarnation: u64,
    /// Last committed pipeline; `None` once deleted.
    pub status: watch::Sender<Option<Arc<StoredPipeline>>>,
    pub facts: watch::Sender<RunFacts>,
    pub log: Arc<PipelineLog>,
    /// Notification of new live events.
    pub inputs: Notify,
    changes: Arc<ChangeList>,
    /// Secrets of the configuration that was resolved last, and those before it.
    secrets: Mutex<Option<(Arc<PipelineConfig>, Arc<KnownSecrets>)>>,
}

/// Pipelines by name.
type Slots = BTreeMap<String, Arc<Slot>>;

/// Pipeline service: configuration, store, engines and live pipelines.
pub struct Service {
    pub config: Arc<Config>,
    pub store: Store,
    pub engines: Engines,
    /// Permits of concurrent runs; the run that waits longest is next.
    pub permits: Semaphore,
    /// Permits of concurrent checks, setups and teardowns by request.
    pub action_permits: Semaphore,
    /// True once the service shuts down.
    pub ending: watch::Sender<bool>,
    /// Number of changes that a poll saw before their notification.
    pub missed: AtomicU64,
    slots: RwLock<Slots>,
    /// Order of the changes of all pipelines.
    pub changes: Arc<ChangeList>,
    /// Pipelines whose stored data cannot be read.
    broken: RwLock<BTreeMap<String, Broken>>,
    logs: PathBuf,
    compressor: log::CompressionQueue,
    /// Number of running reconcilers.
    reconcilers: watch::Sender<usize>,
    reconcile: Reconcile,
    /// Locks of a file and of the folder, which exclude other services from it.
    _lock: (File, File),
}

/// Pipeline whose stored data cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub id: String,
    pub incarnation: u64,
    /// Reason for an operator.
    pub why: String,
}

impl Broken {
    /// Returns the error of a request for this pipeline.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem::new(409, "pipeline_damaged", format!("Pipeline {}: {}. {}", self.id, self.sentence(), Self::NEXT))
    }

    /// Returns its entry in a list.
    #[must_use]
    pub fn body(&self) -> PipelineBody<Value, Value> {
        PipelineBody {
            id: Some(self.id.as_str().into()),
            status: Some(PipelineStatus::Error.as_str().into()),
            reason: Some(ReasonBody {
                message: Some(self.sentence().into()),
                failure_type: Some("system_error".into()),
                next: Some(Self::NEXT.into()),
                ..ReasonBody::default()
            }),
            ..PipelineBody::default()
        }
    }

    fn sentence(&self) -> String {
        format!("its stored data cannot be read: {}", mask::secrets(&self.why))
    }

    const NEXT: &'static str = "Restore the data folder from a backup, or delete the pipeline";
}

/// Task that brings one pipeline to its desired state, until it is deleted or the service shuts
/// down.
pub type Reconcile = fn(Arc<Service>, Arc<Slot>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Error when the service starts.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("another synctop service uses {0}: stop it, or select another folder with --data-dir")]
    InUse(PathBuf),
    #[error("the folder {0} cannot be used: {1}. Select another folder with --data-dir")]
    Folder(PathBuf, String),
    #[error(
        "{0} has logs of pipelines, but its database synctop.db is {1}: restore the database from a backup, or move the folder logs away to start without the pipelines"
    )]
    NoDatabase(PathBuf, &'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Refuses a folder whose database was lost: a new one would drop the logs of all its pipelines.
fn check_database(folder: &Path) -> Result<(), StartError> {
    let lost = match std::fs::metadata(folder.join(store::DATABASE)) {
        Ok(found) if found.len() == 0 => "empty",
        Ok(_) => return Ok(()),
        Err(_) => "missing",
    };
    let has_logs = std::fs::read_dir(folder.join("logs")).is_ok_and(|mut logs| logs.next().is_some());
    if has_logs { Err(StartError::NoDatabase(folder.to_owned(), lost)) } else { Ok(()) }
}

impl Service {
    /// Opens the store in `folder` and starts a reconciler for each pipeline, which is `reconcile`.
    ///
    /// # Errors
    /// Returns [`StartError::InUse`] if another service uses the folder, [`StartError::Folder`] or
    /// [`StartError::Store`] if it cannot be used, [`StartError::Engine`] if an engine's
    /// configuration is invalid.
    pub fn begin(config: Config, folder: &Path, reconcile: Reconcile) -> Result<Arc<Self>, StartError> {
        let bad = |error: &dyn std::fmt::Display| StartError::Folder(folder.to_owned(), error.to_string());
        std::fs::create_dir_all(folder).map_err(|error| bad(&error))?;
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(|error| bad(&error))?;
        }
        let held = File::options().create(true).truncate(false).write(true).open(folder.join("lock"));
        let held = held.map_err(|error| bad(&error))?;
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(&held, exclusive).map_err(|_| StartError::InUse(folder.to_owned()))?;
        // The file of the lock may be removed; the folder itself may not.
        let locked = File::open(folder).map_err(|error| bad(&error))?;
        rustix::fs::flock(&locked, exclusive).map_err(|_| StartError::InUse(folder.to_owned()))?;
        check_database(folder)?;
        let config = Arc::new(config);
        let engines = Engines::new(Arc::clone(&config), folder)?;
        let service = Arc::new(Self {
            store: Store::open(folder)?,
            engines,
            permits: Semaphore::new(config.limits.runs),
            action_permits: Semaphore::new(config.limits.runs),
            ending: watch::channel(false).0,
            missed: AtomicU64::new(0),
            slots: RwLock::default(),
            changes: Arc::default(),
            broken: RwLock::default(),
            logs: folder.join("logs"),
            compressor: log::compressor().map_err(|error| bad(&error))?,
            reconcilers: watch::channel(0).0,
            reconcile,
            _lock: (held, locked),
            config,
        });
        service.open_pipelines(service.store.read(store::pipelines)?);
        let own = Arc::clone(&service);
        tokio::spawn(async move {
            loop {
                let keeping = Arc::clone(&own);
                let _ = tokio::task::spawn_blocking(move || keeping.prune()).await;
                let gone = own.store.write(|tx| tx.prune_deleted_pipelines(steady_now() - DELETED_RETENTION)).await;
                if let Err(error) = gone {
                    tracing::warn!(target: "service", "{error}");
                }
                tokio::select! {
                    () = tokio::time::sleep(PRUNE_INTERVAL) => {}
                    () = own.ends() => return,
                }
            }
        });
        Ok(service)
    }

    /// Registers the stored pipelines, with several threads: most of the time is spent on their
    /// folders.
    fn open_pipelines(self: &Arc<Self>, rows: Vec<store::PipelineRow>) {
        let rows = Mutex::new(rows.into_iter());
        let runtime = tokio::runtime::Handle::current();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_OPENING_THREADS);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let _guard = runtime.enter();
                    loop {
                        let row = lock(&rows).next();
                        let Some(row) = row else { return };
                        self.open_pipeline(row);
                    }
                });
            }
        });
    }

    fn open_pipeline(self: &Arc<Self>, row: store::PipelineRow) {
        let opened = row.pipeline.map_err(|error| error.to_string()).and_then(|pipeline| {
            let state = self.store.read(|it| store::state(it, &pipeline.id)).map_err(|error| error.to_string())?;
            self.register(Arc::new(pipeline), state.checkpoints).map_err(|error| error.to_string())
        });
        // One damaged pipeline stops no other.
        if let Err(why) = opened {
            tracing::error!(target: "service", "pipeline {} cannot be read: {why}", row.id);
            let broken = Broken { id: row.id.clone(), incarnation: row.incarnation, why };
            self.broken_mut().insert(row.id.clone(), broken);
            self.changes.mark(&row.id);
        }
    }

    /// Prunes expired data of all logs.
    fn prune(&self) {
        let slots = self.slots_after("");
        let is_folder = |name: &str, slot: &Slot| slot.log.folder().file_name().is_some_and(|it| it == name);
        log::prune_deleted(&self.logs, self.config.logs.age, |name| {
            // The name of a folder is that of the pipeline and its incarnation.
            let id = name.rsplit_once('.').map_or(name, |(id, _)| id);
            self.slot(id).is_some_and(|slot| is_folder(name, &slot))
        });
        for slot in slots {
            slot.log.prune(crate::util::sys::steady_time());
        }
    }

    /// Registers a pipeline, opens its log and starts its reconciler.
    fn register(self: &Arc<Self>, pipeline: Arc<StoredPipeline>, checkpoints: u64) -> io::Result<Arc<Slot>> {
        let folder = self.logs.join(format!("{}.{}", pipeline.id, pipeline.incarnation));
        let newest = |it: &rusqlite::Connection| store::tasks(it, &pipeline.id, pipeline.incarnation, u64::MAX, 1);
        let newest = self.store.read(newest).ok().and_then(|tasks| tasks.into_iter().next()?.ok());
        let floor = newest.map_or(0, |task| task.log.1.unwrap_or(task.log.0));
        let slot = Arc::new(Slot {
            id: pipeline.id.clone(),
            incarnation: pipeline.incarnation,
            log: PipelineLog::open(folder, self.config.log_retention(), self.compressor.clone(), floor)?,
            status: watch::channel(Some(pipeline)).0,
            facts: watch::channel(RunFacts { checkpoints, ..RunFacts::default() }).0,
            inputs: Notify::new(),
            changes: Arc::clone(&self.changes),
            secrets: Mutex::default(),
        });
        let mut slots = self.slots_mut();
        slots.insert(slot.id.clone(), Arc::clone(&slot));
        drop(slots);
        slot.mark_changed();
        self.reconcilers.send_modify(|running| *running += 1);
        let (service, driven) = (Arc::clone(self), Arc::clone(&slot));
        tokio::spawn(async move {
            let _count = ReconcilerCount(&service.reconcilers);
            loop {
                let (service, driven) = (Arc::clone(&service), Arc::clone(&driven));
                let handle = tokio::spawn((service.reconcile)(Arc::clone(&service), driven));
                match handle.await {
                    Ok(()) => return,
                    // A panic is a bug. The stored state is consistent: a new reconciler continues
                    // from it.
                    Err(error) => {
                        tracing::error!(target: "service", "a reconciler failed and is restarted: {error}");
                    }
                }
                tokio::time::sleep(RESTART_DELAY).await;
            }
        });
        Ok(slot)
    }

    /// Creates a pipeline. `also` runs in the same transaction.
    ///
    /// # Errors
    /// Returns 429 if the service has too many pipelines, 409 if the id exists, 503 if the pipeline
    /// cannot be stored, and the errors of `also`.
    pub async fn create(
        self: &Arc<Self>,
        mut pipeline: StoredPipeline,
        also: impl FnOnce(&mut Tx, &StoredPipeline) -> Result<(), Problem> + Send + 'static,
    ) -> Result<Arc<Slot>, Problem> {
        let most = self.config.limits.pipelines;
        if self.slots().len() >= most {
            let sentence = format!("the service has {most} pipelines, which is its limit");
            return Err(Problem::new(429, "too_many_pipelines", sentence).after(60));
        }
        if let Some(broken) = self.broken(&pipeline.id) {
            return Err(broken.problem());
        }
        let id = pipeline.id.clone();
        let made = self
            .store
            .write(move |tx| {
                if tx.pipeline(&pipeline.id)?.is_some() {
                    let sentence = format!("Pipeline {} already exists", pipeline.id);
                    return Err(Problem::new(409, "pipeline_exists", sentence));
                }
                pipeline.incarnation = tx.next_incarnation()?;
                tx.put_pipeline(&pipeline)?;
                also(tx, &pipeline)?;
                Ok(Arc::new(pipeline))
            })
            .await?;
        let slot = match self.register(Arc::clone(&made), 0) {
            Ok(slot) => slot,
            Err(error) => {
                // A pipeline needs a log: its creation is undone.
                let sentence = format!("the log of pipeline {id} cannot be kept: {error}");
                self.store.write(move |tx| tx.delete_pipeline(&id).map_err(Problem::from)).await?;
                return Err(Problem::new(503, "store_unavailable", sentence).after(5));
            }
        };
        slot.append_status(&made);
        Ok(slot)
    }

    fn broken_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Broken>> {
        self.broken.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pipeline with this id whose stored data cannot be read.
    #[must_use]
    pub fn broken(&self, id: &str) -> Option<Broken> {
        self.broken.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Returns all pipelines whose stored data cannot be read, in order of their ids.
    #[must_use]
    pub fn all_broken(&self) -> Vec<Broken> {
        self.broken.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Deletes a pipeline whose stored data cannot be read, and its log.
    ///
    /// # Errors
    /// Returns 503 if the store fails.
    pub async fn delete_broken(&self, broken: &Broken, client: String) -> Result<(), Problem> {
        let id = broken.id.clone();
        self.store
            .write(move |tx| {
                tx.delete_pipeline(&id)?;
                tx.log_action(&client, "delete a damaged pipeline", Some(&id), None).map_err(Problem::from)
            })
            .await?;
        self.broken_mut().remove(&broken.id);
        self.changes.remove(&broken.id);
        let folder = self.logs.join(format!("{}.{}", broken.id, broken.incarnation));
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
        if let Ok(Err(error)) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(target: "service", "{}: its log stays: {error}", broken.id);
        }
        Ok(())
    }

    fn slots(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots_mut(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pipeline with this id.
    #[must_use]
    pub fn slot(&self, id: &str) -> Option<Arc<Slot>> {
        self.slots().get(id).cloned()
    }

    /// Returns the pipelines after this id, in order of their ids.
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
    /// Returns the errors of `work`, 404 if the pipeline is deleted, 503 if the store fails; the
    /// pipeline is unchanged after an error.
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
                tx.on_commit(move || own.publish(&before, published));
                Ok((pipeline, result))
            })
            .await
    }

    /// Stores data of a pipeline without publishing a change.
    ///
    /// # Errors
    /// Returns the errors of `work`, 404 if the pipeline is deleted, 503 if the store fails.
    pub async fn persist<T: Send + 'static>(
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

    /// Deletes a pipeline after its teardown.
    ///
    /// # Errors
    /// Returns 503 if the store fails.
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
                    cancel_for_deletion(&mut task, own.log.end());
                    tx.put_task(&task)?;
                }
                tx.delete_pipeline(&own.id)?;
                tx.log_action("service", "deleted", Some(&own.id), None)?;
                tx.on_commit(move || {
                    let mut slots = service.slots_mut();
                    if slots.get(&own.id).is_some_and(|it| it.incarnation == own.incarnation) {
                        slots.remove(&own.id);
                    }
                    drop(slots);
                    service.engines.forget(&own.id);
                    own.append_line(
                        "pipeline",
                        &json!({"id": own.id, "desired_status": "deleted", "status": "deleted"}),
                    );
                    own.log.finish();
                    own.status.send_replace(None);
                    own.changes.remove(&own.id);
                });
                Ok(())
            })
            .await
    }

    /// Shuts down: stops calls at a safe point, ends waits, and waits for the reconcilers.
    pub async fn end(&self) {
        self.ending.send_replace(true);
        let mut reconcilers = self.reconcilers.subscribe();
        let patience = self.config.calls.grace * 3;
        let _ = tokio::time::timeout(patience, reconcilers.wait_for(|running| *running == 0)).await;
    }

    /// Waits until the service shuts down.
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

/// Decrements the number of reconcilers when dropped.
struct ReconcilerCount<'c>(&'c watch::Sender<usize>);

impl Drop for ReconcilerCount<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl Slot {
    /// Returns the configuration with resolved references, and its secrets.
    ///
    /// # Errors
    /// Returns the [`ReferenceError`] of the first reference that cannot be resolved.
    pub async fn resolved(
        &self,
        service: &Service,
        pipeline: &StoredPipeline,
    ) -> Result<(Value, Arc<KnownSecrets>), ReferenceError> {
        let fields = service.engines.secret_fields(pipeline.config.engine());
        let config = pipeline.config.resolved(&pipeline.id, &service.config.secrets, fields).await?;
        let mut known = KnownSecrets::of(&config, &pipeline.config.unresolved(&pipeline.id), fields);
        let mut kept = lock(&self.secrets);
        if let Some((_, before)) = &*kept {
            known = known.with(before);
        }
        let known = Arc::new(known);
        *kept = Some((Arc::clone(&pipeline.config), Arc::clone(&known)));
        Ok((config, known))
    }

    /// Returns the secrets of the pipeline, for answers that may contain them. Values that cannot be
    /// read now are unknown.
    pub async fn known_secrets(&self, service: &Service, pipeline: &StoredPipeline) -> Arc<KnownSecrets> {
        if let Some((of, known)) = &*lock(&self.secrets)
            && Arc::ptr_eq(of, &pipeline.config)
        {
            return Arc::clone(known);
        }
        if let Ok((_, known)) = self.resolved(service, pipeline).await {
            return known;
        }
        let config = pipeline.config.unresolved(&pipeline.id);
        let fields = service.engines.secret_fields(pipeline.config.engine());
        Arc::new(KnownSecrets::of(&config, &config, fields))
    }

    /// Returns the last committed pipeline; `None` once deleted.
    #[must_use]
    pub fn pipeline(&self) -> Option<Arc<StoredPipeline>> {
        self.status.borrow().clone()
    }

    /// Publishes a committed change: log, stderr and notifications.
    fn publish(&self, before: &StoredPipeline, pipeline: Arc<StoredPipeline>) {
        if pipeline.runs > before.runs {
            self.log.begin_run(pipeline.runs);
        }
        if status_payload(before) != status_payload(&pipeline) {
            self.append_status(&pipeline);
            log_change(before, &pipeline);
        }
        self.status.send_replace(Some(pipeline));
        self.mark_changed();
    }

    /// Notes a visible change of the pipeline's entry in lists.
    pub fn mark_changed(&self) {
        self.changes.mark(&self.id);
    }

    /// Appends the status of the pipeline to its log.
    fn append_status(&self, pipeline: &StoredPipeline) {
        self.append_line("pipeline", &status_payload(pipeline));
    }

    /// Appends a line of the service to the log.
    pub fn append_line(&self, kind: &str, payload: &Value) {
        let line = line(kind, payload);
        if let Err(error) = self.log.append(line.as_bytes()) {
            tracing::error!(target: "service", "{}: the log cannot be written: {error}", self.id);
        }
    }

    /// Returns the cursor of the current end of the log.
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
fn log_change(before: &StoredPipeline, now: &StoredPipeline) {
    let id = &now.id;
    let (was, is) = (before.life.status().as_str(), now.life.status().as_str());
    match (&now.reason, &now.retry) {
        (Some(reason), _) if before.reason.as_ref() != Some(reason) => {
            tracing::warn!(target: "service", "{id}: {is}: {}; {}", reason.message, reason.next);
        }
        (_, Some(retry)) if before.retry.as_ref() != Some(retry) => {
            tracing::warn!(target: "service", "{id}: retries at {}: {}", time::iso(retry.at), retry.message);
        }
        _ if was != is => tracing::info!(target: "service", "{id}: {was} -> {is}"),
        _ => {}
    }
}

/// Returns the payload of a `pipeline` line: the status of a pipeline.
fn status_payload(pipeline: &StoredPipeline) -> Value {
    json!({
        "id": pipeline.id,
        "desired_status": pipeline.life.desired.as_str(),
        "status": pipeline.life.status().as_str(),
        "reason": pipeline.reason.as_ref().map(super::model::ParkReason::body),
        "retry": pipeline.retry.as_ref().map(super::model::StoredRetry::body),
        "task_id": pipeline.task,
    })
}

/// Returns a log line of the service.
#[must_use]
pub fn line(kind: &str, payload: &Value) -> String {
    format!("{}\n", json!({"type": kind, kind: payload, "_emitted_by": SERVICE_EMITTER, "_ts": time::iso(now())}))
}

/// Returns finished streams of all streams, such as `3/7`.
#[must_use]
pub fn finished_streams(progress: &Progress) -> String {
    let finished = |status: Status| matches!(status, Status::Completed | Status::Skipped | Status::Errored);
    let done = progress.streams.iter().filter(|stream| finished(stream.status)).count();
    format!("{done}/{}", progress.streams.len())
}

/// Marks a run as canceled because its pipeline is deleted. `log` is the end of its log.
pub fn cancel_for_deletion(task: &mut Task, log: u64) {
    task.state = synctop_core::fleet::wire::TaskState::Canceled;
    task.ended_at = Some(now());
    task.log.1 = Some(log);
    task.message = Some("the pipeline was deleted".into());
}

/// Applies a lifecycle event to a pipeline.
///
/// # Errors
/// Returns 409 if the lifecycle refuses a request.
pub fn apply_event(pipeline: &mut StoredPipeline, event: LifecycleEvent) -> Result<(), Problem> {
    let after = pipeline.life.after(event).map_err(|refusal: Refusal| Problem::refused(&pipeline.id, refusal))?;
    // `Service::remove` stores a deletion.
    if let Some(after) = after {
        pipeline.life = after;
    }
    Ok(())
}

/// Creates a pipeline in its initial state, with desired state active.
#[must_use]
pub fn new_pipeline(id: String, config: crate::service::model::PipelineConfig) -> StoredPipeline {
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

/// Adds the current totals to an open run.
#[must_use]
pub fn live_task(slot: &Slot, mut task: Task) -> Task {
    if !task.state.is_finished()
        && let Some(progress) = slot.facts.borrow().of(Some(&task.id))
    {
        task.progress = Some(finished_streams(progress));
        task.so_far = Some(crate::service::totals::totals(progress));
    }
    task
}
