//! Invariants of any bytes: the fast path equals the serde decoder, and a batch of lines equals
//! the lines one by one. Used by the fuzz target, and by `tests/fast.rs` with a bounded run.

use synctop_core::protocol::{Decoder, Line, LineEnd, Splitter};
use synctop_core::reduce::{Batch, Progress};

/// Panics if the two decoders differ on any line of `bytes`, or the batch on all of them.
pub fn assert_decoders_agree(bytes: &[u8]) {
    let decoder = Decoder::default();
    for body in bytes.split(|byte| *byte == b'\n') {
        let line = Line { bytes: body, length: body.len() as u64 + 1, end: LineEnd::Newline, huge: None };
        let (fast, slow) = (decoder.decode_in_place(&line), decoder.decode_slowly(&line));
        assert_eq!(fast, slow, "{}", String::from_utf8_lossy(body));
    }
    let mut one_by_one = Progress::default();
    let mut splitter = Splitter::default();
    let mut each = |line: Line| {
        let mut scratch = String::new();
        let decoded = match decoder.decode_slowly(&line) {
            Some(decoded) => decoded,
            None => decoder.decode(&line, &mut scratch),
        };
        one_by_one.apply(&line, decoded, &decoder);
    };
    splitter.push(bytes, &mut each);
    splitter.finish(&mut each);
    let mut at_once = Progress::default();
    for mut batch in Batch::all(&decoder, bytes) {
        at_once.apply_batch(&mut batch, &decoder);
    }
    assert!(at_once == one_by_one, "{}", String::from_utf8_lossy(bytes));
}
