//! Raw messages through the tracker: its output decodes without damage, and its state is read back.
#![no_main]

use synctop::engine::tracker::memory::Memory;
use synctop::engine::tracker::{Tracker, wire::WireGeneration};
use synctop_core::protocol::LineEnd;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (form, bytes) = match bytes.split_first() {
        Some((first, rest)) if first % 2 == 0 => (WireGeneration::Trace, rest),
        Some((_, rest)) => (WireGeneration::Progress, rest),
        None => return,
    };
    let mut memory = Memory::default();
    // Two attempts: the second continues from the state of the first.
    for attempt in 0..2 {
        let mut tracker = Tracker::new(form, memory, 1_763_600_000_000);
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let mut out = Vec::new();
            tracker.line(line, LineEnd::Newline, 1_763_600_000_000 + at as i64 * 1_000, &mut out);
            assert!(out.is_empty() || out.ends_with(b"\n"), "{}", String::from_utf8_lossy(&out));
        }
        let state = tracker.state();
        memory = Memory::read(state.get()).unwrap_or_else(|error| panic!("attempt {attempt}: {error}: {state}"));
    }
});
