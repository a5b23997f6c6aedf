//! Scrollable detail sheets of a stream, an error or a log line.

use crate::views::run::rows::{failure_message, group_of};
use crate::views::run::state::{RunFrame, RunHits};
use crate::views::run::stream_group::StreamGroup;
use crate::views::run::streams::{activity_text, coverage};
use crate::views::widgets::canvas::Pen;
use crate::views::widgets::sheet::Sheet;
use synctop_core::format::{age, clock, count, percent, rate};
use synctop_core::protocol::{Range, Status, time};
use synctop_core::reduce::{Assumed, ErrorGroup, FeedLine, ONE_MINUTE, Progress, SHORTEST_MS, Stream, TEN_SECONDS};

/// Maximum number of completed ranges listed.
const RANGES_LISTED: usize = 200;

/// Height of the chart of a stream's rate, in rows.
const CHART: u16 = 4;

/// Row of a sheet that is drawn as a graphic instead of text.
pub(crate) enum Picture {
    Coverage,
    /// One row of the rate chart, counted from its top.
    Chart(u16),
}

pub(crate) type StreamSheet<'a> = Sheet<'a, Picture>;

/// Draws one row of the rate chart. The first row has the scale after it, the last row the time
/// span.
fn chart(pen: &mut Pen, row: u16, level: u16, stream: &Stream, screen: &RunFrame) {
    let look = screen.look;
    let width = usize::from(pen.width().saturating_sub(16)).min(synctop_core::reduce::BUCKETS - 4);
    let values = stream.rate.history(width, screen.now.unwrap_or(0));
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return;
    }
    let floor = f64::from(CHART - 1 - level) / f64::from(CHART) * most;
    let part: Vec<_> =
        values.iter().map(|value| value.map(|value| value - floor).filter(|value| *value > 0.0)).collect();
    let capped: Vec<_> = part.iter().map(|value| value.map(|value| value.min(most / f64::from(CHART)))).collect();
    crate::views::widgets::bars::sparks(pen, 2, row, &capped, most / f64::from(CHART), look.accent());
    if level == 0 {
        pen.put(3 + u16::try_from(width).unwrap_or(0), row, &rate(most), look.dim());
    }
    if level == CHART - 1 {
        pen.put(3 + u16::try_from(width).unwrap_or(0), row, "2 min", look.dim());
    }
}

pub(crate) fn stream(pen: &mut Pen, screen: &RunFrame, key: &str, top: usize, hits: &mut RunHits) {
    let Some(stream) = screen.progress.stream(key) else {
        let mut sheet = Sheet::new(pen);
        sheet.text("This stream does not exist any more.", screen.look.dim());
        return sheet.draw(pen, ("stream", "Esc closes"), top, hits);
    };
    let mut sheet = Sheet::new(pen);
    cause(&mut sheet, screen, stream);
    facts(&mut sheet, screen, stream);
    if stream.rate.history(30, screen.now.unwrap_or(0)).iter().flatten().any(|rate| *rate > 0.0) {
        (0..CHART).for_each(|level| sheet.picture(Picture::Chart(level)));
    }
    stream_errors(&mut sheet, screen, stream);
    stream_doubts(&mut sheet, screen, stream);
    ranges(&mut sheet, stream);
    let title = synctop_core::protocol::clean::line(&stream.label).into_owned();
    sheet
        .draw_with(pen, (&title, "Esc closes"), top, hits, |pen, row, picture| draw(pen, row, picture, stream, screen));
}

/// Draws a row of a stream's sheet that is a graphic.
pub(crate) fn draw(pen: &mut Pen, row: u16, picture: &Picture, stream: &Stream, screen: &RunFrame) {
    match picture {
        Picture::Coverage => coverage(pen, 2, row, pen.width().saturating_sub(4), stream, screen),
        Picture::Chart(level) => chart(pen, row, *level, stream, screen),
    }
}

