//! Regression tests of a review: requests at bad moments, clients that disconnect, engines that
//! ignore limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/serve.rs"]
mod serve;

use serde_json::{Value, json};
use serve::{Lines, SMALL, Server, WAIT_TIMEOUT, folder, on, quick, script, service, simulated};
use std::path::Path;
use std::time::{Duration, Instant};

/// Starts a service with one command engine, the Python script `text`.
fn with_engine(folder: &Path, text: &str, more: &str) -> Server {
    let path = script(folder, "engine", text);
    service(
        folder,
        &format!("[calls]\ngrace = \"1s\"\n[engines.tap]\ncommand = [{:?}]\n{more}\n", path.to_str().unwrap()),
    )
}

#[test]
fn late_teardown_does_not_affect_a_new_pipeline_of_the_same_id() {
    let folder = folder();
    let server = with_engine(
        folder.path(),
        "if call['action'] == 'teardown':\n    time.sleep(2)\nelse:\n    say('eof', reason='complete')\n",
        "actions = [\"teardown\"]",
    );
    let client = server.client();
    client.post("/pipelines", &on("pipe_same", "tap")).is(201);
    client.wait("pipe_same", "ready");
    let deleting = client.send("DELETE", "/pipelines/pipe_same", "").unwrap();
    client.wait("pipe_same", "teardown");
    drop(deleting);
    client.delete("/pipelines/pipe_same?force=true").is(200);
    client.post("/pipelines", &on("pipe_same", "tap")).is(201);
    client.wait("pipe_same", "ready");
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(client.get("/pipelines/pipe_same").is(200)["status"], "ready");
    client.patch("/pipelines/pipe_same", &json!({"desired_status": "paused"})).is(200);
    client.wait("pipe_same", "paused");
}

