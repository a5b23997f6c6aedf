//! Simulated source: reads the list API of `api.rs` as the published source reads its own, and
//! prints raw messages. Its clock advances from event to event, so that a scenario always produces
//! the same log, whatever the load of the machine.
//!
//! ```text
//! streams (limited) -> segments of their ranges (concurrent) -> requests (rate limited)
//!   page    -> records, a checkpoint, perhaps the end of a range; the rest is split if there is room
//!   refusal -> delay and retry | stream skipped | stream ended
//! ```

pub mod state;

use super::api::{Answer, Api, PageQuery};
use super::classify::{FailureType, refusal};
use super::tracker::memory::WireRange;
use super::tracker::wire::Form;
use crate::net::lock;
use serde_json::{Value, json};
use state::{Left, SourceStreamState, range};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use synctop_core::protocol::Millis;

/// Tries of a request after the first, and the first wait between them, which doubles (as Stripe's
/// source has it).
const RETRIES: u32 = 5;
const FIRST_WAIT_MS: u64 = 1_000;

/// A million: the budget's clock counts microseconds.
const MICROS: i64 = 1_000_000;

/// Output of the source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceOutput {
    /// One message, without its newline.
    Line(Value),
    /// Records of a stream by their numbers; the newest come first.
    Records(usize, Range<u64>),
    /// The engine is gone.
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Active,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answer,
    Retry,
}

/// Queue of events: time, order, stream, piece; an answer, or the time of a retry.
type Coming = (Millis, u64, usize, u64, Event);

struct Piece {
    id: u64,
    left: Left,
    busy: bool,
    tries: u32,
}

struct Reading {
    phase: Phase,
    total: (i64, i64),
    pieces: Vec<Piece>,
    failed: Option<FailureType>,
}

/// One attempt of the source.
pub struct Source {
    api: Arc<Mutex<Api>>,
    form: Form,
    names: Vec<String>,
    streams: Vec<Reading>,
    most_streams: usize,
    segments: usize,
    now: Millis,
    began: Millis,
    /// Next free slot of the request budget, in microseconds.
    slot: i64,
    spacing: i64,
    /// Not before this: the destination is behind.
    held_until: Millis,
    events: BinaryHeap<Reverse<Coming>>,
    counter: u64,
    requests: u64,
    said: VecDeque<SourceOutput>,
    over: bool,
    failed: bool,
}

impl Source {
    /// Starts to read the streams of `kept` (by place, with their stored states; others are left
    /// out) at `now`. `ceiling`: upper bound of all ranges, in seconds.
    #[must_use]
    pub fn new(
        api: Arc<Mutex<Api>>,
        form: Form,
        kept: &BTreeMap<usize, SourceStreamState>,
        ceiling: i64,
        now: Millis,
    ) -> Self {
        let (names, begin, rps, most_streams, segments) = {
            let api = lock(&api);
            let scenario = api.scenario();
            let names: Vec<_> = scenario.streams.iter().map(|stream| stream.name.clone()).collect();
            let begin = scenario.range.gte.div_euclid(1000);
            // Of those that have something to read.
            let to_read = |state: &&SourceStreamState| {
                state.failed.is_none() && (state.total.is_none() || !state.left.is_empty())
            };
            let segments = scenario.segments(kept.values().filter(to_read).count());
            (names, begin, scenario.budget(), scenario.max_concurrent_streams, segments)
        };
        let mut source = Self {
            api,
            form,
            streams: Vec::new(),
            names,
            most_streams,
            segments,
            now,
            began: now,
            slot: now * 1000,
            spacing: MICROS / i64::from(rps.max(1)),
            held_until: now,
            events: BinaryHeap::new(),
            counter: 0,
            requests: 0,
            said: VecDeque::new(),
            over: false,
            failed: false,
        };
        for at in 0..source.names.len() {
            let reading = match kept.get(&at) {
                None => Reading { phase: Phase::Over, total: (begin, ceiling), pieces: Vec::new(), failed: None },
                Some(state) => source.reading(state, begin, ceiling),
            };
            source.streams.push(reading);
        }
        source
    }

