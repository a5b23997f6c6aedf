//! What is carried from one attempt to the next, in the state that a caller keeps: `{source, destination, engine}` of the trace
//! generation, `{source, destination, sync_run}` of the progress generation. Either is read, whichever is written.

use crate::progress::Ranges;
use crate::protocol::{Decoded, Decoder, Kind, Line, LineEnd, Millis, Range, State, Status, time};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Errors of one stream that are carried on.
const ERRORS_KEPT: usize = 10;

/// What the source or the destination keeps: opaque to the tracker, and returned as it came.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Section {
    pub streams: BTreeMap<String, Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<Box<RawValue>>,
}

/// An error of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_type: Option<String>,
}

/// What is known of a stream over all attempts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    pub status: Status,
    pub records: u64,
    pub states: u64,
    pub total: Option<Range>,
    pub ranges: Ranges,
    pub errors: Vec<Mistake>,
    /// Why it was skipped.
    pub reason: Option<String>,
}

impl Kept {
    /// There is nothing to tell of it.
    #[must_use]
    pub fn blank(&self) -> bool {
        *self == Self { total: self.total, ..Self::default() }
    }

    pub fn fail(&mut self, mistake: Mistake) {
        if self.errors.len() < ERRORS_KEPT && !self.errors.contains(&mistake) {
            self.errors.push(mistake);
        }
    }
}

