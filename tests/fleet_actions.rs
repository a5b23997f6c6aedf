//! Effects of the fleet screen's keys, without a terminal and without a service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::{Value, json};
use std::sync::Arc;
use synctop::app::{Effect, FleetEffect, update};
use synctop::views::action::{Action as AnyAction, Move};
use synctop::views::filter::Filter;
use synctop::views::fleet::action::{FLEET_ACTIONS, FleetAction};
use synctop::views::fleet::{
    Armed, FleetFrame, FleetHits, FleetInput, FleetModel, FleetOverlay, FleetPane, FleetSheet, FleetUi, RowKey, RunRow,
    RunRows, ServiceLink, draw,
};
use synctop::views::{Look, ui};
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::fleet::{ActionRecord, Fleet, Inbox, ListEntry, PipelineGroup};
use synctop_core::protocol::time;
use tui_input::Input;

type Action = AnyAction<FleetAction>;

const NOW: i64 = 1_795_161_600_000;

const fn own(action: FleetAction) -> Action {
    Action::Own(action)
}

/// A pipeline as a service lists it; a parked one has a reason.
fn pipeline(id: &str, status: &str, fault: Option<&str>) -> Value {
    let at = time::iso(NOW - 60_000);
    let mut it = json!({
        "id": id, "source": {"type": "stripe"}, "destination": {"type": "postgres"}, "desired_status": "active",
        "status": status, "updated_at": at,
        "run": {"task_id": "t", "number": 1, "status": "SUCCEEDED", "started_at": at, "ended_at": at,
            "result": {"outcome": "succeeded", "records": {"cumulative": 10}, "errors": []}},
    });
    if let Some(fault) = fault {
        it["run"]["status"] = "FAILED".into();
        it["reason"] = json!({"message": format!("error {fault}"), "failure_type": "system_error",
            "fingerprint": fault, "next": "fix it", "since": at});
    }
    it
}

/// Fleet screen with its state. `act` applies an action, `keys` the keys of the table.
struct Harness {
    fleet: Fleet,
    inbox: Inbox,
    actions: Vec<ActionRecord>,
    bulk: Option<Bulk>,
    acting: Vec<(PipelineAction, Arc<str>, i64)>,
    contexts: Vec<(String, String)>,
    armed: Armed,
    tasks: bool,
    size: (u16, u16),
    ui: FleetUi,
    hits: FleetHits,
}

impl Harness {
    fn new(pipelines: Vec<Value>) -> Self {
        let mut fleet = Fleet::default();
        fleet.take_list(&ListEntry::list(pipelines), 0, NOW);
        let mut inbox = Inbox::default();
        fleet.pipelines.values().for_each(|it| drop(inbox.observe(it, NOW)));
        let mut harness = Self {
            fleet,
            inbox,
            actions: Vec::new(),
            bulk: None,
            acting: Vec::new(),
            contexts: Vec::new(),
            armed: Armed::Always,
            tasks: true,
            size: (120, 40),
            ui: FleetUi::default(),
            hits: FleetHits::default(),
        };
        harness.draw();
        harness
    }

    /// Three parked pipelines with two errors, two ready ones, a paused one.
    fn mixed() -> Self {
        Self::new(vec![
            pipeline("a1", "error", Some("f1")),
            pipeline("a2", "error", Some("f2")),
            pipeline("a3", "error", Some("f1")),
            pipeline("b1", "ready", None),
            pipeline("b2", "ready", None),
            pipeline("c1", "paused", None),
        ])
    }

    fn with_model<R>(&self, see: impl FnOnce(&FleetModel) -> R) -> R {
        let look = Look::default();
        let input = FleetInput {
            fleet: &self.fleet,
            inbox: &self.inbox,
            actions: &self.actions,
            bulk: self.bulk.as_ref(),
            look: &look,
            name: "production",
            address: "https://sync.example.com",
            argument: "--context production",
            color: None,
            contexts: &self.contexts,
            is_demo: false,
            now: NOW + 1_000,
            link: ServiceLink::Live,
            link_text: "polling every 2 s",
            rate: (0.6, 10.0),
            list_interval: 2_000,
            armed: self.armed,
            tasks: self.tasks,
            acting: &self.acting,
            store_error: None,
        };
        see(&FleetModel::new(input, &self.ui))
    }

