//! Confirmation of an action on pipelines: its targets, and the reasons against it.

use crate::views::fleet::rows::FleetRow;
use crate::views::fleet::{Armed, Confirm, FleetHits, FleetModel, FleetPane, FleetSheet, FleetUi, RowKey, fits};
use std::sync::Arc;
use synctop_core::fleet::PipelineStatus;
use synctop_core::fleet::bulk::{Bulk, BulkStep, MAX_UNCONFIRMED};
use synctop_core::fleet::inbox::InboxItem;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::protocol::clean::typed;
use tui_input::Input;

/// Notice if the terminal is too small for a confirmation.
pub(super) const TOO_SMALL: &str = "too small to show the action: enlarge the terminal";

/// Opens the confirmation of an action, or shows why it is not possible.
pub(super) fn confirm_action(
    ui: &mut FleetUi,
    model: &FleetModel,
    hits: &FleetHits,
    action: PipelineAction,
    targets: Vec<Arc<str>>,
) {
    match model.armed {
        Armed::Never => return ui.say("this context is read-only (read_only in its configuration)"),
        Armed::Locked => {
            return ui.say(format!("read-only: w enables actions for ten minutes, then {} works", action.as_str()));
        }
        Armed::For(_) | Armed::Always => {}
    }
    if !fits(hits.size) {
        return ui.say(TOO_SMALL);
    }
    if targets.is_empty() {
        let gone =
            ui.focus == FleetPane::Pipelines && matches!(ui.list(FleetPane::Pipelines).chosen, Some(RowKey::Id(_)));
        return ui.say(if gone {
            "the selected pipeline is not in the list any more: select again"
        } else {
            "select a pipeline first, or mark some with space"
        });
    }
    let known = |id: &Arc<str>| model.fleet.pipelines.get(id);
    let (targets, left_out): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|id| known(id).is_none_or(|it| action.is_possible(&it.pipeline, model.tasks)));
    match (targets.as_slice(), left_out.as_slice()) {
        ([], [only]) => {
            let parked = known(only).is_some_and(|it| it.pipeline.status == PipelineStatus::Error);
            let word = if parked { "parked" } else { "paused" };
            return ui.say(format!("{only} is {word}: R resumes it"));
        }
        ([], _) => return ui.say("all of them are parked or paused: R resumes them"),
        _ => {}
    }
    if targets.len() > 1 && model.bulk.is_some_and(|bulk| !bulk.is_finished()) {
        return ui.say("a bulk action is running: 4 shows it, X stops it");
    }
    let open = |step: &BulkStep| matches!(step, BulkStep::Waiting | BulkStep::Sent(_));
    let mut in_bulk = model.bulk.iter().flat_map(|bulk| &bulk.items).filter(|item| open(&item.step));
    if let Some(item) = in_bulk.find(|item| targets.contains(&item.id)) {
        return ui.say(format!("{}: part of the running bulk action: 4 shows it, X stops it", item.id));
    }
    if let Some((_, id, _)) = model.acting.iter().find(|(_, id, _)| targets.contains(id)) {
        return ui.say(format!("{id}: the last action is still being verified"));
    }
    let fault = |id: &Arc<str>| known(id)?.pipeline.faults.first().map(|fault| Arc::clone(&fault.fingerprint));
    let targets: Vec<_> = targets.into_iter().map(|id| (Arc::clone(&id), fault(&id))).collect();
    // Lists the names in the order in which the action is sent.
    let ordered = Bulk::new(action, targets.clone());
    let names: Vec<_> = ordered.items.iter().map(|item| typed(&item.id)).collect();
    let word = match targets.as_slice() {
        [(only, _)] if action == PipelineAction::Delete => Some(only.to_string()),
        all if all.len() > MAX_UNCONFIRMED || (action == PipelineAction::Delete && all.len() > 1) => {
            Some(model.name.to_owned())
        }
        _ => None,
    };
    let command = format!("synctop {} {} {}", action.command(), names.join(" "), model.argument);
    ui.open(FleetSheet::Confirm(Box::new(Confirm {
        action,
        targets,
        left_out,
        word,
        input: Input::default(),
        why: Input::default(),
        typing_why: false,
        command,
        top: 0,
    })));
}

/// Returns the pipelines that an action applies to: those of the open overlay, otherwise the marked
/// ones, otherwise the selected one or those of the selected group.
pub(super) fn targets(ui: &FleetUi, model: &FleetModel) -> Vec<Arc<str>> {
    let open = |item: &InboxItem| {
        item.hits.iter().filter(|(_, hit)| hit.open()).map(|(id, _)| Arc::clone(id)).collect::<Vec<_>>()
    };
    // The open overlay is the target, not the row behind it.
    match ui.sheet() {
        Some(FleetSheet::Pipeline { .. } | FleetSheet::Runs { .. } | FleetSheet::ActionRecord { .. }) => {
            return model.subject(ui).into_iter().collect();
        }
        Some(FleetSheet::Error { fingerprint, .. }) => {
            return model.inbox.items.get(fingerprint).map_or_else(Vec::new, |item| open(item));
        }
        _ => {}
    }
    if !ui.own.marked.is_empty() {
        return ui.own.marked.iter().cloned().collect();
    }
    match ui.focus {
        // The pipelines with the selected error.
        FleetPane::Errors => model.chosen_error(ui).map_or_else(Vec::new, |item| open(item)),
        FleetPane::Actions => model.subject(ui).into_iter().collect(),
        FleetPane::Bulk => Vec::new(),
        FleetPane::Pipelines => match (model.chosen_row(ui), &ui.list(FleetPane::Pipelines).chosen) {
            // The dialog lists the pipelines of the group: those that the filter keeps.
            (Some(FleetRow::Head(group)), _) => model.of_group(group),
            // A selected pipeline that is gone or hidden by the filter is not replaced by another
            // one.
            (Some(row), Some(RowKey::Id(id))) => {
                let shown = row.pipeline().map(|it| Arc::clone(&it.pipeline.id));
                shown.filter(|shown| shown == id).into_iter().collect()
            }
            (Some(row), None) => row.pipeline().map(|it| Arc::clone(&it.pipeline.id)).into_iter().collect(),
            (Some(_), Some(RowKey::Head(_))) | (None, _) => Vec::new(),
        },
    }
}
