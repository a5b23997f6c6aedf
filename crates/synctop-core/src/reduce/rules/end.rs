//! End message: compares its claims with the evidence.

use crate::protocol::{
    AtRisk, Counts, End, EndReason, ErrorLevel, Line, Name, ProgressReport, Risk, State, Status, is_generic_error, mask,
};
use crate::reduce::outcome::outcome;
use crate::reduce::state::attempt::Ended;
use crate::reduce::state::errors::{ErrorGroup, ErrorPlace, Occurrence};
use crate::reduce::state::outcome::Outcome;
use crate::reduce::state::position::StateOrigin;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Ahead;
use std::collections::HashSet;
use std::sync::Arc;

/// Message for a stream whose error is recorded only in its state.
const ONLY_IN_STATE: &str = "the source's returned state remembers this error; it was reported in an earlier run";

impl Progress {
    /// True if the programs of a run were asked to stop, and none failed on its own.
    fn was_stopped_without_error(&self) -> bool {
        let has_error =
            || self.errors.groups().iter().any(|group| !group.cleared() && !is_generic_error(&group.message));
        self.attempt.stopping && self.attempt.program_exit.is_none() && self.traits().errors_on_stderr && !has_error()
    }

    pub(crate) fn end(&mut self, end: End, line: &Line) {
        if !self.attempt.open {
            self.begin_attempt();
        }
        let nothing_left =
            |states: &Vec<(Name, State)>| !states.is_empty() && states.iter().all(|(_, state)| state.left == 0);
        // Meltano's log for people ends a failed and a stopped run like any other.
        let word = match end.word {
            EndReason::Complete if self.attempt.program_exit.is_some() => EndReason::Failed,
            EndReason::Complete | EndReason::Failed if self.was_stopped_without_error() => EndReason::Aborted,
            word => word,
        };
        let ended = Ended {
            word,
            reason: end.reason.as_deref().map(|text| mask::secrets(text).into()),
            has_more: end.has_more,
            up_to_date: end.word == EndReason::StillStarted
                && end.has_more == Some(false)
                && end.states.as_ref().is_some_and(nothing_left),
            at: self.last_at,
        };
        let complete = ended.claims_complete();
        let limited = end.has_more == Some(true)
            || matches!(end.word, EndReason::Limit | EndReason::StillStarted | EndReason::Unknown);
        if let Some(id) = &end.run_id {
            self.run_id(&mask::secrets(id));
        }
        self.decide_run(&end.progress);
        for (name, stream) in &end.progress.streams {
            self.decide_run_by_stream(self.find(name), stream.records);
        }
        // No report of the whole call carried totals on.
        self.settle_run();
        // Before the streams, so that the error behind an errored status is known.
        self.listed_failures(end.errors, line);
        self.progress(end.progress, line);
        if let Some(attempt) = &end.attempt {
            self.attempt_counts(attempt);
        }
        if complete {
            self.completed_with_message(line);
        }
        let returned = end.states.is_some();
        let states = end.states.unwrap_or_default();
        for (name, state) in &states {
            self.compare_end_state(name, state);
            self.returned_state(name, state, complete, line);
        }
        if complete && end.has_more != Some(true) {
            self.mark_left_out(&states);
        }
        if end.hides_unread_rows && limited {
            self.mark_cut_open();
        }
        if limited && returned {
            self.demote_to_started(&states);
        }
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.settling) {
                self.change(at, |stream| stream.settling = false);
            }
        }
        if ended.word == EndReason::Failed {
            self.settle_fallback();
        }
        self.attempt.last_message_failed = false;
        self.attempt.end = Some(ended);
        self.attempt.open = false;
        if complete {
            self.errors.clear("", self.attempts);
        }
    }

    /// Applies counts of this attempt alone, and messages beside "completed".
    fn attempt_counts(&mut self, report: &ProgressReport) {
        let said = |counts: &Counts| counts.running;
        if let Some(count) = said(&report.records) {
            self.counters.reported.report_attempt(count);
        }
        if let Some(millis) = said(&report.elapsed) {
            self.counters.elapsed.report_attempt(millis);
        }
        for (name, stream) in &report.streams {
            let Some(at) = self.find(name) else { continue };
            self.change(at, |known| {
                if let Some(count) = said(&stream.records) {
                    known.reported = true;
                    known.records.report_attempt(count);
                }
                if let Some(text) = stream.message.as_deref().filter(|_| stream.status == Some(Status::Completed)) {
                    known.details.completed_message = Some(mask::secrets(text).into());
                }
            });
        }
    }

    /// Records messages beside "completed" as errors: "complete" overwrote them.
    fn completed_with_message(&mut self, line: &Line) {
        for at in 0..self.streams.len() {
            let Some(stream) = self.streams.get(at) else { continue };
            if stream.status == Status::Completed
                && stream.details.failed_in.is_none()
                && let Some(text) = stream.details.completed_message.clone()
            {
                let name = stream.identity();
                self.stream_failure(&name, None, &text, line);
            }
        }
    }

    /// Compares the state of an end with the last checkpoint of the same call. If they differ, a
    /// client that continues from the end skips the rows between them.
    fn compare_end_state(&mut self, name: &Name, state: &State) {
        let Some(at) = self.find(name) else { return };
        let Some(after) = state.position.known() else { return };
        self.change(at, |stream| {
            let before = stream.details.checkpoint.known().filter(|_| stream.checkpoint_here);
            if before.is_some_and(|before| before.id != after.id) {
                let before = stream.details.ahead.unwrap_or_default();
                let rows = before.rows.max(u64::from(after.page_rows));
                stream.details.ahead = Some(Ahead { rows, kept: before.kept, read: state.read() });
            }
        });
    }

    /// Marks streams that an earlier attempt left unfinished and that neither this attempt nor its
    /// returned state mentions.
    fn mark_left_out(&mut self, states: &[(Name, State)]) {
        let mentioned: HashSet<String> = states.iter().map(|(name, _)| name.key().into_owned()).collect();
        for at in 0..self.streams.len() {
            let Some(stream) = self.streams.get(at) else { continue };
            let unread = stream.coverage().is_some_and(|share| share < 1.0);
            let begun = stream.status == Status::NotStarted && stream.ever_started;
            if begun && unread && !mentioned.contains(&crate::reduce::state::progress::key_of(stream)) {
                self.change(at, |stream| stream.left_out = true);
            }
        }
    }

    /// Marks open streams as cut off by a limit: this end cannot show their unread rows.
    fn mark_cut_open(&mut self) {
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.status == Status::Started) {
                self.change(at, |stream| stream.cut_open = true);
            }
        }
    }

    /// Applies streams that synctop's client or service reports as at risk, from earlier logs of
    /// the run.
    pub(crate) fn at_risk(&mut self, all: &[AtRisk]) {
        for one in all {
            let at = self.place(&one.stream);
            self.change(at, |stream| match one.risk {
                Risk::StateAhead => {
                    let before = stream.details.ahead.unwrap_or_default();
                    let rows = one.rows.unwrap_or(0).max(before.rows);
                    stream.details.ahead = Some(Ahead { rows, kept: before.kept || one.kept, ..before });
                }
                Risk::ResumedAfterCut => stream.resumed_after_cut = true,
            });
        }
    }

    fn returned_state(&mut self, name: &Name, state: &State, complete: bool, line: &Line) {
        let known = self.find(name);
        // A stream unknown to the log counts if its state reports trouble.
        let troubled = state.failure.is_some() || (complete && state.left > 0);
        let Some(at) = known.or_else(|| troubled.then(|| self.place(name))) else { return };
        if let Some(failure_type) = &state.failure
            && self.streams.get(at).is_some_and(|stream| stream.details.failed_in.is_none())
        {
            self.stream_failure(name, Some(failure_type), ONLY_IN_STATE, line);
        }
        self.change(at, |stream| stream.state_ranges(state, StateOrigin::End));
        if complete && state.left > 0 {
            self.change(at, |stream| stream.details.left = state.left as usize);
        }
    }

    /// Demotes streams to started at a limit. A completed stream stays completed only if the
    /// returned state agrees.
    fn demote_to_started(&mut self, states: &[(Name, State)]) {
        let done: HashSet<String> = states
            .iter()
            .filter(|(_, state)| state.done == Some(true))
            .map(|(name, _)| name.key().into_owned())
            .collect();
        let now = self.last_at;
        for at in 0..self.streams.len() {
            let demote = self.streams.get(at).is_some_and(|stream| {
                stream.status == Status::Completed && !done.contains(&crate::reduce::state::progress::key_of(stream))
            });
            if demote {
                self.change(at, |stream| stream.set_status(Status::Started, now));
            }
        }
    }

    /// Makes the last log line of level error the cause of a failed run without any error.
    pub(crate) fn cause_from_log(&mut self) {
        let said = |group: &Arc<ErrorGroup>| !group.cleared();
        let is_explained = self.streams.iter().any(|stream| stream.left_by_warning);
        if outcome(self) != Outcome::Failed || is_explained || self.errors.groups().iter().any(said) {
            return;
        }
        // The last words of an engine that printed no message are the only evidence.
        let words = || {
            let text = self.last_words().filter(|_| self.input.messages == 0 && !self.attempt.stopping)?;
            let place = ErrorPlace { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream: None };
            Some((Arc::from(text), place))
        };
        let Some((text, place)) = self.evidence.last_log_error.clone().or_else(words) else { return };
        let id = self.errors.add(Occurrence {
            level: ErrorLevel::Global,
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
