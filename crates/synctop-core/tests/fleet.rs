//! Fleet logic on answers of real services: groups, reasons, error inbox, action results, bulk
//! actions with a canary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../../../tests/common/recorded.rs"]
mod recorded;

use recorded::{answers, recording};
use serde_json::{Value, json};
use synctop_core::ResultClass;
use synctop_core::backoff::Backoff;
use synctop_core::fleet::bulk::{Bulk, BulkStep};
use synctop_core::fleet::condition::{Condition, Holds};
use synctop_core::fleet::inbox::InboxState;
use synctop_core::fleet::verify::{ActionResult, ActionWatch, Baseline, PipelineAction};
use synctop_core::fleet::{Fleet, Inbox, ListEntry, Pipeline, PipelineGroup, PipelineStatus, Watched};
use synctop_core::protocol::time;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60_000;

fn at(text: &str) -> i64 {
    time::parse(text).unwrap()
}

/// Applies a recorded pipeline list to the fleet, as received at `now`.
fn listed(fleet: &mut Fleet, list: &Value, now: i64) {
    let asked = fleet.order();
    fleet.take_list(&ListEntry::list(list["data"].as_array().unwrap().clone()), asked, now);
}

fn of<'f>(fleet: &'f Fleet, id: &str) -> &'f Watched {
    fleet.pipelines.get(id).unwrap()
}

#[test]
fn failed_run_without_activity_is_inferred_as_parked() {
    let all = recording("21-progress-service-stub-workflow.txt");
    let lists = answers(&all, "GET", "/pipelines");
    let mut fleet = Fleet::default();
    // Two hours after the recording; the engine's clock is the only time in the list.
    let now = at("2026-11-20T11:00:00Z");
    listed(&mut fleet, lists.last().unwrap(), now);
    let parked = of(&fleet, "pipe_streamfail");
    assert_eq!(parked.pipeline.status, PipelineStatus::Backfill);
    assert_eq!(
        (parked.group(now), parked.is_parking_inferred(now)),
        (PipelineGroup::Parked, true),
        "{:?} {:?} {:?}",
        parked.pipeline.found,
        parked.pipeline.run,
        parked.pipeline.faults
    );
    let note = parked.note(now).unwrap();
    assert!(
        note.contains("parked (inferred): last run failed 2 h ago") && note.contains("it claims backfill"),
        "{note}"
    );
    let fault = &parked.pipeline.faults[0];
    assert_eq!(fault.core(), "the key lacks 'Disputes Read'");
    assert_eq!(fault.streams, ["dispute".into()]);
    assert!(fault.next.as_ref().unwrap().contains("give the key that permission"));
    assert_eq!(parked.pipeline.found.by_status.get("completed"), Some(&1));
    // Shortly after a failure, a retry may still come.
    let soon = at("2026-11-20T08:59:55Z");
    assert_eq!(parked.group(soon), PipelineGroup::Failing);
    assert_eq!(of(&fleet, "pipe_ok").group(now), PipelineGroup::Paused);
    assert_eq!(of(&fleet, "pipe_ok").pipeline.found.records, Some(345));
    // The list has keys in clear; the fleet stores none of them.
    let kept = format!("{fleet:?}");
    assert!(lists.last().unwrap().to_string().contains("sk_test_fake_ok"));
    assert!(!kept.contains("sk_test_fake_ok"), "a key is kept");
    assert!(fleet.pipelines.values().all(|it| it.pipeline.report().to_string().contains("sk_test_***")));
}

#[test]
fn polling_detects_movement_and_staleness_of_a_run() {
    let all = recording("21-progress-service-stub-workflow.txt");
    let lists = answers(&all, "GET", "/pipelines");
    let late = answers(&all, "GET", "/pipelines/pipe_long").pop().unwrap();
    let mut fleet = Fleet::default();
    let (first, then) = (at("2026-11-20T08:59:57Z"), at("2026-11-20T09:00:09Z"));
    listed(&mut fleet, &lists[0], first);
    let running = of(&fleet, "pipe_long");
    assert_eq!(running.group(first), PipelineGroup::Working);
    let before = running.pipeline.found.clone();
    assert!(before.coverage.unwrap() < 1.0 && before.records.unwrap() > 0, "{before:?}");
    // An unchanged list is no movement; after two minutes without movement the pipeline is stale.
    listed(&mut fleet, &lists[0], first + 2 * SECOND);
    assert_eq!(of(&fleet, "pipe_long").moved_at, None);
    let later = first + 5 * MINUTE;
    assert_eq!(of(&fleet, "pipe_long").group(later), PipelineGroup::Stale);
    assert!(of(&fleet, "pipe_long").note(later).unwrap().contains("claims backfill, nothing runs"));
    fleet.take_one(late, then).unwrap();
    let done = of(&fleet, "pipe_long");
    assert_eq!((done.group(then), done.moved_at), (PipelineGroup::Ready, Some(then)));
    assert_eq!(done.pipeline.found.records, Some(10_000));
    assert!(done.pipeline.succeeded());
}

