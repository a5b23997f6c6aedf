//! Compressed files of many zstd frames (RFC 8878, 3.1), as pzstd and synctop write them: frames
//! are independent, so that several threads decompress them at once.
//!
//! Used with four or more threads. Those that decode lines decompress too: a thread that would wait for the next lines takes
//! the next frame instead, while there is room.

use crate::util::sys::lock;
use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Uncompressed bytes of a frame that synctop writes.
const FRAME: usize = 2 << 20;

/// Maximum compressed bytes of a frame that are held to find its end. A longer frame, and all after
/// it, are decompressed in turn.
const MAX_HELD: usize = 4 << 20;

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// Maximum bytes that are decompressed ahead; a frame of pzstd's default level has 8 MiB. The rest
/// of a longer frame is decompressed in turn.
const MAX_AHEAD: usize = 16 << 20;
const MAX_FRAME_AHEAD: usize = 8 << 20;

/// Bytes that a shorter frame counts for, which bounds the number of frames ahead.
const MIN_FRAME: usize = 64 << 10;

/// Maximum buffers that are kept for reuse.
const MAX_USED: usize = 2;

/// Frames of a compressed input, which any thread may decompress.
pub struct FrameQueue {
    /// Compressed input; `None` after its last frame. It is locked before `inner`, so that a slow
    /// input holds up no reader of frames that are ready.
    source: Mutex<Option<Source>>,
    inner: Mutex<Inner>,
    filled: Condvar,
}

struct Inner {
    /// Frames in order.
    waiting: VecDeque<Arc<Slot>>,
    /// Bytes that the waiting frames and the frame that is read may have.
    ahead: usize,
    /// Memory of read frames, for reuse.
    used: Vec<Vec<u8>>,
}

/// Place of a frame in the queue. It is filled once the frame is decompressed.
#[derive(Default)]
struct Slot {
    frame: Mutex<Option<Frame>>,
}

/// Reader of the decompressed frames in order.
pub struct FrameReader {
    queue: Arc<FrameQueue>,
    frame: Frame,
}

/// Decompressed frame: its first bytes, then an error or a reader of the rest.
#[derive(Default)]
struct Frame {
    bytes: Vec<u8>,
    /// Bytes that it may have.
    size: usize,
    filled: usize,
    given: usize,
    failed: Option<io::Error>,
    rest: Option<Box<dyn Read + Send>>,
}

/// Input of compressed frames.
struct Source {
    input: Box<dyn Read + Send>,
    /// Bytes that are read. Those from `start` on belong to no part yet.
    held: Vec<u8>,
    start: usize,
    /// True if all bytes are read, or reading failed.
    is_complete: bool,
    failed: Option<io::Error>,
}

/// Next part of the compressed input.
enum Part {
    /// One frame.
    Frame(Vec<u8>),
    /// All that is left: a frame too long to be held, damaged data, or a read error.
    Rest(Rest),
}

impl FrameQueue {
    /// Creates the queue of an input.
    #[must_use]
    pub fn new(input: impl Read + Send + 'static) -> Arc<Self> {
        let source = Source { input: Box::new(input), held: Vec::new(), start: 0, is_complete: false, failed: None };
        let inner = Inner { waiting: VecDeque::new(), ahead: 0, used: Vec::new() };
        Arc::new(Self { source: Mutex::new(Some(source)), inner: Mutex::new(inner), filled: Condvar::new() })
    }

    /// Decompresses the next frame if there is room for it. Returns false if there is none, or no
    /// frame.
    pub fn decompress_next(&self) -> bool {
        let mut source = lock(&self.source);
        if lock(&self.inner).ahead >= MAX_AHEAD {
            return false;
        }
        let Some(part) = Source::next(&mut source) else { return false };
        let size = part.size();
        let slot = Arc::new(Slot::default());
        let memory = {
            let mut inner = lock(&self.inner);
            inner.ahead += size.max(MIN_FRAME);
            inner.waiting.push_back(Arc::clone(&slot));
            inner.used.pop().unwrap_or_default()
        };
        // The frame has its place: another thread may take the next one.
        drop(source);
        let mut guard = Guard {
            queue: self,
            slot: &slot,
            frame: Frame { bytes: memory, size: size.max(MIN_FRAME), ..Frame::default() },
        };
        guard.frame.decompress(part);
        true
    }

