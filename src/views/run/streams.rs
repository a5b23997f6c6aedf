//! Stream list: trouble, progress and coverage.

use crate::views::hits::{ClickTarget, Hits};
use crate::views::run::columns::Columns;
use crate::views::run::rows::{Row, Rows, failure_message, group_of, rows};
use crate::views::run::state::{Column, Pane, Screen};
use crate::views::run::stream_group::StreamGroup;
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::text;
use ratatui::layout::Rect;
use ratatui::style::Style;
use synctop_core::format::{age, clock, count, percent, rate};
use synctop_core::protocol::error_text::core;
use synctop_core::protocol::{Millis, Status};
use synctop_core::reduce::{ONE_MINUTE, Stream, TEN_SECONDS, stall_verdict, waiting};

/// Width below which the cause of an error is drawn below its row instead of in it.
const NARROW: u16 = 60;

pub fn draw(pen: &mut Pen, screen: &Screen, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    let list = ui.list(Pane::Streams);
    let all = rows(screen);
    let focused = ui.focus == Pane::Streams;
    let columns = Columns::new(screen, pen.width());
    let page = usize::from(pen.height().saturating_sub(2));
    let place = all.place(screen, list.chosen.as_ref());
    let top = scroll_top(list.top, place, page, all.rows.len());
    let last = (top + page).min(all.rows.len());
    let mut about = count(screen.progress.streams.len() as u64);
    if list.filter.active() {
        about = format!("{} of {about}, /{}/", count(all.kept as u64), list.filter.text);
    } else if ui.sort == Column::Name && !ui.reversed {
        about.push_str(&format!(" {} trouble first", look.glyphs.dot));
    } else {
        let arrow = if ui.reversed { look.glyphs.up } else { look.glyphs.down };
        about.push_str(&format!(" {} by {} {arrow}", look.glyphs.dot, ui.sort.as_str()));
    }
    let right = if all.rows.is_empty() { String::new() } else { format!("{}-{last}/{}", top + 1, all.rows.len()) };
    pen.rule(0, focused, "streams", &about, &right);
    column_headings(pen, 1, &columns, screen, hits);
    if all.rows.is_empty() {
        let text = match (list.filter.active(), screen.running()) {
            (true, _) => "no stream matches; Esc drops the filter",
            (false, true) => "no streams yet",
            (false, false) => "no streams",
        };
        pen.put(3, 2, text, look.dim());
    }
    for (index, row) in all.rows.iter().enumerate().skip(top).take(page) {
        let line = u16::try_from(index - top).unwrap_or(u16::MAX).saturating_add(2);
        match row {
            Row::Head(group) => group_row(pen, line, *group, &all, screen),
            Row::Stream(at, group) => {
                if let Some(stream) = screen.progress.streams.get(*at as usize) {
                    stream_row(pen, line, stream, *group, &columns, screen);
                }
            }
            Row::Note(at, group) => {
                if let Some(stream) = screen.progress.streams.get(*at as usize) {
                    note(pen, line, stream, *group, screen);
                }
            }
        }
        if index == place {
            pen.choose(line, focused);
        }
        if let Some(chosen) = all.chosen(screen, index) {
            hits.add(Rect { y: pen.area.y + line, height: 1, ..pen.area }, ClickTarget::Row(Pane::Streams, chosen));
        }
    }
    if let (Some(slot), Some(pages)) = (hits.tops.get_mut(0), hits.pages.get_mut(0)) {
        (*slot, *pages) = (Some(top), page);
    }
}

/// Returns the first visible row, such that the selected row `place` is visible and the page is as
/// full as possible. `top` is the previous first row.
pub(crate) fn scroll_top(top: usize, place: usize, page: usize, all: usize) -> usize {
    if page == 0 {
        return place;
    }
    top.min(place).max((place + 1).saturating_sub(page)).min(all.saturating_sub(page))
}

