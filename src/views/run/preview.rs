//! Preview of the selected row, without a key: throughput chart and facts.

use crate::views::run::details::{self, Picture};
use crate::views::run::errors::ErrorItem;
use crate::views::run::rows::Row;
use crate::views::run::state::{Pane, RunFrame};
use crate::views::run::stream_group::StreamGroup;
use crate::views::run::throughput;
use crate::views::ui::ListModel as _;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::layout::{Need, cut_right, cut_top};
use crate::views::widgets::sheet::Sheet;
use std::sync::Arc;
use synctop_core::format::count;
use synctop_core::reduce::{ErrorGroup, FeedLine, Stream, key_of};

/// Minimum height of a preview: title and four lines.
pub(crate) const LEAST: u16 = 5;

/// Height of the chart if there is room for it.
const CHART: u16 = 10;

/// Maximum names of a group.
const NAMES: usize = 60;

/// Minimum width that shows chart and facts side by side.
const SIDE_BY_SIDE: u16 = 96;

/// Row that the preview shows.
enum Subject<'a> {
    Stream(usize, &'a Arc<Stream>),
    Group(StreamGroup, usize, Option<u64>),
    Error(&'a Arc<ErrorGroup>),
    Line(&'a Arc<FeedLine>),
}

/// Returns the row that the preview shows: that of the focused pane, otherwise of the streams.
fn subject<'a>(screen: &RunFrame<'_, 'a>) -> Option<Subject<'a>> {
    let progress = screen.model.input.progress;
    let of_stream = |key: &str| {
        let at = progress.find_key(key)?;
        Some(Subject::Stream(at, progress.streams.get(at)?))
    };
    match screen.ui.focus {
        Pane::Errors => match screen.model.chosen_error(screen.ui) {
            Some(ErrorItem::Error(error)) => return progress.errors.get(error.id).map(Subject::Error),
            Some(ErrorItem::Retry(stream)) => return of_stream(&key_of(stream)),
            None => {}
        },
        Pane::Log => {
            let place = screen.model.place(Pane::Log, screen.ui.list(Pane::Log).chosen.as_ref());
            if let Some((_, line)) = screen.model.log.get(place) {
                return Some(Subject::Line(line));
            }
        }
        Pane::Doubts => {
            let place = screen.model.place(Pane::Doubts, screen.ui.list(Pane::Doubts).chosen.as_ref());
            let stream = screen.model.doubt(place).and_then(|doubt| doubt.stream.as_deref());
            if let Some(found) = stream.and_then(of_stream) {
                return Some(found);
            }
        }
        Pane::Streams | Pane::Diagnostics => {}
    }
    let rows = &screen.model.rows;
    let place = screen.model.place(Pane::Streams, screen.ui.list(Pane::Streams).chosen.as_ref());
    match rows.rows.get(place)? {
        Row::Head(group) => {
            // The streams of a folded group have no rows.
            let records = rows.records_of(*group, &screen.assessment.digest);
            Some(Subject::Group(*group, rows.count(*group), records))
        }
        Row::Stream(at, _) | Row::Note(at, _) => {
            let at = *at as usize;
            Some(Subject::Stream(at, progress.streams.get(at)?))
        }
    }
}

/// Returns the height that the preview needs; `None` if it is hidden or has nothing to show.
pub(crate) fn need(screen: &RunFrame, width: u16) -> Option<Need> {
    if !screen.ui.sizes.previews {
        return None;
    }
    let subject = subject(screen)?;
    let chart = if throughput::is_drawable(screen) { CHART } else { 0 };
    let facts = u16::try_from(facts_height(screen, &subject, width)).unwrap_or(u16::MAX);
    let whole = if width >= SIDE_BY_SIDE { facts.max(chart) } else { facts.saturating_add(chart) };
    Some(Need { least: LEAST, whole: whole.saturating_add(1) })
}

fn facts_width(width: u16) -> u16 {
    if width >= SIDE_BY_SIDE { width * 2 / 5 - 3 } else { width.saturating_sub(3) }
}

/// True if the details of the selected error can stand in a pane of their own.
pub(crate) fn shows_error(screen: &RunFrame) -> bool {
    screen.ui.sizes.previews && screen.ui.focus != Pane::Errors && screen.model.related_error(screen.ui).is_some()
}

/// Draws the details of the error that belongs to the selected row.
pub(crate) fn draw_error(pen: &mut Pen, screen: &RunFrame) {
    let Some(error) = screen.model.related_error(screen.ui) else { return };
    if pen.height() == 0 {
        return;
    }
    let streams: Vec<_> = error.streams().take(3).map(AsRef::as_ref).collect();
    pen.rule(0, false, error.kind(), &streams.join(", "), "W what led to it");
    let (_, below) = cut_top(pen.area, 1);
    let sheet = details::error_preview(screen, error, below.width.saturating_sub(3));
    sheet.draw_lines(&mut pen.at(below), |_, _, never| match *never {});
}

pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame) {
    let Some(subject) = subject(screen) else { return };
    let area = pen.area;
    let stream = match &subject {
        Subject::Stream(at, _) => Some(*at),
        _ => None,
    };
    let with_chart = throughput::is_drawable(screen);
    let title = match &subject {
        Subject::Stream(_, stream) => stream.label.to_string(),
        Subject::Error(error) => error.kind().to_owned(),
        Subject::Line(_) => "log line".to_owned(),
        Subject::Group(group, ..) => group.title(screen.running()).to_lowercase(),
    };
    let about = match (with_chart, stream) {
        (true, Some(_)) => "records/s of all streams, its own highlighted",
        (true, None) => "records/s of all streams",
        (false, _) => "",
    };
    pen.rule(0, false, &title, about, "p hides");
    let (_, inner) = cut_top(area, 1);
    let (facts_area, chart_area) = if !with_chart {
        (inner, None)
    } else if inner.width >= SIDE_BY_SIDE {
        let (chart, facts) = cut_right(inner, facts_width(inner.width) + 3);
        (facts, Some(chart))
    } else {
        let facts = u16::try_from(facts_height(screen, &subject, inner.width)).unwrap_or(u16::MAX);
        // The chart takes the rows that the facts leave, and at least its minimum if three facts remain.
        let left = inner.height.saturating_sub(facts);
        let chart = left.max((inner.height / 3).clamp(throughput::LEAST, CHART));
        if inner.height < chart + 3 {
            (inner, None)
        } else {
            let (facts, chart) = cut_top(inner, inner.height - chart);
            (facts, Some(chart))
        }
    };
    if let Some(chart) = chart_area {
        throughput::draw(&mut pen.at(chart), screen, stream);
    }
    draw_facts(&mut pen.at(facts_area), screen, &subject);
}

fn facts_height(screen: &RunFrame, subject: &Subject, width: u16) -> usize {
    match subject {
        Subject::Stream(_, stream) => details::stream_preview(screen, stream, facts_width(width)).len(),
        Subject::Error(error) => details::error_preview(screen, error, facts_width(width)).len(),
        Subject::Line(line) => details::line_preview(screen, line, facts_width(width)).len(),
        Subject::Group(group, number, records) => {
            group_sheet(screen, (*group, *number, *records), facts_width(width)).len()
        }
    }
}

fn draw_facts(pen: &mut Pen, screen: &RunFrame, subject: &Subject) {
    let width = pen.width().saturating_sub(3);
    match subject {
        Subject::Stream(_, stream) => {
            details::stream_preview(screen, stream, width)
                .draw_lines(pen, |pen, row, picture: &Picture| details::draw(pen, row, picture, stream, screen));
        }
        Subject::Error(error) => {
            details::error_preview(screen, error, width).draw_lines(pen, |_, _, never| match *never {});
        }
        Subject::Line(line) => {
            details::line_preview(screen, line, width).draw_lines(pen, |_, _, never| match *never {});
        }
        Subject::Group(group, number, records) => {
            group_sheet(screen, (*group, *number, *records), width).draw_lines(pen, |_, _, never| match *never {});
        }
    }
}

/// Returns number, records and names of a group's streams.
fn group_sheet<'a>(
    screen: &RunFrame<'_, 'a>,
    (group, number, records): (StreamGroup, usize, Option<u64>),
    width: u16,
) -> Sheet<'a> {
    let look = screen.model.input.look;
    let mut sheet: Sheet = Sheet::with_width(look, width);
    sheet.fact("streams", count(number as u64), look.plain());
    sheet.fact("records", records.map_or_else(|| look.glyphs.dash.to_owned(), count), look.strong());
    let streams = screen.rows.of_group(group, screen.progress);
    let names: Vec<_> = streams.take(NAMES).map(|stream| stream.label.as_ref()).collect();
    let more = number.saturating_sub(names.len());
    let more = if more > 0 { format!(" and {} more", count(more as u64)) } else { String::new() };
    sheet.fact("names", format!("{}{more}", names.join(", ")), look.plain());
    sheet
}
