//! State carried from one attempt to the next: `{source, destination, engine}` of the trace
//! generation, `{source, destination, sync_run}` of the progress generation. Both are read,
//! regardless of the generation that is written.

use crate::engine::raw_json::{Fields, fields, raw, take, take_object};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use synctop_core::protocol::{Decoded, Decoder, Kind, Line, LineEnd, Millis, Range, State, Status, time};
use synctop_core::reduce::{Ranges, gaps};

/// Maximum errors of one stream that are stored in the state.
const MAX_ERRORS_PER_STREAM: usize = 10;

/// Section of the source: opaque state that is returned unchanged.
#[derive(Debug, Clone, Default)]
pub struct Section {
    pub streams: Fields,
    pub global: Option<Box<RawValue>>,
    /// Other fields of the section.
    rest: Fields,
}

/// Error of a stream or of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_type: Option<String>,
}

/// Totals of a stream over all attempts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CarriedStream {
    pub status: Status,
    pub records: u64,
    pub states: u64,
    pub total: Option<Range>,
    pub ranges: Ranges,
    pub errors: Vec<ErrorRecord>,
    /// Reason of a skipped stream.
    pub reason: Option<String>,
}

impl CarriedStream {
    /// True if nothing is known about the stream.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    /// Adds an error unless it is known or the maximum is reached.
    pub fn fail(&mut self, error_record: ErrorRecord) {
        if self.errors.len() < MAX_ERRORS_PER_STREAM && !self.errors.contains(&error_record) {
            self.errors.push(error_record);
        }
    }
}

/// State carried between the attempts of a run.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub source: Section,
    pub streams: BTreeMap<String, CarriedStream>,
    pub elapsed_ms: u64,
    /// Requests, if sources reported them.
    pub requests: Option<u64>,
    pub checkpoints: u64,
    pub run_id: Option<String>,
    /// Upper bound of the run's ranges, frozen by its first attempt.
    pub time_ceiling: Option<String>,
    pub started_at: Option<Millis>,
    /// Other sections, such as that of the destination.
    rest: Fields,
    /// Unknown fields of the global part of the engine's section.
    engine_rest: Fields,
}

