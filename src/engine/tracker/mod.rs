//! Progress stage of an engine: converts raw messages of a connector to messages of an engine.
//! Pure: the caller passes the time.
//!
//! ```text
//! source -> record, source_state, log, control, unknown kinds ---------------------------> unchanged
//!           stream_status, global_progress, trace/error, catalog, eof --> tracker -----> stream_status + global_progress on
//!                                        state of the last attempt --> memory.rs --^     transitions; eof with the new state
//! ```
//!
//! `streams.rs` starts, records, checkpoints, ranges, completions    `errors.rs` errors and
//! anomalies    `totals.rs` announcements `end.rs` end of an attempt    `raw_message.rs` raw lines
//! `memory.rs` carried state    `wire.rs` output
//!
//! It avoids the defects of the published engines that the recordings of 2026-11-20 show; each is
//! tested in `tests/tracker.rs`.

mod end;
mod errors;
pub mod memory;
mod raw_message;
mod streams;
mod totals;
pub mod wire;

use crate::engine::failure_type::FailureType;
use crate::engine::raw_json::raw;
use crate::engine::tracker::memory::{ErrorRecord, Memory, SourcePosition};
use crate::engine::tracker::raw_message::{RawMessage, pass};
use crate::engine::tracker::wire::{Announcement, WireGeneration};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use synctop_core::protocol::{Decoded, Decoder, EndReason, Kind, Level, Line, LineEnd, Message, Millis, Status};

/// Window of the record rate in totals, in milliseconds.
const RATE_WINDOW_MS: Millis = 10_000;

/// Maximum warnings of an attempt. One more line reports that further ones are left out.
const MAX_WARNINGS: usize = 100;

/// Maximum length of an error message in a log line of the tracker.
const MAX_ERROR_TEXT: usize = 300;

/// State of a stream in this attempt.
#[derive(Debug, Clone, Default)]
struct AttemptStream {
    records: u64,
    /// Checkpoints.
    states: u64,
    /// True once its start was announced.
    started: bool,
    /// True if the source reported completion and its state does not confirm it yet.
    claimed: bool,
    /// True once it was announced as completed, skipped or errored.
    is_finished: bool,
    /// Records at its last announcement.
    announced_records: u64,
    /// True after a permanent error.
    failed: bool,
    /// True after a transient error.
    has_transient_error: bool,
    /// Fingerprint of its last error.
    fingerprint: Option<u64>,
    /// Position in its last source state.
    source_position: Option<SourcePosition>,
    in_catalog: bool,
}

/// Limit of the caller that ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AttemptLimit {
    #[strum(serialize = "time_limit")]
    Time,
    #[strum(serialize = "state_limit")]
    States,
}

