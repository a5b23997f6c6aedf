//! Doubts: contradictions between an engine's claims and the evidence. They belong to the run and
//! are shown beside its outcome.

use crate::protocol::{EndReason, Status};
use crate::reduce::digest::{Digest, StreamState};
use crate::reduce::outcome::outcome;
use crate::reduce::state::input::{Anomaly, Exit};
use crate::reduce::state::outcome::Outcome;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::{Assumed, Stream};
use std::collections::HashMap;
use std::sync::Arc;

/// Kinds of doubts, as the JSON names them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, strum::Display, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DoubtKind {
    /// The state of an end message differs from the last checkpoint of the same call.
    StateAhead,
    /// A limit cut a stream, and the run resumed without evidence that no row is missing.
    ResumedAfterCut,
    /// A later "complete" replaced the error of a stream in the same attempt.
    ErrorOverwritten,
    /// The engine claims completion, and ranges of a stream are left to read.
    RangesLeft,
    /// Reported, emitted or confirmed records differ from the counted ones.
    RecordCountMismatch,
    /// The run ended with no stream synced, or without any mention of a requested one.
    NothingSynced,
    /// The process exited with 0, without an end message, while a stream was open.
    ExitZeroOpenStream,
    /// The end message has an unknown reason, or neither a reason nor `has_more`.
    UnknownEnd,
    /// A completed run logged errors that no reported error explains.
    ErrorsLogged,
    /// Warnings report rows that were left out.
    RowsLeftOut,
    /// The feed has malformed lines, apart from a torn last one, and is not truncated otherwise.
    LinesLost,
    /// A resumed stream may count rows twice that it read again.
    RecountAfterResume,
    /// Streams beyond the maximum number were only counted.
    StreamsBeyond,
    /// Counts or times cannot be right: a count fell or was negative, a time is far from the others.
    OddFigures,
}

impl DoubtKind {
    /// Returns the name in the JSON, such as `state_ahead`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// True if rows may be missing at the destination.
    #[must_use]
    pub fn loses_rows(self) -> bool {
        matches!(self, Self::StateAhead | Self::ResumedAfterCut)
    }
}

/// Contradiction between a claim and the evidence. `report` renders it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The state of an end is ahead of the last checkpoint. `kept`: the run continued from the
    /// checkpoint. `rows`: rows between them, 0 if unknown.
    StateAhead {
        /// True if the client continued from the last checkpoint, so that the rows are read again.
        kept: bool,
        /// Maximum rows between checkpoint and end, summed over the streams; 0 if unknown.
        rows: u64,
    },
    /// A limit cut the stream, and the run continued without evidence that its last page was
    /// written.
    ResumedAfterCut,
    /// An error ended the stream, and a later "complete" replaced it.
    ErrorOverwritten,
    /// The engine claims to be complete, and the source's state lists this number of ranges.
    RangesLeft(usize),
    /// The engine claims to be complete, and ranges of an earlier attempt were not read since.
    RangesUnread,
    /// The engine reports another number of records than its feed has.
    ReportedCount {
        /// Records of the last attempt, as the engine reports them.
        reported: u64,
        /// Number of `record` lines in the last attempt.
        counted: u64,
    },
    /// A checkpoint reports another number of records since the one before. `all`: of all streams.
    CheckpointCount {
        /// Records since the previous checkpoint, as the source reports them.
        reported: u64,
        /// Number of `record` lines since the previous checkpoint.
        counted: u64,
        /// True for a checkpoint of all streams, false for one of a single stream.
        all: bool,
    },
    /// The metrics report another number of records than the feed has.
    MetricsCount {
        /// Records of the last attempt, summed from the metrics of the source.
        metered: u64,
        /// Number of `record` lines in the last attempt.
        counted: u64,
    },
    /// The destination confirmed fewer records than the source emitted.
    CommittedCount {
        /// Number of `record` lines in the run, those after the last checkpoint included.
        emitted: u64,
        /// Records that the destination confirmed; 0 if it confirmed none.
        committed: u64,
    },
    /// A requested stream was never mentioned.
    NeverMentioned,
    /// The run ended, and no stream was synced.
    NothingSynced,
    /// The process exited with 0 while the stream was open.
    ExitZeroOpenStream,
    /// The end message has an unknown reason.
    UnknownEnd(Option<Arc<str>>),
    /// Logged errors that no reported error explains: their number, and the text of the first.
    ErrorsLogged(u64, Arc<str>),
    /// Warnings that rows were left out: their number, and the text of the first one.
    RowsLeftOut(u64, Arc<str>),
    /// Number of lines of the feed that cannot be read.
    LinesLost(u64),
    /// A resumed stream may count rows twice.
    RecountAfterResume,
    /// Figures of this kind cannot be right; the number of them.
    OddFigures(Anomaly, u64),
    /// Streams beyond the maximum number were only counted.
    StreamsBeyond {
        /// Times that messages named such a stream.
        mentions: u64,
        /// Maximum number of streams.
        max: usize,
    },
}

