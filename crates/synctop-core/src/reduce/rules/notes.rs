//! Notes for operators: feed log, retries, anomalies, last log lines of an engine.

use crate::format::duration;
use crate::protocol::error_text::core;
use crate::protocol::python::Traceback;
use crate::protocol::{Level, Log, Millis, mask};
use crate::reduce::state::errors::{ErrorPlace, TEXT_KEPT};
use crate::reduce::state::feed::{FEED_LINE, FeedLine, FeedOrigin, cut};
use crate::reduce::state::fingerprint;
use crate::reduce::state::input::Anomaly;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Retrying;
use std::borrow::Cow;
use std::sync::Arc;

/// Maximum number of anomalies counted by stream; further ones are counted without a stream.
const ANOMALY_STREAMS: usize = 500;

/// Maximum stored bytes of an emitter's name or of an unknown stream's name.
const NAME_KEPT: usize = 200;

/// Maximum number of remembered requested streams.
const MAX_REQUESTED_STREAMS: usize = 10_000;

/// Text of a feed line, with its fingerprint. Its secrets are not masked yet.
#[derive(Debug)]
pub(crate) struct Note<'a> {
    text: Cow<'a, str>,
    fingerprint: u64,
}

impl<'a> Note<'a> {
    fn new(text: Cow<'a, str>) -> Self {
        let text = if text.is_empty() { Cow::Borrowed("(no message)") } else { text };
        Self { fingerprint: fingerprint::of_line(cut(&text, FEED_LINE)), text }
    }
}

/// Last reason of a retry, and its core: retries of a request limit all have the same.
#[derive(Debug, Default)]
pub(crate) struct RetryReason {
    text: String,
    core: String,
}

impl RetryReason {
    fn core_of(&mut self, text: &str) -> Cow<'_, str> {
        if text.len() > TEXT_KEPT {
            return core(text).into();
        }
        if self.text != text {
            *self = Self { text: text.to_owned(), core: core(text) };
        }
        self.core.as_str().into()
    }
}

/// Returns the feed text of a log line.
pub(crate) fn log_note<'a>(log: &Log<'a>, reason: &mut RetryReason) -> Note<'a> {
    let Some(retry) = &log.retry else { return Note::new(log.message.clone()) };
    // The status and the reason come first, because a narrow pane cuts the rest.
    let what = retry.status.map_or_else(|| "connection".to_owned(), |status| format!("HTTP {status}"));
    let of = retry.max.map(|max| format!("/{max}")).unwrap_or_default();
    let error = retry.error.as_deref().map_or(Cow::Borrowed(""), |text| reason.core_of(text));
    let delay = duration(retry.delay_ms);
    Note::new(format!("{what}, retry {}{of} in {delay}: {error} ({})", retry.attempt, log.message).into())
}

impl Progress {
    pub(crate) fn log(&mut self, log: &Log, from: Option<&str>, note: Option<Note>) {
        for name in &log.asked {
            let name = mask::secrets(name);
            if self.requested.asked.len() < MAX_REQUESTED_STREAMS
                && !self.requested.asked.iter().any(|known| **known == *name)
            {
                self.requested.asked.push(name.into());
            }
        }
        if let Some(retry) = &log.retry {
            self.counters.retries += 1;
            let now = self.last_at.unwrap_or(0);
            let at = log.stream.as_deref().and_then(|name| self.find_key(name));
            if let Some(at) = at {
                self.change(at, |stream| {
                    let count = stream.details.retry.as_ref().map_or(0, |retry| retry.count) + 1;
                    stream.details.retry = Some(Retrying {
                        status: retry.status,
                        count,
                        attempt: retry.attempt,
                        max: retry.max,
                        last_at: now,
                        until: now.saturating_add(Millis::try_from(retry.delay_ms).unwrap_or(0)),
                        error: retry.error.as_deref().map(|text| mask::secrets(cut(text, FEED_LINE)).into()),
                    });
                });
            }
        }
        match log.level {
            Level::Error if !log.message.trim().is_empty() => self.logged_error(log),
            Level::Warn => self.logged_warning(log, from),
            _ => {}
        }
        if let Some(context) = &log.context {
            if let Some(id) = &context.run_id {
                self.run_id(&mask::secrets(id));
            }
            self.at_risk(&context.at_risk);
            if let Some(word) = &context.process {
                self.process_word(word);
            }
        }
        if log.level >= Level::Error && !log.message.trim().is_empty() {
            let place = ErrorPlace { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream: None };
            self.evidence.last_log_error = Some((mask::secrets(cut(&log.message, TEXT_KEPT)).into(), place));
        }
        if log.fatal {
            self.note_process_end(true);
            let place = ErrorPlace { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream: None };
            self.attempt.fatal = Some((mask::secrets(cut(&log.message, TEXT_KEPT)).into(), place));
        }
        let note = note.unwrap_or_else(|| log_note(log, &mut RetryReason::default()));
        self.keep(log.level, FeedOrigin::Log, from, log.stream.as_deref(), &note);
    }

