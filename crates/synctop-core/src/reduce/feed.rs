//! The feed's own log lines: bounded, counted, part of [`super::Progress`] so that they can be
//! rewound with it.

use crate::protocol::{Level, Millis};
use std::collections::VecDeque;
use std::sync::Arc;

/// Lines kept.
pub const FEED_KEPT: usize = 1_000;

/// Bytes kept of a line.
pub const FEED_LINE: usize = 2 * 1024;

/// Origin of a feed line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FeedOrigin {
    #[default]
    Log,
    /// About the feed, from ourselves.
    Source,
    Raw,
    Unknown,
    Malformed,
}

#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeedLine {
    /// Line of the input, from 1.
    pub line: u64,
    pub at: Option<Millis>,
    pub level: Level,
    pub origin: FeedOrigin,
    pub from: Option<Arc<str>>,
    pub stream: Option<Arc<str>>,
    /// Of the last one, where it stands for several.
    pub text: String,
    /// Lines in a row that differ in numbers and ids only.
    pub times: u64,
}

/// The newest lines, and how many there were; repeats in a row stand as one with their number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Feed {
    lines: VecDeque<Arc<FeedLine>>,
    pub total: u64,
    /// Fingerprint of the newest line.
    newest: u64,
}

impl Feed {
    /// Takes in a line whose text (in `text`, not yet in the line) has the fingerprint `newest`.
    pub(super) fn push(&mut self, line: FeedLine, text: &str, newest: u64) {
        let repeated = newest == self.newest
            && self
                .lines
                .back()
                .is_some_and(|last| (last.level, last.origin, &last.stream) == (line.level, line.origin, &line.stream));
        // The room of a line that goes, or that this one stands for too, is used again: a log may
        // have more log lines than others.
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

    /// The newest line goes on with this text: it is as bad as that, and no other is its repeat.
    pub(super) fn go_on(&mut self, level: Level, text: &str, fingerprint: u64, line: u64) {
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

    /// The newest line came so many times more, the last time as this line of the input.
    pub(super) fn repeat(&mut self, times: u64, line: u64) {
        if let Some(last) = self.lines.back_mut().map(Arc::make_mut) {
            last.times += times;
            last.line = line;
        }
    }

    /// One that has these lines.
    pub(super) fn of(lines: VecDeque<Arc<FeedLine>>, total: u64, newest: u64) -> Self {
        Self { lines, total, newest }
    }

    /// The number of the oldest line that is kept, among all there were.
    pub(super) fn first(&self) -> u64 {
        self.total - self.lines.len() as u64
    }

    /// The line of this number among all there were.
    pub(super) fn line(&self, number: u64) -> Option<&Arc<FeedLine>> {
        self.lines.get(usize::try_from(number.checked_sub(self.first())?).ok()?)
    }

    /// Fingerprint of the newest line.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Oldest first.
    #[must_use]
    pub fn lines(&self) -> &VecDeque<Arc<FeedLine>> {
        &self.lines
    }
}

/// At most `limit` bytes of a text, cut between characters.
#[must_use]
pub fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
