//! The summary of every recorded log. The goldens were checked against an independent slow count
//! (tests/slow_summary.py, written from the rules alone);
//! `UPDATE_GOLDENS=1 cargo test -p synctop-core --test golden` rewrites them for review.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../../../tests/common/goldens.rs"]
mod goldens;
#[path = "../../../tests/common/logs.rs"]
mod logs;

use goldens::{check, compare};
use logs::{Run, corpus, corpus_root, fixture_root, fixtures, runs, summary_of};
use std::path::PathBuf;
use synctop_core::report::summary;

fn check_logs(logs: &[(String, PathBuf)]) {
    check(logs, |(folder, path)| {
        let name = path.file_name().unwrap().to_string_lossy();
        compare(folder, &name, &summary_of(path))
    });
}

/// Compares runs, with their exit codes and stderr, with their goldens.
fn check_runs(runs: &[Run]) {
    check(runs, |run| {
        let (folder, name) = run.name.split_once('/').unwrap();
        compare(folder, name, &summary(&run.reduced()))
    });
}

#[test]
fn every_fixture_of_a_run_has_its_summary() {
    let runs = runs(&fixture_root());
    assert!(runs.len() >= 54, "fixtures are missing: {}", runs.len());
    check_runs(&runs);
}

/// The goldens of these were checked against `tests/slow_runs.py`, which counts the raw logs.
#[test]
fn every_recorded_run_has_its_summary() {
    let Some(root) = corpus_root() else {
        eprintln!("the recordings are not beside this clone; the fixtures stand for them");
        return;
    };
    let runs = runs(&root);
    assert!(runs.len() >= 60, "recordings are missing: {}", runs.len());
    check_runs(&runs);
}

#[test]
fn every_fixture_has_its_summary() {
    let files = fixtures();
    assert!(files.len() >= 55, "fixtures are missing: {}", files.len());
    check_logs(&files);
}

#[test]
fn every_recording_has_its_summary() {
    let Some(files) = corpus() else {
        eprintln!("the recordings are not beside this clone; the fixtures stand for them");
        return;
    };
    assert!(files.len() >= 61, "recordings are missing: {}", files.len());
    check_logs(&files);
}
