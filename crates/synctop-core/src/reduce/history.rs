//! Rewind index of a log: sparse snapshots, and places of errors, transitions and attempts.
//!
//! Bounded for any log: snapshots are thinned out beyond a number and a size, marks lie in a fixed
//! number of bins that grow wider, only the longest gaps are kept. It narrows the search; the exact
//! place is found by reducing the log from the nearest snapshot.

use super::{Exit, Packed, Progress};
use crate::protocol::Millis;
use strum::VariantArray as _;

/// Bytes of the log between two snapshots at first.
const SPACING: u64 = 2 << 20;

/// Snapshots kept.
const KEYS: usize = 384;

/// Bytes that all snapshots may take.
const BUDGET: usize = 44 << 20;

/// Bins kept, once there have been twice as many.
const BINS: usize = 4_096;

/// Silence of this length is a gap, in milliseconds.
pub const GAP_MS: Millis = 30_000;

/// Gaps kept: the longest ones.
const GAPS: usize = 1_000;

/// Kind of place to jump to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Mark {
    Error,
    Transition,
    Attempt,
    Checkpoint,
    Run,
}

/// Kinds of marks.
const KINDS: usize = 5;

impl Mark {
    /// Number of such places so far.
    #[must_use]
    pub fn count(self, progress: &Progress) -> u64 {
        match self {
            Self::Error => progress.runs.errors + progress.errors.total,
            Self::Transition => progress.transitions,
            Self::Attempt => progress.runs.attempts + u64::from(progress.attempts),
            Self::Checkpoint => progress.runs.checkpoints + progress.checkpoints,
            Self::Run => progress.runs.total + u64::from(progress.attempts > 0),
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A place in a log: behind so many lines and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogPosition {
    pub bytes: u64,
    pub lines: u64,
    /// The log's clock there.
    pub at: Option<Millis>,
}

impl LogPosition {
    /// Position of a reduction.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        Self { bytes: progress.input.bytes, lines: progress.input.lines, at: progress.last_at }
    }
}

/// A stretch of the log, and how many marks lie in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bin {
    pub begin: LogPosition,
    /// By [`Mark::VARIANTS`].
    pub marks: [u32; KINDS],
    /// The clock at the first mark of each kind.
    pub first: [Option<Millis>; KINDS],
}

/// A snapshot, and where it was taken.
#[derive(Debug, Clone)]
pub struct Key {
    pub at: LogPosition,
    /// Things besides lines that are in it.
    pub sides: usize,
    packed: Packed,
}

impl Key {
    /// The snapshot; `latest` is a later progress of the same log.
    #[must_use]
    pub fn open(&self, latest: &Progress) -> Option<Progress> {
        self.packed.unpack(latest)
    }
}

/// A silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub from: Millis,
    pub to: Millis,
}

/// Grows while a log is reduced.
#[derive(Debug, Clone, Default)]
pub struct History {
    keys: Vec<Key>,
    spacing: u64,
    /// Expected size of the log in bytes; 0: unknown.
    expected: u64,
    /// Bytes that the keys take.
    size: usize,
    /// The newest snapshot as it was packed; it holds every stream once.
    newest: Option<Progress>,
    bins: Vec<Bin>,
    bin_width: u64,
    gaps: Vec<Gap>,
    /// Gaps that found no room.
    pub gaps_beyond: u64,
    /// End of the reduced input.
    end: LogPosition,
    first_at: Option<Millis>,
    counts: [u64; KINDS],
    /// All of the log is in it.
    pub complete: bool,
    /// Exit of the engine's process, if known.
    pub exit: Option<Exit>,
}

impl History {
    #[must_use]
    pub fn new() -> Self {
        Self::spaced(SPACING)
    }

    /// With a snapshot every so many bytes at first.
    #[must_use]
    pub fn spaced(spacing: u64) -> Self {
        Self { spacing, bin_width: 1, ..Self::default() }
    }

    /// The log has about so many bytes: snapshots are taken no more often than that many can be
    /// kept.
    pub fn expect(&mut self, bytes: u64) {
        self.expected = bytes;
        self.spacing = self.spacing.max(bytes / (KEYS as u64 * 2 / 3));
    }

    /// So far apart that all of an expected log fits, as large as snapshots are by now.
    fn plan(&mut self) {
        let mean = (self.size / self.keys.len().max(1)) as u64;
        let room = (BUDGET as u64 - BUDGET as u64 / 8) / mean.max(1);
        self.spacing = self.spacing.max(self.expected / room.max(1));
    }

    /// A line was taken in, or a run of records without a silence in it (`run`).
    pub fn note(&mut self, progress: &Progress, run: bool) {
        let begin = std::mem::replace(&mut self.end, LogPosition::of(progress));
        if self.first_at.is_none() {
            self.first_at = progress.first_at;
        }
        if self.bins.last().is_none_or(|bin| begin.bytes - bin.begin.bytes >= self.bin_width) {
            // The clock at which a first line without a time before it stands is its own.
            let at = begin.at.or(progress.first_at);
            self.bins.push(Bin { begin: LogPosition { at, ..begin }, ..Bin::default() });
            if self.bins.len() >= 2 * BINS {
                self.widen();
            }
        }
        if let (Some(from), Some(to)) = (begin.at, self.end.at)
            && !run
            && to - from >= GAP_MS
        {
            self.gap(Gap { from, to });
        }
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
        if self.bins.len() >= BINS + BINS / 2 {
            // Lines longer than a bin: twice as wide does not halve them.
            self.widen();
        }
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
        if self.gaps.len() >= 2 * GAPS {
            self.gaps.sort_unstable_by_key(|gap| gap.from - gap.to);
            self.gaps_beyond += (self.gaps.len() - GAPS) as u64;
            self.gaps.truncate(GAPS);
            self.gaps.sort_unstable_by_key(|gap| gap.from);
        }
    }