    fn draw(&mut self) -> String {
        let area = Rect { x: 0, y: 0, width: self.size.0, height: self.size.1 };
        let mut buffer = Buffer::empty(area);
        let hits = self.with_model(|model| draw(&mut buffer, area, &FleetFrame { model, ui: &self.ui }));
        hits.keep_tops(&mut self.ui);
        self.hits = hits;
        let width = usize::from(area.width.max(1));
        let rows = buffer.content.chunks(width);
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
    }

    fn act(&mut self, action: Action) -> Vec<Effect<FleetEffect>> {
        let mut ui = self.ui.clone();
        let effects = self.with_model(|model| update(&mut ui, model, &self.hits, action));
        self.ui = ui;
        self.draw();
        effects
    }

    /// Presses a key as the table of the topmost overlay binds it.
    fn key(&mut self, chord: &str) -> Vec<Effect<FleetEffect>> {
        match ui::bound(&self.ui, chord) {
            Some(action) => self.act(action),
            None => Vec::new(),
        }
    }

    fn select(&mut self, key: RowKey) {
        self.ui.list_mut(FleetPane::Pipelines).chosen = Some(key);
    }

    fn toast(&self) -> &str {
        self.ui.toast.as_deref().unwrap_or_default()
    }

    fn confirm(&self) -> &synctop::views::fleet::Confirm {
        match self.ui.sheet() {
            Some(FleetSheet::Confirm(confirm)) => confirm,
            other => panic!("no confirmation: {other:?}, {}", self.toast()),
        }
    }

    fn targets(&self) -> Vec<String> {
        self.confirm().targets.iter().map(|(id, _)| id.to_string()).collect()
    }
}

fn id(name: &str) -> RowKey {
    RowKey::Id(name.into())
}

#[test]
fn action_is_confirmed_before_it_is_performed() {
    let mut harness = Harness::mixed();
    harness.select(id("a1"));
    assert_eq!(harness.key("R"), []);
    assert_eq!(harness.targets(), ["a1"]);
    assert_eq!(harness.confirm().command, "synctop pipelines resume a1 --context production");
    // Enter is too easily pressed by mistake.
    assert_eq!(harness.key("enter"), []);
    harness.confirm();
    harness.key("tab");
    let Some(FleetSheet::Confirm(confirm)) = harness.ui.sheet_mut() else { panic!() };
    confirm.why = Input::new("table restored".into());
    harness.key("enter");
    let effects = harness.key("y");
    let [Effect::Own(FleetEffect::Perform(confirmed))] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((confirmed.action, confirmed.why.as_deref()), (PipelineAction::Resume, Some("table restored")));
    assert!(harness.ui.overlays.is_empty());
}

#[test]
fn cancel_changes_nothing() {
    for key in ["n", "q", "esc"] {
        let mut harness = Harness::mixed();
        harness.select(id("b1"));
        harness.key("P");
        harness.confirm();
        assert_eq!(harness.key(key), [], "{key}");
        assert!(harness.ui.overlays.is_empty(), "{key}");
        assert_eq!(harness.toast(), "canceled: no change", "{key}");
    }
}

#[test]
fn actions_are_refused_while_disabled_or_without_room() {
    let mut harness = Harness { armed: Armed::Locked, ..Harness::mixed() };
    harness.key("R");
    assert!(harness.toast().contains("w enables actions"), "{}", harness.toast());
    harness.armed = Armed::Never;
    harness.key("R");
    assert!(harness.toast().contains("read-only"), "{}", harness.toast());
    harness.armed = Armed::Always;
    harness.size = (30, 8);
    harness.draw();
    harness.key("R");
    assert!(harness.toast().contains("too small"), "{}", harness.toast());
    assert!(harness.ui.overlays.is_empty());
    // A confirmation that does not fit any more is not accepted.
    harness.size = (120, 40);
    harness.draw();
    harness.key("R");
    harness.confirm();
    harness.size = (30, 8);
    harness.draw();
    assert_eq!(harness.key("y"), []);
    harness.confirm();
}

