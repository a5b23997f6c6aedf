//! Several nodes over one PostgreSQL: take-over, hand-over, fencing, and answers of any node about
//! any pipeline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/proxy.rs"]
mod proxy;
#[path = "common/serve.rs"]
mod serve;

use proxy::Proxy;
use serde_json::{Value, json};
use serve::postgres::Postgres;
use serve::{Client, Lines, Server, folder, simulated};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Maximum time until the pipelines of a dead node run on another one.
const TAKE_OVER: Duration = Duration::from_secs(20);

/// Scenario whose run takes some seconds, in many calls.
const SLOW: &str = r#"
latency_ms = [40, 60]
range = { gte = "2024-01-01T00:00:00Z", lt = "2025-01-01T00:00:00Z" }
[[streams]]
name = "customer"
records = 4000
[[streams]]
name = "charge"
records = 4000
"#;

/// Pipeline of the slow scenario.
fn slow(id: &str, speed: f64) -> Value {
    simulated(id, json!({"scenario_text": SLOW, "speed": speed}))
}

/// Returns the node that runs a pipeline, as a node answers.
fn node_of(client: &Client, id: &str) -> String {
    client.get(&format!("/pipelines/{id}")).json()["node"].as_str().unwrap_or_default().to_owned()
}

/// Waits until a node runs all these pipelines.
fn until_on(client: &Client, ids: &[&str], node: &str, most: Duration) {
    let begun = Instant::now();
    loop {
        let on: Vec<_> = ids.iter().map(|id| node_of(client, id)).collect();
        if on.iter().all(|it| it == node) {
            return;
        }
        assert!(begun.elapsed() < most, "not on {node} within {most:?}: {on:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Requires that the fencing numbers of each log only grow, and that its chunks follow each other:
/// no line of an old node is behind one of a later node.
fn fences_grow(cluster: &Postgres, database: &str) {
    let odd = cluster.query(
        database,
        "SELECT incarnation, start FROM (
             SELECT incarnation, start, fence, lag(fence) OVER w AS before,
                 lag(start + octet_length(bytes)) OVER w AS ends
             FROM chunks WINDOW w AS (PARTITION BY incarnation ORDER BY start)) AS it
         WHERE before > fence OR ends <> start",
    );
    assert_eq!(odd, "", "chunks out of order");
}

/// Requires that the first run of a pipeline has read everything.
fn is_whole(client: &Client, id: &str) {
    let state = client.get(&format!("/pipelines/{id}")).is(200);
    for stream in ["customer", "charge"] {
        assert_eq!(state["sync_state"]["source"]["streams"][stream]["remaining"], json!([]), "{id}");
    }
    let runs = client.get(&format!("/pipelines/{id}/runs")).is(200);
    let first = runs["data"].as_array().unwrap().last().unwrap().clone();
    let records = first["result"]["records"]["cumulative"].as_u64();
    assert!(records >= Some(8_000), "{id}: {first}");
}

#[test]
fn any_node_answers_about_any_pipeline() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("any_node"));
    let nodes = [Server::node(folder.path(), "one", &url, &[]), Server::node(folder.path(), "two", &url, &[])];
    let [one, two] = [nodes[0].client(), nodes[1].client()];
    one.post("/pipelines", &slow("pipe_any", 3.0)).is(201);
    // Read after write, on the other node.
    assert_eq!(two.get("/pipelines/pipe_any").is(200)["node"], "one");
    assert_eq!(two.get("/pipelines").is(200)["data"][0]["id"], "pipe_any");
    assert_eq!(two.post("/pipelines", &slow("pipe_any", 1.0)).is(409)["code"], "pipeline_exists");
    two.wait("pipe_any", "progress");
    // The current state, then events, of a run on the other node.
    let mut live = Lines::of(two.send("GET", "/pipelines/pipe_any/events?from=now", "").unwrap());
    let first = live.next_line().unwrap();
    assert_eq!(first["type"], "progress", "{first}");
    live.until(|line| line["type"] == "source_state");
    let running = two.get("/pipelines/pipe_any").is(200);
    let records = running["run"]["so_far"]["records"]["cumulative"].as_u64();
    assert!(records > Some(0) && running["run"]["progress"] != Value::Null, "{running}");
    // A request to the other node reaches the reconciler; a wait there sees its result.
    two.patch("/pipelines/pipe_any", &json!({"desired_status": "paused"})).is(200);
    two.wait("pipe_any", "paused");
    assert_eq!(one.get("/pipelines/pipe_any").is(200)["status"], "paused");
    two.patch("/pipelines/pipe_any", &json!({"desired_status": "active"})).is(200);
    let reached = two.get("/pipelines/pipe_any/wait?for=stream:customer=completed&timeout=60").is(200);
    assert_eq!(reached["reached"], true, "{reached}");
    two.wait("pipe_any", "ready");
    // The whole log is the same on both nodes.
    let logs = [&one, &two].map(|client| client.get("/pipelines/pipe_any/events?from=start&follow=false").text());
    let lines =
        logs.each_ref().map(|log| log.lines().filter(|line| !line.contains("\"heartbeat\"")).collect::<Vec<_>>());
    assert_eq!(lines[0], lines[1]);
    let runs = [&one, &two].map(|client| client.get("/pipelines/pipe_any/runs/1/log").text());
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains("source_state"));
    // A cursor of one node is good for the other one; a task too.
    let cursor = one.get("/pipelines/pipe_any").is(200)["cursor"].as_str().unwrap().to_owned();
    assert_eq!(two.get(&format!("/pipelines/pipe_any/events?from={cursor}&follow=false")).status, 200);
    let again = json!({"reset_state": true});
    let task = two.post("/pipelines/pipe_any/runs", &again).is(202)["task_id"].as_str().unwrap().to_owned();
    one.until(&format!("/tasks/{task}"), |task| task["status"] == "RUNNING");
    assert_eq!(two.call("DELETE", &format!("/tasks/{task}"), "").status, 202);
    one.until(&format!("/tasks/{task}"), |task| task["status"] == "CANCELED");
    // A live event that the other node receives is read.
    two.patch("/pipelines/pipe_any", &json!({"desired_status": "active"})).is(200);
    two.wait("pipe_any", "ready");
    two.post("/webhooks/pipe_any", &json!({"id": "evt_1"})).is(202);
    for _ in 0..200 {
        if cluster.query("any_node", "SELECT count(*) FROM inputs").trim() == "0" {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(cluster.query("any_node", "SELECT count(*) FROM inputs").trim(), "0");
    // A deletion ends what is open on the other node.
    let mut events = Lines::of(two.send("GET", "/pipelines/pipe_any/events?from=now", "").unwrap());
    events.until(|line| line["type"] == "heartbeat");
    let waiting = two.clone();
    let wait = std::thread::spawn(move || waiting.get("/pipelines/pipe_any/wait?for=error&timeout=60"));
    std::thread::sleep(Duration::from_millis(300));
    one.call("DELETE", "/pipelines/pipe_any", "").is(200);
    assert_eq!(wait.join().unwrap().status, 404);
    let last = events.until(|line| line["pipeline"]["status"] == "deleted");
    assert_eq!(last["pipeline"]["id"], "pipe_any");
    assert_eq!(two.get("/pipelines/pipe_any").status, 404);
    fences_grow(&cluster, "any_node");
}

#[test]
fn pipelines_of_a_killed_node_are_taken_over_and_a_reader_moves_with_its_cursor() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("killed"));
    let mut one = Server::node(folder.path(), "one", &url, &[]);
    let ids = ["pipe_a", "pipe_b"];
    for id in ids {
        one.client().post("/pipelines", &slow(id, 2.0)).is(201);
    }
    let two = Server::node(folder.path(), "two", &url, &["--label", "region=eu"]);
    for id in ids {
        one.client().wait(id, "progress");
    }
    let victim = ids.into_iter().find(|id| node_of(&one.client(), id) == "one").unwrap();
    // The reader keeps the last cursor, and what came before it.
    let path = format!("/pipelines/{victim}/events?from=start&heartbeat=1");
    let mut reader = Lines::of(one.client().send("GET", &path, "").unwrap());
    let (mut read, mut pending, mut cursor) = (Vec::new(), Vec::new(), String::new());
    while cursor.is_empty() || read.len() < 20 {
        let line = reader.next_line().unwrap();
        if line["type"] == "heartbeat" {
            cursor = line["heartbeat"]["cursor"].as_str().unwrap().to_owned();
            read.append(&mut pending);
        } else {
            pending.push(line.to_string());
        }
    }
    one.kill();
    let begun = Instant::now();
    let client = two.client();
    until_on(&client, &ids, "two", TAKE_OVER);
    eprintln!("taken over after {:?}", begun.elapsed());
    for id in ids {
        client.wait(id, "ready");
    }
    let rest = client.get(&format!("/pipelines/{victim}/events?from={cursor}&follow=false"));
    assert_eq!(rest.status, 200, "{}", rest.text());
    read.extend(rest.lines().into_iter().filter(|line| line["type"] != "heartbeat").map(|line| line.to_string()));
    let whole = client.get(&format!("/pipelines/{victim}/events?from=start&follow=false"));
    let whole: Vec<String> =
        whole.lines().into_iter().filter(|line| line["type"] != "heartbeat").map(|line| line.to_string()).collect();
    assert_eq!(read, whole, "the reader missed or doubled lines");
    // The log names both nodes, with growing fencing numbers.
    let nodes: Vec<(String, u64)> = whole
        .iter()
        .filter_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let node = line.pointer("/pipeline/node")?.clone();
            Some((node["name"].as_str()?.to_owned(), node["fence"].as_u64()?))
        })
        .collect();
    assert!(nodes.len() >= 2 && nodes.windows(2).all(|pair| pair[0].1 < pair[1].1), "{nodes:?}");
    assert_eq!((nodes[0].0.as_str(), nodes.last().unwrap().0.as_str()), ("one", "two"));
    let list = client.get("/nodes").is(200);
    let status: HashMap<_, _> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["status"].as_str().unwrap()))
        .collect();
    assert_eq!((status["one"], status["two"]), ("gone", "alive"), "{list}");
    fences_grow(&cluster, "killed");
    // Nothing was lost: each stream is complete.
    for id in ids {
        is_whole(&client, id);
    }
}

