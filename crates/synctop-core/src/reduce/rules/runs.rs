//! Runs of one log: markers of a new run, and the earlier runs.
//!
//! A new run starts at another run id, or at the first report that carries no totals on, in an
//! attempt after an end with `has_more: false`. (Protocols without end messages have markers of
//! their own, see `claims.rs`.) That report may come some lines after the start of the attempt.
//! Then the attempt is turned into the first one of a run in place: each stream and the run itself
//! remember their totals at its start.

use crate::protocol::{Counts, ProcessEvent, ProgressReport, State, Status};
use crate::reduce::outcome::outcome;
use crate::reduce::state::position::Remainder;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::ranges::Ranges;
use crate::reduce::state::rare::Rare;
use crate::reduce::state::runs::{Closing, IDS_KEPT, PastRun, RunMark};
use crate::reduce::state::stream::{Ahead, Stream};
use crate::reduce::state::tally::Tally;
use std::sync::Arc;

/// Returns true if a count carries on the total before it; `None` if there was nothing to carry. A
/// count that belongs entirely to this attempt carries nothing on.
fn carried(said: Counts, before: Option<u64>) -> Option<bool> {
    let total = said.cumulative.or(said.running)?;
    let before = before.unwrap_or(0);
    let fresh = total > 0 && said.attempt == Some(total);
    (before > 0).then_some(total >= before && !fresh)
}

impl Progress {
    /// Returns the totals of the run at the start of an attempt that is not its first.
    pub(crate) fn mark_run(&self) -> RunMark {
        let ended = self.attempt.end.as_ref();
        let undecided = ended.is_some_and(|end| end.has_more == Some(false));
        RunMark {
            before: Some(Box::new(self.past_run())),
            undecided,
            mixed: false,
            counters_since: self.attempt.counters_since,
            follows: None,
            checkpoints: self.counters.checkpoints,
            engine_checkpoints: self.counters.engine_checkpoints,
            commits: self.commits.count,
            elapsed: self.counters.elapsed.cumulative.get(),
            retries: self.counters.retries,
            asked: self.requested.asked.len(),
            logged: self.evidence.logged.len(),
            anomalies: self.anomalies.clone(),
        }
    }

    /// Returns the run as a past run that another one follows.
    fn past_run(&self) -> PastRun {
        let mut closed = self.clone();
        closed.close(None);
        PastRun {
            outcome: outcome(&closed),
            attempts: self.attempts,
            records_in_attempt: self.attempt_records(),
            records: self.cumulative_records(),
            started_at: self.first_at,
            ended_at: self.attempt.end.as_ref().and_then(|end| end.at).or(self.context.before_at),
            id: self.run.id.clone(),
        }
    }

    /// True if only earlier runs of this log had that stream.
    #[must_use]
    pub fn only_in_earlier_run(&self, stream: &Stream) -> bool {
        self.runs.total > 0
            && stream.status == Status::NotStarted
            && !(stream.in_catalog || stream.in_feed || stream.reported || stream.took_part())
    }

    /// Decides by the first report after an end whether the attempt starts a run: totals that it
    /// carries on are of the same run, others of a new one.
    pub(crate) fn decide_run(&mut self, report: &ProgressReport) {
        if !self.run.mark.undecided {
            return;
        }
        if report.started_at.is_some() {
            // Counters that continue have the same start time.
            if report.started_at == self.run.mark.counters_since {
                self.run.mark.undecided = false;
            } else {
                self.start_run();
            }
            return;
        }
        let counted = |said: Option<u64>, before: Option<u64>| carried(Counts::running(said), before);
        let claims = [
            carried(report.records, self.cumulative_records()),
            counted(report.checkpoints, self.run.mark.engine_checkpoints),
            // Two calls may take equally long: only a total is evidence.
            carried(report.elapsed, self.run.mark.elapsed)
                .filter(|carried| !carried || report.elapsed.cumulative.is_some()),
        ];
        let said = report.records.said() || report.elapsed.said();
        // Both scopes are reported: certain. Checkpoints are mostly those of the call alone.
        if claims[0] == Some(true) && report.records.attempt.is_some() {
            self.run.mark.undecided = false;
            return;
        }
        match (claims.contains(&Some(true)), claims.contains(&Some(false))) {
            (true, false) => self.run.mark.undecided = false,
            // A client that continues from an earlier state resets some counters; an engine with
            // run ids reports the run at the end of the call.
            (true, true) => self.run.mark.mixed = true,
            (false, fell) if (fell || said) && self.run.id.is_some() => self.run.mark.mixed = true,
            (false, true) => self.start_run(),
            (false, false) if said => self.start_run(),
            (false, false) => {}
        }
    }

    /// Decides the same by a count of the stream at this index.
    pub(crate) fn decide_run_by_stream(&mut self, at: Option<usize>, said: Counts) {
        if !self.run.mark.undecided || self.run.mark.mixed || said.cumulative.is_none() {
            return;
        }
        let before = at.and_then(|at| self.streams.get(at)).map(|stream| stream.records.before());
        match carried(said, before) {
            Some(false) => self.start_run(),
            Some(true) => self.run.mark.undecided = false,
            None => {}
        }
    }

