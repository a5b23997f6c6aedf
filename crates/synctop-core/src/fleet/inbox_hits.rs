//! Occurrences of one error in the pipelines of a service. Their counts follow each change: a screen
//! asks for them many times a frame, and an outage hits thousands of pipelines.

use crate::protocol::Millis;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// Occurrences of an item's error in one pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxHit {
    /// Time of the first occurrence.
    pub first_at: Millis,
    /// Time of the latest occurrence.
    pub last_at: Millis,
    /// Start of the present series of occurrences, without a success in between.
    #[serde(default)]
    pub since: Millis,
    /// Number of runs that ended with the error.
    pub count: u64,
    /// Key of the last run with the error.
    pub(super) run: Arc<str>,
    /// Time of the success that ended the error.
    pub fixed_at: Option<Millis>,
    /// Number of times that the error returned after a success.
    pub regressed: u32,
    /// True if the pipeline does not exist any more.
    pub gone: bool,
}

impl InboxHit {
    /// True if the pipeline still has the error.
    #[must_use]
    pub fn open(&self) -> bool {
        self.fixed_at.is_none() && !self.gone
    }
}

/// Occurrences by pipeline id.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "BTreeMap<Arc<str>, InboxHit>")]
pub struct InboxHits {
    by_pipeline: BTreeMap<Arc<str>, InboxHit>,
    open: usize,
    open_again: usize,
    fixed: usize,
}

impl InboxHits {
    /// Number of pipelines that still have the error.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// Number of pipelines that have the error again after a success.
    #[must_use]
    pub fn open_again(&self) -> usize {
        self.open_again
    }

    /// Number of pipelines in which a success ended the error.
    #[must_use]
    pub fn fixed(&self) -> usize {
        self.fixed
    }

    /// Changes the occurrence in a pipeline; without one, adds `new` first.
    pub(super) fn change(&mut self, pipeline: &Arc<str>, new: Option<InboxHit>, change: impl FnOnce(&mut InboxHit)) {
        let known = self.by_pipeline.remove(pipeline);
        if let Some(old) = &known {
            self.count(old, usize::wrapping_sub);
        }
        if let Some(mut hit) = known.or(new) {
            change(&mut hit);
            self.count(&hit, usize::wrapping_add);
            self.by_pipeline.insert(Arc::clone(pipeline), hit);
        }
    }

    fn count(&mut self, hit: &InboxHit, add: fn(usize, usize) -> usize) {
        self.open = add(self.open, usize::from(hit.open()));
        self.open_again = add(self.open_again, usize::from(hit.open() && hit.regressed > 0));
        self.fixed = add(self.fixed, usize::from(hit.fixed_at.is_some()));
    }
}

impl Deref for InboxHits {
    type Target = BTreeMap<Arc<str>, InboxHit>;

    fn deref(&self) -> &Self::Target {
        &self.by_pipeline
    }
}

impl From<BTreeMap<Arc<str>, InboxHit>> for InboxHits {
    fn from(by_pipeline: BTreeMap<Arc<str>, InboxHit>) -> Self {
        let mut hits = Self::default();
        for hit in by_pipeline.values() {
            hits.count(hit, usize::wrapping_add);
        }
        hits.by_pipeline = by_pipeline;
        hits
    }
}

impl Serialize for InboxHits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_pipeline.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_follow_each_change(changes in prop::collection::vec((0_u8..4, any::<bool>(), any::<bool>(), any::<bool>()), 0..40)) {
            let mut hits = InboxHits::default();
            for (pipeline, is_new, is_fixed, gone) in changes {
                let new = InboxHit {
                    first_at: 1, last_at: 1, since: 1, count: 0, run: "r".into(), fixed_at: None, regressed: 0, gone: false,
                };
                hits.change(&pipeline.to_string().into(), is_new.then_some(new), |hit| {
                    hit.regressed += u32::from(is_new && hit.fixed_at.is_some());
                    (hit.fixed_at, hit.gone) = (is_fixed.then_some(2), gone);
                });
                let number = |is: fn(&InboxHit) -> bool| hits.values().filter(|hit| is(hit)).count();
                prop_assert_eq!(hits.open(), number(InboxHit::open));
                prop_assert_eq!(hits.open_again(), number(|hit| hit.open() && hit.regressed > 0));
                prop_assert_eq!(hits.fixed(), number(|hit| hit.fixed_at.is_some()));
            }
            let stored = serde_json::to_string(&hits).unwrap();
            prop_assert_eq!(serde_json::from_str::<InboxHits>(&stored).unwrap(), hits);
        }
    }
}
