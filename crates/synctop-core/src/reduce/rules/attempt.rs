//! Start of attempts, and carry-over from the attempt before.

use crate::protocol::{ProgressReport, Status, StreamClaim};
use crate::reduce::state::attempt::Attempt;
use crate::reduce::state::input::Anomaly;
use crate::reduce::state::progress::Progress;
use std::sync::Arc;

impl Progress {
    pub(crate) fn begin_attempt(&mut self) {
        self.settle_run();
        let first = self.attempts == 0;
        let announced = self.run.mark.follows.take();
        let finished = self.attempt.end.as_ref().is_some_and(crate::reduce::state::attempt::Ended::claims_complete);
        if !first {
            self.run.mark = self.mark_run();
        }
        self.attempts += 1;
        // Failures and a connection status before the first attempt belong to it.
        let before = if first { std::mem::take(&mut self.attempt) } else { Attempt::default() };
        self.attempt = Attempt {
            open: true,
            started_at: self.last_at,
            counters_known: first,
            catalog: self.requested.configured,
            ..before
        };
        if first {
            self.errors.assign_to_first_attempt();
            return;
        }
        self.counters.metered_requests = (0, 0);
        self.stderr.parser.forget_processes();
        self.commits.begin_attempt();
        self.counters.estimate = crate::reduce::state::estimate::Estimated::default();
        let at = self.last_at;
        for stream in self.streams.iter_mut() {
            Arc::make_mut(stream).begin_attempt(at, finished);
        }
        self.counters.reported.begin_attempt();
        self.counters.requests.begin_attempt();
        self.counters.elapsed.begin_attempt();
        self.counters.sums.begin_attempt();
        self.counters.beyond.begin_attempt();
        if let (Some(at), Some(count)) = (at, self.cumulative_records()) {
            self.counters.rate.mark(at, count);
        }
        self.announced_run(announced);
    }

    /// Notes a message about a stream. Starts an attempt if none is open.
    pub(crate) fn stream_message(&mut self) {
        if !self.attempt.open {
            self.begin_attempt();
        }
        self.attempt.last_message_failed = false;
        self.context.new_part = false;
    }

    /// Continues with the next part of a rotated log. The run continues, unless a marker
    /// contradicts.
    pub fn next_file(&mut self) {
        self.context.last_start = None;
        self.context.new_part = true;
    }

    /// Starts an attempt if a new part of the log opens with the start of a stream that is already
    /// started: the previous process was cut off without an end.
    pub(crate) fn started_in_part(&mut self, claim: &StreamClaim) {
        let starts = claim.status == Some(Status::Started) || claim.activity.is_some();
        if self.context.new_part
            && starts
            && self.attempt.open
            && self.stream(&claim.stream.key()).is_some_and(|stream| stream.start_reported || stream.in_feed)
        {
            self.begin_attempt();
        }
    }

    /// Starts an attempt if a report after an end has counters with another start time.
    pub(crate) fn reported_behind_end(&mut self, report: &ProgressReport) {
        let other = report.started_at.is_some() && report.started_at != self.attempt.counters_since;
        if self.attempts > 0 && !self.attempt.open && self.attempt.end.is_some() && other {
            self.begin_attempt();
        }
    }

    /// Starts an attempt if a new process replaced one that had no end message: its counters have a
    /// new start time, no elapsed time, and lower counts.
    pub(crate) fn restarted_without_end(&mut self, report: &ProgressReport, start: Option<(Arc<str>, bool)>) {
        let moved = report.started_at.is_some() && report.started_at != self.attempt.counters_since;
        let fell = self.counters.reported.fell(report.records) || report.checkpoints < self.counters.engine_checkpoints;
        let fresh = report.elapsed.running == Some(0);
        if self.attempts > 0
            && self.attempt.counters_since.is_some()
            && moved
            && fresh
            && fell
            && report.checkpoints.is_some()
        {
            // The preceding start was the first of this attempt, not a duplicate.
            if let Some((stream, true)) = &start {
                self.forget_anomaly(Anomaly::DuplicateStart, stream);
            }
            self.begin_attempt();
            if let Some(at) = start.and_then(|(stream, _)| self.find_key(stream.as_ref())) {
                let now = self.last_at;
                self.change(at, |stream| {
                    stream.resumed = stream.unfinished_before;
                    stream.start_reported = true;
                    stream.set_status(Status::Started, now);
                });
            }
        }
    }

    /// True if any of the engine's own counters fell, so that all of them restarted.
    pub(crate) fn counters_fell(&self, report: &ProgressReport) -> bool {
        self.counters.reported.fell(report.records)
            || self.counters.elapsed.fell(report.elapsed)
            || report.checkpoints.is_some_and(|now| Some(now) < self.counters.engine_checkpoints)
            || report
                .streams
                .iter()
                .any(|(name, stream)| self.stream(&name.key()).is_some_and(|known| known.records.fell(stream.records)))
    }
}
