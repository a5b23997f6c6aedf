//! Lead-up of an error: the 60 seconds of a log before it, per stream.
//!
//! An observer watches the progress line by line from the start of the window to the error. It is
//! exact at any instant, because it sees the same lines that the reducer saw.

use crate::protocol::{Level, Millis, Status};
use crate::reduce::past::history::LogPosition;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Stream;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;

/// Length of the window, in milliseconds.
pub const WINDOW_MS: Millis = 60_000;

/// Length of its halves, in milliseconds.
pub const HALF_MS: Millis = WINDOW_MS / 2;

/// Number of lines of the window in a log without times.
pub const WINDOW_LINES: u64 = 500;

/// Number of parts of the window in which retries are counted.
const PARTS: usize = 6;

/// Maximum number of events; the newest ones stay.
const MAX_EVENTS: usize = 200;

/// Maximum bytes of an event's text.
const MAX_TEXT: usize = 400;

/// Instant of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LogInstant {
    /// Line, counted from 1; `None` if only the time is known.
    pub line: Option<u64>,
    /// Time in milliseconds since 1970; `None` in a log without times.
    pub at: Option<Millis>,
}

impl LogInstant {
    fn of(progress: &Progress) -> Self {
        Self { line: Some(progress.input.lines), at: progress.last_at }
    }
}

/// Retry of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RetryEvent {
    /// Line and time of the log message.
    pub instant: LogInstant,
    /// HTTP status; `None` if the connection failed.
    pub status: Option<u16>,
    /// Number of the retry of its request.
    pub attempt: u64,
    /// Maximum number of retries of the request, if reported.
    pub max: Option<u64>,
}

/// Records in one half of the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct HalfRecords {
    /// Records that the stream gained.
    pub records: u64,
    /// Milliseconds of the half that the log covers.
    pub covered_ms: u64,
}

impl HalfRecords {
    /// Returns records per second over the covered time; `None` if nothing is covered.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn per_second(self) -> Option<f64> {
        (self.covered_ms > 0).then(|| self.records as f64 * 1000.0 / self.covered_ms as f64)
    }
}

/// One stream in the window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StreamLeadUp {
    /// Label of the stream.
    pub stream: Arc<str>,
    /// Retries in the window.
    pub retries: u64,
    /// Part of `retries` after status 429.
    pub retries_429: u64,
    /// Retries in each sixth of the window.
    pub retries_by_part: [u64; PARTS],
    /// First retry in the window.
    pub first_retry: Option<RetryEvent>,
    /// Last retry in the window.
    pub last_retry: Option<RetryEvent>,
    /// Rate limits that the source announced in the window.
    pub rate_limits: u64,
    /// Checkpoints in the window.
    pub checkpoints: u64,
    /// Last checkpoint before the error, also one before the window.
    pub last_checkpoint: Option<LogInstant>,
    /// Records in the window; `None` if the engine reports no counts.
    pub records: Option<u64>,
    /// Records up to 30 seconds before the error.
    pub first_half: Option<HalfRecords>,
    /// Records in the last 30 seconds.
    pub last_half: Option<HalfRecords>,
    /// Last line in the window that added records; known for the stream of the error only.
    pub last_records: Option<LogInstant>,
    /// Status at the end of the window, such as `started`.
    pub status: &'static str,
}

/// Kind of an event in the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LeadEventKind {
    /// Start of an attempt.
    Attempt {
        /// Number of the attempt in its run.
        number: u32,
    },
    /// Start of a run.
    Run,
    /// Status change of a stream.
    Status {
        /// Status before, such as `started`.
        from: &'static str,
        /// Status after.
        to: &'static str,
    },
    /// Log line of level warn or error that is no retry.
    Log {
        /// Level, such as `WARN`.
        level: &'static str,
        /// Text, cut after 400 bytes.
        text: String,
    },
    /// Line of the engine's stderr.
    Stderr {
        /// Text, cut after 400 bytes.
        text: String,
    },
}

/// Event in the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeadEvent {
    /// Line and time of the event.
    pub instant: LogInstant,
    /// Label of its stream, if it has one.
    pub stream: Option<Arc<str>>,
    /// Kind, with its particulars.
    #[serde(flatten)]
    pub kind: LeadEventKind,
}

