//! Skips and validates JSON values, as strictly as `serde_json` validates an ignored value.
//!
//! The bytes are known to be UTF-8. Whitespace between tokens is refused: engines print none, and
//! the slow path reads it.

use super::simd;

/// Deeper nesting is left to the slow way.
pub(super) const DEPTH: u32 = 63;

/// The place behind the value that begins at `at`.
#[inline]
pub(super) fn value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'{' | b'[' => simd::container(bytes, at).unwrap_or_else(|| container(bytes, at)),
        _ => scalar(bytes, at),
    }
}

/// Anything that is no object and no array.
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

/// The place behind an object or array, byte by byte.
pub(super) fn container(bytes: &[u8], mut at: usize) -> Option<usize> {
    // One bit a level, the innermost lowest: an object has a 1.
    let mut open: u64 = 0;
    let mut depth: u32 = 0;
    loop {
        // A value begins here.
        match bytes.get(at)? {
            byte @ (b'{' | b'[') => {
                let object = *byte == b'{';
                if depth >= DEPTH {
                    return None;
                }
                (open, depth, at) = (open << 1 | u64::from(object), depth + 1, at + 1);
                if *bytes.get(at)? != if object { b'}' } else { b']' } {
                    if object {
                        at = key(bytes, at)?;
                    }
                    continue;
                }
            }
            _ => at = scalar(bytes, at)?,
        }
        // A value ended here (or an empty container is about to).
        loop {
            match (bytes.get(at)?, open & 1 == 1) {
                (b',', true) => {
                    at = key(bytes, at + 1)?;
                    break;
                }
                (b',', false) => {
                    at += 1;
                    break;
                }
                (b'}', true) | (b']', false) => {
                    (open, depth, at) = (open >> 1, depth - 1, at + 1);
                    if depth == 0 {
                        return Some(at);
                    }
                }
                _ => return None,
            }
        }
    }
}

/// The place behind a key and its colon.
#[inline]
fn key(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let (end, _) = string(bytes, at + 1)?;
    (*bytes.get(end)? == b':').then_some(end + 1)
}

/// The place behind the closing quote of a string whose body begins at `at`, and whether it has
/// escapes.
#[inline]
pub(super) fn string(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut at = at;
    let mut escaped = false;
    loop {
        at = special(bytes, at)?;
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

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The next quote, backslash or control character.
#[inline]
fn special(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some((eight, _)) = bytes.get(at..)?.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        // A byte is zero: exact for the lowest one, which is the one that is asked for.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | control;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).map(|found| at + found)
}

/// The place behind an escape whose letter stands at `at`.
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
