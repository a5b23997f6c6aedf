//! Replays recorded exchanges with the published service against `synctop serve`. Each difference
//! between the answers has a name, and the table of docs/decisions/wire-differences.md has a reason
//! for each name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/engine.rs"]
mod engine;
#[path = "common/recorded.rs"]
mod recorded;
#[path = "common/serve.rs"]
mod serve;

use engine::Engine;
use recorded::{Exchange, exchanges};
use serde_json::{Map, Value, json};
use serve::{Answer, Client, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Recordings in their order. 20 and 21 were recorded from other processes with other pipelines.
const FILES: [&str; 17] = [
    "01-health",
    "02-pipelines-crud",
    "03-errors",
    "04-check-setup",
    "05-sync-stream",
    "06-sync-badkey",
    "07-sync-batch",
    "07b-sync-batch-resume",
    "08-sync-stream-error",
    "09-sync-time-limit-resume",
    "10-sync-client-abort",
    "11-delete",
    "12-sync_workflow_test",
    "13b-sync-while-paused",
    "14-service-with-remote-engine",
    "20-trace-service-stub-workflow",
    "21-progress-service-stub-workflow",
];

/// Named differences of one answer (an unexpected one is a sentence), and our ids by recorded id.
struct Differences<'i>(BTreeSet<String>, &'i BTreeMap<String, String>);