/// Everything carried on.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub source: Section,
    /// As it came: the tracker has no part in it.
    pub destination: Option<Box<RawValue>>,
    pub streams: BTreeMap<String, Kept>,
    pub elapsed_ms: u64,
    /// As far as sources reported them.
    pub requests: Option<u64>,
    pub checkpoints: u64,
    pub run_id: Option<String>,
    /// The upper bound of the run's ranges, frozen by its first attempt.
    pub time_ceiling: Option<String>,
    pub started_at: Option<Millis>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    source: Option<Section>,
    destination: Option<Box<RawValue>>,
    engine: Option<WireEngine>,
    sync_run: Option<WireRun>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireEngine {
    streams: BTreeMap<String, WireStream>,
    global: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireStream {
    #[serde(alias = "record_count")]
    cumulative_record_count: u64,
    state_count: u64,
    status: String,
    total_range: Option<WireRange>,
    completed_ranges: Vec<WireRange>,
    errors: Vec<Mistake>,
    message: Option<String>,
    failure_type: Option<String>,
    reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireRun {
    run_id: Option<String>,
    time_ceiling: Option<String>,
    progress: WireProgress,
    request_count: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireProgress {
    started_at: Option<String>,
    elapsed_ms: u64,
    derived: WireDerived,
    streams: BTreeMap<String, WireStream>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireDerived {
    total_state_count: u64,
}

/// `[gte, lt)` as ISO 8601.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireRange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gte: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lt: Option<String>,
}

impl From<Range> for WireRange {
    fn from(range: Range) -> Self {
        Self { gte: range.gte.map(time::iso), lt: range.lt.map(time::iso) }
    }
}

impl From<&WireRange> for Range {
    fn from(range: &WireRange) -> Self {
        let read = |text: &Option<String>| text.as_deref().and_then(time::parse);
        Self { gte: read(&range.gte), lt: read(&range.lt) }
    }
}

/// The ranges as they are written.
#[must_use]
pub fn wire_ranges(ranges: &Ranges) -> Vec<WireRange> {
    ranges.list().iter().map(|range| WireRange::from(*range)).collect()
}

impl Memory {
    /// Reads the state that an attempt returned; `{}` and `null` are the begin of a run.
    ///
    /// # Errors
    /// When it is no JSON, or has another shape.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let wire: Option<Wire> = serde_json::from_str(text)?;
        let wire = wire.unwrap_or_default();
        let mut memory =
            Self { source: wire.source.unwrap_or_default(), destination: wire.destination, ..Self::default() };
        let number = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_u64);
        let word = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut streams = BTreeMap::new();
        if let Some(run) = wire.sync_run {
            memory.elapsed_ms = run.progress.elapsed_ms;
            memory.checkpoints = run.progress.derived.total_state_count;
            memory.started_at = run.progress.started_at.as_deref().and_then(time::parse);
            memory.requests = run.request_count;
            (memory.run_id, memory.time_ceiling) = (run.run_id, run.time_ceiling);
            streams = run.progress.streams;
        }
        if let Some(engine) = wire.engine {
            let global = engine.global;
            memory.elapsed_ms = number(&global, "cumulative_elapsed_ms").unwrap_or(memory.elapsed_ms);
            memory.checkpoints = number(&global, "cumulative_state_count").unwrap_or(memory.checkpoints);
            // Engines that do not count requests return a 0.
            memory.requests =
                number(&global, "cumulative_request_count").filter(|count| *count > 0).or(memory.requests);
            memory.run_id = word(&global, "run_id").or(memory.run_id);
            memory.time_ceiling = word(&global, "time_ceiling").or(memory.time_ceiling);
            memory.started_at = word(&global, "started_at").as_deref().and_then(time::parse).or(memory.started_at);
            if streams.is_empty() {
                streams = engine.streams;
            }
        }
        memory.streams = streams.into_iter().map(|(name, stream)| (name, stream.kept())).collect();
        Ok(memory)
    }

    /// A new run goes on from what was read, and tries again what failed or was skipped; its counts are its own.
    pub fn new_run(&mut self) {
        for kept in self.streams.values_mut() {
            if matches!(kept.status, Status::Errored | Status::Skipped) {
                kept.status = Status::NotStarted;
            }
            (kept.records, kept.states, kept.reason) = (0, 0, None);
            kept.errors.clear();
        }
        (self.elapsed_ms, self.checkpoints, self.requests) = (0, 0, None);
        (self.started_at, self.time_ceiling) = (None, None);
    }

    /// What the source's own state says of a stream.
    #[must_use]
    pub fn source_says(&self, stream: &str) -> Option<Brief> {
        self.source.streams.get(stream).map(|data| brief(stream, data))
    }

    /// The state to return, in the trace generation's form.
    #[must_use]
    pub fn trace_form(&self) -> Value {
        let streams: Map<_, _> = self
            .streams
            .iter()
            .filter(|(_, kept)| !kept.blank())
            .map(|(name, kept)| {
                let mut form = json!({"cumulative_record_count": kept.records, "status": trace_word(kept.status)});
                kept.write(&mut form);
                (name.clone(), form)
            })
            .collect();
        let mut global = json!({
            "cumulative_record_count": self.records(),
            "cumulative_elapsed_ms": self.elapsed_ms,
            "cumulative_state_count": self.checkpoints,
        });
        set(&mut global, "cumulative_request_count", &self.requests);
        set(&mut global, "run_id", &self.run_id);
        set(&mut global, "time_ceiling", &self.time_ceiling);
        set(&mut global, "started_at", &self.started_at.map(time::iso));
        let empty = || json!({"streams": {}, "global": {}});
        json!({
            "source": self.source_form(),
            "destination": self.destination.as_ref().map_or_else(empty, |it| json!(it)),
            "engine": {"streams": streams, "global": global},
        })
    }

    /// The state to return, in the progress generation's form. `progress` is that of the run.
    #[must_use]
    pub fn progress_form(&self, progress: &Value) -> Value {
        let mut run = json!({"progress": progress});
        set(&mut run, "run_id", &self.run_id);
        set(&mut run, "time_ceiling", &self.time_ceiling);
        set(&mut run, "request_count", &self.requests);
        json!({
            "source": self.source_form(),
            "destination": self.destination.as_ref().map_or_else(|| json!({}), |it| json!(it)),
            "sync_run": run,
        })
    }

    fn source_form(&self) -> Value {
        let global = self.source.global.as_ref().map_or_else(|| json!({}), |it| json!(it));
        json!({"streams": self.source.streams, "global": global})
    }

    #[must_use]
    pub fn records(&self) -> u64 {
        self.streams.values().map(|kept| kept.records).sum()
    }
}

/// Adds a field where there is something to say.
fn set<T: Serialize>(form: &mut Value, key: &str, value: &Option<T>) {
    if let (Some(form), Some(value)) = (form.as_object_mut(), value) {
        form.insert(key.to_owned(), json!(value));
    }
}

impl WireStream {
    fn kept(self) -> Kept {
        let mut errors = self.errors;
        if let (Some(message), true) = (self.message, errors.is_empty()) {
            errors.push(Mistake { message, failure_type: self.failure_type });
        }
        Kept {
            status: status(&self.status),
            records: self.cumulative_record_count,
            states: self.state_count,
            total: self.total_range.as_ref().map(Range::from),
            ranges: self.completed_ranges.iter().map(Range::from).collect(),
            errors,
            reason: self.reason,
        }
    }
}

impl Kept {
    fn write(&self, form: &mut Value) {
        set(form, "state_count", &Some(self.states).filter(|count| *count > 0));
        set(form, "total_range", &self.total.map(WireRange::from));
        set(form, "completed_ranges", &Some(wire_ranges(&self.ranges)).filter(|all| !all.is_empty()));
        set(form, "errors", &Some(&self.errors).filter(|all| !all.is_empty()));
        set(form, "reason", &self.reason);
    }
}

/// A stream's status in the trace generation.
#[must_use]
pub fn trace_word(status: Status) -> &'static str {
    match status {
        Status::NotStarted => "not_started",
        Status::Started => "started",
        Status::Completed => "complete",
        Status::Skipped => "skip",
        Status::Errored => "error",
    }
}

