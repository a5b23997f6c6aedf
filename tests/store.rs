//! `synctop store`: from a data folder to PostgreSQL and back without loss, and its refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/serve.rs"]
mod serve;

use serde_json::{Value, json};
use serve::postgres::Postgres;
use serve::{Client, Server, folder, quick, simulated};
use std::path::Path;
use std::process::{Command, Output};

fn synctop(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_synctop")).args(arguments).output().unwrap()
}

/// Runs a command of the store. Returns its stdout and stderr.
fn store(arguments: &[&str], code: i32) -> String {
    let output = synctop(&[&["store"], arguments].concat());
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    text
}

/// Everything that a service answers about its pipelines, except positions in time of the answer.
fn everything(client: &Client) -> Value {
    let list = client.get("/pipelines").is(200);
    let mut all = Vec::new();
    for pipeline in list["data"].as_array().unwrap() {
        let id = pipeline["id"].as_str().unwrap();
        let runs = client.get(&format!("/pipelines/{id}/runs")).is(200);
        let logs: Vec<_> = runs["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| client.get(&format!("/pipelines/{id}/runs/{}/log", run["number"])).text())
            .collect();
        let mut shown = pipeline.clone();
        for field in ["node", "cursor"] {
            shown.as_object_mut().unwrap().remove(field);
        }
        all.push(json!({"pipeline": shown, "runs": runs["data"], "logs": logs}));
    }
    let actions = client.get("/actions?limit=1000").is(200);
    let actions: Vec<_> = actions["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| json!([it["at"], it["client"], it["action"], it["pipeline"], it["detail"]]))
        .collect();
    json!({"pipelines": all, "actions": actions})
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_data_folder_moves_to_postgres_and_back_without_loss() {
    let Some(cluster) = Postgres::start(false) else { return };
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    for number in 0..4 {
        let id = format!("pipe_{number}");
        client.post("/pipelines", &simulated(&id, json!({"speed": 0, "seed": number}))).is(201);
        client.wait(&id, "ready");
    }
    let key = client.clone().with("Idempotency-Key", "again");
    let task = key.post("/pipelines/pipe_1/runs", &json!({"reset_state": true})).is(202)["task_id"].clone();
    client.until(&format!("/tasks/{}", task.as_str().unwrap()), |task| task["status"] == "SUCCEEDED");
    client.wait("pipe_1", "ready");
    client.call("DELETE", "/pipelines/pipe_0", "").is(200);
    client.patch("/pipelines/pipe_2", &json!({"desired_status": "paused"})).is(200);
    client.wait("pipe_2", "paused");
    client.post("/webhooks/pipe_2", &json!({"id": "evt_1"})).is(202);
    let before = everything(&client);
    assert_eq!(before["pipelines"].as_array().unwrap().len(), 3);
    let data = folder.path().join("data");
    let said = store(&["export", "--data-dir", text(&data), "-o", text(&folder.path().join("early"))], 70);
    assert!(said.contains("is in use: stop its service first"), "{said}");
    assert!(!folder.path().join("early").exists());
    assert_eq!(server.end(), Some(0));

    assert_eq!(store(&["check", "--data-dir", text(&data)], 0), "the store is sound\n");
    let export = folder.path().join("first.export");
    let said = store(&["export", "--data-dir", text(&data), "-o", text(&export)], 0);
    assert!(said.contains("exported 3 pipelines, 5 runs"), "{said}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&export).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let url = cluster.database("moved");
    let said = store(&["import", text(&export), "--store", &url], 0);
    assert!(said.contains("imported 3 pipelines"), "{said}");
    assert_eq!(store(&["check", "--store", &url], 0), "the store is sound\n");
    assert_eq!(store(&["migrate", "--store", &url], 0), "the store has version 1 already\n");
    let said = store(&["import", text(&export), "--store", &url], 64);
    assert!(said.contains("import into an empty database"), "{said}");
    // Sound, and the same as before.
    let mut node = Server::node(folder.path(), "node", &url, &[]);
    let client = node.client();
    let moved = everything(&client);
    assert_eq!(moved, before);
    // A deleted name, a used key and a queued event are remembered.
    assert_eq!(client.patch("/pipelines/pipe_0", &json!({"desired_status": "active"})).code(), "pipeline_deleted");
    let key = client.clone().with("Idempotency-Key", "again");
    assert_eq!(key.post("/pipelines/pipe_1/runs", &json!({"reset_state": true})).is(202)["task_id"], task);
    assert_eq!(cluster.query("moved", "SELECT count(*) FROM inputs").trim(), "1");
    client.until("/pipelines/pipe_1", |it| it["node"] == "node");
    // It goes on: new runs, new pipelines.
    client.post("/pipelines/pipe_3/runs", &json!({})).is(202);
    client.until("/pipelines/pipe_3/runs", |runs| {
        runs["data"][0]["number"] == 2 && runs["data"][0]["status"] == "SUCCEEDED"
    });
    client.post("/pipelines", &simulated("pipe_new", json!({"speed": 0}))).is(201);
    client.wait("pipe_new", "ready");
    assert_eq!(node.end(), Some(0));
    assert_eq!(store(&["check", "--store", &url], 0), "the store is sound\n");

    let mut again = Server::node(folder.path(), "node", &url, &[]);
    let before = everything(&again.client());
    // A database may be in use.
    let second = folder.path().join("second.export");
    store(&["export", "--store", &url, "-o", text(&second)], 0);
    assert_eq!(again.end(), Some(0));
    let back = folder.path().join("back");
    std::fs::create_dir(&back).unwrap();
    let data = back.join("data");
    store(&["import", text(&second), "--data-dir", text(&data)], 0);
    assert_eq!(store(&["check", "--data-dir", text(&data)], 0), "the store is sound\n");
    let one = Server::start(&back);
    assert_eq!(everything(&one.client()), before);
}

#[test]
fn a_missing_or_damaged_part_of_a_log_is_found() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &quick("pipe_holes")).is(201);
    client.wait("pipe_holes", "ready");
    for _ in 0..3 {
        let task = client.post("/pipelines/pipe_holes/runs", &json!({"reset_state": true})).is(202);
        let path = format!("/tasks/{}", task["task_id"].as_str().unwrap());
        client.until(&path, |task| task["status"] == "SUCCEEDED");
    }
    assert_eq!(server.end(), Some(0));
    let data = folder.path().join("data");
    let logs = data.join("logs/pipe_holes.1");
    let mut files: Vec<_> = std::fs::read_dir(&logs).unwrap().flatten().map(|file| file.path()).collect();
    files.sort();
    assert!(files.len() > 3, "{files:?}");
    assert_eq!(store(&["check", "--data-dir", text(&data)], 0), "the store is sound\n");
    std::fs::write(&files[1], "garbage without a line").unwrap();
    let said = store(&["check", "--data-dir", text(&data)], 1);
    assert!(said.contains("pipe_holes: its log is not whole"), "{said}");
    // Also the next check, and one of a file that is gone.
    store(&["check", "--data-dir", text(&data)], 1);
    for file in std::fs::read_dir(&logs).unwrap().flatten() {
        if file.path().to_string_lossy().starts_with(text(&files[1])) {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    let said = store(&["check", "--data-dir", text(&data)], 1);
    assert!(said.contains("pipe_holes: its log is not whole"), "{said}");
    let said = store(&["export", "--data-dir", text(&data), "-o", text(&folder.path().join("holes"))], 0);
    assert!(said.contains("1 part of logs missing"), "{said}");
}

#[test]
fn mistakes_are_refused_with_a_sentence_and_a_code() {
    let folder = folder();
    let path = folder.path();
    let none = path.join("none");
    let said = store(&["check", "--data-dir", text(&none)], 66);
    assert!(said.contains("has no store"), "{said}");
    let said = store(&["check", "--store", "postgres://synctop@127.0.0.1:1/synctop"], 69);
    assert!(said.contains("cannot be used") && said.contains("check that it runs"), "{said}");
    let said = store(&["migrate", "--store", "mysql://127.0.0.1/x"], 64);
    assert!(said.contains("expected postgres://"), "{said}");
    let said = store(&["migrate", "--store", "postgres://user:secret@127.0.0.1/x"], 64);
    assert!(said.contains("contains a password") && !said.contains("secret@"), "{said}");
    std::fs::write(path.join("bad"), "no export").unwrap();
    let said = store(&["import", text(&path.join("bad")), "--data-dir", text(&path.join("d1"))], 65);
    assert!(said.contains("cannot be read") && said.contains("Export the store again"), "{said}");
    let cut =
        zstd::encode_all(&b"{\"type\":\"header\",\"format\":1,\"synctop\":\"0.1.0\",\"last_incarnation\":1}\n"[..], 1)
            .unwrap();
    std::fs::write(path.join("cut"), cut).unwrap();
    let said = store(&["import", text(&path.join("cut")), "--data-dir", text(&path.join("d2"))], 65);
    assert!(said.contains("cut off"), "{said}");
    // A damaged row and a damaged log are found.
    let mut server = Server::start(path);
    server.client().post("/pipelines", &simulated("pipe_bad", json!({"speed": 0}))).is(201);
    server.client().post("/pipelines", &simulated("pipe_log", json!({"speed": 0}))).is(201);
    server.client().wait("pipe_bad", "ready");
    server.client().wait("pipe_log", "ready");
    server.end();
    let database = rusqlite::Connection::open(path.join("data/synctop.db")).unwrap();
    database.execute("UPDATE pipelines SET doc = '{}' WHERE id = 'pipe_bad'", []).unwrap();
    drop(database);
    std::fs::remove_dir_all(path.join("data/logs/pipe_log.2")).unwrap();
    let said = store(&["check", "--data-dir", text(&path.join("data"))], 1);
    assert!(
        said.contains("pipe_bad: its stored data cannot be read") && said.contains("pipe_log: its log is missing"),
        "{said}"
    );
}
