//! Snapshots of the fleet screen at several sizes and in every theme, and hostile input.
//! benches/screen.rs measures its drawing time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/pictures.rs"]
mod pictures;

use pictures::{assert_up_to_date, snapshot, snapshot_in_themes, text};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::{Value, json};
use std::sync::Arc;
use strum::VariantArray as _;
use synctop::views::filter::Filter;
use synctop::views::fleet::state::{Checklist, ChecklistStep};
use synctop::views::fleet::{
    Armed, Confirm, FleetFrame, FleetInput, FleetModel, FleetOverlay, FleetPane, FleetSheet, FleetUi, NodeRows, RowKey,
    RunRow, RunRows, ServiceLink, draw,
};
use synctop::views::{ASCII, Depth, Look, Theme, UNICODE};
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::{ActionResult, PipelineAction};
use synctop_core::fleet::wire::NodeBody;
use synctop_core::fleet::{ActionRecord, Fleet, Inbox, ListEntry};
use synctop_core::protocol::time;
use tui_input::Input;

const SIZES: [(u16, u16); 4] = [(40, 12), (80, 24), (120, 40), (200, 50)];

fn now() -> i64 {
    time::parse("2026-11-20T08:31:42Z").unwrap()
}

fn ago(seconds: i64) -> String {
    time::iso(now() - seconds * 1000)
}

fn pipeline(id: &str, source: &str, status: &str, records: u64, coverage: f64) -> Value {
    let open = status == "backfill";
    let outcome = if open { "running" } else { "succeeded" };
    let all = json!({"outcome": outcome, "records": {"cumulative": records}, "records_per_second": if open { json!(1800.0) } else { Value::Null },
        "coverage": coverage, "checkpoints": records / 100, "streams": 8, "by_status": {"completed": 5, "started": 3}, "errors": []});
    json!({
        "id": id, "source": {"type": source, source: {"api_key": "sk_live_SECRETSECRET"}}, "destination": {"type": "postgres"},
        "desired_status": "active", "status": status, "revision": 7, "cursor": "1-7-0-0", "updated_at": ago(40),
        "run": {"task_id": format!("task_{id}"), "number": 3, "status": if open { "RUNNING" } else { "SUCCEEDED" }, "progress": "5/8",
            "started_at": ago(300), "ended_at": if open { Value::Null } else { ago(30).into() }, if open { "so_far" } else { "result" }: all},
    })
}

fn parked(id: &str, message: &str, kind: &str, fingerprint: &str, next: &str, since: i64) -> Value {
    let mut it = pipeline(id, "stripe", "error", 84_113, 0.57);
    it["reason"] = json!({"message": message, "failure_type": kind, "fingerprint": fingerprint, "next": next, "since": ago(since)});
    it["run"]["status"] = "FAILED".into();
    it["run"]["result"]["outcome"] = "failed".into();
    it
}

const TABLE: (&str, &str, &str, &str) = (
    "upsertWithStats failed: relation \"public.charge\" does not exist",
    "system_error",
    "f00d000000000001",
    "restore the table at the destination (or run setup again), then resume it",
);

fn fleet() -> Fleet {
    let (message, kind, fingerprint, next) = TABLE;
    let mut all = vec![
        parked("acct_orchid", message, kind, fingerprint, next, 1_900),
        parked("acct_pine", message, kind, fingerprint, next, 1_890),
        parked("acct_quartz", message, kind, fingerprint, next, 80),
        parked(
            "acct_sable",
            "Invalid API Key provided: sk_test_****0000",
            "auth_error",
            "f00d000000000002",
            "check the key, then resume it",
            7_300,
        ),
        pipeline("acct_meridian", "stripe", "backfill", 1_284_113, 0.71),
        pipeline("acct_willow", "stripe", "backfill", 17_810, 0.25),
        pipeline("acct_cedar", "stripe", "ready", 16_375, 1.0),
        pipeline("acct_juniper", "hubspot", "ready", 4_120, 1.0),
        pipeline("acct_larch", "stripe", "ready", 301_004, 1.0),
    ];
    let mut failing = pipeline("acct_umber", "stripe", "backfill", 1_600, 0.67);
    failing["retry"] = json!({"at": time::iso(now() + 8_000), "attempt": 3, "message": "the engine answers HTTP 503"});
    let mut paused = pipeline("acct_tern", "stripe", "paused", 900, 1.0);
    paused["desired_status"] = "paused".into();
    all.extend([failing, paused]);
    for (told, node) in all.iter_mut().zip(["frankfurt-1", "frankfurt-2"].iter().cycle()) {
        told["node"] = (*node).into();
    }
    let mut fleet = Fleet::default();
    fleet.take_list(&ListEntry::list(all), 0, now() - 300_000);
    let mut list: Vec<_> = fleet.pipelines.values().map(|it| it.pipeline.report()).collect();
    for told in list.iter_mut().filter(|told| told["run"]["so_far"].is_object()) {
        told["run"]["so_far"]["checkpoints"] = 99_000.into();
    }
    // A pipeline that claims setup and never moved.
    list.push(json!({"id": "acct_vesper", "source": {"type": "stripe"}, "destination": {"type": "sqlite"}, "desired_status": "active", "status": "setup", "unassigned": "no node has taken it: it requires the labels region=us", "updated_at": ago(4_000)}));
    fleet.take_list(&ListEntry::list(list), 0, now() - 900);
    fleet
}

