//! Command palette: finds any action by its name.

use crate::views::action::matching;
use crate::views::hits::{ClickTarget, Hits};
use crate::views::ui::ScreenTypes;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::choice::scroll_top;
use ratatui::layout::Rect;
use tui_input::Input;

pub(crate) fn draw<S: ScreenTypes>(pen: &mut Pen, input: &Input, chosen: usize, hits: &mut Hits<S>) {
    let found = matching(S::ACTIONS, input.value());
    let wanted = u16::try_from(found.len()).unwrap_or(u16::MAX).saturating_add(3).clamp(4, pen.height().max(4));
    let area = Rect { y: pen.area.y, ..pen.middle(100, wanted) };
    let mut pen = pen.at(area);
    let look = pen.look;
    hits.add(area, ClickTarget::Nothing);
    pen.frame("all actions", "Enter runs it, Esc closes");
    let column = pen.put(2, 1, ": ", look.accent());
    field(&mut pen, column, 1, input);
    let page = usize::from(pen.height().saturating_sub(3));
    let chosen = chosen.min(found.len().saturating_sub(1));
    let top = scroll_top(0, chosen, page, found.len());
    for (index, binding) in found.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_add(2);
        let names = if pen.width() >= 90 { 26 } else { 18 };
        pen.put_in(2, row, names, binding.name, look.strong());
        pen.put_in(names + 3, row, 12, binding.keys.first().copied().unwrap_or_default(), look.accent());
        let room = pen.width().saturating_sub(names + 17);
        pen.put_in(names + 16, row, room, binding.does, look.plain());
        if index == chosen {
            pen.choose(row, true);
        }
        hits.add(Rect { y: area.y + row, height: 1, ..area }, ClickTarget::Do(binding.action));
    }
    if found.is_empty() {
        pen.put(2, 2, "no such action", look.dim());
    } else if found.len() > page {
        let shown = (top, (top + page).min(found.len()), found.len());
        pen.scrollbar(pen.width().saturating_sub(1), 2, u16::try_from(page).unwrap_or(0), shown, true);
    }
}

/// Draws a text field with its cursor, shifted so that the cursor is visible. Returns the column
/// after it.
pub(crate) fn field(pen: &mut Pen, column: u16, row: u16, input: &Input) -> u16 {
    let look = pen.look;
    let room = usize::from(pen.width().saturating_sub(column + 2)).max(1);
    let scroll = input.visual_scroll(room);
    let text: String = input.value().chars().skip(scroll).collect();
    let end = pen.put(column, row, &text, look.plain());
    let at = column + u16::try_from(input.visual_cursor().saturating_sub(scroll)).unwrap_or(0);
    let under: String = input.value().chars().nth(input.cursor()).map_or_else(|| " ".into(), |c| c.to_string());
    pen.put_in(at, row, 1, &under, look.badge(look.plain()));
    end.max(at + 1)
}
