//! Head of a line over the size limit: kind, stream and status, whatever the protocol.

use super::lenient::{Flag, LenientInstant, Text};
use super::time::Millis;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Fields that the head of a line over the limit has.
#[derive(Debug, Default, Clone)]
pub struct Head<'a> {
    /// Field `type` of the envelope, in the case of the wire.
    pub kind: Option<Cow<'a, str>>,
    /// Time of emission: `_ts` of the envelope, otherwise `emitted_at` of the payload.
    pub at: Option<Millis>,
    /// Emitter (`_emitted_by` of the envelope).
    pub from: Option<Cow<'a, str>>,
    /// Key of the payload.
    pub payload: Option<Cow<'a, str>>,
    /// Key of the object in a `trace`.
    pub inner: Option<Cow<'a, str>>,
    /// Field `stream` of the payload, or of the object in a `trace`.
    pub stream: Option<Cow<'a, str>>,
    /// Stream at the top level, which only other protocols have.
    pub top_stream: Option<Cow<'a, str>>,
    /// Field `status` of the payload, or of the object in a `trace`.
    pub status: Option<Cow<'a, str>>,
    /// Field `reason` of the payload, such as Stripe's `eof.reason`.
    pub reason: Option<Cow<'a, str>>,
    /// True if data is left to read (Stripe's `has_more` in `eof` or `end`).
    pub has_more: Option<bool>,
    /// Field `level` of a log message, as on the wire.
    pub level: Option<Cow<'a, str>>,
    /// Field `message` of the payload, or of the error in a `trace`.
    pub message: Option<Cow<'a, str>>,
    /// Type of the error in a `trace`, such as `config_error`.
    pub failure_type: Option<Cow<'a, str>>,
}

/// Reads the fields in the head of a valid line, up to its end. `has_type` is true for the types of
/// messages, which are the keys of payloads.
pub(super) fn read_head<'a>(text: &'a str, has_type: &dyn Fn(&str) -> bool) -> Head<'a> {
    let mut head = Head::default();
    let mut json = serde_json::Deserializer::from_str(text);
    // The parser fails at the end of the head. The fields before it are the result.
    let _ = HeadSeed { head: &mut head, has_type, depth: 0 }.deserialize(&mut json);
    head
}

/// Deserializer of one nesting level of the head.
struct HeadSeed<'h, 'a> {
    head: &'h mut Head<'a>,
    has_type: &'h dyn Fn(&str) -> bool,
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
                    if (self.has_type)(name)
                        || self.head.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case(name)) =>
                {
                    self.head.payload = Some(key);
                    map.next_value_seed(HeadSeed { head: &mut *self.head, has_type: self.has_type, depth: 1 })?;
                }
                (1, "error" | "stream_status") if self.head.payload.as_deref() == Some("trace") => {
                    self.head.inner = Some(key);
                    map.next_value_seed(HeadSeed { head: &mut *self.head, has_type: self.has_type, depth: 2 })?;
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
