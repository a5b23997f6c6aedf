//! Estimates of engines. An estimated share never exceeds 99 %: only a status completes the rest.

use crate::protocol::{Estimate, Status};
use crate::reduce::state::estimate::MAX_ESTIMATED_SHARE;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Stream;

impl Progress {
    /// Applies an estimate. It replaces an earlier one.
    pub(crate) fn estimate(&mut self, estimate: &Estimate) {
        let guess = Some((estimate.rows, estimate.bytes));
        let Some(name) = &estimate.stream else {
            self.counters.estimate.whole = guess;
            return;
        };
        self.counters.estimate.by_stream = true;
        let at = self.place_of_message(name);
        self.change(at, |stream| stream.details.estimate = guess);
    }

    /// True if estimates of streams and of the whole sync are mixed. Then none counts, as in
    /// Airbyte's platform.
    fn mixed(&self) -> bool {
        self.counters.estimate.by_stream && self.counters.estimate.whole.is_some()
    }

    /// True if the engine estimated the total of the whole sync.
    pub(crate) fn has_whole_estimate(&self) -> bool {
        self.counters.estimate.whole.is_some()
    }

    /// Returns the estimated rows of a stream.
    #[must_use]
    pub fn estimated_rows(&self, stream: &Stream) -> Option<u64> {
        stream.details.estimate.filter(|_| !self.mixed())?.0
    }

    /// Returns the read share of a stream, 0 to 1: by its ranges if it has some, otherwise by the
    /// estimate.
    #[must_use]
    pub fn share(&self, stream: &Stream) -> Option<f64> {
        if let Some(share) = stream.coverage() {
            return Some(share);
        }
        let (rows, units) = stream.details.estimate.filter(|_| !self.mixed())?;
        match stream.status {
            Status::Completed => Some(1.0),
            Status::NotStarted => None,
            _ => of(stream.records.attempt.get(), rows).or_else(|| of(stream.details.measure, units)),
        }
    }

    /// True if the estimate covers everything: the whole sync, or each stream of a known list.
    #[must_use]
    pub fn estimates_all(&self) -> bool {
        let guessed = |stream: &Stream| stream.details.estimate.is_some() || stream.status == Status::Skipped;
        let listed = self.attempt.catalog && self.streams.iter().all(|stream| guessed(stream));
        self.counters.estimate.whole.is_some() || listed || self.closed
    }

    /// Returns the read share of the whole estimate, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn estimated_share(&self) -> Option<f64> {
        if self.mixed() {
            return None;
        }
        let over = !self.streams.is_empty() && self.streams.iter().all(|stream| stream.status == Status::Completed);
        if let Some((rows, units)) = self.counters.estimate.whole {
            let measure = self.streams.iter().filter_map(|stream| stream.details.measure).sum();
            let share = of(self.attempt_records(), rows).or_else(|| of(Some(measure), units));
            return if over { share.map(|_| 1.0) } else { share };
        }
        let mut sum = (0.0, 0.0);
        for stream in self.streams.iter().filter(|stream| stream.status != Status::Skipped) {
            // A stream that has not started may lack an estimate.
            let Some(guessed) = stream.details.estimate.and_then(|(rows, _)| rows).map(|rows| rows as f64) else {
                continue;
            };
            let there = stream.records.attempt.get().unwrap_or(0) as f64;
            sum = match stream.status {
                Status::Completed => (sum.0 + there, sum.1 + there),
                _ => (sum.0 + there.min(guessed), sum.1 + guessed),
            };
        }
        let share = (sum.1 > 0.0).then(|| sum.0 / sum.1)?;
        Some(if over { 1.0 } else { share.min(MAX_ESTIMATED_SHARE) })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn of(there: Option<u64>, guessed: Option<u64>) -> Option<f64> {
    let guessed = guessed.filter(|guessed| *guessed > 0)? as f64;
    Some((there.unwrap_or(0) as f64 / guessed).min(MAX_ESTIMATED_SHARE))
}