    fn reading(&mut self, kept: &SourceStreamState, begin: i64, ceiling: i64) -> Reading {
        let mut left = kept.left.clone();
        // Of a later run: objects created since the last one.
        let (gte, lt) = kept.total.unwrap_or((begin, begin));
        if lt < ceiling {
            left.push(Left { gte: lt, lt: ceiling, cursor: None });
        }
        let total = (gte, lt.max(ceiling));
        let phase = if left.is_empty() || kept.failed.is_some() { Phase::Over } else { Phase::Waiting };
        let pieces = left.into_iter().map(|left| self.piece(left)).collect();
        Reading { phase, total, pieces, failed: kept.failed }
    }

    fn piece(&mut self, left: Left) -> Piece {
        self.counter += 1;
        Piece { id: self.counter, left, busy: false, tries: 0 }
    }

    /// Next output of the source.
    fn say(&mut self) -> Option<(Millis, SourceOutput)> {
        loop {
            if let Some(said) = self.said.pop_front() {
                return Some((self.now, said));
            }
            if self.over {
                return None;
            }
            self.pump();
            if !self.said.is_empty() {
                continue;
            }
            match self.events.pop() {
                Some(Reverse((at, _, stream, piece, event))) => {
                    self.now = self.now.max(at);
                    match event {
                        Event::Answer => self.answer(stream, piece),
                        Event::Retry => self.request(stream, piece),
                    }
                }
                None => self.end(),
            }
        }
    }

    /// No request before this instant: the destination is behind.
    pub fn hold(&mut self, until: Millis) {
        self.held_until = self.held_until.max(until);
    }

