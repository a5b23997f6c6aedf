//! `synctop serve` as a separate process, with a client on a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/serve.rs"]
mod serve;

use common::reduced;
use serde_json::{Value, json};
use serve::{Lines, Server, TWO_STREAMS, folder, is_on_postgres, quick, read_answer, simulated};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use synctop_core::reduce::{Outcome, outcome};

#[test]
fn openapi_document_matches_the_routes() {
    let folder = folder();
    let (write, read) = ("w".repeat(32), "r".repeat(32));
    let server =
        Server::with(folder.path(), &[], &[("SYNCTOP_TOKEN", write.as_str()), ("SYNCTOP_READ_TOKEN", read.as_str())]);
    let open = server.client();
    let document = open.get("/openapi.json").is(200);
    let text = document.to_string();
    // Every $ref resolves.
    for (at, _) in text.match_indices("\"$ref\":\"#") {
        let pointer = text[at + "\"$ref\":\"#".len()..].split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    let mut ids = BTreeSet::new();
    let methods = ["GET", "POST", "PATCH", "DELETE", "PUT"];
    for (path, operations) in document["paths"].as_object().unwrap() {
        let real = path.replace("{id}", "pipe_nope").replace("{task_id}", "task_nope").replace("{number}", "1");
        for method in methods {
            let operation = &operations[method.to_lowercase()];
            let with =
                |token: &str| open.clone().with("Authorization", &format!("Bearer {token}")).call(method, &real, "{}");
            if operation.is_null() {
                assert_eq!(
                    (with(&write).status, with(&write).code().as_str()),
                    (405, "method_not_allowed"),
                    "{method} {path}"
                );
                continue;
            }
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
            let answer = with(&write);
            assert!(answer.status != 405 && answer.code() != "no_such_route", "{method} {path}: {}", answer.text());
            // The document lists the answered status.
            assert!(
                operation["responses"].get(answer.status.to_string()).is_some(),
                "{method} {path}: {}",
                answer.status
            );
            // The document lists each path parameter.
            for name in path.split('{').skip(1).map(|part| part.split('}').next().unwrap()) {
                assert!(
                    operation["parameters"].as_array().unwrap().iter().any(|it| it["name"] == name),
                    "{path} {name}"
                );
            }
            let (nobody, reader) = (open.call(method, &real, "{}").status, with(&read).status);
            let wrong = open.clone().with("Authorization", "Bearer wwwwwwww").call(method, &real, "{}").status;
            match operation["x-permission"].as_str().unwrap() {
                "public" => assert!(nobody < 400 && reader < 400),
                "read" => assert!(nobody == 401 && wrong == 401 && reader != 401 && reader != 403, "{method} {path}"),
                "write" => assert!(nobody == 401 && wrong == 401 && reader == 403, "{method} {path}"),
                "signed" => assert!(nobody == 401 && reader == 403, "{method} {path} {nobody} {reader}"),
                other => panic!("{other}"),
            }
        }
    }
    assert!(ids.len() > 20, "{ids:?}");
    assert_eq!(open.get("/nosuchroute").code(), "no_such_route");
}

/// Create, backfill, ready, key revoked, parked with a reason, resumed, ready, deleted; a wait at
/// each step.
#[test]
fn pipeline_lifecycle_survives_kill_9() {
    let folder = folder();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk_test_a_good_one\n").unwrap();
    let mut server = Server::start(folder.path());
    let client = server.client();
    let config = json!({"scenario_text": TWO_STREAMS, "speed": 0.6, "api_key": format!("file:{}", key.display())});
    let made = client.post("/pipelines", &simulated("pipe_life", config)).is(201);
    assert_eq!((made["status"].as_str(), made["desired_status"].as_str()), (Some("setup"), Some("active")));
    client.wait("pipe_life", "backfill");
    client.wait("pipe_life", "progress");
    server.kill();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.wait("pipe_life", "ready");
    let now = client.get("/pipelines/pipe_life").is(200);
    assert_eq!(now["run"]["status"], "SUCCEEDED", "{now}");
    assert_eq!(now["run"]["progress"], "2/2");
    // Everything was read, and the source's state has nothing left.
    for (stream, records) in [("customer", 700), ("charge", 300)] {
        assert_eq!(now["sync_state"]["source"]["streams"][stream]["remaining"], json!([]), "{stream}");
        let known = &now["sync_state"]["sync_run"]["progress"]["streams"][stream];
        assert!(known["record_count"].as_u64().unwrap() >= records, "{known}");
    }

    std::fs::write(&key, "sk_test_revoked\n").unwrap();
    let run = client.post("/pipelines/pipe_life/runs", &json!({})).is(202);
    let parked =
        client.get(&format!("/pipelines/pipe_life/wait?for=ready&after={}", run["cursor"].as_str().unwrap())).is(200);
    assert_eq!((parked["status"].as_str(), parked["reached"].as_bool()), (Some("error"), Some(false)), "{parked}");
    assert_eq!(parked["timed_out"], false);
    let reason = &parked["reason"];
    assert_eq!(reason["failure_type"], "auth_error");
    assert!(reason["message"].as_str().unwrap().contains("Invalid API Key provided"), "{reason}");
    assert!(reason["next"].as_str().unwrap().contains("check the key"), "{reason}");
    for field in ["fingerprint", "since"] {
        assert!(reason[field].is_string(), "{reason}");
    }
    let listed = client.get("/pipelines?status=error").is(200);
    assert_eq!(listed["data"][0]["reason"], *reason);
    assert_eq!(client.post("/pipelines/pipe_life/runs", &json!({})).code(), "pipeline_parked");
    server.kill();
    let server = Server::start(folder.path());
    let client = server.client();
    assert_eq!(client.get("/pipelines/pipe_life").is(200)["reason"], *reason);

    std::fs::write(&key, "sk_test_a_good_one\n").unwrap();
    let resumed = client.patch("/pipelines/pipe_life", &json!({"desired_status": "active"})).is(200);
    assert!(resumed.get("reason").is_none(), "{resumed}");
    client.wait("pipe_life", "ready");
    let gone = client.delete("/pipelines/pipe_life").is(200);
    assert_eq!(gone, json!({"id": "pipe_life", "deleted": true}));
    assert_eq!(client.get("/pipelines/pipe_life").is(404)["code"], "pipeline_not_found");
    assert_eq!(
        client.patch("/pipelines/pipe_life", &json!({"desired_status": "active"})).is(409)["code"],
        "pipeline_deleted"
    );
    let actions = client.get("/actions?pipeline=pipe_life").is(200);
    let did: Vec<_> = actions["data"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(did, ["deleted", "delete", "update", "run", "create"]);
}

#[test]
fn running_or_paused_pipeline_refuses_another_sync() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_slow", json!({"scenario_text": TWO_STREAMS, "speed": 0.4}))).is(201);
    client.wait("pipe_slow", "progress");
    for route in ["sync", "sync_batch", "runs"] {
        let answer = client.call("POST", &format!("/pipelines/pipe_slow/{route}"), "");
        assert_eq!((answer.status, answer.code().as_str()), (409, "sync_running"), "{route}");
        assert!(answer.json()["task_id"].is_string());
    }
    let task = client.get("/pipelines/pipe_slow").is(200)["run"]["task_id"].as_str().unwrap().to_owned();
    client.patch("/pipelines/pipe_slow", &json!({"desired_status": "paused"})).is(200);
    client.wait("pipe_slow", "paused");
    for route in ["sync", "sync_batch", "runs"] {
        let answer = client.call("POST", &format!("/pipelines/pipe_slow/{route}"), "");
        // The run stays open while the pipeline is paused.
        assert_eq!(answer.status, 409, "{route}: {}", answer.text());
    }
    let before = client.get("/pipelines/pipe_slow").is(200);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.get("/pipelines/pipe_slow").is(200), before, "nothing happens while it is paused");
    client.patch("/pipelines/pipe_slow", &json!({"desired_status": "active"})).is(200);
    client.wait("pipe_slow", "ready");
    let done = client.get(&format!("/tasks/{task}")).is(200);
    assert_eq!((done["status"].as_str(), done["progress"].as_str()), (Some("SUCCEEDED"), Some("2/2")), "{done}");
    // All records are counted in one run.
    let streams = client.get("/pipelines/pipe_slow").is(200)["sync_state"]["sync_run"]["progress"]["streams"].clone();
    assert!(streams["customer"]["record_count"].as_u64().unwrap() >= 700, "{streams}");
}

