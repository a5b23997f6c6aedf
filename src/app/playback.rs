//! Playback clock of an earlier instant: play, step, jump. A replay and a rewound feed have a
//! clock; a live feed has none.

use crate::net::lock;
use crate::net::rewind::{Request, Rewind, View};
use crate::net::seek::Step;
use crate::views::Scrub;
use crate::views::action::Travel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use synctop_core::protocol::Millis;
use synctop_core::reduce::Axis;
use synctop_core::reduce::history::{GAP_MS, History, LogPosition};
use synctop_core::reduce::{Progress, Target};

/// Multiples of the log's clock; 0 is unlimited.
pub const SPEEDS: [f64; 12] = [0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 60.0, 100.0, 300.0, 1000.0, 0.0];

/// The place of 1x.
const NORMAL: usize = 2;

/// Messages a second at 1x, of a log without times.
const LINES: f64 = 10.0;

/// Bytes read between two pictures at unlimited speed.
const FLAT_OUT: u64 = 24 << 20;

/// Reference point of a running clock.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    since: Instant,
    at: Option<Millis>,
    lines: u64,
}

/// A picture of the past, and how it goes on.
pub(super) struct Traveller {
    rewind: Rewind,
    /// A feed goes on behind it.
    pub live: bool,
    /// The instant that is shown; `None`: now.
    view: Option<View>,
    anchor: Option<Anchor>,
    speed: usize,
    pub skip: bool,
    /// Places are asked for one after the other: this one is on its way.
    asked: u64,
    /// Time of the pending jump: further keys count from there.
    aim: Option<Millis>,
    /// It was now until the place that is on its way was asked for.
    from_now: bool,
}

/// Initial state of a replay.
#[derive(Debug, Clone)]
pub struct Start {
    /// A place such as `08:31:20`; the begin of the log.
    pub at: Option<String>,
    pub speed: f64,
    pub paused: bool,
    pub skip: bool,
}

impl Traveller {
    pub(super) fn new(rewind: Rewind, live: bool) -> Self {
        Self {
            rewind,
            live,
            view: None,
            anchor: None,
            speed: NORMAL,
            skip: false,
            asked: 0,
            aim: None,
            from_now: false,
        }
    }

