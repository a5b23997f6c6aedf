//! Synthetic logs of any size, reproducible from a seed, for benchmarks, demos and tests.
//!
//! Lines have the fields, order and quirks of the published engines of 2026-11-20 (escapes, nested
//! data, raw UTF-8, long logs).

use crate::engine::simulator::rng::{SeededRng, body};
use crate::engine::tracker::wire::WireGeneration;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use synctop_core::protocol::{Millis, time};

/// Kind of log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Log of a read: nearly all lines are records.
    Read,
    /// Log of a sync: transitions, checkpoints and logs, no records.
    Sync,
}

/// Plan of a generated log.
#[derive(Debug, Clone)]
pub struct Plan {
    pub scenario: LogKind,
    pub generation: WireGeneration,
    pub seed: u64,
    /// Approximate size of the log in bytes.
    pub size: u64,
    pub streams: usize,
    /// Mean bytes of a record's data.
    pub record_size: usize,
    /// Errors per million checkpoints.
    pub errors: u32,
    /// Damaged lines per million.
    pub malformed: u32,
    pub attempts: u32,
    /// Time of the first message.
    pub begin: Millis,
    /// Multiple of real time at which lines are written; `None` is unlimited.
    pub pace: Option<f64>,
}

/// Size of the output buffer in bytes.
const CHUNK: usize = 256 * 1024;

/// Number of different bodies of records.
const BODIES: usize = 2_048;

/// Writes a log to `out`.
///
/// # Errors
/// Returns the I/O error if `out` cannot be written.
pub fn write(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    let mut log = Log::new(plan, out);
    for attempt in 1..=plan.attempts {
        let end = plan.size / u64::from(plan.attempts) * u64::from(attempt);
        log.attempt(attempt, end)?;
    }
    log.flush()
}

struct Stream {
    name: String,
    records: u64,
    attempt_records: u64,
    states: u64,
    segments: u64,
    done: bool,
}

struct Log<'p, W> {
    plan: &'p Plan,
    out: &'p mut W,
    buffer: Vec<u8>,
    /// Bytes flushed so far.
    written: u64,
    rng: SeededRng,
    /// Time of the current line.
    at: Millis,
    /// Text of the current second, up to its milliseconds.
    stamp: String,
    /// Second of `stamp`.
    second: Millis,
    streams: Vec<Stream>,
    bodies: Vec<String>,
    began: Instant,
    ids: u64,
    /// Start of the current line in the buffer.
    line: usize,
}

const OBJECTS: [&str; 24] = [
    "customer",
    "charge",
    "invoice",
    "price",
    "product",
    "refund",
    "payout",
    "coupon",
    "dispute",
    "subscription",
    "plan",
    "transfer",
    "balance_transaction",
    "payment_intent",
    "payment_method",
    "setup_intent",
    "credit_note",
    "tax_rate",
    "promotion_code",
    "quote",
    "topup",
    "review",
    "mandate",
    "event",
];

/// Number of segments of a stream's time range.
const SEGMENTS: u64 = 12;

impl<'p, W: Write> Log<'p, W> {
    fn new(plan: &'p Plan, out: &'p mut W) -> Self {
        let mut rng = SeededRng::new(plan.seed);
        let streams = (0..plan.streams)
            .map(|at| {
                let object = OBJECTS.get(at % OBJECTS.len()).copied().unwrap_or("object");
                let name =
                    if at < OBJECTS.len() { object.to_owned() } else { format!("{object}_{}", at / OBJECTS.len()) };
                Stream { name, records: 0, attempt_records: 0, states: 0, segments: 0, done: false }
            })
            .collect();
        let bodies = match plan.scenario {
            LogKind::Read => (0..BODIES).map(|_| body(&mut rng, plan.record_size)).collect(),
            LogKind::Sync => Vec::new(),
        };
        Self {
            plan,
            out,
            buffer: Vec::with_capacity(CHUNK * 2),
            written: 0,
            rng,
            at: plan.begin,
            stamp: String::new(),
            second: Millis::MIN,
            streams,
            bodies,
            began: Instant::now(),
            ids: 0,
            line: 0,
        }
    }

