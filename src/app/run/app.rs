//! Event loop of the run screen: signals and keys have priority over the feed; draws only after a
//! change.

use crate::app::diagnostics;
use crate::app::run::playback::{ReplayStart, TimeTravel};
use crate::app::term::background_query::{self, BackgroundQuery};
use crate::app::term::output::err_line;
use crate::app::term::session;
use crate::app::term::signals::{self, Signals};
use crate::net::source::child::Engine;
use crate::net::source::ingest::{RewindData, Snapshot};
use crate::net::timeline::rewind::Rewind;
use crate::views::{Hits, Look, Screen, Scrub, Ui, draw};
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use synctop_core::protocol::{Decoder, Millis};
use synctop_core::reduce::{Link, Progress};
use synctop_core::report::text::Leaving;
use tokio::sync::watch;

/// Minimum interval of frames for the feed (25 a second); with the frames for keys there are at
/// most 30.
pub(crate) const FEED_FRAME: Duration = Duration::from_millis(40);

/// Minimum interval of frames for keys: keys that arrive together are drawn together.
pub(crate) const KEY_FRAME: Duration = Duration::from_millis(8);

/// Display time of a notice.
pub(crate) const TOAST: Duration = Duration::from_secs(3);

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

/// Runtime with installed signal handlers. Created before an engine is started, because a signal
/// has to stop the engine.
pub struct Session {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) signals: Signals,
    /// Engine that the watchdog stops.
    engine: Arc<OnceLock<Engine>>,
}

impl Session {
    /// Installs the signal handlers.
    ///
    /// # Errors
    /// Returns the system's error if the runtime, a handler or the watchdog thread cannot be
    /// created.
    pub fn new() -> io::Result<Self> {
        let runtime = signals::runtime()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::install_handlers()?
        };
        let engine = Arc::default();
        signals::watchdog(Arc::clone(&engine))?;
        Ok(Self { runtime, signals, engine })
    }

    /// Runs the run screen until the user quits, a signal arrives, or the terminal is closed.
    ///
    /// # Errors
    /// Returns the system's error if there is no terminal to draw on.
    pub fn run(self, options: Options, snapshots: watch::Receiver<Snapshot>) -> io::Result<ScreenEnd> {
        let Self { runtime, signals, engine } = self;
        if let Some(started) = &options.engine {
            engine.get_or_init(|| started.clone());
        }
        let wake = diagnostics::install();
        runtime.block_on(async {
            let mut session = TerminalSession::take(signals, options.mouse, options.ask)?;
            let mut app = RunApp::new(options, snapshots, &mut session)?;
            let result = app.run_loop(&wake).await;
            session::restore();
            let cuts_child_off = app.options.child_saved.is_some() && !app.snapshots.borrow().progress.closed;
            let stopped = app.stopping || app.engine_runs() || cuts_child_off;
            app.stop_engine();
            let latest = app.snapshots.borrow().clone();
            let silent = latest.last_line.and_then(|last| u64::try_from(last.elapsed().as_millis()).ok());
            let unread = app.options.replay.is_some() && !latest.progress.closed;
            result.map(|signal| ScreenEnd {
                progress: latest.progress,
                unread,
                signal,
                leaving: Leaving { silent, stopped, unkept: app.options.child_saved == Some(false), cut: None },
                panicked: session::panicked(),
            })
        })
    }
}

/// State of the run screen.
pub(crate) struct RunApp<'s> {
    pub(crate) options: Options,
    pub(crate) snapshots: watch::Receiver<Snapshot>,
    pub(crate) session: &'s mut TerminalSession,
    pub(crate) ui: Ui,
    pub(crate) hits: Hits,
    pub(crate) began: Instant,
    /// Snapshot on screen: the newest one, the one at the moment of freezing, or an earlier view.
    pub(crate) shown: Snapshot,
    pub(crate) frozen_at: Option<Instant>,
    /// Time of the last frame.
    pub(crate) drawn: Instant,
    /// Reason of the next frame; `None` if nothing changed.
    pub(crate) dirty: Option<RedrawReason>,
    /// True while the engine is being stopped.
    pub(crate) stopping: bool,
    /// Time at which the notice in the footer was shown.
    pub(crate) toast_at: Option<Instant>,
    /// Earlier view and its playback clock.
    pub(crate) time_travel: TimeTravel,
    /// True while the mouse drags the scrubber.
    pub(crate) dragging: bool,
}

