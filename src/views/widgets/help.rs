//! Help overlay: all key bindings, from the table of actions.

use crate::views::action::Binding;
use crate::views::hits::{ClickTarget, Hits};
use crate::views::widgets::canvas::Pen;

pub fn draw(pen: &mut Pen, table: &[Binding], mouse: &str, top: usize, hits: &mut Hits) {
    let look = pen.look;
    pen.clear();
    hits.add(pen.area, ClickTarget::Nothing);
    let page = usize::from(pen.height().saturating_sub(2));
    let most = table.len().saturating_sub(page);
    let top = top.min(most);
    let last = (top + page).min(table.len());
    pen.rule(0, true, "keys", "every action; : finds one by name", &format!("{}-{last}/{}", top + 1, table.len()));
    // Narrow screens omit the name: the effect is more useful.
    let (keys_wide, named) = if pen.width() >= 100 { (20, true) } else { (12, false) };
    for (line, binding) in table.iter().skip(top).take(page).enumerate() {
        let row = u16::try_from(line).unwrap_or(u16::MAX).saturating_add(1);
        pen.put_in(2, row, keys_wide, &binding.keys.join(" "), look.accent().patch(look.strong()));
        let mut column = 3 + keys_wide;
        if named {
            column = pen.put_in(column, row, 26, binding.name, look.strong()).max(column + 26) + 1;
        }
        pen.put(column, row, binding.does, look.plain());
        let place = ratatui::layout::Rect { y: pen.area.y + row, height: 1, ..pen.area };
        hits.add(place, ClickTarget::Do(binding.action));
    }
    let mouse = if pen.width() >= 120 { mouse } else { mouse.split('.').next().unwrap_or_default() };
    pen.put(2, pen.height().saturating_sub(1), mouse, look.dim());
    hits.overlay = (most, page);
}
