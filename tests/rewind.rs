//! Seeking in a log: the result equals plain reading of the same prefix.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]
#![allow(clippy::cast_possible_truncation, reason = "sizes of small logs")]

mod common;

use common::{corpus, fixtures, open_after, reduced, unpack};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::sample::Index;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strum::VariantArray as _;
use synctop::engine::simulator::generator::{LogKind, Plan, write};
use synctop::engine::tracker::wire::WireGeneration;
use synctop::net::source::event::Event;
use synctop::net::source::event::channel;
use synctop::net::source::ingest::RewindData;
use synctop::net::source::ingest::spawn_ingest;
use synctop::net::source::sidecar::Sidecar;
use synctop::net::timeline::byte_store::ByteStore;
use synctop::net::timeline::indexer::{Indexer, SavedLog};
use synctop::net::timeline::keep::SharedHistory;
use synctop::net::timeline::seek::{Seeker, Step};
use synctop_core::protocol::{Decoder, Line, LineEnd};
use synctop_core::reduce::history::{History, LogPosition, Mark};
use synctop_core::reduce::{Batch, EncodedSnapshot, Progress, Target, outcome};
use synctop_core::report::summary;

/// Indexes a log with a snapshot every `spacing` bytes.
fn indexed(paths: &[PathBuf], spacing: u64) -> (Seeker, SharedHistory, Progress) {
    let store = Arc::new(ByteStore::default());
    let history = Arc::new(Mutex::new(History::with_spacing(spacing)));
    let mut indexer = Indexer::new(Arc::clone(&store), Arc::clone(&history));
    let logs = paths.iter().map(|path| SavedLog::open(path).unwrap()).collect();
    indexer.run(logs, Sidecar::default(), &Decoder::default()).unwrap();
    let seeker = Seeker::new(store, Arc::clone(&history), Decoder::default());
    (seeker, history, indexer.progress)
}

fn saved(log: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson");
    std::fs::write(&path, log).unwrap();
    (folder, path)
}

fn simulated(scenario: LogKind, generation: WireGeneration, size: u64, streams: usize) -> Vec<u8> {
    let plan = Plan {
        scenario,
        generation,
        seed: 11,
        size,
        streams,
        record_size: 300,
        errors: 100_000,
        malformed: 2_000,
        attempts: 3,
        begin: 1_763_625_600_000,
        pace: None,
    };
    let mut log = Vec::new();
    write(&plan, &mut log).unwrap();
    log
}

/// Seeks these byte positions and compares each result with plain reading.
fn holds_at(paths: &[PathBuf], log: &[u8], spacing: u64, places: &[usize]) {
    let (mut seeker, _, end) = indexed(paths, spacing);
    for place in places {
        seeker.go(Target::Bytes(*place as u64)).unwrap();
        assert!(*seeker.progress() == open_after(log, *place), "{} at {place}", paths[0].display());
    }
    seeker.go(Target::End).unwrap();
    let mut last = seeker.progress().clone();
    last.close(None);
    assert!(last == end && last == reduced(log), "{} at its end", paths[0].display());
}

#[test]
fn seek_in_any_recording_equals_reading_the_prefix() {
    for (_, path) in fixtures().into_iter().chain(corpus().unwrap_or_default()) {
        let mut log = unpack(&path);
        let mut paths = vec![path.clone()];
        let folder;
        if log.len() > 6_000_000 {
            // Only the start of large logs: a debug build would take minutes.
            log.truncate(6_000_000);
            let small = saved(&log);
            (folder, paths) = (small.0, vec![small.1]);
            let _ = &folder;
            let places: Vec<usize> = [9, 2, 7, 4, 0, 8].iter().map(|tenth| log.len() / 10 * tenth + 13).collect();
            holds_at(&paths, &log, 500_000, &places);
            continue;
        }
        let places: Vec<usize> =
            [19, 3, 11, 5, 17, 1, 0, 13].iter().map(|part| log.len() * part / 20 + part % 3).collect();
        holds_at(&paths, &log, (log.len() / 7).max(200) as u64, &places);
    }
}

