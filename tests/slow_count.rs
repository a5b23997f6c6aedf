//! tests/slow_summary.py, an independent slow implementation of the rules, agrees with the reducer
//! on every recording.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{corpus, fixtures, reduced, unpack};
use serde_json::{Value, json};
use std::process::Command;
use synctop::engine::simulator::scenario::SCENARIOS;
use synctop_core::report::summary;

/// Merges doubts by kind and drops their texts, which are synctop's own.
fn merged(all: &[Value]) -> Vec<Value> {
    let mut kinds = std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
    for doubt in all {
        let streams = doubt["streams"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
        kinds.entry(doubt["kind"].as_str().unwrap().to_owned()).or_default().extend(streams);
    }
    kinds.into_iter().map(|(kind, streams)| json!({"kind": kind, "streams": streams})).collect()
}

/// Clears the fields that may differ: synctop's own wording, and fingerprints.
fn comparable(mut summary: Value) -> Value {
    summary["synctop"] = Value::Null;
    let own_words =
        |text: &Value| text.as_str().is_some_and(|text| text.contains("returned") && text.contains("state"));
    for error in summary["errors"].as_array_mut().into_iter().flatten() {
        error["fingerprint"] = Value::Null;
        if own_words(&error["message"]) {
            error["message"] = Value::Null;
        }
    }
    for stream in summary["streams"].as_array_mut().into_iter().flatten() {
        if let Some(share) = stream["coverage"].as_f64() {
            stream["coverage"] = json!(format!("{share:.9}"));
        }
        if own_words(&stream["message"]) {
            stream["message"] = Value::Null;
        }
    }
    for list in ["doubts", "errors", "anomalies"] {
        if let Some(all) = summary[list].as_array_mut() {
            for doubt in all.iter_mut().filter(|_| list == "doubts") {
                doubt["message"] = Value::Null;
            }
            if list == "doubts" {
                *all = merged(all);
            }
            all.sort_by_key(Value::to_string);
        }
    }
    summary
}

/// Output of the simulated engine for each scenario.
fn simulated() -> impl Iterator<Item = (String, Vec<u8>)> {
    let scenarios = SCENARIOS.iter().filter(|(name, _)| *name != "large");
    scenarios.flat_map(|(name, _)| ["trace", "progress"].map(|form| (*name, form))).map(|(name, form)| {
        let arguments = ["simulate", name, "--no-pace", "--generation", form];
        let output = Command::new(env!("CARGO_BIN_EXE_synctop")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name} {form}: {output:?}");
        (format!("{name} {form}"), output.stdout)
    })
}

#[test]
fn summaries_agree_with_the_slow_python_implementation() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slow_summary.py");
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("python3 is not here; the goldens were checked with it when they were made");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let recorded = corpus().unwrap_or_else(fixtures).into_iter().map(|(name, path)| {
        let file = path.file_name().unwrap().display().to_string();
        (format!("{name}/{file}"), unpack(&path))
    });
    for (name, bytes) in recorded.chain(simulated()) {
        if bytes.len() > 5_000_000 {
            continue;
        }
        let plain = folder.path().join("log.ndjson");
        std::fs::write(&plain, &bytes).unwrap();
        let output = Command::new("python3").arg(script).arg(&plain).output().unwrap();
        let slow: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{name}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
        let ours = serde_json::to_value(summary(&reduced(&bytes))).unwrap();
        let (slow, ours) = (comparable(slow), comparable(ours));
        for (field, wanted) in slow.as_object().unwrap() {
            assert_eq!(&ours[field], wanted, "{name}: {field}");
        }
    }
}
