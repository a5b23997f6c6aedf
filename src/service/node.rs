//! Node of a service with several nodes: renews its lease, takes pipelines, follows the changes of
//! the other nodes.
//!
//! ```text
//! keeper thread   renew (5 s) -- changes of all nodes (hint or 1 s) -- take, hand over (2 s) -- share facts (1 s)
//! guard task      stops the engines before a lease that cannot be renewed ends
//! ```
//!
//! A lease belongs to a registration of the node. A registration that has expired is never renewed:
//! its pipelines are dropped, and the node registers again.

use crate::service::archive::{Archive, PASS};
use crate::service::log::chunks::ChunkLog;
use crate::service::log::{LogRetention, PipelineLog};
use crate::service::registry::{Peers, Service, SharedStore};
use crate::service::slot::{SharedRun, Slot, finished_streams};
use crate::service::store::postgres::feed::{self, LeaseRow};
use crate::service::store::postgres::leases::{self, LEASE_LENGTH, NodeIdentity, NodeRow, SharedFacts, TakenLease};
use crate::service::store::postgres::session::{Connector, DatabaseSession};
use crate::service::store::postgres::{Cluster, chunks, schema};
use crate::service::store::{PipelineRow, Store, StoreError};
use crate::util::sys::{lock, random_id};
use futures_util::future::BoxFuture;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Interval at which a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(LEASE_LENGTH.as_secs() / 3);

/// Time after the last renewal at which the engines of a node are stopped. The rest of the lease is
/// for them to end.
const STOP_AFTER: Duration = Duration::from_secs(LEASE_LENGTH.as_secs() - 4);

/// Interval of the poll for changes: a notification may be lost.
const POLL: Duration = Duration::from_secs(1);

/// Interval at which pipelines are taken and handed over.
const BALANCE: Duration = Duration::from_secs(2);

/// Interval at which facts of running pipelines are shared.
const SHARE: Duration = Duration::from_secs(1);

/// Longest sleep of the keeper.
const MAX_SLEEP: Duration = Duration::from_millis(250);

/// Delay between a hint and the read, in which further changes gather.
const SETTLE: Duration = Duration::from_millis(5);

/// Maximum pipelines that are taken at once.
const MAX_TAKEN: u64 = 2_000;

/// Interval of log lines about a database that cannot be reached.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);

/// Connects to the database of a service with several nodes. `folder` has the files of this node alone.
///
/// # Errors
/// Returns a [`StoreError`] if the database cannot be used.
pub fn join(
    connector: &Arc<Connector>,
    settings: NodeSettings,
    folder: &Path,
    archive: Option<Arc<Archive>>,
) -> Result<SharedStore, StoreError> {
    let (store, cluster) = Store::connect(connector)?;
    let peers = Arc::new(Node { archive: archive.clone(), ..Node::new(Arc::clone(&cluster), settings, folder) });
    Ok(SharedStore { store, cluster, peers, archive })
}

/// Name, address and labels of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    pub name: String,
    pub address: String,
    /// Labels such as `region=eu`.
    pub labels: Vec<String>,
}

/// This node.
pub struct Node {
    cluster: Arc<Cluster>,
    archive: Option<Arc<Archive>>,
    identity: Mutex<NodeIdentity>,
    /// File with the id of the registration.
    id_file: PathBuf,
    /// Time of the last renewal, before it was sent.
    renewed_at: watch::Sender<Instant>,
    /// Leases whose reconcilers have ended, to be given up.
    given_up: Mutex<Vec<(u64, u64)>>,
    /// Pipelines of the registry by incarnation.
    known: Mutex<HashMap<u64, Arc<Slot>>>,
    /// Position in the changes of all nodes.
    position: Mutex<String>,
    /// Names of the nodes by their ids.
    names: Mutex<HashMap<String, Arc<str>>>,
    /// True while this node takes no pipelines, because it ends.
    is_draining: AtomicBool,
    /// Set if a newer version of the store needs a newer program.
    too_old: watch::Sender<Option<StoreError>>,
    /// True once the engines were stopped because the lease could not be renewed.
    has_stopped: AtomicBool,
    ended: Notify,
}

