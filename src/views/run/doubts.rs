//! Doubts pane: claims that the evidence contradicts.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::state::{Chosen, Pane, Screen};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text;
use ratatui::layout::Rect;
use synctop_core::reduce::{Doubt, doubts};

/// Width below which a doubt takes several lines if they fit.
const NARROW: u16 = 110;
/// Width below which a doubt always takes several lines.
const NARROWEST: u16 = 60;

/// Maximum lines of the text of one doubt.
const MAX_TEXT_LINES: usize = 8;

/// Returns the height of a pane that shows all doubts completely.
pub fn height(items: &[Doubt], width: u16) -> u16 {
    items.iter().map(|doubt| lines(doubt, width)).fold(1, u16::saturating_add)
}

/// Returns the lines that a doubt takes at this width.
fn lines(doubt: &Doubt, width: u16) -> u16 {
    if width >= NARROW { 1 } else { u16::try_from(text(doubt, width).len()).unwrap_or(u16::MAX).saturating_add(1) }
}

/// Returns the number of heights that fit into `room`, at least one.
fn fitting(heights: &[u16], room: u16) -> usize {
    let sums = heights.iter().scan(0_u16, |sum, height| {
        *sum = sum.saturating_add(*height);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= room).count().max(1)
}

fn text(doubt: &Doubt, width: u16) -> Vec<String> {
    let mut lines = text::wrap(&doubt.finding.to_string(), width.saturating_sub(4).into());
    if lines.len() > MAX_TEXT_LINES {
        let rest = lines.split_off(MAX_TEXT_LINES - 1).join(" ");
        lines.push(rest);
    }
    lines
}

/// Returns the doubts that the filter keeps.
#[must_use]
pub fn items(screen: &Screen) -> Vec<Doubt> {
    let filter = &screen.ui.list(Pane::Doubts).filter;
    let mut all = doubts(screen.progress);
    all.retain(|doubt| filter.keeps(&format!("{} {} {}", doubt.kind, doubt.streams.join(" "), doubt.finding)));
    all
}

/// Returns the identity of a doubt in the list.
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
    let room = pen.height().saturating_sub(1);
    let tallest = items.iter().map(|doubt| lines(doubt, pen.width())).max().unwrap_or(1);
    let narrow = pen.width() < NARROWEST || (pen.width() < NARROW && tallest <= room);
    let heights: Vec<_> =
        items.iter().map(|doubt| if narrow { lines(doubt, pen.width()).min(room.max(1)) } else { 1 }).collect();
    let fits = |top: usize| fitting(heights.get(top..).unwrap_or_default(), room);
    let place = items.iter().position(|doubt| Some(&chosen(doubt)) == list.chosen.as_ref()).unwrap_or(0);
    let mut top = list.top.min(place);
    while place >= top + fits(top) {
        top += 1;
    }
    while top > 0 && top - 1 + fits(top - 1) >= items.len() {
        top -= 1;
    }
    let page = fits(top);
    let shown = (top + page).min(items.len());
    let right = if shown - top < items.len() { format!("{}-{shown}/{}", top + 1, items.len()) } else { String::new() };
    pen.rule(0, focused, "doubts", &format!("{}{filtered}", synctop_core::format::count(items.len() as u64)), &right);
    let mut row = 1;
    for (index, (doubt, each)) in items.iter().zip(&heights).enumerate().skip(top).take(page) {
        pen.put(1, row, look.glyphs.doubt, look.doubt());
        let names = doubt.names();
        let who = if names.is_empty() { "the whole run" } else { &names };
        let column = pen.put_in(3, row, 30, who, look.strong());
        if narrow {
            pen.put(column + 2, row, &doubt.kind.as_str().replace('_', " "), look.dim());
            let room = usize::from(each.saturating_sub(1));
            for (line, text) in text(doubt, pen.width()).iter().take(room).enumerate() {
                pen.put(3, row + 1 + u16::try_from(line).unwrap_or(0), text, look.doubt());
            }
        } else {
            let column = if pen.width() >= 100 {
                pen.put(column.max(24) + 1, row, doubt.kind.as_str(), look.dim()).max(46)
            } else {
                column.max(14)
            };
            pen.put(column + 2, row, &doubt.finding.to_string(), look.doubt());
        }
        if index == place && focused {
            pen.choose(row, true);
        }
        let place = Rect { y: pen.area.y + row.min(pen.area.height.saturating_sub(1)), height: *each, ..pen.area };
        hits.add(place.intersection(pen.area), ClickTarget::Row(Pane::Doubts, chosen(doubt)));
        row = row.saturating_add(*each);
    }
    if let (Some(slot), Some(pages)) = (hits.tops.get_mut(2), hits.pages.get_mut(2)) {
        (*slot, *pages) = (Some(top), page);
    }
}
