//! Layout of the fleet screen: the rectangle of each pane.

use crate::views::action::FLEET_ACTIONS;
use crate::views::fleet::rows::{FleetRows, rows};
use crate::views::fleet::state::{Armed, FleetOverlay, FleetPane, FleetScreen, ServiceLink};
use crate::views::fleet::{actions, bulk, confirm, footer, header, inbox, list, sheets};
use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::screen::{blank_hidden_characters, cut_bottom, cut_right, cut_top};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text::{fit_middle, wrap};
use crate::views::widgets::{help, palette};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Minimum size of the full layout; smaller screens show a few words only.
const TINY: (u16, u16) = (30, 6);

/// Minimum width that shows errors and actions to the right of the pipelines.
const WIDE: u16 = 110;

/// Height from which `TALL - 6` follows: the minimum body height for more than the focused pane.
const TALL: u16 = 14;

/// Draws one frame and returns its hit areas.
pub fn draw(buffer: &mut Buffer, area: Rect, screen: &FleetScreen) -> Hits {
    let mut hits = Hits::default();
    let area = area.intersection(buffer.area);
    let mut pen = Pen::new(buffer, area, screen.look);
    let all = rows(screen);
    if area.width < TINY.0 || area.height < TINY.1 {
        tiny(&mut pen, area, screen, &all);
    } else {
        let inner = frame(&mut pen, screen);
        draw_all(&mut pen.at(inner), screen, &all, &mut hits);
    }
    blank_hidden_characters(buffer, area);
    hits
}

fn tiny(pen: &mut Pen, area: Rect, screen: &FleetScreen, all: &FleetRows) {
    let look = screen.look;
    let parked = all.counts.first().copied().unwrap_or(0);
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
fn frame(pen: &mut Pen, screen: &FleetScreen) -> Rect {
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
    let last = area.height.saturating_sub(1);
    for row in [0, last] {
        pen.fill(0, row, area.width, glyphs.rule, style);
    }
    for row in 1..last {
        pen.put(0, row, glyphs.wall, style);
        pen.put(area.width.saturating_sub(1), row, glyphs.wall, style);
    }
    let name = fit_middle(screen.name, usize::from(area.width / 2), glyphs.ellipsis).into_owned();
    let title = format!(" {name}: {left} ");
    pen.put(2, 0, &title, look.badge(style));
    Rect { x: area.x + 1, y: area.y + 1, width: area.width.saturating_sub(2), height: area.height.saturating_sub(2) }
}

fn draw_all(pen: &mut Pen, screen: &FleetScreen, all: &FleetRows, hits: &mut Hits) {
    let area = pen.area;
    let (above, foot) = cut_bottom(area, 1);
    let tour = screen.ui.tour.filter(|_| area.height >= 14);
    let (above, line) = cut_bottom(above, u16::from(tour.is_some()));
    if let Some(tour) = tour {
        let mut pen = pen.at(line);
        let style = screen.look.accent();
        pen.put(1, 0, tour, style);
    }
    let facts = header::FleetHeader::new(screen, all, area);
    let (top, body) = cut_top(above, facts.height());
    header::draw(&mut pen.at(top), screen, &facts, all);
    if screen.fleet.listed_at.is_none() {
        waiting(&mut pen.at(body), screen);
    } else {
        panes(pen, body, screen, all, hits);
    }
    let mut over = pen.at(if above.height < 20 { above } else { body });
    match screen.ui.overlays.last() {
        None | Some(FleetOverlay::Filter { .. }) => {}
        Some(FleetOverlay::Help { top }) => {
            let mouse = "Mouse: click selects, again opens; wheel scrolls; Shift selects text.";
            help::draw(&mut over, FLEET_ACTIONS, mouse, *top, hits);
        }
        Some(FleetOverlay::Palette { input, chosen }) => palette::draw(&mut over, FLEET_ACTIONS, input, *chosen, hits),
        Some(FleetOverlay::Pipeline { id, top }) => sheets::pipeline(&mut over, screen, id, *top, hits),
        Some(FleetOverlay::Error { fingerprint, top }) => sheets::error(&mut over, screen, fingerprint, *top, hits),
        Some(FleetOverlay::ActionRecord { seq, top }) => sheets::action(&mut over, screen, *seq, *top, hits),
        Some(FleetOverlay::Runs { id, rows, chosen }) => sheets::runs(&mut over, screen, id, rows, *chosen, hits),
        Some(FleetOverlay::Contexts { names, chosen }) => sheets::contexts(&mut over, screen, names, *chosen, hits),
        Some(FleetOverlay::Confirm(asked)) => confirm::draw(&mut over, screen, asked, hits),
        Some(FleetOverlay::ConfirmQuit) => confirm::quit(&mut over, screen, hits),
    }
    footer::draw(&mut pen.at(foot), screen, all, hits);
}

/// Draws the screen before the first list: service, error, next step, and the key to quit.
fn waiting(pen: &mut Pen, screen: &FleetScreen) {
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
        let why = format!("it {why}");
        let cause = wrap(&why, room).into_iter().take(4).map(|line| (line, look.bad()));
        let to_do = wrap(next, room).into_iter().take(4).map(|line| (line, look.plain()));
        let again = (header::retry_text(again_at, screen.now), look.dim());
        for (line, style) in cause.chain(to_do).chain([again]) {
            pen.put(3, below - 1, &line, style);
            below += 1;
        }
    }
    pen.put(3, below + 1, "q leaves, c goes to another context, ? shows the keys", look.dim());
}

