//! Progress stage of an engine: raw messages of a connector in, messages of an engine out. Pure:
//! the caller has the clock.
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
//! It avoids the mistakes of the published engines of 2026-11-20 (their recordings show each): see
//! `tests/tracker.rs`.

mod end;
mod errors;
pub mod memory;
mod raw_message;
mod streams;
mod totals;
pub mod wire;

use super::classify::FailureType;
use super::raw_json::raw;
use memory::{Brief, Memory, Mistake};
use raw_message::{RawMessage, pass};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use synctop_core::protocol::{Decoded, Decoder, EndWord, Kind, Level, Line, LineEnd, Message, Millis, Status};
use wire::{Announcement, Form};

/// The window of the rate in totals, in milliseconds.
const WINDOW_MS: Millis = 10_000;

/// Maximum warnings of an attempt; then one line reports that more are left out.
const WARNINGS: usize = 100;

/// A message's text in one of our logs.
const TEXT: usize = 300;

/// State of a stream in this attempt.
#[derive(Debug, Clone, Default)]
struct Here {
    records: u64,
    states: u64,
    /// Its start was announced.
    started: bool,
    /// The source reports complete, and its state does not yet.
    claimed: bool,
    /// It was reported finished: completed, skipped, errored.
    over: bool,
    /// Records at its last report.
    said: u64,
    /// A permanent error, and one that may pass.
    failed: bool,
    stumbled: bool,
    /// The last error, by its fingerprint.
    fingerprint: Option<u64>,
    /// Last source state in this attempt.
    brief: Option<Brief>,
    in_catalog: bool,
}

/// Reason that the caller ends an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Limit {
    #[strum(serialize = "time_limit")]
    Time,
    #[strum(serialize = "state_limit")]
    States,
}

