//! Event loop of the run screen: signals and keys before the feed; draws only when something
//! changed.

use super::background::{self, Asked};
use super::playback::{Start, Traveller};
use super::signals::{self, Signals};
use super::{diagnostics, terminal};
use crate::net::rewind::Rewind;
use crate::net::{Past, Snapshot, child::Engine};
use crate::views::{Hits, Look, Screen, Scrub, Ui, draw};
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use synctop_core::protocol::{Decoder, Millis};
use synctop_core::reduce::{Link, Progress};
use synctop_core::report::text::Leaving;
use tokio::sync::watch;

/// Pictures for the feed come no faster than this (25 a second), so that with those for keys there
/// are at most 30.
pub(super) const FEED_FRAME: Duration = Duration::from_millis(40);

/// Keys that come together are drawn together.
pub(super) const KEY_FRAME: Duration = Duration::from_millis(8);

/// Display time of a notice.
pub(super) const TOAST: Duration = Duration::from_secs(3);

/// Content and presentation of the run screen.
pub struct Options {
    pub source: String,
    pub look: Look,
    /// Ask the terminal for its background, and choose the theme by it.
    pub ask: bool,
    pub mouse: bool,
    /// An engine of ours that has to be stopped when we leave.
    pub engine: Option<Engine>,
    /// The feed comes from a child of ours and ends with us; the value: the bytes read so far are
    /// stored.
    pub ours: Option<bool>,
    /// Rewind data of the feed, and its decoder.
    pub past: Past,
    pub decoder: Decoder,
    /// It is a saved log, and begins so.
    pub replay: Option<Start>,
    /// Bytes of it, where that is known.
    pub size: Option<u64>,
    /// It was opened from the fleet, and goes back there.
    pub nested: bool,
    /// Panic after the first picture, in the loop or in a thread: the only way to test that the
    /// terminal is given back then.
    pub panic_for_test: Option<String>,
}

/// Result of the run screen.
pub struct ScreenEnd {
    pub progress: Arc<Progress>,
    /// The saved log was not read to its end: its outcome is unknown.
    pub unread: bool,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    pub leaving: Leaving,
    /// A part of synctop panicked; its message is on the shell.
    pub panicked: bool,
}

/// Signals are heard, and nothing else is done yet: made before an engine is started, which has to
/// be stopped on one.
pub struct Session {
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) signals: Signals,
    /// For the watchdog.
    engine: Arc<OnceLock<Engine>>,
}

impl Session {
    /// Hears signals from now on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn new() -> io::Result<Self> {
        let runtime = signals::runtime()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::hear()?
        };
        let engine = Arc::default();
        signals::watchdog(Arc::clone(&engine))?;
        Ok(Self { runtime, signals, engine })
    }

    /// Runs until the user leaves, a signal comes, or the terminal is gone.
    ///
    /// # Errors
    /// When there is no terminal to draw on.
    pub fn run(self, options: Options, snapshots: watch::Receiver<Snapshot>) -> io::Result<ScreenEnd> {
        let Self { runtime, signals, engine } = self;
        if let Some(ours) = &options.engine {
            engine.get_or_init(|| ours.clone());
        }
        let wake = diagnostics::install();
        runtime.block_on(async {
            let mut session = TerminalSession::take(signals, options.mouse, options.ask)?;
            let mut app = RunApp::new(options, snapshots, &mut session)?;
            let result = app.turn_round(&wake).await;
            terminal::give_back();
            let ours = app.options.ours.is_some() && !app.snapshots.borrow().progress.closed;
            let stopped = app.stopping || app.engine_runs() || ours;
            app.stop_engine();
            let latest = app.snapshots.borrow().clone();
            let silent = latest.last_line.and_then(|last| u64::try_from(last.elapsed().as_millis()).ok());
            let unread = app.options.replay.is_some() && !latest.progress.closed;
            result.map(|signal| ScreenEnd {
                progress: latest.progress,
                unread,
                signal,
                leaving: Leaving { silent, stopped, unkept: app.options.ours == Some(false), cut: None },
                panicked: terminal::panicked(),
            })
        })
    }
}

pub(super) struct RunApp<'s> {
    pub(super) options: Options,
    pub(super) snapshots: watch::Receiver<Snapshot>,
    pub(super) session: &'s mut TerminalSession,
    pub(super) ui: Ui,
    pub(super) hits: Hits,
    pub(super) began: Instant,
    /// Snapshot on screen: the newest one, or the one of the moment of freezing.
    pub(super) shown: Snapshot,
    pub(super) frozen_at: Option<Instant>,
    pub(super) drawn: Instant,
    pub(super) dirty: Option<RedrawReason>,
    pub(super) stopping: bool,
    /// Time of the notice in the footer.
    pub(super) toast_at: Option<Instant>,
    /// The clock, when it is not now's.
    pub(super) traveller: Traveller,
    /// The mouse draws the scrubber along.
    pub(super) dragging: bool,
}

