//! Cursor over a line of compact JSON as engines print it: no whitespace, no escape in a key, plain
//! integers.
//!
//! Everything passed is validated, once. Unusual input is no error here: the result is `None`, and
//! the slow path (serde_json) classifies the line. So the fast path may only give up, never differ;
//! `fuzz/` and `tests/fast.rs` compare the two.

use super::skip;
use crate::protocol::time::{self, Millis};
use std::borrow::Cow;

/// A place in a line that is known to be UTF-8.
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

    /// Passes one byte, if it is this one.
    #[inline]
    pub(in crate::protocol) fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Passes these bytes, if they come next.
    #[inline]
    pub(in crate::protocol) fn literal(&mut self, literal: &str) -> Option<()> {
        self.text.as_bytes().get(self.at..)?.starts_with(literal.as_bytes()).then(|| self.at += literal.len())
    }

    /// Number of bytes passed.
    #[inline]
    pub(in crate::protocol) fn place(&self) -> usize {
        self.at
    }

    /// The text that was passed since `place`.
    pub(in crate::protocol) fn since(&self, place: usize) -> Option<&'a str> {
        self.text.get(place..self.at)
    }

    /// `Some` if everything was passed.
    pub(in crate::protocol) fn ended(&self) -> Option<()> {
        (self.at == self.text.len()).then_some(())
    }

    /// A string without escapes.
    #[inline]
    pub(in crate::protocol) fn plain(&mut self) -> Option<&'a str> {
        let begin = self.at + 1;
        self.byte(b'"')?;
        let (end, escaped) = skip::string(self.text.as_bytes(), begin)?;
        if escaped {
            return None;
        }
        self.at = end;
        self.text.get(begin..end - 1)
    }

    /// A string; one with escapes is read by serde_json.
    #[inline]
    pub(in crate::protocol) fn string(&mut self) -> Option<Cow<'a, str>> {
        let begin = self.at;
        self.byte(b'"')?;
        let (end, escaped) = skip::string(self.text.as_bytes(), begin + 1)?;
        self.at = end;
        if escaped {
            let quoted = self.text.get(begin..end)?;
            return serde_json::from_str::<String>(quoted).ok().map(Cow::Owned);
        }
        self.text.get(begin + 1..end - 1).map(Cow::Borrowed)
    }

    /// A string, or null.
    pub(in crate::protocol) fn string_or_null(&mut self) -> Option<Option<Cow<'a, str>>> {
        match self.peek()? {
            b'n' => self.literal("null").map(|()| None),
            _ => self.string().map(Some),
        }
    }

    /// A whole number that no rounding can touch.
    #[inline]
    pub(in crate::protocol) fn whole(&mut self) -> Option<u64> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let mut sum: u64 = 0;
        for (count, byte) in rest.iter().take(19).enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                let first = rest.first()?;
                let right = (count == 1 || (count > 1 && *first != b'0')) && matches!(byte, b',' | b'}' | b']');
                return right.then(|| {
                    self.at += count;
                    sum
                });
            }
            sum = sum * 10 + u64::from(digit);
        }
        None
    }

    /// An instant as engines print it, or seconds or milliseconds as a whole number.
    #[inline]
    pub(in crate::protocol) fn instant(&mut self) -> Option<Millis> {
        if self.peek()? == b'"' {
            return time::canonical(self.plain()?.as_bytes());
        }
        let number = i64::try_from(self.whole()?).ok()?;
        (number < 250_000_000_000_000).then(|| if number < 100_000_000_000 { number * 1000 } else { number })
    }

    /// An instant as text, with an offset and of any precision.
    #[inline]
    pub(in crate::protocol) fn moment(&mut self) -> Option<Millis> {
        let text = self.plain()?;
        time::canonical(text.as_bytes()).or_else(|| time::micros(text.as_bytes())).or_else(|| time::parse(text))
    }

    /// `{"gte":1700000000,"lt":1795163736}`
    #[inline]
    pub(in crate::protocol) fn range_of_numbers(&mut self) -> Option<(Millis, Millis)> {
        let mut there = self.clone();
        there.literal("{\"gte\":")?;
        let gte = there.instant()?;
        there.literal(",\"lt\":")?;
        let lt = there.instant()?;
        there.byte(b'}')?;
        *self = there;
        Some((gte, lt))
    }

    /// `{"gte":"…","lt":"…"}` as engines print it, which is most of a progress line.
    #[inline]
    pub(in crate::protocol) fn range_of_texts(&mut self) -> Option<(Millis, Millis)> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let whole: &[u8; 66] = rest.first_chunk()?;
        let (gte, rest) = whole.strip_prefix(b"{\"gte\":\"")?.split_first_chunk()?;
        let (lt, rest) = rest.strip_prefix(b"\",\"lt\":\"")?.split_first_chunk()?;
        let range = (time::exact(gte)?, time::exact(lt)?);
        (rest == b"\"}").then(|| self.at += whole.len())?;
        Some(range)
    }

    /// Any value, validated and passed over.
    #[inline]
    pub(in crate::protocol) fn skip(&mut self) -> Option<()> {
        self.at = skip::value(self.text.as_bytes(), self.at)?;
        Some(())
    }

    /// An object's entries: `each` gets a key and has to pass its value.
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

    /// An array's elements: `each` has to pass one.
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

/// Puts a value that must not have come before: of a key that stands twice the slow way knows which
/// one counts.
pub(in crate::protocol) fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_of_any_length() {
        let whole = |text: &str| {
            let mut cursor = LineCursor::new(text);
            cursor.whole().map(|number| (number, cursor.place()))
        };
        for number in [0, 1, 9, 10, 47, 101, 1_234, 54_321, 999_999, 7_654_321, 12_345_678, 1_795_163_478_037] {
            let text = number.to_string();
            for end in [",", "}", "]", ",\"key\":1}", "},\"a\""] {
                assert_eq!(whole(&format!("{text}{end}")), Some((number, text.len())), "{text}{end}");
            }
            for wrong in ["", ".5,", "e3}", " ,", "x", "é,"] {
                assert_eq!(whole(&format!("{text}{wrong}")), None, "{text}{wrong}");
            }
        }
        for wrong in ["00,", "012,xxxxxxx", "-1,", ",1234567", "", "99999999999999999999,"] {
            assert_eq!(whole(wrong), None, "{wrong}");
        }
    }
}