impl Finding {
    /// Returns the kind of doubt that the JSON names.
    #[must_use]
    pub fn kind(&self) -> DoubtKind {
        match self {
            Self::StateAhead { .. } => DoubtKind::StateAhead,
            Self::ResumedAfterCut => DoubtKind::ResumedAfterCut,
            Self::ErrorOverwritten => DoubtKind::ErrorOverwritten,
            Self::RangesLeft(_) | Self::RangesUnread => DoubtKind::RangesLeft,
            Self::ReportedCount { .. }
            | Self::CheckpointCount { .. }
            | Self::MetricsCount { .. }
            | Self::CommittedCount { .. } => DoubtKind::RecordCountMismatch,
            Self::NeverMentioned | Self::NothingSynced => DoubtKind::NothingSynced,
            Self::ExitZeroOpenStream => DoubtKind::ExitZeroOpenStream,
            Self::UnknownEnd(_) => DoubtKind::UnknownEnd,
            Self::ErrorsLogged(..) => DoubtKind::ErrorsLogged,
            Self::RowsLeftOut(..) => DoubtKind::RowsLeftOut,
            Self::LinesLost(_) => DoubtKind::LinesLost,
            Self::RecountAfterResume => DoubtKind::RecountAfterResume,
            Self::OddFigures(..) => DoubtKind::OddFigures,
            Self::StreamsBeyond { .. } => DoubtKind::StreamsBeyond,
        }
    }
}

/// One doubt with all affected streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Kind of `finding`, as the JSON names it.
    pub kind: DoubtKind,
    /// The first of `streams`.
    pub stream: Option<Arc<str>>,
    /// Labels of all affected streams; empty for a doubt about the whole run.
    pub streams: Vec<Arc<str>>,
    /// The contradiction, with its figures.
    pub finding: Finding,
}

impl Doubt {
    /// Returns the affected streams, the first few by name: `customers, charges and 4 more`.
    #[must_use]
    pub fn names(&self) -> String {
        crate::format::names(&self.streams)
    }
}

/// Collects doubts and merges those with the same finding.
#[derive(Default)]
struct Doubts {
    all: Vec<Doubt>,
    /// Indexes into `all`.
    index: HashMap<Finding, usize>,
}

impl Doubts {
    fn add(&mut self, stream: Option<&Arc<str>>, finding: Finding) {
        if let Some(doubt) = self.index.get(&finding).and_then(|at| self.all.get_mut(*at)) {
            doubt.streams.extend(stream.cloned());
            return;
        }
        self.index.insert(finding.clone(), self.all.len());
        let streams: Vec<_> = stream.cloned().into_iter().collect();
        self.all.push(Doubt { kind: finding.kind(), stream: streams.first().cloned(), streams, finding });
    }
}

/// Returns all doubts about the last run, those that lose rows first.
#[must_use]
pub fn doubts(progress: &Progress) -> Vec<Doubt> {
    // One pass finds that most runs have none of these.
    let is_any_at_risk = progress.streams.iter().any(|stream| stream.is_at_risk());
    doubts_of(progress, is_any_at_risk, progress.streams_by_name())
}

