//! The service under load, in a separate process: `cargo bench --bench service [-- SECONDS]`.
//! Prints the figures of the README.
//!
//! 1. A thousand waits woken by one change, ten times: from sending the change to each answer; memory
//!    of an open wait.
//! 2. Five thousand pipelines: creation with 64 requests at a time, memory, list, restart.
//! 3. A hundred pipelines on simulated engines for two minutes, each with a reader (ten of them
//!    slow): every run is complete; memory use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark may fail"
)]

#[path = "../tests/common/serve.rs"]
mod serve;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use serde_json::{Value, json};
use serve::{Client, Server, quick, read_answer, simulated};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn main() {
    let seconds = std::env::args().find_map(|it| it.parse().ok()).unwrap_or(120);
    waits();
    pipelines(5_000);
    fleet(Duration::from_secs(seconds));
}

/// Peak and present memory of a process, in MB.
fn memory(pid: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (field("VmHWM:"), field("VmRSS:"))
}

/// CPU time of a process in seconds, at 100 clock ticks per second.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    (fields[11].parse::<f64>().unwrap_or(0.0) + fields[12].parse::<f64>().unwrap_or(0.0)) / 100.0
}

/// Connects from the loopback address 127.0.1.`number`, which counts as a client of its own.
fn connect_from(number: u8, server: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 1, number), 0))).unwrap();
    connect(&socket, &server).unwrap();
    TcpStream::from(socket)
}

fn waits() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &quick("pipe_many")).is(201);
    client.wait("pipe_many", "ready");
    let mut all = Vec::new();
    let mut wait_memory = None;
    for _ in 0..10 {
        let closed = memory(server.child.id()).1;
        let request = format!(
            "GET /pipelines/pipe_many/wait?for=paused&timeout=2m HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            server.address
        );
        let looked_at = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut open: Vec<TcpStream> = (0..1_000_u32)
            .map(|number| {
                let mut stream = connect_from(u8::try_from(number / 8 + 1).unwrap(), server.address);
                stream.write_all(request.as_bytes()).unwrap();
                stream
            })
            .collect();
        client.until("/health", |it| it["waits"] == 1_000);
        wait_memory.get_or_insert(memory(server.child.id()).1 - closed);
        for (at, stream) in open.iter().enumerate() {
            epoll::add(&looked_at, stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN).unwrap();
        }
        let began = Instant::now();
        let asked = client.send("PATCH", "/pipelines/pipe_many", "{\"desired_status\":\"paused\"}").unwrap();
        // epoll returns readable sockets only: the client should not dominate the measured time.
        let mut took = Vec::new();
        let mut bytes = [0; 2048];
        let mut events = Vec::with_capacity(64);
        while took.len() < open.len() {
            events.clear();
            epoll::wait(&looked_at, spare_capacity(&mut events), None).unwrap();
            let now = began.elapsed();
            for event in &events {
                let at = usize::try_from(event.data.u64()).unwrap();
                let length = open[at].read(&mut bytes).unwrap();
                assert!(String::from_utf8_lossy(&bytes[..length]).contains("\"reached\":true"));
                epoll::delete(&looked_at, &open[at]).unwrap();
                took.push(now);
            }
        }
        assert_eq!((took.len(), read_answer(asked).unwrap().status), (1_000, 200));
        all.extend(took);
        client.patch("/pipelines/pipe_many", &json!({"desired_status": "active"})).is(200);
        client.wait("pipe_many", "ready");
    }
    all.sort();
    let at = |share: usize| all[(all.len() - 1) * share / 1000].as_secs_f64() * 1e3;
    let (peak, _) = memory(server.child.id());
    println!(
        "1000 waits woken by one change (10 times): p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; an open wait {:.1} KB; peak {peak:.0} MB",
        at(500),
        at(990),
        at(1000),
        wait_memory.unwrap_or_default() * 1024.0 / 1_000.0
    );
    println!("changes seen only by the poll: {}", client.get("/health").json()["missed_changes"]);
}

