//! Airbyte and Singer: protocol detection, invariants of any feed, and rules that no recording
//! shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{Run, corpus_root, fixture_root, logs_of_tools, open_after, reduced, runs, unpack};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::sync::Arc;
use synctop::net::timeline::byte_store::ByteStore;
use synctop::net::timeline::indexer::{Indexer, SavedLog};
use synctop::net::timeline::seek::Seeker;
use synctop_core::protocol::{Decoder, Dialect, ProtocolSelection, catalog};
use synctop_core::reduce::history::History;
use synctop_core::reduce::{Exit, Outcome, Progress, Reducer, Target, doubts, outcome};
use synctop_core::report::{report, summary, verdict};

fn all_runs() -> Vec<Run> {
    runs(&corpus_root().unwrap_or_else(fixture_root))
}

/// Reduces a log whose process ended with `exit`.
fn ended(log: &str, exit: Option<Exit>) -> Progress {
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push(log.as_bytes());
    reducer.finish(exit);
    reducer.progress
}

fn json_of(progress: &Progress) -> Value {
    serde_json::to_value(summary(progress)).unwrap()
}

fn doubt_kinds(progress: &Progress) -> Vec<&'static str> {
    doubts(progress).iter().map(|doubt| doubt.kind.as_str()).collect()
}

// Protocol detection.

#[test]
fn first_message_of_every_recording_decides_its_protocol() {
    for run in all_runs() {
        let log = unpack(&run.log);
        let wanted = match run.name.as_str() {
            // An empty stdout, or a document of many lines.
            "airbyte/faker-nosuchcmd"
            | "singer/sdk-tap-about"
            | "singer/sdk-tap-discover"
            | "singer/sdk-tap-badconfig"
            | "singer/sdk-target-badjson"
            | "singer/sdk-target-noschema" => None,
            name if name.starts_with("singer/meltano-run") => Some("meltano"),
            name if name.starts_with("singer/") => Some("singer"),
            name => name.split('/').next(),
        };
        assert_eq!(reduced(&log).dialect.map(Dialect::as_str), wanted, "{}", run.name);
        if wanted.is_some() {
            let first = log.iter().position(|byte| *byte == b'\n').map_or(log.len(), |at| at + 1);
            assert_eq!(reduced(&log[..first]).dialect.map(Dialect::as_str), wanted, "{} by its first line", run.name);
        }
    }
}

#[test]
fn output_of_other_tools_is_no_feed() {
    for path in logs_of_tools(&corpus_root().unwrap_or_else(fixture_root)) {
        if path.parent().unwrap().ends_with("other") {
            let progress = reduced(&unpack(&path));
            let found = (progress.dialect, progress.input.messages, progress.input.unknown, progress.streams.len());
            assert_eq!(found, (None, 0, 0, 0), "{}", path.display());
        }
    }
}

#[test]
fn feed_keeps_its_protocol_among_foreign_lines() {
    let root = fixture_root();
    let log = |name: &str| unpack(&root.join(name));
    let one = [
        log("airbyte/faker-read-small.ndjson.zst"),
        log("singer/sdk-tap-small.ndjson.zst"),
        log("stripe-trace/01-small-success.ndjson.zst"),
        log("singer/meltano-run-json.stderr.zst"),
    ];
    let noise: Vec<u8> = ["rclone-sync.stderr.zst", "dlt-json-log.stderr.zst", "restic-backup.stdout.zst"]
        .iter()
        .flat_map(|name| log(&format!("other/{name}")))
        .chain(*b"\n{\"type\":\"log\",\"level\":\"INFO\"}\n{\"stream\":\"users\"}\n\xff\xfe\n")
        .collect();
    for (at, first) in one.iter().enumerate() {
        let alone = reduced(first);
        let noisy = reduced(&[&noise, first.as_slice()].concat());
        assert_eq!(noisy.dialect, alone.dialect);
        assert_eq!(json_of(&noisy)["streams"], json_of(&alone)["streams"]);
        for (other, second) in one.iter().enumerate() {
            let (both, behind) = (reduced(&[first.as_slice(), second].concat()), reduced(second));
            assert_eq!(both.dialect, alone.dialect);
            let family =
                |progress: &Progress| matches!(progress.dialect.map(Dialect::as_str), Some("singer" | "meltano"));
            if at != other && !(family(&alone) && family(&behind)) {
                // No foreign line counts as a message of the feed, and none is lost.
                assert_eq!(json_of(&both)["streams"], json_of(&alone)["streams"], "{at} then {other}");
                let odd = |progress: &Progress| progress.input.unknown + progress.input.raw;
                assert_eq!(odd(&both), odd(&alone) + behind.input.messages + odd(&behind));
            }
        }
    }
    let stripe = Decoder::new(ProtocolSelection::from_name("stripe").unwrap());
    let mut reducer = Reducer::new(stripe);
    reducer.push(&one[0]);
    assert_eq!((reducer.progress.dialect, reducer.progress.input.messages), (None, 0));
    assert!(reducer.progress.input.unknown > 300);
}

// Invariants of any feed.

fn indexed(run: &Run, spacing: u64) -> (Seeker, Progress) {
    let store = Arc::new(ByteStore::default());
    let history = Arc::new(Mutex::new(History::with_spacing(spacing)));
    let mut indexer = Indexer::new(Arc::clone(&store), Arc::clone(&history));
    indexer.run(vec![SavedLog::open(&run.log).unwrap()], run.sidecar(), &Decoder::default()).unwrap();
    (Seeker::new(store, history, Decoder::default()), indexer.progress)
}

