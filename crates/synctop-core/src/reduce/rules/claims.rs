//! Claims about streams: catalog, records, checkpoints, statuses, reports.

use crate::protocol::catalog::Catalog;
use crate::protocol::{
    Activity, Checkpoint, Counts, ErrorLevel, Failure, Level, Line, Metered, Millis, Name, Position, ProgressReport,
    ProtocolTraits, State, Status, StreamClaim, StreamReport, mask,
};
use crate::reduce::rules::failures::{SILENT_ERROR, UNAVAILABLE};
use crate::reduce::state::commits::StateDirection;
use crate::reduce::state::feed::FeedOrigin;
use crate::reduce::state::input::Anomaly;
use crate::reduce::state::lookup::BEYOND;
use crate::reduce::state::position::StateOrigin;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stderr::HeldFact;
use crate::reduce::state::stream::Stream;
use std::sync::Arc;

impl Progress {
    pub(crate) fn catalog(&mut self, names: &[Name]) {
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
        // An empty list may be the cut head of a long one, or list only unknown streams.
        self.attempt.catalog = !names.is_empty();
    }

    /// Applies the list of streams that a source offers.
    pub(crate) fn offer(&mut self, names: &[Name]) {
        self.requested.answered = true;
        for name in names {
            self.place(name);
        }
    }

    /// Declares the expected streams: a configured catalog or the streams of a source, known before
    /// the first line.
    pub fn expect_streams(&mut self, catalog: &Catalog) {
        self.requested.configured = catalog.configured;
        for listed in &catalog.streams {
            let at = self.place(&listed.stream);
            self.change(at, |stream| {
                stream.in_catalog = true;
                stream.asked = listed.asked;
                if listed.deselected {
                    // A deselected stream takes no part; no status will be reported.
                    stream.status = Status::Skipped;
                    stream.details.message = Some("not selected in the catalog".into());
                }
            });
        }
    }

    /// Applies a message that records of a stream are stored in files.
    pub(crate) fn hidden(&mut self, name: &Name) {
        self.stream_message();
        let at = self.place_of_message(name);
        let now = self.last_at;
        self.change(at, |stream| {
            stream.hidden = true;
            stream.in_feed = true;
            stream.sign_of_life(now);
            stream.end_rate_limit(now);
            stream.mark_started(now);
        });
        self.apply_held_facts(name);
    }

    /// Applies count increments that are reported beside the records. They are compared with the
    /// counted records and replace them only if no record could be counted.
    pub(crate) fn metered(&mut self, told: &Metered) {
        if let Some(id) = &told.run_id {
            self.run_id(&mask::secrets(id));
        }
        self.counters.metered_requests.0 += told.requests.unwrap_or(0);
        self.counters.metered_requests.1 += u64::from(told.timed_request);
        if told.requests.is_some() || told.timed_request {
            // Both figures count the same requests, and some engines report only one.
            let (counted, timed) = self.counters.metered_requests;
            self.counters.requests.report(Counts { attempt: Some(counted.max(timed)), ..Counts::default() });
        }
        let Some(records) = told.records else { return };
        if self.hold_until_named(&told.stream, told.is_inferred_name, HeldFact::Records(records, told.process)) {
            return;
        }
        let loaded = told.loaded.unwrap_or_else(|| self.is_target_process(told.process));
        self.stream_message();
        let at = self.place_of_message(&told.stream);
        let now = self.last_at;
        self.change(at, |stream| {
            if loaded {
                let committed = stream.details.committed.get().unwrap_or(0).saturating_add(records);
                stream.details.committed.set(committed);
                return;
            }
            stream.details.metered = Some(stream.details.metered.unwrap_or(0).saturating_add(records));
            if stream.counted == 0 || stream.hidden {
                stream.records.report(Counts { attempt: Some(stream.count_here()), ..Counts::default() });
            }
            if stream.status == Status::NotStarted {
                stream.set_status(Status::Started, now);
            }
        });
        self.commits.has_destination |= loaded;
        self.count_stream(at);
        self.count_total();
    }

