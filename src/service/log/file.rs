//! Log of a pipeline in segment files.
//!
//! ```text
//! logs/PIPELINE.INCARNATION/run-000001.00000000000000000000.ndjson.zst    closed, compressed
//!                           run-000002.00000000000000481516.ndjson        open
//! ```
//!
//! Each run starts a new segment, and so does a full segment. The segments in order of their names
//! are the log. A reader has a position and no queue: the writer never waits for it.

use crate::net::source::frames::FrameWriter;
use crate::net::timeline::segments::SegmentName;
use crate::service::log::piece::Piece;
use crate::util::sys::lock;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// zstd compression level of closed segments: zstd's default.
const LEVEL: i32 = 3;

/// Maximum closed segments in the compression queue. Further ones stay uncompressed until the log
/// is opened again.
const QUEUE_LENGTH: usize = 4096;

/// Queue of closed segments.
pub type CompressionQueue = mpsc::SyncSender<(Arc<FileLog>, u64)>;

/// Retention of a log.
#[derive(Debug, Clone, Copy)]
pub struct LogRetention {
    /// Size of a segment in bytes at which the next one starts.
    pub segment: u64,
    /// Maximum size in bytes of a pipeline's compressed segments.
    pub size: u64,
    pub age: Duration,
}

/// Segment of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    /// Log position of the first byte.
    begin: u64,
    /// Uncompressed length in bytes.
    length: u64,
    run: u64,
    packed: bool,
}

impl Segment {
    fn name(&self) -> String {
        SegmentName { run: self.run, begin: self.begin, packed: self.packed }.name()
    }

    fn parse(name: &str) -> Option<Self> {
        let SegmentName { run, begin, packed } = SegmentName::of(name)?;
        Some(Self { begin, length: 0, run, packed })
    }
}

#[derive(Debug, Default)]
struct Inner {
    segments: Vec<Segment>,
    /// True if further lines belong to the last segment.
    is_open: bool,
    /// File of the open segment, during a run. Between runs it is opened for each line: a service has
    /// more pipelines than a process may have open files.
    file: Option<File>,
    run: u64,
    is_running: bool,
    /// True once the pipeline is deleted: later lines are discarded.
    finished: bool,
}

/// Log of one pipeline, with one writer and any number of readers.
#[derive(Debug)]
pub struct FileLog {
    folder: PathBuf,
    keep: LogRetention,
    inner: Mutex<Inner>,
    tail: watch::Sender<u64>,
    compressor: CompressionQueue,
}

/// Maximum bytes of the service's own lines behind those of a run.
const LINES_BEHIND_RUN: u64 = 1 << 20;

/// Starts the thread that compresses closed segments and prunes expired ones; returns its queue.
///
/// # Errors
/// Returns the error if the thread cannot be started.
pub fn compressor() -> io::Result<CompressionQueue> {
    let (sender, closed) = mpsc::sync_channel::<(Arc<FileLog>, u64)>(QUEUE_LENGTH);
    std::thread::Builder::new().name("compressor".into()).spawn(move || {
        // Requests and runs come first. On other systems, this would be the priority of the process.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(10);
        while let Ok((log, begin)) = closed.recv() {
            if let Err(error) = log.compress(begin) {
                tracing::warn!(target: "service", "{}: a segment stays uncompressed: {error}", log.folder.display());
            }
            log.prune(crate::util::sys::steady_time());
        }
    })?;
    Ok(sender)
}

