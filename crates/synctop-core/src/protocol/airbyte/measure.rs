//! Length of data as Airbyte's platform measures it.

/// Returns the length of data as Airbyte's platform measures it: UTF-16 units of the compact JSON
/// text, in which only control characters are written as `\u` escapes.
pub(super) fn measure(data: &str) -> u64 {
    // Spaces between tokens do not count. A writer that prints them prints one after the first
    // colon.
    let is_spaced = |at: usize| data.as_bytes().get(at + 2) == Some(&b' ');
    if data.find("\":").is_some_and(is_spaced) {
        return measure_compact(&without_spaces(data));
    }
    measure_compact(data)
}

/// Returns the same length of data without spaces between its tokens.
pub(super) fn measure_compact(data: &str) -> u64 {
    let bytes = data.as_bytes();
    let (mut length, mut has_escapes) = (bytes.len(), false);
    for chunk in bytes.chunks(128) {
        length = length + count(chunk, |byte| byte >= 0xf0) - count(chunk, |byte| byte.cast_signed() < -0x40);
        has_escapes |= count(chunk, |byte| byte == b'\\') > 0;
    }
    if !has_escapes {
        return length as u64;
    }
    for at in memchr::memmem::find_iter(bytes, b"\\u") {
        // `\\u` is an escaped backslash and a letter, no escape.
        let before = bytes.get(..at).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\').count();
        let control = bytes.get(at + 2..at + 5).is_some_and(|digits| digits == b"000" || digits == b"001");
        if before % 2 == 0 && !control {
            length -= 5;
        }
    }
    length as u64
}

/// Returns the number of such bytes in a chunk of at most 255. A sum of one byte, without an early
/// exit, lets the compiler count many bytes at once.
#[inline]
fn count(chunk: &[u8], is: impl Fn(u8) -> bool) -> usize {
    usize::from(chunk.iter().fold(0_u8, |sum, byte| sum.wrapping_add(u8::from(is(*byte)))))
}

/// Returns JSON without the spaces between its tokens.
fn without_spaces(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let kept = |c: &char| {
        let keep = quoted || !c.is_ascii_whitespace();
        quoted ^= *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        keep
    };
    json.chars().filter(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_measured_like_the_platform() {
        assert_eq!(measure(r#"{"id":1}"#), 8);
        assert_eq!(measure(r#"{"id": 1, "a": "x: \" y"}"#), r#"{"id":1,"a":"x: \" y"}"#.len() as u64);
        // A character of two bytes is one UTF-16 unit, one of four bytes is two.
        assert_eq!(measure(r#"{"a":"é"}"#), 9);
        assert_eq!(measure(r#"{"a":"😀"}"#), 10);
        // Only escaped control characters keep their six units.
        assert_eq!(measure(r#"{"a":"\u2603"}"#), 9);
        assert_eq!(measure(r#"{"a":"\\u2603"}"#), 15);
        assert_eq!(measure(r#"{"a":"\u0001"}"#), 14);
        assert_eq!(measure("{\"a\":\"\\ud83d\\ude00\"}"), 10);
    }
}