/// Lead-up of an error, or of any instant.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LeadUp {
    /// Label of the stream of the error; `None` for an error of the whole run.
    pub stream: Option<Arc<str>>,
    /// Error at the end of the window; `None` if that line reports none.
    pub error: Option<LeadError>,
    /// End of the window.
    pub end: LogInstant,
    /// Milliseconds that the window covers: 60,000, or less if the log starts later.
    pub covered_ms: Option<u64>,
    /// Streams with activity: that of the error first, then by retries and records.
    pub streams: Vec<StreamLeadUp>,
    /// Events in the order of the log, the newest 200.
    pub events: Vec<LeadEvent>,
    /// Earlier events that were left out.
    pub events_beyond: u64,
}

/// Error at the end of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeadError {
    /// Kind, such as `auth_error`.
    pub kind: String,
    /// Message, with secrets masked.
    pub message: Arc<str>,
}

/// Stream that the observer tracks.
#[derive(Debug, Clone, Default)]
struct Tracked {
    found: StreamLeadUp,
    base_records: u64,
    half_records: u64,
    records: u64,
    retries: u64,
    checkpoints: u64,
    base_checkpoints: u64,
    limits: u64,
    base_limits: u64,
    status: &'static str,
}

/// Observer of the progress between the start of a window and its end.
#[derive(Debug, Clone)]
pub struct LeadUpObserver {
    subject: Option<Arc<str>>,
    /// Time of the error.
    until: Option<Millis>,
    streams: Vec<Tracked>,
    retries: u64,
    transitions: u64,
    attempts: (u64, u32),
    feed_total: u64,
    stderr: Option<Arc<str>>,
    stderr_lines: usize,
    started_at: Option<Millis>,
    events: VecDeque<LeadEvent>,
    events_beyond: u64,
}

fn status_of(stream: &Stream) -> &'static str {
    if stream.details.failed_in.is_some() { Status::Errored.as_str() } else { stream.status.as_str() }
}

fn short(text: &str) -> String {
    crate::format::short(&crate::protocol::clean::line(text), MAX_TEXT)
}

impl LeadUpObserver {
    /// Creates an observer. `subject` is the label of the stream with the error, `until` the time of
    /// the error, `progress` the state before the first line of the window.
    #[must_use]
    pub fn new(subject: Option<Arc<str>>, until: Option<Millis>, progress: &Progress) -> Self {
        let mut observer = Self {
            subject,
            until,
            streams: Vec::new(),
            retries: progress.counters.retries,
            transitions: progress.counters.transitions,
            attempts: (progress.runs.total, progress.attempts),
            feed_total: progress.feed.total,
            stderr: progress.stderr.tail.back().cloned(),
            stderr_lines: progress.stderr.tail.len(),
            started_at: progress.last_at,
            events: VecDeque::new(),
            events_beyond: 0,
        };
        observer.track_new(progress, true);
        observer
    }

    /// Tracks streams that have become known. Before the window (`base`) their counts are the base.
    fn track_new(&mut self, progress: &Progress, base: bool) {
        for stream in progress.streams.iter().skip(self.streams.len()) {
            let mut tracked = Tracked { status: Status::NotStarted.as_str(), ..Tracked::default() };
            tracked.found.stream = Arc::clone(&stream.label);
            if base {
                let records = stream.records.cumulative.get().unwrap_or(0);
                (tracked.base_records, tracked.half_records, tracked.records) = (records, records, records);
                tracked.retries = stream.retries();
                (tracked.base_checkpoints, tracked.checkpoints) =
                    (stream.details.checkpoints, stream.details.checkpoints);
                (tracked.base_limits, tracked.limits) = (stream.details.limits.0, stream.details.limits.0);
                tracked.status = status_of(stream);
                tracked.found.last_checkpoint =
                    stream.details.last_checkpoint_at.get().map(|at| LogInstant { line: None, at: Some(at) });
            }
            self.streams.push(tracked);
        }
    }

    /// Marks the middle of the window: 30 seconds before the error.
    pub fn middle(&mut self, progress: &Progress) {
        self.track_new(progress, false);
        for (tracked, stream) in self.streams.iter_mut().zip(&progress.streams) {
            tracked.half_records = stream.records.cumulative.get().unwrap_or(0).max(tracked.base_records);
        }
    }

