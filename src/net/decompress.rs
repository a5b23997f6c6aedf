//! Decompression of `.gz` and `.zst`, detected by magic bytes and not by name.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc;

/// Compression of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// By magic bytes (RFC 1952, RFC 8878).
#[must_use]
pub fn packing(head: &[u8]) -> Packing {
    match head {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
        _ => Packing::Plain,
    }
}

/// The bytes in it, unpacked as they are read. Blocks until the first bytes are there.
///
/// # Errors
/// When the input cannot be read.
pub fn open<'r>(input: impl Read + Send + 'r) -> io::Result<(Packing, Box<dyn Read + Send + 'r>)> {
    let mut input = BufReader::with_capacity(super::CHUNK, Head { input, head: Vec::new(), given: 0 });
    // A pipe may hand over a byte at a time: the magic number is four.
    let mut wanted = 1;
    loop {
        let head = input.get_mut().peek(wanted)?;
        let more = matches!(head, [0x1f] | [0x28 | 0x50..=0x5f, ..]) && head.len() < 4 && head.len() == wanted;
        if !more {
            break;
        }
        wanted += 1;
    }
    let found = packing(&input.get_ref().head);
    Ok((
        found,
        match found {
            Packing::Plain => Box::new(Plain(input)),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        },
    ))
}

/// Chunks that may wait to be taken.
const AHEAD: usize = 4;

/// Reads on a thread of its own, so that unpacking and understanding go on side by side.
///
/// # Errors
/// When the system gives no thread.
pub fn ahead(mut input: impl Read + Send + 'static) -> io::Result<impl Read + Send> {
    let (full, chunks) = mpsc::sync_channel::<io::Result<Vec<u8>>>(AHEAD);
    let (empty, used) = mpsc::sync_channel::<Vec<u8>>(AHEAD + 2);
    std::thread::Builder::new().name("unpack".into()).spawn(move || {
        loop {
            let mut chunk = used.try_recv().unwrap_or_default();
            chunk.resize(super::CHUNK, 0);
            let read = match input.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            let over = !matches!(read, Ok(1..));
            let read = read.map(|length| {
                chunk.truncate(length);
                chunk
            });
            if full.send(read).is_err() || over {
                return;
            }
        }
    })?;
    Ok(Ahead { chunks, empty, chunk: Vec::new(), given: 0 })
}

struct Ahead {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// Chunks that were read go back and are filled again.
    empty: mpsc::SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    given: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.chunk.len() {
            let Ok(next) = self.chunks.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.chunk, next?);
            self.given = 0;
            let _ = self.empty.try_send(used);
        }
        let rest = self.chunk.get(self.given..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.given += length;
        Ok(length)
    }
}

/// A reader whose first bytes were looked at.
struct Head<R> {
    input: R,
    head: Vec<u8>,
    given: usize,
}

impl<R: Read> Head<R> {
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

impl<R: Read> Read for Head<R> {
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

/// Passes on available data without waiting for a full buffer.
struct Plain<R: Read>(BufReader<R>);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.buffer().is_empty() && buffer.len() >= super::CHUNK {
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

    /// Hands over one byte at a time.
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
    fn each_packing_is_found_and_undone_however_it_drips() {
        let text = b"P{\"type\":\"log\"}\nsecond line\n".repeat(50);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(&text).unwrap();
        let zst = zstd::encode_all(&text[..], 3).unwrap();
        for (bytes, packing) in
            [(text.clone(), Packing::Plain), (gz.finish().unwrap(), Packing::Gzip), (zst, Packing::Zstd)]
        {
            let (found, mut unpacked) = open(Drip(&bytes)).unwrap();
            let mut out = Vec::new();
            unpacked.read_to_end(&mut out).unwrap();
            assert_eq!((found, out), (packing, text.clone()));
        }
        let (found, mut nothing) = open(&b""[..]).unwrap();
        assert_eq!((found, nothing.read(&mut [0; 8]).unwrap()), (Packing::Plain, 0));
    }

    #[test]
    fn a_broken_archive_is_an_error_and_what_came_before_is_there() {
        let packed = zstd::encode_all(&b"line\n".repeat(100_000)[..], 3).unwrap();
        let (_, mut unpacked) = open(&packed[..packed.len() - 4]).unwrap();
        let mut out = Vec::new();
        assert!(unpacked.read_to_end(&mut out).is_err());
        assert!(!out.is_empty());
    }
}
