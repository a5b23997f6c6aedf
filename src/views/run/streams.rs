//! Stream list: trouble, progress and coverage.

use crate::views::run::columns::{StreamColumn, StreamColumns};
use crate::views::run::rows::{Row, failure_message, group_of};
use crate::views::run::state::{Column, Pane, RunFrame, RunHits, RunInput};
use crate::views::run::stream_group::StreamGroup;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::columns;
use crate::views::widgets::layout::{Need, sum_up_to};
use crate::views::widgets::list::{self, ListView};
use crate::views::widgets::text;
use ratatui::style::Style;
use synctop_core::format::{age, count, percent, rate};
use synctop_core::protocol::error_text::core;
use synctop_core::protocol::{Millis, Status};
use synctop_core::reduce::{ONE_MINUTE, Stream, TEN_SECONDS, stall_verdict, waiting};

/// Width below which the cause of an error is drawn below its row instead of in it.
const NARROW: u16 = 60;

/// Maximum lines of a cause or of a next step.
const MAX_LINES: usize = 3;

/// Returns the height that the pane needs: a few rows, and all rows. Above `most`, the height is not
/// exact.
pub(crate) fn need(screen: &RunFrame, width: u16, most: u16) -> Need {
    let rows = screen.rows.rows.len();
    let whole = if rows > usize::from(most) {
        u16::try_from(rows).unwrap_or(u16::MAX)
    } else {
        let columns = StreamColumns::new(screen, width);
        sum_up_to((0..rows).map(|index| height(index, screen, &columns, width)), most).max(1)
    };
    let whole = whole.saturating_add(2);
    Need { least: whole.min(8), whole }
}

/// Returns the lines of a row: those of its text, so that no cause and no next step is cut.
fn height(index: usize, screen: &RunFrame, columns: &StreamColumns, width: u16) -> u16 {
    let stream = |at: u32| screen.progress.streams.get(at as usize);
    let lines = match screen.rows.rows.get(index) {
        Some(Row::Stream(at, StreamGroup::Errored | StreamGroup::Skipped)) => {
            stream(*at).map_or(1, |stream| cause_lines(stream, screen, columns, width).len())
        }
        Some(Row::Note(at, group)) => stream(*at).map_or(1, |stream| note_lines(stream, *group, screen, width).len()),
        _ => 1,
    };
    u16::try_from(lines).unwrap_or(1).max(1)
}

pub(crate) fn draw(pen: &mut Pen, screen: &RunFrame, hits: &mut RunHits) {
    let (look, ui) = (screen.look, screen.ui);
    let list = ui.list(Pane::Streams);
    let all = &screen.rows;
    let mut about = count(screen.progress.streams.len() as u64);
    if list.filter.active() {
        about = format!("{} of {about}, /{}/", count(all.kept as u64), list.filter.text);
    } else if ui.sort == Column::Name && !ui.reversed {
        about.push_str(&format!(" {} trouble first", look.glyphs.dot));
    } else {
        let order = if ui.reversed { " reversed" } else { "" };
        about.push_str(&format!(" {} by {}{order}", look.glyphs.dot, ui.sort.as_str()));
    }
    let empty = match (list.filter.active(), screen.running()) {
        (true, _) => "no stream matches; Esc clears the filter",
        (false, true) => "no streams yet",
        (false, false) => "no streams",
    };
    let view = ListView { pane: Pane::Streams, title: "streams", about: &about, empty, headings: 1 };
    let columns = StreamColumns::new(screen, pen.width());
    columns::headings(pen, 1, &columns.specs, &columns.slots, *screen, hits);
    let width = pen.width();
    list::draw(
        pen,
        *screen,
        &view,
        hits,
        |index| height(index, screen, &columns, width),
        |pen, index| {
            let stream = |at: u32| screen.progress.streams.get(at as usize);
            match all.rows.get(index) {
                Some(Row::Head(group)) => group_row(pen, *group, screen),
                Some(Row::Stream(at, group)) => {
                    if let Some(stream) = stream(*at) {
                        stream_row(pen, stream, *group, &columns, screen);
                    }
                }
                Some(Row::Note(at, group)) => {
                    if let Some(stream) = stream(*at) {
                        note(pen, stream, *group, &columns, screen);
                    }
                }
                None => {}
            }
        },
    );
}

