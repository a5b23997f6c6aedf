//! Lines on stdout of taps and targets.

use super::logs::json as json_log;
use crate::protocol::adapter::Message;
use crate::protocol::lenient::{Entries, LenientInstant, Maybe, Text};
use crate::protocol::message::{
    Activity, Checkpoint, EmittedState, ErrorLevel, Failure, Kind, Name, Record, StreamClaim, StreamCursor,
};
use crate::protocol::scan::identity::Identity;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    stream: Text<'a>,
    record: Maybe<Nothing>,
    schema: Maybe<Nothing>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    manifest: Option<Identity>,
    time_extracted: LenientInstant,
    #[serde(borrow)]
    bookmarks: Entries<'a, Identity>,
    currently_syncing: Present,
}

/// Presence of a field, with any value.
#[derive(Debug, Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// Any object; its fields are not needed.
#[derive(Debug, Default, Deserialize)]
struct Nothing {}

/// Decodes a line of a tap or target; `None` if it is not a message of this protocol.
pub(super) fn message(text: &str) -> Option<Message<'_>> {
    let envelope = serde_json::from_str::<Envelope>(text).ok()?;
    let Some(word) = envelope.kind.0 else {
        // A bare state is printed by a target: everything before it is written.
        if envelope.bookmarks.0.is_none() && !envelope.currently_syncing.0 {
            return json_log(text);
        }
        let (handed, failures) = (Some(handed(text, true)?.into()), refused_records(text));
        let kind = Kind::Checkpoint(Box::new(Checkpoint { handed, failures, ..Checkpoint::default() }));
        return Some(Message::new(None, None, kind));
    };
    let stream = || envelope.stream.0.clone().map(Name::plain);
    let kind = match word.to_ascii_uppercase().as_str() {
        "RECORD" => {
            envelope.record.0?;
            Kind::Record(Record { stream: stream()?, measure: None, partial: false, not_numbers: 0 })
        }
        "SCHEMA" => {
            envelope.schema.0?;
            Kind::Stream(Box::new(moving_claim(stream()?)))
        }
        // Stands before the first and after the last record of a table: rows of older versions may
        // be deleted.
        "ACTIVATE_VERSION" => Kind::Stream(Box::new(StreamClaim { is_table_edge: true, ..moving_claim(stream()?) })),
        "BATCH" => {
            envelope.manifest?;
            Kind::UncountedRecords(stream()?)
        }
        "STATE" => {
            let handed = handed(envelope.value?.get(), false)?;
            Kind::Checkpoint(Box::new(Checkpoint { handed: Some(handed.into()), ..Checkpoint::default() }))
        }
        _ => return None,
    };
    Some(Message::new(envelope.time_extracted.0, None, kind))
}

/// Reads the records that a target refused, from its state: `success: false` of a record, or a
/// `fail` above 0 in the summary of a stream (hotglue's targets).
fn refused_records(state: &str) -> Vec<Failure<'static>> {
    let has = |word: &str| memchr::memmem::find(state.as_bytes(), word.as_bytes()).is_some();
    if !has("\"success\"") && !has("\"fail\"") {
        return Vec::new();
    }
    let Ok(state) = serde_json::from_str::<serde_json::Value>(state) else { return Vec::new() };
    let no_entries = serde_json::Map::new();
    let entries = |key: &str| state.get(key).and_then(serde_json::Value::as_object).unwrap_or(&no_entries);
    let mut failed = std::collections::BTreeMap::<&str, (u64, Option<&str>)>::new();
    for (stream, records) in entries("bookmarks") {
        let refused = records.as_array().into_iter().flatten().filter(|record| record["success"] == false);
        for record in refused {
            let slot = failed.entry(stream).or_default();
            slot.0 += 1;
            slot.1 = slot.1.or(record["error"].as_str());
        }
    }
    for (stream, counts) in entries("summary") {
        if let Some(count) = counts["fail"].as_u64().filter(|count| *count > 0) {
            let slot = failed.entry(stream).or_default();
            slot.0 = slot.0.max(count);
        }
    }
    let failure = |(stream, (count, error)): (&str, (u64, Option<&str>))| {
        let text = match (count, error) {
            (1, Some(error)) => error.to_owned(),
            (1, None) => "a record was refused".to_owned(),
            (_, Some(error)) => format!("{count} records were refused: {error}"),
            (_, None) => format!("{count} records were refused"),
        };
        let failure = Failure::of(ErrorLevel::Stream, Some(Name::plain(stream.to_owned().into())), text.into());
        Failure { is_final: false, from_destination: true, ..failure }
    };
    failed.into_iter().map(failure).collect()
}

