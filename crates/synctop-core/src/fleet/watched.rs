//! Observed pipelines of a service: times of changes, and accepted actions.

use super::pipeline::{NotAPipeline, Pipeline};
use crate::protocol::Millis;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Action that the service accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedAction {
    /// Action, such as `resume`.
    pub action: Arc<str>,
    /// Time of the request.
    pub at: Millis,
    /// Evidence at the time of the request.
    before: String,
}

/// Observed pipeline. Times are by the clock of this machine, except those that the service
/// reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// Last report.
    pub pipeline: Pipeline,
    /// Time of the last report that differed from the one before (see [`Fleet::seen_at`]).
    seen_at: Millis,
    /// Time of the first report.
    pub first_seen: Millis,
    /// Time of the last observed change.
    pub moved_at: Option<Millis>,
    /// Time since which the present error is known to exist.
    pub fault_since: Option<Millis>,
    /// Last accepted action.
    pub sent: Option<AcceptedAction>,
    /// Sequence number of the last single read of this pipeline (see [`Fleet::order`]).
    read_order: u64,
    /// Hash of its last entry in a list; `None` after a single read.
    entry: Option<u64>,
}

impl Watched {
    /// Time of the last known change: reported by the service, or observed.
    #[must_use]
    pub fn last_sign(&self) -> Option<Millis> {
        let run = self.pipeline.run.as_ref();
        // The start of an open run and the last change of the stored pipeline do not prove
        // progress.
        if run.is_some_and(|run| run.open && run.state.is_some()) {
            return self.moved_at;
        }
        let reported = [self.pipeline.updated_at, run.and_then(|run| run.ended_at), run.and_then(|run| run.started_at)];
        reported.into_iter().flatten().chain(self.moved_at).max()
    }

    /// Milliseconds since the last known change, otherwise since the first report.
    #[must_use]
    pub fn quiet_ms(&self, now: Millis) -> Millis {
        now.saturating_sub(self.last_sign().unwrap_or(self.first_seen)).max(0)
    }

    /// Returns the last accepted action if the pipeline has not changed since.
    #[must_use]
    pub fn unanswered(&self) -> Option<&AcceptedAction> {
        self.sent.as_ref().filter(|sent| sent.before == evidence(&self.pipeline))
    }
}

/// Returns a text that changes with the progress of a pipeline.
fn evidence(pipeline: &Pipeline) -> String {
    // The revision is left out: the request itself changes it.
    let (run, records, checkpoints, _, share) = pipeline.evidence();
    format!("{run:?} {records:?} {checkpoints:?} {share} {}", pipeline.status.as_str())
}

/// Entry of a list of pipelines: its JSON, whose secrets are not masked, and the id in it.
#[derive(Clone, Deserialize)]
#[serde(from = "Box<RawValue>")]
pub struct ListEntry {
    id: Arc<str>,
    text: Box<RawValue>,
}

/// Only the id: the text may have secrets.
impl fmt::Debug for ListEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListEntry").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The id of an entry; `None` if it has none.
#[derive(Deserialize)]
struct EntryId<'e> {
    #[serde(borrow, default)]
    id: Option<Cow<'e, str>>,
}

impl From<Box<RawValue>> for ListEntry {
    fn from(text: Box<RawValue>) -> Self {
        let id = match serde_json::from_str::<EntryId>(text.get()) {
            Ok(entry) => entry.id.map(Arc::from),
            // A repeated key, for example.
            Err(_) => {
                serde_json::from_str::<Value>(text.get()).ok().and_then(|it| it.get("id")?.as_str().map(Arc::from))
            }
        };
        Self { id: id.unwrap_or_default(), text }
    }
}

impl ListEntry {
    /// Creates the entries of JSON values.
    #[must_use]
    pub fn list(values: impl IntoIterator<Item = Value>) -> Vec<Self> {
        let entry = |value: Value| serde_json::value::to_raw_value(&value).ok().map(Self::from);
        values.into_iter().filter_map(entry).collect()
    }

    /// Returns the id of the pipeline; empty if the entry has none.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn hash(&self) -> u64 {
        crate::reduce::fingerprint::of_bytes(self.text.get().as_bytes())
    }

    fn value(&self) -> Result<Value, NotAPipeline> {
        serde_json::from_str(self.text.get()).map_err(|_| NotAPipeline::NoId)
    }
}

/// All pipelines of one service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    /// Pipelines by id.
    pub pipelines: BTreeMap<Arc<str>, Arc<Watched>>,
    /// Time of the last complete list.
    pub listed_at: Option<Millis>,
    /// Errors about entries of the list that are not readable as pipelines, by their ids.
    pub odd: BTreeMap<Arc<str>, String>,
    /// True if a part of the last list or changes was left out, because a single read is newer: the
    /// next list has to be a whole one.
    pub is_incomplete: bool,
    /// Sequence number of the last single read or removal.
    order: u64,
    /// Sequence numbers of the removals of pipelines: a list requested before a removal may still
    /// contain the pipeline.
    gone: BTreeMap<Arc<str>, u64>,
}

impl Fleet {
    /// Sequence number of the last single read or removal; unlike a clock, it never goes back.
    #[must_use]
    pub fn order(&self) -> u64 {
        self.order
    }

    /// Time of the last report of a pipeline of this fleet.
    #[must_use]
    pub fn seen_at(&self, watched: &Watched) -> Millis {
        watched.seen_at.max(self.listed_at.unwrap_or(Millis::MIN))
    }

