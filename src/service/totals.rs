//! Totals of a run for the API.

use serde_json::{Value, json};
use synctop_core::reduce::Progress;

/// Returns the current totals of a run.
pub fn totals(progress: &Progress) -> Value {
    let summary = synctop_core::report::summary(progress);
    let now = progress.last_at.unwrap_or(0);
    let mut by_status = serde_json::Map::new();
    for stream in &progress.streams {
        let count = by_status.get(stream.status.as_str()).and_then(Value::as_u64).unwrap_or(0);
        by_status.insert(stream.status.as_str().into(), (count + 1).into());
    }
    json!({
        "outcome": summary.outcome, "reason": summary.reason, "has_more": summary.has_more, "attempts": summary.attempts,
        "records": summary.records, "checkpoints": summary.checkpoints, "elapsed_ms": summary.elapsed_ms,
        "records_per_second": progress.counters.rate.per_second(synctop_core::reduce::ONE_MINUTE, now), "coverage": progress.coverage(),
        "covers_all": progress.covers_all(),
        "streams": progress.streams.len(), "by_status": by_status, "errors": summary.errors, "doubts": summary.doubts,
    })
}