#[test]
fn a_node_that_ends_hands_its_pipelines_over_at_a_checkpoint() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("drained"));
    let mut one = Server::node(folder.path(), "one", &url, &[]);
    let ids = ["pipe_c", "pipe_d", "pipe_e"];
    for id in ids {
        one.client().post("/pipelines", &slow(id, 1.0)).is(201);
        one.client().wait(id, "progress");
    }
    let two = Server::node(folder.path(), "two", &url, &[]);
    assert_eq!(one.end(), Some(0));
    // It does not take the length of a lease.
    until_on(&two.client(), &ids, "two", Duration::from_secs(8));
    for id in ids {
        two.client().wait(id, "ready");
        let log = two.client().get(&format!("/pipelines/{id}/runs/1/log")).text();
        assert!(!log.contains("in the middle of a call"), "{id}: a call was interrupted");
    }
    fences_grow(&cluster, "drained");
}

#[test]
fn progress_of_a_run_that_was_handed_over_goes_on_at_its_first_node() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("handed"));
    let one = Server::node(folder.path(), "one", &url, &[]);
    let client = one.client();
    for id in ["pipe_a", "pipe_b"] {
        client.post("/pipelines", &slow(id, 0.2)).is(201);
        client.wait(id, "progress");
    }
    let records = |id: &str| {
        let state = client.get(&format!("/pipelines/{id}")).is(200);
        state["run"]["so_far"]["records"]["cumulative"].as_u64().unwrap_or(0)
    };
    let _two = Server::node(folder.path(), "two", &url, &[]);
    let begun = Instant::now();
    let moved = loop {
        if let Some(id) = ["pipe_a", "pipe_b"].into_iter().find(|id| node_of(&client, id) == "two") {
            break id;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing was handed over");
        std::thread::sleep(Duration::from_millis(100));
    };
    let before = records(moved);
    client.until(&format!("/pipelines/{moved}"), |it| {
        it["run"]["so_far"]["records"]["cumulative"].as_u64().unwrap_or(0) > before + 200
    });
}

