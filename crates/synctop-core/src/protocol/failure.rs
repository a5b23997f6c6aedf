//! Errors that an engine reports.

use super::values::{ErrorLevel, Name};
use std::borrow::Cow;

/// Separator between the message of an error and the root cause that an adapter appends to it.
pub(crate) const CAUSED_BY: &str = "; caused by ";

/// Error of a run or stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure<'a> {
    /// Scope of the error, or `Transient` if a retry may succeed.
    pub level: ErrorLevel,
    /// Type on the wire, such as `config_error`; in Airbyte `system_error` if missing or unknown.
    pub failure_type: Option<Cow<'a, str>>,
    /// Stream of the error; `None` if the error names none.
    pub stream: Option<Name<'a>>,
    /// Text of the error; empty if the engine reports none.
    pub message: Cow<'a, str>,
    /// Internal message of the engine, if `message` is written for users.
    pub internal: Option<Cow<'a, str>>,
    /// Stack trace of the engine (`stack_trace`), or text of a Python traceback.
    pub stack: Option<Cow<'a, str>>,
    /// True if the stream or run ended with this error.
    pub is_final: bool,
    /// True if it only repeats the errors of the streams.
    pub roll_up: bool,
    /// Part of each stream that a roll-up lists. It is the error of a stream without another one.
    pub parts: Vec<Failure<'a>>,
    /// True if the destination failed, not the source.
    pub from_destination: bool,
}

impl<'a> Failure<'a> {
    /// Creates a final error without details.
    #[must_use]
    pub fn of(level: ErrorLevel, stream: Option<Name<'a>>, message: Cow<'a, str>) -> Self {
        Self {
            level,
            failure_type: None,
            stream,
            message,
            internal: None,
            stack: None,
            is_final: true,
            roll_up: false,
            parts: Vec::new(),
            from_destination: false,
        }
    }
}
