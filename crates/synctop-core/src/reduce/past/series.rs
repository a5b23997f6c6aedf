//! Records over the whole time of a log, for a chart: amounts in steps of time that grow wider.

use crate::protocol::Millis;
use crate::reduce::state::progress::Progress;

/// Width of the first steps, in milliseconds.
const FIRST_STEP_MS: Millis = 250;

/// Number of steps; twice as many are merged in pairs.
const TARGET_STEPS: usize = 512;

/// Number of streams with amounts of their own: the first ones of the log.
const MAX_STREAMS: usize = 256;

/// Records in steps of time, of all streams and of the first 256 alone.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Start of the first step; `None` before the first time.
    start: Option<Millis>,
    step_ms: Millis,
    /// Time up to which records are counted.
    counted_to: Millis,
    /// Time from which the next sample is due.
    due: Millis,
    all: Amounts,
    streams: Vec<Amounts>,
}

/// Records of one counter in steps.
#[derive(Debug, Clone, Default)]
struct Amounts {
    /// Count at the last sample.
    count: u64,
    steps: Vec<f32>,
}

impl Amounts {
    /// Spreads the records since the last sample over the time since then. A count that fell sets
    /// the base only.
    fn sample(&mut self, count: u64, span: (Millis, Millis), step_ms: Millis) {
        let before = std::mem::replace(&mut self.count, count);
        if count <= before {
            return;
        }
        let (from, to) = span;
        let last = usize::try_from((to.max(1) - 1) / step_ms).unwrap_or(0);
        let first = usize::try_from(from / step_ms).unwrap_or(0).min(last);
        if self.steps.len() <= last {
            self.steps.resize(last + 1, 0.0);
        }
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a chart")]
        for at in first..=last {
            let (begin, end) = (at as Millis * step_ms, (at as Millis + 1) * step_ms);
            let part = (end.min(to) - begin.max(from)).max(0) as f64 / (to - from).max(1) as f64;
            let part = if first == last { 1.0 } else { part };
            if let Some(step) = self.steps.get_mut(at) {
                *step += ((count - before) as f64 * part) as f32;
            }
        }
    }

    fn merge_pairs(&mut self) {
        self.steps = self.steps.chunks(2).map(|pair| pair.iter().sum()).collect();
    }

    /// Returns the records between two times, given in milliseconds since the start.
    #[expect(clippy::cast_precision_loss, reason = "a chart")]
    fn between(&self, from: Millis, to: Millis, step_ms: Millis) -> f64 {
        let first = usize::try_from(from.max(0) / step_ms).unwrap_or(0);
        let steps = self.steps.iter().enumerate().skip(first);
        let parts = steps.map_while(|(at, amount)| {
            let (begin, end) = (at as Millis * step_ms, (at as Millis + 1) * step_ms);
            let overlap = end.min(to) - begin.max(from);
            (begin < to).then(|| f64::from(*amount) * overlap.max(0) as f64 / step_ms as f64)
        });
        parts.sum()
    }
}

impl Series {
    /// Counts the records since the last call if a step has ended. Cheap otherwise.
    pub(crate) fn note(&mut self, progress: &Progress) {
        let Some(at) = progress.last_at.filter(|at| *at >= self.due || self.start.is_none()) else { return };
        let Some(start) = self.start else {
            self.start = Some(at);
            (self.step_ms, self.due) = (FIRST_STEP_MS, at + FIRST_STEP_MS);
            // Records before the first time are the base.
            self.sample(progress, (0, 0));
            return;
        };
        let span = (self.counted_to, at - start);
        while span.1 / self.step_ms >= 2 * TARGET_STEPS as Millis {
            self.step_ms *= 2;
            self.all.merge_pairs();
            self.streams.iter_mut().for_each(Amounts::merge_pairs);
        }
        self.sample(progress, span);
        self.counted_to = span.1;
        self.due = start + (span.1 / self.step_ms + 1) * self.step_ms;
    }

    fn sample(&mut self, progress: &Progress, span: (Millis, Millis)) {
        self.all.sample(progress.cumulative_records().unwrap_or(0), span, self.step_ms);
        let streams = progress.streams.len().min(MAX_STREAMS);
        if self.streams.len() < streams {
            self.streams.resize_with(streams, Amounts::default);
        }
        for (amounts, stream) in self.streams.iter_mut().zip(&progress.streams) {
            amounts.sample(stream.records.cumulative.get().unwrap_or(0), span, self.step_ms);
        }
    }

    /// Returns the records per second of all streams between two times; `None` before the first
    /// and after the last counted time.
    #[must_use]
    pub fn rate(&self, from: Millis, to: Millis) -> Option<f64> {
        self.rate_of(&self.all, from, to)
    }

    /// Returns the same of one stream, by its index in [`Progress::streams`]; `None` also beyond
    /// the first 256 streams.
    #[must_use]
    pub fn stream_rate(&self, stream: usize, from: Millis, to: Millis) -> Option<f64> {
        self.rate_of(self.streams.get(stream)?, from, to)
    }

    #[expect(clippy::cast_precision_loss, reason = "a chart")]
    fn rate_of(&self, amounts: &Amounts, from: Millis, to: Millis) -> Option<f64> {
        let start = self.start?;
        let (from, to) = (from - start, (to - start).max(from - start + 1));
        if from >= self.counted_to || to <= 0 {
            return None;
        }
        Some(amounts.between(from, to, self.step_ms) * 1000.0 / (to - from) as f64)
    }

    /// Returns the memory of the amounts in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let steps = self.streams.iter().chain([&self.all]).map(|amounts| amounts.steps.capacity());
        steps.sum::<usize>() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Series of a log that reports `rate` records per second at each of these times.
    fn series(times: impl IntoIterator<Item = Millis>, rate: u64) -> Series {
        let mut series = Series::default();
        let mut progress = Progress::default();
        for at in times {
            progress.last_at = Some(at);
            progress.counters.reported.cumulative.set(u64::try_from(at).unwrap() / 1000 * rate);
            series.note(&progress);
        }
        series
    }

    #[test]
    fn a_steady_rate_is_steady_at_any_width_of_steps() {
        for span in [20_000, 400_000, 40_000_000] {
            let series = series((0..=span).step_by(2_000), 50);
            assert!(series.all.steps.len() <= 2 * TARGET_STEPS);
            for from in [2_000, span / 2, span - 2_000] {
                let width = (span / 40).max(2_000).min(span - from);
                let rate = series.rate(from, from + width).unwrap();
                assert!((rate - 50.0).abs() < 2.0, "{span} {from}: {rate}");
            }
            assert_eq!(series.rate(span + 10_000, span + 11_000), None);
        }
    }

    #[test]
    fn a_count_that_falls_is_no_rate() {
        let mut series = series((0..=10_000).step_by(1_000), 10);
        let mut progress = Progress { last_at: Some(12_000), ..Progress::default() };
        progress.counters.reported.cumulative.set(3);
        series.note(&progress);
        progress.last_at = Some(14_000);
        progress.counters.reported.cumulative.set(23);
        series.note(&progress);
        assert!(series.rate(10_000, 12_000).unwrap().abs() < 0.1);
        assert!((series.rate(12_000, 14_000).unwrap() - 10.0).abs() < 1.5);
    }
}
