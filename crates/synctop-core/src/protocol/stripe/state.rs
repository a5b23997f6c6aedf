//! State of a source in one stream: `status` and `backfill` in the trace generation, `remaining` in
//! the progress generation.
//!
//! Two states are compared by [`StateData::identity`], which ignores key order and number formats.
//! An end state that differs from the last checkpoint of its call is ahead of the written rows
//! (corpus `stripe-live`, README 5).

use super::spans::{span, spans};
use crate::protocol::lenient::{LenientInstant, LenientRange, LenientRanges, Maybe, Text};
use crate::protocol::message::{KnownPosition, Position, Range, State};
use crate::protocol::scan::cursor::{LineCursor, set_once};
use crate::protocol::scan::identity::Identity;
use crate::protocol::time::Millis;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// Rows of a page of the list API. A cursor ahead of the written rows skips at most one page.
const ROWS_PER_PAGE: u32 = 100;

fn hash_instant(sum: Identity, at: Option<Millis>) -> Identity {
    sum.and(at.unwrap_or(Millis::MIN).cast_unsigned())
}

fn hash_range(sum: Identity, range: Option<Range>) -> Identity {
    range.map_or(sum.and(1), |range| hash_instant(hash_instant(sum, range.gte), range.lt))
}

/// Summary of the ranges that a source still has to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::protocol) struct Remaining {
    count: u32,
    /// Number of ranges with a cursor.
    with_cursor: u32,
    /// Total length in milliseconds; `None` as soon as a range has an open end.
    length: Option<Millis>,
    /// Order-independent hash of the ranges.
    identity: u64,
}

impl Remaining {
    fn none() -> Self {
        Self { length: Some(0), ..Self::default() }
    }

    #[inline]
    fn add(&mut self, range: RemainingRange) {
        self.count += 1;
        self.with_cursor += u32::from(range.cursor.is_some());
        let length = range.gte.zip(range.lt).map(|(gte, lt)| lt.saturating_sub(gte).max(0));
        self.length = self.length.zip(length).map(|(sum, length)| sum.saturating_add(length));
        let sum = hash_instant(hash_instant(Identity(range.other), range.gte), range.lt).and(range.cursor.unwrap_or(1));
        self.identity = self.identity.wrapping_add(sum.0);
    }
}

/// Range that a source still has to read.
#[derive(Debug, Default)]
struct RemainingRange {
    gte: Option<Millis>,
    lt: Option<Millis>,
    /// Hash of the cursor; `None` if it is absent or null.
    cursor: Option<u64>,
    /// Order-independent hash of all other fields.
    other: u64,
}

/// Hash of a value; `None` if it is absent or null.
#[derive(Debug, Clone, Copy, Default)]
struct MaybeIdentity(Option<u64>);

impl<'de> Deserialize<'de> for MaybeIdentity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let identity = Identity::deserialize(deserializer)?;
        Ok(Self((identity != Identity::NULL).then_some(identity.0)))
    }
}

fn hash_field(key: &str, value: Identity) -> u64 {
    Identity::of_text(key).and(value.0).0
}

/// Data of a `source_state`, or of one stream in a returned state.
#[derive(Debug, Default)]
pub(in crate::protocol) struct StateData<'a> {
    pub(super) status: Text<'a>,
    page_cursor: Option<u64>,
    pub(super) backfill: Maybe<BackfillState>,
    accounted_range: Maybe<LenientRange>,
    remaining: Option<Remaining>,
    /// Order-independent hash of all other fields, which other sources may have.
    other: u64,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(in crate::protocol) struct BackfillState {
    pub(super) range: Maybe<LenientRange>,
    pub(super) completed: LenientRanges,
    in_flight: RangesLeft,
}

/// Summary of an array of ranges; `None` for any other value.
#[derive(Debug, Clone, Copy, Default)]
struct RangesLeft(Option<Remaining>);

impl<'de> Deserialize<'de> for RangesLeft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = crate::protocol::lenient::Seq::<Maybe<RemainingRange>>::deserialize(deserializer)?;
        Ok(Self(list.0.map(|list| {
            let mut all = Remaining::none();
            for range in list {
                all.add(range.0.unwrap_or_default());
            }
            all
        })))
    }
}

