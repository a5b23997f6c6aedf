//! Schedules, lateness, explanations, metrics and alerts of the service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/serve.rs"]
mod serve;

use ring::hmac;
use serde_json::{Value, json};
use serve::{Client, Server, folder, simulated};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Headers and body of a webhook.
type Received = (BTreeMap<String, String>, Value);

/// Chat that receives webhooks: headers and body of each. The first `failures` get status 500.
fn chat(failures: usize) -> (u16, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, received) = mpsc::sync_channel(100);
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().flatten().enumerate() {
            let mut input = BufReader::new(stream);
            let mut headers = BTreeMap::new();
            for line in input.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some((name, value)) = line.split_once(": ") {
                    headers.insert(name.to_ascii_lowercase(), value.to_owned());
                }
            }
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            input.read_exact(&mut body).unwrap();
            let failed = at < failures;
            let status = if failed { "500 Internal Server Error" } else { "200 OK" };
            let _ = write!(input.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            headers.insert("raw".into(), String::from_utf8(body.clone()).unwrap());
            if !failed {
                let _ = sender.send((headers, serde_json::from_slice(&body).unwrap()));
            }
        }
    });
    (port, received)
}

fn next(received: &mpsc::Receiver<Received>) -> Received {
    received.recv_timeout(Duration::from_secs(30)).expect("an alert")
}

/// Starts a service with this configuration.
fn with_config(folder: &Path, text: &str) -> Server {
    let config = folder.join("config.toml");
    std::fs::write(&config, text).unwrap();
    Server::with(folder, &["--config", config.to_str().unwrap(), "--secret-dir", folder.to_str().unwrap()], &[])
}

