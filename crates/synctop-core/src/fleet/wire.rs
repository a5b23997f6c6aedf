//! Wire format of a pipeline service: the JSON bodies of its requests and answers, once for the
//! service that writes them and for its clients. Bodies of requests are in [`super::requests`].
//!
//! A client reads leniently, because a service may be newer, older or the published one: a missing
//! field, or one of another type, is `None`. A service reads requests strictly:
//! [`super::requests::FieldError`] names the field. The type parameters of a body are the parts
//! that a service passes through as JSON and a client reads in part, or not at all.

use crate::protocol::{Millis, time};
use crate::report::Scopes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

/// Status of a pipeline.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PipelineStatus {
    /// Its source and destination are being prepared.
    Setup,
    /// It reads the remaining ranges.
    Backfill,
    /// Nothing is left to read.
    Ready,
    /// An operator paused it.
    Paused,
    /// It is being deleted.
    Teardown,
    /// Parked by a permanent error: a person has to act.
    Error,
}

impl PipelineStatus {
    /// Returns the word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Status that an operator wants a pipeline to have.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DesiredStatus {
    /// It syncs.
    Active,
    /// It stops at the next checkpoint and stays as it is.
    Paused,
    /// It is torn down and removed.
    Deleted,
}

impl DesiredStatus {
    /// Returns the word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// State of a run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::IntoStaticStr, strum::EnumString,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// It waits for a permit.
    Pending,
    /// An engine is called, or the next call waits for its backoff.
    Running,
    /// It ended, and its outcome is not a failure.
    Succeeded,
    /// It ended with a failure.
    Failed,
    /// A request ended it.
    Canceled,
}

impl TaskState {
    /// Returns the word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// True if the run has ended.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// Trigger of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Started by the lifecycle to read the remaining ranges.
    Backfill,
    /// `POST /pipelines/{id}/runs`.
    Request,
    /// `POST /pipelines/{id}/sync` or `sync_batch`: one call.
    Sync,
    /// Started by the schedule of the pipeline.
    Schedule,
}

/// Word of a service: one of `T`, or another that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word<T> {
    /// Word that this version knows.
    Known(T),
    /// Any other word, verbatim.
    Other(Arc<str>),
}

impl<T: Copy + Into<&'static str>> Word<T> {
    /// Returns the word as it is on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(word) => (*word).into(),
            Self::Other(word) => word,
        }
    }
}

impl<T: FromStr> From<&str> for Word<T> {
    fn from(word: &str) -> Self {
        word.parse().map_or_else(|_| Self::Other(word.into()), Self::Known)
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(word) if word == other)
    }
}

/// Deserializes a field; `None` if it is of another type.
///
/// Reads from a [`Value`] only: in a text, the rest of the field would be left unread.
#[expect(clippy::unnecessary_wraps, reason = "the signature that serde calls")]
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(deserializer).ok())
}

/// Deserializes a time; `None` if it is no ISO 8601 text.
#[expect(clippy::unnecessary_wraps, reason = "the signature that serde calls")]
fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Millis>, D::Error> {
    Ok(Arc::<str>::deserialize(deserializer).ok().and_then(|text| time::parse(&text)))
}

/// Serializes a time as ISO 8601 in UTC with milliseconds, or null.
#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn iso<S: serde::Serializer>(at: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(time::iso).serialize(serializer)
}

/// Deserializes the elements of an array that have the right type.
#[expect(clippy::unnecessary_wraps, reason = "the signature that serde calls")]
fn elements<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Value>::deserialize(deserializer).unwrap_or_default();
    Ok(all.iter().filter_map(|one| T::deserialize(one).ok()).collect())
}

/// Page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// Elements of this page.
    pub data: Vec<T>,
    /// True if a next page exists.
    #[serde(default)]
    pub has_more: bool,
    /// Position of the next page: an id or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Value>,
}

/// Error answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Sentence for a person.
    #[serde(default, deserialize_with = "lenient")]
    pub error: Option<Arc<str>>,
    /// Code for a program, such as `pipeline_not_found`.
    #[serde(default, deserialize_with = "lenient")]
    pub code: Option<Arc<str>>,
    /// Further fields for programs.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Pipeline: the answer to `GET /pipelines/{id}`. `C`: a configuration or state; `R`: the result of
