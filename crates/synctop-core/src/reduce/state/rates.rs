//! Rates: count differences spread over the time between two reports.

use crate::protocol::Millis;
use crate::reduce::state::compact::CompactOption;
use crate::reduce::state::rare::{Ring, SharedDefault};
use std::sync::LazyLock;

/// Width of a bucket in milliseconds.
pub const BUCKET_MS: Millis = 2_000;

/// Number of buckets: a little over two minutes.
pub const BUCKETS: usize = 64;

/// The shorter window of a rate, in milliseconds.
pub const TEN_SECONDS: Millis = 10_000;

/// The longer window of a rate, in milliseconds.
pub const ONE_MINUTE: Millis = 60_000;

/// Minimum time span of a rate: a page of records within 27 ms does not predict the next second.
pub const SHORTEST_MS: Millis = 1_000;

/// Resolution of a bucket, in parts of a unit.
pub(crate) const PARTS: u64 = 256;

/// Differences of one counter in buckets of fixed width and number.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rates {
    /// Amounts in parts: integers, so that the order of reports makes no difference and the
    /// encoding is short.
    buckets: Ring<BUCKETS>,
    /// Number of the newest bucket (its start divided by the width).
    pub(crate) newest: Millis,
    /// Time of the first report.
    first_at: CompactOption<Millis>,
    last_at: CompactOption<Millis>,
    /// Count of the last report.
    last: u64,
}

impl SharedDefault for Rates {
    fn shared() -> &'static Self {
        static DEFAULT: LazyLock<Rates> = LazyLock::new(Rates::default);
        &DEFAULT
    }
}

impl Rates {
    /// Applies a reported count. A first report, a count that fell and a new attempt (`mark`) only
    /// set the base.
    pub fn report(&mut self, at: Millis, count: u64) {
        let (Some(before_at), before) = (self.last_at.get(), self.last) else { return self.mark(at, count) };
        if count < before || at < before_at {
            return self.mark(at, count);
        }
        if count > before {
            self.spread(before_at, at, count - before);
        }
        self.last_at.set(at);
        self.last = count;
    }

    /// Restarts the counting: the difference to the previous count is no rate.
    pub fn mark(&mut self, at: Millis, count: u64) {
        if self.first_at.get().is_none() {
            self.first_at.set(at);
        }
        self.last_at.set(at);
        self.last = count;
    }

    pub(crate) fn spread(&mut self, from: Millis, to: Millis, amount: u64) {
        let amount = amount.saturating_mul(PARTS);
        let (first, last) = (from.div_euclid(BUCKET_MS), to.div_euclid(BUCKET_MS));
        self.advance(last);
        if from == to || first == last {
            self.add(last, amount);
            return;
        }
        // Each bucket gets the amount due up to its end less the earlier buckets: nothing is lost
        // to rounding.
        let span = i128::from(to - from);
        let due = |at: Millis| u64::try_from(i128::from(amount) * i128::from(at - from) / span).unwrap_or(0);
        let kept = first.max(last - BUCKETS as Millis + 1);
        let mut before = due((kept * BUCKET_MS).max(from));
        for bucket in kept..=last {
            let now = due(((bucket + 1) * BUCKET_MS).min(to));
            self.add(bucket, now - before);
            before = now;
        }
    }

    pub(crate) fn advance(&mut self, to: Millis) {
        if to - self.newest >= BUCKETS as Millis {
            self.buckets.clear();
        } else {
            for bucket in self.newest + 1..=to {
                self.buckets.set(Self::slot(bucket), 0);
            }
        }
        self.newest = self.newest.max(to);
    }

    pub(crate) fn slot(bucket: Millis) -> usize {
        usize::try_from(bucket.rem_euclid(BUCKETS as Millis)).unwrap_or(0)
    }

    pub(crate) fn add(&mut self, bucket: Millis, amount: u64) {
        let slot = Self::slot(bucket);
        let sum = self.buckets.get(slot).saturating_add(u32::try_from(amount).unwrap_or(u32::MAX));
        self.buckets.set(slot, sum);
    }

