//! Fleet screen: event loop and actions. An opened run borrows the terminal session and returns it.

mod act;
mod input;
mod open;
mod update;

use super::diagnostics;
use super::run::{FEED_FRAME, KEY_FRAME, RedrawReason, Session, TOAST, TerminalSession, sleep};
use super::terminal;
use crate::net::now;
use crate::net::remote::Capabilities;
use crate::net::remote::watch::{Down, Seen, Watcher};
use crate::views::fleet::{Armed, FleetOverlay, FleetScreen, FleetUi, RunRow, ServiceLink, draw};
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

/// For how long things can be done once it was armed.
const ARMED: Duration = Duration::from_secs(600);

/// Capacity of the channel of received, unprocessed answers.
const CAME: usize = 64;

/// Goes to another context: its service, watched.
pub type Go = Arc<dyn Fn(&str) -> Result<Arc<Watcher>, String> + Send + Sync>;

/// Content and presentation of the fleet screen.
pub struct FleetOptions {
    pub look: Look,
    /// Ask the terminal for its background, and choose the theme by it.
    pub ask: bool,
    pub mouse: bool,
    pub decoder: Decoder,
    pub watcher: Arc<Watcher>,
    /// Runtime that executes requests.
    pub background: tokio::runtime::Handle,
    /// Names of contexts, and how to go there.
    pub contexts: Vec<(String, String)>,
    pub go: Go,
    pub who: String,
    /// Armed from the begin.
    pub write: bool,
    /// Show a newcomer round.
    pub tour: bool,
    /// Maximum time until an action shows an effect.
    pub patience: Duration,
}

/// Result of the fleet screen.
pub struct FleetEnded {
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    pub panicked: bool,
    /// A short summary for the shell.
    pub parting: String,
    /// The service never answered: a sentence, and the exit code.
    pub unreached: Option<(String, ResultClass)>,
}

/// Result of background work.
enum Came {
    Result(Act, Arc<str>, ActionResult),
    Runs(Arc<str>, Result<Vec<RunRow>, String>),
    Log(Arc<str>, u64, Result<tempfile::NamedTempFile, String>),
    /// Another context.
    Went(String, Result<Arc<Watcher>, String>),
}

/// Effect of a key besides a redraw.
enum Turned {
    Stay,
    /// Leave; by which signal.
    Leave(Option<i32>),
    OpenRun(Arc<str>),
}

struct FleetApp {
    options: FleetOptions,
    session: TerminalSession,
    ui: FleetUi,
    hits: Hits,
    seen: watch::Receiver<Seen>,
    shown: Seen,
    drawn: Instant,
    dirty: Option<RedrawReason>,
    toast_at: Option<Instant>,
    armed_until: Option<Instant>,
    /// Size of the last picture.
    size: (u16, u16),
    /// Sent actions without a result.
    acting: Vec<(Act, Arc<str>, Millis)>,
    bulk: Option<(watch::Receiver<Bulk>, watch::Sender<bool>)>,
    bulk_shown: Option<Bulk>,
    came: mpsc::Receiver<Came>,
    send: mpsc::Sender<Came>,
    /// The past run whose log is on its way.
    fetching: Option<(Arc<str>, u64)>,
    how: String,
    began: Instant,
    wake: Arc<tokio::sync::Notify>,
}

enum Turn {
    Signal(i32),
    Stop,
    Resume,
    Input(Option<io::Result<Event>>),
    Seen,
    Came(Option<Came>),
    Bulk,
    Diagnostics,
    Timer,
}

impl Session {
    /// Shows the pipelines of a service until the user leaves.
    ///
    /// # Errors
    /// When there is no terminal to draw on.
    pub fn run_fleet(self, options: FleetOptions) -> io::Result<FleetEnded> {
        let wake = diagnostics::install();
        self.runtime.block_on(async {
            let session = TerminalSession::take(self.signals, options.mouse, options.ask)?;
            let mut desk = FleetApp::new(options, session, wake);
            let result = desk.turn_round().await;
            terminal::give_back();
            result.map(|signal| FleetEnded {
                signal,
                panicked: terminal::panicked(),
                parting: desk.parting(),
                unreached: desk.unreached(),
            })
        })
    }
}

