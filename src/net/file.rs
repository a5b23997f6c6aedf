//! A file followed by its name: appends, rename and recreate, truncation, copy-and-truncate.
//!
//! Notifications are a hint, polling is the truth: some file systems send none.

use super::decompress::{Packing, packing};
use super::{CHUNK, Event, SourceError, pipe};
use notify::Watcher;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// How often a file is looked at when no notification comes.
const POLL: Duration = Duration::from_millis(250);

/// Bytes of a file's begin by which a rewritten file is told from a grown one.
const HEAD: usize = 512;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Start,
    End,
}

/// How to follow a file.
#[derive(Debug, Clone)]
pub struct Follow {
    pub path: PathBuf,
    pub from: From,
    /// Wait for a file that is not there yet.
    pub retry: bool,
}

/// Starts a thread that follows the file. A packed file is read to its end and not followed.
///
/// # Errors
/// When the file cannot be read (and is not waited for), or the system gives no thread.
pub fn spawn(follow: Follow, events: mpsc::SyncSender<Event>) -> Result<(), SourceError> {
    let name = follow.path.display().to_string();
    if std::fs::metadata(&follow.path).is_ok_and(|found| found.file_type().is_fifo()) {
        // Opening a FIFO waits for its writer: not here, where nothing is drawn yet.
        let input = Fifo { path: follow.path, file: None };
        return pipe::spawn(input, name.clone(), events).map_err(|error| SourceError::of(&name, &error));
    }
    match open(&follow.path) {
        Ok(mut file) => {
            let mut magic = [0; 4];
            let length = file.read_at(&mut magic, 0).unwrap_or(0);
            let regular = file.metadata().is_ok_and(|found| found.is_file());
            if !regular || packing(magic.get(..length).unwrap_or_default()) != Packing::Plain {
                let _ = file.rewind();
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

/// A named pipe, opened when it is read.
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

/// A file, and not a directory.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// The file as it is open now.
struct Open {
    file: File,
    id: (u64, u64),
    at: u64,
    head: Vec<u8>,
    /// Its name is gone, and that was said.
    gone: bool,
}

impl Open {
    fn new(file: File, from: From) -> io::Result<Self> {
        let found = file.metadata()?;
        let at = if from == From::End { found.len() } else { 0 };
        let mut open = Self { file, id: (found.dev(), found.ino()), at, head: Vec::new(), gone: false };
        open.file.seek(SeekFrom::Start(at))?;
        open.head = open.read_head();
        Ok(open)
    }

    fn read_head(&self) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        let length = self.file.read_at(&mut head, 0).unwrap_or(0);
        head.truncate(length);
        head
    }

    /// It was made shorter, or written anew to the same length or more.
    fn rewritten(&mut self, found: &Metadata) -> bool {
        let head = self.read_head();
        let same = head.get(..self.head.len()) == Some(&self.head);
        if same && self.head.len() < HEAD {
            self.head = head;
        }
        found.len() < self.at || !same
    }

    fn restart(&mut self) -> io::Result<()> {
        self.at = 0;
        self.file.rewind()?;
        self.head = self.read_head();
        Ok(())
    }

    /// Hands on everything up to the end. Answers whether anybody listens.
    fn drain(&mut self, events: &mpsc::SyncSender<Event>) -> io::Result<Option<u64>> {
        let mut sum = 0;
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = match self.file.read(&mut chunk) {
                Ok(0) => return Ok(Some(sum)),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            chunk.truncate(length);
            self.at += length as u64;
            sum += length as u64;
            if events.send(Event::Bytes(chunk)).is_err() {
                return Ok(None);
            }
        }
    }
}

fn run(follow: &Follow, events: &mpsc::SyncSender<Event>) {
    let (hint, hints) = mpsc::sync_channel(1);
    // Without notifications (a network file system, no more watches) polling alone does.
    let _watcher = watch(&follow.path, hint);
    let mut open: Option<Open> = None;
    let mut from = follow.from;
    let mut was_down = false;
    if !follow.path.exists() {
        let _ = events.send(Event::Notice(format!("there is no file {} yet", follow.path.display())));
    }
    loop {
        match turn(follow, &mut open, from, events) {
            Ok(None) => return,
            Ok(Some(read)) => {
                if read > 0 || was_down {
                    let written = open.as_ref().and_then(|open| open.file.metadata().ok()?.modified().ok());
                    if events.send(Event::CaughtUp(written)).is_err() {
                        return;
                    }
                }
                was_down = false;
                if open.is_some() {
                    from = From::Start;
                }
            }
            Err(error) => {
                open = None;
                if !was_down && events.send(Event::Down(format!("{}: {error}", follow.path.display()))).is_err() {
                    return;
                }
                was_down = true;
            }
        }
        let _ = hints.recv_timeout(POLL);
        while hints.try_recv().is_ok() {}
    }
}

/// One look at the file: reads what is new. Answers how much, or `None` when nobody listens any more.
fn turn(
    follow: &Follow,
    open: &mut Option<Open>,
    from: From,
    events: &mpsc::SyncSender<Event>,
) -> io::Result<Option<u64>> {
    let mut read = 0;
    if let Some(current) = open {
        match std::fs::metadata(&follow.path) {
            Ok(found) if (found.dev(), found.ino()) == current.id => {
                current.gone = false;
                if current.rewritten(&found) {
                    let _ = events
                        .send(Event::Break(format!("{} was truncated: read from its begin", follow.path.display())));
                    current.restart()?;
                }
                return current.drain(events);
            }
            // Renamed or removed: the old file to its end, then whatever has its name.
            Ok(_) => match current.drain(events)? {
                None => return Ok(None),
                Some(more) => {
                    read += more;
                    let _ =
                        events.send(Event::Break(format!("{} was replaced: read the new one", follow.path.display())));
                    *open = None;
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !std::mem::replace(&mut current.gone, true) {
                    let name = follow.path.display();
                    let _ = events.send(Event::Notice(format!("{name} is gone: waiting for a new one of that name")));
                }
                return current.drain(events);
            }
            Err(error) => return Err(error),
        }
    }
    let file = match self::open(&follow.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && follow.retry => return Ok(Some(read)),
        file => file?,
    };
    let mut fresh = Open::new(file, from)?;
    let more = fresh.drain(events)?;
    *open = Some(fresh);
    Ok(more.map(|more| more + read))
}

/// Notifications of the folder, because the file in it may be another one soon.
fn watch(path: &Path, hint: mpsc::SyncSender<()>) -> Option<notify::RecommendedWatcher> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name()?.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours = event.is_ok_and(|event| {
            !matches!(event.kind, notify::EventKind::Access(_))
                && event.paths.iter().any(|path| path.file_name() == Some(&name))
        });
        if ours {
            // A hint that waits already says the same.
            let _ = hint.try_send(());
        }
    })
    .ok()?;
    watcher.watch(folder, notify::RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}
