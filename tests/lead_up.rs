//! Lead-ups of errors in three recorded logs: each value was worked out by hand from the raw lines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::bytes;
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;
use synctop::net::source::ingest::{Ingest, RewindData};
use synctop::net::timeline::seek::Seeker;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::Target;
use synctop_core::reduce::lead_up::{HalfRecords, LeadEventKind, LeadUp, StreamLeadUp};

const EVENTFUL: &str = "stripe-progress/20-eventful-all.ndjson.zst";
const DESTINATION: &str = "stripe-progress/12-destination-fails-midway.ndjson.zst";
const READ: &str = "airbyte/lowcode-read-streamfail.ndjson.zst";

/// Lead-up of a line of a log that is read live.
fn lead_up(log: &str, line: u64) -> LeadUp {
    lead_up_after(log, line, usize::MAX)
}

/// Lead-up of a line after this many bytes of the log.
fn lead_up_after(log: &str, line: u64, length: usize) -> LeadUp {
    let bytes = bytes(log);
    let past = RewindData::default();
    let mut ingest = Ingest::new(Decoder::default()).with_rewind_data(past.clone());
    for chunk in bytes[..length.min(bytes.len())].chunks(100_000) {
        past.store.spool(chunk);
        ingest.push(chunk);
    }
    let mut seeker = Seeker::new(past.store, past.history, Decoder::default());
    seeker.lead_up(Target::Line(line), None).unwrap()
}

fn stream<'l>(lead_up: &'l LeadUp, name: &str) -> &'l StreamLeadUp {
    lead_up.streams.iter().find(|stream| *stream.stream == *name).unwrap_or_else(|| panic!("no {name}"))
}