    /// Returns the units in a bucket.
    #[expect(clippy::cast_precision_loss, reason = "a rate is a picture, not an account")]
    pub(crate) fn get(&self, bucket: Millis) -> f64 {
        if bucket > self.newest || bucket <= self.newest - BUCKETS as Millis {
            return 0.0;
        }
        f64::from(self.buckets.get(Self::slot(bucket))) / PARTS as f64
    }

    /// Returns the time of the last report.
    #[must_use]
    pub fn last_at(&self) -> Option<Millis> {
        self.last_at.get()
    }

    /// Returns units per second over the window that ends with the last report; `None` once that
    /// report is older than the window, and over less than a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is a picture, not an account")]
    pub fn per_second(&self, window: Millis, now: Millis) -> Option<f64> {
        let (first_at, last_at) = (self.first_at.get()?, self.last_at.get()?);
        if now - last_at > window || last_at - first_at < SHORTEST_MS {
            return None;
        }
        let from = (last_at - window).max(first_at);
        let (first, last) = (from.div_euclid(BUCKET_MS), last_at.div_euclid(BUCKET_MS));
        let mut sum = 0.0;
        for bucket in first..=last {
            let (begin, end) = ((bucket * BUCKET_MS).max(first_at), ((bucket + 1) * BUCKET_MS).min(last_at));
            let part = if end > begin && from > begin { (end - from) as f64 / (end - begin) as f64 } else { 1.0 };
            sum += self.get(bucket) * part.clamp(0.0, 1.0);
        }
        Some(sum * 1000.0 / (last_at - from) as f64)
    }

    /// Returns units per second of each bucket up to now, oldest first; `None` before the first
    /// report and after the last one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a constant of four digits")]
    pub fn history(&self, buckets: usize, now: Millis) -> Vec<Option<f64>> {
        let newest = now.div_euclid(BUCKET_MS);
        let known = self
            .first_at
            .get()
            .map(|at| at.div_euclid(BUCKET_MS))
            .zip(self.last_at().map(|at| at.div_euclid(BUCKET_MS)));
        let count = buckets.min(BUCKETS) as Millis;
        (newest - count + 1..=newest)
            .map(|bucket| {
                let (first, last) = known?;
                (first..=last).contains(&bucket).then(|| self.get(bucket) * 1000.0 / BUCKET_MS as f64)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    pub(crate) fn a_steady_counter_has_its_rate_in_every_window() {
        let mut rates = Rates::default();
        for second in 0..=300 {
            rates.report(1_000_000 + second * 1000, u64::try_from(second).unwrap() * 50);
        }
        for window in [TEN_SECONDS, ONE_MINUTE] {
            let rate = rates.per_second(window, 1_300_000).unwrap();
            assert!((rate - 50.0).abs() < 0.5, "{rate}");
        }
        let history = rates.history(30, 1_300_000);
        assert!(history[5].is_some_and(|rate| (rate - 50.0).abs() < 0.5));
    }

    #[test]
    pub(crate) fn sparse_reports_are_spread_and_old_ones_are_unknown() {
        let mut rates = Rates::default();
        assert_eq!(rates.per_second(TEN_SECONDS, 0), None);
        rates.report(0, 0);
        rates.report(30_000, 3_000);
        assert!((rates.per_second(TEN_SECONDS, 31_000).unwrap() - 100.0).abs() < 0.5);
        assert_eq!(rates.per_second(TEN_SECONDS, 41_000), None);
        assert!(rates.per_second(ONE_MINUTE, 41_000).is_some());
        rates.report(45_000, 3_000);
        assert!(rates.per_second(TEN_SECONDS, 45_000).unwrap().abs() < 0.001);
        rates.report(46_000, 10);
        assert_eq!(rates.last_at(), Some(46_000));
    }

    #[test]
    pub(crate) fn a_long_gap_does_not_walk_all_its_buckets() {
        let mut rates = Rates::default();
        rates.report(0, 0);
        rates.report(1_000_000_000_000, 1_000);
        assert!(rates.per_second(TEN_SECONDS, 1_000_000_000_000).unwrap() < 0.01);
    }
}
