//! Verification of an action: compares the state of a pipeline before and after it. An accepted
//! request proves nothing.

use super::pipeline::{Pipeline, PipelineFault};
use super::wire::{DesiredStatus, PipelineStatus, Word};
use crate::ResultClass;
use crate::format::{count, duration, plural};
use crate::protocol::Millis;
use crate::reduce::Outcome;
use std::fmt;
use std::sync::Arc;

/// Time, in milliseconds, for which progress has to continue to count as an effect: a pipeline that
/// is parked again is often parked within seconds.
pub const MIN_PROGRESS_MS: Millis = 5_000;

/// Action on a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum PipelineAction {
    /// Makes a paused or parked pipeline active again.
    Resume,
    /// Stops the pipeline at its next checkpoint.
    Pause,
    /// Starts a run for new data.
    Sync,
    /// Starts a new run that tries streams again which the last one left out.
    Retry,
    /// Tears the pipeline down and removes it.
    Delete,
}

impl PipelineAction {
    /// Returns the action in snake case, such as `resume`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Effect of the action, for the confirmation.
    #[must_use]
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Resume => "Sets the pipeline to active. A parked pipeline restarts from its last checkpoint.",
            Self::Pause => {
                "The call in flight runs to its next checkpoint; then nothing is read until the pipeline is resumed."
            }
            Self::Sync => "Starts a run now, which reads new data.",
            Self::Retry => "Starts a new run that retries the streams that failed.",
            Self::Delete => {
                "Tears the pipeline down and deletes it with its state and its logs. This cannot be undone."
            }
        }
    }

    /// True if the pipeline can accept the action. In a service that keeps runs (`tasks`), a parked
    /// or paused pipeline does not run before it is resumed. A paused one cannot be paused.
    #[must_use]
    pub fn is_possible(self, it: &Pipeline, tasks: bool) -> bool {
        let waits = matches!(it.status, Word::Known(PipelineStatus::Error | PipelineStatus::Paused));
        let is_paused = matches!(it.status, Word::Known(PipelineStatus::Paused));
        !(tasks && matches!(self, Self::Sync | Self::Retry) && waits || self == Self::Pause && is_paused)
    }

    /// Command of synctop for the same action.
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
    /// Status on the wire.
    pub status: Word<PipelineStatus>,
    /// Desired status on the wire.
    pub desired: Word<DesiredStatus>,
    run: Option<Arc<str>>,
    revision: Option<u64>,
    checkpoints: u64,
    records: u64,
    ended_at: Option<Millis>,
    faults: Vec<PipelineFault>,
}

/// Writes the state: `error (auth_error: ...), desired active`.
impl std::fmt::Display for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_str())?;
        if let Some(fault) = self.faults.first() {
            write!(f, " ({}: {})", fault.kind(), fault.core())?;
        }
        write!(f, ", desired {}", self.desired.as_str())
    }
}

impl Baseline {
    /// Copies the values of a pipeline that an action may change.
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

    /// True if the state of `it` shows that the action was applied.
    #[must_use]
    pub fn is_applied(&self, action: PipelineAction, it: &Pipeline) -> bool {
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

    /// True if the pipeline is parked, and was parked at another time than before.
    fn parked_since(&self, it: &Pipeline) -> bool {
        let before = self.faults.first().and_then(|fault| fault.since);
        let now = it.reason.as_ref().and_then(|fault| fault.since);
        it.status == PipelineStatus::Error && before.zip(now).is_some_and(|(before, now)| before != now)
    }
}

/// Result of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum ActionResult {
    /// The action took effect; the text describes the effect.
    TookEffect(String),
    /// The request was accepted, but had no effect; the text gives details.
    NothingRan(String),
    /// Parked again with the same error, after this time in milliseconds.
    ParkedSame(PipelineFault, Millis),
    /// Parked again with another error, after this time in milliseconds.
    ParkedNew(PipelineFault, Millis),
    /// A run ended with an error after this time in milliseconds, but the pipeline is not parked.
    RanAndFailed(PipelineFault, Millis),
    /// The result cannot be determined; the text is the reason.
    Unknown(String),
    /// Refused: the reason, and its class.
    Refused(String, ResultClass),
}

