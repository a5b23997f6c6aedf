//! One call of the simulated engine: the source, a destination with a queue, the tracker, and the
//! limits of the caller.
//!
//! ```text
//! source --records, states, statuses--> destination (limited rate) --> tracker --> outlet
//!   ^------------------ waits while the destination is behind --'
//! ```
//!
//! Everything passes the destination in order, so that "complete" follows the counts it confirms.

use crate::engine::failure_type::FailureType;
use crate::engine::raw_json::raw;
use crate::engine::simulator::list_api::Api;
use crate::engine::simulator::source::state::SourceStreamState;
use crate::engine::simulator::source::{Source, SourceOutput, global_error, status, trace};
use crate::engine::tracker::memory::Memory;
use crate::engine::tracker::wire::WireGeneration;
use crate::engine::tracker::{AttemptLimit, AttemptOutcome, Tracker};
use crate::util::sys::lock;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use synctop_core::protocol::{LineEnd, Millis, Status, time};

/// Maximum lead of the source over the destination, in milliseconds.
const MAX_LEAD_MS: Millis = 2_000;

/// Options of a call.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub form: WireGeneration,
    /// State returned by the last call.
    pub memory: Memory,
    /// Streams to read; `None` for all.
    pub streams: Option<Vec<String>>,
    /// Run id. One that differs from that of the state starts a run: failed and skipped streams are
    /// retried, and the counts of the progress generation restart.
    pub run_id: Option<String>,
    pub time_limit_ms: Option<u64>,
    pub state_limit: Option<u64>,
    /// Time of the engine's clock at the start.
    pub begin: Millis,
    /// True if records are part of the output.
    pub records: bool,
    /// True if the output is the source's own messages, without the tracker.
    pub raw: bool,
    /// Message with which the API rejects the key, if it does.
    pub refused: Option<String>,
    /// Live events (`source_input` messages). If there are any, only they are processed, and the
    /// source is not read.
    pub inputs: Vec<Value>,
}

/// Output of a call.
pub trait Outlet {
    /// Writes whole lines at the time `at` of the engine's clock.
    ///
    /// # Errors
    /// Returns the I/O error if the reader has exited; the call ends.
    fn write_lines(&mut self, at: Millis, lines: &[u8]) -> io::Result<()>;

    /// Receives the rows that the destination wrote.
    ///
    /// # Errors
    /// Returns the I/O error if the rows cannot be stored; the call ends.
    fn rows(&mut self, _api: &Api, _stream: usize, _objects: Range<u64>) -> io::Result<()> {
        Ok(())
    }
}

/// Result of a call.
pub struct CallResult {
    /// `None` if the engine crashed, or the output was raw.
    pub outcome: Option<AttemptOutcome>,
    pub state: Box<RawValue>,
    /// Time of the engine's clock at the end.
    pub now: Millis,
}