#[test]
fn idempotency_key_submits_a_run_once() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &quick("pipe_once")).is(201);
    client.wait("pipe_once", "ready");
    let keyed = client.clone().with("Idempotency-Key", "one");
    // The reply is never read.
    let lost = keyed.send("POST", "/pipelines/pipe_once/runs", "{}").unwrap();
    client.until("/pipelines/pipe_once/runs", |it| it["data"][0]["trigger"] == "request");
    drop(lost);
    client.wait("pipe_once", "ready");
    let again = keyed.post("/pipelines/pipe_once/runs", &json!({})).is(202);
    assert_eq!(again["number"], 2);
    server.kill();
    let server = Server::start(folder.path());
    let keyed = server.client().with("Idempotency-Key", "one");
    let once_more = keyed.post("/pipelines/pipe_once/runs", &json!({})).is(202);
    assert_eq!(once_more["task_id"], again["task_id"]);
    assert_eq!(server.client().get("/pipelines/pipe_once/runs").is(200)["data"].as_array().unwrap().len(), 2);
    let other = keyed.post("/pipelines/pipe_once/runs", &json!({"state_limit": 3}));
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
    // A key also creates one pipeline only.
    let keyed = server.client().with("Idempotency-Key", "two");
    let unnamed = json!({"source": {"type": "simulated"}, "destination": {"type": "simulated"}});
    let made = keyed.post("/pipelines", &unnamed).is(201);
    assert_eq!(keyed.post("/pipelines", &unnamed).is(201)["id"], made["id"]);
    assert_eq!(server.client().get("/pipelines").is(200)["data"].as_array().unwrap().len(), 2);
}