/// Returns the same doubts by the digest of the state: only streams that may have one are examined.
pub(crate) fn doubts_among(progress: &Progress, digest: &Digest) -> Vec<Doubt> {
    let ended = progress.attempt.end.is_some() || progress.closed;
    let may_have = move |state: &StreamState| state.may_have_doubt || (ended && state.may_have_doubt_at_end);
    let mut streams: Vec<_> = digest.with(may_have).filter_map(|at| progress.streams.get(at)).collect();
    streams.sort_by_key(|stream| (&stream.name, &stream.namespace));
    let is_any_at_risk = digest.with(|state| state.is_at_risk).next().is_some();
    doubts_of(progress, is_any_at_risk, streams.into_iter())
}

/// Returns the doubts about the last run, and about these streams, which are in the order of their
/// names. `at_risk`: rows or ranges of a stream may be missing.
fn doubts_of<'p>(progress: &'p Progress, at_risk: bool, streams: impl Iterator<Item = &'p Arc<Stream>>) -> Vec<Doubt> {
    let mut all = Doubts::default();
    if at_risk {
        missing_rows(progress, &mut all);
        ranges_left(progress, &mut all);
    }
    for stream in streams {
        add_stream_doubts(progress, stream, &mut all);
    }
    add_run_doubts(progress, &mut all);
    all.all.sort_by_key(|doubt| doubt.kind);
    all.all
}

/// True if rows may be missing at the destination, unless the client continued from the last
/// checkpoint.
#[must_use]
pub fn rows_may_be_missing(progress: &Progress) -> bool {
    progress
        .streams
        .iter()
        .any(|stream| stream.resumed_after_cut || stream.details.ahead.is_some_and(|ahead| !ahead.kept))
}

fn ranges_left(progress: &Progress, all: &mut Doubts) {
    let ranges: usize = progress.streams.iter().map(|stream| stream.details.left).sum();
    for stream in progress.streams_by_name().filter(|stream| stream.details.left > 0) {
        all.add(Some(&stream.label), Finding::RangesLeft(ranges));
    }
    for stream in progress.streams_by_name().filter(|stream| stream.left_out) {
        all.add(Some(&stream.label), Finding::RangesUnread);
    }
}

fn missing_rows(progress: &Progress, all: &mut Doubts) {
    for kept in [false, true] {
        let ahead = |stream: &&Arc<Stream>| stream.details.ahead.is_some_and(|ahead| ahead.kept == kept);
        let streams: Vec<_> = progress.streams_by_name().filter(ahead).collect();
        let rows: u64 = streams.iter().filter_map(|stream| stream.details.ahead).map(|ahead| ahead.rows).sum();
        for stream in streams {
            all.add(Some(&stream.label), Finding::StateAhead { kept, rows });
        }
    }
    for stream in progress.streams_by_name().filter(|stream| stream.resumed_after_cut) {
        all.add(Some(&stream.label), Finding::ResumedAfterCut);
    }
}

fn add_stream_doubts(progress: &Progress, stream: &Stream, all: &mut Doubts) {
    let end = progress.attempt.end.as_ref();
    let ended = end.is_some() || progress.closed;
    let mut doubt = |finding| all.add(Some(&stream.label), finding);
    if stream.overwritten {
        doubt(Finding::ErrorOverwritten);
    }
    let reported = stream.records.attempt.get().filter(|reported| *reported != stream.counted);
    if let Some(reported) = reported.filter(|_| ended && stream.reported && stream.counted > 0) {
        doubt(Finding::ReportedCount { reported, counted: stream.counted });
    }
    if let Some((reported, counted)) = stream.details.miscounted {
        doubt(Finding::CheckpointCount { reported, counted, all: false });
    }
    let metered = stream.details.metered.filter(|metered| *metered != stream.counted);
    if let Some(metered) = metered.filter(|_| ended && stream.counted > 0 && !stream.hidden) {
        doubt(Finding::MetricsCount { metered, counted: stream.counted });
    }
    if ended && !progress.is_delivered(stream) {
        doubt(Finding::CommittedCount { emitted: stream.seen, committed: stream.details.committed.get().unwrap_or(0) });
    }
    if progress.closed && end.is_none() && stream.asked && stream.status == Status::NotStarted {
        doubt(Finding::NeverMentioned);
    }
    if stream.may_count_twice() {
        doubt(Finding::RecountAfterResume);
    }
}

