//! Scrollable overlay of labeled facts and wrapped text, with rows that its owner draws.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::ui::ScreenTypes;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text::{columns, wrap};
use crate::views::widgets::theme::Look;
use ratatui::style::Style;
use std::convert::Infallible;
use synctop_core::format::plural;

/// Width of the label column.
const LABEL: usize = 14;

enum Line<P> {
    Text(Vec<(String, Style)>),
    Picture(P),
}

/// Scrollable overlay. `P` identifies the rows that the owner draws.
pub(crate) struct Sheet<'a, P = Infallible> {
    pub look: &'a Look,
    width: usize,
    lines: Vec<Line<P>>,
}

impl<'a, P> Sheet<'a, P> {
    /// Creates an empty sheet as wide as the pen.
    pub fn new(pen: &Pen<'a>) -> Self {
        let width = usize::from(pen.width().saturating_sub(4)).max(8);
        Self { look: pen.look, width, lines: Vec::new() }
    }

    /// Creates an empty sheet for text of this width.
    pub fn with_width(look: &'a Look, width: u16) -> Self {
        Self { look, width: usize::from(width).max(8), lines: Vec::new() }
    }

    pub fn fact(&mut self, label: &str, text: impl AsRef<str>, style: Style) {
        // Uses the right margin too, but for the scrollbar, so that a date with time fits at forty columns.
        for (at, line) in wrap(text.as_ref(), (self.width + 1).saturating_sub(LABEL)).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            self.parts(vec![(format!("{label:<LABEL$}"), self.look.dim()), (line, style)]);
        }
    }

    pub fn head(&mut self, text: &str) {
        self.gap();
        self.parts(vec![(text.to_owned(), self.look.strong())]);
    }

    pub fn text(&mut self, text: &str, style: Style) {
        self.lines.extend(wrap(text, self.width).into_iter().map(|line| Line::Text(vec![(line, style)])));
    }

    /// Adds one line of styled parts, which is clipped instead of wrapped.
    pub fn parts(&mut self, parts: Vec<(String, Style)>) {
        self.lines.push(Line::Text(parts));
    }

    pub fn gap(&mut self) {
        self.parts(Vec::new());
    }

    pub fn picture(&mut self, row: P) {
        self.lines.push(Line::Picture(row));
    }

    /// Draws the visible lines. `picture` draws a row of the owner.
    pub fn draw_with<S: ScreenTypes>(
        self,
        pen: &mut Pen,
        (title, about): (&str, &str),
        top: usize,
        hits: &mut Hits<S>,
        picture: impl Fn(&mut Pen, u16, &P),
    ) {
        pen.clear();
        hits.add(pen.area, ClickTarget::Nothing);
        let page = usize::from(pen.height().saturating_sub(1));
        let most = self.lines.len().saturating_sub(page);
        let top = top.min(most);
        let right = format!("{}-{}/{}", top + 1, (top + page).min(self.lines.len()), self.lines.len());
        pen.rule(0, true, title, about, if most > 0 { &right } else { "" });
        for (row, line) in (1..).zip(self.lines.iter().skip(top).take(page)) {
            match line {
                Line::Text(parts) => {
                    let mut column = 2;
                    for (text, style) in parts {
                        column = pen.put(column, row, text, *style);
                    }
                }
                Line::Picture(own) => picture(pen, row, own),
            }
        }
        if most > 0 {
            let shown = (top, (top + page).min(self.lines.len()), self.lines.len());
            pen.scrollbar(pen.width().saturating_sub(1), 1, u16::try_from(page).unwrap_or(0), shown, true);
        }
        hits.overlay = (most, page);
    }

    /// Draws the lines into the rectangle without a title, as many as fit; a mark shows that more
    /// follow.
    pub fn draw_lines(self, pen: &mut Pen, picture: impl Fn(&mut Pen, u16, &P)) {
        for (row, line) in (0..pen.height()).zip(&self.lines) {
            let is_cut = row + 1 == pen.height() && self.lines.len() > usize::from(pen.height());
            match line {
                Line::Text(parts) => {
                    let beyond = self.lines.len() - usize::from(row) - 1;
                    let wide: usize = parts.iter().map(|(text, _)| columns(text)).sum();
                    let long = format!("  +{}", plural(beyond, "line"));
                    let has_room = wide + long.len() + 3 < usize::from(pen.width());
                    let more = if has_room { long } else { format!(" +{beyond}") };
                    let kept = if is_cut { u16::try_from(more.len() + 1).unwrap_or(0) } else { 0 };
                    let end = pen.width().saturating_sub(kept);
                    let mut column = 1;
                    for (text, style) in parts {
                        column = pen.put_in(column, row, end.saturating_sub(column), text, *style);
                    }
                    if is_cut {
                        pen.put_right(pen.width().saturating_sub(1), row, &more, pen.look.dim());
                    }
                }
                Line::Picture(own) => picture(pen, row, own),
            }
        }
    }

    /// Removes the lines after the first `at` and returns them.
    pub fn split_off(&mut self, at: usize) -> Self {
        let lines = if at < self.lines.len() { self.lines.split_off(at) } else { Vec::new() };
        Self { look: self.look, width: self.width, lines }
    }

    /// Returns the number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }
}

impl Sheet<'_> {
    pub fn draw<S: ScreenTypes>(self, pen: &mut Pen, titles: (&str, &str), top: usize, hits: &mut Hits<S>) {
        self.draw_with(pen, titles, top, hits, |_, _, never| match *never {});
    }
}
