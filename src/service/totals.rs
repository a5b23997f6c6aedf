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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use synctop_core::fleet::wire::RunTotals;
    use synctop_core::protocol::Decoder;
    use synctop_core::reduce::Reducer;

    #[test]
    fn a_client_reads_every_field_that_it_knows() {
        let mut reducer = Reducer::new(Decoder::default());
        for line in [
            r#"{"type":"RECORD","record":{"stream":"a","data":{"id":1},"emitted_at":1717200000000}}"#,
            r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1717200001000,"stream_status":{"stream_descriptor":{"name":"a"},"status":"STARTED"}}}"#,
            r#"{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1717200061000,"error":{"message":"no access","failure_type":"config_error","stream_descriptor":{"name":"a"}}}}"#,
        ] {
            reducer.push(format!("{line}\n").as_bytes());
        }
        reducer.finish(None);
        let totals = RunTotals::deserialize(&totals(&reducer.progress)).unwrap();
        assert_eq!(totals.outcome.as_deref(), Some(reducer_outcome(&reducer)));
        assert_eq!(totals.records.unwrap().cumulative, Some(1));
        assert_eq!((totals.checkpoints, totals.streams, totals.covers_all.is_some()), (Some(0), Some(1), true));
        assert_eq!(totals.by_status.unwrap().len(), 1);
        let error = &totals.errors[0];
        assert_eq!(error.message.as_deref(), Some("no access"));
        assert!(error.fingerprint.is_some() && error.level.is_some() && error.is_final.is_some());
        assert_eq!((error.cleared, error.streams.len(), error.last_at), (Some(false), 1, Some(1_717_200_061_000)));
    }

    fn reducer_outcome(reducer: &Reducer) -> &'static str {
        synctop_core::reduce::outcome(&reducer.progress).as_str()
    }
}
