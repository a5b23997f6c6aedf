//! Outcomes of a run.

use crate::ResultClass;

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
    Running,
    Succeeded,
    CompletedWithErrors,
    Failed,
    CutOff,
    Aborted,
    Truncated,
    /// Nothing is open, and the ending is unknown.
    Unknown,
}

impl Outcome {
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
