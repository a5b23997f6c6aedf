//! Headline of a run: outcome in capitals, notes, elapsed time, the engine's own words.

use crate::format::duration;
use crate::protocol::clean;
use crate::reduce::{Exit, Outcome, Progress, nothing_synced, outcome, rows_may_be_missing, signal_name};
use std::fmt;

/// Headline of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headline {
    /// Outcome of the last run.
    pub outcome: Outcome,
    /// Additions to the outcome, in the order of the title.
    pub notes: Vec<HeadlineNote>,
    /// Milliseconds of work, if known. The times of the messages may not include its start.
    pub elapsed_ms: Option<u64>,
    /// Reason of the end in the engine's own words.
    pub reason: Option<String>,
    /// Exit of the engine's process, if known.
    pub exit: Option<Exit>,
}

/// Addition to the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadlineNote {
    /// The command was no sync and printed an answer.
    Answered,
    /// The command was no sync and tested the connection.
    Connected,
    /// The run ended, and no stream was synced.
    NothingSynced,
    /// The run succeeded, and rows may be missing at the destination.
    RowsMayBeMissing,
    /// The run succeeded, and nothing was left to read.
    UpToDate,
}

impl Headline {
    /// Returns the headline by the messages so far.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        let outcome = outcome(progress);
        let end = progress.attempt.end.as_ref();
        let succeeded = outcome == Outcome::Succeeded;
        let mut notes = Vec::new();
        let mut note = |is: bool, note: HeadlineNote| notes.extend(is.then_some(note));
        let no_sync = progress.closed && progress.attempts == 0 && succeeded;
        note(no_sync && progress.requested.answered, HeadlineNote::Answered);
        note(no_sync && !progress.requested.answered && progress.attempt.connection.is_some(), HeadlineNote::Connected);
        note(nothing_synced(progress, outcome), HeadlineNote::NothingSynced);
        note(succeeded && rows_may_be_missing(progress), HeadlineNote::RowsMayBeMissing);
        note(succeeded && end.is_some_and(|end| end.up_to_date), HeadlineNote::UpToDate);
        Self {
            outcome,
            notes,
            elapsed_ms: progress.counters.elapsed.cumulative.get().filter(|elapsed| *elapsed > 0),
            reason: end.and_then(|end| end.reason.as_deref()).map(|reason| clean::line(reason).into_owned()),
            exit: progress.exit,
        }
    }

    /// Returns the outcome and its notes in capitals: `SUCCEEDED, UP TO DATE`.
    #[must_use]
    pub fn title(&self) -> String {
        let mut text = title(self.outcome).to_owned();
        for note in &self.notes {
            text.push_str(match note {
                HeadlineNote::Answered => ": ANSWERED, NOTHING WAS SYNCED",
                HeadlineNote::Connected => ": CONNECTED, NOTHING WAS SYNCED",
                HeadlineNote::NothingSynced => ", NOTHING SYNCED",
                HeadlineNote::RowsMayBeMissing => ", ROWS MAY BE MISSING",
                HeadlineNote::UpToDate => ", UP TO DATE",
            });
        }
        text
    }

    /// Returns the title with the elapsed time: `FAILED after 04:31`.
    #[must_use]
    pub fn title_with_time(&self) -> String {
        let after = self.elapsed_ms.map(|elapsed| format!(" after {}", duration(elapsed))).unwrap_or_default();
        format!("{}{after}", self.title())
    }

    /// Returns the engine's reason, unless it is the word of the outcome, and the exit: `(engine
    /// says: complete, exit 1)`.
    #[must_use]
    pub fn engine_words(&self) -> Option<String> {
        let is_same = |reason: &&String| match self.outcome {
            Outcome::Succeeded => matches!(reason.as_str(), "complete" | "completed" | "succeeded"),
            Outcome::Failed => reason.as_str() == "failed",
            _ => false,
        };
        let reason = self.reason.as_ref().filter(|reason| !is_same(reason));
        let reason = reason.map(|reason| format!("engine says: {reason}"));
        let words: Vec<_> = reason.into_iter().chain(self.exit.map(describe_exit)).collect();
        (!words.is_empty()).then(|| format!("({})", words.join(", ")))
    }
}

/// Writes `COMPLETED WITH ERRORS after 04:31  (engine says: complete, exit 0)`.
impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title_with_time())?;
        match self.engine_words() {
            Some(words) => write!(f, "  {words}"),
            None => Ok(()),
        }
    }
}

pub(super) fn title(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Running => "STILL RUNNING",
        Outcome::Succeeded => "SUCCEEDED",
        Outcome::CompletedWithErrors => "COMPLETED WITH ERRORS",
        Outcome::Failed => "FAILED",
        Outcome::CutOff => "CUT OFF",
        Outcome::Aborted => "ABORTED",
        Outcome::Truncated => "TRUNCATED",
        Outcome::Unknown => "ENDING UNKNOWN",
    }
}

/// Formats an exit as `exit 1`, `killed by SIGKILL` or `killed by signal 34`.
#[must_use]
pub fn describe_exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => match signal_name(signal) {
            Some(name) => format!("killed by {name}"),
            None => format!("killed by signal {signal}"),
        },
    }
}
