//! The summary of every recorded log. The goldens were checked against an independent slow count
//! (tests/slow_summary.py, written from the rules alone);
//! `UPDATE_GOLDENS=1 cargo test --test golden` rewrites them for review.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{Run, corpus, corpus_root, fixture_root, fixtures, runs, summary_of};
use std::fs;
use std::path::{Path, PathBuf};
use synctop_core::report::{Summary, summary};

fn golden(folder: &str, file: &str) -> PathBuf {
    let name = file.trim_end_matches(".zst");
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens")
        .join(format!("{}__{name}.json", folder.replace('/', "__")))
}

fn check(folder: &str, path: &Path) -> Result<(), String> {
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    compare(&golden(folder, &file), &summary_of(path), &format!("{folder}/{file}"))
}

fn compare(golden: &Path, summary: &Summary, what: &str) -> Result<(), String> {
    let found = serde_json::to_string_pretty(summary).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(golden, &found).unwrap();
    }
    let wanted = fs::read_to_string(golden).map_err(|error| format!("{}: {error}", golden.display()))?;
    if wanted == found {
        return Ok(());
    }
    let at = wanted.lines().zip(found.lines()).position(|(a, b)| a != b).unwrap_or(0);
    let line = |text: &str| text.lines().nth(at).unwrap_or_default().to_owned();
    Err(format!("{what}: line {}: wanted {} found {}", at + 1, line(&wanted), line(&found)))
}

fn check_all(files: &[(String, PathBuf)]) {
    let wrong: Vec<String> = files.iter().filter_map(|(folder, path)| check(folder, path).err()).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

/// Compares runs, with their exit codes and stderr, with their goldens.
fn check_runs(runs: &[Run]) {
    let one = |run: &Run| {
        let (folder, name) = run.name.split_once('/').unwrap();
        compare(&golden(folder, name), &summary(&run.progress()), &run.name).err()
    };
    let wrong: Vec<String> = runs.iter().filter_map(one).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), runs.len(), wrong.join("\n"));
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
    check_all(&files);
}

#[test]
fn every_recording_has_its_summary() {
    let Some(files) = corpus() else {
        eprintln!("the recordings are not beside this clone; the fixtures stand for them");
        return;
    };
    assert!(files.len() >= 61, "recordings are missing: {}", files.len());
    check_all(&files);
}