impl<'de> Deserialize<'de> for RemainingRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = RemainingRange;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a range")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RemainingRange, A::Error> {
                let mut range = RemainingRange::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match key.0.as_deref() {
                        Some("gte") => range.gte = map.next_value::<LenientInstant>()?.0,
                        Some("lt") => range.lt = map.next_value::<LenientInstant>()?.0,
                        Some("cursor" | "page_cursor") => {
                            range.cursor = map.next_value::<MaybeIdentity>()?.0.or(range.cursor);
                        }
                        Some(key) => {
                            let value = map.next_value()?;
                            range.other = range.other.wrapping_add(hash_field(key, value));
                        }
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(range)
            }
        }
        deserializer.deserialize_map(V)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for StateData<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = StateData<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a state")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StateData<'de>, A::Error> {
                let mut data = StateData::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match key.0.as_deref() {
                        Some("status") => data.status = map.next_value()?,
                        Some("page_cursor") => data.page_cursor = map.next_value::<MaybeIdentity>()?.0,
                        Some("backfill") => data.backfill = map.next_value()?,
                        Some("accounted_range") => data.accounted_range = map.next_value()?,
                        Some("remaining") => data.remaining = map.next_value::<RangesLeft>()?.0,
                        Some(key) => {
                            let value = map.next_value()?;
                            data.other = data.other.wrapping_add(hash_field(key, value));
                        }
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(data)
            }
        }
        deserializer.deserialize_map(V)
    }
}

impl<'a> StateData<'a> {
    /// Returns the hash of the state; never 0.
    #[inline]
    fn identity(&self) -> u64 {
        let list =
            |left: Option<Remaining>| left.map_or(1, |left| left.identity.wrapping_add(2 + u64::from(left.count)));
        let status = self.status.0.as_deref().map_or(1, |word| Identity::of_text(word).0);
        let mut sum = Identity(self.other).and(status).and(self.page_cursor.unwrap_or(1)).and(list(self.remaining));
        sum = hash_range(sum, self.accounted_range.range());
        if let Some(backfill) = &self.backfill.0 {
            sum = hash_range(sum, backfill.range.range()).and(list(backfill.in_flight.0));
            for done in backfill.completed.0.iter().flatten() {
                sum = hash_range(sum, Some(*done));
            }
        }
        sum.0.max(1)
    }

