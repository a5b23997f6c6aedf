//! Layout of the run screen: the rectangle of each pane.
//!
//! ```text
//! below 100 columns     100 to 159                 from 160
//! streams               streams     | errors       streams     | errors      | log
//! errors, doubts        preview     | doubts       preview     | doubts      |
//! preview, log                      | log                      | led to it   |
//! ```

use crate::views::hits::{ClickTarget, Divider};
use crate::views::run::state::{Pane, RunFrame, RunHits, RunOverlay, RunSheet, RunTypes};
use crate::views::run::{
    details, diagnostics, doubts, errors, footer, header, lead_up, legend, log, preview, streams, timeline, waiting,
};
use crate::views::ui::position;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::{Need, cut_bottom, cut_right, cut_top, percent_of, stack, wall};
use crate::views::widgets::screen::draw_screen;
use crate::views::widgets::{help, palette};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Minimum size of the full layout; smaller screens show a few words only.
const TINY: (u16, u16) = (24, 5);

/// Minimum widths of two and of three columns.
pub(crate) const TWO_COLUMNS: u16 = 100;
pub(crate) const THREE_COLUMNS: u16 = 160;

/// Minimum height of a column that always has a preview, and the rows of that one.
const TALL: u16 = 30;
const CHART_ROWS: u16 = 9;

/// Minimum body height of more than the focused pane.
const SEVERAL_PANES: u16 = 8;

/// Draws one frame and returns its hit areas.
pub fn draw(buffer: &mut Buffer, area: Rect, screen: &RunFrame) -> RunHits {
    draw_screen(buffer, area, screen.look, |pen, hits| {
        if pen.width() < TINY.0 || pen.height() < TINY.1 {
            header::tiny(pen, screen);
        } else {
            draw_all(pen, screen, hits);
        }
    })
}

fn draw_all(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let area = pen.area;
    let (above, foot) = cut_bottom(area, 1);
    let (above, line) = cut_bottom(above, timeline::height(screen, area));
    timeline::draw(&mut pen.at(line), screen, hits);
    let facts = header::RunHeader::new(screen, area, true);
    let (head, body) = cut_top(above, facts.height());
    header::draw(&mut pen.at(head), screen, &facts);
    let nothing = screen.progress.input.lines == 0 && screen.progress.streams.is_empty();
    let sheet = |pen: &mut Pen, sheet: &RunSheet, hits: &mut RunHits| match sheet {
        RunSheet::Stream { key, top } => details::stream(pen, screen, key, *top, hits),
        RunSheet::Error { id, top } => details::error(pen, screen, *id, *top, hits),
        RunSheet::Line { number, top } => details::line(pen, screen, *number, *top, hits),
        RunSheet::LeadUp { state, chosen } => lead_up::draw(pen, screen, state, *chosen, hits),
        RunSheet::Goto { .. } => {}
    };
    if nothing && !screen.progress.closed && screen.scrub.is_none() {
        waiting::draw(&mut pen.at(body), screen);
    } else {
        panes(pen, body, screen, hits);
    }
    match screen.ui.overlays.last() {
        None | Some(RunOverlay::Filter { .. }) => {}
        Some(RunOverlay::Help { top }) => {
            let area = if above.height < 30 { above } else { body };
            help::draw(&mut pen.at(area), &legend::marks(screen), *top, hits);
        }
        Some(RunOverlay::Palette { input, chosen }) => {
            palette::draw::<RunTypes>(&mut pen.at(body), input, *chosen, hits);
        }
        Some(RunOverlay::Quit) => footer::confirm_quit(&mut pen.at(body), hits),
        Some(RunOverlay::Sheet(open)) => sheet(&mut pen.at(body), open, hits),
    }
    footer::draw(&mut pen.at(foot), screen, hits);
}

fn panes(pen: &mut Pen, body: Rect, screen: &RunFrame, hits: &mut RunHits) {
    let focus = screen.ui.focus;
    hits.body = body;
    // Diagnostics have long lines and need the full width.
    let full_width = focus == Pane::Diagnostics && body.width >= TWO_COLUMNS;
    if screen.ui.zoomed || full_width || body.height < SEVERAL_PANES {
        return pane(pen, body, focus, screen, hits);
    }
    match body.width {
        THREE_COLUMNS.. => three_columns(pen, body, screen, hits),
        TWO_COLUMNS.. => two_columns(pen, body, screen, hits),
        _ => stacked(pen, body, screen, hits),
    }
}

