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
    // What it does tells more than its name.
    let (keys_wide, named) = if pen.width() >= 100 { (20, true) } else { (12, false) };
    for (line, binding) in ACTIONS.iter().skip(top).take(page).enumerate() {
        let row = u16::try_from(line).unwrap_or(u16::MAX).saturating_add(1);
        pen.put_in(2, row, keys_wide, &binding.keys.join(" "), look.accent().patch(look.strong()));
        let mut column = 3 + keys_wide;
        if named {
            column = pen.put_in(column, row, 26, binding.name, look.strong()).max(column + 26) + 1;
        }
        pen.put(column, row, binding.does, look.plain());
        let place = ratatui::layout::Rect { y: pen.area.y + row, height: 1, ..pen.area };
        hits.add(place, Target::Do(binding.action));
    }
    let glyphs = look.glyphs;
    let mouse = format!(
        "Mouse: click chooses, again opens; wheel scrolls; Shift selects text.  Scrubber: {} error {} attempt {} status {} silence",
        glyphs.bad, glyphs.up, glyphs.mark, glyphs.gap
    );
    let mouse = if pen.width() >= 120 { mouse.as_str() } else { mouse.split('.').next().unwrap_or_default() };
    pen.put(2, pen.height().saturating_sub(1), mouse, look.dim());
    hits.overlay = (most, page);
}