/// Sends requests over 64 connections, one at a time on each. Returns the time until all are answered.
fn send_all(server: SocketAddr, requests: &[String], status: &str) -> Duration {
    let began = Instant::now();
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut waiting = requests.iter();
    let mut connections: Vec<TcpStream> = (1..=64).map(|number| connect_from(number, server)).collect();
    for (at, (connection, request)) in connections.iter_mut().zip(&mut waiting).enumerate() {
        connection.write_all(request.as_bytes()).unwrap();
        epoll::add(&ready, connection, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN).unwrap();
    }
    let (mut answered, mut bytes, mut events) = (0, [0; 16 * 1024], Vec::with_capacity(64));
    while answered < requests.len() {
        events.clear();
        epoll::wait(&ready, spare_capacity(&mut events), None).unwrap();
        for event in &events {
            let connection = &mut connections[usize::try_from(event.data.u64()).unwrap()];
            let length = connection.read(&mut bytes).unwrap();
            let answer = String::from_utf8_lossy(&bytes[..length]);
            assert!(answer.starts_with(status) && answer.ends_with('}'), "{answer}");
            answered += 1;
            if let Some(request) = waiting.next() {
                connection.write_all(request.as_bytes()).unwrap();
            }
        }
    }
    began.elapsed()
}