    /// Applies a deletion at the source: a sign of life, not a record.
    pub(crate) fn deletion(&mut self, name: &Name) {
        self.stream_message();
        let at = self.place_of_message(name);
        let now = self.last_at;
        self.change(at, |stream| {
            stream.details.deletions += 1;
            stream.sign_of_life(now);
            stream.mark_started(now);
        });
    }

    pub(crate) fn record(&mut self, name: &Name, bytes: u64, measure: Option<u64>) {
        self.stream_message();
        self.decide_run_by_record();
        self.commits.source_seen(&mut self.streams);
        let at = self.place_of_message(name);
        let now = self.last_at;
        // Where statuses are messages, no record follows the last one.
        let late = self.traits().states_may_follow_complete && !self.traits().first_status_is_final;
        let fresh = self.change(at, |stream| {
            let fresh = !std::mem::replace(&mut stream.in_feed, true);
            let after_complete = stream.complete_reported && !stream.early && !late;
            stream.counted += 1;
            stream.add_record_lines(1, bytes, measure);
            if !stream.reported {
                stream.records.report(Counts { attempt: Some(stream.count_here()), ..Counts::default() });
            }
            stream.end_rate_limit(now);
            stream.sign_of_life(now);
            stream.mark_started(now);
            (fresh, after_complete.then(|| stream.label.clone()))
        });
        if at == BEYOND {
            self.count_beyond(1);
        }
        self.count_stream(at);
        self.count_total();
        let Some((fresh, after_complete)) = fresh else { return };
        if fresh {
            self.context.syncing = Some(name.key().as_ref().into());
        }
        if after_complete.is_some() {
            self.anomaly(Anomaly::RecordAfterComplete, after_complete);
        }
        if fresh {
            self.apply_held_facts(name);
        }
    }

    pub(crate) fn checkpoint(&mut self, checkpoint: Checkpoint) {
        let mut alone = false;
        if let Some(handed) = &checkpoint.handed {
            if let Some(current) = &handed.current {
                self.context.syncing = Some(current.key().as_ref().into());
            }
            match self.apply_emitted_state(checkpoint.stream.as_ref(), handed) {
                StateDirection::Back => return,
                StateDirection::Out => {}
                StateDirection::Alone => alone = true,
            }
        }
        let positions = checkpoint.handed.as_ref().map_or(0, |handed| handed.streams.len());
        self.counters.has_position |= checkpoint.stream.is_some() || positions > 0;
        self.counters.checkpoints += 1;
        self.counters.last_checkpoint_at = self.last_at.or(self.counters.last_checkpoint_at);
        if let Some(name) = checkpoint.stream {
            self.checkpoint_of(&name, &checkpoint.state, alone, checkpoint.late);
        } else if let Some(handed) = checkpoint.handed {
            // A checkpoint of several streams starts none of them.
            let whole = handed.whole;
            for name in self.advanced(*handed) {
                let known =
                    self.stream(&name.key()).is_some_and(|stream| stream.started_here() || stream.complete_reported);
                if whole || known || alone {
                    self.checkpoint_of(&name, &State::default(), alone, true);
                } else {
                    let at = self.place(&name);
                    let now = self.last_at;
                    self.change(at, |stream| {
                        stream.details.checkpoints += 1;
                        if let Some(now) = now {
                            stream.details.last_checkpoint_at.set(now);
                        }
                    });
                }
            }
        }
    }