/// Adds status, cause and next step of a stream.
fn cause(sheet: &mut StreamSheet, screen: &RunFrame, stream: &Stream) {
    let look = screen.look;
    let now = screen.now.or(screen.progress.last_at);
    let group = group_of(stream, screen);
    let (glyph, style) = crate::views::run::streams::mark(group, screen);
    let since = stream.changed_at.get().map(|at| format!(" since {}", clock(at, now))).unwrap_or_default();
    let settling = if stream.settling { ", final counts pending" } else { "" };
    // An error that the engine overwrote with a completion still stands.
    let is_overwritten = group == StreamGroup::Errored && stream.status == Status::Completed;
    let status = if is_overwritten { "errored; the engine reports completed" } else { stream.status.as_str() };
    sheet.fact("status", format!("{glyph} {status}{since}{settling}"), style);
    if let Some(word) = &stream.details.odd_status {
        sheet.fact("", format!("unknown status of the engine: {word}"), look.warn());
    }
    let activity_text = activity_text(stream, screen);
    if !activity_text.is_empty() && screen.running() {
        sheet.fact("", activity_text, look.warn());
    }
    let message = failure_message(stream, screen.progress);
    if let Some(message) = message.filter(|_| stream.status != Status::Completed || is_overwritten) {
        let label = if group == StreamGroup::Errored { "cause" } else { "message" };
        sheet.fact(label, message, if group == StreamGroup::Errored { look.bad() } else { look.plain() });
    }
    let error = stream.details.failed_group.and_then(|id| screen.progress.errors.get(id));
    if let Some(error) = error.filter(|_| group == StreamGroup::Errored) {
        sheet.fact("next", screen.remedy(error), look.accent());
        let place = error.places.iter().rev().find(|place| place.stream.as_ref() == Some(&stream.label));
        if let Some(place) = place {
            let at = place.at.map(|at| format!("{}, ", clock(at, now))).unwrap_or_default();
            sheet.fact("failed at", format!("{at}line {}", count(place.line)), look.plain());
        }
    }
    if let Some(retry) = &stream.details.retry {
        let times = look.glyphs.times;
        let of = retry.max.map(|max| format!(" of {max}")).unwrap_or_default();
        let text =
            format!("{times}{}, last {} (retry {}{of})", count(retry.count), clock(retry.last_at, now), retry.attempt);
        let error = retry.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        sheet.fact("retries", format!("{text}{error}"), look.plain());
    }
}

/// Adds counts, checkpoints and rates of a stream.
fn facts(sheet: &mut StreamSheet, screen: &RunFrame, stream: &Stream) {
    let look = screen.look;
    let now = screen.now.or(screen.progress.last_at);
    let dash = look.glyphs.dash;
    let number = |value: Option<u64>| value.map_or_else(|| dash.to_owned(), count);
    let last = stream.details.last_checkpoint_at.get().map(|at| match screen.stall_clock() {
        Some(now) => format!(", last {} ago", age(now - at)),
        None => format!(", last {}", clock(at, now)),
    });
    let usual = stream.details.gaps.quantile(0.5).map(|gap| format!(", usual gap {}", synctop_core::format::span(gap)));
    let checkpoints =
        format!("{}{}{}", count(stream.details.checkpoints), last.unwrap_or_default(), usual.unwrap_or_default());
    sheet.fact("checkpoints", checkpoints, look.plain());
    sheet.fact("records", number(stream.records.cumulative.get()), look.strong());
    if screen.progress.attempts > 1 {
        sheet.fact("this attempt", format!("+{}", number(stream.records.attempt.get())), look.good());
    }
    let at = now.unwrap_or(0);
    let window = |ms| stream.rate.per_second(ms, at).map_or_else(|| dash.to_owned(), rate);
    let all = mean_rate(stream, screen.progress).map_or_else(|| dash.to_owned(), rate);
    let rates = format!("10s {}   1m {}   average {all}", window(TEN_SECONDS), window(ONE_MINUTE));
    sheet.fact("rate", rates, look.plain());
    if let Some(space) = &stream.namespace {
        sheet.fact("namespace", space, look.plain());
    }
    if stream.counted > 0 {
        sheet.fact("record lines", format!("{} counted in this attempt", count(stream.counted)), look.plain());
    }
    counts_beside(sheet, screen, stream);
    let changes =
        [("inserted", stream.details.inserted), ("updated", stream.details.updated), ("deleted", stream.deletions())];
    for (label, value) in changes.into_iter().filter(|(_, value)| value.is_some()) {
        sheet.fact(label, number(value), look.plain());
    }
    if let Some(rows) = stream.details.unwritten.filter(|rows| *rows > 0) {
        let text = format!("up to {} of its records since the last checkpoint", count(rows));
        sheet.fact("not written", text, look.warn());
    }
}

