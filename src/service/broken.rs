//! Pipelines whose stored data cannot be read.

use crate::service::problem::Problem;
use serde_json::Value;
use synctop_core::fleet::PipelineStatus;
use synctop_core::fleet::wire::{PipelineBody, ReasonBody};
use synctop_core::protocol::mask;

/// Pipeline whose stored data cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub id: String,
    pub incarnation: u64,
    /// Reason for an operator.
    pub why: String,
}

impl Broken {
    /// Returns the error of a request for this pipeline.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem::new(409, "pipeline_damaged", format!("Pipeline {}: {}. {}", self.id, self.sentence(), Self::NEXT))
    }

    /// Returns its entry in a list.
    #[must_use]
    pub fn body(&self) -> PipelineBody<Value, Value> {
        PipelineBody {
            id: Some(self.id.as_str().into()),
            status: Some(PipelineStatus::Error.as_str().into()),
            reason: Some(ReasonBody {
                message: Some(self.sentence().into()),
                failure_type: Some("system_error".into()),
                next: Some(Self::NEXT.into()),
                ..ReasonBody::default()
            }),
            ..PipelineBody::default()
        }
    }

    fn sentence(&self) -> String {
        format!("its stored data cannot be read: {}", mask::secrets(&self.why))
    }

    const NEXT: &'static str = "Restore the data folder from a backup, or delete the pipeline";
}
