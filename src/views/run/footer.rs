//! Footer of the run screen: the most useful keys, a text input, or a notice.

use crate::views::action::{Action, Binding, Move};
use crate::views::run::action::{RunAction, TargetKey, Travel};
use crate::views::run::state::{Pane, RunFrame, RunHits, RunOverlay, RunSheet, RunTypes};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::footer::{keys, prompt_or_notice, question, with_way_out};
use crate::views::widgets::palette::field;
use ratatui::layout::Rect;
use synctop_core::reduce::history::Mark;

type Keys = &'static [Action<RunAction>];

const NEXT_ERROR: Action<RunAction> = Action::Own(RunAction::NextError);
const LEAD_UP: Action<RunAction> = Action::Own(RunAction::LeadUp);
const FREEZE: Action<RunAction> = Action::Own(RunAction::Freeze);
const MORE_LEVELS: Action<RunAction> = Action::Own(RunAction::LevelMore);
const FEWER_LEVELS: Action<RunAction> = Action::Own(RunAction::LevelLess);
const DOWN: Action<RunAction> = Action::Move(Move::Down);
const UP: Action<RunAction> = Action::Move(Move::Up);

const fn travel(travel: Travel) -> Action<RunAction> {
    Action::Own(RunAction::Travel(travel))
}

pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let ui = screen.ui;
    if goto(pen, screen) || prompt_or_notice(pen, *screen, screen.rows.kept) {
        return;
    }
    let filtered = ui.is_filtered();
    let name = |action: Action<RunAction>, binding: &'static Binding<RunAction>| match (action, &screen.scrub) {
        (Action::Open, _) if matches!(ui.sheet(), Some(RunSheet::LeadUp { .. })) => "go to the instant",
        (Action::Zoom, _) if ui.zoomed => "leave zoom",
        (MORE_LEVELS, _) => "more",
        (FEWER_LEVELS, _) => "fewer levels",
        (Action::Back, _) if filtered && ui.overlays.is_empty() => "clear filter",
        (FREEZE, Some(scrub)) if scrub.playing => "pause",
        (FREEZE, Some(_)) => "play",
        (Action::Quit, _) if !ui.overlays.is_empty() => "close",
        (Action::Quit, _) if screen.nested => "fleet",
        _ => binding.name.strip_prefix("time: ").unwrap_or(binding.name),
    };
    let shown = match ui.overlays.last() {
        Some(overlay) => overlay_keys(overlay),
        None if is_waiting(screen) => &[Action::Help, Action::Palette, Action::Quit],
        None if filtered => FILTERED_KEYS,
        None if screen.ui.focus == Pane::Streams && screen.scrub.is_none() && screen.errors.is_empty() => CALM_KEYS,
        None if screen.ui.focus == Pane::Streams && screen.scrub.is_none() && screen.progress.closed => CLOSED_KEYS,
        None => pane_keys(screen),
    };
    keys(pen, &with_way_out(shown.to_vec(), ui), name, hits);
}

fn overlay_keys(overlay: &RunOverlay) -> Keys {
    match overlay {
        RunOverlay::Sheet(RunSheet::LeadUp { .. }) => &[Action::Open, DOWN, UP, Action::Back],
        RunOverlay::Sheet(RunSheet::Error { .. } | RunSheet::Stream { .. }) => {
            &[Action::Back, LEAD_UP, DOWN, UP, Action::Copy, NEXT_ERROR, Action::Quit]
        }
        RunOverlay::Sheet(_) => &[Action::Back, DOWN, UP, Action::Copy, Action::Quit],
        RunOverlay::Help { .. } => &[
            Action::Back,
            DOWN,
            UP,
            Action::Move(Move::PageDown),
            Action::Move(Move::PageUp),
            Action::Palette,
            Action::Quit,
        ],
        _ => &[Action::Back],
    }
}

/// Keys of a live feed without an error.
const CALM_KEYS: Keys = &[
    Action::Help,
    Action::Filter,
    Action::Open,
    Action::NextPane,
    Action::SortNext,
    travel(Travel::Second(false)),
    Action::Zoom,
    FREEZE,
    Action::Preview,
    Action::Palette,
    Action::Quit,
];

/// Keys of a feed that has ended.
const CLOSED_KEYS: Keys = &[
    Action::Help,
    Action::Filter,
    NEXT_ERROR,
    LEAD_UP,
    Action::Open,
    Action::NextPane,
    Action::SortNext,
    travel(Travel::Mark(Mark::Error, false)),
    Action::Zoom,
    Action::Copy,
    Action::Palette,
    Action::Quit,
];