/// Returns the facts of a stream for the preview, the most important first.
pub(crate) fn stream_preview<'a>(screen: &RunFrame<'_, 'a>, stream: &Stream, width: u16) -> StreamSheet<'a> {
    let mut sheet = Sheet::with_width(screen.model.input.look, width);
    cause(&mut sheet, screen, stream);
    facts(&mut sheet, screen, stream);
    if let Some(total) = stream.details.covered.total {
        let share = stream.coverage().map(|share| format!("{} of ", percent(share))).unwrap_or_default();
        sheet.fact("ranges", format!("{share}{}", dates(total)), screen.look.plain());
        sheet.picture(Picture::Coverage);
    }
    sheet
}

/// Adds further counts of a stream: metrics, committed records, estimate, bytes, rate limits.
fn counts_beside(sheet: &mut StreamSheet, screen: &RunFrame, stream: &Stream) {
    let look = screen.look;
    if let Some(metered) = stream.details.metered {
        let agree = stream.counted == 0 || stream.hidden || metered == stream.counted;
        let words = if stream.hidden { ", in files" } else { "" };
        sheet.fact(
            "metrics",
            format!("{} reported{words}", count(metered)),
            if agree { look.plain() } else { look.doubt() },
        );
    }
    if let Some(committed) = stream.details.committed.get() {
        sheet.fact("committed", format!("{} confirmed by the destination", count(committed)), look.plain());
    }
    if let Some((rows, bytes)) = stream.details.estimate {
        let known = |number: Option<u64>| number.map_or_else(|| look.glyphs.dash.to_owned(), count);
        let share = screen.progress.share(stream).map(|share| format!(", {} read", percent(share))).unwrap_or_default();
        sheet.fact("estimate", format!("{} rows, {} bytes{share}", known(rows), known(bytes)), look.plain());
    }
    if let Some(measure) = stream.details.measure {
        sheet.fact("bytes", format!("{} in record lines", count(stream.bytes)), look.plain());
        sheet.fact("", format!("{} characters of record.data (Airbyte's own figure)", count(measure)), look.plain());
    }
    if stream.details.limits.0 > 0 {
        let long = synctop_core::format::span(i64::try_from(stream.details.limits.1).unwrap_or(i64::MAX));
        sheet.fact("rate limits", format!("{}, {long} in all", count(stream.details.limits.0)), look.plain());
    }
    if stream.assumed != Assumed::No {
        sheet.fact("", "assumed: no status reports its end", look.dim());
    }
}

/// Returns the mean records per second from the start of the run to its last message, or to the end
/// of the stream. Returns `None` for less than [`SHORTEST_MS`].
#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn mean_rate(stream: &Stream, progress: &Progress) -> Option<f64> {
    let last = progress.last_at?;
    // A log may start in the middle of a run, and the engine's elapsed time may exclude pauses
    // between attempts: the earlier start counts.
    let reported_start = last - i64::try_from(progress.run_elapsed()?).ok()?;
    let start = progress.first_at.map_or(reported_start, |first| first.min(reported_start));
    let until = if stream.status == Status::Started { last } else { stream.changed_at.get()? };
    let millis = until - start;
    (millis >= SHORTEST_MS).then_some(stream.records.cumulative.get()? as f64 * 1000.0 / millis as f64)
}

