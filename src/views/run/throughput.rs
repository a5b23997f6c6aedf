//! Throughput chart: records per second over the whole log, with its events on the same axis.

use crate::views::run::state::RunFrame;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::chart::{self, Chart};
use ratatui::layout::Rect;
use ratatui::style::Style;
use strum::VariantArray as _;
use synctop_core::format::clock;
use synctop_core::reduce::Axis;
use synctop_core::reduce::history::{History, Mark};

/// Rows below the chart: events, times.
const BELOW: u16 = 2;

/// Minimum height with the rows below.
pub(crate) const LEAST: u16 = 2 + BELOW;

/// Returns the records per second at equal steps of the axis, of one stream or of all.
pub(crate) fn values(history: &History, axis: &Axis, steps: usize, stream: Option<usize>) -> Vec<Option<f64>> {
    #[expect(clippy::cast_precision_loss, reason = "a share of the width")]
    let time = |step: usize| axis.time(step as f64 / steps.max(1) as f64);
    let rate = |step: usize| {
        let (from, to) = time(step).zip(time(step + 1))?;
        match stream {
            Some(stream) => history.series.stream_rate(stream, from, to),
            None => history.series.rate(from, to),
        }
    };
    (0..steps).map(rate).collect()
}

/// True if the log has times and records to draw.
pub(crate) fn is_drawable(screen: &RunFrame) -> bool {
    let Some(history) = screen.history else { return false };
    history
        .span()
        .is_some_and(|(first, last)| last > first && history.series.rate(first, last).is_some_and(|it| it > 0.0))
}

/// Draws the chart of all streams, with the part of `stream`, an index of the streams, highlighted.
pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame, stream: Option<usize>) {
    let Some(history) = screen.history.filter(|_| is_drawable(screen)) else { return };
    let (look, height) = (screen.look, pen.height());
    if height < LEAST || pen.width() < chart::AXIS + 10 {
        return;
    }
    let area = pen.area;
    let plot = Rect { x: area.x + chart::AXIS, width: area.width - chart::AXIS - 1, height: height - BELOW, ..area };
    let axis = Axis::new(history, screen.scrub.is_some_and(|scrub| scrub.skip));
    let steps = chart::steps(plot.width, look.glyphs.braille);
    let all = values(history, &axis, steps, None);
    let part = stream.map(|stream| values(history, &axis, steps, Some(stream))).unwrap_or_default();
    let cursor = screen.scrub.filter(|scrub| !scrub.ended).map(|scrub| axis.share(scrub.at, scrub.position.lines));
    chart::axis(&mut pen.at(Rect { height: plot.height, ..area }), &all);
    let style = if part.is_empty() { look.accent() } else { look.dim() };
    let chart = Chart { values: &all, part: &part, cursor, style, part_style: look.accent() };
    chart::draw(&mut pen.at(plot), &chart);
    let events = Rect { y: area.y + plot.height, height: 1, ..plot };
    pen.put_right(chart::AXIS - 1, plot.height, "events", look.dim());
    draw_events(&mut pen.at(events), screen, history, &axis);
    if let Some((first, last)) = history.span() {
        let mut below = pen.at(Rect { y: events.y + 1, ..events });
        let end = below.width();
        let column = below.put(0, 0, &clock(first, Some(last)), look.dim());
        let last = clock(last, Some(last));
        let right = below.put_right(end, 0, &last, look.dim());
        let legend = legend(screen);
        let wide: u16 = legend.iter().map(|(_, text, _)| u16::try_from(text.chars().count() + 4).unwrap_or(0)).sum();
        if column + 2 + wide < right {
            let mut at = column + (right - column - wide) / 2;
            for (glyph, text, style) in legend {
                at = below.put(at, 0, glyph, style) + 1;
                at = below.put(at, 0, text, look.dim()) + 2;
            }
        }
    }
}

fn legend(screen: &RunFrame) -> [(&'static str, &'static str, Style); 3] {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    [(glyphs.bad, "error", look.bad()), (glyphs.warn, "retry", look.warn()), (glyphs.up, "attempt", look.strong())]
}

/// Draws one row of marks: errors before attempts, and those before retries.
fn draw_events(pen: &mut Pen, screen: &RunFrame, history: &History, axis: &Axis) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    let width = usize::from(pen.width());
    let mut cells: Vec<Option<Mark>> = vec![None; width];
    let rank = |mark: Mark| match mark {
        Mark::Error => 4,
        Mark::Run => 3,
        Mark::Attempt => 2,
        Mark::Retry => 1,
        Mark::Transition | Mark::Checkpoint => 0,
    };
    for bin in history.bins() {
        for (kind, (marks, first)) in Mark::VARIANTS.iter().copied().zip(bin.marks.into_iter().zip(bin.first)) {
            if marks == 0 || rank(kind) == 0 || (kind == Mark::Run && history.runs() < 2) {
                continue;
            }
            let share = axis.share(first.or(bin.begin.at), bin.begin.lines);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the width")]
            #[expect(clippy::cast_precision_loss, reason = "a width")]
            let at = (share * width.saturating_sub(1) as f64).round() as usize;
            if let Some(cell) = cells.get_mut(at)
                && cell.is_none_or(|known| rank(known) < rank(kind))
            {
                *cell = Some(kind);
            }
        }
    }
    for (column, cell) in (0..).zip(cells) {
        let (glyph, style) = match cell {
            None => (glyphs.track, look.dim()),
            Some(Mark::Error) => (glyphs.bad, look.bad()),
            Some(Mark::Attempt) => (glyphs.up, look.strong()),
            Some(Mark::Run) => (glyphs.run, look.strong()),
            Some(_) => (glyphs.warn, look.warn()),
        };
        pen.put_in(column, 0, 1, glyph, style);
    }
}
