//! The `/wait` route: no change is missed, no answer contradicts the status, and a disconnected
//! client frees its wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/serve.rs"]
mod serve;

use serde_json::{Value, json};
use serve::{Client, Server, WAIT_TIMEOUT, folder, quick, read_answer, simulated};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Creates a pipeline and waits until it is ready.
fn ready(client: &Client, id: &str) {
    client.post("/pipelines", &quick(id)).is(201);
    client.wait(id, "ready");
}

fn want(client: &Client, id: &str, desired: &str) -> Value {
    client.patch(&format!("/pipelines/{id}"), &json!({"desired_status": desired})).is(200)
}

#[test]
fn change_between_check_and_subscription_is_not_missed() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    ready(&client, "pipe_race");
    // The change comes as close to the start of the wait as possible. A missed change would be seen
    // only by the poll, after five seconds.
    for round in 0..150 {
        let waiting = client.send("GET", "/pipelines/pipe_race/wait?for=paused&timeout=30s", "").unwrap();
        want(&client, "pipe_race", "paused");
        let began = Instant::now();
        let answer = read_answer(waiting).unwrap().is(200);
        assert_eq!((answer["reached"].as_bool(), answer["status"].as_str()), (Some(true), Some("paused")), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(2), "round {round}: {:?}", began.elapsed());
        want(&client, "pipe_race", "active");
    }
    assert_eq!(client.get("/health").is(200)["missed_changes"], 0);
}

/// Reads one response of a connection that remains open: its status line, headers and body.
fn read_one(connection: &mut TcpStream) -> (String, Value) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    connection.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

#[test]
fn connection_of_a_wait_serves_the_requests_around_it() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    ready(&client, "pipe_line");
    let mut connection = TcpStream::connect(server.address).unwrap();
    connection.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    let request = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", server.address);
    let pipeline = request("/pipelines/pipe_line", "");
    let paused = "/pipelines/pipe_line/wait?for=paused&timeout=30s";
    // The requests behind the wait arrive before its response, one together with it.
    connection.write_all((pipeline.clone() + &request(paused, "") + &pipeline).as_bytes()).unwrap();
    assert_eq!(read_one(&mut connection).1["status"], "ready");
    client.until("/health", |it| it["waits"] == 1);
    connection.write_all(request("/pipelines/pipe_none", "").as_bytes()).unwrap();
    want(&client, "pipe_line", "paused");
    let (head, body) = read_one(&mut connection);
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\ncontent-type: application/json\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\ndate: ") && !head.contains("connection"), "{head}");
    assert_eq!((&body["reached"], &body["status"]), (&json!(true), &json!("paused")), "{body}");
    assert_eq!(read_one(&mut connection).1["status"], "paused");
    assert!(read_one(&mut connection).0.starts_with("HTTP/1.1 404 "));

    // A wait that fails is a problem in JSON, and its connection ends where the client asked for it.
    want(&client, "pipe_line", "active");
    client.wait("pipe_line", "ready");
    connection.write_all(request(paused, "Connection: Close\r\n").as_bytes()).unwrap();
    client.until("/health", |it| it["waits"] == 1);
    client.delete("/pipelines/pipe_line").is(200);
    let (head, body) = read_one(&mut connection);
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n") && head.contains("\r\nconnection: close\r\n"), "{head}");
    assert_eq!(body["code"], "pipeline_not_found", "{body}");
    assert_eq!(connection.read(&mut [0]).unwrap(), 0);
}

#[test]
fn change_at_the_timeout_is_reported_consistently() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    ready(&client, "pipe_timer");
    let mut both = [0, 0];
    for round in 0..40_u64 {
        let (desired, status) = if round % 2 == 0 { ("paused", "paused") } else { ("active", "ready") };
        // The cursor makes the wait ignore the present status, which would end it at once.
        let cursor = client.get("/pipelines/pipe_timer").is(200)["cursor"].as_str().unwrap().to_owned();
        let path = format!("/pipelines/pipe_timer/wait?for=stream:nope=completed&timeout=0.06&after={cursor}");
        let path = if status == "ready" {
            format!("/pipelines/pipe_timer/wait?for={status}&timeout=0.06&after={cursor}")
        } else {
            path.replace("stream:nope=completed", status)
        };
        let other = client.clone();
        let changing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(52 + round % 16));
            want(&other, "pipe_timer", desired);
        });
        let answer = client.get(&path).is(200);
        let reached = answer["reached"].as_bool().unwrap();
        // Never "timed out" with the awaited status, and never "reached" with another one.
        assert_eq!(reached, answer["status"] == status, "{answer}");
        if status == "paused" {
            assert_eq!(reached, !answer["timed_out"].as_bool().unwrap(), "{answer}");
        }
        both[usize::from(reached)] += 1;
        changing.join().unwrap();
        client.wait("pipe_timer", status);
    }
    assert!(both[0] + both[1] == 40, "{both:?}");
}