impl FleetApp {
    fn new(mut options: FleetOptions, session: TerminalSession, wake: Arc<tokio::sync::Notify>) -> Self {
        let seen = options.watcher.seen();
        options.write |= options.watcher.client.place.write;
        let (send, came) = mpsc::channel(CAME);
        let shown = seen.borrow().clone();
        let mut desk = Self {
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
            came,
            send,
            fetching: None,
            how: String::new(),
            began: Instant::now(),
            wake,
            options,
        };
        desk.take_seen();
        desk
    }

    /// Answers the signal that ended it, if one did.
    async fn turn_round(&mut self) -> io::Result<Option<i32>> {
        let wake = Arc::clone(&self.wake);
        loop {
            if terminal::panicked() {
                return Ok(None);
            }
            self.draw_if_due()?;
            let timer = self.next_look();
            let bulk = self.bulk.as_mut().map(|(bulk, _)| bulk);
            let turn = tokio::select! {
                biased;
                number = self.session.signals.enders.next() => Turn::Signal(number),
                _ = self.session.signals.stop.recv() => Turn::Stop,
                _ = self.session.signals.resume.recv() => Turn::Resume,
                event = self.session.input.next() => Turn::Input(event),
                came = self.came.recv() => Turn::Came(came),
                // Without its poller the data stay on screen and age.
                Ok(()) = self.seen.changed() => Turn::Seen,
                true = changed(bulk) => Turn::Bulk,
                () = wake.notified() => Turn::Diagnostics,
                () = sleep(Some(timer)) => Turn::Timer,
            };
            match turn {
                Turn::Signal(number) => return Ok(Some(number)),
                Turn::Stop if std::mem::take(&mut self.session.own_stop) => {}
                Turn::Stop => self.suspend()?,
                Turn::Resume => {
                    self.session.terminal.enter()?;
                    self.due(RedrawReason::Key);
                }
                // The terminal is gone.
                Turn::Input(None | Some(Err(_))) => return Ok(Some(1)),
                Turn::Input(Some(Ok(event))) => match self.input(&event)? {
                    Turned::Stay => {}
                    Turned::Leave(signal) => return Ok(signal),
                    Turned::OpenRun(id) => {
                        if let Some(signal) = self.open_run(&id).await? {
                            return Ok(Some(signal));
                        }
                    }
                },
                Turn::Seen => self.take_seen(),
                Turn::Came(None) => {}
                Turn::Came(Some(Came::Log(id, number, log))) => {
                    if let Some(signal) = self.replay(&id, number, log).await? {
                        return Ok(Some(signal));
                    }
                }
                Turn::Came(Some(came)) => self.take_came(came),
                Turn::Bulk => self.take_bulk(),
                Turn::Diagnostics => {}
                Turn::Timer => {
                    if self.toast_at.is_some_and(|said| said.elapsed() >= TOAST) {
                        self.ui.toast = None;
                        self.toast_at = None;
                    }
                    if self.armed_until.is_some_and(|until| Instant::now() >= until) {
                        self.armed_until = None;
                        let held = self.hold_back();
                        self.say(format!("disarmed: ten minutes are over{held}"));
                    }
                    self.due(RedrawReason::Feed);
                }
            }
        }
    }

    fn due(&mut self, because: RedrawReason) {
        self.dirty = Some(match self.dirty {
            Some(RedrawReason::Key) => RedrawReason::Key,
            _ => because,
        });
    }

    fn say(&mut self, text: impl Into<String>) {
        self.ui.toast = Some(text.into());
        self.toast_at = Some(Instant::now());
        self.due(RedrawReason::Key);
    }

    fn take_seen(&mut self) {
        self.shown = self.seen.borrow_and_update().clone();
        let fleet = Arc::clone(&self.shown.fleet);
        self.ui.marked.retain(|id| fleet.pipelines.contains_key(id));
        let seconds = self.shown.every.as_secs_f64();
        self.how = match self.shown.capabilities {
            Some(Capabilities { events: false, .. }) => format!("no events: polling all every {seconds} s"),
            _ => format!("polling every {seconds} s"),
        };
        self.show_round();
        self.due(RedrawReason::Feed);
    }