/// Runs of a pipeline by trigger, oldest first.
fn triggers(client: &Client, id: &str) -> Vec<String> {
    let runs = client.get(&format!("/pipelines/{id}/runs")).is(200);
    let all = runs["data"].as_array().unwrap().iter().rev();
    all.map(|run| run["trigger"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_schedule_starts_runs_and_explains_the_time_between_them() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    let mut body = simulated("pipe_every", json!({"speed": 0}));
    body["schedule"] = json!({"every": "10s", "late_after": "1h"});
    let made = client.post("/pipelines", &body).is(201);
    assert_eq!(made["schedule"]["every"], "10s");
    client.wait("pipe_every", "ready");
    let why = client.get("/pipelines/pipe_every/why").is(200);
    assert_eq!((&why["reasons"][0]["kind"], &why["is_running"]), (&json!("schedule"), &json!(false)), "{why}");
    let next = client.get("/pipelines/pipe_every").is(200)["next_run_at"].clone();
    assert_eq!(why["reasons"][0]["until"], next);
    let begun = Instant::now();
    while triggers(&client, "pipe_every").len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", triggers(&client, "pipe_every"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(triggers(&client, "pipe_every")[..3], ["backfill", "schedule", "schedule"]);
    // Neither a pause nor a removal of the schedule starts a run.
    client.patch("/pipelines/pipe_every", &json!({"desired_status": "paused"})).is(200);
    client.wait("pipe_every", "paused");
    let why = client.get("/pipelines/pipe_every/why").is(200);
    assert_eq!(
        (&why["reasons"][0]["kind"], &why["reasons"][0]["by"]),
        (&json!("paused"), &json!("127.0.0.1")),
        "{why}"
    );
    assert_eq!(client.get("/pipelines/pipe_every").is(200)["late_at"], Value::Null);
    client.patch("/pipelines/pipe_every", &json!({"schedule": null, "desired_status": "active"})).is(200);
    client.wait("pipe_every", "ready");
    let why = client.get("/pipelines/pipe_every/why").is(200);
    assert_eq!(why["reasons"][0]["kind"], "idle", "{why}");
    for (schedule, says) in [
        (json!({"cron": "61 * * * *"}), "cron \"61 * * * *\" has a mistake"),
        (json!({"every": "1s"}), "at least 10 seconds"),
        (json!({"every": "1h", "when": "now"}), "unknown field `when`"),
        (json!("daily"), "expected object"),
    ] {
        let refused = client.patch("/pipelines/pipe_every", &json!({"schedule": schedule})).is(400);
        assert!(refused["error"].as_str().unwrap().contains(says), "{refused}");
    }
}

#[test]
fn a_run_beyond_max_runtime_fails_and_its_pipeline_is_late() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    let slow = "latency_ms = [40, 60]\nrange = { gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }\n[[streams]]\nname = \"customer\"\nrecords = 20000\n";
    let mut body = simulated("pipe_slow", json!({"scenario_text": slow, "speed": 0}));
    client.post("/pipelines", &body).is(201);
    client.wait("pipe_slow", "ready");
    body["source"]["simulated"]["speed"] = json!(1);
    let schedule = json!({"every": "10s", "late_after": "1s", "max_runtime": "2s"});
    client.patch("/pipelines/pipe_slow", &json!({"source": body["source"], "schedule": schedule})).is(200);
    // The state of an earlier run has nothing left: this one reads everything again.
    client.post("/pipelines/pipe_slow/runs", &json!({"reset_state": true})).is(202);
    let runs = client.until("/pipelines/pipe_slow/runs", |runs| runs["data"][0]["status"] == "FAILED");
    let message = runs["data"][0]["message"].as_str().unwrap();
    assert!(message.contains("max_runtime"), "{message}");
    let begun = Instant::now();
    let is_late = || {
        let metrics = client.get("/metrics").text();
        metrics.contains("synctop_pipeline_late{pipeline=\"pipe_slow\"} 1")
    };
    while !is_late() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", client.get("/metrics").text());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(client.get("/metrics").text().contains("synctop_pipelines_late 1"));
}

#[test]
fn one_alert_for_a_cause_is_retried_signed_and_kept_across_a_restart() {
    let folder = folder();
    let (port, received) = chat(2);
    std::fs::write(folder.path().join("hook-key"), "hook-secret").unwrap();
    std::fs::write(folder.path().join("key"), "sk_test_good").unwrap();
    let key = folder.path().join("key").display().to_string();
    let text = format!(
        "[[alert]]\nname = \"chat\"\non = [\"parked\", \"recovered\"]\nwebhook = \"http://127.0.0.1:{port}/T1\"\nsecret = \"file:{}\"\n\
         [[alert]]\non = [\"parked\"]\ncommand = [\"sh\", \"-c\", \"cat >> {}\"]\n",
        folder.path().join("hook-key").display(),
        folder.path().join("pages").display(),
    );
    let mut server = with_config(folder.path(), &text);
    let client = server.client();
    for id in ["pipe_a", "pipe_b"] {
        client.post("/pipelines", &simulated(id, json!({"speed": 0, "api_key": format!("file:{key}")}))).is(201);
        client.wait(id, "ready");
    }
    std::fs::write(folder.path().join("key"), "sk_test_revoked").unwrap();
    for id in ["pipe_a", "pipe_b"] {
        client.post(&format!("/pipelines/{id}/runs"), &json!({"reset_state": true})).is(202);
        client.wait(id, "error");
    }
    // The message waits for further pipelines with its cause: the service is killed before it is sent.
    std::thread::sleep(Duration::from_secs(2));
    server.kill();
    let mut server = with_config(folder.path(), &text);
    let (headers, alert) = next(&received);
    assert_eq!(alert["synctop"]["event"], "parked", "{alert}");
    assert_eq!(alert["synctop"]["pipelines"], json!(["pipe_a", "pipe_b"]), "{alert}");
    assert_eq!(alert["synctop"]["attempt"], 3);
    let text_of = alert["text"].as_str().unwrap();
    assert!(text_of.starts_with("Parked: pipe_a, pipe_b: ") && !text_of.contains("revoked"), "{alert}");
    let signature = &headers["x-synctop-signature"];
    let (at, hex) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key_of = hmac::Key::new(hmac::HMAC_SHA256, b"hook-secret");
    let expected = hmac::sign(&key_of, format!("{at}.{}", headers["raw"]).as_bytes());
    assert_eq!(hex, serve::hex(expected.as_ref()));
    // Resumed by a person is not recovered yet; both succeeded is.
    std::fs::write(folder.path().join("key"), "sk_test_good").unwrap();
    let client = server.client();
    client.patch("/pipelines/pipe_a", &json!({"desired_status": "active"})).is(200);
    client.wait("pipe_a", "ready");
    assert!(received.recv_timeout(Duration::from_secs(4)).is_err(), "one pipeline is still parked");
    client.patch("/pipelines/pipe_b", &json!({"desired_status": "active"})).is(200);
    client.wait("pipe_b", "ready");
    let (_, alert) = next(&received);
    assert_eq!((&alert["synctop"]["event"], &alert["synctop"]["count"]), (&json!("recovered"), &json!(2)), "{alert}");
    assert_eq!(alert["synctop"]["pipelines"], json!(["pipe_a", "pipe_b"]), "{alert}");
    // One page, and each delivery in the action log.
    let pages = std::fs::read_to_string(folder.path().join("pages")).unwrap();
    assert_eq!(pages.lines().count(), 1, "{pages}");
    let actions = client.until("/actions", |actions| {
        actions["data"].as_array().unwrap().iter().filter(|it| it["action"] == "alert").count() == 3
    });
    let chat = actions["data"].as_array().unwrap().iter().find(|it| it["detail"]["target"] == "chat").unwrap();
    assert_eq!(chat["detail"]["event"], "recovered", "{actions}");
    let metrics = client.get("/metrics").text();
    for line in
        ["_messages_waiting 0", "_attempts_total{result=\"delivered\"} 3", "_attempts_total{result=\"failed\"} 2"]
    {
        assert!(metrics.contains(&format!("synctop_alert{line}\n")), "no {line}: {metrics}");
    }
    assert_eq!(server.end(), Some(0));
}

#[test]
fn mistakes_in_alerts_stop_the_start_with_a_sentence() {
    let folder = folder();
    for (text, says) in [
        ("[[alert]]\non = [\"parked\"]\n", "needs a webhook"),
        ("[[alert]]\non = []\nwebhook = \"http://h/x\"\n", "on lists none"),
        ("[[alert]]\non = [\"parked\"]\nwebhook = \"ftp://h/x\"\n", "needs a webhook"),
        ("[[alert]]\non = [\"parked\"]\nwebhook = \"http://h/x\"\nsecret = \"abc\"\n", "secret is a reference"),
        ("[[alert]]\non = [\"gone\"]\nwebhook = \"http://h/x\"\n", "unknown variant"),
    ] {
        let config = folder.path().join("config.toml");
        std::fs::write(&config, text).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_synctop"))
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(65), "{text}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{said} does not say {says}");
    }
}

