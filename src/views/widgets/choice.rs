//! Selection list in a box: past runs, contexts.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::ui::ScreenTypes;
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Returns the first visible row, such that the selected row `place` is visible and the page is as
/// full as possible. `top` is the previous first row.
pub(crate) fn scroll_top(top: usize, place: usize, page: usize, all: usize) -> usize {
    if page == 0 {
        return place;
    }
    top.min(place).max((place + 1).saturating_sub(page)).min(all.saturating_sub(page))
}

/// Draws a selection list in a box, under a line of headings unless that is empty.
pub(crate) fn draw<S: ScreenTypes>(
    pen: &mut Pen,
    (title, about): (&str, &str),
    headings: &str,
    rows: &[(String, Style)],
    chosen: usize,
    hits: &mut Hits<S>,
) {
    let above = 1 + u16::from(!headings.is_empty());
    let wanted = u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(above + 1);
    let longest = rows.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0).max(headings.chars().count());
    let width = u16::try_from(longest + 6).unwrap_or(u16::MAX).clamp(pen.width().min(76), pen.width().max(1));
    let area = Rect { y: pen.area.y, ..pen.middle(width, wanted.clamp(3, pen.height().max(3))) };
    let mut pen = pen.at(area);
    hits.add(area, ClickTarget::Nothing);
    let page = usize::from(pen.height().saturating_sub(above + 1));
    let top = scroll_top(0, chosen, page, rows.len());
    let shown = (top, (top + page).min(rows.len()), rows.len());
    let is_partly = rows.len() > page;
    let place = if is_partly { format!("  {}-{}/{}", shown.0 + 1, shown.1, shown.2) } else { String::new() };
    pen.frame(title, &format!("{about}{place}"));
    if !headings.is_empty() {
        let style = pen.look.dim().patch(pen.look.strong());
        pen.put_in(2, 1, width.saturating_sub(4), headings, style);
    }
    for (index, (text, style)) in rows.iter().enumerate().skip(top).take(page) {
        let row = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_add(above);
        pen.put_in(2, row, width.saturating_sub(4), text, *style);
        if index == chosen {
            pen.choose(row, true);
        }
        hits.add(Rect { y: area.y + row, height: 1, ..area }, ClickTarget::Entry(index));
    }
    if is_partly {
        pen.scrollbar(pen.width().saturating_sub(1), above, u16::try_from(page).unwrap_or(0), shown, true);
    }
}
