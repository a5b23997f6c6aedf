//! The loop: signals and keys before the feed, a picture when something changed, nothing when nothing did.

use super::terminal;
use super::update::{Effect, sort, update};
use super::{diagnostics, keys};
use crate::net::{Snapshot, child::Engine};
use crate::progress::{Link, Progress};
use crate::protocol::Millis;
use crate::views::action::{Action, bound, matching};
use crate::views::state::{Filter, Overlay, Target};
use crate::views::{Hits, Look, Screen, Ui, draw};
use crossterm::event::{Event, EventStream, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use futures_util::StreamExt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tui_input::backend::crossterm::EventHandler;

/// Pictures for the feed come no faster than this (25 a second), so that with those for keys there are at most 30.
const FEED_FRAME: Duration = Duration::from_millis(40);

/// Keys that come together are drawn together.
const KEY_FRAME: Duration = Duration::from_millis(8);

/// How long a word on what was just done stays.
const TOAST: Duration = Duration::from_secs(3);

/// What to show, and how.
pub struct Options {
    pub source: String,
    pub look: Look,
    pub mouse: bool,
    /// An engine of ours that has to be stopped when we leave.
    pub engine: Option<Engine>,
    /// Panic after the first picture: the only way to test that the terminal is given back then.
    pub panic_for_test: bool,
}

/// How it ended.
pub struct Ended {
    pub progress: Arc<Progress>,
    pub link: Link,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Milliseconds since the last line.
    pub silent: Option<u64>,
    /// We stopped the engine because the user left.
    pub stopped: bool,
}

/// Runs until the user leaves, a signal comes, or the terminal is gone.
///
/// # Errors
/// When there is no terminal to draw on.
pub fn run(options: Options, snapshots: watch::Receiver<Snapshot>) -> io::Result<Ended> {
    let wake = diagnostics::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut app = App::new(options, snapshots)?;
        let result = app.turn_round(&wake).await;
        terminal::give_back();
        let stopped = app.stopping || app.engine_runs();
        app.stop_engine();
        let latest = app.snapshots.borrow().clone();
        let silent = latest.last_line.and_then(|last| u64::try_from(last.elapsed().as_millis()).ok());
        result.map(|signal| Ended { progress: latest.progress, link: latest.link, signal, silent, stopped })
    })
}

struct App {
    options: Options,
    snapshots: watch::Receiver<Snapshot>,
    terminal: terminal::Screen,
    ui: Ui,
    hits: Hits,
    began: Instant,
    /// The feed as it is shown: the newest, or what was when the picture was frozen.
    shown: Snapshot,
    frozen_at: Option<Instant>,
    drawn: Instant,
    dirty: Option<Because>,
    stopping: bool,
    /// When the word in the footer was said.
    toast_at: Option<Instant>,
    /// When we sent ourselves back to the shell.
    suspended: Option<Instant>,
    signals: Signals,
}

/// Why a picture is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    Feed,
    Key,
}

struct Signals {
    term: Signal,
    hang_up: Signal,
    interrupt: Signal,
    stop: Signal,
    resume: Signal,
}

enum Turn {
    Signal(i32),
    Stop,
    Resume,
    Input(Option<io::Result<Event>>),
    Feed(bool),
    Diagnostics,
    Timer,
}

impl App {
    fn new(options: Options, snapshots: watch::Receiver<Snapshot>) -> io::Result<Self> {
        let signals = Signals {
            term: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            stop: signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
            resume: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        };
        let terminal = terminal::Screen::take(options.mouse)?;
        Ok(Self {
            options,
            shown: Snapshot::default(),
            snapshots,
            terminal,
            ui: Ui::default(),
            hits: Hits::default(),
            began: Instant::now(),
            frozen_at: None,
            drawn: Instant::now().checked_sub(FEED_FRAME).unwrap_or_else(Instant::now),
            dirty: Some(Because::Key),
            stopping: false,
            suspended: None,
            toast_at: None,
            signals,
        })
    }

