//! Error inbox pane: errors of all pipelines, grouped by cause.

use crate::views::fleet::state::{FleetFrame, FleetHits, FleetInput, FleetPane, FleetUi, RowKey};
use crate::views::ui::ListModel as _;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::Need;
use crate::views::widgets::list::{self, ListView};
use crate::views::widgets::paragraphs::Paragraphs;
use ratatui::style::Style;
use std::sync::Arc;
use synctop_core::fleet::inbox::{InboxItem, InboxState};
use synctop_core::format::{age, plural};
use synctop_core::protocol::error_text::core;

/// Number of columns of the trend, which covers a day.
const TREND: usize = 12;

/// Maximum lines of a card.
const MAX_CARD: u16 = 14;

/// Returns the items that the filter keeps, without resolved ones unless they are shown.
#[must_use]
pub fn items<'a>(input: &FleetInput<'a>, ui: &FleetUi) -> Vec<&'a Arc<InboxItem>> {
    let filter = &ui.list(FleetPane::Errors).filter;
    let shown = |item: &InboxItem| {
        let pipelines = item.hits.keys().map(AsRef::as_ref);
        let searched_texts = [item.message.as_ref(), item.kind(), item.state().as_str(), item.fingerprint.as_ref()];
        (ui.own.closed || item.state().open()) && filter.keeps_any(searched_texts.into_iter().chain(pipelines))
    };
    input.inbox.sorted().into_iter().filter(|item| shown(item)).collect()
}

#[must_use]
pub fn key(item: &InboxItem) -> RowKey {
    RowKey::Id(Arc::clone(&item.fingerprint))
}

#[must_use]
pub(crate) fn style(item: &InboxItem, screen: &FleetInput) -> (&'static str, Style) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match item.state() {
        InboxState::Regressed | InboxState::New => (glyphs.bad, look.bad()),
        InboxState::Acked => (glyphs.warn, look.warn()),
        InboxState::Fixed => (glyphs.good, look.good()),
        InboxState::Gone => (glyphs.skipped, look.dim()),
    }
}

/// Returns the word for the state of an error.
pub(crate) fn state_word(item: &InboxItem) -> &'static str {
    match item.state() {
        InboxState::New => "new",
        InboxState::Acked => "acknowledged",
        InboxState::Regressed => "returned",
        InboxState::Fixed => "fixed",
        InboxState::Gone => "gone",
    }
}

/// Returns the height that the pane needs: with two lines an item, and with all text.
pub(crate) fn need(screen: &FleetFrame, width: u16) -> Need {
    let width = list::row_width(width);
    let shown = || screen.errors.iter().take(20);
    let whole = shown().map(|item| height(item, screen, width)).fold(1, u16::saturating_add).max(2);
    let least = u16::try_from(shown().count().min(3)).unwrap_or(3) * 2 + 1;
    Need { least: least.clamp(2, 7).min(whole), whole }
}

fn height(item: &InboxItem, screen: &FleetFrame, width: u16) -> u16 {
    (1 + lines(item, screen, width).height()).min(MAX_CARD)
}

/// Returns the lines below the title of an item: message, next step, pipelines.
fn lines(item: &InboxItem, screen: &FleetFrame, width: u16) -> Paragraphs {
    let look = screen.look;
    let mut lines = Paragraphs::new(width.saturating_sub(4));
    lines.add(&core(&item.message), look.plain());
    if let Some(next) = item.next.as_ref().filter(|_| item.state().open()) {
        lines.add(&format!("{} {next}", look.glyphs.next), look.accent());
    }
    if let Some((who, at)) = &item.acked {
        let note = item.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        let when = age(screen.now.saturating_sub(*at).max(0));
        lines.add(&format!("acknowledged by {who} {when} ago{note}"), look.warn());
    }
    let open = item.state().open();
    let named = if open { item.hits.open() } else { item.hits.len() };
    if named > 1 {
        let more = named.saturating_sub(12);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = item.hits.iter().filter(|(_, hit)| hit.open() == open).map(|(id, _)| id.as_ref());
        let shown: Vec<_> = names.take(12).collect();
        lines.add(&format!("{}{more}", shown.join(", ")), look.dim());
    }
    lines
}

pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame, hits: &mut FleetHits) {
    let (look, ui) = (screen.look, screen.ui);
    let list = ui.list(FleetPane::Errors);
    let all = &screen.errors;
    let open = screen.inbox.items.values().filter(|item| item.state().open()).count();
    let over = screen.inbox.items.len() - open;
    let mut about = format!("{open} open");
    if over > 0 {
        about.push_str(&format!(
            " {} {over} resolved{}",
            look.glyphs.dot,
            if ui.own.closed { "" } else { ": A shows" }
        ));
    }
    if list.filter.active() {
        about = format!("{} of {open}, /{}/", all.len(), list.filter.text);
    }
    let empty = if list.filter.active() { "no error matches; Esc clears the filter" } else { "none" };
    let view = ListView { pane: FleetPane::Errors, title: "errors", about: &about, empty, headings: 0 };
    let page = pen.height().saturating_sub(1);
    let width = list::row_width(pen.width());
    let place = screen.model.place(FleetPane::Errors, list.chosen.as_ref());
    let whole = |index: usize| all.get(index).map_or(1, |item| height(item, screen, width));
    let heights = list::card_heights(2, all.len(), place, page, whole);
    let height = |index: usize| heights.get(index).copied().unwrap_or(2);
    list::draw(pen, *screen, &view, hits, height, |pen, index| {
        if let Some(item) = all.get(index) {
            card(pen, item, screen);
        }
    });
}

fn card(pen: &mut Pen, item: &InboxItem, screen: &FleetFrame) {
    let look = screen.look;
    let (glyph, style) = style(item, screen);
    pen.put(1, 0, glyph, style);
    let hit = if item.state().open() { item.open() } else { item.hits.len() };
    let mut column = pen.put(3, 0, item.kind(), style.patch(look.strong())) + 2;
    column = pen.put(column, 0, &plural(hit, "pipeline"), look.plain()) + 2;
    let mut end = pen.width().saturating_sub(1);
    let state = if item.state() == InboxState::New { "" } else { state_word(item) };
    let when = format!("{} ago", age(screen.now.saturating_sub(item.last_at)));
    let right = |pen: &mut Pen, end: u16, column: u16, text: &str, style: Style| {
        let fits = column + u16::try_from(text.chars().count()).unwrap_or(u16::MAX) + 1 < end;
        if fits && !text.is_empty() { pen.put_right(end, 0, text, style).saturating_sub(2) } else { end }
    };
    end = right(pen, end, column, &when, look.dim());
    let state_style = if item.state() == InboxState::Regressed { look.bad().patch(look.strong()) } else { look.dim() };
    end = right(pen, end, column, state, state_style);
    if end > column + u16::try_from(TREND).unwrap_or(0) + 12 {
        let begin = end.saturating_sub(u16::try_from(TREND).unwrap_or(0));
        trend(pen, begin, &item.trend(TREND, screen.now), look.accent());
        pen.put_right(begin.saturating_sub(1), 0, "24 h", look.dim());
    }
    lines(item, screen, pen.width()).draw(pen, 3, 1);
}

/// Draws the occurrences over a day as a sparkline, with a dot for zero.
fn trend(pen: &mut Pen, begin: u16, counts: &[u64], style: Style) {
    let glyphs = pen.look.glyphs;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    for (column, count) in (begin..).zip(counts) {
        if *count == 0 {
            pen.put_in(column, 0, 1, glyphs.dot, pen.look.dim());
            continue;
        }
        let level = usize::try_from((count * 7).div_ceil(most)).unwrap_or(7).min(7);
        pen.put_in(column, 0, 1, glyphs.sparks.get(level).copied().unwrap_or_default(), style);
    }
}