#[test]
fn a_late_pipeline_without_a_node_has_an_alert_and_a_series() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("late"));
    let pages = folder.path().join("pages");
    let config = folder.path().join("config.toml");
    let text = format!("[[alert]]\non = [\"late\"]\ncommand = [\"sh\", \"-c\", \"cat >> {}\"]\n", pages.display());
    std::fs::write(&config, text).unwrap();
    let options = ["--config", config.to_str().unwrap()];
    let nodes = ["one", "two"].map(|name| Server::node(folder.path(), name, &url, &options));
    let mut late = simulated("pipe_late", json!({"speed": 0}));
    late["requires"] = json!({"region": "mars"});
    late["schedule"] = json!({"every": "10s", "late_after": "1s"});
    nodes[0].client().post("/pipelines", &late).is(201);
    let begun = Instant::now();
    while !std::fs::read_to_string(&pages).is_ok_and(|text| text.contains("pipe_late")) {
        assert!(begun.elapsed() < Duration::from_secs(40), "no alert");
        std::thread::sleep(Duration::from_millis(200));
    }
    let series = "synctop_pipeline_late{pipeline=\"pipe_late\"} 1\n";
    let of = nodes.each_ref().map(|node| node.client().get("/metrics").text().matches(series).count());
    assert_eq!(of.iter().sum::<usize>(), 1, "one node has its series");
    // The other node has seen the same, and reports it no second time.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(std::fs::read_to_string(&pages).unwrap().lines().count(), 1);
}

