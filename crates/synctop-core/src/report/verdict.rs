//! Wording of the verdict: outcome, cause, next step.

use super::advice::{Advice, ReadAgain};
use super::headline::{Headline, describe_exit};
use crate::format::{count, duration, plural, short};
use crate::protocol::error_text::core;
use crate::protocol::shell::KILLED;
use crate::protocol::{EndReason, Millis, Status, clean, is_generic_error};
use crate::reduce::{
    Digest, Doubt, DoubtKind, ErrorGroup, Exit, Outcome, Progress, Stream, doubts, has_unreported_ending, outcome,
    rows_may_be_missing, signal_name, stall_verdict, standing,
};

/// Verdict on one state of a run, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Outcome of the last run.
    pub outcome: Outcome,
    /// Outcome with its notes, the time of work and the engine's own words.
    pub headline: Headline,
    /// Cause, as a clause.
    pub why: Option<String>,
    /// Next step; `None` for a running sync, and for a success without a doubt.
    pub next: Option<Advice>,
}

/// Returns the verdict by the messages so far.
#[must_use]
pub fn verdict(progress: &Progress) -> Verdict {
    let outcome = outcome(progress);
    Verdict { outcome, headline: Headline::of(progress), why: why(progress, outcome), next: next(progress, outcome) }
}

/// Formats the cause as `disputes: auth_error, the key lacks 'Disputes Read'`.
fn cause(progress: &Progress, group: &ErrorGroup) -> String {
    let streams: Vec<_> = group.streams().take(3).map(|name| clean::line(name).into_owned()).collect();
    let all = group.streams().count();
    let who = match (all, streams.join(", ")) {
        (0, _) => String::new(),
        (1..=3, names) => format!("{names}: "),
        (all, names) => format!("{names} and {} more: ", all - 3),
    };
    let kind = group.failure_type.as_deref().map(|kind| format!("{}, ", clean::line(kind))).unwrap_or_default();
    let share = if all > 1 && progress.streams.len() > 1 {
        format!(" ({} of {})", count(all as u64), plural(progress.streams.len(), "stream"))
    } else {
        String::new()
    };
    format!("{who}{kind}{}{share}", short(&core(&group.message), 200))
}