/// Error of a call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("there is no stream {0} (there are {1})")]
    NoSuchStream(String, String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs one call to its end.
///
/// # Errors
/// Returns [`CallError::NoSuchStream`] for an unknown stream and [`CallError::Io`] if the outlet
/// fails.
pub fn call(api: &Arc<Mutex<Api>>, mut call: Call, outlet: &mut dyn Outlet) -> Result<CallResult, CallError> {
    let (asked, kept, ceiling) = prepare(api, &mut call)?;
    let mut run = Run {
        source: Source::new(Arc::clone(api), call.form, &kept, ceiling, call.begin),
        tracker: Tracker::new(call.form, std::mem::take(&mut call.memory), call.begin),
        free: call.begin,
        out: Vec::new(),
        states: 0,
        failed_streams: BTreeSet::new(),
        api: Arc::clone(api),
        call,
    };
    if !run.call.raw {
        let streams: Vec<_> = asked.iter().map(|name| json!({"name": name, "primary_key": [["id"]]})).collect();
        let payload = raw(&json!({ "streams": streams }));
        run.tracker.catalog(&asked, &payload, run.call.begin, &mut run.out);
        run.flush(run.call.begin, outlet)?;
    }
    let stop = if let Some(message) = run.call.refused.take() {
        run.failed(FailureType::Auth, &message, run.call.begin);
        run.flush(run.call.begin, outlet)?;
        StopReason::Failed
    } else if run.call.inputs.is_empty() {
        run.read_source(outlet)?
    } else {
        run.apply_live_events(outlet)?
    };
    run.end(stop, outlet)
}

/// Returns the stream of an event: the type of its object, as in Stripe's events.
fn stream_of(input: &Value) -> Option<&str> {
    let event = input.get("source_input").unwrap_or(input);
    event.pointer("/data/object/object").or_else(|| event.get("stream"))?.as_str()
}

/// Requested streams, their stored states, and the upper bound of their ranges in seconds.
type Prepared = (Vec<String>, BTreeMap<usize, SourceStreamState>, i64);

fn prepare(api: &Arc<Mutex<Api>>, call: &mut Call) -> Result<Prepared, CallError> {
    let mut api = lock(api);
    // The elapsed time identifies the call, also if its process makes no other one.
    api.begin(call.memory.elapsed_ms);
    let scenario = api.scenario();
    let names: Vec<&str> = scenario.streams.iter().map(|stream| stream.name.as_str()).collect();
    if let Some(unknown) = call.streams.iter().flatten().find(|name| !names.contains(&name.as_str())) {
        return Err(CallError::NoSuchStream(unknown.clone(), names.join(", ")));
    }
    let memory = &mut call.memory;
    let is_new_run = call.run_id.is_some() && memory.run_id.is_some() && memory.run_id != call.run_id;
    if is_new_run {
        // The trace generation has no runs, so its counts continue.
        memory.new_run(call.form == WireGeneration::Progress);
    }
    memory.run_id = call.run_id.clone().or(memory.run_id.take());
    let frozen = memory.time_ceiling.as_deref().and_then(time::parse);
    let ceiling = frozen.unwrap_or_else(|| scenario.range.lt.min(call.begin.max(scenario.range.gte + 1000)));
    memory.time_ceiling = Some(time::iso(ceiling));
    let mut asked = Vec::new();
    let mut kept = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        if call.streams.as_ref().is_some_and(|streams| !streams.iter().any(|it| it == name)) {
            continue;
        }
        asked.push((*name).to_owned());
        let known = memory.streams.get(*name);
        let permanent = |word: &str| FailureType::from(word).permanent();
        let failed = known.is_some_and(|kept| {
            let last = kept.errors.last().and_then(|error| error.failure_type.as_deref());
            kept.status == Status::Errored && last.is_some_and(permanent)
        });
        if failed || known.is_some_and(|kept| kept.status == Status::Skipped) {
            continue;
        }
        let state = memory.source.streams.get(*name).and_then(|data| SourceStreamState::read(data.get()));
        let mut state = state.unwrap_or_default();
        if is_new_run && state.failed.take().is_some() {
            let data = state.to_wire(call.form, scenario.segments(names.len()));
            memory.source.streams.insert((*name).to_owned(), raw(&data));
        }
        kept.insert(at, state);
    }
    Ok((asked, kept, ceiling.div_euclid(1000)))
}

struct Run {
    api: Arc<Mutex<Api>>,
    call: Call,
    source: Source,
    tracker: Tracker,
    /// Time at which the destination has accepted everything it received.
    free: Millis,
    states: u64,
    /// Streams on which the destination failed in this call.
    failed_streams: BTreeSet<String>,
    out: Vec<u8>,
}

/// Reason that the source is no longer read.
enum StopReason {
    /// Nothing is left to read.
    Finished,
    /// The destination failed, or the key is rejected.
    Failed,
    Limit(AttemptLimit),
    Crash,
}

