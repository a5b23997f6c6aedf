//! Cursor over a line of compact JSON as engines print it: no whitespace, no escape in a key, plain
//! integers.
//!
//! Everything read is validated. For unusual input, methods return `None`, and the slow path
//! (serde_json) classifies the line. So the fast path may give up, but never differ; `fuzz/` and
//! `tests/fast.rs` compare the two.

use super::{skip, token};
use crate::protocol::time::{self, Millis};
use std::borrow::Cow;

/// Line with the offset of the next byte. Most methods read a token at the offset and move past it.
#[derive(Debug, Clone)]
pub(in crate::protocol) struct LineCursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> LineCursor<'a> {
    pub(in crate::protocol) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Reads one byte, if it is `byte`.
    #[inline]
    pub(in crate::protocol) fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Reads `literal`, if it comes next.
    #[inline]
    pub(in crate::protocol) fn literal(&mut self, literal: &str) -> Option<()> {
        let read = self.text.as_bytes().get(self.at..self.at + literal.len())?;
        let ((parts, rest), (wanted, last)) = (read.as_chunks(), literal.as_bytes().as_chunks());
        // A comparison of more than 32 bytes would be a call.
        let differ = |part: &[u8; 16], wanted: &[u8; 16]| u128::from_ne_bytes(*part) ^ u128::from_ne_bytes(*wanted);
        let all = parts.iter().zip(wanted).fold(0, |found, (part, wanted)| found | differ(part, wanted));
        (all == 0 && rest == last).then(|| self.at += literal.len())
    }

    /// Returns the number of bytes before the next `byte`.
    #[inline]
    pub(in crate::protocol) fn distance_to(&self, byte: u8) -> Option<usize> {
        memchr::memchr(byte, self.text.as_bytes().get(self.at..)?)
    }

    /// Returns the number of bytes read.
    #[inline]
    pub(in crate::protocol) fn bytes_read(&self) -> usize {
        self.at
    }

    /// Returns the text read since the position `start`.
    pub(in crate::protocol) fn text_since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.at)
    }

    /// Returns `Some` if the complete line was read.
    pub(in crate::protocol) fn expect_end(&self) -> Option<()> {
        (self.at == self.text.len()).then_some(())
    }

    /// Reads a string without escapes.
    #[inline]
    pub(in crate::protocol) fn plain(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        self.byte(b'"')?;
        let (end, escaped) = token::string(self.text.as_bytes(), start)?;
        if escaped {
            return None;
        }
        self.at = end;
        self.text.get(start..end - 1)
    }

    /// Reads a string; escapes are decoded by serde_json.
    #[inline]
    pub(in crate::protocol) fn string(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        self.byte(b'"')?;
        let (end, escaped) = token::string(self.text.as_bytes(), start + 1)?;
        self.at = end;
        if escaped {
            let quoted = self.text.get(start..end)?;
            return serde_json::from_str::<String>(quoted).ok().map(Cow::Owned);
        }
        self.text.get(start + 1..end - 1).map(Cow::Borrowed)
    }

    /// Reads a string or null.
    pub(in crate::protocol) fn string_or_null(&mut self) -> Option<Option<Cow<'a, str>>> {
        match self.peek()? {
            b'n' => self.literal("null").map(|()| None),
            _ => self.string().map(Some),
        }
    }

    /// Reads a non-negative integer of at most 18 digits, which is followed by `,`, `}` or `]`.
    #[inline]
    pub(in crate::protocol) fn unsigned(&mut self) -> Option<u64> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let mut sum: u64 = 0;
        for (count, byte) in rest.iter().take(19).enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                let first = rest.first()?;
                let valid = (count == 1 || (count > 1 && *first != b'0')) && matches!(byte, b',' | b'}' | b']');
                return valid.then(|| {
                    self.at += count;
                    sum
                });
            }
            sum = sum * 10 + u64::from(digit);
        }
        None
    }

    /// Reads an instant: text as all engines print it, or an integer of seconds or milliseconds.
    #[inline]
    pub(in crate::protocol) fn instant(&mut self) -> Option<Millis> {
        if self.peek()? == b'"' {
            return time::parse_canonical(self.plain()?.as_bytes());
        }
        let number = i64::try_from(self.unsigned()?).ok()?;
        (number < 250_000_000_000_000).then(|| if number < 100_000_000_000 { number * 1000 } else { number })
    }

    /// Reads an instant as ISO 8601 text, with any offset and precision.
    #[inline]
    pub(in crate::protocol) fn text_instant(&mut self) -> Option<Millis> {
        let text = self.plain()?;
        time::parse_canonical(text.as_bytes())
            .or_else(|| time::parse_micros(text.as_bytes()))
            .or_else(|| time::parse(text))
    }

    /// Reads a range such as `{"gte":1700000000,"lt":1795163736}`. Reads nothing if it returns
    /// `None`.
    #[inline]
    pub(in crate::protocol) fn range_of_numbers(&mut self) -> Option<(Millis, Millis)> {
        let mut ahead = self.clone();
        ahead.literal("{\"gte\":")?;
        let gte = ahead.instant()?;
        ahead.literal(",\"lt\":")?;
        let lt = ahead.instant()?;
        ahead.byte(b'}')?;
        *self = ahead;
        Some((gte, lt))
    }

    /// Reads a range such as `{"gte":"…","lt":"…"}` in the form that all engines print, which is
    /// most of a progress line. Reads nothing if it returns `None`.
    #[inline]
    pub(in crate::protocol) fn range_of_texts(&mut self) -> Option<(Millis, Millis)> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let range_text: &[u8; 66] = rest.first_chunk()?;
        let (gte, rest) = range_text.strip_prefix(b"{\"gte\":\"")?.split_first_chunk()?;
        let (lt, rest) = rest.strip_prefix(b"\",\"lt\":\"")?.split_first_chunk()?;
        let range = (time::parse_millis(gte)?, time::parse_millis(lt)?);
        (rest == b"\"}").then(|| self.at += range_text.len())?;
        Some(range)
    }

    /// Skips and validates any value.
    #[inline]
    pub(in crate::protocol) fn skip(&mut self) -> Option<()> {
        self.at = skip::value(self.text.as_bytes(), self.at)?;
        Some(())
    }

    /// Reads an object: calls `each` with every key, which has to read the value.
    #[inline]
    pub(in crate::protocol) fn object(&mut self, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.byte(b'{')?;
        if self.byte(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.plain()?;
            self.byte(b':')?;
            each(self, key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Reads an array: calls `each`, which has to read one element.
    #[inline]
    pub(in crate::protocol) fn array(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.byte(b'[')?;
        if self.byte(b']').is_some() {
            return Some(());
        }
        loop {
            each(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }
}

/// Stores the value of a key; `None` if the key is a duplicate, which is left to the slow path.
pub(in crate::protocol) fn set_once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_length_are_read() {
        let read = |text: &str| {
            let mut cursor = LineCursor::new(text);
            cursor.unsigned().map(|number| (number, cursor.bytes_read()))
        };
        for number in [0, 1, 9, 10, 47, 101, 1_234, 54_321, 999_999, 7_654_321, 12_345_678, 1_795_163_478_037] {
            let text = number.to_string();
            for end in [",", "}", "]", ",\"key\":1}", "},\"a\""] {
                assert_eq!(read(&format!("{text}{end}")), Some((number, text.len())), "{text}{end}");
            }
            for wrong in ["", ".5,", "e3}", " ,", "x", "é,"] {
                assert_eq!(read(&format!("{text}{wrong}")), None, "{text}{wrong}");
            }
        }
        for wrong in ["00,", "012,xxxxxxx", "-1,", ",1234567", "", "99999999999999999999,"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
