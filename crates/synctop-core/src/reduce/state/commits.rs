//! States on their way to a destination, and their echoes.

use crate::reduce::state::streams::Streams;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Maximum number of stored states on their way; echoes of older ones are not recognized.
pub(crate) const MAX_SENT_STATES: usize = 8_192;

/// The same bound until a destination is seen. It is lower, because most feeds have no destination
/// and every snapshot contains all stored states.
pub(crate) const MAX_SENT_STATES_WITHOUT_DESTINATION: usize = 1_024;

/// Maximum number of stored stream counts of these states.
pub(crate) const MAX_MARKS: usize = 32_768;

/// Maximum number of streams whose position is remembered.
pub(crate) const MAX_POSITIONS: usize = 100_000;

/// States that a source emitted, and the number of them that a destination returned.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Commits {
    pub(crate) out: Arc<VecDeque<SentState>>,
    pub(crate) marks: usize,
    /// Number of states that a destination returned.
    pub count: u64,
    /// True once a destination was seen in the feed.
    pub has_destination: bool,
    /// Position id of each stream in the whole state, for protocols that repeat it.
    pub(crate) positions: Arc<BTreeMap<Box<str>, u64>>,
    /// Record counts of a state of all streams that differ: the reported count, and the counted
    /// records.
    pub miscounted: Option<(u64, u64)>,
    /// Part of `count` that was attributed to a destination because no source was seen yet.
    pub(crate) alone: u64,
}

/// State that a source emitted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct SentState {
    pub(crate) id: u64,
    /// Indexes of streams, each with its records before the state.
    pub(crate) marks: Vec<(u32, u64)>,
}

/// Direction of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateDirection {
    /// From a source.
    Out,
    /// Back from the destination.
    Back,
    /// From a destination whose source is not in this feed.
    Alone,
}

impl Commits {
    /// Forgets states on their way, because their process has ended.
    pub(crate) fn begin_attempt(&mut self) {
        self.out = Arc::default();
        self.marks = 0;
        self.miscounted = None;
    }

    /// Removes the states that were returned in earlier runs of the same log.
    pub(crate) fn start_run(&mut self, before: u64) {
        self.count = self.count.saturating_sub(before);
        self.alone = self.alone.min(self.count);
    }

    /// Corrects the counts once a source is seen: states attributed to a destination were the
    /// source's own first states.
    pub(crate) fn source_seen(&mut self, streams: &mut Streams) {
        if self.alone == 0 {
            return;
        }
        self.count -= self.alone;
        self.alone = 0;
        self.has_destination = self.count > 0;
        for stream in streams.iter_mut().filter(|stream| stream.details.committed.get().is_some()) {
            Arc::make_mut(stream).details.committed.set(None);
        }
    }
}
