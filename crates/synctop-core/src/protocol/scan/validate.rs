//! Incremental JSON validation of a line too long to be held in memory.
//!
//! Accepts one value as `serde_json` does (a test compares them), with UTF-8 checked in the same
//! pass.

/// Deeper nesting than this is refused, so that a hostile line cannot grow memory.
const DEPTH_LIMIT: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Value,
    /// After `[`: a value or `]`.
    FirstItem,
    /// After `{`: a key or `}`.
    FirstKey,
    Key,
    Colon,
    After,
    Text,
    Escape,
    Hex(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
    Word(&'static [u8]),
    Bad,
}

/// A push parser that keeps only where it is.
#[derive(Debug, Clone)]
pub struct Validator {
    at: At,
    /// Open brackets: true is an object.
    open: Vec<bool>,
    /// The string being read is a key.
    key: bool,
    /// UTF-8 continuation bytes still due, and the bounds of the next one.
    due: u8,
    low: u8,
    high: u8,
}

impl Default for Validator {
    fn default() -> Self {
        Self { at: At::Value, open: Vec::new(), key: false, due: 0, low: 0x80, high: 0xbf }
    }
}

impl Validator {
    /// Takes the next bytes of the line.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.at == At::Bad {
                return;
            }
            self.at = self.step(byte);
        }
    }

    /// True if the input is one whole JSON value.
    #[must_use]
    pub fn valid(&self) -> bool {
        let through = matches!(self.at, At::After | At::Zero | At::Digits | At::Fraction | At::Exponent);
        through && self.open.is_empty()
    }

    /// True if a value may come next.
    #[must_use]
    pub fn expects_value(&self) -> bool {
        matches!(self.at, At::Value | At::FirstItem)
    }

    fn step(&mut self, byte: u8) -> At {
        match self.at {
            At::Text => self.text(byte),
            At::Escape => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => At::Text,
                b'u' => At::Hex(4),
                _ => At::Bad,
            },
            At::Hex(left) if byte.is_ascii_hexdigit() => {
                if left == 1 {
                    At::Text
                } else {
                    At::Hex(left - 1)
                }
            }
            At::Word([first, rest @ ..]) if *first == byte => {
                if rest.is_empty() {
                    At::After
                } else {
                    At::Word(rest)
                }
            }
            At::Hex(_) | At::Word(_) | At::Bad => At::Bad,
            At::Minus => match byte {
                b'0' => At::Zero,
                b'1'..=b'9' => At::Digits,
                _ => At::Bad,
            },
            At::Point | At::Fraction if byte.is_ascii_digit() => At::Fraction,
            At::E if matches!(byte, b'+' | b'-') => At::ESign,
            At::E | At::ESign | At::Exponent if byte.is_ascii_digit() => At::Exponent,
            At::Digits if byte.is_ascii_digit() => At::Digits,
            At::Zero | At::Digits if byte == b'.' => At::Point,
            At::Zero | At::Digits | At::Fraction if matches!(byte, b'e' | b'E') => At::E,
            At::Point | At::E | At::ESign => At::Bad,
            At::Zero | At::Digits | At::Fraction | At::Exponent => self.structure(At::After, byte),
            at => self.structure(at, byte),
        }
    }

    fn structure(&mut self, at: At, byte: u8) -> At {
        match (at, byte) {
            (at, b' ' | b'\t' | b'\r' | b'\n') => at,
            (At::FirstItem, b']') | (At::FirstKey, b'}') => self.close(byte),
            (At::FirstKey | At::Key, b'"') => {
                self.key = true;
                At::Text
            }
            (At::Colon, b':') => At::Value,
            (At::Value | At::FirstItem, _) => self.value(byte),
            (At::After, b'}' | b']') => self.close(byte),
            (At::After, b',') => match self.open.last() {
                Some(true) => At::Key,
                Some(false) => At::Value,
                None => At::Bad,
            },
            _ => At::Bad,
        }
    }

    fn value(&mut self, byte: u8) -> At {
        match byte {
            b'{' | b'[' if self.open.len() < DEPTH_LIMIT => {
                self.open.push(byte == b'{');
                if byte == b'{' { At::FirstKey } else { At::FirstItem }
            }
            b'"' => {
                self.key = false;
                At::Text
            }
            b'-' => At::Minus,
            b'0' => At::Zero,
            b'1'..=b'9' => At::Digits,
            b't' => At::Word(b"rue"),
            b'f' => At::Word(b"alse"),
            b'n' => At::Word(b"ull"),
            _ => At::Bad,
        }
    }

    fn close(&mut self, byte: u8) -> At {
        if self.open.pop() == Some(byte == b'}') { At::After } else { At::Bad }
    }

    fn text(&mut self, byte: u8) -> At {
        if self.due > 0 {
            if !(self.low..=self.high).contains(&byte) {
                return At::Bad;
            }
            self.due -= 1;
            (self.low, self.high) = (0x80, 0xbf);
            return At::Text;
        }
        match byte {
            b'"' if self.key => At::Colon,
            b'"' => At::After,
            b'\\' => At::Escape,
            0x20..=0x7f => At::Text,
            0xc2..=0xf4 => {
                // The first continuation byte is bounded against overlong forms, surrogates and
                // beyond U+10FFFF.
                (self.due, self.low, self.high) = match byte {
                    0xc2..=0xdf => (1, 0x80, 0xbf),
                    0xe0 => (2, 0xa0, 0xbf),
                    0xed => (2, 0x80, 0x9f),
                    0xe1..=0xef => (2, 0x80, 0xbf),
                    0xf0 => (3, 0x90, 0xbf),
                    0xf4 => (3, 0x80, 0x8f),
                    _ => (3, 0x80, 0xbf),
                };
                At::Text
            }
            _ => At::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ours(bytes: &[u8]) -> bool {
        let mut validator = Validator::default();
        validator.push(bytes);
        validator.valid()
    }

    fn theirs(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    }

    #[test]
    fn agrees_with_serde_json_on_the_corners() {
        for text in [
            "{}",
            "[]",
            "[1,2]",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" : [ ] }",
            "0",
            "-0",
            "01",
            "1.",
            "1.5e+3",
            "1e",
            ".5",
            "tru",
            "true",
            "\"\\u12g4\"",
            "\"\\u1234\"",
            "\"a\tb\"",
            "{\"a\":1}{",
            "{\"a\":1} ",
            "",
            " ",
            "[[[]]",
            "{1:2}",
            "\"\u{7f}é\u{10ffff}\"",
            "nullx",
            "[1 2]",
            "{\"a\" 1}",
            "-",
            "1E5",
            "[,1]",
            "{,}",
        ] {
            assert_eq!(ours(text.as_bytes()), theirs(text.as_bytes()), "{text}");
        }
        for bytes in [
            &b"\"\xc0\x80\""[..],
            b"\"\xed\xa0\x80\"",
            b"\"\xf4\x90\x80\x80\"",
            b"\"\xe2\x82\"",
            b"\"\xf0\x9f\x98\x80\"",
        ] {
            assert_eq!(ours(bytes), theirs(bytes), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_noise(text in r#"[\[\]{}:,"\\ntruefals0-9eE.+\-u é\x00-\x20]{0,24}"#) {
            prop_assert_eq!(ours(text.as_bytes()), theirs(text.as_bytes()));
        }

        #[test]
        fn agrees_with_serde_json_on_a_mutated_line(at in 0usize..120, byte in any::<u8>(), cut in 0usize..120) {
            let mut line = br#"{"type":"record","record":{"stream":"a","data":{"x":[1,-2.5e3,true,null,"\u20ac \n"],"y":{}},"t":"z"}}"#.to_vec();
            let at = at % line.len();
            line[at] = byte;
            prop_assert_eq!(ours(&line), theirs(&line));
            line.truncate(cut);
            prop_assert_eq!(ours(&line), theirs(&line));
        }
    }
}
