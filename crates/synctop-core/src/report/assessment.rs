//! Results of a run that one pass over all its streams finds: computed once for each state, read by
//! each frame.

use super::verdict::{Verdict, verdict};
use crate::reduce::{CoverageDrop, Doubt, Outcome, Progress, doubts};

/// Verdict, doubts and coverage of one state of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Outcome, cause and next step.
    pub verdict: Verdict,
    /// Claims that the evidence contradicts.
    pub doubts: Vec<Doubt>,
    /// Mean coverage of the streams whose total is known, 0 to 1, and their number.
    pub coverage: Option<(f64, usize)>,
    /// Reason why the coverage went down, while the run lasts.
    pub drop: Option<CoverageDrop>,
}

impl Assessment {
    /// Assesses a state.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        let verdict = verdict(progress);
        let is_running = verdict.outcome == Outcome::Running;
        Self {
            drop: progress.coverage_drop().filter(|_| is_running),
            doubts: doubts(progress),
            coverage: progress.mean_coverage(),
            verdict,
        }
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
