//! Output messages of the tracker, in the wire form of either generation.

use crate::engine::tracker::memory::{ErrorRecord, WireRange, trace_status, wire_ranges};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use synctop_core::protocol::{Millis, Range, Status, time};
use synctop_core::reduce::Ranges;

/// Wire generation of the written messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WireGeneration {
    #[default]
    Trace,
    Progress,
}

/// Status of a stream to announce.
#[derive(Debug, Clone, Copy, Default)]
pub struct Announcement<'a> {
    pub stream: &'a str,
    pub status: Status,
    /// Completed range; the status itself does not change.
    pub range: Option<Range>,
    /// True if the counts are left out.
    pub uncounted: bool,
    /// Records of the attempt.
    pub attempt: u64,
    /// Records of all attempts.
    pub cumulative: u64,
    pub total: Option<Range>,
    pub error: Option<&'a ErrorRecord>,
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

/// Writes one message of the engine itself.
pub fn line<T: Serialize>(out: &mut Vec<u8>, kind: &str, payload: &T, at: Millis) {
    enveloped(out, kind, payload, Some("engine"), at);
}

/// Writes one message with its type, payload and time; `from` is its emitter.
pub fn enveloped<T: Serialize>(out: &mut Vec<u8>, kind: &str, payload: &T, from: Option<&str>, at: Millis) {
    out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"{kind}\":").as_bytes());
    // Writing to memory cannot fail, and the keys of all payloads are strings.
    let _ = serde_json::to_writer(&mut *out, payload);
    if let Some(from) = from {
        out.extend_from_slice(b",\"_emitted_by\":");
        let _ = serde_json::to_writer(&mut *out, from);
    }
    out.extend_from_slice(format!(",\"_ts\":\"{}\"}}\n", time::iso(at)).as_bytes());
}

/// Writes the status of a stream.
pub fn status(out: &mut Vec<u8>, form: WireGeneration, announcement: &Announcement, at: Millis) {
    let trace = form == WireGeneration::Trace;
    let status = match announcement.status {
        _ if announcement.range.is_some() => "range_complete",
        Status::Started if !trace => "start",
        status => trace_status(status),
    };
    let payload = StatusPayload {
        stream: announcement.stream,
        status,
        cumulative_record_count: Some(announcement.cumulative).filter(|_| trace && !announcement.uncounted),
        run_record_count: Some(announcement.attempt).filter(|_| trace && !announcement.uncounted),
        time_range: announcement
            .total
            .filter(|_| announcement.range.is_none() && announcement.status == Status::Started)
            .map(WireRange::from),
        range_complete: announcement.range.map(WireRange::from),
        error: announcement.error.map(|error| error.message.as_str()),
        reason: announcement.reason,
    };
    if trace {
        line(out, "trace", &TraceStatus { trace_type: "stream_status", stream_status: payload }, at);
    } else {
        enveloped(out, "stream_status", &payload, None, at);
    }
}

/// Totals of the attempt and of all attempts of the run.
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
    /// Records per second over the last ten seconds.
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

/// Writes the totals as a `global_progress` trace.
pub fn totals(out: &mut Vec<u8>, totals: &Totals, at: Millis) {
    let payload = TraceTotals { trace_type: "global_progress", global_progress: totals.global_progress() };
    line(out, "trace", &payload, at);
}

/// Payload of a `progress` message (progress generation). Each message replaces the one before.
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
    #[serde(skip_serializing_if = "<[ErrorRecord]>::is_empty")]
    errors: &'a [ErrorRecord],
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
    pub errors: &'a [ErrorRecord],
    pub reason: Option<&'a str>,
}

/// Returns the status of a run in the progress generation. `ended`: success of an ended run.
#[must_use]
pub fn run_status(ended: Option<bool>) -> &'static str {
    match ended {
        None => "started",
        Some(true) => "succeeded",
        Some(false) => "failed",
    }
}

/// Builds a progress payload. `counts`: records and checkpoints of the run or the attempt.
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
        // Counts checkpoints without a stream; the published engine always reports 0.
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

/// End message of the trace generation.
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
    #[serde(skip_serializing_if = "<[ErrorRecord]>::is_empty")]
    pub errors: &'a [ErrorRecord],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

/// End message of the progress generation.
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

/// Writes a log message.
pub fn log(out: &mut Vec<u8>, level: &str, message: &str, at: Millis) {
    line(out, "log", &LogPayload { level, message }, at);
}