pub(crate) fn mark(group: StreamGroup, screen: &RunInput) -> (&'static str, Style) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match group {
        StreamGroup::Errored => (glyphs.bad, look.bad()),
        StreamGroup::Stalled => (glyphs.warn, look.warn()),
        StreamGroup::Started if !screen.running() => (glyphs.warn, look.warn()),
        StreamGroup::Started => (glyphs.started, look.accent()),
        StreamGroup::Pending => (glyphs.pending, look.dim()),
        StreamGroup::Completed => (glyphs.good, look.good()),
        StreamGroup::Skipped => (glyphs.skipped, look.dim()),
    }
}

fn group_row(pen: &mut Pen, group: StreamGroup, screen: &RunFrame) {
    let look = screen.look;
    let (glyph, style) = mark(group, screen);
    pen.put(1, 0, glyph, style.patch(look.strong()));
    let column = pen.put(3, 0, group.title(screen.running()), style.patch(look.strong()));
    let rows = &screen.rows;
    let (kept, of) = (rows.kept_of.get(group as usize).copied().unwrap_or(0), rows.count(group));
    let number = if kept < of { format!("{} of {}", count(kept as u64), count(of as u64)) } else { count(of as u64) };
    let column = pen.put(column + 1, 0, &number, look.dim());
    if screen.ui.folded(group) && !screen.ui.list(Pane::Streams).filter.active() {
        let mut names = String::new();
        for stream in rows.of_group(group, screen.progress) {
            if names.len() > usize::from(pen.width()) {
                break;
            }
            names.push_str(if names.is_empty() { "" } else { ", " });
            names.push_str(&stream.label);
        }
        pen.put(column + 3, 0, &names, look.dim());
    }
}

fn stream_row(pen: &mut Pen, stream: &Stream, group: StreamGroup, columns: &StreamColumns, screen: &RunFrame) {
    let look = screen.look;
    let now = screen.now.unwrap_or(0);
    let quiet = matches!(group, StreamGroup::Pending | StreamGroup::Skipped);
    let (plain, strong) = if quiet { (look.dim(), look.dim()) } else { (look.plain(), look.strong()) };
    let (glyph, mark_style) = mark(group, screen);
    pen.put(1, 0, glyph, mark_style);
    let ids = columns.get(StreamColumn::Name).unwrap_or_default();
    let name = text::fit_middle(&stream.label, ids.width.into(), look.glyphs.ellipsis).into_owned();
    pen.put_in(ids.start, 0, ids.width, &name, plain);
    let dash = look.glyphs.dash;
    let number = |pen: &mut Pen, column: StreamColumn, text: Option<String>, style: Style| {
        if let Some(slot) = columns.get(column) {
            let (text, style) = text.map_or((dash.to_owned(), look.dim()), |text| (text, style));
            pen.put_right(slot.end(), 0, &text, style);
        }
    };
    number(pen, StreamColumn::Records, stream.records.cumulative.get().map(count), strong);
    let instead = match group {
        StreamGroup::Errored => return cause(pen, stream, columns, screen),
        StreamGroup::Skipped if stream.details.message.is_some() && columns.width >= NARROW => {
            return draw_message(pen, stream, columns, columns.text_start(), screen, look.dim());
        }
        StreamGroup::Skipped => stream.details.message.as_deref(),
        _ if screen.progress.only_in_earlier_run(stream) => Some("of an earlier run"),
        _ => None,
    };
    if let Some(text) = instead {
        pen.put(columns.text_start(), 0, text, look.dim());
        return;
    }
    // Green once the destination has confirmed all records.
    let all =
        stream.details.committed.get().is_some() && stream.details.committed.get() == stream.records.cumulative.get();
    let committed = if all { look.good() } else { look.plain() };
    number(pen, StreamColumn::Committed, stream.details.committed.get().map(count), committed);
    let attempt = stream.records.attempt.get().filter(|number| *number > 0).map(|number| format!("+{}", count(number)));
    number(pen, StreamColumn::Attempt, attempt, look.good());
    if stream.settling {
        let words = if screen.running() { "final counts pending" } else { "no final counts" };
        pen.put(columns.text_start(), 0, words, look.dim());
        return;
    }
    let moving = matches!(group, StreamGroup::Started | StreamGroup::Stalled);
    // The rate of ten seconds; with rarer reports that of a minute, dimmed because it is older.
    let fresh = stream.rate.per_second(TEN_SECONDS, now);
    let value = fresh.or_else(|| stream.rate.per_second(ONE_MINUTE, now)).filter(|_| moving);
    let style = if moving && fresh.is_some() { look.plain() } else { look.dim() };
    number(pen, StreamColumn::Rate, value.map(rate), style);
    let style = if group == StreamGroup::Stalled { look.warn().patch(look.strong()) } else { look.dim() };
    let checkpoint = stream.details.last_checkpoint_at.get().filter(|_| moving).map(|at| age(now - at));
    number(pen, StreamColumn::Checkpoint, checkpoint, style);
    number(pen, StreamColumn::Checkpoints, Some(count(stream.details.checkpoints)), look.dim());
    number(pen, StreamColumn::Percent, shown_share(stream, screen).map(percent), strong);
    if let Some(slot) = columns.get(StreamColumn::Ranges) {
        coverage(pen, slot.start, 0, slot.width, stream, screen);
    }
    if let Some(slot) = columns.get(StreamColumn::Trend)
        && moving
    {
        let each = synctop_core::reduce::BUCKETS / usize::from(slot.width.max(1));
        let values = bucket_means(&stream.rate.history(usize::from(slot.width) * each, now), each);
        let top = values.iter().flatten().copied().fold(0.0, f64::max);
        crate::views::widgets::bars::sparks(pen, slot.start, 0, &values, top, look.accent());
    }
}

