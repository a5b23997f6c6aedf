//! Floors of the layout: no blank screens, and no cut text beside blank cells, at three sizes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/pty.rs"]
mod pty;

use pty::Term;
use std::time::Duration;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 50)];

const EVENTFUL: &str = "tests/fixtures/stripe-progress/20-eventful-all.ndjson.zst";

const DESTINATION: &str = "tests/fixtures/stripe-progress/12-destination-fails-midway.ndjson.zst";

/// Characters of rules, frames and walls: a row of these alone is blank.
const FRAME: &str = "─│┌┐└┘├┤┬┴┼┃▌";

/// Walls that end the row of a pane.
const WALLS: &str = "│┃┤├┼";

/// Returns the faults of a screen: too many blank rows, and cut texts with room beside them.
fn faults(screen: &str, height: u16) -> Vec<String> {
    let mut found = Vec::new();
    let mut rows: Vec<&str> = screen.lines().collect();
    rows.resize(height.into(), "");
    let is_blank = |row: &&str| row.chars().all(|c| c == ' ' || FRAME.contains(c));
    let blank = rows.iter().filter(|row| is_blank(row)).count();
    if blank * 10 > rows.len() {
        found.push(format!("{blank} of {} rows are blank", rows.len()));
    }
    for row in &rows {
        for (at, _) in row.match_indices('…') {
            let rest: Vec<char> = row[at..].chars().skip(1).collect();
            let blanks = rest.iter().take_while(|c| **c == ' ').count();
            // The row ends with the text, or after the columns that the terminal trims.
            let ends = blanks == rest.len() || WALLS.contains(rest[blanks]);
            let width = row.chars().count();
            let column = row[..at].chars().count();
            let room = if rest.is_empty() { 0 } else { blanks };
            if (ends && room > 1) || (!ends && room > 2) {
                found.push(format!("cut at column {column} of {width} with {room} blank cells: {row}"));
            }
        }
    }
    found
}

fn check(name: &str, term: &Term, (width, height): (u16, u16)) {
    let screen = term.text();
    let mut found = faults(&screen, height);
    // A row that ends in a cut text before the last column has blank cells beside it.
    for row in screen.lines().filter(|row| row.ends_with('…')) {
        let used = row.chars().count();
        if used + 2 < usize::from(width) {
            found.push(format!("cut at column {used} of {width}: {row}"));
        }
    }
    assert!(found.is_empty(), "{name} at {width}x{height}: {}\n{screen}", found.join("\n"));
}

#[test]
fn faults_are_found() {
    assert_eq!(faults("a\nb\n─────\nd", 4).len(), 1);
    assert_eq!(faults("abc…      │ x", 1).len(), 1);
    assert_eq!(faults("abc… │ x", 1).len(), 0);
    assert_eq!(faults("acct_00…   error", 1).len(), 1);
    assert_eq!(faults("acct_00…  error", 1).len(), 0);
}

#[test]
fn replay_fills_the_screen_and_cuts_no_text_beside_blank_cells() {
    for size in SIZES {
        let mut term = Term::start(size, &["replay", "--fresh", "--at", "60%", EVENTFUL]);
        term.wait_for("line 3,0");
        term.wait_for("+01:06");
        check("replay", &term, size);
        // Each pane, and the details of the selected row.
        for keys in ["2", "4", "1\r"] {
            term.keys(keys);
            std::thread::sleep(Duration::from_millis(300));
            check(keys, &term, size);
        }
        term.keys("qq");
        term.exit_code();
    }
}

#[test]
fn fleet_of_the_demo_fills_the_screen_and_cuts_no_text_beside_blank_cells() {
    for size in SIZES {
        let mut term = Term::start(size, &["--fresh"]);
        term.until("parked pipelines", |term| term.text().contains("PARKED") && term.text().contains("backfilling"));
        std::thread::sleep(Duration::from_millis(1_500));
        check("demo", &term, size);
        term.keys("q");
        term.exit_code();
    }
}

#[test]
fn focused_pane_is_drawn_at_every_size() {
    for (width, height) in [(80, 24), (100, 24), (120, 40)] {
        let mut term = Term::start((width, height), &[DESTINATION]);
        term.wait_for("ENDED");
        for (key, title) in
            [("3", "[3] doubts"), ("2", "[2] errors"), ("4", "[4] log"), ("5", "[5]"), ("1", "[1] streams")]
        {
            term.keys(key);
            term.until(&format!("{title} at {width}x{height}"), |term| {
                term.text().lines().any(|line| line.contains(title))
            });
        }
        term.keys("3");
        term.wait_for("state ahead");
        term.keys("q");
        assert_eq!(term.exit_code(), 1, "the outcome of the log");
    }
}
