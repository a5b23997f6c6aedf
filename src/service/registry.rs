//! Registry of the pipelines of a running service: publishes their state, applies changes.
//!
//! ```text
//!  request, result of a reconciler --> Service::change --> store (one transaction)
//!      --committed--> Slot::status (watch) --> waits, reconcilers
//!  lines of an engine --> reconciler --> Slot::log (file) --> readers, each with its own position
//!                             '--> reducer --> Slot::facts (watch) --> waits for progress, tasks
//! ```

use crate::service::alerts::attempts::AlertAttempts;
use crate::service::archive::Archive;
use crate::service::broken::Broken;
use crate::service::changes::ChangeList;
use crate::service::config::Config;
use crate::service::data_folder::{DataFolderError, check_database, lock_folder};
use crate::service::engines::{EngineError, Engines};
use crate::service::lifecycle::{LifecycleEvent, Refusal};
use crate::service::log::LogRetention;
use crate::service::log::chunks::LogWriter;
use crate::service::log_storage::LogStorage;
use crate::service::model::StoredPipeline;
use crate::service::problem::Problem;
use crate::service::slot::{Slot, deleted_payload};
use crate::service::store::postgres::Cluster;
use crate::service::store::postgres::leases::NodeRow;
use crate::service::store::{self, Store, StoreError, Tx};
use crate::util::sys::{lock, now, steady_now};
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;
use synctop_core::protocol::Millis;
use synctop_core::protocol::mask;
use tokio::sync::{Semaphore, watch};

/// Delay before a failed reconciler is restarted.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Interval of pruning.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// Maximum threads that open the stored pipelines at the start.
const MAX_OPENING_THREADS: usize = 8;

/// Retention of the runs of deleted pipelines.
const DELETED_RETENTION: Millis = 30 * 86_400_000;

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
    /// Attempts to deliver alerts.
    pub alert_attempts: AlertAttempts,
    slots: RwLock<Slots>,
    /// Order of the changes of all pipelines.
    pub changes: Arc<ChangeList>,
    /// Pipelines whose stored data cannot be read.
    broken: RwLock<BTreeMap<String, Broken>>,
    storage: LogStorage,
    /// The other nodes, if the service may have several.
    pub peers: Option<Arc<dyn Peers>>,
    /// Number of running reconcilers.
    reconcilers: watch::Sender<usize>,
    reconcile: Reconcile,
    /// Locks of a file and of the folder, which exclude other services from it.
    _lock: (File, File),
}

/// Other nodes of a service, as a node sees them through the store.
pub trait Peers: Send + Sync {
    /// Registers this node and the stored pipelines, and starts to take pipelines.
    fn start(self: Arc<Self>, service: &Arc<Service>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns the pipeline with this id as the store has it now.
    fn read_pipeline<'a>(
        &'a self,
        service: &'a Arc<Service>,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<Slot>>, StoreError>>;

    /// Reads the changes of other nodes since the last read.
    fn read_changes<'a>(&'a self, service: &'a Arc<Service>) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes a pipeline that was created here.
    fn take_new<'a>(&'a self, service: &'a Arc<Service>, slot: &'a Arc<Slot>) -> BoxFuture<'a, ()>;

    /// Gives up a pipeline whose reconciler has ended.
    fn give_up<'a>(&'a self, slot: &'a Slot, fence: u64) -> BoxFuture<'a, ()>;

    /// Waits until all pipelines are handed over, once the service ends.
    fn end(&self) -> BoxFuture<'_, ()>;

    /// Deletes the parts of the logs beyond their retention.
    fn prune_logs(&self, keep: LogRetention) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns the name of the node that runs a pipeline.
    fn name_of(&self, slot: &Slot) -> Option<Arc<str>>;

    /// True if another node lives.
    fn has_others(&self) -> bool;

    /// True if this node runs a pipeline, or watches it because no node runs it.
    fn watches(&self, slot: &Slot) -> bool;

    /// Returns all nodes.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>, StoreError>>;

    /// Waits until the store needs a newer program, and returns the reason.
    fn outdated(&self) -> BoxFuture<'_, StoreError>;
}

/// Store that several nodes share.
pub struct SharedStore {
    pub store: Store,
    pub cluster: Arc<Cluster>,
    pub peers: Arc<dyn Peers>,
    /// Object store of closed parts of logs.
    pub archive: Option<Arc<Archive>>,
}

