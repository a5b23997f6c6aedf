//! Summary as text: outcome, cause, next step.

use super::advice::{Advice, Audience};
use super::headline::{describe_exit, title};
use super::verdict::verdict;
use crate::format::{count, duration, known, plural, short};
use crate::protocol::{Status, clean, time};
use crate::reduce::{Assumed, Outcome, Progress, Stream, doubts, outcome};
use std::fmt::Write;

/// Silence in milliseconds after which a feed is no longer called moving.
pub const SILENT_MS: u64 = 60_000;

/// Maximum numbers of listed items. Failed streams come first, so that only healthy ones are cut.
const STREAMS_LISTED: usize = 40;
const ERRORS_LISTED: usize = 10;
const DOUBTS_LISTED: usize = 10;
const RUNS_LISTED: usize = 10;

/// Returns the summary of the input so far as lines of text.
#[must_use]
pub fn report(progress: &Progress) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(progress, &mut out);
    clean::lines(&out)
}

/// State at exit that the feed does not contain.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leaving {
    /// Milliseconds since the last line.
    pub silent: Option<u64>,
    /// True if the user quit, which stopped the engine.
    pub stopped: bool,
    /// True if the state was not stored: the next run starts fresh.
    pub unkept: bool,
    /// Message if the run was ended from outside: then the feed has no verdict.
    pub cut: Option<&'static str>,
}

/// Returns the few lines that stay on the shell after the screen closes.
#[must_use]
pub fn brief(progress: &Progress, leaving: Leaving) -> String {
    let mut out = String::new();
    if progress.input.lines == 0 && progress.exit.is_none() {
        if let Some(cut) = leaving.cut {
            return format!("{cut}\n");
        }
        return "No input.\n".into();
    }
    let silent = leaving.silent.filter(|silent| *silent >= SILENT_MS && outcome(progress) == Outcome::Running);
    // Writing to a String cannot fail.
    let over = progress.attempt.end.is_some();
    let _ = match silent {
        _ if leaving.cut.is_some() && !over => writeln!(out, "{}", leaving.cut.unwrap_or_default()),
        _ if leaving.stopped => write_stopped(progress, leaving.unkept, &mut out),
        Some(silent) => write_silent(progress, silent, &mut out),
        None => write_verdict(progress, &mut out),
    }
    .and_then(|()| write_totals(progress, &mut out))
    .and_then(|()| stream_counts(progress, &mut out));
    clean::lines(&out)
}

fn write_stopped(progress: &Progress, unkept: bool, out: &mut String) -> std::fmt::Result {
    let exit = progress.exit.map(|exit| format!("  ({})", describe_exit(exit))).unwrap_or_default();
    writeln!(out, "STOPPED BY YOU{exit}")?;
    let next = if !unkept && progress.traits().ends_with_process {
        &*Advice::restart(progress).text(Audience::Shell)
    } else if unkept {
        "it starts fresh next time: --state FILE stores its position"
    } else {
        "start it again; it continues from its last checkpoint"
    };
    writeln!(out, "next         {next}")
}

fn write_silent(progress: &Progress, silent: u64, out: &mut String) -> std::fmt::Result {
    writeln!(out, "NO NEWS for {}: the feed stopped without an end", duration(silent))?;
    if let Some(why) = verdict(progress).why {
        writeln!(out, "why          {why}")?;
    }
    writeln!(out, "next         see whether the engine still runs, and its own log")
}