    /// Takes the progress after a line, or after a line of stderr.
    pub fn note(&mut self, progress: &Progress) {
        if self.started_at.is_none() {
            self.started_at = progress.first_at.or(progress.last_at);
        }
        self.track_new(progress, false);
        let here = LogInstant::of(progress);
        let retried = progress.counters.retries != self.retries;
        if retried {
            self.retries = progress.counters.retries;
            self.note_retries(progress, here);
        }
        if progress.counters.transitions != self.transitions {
            self.transitions = progress.counters.transitions;
            self.note_statuses(progress, here);
        }
        let attempts = (progress.runs.total, progress.attempts);
        if attempts != self.attempts {
            let kind = if attempts.0 == self.attempts.0 {
                LeadEventKind::Attempt { number: attempts.1 }
            } else {
                LeadEventKind::Run
            };
            // The first attempt of a log starts it.
            if self.attempts.1 > 0 {
                self.push(LeadEvent { instant: here, stream: None, kind });
            }
            self.attempts = attempts;
        }
        self.note_subject(progress, here);
        self.note_log(progress, here, retried);
        self.note_stderr(progress, here);
    }

    fn note_retries(&mut self, progress: &Progress, here: LogInstant) {
        let part = self.until.zip(here.at).map_or(PARTS - 1, |(until, at)| {
            let before_end = (until - at).clamp(0, WINDOW_MS - 1);
            PARTS - 1 - usize::try_from(before_end * PARTS as Millis / WINDOW_MS).unwrap_or(0)
        });
        for (tracked, stream) in self.streams.iter_mut().zip(&progress.streams) {
            let Some(retry) = stream.details.retry.as_ref().filter(|retry| retry.count != tracked.retries) else {
                continue;
            };
            // A new run starts the count again.
            let more = if retry.count > tracked.retries { retry.count - tracked.retries } else { retry.count };
            tracked.retries = retry.count;
            let event = RetryEvent { instant: here, status: retry.status, attempt: retry.attempt, max: retry.max };
            let found = &mut tracked.found;
            found.retries += more;
            found.retries_429 += if retry.status == Some(429) { more } else { 0 };
            if let Some(count) = found.retries_by_part.get_mut(part) {
                *count += more;
            }
            found.first_retry.get_or_insert(event);
            found.last_retry = Some(event);
        }
    }

    fn note_statuses(&mut self, progress: &Progress, here: LogInstant) {
        let mut changes = Vec::new();
        for (tracked, stream) in self.streams.iter_mut().zip(&progress.streams) {
            let now = status_of(stream);
            let from = std::mem::replace(&mut tracked.status, now);
            if from != now {
                let kind = LeadEventKind::Status { from, to: now };
                changes.push(LeadEvent { instant: here, stream: Some(Arc::clone(&stream.label)), kind });
            }
        }
        for event in changes {
            self.push(event);
        }
    }

    /// Follows records and checkpoints of the stream of the error.
    fn note_subject(&mut self, progress: &Progress, here: LogInstant) {
        let Some(subject) = &self.subject else { return };
        for (tracked, stream) in self.streams.iter_mut().zip(&progress.streams) {
            if stream.label != *subject {
                continue;
            }
            let records = stream.records.cumulative.get().unwrap_or(0);
            if records > tracked.records {
                tracked.found.last_records = Some(here);
            }
            tracked.records = records;
            if stream.details.checkpoints > tracked.checkpoints {
                tracked.found.last_checkpoint = Some(here);
            }
            tracked.checkpoints = stream.details.checkpoints;
        }
    }

    fn note_log(&mut self, progress: &Progress, here: LogInstant, retried: bool) {
        let new = progress.feed.total.saturating_sub(self.feed_total);
        self.feed_total = progress.feed.total;
        if new == 0 || retried {
            return;
        }
        let lines = progress.feed.lines();
        let skip = lines.len().saturating_sub(usize::try_from(new).unwrap_or(usize::MAX));
        for line in lines.iter().skip(skip).filter(|line| line.level >= Level::Warn) {
            let kind = LeadEventKind::Log { level: line.level.as_str(), text: short(&line.text) };
            self.push(LeadEvent { instant: here, stream: line.stream.clone(), kind });
        }
    }

    fn note_stderr(&mut self, progress: &Progress, here: LogInstant) {
        let tail = &progress.stderr.tail;
        let newest = tail.back();
        let is_same = newest.zip(self.stderr.as_ref()).is_some_and(|(new, old)| Arc::ptr_eq(new, old));
        if newest.is_none() || (is_same && tail.len() == self.stderr_lines) {
            return;
        }
        self.stderr = newest.cloned();
        self.stderr_lines = tail.len();
        if let Some(text) = newest {
            let kind = LeadEventKind::Stderr { text: short(text) };
            self.push(LeadEvent { instant: here, stream: None, kind });
        }
    }

