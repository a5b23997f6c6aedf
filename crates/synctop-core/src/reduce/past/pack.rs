//! Compact encoding of a [`Progress`], so that hundreds fit into memory for rewinding a log of any
//! size.
//!
//! Streams are encoded in pages. A page without changed streams is shared with the preceding
//! snapshot. Errors and feed are shared likewise.

use crate::protocol::Dialect;
use crate::reduce::state::errors::{ErrorGroup, Errors};
use crate::reduce::state::feed::{Feed, FeedLine};
use crate::reduce::state::lookup::StreamLookup;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Stream;
use crate::reduce::state::streams::{PageIdentity, StreamPage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use zstd::bulk::{Compressor, Decompressor};

/// Pages of the list of streams that are encoded together: few, so that a single change costs
/// little; enough for compression to find repetitions.
const PAGES_TOGETHER: usize = 2;

/// Feed lines per page.
const FEED_LINES_PER_PAGE: u64 = 64;

/// Fastest zstd level that still finds repeated names and times.
const LEVEL: i32 = 1;

/// Encoded and compressed snapshot.
#[derive(Debug, Clone)]
pub struct EncodedSnapshot {
    dialect: Option<Dialect>,
    core: Arc<[u8]>,
    pages: Vec<Arc<[u8]>>,
    errors: Arc<[u8]>,
    feed: FeedPages,
}

/// Snapshot with its encoding, as far as the next one needs it to find the parts that are unchanged.
/// It keeps no stream that has changed since.
#[derive(Debug, Clone)]
pub struct SnapshotBase {
    packed: EncodedSnapshot,
    pages: Vec<PageIdentity>,
    errors: Errors,
    feed: Feed,
}

impl SnapshotBase {
    /// Creates the base of the snapshots after this one.
    #[must_use]
    pub fn new(progress: &Progress, packed: EncodedSnapshot) -> Self {
        let pages = progress.streams.pages().iter().map(StreamPage::identity).collect();
        Self { packed, pages, errors: progress.errors.clone(), feed: progress.feed.clone() }
    }
}

/// Encoded feed. Its lines are in pages by their number among all lines, so that a full page is
/// encoded once.
#[derive(Debug, Clone)]
struct FeedPages {
    total: u64,
    newest: u64,
    kept: u64,
    pages: Vec<(u64, Arc<[u8]>)>,
}

impl EncodedSnapshot {
    /// Encodes a snapshot. `before` is the base of an earlier snapshot of the same log.
    /// Returns `None` if encoding fails.
    #[must_use]
    pub fn new(progress: &Progress, before: Option<&SnapshotBase>) -> Option<Self> {
        let mut pages = Vec::with_capacity(progress.streams.pages().len().div_ceil(PAGES_TOGETHER));
        let mut old = before.map(|old| old.pages.chunks(PAGES_TOGETHER).zip(&old.packed.pages));
        for page in progress.streams.pages().chunks(PAGES_TOGETHER) {
            let is_same =
                |old: &[PageIdentity]| old.len() == page.len() && old.iter().zip(page).all(|(old, page)| page.is(old));
            let unchanged = old.as_mut().and_then(Iterator::next).filter(|(old, _)| is_same(old));
            pages.push(match unchanged {
                Some((_, packed)) => Arc::clone(packed),
                None => encode(&page.iter().flat_map(StreamPage::streams).collect::<Vec<_>>())?,
            });
        }
        let errors = before.filter(|old| old.errors.same(&progress.errors)).map(|old| &old.packed.errors);
        let old_feed = before.map(|old| (&old.feed, &old.packed.feed));
        Some(Self {
            dialect: progress.dialect,
            core: encode(progress)?,
            pages,
            errors: errors.cloned().map_or_else(|| encode(&progress.errors), Some)?,
            feed: FeedPages::new(&progress.feed, old_feed)?,
        })
    }

    /// Decodes the snapshot. `latest` is the lookup of a later progress of the same log: streams are
    /// only ever added.
    #[must_use]
    pub fn unpack(&self, latest: &StreamLookup) -> Option<Progress> {
        let mut progress: Progress = decode(&self.core)?;
        progress.dialect = self.dialect;
        for page in &self.pages {
            decode::<Vec<Arc<Stream>>>(page)?.into_iter().for_each(|stream| progress.streams.push(stream));
        }
        progress.errors = decode(&self.errors)?;
        progress.feed = self.feed.unpack()?;
        progress.lookup.share(latest);
        Some(progress)
    }

    /// Returns the bytes in memory that are not shared with the snapshot before.
    #[must_use]
    pub fn size(&self, before: Option<&EncodedSnapshot>) -> usize {
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
    /// True if no error was added or cleared between the two.
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
        for number in first / FEED_LINES_PER_PAGE..total.div_ceil(FEED_LINES_PER_PAGE) {
            let begin = first.max(number * FEED_LINES_PER_PAGE);
            let lines = || (begin..total.min((number + 1) * FEED_LINES_PER_PAGE)).map(|line| feed.line(line));
            let same = |old: &Feed| {
                let old = |line| old.line(line);
                lines()
                    .zip(begin..)
                    .all(|(new, line)| new.zip(old(line)).is_some_and(|(new, old)| Arc::ptr_eq(new, old)))
            };
            let unchanged = before.filter(|(old, _)| same(old)).and_then(|(_, packed)| packed.page(number));
            let page = match unchanged {
                Some(page) => Arc::clone(page),
                None => encode(&(begin, lines().collect::<Vec<_>>()))?,
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
            let (begin, lines): (u64, Vec<Option<Arc<FeedLine>>>) = decode(page)?;
            // A page may start with lines that the feed has dropped since the page was encoded.
            let gone = usize::try_from(first.saturating_sub(begin)).ok()?;
            all.extend(lines.into_iter().flatten().skip(gone));
        }
        Some(Feed::of(all, self.total, self.newest))
    }
}

thread_local! {
    /// Cached, because creating a codec takes longer than using it.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// Encodes a value: length of the plain bytes, then the compressed bytes.
fn encode<T: Serialize + ?Sized>(value: &T) -> Option<Arc<[u8]>> {
    let plain = postcard::to_allocvec(value).ok()?;
    let mut packed = u32::try_from(plain.len()).ok()?.to_le_bytes().to_vec();
    packed.extend(COMPRESSOR.with_borrow_mut(|packer| packer.as_mut()?.compress(&plain).ok())?);
    Some(packed.into())
}

fn decode<T: DeserializeOwned>(packed: &[u8]) -> Option<T> {
    let (length, packed) = packed.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let plain = DECOMPRESSOR.with_borrow_mut(|unpacker| unpacker.as_mut()?.decompress(packed, length).ok())?;
    postcard::from_bytes(&plain).ok()
}