impl AttemptLimit {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptOutcome {
    /// `complete`, `time_limit`, `state_limit`, `error`, `aborted`, or a reason of the source.
    pub reason: String,
    /// True if another call with the returned state can read more.
    pub has_more: bool,
}

/// Progress stage of one attempt.
pub struct Tracker {
    form: WireGeneration,
    decoder: Decoder,
    memory: Memory,
    current: BTreeMap<String, AttemptStream>,
    began: Millis,
    now: Millis,
    /// Milliseconds of the earlier attempts.
    elapsed_before: u64,
    /// Requests of the earlier attempts.
    requests_before: Option<u64>,
    requests: Option<u64>,
    /// Checkpoints.
    states: u64,
    records: u64,
    messages: u64,
    /// Times and record counts within the window of the rate.
    window: VecDeque<(Millis, u64)>,
    /// True once the requested streams are known.
    catalog: bool,
    /// End as reported by the source: kind, reason, cutoff.
    end: Option<(EndReason, Option<String>, Option<String>)>,
    /// First permanent error without a stream, or before any stream started.
    global: Option<ErrorRecord>,
    /// Warnings already written: kind and stream.
    warned: BTreeSet<(&'static str, String)>,
    /// Failure types of errors logged by the source, by stream.
    logged: BTreeMap<String, FailureType>,
    /// True if no message about a stream followed the last transient error without a stream.
    last_word_failed: bool,
    /// Streams that the last attempt finished without announcement, until the first output.
    finished: Vec<String>,
    /// Streams that were announced as finished before this attempt.
    carried: Vec<String>,
    /// Set if the input comes from another tracker, with the last state that it returned. Such
    /// input is passed through unchanged.
    tracked: Option<Option<Box<RawValue>>>,
}

impl Tracker {
    /// Starts an attempt with the state returned by the last one.
    #[must_use]
    pub fn new(form: WireGeneration, mut memory: Memory, now: Millis) -> Self {
        let mut current = BTreeMap::new();
        let (mut finished, mut carried) = (Vec::new(), Vec::new());
        let names: BTreeSet<String> = memory.streams.keys().chain(memory.source.streams.keys()).cloned().collect();
        for name in names {
            let stored_position = memory.position_of(&name);
            let kept = memory.streams.entry(name.clone()).or_default();
            let failure = stored_position.as_ref().and_then(|source_position| source_position.failure.clone());
            // The source's state overrides the status of the engine: an engine may report
            // "complete" too early, and one that was cut off could not report it.
            let before = kept.status;
            kept.status =
                match (before, &failure, stored_position.as_ref().and_then(|source_position| source_position.done)) {
                    (Status::Skipped, ..) => Status::Skipped,
                    (_, Some(_), _) => Status::Errored,
                    (Status::Errored, ..) => Status::Errored,
                    (Status::Completed | Status::Started, None, Some(true)) => Status::Completed,
                    (Status::Completed, None, None) => Status::Completed,
                    _ => Status::NotStarted,
                };
            match (before, kept.status) {
                (Status::Started, Status::Completed) => finished.push(name.clone()),
                (_, Status::Completed | Status::Skipped | Status::Errored) => carried.push(name.clone()),
                _ => {}
            }
            if let Some(failure) = failure.filter(|_| kept.errors.is_empty()) {
                let message = format!("the source's state says {failure}; its message was not kept");
                kept.errors.push(ErrorRecord { message, failure_type: Some(failure) });
            }
            if let Some(source_position) = &stored_position {
                kept.total = source_position.total.or(kept.total);
                source_position.completed.iter().for_each(|range| kept.ranges.add(*range));
            }
            current.insert(name, AttemptStream { source_position: stored_position, ..AttemptStream::default() });
        }
        memory.started_at.get_or_insert(now);
        Self {
            form,
            decoder: Decoder::default(),
            elapsed_before: memory.elapsed_ms,
            requests_before: memory.requests,
            memory,
            current,
            began: now,
            now,
            requests: None,
            states: 0,
            records: 0,
            messages: 0,
            window: VecDeque::new(),
            catalog: false,
            end: None,
            global: None,
            warned: BTreeSet::new(),
            logged: BTreeMap::new(),
            last_word_failed: false,
            finished,
            carried,
            tracked: None,
        }
    }

    /// Declares the streams that the caller requested, and announces them in the trace generation.
    pub fn catalog(&mut self, streams: &[String], payload: &RawValue, now: Millis, out: &mut Vec<u8>) {
        self.now = now.max(self.now);
        self.expect_streams(streams.iter().cloned());
        // The progress generation has no catalog message.
        if self.form == WireGeneration::Trace {
            crate::engine::tracker::wire::line(out, "catalog", &payload, self.now);
        }
        self.announce_finished(out);
    }

    fn expect_streams(&mut self, streams: impl Iterator<Item = String>) {
        self.catalog = true;
        for name in streams {
            self.memory.streams.entry(name.clone()).or_default();
            self.current.entry(name).or_default().in_catalog = true;
        }
    }

    /// Returns the state to pass to the next attempt.
    #[must_use]
    pub fn state(&self) -> Box<RawValue> {
        match (&self.tracked, self.form) {
            (Some(Some(state)), _) => state.clone(),
            (_, WireGeneration::Trace) => self.memory.to_trace_state(),
            (_, WireGeneration::Progress) => self.memory.to_progress_state(raw(&self.progress(None, false))),
        }
    }

    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// True if the input was already processed by another tracker.
    #[must_use]
    pub fn tracked(&self) -> bool {
        self.tracked.is_some()
    }

    /// Processes one line without its newline. Appends whole lines to `out`, except if the last
    /// line of the input has no newline.
    pub fn line(&mut self, bytes: &[u8], end: LineEnd, now: Millis, out: &mut Vec<u8>) {
        self.now = now.max(self.now);
        let decoder = self.decoder;
        // Decodes the complete line, however long: the head alone is not enough for the state.
        let length = bytes.len() as u64 + u64::from(end == LineEnd::Newline);
        let line = Line { bytes, length, end, huge: None };
        let mut scratch = String::new();
        match decoder.decode(&line, &mut scratch) {
            Decoded::Message { message, glued } => {
                let received = RawMessage { bytes, end, prefix_len: glued.map_or(0, |glue| glue.len()) };
                if self.tracked.is_none() {
                    self.messages += 1;
                    return self.message(message, &received, out);
                }
                if matches!(message.kind, Kind::End(_)) {
                    self.keep_state(&received);
                }
                received.pass(out);
            }
            _ => pass(bytes, end, out),
        }
    }

