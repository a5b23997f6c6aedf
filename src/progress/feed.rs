//! The feed's own log lines: bounded, counted, part of [`super::Progress`] so that they can be rewound with it.

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
    pub text: Arc<str>,
}

/// The newest lines, and how many there were.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Feed {
    lines: VecDeque<Arc<FeedLine>>,
    pub total: u64,
}

impl Feed {
    pub(super) fn push(&mut self, line: FeedLine) {
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
