//! Summary as JSON: one object of the same shape for every dialect and outcome.

use crate::protocol::{Dialect, Range, time};
use crate::reduce::{Assumed, Doubt, DoubtKind, Exit, Input, PastRun, Progress, doubts, outcome};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Summary of one input, as `synctop summary --json` prints it.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Summary {
    /// Version of synctop.
    pub synctop: &'static str,
    /// Version of the schema, incremented if a meaning changes.
    pub schema: u32,
    /// Protocol of the feed, such as `airbyte`; `None` until a message decides it.
    pub dialect: Option<&'static str>,
    /// Outcome of the last run, such as `cut_off`.
    pub outcome: &'static str,
    /// Reason or status of the end message, verbatim except for masked secrets; `None` without one.
    pub reason: Option<Arc<str>>,
    /// True if the end message leaves more to read; `None` without an end or such a claim.
    pub has_more: Option<bool>,
    /// Time of the first message of the run (ISO 8601, UTC); `None` without times.
    pub started_at: Option<String>,
    /// Time of the latest message (ISO 8601, UTC); `None` without times.
    pub ended_at: Option<String>,
    /// Milliseconds of work over all attempts; `None` if the engine does not report them.
    pub elapsed_ms: Option<u64>,
    /// Milliseconds from `started_at` to `ended_at`; `None` without times.
    pub wall_ms: Option<i64>,
    /// Earlier runs of the same log, oldest first.
    pub runs: Vec<RunSummary>,
    /// Number of attempts of the last run.
    pub attempts: u32,
    /// Records by scope: the larger of the engine's own total and the sum of the streams.
    pub records: Scopes,
    /// Requests by scope; unknown if not reported, and if 0 beside records.
    pub requests: Scopes,
    /// Number of checkpoints of all streams in the last run, as counted by synctop.
    pub checkpoints: u64,
    /// Retries of requests that the source logged.
    pub retries: u64,
    /// Committed records, if a destination is observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed: Option<CommittedSummary>,
    /// Estimated share, 0 to 1, if the engine estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated: Option<f64>,
    /// Exit code of the engine's process, or 128 + signal, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// Streams, sorted by name.
    pub streams: Vec<StreamSummary>,
    /// Error groups, by level, those with the most occurrences first.
    pub errors: Vec<ErrorSummary>,
    /// Final error that only repeats the streams' errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roll_up: Option<Arc<str>>,
    /// Doubts about the last run, those that lose rows first.
    pub doubts: Vec<DoubtSummary>,
    /// Irregularities in the order of messages of the last run, by kind and stream.
    pub anomalies: Vec<AnomalySummary>,
    /// Lines and bytes of the whole input, earlier runs included.
    pub input: InputSummary,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct RunSummary {
    pub outcome: &'static str,
    pub attempts: u32,
    pub records: Scopes,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    /// Always unknown: an exit code belongs to the process of the last run.
    pub exit: Option<i32>,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
pub struct CommittedSummary {
    pub records: Option<u64>,
    pub checkpoints: u64,
}

/// Bytes of a stream's records, by both measures.
#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
pub struct BytesSummary {
    /// Bytes of whole record lines, as received.
    pub lines: u64,
    /// UTF-16 units of `record.data`: Airbyte's own "bytes".
    pub data_chars: u64,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
pub struct EstimateSummary {
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
    /// Share from 0 to 1; below 1 until a status completes the stream.
    pub share: Option<f64>,
}

/// Count and duration of rate limits of a stream.
#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
pub struct WaitSummary {
    pub count: u64,
    pub elapsed_ms: u64,
    /// True while the stream waits.
    pub now: bool,
}

/// One doubt with all affected streams.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct DoubtSummary {
    pub kind: DoubtKind,
    /// The first of `streams`.
    pub stream: Option<Arc<str>>,
    pub streams: Vec<Arc<str>>,
    pub message: String,
}

impl From<Doubt> for DoubtSummary {
    fn from(doubt: Doubt) -> Self {
        let message = doubt.finding.to_string();
        Self { kind: doubt.kind, stream: doubt.stream, streams: doubt.streams, message }
    }
}

/// Count in its two scopes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
pub struct Scopes {
    /// Count of the last attempt; `None` if unknown.
    pub attempt: Option<u64>,
    /// Count of all attempts of the run; `None` if unknown.
    pub cumulative: Option<u64>,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct StreamSummary {
    pub name: Arc<str>,
    pub namespace: Option<Arc<str>>,
    pub status: &'static str,
    pub settling: bool,
    pub records: Scopes,
    pub checkpoints: u64,
    pub errors: u64,
    pub message: Option<Arc<str>>,
    pub inserted: Option<u64>,
    pub updated: Option<u64>,
    /// Deletions: the engine's count, otherwise the deletions in the feed.
    pub deleted: Option<u64>,
    pub retries: u64,
    /// Maximum number of counted rows that may not be written, if the stream's destination failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwritten_up_to: Option<u64>,
    pub total_range: Option<RangeSummary>,
    pub completed_ranges: Vec<RangeSummary>,
    pub coverage: Option<f64>,
    /// Committed records, if a destination is observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<BytesSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited: Option<WaitSummary>,
    /// Count by the engine's metrics, beside the counted records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metered: Option<u64>,
    /// True if completion is assumed from exit code 0 and the last checkpoint.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct RangeSummary {
    pub gte: Option<String>,
    pub lt: Option<String>,
}

#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct ErrorSummary {
    pub level: &'static str,
    pub failure_type: Option<Arc<str>>,
    pub fingerprint: String,
    pub streams: Vec<Arc<str>>,
    pub message: Arc<str>,
    pub count: u64,
    pub attempt: u32,
    #[serde(rename = "final")]
    pub is_final: bool,
    pub cleared: bool,
    pub first_at: Option<String>,
    pub last_at: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_log: bool,
}

/// Lines and bytes of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InputSummary {
    /// Lines, those put together from parts counted once.
    pub lines: u64,
    /// Bytes of all lines, newlines included.
    pub bytes: u64,
    /// Lines that are messages.
    pub messages: u64,
    /// Lines of text, or of JSON without an envelope.
    pub raw: u64,
    /// Messages of an unknown kind, or of another protocol.
    pub unknown: u64,
    /// Lines that look like JSON and do not parse.
    pub malformed: u64,
    /// True if the last line has no newline and does not parse.
    pub truncated_line: bool,
    /// Lines that were put together from parts or taken out of an envelope.
    pub joined: u64,
}

impl From<Input> for InputSummary {
    fn from(input: Input) -> Self {
        Self {
            lines: input.whole_lines(),
            bytes: input.bytes,
            messages: input.messages,
            raw: input.raw,
            unknown: input.unknown,
            malformed: input.malformed,
            truncated_line: input.truncated_line,
            joined: input.joined,
        }
    }
}

#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct AnomalySummary {
    pub kind: &'static str,
    pub stream: Option<Arc<str>>,
    pub count: u64,
}