    /// Holds the clock from the begin on, as a replay does.
    pub(super) fn begin(&mut self, start: &Start) {
        self.view = Some(View::default());
        self.skip = start.skip;
        self.speed = SPEEDS.iter().position(|speed| (speed - start.speed).abs() < 1e-9).unwrap_or(NORMAL);
        self.go(Target::Begin);
        if !start.paused {
            self.anchor = Some(Anchor { since: Instant::now(), at: None, lines: 0 });
        }
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.rewind.history)
    }

    pub(super) fn shared(&self) -> Arc<Mutex<History>> {
        Arc::clone(&self.rewind.history)
    }

    pub(super) fn views(&mut self) -> &mut tokio::sync::watch::Receiver<View> {
        &mut self.rewind.views
    }

    /// View on screen, unless it shows now.
    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    pub(super) fn playing(&self) -> bool {
        self.anchor.is_some()
    }

    /// A place is on its way.
    pub(super) fn busy(&self) -> bool {
        self.rewind.busy()
    }

    /// The speed in words: `4x`, `1/4x`, `max`.
    pub(super) fn speed_words(&self) -> String {
        match SPEEDS.get(self.speed) {
            Some(0.25) => "1/4x".into(),
            Some(0.5) => "1/2x".into(),
            Some(speed) if *speed > 0.0 => format!("{speed}x"),
            _ => "max".into(),
        }
    }

    fn go(&mut self, target: Target) {
        self.aim = if let Target::Time(at) = target { Some(at) } else { None };
        self.asked = self.rewind.ask(Request::Go(target));
    }

    /// The picture stands still at this place of a feed.
    pub(super) fn hold(&mut self, shown: &Arc<Progress>, at: Option<Millis>) {
        if self.view.is_none() {
            self.view = Some(View { at, progress: Arc::clone(shown), ..View::default() });
            self.go(Target::Bytes(shown.input.bytes));
            self.from_now = true;
        }
    }

    /// Back to now.
    pub(super) fn now(&mut self) {
        self.view = None;
        self.anchor = None;
        self.from_now = false;
    }

    /// Position of the picture.
    pub(super) fn position(&self) -> LogPosition {
        self.view.as_ref().map(|view| LogPosition::of(&view.progress)).unwrap_or_default()
    }

    /// Scrubber model of the screen; `latest` is the newest known position, `size` the bytes of a
    /// saved log.
    pub(super) fn scrub<'a>(
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
            spooled: !self.live && size.is_none(),
        })
    }

    /// Takes the newest view; returns a notice about it.
    pub(super) fn arrived(&mut self) -> Option<String> {
        let view = self.rewind.views.borrow_and_update().clone();
        let word = view.word.clone();
        if view.served >= self.asked {
            self.aim = None;
            // The searched place does not exist: now counts.
            if std::mem::take(&mut self.from_now) && view.failed {
                self.now();
                return word;
            }
        }
        if self.view.is_some() {
            if view.ended && self.playing() && view.served >= self.asked {
                self.anchor = None;
            }
            self.view = Some(view);
        }
        word
    }

    /// Executes a travel action. Returns a notice.
    pub(super) fn travel(&mut self, what: Travel) -> Option<String> {
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
            Travel::Second(on) => self.by(here, if on { 1_000 } else { -1_000 }),
            Travel::Ten(on) => self.by(here, if on { 10_000 } else { -10_000 }),
            Travel::Minute(on) => self.by(here, if on { 60_000 } else { -60_000 }),
            // Behind the last message, in a silence: back to its own instant first.
            Travel::Line(false) if here.1 > here.0.at => self.jump(Target::Bytes(here.0.bytes)),
            Travel::Line(on) => self.step(Step::Lines(if on { 1 } else { -1 })),
            Travel::Mark(kind, on) => self.step(Step::Mark(kind, on)),
            Travel::Begin => self.jump(Target::Begin),
            Travel::Now => self.jump(Target::End),
            Travel::Goto => {}
        }
        None
    }

    fn by(&mut self, (here, at): (LogPosition, Option<Millis>), step: Millis) {
        let begin = self.history().span().map(|span| span.0);
        let target = match self.aim.or(at).or(here.at).or(begin) {
            Some(at) => Target::Time(at.saturating_add(step)),
            // Without times a second is a message.
            None => Target::Line(here.lines.saturating_add_signed(step.signum())),
        };
        self.jump(target);
    }

    fn step(&mut self, step: Step) {
        self.anchor = None;
        self.asked = self.rewind.ask(Request::Step(step));
    }

    /// Goes to a place; a clock that goes, goes on from there.
    pub(super) fn jump(&mut self, target: Target) {
        self.go(target);
        if let Some(anchor) = &mut self.anchor {
            // Set anew when the place is reached.
            *anchor = Anchor { since: Instant::now(), at: None, lines: 0 };
        }
    }

    pub(super) fn share(&mut self, share: f64) {
        let target = {
            let history = self.history();
            Axis::new(&history, self.skip).target(share)
        };
        self.jump(target);
    }

    /// Goes on, or stands still.
    pub(super) fn play(&mut self, play: bool) {
        self.anchor = play.then(|| Anchor { since: Instant::now(), at: None, lines: 0 });
        if play && self.view.as_ref().is_some_and(|view| view.ended) {
            // Played to its end it begins again.
            self.go(Target::Begin);
        }
    }

    /// Time of the next picture of a running clock.
    pub(super) fn next(&self, drawn: Instant, frame: Duration) -> Option<Instant> {
        (self.playing() && !self.busy()).then_some(drawn + frame)
    }

    /// The clock went on: asks for where it is now.
    pub(super) fn tick(&mut self) {
        let (Some(view), Some(anchor)) = (self.view.as_ref(), self.anchor.as_mut()) else { return };
        // Not before the last place is shown, or the clock would start from the one before.
        if self.rewind.busy() || view.served < self.asked {
            return;
        }
        let here = LogPosition::of(&view.progress);
        let speed = SPEEDS.get(self.speed).copied().unwrap_or(1.0);
        let (end, begin, gap) = {
            let history = lock(&self.rewind.history);
            let clock = anchor.at.or(view.at);
            let gap = clock.filter(|_| self.skip).and_then(|at| history.gap_at(at));
            if history.end().lines == 0 && !history.complete {
                return;
            }
            (history.end(), history.span().map(|span| span.0), gap)
        };
        if speed <= 0.0 {
            return self.go(if here.bytes + FLAT_OUT >= end.bytes {
                Target::End
            } else {
                Target::Bytes(here.bytes + FLAT_OUT)
            });
        }
        let Some(from) = anchor.at.or(view.at).or(begin) else {
            // By messages.
            if anchor.lines == 0 {
                (anchor.since, anchor.lines) = (Instant::now(), here.lines.max(1));
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of lines")]
            let on = (anchor.since.elapsed().as_secs_f64() * LINES * speed) as u64;
            let line = anchor.lines + on;
            return self.go(if line >= end.lines { Target::End } else { Target::Line(line) });
        };
        if anchor.at.is_none() {
            (anchor.since, anchor.at) = (Instant::now(), Some(from));
        }
        if let Some(gap) = gap.filter(|gap| gap.to > from) {
            (anchor.since, anchor.at) = (Instant::now(), Some(gap.to));
            return self.go(Target::Time(gap.to));
        }
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a session")]
        let on = (anchor.since.elapsed().as_secs_f64() * 1000.0 * speed) as Millis;
        let at = from.saturating_add(on);
        if self.skip {
            // A clock that has come far begins anew, so that the next silence is seen.
            (anchor.since, anchor.at) = (Instant::now(), Some(at));
        }
        self.go(if end.at.is_some_and(|end| at >= end) { Target::End } else { Target::Time(at) });
    }
}
