//! Effects of the fleet screen: actions on pipelines, past runs, other contexts.

use crate::app::fleet::screen::{ARMED, BackgroundResult, FleetScreen, LogError, WAITING_FOR_RESULT};
use crate::app::fleet::update::ConfirmedAction;
use crate::app::shell::Shell;
use crate::net::client::actions::{Actor, act_on_many};
use crate::net::client::http::ClientError;
use crate::net::client::{Client, ServiceRequest, follow};
use crate::util::sys::now;
use crate::views::fleet::state::ChecklistStep;
use crate::views::fleet::{Armed, NodeRows, RunRow, RunRows};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Instant;
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::PipelineAction;
use synctop_core::fleet::wire::{NodeBody, Page, RunTotals, TaskBody, TaskState};
use synctop_core::reduce::Outcome;
use tokio::sync::watch;

/// Maximum number of past runs in the list (query parameter).
const MAX_RUNS: &str = "50";

impl FleetScreen {
    /// Performs a confirmed action.
    pub(super) fn act(&mut self, confirmed: ConfirmedAction, shell: &mut Shell) {
        // Actions may have been disabled while the confirmation was open.
        if !self.armed().armed() {
            return shell.notice(&mut self.ui, "actions are disabled again: no change");
        }
        let ConfirmedAction { action, targets, why } = confirmed;
        let actor = Actor {
            client: Arc::clone(&self.options.watcher.client),
            memory: Arc::clone(&self.options.watcher.memory),
            watcher: Some(Arc::clone(&self.options.watcher)),
            who: self.options.who.clone(),
            patience: self.options.patience,
        };
        if let [(id, _)] = targets.as_slice() {
            let (id, send) = (Arc::clone(id), self.send.clone());
            self.acting.push((action, Arc::clone(&id), now()));
            shell.notice(&mut self.ui, format!("{} {id}: sent, verifying", action.as_str()));
            self.options.background.spawn(async move {
                let verdict = actor.act(action, &id, why.as_deref(), |_| {}).await;
                // If the user has quit, the result is only in the action log.
                let _ = send.send(BackgroundResult::Result(action, id, verdict)).await;
            });
            return;
        }
        if action == PipelineAction::Resume {
            self.ui.own.tick(ChecklistStep::Canary);
        }
        let bulk = Bulk::new(action, targets);
        let (seen, shown) = watch::channel(bulk.clone());
        let (stop, stopped) = watch::channel(false);
        self.options.background.spawn(act_on_many(actor, bulk.clone(), why, seen, stopped, self.armed_until));
        self.bulk = Some((shown, stop));
        self.bulk_shown = Some(bulk);
        self.ui.own.marked.clear();
    }

    /// Stops the unsent part of a running bulk action. Returns true if there is one.
    pub(super) fn stop_bulk(&mut self) -> bool {
        match (&self.bulk, &self.bulk_shown) {
            (Some((_, stop)), Some(bulk)) if !bulk.is_finished() => {
                stop.send_replace(true);
                true
            }
            _ => false,
        }
    }

    /// Enables actions for ten minutes, or disables them.
    pub(super) fn arm(&mut self, shell: &mut Shell) {
        let text = match self.armed() {
            Armed::Never => "this context is read-only (read_only in its configuration)".to_owned(),
            Armed::Locked => {
                self.armed_until = Some(Instant::now() + ARMED);
                let name = self.options.watcher.client.place.name();
                format!("actions enabled for ten minutes on {name}: each is still confirmed")
            }
            Armed::For(_) | Armed::Always => {
                (self.armed_until, self.options.write) = (None, false);
                format!("actions disabled{}", self.stop_unsent())
            }
        };
        shell.notice(&mut self.ui, text);
    }

    /// Stops the unsent part of a bulk action because actions are no longer enabled. Returns the
    /// end of the notice.
    pub(super) fn stop_unsent(&mut self) -> &'static str {
        if self.stop_bulk() { "; the rest of the bulk action is skipped" } else { "" }
    }

    /// Acknowledges an error, or withdraws its acknowledgment.
    pub(super) fn acknowledge(&mut self, fingerprint: Arc<str>, note: Option<String>) {
        let (watcher, who) = (Arc::clone(&self.options.watcher), self.options.who.clone());
        let store = move || watcher.acknowledge(&fingerprint, &who, note.as_deref());
        while self.stores.try_join_next().is_some() {}
        self.stores.spawn_blocking_on(store, &self.options.background);
    }

    /// Switches to another context. Refused while an action is pending, because its result would
    /// not be shown.
    pub(super) fn connect(&mut self, name: String, shell: &mut Shell) {
        if self.has_pending_actions() {
            return shell.notice(&mut self.ui, WAITING_FOR_RESULT);
        }
        // Runs in the background: the command that supplies the token may take time.
        shell.notice(&mut self.ui, format!("connecting to {name} ..."));
        let (go, send) = (Arc::clone(&self.options.go), self.send.clone());
        self.options.background.spawn_blocking(move || {
            let opened = go(&name);
            let _ = send.blocking_send(BackgroundResult::Context(name, opened));
        });
    }

    /// Fetches the past runs of a pipeline.
    pub(super) fn fetch_runs(&self, id: Arc<str>) {
        let (client, send) = (Arc::clone(&self.options.watcher.client), self.send.clone());
        self.options.background.spawn(async move {
            let rows = match past_runs(&client, &id).await {
                Ok(rows) => RunRows::Loaded(rows),
                Err(error) => RunRows::Failed(error.to_string()),
            };
            let _ = send.send(BackgroundResult::Runs(id, rows)).await;
        });
    }

    /// Fetches the nodes of the service.
    pub(super) fn fetch_nodes(&self) {
        let (client, send) = (Arc::clone(&self.options.watcher.client), self.send.clone());
        self.options.background.spawn(async move {
            let rows = match client.ask(ServiceRequest::get(&["nodes"])).await {
                Ok(answer) => match serde_json::from_value::<Page<NodeBody>>(answer) {
                    Ok(page) => NodeRows::Loaded(page.data),
                    Err(_) => NodeRows::Failed("this service has no list of nodes".into()),
                },
                Err(error) => NodeRows::Failed(error.to_string()),
            };
            let _ = send.send(BackgroundResult::Nodes(rows)).await;
        });
    }

    /// Fetches the log of a past run for a replay.
    pub(super) fn fetch_log(&mut self, id: Arc<str>, number: u64) {
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
        let (from, to) = (run.started_at, run.ended_at);
        let elapsed_ms = from.zip(to).and_then(|(from, to)| u64::try_from(to - from).ok());
        let records = totals.records.and_then(|records| records.cumulative);
        let succeeded = state == TaskState::Succeeded.as_str();
        let good = match state.parse() {
            Ok(TaskState::Succeeded) => Some(totals.outcome.as_deref() == Some(Outcome::Succeeded.as_str())),
            Ok(TaskState::Failed | TaskState::Canceled) => Some(false),
            _ => None,
        };
        let mut outcome = state.to_lowercase();
        // The outcome of the run says more than the state of its task.
        if let Some(of_run) = totals.outcome.filter(|of_run| **of_run != *outcome) {
            outcome = of_run.replace('_', " ");
        }
        let message = run.message.filter(|_| !succeeded).map(|text| text.to_string());
        Some(RunRow { number, started_at: from, elapsed_ms, records, outcome, message, good })
    };
    Ok(page.data.into_iter().filter_map(row).collect())
}