fn stream_errors(sheet: &mut StreamSheet, screen: &RunFrame, stream: &Stream) {
    let look = screen.look;
    let groups: Vec<_> =
        screen.progress.errors.groups().iter().filter(|group| group.hits.contains_key(&stream.label)).collect();
    if groups.is_empty() {
        return;
    }
    sheet.head("errors");
    for group in groups {
        let hit = group.hits.get(&stream.label);
        let cleared = if hit.is_some_and(|hit| hit.cleared) { " (cleared)" } else { "" };
        let kind = group.kind();
        let when = group.last_at.map(|at| clock(at, screen.now.or(screen.progress.last_at))).unwrap_or_default();
        let head = format!("{kind} {}{} {when}{cleared}", look.glyphs.times, count(hit.map_or(0, |hit| hit.count)));
        sheet.text(&head, look.bad());
        sheet.text(&group.message, look.plain());
        sheet.text(&format!("{} {}", look.glyphs.next, screen.remedy(group)), look.dim());
    }
}

fn stream_doubts(sheet: &mut StreamSheet, screen: &RunFrame, stream: &Stream) {
    let look = screen.look;
    let mut found =
        screen.model.assessment.doubts.iter().filter(|doubt| doubt.stream.as_ref() == Some(&stream.label)).peekable();
    if found.peek().is_some() {
        sheet.head("doubts");
    }
    for doubt in found {
        sheet.text(&format!("{} {}: {}", look.glyphs.doubt, doubt.kind, doubt.finding), look.doubt());
    }
}

fn ranges(sheet: &mut StreamSheet, stream: &Stream) {
    let look = sheet.look;
    let Some(total) = stream.details.covered.total else { return };
    sheet.head("ranges");
    sheet.fact("total", dates(total), look.plain());
    sheet.fact("completed", stream.coverage().map_or_else(|| look.glyphs.dash.to_owned(), percent), look.strong());
    sheet.picture(Picture::Coverage);
    let list = stream.details.covered.completed.list();
    for range in list.iter().take(RANGES_LISTED) {
        sheet.parts(vec![(format!("{} ", look.glyphs.good), look.good()), (dates(*range), look.plain())]);
    }
    if list.len() > RANGES_LISTED {
        sheet.text(&format!("{} of {} completed ranges", RANGES_LISTED, count(list.len() as u64)), look.dim());
    }
}

fn dates(range: Range) -> String {
    let one =
        |at: Option<i64>, open: &str| at.map_or_else(|| open.to_owned(), |at| time::stamp(at, "%Y-%m-%d %H:%M:%S"));
    format!("{} to {}", one(range.gte, "the start"), one(range.lt, "the end"))
}

pub(crate) fn error(pen: &mut Pen, screen: &RunFrame, id: u64, top: usize, hits: &mut RunHits) {
    let Some(group) = screen.progress.errors.get(id) else {
        let mut sheet: Sheet = Sheet::new(pen);
        sheet.text("This error is not kept any more.", screen.look.dim());
        return sheet.draw(pen, ("error", "Esc closes"), top, hits);
    };
    let width = pen.width().saturating_sub(4);
    let title = group.kind().to_owned();
    error_preview(screen, group, width).draw(pen, (&title, "Esc closes"), top, hits);
}

