//! The run screen: feed, time travel and engine of one run.

use crate::app::run::playback::{ReplayStart, TimeTravel};
use crate::app::run::shown::Shown;
use crate::app::run::update::RunEffect;
use crate::app::session::{OpenTerminal, Presentation, Session};
use crate::app::shell::{Flow, RedrawReason, Screen, Shell};
use crate::app::sizes::SizesFile;
use crate::app::term::session;
use crate::net::source::child::Engine;
use crate::net::source::ingest::{RewindData, Snapshot};
use crate::net::timeline::rewind::Rewind;
use crate::views::run::state::{LeadUpState, RunFrame, RunHits, RunSheet, RunTypes};
use crate::views::{Look, RunInput, RunModel, RunUi, draw};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::protocol::{Decoder, Millis};
use synctop_core::reduce::lead_up::LeadUp;
use synctop_core::reduce::{Link, Progress, Target};
use synctop_core::report::text::Leaving;
use tokio::sync::{mpsc, watch};

/// Capacity of the channel for lead-ups.
const LEAD_UPS: usize = 4;

/// Content and presentation of the run screen.
pub struct Options {
    pub source: String,
    pub look: Look,
    /// True if the theme is chosen by the terminal's background color, which is queried.
    pub ask: bool,
    pub mouse: bool,
    /// Engine started by synctop; stopped when the screen closes.
    pub engine: Option<Engine>,
    /// `Some` if the feed comes from a child process of synctop, which ends with the screen: true
    /// if its bytes are saved to a file.
    pub child_saved: Option<bool>,
    /// Rewind data of the feed.
    pub past: RewindData,
    /// Decoder for the bytes of the rewind data.
    pub decoder: Decoder,
    /// Initial state of a replay; `None` for a live feed.
    pub replay: Option<ReplayStart>,
    /// Size of a saved log in bytes, if known.
    pub size: Option<u64>,
    /// True if the screen was opened from the fleet screen and returns to it.
    pub nested: bool,
    /// Sizes of the panes, remembered between runs.
    pub sizes: SizesFile,
    /// Panics after the first frame, in a thread (`thread`) or in the loop (any other text). A test
    /// needs this to check that the terminal is restored.
    pub panic_for_test: Option<String>,
}

/// Result of the run screen.
pub struct ScreenEnd {
    /// Newest progress of the feed.
    pub progress: Arc<Progress>,
    /// True if the saved log was not read to its end: its outcome is unknown.
    pub unread: bool,
    /// Signal that ended the screen, if any.
    pub signal: Option<i32>,
    pub leaving: Leaving,
    /// True if a thread panicked; its message is on the shell.
    pub panicked: bool,
}

impl Session {
    /// Runs the run screen until the user quits, a signal arrives, or the terminal is closed.
    ///
    /// # Errors
    /// Returns the system's error if there is no terminal to draw on.
    pub fn run(self, options: Options, snapshots: watch::Receiver<Snapshot>) -> io::Result<ScreenEnd> {
        if let Some(started) = &options.engine {
            self.engine.get_or_init(|| started.clone());
        }
        let presentation = Presentation { look: options.look, ask: options.ask, mouse: options.mouse };
        let OpenTerminal { runtime, mut shell } = self.open_terminal(presentation, None)?;
        runtime.block_on(async {
            let mut screen = RunScreen::new(options, snapshots)?;
            let result = shell.run(&mut screen).await;
            session::restore();
            screen.options.sizes.keep_run(screen.ui.sizes);
            let cuts_child_off = screen.options.child_saved.is_some() && !screen.snapshots.borrow().progress.closed;
            let stopped = screen.stopping || screen.engine_runs() || cuts_child_off;
            screen.stop_engine();
            let latest = screen.snapshots.borrow().clone();
            let silent = latest.last_line.and_then(|last| u64::try_from(last.elapsed().as_millis()).ok());
            let unread = screen.options.replay.is_some() && !latest.progress.closed;
            result.map(|flow| ScreenEnd {
                progress: latest.progress,
                unread,
                signal: flow.signal(),
                leaving: Leaving { silent, stopped, unkept: screen.options.child_saved == Some(false), cut: None },
                panicked: session::panicked(),
            })
        })
    }
}

