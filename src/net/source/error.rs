//! Errors of sources.

use synctop_core::ResultClass;

/// Input that cannot be read at all; its text is a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("No such file: {0}. Check the path, or pass --retry to wait until it exists.")]
    Missing(String),
    #[error("No such file: {0}. Check the path.")]
    Absent(String),
    #[error("{0} is a directory. Name a file in it.")]
    Directory(String),
    #[error("Cannot read {0}: permission denied. Run as a user who may read it.")]
    Denied(String),
    #[error("Cannot read {0}: {1}. Check that the file is complete.")]
    Unreadable(String, String),
    #[error("Cannot start {0}: {1}. Check the command after `--`.")]
    Spawn(String, String),
}

impl SourceError {
    /// Converts the error of opening or reading `path`.
    #[must_use]
    pub fn of(path: &str, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing(path.to_owned()),
            std::io::ErrorKind::PermissionDenied => Self::Denied(path.to_owned()),
            std::io::ErrorKind::IsADirectory => Self::Directory(path.to_owned()),
            _ => Self::Unreadable(path.to_owned(), error.to_string()),
        }
    }

    /// Returns the class of this error.
    #[must_use]
    pub fn class(&self) -> ResultClass {
        match self {
            Self::Denied(_) => ResultClass::NotAllowed,
            Self::Missing(_) | Self::Absent(_) | Self::Directory(_) | Self::Unreadable(..) | Self::Spawn(..) => {
                ResultClass::NoInput
            }
        }
    }
}

impl From<SourceError> for std::io::Error {
    fn from(error: SourceError) -> Self {
        Self::other(error)
    }
}
