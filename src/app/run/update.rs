//! Reactions of the run screen to its actions.

use crate::app::effect::Effect;
use crate::app::run::copy::copy;
use crate::app::update::{Behavior, Effects, focus};
use crate::views::action::Move;
use crate::views::run::action::{RunAction, TargetKey, Travel};
use crate::views::run::errors::ErrorItem;
use crate::views::run::model::RunModel;
use crate::views::run::state::{Chosen, LeadUpState, Pane, RunHits, RunOverlay, RunSheet, RunTypes, RunUi};
use crate::views::ui::ListModel as _;
use std::sync::Arc;
use synctop_core::protocol::Level;
use synctop_core::reduce::Target;
use synctop_core::reduce::lead_up::place_of_error;
use tui_input::Input;
use tui_logger::TuiWidgetEvent;

/// Effect of the run screen alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEffect {
    /// Quits; asks first if an engine that synctop started still runs.
    Leave,
    /// Stops that engine, then quits.
    Stop,
    /// True freezes the screen.
    Freeze(bool),
    Travel(Travel),
    /// Seeks to a typed position.
    GoTo(String),
    /// Seeks to an instant.
    Jump(Target),
    /// Reads the lead-up of an instant, for a stream.
    LeadUp(Target, Option<Arc<str>>),
}

impl Behavior for RunTypes {
    type Effect = RunEffect;

    fn own(ui: &mut RunUi, model: &RunModel<'_>, _: &RunHits, action: RunAction) -> Effects<Self> {
        match action {
            RunAction::Go(pane) => focus(ui, pane),
            RunAction::NextError | RunAction::PreviousError => {
                step_error(ui, model, action == RunAction::NextError);
            }
            // In an earlier view this key starts or pauses the playback clock.
            RunAction::Freeze if model.scrub.is_some() => return travel(Travel::Play),
            RunAction::Freeze => {
                ui.own.frozen = !ui.own.frozen;
                return vec![Effect::Own(RunEffect::Freeze(ui.own.frozen))];
            }
            RunAction::LeadUp => return lead_up(ui, model),
            RunAction::LevelMore | RunAction::LevelLess => level(ui, action == RunAction::LevelMore),
            RunAction::Target(key) => target(ui, key),
            RunAction::Travel(Travel::Goto) => {
                if !matches!(ui.sheet(), Some(RunSheet::Goto { .. })) {
                    ui.open(RunSheet::Goto { input: Input::default(), bad: None });
                }
            }
            RunAction::Travel(what) => return travel(what),
        }
        Vec::new()
    }

    fn open(ui: &mut RunUi, model: &RunModel<'_>, _: &RunHits) -> Effects<Self> {
        if let Some(sheet) = ui.sheet() {
            return match sheet {
                RunSheet::Goto { input, .. } => vec![Effect::Own(RunEffect::GoTo(input.value().to_owned()))],
                RunSheet::LeadUp { .. } => jump_from_lead_up(ui),
                _ => Vec::new(),
            };
        }
        let pane = ui.focus;
        let chosen = model.chosen(ui, pane);
        match chosen {
            _ if pane == Pane::Diagnostics => ui.own.diagnostics.transition(TuiWidgetEvent::FocusKey),
            Some(Chosen::Stream(key)) => ui.open(RunSheet::Stream { key, top: 0 }),
            Some(Chosen::Error(id)) => ui.open(RunSheet::Error { id, top: 0 }),
            Some(Chosen::Line(number)) => ui.open(RunSheet::Line { number, top: 0 }),
            Some(Chosen::Doubt(_, Some(stream))) => ui.open(RunSheet::Stream { key: stream.to_string(), top: 0 }),
            Some(Chosen::Doubt(_, None) | Chosen::Head(_)) | None => {}
        }
        Vec::new()
    }

    fn copy(ui: &RunUi, model: &RunModel<'_>) -> Option<(String, &'static str)> {
        copy(ui, model)
    }

    /// Returns to the fleet screen from the streams of a nested screen.
    fn back(ui: &mut RunUi, model: &RunModel<'_>) -> Effects<Self> {
        if model.nested && ui.focus == Pane::Streams {
            return vec![Effect::Own(RunEffect::Leave)];
        }
        ui.focus = Pane::Streams;
        Vec::new()
    }

    fn quit(_: &mut RunUi, _: &RunModel<'_>) -> Effects<Self> {
        vec![Effect::Own(RunEffect::Leave)]
    }

