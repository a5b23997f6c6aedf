//! Simulated source: reads the list API of `api.rs` in the same way as the published source, and
//! emits raw messages. Its clock advances from event to event, so that a scenario always produces
//! the same log, regardless of the machine's load.
//!
//! ```text
//! streams (limited) -> segments of their ranges (concurrent) -> requests (rate limited)
//!   page    -> records, a checkpoint, perhaps the end of a range; the rest is split if there is room
//!   refusal -> delay and retry | stream skipped | stream ended
//! ```

pub mod state;

use crate::engine::failure_type::{FailureType, refusal};
use crate::engine::simulator::list_api::{Api, ListAnswer, PageQuery};
use crate::engine::simulator::source::state::{SourceStreamState, UnreadRange, range};
use crate::engine::tracker::memory::WireRange;
use crate::engine::tracker::wire::WireGeneration;
use crate::util::sys::lock;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use synctop_core::protocol::Millis;

/// Maximum retries of a request, as in Stripe's source.
const MAX_RETRIES: u32 = 5;

/// First delay before a retry, in milliseconds. It doubles with each retry, as in Stripe's source.
const FIRST_WAIT_MS: u64 = 1_000;

/// Microseconds of a second, the unit of the request budget's clock.
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Output of the source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceOutput {
    /// Message of one line.
    Line(Value),
    /// Records of a stream, by object number. Their order is newest (highest) first.
    Records(usize, Range<u64>),
    /// The engine crashes.
    Crash,
}

/// Phase of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Active,
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The answer to a request arrives.
    Answer,
    /// The delay before a retry ends.
    Retry,
}

/// Entry of the event queue: time, sequence number, stream, piece, event.
type ScheduledEvent = (Millis, u64, usize, u64, Event);

/// Part of a stream's range that is read page by page.
struct RangePiece {
    id: u64,
    unread: UnreadRange,
    /// True while a request or its retry is pending.
    busy: bool,
    /// Retries of the pending request.
    tries: u32,
}

/// State of reading one stream.
struct StreamReadState {
    phase: Phase,
    /// Total range, in seconds.
    total: (i64, i64),
    pieces: Vec<RangePiece>,
    failed: Option<FailureType>,
}

/// One attempt of the source.
pub struct Source {
    api: Arc<Mutex<Api>>,
    form: WireGeneration,
    names: Vec<String>,
    streams: Vec<StreamReadState>,
    /// Maximum streams that are read at once.
    max_streams: usize,
    /// Maximum concurrent requests of a stream.
    segments: usize,
    now: Millis,
    began: Millis,
    /// Next free slot of the request budget, in microseconds.
    slot: i64,
    /// Microseconds between two requests.
    spacing: i64,
    /// Earliest time of the next request, while the destination is behind.
    held_until: Millis,
    events: BinaryHeap<Reverse<ScheduledEvent>>,
    /// Last number given to a piece or an event.
    counter: u64,
    requests: u64,
    /// Outputs not yet returned.
    outputs: VecDeque<SourceOutput>,
    is_finished: bool,
    failed: bool,
}

impl Source {
    /// Creates a source that reads the streams of `kept` (stored states by stream index) from `now`
    /// on. Other streams are not read. `ceiling`: upper bound of all ranges, in seconds.
    #[must_use]
    pub fn new(
        api: Arc<Mutex<Api>>,
        form: WireGeneration,
        kept: &BTreeMap<usize, SourceStreamState>,
        ceiling: i64,
        now: Millis,
    ) -> Self {
        let (names, begin, rps, max_streams, segments) = {
            let api = lock(&api);
            let scenario = api.scenario();
            let names: Vec<_> = scenario.streams.iter().map(|stream| stream.name.clone()).collect();
            let begin = scenario.range.gte.div_euclid(1000);
            // Only streams with something to read share the request budget.
            let to_read = |state: &&SourceStreamState| {
                state.failed.is_none() && (state.total.is_none() || !state.unread.is_empty())
            };
            let segments = scenario.segments(kept.values().filter(to_read).count());
            (names, begin, scenario.budget(), scenario.max_concurrent_streams, segments)
        };
        let mut source = Self {
            api,
            form,
            streams: Vec::new(),
            names,
            max_streams,
            segments,
            now,
            began: now,
            slot: now * 1000,
            spacing: MICROS_PER_SECOND / i64::from(rps.max(1)),
            held_until: now,
            events: BinaryHeap::new(),
            counter: 0,
            requests: 0,
            outputs: VecDeque::new(),
            is_finished: false,
            failed: false,
        };
        for at in 0..source.names.len() {
            let reading = match kept.get(&at) {
                None => StreamReadState {
                    phase: Phase::Finished,
                    total: (begin, ceiling),
                    pieces: Vec::new(),
                    failed: None,
                },
                Some(state) => source.reading(state, begin, ceiling),
            };
            source.streams.push(reading);
        }
        source
    }

