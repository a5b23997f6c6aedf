//! Received message of a connector: its original bytes, and its modified copies for the output.

use crate::engine::failure_type::{FailureType, of_error};
use crate::engine::tracker::wire;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use synctop_core::protocol::{LineEnd, Millis};

/// Fields of a line that the canonical message lacks.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawFields {
    pub(super) source_state: Option<RawState>,
    pub(super) eof: Option<RawEof>,
    pub(super) end: Option<RawEof>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawState {
    pub(super) data: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawEof {
    pub(super) cutoff: Option<String>,
    pub(super) state: Option<Box<RawValue>>,
    pub(super) ending_state: Option<Box<RawValue>>,
}

/// Received line with a message.
pub(super) struct RawMessage<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) end: LineEnd,
    /// Bytes of other text before the message.
    pub(super) prefix_len: usize,
}

impl RawMessage<'_> {
    /// Returns the bytes of the message, without the text before it.
    pub(super) fn json(&self) -> &[u8] {
        self.bytes.get(self.prefix_len..).unwrap_or_default()
    }

    /// Writes the line unchanged.
    pub(super) fn pass(&self, out: &mut Vec<u8>) {
        pass(self.bytes, self.end, out);
    }

    /// Writes the text before the message as a line of its own, for a message that is rewritten.
    pub(super) fn write_prefix(&self, out: &mut Vec<u8>) {
        if self.prefix_len > 0 {
            out.extend_from_slice(self.bytes.get(..self.prefix_len).unwrap_or_default());
            out.push(b'\n');
        }
    }

    pub(super) fn raw(&self) -> RawFields {
        serde_json::from_slice(self.json()).unwrap_or_default()
    }

    /// True if an end message has a state.
    pub(super) fn has_state(&self) -> bool {
        let raw = self.raw();
        raw.eof.or(raw.end).is_some_and(|eof| eof.state.is_some() || eof.ending_state.is_some())
    }

    pub(super) fn value(&self) -> Value {
        serde_json::from_slice(self.json()).unwrap_or_default()
    }

    /// Returns the numeric HTTP status of an error.
    pub(super) fn error_status(&self) -> Option<u16> {
        let value = self.value();
        let inside = error_object(&value)?;
        let named = ["status_code", "http_status", "status"].iter().find_map(|key| inside.get(*key)?.as_u64());
        named.and_then(|status| u16::try_from(status).ok())
    }

    /// Returns the failure type of an error.
    pub(super) fn failure_type(&self) -> Option<String> {
        let value = self.value();
        error_object(&value)?.get("failure_type")?.as_str().map(str::to_owned)
    }

    /// Returns the failure type of a logged error, derived from `data.err.status`, `data.status` or
    /// `data.err.code`.
    pub(super) fn logged_failure(&self) -> Option<FailureType> {
        let value = self.value();
        let status = value.pointer("/log/data/err/status").or_else(|| value.pointer("/log/data/status"));
        let status = status.and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        of_error(status, value.pointer("/log/data/err/code").and_then(Value::as_str))
    }

    /// Writes the message with emitter and time added if it lacks them.
    pub(super) fn write_enriched(&self, from: &str, at: Millis, out: &mut Vec<u8>) {
        let json = self.json().trim_ascii_end();
        let Some(body) = json.strip_suffix(b"}") else { return self.pass(out) };
        let known: Envelope = serde_json::from_slice(json).unwrap_or_default();
        out.extend_from_slice(body);
        if known.from.is_none() {
            out.extend_from_slice(format!(",\"_emitted_by\":\"{from}\"").as_bytes());
        }
        if known.at.is_none() {
            out.extend_from_slice(format!(",\"_ts\":\"{}\"", synctop_core::protocol::time::iso(at)).as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }

    /// Writes the error message with another failure type.
    pub(super) fn write_with_failure_type(&self, word: &str, at: Millis, out: &mut Vec<u8>) {
        let mut value = self.value();
        if let Some(error) = value.pointer_mut("/trace/error").and_then(Value::as_object_mut) {
            error.insert("failure_type".into(), word.into());
        }
        let payload = value.get("trace").cloned().unwrap_or_default();
        let from = value.get("_emitted_by").and_then(Value::as_str).unwrap_or("source").to_owned();
        wire::enveloped(out, "trace", &payload, Some(&from), at);
    }
}

/// Returns the object that holds the fields of an error message.
fn error_object(value: &Value) -> Option<&Value> {
    let places = ["/trace/error", "/trace/stream_status", "/stream_status"];
    places.iter().find_map(|place| value.pointer(place))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    #[serde(rename = "_emitted_by")]
    from: Option<Value>,
    #[serde(rename = "_ts")]
    at: Option<Value>,
}

/// Writes a line unchanged, with the newline it had.
pub(super) fn pass(bytes: &[u8], end: LineEnd, out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    if end == LineEnd::Newline {
        out.push(b'\n');
    }
}
