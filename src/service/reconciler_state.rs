//! State of the reconciler of one pipeline.

use crate::engine::backfill::retry_loop::Backfill;
use crate::service::call::CallProgress;
use crate::service::model::Task;
use crate::service::registry::Service;
use crate::service::slot::Slot;
use std::sync::Arc;
use synctop_core::protocol::Millis;

/// Reconciler of one pipeline.
pub(super) struct Reconciler {
    pub service: Arc<Service>,
    pub slot: Arc<Slot>,
    /// Fencing number of the lease with which it began.
    pub lease: Option<u64>,
    /// Current run, if loaded. It is boxed, because most pipelines have none.
    pub run: Option<Box<OpenRun>>,
    /// Planned time of the retry that was seen last, and its deadline.
    pub(super) retry: Option<(Millis, tokio::time::Instant)>,
}

/// Loaded run, between its calls.
pub(super) struct OpenRun {
    pub task: Task,
    pub run: Backfill,
    pub call_progress: CallProgress,
}
