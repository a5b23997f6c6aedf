//! Actions of the fleet screen and their keys.

use crate::views::action::{Action, Binding, HelpSection, Move, bind, own};
use crate::views::fleet::state::FleetPane;
use synctop_core::fleet::verify::PipelineAction as Act;

/// Action of the fleet screen alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FleetAction {
    Go(FleetPane),
    /// Shows the details of the selected pipeline.
    Describe,
    /// Lists the past runs of the selected pipeline.
    Runs,
    Mark,
    MarkAll,
    /// Enables actions for ten minutes, or disables them.
    Arm,
    Do(Act),
    /// Stops the bulk action: remaining pipelines are skipped.
    Stop,
    Acknowledge,
    /// Shows or hides resolved errors.
    Closed,
    /// Fixes the simulated cause of the selected error, in the demo.
    FixCause,
    Refresh,
    Contexts,
    /// Lists the nodes of the service.
    Nodes,
    NextTrouble,
    PreviousTrouble,
}

type Row = Binding<FleetAction>;

/// Actions of the fleet screen. The footer shows the first key of a binding.
pub const FLEET_ACTIONS: &[Row] = &[
    Row::HELP,
    Row::FILTER,
    bind(
        Action::Open,
        HelpSection::Select,
        "open",
        "Open the run of the selected pipeline, or an error; fold or unfold a group",
        &["enter"],
    ),
    own(FleetAction::Describe, HelpSection::Select, "describe", "Details of the selected pipeline", &["d", "i"]),
    own(
        FleetAction::Runs,
        HelpSection::Select,
        "runs",
        "Past runs of the selected pipeline; Enter replays one",
        &["h"],
    ),
    bind(
        Action::Back,
        HelpSection::Select,
        "back",
        "Close the overlay; clear the filter and the marks; leave zoom",
        &["esc"],
    ),
    own(FleetAction::Nodes, HelpSection::Select, "nodes", "Nodes of the service, and the pipelines of each", &["n"]),
    own(
        FleetAction::Arm,
        HelpSection::Pipelines,
        "enable actions",
        "Enable actions for ten minutes; disable them",
        &["w"],
    ),
    own(
        FleetAction::Do(Act::Resume),
        HelpSection::Pipelines,
        "resume",
        "Resume the marked or the selected pipelines, and verify the result",
        &["R"],
    ),
    own(
        FleetAction::Do(Act::Pause),
        HelpSection::Pipelines,
        "pause",
        "Pause the marked or the selected pipelines",
        &["P"],
    ),
    own(
        FleetAction::Do(Act::Sync),
        HelpSection::Pipelines,
        "sync now",
        "Run the marked or the selected pipelines now",
        &["N"],
    ),
    own(
        FleetAction::Do(Act::Retry),
        HelpSection::Pipelines,
        "retry failed streams",
        "Start a new run that retries failed streams",
        &["F"],
    ),
    own(
        FleetAction::Do(Act::Delete),
        HelpSection::Pipelines,
        "delete",
        "Tear down and delete the marked or the selected pipelines",
        &["D"],
    ),
    own(FleetAction::Stop, HelpSection::Pipelines, "stop", "Stop the bulk action, skip the rest", &["X"]),
    own(
        FleetAction::Mark,
        HelpSection::Pipelines,
        "mark",
        "Mark the selected pipeline or its group; unmark",
        &["space"],
    ),
    own(FleetAction::MarkAll, HelpSection::Pipelines, "mark all", "Mark all filtered pipelines; unmark all", &["*"]),
    own(FleetAction::NextTrouble, HelpSection::Errors, "next trouble", "Go to the next pipeline in trouble", &["e"]),
    own(
        FleetAction::PreviousTrouble,
        HelpSection::Errors,
        "previous trouble",
        "Go to the previous pipeline in trouble",
        &["E"],
    ),
    own(
        FleetAction::Acknowledge,
        HelpSection::Errors,
        "acknowledge",
        "Acknowledge the error, with a note; withdraw the acknowledgment",
        &["a"],
    ),
    own(FleetAction::FixCause, HelpSection::Errors, "fix cause", "Demo: fix the simulated cause of the error", &["f"]),
    own(FleetAction::Closed, HelpSection::Errors, "closed errors", "Show resolved errors too", &["A"]),
    Row::NEXT_PANE,
    Row::PREVIOUS_PANE,
    own(FleetAction::Go(FleetPane::Pipelines), HelpSection::Panes, "pipelines", "Go to the pipelines", &["1"]),
    own(FleetAction::Go(FleetPane::Errors), HelpSection::Panes, "errors", "Go to the errors of all pipelines", &["2"]),
    own(FleetAction::Go(FleetPane::Actions), HelpSection::Panes, "actions", "Go to the action log", &["3", "L"]),
    own(FleetAction::Go(FleetPane::Bulk), HelpSection::Panes, "bulk", "Go to the bulk action", &["4"]),
    Row::ZOOM,
    Row::PREVIEW,
    Row::WIDER,
    Row::NARROWER,
    Row::TALLER,
    Row::SHORTER,
    Row::DOWN,
    Row::UP,
    Row::PAGE_DOWN,
    Row::PAGE_UP,
    bind(Action::Move(Move::Top), HelpSection::Select, "top", "To the first row", &["g", "home"]),
    bind(Action::Move(Move::Bottom), HelpSection::Select, "bottom", "To the last row", &["G", "end"]),
    Row::SORT_NEXT,
    Row::SORT_PREVIOUS,
    Row::SORT_REVERSE,
    Row::FOLD,
    Row::FOLD_ALL,
    Row::COPY,
    own(FleetAction::Contexts, HelpSection::Screen, "contexts", "Go to another service of the configuration", &["c"]),
    own(FleetAction::Refresh, HelpSection::Screen, "refresh", "Read the list now", &["ctrl-r"]),
    Row::MOUSE,
    Row::THEME,
    Row::REDRAW,
    Row::PALETTE,
    Row::SUSPEND,
    bind(Action::Quit, HelpSection::Screen, "quit", "Leave", &["q"]),
    bind(Action::Interrupt, HelpSection::Screen, "interrupt", "Leave at once", &["ctrl-c"]),
    Row::CONFIRM,
    Row::CANCEL,
    Row::NEXT_FIELD,
];
