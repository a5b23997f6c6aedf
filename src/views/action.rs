//! Table of all actions, from which keys, help, palette and footer are derived.

use crate::views::fleet::FleetPane;
use crate::views::run::state::Pane;
use synctop_core::fleet::verify::PipelineAction as Act;
use synctop_core::reduce::history::Mark;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Quit,
    Interrupt,
    Help,
    Palette,
    Filter,
    NextError,
    PreviousError,
    Open,
    Back,
    NextPane,
    PreviousPane,
    Go(Pane),
    Zoom,
    Freeze,
    Down,
    Up,
    PageDown,
    PageUp,
    Top,
    Bottom,
    SortNext,
    SortPrevious,
    SortReverse,
    Fold,
    FoldAll,
    Copy,
    LevelMore,
    LevelLess,
    Target(TargetKey),
    Travel(Travel),
    Mouse,
    Theme,
    Redraw,
    Suspend,
    /// Action of the fleet screen.
    Fleet(FleetAction),
}

/// Actions of the fleet screen.
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
    Refresh,
    Contexts,
    NextTrouble,
    PreviousTrouble,
}

/// Movement in time. `true` is forward, `false` is backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Travel {
    Play,
    Faster,
    Slower,
    /// Skips silences, or plays them again.
    Gaps,
    Goto,
    Begin,
    Now,
    Second(bool),
    Ten(bool),
    Minute(bool),
    Line(bool),
    Mark(Mark, bool),
}

/// Keys of the diagnostics pane's own filter (tui-logger).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetKey {
    Show,
    Focus,
    CaptureMore,
    CaptureLess,
}

/// Row of the table: an action, its texts and its keys.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    pub action: Action,
    /// Name in the palette and the footer.
    pub name: &'static str,
    pub does: &'static str,
    pub keys: &'static [&'static str],
}

const fn bind(action: Action, name: &'static str, does: &'static str, keys: &'static [&'static str]) -> Binding {
    Binding { action, name, does, keys }
}

// Actions with the same meaning on every screen.
const HELP: Binding = bind(Action::Help, "help", "Show all keys", &["?", "f1"]);
const FILTER: Binding = bind(Action::Filter, "filter", "Filter the focused list: a pattern; ! negates", &["/"]);
const NEXT_PANE: Binding = bind(Action::NextPane, "pane", "Go to the next pane", &["tab"]);
const PREVIOUS_PANE: Binding = bind(Action::PreviousPane, "previous pane", "Go to the previous pane", &["shift-tab"]);
const ZOOM: Binding = bind(Action::Zoom, "zoom", "Zoom the focused pane, and back", &["z"]);
const DOWN: Binding = bind(Action::Down, "down", "One row down", &["j", "down"]);
const UP: Binding = bind(Action::Up, "up", "One row up", &["k", "up"]);
const PAGE_DOWN: Binding = bind(Action::PageDown, "page down", "One page down", &["pgdn", "ctrl-d", "ctrl-f"]);
const PAGE_UP: Binding = bind(Action::PageUp, "page up", "One page up", &["pgup", "ctrl-u", "ctrl-b"]);
const SORT_NEXT: Binding = bind(Action::SortNext, "sort", "Sort by the next column", &["s"]);
const SORT_PREVIOUS: Binding = bind(Action::SortPrevious, "sort previous", "Sort by the previous column", &["S"]);
const SORT_REVERSE: Binding = bind(Action::SortReverse, "reverse", "Reverse the order", &["r"]);
const FOLD: Binding = bind(Action::Fold, "fold", "Fold or unfold the group of the selected row", &["o"]);
const FOLD_ALL: Binding = bind(Action::FoldAll, "fold all", "Fold or unfold all groups", &["O"]);
const COPY: Binding = bind(Action::Copy, "copy", "Copy the text of the selected row to the clipboard (OSC 52)", &["y"]);
const MOUSE: Binding =
    bind(Action::Mouse, "mouse", "Release the mouse for text selection, and capture it again", &["m"]);
const THEME: Binding = bind(Action::Theme, "theme", "Switch to the next theme: dark, light, mono", &["T"]);
const REDRAW: Binding = bind(Action::Redraw, "redraw", "Redraw everything", &["ctrl-l"]);
const PALETTE: Binding = bind(Action::Palette, "all", "Find any action by its name", &[":", "ctrl-p"]);
const SUSPEND: Binding = bind(Action::Suspend, "suspend", "Back to the shell; fg returns", &["ctrl-z"]);

