//! State of a source in one stream: `status` and `backfill` in the trace generation, `remaining` in
//! the progress generation.
//!
//! Two states are compared by [`StateData::identity`], which ignores key order and number formats:
//! an end state that differs from the last checkpoint of its call is ahead of the written rows
//! (corpus `stripe-live`, README 5).

use crate::protocol::lenient::{LenientSpan, Maybe, Spans, Text, When};
use crate::protocol::message::{KnownPosition, Position, Range, State};
use crate::protocol::scan::cursor::{LineCursor, once};
use crate::protocol::scan::identity::Identity;
use crate::protocol::time::Millis;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// Rows of a page of the list API: a cursor that is ahead skips at most one page.
const PAGE: u32 = 100;

fn instant(sum: Identity, at: Option<Millis>) -> Identity {
    sum.and(at.unwrap_or(Millis::MIN).cast_unsigned())
}

fn whole_range(sum: Identity, range: Option<Range>) -> Identity {
    range.map_or(sum.and(1), |range| instant(instant(sum, range.gte), range.lt))
}

/// Ranges that a source still has to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::protocol) struct Remaining {
    count: u32,
    /// Ranges with a cursor.
    begun: u32,
    /// Milliseconds that they span; unknown once one has an open end.
    span: Option<Millis>,
    /// Order-independent sum over the ranges.
    identity: u64,
}

impl Remaining {
    fn none() -> Self {
        Self { span: Some(0), ..Self::default() }
    }

    #[inline]
    fn add(&mut self, range: RemainingRange) {
        self.count += 1;
        self.begun += u32::from(range.cursor.is_some());
        let length = range.gte.zip(range.lt).map(|(gte, lt)| lt.saturating_sub(gte).max(0));
        self.span = self.span.zip(length).map(|(sum, length)| sum.saturating_add(length));
        let sum = instant(instant(Identity(range.other), range.gte), range.lt).and(range.cursor.unwrap_or(1));
        self.identity = self.identity.wrapping_add(sum.0);
    }
}

/// One of them, in its parts.
#[derive(Debug, Default)]
struct RemainingRange {
    gte: Option<Millis>,
    lt: Option<Millis>,
    /// Identity of its cursor; `None` where it has none, or null.
    cursor: Option<u64>,
    /// Sum over fields of other names.
    other: u64,
}

/// Identity of a value that may be null or missing.
#[derive(Debug, Clone, Copy, Default)]
struct MaybeIdentity(Option<u64>);

impl<'de> Deserialize<'de> for MaybeIdentity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let identity = Identity::deserialize(deserializer)?;
        Ok(Self((identity != Identity::NULL).then_some(identity.0)))
    }
}

fn named(key: &str, value: Identity) -> u64 {
    Identity::of_text(key).and(value.0).0
}

/// Data of a `source_state`, or of one stream in a returned state.
#[derive(Debug, Default)]
pub(in crate::protocol) struct StateData<'a> {
    pub(super) status: Text<'a>,
    page_cursor: Option<u64>,
    pub(super) backfill: Maybe<BackfillState>,
    accounted_range: Maybe<LenientSpan>,
    remaining: Option<Remaining>,
    /// Sum over fields of other names, which sources of other kinds have.
    other: u64,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(in crate::protocol) struct BackfillState {
    pub(super) range: Maybe<LenientSpan>,
    pub(super) completed: Spans,
    in_flight: RangesLeft,
}