#[test]
fn request_of_a_disconnected_client_is_done_completely_or_not_at_all() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    for number in 0..40 {
        let id = format!("pipe_left_{number}");
        let stream = client.send("POST", "/pipelines", &quick(&id).to_string()).unwrap();
        // Disconnect at different moments of the request.
        std::thread::sleep(Duration::from_micros(number * 150));
        drop(stream);
    }
    std::thread::sleep(Duration::from_millis(300));
    for number in 0..40 {
        let path = format!("/pipelines/pipe_left_{number}");
        // The pipeline exists completely or not at all.
        match client.get(&path).status {
            200 => drop(client.wait(&format!("pipe_left_{number}"), "ready")),
            404 => drop(client.post("/pipelines", &quick(&format!("pipe_left_{number}"))).is(201)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn concurrent_requests_with_one_key_create_one_pipeline() {
    let folder = folder();
    let server = Server::start(folder.path());
    let keyed = server.client().with("Idempotency-Key", "at once");
    let wanted =
        json!({"source": {"type": "simulated", "simulated": {"speed": 0}}, "destination": {"type": "simulated"}});
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (client, wanted) = (keyed.clone(), wanted.clone());
            std::thread::spawn(move || client.post("/pipelines", &wanted).is(201)["id"].as_str().unwrap().to_owned())
        })
        .collect();
    let ids: std::collections::BTreeSet<String> = threads.into_iter().map(|it| it.join().unwrap()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(server.client().get("/pipelines").is(200)["data"].as_array().unwrap().len(), 1);
}

#[test]
fn cancel_works_at_any_moment() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_cancel", json!({"scenario_text": SMALL, "speed": 0.5}))).is(201);
    client.wait("pipe_cancel", "ready");
    let ended = |task: &str| {
        client.until(&format!("/tasks/{task}"), |it| !["RUNNING", "PENDING"].contains(&it["status"].as_str().unwrap()))
    };
    for wait in [0, 1, 5, 20, 100] {
        let task = client.post("/pipelines/pipe_cancel/runs", &json!({"reset_state": true})).is(202)["task_id"]
            .as_str()
            .unwrap()
            .to_owned();
        std::thread::sleep(Duration::from_millis(wait));
        client.delete(&format!("/tasks/{task}")).is(202);
        assert_eq!(ended(&task)["status"], "CANCELED", "after {wait} ms");
        // reset_state discarded the position: the pipeline is not ready, and stays paused.
        client.wait("pipe_cancel", "paused");
        client.patch("/pipelines/pipe_cancel", &json!({"desired_status": "active"})).is(200);
        client.wait("pipe_cancel", "ready");
    }
    let log = client.get("/pipelines/pipe_cancel/runs/2/log").text();
    assert!(log.contains("the run was canceled"), "{log}");
    // A paused pipeline has no running call that could handle the cancellation.
    let task = client.post("/pipelines/pipe_cancel/runs", &json!({"reset_state": true})).is(202)["task_id"]
        .as_str()
        .unwrap()
        .to_owned();
    client.wait("pipe_cancel", "progress");
    client.patch("/pipelines/pipe_cancel", &json!({"desired_status": "paused"})).is(200);
    client.wait("pipe_cancel", "paused");
    client.delete(&format!("/tasks/{task}")).is(202);
    assert_eq!(ended(&task)["status"], "CANCELED");
    assert_eq!(client.get("/pipelines/pipe_cancel").is(200)["status"], "paused");
}

#[test]
fn reset_state_applies_once() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_reset", json!({"scenario_text": SMALL, "speed": 0.5}))).is(201);
    client.wait("pipe_reset", "ready");
    client.post("/pipelines/pipe_reset/runs", &json!({"reset_state": true, "time_limit": 0.3})).is(202);
    client.wait("pipe_reset", "progress");
    client.patch("/pipelines/pipe_reset", &json!({"desired_status": "paused"})).is(200);
    client.wait("pipe_reset", "paused");
    let left =
        |it: &Value| it["sync_state"]["source"]["streams"]["customer"]["remaining"].as_array().map_or(0, Vec::len);
    let paused = client.get("/pipelines/pipe_reset").is(200);
    let before = left(&paused);
    assert!(before > 0, "{paused}");
    server.kill();
    let server = Server::start(folder.path());
    let client = server.client();
    client.patch("/pipelines/pipe_reset", &json!({"desired_status": "active"})).is(200);
    client.wait("pipe_reset", "ready");
    let now = client.get("/pipelines/pipe_reset").is(200);
    assert_eq!(now["run"]["status"], "SUCCEEDED");
    // Only rows in flight at the stop are read again.
    let records = now["sync_state"]["sync_run"]["progress"]["streams"]["customer"]["record_count"].as_u64().unwrap();
    assert!((700..1_000).contains(&records), "{records}");
    // A run that never started leaves the state unchanged.
    let state = now["sync_state"]["source"].clone();
    let bad = json!({"source": {"type": "simulated", "simulated": {"scenario_text": SMALL, "api_key": "env:NOPE_NOT_THERE"}}});
    client.patch("/pipelines/pipe_reset", &bad).is(200);
    client.post("/pipelines/pipe_reset/runs", &json!({"reset_state": true})).is(202);
    let parked = client.wait("pipe_reset", "error");
    let message = parked["reason"]["message"].as_str().unwrap();
    assert!(message.contains("source.simulated.api_key") && !message.contains("NOPE_NOT_THERE"), "{parked}");
    assert_eq!(client.get("/pipelines/pipe_reset").is(200)["sync_state"]["source"], state);
}