/// State of the run screen.
pub(crate) struct RunScreen {
    pub(crate) options: Options,
    pub(crate) snapshots: watch::Receiver<Snapshot>,
    pub(crate) ui: RunUi,
    began: Instant,
    /// Snapshot on screen: the newest one, the one at the moment of freezing, or an earlier view.
    pub(crate) shown: Shown,
    pub(crate) frozen_at: Option<Instant>,
    /// True while the feed can bring more.
    feed_open: bool,
    /// True while the engine is being stopped.
    pub(crate) stopping: bool,
    /// Earlier view and its playback clock.
    pub(crate) time_travel: TimeTravel,
    /// True if the first error is to be selected once the log is shown at its end.
    pub(crate) select_first: bool,
    /// True if the error that the pending seek reaches is to be selected.
    pub(crate) select_reached: bool,
    /// Lead-ups that were read.
    lead_ups: (mpsc::Sender<io::Result<LeadUp>>, mpsc::Receiver<io::Result<LeadUp>>),
    /// True once a lead-up was requested.
    pub(crate) has_read_lead_up: bool,
}

/// Event of the sources of the run screen.
pub(crate) enum RunEvent {
    /// New snapshot; false if the feed is closed.
    Feed(bool),
    View,
    LeadUp(io::Result<LeadUp>),
}

impl Screen for RunScreen {
    type Types = RunTypes;
    type Event = RunEvent;

    fn ui(&mut self) -> &mut RunUi {
        &mut self.ui
    }

