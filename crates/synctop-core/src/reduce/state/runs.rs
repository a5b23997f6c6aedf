//! Earlier runs of a log, and the totals at the start of the current one.

use crate::protocol::Millis;
use crate::reduce::state::input::Anomaly;
use crate::reduce::state::outcome::Outcome;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of stored earlier runs; older ones are only counted.
pub(crate) const RUNS_KEPT: usize = 500;

/// Number of recent run ids that are recognized: two runs may alternate in one log.
pub(crate) const IDS_KEPT: usize = 16;

/// Earlier run of the same log.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PastRun {
    /// Outcome when the next run began, without the exit of a process.
    pub outcome: Outcome,
    /// Number of attempts of the run.
    pub attempts: u32,
    /// Records of its last attempt.
    pub records_in_attempt: Option<u64>,
    /// Records of all its attempts.
    pub records: Option<u64>,
    /// Time of its first message; `None` without times.
    pub started_at: Option<Millis>,
    /// Time of its end message, otherwise of the last message before the next run.
    pub ended_at: Option<Millis>,
    /// Its id, if the engine reports one.
    pub(crate) id: Option<Arc<str>>,
}

/// Announcement that an attempt's process ends.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Closing {
    /// True if the end is certain unless more records follow. False for a logged exception, which
    /// may have been caught.
    pub(crate) certain: bool,
    /// Record lines seen before the announcement.
    pub(crate) records: u64,
}

/// Earlier runs, oldest first.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PastRuns {
    pub(crate) list: Arc<Vec<PastRun>>,
    /// Number of earlier runs, including those beyond the bound.
    pub total: u64,
    /// Occurrences in earlier runs, for marks over the whole log.
    pub(crate) errors: u64,
    pub(crate) attempts: u64,
    pub(crate) checkpoints: u64,
    pub(crate) retries: u64,
}

impl PastRuns {
    /// Returns the newest earlier runs, oldest first, at most `RUNS_KEPT`.
    #[must_use]
    pub fn list(&self) -> &[PastRun] {
        &self.list
    }

    pub(crate) fn push(&mut self, run: PastRun) {
        let list = Arc::make_mut(&mut self.list);
        if list.len() >= RUNS_KEPT {
            list.remove(0);
        }
        list.push(run);
        self.total += 1;
    }
}

/// Totals of the run at the start of its last attempt.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct RunMark {
    /// The run as it ended, in case this attempt turns out to start another one.
    pub(crate) before: Option<Box<PastRun>>,
    /// True while it is undecided whether this attempt starts a run: the end before it reported
    /// that nothing is left, and no report has shown yet which totals it carries on.
    pub(crate) undecided: bool,
    /// True if some totals were carried on and others were not.
    pub(crate) mixed: bool,
    /// Start time of the engine's counters in the attempt before.
    pub(crate) counters_since: Option<Millis>,
    /// Id of the run that starts with the next attempt, if it was reported after the end of this
    /// one.
    pub(crate) follows: Option<Arc<str>>,
    pub(crate) checkpoints: u64,
    pub(crate) engine_checkpoints: Option<u64>,
    pub(crate) commits: u64,
    pub(crate) elapsed: Option<u64>,
    pub(crate) retries: u64,
    pub(crate) asked: usize,
    pub(crate) logged: usize,
    pub(crate) anomalies: BTreeMap<(Anomaly, Option<Arc<str>>), u64>,
}

/// Totals of a stream at the start of the last attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StreamMark {
    pub checkpoints: u64,
    pub errors: u64,
    pub deletions: u64,
    pub seen: u64,
    pub bytes: u64,
    pub measure: Option<u64>,
    pub retries: u64,
    pub limits: (u64, u64),
}