    /// Answers the signal that ended it, if one did.
    async fn turn_round(&mut self, wake: &tokio::sync::Notify) -> io::Result<Option<i32>> {
        let mut input = EventStream::new();
        let mut feed_open = true;
        loop {
            self.draw_if_due()?;
            let timer = self.next_look();
            let turn = tokio::select! {
                biased;
                _ = self.signals.term.recv() => Turn::Signal(15),
                _ = self.signals.hang_up.recv() => Turn::Signal(1),
                _ = self.signals.interrupt.recv() => Turn::Signal(2),
                _ = self.signals.stop.recv() => Turn::Stop,
                _ = self.signals.resume.recv() => Turn::Resume,
                event = input.next() => Turn::Input(event),
                changed = self.snapshots.changed(), if feed_open => Turn::Feed(changed.is_ok()),
                () = wake.notified() => Turn::Diagnostics,
                () = sleep(timer), if timer.is_some() => Turn::Timer,
            };
            match turn {
                Turn::Signal(number) => return Ok(Some(number)),
                // Our own stop comes back to us; only somebody else's is news.
                Turn::Stop if self.suspended.take().is_some_and(|at| at.elapsed() < Duration::from_secs(1)) => {}
                Turn::Stop => self.suspend()?,
                Turn::Resume => {
                    self.terminal.enter()?;
                    self.due(Because::Key);
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
                Turn::Diagnostics => self.due(Because::Feed),
                Turn::Timer => {
                    if self.toast_at.is_some_and(|said| said.elapsed() >= TOAST) && !self.stopping {
                        self.ui.toast = None;
                        self.toast_at = None;
                    }
                    self.due(Because::Feed);
                }
            }
            if self.stopping && self.options.engine.as_ref().is_none_or(|engine| !engine.runs()) {
                // What the engine said last is still on its way.
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

    fn due(&mut self, because: Because) {
        self.dirty = Some(match self.dirty {
            Some(Because::Key) => Because::Key,
            _ => because,
        });
    }

    fn take_feed(&mut self) {
        if self.frozen_at.is_none() {
            self.shown = self.snapshots.borrow_and_update().clone();
            self.due(Because::Feed);
        } else {
            self.snapshots.mark_unchanged();
        }
    }

    /// When to look again although nothing came: for a picture that is due, or because an age grows.
    fn next_look(&self) -> Option<Instant> {
        if self.stopping {
            return Some(Instant::now() + Duration::from_millis(50));
        }
        if let Some(said) = self.toast_at
            && self.dirty.is_none()
        {
            return Some(said + TOAST);
        }
        match self.dirty {
            Some(Because::Key) => Some(self.drawn + KEY_FRAME),
            Some(Because::Feed) => Some(self.drawn + FEED_FRAME),
            None if self.frozen_at.is_some() || !self.aging() => None,
            None => {
                let quiet = self.shown.last_line.unwrap_or(self.began).elapsed();
                let step = if quiet < Duration::from_secs(60) { 1 } else { 10 };
                Some(self.drawn + Duration::from_secs(step))
            }
        }
    }

    /// Whether time alone changes the picture.
    fn aging(&self) -> bool {
        !matches!(self.shown.link, Link::Ended(_))
            && !self.shown.progress.closed
            && self.shown.progress.attempt.end.is_none()
    }

    fn draw_if_due(&mut self) -> io::Result<()> {
        let frame = match self.dirty {
            None => return Ok(()),
            Some(Because::Key) => KEY_FRAME,
            Some(Because::Feed) => FEED_FRAME,
        };
        if self.drawn.elapsed() < frame {
            return Ok(());
        }
        tui_logger::move_events();
        let screen = screen_of(&self.shown, &self.ui, &self.options, self.began, self.frozen_at);
        let hits = self.terminal.draw(|buffer, area| draw(buffer, area, &screen))?;
        for (list, top) in self.ui.lists.iter_mut().zip(hits.tops) {
            list.top = top.unwrap_or(list.top);
        }
        self.hits = hits;
        self.drawn = Instant::now();
        self.dirty = None;
        self.toast_at = self.ui.toast.as_ref().map(|_| self.toast_at.unwrap_or(self.drawn));
        assert!(!self.options.panic_for_test, "asked to");
        Ok(())
    }

    // Input.

    /// Takes one event; `Some` when it ends the program.
    fn input(&mut self, event: &Event) -> io::Result<Option<Option<i32>>> {
        match event {
            Event::Key(key) => return self.key(key, event),
            Event::Mouse(mouse) => return self.mouse(mouse),
            Event::Resize(..) => self.due(Because::Key),
            Event::Paste(text) => self.paste(text),
            Event::FocusGained | Event::FocusLost => {}
        }
        Ok(None)
    }

    fn key(&mut self, key: &KeyEvent, event: &Event) -> io::Result<Option<Option<i32>>> {
        let Some(chord) = keys::chord(key) else { return Ok(None) };
        self.due(Because::Key);
        if chord == "ctrl-c" {
            return self.act(Action::Interrupt);
        }
        let focus = self.ui.focus;
        match self.ui.overlays.last_mut() {
            Some(Overlay::Filter { input, .. }) => {
                match chord.as_str() {
                    // A bad pattern stays to be mended.
                    "enter" if self.ui.lists.iter().any(|list| list.filter.bad.is_some()) => {}
                    "enter" => drop(self.ui.overlays.pop()),
                    "esc" => return self.act(Action::Back),
                    _ => {
                        input.handle_event(event);
                        let filter = Filter::new(input.value());
                        self.ui.list_mut(focus).filter = filter;
                    }
                }
                Ok(None)
            }
            Some(Overlay::Palette { input, chosen }) => {
                let all = matching(input.value());
                match chord.as_str() {
                    "esc" => drop(self.ui.overlays.pop()),
                    "down" | "ctrl-n" | "tab" => *chosen = (*chosen + 1).min(all.len().saturating_sub(1)),
                    "up" | "ctrl-p" | "shift-tab" => *chosen = chosen.saturating_sub(1),
                    "enter" => {
                        let action = all.get(*chosen).map(|binding| binding.action);
                        self.ui.overlays.pop();
                        if let Some(action) = action {
                            return self.act(action);
                        }
                    }
                    _ => {
                        input.handle_event(event);
                        *chosen = 0;
                    }
                }
                Ok(None)
            }
            Some(Overlay::ConfirmQuit) => {
                match chord.as_str() {
                    "y" | "enter" => {
                        self.ui.overlays.pop();
                        self.begin_stop();
                    }
                    "n" | "esc" | "q" => drop(self.ui.overlays.pop()),
                    _ => {}
                }
                Ok(None)
            }
            // On a sheet, left and q close it: they never leave the program from inside.
            Some(_) if chord == "q" => self.act(Action::Back),
            _ => match bound(&chord) {
                Some(action) => self.act(action),
                None => Ok(None),
            },
        }
    }

    fn paste(&mut self, text: &str) {
        let focus = self.ui.focus;
        let line = text.lines().next().unwrap_or_default();
        match self.ui.overlays.last_mut() {
            Some(Overlay::Filter { input, .. }) => {
                *input = input.clone().with_value(format!("{}{line}", input.value()));
                let filter = Filter::new(input.value());
                self.ui.list_mut(focus).filter = filter;
            }
            Some(Overlay::Palette { input, .. }) => {
                *input = input.clone().with_value(format!("{}{line}", input.value()));
            }
            _ => {}
        }
        self.due(Because::Key);
    }

    fn mouse(&mut self, mouse: &MouseEvent) -> io::Result<Option<Option<i32>>> {
        let target = self.hits.at(mouse.column, mouse.row).cloned();
        match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                self.due(Because::Key);
                match target {
                    Some(Target::Do(action)) => {
                        if matches!(self.ui.overlays.last(), Some(Overlay::Palette { .. } | Overlay::Help { .. })) {
                            self.ui.overlays.pop();
                        }
                        return self.act(action);
                    }
                    Some(Target::Column(column)) => sort(&mut self.ui, column),
                    Some(Target::Pane(pane)) => self.ui.focus = pane,
                    Some(Target::Row(pane, chosen)) => {
                        let again = self.ui.focus == pane && self.ui.list(pane).chosen.as_ref() == Some(&chosen);
                        self.ui.focus = pane;
                        self.ui.list_mut(pane).chosen = Some(chosen);
                        if again {
                            return self.act(Action::Open);
                        }
                    }
                    Some(Target::Nothing) | None => {}
                }
            }
            MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
                let action = if mouse.kind == MouseEventKind::ScrollDown { Action::Down } else { Action::Up };
                if let Some(Target::Row(pane, _) | Target::Pane(pane)) = target
                    && self.ui.overlays.is_empty()
                {
                    self.ui.focus = pane;
                }
                self.due(Because::Key);
                for _ in 0..3 {
                    self.act(action)?;
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Does what an action means; `Some` when it ends the program.
    fn act(&mut self, action: Action) -> io::Result<Option<Option<i32>>> {
        self.toast_at = None;
        let before = self.ui.clone();
        let screen = screen_of(&self.shown, &before, &self.options, self.began, self.frozen_at);
        let effects = update(&mut self.ui, &screen, &self.hits, action);
        for effect in effects {
            match effect {
                Effect::Quit if self.engine_runs() => {
                    if self.stopping {
                        return Ok(Some(None));
                    }
                    self.ui.overlays.push(Overlay::ConfirmQuit);
                }
                Effect::Quit => return Ok(Some(None)),
                Effect::Interrupt => return Ok(Some(Some(2))),
                Effect::Suspend => self.suspend()?,
                Effect::Redraw => self.terminal.forget()?,
                Effect::NextTheme => {
                    self.options.look.theme = self.options.look.theme.next();
                    self.ui.toast = Some(format!("theme {}", self.options.look.theme.word()));
                }
                Effect::ToggleMouse => {
                    self.options.mouse = !self.options.mouse;
                    self.terminal.set_mouse(self.options.mouse)?;
                    let whose = if self.options.mouse {
                        "synctop has the mouse"
                    } else {
                        "the terminal has the mouse: select text"
                    };
                    self.ui.toast = Some(whose.into());
                }
                Effect::Freeze(true) => self.frozen_at = Some(Instant::now()),
                Effect::Freeze(false) => {
                    self.frozen_at = None;
                    let before = self.shown.progress.input.lines;
                    self.take_feed();
                    let came = self.shown.progress.input.lines.saturating_sub(before);
                    self.ui.toast =
                        Some(format!("{} lines came while the picture was frozen", crate::progress::count(came)));
                }
                Effect::Copy(text, what) => {
                    self.terminal.copy(&text)?;
                    self.ui.toast = Some(format!("copied {what}"));
                }
            }
        }
        Ok(None)
    }

    // The engine.

    fn engine_runs(&self) -> bool {
        self.options.engine.as_ref().is_some_and(Engine::runs)
    }

    /// Asks the engine to end; the loop goes on until it is gone.
    fn begin_stop(&mut self) {
        if let Some(engine) = self.options.engine.clone() {
            self.stopping = true;
            self.ui.toast = Some("stopping the engine: TERM, and KILL after 5 seconds; q leaves at once".into());
            // Without a thread it is stopped when we leave.
            let _ = std::thread::Builder::new().name("stop".into()).spawn(move || engine.stop());
        }
    }

    /// On the way out: an engine of ours does not outlive us.
    fn stop_engine(&mut self) {
        if let Some(engine) = self.options.engine.as_ref().filter(|engine| engine.runs()) {
            engine.stop();
        }
        let until = Instant::now() + Duration::from_millis(500);
        while self.options.engine.is_some() && !self.snapshots.borrow().progress.closed && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    // Suspending.

    /// Gives the terminal back and stops, as a shell's Ctrl-Z would; SIGCONT takes it again.
    fn suspend(&mut self) -> io::Result<()> {
        use rustix::process::{Signal, getpid, getppid, getsid, kill_process};
        let ours = getsid(None).ok();
        let has_shell = getppid().and_then(|parent| getsid(Some(parent)).ok()) == ours && ours != Some(getpid());
        if !has_shell {
            self.ui.toast = Some("no shell to go back to: not suspended".into());
            self.due(Because::Key);
            return Ok(());
        }
        terminal::give_back();
        eprintln!("synctop: suspended; fg returns. The engine may wait for it.");
        // The rest of a pipeline stops with us: a shell waits for all of it. Our own group gets the signal too, and
        // it finds a handler; what stops this process is STOP.
        let _ = rustix::process::kill_current_process_group(Signal::TSTP);
        let _ = kill_process(getpid(), Signal::STOP);
        self.suspended = Some(Instant::now());
        self.terminal.enter()?;
        self.due(Because::Key);
        Ok(())
    }
}

async fn sleep(until: Option<Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}

/// The picture's facts at this moment; a frozen or ended one has no time that goes on.
fn screen_of<'a>(
    shown: &'a Snapshot,
    ui: &'a Ui,
    options: &'a Options,
    began: Instant,
    frozen_at: Option<Instant>,
) -> Screen<'a> {
    let at = frozen_at.unwrap_or_else(Instant::now);
    let progress = &*shown.progress;
    let over = progress.closed || progress.attempt.end.is_some();
    let age = shown.last_line.map(|last| at.saturating_duration_since(last)).filter(|_| !over);
    let millis = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX / 2);
    Screen {
        progress,
        link: &shown.link,
        ui,
        look: &options.look,
        source: &options.source,
        now: progress.last_at.map(|last| last.saturating_add(age.map_or(0, millis))),
        age: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        watched: u64::try_from(at.saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX),
    }
}