    fn with_model<R>(&self, ui: &mut RunUi, look: &Look, see: impl FnOnce(&mut RunUi, &RunModel<'_>) -> R) -> R {
        let history = self.time_travel.shared();
        let history = history.lock();
        let speed = self.time_travel.speed_words();
        let latest = Arc::clone(&self.snapshots.borrow().progress);
        let scrub = self.time_travel.scrub(&history, &speed, &latest, self.options.size);
        let input = RunInput { scrub, history: Some(&history), ..self.input(look) };
        let model = RunModel::assessed(input, Cow::Borrowed(self.shown.assessment()), ui);
        see(ui, &model)
    }

    fn draw(buffer: &mut Buffer, area: Rect, frame: &RunFrame<'_, '_>) -> RunHits {
        tui_logger::move_events();
        draw(buffer, area, frame)
    }

    async fn next_event(&mut self) -> RunEvent {
        let views = self.time_travel.views();
        tokio::select! {
            biased;
            changed = self.snapshots.changed(), if self.feed_open => RunEvent::Feed(changed.is_ok()),
            Ok(()) = views.changed() => RunEvent::View,
            Some(found) = self.lead_ups.1.recv() => RunEvent::LeadUp(found),
            else => std::future::pending().await,
        }
    }

    async fn take(&mut self, event: RunEvent, shell: &mut Shell) -> io::Result<Flow> {
        match event {
            RunEvent::Feed(open) => {
                self.feed_open = open;
                self.take_feed(shell);
            }
            RunEvent::View => self.take_view(shell),
            RunEvent::LeadUp(found) => {
                self.take_lead_up(found);
                shell.request_redraw(RedrawReason::Key);
            }
        }
        Ok(Flow::Continue)
    }

    async fn perform(&mut self, effect: RunEffect, shell: &mut Shell) -> io::Result<Flow> {
        match effect {
            RunEffect::Stop => self.stop_engine_in_background(shell),
            RunEffect::Leave if self.engine_runs() && !self.stopping => self.ask_to_stop(),
            RunEffect::Leave => return Ok(Flow::Exit(None)),
            RunEffect::Freeze(true) => self.frozen_at = Some(Instant::now()),
            RunEffect::Freeze(false) => {
                self.frozen_at = None;
                let before = self.shown.progress.input.lines;
                self.take_feed(shell);
                let came = self.shown.progress.input.lines.saturating_sub(before);
                let text = format!("{} lines arrived while frozen", synctop_core::format::count(came));
                shell.notice(&mut self.ui, text);
            }
            RunEffect::Travel(travel) => self.travel(travel),
            RunEffect::Jump(target) => {
                self.hold();
                self.time_travel.jump(target);
            }
            RunEffect::LeadUp(target, stream) => self.read_lead_up(target, stream),
            RunEffect::GoTo(text) => self.go_to(&text, shell),
        }
        Ok(Flow::Continue)
    }

    /// Returns the time of the next redraw if no event arrives.
    fn next_wake(&self, shell: &Shell) -> Option<Instant> {
        let after = |time: Duration| Some(shell.drawn + time);
        if self.stopping {
            return Some(Instant::now() + Duration::from_millis(50));
        }
        if self.time_travel.playing() {
            return self.time_travel.next_frame(shell.drawn, crate::app::shell::FEED_FRAME);
        }
        if self.time_travel.view().is_some() {
            // The distance to the live end grows.
            let grows = self.time_travel.live && !self.snapshots.borrow().progress.closed;
            return after(Duration::from_secs(1)).filter(|_| grows);
        }
        if self.frozen_at.is_some() || !self.is_aging() {
            return None;
        }
        let quiet = self.shown.last_line.unwrap_or(self.began).elapsed();
        after(Duration::from_secs(if quiet < Duration::from_secs(60) { 1 } else { 10 }))
    }

    fn tick(&mut self, _: &mut Shell) {
        self.time_travel.tick();
    }

    fn holds_notice(&self) -> bool {
        self.stopping
    }

    fn after_frame(&mut self) -> io::Result<()> {
        match self.options.panic_for_test.take().as_deref() {
            None => {}
            Some("thread") => drop(std::thread::Builder::new().spawn(panic_in_test)?),
            Some(_) => panic_in_test(),
        }
        Ok(())
    }

    async fn end(&mut self) -> Option<Flow> {
        if !self.stopping || self.engine_runs() {
            return None;
        }
        // The final output of the engine may still be in the channel.
        self.drain_feed().await;
        Some(Flow::Exit(None))
    }
}

impl RunScreen {
    pub(crate) fn new(options: Options, snapshots: watch::Receiver<Snapshot>) -> io::Result<Self> {
        let past = &options.past;
        let rewind = Rewind::spawn(Arc::clone(&past.store), Arc::clone(&past.history), options.decoder)?;
        let mut time_travel = TimeTravel::new(rewind, options.replay.is_none());
        if let Some(start) = &options.replay {
            time_travel.start(start);
        }
        let select_first = options.nested && options.replay.is_some();
        let mut ui = RunUi { sizes: options.sizes.run(), ..RunUi::default() };
        ui.own.nested = options.nested;
        Ok(Self {
            options,
            shown: Shown::default(),
            snapshots,
            ui,
            began: Instant::now(),
            frozen_at: None,
            feed_open: true,
            stopping: false,
            time_travel,
            select_first,
            select_reached: false,
            lead_ups: mpsc::channel(LEAD_UPS),
            has_read_lead_up: false,
        })
    }

