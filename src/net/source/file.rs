//! Follows a file by its name through appends, rename and recreate, truncation, copy-and-truncate.
//!
//! Polling finds every change. Notifications only make it faster: some file systems send none.

use crate::net::source::decompress::{self, Compression, packing};
use crate::net::source::error::SourceError;
use crate::net::source::event::{CHUNK, Event, FileOrigin};
use crate::net::source::{pipe, rotated};
use notify::Watcher;
use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use synctop_core::protocol::Decoder;

/// Polling interval; a notification ends the wait early.
const POLL: Duration = Duration::from_millis(250);

/// Bytes at a file's start that are compared to detect a rewritten file.
const HEAD: usize = 512;

/// Time for which a replaced file is still read while the new one is empty: a slow writer may
/// continue in the old one.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Position at which reading a file starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    Start,
    End,
}

/// Options for following a file name.
#[derive(Debug, Clone)]
pub struct Follow {
    pub path: PathBuf,
    pub from: StartAt,
    /// True to wait for a file that does not exist yet.
    pub retry: bool,
}

/// Starts a thread that follows the file. A compressed file is read to its end and not followed.
///
/// # Errors
/// Returns an error if the file cannot be read, unless `retry` waits for it, or if the thread
/// cannot be started.
pub fn spawn(follow: Follow, events: mpsc::SyncSender<Event>) -> Result<(), SourceError> {
    let name = follow.path.display().to_string();
    if std::fs::metadata(&follow.path).is_ok_and(|found| found.file_type().is_fifo()) {
        // Opening a FIFO blocks until it has a writer: the thread opens it, not the caller.
        let input = Fifo { path: follow.path, file: None };
        return pipe::spawn(input, name.clone(), events).map_err(|error| SourceError::of(&name, &error));
    }
    match open(&follow.path) {
        Ok(file) => {
            if !file.metadata().is_ok_and(|found| found.is_file()) {
                return pipe::spawn(file, name.clone(), events).map_err(|error| SourceError::of(&name, &error));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && follow.retry => {}
        Err(error) => return Err(SourceError::of(&name, &error)),
    }
    let thread = std::thread::Builder::new().name("follow".into());
    thread.spawn(move || run(&follow, &events)).map_err(|error| SourceError::of(&name, &error))?;
    Ok(())
}

/// Named pipe that is opened by the first read.
struct Fifo {
    path: PathBuf,
    file: Option<File>,
}

impl Read for Fifo {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.read(buffer),
            none => none.insert(File::open(&self.path)?).read(buffer),
        }
    }
}

/// Opens a file; a directory is an error.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// Open file with the state of reading it.
struct OpenFile {
    file: Arc<File>,
    /// Device and inode.
    id: (u64, u64),
    /// Offset of the next byte to read.
    at: u64,
    /// First bytes of the file, at most [`HEAD`].
    head: Vec<u8>,
    /// Time at which the file was found under the followed name.
    since: Instant,
}

impl OpenFile {
    fn new(file: File, from: StartAt) -> io::Result<Self> {
        let found = file.metadata()?;
        let id = (found.dev(), found.ino());
        let mut open = Self { file: Arc::new(file), id, at: 0, head: Vec::new(), since: Instant::now() };
        open.head = open.read_head();
        // A compressed file cannot be decompressed from its end.
        if from == StartAt::End && !open.packed() {
            open.at = found.len();
        }
        Ok(open)
    }

    fn packed(&self) -> bool {
        packing(&self.read_head()) != Compression::Plain
    }

    fn read_head(&self) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        let length = self.file.read_at(&mut head, 0).unwrap_or(0);
        head.truncate(length);
        head
    }

    /// True if the file is shorter than the read position, or its first bytes changed.
    fn rewritten(&mut self, found: &Metadata) -> bool {
        let head = self.read_head();
        let same = head.get(..self.head.len()) == Some(&self.head);
        if same && self.head.len() < HEAD {
            self.head = head;
        }
        found.len() < self.at || !same
    }

    fn restart(&mut self) {
        self.at = 0;
        self.head = self.read_head();
    }

    /// Sends everything up to the end of the file. Returns the number of bytes, or `None` if the
    /// receiver is gone.
    fn drain(&mut self, events: &mpsc::SyncSender<Event>) -> io::Result<Option<u64>> {
        let mut sum = 0;
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = match self.file.read_at(&mut chunk, self.at) {
                Ok(0) => return Ok(Some(sum)),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            chunk.truncate(length);
            let origin = FileOrigin { file: Arc::clone(&self.file), at: self.at };
            self.at += length as u64;
            sum += length as u64;
            if events.send(Event::Bytes(chunk, Some(origin))).is_err() {
                return Ok(None);
            }
        }
    }
}

