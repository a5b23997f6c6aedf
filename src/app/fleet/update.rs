//! Reactions of the fleet screen to its actions.

use crate::app::effect::Effect;
use crate::app::fleet::confirm::{TOO_SMALL, confirm_action, targets};
use crate::app::update::{Behavior, Effects, focus};
use crate::views::fleet::action::FleetAction;
use crate::views::fleet::rows::FleetRow;
use crate::views::fleet::state::ChecklistStep;
use crate::views::fleet::{
    Confirm, FleetHits, FleetModel, FleetOverlay, FleetPane, FleetSheet, FleetTypes, FleetUi, NodeRows, RowKey,
    RunRows, fits,
};
use crate::views::ui::ListModel as _;
use std::sync::Arc;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::fleet::{PipelineGroup, Watched};
use synctop_core::format::plural;
use tui_input::Input;

/// Notice about a closed confirmation.
const UNCHANGED: &str = "canceled: no change";

/// Effect of the fleet screen alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetEffect {
    OpenRun(Arc<str>),
    FetchRuns(Arc<str>),
    FetchNodes,
    /// Fetches the log of a past run and replays it.
    FetchLog(Arc<str>, u64),
    /// Switches to another context.
    Connect(String),
    /// Enables actions, or disables them.
    Arm,
    Perform(ConfirmedAction),
    StopBulk,
    Acknowledge {
        fingerprint: Arc<str>,
        note: Option<String>,
    },
    Refresh,
    /// Fixes the simulated cause of these pipelines, in the demo.
    FixCause(Vec<Arc<str>>),
}

/// Action that a person has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmedAction {
    pub action: PipelineAction,
    /// Pipelines, with the fingerprint of the error of each.
    pub targets: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Reason for the action log.
    pub why: Option<String>,
}

fn own(effect: FleetEffect) -> Effects<FleetTypes> {
    vec![Effect::Own(effect)]
}

impl Behavior for FleetTypes {
    type Effect = FleetEffect;

    fn own(ui: &mut FleetUi, model: &FleetModel<'_>, hits: &FleetHits, action: FleetAction) -> Effects<Self> {
        // The open overlay is the target, not the row behind it.
        let is_detail = |overlay: &FleetOverlay| {
            use FleetSheet::{ActionRecord, Error, Pipeline};
            matches!(overlay, FleetOverlay::Sheet(Pipeline { .. } | Error { .. } | ActionRecord { .. }))
        };
        if ui.overlays.last().is_some_and(|overlay| !is_detail(overlay)) {
            ui.say("Esc closes this first");
            return Vec::new();
        }
        match action {
            FleetAction::Go(pane) => focus(ui, pane),
            FleetAction::Describe => match model.subject(ui) {
                Some(id) => ui.open(FleetSheet::Pipeline { id, top: 0 }),
                None => return Self::open(ui, model, hits),
            },
            FleetAction::Runs => match model.subject(ui) {
                Some(_) if !model.tasks => ui.say("this service keeps no past runs"),
                Some(id) => {
                    ui.open(FleetSheet::Runs { id: Arc::clone(&id), rows: RunRows::Loading, chosen: 0 });
                    return own(FleetEffect::FetchRuns(id));
                }
                None => ui.say("select a pipeline first"),
            },
            FleetAction::Nodes => {
                ui.open(FleetSheet::Nodes { rows: NodeRows::Loading, top: 0 });
                return own(FleetEffect::FetchNodes);
            }
            FleetAction::Mark => mark_chosen(ui, model),
            FleetAction::MarkAll => mark_all(ui, model),
            FleetAction::Arm => return own(FleetEffect::Arm),
            FleetAction::Do(action) => {
                let targets = targets(ui, model);
                confirm_action(ui, model, hits, action, targets);
            }
            FleetAction::Stop if model.bulk.is_some_and(|bulk| !bulk.is_finished()) => {
                return own(FleetEffect::StopBulk);
            }
            FleetAction::Stop => ui.say("no bulk action is running"),
            FleetAction::Acknowledge => return acknowledge(ui, model),
            FleetAction::FixCause => return fix_cause(ui, model),
            FleetAction::Closed => {
                ui.own.closed = !ui.own.closed;
                ui.say(if ui.own.closed { "resolved errors are shown too" } else { "only open errors are shown" });
            }
            FleetAction::Refresh => {
                ui.say("reading the list");
                return own(FleetEffect::Refresh);
            }
            FleetAction::Contexts if model.is_demo => {
                ui.say("the demo has no contexts: quit, then synctop connect NAME opens one of yours");
            }
            FleetAction::Contexts if model.contexts.is_empty() => {
                ui.say("no contexts yet: synctop config init creates a configuration");
            }
            FleetAction::Contexts => ui.open(FleetSheet::Contexts { names: model.contexts.to_vec(), chosen: 0 }),
            FleetAction::NextTrouble | FleetAction::PreviousTrouble => {
                step_trouble(ui, model, action == FleetAction::NextTrouble);
            }
        }
        Vec::new()
    }

