//! Observed pipelines of a service: times of changes, and requested actions.

use super::pipeline::Pipeline;
use crate::protocol::Millis;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something that was asked of a pipeline, and was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub action: Arc<str>,
    pub at: Millis,
    /// The evidence at that time.
    before: String,
}

/// A pipeline under watch. Times are ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    pub pipeline: Pipeline,
    /// Times of the last and the first information.
    pub seen_at: Millis,
    pub first_seen: Millis,
    /// Time of the last observed change.
    pub moved_at: Option<Millis>,
    /// Since when this error is known to stand.
    pub fault_since: Option<Millis>,
    pub sent: Option<Sent>,
    /// Sequence number of the last read of this pipeline (see [`Fleet::order`]).
    told: u64,
}

impl Watched {
    /// The last time that anything is known to have happened to it.
    #[must_use]
    pub fn last_sign(&self) -> Option<Millis> {
        let run = self.pipeline.run.as_ref();
        // The start of an open run and the last change of its pipeline do not show that it moves.
        if run.is_some_and(|run| run.open && run.state.is_some()) {
            return self.moved_at;
        }
        let told = [self.pipeline.updated_at, run.and_then(|run| run.ended_at), run.and_then(|run| run.started_at)];
        told.into_iter().flatten().chain(self.moved_at).max()
    }

    /// Time without a change; by the service's report, otherwise since we watch.
    #[must_use]
    pub fn quiet_ms(&self, now: Millis) -> Millis {
        now.saturating_sub(self.last_sign().unwrap_or(self.first_seen)).max(0)
    }

    /// Accepted action without any change since.
    #[must_use]
    pub fn unanswered(&self) -> Option<&Sent> {
        self.sent.as_ref().filter(|sent| sent.before == evidence(&self.pipeline))
    }
}

fn evidence(pipeline: &Pipeline) -> String {
    // The revision is the request's own doing.
    let (run, records, checkpoints, _, share) = pipeline.evidence();
    format!("{run:?} {records:?} {checkpoints:?} {share} {}", pipeline.status.as_str())
}

/// All pipelines of one service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    pub pipelines: BTreeMap<Arc<str>, Arc<Watched>>,
    /// Time of the last complete list.
    pub listed_at: Option<Millis>,
    /// Entries of the list that are no pipelines.
    pub odd: Vec<String>,
    /// Number of reads of single pipelines.
    order: u64,
    /// Those that are known to be gone, and since when in that order: an older list may still name
    /// them.
    gone: BTreeMap<Arc<str>, u64>,
}

impl Fleet {
    /// Sequence number of reads of single pipelines; unlike a clock, it never goes back.
    #[must_use]
    pub fn order(&self) -> u64 {
        self.order
    }

    /// Takes the whole list as of `now`, requested when the order was `asked`: missing pipelines
    /// are gone. Newer reads of single pipelines stay.
    pub fn take_list(&mut self, list: Vec<Value>, asked: u64, now: Millis) {
        let mut before = std::mem::take(&mut self.pipelines);
        self.gone.retain(|_, at| *at > asked);
        self.odd.clear();
        let newer = |known: &Arc<Watched>| known.told > asked;
        for told in list {
            let id = told.get("id").and_then(Value::as_str).unwrap_or_default();
            if self.gone.contains_key(id) {
                continue;
            }
            let known = before.remove(id);
            if let Some(known) = known.as_ref().filter(|known| newer(known)) {
                self.pipelines.insert(Arc::clone(&known.pipeline.id), Arc::clone(known));
                continue;
            }
            match watch(told, now, known.as_deref()) {
                Ok(watched) => drop(self.pipelines.insert(Arc::clone(&watched.pipeline.id), Arc::new(watched))),
                // An unreadable pipeline stays as it was.
                Err(why) => {
                    self.odd.push(why);
                    self.pipelines.extend(known.map(|known| (Arc::clone(&known.pipeline.id), known)));
                }
            }
        }
        // One that was made meanwhile.
        self.pipelines.extend(before.into_iter().filter(|(_, known)| newer(known)));
        self.listed_at = Some(now);
    }

    /// Takes one pipeline as of `now`.
    ///
    /// # Errors
    /// Why it is no pipeline.
    pub fn take_one(&mut self, told: Value, now: Millis) -> Result<(), String> {
        let known = told.get("id").and_then(Value::as_str).and_then(|id| self.pipelines.get(id)).cloned();
        let mut watched = watch(told, now, known.as_deref())?;
        self.order += 1;
        watched.told = self.order;
        self.pipelines.insert(Arc::clone(&watched.pipeline.id), Arc::new(watched));
        Ok(())
    }

    /// One is gone.
    pub fn remove(&mut self, id: &str) {
        self.pipelines.remove(id);
        self.order += 1;
        self.gone.insert(id.into(), self.order);
    }

    /// Something was asked of a pipeline at `now`, and was accepted.
    pub fn sent(&mut self, id: &str, action: &str, now: Millis) {
        if let Some(known) = self.pipelines.get_mut(id) {
            let before = evidence(&known.pipeline);
            Arc::make_mut(known).sent = Some(Sent { action: action.into(), at: now, before });
        }
    }
}

fn watch(told: Value, now: Millis, known: Option<&Watched>) -> Result<Watched, String> {
    let pipeline = Pipeline::read(told, now, known.map(|it| &it.pipeline))?;
    let moved = known
        .filter(|known| known.pipeline.evidence() != pipeline.evidence() || known.pipeline.status != pipeline.status);
    let fault = |it: &Pipeline| it.faults.first().map(|fault| Arc::clone(&fault.fingerprint));
    let fault_since = match (fault(&pipeline), known) {
        (None, _) => None,
        (Some(now_is), Some(known)) if fault(&known.pipeline) == Some(Arc::clone(&now_is)) => known.fault_since,
        // Observed change; for earlier ones only the service can know.
        (Some(_), known) => pipeline.faults.first().and_then(|it| it.since).or(known.map(|_| now)),
    };
    Ok(Watched {
        moved_at: moved.map(|_| now).or(known.and_then(|it| it.moved_at)),
        first_seen: known.map_or(now, |it| it.first_seen),
        sent: known.and_then(|it| it.sent.clone()),
        seen_at: now,
        told: 0,
        fault_since,
        pipeline,
    })
}
