//! Lead-up of an error as rows: each with its instant, so that a screen can jump there.

use crate::format::{age, clock, count, known, rate};
use crate::protocol::{Millis, clean};
use crate::reduce::lead_up::{HalfRecords, LeadEvent, LeadEventKind, LeadUp, LogInstant, RetryEvent, StreamLeadUp};

/// Maximum number of other streams with a row of their own.
const MAX_STREAMS: usize = 20;

/// Maximum time between two status changes in one row, in milliseconds.
const TOGETHER_MS: Millis = 1_000;

/// Importance of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowTone {
    /// Heading of the rows below.
    Heading,
    /// Fact without a judgment.
    Plain,
    /// Something that may have led to the error.
    Warning,
    /// Error.
    Bad,
}

/// Row of a lead-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadRow {
    /// Instant that the row is about; `None` for a heading or a fact about the whole window.
    pub instant: Option<LogInstant>,
    /// Text without the instant.
    pub text: String,
    /// Importance.
    pub tone: RowTone,
}

impl LeadRow {
    fn new(instant: Option<LogInstant>, text: impl Into<String>, tone: RowTone) -> Self {
        Self { instant, text: text.into(), tone }
    }

    /// Returns the time of the row before the error, such as `-32.5s`, its time of day and its
    /// line, each padded to its column.
    #[must_use]
    pub fn place(&self, end: LogInstant) -> String {
        let Some(instant) = self.instant else { return String::new() };
        let before = instant.at.zip(end.at).map(|(at, end)| before_text(end - at)).unwrap_or_default();
        let at = instant.at.map(|at| clock(at, end.at)).unwrap_or_default();
        let line = instant.line.map(|line| format!("line {}", count(line))).unwrap_or_default();
        format!("{before:>7} {at:>8} {line:<12}")
    }
}

