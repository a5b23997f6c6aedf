//! Events from a source to the ingest thread, and their bounded channel.

use std::fs::File;
use std::sync::{Arc, mpsc};
use std::time::SystemTime;
use synctop_core::protocol::catalog::Catalog;
use synctop_core::reduce::Exit;

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
    Bytes(Vec<u8>, Option<FileOrigin>),
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
pub struct FileOrigin {
    pub file: Arc<File>,
    pub at: u64,
}

/// Creates the bounded channel from a source to the ingest thread.
#[must_use]
pub fn channel() -> (mpsc::SyncSender<Event>, mpsc::Receiver<Event>) {
    mpsc::sync_channel(QUEUE)
}
