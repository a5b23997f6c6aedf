//! Task of another API, from submission to result: its state and its text form.

use super::wire::{RunTotals, TaskBody};
use crate::ResultClass;
use crate::format::duration;
use serde_json::Value;

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskPhase {
    /// Accepted, and not started.
    Pending,
    /// Started, and not ended.
    Running,
    /// Ended, with all of its work done.
    Succeeded,
    /// Ended without all of its work.
    Failed,
}

impl TaskPhase {
    /// True if the task has ended.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// Returns the class of this state.
    #[must_use]
    pub fn class(self) -> ResultClass {
        match self {
            Self::Succeeded => ResultClass::Done,
            Self::Failed => ResultClass::Failed,
            Self::Pending | Self::Running => ResultClass::Unfinished,
        }
    }
}

/// State of a task as reported by its service.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteTask {
    /// Id of the task.
    pub id: String,
    /// State, the same for every API.
    pub state: TaskPhase,
    /// Status in the words of the service.
    pub word: String,
    /// Progress as text, such as `3/7`.
    pub progress: Option<String>,
    /// Message of the service about the state.
    pub message: Option<String>,
    /// Next step suggested by the service.
    pub fix: Option<String>,
    /// URL of the result.
    pub result_url: Option<String>,
    /// Run of a pipeline service; `None` for a task of another API.
    pub run: Option<Box<TaskBody<RunTotals>>>,
    /// Complete report of the service, without secrets.
    pub told: Value,
}

impl RemoteTask {
    /// Returns the pipeline of a run.
    #[must_use]
    pub fn pipeline(&self) -> Option<&str> {
        self.run.as_ref()?.pipeline_id.as_deref()
    }

    /// Returns the totals of an ended run.
    #[must_use]
    pub fn totals(&self) -> Option<&RunTotals> {
        self.run.as_ref()?.result.as_ref()
    }

    /// Returns the task as a line of text: `  [15s] task=abc status=RUNNING  progress=3/7`.
    #[must_use]
    pub fn line(&self, seconds: u64) -> String {
        let progress = self.progress.as_ref().map(|it| format!("  progress={it}")).unwrap_or_default();
        let message =
            self.message.as_ref().filter(|_| !self.state.is_finished()).map(|it| format!("  {it}")).unwrap_or_default();
        format!("  [{seconds}s] task={} status={}{progress}{message}", self.id, self.word)
    }
}

/// Describes the expected duration from the durations of past tasks, in milliseconds: the median
/// and the longest.
#[must_use]
pub fn expected(mut past: Vec<u64>) -> String {
    if past.is_empty() {
        return "unknown: no run of it succeeded yet".into();
    }
    past.sort_unstable();
    if past.iter().all(|ms| *ms < 1_000) {
        return "less than a second".into();
    }
    let middle = past.get(past.len() / 2).copied().unwrap_or(0);
    let last = past.last().copied().unwrap_or(0);
    match past.len() {
        1 => format!("about {} (the last one took that)", duration(middle)),
        many => format!("about {} (of the last {many}; the longest took {})", duration(middle), duration(last)),
    }
}