#[test]
fn a_pipeline_moves_on_from_a_node_that_cannot_read_its_secrets() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("secrets"));
    std::fs::write(folder.path().join("key"), "sk_test_good").unwrap();
    let own = folder.path().join("bare");
    std::fs::create_dir(&own).unwrap();
    let able = Server::node(folder.path(), "able", &url, &[]);
    let bare = Server::with(&own, &["--store", &url, "--node-name", "bare"], &[]);
    let client = bare.client();
    // Both nodes know each other.
    std::thread::sleep(Duration::from_secs(3));
    let keyed = |id: &str, key: &Path| simulated(id, json!({"speed": 0, "api_key": format!("file:{}", key.display())}));
    client.post("/pipelines?skip_check=true", &keyed("pipe_key", &folder.path().join("key"))).is(201);
    client.until("/pipelines/pipe_key", |it| {
        it["retry"]["message"].as_str().is_some_and(|why| why.starts_with("node bare: source.simulated.api_key: "))
    });
    able.client().wait("pipe_key", "ready");
    assert_eq!(node_of(&client, "pipe_key"), "able");
    // Where no other node lives, a person has to act.
    drop(able);
    let begun = Instant::now();
    while client.get("/nodes").text().matches("\"alive\"").count() > 1 {
        assert!(begun.elapsed() < TAKE_OVER, "the other node lives on");
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_secs(3));
    client.post("/pipelines?skip_check=true", &keyed("pipe_none", Path::new("/nope/key"))).is(201);
    let parked = client.wait("pipe_none", "error");
    assert!(parked["reason"]["message"].as_str().unwrap().starts_with("node bare: "), "{parked}");
}