/// Retries of each stream: all, those after HTTP 429, line of the first one.
fn retries(lead_up: &LeadUp) -> Vec<(String, u64, u64, u64)> {
    let all = lead_up.streams.iter().filter_map(|stream| {
        let first = stream.first_retry?.instant.line?;
        Some((stream.stream.to_string(), stream.retries, stream.retries_429, first))
    });
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

fn statuses(lead_up: &LeadUp) -> Vec<(u64, String, &'static str)> {
    let changes = lead_up.events.iter().filter_map(|event| match &event.kind {
        LeadEventKind::Status { to, .. } => Some((event.instant.line?, event.stream.as_deref()?.to_owned(), *to)),
        _ => None,
    });
    changes.collect()
}

fn named(all: &[(&str, u64, u64, u64)]) -> Vec<(String, u64, u64, u64)> {
    all.iter().map(|(name, retries, limited, line)| ((*name).to_owned(), *retries, *limited, *line)).collect()
}

#[test]
fn payout_failed_after_twenty_refused_requests() {
    let found = lead_up(EVENTFUL, 1705);
    assert_eq!(found.stream.as_deref(), Some("payout"));
    assert!(found.error.as_ref().is_some_and(|error| error.message.contains("having a bad day")));
    assert_eq!(found.covered_ms, Some(34_092));
    assert_eq!(
        retries(&found),
        named(&[
            ("charge", 12, 12, 1318),
            ("customer", 2, 0, 196),
            ("invoice", 3, 0, 110),
            ("payment_intent", 1, 0, 320),
            ("payout", 20, 0, 135),
        ])
    );
    let payout = stream(&found, "payout");
    let (first, last) = (payout.first_retry.unwrap(), payout.last_retry.unwrap());
    assert_eq!((first.status, first.attempt, first.max), (Some(500), 1, Some(5)));
    assert_eq!((last.instant.line, last.attempt), (Some(940), 5));
    assert_eq!(found.end.at.unwrap() - first.instant.at.unwrap(), 32_490);
    let checkpoint = payout.last_checkpoint.unwrap();
    assert_eq!((checkpoint.line, found.end.at.unwrap() - checkpoint.at.unwrap()), (Some(74), 33_539));
    assert_eq!(payout.records, Some(300));
    assert_eq!(payout.first_half, Some(HalfRecords { records: 300, covered_ms: 4_092 }));
    assert_eq!(payout.last_half, Some(HalfRecords { records: 0, covered_ms: 30_000 }));
    assert_eq!(payout.retries_by_part.iter().sum::<u64>(), 20);
    let ends: Vec<_> = statuses(&found).into_iter().filter(|(.., to)| *to != "started").collect();
    let expected = [
        (24, "dispute", "errored"),
        (60, "coupon", "completed"),
        (302, "product", "completed"),
        (479, "price", "completed"),
        (1705, "payout", "errored"),
    ];
    assert_eq!(ends, expected.map(|(line, name, to)| (line, name.to_owned(), to)));
    let logged: Vec<_> = found
        .events
        .iter()
        .filter(|event| matches!(event.kind, LeadEventKind::Log { .. }))
        .map(|event| event.instant.line.unwrap())
        .collect();
    assert_eq!(logged, [23, 1704], "retries are no events");
}

#[test]
fn charge_failed_eleven_seconds_after_its_last_checkpoint() {
    let found = lead_up(EVENTFUL, 1867);
    assert_eq!(found.stream.as_deref(), Some("charge"));
    let charge = stream(&found, "charge");
    assert_eq!((charge.retries, charge.retries_429), (15, 15));
    let last = charge.last_retry.unwrap();
    assert_eq!((last.instant.line, last.attempt, last.max), (Some(1781), 5, Some(5)));
    let checkpoint = charge.last_checkpoint.unwrap();
    assert_eq!((checkpoint.line, found.end.at.unwrap() - checkpoint.at.unwrap()), (Some(1314), 11_387));
    assert_eq!(checkpoint.at, charge.first_retry.unwrap().instant.at);
    assert_eq!(charge.records, Some(6_000));
    assert_eq!((charge.first_half.unwrap().records, charge.last_half.unwrap().records), (700, 5_300));
    assert_eq!(charge.first_half.unwrap().covered_ms, 7_318);
    // Its last records are those of the report with its last checkpoint.
    assert!(charge.last_records.unwrap().at <= checkpoint.at);
}

#[test]
fn refused_stream_has_no_history() {
    let found = lead_up(EVENTFUL, 24);
    assert_eq!(found.stream.as_deref(), Some("dispute"));
    assert_eq!(found.covered_ms, Some(154));
    assert_eq!(retries(&found), []);
    let dispute = stream(&found, "dispute");
    assert_eq!((dispute.records, dispute.last_checkpoint), (Some(0), None));
    assert_eq!(statuses(&found).iter().filter(|(.., to)| *to == "started").count(), 11);
}

#[test]
fn window_is_sixty_seconds_and_names_the_new_attempt() {
    let found = lead_up(EVENTFUL, 5232);
    assert_eq!((found.stream.as_deref(), found.covered_ms), (None, Some(60_000)));
    assert_eq!(
        retries(&found),
        named(&[("customer", 7, 0, 3049), ("invoice", 5, 0, 2667), ("payment_intent", 1, 0, 3676)])
    );
    let attempts: Vec<_> = found
        .events
        .iter()
        .filter_map(|event| match event.kind {
            LeadEventKind::Attempt { number } => Some((number, event.instant.line.unwrap())),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [(2, 4088)]);
}

#[test]
fn failing_destination_stops_a_healthy_stream() {
    let found = lead_up(DESTINATION, 190);
    assert_eq!(found.stream.as_deref(), Some("charge"));
    assert_eq!(retries(&found), []);
    let charge = stream(&found, "charge");
    let checkpoint = charge.last_checkpoint.unwrap();
    assert_eq!((checkpoint.line, found.end.at.unwrap() - checkpoint.at.unwrap()), (Some(151), 722));
    assert_eq!(found.covered_ms, Some(3_763));
    assert_eq!(charge.records, Some(1_100));
}

#[test]
fn airbyte_streams_failed_without_a_state() {
    for (line, name, records) in [(1700, "forbidden", 0), (1718, "broken", 0), (1733, "midfail", 200)] {
        let found = lead_up(READ, line);
        assert_eq!(found.stream.as_deref(), Some(name));
        let stream = stream(&found, name);
        assert_eq!((stream.records, stream.last_checkpoint), (Some(records), None), "{name}");
    }
    // Two statuses announce one limit of the stream `limited`.
    assert_eq!(stream(&lead_up(READ, 1718), "limited").rate_limits, 1);
}

#[test]
fn lead_up_is_the_same_live_and_after_the_end() {
    // The log ends directly after the line of the error, or goes on for a minute.
    let whole = bytes(EVENTFUL);
    let end = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1_704).unwrap().0 + 1;
    assert_eq!(lead_up_after(EVENTFUL, 1705, end), lead_up(EVENTFUL, 1705));
}

#[test]
fn place_stays_where_it_was() {
    let past = RewindData::default();
    let mut ingest = Ingest::new(Decoder::default()).with_rewind_data(past.clone());
    past.store.spool(&bytes(EVENTFUL));
    ingest.push(&bytes(EVENTFUL));
    let mut seeker = Seeker::new(past.store, past.history, Decoder::default());
    seeker.go(Target::Line(500)).unwrap();
    let before = seeker.progress().clone();
    let found = seeker.lead_up(Target::Line(1867), Some(Arc::from("payout"))).unwrap();
    assert_eq!(found.stream.as_deref(), Some("payout"), "of any stream at any instant");
    assert_eq!(*seeker.progress(), before);
}

#[test]
fn summary_around_prints_the_lead_up() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_synctop"))
            .args(["summary", "--around"])
            .args(arguments)
            .arg(format!("tests/fixtures/{EVENTFUL}"))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text, _) = run(&["line 1867"]);
    assert_eq!(code, Some(0));
    for words in ["line 1,867", "stream charge", "15 retries, all HTTP 429", "line 1,318", "11.3s before the error"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (_, json, _) = run(&["line 1867", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["stream"], "charge");
    assert_eq!(json["streams"][0]["retries_429"], 15);
    let (code, _, error) = run(&["nowhere"]);
    assert_eq!(code, Some(64));
    assert!(error.contains("--around nowhere"), "{error}");
}

#[test]
fn rows_are_in_the_order_of_time_and_end_with_the_error() {
    use synctop_core::report::lead_up::{RowTone, rows};
    let all = rows(&lead_up(EVENTFUL, 1867));
    let own: Vec<_> = all[1..].iter().take_while(|row| row.tone != RowTone::Heading).collect();
    let lines: Vec<_> = own.iter().filter_map(|row| row.instant?.line).collect();
    assert_eq!(lines, [1314, 1315, 1318, 1781, 1867]);
    assert!(own.last().is_some_and(|row| row.tone == RowTone::Bad && row.text.contains("rate limit")));
    let text = |part: &str| own.iter().find(|row| row.text.contains(part)).unwrap().text.clone();
    // Only 37 of the 60 seconds are in the log.
    assert!(text("15 retries").ends_with("per 10 s: - - 0 0 3 12"), "{}", text("15 retries"));
    assert!(text("last records").ends_with("6,000 in this window: 96/s, then 177/s in the last 30 s"));
    // Streams that complete at different times have rows of their own.
    let completed: Vec<_> = all.iter().filter(|row| row.text.ends_with(": completed")).collect();
    assert!(completed.len() >= 3, "{completed:?}");
}
