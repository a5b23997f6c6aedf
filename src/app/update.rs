//! Maps actions to changes of a screen's state and to effects outside it: the part that both screens
//! share. A screen adds the rest with [`Behavior`].

use crate::app::effect::Effect;
use crate::views::action::{Action, Move, Resize, matching};
use crate::views::filter::Filter;
use crate::views::hits::{Divider, Hits};
use crate::views::ui::{ListModel as _, Overlay, ScreenTypes, SheetState as _, Ui};
use strum::VariantArray as _;
use synctop_core::protocol::clean;
use tui_input::Input;

/// Maximum bytes of text that are copied over OSC 52.
const COPY_LIMIT: usize = 100_000;

/// Rows per page of a selection in an overlay.
const OVERLAY_PAGE: usize = 10;

/// Smallest preview, in rows.
const LEAST_PREVIEW: u16 = 5;

pub type Effects<S> = Vec<Effect<<S as Behavior>::Effect>>;

/// Reactions of one screen to its actions.
pub trait Behavior: ScreenTypes {
    /// Effects of this screen alone.
    type Effect: Clone + std::fmt::Debug + PartialEq;

    /// Performs an action of this screen alone.
    fn own(ui: &mut Ui<Self>, model: &Self::Model<'_>, hits: &Hits<Self>, action: Self::Action) -> Effects<Self>;

    /// Opens the selected row of the focused pane, or accepts the open sheet.
    fn open(ui: &mut Ui<Self>, model: &Self::Model<'_>, hits: &Hits<Self>) -> Effects<Self>;

    /// Returns the text to copy, and its name for the notice.
    fn copy(ui: &Ui<Self>, model: &Self::Model<'_>) -> Option<(String, &'static str)>;

    /// Reacts to Esc if no overlay, filter or zoom is left to close.
    fn back(ui: &mut Ui<Self>, model: &Self::Model<'_>) -> Effects<Self>;

    /// Quits, or asks first.
    fn quit(ui: &mut Ui<Self>, model: &Self::Model<'_>) -> Effects<Self>;

    /// Accepts the open dialog, which is closed.
    fn confirm(ui: &mut Ui<Self>, model: &Self::Model<'_>, hits: &Hits<Self>, dialog: Overlay<Self>) -> Effects<Self>;

    /// Reacts to a dialog that was closed without an effect.
    fn cancelled(_: &mut Ui<Self>, _: &Overlay<Self>) {}

    /// Goes to the next field of the open sheet.
    fn next_field(_: &mut Ui<Self>) {}

    /// Reacts to typed text in the open sheet.
    fn typed(_: &mut Ui<Self>) {}

    /// Handles Esc in the open sheet. Returns true if the sheet stays open.
    #[must_use]
    fn back_in_sheet(_: &mut Ui<Self>) -> bool {
        false
    }

    /// Moves in a pane without rows. Returns false if the pane has rows.
    #[must_use]
    fn move_in(_: &mut Ui<Self>, _: Move) -> bool {
        false
    }

    /// True if the pane can be reached.
    #[must_use]
    fn is_reachable(_: &Self::Model<'_>, _: Self::Pane) -> bool {
        true
    }

    /// Returns the reason that a pane has no filter.
    #[must_use]
    fn no_filter(_: Self::Pane) -> Option<&'static str> {
        None
    }
}

/// Changes the state of a screen for one action and returns the effects. `hits` has the clickable
/// areas and scroll limits of the frame on screen.
#[must_use]
pub fn update<S: Behavior>(
    ui: &mut Ui<S>,
    model: &S::Model<'_>,
    hits: &Hits<S>,
    action: Action<S::Action>,
) -> Effects<S> {
    ui.toast = None;
    match action {
        Action::Quit => return S::quit(ui, model),
        Action::Interrupt => return vec![Effect::Interrupt],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => return vec![Effect::Redraw],
        Action::Theme => return vec![Effect::NextTheme],
        Action::Mouse => return vec![Effect::ToggleMouse],
        Action::Copy => return copy(ui, model),
        Action::Help if matches!(ui.overlays.last(), Some(Overlay::Help { .. })) => drop(ui.overlays.pop()),
        Action::Help => ui.overlays.push(Overlay::Help { top: 0 }),
        Action::Palette => open_palette(ui),
        // In the help, the filter key opens the palette.
        Action::Filter if matches!(ui.overlays.last(), Some(Overlay::Help { .. })) => {
            ui.overlays.pop();
            open_palette(ui);
        }
        Action::Filter if !ui.overlays.is_empty() => ui.say("Esc closes this; then / filters the list"),
        Action::Filter => {
            if let Some(why) = S::no_filter(ui.focus) {
                ui.say(why);
            } else {
                let before = ui.list(ui.focus).filter.clone();
                ui.overlays.push(Overlay::Filter { input: Input::new(before.text.clone()), before });
            }
        }
        Action::Open => return open(ui, model, hits),
        Action::Back => return back(ui, model),
        Action::Confirm => {
            let dialog = ui.overlays.pop();
            return dialog.map(|dialog| S::confirm(ui, model, hits, dialog)).unwrap_or_default();
        }
        Action::Cancel => {
            if let Some(dialog) = ui.overlays.pop() {
                S::cancelled(ui, &dialog);
            }
        }
        Action::NextField => S::next_field(ui),
        Action::NextPane | Action::PreviousPane => {
            let all: Vec<_> = S::Pane::VARIANTS.iter().filter(|pane| S::is_reachable(model, **pane)).collect();
            let at = all.iter().position(|pane| **pane == ui.focus).unwrap_or(0);
            let step = if action == Action::NextPane { 1 } else { all.len().saturating_sub(1) };
            if let Some(pane) = all.get((at + step) % all.len().max(1)) {
                focus(ui, **pane);
            }
        }
        Action::Zoom => ui.zoomed = !ui.zoomed,
        Action::Preview => {
            ui.sizes.previews = !ui.sizes.previews;
            ui.say(if ui.sizes.previews { "preview shown where there is room" } else { "preview hidden" });
        }
        Action::Resize(change) => resize(ui, hits, change),
        Action::Move(step) => movement(ui, model, hits, step),
        Action::SortNext | Action::SortPrevious | Action::SortReverse if ui.focus != S::Pane::default() => {
            ui.say("only the first pane can be sorted: 1 goes there");
        }
        Action::SortNext | Action::SortPrevious => {
            let all = S::Column::VARIANTS;
            let at = all.iter().position(|column| *column == ui.sort).unwrap_or(0);
            let step = if action == Action::SortNext { 1 } else { all.len() - 1 };
            sort(ui, all.get((at + step) % all.len()).copied().unwrap_or_default());
        }
        Action::SortReverse => ui.reversed = !ui.reversed,
        Action::Fold => {
            let pane = S::Pane::default();
            let place = model.place(pane, ui.list(pane).chosen.as_ref());
            if let Some((group, head)) = model.group(place) {
                ui.fold(group, !ui.folded(group));
                ui.list_mut(pane).chosen = Some(head);
            }
        }
        Action::FoldAll => {
            let fold = S::Group::VARIANTS.iter().any(|group| !ui.folded(*group));
            for group in S::Group::VARIANTS {
                ui.fold(*group, fold);
            }
        }
        Action::Own(own) => return S::own(ui, model, hits, own),
    }
    Vec::new()
}

fn open_palette<S: ScreenTypes>(ui: &mut Ui<S>) {
    ui.overlays.push(Overlay::Palette { input: Input::default(), chosen: 0 });
}

/// Focuses a pane and closes the overlays above it.
pub(crate) fn focus<S: ScreenTypes>(ui: &mut Ui<S>, pane: S::Pane) {
    ui.overlays.clear();
    ui.focus = pane;
}

/// Sorts by a column; reverses the order if the list is sorted by it already.
pub(crate) fn sort<S: ScreenTypes>(ui: &mut Ui<S>, column: S::Column) {
    ui.reversed = ui.sort == column && !ui.reversed;
    ui.sort = column;
    let name: &'static str = column.into();
    ui.say(format!("sorted by {name}{}", if ui.reversed { ", reversed" } else { "" }));
}

fn copy<S: Behavior>(ui: &mut Ui<S>, model: &S::Model<'_>) -> Effects<S> {
    let Some((text, name)) = S::copy(ui, model) else {
        ui.say("nothing to copy here");
        return Vec::new();
    };
    // Control characters hidden on the screen are removed from the clipboard too.
    vec![Effect::Copy(clean::lines(synctop_core::reduce::feed::cut(&text, COPY_LIMIT)), name)]
}

/// Runs the selected action of the palette, keeps the typed filter, or opens the selected row.
fn open<S: Behavior>(ui: &mut Ui<S>, model: &S::Model<'_>, hits: &Hits<S>) -> Effects<S> {
    match ui.overlays.last() {
        Some(Overlay::Palette { input, chosen }) => {
            let found = matching(S::ACTIONS, input.value()).get(*chosen).map(|binding| binding.action);
            ui.overlays.pop();
            found.map(|action| update(ui, model, hits, action)).unwrap_or_default()
        }
        // The prompt stays open while the pattern is invalid.
        Some(Overlay::Filter { .. }) if ui.list(ui.focus).filter.bad.is_some() => Vec::new(),
        Some(Overlay::Filter { .. }) => {
            ui.overlays.pop();
            select_visible(ui, model);
            Vec::new()
        }
        Some(Overlay::Help { .. } | Overlay::Quit) => Vec::new(),
        Some(Overlay::Sheet(_)) => S::open(ui, model, hits),
        None => {
            // On a group's heading, Enter folds.
            let pane = S::Pane::default();
            let place = model.place(pane, ui.list(pane).chosen.as_ref());
            match model.group(place).filter(|_| ui.focus == pane) {
                Some((group, head)) if model.key(pane, place).as_ref() == Some(&head) => {
                    ui.fold(group, !ui.folded(group));
                    Vec::new()
                }
                _ => S::open(ui, model, hits),
            }
        }
    }
}

/// Moves the selection to a visible row if the filter hides the selected one.
fn select_visible<S: ScreenTypes>(ui: &mut Ui<S>, model: &S::Model<'_>) {
    let pane = ui.focus;
    if model.follows(pane) {
        return;
    }
    let place = model.place(pane, ui.list(pane).chosen.as_ref());
    ui.list_mut(pane).chosen = model.key(pane, place);
}

/// Closes the topmost overlay, otherwise the filter, otherwise the zoom, otherwise the screen's own
/// state.
fn back<S: Behavior>(ui: &mut Ui<S>, model: &S::Model<'_>) -> Effects<S> {
    if matches!(ui.overlays.last(), Some(Overlay::Sheet(_))) && S::back_in_sheet(ui) {
        return Vec::new();
    }
    let focus = ui.focus;
    match ui.overlays.pop() {
        Some(Overlay::Filter { before, .. }) => {
            let list = ui.list_mut(focus);
            // The first Esc discards the typed text; with an unchanged text it removes the filter.
            list.filter = if list.filter.text == before.text { Filter::default() } else { before };
        }
        Some(_) => {}
        None if !ui.list(focus).filter.text.is_empty() => ui.list_mut(focus).filter = Filter::default(),
        None if ui.zoomed => ui.zoomed = false,
        None if model.follows(focus) && ui.list(focus).chosen.is_some() => ui.list_mut(focus).chosen = None,
        None => return S::back(ui, model),
    }
    Vec::new()
}

/// Moves the selection of the focused pane, or scrolls the topmost overlay.
fn movement<S: Behavior>(ui: &mut Ui<S>, model: &S::Model<'_>, hits: &Hits<S>, step: Move) {
    let (most, page) = hits.overlay;
    match ui.overlays.last_mut() {
        Some(Overlay::Help { top }) => *top = step.from(*top, most, page),
        Some(Overlay::Palette { input, chosen }) => {
            let last = matching(S::ACTIONS, input.value()).len().saturating_sub(1);
            *chosen = step.from(*chosen, last, OVERLAY_PAGE);
        }
        Some(Overlay::Sheet(sheet)) => {
            if let Some((chosen, count)) = sheet.selection() {
                *chosen = step.from(*chosen, count.saturating_sub(1), OVERLAY_PAGE);
            } else if let Some(top) = sheet.scroll() {
                *top = step.from(*top, most, page);
            }
        }
        Some(Overlay::Quit) => {}
        Some(Overlay::Filter { .. }) | None => move_selection(ui, model, hits, step),
    }
}

fn move_selection<S: Behavior>(ui: &mut Ui<S>, model: &S::Model<'_>, hits: &Hits<S>, step: Move) {
    let pane = ui.focus;
    if S::move_in(ui, step) {
        return;
    }
    let count = model.len(pane);
    let at = model.place(pane, ui.list(pane).chosen.as_ref());
    let wanted = step.from(at, count.saturating_sub(1), hits.rows(pane));
    // A row without identity, such as a note, is passed over.
    let is_row = |index: &usize| model.key(pane, *index).is_some();
    let (forward, backward) = ((wanted..count).find(is_row), (0..wanted).rev().find(is_row));
    let next = if step.is_backward() { (0..=wanted).rev().find(is_row).or(forward) } else { forward.or(backward) };
    let Some(next) = next else { return };
    let newest = model.follows(pane) && next + 1 >= count && matches!(step, Move::Bottom | Move::Down | Move::PageDown);
    ui.list_mut(pane).chosen = if newest { None } else { model.key(pane, next) };
}

/// Changes the size of a pane by a step.
fn resize<S: ScreenTypes>(ui: &mut Ui<S>, hits: &Hits<S>, change: Resize) {
    match change {
        Resize::Wider | Resize::Narrower if hits.left.width == 0 || hits.left.width >= hits.body.width => {
            ui.say("the panes stand below each other: from 100 columns on they stand side by side");
        }
        Resize::Wider | Resize::Narrower => {
            let now = ui.sizes.left.unwrap_or_else(|| share(hits.left.width + 1, hits.body.width));
            let wanted = if change == Resize::Wider { now + 4 } else { now.saturating_sub(4) };
            ui.sizes.left = Some(wanted.clamp(25, 75));
        }
        Resize::Taller | Resize::Shorter if hits.preview == 0 => ui.say("no preview on screen: p shows it"),
        Resize::Taller => ui.sizes.preview = Some((hits.preview + 2).min(hits.body.height)),
        Resize::Shorter => ui.sizes.preview = Some(hits.preview.saturating_sub(2).max(LEAST_PREVIEW)),
    }
}

/// Returns a width in percent of another.
fn share(width: u16, of: u16) -> u16 {
    u16::try_from(u32::from(width) * 100 / u32::from(of.max(1))).unwrap_or(50)
}

/// Moves a rule to this position of the mouse.
pub(crate) fn drag<S: ScreenTypes>(ui: &mut Ui<S>, hits: &Hits<S>, divider: Divider, (column, row): (u16, u16)) {
    match divider {
        Divider::Left => {
            let width = column.saturating_sub(hits.body.x) + 1;
            ui.sizes.left = Some(share(width, hits.body.width).clamp(25, 75));
        }
        Divider::Preview => {
            let bottom = if hits.left.height > 0 { hits.left.bottom() } else { hits.body.bottom() };
            ui.sizes.preview = Some(bottom.saturating_sub(row).max(LEAST_PREVIEW));
        }
    }
}