/// Reason that a state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0} is not an object")]
    Shape(&'static str),
    #[error("it has none of the sections source, engine and sync_run")]
    Foreign,
    #[error("its source section has neither streams nor global: it belongs to another or an older engine")]
    Source,
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

/// Converts ranges to their wire form.
#[must_use]
pub fn wire_ranges(ranges: &Ranges) -> Vec<WireRange> {
    ranges.list().iter().map(|range| WireRange::from(*range)).collect()
}

impl Memory {
    /// Reads the state returned by an attempt; `{}` and `null` start a run. Unknown fields are
    /// kept; a field of an unknown shape in its own section counts as absent.
    ///
    /// # Errors
    /// Returns [`StateError`] if the text is not a JSON object, has none of the known sections, or
    /// has a source section of an unknown shape.
    pub fn read(text: &str) -> Result<Self, StateError> {
        let all: Box<RawValue> = serde_json::from_str(text)?;
        let mut rest = match all.get() {
            "null" => Fields::new(),
            _ => fields(&all).ok_or(StateError::Shape("the state"))?,
        };
        if !rest.is_empty() && !["source", "engine", "sync_run"].iter().any(|key| rest.contains_key(*key)) {
            return Err(StateError::Foreign);
        }
        let mut source = take_object(&mut rest, "source").ok_or(StateError::Shape("source"))?;
        if !source.is_empty() && !source.contains_key("streams") && !source.contains_key("global") {
            return Err(StateError::Source);
        }
        let mut memory = Self {
            source: Section {
                streams: take_object(&mut source, "streams").ok_or(StateError::Shape("source.streams"))?,
                global: source.remove("global"),
                rest: source,
            },
            ..Self::default()
        };
        let mut streams = Fields::new();
        let mut run = take_object(&mut rest, "sync_run").unwrap_or_default();
        let mut progress = take_object(&mut run, "progress").unwrap_or_default();
        let mut derived = take_object(&mut progress, "derived").unwrap_or_default();
        memory.elapsed_ms = take(&mut progress, "elapsed_ms").unwrap_or(0);
        memory.checkpoints = take(&mut derived, "total_state_count").unwrap_or(0);
        memory.started_at = take::<String>(&mut progress, "started_at").as_deref().and_then(time::parse);
        memory.requests = take(&mut run, "request_count");
        memory.run_id = take(&mut run, "run_id");
        memory.time_ceiling = take(&mut run, "time_ceiling");
        streams.append(&mut take_object(&mut progress, "streams").unwrap_or_default());
        let mut engine = take_object(&mut rest, "engine").unwrap_or_default();
        let mut global = take_object(&mut engine, "global").unwrap_or_default();
        memory.elapsed_ms = take(&mut global, "cumulative_elapsed_ms").unwrap_or(memory.elapsed_ms);
        memory.checkpoints = take(&mut global, "cumulative_state_count").unwrap_or(memory.checkpoints);
        // Engines that do not count requests return 0.
        let requests = take::<u64>(&mut global, "cumulative_request_count").filter(|count| *count > 0);
        memory.requests = requests.or(memory.requests);
        memory.run_id = take(&mut global, "run_id").or(memory.run_id);
        memory.time_ceiling = take(&mut global, "time_ceiling").or(memory.time_ceiling);
        let started_at = take::<String>(&mut global, "started_at").as_deref().and_then(time::parse);
        memory.started_at = started_at.or(memory.started_at);
        global.remove("cumulative_record_count");
        memory.engine_rest = global;
        if streams.is_empty() {
            streams = take_object(&mut engine, "streams").unwrap_or_default();
        }
        memory.streams =
            streams.into_iter().filter_map(|(name, data)| Some((name, read_stream(fields(&data)?)))).collect();
        memory.rest = rest;
        Ok(memory)
    }

    /// Starts a run that continues from the read position and retries failed and skipped streams.
    /// With `reset_counts`, its counts restart.
    pub fn new_run(&mut self, reset_counts: bool) {
        for kept in self.streams.values_mut() {
            if matches!(kept.status, Status::Errored | Status::Skipped) {
                kept.status = Status::NotStarted;
            }
            kept.reason = None;
            kept.errors.clear();
            if reset_counts {
                (kept.records, kept.states) = (0, 0);
            }
        }
        self.time_ceiling = None;
        if reset_counts {
            (self.elapsed_ms, self.checkpoints, self.requests, self.started_at) = (0, 0, None, None);
        }
    }

    /// Returns the position of a stream in the source's own state.
    #[must_use]
    pub fn position_of(&self, stream: &str) -> Option<SourcePosition> {
        self.source.streams.get(stream).map(|data| source_position(stream, data))
    }

    /// Returns the state in the form of the trace generation.
    #[must_use]
    pub fn to_trace_state(&self) -> Box<RawValue> {
        let streams = self.streams.iter().filter(|(_, kept)| !kept.is_blank());
        let streams: Fields = streams
            .map(|(name, kept)| {
                let mut form = json!({"cumulative_record_count": kept.records, "status": trace_status(kept.status)});
                kept.write(&mut form);
                (name.clone(), raw(&form))
            })
            .collect();
        let mut global = self.engine_rest.clone();
        global.insert("cumulative_record_count".into(), raw(&self.records()));
        global.insert("cumulative_elapsed_ms".into(), raw(&self.elapsed_ms));
        global.insert("cumulative_state_count".into(), raw(&self.checkpoints));
        set(&mut global, "cumulative_request_count", self.requests.as_ref());
        set(&mut global, "run_id", self.run_id.as_ref());
        set(&mut global, "time_ceiling", self.time_ceiling.as_ref());
        set(&mut global, "started_at", self.started_at.map(time::iso).as_ref());
        let engine = Fields::from([("streams".into(), raw(&streams)), ("global".into(), raw(&global))]);
        self.with_section("engine", raw(&engine), &json!({"streams": {}, "global": {}}))
    }

    /// Returns the state in the form of the progress generation. `progress`: payload of the run.
    #[must_use]
    pub fn to_progress_state(&self, progress: Box<RawValue>) -> Box<RawValue> {
        let mut run = Fields::from([("progress".into(), progress)]);
        set(&mut run, "run_id", self.run_id.as_ref());
        set(&mut run, "time_ceiling", self.time_ceiling.as_ref());
        set(&mut run, "request_count", self.requests.as_ref());
        self.with_section("sync_run", raw(&run), &json!({}))
    }

    /// Assembles all sections with the engine's own section under `key`.
    fn with_section(&self, key: &str, ours: Box<RawValue>, destination: &Value) -> Box<RawValue> {
        let mut all = self.rest.clone();
        let mut source = self.source.rest.clone();
        source.insert("streams".into(), raw(&self.source.streams));
        let global = self.source.global.clone();
        source.insert("global".into(), global.unwrap_or_else(|| raw(&json!({}))));
        all.insert("source".into(), raw(&source));
        all.entry("destination".into()).or_insert_with(|| raw(destination));
        all.insert(key.into(), ours);
        raw(&all)
    }

    /// Returns the records of all streams over all attempts.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.streams.values().fold(0, |sum, kept| sum.saturating_add(kept.records))
    }
}

/// Adds a field unless its value is `None`.
fn set<T: Serialize>(form: &mut Fields, key: &str, value: Option<&T>) {
    if let Some(value) = value {
        form.insert(key.to_owned(), raw(value));
    }
}

