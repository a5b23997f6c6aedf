//! Snapshots of the progress for rewinding.

use crate::util::sys::lock;
use std::sync::Mutex;
use synctop_core::reduce::history::History;
use synctop_core::reduce::{EncodedSnapshot, Progress};

/// Stores a snapshot of the progress in the history for rewinding. The snapshot is encoded without
/// holding the lock.
pub(crate) fn keep_snapshot(history: &Mutex<History>, progress: &Progress, sides: usize) {
    let base = lock(history).base();
    let base = base.as_ref().map(|(progress, packed)| (progress, packed));
    if let Some(packed) = EncodedSnapshot::new(progress, base) {
        lock(history).keep(progress, packed, sides);
    }
}
