//! Verdict on a run for its pipeline: ready, parked, or retried. Pure.

use super::model::ParkReason;
use crate::engine::classify::FailureType;
use std::sync::Arc;
use synctop_core::protocol::{Millis, Where, mask};
use synctop_core::reduce::{ErrorGroup, Outcome, Progress, outcome, standing};
use synctop_core::report::{parked, verdict, verdict_remedy};

/// Verdict on a finished run.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    /// Nothing is left, or only streams that a new run has to try again.
    Ready,
    /// A person has to act.
    Park(ParkReason),
    /// It failed transiently.
    Again(String),
}

/// Judges a run that is over.
#[must_use]
pub fn judge(progress: &Progress, now: Millis) -> Judged {
    let mut closed = progress.clone();
    closed.close(None);
    if let Some(group) = global(&closed) {
        return Judged::Park(reason(&closed, group, now));
    }
    match outcome(&closed) {
        Outcome::Succeeded | Outcome::CompletedWithErrors => Judged::Ready,
        Outcome::Failed => {
            let standing = standing(&closed);
            // Streams that failed for good, each with its own error: they are left out until a new
            // run.
            let streams_failed = standing.iter().any(|group| lasting(group) && group.streams().next().is_some());
            if streams_failed {
                return Judged::Ready;
            }
            let may_pass = |group: &&&Arc<ErrorGroup>| !lasting(group);
            match (standing.first(), standing.iter().find(may_pass)) {
                (Some(_), Some(passing)) => Judged::Again(passing.message.to_string()),
                (Some(group), None) => Judged::Park(reason(&closed, group, now)),
                (None, _) => Judged::Park(without_group(&closed, now)),
            }
        }
        // It ended at a limit and reports that nothing is left: the rest belongs to the next run.
        Outcome::CutOff => Judged::Ready,
        Outcome::Aborted | Outcome::Truncated | Outcome::Unknown | Outcome::Running => {
            Judged::Again(verdict(&closed).why.unwrap_or_else(|| "it ended without an end".into()))
        }
    }
}

/// Failure type of an error: as reported, otherwise by its HTTP status, otherwise by its level. One
/// generation has no types; a stream that it calls failed is over for the run.
fn kind(group: &ErrorGroup) -> FailureType {
    let word = group.failure_type.as_deref().map(FailureType::from);
    // A network or database that cannot be reached may pass, whatever the engine calls it.
    let quoted = FailureType::of_text(&group.message);
    quoted.filter(|kind| *kind == FailureType::Transient).or(word).or(quoted).unwrap_or(match group.level {
        Where::Transient => FailureType::Transient,
        Where::Global | Where::Stream => FailureType::System,
    })
}

fn lasting(group: &ErrorGroup) -> bool {
    kind(group).permanent()
}

/// A permanent error that is about the whole pipeline: without a stream, or before any stream
/// started, or the same one of every stream that started (engines tag a bad key with the name of
/// the first stream).
fn global(progress: &Progress) -> Option<&Arc<ErrorGroup>> {
    let now = progress.attempts;
    let struck =
        |group: &ErrorGroup, stream: &str| group.hits.get(stream).is_some_and(|hit| hit.attempt == now && !hit.cleared);
    let here = |group: &ErrorGroup| group.hits.values().any(|hit| hit.attempt == now && !hit.cleared);
    let permanent = || progress.errors.groups().iter().filter(|group| lasting(group) && here(group));
    if let Some(group) = permanent().find(|group| struck(group, "")) {
        return Some(group);
    }
    let started: Vec<_> = progress.streams.iter().filter(|stream| stream.took_part()).collect();
    if started.is_empty() {
        return permanent().next();
    }
    let all_failed = started.iter().all(|stream| stream.failed_in == Some(now));
    let first = permanent().next()?;
    let same = |group: &Arc<ErrorGroup>| group.fingerprint == first.fingerprint;
    let every = started
        .iter()
        .all(|stream| permanent().any(|group| same(group) && struck(group, &synctop_core::reduce::key_of(stream))));
    (all_failed && every).then_some(first)
}

fn reason(progress: &Progress, group: &ErrorGroup, now: Millis) -> ParkReason {
    let global = group.hits.contains_key("") || group.streams().count() != 1 || progress.streams.len() <= 1;
    ParkReason {
        message: mask::secrets(&group.message).into_owned(),
        failure_type: Some(kind(group).as_str().to_owned()),
        stream: if global { None } else { group.streams().next().map(ToString::to_string) },
        fingerprint: format!("{:016x}", group.fingerprint),
        since: now,
        next: parked(&verdict_remedy(progress, group)),
    }
}