/// a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "C: Deserialize<'de>, R: Deserialize<'de>"))]
pub struct PipelineBody<C, R> {
    /// Name of the pipeline.
    #[serde(default, deserialize_with = "lenient")]
    pub id: Option<Arc<str>>,
    /// Source: `{"type": T, T: {...}}`, with secrets masked.
    #[serde(default, deserialize_with = "lenient")]
    pub source: Option<C>,
    /// Destination, in the same form.
    #[serde(default, deserialize_with = "lenient")]
    pub destination: Option<C>,
    /// Requested streams: `[{"name": ...}]`; absent for all.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub streams: Option<C>,
    /// Labels of the nodes that may run it; absent for all nodes.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub requires: Option<C>,
    /// Schedule of its runs; absent without one.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub schedule: Option<C>,
    /// Planned begin of the next run of its schedule.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso", skip_serializing_if = "Option::is_none")]
    pub next_run_at: Option<Millis>,
    /// Time at which it is late, unless a run succeeds before.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso", skip_serializing_if = "Option::is_none")]
    pub late_at: Option<Millis>,
    /// Name of the node that runs it; absent if the service has one node.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
    /// Reason that no node runs it, of a service with several nodes.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub unassigned: Option<Arc<str>>,
    /// Status that the operator wants.
    #[serde(default, deserialize_with = "lenient")]
    pub desired_status: Option<Arc<str>>,
    /// Current status.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<Arc<str>>,
    /// State that the engine returned last.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub sync_state: Option<C>,
    /// Time of its creation.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso")]
    pub created_at: Option<Millis>,
    /// Time of its last change.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso")]
    pub updated_at: Option<Millis>,
    /// Number of changes.
    #[serde(default, deserialize_with = "lenient")]
    pub revision: Option<u64>,
    /// Opaque position in the pipeline's events.
    #[serde(default, deserialize_with = "lenient")]
    pub cursor: Option<Arc<str>>,
    /// Reason of parking, or of a failing teardown.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonBody>,
    /// Planned automatic retry.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryBody>,
    /// Last run.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub run: Option<TaskBody<R>>,
}

/// Answer to `GET /pipelines/{id}/why`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WhyBody {
    /// Name of the pipeline.
    #[serde(default, deserialize_with = "lenient")]
    pub id: Option<Arc<str>>,
    /// Current status.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<Arc<str>>,
    /// True while an engine runs.
    #[serde(default, deserialize_with = "lenient")]
    pub is_running: Option<bool>,
    /// Reasons, the one that has to go first.
    #[serde(default, deserialize_with = "elements")]
    pub reasons: Vec<WhyReason>,
}

/// Kind of a reason that a pipeline runs or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub enum WhyKind {
    /// It is being deleted.
    Deleting,
    /// It is parked.
    Parked,
    /// It is paused, or comes to a pause.
    Paused,
    /// No node has taken it.
    NoNode,
    /// It retries after a delay.
    Backoff,
    /// Its node runs as many engines as it may.
    RunLimit,
    /// Its run is open.
    Running,
    /// Its schedule starts the next run.
    Schedule,
    /// Nothing is left to read, and it has no schedule.
    Idle,
    /// It begins within seconds.
    Starting,
}

impl WhyKind {
    /// Returns the word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Reason that a pipeline runs or does not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WhyReason {
    /// Word of its [`WhyKind`].
    #[serde(default, deserialize_with = "lenient")]
    pub kind: Option<Arc<str>>,
    /// Sentence for an operator.
    pub message: String,
    /// Client that requested it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Time since which it holds.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso", skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
    /// Time at which it ends.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso", skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

/// Status of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum NodeStatus {
    /// It renews its lease.
    Alive,
    /// It ends, and hands its pipelines over.
    Draining,
    /// It has ended, or does not renew its lease.
    Gone,
}

impl NodeStatus {
    /// Returns the word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Node of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeBody {
    /// Id of its registration; absent if the service has one node.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    /// Its name.
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<Arc<str>>,
    /// Address of its API.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub address: Option<Arc<str>>,
    /// Version of its program.
    #[serde(default, deserialize_with = "lenient")]
    pub version: Option<Arc<str>>,
    /// Word of its [`NodeStatus`].
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<Arc<str>>,
    /// Labels such as `region=eu`.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Start of its registration.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    /// Last renewal of its lease.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso")]
    pub seen_at: Option<Millis>,
    /// Number of its pipelines.
    #[serde(default, deserialize_with = "lenient")]
    pub pipelines: Option<u64>,
    /// Number of its pipelines with an open run.
    #[serde(default, deserialize_with = "lenient")]
    pub running: Option<u64>,
}

