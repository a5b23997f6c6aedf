//! Files that commands read, and text on stdout.

use super::error::CommandError;
use crate::app::term::output::out;
use crate::engine::backfill::state_file as state;
use crate::net::SourceError;
use crate::net::source::decompress;
use std::io;
use std::path::Path;
use synctop_core::ResultClass;

/// Reads a text file. `what` names the kind of the file in the error message.
///
/// # Errors
///
/// Returns a [`CommandError`] if the file is missing, unreadable or no text.
pub(crate) fn read_text_file(path: &Path, what: &str) -> Result<String, CommandError> {
    let name = path.display().to_string();
    std::fs::read(path).and_then(decompress::to_text).map_err(|error| match error.kind() {
        // Not `Missing`: it suggests to wait for a feed, and this file is not waited for.
        io::ErrorKind::NotFound => SourceError::Absent(name).into(),
        io::ErrorKind::InvalidData => CommandError {
            sentence: format!("{name} is not a {what}: it is neither UTF-8 nor UTF-16 text."),
            class: ResultClass::BadData,
        },
        _ => SourceError::of(&name, &error).into(),
    })
}

/// Returns the text of a state file, or `None` if it does not exist yet. Checks first that the
/// file can be written, so that the command fails before it reads any input.
pub(crate) fn read_state_file(path: &Path) -> Result<Option<String>, CommandError> {
    state::check(path).map_err(|error| CommandError::unwritable(path, "--state", &error))?;
    state::read(path).map_err(|error| SourceError::of(&path.display().to_string(), &error).into())
}

/// Writes to stdout. A broken pipe is not an error.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    match out(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