#[test]
fn resume_on_a_heading_lists_the_pipelines_of_its_group() {
    let mut harness = Harness::mixed();
    harness.select(RowKey::Head(PipelineGroup::Parked));
    harness.key("R");
    let mut targets = harness.targets();
    targets.sort();
    assert_eq!(targets, ["a1", "a2", "a3"]);
    let shown = harness.draw();
    for name in ["a1", "a2", "a3", "y confirm", "n cancel"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
    // Only those that the filter keeps.
    harness.key("esc");
    harness.ui.list_mut(FleetPane::Pipelines).filter = Filter::new("a[12]");
    harness.select(RowKey::Head(PipelineGroup::Parked));
    harness.key("R");
    let mut targets = harness.targets();
    targets.sort();
    assert_eq!(targets, ["a1", "a2"]);
}

#[test]
fn marked_pipelines_come_before_the_selected_one() {
    let mut harness = Harness::mixed();
    harness.select(id("a1"));
    harness.key("space");
    assert_eq!(harness.ui.list(FleetPane::Pipelines).chosen, Some(id("a3")), "those with one error stand together");
    harness.key("space");
    harness.select(id("b2"));
    harness.key("R");
    let mut targets = harness.targets();
    targets.sort();
    assert_eq!(targets, ["a1", "a3"]);
    harness.key("esc");
    harness.key("esc");
    assert!(harness.ui.own.marked.is_empty(), "Esc clears the marks");
}

#[test]
fn bulk_action_names_the_service_and_scrolls_its_targets() {
    let all = (0..40).map(|number| pipeline(&format!("acct_{number:02}"), "ready", None)).collect();
    let mut harness = Harness { size: (40, 12), ..Harness::new(all) };
    harness.draw();
    harness.key("*");
    harness.key("P");
    assert_eq!(harness.confirm().word.as_deref(), Some("production"), "more than five are confirmed by a word");
    let mut seen = String::new();
    for _ in 0..60 {
        let shown = harness.draw();
        assert!(shown.contains("or Esc"), "the way out stays: {shown}");
        seen.push_str(&shown);
        harness.key("down");
    }
    for number in 0..40 {
        assert!(seen.contains(&format!("acct_{number:02}")), "{number}");
    }
    // Another word performs nothing.
    let Some(FleetSheet::Confirm(confirm)) = harness.ui.sheet_mut() else { panic!() };
    confirm.input = Input::new("staging".into());
    assert_eq!(harness.key("enter"), []);
    assert!(harness.toast().contains("that is not production"), "{}", harness.toast());
    let Some(FleetSheet::Confirm(confirm)) = harness.ui.sheet_mut() else { panic!() };
    confirm.input = Input::new("production".into());
    assert_eq!(harness.key("enter").len(), 1);
}

#[test]
fn paused_pipeline_is_not_paused_again() {
    let mut harness = Harness::mixed();
    harness.select(id("c1"));
    harness.key("P");
    assert!(harness.toast().contains("R resumes it"), "{}", harness.toast());
    let footer = harness.draw();
    let footer = footer.lines().last().unwrap_or_default().to_owned();
    harness.ui.toast = None;
    let footer = if footer.contains("R resume") { footer } else { harness.draw() };
    assert!(!footer.lines().last().unwrap().contains("P pause"), "{footer}");
}

#[test]
fn acknowledgment_takes_a_note() {
    let mut harness = Harness::mixed();
    harness.key("2");
    assert_eq!(harness.key("a"), []);
    let Some(FleetSheet::Note { input, .. }) = harness.ui.sheet_mut() else { panic!("no note") };
    *input = Input::new("  waits for the table ".into());
    let effects = harness.key("enter");
    let [Effect::Own(FleetEffect::Acknowledge { fingerprint, note })] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!((fingerprint.as_ref(), note.as_deref()), ("f1", Some("waits for the table")));
    harness.inbox.acknowledge("f1", "mira", Some("waits for the table"), NOW);
    assert!(harness.draw().contains("waits for the table"));
    let effects = harness.key("a");
    let [Effect::Own(FleetEffect::Acknowledge { note: None, .. })] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(harness.toast().contains("withdrawn"));
}

#[test]
fn filter_by_a_group_name_keeps_or_drops_the_group() {
    let mut all = vec![pipeline("not_ready", "error", Some("f1"))];
    all[0]["reason"]["message"] = "the table is not ready".into();
    all.extend([pipeline("b1", "ready", None), pipeline("c1", "paused", None)]);
    let mut harness = Harness::new(all);
    let kept = |harness: &Harness| harness.with_model(|model| model.rows.kept);
    harness.ui.list_mut(FleetPane::Pipelines).filter = Filter::new("!ready");
    assert_eq!(kept(&harness), 2, "a word in a message is not the group");
    harness.ui.list_mut(FleetPane::Pipelines).filter = Filter::new("ready");
    assert_eq!(kept(&harness), 1);
}

#[test]
fn opening_leads_to_the_run_the_error_and_the_replay() {
    let mut harness = Harness::mixed();
    harness.select(id("b1"));
    assert_eq!(harness.key("enter"), [Effect::Own(FleetEffect::OpenRun("b1".into()))]);
    harness.key("2");
    harness.key("enter");
    assert!(matches!(harness.ui.sheet(), Some(FleetSheet::Error { .. })));
    harness.key("q");
    harness.key("1");
    assert_eq!(harness.key("h"), [Effect::Own(FleetEffect::FetchRuns("b1".into()))]);
    let Some(FleetSheet::Runs { rows, .. }) = harness.ui.sheet_mut() else { panic!() };
    let row = |number| RunRow { number, outcome: "succeeded".into(), ..RunRow::default() };
    *rows = RunRows::Loaded(vec![row(3), row(2)]);
    assert!(harness.draw().contains("OUTCOME"));
    harness.key("j");
    assert_eq!(harness.key("enter"), [Effect::Own(FleetEffect::FetchLog("b1".into(), 2))]);
    let mut polled = Harness { tasks: false, ..Harness::mixed() };
    polled.select(id("b1"));
    assert_eq!(polled.key("h"), []);
    assert!(polled.toast().contains("no past runs"));
}

#[test]
fn pending_action_is_asked_about_before_quitting() {
    let mut harness = Harness::mixed();
    assert_eq!(harness.key("q"), [Effect::Quit]);
    harness.acting = vec![(PipelineAction::Resume, "a1".into(), NOW)];
    assert_eq!(harness.key("q"), []);
    assert!(matches!(harness.ui.overlays.last(), Some(FleetOverlay::Quit)));
    harness.key("n");
    assert!(harness.ui.overlays.is_empty());
    harness.key("q");
    assert!(harness.key("y").contains(&Effect::Quit));
}

#[test]
fn next_trouble_walks_the_parked_pipelines() {
    let mut harness = Harness::mixed();
    let mut seen = Vec::new();
    for _ in 0..4 {
        harness.key("e");
        let Some(RowKey::Id(id)) = harness.ui.list(FleetPane::Pipelines).chosen.clone() else { panic!() };
        seen.push(id.to_string());
    }
    assert_eq!(seen, ["a1", "a3", "a2", "a1"]);
    harness.key("E");
    assert_eq!(harness.ui.list(FleetPane::Pipelines).chosen, Some(id("a2")));
}

#[test]
fn four_pipelines_stand_on_the_smallest_full_screen() {
    let all = (0..6).map(|number| pipeline(&format!("acct_{number}"), "error", Some("f1"))).collect();
    let mut harness = Harness { size: (40, 12), ..Harness::new(all) };
    let shown = harness.draw();
    assert!(shown.matches("acct_").count() >= 4, "{shown}");
}

#[test]
fn every_action_is_accepted_in_every_pane() {
    use strum::VariantArray as _;
    for armed in [Armed::Always, Armed::Locked] {
        for &pane in FleetPane::VARIANTS {
            let mut harness = Harness { armed, ..Harness::mixed() };
            for binding in FLEET_ACTIONS {
                harness.ui.overlays.clear();
                harness.act(own(FleetAction::Go(pane)));
                harness.act(binding.action);
                harness.act(Action::Move(Move::Down));
                harness.act(Action::Move(Move::PageUp));
                harness.act(Action::Open);
            }
        }
    }
}
