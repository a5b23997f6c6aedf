//! State of this node: its registration, its leases, the pipelines that it knows.

use crate::service::archive::Archive;
use crate::service::log::PipelineLog;
use crate::service::log::chunks::ChunkLog;
use crate::service::registry::Service;
use crate::service::slot::Slot;
use crate::service::slot::status_payload;
use crate::service::store::StoreError;
use crate::service::store::postgres::Cluster;
use crate::service::store::postgres::leases::{self, LEASE_LENGTH, NodeIdentity, NodeRow, TakenLease};
use crate::util::sys::{lock, random_id};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Time after the last renewal at which the engines of a node are stopped. The rest of the lease is
/// for them to end.
pub(super) const STOP_AFTER: Duration = Duration::from_secs(LEASE_LENGTH.as_secs() - 4);

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
    pub(super) cluster: Arc<Cluster>,
    pub(super) archive: Option<Arc<Archive>>,
    pub(super) identity: Mutex<NodeIdentity>,
    /// Name in the configuration.
    pub(super) name: String,
    /// File with the id of the registration.
    pub(super) id_file: PathBuf,
    /// Time of the last renewal, before it was sent.
    pub(super) renewed_at: watch::Sender<Instant>,
    /// Leases whose reconcilers have ended, to be given up.
    pub(super) given_up: Mutex<Vec<(u64, u64)>>,
    /// Pipelines of the registry by incarnation.
    pub(super) known: Mutex<HashMap<u64, Arc<Slot>>>,
    /// Position in the changes of all nodes.
    pub(super) position: Mutex<String>,
    /// Names of the nodes by their ids; `None` for one that is gone.
    pub(super) names: Mutex<HashMap<String, Option<Arc<str>>>>,
    /// True while this node takes no pipelines, because it ends.
    pub(super) is_draining: AtomicBool,
    /// Set if a newer version of the store needs a newer program.
    pub(super) too_old: watch::Sender<Option<StoreError>>,
    /// True once the engines were stopped because the lease could not be renewed.
    pub(super) has_stopped: AtomicBool,
    pub(super) ended: Notify,
}

impl Node {
    pub(super) fn new(cluster: Arc<Cluster>, settings: NodeSettings, folder: &Path) -> Self {
        let NodeSettings { name, address, labels } = settings;
        Self {
            cluster,
            archive: None,
            name: name.clone(),
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
    pub(super) fn identity(&self) -> NodeIdentity {
        lock(&self.identity).clone()
    }

    /// Notes the name of the registration.
    pub(super) fn note_name(&self, name: String) {
        if name == self.name {
            tracing::info!(target: "service", "node {name} of a shared store");
        } else {
            tracing::warn!(
                target: "service",
                "node {name} of a shared store: another one has the name {}; --node-name names this one", self.name
            );
        }
        let mut identity = lock(&self.identity);
        lock(&self.names).insert(identity.id.clone(), Some(name.as_str().into()));
        identity.name = name;
    }

    /// Ends the registration of an earlier process, whose pipelines are free then. The lock of its
    /// folder shows that it has ended.
    pub(super) async fn end_predecessor(&self) -> Result<(), StoreError> {
        if let Ok(id) = std::fs::read_to_string(&self.id_file) {
            self.cluster.run(move |session| leases::unregister(session, id.trim())).await?;
        }
        self.keep_id();
        Ok(())
    }

    /// Keeps the id of the registration for the next process of this folder.
    pub(super) fn keep_id(&self) {
        if let Err(error) = std::fs::write(&self.id_file, &self.identity().id) {
            tracing::warn!(target: "service", "{}: {error}", self.id_file.display());
        }
    }

    /// Notes the nodes. The pipelines of one that is gone have no node.
    pub(super) fn note_names(&self, nodes: Vec<NodeRow>) {
        let now: HashMap<String, Option<Arc<str>>> =
            nodes.into_iter().map(|it| (it.id, it.is_alive.then(|| it.name.into()))).collect();
        let before = std::mem::replace(&mut *lock(&self.names), now.clone());
        if now == before {
            return;
        }
        for (id, name) in &before {
            if let Some(name) = name.as_ref().filter(|_| now.get(id).is_none_or(Option::is_none)) {
                tracing::info!(target: "service", "node {name} is gone");
            }
        }
        let name = |names: &HashMap<String, Option<Arc<str>>>, id: &str| names.get(id).cloned().flatten();
        for slot in lock(&self.known).values() {
            let node = lock(&slot.node).clone();
            if node.is_some_and(|id| name(&before, &id) != name(&now, &id)) {
                slot.mark_changed();
            }
        }
    }

    pub(super) fn position(&self) -> String {
        lock(&self.position).clone()
    }

    /// Returns the pipelines whose lease this node has.
    pub(super) fn own(&self) -> Vec<(Arc<Slot>, u64)> {
        let known = lock(&self.known);
        known.values().filter_map(|slot| Some((Arc::clone(slot), slot.fence()?))).collect()
    }

    /// Begins to run the pipelines of new leases.
    pub(super) fn begin(&self, service: &Arc<Service>, taken: Vec<TakenLease>) {
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
            let mut status = status_payload(&pipeline);
            if let Some(fields) = status.as_object_mut() {
                fields.insert("node".into(), json!({"name": node.name, "fence": fence}));
            }
            slot.append_line("pipeline", &status);
            service.start_reconciler(&slot);
            slot.mark_changed();
        }
    }

    /// Gives up the lease of a pipeline whose reconciler has ended.
    pub(super) async fn hand_back(&self, slot: &Slot, fence: u64) {
        if slot.fence() != Some(fence) {
            return;
        }
        let flushed = tokio::time::timeout(STOP_AFTER, slot.log.flush()).await;
        if let PipelineLog::Chunks(log) = &slot.log
            && log.fence() == Some(fence)
        {
            log.lose();
            // The next node's facts count from now on.
            slot.facts.send_modify(|facts| facts.progress = None);
        }
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!(target: "service", "{}: its last lines are not stored", slot.id);
        }
        lock(&self.given_up).push((slot.incarnation, fence));
    }

    /// Stops all pipelines at once: this node may not run them any longer.
    pub(super) fn lose_all(&self, service: &Service) {
        let all: Vec<Arc<Slot>> = lock(&self.known).values().cloned().collect();
        for slot in all.into_iter().filter(|slot| slot.fence().is_some() || slot.has_reconciler()) {
            if let PipelineLog::Chunks(log) = &slot.log {
                lose(service, &slot, log);
            }
        }
    }
}

/// Stops the reconciler of a pipeline that this node may not run any longer, with its engine.
pub(super) fn lose(service: &Service, slot: &Arc<Slot>, log: &ChunkLog) {
    log.lose();
    if let Some(task) = lock(&slot.reconciler).take() {
        task.abort();
    }
    slot.facts.send_modify(|facts| facts.progress = None);
    service.engines.forget(&slot.id);
}
