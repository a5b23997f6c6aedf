//! Complete lines of engines: one bound for a line, and one for the incomplete lines of all calls.

use crate::service::slot::line;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use synctop_core::format::plural;
use synctop_core::protocol::{LineFramer, MAX_LINE_BYTES};

/// Maximum bytes of the incomplete lines of all calls together.
const MAX_PENDING_BYTES: usize = 128 << 20;

/// Bytes of the incomplete lines of all calls.
static PENDING: AtomicUsize = AtomicUsize::new(0);

/// Lines of one call.
#[derive(Default)]
pub(super) struct BoundedLines {
    framer: LineFramer,
    /// Bytes that this call has added to [`PENDING`].
    counted: usize,
}

impl BoundedLines {
    /// Appends bytes and passes every complete line to `each`. Returns the number of lines that were
    /// passed over because they exceed a bound.
    pub(super) fn push(&mut self, bytes: &[u8], each: impl FnMut(&[u8])) -> u64 {
        self.framer.push(bytes, each);
        if self.count() > MAX_PENDING_BYTES {
            self.framer.skip_line();
            self.count();
        }
        self.framer.take_skipped()
    }

    /// Ends the input: passes a last line without a newline to `each`.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        self.framer.finish(|line, _| each(line));
        self.count();
    }

    /// Updates the sum over all calls and returns it.
    fn count(&mut self) -> usize {
        let pending = self.framer.pending();
        let before = PENDING.fetch_add(pending, Ordering::Relaxed);
        PENDING.fetch_sub(self.counted, Ordering::Relaxed);
        let sum = (before + pending).saturating_sub(self.counted);
        self.counted = pending;
        sum
    }
}

impl Drop for BoundedLines {
    fn drop(&mut self) {
        PENDING.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// Returns the log line of the service about lines that were passed over.
pub(super) fn skipped_line(number: u64) -> String {
    let lines = plural(usize::try_from(number).unwrap_or(usize::MAX), "line");
    let (line_limit, sum_limit) = (MAX_LINE_BYTES >> 20, MAX_PENDING_BYTES >> 20);
    let message =
        format!("{lines} of the engine passed over: more than {line_limit} MiB, or {sum_limit} MiB with other calls");
    line("log", &json!({"level": "error", "message": message}))
}
