//! One call of the simulated engine: the source, a destination with a queue, the tracker, and the
//! limits of the caller.
//!
//! ```text
//! source --records, states, statuses--> destination (so many rows a second; the source waits when it is behind) --> tracker --> outlet
//! ```
//!
//! Everything passes the destination in order, so that "complete" follows the counts behind it.

use super::api::Api;
use super::classify::FailureType;
use super::raw_json::raw;
use super::source::state::SourceStreamState;
use super::source::{Source, SourceOutput, global_error, status, trace};
use super::tracker::memory::Memory;
use super::tracker::wire::Form;
use super::tracker::{AttemptOutcome, Limit, Tracker};
use crate::net::lock;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use synctop_core::protocol::{LineEnd, Millis, Status, time};

/// Maximum lead of the source over the destination, in milliseconds.
const AHEAD_MS: Millis = 2_000;

/// Options of a call.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub form: Form,
    /// State returned by the last call.
    pub memory: Memory,
    /// Only these streams.
    pub streams: Option<Vec<String>>,
    /// A run id other than that of the state starts a run: failed and skipped streams are retried,
    /// and counts restart.
    pub run_id: Option<String>,
    pub time_limit_ms: Option<u64>,
    pub state_limit: Option<u64>,
    /// The engine's clock at the begin.
    pub begin: Millis,
    /// Records are part of the output.
    pub records: bool,
    /// The source's own messages, without the tracker.
    pub raw: bool,
    /// The API does not take the key, with these words.
    pub refused: Option<String>,
    /// Live events (`source_input` messages): they alone are taken in, and nothing is read.
    pub inputs: Vec<Value>,
}

/// Output of a call.
pub trait Outlet {
    /// Whole lines whose time has come at `at`.
    ///
    /// # Errors
    /// If the reader is gone: the call ends.
    fn say(&mut self, at: Millis, lines: &[u8]) -> io::Result<()>;

    /// Rows that the destination has now.
    ///
    /// # Errors
    /// When they cannot be kept: the call ends.
    fn rows(&mut self, _api: &Api, _stream: usize, _objects: Range<u64>) -> io::Result<()> {
        Ok(())
    }
}

/// Result of a call.
pub struct Called {
    /// `None`: the engine died.
    pub outcome: Option<AttemptOutcome>,
    pub state: Box<RawValue>,
    /// The engine's clock at the end.
    pub now: Millis,
}

/// Invalid request of a caller.
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
/// If a requested stream does not exist, or the reader is gone.
pub fn call(api: &Arc<Mutex<Api>>, mut call: Call, outlet: &mut dyn Outlet) -> Result<Called, CallError> {
    let (asked, kept, ceiling) = prepare(api, &mut call)?;
    let mut run = Run {
        source: Source::new(Arc::clone(api), call.form, &kept, ceiling, call.begin),
        tracker: Tracker::new(call.form, std::mem::take(&mut call.memory), call.begin),
        free: call.begin,
        out: Vec::new(),
        states: 0,
        down: BTreeSet::new(),
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
        Stop::Failed
    } else if run.call.inputs.is_empty() {
        run.go(outlet)?
    } else {
        run.live(outlet)?
    };
    run.end(stop, outlet)
}

/// The stream that an event is about, as Stripe words it: the kind of the object in it.
fn stream_of(input: &Value) -> Option<&str> {
    let event = input.get("source_input").unwrap_or(input);
    event.pointer("/data/object/object").or_else(|| event.get("stream"))?.as_str()
}

/// Requested streams, their stored states, and the upper bound of their ranges in seconds.
type Prepared = (Vec<String>, BTreeMap<usize, SourceStreamState>, i64);

