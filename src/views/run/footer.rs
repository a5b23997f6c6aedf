//! Footer of the run screen: the most useful keys, a text input, or a notice.

use crate::views::action::{Action, Binding, Move};
use crate::views::run::action::{RunAction, TargetKey, Travel};
use crate::views::run::state::{Pane, RunFrame, RunHits, RunOverlay, RunSheet, RunTypes};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::footer::{keys, prompt_or_notice, question};
use crate::views::widgets::palette::field;
use ratatui::layout::Rect;
use synctop_core::reduce::history::Mark;

pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let ui = screen.ui;
    if goto(pen, screen) || prompt_or_notice(pen, *screen, screen.rows.kept) {
        return;
    }
    let filtered = ui.is_filtered();
    let travel = |travel| Action::Own(RunAction::Travel(travel));
    let own = Action::Own;
    let shown: &[Action<RunAction>] = match ui.overlays.last() {
        Some(RunOverlay::Sheet(RunSheet::LeadUp { .. })) => {
            &[Action::Open, Action::Move(Move::Down), Action::Move(Move::Up), Action::Back]
        }
        Some(RunOverlay::Sheet(RunSheet::Error { .. } | RunSheet::Stream { .. })) => &[
            Action::Back,
            own(RunAction::LeadUp),
            Action::Move(Move::Down),
            Action::Move(Move::Up),
            Action::Copy,
            own(RunAction::NextError),
            Action::Quit,
        ],
        Some(RunOverlay::Help { .. } | RunOverlay::Sheet(_)) => &[
            Action::Back,
            Action::Move(Move::Down),
            Action::Move(Move::Up),
            Action::Copy,
            own(RunAction::NextError),
            Action::Quit,
        ],
        Some(_) => &[Action::Back],
        None if ui.focus == Pane::Errors => &[
            Action::Help,
            own(RunAction::LeadUp),
            Action::Open,
            own(RunAction::NextError),
            Action::Copy,
            Action::Filter,
            Action::NextPane,
            Action::Zoom,
            Action::Back,
            Action::Palette,
            Action::Quit,
        ],
        None if ui.focus == Pane::Diagnostics => &[
            Action::Help,
            own(RunAction::Target(TargetKey::Show)),
            own(RunAction::Target(TargetKey::Focus)),
            own(RunAction::LevelMore),
            own(RunAction::LevelLess),
            Action::NextPane,
            Action::Back,
            Action::Quit,
        ],
        None if screen.scrub.is_some() => &[
            Action::Help,
            own(RunAction::Freeze),
            travel(Travel::Mark(Mark::Error, true)),
            own(RunAction::LeadUp),
            travel(Travel::Goto),
            travel(Travel::Second(true)),
            travel(Travel::Faster),
            travel(Travel::Now),
            Action::Open,
            Action::NextPane,
            Action::Filter,
            Action::Palette,
            Action::Quit,
        ],
        None if filtered => &[Action::Help, Action::Filter, Action::Back, Action::Open, Action::NextPane, Action::Quit],
        None => &[
            Action::Help,
            Action::Filter,
            own(RunAction::NextError),
            own(RunAction::LeadUp),
            Action::Open,
            Action::NextPane,
            Action::SortNext,
            travel(Travel::Second(false)),
            Action::Zoom,
            own(RunAction::Freeze),
            Action::Palette,
            Action::Quit,
        ],
    };
    let name = |action: Action<RunAction>, binding: &'static Binding<RunAction>| match (action, &screen.scrub) {
        (Action::Open, _) if matches!(ui.sheet(), Some(RunSheet::LeadUp { .. })) => "go to the instant",
        (Action::Back, _) if filtered && ui.overlays.is_empty() => "clear filter",
        (Action::Own(RunAction::Freeze), Some(scrub)) if scrub.playing => "pause",
        (Action::Own(RunAction::Freeze), Some(_)) => "play",
        (Action::Quit, _) if !ui.overlays.is_empty() => "close",
        (Action::Quit, _) if screen.nested => "fleet",
        _ => binding.name.strip_prefix("time: ").unwrap_or(binding.name),
    };
    keys(pen, shown, name, hits);
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
