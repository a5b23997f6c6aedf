//! Verdict on a run: the pipeline becomes ready, is parked, or retries. Pure.

use crate::engine::failure_type::FailureType;
use crate::service::model::{ParkReason, Task};
use serde_json::{Value, json};
use std::sync::Arc;
use synctop_core::fleet::wire::TaskState;
use synctop_core::protocol::{ErrorLevel, Millis, mask};
use synctop_core::reduce::{ErrorGroup, Outcome, Progress, outcome, standing};
use synctop_core::report::{Advice, Audience, Remedy, Repeat, verdict};

/// Verdict on a finished run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunVerdict {
    /// Nothing is left to read except streams that only a new run retries.
    Ready,
    /// A person has to act.
    Park(ParkReason),
    /// Transient failure, with its message: the run is retried.
    Again(String),
}

/// Returns the verdict on a finished run.
#[must_use]
pub fn verdict_of(progress: &Progress, now: Millis) -> RunVerdict {
    let mut closed = progress.clone();
    closed.close(None);
    if let Some(group) = global(&closed) {
        return RunVerdict::Park(reason(&closed, group, now));
    }
    match outcome(&closed) {
        Outcome::Succeeded | Outcome::CompletedWithErrors => RunVerdict::Ready,
        Outcome::Failed => {
            let standing = standing(&closed);
            // Streams with permanent errors of their own are left out until a new run.
            let streams_failed = standing.iter().any(|group| is_permanent(group) && group.streams().next().is_some());
            if streams_failed {
                return RunVerdict::Ready;
            }
            let transient = |group: &&&Arc<ErrorGroup>| !is_permanent(group);
            match (standing.first(), standing.iter().find(transient)) {
                (Some(_), Some(passing)) => RunVerdict::Again(passing.message.to_string()),
                (Some(group), None) => RunVerdict::Park(reason(&closed, group, now)),
                (None, _) => RunVerdict::Park(reason_without_error(&closed, now)),
            }
        }
        // The call ended at a limit although nothing is left: the next run reads the rest.
        Outcome::CutOff => RunVerdict::Ready,
        Outcome::Aborted | Outcome::Truncated | Outcome::Unknown | Outcome::Running => {
            RunVerdict::Again(verdict(&closed).why.unwrap_or_else(|| "the run ended without an end message".into()))
        }
    }
}

/// Returns the failure type of an error: transient if its text shows so, otherwise as reported,
/// otherwise by its text, otherwise by its level. Engines of one generation report no types.
fn kind(group: &ErrorGroup) -> FailureType {
    let word = group.failure_type.as_deref().map(FailureType::from);
    // An unreachable network or database is transient, whatever type the engine reports.
    let quoted = FailureType::of_text(&group.message);
    quoted.filter(|kind| *kind == FailureType::Transient).or(word).or(quoted).unwrap_or(match group.level {
        ErrorLevel::Transient => FailureType::Transient,
        ErrorLevel::Global | ErrorLevel::Stream => FailureType::System,
    })
}

/// True if the error is permanent.
fn is_permanent(group: &ErrorGroup) -> bool {
    kind(group).permanent()
}

/// Returns a permanent error of the whole pipeline: without a stream, before any stream started, or
/// the same for every started stream. (Engines tag a bad key with the name of the first stream.)
fn global(progress: &Progress) -> Option<&Arc<ErrorGroup>> {
    let now = progress.attempts;
    let has_hit =
        |group: &ErrorGroup, stream: &str| group.hits.get(stream).is_some_and(|hit| hit.attempt == now && !hit.cleared);
    let here = |group: &ErrorGroup| group.hits.values().any(|hit| hit.attempt == now && !hit.cleared);
    let permanent = || progress.errors.groups().iter().filter(|group| is_permanent(group) && here(group));
    if let Some(group) = permanent().find(|group| has_hit(group, "")) {
        return Some(group);
    }
    let started: Vec<_> = progress.streams.iter().filter(|stream| stream.took_part()).collect();
    if started.is_empty() {
        return permanent().next();
    }
    let all_failed = started.iter().all(|stream| stream.details.failed_in == Some(now));
    let first = permanent().next()?;
    let same = |group: &Arc<ErrorGroup>| group.fingerprint == first.fingerprint;
    let every = started
        .iter()
        .all(|stream| permanent().any(|group| same(group) && has_hit(group, &synctop_core::reduce::key_of(stream))));
    (all_failed && every).then_some(first)
}

