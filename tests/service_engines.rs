//! Pipelines on HTTP engines, command engines and the simulated engine: killed, silent and failing
//! engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/engine.rs"]
mod engine;
#[path = "common/serve.rs"]
mod serve;

use engine::Engine;
use serde_json::{Value, json};
use serve::{Client, WAIT_TIMEOUT, folder, on, script, service, simulated};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn parked(client: &Client, id: &str) -> Value {
    client.wait(id, "error")["reason"].clone()
}

#[test]
fn http_engine_may_die_and_return() {
    let folder = folder();
    let rows = folder.path().join("rows");
    let scenario = folder.path().join("s.toml");
    std::fs::write(&scenario, "latency_ms = [40, 60]\nrange = { gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }\n[[streams]]\nname = \"customer\"\nrecords = 1500\n[[streams]]\nname = \"charge\"\nrecords = 500\n").unwrap();
    let arguments = ["--destination", rows.to_str().unwrap(), scenario.to_str().unwrap()];
    let engine = Engine::start(&arguments, "127.0.0.1:0");
    let address = engine.address.trim_start_matches("http://").to_owned();
    let server = service(folder.path(), &format!("[engines.stripe]\nurl = \"{}\"\ntime_limit = 1\n", engine.address));
    let client = server.client();
    client.post("/pipelines", &on("pipe_http", "stripe")).is(201);
    client.wait("pipe_http", "progress");
    drop(engine);
    let down = client.until("/pipelines/pipe_http", |it| {
        it["retry"]["message"].as_str().is_some_and(|why| why.contains("cannot be reached") || why.contains("broke"))
    });
    assert_eq!(down["status"], "backfill", "a transient failure does not park");
    assert!(down["retry"]["at"].is_string());
    let _engine = Engine::start(&arguments, &address);
    let now = client.until("/pipelines/pipe_http", |it| it["status"] == "ready");
    assert!(now.get("retry").is_none(), "{now}");
    let all: std::collections::BTreeSet<String> =
        std::fs::read_to_string(&rows).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(all.len(), 2000, "every row arrived");
    assert!(now["run"]["calls"].as_u64().unwrap() > 2, "{}", now["run"]);
}

#[test]
fn destination_outage_loses_no_row_when_the_service_is_killed_repeatedly() {
    for form in ["trace", "progress"] {
        let folder = folder();
        let rows = folder.path().join("rows");
        let scenario = folder.path().join("outage.toml");
        std::fs::write(
            &scenario,
            "seed = 21\nlatency_ms = [2, 6]\nrange = { gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }\n\
             [[streams]]\nname = \"customer\"\nrecords = 1500\n[[streams]]\nname = \"charge\"\nrecords = 900\n\
             [[faults]]\nkind = \"destination_outage\"\nafter = 300\nchance = 0.1\ntimes = 9\n",
        )
        .unwrap();
        let arguments = [
            "--destination",
            rows.to_str().unwrap(),
            scenario.to_str().unwrap(),
            "--speed",
            "20",
            "--generation",
            form,
        ];
        let engine = Engine::start(&arguments, "127.0.0.1:0");
        let config = format!("[engines.stripe]\nurl = \"{}\"\nstate_limit = 9\n", engine.address);
        let mut server = service(folder.path(), &config);
        server.client().post("/pipelines", &on("pipe_outage", "stripe")).is(201);
        let began = Instant::now();
        let last = loop {
            let now = server.client().get("/pipelines/pipe_outage").is(200);
            if now["status"] == "ready" {
                break now;
            }
            assert_ne!(now["status"], "error", "{form}: a transient failure does not park: {now}");
            assert!(began.elapsed() < WAIT_TIMEOUT * 2, "{form}: {now}");
            std::thread::sleep(Duration::from_millis(350));
            server.kill();
            server = service(folder.path(), &config);
        };
        let all: std::collections::BTreeSet<String> =
            std::fs::read_to_string(&rows).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(all.len(), 2400, "{form}: every row arrives");
        let doubts = last["run"]["result"]["doubts"].as_array().unwrap();
        let log = server.client().get("/pipelines/pipe_outage/events?from=start&follow=false").text();
        assert!(log.contains("ECONNREFUSED"), "{form}: no outage in the run");
        // Kills may come before each end that is ahead: then no doubt is required.
        let told = doubts.iter().any(|doubt| doubt["kind"] == "state_ahead");
        assert!(told || !ends_ahead(&log), "{form}: {doubts:?}");
        assert_eq!(last["run"]["result"]["outcome"], "succeeded", "{form}");
    }
}

