//! Sums over all streams.

use crate::reduce::state::tally::Tally;

/// Sums of the counts of all streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Sums {
    pub(crate) attempt: u64,
    pub(crate) cumulative: u64,
    /// True if any stream has a count.
    pub(crate) known: bool,
}

impl Sums {
    /// Updates the sums after a change of one stream's count.
    pub(crate) fn moved(&mut self, before: &Tally, now: &Tally) {
        if (before.attempt, before.cumulative) != (now.attempt, now.cumulative) {
            let step = |sum: u64, before: Option<u64>, now: Option<u64>| {
                sum.saturating_add(now.unwrap_or(0)).saturating_sub(before.unwrap_or(0))
            };
            self.known = true;
            self.attempt = step(self.attempt, before.attempt.get(), now.attempt.get());
            self.cumulative = step(self.cumulative, before.cumulative.get(), now.cumulative.get());
        }
    }

    /// Adds records that belong to no stream.
    pub(crate) fn add(&mut self, attempt: u64, cumulative: u64) {
        self.known |= cumulative > 0;
        self.attempt = self.attempt.saturating_add(attempt);
        self.cumulative = self.cumulative.saturating_add(cumulative);
    }

    pub(crate) fn begin_attempt(&mut self) {
        self.attempt = 0;
    }

    pub(crate) fn attempt(&self) -> Option<u64> {
        self.known.then_some(self.attempt)
    }

    pub(crate) fn cumulative(&self) -> Option<u64> {
        self.known.then_some(self.cumulative)
    }
}
