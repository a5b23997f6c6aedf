//! The service killed with `kill -9` again and again under load keeps every acknowledged change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod common;
#[path = "common/serve.rs"]
mod serve;

use serde_json::{Value, json};
use serve::{Client, Server, is_on_postgres, query_store, simulated};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Default number of rounds; `scripts/soak` sets more in `SYNCTOP_CRASH_ROUNDS`.
const ROUNDS: u32 = 25;
const CLIENTS: u64 = 4;

/// Small scenario, slow enough to be killed in the middle.
const SCENARIO: &str = r#"
latency_ms = [20, 40]
range = { gte = "2024-01-01T00:00:00Z", lt = "2025-01-01T00:00:00Z" }
[[streams]]
name = "customer"
records = 400
"#;

/// Knowledge of a client about its pipeline.
#[derive(Debug, Default, Clone)]
struct Known {
    /// Acknowledged desired status.
    desired: &'static str,
    /// DesiredStatus status of the last request, if it was not answered.
    maybe: Option<&'static str>,
    /// True if the creation was not answered: the pipeline may exist.
    unanswered: bool,
    /// Task ids by idempotency key.
    runs: BTreeMap<String, String>,
    events: u64,
}

struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

type Shared = Arc<Mutex<BTreeMap<String, Known>>>;

/// Sends random requests until the service is gone.
fn work(client: Client, own: u64, round: u32, known: Shared, over: Arc<AtomicBool>) {
    let mut random = Random(u64::from(round) * 7919 + own);
    while !over.load(Ordering::Relaxed) {
        let id = format!("pipe_{own}_{}", random.below(4));
        let path = format!("/pipelines/{id}");
        let now = known.lock().unwrap().get(&id).cloned();
        let change = |edit: &dyn Fn(&mut Known)| {
            edit(known.lock().unwrap().entry(id.clone()).or_default());
        };
        let answer = match (now, random.below(10)) {
            (None, _) => {
                change(&|it| (it.desired, it.unanswered) = ("active", true));
                let wanted = simulated(&id, json!({"scenario_text": SCENARIO}));
                let answer = client.try_call("POST", "/pipelines", &wanted.to_string());
                if let Ok(answer) = &answer {
                    match answer.status {
                        201 => change(&|it| it.unanswered = false),
                        _ => drop(known.lock().unwrap().remove(&id)),
                    }
                }
                answer
            }
            // After an unanswered request, read the pipeline first.
            (Some(it), _) if it.unanswered || it.maybe.is_some() => {
                client.try_call("GET", &path, "").inspect(|answer| {
                    settle(&known, &id, answer.status, answer.body.as_slice());
                })
            }
            (Some(_), 0..=4) => {
                let desired = if random.below(2) == 0 { "paused" } else { "active" };
                change(&|it| it.maybe = Some(desired));
                let answer = client.try_call("PATCH", &path, &json!({"desired_status": desired}).to_string());
                if let Ok(answer) = &answer {
                    change(&|it| {
                        it.maybe = None;
                        if answer.status == 200 {
                            it.desired = desired;
                        }
                    });
                }
                answer
            }
            (Some(_), 5 | 6) => {
                let key = format!("key-{round}-{own}-{}", random.below(1_000_000));
                let answer =
                    client.clone().with("Idempotency-Key", &key).try_call("POST", &format!("{path}/runs"), "{}");
                if let Ok(answer) = &answer
                    && answer.status == 202
                {
                    let task = answer.json()["task_id"].as_str().unwrap().to_owned();
                    change(&|it| drop(it.runs.insert(key.clone(), task.clone())));
                }
                answer
            }
            (Some(_), 7 | 8) => {
                let event = json!({"data": {"object": {"object": "customer"}}}).to_string();
                let answer = client.try_call("POST", &format!("/webhooks/{id}"), &event);
                if answer.as_ref().is_ok_and(|answer| answer.status == 202) {
                    change(&|it| it.events += 1);
                }
                answer
            }
            (Some(_), _) => {
                change(&|it| it.maybe = Some("deleted"));
                let answer = client.try_call("DELETE", &path, "");
                if answer.as_ref().is_ok_and(|answer| matches!(answer.status, 200 | 404)) {
                    drop(known.lock().unwrap().remove(&id));
                } else if answer.as_ref().is_ok_and(|answer| answer.status == 202) {
                    change(&|it| it.maybe = None);
                    change(&|it| it.desired = "deleted");
                }
                answer
            }
        };
        if answer.is_err() {
            return;
        }
    }
}

