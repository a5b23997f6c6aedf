//! Growth of costs with the size of the input: `cargo bench --bench growth [-- NAME]`.
//!
//! Prints the time of each operation at several sizes, and the exponent of its growth between them:
//! 0 is a constant, 1 is linear. Names every exponent over 1.1. Checks no bound.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a bench"
)]

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};
use synctop::net::source::ingest::{Ingest, RewindData};
use synctop::net::timeline::chunks::Chunks;
use synctop::net::timeline::parallel;
use synctop::views::fleet::{self, Armed, FleetFrame, FleetInput, FleetModel, FleetUi, ServiceLink};
use synctop::views::run::state::Column;
use synctop::views::{Look, RunFrame, RunInput, RunModel, RunUi, draw};
use synctop_core::fleet::{Fleet, Inbox, ListEntry};
use synctop_core::protocol::Decoder;
use synctop_core::reduce::history::History;
use synctop_core::reduce::{Digest, EncodedSnapshot, Link, Progress, Reducer, SnapshotBase};
use synctop_core::report::Assessment;

const AREA: Rect = Rect { x: 0, y: 0, width: 200, height: 50 };

/// Streams that change between two frames of a feed of 10,000 lines a second.
const CHANGED: usize = 333;

/// Minimum time of a measurement.
const LONG_ENOUGH: Duration = Duration::from_millis(300);

/// Exponent above which a growth is named.
const STEEP: f64 = 1.1;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let mut table = Table { wanted, steep: Vec::new() };
    println!(
        "{:<44} {:>11} {:>11} {:>11} {:>11}   exponents",
        "time at n =", "1,000", "10,000", "100,000", "1,000,000"
    );
    let sizes = [1_000, 10_000, 100_000, 1_000_000];
    table.row("n streams: reduce their log", &sizes, |streams| {
        let log = first_lines(streams);
        median(|| drop(black_box(reduced(&log, streams))))
    });
    for (name, part) in [
        ("n streams: next lines and snapshot, each line", Part::Snapshot),
        ("n streams: assess a snapshot", Part::Assess),
        ("n streams: frame of a new snapshot", Part::Frame),
        ("n streams: frame of a key", Part::Key),
        ("n streams: frame, sorted by records", Part::Sorted),
        ("n streams: encode a snapshot for rewinding", Part::Encode),
    ] {
        table.row(name, &sizes, |streams| live(streams, part));
    }
    table.row("n empty lines", &sizes, |lines| {
        let log = vec![b'\n'; lines];
        median(|| {
            let mut progress = Progress::default();
            parallel::reduce(Chunks::new(&log[..], 0), &Decoder::default(), &mut progress, 1).unwrap();
            black_box(progress);
        })
    });
    table.row("n attempts of 100 streams", &[10, 100, 1_000, 10_000], |attempts| {
        let log = attempt(100).repeat(attempts);
        median(|| drop(black_box(reduced(&log, 1_000))))
    });
    table.row("n lines: index for rewinding", &sizes, |lines| {
        let line = b"{\"type\":\"record\",\"record\":{\"stream\":\"a\",\"data\":{\"id\":1},\"emitted_at\":\"2026-11-20T08:00:00.000Z\"}}\n";
        let log = line.repeat(lines);
        median(|| {
            let mut ingest = Ingest::new(Decoder::default()).with_rewind_data(RewindData::default());
            log.chunks(1 << 18).for_each(|chunk| ingest.push(chunk));
            ingest.finish(None);
            black_box(ingest.progress());
        })
    });
    fleets(&mut table);
    match table.steep.as_slice() {
        [] => println!("\nno exponent is over {STEEP}"),
        steep => println!("\nexponents over {STEEP}:\n{}", steep.join("\n")),
    }
}

/// Table of times.
struct Table {
    wanted: Option<String>,
    /// Growths with a high exponent.
    steep: Vec<String>,
}

impl Table {
    fn row(&mut self, name: &str, sizes: &[usize], mut measure: impl FnMut(usize) -> Duration) {
        if self.wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            return;
        }
        let times: Vec<f64> = sizes.iter().map(|size| measure(*size).as_secs_f64()).collect();
        let mut line = format!("{name:<44}");
        for time in &times {
            let text = match time {
                time if *time < 1e-3 => format!("{:.1} µs", time * 1e6),
                time if *time < 1.0 => format!("{:.2} ms", time * 1e3),
                time => format!("{time:.2} s"),
            };
            write!(line, " {text:>11}").unwrap();
        }
        line.push_str("   ");
        for (pair, size) in times.windows(2).zip(sizes.windows(2)) {
            let exponent = (pair[1] / pair[0]).ln() / (size[1] as f64 / size[0] as f64).ln();
            write!(line, "{exponent:.2} ").unwrap();
            if exponent > STEEP {
                self.steep.push(format!("{name}: {exponent:.2} from {} to {}", size[0], size[1]));
            }
        }
        println!("{line}");
    }
}