#[test]
fn seek_equals_reading_the_prefix() {
    for run in runs(&fixture_root()) {
        let log = unpack(&run.log);
        let silent = Run { stderr: None, name: run.name.clone(), log: run.log.clone(), exit: run.exit };
        let (mut seeker, _) = indexed(&silent, (log.len() / 9).max(200) as u64);
        for part in [17, 3, 11, 0, 19, 7] {
            let place = log.len() * part / 20;
            seeker.go(Target::Bytes(place as u64)).unwrap();
            assert!(*seeker.progress() == open_after(&log, place), "{} at {place}", run.name);
        }
        // With stderr lines at the positions where they were read.
        let (mut seeker, end) = indexed(&run, (log.len() / 9).max(200) as u64);
        seeker.go(Target::Bytes(log.len() as u64 / 2)).unwrap();
        seeker.go(Target::Begin).unwrap();
        seeker.go(Target::End).unwrap();
        let mut last = seeker.progress().clone();
        last.close(run.sidecar().exit);
        assert!(last == end, "{} at its end", run.name);
        assert_eq!(json_of(&end), json_of(&run.progress()), "{}", run.name);
    }
}

fn picked() -> Vec<Run> {
    let names = [
        "airbyte/lowcode-read-streamfail",
        "airbyte/custom-read-noise",
        "airbyte/custom-read-cdc-nocount",
        "singer/classic-tap-crash",
        "singer/sdk-tap-fail",
        "singer/sdk-tap-batch",
        "singer/rest-tap-ok",
        "singer/meltano-invoke-tap",
    ];
    runs(&fixture_root()).into_iter().filter(|run| names.contains(&run.name.as_str())).collect()
}

/// Lines in the envelope of Airbyte or Singer, with values of every kind in every field.
fn odd_line() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "null",
        "true",
        "-1",
        "1e300",
        "18446744073709551615",
        "[]",
        "{}",
        "\"\"",
        "\"a\"",
        "\"STARTED\"",
        "\"RUNNING\"",
        "\"COMPLETE\"",
        "\"INCOMPLETE\"",
        "\"STREAM\"",
        "\"SYNC\"",
        "\"GLOBAL\"",
        "\"ERROR\"",
        "\"ESTIMATE\"",
        "\"STREAM_STATUS\"",
        "\"FATAL\"",
        "\"2026-11-20T08:00:00.000Z\"",
        "\"\\ud800\"",
        "{\"name\":\"a\",\"namespace\":\"n\"}",
        "{\"recordCount\":7.5}",
        "{\"bookmarks\":{\"a\":1,\"b\":null},\"currently_syncing\":\"a\"}",
        "[{\"type\":\"RATE_LIMITED\",\"rate_limited\":{\"quota_reset\":1795163559000}}]",
        "{\"stream_descriptor\":{\"name\":\"a\"},\"status\":\"RUNNING\",\"stream_state\":{}}",
        "[{\"stream_descriptor\":{\"name\":\"a\"},\"stream_state\":1}]",
        "{\"message\":\"boom\",\"stream_descriptor\":{\"name\":\"a\"}}",
    ]);
    let kind = prop::sample::select(vec![
        ("RECORD", "record"),
        ("STATE", "state"),
        ("LOG", "log"),
        ("TRACE", "trace"),
        ("CONTROL", "control"),
        ("SPEC", "spec"),
        ("CATALOG", "catalog"),
        ("CONNECTION_STATUS", "connectionStatus"),
        ("record", "record"),
        ("SCHEMA", "schema"),
        ("STATE", "value"),
        ("BATCH", "manifest"),
        ("ACTIVATE_VERSION", "version"),
        ("NOVEL", "novel"),
    ]);
    let field = prop::sample::select(vec![
        "stream",
        "namespace",
        "data",
        "emitted_at",
        "type",
        "global",
        "sourceStats",
        "destinationStats",
        "level",
        "message",
        "stream_status",
        "error",
        "estimate",
        "status",
        "reasons",
        "stream_descriptor",
        "stream_states",
        "stream_state",
        "row_estimate",
        "name",
        "failure_type",
        "internal_message",
        "streams",
        "bookmarks",
    ]);
    let fields = || prop::collection::vec((field.clone(), value.clone()), 0..5);
    (kind, fields(), prop::option::of(value.clone()), value.clone()).prop_map(|((kind, key), fields, top, whole)| {
        let mut seen = std::collections::HashSet::new();
        let body: Vec<_> =
            fields.into_iter().filter(|(f, _)| seen.insert(*f)).map(|(f, v)| format!("\"{f}\":{v}")).collect();
        let payload = if body.is_empty() { whole.to_owned() } else { format!("{{{}}}", body.join(",")) };
        let top = top.map(|value| format!(",\"stream\":{value}")).unwrap_or_default();
        format!("{{\"type\":\"{kind}\"{top},\"{key}\":{payload}}}")
    })
}

