//! The sentences: what happened, why, and whether someone must act.

use super::errors::Group;
use super::text::{count, headline, plural, short};
use super::{Exit, Outcome, Progress, doubts, outcome, stall_verdict};
use crate::protocol::{EndWord, Millis, Status, Where, clean};
use std::sync::Arc;

/// Words for one state of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// `COMPLETED WITH ERRORS after 04:31 (engine says: complete, exit 0)`.
    pub headline: String,
    pub why: Option<String>,
    pub next: Option<String>,
}

/// The verdict by the messages so far.
#[must_use]
pub fn verdict(progress: &Progress) -> Verdict {
    let outcome = outcome(progress);
    let mut headline = headline(progress);
    if let Some(says) = says(progress) {
        headline.push_str(&format!("  ({says})"));
    }
    Verdict { outcome, headline, why: why(progress, outcome), next: next(progress, outcome) }
}

/// What the engine itself says of its end.
fn says(progress: &Progress) -> Option<String> {
    let reason = progress.attempt.end.as_ref().and_then(|end| end.reason.as_deref());
    let reason = reason.map(|reason| format!("engine says: {}", clean::line(reason)));
    let exit = progress.exit.map(exit_words);
    match (reason, exit) {
        (Some(reason), Some(exit)) => Some(format!("{reason}, {exit}")),
        (reason, exit) => reason.or(exit),
    }
}

/// `exit 1`, `killed by 9`.
#[must_use]
pub fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => format!("killed by {signal}"),
    }
}

/// The groups that stand, the weightiest first.
#[must_use]
pub fn standing(progress: &Progress) -> Vec<&Arc<Group>> {
    let mut groups: Vec<_> = progress.errors.groups().iter().filter(|group| group.stands()).collect();
    groups.sort_by_key(|group| (group.level, std::cmp::Reverse(group.permanent()), std::cmp::Reverse(group.count)));
    groups
}

/// `disputes: auth_error, The provided key ...`
fn cause(progress: &Progress, group: &Group) -> String {
    let streams: Vec<_> = group.streams().take(3).map(|name| clean::line(name).into_owned()).collect();
    let all = group.streams().count();
    let who = match (all, streams.join(", ")) {
        (0, _) => String::new(),
        (1..=3, names) => format!("{names}: "),
        (all, names) => format!("{names} and {} more: ", all - 3),
    };
    let kind = group.failure_type.as_deref().map(|kind| format!("{}, ", clean::line(kind))).unwrap_or_default();
    let share = if all > 0 && progress.streams.len() > 1 {
        format!(" ({all} of {})", plural(progress.streams.len(), "stream"))
    } else {
        String::new()
    };
    format!("{who}{kind}{}{share}", short(&group.message, 200))
}

fn why(progress: &Progress, outcome: Outcome) -> Option<String> {
    let standing = standing(progress);
    let error = standing.first().map(|group| cause(progress, group));
    let also = |text: String| match standing.len() {
        0 | 1 => text,
        2 => format!("{text}; and one more kind of error"),
        n => format!("{text}; and {} more kinds of error", n - 1),
    };
    let end = progress.attempt.end.as_ref();
    match outcome {
        Outcome::Running | Outcome::Succeeded => error.map(also),
        Outcome::Failed => error.map(also).or_else(|| Some("the engine says so and gives no error".into())),
        Outcome::CompletedWithErrors => error.map(also).or_else(|| {
            let doubts = doubts(progress);
            let left = doubts.iter().find(|doubt| doubt.kind == "ranges_left")?;
            Some(format!("{}: {}", clean::line(left.stream.as_deref().unwrap_or("-")), left.message))
        }),
        Outcome::CutOff => {
            let what = match end.map(|end| end.word) {
                Some(EndWord::Limit) => "a limit ended it",
                Some(EndWord::Unknown) => "it ended for a reason that nobody knows",
                Some(EndWord::StillStarted) if end.is_some_and(|end| end.has_more != Some(true)) => {
                    "its end still says started, and that nothing more is to come"
                }
                _ => "the engine has more to do",
            };
            let open = progress
                .streams
                .iter()
                .filter(|stream| stream.status != Status::Completed && stream.status != Status::Skipped)
                .count();
            let open = if open > 0 { format!(", {} not done", plural(open, "stream")) } else { String::new() };
            Some(also(format!("{what}{open}{}", error.map(|error| format!("; {error}")).unwrap_or_default())))
        }
        Outcome::Aborted => Some("the engine says that it was aborted".into()),
        Outcome::Truncated => Some(truncated(progress)),
    }
}

