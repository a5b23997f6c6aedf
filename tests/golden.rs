//! The summary of every recorded log, as `synctop summary` reads it: in parallel, with its stderr
//! and exit code. The goldens are those of the core's test of the same name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/goldens.rs"]
mod goldens;

use common::logs;
use common::{Run, corpus, corpus_root, fixture_root, fixtures, read_saved, runs};
use goldens::{check, compare};
use std::path::PathBuf;
use synctop::net::source::sidecar::Sidecar;
use synctop_core::report::summary;

fn check_logs(logs: &[(String, PathBuf)]) {
    check(logs, |(folder, path)| {
        let name = path.file_name().unwrap().to_string_lossy();
        compare(folder, &name, &summary(&read_saved(path, Sidecar::default())))
    });
}

/// Compares runs, with their exit codes and stderr, with their goldens.
fn check_runs(runs: &[Run]) {
    check(runs, |run| {
        let (folder, name) = run.name.split_once('/').unwrap();
        compare(folder, name, &summary(&run.progress()))
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
