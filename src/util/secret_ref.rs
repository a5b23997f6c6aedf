//! References to secrets, so that a configuration does not contain them: `env:NAME`, `file:/PATH`.

use std::io::Read;
use std::path::PathBuf;

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
    /// Returns [`SecretRefError`] if the variable is not set, or the file cannot be read as text or
    /// is too large.
    pub fn read(&self) -> Result<String, SecretRefError> {
        let text = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| SecretRefError::NoVariable(name.clone()))?,
            Self::File(path) => {
                let unreadable =
                    |error: std::io::Error| SecretRefError::Unreadable { path: path.clone(), error: error.to_string() };
                let mut bytes = Vec::new();
                let file = std::fs::File::open(path).map_err(unreadable)?;
                file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
                if bytes.len() as u64 > MAX_FILE_BYTES {
                    return Err(SecretRefError::TooLarge(path.clone()));
                }
                String::from_utf8(bytes).map_err(|_| SecretRefError::Unreadable {
                    path: path.clone(),
                    error: "it is not UTF-8 text".to_owned(),
                })?
            }
        };
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
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
}
