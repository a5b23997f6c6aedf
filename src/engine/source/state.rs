//! State of a stream between attempts, in the form of either generation; both are read.

use crate::engine::classify::FailureType;
use crate::engine::tracker::wire::Form;
use serde::Deserialize;
use serde_json::{Value, json};
use synctop_core::protocol::{Millis, Range, time};
use synctop_core::reduce::{Ranges, gaps};

/// A part of a stream's range that is still to be read, in seconds. Without a cursor it was not
/// begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub gte: i64,
    pub lt: i64,
    pub cursor: Option<String>,
}

/// One stream. The total range is in seconds too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceStreamState {
    pub total: Option<(i64, i64)>,
    pub left: Vec<Left>,
    /// It ended with a permanent error.
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

/// Seconds beyond this are no time: the year 5138.
const LATEST: u64 = 100_000_000_000;

fn seconds(text: &str) -> Option<i64> {
    time::parse(text).map(|at| at.div_euclid(1000))
}

fn iso(at: i64) -> String {
    time::iso(at * 1000)
}

/// A range of seconds as everybody else has ranges.
#[must_use]
pub fn range(gte: i64, lt: i64) -> Range {
    Range { gte: Some(gte * 1000), lt: Some(lt * 1000) }
}

impl SourceStreamState {
    /// Reads a stored state; nothing of another shape.
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
            let unbegun = gaps(total.0, total.1, known).into_iter().map(|(gte, lt)| Left { gte, lt, cursor: None });
            let begun = backfill.in_flight.iter();
            let begun = begun.map(|it| Left { gte: it.gte, lt: it.lt, cursor: it.page_cursor.clone() });
            let left = begun.chain(unbegun).collect();
            return Some(Self { total: Some(total), left, failed });
        }
        if let (Some(total), Some(remaining)) = (wire.accounted_range, wire.remaining) {
            let total = Some((seconds(&total.gte)?, seconds(&total.lt)?));
            let left = remaining.into_iter();
            let left = left.map(|it| Some(Left { gte: seconds(&it.gte)?, lt: seconds(&it.lt)?, cursor: it.cursor }));
            return Some(Self { total, left: left.collect::<Option<_>>()?, failed });
        }
        failed.map(|failed| Self { failed: Some(failed), ..Self::default() })
    }

    /// Completed ranges, merged.
    #[must_use]
    pub fn completed(&self) -> Ranges {
        let Some((begin, end)) = self.total else { return Ranges::default() };
        let read = gaps(begin, end, self.left.iter().map(|it| (it.gte, it.lt)));
        read.into_iter().map(|(gte, lt)| range(gte, lt)).collect()
    }

    /// As the source hands it out.
    #[must_use]
    pub fn form(&self, form: Form, segments: usize) -> Value {
        let (begin, end) = self.total.unwrap_or_default();
        match form {
            Form::Progress => {
                let left = self.left.iter();
                let left = left.map(|it| json!({"gte": iso(it.gte), "lt": iso(it.lt), "cursor": it.cursor}));
                json!({
                    "accounted_range": {"gte": iso(begin), "lt": iso(end)},
                    "remaining": left.collect::<Vec<_>>(),
                })
            }
            Form::Trace => {
                let status = match self.failed {
                    Some(failed) => failed.as_str(),
                    None if self.left.is_empty() => "complete",
                    None => "pending",
                };
                let second = |at: Option<Millis>| at.unwrap_or(0).div_euclid(1000);
                let completed = self.completed();
                let completed = completed.list().iter().map(|it| json!({"gte": second(it.gte), "lt": second(it.lt)}));
                let begun = self.left.iter().filter(|it| it.cursor.is_some());
                let begun = begun.map(|it| json!({"gte": it.gte, "lt": it.lt, "page_cursor": it.cursor}));
                json!({
                    "page_cursor": null,
                    "status": status,
                    "backfill": {
                        "range": {"gte": begin, "lt": end},
                        "num_segments": segments,
                        "completed": completed.collect::<Vec<_>>(),
                        "in_flight": begun.collect::<Vec<_>>(),
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
    fn what_was_handed_out_is_read_again_in_either_form() {
        let left = |gte, lt, cursor: Option<&str>| Left { gte, lt, cursor: cursor.map(str::to_owned) };
        let state = SourceStreamState {
            total: Some((100, 900)),
            left: vec![left(100, 200, None), left(300, 400, Some("cha_1")), left(600, 900, Some("cha_2"))],
            failed: None,
        };
        for form in [Form::Trace, Form::Progress] {
            let mut read = SourceStreamState::read(&state.form(form, 3).to_string()).unwrap();
            read.left.sort_by_key(|it| it.gte);
            assert_eq!(read, state, "{form:?}");
        }
        assert_eq!(state.completed().list(), [range(200, 300), range(400, 600)]);
        let done = SourceStreamState { left: Vec::new(), ..state.clone() };
        for form in [Form::Trace, Form::Progress] {
            assert_eq!(SourceStreamState::read(&done.form(form, 3).to_string()).unwrap(), done);
        }
        let failed = SourceStreamState { failed: Some(FailureType::Auth), ..state };
        let read = SourceStreamState::read(&failed.form(Form::Trace, 3).to_string()).unwrap();
        assert_eq!(read.failed, Some(FailureType::Auth));
        assert_eq!(SourceStreamState::read("17"), None);
        assert_eq!(SourceStreamState::read("{\"cursor\": 4}"), None);
    }
}