/// Median time of runs that take long enough together.
fn median(mut run: impl FnMut()) -> Duration {
    let mut times = Vec::new();
    let began = Instant::now();
    while times.len() < 3 || (began.elapsed() < LONG_ENOUGH && times.len() < 10_000) {
        let start = Instant::now();
        run();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Start, record and checkpoint of each of `streams` streams.
fn first_lines(streams: usize) -> Vec<u8> {
    let mut log = String::new();
    for number in 0..streams {
        // Not in the order of their names.
        lines(&mut log, number * 7_919 % streams, 0);
    }
    log.into_bytes()
}

fn lines(log: &mut String, number: usize, second: usize) {
    let at = format!("2026-11-20T08:{:02}:{:02}.000Z", second / 60 % 60, second % 60);
    if second == 0 {
        writeln!(log, r#"{{"type":"trace","trace":{{"trace_type":"stream_status","stream_status":{{"stream":"s{number}","status":"start","time_range":{{"gte":"2024-01-01T00:00:00Z","lt":"2025-01-01T00:00:00Z"}}}}}},"_ts":"{at}"}}"#).unwrap();
    }
    writeln!(
        log,
        r#"{{"type":"record","record":{{"stream":"s{number}","data":{{"id":1}},"emitted_at":"{at}"}},"_ts":"{at}"}}"#
    )
    .unwrap();
    writeln!(log, r#"{{"type":"source_state","source_state":{{"state_type":"stream","stream":"s{number}","data":{{"page_cursor":"c{second}"}}}},"_ts":"{at}"}}"#).unwrap();
}

fn attempt(streams: usize) -> Vec<u8> {
    let mut log = String::from("{\"type\":\"catalog\",\"catalog\":{\"streams\":[]}}\n");
    for number in 0..streams {
        lines(&mut log, number, 1);
    }
    log.push_str("{\"type\":\"eof\",\"eof\":{\"reason\":\"time_limit\",\"has_more\":true}}\n");
    log.into_bytes()
}

fn reduced(log: &[u8], max_streams: usize) -> Progress {
    let decoder = Decoder::default().with_max_streams(max_streams);
    let mut progress = Progress::new(&decoder);
    parallel::reduce(Chunks::new(log, 0), &decoder, &mut progress, 1).unwrap();
    progress
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Snapshot,
    Assess,
    Frame,
    Key,
    Sorted,
    Encode,
}

/// Median time of a part of the work between two frames.
fn live(streams: usize, part: Part) -> Duration {
    let mut reducer = Reducer::new(Decoder::default().with_max_streams(streams));
    reducer.push(&first_lines(streams));
    let look = Look::default();
    let history = History::new();
    let ui = RunUi { sort: if part == Part::Sorted { Column::Records } else { Column::Name }, ..RunUi::default() };
    let mut next = Buffer::empty(AREA);
    let mut times = Vec::new();
    let (mut snapshot, mut second, mut state) = (reducer.progress.clone(), 0, 1_u64);
    let (mut encoded, mut digest) = (None, Digest::default());
    let mut frame = |progress: &Progress, assessment: &Assessment| {
        next.reset();
        let input = RunInput {
            progress,
            link: &Link::Live,
            look: &look,
            source: "engine.ndjson",
            engine_runs: false,
            now: progress.last_at,
            age: Some(500),
            watched: 30_000,
            scrub: None,
            history: Some(&history),
            nested: false,
        };
        let model = RunModel::assessed(input, std::borrow::Cow::Borrowed(assessment), &ui);
        black_box(draw(&mut next, AREA, &RunFrame { model: &model, ui: &ui }));
    };
    let began = Instant::now();
    while times.len() < 5 || (began.elapsed() < LONG_ENOUGH * 3 && times.len() < 200) {
        second += 1;
        let mut log = String::new();
        for _ in 0..CHANGED {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            lines(&mut log, (state >> 33) as usize % streams, second);
        }
        let start = Instant::now();
        reducer.push(log.as_bytes());
        let before = std::mem::replace(&mut snapshot, reducer.progress.clone());
        let mut took = start.elapsed() / (2 * CHANGED as u32);
        let start = Instant::now();
        let assessment = Assessment::after(std::mem::take(&mut digest), &snapshot);
        if part == Part::Assess {
            took = start.elapsed();
        }
        if matches!(part, Part::Frame | Part::Key | Part::Sorted) {
            let start = Instant::now();
            frame(&snapshot, &assessment);
            took = start.elapsed();
        }
        if part == Part::Key {
            let start = Instant::now();
            frame(&snapshot, &assessment);
            took = start.elapsed();
        }
        if part == Part::Encode {
            let base = encoded.take().or_else(|| EncodedSnapshot::new(&before, None)).unwrap();
            let base = SnapshotBase::new(&before, base);
            let start = Instant::now();
            encoded = EncodedSnapshot::new(&snapshot, Some(&base));
            took = start.elapsed();
        }
        drop(before);
        digest = assessment.digest;
        times.push(took);
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Entries of a list of pipelines; those from `changed` on differ with each `second`.
fn pipelines(count: usize, changed: usize, second: u64) -> Vec<ListEntry> {
    ListEntry::list((0..count).map(|number| {
        let status = ["backfill", "ready", "ready", "ready", "error"][number % 5];
        let second = if number >= changed { second } else { 0 };
        let totals = serde_json::json!({"outcome": "succeeded", "records": {"cumulative": number as u64 * 1000 + second}, "coverage": 0.5,
            "checkpoints": second, "streams": 8, "by_status": {"completed": 5, "started": 3}, "errors": []});
        let mut pipeline = serde_json::json!({"id": format!("acct_{number:06}"), "source": {"type": "stripe", "stripe": {"api_key": "***"}},
            "destination": {"type": "postgres"}, "desired_status": "active", "status": status, "revision": second,
            "updated_at": "2026-11-20T08:00:00.000Z", "run": {"task_id": format!("task_{number}"), "number": 3, "status": "SUCCEEDED",
            "progress": "5/8", "result": totals}});
        if status == "error" {
            pipeline["reason"] = serde_json::json!({"message": format!("connect ECONNREFUSED 10.0.0.{}", number % 5), "failure_type": "system_error",
                "fingerprint": format!("f{}", number % 5), "next": "see that the other side is up", "since": "2026-11-20T07:00:00.000Z"});
        }
        pipeline
    }))
}

fn fleets(table: &mut Table) {
    let sizes = [100, 1_000, 10_000, 100_000];
    let now = 1_795_161_600_000;
    println!("\n{:<44} {:>11} {:>11} {:>11} {:>11}   exponents", "time at n =", "100", "1,000", "10,000", "100,000");
    table.row("n pipelines: first list", &sizes, |count| {
        let list = pipelines(count, 0, 0);
        median(|| drop(black_box(Fleet::default().take_list(&list, 0, now))))
    });
    table.row("n pipelines: whole list, ten changed", &sizes, |count| {
        let (mut fleet, lists) = (Fleet::default(), [0, 1].map(|second| pipelines(count, count - 10, second)));
        let mut turn = 0;
        median(|| {
            turn = 1 - turn;
            black_box(fleet.take_list(&lists[turn], 0, now));
        })
    });
    table.row("n pipelines: ten changes of the list", &sizes, |count| {
        let mut fleet = Fleet::default();
        fleet.take_list(&pipelines(count, 0, 0), 0, now);
        let changes = [1, 2].map(|second| pipelines(10, 0, second));
        let mut turn = 0;
        median(|| {
            turn = 1 - turn;
            black_box(fleet.take_changes(&changes[turn], &[], 0, now));
        })
    });
    table.row("n pipelines: frame", &sizes, |count| {
        let mut fleet = Fleet::default();
        fleet.take_list(&pipelines(count, 0, 0), 0, now);
        let mut inbox = Inbox::default();
        fleet.pipelines.values().for_each(|watched| drop(inbox.observe(watched, now)));
        let (look, ui, mut next) = (Look::default(), FleetUi::default(), Buffer::empty(AREA));
        median(|| {
            next.reset();
            let input = FleetInput {
                fleet: &fleet,
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
            let model = FleetModel::new(input, &ui);
            black_box(fleet::draw(&mut next, AREA, &FleetFrame { model: &model, ui: &ui }));
        })
    });
}
