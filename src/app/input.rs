//! Maps terminal events to changes of a screen's state and to effects.

use crate::app::term::keys;
use crate::app::update::{Behavior, Effects, drag, sort, update};
use crate::views::action::{Action, Move};
use crate::views::filter::Filter;
use crate::views::hits::{ClickTarget, Divider, Hits};
use crate::views::ui::{Overlay, SheetState as _, Ui, bound};
use crossterm::event::{Event, KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use tui_input::backend::crossterm::EventHandler;

/// Rows per step of the mouse wheel.
const WHEEL: usize = 3;

/// Part of the screen that the mouse drags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drag {
    Scrub,
    Divider(Divider),
}

/// Handles one terminal event. Returns the effects; `None` if the event means nothing.
pub(crate) fn input<S: Behavior>(
    ui: &mut Ui<S>,
    model: &S::Model<'_>,
    hits: &Hits<S>,
    dragging: &mut Option<Drag>,
    event: &Event,
) -> Option<Effects<S>> {
    match event {
        Event::Key(key) => self::key(ui, model, hits, key, event),
        Event::Mouse(mouse) => self::mouse(ui, model, hits, dragging, mouse),
        Event::Paste(text) => {
            paste(ui, text);
            Some(Vec::new())
        }
        Event::Resize(..) => Some(Vec::new()),
        Event::FocusGained | Event::FocusLost => None,
    }
}

fn key<S: Behavior>(
    ui: &mut Ui<S>,
    model: &S::Model<'_>,
    hits: &Hits<S>,
    key: &KeyEvent,
    event: &Event,
) -> Option<Effects<S>> {
    let chord = keys::chord(key)?;
    if let Some(action) = bound(ui, &chord) {
        return Some(update(ui, model, hits, action));
    }
    if let Some(input) = ui.overlays.last_mut().and_then(Overlay::input) {
        input.handle_event(event);
        typed(ui);
    }
    Some(Vec::new())
}

/// Applies the text of the topmost overlay: a list follows its filter.
fn typed<S: Behavior>(ui: &mut Ui<S>) {
    let focus = ui.focus;
    match ui.overlays.last_mut() {
        Some(Overlay::Filter { input, .. }) => {
            let filter = Filter::new(input.value());
            ui.list_mut(focus).filter = filter;
        }
        Some(Overlay::Palette { chosen, .. }) => *chosen = 0,
        Some(Overlay::Sheet(_)) => S::typed(ui),
        _ => {}
    }
}

/// Appends the first line of a pasted text to the text being typed.
fn paste<S: Behavior>(ui: &mut Ui<S>, text: &str) {
    let line = text.lines().next().unwrap_or_default();
    if ui.sheet().is_some_and(|sheet| !sheet.accepts_paste()) {
        return;
    }
    if let Some(input) = ui.overlays.last_mut().and_then(Overlay::input) {
        *input = input.clone().with_value(format!("{}{line}", input.value()));
        typed(ui);
    }
}

fn mouse<S: Behavior>(
    ui: &mut Ui<S>,
    model: &S::Model<'_>,
    hits: &Hits<S>,
    dragging: &mut Option<Drag>,
    mouse: &MouseEvent,
) -> Option<Effects<S>> {
    let position = (mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => Some(click(ui, model, hits, dragging, position)),
        MouseEventKind::Drag(MouseButton::Left) => match (*dragging)? {
            Drag::Scrub => Some(scrub(ui, model, hits, mouse.column)),
            Drag::Divider(divider) => {
                drag(ui, hits, divider, position);
                Some(Vec::new())
            }
        },
        MouseEventKind::Up(MouseButton::Left) => {
            *dragging = None;
            None
        }
        MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
            let step = if mouse.kind == MouseEventKind::ScrollDown { Move::Down } else { Move::Up };
            if let Some(ClickTarget::Row(pane, _) | ClickTarget::Pane(pane)) = hits.at(mouse.column, mouse.row)
                && ui.overlays.is_empty()
            {
                ui.focus = *pane;
            }
            Some((0..WHEEL).flat_map(|_| update(ui, model, hits, Action::Move(step))).collect())
        }
        _ => None,
    }
}

fn click<S: Behavior>(
    ui: &mut Ui<S>,
    model: &S::Model<'_>,
    hits: &Hits<S>,
    dragging: &mut Option<Drag>,
    (column, row): (u16, u16),
) -> Effects<S> {
    let Some(target) = hits.at(column, row).cloned() else { return Vec::new() };
    match target {
        ClickTarget::Do(action) => {
            if matches!(ui.overlays.last(), Some(Overlay::Palette { .. } | Overlay::Help { .. })) {
                ui.overlays.pop();
            }
            return update(ui, model, hits, action);
        }
        ClickTarget::Entry(index) => {
            if let Some((chosen, _)) = ui.sheet_mut().and_then(|sheet| sheet.selection()) {
                let again = std::mem::replace(chosen, index) == index;
                if again {
                    return update(ui, model, hits, Action::Open);
                }
            }
        }
        // Nothing behind an overlay reacts to clicks.
        _ if !ui.overlays.is_empty() => {}
        ClickTarget::Column(column) => sort(ui, column),
        ClickTarget::Pane(pane) => ui.focus = pane,
        ClickTarget::Row(pane, chosen) => {
            let again = ui.focus == pane && ui.list(pane).chosen.as_ref() == Some(&chosen);
            ui.focus = pane;
            ui.list_mut(pane).chosen = Some(chosen);
            if again {
                return update(ui, model, hits, Action::Open);
            }
        }
        ClickTarget::Scrub => {
            *dragging = Some(Drag::Scrub);
            return scrub(ui, model, hits, column);
        }
        ClickTarget::Divider(divider) => *dragging = Some(Drag::Divider(divider)),
        ClickTarget::Nothing => {}
    }
    Vec::new()
}

/// Seeks to the position of the log under this column of the scrubber.
fn scrub<S: Behavior>(ui: &mut Ui<S>, model: &S::Model<'_>, hits: &Hits<S>, column: u16) -> Effects<S> {
    let Some(bar) = hits.scrub.filter(|bar| bar.width > 0) else { return Vec::new() };
    let last = bar.width - 1;
    let within = u32::from(column.clamp(bar.x, bar.x + last) - bar.x);
    let share = u16::try_from(within * u32::from(u16::MAX) / u32::from(last.max(1))).unwrap_or(u16::MAX);
    S::seek(share).map(|action| update(ui, model, hits, Action::Own(action))).unwrap_or_default()
}
