//! Group of a pipeline and a note about it: the claim of the service compared with the evidence.

use super::pipeline::Pipeline;
use super::watched::Watched;
use super::wire::{DesiredStatus, PipelineStatus, Word};
use crate::protocol::Millis;
use crate::reduce::Outcome;

/// Time without a change, in milliseconds, after which a pipeline that should run is stale.
pub const STALE_AFTER_MS: Millis = 120_000;

/// Time without a change, in milliseconds, after which a pipeline with a failed run counts as
/// parked although its service does not report it.
const PARKED_AFTER_MS: Millis = 60_000;

/// Group of a pipeline, in the order of the screen: problems first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum PipelineGroup {
    /// Stopped by an error until a person acts.
    Parked,
    /// Running or ready, with an error.
    Failing,
    /// Claims to run, but nothing changes.
    Stale,
    /// No run has succeeded in time, of a pipeline with a schedule.
    Late,
    /// Backfill or setup.
    #[strum(serialize = "BACKFILLING")]
    Working,
    /// Nothing is left to read, and the last run has no error.
    Ready,
    /// Paused, or about to be.
    Paused,
    /// Being torn down.
    Deleting,
}

impl PipelineGroup {
    /// Returns the name of the group in capitals, such as `PARKED`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Watched {
    /// Returns the group at `now`.
    #[must_use]
    pub fn group(&self, now: Millis) -> PipelineGroup {
        let group = self.group_of_status(now);
        // Trouble with a cause comes before lateness, which follows from it.
        let is_late = self.pipeline.late_at.is_some_and(|late_at| now >= late_at);
        match group {
            PipelineGroup::Ready | PipelineGroup::Working if is_late => PipelineGroup::Late,
            group => group,
        }
    }

    fn group_of_status(&self, now: Millis) -> PipelineGroup {
        let it = &self.pipeline;
        let wanted = it.desired == DesiredStatus::Active;
        match it.status {
            Word::Known(PipelineStatus::Teardown) => PipelineGroup::Deleting,
            _ if it.desired == DesiredStatus::Deleted => PipelineGroup::Deleting,
            Word::Known(PipelineStatus::Error) => PipelineGroup::Parked,
            _ if wanted && failed(it) => {
                if self.quiet_ms(now) >= PARKED_AFTER_MS {
                    PipelineGroup::Parked
                } else {
                    PipelineGroup::Failing
                }
            }
            Word::Known(PipelineStatus::Paused) => PipelineGroup::Paused,
            _ if it.desired == DesiredStatus::Paused => PipelineGroup::Paused,
            _ if is_retrying(it) => PipelineGroup::Failing,
            Word::Known(PipelineStatus::Ready)
                if it.has_outcome(Outcome::CompletedWithErrors) || it.has_outcome(Outcome::Failed) =>
            {
                PipelineGroup::Failing
            }
            Word::Known(PipelineStatus::Ready) => PipelineGroup::Ready,
            Word::Known(PipelineStatus::Setup | PipelineStatus::Backfill) | Word::Other(_) if is_queued(it) => {
                PipelineGroup::Working
            }
            Word::Known(PipelineStatus::Backfill)
                if wanted && has_ended(it) && self.quiet_ms(now) >= STALE_AFTER_MS =>
            {
                PipelineGroup::Parked
            }
            Word::Known(PipelineStatus::Setup | PipelineStatus::Backfill) | Word::Other(_)
                if self.quiet_ms(now) >= STALE_AFTER_MS =>
            {
                PipelineGroup::Stale
            }
            _ if !it.faults.is_empty() => PipelineGroup::Failing,
            _ => PipelineGroup::Working,
        }
    }

    /// True if the pipeline counts as parked although its service does not report it.
    #[must_use]
    pub fn is_parking_inferred(&self, now: Millis) -> bool {
        self.group(now) == PipelineGroup::Parked && self.pipeline.status != PipelineStatus::Error
    }

