//! Playback clock for earlier instants of a feed or log: play, step, seek. A replay and a rewound
//! feed have a clock; a live view has none.

use crate::net::timeline::keep::SharedHistory;
use crate::net::timeline::rewind::{Request, Rewind, View};
use crate::net::timeline::seek::Step;
use crate::views::Scrub;
use crate::views::run::action::Travel;
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::protocol::Millis;
use synctop_core::reduce::history::{GAP_MS, History, LogPosition};
use synctop_core::reduce::lead_up::LeadUp;
use synctop_core::reduce::{Axis, Progress, Target};

/// Playback speeds as multiples of the log's own speed; 0 is unlimited.
pub const SPEEDS: [f64; 12] = [0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 60.0, 100.0, 300.0, 1000.0, 0.0];

/// Index of 1x in [`SPEEDS`].
const NORMAL_SPEED: usize = 2;

/// Lines per second at 1x, for a log without timestamps.
const LINES_PER_SECOND: f64 = 10.0;

/// Bytes per step at unlimited speed.
const UNLIMITED_SPEED_STEP: u64 = 24 << 20;

/// Reference point of a running clock.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    /// Wall-clock time of the reference point.
    since: Instant,
    /// Log time of the reference point; `None` until the first view, and in a log without
    /// timestamps.
    at: Option<Millis>,
    /// Line of the reference point, for a log without timestamps; 0 if unset.
    lines: u64,
}

/// Earlier view of a feed or log, and its playback clock.
pub(crate) struct TimeTravel {
    rewind: Rewind,
    /// True if a live feed continues in the background; false for a saved log.
    pub live: bool,
    /// View on screen; `None` shows the live state.
    view: Option<View>,
    /// Reference point of the running clock; `None` while paused.
    anchor: Option<Anchor>,
    /// Index of the speed in [`SPEEDS`].
    speed: usize,
    /// True if playback skips silences.
    pub skip: bool,
    /// Number of the last request; a view with a lower number is older.
    last_request: u64,
    /// Target time of the pending jump; further keys count from it.
    pending_time: Option<Millis>,
    /// True if the view was live until the pending request.
    was_live: bool,
}

/// Initial state of a replay.
#[derive(Debug, Clone)]
pub struct ReplayStart {
    /// Position such as `08:31:20`; `None` is the start of the log.
    pub at: Option<String>,
    /// Multiple of the log's own speed: one of [`SPEEDS`].
    pub speed: f64,
    pub paused: bool,
    /// Skip silences.
    pub skip: bool,
}

impl TimeTravel {
    pub(crate) fn new(rewind: Rewind, live: bool) -> Self {
        Self {
            rewind,
            live,
            view: None,
            anchor: None,
            speed: NORMAL_SPEED,
            skip: false,
            last_request: 0,
            pending_time: None,
            was_live: false,
        }
    }

    /// Starts a replay at the start of the log.
    pub(crate) fn start(&mut self, start: &ReplayStart) {
        self.view = Some(View::default());
        self.skip = start.skip;
        self.speed = SPEEDS.iter().position(|speed| (speed - start.speed).abs() < 1e-9).unwrap_or(NORMAL_SPEED);
        self.request(Target::Begin);
        if !start.paused {
            self.anchor = Some(Anchor { since: Instant::now(), at: None, lines: 0 });
        }
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.rewind.history.lock()
    }

    pub(crate) fn shared(&self) -> SharedHistory {
        Arc::clone(&self.rewind.history)
    }

    pub(crate) fn views(&mut self) -> &mut tokio::sync::watch::Receiver<View> {
        &mut self.rewind.views
    }

    /// View on screen; `None` if it is live.
    pub(crate) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    pub(crate) fn playing(&self) -> bool {
        self.anchor.is_some()
    }

    /// True while a requested seek has not produced a view.
    pub(crate) fn is_seeking(&self) -> bool {
        self.rewind.busy()
    }