    /// Removes the first frame once it is decompressed; `None` after the last one. The memory of the
    /// frame before it is reused.
    fn pop(&self, before: Frame) -> Option<Frame> {
        {
            let mut inner = lock(&self.inner);
            inner.ahead -= before.size;
            if before.bytes.capacity() > 0 && inner.used.len() < MAX_USED {
                inner.used.push(before.bytes);
            }
        }
        loop {
            let mut inner = lock(&self.inner);
            while let Some(slot) = inner.waiting.front().cloned() {
                if let Some(frame) = lock(&slot.frame).take() {
                    inner.waiting.pop_front();
                    return Some(frame);
                }
                inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
            drop(inner);
            if !self.decompress_next() && lock(&self.inner).waiting.is_empty() {
                return None;
            }
        }
    }
}

/// Frame that is being decompressed. It takes its place when the guard is dropped, also by a panic,
/// for which the reader would wait otherwise.
struct Guard<'q> {
    queue: &'q FrameQueue,
    slot: &'q Slot,
    frame: Frame,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Under the lock of the queue: a reader that has just found the slot empty waits already.
        let inner = lock(&self.queue.inner);
        *lock(&self.slot.frame) = Some(std::mem::take(&mut self.frame));
        drop(inner);
        self.queue.filled.notify_all();
    }
}

impl Frame {
    /// Decompresses a frame, the start of a long frame, or nothing yet of the rest.
    fn decompress(&mut self, part: Part) {
        let decoder: io::Result<Box<dyn Read + Send>> = match part {
            Part::Rest(rest) => {
                match zstd::stream::read::Decoder::new(rest) {
                    Ok(decoder) => self.rest = Some(Box::new(decoder)),
                    Err(error) => self.failed = Some(error),
                }
                return;
            }
            Part::Frame(frame) => zstd::stream::read::Decoder::new(Cursor::new(frame)).map(|it| Box::new(it) as _),
        };
        let mut decoder = match decoder {
            Ok(decoder) => decoder,
            Err(error) => {
                self.failed = Some(error);
                return;
            }
        };
        // One byte more shows the end of the frame.
        if self.bytes.len() <= self.size {
            self.bytes.resize((self.size + 1).min(MAX_FRAME_AHEAD), 0);
        }
        loop {
            // The length stays, so that reused memory is not cleared again.
            let (length, failed) = fill(&mut decoder, self.bytes.get_mut(self.filled..).unwrap_or_default());
            self.filled += length;
            self.failed = failed;
            if self.failed.is_some() || self.filled < self.bytes.len() {
                return;
            }
            if self.filled >= MAX_FRAME_AHEAD {
                self.rest = Some(decoder);
                return;
            }
            self.bytes.resize((self.filled * 2).clamp(FRAME, MAX_FRAME_AHEAD), 0);
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.bytes.get(self.given..self.filled).unwrap_or_default();
        if !ready.is_empty() {
            let length = ready.read(buffer)?;
            self.given += length;
            return Ok(length);
        }
        match (self.failed.take(), &mut self.rest) {
            (Some(error), _) => Err(error),
            (None, Some(rest)) => rest.read(buffer),
            (None, None) => Ok(0),
        }
    }
}

impl FrameReader {
    /// Creates a reader from the first frame of a queue on.
    #[must_use]
    pub fn new(queue: Arc<FrameQueue>) -> Self {
        Self { queue, frame: Frame::default() }
    }
}

impl Read for FrameReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.frame.read(buffer) {
                Ok(0) if !buffer.is_empty() => {
                    let Some(next) = self.queue.pop(std::mem::take(&mut self.frame)) else { return Ok(0) };
                    self.frame = next;
                }
                result => return result,
            }
        }
    }
}

/// Fills a buffer up to the end of the input or an error. Returns the number of its bytes.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    loop {
        match input.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return (filled, None),
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
}

impl Part {
    /// Returns the bytes that it may have decompressed, ahead of its reader.
    fn size(&self) -> usize {
        let Self::Frame(frame) = self else { return 0 };
        match zstd::zstd_safe::get_frame_content_size(frame) {
            Ok(Some(size)) => usize::try_from(size).unwrap_or(usize::MAX).min(MAX_FRAME_AHEAD),
            Ok(None) | Err(_) => MAX_FRAME_AHEAD,
        }
    }
}

impl Source {
    /// Takes the next part of the input; `None` at its end.
    fn next(source: &mut Option<Self>) -> Option<Part> {
        loop {
            let Self { input, held, start, is_complete, failed } = source.as_mut()?;
            let rest = held.get(*start..).unwrap_or_default();
            if let Ok(size) = zstd::zstd_safe::find_frame_compressed_size(rest)
                && let Some(frame) = rest.get(..size).filter(|frame| !frame.is_empty())
            {
                *start += size;
                // A skippable frame has no content.
                if matches!(frame, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
                    continue;
                }
                return Some(Part::Frame(frame.to_vec()));
            }
            held.drain(..std::mem::take(start));
            if *is_complete || held.len() >= MAX_HELD {
                let Self { input, held, failed, .. } = source.take()?;
                let is_left = !held.is_empty() || failed.is_some();
                return is_left.then(|| Part::Rest(Rest { held: Cursor::new(held), failed, input }));
            }
            let filled = held.len();
            held.resize(filled + CHUNK, 0);
            let (length, error) = fill(input, held.get_mut(filled..).unwrap_or_default());
            held.truncate(filled + length);
            *is_complete = length < CHUNK;
            *failed = error;
        }
    }
}