    /// Applies a checkpoint of one stream. `alone`: the feed has only a destination, which does not
    /// report starts. `late`: the checkpoint may follow the stream's "complete".
    fn checkpoint_of(&mut self, name: &Name, state: &State, alone: bool, late: bool) {
        self.stream_message();
        let at = self.place_of_message(name);
        let now = self.last_at;
        let late = late || self.traits().states_may_follow_complete;
        let odd = self.change(at, |stream| {
            if stream.details.ahead_before.is_some()
                && let Some(before) = stream.details.ahead_before.take()
            {
                stream.compare_with_earlier_end(before, state);
            }
            if !matches!(state.position, Position::Unknown) || stream.details.checkpoint.stored().is_some() {
                stream.details.checkpoint.assign(&state.position);
            }
            stream.checkpoint_here = true;
            stream.checkpoint_uncounted = true;
            stream.details.checkpoints += 1;
            if let Some(now) = now {
                stream.details.last_checkpoint_at.set(now);
            }
            let after_complete = stream.complete_reported && !stream.early && !late;
            let before_start = !stream.started_here() && !stream.complete_reported;
            if before_start {
                stream.set_status(Status::Started, now);
            }
            stream.sign_of_life(now);
            stream.state_ranges(state, StateOrigin::Checkpoint);
            let before_start = before_start && !alone;
            (before_start || after_complete).then(|| (before_start, after_complete, stream.label.clone()))
        });
        if let Some((before_start, after_complete, name)) = odd.flatten() {
            if before_start {
                self.anomaly(Anomaly::StateBeforeStart, Some(name.clone()));
            }
            if after_complete {
                self.anomaly(Anomaly::StateAfterComplete, Some(name));
            }
        }
    }

    pub(crate) fn stream_claim(&mut self, claim: StreamClaim, line: &Line) {
        if let Some(status) = claim.status
            && self.hold_until_named(&claim.stream, claim.is_inferred_name, HeldFact::Status(status))
        {
            return;
        }
        if claim.status == Some(Status::Started) || claim.activity.is_some() {
            self.commits.source_seen(&mut self.streams);
        }
        let name = claim.stream.clone();
        if claim.activity.is_some() && !claim.is_table_edge && !self.stderr.parser.is_beside_feed {
            self.context.syncing = Some(name.key().as_ref().into());
        }
        let is_table_edge = claim.is_table_edge;
        self.apply_claim(claim, line);
        if is_table_edge && let Some(at) = self.find(&name) {
            self.change(at, |stream| stream.details.table_edge = Some(stream.seen));
        }
        if !self.stderr.parser.is_beside_feed {
            self.apply_held_facts(&name);
        }
    }

    /// Starts a run if a terminal stream starts again (in protocols whose first terminal status
    /// stands), or if a stream is described again after the end of a process.
    fn start_run_if_restarted(&mut self, claim: &StreamClaim) {
        let starts = claim.status == Some(Status::Started) && self.traits().first_status_is_final;
        let known = || self.stream(&claim.stream.key());
        if starts && known().is_some_and(|stream| stream.terminal) {
            self.next_run();
        } else if self.attempt.closing.is_some()
            && claim.activity.is_some()
            && known().is_some_and(|stream| stream.in_feed)
        {
            self.described_again();
        }
    }