#[test]
fn a_pipeline_runs_where_its_labels_are_and_nodes_share_fairly() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("labels"));
    let one = Server::node(folder.path(), "one", &url, &[]);
    let client = one.client();
    for number in 0..8 {
        client.post("/pipelines", &simulated(&format!("pipe_{number}"), json!({"speed": 0}))).is(201);
    }
    let mut only = simulated("pipe_eu", json!({"speed": 0}));
    only["requires"] = json!({"region": "eu"});
    client.post("/pipelines", &only).is(201);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(node_of(&client, "pipe_eu"), "", "no node has its label");
    let listed = client.get("/pipelines?q=pipe_eu").is(200)["data"][0].clone();
    assert_eq!(listed["unassigned"], "no node has taken it: it requires the labels region=eu");
    let why = client.get("/pipelines/pipe_eu/why").is(200);
    assert_eq!(why["reasons"][0]["kind"], "no_node", "{why}");
    let two = Server::node(folder.path(), "two", &url, &["--label", "region=eu"]);
    until_on(&client, &["pipe_eu"], "two", Duration::from_secs(8));
    two.client().wait("pipe_eu", "ready");
    assert_eq!(client.get("/pipelines/pipe_eu").is(200)["unassigned"], Value::Null);
    // The new node gets its share of the others.
    let begun = Instant::now();
    loop {
        let on_two = (0..8).filter(|number| node_of(&client, &format!("pipe_{number}")) == "two").count();
        if on_two == 4 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{on_two} of 8 on the new node");
        std::thread::sleep(Duration::from_millis(200));
    }
    fences_grow(&cluster, "labels");
}

/// Counts the processes of an engine.
fn engines(marker: &Path) -> usize {
    let marker = marker.to_str().unwrap();
    let of = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(of);
    all.filter(|line| String::from_utf8_lossy(line).split('\0').any(|word| word == marker)).count()
}

#[test]
fn a_node_without_its_database_stops_its_engines_before_its_lease_ends() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("cut"));
    let proxy = Proxy::start(cluster.port);
    let through = url.replace(&cluster.port.to_string(), &proxy.port.to_string());
    // An engine that ignores TERM and prints nothing more.
    let script = folder.path().join("engine.sh");
    std::fs::write(&script, "trap '' TERM\nread call\necho '{\"type\":\"log\",\"log\":{\"level\":\"info\",\"message\":\"begun\"}}'\ni=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done\n").unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, format!("[engines.slow]\ncommand = [\"sh\", {script:?}]\n")).unwrap();
    let options = ["--config", config.to_str().unwrap()];
    let one = Server::node(folder.path(), "one", &through, &options);
    let source = json!({"id": "pipe_cut", "source": {"type": "slow", "slow": {}}, "destination": {"type": "slow"}});
    one.client().post("/pipelines?skip_check=true", &source).is(201);
    let begun = Instant::now();
    while engines(&script) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the engine never began");
        std::thread::sleep(Duration::from_millis(20));
    }
    proxy.cut();
    let cut = Instant::now();
    // The lease was renewed at most five seconds before, and is fifteen seconds long.
    while engines(&script) > 0 {
        assert!(cut.elapsed() < Duration::from_secs(15), "the engine outlives the lease");
        std::thread::sleep(Duration::from_millis(20));
    }
    let stopped = cut.elapsed();
    // Another node takes the pipeline over, and not before.
    let two = Server::node(folder.path(), "two", &url, &options);
    until_on(&two.client(), &["pipe_cut"], "two", TAKE_OVER);
    assert!(cut.elapsed() > stopped);
    // The first node answers requests with a reason, and returns once the network does.
    let answer = one.client().get("/pipelines/pipe_cut");
    assert_eq!(answer.status, 503, "{}", answer.text());
    proxy.restore();
    one.client().until("/nodes", |list| {
        let alive = |it: &&Value| it["status"] == "alive";
        list["data"].as_array().is_some_and(|all| all.iter().filter(alive).count() == 2)
    });
    two.client().patch("/pipelines/pipe_cut", &json!({"desired_status": "paused"}));
    fences_grow(&cluster, "cut");
}

