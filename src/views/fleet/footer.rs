//! Footer of the fleet screen: the most useful keys, a text input, or a notice.

use crate::views::action::{Action, Binding, Move};
use crate::views::fleet::action::FleetAction;
use crate::views::fleet::state::{FleetFrame, FleetHits, FleetOverlay, FleetPane, FleetSheet, ServiceLink};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::footer::{keys, prompt_or_notice, with_way_out};
use crate::views::widgets::palette::field;
use synctop_core::fleet::PipelineStatus;
use synctop_core::fleet::verify::PipelineAction as Act;

pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame, hits: &mut FleetHits) {
    let ui = screen.ui;
    if note(pen, screen) || prompt_or_notice(pen, *screen, screen.rows.kept) {
        return;
    }
    let filtered = ui.is_filtered();
    let armed = screen.armed.armed();
    let name = |action: Action<FleetAction>, binding: &'static Binding<FleetAction>| match action {
        Action::Open if matches!(ui.sheet(), Some(FleetSheet::Runs { .. })) => "replay",
        Action::Zoom if ui.zoomed => "leave zoom",
        Action::NextField => "reason",
        Action::Back if filtered && ui.overlays.is_empty() => "clear filter",
        Action::Quit if !ui.overlays.is_empty() => "close",
        Action::Own(FleetAction::Arm) if armed => "disable actions",
        _ => binding.name,
    };
    keys(pen, &with_way_out(shown_keys(screen), ui), name, hits);
}

/// Returns the actions whose keys the footer shows.
fn shown_keys(screen: &FleetFrame) -> Vec<Action<FleetAction>> {
    let ui = screen.ui;
    match ui.overlays.last() {
        None => pane_keys(screen),
        Some(overlay) => overlay_keys(overlay, screen.armed.armed()),
    }
}

fn overlay_keys(overlay: &FleetOverlay, armed: bool) -> Vec<Action<FleetAction>> {
    let own = Action::Own;
    // Before actions are enabled, the key that enables them.
    let resume = if armed { own(FleetAction::Do(Act::Resume)) } else { own(FleetAction::Arm) };
    let (down, up) = (Action::Move(Move::Down), Action::Move(Move::Up));
    match overlay {
        FleetOverlay::Quit => Vec::new(),
        FleetOverlay::Sheet(FleetSheet::Confirm(_)) => vec![Action::Confirm, Action::NextField, Action::Cancel],
        FleetOverlay::Palette { .. } => vec![Action::Back],
        FleetOverlay::Sheet(FleetSheet::Runs { .. } | FleetSheet::Contexts { .. }) => {
            vec![Action::Open, down, up, Action::Back]
        }
        FleetOverlay::Sheet(FleetSheet::Pipeline { .. }) => {
            vec![Action::Back, down, up, Action::Open, resume, own(FleetAction::Runs), Action::Copy, Action::Quit]
        }
        FleetOverlay::Sheet(FleetSheet::Error { .. }) => {
            vec![Action::Back, down, up, own(FleetAction::Acknowledge), resume, Action::Copy, Action::Quit]
        }
        _ => vec![Action::Back, down, up, Action::Copy, Action::Quit],
    }
}

fn pane_keys(screen: &FleetFrame) -> Vec<Action<FleetAction>> {
    let ui = screen.ui;
    let own = Action::Own;
    let act = |action| Action::Own(FleetAction::Do(action));
    // A paused pipeline cannot be paused: resuming comes first there.
    let is_paused = screen.chosen_pipeline(ui).is_some_and(|it| it.pipeline.status == PipelineStatus::Paused);
    let second = if is_paused { act(Act::Delete) } else { act(Act::Pause) };
    let is_down = matches!(screen.link, ServiceLink::Down { .. });
    match ui.focus {
        _ if is_down && screen.fleet.pipelines.is_empty() => {
            vec![Action::Help, own(FleetAction::Contexts), own(FleetAction::Refresh), Action::Palette, Action::Quit]
        }
        _ if is_down => vec![
            Action::Help,
            own(FleetAction::Contexts),
            own(FleetAction::Refresh),
            Action::Open,
            own(FleetAction::Describe),
            Action::Filter,
            Action::Palette,
            Action::Quit,
        ],
        FleetPane::Errors => vec![
            Action::Help,
            Action::Open,
            own(FleetAction::Acknowledge),
            own(FleetAction::Closed),
            Action::Filter,
            Action::NextPane,
            Action::Back,
            Action::Palette,
            Action::Quit,
        ],
        FleetPane::Actions | FleetPane::Bulk => vec![
            Action::Help,
            Action::Open,
            Action::Filter,
            Action::NextPane,
            Action::Zoom,
            Action::Back,
            Action::Palette,
            Action::Quit,
        ],
        FleetPane::Pipelines if ui.is_filtered() => vec![
            Action::Help,
            Action::Filter,
            Action::Back,
            own(FleetAction::MarkAll),
            Action::Open,
            own(FleetAction::Describe),
            Action::Palette,
            Action::Quit,
        ],
        FleetPane::Pipelines if screen.armed.armed() => vec![
            Action::Help,
            act(Act::Resume),
            second,
            act(Act::Sync),
            own(FleetAction::Mark),
            Action::Open,
            Action::Filter,
            own(FleetAction::Describe),
            own(FleetAction::Arm),
            Action::Palette,
            Action::Quit,
        ],
        FleetPane::Pipelines => {
            let first =
                [Action::Help, Action::Open, own(FleetAction::Describe), own(FleetAction::NextTrouble), Action::Filter];
            let rest = [
                own(FleetAction::Arm),
                own(FleetAction::Mark),
                Action::NextPane,
                Action::SortNext,
                own(FleetAction::Runs),
                Action::Palette,
                Action::Quit,
            ];
            // Each pipeline of a service with several nodes has a node, or the reason that it has none.
            let any = screen.fleet.pipelines.values().next().map(|it| &it.pipeline);
            let nodes = any.filter(|it| it.node.is_some() || it.unassigned.is_some()).map(|_| own(FleetAction::Nodes));
            first.into_iter().chain(nodes).chain(rest).collect()
        }
    }
}

/// Draws the input of an acknowledgment's note. Returns true if it is open.
fn note(pen: &mut Pen, screen: &FleetFrame) -> bool {
    let look = screen.look;
    let Some(FleetSheet::Note { input, fingerprint }) = screen.ui.sheet() else { return false };
    let kind = screen.inbox.items.get(fingerprint).map(|item| item.kind().to_owned()).unwrap_or_default();
    let column = pen.put(1, 0, &format!("acknowledge {kind}, note: "), look.accent().patch(look.strong()));
    let end = field(pen, column, 0, input);
    pen.put(end + 2, 0, "Enter acknowledges, Esc cancels", look.dim());
    true
}
