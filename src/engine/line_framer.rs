//! Splits a byte stream into complete lines without truncating long ones: a truncated state would
//! be useless.

use memchr::memchr;
use synctop_core::protocol::LineEnd;

/// A line over this is not looked at: no state is as large.
const LONGEST_LINE: usize = 512 << 20;

/// The line that is not whole yet.
#[derive(Debug, Default)]
pub struct WholeLines {
    partial: Vec<u8>,
    /// It is too long to be looked at.
    skipping: bool,
}

impl WholeLines {
    /// Takes in bytes; hands on each line without its newline.
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
        if self.skipping || self.partial.len() + bytes.len() > LONGEST_LINE {
            self.skipping = true;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    /// The end of the bytes: hands on a line that has no newline. Answers whether one was too long.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8], LineEnd)) -> bool {
        let line = std::mem::take(&mut self.partial);
        if !line.is_empty() {
            each(&line, LineEnd::Input);
        }
        std::mem::take(&mut self.skipping)
    }
}
