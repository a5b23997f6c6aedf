//! Outcome of the last run.

use crate::protocol::{EndReason, Status, is_generic_error};
use crate::reduce::state::errors::ErrorGroup;
use crate::reduce::state::input::Exit;
use crate::reduce::state::outcome::Outcome;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Stream;
use std::sync::Arc;

/// Returns the outcome of the last run by the messages so far. Success is unknown if the run has
/// streams beyond the maximum number, because their statuses are.
#[must_use]
pub fn outcome(progress: &Progress) -> Outcome {
    match outcome_of_stored(progress) {
        Outcome::Succeeded if progress.counters.beyond.mentions > 0 => Outcome::Unknown,
        outcome => outcome,
    }
}

/// Returns the outcome by the streams that are stored.
fn outcome_of_stored(progress: &Progress) -> Outcome {
    let end = progress.attempt.end.as_ref();
    if !progress.closed && end.is_none() {
        return Outcome::Running;
    }
    // A failing exit code overrides the claims of the feed.
    if progress.exit.is_some_and(Exit::failed) {
        return Outcome::Failed;
    }
    if end.is_some_and(|end| end.word == EndReason::Aborted) || (end.is_none() && progress.was_stopped()) {
        return Outcome::Aborted;
    }
    if failed(progress) {
        return Outcome::Failed;
    }
    if progress.exit.is_some_and(|exit| exit.signal().is_some()) {
        return if has_reason(progress) { Outcome::Failed } else { Outcome::Truncated };
    }
    let Some(end) = end else { return without_end(progress) };
    let left = progress.streams.iter().any(|stream| stream.has_ranges_left());
    match end.claims_complete() || end.up_to_date {
        true if left || has_standing_error(progress) => Outcome::CompletedWithErrors,
        true => Outcome::Succeeded,
        false => Outcome::CutOff,
    }
}

/// True if any error stands.
fn has_standing_error(progress: &Progress) -> bool {
    progress.errors.groups().iter().any(|group| group.stands())
        || progress.errors.beyond_in(progress.attempts).0
        || progress.counters.beyond.failed > 0
}

/// True if an error stands that tells more than that there was one.
fn has_reason(progress: &Progress) -> bool {
    let tells = |group: &Arc<ErrorGroup>| group.stands() && !is_generic_error(&group.message);
    progress.errors.groups().iter().any(tells) || progress.errors.beyond_in(progress.attempts).0
}

/// Returns the outcome of an input without an end message: by the streams' statuses and the exit of
/// the process.
fn without_end(progress: &Progress) -> Outcome {
    let traits = progress.traits();
    let exit_zero = progress.exit == Some(Exit::Code(0));
    let left = |stream: &Arc<Stream>| stream.left_by_warning;
    let synced =
        |stream: &Arc<Stream>| stream.status == Status::Completed || stream.seen > 0 || stream.details.checkpoints > 0;
    let are_all_stored = progress.counters.beyond.mentions == 0;
    if are_all_stored && progress.streams.iter().any(left) && !progress.streams.iter().any(synced) {
        return Outcome::Failed;
    }
    if progress.attempts == 0 {
        return without_sync(progress, exit_zero);
    }
    if has_unreported_ending(progress) {
        return Outcome::Unknown;
    }
    let cut = progress.input.truncated_line || open(progress).next().is_some() || progress.streams.is_empty();
    if cut || (traits.reports_end && !exit_zero) {
        return Outcome::Truncated;
    }
    // Statuses count as an end only in protocols that have no other.
    if !exit_zero && !traits.ends_with_process {
        return Outcome::Unknown;
    }
    let failed = progress.streams.iter().any(|stream| stream.status == Status::Errored || stream.left_by_warning);
    if failed || has_standing_error(progress) { Outcome::CompletedWithErrors } else { Outcome::Succeeded }
}

