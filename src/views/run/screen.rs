//! Layout of the run screen: the rectangle of each pane.

use crate::views::action::ACTIONS;
use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::state::{Overlay, Pane, Screen};
use crate::views::run::{diagnostics, doubts, errors, footer, header, log, rows, streams, timeline, waiting};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::{help, palette};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use synctop_core::protocol::clean::is_hidden;

/// Minimum size of the full layout; smaller screens show a few words only.
const TINY: (u16, u16) = (24, 5);

/// Minimum width that shows errors, doubts and log to the right of the streams.
const WIDE: u16 = 110;

/// Minimum body height with a log line. A body of less than `TALL - 6` rows shows the focused pane
/// only.
const TALL: u16 = 16;

/// Draws one frame and returns its hit areas.
pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen) -> Hits {
    let mut hits = Hits::default();
    let area = area.intersection(buffer.area);
    let mut pen = Pen::new(buffer, area, screen.look);
    if area.width < TINY.0 || area.height < TINY.1 {
        header::tiny(&mut pen, screen);
    } else {
        draw_all(&mut pen, screen, &mut hits);
    }
    blank_hidden_characters(buffer, area);
    hits
}

fn draw_all(pen: &mut Pen, screen: &Screen, hits: &mut Hits) {
    let area = pen.area;
    let (above, foot) = cut_bottom(area, 1);
    let (above, line) = cut_bottom(above, timeline::height(screen, area));
    timeline::draw(&mut pen.at(line), screen, hits);
    let facts = header::RunHeader::new(screen, area, true);
    let (head, body) = cut_top(above, facts.height());
    header::draw(&mut pen.at(head), screen, &facts);
    let nothing = screen.progress.input.lines == 0 && screen.progress.streams.is_empty();
    if nothing && !screen.progress.closed && screen.scrub.is_none() {
        waiting::draw(&mut pen.at(body), screen);
    } else {
        panes(pen, body, screen, hits);
    }
    match screen.ui.overlays.last() {
        None | Some(Overlay::Filter { .. } | Overlay::Goto { .. }) => {}
        Some(Overlay::Help { top }) => {
            let glyphs = screen.look.glyphs;
            let mouse = format!(
                "Mouse: click selects, again opens; wheel scrolls; Shift selects text.  Scrubber: {} error {} attempt {} status {} silence",
                glyphs.bad, glyphs.up, glyphs.mark, glyphs.gap
            );
            let area = if above.height < 20 { above } else { body };
            help::draw(&mut pen.at(area), ACTIONS, &mouse, *top, hits);
        }
        Some(Overlay::Palette { input, chosen }) => palette::draw(&mut pen.at(body), ACTIONS, input, *chosen, hits),
        Some(Overlay::Stream { key, top }) => {
            crate::views::run::details::stream(&mut pen.at(body), screen, key, *top, hits);
        }
        Some(Overlay::Error { id, top }) => {
            crate::views::run::details::error(&mut pen.at(body), screen, *id, *top, hits);
        }
        Some(Overlay::Line { number, top }) => {
            crate::views::run::details::line(&mut pen.at(body), screen, *number, *top, hits);
        }
        Some(Overlay::ConfirmQuit) => footer::confirm(&mut pen.at(body), hits),
    }
    footer::draw(&mut pen.at(foot), screen, hits);
}

