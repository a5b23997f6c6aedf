//! Time travel on a real terminal: saved logs, and live feeds that continue meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/pty.rs"]
mod pty;

use pty::Term;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SIZE: (u16, u16) = (120, 30);
const EVENTFUL: &str = "tests/fixtures/stripe-progress/20-eventful-all.ndjson.zst";

fn log(lines: &[String]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.ndjson");
    std::fs::write(&path, lines.concat()).unwrap();
    (folder, path)
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Line of a record at `second` seconds after 08:00.
fn record(stream: &str, second: u32) -> String {
    format!(
        "{{\"type\":\"record\",\"record\":{{\"stream\":\"{stream}\",\"data\":{{}},\"emitted_at\":\"2026-11-20T08:{:02}:{:02}.000Z\"}}}}\n",
        second / 60,
        second % 60
    )
}

/// Figures of `summary --at` at the same place: cumulative records and the number of error
/// occurrences.
fn at(place: &str, file: &str) -> (u64, u64) {
    let output = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["summary", "--json", "--at", place, file])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors = json["errors"].as_array().unwrap().iter().map(|error| error["count"].as_u64().unwrap()).sum();
    (json["records"]["cumulative"].as_u64().unwrap_or(0), errors)
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn go(term: &mut Term, place: &str) {
    term.keys("g");
    term.wait_for("go to");
    term.keys(&format!("{place}\r"));
}

#[test]
fn replay_shows_the_same_figures_as_summary_at() {
    let mut term = Term::start(SIZE, &["replay", "--paused", EVENTFUL]);
    term.wait_for("PAUSED");
    term.wait_for("of 5,233");
    assert!(term.is_full_screen());
    for place in ["line 1200", "09:44:10", "75%", "+5s", "line 3"] {
        go(&mut term, place);
        term.wait_gone("go to 0");
        // A distance counts from the current position, so `summary --at` has no equivalent.
        if place == "+5s" {
            continue;
        }
        let (records, errors) = at(place, EVENTFUL);
        term.wait_for(&format!("records {}", grouped(records)));
        if errors > 0 {
            let titles = [format!("errors {errors}"), format!("{errors} in all")];
            term.until("errors", |term| titles.iter().any(|title| term.text().contains(title)));
        }
    }
    go(&mut term, "line 1200");
    term.wait_for("line 1,200 of");
    term.keys(".");
    term.wait_for("line 1,201 of");
    term.keys(",,");
    term.wait_for("line 1,199 of");
    term.keys("0");
    term.wait_for("before the first line");
    term.keys("n");
    term.wait_for("1 ERRORED");
    term.keys("nn");
    term.wait_for("3 ERRORED");
    term.keys("N");
    term.wait_for("2 ERRORED");
    term.keys("N");
    term.wait_for("1 ERRORED");
    term.keys("N");
    term.wait_for("no error before this");
    term.keys(")");
    term.keys(")");
    term.wait_for("attempt 2");
    term.keys("(");
    term.until("the first attempt again", |term| !term.text().contains("attempt 2"));
    go(&mut term, "nonsense");
    term.wait_for("a place is 08:31:20");
    term.keys("\u{1b}");
    term.wait_gone("a place is");
    term.keys("L");
    term.wait_for(" END ");
    term.wait_for("ENDED");
    term.wait_for("FAILED after");
    term.keys("q");
    assert_eq!(term.exit_code(), 1);
    assert!(term.is_restored());
    assert!(term.text().contains("FAILED after"), "{}", term.text());
}

#[test]
fn replay_plays_pauses_and_ends_at_any_speed() {
    let mut term = Term::start(SIZE, &["replay", "--speed", "4", EVENTFUL]);
    term.wait_for("PLAYING 4x");
    term.wait_for("of 5,233");
    term.keys("0");
    term.until("the clock goes", |term| term.text().contains("+3.") || term.text().contains("+4."));
    term.keys(" ");
    term.wait_for("PAUSED");
    let still = term.text();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(term.text(), still, "a paused view does not change");
    term.keys(" ");
    term.wait_for("PLAYING 4x");
    term.keys(">>>>>>>");
    term.wait_for("PLAYING max");
    term.wait_for(" END ");
    term.keys("q");
    assert_eq!(term.exit_code(), 1);
}

#[test]
fn replay_skips_silences_and_plays_untimed_logs_by_message() {
    let lines: Vec<String> = [0, 1, 2, 1800, 1801, 1802].into_iter().map(|second| record("only", second)).collect();
    let (_folder, path) = log(&lines);
    let mut term = Term::start(SIZE, &["replay", "--skip-gaps", path.to_str().unwrap()]);
    term.wait_for("PLAYING");
    // --skip-gaps passes half an hour of silence in seconds.
    term.wait_for(" END ");
    term.wait_for("line 6 of 6");
    term.keys("x0");
    go(&mut term, "08:10");
    term.wait_for("silence of 29:58: x skips");
    assert!(term.text().contains("┄┄┄"), "{}", term.text());
    term.keys("q");
    term.exit_code();
    let untimed: Vec<String> =
        (0..40).map(|_| "{\"type\":\"record\",\"record\":{\"stream\":\"a\",\"data\":{}}}\n".to_owned()).collect();
    let (_folder, path) = log(&untimed);
    let mut term = Term::start(SIZE, &["replay", path.to_str().unwrap()]);
    term.wait_for("no times in this log: by message");
    term.keys("\u{1b}[C ");
    go(&mut term, "08:00");
    term.wait_for("this log has no times");
    term.keys("\u{1b}");
    term.wait_gone("this log has no times");
    go(&mut term, "50%");
    term.wait_for("line 20 of 40");
    term.keys("q");
    term.exit_code();
}

#[test]
fn scrubber_seeks_by_click_and_drag() {
    let mut term = Term::start(SIZE, &["replay", "--paused", EVENTFUL]);
    term.wait_for("of 5,233");
    let (width, height) = SIZE;
    let row = height - 1;
    let line = |term: &Term| {
        let text = term.text();
        let from = text.rfind("line ").unwrap();
        text[from + 5..].split(' ').next().unwrap().replace(',', "").parse::<u64>().unwrap()
    };
    term.keys(&format!("\u{1b}[<0;{};{row}M", width / 2));
    term.until("the middle", |term| (1_500..4_000).contains(&line(term)));
    let middle = line(&term);
    for column in (10..=width / 2).rev() {
        term.keys(&format!("\u{1b}[<32;{column};{row}M"));
    }
    term.until("dragged back", |term| line(term) < middle / 2);
    term.keys(&format!("\u{1b}[<0;10;{row}m"));
    term.keys(&format!("\u{1b}[<32;{};{row}M", width - 3));
    std::thread::sleep(Duration::from_millis(300));
    assert!(line(&term) < middle / 2, "no drag after the button is released");
    term.keys("q");
    term.exit_code();
}

#[test]
fn followed_file_can_be_rewound_while_it_grows() {
    let (_folder, path) = log(&[record("alpha", 0), record("bravo", 5)]);
    let mut term = Term::start(SIZE, &[path.to_str().unwrap()]);
    term.wait_for("bravo");
    term.keys("\u{1b}[D");
    term.wait_for("BEHIND");
    term.wait_gone("bravo");
    append(&path, &record("charlie", 65));
    // The distance to now grows with the feed; the view stays.
    term.wait_for("01:01 BEHIND");
    assert!(term.text().contains("alpha") && !term.text().contains("charlie"), "{}", term.text());
    term.keys("L");
    term.wait_for("charlie");
    term.wait_gone("BEHIND");
    // Rewind from a frozen screen.
    term.keys(" ");
    term.wait_for("FROZEN");
    term.keys(",");
    term.wait_for("BEHIND");
    term.wait_gone("charlie");
    term.wait_gone("FROZEN");
    // Playing up to now returns to the live view.
    term.keys(">>>>>>>>> ");
    term.wait_for("charlie");
    term.wait_gone("BEHIND");
    // Overwritten lines are gone, and the screen reports that.
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    append(&path, &record("delta", 70));
    term.wait_for("delta");
    term.keys("0");
    term.wait_for("BEHIND");
    term.wait_for("not stored any more");
    term.keys("L");
    term.wait_gone("BEHIND");
    // Later lines can be rewound.
    append(&path, &record("echo", 80));
    term.wait_for("echo");
    term.keys(",");
    term.wait_gone("echo");
    assert!(term.text().contains("delta"), "{}", term.text());
    term.keys("L");
    term.wait_for("echo");
    // Renamed files can still be rewound.
    for number in 0..5 {
        std::fs::rename(&path, path.with_extension(number.to_string())).unwrap();
        append(&path, &record(&format!("rotated{number}"), 90 + number));
        term.wait_for(&format!("rotated{number}"));
    }
    term.keys(",");
    term.wait_gone("rotated4");
    term.keys(",");
    term.wait_gone("rotated3");
    assert!(term.text().contains("rotated2"), "{}", term.text());
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
}

#[test]
fn piped_input_is_rewound_from_the_spool_after_its_end() {
    let line = format!(
        "{{ printf '%s' '{}{}'; sleep 1; printf '%s' '{}'; }} | \"$SYNCTOP\" --theme dark",
        record("early", 0),
        record("middle", 10),
        record("late", 20)
    );
    let mut term = Term::shell(SIZE, &line);
    term.wait_for("late");
    term.wait_for("ENDED");
    term.keys("\u{1b}[1;2D");
    term.wait_for("BEHIND");
    term.wait_gone("late");
    term.keys("\u{1b}[1;2D");
    term.wait_gone("middle");
    term.keys("L");
    term.wait_for("ENDED");
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
}

#[test]
fn several_files_replay_as_one_log() {
    let limit = r#"{"type":"eof","eof":{"status":"started","has_more":true}}"#.to_owned() + "\n";
    let (_one, first) = log(&[record("first", 0), limit]);
    let (_two, second) = log(&[record("first", 60), record("second", 61)]);
    let mut term = Term::start(SIZE, &["replay", "--at", "end", first.to_str().unwrap(), second.to_str().unwrap()]);
    term.wait_for("attempt 2");
    term.wait_for("line 4 of 4");
    term.keys(",,");
    term.wait_for("line 2 of 4");
    assert!(!term.text().contains("attempt 2"), "{}", term.text());
    term.keys("q");
    term.exit_code();
}

#[test]
fn replay_survives_any_size_and_malformed_lines() {
    let (_folder, path) =
        log(&[record("a", 0), "{\"type\":\"record\",\"rec\n".into(), "text\n".into(), record("a", 3)]);
    let mut term = Term::start((30, 8), &["replay", "--paused", path.to_str().unwrap()]);
    term.until("indexed", |term| !term.text().contains("indexing"));
    std::thread::sleep(Duration::from_millis(300));
    term.keys("....");
    for size in [(20, 4), (200, 60), (40, 12), (80, 24)] {
        term.resize(size.0, size.1);
        std::thread::sleep(Duration::from_millis(60));
    }
    term.wait_for("line 4 of 4");
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
    let mut term = Term::start(SIZE, &["replay", "/nonexistent"]);
    assert_eq!(term.exit_code(), 66);
    assert!(term.text().contains("No such file"));
}