/// Actions of the run screen. The footer shows the first key of a binding.
pub const ACTIONS: &[Binding] = &[
    HELP,
    FILTER,
    bind(Action::NextError, "next error", "Go to the next error", &["e"]),
    bind(Action::PreviousError, "previous error", "Go to the previous error", &["E"]),
    bind(Action::Open, "open", "Open the selected stream, error or line; fold or unfold a group", &["enter"]),
    bind(Action::Back, "back", "Close the overlay; clear the filter; leave zoom", &["esc"]),
    NEXT_PANE,
    PREVIOUS_PANE,
    bind(Action::Go(Pane::Streams), "streams", "Go to the streams", &["1"]),
    bind(Action::Go(Pane::Errors), "errors", "Go to the errors", &["2"]),
    bind(Action::Go(Pane::Doubts), "doubts", "Go to the doubts: claims that the evidence contradicts", &["3"]),
    bind(Action::Go(Pane::Log), "log", "Go to the feed's log", &["4"]),
    bind(
        Action::Go(Pane::Diagnostics),
        "diagnostics",
        "Go to the diagnostics: synctop's own log and the engine's stderr",
        &["5"],
    ),
    ZOOM,
    bind(Action::Freeze, "freeze", "Freeze the screen while counting continues; in the past: play, pause", &["space"]),
    bind(
        Action::Travel(Travel::Mark(Mark::Error, true)),
        "time: next error",
        "To the next error of the log, in time",
        &["n"],
    ),
    bind(
        Action::Travel(Travel::Mark(Mark::Error, false)),
        "time: previous error",
        "To the previous error, in time",
        &["N"],
    ),
    bind(Action::Travel(Travel::Goto), "time: go to", "To 08:31:20, +10m, 50%, line 1200, end", &["g"]),
    bind(Action::Travel(Travel::Now), "time: now", "Back to now; in a replay to the end", &["L"]),
    bind(Action::Travel(Travel::Begin), "time: start", "To the start of the log", &["0"]),
    bind(Action::Travel(Travel::Second(true)), "time: second forward", "Forward one second", &["right"]),
    bind(Action::Travel(Travel::Second(false)), "time: second back", "Back one second", &["left"]),
    bind(Action::Travel(Travel::Ten(true)), "time: 10 s forward", "Forward ten seconds", &["shift-right"]),
    bind(Action::Travel(Travel::Ten(false)), "time: 10 s back", "Back ten seconds", &["shift-left"]),
    bind(Action::Travel(Travel::Minute(true)), "time: minute forward", "Forward a minute", &["ctrl-right"]),
    bind(Action::Travel(Travel::Minute(false)), "time: minute back", "Back a minute", &["ctrl-left"]),
    bind(Action::Travel(Travel::Line(true)), "time: next message", "Forward one message (line of the log)", &["."]),
    bind(Action::Travel(Travel::Line(false)), "time: previous message", "Back one message", &[","]),
    bind(
        Action::Travel(Travel::Mark(Mark::Transition, true)),
        "time: next transition",
        "To the next status change of a stream",
        &["]"],
    ),
    bind(
        Action::Travel(Travel::Mark(Mark::Transition, false)),
        "time: previous transition",
        "To the previous status change",
        &["["],
    ),
    bind(
        Action::Travel(Travel::Mark(Mark::Checkpoint, true)),
        "time: next checkpoint",
        "To the next checkpoint",
        &["}"],
    ),
    bind(
        Action::Travel(Travel::Mark(Mark::Checkpoint, false)),
        "time: previous checkpoint",
        "To the previous checkpoint",
        &["{"],
    ),
    bind(Action::Travel(Travel::Mark(Mark::Attempt, true)), "time: next attempt", "To the next attempt", &[")"]),
    bind(
        Action::Travel(Travel::Mark(Mark::Attempt, false)),
        "time: previous attempt",
        "To the start of the previous attempt",
        &["("],
    ),
    bind(Action::Travel(Travel::Mark(Mark::Run, true)), "time: next run", "To the next run in the log", &["u"]),
    bind(
        Action::Travel(Travel::Mark(Mark::Run, false)),
        "time: previous run",
        "To the start of the previous run",
        &["U"],
    ),
    bind(Action::Travel(Travel::Faster), "faster", "Play faster: 1/4x to 1000x, then unlimited", &[">"]),
    bind(Action::Travel(Travel::Slower), "time: slower", "Play slower", &["<"]),
    bind(Action::Travel(Travel::Gaps), "time: silences", "Skip silences of 30 s and more, or play them", &["x"]),
    DOWN,
    UP,
    PAGE_DOWN,
    PAGE_UP,
    bind(Action::Top, "top", "To the first row", &["home"]),
    bind(Action::Bottom, "bottom", "To the last row (the log follows there)", &["G", "end"]),
    SORT_NEXT,
    SORT_PREVIOUS,
    SORT_REVERSE,
    FOLD,
    FOLD_ALL,
    COPY,
    bind(Action::LevelMore, "more levels", "Show one more level in the log or diagnostics", &["+", "="]),
    bind(Action::LevelLess, "fewer levels", "Show one level fewer in the log or diagnostics", &["-"]),
    bind(Action::Target(TargetKey::Show), "targets", "Diagnostics: show or hide the list of targets", &["t"]),
    bind(Action::Target(TargetKey::Focus), "focus target", "Diagnostics: only the selected target", &["f"]),
    bind(
        Action::Target(TargetKey::CaptureMore),
        "capture more",
        "Diagnostics: capture one level more of the selected target",
        &["c"],
    ),
    bind(
        Action::Target(TargetKey::CaptureLess),
        "capture less",
        "Diagnostics: capture one level less of the selected target",
        &["C"],
    ),
    MOUSE,
    THEME,
    REDRAW,
    PALETTE,
    SUSPEND,
    bind(Action::Quit, "quit", "Quit; asks first if it started an engine that still runs", &["q"]),
    bind(Action::Interrupt, "interrupt", "Quit at once (stops an engine it started)", &["ctrl-c"]),
];