fn counted_once(progress: &Progress, bytes: &[u8]) {
    let input = progress.input;
    let newlines = bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
    assert_eq!(input.lines, newlines + u64::from(bytes.last().is_some_and(|byte| *byte != b'\n')));
    assert_eq!(input.lines, input.messages + input.raw + input.unknown + input.malformed);
    let _ = (verdict(progress), report(progress), json_of(progress));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_chunking_of_a_run_gives_the_same(sizes in prop::collection::vec(1usize..3_000, 1..10), which in any::<Index>()) {
        let runs = picked();
        let run = &runs[which.index(runs.len())];
        let log = unpack(&run.log);
        let mut reducer = Reducer::new(Decoder::default());
        let mut rest = log.as_slice();
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break }
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            reducer.push(chunk);
            rest = after;
        }
        reducer.finish(None);
        counted_once(&reducer.progress, &log);
        prop_assert!(reducer.progress == reduced(&log), "{}", run.name);
    }

    #[test]
    fn odd_messages_of_connectors_and_taps_never_panic(
        lines in prop::collection::vec(odd_line(), 0..60), code in prop::option::of(0..200i32),
    ) {
        let log = lines.join("\n");
        let progress = ended(&log, code.map(Exit::Code));
        counted_once(&progress, log.as_bytes());
        let mut stderr = Progress::default();
        for line in &lines {
            stderr.stderr(line);
        }
        stderr.close(Some(Exit::Code(1)));
        let _ = (verdict(&stderr), json_of(&stderr));
    }

    #[test]
    fn a_damaged_run_never_panics(which in any::<Index>(), at in any::<Index>(), byte in any::<u8>(), cut in any::<Index>()) {
        let runs = picked();
        let run = &runs[which.index(runs.len())];
        let mut log = unpack(&run.log);
        let at = at.index(log.len());
        log[at] = byte;
        log.truncate(cut.index(log.len()) + 1);
        counted_once(&reduced(&log), &log);
    }

    /// Two pipes have no order between them.
    #[test]
    fn stderr_gives_the_same_result_wherever_it_is_merged(which in any::<Index>(), places in prop::collection::vec(any::<Index>(), 60)) {
        let runs: Vec<Run> = picked().into_iter().filter(|run| run.stderr.is_some()).collect();
        let run = &runs[which.index(runs.len())];
        let (log, stderr) = (unpack(&run.log), unpack(run.stderr.as_ref().unwrap()));
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let mut cuts: Vec<usize> = stderr.lines().zip(places.iter().cycle()).map(|(_, place)| place.index(log.len() + 1)).collect();
        cuts.sort_unstable();
        let mut reducer = Reducer::new(Decoder::default());
        let mut from = 0;
        for (line, cut) in stderr.lines().zip(cuts) {
            reducer.push(&log[from..cut]);
            from = cut;
            reducer.progress.stderr(line);
        }
        reducer.push(&log[from..]);
        reducer.finish(run.sidecar().exit);
        let without_times = |progress: &Progress| {
            let mut value = json_of(progress);
            // Every field with a time depends on the order of the lines.
            for time in ["started_at", "ended_at", "wall_ms", "anomalies"] {
                value[time] = Value::Null;
            }
            for error in value["errors"].as_array_mut().unwrap() {
                (error["first_at"], error["last_at"]) = (Value::Null, Value::Null);
            }
            value
        };
        prop_assert_eq!(without_times(&reducer.progress), without_times(&run.progress()), "{}", run.name);
    }
}

// Rules of Airbyte feeds.

fn status(stream: &str, status: &str) -> String {
    json!({"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1_795_163_500_000_i64,
        "stream_status":{"stream_descriptor":{"name":stream},"status":status}}})
    .to_string()
}

fn limited(stream: &str, at: i64) -> String {
    json!({"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":at,
        "stream_status":{"stream_descriptor":{"name":stream},"status":"RUNNING","reasons":[{"type":"RATE_LIMITED"}]}}})
    .to_string()
}

fn records(stream: &str, count: usize) -> String {
    let line = json!({"type":"RECORD","record":{"stream":stream,"data":{"id":1},"emitted_at":1_795_163_500_000_i64}})
        .to_string();
    vec![line; count].join("\n")
}

fn state(stream: &str, position: u64, count: Option<f64>) -> String {
    let mut state =
        json!({"type":"STREAM","stream":{"stream_descriptor":{"name":stream},"stream_state":{"at":position}}});
    if let Some(count) = count {
        state["sourceStats"] = json!({"recordCount": count});
    }
    json!({"type":"STATE","state":state}).to_string()
}

fn error(stream: Option<&str>, message: &str, failure_type: &str) -> String {
    let mut error = json!({"message": message, "failure_type": failure_type});
    if let Some(stream) = stream {
        error["stream_descriptor"] = json!({"name": stream});
    }
    json!({"type":"TRACE","trace":{"type":"ERROR","emitted_at":1_795_163_500_001_i64,"error":error}}).to_string()
}

fn of(lines: &[String], exit: Option<Exit>) -> Progress {
    ended(&(lines.join("\n") + "\n"), exit)
}

const OK: Option<Exit> = Some(Exit::Code(0));
const ROLL_UP: &str = "During the sync, the following streams did not sync successfully: a: boom";

