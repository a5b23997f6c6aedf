//! Invariants for any input: chunk sizes do not matter, nothing panics, each line is counted once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../../../tests/common/logs.rs"]
mod logs;

use logs::{bytes, reduced};
use proptest::prelude::*;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::{Progress, Reducer, doubts, outcome};
use synctop_core::report::{report, summary};

fn in_chunks(bytes: &[u8], sizes: &[usize]) -> Progress {
    let mut reducer = Reducer::new(Decoder::default());
    let mut rest = bytes;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap_or(&1)).clamp(1, rest.len());
        let (chunk, after) = rest.split_at(size);
        reducer.push(chunk);
        rest = after;
    }
    reducer.finish(None);
    reducer.progress
}

fn lines_of(bytes: &[u8]) -> u64 {
    let newlines = bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
    newlines + u64::from(bytes.last().is_some_and(|byte| *byte != b'\n'))
}

fn every_line_counted_once(progress: &Progress, bytes: &[u8]) {
    let input = progress.input;
    assert_eq!(input.lines, lines_of(bytes));
    assert_eq!(input.bytes, bytes.len() as u64);
    assert_eq!(input.lines, input.messages + input.raw + input.unknown + input.malformed);
}

/// Computes every derived view of a progress: none may panic.
fn compute_all_views(progress: &Progress) {
    let _ = (outcome(progress), doubts(progress), report(progress));
    serde_json::to_string(&summary(progress)).unwrap();
}

/// Lines in the envelope of Stripe's engine, with values of every kind in every field.
fn odd_line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-1".to_owned()),
        Just("1e300".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"started\"".to_owned()),
        Just("\"complete\"".to_owned()),
        Just("\"error\"".to_owned()),
        Just("\"a\"".to_owned()),
        Just("\"2026-11-20T08:00:00.000Z\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("[{\"gte\":1,\"lt\":9999999999999}]".to_owned()),
        Just("{\"a\":{\"status\":\"errored\",\"record_count\":7,\"message\":\"m\"}}".to_owned()),
        Just("{\"gte\":\"2020-01-01T00:00:00Z\",\"lt\":\"2019-01-01T00:00:00Z\"}".to_owned()),
    ];
    let kind = prop::sample::select(vec![
        "catalog",
        "record",
        "source_state",
        "trace",
        "stream_status",
        "progress",
        "connection_status",
        "log",
        "eof",
        "start",
        "end",
        "novel",
    ]);
    let field = prop::sample::select(vec![
        "stream",
        "status",
        "data",
        "trace_type",
        "stream_status",
        "global_progress",
        "error",
        "streams",
        "elapsed_ms",
        "started_at",
        "derived",
        "reason",
        "has_more",
        "run_progress",
        "request_progress",
        "ending_state",
        "state",
        "message",
        "failure_type",
        "time_range",
        "range_complete",
        "record_count",
        "errors",
        "level",
        "emitted_at",
        "run_record_count",
        "cumulative_record_count",
    ]);
    (kind, prop::collection::vec((field, value.clone()), 0..6), value).prop_map(|(kind, fields, at)| {
        let mut seen = std::collections::HashSet::new();
        let body: Vec<_> =
            fields.into_iter().filter(|(f, _)| seen.insert(*f)).map(|(f, v)| format!("\"{f}\":{v}")).collect();
        format!("{{\"type\":\"{kind}\",\"_ts\":{at},\"{kind}\":{{{}}}}}", body.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunking_gives_the_same_progress(sizes in prop::collection::vec(1usize..5_000, 1..12), which in 0usize..4) {
        let name = ["stripe-progress/12-destination-fails-midway.ndjson.zst", "stripe-trace/08-time-limit-resume-all.ndjson.zst",
            "stripe-trace/10c-kill9-truncated-cli.ndjson.zst", "stripe-progress/04-stream-fail.ndjson.zst"][which];
        let bytes = bytes(name);
        let whole = reduced(&bytes);
        every_line_counted_once(&whole, &bytes);
        prop_assert!(whole == in_chunks(&bytes, &sizes), "chunks of {sizes:?} differ for {name}");
    }

    #[test]
    fn arbitrary_bytes_never_panic(noise in prop::collection::vec(any::<u8>(), 0..2_000), sizes in prop::collection::vec(1usize..50, 1..5)) {
        let progress = in_chunks(&noise, &sizes);
        every_line_counted_once(&progress, &noise);
        compute_all_views(&progress);
        prop_assert!(progress == reduced(&noise));
    }

    #[test]
    fn odd_messages_never_panic(lines in prop::collection::vec(odd_line(), 0..60)) {
        let text = lines.join("\n");
        let progress = reduced(text.as_bytes());
        every_line_counted_once(&progress, text.as_bytes());
        compute_all_views(&progress);
    }

    #[test]
    fn damaged_log_never_panics(at in 0usize..100_000, byte in any::<u8>(), cut in 0usize..120_000, drop in 0usize..200) {
        let mut log = bytes("stripe-trace/08-time-limit-resume-all.ndjson.zst");
        let at = at % log.len();
        log[at] = byte;
        log.truncate(cut.max(1));
        let from = log.len().saturating_sub(drop * 3) / 2;
        log.drain(from..(from + drop).min(log.len()));
        let progress = reduced(&log);
        every_line_counted_once(&progress, &log);
        compute_all_views(&progress);
    }
}

#[test]
fn time_never_steps_back() {
    let log = concat!(
        r#"{"type":"record","record":{"stream":"a","emitted_at":"2026-11-20T08:00:10.000Z"}}"#,
        "\n",
        r#"{"type":"record","record":{"stream":"a","emitted_at":"2026-11-20T08:00:05.000Z"}}"#,
        "\n",
    );
    let summary = summary(&reduced(log.as_bytes()));
    assert_eq!(summary.started_at.as_deref(), Some("2026-11-20T08:00:10.000Z"));
    assert_eq!(summary.ended_at.as_deref(), Some("2026-11-20T08:00:10.000Z"));
}
