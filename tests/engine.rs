//! Simulated source and engine: no record is lost wherever a run is cut, and a scenario always
//! produces the same log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::reduced;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::process::Command;
use std::sync::{Arc, Mutex};
use synctop::engine::backfill::retry_loop::{Backfill, BackfillOptions, BackfillResult, Next};
use synctop::engine::simulator::call::{Call, CallResult, Outlet, call};
use synctop::engine::simulator::list_api::Api;
use synctop::engine::simulator::scenario::{SCENARIOS, Scenario};
use synctop::engine::tracker::memory::Memory;
use synctop::engine::tracker::wire::WireGeneration;
use synctop::net::source::engine_http::CallOutcome;
use synctop_core::ResultClass;
use synctop_core::backoff::{MAX_RETRY_DELAY, retry_delay};
use synctop_core::protocol::{Status, time};
use synctop_core::reduce::{Outcome, outcome};

const FORMS: [WireGeneration; 2] = [WireGeneration::Trace, WireGeneration::Progress];

/// Small scenario with records that share a second, server errors and connection resets.
const SMALL: &str = "
seed = 9
range = { gte = \"2024-01-01T00:00:00Z\", lt = \"2024-01-01T02:00:00Z\" }
requests_per_second = 20
[destination]
rows_per_second = 700
[[streams]]
name = \"customer\"
records = 1430
[[streams]]
name = \"charge\"
records = 900
[[streams]]
name = \"refund\"
records = 310
[[streams]]
name = \"coupon\"
records = 0
[[faults]]
kind = \"server_error\"
chance = 0.15
[[faults]]
kind = \"reset\"
chance = 0.1
";

#[derive(Default)]
struct CollectingOutlet {
    out: Vec<u8>,
    rows: BTreeSet<(usize, u64)>,
    /// Number of written rows; repeated rows count again.
    written: u64,
    /// Simulated time of each output, in milliseconds.
    times: Vec<i64>,
}

impl Outlet for CollectingOutlet {
    fn write_lines(&mut self, at: i64, lines: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(lines);
        self.times.push(at);
        Ok(())
    }

    fn rows(&mut self, _: &Api, stream: usize, objects: Range<u64>) -> io::Result<()> {
        self.written += objects.end - objects.start;
        self.rows.extend(objects.map(|number| (stream, number)));
        Ok(())
    }
}

fn small() -> Scenario {
    Scenario::read(SMALL).unwrap()
}

fn begin() -> i64 {
    time::parse("2026-11-20T08:00:00Z").unwrap()
}

fn one(form: WireGeneration, state: &str, change: impl FnOnce(&mut Call), kept: &mut CollectingOutlet) -> CallResult {
    let api = Arc::new(Mutex::new(Api::new(small())));
    let mut options = Call { form, memory: Memory::read(state).unwrap(), begin: begin(), ..Call::default() };
    change(&mut options);
    call(&api, options, kept).unwrap()
}

/// Calls until nothing is left (at most six times), as a backfill does: a stream that fails in one
/// call continues in the next.
fn to_the_end(form: WireGeneration, state: &str, kept: &mut CollectingOutlet) -> CallResult {
    let mut called = one(form, state, |_| {}, kept);
    for _ in 0..5 {
        if !called.outcome.as_ref().unwrap().has_more {
            break;
        }
        called = one(form, called.state.get(), |_| {}, kept);
    }
    called
}

/// Asserts that every row arrived and that the final state covers the whole range of each stream.
fn whole(form: WireGeneration, kept: &CollectingOutlet, called: &CallResult, what: &str) {
    let scenario = small();
    for (at, stream) in scenario.streams.iter().enumerate() {
        let have = kept.rows.iter().filter(|(it, _)| *it == at).count() as u64;
        assert_eq!(have, stream.records, "{form:?} {what}: rows of {}", stream.name);
        let memory = Memory::read(called.state.get()).unwrap();
        let known = &memory.streams[&stream.name];
        let (gte, lt) = (scenario.range.gte, scenario.range.lt);
        let ranges: Vec<_> = known.ranges.list().iter().map(|range| (range.gte, range.lt)).collect();
        assert_eq!(ranges, [(Some(gte), Some(lt))], "{form:?} {what}: ranges of {}", stream.name);
        assert_eq!(known.status, Status::Completed, "{form:?} {what}: {}", stream.name);
    }
    let end = called.outcome.as_ref().unwrap();
    assert_eq!((end.reason.as_str(), end.has_more), ("complete", false), "{form:?} {what}");
}

#[test]
fn run_resumed_after_a_cut_at_any_limit_has_every_record() {
    for form in FORMS {
        let mut all = CollectingOutlet::default();
        let called = one(form, "null", |_| {}, &mut all);
        whole(form, &all, &called, "uncut");
        assert_eq!(all.written, all.rows.len() as u64, "uncut, nothing is read twice");
        let progress = reduced(&all.out);
        assert_eq!((outcome(&progress), progress.cumulative_records()), (Outcome::Succeeded, Some(2640)));
        // Cut by number of checkpoints.
        for limit in 1..=progress.counters.checkpoints {
            let mut kept = CollectingOutlet::default();
            let first = one(form, "null", |call| call.state_limit = Some(limit), &mut kept);
            assert!(first.outcome.as_ref().unwrap().has_more || limit == progress.counters.checkpoints);
            let second = to_the_end(form, first.state.get(), &mut kept);
            whole(form, &kept, &second, &format!("cut after {limit} checkpoints"));
        }
        // Cut by time, at each instant with output.
        let times: BTreeSet<_> = all.times.iter().map(|at| at - begin()).filter(|at| *at > 0).collect();
        for at in times {
            let mut kept = CollectingOutlet::default();
            let first = one(form, "null", |call| call.time_limit_ms = Some(at.unsigned_abs()), &mut kept);
            let second = to_the_end(form, first.state.get(), &mut kept);
            whole(form, &kept, &second, &format!("cut after {at} ms"));
        }
    }
}

#[test]
fn run_in_calls_of_one_checkpoint_completes() {
    for form in FORMS {
        let (mut kept, mut state) = (CollectingOutlet::default(), "null".to_owned());
        let mut calls = 0;
        let called = loop {
            let called = one(form, &state, |call| call.state_limit = Some(1), &mut kept);
            calls += 1;
            assert!(calls < 200, "it does not finish");
            if !called.outcome.as_ref().unwrap().has_more {
                break called;
            }
            state = called.state.get().to_owned();
        };
        whole(form, &kept, &called, "one by one");
        let progress = reduced(&kept.out);
        assert_eq!(progress.attempts, calls);
        assert_eq!(outcome(&progress), Outcome::Succeeded);
        assert!(progress.cumulative_records().unwrap() >= 2640);
    }
}

#[test]
fn call_that_dies_at_any_line_resumes_from_its_checkpoints() {
    for form in FORMS {
        let mut all = CollectingOutlet::default();
        one(form, "null", |_| {}, &mut all);
        let lines: Vec<_> = all.out.split_inclusive(|byte| *byte == b'\n').collect();
        for dies_after in (0..lines.len()).step_by(7) {
            let pipeline = json!({"source": {"type": "simulated"}, "destination": {"type": "simulated"}});
            let mut run = Backfill::new(
                BackfillOptions { pipeline, retries: 3, ..BackfillOptions::default() },
                None,
                "run_1".into(),
            )
            .unwrap();
            run.begin();
            run.push(&lines[..dies_after].concat());
            // The process died in the middle of the next line.
            run.push(&lines[dies_after][..lines[dies_after].len() / 2]);
            run.cut();
            match run.over(&CallOutcome::Broke("reset".into()), 0.5) {
                Next::Again(wait, Some(why)) => {
                    assert!(wait.as_millis() >= 500);
                    assert!(why.contains("connection broke"), "{why}");
                }
                other => panic!("{other:?}"),
            }
            // Rows written before the last checkpoint are at the destination; later rows may be
            // missing.
            let mut kept = CollectingOutlet::default();
            let checkpoints =
                lines[..dies_after].iter().filter(|line| line.starts_with(b"{\"type\":\"source_state\"")).count();
            if checkpoints > 0 {
                one(form, "null", |call| call.state_limit = Some(checkpoints as u64), &mut kept);
            }
            let body: Value = serde_json::from_str(&run.begin()).unwrap();
            let called = to_the_end(form, &body["state"].to_string(), &mut kept);
            whole(form, &kept, &called, &format!("died after line {dies_after}"));
        }
    }
}

#[test]
fn unfinished_run_keeps_its_id_and_a_finished_one_is_followed_by_a_new_run() {
    let options = || BackfillOptions {
        pipeline: json!({"source": {"type": "s"}, "destination": {"type": "d"}}),
        retries: 1,
        ..BackfillOptions::default()
    };
    let mut run = Backfill::new(options(), None, "run_1".into()).unwrap();
    let body: Value = serde_json::from_str(&run.begin()).unwrap();
    assert_eq!((body["run_id"].as_str(), body.get("state")), (Some("run_1"), None));
    let end = |reason: &str| {
        format!(
            "{{\"type\":\"eof\",\"eof\":{{\"reason\":\"{reason}\",\"state\":{{\"source\":{{\"streams\":{{}}}},\"engine\":{{}}}}}}}}\n"
        )
    };
    let feed = |run: &mut Backfill, text: &str| {
        run.push(text.as_bytes());
        run.cut();
        run.over(&CallOutcome::Ended, 0.0)
    };
    feed(
        &mut run,
        &(String::from("{\"type\":\"record\",\"record\":{\"stream\":\"a\",\"data\":{}}}\n") + &end("time_limit")),
    );
    let kept = run.to_stored_state().get().to_owned();
    let mut later = Backfill::new(options(), Some(&kept), "run_2".into()).unwrap();
    let body: Value = serde_json::from_str(&later.begin()).unwrap();
    assert_eq!(body["run_id"], "run_1", "an unfinished run continues");
    assert_eq!(later.attempts, 2);
    assert_eq!(body["state"].get("synctop"), None, "the section synctop is not sent");
    assert_eq!(feed(&mut later, &end("complete")), Next::Done(BackfillResult::Through));
    let mut next = Backfill::new(options(), Some(later.to_stored_state().get()), "run_2".into()).unwrap();
    let body: Value = serde_json::from_str(&next.begin()).unwrap();
    assert_eq!((body["run_id"].as_str(), next.attempts), (Some("run_2"), 1), "a finished one is followed by another");
    assert!(body["state"].is_object());
    // An engine that reports "more" without progress is given up.
    let mut calls = 0;
    let verdict = loop {
        next.begin();
        calls += 1;
        if let Next::Done(verdict) = feed(&mut next, &end("time_limit")) {
            break verdict;
        }
        assert!(calls < 20);
    };
    assert!(matches!(verdict, BackfillResult::Failed(error)
        if error.class == ResultClass::Unfinished && error.sentence.contains("made no progress")));
}

#[test]
fn every_ending_of_an_answer_has_its_error_and_exit_code() {
    let options = || BackfillOptions { pipeline: json!({}), retries: 0, ..BackfillOptions::default() };
    let start = "{\"type\":\"stream_status\",\"stream_status\":{\"stream\":\"a\",\"status\":\"start\"}}\n";
    let global = "{\"type\":\"trace\",\"trace\":{\"trace_type\":\"error\",\"error\":{\"failure_type\":\"system_error\",\"message\":\"the table is gone\"}}}\n";
    let second = std::time::Duration::from_secs(1);
    for (body, how, says, class) in [
        (start, CallOutcome::Ended, "without an end message", ResultClass::Unfinished),
        ("{\"type\":\"stream_sta", CallOutcome::Ended, "in the middle of a line", ResultClass::Unfinished),
        ("", CallOutcome::Ended, "has no message of an engine", ResultClass::Unfinished),
        (start, CallOutcome::Broke("connection reset".into()), "the connection broke", ResultClass::Unfinished),
        (start, CallOutcome::Silent(second * 90), "no output of the engine for 01:30", ResultClass::Unfinished),
        (
            "",
            CallOutcome::Unreachable("Connection refused".into()),
            "cannot be reached: Connection refused",
            ResultClass::Unavailable,
        ),
        ("", CallOutcome::Page("502 Bad Gateway".into()), "a web page answered", ResultClass::Unfinished),
        (
            &format!("{start}<html>\n<head><title>504 Gateway Time-out</title></head>\n"),
            CallOutcome::Ended,
            "ended in a web page: 504 Gateway",
            ResultClass::Unfinished,
        ),
        (&format!("{start}{global}"), CallOutcome::Ended, "the table is gone", ResultClass::Failed),
        (
            "",
            CallOutcome::Refused { status: 400, says: "pipeline: bad".into(), retry_after: None },
            "HTTP 400: pipeline: bad",
            ResultClass::Failed,
        ),
        (
            "",
            CallOutcome::Refused { status: 401, says: String::new(), retry_after: None },
            "HTTP 401",
            ResultClass::NotAllowed,
        ),
        (
            "",
            CallOutcome::Refused { status: 404, says: String::new(), retry_after: None },
            "HTTP 404",
            ResultClass::NotFound,
        ),
        (
            "",
            CallOutcome::Refused { status: 503, says: "busy".into(), retry_after: None },
            "HTTP 503: busy",
            ResultClass::Unavailable,
        ),
    ] {
        let mut run = Backfill::new(options(), None, "run_1".into()).unwrap();
        run.begin();
        run.push(body.as_bytes());
        run.cut();
        match run.over(&how, 0.0) {
            Next::Done(BackfillResult::Failed(error)) => {
                let why = &error.sentence;
                assert!(why.contains(says), "{why}\n-- does not say: {says}");
                assert_eq!(error.class, class, "{why}");
            }
            other => panic!("{how:?}: {other:?}"),
        }
    }
    // A transient refusal is retried after its Retry-After.
    let mut run = Backfill::new(BackfillOptions { retries: 3, ..options() }, None, "run_1".into()).unwrap();
    run.begin();
    let refused = CallOutcome::Refused { status: 429, says: String::new(), retry_after: Some(second * 7) };
    assert!(matches!(run.over(&refused, 0.3), Next::Again(wait, Some(_)) if wait == second * 7));
    let mut waits = Vec::new();
    for _ in 0..2 {
        run.begin();
        if let Next::Again(wait, _) = run.over(&CallOutcome::Unreachable("refused".into()), 1.0) {
            waits.push(wait);
        }
    }
    assert_eq!(waits, [second * 2, second * 4], "doubling");
    assert_eq!([6, 7, 99].map(|failures| retry_delay(failures, 1.0)), [second * 32, MAX_RETRY_DELAY, MAX_RETRY_DELAY]);
}

/// Feeds one answer. Returns the decision and the body of the next call.
fn answered(run: &mut Backfill, body: &[u8]) -> (Next, Value) {
    run.push(body);
    run.cut();
    let next = run.over(&CallOutcome::Ended, 0.0);
    let body = serde_json::from_str(&run.begin()).unwrap();
    (next, body)
}

#[test]
fn state_is_kept_byte_for_byte() {
    let options = || BackfillOptions { pipeline: json!({}), retries: 9, ..BackfillOptions::default() };
    let odd = r#"{"cursor":"\ud83d","n":123456789012345678901234567890,"x":1.10,"y":1e999,"z":{"b":1,"a":2}}"#;
    let huge = format!(r#"{{"cursor":"{}"}}"#, "x".repeat(9 << 20));
    let plain = r#"{"n":123456789012345678901234567890,"x":1.10,"z":{"b":1,"a":2}}"#;
    for (data, glues) in [(odd, &[""][..]), (&huge, &[""]), (plain, &["", "warning: deprecated "])] {
        for glue in glues {
            let checkpoint =
                format!("{glue}{{\"type\":\"source_state\",\"source_state\":{{\"stream\":\"a\",\"data\":{data}}}}}\n");
            let mut run = Backfill::new(options(), None, "run_1".into()).unwrap();
            run.begin();
            run.push(checkpoint.as_bytes());
            run.cut();
            run.over(&CallOutcome::Broke("reset".into()), 0.0);
            assert!(run.to_stored_state().get().contains(data), "a checkpoint behind {glue:?}");
            let state = format!(
                "{{\"source\":{{\"streams\":{{\"a\":{data}}},\"own\":7}},\"destination\":{{\"d\":{data}}},\"later\":{data}}}"
            );
            let end = format!("{glue}{{\"type\":\"eof\",\"eof\":{{\"reason\":\"time_limit\",\"state\":{state}}}}}\n");
            run.begin();
            run.push(end.as_bytes());
            run.cut();
            assert_eq!(run.over(&CallOutcome::Ended, 0.0), Next::Again(std::time::Duration::ZERO, None));
            let kept = run.to_stored_state();
            assert_eq!(kept.get().matches(data).count(), 3, "an end behind {glue:?}");
            // The tracker keeps the bytes too.
            let memory = Memory::read(kept.get()).unwrap();
            for form in [
                memory.to_trace_state(),
                memory.to_progress_state(serde_json::value::to_raw_value(&json!({})).unwrap()),
            ] {
                assert_eq!(form.get().matches(data).count(), 3);
                assert!(form.get().contains("\"own\":7"));
            }
        }
    }
}

#[test]
fn source_outage_is_retried_up_to_the_retry_limit() {
    let options = || BackfillOptions { pipeline: json!({}), retries: 12, ..BackfillOptions::default() };
    let retry = "{\"type\":\"log\",\"log\":{\"level\":\"warn\",\"message\":\"Retrying\",\"data\":{\"stream\":\"b\",\"attempt\":1,\"delay_ms\":1000,\"status\":503}}}\n";
    let limit = "{\"type\":\"eof\",\"eof\":{\"reason\":\"time_limit\",\"state\":{\"source\":{\"streams\":{\"a\":{\"cursor\":\"c\"}}},\"engine\":{}}}}\n";
    let mut run = Backfill::new(options(), None, "run_1".into()).unwrap();
    run.begin();
    let mut calls = 0;
    let why = loop {
        calls += 1;
        assert!(calls < 20);
        match answered(&mut run, format!("{retry}{limit}").as_bytes()).0 {
            Next::Done(BackfillResult::Failed(error)) if error.class == ResultClass::Unfinished => {
                break error.sentence;
            }
            Next::Done(other) => panic!("{other:?}"),
            Next::Again(..) => {}
        }
    };
    assert_eq!(calls, 14, "the first brought a state, then as many as were asked for");
    assert!(why.contains("HTTP 503") && why.contains("--time-limit"), "{why}");
    // Retry-After is capped at one hour.
    let mut run = Backfill::new(options(), None, "run_1".into()).unwrap();
    run.begin();
    let refused = CallOutcome::Refused {
        status: 503,
        says: String::new(),
        retry_after: Some(std::time::Duration::from_secs(u64::MAX)),
    };
    assert!(matches!(run.over(&refused, 0.5), Next::Again(wait, _) if wait.as_secs() == 3_600));
}

#[test]
fn a_run_that_ended_with_errors_is_followed_by_a_new_one() {
    // In the progress generation, the source's state cannot express an error.
    let end = json!({"type": "eof", "eof": {"status": "failed", "has_more": false,
        "run_progress": {"streams": {"a": {"status": "errored", "message": "no"}, "b": {"status": "completed"}}},
        "ending_state": {"source": {"streams": {"a": {"remaining": [{"gte": "x"}]}, "b": {"remaining": []}}}, "sync_run": {"run_id": "run_1"}}}});
    let mut run = Backfill::new(BackfillOptions::default(), None, "run_1".into()).unwrap();
    run.begin();
    run.push(end.to_string().as_bytes());
    run.cut();
    assert_eq!(run.over(&CallOutcome::Ended, 0.0), Next::Done(BackfillResult::Through));
    let again = Backfill::new(BackfillOptions::default(), Some(run.to_stored_state().get()), "run_2".into()).unwrap();
    assert_eq!(again.run_id(), "run_2");
}

#[test]
fn engine_without_progress_is_given_up() {
    let options = || BackfillOptions { pipeline: json!({}), retries: 2, ..BackfillOptions::default() };
    let same = "{\"type\":\"source_state\",\"source_state\":{\"stream\":\"a\",\"data\":{\"cursor\":\"c\"}}}\n";
    let limit = "{\"type\":\"eof\",\"eof\":{\"reason\":\"state_limit\",\"state\":{\"source\":{\"streams\":{\"a\":{\"cursor\":\"c\"}}},\"engine\":{}}}}\n";
    for (answer, times, says) in
        [(format!("{same}{limit}"), 8, "made no progress"), (format!("{same}{{\"torn"), 6, "in the middle of a line")]
    {
        let mut run = Backfill::new(options(), None, "run_1".into()).unwrap();
        run.begin();
        let mut calls = 0;
        let why = loop {
            calls += 1;
            assert!(calls < times, "{says}: it is called without end");
            if let (Next::Done(BackfillResult::Failed(error)), _) = answered(&mut run, answer.as_bytes()) {
                assert_eq!(error.class, ResultClass::Unfinished);
                let why = error.sentence;
                break why;
            }
        };
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn end_state_without_known_streams_does_not_replace_the_checkpoints() {
    let mut run =
        Backfill::new(BackfillOptions { retries: 3, ..BackfillOptions::default() }, None, "run_1".into()).unwrap();
    run.begin();
    let read = "{\"type\":\"source_state\",\"source_state\":{\"stream\":\"a\",\"data\":{\"n\":1}}}\n";
    answered(&mut run, read.as_bytes());
    for empty in ["{}", "{\"source\":{\"streams\":{}}}"] {
        let end = format!(
            "{{\"type\":\"eof\",\"eof\":{{\"status\":\"failed\",\"has_more\":true,\"ending_state\":{empty}}}}}\n"
        );
        let (_, body) = answered(&mut run, end.as_bytes());
        assert_eq!(body["state"]["source"]["streams"]["a"]["n"], 1, "{empty}");
    }
    // "complete" with a transient error and an unread range is retried.
    let end = "{\"type\":\"trace\",\"trace\":{\"trace_type\":\"error\",\"error\":{\"failure_type\":\"transient_error\",\"message\":\"reset\",\"stream\":\"a\"}}}\n\
        {\"type\":\"eof\",\"eof\":{\"reason\":\"complete\",\"state\":{\"source\":{\"streams\":{\"a\":{\"status\":\"pending\"}}}}}}\n";
    assert!(matches!(answered(&mut run, end.as_bytes()).0, Next::Again(..)));
}

#[test]
fn upper_bound_of_a_run_survives_an_attempt_that_died() {
    for form in FORMS {
        let mut kept = CollectingOutlet::default();
        one(form, "null", |call| call.state_limit = Some(3), &mut kept);
        let mut run =
            Backfill::new(BackfillOptions { retries: 3, ..BackfillOptions::default() }, None, "run_1".into()).unwrap();
        run.begin();
        let log = String::from_utf8(kept.out).unwrap();
        let before_the_end = &log[..log.find("{\"type\":\"eof\"").unwrap()];
        let (_, body) = answered(&mut run, before_the_end.as_bytes());
        let memory = Memory::read(&body["state"].to_string()).unwrap();
        assert_eq!(memory.time_ceiling.as_deref(), Some("2024-01-01T02:00:00.000Z"), "{form:?}");
        // The trace generation reports counts only at status transitions.
        assert_eq!(memory.records() > 0, form == WireGeneration::Progress, "reported counts carry over");
    }
}

#[test]
fn rate_limited_stream_does_not_delay_the_others() {
    let text =
        format!("{SMALL}[[faults]]\nkind = \"rate_limit\"\nstream = \"customer\"\nafter = 0\nretry_after = 60\n");
    let api = Arc::new(Mutex::new(Api::new(Scenario::read(&text).unwrap())));
    let mut kept = CollectingOutlet::default();
    call(&api, Call { begin: begin(), ..Call::default() }, &mut kept).unwrap();
    let progress = reduced(&kept.out);
    let done = |name: &str| progress.stream(name).unwrap().changed_at.get().unwrap() - begin();
    assert!(done("charge") < 50_000 && done("refund") < 50_000, "{} {}", done("charge"), done("refund"));
    assert!(done("customer") >= 60_000);
}

#[test]
fn malformed_state_is_rejected_and_odd_values_are_tolerated() {
    for (text, says) in [
        ("[]", "the state is not an object"),
        ("{", "EOF"),
        ("{\"source\":{\"a\":{\"cursor\":1}}}", "neither streams nor global"),
        ("{\"source\":{\"streams\":[1]}}", "source.streams is not an object"),
    ] {
        let error = Memory::read(text).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    for text in [
        "null",
        "{}",
        "{\"source\":null}",
        "{\"source\":{\"streams\":null,\"global\":null}}",
        "{\"engine\":{\"streams\":null,\"global\":[]}}",
    ] {
        assert!(Memory::read(text).is_ok(), "{text}");
    }
    let odd = "{\"engine\":{\"streams\":{\"a\":{\"status\":null,\"errors\":[{\"msg\":1}],\"cumulative_record_count\":18446744073709551615}},\"global\":{}}}";
    let memory = Memory::read(odd).unwrap();
    assert_eq!(memory.records(), u64::MAX);
    for form in FORMS {
        let mut kept = CollectingOutlet::default();
        let state = odd.replace("\"a\"", "\"customer\"");
        one(form, &state, |_| {}, &mut kept);
        let far = "{\"source\":{\"streams\":{\"customer\":{\"backfill\":{\"range\":{\"gte\":-9223372036854775808,\"lt\":9223372036854775807}}}}}}";
        one(form, far, |_| {}, &mut kept);
    }
}

fn simulate(arguments: &[&str]) -> (Vec<u8>, String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_synctop")).arg("simulate").args(arguments).output().unwrap();
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

#[test]
fn scenario_log_depends_only_on_scenario_and_seed() {
    for (name, _) in SCENARIOS.iter().filter(|(name, _)| *name != "large") {
        let (first, ..) = simulate(&[name, "--no-pace"]);
        let (second, ..) = simulate(&[name, "--no-pace"]);
        assert!(first == second, "{name}");
    }
    assert!(simulate(&["flaky", "--no-pace"]).0 != simulate(&["flaky", "--no-pace", "--seed", "99"]).0);
}

#[test]
fn each_scenario_has_its_documented_outcome() {
    for form in ["trace", "progress"] {
        let ran = |name: &str| reduced(&simulate(&[name, "--no-pace", "--generation", form]).0);
        assert_eq!(outcome(&ran("healthy")), Outcome::Succeeded);
        let limited = ran("rate-limited");
        assert_eq!(outcome(&limited), Outcome::Succeeded);
        assert!(limited.counters.retries > 10, "{}", limited.counters.retries);
        assert_eq!(outcome(&ran("parked")), Outcome::Failed);
        let flaky = ran("flaky");
        assert_eq!((outcome(&flaky), flaky.attempts), (Outcome::Succeeded, 3));
        assert_eq!(flaky.cumulative_records(), Some(16_300));
        let everything = ran("everything");
        let wanted = if form == "trace" { Outcome::CompletedWithErrors } else { Outcome::Failed };
        assert_eq!(outcome(&everything), wanted);
        assert_eq!(everything.streams.iter().filter(|stream| stream.details.failed_in.is_some()).count(), 2);
        for log in [&limited, &flaky, &everything] {
            assert_eq!((log.input.malformed, log.input.unknown, log.input.raw), (0, 0, 0));
            assert!(log.anomalies.is_empty(), "{form}: {:?}", log.anomalies);
        }
    }
}

#[test]
fn large_scenario_succeeds_with_all_records() {
    let (log, ..) = simulate(&["large", "--no-pace"]);
    let progress = reduced(&log);
    let records: u64 =
        Scenario::read(Scenario::named("large").unwrap()).unwrap().streams.iter().map(|stream| stream.records).sum();
    assert_eq!((outcome(&progress), progress.cumulative_records()), (Outcome::Succeeded, Some(records)));
}

#[test]
fn simulate_supports_raw_output_records_and_single_calls_with_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json").display().to_string();
    let (raw, ..) = simulate(&["healthy", "--no-pace", "--raw"]);
    let raw = String::from_utf8(raw).unwrap();
    assert_eq!(raw.lines().filter(|line| line.starts_with("{\"type\":\"record\"")).count(), 16_375);
    assert!(raw.ends_with("{\"type\":\"eof\",\"eof\":{\"reason\":\"complete\"}}\n"));
    assert!(!raw.contains("_emitted_by"));
    let (with, ..) = simulate(&["healthy", "--no-pace", "--records"]);
    assert_eq!(reduced(&with).input.messages, with.split_inclusive(|byte| *byte == b'\n').count() as u64);
    let mut log = Vec::new();
    for _ in 0..40 {
        let (part, ..) = simulate(&["healthy", "--no-pace", "--state", &state, "--state-limit", "7"]);
        log.extend(part);
    }
    let progress = reduced(&log);
    assert_eq!(outcome(&progress), Outcome::Succeeded);
    assert!(progress.cumulative_records().unwrap() >= 16_375 && progress.attempts > 20, "{}", progress.attempts);
}

/// Log of [`SMALL`] with these faults instead of its own.
fn with_faults(faults: &str, form: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let calm = &SMALL[..SMALL.find("[[faults]]").unwrap()];
    std::fs::write(&file, format!("{calm}{faults}")).unwrap();
    simulate(&[&file.display().to_string(), "--no-pace", "--generation", form]).0
}

#[test]
fn bad_key_fails_the_whole_run_at_its_start_and_in_the_middle() {
    for form in ["trace", "progress"] {
        for after in [0, 1_000] {
            let log = with_faults(&format!("[[faults]]\nkind = \"bad_key\"\nafter = {after}\n"), form);
            let progress = reduced(&log);
            assert_eq!(outcome(&progress), Outcome::Failed, "{form} {after}");
            assert!(String::from_utf8_lossy(&log).contains("Invalid API Key provided"), "{form} {after}");
            assert_eq!(progress.attempts, 1, "it is not called again");
            let records = progress.cumulative_records().unwrap_or(0);
            assert!(records >= after && records < 2_000, "{form} {after}: {records}");
            let done = progress.streams.iter().filter(|stream| stream.status == Status::Completed);
            assert!(done.clone().count() <= usize::from(after > 0), "{form} {after}: nothing is promoted");
        }
    }
}

#[test]
fn every_fault_has_its_documented_effect() {
    let every = |kind: &str, more: &str| format!("[[faults]]\nkind = \"{kind}\"\n{more}\n");
    for form in ["trace", "progress"] {
        let ran = |faults: &str| reduced(&with_faults(faults, form));
        // Transient faults leave only retries.
        for (kind, more) in [
            ("rate_limit", "chance = 0.3"),
            ("server_error", "chance = 0.2\nstatus = 502"),
            ("reset", "after = 500\ntimes = 3"),
            ("half_body", "chance = 0.2"),
        ] {
            let progress = ran(&every(kind, more));
            assert_eq!(outcome(&progress), Outcome::Succeeded, "{form} {kind}");
            assert!(progress.counters.retries > 0, "{form} {kind}");
        }
        // A fault that outlasts five tries ends the stream for this attempt; another call continues
        // it.
        let progress = ran(&every("reset", "stream = \"charge\"\nafter = 300\ntimes = 100"));
        assert_eq!(outcome(&progress), Outcome::Failed, "{form}");
        let charge = progress.stream("charge").unwrap();
        assert!(charge.details.failed_in.is_some() && charge.coverage().unwrap() < 1.0, "{form}: {charge:?}");
        assert_eq!(progress.stream("customer").unwrap().status, Status::Completed);
        for (kind, more, status) in [
            ("denied", "stream = \"charge\"", Status::Errored),
            ("bad_request", "stream = \"charge\"\nafter = 200", Status::Errored),
            ("refused", "stream = \"charge\"\nrefusal = \"not_enabled\"", Status::Skipped),
        ] {
            let progress = ran(&every(kind, more));
            assert_eq!(progress.stream("charge").unwrap().status, status, "{form} {kind}");
            assert_eq!(progress.stream("refund").unwrap().status, Status::Completed, "{form} {kind}");
        }
        // A stall is a silence of that length.
        let calm = ran("").last_at.unwrap();
        let late = ran(&every("stall", "stream = \"refund\"\nafter = 100\nseconds = 90")).last_at.unwrap();
        assert!((80_000..110_000).contains(&(late - calm)), "{form}: {}", late - calm);
    }
}

#[test]
fn a_crash_ends_in_the_middle_of_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("crash.toml");
    std::fs::write(&file, format!("{SMALL}[[faults]]\nkind = \"crash\"\nafter = 800\n")).unwrap();
    let (log, says, code) = simulate(&[&file.display().to_string(), "--no-pace"]);
    let progress = reduced(&log);
    assert_eq!((outcome(&progress), progress.input.truncated_line, code), (Outcome::Truncated, true, Some(1)));
    assert!(says.contains("crashed, as the scenario specifies"), "{says}");
}

#[test]
fn invalid_scenarios_are_rejected_with_their_position() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let name = file.display().to_string();
    let (text, _, code) = simulate(&["parked", "--print"]);
    assert_eq!(code, Some(0));
    std::fs::write(&file, &text).unwrap();
    assert_eq!(
        simulate(&[&name, "--no-pace"]).0,
        simulate(&["parked", "--no-pace"]).0,
        "a printed scenario is a scenario"
    );
    for (text, says, wanted) in [
        (Some("seed = \"nine\"\n"), "line 1, column 8", 65),
        (Some(&SMALL.replace("customer", "charge")[..]), "the stream charge is listed twice", 65),
        (None, "There is no scenario", 66),
    ] {
        match text {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let (_, err, code) = simulate(&[&name, "--no-pace"]);
        assert!(err.contains(says), "{err}");
        assert_eq!(code, Some(wanted), "{err}");
    }
}
