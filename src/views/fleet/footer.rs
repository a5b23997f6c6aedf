//! Footer: the most useful keys, a text input, or a notice.

use crate::views::action::{Action, FLEET_ACTIONS, FleetAction};
use crate::views::fleet::rows::FleetRows;
use crate::views::fleet::state::{FleetOverlay, FleetPane, FleetScreen};
use crate::views::hits::Hits;
use crate::views::run::footer::keys;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::palette::field;
use synctop_core::fleet::verify::PipelineAction as Act;

pub fn draw(pen: &mut Pen, screen: &FleetScreen, rows: &FleetRows, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    if prompt(pen, screen, rows) {
        return;
    }
    if let Some(toast) = &ui.toast {
        pen.put(1, 0, toast, look.accent());
        return;
    }
    let filtered = ui.list(ui.focus).filter.active();
    let armed = screen.armed.armed();
    let fleet = Action::Fleet;
    let shown: &[Action] = match ui.overlays.last() {
        Some(FleetOverlay::Confirm(_) | FleetOverlay::ConfirmQuit) => &[],
        Some(FleetOverlay::Palette { .. }) => &[Action::Back],
        Some(FleetOverlay::Runs { .. } | FleetOverlay::Contexts { .. }) => {
            &[Action::Open, Action::Down, Action::Up, Action::Back]
        }
        Some(FleetOverlay::Pipeline { .. }) => &[
            Action::Back,
            Action::Down,
            Action::Up,
            fleet(FleetAction::Do(Act::Resume)),
            fleet(FleetAction::Runs),
            Action::Copy,
            Action::Quit,
        ],
        Some(_) => &[Action::Back, Action::Down, Action::Up, Action::Copy, Action::Quit],
        None if ui.focus == FleetPane::Errors => &[
            Action::Help,
            Action::Open,
            fleet(FleetAction::Acknowledge),
            fleet(FleetAction::Closed),
            Action::Filter,
            Action::NextPane,
            Action::Back,
            Action::Palette,
            Action::Quit,
        ],
        None if ui.focus != FleetPane::Pipelines => &[
            Action::Help,
            Action::Open,
            Action::Filter,
            Action::NextPane,
            Action::Zoom,
            Action::Back,
            Action::Palette,
            Action::Quit,
        ],
        None if filtered => &[
            Action::Help,
            Action::Filter,
            Action::Back,
            fleet(FleetAction::MarkAll),
            Action::Open,
            fleet(FleetAction::Describe),
            Action::Palette,
            Action::Quit,
        ],
        None if armed => &[
            Action::Help,
            fleet(FleetAction::Do(Act::Resume)),
            fleet(FleetAction::Do(Act::Pause)),
            fleet(FleetAction::Do(Act::Sync)),
            fleet(FleetAction::Mark),
            Action::Open,
            Action::Filter,
            fleet(FleetAction::Describe),
            fleet(FleetAction::Arm),
            Action::Palette,
            Action::Quit,
        ],
        None => &[
            Action::Help,
            Action::Open,
            fleet(FleetAction::Describe),
            fleet(FleetAction::NextTrouble),
            Action::Filter,
            fleet(FleetAction::Arm),
            fleet(FleetAction::Mark),
            Action::NextPane,
            Action::SortNext,
            fleet(FleetAction::Runs),
            Action::Palette,
            Action::Quit,
        ],
    };
    let name = |action: Action, binding: &'static crate::views::action::Binding| match action {
        Action::Back if filtered && ui.overlays.is_empty() => "drop filter",
        Action::Quit if !ui.overlays.is_empty() => "close",
        Action::Fleet(FleetAction::Arm) if armed => "disarm",
        _ => binding.name,
    };
    keys(pen, FLEET_ACTIONS, shown, name, hits);
}

/// Draws the filter input. Returns true if a filter is being edited.
fn prompt(pen: &mut Pen, screen: &FleetScreen, rows: &FleetRows) -> bool {
    let (look, ui) = (screen.look, screen.ui);
    let Some(FleetOverlay::Filter { input, .. }) = ui.overlays.last() else { return false };
    let column = pen.put(1, 0, "/", look.accent().patch(look.strong()));
    let end = field(pen, column, 0, input);
    match &ui.list(ui.focus).filter.bad {
        Some(why) => pen.put(end + 2, 0, &format!("bad pattern: {why}"), look.bad()),
        None if ui.focus == FleetPane::Pipelines => {
            let about = format!("{} of {}  Enter keeps, Esc drops, ! negates", rows.kept, screen.fleet.pipelines.len());
            pen.put(end + 2, 0, &about, look.dim())
        }
        None => pen.put(end + 2, 0, "Enter keeps, Esc drops, ! negates", look.dim()),
    };
    true
}
