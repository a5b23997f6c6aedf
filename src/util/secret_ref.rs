//! References to secrets, so that a configuration does not contain them: `env:NAME`, `file:/PATH`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Maximum bytes of a file that holds a secret.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// Environment variable of this name.
    Env(String),
    /// File with this absolute path.
    File(PathBuf),
}

/// Reason that a secret cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefError {
    #[error("there is no variable {0} in the environment")]
    NoVariable(String),
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: String },
    #[error("{}: it is no regular file", .0.display())]
    NoFile(PathBuf),
    #[error("{}: it has more than {} kB", .0.display(), MAX_FILE_BYTES / 1024)]
    TooLarge(PathBuf),
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl SecretRef {
    /// Parses a reference; `None` if the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        match (text.strip_prefix("env:"), text.strip_prefix("file:")) {
            (Some(name), _) if !name.is_empty() => Some(Self::Env(name.to_owned())),
            (_, Some(path)) if path.starts_with('/') => Some(Self::File(path.into())),
            _ => None,
        }
    }

    /// Reads the secret, without a newline at its end.
    ///
    /// # Errors
    /// Returns [`SecretRefError`] if the variable is not set, or the file is not regular, cannot be
    /// read as text or is too large.
    pub fn read(&self) -> Result<String, SecretRefError> {
        match self {
            Self::Env(name) => {
                let text = std::env::var(name).map_err(|_| SecretRefError::NoVariable(name.clone()))?;
                Ok(without_newline(&text))
            }
            Self::File(path) => read_file(path, open(path)),
        }
    }
}

/// Reads the secret in a file below `folder`. Links that leave the folder are not followed.
///
/// # Errors
/// Returns [`SecretRefError`] as [`SecretRef::read`] does.
pub fn read_below(folder: &Path, path: &Path) -> Result<String, SecretRefError> {
    read_file(path, open_below(folder, path))
}

/// Opens a file without waiting for a writer of a named pipe.
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

#[cfg(target_os = "linux")]
fn open_below(folder: &Path, path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    let rest = path.strip_prefix(folder).map_err(|_| io::ErrorKind::PermissionDenied)?;
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(folder, rest, flags, Mode::empty(), resolve)?.into())
}

#[cfg(not(target_os = "linux"))]
fn open_below(folder: &Path, path: &Path) -> io::Result<File> {
    let (folder, path) = (std::fs::canonicalize(folder)?, std::fs::canonicalize(path)?);
    if path.starts_with(folder) { open(&path) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Reads an opened file within the bound. Its size in the metadata is no evidence.
fn read_file(path: &Path, file: io::Result<File>) -> Result<String, SecretRefError> {
    let unreadable = |error: io::Error| SecretRefError::Unreadable { path: path.to_owned(), error: error.to_string() };
    let file = file.map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(SecretRefError::NoFile(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(SecretRefError::TooLarge(path.to_owned()));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| SecretRefError::Unreadable { path: path.to_owned(), error: "it is not UTF-8 text".to_owned() })?;
    Ok(without_newline(&text))
}

fn without_newline(text: &str) -> String {
    text.trim_end_matches(['\r', '\n']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_whole_or_not_at_all() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = format!("file:{}", file.path().display());
        std::fs::write(file.path(), "two\nlines\r\n").unwrap();
        assert_eq!(SecretRef::parse(&path).unwrap().read().unwrap(), "two\nlines");
        std::fs::write(file.path(), vec![b'a'; 64 * 1024 + 1]).unwrap();
        assert!(matches!(SecretRef::parse(&path).unwrap().read(), Err(SecretRefError::TooLarge(_))));
        std::fs::write(file.path(), [0xff]).unwrap();
        assert!(matches!(SecretRef::parse(&path).unwrap().read(), Err(SecretRefError::Unreadable { .. })));
        let missing = SecretRef::parse("env:SYNCTOP_NO_SUCH").unwrap().read();
        assert_eq!(missing, Err(SecretRefError::NoVariable("SYNCTOP_NO_SUCH".into())));
        for text in ["env:", "file:relative", "abc", ""] {
            assert_eq!(SecretRef::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_regular_files_below_the_folder_are_read() {
        let root = tempfile::tempdir().unwrap();
        let (allowed, outside) = (root.path().join("allowed"), root.path().join("outside"));
        std::fs::create_dir(&allowed).unwrap();
        std::fs::write(&outside, "no").unwrap();
        std::fs::write(allowed.join("key"), "yes\n").unwrap();
        std::os::unix::fs::symlink("key", allowed.join("inner")).unwrap();
        std::os::unix::fs::symlink(&outside, allowed.join("leak")).unwrap();
        let pipe = allowed.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let read = |name: &str| read_below(&allowed, &allowed.join(name));
        assert_eq!(read("key").as_deref(), Ok("yes"));
        assert_eq!(read("inner").as_deref(), Ok("yes"));
        assert!(matches!(read("leak"), Err(SecretRefError::Unreadable { .. })));
        assert!(matches!(read("../outside"), Err(SecretRefError::Unreadable { .. })));
        assert!(matches!(read("pipe"), Err(SecretRefError::NoFile(_))));
    }
}
