//! Verification of an action: the state of a pipeline before it, compared with the state after it.
//! An accepted request proves nothing.

use super::pipeline::{DesiredStatus, Pipeline, PipelineFault, PipelineStatus};
use crate::ResultClass;
use crate::format::{count, duration, plural};
use crate::protocol::Millis;
use crate::reduce::Outcome;
use std::fmt;
use std::sync::Arc;

/// Time, in milliseconds, that work has to continue to count: a pipeline that is parked again often
/// is so within seconds.
pub const HOLDS_MS: Millis = 5_000;

/// Action on a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum PipelineAction {
    Resume,
    Pause,
    /// A run now, for new data.
    Sync,
    /// A new run, so that streams which the last one left out are tried again.
    Retry,
    Delete,
}

impl PipelineAction {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Effect of the action, for the confirmation.
    #[must_use]
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Resume => "Sets the pipeline to active. A parked pipeline restarts from its last checkpoint.",
            Self::Pause => "The call in flight comes to its next checkpoint, then nothing is read until it is resumed.",
            Self::Sync => "Starts a run now, which reads new data.",
            Self::Retry => "A new run begins: streams that the last one left out are tried again.",
            Self::Delete => "It is torn down and gone for good, with its state and its logs.",
        }
    }

    /// True if a service that keeps runs (`tasks`) would accept it: a parked or paused pipeline
    /// does not run before it is resumed.
    #[must_use]
    pub fn possible(self, it: &Pipeline, tasks: bool) -> bool {
        !(tasks
            && matches!(self, Self::Sync | Self::Retry)
            && matches!(it.status, PipelineStatus::Error | PipelineStatus::Paused))
    }

    /// The command that does the same.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::Resume => "pipelines resume",
            Self::Pause => "pipelines pause",
            Self::Sync => "pipelines sync",
            Self::Retry => "pipelines retry",
            Self::Delete => "pipelines delete",
        }
    }
}

/// State of a pipeline before an action.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    pub status: PipelineStatus,
    pub desired: DesiredStatus,
    run: Option<Arc<str>>,
    revision: Option<u64>,
    checkpoints: u64,
    records: u64,
    ended_at: Option<Millis>,
    faults: Vec<PipelineFault>,
}

impl Baseline {
    #[must_use]
    pub fn of(pipeline: &Pipeline) -> Self {
        Self {
            status: pipeline.status.clone(),
            desired: pipeline.desired.clone(),
            run: pipeline.run.as_ref().map(|run| Arc::clone(&run.key)),
            revision: pipeline.revision,
            checkpoints: pipeline.found.checkpoints.unwrap_or(0),
            records: pipeline.found.records.unwrap_or(0),
            ended_at: pipeline.run.as_ref().and_then(|run| run.ended_at),
            faults: pipeline.faults.clone(),
        }
    }

    /// `error (auth_error: ...), wanted active`.
    #[must_use]
    pub fn words(&self) -> String {
        let why = self.faults.first().map(|fault| format!(" ({}: {})", fault.kind(), fault.core())).unwrap_or_default();
        format!("{}{why}, desired {}", self.status.as_str(), self.desired.as_str())
    }

    /// True if the state shows that the action was applied.
    #[must_use]
    pub fn done(&self, action: PipelineAction, it: &Pipeline) -> bool {
        match action {
            PipelineAction::Pause => it.desired == DesiredStatus::Paused,
            PipelineAction::Delete => it.desired == DesiredStatus::Deleted || it.status == PipelineStatus::Teardown,
            _ => {
                let run = it.run.as_ref();
                let ran = run.map(|run| &run.key) != self.run.as_ref()
                    || run.and_then(|run| run.ended_at) != self.ended_at
                    || self.parked_since(it);
                it.desired == DesiredStatus::Active
                    && (self.desired != DesiredStatus::Active || it.status != self.status || ran)
            }
        }
    }

    /// A pipeline is parked since another time than before.
    fn parked_since(&self, it: &Pipeline) -> bool {
        let before = self.faults.first().and_then(|fault| fault.since);
        let now = it.reason.as_ref().and_then(|fault| fault.since);
        it.status == PipelineStatus::Error && before.zip(now).is_some_and(|(before, now)| before != now)
    }
}

/// Result of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionResult {
    TookEffect(String),
    /// It was accepted, and nothing came of it.
    NothingRan(String),
    ParkedSame(PipelineFault, Millis),
    ParkedNew(PipelineFault, Millis),
    /// It ran, and ended with an error, but is not parked.
    RanAndFailed(PipelineFault, Millis),
    /// The result cannot be determined, with the reason.
    Unknown(String),
    /// Refused: the reason, and its class.
    Refused(String, ResultClass),
}

/// Next step where a service accepts a request and no run follows.
const NOTHING_RAN_NEXT: &str =
    "see whether the worker of the service runs; a dead workflow takes no request: replace the pipeline by a new one";

