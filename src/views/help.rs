//! The keys that are really bound, from the table of actions.

use super::action::ACTIONS;
use super::pen::Pen;
use super::state::{Hits, Target};

pub fn draw(pen: &mut Pen, top: usize, hits: &mut Hits) {
    let look = pen.look;
    pen.clear();
    hits.add(pen.area, Target::Nothing);
    let page = usize::from(pen.height().saturating_sub(2));
    let most = ACTIONS.len().saturating_sub(page);
    let top = top.min(most);
    let last = (top + page).min(ACTIONS.len());
    pen.rule(0, true, "keys", "every action; : finds one by name", &format!("{}-{last}/{}", top + 1, ACTIONS.len()));
    for (line, binding) in ACTIONS.iter().skip(top).take(page).enumerate() {
        let row = u16::try_from(line).unwrap_or(u16::MAX).saturating_add(1);
        let keys: Vec<_> = binding.keys.iter().map(|key| if *key == " " { "space" } else { key }).collect();
        pen.put_in(2, row, 18, &keys.join(" "), look.accent().patch(look.strong()));
        let column = pen.put_in(21, row, 16, binding.name, look.strong());
        pen.put(column.max(37) + 1, row, binding.does, look.plain());
        let place = ratatui::layout::Rect { y: pen.area.y + row, height: 1, ..pen.area };
        hits.add(place, Target::Do(binding.action));
    }
    pen.put(
        2,
        pen.height().saturating_sub(1),
        "Mouse: click chooses, again opens; wheel scrolls; hold Shift to select text (or m)",
        look.dim(),
    );
    hits.overlay = (most, page);
}
