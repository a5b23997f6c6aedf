//! State of the stderr parser.

use crate::protocol::Status;
use crate::protocol::python::Traceback;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Maximum number of stored last lines.
pub(crate) const TAIL_LINES: usize = 20;

/// Maximum number of lines buffered until the protocol is known, and of held-back facts about
/// unknown streams.
pub(crate) const MAX_BUFFERED_LINES: usize = 1_000;

pub(crate) const MAX_HELD_FACTS: usize = 10_000;

/// Maximum number of programs whose tracebacks are kept apart.
const MAX_SPEAKERS: usize = 16;

/// Traceback of one program.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct TracebackState {
    pub(crate) state: Traceback,
    pub(crate) text: String,
    /// Error group that the traceback belongs to.
    pub(crate) group: Option<u64>,
    /// Last error-level line before the traceback.
    pub(crate) error: Option<Arc<str>>,
    /// True if the traceback follows a logged error.
    pub(crate) caught: bool,
    /// True if the error is an exception of this traceback, and not a logged one before it.
    pub(crate) is_raised: bool,
    /// True if the exception ended a thread, and not its program.
    pub(crate) in_thread: bool,
}

/// State of the stderr parser.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StderrParser {
    /// State of the current traceback.
    pub(crate) trace: TracebackState,
    /// Program whose lines are parsed, in the log of another one that runs several.
    pub(crate) speaker: Option<Arc<str>>,
    /// Tracebacks of the other programs, whose lines alternate.
    pub(crate) others: BTreeMap<Option<Arc<str>>, TracebackState>,
    /// True while a message beside the feed (a log line, not a protocol message) is applied.
    pub(crate) is_beside_feed: bool,
    /// True while a line of a separate pipe is parsed, whose order relative to the feed is unknown.
    pub(crate) is_separate_pipe: bool,
    /// True while held-back facts are applied.
    pub(crate) is_releasing_facts: bool,
    /// Loggers of a tap and of a target that were seen, and the id of the first process with
    /// counts.
    pub(crate) tap: bool,
    pub(crate) target: bool,
    pub(crate) first: Option<u64>,
    /// Lines received before the protocol was known.
    pub(crate) early: VecDeque<Box<str>>,
    /// Log lines of the feed from before its first message.
    pub(crate) early_feed: VecDeque<Box<str>>,
    /// Facts about streams that the feed has not named yet.
    pub(crate) held: Vec<(Box<str>, HeldFact)>,
}

/// Fact about a stream that was reported beside the feed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum HeldFact {
    /// Number of records, and the id of the reporting process.
    Records(u64, Option<u64>),
    Status(Status),
}

impl StderrParser {
    /// Forgets the processes of the attempt before.
    pub(crate) fn forget_processes(&mut self) {
        (self.tap, self.target, self.first) = (false, false, None);
    }

    /// Resets the traceback.
    pub(crate) fn clear(&mut self) {
        self.trace = TracebackState::default();
    }

    /// Buffers a log line until the first message of the feed.
    pub(crate) fn buffer_feed_line(&mut self, text: &str) {
        if self.early_feed.len() >= MAX_BUFFERED_LINES {
            self.early_feed.pop_front();
        }
        self.early_feed.push_back(text.into());
    }

    /// Continues with the lines of another program, which has its own traceback.
    pub(crate) fn switch_to(&mut self, speaker: Option<&str>) {
        if self.speaker.as_deref() == speaker {
            return;
        }
        let next: Option<Arc<str>> = speaker.map(Into::into);
        let trace = self.others.remove(&next).unwrap_or_default();
        let before = std::mem::replace(&mut self.trace, trace);
        if self.others.len() < MAX_SPEAKERS {
            self.others.insert(self.speaker.take(), before);
        }
        self.speaker = next;
    }
}
