//! Error inbox pane: errors of all pipelines, grouped by cause.

use crate::views::fleet::state::{FleetPane, FleetScreen, RowKey};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::streams::scroll_top;
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;
use ratatui::style::Style;
use std::sync::Arc;
use synctop_core::fleet::inbox::{InboxItem, InboxState};
use synctop_core::format::{age, plural};
use synctop_core::protocol::error_text::core;

/// Number of columns of the trend, which covers a day.
const TREND: usize = 12;

/// Minimum width that shows an item in one line instead of two.
const WIDE: u16 = 70;

/// Returns the items that the filter keeps, without resolved ones unless they are shown.
#[must_use]
pub fn items<'a>(screen: &FleetScreen<'a>) -> Vec<&'a Arc<InboxItem>> {
    let filter = &screen.ui.list(FleetPane::Errors).filter;
    let shown = |item: &InboxItem| {
        let pipelines = item.hits.keys().map(AsRef::as_ref);
        let searched_texts = [item.message.as_ref(), item.kind(), item.state().as_str(), item.fingerprint.as_ref()];
        (screen.ui.closed || item.state().open()) && filter.keeps_any(searched_texts.into_iter().chain(pipelines))
    };
    screen.inbox.sorted().into_iter().filter(|item| shown(item)).collect()
}

#[must_use]
pub fn key(item: &InboxItem) -> RowKey {
    RowKey::Id(Arc::clone(&item.fingerprint))
}

/// Returns the position of the selected item, 0 without a selection.
#[must_use]
pub fn place(items: &[&Arc<InboxItem>], chosen: Option<&RowKey>) -> usize {
    items.iter().position(|item| chosen == Some(&key(item))).unwrap_or(0)
}

/// Returns the selected item.
#[must_use]
pub fn chosen<'a>(screen: &FleetScreen<'a>) -> Option<&'a Arc<InboxItem>> {
    let all = items(screen);
    all.get(place(&all, screen.ui.list(FleetPane::Errors).chosen.as_ref())).copied()
}

#[must_use]
pub fn style(item: &InboxItem, screen: &FleetScreen) -> (&'static str, Style) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match item.state() {
        InboxState::Regressed | InboxState::New => (glyphs.bad, look.bad()),
        InboxState::Acked => (glyphs.warn, look.warn()),
        InboxState::Fixed => (glyphs.good, look.good()),
        InboxState::Gone => (glyphs.skipped, look.dim()),
    }
}

/// Returns the lines per item at this width.
#[must_use]
pub fn lines_per_item(width: u16) -> u16 {
    if width >= WIDE { 1 } else { 2 }
}

pub fn draw(pen: &mut Pen, screen: &FleetScreen, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    let list = ui.list(FleetPane::Errors);
    let focused = ui.focus == FleetPane::Errors;
    let all = items(screen);
    let each = lines_per_item(pen.width());
    let page = usize::from(pen.height().saturating_sub(1) / each).max(1);
    let at = place(&all, list.chosen.as_ref());
    let top = scroll_top(list.top, at, page, all.len());
    let open = screen.inbox.items.values().filter(|item| item.state().open()).count();
    let over = screen.inbox.items.len() - open;
    let mut about = format!("{open} open");
    if over > 0 {
        about.push_str(&format!(" {} {over} over{}", look.glyphs.dot, if ui.closed { "" } else { " (A)" }));
    }
    if list.filter.active() {
        about = format!("{} of {open}, /{}/", all.len(), list.filter.text);
    }
    let right = if all.len() > page {
        format!("{}-{}/{}", top + 1, (top + page).min(all.len()), all.len())
    } else {
        String::new()
    };
    pen.rule(0, focused, "errors", &about, &right);
    if all.is_empty() {
        let text = if list.filter.active() { "no error matches; Esc drops the filter" } else { "none" };
        pen.put(3, 1, text, look.dim());
    }
    for (index, item) in all.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_mul(each).saturating_add(1);
        one(pen, row, item, screen);
        if index == at {
            for line in row..row + each {
                pen.choose(line, focused);
            }
        }
        let key = key(item);
        let area = Rect { y: pen.area.y + row, height: each, ..pen.area }.intersection(pen.area);
        hits.add(area, ClickTarget::FleetRow(FleetPane::Errors, key));
    }
    if let (Some(slot), Some(pages)) = (hits.tops.get_mut(1), hits.pages.get_mut(1)) {
        (*slot, *pages) = (Some(top), page);
    }
}

fn one(pen: &mut Pen, row: u16, item: &InboxItem, screen: &FleetScreen) {
    let look = screen.look;
    let (glyph, style) = style(item, screen);
    pen.put(1, row, glyph, style);
    let hit = if item.state().open() { item.open() } else { item.hits.len() };
    let mut column = pen.put(3, row, item.kind(), style.patch(look.strong())) + 2;
    let last = age(screen.now.saturating_sub(item.last_at));
    let trend = item.trend(TREND, screen.now);
    let width = pen.width();
    let state = match item.state() {
        InboxState::New => String::new(),
        InboxState::Acked => item.acked.as_ref().map(|(who, _)| format!("acked by {who}")).unwrap_or_default(),
        state => state.as_str().to_owned(),
    };
    column = pen.put(column, row, &plural(hit, "pipeline"), look.plain()) + 2;
    let state_style = if item.state() == InboxState::Regressed { look.bad().patch(look.strong()) } else { look.dim() };
    let one_line = lines_per_item(width) == 1;
    if one_line && !state.is_empty() {
        column = pen.put_in(column, row, 24, &state, state_style) + 2;
    }
    let mut end = width.saturating_sub(1);
    if width >= 56 {
        end = end.saturating_sub(u16::try_from(TREND).unwrap_or(0));
        sparks(pen, end, row, &trend, look.accent());
        end = end.saturating_sub(2);
    }
    let when = format!("{last} ago");
    if end > column + 8 {
        end = pen.put_right(end, row, &when, look.dim()).saturating_sub(2);
    }
    if one_line {
        pen.put_in(column, row, end.saturating_sub(column), &core(&item.message), look.plain());
    } else {
        let column = if state.is_empty() { 3 } else { pen.put_in(3, row + 1, 24, &state, state_style) + 2 };
        pen.put(column, row + 1, &core(&item.message), look.plain());
    }
}

/// Draws the occurrences over a day as a sparkline, with a dot for zero.
fn sparks(pen: &mut Pen, begin: u16, row: u16, counts: &[u64], style: Style) {
    let glyphs = pen.look.glyphs;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    for (at, count) in counts.iter().enumerate() {
        let column = begin + u16::try_from(at).unwrap_or(0);
        if *count == 0 {
            pen.put_in(column, row, 1, glyphs.dot, pen.look.dim());
            continue;
        }
        let level = usize::try_from((count * 7).div_ceil(most)).unwrap_or(7).min(7);
        pen.put_in(column, row, 1, glyphs.sparks.get(level).copied().unwrap_or_default(), style);
    }
}
