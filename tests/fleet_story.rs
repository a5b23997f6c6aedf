//! Fleet screen on a real terminal: a parked fleet is diagnosed, resumed and verified; services
//! misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/pty.rs"]
mod pty;
#[path = "common/recorded.rs"]
mod recorded;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/stub.rs"]
mod stub;

use pty::{Term, signal};
use rustix::process::Signal;
use serde_json::{Value, json};
use serve::{Server, WAIT_TIMEOUT, folder, simulated};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use stub::{Reply, Stub};

/// Pipeline whose fault parks it soon. `times` limits the occurrences of the fault.
fn breaking(id: &str, kind: &str, times: Option<u32>) -> Value {
    let times = times.map(|times| format!("times = {times}\n")).unwrap_or_default();
    let after = match kind {
        "bad_key" => "chance = 1.0\n",
        _ => "after = 300\nmessage = \"upsertWithStats failed: relation \\\"public.customer\\\" does not exist\"\n",
    };
    let text = format!(
        "range = {{ gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }}\n[[streams]]\nname = \"customer\"\nrecords = 1500\n\
         [[faults]]\nkind = \"{kind}\"\n{after}{times}"
    );
    simulated(id, json!({"scenario_text": text, "speed": 0}))
}

fn server(home: &Path, pipelines: &[Value]) -> Server {
    let server = Server::start(home);
    for pipeline in pipelines {
        assert_eq!(server.client().call("POST", "/pipelines?skip_check=true", &pipeline.to_string()).status, 201);
    }
    server
}

fn connect(home: &Path, size: (u16, u16), url: &str, more: &[&str]) -> Term {
    let state = home.join("state");
    Term::start(size, &[&["connect", url, "--data-dir", state.to_str().unwrap()], more].concat())
}

