//! Several runs in one log: the markers of a new run, and the summary of earlier runs. Log texts
//! are those of the recordings of 2026-11-20; the logs in `fixtures/wild` are of cron jobs that
//! append.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../../../tests/common/logs.rs"]
mod logs;

use logs::{bytes, reduced};
use serde_json::{Value, json};
use synctop_core::protocol::Decoder;
use synctop_core::reduce::{DoubtKind, Exit, Progress, Reducer, doubts};
use synctop_core::report::{report, summary};

fn of(bytes: &[u8], exit: Option<i32>) -> Value {
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push(bytes);
    reducer.finish(exit.map(Exit::Code));
    serde_json::to_value(summary(&reducer.progress)).unwrap()
}

/// Outcome and records of the earlier runs, then of the last one.
fn runs_of(summary: &Value) -> Vec<(String, Value)> {
    let runs = summary["runs"].as_array().unwrap().iter();
    let one = |run: &Value| (run["outcome"].as_str().unwrap().to_owned(), run["records"]["cumulative"].clone());
    runs.chain([summary]).map(one).collect()
}

fn runs(lines: &[&str], exit: Option<i32>) -> Vec<(String, Value)> {
    runs_of(&of(lines.join("\n").as_bytes(), exit))
}

fn run(outcome: &str, records: u64) -> (String, Value) {
    (outcome.to_owned(), json!(records))
}

const STARTING: &str = r#"{"type":"LOG","log":{"level":"INFO","message":"Starting syncing SourceShop"}}"#;
const FINISHED: &str = r#"{"type":"LOG","log":{"level":"INFO","message":"Finished syncing SourceShop"}}"#;
const FINISHED_USERS: &str = r#"{"type":"LOG","log":{"level":"INFO","message":"Finished syncing users"}}"#;
const STARTED: &str = r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1717200000000.0,"stream_status":{"stream_descriptor":{"name":"users"},"status":"STARTED"}}}"#;
const COMPLETE: &str = r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1717200002000.0,"stream_status":{"stream_descriptor":{"name":"users"},"status":"COMPLETE"}}}"#;
const USER: &str = r#"{"type":"RECORD","record":{"stream":"users","data":{"id":1},"emitted_at":1717200001000}}"#;
const NEXT_DAY: &str = r#"{"type":"RECORD","record":{"stream":"orders","data":{"id":1},"emitted_at":1717286400000}}"#;
const CRASH: &str = r#"{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1717200001000.0,"error":{"message":"config is not valid","failure_type":"config_error"}}}"#;

#[test]
fn appended_airbyte_logs_are_separate_runs() {
    let good = of(&bytes("wild/96-cron-append-airbyte.ndjson"), Some(0));
    assert_eq!(runs_of(&good), [run("failed", 1), run("succeeded", 2)]);
    assert_eq!((&good["attempts"], &good["errors"]), (&json!(1), &json!([])));
    assert_eq!(good["started_at"], "2024-06-02T00:00:00.000Z");
    let dead = of(&bytes("wild/96b-append-then-dies.ndjson"), None);
    assert_eq!(runs_of(&dead), [run("succeeded", 2), run("truncated", 1)]);
}

#[test]
fn airbyte_run_starts_at_starting_syncing_after_an_end() {
    // "Starting syncing" starts a run, whichever stream comes first, also as the last line.
    let first = [STARTING, STARTED, USER, COMPLETE, FINISHED];
    assert_eq!(runs(&[&first[..], &[STARTING]].concat(), None)[0], run("succeeded", 1));
    let second = of([&first[..], &[STARTING, NEXT_DAY]].concat().join("\n").as_bytes(), None);
    assert_eq!(runs_of(&second), [run("succeeded", 1), run("truncated", 1)]);
    // The line has no time of its own: the run does not start at the end of the one before.
    assert_eq!(second["started_at"], "2024-06-02T00:00:00.000Z");
    assert_eq!(second["streams"][1]["status"], "not_started");
    // A run that fails before its first stream counts, after and before a successful run.
    assert_eq!(
        runs(&[&first[..], &[STARTING, CRASH]].concat(), Some(1)),
        [run("succeeded", 1), ("failed".into(), Value::Null)]
    );
    assert_eq!(runs(&[&[CRASH], &first[..]].concat(), Some(0))[1..], [run("succeeded", 1)]);
    // A finished stream is no end of a run, and without an end a second "Starting" starts no run.
    assert_eq!(runs(&[STARTING, STARTED, USER, FINISHED_USERS, STARTING, NEXT_DAY], None).len(), 1);
}

