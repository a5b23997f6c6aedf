//! Recordings of real engines with a real database (corpus `stripe-live`): outcome, doubts and
//! counts of each, compared with the rows in the database.
//! `cargo test --test live -- --nocapture` prints the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{fixture_root, summary_of};
use std::path::Path;

/// Rows of the source's account, by stream.
const SOURCE: [(&str, u64); 10] = [
    ("customers", 6000),
    ("products", 300),
    ("charges", 4000),
    ("prices", 400),
    ("invoices", 1200),
    ("coupons", 40),
    ("disputes", 55),
    ("subscriptions", 800),
    ("payouts", 250),
    ("refunds", 0),
];

/// Expected outcome and doubts of a recording, and the rows in the database after it.
struct Truth {
    log: &'static str,
    outcome: &'static str,
    doubts: &'static [&'static str],
    rows: Rows,
}

enum Rows {
    /// Rows in the database by stream. The log read no other stream.
    Of(&'static [(&'static str, u64)]),
    /// Rows as in `Of`; no line of the log shows the missing ones. The text is the reason.
    Unseen(&'static [(&'static str, u64)], &'static str),
    /// The rows of this log alone were not counted. The text is the reason.
    Uncounted(&'static str),
}

use Rows::{Of, Uncounted, Unseen};

const FIVE: &[(&str, u64)] =
    &[("customers", 6000), ("products", 300), ("charges", 4000), ("coupons", 40), ("refunds", 0)];
const THREE: &[(&str, u64)] = &[("customers", 6000), ("charges", 4000), ("coupons", 40)];
const NO_CHARGES: &[(&str, u64)] = &[("customers", 6000), ("products", 300), ("charges", 0), ("coupons", 40)];
const NO_PRODUCTS: &[(&str, u64)] = &[("customers", 6000), ("products", 0), ("charges", 4000), ("coupons", 40)];
const HTML: &str = "the engine takes a page of HTML for an empty list and says nothing";
const NO_SYNC: &str = "no sync";

const TRUTHS: [Truth; 38] = [
    truth("hybrid-always500", "completed_with_errors", &["error_overwritten"], Of(NO_CHARGES)),
    truth(
        "hybrid-backfill-limits",
        "completed_with_errors",
        &["resumed_after_cut", "ranges_left"],
        Of(&[("customers", 2700), ("charges", 2600), ("coupons", 40)]),
    ),
    truth("hybrid-droptable", "failed", &[], Of(&[("customers", 1100), ("products", 300), ("coupons", 40)])),
    truth("hybrid-hang", "truncated", &[], Uncounted("the log ends while a request hangs, before a count")),
    truth("hybrid-html", "succeeded", &[], Unseen(NO_PRODUCTS, HTML)),
    truth("hybrid-some500", "succeeded", &[], Of(FIVE)),
    truth(
        "hybrid-statelimit",
        "cut_off",
        &[],
        Of(&[("customers", 200), ("products", 200), ("charges", 200), ("coupons", 40)]),
    ),
    truth(
        "hybrid-storm429",
        "completed_with_errors",
        &["error_overwritten", "ranges_left"],
        Of(&[("customers", 700), ("products", 300), ("charges", 600), ("coupons", 40)]),
    ),
    truth("hybrid-stream403", "failed", &[], Of(NO_CHARGES)),
    truth("hybrid-unknown", "succeeded", &["nothing_synced"], Of(&[])),
    truth("pretrace-01-success", "succeeded", &[], Of(&SOURCE)),
    truth("pretrace-badkey", "failed", &[], Of(&[("customers", 0)])),
    truth(
        "pretrace-revoke",
        "failed",
        &[],
        Of(&[("customers", 3642), ("products", 0), ("charges", 0), ("coupons", 0)]),
    ),
    truth("pretrace-setup", "unknown", &[], Uncounted(NO_SYNC)),
    truth("pretrace-stream403", "completed_with_errors", &[], Of(NO_CHARGES)),
    truth("prog-01-success", "succeeded", &[], Of(&SOURCE)),
    truth("prog-backfill-killed", "succeeded", &[], Of(FIVE)),
    truth("prog-backfill-limits", "succeeded", &[], Of(THREE)),
    truth(
        "prog-backfill-pgdown",
        "failed",
        &["state_ahead"],
        Of(&[("customers", 1200), ("charges", 1200), ("coupons", 40)]),
    ),
    truth("prog-backfill-pgdown-again", "failed", &[], Uncounted("nothing was written in this run")),
    truth(
        "prog-backfill-pgdown-third",
        "succeeded",
        &[],
        Uncounted("its state came from earlier logs, of a client that did not write down which streams were at risk"),
    ),
    truth("prog-backfill-pgrestart2", "succeeded", &["errors_logged"], Of(THREE)),
    truth("prog-badkey", "failed", &[], Of(&[])),
    truth("prog-cli-kill9", "truncated", &[], Of(&[("customers", 2200), ("charges", 2100), ("coupons", 40)])),
    truth("prog-cli-sync.stdout", "unknown", &[], Uncounted("only log lines are on stdout")),
    truth(
        "prog-droptable",
        "completed_with_errors",
        &["state_ahead", "error_overwritten", "ranges_left"],
        Of(&[("customers", 6000), ("products", 300), ("coupons", 40)]),
    ),
    truth("prog-html", "succeeded", &[], Unseen(NO_PRODUCTS, HTML)),
    truth("prog-read", "succeeded", &[], Of(THREE)),
    truth(
        "prog-revoke",
        "failed",
        &[],
        Of(&[("customers", 1700), ("products", 300), ("charges", 1600), ("coupons", 40)]),
    ),
    truth("prog-setup", "unknown", &[], Uncounted(NO_SYNC)),
    truth("prog-some500", "succeeded", &[], Of(FIVE)),
    truth("prog-source-discover", "unknown", &[], Uncounted(NO_SYNC)),
    truth("prog-source-read", "unknown", &[], Of(&[("customers", 6000), ("coupons", 40)])),
    truth("prog-statelimit", "succeeded", &[], Of(FIVE)),
    truth("prog-stream403", "failed", &[], Of(NO_CHARGES)),
    truth(
        "prog-timelimit",
        "cut_off",
        &[],
        Of(&[("customers", 1300), ("products", 300), ("charges", 1300), ("coupons", 40)]),
    ),
    truth("prog-unknown", "cut_off", &["nothing_synced"], Of(&[])),
    truth("service-sync-uptodate", "succeeded", &[], Uncounted("up to date: nothing was read")),
];