fn panes(pen: &mut Pen, body: Rect, screen: &FleetScreen, all: &FleetRows, hits: &mut Hits) {
    let focus = screen.ui.focus;
    if screen.ui.zoomed || body.height < TALL - 6 {
        return pane(pen, body, focus, screen, all, hits);
    }
    if body.width >= WIDE {
        return draw_side_by_side(pen, body, screen, all, hits);
    }
    let lower = match focus {
        FleetPane::Pipelines if screen.bulk.is_some_and(|bulk| !bulk.is_finished()) => FleetPane::Bulk,
        FleetPane::Pipelines => FleetPane::Errors,
        other => other,
    };
    let wanted = match lower {
        FleetPane::Errors => u16::try_from(inbox::items(screen).len())
            .unwrap_or(u16::MAX)
            .saturating_mul(inbox::lines_per_item(body.width))
            .saturating_add(1),
        FleetPane::Bulk => screen.bulk.map_or(3, bulk::height),
        _ => u16::try_from(screen.actions.len()).unwrap_or(u16::MAX).saturating_add(1),
    };
    let most = if focus == FleetPane::Pipelines && lower == FleetPane::Errors {
        (body.height / 4).max(4)
    } else {
        body.height / 2
    };
    if wanted <= 1 && focus == FleetPane::Pipelines {
        return pane(pen, body, FleetPane::Pipelines, screen, all, hits);
    }
    let (upper, under) = cut_bottom(body, wanted.clamp(2, most.max(2)));
    pane(pen, upper, FleetPane::Pipelines, screen, all, hits);
    pane(pen, under, lower, screen, all, hits);
}

/// Draws the pipelines on the left, and errors, the bulk action and the action log on the right.
fn draw_side_by_side(pen: &mut Pen, body: Rect, screen: &FleetScreen, all: &FleetRows, hits: &mut Hits) {
    let (left, right) = cut_right(body, (body.width / 10 * 3).clamp(36, 70));
    let (left, wall) = cut_right(left, 1);
    pane(pen, left, FleetPane::Pipelines, screen, all, hits);
    let mut wall = pen.at(wall);
    for row in 0..wall.height() {
        wall.put(0, row, screen.look.glyphs.wall, screen.look.dim());
    }
    let items = u16::try_from(inbox::items(screen).len()).unwrap_or(u16::MAX);
    let errors =
        items.saturating_mul(inbox::lines_per_item(right.width)).saturating_add(1).clamp(3, (right.height / 2).max(3));
    let (errors_area, rest) = cut_top(right, errors);
    pane(pen, errors_area, FleetPane::Errors, screen, all, hits);
    let wanted = match screen.bulk {
        Some(bulk) => bulk::height(bulk).min(rest.height / 2 + 1),
        None if screen.ui.focus == FleetPane::Bulk => 3,
        None => 0,
    };
    let (bulk_area, actions_area) = cut_top(rest, wanted);
    if wanted > 0 {
        pane(pen, bulk_area, FleetPane::Bulk, screen, all, hits);
    }
    pane(pen, actions_area, FleetPane::Actions, screen, all, hits);
}

fn pane(pen: &mut Pen, area: Rect, which: FleetPane, screen: &FleetScreen, all: &FleetRows, hits: &mut Hits) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    hits.add(area, ClickTarget::FleetPane(which));
    let mut pen = pen.at(area);
    match which {
        FleetPane::Pipelines => list::draw(&mut pen, screen, all, hits),
        FleetPane::Errors => inbox::draw(&mut pen, screen, hits),
        FleetPane::Actions => actions::draw(&mut pen, screen, hits),
        FleetPane::Bulk => bulk::draw(&mut pen, screen, hits),
    }
}