/// Terminal and its events, independent of the screen.
pub(super) struct TerminalSession {
    pub(super) terminal: terminal::Screen,
    pub(super) signals: Signals,
    pub(super) input: EventStream,
    /// The question for the background, until it is answered.
    pub(super) asked: Option<Asked>,
    /// We stopped ourselves: that signal is still to reach our own handler.
    pub(super) own_stop: bool,
}

impl TerminalSession {
    /// Takes the terminal; `ask`: asks it for its background.
    pub(super) fn take(signals: Signals, mouse: bool, ask: bool) -> io::Result<Self> {
        let mut terminal = terminal::Screen::take(mouse)?;
        let asked = ask.then(Asked::now);
        if asked.is_some() {
            terminal.ask()?;
        }
        Ok(Self { terminal, signals, input: EventStream::new(), asked, own_stop: false })
    }

    /// Gives the terminal back and stops, as a shell's Ctrl-Z would; SIGCONT takes it again.
    /// Answers whether there was a shell.
    pub(super) fn suspend(&mut self) -> io::Result<bool> {
        use rustix::process::{Signal, getpid, getppid, getsid, kill_process};
        let ours = getsid(None).ok();
        let has_shell = getppid().and_then(|parent| getsid(Some(parent)).ok()) == ours && ours != Some(getpid());
        if !has_shell {
            return Ok(false);
        }
        terminal::give_back();
        let _ = writeln!(io::stderr(), "synctop: suspended; fg returns. The engine may wait for it.");
        // The rest of a pipeline stops with us: a shell waits for all of it. Our own group gets the
        // signal too and handles it; STOP stops this process.
        self.own_stop = true;
        let _ = rustix::process::kill_current_process_group(Signal::TSTP);
        let _ = kill_process(getpid(), Signal::STOP);
        self.terminal.enter()?;
        Ok(true)
    }
}

/// Reason of a redraw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RedrawReason {
    Feed,
    Key,
}

enum Turn {
    Signal(i32),
    Stop,
    Resume,
    Input(Option<io::Result<Event>>),
    Feed(bool),
    View,
    Diagnostics,
    Timer,
}

