//! Chart of a rate over time: filled columns in braille, blocks or ASCII, with an axis and marks.

use crate::views::widgets::canvas::Pen;
use ratatui::style::Style;
use synctop_core::format::rate;

/// Columns of the vertical axis with its labels.
pub(crate) const AXIS: u16 = 9;

/// Chart to draw.
pub(crate) struct Chart<'a> {
    /// Values in equal steps of time, oldest first; `None` if unknown.
    pub values: &'a [Option<f64>],
    /// Part of each value that belongs to the selected stream.
    pub part: &'a [Option<f64>],
    /// Column of the shown instant as a share of the width, if the chart has one.
    pub cursor: Option<f64>,
    pub style: Style,
    pub part_style: Style,
}

/// Number of values that a chart of this width shows.
#[must_use]
pub(crate) fn steps(width: u16, braille: bool) -> usize {
    usize::from(width) * if braille { 2 } else { 1 }
}

/// Draws the chart into the whole rectangle, without its axis.
pub(crate) fn draw(pen: &mut Pen, chart: &Chart) {
    let top = chart.values.iter().flatten().copied().fold(0.0, f64::max);
    if top <= 0.0 || pen.height() == 0 {
        return;
    }
    let glyphs = pen.look.glyphs;
    let per_cell = if glyphs.braille { 2 } else { 1 };
    let levels = if glyphs.braille { 4 } else { 8 };
    let rows = usize::from(pen.height());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "cells")]
    let height = |value: Option<f64>| {
        let value = value.unwrap_or(0.0).max(0.0) / top * (rows * levels) as f64;
        // A rate above zero is visible.
        if value > 0.0 { (value.round() as usize).max(1) } else { 0 }
    };
    let at = |values: &[Option<f64>], step: usize| height(values.get(step).copied().flatten());
    for cell in 0..usize::from(pen.width()) {
        let column = u16::try_from(cell).unwrap_or(u16::MAX);
        let wholes: Vec<usize> = (0..per_cell).map(|at_step| at(chart.values, cell * per_cell + at_step)).collect();
        let part = (0..per_cell).map(|at_step| at(chart.part, cell * per_cell + at_step)).max().unwrap_or(0);
        for row in 0..rows {
            let below = (rows - 1 - row) * levels;
            let filled = |height: usize| height.saturating_sub(below).min(levels);
            let glyph = match wholes.as_slice() {
                [left, right] => braille(filled(*left), filled(*right)),
                [only] => match filled(*only) {
                    0 => ' ',
                    level => glyphs.sparks.get(level - 1).and_then(|glyph| glyph.chars().next()).unwrap_or(' '),
                },
                _ => ' ',
            };
            if glyph == ' ' {
                continue;
            }
            let style = if part > below { chart.part_style } else { chart.style };
            let row = u16::try_from(row).unwrap_or(u16::MAX);
            pen.put_in(column, row, 1, glyph.encode_utf8(&mut [0; 4]), style);
        }
    }
    if let Some(share) = chart.cursor {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the width")]
        let column = (share * f64::from(pen.width().saturating_sub(1))).round() as u16;
        let style = pen.look.strong();
        for row in 0..pen.height() {
            pen.put_in(column, row, 1, pen.look.glyphs.wall, style);
        }
    }
}

/// Returns the braille character with these numbers of dots from the bottom in its two columns.
fn braille(left: usize, right: usize) -> char {
    const LEFT: [u32; 5] = [0, 0x40, 0x44, 0x46, 0x47];
    const RIGHT: [u32; 5] = [0, 0x80, 0xa0, 0xb0, 0xb8];
    let dots = LEFT.get(left).copied().unwrap_or(0x47) | RIGHT.get(right).copied().unwrap_or(0xb8);
    if dots == 0 { ' ' } else { char::from_u32(0x2800 + dots).unwrap_or(' ') }
}

/// Draws the vertical axis at the left edge: the unit, the largest value, half of it, and zero.
pub(crate) fn axis(pen: &mut Pen, values: &[Option<f64>]) {
    let top = values.iter().flatten().copied().fold(0.0, f64::max);
    let (look, last) = (pen.look, pen.height().saturating_sub(1));
    for row in 0..pen.height() {
        let label = match row {
            0 => rate(top),
            _ if row == last => "0".to_owned(),
            _ if last >= 4 && row == last.div_ceil(2) => rate(top * f64::from(last - row + 1) / f64::from(last + 1)),
            _ => String::new(),
        };
        pen.put_right(AXIS - 2, row, &label, look.dim());
        let tick = if label.is_empty() { look.glyphs.wall } else { look.glyphs.tick };
        pen.put(AXIS - 1, row, tick, look.dim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braille_cells_fill_from_the_bottom() {
        assert_eq!(braille(0, 0), ' ');
        assert_eq!(braille(1, 0), '⡀');
        assert_eq!(braille(4, 4), '⣿');
        assert_eq!(braille(2, 3), '⣴');
        assert_eq!(braille(9, 9), '⣿');
    }
}