    /// Adds a notice about the feed itself (a file was replaced, is gone, cannot be read).
    pub fn notice(&mut self, text: &str) {
        self.note(Level::Warn, FeedOrigin::Source, None, None, text);
    }

    /// Appends a line of a traceback to the line above it, and returns true if it is one. The last
    /// line of a traceback is the exception.
    pub(crate) fn append_traceback_line(&mut self, text: &str) -> bool {
        let was = self.evidence.raw_traceback;
        if !self.evidence.raw_traceback.accepts_line(text) {
            return false;
        }
        if was == Traceback::Open && self.evidence.raw_traceback == Traceback::Raised {
            self.evidence.last_raw_error = Some(mask::secrets(cut(text, FEED_LINE)).into());
        }
        let above = self.feed.lines().back().map(|line| (line.origin, line.line));
        if above != Some((FeedOrigin::Raw, self.input.lines.saturating_sub(1))) {
            self.note(Level::Error, FeedOrigin::Raw, None, None, text);
            return true;
        }
        let note = Note::new(text.into());
        let text = mask::secrets(cut(&note.text, FEED_LINE));
        self.feed.go_on(Level::Error, &text, note.fingerprint, self.input.lines);
        true
    }

    /// Adds a line to the feed log, which masks its secrets.
    pub(crate) fn note(
        &mut self,
        level: Level,
        origin: FeedOrigin,
        from: Option<&str>,
        stream: Option<&str>,
        text: &str,
    ) {
        self.keep(level, origin, from, stream, &Note::new(text.into()));
    }

    fn keep(&mut self, level: Level, origin: FeedOrigin, from: Option<&str>, stream: Option<&str>, note: &Note) {
        // Reuses the allocations of known names.
        let from = from.map(|from| {
            self.emitters
                .iter()
                .find(|known| ***known == *from)
                .cloned()
                .unwrap_or_else(|| mask::secrets(cut(from, NAME_KEPT)).into())
        });
        let stream = stream.map(|name| {
            let known = self.stream(name).map(|stream| &stream.label).filter(|known| ***known == *name);
            known.cloned().unwrap_or_else(|| mask::secrets(cut(name, NAME_KEPT)).into())
        });
        let at = self.last_at;
        let line = FeedLine { line: self.input.lines, at, level, origin, from, stream, ..FeedLine::default() };
        self.feed.push(line, &note.text, note.fingerprint);
    }

    pub(crate) fn anomaly(&mut self, kind: Anomaly, stream: Option<Arc<str>>) {
        self.anomaly_times(kind, stream, 1);
    }

    pub(crate) fn anomaly_times(&mut self, kind: Anomaly, stream: Option<Arc<str>>, times: u64) {
        let key = (kind, stream);
        let room = self.anomalies.len() < ANOMALY_STREAMS || self.anomalies.contains_key(&key);
        *self.anomalies.entry(if room { key } else { (kind, None) }).or_default() += times;
    }

    pub(crate) fn forget_anomaly(&mut self, kind: Anomaly, stream: &Arc<str>) {
        let key = (kind, Some(stream.clone()));
        if let Some(count) = self.anomalies.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.anomalies.remove(&key);
            }
        }
    }
}
