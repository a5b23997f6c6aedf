//! Log pane: log lines of the feed, and lines that are not messages, newest last.

use crate::views::hits::ClickTarget;
use crate::views::run::state::{Chosen, Pane, RunFrame, RunHits, RunInput, RunUi};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::Need;
use crate::views::widgets::list::{self, ListView};
use crate::views::widgets::text;
use ratatui::style::Style;
use std::sync::Arc;
use synctop_core::format::{clock, count};
use synctop_core::protocol::Level;
use synctop_core::reduce::{FeedLine, FeedOrigin};

/// Maximum rows of one line of the log.
const MAX_ROWS: u16 = 6;

/// Returns the lines that level and filter keep, oldest first, with their numbers among all lines
/// of the feed.
#[must_use]
pub fn items<'a>(input: &RunInput<'a>, ui: &RunUi) -> Vec<(u64, &'a Arc<FeedLine>)> {
    let feed = &input.progress.feed;
    let filter = &ui.list(Pane::Log).filter;
    let first = feed.total - feed.lines().len() as u64;
    let shown = |line: &FeedLine| {
        line.level >= ui.own.level
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

/// Returns the height that the pane needs for its lines without wrapping, at most `most`.
pub(crate) fn need(screen: &RunFrame, most: u16) -> Need {
    let whole = u16::try_from(screen.log.len().max(1) + 1).unwrap_or(u16::MAX).min(most);
    Need { least: whole.min(4), whole }
}

pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let list = screen.ui.list(Pane::Log);
    let items = &screen.log;
    let feed = &screen.progress.feed;
    let kept = feed.lines().len() as u64;
    let mut about = format!("{}+", screen.ui.own.level.as_str().to_lowercase());
    if list.filter.active() {
        about.push_str(&format!(", {} of {kept}, /{}/", items.len(), list.filter.text));
    } else if kept < feed.total {
        about.push_str(&format!(", {} of {}", count(kept), count(feed.total)));
    }
    if list.chosen.is_none() && screen.running() {
        about.push_str(", follows");
    }
    let view =
        ListView { pane: Pane::Log, title: "log", about: &about, empty: "none; + shows more levels", headings: 0 };
    let page = pen.height().saturating_sub(1);
    // Lines are wrapped, so that their ends can be read; a long one leaves room for the others.
    let width = list::row_width(pen.width());
    let most = page.clamp(1, MAX_ROWS);
    let height =
        |index: usize| items.get(index).map_or(1, |(_, line)| LogRow::new(line, screen).height(width).min(most));
    list::draw(pen, *screen, &view, hits, height, |pen, index| {
        if let Some((_, line)) = items.get(index) {
            LogRow::new(line, screen).draw(pen, screen);
        }
    });
}

/// Draws the newest warning or error, otherwise the newest line, for screens without a log pane.
pub(crate) fn last_line(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let lines = screen.progress.feed.lines();
    let last = lines.iter().rev().find(|line| line.level >= Level::Warn).or_else(|| lines.back());
    if let Some(line) = last
        && pen.height() > 0
    {
        LogRow::new(line, screen).draw(pen, screen);
        hits.add(pen.area, ClickTarget::Pane(Pane::Log));
    }
}

pub(crate) fn level_style(level: Level, screen: &RunInput) -> Style {
    match level {
        Level::Error => screen.look.bad(),
        Level::Warn => screen.look.warn(),
        Level::Info => screen.look.plain(),
        Level::Debug | Level::Trace => screen.look.dim(),
    }
}

/// Parts of a line: time, level, stream, number of repetitions, text.
struct LogRow<'l> {
    head: Vec<(String, Style)>,
    text: &'l str,
}

impl<'l> LogRow<'l> {
    fn new(line: &'l FeedLine, screen: &RunFrame) -> Self {
        let look = screen.look;
        let (word, style) = match line.origin {
            FeedOrigin::Log => (line.level.as_str(), level_style(line.level, screen)),
            FeedOrigin::Source => ("feed", look.accent()),
            FeedOrigin::Raw if line.level >= Level::Warn => (line.level.as_str(), level_style(line.level, screen)),
            FeedOrigin::Raw => ("raw", look.dim()),
            FeedOrigin::Unknown => ("unknown", look.doubt()),
            FeedOrigin::Malformed => ("malformed", look.warn()),
        };
        let mut head = Vec::with_capacity(4);
        if let Some(at) = line.at {
            head.push((clock(at, screen.now.or(screen.progress.last_at)), look.dim()));
        }
        // Texts of all levels begin in one column.
        head.push((format!("{word:<5}"), style));
        if let Some(stream) = &line.stream {
            head.push((text::fit(stream, 20, look.glyphs.ellipsis).into_owned(), look.strong()));
        }
        if line.times > 1 {
            head.push((format!("{}{}", look.glyphs.times, count(line.times)), look.warn()));
        }
        Self { head, text: &line.text }
    }

    /// Returns the indent of further lines: below the level, so that the text has most of the width.
    fn indent(&self, width: u16) -> u16 {
        let time = self.head.first().map_or(0, |(part, _)| part.chars().count() + 2);
        u16::try_from(time).unwrap_or(u16::MAX).min(width / 3)
    }

    fn head_width(&self) -> u16 {
        let wide = self.head.iter().map(|(part, _)| part.chars().count() + 1).sum::<usize>();
        u16::try_from(wide).unwrap_or(u16::MAX).saturating_add(1)
    }

    fn wrapped(&self, width: u16) -> Vec<String> {
        let shown = synctop_core::reduce::feed::cut(self.text, 4_000);
        let first = width.saturating_sub(self.head_width() + 1);
        text::wrap_hanging(shown, first.into(), width.saturating_sub(self.indent(width) + 1).into())
    }

    fn height(&self, width: u16) -> u16 {
        u16::try_from(self.wrapped(width).len()).unwrap_or(u16::MAX)
    }

    fn draw(&self, pen: &mut Pen, screen: &RunFrame) {
        let mut column = 1;
        for (part, style) in &self.head {
            column = pen.put(column, 0, part, *style) + 1;
        }
        if pen.height() == 1 {
            pen.put(column, 0, self.text, screen.look.plain());
            return;
        }
        let lines = self.wrapped(pen.width());
        let last = usize::from(pen.height());
        let indent = self.indent(pen.width());
        for (row, line) in (0..pen.height()).zip(&lines) {
            let start = if row == 0 { column } else { indent };
            if usize::from(row) + 1 == last && lines.len() > last {
                let rest: Vec<_> = lines.iter().skip(row.into()).map(String::as_str).collect();
                pen.put(start, row, &rest.join(" "), screen.look.plain());
            } else {
                pen.put(start, row, line, screen.look.plain());
            }
        }
    }
}
