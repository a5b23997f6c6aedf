//! Fast path for record lines, which are most of a log: one pass, no tree. Returns `None` for any
//! other line, which is left to the slow path.

use super::measure::measure_compact;
use crate::protocol::adapter::Message;
use crate::protocol::message::{Kind, Name, Record};
use crate::protocol::scan::cursor::{LineCursor, set_once};
use crate::protocol::time::Millis;
use std::borrow::Cow;

/// Decodes a record line; `None` if it needs the slow path.
pub(super) fn message(text: &str) -> Option<Message<'_>> {
    let mut cursor = LineCursor::new(text);
    cursor.literal("{\"type\":\"RECORD\",\"record\":{")?;
    let (mut stream, mut namespace, mut length, mut at) = (None, None, None, None);
    // Order of the first fields in the Python connector development kit.
    if cursor.literal("\"stream\":").is_some() {
        stream = Some(Cow::Borrowed(cursor.plain()?));
        cursor.literal(",\"data\":")?;
        length = Some(data(&mut cursor, text)?);
        cursor.literal(",\"emitted_at\":")?;
        at = Some(cursor.instant()?);
    } else {
        field(&mut cursor, text, &mut stream, &mut namespace, &mut length, &mut at)?;
    }
    while cursor.byte(b'}').is_none() {
        cursor.byte(b',')?;
        field(&mut cursor, text, &mut stream, &mut namespace, &mut length, &mut at)?;
    }
    cursor.byte(b'}')?;
    cursor.expect_end()?;
    let kind = Kind::Record(Record {
        stream: Name::with_namespace(namespace.flatten(), stream?),
        measure: length,
        partial: false,
        not_numbers: 0,
    });
    Some(Message::new(at, None, kind))
}

/// Reads one field of the record: key, colon and value.
fn field<'a>(
    cursor: &mut LineCursor<'a>,
    text: &'a str,
    stream: &mut Option<Cow<'a, str>>,
    namespace: &mut Option<Option<Cow<'a, str>>>,
    length: &mut Option<u64>,
    at: &mut Option<Millis>,
) -> Option<()> {
    let key = cursor.plain()?;
    cursor.byte(b':')?;
    match key {
        "stream" => set_once(stream, cursor.string()?),
        "namespace" => set_once(namespace, cursor.string_or_null()?),
        "data" => set_once(length, data(cursor, text)?),
        "emitted_at" => set_once(at, cursor.instant()?),
        _ => cursor.skip(),
    }
}

/// Skips the data object and returns its length as [`measure_compact`] defines it; `None` if it is
/// no object. The cursor accepts no spaces between tokens.
fn data<'a>(cursor: &mut LineCursor<'a>, text: &'a str) -> Option<u64> {
    let start = cursor.bytes_read();
    cursor.skip()?;
    text.get(start..cursor.bytes_read()).filter(|data| data.starts_with('{')).map(measure_compact)
}