impl FileLog {
    /// Opens the log in `folder`, created if missing. Completes a segment that a crash left open.
    /// Runs are stored up to the position `floor`: it is not used again if the newest segment is
    /// damaged.
    ///
    /// # Errors
    /// Returns the error of the file that cannot be read or written.
    pub fn open(
        folder: PathBuf,
        keep: LogRetention,
        compressor: CompressionQueue,
        floor: u64,
    ) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(&folder)?;
        let (mut segments, mut damaged) = (Vec::new(), None);
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".tmp") {
                let _ = std::fs::remove_file(entry.path());
                continue;
            }
            let Some(mut segment) = Segment::parse(&name) else { continue };
            segment.length = if segment.packed {
                match content_length(&entry.path()) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        set_aside(&entry.path(), &error);
                        damaged = damaged.max(Some(segment.begin));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            } else {
                end_torn_line(&entry.path())?
            };
            if segment.length == 0 {
                let _ = std::fs::remove_file(entry.path());
                continue;
            }
            segments.push(segment);
        }
        segments.sort_by_key(|segment| (segment.begin, std::cmp::Reverse(segment.length), !segment.packed));
        // A crash before the plain file was removed leaves two files of one segment.
        segments.dedup_by(|later, first| {
            let duplicate = later.begin == first.begin;
            if duplicate {
                let _ = std::fs::remove_file(folder.join(later.name()));
            }
            duplicate
        });
        let run = segments.last().map_or(0, |segment| segment.run);
        let mut tail = segments.last().map_or(0, |segment| segment.begin + segment.length);
        if damaged >= Some(tail) {
            tail = damaged.unwrap_or(0).max(floor) + LINES_BEHIND_RUN;
        }
        let plain: Vec<u64> = segments.iter().filter(|it| !it.packed && it.length > 0).map(|it| it.begin).collect();
        let inner = Mutex::new(Inner { segments, run, ..Inner::default() });
        let log = Arc::new(Self { folder, keep, inner, tail: watch::channel(tail).0, compressor });
        for begin in plain {
            let _ = log.compressor.try_send((Arc::clone(&log), begin));
        }
        Ok(log)
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the stored segments: position, length and run of each.
    #[must_use]
    pub fn segments(&self) -> Vec<(u64, u64, u64)> {
        lock(&self.inner).segments.iter().map(|it| (it.begin, it.length, it.run)).collect()
    }

    /// Returns a watch on the end of the log.
    #[must_use]
    pub fn tail(&self) -> watch::Receiver<u64> {
        self.tail.subscribe()
    }

    /// Returns the position of the end of the log.
    #[must_use]
    pub fn end(&self) -> u64 {
        *self.tail.borrow()
    }

    /// Returns the first stored position.
    #[must_use]
    pub fn kept_from(&self) -> u64 {
        lock(&self.inner).segments.first().map_or_else(|| self.end(), |segment| segment.begin)
    }

    /// Starts a new segment if this is another run.
    pub fn begin_run(self: &Arc<Self>, run: u64) {
        let mut inner = lock(&self.inner);
        if inner.run != run {
            self.close(&mut inner);
            inner.run = run;
        }
        inner.is_running = true;
    }

    /// Closes the last segment of a run.
    pub fn end_run(self: &Arc<Self>) {
        let mut inner = lock(&self.inner);
        self.close(&mut inner);
        inner.is_running = false;
    }

    /// Closes the open segment and queues it for compression.
    fn close(self: &Arc<Self>, inner: &mut Inner) {
        inner.file = None;
        if std::mem::take(&mut inner.is_open)
            && let Some(segment) = inner.segments.last()
        {
            let _ = self.compressor.try_send((Arc::clone(self), segment.begin));
        }
    }

    /// Appends complete lines and returns the new end of the log.
    ///
    /// # Errors
    /// Returns the error of the file; the log is unchanged after an error.
    pub fn append(self: &Arc<Self>, lines: &[u8]) -> io::Result<u64> {
        let mut inner = lock(&self.inner);
        if inner.finished || lines.is_empty() {
            return Ok(self.end());
        }
        if inner.segments.last().is_some_and(|segment| segment.length >= self.keep.segment) {
            self.close(&mut inner);
        }
        if !inner.is_open {
            let segment = Segment { begin: self.end(), length: 0, run: inner.run, packed: false };
            inner.segments.push(segment);
            inner.is_open = true;
        }
        let length = inner.segments.last().map_or(0, |segment| segment.length);
        if let Err(error) = self.write_at(&mut inner, length, lines) {
            if length > 0 && error.kind() == io::ErrorKind::NotFound {
                // Something else has removed the file: its lines are gone, these are not.
                inner.is_open = false;
                inner.segments.pop();
                drop(inner);
                return self.append(lines);
            }
            if length == 0 {
                // An empty segment is not kept.
                (inner.is_open, inner.file) = (false, None);
                if let Some(segment) = inner.segments.pop() {
                    let _ = std::fs::remove_file(self.folder.join(segment.name()));
                }
            }
            return Err(error);
        }
        if let Some(segment) = inner.segments.last_mut() {
            segment.length += lines.len() as u64;
        }
        // Updating under the lock keeps the end monotonic.
        self.tail.send_modify(|end| *end += lines.len() as u64);
        Ok(self.end())
    }

    /// Writes lines to the open segment, behind its first `length` bytes.
    fn write_at(&self, inner: &mut Inner, length: u64, lines: &[u8]) -> io::Result<()> {
        let file = match (inner.file.take(), inner.segments.last()) {
            (Some(file), _) => file,
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
            (None, Some(segment)) => {
                let path = self.folder.join(segment.name());
                File::options().create(length == 0).write(true).truncate(length == 0).mode(0o600).open(path)?
            }
        };
        let written = file.write_all_at(lines, length);
        if written.is_err() {
            let _ = file.set_len(length);
        }
        inner.file = inner.is_running.then_some(file);
        written
    }

    /// Compresses a closed segment. The compressed file is on disk before the plain one is removed.
    fn compress(&self, begin: u64) -> io::Result<()> {
        let found = {
            let inner = lock(&self.inner);
            // The open segment is always the last one.
            let written = inner.segments.last().filter(|_| inner.is_open).map(|it| it.begin);
            let found = inner.segments.iter().find(|it| it.begin == begin && !it.packed);
            found.filter(|_| written != Some(begin)).cloned()
        };
        let Some(segment) = found else { return Ok(()) };
        let plain = self.folder.join(segment.name());
        let packed = Segment { packed: true, ..segment.clone() };
        let temporary = self.folder.join(format!("{}.tmp", packed.name()));
        let mut input = File::open(&plain)?;
        let mut output = File::options().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
        output.write_all(&length_frame(segment.length))?;
        let mut writer = FrameWriter::new(output, LEVEL)?;
        let copied = io::copy(&mut Read::by_ref(&mut input).take(segment.length), &mut writer)?;
        if copied < segment.length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the segment is shorter than its lines"));
        }
        writer.finish()?.sync_all()?;
        std::fs::rename(&temporary, self.folder.join(packed.name()))?;
        if let Some(it) = lock(&self.inner).segments.iter_mut().find(|it| it.begin == begin) {
            it.packed = true;
        }
        std::fs::remove_file(plain)
    }

    /// Removes the oldest compressed segments beyond the maximum age or size, but never the last
    /// segment.
    pub fn prune(&self, now: SystemTime) {
        let mut inner = lock(&self.inner);
        let found = |segment: &Segment| std::fs::metadata(self.folder.join(segment.name())).ok();
        let mut size: u64 =
            inner.segments.iter().filter(|it| it.packed).filter_map(found).map(|found| found.len()).sum();
        while let Some(segment) = inner.segments.first().filter(|it| it.packed && inner.segments.len() > 1) {
            let Some(file) = found(segment) else { break };
            let age = file.modified().ok().and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
            if size <= self.keep.size && age <= self.keep.age {
                break;
            }
            if std::fs::remove_file(self.folder.join(segment.name())).is_err() {
                break;
            }
            size = size.saturating_sub(file.len());
            inner.segments.remove(0);
        }
    }

    /// Ends the log of a deleted pipeline: readers end, and later lines are discarded. The files
    /// stay until they expire.
    pub fn finish(self: &Arc<Self>) {
        let mut inner = lock(&self.inner);
        self.close(&mut inner);
        inner.finished = true;
        drop(inner);
        self.tail.send_modify(|_| {});
    }

    /// True once the pipeline is deleted: no more lines follow.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        lock(&self.inner).finished
    }

    /// Returns a reader from this position on.
    #[must_use]
    pub fn reader(self: &Arc<Self>, at: u64) -> FileReader {
        FileReader { log: Arc::clone(self), at, open: None, nothing_at: None }
    }
}