#[test]
fn outcomes_without_an_end_message() {
    let done = [status("a", "STARTED"), records("a", 2), status("a", "COMPLETE")];
    let part =
        [&done[..], &[status("b", "STARTED"), error(Some("b"), "boom", "system_error"), status("b", "INCOMPLETE")]]
            .concat();
    let rolled = [&part[..], &[error(None, ROLL_UP, "config_error")]].concat();
    let open = [&done[..], &[status("b", "STARTED")]].concat();
    let global = [&open[..], &[error(None, "boom", "system_error")]].concat();
    let cases: [(&[String], Option<Exit>, Outcome); 15] = [
        (&done, OK, Outcome::Succeeded),
        (&done, None, Outcome::Succeeded),
        (&done, Some(Exit::Code(1)), Outcome::Failed),
        (&done, Some(Exit::Signal(9)), Outcome::Truncated),
        (&part, OK, Outcome::CompletedWithErrors),
        (&part, None, Outcome::CompletedWithErrors),
        (&part, Some(Exit::Code(1)), Outcome::Failed),
        (&rolled, None, Outcome::Failed),
        (&rolled, OK, Outcome::Failed),
        (&open, OK, Outcome::Truncated),
        (&open, None, Outcome::Truncated),
        (&open, Some(Exit::Code(143)), Outcome::Truncated),
        (&open, Some(Exit::Code(3)), Outcome::Failed),
        (&global, None, Outcome::Failed),
        (&global, Some(Exit::Signal(15)), Outcome::Failed),
    ];
    for (number, (lines, exit, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(outcome(&of(lines, exit)), wanted, "case {number}");
    }
    // All streams INCOMPLETE with exit code 0.
    let all = [status("b", "STARTED"), status("b", "INCOMPLETE")];
    assert_eq!(outcome(&of(&all, OK)), Outcome::Failed);
    assert_eq!(doubt_kinds(&of(&open, OK)), ["exit_zero_open_stream"]);
    let mut running = Reducer::new(Decoder::default());
    running.push((done.join("\n") + "\n").as_bytes());
    assert_eq!(outcome(&running.progress), Outcome::Running);
}

#[test]
fn fatal_log_line_of_java_tells_its_root_cause() {
    let stack = "java.lang.RuntimeException: wrapped\n\tat a.b.C(C.java:1)\nCaused by: org.postgresql.util.PSQLException: \
        FATAL: password authentication failed\n\tat d.E(E.java:2)";
    let line = |message: &str| {
        json!({"type": "LOG", "log": {"level": "FATAL", "message": message, "stack_trace": stack}}).to_string()
    };
    let cause = |lines: &[String]| {
        let progress = of(lines, Some(Exit::Code(1)));
        assert_eq!(progress.errors.groups().len(), 1);
        progress.errors.groups()[0].message.to_string()
    };
    let root = "caused by org.postgresql.util.PSQLException: FATAL: password authentication failed";
    assert_eq!(cause(&[line("Sync failed badly")]), format!("Sync failed badly; {root}"));
    // A reported error without the stack trace is the same one.
    assert_eq!(
        cause(&[line("Sync failed badly"), error(None, "Sync failed badly", "system_error")]),
        "Sync failed badly"
    );
}

#[test]
fn roll_up_error_is_a_cause_only_without_another_error() {
    let lines = [
        status("a", "STARTED"),
        error(Some("a"), "boom", "transient_error"),
        status("a", "INCOMPLETE"),
        error(None, ROLL_UP, "config_error"),
    ];
    let progress = of(&lines, Some(Exit::Code(1)));
    let said = json_of(&progress);
    assert_eq!(said["errors"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&said["errors"][0]["failure_type"], &said["errors"][0]["level"]),
        (&json!("transient_error"), &json!("transient"))
    );
    assert_eq!(said["errors"][0]["streams"], json!(["a"]));
    assert_eq!(said["roll_up"], ROLL_UP);
    let alone = json_of(&of(&[status("a", "STARTED"), error(None, ROLL_UP, "config_error")], None));
    // A stream without an error of its own gets its part.
    assert_eq!((&alone["roll_up"], alone["errors"].as_array().unwrap().len()), (&json!(ROLL_UP), 1));
    assert_eq!((&alone["errors"][0]["message"], &alone["errors"][0]["streams"]), (&json!("boom"), &json!(["a"])));
}

#[test]
fn fatal_log_line_merges_with_its_error_and_counts_alone() {
    let fatal = json!({"type":"LOG","log":{"level":"FATAL","message":"boom\nTraceback (most recent call last):\n  File \"x\"\nE: boom"}}).to_string();
    let merged = of(&[fatal.clone(), error(None, "boom", "system_error")], Some(Exit::Code(1)));
    let groups = merged.errors.groups();
    assert_eq!((groups.len(), groups[0].count, groups[0].from_log), (1, 1, false));
    assert!(groups[0].stack.as_deref().is_some_and(|stack| stack.contains("File")));
    let alone = of(&[status("a", "STARTED"), fatal.clone()], None);
    assert_eq!((outcome(&alone), alone.errors.groups()[0].message.as_ref()), (Outcome::Failed, "boom"));
    assert!(alone.errors.groups()[0].from_log);
    let other = of(&[fatal, error(None, "something else", "system_error")], Some(Exit::Code(1)));
    assert_eq!(other.errors.groups().len(), 2);
}

#[test]
fn first_terminal_status_stands_and_later_states_are_no_anomaly() {
    let lines = [
        status("a", "STARTED"),
        status("a", "COMPLETE"),
        state("a", 1, Some(0.0)),
        status("a", "INCOMPLETE"),
        error(Some("a"), "late", "system_error"),
        status("b", "STARTED"),
        status("b", "INCOMPLETE"),
        status("b", "COMPLETE"),
    ];
    let said = json_of(&of(&lines, OK));
    assert_eq!(
        (&said["streams"][0]["status"], &said["streams"][1]["status"]),
        (&json!("completed"), &json!("errored"))
    );
    assert_eq!(said["streams"][0]["checkpoints"], 1);
    assert_eq!(said["anomalies"], json!([]));
    let late = said["errors"].as_array().unwrap().iter().find(|it| it["message"] == "late").unwrap();
    assert_eq!(late["final"], false);
}

#[test]
fn missing_stream_is_skipped_and_reported() {
    let progress = of(&[status("a", "STARTED"), status("a", "COMPLETE"), status("gone", "INCOMPLETE")], OK);
    let said = json_of(&progress);
    assert_eq!((&said["outcome"], &said["streams"][1]["status"]), (&json!("completed_with_errors"), &json!("skipped")));
    assert!(said["errors"][0]["message"].as_str().unwrap().contains("may not have this stream"));
}

#[test]
fn rate_limit_is_one_wait_until_a_record_or_plain_running() {
    let begin = 1_795_163_500_000;
    let lines = [status("a", "STARTED"), limited("a", begin), limited("a", begin + 2_000), limited("a", begin + 4_000)];
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push((lines.join("\n") + "\n").as_bytes());
    let stream = Arc::clone(reducer.progress.streams.get(0).unwrap());
    assert_eq!(stream.details.limited.map(|limited| limited.times), Some(3));
    let waits = synctop_core::reduce::waiting(&stream, begin + 5_000).unwrap();
    assert_eq!((waits.rate_limited, waits.for_ms, waits.left_ms), (true, Some(5_000), None));
    assert_eq!(synctop_core::reduce::stall_verdict(&stream, begin + 500_000), None);
    let notes = reducer.progress.feed.lines().iter().filter(|line| line.text.contains("rate limited")).count();
    assert_eq!(notes, 1);
    reducer.push(
        (json!({"type":"RECORD","record":{"stream":"a","data":{},"emitted_at":begin + 6_000}}).to_string() + "\n")
            .as_bytes(),
    );
    let said = json_of(&reducer.progress);
    assert_eq!(said["streams"][0]["rate_limited"], json!({"count": 1, "elapsed_ms": 6_000, "now": false}));
}

#[test]
fn estimates_stop_at_99_percent_and_scopes_do_not_mix() {
    let guess = |name: &str, kind: &str, rows: u64| {
        json!({"type":"TRACE","trace":{"type":"ESTIMATE","estimate":{"name":name,"type":kind,"row_estimate":rows,"byte_estimate":9}}}).to_string()
    };
    let share = |progress: &Progress| progress.streams.get(0).and_then(|stream| progress.share(stream));
    let open = [status("a", "STARTED"), guess("a", "STREAM", 10), records("a", 4)];
    assert_eq!(share(&of(&open, None)), Some(0.4));
    let more = [&open[..], &[records("a", 40)]].concat();
    assert_eq!((share(&of(&more, None)), of(&more, None).estimated_share()), (Some(0.99), Some(0.99)));
    let replaced = [&open[..], &[guess("a", "STREAM", 8)]].concat();
    assert_eq!(share(&of(&replaced, None)), Some(0.5));
    let done = [&open[..], &[status("a", "COMPLETE")]].concat();
    assert_eq!(share(&of(&done, OK)), Some(1.0));
    let mixed = [&open[..], &[guess("*", "SYNC", 100)]].concat();
    assert_eq!((share(&of(&mixed, None)), of(&mixed, None).estimated_share()), (None, None));
    let whole = of(&[status("a", "STARTED"), guess("*", "SYNC", 16), records("a", 4)], None);
    assert_eq!((whole.estimated_share(), whole.streams.len()), (Some(0.25), 1));
}

#[test]
fn record_counts_of_checkpoints_are_checked() {
    let right = of(
        &[
            status("a", "STARTED"),
            records("a", 5),
            state("a", 1, Some(5.0)),
            records("a", 2),
            state("a", 2, Some(2.0)),
            status("a", "COMPLETE"),
        ],
        OK,
    );
    assert_eq!(doubt_kinds(&right), [""; 0]);
    let wrong = of(&[status("a", "STARTED"), records("a", 5), state("a", 1, Some(7.0)), status("a", "COMPLETE")], OK);
    assert_eq!(doubt_kinds(&wrong), ["record_count_mismatch"]);
    // Without the start of the log, its first checkpoint cannot be checked.
    let tail = of(&[records("a", 5), state("a", 1, Some(700.0)), status("a", "COMPLETE")], OK);
    assert_eq!(doubt_kinds(&tail), [""; 0]);
}

#[test]
fn state_returned_by_a_destination_commits_the_records_before_it() {
    let source = [
        status("a", "STARTED"),
        records("a", 5),
        state("a", 1, Some(5.0)),
        records("a", 3),
        state("a", 2, Some(3.0)),
        // The source repeats its state, for no records.
        state("a", 2, Some(0.0)),
        status("a", "COMPLETE"),
    ];
    let alone = of(&source, OK);
    assert_eq!((alone.committed(), outcome(&alone), alone.counters.checkpoints), (None, Outcome::Succeeded, 3));
    let first = of(&[&source[..], &[state("a", 1, Some(5.0))]].concat(), OK);
    let said = json_of(&first);
    assert_eq!(
        (&said["streams"][0]["committed"], &said["committed"]),
        (&json!(5), &json!({"records": 5, "checkpoints": 1}))
    );
    // Complete at the source is not complete at the destination.
    assert_eq!((outcome(&first), first.counters.checkpoints), (Outcome::Truncated, 3));
    assert!(doubt_kinds(&first).contains(&"record_count_mismatch"));
    // The second state returns with another key order and an integer count; it also commits all
    // states before it.
    let echo = r#"{"state":{"sourceStats":{"recordCount":3},"stream":{"stream_state":{"at":2.0},"stream_descriptor":{"namespace":null,"name":"a"}},"type":"STREAM"},"type":"STATE"}"#;
    let all = of(&[&source[..], &[echo.to_owned()]].concat(), OK);
    assert_eq!((all.committed(), outcome(&all)), (Some(8), Outcome::Succeeded));
    // The feed of a destination without its source.
    let destination = of(&[state("a", 1, Some(5.0)), state("b", 1, Some(2.0))], OK);
    assert_eq!(
        (destination.committed(), outcome(&destination), destination.counters.checkpoints),
        (Some(7), Outcome::Succeeded, 2)
    );
    assert_eq!(outcome(&of(&[state("a", 1, Some(5.0))], None)), Outcome::Unknown);
}

#[test]
fn a_traceback_between_messages_is_one_line_of_the_log() {
    let text = "worker died\nTraceback (most recent call last):\n  File \"x\", line 1, in f\n    f()\nKeyError: 'a'\n\n\
        During handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"y\"\n\
        RuntimeError: gone\nsomething else";
    let progress = of(&[status("a", "STARTED"), text.to_owned(), records("a", 1)], None);
    let lines: Vec<_> = progress.feed.lines().iter().map(|line| (line.level.as_str(), line.text.as_str())).collect();
    let (joined, rest) = (lines[0], lines[1]);
    assert!(joined.1.starts_with("worker died\nTraceback") && joined.1.ends_with("RuntimeError: gone"), "{lines:?}");
    assert_eq!((joined.0, rest, lines.len()), ("ERROR", ("INFO", "something else"), 2));
    assert_eq!(progress.input.raw, 12);
}

#[test]
fn configuration_of_a_connector_is_never_stored() {
    let line = r#"{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","emitted_at":1,"connectorConfig":{"config":{"pass":"hunter2"}}}}"#;
    let progress = of(&[line.to_owned()], OK);
    assert!(!format!("{progress:?}").contains("hunter2"));
    assert_eq!(progress.input.messages, 1);
    // Torn, joined to the next line, or read as another protocol.
    let torn = &line[..line.len() - 4];
    for odd in [torn.to_owned(), format!("{torn}{}", status("a", "STARTED")), format!("text {line} text")] {
        for reading in ["auto", "stripe", "singer"] {
            let mut reducer = Reducer::new(Decoder::new(ProtocolSelection::from_name(reading).unwrap()));
            reducer.push(format!("{odd}\n{line}\n").as_bytes());
            reducer.progress.stderr(&odd);
            assert!(!format!("{:?}", reducer.progress).contains("hunter2"), "{reading}: {odd}");
        }
    }
}

#[test]
fn catalog_declares_the_expected_streams() {
    let configured = r#"{"streams":[{"stream":{"name":"a"},"sync_mode":"full_refresh"},{"stream":{"name":"b"},"sync_mode":"full_refresh"}]}"#;
    let with = |catalog: &str| {
        let mut reducer = Reducer::new(Decoder::default());
        reducer.progress.expect_streams(&Arc::new(catalog::read(catalog).unwrap()));
        reducer.push((status("a", "STARTED") + "\n" + &status("a", "COMPLETE") + "\n").as_bytes());
        reducer.finish(OK);
        reducer.progress
    };
    let progress = with(configured);
    assert_eq!((outcome(&progress), doubt_kinds(&progress)), (Outcome::Truncated, vec!["nothing_synced"]));
    assert!(verdict(&progress).why.unwrap().contains("b never started"));
    // A discovered catalog lists available streams, not requested ones.
    let discovered = with(r#"{"streams":[{"name":"a"},{"name":"b"}]}"#);
    assert_eq!((outcome(&discovered), discovered.streams.len()), (Outcome::Succeeded, 2));
    let singer = with(
        r#"{"streams":[{"tap_stream_id":"a","stream":"a","metadata":[{"breadcrumb":[],"metadata":{"selected":true}}]},
        {"tap_stream_id":"b","stream":"b","metadata":[{"breadcrumb":[],"metadata":{"selected":false}}]}]}"#,
    );
    assert_eq!(
        (outcome(&singer), json_of(&singer)["streams"][1]["status"].clone()),
        (Outcome::Succeeded, json!("skipped"))
    );
}

