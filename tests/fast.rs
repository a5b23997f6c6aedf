//! The fast path against the serde decoder, and parallel reading against reading line by line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "../fuzz/oracle.rs"]
mod oracle;

use common::{bytes, corpus, corpus_root, fixture_root, fixtures, logs_of_tools, reduced, unpack};
use oracle::assert_decoders_agree;
use proptest::prelude::*;
use proptest::sample::Index;
use std::io::Write as _;
use synctop::engine::simulator::generator::{LogKind, Plan, write};
use synctop::engine::tracker::wire::WireGeneration;
use synctop::net::source::decompress::{SavedInput, open_saved};
use synctop::net::source::frames::FrameWriter;
use synctop::net::timeline::chunks::Chunks;
use synctop::net::timeline::parallel;
use synctop_core::protocol::{Decoder, LINE_LIMIT};
use synctop_core::reduce::Progress;

fn simulated(scenario: LogKind, generation: WireGeneration, seed: u64) -> Vec<u8> {
    let plan = Plan {
        scenario,
        generation,
        seed,
        size: 400_000,
        streams: 30,
        record_size: 300,
        errors: 400_000,
        malformed: 20_000,
        attempts: 2,
        begin: 1_763_625_600_000,
        pace: None,
    };
    let mut log = Vec::new();
    write(&plan, &mut log).unwrap();
    log
}

fn in_parallel(log: &[u8], workers: usize) -> Progress {
    let mut progress = Progress::default();
    parallel::reduce(Chunks::new(log, 0), &Decoder::default(), &mut progress, workers).unwrap();
    progress.close(None);
    progress
}

#[test]
fn fast_path_agrees_with_serde_on_every_recording() {
    for (folder, path) in fixtures().into_iter().chain(corpus().unwrap_or_default()) {
        let log = unpack(&path);
        println!("{folder}/{}", path.display());
        // The two largest recordings repeat themselves.
        assert_decoders_agree(&log[..log.len().min(20_000_000)]);
    }
}

#[test]
fn fast_path_agrees_with_serde_on_output_of_connectors_taps_and_tools() {
    for path in logs_of_tools(&corpus_root().unwrap_or_else(fixture_root)) {
        let log = unpack(&path);
        assert_decoders_agree(&log[..log.len().min(4_000_000)]);
    }
}

#[test]
fn fast_path_agrees_with_serde_on_damaged_simulated_logs() {
    for scenario in [LogKind::Read, LogKind::Sync] {
        for generation in [WireGeneration::Trace, WireGeneration::Progress] {
            assert_decoders_agree(&simulated(scenario, generation, 7));
        }
    }
}

#[test]
fn parallel_reading_equals_reading_line_by_line() {
    for (_, path) in fixtures() {
        let log = unpack(&path);
        assert!(in_parallel(&log, 3) == reduced(&log), "{}", path.display());
    }
    for path in logs_of_tools(&fixture_root()) {
        // Large enough for more than one chunk.
        let log = unpack(&path).repeat(12);
        assert!(in_parallel(&log, 3) == reduced(&log), "{}", path.display());
    }
    for generation in [WireGeneration::Trace, WireGeneration::Progress] {
        let log = simulated(LogKind::Read, generation, 3).repeat(8);
        assert!(in_parallel(&log, 1) == reduced(&log));
        assert!(in_parallel(&log, 4) == reduced(&log));
    }
}

#[test]
fn frames_that_several_threads_decompress_are_read_in_their_order() {
    let log = simulated(LogKind::Sync, WireGeneration::Trace, 5).repeat(12);
    let mut writer = FrameWriter::new(Vec::new(), 1).unwrap();
    writer.write_all(&log).unwrap();
    let compressed = writer.finish().unwrap();
    for threads in [1, 2, 4] {
        let SavedInput { input, frames } = open_saved(std::io::Cursor::new(compressed.clone()), threads).unwrap();
        assert_eq!(frames.is_some(), threads == 4);
        let mut progress = Progress::default();
        let chunks = Chunks::new(input, 0).with_frames(frames);
        parallel::reduce(chunks, &Decoder::default(), &mut progress, threads).unwrap();
        progress.close(None);
        assert!(progress == reduced(&log), "{threads} threads");
    }
}

#[test]
fn lines_around_the_length_limit_are_read_the_same_in_parallel() {
    let line = |length: usize| {
        let mut line = br#"{"type":"record","record":{"stream":"a","data":""#.to_vec();
        line.resize(length, b'x');
        line.extend_from_slice(b"\"}}\n");
        line
    };
    let mut log = Vec::new();
    for length in
        [100, 600_000, 3_000_000, LINE_LIMIT - 10, LINE_LIMIT + 100_000, LINE_LIMIT + 600_000, 70, LINE_LIMIT * 2]
    {
        log.extend(line(length));
        log.extend_from_slice(b"{\"type\":\"log\",\"log\":{\"level\":\"info\",\"message\":\"between\"}}\n");
    }
    log.extend_from_slice(b"{\"type\":\"eof\",\"eof\":{");
    let slow = reduced(&log);
    assert_eq!(slow.input.lines, 17);
    assert!(in_parallel(&log, 2) == slow);
}

#[test]
fn bytes_read_before_a_read_error_are_reduced() {
    struct Breaks<'a>(&'a [u8]);
    impl std::io::Read for Breaks<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::Error::other("broken"));
            }
            std::io::Read::read(&mut self.0, buffer)
        }
    }
    let log = bytes("stripe-progress/06-rate-limit.ndjson.zst");
    let mut progress = Progress::default();
    let error = parallel::reduce(Chunks::new(Breaks(&log), 0), &Decoder::default(), &mut progress, 2).unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert_eq!(progress.input.bytes, log.len() as u64);
}

