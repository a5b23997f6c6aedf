//! Time to draw a picture at 200x50 with 5,000 streams or 500 pipelines, and to reduce a log:
//! `cargo bench --bench screen`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark may fail"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Read;
use synctop::net::source::decompress;
use synctop::net::source::ingest::{Ingest, RewindData};
use synctop::views::run::state::Column;
use synctop::views::{Look, RunFrame, RunInput, RunModel, RunUi as Ui, draw};
use synctop_core::fleet::ListEntry;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::Reducer;
use synctop_core::reduce::history::History;
use synctop_core::reduce::{Link, Progress};
use synctop_core::report::Assessment;

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

fn big() -> Reducer {
    let mut reducer = Reducer::new(Decoder::default());
    for second in 0..30 {
        reducer.push(report(second).as_bytes());
    }
    for number in 0..40 {
        let line = format!(
            r#"{{"type":"stream_status","stream_status":{{"stream":"stream_{:05}","status":"error","error":"no {}"}},"_ts":"{}"}}"#,
            number * 5,
            "x".repeat(number),
            at(30)
        );
        reducer.push((line + "\n").as_bytes());
    }
    reducer
}

/// Rewind index of a log of reports, for the throughput chart.
fn history() -> History {
    let past = RewindData::default();
    let mut ingest = Ingest::new(Decoder::default()).with_rewind_data(past.clone());
    for second in 0..30 {
        ingest.push(report(second).as_bytes());
    }
    ingest.finish(None);
    past.history.lock().clone()
}

fn input<'a>(progress: &'a Progress, look: &'a Look, history: &'a History) -> RunInput<'a> {
    RunInput {
        progress,
        link: &Link::Live,
        look,
        source: "engine.ndjson",
        engine_runs: false,
        now: progress.last_at,
        age: Some(500),
        watched: 30_000,
        scrub: None,
        history: Some(history),
        nested: false,
    }
}

/// Draws one frame as the program does: all cells, the difference to the last frame, its bytes. A
/// state without an assessment is new and assessed first.
fn frame(
    input: RunInput,
    assessment: Option<&Assessment>,
    ui: &Ui,
    shown: &mut Buffer,
    next: &mut Buffer,
    out: &mut Vec<u8>,
) {
    next.reset();
    let assessment = assessment.map_or_else(|| Cow::Owned(Assessment::of(input.progress)), Cow::Borrowed);
    let model = RunModel::assessed(input, assessment, ui);
    black_box(draw(next, AREA, &RunFrame { model: &model, ui }));
    out.clear();
    CrosstermBackend::new(&mut *out).draw(shown.diff(next).into_iter()).unwrap();
    std::mem::swap(shown, next);
}

fn frames(c: &mut Criterion) {
    let mut reducer = big();
    let before = reducer.progress.clone();
    reducer.push(report(31).as_bytes());
    let after = reducer.progress;
    let history = history();
    let look = Look::default();
    let mut group = c.benchmark_group("frame 200x50, 5000 streams");
    let (mut shown, mut next, mut out) = (Buffer::empty(AREA), Buffer::empty(AREA), Vec::new());
    let plain = Ui::default();
    let assessment = Assessment::of(&before);
    group.bench_function("nothing changed", |b| {
        b.iter(|| frame(input(&before, &look, &history), Some(&assessment), &plain, &mut shown, &mut next, &mut out));
    });
    let mut turn = false;
    group.bench_function("every count changed", |b| {
        b.iter(|| {
            turn = !turn;
            frame(
                input(if turn { &after } else { &before }, &look, &history),
                None,
                &plain,
                &mut shown,
                &mut next,
                &mut out,
            );
        });
    });
    let sorted = Ui { sort: Column::Records, ..Ui::default() };
    group.bench_function("sorted by records", |b| {
        b.iter(|| frame(input(&before, &look, &history), Some(&assessment), &sorted, &mut shown, &mut next, &mut out));
    });
    group.bench_function("snapshot (clone of all streams' handles)", |b| b.iter(|| black_box(before.clone())));
    group.finish();
}