#[test]
fn trace_generation_service_reports_parked_without_a_reason() {
    let all = recording("20-trace-service-stub-workflow.txt");
    let now = at("2026-11-20T10:00:00Z");
    let mut fleet = Fleet::default();
    let mut parked = None;
    for exchange in all.iter().filter(|it| it.method == "GET" && it.path == "/pipelines") {
        listed(&mut fleet, &serde_json::from_str(&exchange.body).unwrap(), now);
        let ready = of(&fleet, "pipe_mwoqy9gr");
        if !ready.pipeline.faults.is_empty() {
            // A ready pipeline with failed streams.
            assert_eq!(ready.group(now), PipelineGroup::Failing);
            assert!(ready.pipeline.faults.iter().any(|fault| fault.kind() == "auth_error"));
        }
    }
    for exchange in all.iter().filter(|it| it.body.contains("\"status\":\"error\"") && it.body.starts_with("{\"id\"")) {
        fleet.take_one(serde_json::from_str(&exchange.body).unwrap(), now).unwrap();
        let id = serde_json::from_str::<Value>(&exchange.body).unwrap()["id"].as_str().unwrap().to_owned();
        parked = Some(id);
    }
    let parked = of(&fleet, &parked.expect("one is parked"));
    assert_eq!((parked.group(now), parked.is_parking_inferred(now)), (PipelineGroup::Parked, false));
    assert!(parked.pipeline.reason.is_none(), "no reason is invented");
}

#[test]
fn setup_without_activity_becomes_stale() {
    let created = json!({"id": "pipe_new", "source": {"type": "stripe"}, "destination": {"type": "postgres"}, "desired_status": "active", "status": "setup"});
    let mut fleet = Fleet::default();
    fleet.take_list(&ListEntry::list([created.clone()]), 0, 0);
    assert_eq!(of(&fleet, "pipe_new").group(MINUTE), PipelineGroup::Working);
    fleet.take_list(&ListEntry::list([created.clone()]), 0, 3 * MINUTE);
    assert_eq!(of(&fleet, "pipe_new").group(3 * MINUTE), PipelineGroup::Stale);
    assert!(
        of(&fleet, "pipe_new").note(3 * MINUTE).unwrap().contains("claims setup, nothing runs: no activity for 3 min")
    );
    // An accepted action that started no run is noted.
    fleet.sent("pipe_new", "resume", 3 * MINUTE);
    fleet.take_list(&ListEntry::list([created, json!({"id": 7}), json!("nonsense")]), 0, 4 * MINUTE);
    let note = of(&fleet, "pipe_new").note(4 * MINUTE).unwrap();
    assert_eq!(note, "accepted the resume 60 s ago; nothing has run since");
    assert_eq!(fleet.odd.len(), 2, "invalid entries are reported");
    assert_eq!(fleet.pipelines.len(), 1);
}

/// JSON of a pipeline as `synctop serve` returns it.
struct OwnPipeline(Value);

impl OwnPipeline {
    fn new(id: &str) -> Self {
        Self(json!({
            "id": id, "source": {"type": "simulated"}, "destination": {"type": "simulated"},
            "desired_status": "active", "status": "ready", "revision": 3, "cursor": "1-3-0-0",
        }))
    }

    fn status(mut self, status: &str, revision: u64) -> Self {
        self.0["status"] = status.into();
        self.0["revision"] = revision.into();
        self
    }

    fn parked(self, revision: u64, fingerprint: &str, since: i64) -> Self {
        let mut it = self.status("error", revision);
        it.0["reason"] = json!({"message": format!("it broke ({fingerprint})"), "failure_type": "system_error",
            "fingerprint": fingerprint, "since": time::iso(since), "next": "fix it"});
        it
    }