/// Terminal, its events and the signal handlers; outlives a screen.
pub(crate) struct TerminalSession {
    pub(crate) terminal: crate::app::term::session::TerminalDriver,
    pub(crate) signals: Signals,
    pub(crate) input: EventStream,
    /// Query for the background color; `None` once it is answered.
    pub(crate) background_query: Option<BackgroundQuery>,
    /// True if synctop stopped itself: its own handler still receives that signal.
    pub(crate) own_stop: bool,
}

impl TerminalSession {
    /// Takes the terminal over. `ask`: queries its background color.
    pub(crate) fn take(signals: Signals, mouse: bool, ask: bool) -> io::Result<Self> {
        let mut terminal = crate::app::term::session::TerminalDriver::take(mouse)?;
        let background_query = ask.then(BackgroundQuery::now);
        if background_query.is_some() {
            terminal.query_background()?;
        }
        Ok(Self { terminal, signals, input: EventStream::new(), background_query, own_stop: false })
    }

    /// Restores the terminal and stops the process, as Ctrl-Z of a shell does; takes the terminal
    /// over again after SIGCONT. Returns false, and does not stop, if there is no shell.
    pub(crate) fn suspend(&mut self) -> io::Result<bool> {
        use rustix::process::{Signal, getpid, getppid, getsid, kill_process};
        let own_session = getsid(None).ok();
        let parent_session = getppid().and_then(|parent| getsid(Some(parent)).ok());
        let has_shell = parent_session == own_session && own_session != Some(getpid());
        if !has_shell {
            return Ok(false);
        }
        session::restore();
        err_line("synctop: suspended; fg returns. The engine may wait for it.");
        // The other processes of the shell pipeline are stopped too, because a shell waits for all
        // of them. The group signal also reaches this process, whose handler ignores it; STOP stops
        // it.
        self.own_stop = true;
        let _ = rustix::process::kill_current_process_group(Signal::TSTP);
        let _ = kill_process(getpid(), Signal::STOP);
        self.terminal.enter()?;
        Ok(true)
    }
}

/// Reason of a redraw; selects the minimum interval of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedrawReason {
    Feed,
    Key,
}

/// Event of the loop.
enum LoopEvent {
    Signal(i32),
    Stop,
    Resume,
    Input(Option<io::Result<Event>>),
    /// New snapshot; false if the feed is closed.
    Feed(bool),
    View,
    Diagnostics,
    Timer,
}

impl<'s> RunApp<'s> {
    pub(crate) fn new(
        options: Options,
        snapshots: watch::Receiver<Snapshot>,
        session: &'s mut TerminalSession,
    ) -> io::Result<Self> {
        let past = &options.past;
        let rewind = Rewind::spawn(Arc::clone(&past.store), Arc::clone(&past.history), options.decoder)?;
        let mut time_travel = TimeTravel::new(rewind, options.replay.is_none());
        if let Some(start) = &options.replay {
            time_travel.start(start);
        }
        let ui = Ui { nested: options.nested, ..Ui::default() };
        Ok(Self {
            options,
            shown: Snapshot::default(),
            snapshots,
            session,
            ui,
            hits: Hits::default(),
            began: Instant::now(),
            frozen_at: None,
            drawn: Instant::now().checked_sub(FEED_FRAME).unwrap_or_else(Instant::now),
            dirty: Some(RedrawReason::Key),
            stopping: false,
            toast_at: None,
            time_travel,
            dragging: false,
        })
    }

