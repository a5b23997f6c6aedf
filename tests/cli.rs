//! The command line without a screen: outputs, sentences, exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{bytes, fixture};
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn synctop(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synctop"));
    command.args(arguments).env_remove("NO_COLOR").env_remove("SYNCTOP_THEME").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    synctop(arguments).output().unwrap()
}

fn with_stdin(arguments: &[&str], input: &[u8]) -> Output {
    let mut child =
        synctop(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A reader that stops early closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn path(name: &str) -> String {
    fixture(name).display().to_string()
}

#[test]
fn state_option_rejects_other_files_and_preserves_links_and_modes() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let fifo = folder.path().join("fifo").display().to_string();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let other = file("other.json", "{\"hello\":1}");
    let torn = file("torn.json", "{\"source\":");
    let missing = folder.path().join("no/such/folder.json").display().to_string();
    let directory = folder.path().display().to_string();
    let raw = bytes("stripe-trace/13-small-pipeline_read.ndjson.zst");
    for (path, says, code_) in [
        (&fifo, "it is not a regular file", 70),
        (&directory, "it is not a regular file", 70),
        (&missing, "there is no such folder", 70),
        (&other, "none of the sections source, engine and sync_run", 65),
        (&torn, "is not a state file of an engine", 65),
    ] {
        for arguments in [vec!["track", "--state", path], vec!["simulate", "healthy", "--no-pace", "--state", path]] {
            let output = with_stdin(&arguments, &raw);
            assert_eq!(code(&output), code_, "{arguments:?}: {}", err(&output));
            assert!(err(&output).contains(says), "{}", err(&output));
            assert!(output.stdout.is_empty(), "nothing is read whose state could not be kept");
        }
    }
    assert_eq!(std::fs::read_to_string(other).unwrap(), "{\"hello\":1}");
    // An empty file starts a run. A symbolic link stays a link, and the file keeps its mode.
    let (real, link) = (folder.path().join("real.json"), folder.path().join("link.json"));
    std::fs::write(&real, "").unwrap();
    std::fs::set_permissions(&real, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let output = with_stdin(&["track", "--state", &link.display().to_string()], &raw);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&real).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
    let state: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&real).unwrap()).unwrap();
    assert_eq!(state["engine"]["global"]["cumulative_record_count"], 345);
    // A second attempt continues from the state file.
    let again = with_stdin(&["track", "--state", &link.display().to_string()], &raw);
    assert!(out(&again).contains("\"cumulative_record_count\":690"), "345 and 345");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5, "no temporary file is left");
}

