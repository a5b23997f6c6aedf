//! Fleet screen: event loop and actions. An opened run borrows the terminal session and returns it.

use crate::app::diagnostics;
use crate::app::run::app::{FEED_FRAME, KEY_FRAME, RedrawReason, Session, TOAST, TerminalSession, sleep};
use crate::app::term::session;
use crate::net::client::Capabilities;
use crate::net::client::contexts::ContextError;
use crate::net::client::http::ClientError;
use crate::net::client::poller::{Down, FleetSnapshot, Watcher};
use crate::util::sys::now;
use crate::views::fleet::{Armed, FleetOverlay, FleetScreen, FleetUi, RunRows, ServiceLink, draw};
use crate::views::{Hits, Look};
use crossterm::event::Event;
use futures_util::StreamExt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use strum::VariantArray as _;
use synctop_core::ResultClass;
use synctop_core::fleet::bulk::Bulk;
use synctop_core::fleet::verify::{ActionResult, PipelineAction as Act};
use synctop_core::protocol::{Decoder, Millis};
use tokio::sync::{mpsc, watch};

/// Time for which actions stay enabled after arming.
pub(super) const ARMED: Duration = Duration::from_secs(600);

/// Capacity of the channel for results of background work.
pub(super) const RESULT_CAPACITY: usize = 64;

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

/// Content and presentation of the fleet screen.
pub struct FleetOptions {
    pub look: Look,
    /// True if the theme is chosen by the terminal's background color, which is queried.
    pub ask: bool,
    pub mouse: bool,
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
    /// True if the footer suggests next steps to a new user.
    pub tour: bool,
    /// Maximum time until an action shows an effect.
    pub patience: Duration,
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
    /// Log of a past run, by its pipeline and number.
    Log(Arc<str>, u64, Result<tempfile::NamedTempFile, LogError>),
    /// Watcher of another context, by its name.
    Context(String, Result<Arc<Watcher>, OpenError>),
}

/// Effect of an input event on the event loop.
pub(super) enum InputEffect {
    Stay,
    /// Quit, with the signal that caused it, if any.
    Leave(Option<i32>),
    OpenRun(Arc<str>),
}

/// State of the fleet screen.
pub(super) struct FleetApp {
    pub(super) options: FleetOptions,
    pub(super) session: TerminalSession,
    pub(super) ui: FleetUi,
    pub(super) hits: Hits,
    pub(super) seen: watch::Receiver<FleetSnapshot>,
    pub(super) shown: FleetSnapshot,
    pub(super) drawn: Instant,
    pub(super) dirty: Option<RedrawReason>,
    pub(super) toast_at: Option<Instant>,
    pub(super) armed_until: Option<Instant>,
    /// Columns and rows of the last frame.
    pub(super) size: (u16, u16),
    /// Sent actions without a result.
    pub(super) acting: Vec<(Act, Arc<str>, Millis)>,
    /// Running or finished bulk action, and the sender that stops it.
    pub(super) bulk: Option<(watch::Receiver<Bulk>, watch::Sender<bool>)>,
    pub(super) bulk_shown: Option<Bulk>,
    pub(super) results: mpsc::Receiver<BackgroundResult>,
    pub(super) send: mpsc::Sender<BackgroundResult>,
    /// Past run whose log is being fetched.
    pub(super) fetching: Option<(Arc<str>, u64)>,
    /// Polling mode and interval as text for the header.
    pub(super) how: String,
    pub(super) began: Instant,
    pub(super) wake: Arc<tokio::sync::Notify>,
}

/// Event of the loop.
pub(super) enum LoopEvent {
    Signal(i32),
    Stop,
    Resume,
    Input(Option<io::Result<Event>>),
    FleetSnapshot,
    Result(Option<BackgroundResult>),
    Bulk,
    Diagnostics,
    Timer,
}

impl Session {
    /// Runs the fleet screen until the user quits.
    ///
    /// # Errors
    /// Returns the system's error if there is no terminal to draw on.
    pub fn run_fleet(self, options: FleetOptions) -> io::Result<FleetEnded> {
        let wake = diagnostics::install();
        self.runtime.block_on(async {
            let session = TerminalSession::take(self.signals, options.mouse, options.ask)?;
            let mut app = FleetApp::new(options, session, wake);
            let result = app.run_loop().await;
            session::restore();
            result.map(|signal| FleetEnded {
                signal,
                panicked: session::panicked(),
                exit_summary: app.exit_summary(),
                unreached: app.unreached(),
            })
        })
    }
}