    fn apply_claim(&mut self, claim: StreamClaim, line: &Line) {
        self.start_run_if_restarted(&claim);
        self.started_in_part(&claim);
        self.stream_message();
        if self.run.mark.undecided {
            self.decide_run_by_stream(self.find(&claim.stream), claim.records);
        }
        let at = self.place_of_message(&claim.stream);
        let now = self.last_at;
        let attempt = self.attempts;
        if let Some(word) = &claim.odd_status {
            let text = format!("unknown stream status {word}");
            self.note(Level::Warn, FeedOrigin::Unknown, None, Some(&claim.stream.label()), &text);
        }
        let traits = self.traits();
        self.attempt.statuses |= claim.status.is_some();
        let beside = self.stderr.parser.is_beside_feed;
        let counted = claim.records.said();
        let resumed = claim.records.attempt == Some(0) && claim.records.cumulative > Some(0);
        let outcome = self.change(at, |stream| {
            // Later messages do not change a terminal status.
            let stands = traits.first_status_is_final && stream.terminal;
            if claim.status.is_some() {
                stream.end_rate_limit(now);
            }
            stream.in_feed |= claim.activity.is_some() && !beside;
            if let Some(activity) = claim.activity.filter(|_| !stands) {
                stream.apply_activity(activity, now);
            }
            let doubled = claimed_status(stream, &claim, stands, resumed, traits, now);
            // The stream takes part, so that an absent count is 0, not unknown.
            let starts_now = claim.status == Some(Status::Started) || (claim.activity.is_some() && !beside);
            if traits.ends_with_process && !traits.reports_end && starts_now && stream.records.attempt.get().is_none() {
                stream.records.report(Counts { attempt: Some(stream.count_here()), ..Counts::default() });
            }
            stream.terminal |= matches!(claim.status, Some(Status::Completed | Status::Skipped | Status::Errored));
            if claim.records.said() {
                stream.reported = true;
                stream.records.report(claim.records);
                stream.count_reported();
            }
            if claim.from_destination {
                stream.destination_failed();
            }
            if let Some(text) = claim.error.as_ref().or(claim.reason.as_ref()) {
                stream.details.message = Some(mask::secrets(text).into());
            }
            let clears = !stands && claim.status == Some(Status::Completed) && stream.has_recovered(attempt);
            (doubled, clears, stream.label.clone(), stands)
        });
        let mut stood = false;
        if let Some((doubled, clears, name, stands)) = outcome {
            stood = stands;
            if doubled {
                self.anomaly(Anomaly::DuplicateStart, Some(name.clone()));
            }
            if claim.records.is_negative {
                self.anomaly(Anomaly::NegativeCount, Some(name.clone()));
            }
            if claim.status == Some(Status::Started) {
                self.context.last_start = Some((name.clone(), doubled));
            }
            if clears {
                self.clear_stream(at, &name);
            }
        }
        if claim.total.is_some() || claim.completed.is_some() {
            self.change(at, |stream| stream.range_claimed(claim.total, claim.completed));
        }
        if let Some(activity) = claim.activity {
            self.note_rate_limit(at, activity);
        }
        self.counters.beyond.failed += u64::from(at == BEYOND && claim.status == Some(Status::Errored));
        if claim.status == Some(Status::Errored) && !stood {
            self.apply_failed_status(at, claim, line);
        }
        if counted {
            self.count_stream(at);
            self.count_total();
        }
    }

    /// Applies a failed status. The reason is part of it, preceded it, or comes in another message.
    fn apply_failed_status(&mut self, at: usize, claim: StreamClaim, line: &Line) {
        let traits = self.traits();
        let silent = claim.error.is_none() && claim.reason.is_none();
        if silent && traits.errors_on_stderr {
            return self.unexplained(at);
        }
        let stream = self.streams.get(at);
        if silent && stream.is_some_and(|stream| stream.details.failed_in == Some(self.attempts)) {
            return;
        }
        let is_skipped = stream.is_some_and(|stream| stream.status == Status::Skipped);
        let silence = if is_skipped { UNAVAILABLE } else { SILENT_ERROR };
        let message = claim.error.or(claim.reason).unwrap_or(silence.into());
        self.status_failure(Failure::of(ErrorLevel::Stream, Some(claim.stream), message), line);
        if silent {
            self.change(at, |stream| stream.reason_missing = true);
        }
    }

    /// Notes the first report of a rate limit in the feed log, not its repetitions.
    fn note_rate_limit(&mut self, at: usize, activity: Activity) {
        let Some(stream) = self.streams.get(at) else { return };
        if matches!(activity, Activity::Limited(_)) && stream.details.limited.is_some_and(|limited| limited.times == 1)
        {
            let label = stream.label.clone();
            self.note(Level::Warn, FeedOrigin::Log, None, Some(&label), "rate limited: it waits");
        }
    }

    /// Handles a stream that failed without a reason: the error of the run explains it, now or
    /// later.
    fn unexplained(&mut self, at: usize) {
        let cause =
            self.attempt.cause.and_then(|id| self.errors.get(id)).map(|group| (group.id, group.message.clone()));
        let attempt = self.attempts;
        self.change(at, |stream| match cause {
            Some((id, message)) => stream.explain(attempt, id, message),
            None => stream.unexplained = true,
        });
    }

