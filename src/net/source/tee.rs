//! Copies standard input to standard output while it is read, and optionally to a log file.

use crate::net::source::frames::FrameWriter;
use crate::net::source::pipe;
use rustix::fd::BorrowedFd;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Fastest level of zstd that still compresses well.
const ZSTD_LEVEL: i32 = 1;

/// Maximum chunks that wait for compression.
const MAX_QUEUED_CHUNKS: usize = 8;

/// Reason that copying stopped before the end of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The reader of standard output closed it.
    ReaderGone,
    /// Standard output cannot be written.
    Output(String),
    /// Standard input cannot be read.
    Input(String),
}

/// Reader of standard input that writes all data to the log file and to standard output before it
/// returns them.
pub struct TeeReader {
    input: BorrowedFd<'static>,
    out: BorrowedFd<'static>,
    log_file: Option<Arc<Mutex<CopyFile>>>,
    stopped: Arc<Mutex<Option<Stopped>>>,
}

impl TeeReader {
    #[must_use]
    pub fn new(log_file: Option<Arc<Mutex<CopyFile>>>, stopped: Arc<Mutex<Option<Stopped>>>) -> Self {
        let _ = pipe::stdin();
        Self { input: rustix::stdio::stdin(), out: pipe::stdout(), log_file, stopped }
    }

    fn stop(&self, why: Stopped, error: io::Error) -> io::Error {
        crate::util::sys::lock(&self.stopped).get_or_insert(why);
        error
    }
}

impl Read for TeeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length =
            pipe::read(self.input, buffer).map_err(|error| self.stop(Stopped::Input(error.to_string()), error))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        // The log file is written first, so that it contains everything on standard output.
        if let Some(log_file) = &self.log_file {
            crate::util::sys::lock(log_file).write(bytes);
        }
        pipe::write_all(self.out, bytes).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => self.stop(Stopped::ReaderGone, error),
            _ => self.stop(Stopped::Output(error.to_string()), error),
        })?;
        Ok(length)
    }
}

/// Log file of the copied data, compressed if its name ends in `.zst`.
pub struct CopyFile {
    to: To,
    /// Reason that the copy is incomplete.
    pub broken: Option<String>,
}

enum To {
    File(File),
    /// File that is compressed on its own thread.
    Packed(SyncSender<Vec<u8>>, JoinHandle<io::Result<()>>),
    Closed,
}

impl CopyFile {
    /// Creates or truncates the file; with `append`, keeps its content and adds to it (a compressed
    /// file may have several frames, RFC 8878, 3.1).
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened or the thread cannot be started.
    pub fn create(path: &Path, append: bool) -> io::Result<Self> {
        // A log may contain secrets: only its owner may read a new one.
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = File::options();
        options.create(true).write(true).truncate(!append).append(append).mode(0o600);
        let file = options.open(path)?;
        let to = if path.extension().is_some_and(|extension| extension == "zst") {
            let (sender, chunks) = sync_channel::<Vec<u8>>(MAX_QUEUED_CHUNKS);
            let thread = std::thread::Builder::new().name("pack".into()).spawn(move || {
                let mut writer = FrameWriter::new(file, ZSTD_LEVEL)?;
                for chunk in chunks {
                    writer.write_all(&chunk)?;
                }
                writer.finish()?.sync_all()
            })?;
            To::Packed(sender, thread)
        } else {
            To::File(file)
        };
        Ok(Self { to, broken: None })
    }

    /// Appends bytes. An error is stored in `broken` and closes the file; later calls do nothing.
    pub fn write(&mut self, bytes: &[u8]) {
        let written = match &mut self.to {
            _ if bytes.is_empty() => Ok(()),
            To::File(file) => file.write_all(bytes),
            To::Packed(chunks, _) => {
                // The thread ended: closing returns its error.
                if chunks.send(bytes.to_vec()).is_err() { self.close() } else { Ok(()) }
            }
            To::Closed => Ok(()),
        };
        if let Err(error) = written {
            self.broken.get_or_insert_with(|| error.to_string());
            self.to = To::Closed;
        }
    }

    /// Completes the file. An error is stored in `broken`.
    pub fn finish(&mut self) {
        if let Err(error) = self.close() {
            self.broken.get_or_insert_with(|| error.to_string());
        }
    }

    fn close(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.to, To::Closed) {
            To::File(mut file) => file.flush(),
            To::Packed(chunks, thread) => {
                drop(chunks);
                thread.join().unwrap_or_else(|_| Err(io::Error::other("packing failed")))
            }
            To::Closed => Ok(()),
        }
    }
}