const FILTERED_KEYS: Keys = &[
    Action::Help,
    Action::Filter,
    Action::Back,
    Action::Open,
    NEXT_ERROR,
    Action::NextPane,
    Action::Palette,
    Action::Quit,
];

const LOG_KEYS: Keys = &[
    Action::Help,
    Action::Open,
    Action::Filter,
    MORE_LEVELS,
    FEWER_LEVELS,
    Action::Zoom,
    Action::NextPane,
    travel(Travel::Second(false)),
    Action::Copy,
    Action::Palette,
    Action::Quit,
];

const ERROR_KEYS: Keys = &[
    Action::Help,
    LEAD_UP,
    Action::Open,
    NEXT_ERROR,
    Action::Copy,
    Action::Filter,
    Action::NextPane,
    Action::Zoom,
    Action::Back,
    Action::Palette,
    Action::Quit,
];

const DIAGNOSTIC_KEYS: Keys = &[
    Action::Help,
    Action::Own(RunAction::Target(TargetKey::Show)),
    Action::Own(RunAction::Target(TargetKey::Focus)),
    MORE_LEVELS,
    FEWER_LEVELS,
    Action::NextPane,
    Action::Back,
    Action::Quit,
];

const END_KEYS: Keys = &[
    Action::Help,
    Action::Open,
    NEXT_ERROR,
    LEAD_UP,
    Action::Filter,
    Action::NextPane,
    travel(Travel::Mark(Mark::Error, false)),
    travel(Travel::Second(false)),
    travel(Travel::Begin),
    travel(Travel::Goto),
    Action::Zoom,
    Action::Palette,
    Action::Quit,
];

const REPLAY_KEYS: Keys = &[
    Action::Help,
    FREEZE,
    travel(Travel::Mark(Mark::Error, true)),
    LEAD_UP,
    travel(Travel::Goto),
    travel(Travel::Second(true)),
    travel(Travel::Faster),
    travel(Travel::Now),
    Action::Open,
    Action::NextPane,
    Action::Filter,
    Action::Palette,
    Action::Quit,
];

const LIVE_KEYS: Keys = &[
    Action::Help,
    Action::Filter,
    NEXT_ERROR,
    LEAD_UP,
    Action::Open,
    Action::NextPane,
    Action::SortNext,
    travel(Travel::Second(false)),
    Action::Zoom,
    FREEZE,
    Action::Palette,
    Action::Quit,
];

fn pane_keys(screen: &RunFrame) -> Keys {
    match (screen.ui.focus, &screen.scrub) {
        (Pane::Log, _) => LOG_KEYS,
        (Pane::Errors, _) => ERROR_KEYS,
        (Pane::Diagnostics, _) => DIAGNOSTIC_KEYS,
        (_, Some(scrub)) if scrub.ended => END_KEYS,
        (_, Some(_)) => REPLAY_KEYS,
        (_, None) => LIVE_KEYS,
    }
}

/// True before the first line of a feed.
fn is_waiting(screen: &RunFrame) -> bool {
    screen.progress.input.lines == 0 && !screen.progress.closed && screen.scrub.is_none()
}

/// Draws the input of a position. Returns true if it is open.
fn goto(pen: &mut Pen, screen: &RunFrame) -> bool {
    let look = screen.look;
    let Some(RunSheet::Goto { input, bad }) = screen.ui.sheet() else { return false };
    let column = pen.put(1, 0, "go to ", look.accent().patch(look.strong()));
    let room = if bad.is_some() { 24 } else { 40 };
    let area = Rect { width: (column + room).min(pen.width()), ..pen.area };
    let end = field(&mut pen.at(area), column, 0, input);
    match bad {
        Some(why) => pen.put(end + 2, 0, why, look.bad()),
        None => pen.put(end + 2, 0, "08:31:20  +10m  -30s  50%  line 1200  end", look.dim()),
    };
    true
}

/// Draws the confirmation of quitting while an engine that synctop started still runs.
pub(crate) fn confirm_quit(pen: &mut Pen, hits: &mut RunHits) {
    let look = pen.look;
    let lines = [
        ("The engine that synctop started is still running.".to_owned(), look.plain()),
        ("Leaving stops it: TERM, and KILL after 5 seconds.".to_owned(), look.warn()),
    ];
    question::<RunTypes>(pen, "quit", &lines, ["stop it and leave", "stay"], hits);
}
