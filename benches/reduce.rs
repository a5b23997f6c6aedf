//! Time to decode and reduce logs of several kinds: `cargo bench --bench reduce`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench")]

use parking_lot::Mutex;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use std::io::Read;
use synctop::engine::simulator::generator::{LogKind, Plan, write};
use synctop::engine::tracker::wire::WireGeneration;
use synctop::net::source::decompress;
use synctop::net::source::sidecar::Sidecar;
use synctop::net::timeline::byte_store::ByteStore;
use synctop::net::timeline::chunks::Chunks;
use synctop::net::timeline::indexer::{Indexer, SavedLog};
use synctop::net::timeline::parallel;
use synctop::net::timeline::seek::Seeker;
use synctop_core::protocol::{Decoder, Line, LineEnd};
use synctop_core::reduce::history::History;
use synctop_core::reduce::{Batch, Progress, Target};

fn simulated(scenario: LogKind, generation: WireGeneration) -> Vec<u8> {
    let plan = Plan {
        scenario,
        generation,
        seed: 1,
        size: 16_000_000,
        streams: 60,
        record_size: 800,
        errors: 1_000,
        malformed: 0,
        attempts: 1,
        begin: 1_763_625_600_000,
        pace: None,
    };
    let mut log = Vec::new();
    write(&plan, &mut log).unwrap();
    log
}

/// Decodes each line with the serde decoder. Returns the number of decoded lines.
fn decode_all_slowly(log: &[u8]) -> usize {
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

/// Measures seeks to scattered positions of a log of 16 MB.
fn seek(criterion: &mut Criterion, log: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson");
    std::fs::write(&path, log).unwrap();
    let (store, history) = (Arc::new(ByteStore::default()), Arc::new(Mutex::new(History::new())));
    let mut indexer = Indexer::new(Arc::clone(&store), Arc::clone(&history));
    indexer.run(vec![SavedLog::open(&path).unwrap()], Sidecar::default(), &Decoder::default()).unwrap();
    let mut seeker = Seeker::new(store, history, Decoder::default());
    let mut place = 0;
    criterion.bench_function("seek", |b| {
        b.iter(|| {
            place = (place + 7_654_321) % log.len() as u64;
            seeker.go(Target::Bytes(place)).unwrap();
        });
    });
}

/// Repeats the record lines of a recorded run, with a state after each thousand, up to 16 MB.
fn recorded(name: &str, kind: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let mut packed = decompress::open(std::fs::File::open(path).unwrap()).unwrap().1;
    let mut log = String::new();
    packed.read_to_string(&mut log).unwrap();
    let records: Vec<&str> = log.lines().filter(|line| line.starts_with(kind)).collect();
    let state = log.lines().find(|line| line.starts_with("{\"type\":\"STATE\"")).unwrap();
    let mut out = String::new();
    while out.len() < 16_000_000 {
        for line in records.iter().cycle().take(1000) {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(state);
        out.push('\n');
    }
    out.into_bytes()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let logs = [
        ("read", simulated(LogKind::Read, WireGeneration::Trace)),
        ("airbyte", recorded("airbyte/faker-read-small.ndjson.zst", "{\"type\":\"RECORD\"")),
        ("singer", recorded("singer/sdk-tap-small.ndjson.zst", "{\"type\":\"RECORD\"")),
        ("sync trace", simulated(LogKind::Sync, WireGeneration::Trace)),
        ("sync progress", simulated(LogKind::Sync, WireGeneration::Progress)),
    ];
    let decoder = Decoder::default();
    for (name, log) in &logs {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function("decode decode_all_slowly", |b| b.iter(|| decode_all_slowly(log)));
        group.bench_function("decode", |b| b.iter(|| Batch::all(&decoder, log).count()));
        group.bench_function("apply", |b| {
            b.iter_batched(
                || (Progress::default(), Batch::all(&decoder, log).collect::<Vec<_>>()),
                |(mut progress, batches)| {
                    for mut batch in batches {
                        progress.apply_batch(&mut batch, &decoder);
                    }
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
    seek(&mut criterion, &logs[0].1);
    criterion.final_summary();
}
