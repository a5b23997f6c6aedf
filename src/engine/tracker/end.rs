//! End of an attempt: held-back statuses, unfinished streams, the end message.

use super::memory::{Mistake, trace_word};
use super::raw_message::RawMessage;
use super::wire::{self, Form};
use super::{AttemptOutcome, Limit, Tracker};
use crate::engine::raw_json::raw;
use synctop_core::protocol::{End, EndWord, Millis, Status};

impl Tracker {
    /// The source has reported everything. Not every source reports its end.
    pub fn source_ended(&mut self) {
        self.end.get_or_insert((EndWord::Complete, Some("complete".into()), None));
    }

    pub(super) fn ends(&mut self, end: &End, came: &RawMessage) {
        let cutoff = came.raw().eof.and_then(|eof| eof.cutoff);
        let reason = end.reason.as_deref().map(str::to_owned);
        let word = match (end.word, end.has_more) {
            // A read of the progress generation reports only whether there is more.
            (EndWord::Unsaid | EndWord::StillStarted, Some(true)) => EndWord::Limit,
            (EndWord::Unsaid, _) => EndWord::Complete,
            (word, _) => word,
        };
        let reason = match (word, reason) {
            (EndWord::Limit, None) => Some("time_limit".into()),
            (EndWord::Limit, Some(reason)) if reason == "started" => Some("time_limit".into()),
            (_, reason) => reason,
        };
        self.end = Some((word, reason, cutoff));
    }

    /// A permanent error that no other stream can do without: it has no stream, it came before any
    /// started, or every stream that started in this attempt ended with the same one (engines tag a
    /// bad key with the first stream's name).
    #[must_use]
    pub fn global_failure(&self) -> Option<Mistake> {
        if let Some(global) = &self.global {
            return Some(global.clone());
        }
        let mut started = self.here.iter().filter(|(_, here)| here.started).peekable();
        let fingerprint = started.peek()?.1.fingerprint?;
        let mut last = None;
        for (name, here) in started {
            if !here.failed || here.fingerprint != Some(fingerprint) {
                return None;
            }
            last = self.memory.streams.get(name).and_then(|kept| kept.errors.last());
        }
        last.cloned()
    }

    /// Ends the attempt: held-back statuses, the last totals, the end message.
    pub fn finish(&mut self, limit: Option<Limit>, now: Millis, out: &mut Vec<u8>) -> AttemptOutcome {
        self.now = now.max(self.now);
        if self.tracked.is_some() {
            return AttemptOutcome { reason: "complete".into(), has_more: false };
        }
        let (word, reason, cutoff) = match (limit, self.end.take()) {
            (Some(limit), _) => (Some(EndWord::Limit), Some(limit.as_str().to_owned()), Some("soft".to_owned())),
            (None, Some((word, reason, cutoff))) => (Some(word), reason, cutoff),
            (None, None) => (None, None, None),
        };
        self.announce_finished(out);
        let complete = matches!(word, None | Some(EndWord::Complete));
        let cut = word == Some(EndWord::Limit);
        // Who asked for streams and did not get them did not get everything.
        let unread = word.is_none() && self.unread();
        let names: Vec<String> = self.here.keys().cloned().collect();
        let (mut open, mut again) = (false, false);
        for name in &names {
            let (left, stumbled) = self.settle(name, word, out);
            open |= left;
            again |= stumbled;
        }
        self.say_last_counts(&names, out);
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
            None if open || unread => {
                self.error("the source ended without saying so, and with streams that it had not finished", out);
                ("aborted".to_owned(), true)
            }
            None => ("complete".to_owned(), false),
        };
        self.write_end(&reason, cutoff.filter(|_| cut), has_more, global.is_some(), out);
        AttemptOutcome { reason, has_more }
    }

    /// Streams that were asked for and are not done.
    pub(super) fn unread(&self) -> bool {
        let asked = self.here.iter().filter(|(_, here)| here.in_catalog);
        let done = |name: &String| {
            let status = self.memory.streams.get(name).map(|kept| kept.status);
            matches!(status, Some(Status::Completed | Status::Skipped | Status::Errored))
        };
        asked.into_iter().any(|(name, _)| !done(name))
    }

    /// A stream at the end of the attempt. Answers whether it is left open, and whether something
    /// that may pass left it so.
    pub(super) fn settle(&mut self, name: &str, word: Option<EndWord>, out: &mut Vec<u8>) -> (bool, bool) {
        let here = self.here(name).clone();
        if here.over || !(here.started || here.stumbled) {
            return (false, false);
        }
        if here.failed {
            // It started again after its error, and the error stands.
            self.over(name, Status::Errored, out);
            return (false, false);
        }
        let done = here.brief.as_ref().and_then(|brief| brief.done);
        let complete = word == Some(EndWord::Complete);
        if here.stumbled && word != Some(EndWord::Limit) && done != Some(true) {
            self.here(name).claimed = false;
            self.over(name, Status::Errored, out);
            return (true, true);
        }
        if here.claimed || complete {
            if done == Some(false) {
                // Never promoted: its own state has something left.
                self.warn(
                    "complete_with_ranges_left",
                    name,
                    "it is called complete, and its state says that it is not",
                    out,
                );
                return (true, false);
            }
            if complete {
                if !here.claimed {
                    self.warn("never_completed", name, "the run is complete, and it was never said to be", out);
                }
                self.over(name, Status::Completed, out);
                return (false, false);
            }
        }
        (true, false)
    }

    /// Reports counts again that grew after the last report of a stream.
    pub(super) fn say_last_counts(&mut self, names: &[String], out: &mut Vec<u8>) {
        for name in names {
            if self.here.get(name).is_some_and(|here| here.over && here.records > here.said) {
                self.say(name, None, out);
            }
        }
    }

    pub(super) fn write_end(
        &mut self,
        reason: &str,
        cutoff: Option<String>,
        has_more: bool,
        global: bool,
        out: &mut Vec<u8>,
    ) {
        let totals = self.so_far();
        if self.form == Form::Progress {
            let errored = self.memory.streams.values().any(|kept| kept.status == Status::Errored);
            let ended = match reason {
                "time_limit" | "state_limit" => None,
                "complete" => Some(!errored),
                _ => Some(false),
            };
            let run = self.progress(ended, false);
            let state = self.memory.progress_form(raw(&run));
            let status = if global { "failed" } else { wire::run_word(ended) };
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
        let state = self.memory.trace_form();
        let stream_progress = self
            .memory
            .streams
            .iter()
            .filter(|(_, kept)| !kept.blank())
            .map(|(name, kept)| {
                let entry = wire::TraceEofStream {
                    status: trace_word(kept.status),
                    cumulative_record_count: kept.records,
                    run_record_count: self.here.get(name).map_or(0, |here| here.records),
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
