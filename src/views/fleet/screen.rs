//! Layout of the fleet screen: the rectangle of each pane.
//!
//! ```text
//! below 100 columns     from 100
//! pipelines             pipelines   | errors
//! errors                preview     | bulk
//! preview               (2 columns) | actions
//! ```

use crate::views::fleet::state::{
    Armed, FleetFrame, FleetHits, FleetOverlay, FleetPane, FleetSheet, FleetTypes, ServiceLink,
};
use crate::views::fleet::{
    actions, bulk, checklist, confirm, footer, header, inbox, legend, list, nodes, preview, sheets,
};
use crate::views::hits::{ClickTarget, Divider};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::{Need, cut_bottom, cut_right, cut_top, percent_of, stack, wall};
use crate::views::widgets::screen::draw_screen;
use crate::views::widgets::text::{fit_middle, wrap};
use crate::views::widgets::{help, palette};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Minimum size of the full layout; smaller screens show a few words only.
const TINY: (u16, u16) = (30, 6);

/// Minimum width that shows errors and actions to the right of the pipelines.
const TWO_COLUMNS: u16 = 100;

/// Minimum height of the screen with the whole checklist.
const CHECKLIST_PANE: u16 = 30;

/// The same while the bulk pane has the focus.
const CHECKLIST_AND_BULK: u16 = 45;

/// Minimum body height of more than the focused pane.
const SEVERAL_PANES: u16 = 10;

/// Draws one frame and returns its hit areas.
pub fn draw(buffer: &mut Buffer, area: Rect, screen: &FleetFrame) -> FleetHits {
    draw_screen(buffer, area, screen.look, |pen, hits| {
        if pen.width() < TINY.0 || pen.height() < TINY.1 {
            tiny(pen, pen.area, screen);
        } else {
            let inner = frame(pen, screen);
            draw_all(&mut pen.at(inner), screen, hits);
        }
    })
}

fn tiny(pen: &mut Pen, area: Rect, screen: &FleetFrame) {
    let look = screen.look;
    let parked = screen.rows.counts.first().copied().unwrap_or(0);
    pen.put(0, 0, &format!("{parked} PARKED"), if parked > 0 { look.bad() } else { look.good() });
    let word = match screen.link {
        ServiceLink::Down { denied: true, .. } => "NOT ALLOWED",
        ServiceLink::Down { .. } => "DOWN",
        ServiceLink::Waiting => "WAITING",
        ServiceLink::Live => "LIVE",
    };
    let column = pen.put(0, 1, &format!("of {} {word}", screen.fleet.pipelines.len()), look.plain());
    if screen.armed.armed() {
        pen.put(column + 1, 1, "ARMED", look.warn().patch(look.strong()));
    }
    pen.put(0, 2, screen.name, look.dim());
    if let Some(toast) = &screen.ui.toast {
        for (row, line) in (3..area.height).zip(wrap(toast, area.width.into())) {
            pen.put(0, row, &line, look.accent());
        }
    }
}

/// Draws a border with the name of the service while actions are armed. Returns the area inside.
fn frame(pen: &mut Pen, screen: &FleetFrame) -> Rect {
    let area = pen.area;
    let left = match screen.armed {
        Armed::Never | Armed::Locked => return area,
        Armed::For(left) => {
            let seconds = left.div_ceil(1000);
            format!("ARMED {}:{:02}, w disarms", seconds / 60, seconds % 60)
        }
        Armed::Always => "ARMED, w disarms".to_owned(),
    };
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    let style = if screen.color == Some("red") { look.bad() } else { look.warn() };
    pen.border(style);
    let name = fit_middle(screen.name, usize::from(area.width / 2), glyphs.ellipsis).into_owned();
    let title = format!(" {name}: {left} ");
    pen.put(2, 0, &title, look.badge(style));
    Rect { x: area.x + 1, y: area.y + 1, width: area.width.saturating_sub(2), height: area.height.saturating_sub(2) }
}

fn draw_all(pen: &mut Pen, screen: &FleetFrame, hits: &mut FleetHits) {
    let area = pen.area;
    let (above, foot) = cut_bottom(area, 1);
    // The panes of a large screen have room for the whole checklist.
    let in_line = screen.ui.own.checklist.is_some() && area.height >= 14 && !has_checklist_pane(area, screen);
    let (above, line) = cut_bottom(above, u16::from(in_line));
    if in_line {
        checklist::draw_line(&mut pen.at(line), screen);
    }
    let facts = header::FleetHeader::new(screen, area);
    let (top, body) = cut_top(above, facts.height());
    header::draw(&mut pen.at(top), screen, &facts);
    if screen.fleet.listed_at.is_none() {
        waiting(&mut pen.at(body), screen);
    } else {
        panes(pen, body, screen, hits);
    }
    let mut over = pen.at(if above.height < 20 { above } else { body });
    match screen.ui.overlays.last() {
        None | Some(FleetOverlay::Filter { .. }) => {}
        Some(FleetOverlay::Help { top }) => help::draw(&mut over, &legend::marks(screen), *top, hits),
        Some(FleetOverlay::Palette { input, chosen }) => {
            palette::draw::<FleetTypes>(&mut over, input, *chosen, hits);
        }
        Some(FleetOverlay::Quit) => confirm::quit(&mut over, screen, hits),
        Some(FleetOverlay::Sheet(sheet)) => draw_sheet(&mut over, screen, sheet, hits),
    }
    footer::draw(&mut pen.at(foot), screen, hits);
}

