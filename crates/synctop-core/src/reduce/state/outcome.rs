//! Outcomes of a run.

use crate::ResultClass;

/// Outcome of a run, by its last attempt.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// The input is open, and no end message was seen.
    Running,
    /// The run ended complete: no error stands, and no range is left to read.
    Succeeded,
    /// The run ended complete, yet an error stands or ranges are left to read.
    CompletedWithErrors,
    /// The engine, its process or its connection failed, a permanent error has no stream, or every
    /// started stream has a final error.
    Failed,
    /// The engine ended without a claim of completion: at a limit, with more to read, or for an
    /// unknown reason.
    CutOff,
    /// The engine reports an abort, or was stopped before an end message.
    Aborted,
    /// The input ended without an end message while something was open, or a signal ended the
    /// process.
    Truncated,
    /// Nothing is open, and the ending is unknown.
    Unknown,
}

impl Outcome {
    /// Returns the name in the JSON, such as `completed_with_errors`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the class of this outcome.
    #[must_use]
    pub fn class(self) -> ResultClass {
        match self {
            Self::Succeeded => ResultClass::Done,
            Self::CompletedWithErrors | Self::Failed => ResultClass::Failed,
            Self::Running | Self::CutOff | Self::Aborted | Self::Truncated | Self::Unknown => ResultClass::Unfinished,
        }
    }
}
