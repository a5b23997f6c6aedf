//! Maps actions to changes of the run screen's state and to effects outside it.

use crate::app::effect::Effect;
use crate::app::run::copy::copy;
use crate::app::run::selection::chosen_row;
use crate::views::action::{ACTIONS, Action, TargetKey, Travel, matching};
use crate::views::run::rows::Row;
use crate::views::run::state::{Chosen, Column, Filter, Overlay};
use crate::views::run::stream_group::StreamGroup;
use crate::views::run::{errors, log};
use crate::views::{Hits, Pane, Screen, Ui, doubt_items};
use strum::VariantArray as _;
use synctop_core::protocol::Level;
use synctop_core::reduce::key_of;
use tui_input::Input;
use tui_logger::TuiWidgetEvent;

/// Changes the state of the run screen for one action and returns the effects. `screen` is the
/// model on screen, `hits` its clickable areas and scroll limits.
#[must_use]
pub fn update(ui: &mut Ui, screen: &Screen, hits: &Hits, action: Action) -> Vec<Effect> {
    ui.toast = None;
    match action {
        Action::Quit => return vec![Effect::Quit],
        Action::Interrupt => return vec![Effect::Interrupt],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => return vec![Effect::Redraw],
        Action::Theme => return vec![Effect::NextTheme],
        Action::Mouse => return vec![Effect::ToggleMouse],
        Action::Travel(Travel::Goto) => {
            let already = matches!(ui.overlays.last(), Some(Overlay::Goto { .. }));
            if !already {
                ui.overlays.push(Overlay::Goto { input: Input::default(), bad: None });
            }
        }
        Action::Travel(what) => return vec![Effect::Travel(what)],
        // In an earlier view this key starts or pauses the playback clock.
        Action::Freeze if screen.scrub.is_some() => return vec![Effect::Travel(Travel::Play)],
        Action::Freeze => {
            ui.frozen = !ui.frozen;
            return vec![Effect::Freeze(ui.frozen)];
        }
        Action::Copy => return copy(ui, screen),
        Action::Help => toggle_help(ui),
        Action::Palette => ui.overlays.push(Overlay::Palette { input: Input::default(), chosen: 0 }),
        // In the help, the filter key opens the palette.
        Action::Filter if matches!(ui.overlays.last(), Some(Overlay::Help { .. })) => {
            ui.overlays.pop();
            ui.overlays.push(Overlay::Palette { input: Input::default(), chosen: 0 });
        }
        Action::Filter if !ui.overlays.is_empty() => ui.toast = Some("Esc closes this; then / filters the list".into()),
        Action::Filter => {
            let before = ui.list(ui.focus).filter.clone();
            let input = Input::new(before.text.clone());
            if ui.focus == Pane::Diagnostics {
                ui.toast = Some("the diagnostics have their own filters: t f + - c C".into());
            } else {
                ui.overlays.push(Overlay::Filter { input, before });
            }
        }
        Action::Back => return back(ui),
        Action::Open => open(ui, screen),
        Action::NextError | Action::PreviousError => step_error(ui, screen, action == Action::NextError),
        Action::NextPane | Action::PreviousPane => {
            let all = Pane::VARIANTS.len();
            let step = if action == Action::NextPane { 1 } else { all - 1 };
            focus(ui, Pane::VARIANTS.get((ui.focus.place() + step) % all).copied().unwrap_or_default());
        }
        Action::Go(pane) => focus(ui, pane),
        Action::Zoom => ui.zoomed = !ui.zoomed,
        Action::Down | Action::Up | Action::PageDown | Action::PageUp | Action::Top | Action::Bottom => {
            movement(ui, screen, hits, action);
        }
        Action::SortNext | Action::SortPrevious | Action::SortReverse if ui.focus != Pane::Streams => {
            ui.toast = Some("only the streams can be sorted: 1 goes there".into());
        }
        Action::SortNext | Action::SortPrevious => {
            let all = Column::VARIANTS;
            let at = all.iter().position(|column| *column == ui.sort).unwrap_or(0);
            let step = if action == Action::SortNext { 1 } else { all.len() - 1 };
            sort(ui, all.get((at + step) % all.len()).copied().unwrap_or_default());
        }
        Action::SortReverse => ui.reversed = !ui.reversed,
        Action::Fold => fold(ui, screen),
        Action::FoldAll => {
            let fold = StreamGroup::VARIANTS.iter().copied().any(|group| !ui.folded(group));
            ui.folds = [Some(fold); 6];
        }
        Action::LevelMore | Action::LevelLess => level(ui, action == Action::LevelMore),
        Action::Target(key) => target(ui, key),
        // Action of the fleet screen.
        Action::Fleet(_) => {}
    }
    Vec::new()
}