impl Differences<'_> {
    fn note(&mut self, name: &str) {
        self.0.insert(name.to_owned());
    }

    fn note_unexplained(&mut self, what: &str) {
        self.0.insert(format!("UNEXPLAINED {what}"));
    }

    /// Compares a pipeline.
    fn pipeline(&mut self, recorded: &Map<String, Value>, ours: &Map<String, Value>) {
        for (key, theirs) in recorded {
            match (key.as_str(), ours.get(key)) {
                ("id" | "streams" | "desired_status", Some(value)) if value == theirs => {}
                // In the trace generation, `progress` is the last end message.
                ("progress", None) => self.note("one state for both generations"),
                // An id that the service generated.
                ("id", Some(value)) if value.as_str().is_some_and(|id| id.starts_with("pipe_")) => {}
                ("status", Some(value)) if value != theirs => self.note("the status is accurate"),
                ("status", Some(_)) => {}
                ("source" | "destination", Some(value)) => self.compare_side(theirs, value),
                ("sync_state", Some(value)) => {
                    for part in ["source", "destination", "sync_run"] {
                        if theirs.get(part).is_some() && value.get(part).is_none() {
                            self.note_unexplained(&format!("sync_state has no {part}"));
                        }
                    }
                    if value != theirs {
                        self.note("another engine");
                    }
                }
                ("sync_state", None) => self.note("another engine"),
                (key, found) => self.note_unexplained(&format!("{key}: {theirs} became {found:?}")),
            }
        }
        for key in ours.keys().filter(|key| !recorded.contains_key(*key)) {
            match key.as_str() {
                "created_at" | "updated_at" | "revision" | "cursor" | "run" | "reason" | "retry" => {
                    self.note("more fields are returned");
                }
                "sync_state" => self.note("the status is accurate"),
                key => self.note_unexplained(&format!("{key} is new")),
            }
        }
    }

    fn compare_side(&mut self, recorded: &Value, ours: &Value) {
        let kind = recorded["type"].as_str().unwrap();
        if ours["type"] != *kind {
            self.note_unexplained("another type");
        }
        for (key, theirs) in recorded[kind].as_object().unwrap() {
            match ours[kind].get(key) {
                Some(value) if value == theirs => {}
                Some(value) if key == "api_key" && value == "sk_test_***" => self.note("secrets are masked"),
                None if ["batch_size", "account_id", "account_created"].contains(&key.as_str()) => {
                    self.note("engine defaults are not stored");
                }
                found => self.note_unexplained(&format!("{kind}.{key}: {theirs} became {found:?}")),
            }
        }
    }

    fn error(&mut self, exchange: &Exchange, ours: &Value) {
        assert!(ours["error"].is_string() && ours["code"].is_string(), "{ours}");
        self.note("more fields are returned");
        let recorded: Value = serde_json::from_str(&exchange.body).unwrap_or_else(|_| exchange.body.clone().into());
        match recorded.get("error").unwrap_or(&recorded) {
            Value::String(_) if exchange.kind == "text/plain" => self.note("errors are JSON"),
            Value::Array(issues) => {
                self.note("errors are sentences");
                // Our answer lists the first mistake only: one of the recorded places is enough.
                let said = ours["issues"].to_string();
                if !issues.iter().any(|issue| said.contains(issue["path"][0].as_str().unwrap())) {
                    self.note_unexplained(&format!("no place is named: {ours}"));
                }
            }
            theirs if ours["error"] == *theirs => {}
            // The message has our id of the pipeline.
            Value::String(theirs) if theirs.ends_with(" not found") && ours["code"] == "pipeline_not_found" => {}
            // Messages of the source end with different request ids.
            Value::String(theirs)
                if theirs.split(" [").next() == ours["error"].as_str().unwrap().split(" [").next() =>
            {
                self.note("another engine");
            }
            theirs => self.note_unexplained(&format!("error: {theirs} became {}", ours["error"])),
        }
    }

    fn lines(&mut self, exchange: &Exchange, ours: &Answer) {
        let types = |lines: &[Value]| -> BTreeSet<String> {
            lines.iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect()
        };
        let theirs: Vec<Value> = exchange.body.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let lines = ours.lines();
        if lines.iter().any(|line| line["_emitted_by"] == "synctop/service") {
            self.note_unexplained("a line of the service among those of the engine");
        }
        if exchange.path.contains("/check") {
            let said = |lines: &[Value]| -> Vec<_> {
                lines
                    .iter()
                    .map(|line| {
                        (line["type"].clone(), line["connection_status"]["status"].clone(), line["_emitted_by"].clone())
                    })
                    .collect()
            };
            if said(&theirs) != said(&lines) {
                self.note_unexplained("another check");
            }
            return;
        }
        if exchange.path.contains("/sync") {
            let end = |lines: &[Value]| lines.iter().rev().find(|line| line["type"] == "eof").cloned();
            match (end(&theirs), end(&lines)) {
                (Some(theirs), Some(ours)) => {
                    for key in ["status", "has_more", "run_progress", "request_progress"] {
                        if theirs["eof"].get(key).is_some() && ours["eof"].get(key).is_none() {
                            self.note_unexplained(&format!("eof has no {key}"));
                        }
                    }
                }
                (None, _) => {}
                (Some(_), None) => self.note_unexplained("no eof"),
            }
        }
        if types(&theirs) != types(&lines) || theirs.len() != lines.len() {
            self.note("another engine");
        }
    }

    fn compare(&mut self, exchange: &Exchange, ours: &Answer) {
        let path = exchange.path.split('?').next().unwrap();
        let sync = path.ends_with("/sync") || path.ends_with("/sync_batch");
        if exchange.status != ours.status {
            match (exchange.status, ours.status, ours.code().as_str()) {
                (404, 405, "method_not_allowed") => self.note("an unsupported method is 405"),
                (500, 404, "pipeline_not_found") => self.note("an unknown pipeline is 404"),
                (400, 202, _) if path.starts_with("/webhooks") => {
                    self.note("events need no signature without a secret");
                }
                (500, 404, "no_such_route") if path.ends_with("sync_workflow_test") => self.note("no test routes"),
                (201, 400, "check_failed") => self.note("a bad key is rejected at creation"),
                (200 | 500, 409, "pipeline_parked") if sync => self.note("a parked pipeline does not sync"),
                (200 | 500, 409, "pipeline_paused") if sync => self.note("a paused pipeline does not sync"),
                (200, 404, "pipeline_not_found") if exchange.method == "DELETE" => self.note("deletion is final"),
                _ => self.note_unexplained(&format!("{} became {}: {}", exchange.status, ours.status, ours.text())),
            }
            return;
        }
        if ours.status >= 400 {
            return self.error(exchange, &ours.json());
        }
        let kind = ours.header("content-type").unwrap_or_default().split(';').next().unwrap();
        if kind != exchange.kind {
            return self.note_unexplained(&format!("{} became {kind}", exchange.kind));
        }
        if kind == "application/x-ndjson" {
            return self.lines(exchange, ours);
        }
        let (recorded, ours): (Value, Value) = (serde_json::from_str(&exchange.body).unwrap(), ours.json());
        if path == "/health" {
            assert_eq!(ours["ok"], recorded["ok"]);
            assert!(ours["hostname"].is_string());
            self.note("more fields are returned");
        } else if path == "/pipelines" && exchange.method == "GET" {
            assert_eq!((ours["has_more"].as_bool(), ours["data"].is_array()), (Some(false), true));
            for theirs in recorded["data"].as_array().unwrap() {
                let id = theirs["id"].as_str().unwrap();
                let id = self.1.get(id).map_or(id, String::as_str);
                if let Some(ours) = ours["data"].as_array().unwrap().iter().find(|it| it["id"] == *id) {
                    self.pipeline(theirs.as_object().unwrap(), ours.as_object().unwrap());
                }
            }
        } else if path.ends_with("/sync_batch") {
            for (key, theirs) in recorded.as_object().unwrap() {
                match ours.get(key) {
                    Some(value) if value == theirs => {}
                    Some(_) => self.note("another engine"),
                    None => self.note_unexplained(&format!("no {key}")),
                }
            }
            self.note("more fields are returned");
        } else if recorded.get("deleted").is_some() {
            assert_eq!(ours["deleted"], true);
        } else {
            self.pipeline(recorded.as_object().unwrap(), ours.as_object().unwrap());
        }
    }
}

