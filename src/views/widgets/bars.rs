//! Bars of one row: a progress bar and a sparkline.

use crate::views::widgets::canvas::Pen;
use ratatui::style::Style;

/// Draws a sparkline, scaled to `top`. Unknown values leave blank cells.
pub(crate) fn sparks(pen: &mut Pen, column: u16, row: u16, values: &[Option<f64>], top: f64, style: Style) {
    let sparks = pen.look.glyphs.sparks;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value.filter(|_| top > 0.0) else { continue };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7")]
        let level = ((value / top * 8.0).ceil() as usize).clamp(1, 8) - 1;
        let glyph = sparks.get(level).copied().unwrap_or(" ");
        pen.put_in(column + u16::try_from(index).unwrap_or(u16::MAX), row, 1, glyph, style);
    }
}

/// Draws a progress bar that is filled from the left. `share` is 0 to 1.
pub(crate) fn bar(pen: &mut Pen, column: u16, row: u16, width: u16, share: f64, style: Style) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
    let full = ((share * f64::from(width)) as u16).min(width).max(u16::from(share > 0.0));
    let glyphs = pen.look.glyphs;
    let track = pen.look.dim();
    pen.fill(column, row, full, glyphs.bar, style);
    pen.fill(column + full, row, width - full, glyphs.track, track);
}
