//! Decodes a line over the size limit from its head: kind, stream and status.

use super::wire::{Eof, StreamStatus, TraceError};
use super::{KINDS, connection_succeeded};
use crate::protocol::lenient::{Flag, LenientInstant, Text};
use crate::protocol::message::{Checkpoint, Dialect, Kind, Level, Log, Message, Name, Record};
use crate::protocol::time::Millis;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Fields that the head of a line over the limit has.
#[derive(Debug, Default, Clone)]
pub(in crate::protocol) struct Head<'a> {
    pub(in crate::protocol) kind: Option<Cow<'a, str>>,
    pub(in crate::protocol) at: Option<Millis>,
    pub(in crate::protocol) from: Option<Cow<'a, str>>,
    /// Key of the payload.
    pub(in crate::protocol) payload: Option<Cow<'a, str>>,
    /// Key of the object in a `trace`.
    pub(in crate::protocol) inner: Option<Cow<'a, str>>,
    pub(in crate::protocol) stream: Option<Cow<'a, str>>,
    /// Stream at the top level, which only other protocols have.
    pub(in crate::protocol) top_stream: Option<Cow<'a, str>>,
    pub(in crate::protocol) status: Option<Cow<'a, str>>,
    pub(in crate::protocol) reason: Option<Cow<'a, str>>,
    pub(in crate::protocol) has_more: Option<bool>,
    pub(in crate::protocol) level: Option<Cow<'a, str>>,
    pub(in crate::protocol) message: Option<Cow<'a, str>>,
    pub(in crate::protocol) failure_type: Option<Cow<'a, str>>,
}

/// Decodes a line from its head; `None` if the kind is unknown or lacks its payload or stream.
/// `length` is the length of the whole line in bytes.
pub(in crate::protocol) fn message_of_head<'a>(head: &Head<'a>, length: u64) -> Option<Message<'a>> {
    let head = head.clone();
    let kind = head.kind.or_else(|| head.payload.clone())?;
    if head.payload.as_ref() != Some(&kind) {
        return None;
    }
    let text =
        head.message.clone().unwrap_or_else(|| Cow::Owned(format!("(a line of {length} bytes, read from its head)")));
    let note = |known: &str| KINDS.into_iter().find(|kind| *kind == known).map(Kind::Note);
    let status = |stream: Cow<'_, str>, status, early| {
        let claim = StreamStatus {
            stream: Text(Some(stream.into_owned().into())),
            status: Text(status),
            ..StreamStatus::default()
        };
        claim.claim(early).map(|claim| Kind::Stream(Box::new(claim)))
    };
    let kind = match (kind.as_ref(), head.inner.as_deref(), head.stream) {
        ("record", _, Some(stream)) => {
            Kind::Record(Record { stream: Name::plain(stream), measure: None, partial: false })
        }
        ("source_state", _, stream) => {
            Kind::Checkpoint(Checkpoint { stream: stream.map(Name::plain), ..Checkpoint::default() })
        }
        ("stream_status", _, Some(stream)) => status(stream, head.status, false)?,
        ("trace", Some("stream_status"), Some(stream)) => status(stream, head.status, true)?,
        ("trace", Some("error"), stream) => {
            let error = TraceError {
                failure_type: Text(head.failure_type),
                message: Text(Some(text)),
                stream: Text(stream),
                ..TraceError::default()
            };
            Kind::Failure(Box::new(error.failure(None)))
        }
        ("connection_status", ..) => {
            Kind::Connection { ok: connection_succeeded(head.status.as_deref()), message: head.message }
        }
        ("eof" | "end", ..) => {
            let end = Eof {
                reason: Text(head.reason),
                status: Text(head.status),
                has_more: Flag(head.has_more),
                ..Eof::default()
            };
            Kind::End(Box::new(end.end()))
        }
        ("log", ..) => Kind::Log(Box::new(Log {
            level: Level::from(head.level.as_deref().unwrap_or_default()),
            message: text,
            ..Log::default()
        })),
        ("catalog" | "start", ..) => Kind::Catalog(Vec::new()),
        (known, ..) => note(known)?,
    };
    Some(Message { at: head.at, from: head.from, dialect: Some(Dialect::Stripe), is_conclusive: true, kind })
}

/// Reads the fields in the head of a valid line, up to its end.
pub(in crate::protocol) fn read_head(text: &str) -> Head<'_> {
    let mut head = Head::default();
    let mut json = serde_json::Deserializer::from_str(text);
    // The parser fails at the end of the head. The fields before it are the result.
    let _ = HeadSeed { head: &mut head, depth: 0 }.deserialize(&mut json);
    head
}

/// Deserializer of one nesting level of the head.
struct HeadSeed<'h, 'a> {
    head: &'h mut Head<'a>,
    /// Nesting level: 0 for the envelope, 1 for the payload, 2 for the object in a trace.
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for HeadSeed<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeadSeed<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Text<'de>>()? {
            let key = key.0.unwrap_or_default();
            match (self.depth, key.as_ref()) {
                (0, "type") => self.head.kind = map.next_value::<Text>()?.0,
                (0, "_ts") => self.head.at = map.next_value::<LenientInstant>()?.0,
                (0, "_emitted_by") => self.head.from = map.next_value::<Text>()?.0,
                (0, "stream") => self.head.top_stream = map.next_value::<Text>()?.0,
                (0, name)
                    if KINDS.contains(&name)
                        || self.head.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case(name)) =>
                {
                    self.head.payload = Some(key);
                    map.next_value_seed(HeadSeed { head: &mut *self.head, depth: 1 })?;
                }
                (1, "error" | "stream_status") if self.head.payload.as_deref() == Some("trace") => {
                    self.head.inner = Some(key);
                    map.next_value_seed(HeadSeed { head: &mut *self.head, depth: 2 })?;
                }
                (1.., "emitted_at") => {
                    let at = map.next_value::<LenientInstant>()?.0;
                    self.head.at = self.head.at.or(at);
                }
                (1.., "stream") => self.head.stream = map.next_value::<Text>()?.0,
                (1.., "status") => self.head.status = map.next_value::<Text>()?.0,
                (1.., "reason") => self.head.reason = map.next_value::<Text>()?.0,
                (1.., "level") => self.head.level = map.next_value::<Text>()?.0,
                (1.., "message") => self.head.message = map.next_value::<Text>()?.0,
                (1.., "failure_type") => self.head.failure_type = map.next_value::<Text>()?.0,
                (1.., "has_more") => self.head.has_more = map.next_value::<Flag>()?.0,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
