//! Splits a byte stream into complete lines without truncating long ones: a truncated state would
//! be useless.

use memchr::memchr;
use synctop_core::protocol::LineEnd;

/// Maximum bytes of a line; longer lines are skipped. No state is as large.
const MAX_LINE_BYTES: usize = 512 << 20;

/// Line framer. Holds the bytes of the incomplete last line.
#[derive(Debug, Default)]
pub struct LineFramer {
    partial: Vec<u8>,
    /// True while an overlong line is skipped.
    skipping: bool,
}

impl LineFramer {
    /// Appends bytes and calls `each` with every complete line, without its newline.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(newline) = memchr(b'\n', bytes) {
            let (head, rest) = bytes.split_at(newline);
            bytes = rest.get(1..).unwrap_or_default();
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.partial.is_empty() {
                each(head);
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(head);
                each(&line);
            }
        }
        if self.skipping || self.partial.len() + bytes.len() > MAX_LINE_BYTES {
            self.skipping = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    /// Ends the input: calls `each` with a last line that has no newline. Returns true if the last
    /// line was too long.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8], LineEnd)) -> bool {
        let line = std::mem::take(&mut self.partial);
        if !line.is_empty() {
            each(&line, LineEnd::Input);
        }
        std::mem::take(&mut self.skipping)
    }
}
