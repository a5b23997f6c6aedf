//! State of one attempt.

use crate::protocol::{EndReason, Millis, Side};
use crate::reduce::state::errors::ErrorPlace;
use crate::reduce::state::runs;
use std::sync::Arc;

/// The end message of an attempt.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ended {
    /// Reason of the end, as the engine claims it; evidence may contradict it.
    pub word: EndReason,
    /// Reason or status on the wire, verbatim except for masked secrets; `None` without one.
    pub reason: Option<Arc<str>>,
    /// True if the engine has more to read; `None` if neither reported nor implied by the reason.
    pub has_more: Option<bool>,
    /// True if the end still reports "started" but no stream's state has anything left: there was
    /// nothing to do.
    pub up_to_date: bool,
    /// Time of the message.
    pub at: Option<Millis>,
}

impl Ended {
    /// True if the message claims that the sync is complete.
    #[must_use]
    pub fn claims_complete(&self) -> bool {
        self.has_more != Some(true)
            && match self.word {
                EndReason::Complete => true,
                EndReason::Unsaid => self.has_more == Some(false),
                _ => false,
            }
    }
}

/// Last exception of each side.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct LastExceptions {
    source: Option<Arc<str>>,
    destination: Option<Arc<str>>,
}

impl LastExceptions {
    pub(crate) fn set(&mut self, side: Side, text: Arc<str>) {
        match side {
            Side::Source => self.source = Some(text),
            Side::Destination => self.destination = Some(text),
        }
    }

    pub(crate) fn get(&self, side: Side) -> Option<&Arc<str>> {
        match side {
            Side::Source => self.source.as_ref(),
            Side::Destination => self.destination.as_ref(),
        }
    }
}

/// State of the last attempt.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    /// True between the start and the end of the attempt.
    pub open: bool,
    /// Time of the message that started the attempt; `None` if no message has had a time.
    pub started_at: Option<Millis>,
    /// The end message; `None` until it comes, and if the input ends without one.
    pub end: Option<Ended>,
    /// Reported result of connecting to the source or destination.
    pub connection: Option<bool>,
    /// True if a catalog listed the requested streams.
    pub(crate) catalog: bool,
    /// True if the last message so far was a failure without a stream.
    pub(crate) last_message_failed: bool,
    /// True once it is known whether the engine's own counters restarted.
    pub(crate) counters_known: bool,
    /// Start time of the engine's counters, as reported. It moves until the engine counts.
    pub(crate) counters_since: Option<Millis>,
    /// True if the engine reported a status of any stream, so that a stream without one is
    /// unfinished.
    pub(crate) statuses: bool,
    /// True if the engine was asked to stop.
    pub stopping: bool,
    /// Final error that repeats the errors of the streams.
    pub roll_up: Option<Arc<str>>,
    /// Group id of the run's error that explains streams that failed without a reason.
    pub(crate) cause: Option<u64>,
    /// Fatal log line that no reported error has repeated yet, and its place.
    pub(crate) fatal: Option<(Arc<str>, ErrorPlace)>,
    /// Failed exit of one of the programs that the engine ran, as a clause.
    pub program_exit: Option<Arc<str>>,
    /// True if the program that failed last is the source.
    pub(crate) source_failed: bool,
    /// Error group of a failed program whose exit code is not known yet.
    pub(crate) exit_group: Option<u64>,
    /// Last exception that a program of each side printed.
    pub(crate) last_exceptions: LastExceptions,
    /// Exception that is the cause only if there is no other.
    pub(crate) fallback: Option<Arc<str>>,
    /// Announcement that the engine's process ends.
    pub(crate) closing: Option<runs::Closing>,
}
