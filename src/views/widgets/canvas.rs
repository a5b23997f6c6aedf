//! Drawing of text in a rectangle of the buffer, with clipping.

use crate::views::widgets::text;
use crate::views::widgets::theme::Look;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use unicode_width::UnicodeWidthStr;

/// Buffer and the rectangle that may be written to. Columns and rows are relative to it.
pub struct Pen<'b> {
    buffer: &'b mut Buffer,
    pub area: Rect,
    pub look: &'b Look,
}

impl<'b> Pen<'b> {
    pub fn new(buffer: &'b mut Buffer, area: Rect, look: &'b Look) -> Self {
        let area = area.intersection(buffer.area);
        Self { buffer, area, look }
    }

    /// Returns a pen for another rectangle of the same buffer.
    pub fn at(&mut self, area: Rect) -> Pen<'_> {
        Pen::new(self.buffer, area, self.look)
    }

    /// Returns a centered rectangle of at most this size.
    #[must_use]
    pub fn middle(&self, width: u16, height: u16) -> Rect {
        let (width, height) = (width.min(self.area.width), height.min(self.area.height));
        let (left, above) = ((self.area.width - width) / 2, (self.area.height - height) / 2);
        Rect { x: self.area.x + left, y: self.area.y + above, width, height }
    }

    #[must_use]
    pub fn width(&self) -> u16 {
        self.area.width
    }

    #[must_use]
    pub fn height(&self) -> u16 {
        self.area.height
    }

    /// Writes text, clipped to the rectangle. Returns the column after it.
    pub fn put(&mut self, column: u16, row: u16, text: &str, style: Style) -> u16 {
        self.put_in(column, row, self.area.width.saturating_sub(column), text, style)
    }

    /// Writes text into at most `width` columns. Returns the column after it.
    pub fn put_in(&mut self, column: u16, row: u16, width: u16, text: &str, style: Style) -> u16 {
        let room = self.area.width.saturating_sub(column).min(width);
        if row >= self.area.height || room == 0 {
            return column;
        }
        let text = text::fit(text, room.into(), self.look.glyphs.ellipsis);
        let (x, y) = (self.area.x + column, self.area.y + row);
        let (end, _) = self.buffer.set_stringn(x, y, &text, room.into(), style);
        end.saturating_sub(self.area.x)
    }

    /// Writes right-aligned text that ends before the column `end`. Returns its first column.
    pub fn put_right(&mut self, end: u16, row: u16, text: &str, style: Style) -> u16 {
        let wide = u16::try_from(text.width()).unwrap_or(u16::MAX);
        let begin = end.min(self.area.width).saturating_sub(wide);
        self.put_in(begin, row, wide, text, style);
        begin
    }

    /// Repeats a glyph of one column over `width` columns.
    pub fn fill(&mut self, column: u16, row: u16, width: u16, glyph: &str, style: Style) {
        if row >= self.area.height {
            return;
        }
        for column in column..column.saturating_add(width).min(self.area.width) {
            self.buffer.set_stringn(self.area.x + column, self.area.y + row, glyph, 1, style);
        }
    }

    /// Changes the style of a row and keeps its text.
    pub fn tint(&mut self, row: u16, style: Style) {
        if row < self.area.height {
            let line = Rect { y: self.area.y + row, height: 1, ..self.area };
            self.buffer.set_style(line, style);
        }
    }

    /// Clears the rectangle.
    pub fn clear(&mut self) {
        for y in self.area.top()..self.area.bottom() {
            for x in self.area.left()..self.area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                }
            }
        }
    }

    /// Highlights the selected row: a mark on the left, and in the focused pane a tint (reversed in
    /// mono).
    pub fn choose(&mut self, row: u16, focused: bool) {
        let (look, mark) = (self.look, self.look.glyphs.chosen);
        if focused {
            self.tint(row, look.chosen());
            let reversed = look.chosen().add_modifier.contains(Modifier::REVERSED);
            let style = if reversed { look.chosen() } else { look.accent().patch(look.chosen()) };
            self.put_in(0, row, 1, mark, style);
        } else {
            self.put_in(0, row, 1, mark, look.dim());
        }
    }

    /// Clears the rectangle and draws a box with a title around it, to set an overlay apart.
    pub fn frame(&mut self, title: &str, about: &str) {
        self.clear();
        self.rule(0, true, title, about, "");
        let (look, last) = (self.look, self.area.height.saturating_sub(1));
        for row in 1..last {
            self.put(0, row, look.glyphs.wall, look.accent());
            self.put(self.area.width.saturating_sub(1), row, look.glyphs.wall, look.accent());
        }
        if last > 0 {
            self.fill(0, last, self.area.width, look.glyphs.rule, look.accent());
        }
    }

    /// Draws answers with their keys in one row.
    pub fn answers(&mut self, row: u16, all: &[(&str, &str)]) {
        let (key_style, style) = (self.look.accent().patch(self.look.strong()), self.look.plain());
        let mut column = 2;
        for (key, answer) in all {
            let behind = self.put(column, row, key, key_style);
            column = self.put(behind + 1, row, answer, style) + 3;
        }
    }

    /// Draws a rule with a title: `- streams  58 - trouble first ----- 1-15/61 -`.
    pub fn rule(&mut self, row: u16, focused: bool, title: &str, about: &str, right: &str) {
        let look = self.look;
        let line = if focused { look.accent() } else { look.dim() };
        let width = self.area.width;
        self.fill(0, row, width, look.glyphs.rule, line);
        let title_style = if focused { look.accent().add_modifier(Modifier::BOLD) } else { look.strong() };
        let mut column = self.put(2, row, &format!(" {title} "), title_style);
        if !about.is_empty() {
            column = self.put_in(column, row, width.saturating_sub(column + 2), &format!("{about} "), look.dim());
        }
        let wide = u16::try_from(right.width()).unwrap_or(u16::MAX).saturating_add(2);
        if !right.is_empty() && column.saturating_add(wide).saturating_add(3) < width {
            self.put_right(width.saturating_sub(2), row, &format!(" {right} "), look.dim());
        }
    }
}

impl Pen<'_> {
    /// Draws a ratatui widget into a part of the rectangle.
    pub fn widget(&mut self, area: Rect, draw: impl FnOnce(Rect, &mut Buffer)) {
        let area = area.intersection(self.area);
        if !area.is_empty() {
            draw(area, self.buffer);
        }
    }
}
