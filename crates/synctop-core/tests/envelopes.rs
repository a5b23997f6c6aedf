//! Prefixes and envelopes around lines: the summary of a log is the same with and without them, but
//! for its times and its input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../../../tests/common/logs.rs"]
mod logs;

use logs::{bytes, corpus_root, fixture_root};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use synctop_core::protocol::Decoder;
use synctop_core::protocol::envelope::{Output, open};
use synctop_core::reduce::{Batch, Exit, Progress, Reducer};
use synctop_core::report::summary;

/// Wraps the line with this number.
type Wrap = fn(usize, &str) -> String;

fn second(number: usize) -> String {
    format!("{:02}:{:02}", number / 60 % 60, number % 60)
}

/// Every wrapper, by the program that writes it.
const WRAPS: [(&str, Wrap); 36] = [
    ("kubectl --timestamps", |n, line| format!("2024-06-01T10:{}.000000001Z {line}", second(n))),
    ("GitHub Actions", |n, line| format!("2024-06-01T03:{}.1234567Z {line}", second(n))),
    ("aws logs tail", |n, line| format!("2024-06-01T10:{}.000000+00:00 ecs/tap/0f3a {line}", second(n))),
    ("CRI", |n, line| format!("2024-06-01T10:{}.123456789Z stdout F {line}", second(n))),
    ("CRI in parts", |n, line| {
        let middle = (line.len() / 2..=line.len()).find(|at| line.is_char_boundary(*at)).unwrap();
        let prefix = format!("2024-06-01T10:{}.123456789+02:00 stdout", second(n));
        format!("{prefix} P {}\n{prefix} F {}", &line[..middle], &line[middle..])
    }),
    ("GitLab", |n, line| format!("2024-06-01T10:{}.123456Z 01O {line}", second(n))),
    ("Stitch", |n, line| format!("2024-06-01 10:{},884Z    tap - {line}", second(n))),
    ("Dagster", |n, line| {
        format!("2024-06-01 10:{} +0000 - dagster - INFO - sync_job - 5d2c-41 - sync_step - {line}", second(n))
    }),
    ("Dagster, process", |n, line| {
        format!("2024-06-01 10:{} +0000 - dagster - DEBUG - job - 5d2c-41 - 812 - step - {line}", second(n))
    }),
    ("Prefect", |n, line| format!("10:{}.123 | INFO    | Task run 'sync-0' - {line}", second(n))),
    ("Prefect, date", |n, line| format!("2024-06-01 10:{}.123 | INFO    | Flow run 'big-owl' - {line}", second(n))),
    ("Prefect 1", |n, line| format!("[2023-02-17 10:{}+0000] INFO - prefect.ShellTask | {line}", second(n))),
    ("Airflow", |n, line| format!("[2022-10-19, 15:{} UTC] {{pod_manager.py:226}} INFO - {line}", second(n))),
    ("Airflow 2.9", |n, line| {
        format!("[2024-06-01T10:{}.123+0000] {{pod_manager.py:472}} INFO - [base] {line}", second(n))
    }),
    ("Airflow, bash", |n, line| format!("[2024-06-01, 10:{} BST] {{subprocess.py:93}} INFO - {line}", second(n))),
    ("kubectl --prefix", |_, line| format!("[pod/tap-7d9f/tap] {line}")),
    ("docker compose", |_, line| format!("tap-1  | {line}")),
    ("docker service logs", |_, line| format!("etl_tap.1.x2xk@node-1    | {line}")),
    ("journalctl", |n, line| format!("Jun  1 10:{} etl1 tap-shop[812]: {line}", second(n))),
    ("journalctl -o short-iso", |n, line| format!("2024-06-01T10:{}+0000 etl1 tap-shop[812]: {line}", second(n))),
    ("docker json-file", |n, line| {
        let time = format!("2024-06-01T10:{}.123456789Z", second(n));
        json!({"log": format!("{line}\n"), "stream": "stdout", "time": time}).to_string()
    }),
    ("journalctl -o json", |n, line| {
        let time = (1_717_236_000_000_000_u64 + 1_000_000 * n as u64).to_string();
        json!({"__REALTIME_TIMESTAMP": time, "PRIORITY": "6", "SYSLOG_IDENTIFIER": "tap", "MESSAGE": line}).to_string()
    }),
    ("journalctl, bytes", |n, line| {
        let time = (1_717_236_000_000_000_u64 + 1_000_000 * n as u64).to_string();
        json!({"__REALTIME_TIMESTAMP": time, "_SYSTEMD_UNIT": "tap.service", "MESSAGE": line.as_bytes()}).to_string()
    }),
    ("Fluent Bit", |n, line| {
        let log = format!("2024-06-01T10:{}.123456789Z stdout F {line}", second(n));
        json!({"date": f64::from(u32::try_from(n).unwrap()) + 1_717_236_000.5, "log": log, "kubernetes": {"pod_name": "tap"}}).to_string()
    }),
    ("FireLens", |_, line| {
        json!({"container_id": "0f3a", "container_name": "/tap", "source": "stdout", "log": line}).to_string()
    }),
    ("Google Cloud", |n, line| {
        let time = format!("2024-06-01T10:{}.123Z", second(n));
        json!({"insertId": "x", "logName": "projects/p/logs/stdout", "textPayload": line, "timestamp": time})
            .to_string()
    }),
    ("Datadog, events", |n, line| {
        let time = format!("2024-06-01T10:{}.123Z", second(n));
        json!({"id": "x", "type": "log", "attributes": {"message": line, "service": "tap", "timestamp": time}})
            .to_string()
    }),
    ("Datadog, archive", |n, line| {
        let time = format!("2024-06-01T10:{}.123Z", second(n));
        json!({"_id": "x", "date": time, "service": "tap", "status": "info", "message": line}).to_string()
    }),
    ("CloudWatch, events", |n, line| {
        json!({"logStreamName": "ecs/tap", "timestamp": 1_717_236_000_000_u64 + n as u64, "message": line, "eventId": "3"})
            .to_string()
    }),
    ("Vector", |n, line| {
        let time = format!("2024-06-01T10:{}.123Z", second(n));
        json!({"message": line, "source_type": "docker_logs", "stream": "stdout", "timestamp": time}).to_string()
    }),
    ("Argo", |_, line| format!("acme-sync-h7x2k-1234567: {line}")),
    ("gh run view --log", |n, line| format!("sync\tRun tap\t2024-06-04T08:{}.0000001Z {line}", second(n))),
    ("ts", |n, line| format!("Jun 04 08:{} {line}", second(n))),
    ("docker compose, colored", |_, line| format!("\u{1b}[32mtap-acme-1  |\u{1b}[0m {line}")),
    ("aws logs get-log-events", |n, line| {
        json!({"timestamp": 1_717_488_000_000_u64 + n as u64, "message": line, "ingestionTime": 1_717_488_000_000_u64})
            .to_string()
    }),
    ("kubectl --prefix --timestamps", |n, line| {
        format!("[pod/tap-7d9f/tap] 2024-06-01T10:{}.000000001Z {line}", second(n))
    }),
];