/// Draws the panes of a narrow screen below each other: the streams, the focused pane, and as much
/// of the others as there is room for.
fn stacked(pen: &mut Pen, body: Rect, screen: &RunFrame, hits: &mut RunHits) {
    let focus = screen.ui.focus;
    let width = body.width;
    let half = Need { least: body.height / 2, whole: body.height / 2 };
    let none = Need { least: 0, whole: 0 };
    let found = !screen.errors.is_empty();
    // On a low screen the streams get most rows: at least six of them.
    let low = body.height < 14;
    let mut errors = if found && !low { errors::need(screen, width, body.height) } else { none };
    let mut doubts = if screen.doubts.is_empty() || low { none } else { doubts::need(screen, width) };
    let mut log = Need { least: u16::from(!low), whole: 1 };
    let mut diagnostics = none;
    match focus {
        // The rows have the causes: the errors need their title only, until there is room.
        Pane::Streams => errors.least = errors.least.min(1),
        Pane::Errors => {
            errors = Need { least: half.least, whole: errors::need(screen, width, body.height).whole.max(half.least) }
        }
        Pane::Doubts => doubts = Need { least: half.least, whole: doubts::need(screen, width).whole.max(half.least) },
        Pane::Log => log = half,
        Pane::Diagnostics => diagnostics = half,
    }
    if focus == Pane::Log || focus == Pane::Diagnostics {
        (errors, doubts) = (none, none);
    }
    let streams = streams::need(screen, width, body.height);
    let preview = preview::need(screen, width).filter(|_| focus == Pane::Streams || focus == Pane::Errors);
    let wanted = preview.map_or(none, |need| Need { least: 0, whole: screen.ui.sizes.preview.unwrap_or(need.whole) });
    let needs = [streams, errors, doubts, diagnostics, log];
    let panes = [Pane::Streams, Pane::Errors, Pane::Doubts, Pane::Diagnostics, Pane::Log];
    let place = panes.iter().position(|pane| *pane == focus).unwrap_or(0);
    let mut heights = stack(body.height, &needs, 0, place);
    // The preview gets rows that the lists do not need, if they are enough for it.
    let spare = heights.first().copied().unwrap_or(0).saturating_sub(streams.whole);
    let own = if spare >= preview::LEAST { wanted.whole.clamp(preview::LEAST, spare) } else { 0 };
    let left = spare - own;
    // Rows that still are left show more lines of the log.
    let more_log = if focus == Pane::Log || left == 0 || low { 0 } else { left };
    if let Some(height) = heights.first_mut() {
        *height -= own + more_log;
    }
    if let Some(height) = heights.last_mut() {
        *height += more_log;
    }
    let mut rest = body;
    for (which, height) in panes.into_iter().zip(heights) {
        if which == Pane::Errors && own > 0 {
            let (area, after) = cut_top(rest, own);
            draw_preview(pen, area, screen, hits);
            rest = after;
        }
        let (area, after) = cut_top(rest, height);
        rest = after;
        if which == Pane::Log && height == 1 {
            let label = pen.at(area).put(
                0,
                0,
                &format!("{}[{}] log ", screen.look.glyphs.rule, position(Pane::Log) + 1),
                screen.look.dim(),
            );
            let (_, line) = cut_right(area, area.width.saturating_sub(label));
            log::last_line(&mut pen.at(line), screen, hits);
        } else {
            pane(pen, area, which, screen, hits);
        }
    }
}

/// Returns the width of the left column: by hand, or by need within the bounds of the layout.
fn left_width(body: Rect, screen: &RunFrame, three: bool) -> u16 {
    let percent = |share| percent_of(body.width, share);
    let by_hand = screen.ui.sizes.left.map(percent);
    // Panes without any row need less.
    let is_calm = screen.errors.is_empty() && screen.doubts.is_empty() && screen.log.is_empty();
    let standard = match (three, is_calm) {
        (true, false) => percent(44),
        (true, true) => percent(64),
        (false, false) => percent(60),
        (false, true) => percent(72),
    };
    by_hand.unwrap_or(standard).clamp(percent(25), percent(75))
}

