//! Tokens of JSON: strings, numbers, literals, keys.
//!
//! Functions take the offset of a token, return the offset after it, and return `None` for invalid
//! or unusual input.

/// Lowest bit of each byte.
const LOW_BITS: u64 = u64::MAX / 255;

/// Highest bit of each byte.
const HIGH_BITS: u64 = LOW_BITS << 7;

/// Maximum nesting. Deeper values are left to the slow path.
pub(super) const MAX_DEPTH: u32 = 63;

/// Skips a string, number, `true`, `false` or `null`.
#[inline]
pub(super) fn scalar(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    match rest.first()? {
        b'"' => string(bytes, at + 1).map(|(end, _)| end),
        b'-' | b'0'..=b'9' => number(bytes, at),
        b't' => (rest.first_chunk() == Some(b"true")).then_some(at + 4),
        b'f' => (rest.first_chunk() == Some(b"false")).then_some(at + 5),
        b'n' => (rest.first_chunk() == Some(b"null")).then_some(at + 4),
        _ => None,
    }
}

/// Skips a key and its colon.
#[inline]
pub(super) fn key(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let (end, _) = string(bytes, at + 1)?;
    (*bytes.get(end)? == b':').then_some(end + 1)
}

/// Skips a string from the offset after its opening quote. Also returns true if it has escapes.
#[inline]
pub(super) fn string(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut at = at;
    let mut escaped = false;
    loop {
        at = next_special(bytes, at)?;
        match bytes.get(at)? {
            b'"' => return Some((at + 1, escaped)),
            b'\\' => {
                escaped = true;
                at = escape(bytes, at + 1)?;
            }
            _ => return None,
        }
    }
}

/// Returns the offset of the next quote, backslash or control character.
#[inline]
fn next_special(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some((eight, _)) = bytes.get(at..)?.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        // Marks zero bytes. Higher bytes may be marked falsely, but only the lowest mark is used.
        let zero = |word: u64| word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS;
        let control = word.wrapping_sub(LOW_BITS * 0x20) & !word & HIGH_BITS;
        let found = zero(word ^ (LOW_BITS * 0x22)) | zero(word ^ (LOW_BITS * 0x5c)) | control;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).map(|found| at + found)
}

/// Skips an escape from the offset of its letter.
pub(super) fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => {
            let digits = bytes.get(at + 1..at + 5)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
        }
        _ => None,
    }
}

/// Skips a number.
#[inline]
fn number(bytes: &[u8], mut at: usize) -> Option<usize> {
    let digits = |at: usize| {
        let rest = bytes.get(at..)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(at + count)
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = digits(at)?;
    }
    Some(at)
}