/// Next step if a service accepts a request and no run follows.
const NOTHING_RAN_NEXT: &str =
    "check that the worker of the service runs; if it does, its workflow has ended: replace the pipeline by a new one";

impl ActionResult {
    /// Name of the result in JSON and logs.
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

    /// Error of the run that followed the action.
    #[must_use]
    pub fn fault(&self) -> Option<&PipelineFault> {
        match self {
            Self::ParkedSame(fault, _) | Self::ParkedNew(fault, _) | Self::RanAndFailed(fault, _) => Some(fault),
            _ => None,
        }
    }

    /// True if the action took effect.
    #[must_use]
    pub fn took_effect(&self) -> bool {
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

/// Formats the result as a sentence for an operator.
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

/// Observation of a pipeline after an accepted action, until its result is known.
#[derive(Debug, Clone)]
pub struct ActionWatch {
    action: PipelineAction,
    before: Baseline,
    /// State in the answer of the service to the request.
    accepted: Option<Baseline>,
    sent_at: Millis,
    /// Maximum time until an effect is visible, in milliseconds.
    patience: Millis,
    /// True once the pipeline was seen in another status than `error`.
    has_left_error: bool,
    /// Time since which the pipeline makes progress.
    progress_since: Option<Millis>,
    /// Time of the last observation.
    seen_at: Option<Millis>,
}

impl ActionWatch {
    /// Creates a watch of an action sent at `sent_at`; `accepted`: the answer to its request.
    #[must_use]
    pub fn new(
        action: PipelineAction,
        before: Baseline,
        accepted: Option<&Pipeline>,
        sent_at: Millis,
        patience: Millis,
    ) -> Self {
        let accepted = accepted.map(Baseline::of);
        let has_left_error = accepted.as_ref().is_some_and(|it| it.status != PipelineStatus::Error);
        Self { action, before, accepted, sent_at, patience, has_left_error, progress_since: None, seen_at: None }
    }

    /// Evaluates the pipeline at `now`; `None`: it does not exist any more. Returns the result once
    /// it is known.
    pub fn see(&mut self, pipeline: Option<&Pipeline>, now: Millis) -> Option<ActionResult> {
        self.seen_at = Some(now);
        let since = now - self.sent_at;
        let took = |how: String| Some(ActionResult::TookEffect(how));
        let after = duration(u64::try_from(since).unwrap_or(0));
        let Some(it) = pipeline else {
            return match self.action {
                PipelineAction::Delete => took(format!("deleted after {after}")),
                _ => Some(ActionResult::Unknown("the pipeline is gone: it was deleted meanwhile".into())),
            };
        };
        let told = match self.action {
            PipelineAction::Delete => None,
            PipelineAction::Pause if self.before.status == PipelineStatus::Paused => {
                took("No change: already paused".into())
            }
            PipelineAction::Pause if it.status == PipelineStatus::Paused => took(format!("paused after {after}")),
            PipelineAction::Pause if it.status == PipelineStatus::Error => took("parked, and not started again".into()),
            PipelineAction::Pause => None,
            PipelineAction::Resume | PipelineAction::Sync | PipelineAction::Retry => self.works(it, now, &after),
        };
        told.or_else(|| (since >= self.patience).then(|| self.timeout_result(it, since)))
    }

    /// Returns a result if the pipeline could not be observed at `now`, for the reason `why`, and
    /// the last observation is at least `patience` old.
    #[must_use]
    pub fn observation_lost(&self, why: &str, now: Millis) -> Option<ActionResult> {
        (now - self.seen_at.unwrap_or(self.sent_at) >= self.patience).then(|| ActionResult::Unknown(why.to_owned()))
    }

    /// Evaluates a pipeline after an action that starts it.
    fn works(&mut self, it: &Pipeline, now: Millis, after: &str) -> Option<ActionResult> {
        let since = now - self.sent_at;
        let took = |how: String| Some(ActionResult::TookEffect(how));
        let newer = |mark: &Baseline| match (mark.revision, it.revision) {
            (Some(before), Some(now)) => now > before,
            _ => false,
        };
        let run = it.run.as_ref();
        // The published service keeps the key of a resumed run: the engine's clock distinguishes
        // the runs.
        let other_run = run.map(|run| &run.key) != self.before.run.as_ref();
        let is_new_run = other_run || run.and_then(|run| run.ended_at) != self.before.ended_at;
        let run_open = run.is_some_and(|run| run.open);
        if it.status == PipelineStatus::Error {
            // Without evidence that the pipeline left its error, the error is the one from before
            // the action.
            let again = self.has_left_error
                || other_run
                || self.before.parked_since(it)
                || self.accepted.as_ref().is_some_and(newer);
            return again.then(|| self.parked(it, since));
        }
        self.has_left_error = true;
        let errors = it.has_outcome(Outcome::CompletedWithErrors) || it.has_outcome(Outcome::Failed);
        if it.status == PipelineStatus::Ready && !run_open {
            return match self.action {
                PipelineAction::Resume if self.before.status == PipelineStatus::Ready && !is_new_run && !errors => {
                    took("No change: already ready".into())
                }
                PipelineAction::Resume if self.before.status == PipelineStatus::Ready && !is_new_run => {
                    let how = "no change: already ready; a new run retries failed streams";
                    Some(ActionResult::NothingRan(how.into()))
                }
                PipelineAction::Resume if errors => took(format!("ready after {after}, with errors in some streams")),
                PipelineAction::Resume => took(format!("ready after {after}")),
                _ if !is_new_run => None,
                _ if errors => Some(ActionResult::RanAndFailed(fault_of(it), since)),
                _ => took(format!("ready after {after}")),
            };
        }
        if !run_open && it.has_outcome(Outcome::Failed) && is_new_run {
            return Some(self.parked(it, since));
        }
        let checkpoints = it.found.checkpoints.unwrap_or(0);
        let records = it.found.records.unwrap_or(0);
        let (had_checkpoints, had_records) =
            if other_run { (0, 0) } else { (self.before.checkpoints, self.before.records) };
        let moved = checkpoints > had_checkpoints || records > had_records;
        if !moved || !run_open || it.retry.as_ref().is_some_and(|retry| retry.attempt > 0) {
            self.progress_since = None;
            return None;
        }
        let progress_since = *self.progress_since.get_or_insert(now);
        if now - progress_since < MIN_PROGRESS_MS {
            return None;
        }
        let ckpts = usize::try_from(checkpoints.saturating_sub(had_checkpoints)).unwrap_or(usize::MAX);
        took(format!(
            "+{} and +{} records in {after}, still running",
            plural(ckpts, "checkpoint"),
            count(records.saturating_sub(had_records))
        ))
    }

    /// Returns the result for a pipeline that is parked again.
    fn parked(&self, it: &Pipeline, since: Millis) -> ActionResult {
        let fault = fault_of(it);
        if self.before.faults.iter().any(|known| known.fingerprint == fault.fingerprint) {
            ActionResult::ParkedSame(fault, since)
        } else {
            ActionResult::ParkedNew(fault, since)
        }
    }

    /// Returns the result for a pipeline without a result at the end of the patience.
    fn timeout_result(&self, it: &Pipeline, since: Millis) -> ActionResult {
        let waited = duration(u64::try_from(since / 1000 * 1000).unwrap_or(0));
        let claim = it.status.as_str();
        if it.run.as_ref().is_some_and(|run| run.open)
            && self.action != PipelineAction::Delete
            && self.action != PipelineAction::Pause
        {
            let state = it.run.as_ref().and_then(|run| run.state.as_deref());
            return ActionResult::Unknown(match state {
                Some("PENDING") => format!("queued for {waited}"),
                _ if self.progress_since.is_some() => format!("running for {waited}, and may continue"),
                _ => format!("running for {waited}, without a checkpoint so far"),
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

/// Returns the main error of a pipeline, or a placeholder if its service reports none.
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
