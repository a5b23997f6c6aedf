//! Results of a run that passes over all its streams and errors find: computed once for each state,
//! read by each frame.

use super::advice::Advice;
use super::verdict::{Verdict, verdict};
use crate::protocol::{Millis, Status};
use crate::reduce::{
    CoverageDrop, Digest, Doubt, ErrorGroup, MeanCoverage, Outcome, Progress, StreamState, doubts_among,
};
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
    /// Read share of the engine's own estimate, if there is no coverage.
    pub estimated: Option<f64>,
    /// Records that destinations have confirmed.
    pub committed: Option<u64>,
    /// Figures of all streams.
    pub digest: Digest,
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
        Self::after(Digest::default(), progress)
    }

    /// Assesses a state, given the digest of an earlier one: of a later state of the same input,
    /// only the changed streams are examined.
    #[must_use]
    pub fn after(digest: Digest, progress: &Progress) -> Self {
        let digest = digest.brought_to(progress);
        let verdict = verdict(progress);
        let is_running = verdict.outcome == Outcome::Running;
        let mut time_left = SlowestStream::default();
        if is_running {
            digest.states().iter().for_each(|state| time_left.see(state, progress.last_at));
        }
        let since = progress.new_since();
        let is_new = |state: &StreamState| state.is_first_start && state.started_at > since;
        let coverage = Progress::mean_of(digest.states().iter().map(|state| (state.coverage(), is_new(state))));
        let is_estimated = coverage.is_none()
            && (progress.has_whole_estimate() || digest.with(|state| state.has_estimate).next().is_some());
        Self {
            drop: coverage.and_then(|coverage| coverage.drop()).filter(|_| is_running),
            time_left: time_left.estimate(),
            estimated: if is_estimated { progress.estimated_share() } else { None },
            committed: digest.committed(),
            doubts: doubts_among(progress, &digest),
            coverage,
            verdict,
            digest,
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
    fn see(&mut self, stream: &StreamState, now: Option<Millis>) {
        self.has_pending |= stream.status == Status::NotStarted;
        if self.is_unknown || stream.status != Status::Started || stream.has_failed {
            return;
        }
        let since = Some(stream.started_at).filter(|since| *since > Millis::MIN);
        let took = now.zip(since).map(|(now, since)| now.saturating_sub(since) as f64 / 1000.0);
        let speed = stream.coverage().zip(took).filter(|(_, took)| *took >= LEAST_SECONDS).and_then(|(share, took)| {
            let done = share - stream.coverage_before;
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