/// List of five hundred pipelines as a service returns it; every fifth has the status `error`.
fn pipeline_list(second: u64) -> Vec<ListEntry> {
    let one = |number: u64| {
        let status = ["backfill", "ready", "backfill", "ready", "error"][(number % 5) as usize];
        let all = serde_json::json!({"outcome": if status == "backfill" { "running" } else { "succeeded" }, "records": {"cumulative": number * 1000 + second},
            "records_per_second": 120.5, "coverage": (number % 100) as f64 / 100.0, "checkpoints": number + second, "streams": 8,
            "by_status": {"completed": 5, "started": 3}, "errors": []});
        let mut it = serde_json::json!({
            "id": format!("acct_{number:04}"), "source": {"type": "stripe", "stripe": {"api_key": "sk_test_abcdefgh"}}, "destination": {"type": "postgres"},
            "desired_status": "active", "status": status, "revision": second, "updated_at": "2026-11-20T08:00:00.000Z",
            "run": {"task_id": format!("task_{number}"), "number": 3, "status": if status == "backfill" { "RUNNING" } else { "SUCCEEDED" },
                "progress": "5/8", if status == "backfill" { "so_far" } else { "result" }: all},
        });
        if status == "error" {
            it["reason"] = serde_json::json!({"message": format!("connect ECONNREFUSED 10.0.0.{}", number % 5), "failure_type": "system_error",
                "fingerprint": format!("f{}", number % 5), "next": "see that the other side is up", "since": "2026-11-20T07:00:00.000Z"});
        }
        it
    };
    ListEntry::list((0..500).map(one))
}

fn fleet(c: &mut Criterion) {
    use synctop::views::fleet::{Armed, FleetColumn, FleetFrame, FleetInput, FleetModel, FleetUi, ServiceLink, draw};
    use synctop_core::fleet::{Fleet, Inbox};
    let now = 1_795_161_600_000;
    let fleets: Vec<_> = (0..2)
        .map(|second| {
            let mut fleet = Fleet::default();
            fleet.take_list(&pipeline_list(second), 0, now);
            fleet
        })
        .collect();
    let mut inbox = Inbox::default();
    fleets[0].pipelines.values().for_each(|it| drop(inbox.observe(it, now)));
    let look = Look::default();
    let mut group = c.benchmark_group("fleet 200x50, 500 pipelines");
    let (mut shown, mut next, mut out) = (Buffer::empty(AREA), Buffer::empty(AREA), Vec::new());
    for (name, ui) in [
        ("every count changed", FleetUi::default()),
        ("sorted by records", FleetUi { sort: FleetColumn::Records, ..FleetUi::default() }),
    ] {
        let mut turn = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                turn = 1 - turn;
                next.reset();
                let input = FleetInput {
                    fleet: &fleets[turn],
                    inbox: &inbox,
                    actions: &[],
                    bulk: None,
                    look: &look,
                    name: "production",
                    address: "https://sync.example.com",
                    argument: "",
                    contexts: &[],
                    is_demo: false,
                    tasks: true,
                    color: None,
                    now: now + 1_000,
                    link: ServiceLink::Live,
                    link_text: "polling every 2 s",
                    rate: (0.6, 10.0),
                    list_interval: 2_000,
                    armed: Armed::Locked,
                    acting: &[],
                    store_error: None,
                };
                black_box(draw(&mut next, AREA, &FleetFrame { model: &FleetModel::new(input, &ui), ui: &ui }));
                out.clear();
                CrosstermBackend::new(&mut out).draw(shown.diff(&next).into_iter()).unwrap();
                std::mem::swap(&mut shown, &mut next);
            });
        });
    }
    let mut known = fleets[0].clone();
    let (mut second, mut seen) = (2, inbox.clone());
    group.bench_function("list applied to fleet and error inbox", |b| {
        b.iter_batched(
            || {
                second += 1;
                pipeline_list(second)
            },
            |list| {
                known.take_list(&list, 0, now);
                known.pipelines.values().for_each(|it| drop(seen.observe(it, now)));
                seen.close_resolved(&known.pipelines, now)
            },
            BatchSize::LargeInput,
        );
    });
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
                Reducer::default,
                |mut reducer| {
                    reducer.push(&bytes);
                    reducer
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, frames, fleet, logs);
criterion_main!(benches);
