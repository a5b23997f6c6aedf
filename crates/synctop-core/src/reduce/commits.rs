//! States sent to a destination and returned by it: committed records beside emitted ones.
//!
//! A source emits a state; when the destination returns the same state, everything before it is
//! durable. In a feed with both, an echo is recognized by its identity: the same state with the
//! source's record count, while no record has come since. (A source may repeat a state too; then
//! the repetition has a count of zero.)

use super::Progress;
use super::Stream;
use crate::protocol::{EmittedState, Name};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Stored states on their way; an echo of an older one is not recognized.
const OUT: usize = 8_192;

/// The same as long as no destination is heard: most feeds have none, and all of it is part of
/// every picture.
const UNHEARD: usize = 1_024;

/// Counts remembered with them.
const MARKS: usize = 32_768;

/// Positions remembered by stream.
const POSITIONS: usize = 100_000;

#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Commits {
    out: Arc<VecDeque<Sent>>,
    marks: usize,
    /// States that came back.
    pub count: u64,
    /// A destination is in the feed.
    pub heard: bool,
    /// Position of each stream in the whole state, for protocols that repeat it.
    positions: Arc<BTreeMap<Box<str>, u64>>,
    /// A state of all streams that counted otherwise than we did: its count, and ours.
    pub miscounted: Option<(u64, u64)>,
    /// Of `count`, those that were taken for a destination's because no source was heard yet.
    alone: u64,
}

/// A state that was handed out.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Sent {
    id: u64,
    /// Streams by their place, and how many records of each came before it.
    marks: Vec<(u32, u64)>,
}

/// Direction of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// From a source.
    Out,
    /// Back from the destination.
    Back,
    /// From a destination, whose source is not in this feed.
    Alone,
}

impl Commits {
    /// Forgets states on their way: their process is gone.
    pub(super) fn begin_attempt(&mut self) {
        self.out = Arc::default();
        self.marks = 0;
        self.miscounted = None;
    }

    /// A source is in this feed after all: states taken for a destination's were its own first
    /// ones.
    pub(super) fn source_heard(&mut self, streams: &mut [Arc<Stream>]) {
        if self.alone == 0 {
            return;
        }
        self.count -= self.alone;
        self.alone = 0;
        self.heard = self.count > 0;
        for stream in streams.iter_mut().filter(|stream| stream.committed.is_some()) {
            Arc::make_mut(stream).committed = None;
        }
    }
}

impl Progress {
    /// Decides the direction of a state, and applies its commits or marks.
    pub(super) fn handed(&mut self, stream: Option<&Name>, handed: &EmittedState) -> Passed {
        let slots: Vec<usize> = match stream {
            Some(name) => self.index.get(name.key().as_ref()).copied().into_iter().collect(),
            None => (0..self.streams.len()).collect(),
        };
        let of = |slot: &usize| self.streams.get(*slot);
        let since: u64 = slots.iter().filter_map(of).map(|stream| stream.seen - stream.marked).sum();
        let told = handed.records.filter(|records| *records > 0);
        // With the source's own count it cannot be a new one unless so many came since.
        let back = handed.committed || (told.is_some() && told != Some(since)) || (self.commits.heard && since == 0);
        if back && !self.commits.out.is_empty() {
            let found = self.commits.out.iter().position(|sent| sent.id == handed.id);
            if let Some(at) = found {
                self.back(at);
                return Passed::Back;
            }
        }
        let untouched = slots.iter().filter_map(of).all(|stream| stream.seen == 0 && !stream.start_said);
        if handed.committed || (told.is_some() && untouched) {
            self.commits.heard = true;
            self.commits.count += 1;
            self.commits.alone += u64::from(!handed.committed);
            if let (Some(name), Some(records)) = (stream, told) {
                let at = self.place(name);
                self.change(at, |stream| {
                    stream.committed = Some(stream.committed.unwrap_or(0).saturating_add(records));
                });
            }
            return Passed::Alone;
        }
        self.out(stream.is_some(), &slots, since, handed);
        Passed::Out
    }

    /// A source hands out a state: everything of these streams before it is marked.
    fn out(&mut self, one: bool, slots: &[usize], since: u64, handed: &EmittedState) {
        let mut marks = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some((seen, before)) = self.streams.get(*slot).map(|stream| (stream.seen, stream.marked)) else {
                continue;
            };
            marks.push((u32::try_from(*slot).unwrap_or(u32::MAX), seen));
            let counted = handed.records.filter(|told| one && *told != since);
            // A log that begins in the middle of a run has not all records before its first
            // checkpoint.
            let whole = self.streams.get(*slot).is_some_and(|stream| stream.start_said || stream.checkpoints > 0);
            if seen != before || counted.is_some() {
                self.change(*slot, |stream| {
                    stream.marked = seen;
                    if let Some(told) = counted.filter(|_| whole) {
                        stream.miscounted = Some((told, since));
                    }
                });
            }
        }
        if let Some(told) = handed.records.filter(|told| !one && *told != since) {
            self.commits.miscounted = Some((told, since));
        }
        let commits = &mut self.commits;
        commits.marks += marks.len();
        let most = if commits.heard { OUT } else { UNHEARD };
        let out = Arc::make_mut(&mut commits.out);
        out.push_back(Sent { id: handed.id, marks });
        while out.len() > most || commits.marks > MARKS {
            let Some(gone) = out.pop_front() else { break };
            commits.marks -= gone.marks.len();
        }
    }

    /// The destination hands back a state: it and all before it are committed.
    fn back(&mut self, at: usize) {
        let sent: Vec<Sent> = Arc::make_mut(&mut self.commits.out).drain(..=at).collect();
        for sent in sent {
            self.commits.marks -= sent.marks.len();
            for (slot, seen) in sent.marks {
                self.change(slot as usize, |stream| stream.committed = stream.committed.max(Some(seen)));
            }
        }
        self.commits.heard = true;
        self.commits.count += 1;
    }

    /// Streams that a state of several is a checkpoint of: all of a global one; of a repeated whole
    /// state, those whose position changed.
    pub(super) fn advanced<'a>(&mut self, handed: EmittedState<'a>) -> Vec<Name<'a>> {
        if !handed.whole {
            return handed.streams.into_iter().map(|one| one.stream).collect();
        }
        let mut advanced = Vec::new();
        for one in handed.streams {
            let key = one.stream.key();
            let before = self.commits.positions.get(key.as_ref()).copied();
            if before == Some(one.id) {
                continue;
            }
            // The initial state names streams that the run has not reached yet.
            let moves = handed.committed || self.stream(&key).is_some_and(|stream| stream.in_feed);
            if before.is_some() || self.commits.positions.len() < POSITIONS {
                Arc::make_mut(&mut self.commits.positions).insert(key.as_ref().into(), one.id);
            }
            drop(key);
            if moves {
                advanced.push(one.stream);
            }
        }
        if advanced.is_empty()
            && let Some(name) = handed.current.filter(|name| self.stream(&name.key()).is_some_and(|it| it.in_feed))
        {
            advanced.push(name);
        }
        advanced
    }

    /// Records confirmed by a destination, if one in the feed reports them.
    #[must_use]
    pub fn committed(&self) -> Option<u64> {
        let known = self.streams.iter().filter_map(|stream| stream.committed);
        known.reduce(u64::saturating_add)
    }

    /// True if all records of a stream are at the destination, as far as one is observed.
    #[must_use]
    pub fn arrived(&self, stream: &super::Stream) -> bool {
        !self.commits.heard || stream.seen == 0 || stream.committed.unwrap_or(0) >= stream.marked
    }
}