impl Limit {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptOutcome {
    /// `complete`, `time_limit`, `state_limit`, `error`, `aborted`, or a word of the source's own.
    pub reason: String,
    /// Call again with the state.
    pub has_more: bool,
}

/// The state of one attempt.
pub struct Tracker {
    form: Form,
    decoder: Decoder,
    memory: Memory,
    here: BTreeMap<String, Here>,
    began: Millis,
    now: Millis,
    /// Totals of earlier attempts.
    elapsed_before: u64,
    requests_before: Option<u64>,
    requests: Option<u64>,
    states: u64,
    records: u64,
    messages: u64,
    /// Records at times within the window.
    window: VecDeque<(Millis, u64)>,
    catalog: bool,
    /// End as reported by the source.
    end: Option<(EndWord, Option<String>, Option<String>)>,
    /// A permanent error without a stream, or before any stream started.
    global: Option<Mistake>,
    warned: BTreeSet<(&'static str, String)>,
    /// Failures logged by the source, by stream.
    logged: BTreeMap<String, FailureType>,
    /// An error without a stream was the last word.
    last_word_failed: bool,
    /// Streams that the last attempt finished silently: announced with the first output.
    finished: Vec<String>,
    /// Streams that were over before this attempt.
    carried: Vec<String>,
    /// The input comes from a tracker: it is handed on as it is, with the state that it returned.
    tracked: Option<Option<Box<RawValue>>>,
}

impl Tracker {
    /// Starts an attempt with the state returned by the last one.
    #[must_use]
    pub fn new(form: Form, mut memory: Memory, now: Millis) -> Self {
        let mut here = BTreeMap::new();
        let (mut finished, mut carried) = (Vec::new(), Vec::new());
        let names: BTreeSet<String> = memory.streams.keys().chain(memory.source.streams.keys()).cloned().collect();
        for name in names {
            let says = memory.source_says(&name);
            let kept = memory.streams.entry(name.clone()).or_default();
            let failure = says.as_ref().and_then(|brief| brief.failure.clone());
            // The source's state overrides the engine's word: an engine reports "complete" too
            // early, and one that was cut off could not report it.
            let before = kept.status;
            kept.status = match (before, &failure, says.as_ref().and_then(|brief| brief.done)) {
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
                kept.errors.push(Mistake { message, failure_type: Some(failure) });
            }
            if let Some(brief) = &says {
                kept.total = brief.total.or(kept.total);
                brief.completed.iter().for_each(|range| kept.ranges.add(*range));
            }
            here.insert(name, Here { brief: says, ..Here::default() });
        }
        memory.started_at.get_or_insert(now);
        Self {
            form,
            decoder: Decoder::default(),
            elapsed_before: memory.elapsed_ms,
            requests_before: memory.requests,
            memory,
            here,
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

    /// Announces the streams that are asked for, from a catalog of the caller's.
    pub fn catalog(&mut self, streams: &[String], payload: &RawValue, now: Millis, out: &mut Vec<u8>) {
        self.now = now.max(self.now);
        self.asked(streams.iter().cloned());
        // The progress generation announces none.
        if self.form == Form::Trace {
            wire::line(out, "catalog", &payload, self.now);
        }
        self.announce_finished(out);
    }

    fn asked(&mut self, streams: impl Iterator<Item = String>) {
        self.catalog = true;
        for name in streams {
            self.memory.streams.entry(name.clone()).or_default();
            self.here.entry(name).or_default().in_catalog = true;
        }
    }

    /// The state to carry to the next attempt.
    #[must_use]
    pub fn state(&self) -> Box<RawValue> {
        match (&self.tracked, self.form) {
            (Some(Some(state)), _) => state.clone(),
            (_, Form::Trace) => self.memory.trace_form(),
            (_, Form::Progress) => self.memory.progress_form(raw(&self.progress(None, false))),
        }
    }

    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The input was tracked before, by another stage.
    #[must_use]
    pub fn tracked(&self) -> bool {
        self.tracked.is_some()
    }

    /// Takes one line without its newline. Output consists of whole lines, except for a last one
    /// that came without its newline.
    pub fn line(&mut self, bytes: &[u8], end: LineEnd, now: Millis, out: &mut Vec<u8>) {
        self.now = now.max(self.now);
        let decoder = self.decoder;
        // All of it, however long: it is here, and a message is not to be known by its head.
        let length = bytes.len() as u64 + u64::from(end == LineEnd::Newline);
        let line = Line { bytes, length, end, huge: None };
        let mut scratch = String::new();
        match decoder.decode(&line, &mut scratch) {
            Decoded::Message { message, glued } => {
                let came = RawMessage { bytes, end, glued: glued.map_or(0, |glue| glue.len()) };
                if self.tracked.is_none() {
                    self.messages += 1;
                    return self.message(message, &came, out);
                }
                if matches!(message.kind, Kind::End(_)) {
                    self.keep_state(&came);
                }
                came.pass(out);
            }
            _ => pass(bytes, end, out),
        }
    }

    /// Takes `count` records of a stream that went another way.
    pub fn records(&mut self, stream: &str, count: u64, now: Millis, out: &mut Vec<u8>) {
        self.now = now.max(self.now);
        self.messages += 1;
        self.started_by(stream, "record_before_start", out);
        self.count(stream, count, out);
    }

    /// Announces streams that earlier attempts finished without reporting it, and their reports.
    fn announce_finished(&mut self, out: &mut Vec<u8>) {
        let carried = std::mem::take(&mut self.carried);
        if !carried.is_empty() {
            for stream in &carried {
                let Some(kept) = self.memory.streams.get(stream).filter(|_| self.form == Form::Trace) else { continue };
                let said = Announcement {
                    stream,
                    status: kept.status,
                    uncounted: true,
                    error: kept.errors.last().filter(|_| kept.status == Status::Errored),
                    reason: kept.reason.as_deref(),
                    ..Announcement::default()
                };
                wire::status(out, self.form, &said, self.now);
            }
            self.totals(out);
        }
        for stream in std::mem::take(&mut self.finished) {
            if let Some(kept) = self.memory.streams.get_mut(&stream) {
                kept.status = Status::Completed;
            }
            // It is of the last attempt, and so are its errors.
            self.here(&stream).over = true;
            self.say(&stream, None, out);
        }
    }

    fn message(&mut self, message: Message, came: &RawMessage, out: &mut Vec<u8>) {
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
            Kind::Progress(_) | Kind::Stream(_) | Kind::Catalog(_) if engine => self.is_tracked(came, out),
            Kind::End(_) if engine && came.has_state() => {
                self.is_tracked(came, out);
                self.keep_state(came);
            }
            Kind::Record(record) => {
                let stream = record.stream.key();
                self.started_by(&stream, "record_before_start", out);
                self.count(&stream, 1, out);
                came.pass(out);
            }
            Kind::Checkpoint(checkpoint) => {
                let stream = checkpoint.stream.as_ref().map(|name| name.key().into_owned());
                self.checkpoint(stream, checkpoint.state.into(), came, out);
            }
            Kind::Stream(claim) => self.claim(*claim, came, out),
            Kind::Progress(report) => self.report(&report, came, out),
            Kind::Failure(failure) => self.failure(*failure, came, out),
            Kind::Catalog(names) => {
                let again = self.catalog;
                let names: Vec<_> = names.iter().map(|name| name.key().into_owned()).collect();
                if again {
                    let known = |name: &String| self.here.get(name).is_some_and(|here| here.in_catalog);
                    if !names.iter().all(known) {
                        self.warn("second_catalog", "", "the source lists other streams than were asked for", out);
                    }
                    came.glued(out);
                    return;
                }
                self.asked(names.into_iter());
                if self.form == Form::Trace {
                    came.enriched("engine", self.now, out);
                }
            }
            Kind::End(end) => {
                came.glued(out);
                self.ends(&end, came);
            }
            Kind::Connection { ok, message } => {
                if ok == Some(false) {
                    let message = message.as_deref().unwrap_or("the connection failed").to_owned();
                    self.global.get_or_insert(Mistake { message, failure_type: None });
                }
                came.pass(out);
            }
            Kind::Log(log) => {
                if log.level >= Level::Error
                    && let (Some(stream), Some(kind)) = (&log.stream, came.logged_failure())
                {
                    self.logged.insert(stream.clone().into_owned(), kind);
                }
                came.pass(out);
            }
            // The rest is of other protocols, which are not read here.
            _ => came.pass(out),
        }
    }

    // An input that a tracker wrote.

    fn is_tracked(&mut self, came: &RawMessage, out: &mut Vec<u8>) {
        self.tracked = Some(None);
        wire::log(out, "warn", "these messages were tracked already: they are handed on as they are", self.now);
        came.pass(out);
    }

    fn keep_state(&mut self, came: &RawMessage) {
        let raw = came.raw();
        let eof = raw.eof.or(raw.end).unwrap_or_default();
        self.tracked = Some(eof.state.or(eof.ending_state).or_else(|| self.tracked.take().flatten()));
    }
}