fn reduced(log: &[u8], exit: Option<i32>) -> Progress {
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push(log);
    reducer.finish(exit.map(Exit::Code));
    reducer.progress
}

/// Summary without times and input.
fn comparable(progress: &Progress) -> Value {
    let mut value = serde_json::to_value(summary(progress)).unwrap();
    for key in ["started_at", "ended_at", "wall_ms", "elapsed_ms", "input"] {
        value[key] = Value::Null;
    }
    for error in value["errors"].as_array_mut().unwrap() {
        (error["first_at"], error["last_at"]) = (Value::Null, Value::Null);
    }
    for stream in value["streams"].as_array_mut().unwrap() {
        stream["rate_limited"]["elapsed_ms"] = Value::Null;
    }
    for run in value["runs"].as_array_mut().unwrap() {
        (run["started_at"], run["ended_at"]) = (Value::Null, Value::Null);
    }
    value
}

fn wrapped(log: &str, wrap: Wrap) -> String {
    log.lines().enumerate().map(|(number, line)| wrap(number, line) + "\n").collect()
}

/// Logs whose summary must not depend on a wrapper: name, text, exit code.
fn cases() -> Vec<(String, String, Option<i32>)> {
    let mut cases = Vec::new();
    let wild = std::fs::read_dir(fixture_root().join("wild")).unwrap().flatten();
    let mut names: Vec<_> = wild.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    let is_log = |name: &&String| Path::new(name).extension().is_some_and(|kind| kind == "ndjson" || kind == "txt");
    for name in names.iter().filter(is_log) {
        let name = format!("wild/{name}");
        if let Ok(text) = String::from_utf8(bytes(&name)) {
            cases.push((format!("{name}, exit 0"), text.clone(), Some(0)));
            cases.push((name, text, None));
        }
    }
    for (folder, path) in logs::corpus().unwrap_or_else(logs::fixtures) {
        let log = logs::unpack(&path);
        if log.len() < 300_000
            && let Ok(text) = String::from_utf8(log)
        {
            cases.push((format!("{folder}/{}", path.display()), text, None));
        }
    }
    let root = corpus_root().unwrap_or_else(fixture_root);
    for run in logs::runs(&root) {
        let log = logs::unpack(&run.log);
        if log.len() < 300_000
            && let Ok(text) = String::from_utf8(log)
        {
            cases.push((run.name.clone(), text, run.exit));
        }
    }
    cases
}

