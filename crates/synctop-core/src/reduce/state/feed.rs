//! Log lines of the feed: bounded, counted, and part of [`Progress`](crate::reduce::Progress) so
//! that they can be rewound with it.

use crate::protocol::{Level, Millis, mask};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

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
    /// Text of the newest line, if this entry represents several; secrets masked.
    pub text: FeedText,
    /// Number of consecutive lines that differ only in numbers and ids.
    pub times: u64,
}

/// Text of a feed line. Its secrets are masked when it is first read: most lines of a long log are
/// dropped before anything reads them.
#[derive(Clone, Default)]
pub struct FeedText {
    received: String,
    /// Masked text; `None` if the received one has no secrets.
    masked: OnceLock<Option<Box<str>>>,
}

impl FeedText {
    /// Returns the text with its secrets masked.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let masked = self.masked.get_or_init(|| match mask::secrets(&self.received) {
            Cow::Borrowed(text) if text == self.received => None,
            masked => Some((&*masked).into()),
        });
        masked.as_deref().unwrap_or(&self.received)
    }

    /// Sets the text, and keeps the allocation of the one before.
    fn set(&mut self, text: &str) {
        self.received.clear();
        self.received.push_str(text);
        self.masked.take();
    }

    /// Sets a text that is masked already.
    fn set_masked(&mut self, text: String) {
        *self = Self { received: text, masked: OnceLock::from(None) };
    }
}

impl Deref for FeedText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for FeedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl PartialEq for FeedText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl serde::Serialize for FeedText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for FeedText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Self::default();
        text.set_masked(String::deserialize(deserializer)?);
        Ok(text)
    }
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
    /// Adds a line with this text, whose secrets are not masked yet; `line.text` is ignored. `newest`
    /// is the text's fingerprint.
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
        room.set(cut(text, FEED_LINE));
        *kept = FeedLine { times, text: room, ..line };
        self.lines.push_back(slot);
    }

    /// Appends a masked text to the newest line and raises its level. Later lines are no repetition of
    /// it.
    pub(crate) fn go_on(&mut self, level: Level, text: &str, fingerprint: u64, line: u64) {
        let Some(last) = self.lines.back_mut().map(Arc::make_mut) else { return };
        last.level = last.level.max(level);
        last.line = line;
        if last.text.len() < FEED_LINE {
            let room = FEED_LINE - (last.text.len() + 1).min(FEED_LINE);
            let text = format!("{}\n{}", last.text.as_str(), cut(text, room));
            last.text.set_masked(text);
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
