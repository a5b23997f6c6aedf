//! Actions of the run screen and their keys.

use crate::views::action::{Action, Binding, HelpSection, Move, bind, own};
use crate::views::run::state::Pane;
use synctop_core::reduce::history::Mark;

/// Action of the run screen alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunAction {
    Go(Pane),
    /// Selects the next or previous error of the list.
    NextError,
    PreviousError,
    /// Shows the lead-up of the selected error.
    LeadUp,
    Freeze,
    LevelMore,
    LevelLess,
    Target(TargetKey),
    Travel(Travel),
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
    /// To a share of the scrubber's width, in parts of 65,535.
    Share(u16),
}

/// Keys of the diagnostics pane's own filter (tui-logger).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetKey {
    Show,
    Focus,
    CaptureMore,
    CaptureLess,
}

type Row = Binding<RunAction>;

const fn travel(travel: Travel, name: &'static str, does: &'static str, keys: &'static [&'static str]) -> Row {
    own(RunAction::Travel(travel), HelpSection::Time, name, does, keys)
}

/// Actions of the run screen. The footer shows the first key of a binding.
pub const ACTIONS: &[Row] = &[
    Row::HELP,
    Row::FILTER,
    own(RunAction::NextError, HelpSection::Errors, "next error", "Select the next error of the list", &["e"]),
    own(
        RunAction::PreviousError,
        HelpSection::Errors,
        "previous error",
        "Select the previous error of the list",
        &["E"],
    ),
    own(
        RunAction::LeadUp,
        HelpSection::Errors,
        "led to it",
        "Show what led to the selected error: the 60 s before it, per stream",
        &["W"],
    ),
    bind(
        Action::Open,
        HelpSection::Select,
        "open",
        "Open the selected stream, error or line; fold or unfold a group",
        &["enter"],
    ),
    bind(Action::Back, HelpSection::Select, "back", "Close the overlay; clear the filter; leave zoom", &["esc"]),
    Row::NEXT_PANE,
    Row::PREVIOUS_PANE,
    own(RunAction::Go(Pane::Streams), HelpSection::Panes, "streams", "Go to the streams", &["1"]),
    own(RunAction::Go(Pane::Errors), HelpSection::Panes, "errors", "Go to the errors", &["2"]),
    own(
        RunAction::Go(Pane::Doubts),
        HelpSection::Panes,
        "doubts",
        "Go to the doubts: claims that the evidence contradicts",
        &["3"],
    ),
    own(RunAction::Go(Pane::Log), HelpSection::Panes, "log", "Go to the feed's log", &["4"]),
    own(
        RunAction::Go(Pane::Diagnostics),
        HelpSection::Panes,
        "diagnostics",
        "Go to the diagnostics: synctop's own log and the engine's stderr",
        &["5"],
    ),
    Row::ZOOM,
    Row::PREVIEW,
    Row::WIDER,
    Row::NARROWER,
    Row::TALLER,
    Row::SHORTER,
    own(
        RunAction::Freeze,
        HelpSection::Time,
        "freeze",
        "Freeze the screen while counting continues; in the past: play, pause",
        &["space"],
    ),
    travel(Travel::Mark(Mark::Error, true), "time: next error", "To the next error in time, and select it", &["n"]),
    travel(
        Travel::Mark(Mark::Error, false),
        "time: previous error",
        "To the previous error in time, and select it",
        &["N"],
    ),
    travel(Travel::Goto, "time: go to", "To 08:31:20, +10m, 50%, line 1200, end", &["g"]),
    travel(Travel::Now, "time: now", "Back to now; in a replay to the end", &["L"]),
    travel(Travel::Begin, "time: start", "To the start of the log", &["0"]),
    travel(Travel::Second(true), "time: second forward", "Forward one second", &["right"]),
    travel(Travel::Second(false), "time: second back", "Back one second", &["left"]),
    travel(Travel::Ten(true), "time: 10 s forward", "Forward ten seconds", &["shift-right"]),
    travel(Travel::Ten(false), "time: 10 s back", "Back ten seconds", &["shift-left"]),
    travel(Travel::Minute(true), "time: minute forward", "Forward a minute", &["ctrl-right"]),
    travel(Travel::Minute(false), "time: minute back", "Back a minute", &["ctrl-left"]),
    travel(Travel::Line(true), "time: next message", "Forward one message (line of the log)", &["."]),
    travel(Travel::Line(false), "time: previous message", "Back one message", &[","]),
    travel(
        Travel::Mark(Mark::Transition, true),
        "time: next transition",
        "To the next status change of a stream",
        &["]"],
    ),
    travel(Travel::Mark(Mark::Transition, false), "time: previous transition", "To the previous status change", &["["]),
    travel(Travel::Mark(Mark::Checkpoint, true), "time: next checkpoint", "To the next checkpoint", &["}"]),
    travel(Travel::Mark(Mark::Checkpoint, false), "time: previous checkpoint", "To the previous checkpoint", &["{"]),
    travel(Travel::Mark(Mark::Attempt, true), "time: next attempt", "To the next attempt", &[")"]),
    travel(
        Travel::Mark(Mark::Attempt, false),
        "time: previous attempt",
        "To the start of the previous attempt",
        &["("],
    ),
    travel(Travel::Mark(Mark::Run, true), "time: next run", "To the next run in the log", &["u"]),
    travel(Travel::Mark(Mark::Run, false), "time: previous run", "To the start of the previous run", &["U"]),
    travel(Travel::Faster, "faster", "Play faster: 1/4x to 1000x, then unlimited", &[">"]),
    travel(Travel::Slower, "time: slower", "Play slower", &["<"]),
    travel(Travel::Gaps, "time: silences", "Skip silences of 30 s and more, or play them", &["x"]),
    Row::DOWN,
    Row::UP,
    Row::PAGE_DOWN,
    Row::PAGE_UP,
    bind(Action::Move(Move::Top), HelpSection::Select, "top", "To the first row", &["home"]),
    bind(
        Action::Move(Move::Bottom),
        HelpSection::Select,
        "bottom",
        "To the last row (the log follows there)",
        &["G", "end"],
    ),
    Row::SORT_NEXT,
    Row::SORT_PREVIOUS,
    Row::SORT_REVERSE,
    Row::FOLD,
    Row::FOLD_ALL,
    Row::COPY,
    own(
        RunAction::LevelMore,
        HelpSection::Log,
        "more levels",
        "Show one more level in the log or diagnostics",
        &["+", "="],
    ),
    own(
        RunAction::LevelLess,
        HelpSection::Log,
        "fewer levels",
        "Show one level fewer in the log or diagnostics",
        &["-"],
    ),
    own(
        RunAction::Target(TargetKey::Show),
        HelpSection::Log,
        "targets",
        "Diagnostics: show or hide the list of targets",
        &["t"],
    ),
    own(
        RunAction::Target(TargetKey::Focus),
        HelpSection::Log,
        "focus target",
        "Diagnostics: only the selected target",
        &["f"],
    ),
    own(
        RunAction::Target(TargetKey::CaptureMore),
        HelpSection::Log,
        "capture more",
        "Diagnostics: capture one level more of the selected target",
        &["c"],
    ),
    own(
        RunAction::Target(TargetKey::CaptureLess),
        HelpSection::Log,
        "capture less",
        "Diagnostics: capture one level less of the selected target",
        &["C"],
    ),
    Row::MOUSE,
    Row::THEME,
    Row::REDRAW,
    Row::PALETTE,
    Row::SUSPEND,
    bind(Action::Quit, HelpSection::Screen, "quit", "Quit; asks first if it started an engine that still runs", &["q"]),
    bind(Action::Interrupt, HelpSection::Screen, "interrupt", "Quit at once (stops an engine it started)", &["ctrl-c"]),
    Row::CONFIRM,
    Row::CANCEL,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::action::matching;

    #[test]
    fn the_palette_finds_by_name_and_by_letters() {
        let first = |text: &str| matching(ACTIONS, text).first().map(|binding| binding.action);
        assert_eq!(first("free"), Some(Action::Own(RunAction::Freeze)));
        assert_eq!(first("nxer"), Some(Action::Own(RunAction::NextError)));
        assert_eq!(
            matching(ACTIONS, "").len(),
            ACTIONS.iter().filter(|binding| binding.section != HelpSection::Dialog).count()
        );
        assert!(matching(ACTIONS, "xyzzy").is_empty());
    }
}
