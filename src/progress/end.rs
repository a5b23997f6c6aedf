//! An end message: its claims against what was seen.

use super::{Ended, Outcome, Progress, outcome};
use crate::protocol::{Counts, End, Line, Name, State, Status, mask};
use std::sync::Arc;

/// What is said of a stream whose error only its state remembers.
const ONLY_IN_STATE: &str = "the source's returned state remembers this error; it was reported in an earlier run";

impl Progress {
    pub(super) fn end(&mut self, end: End, line: &Line) {
        if !self.attempt.open {
            self.begin_attempt();
        }
        self.attempt.last_word_failed = false;
        let ended = Ended {
            word: end.word,
            reason: end.reason.as_deref().map(|text| mask::secrets(text).into()),
            has_more: end.has_more,
        };
        let complete = ended.claims_complete();
        let limited = end.has_more == Some(true)
            || matches!(
                end.word,
                crate::protocol::EndWord::Limit
                    | crate::protocol::EndWord::StillStarted
                    | crate::protocol::EndWord::Unknown
            );
        let messages: Vec<(Arc<str>, String)> = if complete { completed_with_message(&end) } else { Vec::new() };
        self.progress(end.progress, line);
        if let Some(attempt) = end.attempt {
            self.attempt_counts(
                &attempt.records,
                &attempt.elapsed,
                attempt.streams.iter().map(|(name, s)| (name, s.records)),
            );
        }
        for error in end.errors {
            self.repeated_failure(error, line);
        }
        let states = end.states.unwrap_or_default();
        let returned = !states.is_empty();
        for (name, text) in messages {
            if self.stream(&name).is_some_and(|stream| stream.failed_in.is_none()) {
                self.stream_failure(&name, None, &text, line);
            }
        }
        for (name, state) in &states {
            self.returned_state(name, state, complete, line);
        }
        if limited && returned {
            self.back_to_started(&states);
        }
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.settling) {
                self.change(at, |stream| stream.settling = false);
            }
        }
        self.attempt.end = Some(ended);
        self.attempt.open = false;
        if complete {
            self.errors.clear("", self.attempts);
        }
    }

    /// Counts said to be of this attempt only.
    fn attempt_counts<'n>(
        &mut self,
        total: &Counts,
        elapsed: &Counts,
        streams: impl Iterator<Item = (&'n Name<'n>, Counts)>,
    ) {
        let only =
            |counts: Counts, have: Option<u64>| Counts { attempt: counts.running, cumulative: have, running: None };
        self.reported.report(only(*total, self.reported.cumulative));
        self.elapsed.report(only(*elapsed, self.elapsed.cumulative));
        for (name, counts) in streams {
            let Some(at) = self.index.get(name.key().as_ref()).copied() else { continue };
            self.change(at, |stream| stream.records.report(only(counts, stream.records.cumulative)));
        }
    }

    fn returned_state(&mut self, name: &Name, state: &State, complete: bool, line: &Line) {
        let Some(at) = self.index.get(name.key().as_ref()).copied() else { return };
        if let Some(failure_type) = &state.failure
            && self.streams.get(at).is_some_and(|stream| stream.failed_in.is_none())
        {
            self.stream_failure(&name.name, Some(failure_type), ONLY_IN_STATE, line);
        }
        self.state_ranges(at, state.clone());
        if complete && state.left > 0 {
            self.change(at, |stream| stream.left = state.left);
        }
    }

    /// At a limit a stream is completed only if its explicit status and the returned state say so.
    fn back_to_started(&mut self, states: &[(Name, State)]) {
        let done: std::collections::HashSet<String> = states
            .iter()
            .filter(|(_, state)| state.done == Some(true))
            .map(|(name, _)| name.key().into_owned())
            .collect();
        let now = self.last_at;
        for at in 0..self.streams.len() {
            let demote = self
                .streams
                .get(at)
                .is_some_and(|stream| stream.status == Status::Completed && !done.contains(&super::key_of(stream)));
            if demote {
                self.change(at, |stream| stream.become_(Status::Started, now));
            }
        }
    }

    /// When a run failed and no error says why, the last log line of level error is the cause.
    pub(super) fn cause_from_log(&mut self) {
        if outcome(self) != Outcome::Failed || self.errors.total > 0 {
            return;
        }
        let Some((text, place)) = self.last_log_error.clone() else { return };
        let id = self.errors.add(super::errors::Occurrence {
            level: crate::protocol::Where::Global,
            failure_type: None,
            stream: None,
            message: text,
            stack: None,
            raw: None,
            is_final: true,
            place,
        });
        self.errors.mark_from_log(id);
    }
}

/// A message on a completed stream is an error that "complete" was said over.
fn completed_with_message(end: &End) -> Vec<(Arc<str>, String)> {
    let streams = end.progress.streams.iter();
    let completed = streams.filter(|(_, report)| report.status == Some(Status::Completed));
    completed
        .filter_map(|(name, report)| Some((name.key().as_ref().into(), report.message.as_deref()?.to_owned())))
        .collect()
}
