//! State of one stream.

use crate::protocol::{Activity, Millis, Position, Range, State, Status};
use crate::reduce::state::compact::CompactOption;
use crate::reduce::state::gaps::Gaps;
use crate::reduce::state::position::{KeptPosition, Remainder, StateOrigin};
use crate::reduce::state::ranges::Ranges;
use crate::reduce::state::rare::{Rare, SharedDefault};
use crate::reduce::state::rates::Rates;
use crate::reduce::state::runs::StreamMark;
use crate::reduce::state::tally::Tally;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

/// Maximum share of a stream that is not completely read.
pub(crate) const ALMOST: f64 = 0.9999;

/// State of one stream in the current run.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stream {
    /// Name without the namespace, secrets masked.
    pub name: Arc<str>,
    /// Namespace, secrets masked; `None` if the engine reports none.
    pub namespace: Option<Arc<str>>,
    /// Display name: `public.users`, or the name itself without a namespace.
    pub label: Arc<str>,
    /// Latest status. At a new attempt `Started` becomes `NotStarted`; the others carry over.
    pub status: Status,
    /// True if it was reported complete before its counts are in.
    pub settling: bool,
    /// Record count as the engine reports it, otherwise the counted `record` lines.
    pub records: Tally,
    /// `record` lines in this attempt.
    pub counted: u64,
    /// `record` lines of this run, over all attempts.
    pub seen: u64,
    /// Bytes of its `record` lines in this run, newlines included.
    pub bytes: u64,
    /// Part of `seen` before its last checkpoint.
    pub(crate) marked: u64,
    /// True if it has records in files, which only the engine's own counts include.
    pub hidden: bool,
    /// Time of the last checkpoint or record.
    pub last_sign_at: CompactOption<Millis>,
    /// Time of the start in this attempt.
    pub started_at: CompactOption<Millis>,
    /// Time of the last status change.
    pub changed_at: CompactOption<Millis>,
    /// True if it started in this attempt or an earlier one.
    pub ever_started: bool,
    /// Completion that no status reports.
    pub assumed: Assumed,
    /// True if a warning is the reason of its absence.
    pub(crate) left_by_warning: bool,
    /// True if a run was configured to read it.
    pub asked: bool,
    /// True if it has a terminal status.
    pub(crate) terminal: bool,
    /// True if it failed and the reason is not known yet.
    pub(crate) unexplained: bool,
    /// It failed, and its message is a placeholder until a reason is known.
    pub(crate) reason_missing: bool,
    /// True if it started in the feed itself, not only in logs beside it.
    pub(crate) in_feed: bool,
    /// True if its status changed.
    pub(crate) moved: bool,
    /// True if its status was errored.
    pub(crate) errored_here: bool,
    /// True if the last catalog lists it, or if its absence from the catalog is counted already.
    pub(crate) in_catalog: bool,
    pub(crate) start_reported: bool,
    pub(crate) complete_reported: bool,
    /// True if its "complete" may precede its checkpoints.
    pub(crate) early: bool,
    /// True if an engine reported its count; otherwise `record` lines are counted.
    pub(crate) reported: bool,
    /// True if "complete" overwrote a failure of this attempt.
    pub(crate) overwritten: bool,
    /// True if it continued from an earlier attempt that did not finish it.
    pub(crate) resumed: bool,
    pub(crate) open_before: bool,
    /// True if the attempt before left it unfinished: open, or with an error.
    pub(crate) unfinished_before: bool,
    /// True if its cumulative count includes rows of an attempt that may count rows twice.
    pub(crate) recounted: bool,
    /// True if it counted rows after its last checkpoint before the attempt before ended, or may
    /// have.
    pub(crate) counted_ahead: bool,
    /// True if its last checkpoint is of this attempt.
    pub(crate) checkpoint_here: bool,
    pub(crate) checkpoint_uncounted: bool,
    /// True if the destination failed in this attempt.
    pub(crate) destination_failed: bool,
    /// True if a limit cut it off in this attempt, and the end cannot show its unread rows.
    pub(crate) cut_open: bool,
    /// True if the run continued after such a cut.
    pub resumed_after_cut: bool,
    /// True if an earlier attempt left ranges unread, and the attempt that ended complete did not
    /// read the stream.
    pub(crate) left_out: bool,
    /// True if it completed with records in an attempt that did not finish: read again, they count
    /// twice.
    pub(crate) completed_before: bool,
    /// True if its total range was reported in this attempt.
    pub(crate) total_reported: bool,
    /// Records per second, from its cumulative count.
    pub rate: Rare<Rates>,
    /// Counts, texts and positions that a stream without activity does not have.
    pub details: Rare<StreamDetails>,
}