impl Node {
    fn new(cluster: Arc<Cluster>, settings: NodeSettings, folder: &Path) -> Self {
        let NodeSettings { name, address, labels } = settings;
        Self {
            cluster,
            archive: None,
            identity: Mutex::new(NodeIdentity { id: random_id("node"), name, address, labels }),
            id_file: folder.join("node-id"),
            renewed_at: watch::channel(Instant::now()).0,
            given_up: Mutex::default(),
            known: Mutex::default(),
            position: Mutex::new("0".into()),
            names: Mutex::default(),
            is_draining: AtomicBool::new(false),
            too_old: watch::channel(None).0,
            has_stopped: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    /// Returns the identity of this node.
    fn identity(&self) -> NodeIdentity {
        lock(&self.identity).clone()
    }

    /// Ends the registration of an earlier process, whose pipelines are free then. The lock of its
    /// folder shows that it has ended.
    async fn end_predecessor(&self) -> Result<(), StoreError> {
        if let Ok(id) = std::fs::read_to_string(&self.id_file) {
            self.cluster.run(move |session| leases::unregister(session, id.trim())).await?;
        }
        self.keep_id();
        Ok(())
    }

    /// Keeps the id of the registration for the next process of this folder.
    fn keep_id(&self) {
        if let Err(error) = std::fs::write(&self.id_file, &self.identity().id) {
            tracing::warn!(target: "service", "{}: {error}", self.id_file.display());
        }
    }

    /// Registers the pipelines and the node, and starts the keeper and the guard.
    async fn begin_work(self: &Arc<Self>, service: &Arc<Service>) -> Result<(), StoreError> {
        self.end_predecessor().await?;
        let identity = self.identity();
        let position = self.position();
        let before = Instant::now();
        let (changes, rows) = self
            .cluster
            .run(move |session| {
                let changes = feed::since(session, &position)?;
                let incarnations: Vec<u64> = changes.pipelines.iter().map(|it| it.1).collect();
                let rows = feed::pipelines(session, &incarnations)?;
                leases::register(session, &identity)?;
                Ok((changes, rows))
            })
            .await?;
        *lock(&self.position) = changes.position;
        self.renewed_at.send_replace(before);
        for (row, lease) in rows {
            self.apply(service, row, &lease).await;
        }
        let keeper = Keeper {
            node: Arc::clone(self),
            service: Arc::downgrade(service),
            runtime: tokio::runtime::Handle::current(),
            complained: None,
            orphans: HashSet::new(),
        };
        let session = DatabaseSession::new(Arc::clone(&self.cluster.connector))?;
        let spawned = std::thread::Builder::new().name("node".into()).spawn(move || keeper.run(session));
        spawned.map_err(|error| StoreError::Sql(error.to_string()))?;
        tokio::spawn(guard(Arc::clone(self), Arc::downgrade(service)));
        if let Some(archive) = &self.archive {
            tokio::spawn(archive_regularly(Arc::clone(archive), Arc::clone(self), Arc::downgrade(service)));
        }
        Ok(())
    }

    /// Notes the living nodes. The pipelines of one that is gone have no node.
    fn note_names(&self, nodes: Vec<NodeRow>) {
        let alive = nodes.into_iter().filter(|it| it.is_alive);
        let now: HashMap<String, Arc<str>> = alive.map(|it| (it.id, it.name.into())).collect();
        let before = std::mem::replace(&mut *lock(&self.names), now.clone());
        if before.keys().all(|id| now.contains_key(id)) && now.keys().all(|id| before.contains_key(id)) {
            return;
        }
        for slot in lock(&self.known).values() {
            let node = lock(&slot.node).clone();
            if node.is_some_and(|id| before.contains_key(&id) != now.contains_key(&id)) {
                slot.mark_changed();
            }
        }
    }

    fn position(&self) -> String {
        lock(&self.position).clone()
    }

    /// Takes a pipeline that was created here. Another node takes it within seconds if this fails.
    async fn take_created(&self, service: &Arc<Service>, slot: &Arc<Slot>) {
        let (identity, incarnation) = (self.identity(), slot.incarnation);
        lock(&self.known).insert(incarnation, Arc::clone(slot));
        let taken = self.cluster.run(move |session| leases::take_new(session, &identity, incarnation)).await;
        match taken {
            Ok(taken) => self.begin(service, taken),
            Err(error) => tracing::warn!(target: "service", "{}: {error}", slot.id),
        }
    }

    /// Registers or updates a pipeline as the database has it.
    async fn apply(&self, service: &Arc<Service>, row: PipelineRow, lease: &LeaseRow) -> Option<Arc<Slot>> {
        let PipelineRow { id, incarnation, pipeline } = row;
        let pipeline = match pipeline {
            Ok(pipeline) => Arc::new(pipeline),
            Err(error) => {
                service.note_broken(id, incarnation, error.to_string());
                return None;
            }
        };
        service.forget_broken(&id);
        let there = service.slot(&id);
        if let Some(old) = there.as_ref().filter(|it| it.incarnation < incarnation) {
            self.forget(service, old);
        }
        let slot = match there.filter(|it| it.incarnation >= incarnation) {
            Some(slot) => slot,
            None => service.register(Arc::clone(&pipeline), lease.checkpoints).await.ok()?,
        };
        lock(&self.known).insert(slot.incarnation, Arc::clone(&slot));
        // The end of the log first: a reader that sees a finished run reads its last lines.
        self.apply_lease(service, &slot, lease);
        slot.publish(pipeline);
        Some(slot)
    }

    /// Updates the lease and the shared facts of a pipeline.
    fn apply_lease(&self, service: &Service, slot: &Arc<Slot>, lease: &LeaseRow) {
        let PipelineLog::Chunks(log) = &slot.log else { return };
        log.note_stored(lease.kept_from, lease.log_end);
        if slot.lease_version.fetch_max(lease.version, Ordering::Relaxed) > lease.version {
            return;
        }
        let is_ours = lease.node.as_deref() == Some(lock(&self.identity).id.as_str());
        let node_changed = {
            let mut node = lock(&slot.node);
            let changed = *node != lease.node;
            node.clone_from(&lease.node);
            changed
        };
        let is_lost = match log.fence() {
            Some(fence) => fence < lease.fence || (fence == lease.fence && !is_ours),
            // The thread that stores lines has noticed it first.
            None => !is_ours && slot.has_reconciler(),
        };
        if is_lost {
            tracing::warn!(target: "service", "{}: another node has taken over", slot.id);
            lose(service, slot, log);
        }
        if log.fence().is_none() {
            let shared = lease.task.clone().map(|task| {
                let totals = lease.totals.as_deref().and_then(|it| serde_json::from_str(it).ok());
                Arc::new(SharedRun { task, progress: lease.progress.clone(), totals })
            });
            let changed = slot.facts.send_if_modified(|facts| {
                let changed = facts.checkpoints != lease.checkpoints || facts.shared != shared;
                facts.checkpoints = lease.checkpoints;
                facts.shared = shared;
                changed
            });
            if changed || node_changed {
                slot.mark_changed();
            }
        } else if node_changed {
            slot.mark_changed();
        }
    }

    fn forget(&self, service: &Service, slot: &Arc<Slot>) {
        lock(&self.known).remove(&slot.incarnation);
        if let PipelineLog::Chunks(log) = &slot.log {
            lose(service, slot, log);
        }
        service.forget(slot);
    }

    /// Returns the pipeline with this id as the database has it now.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the database fails.
    async fn find(&self, service: &Arc<Service>, id: &str) -> Result<Option<Arc<Slot>>, StoreError> {
        let name = id.to_owned();
        let found = self.cluster.run(move |session| feed::pipeline(session, &name)).await?;
        if let Some((row, lease)) = found {
            return Ok(self.apply(service, row, &lease).await);
        }
        if let Some(slot) = service.slot(id) {
            self.forget(service, &slot);
        }
        Ok(None)
    }

    /// Reads the changes of other nodes since the last read.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the database fails.
    async fn catch_up(&self, service: &Arc<Service>) -> Result<(), StoreError> {
        let position = self.position();
        let changes = self.cluster.run(move |session| feed::since(session, &position)).await?;
        self.apply_changes(service, changes).await
    }

    async fn apply_changes(&self, service: &Arc<Service>, changes: feed::FeedChanges) -> Result<(), StoreError> {
        for (id, incarnation) in &changes.deleted {
            lock(&self.known).remove(incarnation);
            service.forget_broken(id);
            if let Some(slot) = service.slot(id).filter(|it| it.incarnation <= *incarnation) {
                self.forget(service, &slot);
            }
        }
        for lease in &changes.leases {
            let slot = lock(&self.known).get(&lease.incarnation).cloned();
            if let Some(slot) = slot {
                self.apply_lease(service, &slot, lease);
            }
        }
        let mut wanted = Vec::new();
        for (id, incarnation, revision) in &changes.pipelines {
            match service.slot(id).filter(|it| it.incarnation == *incarnation) {
                Some(slot) => match slot.pipeline() {
                    Some(pipeline) if pipeline.revision < *revision => wanted.push(*incarnation),
                    // A change without a new revision is a live event.
                    _ => slot.inputs.notify_one(),
                },
                None => wanted.push(*incarnation),
            }
        }
        if !wanted.is_empty() {
            let rows = self.cluster.run(move |session| feed::pipelines(session, &wanted)).await?;
            for (row, lease) in rows {
                self.apply(service, row, &lease).await;
            }
        }
        *lock(&self.position) = changes.position;
        Ok(())
    }

    /// Returns the pipelines whose lease this node has.
    fn own(&self) -> Vec<(Arc<Slot>, u64)> {
        let known = lock(&self.known);
        known.values().filter_map(|slot| Some((Arc::clone(slot), slot.fence()?))).collect()
    }

    /// Begins to run the pipelines of new leases.
    fn begin(&self, service: &Arc<Service>, taken: Vec<TakenLease>) {
        let node = self.identity();
        for TakenLease { incarnation, fence, log_end } in taken {
            let slot = lock(&self.known).get(&incarnation).cloned();
            let found = slot.and_then(|slot| slot.pipeline().map(|pipeline| (slot, pipeline)));
            let Some((slot, pipeline)) = found else {
                // It is damaged, or deleted meanwhile.
                lock(&self.given_up).push((incarnation, fence));
                continue;
            };
            let PipelineLog::Chunks(log) = &slot.log else { continue };
            if self.renewed_at.borrow().elapsed() >= STOP_AFTER {
                lock(&self.given_up).push((incarnation, fence));
                continue;
            }
            log.acquire(fence, log_end, pipeline.runs);
            *lock(&slot.node) = Some(node.id.clone());
            // The log shows who has run the pipeline.
            let mut status = super::slot::status_payload(&pipeline);
            if let Some(fields) = status.as_object_mut() {
                fields.insert("node".into(), json!({"name": node.name, "fence": fence}));
            }
            slot.append_line("pipeline", &status);
            service.start_reconciler(&slot);
            slot.mark_changed();
        }
    }

    /// Gives up the lease of a pipeline whose reconciler has ended.
    async fn hand_back(&self, slot: &Slot, fence: u64) {
        if slot.fence() != Some(fence) {
            return;
        }
        let flushed = tokio::time::timeout(STOP_AFTER, slot.log.flush()).await;
        if let PipelineLog::Chunks(log) = &slot.log
            && log.fence() == Some(fence)
        {
            log.lose();
        }
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!(target: "service", "{}: its last lines are not stored", slot.id);
        }
        lock(&self.given_up).push((slot.incarnation, fence));
    }

    /// Stops all pipelines at once: this node may not run them any longer.
    fn lose_all(&self, service: &Service) {
        let all: Vec<Arc<Slot>> = lock(&self.known).values().cloned().collect();
        for slot in all.into_iter().filter(|slot| slot.fence().is_some() || slot.has_reconciler()) {
            if let PipelineLog::Chunks(log) = &slot.log {
                lose(service, &slot, log);
            }
        }
    }
}

impl Peers for Node {
    fn start(self: Arc<Self>, service: &Arc<Service>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.begin_work(service).await })
    }

    fn read_pipeline<'a>(
        &'a self,
        service: &'a Arc<Service>,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<Slot>>, StoreError>> {
        Box::pin(self.find(service, id))
    }

    fn read_changes<'a>(&'a self, service: &'a Arc<Service>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.catch_up(service))
    }

    fn take_new<'a>(&'a self, service: &'a Arc<Service>, slot: &'a Arc<Slot>) -> BoxFuture<'a, ()> {
        Box::pin(self.take_created(service, slot))
    }

    fn give_up<'a>(&'a self, slot: &'a Slot, fence: u64) -> BoxFuture<'a, ()> {
        Box::pin(self.hand_back(slot, fence))
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let _ = tokio::time::timeout(LEASE_LENGTH, self.ended.notified()).await;
        })
    }

    fn prune_logs(&self, keep: LogRetention) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if let Some(archive) = &self.archive
                && let Err(error) = archive.prune(&self.cluster, keep.age, keep.size).await
            {
                tracing::warn!(target: "service", "{error}");
            }
            self.cluster.run(move |session| chunks::prune(session, keep.age, keep.size)).await
        })
    }

    fn name_of(&self, slot: &Slot) -> Option<Arc<str>> {
        let id = lock(&slot.node).clone()?;
        lock(&self.names).get(&id).cloned()
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>, StoreError>> {
        Box::pin(self.cluster.run(leases::nodes))
    }

    fn outdated(&self) -> BoxFuture<'_, StoreError> {
        Box::pin(async {
            let mut outdated = self.too_old.subscribe();
            match outdated.wait_for(Option::is_some).await.map(|error| error.clone()) {
                Ok(Some(error)) => error,
                _ => std::future::pending().await,
            }
        })
    }
}