/// Removes the logs of deleted pipelines whose newest file is older than `age`. `exists` is true
/// for the folder names of existing pipelines.
pub fn prune_deleted(folder: &Path, age: Duration, exists: impl Fn(&OsStr) -> bool) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if exists(&entry.file_name()) {
            continue;
        }
        // The folder's own time counts too: a new log has no file yet.
        let files = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
        let all = files.map(|file| file.metadata()).chain(std::iter::once(entry.metadata()));
        let newest = all.filter_map(|found| found.ok()?.modified().ok()).max();
        let young =
            newest.is_some_and(|at| crate::util::sys::steady_time().duration_since(at).unwrap_or_default() <= age);
        if !young {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Start of a skippable frame (RFC 8878, 3.1.2) of eight bytes: magic number and size.
const LENGTH_FRAME: [u8; 8] = [0x5a, 0x2a, 0x4d, 0x18, 8, 0, 0, 0];

/// Returns the first frame of a compressed segment, which has the uncompressed length of all others.
fn length_frame(length: u64) -> Vec<u8> {
    [LENGTH_FRAME, length.to_le_bytes()].concat()
}

/// Returns the uncompressed length of a compressed segment: that in its first frame, or that of the
/// only frame in segments of version 0.1.
fn content_length(path: &Path) -> io::Result<u64> {
    let mut head = [0; 18];
    let read = File::open(path)?.read(&mut head)?;
    let head = head.get(..read).unwrap_or_default();
    if let Some((length, _)) = head.strip_prefix(&LENGTH_FRAME).and_then(|rest| rest.split_first_chunk()) {
        return Ok(u64::from_le_bytes(*length));
    }
    let size = zstd::zstd_safe::get_frame_content_size(head);
    size.ok().flatten().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its length is missing"))
}

/// Errors of the system that show a damaged or missing file.
const DAMAGE: [i32; 2] = [Errno::IO.raw_os_error(), Errno::NOENT.raw_os_error()];

/// Renames a damaged segment, so that the log goes on without it.
fn set_aside(path: &Path, why: &io::Error) {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    let _ = std::fs::rename(path, &name);
    tracing::error!(target: "service", "{} is damaged, and set aside: {why}", path.display());
}

/// Ends a line that a crash cut off, and returns the length of the file.
fn end_torn_line(path: &Path) -> io::Result<u64> {
    let mut file = File::options().read(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last == *b"\n" {
        return Ok(length);
    }
    file.write_all(b"\n")?;
    Ok(length + 1)
}

/// Reader of a log.
pub struct FileReader {
    log: Arc<FileLog>,
    /// Position of the next byte.
    pub at: u64,
    open: Option<(Segment, Box<dyn Read + Send>)>,
    /// Position at which the last read returned nothing.
    nothing_at: Option<u64>,
}

impl FileReader {
    /// Continues at another position.
    pub(super) fn seek(&mut self, at: u64) {
        *self = self.log.reader(at);
    }

    /// Reads the next bytes, at most `most`. The rest of a segment that cannot be read is passed over.
    ///
    /// # Errors
    /// Returns the error of the file of the newest segment, or `UnexpectedEof` if it is shorter than
    /// recorded.
    pub fn next(&mut self, most: usize) -> io::Result<Piece> {
        self.read(most).or_else(|error| {
            // Without free descriptors or memory the segment is not damaged.
            let is_temporary = error.raw_os_error().is_some_and(|code| !DAMAGE.contains(&code));
            if is_temporary {
                return Err(error);
            }
            let segment = self.open.take().map(|(segment, _)| segment).or_else(|| self.find().ok());
            let end = segment.map(|segment| segment.begin + segment.length).filter(|end| *end < self.log.end());
            let Some(end) = end else { return Err(error) };
            let folder = self.log.folder.display();
            tracing::error!(target: "service", "{folder}: bytes {} to {end} cannot be read: {error}", self.at);
            self.nothing_at = None;
            Ok(Piece::Gone(end))
        })
    }

    fn read(&mut self, most: usize) -> io::Result<Piece> {
        loop {
            let end = self.log.end();
            if self.at >= end {
                return Ok(Piece::End);
            }
            if self.open.is_none() {
                match self.find() {
                    Ok(segment) => self.enter(segment)?,
                    Err(kept_from) => return Ok(Piece::Gone(kept_from)),
                }
            }
            let Some((_, input)) = &mut self.open else { return Ok(Piece::End) };
            // The published end is always the end of a complete line.
            let room = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(most);
            let mut bytes = vec![0; room];
            let length = input.read(&mut bytes)?;
            if length == 0 {
                // Continues with the next segment, or with the compressed file of this one.
                self.open = None;
                if self.nothing_at.replace(self.at) == Some(self.at) {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a segment is shorter than recorded"));
                }
                continue;
            }
            bytes.truncate(length);
            self.at += length as u64;
            return Ok(Piece::Bytes(bytes));
        }
    }

    /// Returns the segment of the current position, or the next stored position if it was pruned.
    fn find(&self) -> Result<Segment, u64> {
        let inner = lock(&self.log.inner);
        let within = |it: &&Segment| (it.begin..it.begin + it.length).contains(&self.at);
        let next = inner.segments.iter().map(|it| it.begin).find(|begin| *begin > self.at);
        let kept = inner.segments.iter().find(within).cloned();
        kept.ok_or_else(|| next.unwrap_or_else(|| self.log.end()))
    }

    /// Opens a segment at the current position.
    fn enter(&mut self, segment: Segment) -> io::Result<()> {
        let open = |packed: bool| File::open(self.log.folder.join(Segment { packed, ..segment.clone() }.name()));
        // The segment may have been compressed since it was found.
        let (file, packed) = match open(segment.packed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !segment.packed => (open(true)?, true),
            found => (found?, segment.packed),
        };
        let skip = self.at - segment.begin;
        let input: Box<dyn Read + Send> = if packed {
            let mut input = zstd::Decoder::new(file)?;
            io::copy(&mut Read::by_ref(&mut input).take(skip), &mut io::sink())?;
            Box::new(input)
        } else {
            let mut file = file;
            io::Seek::seek(&mut file, io::SeekFrom::Start(skip))?;
            Box::new(file)
        };
        self.open = Some((segment, input));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(segment: u64, size: u64) -> LogRetention {
        LogRetention { segment, size, age: Duration::from_secs(3600) }
    }

    fn all(log: &Arc<FileLog>, from: u64) -> String {
        let mut reader = log.reader(from);
        let mut text = Vec::new();
        while let Piece::Bytes(bytes) = reader.next(7).unwrap() {
            text.extend(bytes);
        }
        String::from_utf8(text).unwrap()
    }

    /// Waits until this number of segments is compressed.
    fn settle(log: &Arc<FileLog>, packed: usize) {
        for _ in 0..500 {
            let now = lock(&log.inner).segments.iter().filter(|it| it.packed).count();
            if now == packed {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("never packed: {:?}", lock(&log.inner).segments);
    }

    #[test]
    fn between_runs_a_log_has_one_segment_and_no_open_file() {
        let folder = tempfile::tempdir().unwrap();
        let log = FileLog::open(folder.path().join("p.1"), keep(60, 1 << 20), compressor().unwrap(), 0).unwrap();
        let open_files = || {
            let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
            files
                .filter_map(|file| std::fs::read_link(file.path()).ok())
                .filter(|to| to.starts_with(&log.folder))
                .count()
        };
        // The compressor has files of closed segments open.
        let comes_to = |count| {
            (0..500).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                open_files() == count
            })
        };
        for line in ["created\n", "paused\n"] {
            log.append(line.as_bytes()).unwrap();
            assert_eq!((lock(&log.inner).segments.len(), open_files()), (1, 0));
        }
        assert_eq!(all(&log, 0), "created\npaused\n");
        log.begin_run(1);
        log.append(b"started\n").unwrap();
        assert_eq!(lock(&log.inner).segments.len(), 2);
        settle(&log, 1);
        assert!(comes_to(usize::from(cfg!(target_os = "linux"))));
        log.end_run();
        let last = lock(&log.inner).segments.last().map(Segment::name).unwrap();
        settle(&log, 2);
        assert!(comes_to(0));
        log.append(b"completed\n").unwrap();
        assert_eq!(all(&log, 0), "created\npaused\nstarted\ncompleted\n");
        assert_ne!(lock(&log.inner).segments.last().map(Segment::name).unwrap(), last);
        // A file that something else removed does not keep the log from going on.
        std::fs::remove_file(log.folder.join(lock(&log.inner).segments.last().unwrap().name())).unwrap();
        log.append(b"resumed\n").unwrap();
        assert!(all(&log, log.end() - 8).ends_with("resumed\n"));
    }

    #[test]
    fn every_position_reads_the_same_open_closed_compressed_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let log = FileLog::open(folder.path().join("p.1"), keep(60, 1 << 20), compressor().unwrap(), 0).unwrap();
        let mut whole = String::new();
        for run in 1..=3 {
            log.begin_run(run);
            for line in 0..9 {
                let text = format!("{{\"run\":{run},\"line\":{line}}}\n");
                whole.push_str(&text);
                assert_eq!(log.append(text.as_bytes()).unwrap(), whole.len() as u64);
            }
        }
        let places: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at + 1).collect();
        let check = |log: &Arc<FileLog>, whole: &str| {
            for from in [0, places[3], places[11], whole.len()] {
                assert_eq!(all(log, from as u64), &whole[from..]);
            }
        };
        check(&log, &whole);
        let mut reader = log.reader(0);
        assert!(matches!(reader.next(1).unwrap(), Piece::Bytes(_)));
        log.end_run();
        let segments = lock(&log.inner).segments.len();
        settle(&log, segments);
        check(&log, &whole);
        // This reader was within a segment while it was compressed.
        let mut rest = Vec::new();
        while let Piece::Bytes(bytes) = reader.next(5).unwrap() {
            rest.extend(bytes);
        }
        assert_eq!(rest, whole.as_bytes()[1..]);
        log.append(b"torn").unwrap();
        drop(log);
        let log = FileLog::open(folder.path().join("p.1"), keep(60, 1 << 20), compressor().unwrap(), 0).unwrap();
        whole.push_str("torn\n");
        assert_eq!(all(&log, places[26] as u64), "torn\n");
        assert_eq!(all(&log, 0), whole);
    }

    #[test]
    fn old_segments_are_pruned_and_a_reader_gets_the_next_position() {
        let folder = tempfile::tempdir().unwrap();
        let log = FileLog::open(folder.path().join("p.1"), keep(10, 60), compressor().unwrap(), 0).unwrap();
        for run in 1..=4 {
            log.begin_run(run);
            log.append(format!("run {run} begins\nand ends\n").as_bytes()).unwrap();
        }
        log.end_run();
        for _ in 0..500 {
            if log.kept_from() > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let kept = log.kept_from();
        assert!(kept > 0);
        assert_eq!(log.reader(0).next(9).unwrap(), Piece::Gone(kept));
        assert!(all(&log, kept).starts_with("run "));
        assert!(all(&log, kept).ends_with("run 4 begins\nand ends\n"));
    }
}