#[test]
fn a_node_that_is_too_old_for_the_store_leaves() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("newer"));
    let mut one = Server::node(folder.path(), "one", &url, &[]);
    one.client().post("/pipelines", &slow("pipe_old", 1.0)).is(201);
    cluster.query("newer", "UPDATE schema_version SET version = 9, oldest = 9");
    let begun = Instant::now();
    let code = loop {
        match one.child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None => assert!(begun.elapsed() < Duration::from_secs(20), "it stays"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(code, Some(70));
    let said = std::fs::read_to_string(folder.path().join("one/stderr")).unwrap();
    assert!(said.contains("newer synctop wrote the store"), "{said}");
    // It has handed its pipelines over.
    assert_eq!(cluster.query("newer", "SELECT count(*) FROM leases WHERE node IS NOT NULL").trim(), "0");
    let output = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["serve", "--listen", "127.0.0.1:0", "--store", &url, "--data-dir"])
        .arg(folder.path().join("again"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("newer synctop wrote the store (version 9, supported: 1)"), "{said}");
}

/// Short form of `scripts/soak`: nodes are killed and the database is stopped under load.
#[test]
fn kills_of_nodes_and_of_the_database_lose_nothing() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("soak"));
    let start = |name: &str| Server::node(folder.path(), name, &url, &[]);
    let mut nodes = [Some(start("one")), Some(start("two")), Some(start("three"))];
    let names = ["one", "two", "three"];
    let ids: Vec<String> = (0..12).map(|number| format!("pipe_{number}")).collect();
    let mut wanted = BTreeMap::new();
    let client = nodes[0].as_ref().unwrap().client();
    for (number, id) in (0_u32..).zip(&ids) {
        client.post("/pipelines", &slow(id, 4.0 + f64::from(number))).is(201);
        wanted.insert(id.clone(), "ready");
    }
    for round in 0..3 {
        std::thread::sleep(Duration::from_millis(1_500));
        // A change that is acknowledged is kept, whatever ends next.
        let alive = nodes.iter().flatten().next().unwrap().client();
        for id in ids.iter().skip(round * 2).take(2) {
            if let Ok(answer) = alive.try_call("PATCH", &format!("/pipelines/{id}"), r#"{"desired_status":"paused"}"#)
                && answer.status == 200
            {
                wanted.insert(id.clone(), "paused");
            } else {
                // Acknowledged or not is unknown.
                wanted.remove(id);
            }
        }
        if round == 1 {
            cluster.stop_immediately();
            std::thread::sleep(Duration::from_millis(500));
            cluster.restart();
        } else {
            let victim = round % names.len();
            nodes[victim].as_mut().unwrap().kill();
            // It comes back as a new process with another folder: the lease of the old one has to end.
            nodes[victim] = Some(start(&format!("{}-{round}", names[victim])));
        }
    }
    assert!(wanted.len() >= 8, "too few changes were acknowledged");
    let client = nodes[1].as_ref().unwrap().client();
    for (id, status) in &wanted {
        client.until(&format!("/pipelines/{id}"), |it| it["status"] == **status);
    }
    for id in &ids {
        client.patch(&format!("/pipelines/{id}"), &json!({"desired_status": "active"})).is(200);
        client.wait(id, "ready");
        is_whole(&client, id);
    }
    fences_grow(&cluster, "soak");
}