fn inbox(fleet: &Fleet) -> Inbox {
    let mut inbox = Inbox::default();
    for watched in fleet.pipelines.values() {
        inbox.observe(watched, now() - 900);
    }
    inbox.acknowledge("f00d000000000002", "mira@ops", Some("key is being rotated"), now() - 60_000);
    inbox
}

fn actions() -> Vec<ActionRecord> {
    let record =
        |seq, seconds: i64, action: &str, pipeline: &str, why: &str, verdict: Option<(&str, &str)>| ActionRecord {
            seq,
            at: now() - seconds * 1000,
            who: "mira@ops".into(),
            action: action.into(),
            pipeline: pipeline.into(),
            why: Some(why.into()),
            before: Some(match pipeline {
                "acct_sable" => "error (auth_error: Invalid API Key provided: sk_test_****0000), desired active".into(),
                "acct_tern" => "ready, desired active".into(),
                _ => format!("error (system_error: {}), desired active", TABLE.0),
            }),
            after: verdict
                .map(|_| if action == "pause" { "paused, desired paused" } else { "error, desired active" }.into()),
            verdict: verdict.map(|it| it.0.into()),
            sentence: verdict.map(|it| it.1.into()),
            ended_at: verdict.map(|_| now() - seconds * 1000 + 500),
        };
    vec![
        record(3, 2, "resume", "acct_sable", "key replaced", None),
        record(
            2,
            80,
            "resume",
            "acct_quartz",
            "table restored",
            Some((
                "parked_again_same_error",
                "parked again with the SAME error after 0.5s: system_error: relation \"public.charge\" does not exist",
            )),
        ),
        record(
            1,
            4_000,
            "pause",
            "acct_tern",
            "customer asked",
            Some(("took_effect", "took effect: paused after 0.3s")),
        ),
    ]
}

fn bulk() -> Bulk {
    let targets = ["acct_orchid", "acct_pine", "acct_quartz", "acct_sable", "acct_rowan"];
    let mut bulk = Bulk::new(PipelineAction::Resume, targets.map(|id| (id.into(), Some(TABLE.2.into()))).to_vec());
    bulk.next(now() - 9_000);
    bulk.done(0, ActionResult::TookEffect("ready after 2s".into()));
    bulk.next(now() - 4_000);
    let fault = fleet().pipelines["acct_quartz"].pipeline.faults[0].clone();
    bulk.done(2, ActionResult::ParkedSame(fault, 500));
    bulk
}

struct State {
    name: &'static str,
    fleet: Fleet,
    inbox: Inbox,
    actions: Vec<ActionRecord>,
    bulk: Option<Bulk>,
    armed: Armed,
    link: ServiceLink<'static>,
}