/// Builds the parking reason of an error.
fn reason(progress: &Progress, group: &ErrorGroup, now: Millis) -> ParkReason {
    let global = group.hits.contains_key("") || group.streams().count() != 1 || progress.streams.len() <= 1;
    ParkReason {
        message: mask::secrets(&group.message).into_owned(),
        failure_type: Some(kind(group).as_str().to_owned()),
        stream: if global { None } else { group.streams().next().map(ToString::to_string) },
        fingerprint: format!("{:016x}", group.fingerprint),
        since: now,
        next: Advice::for_error(progress, group).text(Audience::ParkedPipeline),
    }
}

/// Builds the parking reason of a failure without an error.
fn reason_without_error(progress: &Progress, now: Millis) -> ParkReason {
    let why = verdict(progress).why.unwrap_or_else(|| "the engine reports a failure without an error".into());
    park_reason(&why, None, now)
}

/// Builds a parking reason from a message. Without a failure type it is derived from the message.
#[must_use]
pub fn park_reason(message: &str, failure_type: Option<FailureType>, now: Millis) -> ParkReason {
    let message = mask::secrets(message).into_owned();
    let kind = failure_type.or_else(|| FailureType::of_text(&message));
    let remedy = match kind {
        Some(FailureType::Auth) => Remedy::CheckKey,
        Some(FailureType::Config) => Remedy::CorrectConfiguration,
        Some(FailureType::Transient) => Remedy::Retry,
        _ => Remedy::FixCause,
    };
    ParkReason {
        fingerprint: format!("{:016x}", synctop_core::reduce::fingerprint::of_error(&message, None)),
        message,
        failure_type: kind.map(|kind| kind.as_str().to_owned()),
        stream: None,
        since: now,
        next: remedy.text(Repeat::Continue, Audience::ParkedPipeline),
    }
}

/// Number of earlier runs that are compared with a run without records.
pub const COMPARED_RUNS: usize = 10;

/// Minimum number of them, and minimum records of each, for a run without records to be unusual.
const MIN_COMPARED: usize = 5;
const USUAL_RECORDS: u64 = 100;