    /// Counts `count` records of a stream that do not pass through the tracker.
    pub fn records(&mut self, stream: &str, count: u64, now: Millis, out: &mut Vec<u8>) {
        self.now = now.max(self.now);
        self.messages += 1;
        self.ensure_started(stream, "record_before_start", out);
        self.count(stream, count, out);
    }

    /// Announces the streams that earlier attempts finished, with or without announcing it.
    fn announce_finished(&mut self, out: &mut Vec<u8>) {
        let carried = std::mem::take(&mut self.carried);
        if !carried.is_empty() {
            for stream in &carried {
                let Some(kept) = self.memory.streams.get(stream).filter(|_| self.form == WireGeneration::Trace) else {
                    continue;
                };
                let announcement = Announcement {
                    stream,
                    status: kept.status,
                    uncounted: true,
                    error: kept.errors.last().filter(|_| kept.status == Status::Errored),
                    reason: kept.reason.as_deref(),
                    ..Announcement::default()
                };
                crate::engine::tracker::wire::status(out, self.form, &announcement, self.now);
            }
            self.totals(out);
        }
        for stream in std::mem::take(&mut self.finished) {
            if let Some(kept) = self.memory.streams.get_mut(&stream) {
                kept.status = Status::Completed;
            }
            // The stream and its errors belong to the last attempt.
            self.current(&stream).is_finished = true;
            self.announce_stream(&stream, None, out);
        }
    }

    fn message(&mut self, message: Message, received: &RawMessage, out: &mut Vec<u8>) {
        let engine = message.from.as_deref() == Some("engine");
        let about_streams =
            matches!(message.kind, Kind::Record(_) | Kind::Checkpoint(_) | Kind::Stream(_) | Kind::Failure(_));
        if about_streams {
            self.last_word_failed = false;
            if !engine {
                self.announce_finished(out);
            }
        }
        match message.kind {
            Kind::Progress(_) | Kind::Stream(_) | Kind::Catalog(_) if engine => self.mark_tracked(received, out),
            Kind::End(_) if engine && received.has_state() => {
                self.mark_tracked(received, out);
                self.keep_state(received);
            }
            Kind::Record(record) => {
                let stream = record.stream.key();
                self.ensure_started(&stream, "record_before_start", out);
                self.count(&stream, 1, out);
                received.pass(out);
            }
            Kind::Checkpoint(checkpoint) => {
                let stream = checkpoint.stream.as_ref().map(|name| name.key().into_owned());
                self.checkpoint(stream, checkpoint.state.into(), received, out);
            }
            Kind::Stream(claim) => self.claim(*claim, received, out),
            Kind::Progress(report) => self.report(&report, received, out),
            Kind::Failure(failure) => self.failure(*failure, received, out),
            Kind::Catalog(names) => {
                let again = self.catalog;
                let names: Vec<_> = names.iter().map(|name| name.key().into_owned()).collect();
                if again {
                    let known = |name: &String| self.current.get(name).is_some_and(|current| current.in_catalog);
                    if !names.iter().all(known) {
                        self.warn("second_catalog", "", "the source lists other streams than were asked for", out);
                    }
                    received.write_prefix(out);
                    return;
                }
                self.expect_streams(names.into_iter());
                if self.form == WireGeneration::Trace {
                    received.write_enriched("engine", self.now, out);
                }
            }
            Kind::End(end) => {
                received.write_prefix(out);
                self.record_end(&end, received);
            }
            Kind::Connection { ok, message } => {
                if ok == Some(false) {
                    let message = message.as_deref().unwrap_or("the connection failed").to_owned();
                    self.global.get_or_insert(ErrorRecord { message, failure_type: None });
                }
                received.pass(out);
            }
            Kind::Log(log) => {
                if log.level >= Level::Error
                    && let (Some(stream), Some(kind)) = (&log.stream, received.logged_failure())
                {
                    self.logged.insert(stream.clone().into_owned(), kind);
                }
                received.pass(out);
            }
            // Other kinds belong to protocols that the tracker does not process.
            _ => received.pass(out),
        }
    }

    // Input that another tracker wrote.

    fn mark_tracked(&mut self, received: &RawMessage, out: &mut Vec<u8>) {
        self.tracked = Some(None);
        crate::engine::tracker::wire::log(
            out,
            "warn",
            "these messages were tracked already: they are handed on as they are",
            self.now,
        );
        received.pass(out);
    }

    fn keep_state(&mut self, received: &RawMessage) {
        let raw = received.raw();
        let eof = raw.eof.or(raw.end).unwrap_or_default();
        self.tracked = Some(eof.state.or(eof.ending_state).or_else(|| self.tracked.take().flatten()));
    }
}