    fn run(mut self, number: u64, state: &str, outcome: &str, checkpoints: u64) -> Self {
        let key = if matches!(state, "RUNNING" | "PENDING") { "so_far" } else { "result" };
        self.0["run"] = json!({"task_id": format!("task_{number}"), "number": number, "status": state, "progress": "1/3",
            key: {"outcome": outcome, "records": {"cumulative": checkpoints * 100}, "checkpoints": checkpoints, "streams": 3, "errors": []}});
        self
    }

    fn read(&self) -> Pipeline {
        Pipeline::read(self.0.clone(), 0, None).unwrap()
    }
}

#[test]
fn doubts_of_a_run_do_not_change_its_group() {
    let mut good = OwnPipeline::new("a_a").run(1, "SUCCEEDED", "succeeded", 9);
    let mut fleet = Fleet::default();
    fleet.take_list(&ListEntry::list([good.0.clone()]), 0, 1_000);
    assert_eq!(of(&fleet, "a_a").doubt(), None);
    let doubts = json!([{"kind": "resumed_after_cut", "streams": ["charges"], "message": "rows may be missing"},
        {"kind": "unknown_end", "streams": [], "message": "an end"}]);
    good.0["run"]["result"]["doubts"] = doubts;
    fleet.take_list(&ListEntry::list([good.0]), 1, 2_000);
    let watched = of(&fleet, "a_a");
    assert_eq!((watched.group(2_000), watched.note(2_000)), (PipelineGroup::Ready, None));
    assert_eq!(watched.doubt().as_deref(), Some("doubt: charges: rows may be missing (and 1 more)"));
}

#[test]
fn inbox_error_is_fixed_by_a_success_and_regressed_when_it_returns() {
    let mut fleet = Fleet::default();
    let mut inbox = Inbox::default();
    let mut see = |inbox: &mut Inbox, told: Vec<OwnPipeline>, now: i64| {
        fleet.take_list(&ListEntry::list(told.into_iter().map(|it| it.0)), 0, now);
        let changed: Vec<_> = fleet.pipelines.values().flat_map(|it| inbox.observe(it, now)).collect();
        inbox.close_resolved(&fleet.pipelines, now);
        changed
    };
    let parked = |id: &str, run: u64, since: i64| {
        OwnPipeline::new(id).parked(run * 10, "f1", since).run(run, "FAILED", "failed", 2)
    };
    let good =
        |id: &str, run: u64| OwnPipeline::new(id).status("ready", run * 10).run(run, "SUCCEEDED", "succeeded", 9);
    assert_eq!(see(&mut inbox, vec![parked("a_a", 1, 500), parked("b_b", 1, 900)], 1_000).len(), 2);
    let item = inbox.items.get("f1").unwrap();
    assert_eq!((item.state(), item.open(), item.first_at), (InboxState::New, 2, 500));
    // Repeated polls of the same failure count once per pipeline.
    for poll in 2..50 {
        assert!(see(&mut inbox, vec![parked("a_a", 1, 500), parked("b_b", 1, 900)], poll * 1_000).is_empty());
    }
    assert_eq!(inbox.items["f1"].hits["a_a"].count, 1);
    inbox.acknowledge("f1", "me", Some("waits for the key"), 60_000);
    assert_eq!(inbox.items["f1"].state(), InboxState::Acked);
    // A running pipeline keeps its error open; a success closes it for that pipeline.
    see(
        &mut inbox,
        vec![OwnPipeline::new("a_a").status("backfill", 12).run(2, "RUNNING", "running", 1), parked("b_b", 1, 900)],
        61_000,
    );
    assert_eq!(inbox.items["f1"].open(), 2);
    see(&mut inbox, vec![good("a_a", 2), parked("b_b", 1, 900)], 62_000);
    assert_eq!((inbox.items["f1"].open(), inbox.items["f1"].state()), (1, InboxState::Acked));
    see(&mut inbox, vec![good("a_a", 2), good("b_b", 2)], 63_000);
    assert_eq!(inbox.items["f1"].state(), InboxState::Fixed);
    // The error returns: it is regressed and no longer acknowledged.
    see(&mut inbox, vec![parked("a_a", 3, 64_000), good("b_b", 2)], 65_000);
    let item = &inbox.items["f1"];
    assert_eq!(
        (item.state(), item.open(), item.hits["a_a"].regressed, item.hits["a_a"].count),
        (InboxState::Regressed, 1, 1, 2)
    );
    assert_eq!(item.trend(1, 65_000), [3]);
    // A deletion is no success.
    see(&mut inbox, vec![good("b_b", 2)], 66_000);
    assert_eq!((inbox.items["f1"].open(), inbox.items["f1"].hits["a_a"].fixed_at), (0, None));
    // Created again and successful: the error is fixed.
    see(&mut inbox, vec![good("a_a", 4), good("b_b", 2)], 67_000);
    let hit = &inbox.items["f1"].hits["a_a"];
    assert_eq!((hit.gone, hit.fixed_at), (false, Some(67_000)));
    // The stored form is read back unchanged.
    let doc = serde_json::to_string(inbox.items["f1"].as_ref()).unwrap();
    assert_eq!(serde_json::from_str::<synctop_core::fleet::inbox::InboxItem>(&doc).unwrap(), *inbox.items["f1"]);
}