#[test]
fn live_events_that_an_engine_did_not_read_are_delivered_again() {
    let folder = folder();
    let taken = folder.path().join("taken");
    let server = with_engine(
        folder.path(),
        &format!(
            "for event in call.get('stdin', [])[:3]:\n    open({taken:?}, 'a').write(event['source_input']['id'] + '\\n')\nif len(call.get('stdin', [])) > 3 and not os.path.exists(__file__ + '.slow'):\n    open(__file__ + '.slow', 'w')\n    say('eof', reason='time_limit')\nelse:\n    for event in call.get('stdin', [])[3:]:\n        open({taken:?}, 'a').write(event['source_input']['id'] + '\\n')\n    say('eof', reason='complete')\n"
        ),
        "",
    );
    let client = server.client();
    client.post("/pipelines", &on("pipe_live", "tap")).is(201);
    client.wait("pipe_live", "ready");
    client.patch("/pipelines/pipe_live", &json!({"desired_status": "paused"})).is(200);
    client.wait("pipe_live", "paused");
    for number in 0..8 {
        client.post("/webhooks/pipe_live", &json!({"id": format!("evt_{number}")})).is(202);
    }
    client.patch("/pipelines/pipe_live", &json!({"desired_status": "active"})).is(200);
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(&taken).unwrap_or_default();
        let all: std::collections::BTreeSet<&str> = text.lines().collect();
        if all.len() == 8 {
            break;
        }
        assert!(began.elapsed() < WAIT_TIMEOUT, "{all:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn engine_beyond_its_time_limit_is_stopped_at_a_checkpoint() {
    let folder = folder();
    let server = with_engine(
        folder.path(),
        "at = call.get('state', {}).get('source', {}).get('streams', {}).get('a', {}).get('at', 0)\nwhile at < 40:\n    at += 1\n    say('source_state', state_type='stream', stream='a', data={'at': at})\n    time.sleep(0.05)\nsay('eof', reason='complete', state={'source': {'streams': {'a': {'at': at, 'status': 'complete'}}}})\n",
        "time_limit = 0.4",
    );
    let client = server.client();
    client.post("/pipelines", &on("pipe_over", "tap")).is(201);
    let stopped = client.until("/pipelines/pipe_over", |it| it.get("retry").is_some());
    let why = stopped["retry"]["message"].as_str().unwrap();
    assert!(why.contains("exceeded its limit of 0.4 s"), "{why}");
    assert!(stopped["sync_state"]["source"]["streams"]["a"]["at"].as_u64().unwrap() > 0, "{stopped}");
    client.wait("pipe_over", "ready");
    assert_eq!(client.get("/pipelines/pipe_over").is(200)["sync_state"]["source"]["streams"]["a"]["at"], 40);
}

#[test]
fn secret_printed_by_an_engine_is_masked() {
    let folder = folder();
    let server = with_engine(
        folder.path(),
        "key = call['pipeline']['source']['tap']['login']['pass' + 'word']\nif call['action'] == 'check':\n    say('connection_status', status='succeeded', message='in with ' + key)\nelif call['action'] == 'setup':\n    say('log', level='info', message='in with ' + json.dumps(key))\nelse:\n    print('cannot log in with ' + key, file=sys.stderr)\n    say('log', level='warn', message='again with ' + key)\n    sys.exit(4)\n",
        "actions = [\"check\", \"setup\"]",
    );
    let client = server.client();
    let secret = r#"plain"secret\words"#;
    let mut wanted = on("pipe_told", "tap");
    wanted["source"]["tap"] = json!({"login": {"password": secret}});
    let mut told = vec![client.post("/pipelines", &wanted).is(201).to_string()];
    let waiting = client.until("/pipelines/pipe_told", |it| it.get("retry").is_some());
    told.push(waiting.to_string());
    for path in ["/pipelines/pipe_told/events?from=start&follow=false", "/pipelines/pipe_told/runs", "/actions"] {
        told.push(client.get(path).text());
    }
    told.push(client.post("/pipelines/pipe_told/check", &json!({})).text());
    told.push(std::fs::read_to_string(folder.path().join("stderr")).unwrap());
    let all = told.join("\n");
    assert!(all.contains("cannot log in with ***"), "{all}");
    for form in ["secret\\words", "secret\\\\words", "secret\\\\\\\\words"] {
        assert!(!all.contains(form), "{all}");
    }
}

#[test]
fn wait_for_a_stream_covers_the_requested_run() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_stream", json!({"scenario_text": SMALL, "speed": 1}))).is(201);
    client.wait("pipe_stream", "ready");
    for _ in 0..5 {
        let run = client.post("/pipelines/pipe_stream/runs", &json!({"reset_state": true})).is(202);
        let (task, cursor) = (run["task_id"].as_str().unwrap(), run["cursor"].as_str().unwrap());
        assert_ne!(run["progress"], "1/1", "{run}");
        let done =
            client.get(&format!("/pipelines/pipe_stream/wait?for=stream:customer=completed&after={cursor}")).is(200);
        assert_eq!(done["reached"], true);
        // At 20 requests per second, 700 records take longer than that.
        assert!(done["waited_ms"].as_u64().unwrap() > 200, "{done}");
        client.wait("pipe_stream", "ready");
        assert_eq!(client.get(&format!("/tasks/{task}")).is(200)["status"], "SUCCEEDED");
    }
}

