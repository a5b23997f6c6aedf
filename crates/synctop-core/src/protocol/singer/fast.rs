//! Fast path for record lines as singer-sdk writes them: one pass, no tree. `None` means an unusual
//! line, left to the slow path.

use crate::protocol::message::{Dialect, Kind, Message, Name, Record};
use crate::protocol::scan::cursor::{LineCursor, once};
use crate::protocol::time::Millis;
use std::borrow::Cow;

/// The message of a record line.
pub(in crate::protocol) fn message(text: &str) -> Option<Message<'_>> {
    let mut cursor = LineCursor::new(text);
    cursor.literal("{\"type\":\"RECORD\",\"stream\":")?;
    let stream = cursor.plain()?;
    cursor.literal(",\"record\":")?;
    let begin = cursor.place();
    cursor.skip()?;
    text.get(begin..cursor.place()).filter(|record| record.starts_with('{'))?;
    let mut at: Option<Millis> = None;
    while cursor.byte(b'}').is_none() {
        cursor.byte(b',')?;
        let key = cursor.plain()?;
        cursor.byte(b':')?;
        match key {
            "time_extracted" => once(&mut at, cursor.moment()?)?,
            "type" | "stream" | "record" | "schema" | "value" | "manifest" | "bookmarks" => return None,
            _ => cursor.skip()?,
        }
    }
    cursor.ended()?;
    let kind = Kind::Record(Record { stream: Name::plain(Cow::Borrowed(stream)), measure: None, partial: false });
    Some(Message { at, from: None, dialect: Some(Dialect::Singer), firm: true, kind })
}
