//! Changes of other nodes: pipelines, leases and facts, as the database has them.

use crate::service::log::PipelineLog;
use crate::service::node::state::{Node, lose};
use crate::service::registry::Service;
use crate::service::slot::{SharedRun, Slot};
use crate::service::store::postgres::feed::{self, LeaseRow};
use crate::service::store::postgres::leases;
use crate::service::store::{PipelineRow, StoreError};
use crate::util::sys::lock;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Node {
    /// Takes a pipeline that was created here. Another node takes it within seconds if this fails.
    pub(super) async fn take_created(&self, service: &Arc<Service>, slot: &Arc<Slot>) {
        let (identity, incarnation) = (self.identity(), slot.incarnation);
        lock(&self.known).insert(incarnation, Arc::clone(slot));
        let taken = self.cluster.run(move |session| leases::take_new(session, &identity, incarnation)).await;
        match taken {
            Ok(taken) => self.begin(service, taken),
            Err(error) => tracing::warn!(target: "service", "{}: {error}", slot.id),
        }
    }

    /// Registers or updates a pipeline as the database has it.
    pub(super) async fn apply(&self, service: &Arc<Service>, row: PipelineRow, lease: &LeaseRow) -> Option<Arc<Slot>> {
        let PipelineRow { id, incarnation, pipeline } = row;
        let pipeline = match pipeline {
            Ok(pipeline) => Arc::new(pipeline),
            Err(error) => {
                if let Some(old) = service.slot(&id).filter(|it| it.incarnation < incarnation) {
                    self.forget(service, &old);
                }
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
    pub(super) fn apply_lease(&self, service: &Service, slot: &Arc<Slot>, lease: &LeaseRow) {
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

    pub(super) fn forget(&self, service: &Service, slot: &Arc<Slot>) {
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
    pub(super) async fn find(&self, service: &Arc<Service>, id: &str) -> Result<Option<Arc<Slot>>, StoreError> {
        let name = id.to_owned();
        let found = self.cluster.run(move |session| feed::pipeline(session, &name)).await?;
        if let Some((row, lease)) = found {
            self.read_new_nodes([&lease]).await?;
            return Ok(self.apply(service, row, &lease).await);
        }
        service.forget_broken(id);
        if let Some(slot) = service.slot(id) {
            self.forget(service, &slot);
        }
        Ok(None)
    }

    /// Reads the nodes if one of these leases has a new one.
    pub(super) async fn read_new_nodes<'a>(
        &self,
        all: impl IntoIterator<Item = &'a LeaseRow>,
    ) -> Result<(), StoreError> {
        let mut new: Vec<&String> = all.into_iter().filter_map(|lease| lease.node.as_ref()).collect();
        new.retain(|id| !lock(&self.names).contains_key(*id));
        if new.is_empty() {
            return Ok(());
        }
        self.note_names(self.cluster.run(leases::nodes).await?);
        // An old one may be in no list any longer.
        let mut names = lock(&self.names);
        for id in new {
            names.entry(id.clone()).or_default();
        }
        Ok(())
    }

    /// Reads the changes of other nodes since the last read.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the database fails.
    pub(super) async fn catch_up(&self, service: &Arc<Service>) -> Result<(), StoreError> {
        let position = self.position();
        let changes = self.cluster.run(move |session| feed::since(session, &position)).await?;
        self.apply_changes(service, changes).await
    }

    pub(super) async fn apply_changes(
        &self,
        service: &Arc<Service>,
        changes: feed::FeedChanges,
    ) -> Result<(), StoreError> {
        for (id, incarnation) in &changes.deleted {
            lock(&self.known).remove(incarnation);
            service.forget_broken(id);
            if let Some(slot) = service.slot(id).filter(|it| it.incarnation <= *incarnation) {
                self.forget(service, &slot);
            }
        }
        self.read_new_nodes(&changes.leases).await?;
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
            self.read_new_nodes(rows.iter().map(|(_, lease)| lease)).await?;
            for (row, lease) in rows {
                self.apply(service, row, &lease).await;
            }
        }
        *lock(&self.position) = changes.position;
        Ok(())
    }
}