#[test]
fn wait_with_a_cursor_ignores_errors_before_it() {
    let folder = folder();
    let key = folder.path().join("key");
    std::fs::write(&key, "sk_test_revoked").unwrap();
    let server = Server::start(folder.path());
    let client = server.client();
    let config = json!({"speed": 0, "api_key": format!("file:{}", key.display())});
    client.call("POST", "/pipelines?skip_check=true", &simulated("pipe_resume", config).to_string()).is(201);
    let parked = client.get("/pipelines/pipe_resume/wait?for=ready").is(200);
    assert_eq!(
        (parked["status"].as_str(), parked["reached"].as_bool(), parked["timed_out"].as_bool()),
        (Some("error"), Some(false), Some(false))
    );
    // Without a cursor, the parked status ends the wait; with its cursor it does not.
    let cursor = parked["cursor"].as_str().unwrap().to_owned();
    let known = client.get(&format!("/pipelines/pipe_resume/wait?for=ready&after={cursor}&timeout=0.3")).is(200);
    assert_eq!(known["timed_out"], true, "{known}");
    // A wait that starts before the resume sees it too.
    std::fs::write(&key, "sk_test_good").unwrap();
    let before = client.send("GET", &format!("/pipelines/pipe_resume/wait?for=ready&after={cursor}"), "").unwrap();
    let resumed = want(&client, "pipe_resume", "active");
    let after = resumed["cursor"].as_str().unwrap();
    for answer in [
        read_answer(before).unwrap().is(200),
        client.get(&format!("/pipelines/pipe_resume/wait?for=ready&after={after}")).is(200),
        client.get(&format!("/pipelines/pipe_resume/wait?for=not-parked&after={cursor}")).is(200),
    ] {
        assert_eq!(answer["reached"], true, "{answer}");
    }
    // Parked again by the same error: the wait ends with the same fingerprint.
    std::fs::write(&key, "sk_test_revoked").unwrap();
    let run = client.post("/pipelines/pipe_resume/runs", &json!({})).is(202);
    let again =
        client.get(&format!("/pipelines/pipe_resume/wait?for=ready&after={}", run["cursor"].as_str().unwrap())).is(200);
    assert_eq!(again["reason"]["fingerprint"], parked["reason"]["fingerprint"], "{again}");
    assert_eq!(again["reached"], false);
}

#[test]
fn unreachable_target_ends_the_wait_at_once() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    ready(&client, "pipe_end");
    let began = Instant::now();
    let done = client.get("/pipelines/pipe_end/wait?for=stream:customer=completed").is(200);
    assert_eq!(done["reached"], true);
    let never = client.get("/pipelines/pipe_end/wait?for=stream:customer=errored").is(200);
    assert_eq!((never["reached"].as_bool(), never["timed_out"].as_bool()), (Some(false), Some(false)), "{never}");
    want(&client, "pipe_end", "paused");
    client.wait("pipe_end", "paused");
    let never = client.get("/pipelines/pipe_end/wait?for=ready").is(200);
    assert_eq!((never["reached"].as_bool(), never["timed_out"].as_bool()), (Some(false), Some(false)), "{never}");
    assert!(began.elapsed() < Duration::from_secs(4));
    // Timeout 0 checks once; a longer timeout is cut to 300 s; `Prefer: wait` is used.
    let once = client.get("/pipelines/pipe_end/wait?for=backfill&timeout=0").is(200);
    assert_eq!((once["reached"].as_bool(), once["timeout"].as_f64()), (Some(false), Some(0.0)), "{once}");
    assert_eq!(client.get("/pipelines/pipe_end/wait?for=paused&timeout=2h").is(200)["timeout"], 300.0);
    let prefer = client.clone().with("Prefer", "respond-async, wait=7");
    assert_eq!(prefer.get("/pipelines/pipe_end/wait?for=paused").is(200)["timeout"], 7.0);
    assert_eq!(client.get("/pipelines/pipe_nope/wait").is(404)["code"], "pipeline_not_found");
}