/// Stops the reconciler of a pipeline that this node may not run any longer, with its engine.
fn lose(service: &Service, slot: &Arc<Slot>, log: &ChunkLog) {
    log.lose();
    if let Some(task) = lock(&slot.reconciler).take() {
        task.abort();
    }
    slot.facts.send_modify(|facts| facts.progress = None);
    service.engines.forget(&slot.id);
}

/// Stops the engines of this node before its lease ends, if it cannot be renewed.
async fn guard(node: Arc<Node>, service: Weak<Service>) {
    let mut renewed = node.renewed_at.subscribe();
    loop {
        let deadline = *renewed.borrow_and_update() + STOP_AFTER;
        tokio::select! {
            changed = renewed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(deadline.into()) => {
                let Some(service) = service.upgrade() else { return };
                let own = node.own().len();
                if own > 0 {
                    tracing::error!(
                        target: "service",
                        "the lease cannot be renewed: the engines of {own} pipelines are stopped before it ends"
                    );
                }
                node.has_stopped.store(true, Ordering::SeqCst);
                // A lease that was asked for before may still arrive.
                loop {
                    let (stopping, service) = (Arc::clone(&node), Arc::clone(&service));
                    let _ = tokio::task::spawn_blocking(move || stopping.lose_all(&service)).await;
                    tokio::select! {
                        changed = renewed.changed() => if changed.is_err() { return } else { break },
                        () = tokio::time::sleep(POLL) => {}
                    }
                }
            }
        }
    }
}