#[test]
fn lines_around_a_gap_stay_whole() {
    let folder = folder();
    let server = service(folder.path(), "[limits]\nbehind = \"300kB\"\n");
    let client = server.client();
    let many: Vec<_> = (0..40).map(|n| format!("[[streams]]\nname = \"stream_{n}\"\nrecords = 300\n")).collect();
    let text = format!(
        "latency_ms = [1, 2]\nrequests_per_second = 1000\nrange = {{ gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }}\n{}",
        many.concat()
    );
    client.post("/pipelines", &simulated("pipe_whole", json!({"scenario_text": text, "speed": 0.4}))).is(201);
    client.wait("pipe_whole", "progress");
    let mut slow = Lines::of(client.send("GET", "/pipelines/pipe_whole/events?from=now", "").unwrap());
    slow.until(|line| line["type"] == "heartbeat");
    let mut gaps = 0;
    let began = Instant::now();
    while gaps < 2 && began.elapsed() < WAIT_TIMEOUT {
        std::thread::sleep(Duration::from_millis(300));
        // `next_line` panics on a torn line.
        for _ in 0..40 {
            gaps += u32::from(slow.next_line().unwrap()["type"] == "gap");
        }
    }
    assert!(gaps >= 1);
}

#[test]
fn incomplete_request_bodies_do_not_block_other_clients() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    // Many requests that announce a large body and do not send it.
    let held: Vec<_> = (0..60)
        .map(|_| {
            use std::io::Write;
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            let head = format!(
                "POST /webhooks/pipe_x HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\n{{",
                server.address
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    client.post("/pipelines", &quick("pipe_other")).is(201);
    client.wait("pipe_other", "ready");
    drop(held);
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(2 << 20));
    assert_eq!(client.call("POST", "/webhooks/pipe_other", &large).status, 413);
}

#[test]
fn permanent_error_of_one_stream_does_not_park() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    let denied = format!(
        "{SMALL}[[streams]]\nname = \"dispute\"\nrecords = 100\n[[faults]]\nkind = \"denied\"\nstream = \"dispute\"\n"
    );
    for generation in ["progress", "trace"] {
        let id = format!("pipe_{generation}");
        client
            .post("/pipelines", &simulated(&id, json!({"scenario_text": denied, "speed": 0, "generation": generation})))
            .is(201);
        client.wait(&id, "ready");
        let run = client.get(&format!("/pipelines/{id}")).is(200)["run"].clone();
        assert_eq!(run["result"]["errors"][0]["streams"], json!(["dispute"]), "{generation}: {run}");
    }
    // A bad key affects all streams and parks the pipeline.
    let bad = format!("{SMALL}[[faults]]\nkind = \"bad_key\"\nafter = 0\n");
    client.post("/pipelines", &simulated("pipe_bad", json!({"scenario_text": bad, "speed": 0}))).is(201);
    let reason = client.wait("pipe_bad", "error")["reason"].clone();
    assert_eq!(reason["failure_type"], "auth_error", "{reason}");
    assert!(reason["next"].as_str().unwrap().contains("resume it"), "{reason}");
}

#[test]
fn orphaned_command_engine_is_ended_after_a_restart() {
    let folder = folder();
    let pids = folder.path().join("pids");
    let text = format!(
        "open({pids:?}, 'a').write(f'{{os.getpid()}}\\n')\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay('source_state', state_type='stream', stream='a', data={{'x': 1}})\ntime.sleep(600)\n"
    );
    let mut server = with_engine(folder.path(), &text, "");
    server.client().post("/pipelines", &on("pipe_orphan", "tap")).is(201);
    server.client().wait("pipe_orphan", "progress");
    server.kill();
    let config = folder.path().join("config.toml");
    let server = Server::with(folder.path(), &["--config", config.to_str().unwrap()], &[]);
    server.client().until("/health", |it| it["running"] == 1);
    let began = Instant::now();
    let running = || {
        let all = std::fs::read_to_string(&pids).unwrap();
        let runs = |pid: &&str| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        (all.lines().count(), all.lines().filter(runs).count())
    };
    // Wait until a second engine runs and the first is gone.
    while running() != (2, 1) {
        assert!(began.elapsed() < WAIT_TIMEOUT, "{:?}", running());
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert!(told.contains("killed an engine left by a previous service"), "{told}");
}