    pub(crate) fn progress(&mut self, report: ProgressReport, line: &Line) {
        if self.attempts == 0 {
            self.begin_attempt();
            self.attempt.counters_known = true;
        }
        self.decide_run(&report);
        if !self.attempt.counters_known && (report.records.running.is_some() || report.elapsed.running.is_some()) {
            self.attempt.counters_known = true;
            if self.counters_fell(&report) {
                self.counters.reported.restart();
                self.counters.elapsed.restart();
                for stream in self.streams.iter_mut() {
                    Arc::make_mut(stream).records.restart();
                }
            }
        }
        // A log that starts in the middle of a run with several attempts reports their counts
        // before any sign of life.
        let theirs = report.checkpoints.filter(|count| *count > 0);
        let before = self.counters.checkpoints == 0
            && self.counters.reported.cumulative.get().is_none()
            && !self.attempt.catalog;
        let resumed = self.attempts == 1 && before && theirs.is_some();
        if resumed {
            self.counters.reported.resumed(report.records);
        }
        if report.records.is_negative {
            self.anomaly(Anomaly::NegativeCount, None);
        }
        self.attempt.counters_since = report.started_at.or(self.attempt.counters_since);
        self.counters.engine_checkpoints = report.checkpoints.or(self.counters.engine_checkpoints);
        self.counters.reported.report(report.records);
        self.counters.requests.report(report.requests);
        if report.requests.attempt.is_none() {
            // Neither reported nor derived from a total: an engine that does not count requests
            // reports 0 forever.
            self.counters.requests.attempt.set(None);
        }
        self.counters.elapsed.report(report.elapsed);
        if !report.streams.is_empty() {
            self.attempt.last_message_failed = false;
        }
        // Before the streams, so that the error behind an errored status is known.
        self.listed_failures(report.errors, line);
        for (name, stream) in report.streams {
            self.stream_report(&name, stream, resumed, line);
        }
        self.count_total();
    }