/// Reads a stream in the engine's own section, of either generation.
fn read_stream(mut stream: Fields) -> CarriedStream {
    let status = parse_status(&take::<String>(&mut stream, "status").unwrap_or_default());
    let mut errors: Vec<ErrorRecord> = take(&mut stream, "errors").unwrap_or_default();
    let message: Option<String> = take(&mut stream, "message");
    let mut reason: Option<String> = take(&mut stream, "reason");
    let failure_type = take(&mut stream, "failure_type");
    match message {
        // The progress generation has one field for the reason of a skip and an error.
        Some(message) if status == Status::Skipped => reason = reason.or(Some(message)),
        Some(message) if errors.is_empty() => errors.push(ErrorRecord { message, failure_type }),
        _ => {}
    }
    let count = |stream: &mut Fields, key: &str| take::<u64>(stream, key);
    CarriedStream {
        status,
        records: count(&mut stream, "cumulative_record_count").or(count(&mut stream, "record_count")).unwrap_or(0),
        states: count(&mut stream, "state_count").unwrap_or(0),
        total: take::<WireRange>(&mut stream, "total_range").as_ref().map(Range::from),
        ranges: take::<Vec<WireRange>>(&mut stream, "completed_ranges").iter().flatten().map(Range::from).collect(),
        errors,
        reason,
    }
}

impl CarriedStream {
    fn write(&self, form: &mut Value) {
        let Some(form) = form.as_object_mut() else { return };
        let mut set = |key: &str, value: Option<Value>| drop(value.map(|value| form.insert(key.to_owned(), value)));
        set("state_count", (self.states > 0).then(|| json!(self.states)));
        set("total_range", self.total.map(|range| json!(WireRange::from(range))));
        set("completed_ranges", (!self.ranges.list().is_empty()).then(|| json!(wire_ranges(&self.ranges))));
        set("errors", (!self.errors.is_empty()).then(|| json!(self.errors)));
        set("reason", self.reason.as_ref().map(|reason| json!(reason)));
    }
}

/// Returns the name of a stream's status in the trace generation.
#[must_use]
pub fn trace_status(status: Status) -> &'static str {
    match status {
        Status::NotStarted => "not_started",
        Status::Started => "started",
        Status::Completed => "complete",
        Status::Skipped => "skip",
        Status::Errored => "error",
    }
}

fn parse_status(word: &str) -> Status {
    match word {
        "start" | "started" | "running" => Status::Started,
        "complete" | "completed" => Status::Completed,
        "skip" | "skipped" => Status::Skipped,
        "error" | "errored" | "failed" => Status::Errored,
        _ => Status::NotStarted,
    }
}

/// Position of one stream in a source's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourcePosition {
    /// True if nothing is left to read; `None` if the state does not show it.
    pub done: Option<bool>,
    /// Failure type of a `*_error` status.
    pub failure: Option<String>,
    pub total: Option<Range>,
    pub completed: Vec<Range>,
}

impl SourcePosition {
    /// Adds the completed ranges that follow from the unread ranges in `data`.
    #[must_use]
    pub fn with_remaining(mut self, data: Option<&RawValue>) -> Self {
        if self.completed.is_empty() {
            self.completed = data.map(completed_from_remaining).unwrap_or_default();
        }
        self
    }
}

impl From<State<'_>> for SourcePosition {
    fn from(state: State) -> Self {
        Self {
            done: state.done,
            failure: state.failure.map(String::from),
            total: state.total,
            completed: state.completed.unwrap_or_default(),
        }
    }
}

/// State that lists unread ranges instead of completed ones.
#[derive(Deserialize)]
struct WireRemaining {
    accounted_range: WireRange,
    remaining: Vec<WireRange>,
}

/// Returns the completed ranges of a state that lists its unread ranges. The messages of the
/// completed ranges may never have arrived.
#[must_use]
pub fn completed_from_remaining(data: &RawValue) -> Vec<Range> {
    let Ok(wire) = serde_json::from_str::<WireRemaining>(data.get()) else { return Vec::new() };
    let total = Range::from(&wire.accounted_range);
    let (Some(begin), Some(end)) = (total.gte, total.lt) else { return Vec::new() };
    let left = wire.remaining.iter().map(Range::from);
    let left = left.map(|range| (range.gte.unwrap_or(begin), range.lt.unwrap_or(end)));
    let done = gaps(begin, end, left).into_iter();
    done.map(|(gte, lt)| Range { gte: Some(gte), lt: Some(lt) }).collect()
}

/// Reads a source's state of one stream in the same way as a checkpoint.
fn source_position(stream: &str, data: &RawValue) -> SourcePosition {
    let text = format!(
        "{{\"type\":\"source_state\",\"source_state\":{{\"stream\":{},\"data\":{}}}}}",
        Value::from(stream),
        data.get()
    );
    let line = Line::whole(text.as_bytes(), LineEnd::Newline);
    match Decoder::default().decode(&line, &mut String::new()) {
        Decoded::Message { message, .. } => match message.kind {
            Kind::Checkpoint(checkpoint) => SourcePosition::from(checkpoint.state).with_remaining(Some(data)),
            _ => SourcePosition::default(),
        },
        _ => SourcePosition::default(),
    }
}
