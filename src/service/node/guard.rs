//! Guard of the leases: no engine outlives the lease of its pipeline.

use crate::service::node::keeper::POLL;
use crate::service::node::state::{Node, STOP_AFTER};
use crate::service::registry::Service;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Stops the engines of this node before its lease ends, if it cannot be renewed.
pub(super) async fn guard(node: Arc<Node>, service: Weak<Service>) {
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