    pub(crate) fn stream_report(&mut self, identity: &Name, report: StreamReport, resumed: bool, line: &Line) {
        let at = self.place(identity);
        let now = self.last_at;
        let attempt = self.attempts;
        let counted = report.records.said();
        let outcome = self.change(at, |stream| {
            match report.status {
                Some(Status::NotStarted) | None => {}
                Some(status) => {
                    let changed = stream.set_status(status, now);
                    stream.complete_reported |= changed && status == Status::Completed;
                }
            }
            let odd_status = report.odd_status.as_deref();
            let odd = odd_status.is_some() && odd_status != stream.details.odd_status.as_deref();
            if odd || stream.details.odd_status.is_some() {
                stream.details.odd_status = odd_status.map(Into::into);
            }
            let has_message = report.message.is_some() || stream.details.completed_message.is_some();
            if report.status == Some(Status::Completed) && has_message {
                stream.details.completed_message = report.message.as_deref().map(|text| mask::secrets(text).into());
            }
            let mut shrank = false;
            if report.records.said() {
                shrank = stream.reported && stream.records.fell(report.records);
                stream.reported = true;
                if resumed {
                    stream.records.resumed(report.records);
                }
                stream.records.report(report.records);
                stream.count_reported();
                stream.resumed |= resumed && stream.status == Status::Started && stream.records.before() > 0;
            }
            if let Some(text) = &report.message
                && stream.details.message.as_deref() != Some(text)
            {
                stream.details.message = Some(mask::secrets(text).into());
            }
            // A report that repeats an earlier attempt's failure is not new.
            if report.from_destination && stream.took_part() {
                stream.destination_failed();
            }
            stream.total_reported |= report.total.is_some();
            if report.inserted.is_some() || report.updated.is_some() || report.deleted.is_some() {
                let details = &mut *stream.details;
                details.inserted = report.inserted.or(details.inserted);
                details.updated = report.updated.or(details.updated);
                details.deleted = report.deleted.or(details.deleted);
            }
            let clears = report.status == Some(Status::Completed) && stream.has_recovered(attempt);
            // An error carried over from an earlier attempt is not new, unless the stream took
            // part.
            let news =
                stream.details.failed_in.is_none() || (stream.details.failed_in != Some(attempt) && stream.took_part());
            (clears, report.status == Some(Status::Errored) && news, odd, shrank, stream.label.clone())
        });
        if counted {
            self.count_stream(at);
        }
        let Some((clears, unheard, odd, shrank, name)) = outcome else {
            if report.status == Some(Status::Errored) {
                let message = report.message.unwrap_or(SILENT_ERROR.into());
                // A report repeats it.
                self.listed_failures(vec![Failure::of(ErrorLevel::Stream, Some(identity.clone()), message)], line);
            }
            return;
        };
        if shrank {
            self.anomaly(Anomaly::CountShrank, Some(name.clone()));
        }
        if report.records.is_negative {
            self.anomaly(Anomaly::NegativeCount, Some(name.clone()));
        }
        if odd {
            let word = report.odd_status.as_deref().unwrap_or_default();
            self.note(Level::Warn, FeedOrigin::Unknown, None, Some(&name), &format!("unknown stream status {word}"));
        }
        if clears {
            self.clear_stream(at, &name);
        }
        if unheard {
            match &report.message {
                Some(message) => self.stream_failure(identity, None, message, line),
                None => self.silent_failure(identity, SILENT_ERROR, line),
            }
        }
        let differs = self.streams.get(at).is_some_and(|stream| ranges_differ(stream, &report));
        if differs {
            self.change(at, |stream| {
                let details = &mut *stream.details;
                if report.total.is_some() {
                    details.covered.total = report.total;
                }
                if let Some(completed) = report.completed {
                    details.covered.completed.assign(&completed);
                    // A resumed stream keeps the ranges of earlier attempts.
                    let covered = &mut *details.covered;
                    let before = if stream.resumed { covered.completed_before.list() } else { &[] };
                    for range in before {
                        covered.completed.add(*range);
                    }
                }
            });
        }
    }
}

/// Applies the status of a claim. `stands`: a terminal status does not change any more. Returns
/// true for a repeated start.
fn claimed_status(
    stream: &mut Stream,
    claim: &StreamClaim,
    stands: bool,
    resumed: bool,
    traits: &ProtocolTraits,
    now: Option<Millis>,
) -> bool {
    let silent = claim.error.is_none() && claim.reason.is_none();
    match claim.status {
        Some(status) if stands => return status == Status::Started,
        // The stream failed without a start and without an error.
        Some(Status::Errored)
            if traits.first_status_is_final && silent && !stream.ever_started && stream.details.errors == 0 =>
        {
            stream.set_status(Status::Skipped, now);
        }
        Some(Status::Started) => {
            let doubled = stream.start_reported && stream.status == Status::Started;
            if !stream.start_reported && (stream.unfinished_before || resumed) {
                stream.resumed = true;
            }
            stream.start_reported = true;
            stream.complete_reported = false;
            stream.set_status(Status::Started, now);
            return doubled;
        }
        Some(Status::Completed) => {
            stream.settling = claim.early && claim.records.said() && !stream.complete_reported;
            stream.complete_reported = true;
            stream.early = claim.early;
            stream.set_status(Status::Completed, now);
        }
        Some(Status::NotStarted) | None => {}
        Some(status) => drop(stream.set_status(status, now)),
    }
    false
}

/// True if a report lists other ranges than those that the stream has.
fn ranges_differ(stream: &Stream, report: &StreamReport) -> bool {
    let details = &stream.details;
    report.total.is_some_and(|total| details.covered.total != Some(total))
        || report.completed.as_ref().is_some_and(|list| list.as_slice() != details.covered.completed.list())
}
