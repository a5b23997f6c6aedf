//! Doubts: contradictions between an engine's claims and the evidence. They belong to the run and
//! are shown beside its outcome.

use crate::format::{count, plural};
use crate::protocol::{EndWord, Status};
use crate::reduce::outcome::outcome;
use crate::reduce::state::input::Exit;
use crate::reduce::state::outcome::Outcome;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Stream;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kinds of doubts, as the JSON names them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, strum::Display, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DoubtKind {
    StateAhead,
    ResumedAfterCut,
    ErrorOverwritten,
    RangesLeft,
    RecordCountMismatch,
    NothingSynced,
    ExitZeroOpenStream,
    UnknownEnd,
    ErrorsLogged,
    LinesLost,
    RecountAfterResume,
}

impl DoubtKind {
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

/// One doubt with all affected streams.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Doubt {
    pub kind: DoubtKind,
    /// The first of `streams`.
    pub stream: Option<Arc<str>>,
    pub streams: Vec<Arc<str>>,
    pub message: String,
}

impl Doubt {
    /// Returns the affected streams, the first few by name: `customers, charges and 4 more`.
    #[must_use]
    pub fn names(&self) -> String {
        crate::format::names(&self.streams)
    }
}

/// Writes the affected streams and the message.
impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.streams.as_slice() {
            [] => f.write_str(&self.message),
            _ => write!(f, "{}: {}", self.names(), self.message),
        }
    }
}

/// Collects doubts and merges those of the same kind and text.
#[derive(Default)]
struct Doubts {
    all: Vec<Doubt>,
    /// Indexes into `all`, by kind and text.
    index: BTreeMap<(DoubtKind, String), usize>,
}

impl Doubts {
    fn add(&mut self, kind: DoubtKind, stream: Option<&Arc<str>>, message: impl Into<String>) {
        let key = (kind, message.into());
        if let Some(doubt) = self.index.get(&key).and_then(|at| self.all.get_mut(*at)) {
            doubt.streams.extend(stream.cloned());
            return;
        }
        let streams: Vec<_> = stream.cloned().into_iter().collect();
        self.all.push(Doubt { kind, stream: streams.first().cloned(), streams, message: key.1.clone() });
        self.index.insert(key, self.all.len() - 1);
    }
}

