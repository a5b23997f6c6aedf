//! Cuts a byte stream into complete lines of any length.
//!
//! [`super::lines::Splitter`] keeps only the head of a line over 8 MiB, which is enough to decode
//! it; here every byte is kept, because a truncated state or a truncated copy would be useless.

use super::lines::LineEnd;
use memchr::{memchr, memrchr};

/// Default maximum bytes of a line, far above any state. The rest of a longer line is passed over.
pub const MAX_LINE_BYTES: usize = 32 << 20;

/// Line framer. Holds the bytes of the incomplete last line.
#[derive(Debug)]
pub struct LineFramer {
    partial: Vec<u8>,
    limit: usize,
    /// True while an overlong line is skipped.
    skipping: bool,
    /// Number of skipped lines that were not reported yet.
    skipped: u64,
}

impl Default for LineFramer {
    fn default() -> Self {
        Self::with_limit(MAX_LINE_BYTES)
    }
}

impl LineFramer {
    /// Creates a framer that holds at most `limit` bytes of a line.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { partial: Vec::new(), limit, skipping: false, skipped: 0 }
    }

    /// Appends bytes and passes every complete line to `each`, without its newline. A line over the
    /// limit is skipped.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(newline) = memchr(b'\n', bytes) {
            let (head, rest) = bytes.split_at(newline);
            bytes = rest.get(1..).unwrap_or_default();
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.partial.len().saturating_add(head.len()) > self.limit {
                self.partial = Vec::new();
                self.skipped += 1;
            } else if self.partial.is_empty() {
                each(head);
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(head);
                each(&line);
            }
        }
        if self.skipping || self.partial.len().saturating_add(bytes.len()) > self.limit {
            self.skip_line();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    /// Drops the incomplete last line, and passes over its rest.
    pub fn skip_line(&mut self) {
        self.skipped += u64::from(!self.skipping);
        self.skipping = true;
        self.partial = Vec::new();
    }

    /// Returns the number of lines that were passed over since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// Ends the input: passes a last line without a newline to `each`. Returns true if that line
    /// was over the limit.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8], LineEnd)) -> bool {
        let line = std::mem::take(&mut self.partial);
        if !line.is_empty() {
            each(&line, LineEnd::Input);
        }
        std::mem::take(&mut self.skipping)
    }

    /// Appends bytes and returns all complete lines, each with its newline; empty if there is none.
    /// A line over the limit is returned in pieces, of which only the last has a newline.
    #[must_use]
    pub fn take_complete(&mut self, bytes: &[u8]) -> Vec<u8> {
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        let end = match memrchr(b'\n', bytes) {
            Some(newline) => before + newline + 1,
            None if self.partial.len() > self.limit => self.partial.len(),
            None => return Vec::new(),
        };
        let rest = self.partial.split_off(end);
        std::mem::replace(&mut self.partial, rest)
    }

    /// Returns the length of the incomplete last line in bytes.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.partial.len()
    }

    /// Drops the incomplete last line.
    pub fn clear(&mut self) {
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_complete_whatever_the_chunks() {
        let input = b"one\n\ntwo and more\nlast";
        for size in 1..=input.len() {
            let (mut framer, mut lines) = (LineFramer::default(), Vec::new());
            let mut copy = Vec::new();
            let mut copier = LineFramer::default();
            for chunk in input.chunks(size) {
                framer.push(chunk, |line| lines.push(line.to_vec()));
                let complete = copier.take_complete(chunk);
                assert!(complete.is_empty() || complete.ends_with(b"\n"));
                copy.extend(complete);
            }
            assert_eq!(copier.pending(), b"last".len());
            assert!(!framer.finish(|line, end| {
                assert_eq!(end, LineEnd::Input);
                lines.push(line.to_vec());
            }));
            assert_eq!(lines, [&b"one"[..], b"", b"two and more", b"last"]);
            assert_eq!(copy, b"one\n\ntwo and more\n");
        }
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_or_passed_in_pieces() {
        let (mut framer, mut lines) = (LineFramer::with_limit(4), Vec::new());
        for chunk in [&b"abc"[..], b"def", b"ghi\nok\n", b"toolong"] {
            framer.push(chunk, |line| lines.push(line.to_vec()));
        }
        assert_eq!(lines, [b"ok"]);
        assert!(framer.finish(|_, _| panic!("nothing is left")));
        let mut copier = LineFramer::with_limit(4);
        let pieces: Vec<_> = [&b"abc"[..], b"def", b"ghi\nok"].map(|chunk| copier.take_complete(chunk)).into();
        assert_eq!(pieces, [&b""[..], b"abcdef", b"ghi\n"]);
        copier.clear();
        assert_eq!(copier.pending(), 0);
    }
}
