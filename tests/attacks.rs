//! Attacks on the service, each by the name of the fault that it found in version 0.1.0: H for high,
//! M for medium, L for low. L8 is in `faults.rs`, L13 in `tasks.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/serve.rs"]
mod serve;

use serde_json::{Value, json};
use serve::{Server, folder, on, script, service, simulated};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
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

/// Compressed segments of all logs of a service.
fn segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let logs = std::fs::read_dir(folder.join("data/logs")).unwrap().flatten();
    let files = logs.flat_map(|log| std::fs::read_dir(log.path()).unwrap().flatten()).map(|file| file.path());
    let mut packed: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "zst")).collect();
    packed.sort();
    packed
}

#[test]
fn m6_damaged_segments_leave_a_gap_and_the_log_goes_on() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_a", json!({"speed": 0, "scenario_text": serve::SMALL}))).is(201);
    client.wait("pipe_a", "ready");
    for run in 2..=4 {
        client.post("/pipelines/pipe_a/runs", &json!({})).is(202);
        client.until("/pipelines/pipe_a/runs", |it| it["data"].as_array().unwrap().len() == run);
        client.wait("pipe_a", "ready");
    }
    until(Duration::from_secs(20), "compressed segments", || segments(folder.path()).len() >= 5);
    server.kill();
    let files = segments(folder.path());
    // Two are no archives any more, among them the newest; another is damaged behind its head.
    let newest = files.last().unwrap();
    std::fs::write(newest, "damaged").unwrap();
    std::fs::write(&files[0], "damaged").unwrap();
    let mut bytes = std::fs::read(&files[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xff);
    std::fs::write(&files[1], bytes).unwrap();
    let server = Server::start(folder.path());
    let client = server.client();
    let lines = client.get("/pipelines/pipe_a/events?from=start&follow=false").lines();
    // The first segment is set aside, so that the log starts behind it; the second one and the newest are gaps.
    assert!(files[0].with_extension("zst.damaged").is_file());
    assert_eq!(lines.iter().filter(|line| line["type"] == "gap").count(), 2, "{lines:?}");
    let ends = lines.iter().filter(|line| line["type"] == "eof").count();
    assert!(ends >= 1, "the runs behind the damage: {} lines", lines.len());
    client.post("/pipelines/pipe_a/runs", &json!({})).is(202);
    client.until("/pipelines/pipe_a/runs", |it| it["data"][0]["status"] == "SUCCEEDED");
    // The log of the run whose segment is gone is not that of the new run.
    let gone = client.try_call("GET", "/pipelines/pipe_a/runs/4/log", "");
    assert!(gone.is_err() || !gone.unwrap().text().contains("eof"));
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
        client.post("/pipelines/pipe_leaky/sync", &json!({})).text(),
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

/// Engine whose first call fails and whose later ones succeed.
const FAILS_ONCE: &str = "
path = __file__ + '.called'
first = not os.path.exists(path)
open(path, 'a').write('x')
if first:
    sys.exit(3)
say('eof', reason='complete', has_more=False)
";

#[test]
fn h7_clock_that_is_set_holds_no_retry_and_loses_no_key() {
    for jump in [-86_400_000_i64, 86_400_000 * 3] {
        let folder = folder();
        let clock = folder.path().join("clock");
        std::fs::write(&clock, "0").unwrap();
        let engine = script(folder.path(), "engine", FAILS_ONCE);
        let config = folder.path().join("config.toml");
        std::fs::write(
            &config,
            format!("[engines.once]\ncommand = [\"python3\", {:?}]\n", engine.display().to_string()),
        )
        .unwrap();
        let variables = [("SYNCTOP_TEST_CLOCK", clock.to_str().unwrap())];
        let server = Server::with(folder.path(), &["--config", config.to_str().unwrap()], &variables);
        let client = server.client();
        let wanted = on("pipe_once", "once").to_string();
        let create =
            || client.clone().with("Idempotency-Key", "key-1").call("POST", "/pipelines?skip_check=true", &wanted);
        create().is(201);
        client.until("/pipelines/pipe_once", |it| it["retry"]["attempt"].as_u64() == Some(1));
        std::fs::write(&clock, jump.to_string()).unwrap();
        let begin = Instant::now();
        client.wait("pipe_once", "ready");
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        // The answer of the first request is still stored.
        create().is(201);
        let begin = Instant::now();
        client.get("/pipelines/pipe_once/wait?for=paused&timeout=1").is(200);
        assert!(begin.elapsed() < Duration::from_secs(10));
        // A new service with this clock goes on, too.
        drop(server);
        let server = Server::with(folder.path(), &["--config", config.to_str().unwrap()], &variables);
        server.client().wait("pipe_once", "ready");
    }
}

/// Sends raw bytes and returns the status line.
fn raw(server: &Server, bytes: &str) -> String {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn h3_and_m3_lines_without_an_end_are_passed_over() {
    let folder = folder();
    let engine = script(
        folder.path(),
        "engine",
        "for _ in range(200):\n    sys.stdout.write('x' * (1 << 20))\nsys.stdout.write('\\n')\nsay('eof', reason='complete', has_more=False)\n",
    );
    let server = service(
        folder.path(),
        &format!("[engines.endless]\ncommand = [\"python3\", {:?}]\n", engine.display().to_string()),
    );
    let client = server.client();
    for number in 0..4 {
        let wanted = on(&format!("pipe_{number}"), "endless").to_string();
        client.call("POST", "/pipelines?skip_check=true", &wanted).is(201);
    }
    for number in 0..4 {
        client.until(&format!("/pipelines/pipe_{number}"), |it| {
            it["run"]["status"].as_str().is_some_and(|it| it != "RUNNING" && it != "PENDING")
        });
        let log = client.get(&format!("/pipelines/pipe_{number}/runs/1/log")).text();
        assert!(log.contains("1 line of the engine passed over: more than 32 MiB"), "{}", &log[..log.len().min(2_000)]);
    }
    let peak = peak_mb(server.child.id());
    assert!(peak < 400, "{peak} MB");
    // The progress stage has the same bound: 300 MB in one line.
    let mut track = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .arg("track")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = track.stdin.take().unwrap();
    for _ in 0..300 {
        input.write_all(&vec![b'x'; 1_000_000]).unwrap();
    }
    let peak = peak_mb(track.id());
    assert!(peak < 160, "{peak} MB");
    drop(input);
    let output = track.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("1 line of more than 32 MiB"), "{words}");
}

/// Peak of the resident memory of a process in MB.
fn peak_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn m1_unauthenticated_bodies_reserve_no_room() {
    use std::io::Write;
    let folder = folder();
    let server = Server::with(folder.path(), &[], &[("SYNCTOP_TOKEN", "a-token-of-enough-length")]);
    let client = server.client().with("Authorization", "Bearer a-token-of-enough-length");
    let host = format!("Host: {}\r\n", server.address);
    let open: Vec<_> = (0..130)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            let head = format!("POST /webhooks/nosuch HTTP/1.1\r\n{host}Content-Length: 1000000\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let begin = Instant::now();
    client.post("/pipelines", &simulated("pipe_a", json!({"speed": 0}))).is(201);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(open);
}

/// Summarizes `parts` of input from a pipe; returns the output and the peak of the memory in MB.
fn summarized(parts: impl Iterator<Item = Vec<u8>>, arguments: &[&str]) -> (std::process::Output, u64) {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["summary", "-"])
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for part in parts {
        input.write_all(&part).unwrap();
    }
    // All but the last chunk is reduced by now.
    let peak = peak_mb(child.id());
    drop(input);
    (child.wait_with_output().unwrap(), peak)
}

#[test]
fn m2_streams_and_short_lines_are_bounded() {
    let record = |at: u32| format!("{{\"type\":\"RECORD\",\"stream\":\"stream_{at:07}\",\"record\":{{\"id\":1}}}}\n");
    let failed = "{\"type\":\"TRACE\",\"trace\":{\"type\":\"STREAM_STATUS\",\"emitted_at\":1763600000000.0,\
                  \"stream_status\":{\"stream_descriptor\":{\"name\":\"last\"},\"status\":\"INCOMPLETE\"}}}\n";
    let log = || (0..120).map(|part| (part * 1_000..(part + 1) * 1_000).map(record).collect::<String>().into_bytes());
    let (output, peak) = summarized(log(), &["--json"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["streams"].as_array().unwrap().len(), 100_000);
    assert_eq!(summary["records"]["cumulative"], 120_000);
    assert_eq!(summary["doubts"][0]["kind"], "streams_beyond");
    assert!(peak < 100, "{peak} MB");
    // The limit is an option, and a failure beyond it is still a failure.
    let airbyte = "{\"type\":\"RECORD\",\"record\":{\"stream\":\"one\",\"emitted_at\":1763600000000,\"data\":{}}}\n";
    let parts = [airbyte, failed].map(|line| line.as_bytes().to_vec());
    let (output, _) = summarized(parts.into_iter(), &["--json", "--max-streams", "1"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["streams"].as_array().unwrap().len(), 1);
    assert_eq!(summary["errors"][0]["streams"][0], "(streams beyond the limit)", "{}", summary["errors"]);
    assert_ne!(output.status.code(), Some(0));
    // Reports that repeat an error of such a stream count it once.
    let report = |second: u32| {
        format!(
            "{{\"type\":\"progress\",\"progress\":{{\"elapsed_ms\":{second},\"global_state_count\":0,\"derived\":\
             {{\"status\":\"started\"}},\"streams\":{{\"a\":{{\"status\":\"started\"}},\"b\":{{\"status\":\"errored\",\
             \"message\":\"no access\"}}}}}},\"_ts\":\"2026-11-20T08:00:{second:02}.000Z\"}}\n"
        )
    };
    let reports = (1..9).map(|second| report(second).into_bytes());
    let (output, _) = summarized(reports, &["--json", "--max-streams", "1"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["errors"][0]["count"], 1, "{}", summary["errors"]);
    // Short lines, equal ones and others.
    let (output, peak) = summarized((0..40).map(|_| vec![b'\n'; 100_000]), &["--quiet"]);
    assert_eq!(output.status.code(), Some(65));
    assert!(peak < 50, "{peak} MB of empty lines");
    let letters = |at: usize| b"a\nb\nc\nd\n".repeat(25_000 + at % 2);
    let (_, peak) = summarized((0..10).map(letters), &["--quiet"]);
    assert!(peak < 80, "{peak} MB of short lines");
}

#[test]
fn m4_secrets_of_several_lines_and_of_arguments_are_masked() {
    let secret = "MIIEq8vT3xLw0PmR7yKsZ";
    let print = |to: &str| {
        format!(
            "import sys\nfor line in ['starting', '-----BEGIN RSA PRIVATE KEY-----', '{secret}1', '{secret}2', \
             '-----END RSA PRIVATE KEY-----', 'password: |', '  {secret}3', '  {secret}4', 'after the block', \
             'client_secret:', '  {secret}5', 'done']:\n    print(line, file=sys.{to})\n"
        )
    };
    for to in ["stderr", "stdout"] {
        let script = print(to);
        let output = Command::new(env!("CARGO_BIN_EXE_synctop"))
            .args([
                "run",
                "--",
                "python3",
                "-c",
                &script,
                "--api-key",
                &format!("{secret}6"),
                &format!("--token={secret}7"),
            ])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!words.contains(secret), "{to}: {words}");
        if to == "stderr" {
            assert!(words.contains("after the block\n") && words.contains("done\n"), "{words}");
        }
    }
    // The same lines as a saved log, and as the stderr beside one.
    let folder = folder();
    let lines = Command::new("python3").args(["-c", &print("stdout")]).output().unwrap().stdout;
    let (log, beside) = (folder.path().join("log"), folder.path().join("stderr"));
    std::fs::write(&beside, &lines).unwrap();
    std::fs::write(&log, [b"{\"type\":\"RECORD\",\"stream\":\"a\",\"record\":{}}\n".as_slice(), &lines].concat())
        .unwrap();
    let (log, beside) = (log.to_str().unwrap(), beside.to_str().unwrap());
    for arguments in [&["summary", "--json", log][..], &["summary", log, "--stderr", beside, "--exit-code", "1"]] {
        let (_, text) = ran(arguments, &[]);
        assert!(!text.contains(secret), "{text}");
    }
}

/// Recorded logs that are in every clone.
fn recorded() -> Vec<std::path::PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let folders = ["airbyte", "singer", "stripe-progress", "stripe-trace", "wild"].map(|name| fixtures.join(name));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap().flatten());
    let is_log = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".ndjson") || name.ends_with(".ndjson.zst")
    };
    files.map(|file| file.path()).filter(is_log).collect()
}