    fn push(&mut self, event: LeadEvent) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
            self.events_beyond += 1;
        }
        self.events.push_back(event);
    }

    /// Returns the lead-up that ends with this progress.
    #[must_use]
    pub fn finish(mut self, progress: &Progress) -> LeadUp {
        self.track_new(progress, false);
        let covered = self.until.zip(self.started_at).map(|(until, start)| (until - start).clamp(0, WINDOW_MS));
        let covered_ms = covered.and_then(|covered| u64::try_from(covered).ok());
        let half = HALF_MS.unsigned_abs();
        let halves = covered_ms.map(|covered| (covered.saturating_sub(half), covered.min(half)));
        let (first_ms, last_ms) = halves.unwrap_or((0, 0));
        let subject = self.subject.clone();
        // If the engine reports no counts at all, they are unknown and not zero.
        let is_counted = progress.cumulative_records().is_some();
        let mut streams: Vec<_> = self
            .streams
            .into_iter()
            .zip(&progress.streams)
            .map(|(tracked, stream)| {
                let records = stream.records.cumulative.get().unwrap_or(0).max(tracked.half_records);
                let mut found = tracked.found;
                let half = |records, covered_ms| is_counted.then_some(HalfRecords { records, covered_ms });
                found.records = is_counted.then(|| records - tracked.base_records.min(records));
                found.first_half = half(tracked.half_records - tracked.base_records, first_ms);
                found.last_half = half(records - tracked.half_records, last_ms);
                found.checkpoints = stream.details.checkpoints.saturating_sub(tracked.base_checkpoints);
                found.rate_limits = stream.details.limits.0.saturating_sub(tracked.base_limits);
                found.status = status_of(stream);
                if found.last_checkpoint.is_none() || subject.as_ref() != Some(&stream.label) {
                    let last = stream.details.last_checkpoint_at.get();
                    found.last_checkpoint = last.map(|at| LogInstant { line: None, at: Some(at) });
                }
                found
            })
            .collect();
        let is_subject = |found: &StreamLeadUp| subject.as_ref() == Some(&found.stream);
        streams.retain(|found| {
            is_subject(found) || found.retries + found.records.unwrap_or(0) + found.checkpoints + found.rate_limits > 0
        });
        streams.sort_by_key(|found| {
            (!is_subject(found), std::cmp::Reverse(found.retries), std::cmp::Reverse(found.records))
        });
        let error = error_at(progress, subject.as_deref());
        LeadUp {
            stream: subject,
            error,
            end: LogInstant::of(progress),
            covered_ms,
            streams,
            events: self.events.into(),
            events_beyond: self.events_beyond,
        }
    }
}

/// Returns the error that the last line of `progress` reports.
fn error_at(progress: &Progress, stream: Option<&str>) -> Option<LeadError> {
    let line = progress.input.lines;
    let here = |group: &&Arc<crate::reduce::state::errors::ErrorGroup>| {
        group.places.back().is_some_and(|place| place.line == line && place.stream.as_deref() == stream)
    };
    let group = progress.errors.groups().iter().find(here)?;
    Some(LeadError { kind: group.kind().to_owned(), message: Arc::clone(&group.message) })
}

/// Returns the stream of the error that the last line of `progress` reports; `None` if that line
/// reports none, or one of the whole run.
#[must_use]
pub fn stream_at(progress: &Progress) -> Option<Arc<str>> {
    let line = progress.input.lines;
    let here = progress.errors.groups().iter().filter_map(|group| group.places.back());
    here.filter(|place| place.line == line).find_map(|place| place.stream.clone())
}

/// Returns the position of the error that a stream or an error group ended with.
#[must_use]
pub fn place_of_error(progress: &Progress, group: u64, stream: Option<&str>) -> Option<LogPosition> {
    let group = progress.errors.get(group)?;
    let of_stream = |place: &&crate::reduce::state::errors::ErrorPlace| {
        stream.is_none_or(|stream| place.stream.as_deref() == Some(stream))
    };
    let place = group.places.iter().rev().find(of_stream).or(group.places.back())?;
    Some(LogPosition { bytes: 0, lines: place.line, at: place.at })
}