    fn open(ui: &mut FleetUi, model: &FleetModel<'_>, hits: &FleetHits) -> Effects<Self> {
        if ui.sheet().is_some() {
            return open_in_sheet(ui, hits);
        }
        match ui.focus {
            FleetPane::Pipelines => {
                if let Some(it) = model.chosen_pipeline(ui) {
                    if !it.pipeline.faults.is_empty() {
                        ui.own.tick(ChecklistStep::Find);
                    }
                    return own(FleetEffect::OpenRun(Arc::clone(&it.pipeline.id)));
                }
            }
            FleetPane::Errors => {
                if let Some(item) = model.chosen_error(ui) {
                    ui.open(FleetSheet::Error { fingerprint: Arc::clone(&item.fingerprint), top: 0 });
                }
            }
            FleetPane::Actions => {
                if let Some(record) = model.chosen_record(ui) {
                    ui.open(FleetSheet::ActionRecord { seq: record.seq, top: 0 });
                }
            }
            FleetPane::Bulk => {
                let place = model.place(FleetPane::Bulk, ui.list(FleetPane::Bulk).chosen.as_ref());
                if let Some(RowKey::Id(id)) = model.key(FleetPane::Bulk, place) {
                    ui.open(FleetSheet::Pipeline { id, top: 0 });
                }
            }
        }
        Vec::new()
    }

    fn copy(ui: &FleetUi, model: &FleetModel<'_>) -> Option<(String, &'static str)> {
        match (ui.sheet(), ui.focus) {
            (Some(FleetSheet::Confirm(confirm)), _) => return Some((confirm.whole(), "the command")),
            (Some(FleetSheet::Error { fingerprint, .. }), _) => {
                let item = model.inbox.items.get(fingerprint)?;
                return Some((item.message.to_string(), "the error"));
            }
            (_, FleetPane::Errors) => return Some((model.chosen_error(ui)?.message.to_string(), "the error")),
            (_, FleetPane::Actions) => {
                return Some((serde_json::to_string(model.chosen_record(ui)?).ok()?, "the action"));
            }
            _ => {}
        }
        let known = model.fleet.pipelines.get(&model.subject(ui)?)?;
        let it = &known.pipeline;
        let fault = it.faults.first().map(|fault| format!("  {}: {}", fault.kind(), fault.message));
        let group = known.group(model.now).as_str().to_lowercase();
        Some((format!("{}  {group}, {}{}", it.id, it.status.as_str(), fault.unwrap_or_default()), "the pipeline"))
    }

    fn back(ui: &mut FleetUi, _: &FleetModel<'_>) -> Effects<Self> {
        if !ui.own.marked.is_empty() {
            ui.own.marked.clear();
        } else if ui.own.checklist.is_some() && ui.focus == FleetPane::Pipelines {
            ui.own.checklist = None;
        } else {
            ui.focus = FleetPane::Pipelines;
        }
        Vec::new()
    }

    fn quit(ui: &mut FleetUi, model: &FleetModel<'_>) -> Effects<Self> {
        if model.has_pending_actions() {
            ui.overlays.push(FleetOverlay::Quit);
            return Vec::new();
        }
        vec![Effect::Quit]
    }

    fn confirm(ui: &mut FleetUi, _: &FleetModel<'_>, hits: &FleetHits, dialog: FleetOverlay) -> Effects<Self> {
        match dialog {
            FleetOverlay::Quit => vec![Effect::Own(FleetEffect::StopBulk), Effect::Quit],
            // A confirmation that is not visible cannot be accepted.
            FleetOverlay::Sheet(FleetSheet::Confirm(_)) if !fits(hits.size) => {
                ui.overlays.push(dialog);
                ui.say(TOO_SMALL);
                Vec::new()
            }
            FleetOverlay::Sheet(FleetSheet::Confirm(confirm)) => perform(*confirm),
            _ => Vec::new(),
        }
    }

    fn cancelled(ui: &mut FleetUi, dialog: &FleetOverlay) {
        if matches!(dialog, FleetOverlay::Sheet(FleetSheet::Confirm(_))) {
            ui.say(UNCHANGED);
        }
    }

