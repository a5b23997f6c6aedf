//! Conditions of `wait`, evaluated on the state of a pipeline.

use super::pipeline::Pipeline;
use super::wire::{DesiredStatus, PipelineStatus};
use crate::protocol::Status as StreamStatus;
use std::sync::Arc;

/// Condition that `wait` waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The pipeline has this status.
    Status(PipelineStatus),
    /// The run has more checkpoints than at the start of the wait.
    Progress,
    /// The pipeline is not parked.
    NotParked,
    /// A stream of the last run has this status. For synctop's own service only the service's own
    /// wait knows streams by name.
    Stream(Arc<str>, StreamStatus),
    /// The pipeline has no errors.
    NoErrors,
    /// The pipeline does not exist any more.
    Deleted,
    /// The pipeline exists.
    Created,
}

/// Evaluation of a condition at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// The condition is true.
    Yes,
    /// The condition may become true.
    NotYet,
    /// The condition cannot become true without an intervention.
    Never,
}

/// Statuses of a stream that can be waited for.
const STREAM_STATUSES: [StreamStatus; 4] =
    [StreamStatus::Started, StreamStatus::Completed, StreamStatus::Skipped, StreamStatus::Errored];

/// Syntax of conditions, for error messages.
const EXPECTED: &str = "status=ready (or setup, backfill, paused, teardown, error), progress, not-parked, \
    stream:NAME=completed (or started, skipped, errored), error-count=0, deleted, create";

/// Text that is no condition; describes the syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub struct ConditionError;

impl std::str::FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        if let Some(stream) = text.strip_prefix("stream:") {
            let named = stream.rsplit_once('=').filter(|(name, _)| !name.is_empty());
            let read = named
                .and_then(|(name, word)| Some((name, STREAM_STATUSES.into_iter().find(|it| it.as_str() == word)?)));
            return match read {
                Some((name, status)) => Ok(Self::Stream(name.into(), status)),
                None => Err(ConditionError),
            };
        }
        match text {
            "progress" => Ok(Self::Progress),
            "not-parked" => Ok(Self::NotParked),
            "error-count=0" => Ok(Self::NoErrors),
            "delete" | "deleted" => Ok(Self::Deleted),
            "create" | "created" => Ok(Self::Created),
            text => match text.strip_prefix("status=").unwrap_or(text).parse() {
                Err(_) => Err(ConditionError),
                Ok(status) => Ok(Self::Status(status)),
            },
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status={status}"),
            Self::Progress => f.write_str("progress"),
            Self::NotParked => f.write_str("not-parked"),
            Self::Stream(name, status) => write!(f, "stream:{name}={}", status.as_str()),
            Self::NoErrors => f.write_str("error-count=0"),
            Self::Deleted => f.write_str("deleted"),
            Self::Created => f.write_str("create"),
        }
    }
}

impl Condition {
    /// Returns the condition in the syntax of synctop's own service; `None` if its `wait` does not
    /// support it.
    #[must_use]
    pub fn as_server_condition(&self) -> Option<String> {
        match self {
            Self::Status(status) => Some(status.to_string()),
            Self::Progress | Self::NotParked | Self::Stream(..) => Some(self.to_string()),
            Self::NoErrors | Self::Deleted | Self::Created => None,
        }
    }

    /// Evaluates the condition for a pipeline; `None`: the pipeline does not exist. `checkpoints`:
    /// count at the start of the wait. `inferred`: the pipeline counts as parked although its
    /// service does not report it.
    #[must_use]
    pub fn holds(&self, pipeline: Option<&Pipeline>, checkpoints: u64, inferred: bool) -> Holds {
        let Some(it) = pipeline else {
            return if *self == Self::Deleted { Holds::Yes } else { Holds::Never };
        };
        let parked = it.status == PipelineStatus::Error || inferred;
        let yes = match self {
            Self::Status(status) => {
                it.status == *status && !(inferred && *status != PipelineStatus::Error)
                    || (*status == PipelineStatus::Error && inferred)
            }
            Self::Progress => it.found.checkpoints.unwrap_or(0) > checkpoints,
            Self::NotParked => !parked,
            Self::Stream(name, status) => match it.progress() {
                Some(progress) => progress.stream(name).is_some_and(|stream| stream.has_final_status(*status)),
                // Only the service's own wait knows streams by name.
                None => false,
            },
            Self::NoErrors => it.faults.is_empty(),
            Self::Deleted => false,
            Self::Created => true,
        };
        if yes {
            return Holds::Yes;
        }
        let never = match self {
            Self::NotParked | Self::NoErrors => false,
            Self::Status(PipelineStatus::Error) => false,
            Self::Deleted => false,
            _ if parked => true,
            _ if it.status == PipelineStatus::Teardown || it.desired == DesiredStatus::Deleted => {
                *self != Self::Status(PipelineStatus::Teardown)
            }
            _ if it.status == PipelineStatus::Paused => it.desired == DesiredStatus::Paused,
            // A ready pipeline reads nothing until a request arrives; a stream of an ended run
            // keeps its status.
            _ if it.status == PipelineStatus::Ready => {
                let Self::Stream(..) = self else { return Holds::NotYet };
                it.progress().is_some_and(|run| !run.streams.is_empty()) && it.run.as_ref().is_none_or(|run| !run.open)
            }
            _ => false,
        };
        if never { Holds::Never } else { Holds::NotYet }
    }

    /// Returns the streams of the last run if the stream of this condition is not among them.
    #[must_use]
    pub fn other_streams(&self, it: &Pipeline) -> Option<Vec<String>> {
        let Self::Stream(name, _) = self else { return None };
        let run = it.progress().filter(|run| !run.streams.is_empty() && run.stream(name).is_none())?;
        Some(run.streams.iter().map(|stream| stream.name.to_string()).collect())
    }
}
