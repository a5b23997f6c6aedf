//! Snapshots of the progress for rewinding.

use parking_lot::Mutex;
use std::sync::Arc;
use synctop_core::reduce::history::History;
use synctop_core::reduce::{EncodedSnapshot, Progress};

/// Rewind index that a reducing thread grows and the screen reads. The lock can be handed to a
/// waiting thread between two lines: a feed that never pauses must not keep the screen waiting.
pub type SharedHistory = Arc<Mutex<History>>;

/// Stores a snapshot of the progress in the history for rewinding. The snapshot is encoded without
/// holding the lock.
pub(crate) fn keep_snapshot(history: &Mutex<History>, progress: &Progress, sides: usize) {
    let base = history.lock().base();
    if let Some(packed) = EncodedSnapshot::new(progress, base.as_ref()) {
        history.lock().keep(progress, packed, sides);
    }
}