/// Reason of a parked pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReasonBody {
    /// Error message with secrets masked.
    #[serde(default, deserialize_with = "lenient")]
    pub message: Option<Arc<str>>,
    /// Failure type, such as `auth_error`.
    #[serde(default, deserialize_with = "lenient")]
    pub failure_type: Option<Arc<str>>,
    /// Failed stream; `None` if the error concerns the entire pipeline.
    #[serde(default, deserialize_with = "lenient")]
    pub stream: Option<Arc<str>>,
    /// Hash of the message without its particulars: equal for errors that differ only in numbers,
    /// ids and names.
    #[serde(default, deserialize_with = "lenient")]
    pub fingerprint: Option<Arc<str>>,
    /// Time since which the error exists.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso")]
    pub since: Option<Millis>,
    /// Next step for an operator.
    #[serde(default, deserialize_with = "lenient")]
    pub next: Option<Arc<str>>,
}

/// Planned automatic retry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RetryBody {
    /// Time of the retry.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso")]
    pub at: Option<Millis>,
    /// Number of failures so far.
    #[serde(default, deserialize_with = "lenient")]
    pub attempt: Option<u64>,
    /// Error of the last failure.
    #[serde(default, deserialize_with = "lenient")]
    pub message: Option<Arc<str>>,
}

/// Run: the answer to `GET /tasks/{task_id}`. `R`: its result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct TaskBody<R> {
    /// Id of the run.
    #[serde(default, deserialize_with = "lenient")]
    pub task_id: Option<Arc<str>>,
    /// Pipeline of the run.
    #[serde(default, deserialize_with = "lenient")]
    pub pipeline_id: Option<Arc<str>>,
    /// Number among the pipeline's runs, from 1.
    #[serde(default, deserialize_with = "lenient")]
    pub number: Option<u64>,
    /// Trigger of the run.
    #[serde(default, deserialize_with = "lenient")]
    pub trigger: Option<Trigger>,
    /// State: `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED`, `CANCELED`.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<Arc<str>>,
    /// Finished streams of all streams, such as `3/7`.
    #[serde(default, deserialize_with = "lenient")]
    pub progress: Option<Arc<str>>,
    /// Headline of the result, or the reason of a failure.
    #[serde(default, deserialize_with = "lenient")]
    pub message: Option<Arc<str>>,
    /// Totals of an ended run.
    #[serde(default, deserialize_with = "lenient")]
    pub result: Option<R>,
    /// Run id that is sent to the engine.
    #[serde(default, deserialize_with = "lenient")]
    pub run_id: Option<Arc<str>>,
    /// Calls of the engine so far.
    #[serde(default, deserialize_with = "lenient")]
    pub calls: Option<u64>,
    /// True once cancellation was requested.
    #[serde(default, deserialize_with = "lenient")]
    pub cancel_requested: Option<bool>,
    /// Time of the request.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso")]
    pub created_at: Option<Millis>,
    /// Time of the first call.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso")]
    pub started_at: Option<Millis>,
    /// Time of the end.
    #[serde(default, deserialize_with = "instant", serialize_with = "iso")]
    pub ended_at: Option<Millis>,
    /// Bytes of the pipeline's log that are of this run.
    #[serde(default, deserialize_with = "lenient")]
    pub log: Option<LogBytes>,
    /// Totals of an open run.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub so_far: Option<R>,
    /// Position in the events from which the run can be followed; only in the answer to its
    /// request.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Arc<str>>,
}

/// Range of bytes in a pipeline's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBytes {
    /// Offset of the first byte.
    pub from: u64,
    /// Offset behind the last byte; `None` while the run is open.
    pub to: Option<u64>,
}

/// Totals of a run, as far as a client reads them; the service sends a summary's further fields
/// too.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct RunTotals {
    /// Name of the outcome (see [`crate::reduce::Outcome`]).
    #[serde(default, deserialize_with = "lenient")]
    pub outcome: Option<Arc<str>>,
    /// Counts of records.
    #[serde(default, deserialize_with = "lenient")]
    pub records: Option<Scopes>,
    /// Number of checkpoints.
    #[serde(default, deserialize_with = "lenient")]
    pub checkpoints: Option<u64>,
    /// Records per second over the last minute.
    #[serde(default, deserialize_with = "lenient")]
    pub records_per_second: Option<f64>,
    /// Coverage, 0 to 1, of the streams whose range is known.
    #[serde(default, deserialize_with = "lenient")]
    pub coverage: Option<f64>,
    /// True if `coverage` includes all streams.
    #[serde(default, deserialize_with = "lenient")]
    pub covers_all: Option<bool>,
    /// Number of streams.
    #[serde(default, deserialize_with = "lenient")]
    pub streams: Option<u64>,
    /// Number of streams per status.
    #[serde(default, deserialize_with = "lenient")]
    pub by_status: Option<BTreeMap<Arc<str>, u64>>,
    /// Errors of the run.
    #[serde(default, deserialize_with = "elements")]
    pub errors: Vec<ErrorTotals>,
    /// Doubts about the outcome.
    #[serde(default, deserialize_with = "elements")]
    pub doubts: Vec<DoubtTotals>,
}