    /// It stopped because nothing can go on.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    fn name(&self, stream: usize) -> &str {
        self.names.get(stream).map_or("", String::as_str)
    }

    fn line(&mut self, message: Value) {
        self.said.push_back(SourceOutput::Line(message));
    }

    /// Begins streams and sends requests as far as the budget lets it.
    fn pump(&mut self) {
        let mut active = self.streams.iter().filter(|stream| stream.phase == Phase::Active).count();
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.phase == Phase::Waiting) && active < self.most_streams {
                active += 1;
                self.begin(at);
            }
        }
        for at in 0..self.streams.len() {
            let Some(stream) = self.streams.get_mut(at).filter(|stream| stream.phase == Phase::Active) else {
                continue;
            };
            let busy = stream.pieces.iter().filter(|piece| piece.busy).count();
            let mut idle: Vec<u64> = Vec::new();
            for piece in stream.pieces.iter_mut().filter(|piece| !piece.busy).take(self.segments.saturating_sub(busy)) {
                piece.busy = true;
                idle.push(piece.id);
            }
            for id in idle {
                self.request(at, id);
            }
        }
    }

    fn begin(&mut self, at: usize) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        stream.phase = Phase::Active;
        let total = WireRange::from(range(stream.total.0, stream.total.1));
        let name = self.name(at).to_owned();
        let mut said = json!({"stream": name, "status": "start", "time_range": total});
        if self.form == Form::Trace {
            said = json!({"stream": name, "status": "started"});
        }
        self.line(status(self.form, said));
    }

    fn query(&self, stream: usize, piece: u64) -> Option<PageQuery> {
        let piece = self.streams.get(stream)?.pieces.iter().find(|it| it.id == piece)?;
        let Left { gte, lt, cursor } = piece.left.clone();
        Some(PageQuery { stream, gte, lt, cursor })
    }

    /// Sends a request for a piece, as soon as the budget has one left.
    fn request(&mut self, stream: usize, piece: u64) {
        // A stream that ended meanwhile asks for nothing.
        if self.streams.get(stream).is_none_or(|stream| stream.phase != Phase::Active) {
            return;
        }
        let Some(query) = self.query(stream, piece) else { return };
        let slot = self.slot.max(self.now.max(self.held_until) * 1000);
        self.slot = slot + self.spacing;
        let latency = lock(&self.api).latency(&query);
        self.counter += 1;
        self.requests += 1;
        let back = slot.div_euclid(1000) + i64::try_from(latency).unwrap_or(0);
        self.events.push(Reverse((back, self.counter, stream, piece, Event::Answer)));
    }

    fn answer(&mut self, stream: usize, piece: u64) {
        // A stream that ended meanwhile wants no answers.
        if self.streams.get(stream).is_none_or(|stream| stream.phase != Phase::Active) {
            return;
        }
        let Some(query) = self.query(stream, piece) else { return };
        let answer = lock(&self.api).list(&query);
        match answer {
            Answer::Page(page) => self.page(stream, piece, page.objects, page.has_more),
            Answer::Broken(why) => self.retry_later(stream, piece, None, None, why.to_owned()),
            Answer::Refused { status, code, message, retry_after } => {
                if status == 401 {
                    self.bad_key(&message);
                } else if let Some(refusal) = refusal(status, code, &message) {
                    tracing::debug!(target: "synctop::simulate", "skipped: {}", refusal.name);
                    self.skip(stream, &message);
                } else if FailureType::of_status(status).permanent() {
                    self.fail(stream, FailureType::of_status(status), Some(status), &message);
                } else {
                    self.retry_later(stream, piece, Some(status), retry_after, message);
                }
            }
            Answer::Crash => {
                self.said.push_back(SourceOutput::Crash);
                self.over = true;
            }
        }
    }

    fn page(&mut self, stream: usize, piece: u64, objects: Range<u64>, has_more: bool) {
        if !objects.is_empty() {
            self.said.push_back(SourceOutput::Records(stream, objects.clone()));
        }
        let (last, cursor) = {
            let api = lock(&self.api);
            (api.created(stream, objects.start), api.id(stream, objects.start))
        };
        let segments = self.segments;
        let Some(reading) = self.streams.get_mut(stream) else { return };
        let Some(place) = reading.pieces.iter().position(|it| it.id == piece) else { return };
        let mut finished = None;
        let mut parts = Vec::new();
        if has_more {
            let room = i64::try_from((segments + 1).saturating_sub(reading.pieces.len())).unwrap_or(1);
            if let Some(piece) = reading.pieces.get_mut(place) {
                (piece.busy, piece.tries) = (false, 0);
                // Everything after the last object's second was read; more objects of that second
                // may stand behind the cursor.
                let read = last + 1;
                finished = (read < piece.left.lt).then_some((read, piece.left.lt));
                piece.left.lt = piece.left.lt.min(read);
                parts = split(piece.left.gte, piece.left.lt, room);
                piece.left = Left { cursor: Some(cursor), ..parts.remove(0) };
            }
        } else {
            let piece = reading.pieces.remove(place);
            finished = Some((piece.left.gte, piece.left.lt));
        }
        for part in parts {
            let piece = self.piece(part);
            if let Some(reading) = self.streams.get_mut(stream) {
                reading.pieces.push(piece);
            }
        }
        self.checkpoint(stream);
        // In the trace generation the checkpoint reports it.
        if let (Some((gte, lt)), Form::Progress) = (finished, self.form) {
            let done = WireRange::from(range(gte, lt));
            self.line(status(
                self.form,
                json!({"stream": self.name(stream), "status": "range_complete", "range_complete": done}),
            ));
        }
        if self.streams.get(stream).is_some_and(|reading| reading.pieces.is_empty()) {
            self.finish(stream);
        }
    }

    fn checkpoint(&mut self, stream: usize) {
        let Some(reading) = self.streams.get(stream) else { return };
        let left = reading.pieces.iter().map(|piece| piece.left.clone()).collect();
        let state = SourceStreamState { total: Some(reading.total), left, failed: reading.failed };
        let data = state.form(self.form, self.segments);
        let message = json!({"state_type": "stream", "stream": self.name(stream), "data": data});
        self.line(json!({"type": "source_state", "source_state": message}));
    }

    fn finish(&mut self, stream: usize) {
        if let Some(reading) = self.streams.get_mut(stream) {
            reading.phase = Phase::Over;
        }
        self.count_requests();
        let done = json!({"stream": self.name(stream), "status": "complete"});
        self.line(status(self.form, done));
    }

    fn skip(&mut self, stream: usize, reason: &str) {
        if let Some(reading) = self.streams.get_mut(stream) {
            reading.phase = Phase::Over;
        }
        let skipped = json!({"stream": self.name(stream), "status": "skip", "reason": reason});
        self.line(status(self.form, skipped));
    }

    /// Schedules the retry of a refused or rate-limited request: after `Retry-After`, otherwise with
    /// exponential backoff. After the last retry the stream fails for this attempt.
    fn retry_later(&mut self, stream: usize, piece: u64, http: Option<u16>, retry_after: Option<f64>, why: String) {
        let found =
            self.streams.get_mut(stream).and_then(|reading| reading.pieces.iter_mut().find(|it| it.id == piece));
        let Some(piece_left) = found else { return };
        if piece_left.tries >= RETRIES {
            return self.fail(stream, FailureType::Transient, http, &why);
        }
        piece_left.tries += 1;
        let tries = piece_left.tries;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a day")]
        let asked = retry_after.map(|seconds| (seconds * 1000.0) as u64);
        let wait = asked.unwrap_or_else(|| FIRST_WAIT_MS << (tries - 1));
        let mut data = json!({
            "name": "source-simulated",
            "stream": self.name(stream),
            "attempt": tries,
            "max_retries": RETRIES,
            "delay_ms": wait,
            "error_message": why,
        });
        if let (Some(data), Some(status)) = (data.as_object_mut(), http) {
            data.insert("status".into(), status.into());
        }
        self.log("warn", "Retrying request", data);
        // The budget is for others meanwhile.
        self.counter += 1;
        let at = self.now + i64::try_from(wait).unwrap_or(0);
        self.events.push(Reverse((at, self.counter, stream, piece, Event::Retry)));
    }

    /// An unknown key stops everything, whichever stream used it first.
    fn bad_key(&mut self, message: &str) {
        (self.over, self.failed) = (true, true);
        self.line(global_error(self.form, FailureType::Auth, message));
    }

    fn fail(&mut self, stream: usize, kind: FailureType, http: Option<u16>, message: &str) {
        if let Some(reading) = self.streams.get_mut(stream) {
            reading.phase = Phase::Over;
            reading.pieces.iter_mut().for_each(|piece| piece.busy = false);
            reading.failed = Some(kind).filter(|kind| kind.permanent());
        }
        let name = self.name(stream).to_owned();
        match self.form {
            Form::Trace => {
                let error = json!({"failure_type": kind.as_str(), "message": message, "stream": name});
                self.line(trace("error", error));
                // The state records it too, so that the next attempt leaves the stream out.
                if kind.permanent() {
                    self.checkpoint(stream);
                }
            }
            Form::Progress => {
                let err = match http {
                    Some(status) => json!({"status": status, "name": "ApiRequestError"}),
                    None => json!({"code": "ECONNRESET", "name": "FetchError"}),
                };
                self.log("error", "List page failed", json!({"name": "source-simulated", "stream": name, "err": err}));
                self.line(status(self.form, json!({"stream": name, "status": "error", "error": message})));
            }
        }
    }

    fn log(&mut self, level: &str, message: &str, data: Value) {
        self.line(json!({"type": "log", "log": {"level": level, "message": message, "data": data}}));
    }

    /// Only the trace generation has a place for it.
    fn count_requests(&mut self) {
        if self.form == Form::Trace {
            self.line(trace("global_progress", json!({"request_count": self.requests})));
        }
    }

    fn end(&mut self) {
        self.over = true;
        let elapsed = u64::try_from(self.now - self.began).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = if elapsed == 0 { 0.0 } else { self.requests as f64 * 1000.0 / elapsed as f64 };
        if self.requests > 0 {
            let data = json!({"name": "source-simulated", "requests": self.requests, "elapsed_ms": elapsed});
            self.log("info", &format!("{} requests, {rate:.1} requests/s", self.requests), data);
            self.count_requests();
        }
    }
}