fn column_headings(pen: &mut Pen, row: u16, columns: &Columns, screen: &Screen, hits: &mut Hits) {
    let (look, ui) = (screen.look, screen.ui);
    let style = look.dim().patch(look.strong());
    let mut one = |pen: &mut Pen, column: Column, end: u16, word: &str, right: bool| {
        let style =
            if ui.sort == column && column != Column::Name { look.accent().patch(look.strong()) } else { style };
        let wide = u16::try_from(word.len()).unwrap_or(0);
        let begin = if right { end.saturating_sub(wide) } else { end };
        pen.put(begin, row, word, style);
        let place = Rect { x: pen.area.x + begin.min(pen.area.width), y: pen.area.y + row, width: wide, height: 1 };
        hits.add(place, ClickTarget::Column(column));
    };
    one(pen, Column::Name, 3, "STREAM", false);
    for (end, column, word) in [
        (columns.records, Column::Records, "RECORDS"),
        (columns.attempt, Column::Attempt, "+ATTEMPT"),
        (columns.rate, Column::Rate, "RATE"),
        (columns.checkpoint, Column::Checkpoint, "CKPT"),
    ] {
        if let Some(end) = end {
            one(pen, column, end, word, true);
        }
    }
    if let Some((begin, _)) = columns.bar {
        one(pen, Column::Coverage, begin, if columns.guessed { "ESTIMATED" } else { "RANGES" }, false);
    }
    if let Some(end) = columns.committed {
        pen.put_right(end, row, "COMMITTED", style);
    }
    if let Some((begin, width)) = columns.sparks {
        pen.put_right(begin + width, row, "2 MIN", style);
    }
    if let Some(end) = columns.checkpoints {
        pen.put_right(end, row, "CKPTS", style);
    }
}

pub(crate) fn mark(group: StreamGroup, screen: &Screen) -> (&'static str, Style) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    match group {
        StreamGroup::Errored => (glyphs.bad, look.bad()),
        StreamGroup::Stalled => (glyphs.warn, look.warn()),
        StreamGroup::Started => (glyphs.started, look.accent()),
        StreamGroup::Pending => (glyphs.pending, look.dim()),
        StreamGroup::Completed => (glyphs.good, look.good()),
        StreamGroup::Skipped => (glyphs.skipped, look.dim()),
    }
}

fn group_row(pen: &mut Pen, row: u16, group: StreamGroup, all: &Rows, screen: &Screen) {
    let look = screen.look;
    let (glyph, style) = mark(group, screen);
    pen.put(1, row, glyph, style.patch(look.strong()));
    let word = match group {
        StreamGroup::Started if !screen.running() => "NOT DONE",
        StreamGroup::Pending if !screen.running() => "NOT STARTED",
        group => group.as_str(),
    };
    let column = pen.put(3, row, word, style.patch(look.strong()));
    let (kept, of) = (all.kept_of.get(group as usize).copied().unwrap_or(0), all.count(group));
    let number = if kept < of { format!("{} of {}", count(kept as u64), count(of as u64)) } else { count(of as u64) };
    let column = pen.put(column + 1, row, &number, look.dim());
    if screen.ui.folded(group) && !screen.ui.list(Pane::Streams).filter.active() {
        let mut names = String::new();
        for at in screen.progress.name_order() {
            let Some(stream) = screen.progress.streams.get(*at as usize) else { continue };
            if group_of(stream, screen) != group {
                continue;
            }
            if names.len() > usize::from(pen.width()) {
                break;
            }
            names.push_str(if names.is_empty() { "" } else { ", " });
            names.push_str(&stream.label);
        }
        pen.put(column + 3, row, &names, look.dim());
    }
}