fn toggle_help(ui: &mut Ui) {
    if matches!(ui.overlays.last(), Some(Overlay::Help { .. })) {
        ui.overlays.pop();
    } else {
        ui.overlays.push(Overlay::Help { top: 0 });
    }
}

fn focus(ui: &mut Ui, pane: Pane) {
    ui.overlays.clear();
    ui.focus = pane;
}

/// Sorts by a column; reverses the order if the streams are sorted by it already.
pub(crate) fn sort(ui: &mut Ui, column: Column) {
    ui.reversed = ui.sort == column && !ui.reversed;
    ui.sort = column;
    ui.toast = Some(format!("sorted by {}{}", column.as_str(), if ui.reversed { ", reversed" } else { "" }));
}

/// Closes the topmost overlay, otherwise the filter, otherwise the zoom, otherwise the selection in
/// the log. Returns to the fleet screen from the streams of a nested screen.
fn back(ui: &mut Ui) -> Vec<Effect> {
    match ui.overlays.pop() {
        Some(Overlay::Filter { before, .. }) => {
            let focus = ui.focus;
            let list = ui.list_mut(focus);
            // The first Esc discards the typed text; with an unchanged text it removes the filter.
            list.filter = if list.filter.text == before.text { Filter::default() } else { before };
        }
        Some(_) => {}
        None if !ui.list(ui.focus).filter.text.is_empty() => {
            let focus = ui.focus;
            ui.list_mut(focus).filter = Filter::default();
        }
        None if ui.zoomed => ui.zoomed = false,
        None if ui.focus == Pane::Log && ui.list(Pane::Log).chosen.is_some() => ui.list_mut(Pane::Log).chosen = None,
        None if ui.nested && ui.focus == Pane::Streams => return vec![Effect::Quit],
        None => ui.focus = Pane::Streams,
    }
    Vec::new()
}

/// Opens the details of the selected row.
fn open(ui: &mut Ui, screen: &Screen) {
    match ui.focus {
        Pane::Streams => {
            let (all, place) = chosen_row(screen);
            match all.chosen(screen, place) {
                Some(Chosen::Head(group)) => toggle(ui, group),
                Some(Chosen::Stream(key)) => ui.overlays.push(Overlay::Stream { key, top: 0 }),
                _ => {}
            }
        }
        Pane::Errors => {
            let items = errors::items(screen);
            let place = errors::place(&items, ui.list(Pane::Errors).chosen.as_ref());
            match items.get(place).map(errors::ErrorItem::chosen) {
                Some(Chosen::Error(id)) => ui.overlays.push(Overlay::Error { id, top: 0 }),
                Some(Chosen::Stream(key)) => ui.overlays.push(Overlay::Stream { key, top: 0 }),
                _ => {}
            }
        }
        Pane::Doubts => {
            let items = doubt_items(screen);
            let chosen = ui.list(Pane::Doubts).chosen.clone();
            let found = items.iter().find(|doubt| Some(Chosen::Doubt(doubt.kind, doubt.stream.clone())) == chosen);
            if let Some(name) = found.or_else(|| items.first()).and_then(|doubt| doubt.stream.clone()) {
                ui.overlays.push(Overlay::Stream { key: name.to_string(), top: 0 });
            }
        }
        Pane::Log => {
            let items = log::items(screen);
            if let Some((number, _)) = items.get(log::place(&items, ui.list(Pane::Log).chosen.as_ref())) {
                ui.overlays.push(Overlay::Line { number: *number, top: 0 });
            }
        }
        Pane::Diagnostics => ui.diagnostics.transition(TuiWidgetEvent::FocusKey),
    }
}

