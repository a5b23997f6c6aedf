//! Logged errors that a reported error may explain.

use crate::protocol::{Log, mask};
use crate::reduce::state::feed::{FEED_LINE, cut};
use crate::reduce::state::fingerprint;
use std::sync::Arc;

/// Maximum number of stored kinds of logged errors per run; further ones are only counted.
pub(crate) const KINDS_KEPT: usize = 64;

/// Maximum number of stored streams of one logged error.
pub(crate) const STREAMS_KEPT: usize = 50;

/// Minimum length in bytes of a text that counts as a quotation.
pub(crate) const MIN_QUOTE_LENGTH: usize = 8;

/// Logged errors of one kind in one attempt.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct LoggedKind {
    pub(crate) fingerprint: u64,
    pub(crate) text: Arc<str>,
    /// Fingerprint of the causing error, if the line has it in a separate field.
    pub(crate) error: Option<u64>,
    /// Streams that the line names.
    pub(crate) streams: Vec<Arc<str>>,
    pub(crate) attempt: u32,
    pub(crate) count: u64,
}

#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct LoggedErrors {
    pub(crate) kinds: Vec<LoggedKind>,
    /// Lines of kinds beyond the bound.
    pub(crate) beyond: u64,
}

impl LoggedErrors {
    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Removes the first `count` kinds, which belong to earlier runs.
    pub(crate) fn forget(&mut self, count: usize, attempt: u32) {
        self.kinds.drain(..count.min(self.kinds.len()));
        self.kinds.retain(|kind| kind.attempt == attempt);
        self.kinds.iter_mut().for_each(|kind| kind.attempt = 1);
        self.beyond = 0;
    }

    /// Adds the text of an error that is no log line of its own, unless it is there already.
    pub(crate) fn add_text(&mut self, text: &str, attempt: u32) {
        let fingerprint = fingerprint::of_error(text, None) ^ u64::from(attempt);
        if !self.kinds.iter().any(|kind| kind.fingerprint == fingerprint) {
            self.add(&Log { message: text.into(), ..Log::default() }, attempt);
        }
    }

    /// Adds a log line; lines that differ in a name are different. The stream is that of the logger.
    pub(crate) fn add_exactly(&mut self, log: &Log, stream: Option<Arc<str>>, attempt: u32) {
        let text = mask::secrets(cut(&log.message, FEED_LINE));
        let streams: Vec<_> = stream.into_iter().collect();
        let same = |kind: &&mut LoggedKind| kind.attempt == attempt && *kind.text == *text && kind.streams == streams;
        if let Some(kind) = self.kinds.iter_mut().find(same) {
            kind.count += 1;
        } else if self.kinds.len() >= KINDS_KEPT {
            self.beyond += 1;
        } else {
            self.kinds.push(LoggedKind { fingerprint: 0, text: text.into(), error: None, streams, attempt, count: 1 });
        }
    }

    pub(crate) fn add(&mut self, log: &Log, attempt: u32) {
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
        let same = |kind: &&mut LoggedKind| kind.fingerprint == fingerprint && kind.streams == streams;
        if let Some(kind) = self.kinds.iter_mut().find(same) {
            kind.count += 1;
        } else if self.kinds.len() >= KINDS_KEPT {
            self.beyond += 1;
        } else {
            let error = error.map(|text| fingerprint::of_error(&mask::secrets(cut(text, FEED_LINE)), None));
            self.kinds.push(LoggedKind { fingerprint, text: text.into(), error, streams, attempt, count: 1 });
        }
    }
}
