//! Data folder of a service: locked for one process, and not begun anew when its database is lost.

use crate::service::store;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Error of a data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    #[error("another synctop service uses {0}: stop it, or select another folder with --data-dir")]
    InUse(PathBuf),
    #[error("the folder {0} cannot be used: {1}. Select another folder with --data-dir")]
    Unusable(PathBuf, String),
    #[error(
        "{0} has logs of pipelines, but its database synctop.db is {1}: restore the database from a backup, or move the folder logs away to start without the pipelines"
    )]
    NoDatabase(PathBuf, &'static str),
}

impl DataFolderError {
    /// Returns the error of a folder that cannot be used.
    pub fn unusable(folder: &Path, error: io::Error) -> Self {
        Self::Unusable(folder.to_owned(), error.to_string())
    }
}

/// Refuses a folder whose database was lost: a new one would drop the logs of all its pipelines.
pub(super) fn check_database(folder: &Path) -> Result<(), DataFolderError> {
    let lost = match std::fs::metadata(folder.join(store::DATABASE)) {
        Ok(found) if found.len() == 0 => "empty",
        Ok(_) => return Ok(()),
        Err(_) => "missing",
    };
    let has_logs = std::fs::read_dir(folder.join("logs")).is_ok_and(|mut logs| logs.next().is_some());
    if has_logs { Err(DataFolderError::NoDatabase(folder.to_owned(), lost)) } else { Ok(()) }
}

/// Creates the data folder, for its owner alone, and locks it.
///
/// # Errors
/// Returns [`DataFolderError::InUse`] if another process has it, [`DataFolderError::Unusable`] if it cannot be used.
pub fn lock_folder(folder: &Path) -> Result<(File, File), DataFolderError> {
    let bad = |error| DataFolderError::unusable(folder, error);
    std::fs::create_dir_all(folder).map_err(bad)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(bad)?;
    let held = File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(bad)?;
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&held, exclusive).map_err(|_| DataFolderError::InUse(folder.to_owned()))?;
    // The file of the lock may be removed; the folder itself may not.
    let locked = File::open(folder).map_err(bad)?;
    rustix::fs::flock(&locked, exclusive).map_err(|_| DataFolderError::InUse(folder.to_owned()))?;
    Ok((held, locked))
}