/// Folds or unfolds a group.
fn toggle(ui: &mut Ui, group: StreamGroup) {
    let folded = ui.folded(group);
    if let Some(fold) = ui.folds.get_mut(group as usize) {
        *fold = Some(!folded);
    }
}

/// Folds or unfolds the group of the selected row.
fn fold(ui: &mut Ui, screen: &Screen) {
    let (all, place) = chosen_row(screen);
    if let Some(Row::Head(group) | Row::Stream(_, group) | Row::Note(_, group)) = all.rows.get(place) {
        toggle(ui, *group);
        ui.list_mut(Pane::Streams).chosen = Some(Chosen::Head(*group));
    }
}

/// Selects the next or previous error, and its first stream.
fn step_error(ui: &mut Ui, screen: &Screen, forward: bool) {
    let items = errors::items(screen);
    if items.is_empty() {
        ui.toast = Some("no errors".into());
        return;
    }
    let has_selection = ui.focus == Pane::Errors && ui.list(Pane::Errors).chosen.is_some();
    let at = errors::place(&items, ui.list(Pane::Errors).chosen.as_ref());
    let next = match (has_selection, forward) {
        (false, true) => 0,
        (true, true) => (at + 1) % items.len(),
        (_, false) => (at + items.len() - 1) % items.len(),
    };
    let Some(chosen) = items.get(next).map(errors::ErrorItem::chosen) else { return };
    if let Some(open @ Overlay::Error { .. }) = ui.overlays.last_mut()
        && let Chosen::Error(id) = chosen
    {
        *open = Overlay::Error { id, top: 0 };
    }
    // Also selects the first affected stream in the streams pane.
    let affected = match items.get(next) {
        Some(errors::ErrorItem::Error(group)) => group.streams().next().map(ToString::to_string),
        Some(errors::ErrorItem::Retry(stream)) => Some(key_of(stream)),
        None => None,
    };
    if let Some(key) = affected {
        ui.list_mut(Pane::Streams).chosen = Some(Chosen::Stream(key));
    }
    ui.focus = Pane::Errors;
    ui.list_mut(Pane::Errors).chosen = Some(chosen);
    ui.toast = Some(format!("error {} of {}", next + 1, items.len()));
}

