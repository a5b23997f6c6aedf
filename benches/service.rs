//! The service under load, in a separate process: `cargo bench --bench service [-- SECONDS]`.
//! Prints the figures of the README.
//!
//! 1. A thousand waits woken by one change, ten times: from sending the change to each answer.
//! 2. A hundred pipelines on simulated engines for two minutes, each with a reader (ten of them
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
    for _ in 0..10 {
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
        "1000 waits woken by one change (10 times): p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; peak {peak:.0} MB",
        at(500),
        at(990),
        at(1000)
    );
    println!("changes seen only by the poll: {}", client.get("/health").json()["missed_changes"]);
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