/// Runs a pipeline on one of two nodes until closed parts of its log are in the archive. Returns the
/// nodes and the log before.
fn archive_a_run(cluster: &Postgres, folder: &Path, archive: &str, url: &str) -> ([Server; 2], String) {
    let config = folder.join("config.toml");
    std::fs::write(&config, format!("[archive]\nurl = \"{archive}\"\nafter = \"1s\"\n[logs]\nage = \"14d\"\n"))
        .unwrap();
    let options = ["--config", config.to_str().unwrap()];
    let nodes = ["one", "two"].map(|name| Server::node(folder, name, url, &options));
    let client = nodes[0].client();
    client.post("/pipelines", &slow("pipe_kept", 20.0)).is(201);
    client.wait("pipe_kept", "ready");
    let before = client.get("/pipelines/pipe_kept/runs/1/log").text();
    assert!(before.len() > 300_000, "{}", before.len());
    let begun = Instant::now();
    let archived = || cluster.query("archived", "SELECT count(*) FROM segments").trim().parse::<u64>().unwrap();
    while archived() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing was archived");
        std::thread::sleep(Duration::from_millis(100));
    }
    let left = cluster.query("archived", "SELECT coalesce(sum(octet_length(bytes)), 0) FROM chunks");
    assert!(left.trim().parse::<usize>().unwrap() < before.len() / 2, "{left}");
    for node in &nodes {
        assert_eq!(node.client().get("/pipelines/pipe_kept/runs/1/log").text(), before);
        let all = node.client().get("/pipelines/pipe_kept/events?from=start&follow=false").text();
        assert!(all.contains(before.lines().nth(50).unwrap()));
    }
    (nodes, before)
}

/// Exports the store with its archive, imports it into a data folder, and requires the same log there.
fn export_has_the_log(folder: &Path, archive: &str, url: &str, log: &str) {
    let export = folder.join("export").display().to_string();
    let (code, said) = store(&["export", "--store", url, "-o", &export]);
    assert!(code == Some(64) && said.contains("--archive"), "{said}");
    let (code, said) = store(&["export", "--store", url, "--archive", archive, "-o", &export]);
    assert_eq!(code, Some(0), "{said}");
    let back = folder.join("back");
    std::fs::create_dir(&back).unwrap();
    let (code, said) = store(&["import", &export, "--data-dir", back.join("data").to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let single = Server::start(&back);
    assert_eq!(single.client().get("/pipelines/pipe_kept/runs/1/log").text(), log);
}

fn store(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_synctop")).arg("store").args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn closed_parts_of_logs_move_to_a_folder_and_any_node_reads_them() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("archived"));
    std::fs::create_dir(folder.path().join("archive")).unwrap();
    let archive = format!("file://{}", folder.path().join("archive").display());
    let (nodes, before) = archive_a_run(&cluster, folder.path(), &archive, &url);
    // An object is a log that synctop opens.
    let path = cluster.query("archived", "SELECT path FROM segments ORDER BY start LIMIT 1");
    let object = folder.path().join("archive").join(path.trim());
    let output = Command::new(env!("CARGO_BIN_EXE_synctop")).arg("summary").arg(&object).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("customer"), "{output:?}");
    let check = || store(&["check", "--store", &url, "--archive", &archive]);
    assert_eq!(check(), (Some(0), "the store is sound\n".into()));
    assert_eq!(store(&["check", "--store", &url]).0, Some(64), "unknown is not sound");
    export_has_the_log(folder.path(), &archive, &url, &before);
    // A damaged object breaks the answer off, and not the node.
    std::fs::write(&object, b"no zstd").unwrap();
    // A node without the archive would show logs with holes.
    let output = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["serve", "--listen", "127.0.0.1:0", "--store", &url, "--data-dir"])
        .arg(folder.path().join("blind"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(64) && said.contains("--archive"), "{said}");
    let (code, said) = check();
    assert!(code == Some(1) && said.contains("pipe_kept: its log is not whole"), "{said}");
    let damaged = nodes[1].client().try_call("GET", "/pipelines/pipe_kept/runs/1/log", "");
    assert!(damaged.is_err() || damaged.is_ok_and(|answer| answer.status == 503));
    assert_eq!(nodes[1].client().get("/pipelines/pipe_kept").status, 200);
}

/// `scripts/check-deploy` starts a server of S3 and sets its address and the credentials.
#[cfg(feature = "cloud")]
#[test]
fn closed_parts_of_logs_move_to_s3_and_any_node_reads_them() {
    let Ok(archive) = std::env::var("SYNCTOP_TEST_ARCHIVE") else { return };
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("archived"));
    let (_nodes, before) = archive_a_run(&cluster, folder.path(), &archive, &url);
    export_has_the_log(folder.path(), &archive, &url, &before);
}

