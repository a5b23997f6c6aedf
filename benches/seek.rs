//! Time to index a log and to seek random instants of it: `cargo bench --bench seek -- FILE`.
//! Without a file, a log of 200 MB is simulated. Prints figures and checks no bound.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "a bench"
)]

use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop::engine::simulator::generator::{LogKind, Plan, write};
use synctop::engine::tracker::wire::WireGeneration;
use synctop::net::source::sidecar::Sidecar;
use synctop::net::timeline::byte_store::ByteStore;
use synctop::net::timeline::indexer::{Indexer, SavedLog};
use synctop::net::timeline::seek::{Seeker, Step};
use synctop_core::protocol::Decoder;
use synctop_core::reduce::Target;
use synctop_core::reduce::history::{History, Mark};

/// Number of random seeks.
const SEEKS: usize = 1_000;

fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0)
}

fn print_percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<28} p50 {:>7.2} ms   p99 {:>7.2} ms   max {:>7.2} ms", at(0.5), at(0.99), at(1.0));
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let path = given.map_or_else(
        || {
            let path = folder.path().join("log.ndjson");
            let plan = Plan {
                scenario: LogKind::Read,
                generation: WireGeneration::Trace,
                seed: 1,
                size: 200_000_000,
                streams: 60,
                record_size: 800,
                errors: 1_000,
                malformed: 10,
                attempts: 2,
                begin: 1_763_625_600_000,
                pace: None,
            };
            write(&plan, &mut std::io::BufWriter::new(std::fs::File::create(&path).unwrap())).unwrap();
            path
        },
        PathBuf::from,
    );
    let store = Arc::new(ByteStore::default());
    let history = Arc::new(Mutex::new(History::new()));
    let mut indexer = Indexer::new(Arc::clone(&store), Arc::clone(&history));
    let began = Instant::now();
    indexer.run(vec![SavedLog::open(&path).unwrap()], Sidecar::default(), &Decoder::default()).unwrap();
    let took = began.elapsed();
    let (end, keys, size, bins) = {
        let history = history.lock();
        (history.end(), history.keys().len(), history.size(), history.bins().len())
    };
    let streams = indexer.progress.streams.len();
    println!(
        "{}: {:.3} GB, {} lines, {streams} streams, {} errors",
        path.display(),
        end.bytes as f64 / 1e9,
        end.lines,
        indexer.progress.errors.total
    );
    println!("index {:.3} s, {keys} snapshots, {bins} bins, {:.1} MiB", took.as_secs_f64(), size as f64 / 1_048_576.0);
    println!("memory now {:.1} MB, at most {:.1} MB", memory("VmRSS") as f64 / 1e3, memory("VmHWM") as f64 / 1e3);
    drop(indexer);
    let mut seeker = Seeker::new(store, history, Decoder::default());
    let mut random_state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        random_state
    };
    let mut by_bytes = Vec::new();
    let mut errors = Vec::new();
    for _ in 0..SEEKS {
        let began = Instant::now();
        seeker.go(Target::Bytes(random() % end.bytes)).unwrap();
        by_bytes.push(began.elapsed());
    }
    for _ in 0..100 {
        seeker.go(Target::Bytes(random() % end.bytes)).unwrap();
        let began = Instant::now();
        seeker.step(Step::Mark(Mark::Error, random() % 2 == 0)).unwrap();
        errors.push(began.elapsed());
    }
    print_percentiles("a random instant", by_bytes);
    print_percentiles("next or previous error", errors);
    let mut back = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        seeker.step(Step::Lines(-1)).unwrap();
        back.push(began.elapsed());
    }
    print_percentiles("one line back", back);
    println!("memory at most {:.1} MB", memory("VmHWM") as f64 / 1e3);
}
