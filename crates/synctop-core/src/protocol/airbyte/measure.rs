//! Length of data as Airbyte's platform measures it.

/// Returns the length of data as Airbyte's platform measures it: UTF-16 units of the compact JSON
/// text, in which only control characters are written as `\u` escapes.
pub(super) fn measure(data: &str) -> u64 {
    let bytes = data.as_bytes();
    // Spaces between tokens do not count. A writer that prints them prints one after the first
    // colon.
    if memchr::memmem::find(bytes, b"\":").is_some_and(|at| bytes.get(at + 2) == Some(&b' ')) {
        return measure(&without_spaces(data));
    }
    if memchr::memchr(b'\\', bytes).is_none() && bytes.is_ascii() {
        return bytes.len() as u64;
    }
    let continuations = bytes.iter().filter(|byte| byte.cast_signed() < -0x40).count();
    let astral = bytes.iter().filter(|byte| **byte >= 0xf0).count();
    let mut length = bytes.len() - continuations + astral;
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
