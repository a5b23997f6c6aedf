//! Scrubber: position in the log, time, playback state, and a bar with marks of errors,
//! transitions, attempts and runs.

use crate::views::hits::ClickTarget;
use crate::views::run::state::{RunFrame, RunHits, Scrub};
use crate::views::run::throughput;
use crate::views::widgets::bars;
use crate::views::widgets::canvas::Pen;
use ratatui::layout::Rect;
use strum::VariantArray as _;
use synctop_core::format::{count, span};
use synctop_core::protocol::{Millis, time};
use synctop_core::reduce::Axis;
use synctop_core::reduce::history::Mark;

/// Returns the height of the scrubber on a screen of this area: 0 in a live view.
#[must_use]
pub fn height(screen: &RunFrame, area: Rect) -> u16 {
    match screen.scrub {
        None => 0,
        Some(_) if area.height < 14 => 1,
        Some(_) => 2,
    }
}

pub fn draw(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let Some(scrub) = &screen.scrub else { return };
    if pen.height() >= 2 {
        status_line(pen, screen, scrub);
    }
    if pen.height() > 0 {
        bar(pen, pen.height() - 1, screen, scrub, hits);
    }
}

/// Draws the status: `PLAYING 4x  08:31:20.120  +02:11 of 07:12  line 1,204 of 13,582`.
fn status_line(pen: &mut Pen, screen: &RunFrame, scrub: &Scrub) {
    let look = screen.look;
    let history = scrub.history;
    let (word, style) = match (scrub.playing, scrub.ended) {
        (true, _) => (format!(" PLAYING {} ", scrub.speed), look.good()),
        (false, true) => (" END ".to_owned(), look.plain()),
        (false, false) => (" PAUSED ".to_owned(), look.warn()),
    };
    let mut column = pen.put(1, 0, &word, look.badge(style)) + 2;
    let mut parts: Vec<(String, ratatui::style::Style)> = Vec::new();
    match (scrub.at, history.span()) {
        (Some(at), Some((first, last))) => {
            let days = first.div_euclid(86_400_000) != last.div_euclid(86_400_000);
            let form = if days { "%Y-%m-%d %H:%M:%S%.3f" } else { "%H:%M:%S%.3f" };
            parts.push((time::stamp(at, form), look.strong()));
            parts.push((format!("+{} of {}", span(at - first), span(last - first)), look.plain()));
        }
        _ if scrub.position.lines == 0 => parts.push(("before the first line".into(), look.plain())),
        _ if history.span().is_none() => parts.push(("no times in this log: by message".into(), look.warn())),
        _ => {}
    }
    if let Some(gap) = scrub.at.and_then(|at| history.gap_at(at)) {
        let silence = format!("silence of {}", span(gap.to - gap.from));
        parts.push((if scrub.skip { silence } else { format!("{silence}: x skips") }, look.warn()));
    } else if scrub.skip {
        parts.push(("skips silences".into(), look.dim()));
    }
    if let Some(share) = scrub.indexing {
        let text = if share > 0.0 { format!("indexing {:.0}%", share * 100.0) } else { "indexing".to_owned() };
        parts.push((text, look.accent()));
    }
    let lines = format!("line {} of {}", count(scrub.position.lines), count(history.end().lines));
    // On narrow screens the line number comes last, so that a silence has priority over it.
    let place = parts.len().min(if pen.width() >= 100 { 2 } else { usize::MAX });
    parts.insert(place, (lines, look.dim()));
    for (text, style) in parts {
        if column + u16::try_from(text.chars().count()).unwrap_or(u16::MAX) < pen.width() {
            column = pen.put(column, 0, &text, style) + 3;
        }
    }
}

/// Content of one column of the bar. Later variants have priority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Track,
    Gap,
    Transition,
    Attempt,
    Run,
    Error,
}

/// Minimum width of a bar with labels at its ends.
const LABELED: u16 = 76;

