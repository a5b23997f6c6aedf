//! States sent to a destination and returned by it: committed records beside emitted ones.
//!
//! A source emits a state; once the destination returns the same state, everything before it is
//! durable. In a feed with both, an echo is recognized by its identity: the same state with the
//! source's record count, while no record has come since. (If a source repeats a state, the
//! repetition has a count of zero.)

use crate::protocol::{EmittedState, Name};
use crate::reduce::state::commits::{
    MAX_MARKS, MAX_POSITIONS, MAX_SENT_STATES, MAX_SENT_STATES_WITHOUT_DESTINATION, SentState, StateDirection,
};
use crate::reduce::state::lookup::bounded_name;
use crate::reduce::state::progress::Progress;
use std::sync::Arc;

impl Progress {
    /// Decides the direction of a state and applies its commits or marks.
    pub(crate) fn apply_emitted_state(&mut self, stream: Option<&Name>, handed: &EmittedState) -> StateDirection {
        let slots: Vec<usize> = match stream {
            Some(name) => self.find(name).into_iter().collect(),
            None => (0..self.streams.len()).collect(),
        };
        let of = |slot: &usize| self.streams.get(*slot);
        let since: u64 = slots.iter().filter_map(of).map(|stream| stream.seen - stream.marked).sum();
        // Records of streams beyond the maximum number are not counted by stream.
        let is_partial = match stream {
            Some(name) => self.find(name).is_none() && self.streams.len() >= self.max_streams(),
            None => self.counters.beyond.mentions > 0,
        };
        let records = handed.records.filter(|_| !is_partial);
        let reported_count = records.filter(|records| *records > 0);
        // An unequal record count since the last mark excludes a new state of the source.
        let back = handed.committed
            || (reported_count.is_some() && reported_count != Some(since))
            || (self.commits.has_destination && since == 0);
        if back && !self.commits.out.is_empty() {
            let found = self.commits.out.iter().position(|sent| sent.id == handed.id);
            if let Some(at) = found {
                self.commit_returned(at);
                return StateDirection::Back;
            }
        }
        let untouched = slots.iter().filter_map(of).all(|stream| stream.seen == 0 && !stream.start_reported);
        if handed.committed || (reported_count.is_some() && untouched) {
            self.commits.has_destination = true;
            self.commits.count += 1;
            self.commits.alone += u64::from(!handed.committed);
            if let (Some(name), Some(records)) = (stream, reported_count) {
                let at = self.place(name);
                self.change(at, |stream| {
                    let committed = stream.details.committed.get().unwrap_or(0).saturating_add(records);
                    stream.details.committed.set(committed);
                });
            }
            return StateDirection::Alone;
        }
        self.store_sent(stream.is_some(), &slots, since, handed.id, records);
        StateDirection::Out
    }

    /// Stores a state that a source emitted, and marks all records of these streams before it.
    fn store_sent(&mut self, one: bool, slots: &[usize], since: u64, id: u64, records: Option<u64>) {
        let mut marks = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some((seen, before)) = self.streams.get(*slot).map(|stream| (stream.seen, stream.marked)) else {
                continue;
            };
            marks.push((u32::try_from(*slot).unwrap_or(u32::MAX), seen));
            let counted = records.filter(|reported_count| one && *reported_count != since);
            // A log that starts in the middle of a run lacks records before its first checkpoint.
            let whole =
                self.streams.get(*slot).is_some_and(|stream| stream.start_reported || stream.details.checkpoints > 0);
            if seen != before || counted.is_some() {
                self.change(*slot, |stream| {
                    stream.marked = seen;
                    if let Some(reported_count) = counted.filter(|_| whole) {
                        stream.details.miscounted = Some((reported_count, since));
                    }
                });
            }
        }
        if let Some(reported_count) = records.filter(|reported_count| !one && *reported_count != since) {
            self.commits.miscounted = Some((reported_count, since));
        }
        let commits = &mut self.commits;
        commits.marks += marks.len();
        let most = if commits.has_destination { MAX_SENT_STATES } else { MAX_SENT_STATES_WITHOUT_DESTINATION };
        let out = Arc::make_mut(&mut commits.out);
        out.push_back(SentState { id, marks });
        while out.len() > most || commits.marks > MAX_MARKS {
            let Some(gone) = out.pop_front() else { break };
            commits.marks -= gone.marks.len();
        }
    }

    /// Commits a state that the destination returned, and all states before it.
    fn commit_returned(&mut self, at: usize) {
        let sent: Vec<SentState> = Arc::make_mut(&mut self.commits.out).drain(..=at).collect();
        for sent in sent {
            self.commits.marks -= sent.marks.len();
            for (slot, seen) in sent.marks {
                self.change(slot as usize, |stream| {
                    let committed = &mut stream.details.committed;
                    committed.set(committed.get().max(Some(seen)));
                });
            }
        }
        self.commits.has_destination = true;
        self.commits.count += 1;
    }

    /// Returns the streams for which a state of several streams is a checkpoint: all of a global
    /// one; of a repeated whole state, those whose position changed.
    pub(crate) fn advanced<'a>(&mut self, handed: EmittedState<'a>) -> Vec<Name<'a>> {
        if !handed.whole {
            return handed.streams.into_iter().map(|one| one.stream).collect();
        }
        let mut advanced = Vec::new();
        for one in handed.streams {
            let key = one.stream.key();
            let stored_key = bounded_name(&key);
            let before = self.commits.positions.get(&*stored_key).copied();
            if before == Some(one.id) {
                continue;
            }
            // The initial state names streams that the run has not reached yet.
            let moves = handed.committed || self.stream(&key).is_some_and(|stream| stream.in_feed);
            if before.is_some() || self.commits.positions.len() < MAX_POSITIONS {
                Arc::make_mut(&mut self.commits.positions).insert((&*stored_key).into(), one.id);
            }
            drop(stored_key);
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

    /// Returns the records confirmed by a destination, if one in the feed reports them.
    #[must_use]
    pub fn committed(&self) -> Option<u64> {
        let known = self.streams.iter().filter_map(|stream| stream.details.committed.get());
        known.reduce(u64::saturating_add)
    }

    /// True if a stream's records up to its last checkpoint are at the destination, or no
    /// destination is observed.
    #[must_use]
    pub fn is_delivered(&self, stream: &crate::reduce::state::stream::Stream) -> bool {
        !self.commits.has_destination
            || stream.seen == 0
            || stream.details.committed.get().unwrap_or(0) >= stream.marked
    }
}