#[test]
fn options_of_another_scenario_are_rejected() {
    for (arguments, says) in [
        (vec!["simulate", "read", "--listen", "127.0.0.1:0"], "--listen does not belong to read"),
        (vec!["simulate", "sync", "--raw"], "--raw does not belong to sync"),
        (vec!["simulate", "healthy", "--size", "10MB"], "--size does not belong to healthy"),
        (vec!["simulate", "healthy", "--listen", "0.0.0.0:0"], "it listens on loopback only"),
        (vec!["simulate", "healthy", "--state-limit", "0"], "a whole number from 1"),
    ] {
        let output = run(&arguments);
        assert_eq!(code(&output), 64, "{arguments:?}");
        assert!(err(&output).contains(says), "{}", err(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn summary_exit_code_matches_the_outcome() {
    for (file, wanted) in [
        ("stripe-progress/01-small-success.ndjson.zst", 0),
        ("stripe-progress/12-destination-fails-midway.ndjson.zst", 1),
        ("stripe-progress/04-stream-fail.ndjson.zst", 1),
        ("stripe-trace/05-bad-key.ndjson.zst", 1),
        ("stripe-progress/13b-pipeline_read_time_limit.ndjson.zst", 2),
        ("stripe-trace/10-kill9-pipeline_sync.ndjson.zst", 2),
        ("stripe-trace/cli/sync-badkey.stdout.ndjson.zst", 65),
    ] {
        let output = run(&["summary", "--quiet", &path(file)]);
        assert_eq!((code(&output), out(&output).as_str()), (wanted, ""), "{file}: {}", err(&output));
    }
}

#[test]
fn plain_gzip_zstd_and_piped_input_have_the_same_summary() {
    let plain = bytes("stripe-progress/12-destination-fails-midway.ndjson.zst");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.txt");
    std::fs::write(&file, &plain).unwrap();
    let gz = folder.path().join("packed");
    let mut packer = flate2::write::GzEncoder::new(std::fs::File::create(&gz).unwrap(), flate2::Compression::fast());
    packer.write_all(&plain).unwrap();
    packer.finish().unwrap();
    let wanted = out(&run(&["summary", "--json", &path("stripe-progress/12-destination-fails-midway.ndjson.zst")]));
    assert!(
        wanted.starts_with(
            "{\"synctop\":\"0.1.0\",\"schema\":2,\"dialect\":\"stripe\",\"outcome\":\"completed_with_errors\""
        ),
        "{wanted}"
    );
    assert_eq!(out(&run(&["summary", "--json", file.to_str().unwrap()])), wanted);
    assert_eq!(out(&run(&["summary", "--json", gz.to_str().unwrap()])), wanted);
    assert_eq!(out(&with_stdin(&["summary", "--json", "-"], &plain)), wanted);
    assert_eq!(out(&with_stdin(&["summary", "--json", "-"], &std::fs::read(&gz).unwrap())), wanted);
}

#[test]
fn summary_text_has_outcome_cause_and_next_step() {
    let text = out(&run(&["summary", &path("stripe-progress/12-destination-fails-midway.ndjson.zst")]));
    for words in [
        "COMPLETED WITH ERRORS",
        "engine says: succeeded",
        "why ",
        "next ",
        "9,699",
        "charge",
        "12 ranges left",
        "doubts       3",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn usage_errors_have_an_exit_code_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().to_str().unwrap();
    for (arguments, wanted, words) in [
        (vec!["summary", "/no/such/file"], 66, "No such file"),
        (vec!["summary", here], 66, "is a directory"),
        (vec!["summary", "--json", "--quiet", "x"], 64, "cannot be used with"),
        (vec!["--no-such-flag"], 64, "unexpected argument"),
        (vec![""], 64, "SOURCE is empty"),
        (vec!["summary"], 64, "required"),
        (vec!["--dialect", "klingon", "x"], 64, "possible values"),
        (vec!["run"], 64, "required"),
        (vec!["x.ndjson"], 64, "synctop summary x.ndjson"),
        (vec!["https://example.test/x"], 64, "synctop pipelines list --url"),
        (vec!["http://127.0.0.1:9/pipeline_sync"], 64, "curl"),
    ] {
        let output = run(&arguments);
        assert_eq!(code(&output), wanted, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(words), "{arguments:?}: {}", err(&output));
        assert!(out(&output).is_empty(), "{arguments:?}");
    }
    for arguments in [["--help"], ["--version"], ["man"]] {
        let output = run(&arguments);
        assert_eq!(code(&output), 0);
        assert!(!out(&output).is_empty() && err(&output).is_empty());
    }
    for command in ["summary", "replay", "run", "tee", "track", "backfill", "simulate"] {
        for (arguments, says) in [(["man", command], "SH OPTIONS"), ([command, "--help"], "Usage: synctop")] {
            let output = run(&arguments);
            assert_eq!(code(&output), 0, "{arguments:?}");
            assert!(out(&output).contains(says), "{arguments:?}");
        }
    }
    assert_eq!(code(&run(&["man", "nothing"])), 64);
}

#[test]
fn truncated_archive_is_summarized_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.zst");
    let packed = std::fs::read(fixture("stripe-progress/20-eventful-all.ndjson.zst")).unwrap();
    std::fs::write(&file, &packed[..packed.len() / 2]).unwrap();
    let output = run(&["summary", file.to_str().unwrap()]);
    assert_eq!(code(&output), 66);
    assert!(out(&output).contains("TRUNCATED"), "{}", out(&output));
    assert!(err(&output).contains("Cannot read"), "{}", err(&output));
}

#[test]
fn input_without_messages_exits_with_65() {
    for input in [&b""[..], b"hello\nworld\n", b"{\"level\":30,\"msg\":\"pino\"}\n", b"\x00\xff\xfe"] {
        let output = with_stdin(&["summary", "-"], input);
        assert_eq!(code(&output), 65, "{input:?}");
        assert!(err(&output).contains("understood"), "{}", err(&output));
    }
}

#[test]
fn summary_masks_secrets_and_control_characters() {
    let log = concat!(
        r#"{"type":"trace","trace":{"trace_type":"error","error":{"failure_type":"auth_error","message":"\u001b[31mkey sk_live_SECRET1 at postgres://u:SECRET2@h/db \u202eBearer SECRET3SECRET3","stream":"a\u009b2J"}}}"#,
        "\n",
        r#"{"type":"control","control":{"control_type":"source_config","source_config":{"api_key":"SECRET4","url":"SECRET5"}}}"#,
        "\n",
        r#"{"type":"log","log":{"level":"error","message":"{\"client_secret\":\"SECRET6\"} whsec_SECRET7"}}"#,
        "\n",
    );
    for arguments in [&["summary", "-"][..], &["summary", "--json", "-"]] {
        let output = out(&with_stdin(arguments, log.as_bytes()));
        assert!(!output.contains("SECRET"), "{output}");
        let bad = output.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{2069}').contains(c));
        assert_eq!(bad, None, "{output}");
    }
}

#[test]
fn closed_stdout_is_no_error() {
    let mut child = synctop(&["summary", "--json", &path("stripe-progress/02-many-streams.ndjson.zst")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(err(&output).is_empty(), "{}", err(&output));
    assert_eq!(code(&output), 0);
}

#[test]
fn full_disk_does_not_hide_the_exit_code() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let file = path("stripe-progress/01-small-success.ndjson.zst");
    for (arguments, wanted) in
        [(vec!["summary", "/no/such/file"], 66), (vec!["summary", &file], 70), (vec!["summary", "--quiet", &file], 0)]
    {
        let status = synctop(&arguments).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(wanted), "{arguments:?}");
    }
}

#[test]
fn memory_does_not_grow_with_the_log() {
    let line = r#"{"type":"record","record":{"stream":"a","data":{"x":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"},"emitted_at":"2026-11-20T08:00:00.000Z"}}"#;
    let mut child = synctop(&["summary", "--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut input = child.stdin.take().unwrap();
    let block = format!("{line}\n").repeat(2_000);
    let mut most = 0;
    for _ in 0..120 {
        input.write_all(block.as_bytes()).unwrap();
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        most = most.max(peak.unwrap_or(0));
    }
    drop(input);
    let summary: serde_json::Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(summary["records"]["cumulative"], 240_000);
    assert!(most < 40_000, "peak of a debug build: {most} kB for 35 MB of log");
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(out(&run(&["completions", shell])).contains("synctop"));
    }
}

#[test]
fn summary_at_a_position_equals_the_summary_of_the_prefix() {
    let log = path("stripe-progress/20-eventful-all.ndjson.zst");
    let plain = String::from_utf8(bytes("stripe-progress/20-eventful-all.ndjson.zst")).unwrap();
    let head: String = plain.split_inclusive('\n').take(1200).collect();
    let json = |output: &Output| -> serde_json::Value { serde_json::from_slice(&output.stdout).unwrap() };
    let at = run(&["summary", "--json", "--at", "line 1200", &log]);
    let mut wanted = json(&with_stdin(&["summary", "--json", "-"], head.as_bytes()));
    // The prefix alone counts as truncated; within the log the run is still going.
    wanted["outcome"] = "running".into();
    assert_eq!(json(&at), wanted);
    assert_eq!(code(&at), 2);
    let end = run(&["summary", "--json", "--at", "end", &log]);
    assert_eq!((json(&end), code(&end)), (json(&run(&["summary", "--json", &log])), 1));
    for (place, words) in [("25:00", "a place is"), ("never", "a place is"), ("200%", "0 to 100")] {
        let output = run(&["summary", "--at", place, &log]);
        assert_eq!(code(&output), 64, "{place}");
        assert!(err(&output).contains(words), "{}", err(&output));
    }
    let text = run(&["summary", "--at", "+30s", &log]);
    assert!(out(&text).contains("records"), "{}", out(&text));
}

#[test]
fn several_logs_are_attempts_in_order() {
    let one = path("stripe-trace/08c-errored-stream-rerun-1.ndjson.zst");
    let two = path("stripe-trace/08c-errored-stream-rerun-2.ndjson.zst");
    let json: serde_json::Value = serde_json::from_slice(&run(&["summary", "--json", &one, &two]).stdout).unwrap();
    assert_eq!(json["attempts"], 2);
    let missing = run(&["summary", &one, "/nonexistent"]);
    assert_eq!(code(&missing), 66);
}

#[test]
fn simulated_logs_are_reproducible_and_readable() {
    for generation in ["trace", "progress"] {
        let make = |seed: &str, scenario: &str| {
            let size = ["--size", "300kB", "--malformed", "20000", "--errors", "1000000"];
            let mut all = vec!["simulate", scenario, "--no-pace", "--generation", generation, "--seed", seed];
            all.extend(size);
            run(&all).stdout
        };
        let log = make("1", "sync");
        assert_eq!(log, make("1", "sync"));
        assert_ne!(log, make("2", "sync"));
        assert!((300_000..400_000).contains(&log.len()), "{}", log.len());
        let json: serde_json::Value =
            serde_json::from_slice(&with_stdin(&["summary", "--json", "-"], &log).stdout).unwrap();
        assert!(json["input"]["malformed"].as_u64().unwrap() > 3, "{json}");
        assert!(json["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{json}");
        let read = with_stdin(&["summary", "--json", "-"], &make("1", "read"));
        let json: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
        assert!(json["records"]["cumulative"].as_u64().unwrap() > 200, "{json}");
    }
    let wrong = run(&["simulate", "read", "--size", "ten"]);
    assert_eq!(code(&wrong), 64);
    assert!(err(&wrong).contains("64kB"), "{}", err(&wrong));
}

#[test]
fn replay_without_a_terminal_suggests_summary() {
    let output = run(&["replay", &path("stripe-progress/06-rate-limit.ndjson.zst")]);
    assert_eq!(code(&output), 64);
    assert!(err(&output).contains("synctop summary"), "{}", err(&output));
}

#[test]
fn summary_reads_exit_code_stderr_and_catalog_of_a_saved_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (crash, stderr) = (path("singer/classic-tap-crash.ndjson.zst"), path("singer/classic-tap-crash.stderr.zst"));
    let whole = run(&["summary", &crash, "--stderr", &stderr, "--exit-code", "1"]);
    assert_eq!(code(&whole), 1);
    let text = out(&whole);
    for wanted in ["FAILED  (exit 1)", "why          HTTP 500 from /orders", "x orders  errored", "v users   completed"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    // Without stderr and exit code the summary knows less.
    let alone = run(&["summary", &crash]);
    assert_eq!(code(&alone), 2);
    assert!(out(&alone).contains("ended without a final status"), "{}", out(&alone));
    let small = path("singer/sdk-tap-small.ndjson.zst");
    assert_eq!(code(&run(&["summary", "-q", &small, "--exit-code", "0"])), 0);
    assert_eq!(code(&run(&["summary", "-q", &small, "--exit-code", "143"])), 2);
    // With an empty stdout, stderr and the exit code are enough.
    let (empty, words) = (path("singer/sdk-tap-badconfig.ndjson.zst"), path("singer/sdk-tap-badconfig.stderr.zst"));
    let bad = run(&["summary", &empty, "--stderr", &words, "--exit-code", "1"]);
    assert_eq!(code(&bad), 1);
    assert!(out(&bad).contains("'rows' is a required property; Config validation failed"), "{}", out(&bad));
    let catalog = path("airbyte/faker-discover.ndjson.zst");
    let unpacked = file("discovered.ndjson", &String::from_utf8(bytes("airbyte/faker-discover.ndjson.zst")).unwrap());
    assert!(std::path::Path::new(&catalog).exists());
    let open = path("airbyte/custom-read-exit0.ndjson.zst");
    let listed = run(&["summary", &open, "--catalog", &unpacked, "--exit-code", "0"]);
    assert!(out(&listed).contains("o products"), "{}", out(&listed));
    let directory = folder.path().display().to_string();
    let (no_catalog, nothing) = (file("other.json", "{\"hello\":1}"), file("empty.json", ""));
    for (arguments, wanted, says) in [
        (vec!["summary", &small, "--stderr", "/no/such/file"], 66, "No such file"),
        (vec!["summary", &small, "--stderr", &directory], 66, "is a directory"),
        (vec!["summary", &small, "--catalog", "/no/such/file"], 66, "No such file"),
        (vec!["summary", &small, "--catalog", &directory], 66, "is a directory"),
        (vec!["summary", &small, "--catalog", &no_catalog], 65, "is not a catalog"),
        (vec!["summary", &small, "--catalog", &nothing], 65, "is not a catalog"),
        (vec!["run", "--catalog", &no_catalog, "--", "true"], 65, "is not a catalog"),
        (vec!["summary", &small, "--exit-code", "999"], 64, "999"),
        (vec!["summary", &small, "--dialect", "novel"], 64, "novel"),
    ] {
        let output = run(&arguments);
        assert_eq!(code(&output), wanted, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(says), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn summary_masks_the_secrets_of_a_connector() {
    let log = concat!(
        r#"{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","connectorConfig":{"config":{"x":"hunter2"}}}}"#,
        "\n",
        r#"{"type":"LOG","log":{"level":"FATAL","message":"no: sk_test_FAKEFAKEFAKEFAKE\nTraceback (most recent call last):\n  key=sk_test_FAKEFAKEFAKEFAKE"}}"#,
        "\n",
        r#"{"type":"TRACE","trace":{"type":"ERROR","error":{"message":"no: sk_test_FAKEFAKEFAKEFAKE","stack_trace":"sk_test_FAKEFAKEFAKEFAKE","stream_descriptor":{"name":"\u001b[31ma"}}}}"#,
        "\n",
    );
    for arguments in [&["summary", "-"][..], &["summary", "--json", "-"]] {
        let text = out(&with_stdin(arguments, log.as_bytes()));
        assert!(!text.contains("hunter2") && !text.contains("FAKEFAKE") && !text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn run_without_a_terminal_prints_lines_and_exits_as_its_engine() {
    let log = path("stripe-progress/12-destination-fails-midway.ndjson.zst");
    let plain = zstd::decode_all(std::fs::File::open(&log).unwrap()).unwrap();
    let shell = |script: &str| with_stdin(&["run", "--", "sh", "-c", script], &plain);
    let words = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    // stdout has the engine's lines, stderr a line per change; the exit code is the outcome's.
    let copied = shell("cat");
    assert!(copied.stdout == plain && copied.status.code() == Some(1), "{}", words(&copied));
    for said in ["ERROR      charge: ", "end        succeeded", "COMPLETED WITH ERRORS", "9,699"] {
        assert!(words(&copied).contains(said), "{said}: {}", words(&copied));
    }
    // A failing exit code fails the run although the feed reports success.
    let failed = shell("grep -v charge; echo 'Traceback (most recent call last):\nValueError: no' >&2; exit 3");
    assert_eq!(failed.status.code(), Some(3), "{}", words(&failed));
    assert!(words(&failed).contains("FAILED") && words(&failed).contains("ValueError: no"), "{}", words(&failed));
    // Without messages, the error quotes the last meaningful line of stderr.
    let script = "echo hello; printf 'Error: no such table\n  code: [\n    42\n  ]\n]\n' >&2; exit 1";
    let odd = shell(script);
    assert_eq!(odd.status.code(), Some(1));
    let said = words(&odd);
    assert!(
        said.contains("none is a message of an engine") && said.contains("its last words: Error: no such table"),
        "{said}"
    );
    assert_eq!(shell("echo hello").status.code(), Some(65));
}

/// Advice for a command names commands; keys belong to the screen.
#[test]
fn summary_names_no_key_of_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let log = file("empty.log", "starting up\n");
    let errors =
        file("engine.err", "node:internal/modules/cjs/loader:1228\n  throw err;\nError: Cannot find module 'pg'\n");
    let output = run(&["summary", &log, "--stderr", &errors]);
    let text = out(&output) + &err(&output);
    assert!(text.contains("Cannot find module 'pg'"), "{text}");
    let key = regex::Regex::new(r"\b[0-9] shows|\bpress\b|\bEnter\b|\bopens\b").expect("a pattern");
    assert!(!key.is_match(&text), "{text}");
}