/// Schema version: 2 adds `unknown`, `runs`, `retries` and doubts of several streams.
const SCHEMA: u32 = 2;

impl From<&PastRun> for RunSummary {
    fn from(run: &PastRun) -> Self {
        Self {
            outcome: run.outcome.as_str(),
            attempts: run.attempts,
            records: Scopes { attempt: run.records_in_attempt, cumulative: run.records },
            started_at: run.started_at.map(time::iso),
            ended_at: run.ended_at.map(time::iso),
            exit: None,
        }
    }
}

impl From<Range> for RangeSummary {
    fn from(range: Range) -> Self {
        Self { gte: range.gte.map(time::iso), lt: range.lt.map(time::iso) }
    }
}

/// Returns the summary of the input so far.
#[must_use]
pub fn summary(progress: &Progress) -> Summary {
    let end = progress.attempt.end.as_ref();
    let mut errors: Vec<_> = progress.errors.groups().iter().collect();
    errors.sort_by_key(|group| (group.level, std::cmp::Reverse(group.count)));
    Summary {
        synctop: env!("CARGO_PKG_VERSION"),
        schema: SCHEMA,
        dialect: progress.dialect.map(Dialect::as_str),
        outcome: outcome(progress).as_str(),
        reason: end.and_then(|end| end.reason.clone()),
        has_more: end.and_then(|end| end.has_more),
        started_at: progress.first_at.map(time::iso),
        ended_at: progress.first_at.and(progress.last_at).map(time::iso),
        elapsed_ms: progress.counters.elapsed.cumulative.get(),
        wall_ms: progress.last_at.zip(progress.first_at).map(|(last, first)| last - first),
        runs: progress.runs.list().iter().map(Into::into).collect(),
        attempts: progress.attempts,
        records: Scopes { attempt: progress.attempt_records(), cumulative: progress.cumulative_records() },
        requests: Scopes {
            attempt: progress.known_requests(progress.counters.requests.attempt.get()),
            cumulative: progress.known_requests(progress.counters.requests.cumulative.get()),
        },
        checkpoints: progress.counters.checkpoints,
        retries: progress.counters.retries,
        committed: progress
            .commits
            .has_destination
            .then(|| CommittedSummary { records: progress.committed(), checkpoints: progress.commits.count }),
        estimated: progress.estimated_share(),
        exit: progress.exit.map(Exit::code),
        streams: progress
            .streams_by_name()
            .map(|stream| StreamSummary {
                name: stream.name.clone(),
                namespace: stream.namespace.clone(),
                status: stream.status.as_str(),
                settling: stream.settling,
                records: Scopes { attempt: stream.records.attempt.get(), cumulative: stream.records.cumulative.get() },
                checkpoints: stream.details.checkpoints,
                errors: stream.details.errors,
                message: stream.details.message.clone(),
                inserted: stream.details.inserted,
                updated: stream.details.updated,
                deleted: stream.deletions(),
                retries: stream.retries(),
                unwritten_up_to: stream.details.unwritten.filter(|rows| *rows > 0),
                total_range: stream.details.covered.total.map(Into::into),
                completed_ranges: stream.details.covered.completed.list().iter().map(|range| (*range).into()).collect(),
                coverage: stream.coverage(),
                committed: stream.details.committed.get(),
                estimate: stream.details.estimate.map(|(rows, bytes)| EstimateSummary {
                    rows,
                    bytes,
                    share: progress.share(stream),
                }),
                bytes: stream.details.measure.map(|data_chars| BytesSummary { lines: stream.bytes, data_chars }),
                rate_limited: (stream.details.limits.0 > 0).then_some(WaitSummary {
                    count: stream.details.limits.0,
                    elapsed_ms: stream.limited_ms(progress.last_at),
                    now: stream.details.limited.is_some(),
                }),
                metered: stream.details.metered,
                assumed: stream.assumed != Assumed::No,
            })
            .collect(),
        errors: errors
            .into_iter()
            .map(|group| ErrorSummary {
                level: group.level.as_str(),
                failure_type: group.failure_type.clone(),
                fingerprint: format!("{:016x}", group.fingerprint),
                streams: group.streams().cloned().collect(),
                message: group.message.clone(),
                count: group.count,
                attempt: group.attempt,
                is_final: group.is_final,
                cleared: group.cleared(),
                first_at: group.first_at.map(time::iso),
                last_at: group.last_at.map(time::iso),
                from_log: group.from_log,
            })
            .collect(),
        roll_up: progress.attempt.roll_up.clone(),
        doubts: doubts(progress).into_iter().map(DoubtSummary::from).collect(),
        anomalies: progress
            .anomalies
            .iter()
            .map(|((kind, stream), count)| AnomalySummary {
                kind: kind.as_str(),
                stream: stream.clone(),
                count: *count,
            })
            .collect(),
        input: progress.input.into(),
    }
}