    /// Decides at the end of an attempt if no report carried all totals on: it belongs to a new
    /// run. Without a report there is no evidence, unless a reporting engine died before its first
    /// one.
    pub(crate) fn settle_run(&mut self) {
        let died = self.closed && self.attempt.open && self.counters.reported.cumulative.get().is_some();
        if self.run.mark.undecided && (self.run.mark.mixed || died) {
            self.start_run();
        }
    }

    /// Decides by a counted record if the engine reports no counts: a feed of records carries no
    /// totals on.
    pub(crate) fn decide_run_by_record(&mut self) {
        if self.run.mark.undecided && self.counters.reported == Tally::default() {
            self.start_run();
        }
    }

    /// Applies a run id. A different one belongs to another run. If every line carries the id, the
    /// run starts here; otherwise it started with the open attempt, or starts with the next one.
    pub(crate) fn run_id(&mut self, id: &str) {
        if self.run.id.as_deref() == Some(id) {
            self.run.mark.undecided = false;
            return;
        }
        if self.runs.list.iter().rev().take(IDS_KEPT).any(|run| run.id.as_deref() == Some(id)) {
            return;
        }
        if self.run.id.is_some() {
            if self.traits().ends_with_process {
                self.next_run();
            } else if self.attempt.open || self.attempts == 0 {
                self.start_run();
            } else {
                self.run.mark.follows = Some(id.into());
                return;
            }
        }
        self.run.id = Some(id.into());
    }

    /// Starts the run that was announced after the end before this attempt.
    pub(crate) fn announced_run(&mut self, announced: Option<Arc<str>>) {
        if announced.is_some() {
            self.start_run();
            self.run.id = announced;
        }
    }

    /// Starts another run with the current message.
    pub(crate) fn next_run(&mut self) {
        self.release_held_facts();
        let failed_before = self.attempts == 0 && self.attempt.closing.is_some();
        if failed_before {
            self.begin_attempt();
        }
        if self.attempts == 0 {
            return;
        }
        self.begin_attempt();
        self.start_run();
        if self.context.before_at == self.last_at {
            // This message has no time: the run starts at the first message with one.
            (self.first_at, self.attempt.started_at) = (None, None);
        }
    }

    /// Notes an announcement of the end of the process: a closing error, "Finished", CRITICAL, a
    /// traceback. Lines of a separate pipe have no place in the feed's order and are ignored.
    pub(crate) fn note_process_end(&mut self, certain: bool) {
        if self.traits().ends_with_process && !self.stderr.parser.is_separate_pipe {
            let certain = certain || self.attempt.closing.is_some_and(|closing| closing.certain);
            self.attempt.closing = Some(Closing { certain, records: self.records_seen() });
        }
    }

    fn records_seen(&self) -> u64 {
        self.streams.iter().map(|stream| stream.seen).sum()
    }

    /// Applies a log line about the start or the end of a process.
    pub(crate) fn process_word(&mut self, word: &ProcessEvent) {
        match word {
            ProcessEvent::Starts if !self.stderr.parser.is_separate_pipe && self.has_process_ended(false) => {
                self.next_run();
            }
            ProcessEvent::Finishes(what) if !self.streams.iter().any(|stream| *stream.name == **what) => {
                self.note_process_end(true);
            }
            ProcessEvent::Starts | ProcessEvent::Finishes(_) => {}
        }
    }

    /// Starts a run if a stream that the feed described before is described again, after a process
    /// that certainly ended.
    pub(crate) fn described_again(&mut self) {
        if !self.stderr.parser.is_beside_feed && self.has_process_ended(true) {
            self.next_run();
        }
    }

    /// True if the process of this attempt has ended: no record followed the announcement.
    /// `certain`: only a certain announcement counts.
    fn has_process_ended(&self, certain: bool) -> bool {
        let closing = self.attempt.closing.filter(|closing| closing.certain || !certain);
        closing.is_some_and(|closing| closing.records == self.records_seen())
    }