/// Task that brings one pipeline to its desired state, until it is deleted or the service shuts
/// down.
pub type Reconcile = fn(Arc<Service>, Arc<Slot>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Task of the service besides its reconcilers, until it ends.
pub type ServiceTask = fn(Weak<Service>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Error when the service starts.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Prunes expired data, until the service ends.
async fn prune_regularly(service: Arc<Service>) {
    loop {
        let keeping = Arc::clone(&service);
        let _ = tokio::task::spawn_blocking(move || keeping.prune()).await;
        let mut gone = service.store.write(|tx| tx.prune_expired(steady_now() - DELETED_RETENTION)).await;
        if gone.is_ok()
            && let Some(peers) = &service.peers
        {
            gone = peers.prune_logs(service.config.log_retention()).await;
        }
        if let Err(error) = gone {
            tracing::warn!(target: "service", "{error}");
        }
        tokio::select! {
            () = tokio::time::sleep(PRUNE_INTERVAL) => {}
            () = service.ends() => return,
        }
    }
}

/// Aborts a task when dropped.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Service {
    /// Opens the store and starts a reconciler for each pipeline, which is `reconcile`. The store is in
    /// `folder`, or in a database that several nodes share; then `folder` has only the files of
    /// this process.
    ///
    /// # Errors
    /// Returns [`StartError::Folder`] or [`StartError::Store`] if the folder or the store cannot be used,
    /// [`StartError::Engine`] if an engine's configuration is invalid.
    pub async fn begin(
        config: Config,
        folder: &Path,
        shared: Option<SharedStore>,
        reconcile: Reconcile,
        tasks: &[ServiceTask],
    ) -> Result<Arc<Self>, StartError> {
        let locks = lock_folder(folder)?;
        if shared.is_none() {
            check_database(folder)?;
        }
        let config = Arc::new(config);
        let engines = Engines::new(Arc::clone(&config), folder)?;
        let (store, storage, peers) = match shared {
            None => {
                let files = LogStorage::in_folder(folder.join("logs"), config.log_retention());
                let files = files.map_err(|error| DataFolderError::unusable(folder, error))?;
                (Store::open(folder)?, files, None)
            }
            Some(shared) => {
                let writer = LogWriter::start(&shared.cluster, shared.archive)?;
                (shared.store, LogStorage::Chunks(shared.cluster, writer), Some(shared.peers))
            }
        };
        let service = Arc::new(Self {
            store,
            engines,
            permits: Semaphore::new(config.limits.runs),
            action_permits: Semaphore::new(config.limits.runs),
            ending: watch::channel(false).0,
            missed: AtomicU64::new(0),
            alert_attempts: AlertAttempts::default(),
            slots: RwLock::default(),
            changes: Arc::default(),
            broken: RwLock::default(),
            storage,
            peers,
            reconcilers: watch::channel(0).0,
            reconcile,
            _lock: locks,
            config,
        });
        match service.peers.clone() {
            None => service.open_pipelines(service.store.read(|it| it.pipelines()).await?),
            Some(peers) => peers.start(&service).await?,
        }
        tokio::spawn(prune_regularly(Arc::clone(&service)));
        for task in tasks {
            tokio::spawn(task(Arc::downgrade(&service)));
        }
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
                    loop {
                        let row = lock(&rows).next();
                        let Some(row) = row else { return };
                        runtime.block_on(self.open_pipeline(row));
                    }
                });
            }
        });
    }

    async fn open_pipeline(self: &Arc<Self>, row: store::PipelineRow) {
        let opened = match row.pipeline {
            Ok(pipeline) => {
                let id = pipeline.id.clone();
                match self.store.read(move |it| it.state(&id)).await {
                    Ok(state) => {
                        self.register(Arc::new(pipeline), state.checkpoints).await.map_err(|it| it.to_string())
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        // One damaged pipeline stops no other.
        if let Err(why) = opened {
            self.note_broken(row.id, row.incarnation, why);
        }
    }

    /// Notes a pipeline whose stored data cannot be read.
    pub(super) fn note_broken(&self, id: String, incarnation: u64, why: String) {
        // Each request about it reads it again.
        if self.broken(&id).is_some_and(|it| it.incarnation == incarnation) {
            return;
        }
        tracing::error!(target: "service", "pipeline {id} cannot be read: {}", mask::secrets(&why));
        self.broken_mut().insert(id.clone(), Broken { id: id.clone(), incarnation, why });
        self.changes.mark(&id);
    }

    /// Forgets that a pipeline could not be read: it can be read again, or is deleted.
    pub(super) fn forget_broken(&self, id: &str) {
        if self.broken(id).is_some() && self.broken_mut().remove(id).is_some() {
            self.changes.mark(id);
        }
    }

    /// Prunes expired data of all logs.
    fn prune(&self) {
        let logs: Vec<_> = self.slots_after("").iter().filter_map(|slot| slot.log.as_file()).collect();
        self.storage.prune(&logs);
    }

    /// Registers a pipeline and opens its log. A service with one node starts its reconciler.
    pub(super) async fn register(
        self: &Arc<Self>,
        pipeline: Arc<StoredPipeline>,
        checkpoints: u64,
    ) -> io::Result<Arc<Slot>> {
        let mut floor = 0;
        if self.storage.is_local() {
            let (id, incarnation) = (pipeline.id.clone(), pipeline.incarnation);
            let newest = self.store.read(move |it| it.tasks(&id, incarnation, u64::MAX, 1)).await;
            let newest = newest.ok().and_then(|tasks| tasks.into_iter().next()?.ok());
            floor = newest.map_or(0, |task| task.log.1.unwrap_or(task.log.0));
        }
        let log = self.storage.open(&pipeline.id, pipeline.incarnation, floor)?;
        let slot = Slot::new(pipeline, checkpoints, log, Arc::clone(&self.changes), self.ending.subscribe());
        {
            let mut slots = self.slots_mut();
            // A change of another node may have registered it meanwhile.
            if let Some(there) = slots.get(&slot.id).filter(|there| there.incarnation >= slot.incarnation) {
                return Ok(Arc::clone(there));
            }
            slots.insert(slot.id.clone(), Arc::clone(&slot));
        }
        slot.mark_changed();
        if self.peers.is_none() {
            self.start_reconciler(&slot);
        }
        Ok(slot)
    }

    /// Starts the reconciler of a pipeline that this node runs.
    pub(super) fn start_reconciler(self: &Arc<Self>, slot: &Arc<Slot>) {
        self.reconcilers.send_modify(|running| *running += 1);
        slot.stopping.send_replace(false);
        let (service, driven) = (Arc::clone(self), Arc::clone(slot));
        let count = ReconcilerCount(Arc::clone(self));
        let task = tokio::spawn(async move {
            let _count = count;
            let fence = driven.fence();
            loop {
                let (service, driven) = (Arc::clone(&service), Arc::clone(&driven));
                let handle = tokio::spawn(async move {
                    let _running = driven.running.lock().await;
                    if driven.fence() == fence {
                        (service.reconcile)(Arc::clone(&service), Arc::clone(&driven)).await;
                    }
                });
                // An aborted task takes the reconciler with it.
                let _abort = AbortOnDrop(handle.abort_handle());
                match handle.await {
                    Ok(()) => break,
                    Err(error) if error.is_cancelled() => return,
                    // A panic is a bug. The stored state is consistent: a new reconciler continues
                    // from it.
                    Err(error) => {
                        tracing::error!(target: "service", "a reconciler failed and is restarted: {error}");
                    }
                }
                tokio::time::sleep(RESTART_DELAY).await;
            }
            if let (Some(peers), Some(fence)) = (&service.peers, fence) {
                peers.give_up(&driven, fence).await;
            }
        });
        if let Some(earlier) = lock(&slot.reconciler).replace(task.abort_handle()) {
            earlier.abort();
        }
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
        if let Some(broken) = self.read_broken(&pipeline.id).await? {
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
                if !tx.put_pipeline(&pipeline)? {
                    let sentence = format!("Pipeline {} already exists", pipeline.id);
                    return Err(Problem::new(409, "pipeline_exists", sentence));
                }
                also(tx, &pipeline)?;
                Ok(Arc::new(pipeline))
            })
            .await?;
        let slot = match self.register(Arc::clone(&made), 0).await {
            Ok(slot) => slot,
            Err(error) => {
                // A pipeline needs a log: its creation is undone.
                let sentence = format!("the log of pipeline {id} cannot be kept: {error}");
                self.store.write(move |tx| tx.delete_pipeline(&id, made.incarnation).map_err(Problem::from)).await?;
                return Err(Problem::new(503, "store_unavailable", sentence).after(5));
            }
        };
        slot.append_status(&made);
        if let Some(peers) = &self.peers {
            peers.take_new(self, &slot).await;
        }
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

    /// Returns the pipeline with this id if its stored data cannot be read: another node may have
    /// deleted it.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store cannot be read.
    pub async fn read_broken(self: &Arc<Self>, id: &str) -> Result<Option<Broken>, StoreError> {
        if self.broken(id).is_some() {
            self.read_slot(id).await?;
        }
        Ok(self.broken(id))
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
        let (id, incarnation) = (broken.id.clone(), broken.incarnation);
        self.store
            .write(move |tx| {
                tx.delete_pipeline(&id, incarnation)?;
                tx.log_action(&client, "delete a damaged pipeline", Some(&id), None).map_err(Problem::from)
            })
            .await?;
        self.broken_mut().remove(&broken.id);
        self.changes.remove(&broken.id);
        if let Err(error) = self.storage.remove(&broken.id, broken.incarnation).await {
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

    /// Returns the pipeline with this id as the store has it: another node may have changed it.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store cannot be read.
    pub async fn read_slot(self: &Arc<Self>, id: &str) -> Result<Option<Arc<Slot>>, StoreError> {
        match &self.peers {
            Some(peers) => peers.read_pipeline(self, id).await,
            None => Ok(self.slot(id)),
        }
    }

    /// Returns once the registry has the earlier changes of other nodes.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the store cannot be read.
    pub async fn read_changes(self: &Arc<Self>) -> Result<(), StoreError> {
        match &self.peers {
            Some(peers) => peers.read_changes(self).await,
            None => Ok(()),
        }
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
        self.change_as(slot, None, work).await
    }

    /// Changes a pipeline in one transaction as the node that runs it, with the fencing number of its
    /// lease.
    ///
    /// # Errors
    /// Returns the errors of [`change`](Self::change), and 503 if another node has taken over.
    pub async fn change_as<T: Send + 'static>(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        fence: Option<u64>,
        work: impl FnOnce(&mut Tx, &mut StoredPipeline) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(Arc<StoredPipeline>, T), Problem> {
        let own = Arc::clone(slot);
        self.store
            .write(move |tx| {
                let found = tx.this_pipeline(&own.id, own.incarnation)?;
                let Some(before) = found else { return Err(Problem::no_pipeline(&own.id)) };
                if let Some(fence) = fence {
                    tx.require_lease(own.incarnation, fence)?;
                }
                let mut pipeline = before.clone();
                let result = work(tx, &mut pipeline)?;
                if pipeline == before {
                    let before = Arc::new(before);
                    let published = Arc::clone(&before);
                    // Another node may have changed it since it was read.
                    tx.on_commit(move || own.publish(published));
                    return Ok((before, result));
                }
                pipeline.revision = before.revision + 1;
                pipeline.updated_at = now().max(before.updated_at);
                tx.put_pipeline(&pipeline)?;
                let pipeline = Arc::new(pipeline);
                let published = Arc::clone(&pipeline);
                tx.on_commit(move || own.publish(published));
                Ok((pipeline, result))
            })
            .await
    }

    /// Stores data of a pipeline's open run without publishing a change, as the node that runs it.
    ///
    /// # Errors
    /// Returns the errors of `work`, 404 if the pipeline is deleted, 409 if the run is over, 503 if the store fails or another
    /// node has taken over.
    pub async fn persist<T: Send + 'static>(
        &self,
        slot: &Arc<Slot>,
        (fence, task): (u64, String),
        work: impl FnOnce(&mut Tx) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let own = Arc::clone(slot);
        self.store
            .write(move |tx| {
                let found = tx.this_pipeline(&own.id, own.incarnation)?;
                let pipeline = found.ok_or_else(|| Problem::no_pipeline(&own.id))?;
                // A commit whose answer was lost may have ended the run.
                if pipeline.task.as_ref() != Some(&task) {
                    return Err(Problem::new(409, "run_over", format!("the run {task} is over")));
                }
                tx.require_lease(own.incarnation, fence)?;
                work(tx)
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
                    task.cancel_for_deletion(own.log.end());
                    tx.put_task(&task)?;
                }
                tx.delete_pipeline(&own.id, own.incarnation)?;
                tx.log_action("service", "deleted", Some(&own.id), None)?;
                tx.on_commit(move || service.forget(&own));
                Ok(())
            })
            .await
    }

    /// True if this process runs or watches a pipeline: exactly one node of a service does.
    #[must_use]
    pub fn watches(&self, slot: &Slot) -> bool {
        slot.fence().is_some() || self.peers.as_ref().is_some_and(|peers| peers.watches(slot))
    }

    /// Returns the number of running reconcilers.
    #[must_use]
    pub fn running_reconcilers(&self) -> usize {
        *self.reconcilers.borrow()
    }

    /// Removes a deleted pipeline from the registry.
    pub(super) fn forget(&self, slot: &Slot) {
        {
            let mut slots = self.slots_mut();
            if slots.get(&slot.id).is_some_and(|it| it.incarnation == slot.incarnation) {
                slots.remove(&slot.id);
            }
        }
        self.engines.forget(&slot.id);
        // In a database the log ends with the pipeline: readers get this line from their node.
        if slot.log.as_file().is_some() {
            slot.append_line("pipeline", &deleted_payload(&slot.id));
        }
        slot.log.finish();
        slot.status.send_replace(None);
        self.changes.remove(&slot.id);
    }

    /// Shuts down: stops calls at a safe point, ends waits, and waits for the reconcilers.
    pub async fn end(&self) {
        self.ending.send_replace(true);
        let mut reconcilers = self.reconcilers.subscribe();
        let patience = self.config.calls.grace * 3;
        let _ = tokio::time::timeout(patience, reconcilers.wait_for(|running| *running == 0)).await;
        if let Some(peers) = &self.peers {
            peers.end().await;
        }
        self.storage.close().await;
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
struct ReconcilerCount(Arc<Service>);

impl Drop for ReconcilerCount {
    fn drop(&mut self) {
        self.0.reconcilers.send_modify(|running| *running -= 1);
    }
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
