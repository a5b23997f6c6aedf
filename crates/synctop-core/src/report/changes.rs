//! Changes between two snapshots of a feed, as lines for a stderr that is not a terminal.

use crate::format::{count, duration, known, names, plural, short};
use crate::protocol::error_text::core;
use crate::protocol::{Millis, Status, clean, time};
use crate::reduce::{ONE_MINUTE, Outcome, Progress, Stream, outcome, standing, waiting};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Occurrence counts at which an error is reported again.
const REPORT_AGAIN_AT: [u64; 3] = [10, 100, 1_000];

/// Maximum causes of one status in a progress line.
const MAX_CAUSES: usize = 3;

/// Maximum characters of a cause in a progress line.
const MAX_CAUSE: usize = 60;

/// Interval of the progress lines, in milliseconds.
pub const REMINDER_MS: u64 = 60_000;

const REMINDER: Millis = REMINDER_MS.cast_signed();

/// Record of the changes that were already reported.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    runs: u64,
    attempts: u32,
    asked: usize,
    statuses: Vec<(Status, bool)>,
    /// Occurrences of each error group at its last report.
    errors: BTreeMap<u64, u64>,
    /// Time of the last report of a stream's wait for a retry.
    retrying: BTreeMap<usize, Millis>,
    ended: bool,
}

impl Changes {
    /// Returns the lines to report now.
    pub fn since(&mut self, progress: &Progress) -> Vec<String> {
        let mut lines = Vec::new();
        let mut emit = |text: String| lines.push(stamped(progress.last_at, &text));
        if progress.runs.total > self.runs {
            // Reports of the run before do not count for this one.
            *self = Self { runs: progress.runs.total, asked: self.asked, ..Self::default() };
            emit(format!("run {}", progress.runs.total + 1));
        }
        let new_attempt = progress.attempts > self.attempts;
        if new_attempt {
            self.attempts = progress.attempts;
            self.ended = false;
            self.retrying.clear();
            if progress.attempts > 1 {
                emit(format!("attempt {}", progress.attempts));
            }
        }
        if progress.attempts > 0 && self.asked != progress.streams.len() && self.asked == 0 {
            emit(plural(progress.streams.len(), "stream"));
        }
        self.asked = progress.streams.len();
        for group in standing(progress) {
            let announced = self.errors.entry(group.id).or_default();
            if *announced == 0 || REPORT_AGAIN_AT.iter().any(|at| *announced < *at && group.count >= *at) {
                *announced = group.count;
                let streams: Vec<_> = group.streams().map(AsRef::as_ref).collect();
                let prefix = if streams.is_empty() { String::new() } else { format!("{}: ", names(&streams)) };
                let times = if group.count > 1 { format!(" (x{})", count(group.count)) } else { String::new() };
                let kind =
                    group.failure_type.as_deref().map(|kind| format!("{}, ", clean::line(kind))).unwrap_or_default();
                emit(format!("ERROR      {prefix}{kind}{}{times}", short(&core(&group.message), 200)));
            }
        }
        self.streams(progress, &mut emit);
        if let Some(end) = progress.attempt.end.as_ref().filter(|_| !self.ended) {
            self.ended = true;
            let reason = end.reason.as_deref().map_or_else(|| "without a reason".into(), clean::line);
            let more = if end.has_more == Some(true) { ", more to do" } else { "" };
            emit(format!("end        {reason}{more}"));
        }
        lines
    }

