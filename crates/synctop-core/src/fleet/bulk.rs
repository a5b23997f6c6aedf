//! Bulk action in stages: a canary, then three, then the rest at a limited rate; stops when it does
//! not help.

use super::verify::{ActionResult, PipelineAction};
use crate::ResultClass;
use crate::protocol::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Number of pipelines tried before the rest.
const CANARY: usize = 1;
const FEW: usize = 3;

/// Of the rest: milliseconds between two, and how many are watched at once.
const BETWEEN_MS: Millis = 1_000;
const AT_ONCE: usize = 5;

/// Repetitions of one error before the bulk action stops.
const SAME: usize = 2;

/// State of one pipeline in the bulk action.
#[derive(Debug, Clone, PartialEq)]
pub enum BulkStep {
    Waiting,
    /// Sent, and watched since then.
    Sent(Millis),
    Done(ActionResult),
    /// It was not touched.
    HeldBack,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BulkItem {
    pub id: Arc<str>,
    /// The error it had.
    pub fingerprint: Option<Arc<str>>,
    pub step: BulkStep,
}

/// An action on many.
#[derive(Debug, Clone, PartialEq)]
pub struct Bulk {
    pub action: PipelineAction,
    pub items: Vec<BulkItem>,
    /// Reason that the bulk action stopped.
    pub stopped: Option<String>,
    last_sent: Option<Millis>,
}

impl Bulk {
    /// Starts on these pipelines, each with its error. Those with the most common error come first:
    /// the canary tests it.
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

    /// The stage of a place: the canary, the few after it, the rest.
    #[must_use]
    pub fn stage(place: usize) -> usize {
        match place {
            0..CANARY => 0,
            CANARY..4 => 1,
            _ => 2,
        }
    }

    /// `1, then 3, then 12 at one a second`.
    #[must_use]
    pub fn plan(&self) -> String {
        let all = self.items.len();
        let few = all.saturating_sub(CANARY).min(FEW);
        let rest = all.saturating_sub(CANARY + FEW);
        let mut words = all.min(CANARY).to_string();
        if few > 0 {
            words.push_str(&format!(", then {few}"));
        }
        if rest > 0 {
            words.push_str(&format!(", then {rest} at one a second"));
        }
        words
    }

    /// Pipelines to send at `now`.
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
                let early = self.last_sent.is_some_and(|last| now - last < BETWEEN_MS);
                if early || in_flight + due.len() >= AT_ONCE || !due.is_empty() {
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

    /// Records the result of one pipeline; stops the bulk action on evidence of a common failure.
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
                if !canary && same(fault) >= SAME =>
            {
                Some(format!("the same error came back {} times: {}", same(fault), fault.core()))
            }
            verdict if canary && !verdict.good() => Some(format!("the first one: {verdict}")),
            _ => self.useless_stage(),
        };
        if let Some(why) = why {
            self.stop(&why);
        }
    }

    /// Of those after the first none took effect.
    fn useless_stage(&self) -> Option<String> {
        let few: Vec<_> = self.items.iter().skip(CANARY).take(FEW).collect();
        let bad = |item: &&BulkItem| matches!(&item.step, BulkStep::Done(verdict) if !verdict.good());
        (few.len() > 1 && few.iter().all(bad)).then(|| format!("none of the {} after the first took effect", few.len()))
    }

    /// Goes no further; those that were sent are watched to their end.
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

    #[must_use]
    pub fn over(&self) -> bool {
        self.items.iter().all(|item| matches!(item.step, BulkStep::Done(_) | BulkStep::HeldBack))
    }

    /// Took effect, did not, held back.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |of: fn(&BulkStep) -> bool| self.items.iter().filter(|item| of(&item.step)).count();
        (
            count(|step| matches!(step, BulkStep::Done(verdict) if verdict.good())),
            count(|step| matches!(step, BulkStep::Done(verdict) if !verdict.good())),
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
