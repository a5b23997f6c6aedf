//! A [`Progress`] in few bytes, so that hundreds of them fit into memory: what a log of any size is rewound by.
//!
//! Streams are packed in pages; a page of which no stream changed is the one of the snapshot before. Errors and feed likewise.

use super::{Errors, Feed, Group, Progress, Stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::sync::Arc;
use zstd::bulk::{Compressor, Decompressor};

/// Streams of a page: few enough that a stream that changes alone costs little, enough that packing finds what repeats.
const PAGE: usize = 64;

/// The quickest level that still finds names and times that repeat.
const LEVEL: i32 = 1;

/// One snapshot.
#[derive(Debug, Clone)]
pub struct Packed {
    core: Arc<[u8]>,
    pages: Vec<Arc<[u8]>>,
    errors: Arc<[u8]>,
    feed: Arc<[u8]>,
}

impl Packed {
    /// Packs a snapshot; `before` is an earlier one of the same log and what it was packed to. `None` if it cannot be packed.
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
        let feed = before.filter(|(old, _)| old.feed.same(&progress.feed)).map(|(_, packed)| &packed.feed);
        Some(Self {
            core: squeeze(progress)?,
            pages,
            errors: errors.cloned().map_or_else(|| squeeze(&progress.errors), Some)?,
            feed: feed.cloned().map_or_else(|| squeeze(&progress.feed), Some)?,
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
        progress.feed = spread(&self.feed)?;
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
            + own(&self.feed, before.map(|old| &old.feed))
            + self.core.len()
    }
}

impl Errors {
    /// Nothing was added or cleared since.
    fn same(&self, other: &Self) -> bool {
        let ptr_eq = |(one, other): (&Arc<Group>, &Arc<Group>)| Arc::ptr_eq(one, other);
        self.total == other.total
            && self.groups().len() == other.groups().len()
            && self.groups().iter().zip(other.groups()).all(ptr_eq)
    }
}

impl Feed {
    /// Nothing was added since.
    fn same(&self, other: &Self) -> bool {
        self.total == other.total
            && match (self.lines().back(), other.lines().back()) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (None, None) => true,
                _ => false,
            }
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

/// Dialects are known by name.
pub(super) mod dialect {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const KNOWN: [&str; 1] = ["stripe"];

    #[expect(clippy::ref_option_ref, reason = "serde calls it so")]
    pub fn serialize<S: Serializer>(name: &Option<&'static str>, to: S) -> Result<S::Ok, S::Error> {
        name.and_then(|name| KNOWN.iter().position(|known| *known == name)).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'static str>, D::Error> {
        let at = Option::<usize>::deserialize(from)?;
        Ok(at.and_then(|at| KNOWN.get(at).copied()))
    }
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