// Rules of Singer feeds.

fn tap(lines: &[&str], stderr: &[&str], exit: Option<Exit>) -> Progress {
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push((lines.join("\n") + "\n").as_bytes());
    for line in stderr {
        reducer.progress.stderr(line);
    }
    reducer.finish(exit);
    reducer.progress
}

const SCHEMA: &str = r#"{"type":"SCHEMA","stream":"a","schema":{},"key_properties":[]}"#;
const ROW: &str = r#"{"type":"RECORD","stream":"a","record":{"id":1}}"#;
const DONE: &str =
    r#"INFO METRIC: {"metric":"job_duration","value":1,"tags":{"job_type":"sync_a","status":"succeeded"}}"#;
const FAILED: &str =
    r#"INFO METRIC: {"metric":"job_duration","value":1,"tags":{"job_type":"sync_a","status":"failed"}}"#;

#[test]
fn singer_state_is_a_checkpoint_of_streams_with_changed_bookmarks() {
    let second = r#"{"type":"SCHEMA","stream":"b","schema":{},"key_properties":[]}"#;
    let progress = tap(
        &[
            // The initial state names streams that have not started.
            r#"{"type":"STATE","value":{"bookmarks":{"a":1,"b":1,"never":1}}}"#,
            SCHEMA,
            ROW,
            r#"{"type":"STATE","value":{"bookmarks":{"a":2,"b":1,"never":1}}}"#,
            second,
            r#"{"type":"STATE","value":{"bookmarks":{"b":2,"a":2,"never":1}}}"#,
            // The same bookmarks, with `currently_syncing`.
            r#"{"type":"STATE","value":{"bookmarks":{"a":2,"b":2,"never":1},"currently_syncing":"b"}}"#,
            r#"{"type":"STATE","value":{"bookmarks":{"a":3,"b":3,"never":1}}}"#,
        ],
        &[],
        OK,
    );
    let said = json_of(&progress);
    let checkpoints: Vec<_> =
        said["streams"].as_array().unwrap().iter().map(|it| (it["name"].clone(), it["checkpoints"].clone())).collect();
    assert_eq!(checkpoints, [(json!("a"), json!(2)), (json!("b"), json!(3))]);
    assert_eq!((progress.counters.checkpoints, outcome(&progress)), (5, Outcome::Succeeded));
}

