//! End of an attempt: held-back statuses, unfinished streams, the end message.

use crate::engine::raw_json::raw;
use crate::engine::tracker::memory::{ErrorRecord, trace_status};
use crate::engine::tracker::raw_message::RawMessage;
use crate::engine::tracker::wire::{self, WireGeneration};
use crate::engine::tracker::{AttemptLimit, AttemptOutcome, Tracker};
use synctop_core::protocol::{End, EndReason, Millis, Status};

impl Tracker {
    /// Records a complete end if the source reported none: not every source reports its end.
    pub fn source_ended(&mut self) {
        self.end.get_or_insert((EndReason::Complete, Some("complete".into()), None));
    }

    pub(super) fn record_end(&mut self, end: &End, received: &RawMessage) {
        let cutoff = received.raw().eof.and_then(|eof| eof.cutoff);
        let reason = end.reason.as_deref().map(str::to_owned);
        let word = match (end.word, end.has_more) {
            // The end of a read in the progress generation has only `has_more`.
            (EndReason::Unsaid | EndReason::StillStarted, Some(true)) => EndReason::Limit,
            (EndReason::Unsaid, _) => EndReason::Complete,
            (word, _) => word,
        };
        let reason = match (word, reason) {
            (EndReason::Limit, None) => Some("time_limit".into()),
            (EndReason::Limit, Some(reason)) if reason == "started" => Some("time_limit".into()),
            (_, reason) => reason,
        };
        self.end = Some((word, reason, cutoff));
    }

    /// Returns the permanent error that affects all streams: one without a stream, one before any
    /// stream started, or one with which every started stream of this attempt failed (engines
    /// report a bad key with the name of the first stream).
    #[must_use]
    pub fn global_failure(&self) -> Option<ErrorRecord> {
        if let Some(global) = &self.global {
            return Some(global.clone());
        }
        let mut started = self.current.iter().filter(|(_, current)| current.started).peekable();
        let fingerprint = started.peek()?.1.fingerprint?;
        let mut last = None;
        for (name, current) in started {
            if !current.failed || current.fingerprint != Some(fingerprint) {
                return None;
            }
            last = self.memory.streams.get(name).and_then(|kept| kept.errors.last());
        }
        last.cloned()
    }

    /// Ends the attempt: writes held-back statuses, the last totals and the end message.
    pub fn finish(&mut self, limit: Option<AttemptLimit>, now: Millis, out: &mut Vec<u8>) -> AttemptOutcome {
        self.now = now.max(self.now);
        if self.tracked.is_some() {
            return AttemptOutcome { reason: "complete".into(), has_more: false };
        }
        let (word, reason, cutoff) = match (limit, self.end.take()) {
            (Some(limit), _) => (Some(EndReason::Limit), Some(limit.as_str().to_owned()), Some("soft".to_owned())),
            (None, Some((word, reason, cutoff))) => (Some(word), reason, cutoff),
            (None, None) => (None, None, None),
        };
        self.announce_finished(out);
        let complete = matches!(word, None | Some(EndReason::Complete));
        let cut = word == Some(EndReason::Limit);
        // Without an end message, an unfinished requested stream makes the attempt incomplete.
        let has_unfinished_streams = word.is_none() && self.has_unfinished_streams();
        let names: Vec<String> = self.current.keys().cloned().collect();
        let (mut open, mut again) = (false, false);
        for name in &names {
            let (left, has_transient_error) = self.settle_stream(name, word, out);
            open |= left;
            again |= has_transient_error;
        }
        self.announce_last_counts(&names, out);
        self.totals(out);
        let global = self.global_failure();
        let (reason, has_more) = match reason {
            _ if global.is_some() => ("error".to_owned(), false),
            Some(reason) if cut => (reason, true),
            _ if again && complete => ("error".to_owned(), true),
            Some(reason) => (reason, false),
            None if self.messages == 0 => {
                self.error("the source ended without a message", out);
                ("error".to_owned(), true)
            }
            None if self.last_word_failed => ("error".to_owned(), true),
            None if open || has_unfinished_streams => {
                self.error("the source ended without saying so, and with streams that it had not finished", out);
                ("aborted".to_owned(), true)
            }
            None => ("complete".to_owned(), false),
        };
        self.write_end(&reason, cutoff.filter(|_| cut), has_more, global.is_some(), out);
        AttemptOutcome { reason, has_more }
    }

