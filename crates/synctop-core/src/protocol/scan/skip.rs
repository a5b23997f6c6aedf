//! Skips and validates JSON values, as strictly as `serde_json` validates an ignored value.
//!
//! Functions take the offset of a token, return the offset after it, and return `None` for invalid
//! or unusual input. The bytes must be UTF-8. Whitespace between tokens is unusual: engines print
//! none, and the slow path reads it.

use super::simd;
use super::token::{MAX_DEPTH, key, scalar};

/// Skips any value.
#[inline]
pub(super) fn value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'{' | b'[' => simd::container(bytes, at).unwrap_or_else(|| container(bytes, at)),
        _ => scalar(bytes, at),
    }
}

/// Skips an object or array, byte by byte.
pub(super) fn container(bytes: &[u8], mut at: usize) -> Option<usize> {
    // One bit per level, the innermost level lowest; 1 for an object.
    let mut open: u64 = 0;
    let mut depth: u32 = 0;
    loop {
        // A value starts at `at`.
        match bytes.get(at)? {
            byte @ (b'{' | b'[') => {
                let object = *byte == b'{';
                if depth >= MAX_DEPTH {
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
        // A value ends before `at`, or an empty container at `at`.
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