fn status(word: &str) -> Status {
    match word {
        "start" | "started" | "running" => Status::Started,
        "complete" | "completed" => Status::Completed,
        "skip" | "skipped" => Status::Skipped,
        "error" | "errored" | "failed" => Status::Errored,
        _ => Status::NotStarted,
    }
}

/// What a source's state says of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Brief {
    /// Nothing is left; `None`: it does not say.
    pub done: Option<bool>,
    /// The failure type of a `*_error` status.
    pub failure: Option<String>,
    pub total: Option<Range>,
    pub completed: Vec<Range>,
}

impl Brief {
    /// With what is done by what `data` says is left.
    #[must_use]
    pub fn with_rest(mut self, data: Option<&RawValue>) -> Self {
        if self.completed.is_empty() {
            self.completed = data.map(done_by_rest).unwrap_or_default();
        }
        self
    }
}

impl From<State<'_>> for Brief {
    fn from(state: State) -> Self {
        Self {
            done: state.done,
            failure: state.failure.map(std::borrow::Cow::into_owned),
            total: state.total,
            completed: state.completed.unwrap_or_default(),
        }
    }
}

/// A state that has what is left, and not what is done.
#[derive(Deserialize)]
struct WireLeft {
    accounted_range: WireRange,
    remaining: Vec<WireRange>,
}

/// What is done by a state that says what is left: all the rest. A message that says so may not have come any more.
#[must_use]
pub fn done_by_rest(data: &RawValue) -> Vec<Range> {
    let Ok(wire) = serde_json::from_str::<WireLeft>(data.get()) else { return Vec::new() };
    let total = Range::from(&wire.accounted_range);
    let (Some(begin), Some(end)) = (total.gte, total.lt) else { return Vec::new() };
    let mut left: Vec<_> = wire.remaining.iter().map(Range::from).collect();
    left.sort_unstable();
    let mut done = Vec::new();
    let mut from = begin;
    for range in left {
        let (gte, lt) = (range.gte.unwrap_or(begin), range.lt.unwrap_or(end));
        if from < gte {
            done.push(Range { gte: Some(from), lt: Some(gte) });
        }
        from = from.max(lt);
    }
    if from < end {
        done.push(Range { gte: Some(from), lt: Some(end) });
    }
    done
}

/// Reads a source's state of one stream as a checkpoint with it would be read.
fn brief(stream: &str, data: &RawValue) -> Brief {
    let text = format!(
        "{{\"type\":\"source_state\",\"source_state\":{{\"stream\":{},\"data\":{}}}}}",
        Value::from(stream),
        data.get()
    );
    let line = Line::whole(text.as_bytes(), LineEnd::Newline);
    match Decoder::default().decode(&line, &mut String::new()) {
        Decoded::Message { message, .. } => match message.kind {
            Kind::Checkpoint(checkpoint) => Brief::from(checkpoint.state).with_rest(Some(data)),
            _ => Brief::default(),
        },
        _ => Brief::default(),
    }
}
