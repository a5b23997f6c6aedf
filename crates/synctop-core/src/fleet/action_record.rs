//! Record of an action on a pipeline, with its result.

use crate::protocol::Millis;

/// Record of an action in the action log.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ActionRecord {
    /// Sequence number in the action log.
    pub seq: i64,
    /// Time of the request.
    pub at: Millis,
    /// Person who requested the action.
    pub who: String,
    /// Action, such as `resume`.
    pub action: String,
    /// Id of the pipeline.
    pub pipeline: String,
    /// Reason that the person gave.
    pub why: Option<String>,
    /// State of the pipeline before the action, as text.
    pub before: Option<String>,
    /// State of the pipeline after the action, as text.
    pub after: Option<String>,
    /// Name of the result; `None` while it is unknown.
    pub verdict: Option<String>,
    /// Result as a sentence; `None` while it is unknown.
    pub sentence: Option<String>,
    /// Time at which the result became known.
    pub ended_at: Option<Millis>,
}
