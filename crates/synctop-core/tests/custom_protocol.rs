//! A protocol that a user of the library adds: the example is the adapter under test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "../examples/custom_protocol.rs"]
mod example;

use synctop_core::protocol::Dialect;
use synctop_core::reduce::{Outcome, outcome};
use synctop_core::report::summary;

const START: &str = "{\"event\":\"table_start\",\"table\":\"users\"}\n";
const ROWS: &str = "{\"event\":\"rows\",\"table\":\"users\",\"count\":500}\n";
const DONE: &str = "{\"event\":\"table_done\",\"table\":\"users\"}\n";

#[test]
fn an_added_protocol_is_decoded_and_reduced() {
    let log = [START, ROWS, DONE, "{\"event\":\"finished\",\"ok\":true}\n"].concat();
    let progress = example::reduce(&log).progress;
    assert_eq!(outcome(&progress), Outcome::Succeeded);
    let summary = serde_json::to_value(summary(&progress)).unwrap();
    assert_eq!(summary["dialect"], "table-copy");
    assert_eq!(summary["records"]["cumulative"], 500);
    assert_eq!(summary["streams"][0]["status"], "completed");
}

#[test]
fn an_error_of_an_added_protocol_decides_the_outcome() {
    let log = [
        START,
        "{\"event\":\"error\",\"table\":\"users\",\"message\":\"permission denied\"}\n",
        "{\"event\":\"finished\",\"ok\":false}\n",
    ];
    let progress = example::reduce(&log.concat()).progress;
    assert_eq!(outcome(&progress), Outcome::Failed);
    // A log that stops is cut, by the rules that hold for every protocol.
    assert_eq!(outcome(&example::reduce(&[START, ROWS].concat()).progress), Outcome::Truncated);
}

#[test]
fn other_protocols_are_still_detected() {
    let progress = example::reduce("{\"type\":\"RECORD\",\"stream\":\"a\",\"record\":{}}\n").progress;
    assert_eq!(progress.dialect.map(Dialect::as_str), Some("singer"));
}
