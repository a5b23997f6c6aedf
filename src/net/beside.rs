//! What is known of a saved log beside it: what its engine wrote to stderr, how it ended, which streams it was asked for.

use super::decompress;
use crate::progress::{Exit, Progress};
use crate::protocol::catalog::Catalog;
use crate::protocol::{Millis, heard, time};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

/// Clocks in logs are written in zones that are whole quarters of an hour apart.
const QUARTER: Millis = 15 * 60_000;

/// What is known beside a log.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    pub catalog: Option<Arc<Catalog>>,
    pub exit: Option<Exit>,
    /// Lines of stderr that are still to come, each with its time if it has one.
    stderr: VecDeque<(Option<Millis>, String)>,
    /// How far its clock is from that of the log, once that is known.
    zone: Option<Millis>,
}

impl Beside {
    /// Reads what an engine wrote to stderr.
    ///
    /// # Errors
    /// When it cannot be read to its end.
    pub fn stderr(&mut self, file: File) -> io::Result<()> {
        let mut bytes = Vec::new();
        decompress::open(file)?.1.read_to_end(&mut bytes)?;
        let mut at = None;
        for line in String::from_utf8_lossy(&bytes).lines() {
            // A line without a time, such as one of a traceback, belongs to the one above it.
            at = stamp(line).or(at);
            self.stderr.push_back((at, line.to_owned()));
        }
        Ok(())
    }

    /// Whether there is anything to put between the log's lines.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.stderr.is_empty()
    }

    /// The next line that was written by the time that the log has come to.
    pub fn due(&mut self, progress: &Progress) -> Option<String> {
        let (at, _) = self.stderr.front()?;
        let (at, now) = (at.as_ref()?, progress.last_at?);
        let zone = *self.zone.get_or_insert_with(|| {
            let apart = at - progress.first_at.unwrap_or(now);
            (apart + apart.signum() * QUARTER / 2) / QUARTER * QUARTER
        });
        if at - zone > now {
            return None;
        }
        self.rest()
    }

    /// The next line, whenever it was written.
    pub fn rest(&mut self) -> Option<String> {
        self.stderr.pop_front().map(|(_, line)| line)
    }
}

/// The time of a line: `ts` or `timestamp` of a structured log, or what it begins with. That is a clock on a wall somewhere.
fn stamp(line: &str) -> Option<Millis> {
    if line.starts_with('{') {
        return heard(line)?.at;
    }
    let clock = line.get(..23)?.replace(',', ".");
    time::parse(&clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn lines_come_when_the_log_has_come_to_their_time_whatever_the_zone() {
        for zone in ["08", "10"] {
            let mut file = tempfile::tempfile().unwrap();
            write!(file, "{zone}").unwrap();
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            write!(
                file,
                "2026-11-20 {zone}:35:12,786 | INFO | a | one\n  more of it\n2026-11-20 {zone}:35:14,000 | INFO | a | two\n"
            )
            .unwrap();
            file.rewind().unwrap();
            let mut beside = Beside::default();
            beside.stderr(file).unwrap();
            let mut progress = Progress::default();
            progress.first_at = time::parse("2026-11-20T08:35:12.787Z");
            assert_eq!(beside.due(&progress), None);
            progress.last_at = progress.first_at;
            assert!(beside.due(&progress).is_some_and(|line| line.ends_with("one")));
            assert!(beside.due(&progress).is_some_and(|line| line.ends_with("more of it")));
            assert_eq!(beside.due(&progress), None);
            assert!(beside.rest().is_some_and(|line| line.ends_with("two")));
        }
    }
}
