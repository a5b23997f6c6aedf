//! Random access to the bytes of an input, wherever they are stored.
//!
//! A plain file is read in place. Bytes of a pipe, a child or an archive are spooled: compressed in
//! blocks into an unnamed temporary file, which disappears with the process. The spool of a feed
//! has a bound; older bytes cannot be rewound to, and the screen says so.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};
use synctop_core::protocol::catalog::Catalog;
use synctop_core::reduce::Progress;

/// Bytes of a block before it is packed.
const BLOCK: usize = 1 << 20;

/// Packed bytes in one of a feed's two spool files; the older one is given up when the newer one is
/// full.
const HALF: u64 = 512 << 20;

/// The quickest packing: it must not hold up a feed.
const LEVEL: i32 = -3;

/// Bytes of a file's begin by which it is known again.
const HEAD: usize = 512;

/// Files of one name that a feed is rewound through.
const FILES: usize = 3;

/// Things besides lines that are kept for rewinding a feed.
const SIDES: usize = 40_000;

/// Bytes of them.
const SIDE_BYTES: usize = 32 << 20;

/// Something that happened to the input between two lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// The next bytes did not continue the line before.
    Cut(String),
    /// The next of several files began, which is another attempt.
    NextFile,
    Notice(String),
    Stderr(String),
}

impl Side {
    fn size(&self) -> usize {
        match self {
            Self::Cut(text) | Self::Notice(text) | Self::Stderr(text) => text.len(),
            Self::NextFile => 0,
        }
    }

    /// Applies the event to the progress.
    pub fn apply(&self, progress: &mut Progress) {
        match self {
            Self::Cut(why) | Self::Notice(why) => progress.notice(why),
            Self::NextFile => progress.next_file(),
            Self::Stderr(line) => progress.stderr(line),
        }
    }
}

/// Place of some bytes.
#[derive(Debug, Clone)]
enum Place {
    /// As they are.
    File {
        file: Arc<File>,
        at: u64,
        /// First bytes of the file when this was read: they differ after an overwrite.
        head: Arc<[u8]>,
    },
    /// A packed block.
    Block { file: Arc<File>, at: u64, packed: usize },
}

#[derive(Debug, Clone)]
struct Segment {
    begin: u64,
    length: u64,
    place: Place,
}

/// Index of an input's bytes. One thread adds, others read.
#[derive(Debug, Default)]
pub struct ByteStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    segments: VecDeque<Segment>,
    /// Bytes of the input so far.
    length: u64,
    /// The last ones, which are not yet a block.
    pending: Vec<u8>,
    /// Spool file, and the place of the next block.
    spool: Option<(Arc<File>, u64)>,
    /// A feed's spool is bounded, a log's is not.
    bounded: bool,
    sides: VecDeque<(u64, Side)>,
    side_bytes: usize,
    /// Expected streams, known before the first byte.
    expected: Option<Arc<Catalog>>,
    /// Sides that fell out.
    sides_before: usize,
    /// Start of the stored data; earlier bytes are gone.
    kept_from: u64,
    /// Error that stopped the spool.
    broken: Option<String>,
}