const SCHEMA: &str = r#"{"type":"SCHEMA","stream":"orders","schema":{"type":"object"},"key_properties":["id"]}"#;
const ORDER: &str = r#"{"type":"RECORD","stream":"orders","record":{"id":1}}"#;
const STATE: &str = r#"{"type":"STATE","value":{"bookmarks":{"orders":{"id":1}}}}"#;
const CRITICAL: &str = "CRITICAL 500 Server Error";
const TRACEBACK: [&str; 3] =
    ["Traceback (most recent call last):", "  File \"tap.py\", line 1, in <module>", "ValueError: no such page"];

#[test]
fn appended_singer_logs_are_separate_runs() {
    let log = of(&bytes("wild/97-cron-append-singer.ndjson"), Some(0));
    assert_eq!(runs_of(&log), [run("failed", 1), run("succeeded", 2)]);
    assert_eq!((&log["errors"], &log["checkpoints"]), (&json!([]), &json!(1)));
    let text = report(&reduced(&bytes("wild/97-cron-append-singer.ndjson")));
    assert!(text.contains("  - without times  FAILED, 1 record in 1 attempt\n"), "{text}");
}

#[test]
fn singer_run_starts_at_a_repeated_schema_after_an_end() {
    let second = [SCHEMA, ORDER, ORDER, STATE];
    for end in [&[CRITICAL][..], &TRACEBACK, &[&[CRITICAL][..], &TRACEBACK].concat()] {
        let log = [&[SCHEMA, ORDER][..], end, &second].concat();
        assert_eq!(runs(&log, Some(0)), [run("failed", 1), run("succeeded", 2)], "{end:?}");
    }
    // The first run failed before its first stream.
    let log = [&[CRITICAL, "INFO Starting sync"][..], &second].concat();
    assert_eq!(runs(&log, Some(0)).last(), Some(&run("succeeded", 2)));
    // A repeated SCHEMA alone starts no run, nor does one after a caught exception: a logged
    // traceback, or one with records after it.
    for middle in [&[][..], &[&["ERROR page 3 failed"][..], &TRACEBACK].concat(), &[&TRACEBACK[..], &[ORDER]].concat()]
    {
        let log = [&[SCHEMA, ORDER][..], middle, &second].concat();
        assert_eq!(runs(&log, Some(0)).len(), 1, "{middle:?}");
    }
    // With "Starting sync", a logged traceback was the end of the run.
    let logged = [&[SCHEMA, ORDER, "ERROR page 3 failed"][..], &TRACEBACK, &["INFO Starting sync"], &second].concat();
    assert_eq!(runs(&logged, Some(0)).len(), 2);
}

#[test]
fn stderr_lines_start_no_run() {
    let mut progress = Progress::default();
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push([SCHEMA, ORDER, ""].join("\n").as_bytes());
    reducer.progress.stderr(CRITICAL);
    reducer.progress.stderr("INFO Starting sync");
    reducer.push([SCHEMA, ORDER, STATE, ""].join("\n").as_bytes());
    std::mem::swap(&mut progress, &mut reducer.progress);
    assert_eq!((progress.runs.total, progress.cumulative_records()), (0, Some(2)));
}