    fn next_field(ui: &mut FleetUi) {
        if let Some(FleetSheet::Confirm(confirm)) = ui.sheet_mut() {
            confirm.typing_why = !confirm.typing_why;
        }
    }

    fn back_in_sheet(ui: &mut FleetUi) -> bool {
        match ui.sheet_mut() {
            // Esc leaves the reason first.
            Some(FleetSheet::Confirm(confirm)) if confirm.typing_why => {
                confirm.typing_why = false;
                true
            }
            Some(FleetSheet::Confirm(_)) => {
                ui.say(UNCHANGED);
                false
            }
            _ => false,
        }
    }

    fn is_reachable(model: &FleetModel<'_>, pane: FleetPane) -> bool {
        pane != FleetPane::Bulk || model.bulk.is_some()
    }
}

/// Accepts the open sheet: a run, a context, a confirmation, a note.
fn open_in_sheet(ui: &mut FleetUi, hits: &FleetHits) -> Effects<FleetTypes> {
    match ui.sheet_mut() {
        Some(FleetSheet::Pipeline { id, .. }) => return own(FleetEffect::OpenRun(Arc::clone(id))),
        Some(FleetSheet::Runs { id, rows: RunRows::Loaded(rows), chosen }) => {
            if let Some(row) = rows.get(*chosen) {
                let effect = FleetEffect::FetchLog(Arc::clone(id), row.number);
                ui.say("fetching the log of the run ...");
                return own(effect);
            }
        }
        Some(FleetSheet::Contexts { names, chosen }) => {
            let name = names.get(*chosen).map(|(name, _)| name.clone());
            ui.overlays.pop();
            if let Some(name) = name {
                return own(FleetEffect::Connect(name));
            }
        }
        Some(FleetSheet::Confirm(confirm)) if confirm.typing_why => confirm.typing_why = false,
        Some(FleetSheet::Confirm(confirm)) => {
            // Enter confirms a typed word only: alone it is too easily pressed by mistake.
            let Some(word) = confirm.word.clone() else { return Vec::new() };
            if confirm.input.value() != word {
                confirm.input = Input::default();
                ui.say(format!("that is not {word}: no change"));
            } else if !fits(hits.size) {
                ui.say(TOO_SMALL);
            } else if let Some(FleetOverlay::Sheet(FleetSheet::Confirm(confirm))) = ui.overlays.pop() {
                return perform(*confirm);
            }
        }
        Some(FleetSheet::Note { fingerprint, input }) => {
            let note = Some(input.value().trim().to_owned()).filter(|note| !note.is_empty());
            let has_note = note.is_some();
            let effect = FleetEffect::Acknowledge { fingerprint: Arc::clone(fingerprint), note };
            if has_note {
                ui.own.tick(ChecklistStep::Note);
            }
            ui.overlays.pop();
            ui.say("acknowledged; it closes when its pipelines succeed");
            return own(effect);
        }
        _ => {}
    }
    Vec::new()
}

fn perform(confirm: Confirm) -> Effects<FleetTypes> {
    let why = Some(confirm.why.value().trim().to_owned()).filter(|why| !why.is_empty());
    own(FleetEffect::Perform(ConfirmedAction { action: confirm.action, targets: confirm.targets, why }))
}

/// Marks or unmarks the selected pipeline, or all of the selected group.
fn mark_chosen(ui: &mut FleetUi, model: &FleetModel) {
    if ui.focus != FleetPane::Pipelines {
        return ui.say("only pipelines are marked: 1 goes there");
    }
    let (ids, is_head) = match model.chosen_row(ui) {
        Some(FleetRow::Head(group)) => (model.of_group(group), true),
        Some(FleetRow::Pipeline(it, _) | FleetRow::Note(it, _)) => (vec![Arc::clone(&it.pipeline.id)], false),
        None => (Vec::new(), false),
    };
    let all = ids.iter().all(|id| ui.own.marked.contains(id));
    for id in ids {
        if all {
            ui.own.marked.remove(&id);
        } else {
            ui.own.marked.insert(id);
        }
    }
    // Selects the next pipeline, as file managers do; a selected group stays selected.
    if !is_head {
        let place = model.place(FleetPane::Pipelines, ui.list(FleetPane::Pipelines).chosen.as_ref());
        let count = model.len(FleetPane::Pipelines);
        let next = (place + 1..count).find_map(|index| model.key(FleetPane::Pipelines, index));
        if let Some(next) = next {
            ui.list_mut(FleetPane::Pipelines).chosen = Some(next);
        }
    }
}

