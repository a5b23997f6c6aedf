//! Rewind index of a log: sparse snapshots, and marks of errors, transitions and attempts.
//!
//! Its memory is bounded for any log: snapshots are thinned out beyond a number and a size, marks
//! are counted in a fixed number of bins that grow wider, and only the longest gaps are stored. The
//! index narrows the search; the exact position is found by reducing the log from the nearest
//! snapshot.

use crate::protocol::Millis;
use crate::reduce::past::pack::{EncodedSnapshot, SnapshotBase};
use crate::reduce::past::series::Series;
use crate::reduce::state::input::Exit;
use crate::reduce::state::lookup::StreamLookup;
use crate::reduce::state::progress::Progress;
use strum::VariantArray as _;

/// Initial distance between two snapshots, in bytes of the log.
const INITIAL_SPACING: u64 = 2 << 20;

/// Maximum number of snapshots.
const MAX_SNAPSHOTS: usize = 1_536;

/// Maximum size of all snapshots, in bytes.
const MAX_SNAPSHOT_BYTES: usize = 14 << 20;

/// Number of bins; twice as many are merged in pairs.
const TARGET_BINS: usize = 4_096;

/// Minimum length of a gap, in milliseconds.
pub const GAP_MS: Millis = 30_000;

/// Maximum number of gaps; the longest ones are stored.
const MAX_GAPS: usize = 1_000;

/// Kind of event in a log that a seek can jump to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Mark {
    /// Occurrence of an error, repetitions included.
    Error,
    /// Status change of a stream.
    Transition,
    /// Start of an attempt.
    Attempt,
    /// Checkpoint of any stream.
    Checkpoint,
    /// Start of a run.
    Run,
    /// Retry of a request, rate limits included.
    Retry,
}

/// Number of kinds of marks.
const KINDS: usize = 6;

impl Mark {
    /// Returns the number of such events so far.
    #[must_use]
    pub fn count(self, progress: &Progress) -> u64 {
        match self {
            Self::Error => progress.runs.errors + progress.errors.total,
            Self::Transition => progress.counters.transitions,
            Self::Attempt => progress.runs.attempts + u64::from(progress.attempts),
            Self::Checkpoint => progress.runs.checkpoints + progress.counters.checkpoints,
            Self::Run => progress.runs.total + u64::from(progress.attempts > 0),
            Self::Retry => progress.runs.retries + progress.counters.retries,
        }
    }

    /// Returns the name in snake case, such as `transition`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Position in a log: after this many bytes and lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// Number of bytes before the position, newlines included.
    pub bytes: u64,
    /// Number of lines before the position.
    pub lines: u64,
    /// Time of the log at the position.
    pub at: Option<Millis>,
}

impl LogPosition {
    /// Returns the position up to which `progress` is reduced.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        Self { bytes: progress.input.bytes, lines: progress.input.lines, at: progress.last_at }
    }
}

/// Section of the log with the number of its marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bin {
    /// Start of the section; the next section starts at its end.
    pub begin: LogPosition,
    /// Numbers of marks, in the order of [`Mark::VARIANTS`].
    pub marks: [u32; KINDS],
    /// Time of the first mark of each kind.
    pub first: [Option<Millis>; KINDS],
}

/// Snapshot with its position.
#[derive(Debug, Clone)]
pub struct Keyframe {
    /// Position up to which the snapshot is reduced.
    pub at: LogPosition,
    /// Number of side events (stderr lines, file changes, notices) that the snapshot includes.
    pub sides: usize,
    packed: EncodedSnapshot,
}

impl Keyframe {
    /// Decodes the snapshot. `latest` is the lookup of a later progress of the same log.
    #[must_use]
    pub fn open(&self, latest: &StreamLookup) -> Option<Progress> {
        self.packed.unpack(latest)
    }
}

/// Period without messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Time of the last message before the gap.
    pub from: Millis,
    /// Time of the first message after the gap.
    pub to: Millis,
}

/// Rewind index that grows while a log is reduced.
#[derive(Debug, Clone, Default)]
pub struct History {
    keys: Vec<Keyframe>,
    spacing: u64,
    /// Expected size of the log in bytes; 0: unknown.
    expected: u64,
    /// Size of the snapshots in bytes.
    size: usize,
    /// Newest snapshot, and its lookup, which contains every stream.
    newest: Option<(SnapshotBase, StreamLookup)>,
    bins: Vec<Bin>,
    bin_width: u64,
    gaps: Vec<Gap>,
    /// Gaps that were dropped.
    pub gaps_beyond: u64,
    /// End of the reduced input.
    end: LogPosition,
    first_at: Option<Millis>,
    counts: [u64; KINDS],
    /// Records over the time of the log.
    pub series: Series,
    /// True once the index covers the whole log.
    pub complete: bool,
    /// Exit of the engine's process, if known.
    pub exit: Option<Exit>,
}

impl History {
    /// Creates an empty index with an initial distance of 2 MiB between snapshots.
    #[must_use]
    pub fn new() -> Self {
        Self::with_spacing(INITIAL_SPACING)
    }