    fn attempt(&mut self, attempt: u32, end: u64) -> io::Result<()> {
        if attempt > 1 {
            // Pause between two calls.
            self.at += 45_000;
        }
        for stream in &mut self.streams {
            stream.attempt_records = 0;
        }
        self.catalog()?;
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| !stream.done) {
                self.status(at, "started")?;
            }
        }
        let mut at = 0;
        while self.written + (self.buffer.len() as u64) < end {
            at = usize::try_from(self.rng.below(self.streams.len() as u64)).unwrap_or(0);
            match self.plan.scenario {
                LogKind::Read => {
                    for _ in 0..10 + self.rng.below(20) {
                        self.record(at)?;
                    }
                    if self.rng.below(4) == 0 {
                        self.state(at)?;
                    }
                }
                LogKind::Sync => match self.rng.below(20) {
                    0..14 => self.state(at)?,
                    14 => self.totals()?,
                    15..17 => self.range_complete(at)?,
                    _ => self.log(at)?,
                },
            }
            if self.rng.below(400) == 0 {
                self.log(at)?;
            }
        }
        let last = attempt == self.plan.attempts;
        for at in 0..self.streams.len() {
            if last || at % 3 == 0 {
                self.finish_stream(at)?;
            }
        }
        self.state(at)?;
        self.totals()?;
        self.eof(last)
    }

    fn put(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        let _ = write!(self.buffer, "{number}");
    }

    /// Writes the time as `"2026-11-20T08:31:18.003Z"`, with quotes.
    fn instant(&mut self) {
        let (second, millis) = (self.at.div_euclid(1000), self.at.rem_euclid(1000));
        if second != self.second {
            self.second = second;
            self.stamp = time::stamp(second * 1000, "\"%Y-%m-%dT%H:%M:%S.");
        }
        self.buffer.extend_from_slice(self.stamp.as_bytes());
        let digit = |power: Millis| b'0' + u8::try_from(millis / power % 10).unwrap_or(0);
        self.buffer.extend_from_slice(&[digit(100), digit(10), digit(1), b'Z', b'"']);
    }

    /// Writes the name of a stream, which needs no escapes.
    fn name(&mut self, at: usize) {
        if let Some(stream) = self.streams.get(at) {
            self.buffer.extend_from_slice(stream.name.as_bytes());
        }
    }

    /// Ends a line: writes emitter and time, may damage the line, and keeps the pace.
    fn end(&mut self, from: &str) -> io::Result<()> {
        self.put(",\"_emitted_by\":\"");
        self.put(from);
        self.put("\",\"_ts\":");
        self.instant();
        self.put("}");
        if self.rng.happens_per_million(self.plan.malformed) {
            self.damage();
        }
        self.put("\n");
        if let Some(speed) = self.plan.pace {
            let due = u64::try_from(self.at - self.plan.begin).unwrap_or(0);
            let due = Duration::from_millis(due).div_f64(speed);
            if let Some(wait) = due.checked_sub(self.began.elapsed()) {
                self.flush()?;
                std::thread::sleep(wait);
            }
        }
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        self.line = self.buffer.len();
        self.at += Millis::try_from(self.rng.below(4)).unwrap_or(0) / 2;
        Ok(())
    }

    /// Damages the current line: truncates it or inserts an invalid byte.
    fn damage(&mut self) {
        let length = (self.buffer.len() - self.line) as u64;
        let at = self.line + usize::try_from(length / 4 + self.rng.below(length / 2)).unwrap_or(0);
        match self.rng.below(4) {
            0 => self.buffer.truncate(at),
            1 => self.buffer.truncate(self.buffer.len() - 1),
            2 => self.buffer.insert(at, 0xff),
            _ => self.buffer.insert(self.line + 1, b','),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.out.flush()?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.line = 0;
        Ok(())
    }

    fn catalog(&mut self) -> io::Result<()> {
        if self.plan.generation == WireGeneration::Progress {
            return Ok(());
        }
        self.put("{\"type\":\"catalog\",\"catalog\":{\"streams\":[");
        for at in 0..self.streams.len() {
            self.put(if at == 0 { "{\"name\":\"" } else { ",{\"name\":\"" });
            self.name(at);
            self.put("\",\"primary_key\":[[\"id\"]]}");
        }
        self.put("]}");
        self.end("engine")
    }

    fn record(&mut self, at: usize) -> io::Result<()> {
        self.ids += 1;
        let id = self.ids;
        let body = self.rng.below(self.bodies.len() as u64);
        self.put("{\"type\":\"record\",\"record\":{\"stream\":\"");
        self.name(at);
        self.put("\",\"data\":{\"id\":\"obj_");
        let _ = write!(self.buffer, "{id:014}");
        self.put("\",");
        if let Some(body) = self.bodies.get(usize::try_from(body).unwrap_or(0)) {
            self.buffer.extend_from_slice(body.as_bytes());
        }
        self.put("},\"emitted_at\":");
        self.instant();
        self.put("}");
        if let Some(stream) = self.streams.get_mut(at) {
            stream.records += 1;
            stream.attempt_records += 1;
        }
        self.end("source/stripe")
    }

    /// Returns the start of segment `number` of a stream's time range, in seconds.
    fn segment(number: u64) -> u64 {
        1_700_000_000 + number * 95_163_736 / SEGMENTS
    }

    fn state(&mut self, at: usize) -> io::Result<()> {
        if self.plan.scenario == LogKind::Sync {
            let rows = self.rng.below(200);
            if let Some(stream) = self.streams.get_mut(at) {
                stream.records += rows;
                stream.attempt_records += rows;
            }
        }
        let advance = u64::from(self.rng.below(40) == 0);
        let Some(stream) = self.streams.get_mut(at) else { return Ok(()) };
        stream.states += 1;
        stream.segments = (stream.segments + advance).min(SEGMENTS - 1);
        let (done, states) = (if stream.done { SEGMENTS } else { stream.segments }, stream.states);
        self.put("{\"type\":\"source_state\",\"source_state\":{\"state_type\":\"stream\",\"stream\":\"");
        self.name(at);
        let (gte, lt) = (Self::segment(0), Self::segment(SEGMENTS));
        let _ = match self.plan.generation {
            WireGeneration::Trace => {
                let word = if done == SEGMENTS { "complete" } else { "pending" };
                let _ = write!(
                    self.buffer,
                    "\",\"data\":{{\"page_cursor\":null,\"status\":\"{word}\",\"backfill\":{{\"range\":{{\"gte\":{gte},\"lt\":{lt}}},\
                     \"num_segments\":{SEGMENTS},\"completed\":["
                );
                if done > 0 {
                    let _ = write!(self.buffer, "{{\"gte\":{gte},\"lt\":{}}}", Self::segment(done));
                }
                self.put("],\"in_flight\":[");
                if done < SEGMENTS {
                    let (from, to) = (Self::segment(done), Self::segment(done + 1));
                    let _ = write!(self.buffer, "{{\"gte\":{from},\"lt\":{to},\"page_cursor\":\"obj_{states:014}\"}}");
                }
                write!(self.buffer, "]}}}}}}")
            }
            WireGeneration::Progress => {
                let iso = |seconds: u64| time::iso(Millis::try_from(seconds * 1000).unwrap_or(0));
                let (from, to) = (iso(gte), iso(lt));
                let _ = write!(
                    self.buffer,
                    "\",\"data\":{{\"accounted_range\":{{\"gte\":\"{from}\",\"lt\":\"{to}\"}},\"remaining\":["
                );
                if done < SEGMENTS {
                    let _ = write!(
                        self.buffer,
                        "{{\"gte\":\"{}\",\"lt\":\"{to}\",\"cursor\":\"obj_{states:014}\"}}",
                        iso(Self::segment(done))
                    );
                }
                write!(self.buffer, "]}}}}")
            }
        };
        self.end("source/stripe")?;
        if self.plan.generation == WireGeneration::Progress && self.rng.below(8) == 0 {
            return self.totals();
        }
        if self.rng.happens_per_million(self.plan.errors) {
            return self.error(at);
        }
        Ok(())
    }

    fn status(&mut self, at: usize, word: &str) -> io::Result<()> {
        let Some(stream) = self.streams.get(at) else { return Ok(()) };
        let (records, attempt) = (stream.records, stream.attempt_records);
        match self.plan.generation {
            WireGeneration::Trace => {
                self.put(
                    "{\"type\":\"trace\",\"trace\":{\"trace_type\":\"stream_status\",\"stream_status\":{\"stream\":\"",
                );
                self.name(at);
                // The engine reports no counts in a read; the records themselves are counted.
                let _ = match self.plan.scenario {
                    LogKind::Read => write!(self.buffer, "\",\"status\":\"{word}\"}}}}"),
                    LogKind::Sync => write!(
                        self.buffer,
                        "\",\"status\":\"{word}\",\"cumulative_record_count\":{records},\"run_record_count\":{attempt}}}}}"
                    ),
                };
            }
            WireGeneration::Progress => {
                let word = if word == "started" { "start" } else { word };
                self.put("{\"type\":\"stream_status\",\"stream_status\":{\"stream\":\"");
                self.name(at);
                let _ = write!(self.buffer, "\",\"status\":\"{word}\"}}");
            }
        }
        self.end("engine")
    }

    fn range_complete(&mut self, at: usize) -> io::Result<()> {
        let done = self.streams.get(at).map_or(0, |stream| stream.segments);
        let (gte, lt) = (Self::segment(0), Self::segment(done.max(1)));
        self.put(match self.plan.generation {
            WireGeneration::Trace => {
                "{\"type\":\"trace\",\"trace\":{\"trace_type\":\"stream_status\",\"stream_status\":{\"stream\":\""
            }
            WireGeneration::Progress => "{\"type\":\"stream_status\",\"stream_status\":{\"stream\":\"",
        });
        self.name(at);
        let _ =
            write!(self.buffer, "\",\"status\":\"range_complete\",\"range_complete\":{{\"gte\":{gte},\"lt\":{lt}}}}}");
        if self.plan.generation == WireGeneration::Trace {
            self.put("}");
        }
        self.end("engine")
    }

    fn finish_stream(&mut self, at: usize) -> io::Result<()> {
        if self.streams.get(at).is_none_or(|stream| stream.done) {
            return Ok(());
        }
        if let Some(stream) = self.streams.get_mut(at) {
            stream.done = true;
        }
        self.state(at)?;
        self.status(at, "complete")
    }

    fn totals(&mut self) -> io::Result<()> {
        if self.plan.scenario == LogKind::Read {
            return Ok(());
        }
        let elapsed = u64::try_from(self.at - self.plan.begin).unwrap_or(0);
        let records: u64 = self.streams.iter().map(|stream| stream.records).sum();
        let attempt: u64 = self.streams.iter().map(|stream| stream.attempt_records).sum();
        let states: u64 = self.streams.iter().map(|stream| stream.states).sum();
        match self.plan.generation {
            WireGeneration::Trace => {
                let _ = write!(
                    self.buffer,
                    "{{\"type\":\"trace\",\"trace\":{{\"trace_type\":\"global_progress\",\"global_progress\":{{\
                     \"elapsed_ms\":{elapsed},\"run_record_count\":{attempt},\"rows_per_second\":12.5,\
                     \"request_count\":0,\"cumulative_record_count\":{records},\"state_checkpoint_count\":{states}}}}}"
                );
            }
            WireGeneration::Progress => {
                let started = time::iso(self.plan.begin);
                let _ = write!(
                    self.buffer,
                    "{{\"type\":\"progress\",\"progress\":{{\"started_at\":\"{started}\",\"elapsed_ms\":{elapsed},\
                     \"global_state_count\":0,\"derived\":{{\"status\":\"started\",\"records_per_second\":12.5,\
                     \"states_per_second\":1.25,\"total_record_count\":{records},\"total_state_count\":{states}}},\"streams\":{{"
                );
                for at in 0..self.streams.len() {
                    self.put(if at == 0 { "\"" } else { ",\"" });
                    self.name(at);
                    let Some(stream) = self.streams.get(at) else { continue };
                    let word = if stream.done { "completed" } else { "started" };
                    let (states, records) = (stream.states, stream.records);
                    let _ = write!(
                        self.buffer,
                        "\":{{\"status\":\"{word}\",\"state_count\":{states},\"record_count\":{records}}}"
                    );
                }
                self.put("}}");
            }
        }
        self.end("engine")
    }

    fn log(&mut self, at: usize) -> io::Result<()> {
        let number = self.rng.below(1000);
        if self.rng.below(5) == 0 {
            let delay = 500 << self.rng.below(5);
            let attempt = 1 + self.rng.below(5);
            self.put("{\"type\":\"log\",\"log\":{\"level\":\"warn\",\"message\":\"Retrying Stripe request\",\"data\":{\"name\":\"source-stripe\",\"stream\":\"");
            self.name(at);
            let _ = write!(
                self.buffer,
                "\",\"attempt\":{attempt},\"max_retries\":5,\"delay_ms\":{delay},\"status\":429,\
                 \"error_message\":\"Request rate limit exceeded\"}}}}"
            );
        } else {
            self.put("{\"type\":\"log\",\"log\":{\"level\":\"info\",\"message\":\"Postgres destination: wrote ");
            self.number(number);
            self.put(" rows of ");
            self.name(at);
            self.put("\"}");
        }
        self.end("destination/postgres")
    }

    fn error(&mut self, at: usize) -> io::Result<()> {
        let id = self.rng.next();
        let kind = if self.rng.below(3) == 0 { "auth_error" } else { "transient_error" };
        match self.plan.generation {
            WireGeneration::Trace => {
                let _ = write!(
                    self.buffer,
                    "{{\"type\":\"trace\",\"trace\":{{\"trace_type\":\"error\",\"error\":{{\"failure_type\":\"{kind}\",\
                     \"message\":\"Request req_{id:016x} failed: half a body, gave up\",\"stream\":\""
                );
                self.name(at);
                self.put("\"}}");
            }
            WireGeneration::Progress => {
                self.put("{\"type\":\"stream_status\",\"stream_status\":{\"stream\":\"");
                self.name(at);
                let _ = write!(
                    self.buffer,
                    "\",\"status\":\"error\",\"error\":\"Request req_{id:016x} failed: half a body, gave up\"}}"
                );
            }
        }
        self.end("engine")?;
        // The stream continues with a retry.
        self.status(at, "started")
    }

    fn eof(&mut self, last: bool) -> io::Result<()> {
        let word = match (self.plan.generation, last) {
            (WireGeneration::Trace, true) => "\"reason\":\"complete\"",
            (WireGeneration::Trace, false) => "\"reason\":\"time_limit\"",
            (WireGeneration::Progress, true) => "\"status\":\"succeeded\",\"has_more\":false",
            (WireGeneration::Progress, false) => "\"status\":\"started\",\"has_more\":true",
        };
        let _ = write!(self.buffer, "{{\"type\":\"eof\",\"eof\":{{{word}}}");
        self.end("engine")
    }
}