/// Formats the time before an error: `-0.7s`, `-32.5s`, `-2m`.
fn before_text(ms: Millis) -> String {
    match ms {
        ..=0 => "0s".to_owned(),
        1..100_000 => format!("-{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => format!("-{}", age(ms)),
    }
}

/// Returns the rows of a lead-up: the stream of the error, the other streams, the events.
#[must_use]
pub fn rows(lead_up: &LeadUp) -> Vec<LeadRow> {
    let mut rows = Vec::new();
    let is_subject = |stream: &StreamLeadUp| lead_up.stream.as_ref() == Some(&stream.stream);
    if let Some(stream) = lead_up.streams.iter().find(|stream| is_subject(stream)) {
        rows.push(LeadRow::new(None, clean::line(&stream.stream).into_owned(), RowTone::Heading));
        let mut own = Vec::new();
        subject_rows(stream, lead_up, &mut own);
        // In the order of time; the error is the last of its instant.
        own.sort_by_key(|row| row.instant.map(|instant| (instant.at, instant.line)));
        rows.extend(own);
    } else if let Some(error) = error_row(lead_up) {
        rows.push(LeadRow::new(None, "the whole run", RowTone::Heading));
        rows.push(error);
    }
    let others: Vec<_> = lead_up.streams.iter().filter(|stream| !is_subject(stream)).collect();
    if !others.is_empty() {
        let title = if others.len() < lead_up.streams.len() { "other streams" } else { "streams" };
        rows.push(LeadRow::new(None, format!("{title} {}", count(others.len() as u64)), RowTone::Heading));
        rows.extend(others.iter().take(MAX_STREAMS).map(|stream| other_row(stream)));
        if others.len() > MAX_STREAMS {
            let more = count((others.len() - MAX_STREAMS) as u64);
            rows.push(LeadRow::new(None, format!("and {more} more"), RowTone::Plain));
        }
    }
    if !lead_up.events.is_empty() {
        let beyond = match lead_up.events_beyond {
            0 => String::new(),
            beyond => format!(", {} earlier ones are left out", count(beyond)),
        };
        rows.push(LeadRow::new(
            None,
            format!("events {}{beyond}", count(lead_up.events.len() as u64)),
            RowTone::Heading,
        ));
        let is_near = |a: &LeadEvent, b: &LeadEvent| match (a.instant.at, b.instant.at) {
            (Some(a), Some(b)) => (b - a).abs() < TOGETHER_MS,
            (a, b) => a == b,
        };
        let is_same = |a: &LeadEvent, b: &LeadEvent| {
            matches!(a.kind, LeadEventKind::Status { .. }) && a.kind == b.kind && is_near(a, b)
        };
        rows.extend(lead_up.events.chunk_by(is_same).filter_map(event_row));
    }
    if rows.is_empty() {
        rows.push(LeadRow::new(None, "nothing happened in these 60 seconds", RowTone::Plain));
    }
    rows
}

fn retry_text(retry: &RetryEvent) -> String {
    let cause = retry.status.map_or_else(|| "connection failed".to_owned(), |status| format!("HTTP {status}"));
    let of = retry.max.map(|max| format!(" of {max}")).unwrap_or_default();
    format!("{cause}, retry {}{of}", retry.attempt)
}

fn retries_text(stream: &StreamLeadUp) -> String {
    let limited = match stream.retries_429 {
        0 => String::new(),
        limited if limited == stream.retries => ", all HTTP 429".to_owned(),
        limited => format!(", {} of them HTTP 429", count(limited)),
    };
    let noun = if stream.retries == 1 { "retry" } else { "retries" };
    format!("{} {noun}{limited}", count(stream.retries))
}

/// Rows of the stream of the error: retries, checkpoint, records.
fn subject_rows(stream: &StreamLeadUp, lead_up: &LeadUp, rows: &mut Vec<LeadRow>) {
    if let Some(first) = &stream.first_retry {
        rows.push(LeadRow::new(Some(first.instant), format!("first retry: {}", retry_text(first)), RowTone::Warning));
    }
    if let Some(last) = stream.last_retry.filter(|_| stream.retries > 1) {
        let by_part =
            lead_up.covered_ms.map(|covered| format!("; per 10 s: {}", parts_text(&stream.retries_by_part, covered)));
        let by_part = by_part.unwrap_or_default();
        let text = format!("{}; last: {}{by_part}", retries_text(stream), retry_text(&last));
        rows.push(LeadRow::new(Some(last.instant), text, RowTone::Warning));
    }
    if stream.rate_limits > 0 {
        let text = format!("{} announced by the source", plural_limits(stream.rate_limits));
        rows.push(LeadRow::new(None, text, RowTone::Warning));
    }
    match stream.last_checkpoint {
        Some(last) => {
            let age = last.at.zip(lead_up.end.at).map(|(at, end)| format!(", {} before the error", age_text(end - at)));
            let text = format!("last checkpoint{}", age.unwrap_or_default());
            rows.push(LeadRow::new(Some(last), text, RowTone::Plain));
        }
        None => rows.push(LeadRow::new(None, "no checkpoint so far", RowTone::Plain)),
    }
    if let Some(last) = stream.last_records {
        let text = format!("last records; {}", records_text(stream));
        rows.push(LeadRow::new(Some(last), text, if fell(stream) { RowTone::Warning } else { RowTone::Plain }));
    } else {
        let text = if stream.records.is_some() { "no records in this window" } else { "records unknown" };
        rows.push(LeadRow::new(None, text, RowTone::Plain));
    }
    rows.extend(error_row(lead_up));
}

fn error_row(lead_up: &LeadUp) -> Option<LeadRow> {
    let error = lead_up.error.as_ref()?;
    let text = format!("{}: {}", error.kind, clean::line(&error.message));
    Some(LeadRow::new(Some(lead_up.end), text, RowTone::Bad))
}

/// Formats the numbers of six parts of ten seconds; a dash for a part before the start of the log.
fn parts_text(parts: &[u64], covered: u64) -> String {
    let unknown = usize::try_from(60_000_u64.saturating_sub(covered) / 10_000).unwrap_or(0);
    let text = |(at, number): (usize, &u64)| if at < unknown { "-".to_owned() } else { number.to_string() };
    parts.iter().enumerate().map(text).collect::<Vec<_>>().join(" ")
}

fn plural_limits(limits: u64) -> String {
    if limits == 1 { "1 rate limit".to_owned() } else { format!("{} rate limits", count(limits)) }
}

/// Formats an age with tenths below 100 seconds.
fn age_text(ms: Millis) -> String {
    before_text(ms).trim_start_matches('-').to_owned()
}

fn per_second(half: Option<HalfRecords>) -> Option<f64> {
    half?.per_second()
}

/// True if the rate of the last 30 seconds is less than half of that before.
fn fell(stream: &StreamLeadUp) -> bool {
    match (per_second(stream.first_half), per_second(stream.last_half)) {
        (Some(first), Some(last)) => last * 2.0 < first,
        _ => false,
    }
}

/// Formats the records of the window with the rates of its halves.
fn records_text(stream: &StreamLeadUp) -> String {
    let records = format!("{} in this window", known(stream.records));
    match (per_second(stream.first_half), per_second(stream.last_half)) {
        (Some(first), Some(last)) => format!("{records}: {}, then {} in the last 30 s", rate(first), rate(last)),
        (None, Some(last)) => format!("{records}: {}", rate(last)),
        _ => records,
    }
}

fn other_row(stream: &StreamLeadUp) -> LeadRow {
    let name = clean::line(&stream.stream);
    let mut parts = Vec::new();
    if let Some(first) = &stream.first_retry {
        parts.push(format!("{}, first: {}", retries_text(stream), retry_text(first)));
    }
    if stream.rate_limits > 0 {
        parts.push(plural_limits(stream.rate_limits));
    }
    parts.push(match stream.records {
        None => "records unknown".to_owned(),
        Some(0) => "no records".to_owned(),
        _ => format!("records: {}", records_text(stream)),
    });
    let instant = stream.first_retry.map(|first| first.instant);
    let tone = if stream.retries > 0 || fell(stream) { RowTone::Warning } else { RowTone::Plain };
    LeadRow::new(instant, format!("{name}: {}", parts.join(" · ")), tone)
}

/// Row of one event, or of streams that change their status together.
fn event_row(events: &[LeadEvent]) -> Option<LeadRow> {
    let event = events.first()?;
    if let (LeadEventKind::Status { to, .. }, [_, _, ..]) = (&event.kind, events) {
        let names: Vec<_> = events.iter().filter_map(|event| event.stream.as_deref()).take(MAX_STREAMS).collect();
        let more = events.len().saturating_sub(MAX_STREAMS);
        let more = if more > 0 { format!(" and {} more", count(more as u64)) } else { String::new() };
        let names = clean::line(&names.join(", ")).into_owned();
        let tone = if *to == "errored" { RowTone::Bad } else { RowTone::Plain };
        let text = format!("{} streams {to}: {names}{more}", count(events.len() as u64));
        return Some(LeadRow::new(Some(event.instant), text, tone));
    }
    let stream = event.stream.as_deref().map(|stream| format!("{}: ", clean::line(stream))).unwrap_or_default();
    let (text, tone) = match &event.kind {
        LeadEventKind::Attempt { number } => (format!("attempt {number} starts"), RowTone::Plain),
        LeadEventKind::Run => ("a run starts".to_owned(), RowTone::Plain),
        LeadEventKind::Status { to, .. } => {
            ((*to).to_owned(), if *to == "errored" { RowTone::Bad } else { RowTone::Plain })
        }
        LeadEventKind::Log { level, text } => {
            (format!("{level} {text}"), if *level == "ERROR" { RowTone::Bad } else { RowTone::Warning })
        }
        LeadEventKind::Stderr { text } => (format!("stderr: {text}"), RowTone::Plain),
    };
    Some(LeadRow::new(Some(event.instant), format!("{stream}{text}"), tone))
}

/// Returns the lead-up as text for a terminal or a file.
#[must_use]
pub fn lead_up_text(lead_up: &LeadUp) -> String {
    let mut text = String::new();
    for row in rows(lead_up) {
        let place = row.place(lead_up.end);
        match row.tone {
            RowTone::Heading => text.push_str(&format!("{}\n", row.text)),
            _ => text.push_str(&format!("  {place:<29} {}\n", row.text)),
        }
    }
    text
}
