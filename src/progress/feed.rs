//! The feed's own log lines: bounded, counted, part of [`super::Progress`] so that they can be rewound with it.

use super::fingerprint;
use crate::protocol::{Level, Millis};
use std::collections::VecDeque;
use std::sync::Arc;

/// Lines kept.
pub const FEED_KEPT: usize = 1_000;

/// Bytes kept of a line.
pub const FEED_LINE: usize = 2 * 1024;

/// What a feed line was before it was text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Log,
    /// About the feed, from ourselves.
    Source,
    Raw,
    Unknown,
    Malformed,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FeedLine {
    /// Line of the input, from 1.
    pub line: u64,
    pub at: Option<Millis>,
    pub level: Level,
    pub origin: Origin,
    pub from: Option<Arc<str>>,
    pub stream: Option<Arc<str>>,
    /// Of the last one, where it stands for several.
    pub text: Arc<str>,
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
    pub(super) fn push(&mut self, line: FeedLine) {
        let newest = fingerprint::of(&line.text);
        if newest == self.newest
            && let Some(last) = self.lines.back_mut()
            && (last.level, last.origin, &last.stream) == (line.level, line.origin, &line.stream)
        {
            let times = last.times + 1;
            *last = Arc::new(FeedLine { times, ..line });
            return;
        }
        self.newest = newest;
        if self.lines.len() >= FEED_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(Arc::new(line));
        self.total += 1;
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