#[test]
fn meltano_runs_are_separated_by_their_id() {
    let (good, bad) = (bytes("singer/meltano-run-json.stderr.zst"), bytes("singer/meltano-run-json-fail.stderr.zst"));
    assert_eq!(runs_of(&of(&[&good[..], &bad].concat(), Some(1))), [run("succeeded", 1540), run("failed", 1)]);
    let log = of(&[&bad[..], &good].concat(), Some(0));
    assert_eq!(runs_of(&log), [run("failed", 1), run("succeeded", 1540)]);
    assert_eq!(log["errors"], json!([]));
    // A killed run has no end; the next run id starts another run.
    let half: Vec<_> = good.split_inclusive(|byte| *byte == b'\n').take(24).flatten().copied().collect();
    let all = of(&[&half[..], &bad].concat(), Some(1));
    assert_eq!((all["runs"].as_array().unwrap().len(), &all["runs"][0]["outcome"]), (1, &json!("truncated")));
    // Two jobs that write to one log in turns are one run each.
    let turns: Vec<_> = good
        .split_inclusive(|byte| *byte == b'\n')
        .zip(bad.split_inclusive(|byte| *byte == b'\n'))
        .flat_map(|(one, other)| [one, other].concat())
        .collect();
    assert_eq!(of(&turns, None)["runs"].as_array().unwrap().len(), 1);
}

/// Stripe's engine logs the id of the next run before its call starts.
#[test]
fn run_id_logged_after_an_end_belongs_to_the_next_attempt() {
    let status = |status: &str| json!({"type": "stream_status", "stream_status": {"stream": "a", "status": status}});
    let id = |id: &str| json!({"type": "log", "log": {"level": "info", "message": "call", "data": {"run_id": id}}});
    let catalog = json!({"type": "catalog", "catalog": {"streams": [{"name": "a"}]}});
    let state = json!({"type": "source_state", "source_state": {"state_type": "stream", "stream": "a", "data": {}}});
    let eof = json!({"type": "eof", "eof": {"status": "started", "has_more": true}});
    let call = [catalog, status("start"), state, eof];
    let log = |ids: [&str; 3]| {
        let lines = ids.iter().flat_map(|one| [id(one)].into_iter().chain(call.clone()));
        lines.map(|line| line.to_string() + "\n").collect::<String>()
    };
    let told = |ids| {
        let summary = of(log(ids).as_bytes(), None);
        (summary["runs"].as_array().unwrap().len(), summary["attempts"].clone(), summary["checkpoints"].clone())
    };
    assert_eq!(told(["r1", "r1", "r1"]), (0, json!(3), json!(3)));
    assert_eq!(told(["r1", "r2", "r2"]), (1, json!(2), json!(2)));
    assert_eq!(told(["r1", "r1", "r2"]), (1, json!(1), json!(1)));
}

/// Three logs of one command, called during and after an outage of its database. The end state of
/// the first run skips 2,600 rows that the database lacks.
#[test]
fn rows_skipped_by_an_earlier_run_are_at_risk_in_the_run_that_continues_it() {
    let one = |name: &str| bytes(&format!("stripe-live/prog-backfill-pgdown{name}.ndjson.zst"));
    let progress = reduced(&[one(""), one("-again"), one("-third")].concat());
    assert_eq!(
        runs_of(&serde_json::to_value(summary(&progress)).unwrap()),
        [run("failed", 2638), run("failed", 0), run("succeeded", 5000)]
    );
    let doubts = doubts(&progress);
    assert_eq!((doubts.len(), doubts[0].kind), (1, DoubtKind::StateAhead));
    assert!(doubts[0].finding.to_string().contains("(up to about 2,600)"), "{}", doubts[0].finding);
    // A later run that reads everything has no doubt.
    let whole = reduced(&[one(""), bytes("stripe-live/prog-01-success.ndjson.zst")].concat());
    assert_eq!((whole.runs.total, synctop_core::reduce::doubts(&whole)), (1, vec![]));
}