#[test]
fn deletion_ends_open_waits_at_once() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    ready(&client, "pipe_deleted");
    let cursor = client.get("/pipelines/pipe_deleted").is(200)["cursor"].as_str().unwrap().to_owned();
    let waiting: Vec<_> = ["for=backfill", "for=progress", "for=paused"]
        .iter()
        .map(|query| client.send("GET", &format!("/pipelines/pipe_deleted/wait?{query}&timeout=2m"), "").unwrap())
        .collect();
    client.until("/health", |it| it["waits"] == 3);
    let began = Instant::now();
    client.delete("/pipelines/pipe_deleted").is(200);
    for waiting in waiting {
        assert_eq!(read_answer(waiting).unwrap().is(404)["code"], "pipeline_not_found");
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    // A cursor of the deleted pipeline does not fit a new one with the same id.
    ready(&client, "pipe_deleted");
    let answer = client.get(&format!("/pipelines/pipe_deleted/wait?for=ready&after={cursor}"));
    assert_eq!((answer.status, answer.code().as_str()), (410, "cursor_expired"));
    assert!(answer.json()["cursor"].is_string());
}

#[test]
fn cursor_of_a_wait_survives_a_restart() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_restart", json!({"speed": 8}))).is(201);
    let first = client.wait("pipe_restart", "progress");
    let waiting = client.send("GET", "/pipelines/pipe_restart/wait?for=ready", "").unwrap();
    client.until("/health", |it| it["waits"] == 1);
    server.kill();
    assert!(read_answer(waiting).is_err(), "a broken answer is no result");
    let server = Server::start(folder.path());
    let client = server.client();
    let cursor = first["cursor"].as_str().unwrap();
    let answer = client.get(&format!("/pipelines/pipe_restart/wait?for=ready&after={cursor}")).is(200);
    assert_eq!(answer["reached"], true, "{answer}");
}

#[test]
fn client_is_limited_to_eight_waits_and_frees_them_by_disconnecting() {
    let folder = folder();
    let server = Server::with(folder.path(), &["--behind-proxy"], &[("SYNCTOP_TOKEN", "a-token-of-enough-length")]);
    // A client may send addresses itself: the proxy appends the right one.
    let of = |addresses: &str| {
        let client = server.client().with("Authorization", "Bearer a-token-of-enough-length");
        client.with("X-Forwarded-For", addresses)
    };
    let client = of("10.0.0.8, 10.0.0.9");
    ready(&client, "pipe_limit");
    let path = "/pipelines/pipe_limit/wait?for=backfill&timeout=2m";
    let mut open: Vec<_> = (0..8).map(|_| client.send("GET", path, "").unwrap()).collect();
    client.until("/health", |it| it["waits"] == 8);
    let refused = client.get(path);
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_waits"));
    assert!(refused.header("retry-after").is_some());
    // Other requests and other clients are not limited.
    let other = of("10.0.0.9, 10.0.0.10").send("GET", path, "").unwrap();
    client.until("/health", |it| it["waits"] == 9);
    drop(other);
    client.until("/health", |it| it["waits"] == 8);
    assert_eq!(client.get("/pipelines/pipe_limit").status, 200);
    // Disconnecting frees waits.
    open.truncate(3);
    client.until("/health", |it| it["waits"] == 3);
    let again = client.get("/pipelines/pipe_limit/wait?for=ready").is(200);
    assert_eq!(again["reached"], true);
    drop(open);
    client.until("/health", |it| it["waits"] == 0);
}

/// Connects from the loopback address 127.0.1.`number`, which counts as a client of its own.
fn connect_from(number: u8, server: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 1, number), 0))).unwrap();
    connect(&socket, &server).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream
}

#[test]
fn one_change_wakes_a_thousand_waits() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    ready(&client, "pipe_many");
    let request = format!(
        "GET /pipelines/pipe_many/wait?for=paused&timeout=2m HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    let mut open = Vec::new();
    for number in 0..1_000_u32 {
        let mut stream = connect_from(u8::try_from(number / 8 + 1).unwrap(), server.address);
        stream.write_all(request.as_bytes()).unwrap();
        open.push(stream);
    }
    client.until("/health", |it| it["waits"] == 1_000);
    let refused = client.get("/pipelines/pipe_many/wait?for=paused");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_waits"));
    want(&client, "pipe_many", "paused");
    for stream in open {
        let answer = read_answer(stream).unwrap().is(200);
        assert_eq!((answer["reached"].as_bool(), answer["status"].as_str()), (Some(true), Some("paused")));
    }
    client.until("/health", |it| it["waits"] == 0);
}
