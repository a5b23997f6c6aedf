//! Rules of the reducer that no recording shows, each with the smallest log that does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../../../tests/common/logs.rs"]
mod logs;

use logs::{open_after, reduced};
use serde_json::{Value, json};
use synctop_core::ResultClass;
use synctop_core::reduce::{Exit, Outcome, doubts, outcome};
use synctop_core::report::{summary, verdict};

/// Log with one line per message (`kind`, payload), one second apart.
fn log(messages: &[(&str, Value)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (second, (kind, payload)) in messages.iter().enumerate() {
        let line = json!({"type": kind, *kind: payload, "_ts": format!("2026-11-20T08:{:02}:{:02}.000Z", second / 60, second % 60)});
        out.extend_from_slice(line.to_string().as_bytes());
        out.push(b'\n');
    }
    out
}

fn of(messages: &[(&str, Value)]) -> Value {
    serde_json::to_value(summary(&reduced(&log(messages)))).unwrap()
}

fn status(stream: &str, status: &str) -> (&'static str, Value) {
    ("stream_status", json!({"stream": stream, "status": status}))
}

fn failed(stream: &str, error: &str) -> (&'static str, Value) {
    ("stream_status", json!({"stream": stream, "status": "error", "error": error}))
}

fn state(stream: &str) -> (&'static str, Value) {
    ("source_state", json!({"state_type": "stream", "stream": stream, "data": {"remaining": []}}))
}

fn progress(started: &str, elapsed: u64, streams: Value) -> (&'static str, Value) {
    let total: u64 = streams.as_object().unwrap().values().map(|s| s["record_count"].as_u64().unwrap_or(0)).sum();
    let states: u64 = streams.as_object().unwrap().values().map(|s| s["state_count"].as_u64().unwrap_or(0)).sum();
    let derived = json!({"status": "started", "total_record_count": total, "total_state_count": states});
    ("progress", json!({"started_at": started, "elapsed_ms": elapsed, "derived": derived, "streams": streams}))
}

fn eof(status: &str, more: bool) -> (&'static str, Value) {
    ("eof", json!({"status": status, "has_more": more}))
}

const T1: &str = "2026-11-20T08:00:00.000Z";
const T2: &str = "2026-11-20T08:00:30.000Z";

fn doubt_kinds(summary: &Value) -> Vec<String> {
    let mut kinds: Vec<_> =
        summary["doubts"].as_array().unwrap().iter().map(|d| d["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

#[test]
fn counts_that_restart_in_a_new_attempt_are_added() {
    let summary = of(&[
        status("a", "start"),
        progress(T1, 0, json!({"a": {"status": "started", "record_count": 0, "state_count": 0}})),
        state("a"),
        progress(T1, 900, json!({"a": {"status": "started", "record_count": 100, "state_count": 1}})),
        eof("started", true),
        status("a", "start"),
        progress(T2, 0, json!({"a": {"status": "started", "record_count": 0, "state_count": 0}})),
        state("a"),
        progress(T2, 400, json!({"a": {"status": "completed", "record_count": 30, "state_count": 1}})),
        eof("succeeded", false),
    ]);
    assert_eq!(summary["attempts"], 2);
    assert_eq!(summary["records"], json!({"attempt": 30, "cumulative": 130}));
    assert_eq!(summary["streams"][0]["records"], json!({"attempt": 30, "cumulative": 130}));
    assert_eq!(summary["elapsed_ms"], 1300);
    // The first attempt counted no record after its last checkpoint: no row is read twice.
    assert_eq!(doubt_kinds(&summary), [""; 0]);
    let summary = of(&[
        status("a", "start"),
        state("a"),
        progress(T1, 900, json!({"a": {"status": "started", "record_count": 100, "state_count": 1}})),
        progress(T1, 950, json!({"a": {"status": "started", "record_count": 140, "state_count": 1}})),
        eof("started", true),
        status("a", "start"),
        progress(T2, 400, json!({"a": {"status": "completed", "record_count": 30, "state_count": 1}})),
        eof("succeeded", false),
    ]);
    assert_eq!(doubt_kinds(&summary), ["recount_after_resume"]);
}

#[test]
fn restarted_process_is_a_new_attempt() {
    let summary = of(&[
        status("a", "start"),
        progress(T1, 0, json!({"a": {"status": "started", "record_count": 0, "state_count": 0}})),
        state("a"),
        progress(T1, 900, json!({"a": {"status": "started", "record_count": 100, "state_count": 1}})),
        status("a", "start"),
        progress(T2, 0, json!({"a": {"status": "started", "record_count": 0, "state_count": 0}})),
        state("a"),
        progress(T2, 400, json!({"a": {"status": "started", "record_count": 30, "state_count": 1}})),
    ]);
    assert_eq!(summary["attempts"], 2);
    assert_eq!(summary["records"], json!({"attempt": 30, "cumulative": 130}));
    assert_eq!(summary["anomalies"], json!([]), "the first start of the new process is no second start");
    assert_eq!(summary["outcome"], "truncated");
}

#[test]
fn error_stands_until_a_later_attempt_completes_its_stream() {
    let first =
        [status("a", "start"), failed("a", "no"), status("b", "start"), status("b", "complete"), eof("failed", false)];
    let again = [status("a", "start"), status("a", "complete"), eof("succeeded", false)];
    let summary = of(&[&first[..], &again[..]].concat());
    assert_eq!((&summary["outcome"], &summary["errors"][0]["cleared"]), (&json!("succeeded"), &json!(true)));
    let other = [status("b", "start"), status("b", "complete"), eof("succeeded", false)];
    let summary = of(&[&first[..], &other[..]].concat());
    assert_eq!(
        (&summary["outcome"], &summary["errors"][0]["cleared"]),
        (&json!("completed_with_errors"), &json!(false))
    );
}

#[test]
fn ends_of_every_kind() {
    for (end, outcome, code) in [
        (json!({"reason": "complete"}), "succeeded", 0),
        (json!({"reason": "time_limit"}), "cut_off", 2),
        (json!({"reason": "state_limit"}), "cut_off", 2),
        (json!({"reason": "aborted"}), "aborted", 2),
        (json!({"reason": "error"}), "failed", 1),
        (json!({"reason": "lunch"}), "cut_off", 2),
        (json!({"status": "started", "has_more": false}), "cut_off", 2),
        (json!({"status": "succeeded", "has_more": true}), "cut_off", 2),
        (json!({"has_more": false}), "succeeded", 0),
    ] {
        let reduced = reduced(&log(&[status("a", "start"), status("a", "complete"), ("eof", end.clone())]));
        assert_eq!((outcome_name(&reduced), outcome_code(&reduced)), (outcome, code), "{end}");
        let kinds: Vec<_> = doubts(&reduced).iter().map(|doubt| doubt.kind.as_str()).collect();
        assert_eq!(kinds.contains(&"unknown_end"), end["reason"] == "lunch", "{end}");
    }
}

fn outcome_name(progress: &synctop_core::reduce::Progress) -> &'static str {
    outcome(progress).as_str()
}

/// Exit code that the documentation names for the outcome.
fn outcome_code(progress: &synctop_core::reduce::Progress) -> u8 {
    match outcome(progress).class() {
        ResultClass::Done => 0,
        ResultClass::Failed => 1,
        ResultClass::Unfinished => 2,
        other => panic!("{other:?}"),
    }
}

#[test]
fn limit_completes_only_streams_that_the_returned_state_confirms() {
    let end = |states: Value| ("eof", json!({"reason": "state_limit", "state": {"source": {"streams": states}}}));
    let of_stream = |states: Value| {
        let summary = of(&[status("a", "start"), status("a", "complete"), end(states)]);
        summary["streams"][0]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(of_stream(json!({"a": {"status": "complete"}})), "completed");
    assert_eq!(of_stream(json!({"a": {"status": "pending"}})), "started");
    assert_eq!(of_stream(json!({"a": {"remaining": []}})), "completed");
    assert_eq!(of_stream(json!({"a": {"remaining": [{"gte": T1, "lt": T2}]}})), "started");
    assert_eq!(of_stream(json!({"b": {"status": "complete"}})), "started");
    assert_eq!(of_stream(json!({})), "started", "a state without the stream does not say so");
    assert_eq!(of_stream(json!({"a": {"status": "pending", "remaining": []}})), "completed", "either of them says so");
    assert_eq!(of_stream(Value::Null), "completed", "without source state the explicit status stands");
}

#[test]
fn anomalies_are_counted_and_normal_order_has_none() {
    let summary = of(&[
        ("catalog", json!({"streams": [{"name": "a"}, {"name": "b"}]})),
        state("a"),
        status("a", "start"),
        status("b", "start"),
        status("b", "start"),
        status("b", "complete"),
        state("b"),
        state("b"),
        status("zzz", "start"),
        eof("succeeded", false),
    ]);
    assert_eq!(
        summary["anomalies"],
        json!([
            {"kind": "state_before_start", "stream": "a", "count": 1},
            {"kind": "state_after_complete", "stream": "b", "count": 2},
            {"kind": "duplicate_start", "stream": "b", "count": 1},
            {"kind": "unknown_stream", "stream": "zzz", "count": 1},
        ])
    );
}

#[test]
fn the_start_end_design_is_read() {
    let streams = |a: u64, done: bool| {
        json!({"a": {"state_count": 1, "record_count": a, "terminal": done, "insert_count": 5, "update_count": 2, "delete_count": 1},
        "b": {"state_count": 0, "record_count": 0, "terminal": done}})
    };
    let error = json!({"error_level": "stream", "message": "b broke 17", "stream": "b"});
    let transient = json!({"error_level": "transient", "message": "slow down", "stream": "a"});
    let listed = |errors: Value, a, done| {
        ("progress", json!({"elapsed_ms": 100, "derived": {}, "streams": streams(a, done), "errors": errors}))
    };
    let summary = of(&[
        (
            "start",
            json!({"sync_run_id": "r", "source_config": {"key": "sk_live_secret1"}, "configured_catalog": {"streams": [{"name": "a"}, {"stream": {"name": "b"}}]}}),
        ),
        ("record", json!({"stream": "a", "data": {}})),
        listed(json!([transient]), 1, false),
        listed(json!([transient, error]), 1, true),
        (
            "end",
            json!({"has_more": false, "ending_state": {}, "request_progress": {"elapsed_ms": 100, "streams": streams(1, true), "errors": [error, transient]}}),
        ),
    ]);
    assert_eq!(summary["outcome"], "completed_with_errors");
    assert_eq!(summary["attempts"], 1);
    let a = &summary["streams"][0];
    assert_eq!(
        (&a["status"], &a["inserted"], &a["updated"], &a["deleted"]),
        (&json!("completed"), &json!(5), &json!(2), &json!(1))
    );
    assert_eq!(summary["streams"][1]["status"], "errored");
    let errors: Vec<_> = summary["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["level"].clone(), e["count"].clone(), e["final"].clone()))
        .collect();
    assert_eq!(errors, [(json!("stream"), json!(1), json!(true)), (json!("transient"), json!(1), json!(false))]);
    assert!(!summary.to_string().contains("secret1"));
}

#[test]
fn reported_count_unlike_the_record_lines_is_a_doubt() {
    let record = || ("record", json!({"stream": "a", "data": {}}));
    let summary = of(&[
        status("a", "start"),
        record(),
        record(),
        record(),
        progress(T1, 10, json!({"a": {"status": "completed", "record_count": 2, "state_count": 0}})),
        eof("succeeded", false),
    ]);
    assert_eq!(doubt_kinds(&summary), ["record_count_mismatch"]);
    assert_eq!(summary["streams"][0]["records"]["attempt"], 2, "the report stands, the doubt says so");
}

#[test]
fn failed_connection_after_the_end_fails_the_run() {
    let connection = |status: &str| ("connection_status", json!({"status": status, "message": "refused"}));
    let summary = of(&[status("a", "start"), status("a", "complete"), eof("succeeded", false), connection("failed")]);
    assert_eq!((&summary["outcome"], &summary["attempts"]), (&json!("failed"), &json!(1)));
    assert_eq!(of(&[connection("succeeded")])["outcome"], "unknown");
    assert_eq!(of(&[connection("failed")])["outcome"], "failed");
}

#[test]
fn last_logged_error_is_the_cause_without_a_reported_error() {
    let entry = |text: &str| ("log", json!({"level": "error", "message": text}));
    let summary = of(&[entry("first"), entry("disk full"), eof("failed", false)]);
    assert_eq!(
        (&summary["errors"][0]["message"], &summary["errors"][0]["from_log"]),
        (&json!("disk full"), &json!(true))
    );
    let summary = of(&[entry("disk full"), status("a", "start"), failed("a", "no"), eof("failed", false)]);
    assert_eq!(summary["errors"].as_array().unwrap().len(), 1);
    assert!(summary["errors"][0].get("from_log").is_none());
}

#[test]
fn zero_requests_beside_records_are_unknown() {
    let totals = |requests: u64| {
        (
            "trace",
            json!({"trace_type": "global_progress", "global_progress": {"run_record_count": 7, "cumulative_record_count": 7, "cumulative_request_count": requests}}),
        )
    };
    assert_eq!(of(&[totals(0)])["requests"]["cumulative"], Value::Null);
    assert_eq!(of(&[totals(3)])["requests"]["cumulative"], 3);
}

#[test]
fn error_in_a_progress_report_counts() {
    let report = |started, status: &str, message: Option<&str>| {
        progress(started, 10, json!({"a": {"status": status, "record_count": 1, "state_count": 1, "message": message}}))
    };
    let summary = of(&[status("a", "start"), report(T1, "errored", None), eof("succeeded", false)]);
    assert_eq!((&summary["outcome"], &summary["errors"][0]["streams"]), (&json!("failed"), &json!(["a"])));
    let summary = of(&[
        status("a", "start"),
        status("b", "start"),
        report(T1, "completed", Some("half of it")),
        eof("succeeded", false),
    ]);
    assert_eq!(
        (&summary["outcome"], &summary["errors"][0]["message"]),
        (&json!("completed_with_errors"), &json!("half of it"))
    );
    let unnamed = json!({"source": {"streams": {"z": {"remaining": [{"gte": T1, "lt": T2}]}}}});
    let end = ("eof", json!({"status": "succeeded", "has_more": false, "ending_state": unnamed}));
    let summary = of(&[status("a", "start"), status("a", "complete"), end]);
    assert_eq!(summary["outcome"], "completed_with_errors");
}

#[test]
fn restart_with_rising_counts_is_detected_by_the_request_progress() {
    let run = |a: u64| json!({"started_at": T2, "elapsed_ms": 10, "derived": {"total_record_count": a}, "streams": {"a": {"status": "completed", "record_count": a}}});
    let end =
        ("eof", json!({"status": "succeeded", "has_more": false, "run_progress": run(7), "request_progress": run(7)}));
    let summary = of(&[
        status("a", "start"),
        progress(T1, 0, json!({"a": {"status": "started", "record_count": 0, "state_count": 0}})),
        progress(T1, 9, json!({"a": {"status": "started", "record_count": 5, "state_count": 1}})),
        eof("started", true),
        status("a", "start"),
        progress(T2, 10, json!({"a": {"status": "started", "record_count": 7, "state_count": 1}})),
        end,
    ]);
    assert_eq!(summary["streams"][0]["records"], json!({"attempt": 7, "cumulative": 12}));
    assert_eq!(summary["records"], json!({"attempt": 7, "cumulative": 12}));
}

#[test]
fn record_lines_count_again_after_an_attempt_with_reports() {
    let record = || ("record", json!({"stream": "a", "data": {}}));
    let summary = of(&[
        status("a", "start"),
        progress(T1, 0, json!({"a": {"status": "started", "record_count": 0}})),
        progress(T1, 9, json!({"a": {"status": "completed", "record_count": 3}})),
        eof("succeeded", false),
        status("a", "start"),
        record(),
        record(),
        ("eof", json!({"has_more": false})),
    ]);
    assert_eq!(summary["streams"][0]["records"], json!({"attempt": 2, "cumulative": 5}));
    assert_eq!(summary["doubts"], json!([]));
}

#[test]
fn open_stream_with_exit_zero_is_truncated_with_a_doubt() {
    let bytes = log(&[status("a", "start"), state("a")]);
    let open = open_after(&bytes, bytes.len());
    assert_eq!(outcome(&open), Outcome::Running);
    let mut closed = open.clone();
    closed.close(Some(Exit::Code(0)));
    assert_eq!(outcome(&closed), Outcome::Truncated);
    assert_eq!(doubts(&closed).iter().map(|doubt| doubt.kind.as_str()).collect::<Vec<_>>(), ["exit_zero_open_stream"]);
    assert!(verdict(&closed).why.unwrap().contains("exit 0"));
}

#[test]
fn configured_stream_without_messages_is_a_doubt() {
    let asked = ("log", json!({"level": "info", "message": "x", "data": {"configuredStreams": ["a", "nope"]}}));
    let summary = of(&[status("a", "start"), status("a", "complete"), eof("succeeded", false), asked]);
    assert_eq!(summary["doubts"][0]["kind"], "nothing_synced");
    assert_eq!(summary["doubts"][0]["stream"], "nope");
}