impl<'s> RunApp<'s> {
    pub(super) fn new(
        options: Options,
        snapshots: watch::Receiver<Snapshot>,
        session: &'s mut TerminalSession,
    ) -> io::Result<Self> {
        let past = &options.past;
        let rewind = Rewind::spawn(Arc::clone(&past.store), Arc::clone(&past.history), options.decoder)?;
        let mut traveller = Traveller::new(rewind, options.replay.is_none());
        if let Some(start) = &options.replay {
            traveller.begin(start);
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
            traveller,
            dragging: false,
        })
    }

    /// Answers the signal that ended it, if one did.
    pub(super) async fn turn_round(&mut self, wake: &tokio::sync::Notify) -> io::Result<Option<i32>> {
        let mut feed_open = true;
        loop {
            if terminal::panicked() {
                return Ok(None);
            }
            self.draw_if_due()?;
            let timer = self.next_look();
            let turn = tokio::select! {
                biased;
                number = self.session.signals.enders.next() => Turn::Signal(number),
                _ = self.session.signals.stop.recv() => Turn::Stop,
                _ = self.session.signals.resume.recv() => Turn::Resume,
                event = self.session.input.next() => Turn::Input(event),
                changed = self.snapshots.changed(), if feed_open => Turn::Feed(changed.is_ok()),
                Ok(()) = self.traveller.views().changed() => Turn::View,
                () = wake.notified() => Turn::Diagnostics,
                () = sleep(timer), if timer.is_some() => Turn::Timer,
            };
            match turn {
                Turn::Signal(number) => return Ok(Some(number)),
                // Our own stop signal returns to us; only one from outside is news.
                Turn::Stop if std::mem::take(&mut self.session.own_stop) => {}
                Turn::Stop => self.suspend()?,
                Turn::Resume => {
                    self.session.terminal.enter()?;
                    self.due(RedrawReason::Key);
                }
                // The terminal is gone.
                Turn::Input(None | Some(Err(_))) => return Ok(Some(1)),
                Turn::Input(Some(Ok(event))) => {
                    if let Some(signal) = self.input(&event)? {
                        return Ok(signal);
                    }
                }
                Turn::Feed(open) => {
                    feed_open = open;
                    self.take_feed();
                }
                Turn::View => self.take_view(),
                Turn::Diagnostics => self.due(RedrawReason::Feed),
                Turn::Timer => {
                    if self.toast_at.is_some_and(|said| said.elapsed() >= TOAST) && !self.stopping {
                        self.ui.toast = None;
                        self.toast_at = None;
                    }
                    self.traveller.tick();
                    self.due(RedrawReason::Feed);
                }
            }
            if self.stopping && self.options.engine.as_ref().is_none_or(|engine| !engine.runs()) {
                // The engine's last words are still on their way.
                self.last_words().await;
                return Ok(None);
            }
        }
    }

    async fn last_words(&mut self) {
        let until = Instant::now() + Duration::from_secs(1);
        while !self.snapshots.borrow().progress.closed && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn due(&mut self, because: RedrawReason) {
        self.dirty = Some(match self.dirty {
            Some(RedrawReason::Key) => RedrawReason::Key,
            _ => because,
        });
    }

    pub(super) fn take_feed(&mut self) {
        if self.traveller.view().is_some() {
            self.snapshots.mark_unchanged();
            self.start_replay();
            self.due(RedrawReason::Feed);
        } else if self.frozen_at.is_none() {
            self.shown = self.snapshots.borrow_and_update().clone();
            self.due(RedrawReason::Feed);
        } else {
            // A frozen picture still reports the end or the loss of the feed.
            let link = self.snapshots.borrow_and_update().link.clone();
            if std::mem::discriminant(&link) != std::mem::discriminant(&self.shown.link) {
                self.shown.link = link;
                self.due(RedrawReason::Feed);
            }
        }
    }

    /// Time of the next redraw if nothing arrives: a due picture or a growing age.
    fn next_look(&self) -> Option<Instant> {
        if let Some(until) = self.first_waits() {
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
            None if self.traveller.playing() => self.traveller.next(self.drawn, FEED_FRAME),
            // How far behind it is grows.
            None if self.traveller.live
                && self.traveller.view().is_some()
                && !self.snapshots.borrow().progress.closed =>
            {
                Some(self.drawn + Duration::from_secs(1))
            }
            None if self.traveller.view().is_some() => None,
            None if self.frozen_at.is_some() || !self.aging() => None,
            None => {
                let quiet = self.shown.last_line.unwrap_or(self.began).elapsed();
                let step = if quiet < Duration::from_secs(60) { 1 } else { 10 };
                Some(self.drawn + Duration::from_secs(step))
            }
        }
    }

    /// Until when the first picture waits for the colours that it should have.
    fn first_waits(&self) -> Option<Instant> {
        let until = self.session.asked.as_ref()?.at + background::PATIENCE;
        (self.drawn < self.began && Instant::now() < until).then_some(until)
    }

    /// True if time alone changes the picture.
    fn aging(&self) -> bool {
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
        if self.drawn.elapsed() < frame || self.first_waits().is_some() {
            return Ok(());
        }
        tui_logger::move_events();
        let history = self.traveller.shared();
        let speed = self.traveller.speed_words();
        let latest = Arc::clone(&self.snapshots.borrow().progress);
        let hits = self.session.terminal.draw(|buffer, area| {
            // Given back before anything is written: a terminal that takes nothing must not hold up
            // the feed.
            let history = self.traveller.view().map(|_| crate::net::lock(&history));
            let scrub =
                history.as_ref().and_then(|history| self.traveller.scrub(history, &speed, &latest, self.options.size));
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
            Some("thread") => drop(std::thread::Builder::new().spawn(panic_as_asked)?),
            Some(_) => panic_as_asked(),
        }
        Ok(())
    }

    // The engine.

    pub(super) fn engine_runs(&self) -> bool {
        self.options.engine.as_ref().is_some_and(Engine::runs)
    }

    /// Asks the engine to end; the loop goes on until it is gone.
    pub(super) fn begin_stop(&mut self) {
        if let Some(engine) = self.options.engine.clone() {
            self.stopping = true;
            self.ui.toast = Some("stopping the engine: TERM, and KILL after 5 seconds; q leaves at once".into());
            // Without a thread it is stopped when we leave.
            let _ = std::thread::Builder::new().name("stop".into()).spawn(move || engine.stop());
        }
    }

    /// On the way out: an engine of ours does not outlive us.
    fn stop_engine(&self) {
        if let Some(engine) = self.options.engine.as_ref().filter(|engine| engine.runs()) {
            engine.stop();
        }
        let until = Instant::now() + Duration::from_millis(500);
        while self.options.engine.is_some() && !self.snapshots.borrow().progress.closed && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    // Suspending.

    pub(super) fn suspend(&mut self) -> io::Result<()> {
        if !self.session.suspend()? {
            self.ui.toast = Some("no shell to go back to: not suspended".into());
        }
        self.due(RedrawReason::Key);
        Ok(())
    }
}

/// Also when the loop panicked: an engine of ours does not outlive us.
impl Drop for RunApp<'_> {
    fn drop(&mut self) {
        if self.engine_runs() {
            self.stop_engine();
        }
    }
}

#[expect(clippy::panic, reason = "a comparison of floats is intended")]
fn panic_as_asked() {
    panic!("asked to");
}

pub(super) async fn sleep(until: Option<Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}

/// The picture's facts at this moment; a frozen or ended one has no time that goes on.
pub(super) fn screen_of<'a>(
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
        // By the log's own clock.
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
