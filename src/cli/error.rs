//! Error of a command, as a sentence with the next step.

use super::output::sentence;
use crate::engine::backfill::retry_loop::BackfillError;
use crate::net::SourceError;
use std::io;
use std::path::Path;
use synctop_core::ResultClass;

/// Error of a command: a sentence that names the next step, and the class that decides its exit
/// code.
pub(crate) struct CommandError {
    pub sentence: String,
    pub class: ResultClass,
}

impl CommandError {
    pub fn usage(sentence: impl ToString) -> Self {
        Self { sentence: sentence.to_string(), class: ResultClass::Usage }
    }

    /// Error of a file that cannot be written and was passed as the value of `flag`.
    pub fn unwritable(path: &Path, flag: &str, error: &io::Error) -> Self {
        let path = path.display();
        Self {
            sentence: format!("Cannot write {path}: {error}. Name another file after {flag}."),
            class: ResultClass::Output,
        }
    }

    pub fn unwritable_stdout(error: &dyn std::fmt::Display) -> Self {
        Self { sentence: format!("Cannot write stdout: {error}."), class: ResultClass::Output }
    }

    pub fn no_state(path: &Path, error: &dyn std::fmt::Display) -> Self {
        let path = path.display();
        Self {
            sentence: format!(
                "{path} is not a state file of an engine: {error}. Pass another file, or omit the option to start anew."
            ),
            class: ResultClass::BadData,
        }
    }
}

impl From<BackfillError> for CommandError {
    fn from(error: BackfillError) -> Self {
        Self { sentence: sentence(&error.sentence), class: error.class }
    }
}

impl From<SourceError> for CommandError {
    fn from(error: SourceError) -> Self {
        Self { sentence: error.to_string(), class: error.class() }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self { sentence: format!("{error}."), class: ResultClass::Output }
    }
}
