//! State file of a run: the state that a caller stores between attempts.

use crate::net::folder;
use serde_json::value::RawValue;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Its text; nothing where there is no such file yet: that is the begin of a run.
///
/// # Errors
/// When it is there and cannot be read.
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
/// When there is something there that is no file, or its folder takes none.
pub fn check(path: &Path) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is no file"));
    }
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    tempfile::Builder::new().prefix(".synctop-state-").tempfile_in(folder(&path)).map(drop).map_err(plain)
}

/// Without the name of a temporary file.
fn plain(error: io::Error) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "there is no such folder".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), text)
}

/// Replaces it atomically: a reader, also after a crash, finds the old or the new state, whole.
///
/// # Errors
/// When it cannot be written; the old one is there then.
pub fn write(path: &Path, state: &RawValue) -> io::Result<()> {
    // A link stays one.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // A device or a pipe is not replaced by a file.
    if std::fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is no file"));
    }
    let folder = folder(&path);
    let mode = std::fs::metadata(&path).map_or_else(|_| Permissions::from_mode(0o666), |found| found.permissions());
    let mut file =
        tempfile::Builder::new().prefix(".synctop-state-").permissions(mode).tempfile_in(folder).map_err(plain)?;
    file.write_all(state.get().as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    // The name is on the disk only with its folder.
    File::open(folder)?.sync_all()
}
