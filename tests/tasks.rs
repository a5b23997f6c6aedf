//! Asynchronous tasks: the four patterns of `sync` against `synctop serve`, and `task` against APIs
//! that a profile describes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/stub.rs"]
mod stub;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stub::{Reply, Request, Stub};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn patterns_script_passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("scripts/patterns"))
        .arg(env!("CARGO_BIN_EXE_synctop"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = out(&output);
    assert!(output.status.success() && !said.contains("WRONG"), "{said}\n{}", err(&output));
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 14, "{said}");
}

/// Copies a profile of assets/tasks with the base address `url`.
fn profile(folder: &Path, name: &str, url: &str) -> PathBuf {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/tasks/{name}.toml")))
        .unwrap();
    let base = text.lines().find(|line| line.starts_with("base = ")).unwrap().to_owned();
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, text.replace(&base, &format!("base = \"{url}/v1\""))).unwrap();
    path
}

fn task(profile: &Path, arguments: &[&str]) -> Output {
    command(profile, arguments).output().unwrap()
}

fn command(profile: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synctop"));
    command.arg("task").arg(profile).args(arguments).stdin(Stdio::null());
    command.env("VIDEO_API_KEY", "key-0123456789").env("VM_API_TOKEN", "tok-0123456789");
    command
}

/// Stub of a video API. The film has the status `end` after `looks` polls.
fn video_api(looks: usize, end: &'static str) -> Stub {
    let seen = Arc::new(AtomicUsize::new(0));
    Stub::start(move |request: &Request| {
        if request.path.starts_with("/files/") {
            return Reply::Text(200, "video/mp4", "a film".into());
        }
        if request.header("authorization") != Some("Bearer key-0123456789") {
            return Reply::Json(401, json!({"error": "who are you?"}));
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/videos") => {
                let asked: Value = serde_json::from_str(&request.body).unwrap();
                assert_eq!((asked["seconds"].as_u64(), asked["prompt"].as_str()), (Some(5), Some("a harbor")));
                assert!(request.header("idempotency-key").is_some());
                Reply::Json(201, json!({"id": "vid_1", "status": "queued"}))
            }
            ("GET", "/v1/videos/vid_1") => {
                let at = seen.fetch_add(1, Ordering::SeqCst);
                let share = format!("{}%", 100 * at / looks.max(1));
                if at < looks {
                    return Reply::Json(
                        200,
                        json!({"id": "vid_1", "status": "rendering", "progress": share, "api_key": "sk_live_secret99"}),
                    );
                }
                Reply::Json(
                    200,
                    json!({
                        "id": "vid_1", "status": end, "output": {"url": "/files/film.mp4"},
                        "error": if end == "completed" { Value::Null } else { json!({"message": "the prompt was refused", "suggestion": "say it kindly"}) },
                    }),
                )
            }
            _ => Reply::Json(404, json!({"error": "no such film"})),
        }
    })
}

const VIDEO_REQUEST: &str = "{\"prompt\":\"a harbor\",\"model\":\"film-1\"}";

#[test]
fn task_submits_polls_and_downloads_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let stub = video_api(2, "completed");
    let profile = profile(folder.path(), "video", &stub.url());
    let kept = folder.path().join("kept");
    let output = task(
        &profile,
        &[
            "--request",
            VIDEO_REQUEST,
            "--poll-interval",
            "0.1s",
            "--output",
            kept.to_str().unwrap(),
            "--print-response",
        ],
    );
    assert_eq!(code(&output), 0, "{}", err(&output));
    let said = err(&output);
    assert!(said.starts_with("Expected wait: about 04:00 (from the profile)\nTask submitted: vid_1\n"), "{said}");
    assert!(said.contains("  [0s] task=vid_1 status=rendering  progress=50%"), "{said}");
    assert_eq!(std::fs::read_to_string(kept.join("video.mp4")).unwrap(), "a film");
    let answer = std::fs::read_to_string(kept.join("response.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["status"], "completed");
    assert_eq!(serde_json::from_str::<Value>(&out(&output)).unwrap()["id"], "vid_1");
    assert_eq!(stub.count("POST", "/v1/videos"), 1);
    // The key is sent to the origin of the API only, and does not appear in any output.
    assert!(!format!("{said}{answer}{}", out(&output)).contains("0123456789"));
}

#[test]
fn l13_results_of_other_hosts_and_large_results_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = Stub::start(|_: &Request| Reply::Text(200, "video/mp4", "a film".repeat(1_000)));
    let port = other.url().rsplit(':').next().unwrap().to_owned();
    let api = Stub::start(move |request: &Request| {
        let film =
            json!({"id": "vid_1", "status": "completed", "output": {"url": format!("http://localhost:{port}/film")}});
        Reply::Json(if request.method == "POST" { 201 } else { 200 }, film)
    });
    let path = profile(folder.path(), "video", &api.url());
    let text = std::fs::read_to_string(&path).unwrap();
    let kept = folder.path().join("kept");
    let fetched = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let output = ["--request", VIDEO_REQUEST, "--poll-interval", "0.1s", "--output", kept.to_str().unwrap()];
        task(&path, &output)
    };
    let refused = fetched(&text);
    assert!(err(&refused).contains("its result is at localhost, which is not the API's host"), "{}", err(&refused));
    assert_ne!(code(&refused), 0);
    assert!(!kept.join("video.mp4").exists());
    assert_eq!(other.count("GET", "/film"), 0);
    let allowed = text.replace("hosts = [", "hosts = [\"localhost\", ");
    let large = fetched(&allowed.replace("1GiB", "1kB"));
    assert!(err(&large).contains("its result has more than 1,000 bytes"), "{}", err(&large));
    assert!(!kept.join("video.mp4").exists());
    let output = fetched(&allowed);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(std::fs::metadata(kept.join("video.mp4")).unwrap().len(), 6_000);
}