fn states() -> Vec<State> {
    let all = fleet();
    let known = inbox(&all);
    let state = |name, armed, link| State {
        name,
        fleet: all.clone(),
        inbox: known.clone(),
        actions: actions(),
        bulk: None,
        armed,
        link,
    };
    vec![
        state("fleet", Armed::Locked, ServiceLink::Live),
        State { bulk: Some(bulk()), ..state("fleet-armed", Armed::For(583_000), ServiceLink::Live) },
        state(
            "fleet-down",
            Armed::Never,
            ServiceLink::Down {
                why: "answers HTTP 503: the service is about to end",
                next: "",
                denied: false,
                again_at: now() + 7_000,
            },
        ),
        State {
            fleet: Fleet::default(),
            inbox: Inbox::default(),
            actions: Vec::new(),
            ..state("fleet-waiting", Armed::Locked, ServiceLink::Waiting)
        },
        State {
            fleet: Fleet::default(),
            inbox: Inbox::default(),
            actions: Vec::new(),
            ..state(
                "fleet-denied",
                Armed::Locked,
                ServiceLink::Down {
                    why: "answers HTTP 401: the token is none of this service",
                    next: "Give context production a token that may do this (see synctop config show).",
                    denied: true,
                    again_at: now() + 400,
                },
            )
        },
    ]
}

fn look(theme: Theme) -> Look {
    Look { theme, depth: Depth::Many, glyphs: UNICODE }
}

fn picture(state: &State, ui: &FleetUi, look: &Look, (width, height): (u16, u16)) -> Buffer {
    let area = Rect { x: 0, y: 0, width, height };
    let mut buffer = Buffer::empty(area);
    let acting = [(PipelineAction::Resume, Arc::from("acct_sable"), now() - 2_000)];
    let input = FleetInput {
        fleet: &state.fleet,
        inbox: &state.inbox,
        actions: &state.actions,
        bulk: state.bulk.as_ref(),
        look,
        name: "production",
        address: "https://sync.example.com",
        argument: "--context production",
        contexts: &[],
        is_demo: false,
        tasks: true,
        color: Some("red"),
        now: now(),
        link: state.link,
        link_text: "polling every 2 s",
        rate: (0.6, 10.0),
        list_interval: 2_000,
        armed: state.armed,
        acting: if state.armed.armed() { &acting } else { &[] },
        store_error: None,
    };
    draw(&mut buffer, area, &FleetFrame { model: &FleetModel::new(input, ui), ui });
    buffer
}

#[test]
fn every_state_at_every_size_in_every_theme() {
    for state in states() {
        for size in SIZES {
            let themes = [Theme::Dark, Theme::Light, Theme::Mono];
            let buffers = themes.map(|theme| (theme, picture(&state, &FleetUi::default(), &look(theme), size)));
            snapshot_in_themes(&format!("{}-{}x{}", state.name, size.0, size.1), &buffers);
        }
    }
}

fn nodes() -> Vec<NodeBody> {
    let node = |name: &str, status: &str, seen: i64, load: (u64, u64), labels: &[&str]| {
        json!({"id": format!("node_{name}"), "name": name, "status": status, "seen_at": ago(seen), "version": "0.1.0",
            "address": format!("https://{name}.example.com:4020"), "labels": labels, "pipelines": load.0, "running": load.1})
    };
    let all = json!([
        node("frankfurt-1", "alive", 2, (6, 2), &["region=eu"]),
        node("frankfurt-2", "draining", 3, (5, 1), &["region=eu"]),
        node("virginia-1", "gone", 340, (0, 0), &["region=us"]),
    ]);
    serde_json::from_value(all).unwrap()
}