    /// Runs the event loop. Returns the signal that ended it, if any.
    pub(crate) async fn run_loop(&mut self, wake: &tokio::sync::Notify) -> io::Result<Option<i32>> {
        let mut feed_open = true;
        loop {
            if session::panicked() {
                return Ok(None);
            }
            self.draw_if_due()?;
            let timer = self.next_redraw();
            let turn = tokio::select! {
                biased;
                number = self.session.signals.termination.next() => LoopEvent::Signal(number),
                _ = self.session.signals.stop.recv() => LoopEvent::Stop,
                _ = self.session.signals.resume.recv() => LoopEvent::Resume,
                event = self.session.input.next() => LoopEvent::Input(event),
                changed = self.snapshots.changed(), if feed_open => LoopEvent::Feed(changed.is_ok()),
                Ok(()) = self.time_travel.views().changed() => LoopEvent::View,
                () = wake.notified() => LoopEvent::Diagnostics,
                () = sleep(timer), if timer.is_some() => LoopEvent::Timer,
            };
            match turn {
                LoopEvent::Signal(number) => return Ok(Some(number)),
                // The own stop signal returns to this handler; only one from outside is handled.
                LoopEvent::Stop if std::mem::take(&mut self.session.own_stop) => {}
                LoopEvent::Stop => self.suspend()?,
                LoopEvent::Resume => {
                    self.session.terminal.enter()?;
                    self.request_redraw(RedrawReason::Key);
                }
                // The terminal is closed.
                LoopEvent::Input(None | Some(Err(_))) => return Ok(Some(1)),
                LoopEvent::Input(Some(Ok(event))) => {
                    if let Some(signal) = self.input(&event)? {
                        return Ok(signal);
                    }
                }
                LoopEvent::Feed(open) => {
                    feed_open = open;
                    self.take_feed();
                }
                LoopEvent::View => self.take_view(),
                LoopEvent::Diagnostics => self.request_redraw(RedrawReason::Feed),
                LoopEvent::Timer => {
                    if self.toast_at.is_some_and(|said| said.elapsed() >= TOAST) && !self.stopping {
                        self.ui.toast = None;
                        self.toast_at = None;
                    }
                    self.time_travel.tick();
                    self.request_redraw(RedrawReason::Feed);
                }
            }
            if self.stopping && self.options.engine.as_ref().is_none_or(|engine| !engine.runs()) {
                // The final output of the engine may still be in the channel.
                self.drain_feed().await;
                return Ok(None);
            }
        }
    }