fn until_parked(server: &Server, number: usize) {
    let begun = Instant::now();
    loop {
        let list = server.client().get("/pipelines?status=error&state=false").json();
        if list["data"].as_array().unwrap().len() == number {
            return;
        }
        assert!(begun.elapsed() < WAIT_TIMEOUT, "{list}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Fails if a file below the folder contains a text, or if it has no store.
fn assert_no_file_contains(folder: &Path, texts: &[&str]) {
    let mut folders = vec![folder.to_path_buf()];
    let mut stores = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            stores += usize::from(path.extension().is_some_and(|it| it == "db"));
            for text in texts {
                let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
                assert!(!found, "{text} in {}", path.display());
            }
        }
    }
    assert!(stores > 0, "no store");
}

#[test]
fn failing_canary_stops_the_bulk_resume_of_pipelines_with_one_error() {
    let home = folder();
    let server = server(
        home.path(),
        &[
            breaking("acct_a1", "destination_error", None),
            breaking("acct_a2", "destination_error", Some(1)),
            breaking("acct_a3", "destination_error", Some(1)),
            breaking("acct_b1", "bad_key", Some(1)),
            simulated("acct_good", json!({"speed": 0})),
        ],
    );
    until_parked(&server, 4);
    let url = format!("http://{}", server.address);
    let mut term = connect(home.path(), (120, 40), &url, &[]);
    term.wait_for("4 PARKED");
    // Pipelines with one cause are grouped.
    term.wait_for("3 pipelines have system_error");
    term.wait_for("3 pipelines");
    // Actions are disabled until the screen is armed.
    term.keys("R");
    term.wait_for("read-only: w enables actions");
    term.keys("w");
    term.wait_for("ARMED 10:00");
    // A bulk action on the whole group, with a canary.
    term.keys("\x1b[H ");
    term.wait_for("4 marked");
    term.keys("R");
    term.wait_for("resume 4 pipelines");
    term.wait_for("synctop pipelines resume acct_a1 acct_a2 acct_a3 acct_b1");
    term.keys("n");
    term.wait_for("canceled: no change");
    assert_eq!(
        server.client().get("/actions").json()["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["action"] == "update")
            .count(),
        0
    );
    term.keys("R");
    term.wait_for("Reason (Tab to edit");
    // A secret that a person types is stored masked.
    term.keys("\ttable restored, y? n, sk_live_4eC39HqLyjWDarjt\r");
    term.wait_for("Reason: table restored, y? n");
    term.keys("y");
    term.until("the first is parked again", |term| {
        let text = term.text();
        text.contains("stopped, the rest is skipped") && text.matches("skipped: not sent").count() == 3
    });
    term.wait_for("SAME error");
    let revisions = |server: &Server| -> Vec<u64> {
        let list = server.client().get("/pipelines?state=false").json();
        list["data"].as_array().unwrap().iter().map(|it| it["revision"].as_u64().unwrap()).collect()
    };
    let before = revisions(&server);
    // The other two are resumed and verified.
    term.keys("/a2|b1\r*R");
    term.wait_for("resume 2 pipelines");
    term.keys("y");
    term.wait_for("2 took effect, 0 did not");
    assert_ne!(revisions(&server), before);
    term.keys("\x1b");
    term.wait_gone("/a2|b1/");
    term.wait_for("2 PARKED");
    // The action log has the action, its reason and its result.
    term.keys("3");
    term.wait_for("took effect: ready");
    term.keys("G\r");
    term.wait_for("verdict");
    term.wait_for("table restored, y? n");
    term.wait_for("desired");
    term.keys("q2A");
    // The error of acct_b1 is fixed because its pipeline succeeded.
    term.wait_for("fixed");
    term.keys("q");
    assert_eq!(term.exit_code(), 0);
    assert!(term.text().contains("2 parked"), "{}", term.text());
    let mut again = connect(home.path(), (80, 24), &url, &[]);
    again.wait_for("2 PARKED");
    again.keys("3");
    again.wait_for("parked again with");
    again.keys("2A");
    again.wait_for("fixed");
    // Acknowledgments are stored too.
    again.keys("a");
    again.wait_for("Enter acknowledges");
    again.keys("waits for the table, sk_live_8fD40JrMzkXEbsku\r");
    again.wait_for("acknowledged; it closes");
    signal(again.pid(), Signal::TERM);
    assert_eq!(again.exit_code(), 143);
    assert!(again.is_restored());
    let mut third = connect(home.path(), (120, 40), &url, &[]);
    third.wait_for("sk_live_***");
    assert_no_file_contains(home.path(), &["4eC39HqLyjWDarjt", "8fD40JrMzkXEbsku"]);
    third.keys("q");
    third.exit_code();
}

#[test]
fn runs_open_and_return_to_the_fleet_and_deletion_requires_the_name() {
    let home = folder();
    let server =
        server(home.path(), &[simulated("acct_one", json!({"speed": 0})), simulated("acct_two", json!({"speed": 2}))]);
    let mut term = connect(home.path(), (100, 30), &format!("http://{}", server.address), &["--write"]);
    term.wait_for("acct_two");
    term.until("ready", |term| term.text().contains("READY 1"));
    // The live run opens; `q` returns to the filtered list.
    term.keys("/two\r\r");
    term.wait_for("> acct_two");
    term.wait_for("SYNCING");
    term.keys("q");
    term.wait_for("/two/");
    // A past run, replayed.
    term.keys("\x1b");
    term.wait_gone("/two/");
    term.keys("/one\rh");
    term.wait_for("runs of acct_one");
    term.wait_for("SUCCEEDED");
    term.keys("\r");
    term.wait_for("run 1");
    term.until("a clock", |term| term.text().contains("PLAYING") || term.text().contains("PAUSED"));
    term.keys("q");
    term.wait_for("runs of acct_one");
    term.keys("\x1b");
    term.wait_gone("runs of acct_one");
    // The whole name has to be typed.
    term.keys("D");
    term.wait_for("Type acct_one to confirm");
    term.keys("acct\r");
    term.wait_for("that is not acct_one");
    term.keys("acct_one\r");
    term.wait_for("took effect: deleted");
    assert_eq!(server.client().get("/pipelines/acct_one").status, 404);
    term.keys("\x1b");
    term.wait_gone("/one/");
    term.keys("q");
    assert_eq!(term.exit_code(), 0);
}

/// Service of `number` pipelines. A reply in the returned mutex replaces all its answers.
fn faulty_service(number: usize) -> (Stub, Arc<Mutex<Option<Reply>>>) {
    let fault_reply: Arc<Mutex<Option<Reply>>> = Arc::default();
    let (kept, polls) = (fault_reply.clone(), AtomicUsize::new(0));
    let stub = Stub::start(move |request| {
        if let Some(reply) = kept.lock().unwrap().clone() {
            return reply;
        }
        match request.path.as_str() {
            "/health" => Reply::Json(200, json!({"ok": true})),
            "/pipelines" => {
                let poll = polls.fetch_add(1, Ordering::SeqCst);
                let one = |at: usize| {
                    let status = ["ready", "backfill", "error", "paused", "ready"][at % 5];
                    json!({"id": format!("acct_{at:03}"), "source": {"type": "stripe", "stripe": {"api_key": "sk_test_SECRETSECRET"}},
                        "destination": {"type": "postgres", "postgres": {"url": "postgres://me:hunter2SECRET@db/x"}}, "status": status,
                        "desired_status": if status == "paused" { "paused" } else { "active" },
                        "sync_state": {"sync_run": {"progress": {"started_at": "2026-11-20T08:00:00.000Z", "elapsed_ms": 1000 + poll, "derived": {"status": "started",
                            "total_record_count": 10 * at + poll, "total_state_count": at}, "streams": {"customer": {"status": "started", "state_count": at, "record_count": 10 * at + poll}}}}}})
                };
                Reply::Json(200, json!({"data": (0..number).map(one).collect::<Vec<_>>(), "has_more": false}))
            }
            _ => Reply::Text(404, "text/plain", "404 Not Found".into()),
        }
    });
    (stub, fault_reply)
}

#[test]
fn failing_service_keeps_data_selection_and_filter_on_screen() {
    let home = folder();
    let (stub, fault_reply) = faulty_service(40);
    std::fs::create_dir_all(home.path()).unwrap();
    let config = home.path().join("config.toml");
    std::fs::write(&config, format!("[contexts.old]\nurl = \"{}\"\npoll = \"0.3s\"\ncolor = \"red\"\n", stub.url()))
        .unwrap();
    let mut term = connect(home.path(), (120, 40), "old", &["--config", config.to_str().unwrap()]);
    term.wait_for("of 40");
    term.wait_for("polling all every 0.3 s");
    // Sort order, filter and selection have to survive the failures.
    term.keys("ss/backfill|error\rjjjjjjjjjj");
    term.wait_for("/backfill|error/");
    let chosen = |term: &Term| {
        let text = term.text();
        let line = text.lines().find(|line| line.starts_with('▌'))?.to_owned();
        line.split_whitespace().find(|word| word.starts_with("acct_")).map(str::to_owned)
    };
    term.until("all keys are taken", |term| chosen(term).as_deref() == Some("acct_031"));
    let before = chosen(&term).unwrap();
    let date = jiff::fmt::rfc2822::to_string(
        &(jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1)).to_zoned(jiff::tz::TimeZone::UTC),
    )
    .unwrap();
    for (bad, words) in [
        (Reply::Text(500, "text/plain", "Internal Server Error".into()), "HTTP 500"),
        (Reply::Text(200, "text/html", "<html><title>Sign in</title>".into()), "Sign in"),
        (Reply::Half("{\"data\":[".into()), "broke off"),
        (Reply::With(429, vec![("Retry-After", date)], "{\"error\":\"slow down\"}".into()), "slow down"),
        (Reply::Close, "DOWN"),
    ] {
        *fault_reply.lock().unwrap() = Some(bad);
        term.wait_for("DOWN");
        term.wait_for(words);
        term.wait_for("retrying in");
        assert!(term.text().contains("acct_"), "the last known data stay: {}", term.text());
        *fault_reply.lock().unwrap() = None;
        term.wait_for("LIVE");
        assert_eq!(chosen(&term).unwrap(), before, "{}", term.text());
        assert!(
            term.text().contains("/backfill|error/") && term.text().find("acct_037") < term.text().find("acct_032"),
            "{}",
            term.text()
        );
    }
    // While the service hangs, the screen shows the growing age of its data.
    *fault_reply.lock().unwrap() = Some(Reply::Hang(Duration::from_secs(4)));
    term.wait_for("3s old");
    *fault_reply.lock().unwrap() = None;
    let seen = term.raw();
    assert!(!String::from_utf8_lossy(&seen).contains("SECRET"), "a secret reached the terminal");
    let lists = stub.count("GET", "/pipelines");
    std::thread::sleep(Duration::from_secs(2));
    assert!(stub.count("GET", "/pipelines") - lists <= 10, "no more requests than the poll interval allows");
    term.keys("q");
    assert_eq!(term.exit_code(), 0);
    for entry in std::fs::read_dir(home.path().join("state")).unwrap().flatten() {
        let kept = std::fs::read(entry.path()).unwrap();
        assert!(!kept.windows(6).any(|part| part == b"SECRET"), "{:?} has a secret in it", entry.path());
    }
}

#[test]
fn run_of_a_polled_service_is_shown_with_the_time_of_its_state() {
    let home = folder();
    let all = recorded::recording("21-progress-service-stub-workflow.txt");
    let list = recorded::answers(&all, "GET", "/pipelines").remove(0);
    let stub = Stub::start(move |request| {
        let one = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| request.path == format!("/pipelines/{}", it["id"].as_str().unwrap()));
        match (request.path.as_str(), one) {
            ("/health", _) => Reply::Json(200, json!({"ok": true})),
            ("/pipelines", _) => Reply::Json(200, list.clone()),
            (_, Some(one)) => Reply::Json(200, one.clone()),
            _ => Reply::Text(404, "text/plain", "404 Not Found".into()),
        }
    });
    let mut term = connect(home.path(), (120, 40), &stub.url(), &[]);
    term.wait_for("polling all every 5 s");
    term.wait_for("parked (inferred): last run failed");
    // Times are those of the engine's clock.
    term.wait_for("08:59:50");
    term.wait_for("the key lacks 'Disputes Read'");
    term.keys("\r");
    term.wait_for("> pipe_streamfail");
    term.wait_for("FAILED");
    term.wait_for("give the key that permission");
    term.wait_for("08:59:50Z");
    term.keys("q");
    term.wait_for("PARKED 1");
    // A run that has not moved since then shows no news, although it was just polled.
    term.keys("jj\r");
    term.wait_for("> pipe_long");
    term.wait_for("NO NEWS");
    term.wait_for("this service has no events");
    term.keys("q");
    term.wait_for("PARKED 1");
    term.keys("kk");
    term.keys("h");
    term.wait_for("keeps no past runs");
    term.keys("wR");
    term.wait_for("resume pipe_streamfail");
    term.keys("n");
    term.wait_for("canceled: no change");
    term.keys("q");
    assert_eq!(term.exit_code(), 0);
}

