//! Attacks on the service, each by the name of the fault that it found in version 0.1.0: H for high,
//! M for medium, L for low.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/serve.rs"]
mod serve;

use serde_json::{Value, json};
use serve::{Server, folder, on, script, service, simulated};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs SQL on the database of a stopped service.
fn sql(folder: &Path, statement: &str) {
    let store = rusqlite::Connection::open(folder.join("data/synctop.db")).unwrap();
    store.execute_batch(statement).unwrap();
}

/// Starts a service that must refuse to start; returns its exit code and its words.
fn refused_start(folder: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.join("data"))
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn h1_references_read_no_file_that_the_server_does_not_allow() {
    let folder = folder();
    let allowed = folder.path().join("allowed");
    std::fs::create_dir(&allowed).unwrap();
    std::fs::write(allowed.join("key"), "sk_test_from_the_file\n").unwrap();
    std::fs::write(folder.path().join("outside"), "the-contents-outside").unwrap();
    std::os::unix::fs::symlink("../outside", allowed.join("link")).unwrap();
    let server = Server::with(folder.path(), &["--secret-dir", allowed.to_str().unwrap()], &[("VISIBLE", "in-env")]);
    let client = server.client();
    let reference = |path: &str| format!("file:{}", folder.path().join(path).display());
    // A reference in a field that holds no secret is text.
    let mut odd = simulated("pipe_names", json!({"speed": 0, "scenario_text": serve::SMALL}));
    odd["streams"] = json!([{"name": reference("outside")}]);
    let made = client.post("/pipelines?skip_check=true", &odd).is(201);
    assert_eq!(made["streams"][0]["name"], reference("outside"));
    // Every refusal has the same words, whatever exists.
    let mut words = std::collections::BTreeSet::new();
    for value in [
        reference("outside"),
        reference("allowed/link"),
        reference("allowed/../outside"),
        reference("allowed/missing"),
        "file:/etc/shadow".to_owned(),
        "file:/proc/self/environ".to_owned(),
        "env:VISIBLE".to_owned(),
        "env:SYNCTOP_TOKEN".to_owned(),
    ] {
        let refused = client.post("/pipelines", &simulated("pipe_bad", json!({"api_key": value}))).is(400);
        words.insert(refused.to_string());
        assert_eq!(refused["code"], "secret_missing", "{value}");
    }
    assert_eq!(words.len(), 1, "{words:?}");
    let good = simulated("pipe_good", json!({"speed": 0, "api_key": reference("allowed/key")}));
    client.post("/pipelines", &good).is(201);
    for path in ["/pipelines/pipe_names", "/pipelines/pipe_names/events?from=start&follow=false"] {
        assert!(!client.get(path).text().contains("the-contents-outside"), "{path}");
    }
}

#[test]
fn h2_and_m6_damaged_rows_stop_no_other_pipeline() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    // A document that could not be read back is refused.
    let deep = (0..125).fold(json!(1), |inner, _| json!({"a": inner}));
    let mut nested = simulated("pipe_deep", json!({"speed": 0}));
    nested["destination"] = json!({"type": "simulated", "simulated": deep});
    assert_eq!(client.post("/pipelines?skip_check=true", &nested).is(400)["code"], "nested_too_deeply");
    for id in ["pipe_a", "pipe_b", "pipe_c"] {
        client.post("/pipelines", &simulated(id, json!({"speed": 0}))).is(201);
        client.wait(id, "ready");
    }
    server.kill();
    sql(
        folder.path(),
        "UPDATE pipelines SET doc = '{\"id\":' WHERE id = 'pipe_b'; UPDATE tasks SET doc = 'x' WHERE pipeline = 'pipe_c';",
    );
    let server = Server::start(folder.path());
    let client = server.client();
    let list = client.get("/pipelines").is(200);
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["pipe_a", "pipe_b", "pipe_c"]);
    let broken = client.get("/pipelines/pipe_b").is(200);
    assert!(broken["reason"]["message"].as_str().unwrap().contains("cannot be read"), "{broken}");
    assert_eq!(
        client.patch("/pipelines/pipe_b", &json!({"desired_status": "paused"})).is(409)["code"],
        "pipeline_damaged"
    );
    // The others go on, also the one whose run is damaged.
    let runs = client.get("/pipelines/pipe_c/runs").is(200);
    assert_eq!(runs["data"][0]["message"], "the stored data of this run cannot be read");
    for id in ["pipe_a", "pipe_c"] {
        client.post(&format!("/pipelines/{id}/runs"), &json!({})).is(202);
        client.wait(id, "ready");
    }
    client.delete("/pipelines/pipe_b").is(200);
    client.get("/pipelines/pipe_b").is(404);
    client.post("/pipelines", &simulated("pipe_b", json!({"speed": 0}))).is(201);
}