/// True if the state of any end in a log differs from the last checkpoint of a stream in its call.
fn ends_ahead(log: &str) -> bool {
    let mut last = std::collections::BTreeMap::new();
    log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| match line["type"].as_str() {
        Some("log") if line["_emitted_by"] != "synctop/service" => false,
        // A new call, or a restart of the service during a call.
        Some("catalog" | "log") => {
            last.clear();
            false
        }
        Some("source_state") => {
            let state = &line["source_state"];
            last.insert(state["stream"].as_str().unwrap().to_owned(), state["data"].clone());
            false
        }
        Some("eof") => {
            let eof = &line["eof"];
            let states = eof.get("state").or(eof.get("ending_state")).map(|state| &state["source"]["streams"]);
            let ahead = last.iter().any(|(stream, data)| states.is_some_and(|states| states[stream] != *data));
            last.clear();
            ahead
        }
        _ => false,
    })
}

#[test]
fn command_engine_reads_its_call_from_stdin_and_returns_its_state() {
    let folder = folder();
    let path = script(
        folder.path(),
        "engine",
        r"
assert 'SYNCTOP_TOKEN' not in os.environ
if call['action'] == 'check':
    say('connection_status', status='succeeded')
elif call['action'] == 'setup':
    config = {'api_key': call['pipeline']['source']['tap']['api_key'], 'account_id': 'acct_7'}
    # The last line of a command may be without its newline.
    print(json.dumps({'type': 'control', 'control': {'control_type': 'source_config', 'source_config': config}}), end='', flush=True)
elif call['action'] == 'sync':
    at = call.get('state', {}).get('source', {}).get('streams', {}).get('rows', {}).get('at', 0)
    say('catalog', streams=[{'name': 'rows'}])
    say('source_state', state_type='stream', stream='rows', data={'at': at + 1, 'status': 'complete'})
    say('eof', reason='complete' if at >= 2 else 'state_limit', state={'source': {'streams': {'rows': {'at': at + 1, 'status': 'complete' if at >= 2 else 'pending'}}}, 'engine': {'streams': {}}})
",
    );
    let server = service(
        folder.path(),
        &format!("[engines.tap]\ncommand = [{:?}]\nactions = [\"check\", \"setup\"]\n", path.to_str().unwrap()),
    );
    let client = server.client();
    let mut wanted = on("pipe_tap", "tap");
    wanted["source"]["tap"] = json!({"api_key": "sk_test_of_the_tap"});
    client.post("/pipelines", &wanted).is(201);
    client.wait("pipe_tap", "ready");
    let now = client.get("/pipelines/pipe_tap").is(200);
    assert_eq!(now["sync_state"]["source"]["streams"]["rows"]["at"], 3);
    assert_eq!(now["run"]["calls"], 3);
    assert_eq!(now["source"]["tap"], json!({"api_key": "sk_test_***", "account_id": "acct_7"}));
    let log = client.get("/pipelines/pipe_tap/events?from=start&follow=false").text();
    assert!(log.contains("control") && !log.contains("of_the_tap"), "{log}");
    assert_eq!(client.get("/engines").is(200)["data"][1], json!({"name": "tap", "kind": "command"}));
}

