//! Lookup of streams by name, and their order by name. Both grow with each new stream and are
//! shared with snapshots.

use crate::protocol::MAX_STREAMS;
use crate::protocol::values::{KEY_SEPARATOR, stream_key};
use crate::reduce::state::feed::cut;
use crate::reduce::state::stream::Stream;
use crate::reduce::state::streams::Streams;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::sync::{Arc, OnceLock};

/// Index of streams beyond the maximum: that of no stream.
pub(crate) const BEYOND: usize = usize::MAX;

/// Maximum length of a stream's name in bytes.
pub const MAX_NAME: usize = 1_024;

/// Bytes of a longer name that are stored.
const NAME_START: usize = 512;

/// Indexes of the streams.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StreamLookup {
    #[serde(skip)]
    names: Arc<Names>,
    #[serde(skip)]
    order: NameOrder,
    /// Index of the stream that was looked up last; consecutive records mostly share a stream.
    pub(crate) last_stream: usize,
    pub(crate) max_streams: usize,
}

/// Table of the streams by name. It may contain streams that a later progress of the same log has:
/// their indexes are those that the streams get here as well.
#[derive(Debug, Clone, Default)]
struct Names {
    table: HashTable<u32>,
    /// Seeded at random for each process, because names come from the feed.
    hasher: DefaultHashBuilder,
    /// Streams whose names contain secrets, by their keys on the wire.
    masked: HashMap<Box<str>, u32>,
    /// Number of streams in the table.
    count: usize,
}

/// Indexes of the streams sorted by name, brought up to date on demand. Clones share the result: the
/// snapshot that is shown sorts for the progress it was taken from.
#[derive(Debug, Clone, Default)]
struct NameOrder {
    sorted: Arc<Vec<u32>>,
    current: Arc<OnceLock<Arc<Vec<u32>>>>,
}

impl Default for StreamLookup {
    fn default() -> Self {
        Self { names: Arc::default(), order: NameOrder::default(), last_stream: 0, max_streams: MAX_STREAMS }
    }
}

/// Lookups of equal streams are equal.
impl PartialEq for StreamLookup {
    fn eq(&self, other: &Self) -> bool {
        (self.last_stream, self.max_streams) == (other.last_stream, other.max_streams)
    }
}

impl StreamLookup {
    /// Returns the index of a stream by its name.
    pub(crate) fn find(&self, streams: &Streams, space: Option<&str>, name: &str) -> Option<usize> {
        let (space, name) = (space.map(bounded_name), bounded_name(name));
        let (space, name) = (space.as_deref(), &*name);
        let names = &*self.names;
        let same = |at: &u32| streams.get(*at as usize).is_some_and(|stream| is_named(stream, space, name));
        let at = names.table.find(names.hash(space, name), same).or_else(|| {
            let key = (!names.masked.is_empty()).then(|| stream_key(space, name))?;
            names.masked.get(&*key)
        })?;
        Some(*at as usize).filter(|at| *at < streams.len())
    }

    /// Returns the index of a stream by its key (see [`crate::protocol::Name::key`]).
    pub(crate) fn find_key(&self, streams: &Streams, key: &str) -> Option<usize> {
        match key.split_once(KEY_SEPARATOR) {
            Some((space, name)) => self.find(streams, Some(space), name),
            None => self.find(streams, None, key),
        }
    }

    /// Adds the last stream of the list, whose name on the wire is given.
    pub(crate) fn add_last(&mut self, streams: &Streams, space: Option<&str>, name: &str) {
        let Some((stream, at)) = streams.last().zip(u32::try_from(streams.len() - 1).ok()) else { return };
        if let Some(order) = self.order.current.get() {
            self.order.sorted = Arc::clone(order);
        }
        self.order.current = Arc::default();
        if self.names.count >= streams.len() {
            // A later progress of the same log has added it already, unless its lines differ.
            if self.find(streams, space, name) == Some(at as usize) {
                return;
            }
            self.names = Arc::new(Names::of(streams, at, &self.names.masked));
            self.order = NameOrder::default();
        }
        let names = Arc::make_mut(&mut self.names);
        names.insert(streams, at);
        if !is_named(stream, space, name) {
            names.masked.insert(stream_key(space, name).into(), at);
        }
    }

    /// Takes over the lookup of a later progress of the same log, which has all streams of this
    /// one at the same indexes.
    pub(crate) fn share(&mut self, later: &Self) {
        self.names = Arc::clone(&later.names);
        let order = later.order.current.get().unwrap_or(&later.order.sorted);
        self.order = NameOrder { sorted: Arc::clone(order), current: Arc::default() };
    }

    /// Returns the indexes of the streams, sorted by name.
    pub(crate) fn order(&self, streams: &Streams) -> &[u32] {
        self.order.current.get_or_init(|| {
            let sorted = &self.order.sorted;
            if sorted.len() == streams.len() {
                return Arc::clone(sorted);
            }
            let known = sorted.iter().copied().filter(|at| (*at as usize) < streams.len());
            let mut order: Vec<u32> = known.collect();
            let first = u32::try_from(sorted.len()).unwrap_or(u32::MAX);
            order.extend(first..u32::try_from(streams.len()).unwrap_or(u32::MAX));
            let name = |at: &u32| streams.get(*at as usize).map(|s| (&*s.name, s.namespace.as_deref()));
            // A stable sort takes the sorted part as it is.
            order.sort_by(|one, other| name(one).cmp(&name(other)));
            Arc::new(order)
        })
    }
}

impl Names {
    /// Creates the table of the first `count` streams.
    fn of(streams: &Streams, count: u32, masked: &HashMap<Box<str>, u32>) -> Self {
        let known = masked.iter().filter(|(_, at)| **at < count);
        let masked = known.map(|(key, at)| (key.clone(), *at)).collect();
        let mut names = Self { masked, ..Self::default() };
        for at in 0..count {
            names.insert(streams, at);
        }
        names
    }

    fn insert(&mut self, streams: &Streams, at: u32) {
        let Self { table, hasher, count, .. } = self;
        let hash_of = |at: &u32| {
            let stream = streams.get(*at as usize);
            stream.map_or(0, |stream| hash(hasher, stream.namespace.as_deref(), &stream.name))
        };
        table.insert_unique(hash_of(&at), at, hash_of);
        *count += 1;
    }

    fn hash(&self, space: Option<&str>, name: &str) -> u64 {
        hash(&self.hasher, space, name)
    }
}

/// Returns a name of bounded length: of a longer one its start, and the hash that distinguishes it.
pub(crate) fn bounded_name(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_NAME {
        return Cow::Borrowed(name);
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    Cow::Owned(format!("{}…{:016x}", cut(name, NAME_START), hasher.finish()))
}

fn hash(hasher: &DefaultHashBuilder, space: Option<&str>, name: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(space.unwrap_or_default().as_bytes());
    hasher.write_u8(u8::from(space.is_some()));
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn is_named(stream: &Stream, space: Option<&str>, name: &str) -> bool {
    *stream.name == *name && stream.namespace.as_deref() == space
}