/// Returns the share to show: 1.0 for a completed stream without ranges left over, even if its last
/// run read only a part.
fn shown_share(stream: &Stream, screen: &RunInput) -> Option<f64> {
    match screen.progress.share(stream) {
        Some(_) if stream.status == Status::Completed && !stream.has_ranges_left() => Some(1.0),
        share => share,
    }
}

/// Returns the means of each `each` neighboring values; unknown values are ignored.
fn bucket_means(values: &[Option<f64>], each: usize) -> Vec<Option<f64>> {
    values
        .chunks(each.max(1))
        .map(|part| {
            let known: Vec<f64> = part.iter().flatten().copied().collect();
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
            (!known.is_empty()).then_some(mean)
        })
        .collect()
}

/// Draws the bar of a stream: each cell is a part of its total range, filled if that part is
/// completed.
pub(crate) fn coverage(pen: &mut Pen, begin: u16, row: u16, width: u16, stream: &Stream, screen: &RunInput) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    let bounds =
        stream.details.covered.total.and_then(|total| Some((total.gte?, total.lt?))).filter(|(gte, lt)| gte < lt);
    let Some((gte, lt)) = bounds else { return guess(pen, begin, row, width, stream, screen) };
    if width == 0 {
        return;
    }
    if stream.status == Status::Completed && !stream.has_ranges_left() {
        return pen.fill(begin, row, width, glyphs.bar, look.good());
    }
    let part = |cell: u16| gte + (lt - gte) / Millis::from(width.max(1)) * Millis::from(cell);
    let mut ranges = stream.details.covered.completed.list().iter().peekable();
    let mut cells: Vec<(u16, Millis)> = Vec::with_capacity(width.into());
    for cell in 0..width {
        let (from, to) = (part(cell), if cell + 1 == width { lt } else { part(cell + 1) });
        while ranges.next_if(|range| range.lt.is_some_and(|end| end <= from)).is_some() {}
        let mut done = 0;
        for range in ranges.clone().take_while(|range| range.gte.is_none_or(|gte| gte < to)) {
            done += (range.lt.unwrap_or(to).min(to) - range.gte.unwrap_or(from).max(from)).max(0);
        }
        cells.push((cell, done));
    }
    pen.fill(begin, row, width, glyphs.track, look.dim());
    let style = part_style(stream, screen);
    // The share determines the number of filled cells, and the ranges determine which: length and
    // gaps are both correct.
    let share = stream.coverage().unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
    let full = ((share * f64::from(width)).round() as usize)
        .clamp(usize::from(share > 0.0), usize::from(width.saturating_sub(1)));
    cells.sort_by_key(|(_, done)| std::cmp::Reverse(*done));
    for (cell, done) in cells.into_iter().take(full) {
        if done > 0 {
            pen.put_in(begin + cell, row, 1, glyphs.bar, style);
        }
    }
}

