//! Footer: the most useful keys, a text input, or a notice.

use super::rows::Rows;
use super::state::{FleetScreen, Overlay, Pane};
use crate::fleet::verify::PipelineAction as Act;
use crate::views::action::{Action, FLEET_ACTIONS, Fleet};
use crate::views::footer::keys;
use crate::views::palette::field;
use crate::views::pen::Pen;
use crate::views::state::Hits;

pub fn draw(pen: &mut Pen, screen: &FleetScreen, rows: &Rows, hits: &mut Hits) {
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
        Some(Overlay::Confirm(_) | Overlay::ConfirmQuit) => &[],
        Some(Overlay::Palette { .. }) => &[Action::Back],
        Some(Overlay::Runs { .. } | Overlay::Contexts { .. }) => {
            &[Action::Open, Action::Down, Action::Up, Action::Back]
        }
        Some(Overlay::Pipeline { .. }) => &[
            Action::Back,
            Action::Down,
            Action::Up,
            fleet(Fleet::Do(Act::Resume)),
            fleet(Fleet::Runs),
            Action::Copy,
            Action::Quit,
        ],
        Some(_) => &[Action::Back, Action::Down, Action::Up, Action::Copy, Action::Quit],
        None if ui.focus == Pane::Errors => &[
            Action::Help,
            Action::Open,
            fleet(Fleet::Acknowledge),
            fleet(Fleet::Closed),
            Action::Filter,
            Action::NextPane,
            Action::Back,
            Action::Palette,
            Action::Quit,
        ],
        None if ui.focus != Pane::Pipelines => &[
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
            fleet(Fleet::MarkAll),
            Action::Open,
            fleet(Fleet::Describe),
            Action::Palette,
            Action::Quit,
        ],
        None if armed => &[
            Action::Help,
            fleet(Fleet::Do(Act::Resume)),
            fleet(Fleet::Do(Act::Pause)),
            fleet(Fleet::Do(Act::Sync)),
            fleet(Fleet::Mark),
            Action::Open,
            Action::Filter,
            fleet(Fleet::Describe),
            fleet(Fleet::Arm),
            Action::Palette,
            Action::Quit,
        ],
        None => &[
            Action::Help,
            Action::Open,
            fleet(Fleet::Describe),
            fleet(Fleet::NextTrouble),
            Action::Filter,
            fleet(Fleet::Arm),
            fleet(Fleet::Mark),
            Action::NextPane,
            Action::SortNext,
            fleet(Fleet::Runs),
            Action::Palette,
            Action::Quit,
        ],
    };
    let name = |action: Action, binding: &'static crate::views::action::Binding| match action {
        Action::Back if filtered && ui.overlays.is_empty() => "drop filter",
        Action::Quit if !ui.overlays.is_empty() => "close",
        Action::Fleet(Fleet::Arm) if armed => "disarm",
        _ => binding.name,
    };
    keys(pen, FLEET_ACTIONS, shown, name, hits);
}

/// Draws the text input; returns whether there is one.
fn prompt(pen: &mut Pen, screen: &FleetScreen, rows: &Rows) -> bool {
    let (look, ui) = (screen.look, screen.ui);
    let Some(Overlay::Filter { input, .. }) = ui.overlays.last() else { return false };
    let column = pen.put(1, 0, "/", look.accent().patch(look.strong()));
    let end = field(pen, column, 0, input);
    match &ui.list(ui.focus).filter.bad {
        Some(why) => pen.put(end + 2, 0, &format!("bad pattern: {why}"), look.bad()),
        None if ui.focus == Pane::Pipelines => {
            let about = format!("{} of {}  Enter keeps, Esc drops, ! negates", rows.kept, screen.fleet.pipelines.len());
            pen.put(end + 2, 0, &about, look.dim())
        }
        None => pen.put(end + 2, 0, "Enter keeps, Esc drops, ! negates", look.dim()),
    };
    true
}