#[test]
fn failing_hanging_and_missing_command_engines_are_handled() {
    let folder = folder();
    let make = |name: &str, text: &str| script(folder.path(), name, text).to_str().unwrap().to_owned();
    let fails = make("fails", "print('no such table', file=sys.stderr)\nsys.exit(3)\n");
    let pids = folder.path().join("pids");
    let hangs = make(
        "hangs",
        &format!(
            "open({:?}, 'a').write(f'{{os.getpid()}}\\n')\nsay('source_state', state_type='stream', stream='a', data={{'x': 1}})\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)\n",
            pids.to_str().unwrap()
        ),
    );
    let global = make(
        "global",
        "say('trace', trace_type='error', error={'failure_type': 'config_error', 'message': 'no such schema'})\n",
    );
    let server = service(
        folder.path(),
        &format!(
            "[calls]\ngrace = \"1s\"\n[engines.fails]\ncommand = [{fails:?}]\n[engines.hangs]\ncommand = [{hangs:?}]\nstall_timeout = \"3s\"\n[engines.global]\ncommand = [{global:?}]\n[engines.none]\ncommand = [\"/nope/engine\"]\n"
        ),
    );
    let client = server.client();
    for engine in ["fails", "hangs", "global", "none"] {
        client.post("/pipelines", &on(&format!("pipe_{engine}"), engine)).is(201);
    }
    // The message has the exit code and the last stderr line.
    let failing = client.until("/pipelines/pipe_fails", |it| it.get("retry").is_some());
    let why = failing["retry"]["message"].as_str().unwrap();
    assert!(why.contains("exit code 3") && why.contains("no such table"), "{why}");
    let missing = client.until("/pipelines/pipe_none", |it| it.get("retry").is_some());
    assert!(missing["retry"]["message"].as_str().unwrap().contains("cannot be started"), "{missing}");
    let reason = parked(&client, "pipe_global");
    assert_eq!(
        (reason["failure_type"].as_str(), reason["message"].as_str()),
        (Some("config_error"), Some("no such schema"))
    );
    // A silent engine is ended by TERM, then by KILL; its checkpoint is kept.
    let silent = client.until("/pipelines/pipe_hangs", |it| it.get("retry").is_some());
    assert!(silent["retry"]["message"].as_str().unwrap().contains("no output of the engine"), "{silent}");
    assert_eq!(silent["sync_state"]["source"]["streams"]["a"], json!({"x": 1}));
    client.delete("/pipelines/pipe_hangs");
    let alive = || {
        let pids = std::fs::read_to_string(&pids).unwrap();
        pids.lines().any(|pid| Path::new("/proc").join(pid).join("cmdline").is_running())
    };
    let began = Instant::now();
    while alive() {
        assert!(began.elapsed() < WAIT_TIMEOUT, "the engine still runs");
        std::thread::sleep(Duration::from_millis(50));
    }
}

trait Runs {
    fn is_running(&self) -> bool;
}

impl Runs for PathBuf {
    /// True if the process exists and is no zombie: its command line is not empty.
    fn is_running(&self) -> bool {
        std::fs::read(self).is_ok_and(|line| !line.is_empty())
    }
}