/// A list of ranges; nothing when it is no array.
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
                        Some("gte") => range.gte = map.next_value::<When>()?.0,
                        Some("lt") => range.lt = map.next_value::<When>()?.0,
                        Some("cursor" | "page_cursor") => {
                            range.cursor = map.next_value::<MaybeIdentity>()?.0.or(range.cursor);
                        }
                        Some(key) => {
                            let value = map.next_value()?;
                            range.other = range.other.wrapping_add(named(key, value));
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
                            data.other = data.other.wrapping_add(named(key, value));
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
    /// Equal for equal states; never 0.
    #[inline]
    fn identity(&self) -> u64 {
        let list =
            |left: Option<Remaining>| left.map_or(1, |left| left.identity.wrapping_add(2 + u64::from(left.count)));
        let status = self.status.0.as_deref().map_or(1, |word| Identity::of_text(word).0);
        let mut sum = Identity(self.other).and(status).and(self.page_cursor.unwrap_or(1)).and(list(self.remaining));
        sum = whole_range(sum, self.accounted_range.range());
        if let Some(backfill) = &self.backfill.0 {
            sum = whole_range(sum, backfill.range.range()).and(list(backfill.in_flight.0));
            for done in backfill.completed.0.iter().flatten() {
                sum = whole_range(sum, Some(*done));
            }
        }
        sum.0.max(1)
    }

    pub(super) fn state(self) -> State<'a> {
        let in_flight = self.backfill.0.as_ref().and_then(|backfill| backfill.in_flight.0).unwrap_or_default();
        let position = KnownPosition {
            id: self.identity(),
            remaining: self.remaining.map(|left| left.span),
            page_rows: self.remaining.unwrap_or(in_flight).begun * PAGE,
        };
        self.at(Position::Known(position.into()))
    }

    #[inline]
    fn at(self, position: Position<'a>) -> State<'a> {
        let failure = self.status.0.as_ref().filter(|word| word.ends_with("_error")).map(|word| word.as_ref().into());
        let backfill = self.backfill.0.unwrap_or_default();
        let by_status = self.status.0.as_deref().map(|word| matches!(word, "complete" | "completed"));
        let by_ranges = self.remaining.map(|left| left.count == 0);
        // Either of them is enough.
        let done = by_status.max(by_ranges);
        let in_flight = backfill.in_flight.0.unwrap_or_default();
        let open = match self.status.0.as_deref() {
            _ if done == Some(true) => 0,
            // Ranges that were not begun are not listed.
            Some("pending") => in_flight.count.max(1),
            _ => in_flight.count,
        };
        State {
            done,
            left: self.remaining.map_or(open, |left| left.count),
            failure,
            total: backfill.range.range().or_else(|| self.accounted_range.range()),
            completed: backfill.completed.0,
            position,
        }
    }

    /// Reads an object as engines print it, all but its position.
    #[inline]
    pub(super) fn fast(cursor: &mut LineCursor<'a>) -> Option<State<'a>> {
        let begin = cursor.place();
        let (mut status, mut backfill, mut accounted, mut remaining) = (None, None, None, None);
        cursor.object(|cursor, key| match key {
            "status" => once(&mut status, cursor.string()?),
            "backfill" => once(&mut backfill, BackfillState::fast(cursor)?),
            "accounted_range" => once(&mut accounted, super::fast::span(cursor)?),
            "remaining" => once(&mut remaining, counted(cursor)?),
            _ => cursor.skip(),
        })?;
        let position = unread(cursor, begin)?;
        let data = Self {
            status: Text(status),
            backfill: Maybe(backfill),
            accounted_range: Maybe(accounted),
            remaining,
            ..Self::default()
        };
        Some(data.at(position))
    }

    /// `{"page_cursor":…,"status":…,"backfill":{"range":…,"num_segments":…,"completed":…,"in_flight":…}}`:
    /// the usual order.
    #[inline]
    pub(super) fn usual(cursor: &mut LineCursor<'a>) -> Option<State<'a>> {
        let begin = cursor.place();
        cursor.literal("{\"page_cursor\":")?;
        cursor.skip()?;
        cursor.literal(",\"status\":")?;
        let status = Text(Some(cursor.plain()?.into()));
        cursor.literal(",\"backfill\":{\"range\":")?;
        let range = Maybe(Some(super::fast::span(cursor)?));
        cursor.literal(",\"num_segments\":")?;
        cursor.whole()?;
        cursor.literal(",\"completed\":")?;
        let completed = Spans(Some(super::fast::spans(cursor)?));
        cursor.literal(",\"in_flight\":")?;
        let in_flight = RangesLeft(Some(counted(cursor)?));
        cursor.literal("}}")?;
        let position = unread(cursor, begin)?;
        let backfill = Maybe(Some(BackfillState { range, completed, in_flight }));
        Some(Self { status, backfill, ..Self::default() }.at(position))
    }
}

impl BackfillState {
    fn fast(cursor: &mut LineCursor) -> Option<Self> {
        let (mut range, mut completed, mut in_flight) = (None, None, None);
        cursor.object(|cursor, key| match key {
            "range" => once(&mut range, super::fast::span(cursor)?),
            "completed" => once(&mut completed, super::fast::spans(cursor)?),
            "in_flight" => once(&mut in_flight, counted(cursor)?),
            _ => cursor.skip(),
        })?;
        Some(Self { range: Maybe(range), completed: Spans(completed), in_flight: RangesLeft(in_flight) })
    }
}

/// Position of a state that is parsed on demand. An escape is left to the slow path: half of a
/// surrogate pair makes the line one that needs a repair.
fn unread<'a>(cursor: &LineCursor<'a>, begin: usize) -> Option<Position<'a>> {
    let json = cursor.since(begin)?;
    memchr::memchr(b'\\', json.as_bytes()).is_none().then_some(Position::Unread(json))
}

