//! Files of a service with one node: segments of its logs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/serve.rs"]
mod serve;

use serde_json::{Value, json};
use serve::{Server, TWO_STREAMS, folder, simulated};
use std::io::Write;

#[test]
fn segments_of_a_run_are_read_as_one_log() {
    let folder = folder();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[logs]\nsegment = \"6kB\"\n[calls]\ntime_limit = 0.4\n").unwrap();
    let mut server = Server::with(folder.path(), &["--config", config.to_str().unwrap()], &[]);
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_past", json!({"scenario_text": TWO_STREAMS}))).is(201);
    client.wait("pipe_past", "ready");
    let whole = client.get("/pipelines/pipe_past/runs/1/log").text();
    let calls = client.get("/pipelines/pipe_past").is(200)["run"]["calls"].as_u64().unwrap();
    assert_eq!(server.end(), Some(0));
    let summary = |files: &[std::path::PathBuf], input: &str| -> Value {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_synctop"))
            .args(["summary", "--json"])
            .args(files)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
    };
    let mut files: Vec<_> = std::fs::read_dir(folder.path().join("data/logs/pipe_past.1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("run-000001."))
        .collect();
    files.sort();
    assert!(files.len() > 5 && calls > 1, "{files:?} {calls}");
    let (parts, one) = (summary(&files, ""), summary(&["-".into()], &whole));
    for field in ["outcome", "attempts", "records", "checkpoints", "streams", "errors"] {
        assert_eq!(parts[field], one[field], "{field}");
    }
    assert_eq!((parts["attempts"].as_u64(), parts["outcome"].as_str()), (Some(calls), Some("succeeded")));
}
