//! The fleet screen: pipelines of a service, and the work in the background.

use crate::app::fleet::update::FleetEffect;
use crate::app::session::OpenTerminal;
use crate::app::shell::{Flow, RedrawReason, Screen, Shell, TOAST};
use crate::app::sizes::SizesFile;
use crate::app::term::session;
use crate::net::client::Capabilities;
use crate::net::client::contexts::ContextError;
use crate::net::client::http::ClientError;
use crate::net::client::poller::{Down, FleetSnapshot, Watcher};
use crate::util::sys::now;
use crate::views::Look;
use crate::views::fleet::bulk::counts_text;
use crate::views::fleet::state::{Checklist, ChecklistStep};
use crate::views::fleet::{
    Armed, FleetFrame, FleetHits, FleetInput, FleetModel, FleetOverlay, FleetSheet, FleetTypes, FleetUi, NodeRows,
    RunRows, ServiceLink, draw,
};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use strum::VariantArray as _;
use synctop_core::ResultClass;
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::{ActionResult, PipelineAction as Act};
use synctop_core::protocol::{Decoder, Millis};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Time for which actions stay enabled after arming.
pub(super) const ARMED: Duration = Duration::from_secs(600);

/// Notice about an action that keeps the screen on its service.
pub(super) const WAITING_FOR_RESULT: &str = "an action is still being verified: wait for its result, or quit";

/// Maximum time at the end for storing acknowledgments.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Capacity of the channel for results of background work.
const RESULT_CAPACITY: usize = 64;

/// Context that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Context(#[from] ContextError),
    /// Its state database or HTTP client fails; a sentence with the next step.
    #[error("{0}")]
    Failed(String),
}

/// Opens the context with this name: returns the watcher of its service.
pub type OpenContext = Arc<dyn Fn(&str) -> Result<Arc<Watcher>, OpenError> + Send + Sync>;

/// Causes of the simulated errors of the demo.
pub trait SimulatedCauses: Send + Sync {
    /// Fixes the causes of these pipelines: their next runs succeed.
    fn fix(&self, pipelines: &[Arc<str>]);
}

/// Content of the fleet screen.
pub struct FleetOptions {
    pub decoder: Decoder,
    pub watcher: Arc<Watcher>,
    /// Runtime that executes requests.
    pub background: tokio::runtime::Handle,
    /// Name and address of each configured context.
    pub contexts: Vec<(String, String)>,
    /// Opens a context.
    pub go: OpenContext,
    /// Person recorded in the action log.
    pub who: String,
    /// True if actions are enabled from the start and without a time limit.
    pub write: bool,
    /// Simulated causes of the demo.
    pub demo: Option<Arc<dyn SimulatedCauses>>,
    /// Maximum time until an action shows an effect.
    pub patience: Duration,
    /// Sizes of the panes, remembered between runs.
    pub sizes: SizesFile,
}

/// Result of the fleet screen.
pub struct FleetEnded {
    /// Signal that ended the screen, if any.
    pub signal: Option<i32>,
    pub panicked: bool,
    /// Summary printed on the shell.
    pub exit_summary: String,
    /// Error sentence and exit code if the service never answered.
    pub unreached: Option<(String, ResultClass)>,
}

/// Log of a past run that cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("no temporary file: {0}")]
    Temporary(std::io::Error),
    #[error("the log of run {number}: {error}")]
    Fetch { number: u64, error: ClientError },
}

/// Result of background work.
pub(super) enum BackgroundResult {
    /// Result of an action on a pipeline.
    Result(Act, Arc<str>, ActionResult),
    /// Past runs of a pipeline.
    Runs(Arc<str>, RunRows),
    /// Nodes of the service.
    Nodes(NodeRows),
    /// Log of a past run, by its pipeline and number.
    Log(Arc<str>, u64, Result<tempfile::NamedTempFile, LogError>),
    /// Watcher of another context, by its name.
    Context(String, Result<Arc<Watcher>, OpenError>),
}