const fn truth(log: &'static str, outcome: &'static str, doubts: &'static [&'static str], rows: Rows) -> Truth {
    Truth { log, outcome, doubts, rows }
}

/// Path of the recording with any of its file extensions.
fn path_of(log: &str) -> std::path::PathBuf {
    let folder = fixture_root().join("stripe-live");
    let names = [format!("{log}.ndjson.zst"), format!("{log}.ndjson"), format!("{log}.zst"), log.to_owned()];
    names.into_iter().map(|name| folder.join(name)).find(|path| path.exists()).unwrap_or_else(|| panic!("no {log}"))
}

/// Compares the summary of a recording with its truth. Returns a table row and the differences.
fn wrong(truth: &Truth, path: &Path) -> (String, Vec<String>) {
    let found = serde_json::to_value(summary_of(path)).unwrap();
    let mut wrong = Vec::new();
    let outcome = found["outcome"].as_str().unwrap();
    let doubts: Vec<_> = found["doubts"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    if outcome != truth.outcome {
        wrong.push(format!("outcome {outcome}, not {}", truth.outcome));
    }
    if doubts != truth.doubts {
        wrong.push(format!("doubts {doubts:?}, not {:?}", truth.doubts));
    }
    let (rows, unseen) = match &truth.rows {
        Of(rows) => (*rows, None),
        Unseen(rows, why) => (*rows, Some(*why)),
        Uncounted(why) => (&[][..], Some(*why)),
    };
    let streams = found["streams"].as_array().unwrap();
    let mut counted = Vec::new();
    for (name, rows) in rows {
        let Some(stream) = streams.iter().find(|it| it["name"] == *name) else {
            // No line of the log names the stream.
            if *rows > 0 {
                wrong.push(format!("{name} is missing"));
            }
            continue;
        };
        let records = stream["records"]["cumulative"].as_u64().unwrap_or(0);
        let unwritten = stream["unwritten_up_to"].as_u64().unwrap_or(0);
        if !(records.saturating_sub(unwritten)..=records).contains(rows) {
            wrong.push(format!(
                "{name}: {records} counted, up to {unwritten} of them unwritten, {rows} in the database"
            ));
        }
        let all = SOURCE.iter().find(|(source, _)| source == name).unwrap().1;
        if *rows < all && outcome == "succeeded" && doubts.is_empty() && unseen.is_none() {
            wrong.push(format!("{name}: {rows} of {all} rows, and it says succeeded without a doubt"));
        }
        counted.push(format!("{name} {records}/{rows}"));
    }
    let row = format!(
        "{:<28} {:<22} {:<48} {} {}",
        truth.log,
        outcome,
        doubts.join(","),
        counted.join(" "),
        unseen.unwrap_or_default()
    );
    (row, wrong)
}

#[test]
fn recordings_match_the_rows_in_the_database() {
    let mut all = Vec::new();
    for truth in &TRUTHS {
        let (row, wrong) = wrong(truth, &path_of(truth.log));
        println!("{} {row}", if wrong.is_empty() { "right" } else { "WRONG" });
        all.extend(wrong.into_iter().map(|why| format!("{}: {why}", truth.log)));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn every_recording_has_a_truth() {
    for entry in std::fs::read_dir(fixture_root().join("stripe-live")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let log = name.trim_end_matches(".zst").trim_end_matches(".ndjson");
        let is_log = name.contains(".ndjson") || name.contains(".stdout");
        assert!(!is_log || TRUTHS.iter().any(|truth| truth.log == log), "{name}");
    }
}