fn stream_row(pen: &mut Pen, row: u16, stream: &Stream, group: StreamGroup, columns: &Columns, screen: &Screen) {
    let look = screen.look;
    let now = screen.now.unwrap_or(0);
    let quiet = matches!(group, StreamGroup::Pending | StreamGroup::Skipped);
    let name_style = if quiet { look.dim() } else { look.plain() };
    let (glyph, mark_style) = mark(group, screen);
    pen.put(1, row, glyph, mark_style);
    let name = text::fit_middle(&stream.label, columns.name.into(), look.glyphs.ellipsis).into_owned();
    pen.put_in(3, row, columns.name, &name, name_style);
    let dash = look.glyphs.dash;
    if let Some(end) = columns.records {
        match stream.records.cumulative {
            Some(number) => pen.put_right(end, row, &count(number), if quiet { look.dim() } else { look.strong() }),
            None => pen.put_right(end, row, dash, look.dim()),
        };
    }
    if group == StreamGroup::Errored {
        return cause(pen, row, columns.text_column(), stream, screen);
    }
    if group == StreamGroup::Skipped
        && let Some(reason) = &stream.details.message
    {
        pen.put(columns.text_column(), row, reason, look.dim());
        return;
    }
    if screen.progress.only_in_earlier_run(stream) {
        pen.put(columns.text_column(), row, "of an earlier run", look.dim());
        return;
    }
    if let Some(end) = columns.committed {
        // Green once the destination has confirmed all records.
        let all = stream.details.committed.is_some() && stream.details.committed == stream.records.cumulative;
        match stream.details.committed {
            Some(number) => pen.put_right(end, row, &count(number), if all { look.good() } else { look.plain() }),
            None => pen.put_right(end, row, dash, look.dim()),
        };
    }
    if let Some(end) = columns.attempt {
        match stream.records.attempt.filter(|number| *number > 0) {
            Some(number) => pen.put_right(end, row, &format!("+{}", count(number)), look.good()),
            None => pen.put_right(end, row, dash, look.dim()),
        };
    }
    if stream.settling {
        let words = if screen.running() { "counts to come" } else { "its counts never came" };
        pen.put(columns.text_column(), row, words, look.dim());
        return;
    }
    let moving = matches!(group, StreamGroup::Started | StreamGroup::Stalled);
    if let Some(end) = columns.rate {
        // The rate of ten seconds; with rarer reports that of a minute, dimmed because it is older.
        let fresh = stream.rate.per_second(TEN_SECONDS, now);
        let value = fresh.or_else(|| stream.rate.per_second(ONE_MINUTE, now)).filter(|_| moving);
        let style = if moving && fresh.is_some() { look.plain() } else { look.dim() };
        pen.put_right(end, row, &value.map_or_else(|| dash.to_owned(), rate), style);
    }
    if let Some(end) = columns.checkpoint {
        let style = if group == StreamGroup::Stalled { look.warn().patch(look.strong()) } else { look.dim() };
        let text =
            stream.details.last_checkpoint_at.filter(|_| moving).map_or_else(|| dash.to_owned(), |at| age(now - at));
        pen.put_right(end, row, &text, style);
    }
    if let (Some((begin, width)), Some(end)) = (columns.bar, columns.percent) {
        coverage(pen, begin, row, width, stream, screen);
        let text = shown_share(stream, screen).map_or_else(|| dash.to_owned(), percent);
        pen.put_right(end, row, &text, if quiet { look.dim() } else { look.strong() });
    }
    if let Some(end) = columns.checkpoints {
        pen.put_right(end, row, &count(stream.details.checkpoints), look.dim());
    }
    if let Some((begin, width)) = columns.sparks
        && moving
    {
        let values = bucket_means(&stream.rate.history(usize::from(width) * 5, now), 5);
        let top = values.iter().flatten().copied().fold(0.0, f64::max);
        crate::views::widgets::bars::sparks(pen, begin, row, &values, top, look.accent());
    }
}