impl ByteStore {
    /// For a feed that may never end.
    #[must_use]
    pub fn bounded() -> Self {
        Self { inner: Mutex::new(Inner { bounded: true, ..Inner::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        super::lock(&self.inner)
    }

    /// The next bytes, which are nowhere else.
    pub fn spool(&self, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.length += bytes.len() as u64;
        inner.pending.extend_from_slice(bytes);
        while inner.pending.len() >= BLOCK {
            let rest = inner.pending.split_off(BLOCK);
            inner.flush();
            inner.pending = rest;
        }
    }

    /// The next bytes, which stand in a file.
    pub fn file(&self, file: &Arc<File>, at: u64, length: u64) {
        let mut inner = self.lock();
        inner.flush();
        let begin = inner.length;
        inner.length += length;
        if let Some(Segment { length: have, place: Place::File { file: last, at: from, .. }, .. }) =
            inner.segments.back_mut()
            && Arc::ptr_eq(last, file)
            && *from + *have == at
        {
            *have += length;
            return;
        }
        let mut head = vec![0; HEAD.min(usize::try_from(at + length).unwrap_or(HEAD))];
        let read = file.read_at(&mut head, 0).unwrap_or(0);
        head.truncate(read);
        let place = Place::File { file: Arc::clone(file), at, head: head.into() };
        inner.segments.push_back(Segment { begin, length, place });
        if inner.bounded {
            inner.let_go_of_files();
        }
    }

    /// The bytes of this file were overwritten: everything up to here is gone.
    pub fn lose(&self) {
        let mut inner = self.lock();
        inner.pending.clear();
        inner.segments.clear();
        inner.kept_from = inner.length;
    }

    /// Something happened behind `at` bytes.
    pub fn side(&self, at: u64, side: Side) {
        let mut inner = self.lock();
        inner.side_bytes += side.size();
        if inner.bounded && (inner.sides.len() >= SIDES || inner.side_bytes > SIDE_BYTES) {
            // In batches: places before the last of them cannot be reached any more, and the first
            // snapshot of the rest is here.
            for _ in 0..inner.sides.len() / 4 {
                let Some((at, gone)) = inner.sides.pop_front() else { break };
                inner.sides_before += 1;
                inner.side_bytes -= gone.size();
                inner.kept_from = inner.kept_from.max(at);
            }
        }
        inner.sides.push_back((at, side));
    }

    /// These streams are known before the first byte.
    pub fn expect(&self, catalog: &Arc<Catalog>) {
        self.lock().expected = Some(Arc::clone(catalog));
    }

    /// State before the first byte.
    #[must_use]
    pub fn begin(&self) -> Progress {
        let mut progress = Progress::default();
        let expected = self.lock().expected.clone();
        if let Some(catalog) = expected {
            progress.expect_streams(&catalog);
        }
        progress
    }

    /// Number of side events so far.
    #[must_use]
    pub fn sides(&self) -> usize {
        let inner = self.lock();
        inner.sides_before + inner.sides.len()
    }

    /// The side with this number, or the first one after it that is kept: its number, its place,
    /// and it.
    #[must_use]
    pub fn side_from(&self, number: usize) -> Option<(usize, u64, Side)> {
        let inner = self.lock();
        let number = number.max(inner.sides_before);
        let (at, side) = inner.sides.get(number - inner.sides_before)?.clone();
        Some((number, at, side))
    }

    /// The first place that can be read.
    #[must_use]
    pub fn kept_from(&self) -> u64 {
        self.lock().kept_from
    }

    /// Error of the spool, if any.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// Bytes from a place on.
    #[must_use]
    pub fn reader(self: &Arc<Self>, at: u64) -> StoreReader {
        StoreReader { store: Arc::clone(self), at, block: (0, Vec::new()) }
    }
}

impl Inner {
    /// Turns pending bytes into a block.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let length = self.pending.len() as u64;
        let begin = self.length_before_pending();
        match self.write_block() {
            Ok(place) => self.segments.push_back(Segment { begin, length, place }),
            Err(error) => {
                // A full disk: the feed continues, only the past is lost.
                self.broken = Some(error.to_string());
                self.segments.clear();
                self.spool = None;
                self.kept_from = begin + length;
            }
        }
        self.pending.clear();
    }

    fn length_before_pending(&self) -> u64 {
        let blocks = self.segments.back().map_or(self.kept_from, |last| last.begin + last.length);
        blocks.max(self.kept_from)
    }

    fn write_block(&mut self) -> io::Result<Place> {
        let packed = zstd::bulk::compress(&self.pending, LEVEL)?;
        if self.bounded && self.spool.as_ref().is_some_and(|(_, at)| *at >= HALF) {
            self.spool = None;
            self.forget_old();
        }
        let (file, at) = match self.spool.take() {
            Some(spool) => spool,
            None => (Arc::new(tempfile::tempfile()?), 0),
        };
        file.write_all_at(&packed, at)?;
        let place = Place::Block { file: Arc::clone(&file), at, packed: packed.len() };
        self.spool = Some((file, at + packed.len() as u64));
        Ok(place)
    }

    /// Gives up all spool files but the newest one.
    fn forget_old(&mut self) {
        let newest = self.segments.iter().rev().find_map(|segment| match &segment.place {
            Place::Block { file, .. } => Some(Arc::clone(file)),
            Place::File { .. } => None,
        });
        let Some(newest) = newest else { return };
        let is_newest =
            |segment: &Segment| matches!(&segment.place, Place::Block { file, .. } if Arc::ptr_eq(file, &newest));
        while self.segments.front().is_some_and(|segment| !is_newest(segment)) {
            self.segments.pop_front();
        }
        self.kept_from = self.segments.front().map_or(self.length, |segment| segment.begin);
    }

    /// A file that was rotated away takes room on its disk as long as it is open.
    fn let_go_of_files(&mut self) {
        let mut files: Vec<*const File> = Vec::new();
        let mut keep = 0;
        for segment in self.segments.iter().rev() {
            if let Place::File { file, .. } = &segment.place
                && !files.contains(&Arc::as_ptr(file))
            {
                if files.len() >= FILES {
                    break;
                }
                files.push(Arc::as_ptr(file));
            }
            keep += 1;
        }
        let gone = self.segments.len() - keep;
        self.segments.drain(..gone);
        if gone > 0 {
            self.kept_from = self.segments.front().map_or(self.length, |segment| segment.begin);
        }
    }

    fn find(&self, at: u64) -> Option<Segment> {
        let behind = self.segments.partition_point(|segment| segment.begin <= at);
        let found = self.segments.get(behind.checked_sub(1)?)?;
        (at < found.begin + found.length).then(|| found.clone())
    }
}

/// Reads a store from some place on.
#[derive(Debug)]
pub struct StoreReader {
    store: Arc<ByteStore>,
    at: u64,
    /// The block that was unpacked last, and where it begins.
    block: (u64, Vec<u8>),
}

impl StoreReader {
    fn of_block(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let within = usize::try_from(self.at.checked_sub(self.block.0)?).ok()?;
        let rest = self.block.1.get(within..).filter(|rest| !rest.is_empty())?;
        let length = rest.len().min(buffer.len());
        buffer.get_mut(..length)?.copy_from_slice(rest.get(..length)?);
        Some(length)
    }
}

impl Read for StoreReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(length) = self.of_block(buffer) {
            self.at += length as u64;
            return Ok(length);
        }
        let segment = {
            let inner = self.store.lock();
            if self.at < inner.kept_from {
                let why = inner.broken.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                return Err(io::Error::other(format!("the earlier part is not stored any more{why}")));
            }
            if let Some(segment) = inner.find(self.at) {
                segment
            } else {
                let begin = inner.length_before_pending();
                let within = usize::try_from(self.at.saturating_sub(begin)).unwrap_or(usize::MAX);
                let rest = inner.pending.get(within..).unwrap_or_default();
                let length = rest.len().min(buffer.len());
                if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
                    to.copy_from_slice(from);
                }
                self.at += length as u64;
                return Ok(length);
            }
        };
        match segment.place {
            Place::File { file, at, head } => {
                let mut now = vec![0; head.len()];
                if file.read_exact_at(&mut now, 0).is_err() || *now != *head {
                    return Err(io::Error::other("the file was overwritten: its former content is gone"));
                }
                let within = self.at - segment.begin;
                let left = usize::try_from(segment.length - within).unwrap_or(usize::MAX);
                let room = buffer.len().min(left);
                let length = file.read_at(buffer.get_mut(..room).unwrap_or_default(), at + within)?;
                if length == 0 {
                    return Err(io::Error::other("the file was made shorter while it was read"));
                }
                self.at += length as u64;
                Ok(length)
            }
            Place::Block { file, at, packed } => {
                let mut bytes = vec![0; packed];
                file.read_exact_at(&mut bytes, at)?;
                self.block = (segment.begin, zstd::bulk::decompress(&bytes, BLOCK * 2)?);
                let length = self.of_block(buffer).unwrap_or(0);
                self.at += length as u64;
                Ok(length)
            }
        }
    }
}