    /// Takes a complete list received at `now` and requested when the sequence number was `asked`.
    /// Pipelines that are not in it are removed, except those with a newer single read. Returns the
    /// pipelines whose entries changed; an entry that did not is not even parsed.
    pub fn take_list(&mut self, list: &[ListEntry], asked: u64, now: Millis) -> Vec<Arc<Watched>> {
        let before = std::mem::take(&mut self.pipelines);
        (self.odd, self.is_incomplete) = (BTreeMap::new(), false);
        let (mut changed, mut rest) = (Vec::new(), before);
        for entry in list {
            let known = rest.remove(entry.id());
            changed.extend(self.take_entry(entry, known, asked, now));
        }
        // Pipelines that were created after the list was requested.
        let before = self.pipelines.len();
        self.pipelines.extend(rest.into_iter().filter(|(_, known)| known.read_order > asked));
        self.is_incomplete |= self.pipelines.len() > before;
        self.gone.retain(|_, at| *at > asked);
        self.listed_at = Some(now);
        changed
    }

    /// Takes the changes of a list since the one before, received and requested as a list is.
    pub fn take_changes(
        &mut self,
        entries: &[ListEntry],
        removed: &[Arc<str>],
        asked: u64,
        now: Millis,
    ) -> Vec<Arc<Watched>> {
        let mut changed = Vec::new();
        self.is_incomplete = false;
        for id in removed {
            self.odd.remove(id);
            if self.pipelines.get(id).is_some_and(|known| known.read_order > asked) {
                self.is_incomplete = true;
            } else {
                self.pipelines.remove(id);
            }
        }
        for entry in entries {
            let known = self.pipelines.get(entry.id()).cloned();
            changed.extend(self.take_entry(entry, known, asked, now));
        }
        self.gone.retain(|_, at| *at > asked);
        self.listed_at = Some(now);
        changed
    }

    /// Takes an entry of a list. Returns the pipeline if the entry changed.
    fn take_entry(
        &mut self,
        entry: &ListEntry,
        known: Option<Arc<Watched>>,
        asked: u64,
        now: Millis,
    ) -> Option<Arc<Watched>> {
        if self.gone.get(entry.id()).is_some_and(|at| *at > asked) {
            self.is_incomplete = true;
            return None;
        }
        let hash = entry.hash();
        let is_newer = known.as_ref().is_some_and(|known| known.read_order > asked);
        self.is_incomplete |= is_newer;
        if let Some(known) = known.as_ref().filter(|known| is_newer || known.entry == Some(hash)) {
            self.pipelines.insert(Arc::clone(&known.pipeline.id), Arc::clone(known));
            return None;
        }
        match entry.value().and_then(|value| watch(value, now, known.as_deref())) {
            Ok(mut watched) => {
                watched.entry = Some(hash);
                self.odd.remove(entry.id());
                let watched = Arc::new(watched);
                self.pipelines.insert(Arc::clone(&watched.pipeline.id), Arc::clone(&watched));
                Some(watched)
            }
            // A pipeline with an unreadable entry keeps its last state.
            Err(why) => {
                let id =
                    if entry.id().is_empty() { format!("#{}", self.odd.len()).into() } else { Arc::clone(&entry.id) };
                self.odd.insert(id, why.to_string());
                self.pipelines.extend(known.map(|known| (Arc::clone(&known.pipeline.id), known)));
                None
            }
        }
    }

    /// Takes one pipeline received at `now`.
    ///
    /// # Errors
    /// Returns [`NotAPipeline`] if it is none.
    pub fn take_one(&mut self, value: Value, now: Millis) -> Result<(), NotAPipeline> {
        let known = value.get("id").and_then(Value::as_str).and_then(|id| self.pipelines.get(id)).cloned();
        let mut watched = watch(value, now, known.as_deref())?;
        self.order += 1;
        watched.read_order = self.order;
        self.pipelines.insert(Arc::clone(&watched.pipeline.id), Arc::new(watched));
        Ok(())
    }

    /// Removes a pipeline that does not exist any more.
    pub fn remove(&mut self, id: &str) {
        self.pipelines.remove(id);
        self.order += 1;
        self.gone.insert(id.into(), self.order);
    }

    /// Records that the service accepted an action at `now`.
    pub fn sent(&mut self, id: &str, action: &str, now: Millis) {
        if let Some(known) = self.pipelines.get_mut(id) {
            let before = evidence(&known.pipeline);
            Arc::make_mut(known).sent = Some(AcceptedAction { action: action.into(), at: now, before });
        }
    }
}

/// Reads a report received at `now` and updates the times of the known pipeline.
fn watch(value: Value, now: Millis, known: Option<&Watched>) -> Result<Watched, NotAPipeline> {
    let pipeline = Pipeline::read(value, now, known.map(|it| &it.pipeline))?;
    let moved = known
        .filter(|known| known.pipeline.evidence() != pipeline.evidence() || known.pipeline.status != pipeline.status);
    let fault = |it: &Pipeline| it.faults.first().map(|fault| Arc::clone(&fault.fingerprint));
    let fault_since = match (fault(&pipeline), known) {
        (None, _) => None,
        (Some(now_is), Some(known)) if fault(&known.pipeline) == Some(Arc::clone(&now_is)) => known.fault_since,
        // The change was observed now; for an error at the first report only the service knows the
        // time.
        (Some(_), known) => pipeline.faults.first().and_then(|it| it.since).or(known.map(|_| now)),
    };
    Ok(Watched {
        moved_at: moved.map(|_| now).or(known.and_then(|it| it.moved_at)),
        first_seen: known.map_or(now, |it| it.first_seen),
        sent: known.and_then(|it| it.sent.clone()),
        seen_at: now,
        read_order: 0,
        entry: None,
        fault_since,
        pipeline,
    })
}
