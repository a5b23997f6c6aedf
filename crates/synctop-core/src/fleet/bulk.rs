//! Bulk action in stages: a canary, then three pipelines, then the rest at a limited rate. Stops if
//! the action has no effect.

use super::verify::{ActionResult, PipelineAction};
use crate::ResultClass;
use crate::protocol::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of pipelines of an action that needs no typed confirmation: a key on the screen,
/// or none on the command line, is enough.
pub const MAX_UNCONFIRMED: usize = 5;

/// Number of pipelines in the first stage.
const CANARY: usize = 1;
/// Number of pipelines in the second stage.
const SECOND_STAGE: usize = 3;

/// Minimum interval of the requests of the third stage, in milliseconds.
const SEND_INTERVAL_MS: Millis = 1_000;
/// Maximum number of pipelines of the third stage that are verified at once.
const MAX_IN_FLIGHT: usize = 5;

/// Number of pipelines that fail with one error at which the bulk action stops.
const MAX_SAME_ERRORS: usize = 2;

/// State of one pipeline in the bulk action.
#[derive(Debug, Clone, PartialEq)]
pub enum BulkStep {
    /// Its stage has not started.
    Waiting,
    /// The request was sent at this time, and its effect is being verified.
    Sent(Millis),
    /// The result is known.
    Done(ActionResult),
    /// Skipped: no request was sent.
    HeldBack,
}

/// One pipeline of a bulk action.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkItem {
    /// Id of the pipeline.
    pub id: Arc<str>,
    /// Fingerprint of its error before the action.
    pub fingerprint: Option<Arc<str>>,
    /// Progress of the action on it.
    pub step: BulkStep,
}

/// One action on many pipelines.
#[derive(Debug, Clone, PartialEq)]
pub struct Bulk {
    /// Action on each pipeline.
    pub action: PipelineAction,
    /// Pipelines in the order of the action.
    pub items: Vec<BulkItem>,
    /// Reason why the bulk action stopped early.
    pub stopped: Option<String>,
    last_sent: Option<Millis>,
}

impl Bulk {
    /// Creates a bulk action for pipelines, each with the fingerprint of its error. Pipelines with
    /// the most common error come first, so that the canary tests that error.
    #[must_use]
    pub fn new(action: PipelineAction, mut targets: Vec<(Arc<str>, Option<Arc<str>>)>) -> Self {
        let mut common: BTreeMap<Option<Arc<str>>, usize> = BTreeMap::new();
        for (_, fingerprint) in &targets {
            *common.entry(fingerprint.clone()).or_default() += 1;
        }
        targets.sort_by_key(|(_, fingerprint)| {
            (fingerprint.is_none(), std::cmp::Reverse(common.get(fingerprint).copied().unwrap_or(0)))
        });
        let items = targets
            .into_iter()
            .map(|(id, fingerprint)| BulkItem { id, fingerprint, step: BulkStep::Waiting })
            .collect();
        Self { action, items, stopped: None, last_sent: None }
    }

    /// Returns the stage of an index: 0 canary, 1 second stage, 2 the rest.
    #[must_use]
    pub fn stage(place: usize) -> usize {
        match place {
            0..CANARY => 0,
            CANARY..4 => 1,
            _ => 2,
        }
    }

    /// Returns the plan as text: `Canary: 1 first, then 3, then 12 at 1/s`.
    #[must_use]
    pub fn plan(&self) -> String {
        let all = self.items.len();
        let few = all.saturating_sub(CANARY).min(SECOND_STAGE);
        let rest = all.saturating_sub(CANARY + SECOND_STAGE);
        let mut words = format!("Canary: {} first", all.min(CANARY));
        if few > 0 {
            words.push_str(&format!(", then {few}"));
        }
        if rest > 0 {
            words.push_str(&format!(", then {rest} at 1/s"));
        }
        words
    }

