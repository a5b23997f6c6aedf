//! What is claimed of streams: catalog, records, checkpoints, statuses, reports.

use super::Anomaly;
use super::Progress;
use super::failures::SILENT_ERROR;
use super::feed::Origin;
use crate::protocol::Checkpoint;
use crate::protocol::Counts;
use crate::protocol::Failure;
use crate::protocol::Level;
use crate::protocol::Line;
use crate::protocol::Name;
use crate::protocol::ProgressReport;
use crate::protocol::Status;
use crate::protocol::StreamClaim;
use crate::protocol::StreamReport;
use crate::protocol::Where;
use crate::protocol::mask;
use std::sync::Arc;

impl Progress {
    pub(super) fn catalog(&mut self, names: &[Name]) {
        self.begin_attempt();
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.in_catalog) {
                self.change(at, |stream| stream.in_catalog = false);
            }
        }
        for name in names {
            let at = self.place(name);
            self.change(at, |stream| stream.in_catalog = true);
        }
        // An empty list may be the head of one too long to hold, or of streams that nobody knew.
        self.attempt.catalog = !names.is_empty();
    }

    pub(super) fn record(&mut self, name: &Name) {
        self.stream_message();
        let at = self.place_of_message(name);
        let now = self.last_at;
        self.change(at, |stream| {
            stream.counted += 1;
            if !stream.reported {
                stream.records.report(Counts { attempt: Some(stream.counted), ..Counts::default() });
            }
            stream.sign_of_life(now);
            if stream.status == Status::NotStarted {
                stream.become_(Status::Started, now);
            }
        });
        self.count_stream(at);
        self.count_total();
    }

    pub(super) fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.checkpoints += 1;
        self.last_checkpoint_at = self.last_at.or(self.last_checkpoint_at);
        let Some(name) = &checkpoint.stream else { return };
        self.stream_message();
        let at = self.place_of_message(name);
        let now = self.last_at;
        let odd = self.change(at, |stream| {
            stream.checkpoints += 1;
            stream.last_checkpoint_at = now.or(stream.last_checkpoint_at);
            let after_complete = stream.complete_said && !stream.early;
            let before_start = !stream.started_here() && !stream.complete_said;
            if before_start {
                stream.become_(Status::Started, now);
            }
            stream.sign_of_life(now);
            (before_start, after_complete, stream.name.clone())
        });
        if let Some((before_start, after_complete, name)) = odd {
            if before_start {
                self.anomaly(Anomaly::StateBeforeStart, Some(name.clone()));
            }
            if after_complete {
                self.anomaly(Anomaly::StateAfterComplete, Some(name));
            }
        }
        self.state_ranges(at, checkpoint.state);
    }

    pub(super) fn stream_claim(&mut self, claim: StreamClaim, line: &Line) {
        self.stream_message();
        let at = self.place_of_message(&claim.stream);
        let now = self.last_at;
        let attempt = self.attempts;
        if let Some(word) = &claim.odd_status {
            let text = format!("unknown stream status {word}");
            self.note(Level::Warn, Origin::Unknown, None, Some(&claim.stream.name), &text);
        }
        let counted = claim.records.said();
        let resumed = claim.records.attempt == Some(0) && claim.records.cumulative > Some(0);
        let outcome = self.change(at, |stream| {
            let mut doubled = false;
            match claim.status {
                Some(Status::Started) => {
                    doubled = stream.start_said && stream.status == Status::Started;
                    if !stream.start_said && (stream.open_before || resumed) {
                        stream.resumed = true;
                    }
                    stream.start_said = true;
                    stream.complete_said = false;
                    stream.become_(Status::Started, now);
                }
                Some(Status::Completed) => {
                    stream.settling = claim.early && claim.records.said() && !stream.complete_said;
                    stream.complete_said = true;
                    stream.early = claim.early;
                    stream.become_(Status::Completed, now);
                }
                Some(Status::NotStarted) | None => {}
                Some(status) => drop(stream.become_(status, now)),
            }
            if claim.records.said() {
                stream.reported = true;
                stream.records.report(claim.records);
            }
            if let Some(text) = claim.error.as_ref().or(claim.reason.as_ref()) {
                stream.message = Some(mask::secrets(text).into());
            }
            (doubled, claim.status == Some(Status::Completed) && stream.made_up(attempt), stream.name.clone())
        });
        if let Some((doubled, clears, name)) = outcome {
            if doubled {
                self.anomaly(Anomaly::DuplicateStart, Some(name.clone()));
            }
            if claim.status == Some(Status::Started) {
                self.last_start = Some((name.clone(), doubled));
            }
            if clears {
                self.clear_stream(at, &name);
            }
        }
        if claim.total.is_some() || claim.completed.is_some() {
            self.ranges(at, |stream| {
                stream.total_range = claim.total.or(stream.total_range);
                if let Some(range) = claim.completed {
                    stream.ranges.add(range);
                }
            });
        }
        if claim.status == Some(Status::Errored) {
            self.status_failure(
                Failure {
                    level: Where::Stream,
                    failure_type: None,
                    stream: Some(claim.stream),
                    message: claim.error.or(claim.reason).unwrap_or(SILENT_ERROR.into()),
                    stack: None,
                    is_final: true,
                },
                line,
            );
        }
        if counted {
            self.count_stream(at);
            self.count_total();
        }
    }

    pub(super) fn progress(&mut self, report: ProgressReport, line: &Line) {
        if self.attempts == 0 {
            self.begin_attempt();
            self.attempt.counters_known = true;
        }
        if !self.attempt.counters_known && (report.records.running.is_some() || report.elapsed.running.is_some()) {
            self.attempt.counters_known = true;
            if self.counters_fell(&report) {
                self.reported.restart();
                self.elapsed.restart();
                for stream in &mut self.streams {
                    Arc::make_mut(stream).records.restart();
                }
            }
        }
        // A log that begins in the middle of a run of several attempts holds their counts before any sign of life.
        let theirs = report.checkpoints.filter(|count| *count > 0);
        let before = self.checkpoints == 0 && self.reported.cumulative.is_none() && !self.attempt.catalog;
        let resumed = self.attempts == 1 && before && theirs.is_some();
        if resumed {
            self.reported.resumed(report.records);
        }
        self.attempt.counters_since = report.started_at.or(self.attempt.counters_since);
        self.engine_checkpoints = report.checkpoints.or(self.engine_checkpoints);
        self.reported.report(report.records);
        self.requests.report(report.requests);
        if report.requests.attempt.is_none() {
            // Not said, and not worked out from a total either: an engine that does not count requests says 0 for ever.
            self.requests.attempt = None;
        }
        self.elapsed.report(report.elapsed);
        if !report.streams.is_empty() {
            self.attempt.last_word_failed = false;
        }
        // Before the streams, so that the error behind an errored status is known.
        self.listed_failures(report.errors, line);
        for (name, stream) in report.streams {
            self.stream_report(&name, stream, resumed, line);
        }
        self.count_total();
    }

    pub(super) fn stream_report(&mut self, name: &Name, report: StreamReport, resumed: bool, line: &Line) {
        let at = self.place(name);
        let now = self.last_at;
        let attempt = self.attempts;
        let counted = report.records.said();
        let outcome = self.change(at, |stream| {
            match report.status {
                Some(Status::NotStarted) | None => {}
                Some(status) => {
                    let changed = stream.become_(status, now);
                    stream.complete_said |= changed && status == Status::Completed;
                }
            }
            let odd_status = report.odd_status.as_deref();
            let odd = odd_status.is_some() && odd_status != stream.odd_status.as_deref();
            stream.odd_status = odd_status.map(Into::into);
            if report.status == Some(Status::Completed) {
                stream.completed_message = report.message.as_deref().map(|text| mask::secrets(text).into());
            }
            if report.records.said() {
                stream.reported = true;
                if resumed {
                    stream.records.resumed(report.records);
                }
                stream.records.report(report.records);
                stream.resumed |= resumed && stream.status == Status::Started && stream.records.before() > 0;
            }
            if let Some(text) = &report.message
                && stream.message.as_deref() != Some(text)
            {
                stream.message = Some(mask::secrets(text).into());
            }
            stream.inserted = report.inserted.or(stream.inserted);
            stream.updated = report.updated.or(stream.updated);
            stream.deleted = report.deleted.or(stream.deleted);
            let clears = report.status == Some(Status::Completed) && stream.made_up(attempt);
            // Carried over from an earlier attempt it is no news; of this one nobody has said it yet.
            let news = stream.failed_in.is_none() || (stream.failed_in != Some(attempt) && stream.took_part());
            (clears, report.status == Some(Status::Errored) && news, odd, stream.name.clone())
        });
        if counted {
            self.count_stream(at);
        }
        let Some((clears, unheard, odd, name)) = outcome else { return };
        if odd {
            let word = report.odd_status.as_deref().unwrap_or_default();
            self.note(Level::Warn, Origin::Unknown, None, Some(&name), &format!("unknown stream status {word}"));
        }
        if clears {
            self.clear_stream(at, &name);
        }
        if unheard {
            self.stream_failure(&name, None, report.message.as_deref().unwrap_or(SILENT_ERROR), line);
        }
        let differs = self.streams.get(at).is_some_and(|stream| {
            report.total.is_some_and(|total| stream.total_range != Some(total))
                || report.completed.as_ref().is_some_and(|list| list.as_slice() != stream.ranges.list())
        });
        if differs {
            self.ranges(at, |stream| {
                stream.total_range = report.total.or(stream.total_range);
                if let Some(completed) = report.completed {
                    stream.ranges.assign(&completed);
                    // A stream that goes on keeps what earlier attempts completed.
                    let before = if stream.resumed { stream.ranges_before.list() } else { &[] };
                    for range in before {
                        stream.ranges.add(*range);
                    }
                }
            });
        }
    }
}
