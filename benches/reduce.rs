//! Decoding and reducing, by kind of log: `cargo bench --bench reduce`.
#![allow(clippy::unwrap_used, reason = "a bench")]

use criterion::{BatchSize, Criterion, Throughput};
use synctop::engine::simulate::{Generation, Plan, Scenario, write};
use synctop::net::chunks::Chunks;
use synctop::net::parallel;
use synctop::progress::{Batch, Progress};
use synctop::protocol::{Decoder, Line, LineEnd};

fn simulated(scenario: Scenario, generation: Generation) -> Vec<u8> {
    let plan = Plan {
        scenario,
        generation,
        seed: 1,
        size: 16_000_000,
        streams: 60,
        record_size: 800,
        errors: 50,
        malformed: 0,
        attempts: 1,
        begin: 1_763_625_600_000,
        pace: None,
    };
    let mut log = Vec::new();
    write(&plan, &mut log).unwrap();
    log
}

/// Every line by the way that knows any line.
fn slowly(log: &[u8]) -> usize {
    let decoder = Decoder::default();
    let lines = log.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|bytes| {
            let line =
                Line { bytes: bytes.trim_ascii_end(), length: bytes.len() as u64, end: LineEnd::Newline, huge: None };
            decoder.decode_slowly(&line).is_some()
        })
        .count()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let logs = [
        ("read", simulated(Scenario::Read, Generation::Trace)),
        ("sync trace", simulated(Scenario::Sync, Generation::Trace)),
        ("sync progress", simulated(Scenario::Sync, Generation::Progress)),
    ];
    let decoder = Decoder::default();
    for (name, log) in &logs {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function("decode slowly", |b| b.iter(|| slowly(log)));
        group.bench_function("decode", |b| b.iter(|| Batch::of(&decoder, log)));
        group.bench_function("apply", |b| {
            b.iter_batched(
                || (Progress::default(), Batch::of(&decoder, log)),
                |(mut progress, batch)| {
                    progress.apply_batch(batch, &decoder);
                    progress
                },
                BatchSize::LargeInput,
            );
        });
        for workers in [1, 2] {
            group.bench_function(format!("reduce, {workers} threads"), |b| {
                b.iter(|| {
                    let mut progress = Progress::default();
                    parallel::reduce(Chunks::new(log.as_slice(), 0), &decoder, &mut progress, workers).unwrap();
                    progress
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