    /// Creates an index with an initial distance of `spacing` bytes between snapshots.
    #[must_use]
    pub fn with_spacing(spacing: u64) -> Self {
        Self { spacing, bin_width: 1, ..Self::default() }
    }

    /// Announces the approximate size of the log in bytes. Snapshots are taken so rarely that the
    /// whole log fits into the bound.
    pub fn expect(&mut self, bytes: u64) {
        self.expected = bytes;
        self.spacing = self.spacing.max(bytes / (MAX_SNAPSHOTS as u64 * 2 / 3));
    }

    /// Widens the spacing so that an expected log fits, given the mean size of the snapshots so
    /// far.
    fn widen_spacing(&mut self) {
        let mean = (self.size / self.keys.len().max(1)) as u64;
        let room = (MAX_SNAPSHOT_BYTES as u64 - MAX_SNAPSHOT_BYTES as u64 / 8) / mean.max(1);
        self.spacing = self.spacing.max(self.expected / room.max(1));
    }

    /// Updates the index after a line, or (`run`) after consecutive records without a silence
    /// between them.
    pub fn note(&mut self, progress: &Progress, run: bool) {
        let begin = std::mem::replace(&mut self.end, LogPosition::of(progress));
        if self.first_at.is_none() {
            self.first_at = progress.first_at;
        }
        if self.bins.last().is_none_or(|bin| begin.bytes - bin.begin.bytes >= self.bin_width) {
            // A log may start with lines without a time: then its first time counts.
            let at = begin.at.or(progress.first_at);
            self.bins.push(Bin { begin: LogPosition { at, ..begin }, ..Bin::default() });
            if self.bins.len() >= 2 * TARGET_BINS {
                self.widen();
            }
        }
        if let (Some(from), Some(to)) = (begin.at, self.end.at)
            && !run
            && to - from >= GAP_MS
        {
            self.gap(Gap { from, to });
        }
        self.series.note(progress);
        let Some(bin) = self.bins.last_mut() else { return };
        for ((kind, before), (count, first)) in
            Mark::VARIANTS.iter().copied().zip(&mut self.counts).zip(bin.marks.iter_mut().zip(&mut bin.first))
        {
            let now = kind.count(progress);
            if now != *before {
                *count = count.saturating_add(u32::try_from(now.saturating_sub(*before)).unwrap_or(u32::MAX));
                *first = first.or(progress.last_at);
                *before = now;
            }
        }
    }

    fn widen(&mut self) {
        self.bin_width *= 2;
        let mut merged: Vec<Bin> = Vec::with_capacity(self.bins.len());
        for bin in self.bins.drain(..) {
            match merged.last_mut() {
                Some(last) if bin.begin.bytes - last.begin.bytes < self.bin_width => {
                    for (sum, count) in last.marks.iter_mut().zip(bin.marks) {
                        *sum = sum.saturating_add(count);
                    }
                    for (first, other) in last.first.iter_mut().zip(bin.first) {
                        *first = first.or(other);
                    }
                }
                _ => merged.push(bin),
            }
        }
        self.bins = merged;
        if self.bins.len() >= TARGET_BINS + TARGET_BINS / 2 {
            // With lines longer than a bin, doubling the width does not halve the number of bins.
            self.widen();
        }
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
        if self.gaps.len() >= 2 * MAX_GAPS {
            self.gaps.sort_unstable_by_key(|gap| gap.from - gap.to);
            self.gaps_beyond += (self.gaps.len() - MAX_GAPS) as u64;
            self.gaps.truncate(MAX_GAPS);
            self.gaps.sort_unstable_by_key(|gap| gap.from);
        }
    }

    /// True if a snapshot is due at this position between two lines.
    #[must_use]
    pub fn due(&self, progress: &Progress) -> bool {
        let since = self.keys.last().map_or(0, |key| key.at.bytes);
        progress.input.bytes.saturating_sub(since) >= self.spacing
    }

    /// Returns the base of the next snapshot: the newest one and its encoding. Encoding is slow and
    /// happens elsewhere.
    #[must_use]
    pub fn base(&self) -> Option<SnapshotBase> {
        self.newest.as_ref().map(|(base, _)| base.clone())
    }

    /// Adds a snapshot that includes this number of side events.
    pub fn keep(&mut self, progress: &Progress, packed: EncodedSnapshot, sides: usize) {
        self.size += packed.size(self.keys.last().map(|key| &key.packed));
        self.newest = Some((SnapshotBase::new(progress, packed.clone()), progress.lookup.clone()));
        self.keys.push(Keyframe { at: LogPosition::of(progress), sides, packed });
        self.widen_spacing();
        while self.keys.len() > 2 && (self.keys.len() > MAX_SNAPSHOTS || self.size > MAX_SNAPSHOT_BYTES) {
            self.thin();
        }
    }

