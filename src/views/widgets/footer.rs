//! Footer of any screen: the most useful keys, the prompt of a filter, or a notice.

use crate::views::action::{Action, Binding, binding};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::ui::{ListModel as _, Overlay, ScreenFrame, ScreenTypes};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::palette::field;
use ratatui::layout::Rect;

/// Draws the prompt of an open filter, or a notice. Returns false if there is neither: then the
/// keys belong here.
pub(crate) fn prompt_or_notice<S: ScreenTypes>(pen: &mut Pen, frame: ScreenFrame<S>, total: usize) -> bool {
    let (look, ui) = (pen.look, frame.ui);
    if let Some(Overlay::Filter { input, .. }) = ui.overlays.last() {
        let column = pen.put(1, 0, "/", look.accent().patch(look.strong()));
        let end = field(pen, column, 0, input);
        let kept = if ui.focus == S::Pane::default() { total } else { frame.model.len(ui.focus) };
        let (text, style) = match &ui.list(ui.focus).filter.bad {
            Some(why) => (format!("bad pattern: {why}"), look.bad()),
            None => (format!("{kept} match  Enter keeps, Esc cancels, ! negates"), look.dim()),
        };
        pen.put(end + 2, 0, &text, style);
        return true;
    }
    match &ui.toast {
        Some(toast) => {
            pen.put(1, 0, toast, look.accent());
            true
        }
        None => false,
    }
}

/// Puts the key that leaves a zoomed pane near the start, where it is never left out.
pub(crate) fn with_way_out<S: ScreenTypes>(
    mut shown: Vec<Action<S::Action>>,
    ui: &crate::views::ui::Ui<S>,
) -> Vec<Action<S::Action>> {
    if ui.zoomed && ui.overlays.is_empty() {
        shown.retain(|action| *action != Action::Zoom);
        shown.insert(1.min(shown.len()), Action::Zoom);
    }
    shown
}

/// Draws the keys of these actions, as many as fit.
pub(crate) fn keys<S: ScreenTypes>(
    pen: &mut Pen,
    shown: &[Action<S::Action>],
    name: impl Fn(Action<S::Action>, &'static Binding<S::Action>) -> &'static str,
    hits: &mut Hits<S>,
) {
    let look = pen.look;
    let mut bound: Vec<_> = shown.iter().filter_map(|action| Some((*action, binding(S::ACTIONS, *action)?))).collect();
    let wide = |(action, binding): &(Action<S::Action>, &'static Binding<S::Action>)| {
        let key = binding.keys.first().map_or(0, |key| key.len());
        u16::try_from(key + name(*action, binding).len() + 3).unwrap_or(u16::MAX)
    };
    // If not all fit, the third from the end is dropped repeatedly: the last two lead to all other
    // actions and quit.
    while bound.len() > 2 && bound.iter().map(wide).sum::<u16>() > pen.width() {
        bound.remove(bound.len() - 3);
    }
    let mut column = 1;
    for (action, binding) in bound {
        let begin = column;
        let key = binding.keys.first().copied().unwrap_or_default();
        column = pen.put(column, 0, key, look.accent().patch(look.strong()));
        column = pen.put(column + 1, 0, name(action, binding), look.dim());
        let place = Rect { x: pen.area.x + begin, width: column - begin, ..pen.area };
        hits.add(place, ClickTarget::Do(action));
        column += 2;
    }
}

/// Draws a question with the answers `y` and `n` in the middle of the rectangle.
pub(crate) fn question<S: ScreenTypes>(
    pen: &mut Pen,
    title: &str,
    lines: &[(String, ratatui::style::Style)],
    answers: [&'static str; 2],
    hits: &mut Hits<S>,
) {
    let longest = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
    let width = u16::try_from(longest + 4).unwrap_or(u16::MAX).clamp(40, pen.width().max(40));
    let area = pen.middle(width, u16::try_from(lines.len() + 4).unwrap_or(u16::MAX));
    let mut pen = pen.at(area);
    hits.add(area, ClickTarget::Nothing);
    pen.frame(title, "");
    for (row, (text, style)) in (1..).zip(lines) {
        pen.put_in(2, row, area.width.saturating_sub(4), text, *style);
    }
    let [yes, no] = answers;
    self::answers(&mut pen, area.height.saturating_sub(2), &[(Action::Confirm, yes), (Action::Cancel, no)], hits);
}

/// Draws answers of a dialog with their keys in one row.
pub(crate) fn answers<S: ScreenTypes>(pen: &mut Pen, row: u16, all: &[(Action<S::Action>, &str)], hits: &mut Hits<S>) {
    let look = pen.look;
    let mut column = 2;
    for (action, answer) in all {
        let Some(key) = binding(S::ACTIONS, *action).and_then(|binding| binding.keys.first()) else { continue };
        let start = column;
        column = pen.put(column, row, key, look.accent().patch(look.strong()));
        column = pen.put(column + 1, row, answer, look.plain());
        let place = Rect { x: pen.area.x + start, y: pen.area.y + row, width: column - start, height: 1 };
        hits.add(place.intersection(pen.area), ClickTarget::Do(*action));
        column += 3;
    }
}
