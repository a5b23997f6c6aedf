//! Log of a pipeline: output of its runs, line by line. A position is the number of bytes since the
//! start of the log and never changes. One writer, any number of readers: a reader has a position
//! and no queue, and the writer never waits for it.
//!
//! ```text
//! file.rs    segment files in the data folder, of a service with one node
//! chunks.rs  chunks in PostgreSQL, which each node reads and the one with the lease writes
//! ```

pub mod chunks;
mod file;
mod piece;

pub use file::{CompressionQueue, FileLog, LogRetention, compressor, prune_deleted};
pub use piece::Piece;

use crate::service::log::chunks::{ChunkLog, ChunkReader};
use crate::service::log::file::FileReader;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// Log of one pipeline.
#[derive(Clone)]
pub enum PipelineLog {
    File(Arc<FileLog>),
    Chunks(Arc<ChunkLog>),
}

impl PipelineLog {
    /// Returns the log in files; `None` for one in a database.
    #[must_use]
    pub fn as_file(&self) -> Option<Arc<FileLog>> {
        match self {
            Self::File(log) => Some(Arc::clone(log)),
            Self::Chunks(_) => None,
        }
    }

    /// Returns a watch on the end of the stored log.
    #[must_use]
    pub fn tail(&self) -> watch::Receiver<u64> {
        match self {
            Self::File(log) => log.tail(),
            Self::Chunks(log) => log.tail(),
        }
    }

    /// Returns the end of the log with all appended lines. Those of the last instant may not be
    /// stored yet.
    #[must_use]
    pub fn end(&self) -> u64 {
        match self {
            Self::File(log) => log.end(),
            Self::Chunks(log) => log.end(),
        }
    }

    /// Returns the end of the stored log.
    #[must_use]
    pub fn stored_end(&self) -> u64 {
        match self {
            Self::File(log) => log.end(),
            Self::Chunks(log) => log.stored_end(),
        }
    }

    /// Returns the first stored position.
    #[must_use]
    pub fn kept_from(&self) -> u64 {
        match self {
            Self::File(log) => log.kept_from(),
            Self::Chunks(log) => log.kept_from(),
        }
    }

    /// Starts a new segment if this is another run.
    pub fn begin_run(&self, run: u64) {
        match self {
            Self::File(log) => log.begin_run(run),
            Self::Chunks(log) => log.begin_run(run),
        }
    }

    /// Closes the last segment of a run.
    pub fn end_run(&self) {
        if let Self::File(log) = self {
            log.end_run();
        }
    }

    /// Appends complete lines and returns the new end of the log.
    ///
    /// # Errors
    /// Returns the error of the file, or `PermissionDenied` if another node runs the pipeline; the
    /// log is unchanged after an error.
    pub fn append(&self, lines: &[u8]) -> io::Result<u64> {
        match self {
            Self::File(log) => log.append(lines),
            Self::Chunks(log) => log.append(lines),
        }
    }

    /// Waits until all appended lines are stored.
    ///
    /// # Errors
    /// Returns `PermissionDenied` if another node has taken the pipeline over.
    pub async fn flush(&self) -> io::Result<()> {
        match self {
            Self::File(_) => Ok(()),
            Self::Chunks(log) => log.flush().await,
        }
    }

    /// Ends the log of a deleted pipeline: readers end, and later lines are discarded. Stored
    /// lines stay until they expire.
    pub fn finish(&self) {
        match self {
            Self::File(log) => log.finish(),
            Self::Chunks(log) => log.finish(),
        }
    }

    /// True once the pipeline is deleted: no more lines follow.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match self {
            Self::File(log) => log.is_finished(),
            Self::Chunks(log) => log.is_finished(),
        }
    }

    /// Returns a reader from this position on.
    #[must_use]
    pub fn reader(&self, at: u64) -> Reader {
        match self {
            Self::File(log) => Reader::File(log.reader(at)),
            Self::Chunks(log) => Reader::Chunks(log.reader(at)),
        }
    }
}

/// Reader of a log.
pub enum Reader {
    File(FileReader),
    Chunks(ChunkReader),
}

impl Reader {
    /// Returns the position of the next byte.
    #[must_use]
    pub fn at(&self) -> u64 {
        match self {
            Self::File(reader) => reader.at,
            Self::Chunks(reader) => reader.at,
        }
    }

    /// Continues at another position.
    pub fn seek(&mut self, at: u64) {
        match self {
            Self::File(reader) => reader.seek(at),
            Self::Chunks(reader) => reader.seek(at),
        }
    }

    /// Reads the next bytes, at most `most`. The rest of a segment that cannot be read is passed over.
    ///
    /// # Errors
    /// Returns the error of the file or of the database, or `UnexpectedEof` if the newest segment is
    /// shorter than recorded.
    pub async fn next(&mut self, most: usize) -> io::Result<Piece> {
        match self {
            Self::File(reader) => reader.next(most),
            Self::Chunks(reader) => reader.next(most).await,
        }
    }
}
