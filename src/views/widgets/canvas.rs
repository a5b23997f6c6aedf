//! Drawing of text in a rectangle of the buffer, with clipping.

use crate::views::widgets::text;
use crate::views::widgets::theme::Look;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use synctop_core::protocol::clean::is_hidden;
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
        if !text.is_ascii() {
            let (end, _) = self.buffer.set_stringn(x, y, &text, room.into(), style);
            return end.saturating_sub(self.area.x);
        }
        // Most text: each character is one cell, without a search for graphemes.
        let mut end = x;
        for byte in text.bytes() {
            if let Some(cell) = self.buffer.cell_mut((end, y)) {
                cell.set_char(byte.into()).set_style(style);
            }
            end += 1;
        }
        end.saturating_sub(self.area.x)
    }

    /// Writes right-aligned text that ends before the column `end`. Returns its first column.
    pub fn put_right(&mut self, end: u16, row: u16, text: &str, style: Style) -> u16 {
        let wide = u16::try_from(text::columns(text)).unwrap_or(u16::MAX);
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
            if let Some(cell) = self.buffer.cell_mut((self.area.x + column, self.area.y + row)) {
                cell.set_symbol(glyph).set_style(style);
            }
        }
    }

    /// Changes the style of a row and keeps its text.
    pub fn tint(&mut self, row: u16, style: Style) {
        if row < self.area.height {
            let line = Rect { y: self.area.y + row, height: 1, ..self.area };
            self.buffer.set_style(line, style);
        }
    }

    /// Returns the text of a cell of the buffer, by its absolute position.
    #[must_use]
    pub fn symbol(&self, x: u16, y: u16) -> Option<&str> {
        self.buffer.cell((x, y)).map(ratatui::buffer::Cell::symbol)
    }

    /// Marks the text of a row as cut off below, unless the row is blank.
    pub fn mark_cut(&mut self, row: u16) {
        let text = |column: &u16| self.symbol(self.area.x + column, self.area.y + row).is_some_and(|text| text != " ");
        if let Some(last) = (0..self.area.width).rev().find(text) {
            let column = (last + 1).min(self.area.width.saturating_sub(1));
            self.put_in(column, row, 1, self.look.glyphs.ellipsis, self.look.dim());
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
        self.border(self.look.accent());
        self.title(0, true, None, title, about, "");
    }

    /// Draws a border with corners.
    pub fn border(&mut self, style: Style) {
        let glyphs = self.look.glyphs;
        let (right, last) = (self.area.width.saturating_sub(1), self.area.height.saturating_sub(1));
        for row in [0, last] {
            self.fill(0, row, self.area.width, glyphs.rule, style);
        }
        for row in 1..last {
            self.put(0, row, glyphs.wall, style);
            self.put(right, row, glyphs.wall, style);
        }
        let [top_left, top_right, bottom_left, bottom_right] = glyphs.corners;
        for (column, row, glyph) in
            [(0, 0, top_left), (right, 0, top_right), (0, last, bottom_left), (right, last, bottom_right)]
        {
            self.put_in(column, row, 1, glyph, style);
        }
    }

    /// Draws a scrollbar over `height` rows: `shown` is the first row, the row after the last one
    /// and the number of all rows.
    pub fn scrollbar(&mut self, column: u16, row: u16, height: u16, shown: (usize, usize, usize), focused: bool) {
        let (look, (first, end, all)) = (self.look, shown);
        let cells = usize::from(height);
        let cell = |at: usize| at * cells / all.max(1);
        let length = (cell(end.saturating_sub(first))).max(1);
        // At the ends of the list the thumb is at the ends of the bar.
        let start =
            if end >= all { cells.saturating_sub(length) } else { cell(first).min(cells.saturating_sub(length)) };
        for at in 0..cells {
            let is_thumb = (start..start + length).contains(&at);
            let glyph = if is_thumb { look.glyphs.thumb } else { look.glyphs.wall };
            let style = if is_thumb && focused { look.accent() } else { look.dim() };
            self.put_in(column, row + u16::try_from(at).unwrap_or(u16::MAX), 1, glyph, style);
        }
    }

    /// Draws the title of a pane: `─1 streams 58 · trouble first ───── 1-15/61 ─`.
    pub fn pane_title(&mut self, number: usize, focused: bool, title: &str, about: &str, right: &str) {
        let line = if focused { self.look.accent() } else { self.look.dim() };
        self.fill(0, 0, self.area.width, self.look.glyphs.rule, line);
        self.title(0, focused, Some(number), title, about, right);
    }

    /// Draws a rule with a title and no number.
    pub fn rule(&mut self, row: u16, focused: bool, title: &str, about: &str, right: &str) {
        let line = if focused { self.look.accent() } else { self.look.dim() };
        self.fill(0, row, self.area.width, self.look.glyphs.rule, line);
        self.title(row, focused, None, title, about, right);
    }

    /// Writes a title onto a rule.
    fn title(&mut self, row: u16, focused: bool, number: Option<usize>, title: &str, about: &str, right: &str) {
        let look = self.look;
        let width = self.area.width;
        let style = if focused { look.accent().add_modifier(Modifier::BOLD) } else { look.strong() };
        let mut column = match number {
            Some(number) => self.put_in(1, row, width.saturating_sub(2), &format!("[{number}]"), look.accent()),
            None => 2,
        };
        column = self.put_in(column, row, width.saturating_sub(column + 1), &format!(" {title} "), style);
        let wide = u16::try_from(right.width()).unwrap_or(u16::MAX).saturating_add(2);
        let with_right = !right.is_empty() && column.saturating_add(wide).saturating_add(3) < width;
        let end = if with_right { width.saturating_sub(wide + 2) } else { width.saturating_sub(1) };
        if !about.is_empty() && column + 3 < end {
            let about = text::fit(about, usize::from(end - column - 1), look.glyphs.ellipsis);
            self.put_in(column, row, end - column, &format!("{about} "), look.dim());
        }
        if with_right {
            self.put_right(width.saturating_sub(1), row, &format!(" {right} "), look.dim());
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

/// Blanks every cell with a control character or a hidden character (such as a change of the
/// writing direction), as a last safeguard.
pub(crate) fn blank_hidden_characters(buffer: &mut Buffer, area: Rect) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y))
                && cell.symbol().bytes().any(|byte| !(0x20..0x80).contains(&byte))
                && cell.symbol().chars().any(|c| c.is_control() || is_hidden(c))
            {
                cell.set_symbol(" ");
            }
        }
    }
}