#[test]
fn h4_references_neither_block_nor_overfill() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    std::fs::write(folder.path().join("large"), vec![b'a'; 70_000]).unwrap();
    let server =
        Server::with(folder.path(), &["--secret-dir", folder.path().to_str().unwrap(), "--secret-dir", "/proc"], &[]);
    let client = server.client();
    let begin = Instant::now();
    for path in [fifo.to_str().unwrap(), "/proc/kmsg", "/proc/kallsyms", folder.path().join("large").to_str().unwrap()]
    {
        let config = json!({"api_key": format!("file:{path}")});
        assert_eq!(
            client.post("/pipelines", &simulated("pipe_block", config)).is(400)["code"],
            "secret_missing",
            "{path}"
        );
        client.get("/health").is(200);
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
    let key = format!("file:{}", folder.path().join("large").display());
    let many: Vec<Value> = (0..40).map(|_| json!({"api_key": key})).collect();
    let mut all = simulated("pipe_many", json!({"speed": 0}));
    all["destination"] = json!({"type": "simulated", "simulated": {"all": many}});
    let refused = client.post("/pipelines", &all).is(400);
    assert!(refused["error"].as_str().unwrap().contains("more than 32 references"), "{refused}");
}

#[test]
fn h6_secrets_are_masked_in_every_form_and_in_states() {
    let folder = folder();
    let secret = "k3y/with+odd=chars&more";
    std::fs::write(folder.path().join("key"), secret).unwrap();
    // The engine prints its key in several forms, and keeps it in its state.
    let engine = script(
        folder.path(),
        "engine",
        "import base64, urllib.parse\n\
         key = call['pipeline']['source']['leaky']['api_key']\n\
         for text in [key, base64.b64encode(('user:' + key).encode()).decode(), key.encode().hex(),\n\
         \x20            urllib.parse.quote(key, safe=''), key[:14]]:\n\
         \x20   say('log', level='error', message='refused: ' + text)\n\
         say('source_state', state_type='stream', stream='a', data={'cursor': key})\n\
         say('eof', reason='complete', has_more=False, ending_state={'source': {'streams': {'a': {'cursor': key}}}})\n",
    );
    let config = format!(
        "[secrets]\ndirs = [{:?}]\n[engines.leaky]\ncommand = [\"python3\", {:?}]\n",
        folder.path().display().to_string(),
        engine.display().to_string()
    );
    let server = service(folder.path(), &config);
    let client = server.client();
    let mut wanted = on("pipe_leaky", "leaky");
    wanted["source"]["leaky"]["api_key"] = format!("file:{}", folder.path().join("key").display()).into();
    client.call("POST", "/pipelines?skip_check=true", &wanted.to_string()).is(201);
    client.until("/pipelines/pipe_leaky", |it| {
        it["run"]["status"].as_str().is_some_and(|it| it != "RUNNING" && it != "PENDING")
    });
    let all = [
        client.get("/pipelines/pipe_leaky").text(),
        client.get("/pipelines").text(),
        client.get("/pipelines/pipe_leaky/runs").text(),
        client.get("/pipelines/pipe_leaky/runs/1/log").text(),
    ]
    .concat();
    assert!(all.contains("refused: ***"), "{all}");
    for leak in ["k3y/with", "azN5L3dp", "6b33792f", "k3y%2Fwith", "M3kvd2l0"] {
        assert!(!all.contains(leak), "{leak} in {all}");
    }
}

#[test]
fn m7_lost_database_beside_logs_is_refused() {
    for lost in ["empty", "missing"] {
        let folder = folder();
        let mut server = Server::start(folder.path());
        server.client().post("/pipelines", &simulated("pipe_a", json!({"speed": 0}))).is(201);
        server.client().wait("pipe_a", "ready");
        server.end();
        let database = folder.path().join("data/synctop.db");
        if lost == "empty" {
            std::fs::write(&database, "").unwrap();
        } else {
            std::fs::remove_file(&database).unwrap();
        }
        let (code, words) = refused_start(folder.path());
        assert_eq!(code, Some(70), "{words}");
        assert!(words.contains(lost) && words.contains("restore the database from a backup"), "{words}");
    }
}

#[test]
fn m8_moved_endpoint_needs_its_secret_again() {
    let folder = folder();
    let engine = script(folder.path(), "engine", "say('eof', reason='complete', has_more=False)\n");
    let server = service(
        folder.path(),
        &format!("[engines.api]\ncommand = [\"python3\", {:?}]\n", engine.display().to_string()),
    );
    let client = server.client();
    let mut wanted = on("pipe_api", "api");
    wanted["source"]["api"] = json!({"base_url": "https://api.example.com", "api_key": "sk_live_0123456789abcdef"});
    client.call("POST", "/pipelines?skip_check=true", &wanted.to_string()).is(201);
    let mut shown = client.get("/pipelines/pipe_api").is(200)["source"].clone();
    shown["api"]["base_url"] = "https://evil.example.com".into();
    let refused = client.patch("/pipelines/pipe_api", &json!({"source": shown})).is(400);
    assert!(refused["error"].as_str().unwrap().contains("api.base_url changes"), "{refused}");
    shown["api"]["api_key"] = "sk_live_another_key_here".into();
    client.patch("/pipelines/pipe_api", &json!({"source": shown})).is(200);
}

#[test]
fn l7_removed_lock_file_lets_no_second_server_in() {
    let folder = folder();
    let _server = Server::start(folder.path());
    std::fs::remove_file(folder.path().join("data/lock")).unwrap();
    let (code, words) = refused_start(folder.path());
    assert_eq!(code, Some(70), "{words}");
    assert!(words.contains("nother synctop service uses"), "{words}");
}