#[test]
fn canceled_task_stays_canceled_and_pauses_an_unfinished_backfill() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_cancel", json!({"scenario_text": TWO_STREAMS, "speed": 0.3}))).is(201);
    client.wait("pipe_cancel", "progress");
    let task = client.get("/pipelines/pipe_cancel").is(200)["run"]["task_id"].as_str().unwrap().to_owned();
    let asked = client.delete(&format!("/tasks/{task}")).is(202);
    assert_eq!(asked["cancel_requested"], true);
    let done = client.until(&format!("/tasks/{task}"), |it| it["status"] != "RUNNING");
    assert_eq!(done["status"], "CANCELED");
    // An active pipeline would start the backfill again, so the cancellation pauses it.
    client.wait("pipe_cancel", "paused");
    server.kill();
    let server = Server::start(folder.path());
    assert_eq!(server.client().get(&format!("/tasks/{task}")).is(200)["status"], "CANCELED");
    assert_eq!(server.client().delete(&format!("/tasks/{task}")).is(200)["status"], "CANCELED");
    server.client().patch("/pipelines/pipe_cancel", &json!({"desired_status": "active"})).is(200);
    server.client().wait("pipe_cancel", "ready");
    assert_eq!(server.client().get("/tasks/task_nope").is(404)["code"], "task_not_found");
}