/// Reads something and spools it on the way.
pub struct Spooling<R> {
    pub input: R,
    pub store: Arc<ByteStore>,
}

impl<R: Read> Read for Spooling<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.store.spool(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(store: &Arc<ByteStore>, from: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        store.reader(from).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_spooled_is_there_from_any_place_on() {
        let store = Arc::new(ByteStore::default());
        let text: Vec<u8> = (0..300_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        for part in text.chunks(77_777) {
            store.spool(part);
        }
        for from in [0, 1, 1_000_000, BLOCK - 1, BLOCK, BLOCK + 1, text.len() - 3, text.len()] {
            assert!(all(&store, from as u64) == text[from..], "from {from}");
        }
    }

    #[test]
    fn files_and_pipes_follow_each_other_and_what_is_lost_is_told() {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let file = Arc::new(file);
        let store = Arc::new(ByteStore::bounded());
        store.file(&file, 2, 3);
        store.file(&file, 5, 1);
        store.spool(b"abc");
        store.file(&file, 0, 2);
        store.spool(b"xyz");
        assert_eq!(all(&store, 0), b"2345abc01xyz");
        assert_eq!(all(&store, 5), b"bc01xyz");
        store.lose();
        store.spool(b"new");
        assert_eq!((store.kept_from(), all(&store, 12)), (12, b"new".to_vec()));
        assert!(store.reader(3).read(&mut [0; 4]).is_err());
    }
}