/// State of the fleet screen.
pub(crate) struct FleetScreen {
    pub(super) options: FleetOptions,
    pub(super) ui: FleetUi,
    seen: watch::Receiver<FleetSnapshot>,
    pub(super) shown: FleetSnapshot,
    pub(super) armed_until: Option<Instant>,
    /// Sent actions without a result.
    pub(super) acting: Vec<(Act, Arc<str>, Millis)>,
    /// Running or finished bulk action, and the sender that stops it.
    pub(super) bulk: Option<(watch::Receiver<Bulk>, watch::Sender<bool>)>,
    pub(super) bulk_shown: Option<Bulk>,
    results: mpsc::Receiver<BackgroundResult>,
    pub(super) send: mpsc::Sender<BackgroundResult>,
    /// Acknowledgments that are being stored.
    pub(super) stores: JoinSet<()>,
    /// Past run whose log is being fetched.
    pub(super) fetching: Option<(Arc<str>, u64)>,
    /// Polling mode and interval as text for the header.
    link_text: String,
}

/// Event of the sources of the fleet screen.
pub(crate) enum FleetEvent {
    Seen,
    Result(BackgroundResult),
    Bulk,
}

impl OpenTerminal {
    /// Runs the fleet screen until the user quits.
    ///
    /// # Errors
    /// Returns the system's error if the terminal cannot be drawn on.
    pub fn run_fleet(self, options: FleetOptions) -> io::Result<FleetEnded> {
        let Self { runtime, mut shell } = self;
        runtime.block_on(async {
            let mut screen = FleetScreen::new(options);
            let result = shell.run(&mut screen).await;
            session::restore();
            // A note that a person wrote is stored before the program ends.
            let stores = &mut screen.stores;
            let stored = async { while stores.join_next().await.is_some() {} };
            if tokio::time::timeout(STORE_TIMEOUT, stored).await.is_err() {
                tracing::error!(target: "synctop::fleet", "an acknowledgment is not stored yet");
            }
            screen.options.sizes.keep_fleet(screen.ui.sizes);
            result.map(|flow| FleetEnded {
                signal: flow.signal(),
                panicked: session::panicked(),
                exit_summary: screen.exit_summary(),
                unreached: screen.unreached(),
            })
        })
    }
}

impl Screen for FleetScreen {
    type Types = FleetTypes;
    type Event = FleetEvent;

    fn ui(&mut self) -> &mut FleetUi {
        &mut self.ui
    }