impl FleetApp {
    pub(super) fn new(mut options: FleetOptions, session: TerminalSession, wake: Arc<tokio::sync::Notify>) -> Self {
        let seen = options.watcher.seen();
        options.write |= options.watcher.client.place.write;
        let (send, results) = mpsc::channel(RESULT_CAPACITY);
        let shown = seen.borrow().clone();
        let mut app = Self {
            shown,
            seen,
            session,
            ui: FleetUi::default(),
            hits: Hits::default(),
            drawn: Instant::now().checked_sub(FEED_FRAME).unwrap_or_else(Instant::now),
            dirty: Some(RedrawReason::Key),
            toast_at: None,
            armed_until: None,
            size: (u16::MAX, u16::MAX),
            acting: Vec::new(),
            bulk: None,
            bulk_shown: None,
            results,
            send,
            fetching: None,
            how: String::new(),
            began: Instant::now(),
            wake,
            options,
        };
        app.take_seen();
        app
    }

    /// Runs the event loop. Returns the signal that ended it, if any.
    pub(super) async fn run_loop(&mut self) -> io::Result<Option<i32>> {
        let wake = Arc::clone(&self.wake);
        loop {
            if session::panicked() {
                return Ok(None);
            }
            self.draw_if_due()?;
            let timer = self.next_redraw();
            let bulk = self.bulk.as_mut().map(|(bulk, _)| bulk);
            let turn = tokio::select! {
                biased;
                number = self.session.signals.termination.next() => LoopEvent::Signal(number),
                _ = self.session.signals.stop.recv() => LoopEvent::Stop,
                _ = self.session.signals.resume.recv() => LoopEvent::Resume,
                event = self.session.input.next() => LoopEvent::Input(event),
                result = self.results.recv() => LoopEvent::Result(result),
                // If the poller has ended, the data stay on screen and age.
                Ok(()) = self.seen.changed() => LoopEvent::FleetSnapshot,
                true = changed(bulk) => LoopEvent::Bulk,
                () = wake.notified() => LoopEvent::Diagnostics,
                () = sleep(Some(timer)) => LoopEvent::Timer,
            };
            match turn {
                LoopEvent::Signal(number) => return Ok(Some(number)),
                LoopEvent::Stop if std::mem::take(&mut self.session.own_stop) => {}
                LoopEvent::Stop => self.suspend()?,
                LoopEvent::Resume => {
                    self.session.terminal.enter()?;
                    self.request_redraw(RedrawReason::Key);
                }
                // The terminal is closed.
                LoopEvent::Input(None | Some(Err(_))) => return Ok(Some(1)),
                LoopEvent::Input(Some(Ok(event))) => match self.input(&event)? {
                    InputEffect::Stay => {}
                    InputEffect::Leave(signal) => return Ok(signal),
                    InputEffect::OpenRun(id) => {
                        if let Some(signal) = self.open_run(&id).await? {
                            return Ok(Some(signal));
                        }
                    }
                },
                LoopEvent::FleetSnapshot => self.take_seen(),
                LoopEvent::Result(None) => {}
                LoopEvent::Result(Some(BackgroundResult::Log(id, number, log))) => {
                    if let Some(signal) = self.replay(&id, number, log).await? {
                        return Ok(Some(signal));
                    }
                }
                LoopEvent::Result(Some(result)) => self.take_result(result),
                LoopEvent::Bulk => self.take_bulk(),
                LoopEvent::Diagnostics => {}
                LoopEvent::Timer => {
                    if self.toast_at.is_some_and(|said| said.elapsed() >= TOAST) {
                        self.ui.toast = None;
                        self.toast_at = None;
                    }
                    if self.armed_until.is_some_and(|until| Instant::now() >= until) {
                        self.armed_until = None;
                        let held = self.stop_unsent();
                        self.show_toast(format!("disarmed after ten minutes{held}"));
                    }
                    self.request_redraw(RedrawReason::Feed);
                }
            }
        }
    }

    /// Requests a redraw; a pending one for a key keeps its reason.
    pub(super) fn request_redraw(&mut self, because: RedrawReason) {
        self.dirty = Some(match self.dirty {
            Some(RedrawReason::Key) => RedrawReason::Key,
            _ => because,
        });
    }

