//! Counts, coverage and shares never fall within an attempt, unless the screen shows the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../../../tests/common/logs.rs"]
mod logs;

use logs::{corpus, fixtures, unpack};
use std::collections::BTreeMap;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::{Progress, Reducer};

/// Known figures after a line.
struct Figures {
    /// Number of earlier runs; attempt.
    of: (u64, u32),
    /// Number of streams with known ranges. The overall coverage may fall when it changes.
    ranged: usize,
    values: BTreeMap<String, f64>,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
fn figures(progress: &Progress) -> Figures {
    let mut values = BTreeMap::new();
    let mut add = |name: String, value: Option<f64>| {
        if let Some(value) = value {
            values.insert(name, value);
        }
    };
    add("+ATTEMPT".into(), progress.attempt_records().map(|count| count as f64));
    add("coverage".into(), progress.coverage());
    for stream in &progress.streams {
        add(format!("{}: +ATTEMPT", stream.label), stream.records.attempt.get().map(|count| count as f64));
        add(format!("{}: share", stream.label), progress.share(stream));
    }
    let ranged = progress.streams.iter().filter(|stream| stream.coverage().is_some()).count();
    Figures { of: (progress.runs.total, progress.attempts), ranged, values }
}

#[test]
fn figures_never_fall_within_an_attempt() {
    let mut fallen = Vec::new();
    for (folder, path) in corpus().unwrap_or_else(fixtures) {
        let bytes = unpack(&path);
        if bytes.len() > 3_000_000 {
            continue;
        }
        let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
        let mut reducer = Reducer::new(Decoder::default());
        let mut before: Option<Figures> = None;
        for (line, bytes) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            reducer.push(bytes);
            let now = figures(&reducer.progress);
            // An end message has the engine's count of its call only. The call may have followed a
            // killed one without a marker between them.
            let ended = reducer.progress.attempt.end.is_some();
            if let Some(before) = before.filter(|before| before.of == now.of && !ended) {
                for (what, value) in &before.values {
                    let told = what == "coverage" && before.ranged != now.ranged;
                    match now.values.get(what) {
                        _ if told => {}
                        Some(now) if *now >= value - 1e-9 => {}
                        now => fallen.push(format!("{name}:{} {what} {value} -> {now:?}", line + 1)),
                    }
                }
            }
            before = Some(now);
        }
    }
    assert!(fallen.is_empty(), "{} fell:\n{}", fallen.len(), fallen[..fallen.len().min(60)].join("\n"));
}