fn write_report(progress: &Progress, out: &mut String) -> std::fmt::Result {
    write_verdict(progress, out)?;
    write_totals(progress, out)?;
    if let (Some(first), Some(last)) = (progress.first_at, progress.last_at) {
        let form = if last - first < 86_400_000 { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%SZ" };
        let (from, to) = (time::stamp(first, "%Y-%m-%d %H:%M:%SZ"), time::stamp(last, form));
        writeln!(out, "time         {from} to {to} ({})", duration(u64::try_from(last - first).unwrap_or(0)))?;
    }
    earlier_runs(progress, out)?;
    streams(progress, out)?;
    errors(progress, out)?;
    if let Some(text) = &progress.attempt.roll_up {
        writeln!(out, "roll-up      the engine's final error repeats these: {}", short(text, 110))?;
    }
    let measure: Vec<_> =
        progress.streams.iter().filter_map(|stream| Some((stream.bytes, stream.details.measure?))).collect();
    if !measure.is_empty() {
        let (lines, data) = measure.iter().fold((0, 0), |sum, (lines, data)| (sum.0 + lines, sum.1 + data));
        let (lines, data) = (count(lines), count(data));
        writeln!(out, "bytes        {lines} in record lines; {data} characters of record.data (Airbyte's own figure)")?;
    }
    let doubts = doubts(progress);
    if !doubts.is_empty() {
        writeln!(out, "doubts       {}", doubts.len())?;
        for doubt in doubts.iter().take(DOUBTS_LISTED) {
            writeln!(out, "  ? {}", clean::line(&doubt.to_string()))?;
        }
        more(out, doubts.len(), DOUBTS_LISTED)?;
    }
    if !progress.anomalies.is_empty() {
        let total: u64 = progress.anomalies.values().sum();
        let kinds: std::collections::BTreeSet<_> = progress.anomalies.keys().map(|(kind, _)| kind.as_str()).collect();
        let kinds: Vec<_> = kinds.into_iter().collect();
        writeln!(out, "anomalies    {} ({})", count(total), kinds.join(", "))?;
    }
    let input = progress.input;
    write!(
        out,
        "input        {} lines, {} bytes, {} messages",
        count(input.whole_lines()),
        count(input.bytes),
        count(input.messages)
    )?;
    for (number, what) in [(input.raw, "raw"), (input.unknown, "unknown"), (input.malformed, "malformed")] {
        if number > 0 {
            write!(out, ", {} {what}", count(number))?;
        }
    }
    writeln!(out, "{}", if input.truncated_line { "; the last line is incomplete" } else { "" })
}

fn write_verdict(progress: &Progress, out: &mut String) -> std::fmt::Result {
    let verdict = verdict(progress);
    writeln!(out, "{}", verdict.headline)?;
    if let Some(why) = &verdict.why {
        writeln!(out, "why          {why}")?;
    }
    if let Some(next) = &verdict.next {
        writeln!(out, "next         {}", next.text(Audience::Shell))?;
    }
    Ok(())
}

fn write_totals(progress: &Progress, out: &mut String) -> std::fmt::Result {
    write!(out, "records      {}", known(progress.cumulative_records()))?;
    if progress.attempts > 1 {
        write!(out, " in {} attempts, {} in the last", progress.attempts, known(progress.attempt_records()))?;
    }
    if let Some(joined) = progress.joined_at() {
        write!(out, ", joined at {}", count(joined))?;
    }
    write!(out, "   checkpoints {}", count(progress.counters.checkpoints))?;
    if let Some(committed) = progress.committed() {
        write!(out, "   committed {}", count(committed))?;
    }
    if let Some(requests) = progress.known_requests(progress.counters.requests.cumulative.get()) {
        write!(out, "   requests {}", count(requests))?;
    }
    if progress.counters.retries > 0 {
        write!(out, "   retries {}", count(progress.counters.retries))?;
    }
    writeln!(out)
}

fn stream_counts(progress: &Progress, out: &mut String) -> std::fmt::Result {
    if progress.streams.is_empty() {
        return writeln!(out, "streams      none");
    }
    let of = |status| {
        progress.streams.iter().filter(|stream| stream.details.failed_in.is_none() && stream.status == status).count()
    };
    let failed = progress.streams.iter().filter(|stream| stream.details.failed_in.is_some()).count();
    let parts = [
        (failed, "with an error"),
        (of(Status::Errored), "errored"),
        (of(Status::Started), "started"),
        (of(Status::NotStarted), "not started"),
        (of(Status::Completed), "completed"),
        (of(Status::Skipped), "skipped"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", count(*n as u64))).collect();
    writeln!(out, "streams      {}: {}", progress.stream_total(), parts.join(", "))?;
    Ok(())
}

fn streams(progress: &Progress, out: &mut String) -> std::fmt::Result {
    stream_counts(progress, out)?;
    let mut rows: Vec<_> = progress.streams_by_name().collect();
    rows.sort_by_key(|stream| rank(stream));
    let width = rows.iter().take(STREAMS_LISTED).map(|s| s.label.chars().count()).max().unwrap_or(0).min(40);
    for stream in rows.iter().take(STREAMS_LISTED) {
        let mark = if stream.details.failed_in.is_some() { 'x' } else { glyph(stream.status) };
        let records = known(stream.records.cumulative.get());
        let name = clean::line(&stream.label);
        write!(out, "  {mark} {name:<width$}  {:<11} {records:>13}", stream.status.as_str())?;
        if let Some(committed) = stream.details.committed.get() {
            write!(out, "  committed {}", count(committed))?;
        }
        if let Some(deletions) = stream.deletions() {
            write!(out, "  deleted {}", count(deletions))?;
        }
        if let Some(rows) = stream.details.unwritten.filter(|rows| *rows > 0) {
            write!(out, "  up to {} not written", count(rows))?;
        }
        if let Some(share) = progress.share(stream).filter(|_| stream.status != Status::Completed) {
            write!(out, "  {:>3.0}%", (share * 100.0).floor())?;
        }
        if stream.assumed != Assumed::No {
            let why = match progress.exit {
                Some(crate::reduce::Exit::Code(0)) if stream.assumed == Assumed::ByExit => {
                    "exit 0 without a checkpoint behind it"
                }
                Some(crate::reduce::Exit::Code(0)) => "exit 0 behind its last checkpoint",
                _ => "a checkpoint covers all its records",
            };
            write!(out, "  (assumed: {why})")?;
        }
        if progress.only_in_earlier_run(stream) {
            write!(out, "  (of an earlier run)")?;
        }
        if stream.details.limits.0 > 0 {
            write!(out, "  rate limited {}", duration(stream.limited_ms(progress.last_at)))?;
        }
        if let Some(message) = &stream.details.message {
            write!(out, "  {}", short(message, 90))?;
        }
        writeln!(out)?;
    }
    more(out, rows.len(), STREAMS_LISTED)
}

/// Returns the sort rank of a stream: failed ones first.
fn rank(stream: &Stream) -> u8 {
    match stream.status {
        _ if stream.details.failed_in.is_some() => 0,
        Status::Errored => 1,
        Status::Started => 2,
        Status::NotStarted => 3,
        Status::Completed => 4,
        Status::Skipped => 5,
    }
}

fn glyph(status: Status) -> char {
    match status {
        Status::NotStarted => 'o',
        Status::Started => '>',
        Status::Completed => 'v',
        Status::Skipped => '-',
        Status::Errored => 'x',
    }
}

fn errors(progress: &Progress, out: &mut String) -> std::fmt::Result {
    let mut groups: Vec<_> = progress.errors.groups().iter().collect();
    if groups.is_empty() {
        return Ok(());
    }
    groups.sort_by_key(|group| (group.cleared(), group.level, std::cmp::Reverse(group.count)));
    writeln!(out, "errors       {}, {} in all", plural(groups.len(), "group"), count(progress.errors.total))?;
    for group in groups.iter().take(ERRORS_LISTED) {
        let kind = group.kind();
        let streams: Vec<_> = group.streams().take(3).map(|name| clean::line(name)).collect();
        let more = group.streams().count().saturating_sub(3);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let cleared = if group.cleared() { " (cleared)" } else { "" };
        writeln!(out, "  x {} x{} {}{more}{cleared}", clean::line(kind), count(group.count), streams.join(", "))?;
        writeln!(out, "      {}", short(&group.message, 160))?;
    }
    more(out, groups.len(), ERRORS_LISTED)?;
    if progress.errors.beyond > 0 {
        writeln!(out, "      {} further errors of other kinds were counted only", count(progress.errors.beyond))?;
    }
    Ok(())
}

fn more(out: &mut String, all: usize, listed: usize) -> std::fmt::Result {
    if all > listed {
        writeln!(out, "    ... {} more of {}", count((all - listed) as u64), count(all as u64))
    } else {
        Ok(())
    }
}

/// Writes a line for each run before the last one, newest first.
fn earlier_runs(progress: &Progress, out: &mut String) -> std::fmt::Result {
    let runs = &progress.runs;
    if runs.total == 0 {
        return Ok(());
    }
    writeln!(out, "earlier      {}", plural(usize::try_from(runs.total).unwrap_or(usize::MAX), "run"))?;
    for run in runs.list().iter().rev().take(RUNS_LISTED) {
        let at = |at: Option<i64>| at.map_or_else(|| "-".to_owned(), |at| time::stamp(at, "%Y-%m-%d %H:%M:%SZ"));
        let attempts = plural(run.attempts as usize, "attempt");
        let time = match run.started_at {
            Some(from) => format!("{} to {}", at(Some(from)), at(run.ended_at)),
            None => "without times".to_owned(),
        };
        let records = match run.records {
            Some(1) => "1 record".to_owned(),
            records => format!("{} records", known(records)),
        };
        writeln!(out, "  - {time}  {}, {records} in {attempts}", title(run.outcome))?;
    }
    more(out, usize::try_from(runs.total).unwrap_or(usize::MAX), RUNS_LISTED)
}
