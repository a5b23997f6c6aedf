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

mod changes;
mod guard;
mod keeper;
mod state;

pub use state::{Node, NodeSettings};

use crate::service::archive::{Archive, PASS};
use crate::service::log::LogRetention;
use crate::service::node::guard::guard;
use crate::service::node::keeper::Keeper;
use crate::service::registry::{Peers, Service, SharedStore};
use crate::service::slot::Slot;
use crate::service::store::postgres::chunks;
use crate::service::store::postgres::leases::{self, LEASE_LENGTH, NodeRow};
use crate::service::store::postgres::session::Connector;
use crate::service::store::postgres::{feed, segments};
use crate::service::store::{Store, StoreError};
use crate::util::sys::lock;
use futures_util::future::BoxFuture;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Instant;

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

impl Node {
    /// Registers the pipelines and the node, and starts the keeper and the guard.
    async fn begin_work(self: &Arc<Self>, service: &Arc<Service>) -> Result<(), StoreError> {
        if self.archive.is_none() && self.cluster.run(segments::exist).await? {
            return Err(StoreError::NeedsArchive);
        }
        self.end_predecessor().await?;
        let identity = self.identity();
        let position = self.position();
        let before = Instant::now();
        let (changes, rows, name) = self
            .cluster
            .run(move |session| {
                let changes = feed::since(session, &position)?;
                let incarnations: Vec<u64> = changes.pipelines.iter().map(|it| it.1).collect();
                let rows = feed::pipelines(session, &incarnations)?;
                let name = leases::register(session, &identity)?;
                Ok((changes, rows, name))
            })
            .await?;
        self.note_name(name);
        *lock(&self.position) = changes.position;
        self.renewed_at.send_replace(before);
        self.read_new_nodes(rows.iter().map(|(_, lease)| lease)).await?;
        for (row, lease) in rows {
            self.apply(service, row, &lease).await;
        }
        Keeper::start(self, service)?;
        tokio::spawn(guard(Arc::clone(self), Arc::downgrade(service)));
        if let Some(archive) = &self.archive {
            tokio::spawn(archive_regularly(Arc::clone(archive), Arc::clone(self), Arc::downgrade(service)));
        }
        Ok(())
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
        lock(&self.names).get(&id).cloned().flatten()
    }

    fn has_others(&self) -> bool {
        lock(&self.names).values().flatten().count() > 1
    }

    fn watches(&self, slot: &Slot) -> bool {
        // The first of the living nodes.
        let is_first = || {
            let own = self.identity().id;
            let names = lock(&self.names);
            let alive = names.iter().filter(|(_, name)| name.is_some()).map(|(id, _)| id);
            alive.min() == Some(&own)
        };
        slot.fence().is_some() || (self.name_of(slot).is_none() && is_first())
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
