//! Sidecar data of a saved log: the engine's stderr and exit code, and the requested streams.

use crate::net::source::decompress;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use synctop_core::protocol::catalog::Catalog;
use synctop_core::reduce::{Exit, StderrLog};

/// Maximum bytes read as one line of stderr; the rest of a longer line becomes further lines.
const MAX_LINE: u64 = 64 * 1024;

/// Sidecar data of a log.
#[derive(Debug, Clone, Default)]
pub struct Sidecar {
    pub catalog: Option<Arc<Catalog>>,
    pub exit: Option<Exit>,
    pub stderr: StderrLog,
}

impl Sidecar {
    /// Reads an engine's stderr, which may be compressed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read to its end.
    pub fn read_stderr(&mut self, file: File) -> io::Result<()> {
        let mut input = BufReader::new(decompress::open(file)?.1);
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            self.stderr.push(&line);
        }
    }
}