    /// Marks the pipelines that are due at `now` as sent and returns their indices.
    pub fn next(&mut self, now: Millis) -> Vec<usize> {
        if self.stopped.is_some() {
            return Vec::new();
        }
        let stage_open = |stage: usize| {
            self.items
                .iter()
                .enumerate()
                .any(|(at, item)| Self::stage(at) < stage && !matches!(item.step, BulkStep::Done(_)))
        };
        let in_flight = self.items.iter().filter(|item| matches!(item.step, BulkStep::Sent(_))).count();
        let mut due = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            let stage = Self::stage(at);
            if item.step != BulkStep::Waiting {
                continue;
            }
            if stage_open(stage) {
                break;
            }
            if stage == 2 {
                let early = self.last_sent.is_some_and(|last| now - last < SEND_INTERVAL_MS);
                if early || in_flight + due.len() >= MAX_IN_FLIGHT || !due.is_empty() {
                    break;
                }
            }
            due.push(at);
        }
        for at in &due {
            if let Some(item) = self.items.get_mut(*at) {
                item.step = BulkStep::Sent(now);
                self.last_sent = Some(now);
            }
        }
        due
    }

    /// Records the result of one pipeline. Stops the bulk action if it indicates a common failure.
    pub fn done(&mut self, place: usize, verdict: ActionResult) {
        if let Some(item) = self.items.get_mut(place) {
            item.step = BulkStep::Done(verdict.clone());
        }
        let canary = Self::stage(place) == 0;
        let same = |fault: &super::pipeline::PipelineFault| {
            let again = |item: &&BulkItem| matches!(&item.step, BulkStep::Done(verdict) if verdict.fault().is_some_and(|it| it.fingerprint == fault.fingerprint));
            self.items.iter().filter(again).count()
        };
        let why = match &verdict {
            ActionResult::ParkedSame(fault, _)
            | ActionResult::ParkedNew(fault, _)
            | ActionResult::RanAndFailed(fault, _)
                if !canary && same(fault) >= MAX_SAME_ERRORS =>
            {
                Some(format!("the same error came back {} times: {}", same(fault), fault.core()))
            }
            verdict if canary && !verdict.took_effect() => Some(format!("the canary: {verdict}")),
            _ => self.failed_stage(),
        };
        if let Some(why) = why {
            self.stop(&why);
        }
    }

    /// Returns the reason to stop if no pipeline of the second stage took effect.
    fn failed_stage(&self) -> Option<String> {
        let few: Vec<_> = self.items.iter().skip(CANARY).take(SECOND_STAGE).collect();
        let bad = |item: &&BulkItem| matches!(&item.step, BulkStep::Done(verdict) if !verdict.took_effect());
        (few.len() > 1 && few.iter().all(bad)).then(|| format!("none of the {} after the first took effect", few.len()))
    }

    /// Stops the bulk action: skips unsent pipelines; sent ones are verified to their result.
    pub fn stop(&mut self, why: &str) {
        if self.stopped.is_none() {
            self.stopped = Some(why.to_owned());
        }
        for item in &mut self.items {
            if item.step == BulkStep::Waiting {
                item.step = BulkStep::HeldBack;
            }
        }
    }

    /// True if every pipeline has a result or was skipped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.items.iter().all(|item| matches!(item.step, BulkStep::Done(_) | BulkStep::HeldBack))
    }

    /// Returns how many pipelines took effect, did not take effect, and were skipped.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |of: fn(&BulkStep) -> bool| self.items.iter().filter(|item| of(&item.step)).count();
        (
            count(|step| matches!(step, BulkStep::Done(verdict) if verdict.took_effect())),
            count(|step| matches!(step, BulkStep::Done(verdict) if !verdict.took_effect())),
            count(|step| *step == BulkStep::HeldBack),
        )
    }

    /// Returns the class of all results together.
    #[must_use]
    pub fn class(&self) -> ResultClass {
        let (good, bad, held) = self.counts();
        let unknown = |item: &BulkItem| matches!(item.step, BulkStep::Done(ActionResult::Unknown(_)));
        match () {
            () if bad + held == 0 => ResultClass::Done,
            () if good > 0 => ResultClass::Mixed,
            () if held == 0 && self.items.iter().all(unknown) => ResultClass::Unfinished,
            () => ResultClass::Failed,
        }
    }
}
