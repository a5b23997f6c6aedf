//! Source state of a stream, read and written in the wire form of either generation.

use crate::engine::failure_type::FailureType;
use crate::engine::tracker::wire::WireGeneration;
use serde::Deserialize;
use serde_json::{Value, json};
use synctop_core::protocol::{Millis, Range, time};
use synctop_core::reduce::{Ranges, gaps};

/// Unread part of a stream's range, in seconds. `cursor` is `None` before its first page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadRange {
    pub gte: i64,
    pub lt: i64,
    pub cursor: Option<String>,
}

/// Source state of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceStreamState {
    /// Total range, in seconds.
    pub total: Option<(i64, i64)>,
    pub unread: Vec<UnreadRange>,
    /// Permanent error that ended the stream.
    pub failed: Option<FailureType>,
}

#[derive(Deserialize)]
struct Seconds {
    gte: i64,
    lt: i64,
    #[serde(default)]
    page_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Backfill {
    range: Seconds,
    #[serde(default)]
    completed: Vec<Seconds>,
    #[serde(default)]
    in_flight: Vec<Seconds>,
}

#[derive(Deserialize)]
struct Iso {
    gte: String,
    lt: String,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    status: Option<String>,
    backfill: Option<Backfill>,
    accounted_range: Option<Iso>,
    remaining: Option<Vec<Iso>>,
}

/// Maximum accepted time in seconds: the year 5138.
const LATEST: u64 = 100_000_000_000;

fn seconds(text: &str) -> Option<i64> {
    time::parse(text).map(|at| at.div_euclid(1000))
}

fn iso(at: i64) -> String {
    time::iso(at * 1000)
}

/// Converts a range in seconds to a [`Range`] in milliseconds.
#[must_use]
pub fn range(gte: i64, lt: i64) -> Range {
    Range { gte: Some(gte * 1000), lt: Some(lt * 1000) }
}

impl SourceStreamState {
    /// Reads a stored state. Returns `None` for another shape.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let wire: Wire = serde_json::from_str(text).ok()?;
        let failed = wire.status.as_deref().filter(|word| word.ends_with("_error")).map(FailureType::from);
        let sane = |it: &Seconds| it.gte.unsigned_abs() <= LATEST && it.lt.unsigned_abs() <= LATEST;
        if let Some(backfill) = wire.backfill {
            if ![&backfill.range].into_iter().chain(&backfill.completed).chain(&backfill.in_flight).all(sane) {
                return None;
            }
            let total = (backfill.range.gte, backfill.range.lt);
            let known = backfill.completed.iter().chain(&backfill.in_flight).map(|range| (range.gte, range.lt));
            let unstarted =
                gaps(total.0, total.1, known).into_iter().map(|(gte, lt)| UnreadRange { gte, lt, cursor: None });
            let started = backfill.in_flight.iter();
            let started = started.map(|it| UnreadRange { gte: it.gte, lt: it.lt, cursor: it.page_cursor.clone() });
            let unread = started.chain(unstarted).collect();
            return Some(Self { total: Some(total), unread, failed });
        }
        if let (Some(total), Some(remaining)) = (wire.accounted_range, wire.remaining) {
            let total = Some((seconds(&total.gte)?, seconds(&total.lt)?));
            let unread = remaining.into_iter();
            let unread =
                unread.map(|it| Some(UnreadRange { gte: seconds(&it.gte)?, lt: seconds(&it.lt)?, cursor: it.cursor }));
            return Some(Self { total, unread: unread.collect::<Option<_>>()?, failed });
        }
        failed.map(|failed| Self { failed: Some(failed), ..Self::default() })
    }

    /// Returns the completed ranges, merged.
    #[must_use]
    pub fn completed(&self) -> Ranges {
        let Some((begin, end)) = self.total else { return Ranges::default() };
        let read = gaps(begin, end, self.unread.iter().map(|it| (it.gte, it.lt)));
        read.into_iter().map(|(gte, lt)| range(gte, lt)).collect()
    }

    /// Returns the state in the wire form of a generation.
    #[must_use]
    pub fn to_wire(&self, form: WireGeneration, segments: usize) -> Value {
        let (begin, end) = self.total.unwrap_or_default();
        match form {
            WireGeneration::Progress => {
                let unread = self.unread.iter();
                let unread = unread.map(|it| json!({"gte": iso(it.gte), "lt": iso(it.lt), "cursor": it.cursor}));
                json!({
                    "accounted_range": {"gte": iso(begin), "lt": iso(end)},
                    "remaining": unread.collect::<Vec<_>>(),
                })
            }
            WireGeneration::Trace => {
                let status = match self.failed {
                    Some(failed) => failed.as_str(),
                    None if self.unread.is_empty() => "complete",
                    None => "pending",
                };
                let second = |at: Option<Millis>| at.unwrap_or(0).div_euclid(1000);
                let completed = self.completed();
                let completed = completed.list().iter().map(|it| json!({"gte": second(it.gte), "lt": second(it.lt)}));
                let started = self.unread.iter().filter(|it| it.cursor.is_some());
                let started = started.map(|it| json!({"gte": it.gte, "lt": it.lt, "page_cursor": it.cursor}));
                json!({
                    "page_cursor": null,
                    "status": status,
                    "backfill": {
                        "range": {"gte": begin, "lt": end},
                        "num_segments": segments,
                        "completed": completed.collect::<Vec<_>>(),
                        "in_flight": started.collect::<Vec<_>>(),
                    },
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_round_trip_in_both_generations() {
        let unread = |gte, lt, cursor: Option<&str>| UnreadRange { gte, lt, cursor: cursor.map(str::to_owned) };
        let state = SourceStreamState {
            total: Some((100, 900)),
            unread: vec![unread(100, 200, None), unread(300, 400, Some("cha_1")), unread(600, 900, Some("cha_2"))],
            failed: None,
        };
        for form in [WireGeneration::Trace, WireGeneration::Progress] {
            let mut read = SourceStreamState::read(&state.to_wire(form, 3).to_string()).unwrap();
            read.unread.sort_by_key(|it| it.gte);
            assert_eq!(read, state, "{form:?}");
        }
        assert_eq!(state.completed().list(), [range(200, 300), range(400, 600)]);
        let done = SourceStreamState { unread: Vec::new(), ..state.clone() };
        for form in [WireGeneration::Trace, WireGeneration::Progress] {
            assert_eq!(SourceStreamState::read(&done.to_wire(form, 3).to_string()).unwrap(), done);
        }
        let failed = SourceStreamState { failed: Some(FailureType::Auth), ..state };
        let read = SourceStreamState::read(&failed.to_wire(WireGeneration::Trace, 3).to_string()).unwrap();
        assert_eq!(read.failed, Some(FailureType::Auth));
        assert_eq!(SourceStreamState::read("17"), None);
        assert_eq!(SourceStreamState::read("{\"cursor\": 4}"), None);
    }
}