fn watch(action: PipelineAction, before: &OwnPipeline, accepted: &OwnPipeline) -> ActionWatch {
    ActionWatch::new(action, Baseline::of(&before.read()), Some(&accepted.read()), 0, MINUTE)
}

#[test]
fn accepted_resume_is_verified_by_its_effect() {
    let before = OwnPipeline::new("p_p").parked(5, "f1", -9).run(1, "FAILED", "failed", 4);
    let accepted = OwnPipeline::new("p_p").status("backfill", 6).run(1, "FAILED", "failed", 4);
    // Parked again, with the same error and with a new one.
    let mut it = watch(PipelineAction::Resume, &before, &accepted);
    assert_eq!(it.see(Some(&accepted.read()), 100), None);
    let verdict = it
        .see(Some(&OwnPipeline::new("p_p").parked(8, "f1", 200).run(2, "FAILED", "failed", 0).read()), 40_000)
        .unwrap();
    assert!(matches!(&verdict, ActionResult::ParkedSame(..)), "{verdict:?}");
    assert!(verdict.to_string().contains("parked again with the SAME error after 40"), "{}", verdict.to_string());
    assert_eq!(verdict.class(), ResultClass::Failed);
    let mut it = watch(PipelineAction::Resume, &before, &accepted);
    let other = OwnPipeline::new("p_p").parked(8, "f2", 200).run(2, "FAILED", "failed", 0).read();
    assert!(matches!(it.see(Some(&other), 300), Some(ActionResult::ParkedNew(..))));
    // Checkpoints have to continue for 5 s to count.
    let mut it = watch(PipelineAction::Resume, &before, &accepted);
    let runs =
        |checkpoints| OwnPipeline::new("p_p").status("backfill", 7).run(2, "RUNNING", "running", checkpoints).read();
    assert_eq!(it.see(Some(&runs(0)), 1_000), None);
    assert_eq!(it.see(Some(&runs(2)), 2_000), None);
    let verdict = it.see(Some(&runs(9)), 8_000).unwrap();
    assert!(verdict.took_effect() && verdict.to_string().contains("9 checkpoints"), "{verdict:?}");
    // A run that succeeds at once counts.
    let mut it = watch(PipelineAction::Resume, &before, &accepted);
    let ready = OwnPipeline::new("p_p").status("ready", 9).run(2, "SUCCEEDED", "succeeded", 9).read();
    assert!(it.see(Some(&ready), 700).unwrap().took_effect());
    // No checkpoint until the timeout; no run; the pipeline is gone; the service does not answer.
    let mut it = watch(PipelineAction::Resume, &before, &accepted);
    assert!(matches!(it.see(Some(&runs(0)), MINUTE), Some(ActionResult::Unknown(_))));
    let mut it = watch(PipelineAction::Resume, &before, &accepted);
    assert!(matches!(it.see(Some(&accepted.read()), MINUTE), Some(ActionResult::NothingRan(_))));
    assert!(matches!(it.see(None, 5), Some(ActionResult::Unknown(_))));
    let it = watch(PipelineAction::Resume, &before, &accepted);
    assert_eq!(it.observation_lost("no answer", 30_000), None);
    assert!(matches!(it.observation_lost("no answer", MINUTE), Some(ActionResult::Unknown(_))));
}