    fn with_model<R>(&self, ui: &mut FleetUi, look: &Look, see: impl FnOnce(&mut FleetUi, &FleetModel<'_>) -> R) -> R {
        let place = Arc::clone(&self.options.watcher.client.place);
        let (name, address, argument) = (place.name(), place.shown(), place.argument());
        let shown = &self.shown;
        let link = match (&shown.down, shown.fleet.listed_at) {
            (Some(Down { why, next, denied, again_at, .. }), _) => {
                ServiceLink::Down { why, next, denied: *denied, again_at: *again_at }
            }
            (None, None) => ServiceLink::Waiting,
            (None, Some(_)) => ServiceLink::Live,
        };
        let input = FleetInput {
            fleet: &shown.fleet,
            inbox: &shown.inbox,
            actions: &shown.actions,
            bulk: self.bulk_shown.as_ref(),
            look,
            name: &name,
            address: &address,
            argument: &argument,
            color: place.color.as_deref(),
            contexts: &self.options.contexts,
            is_demo: self.options.demo.is_some(),
            now: now(),
            link,
            link_text: &self.link_text,
            rate: shown.rate,
            list_interval: Millis::try_from(shown.every.as_millis()).unwrap_or(Millis::MAX / 8),
            armed: self.armed(),
            tasks: shown.capabilities.is_some_and(|capabilities| capabilities.tasks),
            acting: &self.acting,
            store_error: shown.unkept.as_deref(),
        };
        let model = FleetModel::new(input, ui);
        see(ui, &model)
    }

    fn draw(buffer: &mut Buffer, area: Rect, frame: &FleetFrame<'_, '_>) -> FleetHits {
        draw(buffer, area, frame)
    }

    async fn next_event(&mut self) -> FleetEvent {
        let bulk = self.bulk.as_mut().map(|(bulk, _)| bulk);
        tokio::select! {
            biased;
            Some(result) = self.results.recv() => FleetEvent::Result(result),
            // If the poller has ended, the data stay on screen and age.
            Ok(()) = self.seen.changed() => FleetEvent::Seen,
            true = changed(bulk) => FleetEvent::Bulk,
            else => std::future::pending().await,
        }
    }

    async fn take(&mut self, event: FleetEvent, shell: &mut Shell) -> io::Result<Flow> {
        match event {
            FleetEvent::Seen => {
                self.take_seen();
                // The list of nodes is as current as that of the pipelines.
                if matches!(self.ui.sheet(), Some(FleetSheet::Nodes { .. })) {
                    self.fetch_nodes();
                }
                shell.request_redraw(RedrawReason::Feed);
            }
            FleetEvent::Bulk => self.take_bulk(shell),
            FleetEvent::Result(BackgroundResult::Log(id, number, log)) => {
                return self.replay(&id, number, log, shell).await;
            }
            FleetEvent::Result(result) => self.take_result(result, shell),
        }
        Ok(Flow::Continue)
    }

    async fn perform(&mut self, effect: FleetEffect, shell: &mut Shell) -> io::Result<Flow> {
        match effect {
            FleetEffect::OpenRun(id) => return self.open_run(&id, shell).await,
            FleetEffect::FetchRuns(id) => self.fetch_runs(id),
            FleetEffect::FetchNodes => self.fetch_nodes(),
            FleetEffect::FetchLog(id, number) => self.fetch_log(id, number),
            FleetEffect::Connect(name) => self.connect(name, shell),
            FleetEffect::Arm => self.arm(shell),
            FleetEffect::Perform(confirmed) => self.act(confirmed, shell),
            FleetEffect::StopBulk => {
                if self.stop_bulk() {
                    shell.notice(&mut self.ui, "stopped: unsent actions are skipped; sent ones are still verified");
                }
            }
            FleetEffect::Acknowledge { fingerprint, note } => self.acknowledge(fingerprint, note),
            FleetEffect::Refresh => self.options.watcher.refresh(),
            FleetEffect::FixCause(ids) => {
                if let Some(demo) = &self.options.demo {
                    demo.fix(&ids);
                }
            }
        }
        Ok(Flow::Continue)
    }

    /// Ages on screen grow.
    fn next_wake(&self, shell: &Shell) -> Option<Instant> {
        Some(shell.drawn + Duration::from_secs(1))
    }

    fn tick(&mut self, shell: &mut Shell) {
        if self.armed_until.is_some_and(|until| Instant::now() >= until) {
            self.armed_until = None;
            let text = format!("actions disabled after ten minutes{}", self.stop_unsent());
            shell.notice(&mut self.ui, text);
        }
    }
}

impl FleetScreen {
    fn new(mut options: FleetOptions) -> Self {
        let seen = options.watcher.seen();
        options.write |= options.watcher.client.place.write;
        let (send, results) = mpsc::channel(RESULT_CAPACITY);
        let shown = seen.borrow().clone();
        let mut ui = FleetUi { sizes: options.sizes.fleet(), ..FleetUi::default() };
        ui.own.checklist = options.demo.as_ref().map(|_| Checklist::default());
        let mut screen = Self {
            shown,
            seen,
            ui,
            armed_until: None,
            acting: Vec::new(),
            bulk: None,
            bulk_shown: None,
            results,
            send,
            stores: JoinSet::new(),
            fetching: None,
            link_text: String::new(),
            options,
        };
        screen.take_seen();
        screen
    }

    /// Takes the newest state of the service.
    fn take_seen(&mut self) {
        self.shown = self.seen.borrow_and_update().clone();
        let fleet = Arc::clone(&self.shown.fleet);
        self.ui.own.marked.retain(|id| fleet.pipelines.contains_key(id));
        let seconds = self.shown.every.as_secs_f64();
        self.link_text = match self.shown.capabilities {
            Some(Capabilities { events: false, .. }) => format!("no events: polling all every {seconds} s"),
            _ => format!("polling every {seconds} s"),
        };
    }

    /// Closes the quit question once no action is pending.
    fn close_quit_question(&mut self) {
        if !self.has_pending_actions() && matches!(self.ui.overlays.last(), Some(FleetOverlay::Quit)) {
            self.ui.overlays.pop();
        }
    }

    /// Takes the newest state of the bulk action, and reports its end.
    fn take_bulk(&mut self, shell: &mut Shell) {
        let Some((bulk, _)) = &mut self.bulk else { return };
        let bulk = bulk.borrow_and_update().clone();
        let is_end = bulk.is_finished() && !self.bulk_shown.as_ref().is_some_and(Bulk::is_finished);
        let text = format!("{}: {}", bulk.action.as_str(), counts_text(&bulk));
        self.bulk_shown = Some(bulk);
        if is_end {
            if self.bulk_shown.as_ref().is_some_and(|bulk| bulk.counts().0 > 0) {
                self.ui.own.tick(ChecklistStep::Verify);
            }
            shell.notice(&mut self.ui, text);
            self.close_quit_question();
        }
        shell.request_redraw(RedrawReason::Feed);
    }

