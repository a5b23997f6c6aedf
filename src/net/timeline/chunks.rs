//! Splits a byte stream into chunks of complete lines.

use crate::net::source::frames::FrameQueue;
use memchr::{memchr, memrchr};
use std::io::{self, Read};
use std::sync::Arc;
use synctop_core::protocol::{HEAD_LENGTH, LINE_LIMIT, Line, LineEnd, Validator};

/// Bytes of a chunk: large enough that passing the streams' state between cores costs little.
const CHUNK: usize = 512 * 1024;

/// Splitter that cuts each chunk after its last newline; the rest starts the next chunk.
pub struct Chunks<R> {
    input: R,
    /// Bytes after the last newline of the chunk before.
    rest: Vec<u8>,
    /// Offset of the next chunk in the input.
    at: u64,
    /// Read error, reported after the data before it.
    error: Option<io::Error>,
    over: bool,
    /// True to pass data on with the first complete line, because a person watches.
    live: bool,
    /// Frames of the input that a thread may decompress before it reads.
    frames: Option<Arc<FrameQueue>>,
}

/// Complete lines of an input. The buffer is reused for the next chunk.
#[derive(Debug, Default)]
pub struct Chunk {
    buffer: Vec<u8>,
    filled: usize,
    /// Offset of the chunk in the input.
    pub at: u64,
    /// Length in bytes of the input, also of a line that is stored only in part.
    pub length: u64,
    /// Set if the chunk is the head of one line over the limit: `true` if the whole line is valid
    /// JSON, and its end.
    huge: Option<(bool, LineEnd)>,
}

impl Chunk {
    /// Returns the lines, or the head of a line over the limit.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Returns the line over the limit, if the chunk is one.
    #[must_use]
    pub fn huge(&self) -> Option<Line<'_>> {
        self.huge.map(|(valid, end)| Line { bytes: self.bytes(), length: self.length, end, huge: Some(valid) })
    }
}

impl<R: Read> Chunks<R> {
    /// Creates a splitter; `at` is the current offset of `input`.
    pub fn new(input: R, at: u64) -> Self {
        Self { input, rest: Vec::new(), at, error: None, over: false, live: false, frames: None }
    }

    /// Passes data on as soon as they contain a complete line.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Sets the frames of the input, which threads decompress before they take the next lines.
    #[must_use]
    pub fn with_frames(mut self, frames: Option<Arc<FrameQueue>>) -> Self {
        self.frames = frames;
        self
    }

    /// Returns the frames of the input.
    #[must_use]
    pub fn frames(&self) -> Option<&Arc<FrameQueue>> {
        self.frames.as_ref()
    }

    /// Fills the chunk with the next lines. Returns `false` at the end of the input.
    ///
    /// # Errors
    /// Returns the read error after all data before it were returned.
    pub fn next(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
        chunk.at = self.at;
        chunk.huge = None;
        chunk.filled = self.rest.len();
        if chunk.buffer.len() < CHUNK.max(chunk.filled) {
            chunk.buffer.resize(CHUNK.max(chunk.filled), 0);
        }
        if let Some(start) = chunk.buffer.get_mut(..self.rest.len()) {
            start.copy_from_slice(&self.rest);
        }
        self.rest.clear();
        let mut searched = 0;
        loop {
            let fresh = chunk.buffer.get(searched..chunk.filled).unwrap_or_default();
            let newline = memrchr(b'\n', fresh).map(|at| searched + at + 1);
            let full = chunk.filled == chunk.buffer.len();
            if full || self.over || (self.live && newline.is_some()) {
                if let Some(end) = newline.filter(|_| !self.over) {
                    self.rest.extend_from_slice(chunk.buffer.get(end..chunk.filled).unwrap_or_default());
                    chunk.filled = end;
                }
                if newline.is_some() || self.over {
                    break;
                }
                if chunk.filled > LINE_LIMIT {
                    return self.read_huge_line(chunk);
                }
                chunk.buffer.resize((chunk.buffer.len() * 2).min(LINE_LIMIT + CHUNK), 0);
            }
            if newline.is_none() {
                searched = chunk.filled;
            }
            self.read(chunk);
        }
        chunk.length = chunk.filled as u64;
        self.at += chunk.length;
        self.found_or_error(chunk.filled > 0)
    }

    /// Returns `found`, or the pending read error if nothing was found before it.
    fn found_or_error(&mut self, found: bool) -> io::Result<bool> {
        match self.error.take() {
            Some(error) if !found => Err(error),
            error => {
                self.error = error;
                Ok(found)
            }
        }
    }

    fn read(&mut self, chunk: &mut Chunk) {
        let room = chunk.buffer.get_mut(chunk.filled..).unwrap_or_default();
        match self.input.read(room) {
            Ok(0) => self.over = true,
            Ok(length) => chunk.filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.error = Some(error);
                self.over = true;
            }
        }
    }

    /// Reads the rest of a line over the limit: validates it and keeps only the head in the chunk.
    fn read_huge_line(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
        let mut validator = Validator::default();
        validator.push(chunk.bytes());
        let mut length = chunk.filled as u64;
        let mut head = std::mem::take(&mut chunk.buffer);
        head.truncate(HEAD_LENGTH);
        chunk.buffer = vec![0; CHUNK];
        let end = loop {
            chunk.filled = 0;
            self.read(chunk);
            if self.over {
                break LineEnd::Input;
            }
            if let Some(newline) = memchr(b'\n', chunk.bytes()) {
                let (line, rest) = chunk.bytes().split_at(newline);
                validator.push(line);
                self.rest.extend_from_slice(rest.get(1..).unwrap_or_default());
                length += newline as u64 + 1;
                break LineEnd::Newline;
            }
            validator.push(chunk.bytes());
            length += chunk.filled as u64;
        };
        chunk.filled = head.len();
        chunk.buffer = head;
        chunk.huge = Some((validator.valid(), end));
        chunk.length = length;
        self.at += length;
        self.found_or_error(true)
    }
}
