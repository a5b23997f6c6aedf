//! Random access to the bytes of an input, wherever they are stored.
//!
//! A plain file is read in place. Bytes of a pipe, a child or a compressed file are spooled:
//! compressed in blocks into an unnamed temporary file, which disappears with the process. The
//! spool of a feed is bounded: rewinding to dropped bytes fails with a message.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};
use synctop_core::protocol::Decoder;
use synctop_core::protocol::catalog::Catalog;
use synctop_core::reduce::Progress;

/// Uncompressed bytes of a block.
const BLOCK: usize = 1 << 20;

/// Compressed bytes in each of a feed's two spool files. The older file is dropped when the newer
/// one is full.
const SPOOL_FILE_BYTES: u64 = 512 << 20;

/// Fast zstd level, so that compression does not delay a feed.
const ZSTD_LEVEL: i32 = -3;

/// Bytes at a file's start that are compared to detect an overwrite.
const HEAD: usize = 512;

/// Maximum files of a followed name that stay open for rewinding a feed.
const MAX_FILES: usize = 3;

/// Maximum side events that are stored for rewinding a feed.
const MAX_SIDE_EVENTS: usize = 40_000;

/// Maximum bytes of their texts.
const MAX_SIDE_EVENT_BYTES: usize = 32 << 20;

/// Side event: event of the input between two lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SideEvent {
    /// Reason that the next bytes do not continue the line before.
    Cut(String),
    /// Start of the next file, which is a new attempt.
    NextFile,
    Notice(String),
    Stderr(String),
}

impl SideEvent {
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

/// Location of the bytes of a segment.
#[derive(Debug, Clone)]
enum Location {
    /// Uncompressed bytes in the input file.
    File {
        file: Arc<File>,
        at: u64,
        /// First bytes of the file at the time of reading: they differ after an overwrite.
        head: Arc<[u8]>,
    },
    /// Compressed block in a spool file.
    Block { file: Arc<File>, at: u64, packed: usize },
}

/// Contiguous bytes of the input with one location.
/// Contiguous bytes of the input that are stored together.
#[derive(Debug, Clone)]
struct Segment {
    offset: u64,
    length: u64,
    place: Location,
}

/// Store of an input's bytes. One thread appends, others read.
#[derive(Debug, Default)]
pub struct ByteStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    segments: VecDeque<Segment>,
    /// Bytes of the input so far.
    length: u64,
    /// Last bytes of the input that are not written as a block yet.
    pending: Vec<u8>,
    /// Current spool file, and the offset of its next block.
    spool: Option<(Arc<File>, u64)>,
    /// True for a feed: old data are dropped.
    bounded: bool,
    /// Side events, each with its offset in the input.
    sides: VecDeque<(u64, SideEvent)>,
    side_bytes: usize,
    /// Expected streams, known before the first byte.
    expected: Option<Arc<Catalog>>,
    /// Number of dropped side events.
    sides_before: usize,
    /// Offset of the first stored byte.
    kept_from: u64,
    /// Error that stopped the spool.
    broken: Option<String>,
}