#[test]
fn line_with_a_repeated_key_is_left_to_serde() {
    assert_decoders_agree(br#"{"type":"progress","progress":{"errors":[],"errors":[],"streams":{"b":{"status":"started"},"a":{"status":"started"}}}}"#);
}

#[test]
fn panic_of_a_worker_ends_parallel_reading() {
    struct Panics(u32);
    impl parallel::Sink for Panics {
        fn take(&mut self, _: &mut synctop_core::reduce::Batch, _: &Decoder) -> bool {
            self.0 += 1;
            assert!(self.0 < 3, "panic of the test");
            true
        }
    }
    let log = simulated(LogKind::Read, WireGeneration::Trace, 3).repeat(20);
    let all = std::panic::catch_unwind(|| {
        parallel::reduce(Chunks::new(log.as_slice(), 0), &Decoder::default(), &mut Panics(0), 3)
    });
    assert!(all.is_err());
}

/// Sample lines of the fixtures: at most two per file with the same first 60 characters.
fn samples() -> Vec<String> {
    let mut samples: Vec<String> = Vec::new();
    let wild = std::fs::read_dir(fixture_root().join("wild")).unwrap().flatten().map(|entry| entry.path());
    let all = fixtures().into_iter().map(|(_, path)| path).chain(logs_of_tools(&fixture_root())).chain(wild);
    for path in all {
        let log = unpack(&path);
        let lines = log.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        let mut kinds = std::collections::HashMap::<String, u32>::new();
        for line in lines.filter(|line| line.len() < 4_000) {
            let seen = kinds.entry(line.chars().take(60).collect()).or_default();
            *seen += 1;
            if *seen <= 2 {
                samples.push(line.to_owned());
            }
        }
    }
    samples
}

/// Mutation of a line.
#[derive(Debug, Clone)]
enum Mutation {
    Sorted,
    Spaced,
    Flip(Index, u8),
    Cut(Index),
    Remove(Index),
    /// Writes the first character of a key or string as an escape.
    Escape(Index),
    /// Repeats the text between two commas.
    Double(Index),
    Swap(Index, &'static str),
}

fn change() -> impl Strategy<Value = Mutation> {
    let words = prop::sample::select(vec![
        "null",
        "0",
        "-1",
        "01",
        "1.5",
        "1e400",
        "99999999999999999999",
        "\"\"",
        "\"\\ud800\"",
        "[]",
        "{}",
        "true",
        "[1,]",
        "{\"gte\":1}",
        "{\"gte\":\"2026-02-30T00:00:00.000Z\",\"lt\":\"2026-11-20T08:00:00.000Z\"}",
        "\"complete\"",
    ]);
    prop_oneof![
        Just(Mutation::Sorted),
        Just(Mutation::Spaced),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Flip(at, byte)),
        any::<Index>().prop_map(Mutation::Cut),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Escape),
        any::<Index>().prop_map(Mutation::Double),
        (any::<Index>(), words).prop_map(|(at, word)| Mutation::Swap(at, word)),
    ]
}

fn mutate(line: &mut Vec<u8>, change: &Mutation) {
    if line.is_empty() {
        return;
    }
    let places = |line: &[u8], byte: u8| -> Vec<usize> { positions_of(line, byte) };
    match change {
        Mutation::Sorted => {
            if let Ok(value) = serde_json::from_slice::<serde_json::Value>(line) {
                *line = serde_json::to_vec(&value).unwrap();
            }
        }
        Mutation::Spaced => {
            *line = String::from_utf8_lossy(line).replace("\":", "\": ").replace(",\"", ", \"").into_bytes();
        }
        Mutation::Flip(at, byte) => {
            let at = at.index(line.len());
            line[at] = if *byte == b'\n' { b' ' } else { *byte };
        }
        Mutation::Cut(at) => line.truncate(at.index(line.len())),
        Mutation::Remove(at) => drop(line.remove(at.index(line.len()))),
        Mutation::Escape(at) => {
            let quotes = places(line, b'"');
            if let Some(quote) = quotes.get(at.index(quotes.len().max(1)))
                && let Some(byte) = line.get(quote + 1).copied().filter(u8::is_ascii_alphanumeric)
            {
                line.splice(quote + 1..quote + 2, format!("\\u00{byte:02x}").into_bytes());
            }
        }
        Mutation::Double(at) => {
            let commas = places(line, b',');
            if commas.len() > 1 {
                let which = at.index(commas.len() - 1);
                let part = line[commas[which]..commas[which + 1]].to_vec();
                line.splice(commas[which]..commas[which], part);
            }
        }
        Mutation::Swap(at, word) => {
            let colons = places(line, b':');
            if let Some(colon) = colons.get(at.index(colons.len().max(1))) {
                let end = line[*colon..]
                    .iter()
                    .position(|byte| matches!(byte, b',' | b'}'))
                    .map_or(line.len(), |n| colon + n);
                line.splice(colon + 1..end, word.bytes());
            }
        }
    }
}

fn positions_of(line: &[u8], byte: u8) -> Vec<usize> {
    line.iter().enumerate().filter(|(_, have)| **have == byte).map(|(at, _)| at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn fast_path_agrees_with_serde_on_mutated_lines(
        picks in prop::collection::vec((any::<Index>(), prop::collection::vec(change(), 0..4)), 1..6),
    ) {
        thread_local! { static SAMPLES: Vec<String> = samples(); }
        let mut log = Vec::new();
        SAMPLES.with(|samples| {
            for (at, changes) in &picks {
                let mut line = samples[at.index(samples.len())].clone().into_bytes();
                for change in changes {
                    mutate(&mut line, change);
                }
                log.extend(line);
                log.push(b'\n');
            }
        });
        assert_decoders_agree(&log);
    }
}