    /// Removes every third snapshot and increases the spacing accordingly.
    fn thin(&mut self) {
        self.spacing += self.spacing / 2;
        let last = self.keys.len() - 1;
        let mut at = 0;
        // The newest stays, because the next one shares pages with it.
        self.keys.retain(|_| {
            at += 1;
            at % 3 != 2 || at > last
        });
        let mut before = None;
        self.size = 0;
        for key in &self.keys {
            self.size += key.packed.size(before);
            before = Some(&key.packed);
        }
    }

    /// Marks the index as complete.
    pub fn finish(&mut self, progress: &Progress, exit: Option<Exit>) {
        self.exit = exit;
        self.end = LogPosition::of(progress);
        self.complete = true;
    }

    /// Removes everything before byte `place`, which the store no longer has.
    pub fn forget_before(&mut self, place: u64) {
        self.keys.retain(|key| key.at.bytes >= place);
        self.bins.retain(|bin| bin.begin.bytes >= place);
        let first = self.bins.first().map_or(self.end, |bin| bin.begin);
        if let Some(from) = first.at {
            self.first_at = self.first_at.max(Some(from));
            self.gaps.retain(|gap| gap.to > from);
        }
    }

    /// Returns the last snapshot at or before a byte position; `None` means the start of the log.
    #[must_use]
    pub fn key_before(&self, bytes: u64) -> Option<&Keyframe> {
        let behind = self.keys.partition_point(|key| key.at.bytes <= bytes);
        self.keys.get(behind.checked_sub(1)?)
    }

    /// Returns the first snapshot at or after a byte position.
    #[must_use]
    pub fn key_from(&self, bytes: u64) -> Option<&Keyframe> {
        self.keys.get(self.keys.partition_point(|key| key.at.bytes < bytes))
    }

    /// Returns the stored snapshots in order of position.
    #[must_use]
    pub fn keys(&self) -> &[Keyframe] {
        &self.keys
    }

    /// Returns the memory of the index in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let fixed = self.bins.capacity() * size_of::<Bin>() + self.gaps.capacity() * size_of::<Gap>();
        self.size + fixed + self.series.size()
    }

    /// Returns the lookup with which encoded snapshots are decoded.
    #[must_use]
    pub fn newest_lookup(&self) -> Option<&StreamLookup> {
        self.newest.as_ref().map(|(_, lookup)| lookup)
    }

    /// Returns the sections of the log in order of position.
    #[must_use]
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// Returns the number of runs in the log so far.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.counts.get(Mark::Run as usize).copied().unwrap_or(0)
    }

    /// Returns the gaps in order of time.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Returns the end of the reduced input.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// Returns the first and last time of the log; `None` if it has no times.
    #[must_use]
    pub fn span(&self) -> Option<(Millis, Millis)> {
        self.first_at.zip(self.end.at)
    }

    /// Returns the gap that contains this time.
    #[must_use]
    pub fn gap_at(&self, at: Millis) -> Option<Gap> {
        self.gaps.iter().copied().find(|gap| (gap.from..gap.to).contains(&at))
    }

    /// Returns a nearby position at or before the first line after this time.
    #[must_use]
    pub fn place_of_time(&self, at: Millis) -> LogPosition {
        let behind = self.bins.partition_point(|bin| bin.begin.at.is_none_or(|begin| begin <= at));
        self.bins.get(behind.saturating_sub(1)).map(|bin| bin.begin).unwrap_or_default()
    }

    /// Returns a nearby position between two lines, at or before this byte.
    #[must_use]
    pub fn place_of_bytes(&self, bytes: u64) -> LogPosition {
        let behind = self.bins.partition_point(|bin| bin.begin.bytes <= bytes);
        self.bins.get(behind.saturating_sub(1)).map(|bin| bin.begin).unwrap_or_default()
    }

    /// Returns a nearby position at or before the end of this line.
    #[must_use]
    pub fn place_of_line(&self, line: u64) -> LogPosition {
        let behind = self.bins.partition_point(|bin| bin.begin.lines <= line);
        self.bins.get(behind.saturating_sub(1)).map(|bin| bin.begin).unwrap_or_default()
    }

    /// Returns the sections after `from` with such a mark, in order: start, and start of the next
    /// section.
    pub fn stretches_after(&self, from: u64, kind: Mark) -> impl Iterator<Item = (LogPosition, u64)> {
        let first = self.bins.partition_point(|bin| bin.begin.bytes <= from).saturating_sub(1);
        self.stretches(first..self.bins.len(), kind)
    }

    /// Returns the sections before `to` with such a mark, last one first.
    pub fn stretches_before(&self, to: u64, kind: Mark) -> impl Iterator<Item = (LogPosition, u64)> {
        let behind = self.bins.partition_point(|bin| bin.begin.bytes < to);
        self.stretches(0..behind, kind).collect::<Vec<_>>().into_iter().rev()
    }

    fn stretches(&self, places: std::ops::Range<usize>, kind: Mark) -> impl Iterator<Item = (LogPosition, u64)> {
        places.filter_map(move |at| {
            let bin = self.bins.get(at)?;
            let next = self.bins.get(at + 1).map_or(self.end.bytes, |next| next.begin.bytes);
            (*bin.marks.get(kind as usize)? > 0).then_some((bin.begin, next))
        })
    }
}