#[test]
fn demo_shows_a_fleet_and_leaves_no_files() {
    let temporary = folder();
    let binary = env!("CARGO_BIN_EXE_synctop");
    let line = format!(
        "TMPDIR={} XDG_STATE_HOME={}/none {binary} --theme dark; echo \"exit $?\"; exec sleep 60",
        temporary.path().display(),
        temporary.path().display()
    );
    let mut term = Term::shell((80, 24), &line);
    term.wait_for("4 PARKED");
    term.wait_for("demo 0/6");
    // Without its cause fixed, a pipeline is parked again.
    term.keys("ew");
    term.wait_for("ARMED");
    term.wait_for("demo 1/6");
    term.keys("R");
    term.wait_for("resume acct_orchid on demo");
    term.keys("y");
    term.wait_for("parked again with the SAME error");
    term.keys("\r");
    term.wait_for("demo > acct_orchid");
    term.wait_for("FAILED");
    term.keys("W");
    term.wait_for("what led to it");
    term.wait_for("first retry");
    term.keys("\x1b");
    term.wait_gone("what led to it");
    term.keys("q");
    term.wait_for("demo 2/6");
    // A past run opens at its end, on its first error.
    term.keys("h");
    term.wait_for("runs of acct_orchid");
    term.wait_for("OUTCOME");
    term.wait_for("failed");
    term.keys("\r");
    term.wait_for("demo > acct_orchid, run");
    term.wait_for("FAILED");
    // Enter opens the selected error, which is one of the whole run: no stream is selected.
    term.keys("\r");
    term.wait_for("where it occurred");
    term.keys("\x1b");
    term.wait_gone("where it occurred");
    term.keys("q");
    term.wait_for("runs of acct_orchid");
    term.keys("\x1b");
    term.wait_gone("runs of acct_orchid");
    term.keys("f");
    term.wait_for("cause fixed for 3 pipelines");
    term.wait_for("demo 3/6");
    term.resize(200, 50);
    term.wait_for("demo checklist 3 of 6 done");
    // The heading of the group: a canary, then the others.
    term.keys("kR");
    term.wait_for("resume 4 pipelines on demo");
    term.keys("y");
    term.wait_for("checklist 4 of 6 done");
    term.wait_for("checklist 5 of 6 done");
    term.wait_for("3 took effect, 1 did not");
    term.keys("2a");
    term.wait_for("note");
    term.keys("rotated\r");
    term.wait_for("checklist 6 of 6 done");
    term.wait_for("synctop connect URL");
    term.keys("1\x1b");
    term.wait_gone("demo checklist");
    term.keys("q");
    term.wait_for("demo: 12 pipelines");
    term.wait_for("exit 0");
    let left: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn switching_the_context_switches_the_service_and_disarms() {
    let home = folder();
    let (stub, _mood) = faulty_service(7);
    let server = server(home.path(), &[simulated("acct_here", json!({"speed": 0}))]);
    let config = home.path().join("config.toml");
    let (here, there) = (format!("http://{}", server.address), stub.url());
    let text = format!(
        "context = \"here\"\n[contexts.here]\nurl = \"{here}\"\nwrite = true\n[contexts.there]\nurl = \"{there}\"\nread_only = true\n\
         [contexts.zz]\nurl = \"{here}\"\ntoken = \"env:NOT_THERE\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut term = connect(home.path(), (100, 30), "here", &["--config", config.to_str().unwrap()]);
    term.wait_for("acct_here");
    term.wait_for("here: ARMED");
    term.keys("cj\r");
    term.wait_for("of 7");
    term.wait_for("READ-ONLY");
    assert!(!term.text().contains("ARMED") && !term.text().contains("acct_here"), "{}", term.text());
    term.keys("w");
    term.wait_for("this context is read-only");
    term.keys("R");
    term.wait_for("this context is read-only");
    // A context without its token is reported, and the present one stays.
    term.keys("cjj\r");
    term.wait_for("NOT_THERE");
    term.wait_for("of 7");
    term.keys("q");
    assert_eq!(term.exit_code(), 0);
}

#[test]
fn unreachable_service_is_reported_on_screen_and_shell() {
    let home = folder();
    let mut term = connect(home.path(), (80, 24), "http://127.0.0.1:9", &[]);
    term.wait_for("Cannot read the pipelines of");
    term.wait_for("cannot be reached");
    term.wait_for("retrying in");
    term.keys("q");
    assert_eq!(term.exit_code(), 69);
    assert!(term.text().contains("http://127.0.0.1:9 cannot be reached"), "{}", term.text());
}

#[test]
fn fleet_screen_survives_small_sizes_and_restores_the_terminal_on_sighup() {
    let home = folder();
    let (stub, _mood) = faulty_service(500);
    let mut term = connect(home.path(), (80, 24), &stub.url(), &[]);
    term.wait_for("of 500");
    for (width, height) in [(20, 4), (30, 6), (40, 10), (200, 50), (1, 1), (80, 24)] {
        term.resize(width, height);
        std::thread::sleep(Duration::from_millis(60));
    }
    term.wait_for("of 500");
    term.keys("G");
    term.wait_for("acct_498");
    signal(term.pid(), Signal::HUP);
    assert_eq!(term.exit_code(), 129);
    assert!(term.is_restored());
}

#[test]
fn actions_apply_to_the_visible_selection_only() {
    let home = folder();
    let all: Vec<_> = (1..=4).map(|number| simulated(&format!("acct_{number:02}"), json!({"speed": 0}))).collect();
    let server = server(home.path(), &all);
    let url = format!("http://{}", server.address);
    let mut term = connect(home.path(), (120, 40), &url, &["--write"]);
    term.wait_for("4 ready");
    // A filter moves the selection to the remaining row, which stays selected without the filter.
    term.keys("gj/acct_03\r");
    term.wait_for("1 of 4, /acct_03/");
    term.keys("P");
    term.wait_for("pause acct_03 on");
    term.keys("n\x1b");
    term.wait_gone("/acct_03/");
    term.keys("P");
    term.wait_for("pause acct_03 on");
    // A terminal that is too small for the question accepts no answer.
    term.resize(20, 5);
    term.wait_for("ARMED");
    term.keys("y");
    term.wait_for("too small");
    term.resize(120, 40);
    term.wait_for("pause acct_03 on");
    term.keys("n");
    term.wait_gone("cancel");
    term.resize(20, 5);
    term.wait_for("of 4");
    term.keys("P");
    term.wait_for("too small");
    term.keys("y");
    term.resize(120, 40);
    term.wait_for("no action yet");
    assert!(server.client().get("/pipelines/acct_03").json()["desired_status"] == "active");
    // Actions of a script appear on the screen.
    let script = std::process::Command::new(env!("CARGO_BIN_EXE_synctop"))
        .args(["pipelines", "pause", "acct_02", "--url", &url, "--data-dir"])
        .arg(home.path().join("state"))
        .output()
        .unwrap();
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    term.wait_for("pause acct_02");
    term.wait_for("took effect: paused");
    // `w` disarms a screen that --write armed.
    term.keys("w");
    term.wait_for("read-only (w enables");
    term.keys("q");
    assert_eq!(term.exit_code(), 0);
}

#[test]
fn rejected_token_is_reported_with_the_next_step() {
    let home = folder();
    let (stub, fault_reply) = faulty_service(3);
    *fault_reply.lock().unwrap() =
        Some(Reply::Text(401, "application/json", r#"{"error":"the token is none of this service"}"#.into()));
    let mut term = connect(home.path(), (80, 24), &stub.url(), &[]);
    term.wait_for("NOT ALLOWED");
    term.wait_for("SYNCTOP_TOKEN");
    term.keys("q");
    assert_eq!(term.exit_code(), 77);
    assert!(term.text().contains("Put a token that may do this into SYNCTOP_TOKEN"), "{}", term.text());
}