fn prepare(api: &Arc<Mutex<Api>>, call: &mut Call) -> Result<Prepared, CallError> {
    let mut api = lock(api);
    // A process of a single call has no other identity.
    api.begin(call.memory.elapsed_ms);
    let scenario = api.scenario();
    let names: Vec<&str> = scenario.streams.iter().map(|stream| stream.name.as_str()).collect();
    if let Some(unknown) = call.streams.iter().flatten().find(|name| !names.contains(&name.as_str())) {
        return Err(CallError::NoSuchStream(unknown.clone(), names.join(", ")));
    }
    let memory = &mut call.memory;
    let anew = call.run_id.is_some() && memory.run_id.is_some() && memory.run_id != call.run_id;
    if anew {
        // The trace generation knows no runs: its counts go on.
        memory.new_run(call.form == Form::Progress);
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
        if anew && state.failed.take().is_some() {
            let data = state.form(call.form, scenario.segments(names.len()));
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
    /// Time at which the destination has accepted everything it was given.
    free: Millis,
    states: u64,
    /// Streams on which the destination failed in this call.
    down: BTreeSet<String>,
    out: Vec<u8>,
}

/// Reason that the source is no longer read.
enum Stop {
    /// It has read all there is for it.
    Over,
    /// The destination takes nothing any more, or the key is bad.
    Failed,
    Limit(Limit),
    Crash,
}

impl Run {
    fn flush(&mut self, at: Millis, outlet: &mut dyn Outlet) -> io::Result<()> {
        if !self.out.is_empty() {
            outlet.say(at, &self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Millis> {
        Some(self.call.begin.saturating_add(Millis::try_from(self.call.time_limit_ms?).unwrap_or(Millis::MAX)))
    }

    fn go(&mut self, outlet: &mut dyn Outlet) -> Result<Stop, CallError> {
        while let Some((at, said)) = self.source.next() {
            // The source is no longer read; the destination's checkpoint reports the accepted rows.
            if self.deadline().is_some_and(|deadline| at >= deadline) {
                return Ok(Stop::Limit(Limit::Time));
            }
            let at = at.max(self.free);
            match said {
                SourceOutput::Crash => {
                    self.free = at;
                    return Ok(Stop::Crash);
                }
                SourceOutput::Records(stream, objects) => self.records(stream, objects, at, outlet)?,
                SourceOutput::Line(message) => {
                    self.message(message, at);
                    self.flush(at, outlet)?;
                }
            }
            let failure = lock(&self.api).destination_fails();
            if let Some(message) = failure {
                self.failed(FailureType::System, &message, self.free.max(at));
                self.flush(self.free.max(at), outlet)?;
                return Ok(Stop::Failed);
            }
            if self.call.state_limit.is_some_and(|limit| self.states >= limit) {
                return Ok(Stop::Limit(Limit::States));
            }
        }
        Ok(if self.source.failed() { Stop::Failed } else { Stop::Over })
    }

    fn records(&mut self, stream: usize, objects: Range<u64>, at: Millis, outlet: &mut dyn Outlet) -> io::Result<()> {
        let api = lock(&self.api);
        let speed = i64::from(api.scenario().destination.rows_per_second);
        let rows = i64::try_from(objects.end - objects.start).unwrap_or(0);
        self.free = at + if speed > 0 { rows * 1000 / speed } else { 0 };
        let name = api.scenario().streams.get(stream).map_or("", |stream| stream.name.as_str());
        let name = &name.to_owned();
        drop(api);
        if self.out_of_reach(stream, name, &objects, outlet)? {
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
        self.source.hold(self.free - AHEAD_MS);
        self.flush(self.free, outlet)
    }

    /// True if the destination rejects a stream from now on. Some rows of the failing page are
    /// already written.
    fn out_of_reach(
        &mut self,
        stream: usize,
        name: &str,
        objects: &Range<u64>,
        outlet: &mut dyn Outlet,
    ) -> io::Result<bool> {
        if self.down.contains(name) {
            return Ok(true);
        }
        let mut api = lock(&self.api);
        let Some(cause) = api.destination_out(stream, objects.start) else { return Ok(false) };
        let written = objects.start..objects.start + (objects.end - objects.start) / 2;
        outlet.rows(&api, stream, written)?;
        drop(api);
        self.down.insert(name.to_owned());
        // All but the last row of the page were counted.
        self.tracker.records(name, (objects.end - objects.start).saturating_sub(1), self.free, &mut self.out);
        let table = format!("(table=\"simulated\".\"{name}\" columns=[_raw_data] pk=[id]) (stream={name} records=100)");
        let text = format!("upsertWithStats failed: {cause} {table}");
        let failed = match self.call.form {
            Form::Progress => status(Form::Progress, json!({"stream": name, "status": "error", "error": text})),
            Form::Trace => trace("error", json!({"failure_type": "transient_error", "message": text, "stream": name})),
        };
        self.message(failed, self.free);
        self.flush(self.free, outlet)?;
        Ok(true)
    }

    /// Puts a state of an unwritten stream silently into the state of the end.
    fn run_ahead(&mut self, message: &Value, at: Millis) -> bool {
        let stream = message.pointer("/source_state/stream").and_then(Value::as_str);
        if !stream.is_some_and(|stream| self.down.contains(stream)) {
            return false;
        }
        self.tracker.line(message.to_string().as_bytes(), LineEnd::Newline, at, &mut Vec::new());
        true
    }

    fn message(&mut self, mut message: Value, at: Millis) {
        let state = message.get("type").and_then(Value::as_str) == Some("source_state");
        if state && !self.call.raw && self.run_ahead(&message, at) {
            return;
        }
        self.states += u64::from(state);
        if !self.call.raw
            && let Some(fields) = message.as_object_mut()
        {
            // It passed the destination, which reports it.
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

    /// Takes in live events: each is an object of its stream, which is as complete as it was.
    fn live(&mut self, outlet: &mut dyn Outlet) -> Result<Stop, CallError> {
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
            // The event is newer than anything a backfill reads.
            let api = lock(&self.api);
            outlet.rows(&api, stream, records..records + count)?;
            drop(api);
            let begun = if self.call.form == Form::Trace { "started" } else { "start" };
            self.message(status(self.call.form, json!({"stream": name, "status": begun})), at);
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
        Ok(Stop::Over)
    }

    fn end(mut self, stop: Stop, outlet: &mut dyn Outlet) -> Result<Called, CallError> {
        let limit = match stop {
            Stop::Crash => {
                // The end of a process is in the middle of a line.
                outlet.say(self.free, b"{\"type\":\"source_state\",\"source_st")?;
                return Ok(Called { outcome: None, state: self.tracker.state(), now: self.free });
            }
            Stop::Limit(limit) => Some(limit),
            Stop::Over => {
                self.tracker.source_ended();
                None
            }
            Stop::Failed => None,
        };
        let now = match (limit, self.deadline()) {
            (Some(Limit::Time), Some(deadline)) => deadline.max(self.free),
            _ => self.free,
        };
        if self.call.raw {
            let end = json!({"type": "eof", "eof": {"reason": limit.map_or("complete", Limit::as_str)}});
            self.message(end, now);
            self.flush(now, outlet)?;
            return Ok(Called { outcome: None, state: RawValue::NULL.to_owned(), now });
        }
        if limit.is_some() && self.call.form == Form::Trace {
            // At its own end the source reports it.
            let count = json!({"request_count": self.source.requests()});
            self.message(trace("global_progress", count), now);
        }
        let outcome = self.tracker.finish(limit, now, &mut self.out);
        self.flush(now, outlet)?;
        Ok(Called { outcome: Some(outcome), state: self.tracker.state(), now })
    }
}
