//! Actions on pipelines from the screen: request, confirm, send, verify.

use crate::app::fleet::app::{BackgroundResult, FleetApp, LogError};
use crate::app::fleet::input::TOO_SMALL;
use crate::net::client::actions::{Actor, act_on_many};
use crate::net::client::http::ClientError;
use crate::net::client::{Client, ServiceRequest, follow};
use crate::util::sys::now;
use crate::views::fleet::rows::{self, FleetRow};
use crate::views::fleet::{Armed, Confirm, FleetOverlay, FleetPane, FleetScreen, RowKey, RunRow, RunRows, fits, inbox};
use serde::Deserialize;
use std::sync::Arc;
use synctop_core::fleet::PipelineStatus;
use synctop_core::fleet::bulk::{Bulk, BulkStep, MAX_UNCONFIRMED};
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::fleet::wire::{Page, RunTotals, TaskBody, TaskState};
use synctop_core::protocol::clean::typed;
use synctop_core::protocol::time;
use synctop_core::reduce::Outcome;
use tokio::sync::watch;
use tui_input::Input;

/// Maximum number of past runs in the list (query parameter).
const MAX_RUNS: &str = "50";

impl FleetApp {
    /// Opens the confirmation of an action, or shows why it is not possible.
    pub(crate) fn confirm_action(&mut self, action: PipelineAction, targets: Vec<Arc<str>>) {
        match self.armed() {
            Armed::Never => return self.show_toast("this context is read-only (read_only in its configuration)"),
            Armed::Locked => {
                return self.show_toast(format!(
                    "read-only: w enables actions for ten minutes, then {} works",
                    action.as_str()
                ));
            }
            Armed::For(_) | Armed::Always => {}
        }
        if !fits(self.size) {
            return self.show_toast(TOO_SMALL);
        }
        if targets.is_empty() {
            let gone = self.ui.focus == FleetPane::Pipelines
                && matches!(self.ui.list(FleetPane::Pipelines).chosen, Some(RowKey::Id(_)));
            return self.show_toast(if gone {
                "the selected pipeline is not in the list any more: select again"
            } else {
                "choose a pipeline first, or mark some with space"
            });
        }
        let tasks = self.shown.capabilities.is_some_and(|capabilities| capabilities.tasks);
        let known = |id: &Arc<str>| self.shown.fleet.pipelines.get(id);
        let (targets, left_out): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|id| known(id).is_none_or(|it| action.is_possible(&it.pipeline, tasks)));
        match (targets.as_slice(), left_out.as_slice()) {
            ([], [only]) => {
                let parked = known(only).is_some_and(|it| it.pipeline.status == PipelineStatus::Error);
                let word = if parked { "parked" } else { "paused" };
                return self.show_toast(format!("{only} is {word}: R resumes it"));
            }
            ([], _) => return self.show_toast("all of them are parked or paused: R resumes them"),
            _ => {}
        }
        if targets.len() > 1 && self.bulk_shown.as_ref().is_some_and(|bulk| !bulk.is_finished()) {
            return self.show_toast("a bulk action is running: 4 shows it, X stops it");
        }
        let open = |step: &BulkStep| matches!(step, BulkStep::Waiting | BulkStep::Sent(_));
        let in_bulk = self.bulk_shown.iter().flat_map(|bulk| &bulk.items).filter(|item| open(&item.step));
        if let Some(item) = in_bulk.into_iter().find(|item| targets.contains(&item.id)) {
            return self.show_toast(format!("{}: part of the running bulk action: 4 shows it, X stops it", item.id));
        }
        if let Some((_, id, _)) = self.acting.iter().find(|(_, id, _)| targets.contains(id)) {
            return self.show_toast(format!("{id}: the last action is still being verified"));
        }
        let place = &self.options.watcher.client.place;
        let fault = |id: &Arc<str>| {
            let known = self.shown.fleet.pipelines.get(id)?;
            known.pipeline.faults.first().map(|fault| Arc::clone(&fault.fingerprint))
        };
        let targets: Vec<_> = targets.into_iter().map(|id| (Arc::clone(&id), fault(&id))).collect();
        // Lists the names in the order in which the action is sent.
        let ordered = Bulk::new(action, targets.clone());
        let names: Vec<_> = ordered.items.iter().map(|item| typed(&item.id)).collect();
        let word = match targets.as_slice() {
            [(only, _)] if action == PipelineAction::Delete => Some(only.to_string()),
            all if all.len() > MAX_UNCONFIRMED || (action == PipelineAction::Delete && all.len() > 1) => {
                Some(place.name())
            }
            _ => None,
        };
        let command = format!("synctop {} {} {}", action.command(), names.join(" "), place.argument());
        let confirm = Confirm {
            action,
            targets,
            left_out,
            word,
            input: Input::default(),
            why: Input::default(),
            typing_why: false,
            command,
        };
        self.ui.overlays.push(FleetOverlay::Confirm(Box::new(confirm)));
    }

    /// Performs the confirmed action.
    pub(crate) fn perform(&mut self, confirm: Confirm) {
        // Actions may have been disabled while the confirmation was open.
        if !self.armed().armed() {
            return self.show_toast("actions are disabled again: nothing was done");
        }
        let actor = Actor {
            client: Arc::clone(&self.options.watcher.client),
            memory: Arc::clone(&self.options.watcher.memory),
            watcher: Some(Arc::clone(&self.options.watcher)),
            who: self.options.who.clone(),
            patience: self.options.patience,
        };
        let action = confirm.action;
        let why = Some(confirm.why.value().trim().to_owned()).filter(|why| !why.is_empty());
        if let [(id, _)] = confirm.targets.as_slice() {
            let (id, send) = (Arc::clone(id), self.send.clone());
            self.acting.push((action, Arc::clone(&id), now()));
            self.show_toast(format!("{} {id}: sent; verifying the result", action.as_str()));
            self.options.background.spawn(async move {
                let verdict = actor.act(action, &id, why.as_deref(), |_| {}).await;
                // If the user has quit, the result is only in the action log.
                let _ = send.send(BackgroundResult::Result(action, id, verdict)).await;
            });
            return;
        }
        let bulk = Bulk::new(action, confirm.targets);
        let (seen, shown) = watch::channel(bulk.clone());
        let (stop, stopped) = watch::channel(false);
        self.options.background.spawn(act_on_many(actor, bulk.clone(), why, seen, stopped, self.armed_until));
        self.bulk = Some((shown, stop));
        self.bulk_shown = Some(bulk);
        self.ui.marked.clear();
    }

    /// Stops the unsent part of a bulk action because actions are no longer enabled. Returns the
    /// end of the notice.
    pub(crate) fn stop_unsent(&mut self) -> &'static str {
        match (&self.bulk, &self.bulk_shown) {
            (Some((_, stop)), Some(bulk)) if !bulk.is_finished() => {
                stop.send_replace(true);
                "; the rest of the bulk action is skipped"
            }
            _ => "",
        }
    }

    /// Stops the unsent part of the bulk action.
    pub(crate) fn stop_bulk(&mut self) {
        match (&self.bulk, &self.bulk_shown) {
            (Some((_, stop)), Some(bulk)) if !bulk.is_finished() => {
                stop.send_replace(true);
                self.show_toast("stopped: unsent actions are skipped; sent ones are still verified");
            }
            _ => self.show_toast("no bulk action is running"),
        }
    }

    /// Returns the pipelines that an action applies to: those of the open overlay, otherwise the
    /// marked ones, otherwise the selected one.
    pub(crate) fn targets(&self, screen: &FleetScreen) -> Vec<Arc<str>> {
        let open = |item: &synctop_core::fleet::inbox::InboxItem| {
            item.hits.iter().filter(|(_, hit)| hit.open()).map(|(id, _)| Arc::clone(id)).collect::<Vec<_>>()
        };
        // The open overlay is the target, not the row behind it.
        match self.ui.overlays.last() {
            Some(FleetOverlay::Pipeline { id, .. } | FleetOverlay::Runs { id, .. }) => return vec![Arc::clone(id)],
            Some(FleetOverlay::Error { fingerprint, .. }) => {
                return screen.inbox.items.get(fingerprint).map_or_else(Vec::new, |item| open(item));
            }
            Some(FleetOverlay::ActionRecord { .. }) => return self.chosen_pipeline().into_iter().collect(),
            _ => {}
        }
        if !self.ui.marked.is_empty() {
            return self.ui.marked.iter().cloned().collect();
        }
        let shown = |screen| rows::chosen(screen).and_then(FleetRow::pipeline).map(|it| Arc::clone(&it.pipeline.id));
        match (self.ui.focus, self.ui.list(FleetPane::Pipelines).chosen.as_ref()) {
            // The pipelines with the selected error.
            (FleetPane::Errors, _) => inbox::chosen(screen).map_or_else(Vec::new, |item| open(item)),
            (FleetPane::Actions, _) => self.chosen_pipeline().into_iter().collect(),
            // The pipelines of a group have to be marked first, so that the targets are visible.
            (FleetPane::Bulk, _) | (_, Some(RowKey::Head(_))) => Vec::new(),
            // A selected pipeline that is gone or hidden by the filter is not replaced by another
            // one.
            (FleetPane::Pipelines, Some(RowKey::Id(id))) => shown(screen).filter(|it| it == id).into_iter().collect(),
            (FleetPane::Pipelines, None) => shown(screen).into_iter().collect(),
        }
    }

    /// Fetches the past runs of a pipeline.
    pub(crate) fn fetch_runs(&mut self, id: Arc<str>) {
        if !self.shown.capabilities.is_some_and(|capabilities| capabilities.tasks) {
            return self.show_toast("this service keeps no past runs");
        }
        self.ui.overlays.push(FleetOverlay::Runs { id: Arc::clone(&id), rows: RunRows::Loading, chosen: 0 });
        let (client, send) = (Arc::clone(&self.options.watcher.client), self.send.clone());
        self.options.background.spawn(async move {
            let rows = match past_runs(&client, &id).await {
                Ok(rows) => RunRows::Loaded(rows),
                Err(error) => RunRows::Failed(error.to_string()),
            };
            let _ = send.send(BackgroundResult::Runs(id, rows)).await;
        });
    }

    /// Fetches the log of a past run for a replay.
    pub(crate) fn fetch_log(&mut self, id: Arc<str>, number: u64) {
        self.show_toast(format!("fetching the log of run {number} ..."));
        self.fetching = Some((Arc::clone(&id), number));
        let (client, send) = (Arc::clone(&self.options.watcher.client), self.send.clone());
        self.options.background.spawn(async move {
            let fetched = async {
                let mut file = tempfile::NamedTempFile::new().map_err(LogError::Temporary)?;
                let got = follow::saved(&client, &id, number, file.as_file_mut()).await;
                got.map_err(|error| LogError::Fetch { number, error })?;
                Ok(file)
            };
            let log = fetched.await;
            let _ = send.send(BackgroundResult::Log(id, number, log)).await;
        });
    }
}