    /// The next thing for a newcomer to try.
    fn show_round(&mut self) {
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

    /// Closes the question whether to quit once every result is known.
    fn all_told(&mut self) {
        if !self.busy() && matches!(self.ui.overlays.last(), Some(FleetOverlay::ConfirmQuit)) {
            self.ui.overlays.pop();
        }
    }

    fn take_bulk(&mut self) {
        let Some((bulk, _)) = &mut self.bulk else { return };
        let bulk = bulk.borrow_and_update().clone();
        let over = bulk.over() && !self.bulk_shown.as_ref().is_some_and(Bulk::over);
        let (good, bad, held) = bulk.counts();
        let word = bulk.action.as_str();
        self.bulk_shown = Some(bulk);
        if over {
            self.say(format!("{word}: {good} took effect, {bad} did not, {held} skipped"));
            self.all_told();
        }
        self.due(RedrawReason::Feed);
    }

    fn take_came(&mut self, came: Came) {
        match came {
            Came::Result(action, id, verdict) => {
                self.acting.retain(|(known, on, _)| (*known, on) != (action, &id));
                self.say(format!("{} {id}: {}", action.as_str(), verdict));
                // It is worth more than a moment.
                self.toast_at = Some(Instant::now() + TOAST * 2);
                self.options.watcher.look_now();
                self.all_told();
            }
            Came::Runs(of, found) => {
                if let Some(FleetOverlay::Runs { id, rows, .. }) = self.ui.overlays.last_mut()
                    && *id == of
                {
                    *rows = found.map(Some);
                }
            }
            Came::Went(name, Ok(watcher)) => self.arrive(&name, watcher),
            Came::Went(_, Err(why)) => self.say(why),
            Came::Log(..) => {}
        }
        self.due(RedrawReason::Key);
    }

    fn armed(&self) -> Armed {
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

    /// Arms, or disarms.
    fn arm(&mut self) {
        match self.armed() {
            Armed::Never => self.say("this context is read-only (read_only in its configuration)"),
            Armed::Locked => {
                self.armed_until = Some(Instant::now() + ARMED);
                let name = self.options.watcher.client.place.name();
                self.say(format!("armed for ten minutes on {name}: each action is still confirmed"));
            }
            Armed::For(_) | Armed::Always => {
                (self.armed_until, self.options.write) = (None, false);
                let held = self.hold_back();
                self.say(format!("disarmed{held}"));
            }
        }
        self.show_round();
    }

    /// Time of the next redraw if nothing arrives.
    fn next_look(&self) -> Instant {
        if let Some(asked) = &self.session.asked
            && self.drawn < self.began
        {
            let until = asked.at + super::background::PATIENCE;
            if Instant::now() < until {
                return until;
            }
        }
        match self.dirty {
            Some(RedrawReason::Key) => self.drawn + KEY_FRAME,
            Some(RedrawReason::Feed) => self.drawn + FEED_FRAME,
            // Ages grow.
            None => self.drawn + Duration::from_secs(1),
        }
    }

    fn draw_if_due(&mut self) -> io::Result<()> {
        let frame = match self.dirty {
            None => return Ok(()),
            Some(RedrawReason::Key) => KEY_FRAME,
            Some(RedrawReason::Feed) => FEED_FRAME,
        };
        let waits = self.drawn < self.began
            && self.session.asked.as_ref().is_some_and(|asked| asked.at.elapsed() < super::background::PATIENCE);
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
                (&name, &address, place.colour.as_deref(), &self.how),
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

    fn suspend(&mut self) -> io::Result<()> {
        if !self.session.suspend()? {
            self.say("no shell to go back to: not suspended");
        }
        self.due(RedrawReason::Key);
        Ok(())
    }

    /// True while a requested action has no result.
    fn busy(&self) -> bool {
        !self.acting.is_empty() || self.bulk_shown.as_ref().is_some_and(|bulk| !bulk.over())
    }

    fn unreached(&self) -> Option<(String, ResultClass)> {
        let down = self.shown.down.as_ref().filter(|_| self.shown.fleet.listed_at.is_none())?;
        Some((down.sentence.clone(), down.class))
    }

    /// Text printed on the shell afterwards.
    fn parting(&self) -> String {
        let at = now();
        let counts = synctop_core::fleet::standing(self.shown.fleet.pipelines.values().map(AsRef::as_ref), at);
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
            text.push_str(&format!("{} {id}: sent, and not known yet whether it helped\n", action.as_str()));
        }
        text
    }
}

async fn changed(bulk: Option<&mut watch::Receiver<Bulk>>) -> bool {
    match bulk {
        Some(bulk) => match bulk.changed().await {
            Ok(()) => true,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// The picture's facts at this moment.
fn screen_of<'a>(
    shown: &'a Seen,
    ui: &'a FleetUi,
    look: &'a Look,
    (name, address, colour, how): (&'a str, &'a str, Option<&'a str>, &'a str),
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
        color: colour,
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