/// Returns the share to show: 1.0 for a completed stream without ranges left over, even if its last
/// run read only a part.
fn shown_share(stream: &Stream, screen: &Screen) -> Option<f64> {
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
pub(crate) fn coverage(pen: &mut Pen, begin: u16, row: u16, width: u16, stream: &Stream, screen: &Screen) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    let bounds =
        stream.details.total_range.and_then(|total| Some((total.gte?, total.lt?))).filter(|(gte, lt)| gte < lt);
    let Some((gte, lt)) = bounds else { return guess(pen, begin, row, width, stream, screen) };
    if width == 0 {
        return;
    }
    if stream.status == Status::Completed && !stream.has_ranges_left() {
        return pen.fill(begin, row, width, glyphs.bar, look.good());
    }
    let part = |cell: u16| gte + (lt - gte) / Millis::from(width.max(1)) * Millis::from(cell);
    let mut ranges = stream.details.ranges.list().iter().peekable();
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
    // The share determines the number of filled cells, and the ranges determine which: length and
    // gaps are both correct.
    let share = stream.coverage().unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
    let full = ((share * f64::from(width)).round() as usize)
        .clamp(usize::from(share > 0.0), usize::from(width.saturating_sub(1)));
    cells.sort_by_key(|(_, done)| std::cmp::Reverse(*done));
    for (cell, done) in cells.into_iter().take(full) {
        if done > 0 {
            pen.put_in(begin + cell, row, 1, glyphs.bar, look.good());
        }
    }
}

/// Draws the bar of an estimated share.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to width")]
fn guess(pen: &mut Pen, begin: u16, row: u16, width: u16, stream: &Stream, screen: &Screen) {
    let (look, glyphs) = (screen.look, screen.look.glyphs);
    let Some(share) = screen.progress.share(stream) else { return };
    pen.fill(begin, row, width, glyphs.track, look.dim());
    let most = if share < 1.0 { width.saturating_sub(1) } else { width };
    let full = ((share * f64::from(width)).round() as u16).clamp(u16::from(share > 0.0), most.max(1));
    pen.fill(begin, row, full.min(width), glyphs.bar, if share < 1.0 { look.accent() } else { look.good() });
}

/// Draws the error of a stream: `auth_error 08:31:07  The provided key lacks ...`.
fn cause(pen: &mut Pen, row: u16, begin: u16, stream: &Stream, screen: &Screen) {
    let look = screen.look;
    let group = stream.details.failed_group.and_then(|id| screen.progress.errors.get(id));
    let kind = match (group, &stream.details.message) {
        (Some(group), _) => group.kind(),
        // The stream did not fail itself: the end of the run stopped it.
        (None, Some(_)) if stream.details.failed_in.is_none() => "stopped",
        (None, _) => "error",
    };
    let column = pen.put(begin, row, kind, look.bad().patch(look.strong()));
    let at = group.and_then(|group| group.last_at);
    let column = match at {
        Some(at) => pen.put(column + 1, row, &clock(at, screen.now.or(screen.progress.last_at)), look.dim()),
        None => column,
    };
    if pen.width() >= NARROW {
        let message = failure_message(stream, screen.progress).unwrap_or_default();
        pen.put(column + 2, row, &core(message), look.plain());
    }
}

/// Draws the line below a stream: the cause of a stall or a wait, or the next step for an error.
fn note(pen: &mut Pen, row: u16, stream: &Stream, group: StreamGroup, screen: &Screen) {
    let look = screen.look;
    let (text, style) = match group {
        StreamGroup::Errored => {
            let Some(group) = stream.details.failed_group.and_then(|id| screen.progress.errors.get(id)) else { return };
            if pen.width() < NARROW {
                pen.put(4, row, &core(failure_message(stream, screen.progress).unwrap_or_default()), look.bad());
                return;
            }
            (format!("{} {}", look.glyphs.next, screen.remedy(group)), look.dim())
        }
        _ => (activity_text(stream, screen), look.warn()),
    };
    pen.put(5, row, &text, style);
}

/// Describes stall, rate limit and retries of a stream, such as `no checkpoint or record for 94s
/// (usual gap 2s); rate limited (429) x14, last 12s ago, retry 3 in 8s`.
pub(crate) fn activity_text(stream: &Stream, screen: &Screen) -> String {
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