/// Returns a doubt about a run that read no record, where the successful runs before it have read
/// many. `earlier`: the runs before it, newest first.
#[must_use]
pub fn unusual_silence(records: Option<u64>, earlier: &[Task]) -> Option<Value> {
    if records != Some(0) {
        return None;
    }
    let succeeded = earlier.iter().filter(|task| task.state == TaskState::Succeeded);
    let mut counts: Vec<u64> = succeeded
        .filter_map(|task| task.result.as_ref()?.pointer("/records/cumulative")?.as_u64())
        .take(COMPARED_RUNS)
        .collect();
    counts.sort_unstable();
    let least = counts.first().copied().filter(|least| *least >= USUAL_RECORDS)?;
    if counts.len() < MIN_COMPARED {
        return None;
    }
    let message = format!("it read no record, where the {} runs before it read at least {least} each", counts.len());
    Some(json!({"kind": "no_records", "stream": null, "streams": [], "message": message}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use synctop_core::reduce::Reducer;

    fn verdict_of_lines(lines: &[&str]) -> RunVerdict {
        let mut reducer = Reducer::default();
        for line in lines {
            reducer.push(format!("{line}\n").as_bytes());
        }
        verdict_of(&reducer.progress, 7)
    }

    const CATALOG: &str = r#"{"type":"catalog","catalog":{"streams":[{"name":"a"},{"name":"b"}]}}"#;
    const END: &str = r#"{"type":"eof","eof":{"reason":"complete"}}"#;

    fn status(stream: &str, status: &str) -> String {
        format!(
            r#"{{"type":"trace","trace":{{"trace_type":"stream_status","stream_status":{{"stream":"{stream}","status":"{status}"}}}}}}"#
        )
    }

    fn error(stream: Option<&str>, kind: &str, message: &str) -> String {
        let stream = stream.map(|name| format!(r#","stream":"{name}""#)).unwrap_or_default();
        format!(
            r#"{{"type":"trace","trace":{{"trace_type":"error","error":{{"failure_type":"{kind}","message":"{message}"{stream}}}}}}}"#
        )
    }

    #[test]
    fn only_a_global_error_parks() {
        let (a, b) = (status("a", "started"), status("b", "started"));
        let parks = |lines: &[&str]| matches!(verdict_of_lines(lines), RunVerdict::Park(_));
        // Without a stream.
        assert!(parks(&[CATALOG, &a, &error(None, "system_error", "relation x does not exist")]));
        // Before any stream started, although tagged with the first one's name.
        assert!(parks(&[CATALOG, &error(Some("a"), "auth_error", "Invalid API Key [GET /v1/account (401)]"), END]));
        // The same of every stream that started.
        let (no_a, no_b) = (error(Some("a"), "auth_error", "bad key 1"), error(Some("b"), "auth_error", "bad key 22"));
        assert!(parks(&[CATALOG, &a, &b, &no_a, &no_b, END]));
        // One stream has a permanent error: it is left out.
        assert_eq!(verdict_of_lines(&[CATALOG, &a, &b, &no_a, &status("b", "complete"), END]), RunVerdict::Ready);
        // Each stream has another error.
        let other = error(Some("b"), "config_error", "no such field");
        assert_eq!(verdict_of_lines(&[CATALOG, &a, &b, &no_a, &other, END]), RunVerdict::Ready);
        // Errors of one generation have no types: the HTTP status decides, and a failed stream is
        // left out until the next run.
        let untyped = |stream: &str, error: &str| {
            format!(
                r#"{{"type":"stream_status","stream_status":{{"stream":"{stream}","status":"error","error":"{error}"}}}}"#
            )
        };
        let of = |stream: &str, word: &str| {
            format!(r#"{{"type":"stream_status","stream_status":{{"stream":"{stream}","status":"{word}"}}}}"#)
        };
        let failed = r#"{"type":"eof","eof":{"status":"failed","has_more":false}}"#;
        let (a2, b2) = (of("a", "start"), of("b", "start"));
        let denied = untyped("b", "The key may not read this. [GET /v1/bs (403)]");
        assert_eq!(verdict_of_lines(&[&a2, &b2, &of("a", "complete"), &denied, failed]), RunVerdict::Ready);
        assert!(parks(&[
            &a2,
            &b2,
            &untyped("a", "no [GET /v1/as (401)]"),
            &untyped("b", "no [GET /v1/bs (401)]"),
            failed
        ]));
        // A transient failure never parks, of one stream or of all.
        let passing = error(None, "transient_error", "connect ECONNREFUSED");
        assert!(
            matches!(verdict_of_lines(&[CATALOG, &a, &passing]), RunVerdict::Again(_)),
            "{:?}",
            verdict_of_lines(&[CATALOG, &a, &passing])
        );
        assert_eq!(
            verdict_of_lines(&[CATALOG, &a, &b, &status("a", "complete"), &status("b", "complete"), END]),
            RunVerdict::Ready
        );
    }

    #[test]
    fn a_reason_has_a_type_and_a_next_step() {
        let bad = error(Some("a"), "auth_error", "Invalid API Key provided: sk_test_****zzzz [GET /v1/account (401)]");
        let RunVerdict::Park(reason) = verdict_of_lines(&[CATALOG, &bad, END]) else { panic!("not parked") };
        assert_eq!((reason.failure_type.as_deref(), reason.since), (Some("auth_error"), 7));
        assert!(reason.next.contains("check the key"), "{}", reason.next);
        // The progress generation reports it in a log line only.
        let log = r#"{"type":"log","log":{"level":"error","message":"Invalid API Key provided: sk_test_****ey_1 [GET /v1/account (401)]"}}"#;
        let end = r#"{"type":"eof","eof":{"status":"failed","has_more":false,"run_progress":{"streams":{}},"request_progress":{"streams":{}}}}"#;
        let RunVerdict::Park(reason) = verdict_of_lines(&[end, log]) else { panic!("not parked") };
        assert_eq!(reason.failure_type.as_deref(), Some("auth_error"));
        assert!(reason.message.contains("Invalid API Key"), "{}", reason.message);
    }

    fn past_run(number: u64, records: u64) -> Task {
        let text = json!({
            "id": format!("task_{number}"), "pipeline": "p", "incarnation": 1, "number": number, "trigger": "schedule",
            "state": TaskState::Succeeded, "created_at": 0, "started_at": 0, "ended_at": 1, "run_id": "r", "log": [0, 1],
            "calls": 1, "progress": null, "message": null,
            "result": {"records": {"attempt": 0, "cumulative": records}},
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_run_without_records_is_doubted_only_where_there_usually_are_many() {
        let runs =
            |counts: &[u64]| -> Vec<Task> { (0..).zip(counts).map(|(at, count)| past_run(at, *count)).collect() };
        let doubt = unusual_silence(Some(0), &runs(&[200, 150, 900, 120, 400])).unwrap();
        assert_eq!(doubt["message"], "it read no record, where the 5 runs before it read at least 120 each");
        assert_eq!(unusual_silence(Some(1), &runs(&[200; 9])), None);
        assert_eq!(unusual_silence(None, &runs(&[200; 9])), None, "unknown is not zero");
        assert_eq!(unusual_silence(Some(0), &runs(&[200; 4])), None, "too few runs");
        assert_eq!(unusual_silence(Some(0), &runs(&[200, 200, 0, 200, 200, 200])), None, "an empty run is usual");
    }
}