fn panes(pen: &mut Pen, body: Rect, screen: &Screen, hits: &mut Hits) {
    let focus = screen.ui.focus;
    // Diagnostics have long lines and need the full width.
    if screen.ui.zoomed || (focus == Pane::Diagnostics && body.width >= WIDE) || body.height < TALL - 6 {
        return pane(pen, body, focus, screen, hits);
    }
    if body.width >= WIDE {
        return draw_side_by_side(pen, body, screen, hits);
    }
    let lower = if focus == Pane::Streams { Pane::Errors } else { focus };
    let wanted = match lower {
        Pane::Errors => errors::items(screen).len() + 1,
        Pane::Doubts => doubts::height(&doubts::items(screen), body.width).into(),
        _ => usize::from(body.height / 2),
    };
    let wanted = u16::try_from(wanted).unwrap_or(u16::MAX);
    let errors_most = if focus == Pane::Streams { (body.height / 4).max(4) } else { body.height / 2 };
    let (body, last) =
        if focus != Pane::Log && body.height >= TALL { cut_bottom(body, 1) } else { (body, cut_bottom(body, 0).1) };
    let doubtful = doubts::items(screen);
    let room_for_doubts =
        !doubtful.is_empty() && matches!(focus, Pane::Streams | Pane::Errors) && body.height >= TALL - 2;
    // Rows that the lists do not need go to the texts of the doubts.
    let listed = u16::try_from(rows::rows(screen).rows.len() + 2).unwrap_or(u16::MAX).saturating_add(wanted);
    let most = (body.height / 5).max(body.height.saturating_sub(listed)).max(2);
    let doubts_wanted = if room_for_doubts { doubts::height(&doubtful, body.width).clamp(2, most) } else { 0 };
    let (body, doubts_area) = cut_bottom(body, doubts_wanted);
    if wanted <= 1 && focus == Pane::Streams {
        pane(pen, body, Pane::Streams, screen, hits);
    } else {
        let (upper, under) = cut_bottom(body, wanted.clamp(2, errors_most.max(2)));
        pane(pen, upper, Pane::Streams, screen, hits);
        pane(pen, under, lower, screen, hits);
    }
    pane(pen, doubts_area, Pane::Doubts, screen, hits);
    log::last_line(&mut pen.at(last), screen, hits);
}

/// Draws the streams on the left, and errors, doubts and log on the right.
fn draw_side_by_side(pen: &mut Pen, body: Rect, screen: &Screen, hits: &mut Hits) {
    let side = (body.width / 10 * 3).clamp(36, 64);
    let (left, right) = cut_right(body, side);
    let (left, wall) = cut_right(left, 1);
    pane(pen, left, Pane::Streams, screen, hits);
    let mut wall = pen.at(wall);
    for row in 0..wall.height() {
        wall.put(0, row, screen.look.glyphs.wall, screen.look.dim());
    }
    let found = u16::try_from(errors::items(screen).len()).unwrap_or(u16::MAX);
    let doubtful = doubts::items(screen);
    let errors_wanted = found.saturating_mul(errors::CARD).saturating_add(1).clamp(3, (right.height / 2).max(3));
    let doubts_wanted = if doubtful.is_empty() {
        0
    } else {
        let most = (right.height.saturating_sub(errors_wanted) / 2).max(4);
        doubts::height(&doubtful, right.width).clamp(4, most)
    };
    let (errors_area, rest) = cut_top(right, errors_wanted);
    let (doubts_area, log_area) = cut_top(rest, doubts_wanted);
    pane(pen, errors_area, Pane::Errors, screen, hits);
    if doubts_wanted > 0 || screen.ui.focus == Pane::Doubts {
        pane(pen, doubts_area, Pane::Doubts, screen, hits);
    }
    pane(pen, log_area, Pane::Log, screen, hits);
}

fn pane(pen: &mut Pen, area: Rect, which: Pane, screen: &Screen, hits: &mut Hits) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    hits.add(area, ClickTarget::Pane(which));
    let mut pen = pen.at(area);
    match which {
        Pane::Streams => streams::draw(&mut pen, screen, hits),
        Pane::Errors => errors::draw(&mut pen, screen, hits),
        Pane::Doubts => doubts::draw(&mut pen, screen, hits),
        Pane::Log => log::draw(&mut pen, screen, hits),
        Pane::Diagnostics => diagnostics::draw(&mut pen, screen),
    }
}

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

/// Blanks every cell with a control character or a hidden character (such as a change of the
/// writing direction), as a last safeguard.
pub(crate) fn blank_hidden_characters(buffer: &mut Buffer, area: Rect) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y))
                && cell.symbol().bytes().any(|byte| !(0x20..0x80).contains(&byte))
                && cell.symbol().chars().any(|c| c.is_control() || is_hidden(c))
            {
                cell.set_symbol(" ");
            }
        }
    }
}