#[test]
fn seek_in_a_simulated_log_equals_reading_the_prefix() {
    for (scenario, generation) in [(LogKind::Sync, WireGeneration::Trace), (LogKind::Read, WireGeneration::Progress)] {
        let log = simulated(scenario, generation, 3_000_000, 300);
        let (_folder, path) = saved(&log);
        let places: Vec<usize> = (0..20).map(|at| (at * 7_919_317) % log.len()).collect();
        holds_at(&[path], &log, 100_000, &places);
    }
}

/// Number of marks so far, by kind.
fn marks(progress: &Progress) -> Vec<u64> {
    Mark::VARIANTS.iter().map(|kind| kind.count(progress)).collect()
}

/// Position and number of marks after each line; the first entry is before the first line.
fn behind_each_line(log: &[u8]) -> Vec<(LogPosition, Vec<u64>)> {
    let decoder = Decoder::default();
    let mut progress = Progress::default();
    let mut all = vec![(LogPosition::of(&progress), marks(&progress))];
    for body in log.split_inclusive(|byte| *byte == b'\n') {
        let bytes = body.strip_suffix(b"\n").unwrap_or(body);
        let end = if bytes.len() < body.len() { LineEnd::Newline } else { LineEnd::Input };
        let line = Line { bytes, length: body.len() as u64, end, huge: None };
        let mut scratch = String::new();
        progress.apply(&line, decoder.decode(&line, &mut scratch), &decoder);
        all.push((LogPosition::of(&progress), marks(&progress)));
    }
    all
}

#[test]
fn seek_to_lines_times_and_marks_is_exact() {
    let eventful = unpack(&common::fixture("stripe-progress/20-eventful-all.ndjson.zst"));
    let limited = unpack(&common::fixture("stripe-progress/06-rate-limit.ndjson.zst"));
    for log in [eventful, limited, simulated(LogKind::Sync, WireGeneration::Trace, 600_000, 40)] {
        // Only a part of the largest log: each step is compared.
        let log = &log[..log.len().min(4_000_000)];
        let (_folder, path) = saved(log);
        let (mut seeker, history, _) = indexed(&[path], 100_000);
        let behind = behind_each_line(log);
        let at = |seeker: &Seeker| LogPosition::of(seeker.progress());
        for line in [behind.len() - 1, 3, behind.len() / 2, behind.len() / 3] {
            seeker.go(Target::Line(line as u64)).unwrap();
            assert_eq!(at(&seeker), behind[line].0);
        }
        let (first, last) = history.lock().span().unwrap();
        for share in [99, 1, 50, 30, 80, 0, 100] {
            let time = first + (last - first) * share / 100;
            seeker.go(Target::Time(time)).unwrap();
            let wanted = behind.iter().rposition(|(position, _)| position.at.is_none_or(|at| at <= time)).unwrap();
            assert_eq!(at(&seeker), behind[wanted].0, "{share} %");
        }
        for (number, kind) in Mark::VARIANTS.iter().copied().enumerate() {
            let marks: Vec<usize> =
                (1..behind.len()).filter(|at| behind[*at].1[number] != behind[at - 1].1[number]).collect();
            seeker.go(Target::Begin).unwrap();
            for mark in marks.iter().take(40) {
                assert!(seeker.step(Step::Mark(kind, true)).unwrap());
                assert_eq!(at(&seeker), behind[*mark].0, "next {}", kind.as_str());
            }
            seeker.go(Target::End).unwrap();
            for mark in marks.iter().rev().filter(|mark| **mark + 1 < behind.len()).take(40) {
                assert!(seeker.step(Step::Mark(kind, false)).unwrap());
                assert_eq!(at(&seeker), behind[*mark].0, "previous {}", kind.as_str());
            }
            let first = marks.first().copied().unwrap_or(0);
            seeker.go(Target::Line(first as u64)).unwrap();
            assert!(!seeker.step(Step::Mark(kind, false)).unwrap());
            assert_eq!(at(&seeker).lines, first as u64, "nothing before the first {}", kind.as_str());
        }
    }
}

