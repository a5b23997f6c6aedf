//! Scrollable overlay of labeled facts and wrapped text, with rows that its owner draws.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text::wrap;
use crate::views::widgets::theme::Look;
use ratatui::style::Style;
use std::convert::Infallible;

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

    pub fn fact(&mut self, label: &str, text: impl AsRef<str>, style: Style) {
        // Uses the right margin too, so that a date with time fits at forty columns.
        for (at, line) in wrap(text.as_ref(), (self.width + 2).saturating_sub(LABEL)).into_iter().enumerate() {
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
    pub fn draw_with(
        self,
        pen: &mut Pen,
        (title, about): (&str, &str),
        top: usize,
        hits: &mut Hits,
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
        hits.overlay = (most, page);
    }
}

impl Sheet<'_> {
    pub fn draw(self, pen: &mut Pen, titles: (&str, &str), top: usize, hits: &mut Hits) {
        self.draw_with(pen, titles, top, hits, |_, _, never| match *never {});
    }
}