    /// True if a requested stream is not finished.
    pub(super) fn has_unfinished_streams(&self) -> bool {
        let asked = self.current.iter().filter(|(_, current)| current.in_catalog);
        let done = |name: &String| {
            let status = self.memory.streams.get(name).map(|kept| kept.status);
            matches!(status, Some(Status::Completed | Status::Skipped | Status::Errored))
        };
        asked.into_iter().any(|(name, _)| !done(name))
    }

    /// Settles the status of a stream at the end of the attempt. Returns two flags: the stream is
    /// still unfinished; a transient error is the cause.
    pub(super) fn settle_stream(&mut self, name: &str, word: Option<EndReason>, out: &mut Vec<u8>) -> (bool, bool) {
        let current = self.current(name).clone();
        if current.is_finished || !(current.started || current.has_transient_error) {
            return (false, false);
        }
        if current.failed {
            // A restart does not clear a permanent error.
            self.finish_stream(name, Status::Errored, out);
            return (false, false);
        }
        let done = current.source_position.as_ref().and_then(|source_position| source_position.done);
        let complete = word == Some(EndReason::Complete);
        if current.has_transient_error && word != Some(EndReason::Limit) && done != Some(true) {
            self.current(name).claimed = false;
            self.finish_stream(name, Status::Errored, out);
            return (true, true);
        }
        if current.claimed || complete {
            if done == Some(false) {
                // Stays unfinished: its own state lists ranges to read.
                self.warn(
                    "complete_with_ranges_left",
                    name,
                    "it is called complete, and its state says that it is not",
                    out,
                );
                return (true, false);
            }
            if complete {
                if !current.claimed {
                    self.warn("never_completed", name, "the run is complete, and it was never said to be", out);
                }
                self.finish_stream(name, Status::Completed, out);
                return (false, false);
            }
        }
        (true, false)
    }

    /// Announces finished streams again whose counts grew after their last announcement.
    pub(super) fn announce_last_counts(&mut self, names: &[String], out: &mut Vec<u8>) {
        for name in names {
            if self
                .current
                .get(name)
                .is_some_and(|current| current.is_finished && current.records > current.announced_records)
            {
                self.announce_stream(name, None, out);
            }
        }
    }

    /// Writes the end message with the state.
    pub(super) fn write_end(
        &mut self,
        reason: &str,
        cutoff: Option<String>,
        has_more: bool,
        global: bool,
        out: &mut Vec<u8>,
    ) {
        let totals = self.current_totals();
        if self.form == WireGeneration::Progress {
            let errored = self.memory.streams.values().any(|kept| kept.status == Status::Errored);
            let ended = match reason {
                "time_limit" | "state_limit" => None,
                "complete" => Some(!errored),
                _ => Some(false),
            };
            let run = self.progress(ended, false);
            let state = self.memory.to_progress_state(raw(&run));
            let status = if global { "failed" } else { wire::run_status(ended) };
            let request = self.progress(ended, true);
            let eof = wire::ProgressEof {
                status,
                has_more,
                ending_state: &state,
                run_progress: run,
                request_progress: request,
            };
            return wire::line(out, "eof", &eof, self.now);
        }
        let state = self.memory.to_trace_state();
        let stream_progress = self
            .memory
            .streams
            .iter()
            .filter(|(_, kept)| !kept.is_blank())
            .map(|(name, kept)| {
                let entry = wire::TraceEofStream {
                    status: trace_status(kept.status),
                    cumulative_record_count: kept.records,
                    run_record_count: self.current.get(name).map_or(0, |current| current.records),
                    errors: &kept.errors,
                    reason: kept.reason.as_deref(),
                };
                (name.as_str(), entry)
            })
            .collect();
        let limited = cutoff.is_some();
        let eof = wire::TraceEof {
            reason,
            cutoff: cutoff.as_deref(),
            elapsed_ms: limited.then_some(totals.attempt_elapsed),
            state: &state,
            global_progress: totals.global_progress(),
            stream_progress,
        };
        wire::line(out, "eof", &eof, self.now);
    }
}