/// Marks all visible pipelines, or clears the marks if all are marked.
fn mark_all(ui: &mut FleetUi, model: &FleetModel) {
    // Pipelines of a folded group are not marked.
    let shown = model.rows.rows.iter().filter_map(|row| match row {
        FleetRow::Pipeline(it, _) => Some(Arc::clone(&it.pipeline.id)),
        _ => None,
    });
    let ids: Vec<_> = shown.collect();
    if ids.iter().all(|id| ui.own.marked.contains(id)) {
        ui.own.marked.clear();
    } else {
        ui.own.marked.extend(ids);
    }
}

/// Fixes the simulated cause of the selected error in all pipelines that have it.
fn fix_cause(ui: &mut FleetUi, model: &FleetModel) -> Effects<FleetTypes> {
    if !model.is_demo {
        ui.say("only the demo has simulated causes");
        return Vec::new();
    }
    let Some(fingerprint) = subject_error(ui, model) else {
        ui.say("select a pipeline with an error first: e goes there");
        return Vec::new();
    };
    let has_error = |it: &&Arc<Watched>| it.pipeline.faults.iter().any(|fault| fault.fingerprint == fingerprint);
    let ids: Vec<_> = model.fleet.pipelines.values().filter(has_error).map(|it| Arc::clone(&it.pipeline.id)).collect();
    if ids.is_empty() {
        ui.say("no pipeline has this error any more");
        return Vec::new();
    }
    ui.own.tick(ChecklistStep::Fix);
    ui.say(format!("cause fixed for {}: the next run succeeds", plural(ids.len(), "pipeline")));
    own(FleetEffect::FixCause(ids))
}

/// Returns the fingerprint of the error that is open or selected, or of the first error of the
/// selected pipeline.
fn subject_error(ui: &FleetUi, model: &FleetModel) -> Option<Arc<str>> {
    match ui.sheet() {
        Some(FleetSheet::Error { fingerprint, .. }) => Some(Arc::clone(fingerprint)),
        None if ui.focus == FleetPane::Errors => model.chosen_error(ui).map(|item| Arc::clone(&item.fingerprint)),
        _ => {
            let known = model.fleet.pipelines.get(&model.subject(ui)?)?;
            known.pipeline.faults.first().map(|fault| Arc::clone(&fault.fingerprint))
        }
    }
}

/// Opens the note of an acknowledgment for the selected error, or withdraws the acknowledgment.
fn acknowledge(ui: &mut FleetUi, model: &FleetModel) -> Effects<FleetTypes> {
    let in_inbox = ui.overlays.is_empty() && ui.focus == FleetPane::Errors;
    let Some(fingerprint) = subject_error(ui, model) else {
        ui.say("select an error first: 2 goes there");
        return Vec::new();
    };
    if in_inbox {
        // The item moves to another row; the selection follows it.
        ui.list_mut(FleetPane::Errors).chosen = Some(RowKey::Id(Arc::clone(&fingerprint)));
    }
    if model.inbox.items.get(&fingerprint).is_some_and(|item| item.acked.is_some()) {
        ui.say("acknowledgment withdrawn");
        return own(FleetEffect::Acknowledge { fingerprint, note: None });
    }
    ui.open(FleetSheet::Note { fingerprint, input: Input::default() });
    Vec::new()
}

/// Selects the next or previous pipeline that is parked, failing or stale.
fn step_trouble(ui: &mut FleetUi, model: &FleetModel, forward: bool) {
    let pane = FleetPane::Pipelines;
    let is_trouble = |row: &FleetRow| {
        use PipelineGroup::{Failing, Parked, Stale};
        matches!(row, FleetRow::Pipeline(_, Parked | Failing | Stale))
    };
    let rows = &model.rows.rows;
    let trouble: Vec<usize> = (0..rows.len()).filter(|at| rows.get(*at).is_some_and(is_trouble)).collect();
    let at = model.place(pane, ui.list(pane).chosen.as_ref());
    let next = match (ui.list(pane).chosen.is_some(), forward) {
        (false, _) => trouble.first(),
        (true, true) => trouble.iter().find(|place| **place > at).or(trouble.first()),
        (true, false) => trouble.iter().rev().find(|place| **place < at).or(trouble.last()),
    };
    let Some(key) = next.and_then(|place| model.key(pane, *place)) else {
        return ui.say("no pipeline is in trouble");
    };
    ui.focus = pane;
    ui.own.tick(ChecklistStep::Find);
    if let (Some(FleetSheet::Pipeline { id, top }), RowKey::Id(next)) = (ui.sheet_mut(), &key) {
        (*id, *top) = (Arc::clone(next), 0);
    }
    ui.list_mut(pane).chosen = Some(key);
}
