//! Stream events: starts, records, checkpoints, ranges, completions.

use crate::engine::failure_type::{FailureType, classify};
use crate::engine::tracker::memory::SourcePosition;
use crate::engine::tracker::raw_message::RawMessage;
use crate::engine::tracker::wire::WireGeneration;
use crate::engine::tracker::{AttemptStream, ErrorRecord, Tracker};
use synctop_core::protocol::{Status, StreamClaim};

impl Tracker {
    /// Returns the state of a stream in this attempt; adds an unknown stream.
    pub(super) fn current(&mut self, stream: &str) -> &mut AttemptStream {
        self.memory.streams.entry(stream.to_owned()).or_default();
        self.current.entry(stream.to_owned()).or_default()
    }

    /// Adds to the record counts of a stream and of the run.
    pub(super) fn count(&mut self, stream: &str, count: u64, out: &mut Vec<u8>) {
        let (known, is_finished) = match self.current.get_mut(stream) {
            Some(current) => {
                current.records = current.records.saturating_add(count);
                (true, current.is_finished)
            }
            None => (false, false),
        };
        if !known {
            self.current(stream).records += count;
        }
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.records = kept.records.saturating_add(count);
        }
        self.records = self.records.saturating_add(count);
        self.logged.remove(stream);
        if is_finished && !self.current.get(stream).is_some_and(|current| current.failed) {
            self.warn("record_after_complete", stream, "records came after it was said to be complete", out);
        }
    }

    /// Starts a stream that sends a message before its start, with a warning.
    pub(super) fn ensure_started(&mut self, stream: &str, anomaly: &'static str, out: &mut Vec<u8>) {
        if self.current.get(stream).is_some_and(|current| current.started || current.is_finished) {
            return;
        }
        self.warn(anomaly, stream, "it was not said to have started", out);
        self.start(stream, out);
    }

    /// Marks a stream as started and announces it.
    pub(super) fn start(&mut self, stream: &str, out: &mut Vec<u8>) {
        let catalog = self.catalog;
        let current = self.current(stream);
        let unknown = catalog && !current.in_catalog;
        (current.started, current.is_finished, current.claimed) = (true, false, false);
        self.logged.remove(stream);
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.status = Status::Started;
            kept.reason = None;
        }
        if unknown {
            self.warn("unknown_stream", stream, "it is not in the catalog", out);
        }
        self.announce_stream(stream, None, out);
    }

    /// Applies a checkpoint: stores the source state and passes the message through.
    pub(super) fn checkpoint(
        &mut self,
        stream: Option<String>,
        source_position: SourcePosition,
        received: &RawMessage,
        out: &mut Vec<u8>,
    ) {
        let data = received.raw().source_state.and_then(|state| state.data);
        self.states += 1;
        self.memory.checkpoints = self.memory.checkpoints.saturating_add(1);
        let Some(stream) = stream else {
            self.memory.source.global = data.or(self.memory.source.global.take());
            return received.pass(out);
        };
        self.ensure_started(&stream, "state_before_start", out);
        let source_position = source_position.with_remaining(data.as_deref());
        if let Some(data) = data {
            self.memory.source.streams.insert(stream.clone(), data);
        }
        if let Some(kept) = self.memory.streams.get_mut(&stream) {
            kept.states = kept.states.saturating_add(1);
            kept.total = source_position.total.or(kept.total);
            source_position.completed.iter().for_each(|range| kept.ranges.add(*range));
        }
        let completed = self.memory.streams.get(&stream).is_some_and(|kept| kept.status == Status::Completed);
        let current = self.current(&stream);
        current.states += 1;
        let done = source_position.done == Some(true);
        let late = completed && current.is_finished && source_position.done == Some(false) && !current.failed;
        let confirmed = current.claimed && done;
        current.source_position = Some(source_position);
        if late {
            // Reopens the stream; it is announced as complete again once its state confirms it.
            (current.is_finished, current.claimed) = (false, true);
            if let Some(kept) = self.memory.streams.get_mut(&stream) {
                kept.status = Status::Started;
            }
        }
        self.logged.remove(&stream);
        received.pass(out);
        if late {
            self.warn("state_after_complete", &stream, "its state changed after it was reported complete", out);
            self.announce_stream(&stream, None, out);
        }
        if confirmed {
            return self.finish_stream(&stream, Status::Completed, out);
        }
        if self.form == WireGeneration::Progress {
            self.totals(out);
        }
    }

    /// Applies a stream status that the source reports.
    pub(super) fn claim(&mut self, claim: StreamClaim, received: &RawMessage, out: &mut Vec<u8>) {
        let stream = claim.stream.key().into_owned();
        let stream = stream.as_str();
        if claim.status.is_none() && claim.completed.is_none() {
            // An unknown status is passed through.
            return received.pass(out);
        }
        received.write_prefix(out);
        if let Some(total) = claim.total {
            self.current(stream);
            if let Some(kept) = self.memory.streams.get_mut(stream) {
                kept.total = Some(total);
            }
        }
        match claim.status {
            Some(Status::Started) => {
                if self.current.get(stream).is_some_and(|current| current.started && !current.is_finished) {
                    if claim.completed.is_none() {
                        self.warn("duplicate_start", stream, "it was said to start although it had", out);
                    }
                } else {
                    self.start(stream, out);
                }
            }
            None => self.ensure_started(stream, "range_before_start", out),
            _ => {}
        }
        if let Some(range) = claim.completed {
            if let Some(kept) = self.memory.streams.get_mut(stream) {
                kept.ranges.add(range);
            }
            self.announce_stream(stream, Some(range), out);
        }
        match claim.status {
            Some(Status::Completed) => self.complete(stream, out),
            // A skip does not clear an error.
            Some(Status::Skipped) if self.current(stream).failed => {}
            Some(Status::Skipped) => {
                if let Some(kept) = self.memory.streams.get_mut(stream) {
                    kept.reason = claim.reason.as_deref().map(str::to_owned);
                    kept.errors.clear();
                }
                self.finish_stream(stream, Status::Skipped, out);
            }
            Some(Status::Errored) => {
                let message = claim.error.or(claim.reason).unwrap_or_default().into_owned();
                let declared = received.failure_type();
                let logged = self.logged.remove(stream);
                let kind =
                    classify(received.error_status(), declared.as_deref()).or(logged).unwrap_or(FailureType::System);
                let error_record = ErrorRecord { message, failure_type: Some(kind.as_str().to_owned()) };
                if !self.current.get(stream).is_some_and(|current| current.is_finished && current.failed) {
                    self.record_error(Some(stream.to_owned()), error_record, out);
                }
            }
            _ => {}
        }
    }

    /// Applies a completion that the source reports.
    pub(super) fn complete(&mut self, stream: &str, out: &mut Vec<u8>) {
        let current = self.current(stream);
        if current.failed || current.is_finished {
            // Completion does not clear an error, and a repeated one is announced once.
            return;
        }
        let unannounced = !current.started;
        if current.source_position.as_ref().and_then(|source_position| source_position.done) == Some(false) {
            // Held back: its own state has unread ranges, so its counts are not final.
            current.claimed = true;
            return;
        }
        if unannounced {
            self.start(stream, out);
        }
        self.finish_stream(stream, Status::Completed, out);
    }

    /// Ends a stream with a status and announces it.
    pub(super) fn finish_stream(&mut self, stream: &str, status: Status, out: &mut Vec<u8>) {
        let current = self.current(stream);
        (current.started, current.is_finished, current.claimed) = (true, true, false);
        let clean = !current.failed && !current.has_transient_error;
        if let Some(kept) = self.memory.streams.get_mut(stream) {
            kept.status = status;
            if status == Status::Completed && clean {
                // Completion without an error in this attempt clears the errors of earlier ones.
                kept.errors.clear();
            }
        }
        self.announce_stream(stream, None, out);
    }
}
