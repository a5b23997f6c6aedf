//! The file that a caller keeps a run's state in between attempts.

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

/// Replaces it in one step: whoever reads it, also after a crash, finds the old state or the new one, whole.
///
/// # Errors
/// When it cannot be written; the old one is there then.
pub fn write(path: &Path, state: &RawValue) -> io::Result<()> {
    // A link stays one.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::fs::metadata(&path).map_or_else(|_| Permissions::from_mode(0o666), |found| found.permissions());
    let mut file = tempfile::Builder::new().prefix(".synctop-state-").permissions(mode).tempfile_in(folder)?;
    file.write_all(state.get().as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    // The name is on the disk only with its folder.
    File::open(folder)?.sync_all()
}