/// Reader of the rest of an input: held bytes, then a read error or the bytes after them.
struct Rest {
    held: Cursor<Vec<u8>>,
    failed: Option<io::Error>,
    input: Box<dyn Read + Send>,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.held.read(buffer)? {
            0 => match self.failed.take() {
                Some(error) => Err(error),
                None => self.input.read(buffer),
            },
            length => Ok(length),
        }
    }
}

/// Writer of a compressed file of many frames, which several threads can decompress at once.
pub struct FrameWriter<W: Write> {
    encoder: Option<zstd::Encoder<'static, W>>,
    level: i32,
    /// Uncompressed bytes of the current frame.
    filled: usize,
}

impl<W: Write> FrameWriter<W> {
    /// Creates a writer that compresses with a level of zstd.
    ///
    /// # Errors
    /// Returns an error if there is no memory for the encoder.
    pub fn new(output: W, level: i32) -> io::Result<Self> {
        Ok(Self { encoder: Some(Self::encoder(output, level)?), level, filled: 0 })
    }

    fn encoder(output: W, level: i32) -> io::Result<zstd::Encoder<'static, W>> {
        let mut encoder = zstd::Encoder::new(output, level)?;
        encoder.include_checksum(true)?;
        Ok(encoder)
    }

    /// Ends the last frame, and returns the output.
    ///
    /// # Errors
    /// Returns the error of writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.encoder.take().ok_or_else(broken)?.finish()
    }
}

/// Error of a writer whose output failed before.
fn broken() -> io::Error {
    io::Error::other("an earlier write failed")
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled >= FRAME {
            let output = self.encoder.take().ok_or_else(broken)?.finish()?;
            self.encoder = Some(Self::encoder(output, self.level)?);
            self.filled = 0;
        }
        let part = bytes.get(..bytes.len().min(FRAME - self.filled)).unwrap_or_default();
        let written = self.encoder.as_mut().ok_or_else(broken)?.write(part)?;
        self.filled += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.as_mut().ok_or_else(broken)?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn text(size: usize) -> Vec<u8> {
        (0_u32..)
            .flat_map(|number| format!("{{\"line\":{}}}\n", number.wrapping_mul(2_654_435_761)).into_bytes())
            .take(size)
            .collect()
    }

    fn written(text: &[u8]) -> Vec<u8> {
        let mut writer = FrameWriter::new(Vec::new(), 1).unwrap();
        for part in text.chunks(70_001) {
            writer.write_all(part).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(packed: Vec<u8>) -> (Vec<u8>, io::Result<usize>) {
        let mut out = Vec::new();
        let queue = FrameQueue::new(Cursor::new(packed));
        let (ahead, is_read) = (Arc::clone(&queue), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&is_read);
        let helper = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                ahead.decompress_next();
            }
        });
        let result = FrameReader::new(queue).read_to_end(&mut out);
        is_read.store(true, Ordering::Relaxed);
        helper.join().unwrap();
        (out, result)
    }

    #[test]
    fn frames_are_read_in_their_order() {
        for size in [0, 1, FRAME - 1, FRAME, FRAME + 1, 5 * FRAME + 77] {
            let text = text(size);
            let packed = written(&text);
            let frames = std::iter::successors(Some(&packed[..]), |rest| {
                rest.get(zstd::zstd_safe::find_frame_compressed_size(rest).ok()?..).filter(|rest| !rest.is_empty())
            });
            assert_eq!(frames.count(), size.div_ceil(FRAME).max(1), "{size}");
            assert_eq!(zstd::decode_all(&packed[..]).unwrap(), text);
            let (out, result) = read(packed);
            assert!(out == text && result.is_ok(), "{size}");
        }
    }

    #[test]
    fn one_long_frame_and_skippable_frames_are_read() {
        // Text that does not compress: its frame is longer than the held part.
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56).to_le_bytes()[0]
        };
        let long: Vec<u8> = (0..2 * MAX_HELD).map(|_| random()).collect();
        let text = text(3 * FRAME);
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let packed = [
            skippable.clone(),
            written(&text),
            skippable.clone(),
            zstd::encode_all(&long[..], 1).unwrap(),
            written(&text),
            skippable,
        ];
        let (out, result) = read(packed.concat());
        assert!(out == [text.clone(), long, text].concat() && result.is_ok());
    }

    #[test]
    fn damage_is_an_error_after_the_readable_data() {
        let text = text(5 * FRAME);
        let packed = written(&text);
        let (out, result) = read(packed[..packed.len() - 10].to_vec());
        assert!(result.is_err() && out.len() >= 4 * FRAME && text.starts_with(&out));
        let (out, result) = read([&packed[..], b"garbage"].concat());
        assert!(result.is_err() && out == text);
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        let (out, result) = read(damaged);
        assert!(result.is_err() && out.len() < 4 * FRAME && text.starts_with(&out[..out.len().min(2 * FRAME)]));
    }
}