/// Completion that is assumed from the end of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Assumed {
    /// A status reports it, or it is not complete.
    #[default]
    No,
    /// A checkpoint or the edge of its table followed the last record, or the error blames others.
    ByEvidence,
    /// The process exited with 0; no checkpoint followed the last record.
    ByExit,
}

/// Part of a [`Stream`] that is stored only once it differs from its default.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StreamDetails {
    /// Records that a destination has confirmed.
    pub committed: CompactOption<u64>,
    /// Number of its checkpoints in this run, as counted by synctop.
    pub checkpoints: u64,
    /// Time of its last checkpoint; `None` without a checkpoint or without times.
    pub last_checkpoint_at: CompactOption<Millis>,
    /// Latest error, reason or other text beside its status, secrets masked; `None` without one.
    pub message: Option<Arc<str>>,
    /// Time range to read, and the parts of it that are read.
    pub covered: Rare<CoveredRanges>,
    /// Latest gaps between its checkpoints and records.
    pub gaps: Gaps,
    pub(crate) checkpoint: Rare<KeptPosition>,
    /// Count in the first report after its last checkpoint. Rows counted later may not be written.
    pub(crate) count_at_checkpoint: CompactOption<u64>,
    /// Facts that few streams have.
    pub(crate) rare: Rare<RareDetails>,
}

/// A stream's time range to read, and the parts of it that are read or left.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CoveredRanges {
    /// Total range; `None` if neither the engine nor a source state reports one.
    pub total: Option<Range>,
    /// Completed ranges, merged, including those of earlier attempts.
    pub completed: Ranges,
    /// Ranges completed in earlier attempts.
    pub(crate) completed_before: Ranges,
    pub(crate) remainder: Remainder,
}

/// Part of [`StreamDetails`] that few streams have: errors, retries, estimates, counts of
/// destinations, states of other attempts. Read as if it were a part of the details.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RareDetails {
    /// UTF-16 units of its record data, which Airbyte calls bytes; `None` in other protocols.
    pub measure: Option<u64>,
    /// Records in this attempt, as reported by the engine beside its lines.
    pub metered: Option<u64>,
    /// Estimated records (and units of data), as reported by the engine.
    pub estimate: Option<(Option<u64>, Option<u64>)>,
    /// Current rate limit.
    pub limited: Option<Limited>,
    /// Number of rate limits, and the milliseconds of those that have ended.
    pub limits: (u64, u64),
    /// Inserted records, as the destination reports them; `None` if not reported.
    pub inserted: Option<u64>,
    /// Updated records, as the destination reports them; `None` if not reported.
    pub updated: Option<u64>,
    /// Deleted records, as the destination reports them; `None` if not reported.
    pub deleted: Option<u64>,
    /// Error occurrences of the stream in all attempts.
    pub errors: u64,
    /// Attempt of its last final error that still stands.
    pub failed_in: Option<u32>,
    /// Group id of that error, for the screen.
    pub failed_group: Option<u64>,
    /// Retries of its requests; `None` if the source logged none in this run.
    pub retry: Option<Retrying>,
    /// Last unknown status word.
    pub odd_status: Option<Arc<str>>,
    /// Records seen at the last edge of its table.
    pub(crate) table_edge: Option<u64>,
    /// Record counts of a checkpoint that differ: the reported count, and the counted records.
    pub(crate) miscounted: Option<(u64, u64)>,
    /// Last logged text about an error of the stream.
    pub(crate) hint: Option<Arc<str>>,
    /// Message beside "completed".
    pub(crate) completed_message: Option<Arc<str>>,
    /// Number of ranges left at a complete end.
    pub(crate) left: usize,
    /// Deletions in the feed, which do not count as records.
    pub(crate) deletions: u64,
    /// Counted rows that may not be written, because the destination failed in this run.
    pub unwritten: Option<u64>,
    /// Set if the state of an end in this run was ahead of its last checkpoint.
    pub ahead: Option<Ahead>,
    /// State ahead in an earlier run of the log, until the first checkpoint of this run shows
    /// whether it continues from that end.
    pub(crate) ahead_before: Option<Ahead>,
    /// Totals at the start of this attempt.
    pub(crate) mark: StreamMark,
}

