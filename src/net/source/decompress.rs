//! Decompression of `.gz` and `.zst`, detected by magic bytes and not by name, and conversion of
//! UTF-16, detected by its byte order mark or its zero bytes.

use crate::net::source::frames::{FrameQueue, FrameReader};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

/// Compression of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Zstd,
    /// UTF-16 text, as PowerShell redirects output.
    Utf16,
}

/// Byte order marks of UTF-16.
const LITTLE_ENDIAN: [u8; 2] = [0xff, 0xfe];
const BIG_ENDIAN: [u8; 2] = [0xfe, 0xff];

/// Detects the compression by magic bytes (RFC 1952, RFC 8878), UTF-16 by its byte order mark or
/// its zero bytes.
#[must_use]
pub fn packing(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Compression::Utf16,
        _ if missing_mark(head).is_some() => Compression::Utf16,
        _ => Compression::Plain,
    }
}

/// Returns the byte order mark that UTF-16 text lacks; `None` for all other text. The first two
/// characters of a log are ASCII.
fn missing_mark(head: &[u8]) -> Option<[u8; 2]> {
    match head {
        [1..=0x7f, 0, 1..=0x7f, 0, ..] => Some(LITTLE_ENDIAN),
        [0, 1..=0x7f, 0, 1..=0x7f, ..] => Some(BIG_ENDIAN),
        _ => None,
    }
}

/// Reads text in UTF-8 or UTF-16, without its byte order mark.
///
/// # Errors
/// Returns [`io::ErrorKind::InvalidData`] for other text.
pub fn to_text(bytes: Vec<u8>) -> io::Result<String> {
    let mut text = String::new();
    open(&bytes[..])?.1.read_to_string(&mut text)?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Returns the detected compression and a reader that decompresses the input. Blocks until the
/// first bytes arrive.
///
/// # Errors
/// Returns the read error, or the error of creating a decoder.
pub fn open<'r>(input: impl Read + Send + 'r) -> io::Result<(Compression, Box<dyn Read + Send + 'r>)> {
    let (found, input) = detect(input)?;
    Ok((found, decoded(found, input)?))
}

/// Threads from which on they decompress whole frames ahead. Fewer are quicker if each decompresses
/// just the lines that it then decodes, which are in its cache: of 1 GB in frames of 8 MiB, two
/// threads take 0.72 s instead of 0.89 s.
const MIN_THREADS_FOR_FRAMES: usize = 4;

/// Returns a reader as [`open`] does, for a saved log that several threads read: they may decompress
/// its frames ahead.
///
/// # Errors
/// Returns the read error, or the error of creating a decoder.
pub fn open_saved(input: impl Read + Send + 'static, threads: usize) -> io::Result<SavedInput> {
    let (found, input) = detect(input)?;
    Ok(match found {
        Compression::Zstd if threads >= MIN_THREADS_FOR_FRAMES => {
            let frames = FrameQueue::new(input);
            SavedInput { input: Box::new(FrameReader::new(Arc::clone(&frames))), frames: Some(frames) }
        }
        other => SavedInput { input: decoded(other, input)?, frames: None },
    })
}

/// Decompressed bytes of a saved log.
pub struct SavedInput {
    pub input: Box<dyn Read + Send>,
    /// Frames of the input that any thread may decompress.
    pub frames: Option<Arc<FrameQueue>>,
}

/// Returns a reader that decompresses an input.
fn decoded<'r, R: Read + Send + 'r>(
    compression: Compression,
    input: BufReader<PeekReader<R>>,
) -> io::Result<Box<dyn Read + Send + 'r>> {
    Ok(match compression {
        Compression::Plain => Box::new(Plain(input)),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Compression::Utf16 => Box::new(encoding_rs_io::DecodeReaderBytes::new(input)),
    })
}