/// Moves closed parts of logs to the archive, until the service ends.
async fn archive_regularly(archive: Arc<Archive>, node: Arc<Node>, service: Weak<Service>) {
    loop {
        let Some(current) = service.upgrade() else { return };
        let after = current.config.archive.after;
        let stored = archive.store_closed(&node.cluster, &node.identity().id, after).await;
        if let Err(error) = stored {
            tracing::warn!(target: "service", "{error}");
        }
        tokio::select! {
            () = tokio::time::sleep(PASS.min(after)) => {}
            () = current.ends() => return,
        }
    }
}

/// Thread of a node with a connection of its own.
struct Keeper {
    node: Arc<Node>,
    service: Weak<Service>,
    runtime: tokio::runtime::Handle,
    complained: Option<Instant>,
    /// Leases of this node without a reconciler, as last seen.
    orphans: HashSet<(u64, u64)>,
}

/// Times of the next steps of the keeper.
struct Schedule {
    renewal: Instant,
    poll: Instant,
    balance: Instant,
    share: Instant,
}

impl Keeper {
    fn run(mut self, mut session: DatabaseSession) {
        let now = Instant::now();
        let mut due = Schedule { renewal: now + RENEWAL, poll: now, balance: now, share: now };
        let mut listens = None;
        loop {
            let Some(service) = self.service.upgrade() else { return };
            let step = self.step(&service, &mut session, &mut due, &mut listens);
            match step {
                Ok(true) => {}
                Ok(false) => {
                    self.node.ended.notify_one();
                    return;
                }
                Err(error) => {
                    listens = None;
                    self.complain(&error);
                }
            }
            drop(service);
            let next = due.renewal.min(due.poll).min(due.balance);
            let sleep = next.saturating_duration_since(Instant::now()).min(MAX_SLEEP);
            let came = if listens.is_some() {
                session.notified(sleep)
            } else {
                std::thread::sleep(sleep.max(MAX_SLEEP / 2));
                false
            };
            if came {
                std::thread::sleep(SETTLE);
                due.poll = Instant::now();
            }
        }
    }

