//! Record of an action on a pipeline and its result.

use crate::protocol::Millis;

/// Record of an action, as the action log keeps it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ActionRecord {
    pub seq: i64,
    pub at: Millis,
    pub who: String,
    pub action: String,
    pub pipeline: String,
    pub why: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
    /// Result and its sentence; none while it is unknown.
    pub verdict: Option<String>,
    pub sentence: Option<String>,
    pub ended_at: Option<Millis>,
}