/// Actions of the fleet screen. The footer shows the first key of a binding.
pub const FLEET_ACTIONS: &[Binding] = &[
    HELP,
    FILTER,
    bind(
        Action::Open,
        "open",
        "Open the run of the selected pipeline, or an error; fold or unfold a group",
        &["enter"],
    ),
    bind(Action::Fleet(FleetAction::Describe), "describe", "Details of the selected pipeline", &["d", "i"]),
    bind(Action::Fleet(FleetAction::Runs), "runs", "Past runs of the selected pipeline; Enter replays one", &["h"]),
    bind(Action::Back, "back", "Close the overlay; clear the filter and the marks; leave zoom", &["esc"]),
    bind(Action::Fleet(FleetAction::Arm), "arm", "Enable actions for ten minutes; disable them", &["w"]),
    bind(
        Action::Fleet(FleetAction::Do(Act::Resume)),
        "resume",
        "Resume the marked or the selected pipelines, and verify the result",
        &["R"],
    ),
    bind(Action::Fleet(FleetAction::Do(Act::Pause)), "pause", "Pause the marked or the selected pipelines", &["P"]),
    bind(Action::Fleet(FleetAction::Do(Act::Sync)), "sync now", "Run the marked or the selected pipelines now", &["N"]),
    bind(
        Action::Fleet(FleetAction::Do(Act::Retry)),
        "retry failed streams",
        "Start a new run that retries failed streams",
        &["F"],
    ),
    bind(
        Action::Fleet(FleetAction::Do(Act::Delete)),
        "delete",
        "Tear down and delete the marked or the selected pipelines",
        &["D"],
    ),
    bind(Action::Fleet(FleetAction::Stop), "stop", "Stop the bulk action, skip the rest", &["X"]),
    bind(Action::Fleet(FleetAction::Mark), "mark", "Mark the selected pipeline or its group; unmark", &["space"]),
    bind(Action::Fleet(FleetAction::MarkAll), "mark all", "Mark all filtered pipelines; unmark all", &["*"]),
    bind(Action::Fleet(FleetAction::NextTrouble), "next trouble", "Go to the next pipeline in trouble", &["e"]),
    bind(
        Action::Fleet(FleetAction::PreviousTrouble),
        "previous trouble",
        "Go to the previous pipeline in trouble",
        &["E"],
    ),
    bind(Action::Fleet(FleetAction::Acknowledge), "acknowledge", "Acknowledge or unacknowledge the error", &["a"]),
    bind(Action::Fleet(FleetAction::Closed), "closed errors", "Show resolved errors too", &["A"]),
    NEXT_PANE,
    PREVIOUS_PANE,
    bind(Action::Fleet(FleetAction::Go(FleetPane::Pipelines)), "pipelines", "Go to the pipelines", &["1"]),
    bind(Action::Fleet(FleetAction::Go(FleetPane::Errors)), "errors", "Go to the errors of all pipelines", &["2"]),
    bind(Action::Fleet(FleetAction::Go(FleetPane::Actions)), "actions", "Go to the action log", &["3", "L"]),
    bind(Action::Fleet(FleetAction::Go(FleetPane::Bulk)), "bulk", "Go to the bulk action", &["4"]),
    ZOOM,
    DOWN,
    UP,
    PAGE_DOWN,
    PAGE_UP,
    bind(Action::Top, "top", "To the first row", &["g", "home"]),
    bind(Action::Bottom, "bottom", "To the last row", &["G", "end"]),
    SORT_NEXT,
    SORT_PREVIOUS,
    SORT_REVERSE,
    FOLD,
    FOLD_ALL,
    COPY,
    bind(Action::Fleet(FleetAction::Contexts), "contexts", "Go to another service of the configuration", &["c"]),
    bind(Action::Fleet(FleetAction::Refresh), "refresh", "Read the list now", &["ctrl-r"]),
    MOUSE,
    THEME,
    REDRAW,
    PALETTE,
    SUSPEND,
    bind(Action::Quit, "quit", "Leave", &["q"]),
    bind(Action::Interrupt, "interrupt", "Leave at once", &["ctrl-c"]),
];

