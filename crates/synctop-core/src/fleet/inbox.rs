//! Error inbox: errors of all pipelines, grouped by cause, with affected pipelines, first
//! occurrence, acknowledgment and end. An error of a pipeline ends only with a later success of
//! that pipeline; an error that returns is marked.

use super::inbox_hits::{InboxHit, InboxHits};
use super::pipeline::PipelineFault;
use super::watched::Watched;
use crate::protocol::Millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Maximum number of stored times of occurrences per item.
const MAX_TIMES: usize = 500;

/// Period of the trend: one day, in milliseconds.
const DAY_MS: Millis = 86_400_000;

/// One error in all pipelines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxItem {
    /// Hash of the message without its particulars.
    pub fingerprint: Arc<str>,
    /// Message of the latest occurrence.
    pub message: Arc<str>,
    /// Failure type, such as `auth_error`.
    pub failure_type: Option<Arc<str>>,
    /// Next step for an operator.
    pub next: Option<Arc<str>>,
    /// Time of the first occurrence in any pipeline.
    pub first_at: Millis,
    /// Time of the latest occurrence in any pipeline.
    pub last_at: Millis,
    /// Occurrences by pipeline id.
    pub hits: InboxHits,
    /// Acknowledgment: person and time.
    pub acked: Option<(Arc<str>, Millis)>,
    /// Note of the acknowledgment.
    #[serde(default)]
    pub note: Option<Arc<str>>,
    /// Times of the latest occurrences.
    times: VecDeque<Millis>,
}

/// State of an inbox item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum InboxState {
    /// Open, and returned after a success in some pipeline.
    Regressed,
    /// Open, and neither acknowledged nor returned.
    New,
    /// Open, and acknowledged by a person.
    Acked,
    /// Ended by a success.
    Fixed,
    /// None of its pipelines exists any more.
    Gone,
}

impl InboxState {
    /// Returns the state in snake case, such as `regressed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// True if some pipeline still has the error.
    #[must_use]
    pub fn open(self) -> bool {
        matches!(self, Self::Regressed | Self::New | Self::Acked)
    }
}

impl InboxItem {
    fn of(fault: &PipelineFault, at: Millis) -> Self {
        Self {
            fingerprint: Arc::clone(&fault.fingerprint),
            message: Arc::clone(&fault.message),
            failure_type: fault.failure_type.clone(),
            next: fault.next.clone(),
            first_at: at,
            last_at: at,
            hits: InboxHits::default(),
            acked: None,
            note: None,
            times: VecDeque::new(),
        }
    }

    /// Returns the state over all pipelines with the error.
    #[must_use]
    pub fn state(&self) -> InboxState {
        match (self.hits.open(), &self.acked) {
            (1.., None) if self.hits.open_again() > 0 => InboxState::Regressed,
            (1.., None) => InboxState::New,
            (1.., Some(_)) => InboxState::Acked,
            (0, _) if self.hits.fixed() > 0 => InboxState::Fixed,
            (0, _) => InboxState::Gone,
        }
    }

    /// Number of pipelines that still have the error.
    #[must_use]
    pub fn open(&self) -> usize {
        self.hits.open()
    }

    /// Number of times that the error returned after a success, over all pipelines.
    #[must_use]
    pub fn returns(&self) -> u32 {
        self.hits.values().map(|hit| hit.regressed).sum()
    }

    /// Failure type such as `auth_error`, or `error` if it is unclassified.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.failure_type.as_deref().unwrap_or("error")
    }

    /// Counts the occurrences in each of `parts` equal parts of the last day, the newest last.
    #[must_use]
    pub fn trend(&self, parts: usize, now: Millis) -> Vec<u64> {
        let mut counts = vec![0; parts];
        let width = DAY_MS / Millis::try_from(parts.max(1)).unwrap_or(1);
        for at in &self.times {
            let back = usize::try_from(now.saturating_sub(*at).max(0) / width.max(1)).unwrap_or(usize::MAX);
            if let Some(count) = parts.checked_sub(back + 1).and_then(|place| counts.get_mut(place)) {
                *count += 1;
            }
        }
        counts
    }

    /// Stores the time of an occurrence.
    fn record_occurrence(&mut self, at: Millis) {
        self.times.push_back(at);
        if self.times.len() > MAX_TIMES {
            self.times.pop_front();
        }
    }
}

/// All items of one service, by fingerprint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inbox {
    /// Items by fingerprint.
    pub items: BTreeMap<Arc<str>, Arc<InboxItem>>,
}

