//! Service client in the binary: the published service (from its recordings), failing services,
//! contexts, waits and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/recorded.rs"]
mod recorded;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/stub.rs"]
mod stub;

use recorded::{answers, recording};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use serve::{Server, folder, quick, simulated};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use stub::{Reply, Stub};
use synctop::net::client::contexts::ServiceAddress;
use synctop::net::client::http::{Client, FleetList};
use synctop_core::fleet::ListEntry;

/// The binary with state, configuration and environment apart from the user's.
fn synctop(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synctop"));
    for name in ["SYNCTOP_URL", "SYNCTOP_CONTEXT", "SYNCTOP_CONFIG", "SYNCTOP_TOKEN"] {
        command.env_remove(name);
    }
    command.env("XDG_STATE_HOME", home.join("state")).env("XDG_CONFIG_HOME", home.join("config"));
    command.stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    synctop(home).args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Parses stdout, which has to be one line with a JSON object.
fn object(output: &Output) -> Value {
    let text = out(output);
    assert_eq!(text.lines().count(), 1, "{text}\n{}", err(output));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Stub of the published service from a recording: lists, single pipelines, and changes that are
/// accepted without an effect.
fn published(name: &str) -> Stub {
    let all = recording(name);
    let list = answers(&all, "GET", "/pipelines").pop().unwrap();
    let kept = Arc::new(Mutex::new(list["data"].as_array().unwrap().clone()));
    Stub::start(move |request| {
        let mut kept = kept.lock().unwrap();
        let id = request.path.strip_prefix("/pipelines/").map(str::to_owned);
        let at = id.as_ref().and_then(|id| kept.iter().position(|it| it["id"] == id.as_str()));
        match (request.method.as_str(), request.path.as_str(), at) {
            ("GET", "/health", _) => Reply::Json(200, json!({"ok": true, "hostname": "vm"})),
            ("GET", "/pipelines", _) => Reply::Json(200, json!({"data": *kept, "has_more": false})),
            ("GET", _, Some(at)) => Reply::Json(200, kept[at].clone()),
            ("PATCH", _, Some(at)) => {
                let wanted: Value = serde_json::from_str(&request.body).unwrap();
                kept[at]["desired_status"] = wanted["desired_status"].clone();
                Reply::Json(200, kept[at].clone())
            }
            (_, path, None) if path.starts_with("/pipelines/") => {
                Reply::Json(404, json!({"error": format!("Pipeline {} not found", id.unwrap())}))
            }
            _ => Reply::Text(404, "text/plain; charset=UTF-8", "404 Not Found".into()),
        }
    })
}

#[test]
fn published_service_is_supported_by_polling() {
    let home = folder();
    let stub = published("21-progress-service-stub-workflow.txt");
    let output = run(home.path(), &["pipelines", "list", "--json", "--url", &stub.url()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let all = object(&output);
    let failed = all["pipelines"].as_array().unwrap().iter().find(|it| it["id"] == "pipe_streamfail").unwrap().clone();
    assert_eq!((failed["group"].as_str(), failed["parked_inferred"].as_bool()), (Some("parked"), Some(true)));
    assert!(failed["reason"]["message"].as_str().unwrap().contains("Disputes Read"));
    assert!(failed["note"].as_str().unwrap().contains("nothing runs"));
    assert_eq!(failed["streams"], json!({"completed": 1, "errored": 1, "skipped": 1}));
    // The service returns keys in clear; none is printed.
    for arguments in [vec!["pipelines", "list"], vec!["pipelines", "show", "pipe_ok", "--json"]] {
        let output = run(home.path(), &[&arguments[..], &["--url", &stub.url()]].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        assert!(!out(&output).contains("sk_test_fake_ok") && !out(&output).is_empty());
    }
    // The wait polls and ends at once for a pipeline that is parked by inference.
    let output = run(home.path(), &["wait", "pipe_streamfail", "--for", "status=ready", "--url", &stub.url()]);
    let answer = object(&output);
    assert_eq!((code(&output), answer["parked_inferred"].as_bool()), (1, Some(true)), "{answer}");
    assert!(answer["fingerprint"].is_string() && answer["reached"] == false && answer["timed_out"] == false);
    let output = run(home.path(), &["wait", "pipe_ok", "--for", "paused", "--url", &stub.url()]);
    assert_eq!((code(&output), object(&output)["reached"].as_bool()), (0, Some(true)));
    // The service answers 200 to a resume and runs nothing.
    let output = run(
        home.path(),
        &[
            "pipelines",
            "resume",
            "pipe_streamfail",
            "--timeout",
            "3s",
            "--json",
            "--url",
            &stub.url(),
            "--why",
            "trying",
        ],
    );
    let answer = object(&output);
    assert_eq!((code(&output), answer["pipelines"][0]["verdict"].as_str()), (1, Some("nothing_ran")), "{answer}");
    assert_eq!(stub.count("PATCH", "/pipelines/pipe_streamfail"), 1, "sent once");
    // An unsupported option is refused without a request.
    let output = run(home.path(), &["sync", "pipe_ok", "--submit-only", "--url", &stub.url()]);
    assert_eq!(code(&output), 64);
    assert!(err(&output).contains("has no tasks"), "{}", err(&output));
}

#[test]
fn sync_of_the_published_service_is_one_streaming_call() {
    let home = folder();
    let packed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stripe-progress/01-small-success.ndjson.zst");
    let good = String::from_utf8(zstd::stream::decode_all(std::fs::File::open(packed).unwrap()).unwrap()).unwrap();
    let bad = recording("06-sync-badkey.txt").into_iter().find(|it| it.path.contains("/sync")).unwrap().body;
    let stub = Stub::start(move |request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/health") => Reply::Json(200, json!({"ok": true})),
        ("POST", "/pipelines/pipe_good/sync") => Reply::Text(200, "application/x-ndjson", good.clone()),
        ("POST", "/pipelines/pipe_bad/sync") => Reply::Text(200, "application/x-ndjson", bad.clone()),
        ("POST", "/pipelines/pipe_cut/sync") => Reply::Half(good.clone()),
        _ => Reply::Text(404, "text/plain", "404 Not Found".into()),
    });
    let sync = |arguments: &[&str]| run(home.path(), &[&["sync"], arguments, &["--url", &stub.url()]].concat());
    let kept = home.path().join("kept");
    let output = sync(&["pipe_good", "--output", kept.to_str().unwrap(), "--print-response"]);
    assert_eq!((code(&output), object(&output)["outcome"].as_str()), (0, Some("succeeded")), "{}", err(&output));
    assert!(
        err(&output).contains("Expected wait: unknown") && err(&output).contains("status=RUNNING"),
        "{}",
        err(&output)
    );
    let log = std::fs::read_to_string(kept.join("run.ndjson")).unwrap();
    assert!(log.lines().count() > 10 && !log.contains("sk_test_fake_ok"));
    assert_eq!(
        serde_json::from_str::<Value>(&std::fs::read_to_string(kept.join("response.json")).unwrap()).unwrap()["outcome"],
        "succeeded"
    );
    let output = sync(&["pipe_bad"]);
    assert!(code(&output) == 1 && err(&output).contains("possible fix: check the key"), "{}", err(&output));
    let output = sync(&["pipe_cut"]);
    assert!(code(&output) == 69 && err(&output).contains("broke off"), "{}", err(&output));
    assert_eq!(code(&sync(&["pipe_none"])), 4);
    assert_eq!(stub.count("POST", "/pipelines/pipe_cut/sync"), 1, "the call is not repeated");
}

#[test]
fn stall_timeout_ends_a_wait_without_movement() {
    let home = folder();
    let told = json!({"id": "pipe_new", "source": {"type": "x"}, "destination": {"type": "y"}, "desired_status": "active", "status": "setup"});
    let stub = Stub::start(move |request| match request.path.as_str() {
        "/health" => Reply::Json(200, json!({"ok": true})),
        "/pipelines/pipe_new" => Reply::Json(200, told.clone()),
        _ => Reply::Text(404, "text/plain", "404 Not Found".into()),
    });
    let began = Instant::now();
    let output =
        run(home.path(), &["wait", "pipe_new", "--stall-timeout", "1s", "--timeout", "30s", "--url", &stub.url()]);
    let answer = object(&output);
    assert_eq!(
        (code(&output), answer["stalled"].as_bool(), answer["timed_out"].as_bool()),
        (2, Some(true), Some(true)),
        "{answer}"
    );
    assert!(began.elapsed() < Duration::from_secs(8) && err(&output).contains("no progress for"), "{}", err(&output));
    // A missing pipeline satisfies `--for deleted`.
    let gone = run(home.path(), &["wait", "pipe_gone", "--for", "deleted", "--url", &stub.url()]);
    assert_eq!((code(&gone), object(&gone)["reached"].as_bool()), (0, Some(true)));
}

#[test]
fn bad_answers_have_an_error_and_an_exit_code() {
    let home = folder();
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
    let date = jiff::fmt::rfc2822::to_string(&date.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
    let all = |reply: Reply| Stub::start(move |_| reply.clone());
    for (reply, wanted, words) in [
        (Reply::Text(200, "text/html", "<html><title>Sign in</title></html>".into()), 69, "Sign in"),
        (Reply::Text(500, "text/plain", "Internal Server Error".into()), 69, "HTTP 500"),
        (Reply::Half("{\"data\":[".into()), 69, "broke off"),
        (Reply::With(429, vec![("Retry-After", date)], "{\"error\":\"slow down\"}".into()), 69, "slow down"),
        (Reply::Json(401, json!({"error": "no token"})), 77, "token"),
        (Reply::Json(200, json!({"hello": "world"})), 69, "does not answer as expected"),
        (Reply::Close, 69, ""),
    ] {
        let stub = all(reply.clone());
        let output = run(home.path(), &["pipelines", "list", "--url", &stub.url()]);
        assert_eq!(code(&output), wanted, "{reply:?}: {}", err(&output));
        assert!(err(&output).contains(words) && out(&output).is_empty(), "{reply:?}: {}", err(&output));
    }
    let nobody = run(home.path(), &["pipelines", "list", "--url", "http://127.0.0.1:9"]);
    assert_eq!(code(&nobody), 69);
    assert!(err(&nobody).contains("cannot be reached") && err(&nobody).contains("Check that the service is running"));
    for (url, words) in [
        ("http://example.com", "without TLS"),
        ("https://me:hunter2secret@example.com", "must not contain a password"),
        ("ftp://example.com", "neither http: nor https:"),
        ("nonsense", "no address"),
    ] {
        let output = run(home.path(), &["pipelines", "list", "--url", url]);
        assert_eq!(code(&output), 64, "{url}: {}", err(&output));
        assert!(err(&output).contains(words) && !err(&output).contains("hunter2secret"), "{}", err(&output));
    }
}

#[test]
fn action_with_a_lost_answer_is_verified_and_not_repeated() {
    let home = folder();
    let state = Arc::new(Mutex::new(("error", "active", 5)));
    let patches = Arc::new(AtomicUsize::new(0));
    let (kept, counted) = (state.clone(), patches.clone());
    let stub = Stub::start(move |request| {
        let mut kept = kept.lock().unwrap();
        let told = |kept: &(&str, &str, i32)| json!({"id": "pipe_a", "source": {"type": "x"}, "destination": {"type": "y"}, "status": kept.0, "desired_status": kept.1, "revision": kept.2});
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/health") => Reply::Json(200, json!({"ok": true})),
            ("GET", "/pipelines") => Reply::Json(200, json!({"data": [told(&kept)], "has_more": false})),
            ("GET", "/pipelines/pipe_a") => Reply::Json(200, told(&kept)),
            ("PATCH", _) => {
                counted.fetch_add(1, Ordering::SeqCst);
                assert_eq!(request.header("if-match"), Some("\"5\""), "only at the revision that was read");
                *kept = ("ready", "active", 7);
                Reply::Close
            }
            _ => Reply::Text(404, "text/plain", "404 Not Found".into()),
        }
    });
    let output = run(home.path(), &["pipelines", "resume", "pipe_a", "--json", "--url", &stub.url()]);
    let answer = object(&output);
    assert_eq!(answer["pipelines"][0]["verdict"], "took_effect", "{answer} {}", err(&output));
    assert_eq!((code(&output), patches.load(Ordering::SeqCst)), (0, 1));
    assert!(err(&output).contains("checking whether it took effect"), "{}", err(&output));
}

#[test]
fn contexts_select_services_and_hide_tokens() {
    let home = folder();
    let made = run(home.path(), &["config", "init"]);
    assert!(code(&made) == 0 && out(&made).contains("was created"), "{}", err(&made));
    assert!(out(&run(home.path(), &["config", "show"])).contains("[contexts.local]"));
    assert!(out(&run(home.path(), &["config", "init"])).contains("was not changed"));
    let none = run(home.path(), &["pipelines", "list", "--context", "other"]);
    assert!(code(&none) == 64 && err(&none).contains("there is local"), "{}", err(&none));
    let server = Server::with(home.path(), &[], &[("SYNCTOP_TOKEN", "abcdefgh-12345678-token")]);
    std::fs::create_dir_all(home.path().join("config/synctop")).unwrap();
    std::fs::write(home.path().join("secret"), "abcdefgh-12345678-token\n").unwrap();
    let secret = home.path().join("secret");
    let config = |rest: &str| {
        let text = format!("context = \"own\"\n[contexts.own]\nurl = \"http://{}\"\n{rest}", server.address);
        std::fs::write(home.path().join("config/synctop/config.toml"), text).unwrap();
    };
    config("");
    let output = run(home.path(), &["pipelines", "list"]);
    assert_eq!(code(&output), 77, "{}", err(&output));
    for token in [
        format!("token = \"file:{}\"", secret.display()),
        format!("token = {{ command = [\"cat\", \"{}\"] }}", secret.display()),
        "token = \"env:MY_TOKEN\"".to_owned(),
    ] {
        config(&token);
        let output = synctop(home.path())
            .args(["pipelines", "list"])
            .env("MY_TOKEN", "abcdefgh-12345678-token")
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{token}: {}", err(&output));
        let shown = run(home.path(), &["config", "show"]);
        assert!(!out(&shown).contains("abcdefgh"), "{}", out(&shown));
    }
    // Conflicting environment variables are an error.
    let both = synctop(home.path())
        .args(["pipelines", "list"])
        .env("SYNCTOP_URL", "http://127.0.0.1:9")
        .env("SYNCTOP_CONTEXT", "own")
        .output()
        .unwrap();
    assert!(code(&both) == 64 && err(&both).contains("both set"), "{}", err(&both));
    // `config show` does not run token commands.
    config(&format!("token = {{ command = [\"touch\", \"{}\"] }}", home.path().join("ran").display()));
    assert!(out(&run(home.path(), &["config", "show"])).contains("the command runs when the token is needed"));
    assert!(!home.path().join("ran").exists());
    // The printed hint runs as it is, including --config and --context.
    let named = home.path().join("my config.toml");
    std::fs::rename(home.path().join("config/synctop/config.toml"), &named).unwrap();
    let text = std::fs::read_to_string(&named).unwrap();
    let token = format!("token = \"file:{}\"", secret.display());
    std::fs::write(&named, text.lines().take(3).chain([token.as_str()]).collect::<Vec<_>>().join("\n")).unwrap();
    let slow = home.path().join("slow.json");
    std::fs::write(&slow, simulated("acct_a", json!({"scenario": "large"})).to_string()).unwrap();
    let made = ["pipelines", "create", &slow.to_string_lossy(), "--skip-check", "--config", &named.to_string_lossy()];
    let made = run(home.path(), &made);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let arguments = ["wait", "acct_a", "--timeout", "0", "--config", &named.to_string_lossy(), "--context", "own"];
    let output = run(home.path(), &arguments);
    let hint = object(&output)["resume_hint"].as_str().unwrap().to_owned();
    let again = Command::new("sh")
        .args(["-c", &hint.replacen("synctop", "\"$SYNCTOP\" ", 1).replacen("--config", "--timeout 0 --config", 1)])
        .env("SYNCTOP", env!("CARGO_BIN_EXE_synctop"))
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert_eq!((code(&output), code(&again)), (2, 2), "{hint} {}", err(&again));
    config(&format!("read_only = true\ntoken = \"file:{}\"", secret.display()));
    let output = run(home.path(), &["pipelines", "pause", "acct_a"]);
    assert_eq!(code(&output), 77);
    assert!(err(&output).contains("read-only"));
    config("token = \"abcdefgh-12345678-token\"");
    let output = run(home.path(), &["pipelines", "list"]);
    assert_eq!(code(&output), 65);
    assert!(
        err(&output).contains("do not write the token itself") && !err(&output).contains("12345678"),
        "{}",
        err(&output)
    );
    config("token = \"env:NOT_THERE\"");
    let output = run(home.path(), &["pipelines", "list"]);
    assert!(code(&output) == 64 && err(&output).contains("NOT_THERE"), "{}", err(&output));
    let output = run(home.path(), &["pipelines", "list", "--context", "other"]);
    assert!(code(&output) == 64 && err(&output).contains("there is own"), "{}", err(&output));
}

/// Starts `synctop serve` with these pipelines.
fn serve_with(home: &Path, pipelines: &[Value]) -> Server {
    let server = Server::start(home);
    for pipeline in pipelines {
        assert_eq!(server.client().call("POST", "/pipelines?skip_check=true", &pipeline.to_string()).status, 201);
    }
    server
}

#[test]
fn wait_exits_with_a_code_and_prints_one_object() {
    let home = folder();
    let server = serve_with(
        home.path(),
        &[
            quick("acct_good"),
            simulated("acct_park", json!({"scenario": "parked", "speed": 0})),
            simulated("acct_slow", json!({"scenario": "large"})),
        ],
    );
    let url = format!("http://{}", server.address);
    let wait = |arguments: &[&str]| run(home.path(), &[&["wait"], arguments, &["--url", &url]].concat());
    let names = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let good = wait(&["acct_good"]);
    assert_eq!((code(&good), object(&good)["reached"].as_bool()), (0, Some(true)), "{}", err(&good));
    let parked = wait(&["acct_park", "--timeout", "20s"]);
    let answer = object(&parked);
    assert_eq!((code(&parked), answer["status"].as_str()), (1, Some("error")), "{answer}");
    assert!(answer["reason"]["next"].as_str().unwrap().contains("restore the table"));
    assert_eq!(names(&answer), names(&object(&good)), "the same fields for every result");
    let began = Instant::now();
    let late = wait(&["acct_slow", "--timeout", "1s"]);
    let answer = object(&late);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!((code(&late), answer["timed_out"].as_bool()), (2, Some(true)), "{answer}");
    assert_eq!(names(&answer), names(&object(&good)));
    // The hint is a command that continues the wait.
    let hint = answer["resume_hint"].as_str().unwrap().to_owned();
    assert!(
        hint.contains("--cursor") && err(&late).contains(&hint) && err(&late).contains("Nothing was stopped"),
        "{hint}"
    );
    let words: Vec<_> = hint.split(' ').skip(1).collect();
    let again = run(home.path(), &[&words[..], &["--timeout", "0"]].concat());
    assert_eq!(code(&again), 2, "{}", err(&again));
    assert_eq!(code(&wait(&["acct_slow", "--timeout", "0", "--timeout-exit-code", "9"])), 9);
    assert_eq!(code(&wait(&["acct_slow", "--for", "progress", "--timeout", "30s"])), 0);
    assert_eq!(
        code(&wait(&["acct_slow", "--for", "ready", "--for", "status=backfill", "--any", "--timeout", "9s"])),
        0
    );
    // A condition on a stream; an unknown stream ends the wait at once.
    let streams = |name: &str| wait(&["acct_good", "--for", &format!("stream:{name}=completed"), "--timeout", "20s"]);
    let unknown = streams("costumer");
    let told = object(&unknown)["streams"].clone();
    assert_eq!(code(&unknown), 1, "{}", err(&unknown));
    let known = told[0].as_str().unwrap();
    assert!(err(&unknown).contains("its last run has no such stream; it has ") && err(&unknown).contains(known));
    let there = streams(known);
    assert_eq!((code(&there), object(&there)["streams"].is_null()), (0, true), "{}", err(&there));
    // Several pipelines with different results.
    let both = wait(&["acct_good", "acct_park"]);
    let answer = object(&both);
    assert_eq!(
        (code(&both), answer["targets"].as_array().unwrap().len(), answer["reached"].as_bool()),
        (3, 2, Some(false))
    );
    // A missing pipeline; with --wait-for-create its creation is awaited.
    let absent = wait(&["acct_none"]);
    assert_eq!((code(&absent), object(&absent)["error"].as_str()), (4, Some("there is no pipeline acct_none")));
    let waiting = synctop(home.path())
        .args(["wait", "acct_new", "--wait-for-create", "20s", "--timeout", "30s", "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(server.client().call("POST", "/pipelines", &quick("acct_new").to_string()).status, 201);
    assert_eq!(code(&waiting.wait_with_output().unwrap()), 0);
    for (bad, words) in [
        (vec!["acct_good", "--for", "redy"], "status=ready"),
        (vec!["acct_good", "--timeout", "-3"], "unexpected"),
        (vec!["acct_good", "--timeout", "soon"], "0 or never"),
        (vec!["acct_good", "acct_park", "--cursor", "1-2-3-4"], "one pipeline"),
    ] {
        let output = wait(&bad);
        assert!(code(&output) == 64 && err(&output).contains(words), "{bad:?}: {}", err(&output));
    }
}

#[test]
fn wait_survives_a_service_restart_and_sigint_detaches() {
    let home = folder();
    let mut server = serve_with(home.path(), &[simulated("acct_slow", json!({"scenario": "healthy", "speed": 4}))]);
    let address = server.address.to_string();
    let url = format!("http://{address}");
    let start = |arguments: &[&str]| {
        let mut command = synctop(home.path());
        command.args(["wait", "acct_slow", "--url", &url]).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let waiting = start(&["--timeout", "60s"]);
    let detached = start(&["--timeout", "never"]);
    std::thread::sleep(Duration::from_millis(700));
    server.kill();
    std::thread::sleep(Duration::from_millis(900));
    let log = std::fs::File::create(home.path().join("again")).unwrap();
    let mut again = Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["serve", "--listen", &address, "--data-dir"])
        .arg(home.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(600));
    kill_process(Pid::from_raw(detached.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let output = detached.wait_with_output().unwrap();
    assert_eq!(code(&output), 130, "{}", err(&output));
    assert!(
        err(&output).contains("detached") && err(&output).contains("synctop wait acct_slow --for status=ready"),
        "{}",
        err(&output)
    );
    assert_eq!(
        (object(&output)["reached"].as_bool(), object(&output)["timed_out"].as_bool()),
        (Some(false), Some(false))
    );
    let output = waiting.wait_with_output().unwrap();
    again.kill().unwrap();
    again.wait().unwrap();
    assert_eq!(code(&output), 0, "a dropped connection is no result: {}", err(&output));
    // stderr reports the missing answers once, and the progress after the restart.
    let told = err(&output);
    let silent = told.lines().position(|line| line.contains("retrying until it answers")).unwrap();
    assert_eq!(told.matches("retrying until it answers").count(), 1, "{told}");
    assert!(told.lines().skip(silent + 1).any(|line| line.contains("acct_slow: ")), "{told}");
}

#[test]
fn wait_backs_off_and_times_out_whatever_the_last_answer_is() {
    let home = folder();
    let described = json!({"paths": {"/pipelines/{id}/wait": {"get": {}}, "/pipelines": {"get": {}}}});
    let one = json!({"id": "acct_one", "status": "backfill", "desired_status": "active"});
    // The `/wait` route answers at once: with 404, or with "not reached".
    for answer in
        [Reply::Json(404, json!({"error": "no"})), Reply::Json(200, json!({"reached": false, "timed_out": true}))]
    {
        let (described, one) = (described.clone(), one.clone());
        let stub = Stub::start(move |request| match request.path.as_str() {
            "/openapi.json" => Reply::Json(200, described.clone()),
            "/pipelines/acct_one" => Reply::Json(200, one.clone()),
            _ => answer.clone(),
        });
        let output = run(home.path(), &["wait", "acct_one", "--url", &stub.url(), "--timeout", "3s"]);
        assert_eq!((code(&output), object(&output)["timed_out"].as_bool()), (2, Some(true)), "{}", err(&output));
        let asked = stub.asked.lock().unwrap().len();
        assert!((4..20).contains(&asked), "{asked} requests in 3 s");
    }
    // A service that answers every third request: the last answer does not change the timeout.
    let number = AtomicUsize::new(0);
    let stub = Stub::start(move |request| match (request.path.as_str(), number.fetch_add(1, Ordering::SeqCst) % 3) {
        ("/openapi.json", _) => Reply::Text(404, "text/plain", "404 Not Found".into()),
        ("/health", _) | (_, 0) => Reply::Json(200, one.clone()),
        (_, 1) => Reply::Json(500, json!({"error": "oh"})),
        _ => Reply::With(429, vec![("retry-after", "0".into())], "slower".into()),
    });
    for time in ["2s", "3s", "4s"] {
        let output = run(home.path(), &["wait", "acct_one", "--url", &stub.url(), "--timeout", time]);
        assert_eq!((code(&output), object(&output)["timed_out"].as_bool()), (2, Some(true)), "{}", err(&output));
    }
    // A service that was never reached is reported at once and given up.
    let output = run(home.path(), &["wait", "acct_one", "--url", "http://127.0.0.1:1", "--timeout", "20s"]);
    assert_eq!(code(&output), 69);
    assert!(err(&output).contains("retrying until it answers"), "{}", err(&output));
}

#[test]
fn pipelines_command_creates_changes_and_verifies() {
    let home = folder();
    let server = serve_with(home.path(), &[]);
    let url = format!("http://{}", server.address);
    let pipelines = |arguments: &[&str]| run(home.path(), &[&["pipelines"], arguments, &["--url", &url]].concat());
    let file = |name: &str, pipeline: Value| {
        let path = home.path().join(name);
        std::fs::write(&path, pipeline.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = |fault: &str| {
        format!(
            "range = {{ gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }}\n[[streams]]\nname = \"customer\"\nrecords = 2000\n{fault}"
        )
    };
    let broken = |times: &str| {
        let fault = format!(
            "[[faults]]\nkind = \"destination_error\"\nafter = 500\n{times}message = \"relation \\\"x\\\" does not exist\"\n"
        );
        json!({"scenario_text": one(&fault), "speed": 0})
    };
    for number in 1..=3 {
        let id = format!("acct_p{number}");
        let path = file(&id, simulated(&id, broken(if number == 1 { "" } else { "times = 1\n" })));
        let made = pipelines(&["create", &path]);
        assert_eq!((code(&made), out(&made).trim()), (0, id.as_str()), "{}", err(&made));
    }
    assert_eq!(code(&run(home.path(), &["wait", "acct_p1", "acct_p2", "acct_p3", "--for", "error", "--url", &url])), 0);
    let listed = object(&pipelines(&["list", "--group", "parked", "--json"]));
    let fingerprints: Vec<_> =
        listed["pipelines"].as_array().unwrap().iter().map(|it| it["reason"]["fingerprint"].clone()).collect();
    assert!(fingerprints.len() == 3 && fingerprints.iter().all(|it| *it == fingerprints[0]), "{fingerprints:?}");
    // --dry-run prints the plan and changes nothing.
    let plan = pipelines(&["resume", "--group", "parked", "--dry-run"]);
    assert!(
        code(&plan) == 0 && out(&plan).contains("1 first, then 2") && out(&plan).contains("acct_p3"),
        "{}",
        out(&plan)
    );
    assert!(
        server.client().get("/actions").json()["data"].as_array().unwrap().iter().all(|it| it["action"] != "update")
    );
    // The canary is parked again, so the others are skipped.
    let many = pipelines(&["resume", "acct_p1", "acct_p2", "acct_p3", "--json", "--why", "table restored"]);
    let answer = object(&many);
    let verdicts: Vec<_> =
        answer["pipelines"].as_array().unwrap().iter().map(|it| it["verdict"].as_str().unwrap()).collect();
    assert_eq!((code(&many), verdicts), (1, vec!["parked_again_same_error", "held_back", "held_back"]), "{answer}");
    assert!(answer["stopped"].as_str().unwrap().contains("SAME error"));
    // The other two take effect.
    let two = pipelines(&["resume", "acct_p2", "acct_p3"]);
    assert_eq!(code(&two), 0, "{}\n{}", out(&two), err(&two));
    assert!(out(&two).lines().filter(|line| line.contains("took effect: ready")).count() == 2, "{}", out(&two));
    // `sync` leaves a parked pipeline out instead of using it as the canary.
    let mixed = pipelines(&["sync", "acct_p1", "acct_p2", "acct_p3"]);
    assert!(code(&mixed) == 0 && err(&mixed).contains("skipped, because"), "{}{}", out(&mixed), err(&mixed));
    assert!(err(&mixed).contains("synctop pipelines resume acct_p1 --url"), "{}", err(&mixed));
    let planned = object(&pipelines(&["sync", "acct_p1", "--dry-run", "--json"]));
    assert_eq!(
        planned["left_out"],
        serde_json::json!(["acct_p1"]),
        "the plan leaves out a pipeline that would be refused: {planned}"
    );
    let retried = pipelines(&["retry", "acct_p3"]);
    assert!(code(&retried) == 0 && out(&retried).contains("took effect"), "{}{}", out(&retried), err(&retried));
    let paused = pipelines(&["pause", "acct_p2"]);
    assert!(code(&paused) == 0 && out(&paused).contains("took effect: paused"), "{}", out(&paused));
    assert_eq!(code(&pipelines(&["resume", "acct_p2"])), 0);
    let synced = pipelines(&["sync", "acct_p3"]);
    assert!(code(&synced) == 0 && out(&synced).contains("took effect"), "{}{}", out(&synced), err(&synced));
    let refused = pipelines(&["delete", "acct_p1"]);
    assert!(code(&refused) == 64 && err(&refused).contains("--yes"), "{}", err(&refused));
    let gone = pipelines(&["delete", "acct_p1", "--yes"]);
    assert!(code(&gone) == 0 && out(&gone).contains("took effect: deleted"), "{}{}", out(&gone), err(&gone));
    for (arguments, wanted) in [
        (vec!["show", "acct_p1"], 4),
        (vec!["show", ""], 64),
        (vec!["resume", "--fingerprint", "0123456789abcdef"], 4),
        (vec!["pause", "acct_p"], 4),
        (vec!["resume"], 64),
        (vec!["create", "/no/such"], 66),
        (vec!["create", "tests/remote.rs"], 65),
    ] {
        let output = pipelines(&arguments);
        assert_eq!(code(&output), wanted, "{arguments:?}: {}", err(&output));
    }
    assert!(err(&pipelines(&["pause", "acct_p"])).contains("Did you mean acct_p2 or acct_p3?"));
}

/// Stub with the final pipelines of a recorded service (corpus `stripe-live`).
fn recorded_service() -> Stub {
    let read = |name: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stripe-live").join(name);
        serde_json::from_slice(&zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()).unwrap()
    };
    let mut all = read("service-list-end.json.zst")["data"].as_array().unwrap().clone();
    for name in ["service-wf-two-after-retry.json.zst", "service-wf-three-table-dropped.json.zst"] {
        let one = read(name);
        all.retain(|it| it["id"] != one["id"]);
        all.push(one);
    }
    Stub::start(move |request| match (request.method.as_str(), request.path.split('?').next().unwrap()) {
        ("GET", "/health") => Reply::Json(200, json!({"ok": true})),
        ("GET", "/pipelines") => Reply::Json(200, json!({"data": all, "has_more": false})),
        ("POST", "/pipelines/wf_one/sync") => {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/fixtures/stripe-live/service-sync-uptodate.ndjson.zst");
            let body = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
            Reply::Text(200, "application/x-ndjson", String::from_utf8(body).unwrap())
        }
        ("GET", path) => match all.iter().find(|it| path == format!("/pipelines/{}", it["id"].as_str().unwrap())) {
            Some(one) => Reply::Json(200, one.clone()),
            None => Reply::Json(404, json!({"error": "Not found"})),
        },
        _ => Reply::Json(405, json!({"error": "Method not allowed"})),
    })
}

#[test]
fn dead_workflow_is_parked_and_a_ready_pipeline_keeps_its_errors() {
    let (home, service) = (folder(), recorded_service());
    let url = service.url();
    let wait =
        |id: &str, target: &str| run(home.path(), &["wait", id, "--for", target, "--timeout", "5s", "--url", &url]);
    // The last run is over, nothing runs, and the service keeps claiming backfill.
    let dead = wait("wf_two", "status=ready");
    assert_eq!((code(&dead), object(&dead)["parked_inferred"].as_bool()), (1, Some(true)), "{}", err(&dead));
    assert!(err(&dead).contains("parked (inferred)"), "{}", err(&dead));
    let listed = object(&run(home.path(), &["pipelines", "list", "--json", "--url", &url]));
    let of = |id: &str| listed["pipelines"].as_array().unwrap().iter().find(|it| it["id"] == id).unwrap().clone();
    assert_eq!(
        (of("wf_two")["group"].as_str(), of("wf_two")["parked_inferred"].as_bool()),
        (Some("parked"), Some(true))
    );
    // `list` and `show` print doubts.
    let listed_text = out(&run(home.path(), &["pipelines", "list", "--url", &url]));
    let row = listed_text.lines().find(|line| line.contains("wf_three")).unwrap().to_owned();
    assert!(row.contains("doubt: "), "{listed_text}");
    assert!(!of("wf_three")["doubts"].as_array().unwrap().is_empty());
    let shown = out(&run(home.path(), &["pipelines", "show", "wf_three", "--url", &url]));
    assert!(shown.contains("\n  doubt  "), "{shown}");
    // A ready pipeline whose table was dropped.
    let ready = wait("wf_three", "status=ready");
    assert_eq!(code(&ready), 0, "{}", err(&ready));
    assert!(err(&ready).contains("with an error: ") && err(&ready).contains("does not exist"), "{}", err(&ready));
    let stream = wait("wf_three", "stream:charges=completed");
    assert_eq!(code(&stream), 1, "{}", err(&stream));
    assert_eq!(code(&wait("wf_three", "stream:customers=completed")), 0);
    // Nothing to read: an end message with status `started` is a success.
    let current = run(home.path(), &["sync", "wf_one", "--url", &url]);
    assert_eq!(code(&current), 0, "{}", err(&current));
    assert!(err(&current).contains("UP TO DATE"), "{}", err(&current));
    // With --strict, a doubt exits with 1.
    let strict = run(home.path(), &["wait", "wf_three", "--for", "ready", "--strict", "--url", &url]);
    assert_eq!(code(&strict), 1, "{}", err(&strict));
    assert!(!object(&strict)["doubts"].as_array().unwrap().is_empty());
}

#[test]
fn pipelines_setup_runs_the_setup_again() {
    let home = folder();
    let server = serve_with(home.path(), &[quick("acct_setup")]);
    let url = format!("http://{}", server.address);
    let done = run(home.path(), &["pipelines", "setup", "acct_setup", "--url", &url]);
    assert_eq!(code(&done), 0, "{}", err(&done));
    assert!(out(&done).starts_with("acct_setup: set up"), "{}", out(&done));
    let json = object(&run(home.path(), &["pipelines", "setup", "acct_setup", "--json", "--url", &url]));
    assert_eq!(json, json!({"id": "acct_setup", "set_up": true, "error": null}));
    assert_eq!(code(&run(home.path(), &["pipelines", "setup", "acct_none", "--url", &url])), 4);
}

/// Reads a list as the fleet screen does. Returns `all` or `changes` with the ids, then those removed.
fn listed(client: &Client, runtime: &tokio::runtime::Runtime) -> (&'static str, Vec<String>, Vec<String>) {
    let answer = runtime.block_on(async { client.list_changes(client.capabilities().await.unwrap()).await.unwrap() });
    let ids = |entries: &[ListEntry]| entries.iter().map(|entry| entry.id().to_owned()).collect();
    match answer {
        FleetList::All(entries) => ("all", ids(&entries), Vec::new()),
        FleetList::Changes(entries, removed) => {
            ("changes", ids(&entries), removed.iter().map(ToString::to_string).collect())
        }
    }
}

#[test]
fn changes_of_several_pages_are_read_in_their_order() {
    let params = ["limit", "after", "changes"].map(|name| json!({"name": name, "in": "query"}));
    let openapi = json!({"paths": {"/pipelines": {"get": {"parameters": params}}}});
    let entry = |id: &str| json!({"id": id, "status": "ready"});
    let stub = Stub::start(move |request| {
        let position = request.query.split('&').find_map(|part| part.strip_prefix("changes="));
        match (request.path.as_str(), position) {
            ("/openapi.json", _) => Reply::Json(200, openapi.clone()),
            (_, None) => {
                Reply::Json(200, json!({"data": [entry("a"), entry("b")], "has_more": false, "changes": "p.1"}))
            }
            (_, Some("p.1")) => {
                let data = [entry("x"), entry("y")];
                Reply::Json(200, json!({"data": data, "removed": [], "has_more": true, "changes": "p.2"}))
            }
            (_, Some("p.2")) => {
                let data = [entry("y"), entry("z")];
                Reply::Json(200, json!({"data": data, "removed": ["x"], "has_more": false, "changes": "p.3"}))
            }
            _ => Reply::Json(410, json!({"error": "it is too old", "code": "changes_gone"})),
        }
    });
    let client = Client::new(ServiceAddress::of_url(&stub.url(), None, true).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let strings = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(listed(&client, &runtime), ("all", strings(&["a", "b"]), vec![]));
    assert_eq!(listed(&client, &runtime), ("changes", strings(&["y", "z"]), strings(&["x"])));
    assert_eq!(listed(&client, &runtime).0, "all", "the position is gone");
    client.forget_list();
    assert_eq!(listed(&client, &runtime).0, "all");
}

#[test]
fn unchanged_list_of_a_service_with_tags_is_not_sent_again() {
    let list = json!({"data": [{"id": "a", "status": "ready"}], "has_more": false});
    let stub = Stub::start(move |request| match request.path.as_str() {
        "/openapi.json" => Reply::Json(404, json!({})),
        "/health" => Reply::Json(200, json!({"ok": true})),
        _ if request.header("if-none-match") == Some("\"v1\"") => Reply::With(304, Vec::new(), String::new()),
        _ => Reply::With(200, vec![("ETag", "\"v1\"".into())], list.to_string()),
    });
    let client = Client::new(ServiceAddress::of_url(&stub.url(), None, true).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(listed(&client, &runtime).0, "all");
    assert_eq!(listed(&client, &runtime), ("changes", vec![], vec![]));
}
