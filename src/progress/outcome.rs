//! The verdict on the last attempt.

use super::{Exit, Progress, Stream};
use crate::protocol::{EndWord, Status};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Running,
    Succeeded,
    CompletedWithErrors,
    Failed,
    CutOff,
    Aborted,
    Truncated,
}

impl Outcome {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::CompletedWithErrors => "completed_with_errors",
            Self::Failed => "failed",
            Self::CutOff => "cut_off",
            Self::Aborted => "aborted",
            Self::Truncated => "truncated",
        }
    }

    /// 0 done, 1 failed or done with errors, 2 not finished.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::CompletedWithErrors | Self::Failed => 1,
            Self::Running | Self::CutOff | Self::Aborted | Self::Truncated => 2,
        }
    }
}

/// What came of the last attempt, by the messages so far.
#[must_use]
pub fn outcome(progress: &Progress) -> Outcome {
    let end = progress.attempt.end.as_ref();
    if !progress.closed && end.is_none() {
        return Outcome::Running;
    }
    if end.is_some_and(|end| end.word == EndWord::Aborted) || (end.is_none() && progress.was_stopped()) {
        return Outcome::Aborted;
    }
    if failed(progress) {
        return Outcome::Failed;
    }
    let Some(end) = end else { return by_process(progress) };
    if !end.claims_complete() {
        return Outcome::CutOff;
    }
    let left = progress.streams.iter().any(|stream| stream.left > 0);
    if left || standing(progress) {
        return Outcome::CompletedWithErrors;
    }
    Outcome::Succeeded
}

/// Any error that nothing has made up for.
fn standing(progress: &Progress) -> bool {
    progress.errors.groups().iter().any(|group| group.stands()) || progress.errors.beyond_in(progress.attempts).0
}

/// Without an end message: what the streams' own statuses and the end of the process let stand.
fn by_process(progress: &Progress) -> Outcome {
    let checked = progress.attempt.connection == Some(true) || progress.answered;
    if progress.attempts == 0 {
        // A command that was no sync: what it was asked for is there.
        return if checked { Outcome::Succeeded } else { Outcome::Truncated };
    }
    let killed = progress.exit.is_some_and(|exit| exit.signal().is_some());
    if !progress.manners().ends_with_process || killed || progress.streams.is_empty() || open(progress).next().is_some()
    {
        return Outcome::Truncated;
    }
    if progress.manners().says_end && progress.exit != Some(Exit::Code(0)) {
        return Outcome::Truncated;
    }
    let failed = progress.streams.iter().any(|stream| stream.status == Status::Errored);
    if failed || standing(progress) { Outcome::CompletedWithErrors } else { Outcome::Succeeded }
}

/// Streams of the last attempt that nothing says are through: begun, asked for and never begun, or not yet at the destination.
pub fn open(progress: &Progress) -> impl Iterator<Item = &Stream> {
    progress.streams_by_name().map(AsRef::as_ref).filter(|stream| match stream.status {
        Status::Started => true,
        Status::NotStarted => stream.asked || (stream.open_before && progress.manners().ends_with_process),
        Status::Completed => !progress.arrived(stream),
        Status::Skipped | Status::Errored => false,
    })
}

fn failed(progress: &Progress) -> bool {
    let attempt = &progress.attempt;
    let now = progress.attempts;
    if attempt.end.as_ref().is_some_and(|end| end.word == EndWord::Failed) || attempt.connection == Some(false) {
        return true;
    }
    if progress.manners().ends_with_process || progress.input.messages == 0 {
        let failed = |stream: &Stream| stream.failed_in == Some(now) || stream.status == Status::Errored;
        let by_process = attempt.end.is_none() && progress.exit.is_some_and(Exit::failed);
        if by_process || (attempt.roll_up.is_some() && progress.streams.iter().any(|stream| failed(stream))) {
            return true;
        }
    }
    // It ended well, and its streams did not: that is told as it is.
    let ended_well =
        attempt.end.is_none() && progress.exit == Some(Exit::Code(0)) && progress.manners().ends_with_process;
    let groups = progress.errors.groups();
    let whole_run = |hit: &super::Hit| hit.attempt == now && !hit.cleared;
    if progress.errors.beyond_in(now).1
        || groups.iter().any(|group| group.permanent() && group.hits.get("").is_some_and(whole_run))
    {
        return true;
    }
    let struck = groups.iter().any(|group| group.hits.values().any(|hit| hit.attempt == now && !hit.cleared));
    if struck {
        let mut started = progress.streams.iter().filter(|stream| stream.took_part()).peekable();
        let none_started = started.peek().is_none();
        if !none_started && !ended_well && started.all(|stream| stream.failed_in == Some(now)) {
            return true;
        }
        if none_started && !progress.streams.iter().any(|stream| stream.ever_started) {
            return true;
        }
    }
    attempt.end.is_none() && attempt.last_word_failed
}