#[test]
fn m2_streams_beyond_the_limit_change_no_outcome_to_another_certain_one() {
    let outcome = |path: &Path, arguments: &[&str]| -> (String, bool) {
        let all = [&["summary", "--json", path.to_str().unwrap()], arguments].concat();
        let output = Command::new(env!("CARGO_BIN_EXE_synctop")).args(all).output().unwrap();
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_beyond = summary["doubts"].as_array().unwrap().iter().any(|it| it["kind"] == "streams_beyond");
        (summary["outcome"].as_str().unwrap().to_owned(), is_beyond)
    };
    let (mut beyond, mut wrong) = (0, Vec::new());
    for path in recorded() {
        // The long ones have no other kinds of messages than the short ones.
        if std::fs::metadata(&path).unwrap().len() > 60_000 {
            continue;
        }
        for exit in [&[][..], &["--exit-code", "0"]] {
            let (whole, _) = outcome(&path, exit);
            let (part, is_beyond) = outcome(&path, &[exit, &["--max-streams", "1"]].concat());
            beyond += u32::from(is_beyond);
            // What is not stored can hide a success, an end or an error, and claim none of them.
            let fine = match part.as_str() {
                "unknown" => is_beyond || whole == "unknown",
                "completed_with_errors" => matches!(whole.as_str(), "completed_with_errors" | "failed"),
                part => part == whole,
            };
            if !fine {
                wrong.push(format!("{} {exit:?}: {whole}, and {part} with one stream", path.display()));
            }
        }
    }
    assert!(beyond > 30, "{beyond}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn m9_pages_of_other_ports_may_not_write() {
    let folder = folder();
    let server = Server::start(folder.path());
    let wanted = simulated("pipe_a", json!({"speed": 0})).to_string();
    let own = format!("http://{}", server.address);
    for (name, value, status) in [
        ("Origin", "http://127.0.0.1:1", 403),
        ("Origin", "null", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Origin", own.as_str(), 201),
    ] {
        server.client().with(name, value).call("POST", "/pipelines", &wanted).is(status);
    }
}

#[test]
fn m10_half_requests_shut_no_client_out() {
    use std::io::Write;
    let folder = folder();
    let server =
        service(folder.path(), "[limits]\nconnections = 60\nconnections_per_client = 50\nrequests_per_second = 1000\n");
    let client = server.client();
    let half = |start: &[u8]| {
        let mut stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.write_all(start).unwrap();
        stream
    };
    let mut open: Vec<_> = (0..50).map(|_| half(b"GET /health HTTP/1.1\r\nHost: 127")).collect();
    let begin = Instant::now();
    for _ in 0..100 {
        open.push(half(b"GET /he"));
        client.get("/health").is(200);
    }
    // Half requests time out after 5 s: the answers do not wait for that.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let log = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert_eq!(log.matches("too many connections of 127.0.0.1").count(), 1, "{log}");
    // A request that is being answered gives no place away.
    let made = simulated("pipe_a", json!({"speed": 0}));
    client.post("/pipelines", &made).is(201);
    client.wait("pipe_a", "ready");
    let waiting = client.send("GET", "/pipelines/pipe_a/wait?for=paused&timeout=30s", "").unwrap();
    client.until("/health", |it| it["waits"] == 1);
    for _ in 0..100 {
        open.push(half(b"GET /he"));
    }
    client.patch("/pipelines/pipe_a", &json!({"desired_status": "paused"})).is(200);
    let answer = serve::read_answer(waiting).unwrap().is(200);
    assert_eq!(answer["reached"], true, "{answer}");
}

#[test]
fn l14_programs_of_one_machine_share_no_limit_of_waits() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    client.post("/pipelines", &simulated("pipe_a", json!({"speed": 0}))).is(201);
    client.wait("pipe_a", "ready");
    let path = "/pipelines/pipe_a/wait?for=paused&timeout=1m";
    let open: Vec<_> = (0..30).map(|_| client.send("GET", path, "").unwrap()).collect();
    client.until("/health", |it| it["waits"] == 30);
    drop(open);
}

#[test]
fn l1_replayed_events_count_once() {
    let folder = folder();
    let server = Server::start(folder.path());
    let client = server.client();
    let secret = "whsec_0123456789abcdef";
    let mut wanted = simulated("pipe_hook", json!({"speed": 0, "webhook_secret": secret}));
    wanted["desired_status"] = "paused".into();
    client.post("/pipelines", &wanted).is(201);
    let body = r#"{"id": "evt_1", "type": "charge.created"}"#;
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex = tag.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let send = || {
        server.client().with("Stripe-Signature", &format!("t={seconds},v1={hex}")).call(
            "POST",
            "/webhooks/pipe_hook",
            body,
        )
    };
    assert_eq!(send().is(202)["waiting"], 1);
    assert_eq!(send().is(200)["duplicate"], true);
    client.call("POST", "/webhooks/pipe_hook", body).is(400);
}

#[test]
fn l2_and_l15_host_rules_and_health() {
    let folder = folder();
    let server = Server::with(folder.path(), &[], &[("SYNCTOP_TOKEN", "a-token-of-enough-length")]);
    let host = server.address;
    for (request, status) in [
        (format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n"), "200"),
        ("GET /health HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET /health HTTP/1.1\r\nHost: {host}\r\nHost: other\r\n\r\n"), "400"),
        (format!("GET http://evil.example/health HTTP/1.1\r\nHost: {host}\r\n\r\n"), "400"),
        (format!("GET http://{host}/health HTTP/1.1\r\nHost: {host}\r\n\r\n"), "200"),
    ] {
        let line = raw(&server, &request);
        assert!(line.contains(status), "{request}: {line}");
    }
    assert!(server.client().get("/health").is(200)["hostname"].is_null());
    let known = server.client().with("Authorization", "Bearer a-token-of-enough-length").get("/health").is(200);
    assert!(known["hostname"].is_string());
}

/// Runs the program and returns its exit code and its output.
fn ran(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    // A command may create the file that an argument names.
    let folder = folder();
    let output = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .current_dir(folder.path())
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn h5_and_m5_no_untrusted_name_reaches_the_terminal_raw() {
    let odd = "x\u{1b}]0;title\u{7}\u{1b}]52;c;aGk=\u{7}\u{202e}\r\u{9b}2J\u{e0041}\u{3164}\u{ffa0}y";
    let folder = folder();
    let config = folder.path().join(odd);
    std::fs::write(&config, format!("[contexts.a]\nurl = {odd:?}\n")).unwrap();
    let path = config.to_str().unwrap();
    let commands: [&[&str]; 12] = [
        &["summary", odd],
        &["replay", odd],
        &["summary", "--dialect", odd, "x"],
        &[odd, odd],
        &["--theme", odd],
        &["serve", "--config", path],
        &["serve", "--listen", odd],
        &["pipelines", "list", "--context", odd],
        &["pipelines", "show", odd, "--url", "http://127.0.0.1:1"],
        &["wait", odd, "--url", "http://127.0.0.1:1", "--for", odd],
        &["track", "--state", odd],
        &["simulate", odd],
    ];
    for arguments in commands {
        let (_, text) = ran(arguments, &[]);
        assert!(!text.is_empty(), "{arguments:?}");
        let bad: Vec<char> = text
            .chars()
            .filter(|c| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c) || *c >= '\u{e0000}')
            .collect();
        assert!(bad.is_empty(), "{arguments:?}: {bad:?} in {text:?}");
    }
    for (name, value) in [("SYNCTOP_URL", odd), ("SYNCTOP_CONFIG", path), ("SYNCTOP_CONTEXT", odd)] {
        let (_, text) = ran(&["pipelines", "list"], &[(name, value)]);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{name}: {text:?}");
        let (_, text) = ran(&["config", "show"], &[(name, value)]);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{name}: {text:?}");
    }
}

#[test]
fn l3_l4_and_l5_closed_and_full_outputs_and_new_files() {
    let shell = |line: &str| {
        let output =
            Command::new("bash").args(["-c", line]).env("SYNCTOP", env!("CARGO_BIN_EXE_synctop")).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, words) = shell("echo '{}' | $SYNCTOP tee >&-");
    assert_eq!(code, Some(70), "{words}");
    assert!(words.contains("Cannot write stdout: it is closed"), "{words}");
    assert_eq!(shell("echo '{}' | $SYNCTOP tee >/dev/null").0, Some(0));
    assert_eq!(shell("$SYNCTOP --help >/dev/full").0, Some(70));
    let folder = folder();
    let copy = folder.path().join("copy");
    let (code, words) = shell(&format!("umask 022; echo '{{}}' | $SYNCTOP tee -o {} >/dev/null", copy.display()));
    assert_eq!(code, Some(0), "{words}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Processes whose command line contains `part`.
fn processes_with(part: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(part)
    })
    .collect()
}

fn until(within: Duration, what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn l6_no_process_of_an_engine_outlives_synctop() {
    let mark = format!("l6-mark-{}", std::process::id());
    let folder = folder();
    let started = folder.path().join("started");
    let starts = || std::fs::read(&started).map_or(0, |text| text.len());
    // A grandchild with a session of its own, which ignores the end of its parent.
    let start = format!(
        "import subprocess, sys, time\nopen({started:?}, 'a').write('x')\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600) # {mark}'], \
         start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
    );
    let run = |rest: &str| {
        Command::new(env!("CARGO_BIN_EXE_synctop"))
            .args(["run", "--", "python3", "-c", &format!("{start}{rest}")])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let gone = || processes_with(&mark).is_empty();
    // The engine ends by itself.
    let mut ended = run("");
    ended.wait().unwrap();
    until(Duration::from_secs(20), "the end of the grandchild", gone);
    // The engine is stopped, and synctop is killed.
    for (number, signal) in [(2, rustix::process::Signal::TERM), (3, rustix::process::Signal::KILL)] {
        let mut child = run("time.sleep(600)");
        until(Duration::from_secs(20), "the start", || starts() == number && processes_with(&mark).len() >= 3);
        let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        child.wait().unwrap();
        until(Duration::from_secs(20), "the end of all processes", gone);
    }
    assert_eq!(starts(), 3);
    // The service: a command's descendants end with it.
    let text = format!("{start}say('eof', reason='complete', has_more=False)\n");
    let engine = script(folder.path(), "engine", &text);
    let config = format!("[engines.daemon]\ncommand = [\"python3\", {:?}]\n", engine.display().to_string());
    let server = service(folder.path(), &config);
    let client = server.client();
    client.call("POST", "/pipelines?skip_check=true", &on("pipe_a", "daemon").to_string()).is(201);
    client.until("/pipelines/pipe_a", |it| {
        it["run"]["status"].as_str().is_some_and(|it| it != "RUNNING" && it != "PENDING")
    });
    until(Duration::from_secs(20), "the end of the grandchild of a command", gone);
    assert!(starts() >= 4);
}

#[test]
fn l12_impossible_figures_are_left_out_with_a_doubt() {
    let report = |second: u32, records: i64, year: &str| {
        format!(
            "{{\"type\":\"progress\",\"progress\":{{\"started_at\":\"2026-11-20T08:00:00.000Z\",\"elapsed_ms\":{second},\
             \"global_state_count\":{second},\"derived\":{{\"status\":\"started\",\"total_record_count\":{records}}},\"streams\":\
             {{\"a\":{{\"status\":\"started\",\"state_count\":{second},\"record_count\":{records}}}}}}},\
             \"_ts\":\"{year}-11-20T08:00:{second:02}.000Z\"}}\n"
        )
    };
    let start = "{\"type\":\"stream_status\",\"stream_status\":{\"stream\":\"a\",\"status\":\"start\"},\"_ts\":\"2026-11-20T08:00:00.000Z\"}\n";
    let end = "{\"type\":\"eof\",\"eof\":{\"reason\":\"complete\",\"has_more\":false},\"_ts\":\"2026-11-20T08:00:10.000Z\"}\n";
    let summary = |middle: String| -> Value {
        let log = format!("{start}{}{middle}{end}", report(0, 0, "2026"));
        let (output, _) = summarized(std::iter::once(log.into_bytes()), &["--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let doubt = |summary: &Value, text: &str| {
        assert_eq!(summary["doubts"][0]["kind"], "odd_figures", "{summary}");
        assert!(summary["doubts"][0]["message"].as_str().unwrap().contains(text), "{}", summary["doubts"]);
        assert_eq!(summary["ended_at"], "2026-11-20T08:00:10.000Z");
    };
    assert_eq!(summary(report(1, 50, "2026") + &report(2, 60, "2026"))["doubts"], json!([]));
    doubt(&summary(report(1, 50, "2026") + &report(2, 20, "2026")), "fell within an attempt (1 time)");
    let negative = summary(report(1, 50, "2026") + &report(2, -5, "2026") + &report(3, 60, "2026"));
    doubt(&negative, "negative count");
    assert_eq!(negative["records"]["cumulative"], 60);
    for year in ["9999", "2031"] {
        doubt(
            &summary(report(1, 50, "2026") + &report(2, 60, year) + &report(3, 70, "2026")),
            "1 time more than a year",
        );
    }
    // A clock that was set stays: the next message confirms it.
    let set = summary(report(1, 50, "2029") + &report(2, 60, "2029"));
    assert_eq!((&set["doubts"], &set["ended_at"]), (&json!([]), &json!("2029-11-20T08:00:02.000Z")));
}

#[test]
fn l16_long_names_are_stored_short_and_stay_different() {
    let long = "n".repeat(350_000);
    let record =
        |last: u32| format!("{{\"type\":\"RECORD\",\"stream\":\"{long}{last:04}\",\"record\":{{\"id\":1}}}}\n");
    let log = (0..60).chain(0..60).map(|last| record(last).into_bytes());
    let (output, peak) = summarized(log, &["--json"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let streams = summary["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 60);
    assert!(streams.iter().all(|it| it["records"]["cumulative"] == 2 && it["name"].as_str().unwrap().len() < 600));
    assert!(output.stdout.len() < 200_000 && peak < 60, "{} bytes, {peak} MB", output.stdout.len());
}

/// Serves one connection after another with `answer`, until the test ends.
fn serve(answer: impl Fn(&mut std::net::TcpStream, &str) + Send + 'static) -> std::net::SocketAddr {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten().take(2_000) {
            let mut stream = stream;
            let mut head = [0; 8192];
            let length = stream.read(&mut head).unwrap_or(0);
            answer(&mut stream, &String::from_utf8_lossy(&head[..length]));
        }
    });
    address
}

#[test]
fn l9_pages_that_go_back_end_the_list() {
    use std::io::Write;
    let page = std::sync::atomic::AtomicU64::new(0);
    let address = serve(move |stream, head| {
        let number = page.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let body = if head.starts_with("GET /pipelines") {
            json!({"data": [{"id": format!("pipe_{}", number % 3), "status": "ready", "desired_status": "active"}], "has_more": true})
        } else if head.starts_with("GET /health") {
            json!({"ok": true, "service": "synctop", "version": "0.1.0"})
        } else {
            json!({})
        };
        let body = body.to_string();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    });
    let begin = Instant::now();
    ran(&["pipelines", "list", "--url", &format!("http://{address}")], &[]);
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn l10_absurd_delay_before_a_retry_is_bounded() {
    use std::io::Write;
    let address = serve(|stream, _| {
        let _ = write!(
            stream,
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 18446744073709551616\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        );
    });
    let begin = Instant::now();
    let url = format!("http://{address}");
    let (code, text) = ran(&["wait", "pipe_a", "--url", &url, "--for", "ready", "--timeout", "2s"], &[]);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?} {text}", begin.elapsed());
    assert!(matches!(code, Some(2 | 69)), "{code:?} {text}");
}

#[test]
fn l11_single_bytes_are_no_sign_of_life() {
    use std::io::Write;
    let address = serve(|stream, _| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n");
        for _ in 0..60 {
            if stream.write_all(b"x").and_then(|()| stream.flush()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let folder = folder();
    let pipeline = folder.path().join("pipeline.json");
    std::fs::write(&pipeline, json!({"source": {"type": "x"}, "destination": {"type": "x"}}).to_string()).unwrap();
    let begin = Instant::now();
    let url = format!("http://{address}/pipeline_sync");
    let file = pipeline.to_str().unwrap();
    let (code, text) = ran(&["backfill", &url, "--pipeline", file, "--stall-timeout", "2s", "--retries", "0"], &[]);
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?} {text}", begin.elapsed());
    assert_ne!(code, Some(0), "{text}");
}