/// Compares an answer with the known pipeline, and settles its unanswered requests.
fn settle(known: &Shared, id: &str, status: u16, body: &[u8]) {
    let mut known = known.lock().unwrap();
    let Some(it) = known.get(id).cloned() else { return };
    match status {
        404 => {
            let fine = it.unanswered || it.maybe == Some("deleted") || it.desired == "deleted";
            assert!(fine, "{id} is gone: {it:?}");
            known.remove(id);
        }
        200 => {
            let now: Value = serde_json::from_slice(body).unwrap();
            let desired = now["desired_status"].as_str().unwrap();
            assert!(
                desired == it.desired || Some(desired) == it.maybe,
                "{id} has the desired status {desired}: {it:?}"
            );
            if let Some(it) = known.get_mut(id) {
                it.desired = ["active", "paused", "deleted"].into_iter().find(|word| *word == desired).unwrap();
                (it.maybe, it.unanswered) = (None, false);
            }
        }
        // Another failure settles nothing.
        _ => {}
    }
}

#[test]
fn kills_under_load_lose_no_acknowledged_change() {
    let folder = tempfile::tempdir().unwrap();
    let known: Shared = Arc::default();
    let mut random = Random(42);
    let (mut acknowledged, mut most) = (0, 0);
    let rounds = std::env::var("SYNCTOP_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS);
    for round in 0.. {
        // A slow machine answers less between two kills: more of them reach the same coverage.
        if round >= rounds && (acknowledged >= 5 || round >= 4 * rounds) {
            break;
        }
        let mut server = Server::start(folder.path());
        let client = server.client();
        let all = known.lock().unwrap().clone();
        for (id, it) in &all {
            let answer = client.get(&format!("/pipelines/{id}"));
            assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
            settle(&known, id, answer.status, &answer.body);
            // A pipeline in teardown may disappear at any moment.
            if answer.status == 200 && answer.json()["desired_status"] != "deleted" {
                for (key, task) in &it.runs {
                    assert_eq!(client.get(&format!("/tasks/{task}")).is(200)["pipeline_id"], **id);
                    let again =
                        client.clone().with("Idempotency-Key", key).post(&format!("/pipelines/{id}/runs"), &json!({}));
                    assert_eq!(again.is(202)["task_id"], **task);
                }
                acknowledged += it.runs.len();
            }
        }
        // Keep three keys per pipeline to bound the checks of the next round.
        known.lock().unwrap().values_mut().for_each(|it| {
            while it.runs.len() > 3 {
                it.runs.pop_first();
            }
        });
        most = most.max(all.len());
        let over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|own| {
                let (client, known, over) = (client.clone(), Arc::clone(&known), Arc::clone(&over));
                std::thread::spawn(move || work(client, own, round, known, over))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(20 + random.below(200)));
        server.kill();
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    }
    assert!(most >= 8 && acknowledged >= 5, "{most} pipelines, {acknowledged} runs looked at");
    // Without further kills, each pipeline reaches its desired state and each event is delivered.
    let server = Server::start(folder.path());
    let client = server.client();
    let all = known.lock().unwrap().clone();
    for id in all.keys() {
        let answer = client.get(&format!("/pipelines/{id}"));
        settle(&known, id, answer.status, &answer.body);
    }
    let all = known.lock().unwrap().clone();
    for (id, it) in &all {
        let path = format!("/pipelines/{id}");
        match it.desired {
            "deleted" => drop(client.until(&path, |it| it["code"] == "pipeline_not_found")),
            "paused" => {
                client.wait(id, "paused");
                client.patch(&path, &json!({"desired_status": "active"})).is(200);
                client.wait(id, "ready");
            }
            _ => drop(client.wait(id, "ready")),
        }
        if it.desired == "deleted" {
            continue;
        }
        // An event may be delivered twice after a crash, and a later run restarts its counts, so
        // only the remaining ranges are compared.
        let now = client.until(&path, |it| it["run"]["status"] != "RUNNING" && it["run"]["status"] != "PENDING");
        assert_eq!(now["sync_state"]["source"]["streams"]["customer"]["remaining"], json!([]), "{id}");
    }
    let left = || query_store(folder.path(), "SELECT count(*) FROM inputs");
    for _ in 0..400 {
        if left() == "0" {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(left(), "0", "events that were never delivered");
    if !is_on_postgres() {
        assert_eq!(query_store(folder.path(), "PRAGMA integrity_check"), "ok");
    }
}