impl ActionResult {
    /// Name in JSON and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TookEffect(_) => "took_effect",
            Self::NothingRan(_) => "nothing_ran",
            Self::ParkedSame(..) => "parked_again_same_error",
            Self::ParkedNew(..) => "parked_again_new_error",
            Self::Unknown(_) => "unknown",
            Self::RanAndFailed(..) => "ran_and_failed",
            Self::Refused(..) => "refused",
        }
    }

    /// The error it is parked with again.
    #[must_use]
    pub fn fault(&self) -> Option<&PipelineFault> {
        match self {
            Self::ParkedSame(fault, _) | Self::ParkedNew(fault, _) | Self::RanAndFailed(fault, _) => Some(fault),
            _ => None,
        }
    }

    #[must_use]
    pub fn good(&self) -> bool {
        matches!(self, Self::TookEffect(_))
    }

    /// Returns the class of this result; a refusal has the class of its reason.
    #[must_use]
    pub fn class(&self) -> ResultClass {
        match self {
            Self::TookEffect(_) => ResultClass::Done,
            Self::NothingRan(_) | Self::ParkedSame(..) | Self::ParkedNew(..) | Self::RanAndFailed(..) => {
                ResultClass::Failed
            }
            Self::Refused(_, class) => *class,
            Self::Unknown(_) => ResultClass::Unfinished,
        }
    }
}

/// Sentence for an operator.
impl fmt::Display for ActionResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |ms: &Millis| duration(u64::try_from(*ms).unwrap_or(0));
        match self {
            Self::TookEffect(how) => write!(f, "took effect: {how}"),
            Self::NothingRan(how) => write!(f, "accepted, but nothing ran: {how}"),
            Self::ParkedSame(fault, ms) => {
                write!(f, "parked again with the SAME error after {}: {}: {}", after(ms), fault.kind(), fault.core())
            }
            Self::ParkedNew(fault, ms) => {
                write!(f, "parked again with a NEW error after {}: {}: {}", after(ms), fault.kind(), fault.core())
            }
            Self::Unknown(why) => write!(f, "unknown: {why}"),
            Self::RanAndFailed(fault, ms) => {
                write!(f, "ran, and failed after {}: {}: {}", after(ms), fault.kind(), fault.core())
            }
            Self::Refused(why, _) => write!(f, "refused: {why}"),
        }
    }
}

/// Watches a pipeline after something was asked of it.
#[derive(Debug, Clone)]
pub struct Watch {
    action: PipelineAction,
    before: Baseline,
    /// As the service answered.
    accepted: Option<Baseline>,
    sent_at: Millis,
    /// Maximum time until an effect is visible, in milliseconds.
    patience: Millis,
    /// It was seen to have left its error.
    left: bool,
    /// Since when it works.
    works_since: Option<Millis>,
    /// Time of the last information.
    seen_at: Option<Millis>,
}

impl Watch {
    #[must_use]
    pub fn new(
        action: PipelineAction,
        before: Baseline,
        accepted: Option<&Pipeline>,
        sent_at: Millis,
        patience: Millis,
    ) -> Self {
        let accepted = accepted.map(Baseline::of);
        let left = accepted.as_ref().is_some_and(|it| it.status != PipelineStatus::Error);
        Self { action, before, accepted, sent_at, patience, left, works_since: None, seen_at: None }
    }

    /// Examines the pipeline at `now`; `None`: it is gone. Returns the result once it is known.
    pub fn see(&mut self, pipeline: Option<&Pipeline>, now: Millis) -> Option<ActionResult> {
        self.seen_at = Some(now);
        let since = now - self.sent_at;
        let took = |how: String| Some(ActionResult::TookEffect(how));
        let after = duration(u64::try_from(since).unwrap_or(0));
        let Some(it) = pipeline else {
            return match self.action {
                PipelineAction::Delete => took(format!("it is gone after {after}")),
                _ => Some(ActionResult::Unknown("the pipeline is gone: it was deleted meanwhile".into())),
            };
        };
        let told = match self.action {
            PipelineAction::Delete => None,
            PipelineAction::Pause if self.before.status == PipelineStatus::Paused => {
                took("No change: already paused".into())
            }
            PipelineAction::Pause if it.status == PipelineStatus::Paused => took(format!("paused after {after}")),
            PipelineAction::Pause if it.status == PipelineStatus::Error => {
                took("it is parked, and is not started again".into())
            }
            PipelineAction::Pause => None,
            PipelineAction::Resume | PipelineAction::Sync | PipelineAction::Retry => self.works(it, now, &after),
        };
        told.or_else(|| (since >= self.patience).then(|| self.time_over(it, since)))
    }

    /// Nothing could be learned of it at `now`, and why. Answers when that has lasted too long.
    #[must_use]
    pub fn blind(&self, why: &str, now: Millis) -> Option<ActionResult> {
        (now - self.seen_at.unwrap_or(self.sent_at) >= self.patience).then(|| ActionResult::Unknown(why.to_owned()))
    }

