//! State of a run that another node runs, reduced from the log for as long as a reader needs it.

use crate::service::log::Piece;
use crate::service::registry::Service;
use crate::service::slot::{Observer, Slot};
use crate::util::sys::lock;
use std::sync::{Arc, Weak};
use std::time::Duration;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::Reducer;

/// Maximum bytes per read.
const CHUNK: usize = 256 * 1024;

/// Longest pause between two looks at the log.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Maximum time to reduce the log of an open run before its state is used.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Observes a pipeline; `None` if this service has one node, which knows its runs.
pub fn observe(service: &Arc<Service>, slot: &Arc<Slot>) -> Option<Arc<Observer>> {
    service.peers.as_ref()?;
    let mut current = lock(&slot.observer);
    if let Some(observer) = current.upgrade() {
        return Some(observer);
    }
    let task = tokio::spawn(follow(Arc::downgrade(service), Arc::downgrade(slot)));
    let observer = Arc::new(Observer(task.abort_handle()));
    *current = Arc::downgrade(&observer);
    Some(observer)
}

/// Waits until the state of the open run is known, and its lines are stored, for a limited time.
pub async fn catch_up(slot: &Slot) {
    let Some(task) = slot.pipeline().and_then(|it| it.task.clone()) else { return };
    let known = async {
        let mut facts = slot.facts.subscribe();
        let position = facts.wait_for(|facts| facts.of(Some(&task)).is_some()).await.map_or(0, |it| it.position);
        // The node that runs the pipeline knows lines before they are stored.
        let _ = slot.log.tail().wait_for(|end| *end >= position).await;
    };
    let _ = tokio::time::timeout(CATCH_UP_TIMEOUT, known).await;
}

/// Reduces the log of the last run for as long as another node runs the pipeline.
async fn follow(service: Weak<Service>, slot: Weak<Slot>) {
    let mut reduced: Option<(String, Reducer, u64)> = None;
    loop {
        let (Some(service), Some(slot)) = (service.upgrade(), slot.upgrade()) else { return };
        let (mut tail, mut status) = (slot.log.tail(), slot.status.subscribe());
        tail.borrow_and_update();
        let Some(pipeline) = status.borrow_and_update().clone() else { return };
        if slot.fence().is_some() {
            // This node has taken the pipeline over: its reconciler publishes the facts.
            reduced = None;
        } else if let Some(id) = pipeline.task.as_ref().or(pipeline.last.as_ref()) {
            if reduced.as_ref().is_none_or(|(of, ..)| of != id) {
                let name = id.clone();
                let task = service.store.read(move |it| it.task(&name)).await.ok().flatten();
                let start = |task: crate::service::model::Task| (task.id, Reducer::new(Decoder::default()), task.log.0);
                reduced = task.map(start);
            }
            if let Some((id, reducer, at)) = &mut reduced {
                let mut reader = slot.log.reader(*at);
                loop {
                    match reader.next(CHUNK).await {
                        Ok(Piece::Bytes(bytes)) => tokio::task::block_in_place(|| reducer.push(&bytes)),
                        Ok(Piece::Gone(kept)) => {
                            reducer.break_line(|_| {});
                            reader.seek(kept);
                        }
                        Ok(Piece::End) | Err(_) => break,
                    }
                }
                *at = reader.at();
                let progress = Arc::new(reducer.progress.clone());
                slot.facts.send_modify(|facts| {
                    facts.task = Some(id.clone());
                    facts.progress = Some(progress);
                    facts.position = reader.at();
                });
            }
        }
        drop((service, slot));
        tokio::select! {
            _ = tail.changed() => {}
            _ = status.changed() => {}
            () = tokio::time::sleep(MAX_PAUSE) => {}
        }
    }
}