#[test]
fn two_nodes_of_one_name_are_told_apart() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (first, second, url) = (folder(), folder(), cluster.database("names"));
    let one = Server::node(first.path(), "twin", &url, &[]);
    let mut two = Server::node(second.path(), "twin", &url, &[]);
    let names = || {
        let nodes = one.client().get("/nodes").is(200)["data"].as_array().unwrap().clone();
        let alive = nodes.iter().filter(|node| node["status"] == "alive");
        alive.map(|node| node["name"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(), ["twin".to_owned(), "twin-2".to_owned()].into());
    let said = std::fs::read_to_string(second.path().join("twin/stderr")).unwrap();
    assert!(said.contains("node twin-2 of a shared store: another one has the name twin"), "{said}");
    two.client().post("/pipelines", &slow("pipe_twin", 1.0)).is(201);
    assert_eq!(node_of(&one.client(), "pipe_twin"), "twin-2");
    // A killed node of this folder gets its name again.
    two.kill();
    let again = Server::node(second.path(), "twin", &url, &[]);
    assert_eq!(names(), ["twin".to_owned(), "twin-2".to_owned()].into());
    drop(again);
}

/// Returns the arguments of each container of a file of deploy/.
fn container_arguments(text: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if !matches!(line.trim(), "command:" | "args:") {
            continue;
        }
        let mut arguments = Vec::new();
        while let Some(item) = lines.next_if(|line| line.trim().starts_with(['-', '#'])) {
            arguments.extend(item.trim().strip_prefix("- ").map(str::to_owned));
        }
        all.push(arguments);
    }
    all
}

#[test]
fn files_for_containers_start_nodes() {
    let Some(cluster) = Postgres::start(false) else { return };
    let (folder, url) = (folder(), cluster.database("deployed"));
    // A mounted secret may be readable by all users of the container.
    for name in ["synctop-token", "token", "store-password"] {
        std::fs::write(folder.path().join(name), "a-token-of-a-container\n").unwrap();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let files = ["compose.yaml", "kubernetes.yaml"].map(|name| std::fs::read_to_string(root.join(name)).unwrap());
    let containers: Vec<_> = files.iter().flat_map(|text| container_arguments(text)).collect();
    assert_eq!(containers.len(), 3, "{containers:?}");
    let secrets = format!("{}/", folder.path().display());
    let mut names = BTreeSet::new();
    for (number, arguments) in containers.iter().enumerate() {
        let own = folder.path().join(number.to_string());
        let local = |argument: &String| {
            let (flag, value) = argument.split_once('=').unwrap_or((argument, ""));
            match flag {
                "--listen" => "--listen=127.0.0.1:0".to_owned(),
                "--store" => format!("--store={url}"),
                "--data-dir" => format!("--data-dir={}", own.display()),
                _ if value == "$(POD_NAME)" => format!("{flag}=pod"),
                _ => argument.replace("/run/secrets/synctop/", &secrets).replace("/run/secrets/", &secrets),
            }
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_synctop"))
            .args(arguments.iter().map(local))
            .env("HOME", &own)
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{arguments:?}: {line}"));
        let mut node = Server { address: address.parse().unwrap(), child };
        // The probe of a cluster has no token, and another host.
        let mut probe = TcpStream::connect(node.address).unwrap();
        probe.write_all(b"GET /health HTTP/1.1\r\nHost: 10.1.2.3:4020\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(serve::read_answer(probe).unwrap().status, 200);
        assert_eq!(node.client().get("/nodes").status, 401);
        let client = node.client().with("Authorization", "Bearer a-token-of-a-container");
        for node in client.get("/nodes").is(200)["data"].as_array().unwrap() {
            names.insert(node["name"].as_str().unwrap().to_owned());
        }
        assert_eq!(node.end(), Some(0));
    }
    assert_eq!(names, ["node-1".to_owned(), "node-2".to_owned(), "pod".to_owned()].into());
}