fn run(follow: &Follow, events: &mpsc::SyncSender<Event>) {
    let (hint, hints) = mpsc::sync_channel(1);
    // Without notifications (network file system, watch limit reached) polling alone suffices.
    let _watcher = watch(&follow.path, hint);
    let mut name = FollowedName { follow, from: follow.from, open: VecDeque::new(), gone: false, down: false };
    if !follow.path.exists() {
        let _ = events.send(Event::Notice(format!("there is no file {} yet", follow.path.display())));
    }
    if follow.from == StartAt::Start && !read_earlier_parts(&follow.path, events) {
        return;
    }
    loop {
        match name.poll(events) {
            Ok(None) => return,
            Ok(Some(read)) => {
                if read > 0 || name.down {
                    let written = name.open.back().and_then(|open| open.file.metadata().ok()?.modified().ok());
                    if events.send(Event::CaughtUp(written)).is_err() {
                        return;
                    }
                }
                name.down = false;
                // A file that appears later is read from its start: all of it is new.
                name.from = StartAt::Start;
            }
            Err(error) => {
                let why = format!("{}: {error}", follow.path.display());
                if !std::mem::replace(&mut name.down, true) && events.send(Event::Down(why)).is_err() {
                    return;
                }
            }
        }
        let _ = hints.recv_timeout(POLL);
        while hints.try_recv().is_ok() {}
    }
}

/// Reads the rotated parts of the run that the file continues. Returns `false` if the receiver is
/// gone.
fn read_earlier_parts(path: &Path, events: &mpsc::SyncSender<Event>) -> bool {
    for part in rotated::parts_before(path, &Decoder::default()) {
        let read = open(&part).and_then(|file| OpenFile::new(file, StartAt::Start)).and_then(|mut part| {
            if part.packed() {
                let (_, mut text) = decompress::open(&*part.file)?;
                return pipe::pump(&mut *text, events);
            }
            part.drain(events).map(|sent| sent.is_some())
        });
        let why = match read {
            Ok(false) => return false,
            Ok(true) => format!("{} was read first: it is an earlier part of this log", part.display()),
            Err(error) => format!("{}, an earlier part of this log: {error}", part.display()),
        };
        if events.send(Event::Break { why, overwritten: false }).is_err() {
            return false;
        }
    }
    true
}

/// Followed name, and the files under that name that are not read to their end.
struct FollowedName<'f> {
    follow: &'f Follow,
    from: StartAt,
    /// Files in order of their appearance; the first one is read.
    open: VecDeque<OpenFile>,
    /// True once it was reported that the name does not exist.
    gone: bool,
    /// True if the last check or read failed.
    down: bool,
}

impl FollowedName<'_> {
    /// Checks the name and reads new data. Returns the number of bytes, or `None` if the receiver
    /// is gone or nothing can follow.
    ///
    /// After an error all files stay open, so that the next call continues at the same place.
    fn poll(&mut self, events: &mpsc::SyncSender<Event>) -> io::Result<Option<u64>> {
        let checked = self.check_name(events);
        let mut read = 0;
        while let Some(open) = self.open.front_mut() {
            if open.at == 0 && open.packed() {
                pipe::pump_to_end(&*open.file, &self.follow.path.display().to_string(), events);
                return Ok(None);
            }
            match open.drain(events)? {
                None => return Ok(None),
                Some(more) => read += more,
            }
            let Some(next) = self.open.get(1) else { break };
            if next.file.metadata()?.len() == 0 && next.since.elapsed() < HANDOVER_TIMEOUT {
                break;
            }
            // Read again: the writer may have written to it just before it changed to the new file.
            match self.open.front_mut().map(|open| open.drain(events)).transpose()?.flatten() {
                None => return Ok(None),
                Some(more) => read += more,
            }
            self.open.pop_front();
            let why = format!("{} was replaced: read the new one", self.follow.path.display());
            let _ = events.send(Event::Break { why, overwritten: false });
        }
        checked.map(|()| Some(read))
    }

    /// Opens a new file under the name, and restarts a file that was rewritten.
    fn check_name(&mut self, events: &mpsc::SyncSender<Event>) -> io::Result<()> {
        let path = &self.follow.path;
        let found = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.open.is_empty() => {
                if !std::mem::replace(&mut self.gone, true) {
                    let text =
                        format!("{} does not exist any more: waiting for a new file of that name", path.display());
                    let _ = events.send(Event::Notice(text));
                }
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.follow.retry => return Ok(()),
            found => found?,
        };
        self.gone = false;
        match self.open.back_mut().filter(|open| open.id == (found.dev(), found.ino())) {
            Some(open) => {
                if self.down {
                    // The open descriptor may be stale (a network file system that was unmounted).
                    open.file = Arc::new(crate::net::source::file::open(path)?);
                }
                if open.rewritten(&found) {
                    let text = format!("{} was truncated: reading from its start", path.display());
                    let _ = events.send(Event::Break { why: text, overwritten: true });
                    open.restart();
                }
            }
            None => self.open.push_back(OpenFile::new(crate::net::source::file::open(path)?, self.from)?),
        }
        Ok(())
    }
}

/// Watches the folder, because the file may be replaced. Returns `None` if that is not possible.
fn watch(path: &Path, hint: mpsc::SyncSender<()>) -> Option<notify::RecommendedWatcher> {
    let folder = crate::util::sys::folder(path);
    let name = path.file_name()?.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_relevant = event.is_ok_and(|event| {
            !matches!(event.kind, notify::EventKind::Access(_))
                && event.paths.iter().any(|path| path.file_name() == Some(&name))
        });
        if is_relevant {
            // A full channel already contains a hint.
            let _ = hint.try_send(());
        }
    })
    .ok()?;
    watcher.watch(folder, notify::RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}