/// Fetches the past runs of a pipeline as rows.
async fn past_runs(client: &Client, id: &str) -> Result<Vec<RunRow>, ClientError> {
    let ask =
        ServiceRequest { person: true, ..ServiceRequest::get(&["pipelines", id, "runs"]) }.with("limit", MAX_RUNS);
    let reply = client.ask(ask).await?;
    let page = Page::<TaskBody<RunTotals>>::deserialize(&reply)
        .map_err(|_| ClientError::Odd("its list of runs has no data".into()))?;
    let row = |run: TaskBody<RunTotals>| {
        let (number, totals) = (run.number?, run.result.unwrap_or_default());
        let state = run.status.as_deref().unwrap_or_default();
        let outcome = totals.outcome.as_deref().map(|it| format!(", {it}")).unwrap_or_default();
        let (from, to) = (run.started_at, run.ended_at);
        let took = from.zip(to).and_then(|(from, to)| u64::try_from(to - from).ok());
        let took = took.map(|ms| format!("  {}", synctop_core::format::duration(ms))).unwrap_or_default();
        let records = totals.records.and_then(|records| records.cumulative);
        let records = records.map(|it| format!("  {} records", synctop_core::format::count(it))).unwrap_or_default();
        let succeeded = state == TaskState::Succeeded.as_str();
        let why = run.message.filter(|_| !succeeded).map(|it| format!("  {it}")).unwrap_or_default();
        let at = from.map_or_else(|| "-".to_owned(), |at| time::stamp(at, "%Y-%m-%d %H:%M:%S"));
        let good = match state.parse() {
            Ok(TaskState::Succeeded) => Some(totals.outcome.as_deref() == Some(Outcome::Succeeded.as_str())),
            Ok(TaskState::Failed | TaskState::Canceled) => Some(false),
            _ => None,
        };
        Some(RunRow { number, text: format!("{number:>4}  {at}  {state}{outcome}{took}{records}{why}"), good })
    };
    Ok(page.data.into_iter().filter_map(row).collect())
}
