//! Fast path for record lines, the bulk of a log: one pass, no tree. `None` means an unusual line,
//! left to the slow path.

use super::measure;
use crate::protocol::message::{Dialect, Kind, Message, Name, Record};
use crate::protocol::scan::cursor::{LineCursor, once};
use crate::protocol::time::Millis;
use std::borrow::Cow;

/// The message of a record line.
pub(in crate::protocol) fn message(text: &str) -> Option<Message<'_>> {
    let mut cursor = LineCursor::new(text);
    cursor.literal("{\"type\":\"RECORD\",\"record\":{")?;
    let (mut stream, mut namespace, mut length, mut at) = (None, None, None, None);
    // As Python's kit begins it.
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
    cursor.ended()?;
    let kind =
        Kind::Record(Record { stream: Name::spaced(namespace.flatten(), stream?), measure: length, partial: false });
    Some(Message { at, from: None, dialect: Some(Dialect::Airbyte), firm: true, kind })
}

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
        "stream" => once(stream, cursor.string()?),
        "namespace" => once(namespace, cursor.string_or_null()?),
        "data" => once(length, data(cursor, text)?),
        "emitted_at" => once(at, cursor.instant()?),
        _ => cursor.skip(),
    }
}

/// Passes over an object and measures it.
fn data<'a>(cursor: &mut LineCursor<'a>, text: &'a str) -> Option<u64> {
    let begin = cursor.place();
    cursor.skip()?;
    text.get(begin..cursor.place()).filter(|data| data.starts_with('{')).map(measure)
}
