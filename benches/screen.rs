//! What a picture costs at 200x50 with 5,000 streams, and what understanding a log costs.
//! `cargo bench --bench screen`; the figures that matter stand in README.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may fail")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Read;
use synctop::net::{Ingest, decompress};
use synctop::progress::{Link, Progress};
use synctop::protocol::Decoder;
use synctop::views::state::Column;
use synctop::views::{Look, Screen, Ui, draw};

const STREAMS: usize = 5_000;
const AREA: Rect = Rect { x: 0, y: 0, width: 200, height: 50 };

fn at(second: usize) -> String {
    format!("2026-11-20T08:{:02}:{:02}.000Z", second / 60 % 60, second % 60)
}

/// A progress line: every stream with a count, ranges and a status.
fn report(second: usize) -> String {
    let mut streams = String::new();
    for number in 0..STREAMS {
        let status = ["started", "started", "completed", "not_started", "skipped"][number % 5];
        let records = number * 10 + second * (number % 7);
        write!(
            streams,
            r#"{}"stream_{number:05}":{{"status":"{status}","state_count":{second},"record_count":{records},"total_range":{{"gte":"2023-01-01T00:00:00.000Z","lt":"2026-01-01T00:00:00.000Z"}},"completed_ranges":[{{"gte":"2023-01-01T00:00:00.000Z","lt":"2024-05-{:02}T00:00:00.000Z"}}]}}"#,
            if number > 0 { "," } else { "" },
            1 + second % 28,
        )
        .unwrap();
    }
    format!(
        r#"{{"type":"progress","progress":{{"started_at":"2026-11-20T08:00:00.000Z","elapsed_ms":{},"derived":{{}},"streams":{{{streams}}}}},"_ts":"{}"}}"#,
        second * 1000,
        at(second)
    ) + "\n"
}

fn big() -> Ingest {
    let mut ingest = Ingest::new(Decoder::default());
    for second in 0..30 {
        ingest.push(report(second).as_bytes());
    }
    for number in 0..40 {
        let line = format!(
            r#"{{"type":"stream_status","stream_status":{{"stream":"stream_{:05}","status":"error","error":"no {}"}},"_ts":"{}"}}"#,
            number * 5,
            "x".repeat(number),
            at(30)
        );
        ingest.push((line + "\n").as_bytes());
    }
    ingest
}

fn screen<'a>(progress: &'a Progress, ui: &'a Ui, look: &'a Look) -> Screen<'a> {
    Screen {
        progress,
        link: &Link::Live,
        ui,
        look,
        source: "engine.ndjson",
        engine_runs: false,
        now: progress.last_at,
        age: Some(500),
        watched: 30_000,
        scrub: None,
    }
}

/// One picture as the program draws it: all cells, the difference to the one before, and its bytes.
fn frame(progress: &Progress, ui: &Ui, look: &Look, shown: &mut Buffer, next: &mut Buffer, out: &mut Vec<u8>) {
    next.reset();
    black_box(draw(next, AREA, &screen(progress, ui, look)));
    out.clear();
    CrosstermBackend::new(&mut *out).draw(shown.diff(next).into_iter()).unwrap();
    std::mem::swap(shown, next);
}

fn frames(c: &mut Criterion) {
    let mut ingest = big();
    let before = ingest.progress.clone();
    ingest.push(report(31).as_bytes());
    let after = ingest.progress;
    let look = Look::default();
    let mut group = c.benchmark_group("frame 200x50, 5000 streams");
    let (mut shown, mut next, mut out) = (Buffer::empty(AREA), Buffer::empty(AREA), Vec::new());
    let plain = Ui::default();
    group.bench_function("nothing changed", |b| {
        b.iter(|| frame(&before, &plain, &look, &mut shown, &mut next, &mut out));
    });
    let mut turn = false;
    group.bench_function("every count changed", |b| {
        b.iter(|| {
            turn = !turn;
            frame(if turn { &after } else { &before }, &plain, &look, &mut shown, &mut next, &mut out);
        });
    });
    let sorted = Ui { sort: Column::Records, ..Ui::default() };
    group.bench_function("sorted by records", |b| {
        b.iter(|| frame(&before, &sorted, &look, &mut shown, &mut next, &mut out));
    });
    group.bench_function("snapshot (clone of all streams' handles)", |b| b.iter(|| black_box(before.clone())));
    group.finish();
}

fn unpacked(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = Vec::new();
    decompress::open(std::fs::File::open(path).unwrap()).unwrap().1.read_to_end(&mut bytes).unwrap();
    bytes
}

fn logs(c: &mut Criterion) {
    let mut group = c.benchmark_group("reduce");
    for name in [
        "stripe-progress/20-eventful-all.ndjson.zst",
        "stripe-trace/03b-large-pipeline_sync.ndjson.zst",
        "stripe-progress/13b-pipeline_read_time_limit.ndjson.zst",
    ] {
        let bytes = unpacked(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(20);
        group.bench_function(name, |b| {
            b.iter_batched(
                Ingest::default,
                |mut ingest| {
                    ingest.push(&bytes);
                    ingest
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, frames, logs);
criterion_main!(benches);