    /// Takes a result of background work.
    fn take_result(&mut self, result: BackgroundResult, shell: &mut Shell) {
        match result {
            BackgroundResult::Result(action, id, verdict) => {
                if verdict.took_effect() {
                    self.ui.own.tick(ChecklistStep::Verify);
                }
                self.acting.retain(|(known, on, _)| (*known, on) != (action, &id));
                shell.notice(&mut self.ui, format!("{} {id}: {}", action.as_str(), verdict));
                // A result stays in the footer three times as long as other notices.
                shell.toast_until = Some(Instant::now() + TOAST * 3);
                self.options.watcher.refresh();
                self.close_quit_question();
            }
            BackgroundResult::Runs(of, found) => {
                if let Some(FleetSheet::Runs { id, rows, .. }) = self.ui.sheet_mut()
                    && *id == of
                {
                    *rows = found;
                }
            }
            BackgroundResult::Nodes(found) => {
                if let Some(FleetSheet::Nodes { rows, .. }) = self.ui.sheet_mut() {
                    *rows = found;
                }
            }
            BackgroundResult::Context(name, Ok(watcher)) => self.show_context(&name, watcher, shell),
            BackgroundResult::Context(_, Err(why)) => shell.notice(&mut self.ui, why.to_string()),
            BackgroundResult::Log(..) => {}
        }
        shell.request_redraw(RedrawReason::Key);
    }

    /// Shows the service of another context.
    fn show_context(&mut self, name: &str, watcher: Arc<Watcher>, shell: &mut Shell) {
        if self.has_pending_actions() {
            return shell.notice(&mut self.ui, WAITING_FOR_RESULT);
        }
        self.seen = watcher.seen();
        self.options.watcher = watcher;
        // Arming applies to one service and does not carry over.
        (self.armed_until, self.options.write) = (None, self.options.watcher.client.place.write);
        (self.bulk, self.bulk_shown, self.fetching) = (None, None, None);
        self.ui.own.marked.clear();
        self.ui.overlays.clear();
        self.ui.clear_lists();
        self.take_seen();
        shell.notice(&mut self.ui, format!("context {name}"));
    }

    pub(super) fn armed(&self) -> Armed {
        if self.options.watcher.client.place.read_only {
            return Armed::Never;
        }
        if self.options.write {
            return Armed::Always;
        }
        match self.armed_until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => Armed::For(u64::try_from(left.as_millis()).unwrap_or(0)),
            _ => Armed::Locked,
        }
    }

    /// True while an action has no result.
    pub(super) fn has_pending_actions(&self) -> bool {
        !self.acting.is_empty() || self.bulk_shown.as_ref().is_some_and(|bulk| !bulk.is_finished())
    }

    fn unreached(&self) -> Option<(String, ResultClass)> {
        let down = self.shown.down.as_ref().filter(|_| self.shown.fleet.listed_at.is_none())?;
        Some((down.sentence.clone(), down.class))
    }

    /// Returns the summary that is printed on the shell.
    fn exit_summary(&self) -> String {
        let at = now();
        let counts = synctop_core::fleet::count_by_group(self.shown.fleet.pipelines.values().map(AsRef::as_ref), at);
        let words: Vec<_> = synctop_core::fleet::PipelineGroup::VARIANTS
            .iter()
            .zip(counts)
            .filter(|(_, number)| *number > 0)
            .map(|(group, number)| format!("{number} {}", group.as_str().to_lowercase()))
            .collect();
        let name = self.options.watcher.client.place.name();
        let all = synctop_core::format::plural(self.shown.fleet.pipelines.len(), "pipeline");
        let mut text = if words.is_empty() {
            format!("{name}: {all}\n")
        } else {
            format!("{name}: {all}: {}\n", words.join(", "))
        };
        for (action, id, _) in &self.acting {
            text.push_str(&format!("{} {id}: sent, result not known yet\n", action.as_str()));
        }
        text
    }
}

/// Waits for a change of the bulk action; forever without one.
async fn changed(bulk: Option<&mut watch::Receiver<Bulk>>) -> bool {
    match bulk {
        Some(bulk) => match bulk.changed().await {
            Ok(()) => true,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
