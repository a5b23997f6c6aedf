//! Output of the tracker, in the form of either generation.

use super::memory::{Mistake, WireRange, trace_word, wire_ranges};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use synctop_core::protocol::{Millis, Range, Status, time};
use synctop_core::reduce::Ranges;

/// Whose lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    #[default]
    Trace,
    Progress,
}

/// Announcement of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Announcement<'a> {
    pub stream: &'a str,
    pub status: Status,
    /// A finished range, which is no change of the status.
    pub range: Option<Range>,
    /// Its counts are not reported.
    pub uncounted: bool,
    pub attempt: u64,
    pub cumulative: u64,
    pub total: Option<Range>,
    pub error: Option<&'a Mistake>,
    pub reason: Option<&'a str>,
}

#[derive(Serialize)]
struct TraceStatus<'a> {
    trace_type: &'static str,
    stream_status: StatusPayload<'a>,
}

#[derive(Serialize)]
struct StatusPayload<'a> {
    stream: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cumulative_record_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_record_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_range: Option<WireRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_complete: Option<WireRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Writes one line of ours.
pub fn line<T: Serialize>(out: &mut Vec<u8>, kind: &str, payload: &T, at: Millis) {
    enveloped(out, kind, payload, Some("engine"), at);
}

/// Writes one line; `from` where it is known.
pub fn enveloped<T: Serialize>(out: &mut Vec<u8>, kind: &str, payload: &T, from: Option<&str>, at: Millis) {
    out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"{kind}\":").as_bytes());
    // Writing into memory cannot fail, and none of the shapes here has a key that is no string.
    let _ = serde_json::to_writer(&mut *out, payload);
    if let Some(from) = from {
        out.extend_from_slice(b",\"_emitted_by\":");
        let _ = serde_json::to_writer(&mut *out, from);
    }
    out.extend_from_slice(format!(",\"_ts\":\"{}\"}}\n", time::iso(at)).as_bytes());
}

pub fn status(out: &mut Vec<u8>, form: Form, said: &Announcement, at: Millis) {
    let trace = form == Form::Trace;
    let status = match said.status {
        _ if said.range.is_some() => "range_complete",
        Status::Started if !trace => "start",
        status => trace_word(status),
    };
    let payload = StatusPayload {
        stream: said.stream,
        status,
        cumulative_record_count: Some(said.cumulative).filter(|_| trace && !said.uncounted),
        run_record_count: Some(said.attempt).filter(|_| trace && !said.uncounted),
        time_range: said.total.filter(|_| said.range.is_none() && said.status == Status::Started).map(WireRange::from),
        range_complete: said.range.map(WireRange::from),
        error: said.error.map(|error| error.message.as_str()),
        reason: said.reason,
    };
    if trace {
        line(out, "trace", &TraceStatus { trace_type: "stream_status", stream_status: payload }, at);
    } else {
        enveloped(out, "stream_status", &payload, None, at);
    }
}

/// The run as a whole, in both scopes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub attempt_records: u64,
    pub records: u64,
    pub attempt_requests: Option<u64>,
    pub requests: Option<u64>,
    pub attempt_elapsed: u64,
    pub elapsed: u64,
    pub attempt_states: u64,
    pub states: u64,
    /// Records a second over the last ten seconds.
    pub window: f64,
}

#[derive(Serialize)]
pub struct GlobalProgress {
    elapsed_ms: u64,
    run_record_count: u64,
    cumulative_record_count: u64,
    records_per_second: f64,
    window_records_per_second: f64,
    state_checkpoint_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cumulative_request_count: Option<u64>,
    cumulative_elapsed_ms: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(count: u64, elapsed_ms: u64) -> f64 {
    if elapsed_ms == 0 { 0.0 } else { count as f64 * 1000.0 / elapsed_ms as f64 }
}

impl Totals {
    #[must_use]
    pub fn global_progress(&self) -> GlobalProgress {
        GlobalProgress {
            elapsed_ms: self.attempt_elapsed,
            run_record_count: self.attempt_records,
            cumulative_record_count: self.records,
            records_per_second: rate(self.attempt_records, self.attempt_elapsed),
            window_records_per_second: self.window,
            state_checkpoint_count: self.attempt_states,
            request_count: self.attempt_requests,
            cumulative_request_count: self.requests,
            cumulative_elapsed_ms: self.elapsed,
        }
    }
}

#[derive(Serialize)]
struct TraceTotals {
    trace_type: &'static str,
    global_progress: GlobalProgress,
}

pub fn totals(out: &mut Vec<u8>, totals: &Totals, at: Millis) {
    let payload = TraceTotals { trace_type: "global_progress", global_progress: totals.global_progress() };
    line(out, "trace", &payload, at);
}

/// The `progress` of the progress generation: a full replacement.
#[derive(Serialize)]
pub struct ProgressPayload<'a> {
    started_at: String,
    elapsed_ms: u64,
    global_state_count: u64,
    derived: Derived,
    streams: BTreeMap<&'a str, StreamPayload<'a>>,
}

