//! Sidecar data of a saved log: the engine's stderr and exit code, and the requested streams.

use crate::net::source::decompress;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use synctop_core::protocol::catalog::Catalog;
use synctop_core::protocol::{Millis, decode_stderr_line, time};
use synctop_core::reduce::{Exit, Progress};

/// Unit of time-zone offsets (a few zones differ). A smaller difference between the clocks of
/// stderr and log is the time before the first record.
const HALF_HOUR: Millis = 30 * 60_000;

/// Maximum bytes read as one line of stderr; the rest of a longer line becomes further lines.
const LINE: u64 = 64 * 1024;

/// Time of a line, and its kind of clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    at: Millis,
    /// True if the time is local, without a time zone.
    local: bool,
}

/// Sidecar data of a log.
#[derive(Debug, Clone, Default)]
pub struct Sidecar {
    pub catalog: Option<Arc<Catalog>>,
    pub exit: Option<Exit>,
    /// Lines of stderr that are not merged yet, each with its time if known.
    stderr: VecDeque<(Option<Stamp>, String)>,
    /// Offset of the local clock of stderr from the log's clock, in milliseconds, once known.
    zone: Option<Millis>,
}

impl Sidecar {
    /// Reads an engine's stderr.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read to its end.
    pub fn stderr(&mut self, file: File) -> io::Result<()> {
        let mut input = BufReader::new(decompress::open(file)?.1);
        let mut bytes = Vec::new();
        let mut at = None;
        loop {
            bytes.clear();
            if input.by_ref().take(LINE).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let line = String::from_utf8_lossy(&bytes);
            let line = line.trim_end_matches(['\n', '\r']);
            // A line without a time, such as in a traceback, gets the time of the line above it.
            let stamp = stamp(line);
            if at.is_none() && stamp.is_some() {
                // Lines before the first time get that time.
                self.stderr.iter_mut().for_each(|(time, _)| *time = stamp);
            }
            at = stamp.or(at);
            self.stderr.push_back((at, line.to_owned()));
        }
        Ok(())
    }

    /// True if no stderr line is left to merge into the log.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.stderr.is_empty()
    }

    /// Takes the next stderr line, if it was written by the time of the log's last message.
    pub fn due(&mut self, progress: &Progress) -> Option<String> {
        let (stamp, now) = (self.stderr.front()?.0?, progress.last_at?);
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

    /// Takes the next stderr line, regardless of its time.
    pub fn rest(&mut self) -> Option<String> {
        self.stderr.pop_front().map(|(_, line)| line)
    }
}

/// Returns the time of a line: from `ts` or `timestamp` of a structured log, or from its prefix.
fn stamp(line: &str) -> Option<Stamp> {
    if line.starts_with('{') {
        return decode_stderr_line(line)?.at.map(|at| Stamp { at, local: false });
    }
    let clock = line.get(..23)?.replace(',', ".");
    time::parse(&clock).map(|at| Stamp { at, local: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn stderr_lines_are_due_at_their_time_in_any_time_zone() {
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
            let mut sidecar = Sidecar::default();
            sidecar.stderr(file).unwrap();
            let mut progress = Progress::default();
            progress.first_at = time::parse("2026-11-20T08:35:12.787Z");
            assert_eq!(sidecar.due(&progress), None);
            progress.last_at = progress.first_at;
            assert!(sidecar.due(&progress).is_some_and(|line| line.ends_with("one")));
            assert!(sidecar.due(&progress).is_some_and(|line| line.ends_with("more of it")));
            assert_eq!(sidecar.due(&progress), None);
            assert!(sidecar.rest().is_some_and(|line| line.ends_with("two")));
        }
    }
}
