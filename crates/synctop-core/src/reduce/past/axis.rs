//! Axis of a log: maps positions of the log to the scrubber, and clicks to positions.

use crate::protocol::Millis;
use crate::reduce::past::history::{Gap, History};

/// Destination in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// After everything up to and including this time.
    Time(Millis),
    /// After this line, counted from 1.
    Line(u64),
    /// After the last line that ends within this number of bytes.
    Bytes(u64),
    /// Start of the log, before its first line.
    Begin,
    /// End of the log, after its last line.
    End,
}

/// Maps a log to the range 0 to 1: by time if it has times, otherwise by lines. Silences can be
/// shortened.
pub struct Axis<'h> {
    history: &'h History,
    /// Shortened silences, each with the milliseconds removed up to and including it.
    left_out: Vec<(Gap, Millis)>,
}

/// Remaining length of a skipped silence, in milliseconds.
const GAP_LEFT: Millis = 1_000;

impl<'h> Axis<'h> {
    /// Creates the axis of a log; `skip` shortens each stored gap to one second.
    #[must_use]
    pub fn new(history: &'h History, skip: bool) -> Self {
        let mut sum = 0;
        let gaps = history.gaps().iter().filter(|_| skip);
        let left_out = gaps.map(|gap| {
            sum += gap.to - gap.from - GAP_LEFT;
            (*gap, sum)
        });
        Self { history, left_out: left_out.collect() }
    }

    /// Returns a time less the milliseconds removed from the silences before it.
    fn without_gaps(&self, at: Millis) -> Millis {
        let behind = self.left_out.partition_point(|(gap, _)| gap.from < at);
        let Some((gap, sum)) = behind.checked_sub(1).and_then(|last| self.left_out.get(last)) else { return at };
        at - sum + (gap.to - at - GAP_LEFT).clamp(0, gap.to - gap.from - GAP_LEFT)
    }

    fn bounds(&self) -> Option<(Millis, Millis)> {
        let (first, last) = self.history.span()?;
        Some((first, self.without_gaps(last).max(first)))
    }

    /// Returns the share (0 to 1) of a position in the log.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn share(&self, at: Option<Millis>, lines: u64) -> f64 {
        let share = match (self.bounds(), at) {
            (Some((first, last)), Some(at)) if last > first => {
                (self.without_gaps(at) - first) as f64 / (last - first) as f64
            }
            (Some((first, last)), None) if last > first => 0.0,
            _ => lines as f64 / self.history.end().lines.max(1) as f64,
        };
        share.clamp(0.0, 1.0)
    }

    /// Returns the time at a share of 0 to 1; `None` in a log without times.
    #[must_use]
    pub fn time(&self, share: f64) -> Option<Millis> {
        let (first, last) = self.history.span()?;
        match self.target(share) {
            Target::Time(at) => Some(at),
            Target::Begin => Some(first),
            Target::End => Some(last),
            Target::Line(_) | Target::Bytes(_) => None,
        }
    }

    /// Returns the position in the log at a share of 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
    pub fn target(&self, share: f64) -> Target {
        match self.bounds() {
            _ if share >= 1.0 => Target::End,
            _ if share <= 0.0 => Target::Begin,
            Some((first, last)) if last > first => {
                let mut at = first + ((last - first) as f64 * share) as Millis;
                for (gap, _) in &self.left_out {
                    if at < gap.from {
                        break;
                    }
                    at += (gap.to - gap.from - GAP_LEFT).max(0);
                }
                Target::Time(at)
            }
            _ => Target::Line((self.history.end().lines as f64 * share) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::Progress;

    #[test]
    fn places_and_shares_are_each_others_inverse_with_silences_and_without() {
        let mut history = History::new();
        let mut progress = Progress::default();
        for (line, at) in [0, 10_000, 110_000, 120_000, 420_000, 430_000].into_iter().enumerate() {
            progress.input.lines = line as u64 + 1;
            progress.input.bytes = (line as u64 + 1) * 100;
            progress.last_at = Some(at);
            progress.first_at = Some(0);
            history.note(&progress, false);
        }
        assert_eq!(history.gaps().len(), 2);
        let whole = Axis::new(&history, false);
        let short = Axis::new(&history, true);
        assert!((whole.share(Some(110_000), 0) - 110.0 / 430.0).abs() < 1e-9);
        // 430 s less two silences of 100 s and 300 s, each shortened to one second.
        assert!((short.share(Some(110_000), 0) - 11.0 / 32.0).abs() < 1e-9);
        assert!((short.share(Some(60_000), 0) - 10.0 / 32.0).abs() < 1e-9);
        for axis in [whole, short] {
            for at in [0, 5_000, 9_999, 110_000, 115_000, 420_500, 429_000] {
                let share = axis.share(Some(at), 0);
                let back = match axis.target(share) {
                    Target::Time(back) => back,
                    Target::Begin => 0,
                    other => panic!("{other:?}"),
                };
                assert!((back - at).abs() <= 1, "{at} {back}");
            }
            assert_eq!(axis.target(1.0), Target::End);
        }
    }
}