impl Deref for StreamDetails {
    type Target = RareDetails;

    fn deref(&self) -> &RareDetails {
        &self.rare
    }
}

impl DerefMut for StreamDetails {
    fn deref_mut(&mut self) -> &mut RareDetails {
        &mut self.rare
    }
}

impl SharedDefault for StreamDetails {
    fn shared() -> &'static Self {
        static DEFAULT: LazyLock<StreamDetails> = LazyLock::new(StreamDetails::default);
        &DEFAULT
    }
}

impl SharedDefault for CoveredRanges {
    fn shared() -> &'static Self {
        static DEFAULT: LazyLock<CoveredRanges> = LazyLock::new(CoveredRanges::default);
        &DEFAULT
    }
}

impl SharedDefault for RareDetails {
    fn shared() -> &'static Self {
        static DEFAULT: LazyLock<RareDetails> = LazyLock::new(RareDetails::default);
        &DEFAULT
    }
}

/// Lead of an end state over a stream's last checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ahead {
    /// Maximum rows that a client skips if it continues from that state; 0 if unknown.
    pub rows: u64,
    /// True if the client continued from the last checkpoint.
    pub kept: bool,
    /// Milliseconds of the range that had been read at the end.
    pub(crate) read: Option<Millis>,
}

/// Rate limit that holds a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limited {
    pub since: Option<Millis>,
    /// End of the rate limit, if reported.
    pub until: Option<Millis>,
    /// Number of consecutive reports.
    pub times: u64,
}

/// Retries of a source's requests, with the latest wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Retrying {
    /// HTTP status of the last refusal; `None` if the connection failed.
    pub status: Option<u16>,
    /// Retries so far, over all attempts.
    pub count: u64,
    /// Number of the latest retry of the request.
    pub attempt: u64,
    /// Maximum number of retries of the request, if reported.
    pub max: Option<u64>,
    /// Time of the latest retry message; 0 in a log without times.
    pub last_at: Millis,
    /// Time of the next retry.
    pub until: Millis,
    /// Error of the last refused request, secrets masked; `None` if not logged.
    pub error: Option<Arc<str>>,
}