/// True if a run ended, and no stream was synced in it.
pub(crate) fn nothing_synced(progress: &Progress, outcome: Outcome) -> bool {
    let Some(end) = &progress.attempt.end else {
        return outcome == Outcome::Succeeded && exited_without_sync(progress);
    };
    let took_part = |stream: &Arc<Stream>| {
        stream.took_part() || stream.complete_reported || !matches!(stream.status, Status::NotStarted)
    };
    let nothing_started =
        end.word == EndReason::StillStarted && end.has_more != Some(true) && progress.streams.is_empty();
    (end.claims_complete() || nothing_started) && !end.up_to_date && !progress.streams.iter().any(took_part)
}

/// True if a process without an end message exited with 0, and no stream and no position came: no
/// stream was selected. The answer to another command is no sync.
fn exited_without_sync(progress: &Progress) -> bool {
    progress.exit == Some(Exit::Code(0))
        && progress.attempt.end.is_none()
        && progress.attempt.connection.is_none()
        && !progress.requested.answered
        && progress.streams.is_empty()
        && !progress.counters.has_position
}

fn add_run_doubts(progress: &Progress, all: &mut Doubts) {
    let end = progress.attempt.end.as_ref();
    let outcome = outcome(progress);
    let stopped = progress.was_stopped();
    if progress.exit == Some(Exit::Code(0)) && end.is_none() {
        let open = |stream: &&Arc<Stream>| {
            stream.status == Status::Started
                || stream.assumed == Assumed::ByExit
                || (stream.status == Status::Errored && stopped)
        };
        for stream in progress.streams_by_name().filter(open) {
            all.add(Some(&stream.label), Finding::ExitZeroOpenStream);
        }
    }
    if let Some((reported, counted)) = progress.commits.miscounted {
        all.add(None, Finding::CheckpointCount { reported, counted, all: true });
    }
    let done = matches!(outcome, Outcome::Succeeded | Outcome::CompletedWithErrors);
    if done && let Some((times, first)) = progress.unexplained_errors() {
        all.add(None, Finding::ErrorsLogged(times, first.into()));
    }
    if done && let Some(left) = progress.rows_left_out() {
        let finding = || Finding::RowsLeftOut(left.count, left.first.clone());
        for stream in &left.streams {
            all.add(Some(stream), finding());
        }
        if left.streams.is_empty() {
            all.add(None, finding());
        }
    }
    let torn = u64::from(progress.input.truncated_line);
    let lost = progress.input.malformed.saturating_sub(torn);
    if lost > 0 && progress.input.messages > 0 && !matches!(outcome, Outcome::Running | Outcome::Truncated) {
        all.add(None, Finding::LinesLost(lost));
    }
    if nothing_synced(progress, outcome) {
        all.add(None, Finding::NothingSynced);
    }
    for kind in [Anomaly::CountShrank, Anomaly::NegativeCount, Anomaly::TimeJump] {
        let found = || progress.anomalies.iter().filter(|((it, _), _)| *it == kind);
        let times = found().map(|(_, times)| times).sum();
        for ((_, stream), _) in found() {
            all.add(stream.as_ref(), Finding::OddFigures(kind, times));
        }
    }
    let mentions = progress.counters.beyond.mentions;
    if mentions > 0 {
        all.add(None, Finding::StreamsBeyond { mentions, max: progress.max_streams() });
    }
    let Some(end) = end else { return };
    if end.word == EndReason::Unknown || (end.word == EndReason::Unsaid && end.has_more.is_none()) {
        all.add(None, Finding::UnknownEnd(end.reason.clone()));
    }
    if end.claims_complete() && !nothing_synced(progress, outcome) {
        for name in progress.requested.asked.iter().filter(|name| progress.stream(name).is_none()) {
            all.add(Some(name), Finding::NeverMentioned);
        }
    }
}