/// Stdout, stderr and exit code of a tap, and the expected outcome.
type Case<'c> = (&'c [&'c str], &'c [&'c str], Option<Exit>, Outcome);

#[test]
fn outcomes_of_taps() {
    let state = r#"{"type":"STATE","value":{"bookmarks":{"a":1}}}"#;
    let whole = [SCHEMA, ROW, state];
    let open = [SCHEMA, state, ROW];
    let cases: [Case; 11] = [
        (&whole, &[], OK, Outcome::Succeeded),
        (&whole, &[], None, Outcome::Unknown),
        (&open, &[], OK, Outcome::Truncated),
        (&open, &[DONE], OK, Outcome::Succeeded),
        (&open, &[DONE], None, Outcome::Succeeded),
        (&whole, &[FAILED], OK, Outcome::Aborted),
        (&whole, &[FAILED], Some(Exit::Code(1)), Outcome::Failed),
        (&whole, &["CRITICAL boom", FAILED], None, Outcome::Failed),
        (
            &whole,
            &["2026-11-20 08:36:56,196 | INFO     | tap-demo | Gracefully shutting down...", FAILED],
            None,
            Outcome::Aborted,
        ),
        (&whole, &[], Some(Exit::Signal(9)), Outcome::Truncated),
        (&whole, &[], Some(Exit::Code(1)), Outcome::Failed),
    ];
    for (number, (lines, stderr, exit, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(outcome(&tap(lines, stderr, exit)), wanted, "case {number}");
    }
    assert!(json_of(&tap(&whole, &[], OK))["streams"][0]["assumed"].as_bool().unwrap());
    assert_eq!(doubt_kinds(&tap(&open, &[], OK)), ["exit_zero_open_stream"]);
}

#[test]
fn error_and_traceback_are_one_group_and_explain_the_failed_stream() {
    let trace = [
        "CRITICAL boom",
        "Traceback (most recent call last):",
        "  File \"x\", line 1, in f",
        "    f()",
        "ValueError: boom",
    ];
    for metric_first in [true, false] {
        let stderr: Vec<&str> =
            if metric_first { [&[FAILED], &trace[..]].concat() } else { [&trace[..], &[FAILED]].concat() };
        let progress = tap(&[SCHEMA, ROW], &stderr, Some(Exit::Code(1)));
        let group = &progress.errors.groups()[0];
        assert_eq!((progress.errors.groups().len(), group.count, group.message.as_ref()), (1, 1, "boom"));
        assert_eq!(group.stack.as_deref(), Some(&*trace[1..].join("\n")));
        assert_eq!(json_of(&progress)["streams"][0]["message"], "boom");
    }
    // Two ERROR lines in a row are one cause.
    let config = tap(
        &[],
        &[
            "2026-11-20 08:35:13,892 | ERROR    | tap | 'rows' is required",
            "2026-11-20 08:35:13,892 | ERROR    | tap | Config validation failed",
        ],
        Some(Exit::Code(1)),
    );
    assert_eq!(
        (outcome(&config), verdict(&config).why.as_deref()),
        (Outcome::Failed, Some("'rows' is required; Config validation failed"))
    );
}

#[test]
fn metrics_are_compared_with_records_and_count_batches() {
    let metric = |count: u64| {
        format!(
            r#"INFO METRIC: {{"type":"counter","metric":"record_count","value":{count},"tags":{{"endpoint":"a"}}}}"#
        )
    };
    let counted = tap(&[SCHEMA, ROW, ROW, ROW], &[&metric(1), &metric(2), DONE], OK);
    assert_eq!((counted.cumulative_records(), doubt_kinds(&counted)), (Some(3), vec![]));
    let differs = tap(&[SCHEMA, ROW, ROW], &[&metric(5), DONE], OK);
    assert_eq!((differs.cumulative_records(), doubt_kinds(&differs)), (Some(2), vec!["record_count_mismatch"]));
    let batch = r#"{"type":"BATCH","stream":"a","encoding":{},"manifest":["file:///x"]}"#;
    let hidden = tap(&[SCHEMA, batch], &[&metric(40), DONE], OK);
    assert_eq!((hidden.cumulative_records(), doubt_kinds(&hidden)), (Some(40), vec![]));
}

// Defects found by review and by trials.

#[test]
fn destination_states_may_interleave_with_source_messages() {
    let progress = of(
        &[
            status("a", "STARTED"),
            records("a", 5),
            state("a", 1, Some(5.0)),
            records("a", 1),
            // The destination returns the state of the first five records.
            state("a", 1, Some(5.0)),
            records("a", 2),
            state("a", 2, Some(3.0)),
            status("a", "COMPLETE"),
            state("a", 2, Some(3.0)),
        ],
        OK,
    );
    assert_eq!((progress.committed(), progress.counters.checkpoints, doubt_kinds(&progress)), (Some(8), 2, vec![]));
    assert_eq!(outcome(&progress), Outcome::Succeeded);
}

#[test]
fn feed_joined_in_the_middle_is_no_destination() {
    let progress =
        of(&[state("a", 1, Some(100.0)), records("a", 2), state("a", 2, Some(2.0)), status("a", "COMPLETE")], OK);
    assert_eq!(
        (progress.committed(), progress.commits.has_destination, outcome(&progress)),
        (None, false, Outcome::Succeeded)
    );
}

#[test]
fn records_after_the_last_checkpoint_do_not_count_in_the_next_attempt() {
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push((status("a", "STARTED") + "\n" + &records("a", 3) + "\n").as_bytes());
    reducer.progress.next_file();
    let rest = [status("a", "STARTED"), records("a", 2), state("a", 1, Some(2.0)), status("a", "COMPLETE")].join("\n");
    reducer.push((rest + "\n").as_bytes());
    reducer.finish(OK);
    assert_eq!((reducer.progress.attempts, outcome(&reducer.progress)), (2, Outcome::Succeeded));
    assert!(!doubt_kinds(&reducer.progress).contains(&"record_count_mismatch"));
    // A stream that the next attempt never read is not completed.
    let mut left = Reducer::new(Decoder::default());
    left.push((status("a", "STARTED") + "\n").as_bytes());
    left.progress.next_file();
    left.push((status("b", "STARTED") + "\n" + &status("b", "COMPLETE") + "\n").as_bytes());
    left.finish(OK);
    assert_eq!(outcome(&left.progress), Outcome::Truncated);
}

#[test]
fn global_state_starts_no_stream() {
    let global = json!({"type":"STATE","state":{"type":"GLOBAL","global":{"stream_states":[
        {"stream_descriptor":{"name":"a"},"stream_state":{}},{"stream_descriptor":{"name":"later"},"stream_state":{}}]}}});
    let progress = of(&[status("a", "STARTED"), global.to_string(), status("a", "COMPLETE")], OK);
    let said = json_of(&progress);
    assert_eq!((&said["streams"][1]["status"], &said["streams"][1]["checkpoints"]), (&json!("not_started"), &json!(1)));
    assert_eq!((outcome(&progress), &said["anomalies"]), (Outcome::Succeeded, &json!([])));
}

#[test]
fn metric_tags_name_streams_only_without_a_feed() {
    let state = r#"{"type":"STATE","value":{"bookmarks":{"a":1}}}"#;
    let job = r#"INFO METRIC: {"metric":"job_duration","value":1,"tags":{"job_type":"sync_table","table":"a","status":"succeeded"}}"#;
    let endpoint = r#"INFO METRIC: {"metric":"record_count","value":1,"tags":{"endpoint":"a_api"}}"#;
    let other = r#"INFO METRIC: {"metric":"record_count","value":9,"tags":{"stream":"of_another_run","pid":7}}"#;
    let progress = tap(&[SCHEMA, ROW, state], &[job, endpoint, other], OK);
    assert_eq!(
        (progress.streams.len(), progress.cumulative_records(), outcome(&progress)),
        (1, Some(1), Outcome::Succeeded)
    );
    // Without a feed, the metrics name the streams.
    let alone = tap(&[], &[endpoint, DONE], OK);
    assert_eq!((alone.streams.len(), alone.cumulative_records()), (2, Some(1)));
}

#[test]
fn tap_and_target_metrics_are_separated_by_pid() {
    let count = |pid: u32| {
        format!(r#"INFO METRIC: {{"metric":"record_count","value":40,"tags":{{"stream":"a","pid":{pid}}}}}"#)
    };
    let both = tap(&[r#"{"bookmarks":{"a":1}}"#], &[&count(1), &count(2)], OK);
    assert_eq!((both.cumulative_records(), both.committed()), (Some(40), Some(40)));
    // Two attempts have two taps with different pids.
    let mut reducer = Reducer::new(Decoder::default());
    let lines = [SCHEMA, ROW, r#"{"type":"STATE","value":{"bookmarks":{"a":1}}}"#].join("\n") + "\n";
    for pid in [1, 2] {
        reducer.push(lines.as_bytes());
        reducer.progress.stderr(&count(pid));
        if pid == 1 {
            reducer.progress.next_file();
        }
    }
    reducer.finish(OK);
    assert_eq!(reducer.progress.committed(), None);
}

#[test]
fn stderr_before_the_first_message_is_interpreted_once_the_protocol_is_known() {
    let lines = [status("a", "STARTED"), status("a", "COMPLETE")].join("\n") + "\n";
    for first in [true, false] {
        let mut reducer = Reducer::new(Decoder::default());
        if !first {
            reducer.push(lines.as_bytes());
        }
        for line in ["FATAL not its protocol", "Traceback (most recent call last):", "  File", "E: x"] {
            reducer.progress.stderr(line);
        }
        if first {
            reducer.push(lines.as_bytes());
        }
        reducer.finish(OK);
        assert_eq!(outcome(&reducer.progress), Outcome::Succeeded, "stderr first: {first}");
    }
    // A library's metric before the first message does not make an Airbyte source a tap.
    let mixed = ended(
        &format!("METRIC: {{\"metric\":\"record_count\",\"value\":1,\"tags\":{{\"stream\":\"x\"}}}}\n{lines}"),
        OK,
    );
    assert_eq!(mixed.dialect.map(Dialect::as_str), Some("airbyte"));
}

#[test]
fn merged_stdout_and_stderr_show_the_cause() {
    let root = fixture_root();
    let merged =
        [unpack(&root.join("singer/sdk-tap-fail.ndjson.zst")), unpack(&root.join("singer/sdk-tap-fail.stderr.zst"))]
            .concat();
    let progress = reduced(&merged);
    assert_eq!((outcome(&progress), verdict(&progress).why.as_deref()), (Outcome::Failed, Some("boom: API said 500")));
}
