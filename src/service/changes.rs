//! Change list of the pipelines: the order of their last changes, so that a client reads the
//! changed ones alone.

use crate::util::sys::{lock, random_id};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Maximum remembered removals. A client that missed an earlier one reads the whole list.
const MAX_REMOVED: usize = 10_000;

/// Changes of all pipelines of this process, in order.
#[derive(Debug)]
pub struct ChangeList {
    /// Distinguishes the positions of this process from those of others.
    epoch: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Number of changes so far.
    last: u64,
    /// Pipelines by the number of their last change.
    order: BTreeMap<u64, Arc<str>>,
    numbers: HashMap<Arc<str>, u64>,
    /// Removed pipelines with the number of their removal, oldest first.
    removed: VecDeque<(u64, Arc<str>)>,
    /// Number of the last removal that is not remembered.
    forgotten: u64,
}

/// Changes after a position.
#[derive(Debug, PartialEq, Eq)]
pub struct ListChanges {
    /// Changed pipelines, oldest change first.
    pub changed: Vec<Arc<str>>,
    pub removed: Vec<Arc<str>>,
    /// Position after these changes.
    pub position: String,
    /// True if there are more changes.
    pub has_more: bool,
}

impl Default for ChangeList {
    fn default() -> Self {
        Self { epoch: random_id("c"), inner: Mutex::default() }
    }
}

impl ChangeList {
    /// Notes a change of a pipeline. Call it after the change is visible: a reader that sees the
    /// position after it has to see the change.
    pub fn mark(&self, id: &str) {
        let mut inner = lock(&self.inner);
        inner.last += 1;
        let number = inner.last;
        let id = match inner.numbers.get_key_value(id).map(|(id, before)| (Arc::clone(id), *before)) {
            Some((id, before)) => {
                inner.order.remove(&before);
                id
            }
            None => id.into(),
        };
        inner.numbers.insert(Arc::clone(&id), number);
        inner.order.insert(number, id);
    }

    /// Notes the removal of a pipeline, after it is visible.
    pub fn remove(&self, id: &str) {
        let mut inner = lock(&self.inner);
        let Some((id, before)) = inner.numbers.remove_entry(id) else { return };
        inner.order.remove(&before);
        inner.last += 1;
        let number = inner.last;
        inner.removed.push_back((number, id));
        if inner.removed.len() > MAX_REMOVED
            && let Some((number, _)) = inner.removed.pop_front()
        {
            inner.forgotten = number;
        }
    }

    /// Returns the position after all changes so far.
    #[must_use]
    pub fn position(&self) -> String {
        self.at(lock(&self.inner).last)
    }

    fn at(&self, number: u64) -> String {
        format!("{}.{number}", self.epoch)
    }

    /// Returns at most `limit` changed pipelines after a position; `None` if the position is of
    /// another process, or so old that removals after it are forgotten.
    #[must_use]
    pub fn since(&self, position: &str, limit: usize) -> Option<ListChanges> {
        let (epoch, number) = position.rsplit_once('.')?;
        let number: u64 = number.parse().ok().filter(|_| epoch == self.epoch)?;
        let inner = lock(&self.inner);
        if number < inner.forgotten || number > inner.last {
            return None;
        }
        let mut after = inner.order.range(number + 1..);
        let changed: Vec<_> = after.by_ref().take(limit).collect();
        let has_more = after.next().is_some();
        let last = if has_more { changed.last().map_or(number, |(number, _)| **number) } else { inner.last };
        let is_due = |at: u64| at > number && at <= last;
        let removed = inner.removed.iter().filter(|(at, _)| is_due(*at)).map(|(_, id)| Arc::clone(id)).collect();
        let changed = changed.into_iter().map(|(_, id)| Arc::clone(id)).collect();
        Some(ListChanges { changed, removed, position: self.at(last), has_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[Arc<str>]) -> Vec<&str> {
        ids.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn a_reader_that_follows_sees_each_change_and_removal() {
        let list = ChangeList::default();
        let start = list.position();
        for id in ["a", "b", "c", "a"] {
            list.mark(id);
        }
        let first = list.since(&start, 2).unwrap();
        assert_eq!((ids(&first.changed), first.has_more), (vec!["b", "c"], true));
        list.remove("b");
        let second = list.since(&first.position, 10).unwrap();
        assert_eq!((ids(&second.changed), ids(&second.removed), second.has_more), (vec!["a"], vec!["b"], false));
        let nothing = list.since(&second.position, 10).unwrap();
        assert_eq!((nothing.changed.len(), nothing.removed.len()), (0, 0));
        assert_eq!(nothing.position, second.position);
        list.mark("b");
        let again = list.since(&first.position, 10).unwrap();
        assert_eq!((ids(&again.changed), ids(&again.removed)), (vec!["a", "b"], vec!["b"]));
    }

    #[test]
    fn unknown_and_forgotten_positions_are_refused() {
        let list = ChangeList::default();
        let start = list.position();
        for position in ["", "7", &ChangeList::default().position(), &format!("{}.9", list.epoch), "x.y"] {
            assert_eq!(list.since(position, 10), None, "{position}");
        }
        for number in 0..=MAX_REMOVED {
            list.mark(&number.to_string());
            list.remove(&number.to_string());
        }
        assert_eq!(list.since(&start, 10), None);
        assert!(list.since(&list.position(), 10).is_some());
    }
}
