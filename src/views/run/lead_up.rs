//! Overlay of an error's lead-up: the 60 seconds before it as rows that jump to their instants.

use crate::views::hits::ClickTarget;
use crate::views::run::state::{LeadUpState, RunFrame, RunHits};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::list::Window;
use crate::views::widgets::text::wrap;
use ratatui::layout::Rect;
use ratatui::style::Style;
use synctop_core::format::clock;
use synctop_core::reduce::lead_up::LeadUp;
use synctop_core::report::lead_up::{LeadRow, RowTone};

/// Columns of the time before the error, the time of day and the line.
const PLACE: u16 = 29;

/// Maximum lines of a row that is not selected, if not all rows fit.
const MAX_LINES: u16 = 4;

pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame, state: &LeadUpState, chosen: usize, hits: &mut RunHits) {
    let look = screen.look;
    pen.clear();
    hits.add(pen.area, ClickTarget::Nothing);
    let (lead_up, rows) = match state {
        LeadUpState::Loading => {
            pen.rule(0, true, "what led to it", "reading the log", "");
            return;
        }
        LeadUpState::Failed(why) => {
            pen.rule(0, true, "what led to it", "Esc closes", "");
            for (row, line) in (1..).zip(wrap(why, pen.width().saturating_sub(4).into())) {
                pen.put(2, row, &line, look.bad());
            }
            return;
        }
        LeadUpState::Loaded(lead_up, rows) => (lead_up, rows),
    };
    let about = subject(lead_up, screen);
    let width = pen.width().saturating_sub(2);
    let page = pen.height().saturating_sub(1);
    let whole = |row: &LeadRow| u16::try_from(lines(row, width).len()).unwrap_or(1).max(1);
    let all_fit = rows.iter().map(whole).fold(0, u16::saturating_add) <= page;
    let height = |index: usize| match rows.get(index).map_or(1, whole) {
        lines if all_fit || index == chosen => lines,
        lines => lines.min(MAX_LINES),
    };
    let window = Window::new(0, chosen, rows.len(), page, height);
    let partly = window.top > 0 || window.end() < rows.len();
    let right = if partly { format!("{}-{}/{}", window.top + 1, window.end(), rows.len()) } else { String::new() };
    pen.rule(0, true, "what led to it", &about, &right);
    for (index, line, height) in window.rows() {
        let Some(row) = rows.get(index) else { continue };
        let area = Rect { y: pen.area.y + 1 + line, height, width: pen.area.width - u16::from(partly), ..pen.area };
        let mut own = pen.at(area);
        draw_row(&mut own, row, lead_up, width, tone(row.tone, screen));
        if index == window.place {
            (0..height).for_each(|line| own.choose(line, true));
        }
        hits.add(area, ClickTarget::Entry(index));
    }
    if partly {
        pen.scrollbar(pen.width().saturating_sub(1), 1, page, (window.top, window.end(), rows.len()), true);
    }
}

/// Names stream, error and time: `charge, error at 09:44:07`.
fn subject(lead_up: &LeadUp, screen: &RunFrame) -> String {
    let stream = lead_up.stream.as_deref().unwrap_or("the whole run");
    let kind = lead_up.error.as_ref().map(|error| format!(", {}", error.kind)).unwrap_or_default();
    let at = lead_up.end.at.map(|at| format!(" at {}", clock(at, screen.now.or(screen.progress.last_at))));
    let covered = match lead_up.covered_ms {
        Some(ms) if ms < 60_000 => format!(", {} of 60 s in the log", synctop_core::format::duration(ms)),
        _ => String::new(),
    };
    format!("{stream}{kind}{}{covered}", at.unwrap_or_default())
}

fn tone(tone: RowTone, screen: &RunFrame) -> Style {
    let look = screen.look;
    match tone {
        RowTone::Heading => look.strong(),
        RowTone::Plain => look.plain(),
        RowTone::Warning => look.warn(),
        RowTone::Bad => look.bad(),
    }
}

/// Width from which the place stands beside the text instead of above it.
const BESIDE: u16 = 70;

fn lines(row: &LeadRow, width: u16) -> Vec<String> {
    let indent = if width >= BESIDE && row.tone != RowTone::Heading { PLACE + 3 } else { 2 };
    let mut lines = wrap(&row.text, width.saturating_sub(indent).max(8).into());
    if width < BESIDE && row.instant.is_some() {
        lines.insert(0, String::new());
    }
    lines
}

fn draw_row(pen: &mut Pen, row: &LeadRow, lead_up: &LeadUp, width: u16, style: Style) {
    let look = pen.look;
    let beside = width >= BESIDE && row.tone != RowTone::Heading;
    if row.instant.is_some() {
        pen.put_in(2, 0, PLACE, &row.place(lead_up.end), look.dim());
    }
    let start = if beside { PLACE + 3 } else { 2 };
    let texts = lines(row, width);
    let skip = usize::from(!beside && row.instant.is_some());
    let last = pen.height().saturating_sub(1);
    for (line, text) in (0..pen.height()).zip(&texts).skip(skip) {
        let is_cut = line == last && texts.len() > usize::from(pen.height());
        let more = if is_cut { look.glyphs.ellipsis } else { "" };
        pen.put(start, line, &format!("{text}{more}"), style);
    }
}