    /// Turns the last attempt into the first one of a new run: removes everything of the runs
    /// before it from the counts, errors and statuses.
    fn start_run(&mut self) {
        let mark = std::mem::take(&mut self.run.mark);
        let Some(before) = mark.before else { return };
        self.runs.push(*before);
        self.runs.attempts += u64::from(self.attempts.saturating_sub(1));
        self.runs.checkpoints += mark.checkpoints;
        self.runs.retries += mark.retries;
        self.counters.checkpoints = self.counters.checkpoints.saturating_sub(mark.checkpoints);
        self.counters.has_position &= self.counters.checkpoints > 0;
        self.counters.retries = self.counters.retries.saturating_sub(mark.retries);
        self.commits.start_run(mark.commits);
        let attempt = std::mem::replace(&mut self.attempts, 1);
        self.first_at = self.attempt.started_at.or(self.last_at);
        self.counters.last_checkpoint_at =
            self.counters.last_checkpoint_at.filter(|at| Some(*at) >= self.first_at && self.counters.checkpoints > 0);
        self.runs.errors += self.errors.start_run(attempt);
        self.evidence.listed_beyond.clear();
        self.attempt.counters_known = true;
        self.counters.engine_checkpoints = None;
        let here = |place: &crate::reduce::state::errors::ErrorPlace| place.attempt == attempt;
        self.evidence.last_log_error = self.evidence.last_log_error.take().filter(|(_, place)| here(place));
        for place in self.evidence.last_log_error.iter_mut().map(|(_, place)| place) {
            place.attempt = 1;
        }
        self.requested.asked.drain(..mark.asked.min(self.requested.asked.len()));
        self.evidence.logged.forget(mark.logged, attempt);
        self.evidence.warned.forget(0, attempt);
        for (key, count) in mark.anomalies {
            if let Some(now) = self.anomalies.get_mut(&key) {
                *now = now.saturating_sub(count);
            }
        }
        self.anomalies.retain(|_, count| *count > 0);
        self.run.id = None;
        for tally in [&mut self.counters.reported, &mut self.counters.requests, &mut self.counters.elapsed] {
            tally.start_run();
        }
        for stream in self.streams.iter_mut().map(Arc::make_mut) {
            stream.start_run(attempt);
        }
        self.counters.beyond.start_run();
        self.recount();
        let (at, count) = (self.last_at, self.cumulative_records());
        self.counters.rate = crate::reduce::state::rates::Rates::default();
        if let (Some(at), Some(count)) = (at, count) {
            self.counters.rate.mark(at, count);
        }
    }
}

impl Stream {
    /// Returns the end state of an earlier run that was ahead, if a client that continues from it
    /// skips rows.
    fn ahead_at_risk(&self) -> Option<Ahead> {
        self.details.ahead.or(self.details.ahead_before).filter(|ahead| !ahead.kept)
    }

    /// Compares the first checkpoint of a run with such an end of an earlier run. If as much is
    /// read as at that end, the run continued from it, and the rows that were missing then are
    /// missing here too. A run that reads anew has read next to nothing by then.
    pub(crate) fn compare_with_earlier_end(&mut self, before: Ahead, state: &State) {
        if before.read.zip(state.read()).is_some_and(|(before, now)| before > 0 && now >= before) {
            self.details.ahead = Some(before);
        }
    }

    /// Removes the runs before this attempt, the first one of another run.
    fn start_run(&mut self, attempt: u32) {
        if !self.took_part() && !self.reported && self.details.errors == self.details.mark.errors {
            let ahead = self.ahead_at_risk();
            *self = Self {
                name: Arc::clone(&self.name),
                namespace: self.namespace.take(),
                label: Arc::clone(&self.label),
                in_catalog: self.in_catalog,
                asked: self.asked,
                ..Self::default()
            };
            if ahead.is_some() {
                self.details.ahead_before = ahead;
            }
            return;
        }
        let ahead = self.ahead_at_risk();
        self.records.start_run();
        let details = &mut *self.details;
        let rare = &mut *details.rare;
        let mark = std::mem::take(&mut rare.mark);
        for (count, before) in [
            (&mut details.checkpoints, mark.checkpoints),
            (&mut rare.errors, mark.errors),
            (&mut rare.deletions, mark.deletions),
            (&mut self.seen, mark.seen),
            (&mut self.bytes, mark.bytes),
        ] {
            *count = count.saturating_sub(before);
        }
        self.marked = self.marked.saturating_sub(mark.seen);
        details.measure = details.measure.map(|units| units.saturating_sub(mark.measure.unwrap_or(0)));
        details.limits =
            (details.limits.0.saturating_sub(mark.limits.0), details.limits.1.saturating_sub(mark.limits.1));
        if let Some(retry) = &mut details.retry {
            retry.count = retry.count.saturating_sub(mark.retries);
        }
        details.retry = details.retry.take().filter(|retry| retry.count > 0);
        if details.checkpoints == 0 {
            details.last_checkpoint_at.set(None);
        }
        let has_checkpoints = details.checkpoints > 0;
        if let Some(covered) = details.covered.stored() {
            if !has_checkpoints {
                covered.remainder = Remainder::Unreported;
            }
            if covered.completed == covered.completed_before {
                covered.completed = Ranges::default();
            }
            covered.completed_before = Ranges::default();
            covered.total = covered.total.filter(|_| self.total_reported);
        }
        (self.completed_before, self.left_out) = (false, false);
        (self.resumed, self.open_before, self.unfinished_before, self.recounted) = (false, false, false, false);
        details.ahead_before = ahead;
        (details.ahead, self.cut_open, self.resumed_after_cut) = (None, false, false);
        details.unwritten = None;
        details.committed.set(None);
        if details.failed_in != Some(attempt) {
            (details.failed_in, details.failed_group, details.message) = (None, None, None);
        }
        details.failed_in = details.failed_in.map(|_| 1);
        self.ever_started = self.started_here();
        self.rate = Rare::default();
    }
}
