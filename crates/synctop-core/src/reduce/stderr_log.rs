//! Lines of a saved stderr, merged into the log by their times.

use crate::protocol::{Millis, decode_stderr_line, envelope, time};
use crate::reduce::Progress;
use std::collections::VecDeque;

/// Unit of time-zone offsets (a few zones differ). A smaller difference between the clocks of
/// stderr and log is the time before the first record.
const HALF_HOUR: Millis = 30 * 60_000;

/// Time of a line, and its kind of clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    at: Millis,
    /// True if the time is local, without a time zone.
    local: bool,
}

/// Saved stderr of an engine, merged into its log line by line.
///
/// Both have times, usually of different clocks: stderr has the local time without a time zone.
#[derive(Debug, Clone, Default)]
pub struct StderrLog {
    /// Lines that are not merged yet, each with its time if known.
    lines: VecDeque<(Option<Stamp>, String)>,
    /// Time of the last line that has one.
    last: Option<Stamp>,
    /// Offset of the local clock of stderr from the log's clock, in milliseconds, once known.
    zone: Option<Millis>,
}

impl StderrLog {
    /// Collects the lines of a whole stderr.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut log = Self::default();
        bytes.split_inclusive(|byte| *byte == b'\n').for_each(|line| log.push(line));
        log
    }

    /// Adds the next line, with or without its newline.
    pub fn push(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches(['\n', '\r']);
        let stamp = stamp(line);
        if self.last.is_none() && stamp.is_some() {
            // Lines before the first time get that time.
            self.lines.iter_mut().for_each(|(time, _)| *time = stamp);
        }
        // A line without a time, such as in a traceback, gets the time of the line above it.
        self.last = stamp.or(self.last);
        self.lines.push_back((self.last, line.to_owned()));
    }

    /// True if no line is left to merge.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes the next line, if it was written by the time of the log's last message.
    pub fn due(&mut self, progress: &Progress) -> Option<String> {
        let (stamp, now) = (self.lines.front()?.0?, progress.last_at?);
        let zone = if stamp.local {
            *self.zone.get_or_insert_with(|| {
                let apart = stamp.at - progress.first_at.unwrap_or(now);
                (apart + apart.signum() * HALF_HOUR / 2) / HALF_HOUR * HALF_HOUR
            })
        } else {
            0
        };
        if stamp.at - zone > now {
            return None;
        }
        self.rest()
    }

    /// Takes the next line, regardless of its time.
    pub fn rest(&mut self) -> Option<String> {
        self.lines.pop_front().map(|(_, line)| line)
    }
}

/// Returns the time of a line: from `ts` or `timestamp` of a structured log, or from its prefix.
fn stamp(line: &str) -> Option<Stamp> {
    if let Some(clock) = envelope::open(line).and_then(|opened| opened.clock) {
        return Some(Stamp { at: clock.at, local: !clock.is_zoned });
    }
    if line.starts_with('{') {
        return decode_stderr_line(line)?.at.map(|at| Stamp { at, local: false });
    }
    let clock = line.get(..23)?.replace(',', ".");
    time::parse(&clock).map(|at| Stamp { at, local: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_due_at_their_time_in_any_time_zone() {
        for zone in ["08", "10"] {
            let text = format!(
                "2026-11-20 {zone}:35:12,786 | INFO | a | one\n  more of it\n2026-11-20 {zone}:35:14,000 | INFO | a | two\n"
            );
            let mut log = StderrLog::of(text.as_bytes());
            let first_at = time::parse("2026-11-20T08:35:12.787Z");
            let mut progress = Progress { first_at, ..Progress::default() };
            assert_eq!(log.due(&progress), None);
            progress.last_at = progress.first_at;
            assert!(log.due(&progress).is_some_and(|line| line.ends_with("one")));
            assert!(log.due(&progress).is_some_and(|line| line.ends_with("more of it")));
            assert_eq!(log.due(&progress), None);
            assert!(log.rest().is_some_and(|line| line.ends_with("two")));
        }
    }
}