    /// Shows a notice in the footer.
    pub(super) fn show_toast(&mut self, text: impl Into<String>) {
        self.ui.toast = Some(text.into());
        self.toast_at = Some(Instant::now());
        self.request_redraw(RedrawReason::Key);
    }

    /// Takes the newest state of the service.
    pub(super) fn take_seen(&mut self) {
        self.shown = self.seen.borrow_and_update().clone();
        let fleet = Arc::clone(&self.shown.fleet);
        self.ui.marked.retain(|id| fleet.pipelines.contains_key(id));
        let seconds = self.shown.every.as_secs_f64();
        self.how = match self.shown.capabilities {
            Some(Capabilities { events: false, .. }) => format!("no events: polling all every {seconds} s"),
            _ => format!("polling every {seconds} s"),
        };
        self.update_tour();
        self.request_redraw(RedrawReason::Feed);
    }

    /// Updates the next step that the tour suggests.
    pub(super) fn update_tour(&mut self) {
        if !self.options.tour {
            return;
        }
        let done = self.shown.actions.iter().any(|record| record.verdict.is_some());
        self.ui.tour = Some(match (done, self.armed().armed()) {
            (true, _) => "Tour: 3 action log  2 errors (A: resolved)  h past runs.  Real service: synctop connect URL",
            (false, true) => "Tour: R resumes the selected pipeline and verifies the result; space marks several",
            (false, false) => "Tour (simulated): Enter opens a run  d details  w arms, then R resumes",
        });
    }

    /// Closes the quit question once no action is pending.
    pub(super) fn close_quit_question(&mut self) {
        if !self.has_pending_actions() && matches!(self.ui.overlays.last(), Some(FleetOverlay::ConfirmQuit)) {
            self.ui.overlays.pop();
        }
    }

    /// Takes the newest state of the bulk action, and reports its end.
    pub(super) fn take_bulk(&mut self) {
        let Some((bulk, _)) = &mut self.bulk else { return };
        let bulk = bulk.borrow_and_update().clone();
        let is_end = bulk.is_finished() && !self.bulk_shown.as_ref().is_some_and(Bulk::is_finished);
        let (good, bad, held) = bulk.counts();
        let word = bulk.action.as_str();
        self.bulk_shown = Some(bulk);
        if is_end {
            self.show_toast(format!("{word}: {good} took effect, {bad} did not, {held} skipped"));
            self.close_quit_question();
        }
        self.request_redraw(RedrawReason::Feed);
    }