/// True if this protocol has messages of that type, in any case.
pub(super) fn has_type(kind: &str) -> bool {
    ["RECORD", "SCHEMA", "STATE", "BATCH", "ACTIVATE_VERSION"].iter().any(|known| known.eq_ignore_ascii_case(kind))
}

fn moving_claim(stream: Name) -> StreamClaim {
    StreamClaim { activity: Some(Activity::Moving), ..StreamClaim::of(stream) }
}

/// Reads the value of a state. By convention it has `bookmarks` by stream and optionally the
/// current stream. Without `bookmarks`, its keys are read as names of streams. `None` if it is no
/// JSON.
fn handed(value: &str, committed: bool) -> Option<EmittedState<'_>> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Value<'a> {
        #[serde(borrow)]
        bookmarks: Entries<'a, Identity>,
        #[serde(borrow)]
        currently_syncing: Text<'a>,
        /// Counts of a target by stream (hotglue's targets).
        #[serde(borrow)]
        summary: Entries<'a, Identity>,
    }
    let known = serde_json::from_str::<Maybe<Value>>(value).ok()?.0.unwrap_or_default();
    let bookmarks = if let Some(mut bookmarks) = known.bookmarks.0 {
        for (name, id) in known.summary.0.unwrap_or_default() {
            if !bookmarks.iter().any(|(known, _)| *known == name) {
                bookmarks.push((name, id));
            }
        }
        bookmarks
    } else {
        let mut all = serde_json::from_str::<Entries<Identity>>(value).ok()?.0.unwrap_or_default();
        all.retain(|(name, _)| name != "currently_syncing");
        all
    };
    let streams =
        bookmarks.into_iter().map(|(name, id)| StreamCursor { stream: Name::plain(name), id: id.0 }).collect();
    let current = known.currently_syncing.0.map(Name::plain);
    Some(EmittedState { streams, whole: true, current, id: Identity::of(value).0, records: None, committed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Option<Kind<'_>> {
        message(text).map(|message| message.kind)
    }

    #[test]
    fn types_are_read_in_any_case_and_need_their_payload() {
        for word in ["RECORD", "record", "Record"] {
            let line = format!(r#"{{"type": "{word}", "stream": "users", "record": {{"stream": "x"}}}}"#);
            assert!(matches!(kind(&line), Some(Kind::Record(record)) if record.stream.name == "users"), "{line}");
        }
        assert!(matches!(
            kind(r#"{"type":"BATCH","stream":"a","manifest":["file:///x"]}"#),
            Some(Kind::UncountedRecords(_))
        ));
        for none in [
            r#"{"type":"RECORD","record":{"stream":"users"}}"#,
            r#"{"type":"RECORD","stream":"users","record":1}"#,
            r#"{"type":"STATE","state":{}}"#,
            r#"{"type":"NOVEL","stream":"users"}"#,
            r#"{"stream":"users"}"#,
        ] {
            assert_eq!(kind(none), None, "{none}");
        }
    }

    #[test]
    fn a_state_has_the_position_of_each_stream() {
        let line = r#"{"type":"STATE","value":{"bookmarks":{"a":{"id":1},"b":{}},"currently_syncing":"a"}}"#;
        let handed = |line| match kind(line) {
            Some(Kind::Checkpoint(checkpoint)) => checkpoint.handed.unwrap(),
            _ => panic!("no state"),
        };
        let state = handed(line);
        let names: Vec<_> = state.streams.iter().map(|one| one.stream.name.as_ref()).collect();
        assert_eq!((names, state.committed, state.whole), (vec!["a", "b"], false, true));
        assert_eq!(state.current.map(|name| name.name.into_owned()).as_deref(), Some("a"));
        let echoed = r#"{"bookmarks": {"b": {}, "a": {"id": 1}}, "currently_syncing": "a"}"#;
        let echo = handed(echoed);
        assert_eq!((echo.id, echo.committed), (state.id, true));
        for odd in ["null", "5", "[]", "{}", r#"{"users":"2026"}"#] {
            let line = format!(r#"{{"type":"STATE","value":{odd}}}"#);
            assert!(matches!(kind(&line), Some(Kind::Checkpoint(_))) == (odd != "null"), "{odd}");
        }
    }
}