#[test]
fn several_files_are_attempts_in_order() {
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let one = fixture("stripe-trace/08c-errored-stream-rerun-1.ndjson.zst");
    let two = fixture("stripe-trace/08c-errored-stream-rerun-2.ndjson.zst");
    // The first log as a killed engine leaves it: no end message, no final newline.
    let mut log = unpack(&one);
    log.truncate(log.len() * 2 / 3);
    let (_folder, killed) = saved(&log);
    let (mut seeker, _, end) = indexed(&[killed, two.clone()], 3_000);
    assert_eq!(end.attempts, 2);
    assert_eq!(outcome(&end), outcome(&reduced(&unpack(&two))));
    assert_eq!(end.input.bytes, (log.len() + unpack(&two).len()) as u64);
    for place in [log.len(), end.input.bytes as usize - 1, log.len() / 2, log.len() + 500] {
        seeker.go(Target::Bytes(place as u64)).unwrap();
        let attempts = 1 + u32::from(seeker.progress().input.bytes > log.len() as u64 + 400);
        assert_eq!(seeker.progress().attempts, attempts, "at {place}");
    }
    seeker.go(Target::End).unwrap();
    let mut last = seeker.progress().clone();
    last.close(None);
    assert!(last == end);
}

#[test]
fn history_memory_is_bounded() {
    let mut history = History::with_spacing(1);
    let mut progress = Progress::default();
    let decoder = Decoder::default();
    for number in 0..3_000u64 {
        let mut text = String::new();
        for part in 0..40 {
            let name = (number * 40 + part) % 5_000;
            text.push_str(&format!(
                "{{\"type\":\"trace\",\"trace\":{{\"trace_type\":\"error\",\"error\":{{\"failure_type\":\"system_error\",\"message\":\"{} {:x}\",\"stream\":\"s{name}\"}}}},\"_ts\":\"2026-11-20T08:{:02}:{:02}.000Z\"}}\n",
                "no two of these are alike ".repeat(20),
                (number * 41 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                number / 60,
                number % 60,
            ));
        }
        for mut batch in Batch::all(&decoder, text.as_bytes()) {
            progress.apply_batch_with(&mut batch, &decoder, |now, run| history.note(now, run));
        }
        if history.due(&progress) {
            let base = history.base();
            let packed = EncodedSnapshot::new(&progress, base.as_ref()).unwrap();
            history.keep(&progress, packed, 0);
        }
    }
    assert_eq!(progress.streams.len(), 5_000);
    assert!(history.size() < 44 << 20, "{}", history.size());
    assert!(history.keys().len() > 8, "{}", history.keys().len());
    assert!(history.bins().len() < 8_192);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn any_sequence_of_seeks_equals_reading_the_prefix(
        places in prop::collection::vec((any::<Index>(), 0u8..6), 1..12), spacing in 1_000u64..200_000,
    ) {
        let log = simulated(LogKind::Sync, WireGeneration::Progress, 150_000, 12);
        let (_folder, path) = saved(&log);
        let (mut seeker, _, end) = indexed(&[path], spacing);
        for (place, how) in places {
            match how {
                0 => seeker.go(Target::Line(place.index(end.input.lines as usize + 1) as u64)).unwrap(),
                1 => drop(seeker.step(Step::Mark(Mark::Error, true)).unwrap()),
                2 => drop(seeker.step(Step::Mark(Mark::Transition, false)).unwrap()),
                3 => drop(seeker.step(Step::Lines(-3)).unwrap()),
                4 => seeker.go(Target::Time(1_763_625_600_000 + place.index(200_000) as i64)).unwrap(),
                _ => seeker.go(Target::Bytes(place.index(log.len()) as u64)).unwrap(),
            }
            let here = seeker.progress().input.bytes as usize;
            prop_assert!(*seeker.progress() == open_after(&log, here), "at {here}");
        }
    }
}

#[test]
fn seek_to_the_end_equals_the_summary() {
    for (_, path) in fixtures() {
        let (mut seeker, _, _) = indexed(std::slice::from_ref(&path), 30_000);
        seeker.go(Target::End).unwrap();
        let mut last = seeker.progress().clone();
        last.close(None);
        let json = |summary| serde_json::to_string(&summary).unwrap();
        assert_eq!(json(summary(&last)), json(common::summary_of(&path)));
    }
}

#[test]
fn silences_are_the_same_for_indexed_and_live_logs() {
    let record = |second: i64| {
        let at = synctop_core::protocol::time::iso(1_763_625_600_000 + second * 1000);
        format!("{{\"type\":\"record\",\"record\":{{\"stream\":\"a\",\"data\":{{}},\"emitted_at\":\"{at}\"}}}}\n")
    };
    // A record per second for two minutes, then five minutes of silence.
    let untimed = "{\"type\":\"record\",\"record\":{\"stream\":\"a\",\"data\":{}}}\n".to_owned();
    let log: String = (0..120).map(record).chain([untimed]).chain((420..500).map(record)).collect();
    let (_folder, path) = saved(log.as_bytes());
    let (_, history, _) = indexed(&[path], 1_000);
    let past = RewindData::default();
    let mut live = synctop::net::source::ingest::Ingest::new(Decoder::default()).with_rewind_data(past.clone());
    live.push(log.as_bytes());
    for history in [history, past.history] {
        let history = history.lock();
        let gaps: Vec<_> =
            history.gaps().iter().map(|gap| (gap.from - 1_763_625_600_000, gap.to - 1_763_625_600_000)).collect();
        assert_eq!(gaps, [(119_000, 420_000)]);
        assert_eq!(history.bins()[0].first[1], Some(1_763_625_600_000), "the first record started its stream");
    }
}

/// Event of a feed.
#[derive(Debug, Clone)]
enum FeedEvent {
    Lines(u8),
    Torn,
    Notice,
    Stderr,
    Replaced,
    Overwritten,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn rewound_feed_played_to_its_end_equals_the_live_progress(
        all in prop::collection::vec(prop_oneof![
            6 => (1u8..40).prop_map(FeedEvent::Lines),
            1 => Just(FeedEvent::Torn),
            1 => Just(FeedEvent::Notice),
            1 => Just(FeedEvent::Stderr),
            1 => Just(FeedEvent::Replaced),
            1 => Just(FeedEvent::Overwritten),
        ], 1..25),
    ) {
        let log = simulated(LogKind::Sync, WireGeneration::Trace, 400_000, 9);
        let mut lines = log.split_inclusive(|byte| *byte == b'\n');
        let past = RewindData { history: Arc::new(Mutex::new(History::with_spacing(3_000))), ..RewindData::default() };
        let (events, receiver) = channel();
        let mut snapshots = spawn_ingest(Decoder::default(), receiver, past.clone()).unwrap();
        for (number, happens) in all.iter().enumerate() {
            events.send(match happens {
                FeedEvent::Lines(count) => Event::Bytes(lines.by_ref().take((*count).into()).collect::<Vec<_>>().concat(), None),
                FeedEvent::Torn => Event::Bytes(lines.next().map(|line| line[..line.len() / 2].to_vec()).unwrap_or_default(), None),
                FeedEvent::Notice => Event::Notice(format!("notice {number}")),
                FeedEvent::Stderr => Event::Stderr(format!("stderr {number}")),
                FeedEvent::Replaced => Event::Break { why: format!("replaced {number}"), overwritten: false },
                FeedEvent::Overwritten => Event::Break { why: format!("overwritten {number}"), overwritten: true },
            }).unwrap();
        }
        drop(events);
        // The ingest thread ends with its source and publishes a last snapshot.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { while snapshots.changed().await.is_ok() {} });
        let live = snapshots.borrow().progress.clone();
        let mut seeker = Seeker::new(past.store.clone(), past.history.clone(), Decoder::default());
        for target in [Target::Begin, Target::Bytes(live.input.bytes / 2), Target::Line(3), Target::End] {
            seeker.go(target).unwrap();
        }
        prop_assert!(*seeker.progress() == *live);
    }
}

#[test]
fn failed_seek_keeps_the_progress_and_recovers() {
    let log = simulated(LogKind::Sync, WireGeneration::Trace, 300_000, 9);
    let (_folder, path) = saved(&log);
    let (mut seeker, _, end) = indexed(std::slice::from_ref(&path), 50_000);
    seeker.go(Target::Bytes(100_000)).unwrap();
    let before = seeker.progress().clone();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(130_000).unwrap();
    assert!(seeker.go(Target::Bytes(200_000)).is_err());
    assert!(*seeker.progress() == before, "a failed seek changes nothing");
    std::fs::write(&path, &log).unwrap();
    seeker.go(Target::End).unwrap();
    let mut last = seeker.progress().clone();
    last.close(None);
    assert!(last == end);
    // A file with other content is not taken for the indexed one.
    std::fs::write(&path, vec![b'x'; log.len()]).unwrap();
    assert!(seeker.go(Target::Line(5)).unwrap_err().to_string().contains("overwritten"));
}
