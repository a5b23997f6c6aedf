//! Byte sources. Each source has a thread that reads and a thread that decodes:
//!
//! ```text
//! file.rs | pipe.rs | child.rs | recording.rs --bounded channel of Event--> ingest.rs --watch--> Snapshot
//! a saved log: index.rs (chunks.rs, parallel.rs) ---------------------------------------watch--> Snapshot
//!                both keep store.rs (bytes) and synctop_core::reduce::history --> seek.rs, rewind.rs --watch--> View of any instant
//! ```
//!
//! A full channel makes the source wait (and with it the engine behind a pipe, as any reader
//! would); a slow screen delays nothing, because it takes only the newest snapshot.

pub mod child;
pub mod chunks;
pub mod decompress;
pub mod file;
pub mod http;
pub mod index;
pub mod ingest;
pub mod parallel;
pub mod pipe;
pub mod recording;
pub mod remote;
pub mod rewind;
pub mod seek;
pub mod segments;
pub mod sidecar;
pub(crate) mod sqlite;
pub mod store;
pub mod tee;

pub use ingest::{BETWEEN_SNAPSHOTS, Ingest, RewindData, Snapshot, spawn_ingest};

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::SystemTime;
use synctop_core::ResultClass;
use synctop_core::protocol::catalog::Catalog;
use synctop_core::reduce::history::History;
use synctop_core::reduce::{EncodedSnapshot, Exit, Progress};

/// Maximum bytes of one read by a source.
pub const CHUNK: usize = 256 * 1024;

/// Capacity of the channel from a source to the ingest thread, in events.
pub const QUEUE: usize = 8;

/// Ordered output of a source.
#[derive(Debug)]
pub enum Event {
    /// Streams that the input will contain; sent before any other event.
    Expect(Arc<Catalog>),
    /// The next bytes, and their place in a file if they can be read again.
    Bytes(Vec<u8>, Option<Origin>),
    /// The source has read everything available; time at which the data were written, if known.
    CaughtUp(Option<SystemTime>),
    /// The file was replaced or truncated: the next bytes do not continue the last line.
    Break {
        why: String,
        /// The content read so far was in the same file and is overwritten.
        overwritten: bool,
    },
    /// Message about the source for the user.
    Notice(String),
    /// Line that the engine wrote to stderr.
    Stderr(String),
    /// Reason that reading fails. The source may retry, and may continue with [`Event::Bytes`].
    Down(String),
    /// End of the input, with the exit status of the engine if known.
    End(Option<Exit>),
}

/// Place of bytes in a file.
#[derive(Debug, Clone)]
pub struct Origin {
    pub file: Arc<File>,
    pub at: u64,
}

/// Returns the folder of a path; `.` for a bare file name.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the current time in milliseconds since 1970, UTC.
#[must_use]
pub fn now() -> synctop_core::protocol::Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(0)
}

/// Returns a random number from 0 (inclusive) to 1 (exclusive).
#[expect(clippy::cast_precision_loss, reason = "a random fraction")]
pub(crate) fn jitter() -> f64 {
    (random() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Returns a random identifier with the prefix `kind`.
#[must_use]
pub fn random_id(kind: &str) -> String {
    format!("{kind}_{:016x}", random())
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Locks a mutex, ignoring poison: every update leaves the value consistent, and the thread that
/// joins reports the panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stores a snapshot of the progress in the history for rewinding. The snapshot is encoded without
/// holding the lock.
pub(crate) fn keep_snapshot(history: &Mutex<History>, progress: &Progress, sides: usize) {
    let base = lock(history).base();
    let base = base.as_ref().map(|(progress, packed)| (progress, packed));
    if let Some(packed) = EncodedSnapshot::new(progress, base) {
        lock(history).keep(progress, packed, sides);
    }
}

/// Creates the bounded channel from a source to the ingest thread.
#[must_use]
pub fn channel() -> (mpsc::SyncSender<Event>, mpsc::Receiver<Event>) {
    mpsc::sync_channel(QUEUE)
}

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
