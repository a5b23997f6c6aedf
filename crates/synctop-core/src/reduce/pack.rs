//! Compact encoding of a [`Progress`], so that hundreds fit into memory for rewinding a log of any
//! size.
//!
//! Streams are packed in pages; a page of which no stream changed is the one of the snapshot
//! before. Errors and feed likewise.

use super::{ErrorGroup, Errors, Feed, FeedLine, Progress, Stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use zstd::bulk::{Compressor, Decompressor};

/// Streams per page: few, so that a single change costs little; enough for compression to find
/// repetitions.
const PAGE: usize = 64;

/// Lines of a feed's page.
const FEED_PAGE: u64 = 64;

/// The quickest level that still finds names and times that repeat.
const LEVEL: i32 = 1;

/// One snapshot.
#[derive(Debug, Clone)]
pub struct Packed {
    core: Arc<[u8]>,
    pages: Vec<Arc<[u8]>>,
    errors: Arc<[u8]>,
    feed: FeedPages,
}

/// A feed: its lines in pages by their number among all of them, so that a page that is full is
/// packed once.
#[derive(Debug, Clone)]
struct FeedPages {
    total: u64,
    newest: u64,
    kept: u64,
    pages: Vec<(u64, Arc<[u8]>)>,
}

impl Packed {
    /// Encodes a snapshot; `before` is an earlier one of the same log and its encoding. `None` if
    /// it cannot be encoded.
    #[must_use]
    pub fn new(progress: &Progress, before: Option<(&Progress, &Packed)>) -> Option<Self> {
        let same = |a: &[Arc<Stream>], b: &[Arc<Stream>]| {
            a.len() == b.len() && a.iter().zip(b).all(|(one, other)| Arc::ptr_eq(one, other))
        };
        let mut pages = Vec::with_capacity(progress.streams.len().div_ceil(PAGE));
        let mut old = before.map(|(old, packed)| old.streams.chunks(PAGE).zip(&packed.pages));
        for page in progress.streams.chunks(PAGE) {
            let unchanged = old.as_mut().and_then(Iterator::next).filter(|(streams, _)| same(page, streams));
            pages.push(match unchanged {
                Some((_, packed)) => Arc::clone(packed),
                None => squeeze(&page)?,
            });
        }
        let errors = before.filter(|(old, _)| old.errors.same(&progress.errors)).map(|(_, packed)| &packed.errors);
        let old_feed = before.map(|(old, packed)| (&old.feed, &packed.feed));
        Some(Self {
            core: squeeze(progress)?,
            pages,
            errors: errors.cloned().map_or_else(|| squeeze(&progress.errors), Some)?,
            feed: FeedPages::new(&progress.feed, old_feed)?,
        })
    }

    /// The snapshot again. `latest` is a later progress of the same log: streams only ever join.
    #[must_use]
    pub fn unpack(&self, latest: &Progress) -> Option<Progress> {
        let mut progress: Progress = spread(&self.core)?;
        for page in &self.pages {
            progress.streams.append(&mut spread::<Vec<Arc<Stream>>>(page)?);
        }
        progress.errors = spread(&self.errors)?;
        progress.feed = self.feed.unpack()?;
        let known = progress.streams.len();
        if known == latest.streams.len() {
            progress.index = Arc::clone(&latest.index);
            progress.by_name = Arc::clone(&latest.by_name);
        } else {
            let names = latest.index.iter().filter(|(_, at)| **at < known);
            progress.index = Arc::new(names.map(|(name, at)| (name.clone(), *at)).collect());
            let order = latest.by_name.iter().copied().filter(|at| (*at as usize) < known);
            progress.by_name = Arc::new(order.collect());
        }
        Some(progress)
    }

    /// Bytes in memory that it does not share with the snapshot before it.
    #[must_use]
    pub fn size(&self, before: Option<&Packed>) -> usize {
        let own = |part: &Arc<[u8]>, old: Option<&Arc<[u8]>>| match old {
            Some(old) if Arc::ptr_eq(part, old) => 0,
            _ => part.len() + 2 * size_of::<usize>(),
        };
        let pages = self.pages.iter().enumerate();
        pages.map(|(at, page)| own(page, before.and_then(|old| old.pages.get(at)))).sum::<usize>()
            + self.pages.len() * size_of::<Arc<[u8]>>()
            + own(&self.errors, before.map(|old| &old.errors))
            + self
                .feed
                .pages
                .iter()
                .map(|(number, page)| own(page, before.and_then(|old| old.feed.page(*number))))
                .sum::<usize>()
            + self.core.len()
    }
}

impl Errors {
    /// Nothing was added or cleared since.
    fn same(&self, other: &Self) -> bool {
        let ptr_eq = |(one, other): (&Arc<ErrorGroup>, &Arc<ErrorGroup>)| Arc::ptr_eq(one, other);
        self.total == other.total
            && self.groups().len() == other.groups().len()
            && self.groups().iter().zip(other.groups()).all(ptr_eq)
    }
}

impl FeedPages {
    fn new(feed: &Feed, before: Option<(&Feed, &FeedPages)>) -> Option<Self> {
        let (first, total) = (feed.first(), feed.total);
        let mut pages = Vec::new();
        for number in first / FEED_PAGE..total.div_ceil(FEED_PAGE) {
            let begin = first.max(number * FEED_PAGE);
            let lines = || (begin..total.min((number + 1) * FEED_PAGE)).map(|line| feed.line(line));
            let same = |old: &Feed| {
                let old = |line| old.line(line);
                lines()
                    .zip(begin..)
                    .all(|(new, line)| new.zip(old(line)).is_some_and(|(new, old)| Arc::ptr_eq(new, old)))
            };
            let unchanged = before.filter(|(old, _)| same(old)).and_then(|(_, packed)| packed.page(number));
            let page = match unchanged {
                Some(page) => Arc::clone(page),
                None => squeeze(&(begin, lines().collect::<Vec<_>>()))?,
            };
            pages.push((number, page));
        }
        Some(Self { total, newest: feed.newest(), kept: total - first, pages })
    }

    fn page(&self, number: u64) -> Option<&Arc<[u8]>> {
        let at = self.pages.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.pages.get(at).map(|(_, page)| page)
    }

    fn unpack(&self) -> Option<Feed> {
        let first = self.total - self.kept;
        let mut all = VecDeque::new();
        for (_, page) in &self.pages {
            let (begin, lines): (u64, Vec<Option<Arc<FeedLine>>>) = spread(page)?;
            // A page may begin with lines that have fallen out since it was packed.
            let gone = usize::try_from(first.saturating_sub(begin)).ok()?;
            all.extend(lines.into_iter().flatten().skip(gone));
        }
        Some(Feed::of(all, self.total, self.newest))
    }
}

thread_local! {
    /// Both take longer to make than to use.
    static PACKER: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// The length of the plain bytes, and these packed.
fn squeeze<T: Serialize + ?Sized>(value: &T) -> Option<Arc<[u8]>> {
    let plain = postcard::to_allocvec(value).ok()?;
    let mut packed = u32::try_from(plain.len()).ok()?.to_le_bytes().to_vec();
    packed.extend(PACKER.with_borrow_mut(|packer| packer.as_mut()?.compress(&plain).ok())?);
    Some(packed.into())
}

fn spread<T: DeserializeOwned>(packed: &[u8]) -> Option<T> {
    let (length, packed) = packed.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let plain = UNPACKER.with_borrow_mut(|unpacker| unpacker.as_mut()?.decompress(packed, length).ok())?;
    postcard::from_bytes(&plain).ok()
}

/// A ring (serde has arrays of at most 32), which is often not full: its begin.
pub(super) mod ring {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<const N: usize, S: Serializer>(ring: &[u32; N], to: S) -> Result<S::Ok, S::Error> {
        let filled = ring.iter().rposition(|value| *value != 0).map_or(0, |last| last + 1);
        ring.get(..filled).unwrap_or_default().serialize(to)
    }

    pub fn deserialize<'de, const N: usize, D: Deserializer<'de>>(from: D) -> Result<[u32; N], D::Error> {
        let mut ring = [0; N];
        for (slot, value) in ring.iter_mut().zip(Vec::<u32>::deserialize(from)?) {
            *slot = value;
        }
        Ok(ring)
    }
}
