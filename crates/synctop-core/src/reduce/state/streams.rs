//! List of streams in pages that clones share: a snapshot costs as much as the list has pages, and a
//! change of a stream copies one page.

use crate::reduce::state::stream::Stream;
use std::sync::{Arc, OnceLock, Weak};

/// Streams of a page. With larger ones, a snapshot costs less, and the first change of a page after
/// it costs more.
pub(crate) const PAGE: usize = 32;

/// Page of the list. Its owner changes `own` without a look at counters that clones share, which is
/// a tenth of the time of a short line.
#[derive(Debug, Default)]
pub struct StreamPage {
    /// Streams in order; empty in a clone until its first change.
    own: Vec<Arc<Stream>>,
    /// The same streams, shared with clones; absent after a change.
    shared: OnceLock<Arc<Vec<Arc<Stream>>>>,
}

impl StreamPage {
    /// Returns the streams in order.
    #[inline]
    pub(crate) fn streams(&self) -> &[Arc<Stream>] {
        if self.own.is_empty() { self.shared.get().map_or(&[], |shared| shared) } else { &self.own }
    }

    /// Returns the streams, to be replaced or changed.
    #[inline]
    fn change(&mut self) -> &mut Vec<Arc<Stream>> {
        if let Some(shared) = self.shared.take()
            && self.own.is_empty()
        {
            self.own = Arc::unwrap_or_clone(shared);
        }
        &mut self.own
    }

    /// Returns the identity of the page until its next change. It does not keep the streams.
    pub(crate) fn identity(&self) -> PageIdentity {
        PageIdentity(Arc::downgrade(self.share()))
    }

    /// True if the page is unchanged since its identity was taken.
    pub(crate) fn is(&self, identity: &PageIdentity) -> bool {
        self.shared.get().is_some_and(|shared| Arc::as_ptr(shared) == identity.0.as_ptr())
    }

    fn share(&self) -> &Arc<Vec<Arc<Stream>>> {
        self.shared.get_or_init(|| Arc::new(self.own.clone()))
    }

    /// True if both pages have the same streams.
    fn is_same(&self, other: &Self) -> bool {
        matches!((self.shared.get(), other.shared.get()), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
    }
}

/// Identity of a page: no other page gets it while it exists.
#[derive(Debug, Clone)]
pub(crate) struct PageIdentity(Weak<Vec<Arc<Stream>>>);

impl Clone for StreamPage {
    fn clone(&self) -> Self {
        Self { own: Vec::new(), shared: OnceLock::from(Arc::clone(self.share())) }
    }
}

/// List of streams, in the order of their first mention.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    /// All pages but the last are full.
    pages: Vec<StreamPage>,
    length: usize,
}

/// Streams in order.
pub type Iter<'s> = std::iter::FlatMap<
    std::slice::Iter<'s, StreamPage>,
    std::slice::Iter<'s, Arc<Stream>>,
    fn(&'s StreamPage) -> std::slice::Iter<'s, Arc<Stream>>,
>;

impl Streams {
    /// Returns the number of streams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// True if there are no streams.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns a stream by its index.
    #[must_use]
    #[inline]
    pub fn get(&self, at: usize) -> Option<&Arc<Stream>> {
        self.pages.get(at / PAGE)?.streams().get(at % PAGE)
    }

    /// Returns a stream by its index, to be replaced or changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut Arc<Stream>> {
        self.pages.get_mut(at / PAGE)?.change().get_mut(at % PAGE)
    }

    /// Returns the last stream.
    #[must_use]
    pub fn last(&self) -> Option<&Arc<Stream>> {
        self.pages.last()?.streams().last()
    }

    pub(crate) fn push(&mut self, stream: Arc<Stream>) {
        self.length += 1;
        if self.pages.last().is_none_or(|page| page.streams().len() == PAGE) {
            self.pages.push(StreamPage { own: Vec::with_capacity(PAGE), shared: OnceLock::new() });
        }
        if let Some(page) = self.pages.last_mut() {
            page.change().push(stream);
        }
    }

    /// Returns the streams in order.
    pub fn iter(&self) -> Iter<'_> {
        self.pages.iter().flat_map(|page| page.streams().iter())
    }

    /// Returns the streams in order, to be replaced or changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Arc<Stream>> {
        self.pages.iter_mut().flat_map(|page| page.change().iter_mut())
    }

    /// Returns the pages in order.
    pub(crate) fn pages(&self) -> &[StreamPage] {
        &self.pages
    }

    /// Returns the indexes of the streams that differ from those of an earlier state of the same
    /// input, or are new. Unchanged pages are passed over.
    pub fn changed_since<'s>(&'s self, before: &'s Self) -> impl Iterator<Item = usize> + 's {
        self.pages.iter().enumerate().flat_map(move |(number, page)| {
            let old = before.pages.get(number);
            let is_same = old.is_some_and(|old| old.is_same(page));
            let streams = if is_same { &[][..] } else { page.streams() };
            streams.iter().enumerate().filter_map(move |(at, stream)| {
                let old = old.and_then(|old| old.streams().get(at));
                old.is_none_or(|old| !Arc::ptr_eq(old, stream)).then_some(number * PAGE + at)
            })
        })
    }
}

impl PartialEq for Streams {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.iter().eq(other.iter())
    }
}

impl<'s> IntoIterator for &'s Streams {
    type Item = &'s Arc<Stream>;
    type IntoIter = Iter<'s>;

    fn into_iter(self) -> Iter<'s> {
        self.iter()
    }
}

impl FromIterator<Arc<Stream>> for Streams {
    fn from_iter<I: IntoIterator<Item = Arc<Stream>>>(streams: I) -> Self {
        let mut all = Self::default();
        streams.into_iter().for_each(|stream| all.push(stream));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Streams {
        (0..count).map(|number| Arc::new(Stream::named(&format!("s{number}")))).collect()
    }

    #[test]
    fn streams_are_found_by_their_index() {
        for count in [0, 1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE + 3] {
            let streams = numbered(count);
            assert_eq!((streams.len(), streams.is_empty(), streams.iter().count()), (count, count == 0, count));
            for (at, stream) in streams.iter().enumerate() {
                assert_eq!((&*stream.name, streams.get(at)), (&*format!("s{at}"), Some(stream)));
            }
            assert!(streams.get(count).is_none());
            assert_eq!(streams.last(), count.checked_sub(1).and_then(|at| streams.get(at)));
        }
    }

    #[test]
    fn changes_leave_clones_as_they_are_and_are_found() {
        let mut streams = numbered(100);
        let before = streams.clone();
        assert_eq!(streams.changed_since(&before).count(), 0);
        for at in [3, 40, 41, 99] {
            Arc::make_mut(streams.get_mut(at).unwrap()).counted = 7;
        }
        streams.push(Arc::new(Stream::named("new")));
        assert_eq!(streams.changed_since(&before).collect::<Vec<_>>(), [3, 40, 41, 99, 100]);
        assert_eq!((before.len(), before.get(40).unwrap().counted), (100, 0));
        assert!(before != streams && before == numbered(100));
        assert_eq!(streams.changed_since(&Streams::default()).count(), 101);
    }
}