fn why(progress: &Progress, outcome: Outcome) -> Option<String> {
    let standing = standing(progress);
    // A sentence that only announces an error counts where there is no other.
    let mut reasons: Vec<_> = standing.iter().filter(|group| !is_generic_error(&group.message)).collect();
    if reasons.is_empty() {
        reasons = standing.iter().collect();
    }
    let error = reasons.first().map(|group| cause(progress, group));
    let also = |text: String| match reasons.len() {
        0 | 1 => text,
        2 => format!("{text}; and one more kind of error"),
        n => format!("{text}; and {} more kinds of error", n - 1),
    };
    let end = progress.attempt.end.as_ref();
    match outcome {
        Outcome::Running => error.map(also),
        Outcome::Succeeded => {
            let doubts = doubts(progress);
            let whole = |doubt: &&Doubt| doubt.kind == DoubtKind::NothingSynced && doubt.stream.is_none();
            let missing = missing_rows(progress, &doubts);
            missing.or_else(|| doubts.iter().find(whole).map(|doubt| doubt.finding.to_string()))
        }
        Outcome::Failed if progress.attempt.stopping && standing.is_empty() => {
            Some(format!("it was stopped: {}", missing(progress)))
        }
        // Only the raw lines can be quoted.
        Outcome::Failed
            if progress.input.messages == 0
                && progress.evidence.last_log_error.is_none()
                && standing.iter().all(|group| group.from_log) =>
        {
            left_by_warning(progress).or_else(|| Some(truncated(progress)))
        }
        Outcome::Failed => {
            let text = error.map(also).map(|text| with_program_exit(progress, with_roll_up_note(progress, text)));
            text.or_else(|| left_by_warning(progress)).or_else(|| Some(unexplained(progress)))
        }
        Outcome::CompletedWithErrors => error.map(also).or_else(|| left_by_warning(progress)).or_else(|| {
            let doubts = doubts(progress);
            let left = doubts.iter().find(|doubt| doubt.kind == DoubtKind::RangesLeft)?;
            Some(left.to_string())
        }),
        Outcome::CutOff => {
            let what = match end.map(|end| end.word) {
                Some(EndReason::Limit) => "a limit ended it",
                Some(EndReason::Unknown) => "it ended for an unknown reason",
                Some(EndReason::StillStarted) if end.is_some_and(|end| end.has_more != Some(true)) => {
                    "its end still reports started, and that nothing is left"
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
        Outcome::Aborted if end.is_none() && !progress.attempt.stopping => {
            Some(format!("it exited with 0, and its metrics report a failure: {}", missing(progress)))
        }
        Outcome::Aborted if end.is_none() || progress.attempt.stopping => {
            Some(format!("it was stopped{}: {}", exit_zero_clause(progress), missing(progress)))
        }
        Outcome::Aborted => Some("the engine reports that it was aborted".into()),
        Outcome::Unknown => Some(unknown(progress)),
        Outcome::Truncated => {
            Some(match error.filter(|_| reasons.iter().any(|group| !is_generic_error(&group.message))) {
                Some(error) => also(format!("{}; before that {error}", truncated(progress))),
                None => truncated(progress),
            })
        }
    }
}

/// Returns the first doubt about missing rows, with its streams.
fn missing_rows(progress: &Progress, doubts: &[Doubt]) -> Option<String> {
    if !rows_may_be_missing(progress) {
        return None;
    }
    let doubt = doubts.iter().find(|doubt| doubt.kind.loses_rows())?;
    Some(doubt.to_string())
}

/// Explains an input that ended with nothing open and an unknown ending.
fn unknown(progress: &Progress) -> String {
    if progress.counters.beyond.mentions > 0 {
        let max = count(progress.max_streams() as u64);
        return format!("it has more streams than the limit of {max}, and the statuses of the others are unknown");
    }
    if has_unreported_ending(progress) {
        return format!("unknown ending: its streams report no status{}", last_words_clause(progress));
    }
    if progress.input.lines == 0 || progress.input.messages == 0 {
        return truncated(progress);
    }
    if progress.attempt.connection == Some(true) {
        return "the connection succeeded; how the command ended is not known".into();
    }
    if progress.streams.iter().any(|stream| stream.took_part()) {
        return "every started stream is complete, and the ending of the run is unknown".into();
    }
    "no stream was synced, and its ending is unknown".into()
}

/// Returns a clause with the last words on stderr, to append to a sentence.
fn last_words_clause(progress: &Progress) -> String {
    progress.last_words().map(|line| format!("; its last words: {}", short(line, 160))).unwrap_or_default()
}

/// Appends that the engine's final error only repeats these causes.
fn with_roll_up_note(progress: &Progress, text: String) -> String {
    match progress.attempt.roll_up {
        Some(_) => format!("{text} (the engine's final error repeats these)"),
        None => text,
    }
}

/// Appends the failed exit of one of the engine's programs, unless the cause has it already.
fn with_program_exit(progress: &Progress, text: String) -> String {
    match progress.attempt.program_exit.as_deref() {
        Some(exit) if !text.contains(exit) && !exit.contains(text.as_str()) => format!("{text} ({exit})"),
        _ => text,
    }
}

/// Names the streams that were left out, with the warning of the first.
fn left_by_warning(progress: &Progress) -> Option<String> {
    let left: Vec<_> = progress.streams_by_name().filter(|stream| stream.left_by_warning).collect();
    let reason = short(left.first()?.details.message.as_deref().unwrap_or_default(), 200);
    let names: Vec<_> = left.iter().take(3).map(|stream| clean::line(&stream.label).into_owned()).collect();
    let more = if left.len() > 3 { format!(" and {} more", left.len() - 3) } else { String::new() };
    Some(format!("{}{more} left out: {reason}", names.join(", ")))
}

/// Explains a failure without an error.
fn unexplained(progress: &Progress) -> String {
    match (progress.exit.filter(|exit| exit.failed()), progress.last_words()) {
        (Some(exit), Some(words)) => format!("{}; its last words: {}", describe_exit(exit), short(words, 160)),
        (Some(exit), None) => format!("{}, without a reason", describe_exit(exit)),
        (None, _) => "the engine reports a failure without an error".into(),
    }
}

fn exit_zero_clause(progress: &Progress) -> &'static str {
    if progress.exit == Some(Exit::Code(0)) { ", but exited with 0" } else { "" }
}

/// Lists unfinished work: `orders (137,249 records) was not finished; users never started`.
fn missing(progress: &Progress) -> String {
    let names = |streams: &[&Stream]| {
        let mut names: Vec<_> = streams.iter().take(3).map(|stream| named(stream)).collect();
        if streams.len() > 3 {
            names.push(format!("{} more", count(streams.len() as u64 - 3)));
        }
        names.join(", ")
    };
    let of = |wanted: &dyn Fn(&Stream) -> bool| -> Vec<&Stream> {
        progress.streams_by_name().map(AsRef::as_ref).filter(|stream| wanted(stream)).collect()
    };
    let begun = of(&|stream| matches!(stream.status, Status::Started | Status::Errored));
    let never = of(&|stream| stream.status == Status::NotStarted);
    let under_way = of(&|stream| stream.status == Status::Completed && !progress.is_delivered(stream));
    let be = |streams: &[&Stream], one: &'static str, many: &'static str| if streams.len() == 1 { one } else { many };
    let mut parts = Vec::new();
    if !begun.is_empty() {
        parts.push(format!("{} {} not finished", names(&begun), be(&begun, "was", "were")));
    }
    if !never.is_empty() {
        parts.push(format!("{} never started", names(&never)));
    }
    if !under_way.is_empty() {
        parts.push(format!("of {} not all is confirmed by the destination", names(&under_way)));
    }
    if parts.is_empty() { "its completion is not reported".into() } else { parts.join("; ") }
}

/// Formats a stream as `orders (137,249 records)`.
fn named(stream: &Stream) -> String {
    let name = clean::line(&stream.label).into_owned();
    match stream.records.cumulative.get().filter(|count| *count > 0) {
        Some(number) => format!("{name} ({})", plural(usize::try_from(number).unwrap_or(usize::MAX), "record")),
        None => name,
    }
}

fn truncated(progress: &Progress) -> String {
    if progress.traits().ends_with_process && (progress.input.messages > 0 || !progress.streams.is_empty()) {
        let torn = if progress.input.truncated_line { ", in the middle of a line" } else { "" };
        let how = match progress.exit {
            Some(Exit::Code(0)) => "it exited with 0 without finishing".to_owned(),
            None if has_unreported_ending(progress) => "its ending is unknown".to_owned(),
            Some(exit) if exit.signal().is_some() => {
                let signal = exit.signal().unwrap_or(0);
                let name = signal_name(signal).map(|name| format!(" ({name})")).unwrap_or_default();
                format!("it was killed by signal {signal}{name}")
            }
            _ => "it ended without a final status".to_owned(),
        };
        let said = progress.last_words().map(|line| format!("; its last words: {}", short(line, 160)));
        let missing =
            if has_unreported_ending(progress) { "its streams report no status".to_owned() } else { missing(progress) };
        return format!("{how}{torn}: {missing}{}", said.unwrap_or_default());
    }
    let said = progress.last_words().map(|line| format!("; its last words: {}", short(line, 160))).unwrap_or_default();
    let exit = progress.exit.map(|exit| format!(" ({})", describe_exit(exit))).unwrap_or_default();
    if progress.input.lines == 0 {
        return match progress.exit {
            Some(_) => format!("the engine ended{exit} and printed nothing{said}"),
            None => "the input is empty".into(),
        };
    }
    if progress.input.messages == 0 {
        if let Some((name, _)) = &progress.evidence.platform {
            return format!("{} of {name}, which is not a feed{exit}{said}", lines_read(progress));
        }
        return format!("{}, and none is a message of an engine{exit}{said}", lines_read(progress));
    }
    let torn = if progress.input.truncated_line { ", in the middle of a line" } else { "" };
    if let (Some(end), Some(exit)) = (&progress.attempt.end, progress.exit) {
        let word = end.reason.as_deref().unwrap_or("an end");
        return format!("the engine said \"{word}\", then it was {}{said}", describe_exit(exit));
    }
    format!("the input ended without an end message{torn}{exit}: the engine was stopped or died{said}")
}

fn lines_read(progress: &Progress) -> String {
    plural(usize::try_from(progress.input.lines).unwrap_or(usize::MAX), "line") + " read"
}

/// Returns a warning if none of many lines, or of all lines of a quiet feed, was understood:
/// waiting does not help.
#[must_use]
pub fn unreadable_feed_warning(progress: &Progress, quiet: bool) -> Option<String> {
    let enough = progress.input.lines >= 20 || (quiet && progress.input.lines > 0);
    if progress.input.messages > 0 || !enough {
        return None;
    }
    let said = progress
        .evidence
        .last_raw_error
        .as_deref()
        .map(|line| format!("; the last error in them: {}", short(line, 160)));
    let read = lines_read(progress);
    Some(format!("{read}, and none is a message of an engine{}", said.unwrap_or_default()))
}

fn next(progress: &Progress, outcome: Outcome) -> Option<Advice> {
    let standing = standing(progress);
    let fix = standing.first().map(|group| Advice::for_error(progress, group));
    let read_again = rows_may_be_missing(progress).then(|| ReadAgain::of(progress));
    let no_messages = progress.input.messages == 0;
    let has_stderr = !progress.stderr.tail.is_empty();
    Some(match outcome {
        Outcome::Running => return None,
        Outcome::Succeeded => {
            let doubts = doubts(progress);
            match (read_again, doubts.first()?.kind) {
                (Some(streams), _) => Advice::ReadAgain(streams),
                (None, DoubtKind::StateAhead) => Advice::RowsReadAgain,
                (None, DoubtKind::NothingSynced) => Advice::CheckStreamNames,
                (None, DoubtKind::RecountAfterResume) => Advice::CompareRowCounts,
                (None, DoubtKind::ErrorsLogged) => Advice::CheckLoggedErrors,
                (None, _) => Advice::SeeDoubts(doubts.len()),
            }
        }
        Outcome::Failed | Outcome::CompletedWithErrors => match (fix, read_again) {
            (Some(Advice::Fix { remedy, repeat, .. }), read_again) => Advice::Fix { remedy, repeat, read_again },
            (Some(other), _) => other,
            (None, Some(streams)) => Advice::ReadAgain(streams),
            (None, None) if progress.attempt.stopping => Advice::StartWhenReady,
            (None, None) if left_by_warning(progress).is_some() => {
                let left = progress.streams_by_name().find(|stream| stream.left_by_warning);
                let text = left.and_then(|stream| stream.details.message.as_deref()).unwrap_or_default();
                Advice::for_message(None, text, false)
            }
            (None, None) if progress.exit.is_some_and(Exit::failed) => Advice::SeeStderrOrLog,
            (None, None) => Advice::SeeRangesLeft,
        },
        Outcome::CutOff => match progress.attempt.end.as_ref().map(|end| end.word) {
            Some(EndReason::Unknown) => Advice::SeeEngineLog,
            Some(EndReason::StillStarted) if progress.streams.is_empty() => Advice::CheckRequestedNames,
            _ => Advice::CallAgain(read_again),
        },
        Outcome::Aborted if progress.attempt.end.is_none() => Advice::restart(progress),
        Outcome::Aborted => Advice::StartWhenReady,
        Outcome::Truncated | Outcome::Unknown if no_messages && progress.evidence.platform.is_some() => {
            let (_, advice) = progress.evidence.platform.as_ref()?;
            Advice::GetFeed(advice.clone())
        }
        Outcome::Truncated if progress.last_words().is_some_and(|words| words.contains(KILLED)) => {
            Advice::for_message(None, progress.last_words().unwrap_or_default(), false)
        }
        Outcome::Truncated if no_messages && has_stderr => Advice::FixAndSeeStderr,
        Outcome::Unknown if no_messages && has_stderr => Advice::SeeAllOfStderr,
        Outcome::Truncated | Outcome::Unknown if no_messages => Advice::CheckInput,
        Outcome::Truncated if fix.is_some() => return fix,
        Outcome::Truncated if progress.traits().ends_with_process => Advice::restart(progress),
        Outcome::Truncated => Advice::SeeLogAndStart,
        Outcome::Unknown if progress.counters.beyond.mentions > 0 => Advice::RaiseMaxStreams,
        Outcome::Unknown if has_unreported_ending(progress) => Advice::PassExitCodeOrStderr,
        Outcome::Unknown => Advice::PassExitCode,
    })
}

/// Returns the most important problem of a running sync, if there is one: stalls and standing
/// errors.
#[must_use]
pub fn trouble(progress: &Progress, digest: &Digest, now: Millis) -> Option<String> {
    let silent = digest.with(|state| now > state.stalled_after).filter_map(|at| progress.streams.get(at));
    let stalls: Vec<_> = silent.filter_map(|stream| Some((stream, stall_verdict(stream, now)?))).collect();
    let stalled = stalls.iter().max_by_key(|(_, stall)| stall.silent_ms).map(|(stream, stall)| {
        let silent = duration(u64::try_from(stall.silent_ms).unwrap_or(0) / 1000 * 1000);
        match stalls.len() {
            1 => format!("{} has been silent for {silent}", clean::line(&stream.label)),
            all => format!("{all} streams are stalled, {} for {silent}", clean::line(&stream.label)),
        }
    });
    let standing = standing(progress);
    let error = standing.first().map(|group| {
        let act = if group.permanent() || group.failure_type.is_none() { " (needs action)" } else { "" };
        let more = match standing.len() {
            0 | 1 => String::new(),
            all => format!(" (+{} more)", all - 1),
        };
        format!("{}{act}{more}", cause(progress, group))
    });
    match (stalled, error) {
        (Some(stalled), Some(error)) => Some(format!("{stalled}; {error}")),
        (stalled, error) => stalled.or(error),
    }
}

/// Returns `31 of 2,242 lines not understood`, if there are any.
#[must_use]
pub fn not_understood(progress: &Progress) -> Option<String> {
    let input = progress.input;
    let odd = input.unknown + input.malformed;
    (odd > 0).then(|| format!("{} of {} lines not understood", count(odd), count(input.lines)))
}
