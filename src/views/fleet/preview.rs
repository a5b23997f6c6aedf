//! Preview of the selected row, without a key: facts of the pipeline, error or action.

use crate::views::fleet::sheets;
use crate::views::fleet::state::{FleetFrame, FleetPane, RowKey};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::Need;
use crate::views::widgets::sheet::Sheet;
use ratatui::layout::Rect;
use synctop_core::format::{count, plural};

/// Minimum height of a preview: title and four lines.
pub(crate) const LEAST: u16 = 5;

/// Minimum width of each of two columns of facts.
const COLUMN: u16 = 44;

/// Returns title and facts of the selected row.
fn subject<'a>(screen: &FleetFrame<'_, 'a>, width: u16) -> Option<(String, Sheet<'a>)> {
    let input = &screen.model.input;
    if screen.ui.focus == FleetPane::Errors
        && let Some(item) = screen.model.chosen_error(screen.ui)
    {
        return Some((item.kind().to_owned(), sheets::error_facts(input, item, width)));
    }
    let row = screen.model.chosen_row(screen.ui)?;
    if let Some(watched) = row.pipeline() {
        return Some((watched.pipeline.id.to_string(), sheets::describe(input, watched, width)));
    }
    let group = row.group();
    let of_group = || input.fleet.pipelines.values().filter(|it| it.group(input.now) == group);
    let mut sheet = Sheet::with_width(input.look, width);
    sheet.fact("group", plural(of_group().count(), "pipeline"), input.look.strong());
    let records: u64 = of_group().filter_map(|it| it.pipeline.found.records).sum();
    sheet.fact("run records", count(records), input.look.plain());
    let ids: Vec<_> = of_group().take(200).map(|it| it.pipeline.id.as_ref()).collect();
    sheet.fact("pipelines", ids.join(", "), input.look.plain());
    if screen.ui.list(FleetPane::Pipelines).chosen == Some(RowKey::Head(group)) {
        sheet.fact("", "R resumes all of them, space marks them", input.look.dim());
    }
    Some((group.as_str().to_lowercase(), sheet))
}

/// Returns the width of the facts: one column, or two on a wide screen.
fn columns(width: u16) -> (u16, u16) {
    let columns = if width >= 2 * COLUMN { 2 } else { 1 };
    (columns, (width / columns).saturating_sub(3))
}

/// Returns the height that the preview needs; `None` if it is hidden or has nothing to show.
pub(crate) fn need(screen: &FleetFrame, width: u16) -> Option<Need> {
    if !screen.ui.sizes.previews {
        return None;
    }
    let (columns, text) = columns(width);
    let (_, sheet) = subject(screen, text)?;
    let whole = u16::try_from(sheet.len().div_ceil(columns.into())).unwrap_or(u16::MAX).saturating_add(1);
    Some(Need { least: LEAST.min(whole), whole })
}

/// Returns the height that the details of the selected error need; `None` without an error, and
/// if the errors pane has the focus: its preview shows the details.
pub(crate) fn error_need(screen: &FleetFrame, width: u16) -> Option<Need> {
    if !screen.ui.sizes.previews || screen.ui.focus == FleetPane::Errors {
        return None;
    }
    let item = screen.model.chosen_error(screen.ui)?;
    let sheet = sheets::error_facts(&screen.model.input, item, width.saturating_sub(3));
    let whole = u16::try_from(sheet.len()).unwrap_or(u16::MAX).saturating_add(1);
    Some(Need { least: LEAST.min(whole), whole })
}

/// Draws the details of the selected error.
pub(crate) fn draw_error(pen: &mut Pen, screen: &FleetFrame) {
    let Some(item) = screen.model.chosen_error(screen.ui).filter(|_| pen.height() > 0) else { return };
    pen.rule(0, false, item.kind(), "Enter in errors shows all", "");
    let area = pen.area;
    let below = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let sheet = sheets::error_facts(&screen.model.input, item, area.width.saturating_sub(3));
    sheet.draw_lines(&mut pen.at(below), |_, _, never| match *never {});
}

pub(crate) fn draw(pen: &mut Pen, screen: &FleetFrame) {
    // One column, if it holds all facts.
    let room = usize::from(pen.height().saturating_sub(1));
    let single = subject(screen, pen.width().saturating_sub(3)).filter(|(_, sheet)| sheet.len() <= room);
    let (count, text) = if single.is_some() { (1, 0) } else { columns(pen.width()) };
    let Some((title, mut sheet)) = single.or_else(|| subject(screen, text)) else { return };
    pen.rule(0, false, &title, "d shows all", "p hides");
    let area = pen.area;
    let width = area.width / count;
    for column in 0..count {
        let place = Rect { x: area.x + column * width, y: area.y + 1, width, height: area.height.saturating_sub(1) };
        let rest = sheet.split_off(place.height.into());
        sheet.draw_lines(&mut pen.at(place), |_, _, never| match *never {});
        sheet = rest;
    }
}
