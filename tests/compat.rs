//! Files that earlier versions wrote can be opened: data folder, state files, state database,
//! configurations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/engine.rs"]
mod engine;
#[path = "common/serve.rs"]
mod serve;

use engine::Engine;
use serde_json::{Value, json};
use serve::Server;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use synctop::net::client::StateDb;

fn of_0_1_0() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/0.1.0")
}

/// Unpacks `data/` and `fleet/` of a version into a new folder.
fn unpacked() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let packed = std::fs::File::open(of_0_1_0().join("folders.tar.zst")).unwrap();
    let tar = folder.path().join("folders.tar");
    zstd::stream::copy_decode(packed, std::fs::File::create(&tar).unwrap()).unwrap();
    let unpacked = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(folder.path()).status().unwrap();
    assert!(unpacked.success());
    folder
}

fn synctop(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(arguments)
        .env("SYNC_TOKEN", "of-a-test")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn service_continues_a_data_folder_of_0_1_0() {
    let folder = unpacked();
    let server = Server::with(folder.path(), &[], &[("COMPAT_KEY", "sk_test_good")]);
    let client = server.client();
    let all = client.get("/pipelines?state=false").is(200);
    let status = |id: &str| {
        let all = all["data"].as_array().unwrap();
        all.iter().find(|it| it["id"] == id).map(|it| it["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(status("ready").as_deref(), Some("paused"));
    assert_eq!(status("parked").as_deref(), Some("error"));
    assert_eq!(status("paused").as_deref(), Some("backfill"));
    // The parked pipeline has its reason; the runs have results and logs.
    let parked = client.get("/pipelines/parked").is(200);
    assert_eq!(parked["reason"]["failure_type"], "system_error");
    let runs = client.get("/pipelines/ready/runs").is(200);
    assert_eq!(runs["data"].as_array().unwrap().len(), 2);
    let log = client.get("/pipelines/ready/runs/1/log");
    assert!(log.status == 200 && log.text().contains("\"eof\""), "{}", log.status);
    // The interrupted call continues from its last checkpoint.
    let cut = client.until("/pipelines/paused", |it| it["run"]["so_far"]["checkpoints"].as_u64() > Some(110));
    assert_eq!(cut["run"]["number"], 1);
    assert!(cut["run"]["so_far"]["records"]["cumulative"].as_u64() > Some(10_300), "{}", cut["run"]);
    client.patch("/pipelines/paused", &json!({"desired_status": "paused"})).is(200);
    client.wait("paused", "paused");
    client.patch("/pipelines/ready", &json!({"desired_status": "active"})).is(200);
    client.wait("ready", "ready");
    client.until("/pipelines/open", |it| it["status"] != "teardown");
}

#[test]
fn backfill_continues_a_state_file_of_0_1_0() {
    for (form, file, rows) in
        [("trace", "open", 900), ("trace", "done", 0), ("progress", "open", 900), ("progress", "done", 0)]
    {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("rows.ndjson");
        let (scenario, destination) = (of_0_1_0().join("scenario.toml"), kept.to_str().unwrap());
        let serve = [scenario.to_str().unwrap(), "--no-pace", "--generation", form, "--destination", destination];
        let engine = Engine::start(&serve, "127.0.0.1:0");
        let pipeline = of_0_1_0().join("pipeline.json");
        let state = folder.path().join("state.json");
        let old = std::fs::read_to_string(of_0_1_0().join(format!("state-{file}-{form}.json"))).unwrap();
        std::fs::write(&state, &old).unwrap();
        let calls = ["--pipeline", pipeline.to_str().unwrap(), "--state", state.to_str().unwrap()];
        let output = synctop(&[&["backfill", &engine.address], &calls[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{form} {file}: {output:?}");
        let came = std::fs::read_to_string(&kept).unwrap_or_default();
        let came = came.lines().collect::<BTreeSet<_>>().len();
        // Only the page that was open is read again.
        assert!((rows..=rows + 100).contains(&came), "{form} {file}: {came} rows");
        let now: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
        assert_eq!(now["synctop"]["done"], true, "{form} {file}");
        // An open run keeps its id; a finished run is followed by a new one.
        let was: Value = serde_json::from_str(&old).unwrap();
        assert_eq!(was["synctop"]["run_id"] == now["synctop"]["run_id"], file == "open", "{form} {file}");
    }
}

#[test]
fn state_database_of_0_1_0_keeps_actions_and_acknowledgments() {
    let folder = unpacked();
    let state_db = StateDb::open(&folder.path().join("fleet"), "http://127.0.0.1:34277").unwrap();
    let actions = state_db.actions(10).unwrap();
    let mut actions: Vec<_> = actions.iter().map(|it| format!("{} {}", it.action, it.pipeline)).collect();
    actions.sort();
    assert_eq!(actions, ["pause ready", "resume parked"]);
    let inbox = state_db.inbox().unwrap();
    assert!(inbox.items.values().any(|it| it.acked.is_some()), "{inbox:?}");
}

#[test]
fn configurations_of_0_1_0_are_read() {
    let config = of_0_1_0().join("config.toml");
    let shown = synctop(&["config", "show", "--config", config.to_str().unwrap()]);
    assert!(shown.status.success(), "{shown:?}");
    for name in ["local", "production", "command", "https://sync.example.com", "read_only = true"] {
        assert!(out(&shown).contains(name), "{name}: {}", out(&shown));
    }
    let folder = tempfile::tempdir().unwrap();
    let serve = of_0_1_0().join("serve.toml");
    let server = Server::with(folder.path(), &["--config", serve.to_str().unwrap()], &[]);
    let engines = server.client().get("/engines").text();
    assert!(engines.contains("published") && engines.contains("tap"), "{engines}");
}