    /// Takes a result of background work.
    pub(super) fn take_result(&mut self, result: BackgroundResult) {
        match result {
            BackgroundResult::Result(action, id, verdict) => {
                self.acting.retain(|(known, on, _)| (*known, on) != (action, &id));
                self.show_toast(format!("{} {id}: {}", action.as_str(), verdict));
                // A result stays in the footer three times as long as other notices.
                self.toast_at = Some(Instant::now() + TOAST * 2);
                self.options.watcher.refresh();
                self.close_quit_question();
            }
            BackgroundResult::Runs(of, found) => {
                if let Some(FleetOverlay::Runs { id, rows, .. }) = self.ui.overlays.last_mut()
                    && *id == of
                {
                    *rows = found;
                }
            }
            BackgroundResult::Context(name, Ok(watcher)) => self.show_context(&name, watcher),
            BackgroundResult::Context(_, Err(why)) => self.show_toast(why.to_string()),
            BackgroundResult::Log(..) => {}
        }
        self.request_redraw(RedrawReason::Key);
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

    /// Enables actions for ten minutes, or disables them.
    pub(super) fn arm(&mut self) {
        match self.armed() {
            Armed::Never => self.show_toast("this context is read-only (read_only in its configuration)"),
            Armed::Locked => {
                self.armed_until = Some(Instant::now() + ARMED);
                let name = self.options.watcher.client.place.name();
                self.show_toast(format!("armed for ten minutes on {name}: each action is still confirmed"));
            }
            Armed::For(_) | Armed::Always => {
                (self.armed_until, self.options.write) = (None, false);
                let held = self.stop_unsent();
                self.show_toast(format!("disarmed{held}"));
            }
        }
        self.update_tour();
    }

    /// Time of the next redraw if nothing arrives.
    pub(super) fn next_redraw(&self) -> Instant {
        if let Some(background_query) = &self.session.background_query
            && self.drawn < self.began
        {
            let until = background_query.at + crate::app::term::background_query::MAX_ANSWER_WAIT;
            if Instant::now() < until {
                return until;
            }
        }
        match self.dirty {
            Some(RedrawReason::Key) => self.drawn + KEY_FRAME,
            Some(RedrawReason::Feed) => self.drawn + FEED_FRAME,
            // Ages on screen grow.
            None => self.drawn + Duration::from_secs(1),
        }
    }

    pub(super) fn draw_if_due(&mut self) -> io::Result<()> {
        let frame = match self.dirty {
            None => return Ok(()),
            Some(RedrawReason::Key) => KEY_FRAME,
            Some(RedrawReason::Feed) => FEED_FRAME,
        };
        let waits = self.drawn < self.began
            && self.session.background_query.as_ref().is_some_and(|background_query| {
                background_query.at.elapsed() < crate::app::term::background_query::MAX_ANSWER_WAIT
            });
        if self.drawn.elapsed() < frame || waits {
            return Ok(());
        }
        let hits = {
            let place = Arc::clone(&self.options.watcher.client.place);
            let (name, address) = (place.name(), place.shown());
            let screen = screen_of(
                &self.shown,
                &self.ui,
                &self.options.look,
                (&name, &address, place.color.as_deref(), &self.how),
                self.armed(),
                &self.acting,
                self.bulk_shown.as_ref(),
            );
            let size = &mut self.size;
            self.session.terminal.draw(|buffer, area| {
                *size = (area.width, area.height);
                draw(buffer, area, &screen)
            })?
        };
        for (list, top) in self.ui.lists.iter_mut().zip(hits.tops) {
            list.top = top.unwrap_or(list.top);
        }
        self.hits = hits;
        self.drawn = Instant::now();
        self.dirty = None;
        self.toast_at = self.ui.toast.as_ref().map(|_| self.toast_at.unwrap_or(self.drawn));
        Ok(())
    }

    pub(super) fn suspend(&mut self) -> io::Result<()> {
        if !self.session.suspend()? {
            self.show_toast("no shell to return to: not suspended");
        }
        self.request_redraw(RedrawReason::Key);
        Ok(())
    }

    /// True while an action has no result.
    pub(super) fn has_pending_actions(&self) -> bool {
        !self.acting.is_empty() || self.bulk_shown.as_ref().is_some_and(|bulk| !bulk.is_finished())
    }

    pub(super) fn unreached(&self) -> Option<(String, ResultClass)> {
        let down = self.shown.down.as_ref().filter(|_| self.shown.fleet.listed_at.is_none())?;
        Some((down.sentence.clone(), down.class))
    }

    /// Returns the summary that is printed on the shell.
    pub(super) fn exit_summary(&self) -> String {
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
pub(super) async fn changed(bulk: Option<&mut watch::Receiver<Bulk>>) -> bool {
    match bulk {
        Some(bulk) => match bulk.changed().await {
            Ok(()) => true,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Model of the fleet screen at this moment.
pub(super) fn screen_of<'a>(
    shown: &'a FleetSnapshot,
    ui: &'a FleetUi,
    look: &'a Look,
    (name, address, color, how): (&'a str, &'a str, Option<&'a str>, &'a str),
    armed: Armed,
    acting: &'a [(Act, Arc<str>, Millis)],
    bulk: Option<&'a Bulk>,
) -> FleetScreen<'a> {
    let link = match (&shown.down, shown.fleet.listed_at) {
        (Some(Down { why, next, denied, again_at, .. }), _) => {
            ServiceLink::Down { why, next, denied: *denied, again_at: *again_at }
        }
        (None, None) => ServiceLink::Waiting,
        (None, Some(_)) => ServiceLink::Live,
    };
    FleetScreen {
        fleet: &shown.fleet,
        inbox: &shown.inbox,
        actions: &shown.actions,
        bulk,
        ui,
        look,
        name,
        address,
        color,
        now: now(),
        link,
        link_text: how,
        rate: shown.rate,
        list_interval: Millis::try_from(shown.every.as_millis()).unwrap_or(Millis::MAX / 8),
        armed,
        acting,
        store_error: shown.unkept.as_deref(),
    }
}