/// Labels and value of a series.
type Series = (BTreeMap<String, String>, f64);

/// Series of the metrics by name.
fn series(text: &str) -> BTreeMap<String, Vec<Series>> {
    let mut all: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    let mut declared = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(declared.insert(name), "{line}: declared twice");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (id, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = id.split_once('{').unwrap_or((id, ""));
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(declared.contains(name) || declared.contains(base), "{line}: not declared");
        let labels = labels.trim_end_matches('}').split(',').filter(|it| !it.is_empty());
        let labels = labels.map(|it| {
            let (name, value) = it.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        });
        let value: f64 =
            if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap_or_else(|_| panic!("{line}")) };
        all.entry(name.to_owned()).or_default().push((labels.collect(), value));
    }
    all
}

#[test]
fn metrics_name_each_pipeline_and_the_dashboard_queries_them() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    for id in ["pipe_a", "pipe_b"] {
        client.post("/pipelines", &simulated(id, json!({"speed": 0}))).is(201);
        client.wait(id, "ready");
    }
    let mut scheduled = simulated("pipe_late", json!({"speed": 0}));
    scheduled["schedule"] = json!({"cron": "0 3 * * *", "time_zone": "Europe/Berlin"});
    client.post("/pipelines", &scheduled).is(201);
    client.wait("pipe_late", "ready");
    let broken = simulated("pipe_bad", json!({"speed": 0, "api_key": "sk_test_revokedvalue"}));
    client.post("/pipelines?skip_check=true", &broken).is(201);
    client.wait("pipe_bad", "error");
    let text = client.get("/metrics").text();
    assert!(!text.contains("revoked"), "{text}");
    let all = series(&text);
    let of = |name: &str, pipeline: &str| {
        all[name].iter().find(|(labels, _)| labels["pipeline"] == pipeline).map(|(_, value)| *value)
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let success = of("synctop_pipeline_last_success_timestamp_seconds", "pipe_a").unwrap();
    assert!((now - success).abs() < 60.0, "{success}");
    // Unknown is left out, and not zero.
    assert_eq!(of("synctop_pipeline_last_success_timestamp_seconds", "pipe_bad"), None);
    assert!(of("synctop_pipeline_run_records", "pipe_a").unwrap() > 0.0);
    assert_eq!(of("synctop_pipeline_run_coverage_ratio", "pipe_a"), Some(1.0));
    assert!(of("synctop_pipeline_next_run_timestamp_seconds", "pipe_late").unwrap() > now);
    let ready = all["synctop_pipelines"].iter().find(|(labels, _)| labels["status"] == "ready").unwrap().1;
    assert!((ready - 3.0).abs() < f64::EPSILON);
    assert!(all["synctop_store_operation_duration_seconds_count"].iter().all(|(_, count)| *count > 0.0));

    // Each query of the dashboard names metrics that exist, by labels that they have.
    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/grafana.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(dashboard).unwrap()).unwrap();
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    assert!(queries.len() >= 10, "{queries:?}");
    let word = regex::Regex::new(r"synctop_[a-z_]+").unwrap();
    let by = regex::Regex::new(r"by \(([a-z, ]+)\)").unwrap();
    // Some come with several nodes, or with errors of a run.
    let others = ["synctop_nodes", "synctop_leases", "synctop_pipelines_without_node", "synctop_pipeline_run_errors"];
    for query in &queries {
        let names: Vec<&str> = word.find_iter(query).map(|it| it.as_str()).collect();
        assert!(!names.is_empty(), "{query}");
        for name in names {
            assert!(all.contains_key(name) || others.contains(&name), "{query}: no {name}");
            for labels in by.captures_iter(query) {
                for label in labels[1].split(", ").filter(|label| !matches!(*label, "le" | "instance")) {
                    let has = all.get(name).is_none_or(|all| all.iter().all(|(labels, _)| labels.contains_key(label)));
                    assert!(has, "{query}: {name} has no label {label}");
                }
            }
        }
    }
}

/// Collects the queries of a dashboard.
fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(all) => {
            for (key, value) in all {
                match value {
                    Value::String(text) if key == "expr" => queries.push(text.clone()),
                    value => collect(value, queries),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, queries)),
        _ => {}
    }
}