fn truncated(progress: &Progress) -> String {
    if progress.input.lines == 0 {
        return "the input is empty".into();
    }
    if progress.input.messages == 0 {
        return "nothing in the input was understood".into();
    }
    let torn = if progress.input.truncated_line { ", in the middle of a line" } else { "" };
    let exit = match progress.exit {
        Some(Exit::Signal(signal)) => format!(" (killed by {signal})"),
        Some(Exit::Code(code)) => format!(" (exit {code})"),
        None => String::new(),
    };
    format!("the input ended without an end message{torn}{exit}: the engine was stopped or died")
}

fn next(progress: &Progress, outcome: Outcome) -> Option<String> {
    let standing = standing(progress);
    let first = standing.first().copied();
    match outcome {
        Outcome::Running => None,
        Outcome::Succeeded => {
            let doubts = doubts(progress);
            let doubt = doubts.first()?;
            Some(match doubt.kind {
                "nothing_synced" => "check the names of the streams that were asked for".into(),
                "recount_after_resume" => "nothing to do; compare row counts at the destination if they matter".into(),
                _ => format!("look at {}", plural(doubts.len(), "doubt")),
            })
        }
        Outcome::Failed | Outcome::CompletedWithErrors => Some(match first {
            Some(group) => remedy(progress, group),
            None => "look at the ranges that are left, then start a new run".into(),
        }),
        Outcome::CutOff => Some(match progress.attempt.end.as_ref().map(|end| end.word) {
            Some(EndWord::Unknown) => {
                "look at the engine's own log, then call it again with the state it returned".into()
            }
            Some(EndWord::StillStarted) if progress.streams.is_empty() => {
                "check the names of the streams that were asked for; calling again will say the same".into()
            }
            _ => "call the engine again with the state it returned".into(),
        }),
        Outcome::Aborted => Some("start it again with the last state when you are ready".into()),
        Outcome::Truncated if progress.input.messages == 0 => Some(
            "check that this is the engine's NDJSON output (its logs may be on stderr), or name a --dialect".into(),
        ),
        Outcome::Truncated => {
            Some("look at the engine's stderr or log, then start it again from the last checkpoint".into())
        }
    }
}

/// What to do about an error.
#[must_use]
pub fn remedy(progress: &Progress, group: &Group) -> String {
    let message = group.message.to_lowercase();
    let one_stream = group.streams().count() == 1 && group.level != Where::Global;
    let again = if one_stream { "start a new run (this one may skip it)" } else { "start it again" };
    match group.failure_type.as_deref() {
        Some("auth_error") if message.contains("permission") => format!("give the key that permission, then {again}"),
        Some("auth_error") => format!("check the key, then {again}"),
        Some("config_error") => format!("correct the configuration, then {again}"),
        Some("transient_error") => "it may pass: start it again; look at the other side if it comes back".into(),
        _ if message.contains("api key") => format!("check the key, then {again}"),
        _ if message.contains("permission") => format!("give the key that permission, then {again}"),
        _ if message.contains("econnrefused") || message.contains("connect ") => {
            "see that the other side is up and reachable, then start it again".into()
        }
        _ if message.contains("rate limit") => format!("wait, or lower the request rate, then {again}"),
        _ if progress.attempt.end.is_none() => {
            "look at the engine's log, then start it again from the last checkpoint".into()
        }
        _ => format!("mend the cause, then {again}"),
    }
}

/// While it runs: the one thing to know, if anything is wrong.
#[must_use]
pub fn trouble(progress: &Progress, now: Millis) -> Option<String> {
    let stalls: Vec<_> =
        progress.streams.iter().filter_map(|stream| Some((stream, stall_verdict(stream, now)?))).collect();
    let stalled = stalls.iter().max_by_key(|(_, stall)| stall.silent_ms).map(|(stream, stall)| {
        let silent = super::text::duration(u64::try_from(stall.silent_ms).unwrap_or(0) / 1000 * 1000);
        match stalls.len() {
            1 => format!("{} stands still for {silent}", clean::line(&stream.name)),
            all => format!("{all} streams stand still, {} for {silent}", clean::line(&stream.name)),
        }
    });
    let standing = standing(progress);
    let error = standing.first().map(|group| {
        let act = if group.permanent() || group.failure_type.is_none() { " — needs you" } else { "" };
        let more =
            if standing.len() > 1 { format!("; {} more kinds of error", standing.len() - 1) } else { String::new() };
        format!("{}{act}{more}", cause(progress, group))
    });
    match (stalled, error) {
        (Some(stalled), Some(error)) => Some(format!("{stalled}; {error}")),
        (stalled, error) => stalled.or(error),
    }
}

/// `2,031 of 2,242 lines understood` where not all were.
#[must_use]
pub fn not_understood(progress: &Progress) -> Option<String> {
    let input = progress.input;
    let odd = input.unknown + input.malformed;
    (odd > 0).then(|| format!("{} of {} lines not understood", count(odd), count(input.lines)))
}