/// Returns the style of the completed part of a stream that is not complete. Only a
/// complete one is in the color of success.
fn part_style(stream: &Stream, screen: &RunInput) -> Style {
    let look = screen.look;
    match group_of(stream, screen) {
        StreamGroup::Errored => look.bad(),
        StreamGroup::Stalled => look.warn(),
        StreamGroup::Started if !screen.running() => look.warn(),
        StreamGroup::Started => look.accent(),
        StreamGroup::Pending | StreamGroup::Completed | StreamGroup::Skipped => look.plain(),
    }
}

/// Draws the bar of an estimated share.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
fn guess(pen: &mut Pen, begin: u16, row: u16, width: u16, stream: &Stream, screen: &RunInput) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    let Some(share) = screen.progress.share(stream) else { return };
    pen.fill(begin, row, width, glyphs.track, look.dim());
    let most = if share < 1.0 { width.saturating_sub(1) } else { width };
    let full = ((share * f64::from(width)).round() as u16).clamp(u16::from(share > 0.0), most.max(1));
    pen.fill(
        begin,
        row,
        full.min(width),
        glyphs.bar,
        if share < 1.0 { part_style(stream, screen) } else { look.good() },
    );
}

/// First column of the text below a stream.
const NOTE_START: u16 = 5;

/// Returns the lines of a stream's message: the first one beside kind and time.
fn cause_lines(stream: &Stream, screen: &RunFrame, columns: &StreamColumns, width: u16) -> Vec<String> {
    if width < NARROW {
        return Vec::new();
    }
    let head = match group_of(stream, screen) {
        StreamGroup::Errored => cause_head(stream, screen).iter().map(|(part, _)| part.len() + 1).sum::<usize>() + 1,
        _ => 0,
    };
    let room = usize::from(width.saturating_sub(columns.text_start() + 2));
    let message = core(failure_message(stream, screen.progress).unwrap_or_default());
    // Further lines have the whole width, and begin where notes do.
    let below = usize::from(width.saturating_sub(NOTE_START + 2));
    let mut lines = text::wrap_hanging(&message, room.saturating_sub(head), below);
    join_rest(&mut lines);
    lines
}

/// Joins the lines beyond the maximum: the last one is cut.
fn join_rest(lines: &mut Vec<String>) {
    if lines.len() > MAX_LINES {
        let rest = lines.split_off(MAX_LINES - 1).join(" ");
        lines.push(rest);
    }
}

/// Draws the error of a stream: `auth_error 2m  The provided key lacks ...`, over several lines if
/// needed.
fn cause(pen: &mut Pen, stream: &Stream, columns: &StreamColumns, screen: &RunFrame) {
    let look = screen.look;
    let mut column = columns.text_start();
    for (part, style) in cause_head(stream, screen) {
        column = pen.put(column, 0, &part, style) + 1;
    }
    draw_message(pen, stream, columns, column + 1, screen, look.plain());
}

/// Draws the message of a stream from a column of its row on, and below it.
fn draw_message(pen: &mut Pen, stream: &Stream, columns: &StreamColumns, column: u16, screen: &RunFrame, style: Style) {
    let lines = cause_lines(stream, screen, columns, columns.width);
    for (row, line) in (0..pen.height()).zip(&lines) {
        pen.put(if row == 0 { column } else { NOTE_START }, row, line, style);
    }
}

/// Returns kind and time of a stream's error. An unreported kind says nothing.
fn cause_head(stream: &Stream, screen: &RunFrame) -> Vec<(String, Style)> {
    let look = screen.look;
    let kind = Some(failure_kind(stream, screen)).filter(|kind| *kind != "error");
    let kind = kind.map(|kind| (kind.to_owned(), look.bad().patch(look.strong())));
    kind.into_iter().chain(failed_at(stream, screen).map(|when| (when, look.dim()))).collect()
}