/// Waits until a pipeline changes no more by itself.
fn settle(client: &Client, id: &str) {
    let path = format!("/pipelines/{id}");
    client.until(&path, |it| {
        matches!(it["status"].as_str(), Some("ready" | "error" | "paused") | None)
            || it["retry"]["message"].as_str().is_some_and(|why| why.contains("its caller may go on"))
    });
}

fn replay(
    folder: &Path,
    client: &Client,
    name: &str,
    used: &mut BTreeMap<String, Vec<String>>,
    ids: &mut BTreeMap<String, String>,
) {
    let text = String::from_utf8_lossy(&std::fs::read(folder.join(format!("{name}.txt"))).unwrap()).into_owned();
    for exchange in exchanges(&text) {
        let path = exchange.path.split('?').next().unwrap();
        let mut asked = exchange.path.clone();
        if let Some(id) = path.strip_prefix("/pipelines/").map(|rest| rest.split('/').next().unwrap()) {
            if id == "pipe_conc" && client.get("/pipelines/pipe_conc").status == 404 {
                // This pipeline was created before the recording started.
                let recorded: Value = serde_json::from_str(&exchange.body).unwrap();
                let mut wanted = json!({"id": id, "source": recorded["source"], "destination": recorded["destination"], "streams": recorded["streams"]});
                wanted["desired_status"] = "active".into();
                client.post("/pipelines", &wanted).is(201);
            }
            if let Some(ours) = ids.get(id) {
                asked = asked.replace(id, ours);
            }
            settle(client, ids.get(id).map_or(id, String::as_str));
        }
        let answer = client.call(&exchange.method, &asked, &exchange.request);
        if exchange.method == "POST" && path == "/pipelines" && answer.status == 201 {
            let recorded: Value = serde_json::from_str(&exchange.body).unwrap();
            let ours = answer.json()["id"].as_str().unwrap().to_owned();
            settle(client, &ours);
            ids.insert(recorded["id"].as_str().unwrap_or_default().to_owned(), ours);
        }
        if exchange.request.contains("\"deleted\"") {
            let id = ids.get(path.rsplit('/').next().unwrap()).cloned().unwrap();
            client.until(&format!("/pipelines/{id}"), |it| it["code"] == "pipeline_not_found");
        }
        let mut found = Differences(BTreeSet::new(), ids);
        found.compare(&exchange, &answer);
        for name_of in found.0 {
            used.entry(name_of).or_default().push(format!("{name}: {} {}", exchange.method, exchange.path));
        }
    }
}

#[test]
fn differences_from_the_published_wire_are_documented() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/stripe-service");
    let folder = if folder.is_dir() { folder } else { common::fixture("stripe-service") };
    let temporary = tempfile::tempdir().unwrap();
    let scenario = temporary.path().join("s.toml");
    let streams = [
        "customer",
        "product",
        "invoice",
        "charge",
        "dispute",
        "test_helpers_test_clock",
        "customers",
        "products",
        "disputes",
        "coupons",
        "charges",
    ];
    let streams: String = streams.map(|name| format!("[[streams]]\nname = \"{name}\"\nrecords = 250\n")).concat();
    std::fs::write(
        &scenario,
        format!("range = {{ gte = \"2023-11-14T22:13:20Z\", lt = \"2026-11-20T08:00:00Z\" }}\n{streams}"),
    )
    .unwrap();
    // The simulated engine stands in for the published one; the service calls it over HTTP, as in
    // recording 14.
    let engine = Engine::start(&["--no-pace", scenario.to_str().unwrap()], "127.0.0.1:0");
    let config = temporary.path().join("config.toml");
    std::fs::write(&config, format!("[engines.stripe]\nurl = \"{}\"\n", engine.address)).unwrap();
    let mut used = BTreeMap::new();
    let mut replayed = 0;
    let mut server = None;
    let mut ids = BTreeMap::new();
    for name in FILES {
        if !folder.join(format!("{name}.txt")).is_file() {
            continue;
        }
        // Recordings of other processes need a new service.
        if server.is_none() || name.starts_with('2') {
            let data = temporary.path().join(name);
            std::fs::create_dir_all(&data).unwrap();
            server = Some(Server::with(&data, &["--config", config.to_str().unwrap()], &[]));
            ids.clear();
        }
        replay(&folder, &server.as_ref().unwrap().client(), name, &mut used, &mut ids);
        replayed += 1;
    }
    assert!(replayed >= 3, "there is nothing to replay");
    let table =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/decisions/wire-differences.md"))
            .unwrap();
    let told: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next().map(str::to_owned))
        .filter(|name| !name.starts_with("---") && name != "difference")
        .collect();
    let untold: Vec<_> = used.iter().filter(|(name, _)| !told.contains(*name)).collect();
    let untold: Vec<_> = untold.iter().map(|(name, at)| format!("{name}\n    {}\n", at.join("\n    "))).collect();
    let untold = untold.concat();
    assert!(untold.is_empty(), "not in the table:\n{untold}");
    if replayed == FILES.len() {
        for name in &told {
            assert!(used.contains_key(name), "in the table but not observed: {name}");
        }
    }
}