#[test]
fn resume_that_the_published_service_ignores_is_nothing_ran() {
    // Recording 20: the service answers 200 to the resume of a parked pipeline and changes nothing.
    let all = recording("20-trace-service-stub-workflow.txt");
    let errors: Vec<Value> = all
        .iter()
        .filter(|it| it.body.contains("\"status\":\"error\"") && it.body.starts_with("{\"id\""))
        .map(|it| serde_json::from_str(&it.body).unwrap())
        .collect();
    let before = Pipeline::read(errors[0].clone(), 0, None).unwrap();
    let resumed = Pipeline::read(errors.last().unwrap().clone(), 0, None).unwrap();
    let mut it = ActionWatch::new(PipelineAction::Resume, Baseline::of(&before), Some(&resumed), 0, MINUTE);
    assert_eq!(it.see(Some(&resumed), 30_000), None, "the error that it had is no new one");
    let verdict = it.see(Some(&resumed), MINUTE).unwrap();
    assert!(
        matches!(&verdict, ActionResult::NothingRan(how) if how.contains("it claims error, as before")),
        "{verdict:?}"
    );
}

#[test]
fn bulk_action_runs_a_canary_then_three_then_the_rest_and_stops_on_repeated_errors() {
    let targets =
        |of: &[(&str, &str)]| of.iter().map(|(id, fault)| ((*id).into(), Some((*fault).into()))).collect::<Vec<_>>();
    let fault = |fingerprint: &str| OwnPipeline::new("x_x").parked(1, fingerprint, 0).read().faults[0].clone();
    let good = || ActionResult::TookEffect("ready".into());
    let all: Vec<_> = (0..12).map(|number| (format!("p_{number}"), if number < 8 { "f1" } else { "f2" })).collect();
    let all: Vec<_> = all.iter().map(|(id, fault)| (id.as_str(), *fault)).collect();
    let mut bulk = Bulk::new(PipelineAction::Resume, targets(&all));
    assert_eq!(bulk.plan(), "Canary: 1 first, then 3, then 8 at 1/s");
    assert_eq!(bulk.items[0].fingerprint.as_deref(), Some("f1"), "the canary has the most common error");
    assert_eq!(bulk.next(0), [0]);
    assert!(bulk.next(60_000).is_empty(), "nothing continues before the result of the canary");
    bulk.done(0, good());
    assert_eq!(bulk.next(60_000), [1, 2, 3]);
    bulk.done(1, good());
    bulk.done(2, ActionResult::ParkedSame(fault("f1"), 9));
    assert!(bulk.stopped.is_none() && bulk.next(61_000).is_empty());
    bulk.done(3, good());
    assert_eq!(bulk.next(61_000), [4], "one a second");
    assert!(bulk.next(61_500).is_empty());
    assert_eq!(bulk.next(62_000), [5]);
    bulk.done(4, ActionResult::ParkedSame(fault("f1"), 9));
    assert!(bulk.stopped.as_ref().unwrap().contains("the same error came back 2 times"));
    assert!(bulk.next(90_000).is_empty() && !bulk.is_finished());
    bulk.done(5, good());
    assert!(bulk.is_finished());
    assert_eq!((bulk.counts(), bulk.class()), ((4, 2, 6), ResultClass::Mixed));
    // If the canary fails, the rest is skipped.
    let mut bulk = Bulk::new(PipelineAction::Resume, targets(&all[..4]));
    bulk.next(0);
    bulk.done(0, ActionResult::ParkedSame(fault("f1"), 9));
    assert!(bulk.is_finished() && bulk.items[1..].iter().all(|item| item.step == BulkStep::HeldBack));
    assert_eq!(bulk.class(), ResultClass::Failed);
}

#[test]
fn unreachable_conditions_are_reported_as_never() {
    let parked = OwnPipeline::new("p_p").parked(5, "f1", 0).read();
    let running = OwnPipeline::new("p_p").status("backfill", 5).run(1, "RUNNING", "running", 4).read();
    let condition = |text: &str| text.parse::<Condition>().unwrap();
    for (text, of, has, wanted) in [
        ("status=ready", &parked, 0, Holds::Never),
        ("ready", &running, 0, Holds::NotYet),
        ("status=error", &parked, 0, Holds::Yes),
        ("error", &running, 0, Holds::NotYet),
        ("not-parked", &parked, 0, Holds::NotYet),
        ("not-parked", &running, 0, Holds::Yes),
        ("progress", &running, 3, Holds::Yes),
        ("progress", &running, 4, Holds::NotYet),
        ("error-count=0", &parked, 0, Holds::NotYet),
        ("create", &running, 0, Holds::Yes),
        ("deleted", &running, 0, Holds::NotYet),
    ] {
        assert_eq!(condition(text).holds(Some(of), has, false), wanted, "{text}");
    }
    assert_eq!(condition("deleted").holds(None, 0, false), Holds::Yes);
    assert_eq!(condition("ready").holds(None, 0, false), Holds::Never);
    assert_eq!(condition("ready").holds(Some(&running), 0, true), Holds::Never, "parked by inference");
    for bad in ["", "redy", "stream:=completed", "stream:a=done", "status="] {
        assert!(bad.parse::<Condition>().unwrap_err().to_string().contains("status=ready"), "{bad}");
    }
}