/// Engines that report once per call, near its end, with the counts of that call only.
#[test]
fn report_without_totals_starts_a_new_run() {
    let one = |name: &str| bytes(&format!("stripe-live/{name}.ndjson.zst"));
    let both = |first: &str, second: &str| of(&[one(first), one(second)].concat(), None);
    for (first, second, runs) in [
        ("hybrid-stream403", "hybrid-some500", [run("failed", 6340), run("succeeded", 10340)]),
        ("hybrid-some500", "hybrid-html", [run("succeeded", 10340), run("succeeded", 10040)]),
        ("hybrid-some500", "hybrid-storm429", [run("succeeded", 10340), run("completed_with_errors", 1640)]),
        ("pretrace-badkey", "pretrace-01-success", [run("failed", 0), run("succeeded", 13045)]),
        ("pretrace-revoke", "pretrace-stream403", [run("failed", 3642), run("completed_with_errors", 6340)]),
    ] {
        let summary = both(first, second);
        assert_eq!((runs_of(&summary), &summary["attempts"]), (runs.to_vec(), &json!(1)), "{first} {second}");
    }
    // Errors and ranges of the earlier run do not carry over.
    let good = both("pretrace-badkey", "pretrace-01-success");
    assert_eq!(good["errors"], json!([]));
    let bad = both("pretrace-01-success", "pretrace-badkey");
    let customers = bad["streams"].as_array().unwrap().iter().find(|stream| stream["name"] == "customers").unwrap();
    assert_eq!((&customers["coverage"], &customers["total_range"]), (&Value::Null, &Value::Null));
    assert_eq!((&customers["errors"], bad["errors"].as_array().unwrap().len()), (&json!(1), 1));
    // A run that dies before its first report takes over nothing; the earlier run keeps its end
    // time.
    let dead = both("hybrid-some500", "hybrid-hang");
    assert_eq!(runs_of(&dead), [run("succeeded", 10340), ("truncated".to_owned(), Value::Null)]);
    let alone = of(&one("hybrid-some500"), None);
    assert_eq!(dead["runs"][0]["ended_at"], alone["ended_at"]);
}

/// An earlier attempt left a stream half read, and the attempt that reports "succeeded" did not
/// request it.
#[test]
fn unread_ranges_of_an_earlier_attempt_are_a_doubt() {
    let total = json!({"gte": "2026-01-01T00:00:00.000Z", "lt": "2026-01-03T00:00:00.000Z"});
    let half = json!([{"gte": "2026-01-02T00:00:00.000Z", "lt": "2026-01-03T00:00:00.000Z", "cursor": null}]);
    let state = |left: &Value| json!({"accounted_range": total, "remaining": left});
    let line = |kind: &str, payload: Value| json!({"type": kind, kind: payload}).to_string() + "\n";
    let start = |stream: &str| {
        line("stream_status", json!({"stream": stream, "status": "start", "time_range": total}))
            + &line("source_state", json!({"state_type": "stream", "stream": stream, "data": state(&half)}))
    };
    let eof = |status: &str, more: bool, streams: Value| {
        line("eof", json!({"status": status, "has_more": more, "ending_state": {"source": {"streams": streams}}}))
    };
    let first = start("a") + &start("b") + &eof("started", true, json!({"a": state(&half), "b": state(&half)}));
    let only_a = start("a") + &eof("succeeded", false, json!({"a": state(&json!([]))}));
    let summary = of((first.clone() + &only_a).as_bytes(), None);
    assert_eq!(summary["outcome"], "completed_with_errors");
    let doubt = summary["doubts"].as_array().unwrap().iter().find(|doubt| doubt["kind"] == "ranges_left").unwrap();
    assert_eq!(doubt["streams"], json!(["b"]));
    let both =
        start("a") + &start("b") + &eof("succeeded", false, json!({"a": state(&json!([])), "b": state(&json!([]))}));
    assert_eq!(of((first + &both).as_bytes(), None)["outcome"], "succeeded");
}

/// A tap and its target, which prints the states that it stored, in one log of two calls.
#[test]
fn states_returned_in_an_earlier_run_are_not_counted_in_the_next() {
    let call = [SCHEMA, ORDER, STATE, r#"{"bookmarks":{"orders":{"id":1}}}"#];
    let log = of([&call[..], &[CRITICAL, "INFO Starting sync"], &call].concat().join("\n").as_bytes(), Some(0));
    assert_eq!(log["runs"].as_array().unwrap().len(), 1);
    assert_eq!(log["committed"]["checkpoints"], 1);
}