    fn confirm(_: &mut RunUi, _: &RunModel<'_>, _: &RunHits, dialog: RunOverlay) -> Effects<Self> {
        match dialog {
            RunOverlay::Quit => vec![Effect::Own(RunEffect::Stop)],
            _ => Vec::new(),
        }
    }

    fn typed(ui: &mut RunUi) {
        if let Some(RunSheet::Goto { bad, .. }) = ui.sheet_mut() {
            *bad = None;
        }
    }

    fn move_in(ui: &mut RunUi, step: Move) -> bool {
        if ui.focus != Pane::Diagnostics {
            return false;
        }
        ui.own.diagnostics.transition(match step {
            Move::Down => TuiWidgetEvent::DownKey,
            Move::Up => TuiWidgetEvent::UpKey,
            Move::PageUp | Move::Top => TuiWidgetEvent::PrevPageKey,
            Move::PageDown => TuiWidgetEvent::NextPageKey,
            Move::Bottom => TuiWidgetEvent::EscapeKey,
        });
        true
    }

    fn no_filter(pane: Pane) -> Option<&'static str> {
        (pane == Pane::Diagnostics).then_some("the diagnostics have their own filters: t f + - c C")
    }
}

fn travel(what: Travel) -> Effects<RunTypes> {
    vec![Effect::Own(RunEffect::Travel(what))]
}

/// Opens the lead-up of the selected error or stream, otherwise of the first error of the run. At an
/// instant before the error, the lead-up shown last comes back.
fn lead_up(ui: &mut RunUi, model: &RunModel) -> Effects<RunTypes> {
    let found = lead_up_target(ui, model);
    if let (None, Some((lead_up, rows, chosen))) = (&found, &ui.own.lead_up) {
        let state = LeadUpState::Loaded(Arc::clone(lead_up), Arc::clone(rows));
        let chosen = *chosen;
        ui.open(RunSheet::LeadUp { state, chosen });
        return Vec::new();
    }
    let first = || match model.errors.first() {
        Some(ErrorItem::Error(group)) if ui.sheet().is_none() => of_group(model, group.id, None),
        _ => None,
    };
    let Some((target, stream)) = found.or_else(first) else {
        ui.say(if model.errors.is_empty() { "no errors" } else { "no error is selected: e selects one" });
        return Vec::new();
    };
    ui.open(RunSheet::LeadUp { state: LeadUpState::Loading, chosen: 0 });
    vec![Effect::Own(RunEffect::LeadUp(target, stream))]
}

/// Returns position and stream of an error, of one of its streams if that is given.
fn of_group(model: &RunModel, id: u64, stream: Option<&str>) -> Option<(Target, Option<Arc<str>>)> {
    let place = place_of_error(model.progress, id, stream)?;
    let group = model.progress.errors.get(id)?;
    let stream = stream.map(Arc::from).or_else(|| group.places.back().and_then(|place| place.stream.clone()));
    Some((Target::Line(place.lines), stream))
}

/// Returns position and stream of the selected error: of the open sheet, otherwise of the focused
/// pane.
fn lead_up_target(ui: &RunUi, model: &RunModel) -> Option<(Target, Option<Arc<str>>)> {
    let progress = model.progress;
    let of_group = |id, stream| of_group(model, id, stream);
    let of_stream = |key: &str| {
        let stream = progress.stream(key)?;
        let latest = || {
            let of = progress.errors.groups().iter().filter(|group| group.hits.contains_key(&stream.label));
            of.max_by_key(|group| group.places.back().map(|place| place.line)).map(|group| group.id)
        };
        let group = stream.details.failed_group.or_else(latest);
        match group {
            Some(id) => of_group(id, Some(&stream.label)),
            // A stream that is stalled or retries: up to the shown instant.
            None if stream.details.retry.is_some() => {
                Some((Target::Line(progress.input.lines), Some(Arc::clone(&stream.label))))
            }
            None => None,
        }
    };
    match ui.sheet() {
        Some(RunSheet::Error { id, .. }) => return of_group(*id, None),
        Some(RunSheet::Stream { key, .. }) => return of_stream(key),
        _ => {}
    }
    match (ui.focus, model.chosen(ui, ui.focus)) {
        (Pane::Log, Some(Chosen::Line(number))) => {
            let line = model.log.iter().find(|(of, _)| *of == number).map(|(_, line)| line)?;
            Some((Target::Line(line.line), line.stream.clone()))
        }
        (_, Some(Chosen::Error(id))) => of_group(id, None),
        (_, Some(Chosen::Stream(key))) => of_stream(&key),
        (_, Some(Chosen::Doubt(_, Some(stream)))) => of_stream(&stream),
        _ => None,
    }
}