impl ByteStore {
    /// Creates a store for a feed, which may never end: old data are dropped.
    #[must_use]
    pub fn bounded() -> Self {
        Self { inner: Mutex::new(Inner { bounded: true, ..Inner::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        crate::util::sys::lock(&self.inner)
    }

    /// Appends the next bytes of an input that cannot be read again.
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

    /// Appends the next bytes by their place in a file.
    pub fn file(&self, file: &Arc<File>, at: u64, length: u64) {
        let mut inner = self.lock();
        inner.flush();
        let offset = inner.length;
        inner.length += length;
        if let Some(Segment { length: have, place: Location::File { file: last, at: from, .. }, .. }) =
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
        let place = Location::File { file: Arc::clone(file), at, head: head.into() };
        inner.segments.push_back(Segment { offset, length, place });
        if inner.bounded {
            inner.drop_old_files();
        }
    }

    /// Drops all bytes so far, because the file was overwritten.
    pub fn drop_stored(&self) {
        let mut inner = self.lock();
        inner.pending.clear();
        inner.segments.clear();
        inner.kept_from = inner.length;
    }

    /// Appends a side event at offset `at` of the input.
    pub fn side(&self, at: u64, side: SideEvent) {
        let mut inner = self.lock();
        inner.side_bytes += side.size();
        if inner.bounded && (inner.sides.len() >= MAX_SIDE_EVENTS || inner.side_bytes > MAX_SIDE_EVENT_BYTES) {
            // Drop a quarter at once, because each drop costs a snapshot. Places before the last
            // dropped event cannot be reached any more.
            for _ in 0..inner.sides.len() / 4 {
                let Some((at, dropped)) = inner.sides.pop_front() else { break };
                inner.sides_before += 1;
                inner.side_bytes -= dropped.size();
                inner.kept_from = inner.kept_from.max(at);
            }
        }
        inner.sides.push_back((at, side));
    }

    /// Sets the expected streams, which are known before the first byte.
    pub fn expect(&self, catalog: &Arc<Catalog>) {
        self.lock().expected = Some(Arc::clone(catalog));
    }

    /// Returns the progress before the first byte.
    #[must_use]
    pub fn initial_progress(&self, decoder: &Decoder) -> Progress {
        let mut progress = Progress::new(decoder);
        let expected = self.lock().expected.clone();
        if let Some(catalog) = expected {
            progress.expect_streams(&catalog);
        }
        progress
    }

    /// Returns the number of side events so far, dropped ones included.
    #[must_use]
    pub fn sides(&self) -> usize {
        let inner = self.lock();
        inner.sides_before + inner.sides.len()
    }

    /// Returns the side event with this number, or the first stored one after it, with its number
    /// and offset.
    #[must_use]
    pub fn side_from(&self, number: usize) -> Option<(usize, u64, SideEvent)> {
        let inner = self.lock();
        let number = number.max(inner.sides_before);
        let (at, side) = inner.sides.get(number - inner.sides_before)?.clone();
        Some((number, at, side))
    }

    /// Returns the offset of the first byte that can be read.
    #[must_use]
    pub fn kept_from(&self) -> u64 {
        self.lock().kept_from
    }

    /// Returns the error that stopped the spool, if any.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// Returns a reader of the bytes from offset `at`.
    #[must_use]
    pub fn reader(self: &Arc<Self>, at: u64) -> StoreReader {
        StoreReader { store: Arc::clone(self), at, block: (0, Vec::new()) }
    }
}

impl Inner {
    /// Writes the pending bytes as a block.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let length = self.pending.len() as u64;
        let offset = self.length_before_pending();
        match self.write_block() {
            Ok(place) => self.segments.push_back(Segment { offset, length, place }),
            Err(error) => {
                // For example a full disk: the feed continues without its past.
                self.broken = Some(error.to_string());
                self.segments.clear();
                self.spool = None;
                self.kept_from = offset + length;
            }
        }
        self.pending.clear();
    }

    /// Returns the offset of the first pending byte.
    fn length_before_pending(&self) -> u64 {
        let blocks = self.segments.back().map_or(self.kept_from, |last| last.offset + last.length);
        blocks.max(self.kept_from)
    }

    fn write_block(&mut self) -> io::Result<Location> {
        let packed = zstd::bulk::compress(&self.pending, ZSTD_LEVEL)?;
        if self.bounded && self.spool.as_ref().is_some_and(|(_, at)| *at >= SPOOL_FILE_BYTES) {
            self.spool = None;
            self.drop_old_spools();
        }
        let (file, at) = match self.spool.take() {
            Some(spool) => spool,
            None => (Arc::new(tempfile::tempfile()?), 0),
        };
        file.write_all_at(&packed, at)?;
        let place = Location::Block { file: Arc::clone(&file), at, packed: packed.len() };
        self.spool = Some((file, at + packed.len() as u64));
        Ok(place)
    }

    /// Drops all spool files but the newest one.
    fn drop_old_spools(&mut self) {
        let newest = self.segments.iter().rev().find_map(|segment| match &segment.place {
            Location::Block { file, .. } => Some(Arc::clone(file)),
            Location::File { .. } => None,
        });
        let Some(newest) = newest else { return };
        let is_newest =
            |segment: &Segment| matches!(&segment.place, Location::Block { file, .. } if Arc::ptr_eq(file, &newest));
        while self.segments.front().is_some_and(|segment| !is_newest(segment)) {
            self.segments.pop_front();
        }
        self.kept_from = self.segments.front().map_or(self.length, |segment| segment.offset);
    }

    /// Drops all but the newest files of the followed name: a deleted file uses disk space while it
    /// is open.
    fn drop_old_files(&mut self) {
        let mut files: Vec<*const File> = Vec::new();
        let mut keep = 0;
        for segment in self.segments.iter().rev() {
            if let Location::File { file, .. } = &segment.place
                && !files.contains(&Arc::as_ptr(file))
            {
                if files.len() >= MAX_FILES {
                    break;
                }
                files.push(Arc::as_ptr(file));
            }
            keep += 1;
        }
        let dropped = self.segments.len() - keep;
        self.segments.drain(..dropped);
        if dropped > 0 {
            self.kept_from = self.segments.front().map_or(self.length, |segment| segment.offset);
        }
    }

    fn find(&self, at: u64) -> Option<Segment> {
        let behind = self.segments.partition_point(|segment| segment.offset <= at);
        let found = self.segments.get(behind.checked_sub(1)?)?;
        (at < found.offset + found.length).then(|| found.clone())
    }
}

/// Reader of a store from an offset.
#[derive(Debug)]
pub struct StoreReader {
    store: Arc<ByteStore>,
    at: u64,
    /// Offset and decompressed bytes of the last block.
    block: (u64, Vec<u8>),
}

impl StoreReader {
    /// Reads from the last decompressed block, if it contains the position.
    fn read_from_block(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let within = usize::try_from(self.at.checked_sub(self.block.0)?).ok()?;
        let rest = self.block.1.get(within..).filter(|rest| !rest.is_empty())?;
        let length = rest.len().min(buffer.len());
        buffer.get_mut(..length)?.copy_from_slice(rest.get(..length)?);
        Some(length)
    }
}

impl Read for StoreReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(length) = self.read_from_block(buffer) {
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
                let offset = inner.length_before_pending();
                let within = usize::try_from(self.at.saturating_sub(offset)).unwrap_or(usize::MAX);
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
            Location::File { file, at, head } => {
                let mut now = vec![0; head.len()];
                if file.read_exact_at(&mut now, 0).is_err() || *now != *head {
                    return Err(io::Error::other("the file was overwritten: its former content is gone"));
                }
                let within = self.at - segment.offset;
                let left = usize::try_from(segment.length - within).unwrap_or(usize::MAX);
                let room = buffer.len().min(left);
                let length = file.read_at(buffer.get_mut(..room).unwrap_or_default(), at + within)?;
                if length == 0 {
                    return Err(io::Error::other("the file was truncated while it was read"));
                }
                self.at += length as u64;
                Ok(length)
            }
            Location::Block { file, at, packed } => {
                let mut bytes = vec![0; packed];
                file.read_exact_at(&mut bytes, at)?;
                self.block = (segment.offset, zstd::bulk::decompress(&bytes, BLOCK * 2)?);
                let length = self.read_from_block(buffer).unwrap_or(0);
                self.at += length as u64;
                Ok(length)
            }
        }
    }
}

/// Reader that spools everything it reads.
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
    fn spooled_bytes_can_be_read_from_any_offset() {
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
    fn files_and_spooled_bytes_are_one_input_and_dropped_bytes_are_an_error() {
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
        store.drop_stored();
        store.spool(b"new");
        assert_eq!((store.kept_from(), all(&store, 12)), (12, b"new".to_vec()));
        assert!(store.reader(3).read(&mut [0; 4]).is_err());
    }
}