    /// Converts the data to a state with its position.
    pub(super) fn into_state(self) -> State<'a> {
        let in_flight = self.backfill.0.as_ref().and_then(|backfill| backfill.in_flight.0).unwrap_or_default();
        let position = KnownPosition {
            id: self.identity(),
            remaining: self.remaining.map(|left| left.length),
            page_rows: self.remaining.unwrap_or(in_flight).with_cursor * ROWS_PER_PAGE,
        };
        self.with_position(Position::Known(position.into()))
    }

    #[inline]
    fn with_position(self, position: Position<'a>) -> State<'a> {
        let backfill = self.backfill.0.unwrap_or_default();
        let total = backfill.range.range().or_else(|| self.accounted_range.range());
        let ranges = RangesLeft(self.remaining);
        state(self.status.0.as_deref(), ranges, backfill.in_flight, total, backfill.completed.0, position)
    }

    /// Reads an object in engine format with fields in any order. The position is left unparsed.
    #[inline]
    pub(super) fn fast(cursor: &mut LineCursor<'a>) -> Option<State<'a>> {
        let start = cursor.bytes_read();
        let (mut status, mut backfill, mut accounted, mut remaining) = (None, None, None, None);
        cursor.object(|cursor, key| match key {
            "status" => set_once(&mut status, cursor.string()?),
            "backfill" => set_once(&mut backfill, BackfillState::fast(cursor)?),
            "accounted_range" => set_once(&mut accounted, span(cursor)?),
            "remaining" => set_once(&mut remaining, count_ranges(cursor)?),
            _ => cursor.skip(),
        })?;
        let position = unparsed_position(cursor, start)?;
        let data = Self {
            status: Text(status),
            backfill: Maybe(backfill),
            accounted_range: Maybe(accounted),
            remaining,
            ..Self::default()
        };
        Some(data.with_position(position))
    }

    /// Reads an object with the fields `page_cursor`, `status` and `backfill` (`range`,
    /// `num_segments`, `completed`, `in_flight`), in this order and without others.
    #[inline]
    pub(super) fn usual(cursor: &mut LineCursor<'a>) -> Option<State<'a>> {
        let start = cursor.bytes_read();
        cursor.literal("{\"page_cursor\":")?;
        cursor.skip()?;
        cursor.literal(",\"status\":")?;
        let status = cursor.plain()?;
        cursor.literal(",\"backfill\":{\"range\":")?;
        let range = span(cursor)?.range();
        cursor.literal(",\"num_segments\":")?;
        cursor.unsigned()?;
        cursor.literal(",\"completed\":")?;
        let completed = Some(spans(cursor)?);
        cursor.literal(",\"in_flight\":")?;
        let in_flight = RangesLeft(Some(count_ranges(cursor)?));
        cursor.literal("}}")?;
        let position = unparsed_position(cursor, start)?;
        Some(state(Some(status), RangesLeft(None), in_flight, range, completed, position))
    }
}

impl BackfillState {
    fn fast(cursor: &mut LineCursor) -> Option<Self> {
        let (mut range, mut completed, mut in_flight) = (None, None, None);
        cursor.object(|cursor, key| match key {
            "range" => set_once(&mut range, span(cursor)?),
            "completed" => set_once(&mut completed, spans(cursor)?),
            "in_flight" => set_once(&mut in_flight, count_ranges(cursor)?),
            _ => cursor.skip(),
        })?;
        Some(Self { range: Maybe(range), completed: LenientRanges(completed), in_flight: RangesLeft(in_flight) })
    }
}

/// Returns the state of a stream: `listed` are the ranges left, `in_flight` those that were requested.
#[inline]
fn state<'a>(
    status: Option<&str>,
    RangesLeft(listed): RangesLeft,
    RangesLeft(in_flight): RangesLeft,
    total: Option<Range>,
    completed: Option<Vec<Range>>,
    position: Position<'a>,
) -> State<'a> {
    let failure = status.filter(|word| word.ends_with("_error")).map(Into::into);
    let by_status = status.map(|word| matches!(word, "complete" | "completed"));
    let by_ranges = listed.map(|left| left.count == 0);
    // Status and ranges may each report the end: either one is enough.
    let done = by_status.max(by_ranges);
    let in_flight = in_flight.map_or(0, |left| left.count);
    let open = match status {
        _ if done == Some(true) => 0,
        // Ranges without a request so far are not listed.
        Some("pending") => in_flight.max(1),
        _ => in_flight,
    };
    State { done, left: listed.map_or(open, |left| left.count), failure, total, completed, position }
}

/// Returns the position as JSON, to be parsed on demand. Returns `None` if it has an escape or a
/// large exponent: an unpaired surrogate and a number beyond `f64` require a repair of the line,
/// which is left to the slow path.
fn unparsed_position<'a>(cursor: &LineCursor<'a>, start: usize) -> Option<Position<'a>> {
    let json = cursor.text_since(start)?;
    let bytes = json.as_bytes();
    // Without an early exit, many bytes are compared at once.
    #[expect(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch for each byte")]
    let may_differ = bytes.iter().zip(bytes.get(1..)?).fold(false, |found, (before, byte)| {
        found | (*byte == b'\\') | (before.is_ascii_digit() & ((byte | 0x20) == b'e'))
    });
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let has_large_exponent = |at: usize| {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at > 0 && is_digit(at - 1) && (1..=3).all(|digit| is_digit(at + sign + digit))
    };
    let is_plain = !may_differ
        || (memchr::memchr(b'\\', bytes).is_none() && !memchr::memchr2_iter(b'e', b'E', bytes).any(has_large_exponent));
    is_plain.then_some(Position::Unparsed(json, parse_position))
}