    fn reading(&mut self, kept: &SourceStreamState, begin: i64, ceiling: i64) -> StreamReadState {
        let mut unread = kept.unread.clone();
        // A later run also reads the objects created since the last one.
        let (gte, lt) = kept.total.unwrap_or((begin, begin));
        if lt < ceiling {
            unread.push(UnreadRange { gte: lt, lt: ceiling, cursor: None });
        }
        let total = (gte, lt.max(ceiling));
        let phase = if unread.is_empty() || kept.failed.is_some() { Phase::Finished } else { Phase::Waiting };
        let pieces = unread.into_iter().map(|unread| self.piece(unread)).collect();
        StreamReadState { phase, total, pieces, failed: kept.failed }
    }

    fn piece(&mut self, unread: UnreadRange) -> RangePiece {
        self.counter += 1;
        RangePiece { id: self.counter, unread, busy: false, tries: 0 }
    }

    /// Returns the next output with its time; `None` at the end.
    fn next_output(&mut self) -> Option<(Millis, SourceOutput)> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some((self.now, output));
            }
            if self.is_finished {
                return None;
            }
            self.start_requests();
            if !self.outputs.is_empty() {
                continue;
            }
            match self.events.pop() {
                Some(Reverse((at, _, stream, piece, event))) => {
                    self.now = self.now.max(at);
                    match event {
                        Event::Answer => self.handle_answer(stream, piece),
                        Event::Retry => self.request(stream, piece),
                    }
                }
                None => self.end(),
            }
        }
    }

    /// Delays requests until an instant, because the destination is behind.
    pub fn hold(&mut self, until: Millis) {
        self.held_until = self.held_until.max(until);
    }

    /// True if a failure ended all streams.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Returns the number of requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    fn name(&self, stream: usize) -> &str {
        self.names.get(stream).map_or("", String::as_str)
    }

    /// Queues a message.
    fn line(&mut self, message: Value) {
        self.outputs.push_back(SourceOutput::Line(message));
    }

    /// Starts waiting streams and idle requests, up to the limits of concurrency.
    fn start_requests(&mut self) {
        let mut active = self.streams.iter().filter(|stream| stream.phase == Phase::Active).count();
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.phase == Phase::Waiting) && active < self.max_streams {
                active += 1;
                self.start_stream(at);
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

    fn start_stream(&mut self, at: usize) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        stream.phase = Phase::Active;
        let total = WireRange::from(range(stream.total.0, stream.total.1));
        let name = self.name(at).to_owned();
        let mut payload = json!({"stream": name, "status": "start", "time_range": total});
        if self.form == WireGeneration::Trace {
            payload = json!({"stream": name, "status": "started"});
        }
        self.line(status(self.form, payload));
    }

    fn query(&self, stream: usize, piece: u64) -> Option<PageQuery> {
        let piece = self.streams.get(stream)?.pieces.iter().find(|it| it.id == piece)?;
        let UnreadRange { gte, lt, cursor } = piece.unread.clone();
        Some(PageQuery { stream, gte, lt, cursor })
    }

    /// Schedules a request for a piece at the next free slot of the budget.
    fn request(&mut self, stream: usize, piece: u64) {
        // The stream may have ended since the request was scheduled.
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

    /// Handles the answer to a request.
    fn handle_answer(&mut self, stream: usize, piece: u64) {
        // The stream may have ended since the request was sent.
        if self.streams.get(stream).is_none_or(|stream| stream.phase != Phase::Active) {
            return;
        }
        let Some(query) = self.query(stream, piece) else { return };
        let answer = lock(&self.api).list(&query);
        match answer {
            ListAnswer::Page(page) => self.handle_page(stream, piece, page.objects, page.has_more),
            ListAnswer::Broken(why) => self.retry_later(stream, piece, None, None, why.to_owned()),
            ListAnswer::Refused { status, code, message, retry_after } => {
                if status == 401 {
                    self.reject_key(&message);
                } else if let Some(refusal) = refusal(status, code, &message) {
                    tracing::debug!(target: "synctop::simulate", "skipped: {}", refusal.name);
                    self.skip(stream, &message);
                } else if FailureType::of_status(status).permanent() {
                    self.fail(stream, FailureType::of_status(status), Some(status), &message);
                } else {
                    self.retry_later(stream, piece, Some(status), retry_after, message);
                }
            }
            ListAnswer::Crash => {
                self.outputs.push_back(SourceOutput::Crash);
                self.is_finished = true;
            }
        }
    }

    /// Handles a page: emits its records, splits the unread rest, emits a checkpoint.
    fn handle_page(&mut self, stream: usize, piece: u64, objects: Range<u64>, has_more: bool) {
        if !objects.is_empty() {
            self.outputs.push_back(SourceOutput::Records(stream, objects.clone()));
        }
        let (last, cursor) = {
            let api = lock(&self.api);
            (api.created(stream, objects.start), api.id(stream, objects.start))
        };
        let segments = self.segments;
        let Some(reading) = self.streams.get_mut(stream) else { return };
        let Some(index) = reading.pieces.iter().position(|it| it.id == piece) else { return };
        let mut finished = None;
        let mut parts = Vec::new();
        if has_more {
            let room = i64::try_from((segments + 1).saturating_sub(reading.pieces.len())).unwrap_or(1);
            if let Some(piece) = reading.pieces.get_mut(index) {
                (piece.busy, piece.tries) = (false, 0);
                // Everything after the second of the last object was read. Further objects of that
                // second may follow the cursor.
                let read = last + 1;
                finished = (read < piece.unread.lt).then_some((read, piece.unread.lt));
                piece.unread.lt = piece.unread.lt.min(read);
                parts = split(piece.unread.gte, piece.unread.lt, room);
                piece.unread = UnreadRange { cursor: Some(cursor), ..parts.remove(0) };
            }
        } else {
            let piece = reading.pieces.remove(index);
            finished = Some((piece.unread.gte, piece.unread.lt));
        }
        for part in parts {
            let piece = self.piece(part);
            if let Some(reading) = self.streams.get_mut(stream) {
                reading.pieces.push(piece);
            }
        }
        self.checkpoint(stream);
        // In the trace generation the checkpoint itself reports completed ranges.
        if let (Some((gte, lt)), WireGeneration::Progress) = (finished, self.form) {
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
        let unread = reading.pieces.iter().map(|piece| piece.unread.clone()).collect();
        let state = SourceStreamState { total: Some(reading.total), unread, failed: reading.failed };
        let data = state.to_wire(self.form, self.segments);
        let message = json!({"state_type": "stream", "stream": self.name(stream), "data": data});
        self.line(json!({"type": "source_state", "source_state": message}));
    }

    fn finish(&mut self, stream: usize) {
        if let Some(reading) = self.streams.get_mut(stream) {
            reading.phase = Phase::Finished;
        }
        self.count_requests();
        let done = json!({"stream": self.name(stream), "status": "complete"});
        self.line(status(self.form, done));
    }

    fn skip(&mut self, stream: usize, reason: &str) {
        if let Some(reading) = self.streams.get_mut(stream) {
            reading.phase = Phase::Finished;
        }
        let skipped = json!({"stream": self.name(stream), "status": "skip", "reason": reason});
        self.line(status(self.form, skipped));
    }

    /// Schedules the retry of a refused or rate-limited request: after `Retry-After`, otherwise
    /// with exponential backoff. After the last retry the stream fails for this attempt.
    fn retry_later(&mut self, stream: usize, piece: u64, http: Option<u16>, retry_after: Option<f64>, why: String) {
        let found =
            self.streams.get_mut(stream).and_then(|reading| reading.pieces.iter_mut().find(|it| it.id == piece));
        let Some(retried) = found else { return };
        if retried.tries >= MAX_RETRIES {
            return self.fail(stream, FailureType::Transient, http, &why);
        }
        retried.tries += 1;
        let tries = retried.tries;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a day")]
        let asked = retry_after.map(|seconds| (seconds * 1000.0) as u64);
        let wait = asked.unwrap_or_else(|| FIRST_WAIT_MS << (tries - 1));
        let mut data = json!({
            "name": "source-simulated",
            "stream": self.name(stream),
            "attempt": tries,
            "max_retries": MAX_RETRIES,
            "delay_ms": wait,
            "error_message": why,
        });
        if let (Some(data), Some(status)) = (data.as_object_mut(), http) {
            data.insert("status".into(), status.into());
        }
        self.log("warn", "Retrying request", data);
        // The delay occupies no slot of the request budget.
        self.counter += 1;
        let at = self.now + i64::try_from(wait).unwrap_or(0);
        self.events.push(Reverse((at, self.counter, stream, piece, Event::Retry)));
    }

    /// Ends the source: a rejected key affects all streams.
    fn reject_key(&mut self, message: &str) {
        (self.is_finished, self.failed) = (true, true);
        self.line(global_error(self.form, FailureType::Auth, message));
    }

    /// Ends a stream with an error.
    fn fail(&mut self, stream: usize, kind: FailureType, http: Option<u16>, message: &str) {
        if let Some(reading) = self.streams.get_mut(stream) {
            reading.phase = Phase::Finished;
            reading.pieces.iter_mut().for_each(|piece| piece.busy = false);
            reading.failed = Some(kind).filter(|kind| kind.permanent());
        }
        let name = self.name(stream).to_owned();
        match self.form {
            WireGeneration::Trace => {
                let error = json!({"failure_type": kind.as_str(), "message": message, "stream": name});
                self.line(trace("error", error));
                // Stores the failure in the state too, so that the next attempt skips the stream.
                if kind.permanent() {
                    self.checkpoint(stream);
                }
            }
            WireGeneration::Progress => {
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

    /// Reports the request count, for which only the trace generation has a field.
    fn count_requests(&mut self) {
        if self.form == WireGeneration::Trace {
            self.line(trace("global_progress", json!({"request_count": self.requests})));
        }
    }

    fn end(&mut self) {
        self.is_finished = true;
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

/// Iterator over outputs with their times.
impl Iterator for Source {
    type Item = (Millis, SourceOutput);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_output()
    }
}

/// Splits `[gte, lt)` into at most `parts` ranges of about equal length, newest first. Returns at
/// least one.
fn split(gte: i64, lt: i64, parts: i64) -> Vec<UnreadRange> {
    let parts = parts.clamp(1, (lt - gte).max(1));
    let edge = |part: i64| gte + (lt - gte) * part / parts;
    (0..parts).rev().map(|part| UnreadRange { gte: edge(part), lt: edge(part + 1), cursor: None }).collect()
}

/// Returns the message of a failure without a stream.
pub(crate) fn global_error(form: WireGeneration, kind: FailureType, message: &str) -> Value {
    match form {
        WireGeneration::Trace => trace("error", json!({"failure_type": kind.as_str(), "message": message})),
        WireGeneration::Progress => {
            json!({"type": "connection_status", "connection_status": {"status": "failed", "message": message}})
        }
    }
}

pub(crate) fn trace(kind: &str, payload: Value) -> Value {
    json!({"type": "trace", "trace": {"trace_type": kind, kind: payload}})
}

/// Returns a stream status message of either generation.
pub(crate) fn status(form: WireGeneration, payload: Value) -> Value {
    match form {
        WireGeneration::Trace => trace("stream_status", payload),
        WireGeneration::Progress => json!({"type": "stream_status", "stream_status": payload}),
    }
}