    fn works(&mut self, it: &Pipeline, now: Millis, after: &str) -> Option<ActionResult> {
        let since = now - self.sent_at;
        let took = |how: String| Some(ActionResult::TookEffect(how));
        let newer = |mark: &Baseline| match (mark.revision, it.revision) {
            (Some(before), Some(now)) => now > before,
            _ => false,
        };
        let run = it.run.as_ref();
        // The published service keeps the key of a resumed run: its engine's clock distinguishes
        // them.
        let other_run = run.map(|run| &run.key) != self.before.run.as_ref();
        let fresh = other_run || run.and_then(|run| run.ended_at) != self.before.ended_at;
        let run_open = run.is_some_and(|run| run.open);
        if it.status == PipelineStatus::Error {
            // As long as nothing shows that it ever left, it is the error that it had.
            let again =
                self.left || other_run || self.before.parked_since(it) || self.accepted.as_ref().is_some_and(newer);
            return again.then(|| self.parked(it, since));
        }
        self.left = true;
        let errors = it.came_to(Outcome::CompletedWithErrors) || it.came_to(Outcome::Failed);
        if it.status == PipelineStatus::Ready && !run_open {
            return match self.action {
                PipelineAction::Resume if self.before.status == PipelineStatus::Ready && !fresh && !errors => {
                    took("No change: already ready".into())
                }
                PipelineAction::Resume if self.before.status == PipelineStatus::Ready && !fresh => {
                    let how =
                        "it was ready already, and there was nothing to resume; a new run tries failed streams again";
                    Some(ActionResult::NothingRan(how.into()))
                }
                PipelineAction::Resume if errors => took(format!("ready after {after}, with errors in some streams")),
                PipelineAction::Resume => took(format!("ready after {after}")),
                _ if !fresh => None,
                _ if errors => Some(ActionResult::RanAndFailed(fault_of(it), since)),
                _ => took(format!("ready after {after}")),
            };
        }
        if !run_open && it.came_to(Outcome::Failed) && fresh {
            return Some(self.parked(it, since));
        }
        let checkpoints = it.found.checkpoints.unwrap_or(0);
        let records = it.found.records.unwrap_or(0);
        let (had_checkpoints, had_records) =
            if other_run { (0, 0) } else { (self.before.checkpoints, self.before.records) };
        let moved = checkpoints > had_checkpoints || records > had_records;
        if !moved || !run_open || it.retry.as_ref().is_some_and(|retry| retry.attempt > 0) {
            self.works_since = None;
            return None;
        }
        let works_since = *self.works_since.get_or_insert(now);
        if now - works_since < HOLDS_MS {
            return None;
        }
        let ckpts = usize::try_from(checkpoints.saturating_sub(had_checkpoints)).unwrap_or(usize::MAX);
        took(format!(
            "+{} and +{} records in {after}, and it goes on",
            plural(ckpts, "checkpoint"),
            count(records.saturating_sub(had_records))
        ))
    }

    fn parked(&self, it: &Pipeline, since: Millis) -> ActionResult {
        let fault = fault_of(it);
        if self.before.faults.iter().any(|known| known.fingerprint == fault.fingerprint) {
            ActionResult::ParkedSame(fault, since)
        } else {
            ActionResult::ParkedNew(fault, since)
        }
    }

    fn time_over(&self, it: &Pipeline, since: Millis) -> ActionResult {
        let waited = duration(u64::try_from(since / 1000 * 1000).unwrap_or(0));
        let claim = it.status.as_str();
        if it.run.as_ref().is_some_and(|run| run.open)
            && self.action != PipelineAction::Delete
            && self.action != PipelineAction::Pause
        {
            let state = it.run.as_ref().and_then(|run| run.state.as_deref());
            return ActionResult::Unknown(match state {
                Some("PENDING") => format!("it waits for its turn since {waited}"),
                _ if self.works_since.is_some() => format!("it runs since {waited}, and may go on"),
                _ => format!("it runs since {waited}, and no checkpoint came yet"),
            });
        }
        match self.action {
            PipelineAction::Pause | PipelineAction::Delete => {
                ActionResult::Unknown(format!("it claims {claim} after {waited}"))
            }
            _ => ActionResult::NothingRan(format!(
                "after {waited} it claims {claim}, as before; next: {NOTHING_RAN_NEXT}"
            )),
        }
    }
}

/// The error that a pipeline has.
fn fault_of(it: &Pipeline) -> PipelineFault {
    it.reason.clone().or_else(|| it.faults.first().cloned()).unwrap_or_else(|| PipelineFault {
        fingerprint: Arc::default(),
        message: "its service reports no reason".into(),
        failure_type: None,
        streams: Vec::new(),
        next: None,
        since: None,
    })
}
