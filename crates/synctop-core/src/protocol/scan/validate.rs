//! Incremental JSON validation, for lines too long to be held in memory.
//!
//! Accepts exactly one value, as `serde_json` does (a test compares them), and checks UTF-8 in the
//! same pass.

/// Maximum nesting. Deeper lines are invalid, so that a hostile line cannot exhaust memory.
const DEPTH_LIMIT: usize = 1 << 16;

/// State of the parser: the next expected input, or the current token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParserState {
    Value,
    /// After `[`: expects a value or `]`.
    FirstItem,
    /// After `{`: expects a key or `}`.
    FirstKey,
    Key,
    Colon,
    /// After a complete value.
    After,
    /// In a string or key.
    InString,
    Escape,
    /// In a `\u` escape; number of hex digits left.
    Hex(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
    /// In `true`, `false` or `null`; bytes left.
    Literal(&'static [u8]),
    /// Invalid input; final.
    Bad,
}

/// Push parser that stores nothing but its state.
#[derive(Debug, Clone)]
pub struct Validator {
    at: ParserState,
    /// Open containers, outermost first; true for an object.
    open: Vec<bool>,
    /// True if the current string is a key.
    key: bool,
    /// Number of missing UTF-8 continuation bytes.
    missing: u8,
    /// Bounds of the next continuation byte, inclusive.
    low: u8,
    high: u8,
}

impl Default for Validator {
    fn default() -> Self {
        Self { at: ParserState::Value, open: Vec::new(), key: false, missing: 0, low: 0x80, high: 0xbf }
    }
}

impl Validator {
    /// Validates the next bytes of the line.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.at == ParserState::Bad {
                return;
            }
            self.at = self.step(byte);
        }
    }

    /// True if the input so far is one complete JSON value.
    #[must_use]
    pub fn valid(&self) -> bool {
        let complete = matches!(
            self.at,
            ParserState::After
                | ParserState::Zero
                | ParserState::Digits
                | ParserState::Fraction
                | ParserState::Exponent
        );
        complete && self.open.is_empty()
    }

    /// True if a value may come next.
    #[must_use]
    pub fn expects_value(&self) -> bool {
        matches!(self.at, ParserState::Value | ParserState::FirstItem)
    }

    fn step(&mut self, byte: u8) -> ParserState {
        match self.at {
            ParserState::InString => self.in_string(byte),
            ParserState::Escape => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => ParserState::InString,
                b'u' => ParserState::Hex(4),
                _ => ParserState::Bad,
            },
            ParserState::Hex(left) if byte.is_ascii_hexdigit() => {
                if left == 1 {
                    ParserState::InString
                } else {
                    ParserState::Hex(left - 1)
                }
            }
            ParserState::Literal([first, rest @ ..]) if *first == byte => {
                if rest.is_empty() {
                    ParserState::After
                } else {
                    ParserState::Literal(rest)
                }
            }
            ParserState::Hex(_) | ParserState::Literal(_) | ParserState::Bad => ParserState::Bad,
            ParserState::Minus => match byte {
                b'0' => ParserState::Zero,
                b'1'..=b'9' => ParserState::Digits,
                _ => ParserState::Bad,
            },
            ParserState::Point | ParserState::Fraction if byte.is_ascii_digit() => ParserState::Fraction,
            ParserState::E if matches!(byte, b'+' | b'-') => ParserState::ESign,
            ParserState::E | ParserState::ESign | ParserState::Exponent if byte.is_ascii_digit() => {
                ParserState::Exponent
            }
            ParserState::Digits if byte.is_ascii_digit() => ParserState::Digits,
            ParserState::Zero | ParserState::Digits if byte == b'.' => ParserState::Point,
            ParserState::Zero | ParserState::Digits | ParserState::Fraction if matches!(byte, b'e' | b'E') => {
                ParserState::E
            }
            ParserState::Point | ParserState::E | ParserState::ESign => ParserState::Bad,
            ParserState::Zero | ParserState::Digits | ParserState::Fraction | ParserState::Exponent => {
                self.between_tokens(ParserState::After, byte)
            }
            at => self.between_tokens(at, byte),
        }
    }

    fn between_tokens(&mut self, at: ParserState, byte: u8) -> ParserState {
        match (at, byte) {
            (at, b' ' | b'\t' | b'\r' | b'\n') => at,
            (ParserState::FirstItem, b']') | (ParserState::FirstKey, b'}') => self.close(byte),
            (ParserState::FirstKey | ParserState::Key, b'"') => {
                self.key = true;
                ParserState::InString
            }
            (ParserState::Colon, b':') => ParserState::Value,
            (ParserState::Value | ParserState::FirstItem, _) => self.value(byte),
            (ParserState::After, b'}' | b']') => self.close(byte),
            (ParserState::After, b',') => match self.open.last() {
                Some(true) => ParserState::Key,
                Some(false) => ParserState::Value,
                None => ParserState::Bad,
            },
            _ => ParserState::Bad,
        }
    }

    fn value(&mut self, byte: u8) -> ParserState {
        match byte {
            b'{' | b'[' if self.open.len() < DEPTH_LIMIT => {
                self.open.push(byte == b'{');
                if byte == b'{' { ParserState::FirstKey } else { ParserState::FirstItem }
            }
            b'"' => {
                self.key = false;
                ParserState::InString
            }
            b'-' => ParserState::Minus,
            b'0' => ParserState::Zero,
            b'1'..=b'9' => ParserState::Digits,
            b't' => ParserState::Literal(b"rue"),
            b'f' => ParserState::Literal(b"alse"),
            b'n' => ParserState::Literal(b"ull"),
            _ => ParserState::Bad,
        }
    }

    fn close(&mut self, byte: u8) -> ParserState {
        if self.open.pop() == Some(byte == b'}') { ParserState::After } else { ParserState::Bad }
    }

    fn in_string(&mut self, byte: u8) -> ParserState {
        if self.missing > 0 {
            if !(self.low..=self.high).contains(&byte) {
                return ParserState::Bad;
            }
            self.missing -= 1;
            (self.low, self.high) = (0x80, 0xbf);
            return ParserState::InString;
        }
        match byte {
            b'"' if self.key => ParserState::Colon,
            b'"' => ParserState::After,
            b'\\' => ParserState::Escape,
            0x20..=0x7f => ParserState::InString,
            0xc2..=0xf4 => {
                // The bounds of the first continuation byte exclude overlong forms, surrogates and
                // code points above U+10FFFF.
                (self.missing, self.low, self.high) = match byte {
                    0xc2..=0xdf => (1, 0x80, 0xbf),
                    0xe0 => (2, 0xa0, 0xbf),
                    0xed => (2, 0x80, 0x9f),
                    0xe1..=0xef => (2, 0x80, 0xbf),
                    0xf0 => (3, 0x90, 0xbf),
                    0xf4 => (3, 0x80, 0x8f),
                    _ => (3, 0x80, 0xbf),
                };
                ParserState::InString
            }
            _ => ParserState::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_valid_here(bytes: &[u8]) -> bool {
        let mut validator = Validator::default();
        validator.push(bytes);
        validator.valid()
    }

    fn is_valid_in_serde_json(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    }

    #[test]
    fn agrees_with_serde_json_on_corner_cases() {
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
            assert_eq!(is_valid_here(text.as_bytes()), is_valid_in_serde_json(text.as_bytes()), "{text}");
        }
        for bytes in [
            &b"\"\xc0\x80\""[..],
            b"\"\xed\xa0\x80\"",
            b"\"\xf4\x90\x80\x80\"",
            b"\"\xe2\x82\"",
            b"\"\xf0\x9f\x98\x80\"",
        ] {
            assert_eq!(is_valid_here(bytes), is_valid_in_serde_json(bytes), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_noise(text in r#"[\[\]{}:,"\\ntruefals0-9eE.+\-u é\x00-\x20]{0,24}"#) {
            prop_assert_eq!(is_valid_here(text.as_bytes()), is_valid_in_serde_json(text.as_bytes()));
        }

        #[test]
        fn agrees_with_serde_json_on_a_mutated_line(at in 0usize..120, byte in any::<u8>(), cut in 0usize..120) {
            let mut line = br#"{"type":"record","record":{"stream":"a","data":{"x":[1,-2.5e3,true,null,"\u20ac \n"],"y":{}},"t":"z"}}"#.to_vec();
            let at = at % line.len();
            line[at] = byte;
            prop_assert_eq!(is_valid_here(&line), is_valid_in_serde_json(&line));
            line.truncate(cut);
            prop_assert_eq!(is_valid_here(&line), is_valid_in_serde_json(&line));
        }
    }
}
