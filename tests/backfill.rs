//! `backfill` and `synctop URL` against engines on real sockets: killed engines, restarted engines,
//! and malformed answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/engine.rs"]
mod engine;
#[path = "common/pty.rs"]
mod pty;

use common::reduced;
use engine::Engine;
use pty::Term;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use synctop_core::protocol::Status;
use synctop_core::reduce::{DoubtKind, Outcome, outcome};

const WAIT_TIMEOUT: Duration = Duration::from_secs(40);

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("pipeline.json");
    std::fs::write(&pipeline, PIPELINE).unwrap();
    (folder, pipeline)
}

const PIPELINE: &str = r#"{"source":{"type":"simulated","simulated":{"api_key":"sk_test_4eC39HqLyjWDarjtT1zdp7dc"}},"destination":{"type":"simulated","simulated":{}}}"#;

fn backfill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synctop"));
    command.arg("backfill").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn rows(path: &Path) -> BTreeSet<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn backfill_loses_no_row_when_the_engine_is_killed_twice() {
    let (folder, pipeline) = folder();
    let (state, kept) = (folder.path().join("state.json"), folder.path().join("rows.ndjson"));
    let (pipeline, state, kept) = (pipeline.to_str().unwrap(), state.to_str().unwrap(), kept.to_str().unwrap());
    for form in ["trace", "progress"] {
        let _ = (std::fs::remove_file(state), std::fs::remove_file(kept));
        let serve = ["flaky", "--speed", "40", "--destination", kept, "--generation", form];
        let mut engine = Engine::start(&serve, "127.0.0.1:0");
        let address = engine.address.clone();
        let calls = ["--pipeline", pipeline, "--state", state, "--time-limit", "30", "--state-limit", "1000"];
        // stdout goes to a file: a pipe without a reader would block the engine.
        let log = folder.path().join("out.ndjson");
        let out = std::fs::File::create(&log).unwrap();
        let mut child = backfill(&[&[address.as_str()][..], &calls].concat()).stdout(out).spawn().unwrap();
        // Kill the engine twice, each time after a part of the rows.
        for share in [2_000, 9_000] {
            let asked = Instant::now();
            while std::fs::read_to_string(kept).map_or(0, |text| text.lines().count()) < share {
                if asked.elapsed() > WAIT_TIMEOUT {
                    let _ = child.kill();
                    panic!("{form}: no rows arrive: {}", err(&child.wait_with_output().unwrap()));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            engine.kill();
            engine = Engine::start(&serve, address.strip_prefix("http://").unwrap());
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{form}: {}", err(&output));
        assert_eq!(rows(Path::new(kept)).len(), 16_300, "{form}");
        let progress = reduced(&std::fs::read(&log).unwrap());
        assert_eq!(outcome(&progress), Outcome::Succeeded, "{form}");
        assert!(progress.attempts >= 3, "{form}: {}", progress.attempts);
        assert!(err(&output).contains("the connection broke"), "{}", err(&output));
        assert!(err(&output).contains("calling again in"), "{}", err(&output));
        let state: Value = serde_json::from_str(&std::fs::read_to_string(state).unwrap()).unwrap();
        assert_eq!(state["synctop"]["done"], true);
        // The next run has nothing left to read and ends at once.
        let again = backfill(&[&[address.as_str()][..], &calls, &["-q"]].concat()).output().unwrap();
        assert_eq!(again.status.code(), Some(0), "{form}: {}", err(&again));
        let again_ = reduced(&again.stdout);
        assert_eq!((again_.counters.checkpoints, outcome(&again_)), (0, Outcome::Succeeded), "{form}");
        assert_eq!(err(&again), "");
    }
}

/// Scenario whose destination fails on some pages, after the rows and before the checkpoint, and
/// whose end state is ahead of the written rows.
const OUTAGE: &str = r#"
seed = 21
latency_ms = [2, 6]
range = { gte = "2024-01-01T00:00:00Z", lt = "2026-11-20T08:00:00Z" }
[[streams]]
name = "customer"
records = 3_000
[[streams]]
name = "charge"
records = 2_000
[[streams]]
name = "coupon"
records = 40
[[faults]]
kind = "destination_outage"
after = 700
chance = 0.08
times = 12
"#;

const OUTAGE_ROWS: usize = 5_040;

/// Starts an engine of generation `form` on [`OUTAGE`]. Returns it with the file of its rows.
fn outage_engine(folder: &Path, form: &str) -> (Engine, PathBuf) {
    let (scenario, kept) = (folder.join("outage.toml"), folder.join("rows.ndjson"));
    std::fs::write(&scenario, OUTAGE).unwrap();
    let rows = kept.to_str().unwrap();
    let serve = [scenario.to_str().unwrap(), "--speed", "60", "--generation", form, "--destination", rows];
    (Engine::start(&serve, "127.0.0.1:0"), kept)
}

#[test]
fn destination_outage_loses_no_row_when_the_client_is_killed_repeatedly() {
    for form in ["trace", "progress"] {
        let (folder, pipeline) = folder();
        let state = folder.path().join("state.json");
        let (engine, kept) = outage_engine(folder.path(), form);
        let (pipeline, state) = (pipeline.to_str().unwrap(), state.to_str().unwrap());
        let calls = [engine.address.as_str(), "--pipeline", pipeline, "--state", state, "-q"];
        let mut logs = Vec::new();
        // Kill the client at the end of each request, and in the middle of every third.
        for request in 1.. {
            assert!(request < 200, "{form}: it does not finish");
            let mut child = backfill(&calls).stderr(Stdio::null()).spawn().unwrap();
            let most = if request % 3 == 0 { request * 4 } else { usize::MAX };
            let mut log = String::new();
            let mut ended = false;
            for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).take(most) {
                log.push_str(&line);
                log.push('\n');
                ended = line.contains("\"type\":\"eof\"");
                if ended {
                    break;
                }
            }
            logs.push(log);
            // The state is stored before the next call starts, which is half a second later.
            std::thread::sleep(Duration::from_millis(if ended { 150 } else { 0 }));
            let over = child.try_wait().unwrap();
            let _ = child.kill();
            let _ = child.wait();
            if over.is_some_and(|status| status.success()) {
                break;
            }
        }
        assert_eq!(rows(&kept).len(), OUTAGE_ROWS, "{form}: every row arrives");
        assert!(logs.len() > 3, "{form}: it was killed {} times", logs.len() - 1);
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(state).unwrap()).unwrap();
        assert_eq!(kept["synctop"]["done"], true, "{form}");
        // Streams at risk stay in the state file, and every later log repeats the doubt.
        let ahead = |log: &String| {
            let doubts = synctop_core::reduce::doubts(&reduced(log.as_bytes()));
            doubts.iter().any(|doubt| doubt.kind == DoubtKind::StateAhead)
        };
        let first = logs.iter().position(|log| log.contains("\"at_risk\"")).unwrap();
        assert!(logs[first..].iter().all(ahead), "{form}: the doubt is lost");
        assert_eq!(kept["synctop"]["at_risk"]["charge"]["kind"], "state_ahead", "{form}");
        // A new run reads the streams from the start, so none is at risk.
        let again = backfill(&calls).output().unwrap();
        assert_eq!(again.status.code(), Some(0), "{form}: {}", err(&again));
        assert!(!ahead(&String::from_utf8(again.stdout).unwrap()), "{form}");
    }
}

#[test]
fn destination_outage_is_reported_and_retried() {
    for form in ["trace", "progress"] {
        let (folder, pipeline) = folder();
        let (engine, kept) = outage_engine(folder.path(), form);
        let calls = [engine.address.as_str(), "--pipeline", pipeline.to_str().unwrap()];
        let output = backfill(&calls).output().unwrap();
        let told = err(&output);
        assert_eq!(output.status.code(), Some(0), "{form}: {told}");
        assert!(
            told.contains("it ended with transient errors: upsertWithStats failed: connect ECONNREFUSED"),
            "{told}"
        );
        assert!(told.contains("SUCCEEDED") && told.contains("read again from the last checkpoint"), "{told}");
        assert_eq!(rows(&kept).len(), OUTAGE_ROWS, "{form}");
        let summary = serde_json::to_value(synctop_core::report::summary(&reduced(&output.stdout))).unwrap();
        assert_eq!(summary["outcome"], "succeeded", "{form}");
        let kinds: Vec<_> = summary["doubts"].as_array().unwrap().iter().map(|it| it["kind"].clone()).collect();
        assert_eq!(kinds, ["state_ahead", "recount_after_resume"], "{form}");
        // With --strict, a doubt fails the command.
        let (engine, _) = outage_engine(folder.path(), form);
        let strict = [engine.address.as_str(), "--pipeline", pipeline.to_str().unwrap(), "--strict", "-q"];
        assert_eq!(backfill(&strict).output().unwrap().status.code(), Some(1), "{form}");
        // Without retries, the error names the cause.
        let (engine, _) = outage_engine(folder.path(), form);
        let once = [engine.address.as_str(), "--pipeline", pipeline.to_str().unwrap(), "--retries", "0"];
        let output = backfill(&once).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{form}");
        assert!(
            err(&output).contains("transient errors: upsertWithStats failed: connect ECONNREFUSED"),
            "{}",
            err(&output)
        );
    }
}

#[test]
fn backfill_resumes_from_its_state_file_after_sigint() {
    let (folder, pipeline) = folder();
    let (state, kept) = (folder.path().join("state.json"), folder.path().join("rows.ndjson"));
    let engine = Engine::start(&["healthy", "--speed", "4", "--destination", kept.to_str().unwrap()], "127.0.0.1:0");
    let calls = [engine.address.as_str(), "--pipeline", pipeline.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let child = backfill(&calls).spawn().unwrap();
    let asked = Instant::now();
    while std::fs::read_to_string(&kept).map_or(0, |text| text.lines().count()) < 3_000 {
        assert!(asked.elapsed() < WAIT_TIMEOUT);
        std::thread::sleep(Duration::from_millis(5));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(err(&output).contains("the same command continues from it"), "{}", err(&output));
    let before: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    assert_eq!(before["synctop"]["done"], false);
    let output = backfill(&calls).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(err(&output).contains("continues after 1 call"), "{}", err(&output));
    assert_eq!(rows(&kept).len(), 16_375);
    let written = std::fs::read_to_string(&kept).unwrap().lines().count();
    assert!(written < 16_375 + 3_000, "{written} rows were written: what was read is not read again");
    let after: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    assert_eq!(after["synctop"]["run_id"], before["synctop"]["run_id"]);
}

#[test]
fn later_calls_repeat_the_failed_and_skipped_streams_of_the_first() {
    let (folder, pipeline) = folder();
    let (state, copy) = (folder.path().join("state.json"), folder.path().join("copy.ndjson.zst"));
    for form in ["trace", "progress"] {
        let _ = std::fs::remove_file(&state);
        let engine = Engine::start(&["everything", "--no-pace", "--generation", form], "127.0.0.1:0");
        let call = |limit: &str| {
            let arguments = [
                engine.address.as_str(),
                "--pipeline",
                pipeline.to_str().unwrap(),
                "--state",
                state.to_str().unwrap(),
                "--time-limit",
                limit,
                "--state-limit",
                "100000",
                "-o",
                copy.to_str().unwrap(),
            ];
            let mut child = backfill(&arguments).spawn().unwrap();
            let mut out = Vec::new();
            child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
            (out, child.wait_with_output().unwrap())
        };
        let (whole, output) = call("40");
        assert_eq!(output.status.code(), Some(1), "{form}: {}", err(&output));
        assert!(common::unpack(&copy) == whole, "-o keeps all messages");
        let calls: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let end = calls.iter().position(|line| line.starts_with(b"{\"type\":\"eof\"")).unwrap();
        let later = calls[end + 1..].concat();
        // The second call alone, before its end message, shows the errors of the first call.
        let until_its_end = later.len() - later.split_inclusive(|byte| *byte == b'\n').next_back().unwrap().len();
        let progress = reduced(&later[..until_its_end]);
        let failed = progress
            .streams
            .iter()
            .filter(|stream| stream.details.failed_in.is_some() || stream.status == Status::Errored);
        assert_eq!(failed.count(), 2, "{form}");
        assert_eq!(progress.streams.iter().filter(|stream| stream.status == Status::Skipped).count(), 2, "{form}");
    }
}

#[test]
fn network_failure_of_one_stream_is_retried_in_both_generations() {
    let (folder, pipeline) = folder();
    let scenario = folder.path().join("net.toml");
    let text = "range = { gte = \"2024-01-01T00:00:00Z\", lt = \"2024-02-01T00:00:00Z\" }\n\
        [[streams]]\nname = \"a\"\nrecords = 900\n[[streams]]\nname = \"b\"\nrecords = 900\n\
        [[faults]]\nkind = \"reset\"\nstream = \"a\"\nafter = 200\ntimes = 20\n";
    std::fs::write(&scenario, text).unwrap();
    for form in ["trace", "progress"] {
        let kept = folder.path().join(format!("{form}.ndjson"));
        let serve =
            [scenario.to_str().unwrap(), "--no-pace", "--generation", form, "--destination", kept.to_str().unwrap()];
        let engine = Engine::start(&serve, "127.0.0.1:0");
        let arguments = [&engine.address, "--pipeline", pipeline.to_str().unwrap(), "--time-limit", "1000"];
        let output = backfill(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{form}: {}", err(&output));
        assert_eq!(rows(&kept).len(), 1_800, "{form}");
    }
}

#[test]
fn stream_that_fails_before_its_first_checkpoint_is_retried() {
    let (folder, pipeline) = folder();
    let state = folder.path().join("state.json");
    for form in ["trace", "progress"] {
        let _ = std::fs::remove_file(&state);
        let kept = folder.path().join(format!("{form}.ndjson"));
        let engine = Engine::start(
            &["flaky", "--no-pace", "--generation", form, "--destination", kept.to_str().unwrap()],
            "127.0.0.1:0",
        );
        let limits = ["--time-limit", "60", "--state-limit", "100000", "--state", state.to_str().unwrap()];
        let output =
            backfill(&[&[engine.address.as_str(), "--pipeline", pipeline.to_str().unwrap()][..], &limits].concat())
                .output()
                .unwrap();
        assert_eq!(output.status.code(), Some(0), "{form}: {}", err(&output));
        assert_eq!(rows(&kept).len(), 16_300, "{form}");
    }
}

#[test]
fn run_id_and_copy_continue_after_the_client_is_terminated() {
    let (folder, pipeline) = folder();
    let (state, copy) = (folder.path().join("state.json"), folder.path().join("copy.ndjson.zst"));
    let engine = Engine::start(&["healthy", "--speed", "3"], "127.0.0.1:0");
    let arguments = [
        engine.address.as_str(),
        "--pipeline",
        pipeline.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
        "-o",
        copy.to_str().unwrap(),
    ];
    let mut child = backfill(&arguments).spawn().unwrap();
    let asked = Instant::now();
    while !state.exists() {
        assert!(asked.elapsed() < WAIT_TIMEOUT);
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let mut first = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut first).unwrap();
    child.wait().unwrap();
    let run_id = |path: &Path| -> Value {
        let state: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        state["synctop"]["run_id"].clone()
    };
    let before = run_id(&state);
    // The copy is written first: a signal may come between the two, then the copy has more than stdout.
    let copied = common::unpack(&copy);
    assert!(copied.starts_with(&first), "what was received is in the copy");
    let output = backfill(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(run_id(&state), before, "the same run");
    assert!(common::unpack(&copy) == [copied, output.stdout].concat(), "the copy goes on");
}

#[test]
fn sigterm_ends_backfill_while_stdout_is_blocked() {
    let (folder, pipeline) = folder();
    let state = folder.path().join("state.json");
    let engine = Engine::start(&["everything", "--no-pace", "--generation", "progress"], "127.0.0.1:0");
    let arguments =
        [&engine.address, "--pipeline", pipeline.to_str().unwrap(), "--state", state.to_str().unwrap(), "-q"];
    let mut child = backfill(&arguments).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    let asked = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(state).unwrap()).unwrap();
    assert!(kept["source"]["streams"].as_object().is_some_and(|streams| !streams.is_empty()));
}

#[test]
fn permanent_destination_error_ends_backfill_without_retries() {
    let (_folder, pipeline) = folder();
    for form in ["trace", "progress"] {
        let engine = Engine::start(&["parked", "--no-pace", "--generation", form], "127.0.0.1:0");
        let output = backfill(&[&engine.address, "--pipeline", pipeline.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{form}");
        let told = err(&output);
        assert!(told.contains("relation \"public.charge\" does not exist"), "{form}: {told}");
        assert!(!told.contains("calling again"), "{form}: {told}");
    }
}

#[test]
fn missing_certificates_fail_https_with_a_hint_but_not_http() {
    let (_folder, pipeline) = folder();
    let engine = Engine::start(&["healthy", "--no-pace"], "127.0.0.1:0");
    let bare = |url: &str| {
        let mut command = backfill(&[url, "--pipeline", pipeline.to_str().unwrap(), "--retries", "0"]);
        command.env("SSL_CERT_FILE", "/no/such.pem").env("SSL_CERT_DIR", "/no/such").output().unwrap()
    };
    let output = bare(&engine.address);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let output = bare(&engine.address.replace("http:", "https:"));
    assert_eq!(output.status.code(), Some(70), "{}", err(&output));
    assert!(err(&output).contains("An https address cannot be trusted here: No CA certificates"), "{}", err(&output));
    assert!(err(&output).contains("install the system's certificates"), "{}", err(&output));
}

/// Server that answers each request with the next prepared answer and records the requests.
struct Answers {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// Response bytes; `true` holds the connection open in silence afterwards.
type Answer = (String, bool);

fn answers(all: Vec<Answer>) -> Answers {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = requests.clone();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for (answer, hold) in all {
            let Ok((mut stream, _)) = listener.accept() else { return };
            kept.lock().unwrap().push(request(&mut stream));
            let _ = stream.write_all(answer.as_bytes());
            if hold {
                held.push(stream);
            }
        }
        std::thread::sleep(WAIT_TIMEOUT);
    });
    Answers { address, requests }
}

fn request(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head + "\n" + &String::from_utf8(body).unwrap()
}

fn ndjson(body: &str) -> Answer {
    (format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n{body}"), false)
}

fn other(status: &str, headers: &str, body: &str) -> Answer {
    (format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()), false)
}

fn started() -> String {
    json!({"type": "stream_status", "stream_status": {"stream": "a", "status": "start"}}).to_string() + "\n"
}

fn checkpoint(cursor: &str) -> String {
    let data = json!({"cursor": cursor, "status": "pending"});
    json!({"type": "source_state", "source_state": {"state_type": "stream", "stream": "a", "data": data}}).to_string()
        + "\n"
}

fn last_checkpoint() -> String {
    let data = json!({"remaining": []});
    json!({"type": "source_state", "source_state": {"state_type": "stream", "stream": "a", "data": data}}).to_string()
        + "\n"
}

fn ended(status: &str, has_more: bool) -> String {
    let state = json!({"source": {"streams": {"a": {"remaining": []}}, "global": {}}, "destination": {}, "sync_run": {"run_id": "theirs", "progress": {}}});
    json!({"type": "eof", "eof": {"status": status, "has_more": has_more, "ending_state": state}}).to_string() + "\n"
}

#[test]
fn transient_answers_are_retried_and_retry_after_is_obeyed() {
    let (folder, pipeline) = folder();
    let state = folder.path().join("state.json");
    let server = answers(vec![
        other(
            "429 Too Many Requests",
            "retry-after: 1\r\ncontent-type: application/json\r\n",
            "{\"error\":\"slow down\"}",
        ),
        other("503 Service Unavailable", "retry-after: 0\r\n", "busy"),
        ndjson(&(started() + &checkpoint("c1") + "{\"type\":\"source_sta")),
        other("200 OK", "content-type: text/html\r\n", "<html><title>502 Bad Gateway</title></html>"),
        ndjson(&(started() + &checkpoint("c2") + "<html>\n<title>504 Gateway Time-out</title>\n")),
        ndjson(&(started() + &last_checkpoint() + &ended("succeeded", false))),
    ]);
    let began = Instant::now();
    let arguments = [
        server.address.as_str(),
        "--pipeline",
        pipeline.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
        "--base-url",
        "http://127.0.0.1:12111",
        "--time-limit",
        "7",
        "--state-limit",
        "100",
    ];
    let output = backfill(&arguments).output().unwrap();
    let told = err(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After is obeyed");
    for words in [
        "the engine answers HTTP 429: slow down (1 of 8); calling again in 1s",
        "the engine answers HTTP 503: busy (2 of 8); calling again in 0ms",
        "in the middle of a line",
        "a web page answered instead of an engine: 502 Bad Gateway",
        "the answer ended in a web page: 504 Gateway Time-out",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    let requests = server.requests.lock().unwrap().clone();
    let bodies: Vec<Value> =
        requests.iter().map(|it| serde_json::from_str(it.split("\n\n").last().unwrap()).unwrap()).collect();
    assert_eq!(requests.len(), 6);
    assert!(requests[0].starts_with("POST /pipeline_sync?sync_run_id=run_"), "{}", requests[0]);
    assert!(requests[0].contains("time_limit=7") && requests[0].contains("state_limit=100"));
    for body in &bodies {
        assert_eq!(body["run_id"], bodies[0]["run_id"], "one run, one id");
        assert_eq!(body["pipeline"]["source"]["simulated"]["base_url"], "http://127.0.0.1:12111");
        assert_eq!((&body["time_limit"], &body["state_limit"]), (&json!(7.0), &json!(100)));
    }
    assert_eq!(bodies[2].get("state"), None);
    // Checkpoints are kept without an end message; the next call continues from the last one.
    assert_eq!(bodies[3]["state"]["source"]["streams"]["a"]["cursor"], "c1");
    assert_eq!(bodies[5]["state"]["source"]["streams"]["a"]["cursor"], "c2");
    // A torn line is passed on as a line of its own.
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("{\"type\":\"source_sta\n"), "{out}");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    assert_eq!(kept["source"]["streams"]["a"], json!({"remaining": []}), "the last checkpoint counts");
}

#[test]
fn each_bad_answer_has_an_error_message_and_an_exit_code() {
    let (_folder, pipeline) = folder();
    let silent = (format!("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n{}", started()), true);
    for (answer, says, code) in [
        (ndjson(&started()), "The answer ended without an end message. See the engine's own log.", 2),
        (ndjson(&(started() + "{\"type\":\"sour")), "ended in the middle of a line without an end message", 2),
        (ndjson(""), "has no message of an engine in it", 2),
        (
            silent,
            "No output of the engine for 0.6s. Check whether the engine still works, or raise --stall-timeout.",
            2,
        ),
        (
            other("200 OK", "content-type: text/html; charset=utf-8\r\n", "<title>Sign in</title>"),
            "A web page answered instead of an engine: Sign in.",
            2,
        ),
        (
            other(
                "400 Bad Request",
                "content-type: application/json\r\n",
                "{\"error\":[{\"path\":[\"pipeline\"],\"message\":\"expected object\"}]}",
            ),
            "The engine answers HTTP 400: pipeline: expected object. Correct the pipeline.",
            1,
        ),
        (other("401 Unauthorized", "", ""), "The engine answers HTTP 401. Check that you are allowed to call it.", 77),
        (other("404 Not Found", "", "404 Not Found"), "Check that the address is that of an engine.", 4),
        (other("500 Internal Server Error", "", "oops"), "The engine answers HTTP 500: oops.", 69),
    ] {
        let server = answers(vec![answer]);
        let arguments =
            [&server.address, "--pipeline", pipeline.to_str().unwrap(), "--retries", "0", "--stall-timeout", "0.6"];
        let output = backfill(&arguments).output().unwrap();
        assert!(err(&output).contains(says), "{says}\n-- is not in --\n{}", err(&output));
        assert_eq!(output.status.code(), Some(code), "{says}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output =
        backfill(&[&format!("http://u:secret@{nobody}"), "--pipeline", pipeline.to_str().unwrap(), "--retries", "1"])
            .output()
            .unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(err(&output).contains("cannot be reached: Connection refused"), "{}", err(&output));
    assert!(err(&output).contains("2 times in a row"), "{}", err(&output));
    assert!(!err(&output).contains("secret"), "{}", err(&output));
}

#[test]
fn engine_of_the_start_end_design_is_called_until_done() {
    let (folder, pipeline) = folder();
    let state = folder.path().join("state.json");
    let end = |has_more: bool, cursor: &str| {
        let progress = json!({"elapsed_ms": 5, "streams": {"a": {"state_count": 1, "record_count": 3, "terminal": !has_more}}, "errors": []});
        json!({"type": "end", "end": {"has_more": has_more, "ending_state": {"a": cursor}, "request_progress": progress}}).to_string() + "\n"
    };
    let start =
        json!({"type": "start", "start": {"sync_run_id": "r", "configured_catalog": {"streams": [{"name": "a"}]}}})
            .to_string()
            + "\n";
    let said = json!({"type": "record", "record": {"stream": "a", "data": {"id": 1}}}).to_string() + "\n";
    let server = answers(vec![
        ndjson(&(start.clone() + &said + &end(true, "c1"))),
        ndjson(&(start + &said + &end(false, "c2"))),
    ]);
    let output =
        backfill(&[&server.address, "--pipeline", pipeline.to_str().unwrap(), "--state", state.to_str().unwrap()])
            .output()
            .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let requests = server.requests.lock().unwrap().clone();
    let second: Value = serde_json::from_str(requests[1].split("\n\n").last().unwrap()).unwrap();
    assert_eq!(second["state"], json!({"a": "c1"}));
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&state).unwrap()).unwrap();
    assert_eq!(kept["a"], "c2");
}

#[test]
fn invalid_arguments_fail_before_any_call() {
    let (folder, pipeline) = folder();
    let pipeline = pipeline.to_str().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let half = file("half.json", "{\"source\":{\"type\":\"s\"}}");
    let torn = file("torn.json", "{\"source\":");
    let list = file("list.json", "[1]");
    for (arguments, says, code) in [
        (vec!["http://127.0.0.1:1", "--pipeline", "/no/such.json"], "No such file: /no/such.json", 66),
        (vec!["http://127.0.0.1:1", "--pipeline", &half], "its destination has no type", 65),
        (vec!["http://127.0.0.1:1", "--pipeline", &torn], "is not a pipeline", 65),
        (vec!["http://127.0.0.1:1", "--pipeline", pipeline, "--state", &list], "is not a state file of an engine", 65),
        (vec!["http://127.0.0.1:1", "--pipeline", pipeline, "--state", pipeline], "is the pipeline", 64),
        (vec!["http://127.0.0.1:1", "--pipeline", pipeline, "-o", pipeline], "is the pipeline", 64),
        (
            vec!["http://127.0.0.1:1", "--pipeline", pipeline, "--state", "new.json", "-o", "./new.json"],
            "is the state",
            64,
        ),
        (vec!["http://127.0.0.1:1", "--pipeline", "/bin/sh"], "it is neither UTF-8 nor UTF-16 text", 65),
        (
            vec!["http://127.0.0.1:1", "--pipeline", pipeline, "--state", "/no/such/s.json"],
            "there is no such folder",
            70,
        ),
        (vec!["127.0.0.1:4010", "--pipeline", pipeline], "starts with neither http:// nor https://", 64),
        (vec!["ftp://x", "--pipeline", pipeline], "is not http", 64),
        (vec!["http://127.0.0.1:1", "--pipeline", pipeline, "--base-url", "nowhere"], "--base-url nowhere", 64),
        (vec!["http://127.0.0.1:1", "--pipeline", pipeline, "--stall-timeout", "soon"], "a time such as", 64),
    ] {
        let output = backfill(&arguments).output().unwrap();
        assert!(err(&output).contains(says), "{says}\n-- is not in --\n{}", err(&output));
        assert_eq!(output.status.code(), Some(code), "{}", err(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn engine_url_and_backfill_watch_show_the_full_screen() {
    let (folder, pipeline) = folder();
    let state = folder.path().join("state.json");
    let engine = Engine::start(&["healthy", "--speed", "3"], "127.0.0.1:0");
    let (pipeline, state) = (pipeline.to_str().unwrap(), state.to_str().unwrap());
    let url = format!("{}/pipeline_sync", engine.address);
    let mut term = Term::start((100, 30), &[&url, "--pipeline", pipeline]);
    term.wait_for("SYNCING");
    term.wait_for("customer");
    term.wait_for("SUCCEEDED");
    term.keys("q");
    assert_eq!(term.exit_code(), 0);
    let mut term = Term::start(
        (100, 30),
        &["backfill", &engine.address, "--pipeline", pipeline, "--state", state, "--watch", "--time-limit", "4"],
    );
    term.wait_for("attempt 2");
    term.wait_for("SUCCEEDED");
    term.keys("q");
    assert_eq!(term.exit_code(), 0);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(state).unwrap()).unwrap();
    assert_eq!(kept["synctop"]["done"], true);
}

#[test]
fn call_failures_are_shown_on_the_full_screen() {
    let (_folder, pipeline) = folder();
    // A dead engine: the screen shows the cause and the time of the retry.
    let mut engine = Engine::start(&["healthy", "--speed", "3"], "127.0.0.1:0");
    let mut term =
        Term::start((110, 30), &["backfill", &engine.address, "--pipeline", pipeline.to_str().unwrap(), "--watch"]);
    term.wait_for("SYNCING");
    engine.kill();
    term.wait_for("DOWN");
    term.wait_for("calling again in");
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
    term.wait_for("STOPPED BY YOU");
    term.wait_for("--state FILE stores its position");
    // A single call: the broken connection is the cause of its end.
    let mut engine = Engine::start(&["healthy", "--speed", "3"], "127.0.0.1:0");
    let url = format!("{}/pipeline_sync", engine.address);
    let mut term = Term::start((110, 30), &[&url, "--pipeline", pipeline.to_str().unwrap()]);
    term.wait_for("SYNCING");
    engine.kill();
    term.wait_for("TRUNCATED");
    term.wait_for("the connection broke");
    term.keys("q");
    assert_eq!(term.exit_code(), 2);
    let server = answers(vec![other("404 Not Found", "", "404 Not Found")]);
    let mut term = Term::start(
        (100, 30),
        &[&format!("{}/pipeline_sync", server.address), "--pipeline", pipeline.to_str().unwrap()],
    );
    term.wait_for("HTTP 404");
    term.keys("q");
    assert_eq!(term.exit_code(), 4);
    term.wait_for("Check that the address is that of an engine.");
}

#[test]
fn simulated_http_engine_speaks_the_wire_of_published_engines() {
    let engine = Engine::start(&["healthy", "--no-pace", "--generation", "trace"], "127.0.0.1:0");
    let host = engine.address.strip_prefix("http://").unwrap();
    let call = |request: String| -> (u16, String) {
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    };
    let post = |path: &str, headers: &str, body: &str| {
        call(format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let (status, body) = call("GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into());
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()["ok"].clone()), (200, json!(true)));
    assert_eq!(post("/pipeline_sync", "", "{"), (400, "{\"error\":\"Malformed JSON in request body\"}".into()));
    let (status, body) = post("/pipeline_sync", "", "{}");
    assert_eq!(status, 400);
    assert!(body.contains("expected object, received undefined"), "{body}");
    assert_eq!(post("/pipeline_sync", "", "").1, "{\"error\":\"x-pipeline header is required\"}");
    assert_eq!(post("/nope", "", "").0, 404);
    let request_body = format!("{{\"pipeline\":{PIPELINE}}}");
    let (_, body) = post("/pipeline_check", "", &request_body);
    assert_eq!(body.matches("\"status\":\"succeeded\"").count(), 2, "{body}");
    assert!(post("/pipeline_setup", "", &request_body).1.contains("Creating schema"));
    assert_eq!(post("/pipeline_teardown", "", &request_body).0, 200);
    let asked = request_body.replace("}}}", "}},\"streams\":[{\"name\":\"customer\"},{\"name\":\"nobody\"}]}");
    let (status, body) = post("/pipeline_sync", "", &asked);
    assert_eq!(status, 400);
    assert!(body.contains("there is no stream nobody"), "{body}");
    // Headers instead of a body, limits in the query: the trace generation.
    let (status, body) = post("/pipeline_sync?state_limit=3", &format!("x-pipeline: {PIPELINE}\r\n"), "");
    assert_eq!(status, 200);
    assert_eq!(body.matches("\"type\":\"source_state\"").count(), 3);
    assert!(body.contains("\"reason\":\"state_limit\""), "{body}");
    let (_, body) =
        post("/pipeline_read", "", &request_body.replace("{\"pipeline\"", "{\"state_limit\":2,\"pipeline\""));
    assert!(body.matches("\"type\":\"record\"").count() >= 100);
    assert_eq!(post("/pipeline_sync?time_limit=0", "", &request_body).0, 400);
    assert_eq!(
        post("/pipeline_sync", "", &request_body.replace("{\"pipeline\"", "{\"time_limit\":-1,\"pipeline\"")).0,
        400
    );
}

#[test]
fn call_stops_when_its_client_disconnects() {
    let (folder, _) = folder();
    let kept = folder.path().join("rows.ndjson");
    let engine = Engine::start(&["large", "--speed", "10", "--destination", kept.to_str().unwrap()], "127.0.0.1:0");
    let host = engine.address.strip_prefix("http://").unwrap().to_owned();
    let body = format!("{{\"pipeline\":{PIPELINE}}}");
    let mut stream = TcpStream::connect(&host).unwrap();
    stream
        .write_all(
            format!("POST /pipeline_sync HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                .as_bytes(),
        )
        .unwrap();
    let mut some = vec![0; 20_000];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    let count = || std::fs::metadata(&kept).map_or(0, |found| found.len());
    let asked = Instant::now();
    let mut last = count();
    loop {
        std::thread::sleep(Duration::from_millis(700));
        if count() == last {
            break;
        }
        last = count();
        assert!(asked.elapsed() < WAIT_TIMEOUT, "the call continues without a client");
    }
}

/// Answer of a batch call: a bare object with the status and the remaining ranges of each stream.
fn batch_end(status: &str, has_more: bool, streams: &[(&str, &str, bool)]) -> Answer {
    let range = json!({"gte": "2025-01-01T00:00:00Z", "lt": "2025-01-02T00:00:00Z", "cursor": "c9"});
    let remaining = |left: bool| if left { json!([range]) } else { json!([]) };
    let told: serde_json::Map<_, _> = streams
        .iter()
        .map(|(name, status, _)| ((*name).into(), json!({"status": status, "record_count": 5})))
        .collect();
    let state: serde_json::Map<_, _> =
        streams.iter().map(|(name, _, left)| ((*name).into(), json!({"remaining": remaining(*left)}))).collect();
    let progress = json!({"derived": {"status": status}, "streams": told});
    let end = json!({
        "status": status, "has_more": has_more, "run_progress": progress, "request_progress": progress,
        "ending_state": {"source": {"streams": state, "global": {}}, "destination": {}},
    });
    other("200 OK", "content-type: application/json\r\n", &end.to_string())
}

/// Returns `state.source.streams` of a request's body.
fn sent_streams(request: &str) -> Value {
    let body: Value = serde_json::from_str(request.split_once("\n\n").unwrap().1.trim()).unwrap();
    body["state"]["source"]["streams"].clone()
}

#[test]
fn batch_call_keeps_the_state_of_completed_streams_only() {
    let (folder, pipeline) = folder();
    let state = folder.path().join("state.json");
    let engine = answers(vec![
        batch_end("started", true, &[("a", "completed", false), ("b", "started", true)]),
        batch_end("succeeded", false, &[("a", "completed", false), ("b", "completed", false)]),
    ]);
    let calls =
        [&engine.address, "--batch", "--pipeline", pipeline.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let output = backfill(&calls).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let asked = engine.requests.lock().unwrap().clone();
    assert!(asked.iter().all(|it| it.starts_with("POST /pipeline_sync_batch?")), "{asked:?}");
    // The end state of `b` may be ahead of its rows, so `b` continues from the state that was sent
    // (none).
    assert_eq!(sent_streams(&asked[1]), json!({"a": {"remaining": []}}));
    // The log has the answer as the `eof` line of the streaming route.
    let ends = String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("\"type\":\"eof\"")).count();
    assert_eq!(ends, 2);
    // Two calls in a row without progress end the command with a hint.
    let stuck = || batch_end("started", true, &[("a", "started", true)]);
    let engine = answers(vec![stuck(), stuck(), stuck()]);
    let output = backfill(&[&engine.address, "--batch", "--pipeline", pipeline.to_str().unwrap()]).output().unwrap();
    assert_eq!((output.status.code(), engine.requests.lock().unwrap().len()), (Some(2), 2), "{}", err(&output));
    assert!(
        err(&output).contains("2 calls in a row made no progress") && err(&output).contains("--batch"),
        "{}",
        err(&output)
    );
}