/// UI states with their snapshot names: each pane and each overlay.
fn ui_states() -> Vec<(&'static str, FleetUi)> {
    let at = |focus: FleetPane| FleetUi { focus, ..FleetUi::default() };
    let over = |overlay: FleetOverlay| FleetUi { overlays: vec![overlay], ..FleetUi::default() };
    let sheet = |sheet: FleetSheet| over(FleetOverlay::Sheet(sheet));
    let mut filtered = FleetUi::default();
    filtered.list_mut(FleetPane::Pipelines).filter = Filter::new("!ready");
    filtered.own.marked = ["acct_pine".into(), "acct_orchid".into()].into();
    let mut folded = FleetUi::default();
    for group in synctop_core::fleet::PipelineGroup::VARIANTS {
        folded.fold(*group, true);
    }
    folded.list_mut(FleetPane::Pipelines).chosen = Some(RowKey::Head(synctop_core::fleet::PipelineGroup::Ready));
    let mut checklist = FleetUi::default();
    checklist.own.checklist = Some(Checklist::default());
    checklist.own.tick(ChecklistStep::Find);
    checklist.own.tick(ChecklistStep::Fix);
    let confirm = |action: PipelineAction, targets: &[&str], word: Option<&str>| {
        let targets: Vec<_> = targets.iter().map(|id| (Arc::from(*id), None)).collect();
        let ids: Vec<_> = targets.iter().map(|(id, _): &(Arc<str>, _)| id.as_ref()).collect();
        let command = format!("synctop pipelines {} {} --context production", action.as_str(), ids.join(" "));
        sheet(FleetSheet::Confirm(Box::new(Confirm {
            action,
            targets,
            left_out: if word.is_none() { vec!["acct_vesper".into()] } else { Vec::new() },
            word: word.map(Into::into),
            input: Input::new("acct".into()),
            why: Input::default(),
            typing_why: false,
            command,
            top: 0,
        })))
    };
    let row = |number: i64, good| RunRow {
        number: number.unsigned_abs(),
        started_at: Some(now() - 1_840_000 - 3_600_000 * (3 - number)),
        elapsed_ms: Some(if good == Some(true) { 41_000 } else { 7_000 }),
        records: Some(if good == Some(true) { 16_375 } else { 2_100 }),
        outcome: if good == Some(true) { "succeeded".into() } else { "failed".into() },
        message: (good != Some(true)).then(|| "the key lacks 'Disputes Read'".into()),
        good,
    };
    vec![
        ("fleet-errors", at(FleetPane::Errors)),
        ("fleet-actions", at(FleetPane::Actions)),
        ("fleet-many", at(FleetPane::Bulk)),
        ("fleet-filtered-marked", filtered),
        ("fleet-folded", folded),
        ("fleet-describe", sheet(FleetSheet::Pipeline { id: "acct_quartz".into(), top: 0 })),
        ("fleet-error", sheet(FleetSheet::Error { fingerprint: TABLE.2.into(), top: 0 })),
        ("fleet-action", sheet(FleetSheet::ActionRecord { seq: 2, top: 0 })),
        (
            "fleet-runs",
            sheet(FleetSheet::Runs {
                id: "acct_cedar".into(),
                rows: RunRows::Loaded(vec![row(2, Some(true)), row(1, Some(false))]),
                chosen: 1,
            }),
        ),
        (
            "fleet-contexts",
            sheet(FleetSheet::Contexts {
                names: vec![
                    ("local".into(), "http://127.0.0.1:4020".into()),
                    ("production".into(), "https://sync.example.com, read-only".into()),
                ],
                chosen: 0,
            }),
        ),
        ("fleet-confirm", confirm(PipelineAction::Resume, &["acct_orchid", "acct_pine"], None)),
        ("fleet-confirm-delete", confirm(PipelineAction::Delete, &["acct_orchid"], Some("acct_orchid"))),
        ("fleet-nodes", sheet(FleetSheet::Nodes { rows: NodeRows::Loaded(nodes()), top: 0 })),
        ("fleet-help", over(FleetOverlay::Help { top: 0 })),
        ("fleet-quit", over(FleetOverlay::Quit)),
        ("fleet-checklist", checklist),
    ]
}

#[test]
fn every_pane_and_sheet_at_every_size() {
    let states = states();
    for (name, ui) in ui_states() {
        let state = &states[usize::from(name.contains("confirm") || name.contains("many"))];
        for size in [(40, 12), (80, 24), (120, 40)] {
            snapshot(&format!("{name}-{}x{}", size.0, size.1), &picture(state, &ui, &look(Theme::Dark), size));
        }
    }
}

#[test]
fn ascii_glyphs_draw_ascii_only_and_secrets_are_masked() {
    let ascii = Look { theme: Theme::Dark, depth: Depth::Sixteen, glyphs: ASCII };
    for state in states() {
        let drawn = text(&picture(&state, &FleetUi::default(), &ascii, (120, 40)));
        assert!(drawn.is_ascii(), "{drawn}");
        for (_, ui) in ui_states() {
            assert!(!text(&picture(&state, &ui, &look(Theme::Dark), (200, 60))).contains("SECRET"));
        }
    }
}

