//! List of rows: title, selection, scroll position, scrollbar and hit areas of any list pane.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::ui::{ListModel, ScreenFrame, ScreenTypes, position};
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;

/// Title and texts of a list.
pub(crate) struct ListView<'t, S: ScreenTypes> {
    pub pane: S::Pane,
    pub title: &'t str,
    /// Text after the title: numbers, filter, order.
    pub about: &'t str,
    /// Text instead of rows.
    pub empty: &'t str,
    /// Rows of column headings.
    pub headings: u16,
}

/// Rows on screen: the first one, the selected one, and the height of each.
pub(crate) struct Window {
    pub top: usize,
    pub place: usize,
    heights: Vec<u16>,
}

impl Window {
    /// Returns the window of a list such that the selected row is visible and the page is as full
    /// as possible. `top` is the previous first row, `height` the lines of a row.
    pub(crate) fn new(top: usize, place: usize, rows: usize, page: u16, height: impl Fn(usize) -> u16) -> Self {
        let place = place.min(rows.saturating_sub(1));
        let least = (place + 1).saturating_sub(page.max(1).into());
        let mut top = top.min(place).max(least);
        let mut used: u16 = (top..=place).take(rows).map(&height).fold(0, u16::saturating_add);
        while top < place && used > page {
            used = used.saturating_sub(height(top));
            top += 1;
        }
        let mut heights = Vec::new();
        let mut left = page;
        for index in top..rows {
            // The last row is shown even if only a part of it fits.
            let lines = height(index).min(left);
            if lines == 0 {
                break;
            }
            heights.push(lines);
            left -= lines;
        }
        // Rows above take the lines that the end of the list leaves free.
        while top > 0 && top + heights.len() >= rows && height(top - 1) <= left {
            top -= 1;
            left -= height(top);
            heights.insert(0, height(top));
        }
        // Lines that are left at the end of the list show a part of the row above.
        if top > 0 && top + heights.len() >= rows && left > 0 {
            top -= 1;
            heights.insert(0, left);
        }
        Self { top, place, heights }
    }

    pub(crate) fn end(&self) -> usize {
        self.top + self.heights.len()
    }

    /// Returns the index of each visible row with its first line and its height.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, u16, u16)> {
        let mut line = 0;
        self.heights.iter().enumerate().map(move |(at, height)| {
            let first = line;
            line += height;
            (self.top + at, first, *height)
        })
    }
}

/// Returns the width of the rows of a list: one column stays free for the scrollbar, so that a text
/// wraps the same with and without it.
pub(crate) fn row_width(width: u16) -> u16 {
    width.saturating_sub(1)
}

/// Returns the lines of each card of a list: at least `least`, and more for the selected card, then
/// for the first ones, from the lines that are left. `whole` returns the lines of all text of a card.
pub(crate) fn card_heights(
    least: u16,
    cards: usize,
    place: usize,
    page: u16,
    whole: impl Fn(usize) -> u16,
) -> Vec<u16> {
    let mut heights = vec![least; cards];
    let all = u16::try_from(cards).unwrap_or(u16::MAX).saturating_mul(least);
    let mut spare = page.saturating_sub(all);
    let others = (0..cards).filter(|index| *index != place);
    for index in std::iter::once(place).chain(others) {
        let Some(height) = heights.get_mut(index) else { continue };
        let whole = || whole(index).max(least);
        if index == place && whole() <= page / 2 + 1 {
            *height = whole();
        } else if spare > 0 {
            *height = whole().min(least + spare);
        } else if index != place {
            break;
        }
        spare = spare.saturating_sub(*height - least);
    }
    heights
}

/// Draws a list. `height` returns the lines of a row, `row` draws it.
pub(crate) fn draw<S: ScreenTypes>(
    pen: &mut Pen,
    frame: ScreenFrame<S>,
    view: &ListView<S>,
    hits: &mut Hits<S>,
    height: impl Fn(usize) -> u16,
    mut row: impl FnMut(&mut Pen, usize),
) {
    let (ui, look, pane) = (frame.ui, pen.look, view.pane);
    let focused = ui.focus == pane;
    let list = ui.list(pane);
    let rows = frame.model.len(pane);
    let above = 1 + view.headings;
    let page = pen.height().saturating_sub(above);
    let window = Window::new(list.top, frame.model.place(pane, list.chosen.as_ref()), rows, page, &height);
    let partly = page > 0 && (window.top > 0 || window.end() < rows);
    let right = if partly { format!("{}-{}/{rows}", window.top + 1, window.end()) } else { String::new() };
    pen.pane_title(position(pane) + 1, focused, view.title, view.about, &right);
    if rows == 0 {
        pen.put(3, above, view.empty, look.dim());
    }
    let width = row_width(pen.width());
    let heights: Vec<u16> = window.rows().map(|(index, ..)| height(index)).collect();
    for ((index, line, height), whole) in window.rows().zip(heights) {
        let area = Rect { y: pen.area.y + above + line, height, width, ..pen.area };
        let mut own = pen.at(area);
        row(&mut own, index);
        if whole > height {
            own.mark_cut(height.saturating_sub(1));
        }
        if index == window.place {
            (0..height).for_each(|line| own.choose(line, focused));
        }
        if let Some(key) = frame.model.key(pane, index) {
            hits.add(area, ClickTarget::Row(pane, key));
        }
    }
    if partly {
        pen.scrollbar(pen.width().saturating_sub(1), above, page, (window.top, window.end(), rows), focused);
    }
    hits.page(pane, window.top, page.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(top: usize, place: usize, rows: usize, page: u16, height: impl Fn(usize) -> u16) -> (usize, usize) {
        let window = Window::new(top, place, rows, page, height);
        (window.top, window.end())
    }

    #[test]
    fn cards_share_the_lines_that_are_left() {
        let whole = |index: usize| [3, 5, 4, 2].get(index).copied().unwrap_or(2);
        assert_eq!(card_heights(2, 4, 0, 20, whole), [3, 5, 4, 2], "all fits");
        assert_eq!(card_heights(2, 4, 0, 11, whole), [3, 4, 2, 2], "the rest of the lines is used");
        assert_eq!(card_heights(2, 4, 1, 8, whole), [2, 5, 2, 2], "the selected one is shown whole");
        assert_eq!(card_heights(2, 4, 1, 6, whole), [2, 2, 2, 2], "unless it takes most of the page");
        assert_eq!(card_heights(2, 0, 0, 8, whole), [0u16; 0]);
    }

    #[test]
    fn the_selected_row_is_visible_and_the_page_full() {
        assert_eq!(shown(0, 0, 10, 4, |_| 1), (0, 4));
        assert_eq!(shown(0, 6, 10, 4, |_| 1), (3, 7));
        assert_eq!(shown(9, 9, 10, 4, |_| 1), (6, 10));
        assert_eq!(shown(8, 1, 10, 4, |_| 1), (1, 5));
        assert_eq!(shown(5, 2, 3, 10, |_| 1), (0, 3));
        // Rows of three lines.
        assert_eq!(shown(0, 3, 5, 7, |_| 3), (2, 5), "the last one in part");
        assert_eq!(shown(4, 4, 5, 7, |_| 3), (2, 5), "the first one in part");
        assert_eq!(shown(0, 0, 2, 2, |_| 3), (0, 1), "a row that is taller than the page is shown in part");
        assert_eq!(shown(0, 0, 0, 4, |_| 1), (0, 0));
        assert_eq!(shown(0, 3, 9, 0, |_| 1).0, 3);
    }
}
