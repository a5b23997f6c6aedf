//! Errors that an engine logged: bounded, and compared with the errors that it reported.
//!
//! In protocols whose statuses, traces and ends decide, a logged error only adds a reason. A logged
//! error without a reported error that explains it is a doubt about a run that claims completion
//! (`errors_logged`).

use super::Progress;
use super::feed::{FEED_LINE, cut};
use super::fingerprint;
use crate::protocol::{Log, mask};
use std::sync::Arc;

/// Maximum number of stored kinds of logged errors per run; further ones are only counted.
const KINDS_KEPT: usize = 64;

/// Maximum number of stored streams of one logged error.
const STREAMS_KEPT: usize = 50;

/// Minimum length in bytes of a text that counts as a quotation.
const MIN_QUOTE_LENGTH: usize = 8;

/// Logged errors of one kind in one attempt.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Kind {
    fingerprint: u64,
    text: Arc<str>,
    /// Fingerprint of the causing error, if the line has it in a separate field.
    error: Option<u64>,
    /// Streams that the line names.
    streams: Vec<Arc<str>>,
    attempt: u32,
    count: u64,
}

#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct LoggedErrors {
    kinds: Vec<Kind>,
    /// Lines of kinds beyond the bound.
    beyond: u64,
}

impl LoggedErrors {
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Removes the first `count` kinds, which belong to earlier runs.
    pub(super) fn forget(&mut self, count: usize, attempt: u32) {
        self.kinds.drain(..count.min(self.kinds.len()));
        self.kinds.retain(|kind| kind.attempt == attempt);
        self.kinds.iter_mut().for_each(|kind| kind.attempt = 1);
        self.beyond = 0;
    }

    fn add(&mut self, log: &Log, attempt: u32) {
        let context = log.context.as_deref();
        let error = context.and_then(|it| it.error.as_deref()).filter(|error| !error.trim().is_empty());
        let text = mask::secrets(cut(&log.message, FEED_LINE));
        let fingerprint = fingerprint::of_error(&text, None) ^ u64::from(attempt);
        let streams: Vec<Arc<str>> = log
            .stream
            .iter()
            .chain(context.iter().flat_map(|it| &it.failed_streams))
            .take(STREAMS_KEPT)
            .map(|name| mask::secrets(name).into())
            .collect();
        let same = |kind: &&mut Kind| kind.fingerprint == fingerprint && kind.streams == streams;
        if let Some(kind) = self.kinds.iter_mut().find(same) {
            kind.count += 1;
        } else if self.kinds.len() >= KINDS_KEPT {
            self.beyond += 1;
        } else {
            let error = error.map(|text| fingerprint::of_error(&mask::secrets(cut(text, FEED_LINE)), None));
            self.kinds.push(Kind { fingerprint, text: text.into(), error, streams, attempt, count: 1 });
        }
    }
}

impl Progress {
    /// Stores a logged error until the verdict of the run.
    pub(super) fn logged_error(&mut self, log: &Log) {
        if !self.traits().errors_on_stderr {
            self.logged.add(log, self.attempts.max(1));
        }
    }

    /// True if any error was logged in this run.
    pub(super) fn has_logged_errors(&self) -> bool {
        self.logged.len() > 0 || self.last_log_error.is_some()
    }

    /// Returns the logged errors of this run that no reported error explains: their count, and the
    /// text of the first one.
    pub(super) fn unexplained_errors(&self) -> Option<(u64, &str)> {
        let groups = self.errors.groups();
        let reported = |fingerprint: u64| groups.iter().any(|group| group.fingerprint == fingerprint);
        let named = |stream: &Arc<str>| groups.iter().any(|group| group.hits.contains_key(stream));
        let explained = |kind: &Kind| {
            reported(kind.fingerprint ^ u64::from(kind.attempt))
                || kind.error.is_some_and(reported)
                || kind.streams.iter().any(named)
                || groups.iter().any(|group| {
                    // A log line quotes a reported error, or the reverse. Details after the cause
                    // may be missing.
                    let cause = group.message.split(" (table=").next().unwrap_or_default();
                    kind.text.len() >= MIN_QUOTE_LENGTH
                        && (kind.text.contains(cause) || group.message.contains(&*kind.text))
                })
        };
        let mut unexplained = self.logged.kinds.iter().filter(|kind| !explained(kind)).peekable();
        let first = unexplained.peek().map(|kind| &*kind.text).or((self.logged.beyond > 0).then_some("(not kept)"))?;
        Some((unexplained.map(|kind| kind.count).sum::<u64>() + self.logged.beyond, first))
    }
}
