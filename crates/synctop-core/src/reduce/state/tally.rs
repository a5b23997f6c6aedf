//! Count in its two scopes, `attempt` and `cumulative`, computed from an engine's claims.

use crate::protocol::Counts;
use crate::reduce::state::compact::CompactOption;

/// Count of an engine; the last report wins. A counter that restarts in a new attempt is added to
/// the previous count, as in a Prometheus counter reset; a counter that continues is used
/// unchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tally {
    /// Count of the last attempt; `None` if unknown.
    pub attempt: CompactOption<u64>,
    /// Count of all attempts of the run; `None` if unknown.
    pub cumulative: CompactOption<u64>,
    /// Count at the start of the attempt.
    pub(crate) base: u64,
    /// Offset added to a restarted counter.
    pub(crate) offset: u64,
    /// The engine's own counter as last reported.
    pub(crate) running: CompactOption<u64>,
    /// True if a count was reported in this attempt.
    pub(crate) was_reported: bool,
    /// First count of a feed that was joined in the middle of this attempt.
    pub(crate) joined: CompactOption<u64>,
}

impl Tally {
    /// Starts a new attempt, of which nothing is known yet.
    pub fn begin_attempt(&mut self) {
        let cumulative = self.cumulative.get();
        self.base = cumulative.unwrap_or(0);
        self.attempt.set(cumulative.map(|_| 0));
        self.was_reported = false;
        self.joined.set(None);
    }

    /// True if the engine's counter fell below its last value, so that it restarted.
    #[must_use]
    pub fn fell(&self, counts: Counts) -> bool {
        // For an engine without a counter, the counted records are the reference.
        let before = self.running.get().or(self.cumulative.get());
        matches!((counts.running, before), (Some(now), Some(before)) if now < before)
    }

    /// Handles a restart of the engine's counters in this attempt.
    pub fn restart(&mut self) {
        self.offset = self.base;
    }

    /// Applies the first report of a feed that is joined in the middle of a run: its count is the
    /// baseline, until the attempt's own count is reported.
    pub fn resumed(&mut self, counts: Counts) {
        if let Some(value) = counts.running
            && self.cumulative.get().is_none()
        {
            self.base = value;
            self.joined.set(Some(value).filter(|value| *value > 0));
        }
    }

    /// Returns the count at which the feed was joined.
    #[must_use]
    pub fn joined(&self) -> Option<u64> {
        self.joined.get()
    }

    /// Drops the counts of earlier attempts: this attempt is the first one of another run.
    pub(crate) fn start_run(&mut self) {
        self.attempt.set(self.attempt.get().filter(|_| self.was_reported));
        self.cumulative = self.attempt;
        (self.base, self.offset) = (0, 0);
    }

    /// Applies a reported count, and derives the scopes that it lacks.
    pub fn report(&mut self, counts: Counts) {
        self.was_reported |= counts.said();
        if let Some(value) = counts.running {
            self.running.set(value);
            let cumulative = self.offset.saturating_add(value);
            self.cumulative.set(cumulative);
            self.attempt.set(cumulative.saturating_sub(self.base));
        }
        match (counts.attempt, counts.cumulative) {
            (Some(attempt), Some(cumulative)) => {
                self.attempt.set(attempt);
                self.cumulative.set(cumulative);
                self.base = cumulative.saturating_sub(attempt);
            }
            (Some(attempt), None) => {
                self.attempt.set(attempt);
                if counts.running.is_none() {
                    self.cumulative.set(self.base.saturating_add(attempt));
                }
            }
            (None, Some(cumulative)) => {
                self.cumulative.set(cumulative);
                self.attempt.set(cumulative.saturating_sub(self.base));
            }
            (None, None) => {}
        }
    }

    /// Applies the count of the attempt alone, reported beside the engine's counter. Equal values
    /// despite an earlier count mean that the counter restarted.
    pub fn report_attempt(&mut self, attempt: u64) {
        self.was_reported = true;
        if let Some(joined) = self.joined.get() {
            let cumulative = self.cumulative.get().unwrap_or(0).max(attempt);
            self.cumulative.set(cumulative);
            self.attempt.set(attempt);
            self.base = cumulative - attempt;
            // Counts of earlier attempts are not missing.
            self.joined.set(Some(joined.saturating_sub(self.base)).filter(|at| *at > 0));
            return;
        }
        let running = self.running.get();
        if running.is_none() || (running == Some(attempt) && self.base > 0) {
            self.offset = self.base;
            self.cumulative.set(self.base.saturating_add(attempt));
        }
        self.attempt.set(attempt);
        // The attempt's count is newer than the last counter.
        let cumulative = self.cumulative.get().unwrap_or(0);
        if attempt > cumulative.saturating_sub(self.base) && self.base <= cumulative {
            self.cumulative.set(self.base.saturating_add(attempt));
        }
    }

    /// Returns the count before this attempt.
    #[must_use]
    pub fn before(&self) -> u64 {
        self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    pub(crate) fn a_counter_that_restarts_is_added_and_one_that_goes_on_stands() {
        let mut tally = Tally::default();
        tally.report(Counts::running(Some(100)));
        tally.begin_attempt();
        assert!(tally.fell(Counts::running(Some(0))));
        tally.restart();
        tally.report(Counts::running(Some(30)));
        assert_eq!((tally.attempt.get(), tally.cumulative.get()), (Some(30), Some(130)));
        tally.begin_attempt();
        assert!(!tally.fell(Counts::running(Some(30))));
        tally.report(Counts::running(Some(45)));
        assert_eq!((tally.attempt.get(), tally.cumulative.get()), (Some(15), Some(145)));
    }

    #[test]
    pub(crate) fn a_restart_that_did_not_fall_is_told_by_the_attempts_own_count() {
        let mut tally = Tally::default();
        tally.report(Counts::running(Some(5)));
        tally.begin_attempt();
        tally.report(Counts::running(Some(7)));
        tally.report_attempt(7);
        assert_eq!((tally.attempt.get(), tally.cumulative.get()), (Some(7), Some(12)));
        tally.begin_attempt();
        tally.report(Counts::running(Some(20)));
        tally.report_attempt(8);
        assert_eq!((tally.attempt.get(), tally.cumulative.get()), (Some(8), Some(25)));
    }

    #[test]
    pub(crate) fn a_feed_that_is_joined_counts_from_its_first_report_until_the_attempt_is_said() {
        let mut tally = Tally::default();
        tally.resumed(Counts::running(Some(40)));
        tally.report(Counts::running(Some(40)));
        tally.report(Counts::running(Some(100)));
        assert_eq!((tally.attempt.get(), tally.cumulative.get(), tally.joined()), (Some(60), Some(100), Some(40)));
        tally.report_attempt(100);
        assert_eq!((tally.attempt.get(), tally.cumulative.get(), tally.before()), (Some(100), Some(100), 0));
    }

    #[test]
    pub(crate) fn scopes_that_are_said_stand() {
        let mut tally = Tally::default();
        tally.report(Counts { attempt: Some(0), cumulative: Some(2832), running: None, is_negative: false });
        assert_eq!((tally.attempt.get(), tally.cumulative.get(), tally.before()), (Some(0), Some(2832), 2832));
        tally.report(Counts { attempt: Some(5), cumulative: None, running: None, is_negative: false });
        assert_eq!(tally.cumulative.get(), Some(2837));
    }
}