impl Inbox {
    /// Records the errors of a pipeline at `now`. Returns the fingerprints of the items to store
    /// again.
    pub fn observe(&mut self, watched: &Watched, now: Millis) -> Vec<Arc<str>> {
        let it = &watched.pipeline;
        let run = it.run.as_ref().map(|run| Arc::clone(&run.key)).unwrap_or_default();
        let mut changed = Vec::new();
        for fault in &it.faults {
            let ended = it.run.as_ref().filter(|run| !run.open).and_then(|run| run.ended_at);
            let seen = fault.since.or(ended).unwrap_or(now).min(now);
            let known = self.items.get(&fault.fingerprint).and_then(|item| item.hits.get(&it.id));
            let again = known.is_some_and(|hit| !hit.open());
            let another = known.is_none_or(|hit| hit.run != run);
            if !again && !another {
                continue;
            }
            let item = self
                .items
                .entry(Arc::clone(&fault.fingerprint))
                .or_insert_with(|| Arc::new(InboxItem::of(fault, seen)));
            let item = Arc::make_mut(item);
            let new_hit = InboxHit {
                first_at: seen,
                last_at: now,
                since: seen,
                count: 0,
                run: Arc::clone(&run),
                fixed_at: None,
                regressed: 0,
                gone: false,
            };
            item.hits.change(&it.id, Some(new_hit), |hit| {
                (hit.last_at, hit.count) = (now, hit.count + 1);
                if again {
                    hit.since = seen;
                }
                hit.regressed += u32::from(again && hit.fixed_at.is_some());
                (hit.fixed_at, hit.gone, hit.run) = (None, false, Arc::clone(&run));
            });
            if again {
                // The acknowledgment was given before the error returned.
                (item.acked, item.note) = (None, None);
            }
            item.last_at = item.last_at.max(seen);
            item.message = Arc::clone(&fault.message);
            item.next.clone_from(&fault.next);
            item.record_occurrence(seen.max(item.first_at));
            changed.push(Arc::clone(&item.fingerprint));
        }
        changed
    }

    /// Closes hits of pipelines that have succeeded or do not exist any more at `now`. Returns the
    /// fingerprints of the items to store again.
    pub fn close_resolved(&mut self, pipelines: &BTreeMap<Arc<str>, Arc<Watched>>, now: Millis) -> Vec<Arc<str>> {
        let mut changed = Vec::new();
        for item in self.items.values_mut() {
            let over = |(id, hit): (&Arc<str>, &InboxHit)| {
                let there = pipelines.get(id);
                let fixed = there.is_some_and(|it| {
                    let it = &it.pipeline;
                    it.succeeded() && it.faults.iter().all(|fault| fault.fingerprint != item.fingerprint)
                });
                let open = hit.fixed_at.is_none() && (fixed || (there.is_none() && !hit.gone));
                open.then(|| (Arc::clone(id), fixed))
            };
            let over: Vec<_> = item.hits.iter().filter_map(over).collect();
            for (id, fixed) in &over {
                Arc::make_mut(item)
                    .hits
                    .change(id, None, |hit| (hit.fixed_at, hit.gone) = (fixed.then_some(now), !fixed));
            }
            if !over.is_empty() {
                changed.push(Arc::clone(&item.fingerprint));
            }
        }
        changed
    }

    /// Returns the time since which a pipeline has an error, if it is known.
    #[must_use]
    pub fn since(&self, pipeline: &str, fault: &PipelineFault) -> Option<Millis> {
        let hit = self.items.get(&fault.fingerprint)?.hits.get(pipeline).filter(|hit| hit.open())?;
        Some(hit.since).filter(|since| *since > 0)
    }

    /// Acknowledges the error, or withdraws its acknowledgment. Returns the changed item.
    pub fn acknowledge(
        &mut self,
        fingerprint: &str,
        who: &str,
        note: Option<&str>,
        now: Millis,
    ) -> Option<Arc<InboxItem>> {
        let item = Arc::make_mut(self.items.get_mut(fingerprint)?);
        (item.acked, item.note) = match &item.acked {
            Some(_) => (None, None),
            None => (Some((who.into(), now)), note.map(Arc::from)),
        };
        self.items.get(fingerprint).cloned()
    }

    /// Takes over acknowledgments stored by another process, unless the error has returned since.
    pub fn merge_acknowledgments(&mut self, kept: &Self) {
        for (fingerprint, item) in &mut self.items {
            if let Some(kept) = kept.items.get(fingerprint)
                && (&kept.acked, &kept.note) != (&item.acked, &item.note)
                && kept.returns() == item.returns()
            {
                let item = Arc::make_mut(item);
                item.acked.clone_from(&kept.acked);
                item.note.clone_from(&kept.note);
            }
        }
    }

    /// Returns the items by state (returned, new, acknowledged, fixed, gone), then by number of
    /// affected pipelines, then by latest occurrence.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Arc<InboxItem>> {
        let mut all: Vec<_> = self.items.values().collect();
        all.sort_by_cached_key(|item| (item.state(), std::cmp::Reverse(item.open()), std::cmp::Reverse(item.last_at)));
        all
    }
}
