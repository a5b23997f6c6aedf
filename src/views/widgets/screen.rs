//! Frame of any screen.

use crate::views::hits::Hits;
use crate::views::ui::ScreenTypes;
use crate::views::widgets::canvas::{Pen, blank_hidden_characters};
use crate::views::widgets::theme::Look;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Draws a screen with `content` and returns its hit areas.
pub(crate) fn draw_screen<S: ScreenTypes>(
    buffer: &mut Buffer,
    area: Rect,
    look: &Look,
    content: impl FnOnce(&mut Pen, &mut Hits<S>),
) -> Hits<S> {
    let area = area.intersection(buffer.area);
    let mut hits = Hits::default();
    hits.size = (area.width, area.height);
    content(&mut Pen::new(buffer, area, look), &mut hits);
    blank_hidden_characters(buffer, area);
    hits
}
