//! The engine's progress stage: raw messages of a connector in, messages of an engine out. Pure: whoever calls has the clock.
//!
//! ```text
//! source -> record, source_state, log, control, what nobody knows ----------------------> as they came
//!           stream_status, global_progress, trace/error, catalog, eof --> tracker -----> stream_status + global_progress on
//!                                        state of the last attempt --> memory.rs --^     transitions; eof with the new state
//! ```
//!
//! What it must not do is what the published engines of 2026-11-20 do (their recordings show each): see `tests/tracker.rs`.

pub mod memory;
pub mod wire;

use super::classify::{FailureType, classify};
use super::raw::raw;
use crate::progress::fingerprint;
use crate::protocol::{
    Decoded, Decoder, End, EndWord, Failure, Kind, Level, Line, LineEnd, Message, Millis, ProgressReport, Status,
    StreamClaim,
};
use memory::{Brief, Memory, Mistake, trace_word};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wire::{Form, Said, Totals};

/// The window of the rate in totals, in milliseconds.
const WINDOW_MS: Millis = 10_000;

/// Warnings of one attempt; further ones are counted in the last.
const WARNINGS: usize = 100;

/// A message's text in one of our logs.
const TEXT: usize = 300;

/// What happened to a stream in this attempt.
#[derive(Debug, Clone, Default)]
struct Here {
    records: u64,
    states: u64,
    /// Its start was announced.
    started: bool,
    /// The source says that it is complete, and its state does not say so yet.
    claimed: bool,
    /// It was said to be over: completed, skipped, errored.
    over: bool,
    /// Records when something was last said of it.
    said: u64,
    /// A permanent error, and one that may pass.
    failed: bool,
    stumbled: bool,
    /// The last error, by its fingerprint.
    fingerprint: Option<u64>,
    /// What the source's last state in this attempt says.
    brief: Option<Brief>,
    in_catalog: bool,
}

/// Why the caller ends an attempt, where the source does not say it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Time,
    States,
}