#[test]
fn backoff_grows_and_a_requested_delay_overrides_it() {
    use std::time::Duration;
    let mut backoff = Backoff::default();
    let waits: Vec<_> = (0..12).map(|_| backoff.wait(None, None, 1.0).as_secs_f64()).collect();
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]) && (waits[11] - 15.0).abs() < 0.01, "{waits:?}");
    assert_eq!(backoff.wait(Some(Duration::from_secs(40)), None, 0.3), Duration::from_secs(40));
    assert_eq!(backoff.wait(Some(Duration::from_secs(40)), Some(Duration::from_secs(7)), 0.3), Duration::from_secs(7));
    backoff.reset();
    assert!(backoff.wait(None, None, 0.0) <= Duration::from_millis(500));
}

#[test]
fn resume_of_a_ready_pipeline_and_a_failed_retry_are_reported() {
    // A denied stream: the run failed, and the pipeline is ready.
    let ready = |run: u64, outcome: &str| {
        let mut it = OwnPipeline::new("p_p").status("ready", run).run(run, "SUCCEEDED", outcome, 9);
        it.0["run"]["result"]["errors"] = json!([{"level": "stream", "message": "may not read disputes", "failure_type": "auth_error",
            "fingerprint": "f9", "streams": ["dispute"], "final": true, "cleared": false}]);
        it
    };
    let before = ready(1, "failed");
    let mut fleet = Fleet::default();
    fleet.take_list(&ListEntry::list([before.0.clone()]), 0, 0);
    for later in [0, 10 * MINUTE, 100 * MINUTE] {
        let it = of(&fleet, "p_p");
        assert_eq!(
            (it.group(later), it.is_parking_inferred(later)),
            (PipelineGroup::Failing, false),
            "the service reports parking itself"
        );
    }
    let mut it = watch(PipelineAction::Resume, &before, &before);
    assert!(
        matches!(it.see(Some(&before.read()), 100), Some(ActionResult::NothingRan(how)) if how.contains("already ready"))
    );
    let mut it = watch(PipelineAction::Retry, &before, &before);
    assert_eq!(it.see(Some(&before.read()), 100), None);
    let verdict = it.see(Some(&ready(2, "failed").read()), 900).unwrap();
    assert!(
        matches!(&verdict, ActionResult::RanAndFailed(..)) && verdict.class() == ResultClass::Failed,
        "{verdict:?}"
    );
    assert!(verdict.to_string().contains("ran, and failed after 0.9s: auth_error"), "{}", verdict.to_string());
    // Work that is interrupted by a retry has not taken effect.
    let parked = OwnPipeline::new("p_p").parked(5, "f1", -9).run(1, "FAILED", "failed", 4);
    let mut it = watch(PipelineAction::Resume, &parked, &OwnPipeline::new("p_p").status("backfill", 6));
    let runs = |retry: bool| {
        let mut it = OwnPipeline::new("p_p").status("backfill", 7).run(2, "RUNNING", "running", 3);
        if retry {
            it.0["retry"] = json!({"at": "2093-01-01T00:00:00Z", "attempt": 1, "message": "HTTP 503"});
        }
        it.read()
    };
    assert_eq!(it.see(Some(&runs(false)), 1_000), None);
    assert_eq!(it.see(Some(&runs(true)), 9_000), None);
    assert_eq!(it.see(Some(&runs(false)), 10_000), None, "the 5 s start again");
    assert!(it.see(Some(&runs(false)), 16_000).unwrap().took_effect());
}