/// Returns the facts of an error, the most important first.
pub(crate) fn error_preview<'a>(screen: &RunFrame<'_, 'a>, group: &ErrorGroup, width: u16) -> Sheet<'a> {
    let look = screen.look;
    let mut sheet = Sheet::with_width(screen.model.input.look, width);
    let now = screen.now.or(screen.progress.last_at);
    sheet.text(&group.message, look.strong());
    sheet.text(&format!("{} {}", look.glyphs.next, screen.remedy(group)), look.accent());
    sheet.gap();
    error_facts(&mut sheet, group, now);
    sheet.head("where it occurred");
    for place in group.places.iter().rev() {
        let at = place.at.map(|at| clock(at, now)).unwrap_or_default();
        let stream = place.stream.as_deref().unwrap_or("the whole run");
        sheet.text(&format!("line {}  {at}  attempt {}  {stream}", count(place.line), place.attempt), look.plain());
    }
    if (group.places.len() as u64) < group.count {
        sheet.text(&format!("the last {} of {}", group.places.len(), count(group.count)), look.dim());
    }
    for (label, text) in [("stack", &group.stack), ("raw line", &group.raw)] {
        if let Some(text) = text {
            sheet.head(label);
            sheet.text(text, look.dim());
        }
    }
    sheet
}

fn error_facts(sheet: &mut Sheet, group: &ErrorGroup, now: Option<i64>) {
    let look = sheet.look;
    let stands = match (group.cleared(), group.is_final) {
        (true, _) => "cleared: the stream continued without it",
        (false, true) if group.streams().count() > 0 => "final: its streams ended with it",
        (false, true) => "final: the run ended with it",
        (false, false) => "not final",
    };
    sheet.fact("scope", group.level.as_str(), look.plain());
    sheet.fact("standing", stands, if group.cleared() { look.good() } else { look.bad() });
    sheet.fact("count", count(group.count), look.strong());
    let streams: Vec<_> = group.streams().map(AsRef::as_ref).collect();
    let streams = if streams.is_empty() { "the whole run".to_owned() } else { streams.join(", ") };
    sheet.fact("streams", streams, look.plain());
    let time = |at: Option<i64>| at.map_or_else(|| look.glyphs.dash.to_owned(), |at| clock(at, now));
    if group.count > 1 {
        sheet.fact("first, last", format!("{}, {}", time(group.first_at), time(group.last_at)), look.plain());
    } else {
        sheet.fact("at", time(group.last_at), look.plain());
    }
    sheet.fact("fingerprint", format!("{:016x}", group.fingerprint), look.dim());
    if group.from_log {
        sheet.fact("", "no error was reported: this is the last log line of level error", look.warn());
    }
}

pub(crate) fn line(pen: &mut Pen, screen: &RunFrame, number: u64, top: usize, hits: &mut RunHits) {
    let feed = &screen.progress.feed;
    let first = feed.total - feed.lines().len() as u64;
    let found = number.checked_sub(first).and_then(|at| feed.lines().get(usize::try_from(at).ok()?));
    let Some(line) = found else {
        let mut sheet: Sheet = Sheet::new(pen);
        sheet.text("This line is not kept any more.", screen.look.dim());
        return sheet.draw(pen, ("log line", "Esc closes"), top, hits);
    };
    line_preview(screen, line, pen.width().saturating_sub(4)).draw(pen, ("log line", "Esc closes"), top, hits);
}

/// Returns the facts of a log line.
pub(crate) fn line_preview<'a>(screen: &RunFrame<'_, 'a>, line: &FeedLine, width: u16) -> Sheet<'a> {
    let look = screen.look;
    let mut sheet = Sheet::with_width(screen.model.input.look, width);
    let at = line.at.map_or_else(|| look.glyphs.dash.to_owned(), time::iso);
    sheet.fact("time", at, look.plain());
    sheet.fact("level", line.level.as_str(), crate::views::run::log::level_style(line.level, screen));
    sheet.fact("input line", count(line.line), look.plain());
    for (label, text) in [("from", &line.from), ("stream", &line.stream)] {
        if let Some(text) = text {
            sheet.fact(label, text, look.plain());
        }
    }
    if line.times > 1 {
        sheet.fact(
            "in a row",
            format!("{} lines that differ in numbers and ids only; this is the last", count(line.times)),
            look.plain(),
        );
    }
    sheet.head("text");
    sheet.text(&line.text, look.plain());
    sheet
}