    /// True if a snapshot is due at a place between two lines.
    #[must_use]
    pub fn due(&self, progress: &Progress) -> bool {
        let since = self.keys.last().map_or(0, |key| key.at.bytes);
        progress.input.bytes.saturating_sub(since) >= self.spacing
    }

    /// Base of the next snapshot: the newest one and its encoding. Encoding is slow and happens
    /// elsewhere.
    #[must_use]
    pub fn base(&self) -> Option<(Progress, Packed)> {
        self.newest.clone().zip(self.keys.last().map(|key| key.packed.clone()))
    }

    /// Takes in a snapshot, and how many things besides lines are in it.
    pub fn keep(&mut self, progress: &Progress, packed: Packed, sides: usize) {
        self.size += packed.size(self.keys.last().map(|key| &key.packed));
        self.keys.push(Key { at: LogPosition::of(progress), sides, packed });
        self.newest = Some(progress.clone());
        self.plan();
        while self.keys.len() > 2 && (self.keys.len() > KEYS || self.size > BUDGET) {
            self.thin();
        }
    }

    /// Leaves every third snapshot out, and takes them so much less often.
    fn thin(&mut self) {
        self.spacing += self.spacing / 2;
        let last = self.keys.len() - 1;
        let mut at = 0;
        // The newest stays: the next one shares with it.
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

    /// All of the log was taken in.
    pub fn finish(&mut self, progress: &Progress, exit: Option<Exit>) {
        self.exit = exit;
        self.end = LogPosition::of(progress);
        self.complete = true;
    }

    /// Forgets everything before `place`: its bytes are gone.
    pub fn forget_before(&mut self, place: u64) {
        self.keys.retain(|key| key.at.bytes >= place);
        self.bins.retain(|bin| bin.begin.bytes >= place);
        let first = self.bins.first().map_or(self.end, |bin| bin.begin);
        if let Some(from) = first.at {
            self.first_at = self.first_at.max(Some(from));
            self.gaps.retain(|gap| gap.to > from);
        }
    }

    /// The last snapshot at or before a place; `None`: the begin of the log.
    #[must_use]
    pub fn key_before(&self, bytes: u64) -> Option<&Key> {
        let behind = self.keys.partition_point(|key| key.at.bytes <= bytes);
        self.keys.get(behind.checked_sub(1)?)
    }

    /// The first snapshot at or behind a place.
    #[must_use]
    pub fn key_from(&self, bytes: u64) -> Option<&Key> {
        self.keys.get(self.keys.partition_point(|key| key.at.bytes < bytes))
    }

    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Bytes of memory that the snapshots take.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size + self.bins.capacity() * size_of::<Bin>() + self.gaps.capacity() * size_of::<Gap>()
    }

    /// The progress that packed snapshots are opened with.
    #[must_use]
    pub fn newest(&self) -> Option<&Progress> {
        self.newest.as_ref()
    }

    #[must_use]
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// Runs in the log so far.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.counts.get(Mark::Run as usize).copied().unwrap_or(0)
    }

    /// By time.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// End of the reduced input.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// First and last time in the log; `None` where it has no times.
    #[must_use]
    pub fn span(&self) -> Option<(Millis, Millis)> {
        self.first_at.zip(self.end.at)
    }

    /// The silence that this time lies in, if it lies in one.
    #[must_use]
    pub fn gap_at(&self, at: Millis) -> Option<Gap> {
        self.gaps.iter().copied().find(|gap| (gap.from..gap.to).contains(&at))
    }

    /// A place at or before the first line after this time, and near it.
    #[must_use]
    pub fn place_of_time(&self, at: Millis) -> LogPosition {
        let behind = self.bins.partition_point(|bin| bin.begin.at.is_none_or(|begin| begin <= at));
        self.bins.get(behind.saturating_sub(1)).map(|bin| bin.begin).unwrap_or_default()
    }

    /// A place between two lines at or before so many bytes, and near it.
    #[must_use]
    pub fn place_of_bytes(&self, bytes: u64) -> LogPosition {
        let behind = self.bins.partition_point(|bin| bin.begin.bytes <= bytes);
        self.bins.get(behind.saturating_sub(1)).map(|bin| bin.begin).unwrap_or_default()
    }

    /// A place at or before the end of this line, and near it.
    #[must_use]
    pub fn place_of_line(&self, line: u64) -> LogPosition {
        let behind = self.bins.partition_point(|bin| bin.begin.lines <= line);
        self.bins.get(behind.saturating_sub(1)).map(|bin| bin.begin).unwrap_or_default()
    }

    /// Stretches behind `from` with such a mark, in order: start, and start of the next one.
    pub fn stretches_after(&self, from: u64, kind: Mark) -> impl Iterator<Item = (LogPosition, u64)> {
        let first = self.bins.partition_point(|bin| bin.begin.bytes <= from).saturating_sub(1);
        self.stretches(first..self.bins.len(), kind)
    }

    /// The stretches before `to` with such a mark, the last one first.
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