    fn streams(&mut self, progress: &Progress, emit: &mut impl FnMut(String)) {
        self.statuses.resize(progress.streams.len(), (Status::NotStarted, false));
        let mut changed: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, stream) in progress.streams.iter().enumerate() {
            // A stream that completed despite an error was already reported with that error.
            let failed = stream.details.failed_in.is_some() && stream.status == Status::Completed;
            let now = if failed { (Status::Errored, false) } else { (stream.status, stream.settling) };
            if let Some(before) = self.statuses.get_mut(at).filter(|before| **before != now) {
                *before = now;
                let word = match now {
                    (Status::Completed, true) | (Status::NotStarted, _) => continue,
                    (Status::Started, _) => "started",
                    (Status::Completed, false) => "completed",
                    (Status::Skipped, _) => "skipped",
                    (Status::Errored, _) => "errored",
                };
                changed.entry(word).or_default().push(at);
            }
        }
        // A rate-limited source waits repeatedly: one line a minute is enough.
        let now = progress.last_at.unwrap_or(0);
        let waits = |stream: &Stream| waiting(stream, now).is_some();
        let mut fresh = Vec::new();
        for (at, _) in progress.streams.iter().enumerate().filter(|(_, stream)| waits(stream)) {
            let announced = self.retrying.get(&at).is_some_and(|announced| now - announced < REMINDER);
            if !announced {
                self.retrying.insert(at, now);
                fresh.push(at);
            }
        }
        if !fresh.is_empty() {
            changed.insert("retrying", fresh);
        }
        for (word, mut places) in changed {
            places.sort_unstable();
            let streams: Vec<_> = places.iter().filter_map(|at| progress.streams.get(*at)).collect();
            let named: Vec<_> = streams.iter().map(|stream| stream.label.as_ref()).collect();
            let detail = match streams.as_slice() {
                [one] if word == "completed" => format!("  {} records", known(one.records.cumulative.get())),
                [one] if word == "retrying" && one.details.limited.is_some() => "  rate limited".into(),
                [one] if word == "retrying" => one.details.retry.as_ref().map_or_else(String::new, |retry| {
                    let status =
                        retry.status.map_or_else(|| "connection".to_owned(), |status| format!("HTTP {status}"));
                    format!("  {status}, try {}", retry.attempt + 1)
                }),
                _ => String::new(),
            };
            let done = |stream: &&std::sync::Arc<Stream>| {
                stream.status == Status::Completed && !stream.settling && stream.details.failed_in.is_none()
            };
            let done = progress.streams.iter().filter(done).count();
            let share =
                if word == "completed" { format!("  ({done} of {})", progress.streams.len()) } else { String::new() };
            emit(format!("{word:<10} {}{detail}{share}", names(&named)));
        }
    }
}

/// Returns the progress line: totals, rate, streams by status with the causes of failed and retrying
/// ones, and a long silence.
#[must_use]
pub fn reminder(progress: &Progress, silent_ms: Option<u64>) -> String {
    let of = |status| progress.streams.iter().filter(|stream| stream.status == status).count();
    let mut text = format!("records {}", known(progress.cumulative_records()));
    let rate = progress.counters.rate.per_second(ONE_MINUTE, progress.last_at.unwrap_or(0));
    if let Some(rate) = rate {
        text.push_str(&format!("  {rate:.0}/s"));
    }
    for (number, word) in
        [(of(Status::Started), "started"), (of(Status::NotStarted), "pending"), (of(Status::Completed), "completed")]
    {
        if number > 0 {
            text.push_str(&format!("  {} {word}", count(number as u64)));
        }
    }
    let errored: Vec<_> = progress.streams.iter().filter(|stream| stream.status == Status::Errored).collect();
    let failure = |stream: &Stream| progress.errors.get(stream.details.failed_group?).map(|it| it.message.to_string());
    text.push_str(&with_cause(&errored, "errored", failure));
    let retries = |stream: &&Arc<Stream>| stream.status == Status::Started && stream.details.retry.is_some();
    let retrying: Vec<_> = progress.streams.iter().filter(retries).collect();
    let refusal = |stream: &Stream| stream.details.retry.as_ref()?.error.as_ref().map(ToString::to_string);
    text.push_str(&with_cause(&retrying, "retrying", refusal));
    if let Some(silent) = silent_ms.filter(|silent| *silent >= 10_000) {
        text.push_str(&format!("  no line for {}", duration(silent / 1000 * 1000)));
    }
    let word = match outcome(progress) {
        Outcome::Running => "syncing",
        _ => "ended",
    };
    stamped(progress.last_at, &format!("{word:<10} {text}"))
}

/// Returns number and names of streams by cause.
fn with_cause(streams: &[&Arc<Stream>], word: &str, cause: impl Fn(&Stream) -> Option<String>) -> String {
    if streams.is_empty() {
        return String::new();
    }
    let mut causes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for stream in streams {
        let cause = cause(stream).map(|text| format!(": {}", short(&core(&text), MAX_CAUSE))).unwrap_or_default();
        causes.entry(cause).or_default().push(&stream.label);
    }
    let shown: Vec<_> = causes.iter().take(MAX_CAUSES).map(|(cause, of)| format!("{}{cause}", names(of))).collect();
    let more = if causes.len() > MAX_CAUSES { "; ..." } else { "" };
    format!("  {} {word} ({}{more})", count(streams.len() as u64), shown.join("; "))
}

/// Formats a line of synctop that stands among an engine's lines, with the feed's time.
#[must_use]
pub fn stamped(at: Option<Millis>, text: &str) -> String {
    let at = at.map(|at| format!(" {}", time::stamp(at, "%H:%M:%SZ"))).unwrap_or_default();
    format!("synctop{at}  {}", clean::line(text))
}
