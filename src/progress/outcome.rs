//! The verdict on the last attempt.

use super::Progress;
use crate::protocol::EndWord;

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
    if end.is_some_and(|end| end.word == EndWord::Aborted) {
        return Outcome::Aborted;
    }
    if failed(progress) {
        return Outcome::Failed;
    }
    let Some(end) = end else {
        let only_a_check = progress.attempts == 0 && progress.attempt.connection == Some(true);
        return if only_a_check { Outcome::Succeeded } else { Outcome::Truncated };
    };
    if !end.claims_complete() {
        return Outcome::CutOff;
    }
    let left = progress.streams.iter().any(|stream| stream.left > 0);
    if left
        || progress.errors.groups().iter().any(|group| group.stands())
        || progress.errors.beyond_in(progress.attempts).0
    {
        return Outcome::CompletedWithErrors;
    }
    Outcome::Succeeded
}

fn failed(progress: &Progress) -> bool {
    let attempt = &progress.attempt;
    let now = progress.attempts;
    if attempt.end.as_ref().is_some_and(|end| end.word == EndWord::Failed) || attempt.connection == Some(false) {
        return true;
    }
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
        if !none_started && started.all(|stream| stream.failed_in == Some(now)) {
            return true;
        }
        if none_started && !progress.streams.iter().any(|stream| stream.ever_started) {
            return true;
        }
    }
    attempt.end.is_none() && attempt.last_word_failed
}
