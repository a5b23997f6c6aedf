//! Splits bytes into lines, independent of chunk boundaries. Only byte 0x0A ends a line, because
//! strings may contain a raw U+2028.

use super::validate::Validator;
use memchr::memchr;

/// Maximum length of a line that is stored, in bytes. Longer lines are validated in passing, and
/// only their head is stored.
pub const LINE_LIMIT: usize = 8 * 1024 * 1024;

/// Length of the head of a longer line, in bytes.
pub const HEAD_LENGTH: usize = 64 * 1024;

/// End of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    /// Newline, byte 0x0A.
    Newline,
    /// End of the input, without a newline.
    Input,
}

/// Line without its newline.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Complete line, or the head of a line over the limit.
    pub bytes: &'a [u8],
    /// Length of the complete line in bytes, including its newline.
    pub length: u64,
    /// End of the line: a newline, or the end of the input.
    pub end: LineEnd,
    /// For a line over the limit, true if the complete line is valid JSON. `None` for other lines.
    pub huge: Option<bool>,
}

impl<'a> Line<'a> {
    /// Creates a line from its complete bytes. Over the limit it has only the head, as a line from
    /// a [`Splitter`] does.
    #[must_use]
    pub fn whole(body: &'a [u8], end: LineEnd) -> Self {
        let length = body.len() as u64 + u64::from(end == LineEnd::Newline);
        if body.len() <= LINE_LIMIT {
            return Self { bytes: body, length, end, huge: None };
        }
        let mut validator = Validator::default();
        validator.push(body);
        Self { bytes: body.get(..HEAD_LENGTH).unwrap_or(body), length, end, huge: Some(validator.valid()) }
    }
}

/// Splits chunks into lines. Stores at most one line of up to [`LINE_LIMIT`] bytes.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
    /// Validator and length so far of an unfinished line over the limit.
    huge: Option<(Validator, u64)>,
}

impl Splitter {
    /// Reads the next bytes and passes each line that they finish to `each`.
    pub fn push(&mut self, mut chunk: &[u8], mut each: impl FnMut(Line)) {
        while let Some(at) = memchr(b'\n', chunk) {
            let (line, rest) = chunk.split_at(at);
            chunk = rest.get(1..).unwrap_or_default();
            if self.huge.is_none() && self.partial.is_empty() && line.len() <= LINE_LIMIT {
                each(Line { bytes: line, length: line.len() as u64 + 1, end: LineEnd::Newline, huge: None });
            } else {
                self.extend(line);
                self.emit(LineEnd::Newline, &mut each);
            }
        }
        self.extend(chunk);
    }

    /// Ends the input and passes an unfinished line to `each`.
    pub fn finish(&mut self, mut each: impl FnMut(Line)) {
        if self.huge.is_some() || !self.partial.is_empty() {
            self.emit(LineEnd::Input, &mut each);
        }
    }

    /// Returns the length of the unfinished line in bytes.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.huge.as_ref().map_or(self.partial.len() as u64, |(_, length)| *length)
    }

    fn extend(&mut self, bytes: &[u8]) {
        if let Some((validator, length)) = &mut self.huge {
            validator.push(bytes);
            *length += bytes.len() as u64;
            return;
        }
        let room = LINE_LIMIT - self.partial.len();
        if bytes.len() <= room {
            self.partial.extend_from_slice(bytes);
            return;
        }
        let mut validator = Validator::default();
        validator.push(&self.partial);
        validator.push(bytes);
        self.huge = Some((validator, (self.partial.len() + bytes.len()) as u64));
        let missing = HEAD_LENGTH.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(bytes.get(..missing.min(bytes.len())).unwrap_or_default());
        self.partial.truncate(HEAD_LENGTH);
        self.partial.shrink_to_fit();
    }

    fn emit(&mut self, end: LineEnd, each: &mut impl FnMut(Line)) {
        let newline = u64::from(end == LineEnd::Newline);
        let (length, huge) = match self.huge.take() {
            Some((validator, length)) => (length, Some(validator.valid())),
            None => (self.partial.len() as u64, None),
        };
        each(Line { bytes: &self.partial, length: length + newline, end, huge });
        self.partial.clear();
        self.partial.shrink_to(HEAD_LENGTH * 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, u64, LineEnd, Option<bool>)> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        let mut take = |line: Line| lines.push((line.bytes.to_vec(), line.length, line.end, line.huge));
        for chunk in chunks {
            splitter.push(chunk, &mut take);
        }
        splitter.finish(&mut take);
        lines
    }

    #[test]
    fn lines_are_independent_of_chunks() {
        let whole = split(&[b"one\n\ntwo\r\nthree"]);
        assert_eq!(whole.len(), 4);
        assert_eq!(whole[3], (b"three".to_vec(), 5, LineEnd::Input, None));
        assert_eq!(whole, split(&[b"o", b"ne\n", b"\nt", b"wo\r", b"\nthr", b"ee"]));
        assert_eq!(split(&[b"x\n"]).len(), 1);
    }

    #[test]
    fn a_line_over_the_limit_is_validated_but_not_stored() {
        let mut long = br#"{"type":"record","record":{"stream":"a","data":""#.to_vec();
        long.resize(LINE_LIMIT + 5000, b'x');
        long.extend_from_slice(b"\"}}\nnext\n");
        let whole = split(&[&long]);
        assert_eq!(whole[0].3, Some(true));
        assert_eq!(whole[0].0.len(), HEAD_LENGTH);
        assert_eq!(whole[1].0, b"next");
        let pieces: Vec<&[u8]> = long.chunks(100_003).collect();
        assert_eq!(whole, split(&pieces));
        long.truncate(LINE_LIMIT + 6000);
        assert_eq!(split(&[&long])[0].3, Some(true));
        long.truncate(LINE_LIMIT + 4000);
        assert_eq!(split(&[&long])[0].3, Some(false));
    }
}
