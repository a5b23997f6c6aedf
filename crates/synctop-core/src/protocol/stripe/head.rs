//! Decodes a line over the size limit from its head.

use super::claims::connection_succeeded;
use super::kinds::KINDS;
use super::wire::{Eof, StreamStatus, TraceError};
use crate::protocol::adapter::Message;
use crate::protocol::head::Head;
use crate::protocol::lenient::{Flag, Text};
use crate::protocol::message::{Checkpoint, Kind, Level, Log, Name, Record};
use std::borrow::Cow;

/// Decodes a line from its head; `None` if the kind is unknown or lacks its payload or stream.
/// `length` is the length of the whole line in bytes.
pub(super) fn message_of_head<'a>(head: &Head<'a>, length: u64) -> Option<Message<'a>> {
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
            Kind::Record(Record { stream: Name::plain(stream), measure: None, partial: false, not_numbers: 0 })
        }
        ("source_state", _, stream) => {
            Kind::Checkpoint(Box::new(Checkpoint { stream: stream.map(Name::plain), ..Checkpoint::default() }))
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
    Some(Message::new(head.at, head.from, kind))
}
