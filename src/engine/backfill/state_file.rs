//! State file of a run: the state that a caller stores between attempts.

use crate::util::sys::folder;
use serde_json::value::RawValue;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Reads the text of the state file. Returns `None` for a missing or blank file, which starts a
/// run.
///
/// # Errors
/// Returns the I/O error if the file exists and cannot be read.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks that the file is writable, before work whose state would be lost.
///
/// # Errors
/// Returns an I/O error if the path is not a regular file, or its folder is not writable.
pub fn check(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    tempfile::Builder::new().prefix(".synctop-state-").tempfile_in(folder(&path)).map(drop).map_err(without_temp_name)
}

/// Returns the error without the name of the temporary file.
fn without_temp_name(error: io::Error) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "there is no such folder".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), text)
}

/// Replaces the state file atomically: a reader finds either the complete old state or the complete
/// new state, even after a crash.
///
/// # Errors
/// Returns the I/O error if the file cannot be written; the old state remains.
pub fn write(path: &Path, state: &RawValue) -> io::Result<()> {
    // Replaces the target of a symbolic link, not the link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // A rename would replace a device or a pipe with a file.
    if std::fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let folder = folder(&path);
    let mode = std::fs::metadata(&path).map_or_else(|_| Permissions::from_mode(0o600), |found| found.permissions());
    let mut file = tempfile::Builder::new()
        .prefix(".synctop-state-")
        .permissions(mode)
        .tempfile_in(folder)
        .map_err(without_temp_name)?;
    file.write_all(state.get().as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    // The rename is durable only after its folder is synced.
    File::open(folder)?.sync_all()
}