fn pipelines(count: u32) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[limits]\nrequests_per_second = 100000\npipelines = 20000\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--quiet"];
    let mut server = Server::with(folder.path(), &arguments, &[]);
    let body = |number: u32| {
        let mut body = quick(&format!("pipe_{number:05}"));
        body["desired_status"] = json!("paused");
        body.to_string()
    };
    let requests: Vec<String> = (0..count)
        .map(|number| {
            let (body, address) = (body(number), server.address);
            let head = format!("POST /pipelines HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json");
            format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
        .collect();
    let before = memory(server.child.id()).1;
    let took = send_all(server.address, &requests, "HTTP/1.1 201");
    let each = (memory(server.child.id()).1 - before) * 1024.0 / f64::from(count);
    println!(
        "{count} pipelines created, 64 at a time: {:.2} s, {:.0}/s; {each:.1} KB each",
        took.as_secs_f64(),
        f64::from(count) / took.as_secs_f64()
    );
    let list = |server: &Server| {
        let (began, client) = (Instant::now(), server.client());
        let (mut length, mut after) = (0, String::new());
        loop {
            let page = client.get(&format!("/pipelines?limit=1000&state=false&after={after}")).is(200);
            length += page["data"].as_array().unwrap().len();
            let Some(next) = page["next"].as_str() else { break };
            next.clone_into(&mut after);
        }
        assert_eq!(length, count as usize);
        began.elapsed().as_secs_f64() * 1e3
    };
    println!("first list {:.0} ms, second {:.0} ms", list(&server), list(&server));
    server.end();
    let began = Instant::now();
    let server = Server::with(folder.path(), &arguments, &[]);
    println!("started again in {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    println!("first list {:.0} ms; {:.0} MB", list(&server), memory(server.child.id()).1);
}

/// Scenarios with their total number of records (0: taken from the first pipeline) and speed.
const KINDS: [(&str, u64, f64); 4] =
    [("healthy", 16_375, 2.0), ("flaky", 16_300, 2.0), ("rate-limited", 0, 4.0), ("large", 0, 40.0)];

fn records(now: &Value) -> u64 {
    let streams = now["sync_state"]["sync_run"]["progress"]["streams"].as_object();
    streams.into_iter().flatten().filter_map(|(_, stream)| stream["record_count"].as_u64()).sum()
}

/// Starts runs of a pipeline until the time is over. Returns the number of runs.
fn keep_busy(client: &Client, id: &str, over: &AtomicBool) -> u64 {
    let mut runs = 1;
    loop {
        let answer = client.get(&format!("/pipelines/{id}/wait?for=ready&timeout=5s"));
        if answer.status == 200 && answer.json()["reached"] == true {
            if over.load(Ordering::Relaxed) {
                return runs;
            }
            let body = json!({"reset_state": true});
            runs += u64::from(client.post(&format!("/pipelines/{id}/runs"), &body).status == 202);
        } else if answer.status == 429 {
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Reads the events of a pipeline. A slow reader sleeps between reads.
fn follow(client: &Client, id: &str, slow: bool, bytes: &AtomicU64, gaps: &AtomicU64, over: &AtomicBool) {
    let mut stream = client.send("GET", &format!("/pipelines/{id}/events?from=start"), "").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut chunk = vec![0; 64 * 1024];
    while !over.load(Ordering::Relaxed) {
        if slow {
            std::thread::sleep(Duration::from_millis(500));
        }
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => {
                bytes.fetch_add(length as u64, Ordering::Relaxed);
                gaps.fetch_add(
                    memchr::memmem::find_iter(&chunk[..length], b"\"type\":\"gap\"").count() as u64,
                    Ordering::Relaxed,
                );
            }
            Err(_) => {}
        }
    }
}

fn fleet(time: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    // All clients share one address, so the limits per client are raised.
    std::fs::write(&config, "[limits]\nruns = 100\nwaits_per_client = 1000\nrequests_per_second = 5000\nbehind = \"256kB\"\n[logs]\nsize = \"64MiB\"\n").unwrap();
    let server = Server::with(folder.path(), &["--config", config.to_str().unwrap(), "--quiet"], &[]);
    let client = server.client();
    let over = Arc::new(AtomicBool::new(false));
    let (bytes, gaps) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut threads = Vec::new();
    let mut readers = Vec::new();
    for number in 0..100_usize {
        let (scenario, _, speed) = KINDS[number % KINDS.len()];
        let id = format!("pipe_{number:03}");
        client
            .post("/pipelines", &simulated(&id, json!({"scenario": scenario, "seed": number, "speed": speed})))
            .is(201);
        let (own, ended, name) = (client.clone(), Arc::clone(&over), id.clone());
        threads.push(std::thread::spawn(move || keep_busy(&own, &name, &ended)));
        let (own, ended, bytes, gaps) = (client.clone(), Arc::clone(&over), Arc::clone(&bytes), Arc::clone(&gaps));
        readers.push(std::thread::spawn(move || follow(&own, &id, number % 10 == 0, &bytes, &gaps, &ended)));
    }
    let began = Instant::now();
    let mut middle = (0.0, 0.0);
    while began.elapsed() < time {
        std::thread::sleep(Duration::from_secs(1));
        if middle.0 == 0.0 && began.elapsed() >= time / 2 {
            middle = memory(server.child.id());
        }
    }
    let used = cpu(server.child.id()) / began.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let runs: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let (peak, rss) = memory(server.child.id());
    // Every run succeeded with all records.
    let mut expected: BTreeMap<&str, u64> = KINDS.iter().map(|(name, all, _)| (*name, *all)).collect();
    let (mut last_runs, mut rows) = (0, 0);
    for number in 0..100_usize {
        let (scenario, ..) = KINDS[number % KINDS.len()];
        let id = format!("pipe_{number:03}");
        let now = client.get(&format!("/pipelines/{id}")).is(200);
        let streams = now["sync_state"]["source"]["streams"].as_object().unwrap();
        assert!(streams.values().all(|stream| stream["remaining"] == json!([])), "{id}: something is left");
        let all = expected.entry(scenario).or_insert(0);
        if *all == 0 {
            *all = records(&now);
        }
        assert!(records(&now) >= *all, "{id}: {} of {all}", records(&now));
        rows += records(&now);
        for run in client.get(&format!("/pipelines/{id}/runs")).is(200)["data"].as_array().unwrap() {
            assert_eq!(run["status"], "SUCCEEDED", "{id}: {run}");
            last_runs += 1;
        }
    }
    println!(
        "100 pipelines, {} s: {runs} runs ({last_runs} checked, all succeeded), {rows} records in the last of each; {} MB of events read, {} gaps reported to slow readers",
        time.as_secs(),
        bytes.load(Ordering::Relaxed) / 1_000_000,
        gaps.load(Ordering::Relaxed),
    );
    println!(
        "memory: {:.0} MB after half of the time, {rss:.0} MB at the end, peak {peak:.0} MB; {:.0} % of one core",
        middle.1,
        used * 100.0
    );
    println!("changes seen only by the poll: {}", client.get("/health").json()["missed_changes"]);
    drop(readers);
}