/// Returns the outcome of a command other than a sync: a check, a specification, a list of streams,
/// a setup.
fn without_sync(progress: &Progress, exit_zero: bool) -> Outcome {
    let checked = progress.attempt.connection == Some(true) && (exit_zero || progress.traits().ends_with_process);
    // A tap that had nothing to read prints nothing but its log.
    let quiet = exit_zero && (progress.input.messages > 0 || (progress.input.lines == 0 && progress.stderr.parser.tap));
    // An engine that printed errors and nothing else did no work.
    if exit_zero && progress.input.messages == 0 && progress.has_logged_errors() {
        return Outcome::Failed;
    }
    match checked || progress.requested.answered || quiet {
        // Nothing started, and an error was logged: it is the result.
        true if quiet && !progress.requested.answered && progress.has_logged_errors() => Outcome::Failed,
        true => Outcome::Succeeded,
        false => Outcome::Unknown,
    }
}

/// True if no message of the feed itself reports a status, and the exit of the process is unknown.
pub(crate) fn has_unreported_ending(progress: &Progress) -> bool {
    progress.exit.is_none()
        && progress.traits().ends_with_process
        && progress.input.messages > 0
        && !progress.attempt.statuses
        && !progress.input.truncated_line
        && progress.streams.iter().all(|stream| {
            // Records that only metrics count have no checkpoint behind them.
            let is_metered = stream.seen == 0 && stream.records.cumulative.get().unwrap_or(0) > 0;
            stream.status != Status::Started || (stream.seen == stream.marked && !is_metered)
        })
}

/// Returns the unfinished streams of the last attempt: started, requested and never started, or not
/// yet at the destination.
pub fn open(progress: &Progress) -> impl Iterator<Item = &Stream> {
    let ends_with_process = progress.traits().ends_with_process;
    // A stream list that no engine requested and that nothing follows is the answer to a discovery.
    let syncs = progress.emitters.iter().any(|from| **from == *"engine")
        || progress.streams.iter().any(|stream| stream.took_part());
    progress.streams_by_name().map(AsRef::as_ref).filter(move |stream| match stream.status {
        Status::Started => true,
        Status::NotStarted if ends_with_process => stream.asked || stream.open_before,
        Status::NotStarted => stream.asked || stream.open_before || (syncs && (stream.in_catalog || stream.reported)),
        Status::Completed => !progress.is_delivered(stream),
        Status::Skipped | Status::Errored => false,
    })
}

fn failed(progress: &Progress) -> bool {
    let attempt = &progress.attempt;
    let now = progress.attempts;
    if attempt.end.as_ref().is_some_and(|end| end.word == EndReason::Failed) || attempt.connection == Some(false) {
        return true;
    }
    let fell = |stream: &Stream| stream.details.failed_in == Some(now) || stream.status == Status::Errored;
    if attempt.roll_up.is_some() && progress.streams.iter().any(|stream| fell(stream)) {
        return true;
    }
    let groups = progress.errors.groups();
    let whole_run = |hit: &crate::reduce::state::errors::Hit| hit.attempt == now && !hit.cleared;
    if progress.errors.beyond_in(now).1
        || groups.iter().any(|group| {
            // The exception of a thread did not end its program.
            let ended = |hit: &&crate::reduce::state::errors::Hit| group.failure_type.is_some() || hit.is_final;
            group.permanent() && group.hits.get("").filter(ended).is_some_and(whole_run)
        })
    {
        return true;
    }
    let struck = groups.iter().any(|group| group.hits.values().any(|hit| hit.attempt == now && !hit.cleared));
    // Streams beyond the maximum number may have started, and not failed.
    if struck && progress.counters.beyond.mentions == 0 {
        let mut started = progress.streams.iter().filter(|stream| stream.took_part()).peekable();
        let none_started = started.peek().is_none();
        if !none_started && started.all(|stream| stream.details.failed_in == Some(now)) {
            return true;
        }
        if none_started && !progress.streams.iter().any(|stream| stream.ever_started) {
            return true;
        }
    }
    attempt.end.is_none() && attempt.last_message_failed
}

/// Returns the standing error groups, most important first.
#[must_use]
pub fn standing(progress: &Progress) -> Vec<&Arc<ErrorGroup>> {
    let mut groups: Vec<_> = progress.errors.groups().iter().filter(|group| group.stands()).collect();
    groups.sort_by_key(|group| (group.level, std::cmp::Reverse(group.permanent()), std::cmp::Reverse(group.count)));
    groups
}