#[test]
fn hostile_service_data_draws_no_control_characters() {
    let told = json!([
        {"id": "p\u{1b}[2Jx\u{202e}", "source": {"type": "\u{7}s"}, "destination": {"type": "d\u{9b}5m"}, "status": "err\u{1b}]0;t\u{7}or", "desired_status": "\u{2066}x",
            "reason": {"message": "\u{1b}[31mred\u{1b}[0m password=hunter2SECRET", "next": "\u{1b}[1;1H"}, "revision": 18_446_744_073_709_551_615_u64,
            "retry": {"attempt": u64::MAX, "at": "9999-12-31T23:59:59Z", "message": "\u{202e}"}},
        {"id": "q_q", "source": 7, "destination": null, "status": "error", "reason": "a word", "run": {"status": 1, "number": u64::MAX, "so_far": {"records": {"cumulative": u64::MAX},
            "coverage": 1e308, "records_per_second": -1e308, "errors": [{}, 1, {"message": "m", "final": true}], "by_status": {"a": u64::MAX}}, "started_at": "0001-01-01T00:00:00Z"}},
        {"id": "r_r", "status": "backfill", "sync_state": {"sync_run": {"progress": {"started_at": "9999-12-31T23:59:59Z", "elapsed_ms": i64::MAX, "derived": {"status": "failed"}, "streams": {"\u{1b}[2J": {"status": "errored", "message": "\u{1b}[2J"}}}}}},
        {"id": "s_s", "status": "ready", "progress": {"reason": "\u{1b}", "global_progress": {"state_checkpoint_count": u64::MAX}}},
        {"status": "ready"}, 3, null,
    ]);
    let mut fleet = Fleet::default();
    for at in [i64::MIN / 2, 0, now(), i64::MAX / 2] {
        fleet.take_list(&ListEntry::list(told.as_array().unwrap().clone()), 0, at);
    }
    let mut inbox = Inbox::default();
    fleet.pipelines.values().for_each(|it| drop(inbox.observe(it, now())));
    let state = State {
        name: "hostile",
        fleet,
        inbox,
        actions: actions(),
        bulk: Some(bulk()),
        armed: Armed::Always,
        link: ServiceLink::Down { why: "\u{1b}[2J", next: "\u{1b}[2J", denied: true, again_at: i64::MAX / 2 },
    };
    let ids: Vec<_> = state.fleet.pipelines.keys().cloned().collect();
    let mut uis: Vec<_> = ui_states().into_iter().map(|(_, ui)| ui).collect();
    uis.extend(ids.into_iter().map(|id| FleetUi {
        overlays: vec![FleetOverlay::Sheet(FleetSheet::Pipeline { id, top: 0 })],
        ..FleetUi::default()
    }));
    for ui in uis {
        for size in [(80, 24), (160, 60)] {
            let drawn = text(&picture(&state, &ui, &look(Theme::Dark), size));
            assert!(!drawn.contains("SECRET"), "{drawn}");
            let bad = drawn.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{2069}').contains(c));
            assert_eq!(bad, None, "{drawn}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_size_draws(width in 0u16..=200, height in 0u16..=60, which in 0usize..4, visit in 0usize..16, zoomed: bool, top in 0usize..2000) {
        let mut ui = ui_states().swap_remove(visit).1;
        ui.zoomed = zoomed;
        for &pane in FleetPane::VARIANTS {
            ui.list_mut(pane).top = top;
        }
        picture(&states()[which], &ui, &look(Theme::Mono), (width, height));
    }
}

#[test]
fn every_small_size_draws() {
    let states = states();
    for width in 0..60 {
        for height in 0..20 {
            for state in &states {
                picture(state, &FleetUi::default(), &look(Theme::Dark), (width, height));
            }
        }
    }
}

#[test]
fn document_pictures_are_up_to_date() {
    let states = states();
    let ui = FleetUi::default();
    let shown = [
        ("fleet-120x40-dark", Theme::Dark, 0, (120, 40)),
        ("fleet-120x40-light", Theme::Light, 0, (120, 40)),
        ("fleet-80x24-dark", Theme::Dark, 0, (80, 24)),
        ("fleet-armed-120x40-dark", Theme::Dark, 1, (120, 40)),
    ];
    assert_up_to_date(
        shown.map(|(name, theme, at, size)| (name, theme, picture(&states[at], &ui, &look(theme), size))),
    );
}