/// Goes to the instant of the selected row, and closes the overlay.
fn jump_from_lead_up(ui: &mut RunUi) -> Effects<RunTypes> {
    let Some(RunSheet::LeadUp { state: LeadUpState::Loaded(lead_up, rows), chosen }) = ui.sheet().cloned() else {
        return Vec::new();
    };
    let Some(instant) = rows.get(chosen).and_then(|row| row.instant) else { return Vec::new() };
    let target = match (instant.line, instant.at) {
        (Some(line), _) => Target::Line(line),
        (None, Some(at)) => Target::Time(at),
        (None, None) => return Vec::new(),
    };
    let text = rows.get(chosen).map(|row| row.place(lead_up.end)).unwrap_or_default();
    ui.overlays.pop();
    ui.own.lead_up = Some((lead_up, rows, chosen));
    ui.say(format!("{}: W shows the list again", text.split_whitespace().collect::<Vec<_>>().join(" ")));
    vec![Effect::Own(RunEffect::Jump(target))]
}

/// Selects the next or previous error, and its first stream.
fn step_error(ui: &mut RunUi, model: &RunModel, forward: bool) {
    let count = model.len(Pane::Errors);
    if count == 0 {
        return ui.say("no errors");
    }
    let has_selection = ui.focus == Pane::Errors && ui.list(Pane::Errors).chosen.is_some();
    let at = model.place(Pane::Errors, ui.list(Pane::Errors).chosen.as_ref());
    let next = match (has_selection, forward) {
        (false, true) => 0,
        (true, true) => (at + 1) % count,
        (_, false) => (at + count - 1) % count,
    };
    let Some(item) = model.errors.get(next) else { return };
    if let (Some(open @ RunSheet::Error { .. }), ErrorItem::Error(group)) = (ui.sheet_mut(), item) {
        *open = RunSheet::Error { id: group.id, top: 0 };
    }
    ui.focus = Pane::Errors;
    select_error(ui, item);
    ui.say(format!("error {} of {count}", next + 1));
}

/// Selects an error and its first stream.
pub(crate) fn select_error(ui: &mut RunUi, item: &ErrorItem) {
    if let Some(key) = item.stream() {
        ui.list_mut(Pane::Streams).chosen = Some(Chosen::Stream(key));
    }
    ui.list_mut(Pane::Errors).chosen = Some(item.chosen());
}

fn level(ui: &mut RunUi, more: bool) {
    if ui.focus == Pane::Diagnostics {
        // In tui-logger, right and left change the level of the selected target.
        let key = if more { TuiWidgetEvent::RightKey } else { TuiWidgetEvent::LeftKey };
        return ui.own.diagnostics.transition(key);
    }
    ui.own.level = match (ui.own.level, more) {
        (Level::Error, true) => Level::Warn,
        (Level::Warn, true) => Level::Info,
        (Level::Info, true) => Level::Debug,
        (Level::Debug | Level::Trace, true) => Level::Trace,
        (Level::Trace, false) => Level::Debug,
        (Level::Debug, false) => Level::Info,
        (Level::Info, false) => Level::Warn,
        (Level::Warn | Level::Error, false) => Level::Error,
    };
    ui.say(format!("log: {} and above", ui.own.level.as_str().to_lowercase()));
}

fn target(ui: &mut RunUi, key: TargetKey) {
    if ui.focus != Pane::Diagnostics {
        if key != TargetKey::Show {
            ui.say("this key works in the diagnostics: 5 goes there");
            return;
        }
        focus(ui, Pane::Diagnostics);
    }
    if key == TargetKey::Show {
        ui.own.targets = !ui.own.targets;
        return;
    }
    ui.own.targets = true;
    ui.own.diagnostics.transition(match key {
        TargetKey::Show => TuiWidgetEvent::EscapeKey,
        TargetKey::Focus => TuiWidgetEvent::FocusKey,
        TargetKey::CaptureMore => TuiWidgetEvent::PlusKey,
        TargetKey::CaptureLess => TuiWidgetEvent::MinusKey,
    });
}