/// Returns the action that a key is bound to.
#[must_use]
pub fn bound(table: &[Binding], chord: &str) -> Option<Action> {
    table.iter().find(|binding| binding.keys.contains(&chord)).map(|binding| binding.action)
}

/// Returns the binding of an action.
#[must_use]
pub fn binding(table: &'static [Binding], action: Action) -> Option<&'static Binding> {
    table.iter().find(|binding| binding.action == action)
}

/// Returns the bindings that match `text`, best match first: in the name, in the description, or as
/// letters of the name in this order.
#[must_use]
pub fn matching(table: &'static [Binding], text: &str) -> Vec<&'static Binding> {
    let text = text.trim().to_lowercase();
    let mut found: Vec<_> = table
        .iter()
        .filter_map(|binding| {
            let (name, does) = (binding.name.to_lowercase(), binding.does.to_lowercase());
            let rank = match () {
                () if name.starts_with(&text) => 0,
                () if name.contains(&text) => 1,
                () if does.contains(&text) => 2,
                () if letters_in_order(&text, &name) => 3,
                () => return None,
            };
            Some((rank, binding))
        })
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, binding)| binding).collect()
}

fn letters_in_order(letters: &str, text: &str) -> bool {
    let mut rest = text.chars();
    letters.chars().all(|letter| rest.any(|c| c == letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_and_actions_are_unique_and_described() {
        for table in [ACTIONS, FLEET_ACTIONS] {
            let mut keys = HashSet::new();
            let mut actions = HashSet::new();
            for binding in table {
                assert!(actions.insert(binding.action), "{} stands twice", binding.name);
                assert!(!binding.keys.is_empty() && !binding.does.is_empty());
                for key in binding.keys {
                    assert!(keys.insert(key), "{key} is bound twice");
                }
            }
        }
    }

    #[test]
    fn the_palette_finds_by_name_and_by_letters() {
        assert_eq!(matching(ACTIONS, "free").first().map(|b| b.action), Some(Action::Freeze));
        assert_eq!(matching(ACTIONS, "nxer").first().map(|b| b.action), Some(Action::NextError));
        assert_eq!(matching(ACTIONS, "").len(), ACTIONS.len());
        assert!(matching(ACTIONS, "xyzzy").is_empty());
    }
}