/// Returns the kind of a stream's failure.
pub(crate) fn failure_kind<'s>(stream: &Stream, screen: &RunInput<'s>) -> &'s str {
    let group = stream.details.failed_group.and_then(|id| screen.progress.errors.get(id));
    match (group, &stream.details.message) {
        (Some(group), _) => group.kind(),
        // The stream did not fail itself: the end of the run stopped it.
        (None, Some(_)) if stream.details.failed_in.is_none() => "stopped",
        (None, _) => "error",
    }
}

/// Returns the time of a stream's failure: its age while the run continues, else the time of day.
fn failed_at(stream: &Stream, screen: &RunInput) -> Option<String> {
    let at = stream.details.failed_group.and_then(|id| screen.progress.errors.get(id))?.last_at?;
    Some(match screen.stall_clock() {
        Some(now) => age((now - at).max(0)),
        None => synctop_core::format::clock(at, screen.now.or(screen.progress.last_at)),
    })
}

/// Returns the lines below a stream: the cause of a stall or a wait, or the next step for an error.
fn note_lines(stream: &Stream, group: StreamGroup, screen: &RunFrame, width: u16) -> Vec<String> {
    let error = stream.details.failed_group.and_then(|id| screen.progress.errors.get(id));
    let text = match (group, error) {
        (StreamGroup::Errored, None) => return Vec::new(),
        (StreamGroup::Errored, Some(_)) if width < NARROW => {
            core(failure_message(stream, screen.progress).unwrap_or_default())
        }
        (StreamGroup::Errored, Some(error)) => format!("{} {}", screen.look.glyphs.next, screen.remedy(error)),
        _ => activity_text(stream, screen),
    };
    let mut lines = text::wrap(&text, width.saturating_sub(NOTE_START + 2).max(8).into());
    join_rest(&mut lines);
    lines
}

/// Draws the lines below a stream.
fn note(pen: &mut Pen, stream: &Stream, group: StreamGroup, columns: &StreamColumns, screen: &RunFrame) {
    let look = screen.look;
    let style = match group {
        StreamGroup::Errored if columns.width < NARROW => look.bad(),
        StreamGroup::Errored => look.accent(),
        _ => look.warn(),
    };
    for (row, line) in (0..pen.height()).zip(note_lines(stream, group, screen, columns.width)) {
        pen.put(NOTE_START, row, &line, style);
    }
}

/// Describes stall, rate limit and retries of a stream, such as `no checkpoint or record for 94s
/// (usual gap 2s); rate limited (429) x14, last 12s ago, retry 3 in 8s`.
pub(crate) fn activity_text(stream: &Stream, screen: &RunInput) -> String {
    let now = screen.now.unwrap_or(0);
    let mut parts = Vec::new();
    if let Some(stall) = stall_verdict(stream, now) {
        let usual =
            stall.usual_ms.map(|gap| format!(" (usual gap {})", synctop_core::format::span(gap))).unwrap_or_default();
        parts.push(format!("no checkpoint or record for {}{usual}", age(stall.silent_ms)));
    }
    if let Some(limited) = &stream.details.limited
        && let Some(wait) = waiting(stream, now)
    {
        let long = wait.for_ms.map(|ms| format!(" for {}", age(ms))).unwrap_or_default();
        let left = wait.left_ms.map(|left| format!(", until the quota is reset in {}", age(left.saturating_add(999))));
        let times =
            if limited.times > 1 { format!(" ({}{})", screen.look.glyphs.times, limited.times) } else { String::new() };
        parts.push(format!("RATE LIMITED{long}{times}{}", left.unwrap_or_default()));
    }
    if let Some(retry) = &stream.details.retry {
        let what = match retry.status {
            Some(429) => "rate limited (429)".to_owned(),
            Some(status) => format!("HTTP {status}"),
            None => "connection failed".to_owned(),
        };
        let times = screen.look.glyphs.times;
        let mut text = format!("{what} {times}{}, last {} ago", count(retry.count), age(now - retry.last_at));
        if let Some(left) = waiting(stream, now).and_then(|wait| wait.left_ms) {
            let of = retry.max.map(|max| format!(" of {max}")).unwrap_or_default();
            text.push_str(&format!(
                ", retry {}{of} in {}",
                retry.attempt,
                synctop_core::format::age(left.saturating_add(999))
            ));
        }
        parts.push(text);
    }
    parts.join("; ")
}