/// Group of equal errors of a run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ErrorTotals {
    /// Error message with secrets masked.
    #[serde(default, deserialize_with = "lenient")]
    pub message: Option<Arc<str>>,
    /// Failure type, such as `auth_error`.
    #[serde(default, deserialize_with = "lenient")]
    pub failure_type: Option<Arc<str>>,
    /// Level: `global`, `stream` or `transient`.
    #[serde(default, deserialize_with = "lenient")]
    pub level: Option<Arc<str>>,
    /// Streams with the error.
    #[serde(default, deserialize_with = "elements")]
    pub streams: Vec<Arc<str>>,
    /// Hash of the message without its particulars.
    #[serde(default, deserialize_with = "lenient")]
    pub fingerprint: Option<Arc<str>>,
    /// True if the engine does not retry it.
    #[serde(default, rename = "final", deserialize_with = "lenient")]
    pub is_final: Option<bool>,
    /// True if a later success resolved it.
    #[serde(default, deserialize_with = "lenient")]
    pub cleared: Option<bool>,
    /// Time of its last occurrence.
    #[serde(default, deserialize_with = "instant")]
    pub last_at: Option<Millis>,
    /// Next step for an operator.
    #[serde(default, deserialize_with = "lenient")]
    pub next: Option<Arc<str>>,
}

/// Doubt about the outcome of a run.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct DoubtTotals {
    /// Sentence without its streams.
    #[serde(default, deserialize_with = "lenient")]
    pub message: Option<Arc<str>>,
    /// Streams of the doubt; empty if it concerns the run.
    #[serde(default, deserialize_with = "elements")]
    pub streams: Vec<Arc<str>>,
}

/// Answer to `GET /pipelines/{id}/wait`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WaitBody {
    /// Name of the pipeline.
    #[serde(default, deserialize_with = "lenient")]
    pub id: Option<Arc<str>>,
    /// Condition that was waited for.
    #[serde(default, rename = "for", deserialize_with = "lenient")]
    pub condition: Option<Arc<str>>,
    /// Current status.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<Arc<str>>,
    /// Status that the operator wants.
    #[serde(default, deserialize_with = "lenient")]
    pub desired_status: Option<Arc<str>>,
    /// Reason of parking.
    #[serde(default, deserialize_with = "lenient")]
    pub reason: Option<ReasonBody>,
    /// Planned automatic retry.
    #[serde(default, deserialize_with = "lenient")]
    pub retry: Option<RetryBody>,
    /// True if the condition holds.
    #[serde(default, deserialize_with = "lenient")]
    pub reached: Option<bool>,
    /// True if the wait ended at its timeout.
    #[serde(default, deserialize_with = "lenient")]
    pub timed_out: Option<bool>,
    /// Timeout in seconds that the service applied.
    #[serde(default, deserialize_with = "lenient")]
    pub timeout: Option<f64>,
    /// Duration of the wait in milliseconds.
    #[serde(default, deserialize_with = "lenient")]
    pub waited_ms: Option<u64>,
    /// Known streams, if the condition names a stream that is not among them.
    #[serde(default, deserialize_with = "lenient")]
    pub streams: Option<Vec<Arc<str>>>,
    /// Opaque position in the pipeline's events.
    #[serde(default, deserialize_with = "lenient")]
    pub cursor: Option<Arc<str>>,
}

/// Entry of `GET /actions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionBody {
    /// Number of the entry.
    pub seq: u64,
    /// Time of the action, ISO 8601.
    #[serde(deserialize_with = "instant", serialize_with = "iso")]
    pub at: Option<Millis>,
    /// Address of the client.
    pub client: String,
    /// Action, such as `update` or `run`.
    pub action: String,
    /// Pipeline of the action.
    pub pipeline: Option<String>,
    /// Details of the action.
    pub detail: Option<Value>,
}
