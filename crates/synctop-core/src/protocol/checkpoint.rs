//! Claims of checkpoints: emitted states, their positions, and the streams that they cover.

use super::failure::Failure;
use super::time::Millis;
use super::values::{Name, Range};

/// `source_state` or STATE line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint<'a> {
    /// Absent for a global state.
    pub stream: Option<Name<'a>>,
    /// State of the source in this stream (Stripe's `source_state.data`); empty in other protocols.
    pub state: State<'a>,
    /// Emitted state, for protocols whose destination returns states.
    pub handed: Option<Box<EmittedState<'a>>>,
    /// Failures that the state reports: of its source, or of records that a target refused. Without
    /// a stream it is the one that was syncing.
    pub failures: Vec<Failure<'a>>,
    /// True if a destination emitted it after its rows. It may then follow the source's own
    /// "complete".
    pub late: bool,
}

/// State that a source emits, and that a destination returns once everything before it is durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmittedState<'a> {
    /// Streams of a global or complete state.
    pub streams: Vec<StreamCursor<'a>>,
    /// True if the complete state is repeated each time, so that it is a checkpoint of the streams
    /// whose part changed.
    pub whole: bool,
    /// Current stream of the source, if reported.
    pub current: Option<Name<'a>>,
    /// Hash of the state. A destination returns a state with the same hash.
    pub id: u64,
    /// Records since the previous state, as counted by the source.
    pub records: Option<u64>,
    /// True if a destination returned it.
    pub committed: bool,
}

/// Position of one stream in a state.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamCursor<'a> {
    /// Stream of the position: a key of Singer's `bookmarks`, or Airbyte's `stream_descriptor`.
    pub stream: Name<'a>,
    /// Hash of the position.
    pub id: u64,
}

/// Source state of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State<'a> {
    /// True if nothing is left of the stream; `None` if the state does not say so.
    pub done: Option<bool>,
    /// Number of ranges left to read.
    pub left: u32,
    /// The failure type of a `*_error` status.
    pub failure: Option<Box<str>>,
    /// Time range to read (Stripe's `backfill.range` or `accounted_range`), if listed.
    pub total: Option<Range>,
    /// Ranges that are read (Stripe's `backfill.completed`), if listed.
    pub completed: Option<Vec<Range>>,
    /// Position in the stream, for comparison with other states.
    pub position: Position<'a>,
}

impl State<'_> {
    /// Returns the length of the total range that is read, in milliseconds.
    #[must_use]
    pub fn read(&self) -> Option<Millis> {
        let total = self.total?;
        Some(total.lt? - total.gte? - self.position.known()?.remaining.flatten()?)
    }
}

/// Position of a source in one stream.
#[derive(Debug, Clone, Default)]
pub enum Position<'a> {
    /// No position, as in all states of Airbyte and Singer.
    #[default]
    Unknown,
    /// JSON of the state, parsed on demand, because most positions are soon replaced by the next.
    Unparsed(&'a str, ParsePosition),
    /// Parsed position.
    Known(Box<KnownPosition>),
}

/// Parsed position of a source in one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KnownPosition {
    /// Hash of the state; never 0.
    pub id: u64,
    /// Milliseconds left to read. The outer `None` means that the state lists no ranges, the inner
    /// one that a range has an open end.
    pub remaining: Option<Option<Millis>>,
    /// Maximum number of rows that a client skips if it continues from this state although the
    /// pages at its cursors were not written.
    pub page_rows: u32,
}

impl Position<'_> {
    /// Returns the parsed position, if any. Parses the JSON of an unparsed one on each call.
    #[must_use]
    pub fn known(&self) -> Option<KnownPosition> {
        match self {
            Self::Unknown => None,
            Self::Unparsed(json, parse) => parse(json),
            Self::Known(known) => Some(**known),
        }
    }
}

impl PartialEq for Position<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.known() == other.known()
    }
}

/// Parser of a position, given by the adapter that kept its JSON.
pub type ParsePosition = fn(&str) -> Option<KnownPosition>;