/// Iterates over outputs with their times.
impl Iterator for Source {
    type Item = (Millis, SourceOutput);

    fn next(&mut self) -> Option<Self::Item> {
        self.say()
    }
}

/// `[gte, lt)` in at most so many parts of about the same length, the newest first; at least one.
fn split(gte: i64, lt: i64, parts: i64) -> Vec<Left> {
    let parts = parts.clamp(1, (lt - gte).max(1));
    let edge = |part: i64| gte + (lt - gte) * part / parts;
    (0..parts).rev().map(|part| Left { gte: edge(part), lt: edge(part + 1), cursor: None }).collect()
}

/// A failure without a stream.
pub(super) fn global_error(form: Form, kind: FailureType, message: &str) -> Value {
    match form {
        Form::Trace => trace("error", json!({"failure_type": kind.as_str(), "message": message})),
        Form::Progress => {
            json!({"type": "connection_status", "connection_status": {"status": "failed", "message": message}})
        }
    }
}

pub(super) fn trace(kind: &str, payload: Value) -> Value {
    json!({"type": "trace", "trace": {"trace_type": kind, kind: payload}})
}

/// The status of a stream, as either generation has it.
pub(super) fn status(form: Form, payload: Value) -> Value {
    match form {
        Form::Trace => trace("stream_status", payload),
        Form::Progress => json!({"type": "stream_status", "stream_status": payload}),
    }
}
