//! Index of a saved log: one pass over its files (attempts in order) that reduces them and collects
//! the snapshots for seeking.

use crate::net::source::decompress::{self, Compression, SavedInput};
use crate::net::source::error::SourceError;
use crate::net::source::ingest::{RewindData, Snapshot};
use crate::net::source::pipe;
use crate::net::source::sidecar::Sidecar;
use crate::net::timeline::byte_store::{ByteStore, SideEvent, Spooling};
use crate::net::timeline::chunks::Chunks;
use crate::net::timeline::keep::SharedHistory;
use crate::net::timeline::parallel::{self, Sink};
use crate::net::timeline::segments::is_continuation;
use parking_lot::MutexGuard;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::{Batch, Link, Progress};
use tokio::sync::watch;

/// Saved log that is opened but not read yet.
pub struct SavedLog {
    name: String,
    input: Input,
}

enum Input {
    File(File),
    Stdin,
}

impl SavedLog {
    /// Opens a log; `-` is stdin.
    ///
    /// # Errors
    /// Returns [`SourceError::Absent`] if there is no such file, [`SourceError::Directory`] if it
    /// is a directory, and otherwise the error of opening it.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let name = path.display().to_string();
        if name == "-" {
            return Ok(Self { name: "stdin".into(), input: Input::Stdin });
        }
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SourceError::Absent(name.clone()),
            _ => SourceError::of(&name, &error),
        })?;
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            return Err(SourceError::Directory(name));
        }
        Ok(Self { name, input: Input::File(file) })
    }

    /// True if the log is an uncompressed regular file, which is read in place. Other logs are
    /// spooled.
    #[must_use]
    pub fn in_place(&self) -> bool {
        use std::os::unix::fs::FileExt;
        let Input::File(file) = &self.input else { return false };
        let mut head = [0; 4];
        let read = file.read_at(&mut head, 0).unwrap_or(0);
        file.metadata().is_ok_and(|found| found.is_file())
            && decompress::packing(head.get(..read).unwrap_or_default()) == Compression::Plain
    }

    /// Returns the file size in bytes, compressed or not; `None` for a pipe.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match &self.input {
            Input::File(file) => file.metadata().ok().filter(std::fs::Metadata::is_file).map(|found| found.len()),
            Input::Stdin => None,
        }
    }
}

/// Reduces the logs and their sidecar data to the end, without an index.
///
/// # Errors
/// Returns an error if a log cannot be read to its end; earlier data are applied.
pub fn read(logs: Vec<SavedLog>, sidecar_data: Sidecar, progress: &mut Progress, decoder: &Decoder) -> io::Result<()> {
    if let Some(catalog) = &sidecar_data.catalog {
        progress.expect_streams(catalog);
    }
    let exit = sidecar_data.exit;
    let mut sink = LogWithSidecar { progress, sidecar_data };
    let result = reduce_all(logs, &mut sink, decoder);
    while let Some(line) = sink.sidecar_data.stderr.rest() {
        sink.progress.stderr(&line);
    }
    sink.progress.close(exit);
    result
}

/// Sink that merges the lines of a log with its sidecar data.
struct LogWithSidecar<'p> {
    progress: &'p mut Progress,
    sidecar_data: Sidecar,
}

impl Sink for LogWithSidecar<'_> {
    fn take(&mut self, batch: &mut Batch, decoder: &Decoder) -> bool {
        let Self { progress, sidecar_data } = self;
        if sidecar_data.stderr.is_empty() {
            progress.apply_batch(batch, decoder);
        } else {
            progress.apply_batch_with(batch, decoder, |progress, _| {
                while let Some(line) = sidecar_data.stderr.due(progress) {
                    progress.stderr(&line);
                }
            });
        }
        true
    }
}

