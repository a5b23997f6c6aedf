//! Results of a run that passes over all its streams and errors find: computed once for each state,
//! read by each frame.

use super::advice::Advice;
use super::verdict::{Verdict, verdict};
use crate::protocol::{Millis, Status};
use crate::reduce::{CoverageDrop, Doubt, ErrorGroup, MeanCoverage, Outcome, Progress, Stream, doubts};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Minimum time of a speed from which the time left is estimated, in seconds.
const LEAST_SECONDS: f64 = 10.0;

/// Verdict, doubts and coverage of one state of a run.
#[derive(Debug, Clone)]
pub struct Assessment {
    /// Outcome, cause and next step.
    pub verdict: Verdict,
    /// Claims that the evidence contradicts.
    pub doubts: Vec<Doubt>,
    /// Mean coverage of the streams whose total is known.
    pub coverage: Option<MeanCoverage>,
    /// Reason why the coverage went down, while the run lasts.
    pub drop: Option<CoverageDrop>,
    /// Estimate of the time left, while the run lasts.
    pub time_left: Option<TimeLeft>,
    /// Advice by error group, as far as it was asked for.
    advice: RefCell<BTreeMap<u64, Advice>>,
}

/// Time left of the slowest stream at its speed since its start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeLeft {
    /// Time in seconds.
    pub seconds: f64,
    /// True if other streams have not started: it takes at least this time.
    pub has_pending: bool,
}

impl Assessment {
    /// Assesses a state.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        let verdict = verdict(progress);
        let is_running = verdict.outcome == Outcome::Running;
        let mut time_left = SlowestStream::default();
        let coverage = progress.mean_coverage_with(|stream, share| {
            if is_running {
                time_left.see(stream, share, progress.last_at);
            }
        });
        Self {
            drop: coverage.and_then(|coverage| coverage.drop()).filter(|_| is_running),
            time_left: time_left.estimate(),
            doubts: doubts(progress),
            coverage,
            verdict,
            advice: RefCell::default(),
        }
    }

    /// Returns the advice for an error of this state.
    #[must_use]
    pub fn advice(&self, progress: &Progress, error: &ErrorGroup) -> Advice {
        let mut known = self.advice.borrow_mut();
        known.entry(error.id).or_insert_with(|| Advice::for_error(progress, error)).clone()
    }
}

/// Time left of the slowest stream so far, at the last message.
#[derive(Default)]
struct SlowestStream {
    seconds: f64,
    has_pending: bool,
    /// True if the speed of a started stream is not known yet.
    is_unknown: bool,
}

impl SlowestStream {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn see(&mut self, stream: &Stream, share: Option<f64>, now: Option<Millis>) {
        self.has_pending |= stream.status == Status::NotStarted;
        if self.is_unknown || stream.status != Status::Started || stream.details.failed_in.is_some() {
            return;
        }
        let took = now.zip(stream.started_at).map(|(now, since)| now.saturating_sub(since) as f64 / 1000.0);
        let speed = share.zip(took).filter(|(_, took)| *took >= LEAST_SECONDS).and_then(|(share, took)| {
            let done = share - stream.coverage_before();
            (done > 0.001).then(|| (1.0 - share) / done * took)
        });
        match speed {
            Some(seconds) => self.seconds = self.seconds.max(seconds),
            None => self.is_unknown = true,
        }
    }

    fn estimate(self) -> Option<TimeLeft> {
        let Self { seconds, has_pending, is_unknown } = self;
        (!is_unknown && seconds > 0.0).then_some(TimeLeft { seconds, has_pending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Decoder;
    use crate::reduce::Reducer;

    fn line(second: u32, stream: &str, status: &str, ranges: &str) -> String {
        format!(
            r#"{{"type":"stream_status","stream_status":{{"stream":"{stream}","status":"{status}"{ranges}}},"_ts":"2026-11-20T08:{:02}:{:02}.000Z"}}"#,
            second / 60,
            second % 60
        ) + "\n"
    }

    #[test]
    fn new_streams_explain_a_coverage_that_goes_down() {
        let total = r#","time_range":{"gte":"2024-01-01T00:00:00Z","lt":"2024-01-11T00:00:00Z"}"#;
        let read = r#","range_complete":{"gte":"2024-01-01T00:00:00Z","lt":"2024-01-09T00:00:00Z"}"#;
        let mut reducer = Reducer::new(Decoder::default());
        let drop = |reducer: &Reducer| Assessment::of(&reducer.progress).drop;
        reducer.push(line(0, "a", "start", total).as_bytes());
        assert_eq!(drop(&reducer), None, "the first stream lowers nothing");
        reducer.push(line(100, "a", "range_complete", read).as_bytes());
        reducer.push(line(110, "b", "start", total).as_bytes());
        assert_eq!(reducer.progress.coverage(), Some(0.4));
        assert_eq!(drop(&reducer), Some(CoverageDrop { before: 0.8, new_streams: 1 }));
        reducer.push(line(171, "a", "range_complete", "").as_bytes());
        assert_eq!(drop(&reducer), None, "a minute later the stream is not new");
        reducer.push(line(180, "c", "start", total).as_bytes());
        assert!(drop(&reducer).is_some());
        reducer.push(b"{\"type\":\"eof\",\"eof\":{\"reason\":\"complete\"},\"_ts\":\"2026-11-20T08:03:01.000Z\"}\n");
        assert_eq!(drop(&reducer), None, "the run has ended");
    }
}
