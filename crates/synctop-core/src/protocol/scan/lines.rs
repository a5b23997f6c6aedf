//! Splits bytes into lines, independent of chunk boundaries. Splits on byte 0x0A only: strings may
//! contain a raw U+2028.

use super::validate::Validator;
use memchr::memchr;

/// Longer lines are validated as they pass and known by their head only.
pub const LINE_LIMIT: usize = 8 * 1024 * 1024;

/// Stored length of a longer line.
pub const HEAD: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    Newline,
    /// The input ended here.
    Input,
}

/// A line without its newline.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The whole line, or the head of one over the limit.
    pub bytes: &'a [u8],
    /// Bytes of the whole line, its newline included.
    pub length: u64,
    pub end: LineEnd,
    /// For a line over the limit: whether the whole of it is valid JSON.
    pub huge: Option<bool>,
}

impl<'a> Line<'a> {
    /// A line that is here whole: over the limit only its head is handed on, as of one that came in
    /// pieces.
    #[must_use]
    pub fn whole(body: &'a [u8], end: LineEnd) -> Self {
        let length = body.len() as u64 + u64::from(end == LineEnd::Newline);
        if body.len() <= LINE_LIMIT {
            return Self { bytes: body, length, end, huge: None };
        }
        let mut validator = Validator::default();
        validator.push(body);
        Self { bytes: body.get(..HEAD).unwrap_or(body), length, end, huge: Some(validator.valid()) }
    }
}

/// Cuts chunks into lines, holding at most one line of up to [`LINE_LIMIT`] bytes.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
    /// A line over the limit in progress: its validator and length so far.
    huge: Option<(Validator, u64)>,
}

impl Splitter {
    /// Takes the next bytes and hands on each line that they finish.
    pub fn push(&mut self, mut chunk: &[u8], mut each: impl FnMut(Line)) {
        while let Some(at) = memchr(b'\n', chunk) {
            let (line, rest) = chunk.split_at(at);
            chunk = rest.get(1..).unwrap_or_default();
            if self.huge.is_none() && self.partial.is_empty() && line.len() <= LINE_LIMIT {
                each(Line { bytes: line, length: line.len() as u64 + 1, end: LineEnd::Newline, huge: None });
            } else {
                self.extend(line);
                self.hand_on(LineEnd::Newline, &mut each);
            }
        }
        self.extend(chunk);
    }

    /// Ends the input: the rest is a line without newline.
    pub fn finish(&mut self, mut each: impl FnMut(Line)) {
        if self.huge.is_some() || !self.partial.is_empty() {
            self.hand_on(LineEnd::Input, &mut each);
        }
    }

    /// Bytes of an unfinished line.
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
        let wanted = HEAD.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(bytes.get(..wanted.min(bytes.len())).unwrap_or_default());
        self.partial.truncate(HEAD);
        self.partial.shrink_to_fit();
    }

    fn hand_on(&mut self, end: LineEnd, each: &mut impl FnMut(Line)) {
        let newline = u64::from(end == LineEnd::Newline);
        let (length, huge) = match self.huge.take() {
            Some((validator, length)) => (length, Some(validator.valid())),
            None => (self.partial.len() as u64, None),
        };
        each(Line { bytes: &self.partial, length: length + newline, end, huge });
        self.partial.clear();
        self.partial.shrink_to(HEAD * 4);
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
    fn chunks_do_not_matter() {
        let whole = split(&[b"one\n\ntwo\r\nthree"]);
        assert_eq!(whole.len(), 4);
        assert_eq!(whole[3], (b"three".to_vec(), 5, LineEnd::Input, None));
        assert_eq!(whole, split(&[b"o", b"ne\n", b"\nt", b"wo\r", b"\nthr", b"ee"]));
        assert_eq!(split(&[b"x\n"]).len(), 1);
    }

    #[test]
    fn a_line_over_the_limit_is_judged_and_not_held() {
        let mut long = br#"{"type":"record","record":{"stream":"a","data":""#.to_vec();
        long.resize(LINE_LIMIT + 5000, b'x');
        long.extend_from_slice(b"\"}}\nnext\n");
        let whole = split(&[&long]);
        assert_eq!(whole[0].3, Some(true));
        assert_eq!(whole[0].0.len(), HEAD);
        assert_eq!(whole[1].0, b"next");
        let pieces: Vec<&[u8]> = long.chunks(100_003).collect();
        assert_eq!(whole, split(&pieces));
        long.truncate(LINE_LIMIT + 6000);
        assert_eq!(split(&[&long])[0].3, Some(true));
        long.truncate(LINE_LIMIT + 4000);
        assert_eq!(split(&[&long])[0].3, Some(false));
    }
}
