//! Columns of a list as data: widths by need, headings with the sorted column marked.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::ui::{ScreenFrame, ScreenTypes};
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;

/// Columns between two columns of a list.
const GAP: u16 = 2;

/// Column of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnSpec<C> {
    /// Sort order that the heading selects.
    pub sort: Option<C>,
    pub title: &'static str,
    /// True if texts end at the right edge.
    pub right: bool,
    /// Minimum, needed and maximum width. A column without room for the minimum is left out.
    pub widths: (u16, u16, u16),
    /// True if the column is worth cutting the id for.
    pub vital: bool,
}

impl<C> ColumnSpec<C> {
    /// Creates a column of numbers with this width.
    pub(crate) fn number(sort: Option<C>, title: &'static str, width: u16) -> Self {
        let width = width.max(title.len().try_into().unwrap_or(0));
        Self { sort, title, right: true, widths: (width, width, width), vital: false }
    }

    pub(crate) fn vital(self) -> Self {
        Self { vital: true, ..self }
    }
}

/// Place of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ColumnSlot {
    pub start: u16,
    pub width: u16,
}

impl ColumnSlot {
    pub(crate) fn end(self) -> u16 {
        self.start + self.width
    }
}

/// Returns the places of the columns within `start..end`; `None` for those left out. The first
/// column has the ids. Earlier columns have priority: the ids get the width that they need first,
/// then each column its need, then the last flexible columns the rest.
pub(crate) fn fit<C>(columns: &[Option<ColumnSpec<C>>], start: u16, end: u16) -> Vec<Option<ColumnSlot>> {
    let room = end.saturating_sub(start);
    let mut widths: Vec<Option<u16>> = vec![None; columns.len()];
    let mut used = 0;
    // The ids take at most two thirds from the other columns.
    let ids = columns.first().and_then(Option::as_ref).map_or(0, |ids| ids.widths.1.min(room * 2 / 3));
    for (at, column) in columns.iter().enumerate() {
        let Some(column) = column else { continue };
        let least = if at == 0 { column.widths.0.min(room) } else { column.widths.0 + GAP };
        let reserved = if at == 0 || column.vital { 0 } else { ids.saturating_sub(columns_id_width(&widths)) };
        if used + least + reserved <= room {
            used += least;
            if let Some(width) = widths.get_mut(at) {
                *width = Some(column.widths.0.min(room));
            }
        }
    }
    let mut left = room.saturating_sub(used);
    for needed in [true, false] {
        for (column, width) in columns.iter().zip(&mut widths) {
            let (Some(column), Some(width)) = (column, width) else { continue };
            let wanted = if needed { column.widths.1 } else { column.widths.2 };
            let more = wanted.saturating_sub(*width).min(left);
            *width += more;
            left -= more;
        }
    }
    let mut at = start;
    let place = |width: &Option<u16>| {
        let width = (*width)?;
        let slot = ColumnSlot { start: at, width };
        at += width + GAP;
        Some(slot)
    };
    widths.iter().map(place).collect()
}

fn columns_id_width(widths: &[Option<u16>]) -> u16 {
    widths.first().copied().flatten().unwrap_or(0)
}

/// Draws the headings of a list's columns, with an arrow at the sorted one.
pub(crate) fn headings<S: ScreenTypes>(
    pen: &mut Pen,
    row: u16,
    columns: &[Option<ColumnSpec<S::Column>>],
    slots: &[Option<ColumnSlot>],
    frame: ScreenFrame<S>,
    hits: &mut Hits<S>,
) {
    let (look, ui) = (pen.look, frame.ui);
    for (column, slot) in columns.iter().zip(slots) {
        let (Some(column), Some(slot)) = (column, slot) else { continue };
        let sorted = column.sort == Some(ui.sort) && (ui.sort != S::Column::default() || ui.reversed);
        let style = if sorted { look.accent().patch(look.strong()) } else { look.dim().patch(look.strong()) };
        // Numbers start with the largest, names with the first letter.
        let down = ui.reversed == (ui.sort == S::Column::default());
        let arrow = if down { look.glyphs.down } else { look.glyphs.up };
        let title = if sorted { format!("{}{arrow}", column.title) } else { column.title.to_owned() };
        let wide = u16::try_from(title.chars().count()).unwrap_or(0);
        let start = if column.right { slot.end().saturating_sub(wide) } else { slot.start };
        pen.put(start, row, &title, style);
        if let Some(sort) = column.sort {
            let place = Rect { x: pen.area.x + start.min(pen.area.width), y: pen.area.y + row, width: wide, height: 1 };
            hits.add(place.intersection(pen.area), ClickTarget::Column(sort));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(least: u16, needed: u16, most: u16) -> ColumnSpec<()> {
        ColumnSpec { sort: None, title: "", right: false, widths: (least, needed, most), vital: false }
    }

    fn widths(columns: &[ColumnSpec<()>], end: u16) -> Vec<Option<u16>> {
        let columns: Vec<_> = columns.iter().copied().map(Some).collect();
        fit(&columns, 0, end).into_iter().map(|slot| slot.map(|slot| slot.width)).collect()
    }

    #[test]
    fn ids_first_then_needs_then_bars() {
        let columns = [column(8, 20, 20), column(9, 9, 9), column(8, 12, 60)];
        assert_eq!(widths(&columns, 100), [Some(20), Some(9), Some(60)]);
        assert_eq!(widths(&columns, 60), [Some(20), Some(9), Some(27)]);
        // A column is left out before an id is cut.
        assert_eq!(widths(&columns, 38), [Some(20), Some(9), None]);
        assert_eq!(widths(&columns, 30), [Some(20), None, Some(8)]);
        assert_eq!(widths(&columns, 24), [Some(20), None, None]);
        // Without room for the ids alone they are cut.
        assert_eq!(widths(&columns, 12), [Some(12), None, None]);
        assert_eq!(fit(&[None, Some(column(3, 3, 3))], 0, 12), [None, Some(ColumnSlot { start: 0, width: 3 })]);
    }

    #[test]
    fn a_vital_column_may_cut_the_ids() {
        let columns = [column(8, 40, 40), column(9, 9, 9).vital()];
        assert_eq!(widths(&columns, 30), [Some(19), Some(9)]);
    }
}
