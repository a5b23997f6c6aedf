//! Stream events: starts, records, checkpoints, ranges, completions.

use super::memory::Brief;
use super::raw_message::RawMessage;
use super::{Here, Mistake, Tracker};
use crate::engine::classify::{FailureType, classify};
use crate::engine::tracker::wire::Form;
use synctop_core::protocol::{Status, StreamClaim};

impl Tracker {
    pub(super) fn here(&mut self, stream: &str) -> &mut Here {
        self.memory.streams.entry(stream.to_owned()).or_default();
        self.here.entry(stream.to_owned()).or_default()
    }

    pub(super) fn count(&mut self, stream: &str, count: u64, out: &mut Vec<u8>) {
        let (known, over) = match self.here.get_mut(stream) {
            Some(here) => {
                here.records = here.records.saturating_add(count);
                (true, here.over)
            }
            None => (false, false),
        };
        if !known {
            self.here(stream).records += count;
        }
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.records = kept.records.saturating_add(count);
        }
        self.records = self.records.saturating_add(count);
        self.logged.remove(stream);
        if over && !self.here.get(stream).is_some_and(|here| here.failed) {
            self.warn("record_after_complete", stream, "records came after it was said to be complete", out);
        }
    }

    /// Something came of a stream that must have started then.
    pub(super) fn started_by(&mut self, stream: &str, anomaly: &'static str, out: &mut Vec<u8>) {
        if self.here.get(stream).is_some_and(|here| here.started || here.over) {
            return;
        }
        self.warn(anomaly, stream, "it was not said to have started", out);
        self.start(stream, out);
    }

    pub(super) fn start(&mut self, stream: &str, out: &mut Vec<u8>) {
        let catalog = self.catalog;
        let here = self.here(stream);
        let unknown = catalog && !here.in_catalog;
        (here.started, here.over, here.claimed) = (true, false, false);
        self.logged.remove(stream);
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.status = Status::Started;
            kept.reason = None;
        }
        if unknown {
            self.warn("unknown_stream", stream, "it is not in the catalog", out);
        }
        self.say(stream, None, out);
    }

    pub(super) fn checkpoint(&mut self, stream: Option<String>, brief: Brief, came: &RawMessage, out: &mut Vec<u8>) {
        let data = came.raw().source_state.and_then(|state| state.data);
        self.states += 1;
        self.memory.checkpoints = self.memory.checkpoints.saturating_add(1);
        let Some(stream) = stream else {
            self.memory.source.global = data.or(self.memory.source.global.take());
            return came.pass(out);
        };
        self.started_by(&stream, "state_before_start", out);
        let brief = brief.with_rest(data.as_deref());
        if let Some(data) = data {
            self.memory.source.streams.insert(stream.clone(), data);
        }
        if let Some(kept) = self.memory.streams.get_mut(&stream) {
            kept.states = kept.states.saturating_add(1);
            kept.total = brief.total.or(kept.total);
            brief.completed.iter().for_each(|range| kept.ranges.add(*range));
        }
        let completed = self.memory.streams.get(&stream).is_some_and(|kept| kept.status == Status::Completed);
        let here = self.here(&stream);
        here.states += 1;
        let done = brief.done == Some(true);
        let late = completed && here.over && brief.done == Some(false) && !here.failed;
        let confirmed = here.claimed && done;
        here.brief = Some(brief);
        if late {
            // It is not complete then; and is reported complete once its state agrees.
            (here.over, here.claimed) = (false, true);
            if let Some(kept) = self.memory.streams.get_mut(&stream) {
                kept.status = Status::Started;
            }
        }
        self.logged.remove(&stream);
        came.pass(out);
        if late {
            self.warn("state_after_complete", &stream, "its state goes on after it was said to be complete", out);
            self.say(&stream, None, out);
        }
        if confirmed {
            return self.over(&stream, Status::Completed, out);
        }
        if self.form == Form::Progress {
            self.totals(out);
        }
    }

    pub(super) fn claim(&mut self, claim: StreamClaim, came: &RawMessage, out: &mut Vec<u8>) {
        let stream = claim.stream.key().into_owned();
        let stream = stream.as_str();
        if claim.status.is_none() && claim.completed.is_none() {
            // An unknown status is passed on.
            return came.pass(out);
        }
        came.glued(out);
        if let Some(total) = claim.total {
            self.here(stream);
            if let Some(kept) = self.memory.streams.get_mut(stream) {
                kept.total = Some(total);
            }
        }
        match claim.status {
            Some(Status::Started) => {
                if self.here.get(stream).is_some_and(|here| here.started && !here.over) {
                    if claim.completed.is_none() {
                        self.warn("duplicate_start", stream, "it was said to start although it had", out);
                    }
                } else {
                    self.start(stream, out);
                }
            }
            None => self.started_by(stream, "range_before_start", out),
            _ => {}
        }
        if let Some(range) = claim.completed {
            if let Some(kept) = self.memory.streams.get_mut(stream) {
                kept.ranges.add(range);
            }
            self.say(stream, Some(range), out);
        }
        match claim.status {
            Some(Status::Completed) => self.complete(stream, out),
            // A refusal does not wipe an error.
            Some(Status::Skipped) if self.here(stream).failed => {}
            Some(Status::Skipped) => {
                if let Some(kept) = self.memory.streams.get_mut(stream) {
                    kept.reason = claim.reason.as_deref().map(str::to_owned);
                    kept.errors.clear();
                }
                self.over(stream, Status::Skipped, out);
            }
            Some(Status::Errored) => {
                let message = claim.error.or(claim.reason).unwrap_or_default().into_owned();
                let said = came.failure_type();
                let logged = self.logged.remove(stream);
                let kind = classify(came.error_status(), said.as_deref()).or(logged).unwrap_or(FailureType::System);
                let mistake = Mistake { message, failure_type: Some(kind.as_str().to_owned()) };
                if !self.here.get(stream).is_some_and(|here| here.over && here.failed) {
                    self.mistake(Some(stream.to_owned()), mistake, out);
                }
            }
            _ => {}
        }
    }

    /// The source reports a stream complete.
    pub(super) fn complete(&mut self, stream: &str, out: &mut Vec<u8>) {
        let here = self.here(stream);
        if here.failed || here.over {
            // A "complete" does not clear an error; repeated, it is reported once.
            return;
        }
        let unsaid = !here.started;
        if here.brief.as_ref().and_then(|brief| brief.done) == Some(false) {
            // Its own state has something left: the counts behind it are not through.
            here.claimed = true;
            return;
        }
        if unsaid {
            self.start(stream, out);
        }
        self.over(stream, Status::Completed, out);
    }

    pub(super) fn over(&mut self, stream: &str, status: Status, out: &mut Vec<u8>) {
        let here = self.here(stream);
        (here.started, here.over, here.claimed) = (true, true, false);
        let clean = !here.failed && !here.stumbled;
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.status = status;
            if status == Status::Completed && clean {
                // It overcame the failure of an earlier attempt.
                kept.errors.clear();
            }
        }
        self.say(stream, None, out);
    }
}