fn reduce_all(logs: Vec<SavedLog>, sink: &mut LogWithSidecar, decoder: &Decoder) -> io::Result<()> {
    let mut before: Option<String> = None;
    for log in logs {
        if before.is_some_and(|before| !is_continuation(before.as_ref(), log.name.as_ref())) {
            sink.progress.next_file();
        }
        before = Some(log.name.clone());
        let at = sink.progress.input.bytes;
        let workers = parallel::workers();
        let SavedInput { input, frames } = match log.input {
            Input::File(file) => decompress::open_saved(file, workers)?,
            Input::Stdin => decompress::open_saved(pipe::stdin(), workers)?,
        };
        parallel::reduce(Chunks::new(input, at).with_frames(frames), decoder, sink, workers)?;
    }
    Ok(())
}

/// Sink that indexes logs: reduces them and stores bytes and snapshots for seeking.
pub struct Indexer {
    pub progress: Progress,
    store: Arc<ByteStore>,
    history: SharedHistory,
    /// Sender of progress snapshots, and the time of the last one.
    watch: Option<(watch::Sender<Snapshot>, Instant)>,
    /// True once a failure of the store was reported.
    broken: bool,
    /// Reason that a log could not be read to its end.
    down: Option<String>,
    sidecar_data: Sidecar,
}

/// Indexing in the background: its data and snapshots for the screen.
pub struct Indexing {
    pub past: RewindData,
    pub snapshots: watch::Receiver<Snapshot>,
    /// Size of the logs in bytes; `None` if a log is not read in place.
    pub size: Option<u64>,
    /// Error that stopped reading before the end.
    pub broken: Arc<OnceLock<io::Error>>,
}

/// Starts a thread that indexes the logs; it stops early if every receiver is dropped.
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub fn spawn(logs: Vec<SavedLog>, sidecar_data: Sidecar, decoder: Decoder) -> io::Result<Indexing> {
    let past = RewindData { store: Arc::new(ByteStore::default()), ..RewindData::default() };
    let (sender, snapshots) = watch::channel(Snapshot::default());
    let size = logs.iter().map(|log| log.size().filter(|_| log.in_place())).sum();
    let mut indexer = Indexer::new(Arc::clone(&past.store), Arc::clone(&past.history)).publishing_to(sender);
    let broken = Arc::new(OnceLock::new());
    let failure = Arc::clone(&broken);
    std::thread::Builder::new().name("index".into()).spawn(move || {
        if let Err(error) = indexer.run(logs, sidecar_data, &decoder) {
            tracing::error!(target: "synctop::index", "{error}");
            let _ = failure.set(error);
        }
    })?;
    Ok(Indexing { past, snapshots, size, broken })
}

impl Sink for Indexer {
    fn take(&mut self, batch: &mut Batch, decoder: &Decoder) -> bool {
        let due;
        {
            let mut history = self.history.lock();
            let Self { store, sidecar_data, progress, .. } = self;
            progress.apply_batch_with(batch, decoder, |progress, run| {
                while let Some(line) = sidecar_data.stderr.due(progress) {
                    crate::net::source::child::diagnose(&line);
                    let side = SideEvent::Stderr(line);
                    side.apply(progress);
                    store.side(progress.input.bytes, side);
                }
                history.note(progress, run);
                MutexGuard::bump(&mut history);
            });
            due = history.due(&self.progress);
        }
        if due {
            crate::net::timeline::keep::keep_snapshot(&self.history, &self.progress, self.store.sides());
        }
        if let Some(why) = self.store.broken().filter(|_| !self.broken) {
            self.broken = true;
            self.side(SideEvent::Notice(format!("the past cannot be stored for rewinding: {why}")));
        }
        self.show(false)
    }
}

impl Indexer {
    #[must_use]
    pub fn new(store: Arc<ByteStore>, history: SharedHistory) -> Self {
        Self {
            progress: Progress::default(),
            store,
            history,
            watch: None,
            broken: false,
            down: None,
            sidecar_data: Sidecar::default(),
        }
    }

    /// Publishes snapshots on `watch`; indexing stops if every receiver is dropped.
    #[must_use]
    pub fn publishing_to(mut self, watch: watch::Sender<Snapshot>) -> Self {
        self.watch = Some((watch, Instant::now()));
        self
    }