#[test]
fn summaries_do_not_depend_on_prefixes_and_envelopes() {
    let cases = cases();
    assert!(cases.len() > 10, "{}", cases.len());
    let mut wrong = Vec::new();
    for (name, log, exit) in cases {
        // A line of text without an end is not wrapped as one.
        let log = log.trim_end_matches('\n').replace('\r', "") + "\n";
        let plain = comparable(&reduced(log.as_bytes(), exit));
        let has_parts = log.contains(" stdout P ");
        // Parts of a line are not split again.
        for (kind, wrap) in WRAPS.into_iter().filter(|(kind, _)| !(has_parts && kind.ends_with("in parts"))) {
            let found = comparable(&reduced(wrapped(&log, wrap).as_bytes(), exit));
            if found != plain {
                wrong.push(format!("{name} in {kind}\n  plain {plain}\n  found {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn clock_of_a_prefix_outranks_the_time_of_a_message() {
    let line = r#"{"type":"RECORD","record":{"stream":"a","data":{},"emitted_at":1000}}"#;
    let at = |log: &str| serde_json::to_value(summary(&reduced(log.as_bytes(), None))).unwrap()["started_at"].clone();
    assert_eq!(at(&format!("2024-06-01T10:00:00.5+02:00 {line}\n")), "2024-06-01T08:00:00.500Z");
    // Without a time zone the message's own time is better, and `_ts` is better than any clock.
    assert_eq!(at(&format!("[2022-10-19, 15:15:00 BST] {{x.py:1}} INFO - {line}\n")), "1970-01-01T00:16:40.000Z");
    let own = r#"{"type":"record","record":{"stream":"a","data":{},"emitted_at":"2026-01-01T00:00:00Z"},"_ts":"2026-02-02T00:00:00.000Z"}"#;
    assert_eq!(at(&format!("2024-06-01T10:00:00Z {own}\n")), "2026-02-02T00:00:00.000Z");
    // The innermost clock is the program's.
    assert_eq!(
        at(&format!("[pod/a-1/a] 2024-06-01T10:00:09Z 2024-06-01T10:00:01.000Z stdout F {line}\n")),
        "2024-06-01T10:00:01.000Z"
    );
}

#[test]
fn ordinary_text_is_not_a_prefix() {
    for text in [
        "hello world",
        r#"re-sending message {"type":"RECORD","stream":"a","record":{}}"#,
        "2026-11-20 08:35:13,892 | ERROR    | tap-demo  | 'rows' is missing",
        "2026-11-20T08:38:06Z [info     ] target-demo  METRIC: {}",
        "2024-08-09 02:51:00 source > Starting syncing",
        "INFO     | something else",
        "CRITICAL 500 Server Error",
        "[source-stripe] retry attempt=1/5",
        "Traceback (most recent call last):",
        r#"{"level":30,"time":1,"msg":"pino"}"#,
        r#"{"message":"text","timestamp":"2026-11-20T08:38:06Z"}"#,
        r#"{"log":"text"}"#,
        "",
    ] {
        assert_eq!(open(text), None, "{text}");
    }
}

#[test]
fn outputs_and_levels_are_read() {
    let stderr = open(r#"{"log":"CRITICAL no\n","stream":"stderr","time":"2024-06-01T10:00:00Z"}"#).unwrap();
    assert_eq!((stderr.text.as_ref(), stderr.output), ("CRITICAL no", Some(Output::Stderr)));
    let of = |line: &'static str| open(line).unwrap().text.into_owned();
    assert_eq!(of("time=2024-06-01 10:00:00 logger_name=tap log_level=CRITICAL message=no way"), "CRITICAL no way");
    assert_eq!(of("2025-12-10 21:28:52 - ERROR - Connector exited with code 1"), "ERROR Connector exited with code 1");
    assert_eq!(of("2025-12-10 21:28:52,123 - tap - WARNING - slow"), "WARNING slow");
    // Docker splits at 16 KiB; the parts end without a newline.
    let part = json!({"log": "x".repeat(16 * 1024), "stream": "stdout", "time": "2024-06-01T10:00:00Z"}).to_string();
    assert!(open(&part).unwrap().continues);
    assert!(!open(r#"{"log":"short","stream":"stdout","time":"2024-06-01T10:00:00Z"}"#).unwrap().continues);
}

#[test]
fn part_without_its_end_loses_one_line_only() {
    let record = r#"{"type":"RECORD","stream":"a","record":{"id":1}}"#;
    let log = format!(
        "2024-06-01T10:00:00Z stdout F {record}\n2024-06-01T10:00:00Z stdout P {{\"type\":\"REC\n\
         2024-06-01T10:00:01Z stderr F CRITICAL no\n2024-06-01T10:00:02Z stdout F {record}\n\
         2024-06-01T10:00:03Z stdout P {{\"type\":\n"
    );
    let progress = reduced(log.as_bytes(), Some(1));
    let input = serde_json::to_value(summary(&progress)).unwrap()["input"].clone();
    assert_eq!((&input["messages"], &input["malformed"], &input["raw"]), (&json!(2), &json!(2), &json!(1)));
    assert_eq!((&input["lines"], &input["truncated_line"]), (&json!(5), &json!(true)));
    assert_eq!(progress.cumulative_records(), Some(2));
    let error = serde_json::to_value(summary(&progress)).unwrap()["errors"][0]["message"].clone();
    assert_eq!(error, "no");
}

proptest! {
    /// Whole batches and single lines give the same result, whatever is wrapped in what.
    #[test]
    fn batches_agree_with_single_lines(seed in prop::collection::vec((0..WRAPS.len(), 0..8usize), 1..40)) {
        let lines = [
            r#"{"type":"SCHEMA","stream":"a","schema":{"type":"object"},"key_properties":[]}"#,
            r#"{"type":"RECORD","stream":"a","record":{"id":1}}"#,
            r#"{"type":"STATE","value":{"bookmarks":{"a":{"id":1}}}}"#,
            "CRITICAL no",
            "Traceback (most recent call last):",
            "text",
            "",
            r#"{"type":"REC"#,
        ];
        // A line comes up to five times.
        let log: String =
            seed.iter().enumerate().map(|(at, (wrap, line))| WRAPS[*wrap].1(at, lines[*line]) + "\n").enumerate().flat_map(|(at, line)| std::iter::repeat_n(line, 1 + at % 5)).collect();
        let single = reduced(log.as_bytes(), Some(1));
        let decoder = Decoder::default();
        let mut at_once = Progress::default();
        for mut batch in Batch::all(&decoder, log.as_bytes()) {
            at_once.apply_batch(&mut batch, &decoder);
        }
        at_once.close(Some(Exit::Code(1)));
        prop_assert!(at_once == single, "{}", log);
        let input = single.input;
        prop_assert_eq!(input.lines, input.messages + input.raw + input.unknown + input.malformed + input.parts);
    }
}
