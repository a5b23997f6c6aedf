//! Group of a pipeline, and the sentence with its reason. The service's claim is compared with the
//! evidence.

use super::pipeline::{DesiredStatus, Pipeline, PipelineStatus};
use super::watched::Watched;
use crate::protocol::Millis;
use crate::reduce::Outcome;

/// After so long without any sign, in milliseconds, one that should run is stale.
pub const SILENT_MS: Millis = 120_000;

/// Time, in milliseconds, after which a pipeline with a failed run counts as parked although its
/// service does not report it.
const PARKED_MS: Millis = 60_000;

/// Groups in the order of the screen, trouble first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum PipelineGroup {
    Parked,
    /// Runs, or is ready, with an error.
    Failing,
    /// Claims to run, and nothing moves.
    Stale,
    /// Backfilling and setting up.
    #[strum(serialize = "BACKFILLING")]
    Working,
    Ready,
    Paused,
    Deleting,
}

impl PipelineGroup {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Watched {
    /// The group at this moment.
    #[must_use]
    pub fn group(&self, now: Millis) -> PipelineGroup {
        let it = &self.pipeline;
        let wanted = it.desired == DesiredStatus::Active;
        match it.status {
            PipelineStatus::Teardown => PipelineGroup::Deleting,
            _ if it.desired == DesiredStatus::Deleted => PipelineGroup::Deleting,
            PipelineStatus::Error => PipelineGroup::Parked,
            _ if wanted && failed(it) => {
                if self.quiet_ms(now) >= PARKED_MS {
                    PipelineGroup::Parked
                } else {
                    PipelineGroup::Failing
                }
            }
            PipelineStatus::Paused => PipelineGroup::Paused,
            _ if it.desired == DesiredStatus::Paused => PipelineGroup::Paused,
            _ if tries_again(it) => PipelineGroup::Failing,
            PipelineStatus::Ready if it.came_to(Outcome::CompletedWithErrors) || it.came_to(Outcome::Failed) => {
                PipelineGroup::Failing
            }
            PipelineStatus::Ready => PipelineGroup::Ready,
            PipelineStatus::Setup | PipelineStatus::Backfill | PipelineStatus::Other(_) if waits_its_turn(it) => {
                PipelineGroup::Working
            }
            PipelineStatus::Backfill if wanted && over(it) && self.quiet_ms(now) >= SILENT_MS => PipelineGroup::Parked,
            PipelineStatus::Setup | PipelineStatus::Backfill | PipelineStatus::Other(_)
                if self.quiet_ms(now) >= SILENT_MS =>
            {
                PipelineGroup::Stale
            }
            _ if !it.faults.is_empty() => PipelineGroup::Failing,
            _ => PipelineGroup::Working,
        }
    }

    /// True if it is parked although its service does not report it.
    #[must_use]
    pub fn inferred(&self, now: Millis) -> bool {
        self.group(now) == PipelineGroup::Parked && self.pipeline.status != PipelineStatus::Error
    }

    /// Contradiction between claim and evidence, or another important fact, as a sentence.
    #[must_use]
    pub fn note(&self, now: Millis) -> Option<String> {
        let it = &self.pipeline;
        let claim = it.status.as_str();
        if let Some(sent) = self.unanswered().filter(|sent| now.saturating_sub(sent.at) >= PARKED_MS / 4) {
            return Some(format!(
                "accepted the {} {} ago, nothing ran since",
                sent.action,
                ago(now.saturating_sub(sent.at))
            ));
        }
        match self.group(now) {
            PipelineGroup::Parked if self.inferred(now) => {
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
            PipelineGroup::Stale => {
                let quiet = ago(self.quiet_ms(now));
                let known = if self.last_sign().is_some() { "" } else { ", as long as it is watched" };
                Some(format!("claims {claim}, nothing runs: no activity for {quiet}{known}"))
            }
            PipelineGroup::Failing => it.retry.as_ref().filter(|retry| retry.attempt > 0).map(|retry| {
                let when = retry.at.map(|at| format!(" in {}", ago(at.saturating_sub(now)))).unwrap_or_default();
                format!("tries again{when} (after {} failures): {}", retry.attempt, retry.message)
            }),
            PipelineGroup::Paused if it.status != PipelineStatus::Paused => {
                Some(format!("to be paused; it still claims {claim}"))
            }
            PipelineGroup::Ready if it.came_to(Outcome::Running) && self.quiet_ms(now) < SILENT_MS => {
                Some("claims ready, yet data moves".into())
            }
            PipelineGroup::Working if waits_its_turn(it) => Some("Queued: concurrency limit reached".into()),
            PipelineGroup::Working if it.desired != DesiredStatus::Active => {
                Some(format!("it is desired {}", it.desired.as_str()))
            }
            _ => None,
        }
    }
}

impl Watched {
    /// The weightiest doubt of the last run, and how many more there are.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let (first, more) = self.pipeline.found.doubts.split_first()?;
        Some(match more.len() {
            0 => format!("doubt: {first}"),
            more => format!("doubt: {first} (and {more} more)"),
        })
    }
}

/// True if the last run ended and no other one runs; a service that reports parking itself is taken
/// at its word.
fn over(it: &Pipeline) -> bool {
    it.run.as_ref().is_some_and(|run| !run.open && run.state.is_none()) && it.retry.is_none()
}

/// It failed.
fn failed(it: &Pipeline) -> bool {
    over(it) && it.came_to(Outcome::Failed)
}

fn tries_again(it: &Pipeline) -> bool {
    it.retry.as_ref().is_some_and(|retry| retry.attempt > 0)
}

fn waits_its_turn(it: &Pipeline) -> bool {
    it.run.as_ref().is_some_and(|run| run.state.as_deref() == Some("PENDING"))
}

/// `94 s`, `12 min`, `2 h`, `9 d`.
fn ago(millis: Millis) -> String {
    let seconds = millis.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Number of pipelines in each group.
#[must_use]
pub fn standing<'w>(all: impl IntoIterator<Item = &'w Watched>, now: Millis) -> [usize; 7] {
    let mut counts = [0; 7];
    for watched in all {
        if let Some(count) = counts.get_mut(watched.group(now) as usize) {
            *count += 1;
        }
    }
    counts
}