impl Limit {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Time => "time_limit",
            Self::States => "state_limit",
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
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
    /// What the source said of its end.
    end: Option<(EndWord, Option<String>, Option<String>)>,
    /// A permanent error without a stream, or before any stream started.
    global: Option<Mistake>,
    warned: BTreeSet<(&'static str, String)>,
    warnings: usize,
    /// HTTP statuses that the source logged beside a failure, by stream.
    statuses: BTreeMap<String, u16>,
    /// An error without a stream was the last word.
    last_word: Option<Mistake>,
    /// Streams that the last attempt finished without a word: announced with the first thing that is said.
    finished: Vec<String>,
    /// Streams that were over before this attempt.
    carried: Vec<String>,
    /// The input comes from a tracker: it is handed on as it is, with the state that it returned.
    tracked: Option<Option<Box<RawValue>>>,
}

/// The parts of a line that the canonical message does not have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    source_state: Option<RawState>,
    eof: Option<RawEof>,
    end: Option<RawEof>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawState {
    data: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEof {
    cutoff: Option<String>,
    state: Option<Box<RawValue>>,
    ending_state: Option<Box<RawValue>>,
}

impl Tracker {
    /// Begins an attempt with what the last one returned.
    #[must_use]
    pub fn new(form: Form, mut memory: Memory, now: Millis) -> Self {
        let mut here = BTreeMap::new();
        let (mut finished, mut carried) = (Vec::new(), Vec::new());
        let names: BTreeSet<String> = memory.streams.keys().chain(memory.source.streams.keys()).cloned().collect();
        for name in names {
            let says = memory.source_says(&name);
            let kept = memory.streams.entry(name.clone()).or_default();
            let failure = says.as_ref().and_then(|brief| brief.failure.clone());
            // The source's state overrides what an engine said of it: an engine says "complete" too early, and one that was cut off
            // did not come to say it.
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
            warnings: 0,
            statuses: BTreeMap::new(),
            last_word: None,
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

    /// The input was tracked by somebody else already.
    #[must_use]
    pub fn tracked(&self) -> bool {
        self.tracked.is_some()
    }

    /// Takes one line without its newline. What is written is whole lines, save a last one that came without its newline.
    pub fn line(&mut self, bytes: &[u8], end: LineEnd, now: Millis, out: &mut Vec<u8>) {
        self.now = now.max(self.now);
        let decoder = self.decoder;
        let line = Line::whole(bytes, end);
        let mut scratch = String::new();
        match decoder.decode(&line, &mut scratch) {
            Decoded::Message { message, glued } if self.tracked.is_none() => {
                let came = Came { bytes, end, glued: glued.map_or(0, |glue| glue.len()) };
                self.messages += 1;
                self.message(message, &came, out);
            }
            Decoded::Message { message, .. } => {
                if matches!(message.kind, Kind::End(_)) {
                    self.keep_state(bytes);
                }
                pass(bytes, end, out);
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

    /// What became of streams in earlier attempts: what the last one finished and did not say, and what it said.
    fn announce_finished(&mut self, out: &mut Vec<u8>) {
        let carried = std::mem::take(&mut self.carried);
        if !carried.is_empty() {
            for stream in &carried {
                let Some(kept) = self.memory.streams.get(stream).filter(|_| self.form == Form::Trace) else { continue };
                let said = Said {
                    stream,
                    status: kept.status,
                    uncounted: true,
                    error: kept.errors.last().filter(|_| kept.status == Status::Errored),
                    reason: kept.reason.as_deref(),
                    ..Said::default()
                };
                wire::status(out, self.form, &said, self.now);
            }
            self.totals(out);
        }
        for stream in std::mem::take(&mut self.finished) {
            self.over(&stream, Status::Completed, out);
            // It is of the last attempt.
            self.here(&stream).started = false;
        }
    }

    fn message(&mut self, message: Message, came: &Came, out: &mut Vec<u8>) {
        let engine = message.from.as_deref() == Some("engine");
        let about_streams =
            matches!(message.kind, Kind::Record(_) | Kind::Checkpoint(_) | Kind::Stream(_) | Kind::Failure(_));
        if about_streams {
            self.last_word = None;
            if !engine {
                self.announce_finished(out);
            }
        }
        match message.kind {
            Kind::Progress(_) if engine => self.is_tracked(came, out),
            Kind::End(_) if engine && came.has_state() => {
                self.is_tracked(came, out);
                self.keep_state(came.bytes);
            }
            Kind::Record(name) => {
                self.started_by(&name.key(), "record_before_start", out);
                self.count(&name.key(), 1, out);
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
                    return;
                }
                self.asked(names.into_iter());
                if self.form == Form::Trace {
                    came.enriched("engine", self.now, out);
                }
            }
            Kind::End(end) => self.ends(&end, came),
            Kind::Connection { ok, message } => {
                if ok == Some(false) {
                    let message = message.as_deref().unwrap_or("the connection failed").to_owned();
                    self.global.get_or_insert(Mistake { message, failure_type: None });
                }
                came.pass(out);
            }
            Kind::Log(log) => {
                if log.level >= Level::Error
                    && let (Some(stream), Some(status)) = (&log.stream, came.logged_status())
                {
                    self.statuses.insert(stream.clone().into_owned(), status);
                }
                came.pass(out);
            }
            Kind::Note(_) => came.pass(out),
        }
    }

    // Streams.

    fn here(&mut self, stream: &str) -> &mut Here {
        self.memory.streams.entry(stream.to_owned()).or_default();
        self.here.entry(stream.to_owned()).or_default()
    }

    fn count(&mut self, stream: &str, count: u64, out: &mut Vec<u8>) {
        let (known, over) = match self.here.get_mut(stream) {
            Some(here) => {
                here.records = here.records.saturating_add(count);
                (true, here.over)
            }
            None => (false, false),
        };
        if !known {
            self.here(stream).records += count;
        }
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.records = kept.records.saturating_add(count);
        }
        self.records = self.records.saturating_add(count);
        self.statuses.remove(stream);
        if over && !self.here.get(stream).is_some_and(|here| here.failed) {
            self.warn("record_after_complete", stream, "records came after it was said to be complete", out);
        }
    }

    /// Something came of a stream that must have started then.
    fn started_by(&mut self, stream: &str, anomaly: &'static str, out: &mut Vec<u8>) {
        if self.here.get(stream).is_some_and(|here| here.started || here.over) {
            return;
        }
        self.warn(anomaly, stream, "it was not said to have started", out);
        self.start(stream, out);
    }

    fn start(&mut self, stream: &str, out: &mut Vec<u8>) {
        let catalog = self.catalog;
        let here = self.here(stream);
        let unknown = catalog && !here.in_catalog;
        (here.started, here.over, here.claimed) = (true, false, false);
        self.statuses.remove(stream);
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.status = Status::Started;
            kept.reason = None;
        }
        if unknown {
            self.warn("unknown_stream", stream, "it is not in the catalog", out);
        }
        self.say(stream, None, out);
    }

    fn checkpoint(&mut self, stream: Option<String>, brief: Brief, came: &Came, out: &mut Vec<u8>) {
        let data = came.raw().source_state.and_then(|state| state.data);
        self.states += 1;
        self.memory.checkpoints = self.memory.checkpoints.saturating_add(1);
        let Some(stream) = stream else {
            self.memory.source.global = data.or(self.memory.source.global.take());
            return came.pass(out);
        };
        self.started_by(&stream, "state_before_start", out);
        let brief = brief.with_rest(data.as_deref());
        if let Some(data) = data {
            self.memory.source.streams.insert(stream.clone(), data);
        }
        if let Some(kept) = self.memory.streams.get_mut(&stream) {
            kept.states = kept.states.saturating_add(1);
            kept.total = brief.total.or(kept.total);
            brief.completed.iter().for_each(|range| kept.ranges.add(*range));
        }
        let here = self.here(&stream);
        here.states += 1;
        let done = brief.done == Some(true);
        let late = here.over && brief.done == Some(false) && !here.failed;
        let confirmed = here.claimed && done;
        here.brief = Some(brief);
        if late {
            // It is not, then; and is said to be once its state says so.
            (here.over, here.claimed) = (false, true);
            if let Some(kept) = self.memory.streams.get_mut(&stream) {
                kept.status = Status::Started;
            }
        }
        self.statuses.remove(&stream);
        came.pass(out);
        if late {
            self.warn("state_after_complete", &stream, "its state goes on after it was said to be complete", out);
        }
        if confirmed {
            return self.over(&stream, Status::Completed, out);
        }
        if self.form == Form::Progress {
            self.totals(out);
        }
    }

    fn claim(&mut self, claim: StreamClaim, came: &Came, out: &mut Vec<u8>) {
        let stream = claim.stream.key().into_owned();
        let stream = stream.as_str();
        if claim.status.is_none() && claim.completed.is_none() {
            // A status that nobody knows is handed on.
            return came.pass(out);
        }
        came.glued(out);
        if let Some(total) = claim.total {
            self.here(stream);
            if let Some(kept) = self.memory.streams.get_mut(stream) {
                kept.total = Some(total);
            }
        }
        match claim.status {
            Some(Status::Started) => {
                if self.here.get(stream).is_some_and(|here| here.started && !here.over) {
                    if claim.completed.is_none() {
                        self.warn("duplicate_start", stream, "it was said to start although it had", out);
                    }
                } else {
                    self.start(stream, out);
                }
            }
            None => self.started_by(stream, "range_before_start", out),
            _ => {}
        }
        if let Some(range) = claim.completed {
            if let Some(kept) = self.memory.streams.get_mut(stream) {
                kept.ranges.add(range);
            }
            self.say(stream, Some(range), out);
        }
        match claim.status {
            Some(Status::Completed) => self.complete(stream, out),
            Some(Status::Skipped) => {
                self.here(stream);
                if let Some(kept) = self.memory.streams.get_mut(stream) {
                    kept.reason = claim.reason.as_deref().map(str::to_owned);
                    kept.errors.clear();
                }
                self.over(stream, Status::Skipped, out);
            }
            Some(Status::Errored) => {
                let message = claim.error.or(claim.reason).unwrap_or_default().into_owned();
                let status = came.error_status().or_else(|| self.statuses.remove(stream));
                let kind = classify(status, None).unwrap_or(FailureType::System);
                let mistake = Mistake { message, failure_type: Some(kind.word().to_owned()) };
                if !self.here.get(stream).is_some_and(|here| here.over && here.failed) {
                    self.mistake(Some(stream.to_owned()), mistake, out);
                }
            }
            _ => {}
        }
    }

    /// The source says that a stream is complete.
    fn complete(&mut self, stream: &str, out: &mut Vec<u8>) {
        let here = self.here(stream);
        if here.failed || here.over {
            // An error is not wiped by a "complete"; said twice it is said once.
            return;
        }
        let unsaid = !here.started;
        if here.brief.as_ref().and_then(|brief| brief.done) == Some(false) {
            // Its own state says that something is left: the counts behind it are not through.
            here.claimed = true;
            return;
        }
        if unsaid {
            self.start(stream, out);
        }
        self.over(stream, Status::Completed, out);
    }

    fn over(&mut self, stream: &str, status: Status, out: &mut Vec<u8>) {
        let here = self.here(stream);
        (here.started, here.over, here.claimed) = (true, true, false);
        let clean = !here.failed && !here.stumbled;
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.status = status;
            if status == Status::Completed && clean {
                // It did without what went wrong in an earlier attempt.
                kept.errors.clear();
            }
        }
        self.say(stream, None, out);
    }

    // Errors.

    fn failure(&mut self, failure: Failure, came: &Came, out: &mut Vec<u8>) {
        let stream = failure.stream.as_ref().map(|name| name.key().into_owned());
        let said = failure.failure_type.as_deref();
        let kind = classify(came.error_status(), said).unwrap_or(FailureType::System);
        // The wire's own word stays, unless the status says otherwise.
        let word = match said {
            Some(said) if FailureType::of_word(said).permanent() == kind.permanent() => said.to_owned(),
            _ => kind.word().to_owned(),
        };
        came.glued(out);
        if said == Some(word.as_str()) {
            came.enriched("source", self.now, out);
        } else {
            came.retyped(&word, self.now, out);
        }
        self.mistake(stream, Mistake { message: failure.message.into_owned(), failure_type: Some(word) }, out);
    }

    fn mistake(&mut self, stream: Option<String>, mistake: Mistake, out: &mut Vec<u8>) {
        let permanent = mistake.failure_type.as_deref().is_none_or(|word| FailureType::of_word(word).permanent());
        let kind = mistake.failure_type.clone().unwrap_or_else(|| "error".into());
        let none_started = !self.here.values().any(|here| here.started);
        let text = format!("{kind}: {}", crate::progress::text::short(&mistake.message, TEXT));
        let Some(stream) = stream else {
            self.error(&format!("the run failed with {text}"), out);
            if permanent {
                self.global.get_or_insert(mistake);
            } else {
                self.last_word = Some(mistake);
            }
            return self.totals(out);
        };
        self.error(&format!("{stream} failed with {text}"), out);
        if permanent && none_started {
            self.global.get_or_insert_with(|| mistake.clone());
        }
        let here = self.here(&stream);
        here.fingerprint = Some(fingerprint::of(&mistake.message));
        here.failed |= permanent;
        here.stumbled |= !permanent;
        let again = here.over;
        if let Some(kept) = self.memory.streams.get_mut(&stream) {
            kept.fail(mistake);
        }
        if permanent {
            self.over(&stream, Status::Errored, out);
        } else if again {
            // It was said to be complete, and an error of it stands.
            self.say(&stream, None, out);
        }
    }

    fn error(&mut self, message: &str, out: &mut Vec<u8>) {
        wire::log(out, "error", message, self.now);
    }

    /// An anomaly, once for each stream.
    fn warn(&mut self, kind: &'static str, stream: &str, message: &str, out: &mut Vec<u8>) {
        if !self.warned.insert((kind, stream.to_owned())) {
            return;
        }
        self.warnings += 1;
        let who = if stream.is_empty() { String::new() } else { format!("{stream}: ") };
        match self.warnings {
            ..=WARNINGS => wire::log(out, "warn", &format!("{who}{message} ({kind})"), self.now),
            n if n == WARNINGS + 1 => wire::log(out, "warn", "further warnings are left out", self.now),
            _ => {}
        }
    }

    // Totals.

    fn report(&mut self, report: &ProgressReport, came: &Came, out: &mut Vec<u8>) {
        came.glued(out);
        let before = self.requests_before.unwrap_or(0);
        let reported = report.requests.attempt.or_else(|| Some(report.requests.cumulative?.saturating_sub(before)));
        // A 0 beside records is a source that does not count.
        if let Some(requests) = reported.filter(|requests| *requests > 0 || self.records == 0) {
            let requests = requests.max(self.requests.unwrap_or(0));
            self.requests = Some(requests);
            self.memory.requests = Some(before.saturating_add(requests));
        }
        // Whatever is shown of it is of now, not of the last transition.
        self.totals(out);
    }

    fn so_far(&mut self) -> Totals {
        let elapsed = u64::try_from(self.now - self.began).unwrap_or(0);
        self.memory.elapsed_ms = self.elapsed_before.saturating_add(elapsed);
        self.window.push_back((self.now, self.records));
        while self.window.len() > 2 && self.window.get(1).is_some_and(|(at, _)| *at <= self.now - WINDOW_MS) {
            self.window.pop_front();
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let window = match self.window.front() {
            Some((at, records)) if *at < self.now => (self.records - records) as f64 * 1000.0 / (self.now - at) as f64,
            _ => 0.0,
        };
        Totals {
            attempt_records: self.records,
            records: self.memory.records(),
            attempt_requests: self.requests,
            requests: self.memory.requests,
            attempt_elapsed: elapsed,
            elapsed: self.memory.elapsed_ms,
            attempt_states: self.states,
            states: self.memory.checkpoints,
            window,
        }
    }

    /// Says how a stream stands (or which range of it is finished), and the totals with it.
    fn say(&mut self, stream: &str, range: Option<crate::protocol::Range>, out: &mut Vec<u8>) {
        let (Some(here), Some(kept)) = (self.here.get_mut(stream), self.memory.streams.get(stream)) else { return };
        here.said = here.records;
        let said = Said {
            stream,
            status: kept.status,
            range,
            uncounted: false,
            attempt: here.records,
            cumulative: kept.records,
            total: kept.total,
            error: kept.errors.last().filter(|_| kept.status == Status::Errored),
            reason: kept.reason.as_deref(),
        };
        wire::status(out, self.form, &said, self.now);
        self.totals(out);
    }

    fn totals(&mut self, out: &mut Vec<u8>) {
        let totals = self.so_far();
        match self.form {
            Form::Trace => wire::totals(out, &totals, self.now),
            Form::Progress => wire::line(out, "progress", &self.progress(None, false), self.now),
        }
    }

    /// The progress payload of the run, or of this attempt alone.
    fn progress(&self, ended: Option<bool>, attempt: bool) -> wire::ProgressPayload<'_> {
        let rows = self.memory.streams.iter().filter_map(|(name, kept)| {
            let here = self.here.get(name)?;
            let spoke = here.started || here.over;
            (if attempt { spoke } else { spoke || !kept.blank() }).then(|| wire::Row {
                name,
                status: kept.status,
                states: if attempt { here.states } else { kept.states },
                records: if attempt { here.records } else { kept.records },
                total: kept.total,
                ranges: &kept.ranges,
                errors: &kept.errors,
                reason: kept.reason.as_deref(),
            })
        });
        let (elapsed, counts, started) = if attempt {
            (self.memory.elapsed_ms.saturating_sub(self.elapsed_before), (self.records, self.states), self.began)
        } else {
            let started = self.memory.started_at.unwrap_or(self.began);
            (self.memory.elapsed_ms, (self.memory.records(), self.memory.checkpoints), started)
        };
        wire::progress_payload(rows, started, elapsed, counts, wire::run_word(ended))
    }

    // The end.

    /// The source has said all that it has to say, which not every source says itself.
    pub fn source_ended(&mut self) {
        self.end.get_or_insert((EndWord::Complete, Some("complete".into()), None));
    }

    fn ends(&mut self, end: &End, came: &Came) {
        let cutoff = came.raw().eof.and_then(|eof| eof.cutoff);
        let reason = end.reason.as_deref().map(str::to_owned);
        let word = match (end.word, end.has_more) {
            // A read of the progress generation says only whether there is more.
            (EndWord::Unsaid | EndWord::StillStarted, Some(true)) => EndWord::Limit,
            (EndWord::Unsaid, _) => EndWord::Complete,
            (word, _) => word,
        };
        let reason = match (word, reason) {
            (EndWord::Limit, None) => Some("time_limit".into()),
            (EndWord::Limit, Some(reason)) if reason == "started" => Some("time_limit".into()),
            (_, reason) => reason,
        };
        self.end = Some((word, reason, cutoff));
    }

    /// A permanent error that no other stream can do without: it has no stream, it came before any started, or every stream
    /// that started in this attempt ended with the same one (engines tag a bad key with the first stream's name).
    #[must_use]
    pub fn global_failure(&self) -> Option<Mistake> {
        if let Some(global) = &self.global {
            return Some(global.clone());
        }
        let mut started = self.here.iter().filter(|(_, here)| here.started).peekable();
        let fingerprint = started.peek()?.1.fingerprint?;
        let mut last = None;
        for (name, here) in started {
            if !here.failed || here.fingerprint != Some(fingerprint) {
                return None;
            }
            last = self.memory.streams.get(name).and_then(|kept| kept.errors.last());
        }
        last.cloned()
    }

    /// Ends the attempt: what was held back, the last totals, and the end message.
    pub fn finish(&mut self, limit: Option<Limit>, now: Millis, out: &mut Vec<u8>) -> Outcome {
        self.now = now.max(self.now);
        if self.tracked.is_some() {
            return Outcome { reason: "complete".into(), has_more: false };
        }
        let (word, reason, cutoff) = match (limit, self.end.take()) {
            (Some(limit), _) => (Some(EndWord::Limit), Some(limit.word().to_owned()), Some("soft".to_owned())),
            (None, Some((word, reason, cutoff))) => (Some(word), reason, cutoff),
            (None, None) => (None, None, None),
        };
        self.announce_finished(out);
        let complete = matches!(word, None | Some(EndWord::Complete));
        let cut = word == Some(EndWord::Limit);
        // Who asked for streams and did not get them did not get everything.
        let unread = word.is_none() && self.unread();
        let names: Vec<String> = self.here.keys().cloned().collect();
        let (mut open, mut again) = (false, false);
        for name in &names {
            let (left, stumbled) = self.settle(name, word, out);
            open |= left;
            again |= stumbled;
        }
        self.say_last_counts(&names, out);
        self.totals(out);
        let global = self.global_failure();
        let (reason, has_more) = match reason {
            _ if global.is_some() => ("error".to_owned(), false),
            Some(reason) if cut => (reason, true),
            _ if again && complete => ("error".to_owned(), true),
            Some(reason) => (reason, false),
            None if self.messages == 0 => {
                self.error("the source ended without a message", out);
                ("error".to_owned(), true)
            }
            None if self.last_word.is_some() => ("error".to_owned(), true),
            None if open || unread => {
                self.error("the source ended without saying so, and with streams that it had not finished", out);
                ("aborted".to_owned(), true)
            }
            None => ("complete".to_owned(), false),
        };
        self.write_end(&reason, cutoff.filter(|_| cut), has_more, global.is_some(), out);
        Outcome { reason, has_more }
    }

    /// Streams that were asked for and are not done.
    fn unread(&self) -> bool {
        let asked = self.here.iter().filter(|(_, here)| here.in_catalog);
        let done = |name: &String| {
            let status = self.memory.streams.get(name).map(|kept| kept.status);
            matches!(status, Some(Status::Completed | Status::Skipped | Status::Errored))
        };
        asked.into_iter().any(|(name, _)| !done(name))
    }

    /// A stream at the end of the attempt. Answers whether it is left open, and whether something that may pass left it so.
    fn settle(&mut self, name: &str, word: Option<EndWord>, out: &mut Vec<u8>) -> (bool, bool) {
        let here = self.here(name).clone();
        if !here.started || here.over {
            return (false, false);
        }
        if here.failed {
            // It started again after its error, and the error stands.
            self.over(name, Status::Errored, out);
            return (false, false);
        }
        let done = here.brief.as_ref().and_then(|brief| brief.done);
        let complete = word == Some(EndWord::Complete);
        if here.stumbled && word != Some(EndWord::Limit) && done != Some(true) {
            self.here(name).claimed = false;
            self.over(name, Status::Errored, out);
            return (true, true);
        }
        if here.claimed || complete {
            if done == Some(false) {
                // Never promoted: its own state says that something is left.
                self.warn(
                    "complete_with_ranges_left",
                    name,
                    "it is called complete, and its state says that it is not",
                    out,
                );
                return (true, false);
            }
            if complete {
                if !here.claimed {
                    self.warn("never_completed", name, "the run is complete, and it was never said to be", out);
                }
                self.over(name, Status::Completed, out);
                return (false, false);
            }
        }
        (true, false)
    }

    /// Counts that grew after the last word on a stream are said once more.
    fn say_last_counts(&mut self, names: &[String], out: &mut Vec<u8>) {
        for name in names {
            if self.here.get(name).is_some_and(|here| here.over && here.records > here.said) {
                self.say(name, None, out);
            }
        }
    }

    fn write_end(&mut self, reason: &str, cutoff: Option<String>, has_more: bool, global: bool, out: &mut Vec<u8>) {
        let totals = self.so_far();
        if self.form == Form::Progress {
            let errored = self.memory.streams.values().any(|kept| kept.status == Status::Errored);
            let ended = match reason {
                "time_limit" | "state_limit" => None,
                "complete" => Some(!errored),
                _ => Some(false),
            };
            let run = self.progress(ended, false);
            let state = self.memory.progress_form(raw(&run));
            let status = if global { "failed" } else { wire::run_word(ended) };
            let request = self.progress(ended, true);
            let eof = wire::ProgressEof {
                status,
                has_more,
                ending_state: &state,
                run_progress: run,
                request_progress: request,
            };
            return wire::line(out, "eof", &eof, self.now);
        }
        let state = self.memory.trace_form();
        let stream_progress = self
            .memory
            .streams
            .iter()
            .filter(|(_, kept)| !kept.blank())
            .map(|(name, kept)| {
                let entry = wire::TraceEofStream {
                    status: trace_word(kept.status),
                    cumulative_record_count: kept.records,
                    run_record_count: self.here.get(name).map_or(0, |here| here.records),
                    errors: &kept.errors,
                    reason: kept.reason.as_deref(),
                };
                (name.as_str(), entry)
            })
            .collect();
        let limited = cutoff.is_some();
        let eof = wire::TraceEof {
            reason,
            cutoff: cutoff.as_deref(),
            elapsed_ms: limited.then_some(totals.attempt_elapsed),
            state: &state,
            global_progress: totals.global_progress(),
            stream_progress,
        };
        wire::line(out, "eof", &eof, self.now);
    }

    // An input that a tracker wrote.

    fn is_tracked(&mut self, came: &Came, out: &mut Vec<u8>) {
        self.tracked = Some(None);
        wire::log(out, "warn", "these messages were tracked already: they are handed on as they are", self.now);
        came.pass(out);
    }

    fn keep_state(&mut self, bytes: &[u8]) {
        let raw: Raw = serde_json::from_slice(bytes).unwrap_or_default();
        let eof = raw.eof.or(raw.end).unwrap_or_default();
        self.tracked = Some(eof.state.or(eof.ending_state).or_else(|| self.tracked.take().flatten()));
    }
}

/// A line as it came.
struct Came<'a> {
    bytes: &'a [u8],
    end: LineEnd,
    /// Bytes of text that stand in front of the message.
    glued: usize,
}

impl Came<'_> {
    /// The message itself.
    fn json(&self) -> &[u8] {
        self.bytes.get(self.glued..).unwrap_or_default()
    }

    fn pass(&self, out: &mut Vec<u8>) {
        pass(self.bytes, self.end, out);
    }

    /// The text in front of a message that is written anew.
    fn glued(&self, out: &mut Vec<u8>) {
        if self.glued > 0 {
            out.extend_from_slice(self.bytes.get(..self.glued).unwrap_or_default());
            out.push(b'\n');
        }
    }

    fn raw(&self) -> Raw {
        serde_json::from_slice(self.json()).unwrap_or_default()
    }

    fn has_state(&self) -> bool {
        let raw = self.raw();
        raw.eof.or(raw.end).is_some_and(|eof| eof.state.is_some() || eof.ending_state.is_some())
    }

    fn value(&self) -> Value {
        serde_json::from_slice(self.json()).unwrap_or_default()
    }

    /// The HTTP status that stands beside an error, as a number.
    fn error_status(&self) -> Option<u16> {
        let value = self.value();
        let inside = value.pointer("/trace/error").or_else(|| value.get("stream_status"))?;
        let named = ["status_code", "http_status", "status"].iter().find_map(|key| inside.get(*key)?.as_u64());
        named.and_then(|status| u16::try_from(status).ok())
    }

    /// The HTTP status in a logged error: `data.err.status`.
    fn logged_status(&self) -> Option<u16> {
        let value = self.value();
        let status = value.pointer("/log/data/err/status").or_else(|| value.pointer("/log/data/status"))?;
        u16::try_from(status.as_u64()?).ok()
    }

    /// As it came, with who wrote it and when, where it does not say so itself.
    fn enriched(&self, from: &str, at: Millis, out: &mut Vec<u8>) {
        let json = self.json().trim_ascii_end();
        let Some(body) = json.strip_suffix(b"}") else { return self.pass(out) };
        let known: Envelope = serde_json::from_slice(json).unwrap_or_default();
        out.extend_from_slice(body);
        if known.from.is_none() {
            out.extend_from_slice(format!(",\"_emitted_by\":\"{from}\"").as_bytes());
        }
        if known.at.is_none() {
            out.extend_from_slice(format!(",\"_ts\":\"{}\"", crate::protocol::time::iso(at)).as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }

    /// As it came, with another failure type.
    fn retyped(&self, word: &str, at: Millis, out: &mut Vec<u8>) {
        let mut value = self.value();
        if let Some(error) = value.pointer_mut("/trace/error").and_then(Value::as_object_mut) {
            error.insert("failure_type".into(), word.into());
        }
        let payload = value.get("trace").cloned().unwrap_or_default();
        let from = value.get("_emitted_by").and_then(Value::as_str).unwrap_or("source").to_owned();
        wire::enveloped(out, "trace", &payload, Some(&from), Some(at));
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    #[serde(rename = "_emitted_by")]
    from: Option<Value>,
    #[serde(rename = "_ts")]
    at: Option<Value>,
}

fn pass(bytes: &[u8], end: LineEnd, out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    if end == LineEnd::Newline {
        out.push(b'\n');
    }
}