/// A list of ranges of which only the number counts here.
fn counted(cursor: &mut LineCursor) -> Option<Remaining> {
    let mut all = Remaining::none();
    cursor.array(|cursor| {
        all.count += 1;
        cursor.skip()
    })?;
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(json: &str) -> State<'_> {
        serde_json::from_str::<StateData>(json).unwrap().state()
    }

    fn fast(json: &str) -> Option<State<'_>> {
        let mut cursor = LineCursor::new(json);
        let state = StateData::fast(&mut cursor)?;
        cursor.ended()?;
        Some(state)
    }

    fn id(json: &str) -> u64 {
        slow(json).position.known().unwrap().id
    }

    const PROGRESS: &str = r#"{"accounted_range":{"gte":"2025-01-01T00:00:00.000Z","lt":"2025-01-11T00:00:00.000Z"},"remaining":[{"gte":"2025-01-01T00:00:00.000Z","lt":"2025-01-02T00:00:00.000Z","cursor":"c1"},{"gte":"2025-01-03T00:00:00.000Z","lt":"2025-01-04T00:00:00.000Z","cursor":null}]}"#;
    const TRACE: &str = r#"{"page_cursor":null,"status":"pending","backfill":{"range":{"gte":1700000000,"lt":1700100000},"num_segments":2,"completed":[{"gte":1700000000,"lt":1700000100}],"in_flight":[{"gte":1700000100,"lt":1700100000,"page_cursor":"x"}]}}"#;

    #[test]
    fn both_ways_read_the_same_state() {
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
    fn equal_states_have_one_identity_and_others_another() {
        let spaced = PROGRESS.replace(',', ", ").replace(".000Z", "Z");
        assert_eq!(id(&spaced), id(PROGRESS));
        let turned = r#"{"remaining":[{"cursor":null,"lt":"2025-01-04T00:00:00.000Z","gte":"2025-01-03T00:00:00.000Z"},{"gte":"2025-01-01T00:00:00.000Z","lt":"2025-01-02T00:00:00.000Z","cursor":"c1"}],"accounted_range":{"gte":"2025-01-01T00:00:00.000Z","lt":"2025-01-11T00:00:00.000Z"}}"#;
        assert_eq!(id(turned), id(PROGRESS));
        for (from, to) in [("\"c1\"", "\"c2\""), ("\"c1\"", "null"), ("01-04", "01-05"), ("01-11", "01-12")] {
            assert_ne!(id(&PROGRESS.replace(from, to)), id(PROGRESS), "{from} {to}");
        }
        for (from, to) in [("\"x\"", "\"y\""), ("pending", "complete"), ("1700000100}]", "1700000200}]")] {
            assert_ne!(id(&TRACE.replace(from, to)), id(TRACE), "{from} {to}");
        }
        assert_ne!(id(r#"{"offset":17}"#), id(r#"{"offset":18}"#));
    }

    #[test]
    fn the_remainder_is_measured() {
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
