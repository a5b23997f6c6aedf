//! Event loop of any screen: signals and keys have priority over data; draws only after a change.

use crate::app::effect::Effect;
use crate::app::input::{Drag, input};
use crate::app::term::background_query::{AnswerMatch, MAX_ANSWER_WAIT};
use crate::app::term::session;
use crate::app::term::terminal_session::TerminalSession;
use crate::app::update::Behavior;
use crate::views::hits::Hits;
use crate::views::ui::{ScreenFrame, ScreenTypes, Ui};
use crate::views::{Look, Theme};
use crossterm::event::Event;
use futures_util::StreamExt;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Minimum interval of frames for the feed. It is shorter than that of snapshots: of a longer one, a
/// part of each would be spent on waiting for the next snapshot.
pub(crate) const FEED_FRAME: Duration = Duration::from_millis(30);

/// Minimum interval of frames for keys: keys that arrive together are drawn together. A frame of
/// the feed delays no key.
const KEY_FRAME: Duration = Duration::from_millis(8);

/// Display time of a notice.
pub(crate) const TOAST: Duration = Duration::from_secs(3);

/// Reason of a redraw; selects the minimum interval of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedrawReason {
    Feed,
    Key,
}

/// Continuation of the event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    /// The screen closes, with the signal that caused it, if any.
    Exit(Option<i32>),
    /// The program ends, also the screens below.
    ExitAll(Option<i32>),
}

impl Flow {
    /// Returns the signal that ended the loop, if any.
    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Continue => None,
            Self::Exit(signal) | Self::ExitAll(signal) => signal,
        }
    }
}

/// Screen that the shell runs.
pub(crate) trait Screen {
    type Types: Behavior;
    /// Event of the screen's own sources.
    type Event;

    fn ui(&mut self) -> &mut Ui<Self::Types>;