fn draw_sheet(pen: &mut Pen, screen: &FleetFrame, sheet: &FleetSheet, hits: &mut FleetHits) {
    match sheet {
        FleetSheet::Pipeline { id, top } => sheets::pipeline(pen, screen, id, *top, hits),
        FleetSheet::Error { fingerprint, top } => sheets::error(pen, screen, fingerprint, *top, hits),
        FleetSheet::ActionRecord { seq, top } => sheets::action(pen, screen, *seq, *top, hits),
        FleetSheet::Runs { id, rows, chosen } => sheets::runs(pen, screen, id, rows, *chosen, hits),
        FleetSheet::Nodes { rows, top } => nodes::draw(pen, screen, rows, *top, hits),
        FleetSheet::Contexts { names, chosen } => sheets::contexts(pen, screen, names, *chosen, hits),
        FleetSheet::Confirm(asked) => confirm::draw(pen, screen, asked, hits),
        FleetSheet::Note { .. } => {}
    }
}

/// Draws the screen before the first list: service, error, next step, and the key to quit.
fn waiting(pen: &mut Pen, screen: &FleetFrame) {
    let look = screen.look;
    let row = (pen.height() / 2).saturating_sub(3);
    let what = if matches!(screen.link, ServiceLink::Down { .. }) {
        "Cannot read the pipelines of"
    } else {
        "Reading the pipelines of"
    };
    pen.put(3, row, what, look.plain());
    pen.put(3, row + 1, screen.address, look.strong());
    let mut below = row + 3;
    if let ServiceLink::Down { why, next, again_at, .. } = screen.link {
        let room = usize::from(pen.width().saturating_sub(6));
        let cause = wrap(why, room).into_iter().take(4).map(|line| (line, look.bad()));
        let to_do = wrap(next, room).into_iter().take(4).map(|line| (line, look.plain()));
        let again = (header::retry_text(again_at, screen.now), look.dim());
        for (line, style) in cause.chain(to_do).chain([again]) {
            pen.put(3, below - 1, &line, style);
            below += 1;
        }
    }
    pen.put(3, below + 1, "q leaves, c goes to another context, ? shows the keys", look.dim());
}

/// True if the whole checklist stands below the panes on the right.
fn has_checklist_pane(area: Rect, screen: &FleetFrame) -> bool {
    // The results of a bulk action need the rows more.
    let least = if screen.ui.focus == FleetPane::Bulk { CHECKLIST_AND_BULK } else { CHECKLIST_PANE };
    area.width >= TWO_COLUMNS && area.height >= least && !screen.ui.zoomed
}

fn panes(pen: &mut Pen, body: Rect, screen: &FleetFrame, hits: &mut FleetHits) {
    hits.body = body;
    if screen.ui.zoomed || body.height < SEVERAL_PANES {
        return pane(pen, body, screen.ui.focus, screen, hits);
    }
    if body.width >= TWO_COLUMNS {
        return two_columns(pen, body, screen, hits);
    }
    stacked(pen, body, screen, hits);
}

/// Draws the panes of a narrow screen below each other: the pipelines, the focused pane or the
/// errors, and the preview in the rows that the lists leave free.
fn stacked(pen: &mut Pen, body: Rect, screen: &FleetFrame, hits: &mut FleetHits) {
    let focus = screen.ui.focus;
    let lower = match focus {
        FleetPane::Pipelines if screen.bulk.is_some_and(|bulk| !bulk.is_finished()) => FleetPane::Bulk,
        FleetPane::Pipelines => FleetPane::Errors,
        other => other,
    };
    let need = need_of(lower, screen, body);
    let most = if focus == FleetPane::Pipelines { (body.height / 3).max(4) } else { body.height / 2 };
    let found = focus != FleetPane::Pipelines || lower == FleetPane::Bulk || !screen.errors.is_empty();
    // The rows have the causes: the errors need their title only, until there is room.
    let is_summary = focus == FleetPane::Pipelines && lower == FleetPane::Errors;
    let lower_need = if found && is_summary {
        Need { least: 1, whole: need.whole.min(most) }
    } else if found {
        Need { least: need.least.min(most), whole: need.whole.min(most) }
    } else {
        Need { least: 0, whole: 0 }
    };
    let pipelines = list::need(screen, body.width, body.height);
    let heights = stack(body.height, &[pipelines, lower_need], 0, usize::from(focus != FleetPane::Pipelines));
    let (upper, under) = (heights.first().copied().unwrap_or(0), heights.get(1).copied().unwrap_or(0));
    let spare = upper.saturating_sub(pipelines.whole);
    // The lower pane shows all its text before the preview gets rows.
    let more = need.whole.saturating_sub(under).min(spare) * u16::from(found);
    let (upper, spare) = (upper - more, spare - more);
    let previewed = preview::need(screen, body.width).filter(|_| spare >= preview::LEAST).map_or(0, |_| spare);
    let (list_area, rest) = cut_top(body, upper - previewed);
    let (preview_area, lower_area) = cut_top(rest, previewed);
    hits.left = body;
    pane(pen, list_area, FleetPane::Pipelines, screen, hits);
    draw_preview(pen, preview_area, screen, hits);
    pane(pen, lower_area, lower, screen, hits);
}

