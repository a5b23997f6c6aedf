//! Bars of one row: a progress bar and a sparkline.

use crate::views::widgets::canvas::Pen;
use crate::views::widgets::theme::Glyphs;
use ratatui::style::Style;

/// Draws a sparkline, scaled to `top`. Unknown values leave blank cells.
pub(crate) fn sparks(pen: &mut Pen, column: u16, row: u16, values: &[Option<f64>], top: f64, style: Style) {
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value.filter(|_| top > 0.0) else { continue };
        let glyph = level(value / top, pen.look.glyphs);
        pen.put_in(column + u16::try_from(index).unwrap_or(u16::MAX), row, 1, glyph, style);
    }
}

/// Returns the block of a share of 0 to 1; the lowest one for zero.
pub(crate) fn level(share: f64, glyphs: &Glyphs) -> &'static str {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
    let level = ((share * 8.0).ceil() as usize).clamp(1, 8) - 1;
    glyphs.sparks.get(level).copied().unwrap_or(" ")
}

/// Draws a progress bar that is filled from the left. `share` is 0 to 1.
pub(crate) fn bar(pen: &mut Pen, column: u16, row: u16, width: u16, share: f64, style: Style) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
    let full = ((share * f64::from(width)) as u16).max(u16::from(share > 0.0)).min(width);
    let glyphs = pen.look.glyphs;
    let track = pen.look.dim();
    pen.fill(column, row, full, glyphs.bar, style);
    pen.fill(column + full, row, width - full, glyphs.track, track);
}