    /// True if the view is that of the last request.
    pub(crate) fn has_arrived(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.served >= self.last_request)
    }

    /// Reads the lead-up of an instant in the background.
    pub(crate) fn lead_up(
        &self,
        place: Target,
        stream: Option<Arc<str>>,
        done: impl FnOnce(std::io::Result<LeadUp>) + Send + 'static,
    ) -> std::io::Result<()> {
        self.rewind.lead_up(place, stream, done)
    }

    /// Speed as text: `4x`, `1/4x`, `max`.
    pub(crate) fn speed_words(&self) -> String {
        match SPEEDS.get(self.speed) {
            Some(0.25) => "1/4x".into(),
            Some(0.5) => "1/2x".into(),
            Some(speed) if *speed > 0.0 => format!("{speed}x"),
            _ => "max".into(),
        }
    }

    /// Requests the view at a target.
    fn request(&mut self, target: Target) {
        self.pending_time = if let Target::Time(at) = target { Some(at) } else { None };
        self.last_request = self.rewind.ask(Request::Go(target));
    }

    /// Freezes the view at this position of a live feed.
    pub(crate) fn hold(&mut self, shown: &Arc<Progress>, at: Option<Millis>) {
        if self.view.is_none() {
            self.view = Some(View { at, progress: Arc::clone(shown), ..View::default() });
            self.request(Target::Bytes(shown.input.bytes));
            self.was_live = true;
        }
    }

    /// Returns to the live view.
    pub(crate) fn return_to_live(&mut self) {
        self.view = None;
        self.anchor = None;
        self.was_live = false;
    }

    /// Position of the view; the start of the log if it is live.
    pub(crate) fn position(&self) -> LogPosition {
        self.view.as_ref().map(|view| LogPosition::of(&view.progress)).unwrap_or_default()
    }

    /// Returns the scrubber model of the screen; `None` if the view is live. `latest` is the newest
    /// known progress, `size` the bytes of a saved log.
    pub(crate) fn scrub<'a>(
        &self,
        history: &'a History,
        speed: &'a str,
        latest: &Progress,
        size: Option<u64>,
    ) -> Option<Scrub<'a>> {
        let view = self.view.as_ref()?;
        let position = LogPosition::of(&view.progress);
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = size.map_or(0.0, |size| history.end().bytes as f64 / size.max(1) as f64);
        Some(Scrub {
            history,
            playing: self.playing(),
            speed,
            skip: self.skip,
            position,
            at: view.at,
            ended: view.ended,
            behind: self.live.then(|| {
                let then = view.at.or(history.span().map(|span| span.0));
                let time = latest.last_at.zip(then).map(|(now, then)| (now - then).max(0));
                (time, latest.input.lines.saturating_sub(position.lines))
            }),
            indexing: (!self.live && !history.complete).then_some(share),
        })
    }

    /// Takes the newest view. Returns its notice, if any.
    pub(crate) fn take_view(&mut self) -> Option<String> {
        let view = self.rewind.views.borrow_and_update().clone();
        let word = view.note.clone();
        if view.served >= self.last_request {
            self.pending_time = None;
            // The requested position does not exist: the view stays live.
            if std::mem::take(&mut self.was_live) && view.failed {
                self.return_to_live();
                return word;
            }
        }
        if self.view.is_some() {
            if view.ended && self.playing() && view.served >= self.last_request {
                self.anchor = None;
            }
            self.view = Some(view);
        }
        word
    }

    /// Performs a time travel action. Returns a notice for the footer, if any.
    pub(crate) fn travel(&mut self, what: Travel) -> Option<String> {
        let here = self.view.as_ref().map(|view| (LogPosition::of(&view.progress), view.at)).unwrap_or_default();
        match what {
            Travel::Play => self.play(!self.playing()),
            Travel::Faster | Travel::Slower => {
                let step = if what == Travel::Faster { 1 } else { -1 };
                self.speed = self.speed.saturating_add_signed(step).min(SPEEDS.len() - 1);
                if self.playing() {
                    self.play(true);
                }
                return Some(format!("speed {}", self.speed_words()));
            }
            Travel::Gaps => {
                self.skip = !self.skip;
                let word = if self.skip { "are passed over" } else { "are played" };
                return Some(format!("silences of {} s and more {word}", GAP_MS / 1000));
            }
            Travel::Second(on) => self.jump_by(here, if on { 1_000 } else { -1_000 }),
            Travel::Ten(on) => self.jump_by(here, if on { 10_000 } else { -10_000 }),
            Travel::Minute(on) => self.jump_by(here, if on { 60_000 } else { -60_000 }),
            // The clock is in a silence behind the last line: goes back to the time of that line
            // first.
            Travel::Line(false) if here.1 > here.0.at => self.jump(Target::Bytes(here.0.bytes)),
            Travel::Line(on) => self.step(Step::Lines(if on { 1 } else { -1 })),
            Travel::Mark(kind, on) => self.step(Step::Mark(kind, on)),
            Travel::Begin => self.jump(Target::Begin),
            Travel::Now => self.jump(Target::End),
            Travel::Share(share) => self.jump_to_share(f64::from(share) / f64::from(u16::MAX)),
            Travel::Goto => {}
        }
        None
    }

    /// Jumps `step` milliseconds away from the pending target or the shown position.
    fn jump_by(&mut self, (here, at): (LogPosition, Option<Millis>), step: Millis) {
        let first_at = self.history().span().map(|span| span.0);
        let target = match self.pending_time.or(at).or(here.at).or(first_at) {
            Some(at) => Target::Time(at.saturating_add(step)),
            // Without timestamps one line replaces each step of time.
            None => Target::Line(here.lines.saturating_add_signed(step.signum())),
        };
        self.jump(target);
    }

    /// Pauses and requests the view one step away.
    fn step(&mut self, step: Step) {
        self.anchor = None;
        self.last_request = self.rewind.ask(Request::Step(step));
    }

    /// Jumps to a position. A running clock continues from there.
    pub(crate) fn jump(&mut self, target: Target) {
        self.request(target);
        if let Some(anchor) = &mut self.anchor {
            // The first view at the new position sets the reference time.
            *anchor = Anchor { since: Instant::now(), at: None, lines: 0 };
        }
    }

    /// Jumps to a share (0 to 1) of the scrubber's width.
    fn jump_to_share(&mut self, share: f64) {
        let target = {
            let history = self.history();
            Axis::new(&history, self.skip).target(share)
        };
        self.jump(target);
    }

    /// Starts or pauses the clock.
    pub(crate) fn play(&mut self, play: bool) {
        self.anchor = play.then(|| Anchor { since: Instant::now(), at: None, lines: 0 });
        if play && self.view.as_ref().is_some_and(|view| view.ended) {
            // Playback that reached the end restarts from the start.
            self.request(Target::Begin);
        }
    }

    /// Time of the next frame of a running clock; `None` while paused or seeking.
    pub(crate) fn next_frame(&self, drawn: Instant, frame: Duration) -> Option<Instant> {
        (self.playing() && !self.is_seeking()).then_some(drawn + frame)
    }

    /// Requests the view for the present time of a running clock.
    pub(crate) fn tick(&mut self) {
        let (Some(view), Some(anchor)) = (self.view.as_ref(), self.anchor.as_mut()) else { return };
        // Waits for the view of the last request; otherwise the clock would start from the view
        // before it.
        if self.rewind.busy() || view.served < self.last_request {
            return;
        }
        let here = LogPosition::of(&view.progress);
        let speed = SPEEDS.get(self.speed).copied().unwrap_or(1.0);
        let (end, first_at, gap) = {
            let history = self.rewind.history.lock();
            let clock = anchor.at.or(view.at);
            let gap = clock.filter(|_| self.skip).and_then(|at| history.gap_at(at));
            if history.end().lines == 0 && !history.complete {
                return;
            }
            (history.end(), history.span().map(|span| span.0), gap)
        };
        if speed <= 0.0 {
            return self.request(if here.bytes + UNLIMITED_SPEED_STEP >= end.bytes {
                Target::End
            } else {
                Target::Bytes(here.bytes + UNLIMITED_SPEED_STEP)
            });
        }
        let Some(from) = anchor.at.or(view.at).or(first_at) else {
            // Without timestamps the clock counts lines.
            if anchor.lines == 0 {
                (anchor.since, anchor.lines) = (Instant::now(), here.lines.max(1));
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of lines")]
            let on = (anchor.since.elapsed().as_secs_f64() * LINES_PER_SECOND * speed) as u64;
            let line = anchor.lines + on;
            return self.request(if line >= end.lines { Target::End } else { Target::Line(line) });
        };
        if anchor.at.is_none() {
            (anchor.since, anchor.at) = (Instant::now(), Some(from));
        }
        if let Some(gap) = gap.filter(|gap| gap.to > from) {
            (anchor.since, anchor.at) = (Instant::now(), Some(gap.to));
            return self.request(Target::Time(gap.to));
        }
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a session")]
        let on = (anchor.since.elapsed().as_secs_f64() * 1000.0 * speed) as Millis;
        let at = from.saturating_add(on);
        if self.skip {
            // Moves the reference point along, so that the next silence is detected.
            (anchor.since, anchor.at) = (Instant::now(), Some(at));
        }
        self.request(if end.at.is_some_and(|end| at >= end) { Target::End } else { Target::Time(at) });
    }
}