#[test]
fn permanently_failed_stream_is_retried_by_a_new_run() {
    let folder = folder();
    let path = script(
        folder.path(),
        "engine",
        r"
names = ['a', 'b']
skip = call.get('state', {}).get('engine', {}).get('failed_in') == call['run_id']
say('catalog', streams=[{'name': name} for name in names])
def status(name, word):
    say('trace', trace_type='stream_status', stream_status={'stream': name, 'status': word})
for name in names:
    if name == 'b' and skip:
        continue
    status(name, 'started')
    if name == 'b' and not os.path.exists(os.path.join(os.path.dirname(__file__), 'fixed')):
        say('trace', trace_type='error', error={'failure_type': 'auth_error', 'message': 'the key may not read b', 'stream': 'b'})
        continue
    say('source_state', state_type='stream', stream=name, data={'status': 'complete'})
    status(name, 'complete')
say('eof', reason='complete', state={'source': {'streams': {'a': {'status': 'complete'}}}, 'engine': {'failed_in': call['run_id']}})
",
    );
    let server = service(folder.path(), &format!("[engines.tap]\ncommand = [{:?}]\n", path.to_str().unwrap()));
    let client = server.client();
    client.post("/pipelines", &on("pipe_part", "tap")).is(201);
    client.wait("pipe_part", "ready");
    let run = client.get("/pipelines/pipe_part").is(200)["run"].clone();
    assert_eq!(run["result"]["outcome"], "completed_with_errors", "{run}");
    assert_eq!(run["result"]["errors"][0]["streams"], json!(["b"]));
    std::fs::write(folder.path().join("fixed"), "").unwrap();
    client.post("/pipelines/pipe_part/runs", &json!({})).is(202);
    client.wait("pipe_part", "stream:b=completed");
    client.wait("pipe_part", "ready");
    assert_eq!(client.get("/pipelines/pipe_part").is(200)["run"]["result"]["outcome"], "succeeded");
}

#[test]
fn run_limit_queues_runs_fairly() {
    let folder = folder();
    let server = service(folder.path(), "[limits]\nruns = 2\n[calls]\ntime_limit = 0.4\n");
    let client = server.client();
    let scenario = "latency_ms = [40, 60]\nrange = { gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }\n[[streams]]\nname = \"customer\"\nrecords = 1200\n";
    let names: Vec<String> = (0..6).map(|n| format!("pipe_{n}")).collect();
    for name in &names {
        client.post("/pipelines", &simulated(name, json!({"scenario_text": scenario}))).is(201);
    }
    let mut most = 0;
    let began = Instant::now();
    loop {
        let health = client.get("/health").is(200);
        most = most.max(health["running"].as_u64().unwrap());
        if health["pipelines"]["ready"] == 6 {
            break;
        }
        assert!(began.elapsed() < WAIT_TIMEOUT, "{health}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(most, 2);
    // Fair order: every run started before the first one ended.
    let ends: Vec<_> =
        names.iter().map(|name| client.get(&format!("/pipelines/{name}")).is(200)["run"].clone()).collect();
    let first_end = ends.iter().map(|run| run["ended_at"].as_str().unwrap().to_owned()).min().unwrap();
    let last_start = ends.iter().map(|run| run["started_at"].as_str().unwrap().to_owned()).max().unwrap();
    assert!(last_start < first_end, "{last_start} {first_end}");
}

#[test]
fn failing_teardown_is_reported_retried_and_can_be_forced() {
    let folder = folder();
    let path = script(
        folder.path(),
        "engine",
        "if call['action'] == 'teardown':\n    say('log', level='error', message='cannot drop schema x')\nelse:\n    say('eof', reason='complete')\n",
    );
    let server = service(
        folder.path(),
        &format!("[engines.tap]\ncommand = [{:?}]\nactions = [\"teardown\"]\n", path.to_str().unwrap()),
    );
    let client = server.client();
    client.post("/pipelines", &on("pipe_stuck", "tap")).is(201);
    client.wait("pipe_stuck", "ready");
    let answer = client.delete("/pipelines/pipe_stuck").is(202);
    assert_eq!((answer["deleted"].as_bool(), answer["status"].as_str()), (Some(false), Some("teardown")));
    let now = client.until("/pipelines/pipe_stuck", |it| it.get("reason").is_some());
    assert_eq!((now["status"].as_str(), now["desired_status"].as_str()), (Some("teardown"), Some("deleted")));
    assert!(now["reason"]["next"].as_str().unwrap().contains("force=true"), "{now}");
    assert_eq!(
        client.patch("/pipelines/pipe_stuck", &json!({"desired_status": "active"})).is(409)["code"],
        "pipeline_deleted"
    );
    client.delete("/pipelines/pipe_stuck?force=true").is(200);
    client.get("/pipelines/pipe_stuck").is(404);
}