/// Counts the ranges of an array without reading them.
fn count_ranges(cursor: &mut LineCursor) -> Option<Remaining> {
    let mut all = Remaining::none();
    cursor.array(|cursor| {
        all.count += 1;
        cursor.skip()
    })?;
    Some(all)
}

/// Parses the position in the state of one stream.
fn parse_position(json: &str) -> Option<KnownPosition> {
    serde_json::from_str::<StateData>(json).ok()?.into_state().position.known()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(json: &str) -> State<'_> {
        serde_json::from_str::<StateData>(json).unwrap().into_state()
    }

    fn fast(json: &str) -> Option<State<'_>> {
        let mut cursor = LineCursor::new(json);
        let state = StateData::fast(&mut cursor)?;
        cursor.expect_end()?;
        Some(state)
    }

    fn id(json: &str) -> u64 {
        slow(json).position.known().unwrap().id
    }

    const PROGRESS: &str = r#"{"accounted_range":{"gte":"2025-01-01T00:00:00.000Z","lt":"2025-01-11T00:00:00.000Z"},"remaining":[{"gte":"2025-01-01T00:00:00.000Z","lt":"2025-01-02T00:00:00.000Z","cursor":"c1"},{"gte":"2025-01-03T00:00:00.000Z","lt":"2025-01-04T00:00:00.000Z","cursor":null}]}"#;
    const TRACE: &str = r#"{"page_cursor":null,"status":"pending","backfill":{"range":{"gte":1700000000,"lt":1700100000},"num_segments":2,"completed":[{"gte":1700000000,"lt":1700000100}],"in_flight":[{"gte":1700000100,"lt":1700100000,"page_cursor":"x"}]}}"#;

    #[test]
    fn fast_and_slow_path_read_the_same_state() {
        for json in [
            PROGRESS,
            TRACE,
            r#"{"remaining":[]}"#,
            r#"{"cursor":{"a":1},"offset":17}"#,
            r#"{"status":"auth_error","page_cursor":null}"#,
        ] {
            assert_eq!(fast(json).unwrap(), slow(json), "{json}");
        }
        let mut cursor = LineCursor::new(TRACE);
        assert_eq!(StateData::usual(&mut cursor).unwrap(), slow(TRACE));
    }

    #[test]
    fn only_equal_states_have_equal_hashes() {
        let spaced = PROGRESS.replace(',', ", ").replace(".000Z", "Z");
        assert_eq!(id(&spaced), id(PROGRESS));
        let reordered = r#"{"remaining":[{"cursor":null,"lt":"2025-01-04T00:00:00.000Z","gte":"2025-01-03T00:00:00.000Z"},{"gte":"2025-01-01T00:00:00.000Z","lt":"2025-01-02T00:00:00.000Z","cursor":"c1"}],"accounted_range":{"gte":"2025-01-01T00:00:00.000Z","lt":"2025-01-11T00:00:00.000Z"}}"#;
        assert_eq!(id(reordered), id(PROGRESS));
        for (from, to) in [("\"c1\"", "\"c2\""), ("\"c1\"", "null"), ("01-04", "01-05"), ("01-11", "01-12")] {
            assert_ne!(id(&PROGRESS.replace(from, to)), id(PROGRESS), "{from} {to}");
        }
        for (from, to) in [("\"x\"", "\"y\""), ("pending", "complete"), ("1700000100}]", "1700000200}]")] {
            assert_ne!(id(&TRACE.replace(from, to)), id(TRACE), "{from} {to}");
        }
        assert_ne!(id(r#"{"offset":17}"#), id(r#"{"offset":18}"#));
    }

    #[test]
    fn remaining_ranges_are_measured() {
        let measured = |json| {
            let state = slow(json);
            let known = state.position.known().unwrap();
            (state.left, known.remaining, known.page_rows)
        };
        assert_eq!(measured(PROGRESS), (2, Some(Some(2 * 86_400_000)), 100));
        assert_eq!(measured(TRACE), (1, None, 100));
        assert_eq!(measured(r#"{"remaining":[]}"#), (0, Some(Some(0)), 0));
        assert_eq!(measured(r#"{"remaining":[{"lt":"2025-01-02T00:00:00.000Z"}]}"#), (1, Some(None), 0));
    }
}