/// Returns all doubts about the last run, those that lose rows first.
#[must_use]
pub fn doubts(progress: &Progress) -> Vec<Doubt> {
    let mut all = Doubts::default();
    missing_rows(progress, &mut all);
    ranges_left(progress, &mut all);
    for stream in progress.streams_by_name() {
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
    progress.streams.iter().any(|stream| stream.resumed_after_cut || stream.ahead.is_some_and(|ahead| !ahead.kept))
}

fn ranges_left(progress: &Progress, all: &mut Doubts) {
    let ranges: usize = progress.streams.iter().map(|stream| stream.left).sum();
    for stream in progress.streams_by_name().filter(|stream| stream.left > 0) {
        let message = format!("the engine says complete, the source's state has {ranges} ranges left to read");
        all.add(DoubtKind::RangesLeft, Some(&stream.label), message);
    }
    for stream in progress.streams_by_name().filter(|stream| stream.left_out) {
        let message = "the engine says complete, and ranges that an earlier attempt left unread were not read since";
        all.add(DoubtKind::RangesLeft, Some(&stream.label), message);
    }
}

fn missing_rows(progress: &Progress, all: &mut Doubts) {
    for kept in [false, true] {
        let ahead = |stream: &&Arc<Stream>| stream.ahead.is_some_and(|ahead| ahead.kept == kept);
        let streams: Vec<_> = progress.streams_by_name().filter(ahead).collect();
        let rows: u64 = streams.iter().filter_map(|stream| stream.ahead).map(|ahead| ahead.rows).sum();
        let rows = match rows {
            0 => String::new(),
            rows => format!(" (up to about {})", count(rows)),
        };
        let message = if kept {
            format!(
                "the state of an end was ahead of the last checkpoint; the run went on from the checkpoint, so the rows \
                 between them{rows} are read again"
            )
        } else {
            format!(
                "the state of an end is ahead of the last checkpoint: a client that goes on from it skips the rows \
                 between them{rows}, which were not written"
            )
        };
        for stream in streams {
            all.add(DoubtKind::StateAhead, Some(&stream.label), message.as_str());
        }
    }
    for stream in progress.streams_by_name().filter(|stream| stream.resumed_after_cut) {
        all.add(
            DoubtKind::ResumedAfterCut,
            Some(&stream.label),
            "a limit cut it and the run went on; this engine's end state cannot show what was left: rows may be missing, \
             and no count can tell",
        );
    }
}

fn add_stream_doubts(progress: &Progress, stream: &Stream, all: &mut Doubts) {
    let end = progress.attempt.end.as_ref();
    let ended = end.is_some() || progress.closed;
    let mut doubt = |kind, message: String| all.add(kind, Some(&stream.label), message);
    if stream.overwritten {
        doubt(DoubtKind::ErrorOverwritten, "an error ended it, then the engine said \"complete\" over it".into());
    }
    let mut mismatch = |message| doubt(DoubtKind::RecordCountMismatch, message);
    if ended && stream.reported && stream.counted > 0 && stream.records.attempt.is_some_and(|n| n != stream.counted) {
        let reported = stream.records.attempt.unwrap_or(0);
        mismatch(format!("{} reported, {} counted", count(reported), count(stream.counted)));
    }
    if let Some((reported, counted)) = stream.miscounted {
        let (reported, counted) = (count(reported), count(counted));
        mismatch(format!("a checkpoint says {reported} records since the one before, {counted} came"));
    }
    if ended && stream.counted > 0 && !stream.hidden && stream.metered.is_some_and(|metered| metered != stream.counted)
    {
        let metered = count(stream.metered.unwrap_or(0));
        mismatch(format!("{metered} by its metrics, {} counted", count(stream.counted)));
    }
    if ended && !progress.is_delivered(stream) {
        let committed = count(stream.committed.unwrap_or(0));
        mismatch(format!("{} emitted, {committed} confirmed by the destination", count(stream.seen)));
    }
    if progress.closed && end.is_none() && stream.asked && stream.status == Status::NotStarted {
        doubt(DoubtKind::NothingSynced, "it was asked for, and the engine never mentioned it".into());
    }
    if stream.may_count_twice() {
        doubt(DoubtKind::RecountAfterResume, "resumed from a checkpoint: rows read twice may be counted twice".into());
    }
}

fn add_run_doubts(progress: &Progress, all: &mut Doubts) {
    let end = progress.attempt.end.as_ref();
    let outcome = outcome(progress);
    let stopped = progress.was_stopped();
    if progress.exit == Some(Exit::Code(0)) && end.is_none() {
        let open =
            |stream: &&Arc<Stream>| stream.status == Status::Started || (stream.status == Status::Errored && stopped);
        let streams: Vec<_> = progress.streams_by_name().filter(open).collect();
        for stream in streams {
            let message = "the engine exited with 0 while it was still open";
            all.add(DoubtKind::ExitZeroOpenStream, Some(&stream.label), message);
        }
    }
    let mut whole = |kind, message: String| all.add(kind, None, message);
    if let Some((reported, counted)) = progress.commits.miscounted {
        let (reported, counted) = (count(reported), count(counted));
        let text = format!("a checkpoint of all streams says {reported} records since the one before, {counted} came");
        whole(DoubtKind::RecordCountMismatch, text);
    }
    let done = matches!(outcome, Outcome::Succeeded | Outcome::CompletedWithErrors);
    if done && let Some((times, first)) = progress.unexplained_errors() {
        let lines = plural(usize::try_from(times).unwrap_or(usize::MAX), "logged error");
        let first = crate::format::short(first, 160);
        whole(DoubtKind::ErrorsLogged, format!("{lines} that no reported error explains; the first: {first}"));
    }
    let torn = u64::from(progress.input.truncated_line);
    let lost = progress.input.malformed.saturating_sub(torn);
    if lost > 0 && progress.input.messages > 0 && !matches!(outcome, Outcome::Running | Outcome::Truncated) {
        let lines = plural(usize::try_from(lost).unwrap_or(usize::MAX), "line");
        whole(DoubtKind::LinesLost, format!("{lines} of the feed cannot be read: what they said is not counted"));
    }
    let Some(end) = end else { return };
    if end.word == EndWord::Unknown || (end.word == EndWord::Unsaid && end.has_more.is_none()) {
        let reason = end.reason.as_deref().unwrap_or("nothing");
        whole(DoubtKind::UnknownEnd, format!("the engine ended with an unknown reason: {reason}"));
    }
    let took_part = |stream: &Arc<Stream>| {
        stream.took_part() || stream.complete_reported || !matches!(stream.status, Status::NotStarted)
    };
    let synced = progress.streams.iter().any(took_part) || end.up_to_date;
    let nothing_started =
        end.word == EndWord::StillStarted && end.has_more != Some(true) && progress.streams.is_empty();
    if !synced && (end.claims_complete() || nothing_started) {
        let message = "the engine came to an end and no stream was synced: is a name it was asked for unknown?";
        whole(DoubtKind::NothingSynced, message.into());
    } else if end.claims_complete() {
        for name in progress.requested.asked.iter().filter(|name| progress.stream(name).is_none()) {
            all.add(DoubtKind::NothingSynced, Some(name), "it was asked for, and the engine never mentioned it");
        }
    }
}