/// Draws the bar: the rate of the whole log as its background, marks of events, the shown instant.
fn bar(pen: &mut Pen, row: u16, screen: &RunFrame, scrub: &Scrub, hits: &mut RunHits) {
    let look = screen.look;
    let glyphs = look.glyphs;
    let mut start = 1;
    let mut end = pen.width().saturating_sub(1);
    if let Some((first, last)) = scrub.history.span().filter(|_| pen.width() >= LABELED) {
        let stamp = |at| time::stamp(at, "%H:%M:%S");
        start = pen.put(1, row, &stamp(first), look.dim()) + 1;
        end = pen.put_right(end, row, &stamp(last), look.dim()).saturating_sub(1);
    }
    let width = end.saturating_sub(start);
    if width == 0 {
        return;
    }
    let axis = Axis::new(scrub.history, scrub.skip);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the width")]
    let column = |share: f64| (share * f64::from(width - 1)).round() as usize;
    let cells = cells(scrub, &axis, usize::from(width), column);
    let rates = throughput::values(scrub.history, &axis, width.into(), None);
    let top = rates.iter().flatten().copied().fold(0.0, f64::max);
    let head = column(axis.share(scrub.at, scrub.position.lines));
    for (at, cell) in cells.into_iter().enumerate() {
        let played = at <= head;
        let track = if played { look.accent() } else { look.dim() };
        let (glyph, style) = match cell {
            _ if at == head => (glyphs.live, look.accent().patch(look.strong())),
            Cell::Error => (glyphs.bad, look.bad()),
            Cell::Attempt => (glyphs.up, look.strong()),
            Cell::Run => (glyphs.run, look.strong()),
            Cell::Gap => (glyphs.gap, look.dim()),
            Cell::Transition | Cell::Track => {
                match rates.get(at).copied().flatten().filter(|rate| *rate > 0.0 && top > 0.0) {
                    Some(rate) => (bars::level(rate / top, glyphs), track),
                    None if cell == Cell::Transition => (glyphs.mark, track),
                    None if played => (glyphs.bar, track),
                    None => (glyphs.track, track),
                }
            }
        };
        pen.put_in(start + u16::try_from(at).unwrap_or(u16::MAX), row, 1, glyph, style);
    }
    let place = Rect { x: pen.area.x + start, y: pen.area.y + row, width, height: 1 };
    hits.add(place, ClickTarget::Scrub);
    hits.scrub = Some(place);
}

/// Returns the most important mark of each column.
fn cells(scrub: &Scrub, axis: &Axis, width: usize, column: impl Fn(f64) -> usize) -> Vec<Cell> {
    let mut cells = vec![Cell::Track; width];
    let mut put = |at: usize, cell: Cell| {
        if let Some(slot) = cells.get_mut(at) {
            *slot = (*slot).max(cell);
        }
    };
    let share = |at: Option<Millis>, lines| column(axis.share(at, lines));
    for gap in scrub.history.gaps().iter().filter(|_| !scrub.skip) {
        // The columns at both ends of a gap belong to the messages there.
        for at in share(Some(gap.from), 0) + 1..share(Some(gap.to), 0) {
            put(at, Cell::Gap);
        }
    }
    for bin in scrub.history.bins() {
        for (kind, (marks, first)) in Mark::VARIANTS.iter().copied().zip(bin.marks.into_iter().zip(bin.first)) {
            let cell = match kind {
                _ if marks == 0 => continue,
                Mark::Error => Cell::Error,
                Mark::Attempt => Cell::Attempt,
                Mark::Transition => Cell::Transition,
                // The start of the only run is not worth a mark.
                Mark::Run if scrub.history.runs() < 2 => continue,
                Mark::Run => Cell::Run,
                Mark::Checkpoint | Mark::Retry => continue,
            };
            put(share(first.or(bin.begin.at), bin.begin.lines), cell);
        }
    }
    cells
}
