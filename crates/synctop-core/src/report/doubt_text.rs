//! Doubts as sentences.

use crate::format::{count, plural, short};
use crate::reduce::{Anomaly, Doubt, Finding};
use std::fmt;

/// Maximum characters of a quoted log line.
const QUOTE: usize = 160;

/// Writes the finding as a sentence without its streams.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = |rows: u64| if rows == 0 { String::new() } else { format!(" (up to about {})", count(rows)) };
        let many = |number: u64, word: &str| plural(usize::try_from(number).unwrap_or(usize::MAX), word);
        match self {
            Self::StateAhead { kept: true, rows } => write!(
                f,
                "the final state was ahead of the last checkpoint; the run went on from the checkpoint, so the rows \
                 between them{} are read again",
                about(*rows)
            ),
            Self::StateAhead { kept: false, rows } => write!(
                f,
                "the final state is ahead of the last checkpoint: a client that continues from it skips the rows \
                 between them{}, which were not written",
                about(*rows)
            ),
            Self::ResumedAfterCut => f.write_str(
                "a limit cut it and the run went on; this engine's end state cannot show what was left: rows may be \
                 missing, and no count can tell",
            ),
            Self::ErrorOverwritten => f.write_str("an error ended it, then the engine said \"complete\" over it"),
            Self::RangesLeft(ranges) => {
                write!(f, "the engine says complete, the source's state has {ranges} ranges left to read")
            }
            Self::RangesUnread => f.write_str(
                "the engine says complete, and ranges that an earlier attempt left unread were not read since",
            ),
            Self::ReportedCount { reported, counted } => {
                write!(f, "{} reported, {} counted", count(*reported), count(*counted))
            }
            Self::CheckpointCount { reported, counted, all } => {
                let of = if *all { " of all streams" } else { "" };
                let (reported, counted) = (count(*reported), count(*counted));
                write!(f, "a checkpoint{of} says {reported} records since the one before, {counted} came")
            }
            Self::MetricsCount { metered, counted } => {
                write!(f, "{} by its metrics, {} counted", count(*metered), count(*counted))
            }
            Self::CommittedCount { emitted, committed } => {
                write!(f, "{} emitted, {} confirmed by the destination", count(*emitted), count(*committed))
            }
            Self::NeverMentioned => f.write_str("it was asked for, and the engine never mentioned it"),
            Self::NothingSynced => {
                f.write_str("the engine came to an end and no stream was synced: is a name it was asked for unknown?")
            }
            Self::ExitZeroOpenStream => f.write_str("the engine exited with 0 while it was still open"),
            Self::UnknownEnd(reason) => {
                write!(f, "the engine ended with an unknown reason: {}", reason.as_deref().unwrap_or("nothing"))
            }
            Self::ErrorsLogged(times, first) => {
                let (lines, first) = (many(*times, "logged error"), short(first, QUOTE));
                write!(f, "{lines} that no reported error explains; the first: {first}")
            }
            Self::RowsLeftOut(times, first) => {
                write!(f, "rows were left out, by {}; the first: {}", many(*times, "warning"), short(first, QUOTE))
            }
            Self::LinesLost(lines) => {
                write!(f, "{} of the feed cannot be read: what they said is not counted", many(*lines, "line"))
            }
            Self::OddFigures(Anomaly::TimeJump, times) => {
                write!(f, "{} more than a year ahead of the others, or before 1970, and left out", many(*times, "time"))
            }
            Self::OddFigures(Anomaly::NegativeCount, times) => {
                write!(f, "{} reported, and left out", many(*times, "negative count"))
            }
            Self::OddFigures(_, times) => {
                write!(
                    f,
                    "its reported count fell within an attempt ({}): one of the counts is wrong",
                    many(*times, "time")
                )
            }
            Self::StreamsBeyond { mentions, max } => {
                let (times, max) = (many(*mentions, "time"), count(*max as u64));
                write!(
                    f,
                    "more streams than the limit of {max}: messages named others {times}, of which only record lines \
                     and errors are counted; --max-streams raises the limit"
                )
            }
            Self::RecountAfterResume => f.write_str("resumed from a checkpoint: some rows may be counted twice"),
        }
    }
}

/// Writes the affected streams and the finding.
impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.streams.as_slice() {
            [] => write!(f, "{}", self.finding),
            _ => write!(f, "{}: {}", self.names(), self.finding),
        }
    }
}