fn need_of(which: FleetPane, screen: &FleetFrame, area: Rect) -> Need {
    let width = area.width;
    match which {
        FleetPane::Pipelines => list::need(screen, width, area.height),
        FleetPane::Errors => inbox::need(screen, width),
        FleetPane::Actions => actions::need(screen, width),
        FleetPane::Bulk => bulk::need(screen, width),
    }
}

/// Draws the pipelines on the left, and errors, the bulk action and the action log on the right.
fn two_columns(pen: &mut Pen, body: Rect, screen: &FleetFrame, hits: &mut FleetHits) {
    let percent = |share| percent_of(body.width, share);
    let width = screen.ui.sizes.left.map_or_else(|| percent(62), percent).clamp(percent(25), percent(75));
    let (left, right) = cut_right(body, body.width - width);
    let (left, rule) = cut_right(left, 1);
    hits.left = left;
    let steps = checklist::need(screen, right.width).filter(|_| has_checklist_pane(pen.area, screen));
    let (right, below_right) = cut_bottom(right, steps.map_or(0, |need| need.whole.min(right.height / 2)));
    checklist::draw(&mut pen.at(below_right), screen);
    let pipelines = list::need(screen, left.width, left.height);
    let height = match preview::need(screen, left.width) {
        Some(_) if left.height >= preview::LEAST + 7 => match screen.ui.sizes.preview {
            Some(by_hand) => by_hand.clamp(preview::LEAST, left.height - 6),
            None => left.height.saturating_sub(pipelines.whole),
        },
        _ => 0,
    };
    let (list_area, below) = cut_bottom(left, if height < preview::LEAST { 0 } else { height });
    pane(pen, list_area, FleetPane::Pipelines, screen, hits);
    draw_preview(pen, below, screen, hits);
    let with_bulk = screen.bulk.is_some() || screen.ui.focus == FleetPane::Bulk;
    let none = Need { least: 0, whole: 0 };
    let needs = [
        inbox::need(screen, right.width),
        if with_bulk { bulk::need(screen, right.width) } else { none },
        actions::need(screen, right.width),
    ];
    let mut rest = right;
    let shown = [FleetPane::Errors, FleetPane::Bulk, FleetPane::Actions];
    let focus = shown.iter().position(|pane| *pane == screen.ui.focus).unwrap_or(0);
    let mut heights = stack(right.height, &needs, 2, focus);
    // Rows that no list needs show the selected error.
    let spare = right.height.saturating_sub(needs.iter().map(|need| need.whole).fold(0, u16::saturating_add));
    let details = preview::error_need(screen, right.width).map_or(0, |need| need.whole.min(spare));
    let details = if details < preview::LEAST { 0 } else { spare };
    if let Some(actions) = heights.last_mut() {
        *actions -= details.min(*actions);
    }
    for (which, height) in shown.into_iter().zip(heights) {
        let (area, after) = cut_top(rest, height);
        pane(pen, area, which, screen, hits);
        rest = after;
    }
    preview::draw_error(&mut pen.at(rest), screen);
    wall(pen, rule);
    hits.add(rule, ClickTarget::Divider(Divider::Left));
}

fn draw_preview(pen: &mut Pen, area: Rect, screen: &FleetFrame, hits: &mut FleetHits) {
    if area.height == 0 {
        return;
    }
    hits.preview = area.height;
    preview::draw(&mut pen.at(area), screen);
    hits.add(area, ClickTarget::Nothing);
    hits.add(Rect { height: 1, ..area }, ClickTarget::Divider(Divider::Preview));
}

fn pane(pen: &mut Pen, area: Rect, which: FleetPane, screen: &FleetFrame, hits: &mut FleetHits) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    hits.add(area, ClickTarget::Pane(which));
    let mut pen = pen.at(area);
    match which {
        FleetPane::Pipelines => list::draw(&mut pen, screen, hits),
        FleetPane::Errors => inbox::draw(&mut pen, screen, hits),
        FleetPane::Actions => actions::draw(&mut pen, screen, hits),
        FleetPane::Bulk => bulk::draw(&mut pen, screen, hits),
    }
}
