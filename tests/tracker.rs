//! Progress stage (`track`): known mistakes of published engines, rules, and invariants for any
//! sequence of messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{bytes, corpus, fixtures, reduced, unpack};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use synctop::engine::tracker::memory::Memory;
use synctop::engine::tracker::wire::WireGeneration;
use synctop::engine::tracker::{AttemptLimit, AttemptOutcome, Tracker};
use synctop_core::protocol::{LineEnd, Status};
use synctop_core::reduce::outcome;

/// Result of an attempt: its output, its outcome, and the state after it.
struct AttemptResult {
    out: Vec<u8>,
    outcome: AttemptOutcome,
    state: Value,
}

impl AttemptResult {
    fn lines(&self) -> Vec<Value> {
        let lines = self.out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap_or(Value::Null)).collect()
    }

    fn statuses(&self) -> Vec<(String, String)> {
        let status = |line: &Value| {
            let status = line.pointer("/trace/stream_status").or_else(|| line.get("stream_status"))?.clone();
            Some((status["stream"].as_str()?.to_owned(), status["status"].as_str()?.to_owned()))
        };
        self.lines().iter().filter_map(status).collect()
    }

    fn eof(&self) -> Value {
        let last = self.lines().pop().unwrap();
        assert_eq!(last["type"], "eof", "{last}");
        last["eof"].clone()
    }

    fn logs(&self, level: &str) -> Vec<String> {
        let lines = self.lines();
        let ours = lines.iter().filter(|line| line["_emitted_by"] == "engine" && line["log"]["level"] == level);
        ours.map(|line| line["log"]["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn attempt_of(form: WireGeneration, state: &Value, messages: &[String], limit: Option<AttemptLimit>) -> AttemptResult {
    let memory = Memory::read(&state.to_string()).unwrap();
    let mut tracker = Tracker::new(form, memory, 1_000);
    let mut out = Vec::new();
    let mut at = 1_000;
    for message in messages {
        at += 7;
        tracker.line(message.as_bytes(), LineEnd::Newline, at, &mut out);
    }
    let outcome = tracker.finish(limit, at + 1, &mut out);
    AttemptResult { out, outcome, state: serde_json::from_str(tracker.state().get()).unwrap() }
}

fn attempt(state: &Value, messages: &[Value]) -> AttemptResult {
    let messages: Vec<_> = messages.iter().map(Value::to_string).collect();
    attempt_of(WireGeneration::Trace, state, &messages, None)
}

fn cut(state: &Value, messages: &[Value]) -> AttemptResult {
    let messages: Vec<_> = messages.iter().map(Value::to_string).collect();
    attempt_of(WireGeneration::Trace, state, &messages, Some(AttemptLimit::Time))
}

fn catalog(names: &[&str]) -> Value {
    let streams: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({"type": "catalog", "catalog": {"streams": streams}})
}

fn status(stream: &str, word: &str) -> Value {
    json!({"type": "trace", "trace": {"trace_type": "stream_status", "stream_status": {"stream": stream, "status": word}}})
}

fn record(stream: &str) -> Value {
    json!({"type": "record", "record": {"stream": stream, "data": {"id": 1}, "emitted_at": "2026-11-20T08:00:00.000Z"}})
}

fn state(stream: &str, word: &str) -> Value {
    let data = json!({"page_cursor": null, "status": word, "backfill": {"range": {"gte": 100, "lt": 900}, "num_segments": 1,
        "completed": if word == "complete" { json!([{"gte": 100, "lt": 900}]) } else { json!([{"gte": 500, "lt": 900}]) }, "in_flight": []}});
    json!({"type": "source_state", "source_state": {"state_type": "stream", "stream": stream, "data": data}})
}

fn error(stream: Option<&str>, kind: &str, message: &str) -> Value {
    let mut error = json!({"failure_type": kind, "message": message});
    if let Some(stream) = stream {
        error["stream"] = stream.into();
    }
    json!({"type": "trace", "trace": {"trace_type": "error", "error": error}})
}

fn eof(reason: &str) -> Value {
    json!({"type": "eof", "eof": {"reason": reason}})
}

const NONE: Value = Value::Null;

// Mistakes of the published engines.

#[test]
fn data_output_stays_on_stdout_whatever_is_displayed() {
    let raw = bytes("stripe-trace/13-small-pipeline_read.ndjson.zst");
    for show in ["auto", "always", "never"] {
        let line = format!("\"$SYNCTOP\" track | \"$SYNCTOP\" tee --progress {show} 2>/dev/null");
        let mut child = Command::new("bash")
            .args(["-c", &line])
            .env("SYNCTOP", env!("CARGO_BIN_EXE_synctop"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&raw).unwrap();
        let out = child.wait_with_output().unwrap().stdout;
        let records = |bytes: &[u8]| -> Vec<Vec<u8>> {
            let lines = bytes.split(|byte| *byte == b'\n');
            lines.filter(|line| line.starts_with(b"{\"type\":\"record\"")).map(<[u8]>::to_vec).collect()
        };
        assert_eq!(records(&out), records(&raw), "{show}");
        assert_eq!(records(&out).len(), 345);
    }
}

#[test]
fn global_progress_follows_each_transition_with_current_counts() {
    let requests = |count: u64| json!({"type": "trace", "trace": {"trace_type": "global_progress", "global_progress": {"request_count": count}}});
    let ran = attempt(
        &NONE,
        &[status("a", "started"), record("a"), record("a"), requests(1), record("a"), status("a", "complete")],
    );
    let totals: Vec<_> =
        ran.lines().iter().filter_map(|line| line.pointer("/trace/global_progress").cloned()).collect();
    // The start shows no record, the source's report the two before it, the completion all three.
    let counts: Vec<_> = totals.iter().map(|totals| totals["cumulative_record_count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [0, 2, 3, 3]);
    assert_eq!(totals[1]["request_count"], 1);
    // Totals that include a transition follow it.
    let lines = ran.lines();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.pointer("/trace/stream_status").is_some()) {
        let status = line.pointer("/trace/stream_status").unwrap();
        let next = lines[at + 1].pointer("/trace/global_progress").expect("totals behind each transition");
        assert_eq!(next["cumulative_record_count"], status["cumulative_record_count"]);
    }
}

#[test]
fn source_state_outranks_a_complete_status_of_the_engine() {
    for (word, wanted) in [("pending", Status::NotStarted), ("auth_error", Status::Errored)] {
        let before = json!({
            "source": {"streams": {"a": {"status": word, "backfill": {"range": {"gte": 1, "lt": 9}}}}, "global": {}},
            "engine": {"streams": {"a": {"cumulative_record_count": 5, "status": "complete"}}, "global": {}},
        });
        let memory = Memory::read(&before.to_string()).unwrap();
        let tracker = Tracker::new(WireGeneration::Trace, memory, 0);
        assert_eq!(tracker.memory().streams["a"].status, wanted, "{word}");
        let ran =
            attempt(&before, &[status("a", "started"), record("a"), state("a", "complete"), status("a", "complete")]);
        let announced: Vec<_> = ran.statuses().into_iter().map(|(_, word)| word).collect();
        let before = if word == "auth_error" { &["error"][..] } else { &[] };
        assert_eq!(announced, [before, &["started", "complete"]].concat(), "{word}: the start is announced");
        assert_eq!(ran.eof()["stream_progress"]["a"]["cumulative_record_count"], 6);
    }
}

#[test]
fn request_counts_come_from_the_source_or_are_omitted() {
    let quiet = attempt(&NONE, &[status("a", "started"), record("a"), status("a", "complete")]);
    assert!(!String::from_utf8_lossy(&quiet.out).contains("request_count"), "never a constant 0");
    let report = |count: u64| json!({"type": "trace", "trace": {"trace_type": "global_progress", "global_progress": {"request_count": count}}});
    let first = cut(&NONE, &[status("a", "started"), report(7), record("a")]);
    assert_eq!(first.eof()["global_progress"]["cumulative_request_count"], 7);
    let second = attempt(&first.state, &[status("a", "started"), report(3), report(5), status("a", "complete")]);
    let totals = &second.eof()["global_progress"];
    assert_eq!((&totals["request_count"], &totals["cumulative_request_count"]), (&json!(5), &json!(12)));
}

#[test]
fn failure_types_come_from_status_codes_not_from_texts() {
    let typed = |payload: Value| -> String {
        let message = json!({"type": "trace", "trace": {"trace_type": "error", "error": payload}});
        let ran = attempt(&NONE, &[status("a", "started"), message]);
        let lines = ran.lines();
        let error = lines.iter().find_map(|line| line.pointer("/trace/error")).unwrap();
        error["failure_type"].as_str().unwrap().to_owned()
    };
    // A status code outranks the failure type of the source.
    assert_eq!(typed(json!({"message": "slow down", "stream": "a", "status": 429})), "transient_error");
    assert_eq!(
        typed(json!({"failure_type": "system_error", "message": "?", "stream": "a", "status_code": 503})),
        "transient_error"
    );
    // Texts do not matter.
    assert_eq!(typed(json!({"message": "HTTP 429 Too Many Requests, rate limit", "stream": "a"})), "system_error");
    assert_eq!(typed(json!({"failure_type": "auth_error", "message": "503 429 500", "stream": "a"})), "auth_error");
    // The progress generation logs the status beside its error.
    let log = |status: u16| json!({"type": "log", "log": {"level": "error", "message": "List page failed", "data": {"stream": "a", "err": {"status": status}}}});
    let failed =
        json!({"type": "stream_status", "stream_status": {"stream": "a", "status": "error", "error": "no (429)"}});
    for (number, wanted) in [(503, true), (403, false)] {
        let ran = attempt(&NONE, &[status("a", "started"), log(number), failed.clone()]);
        assert_eq!(ran.outcome.has_more, wanted, "{number}");
    }
    let network = json!({"type": "log", "log": {"level": "error", "message": "?", "data": {"stream": "a", "err": {"code": "ECONNRESET"}}}});
    assert!(attempt(&NONE, &[status("a", "started"), network, failed.clone()]).outcome.has_more);
    // A status code in the trace envelope counts too. A logged status before a later success does
    // not belong to this error.
    let traced = |code: u16| {
        json!({"type": "trace", "trace": {"trace_type": "stream_status", "stream_status":
        {"stream": "a", "status": "error", "error": "slow", "status_code": code}}})
    };
    assert!(attempt(&NONE, &[status("a", "started"), traced(429)]).outcome.has_more);
    assert!(!attempt(&NONE, &[status("a", "started"), traced(400)]).outcome.has_more);
    assert!(!attempt(&NONE, &[status("a", "started"), log(503), record("a"), failed]).outcome.has_more);
}

#[test]
fn complete_is_announced_after_the_last_counts() {
    // The source reports "complete" while its state has something left, as in the published
    // engine's recording 03b.
    let ran = attempt(
        &NONE,
        &[
            status("a", "started"),
            record("a"),
            state("a", "pending"),
            status("a", "complete"),
            record("a"),
            record("a"),
            state("a", "complete"),
        ],
    );
    let lines = ran.lines();
    let complete =
        lines.iter().position(|line| line.pointer("/trace/stream_status/status") == Some(&json!("complete"))).unwrap();
    let last_state = lines.iter().rposition(|line| line["type"] == "source_state").unwrap();
    assert!(complete > last_state);
    assert_eq!(lines[complete].pointer("/trace/stream_status/cumulative_record_count"), Some(&json!(3)));
    // Without a state, "complete" is accepted; a later record repeats it with the new counts.
    let ran = attempt(&NONE, &[status("a", "started"), status("a", "complete"), record("a")]);
    let counts: Vec<_> =
        ran.lines().iter().filter_map(|line| line.pointer("/trace/stream_status/run_record_count")?.as_u64()).collect();
    assert_eq!(counts, [0, 0, 1]);
    assert_eq!(ran.logs("warn").len(), 1, "{:?}", ran.logs("warn"));
}

#[test]
fn limit_does_not_complete_started_streams() {
    let messages = [
        catalog(&["a", "b", "c"]),
        status("a", "started"),
        record("a"),
        status("b", "started"),
        status("b", "complete"),
    ];
    for ran in [cut(&NONE, &messages), attempt(&NONE, &[&messages[..], &[eof("state_limit")]].concat())] {
        let eof = ran.eof();
        assert_eq!(eof["stream_progress"]["a"]["status"], "started");
        assert_eq!(eof["stream_progress"]["b"]["status"], "complete");
        assert_eq!(eof["stream_progress"].get("c"), None, "never started");
        assert_eq!(eof["state"]["engine"]["streams"]["a"]["status"], "started");
        assert!(ran.outcome.has_more);
    }
    // Nor a stream whose complete status contradicts its state.
    let ran = cut(&NONE, &[status("a", "started"), state("a", "pending"), status("a", "complete")]);
    assert_eq!(ran.eof()["stream_progress"]["a"]["status"], "started");
}

#[test]
fn error_survives_a_later_complete_and_a_resume() {
    let first = attempt(
        &NONE,
        &[
            status("a", "started"),
            status("b", "started"),
            error(Some("a"), "auth_error", "may not read"),
            status("a", "complete"),
            status("b", "complete"),
        ],
    );
    assert_eq!(first.statuses().last().unwrap(), &("b".to_owned(), "complete".to_owned()));
    assert_eq!(first.statuses().iter().rfind(|(stream, _)| stream == "a").unwrap().1, "error");
    for ran in [&first, &attempt(&first.state, &[eof("complete")])] {
        let a = &ran.eof()["stream_progress"]["a"];
        assert_eq!((&a["status"], &a["errors"][0]["failure_type"]), (&json!("error"), &json!("auth_error")));
        assert_eq!(reduced(&ran.out).streams.iter().filter(|stream| stream.details.failed_in.is_some()).count(), 1);
    }
    // A later attempt without the error clears it.
    let made_up = attempt(&first.state, &[status("a", "started"), record("a"), status("a", "complete")]);
    let a = &made_up.eof()["stream_progress"]["a"];
    assert_eq!((&a["status"], a.get("errors")), (&json!("complete"), None));
    // A transient error keeps its stream open, with a terminal status in this attempt.
    let passing =
        attempt(&NONE, &[status("a", "started"), state("a", "pending"), error(Some("a"), "transient_error", "reset")]);
    assert_eq!(passing.statuses().last().unwrap().1, "error");
    assert_eq!((passing.outcome.reason.as_str(), passing.outcome.has_more), ("error", true));
}

#[test]
fn error_survives_a_skip_a_silent_finish_and_a_missing_start() {
    let skip =
        json!({"type": "stream_status", "stream_status": {"stream": "a", "status": "skip", "reason": "not set up"}});
    let ran = attempt(
        &NONE,
        &[status("a", "started"), status("b", "started"), error(Some("a"), "config_error", "bad"), skip.clone()],
    );
    let a = &ran.eof()["stream_progress"]["a"];
    assert_eq!((&a["status"], a["errors"].as_array().unwrap().len()), (&json!("error"), 1));
    // A skipped stream stays skipped, whatever its state has left.
    let ran = attempt(&NONE, &[status("a", "started"), skip, state("a", "pending"), eof("complete")]);
    assert_eq!(ran.eof()["stream_progress"]["a"]["status"], "skip");
    let first =
        cut(&NONE, &[status("a", "started"), error(Some("a"), "transient_error", "reset"), state("a", "complete")]);
    let second = attempt(&first.state, &[status("b", "started"), status("b", "complete")]);
    let a = &second.eof()["stream_progress"]["a"];
    assert_eq!((&a["status"], a["errors"].as_array().unwrap().len()), (&json!("complete"), 1));
    for messages in [
        vec![error(Some("a"), "transient_error", "HTTP 500")],
        vec![error(Some("a"), "transient_error", "HTTP 500"), eof("complete")],
    ] {
        let ran = attempt(&NONE, &messages);
        assert_eq!((ran.outcome.reason.as_str(), ran.outcome.has_more), ("error", true), "{messages:?}");
    }
    let secret = attempt(
        &NONE,
        &[
            status("a", "started"),
            error(Some("a"), "auth_error", "bad key sk_live_51Habcdefghijklmnop at postgres://u:hunter2@h/d"),
        ],
    );
    assert!(
        secret.logs("error").iter().all(|text| !text.contains("51Habc") && !text.contains("hunter2")),
        "{:?}",
        secret.logs("error")
    );
}

#[test]
fn lines_of_any_length_and_key_order_are_read() {
    let long = "x".repeat(9 << 20);
    let mut tracker = Tracker::new(WireGeneration::Trace, Memory::default(), 0);
    let mut out = Vec::new();
    for line in [
        format!("{{\"type\":\"record\",\"record\":{{\"data\":{{\"x\":\"{long}\"}},\"stream\":\"a\"}}}}"),
        format!(
            "{{\"type\":\"source_state\",\"source_state\":{{\"data\":{{\"x\":\"{long}\"}},\"state_type\":\"stream\",\"stream\":\"a\"}}}}"
        ),
        format!("text {{\"type\":\"eof\",\"eof\":{{\"state\":\"{long}\",\"reason\":\"time_limit\"}}}}"),
    ] {
        tracker.line(line.as_bytes(), LineEnd::Newline, 0, &mut out);
    }
    let outcome = tracker.finish(None, 0, &mut out);
    assert_eq!((outcome.reason.as_str(), outcome.has_more), ("time_limit", true));
    let memory = tracker.memory();
    assert_eq!((memory.records(), memory.source.streams.len(), memory.source.global.is_some()), (1, 1, false));
    assert!(String::from_utf8(out).unwrap().contains("\ntext \n"), "text in front of an end message is passed on");
}

// Other rules.

#[test]
fn permanent_error_is_global_without_a_stream_before_a_start_or_shared_by_all() {
    let bad_key = |stream: &str| {
        error(
            Some(stream),
            "auth_error",
            &format!("Invalid API Key [GET /v1/account (401)] {{request-id=req_{stream}1}}"),
        )
    };
    for (messages, global) in [
        (vec![status("a", "started"), error(None, "system_error", "table is gone")], true),
        (vec![bad_key("a")], true),
        (vec![status("a", "started"), status("b", "started"), bad_key("a"), bad_key("b")], true),
        (vec![status("a", "started"), status("b", "started"), bad_key("a"), status("b", "complete")], false),
        (
            vec![
                status("a", "started"),
                status("b", "started"),
                bad_key("a"),
                error(Some("b"), "auth_error", "another"),
            ],
            false,
        ),
        (vec![status("a", "started"), error(None, "transient_error", "reset"), status("a", "complete")], false),
    ] {
        let ran = attempt(&NONE, &messages);
        assert_eq!(ran.outcome.reason == "error", global, "{messages:?}: {:?}", ran.outcome);
    }
}

#[test]
fn anomalies_are_logged_once_per_stream() {
    let ran = attempt(
        &NONE,
        &[
            catalog(&["a", "b"]),
            record("a"),
            status("a", "started"),
            status("a", "started"),
            status("a", "complete"),
            state("a", "pending"),
            state("a", "pending"),
            status("z", "started"),
            status("z", "complete"),
        ],
    );
    let warnings = ran.logs("warn");
    for kind in ["record_before_start", "duplicate_start", "state_after_complete", "unknown_stream"] {
        assert_eq!(warnings.iter().filter(|text| text.contains(kind)).count(), 1, "{kind}: {warnings:?}");
    }
    assert!(ran.logs("info").is_empty());
}

#[test]
fn unknown_parts_of_the_state_round_trip() {
    let before = json!({
        "source": {"streams": {"a": {"cursor": "x1", "n": 12_345_678_901_234_567_890_u64}}, "global": {"events": {"after": "evt_1"}}},
        "destination": {"anything": [1, 2, {"b": null}]},
        "engine": {"streams": {"a": {"cumulative_record_count": 3, "status": "started"}}, "global": {"cumulative_record_count": 3}},
    });
    for form in [WireGeneration::Trace, WireGeneration::Progress] {
        let ran = attempt_of(form, &before, &[status("a", "started").to_string()], Some(AttemptLimit::States));
        assert_eq!(ran.state["source"], before["source"], "{form:?}");
        assert_eq!(ran.state["destination"], before["destination"]);
        let again = attempt_of(form, &ran.state, &[record("a").to_string()], None);
        assert_eq!(reduced(&again.out).cumulative_records(), Some(4), "{form:?}");
    }
    let global = json!({"type": "source_state", "source_state": {"state_type": "global", "data": {"events": {"after": "evt_9"}}}});
    let ran = attempt(&before, &[global]);
    assert_eq!(ran.state["source"]["global"], json!({"events": {"after": "evt_9"}}));
}

#[test]
fn missing_end_message_is_a_success_only_if_all_streams_completed() {
    let transient = error(None, "transient_error", "reset by peer");
    for (messages, reason) in [
        (vec![], "error"),
        (vec![status("a", "started"), record("a"), status("a", "complete")], "complete"),
        (vec![catalog(&["a", "b"]), status("a", "started"), status("a", "complete")], "aborted"),
        (vec![status("a", "started"), record("a")], "aborted"),
        (vec![status("a", "started"), status("a", "complete"), transient.clone()], "error"),
        (vec![status("a", "started"), transient, status("a", "complete"), eof("complete")], "complete"),
    ] {
        assert_eq!(attempt(&NONE, &messages).outcome.reason, reason, "{messages:?}");
    }
    // The source's state outranks its "complete", also a state of an earlier attempt.
    for messages in [
        vec![status("a", "started"), state("a", "pending"), status("a", "complete"), eof("complete")],
        vec![status("a", "started"), status("a", "complete"), state("a", "pending"), eof("complete")],
    ] {
        let ran = attempt(&NONE, &messages);
        assert_eq!(ran.eof()["stream_progress"]["a"]["status"], "started", "{messages:?}");
        assert_eq!(outcome(&reduced(&ran.out)), synctop_core::reduce::Outcome::CompletedWithErrors, "{messages:?}");
        let resumed = attempt(&ran.state, &[status("a", "started"), status("a", "complete"), eof("complete")]);
        assert_eq!(resumed.eof()["stream_progress"]["a"]["status"], "started");
    }
}

#[test]
fn stream_with_a_complete_state_is_announced_in_the_next_attempt() {
    let first = cut(&NONE, &[status("a", "started"), record("a"), state("a", "complete")]);
    assert_eq!(first.eof()["stream_progress"]["a"]["status"], "started");
    let second = attempt(&first.state, &[status("b", "started"), status("b", "complete")]);
    assert_eq!(second.eof()["stream_progress"]["a"]["status"], "complete");
    assert_eq!(second.statuses()[0], ("a".to_owned(), "complete".to_owned()), "the completion is announced");
}

#[test]
fn skipped_stream_keeps_its_reason_across_attempts() {
    let skip = json!({"type": "stream_status", "stream_status": {"stream": "a", "status": "skip", "reason": "not enabled for"}});
    let mut state = attempt_of(WireGeneration::Progress, &NONE, &[skip.to_string()], None).state;
    for form in [WireGeneration::Progress, WireGeneration::Trace, WireGeneration::Progress] {
        let ran =
            attempt_of(form, &state, &[status("b", "started").to_string(), status("b", "complete").to_string()], None);
        state = ran.state.clone();
        let progress = reduced(&ran.out);
        assert!(progress.errors.groups().is_empty(), "{form:?}");
        assert!(String::from_utf8_lossy(&ran.out).contains("not enabled for"), "{form:?}");
    }
}

#[test]
fn tracked_input_is_passed_on_unchanged() {
    let log = bytes("stripe-trace/08-time-limit-resume-all.ndjson.zst");
    let mut tracker = Tracker::new(WireGeneration::Trace, Memory::default(), 0);
    let mut out = Vec::new();
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        tracker.line(line.strip_suffix(b"\n").unwrap(), LineEnd::Newline, 0, &mut out);
    }
    tracker.finish(None, 0, &mut out);
    assert!(tracker.tracked());
    let (before, after) = (reduced(&log), reduced(&out));
    assert_eq!(after.cumulative_records(), before.cumulative_records());
    assert_eq!((after.attempts, after.counters.checkpoints), (before.attempts, before.counters.checkpoints));
    let last = log.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
    let last: Value = serde_json::from_slice(last).unwrap();
    let state: Value = serde_json::from_str(tracker.state().get()).unwrap();
    assert_eq!(state, last["eof"]["state"]);
}

#[test]
fn returned_state_after_other_text_is_kept() {
    let log = bytes("stripe-trace/08-time-limit-resume-all.ndjson.zst");
    let last = log.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap();
    let glued = [b"npm notice ", last].concat();
    let expected: Value = serde_json::from_slice(last).unwrap();
    // The end message as the first line of a tracker, and after another one.
    for first in [last, br#"{"type":"catalog","catalog":{"streams":[{"name":"a"}]},"_emitted_by":"engine"}"#] {
        let mut tracker = Tracker::new(WireGeneration::Trace, Memory::default(), 0);
        let mut out = Vec::new();
        if first != last {
            tracker.line(first, LineEnd::Newline, 0, &mut out);
        }
        tracker.line(&glued, LineEnd::Newline, 0, &mut out);
        assert!(tracker.tracked());
        assert!(out.ends_with(&[&glued, &b"\n"[..]].concat()));
        let state: Value = serde_json::from_str(tracker.state().get()).unwrap();
        assert_eq!(state, expected["eof"]["state"]);
    }
}

#[test]
fn raw_recordings_pass_unchanged_and_are_counted() {
    let mut logs = fixtures();
    logs.extend(corpus().into_iter().flatten());
    let mut reads = 0;
    for (_, path) in logs.iter().filter(|(_, path)| path.to_string_lossy().contains("pipeline_read")) {
        let log = unpack(path);
        if log.len() > 50_000_000 && cfg!(debug_assertions) {
            continue;
        }
        reads += 1;
        for form in [WireGeneration::Trace, WireGeneration::Progress] {
            let mut tracker = Tracker::new(form, Memory::default(), 0);
            let mut out = Vec::new();
            for line in log.split_inclusive(|byte| *byte == b'\n') {
                let (line, end) =
                    line.strip_suffix(b"\n").map_or((line, LineEnd::Input), |line| (line, LineEnd::Newline));
                tracker.line(line, end, 0, &mut out);
            }
            tracker.finish(None, 0, &mut out);
            let data = |bytes: &[u8]| -> Vec<Vec<u8>> {
                let kept = |line: &&[u8]| {
                    line.starts_with(b"{\"type\":\"record\"") || line.starts_with(b"{\"type\":\"source_state\"")
                };
                bytes.split(|byte| *byte == b'\n').filter(kept).map(<[u8]>::to_vec).collect()
            };
            assert!(data(&out) == data(&log), "{}", path.display());
            let (before, after) = (reduced(&log), reduced(&out));
            assert_eq!(after.cumulative_records(), before.cumulative_records(), "{}", path.display());
            assert_eq!(after.counters.checkpoints, before.counters.checkpoints);
        }
    }
    assert!(reads >= 4, "{reads}");
}

#[test]
fn signal_ends_track_with_an_end_message_and_a_state() {
    for _ in 0..5 {
        assert_ends_on_signal(rustix::process::Signal::TERM, 143);
    }
    assert_ends_on_signal(rustix::process::Signal::INT, 130);
}

fn assert_ends_on_signal(signal: rustix::process::Signal, code: i32) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let arguments = ["track", "--state", path.to_str().unwrap()];
    let mut child = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = [status("a", "started"), record("a"), state("a", "pending")].map(|line| line.to_string());
    stdin.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let asked = std::time::Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(code));
    assert!(asked.elapsed() < std::time::Duration::from_millis(3_500), "{:?}", asked.elapsed());
    let last = String::from_utf8(output.stdout).unwrap();
    assert!(last.lines().last().unwrap().contains("\"reason\":\"aborted\""), "{last}");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(kept["engine"]["streams"]["a"]["cumulative_record_count"], 1);
    assert_eq!(kept["source"]["streams"]["a"]["status"], "pending");
}

#[test]
fn closed_reader_leaves_the_state_file_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["track", "--state", path.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    drop(child.stdout.take());
    let _ = stdin.write_all(&bytes("stripe-trace/13-small-pipeline_read.ndjson.zst"));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert!(String::from_utf8_lossy(&output.stderr).contains("was not changed"));
    assert!(!path.exists());
}

// Any sequence of messages.

fn message() -> impl Strategy<Value = Value> {
    let stream = prop_oneof![Just("a"), Just("b"), Just("c"), Just("not asked for")];
    let range = (100_u64..900, 1_u64..300);
    prop_oneof![
        8 => stream.clone().prop_map(record),
        2 => stream.clone().prop_map(|stream| status(stream, "started")),
        2 => stream.clone().prop_map(|stream| status(stream, "complete")),
        3 => stream.clone().prop_map(|stream| state(stream, "pending")),
        1 => stream.clone().prop_map(|stream| state(stream, "complete")),
        2 => (stream.clone(), range).prop_map(|(stream, (gte, length))| {
            json!({"type": "stream_status", "stream_status": {"stream": stream, "status": "range_complete",
                "range_complete": {"gte": gte, "lt": gte + length}}})
        }),
        1 => (stream.clone(), prop_oneof![Just("auth_error"), Just("transient_error"), Just("strange")])
            .prop_map(|(stream, kind)| error(Some(stream), kind, "went wrong")),
        1 => (0_u64..50).prop_map(|count| json!({"type": "trace", "trace": {"trace_type": "global_progress", "global_progress": {"request_count": count}}})),
        1 => stream.prop_map(|stream| json!({"type": "stream_status", "stream_status": {"stream": stream, "status": "skip", "reason": "not enabled"}})),
        1 => Just(json!({"type": "log", "log": {"level": "info", "message": "hello"}})),
        1 => Just(json!({"no": "envelope"})),
        1 => Just(catalog(&["a", "b", "c"])),
    ]
}

type Counted = (u64, Vec<(Option<i64>, Option<i64>)>);

/// Cumulative counts and merged ranges by stream.
fn totals(form: WireGeneration, state: &Value) -> BTreeMap<String, Counted> {
    let tracker = Tracker::new(form, Memory::read(&state.to_string()).unwrap(), 0);
    let streams = tracker.memory().streams.iter();
    let kept = streams.map(|(name, kept)| {
        let ranges = kept.ranges.list().iter().map(|range| (range.gte, range.lt)).collect();
        (name.clone(), (kept.records, ranges))
    });
    kept.filter(|(_, (records, ranges)): &(String, (u64, Vec<_>))| *records > 0 || !ranges.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn reported_totals_equal_the_number_of_records(messages in prop::collection::vec(message(), 0..60), limited: bool) {
        let records = messages.iter().filter(|message| message["type"] == "record").count() as u64;
        let lines: Vec<_> = messages.iter().map(Value::to_string).collect();
        for form in [WireGeneration::Trace, WireGeneration::Progress] {
            let ran = attempt_of(form, &NONE, &lines, limited.then_some(AttemptLimit::States));
            let said = ran.lines().iter().filter(|line| line["type"] == "record").count() as u64;
            prop_assert_eq!(said, records, "data is passed on");
            let eof = ran.eof();
            let total = match form {
                WireGeneration::Trace => eof["global_progress"]["cumulative_record_count"].as_u64(),
                WireGeneration::Progress => eof["run_progress"]["derived"]["total_record_count"].as_u64(),
            };
            prop_assert_eq!(total, Some(records));
            prop_assert_eq!(totals(form, &ran.state).values().map(|(records, _)| records).sum::<u64>(), records);
            // The reducer counts the same.
            prop_assert_eq!(reduced(&ran.out).cumulative_records().unwrap_or(0), records);
        }
    }

    #[test]
    fn attempts_that_carry_the_state_add_up_to_one_run(
        messages in prop::collection::vec(message(), 1..50),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..4),
    ) {
        let lines: Vec<_> = messages.iter().map(Value::to_string).collect();
        for form in [WireGeneration::Trace, WireGeneration::Progress] {
            let whole = attempt_of(form, &NONE, &lines, None);
            let mut places: Vec<_> = cuts.iter().map(|(at, limited)| (at.index(lines.len()), *limited)).collect();
            places.sort_unstable();
            let (mut state, mut from) = (NONE, 0);
            for (at, limited) in places.into_iter().chain([(lines.len(), false)]) {
                let part = attempt_of(form, &state, &lines[from..at], limited.then_some(AttemptLimit::Time));
                (state, from) = (part.state, at);
            }
            prop_assert_eq!(totals(form, &state), totals(form, &whole.state), "{:?}", form);
        }
    }

    #[test]
    fn arbitrary_lines_never_panic_and_pass_unchanged(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
        let mut tracker = Tracker::new(WireGeneration::Trace, Memory::default(), 0);
        let (mut out, mut wanted) = (Vec::new(), Vec::new());
        for line in &lines {
            let line: Vec<_> = line.iter().copied().filter(|byte| *byte != b'\n').collect();
            tracker.line(&line, LineEnd::Newline, 0, &mut out);
            wanted.extend_from_slice(&line);
            wanted.push(b'\n');
        }
        prop_assert_eq!(out, wanted);
    }
}