impl Stream {
    /// Creates a stream without a namespace, which has not started.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let name: Arc<str> = name.into();
        Self { label: Arc::clone(&name), name, ..Self::default() }
    }

    /// Starts a new attempt. Completed, skipped and errored carry over; a started stream waits
    /// until it starts again. `finished`: the attempt before ended complete.
    pub(crate) fn begin_attempt(&mut self, at: Option<Millis>, finished: bool) {
        self.recounted = self.may_count_twice();
        let attempt = self.records.attempt.get().unwrap_or(0);
        self.counted_ahead = self.details.count_at_checkpoint.get().map_or(attempt > 0, |at| attempt > at);
        self.open_before = self.status == Status::Started;
        self.unfinished_before = self.open_before || self.status == Status::Errored || self.details.failed_in.is_some();
        self.completed_before =
            !finished && self.status == Status::Completed && self.records.cumulative.get() > Some(0);
        (self.left_out, self.total_reported) = (false, false);
        if self.open_before {
            self.status = Status::NotStarted;
        }
        self.records.begin_attempt();
        if let (Some(at), Some(count)) = (at, self.records.cumulative.get()) {
            self.rate.mark(at, count);
        }
        self.resumed_after_cut |= std::mem::take(&mut self.cut_open);
        self.checkpoint_here = false;
        self.checkpoint_uncounted = false;
        self.destination_failed = false;
        self.set_mark();
        self.counted = 0;
        self.started_at.set(None);
        self.settling = false;
        // Rows that an earlier attempt read after its last checkpoint are not part of this one.
        self.marked = self.seen;
        self.terminal = false;
        self.unexplained = false;
        self.in_feed = false;
        self.assumed = Assumed::No;
        self.moved = false;
        self.errored_here = false;
        self.reported = false;
        self.start_reported = false;
        self.complete_reported = false;
        self.overwritten = false;
        self.resumed = false;
        self.last_sign_at.set(None);
    }

    /// Stores the totals at the start of an attempt, and resets the details of the attempt before.
    fn set_mark(&mut self) {
        let (seen, bytes) = (self.seen, self.bytes);
        if seen > 0 {
            self.details.mark.seen = seen;
        }
        let retries = self.retries();
        let Some(details) = self.details.stored() else { return };
        if let Some(covered) = details.covered.stored() {
            covered.completed_before.clone_from(&covered.completed);
        }
        details.count_at_checkpoint.set(None);
        let checkpoints = details.checkpoints;
        if checkpoints == 0 && details.rare.stored().is_none() {
            return;
        }
        let details = &mut *details.rare;
        details.mark = StreamMark {
            checkpoints,
            errors: details.errors,
            deletions: details.deletions,
            seen,
            bytes,
            measure: details.measure,
            retries,
            limits: details.limits,
        };
        (details.miscounted, details.estimate) = (None, None);
        (details.hint, details.completed_message) = (None, None);
        (details.metered, details.limited) = (None, None);
        details.left = 0;
        if let Some(retry) = &mut details.retry {
            retry.until = Millis::MIN;
        }
    }

    /// Sets the status. Returns true if it changed.
    pub(crate) fn set_status(&mut self, status: Status, at: Option<Millis>) -> bool {
        if status == Status::Started {
            self.started_at.set(self.started_at.get().or(at));
            self.ever_started = true;
        }
        if self.status == status {
            return false;
        }
        self.moved |= status != Status::NotStarted;
        self.ever_started |= status != Status::NotStarted;
        self.errored_here |= status == Status::Errored;
        self.overwritten |= self.errored_here && status == Status::Completed;
        self.status = status;
        self.changed_at = at.into();
        true
    }

    /// Adds record lines to the totals of the feed.
    pub(crate) fn add_record_lines(&mut self, records: u64, bytes: u64, measure: Option<u64>) {
        self.seen += records;
        self.bytes += bytes;
        if let Some(units) = measure {
            self.details.measure = Some(self.details.measure.unwrap_or(0).saturating_add(units));
        }
    }

    /// Returns the counted records of this attempt: lines; for records in files, the engine's count
    /// if it is larger.
    pub(crate) fn count_here(&self) -> u64 {
        match self.details.metered {
            Some(told) if self.hidden || self.counted == 0 => told.max(self.counted),
            _ => self.counted,
        }
    }

    /// Marks the stream as started, even if it was deselected, unless a terminal status was
    /// reported.
    pub(crate) fn mark_started(&mut self, now: Option<Millis>) {
        if self.status == Status::NotStarted || (self.status == Status::Skipped && !self.terminal && !self.moved) {
            self.set_status(Status::Started, now);
        }
    }

    /// Returns the milliseconds held by rate limits up to now.
    #[must_use]
    pub fn limited_ms(&self, now: Option<Millis>) -> u64 {
        let open =
            self.details.limited.and_then(|limited| limited.since).zip(now).map_or(0, |(since, now)| now - since);
        self.details.limits.1 + u64::try_from(open).unwrap_or(0)
    }

    /// Applies a reported activity: the stream moves, or a rate limit holds it.
    pub(crate) fn apply_activity(&mut self, activity: Activity, now: Option<Millis>) {
        self.mark_started(now);
        let Activity::Limited(until) = activity else { return self.end_rate_limit(now) };
        let details = &mut *self.details;
        if let Some(limited) = &mut details.limited {
            limited.times += 1;
            limited.until = until.or(limited.until);
        } else {
            details.limited = Some(Limited { since: now, until, times: 1 });
            details.limits.0 += 1;
        }
    }

    /// Ends the current rate limit.
    pub(crate) fn end_rate_limit(&mut self, now: Option<Millis>) {
        if self.details.limited.is_none() {
            return;
        }
        let details = &mut **self.details;
        if let Some(limited) = details.limited.take()
            && let (Some(since), Some(now)) = (limited.since, now)
        {
            details.limits.1 += u64::try_from(now - since).unwrap_or(0);
        }
    }

    /// Records the error that explains a failure without a reason.
    pub(crate) fn explain(&mut self, attempt: u32, id: u64, message: Arc<str>) {
        (self.unexplained, self.reason_missing) = (false, false);
        let details = &mut *self.details;
        details.errors += u64::from(details.failed_in != Some(attempt));
        (details.failed_in, details.failed_group) = (Some(attempt), Some(id));
        details.message = Some(message);
    }

    /// True if a checkpoint followed its last record, or the edge of its table.
    pub(crate) fn is_through(&self) -> bool {
        let has_checkpoint = self.details.checkpoints > 0 && self.seen == self.marked;
        self.seen > 0 && (has_checkpoint || self.details.table_edge == Some(self.seen))
    }

    /// Returns the identity of the stream.
    #[must_use]
    pub fn identity(&self) -> crate::protocol::Name<'static> {
        let own = |text: &Arc<str>| text.to_string().into();
        crate::protocol::Name { namespace: self.namespace.as_ref().map(own), name: own(&self.name) }
    }

    /// Notes a checkpoint or a record, and its gap to the one before.
    pub(crate) fn sign_of_life(&mut self, at: Option<Millis>) {
        if let (Some(before), Some(at)) = (self.last_sign_at.get(), at)
            && at > before
        {
            self.details.gaps.add(at - before);
        }
        if let Some(at) = at {
            self.last_sign_at.set(at);
        }
    }

    /// True if rows may be counted twice, because it resumed from a position of an earlier attempt.
    #[must_use]
    pub fn may_count_twice(&self) -> bool {
        let both = self.records.before() > 0 && self.records.attempt.get().unwrap_or(0) > 0;
        let again = self.completed_before && self.start_reported;
        self.recounted || (both && (again || (self.resumed && self.counted_ahead)))
    }

    /// True if the feed shows a start in this attempt.
    pub(crate) fn started_here(&self) -> bool {
        self.start_reported || self.started_at.get().is_some() || self.moved || self.status == Status::Started
    }

    /// True if it took part in this attempt without an error, after errors in earlier ones.
    pub(crate) fn has_recovered(&self, attempt: u32) -> bool {
        self.details.errors > 0 && self.details.failed_in != Some(attempt) && self.took_part()
    }

    /// True if the stream has this status, and it is neither settling nor completed beside an
    /// error.
    #[must_use]
    pub fn has_final_status(&self, status: Status) -> bool {
        self.status == status && !self.settling && !(status == Status::Completed && self.details.failed_in.is_some())
    }

    /// True if it took part in this attempt.
    #[must_use]
    pub fn took_part(&self) -> bool {
        self.start_reported
            || self.moved
            || self.counted > 0
            || self.last_sign_at.get().is_some()
            || self.status == Status::Started
    }

    /// True if it started after this time, and for the first time.
    pub(crate) fn is_new_since(&self, time: Millis) -> bool {
        let before = self.open_before || self.unfinished_before || self.completed_before || self.records.before() > 0;
        !before && self.started_at.get().is_some_and(|at| at > time)
    }

    /// True if ranges were left at an end that claimed completion.
    #[must_use]
    pub fn has_ranges_left(&self) -> bool {
        self.details.left > 0 || self.left_out
    }

    /// True if rows or ranges of it may be missing.
    pub(crate) fn is_at_risk(&self) -> bool {
        self.details.ahead.is_some() || self.resumed_after_cut || self.has_ranges_left()
    }

    /// Returns the share that earlier attempts completed.
    #[must_use]
    pub fn coverage_before(&self) -> f64 {
        self.details
            .covered
            .total
            .and_then(|total| self.details.covered.completed_before.coverage(total))
            .unwrap_or(0.0)
    }

    /// Returns the retries of its requests in this run, as the source logged them.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.details.retry.as_ref().map_or(0, |retry| retry.count)
    }

    /// Returns the deletions: the engine's count, otherwise the deletions in the feed.
    #[must_use]
    pub fn deletions(&self) -> Option<u64> {
        self.details.deleted.or((self.details.deletions > 0).then_some(self.details.deletions))
    }

    /// Applies a claimed total range or completed range.
    pub(crate) fn range_claimed(&mut self, total: Option<Range>, completed: Option<Range>) {
        self.total_reported |= total.is_some();
        if total.is_some() {
            self.details.covered.total = total;
        }
        if let Some(range) = completed {
            self.details.covered.completed.add(range);
        }
    }

    /// Applies the ranges of a source's state.
    pub(crate) fn state_ranges(&mut self, state: &State, of: StateOrigin) {
        self.total_reported |= state.total.is_some();
        if state.total.is_some() {
            self.details.covered.total = state.total;
        }
        if state.completed.is_some() {
            self.details.covered.remainder = Remainder::Unreported;
        }
        match (of, &state.position) {
            (_, Position::Unknown) => {}
            (StateOrigin::Checkpoint, _) => self.details.covered.remainder = Remainder::AtCheckpoint,
            (StateOrigin::End, position) => {
                if let Some(left) = position.known().and_then(|position| position.remaining) {
                    self.details.covered.remainder = Remainder::FromEnd(left);
                }
            }
        }
        if let Some(completed) = &state.completed {
            self.details.covered.completed.assign(completed);
        }
    }

    /// Returns the milliseconds of the total range that the source's state lists as unread, if it
    /// lists any; the inner value is `None` with an open end.
    pub(crate) fn left_ms(&self) -> Option<Option<Millis>> {
        match self.details.covered.remainder {
            Remainder::Unreported => None,
            Remainder::AtCheckpoint => self.details.checkpoint.known()?.remaining,
            Remainder::FromEnd(left) => Some(left),
        }
    }

    /// Returns the read share of the total range, 0 to 1, to four places: by the ranges left in the
    /// source's state, otherwise by completed ranges. A stream whose state lists ranges reaches 1
    /// only if none is left and it completed.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn coverage(&self) -> Option<f64> {
        let range = self.details.covered.total?;
        let total = range.lt.zip(range.gte).map(|(lt, gte)| lt - gte).filter(|total| *total > 0);
        let listed = self.left_ms();
        let share = match listed.flatten().zip(total) {
            Some((left, total)) => (1.0 - left as f64 / total as f64).max(0.0),
            None => self.details.covered.completed.coverage(range)?,
        };
        let whole = listed.is_none_or(|left| left == Some(0) && self.status == Status::Completed);
        // `round` is a call of the C library.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
        let rounded = f64::from((share * 1e4 + 0.5) as u32) / 1e4;
        Some(if whole && share >= 1.0 { 1.0 } else { rounded.min(ALMOST) })
    }

    /// Applies a failure of the destination: rows counted since the last checkpoint may not be
    /// written.
    pub(crate) fn destination_failed(&mut self) {
        self.destination_failed = true;
        let counted = self.records.attempt.get().unwrap_or(0);
        let none_yet = (self.details.checkpoints == self.details.mark.checkpoints).then_some(0);
        let written = self.details.count_at_checkpoint.get().or(none_yet);
        self.details.unwritten = written.map(|written| counted.saturating_sub(written)).or(self.details.unwritten);
    }

    /// Applies a reported count. The first one after a checkpoint is the checkpoint's count.
    pub(crate) fn count_reported(&mut self) {
        if std::mem::take(&mut self.checkpoint_uncounted) {
            self.details.count_at_checkpoint.set(self.records.attempt);
        }
        if self.destination_failed {
            self.destination_failed();
        }
    }
}