    /// Publishes a snapshot if one is due. Returns `false` if every receiver is dropped.
    fn show(&mut self, over: bool) -> bool {
        let Some((watch, shown)) = &mut self.watch else { return true };
        if let Some(why) = &self.down {
            let progress = Arc::new(self.progress.clone());
            return watch.send(Snapshot { progress, link: Link::Down(why.as_str().into()), last_line: None }).is_ok();
        }
        if over || shown.elapsed() >= crate::net::source::ingest::BETWEEN_SNAPSHOTS {
            *shown = Instant::now();
            let link = if over { Link::Ended(self.sidecar_data.exit) } else { Link::Live };
            let progress = Arc::new(self.progress.clone());
            return watch.send(Snapshot { progress, link, last_line: None }).is_ok();
        }
        !watch.is_closed()
    }

    /// Reads all logs to their end.
    ///
    /// # Errors
    /// Returns an error if a log cannot be read to its end; earlier data are applied.
    pub fn run(&mut self, logs: Vec<SavedLog>, sidecar_data: Sidecar, decoder: &Decoder) -> io::Result<()> {
        let mut result = Ok(());
        self.progress = Progress::new(decoder);
        if let Some(catalog) = &sidecar_data.catalog {
            self.store.expect(catalog);
            self.progress.expect_streams(catalog);
        }
        self.sidecar_data = sidecar_data;
        let size: u64 = logs.iter().filter(|log| log.in_place()).filter_map(SavedLog::size).sum();
        self.history.lock().expect(size);
        let mut before: Option<String> = None;
        for log in logs {
            if before.is_some_and(|before| !is_continuation(before.as_ref(), log.name.as_ref())) {
                self.side(SideEvent::NextFile);
            }
            let name = log.name.clone();
            before = Some(name.clone());
            if let Err(error) = self.index_log(log, decoder) {
                result = Err(io::Error::new(error.kind(), format!("{name}: {error}")));
                self.side(SideEvent::Notice(format!("{name}: {error}")));
                self.down = Some(error.to_string());
                break;
            }
        }
        while let Some(line) = self.sidecar_data.stderr.rest() {
            crate::net::source::child::diagnose(&line);
            self.side(SideEvent::Stderr(line));
        }
        let exit = self.sidecar_data.exit;
        self.history.lock().note(&self.progress, false);
        self.history.lock().finish(&self.progress, exit);
        self.progress.close(exit);
        self.show(true);
        result
    }

    fn side(&mut self, side: SideEvent) {
        side.apply(&mut self.progress);
        self.store.side(self.progress.input.bytes, side);
    }

    fn index_log(&mut self, log: SavedLog, decoder: &Decoder) -> io::Result<()> {
        let at = self.progress.input.bytes;
        let in_place = log.in_place();
        match log.input {
            Input::File(file) if in_place => {
                let file = Arc::new(file);
                // Bytes written from now on are ignored: only the follow mode reads them.
                let length = file.metadata()?.len();
                let input = FileFrom { file, at: 0, end: length, store: Arc::clone(&self.store) };
                parallel::reduce(Chunks::new(input, at), decoder, self, parallel::workers())
            }
            Input::File(file) => self.spooled(file, at, decoder),
            Input::Stdin => self.spooled(pipe::stdin(), at, decoder),
        }
    }

    /// Indexes an input that cannot be read in place, and spools its bytes.
    fn spooled(&mut self, input: impl Read + Send + 'static, at: u64, decoder: &Decoder) -> io::Result<()> {
        let workers = parallel::workers();
        let SavedInput { input, frames } = decompress::open_saved(input, workers)?;
        let store = Arc::clone(&self.store);
        let chunks = Chunks::new(Spooling { input, store }, at).with_frames(frames);
        parallel::reduce(chunks, decoder, self, workers)
    }
}

/// Reader of a file from `at` to `end`. It does not move the file's shared position.
struct FileFrom {
    file: Arc<File>,
    at: u64,
    end: u64,
    store: Arc<ByteStore>,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(buffer.get_mut(..room).unwrap_or_default(), self.at)?;
        if length > 0 {
            self.store.file(&self.file, self.at, length as u64);
        }
        self.at += length as u64;
        Ok(length)
    }
}