#[test]
fn secrets_are_masked_in_answers_and_logs_and_kept_in_the_store() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    let mut wanted = simulated("pipe_secret", json!({"speed": 0, "api_key": "sk_test_verysecretvalue"}));
    wanted["destination"] =
        json!({"type": "postgres", "postgres": {"url": "postgres://me:hunter2hunter2@db/x", "password": "swordfish1"}});
    let made = client.post("/pipelines", &wanted).is(201);
    client.wait("pipe_secret", "ready");
    let mut told = vec![made.to_string()];
    for path in
        ["/pipelines", "/pipelines/pipe_secret", "/pipelines/pipe_secret/events?from=start&follow=false", "/actions"]
    {
        told.push(client.get(path).text());
    }
    for route in ["check", "setup", "sync"] {
        told.push(client.post(&format!("/pipelines/pipe_secret/{route}"), &json!({})).text());
    }
    told.push(std::fs::read_to_string(folder.path().join("stderr")).unwrap());
    for text in &told {
        for secret in ["verysecretvalue", "hunter2hunter2", "swordfish1"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    // A masked configuration can be sent back without changing the secrets.
    let shown = client.get("/pipelines/pipe_secret").is(200);
    client
        .patch("/pipelines/pipe_secret", &json!({"source": shown["source"], "destination": shown["destination"]}))
        .is(200);
    let bad = json!({"source": {"type": "simulated", "simulated": {"speed": 0, "api_key": "sk_test_revokedvalue"}}});
    client.patch("/pipelines/pipe_secret", &bad).is(200);
    let check = client.post("/pipelines/pipe_secret/check", &json!({})).text();
    assert!(check.contains("Invalid API Key") && !check.contains("revokedvalue"), "{check}");
    // Only the owner may read the data folder.
    let files = [("data", 0o700), ("data/synctop.db", 0o600)];
    for (path, mode) in files.into_iter().take(if is_on_postgres() { 1 } else { 2 }) {
        let found = std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
    // Requests may not refer to the service's own variables.
    let own = simulated("pipe_own", json!({"api_key": "env:SYNCTOP_TOKEN"}));
    assert_eq!(client.post("/pipelines", &own).is(400)["code"], "secret_missing");
}

#[test]
fn lists_page_and_filter() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    for number in 0..5 {
        let mut wanted = quick(&format!("pipe_{number}"));
        wanted["desired_status"] = if number < 2 { "paused" } else { "active" }.into();
        client.post("/pipelines", &wanted).is(201);
    }
    let ids = |answer: &Value| -> Vec<String> {
        answer["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = client.get("/pipelines?limit=2").is(200);
    assert_eq!((ids(&first), first["has_more"].as_bool()), (vec!["pipe_0".into(), "pipe_1".into()], Some(true)));
    let rest = client.get(&format!("/pipelines?limit=3&after={}", first["next"].as_str().unwrap())).is(200);
    assert_eq!((ids(&rest).len(), rest["has_more"].as_bool()), (3, Some(false)));
    assert_eq!(ids(&client.get("/pipelines?desired_status=paused").is(200)), ["pipe_0", "pipe_1"]);
    assert_eq!(ids(&client.get("/pipelines?q=PE_3").is(200)), ["pipe_3"]);
    client.wait("pipe_4", "ready");
    assert!(client.get("/pipelines/pipe_4").is(200).get("sync_state").is_some());
    assert!(client.get("/pipelines?state=false").is(200)["data"][4].get("sync_state").is_none());
    for bad in ["limit=0", "limit=x", "status=nope", "sattus=ready", "state=maybe"] {
        let answer = client.get(&format!("/pipelines?{bad}"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{bad}");
    }
}

#[test]
fn changes_of_the_list_are_read_alone() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    for id in ["pipe_a", "pipe_b", "pipe_c"] {
        let mut wanted = quick(id);
        wanted["desired_status"] = "paused".into();
        client.post("/pipelines", &wanted).is(201);
    }
    let changes = |position: &str, more: &str| client.get(&format!("/pipelines?state=false&changes={position}{more}"));
    let ids = |answer: &Value| -> BTreeSet<String> {
        answer["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    // Until the pipelines have come to rest.
    let until = Instant::now() + Duration::from_secs(20);
    let mut position = client.get("/pipelines").is(200)["changes"].as_str().unwrap().to_owned();
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let answer = changes(&position, "").is(200);
        position = answer["changes"].as_str().unwrap().to_owned();
        if ids(&answer).is_empty() {
            break;
        }
        assert!(Instant::now() < until);
    }
    client.patch("/pipelines/pipe_b", &json!({"desired_status": "active"})).is(200);
    let answer = changes(&position, "").is(200);
    assert_eq!((ids(&answer), answer["removed"].clone()), (BTreeSet::from(["pipe_b".to_owned()]), json!([])));
    assert_eq!(answer["data"][0]["desired_status"], "active");
    let deleted = client.call("DELETE", "/pipelines/pipe_c?force=true", "");
    assert!(deleted.status < 300, "{}", deleted.text());
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = changes(&position, "").is(200);
        if answer["removed"] == json!(["pipe_c"]) {
            assert!(!ids(&answer).contains("pipe_c"));
            break;
        }
        assert!(Instant::now() < until, "{answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (mut all, mut at) = (BTreeSet::new(), position.clone());
    loop {
        let answer = changes(&at, "&limit=1").is(200);
        assert!(answer["data"].as_array().unwrap().len() <= 1);
        all.extend(ids(&answer));
        at = answer["changes"].as_str().unwrap().to_owned();
        if answer["has_more"] == false {
            break;
        }
    }
    assert!(all.contains("pipe_b") && !all.contains("pipe_a"), "{all:?}");
    let gone = changes("elsewhere.1", "");
    assert_eq!((gone.status, gone.code().as_str()), (410, "changes_gone"));
    assert_eq!(changes(&position, "&status=ready").status, 400);
}

#[test]
fn events_start_at_any_cursor_and_continue_live() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_events", json!({"scenario_text": TWO_STREAMS, "speed": 2}))).is(201);
    // From the start, before the first line, to the end of the run.
    let mut live = Lines::of(client.send("GET", "/pipelines/pipe_events/events?from=start&heartbeat=1", "").unwrap());
    let mut text = String::new();
    let mut cursors = Vec::new();
    loop {
        let raw = live.next_raw().unwrap();
        let line: Value = serde_json::from_str(&raw).unwrap();
        if line["type"] == "heartbeat" {
            cursors.push((line["heartbeat"]["cursor"].as_str().unwrap().to_owned(), text.len()));
        } else {
            text.push_str(&raw);
        }
        if line["type"] == "pipeline" && line["pipeline"]["status"] == "ready" {
            break;
        }
    }
    let progress = reduced(text.as_bytes());
    assert_eq!((outcome(&progress), progress.input.unknown, progress.input.malformed), (Outcome::Succeeded, 0, 0));
    // Heartbeats continue while nothing happens.
    assert_eq!(live.next_line().unwrap()["type"], "heartbeat");
    // A cursor returns the same rest, and a last heartbeat with the cursor to continue from.
    let (cursor, at) = cursors[0].clone();
    let rest = client.get(&format!("/pipelines/pipe_events/events?from={cursor}&follow=false")).text();
    let (lines, last) = rest.trim_end().rsplit_once('\n').unwrap();
    assert!(format!("{lines}\n") == text[at..], "from {cursor}: {} bytes for {}", lines.len(), text.len() - at);
    assert!(last.contains("\"heartbeat\"") && last.contains("\"cursor\""), "{last}");
    // The cursor stays valid after a restart.
    let mut server = server;
    server.kill();
    let server = Server::start(folder.path());
    let client = server.client();
    let rest = client.get(&format!("/pipelines/pipe_events/events?from={cursor}&follow=false")).text();
    assert!(rest.starts_with(&text[at..]), "{} bytes", rest.len());
    for (bad, status, code) in [
        ("nonsense", 400, "invalid_request"),
        ("1-1-ffffffffff-0", 410, "cursor_expired"),
        ("99-1-0-0", 410, "cursor_expired"),
    ] {
        let answer = client.get(&format!("/pipelines/pipe_events/events?from={bad}"));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{bad}");
    }
    // The log of a single run.
    let log = client.get("/pipelines/pipe_events/runs/1/log").text();
    assert_eq!(outcome(&reduced(log.as_bytes())), Outcome::Succeeded);
    assert_eq!(client.get("/pipelines/pipe_events/runs/7/log").is(404)["code"], "run_not_found");
}

#[test]
fn slow_reader_gets_a_gap_and_a_snapshot() {
    let folder = folder();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[limits]\nbehind = \"20kB\"\n").unwrap();
    let server = Server::with(folder.path(), &["--config", config.to_str().unwrap()], &[]);
    let client = server.client();
    // Some 28 MB of progress messages: more than the socket buffers hold.
    let many: Vec<_> = (0..15).map(|n| format!("[[streams]]\nname = \"stream_{n}\"\nrecords = 300\n")).collect();
    let many = many.concat();
    let text = format!(
        "latency_ms = [1, 2]\nrequests_per_second = 1000\nrange = {{ gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }}\n{many}"
    );
    client.post("/pipelines", &simulated("pipe_flood", json!({"scenario_text": text, "speed": 0.7}))).is(201);
    client.wait("pipe_flood", "progress");
    let mut slow = Lines::of(client.send("GET", "/pipelines/pipe_flood/events?from=now", "").unwrap());
    slow.until(|line| line["type"] == "heartbeat");
    client.wait("pipe_flood", "ready");
    // The run did not wait for the reader, which continues now.
    let gap = slow.until(|line| line["type"] == "gap");
    assert!(gap["gap"]["bytes"].as_u64().unwrap() > 10_000, "{gap}");
    let snapshot = slow.next_line().unwrap();
    assert_eq!(snapshot["type"], "progress");
    assert!(!snapshot["progress"]["streams"].as_object().unwrap().is_empty(), "{snapshot}");
    let place = gap["gap"]["to"].as_str().unwrap();
    client.get(&format!("/pipelines/pipe_flood/events?from={place}&follow=false"));
}

#[test]
fn live_events_are_stored_during_the_backfill_and_then_delivered() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_hooks", json!({"scenario_text": TWO_STREAMS, "speed": 0.5}))).is(201);
    client.wait("pipe_hooks", "backfill");
    let event = |n: u32| json!({"id": format!("evt_{n}"), "type": "customer.updated", "data": {"object": {"object": "customer", "id": format!("cus_{n}")}}});
    for number in 0..25 {
        let answer = client.post("/webhooks/pipe_hooks", &event(number)).is(202);
        assert_eq!(answer["waiting"], number + 1);
    }
    server.kill();
    let server = Server::start(folder.path());
    let client = server.client();
    client.wait("pipe_hooks", "ready");
    let records = |it: &Value| {
        it["sync_state"]["sync_run"]["progress"]["streams"]["customer"]["record_count"].as_u64().unwrap_or(0)
    };
    let before = client.get("/pipelines/pipe_hooks").is(200);
    client.until("/pipelines/pipe_hooks", |it| records(it) >= 725);
    assert_eq!(before["status"], "ready");
    // Another event while the pipeline is ready.
    let now = records(&client.get("/pipelines/pipe_hooks").is(200));
    client.post("/webhooks/pipe_hooks", &event(99)).is(202);
    client.until("/pipelines/pipe_hooks", |it| records(it) == now + 1);
    assert_eq!(client.get("/pipelines/pipe_hooks").is(200)["status"], "ready");
    // With a webhook_secret, unsigned events are rejected.
    let mut signed = simulated("pipe_signed", json!({"speed": 0}));
    signed["source"]["simulated"]["webhook_secret"] = "whsec_abcdefgh".into();
    client.post("/pipelines", &signed).is(201);
    assert_eq!(client.post("/webhooks/pipe_signed", &event(1)).is(400)["code"], "bad_signature");
    assert_eq!(client.post("/webhooks/pipe_nope", &event(1)).is(404)["code"], "pipeline_not_found");
    assert_eq!(client.call("POST", "/webhooks/pipe_hooks", "{").is(400)["code"], "malformed_json");
}

#[test]
fn sync_continues_after_its_client_disconnects() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_gone", json!({"scenario_text": TWO_STREAMS, "speed": 0.7}))).is(201);
    client.wait("pipe_gone", "ready");
    let stream = client.send("POST", "/pipelines/pipe_gone/sync?reset_state=true&run_id=again", "").unwrap();
    let mut lines = Lines::of(stream);
    lines.until(|line| line["type"] == "source_state");
    drop(lines);
    let done = client.until("/pipelines/pipe_gone", |it| it["run"]["number"] == 2 && it["run"]["status"] != "RUNNING");
    assert_eq!(done["run"]["status"], "SUCCEEDED", "{done}");
    assert_eq!(done["sync_state"]["sync_run"]["run_id"], "again");
    assert_eq!(done["sync_state"]["source"]["streams"]["customer"]["remaining"], json!([]));
}

#[test]
fn bad_requests_are_rejected_with_a_reason() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    let destination = json!({"type": "simulated"});
    for (body, status, code, says) in [
        ("{", 400, "malformed_json", "Malformed JSON"),
        ("[]", 400, "invalid_request", "expected a JSON object"),
        ("{}", 400, "invalid_request", "source"),
        (r#"{"source":{"type":"nope"},"destination":{"type":"x"}}"#, 400, "unknown_engine", "simulated"),
        (
            r#"{"source":{"type":"simulated","simulated":{"scenario":"nope"}},"destination":{"type":"x"}}"#,
            400,
            "invalid_request",
            "healthy",
        ),
        (
            r#"{"source":{"type":"simulated","simulated":{"sped":1}},"destination":{"type":"x"}}"#,
            400,
            "invalid_request",
            "sped",
        ),
        (r#"{"id":"x","source":{"type":"simulated"},"destination":{"type":"x"}}"#, 400, "invalid_request", "3 to 64"),
        (
            r#"{"source":{"type":"simulated"},"destination":{"type":"x"},"desired_state":"paused"}"#,
            400,
            "invalid_request",
            "desired_state: there is no such field",
        ),
        (
            r#"{"id":"9bad","source":{"type":"simulated"},"destination":{"type":"x"}}"#,
            400,
            "invalid_request",
            "start with a letter",
        ),
        (r#"{"source":{"type":"simulated"},"destination":7}"#, 400, "invalid_request", "destination"),
        (
            r#"{"source":{"type":"simulated"},"destination":{"type":"x"},"streams":[{}]}"#,
            400,
            "invalid_request",
            "streams.0.name",
        ),
        (
            r#"{"source":{"type":"simulated","simulated":{"api_key":"sk_test_bad_key_1"}},"destination":{"type":"x"}}"#,
            400,
            "check_failed",
            "Source check failed (simulated): Invalid API Key",
        ),
    ] {
        let answer = client.call("POST", "/pipelines", body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}: {}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains(says), "{body}: {}", answer.text());
    }
    assert_eq!(client.get("/pipelines").is(200)["data"], json!([]));
    client.post("/pipelines", &json!({"id": "pipe_a", "source": {"type": "simulated", "simulated": {"speed": 0}}, "destination": destination})).is(201);
    assert_eq!(client.post("/pipelines", &quick("pipe_a")).is(409)["code"], "pipeline_exists");
    assert_eq!(
        client.patch("/pipelines/pipe_a", &json!({"desired_status": "banana"})).is(400)["code"],
        "invalid_request"
    );
    let stale =
        client.clone().with("If-Match", "\"0\"").patch("/pipelines/pipe_a", &json!({"desired_status": "paused"}));
    assert_eq!((stale.status, stale.code().as_str()), (412, "revision_changed"));
    client.wait("pipe_a", "ready");
    for bad in ["for=banana", "timeout=-1", "timeout=soon", "for=stream:=completed", "after=zz", "fro=ready"] {
        let answer = client.get(&format!("/pipelines/pipe_a/wait?{bad}"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{bad}");
    }
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(5 << 20));
    assert_eq!(client.call("POST", "/pipelines", &large).status, 413);
}

#[test]
fn invalid_startup_settings_are_rejected_with_a_hint() {
    let folder = folder();
    let run = |arguments: &[&str], token: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_synctop"));
        command.args(["serve", "--data-dir"]).arg(folder.path().join("d")).args(arguments);
        command.env_remove("SYNCTOP_TOKEN").env_remove("SYNCTOP_READ_TOKEN");
        if let Some(token) = token {
            command.env("SYNCTOP_TOKEN", token);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["--listen", "0.0.0.0:0"], None);
    assert_eq!(code, Some(64));
    assert!(said.contains("--token-file") && said.contains("SYNCTOP_TOKEN") && said.contains("proxy"), "{said}");
    let (code, said) = run(&["--listen", "0.0.0.0:0"], Some("short"));
    assert!(code == Some(64) && said.contains("at least 16"), "{said}");
    let (code, said) = run(&["--listen", "nowhere"], None);
    assert!(code == Some(64) && said.contains("nowhere"), "{said}");
    let (code, said) = run(&["--config", "/nope.toml"], None);
    assert!(code == Some(66) && said.contains("/nope.toml"), "{said}");
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "[engines.x]\nurl = \"ftp://x\"\n").unwrap();
    let (code, said) = run(&["--config", bad.to_str().unwrap()], None);
    assert!(code == Some(65) && said.contains("ftp: is not http"), "{said}");
    // One service per data folder.
    let server = Server::start(folder.path());
    let data = folder.path().join("data");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(70) && said.contains("Another synctop service uses"), "{said}");
    // One service per address.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["serve", "--listen", &server.address.to_string(), "--data-dir"])
        .arg(folder.path().join("other"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(70) && said.contains("Cannot listen"), "{said}");
}

#[test]
fn shutdown_stops_calls_at_a_checkpoint_and_wakes_waits() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_end", json!({"scenario_text": TWO_STREAMS, "speed": 0.2}))).is(201);
    client.wait("pipe_end", "progress");
    let waiting = client.send("GET", "/pipelines/pipe_end/wait?for=ready&timeout=5m", "").unwrap();
    let mut events = Lines::of(client.send("GET", "/pipelines/pipe_end/events", "").unwrap());
    events.until(|line| line["type"] == "heartbeat");
    let began = Instant::now();
    assert_eq!(server.end(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let woken = read_answer(waiting).unwrap();
    assert_eq!((woken.status, woken.code().as_str()), (503, "shutting_down"));
    let after: u64 = woken.header("retry-after").unwrap().parse().unwrap();
    assert!((2..=8).contains(&after));
    let cursor = woken.json()["cursor"].as_str().unwrap().to_owned();
    let last = events.until(|line| line["heartbeat"]["reconnect_after_ms"].is_u64());
    assert!((2_000..=8_000).contains(&last["heartbeat"]["reconnect_after_ms"].as_u64().unwrap()));
    let server = Server::start(folder.path());
    let done = server.client().get(&format!("/pipelines/pipe_end/wait?for=progress&after={cursor}&timeout=20")).is(200);
    assert_eq!(done["reached"], true, "{done}");
    let events = server.client().get("/pipelines/pipe_end/events?from=start&follow=false").text();
    // The call stopped at a checkpoint.
    assert!(!events.contains("in the middle of a call"), "{events}");
}
