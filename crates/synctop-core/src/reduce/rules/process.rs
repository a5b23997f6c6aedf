//! End of a process without an end message: decides which results stand, and which streams are left
//! open.

use crate::protocol::{ErrorLevel, Failure, Status};
use crate::reduce::rules::failures::{NO_LINE, SILENT_ERROR};
use crate::reduce::rules::reasons::names_word;
use crate::reduce::state::input::Exit;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::{Assumed, Stream};
use std::sync::Arc;

/// Message for a stream that was unfinished when its engine was stopped.
const STOPPED: &str = "it was not through when the run was stopped";

/// Message for a stream that failed by its metrics in a run that exited with 0 and was not stopped.
const EXITS_WELL: &str = "its metrics say that it failed, and the run exited with 0";

fn stream_hint(progress: &Progress, at: usize) -> Option<Arc<str>> {
    progress.streams.get(at)?.details.hint.clone()
}

impl Progress {
    /// Fails a stream that was unfinished when its process failed. Its cause is the latest error of
    /// the whole run, if there is one.
    pub(crate) fn fail_with_process(&mut self, at: usize) {
        let (attempt, now) = (self.attempts, self.last_at);
        let here = |hit: &crate::reduce::state::errors::Hit| hit.attempt == attempt && !hit.cleared;
        let whole = self.errors.groups().iter().rev().find(|group| group.hits.get("").is_some_and(here));
        let cause = whole.map(|group| (group.id, group.message.clone()));
        self.change(at, |stream| {
            stream.set_status(Status::Errored, now);
            if stream.details.failed_in == Some(attempt) {
                return;
            }
            match cause {
                Some((id, message)) => stream.explain(attempt, id, message),
                None => stream.details.message = Some("it was not finished when the engine failed".into()),
            }
        });
    }

    /// True if the process failed: by its exit code or, if that is unknown, by the exception that
    /// ended it.
    fn process_failed(&self) -> bool {
        let raised = || {
            let cause = self.attempt.cause.and_then(|id| self.errors.get(id));
            self.traits().errors_on_stderr
                && cause.is_some_and(|group| group.hits.get("").is_some_and(|hit| hit.is_final && !hit.cleared))
        };
        self.exit.map_or_else(raised, Exit::failed)
    }

    /// Returns the streams that a failed process was working on: those that its error names,
    /// otherwise the one that it last began. `None` if statuses decide, or if nothing failed.
    fn blamed_streams(&self) -> Option<Vec<usize>> {
        if self.attempt.statuses || !self.process_failed() {
            return None;
        }
        let cause = self.attempt.cause.and_then(|id| self.errors.get(id));
        let named = |stream: &Stream| cause.is_some_and(|group| names_word(&group.message, &stream.name));
        let open = |stream: &Stream| stream.status == Status::Started;
        let all = || self.streams.iter().enumerate().filter(|(_, stream)| open(stream));
        let by_name: Vec<_> = all().filter(|(_, stream)| named(stream)).map(|(at, _)| at).collect();
        if !by_name.is_empty() {
            return Some(by_name);
        }
        let syncing = self.context.syncing.as_deref().and_then(|key| self.find_key(key));
        // The log of a source without its feed names no current stream: the only one is it.
        let is_only = |_: &usize| self.attempt.source_failed && all().count() == 1;
        Some(all().map(|(at, _)| at).filter(|at| syncing == Some(*at) || (syncing.is_none() && is_only(at))).collect())
    }

    /// True if the run was stopped from outside, as far as the feed shows.
    pub(crate) fn was_stopped(&self) -> bool {
        let stop_reported =
            self.attempt.stopping || (self.exit == Some(Exit::Code(0)) && self.traits().stopped_exits_zero);
        let silent = |stream: &crate::reduce::state::stream::Stream| {
            stream.status == Status::Errored && stream.details.failed_in != Some(self.attempts) && stream.took_part()
        };
        stop_reported && !self.exit.is_some_and(Exit::failed) && self.streams.iter().any(|stream| silent(stream))
    }

    /// Settles the state at the end of the input and of the process.
    pub(crate) fn apply_process_end(&mut self) {
        self.settle_process();
        self.apply_logged_words();
    }

    fn settle_process(&mut self) {
        self.apply_buffered_lines();
        self.release_held_facts();
        if let Some((text, place)) = self.attempt.fatal.take() {
            // No error repeated this fatal line.
            let message = text.lines().next().unwrap_or_default().to_owned();
            let stack = text.split_once('\n').map(|(_, stack)| stack.to_owned().into());
            let failure = Failure { stack, ..Failure::of(ErrorLevel::Global, None, message.into()) };
            let lines = std::mem::replace(&mut self.input.lines, place.line);
            let id = self.record_failure(failure, &NO_LINE);
            self.input.lines = lines;
            self.errors.mark_from_log(id);
        }
        if self.exit.is_some_and(Exit::failed) {
            self.settle_fallback();
            self.errors.end_with_last(self.attempts);
        }
        if let Some(end) = &self.attempt.end {
            let word = end.word;
            return self.settle_programs(word);
        }
        if !self.traits().ends_with_process {
            return;
        }
        let stopped = self.was_stopped();
        let exit_zero = self.exit == Some(Exit::Code(0)) && !self.attempt.statuses;
        let done = exit_zero && self.counters.checkpoints > 0;
        // Taps without times in their records have no other sign of an end; others report it.
        let quiet = exit_zero
            && !self.attempt.stopping
            && !self.input.truncated_line
            && (!self.context.has_timed_records || !self.stderr.tail.is_empty());
        let blamed = self.blamed_streams();
        let now = self.last_at;
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.details.limited.is_some()) {
                self.change(at, |stream| stream.end_rate_limit(now));
            }
            let Some(stream) = self.streams.get(at) else { continue };
            // An engine without statuses that exited with 0: the states it emitted are complete.
            let is_covered = done && stream.seen == stream.marked;
            let at_edge = exit_zero && stream.seen > 0 && stream.details.table_edge == Some(stream.seen);
            let is_assumed = quiet && stream.details.checkpoints == 0 && stream.in_feed;
            let is_through = blamed.as_ref().is_some_and(|blamed| !blamed.contains(&at)) && stream.is_through();
            if stream.status == Status::Started && (is_covered || at_edge || is_assumed || is_through) {
                self.change(at, |stream| {
                    let by_exit = is_assumed && !is_covered && !at_edge;
                    stream.assumed = if by_exit { Assumed::ByExit } else { Assumed::ByEvidence };
                    stream.set_status(Status::Completed, now);
                });
            } else if stream.unexplained && stream.status == Status::Errored {
                let name = stream.identity();
                self.change(at, |stream| stream.unexplained = false);
                let stop_reported = self.attempt.stopping;
                let hint = stream_hint(self, at);
                if stopped {
                    let silence = if stop_reported { STOPPED } else { EXITS_WELL };
                    self.change(at, |stream| stream.details.message = Some(hint.unwrap_or_else(|| silence.into())));
                } else {
                    match hint {
                        Some(hint) => self.stream_failure(&name, None, &hint, &NO_LINE),
                        None => self.silent_failure(&name, SILENT_ERROR, &NO_LINE),
                    }
                }
            } else if self.process_failed() && stream.status == Status::Started {
                self.fail_with_process(at);
            }
        }
    }
}
