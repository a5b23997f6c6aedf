//! Log pane: log lines of the feed, and lines that are not messages, newest last.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::state::{Chosen, Pane, Screen};
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;
use ratatui::style::Style;
use std::sync::Arc;
use synctop_core::format::{clock, count};
use synctop_core::protocol::Level;
use synctop_core::reduce::{FeedLine, FeedOrigin};

/// Returns the lines that level and filter keep, oldest first, with their numbers among all lines
/// of the feed.
#[must_use]
pub fn items<'a>(screen: &Screen<'a>) -> Vec<(u64, &'a Arc<FeedLine>)> {
    let feed = &screen.progress.feed;
    let filter = &screen.ui.list(Pane::Log).filter;
    let first = feed.total - feed.lines().len() as u64;
    let shown = |line: &FeedLine| {
        line.level >= screen.ui.level
            && (!filter.active()
                || filter.keeps(&line.text)
                || line.stream.as_deref().is_some_and(|name| filter.keeps(name)))
    };
    feed.lines()
        .iter()
        .enumerate()
        .map(|(at, line)| (first + at as u64, line))
        .filter(|(_, line)| shown(line))
        .collect()
}

/// Returns the position of the selected line, or of the newest line without a selection.
#[must_use]
pub fn place(items: &[(u64, &Arc<FeedLine>)], chosen: Option<&Chosen>) -> usize {
    let last = items.len().saturating_sub(1);
    match chosen {
        Some(Chosen::Line(number)) => items.partition_point(|(at, _)| at < number).min(last),
        _ => last,
    }
}

pub fn draw(pen: &mut Pen, screen: &Screen, hits: &mut Hits) {
    let look = screen.look;
    let list = screen.ui.list(Pane::Log);
    let focused = screen.ui.focus == Pane::Log;
    let items = items(screen);
    let feed = &screen.progress.feed;
    let kept = feed.lines().len() as u64;
    let mut about = format!("feed, {}+", screen.ui.level.as_str().to_lowercase());
    if list.filter.active() {
        about.push_str(&format!(", {} of {kept}, /{}/", items.len(), list.filter.text));
    } else if kept < feed.total {
        about.push_str(&format!(", {} of {}", count(kept), count(feed.total)));
    }
    let page = usize::from(pen.height().saturating_sub(1)).max(1);
    let place = place(&items, list.chosen.as_ref());
    let top = crate::views::run::streams::scroll_top(list.top, place, page, items.len());
    pen.rule(0, focused, "log", &about, if list.chosen.is_some() { "" } else { "follows" });
    if items.is_empty() {
        pen.put(3, 1, "nothing logged at this level; + shows more", look.dim());
    }
    for (index, (number, line)) in items.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_add(1);
        draw_line(pen, row, 1, line, screen);
        if index == place && focused {
            pen.choose(row, true);
        }
        let place = Rect { y: pen.area.y + row, height: 1, ..pen.area };
        hits.add(place, ClickTarget::Row(Pane::Log, Chosen::Line(*number)));
    }
    if let (Some(slot), Some(pages)) = (hits.tops.get_mut(3), hits.pages.get_mut(3)) {
        (*slot, *pages) = (Some(top), page);
    }
}

/// Draws the newest warning or error, otherwise the newest line, for screens without a log pane.
pub fn last_line(pen: &mut Pen, screen: &Screen, hits: &mut Hits) {
    let lines = screen.progress.feed.lines();
    let last = lines.iter().rev().find(|line| line.level >= Level::Warn).or_else(|| lines.back());
    if let Some(line) = last
        && pen.height() > 0
    {
        draw_line(pen, 0, 1, line, screen);
        hits.add(pen.area, ClickTarget::Pane(Pane::Log));
    }
}

pub(crate) fn level_style(level: Level, screen: &Screen) -> Style {
    match level {
        Level::Error => screen.look.bad(),
        Level::Warn => screen.look.warn(),
        Level::Info => screen.look.plain(),
        Level::Debug | Level::Trace => screen.look.dim(),
    }
}

fn draw_line(pen: &mut Pen, row: u16, column: u16, line: &FeedLine, screen: &Screen) {
    let look = screen.look;
    let mut column = column;
    if let Some(at) = line.at {
        column = pen.put(column, row, &clock(at, screen.now.or(screen.progress.last_at)), look.dim()) + 1;
    }
    let (word, style) = match line.origin {
        FeedOrigin::Log => (line.level.as_str(), level_style(line.level, screen)),
        FeedOrigin::Source => ("feed", screen.look.accent()),
        FeedOrigin::Raw if line.level >= Level::Warn => (line.level.as_str(), level_style(line.level, screen)),
        FeedOrigin::Raw => ("raw", look.dim()),
        FeedOrigin::Unknown => ("unknown", look.doubt()),
        FeedOrigin::Malformed => ("malformed", look.warn()),
    };
    column = pen.put(column, row, word, style) + 1;
    if let Some(stream) = &line.stream {
        column = pen.put_in(column, row, 20, stream, look.strong()) + 1;
    }
    if line.times > 1 {
        column = pen.put(column, row, &format!("{}{} ", look.glyphs.times, count(line.times)), look.warn());
    }
    pen.put(column, row, &line.text, look.plain());
}