#[test]
fn failed_task_reports_its_error_and_a_possible_fix() {
    let folder = tempfile::tempdir().unwrap();
    let stub = video_api(0, "moderated");
    let profile = profile(folder.path(), "video", &stub.url());
    let output = task(&profile, &["--request", VIDEO_REQUEST, "-q", "--poll-interval", "0.1s"]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output).contains("the prompt was refused") && err(&output).contains("possible fix: say it kindly"),
        "{}",
        err(&output)
    );
    let once = task(&profile, &["--task-id", "vid_1", "--poll-once"]);
    assert_eq!((code(&once), out(&once).lines().count()), (1, 1), "{}", err(&once));
    assert_eq!(code(&task(&profile, &["--task-id", "vid_9", "--poll-once"])), 4);
    assert_eq!(code(&task(&profile, &["--request", VIDEO_REQUEST, "--poll-once"])), 64);
    assert_eq!(code(&task(&profile, &["--request", "[1]"])), 65);
    assert_eq!(code(&task(&profile, &[])), 64);
    assert_eq!(code(&task(Path::new("/no/such.toml"), &["--request", "{}"])), 66);
    assert_eq!(stub.count("POST", "/v1/videos"), 1, "what is not understood is not submitted");
}

#[test]
fn task_is_submitted_once_and_interruption_prints_the_continuation() {
    let folder = tempfile::tempdir().unwrap();
    // Without an idempotency key, a request with a lost answer is not repeated.
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = posts.clone();
    let stub = Stub::start(move |request: &Request| {
        if request.method == "POST" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Reply::Close
    });
    let vm = profile(folder.path(), "vm", &stub.url());
    let output = task(&vm, &["--request", "{\"name\":\"a\"}"]);
    assert_eq!((code(&output), posts.load(Ordering::SeqCst)), (69, 1), "{}", err(&output));
    assert!(err(&output).contains("It is unknown whether it was submitted"), "{}", err(&output));
    // With a key it is repeated, and the repetition is reported.
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = posts.clone();
    let stub = Stub::start(move |_: &Request| {
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::Text(500, "text/plain", "boom".into())
    });
    let video = profile(folder.path(), "video", &stub.url());
    let output = task(&video, &["--request", VIDEO_REQUEST, "--timeout", "2s"]);
    let sent = posts.load(Ordering::SeqCst);
    assert!(code(&output) == 69 && sent > 1, "{sent}");
    assert!(err(&output).contains(&format!("It was sent {sent} times with one key")), "{}", err(&output));
    // Timeout and Ctrl-C.
    let stub = video_api(10_000, "completed");
    let video = profile(folder.path(), "video", &stub.url());
    let kept = folder.path().join("kept");
    let late = [VIDEO_REQUEST, "--poll-interval", "0.1s", "--timeout", "0.5s", "--output", kept.to_str().unwrap()];
    let late = task(&video, &[&["--request"], &late[..]].concat());
    assert_eq!(code(&late), 2, "{}", err(&late));
    assert!(err(&late).contains("may still be running") && err(&late).contains("--task-id vid_1"), "{}", err(&late));
    // --output stores the last answer of an unfinished task, and stderr reports that it is partial.
    assert!(err(&late).contains("there is no result yet"), "{}", err(&late));
    let answer: Value = serde_json::from_slice(&std::fs::read(kept.join("response.json")).unwrap()).unwrap();
    assert_eq!(answer["status"], "rendering");
    let child =
        command(&video, &["--request", VIDEO_REQUEST]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(code(&output) == 130 && err(&output).contains("--task-id vid_1"), "{}", err(&output));
}

#[test]
fn task_uses_the_long_poll_of_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(Mutex::new("Created"));
    let kept = state.clone();
    let troubles = Arc::new(AtomicUsize::new(0));
    let stub = Stub::start(move |request: &Request| {
        let told = |state: &str| json!({"id": "vm_7", "state": state, "phase": "boot"});
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/instances") => Reply::Json(202, told("Created")),
            ("GET", "/v1/instances/vm_7/wait") => {
                assert_eq!(request.query, "state=Running&timeout=30s");
                // The API holds the request until the machine runs.
                std::thread::sleep(Duration::from_millis(600));
                *kept.lock().unwrap() = "Running";
                Reply::Json(200, told("Running"))
            }
            // Transient errors do not end the poll.
            ("GET", "/v1/instances/vm_7") => match troubles.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::Text(503, "text/plain", "later".into()),
                1 => Reply::With(429, vec![("Retry-After", "0".into())], "{}".into()),
                _ => Reply::Json(200, told(*kept.lock().unwrap())),
            },
            _ => Reply::Json(404, json!({})),
        }
    });
    let vm = profile(folder.path(), "vm", &stub.url());
    let output = task(&vm, &["--request", "{\"name\":\"build-1\"}"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(
        err(&output).contains("no answer: answers HTTP 503") && err(&output).contains("status=Running"),
        "{}",
        err(&output)
    );
    assert!(stub.count("GET", "/v1/instances/vm_7/wait") >= 1);
}
