//! Wrapped paragraphs of a card: shown as far as there is room, and cut only at the edge.

use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text::wrap;
use ratatui::style::Style;

/// Lines of wrapped text, each with its paragraph.
pub(crate) struct Paragraphs {
    width: usize,
    lines: Vec<(usize, String, Style)>,
    count: usize,
}

impl Paragraphs {
    /// Creates paragraphs of this width.
    pub(crate) fn new(width: u16) -> Self {
        Self { width: usize::from(width).max(8), lines: Vec::new(), count: 0 }
    }

    pub(crate) fn add(&mut self, text: &str, style: Style) {
        self.lines.extend(wrap(text, self.width).into_iter().map(|line| (self.count, line, style)));
        self.count += 1;
    }

    /// Returns the number of lines.
    pub(crate) fn height(&self) -> u16 {
        u16::try_from(self.lines.len()).unwrap_or(u16::MAX)
    }

    /// Draws the lines from a row on. If they do not fit, the last one has the rest of its paragraph
    /// and is cut at the edge.
    pub(crate) fn draw(&self, pen: &mut Pen, column: u16, first: u16) {
        let room = usize::from(pen.height().saturating_sub(first));
        for (row, (paragraph, line, style)) in (first..).zip(self.lines.iter().take(room)) {
            let at = usize::from(row - first);
            if at + 1 == room && self.lines.len() > room {
                let rest = self.lines.iter().skip(at).take_while(|(of, ..)| of == paragraph);
                let rest: Vec<_> = rest.map(|(_, line, _)| line.as_str()).collect();
                pen.put(column, row, &rest.join(" "), *style);
            } else {
                pen.put(column, row, line, *style);
            }
        }
    }
}