    /// Calls `see` with the model of this moment.
    fn with_model<R>(
        &self,
        ui: &mut Ui<Self::Types>,
        look: &Look,
        see: impl FnOnce(&mut Ui<Self::Types>, &<Self::Types as ScreenTypes>::Model<'_>) -> R,
    ) -> R;

    /// Draws a frame.
    fn draw(buffer: &mut Buffer, area: Rect, frame: &ScreenFrame<'_, '_, Self::Types>) -> Hits<Self::Types>;

    /// Waits for an event of the screen's own sources. Can be canceled at any time.
    async fn next_event(&mut self) -> Self::Event;

    /// Takes an event of the screen's own sources.
    async fn take(&mut self, event: Self::Event, shell: &mut Shell) -> io::Result<Flow>;

    /// Performs an effect of the screen.
    async fn perform(&mut self, effect: <Self::Types as Behavior>::Effect, shell: &mut Shell) -> io::Result<Flow>;

    /// Returns the time of the next redraw if no event arrives; `None` if time alone changes
    /// nothing.
    fn next_wake(&self, shell: &Shell) -> Option<Instant>;

    /// Reacts to the time of [`Screen::next_wake`].
    fn tick(&mut self, _: &mut Shell) {}

    /// True while a notice must stay.
    fn holds_notice(&self) -> bool {
        false
    }

    /// Reacts to a drawn frame.
    ///
    /// # Errors
    /// Returns the system's error of a thread that cannot be created.
    fn after_frame(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Ends the screen if its work is done.
    async fn end(&mut self) -> Option<Flow> {
        None
    }
}

/// Terminal with its look, and the time of the next frame. Outlives a screen.
pub(crate) struct Shell {
    pub(crate) session: TerminalSession,
    pub(crate) look: Look,
    /// True if the theme is chosen by the terminal's background color, which is queried.
    ask: bool,
    pub(crate) mouse: bool,
    wake: Arc<tokio::sync::Notify>,
    began: Instant,
    /// Time of the last frame.
    pub(crate) drawn: Instant,
    /// Time of the last frame that a key caused.
    drawn_for_key: Option<Instant>,
    /// True if the last frame was the first one, for which there was no data yet.
    is_first_frame: bool,
    /// Reason of the next frame; `None` if nothing changed.
    pub(crate) dirty: Option<RedrawReason>,
    /// Time until which the notice in the footer is shown.
    pub(crate) toast_until: Option<Instant>,
    dragging: Option<Drag>,
}

/// Event of the loop.
enum LoopEvent<E> {
    Signal(i32),
    Stop,
    Resume,
    Input(Option<io::Result<Event>>),
    Own(E),
    Diagnostics,
    Timer,
}

impl Shell {
    pub(crate) fn new(
        session: TerminalSession,
        look: Look,
        ask: bool,
        mouse: bool,
        wake: Arc<tokio::sync::Notify>,
    ) -> Self {
        let now = Instant::now();
        Self {
            session,
            look,
            ask,
            mouse,
            wake,
            began: now,
            drawn: now.checked_sub(FEED_FRAME).unwrap_or(now),
            drawn_for_key: None,
            is_first_frame: false,
            dirty: Some(RedrawReason::Key),
            toast_until: None,
            dragging: None,
        }
    }

    /// Runs a screen until it closes.
    pub(crate) async fn run<S: Screen>(&mut self, screen: &mut S) -> io::Result<Flow> {
        let wake = Arc::clone(&self.wake);
        let mut hits = Hits::default();
        self.request_redraw(RedrawReason::Key);
        loop {
            if session::panicked() {
                return Ok(Flow::ExitAll(None));
            }
            self.draw_if_due(screen, &mut hits)?;
            let timer = self.next_redraw(screen);
            let event = tokio::select! {
                biased;
                number = self.session.signals.termination.next() => LoopEvent::Signal(number),
                _ = self.session.signals.stop.recv() => LoopEvent::Stop,
                _ = self.session.signals.resume.recv() => LoopEvent::Resume,
                event = self.session.input.next() => LoopEvent::Input(event),
                event = screen.next_event() => LoopEvent::Own(event),
                () = wake.notified() => LoopEvent::Diagnostics,
                () = sleep(timer), if timer.is_some() => LoopEvent::Timer,
            };
            let flow = match event {
                LoopEvent::Signal(number) => Flow::ExitAll(Some(number)),
                // The own stop signal returns to this handler; only one from outside is handled.
                LoopEvent::Stop if std::mem::take(&mut self.session.own_stop) => Flow::Continue,
                LoopEvent::Stop => self.suspend(screen)?,
                LoopEvent::Resume => {
                    self.session.terminal.enter()?;
                    self.request_redraw(RedrawReason::Key);
                    Flow::Continue
                }
                // The terminal is closed.
                LoopEvent::Input(None | Some(Err(_))) => Flow::ExitAll(Some(1)),
                LoopEvent::Input(Some(Ok(event))) => self.input(screen, &hits, &event).await?,
                LoopEvent::Own(event) => screen.take(event, self).await?,
                LoopEvent::Diagnostics => {
                    self.request_redraw(RedrawReason::Feed);
                    Flow::Continue
                }
                LoopEvent::Timer => {
                    self.expire_notice(screen);
                    screen.tick(self);
                    self.request_redraw(RedrawReason::Feed);
                    Flow::Continue
                }
            };
            let flow = match flow {
                Flow::Continue => screen.end().await.unwrap_or(Flow::Continue),
                flow => flow,
            };
            if flow != Flow::Continue {
                self.request_redraw(RedrawReason::Key);
                return Ok(flow);
            }
        }
    }

    /// Requests a redraw; a pending one for a key keeps its reason.
    pub(crate) fn request_redraw(&mut self, because: RedrawReason) {
        self.dirty = Some(match self.dirty {
            Some(RedrawReason::Key) => RedrawReason::Key,
            _ => because,
        });
    }

    /// Shows a notice in the footer of a screen.
    pub(crate) fn notice<S: ScreenTypes>(&mut self, ui: &mut Ui<S>, text: impl Into<String>) {
        ui.say(text);
        self.toast_until = None;
        self.request_redraw(RedrawReason::Key);
    }

    fn expire_notice<S: Screen>(&mut self, screen: &mut S) {
        if self.toast_until.is_some_and(|until| Instant::now() >= until) && !screen.holds_notice() {
            screen.ui().toast = None;
            self.toast_until = None;
        }
    }

    /// Time until which the first frame waits for the background color; `None` if it does not wait.
    fn first_frame_deadline(&self) -> Option<Instant> {
        let until = self.session.background_query.as_ref()?.at + MAX_ANSWER_WAIT;
        (self.drawn < self.began && Instant::now() < until).then_some(until)
    }

    fn next_redraw<S: Screen>(&self, screen: &S) -> Option<Instant> {
        if let Some(until) = self.first_frame_deadline() {
            return Some(until);
        }
        match self.dirty {
            Some(reason) => Some(self.due(reason)),
            None => [self.toast_until, screen.next_wake(self)].into_iter().flatten().min(),
        }
    }

    /// Returns the time from which a frame for this reason may be drawn.
    fn due(&self, reason: RedrawReason) -> Instant {
        match reason {
            RedrawReason::Key => self.drawn_for_key.map_or(self.began, |drawn| drawn + KEY_FRAME),
            RedrawReason::Feed if self.is_first_frame => self.drawn + KEY_FRAME,
            RedrawReason::Feed => self.drawn + FEED_FRAME,
        }
    }

    fn draw_if_due<S: Screen>(&mut self, screen: &mut S, hits: &mut Hits<S::Types>) -> io::Result<()> {
        let Some(reason) = self.dirty else { return Ok(()) };
        if Instant::now() < self.due(reason) || self.first_frame_deadline().is_some() {
            return Ok(());
        }
        let mut ui = std::mem::take(screen.ui());
        let (look, terminal) = (self.look, &mut self.session.terminal);
        // The model, and with it a lock of the rewind index, is released before output is written:
        // a blocked terminal must not hold up the feed.
        let drawn = terminal.draw(|buffer, area| {
            screen.with_model(&mut ui, &look, |ui, model| S::draw(buffer, area, &ScreenFrame { model, ui }))
        });
        if let Ok(drawn) = drawn.as_ref() {
            drawn.keep_tops(&mut ui);
        }
        let has_toast = ui.toast.is_some();
        *screen.ui() = ui;
        *hits = drawn?;
        self.is_first_frame = self.drawn < self.began;
        self.drawn = Instant::now();
        if reason == RedrawReason::Key {
            self.drawn_for_key = Some(self.drawn);
        }
        self.dirty = None;
        self.toast_until = has_toast.then(|| self.toast_until.unwrap_or(self.drawn + TOAST));
        screen.after_frame()
    }

    async fn input<S: Screen>(&mut self, screen: &mut S, hits: &Hits<S::Types>, event: &Event) -> io::Result<Flow> {
        match self.session.background_query.as_mut().map_or(AnswerMatch::No, |query| query.classify(event)) {
            AnswerMatch::No => {}
            AnswerMatch::Part => return Ok(Flow::Continue),
            AnswerMatch::Answer(theme) => {
                self.session.background_query = None;
                self.take_theme(theme);
                return Ok(Flow::Continue);
            }
        }
        let mut ui = std::mem::take(screen.ui());
        let before = ui.toast.clone();
        let dragging = &mut self.dragging;
        let effects = screen.with_model(&mut ui, &self.look, |ui, model| input(ui, model, hits, dragging, event));
        if ui.toast != before {
            self.toast_until = None;
        }
        *screen.ui() = ui;
        let Some(effects) = effects else { return Ok(Flow::Continue) };
        self.request_redraw(RedrawReason::Key);
        for effect in effects {
            let flow = self.perform(screen, effect).await?;
            if flow != Flow::Continue {
                return Ok(flow);
            }
        }
        Ok(Flow::Continue)
    }

    /// Takes the theme that suits the background, unless the user chose one meanwhile.
    fn take_theme(&mut self, theme: Option<Theme>) {
        if let Some(theme) = theme.filter(|_| self.ask) {
            self.look.theme = theme;
            self.session.terminal.invalidate();
            self.request_redraw(RedrawReason::Key);
        }
    }

    async fn perform<S: Screen>(
        &mut self,
        screen: &mut S,
        effect: Effect<<S::Types as Behavior>::Effect>,
    ) -> io::Result<Flow> {
        match effect {
            Effect::Quit => return Ok(Flow::Exit(None)),
            Effect::Interrupt => return Ok(Flow::ExitAll(Some(2))),
            Effect::Suspend => return self.suspend(screen),
            Effect::Redraw => self.session.terminal.invalidate(),
            Effect::NextTheme => {
                self.ask = false;
                self.look.theme = self.look.theme.next();
                let text = format!("theme {}", self.look.theme.as_str());
                self.notice(screen.ui(), text);
            }
            Effect::ToggleMouse => {
                self.mouse = !self.mouse;
                self.session.terminal.set_mouse(self.mouse)?;
                let text = if self.mouse { "mouse on" } else { "mouse off: the terminal selects text" };
                self.notice(screen.ui(), text);
            }
            Effect::Copy(text, name) => {
                self.session.terminal.copy(&text)?;
                self.notice(screen.ui(), format!("copied {name}"));
            }
            Effect::Own(effect) => return screen.perform(effect, self).await,
        }
        Ok(Flow::Continue)
    }

    fn suspend<S: Screen>(&mut self, screen: &mut S) -> io::Result<Flow> {
        if !self.session.suspend()? {
            self.notice(screen.ui(), "no shell to return to: not suspended");
        }
        self.request_redraw(RedrawReason::Key);
        Ok(Flow::Continue)
    }
}

async fn sleep(until: Option<Instant>) {
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}
