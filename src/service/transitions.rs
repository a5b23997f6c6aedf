//! Changes of a stored pipeline that several transitions share.

use crate::service::lifecycle::{Hold, LifecycleEvent};
use crate::service::model::{ParkReason, StoredPipeline, Task};
use crate::service::problem::Problem;
use crate::service::registry::apply_event;
use crate::service::store::Tx;
use crate::util::sys::now;
use std::time::Duration;
use synctop_core::protocol::Millis;

/// Returns the time after a delay.
pub(super) fn after(wait: Duration) -> Millis {
    now().saturating_add(Millis::try_from(wait.as_millis()).unwrap_or(Millis::MAX))
}

/// Parks a pipeline with a reason.
pub(super) fn park(pipeline: &mut StoredPipeline, reason: ParkReason) -> Result<(), Problem> {
    pipeline.retry = None;
    // A new run id lets the engine retry failed streams.
    pipeline.run_id = None;
    apply_event(pipeline, LifecycleEvent::Parked)?;
    if pipeline.life.hold == Hold::Parked {
        pipeline.reason = Some(reason);
    }
    Ok(())
}

/// Stores a run and preserves a concurrent request to cancel it. Returns true if it is canceled.
pub(super) fn put_task_keeping_cancel(tx: &mut Tx, mut task: Task) -> Result<bool, Problem> {
    task.cancel |= tx.task(&task.id)?.is_some_and(|kept| kept.cancel);
    tx.put_task(&task)?;
    Ok(task.cancel)
}

/// Longest sleep until a due time: the clock may be set meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Waits until a time of the clock, for a limited time.
pub(super) async fn wait_until(at: Millis) {
    if at == Millis::MAX {
        return std::future::pending().await;
    }
    let left = u64::try_from(at.saturating_sub(now())).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left).min(MAX_SLEEP)).await;
}