#[test]
fn staleness_depends_on_observed_movement_not_on_the_start_time() {
    let mut running = OwnPipeline::new("p_p").status("backfill", 3).run(1, "RUNNING", "running", 40);
    running.0["updated_at"] = "2026-11-20T06:00:00Z".into();
    running.0["run"]["started_at"] = "2026-11-20T06:00:00Z".into();
    let now = at("2026-11-20T09:00:00Z");
    let mut fleet = Fleet::default();
    fleet.take_list(&ListEntry::list([running.0.clone()]), 0, now);
    assert_eq!(of(&fleet, "p_p").group(now), PipelineGroup::Working);
    fleet.take_list(&ListEntry::list([running.0.clone()]), 0, now + 3 * MINUTE);
    assert_eq!(of(&fleet, "p_p").group(now + 3 * MINUTE), PipelineGroup::Stale, "no movement was observed");
    running.0["run"]["so_far"]["checkpoints"] = 41.into();
    fleet.take_list(&ListEntry::list([running.0]), 0, now + 4 * MINUTE);
    assert_eq!(of(&fleet, "p_p").group(now + 4 * MINUTE), PipelineGroup::Working);
}

#[test]
fn changes_update_the_list_and_show_if_a_part_was_left_out() {
    let mut fleet = Fleet::default();
    let all: Vec<_> = ["a_a", "b_b", "c_c"].map(OwnPipeline::new).map(|it| it.0).into();
    assert_eq!(fleet.take_list(&ListEntry::list(all.clone()), 0, SECOND).len(), 3);
    assert!(fleet.take_list(&ListEntry::list(all.clone()), 0, 2 * SECOND).is_empty(), "the entries are the same");
    assert_eq!(fleet.seen_at(of(&fleet, "a_a")), 2 * SECOND);
    let mut changed = all[1].clone();
    changed["desired_status"] = "paused".into();
    let taken = fleet.take_changes(&ListEntry::list([changed.clone()]), &["c_c".into()], 0, 3 * SECOND);
    assert_eq!((taken.len(), fleet.pipelines.len(), fleet.is_incomplete), (1, 2, false));
    assert_eq!(of(&fleet, "b_b").pipeline.desired.as_str(), "paused");
    // A single read during the request is newer than the changes.
    let asked = fleet.order();
    fleet.take_one(all[1].clone(), 4 * SECOND).unwrap();
    fleet.take_changes(&ListEntry::list([changed.clone()]), &[], asked, 5 * SECOND);
    assert!(fleet.is_incomplete && of(&fleet, "b_b").pipeline.desired.as_str() == "active");
    fleet.take_changes(&[], &["b_b".into()], asked, 5 * SECOND);
    assert!(fleet.is_incomplete && fleet.pipelines.contains_key("b_b"));
    let unreadable = ListEntry::list([json!({"id": "d_d"})]);
    for _ in 0..3 {
        fleet.take_changes(&unreadable, &[], fleet.order(), 6 * SECOND);
    }
    assert_eq!(fleet.odd.len(), 1);
    fleet.take_changes(&ListEntry::list([OwnPipeline::new("d_d").0]), &[], fleet.order(), 6 * SECOND);
    assert!(fleet.odd.is_empty() && !fleet.is_incomplete);
}

#[test]
fn older_list_does_not_overwrite_newer_reads() {
    let parked = OwnPipeline::new("p_p").parked(5, "f1", 0).run(1, "FAILED", "failed", 4);
    let good = OwnPipeline::new("p_p").status("ready", 9).run(2, "SUCCEEDED", "succeeded", 9);
    let mut fleet = Fleet::default();
    fleet.take_list(&ListEntry::list([parked.0.clone(), OwnPipeline::new("q_q").0]), 0, 0);
    // While the list is requested, one pipeline is read, one is created and one is deleted; then
    // the list arrives.
    let asked = fleet.order();
    fleet.take_one(good.0, 2 * SECOND).unwrap();
    fleet.take_one(OwnPipeline::new("n_n").0, 2 * SECOND).unwrap();
    fleet.remove("q_q");
    fleet.take_list(&ListEntry::list([parked.0.clone(), OwnPipeline::new("q_q").0]), asked, 3 * SECOND);
    assert_eq!(of(&fleet, "p_p").pipeline.status, PipelineStatus::Ready);
    assert_eq!(fleet.pipelines.keys().map(AsRef::as_ref).collect::<Vec<_>>(), ["n_n", "p_p"]);
    let asked = fleet.order();
    fleet.take_list(&ListEntry::list([parked.0]), asked, 5 * SECOND);
    assert_eq!(of(&fleet, "p_p").pipeline.status, PipelineStatus::Error, "the next one counts");
}