fn without_group(progress: &Progress, now: Millis) -> ParkReason {
    let why = verdict(progress).why.unwrap_or_else(|| "the engine reports a failure without an error".into());
    said(&why, None, now)
}

/// A reason that stands in a sentence.
#[must_use]
pub fn said(message: &str, failure_type: Option<FailureType>, now: Millis) -> ParkReason {
    let message = mask::secrets(message).into_owned();
    let kind = failure_type.or_else(|| FailureType::of_text(&message));
    let next = match kind {
        Some(FailureType::Auth) => "check the key, then resume it",
        Some(FailureType::Config) => "correct the configuration, then resume it",
        Some(FailureType::Transient) => "it may pass: resume it, and look at the other side if it comes back",
        _ => "fix the cause, then resume it",
    };
    ParkReason {
        fingerprint: format!("{:016x}", synctop_core::reduce::fingerprint::of_error(&message, None)),
        message,
        failure_type: kind.map(|kind| kind.as_str().to_owned()),
        stream: None,
        since: now,
        next: next.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Ingest;

    fn judged(lines: &[&str]) -> Judged {
        let mut ingest = Ingest::default();
        for line in lines {
            ingest.push(format!("{line}\n").as_bytes());
        }
        judge(&ingest.progress, 7)
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
    fn only_an_error_of_the_whole_parks() {
        let (a, b) = (status("a", "started"), status("b", "started"));
        let parks = |lines: &[&str]| matches!(judged(lines), Judged::Park(_));
        // Without a stream.
        assert!(parks(&[CATALOG, &a, &error(None, "system_error", "relation x does not exist")]));
        // Before any stream started, although tagged with the first one's name.
        assert!(parks(&[CATALOG, &error(Some("a"), "auth_error", "Invalid API Key [GET /v1/account (401)]"), END]));
        // The same of every stream that started.
        let (no_a, no_b) = (error(Some("a"), "auth_error", "bad key 1"), error(Some("b"), "auth_error", "bad key 22"));
        assert!(parks(&[CATALOG, &a, &b, &no_a, &no_b, END]));
        // Of one only: that one is left out.
        assert_eq!(judged(&[CATALOG, &a, &b, &no_a, &status("b", "complete"), END]), Judged::Ready);
        // Each with another one.
        let other = error(Some("b"), "config_error", "no such field");
        assert_eq!(judged(&[CATALOG, &a, &b, &no_a, &other, END]), Judged::Ready);
        // One generation has no types: a status decides, and a failed stream is only over for this
        // run.
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
        assert_eq!(judged(&[&a2, &b2, &of("a", "complete"), &denied, failed]), Judged::Ready);
        assert!(parks(&[
            &a2,
            &b2,
            &untyped("a", "no [GET /v1/as (401)]"),
            &untyped("b", "no [GET /v1/bs (401)]"),
            failed
        ]));
        // A transient failure never parks, of one stream or of all.
        let passing = error(None, "transient_error", "connect ECONNREFUSED");
        assert!(matches!(judged(&[CATALOG, &a, &passing]), Judged::Again(_)), "{:?}", judged(&[CATALOG, &a, &passing]));
        assert_eq!(judged(&[CATALOG, &a, &b, &status("a", "complete"), &status("b", "complete"), END]), Judged::Ready);
    }

    #[test]
    fn a_reason_says_what_and_what_next() {
        let bad = error(Some("a"), "auth_error", "Invalid API Key provided: sk_test_****zzzz [GET /v1/account (401)]");
        let Judged::Park(reason) = judged(&[CATALOG, &bad, END]) else { panic!("not parked") };
        assert_eq!((reason.failure_type.as_deref(), reason.since), (Some("auth_error"), 7));
        assert!(reason.next.contains("check the key"), "{}", reason.next);
        // The progress generation reports it in a log line only.
        let log = r#"{"type":"log","log":{"level":"error","message":"Invalid API Key provided: sk_test_****ey_1 [GET /v1/account (401)]"}}"#;
        let end = r#"{"type":"eof","eof":{"status":"failed","has_more":false,"run_progress":{"streams":{}},"request_progress":{"streams":{}}}}"#;
        let Judged::Park(reason) = judged(&[end, log]) else { panic!("not parked") };
        assert_eq!(reason.failure_type.as_deref(), Some("auth_error"));
        assert!(reason.message.contains("Invalid API Key"), "{}", reason.message);
    }
}
