//! Division of a rectangle: cuts, heights by need, and the joints of walls with rules.

use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;

pub(crate) fn cut_top(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let upper = Rect { height, ..area };
    (upper, Rect { y: area.y + height, height: area.height - height, ..area })
}

pub(crate) fn cut_bottom(area: Rect, height: u16) -> (Rect, Rect) {
    cut_top(area, area.height - height.min(area.height))
}

pub(crate) fn cut_right(area: Rect, width: u16) -> (Rect, Rect) {
    let width = width.min(area.width);
    let left = Rect { width: area.width - width, ..area };
    (left, Rect { x: area.x + left.width, width, ..area })
}

/// Returns a share of a width, in percent.
pub(crate) fn percent_of(width: u16, share: u16) -> u16 {
    u16::try_from(u32::from(width) * u32::from(share) / 100).unwrap_or(u16::MAX)
}

/// Height that a pane needs: its minimum, and that of all its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub least: u16,
    pub whole: u16,
}

/// Minimum height of a list that is shown in part.
const LEAST_LIST: u16 = 4;

/// Returns the sum of the heights, or the first partial sum above `most`: rows that no screen shows
/// are not measured.
pub(crate) fn sum_up_to(heights: impl Iterator<Item = u16>, most: u16) -> u16 {
    let mut sum: u16 = 0;
    for height in heights {
        sum = sum.saturating_add(height);
        if sum > most {
            break;
        }
    }
    sum
}

/// Returns a height for each pane of a column. All get their minimum, the focused one first, then
/// from the first on; then all their content, from the first on; the pane at `rest` takes the
/// remainder.
pub(crate) fn stack(height: u16, needs: &[Need], rest: usize, focus: usize) -> Vec<u16> {
    let mut left = height;
    let mut heights = vec![0; needs.len()];
    let others = (0..needs.len()).filter(|index| *index != focus);
    for index in std::iter::once(focus).chain(others) {
        let (Some(height), Some(need)) = (heights.get_mut(index), needs.get(index)) else { continue };
        // The list of the screen is shown in part rather than not at all.
        *height = match need.least {
            least if least <= left => least,
            _ if index == 0 && left >= LEAST_LIST => left,
            _ => 0,
        };
        left -= *height;
    }
    for (need, height) in needs.iter().zip(&mut heights) {
        // A pane without room for its minimum is not shown.
        if *height == 0 {
            continue;
        }
        let more = need.whole.saturating_sub(*height).min(left);
        *height += more;
        left -= more;
    }
    let taker = if heights.get(rest).is_some_and(|height| *height > 0) {
        Some(rest)
    } else {
        heights.iter().rposition(|height| *height > 0)
    };
    if let Some(height) = taker.and_then(|taker| heights.get_mut(taker)) {
        *height += left;
    }
    heights
}

/// Draws a wall between two columns of panes, with joints where rules meet it.
pub(crate) fn wall(pen: &mut Pen, column: Rect) {
    let (look, glyphs) = (pen.look, pen.look.glyphs);
    let [down, up, right, left, cross] = glyphs.joints;
    for y in column.top()..column.bottom() {
        let is_rule = |pen: &Pen, x: u16| pen.symbol(x, y) == Some(glyphs.rule);
        let (from_left, to_right) = (column.x > 0 && is_rule(pen, column.x - 1), is_rule(pen, column.x + 1));
        let (first, last) = (y == column.top(), y + 1 == column.bottom());
        let glyph = match (from_left, to_right) {
            (true, true) if first => down,
            (true, true) if last => up,
            (true, true) => cross,
            (true, false) => left,
            (false, true) => right,
            (false, false) => glyphs.wall,
        };
        pen.at(Rect { y, height: 1, ..column }).put_in(0, 0, 1, glyph, look.dim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_filled_by_need() {
        let need = |least, whole| Need { least, whole };
        assert_eq!(stack(20, &[need(3, 8), need(3, 5)], 1, 0), [8, 12]);
        assert_eq!(stack(10, &[need(3, 8), need(3, 5)], 1, 0), [7, 3]);
        assert_eq!(stack(10, &[need(8, 8), need(3, 5)], 1, 0), [10, 0]);
        assert_eq!(stack(10, &[need(8, 8), need(3, 5)], 1, 1), [7, 3], "the focused pane is shown");
        assert_eq!(stack(4, &[need(3, 8), need(3, 5)], 1, 0), [4, 0]);
        assert_eq!(stack(30, &[need(3, 8), need(0, 0), need(2, 4)], 0, 0), [26, 0, 4]);
        assert_eq!(stack(0, &[need(3, 8)], 0, 0), [0]);
    }
}