    /// Returns the data of this moment. The age of a frozen or ended feed does not grow.
    fn input<'a>(&'a self, look: &'a Look) -> RunInput<'a> {
        let at = self.frozen_at.unwrap_or_else(Instant::now);
        let progress = &*self.shown.progress;
        let over = progress.closed || progress.attempt.end.is_some();
        let age = match self.time_travel.view() {
            None => self.shown.last_line.map(|last| at.saturating_duration_since(last)),
            // Age by the log's own clock.
            Some(view) => {
                let silent = view.at.zip(progress.last_at).and_then(|(now, last)| u64::try_from(now - last).ok());
                silent.map(Duration::from_millis)
            }
        };
        let age = age.filter(|_| !over);
        let millis = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX / 2);
        RunInput {
            progress,
            link: &self.shown.link,
            look,
            source: &self.options.source,
            engine_runs: self.engine_runs(),
            now: progress.last_at.map(|last| last.saturating_add(age.map_or(0, millis))),
            age: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            watched: u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX),
            scrub: None,
            history: None,
            nested: self.options.nested,
        }
    }

    /// Reads the lead-up of an instant in the background.
    fn read_lead_up(&mut self, target: Target, stream: Option<Arc<str>>) {
        self.has_read_lead_up = true;
        let sender = self.lead_ups.0.clone();
        // A screen that has closed takes no result.
        let done = move |found| drop(sender.blocking_send(found));
        if let Err(error) = self.time_travel.lead_up(target, stream, done) {
            self.take_lead_up(Err(error));
        }
    }

    fn take_lead_up(&mut self, found: io::Result<LeadUp>) {
        let Some(RunSheet::LeadUp { state, chosen }) = self.ui.sheet_mut() else { return };
        *state = match found {
            Ok(found) => {
                let rows = synctop_core::report::lead_up::rows(&found);
                // The first row with an instant is selected.
                *chosen = rows.iter().position(|row| row.instant.is_some()).unwrap_or(0);
                LeadUpState::Loaded(Arc::new(found), rows.into())
            }
            Err(error) => LeadUpState::Failed(format!("The log cannot be read again: {error}.")),
        };
    }

    /// Waits until the feed is read to its end, at most one second.
    async fn drain_feed(&mut self) {
        let until = Instant::now() + Duration::from_secs(1);
        while !self.snapshots.borrow().progress.closed && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Takes the newest snapshot, unless an earlier view or a frozen one is on screen.
    pub(crate) fn take_feed(&mut self, shell: &mut Shell) {
        if self.time_travel.view().is_some() {
            self.snapshots.mark_unchanged();
            self.start_replay();
        } else if self.frozen_at.is_none() {
            let is_first = self.shown.progress.input.lines == 0;
            self.shown.set(self.snapshots.borrow_and_update().clone());
            if is_first && self.shown.progress.input.lines > 0 {
                // The first data are not kept waiting.
                shell.request_redraw(RedrawReason::Key);
            }
        } else {
            // A frozen screen still shows the end or the loss of the feed.
            let link = self.snapshots.borrow_and_update().link.clone();
            if std::mem::discriminant(&link) == std::mem::discriminant(&self.shown.link) {
                return;
            }
            self.shown.set_link(link);
        }
        shell.request_redraw(RedrawReason::Feed);
    }

    /// True if a growing age changes the screen.
    fn is_aging(&self) -> bool {
        !matches!(self.shown.link, Link::Ended(_))
            && !self.shown.progress.closed
            && self.shown.progress.attempt.end.is_none()
    }

    // Engine.

    pub(crate) fn engine_runs(&self) -> bool {
        self.options.engine.as_ref().is_some_and(Engine::runs)
    }

    fn ask_to_stop(&mut self) {
        self.ui.overlays.push(crate::views::ui::Overlay::Quit);
    }

    /// Stops the engine in a thread; the loop continues until the engine has exited.
    fn stop_engine_in_background(&mut self, shell: &mut Shell) {
        if let Some(engine) = self.options.engine.clone() {
            self.stopping = true;
            shell.notice(&mut self.ui, "stopping the engine: TERM, and KILL after 5 seconds; q leaves at once");
            // If the thread cannot be created, the engine is stopped when the screen closes.
            let _ = std::thread::Builder::new().name("stop".into()).spawn(move || engine.stop());
        }
    }

    /// Stops a running engine and waits until its output is read, at most 500 ms.
    fn stop_engine(&self) {
        if let Some(engine) = self.options.engine.as_ref().filter(|engine| engine.runs()) {
            engine.stop();
        }
        let until = Instant::now() + Duration::from_millis(500);
        while self.options.engine.is_some() && !self.snapshots.borrow().progress.closed && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Stops the engine even if the loop panicked: it must not outlive synctop.
impl Drop for RunScreen {
    fn drop(&mut self) {
        if self.engine_runs() {
            self.stop_engine();
        }
    }
}

#[expect(clippy::panic, reason = "a test needs a panic")]
fn panic_in_test() {
    panic!("requested by a test");
}