/// Detects the compression of an input, and returns a reader of it from its start.
fn detect<R: Read>(input: R) -> io::Result<(Compression, BufReader<PeekReader<R>>)> {
    let mut input =
        BufReader::with_capacity(crate::net::source::event::CHUNK, PeekReader { input, head: Vec::new(), given: 0 });
    // A pipe may deliver one byte at a time; a magic number has up to four bytes.
    let mut wanted = 1;
    loop {
        let head = input.get_mut().peek(wanted)?;
        let may_be_known = matches!(head, [_] | [0 | 0x28 | 0x50..=0x5f, ..] | [_, 0, ..]);
        if !(may_be_known && head.len() < 4 && head.len() == wanted) {
            break;
        }
        wanted += 1;
    }
    let found = packing(&input.get_ref().head);
    if let Some(mark) = missing_mark(&input.get_ref().head) {
        input.get_mut().head.splice(0..0, mark);
    }
    Ok((found, input))
}

/// Reader whose first bytes can be examined before they are read.
struct PeekReader<R> {
    input: R,
    head: Vec<u8>,
    given: usize,
}

impl<R: Read> PeekReader<R> {
    /// Returns the first `wanted` bytes, or fewer at the end of the input.
    fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        let mut byte = [0; 1];
        while self.head.len() < wanted {
            match self.input.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => self.head.extend_from_slice(&byte),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.head)
    }
}

impl<R: Read> Read for PeekReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.head.get(self.given..) {
            Some(rest) if !rest.is_empty() => {
                let length = rest.len().min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(rest) {
                    *to = *from;
                }
                self.given += length;
                Ok(length)
            }
            _ => self.input.read(buffer),
        }
    }
}

/// Reader that returns available data without waiting for a full buffer.
struct Plain<R: Read>(BufReader<R>);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.buffer().is_empty() && buffer.len() >= crate::net::source::event::CHUNK {
            return self.0.get_mut().read(buffer);
        }
        let length = self.0.fill_buf()?.read(buffer)?;
        self.0.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Reader that returns one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(1).min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn each_compression_is_detected_byte_by_byte() {
        let text = b"P{\"type\":\"log\"}\nsecond line\n".repeat(50);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(&text).unwrap();
        let zst = zstd::encode_all(&text[..], 3).unwrap();
        for (bytes, packing) in
            [(text.clone(), Compression::Plain), (gz.finish().unwrap(), Compression::Gzip), (zst, Compression::Zstd)]
        {
            let (found, mut unpacked) = open(Drip(&bytes)).unwrap();
            let mut out = Vec::new();
            unpacked.read_to_end(&mut out).unwrap();
            assert_eq!((found, out), (packing, text.clone()));
        }
        for (mark, unit) in [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes)] {
            let wide: Vec<u8> = mark.into_iter().chain("a\u{1f600}é\r\nb".encode_utf16().flat_map(unit)).collect();
            let (found, mut text) = open(Drip(&wide)).unwrap();
            let mut out = String::new();
            text.read_to_string(&mut out).unwrap();
            assert_eq!((found, out.as_str()), (Compression::Utf16, "a\u{1f600}é\r\nb"));
            assert_eq!(to_text(wide.clone()).unwrap(), out);
            // Without its mark.
            let unmarked: Vec<u8> = "{\"é\r\n".encode_utf16().flat_map(unit).collect();
            let (found, _) = open(Drip(&unmarked)).unwrap();
            assert_eq!((found, to_text(unmarked).unwrap().as_str()), (Compression::Utf16, "{\"é\r\n"));
        }
        assert_eq!(to_text("\u{feff}{}".into()).unwrap(), "{}");
        let (found, mut nothing) = open(&b""[..]).unwrap();
        assert_eq!((found, nothing.read(&mut [0; 8]).unwrap()), (Compression::Plain, 0));
    }

    #[test]
    fn a_truncated_archive_is_an_error_after_its_readable_data() {
        let packed = zstd::encode_all(&b"line\n".repeat(100_000)[..], 3).unwrap();
        let (_, mut unpacked) = open(&packed[..packed.len() - 4]).unwrap();
        let mut out = Vec::new();
        assert!(unpacked.read_to_end(&mut out).is_err());
        assert!(!out.is_empty());
    }
}