    fn complain(&mut self, error: &StoreError) {
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT_INTERVAL) {
            self.complained = Some(Instant::now());
            tracing::warn!(target: "service", "{error}; the service tries again");
        }
    }

    /// Performs the steps that are due. False once the node has ended.
    fn step(
        &mut self,
        service: &Arc<Service>,
        session: &mut DatabaseSession,
        due: &mut Schedule,
        listens: &mut Option<u64>,
    ) -> Result<bool, StoreError> {
        let node = Arc::clone(&self.node);
        let now = Instant::now();
        if now >= due.renewal || node.renewed_at.borrow().elapsed() >= RENEWAL {
            due.renewal = now + RENEWAL / 5;
            self.renew(service, session)?;
            due.renewal = now + RENEWAL;
        }
        if *listens != Some(session.generation()) {
            session.batch(&format!("LISTEN {}", leases::CHANNEL))?;
            *listens = Some(session.generation());
        }
        if *service.ending.borrow() {
            return self.drain(service, session);
        }
        self.release(session)?;
        node.cluster.give_late_hint(session);
        if Instant::now() >= due.poll {
            let changes = feed::since(session, &node.position())?;
            self.runtime.block_on(node.apply_changes(service, changes))?;
            due.poll = Instant::now() + POLL;
        }
        if Instant::now() >= due.balance {
            self.balance(service, session)?;
            due.balance = Instant::now() + BALANCE;
        }
        if Instant::now() >= due.share {
            self.share(session)?;
            due.share = Instant::now() + SHARE;
        }
        if self.complained.take().is_some() {
            tracing::info!(target: "service", "the database answers again");
        }
        Ok(true)
    }

    /// Renews the lease, or registers again after it has ended.
    fn renew(&mut self, service: &Arc<Service>, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let node = &self.node;
        let before = Instant::now();
        // The answer may come after the engines were stopped.
        let has_stopped =
            || node.has_stopped.load(Ordering::SeqCst) || node.renewed_at.borrow().elapsed() >= STOP_AFTER;
        if !has_stopped() && leases::renew(session, &node.identity().id)? && !has_stopped() {
            node.renewed_at.send_replace(before);
        } else {
            tracing::warn!(target: "service", "the lease of this node has ended: it registers again");
            node.lose_all(service);
            let old = node.identity();
            let identity = NodeIdentity { id: random_id("node"), ..old.clone() };
            leases::unregister(session, &old.id)?;
            leases::register(session, &identity)?;
            *lock(&node.identity) = identity;
            node.keep_id();
            node.has_stopped.store(false, Ordering::SeqCst);
            node.renewed_at.send_replace(before);
        }
        let version = schema::version(session)?;
        if let Err(error) = schema::check(version) {
            node.too_old.send_replace(Some(error));
        }
        Ok(())
    }

    /// Gives up leases whose reconcilers have ended.
    fn release(&mut self, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let given_up = lock(&self.node.given_up).clone();
        if given_up.is_empty() {
            return Ok(());
        }
        leases::release(session, &given_up)?;
        lock(&self.node.given_up).retain(|it| !given_up.contains(it));
        leases::notify(session)
    }

    /// Hands all pipelines over, each once its reconciler has ended. False once none is left.
    fn drain(&mut self, service: &Arc<Service>, session: &mut DatabaseSession) -> Result<bool, StoreError> {
        if !self.node.is_draining.swap(true, Ordering::Relaxed) {
            leases::drain(session, &self.node.identity().id)?;
        }
        self.release(session)?;
        if service.running_reconcilers() > 0 {
            return Ok(true);
        }
        leases::unregister(session, &self.node.identity().id)?;
        Ok(false)
    }

    /// Takes free pipelines up to the share of this node, and hands over the others.
    fn balance(&mut self, service: &Arc<Service>, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let node = Arc::clone(&self.node);
        let identity = node.identity();
        node.note_names(leases::nodes(session)?);
        self.give_up_orphans(service, session)?;
        for group in leases::groups(session, &identity)? {
            let share = group.share();
            // Left-over ones go to any node that may run it.
            let room = share.saturating_sub(group.own).min(group.free).min(MAX_TAKEN);
            if room > 0 {
                let taken = leases::take(session, &identity, &group.requires, room)?;
                if !taken.is_empty() {
                    // Those that another node has created since the last poll are read first.
                    let read = feed::since(session, &node.position())
                        .and_then(|changes| self.runtime.block_on(node.apply_changes(service, changes)));
                    if let Err(error) = read {
                        let free = taken.iter().map(|it| (it.incarnation, it.fence));
                        lock(&node.given_up).extend(free);
                        return Err(error);
                    }
                    let _guard = self.runtime.enter();
                    node.begin(service, taken);
                }
            } else if group.own > share + share / 20 && group.free == 0 {
                self.hand_over(&group.requires, group.own - share);
            }
        }
        Ok(())
    }

    /// Gives up leases without a reconciler, whatever the reason, once they were seen twice; and hands
    /// over pipelines whose labels this node no longer has.
    fn give_up_orphans(&mut self, service: &Service, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let identity = self.node.identity();
        let mut orphans = HashSet::new();
        for (incarnation, fence) in leases::of_node(session, &identity.id)? {
            let slot = lock(&self.node.known).get(&incarnation).cloned();
            if slot.as_ref().is_some_and(|slot| slot.fence() == Some(fence)) {
                continue;
            }
            if self.orphans.contains(&(incarnation, fence)) {
                if let Some(slot) = slot.filter(|slot| slot.fence().is_none_or(|own| own < fence))
                    && let PipelineLog::Chunks(log) = &slot.log
                {
                    lose(service, &slot, log);
                }
                lock(&self.node.given_up).push((incarnation, fence));
            }
            orphans.insert((incarnation, fence));
        }
        self.orphans = orphans;
        for (slot, _) in self.node.own() {
            let required = slot.pipeline().map(|it| it.config.required_labels()).unwrap_or_default();
            if required.iter().any(|label| !identity.labels.contains(label)) {
                slot.stopping.send_replace(true);
            }
        }
        Ok(())
    }

    /// Stops the reconcilers of some pipelines, so that other nodes take them: idle ones first.
    fn hand_over(&self, requires: &[String], most: u64) {
        let mut own = self.node.own();
        own.retain(|(slot, _)| slot.pipeline().is_some_and(|it| it.config.required_labels() == requires));
        own.sort_by_key(|(slot, _)| slot.pipeline().is_some_and(|it| it.task.is_some()));
        for (slot, _) in own.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            slot.stopping.send_replace(true);
        }
    }

    /// Shares the facts of running pipelines that have changed.
    fn share(&self, session: &mut DatabaseSession) -> Result<(), StoreError> {
        let mut all = Vec::new();
        for (slot, fence) in self.node.own() {
            if !slot.has_new_facts.swap(false, Ordering::Relaxed) {
                continue;
            }
            let facts = slot.facts.borrow().clone();
            let open = slot.pipeline().and_then(|it| it.task.clone());
            let progress = facts.of(open.as_ref());
            all.push(SharedFacts {
                incarnation: slot.incarnation,
                fence,
                checkpoints: facts.checkpoints,
                progress: progress.map(|it| finished_streams(it)),
                totals: progress.map(|it| super::totals::totals(it).to_string()),
                task: open,
            });
        }
        if all.is_empty() {
            return Ok(());
        }
        all.sort_by_key(|it| it.incarnation);
        if let Err(error) = leases::share_facts(session, &all) {
            for facts in &all {
                if let Some(slot) = lock(&self.node.known).get(&facts.incarnation) {
                    slot.has_new_facts.store(true, Ordering::Relaxed);
                }
            }
            return Err(error);
        }
        self.node.cluster.give_hint(session);
        Ok(())
    }
}
