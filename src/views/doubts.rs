//! Where a claim and the evidence disagree.

use super::pen::Pen;
use super::state::{Chosen, Hits, Pane, Screen, Target};
use super::streams::scrolled;
use super::words;
use crate::progress::{Doubt, doubts};
use ratatui::layout::Rect;

/// Lines of a doubt where there is no room for one long one.
pub const CARD: u16 = 4;

/// The doubts that the filter lets through.
#[must_use]
pub fn items(screen: &Screen) -> Vec<Doubt> {
    let filter = &screen.ui.list(Pane::Doubts).filter;
    let mut all = doubts(screen.progress);
    all.retain(|doubt| filter.keeps(&format!("{} {} {}", doubt.kind, doubt.streams.join(" "), doubt.message)));
    all
}

/// What a doubt is known by.
#[must_use]
pub fn chosen(doubt: &Doubt) -> Chosen {
    Chosen::Doubt(doubt.kind, doubt.stream.clone())
}

pub fn draw(pen: &mut Pen, screen: &Screen, hits: &mut Hits) {
    let look = screen.look;
    let list = screen.ui.list(Pane::Doubts);
    let focused = screen.ui.focus == Pane::Doubts;
    let items = items(screen);
    let filtered = if list.filter.active() { format!(", /{}/", list.filter.text) } else { String::new() };
    if items.is_empty() {
        pen.put(3, 1, "none: what the engine claims agrees with what was seen", look.dim());
    }
    let narrow = pen.width() < 70;
    let each = if narrow { CARD } else { 1 };
    let page = usize::from(pen.height().saturating_sub(1) / each).max(1);
    let place = items.iter().position(|doubt| Some(&chosen(doubt)) == list.chosen.as_ref()).unwrap_or(0);
    let top = scrolled(list.top, place, page, items.len());
    let shown = (top + page).min(items.len());
    let right = if shown - top < items.len() { format!("{}-{shown}/{}", top + 1, items.len()) } else { String::new() };
    pen.rule(0, focused, "doubts", &format!("{}{filtered}", words::count(items.len() as u64)), &right);
    for (index, doubt) in items.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_mul(each).saturating_add(1);
        pen.put(1, row, look.glyphs.doubt, look.doubt());
        let names = doubt.names();
        let who = if names.is_empty() { "the whole run" } else { &names };
        let column = pen.put_in(3, row, 30, who, look.strong());
        if narrow {
            pen.put(column + 2, row, &doubt.kind.as_str().replace('_', " "), look.dim());
            for (line, text) in
                words::wrap(&doubt.message, pen.width().saturating_sub(4).into()).iter().take(3).enumerate()
            {
                pen.put(3, row + 1 + u16::try_from(line).unwrap_or(0), text, look.doubt());
            }
        } else {
            let column = if pen.width() >= 100 {
                pen.put(column.max(24) + 1, row, doubt.kind.as_str(), look.dim()).max(46)
            } else {
                column.max(14)
            };
            pen.put(column + 2, row, &doubt.message, look.doubt());
        }
        if index == place && focused {
            pen.choose(row, true);
        }
        let place = Rect { y: pen.area.y + row.min(pen.area.height.saturating_sub(1)), height: each, ..pen.area };
        hits.add(place.intersection(pen.area), Target::Row(Pane::Doubts, chosen(doubt)));
    }
    if let (Some(slot), Some(pages)) = (hits.tops.get_mut(2), hits.pages.get_mut(2)) {
        (*slot, *pages) = (Some(top), page);
    }
}