    /// Waits until the feed is read to its end, at most one second.
    async fn drain_feed(&mut self) {
        let until = Instant::now() + Duration::from_secs(1);
        while !self.snapshots.borrow().progress.closed && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Requests a redraw; a pending one for a key keeps its reason.
    pub(crate) fn request_redraw(&mut self, because: RedrawReason) {
        self.dirty = Some(match self.dirty {
            Some(RedrawReason::Key) => RedrawReason::Key,
            _ => because,
        });
    }

    /// Takes the newest snapshot, unless an earlier view or a frozen one is on screen.
    pub(crate) fn take_feed(&mut self) {
        if self.time_travel.view().is_some() {
            self.snapshots.mark_unchanged();
            self.start_replay();
            self.request_redraw(RedrawReason::Feed);
        } else if self.frozen_at.is_none() {
            self.shown = self.snapshots.borrow_and_update().clone();
            self.request_redraw(RedrawReason::Feed);
        } else {
            // A frozen screen still shows the end or the loss of the feed.
            let link = self.snapshots.borrow_and_update().link.clone();
            if std::mem::discriminant(&link) != std::mem::discriminant(&self.shown.link) {
                self.shown.link = link;
                self.request_redraw(RedrawReason::Feed);
            }
        }
    }

    /// Time of the next redraw if no event arrives; `None` if time alone changes nothing.
    fn next_redraw(&self) -> Option<Instant> {
        if let Some(until) = self.first_frame_deadline() {
            return Some(until);
        }
        if self.stopping {
            return Some(Instant::now() + Duration::from_millis(50));
        }
        if let Some(said) = self.toast_at
            && self.dirty.is_none()
        {
            return Some(said + TOAST);
        }
        match self.dirty {
            Some(RedrawReason::Key) => Some(self.drawn + KEY_FRAME),
            Some(RedrawReason::Feed) => Some(self.drawn + FEED_FRAME),
            None if self.time_travel.playing() => self.time_travel.next_frame(self.drawn, FEED_FRAME),
            // The distance to the live end grows.
            None if self.time_travel.live
                && self.time_travel.view().is_some()
                && !self.snapshots.borrow().progress.closed =>
            {
                Some(self.drawn + Duration::from_secs(1))
            }
            None if self.time_travel.view().is_some() => None,
            None if self.frozen_at.is_some() || !self.is_aging() => None,
            None => {
                let quiet = self.shown.last_line.unwrap_or(self.began).elapsed();
                let step = if quiet < Duration::from_secs(60) { 1 } else { 10 };
                Some(self.drawn + Duration::from_secs(step))
            }
        }
    }

    /// Time until which the first frame waits for the background color; `None` if it does not wait.
    fn first_frame_deadline(&self) -> Option<Instant> {
        let until = self.session.background_query.as_ref()?.at + background_query::MAX_ANSWER_WAIT;
        (self.drawn < self.began && Instant::now() < until).then_some(until)
    }

    /// True if a growing age changes the screen.
    fn is_aging(&self) -> bool {
        !matches!(self.shown.link, Link::Ended(_))
            && !self.shown.progress.closed
            && self.shown.progress.attempt.end.is_none()
    }

    fn draw_if_due(&mut self) -> io::Result<()> {
        let frame = match self.dirty {
            None => return Ok(()),
            Some(RedrawReason::Key) => KEY_FRAME,
            Some(RedrawReason::Feed) => FEED_FRAME,
        };
        if self.drawn.elapsed() < frame || self.first_frame_deadline().is_some() {
            return Ok(());
        }
        tui_logger::move_events();
        let history = self.time_travel.shared();
        let speed = self.time_travel.speed_words();
        let latest = Arc::clone(&self.snapshots.borrow().progress);
        let hits = self.session.terminal.draw(|buffer, area| {
            // The lock is released before output is written: a blocked terminal must not hold up
            // the feed.
            let history = self.time_travel.view().map(|_| crate::util::sys::lock(&history));
            let scrub = history
                .as_ref()
                .and_then(|history| self.time_travel.scrub(history, &speed, &latest, self.options.size));
            let screen = screen_of(&self.shown, &self.ui, &self.options, self.began, self.frozen_at, scrub);
            draw(buffer, area, &screen)
        })?;
        for (list, top) in self.ui.lists.iter_mut().zip(hits.tops) {
            list.top = top.unwrap_or(list.top);
        }
        self.hits = hits;
        self.drawn = Instant::now();
        self.dirty = None;
        self.toast_at = self.ui.toast.as_ref().map(|_| self.toast_at.unwrap_or(self.drawn));
        match self.options.panic_for_test.take().as_deref() {
            None => {}
            Some("thread") => drop(std::thread::Builder::new().spawn(panic_in_test)?),
            Some(_) => panic_in_test(),
        }
        Ok(())
    }

    // Engine.

    pub(crate) fn engine_runs(&self) -> bool {
        self.options.engine.as_ref().is_some_and(Engine::runs)
    }

    /// Stops the engine in a thread; the loop continues until the engine has exited.
    pub(crate) fn stop_engine_in_background(&mut self) {
        if let Some(engine) = self.options.engine.clone() {
            self.stopping = true;
            self.ui.toast = Some("stopping the engine: TERM, and KILL after 5 seconds; q leaves at once".into());
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

    // Suspension.

    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        if !self.session.suspend()? {
            self.ui.toast = Some("no shell to return to: not suspended".into());
        }
        self.request_redraw(RedrawReason::Key);
        Ok(())
    }
}

/// Stops the engine even if the loop panicked: it must not outlive synctop.
impl Drop for RunApp<'_> {
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

pub(crate) async fn sleep(until: Option<Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}

/// Model of the run screen at this moment. The age of a frozen or ended feed does not grow.
pub(crate) fn screen_of<'a>(
    shown: &'a Snapshot,
    ui: &'a Ui,
    options: &'a Options,
    began: Instant,
    frozen_at: Option<Instant>,
    scrub: Option<Scrub<'a>>,
) -> Screen<'a> {
    let at = frozen_at.unwrap_or_else(Instant::now);
    let progress = &*shown.progress;
    let over = progress.closed || progress.attempt.end.is_some();
    let age = match scrub {
        None => shown.last_line.map(|last| at.saturating_duration_since(last)).filter(|_| !over),
        // Age by the log's own clock.
        Some(scrub) => {
            let silent = scrub.at.zip(progress.last_at).and_then(|(now, last)| u64::try_from(now - last).ok());
            silent.map(Duration::from_millis).filter(|_| !over)
        }
    };
    let millis = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX / 2);
    Screen {
        progress,
        link: &shown.link,
        ui,
        look: &options.look,
        source: &options.source,
        engine_runs: options.engine.as_ref().is_some_and(Engine::runs),
        now: progress.last_at.map(|last| last.saturating_add(age.map_or(0, millis))),
        age: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        scrub,
        watched: u64::try_from(at.saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX),
    }
}