#[derive(Serialize)]
struct Derived {
    status: &'static str,
    records_per_second: f64,
    states_per_second: f64,
    total_record_count: u64,
    total_state_count: u64,
}

#[derive(Serialize)]
struct StreamPayload<'a> {
    status: &'static str,
    state_count: u64,
    record_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_range: Option<WireRange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    completed_ranges: Vec<WireRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_type: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Mistake]>::is_empty")]
    errors: &'a [Mistake],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// One stream in a progress payload.
pub struct TotalsRow<'a> {
    pub name: &'a str,
    pub status: Status,
    pub states: u64,
    pub records: u64,
    pub total: Option<Range>,
    pub ranges: &'a Ranges,
    pub errors: &'a [Mistake],
    pub reason: Option<&'a str>,
}

/// Status of a run, in the words of the progress generation.
#[must_use]
pub fn run_word(ended: Option<bool>) -> &'static str {
    match ended {
        None => "started",
        Some(true) => "succeeded",
        Some(false) => "failed",
    }
}

#[must_use]
pub fn progress_payload<'a>(
    rows: impl Iterator<Item = TotalsRow<'a>>,
    started_at: Millis,
    elapsed: u64,
    counts: (u64, u64),
    word: &'static str,
) -> ProgressPayload<'a> {
    let streams = rows
        .map(|row| {
            let error = row.errors.last();
            let status = match row.status {
                Status::NotStarted => "not_started",
                status => status.as_str(),
            };
            let payload = StreamPayload {
                status,
                state_count: row.states,
                record_count: row.records,
                total_range: row.total.map(WireRange::from),
                completed_ranges: wire_ranges(row.ranges),
                message: error.map(|error| error.message.as_str()).or(row.reason),
                failure_type: error.and_then(|error| error.failure_type.as_deref()),
                errors: if row.errors.len() > 1 { row.errors } else { &[] },
                reason: row.reason,
            };
            (row.name, payload)
        })
        .collect();
    let (records, states) = counts;
    ProgressPayload {
        started_at: time::iso(started_at),
        elapsed_ms: elapsed,
        // The published engine reports 0 here always; it means states without a stream.
        global_state_count: 0,
        derived: Derived {
            status: word,
            records_per_second: rate(records, elapsed),
            states_per_second: rate(states, elapsed),
            total_record_count: records,
            total_state_count: states,
        },
        streams,
    }
}

#[derive(Serialize)]
pub struct TraceEof<'a> {
    pub reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutoff: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    pub state: &'a RawValue,
    pub global_progress: GlobalProgress,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stream_progress: BTreeMap<&'a str, TraceEofStream<'a>>,
}

#[derive(Serialize)]
pub struct TraceEofStream<'a> {
    pub status: &'static str,
    pub cumulative_record_count: u64,
    pub run_record_count: u64,
    #[serde(skip_serializing_if = "<[Mistake]>::is_empty")]
    pub errors: &'a [Mistake],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

#[derive(Serialize)]
pub struct ProgressEof<'a> {
    pub status: &'static str,
    pub has_more: bool,
    pub ending_state: &'a RawValue,
    pub run_progress: ProgressPayload<'a>,
    pub request_progress: ProgressPayload<'a>,
}

#[derive(Serialize)]
struct LogPayload<'a> {
    level: &'a str,
    message: &'a str,
}

pub fn log(out: &mut Vec<u8>, level: &str, message: &str, at: Millis) {
    line(out, "log", &LogPayload { level, message }, at);
}