fn two_columns(pen: &mut Pen, body: Rect, screen: &RunFrame, hits: &mut RunHits) {
    let (left, right) = cut_right(body, body.width - left_width(body, screen, false));
    let (left, rule) = cut_right(left, 1);
    left_column(pen, left, screen, hits);
    let none = Need { least: 0, whole: 0 };
    let focus = screen.ui.focus;
    let with_doubts = !screen.doubts.is_empty() || focus == Pane::Doubts;
    let needs = [
        errors::need(screen, right.width, right.height),
        if with_doubts { doubts::need(screen, right.width) } else { none },
        log::need(screen, right.height),
    ];
    let heights = stack(right.height, &needs, 2, position(focus).saturating_sub(1));
    let mut rest = right;
    for (which, height) in [Pane::Errors, Pane::Doubts, Pane::Log].into_iter().zip(heights) {
        let (area, after) = cut_top(rest, height);
        pane(pen, area, which, screen, hits);
        rest = after;
    }
    draw_wall(pen, rule, hits);
}

fn three_columns(pen: &mut Pen, body: Rect, screen: &RunFrame, hits: &mut RunHits) {
    let (left, others) = cut_right(body, body.width - left_width(body, screen, true));
    let (left, first_rule) = cut_right(left, 1);
    let (middle, right) = cut_right(others, others.width / 2);
    let (middle, second_rule) = cut_right(middle, 1);
    left_column(pen, left, screen, hits);
    let none = Need { least: 0, whole: 0 };
    let with_doubts = !screen.doubts.is_empty() || screen.ui.focus == Pane::Doubts;
    let needs = [
        errors::need(screen, middle.width, middle.height),
        if with_doubts { doubts::need(screen, middle.width) } else { none },
    ];
    let mut heights =
        stack(middle.height, &needs, usize::from(with_doubts), usize::from(screen.ui.focus == Pane::Doubts));
    // Rows that no list needs show the selected error.
    let spare = middle.height.saturating_sub(needs.iter().map(|need| need.whole).fold(0, u16::saturating_add));
    let details = if preview::shows_error(screen) && spare >= preview::LEAST { spare } else { 0 };
    if let Some(last) = heights.iter_mut().rev().find(|height| **height > 0) {
        *last -= details.min(*last);
    }
    let mut rest = middle;
    for (which, height) in [Pane::Errors, Pane::Doubts].into_iter().zip(heights) {
        let (area, after) = cut_top(rest, height);
        pane(pen, area, which, screen, hits);
        rest = after;
    }
    preview::draw_error(&mut pen.at(rest), screen);
    pane(pen, right, Pane::Log, screen, hits);
    draw_wall(pen, first_rule, hits);
    wall(pen, second_rule);
}

/// Draws the streams, and the preview in the rows that they do not need.
fn left_column(pen: &mut Pen, area: Rect, screen: &RunFrame, hits: &mut RunHits) {
    hits.left = area;
    let streams = streams::need(screen, area.width, area.height);
    let (list, below) = match preview::need(screen, area.width) {
        None => (area, cut_bottom(area, 0).1),
        Some(need) => {
            // All rows that the list leaves free; on a tall screen at least those of a small chart.
            let spare = area.height.saturating_sub(streams.whole);
            let reserved = if area.height >= TALL { CHART_ROWS.min(need.whole) } else { 0 };
            let height = match screen.ui.sizes.preview {
                Some(by_hand) => by_hand.clamp(preview::LEAST, area.height.saturating_sub(6).max(preview::LEAST)),
                None => spare.max(reserved),
            };
            let fits = height >= preview::LEAST && area.height >= preview::LEAST + 6;
            cut_bottom(area, if fits { height } else { 0 })
        }
    };
    pane(pen, list, Pane::Streams, screen, hits);
    draw_preview(pen, below, screen, hits);
}

fn draw_preview(pen: &mut Pen, area: Rect, screen: &RunFrame, hits: &mut RunHits) {
    if area.height == 0 {
        return;
    }
    hits.preview = area.height;
    preview::draw(&mut pen.at(area), screen);
    hits.add(area, ClickTarget::Nothing);
    hits.add(Rect { height: 1, ..area }, ClickTarget::Divider(Divider::Preview));
}

fn draw_wall(pen: &mut Pen, column: Rect, hits: &mut RunHits) {
    wall(pen, column);
    hits.add(column, ClickTarget::Divider(Divider::Left));
}

fn pane(pen: &mut Pen, area: Rect, which: Pane, screen: &RunFrame, hits: &mut RunHits) {
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
