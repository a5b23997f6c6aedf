//! Masking by shape: a secret is found at any place of any text, and over several lines.
#![no_main]

use synctop_core::protocol::mask;

const KEY: &str = "sk_live_51HqLyjWDarjtT1zdp7dcXq8vT3x";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (place, bytes) = match bytes.split_first() {
        Some((first, rest)) => (usize::from(*first), rest),
        None => return,
    };
    let text = String::from_utf8_lossy(bytes);
    let _ = mask::secrets(&text);
    let at = (0..=text.len()).rev().find(|at| *at <= place.min(text.len()) && text.is_char_boundary(*at)).unwrap_or(0);
    // Words around it keep it a word of its own.
    let with_key = format!("{} {KEY} {}", &text[..at], &text[at..]);
    // A part of the key in the text itself is none.
    if text.contains("q8vT3x") {
        return;
    }
    let masked = mask::secrets(&with_key);
    assert!(!masked.contains("q8vT3x") && !masked.contains(KEY), "{masked}");
    // Line by line.
    let mut open = mask::OpenSecret::default();
    for line in with_key.lines() {
        let shown = open.mask(line);
        assert!(!shown.contains(KEY), "{shown}");
    }
});