    /// Returns a sentence about a contradiction between claim and evidence, or about another
    /// important fact.
    #[must_use]
    pub fn note(&self, now: Millis) -> Option<String> {
        let it = &self.pipeline;
        let claim = it.status.as_str();
        if let Some(sent) = self.unanswered().filter(|sent| now.saturating_sub(sent.at) >= PARKED_AFTER_MS / 4) {
            return Some(format!(
                "accepted the {} {} ago; nothing has run since",
                sent.action,
                ago(now.saturating_sub(sent.at))
            ));
        }
        match self.group(now) {
            PipelineGroup::Parked if self.is_parking_inferred(now) => {
                let since = it.run.as_ref().and_then(|run| run.ended_at).or(self.fault_since);
                let end = if failed(it) { "failed" } else { "ended" };
                Some(match since {
                    Some(at) => format!(
                        "parked (inferred): last run {end} {} ago, nothing runs; it claims {claim}",
                        ago(now.saturating_sub(at))
                    ),
                    None => format!(
                        "parked (inferred): last run {end}, nothing moved for {}; it claims {claim}",
                        ago(self.quiet_ms(now))
                    ),
                })
            }
            PipelineGroup::Late => {
                let late = it.late_at.map_or(0, |late_at| now.saturating_sub(late_at));
                let why = it.unassigned.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                Some(format!("no run has succeeded in time: late for {}{why}", ago(late)))
            }
            PipelineGroup::Stale => {
                let quiet = ago(self.quiet_ms(now));
                let known = if self.last_sign().is_some() { "" } else { " since the first reading" };
                Some(match &it.unassigned {
                    Some(why) => format!("{why}; no activity for {quiet}{known}"),
                    None => format!("claims {claim}, nothing runs: no activity for {quiet}{known}"),
                })
            }
            PipelineGroup::Failing => it.retry.as_ref().filter(|retry| retry.attempt > 0).map(|retry| {
                let when = retry.at.map(|at| format!(" in {}", ago(at.saturating_sub(now)))).unwrap_or_default();
                format!("retries{when} (after {} failures): {}", retry.attempt, retry.message)
            }),
            PipelineGroup::Paused if it.status != PipelineStatus::Paused => {
                Some(format!("pause requested; it still claims {claim}"))
            }
            PipelineGroup::Ready if it.has_outcome(Outcome::Running) && self.quiet_ms(now) < STALE_AFTER_MS => {
                Some("status ready, but data still moves".into())
            }
            PipelineGroup::Working | PipelineGroup::Ready if it.unassigned.is_some() => {
                it.unassigned.as_deref().map(Into::into)
            }
            PipelineGroup::Working if is_queued(it) => Some("Queued: concurrency limit reached".into()),
            PipelineGroup::Working if it.desired != DesiredStatus::Active => {
                Some(format!("change to {} is due", it.desired.as_str()))
            }
            _ => None,
        }
    }
}

impl Watched {
    /// Returns the most important doubt of the last run, and the number of further ones.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let (first, more) = self.pipeline.found.doubts.split_first()?;
        Some(match more.len() {
            0 => format!("doubt: {first}"),
            more => format!("doubt: {first} (and {more} more)"),
        })
    }
}

/// True if the last run ended, no other one runs, and no retry is planned. Always false for a
/// service with tasks, which reports parking itself.
fn has_ended(it: &Pipeline) -> bool {
    it.run.as_ref().is_some_and(|run| !run.open && run.state.is_none()) && it.retry.is_none()
}

/// True if the last run failed and nothing runs.
fn failed(it: &Pipeline) -> bool {
    has_ended(it) && it.has_outcome(Outcome::Failed)
}

/// True if the pipeline waits for a retry after a failure.
fn is_retrying(it: &Pipeline) -> bool {
    it.retry.as_ref().is_some_and(|retry| retry.attempt > 0)
}

/// True if the run is queued.
fn is_queued(it: &Pipeline) -> bool {
    it.run.as_ref().is_some_and(|run| run.state.as_deref() == Some("PENDING"))
}

/// Formats an age: `94 s`, `12 min`, `2 h`, `9 d`.
fn ago(millis: Millis) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Counts the pipelines of each group, in the order of [`PipelineGroup`].
#[must_use]
pub fn count_by_group<'w>(all: impl IntoIterator<Item = &'w Watched>, now: Millis) -> [usize; 7] {
    let mut counts = [0; 7];
    for watched in all {
        if let Some(count) = counts.get_mut(watched.group(now) as usize) {
            *count += 1;
        }
    }
    counts
}