/// Moves the selection of the focused pane, or scrolls the topmost overlay.
fn movement(ui: &mut Ui, screen: &Screen, hits: &Hits, action: Action) {
    if let Some(overlay) = ui.overlays.last_mut() {
        return scroll_overlay(overlay, hits, action);
    }
    let page = hits.pages.get(ui.focus.place()).copied().unwrap_or(1).max(1);
    let to = |at: usize, all: usize| {
        let last = all.saturating_sub(1);
        match action {
            Action::Down => (at + 1).min(last),
            Action::Up => at.saturating_sub(1),
            Action::PageDown => (at + page).min(last),
            Action::PageUp => at.saturating_sub(page),
            Action::Bottom => last,
            _ => 0,
        }
    };
    match ui.focus {
        Pane::Streams => {
            let (all, place) = chosen_row(screen);
            let mut next = to(place, all.rows.len());
            // A note cannot be selected.
            let back = matches!(action, Action::Up | Action::PageUp | Action::Bottom);
            while matches!(all.rows.get(next), Some(Row::Note(..))) {
                next = if back || next + 1 >= all.rows.len() { next.saturating_sub(1) } else { next + 1 };
                if matches!(all.rows.get(next), Some(Row::Note(..))) && next == 0 {
                    break;
                }
            }
            ui.list_mut(Pane::Streams).chosen = all.chosen(screen, next);
        }
        Pane::Errors => {
            let items = errors::items(screen);
            let next = to(errors::place(&items, ui.list(Pane::Errors).chosen.as_ref()), items.len());
            ui.list_mut(Pane::Errors).chosen = items.get(next).map(errors::ErrorItem::chosen);
        }
        Pane::Doubts => {
            let items = doubt_items(screen);
            let known = |doubt: &synctop_core::reduce::Doubt| Chosen::Doubt(doubt.kind, doubt.stream.clone());
            let at = items.iter().position(|doubt| Some(known(doubt)) == ui.list(Pane::Doubts).chosen).unwrap_or(0);
            ui.list_mut(Pane::Doubts).chosen = items.get(to(at, items.len())).map(known);
        }
        Pane::Log => {
            let items = log::items(screen);
            let at = log::place(&items, ui.list(Pane::Log).chosen.as_ref());
            let next = to(at, items.len());
            let newest = next + 1 >= items.len() && matches!(action, Action::Bottom | Action::Down | Action::PageDown);
            let chosen = items.get(next).filter(|_| !newest).map(|(number, _)| Chosen::Line(*number));
            ui.list_mut(Pane::Log).chosen = chosen;
        }
        Pane::Diagnostics => ui.diagnostics.transition(match action {
            Action::Down => TuiWidgetEvent::DownKey,
            Action::Up => TuiWidgetEvent::UpKey,
            Action::PageUp | Action::Top => TuiWidgetEvent::PrevPageKey,
            Action::PageDown => TuiWidgetEvent::NextPageKey,
            _ => TuiWidgetEvent::EscapeKey,
        }),
    }
}

fn scroll_overlay(overlay: &mut Overlay, hits: &Hits, action: Action) {
    let (most, page) = hits.overlay;
    let to = |at: usize, most: usize| match action {
        Action::Down => (at + 1).min(most),
        Action::Up => at.min(most).saturating_sub(1),
        Action::PageDown => (at + page).min(most),
        Action::PageUp => at.min(most).saturating_sub(page),
        Action::Bottom => most,
        _ => 0,
    };
    match overlay {
        Overlay::Help { top }
        | Overlay::Stream { top, .. }
        | Overlay::Error { top, .. }
        | Overlay::Line { top, .. } => {
            *top = to(*top, most);
        }
        Overlay::Palette { input, chosen } => {
            *chosen = to(*chosen, matching(ACTIONS, input.value()).len().saturating_sub(1));
        }
        Overlay::Filter { .. } | Overlay::Goto { .. } | Overlay::ConfirmQuit => {}
    }
}

fn level(ui: &mut Ui, more: bool) {
    if ui.focus == Pane::Diagnostics {
        // In tui-logger, right and left change the level of the selected target.
        ui.diagnostics.transition(if more { TuiWidgetEvent::RightKey } else { TuiWidgetEvent::LeftKey });
        return;
    }
    ui.level = match (ui.level, more) {
        (Level::Error, true) => Level::Warn,
        (Level::Warn, true) => Level::Info,
        (Level::Info, true) => Level::Debug,
        (Level::Debug | Level::Trace, true) => Level::Trace,
        (Level::Trace, false) => Level::Debug,
        (Level::Debug, false) => Level::Info,
        (Level::Info, false) => Level::Warn,
        (Level::Warn | Level::Error, false) => Level::Error,
    };
    ui.toast = Some(format!("log: {} and above", ui.level.as_str().to_lowercase()));
}

fn target(ui: &mut Ui, key: TargetKey) {
    if ui.focus != Pane::Diagnostics {
        focus(ui, Pane::Diagnostics);
    }
    if key == TargetKey::Show {
        ui.targets = !ui.targets;
        return;
    }
    ui.targets = true;
    ui.diagnostics.transition(match key {
        TargetKey::Show => TuiWidgetEvent::EscapeKey,
        TargetKey::Focus => TuiWidgetEvent::FocusKey,
        TargetKey::CaptureMore => TuiWidgetEvent::PlusKey,
        TargetKey::CaptureLess => TuiWidgetEvent::MinusKey,
    });
}
