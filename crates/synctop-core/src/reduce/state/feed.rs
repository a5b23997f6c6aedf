//! Log lines of the feed: bounded, counted, and part of [`Progress`](crate::reduce::Progress) so
//! that they can be rewound with it.

use crate::protocol::{Level, Millis};
use std::collections::VecDeque;
use std::sync::Arc;

/// Maximum number of stored lines.
pub const FEED_KEPT: usize = 1_000;

/// Maximum stored bytes of a line.
pub const FEED_LINE: usize = 2 * 1024;

/// Origin of a feed line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FeedOrigin {
    /// Log message of the engine, or a note of synctop about a message.
    #[default]
    Log,
    /// Notice of synctop about the feed itself.
    Source,
    /// Text, or JSON without an envelope, in the feed or on stderr.
    Raw,
    /// Message with an unknown kind or status, or of another protocol.
    Unknown,
    /// Line that looks like JSON and does not parse.
    Malformed,
}

/// Stored line of the feed, with its consecutive repetitions.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeedLine {
    /// Line of the input, from 1.
    pub line: u64,
    /// Time of the latest message at the line; `None` without times.
    pub at: Option<Millis>,
    /// Level as logged, or as synctop assigns it to a line without one.
    pub level: Level,
    /// Origin of the line; lines of different origins are no repetitions.
    pub origin: FeedOrigin,
    /// Emitter of the message (`_emitted_by`, or the logger); `None` if not reported.
    pub from: Option<Arc<str>>,
    /// Name of the stream that the line is about; `None` if it names none.
    pub stream: Option<Arc<str>>,
    /// Text of the newest line, if this entry represents several.
    pub text: String,
    /// Number of consecutive lines that differ only in numbers and ids.
    pub times: u64,
}

/// The newest lines and the total number. Consecutive repetitions are one entry with a count.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Feed {
    pub(crate) lines: VecDeque<Arc<FeedLine>>,
    /// Number of entries so far, dropped ones included; repetitions add none.
    pub total: u64,
    /// Fingerprint of the newest line.
    pub(crate) newest: u64,
}

impl Feed {
    /// Adds a line with this text; `line.text` is ignored. `newest` is the text's fingerprint.
    pub(crate) fn push(&mut self, line: FeedLine, text: &str, newest: u64) {
        let repeated = newest == self.newest
            && self
                .lines
                .back()
                .is_some_and(|last| (last.level, last.origin, &last.stream) == (line.level, line.origin, &line.stream));
        // Reuses the buffer of the replaced or dropped line: some logs consist mostly of log lines.
        let old = if repeated {
            self.lines.pop_back()
        } else if self.lines.len() >= FEED_KEPT {
            self.lines.pop_front()
        } else {
            None
        };
        let times = old.as_ref().filter(|_| repeated).map_or(1, |last| last.times + 1);
        self.total += u64::from(!repeated);
        self.newest = newest;
        let mut slot = old.unwrap_or_default();
        let kept = Arc::make_mut(&mut slot);
        let mut room = std::mem::take(&mut kept.text);
        room.clear();
        room.push_str(text);
        *kept = FeedLine { times, text: room, ..line };
        self.lines.push_back(slot);
    }

    /// Appends a text to the newest line and raises its level. Later lines are no repetition of it.
    pub(crate) fn go_on(&mut self, level: Level, text: &str, fingerprint: u64, line: u64) {
        let Some(last) = self.lines.back_mut().map(Arc::make_mut) else { return };
        last.level = last.level.max(level);
        last.line = line;
        if last.text.len() < FEED_LINE {
            last.text.push('\n');
            let room = FEED_LINE - last.text.len().min(FEED_LINE);
            last.text.push_str(cut(text, room));
        }
        self.newest = self.newest.rotate_left(7) ^ fingerprint;
    }

    /// Counts further repetitions of the newest line, the last one on this line of the input.
    pub(crate) fn repeat(&mut self, times: u64, line: u64) {
        if let Some(last) = self.lines.back_mut().map(Arc::make_mut) {
            last.times += times;
            last.line = line;
        }
    }

    /// Creates a feed from stored lines.
    pub(crate) fn of(lines: VecDeque<Arc<FeedLine>>, total: u64, newest: u64) -> Self {
        Self { lines, total, newest }
    }

    /// Returns the number of the oldest stored line among all lines.
    pub(crate) fn first(&self) -> u64 {
        self.total - self.lines.len() as u64
    }

    /// Returns the line with this number among all lines.
    pub(crate) fn line(&self, number: u64) -> Option<&Arc<FeedLine>> {
        self.lines.get(usize::try_from(number.checked_sub(self.first())?).ok()?)
    }

    /// Returns the fingerprint of the newest line.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// Returns the lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> &VecDeque<Arc<FeedLine>> {
        &self.lines
    }
}

/// Returns at most `limit` bytes of a text, cut between characters.
#[must_use]
pub fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