impl Run {
    /// Writes the collected output.
    fn flush(&mut self, at: Millis, outlet: &mut dyn Outlet) -> io::Result<()> {
        if !self.out.is_empty() {
            outlet.write_lines(at, &self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Millis> {
        Some(self.call.begin.saturating_add(Millis::try_from(self.call.time_limit_ms?).unwrap_or(Millis::MAX)))
    }

    /// Reads the source up to its end, a limit or a failure.
    fn read_source(&mut self, outlet: &mut dyn Outlet) -> Result<StopReason, CallError> {
        while let Some((at, output)) = self.source.next() {
            // The last checkpoint covers the rows accepted by the destination before the deadline.
            if self.deadline().is_some_and(|deadline| at >= deadline) {
                return Ok(StopReason::Limit(AttemptLimit::Time));
            }
            let at = at.max(self.free);
            match output {
                SourceOutput::Crash => {
                    self.free = at;
                    return Ok(StopReason::Crash);
                }
                SourceOutput::Records(stream, objects) => self.records(stream, objects, at, outlet)?,
                SourceOutput::Line(message) => {
                    self.message(message, at);
                    self.flush(at, outlet)?;
                }
            }
            let failure = lock(&self.api).destination_failure();
            if let Some(message) = failure {
                self.failed(FailureType::System, &message, self.free.max(at));
                self.flush(self.free.max(at), outlet)?;
                return Ok(StopReason::Failed);
            }
            if self.call.state_limit.is_some_and(|limit| self.states >= limit) {
                return Ok(StopReason::Limit(AttemptLimit::States));
            }
        }
        Ok(if self.source.failed() { StopReason::Failed } else { StopReason::Finished })
    }

    fn records(&mut self, stream: usize, objects: Range<u64>, at: Millis, outlet: &mut dyn Outlet) -> io::Result<()> {
        let api = lock(&self.api);
        let speed = i64::from(api.scenario().destination.rows_per_second);
        let rows = i64::try_from(objects.end - objects.start).unwrap_or(0);
        self.free = at + if speed > 0 { rows * 1000 / speed } else { 0 };
        let name = api.scenario().streams.get(stream).map_or("", |stream| stream.name.as_str());
        let name = &name.to_owned();
        drop(api);
        if self.destination_rejects(stream, name, &objects, outlet)? {
            return Ok(());
        }
        let api = lock(&self.api);
        outlet.rows(&api, stream, objects.clone())?;
        if self.call.records || self.call.raw {
            let mut line = String::new();
            for number in objects.rev() {
                line.clear();
                line.push_str("{\"type\":\"record\",\"record\":{\"stream\":");
                line.push_str(&Value::from(name.as_str()).to_string());
                line.push_str(",\"data\":");
                api.write(stream, number, &mut line);
                line.push_str(&format!(",\"emitted_at\":\"{}\"}}}}", time::iso(at)));
                if self.call.raw {
                    self.out.extend_from_slice(line.as_bytes());
                    self.out.push(b'\n');
                } else {
                    self.tracker.line(line.as_bytes(), LineEnd::Newline, self.free, &mut self.out);
                }
            }
        } else {
            let count = objects.end - objects.start;
            self.tracker.records(name, count, self.free, &mut self.out);
        }
        drop(api);
        self.source.hold(self.free - MAX_LEAD_MS);
        self.flush(self.free, outlet)
    }

    /// True if the destination rejects a stream from this page on, or rejected it earlier. Writes
    /// half of the first rejected page.
    fn destination_rejects(
        &mut self,
        stream: usize,
        name: &str,
        objects: &Range<u64>,
        outlet: &mut dyn Outlet,
    ) -> io::Result<bool> {
        if self.failed_streams.contains(name) {
            return Ok(true);
        }
        let mut api = lock(&self.api);
        let Some(cause) = api.destination_outage(stream, objects.start) else { return Ok(false) };
        let written = objects.start..objects.start + (objects.end - objects.start) / 2;
        outlet.rows(&api, stream, written)?;
        drop(api);
        self.failed_streams.insert(name.to_owned());
        // The tracker counts all rows of the page but the last, although only half were written.
        self.tracker.records(name, (objects.end - objects.start).saturating_sub(1), self.free, &mut self.out);
        let table = format!("(table=\"simulated\".\"{name}\" columns=[_raw_data] pk=[id]) (stream={name} records=100)");
        let text = format!("upsertWithStats failed: {cause} {table}");
        let failed = match self.call.form {
            WireGeneration::Progress => {
                status(WireGeneration::Progress, json!({"stream": name, "status": "error", "error": text}))
            }
            WireGeneration::Trace => {
                trace("error", json!({"failure_type": "transient_error", "message": text, "stream": name}))
            }
        };
        self.message(failed, self.free);
        self.flush(self.free, outlet)?;
        Ok(true)
    }

    /// Applies a checkpoint of a rejected stream to the end's state without writing it. Returns
    /// false for other messages.
    fn absorb_rejected_state(&mut self, message: &Value, at: Millis) -> bool {
        let stream = message.pointer("/source_state/stream").and_then(Value::as_str);
        if !stream.is_some_and(|stream| self.failed_streams.contains(stream)) {
            return false;
        }
        self.tracker.line(message.to_string().as_bytes(), LineEnd::Newline, at, &mut Vec::new());
        true
    }

    fn message(&mut self, mut message: Value, at: Millis) {
        let state = message.get("type").and_then(Value::as_str) == Some("source_state");
        if state && !self.call.raw && self.absorb_rejected_state(&message, at) {
            return;
        }
        self.states += u64::from(state);
        if !self.call.raw
            && let Some(fields) = message.as_object_mut()
        {
            // The destination confirms a state, so it is the emitter.
            let from = if state { "destination/simulated" } else { "source/simulated" };
            fields.insert("_emitted_by".into(), from.into());
            fields.insert("_ts".into(), time::iso(at).into());
        }
        let line = message.to_string();
        if self.call.raw {
            self.out.extend_from_slice(line.as_bytes());
            self.out.push(b'\n');
        } else {
            self.tracker.line(line.as_bytes(), LineEnd::Newline, at, &mut self.out);
        }
    }

    fn failed(&mut self, kind: FailureType, message: &str, at: Millis) {
        let failed = global_error(self.call.form, kind, message);
        self.message(failed, at);
        self.free = at;
    }

    /// Processes live events. Each is an object of its stream, whose state stays unchanged.
    fn apply_live_events(&mut self, outlet: &mut dyn Outlet) -> Result<StopReason, CallError> {
        let at = self.call.begin;
        let inputs = std::mem::take(&mut self.call.inputs);
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        {
            let api = lock(&self.api);
            let streams = &api.scenario().streams;
            for input in &inputs {
                let stream = stream_of(input);
                let known = streams.iter().position(|it| Some(it.name.as_str()) == stream);
                if let Some(stream) = known {
                    *counts.entry(stream).or_default() += 1;
                }
            }
        }
        for (stream, count) in counts {
            let (name, records) = {
                let api = lock(&self.api);
                let stream = api.scenario().streams.get(stream);
                (stream.map(|it| it.name.clone()).unwrap_or_default(), stream.map_or(0, |it| it.records))
            };
            // Numbers above those of a backfill: the events are newer than its objects.
            let api = lock(&self.api);
            outlet.rows(&api, stream, records..records + count)?;
            drop(api);
            let start = if self.call.form == WireGeneration::Trace { "started" } else { "start" };
            self.message(status(self.call.form, json!({"stream": name, "status": start})), at);
            self.tracker.records(&name, count, at, &mut self.out);
            let data = self.tracker.memory().source.streams.get(&name).map(|data| data.get().to_owned());
            let data: Value = data.and_then(|data| serde_json::from_str(&data).ok()).unwrap_or_else(|| json!({}));
            self.message(
                json!({"type": "source_state", "source_state": {"state_type": "stream", "stream": name, "data": data}}),
                at,
            );
            self.message(status(self.call.form, json!({"stream": name, "status": "complete"})), at);
            self.flush(at, outlet)?;
        }
        Ok(StopReason::Finished)
    }

    /// Ends the call: writes the end message and returns the state.
    fn end(mut self, stop: StopReason, outlet: &mut dyn Outlet) -> Result<CallResult, CallError> {
        let limit = match stop {
            StopReason::Crash => {
                // A crash ends the output in the middle of a line.
                outlet.write_lines(self.free, b"{\"type\":\"source_state\",\"source_st")?;
                return Ok(CallResult { outcome: None, state: self.tracker.state(), now: self.free });
            }
            StopReason::Limit(limit) => Some(limit),
            StopReason::Finished => {
                self.tracker.source_ended();
                None
            }
            StopReason::Failed => None,
        };
        let now = match (limit, self.deadline()) {
            (Some(AttemptLimit::Time), Some(deadline)) => deadline.max(self.free),
            _ => self.free,
        };
        if self.call.raw {
            let end = json!({"type": "eof", "eof": {"reason": limit.map_or("complete", AttemptLimit::as_str)}});
            self.message(end, now);
            self.flush(now, outlet)?;
            return Ok(CallResult { outcome: None, state: RawValue::NULL.to_owned(), now });
        }
        if limit.is_some() && self.call.form == WireGeneration::Trace {
            // The source reports its requests only at its own end.
            let count = json!({"request_count": self.source.requests()});
            self.message(trace("global_progress", count), now);
        }
        let outcome = self.tracker.finish(limit, now, &mut self.out);
        self.flush(now, outlet)?;
        Ok(CallResult { outcome: Some(outcome), state: self.tracker.state(), now })
    }
}
