//! Fast path for record lines as singer-sdk writes them: one pass, no tree. Returns `None` for any
//! other line, which is left to the slow path.

use crate::protocol::adapter::Message;
use crate::protocol::message::{Kind, Name, Record};
use crate::protocol::scan::cursor::{LineCursor, set_once};
use crate::protocol::time::Millis;
use std::borrow::Cow;

/// Decodes a record line; `None` if it needs the slow path.
pub(super) fn message(text: &str) -> Option<Message<'_>> {
    let mut cursor = LineCursor::new(text);
    cursor.literal("{\"type\":\"RECORD\",\"stream\":")?;
    let stream = cursor.plain()?;
    cursor.literal(",\"record\":")?;
    let start = cursor.bytes_read();
    cursor.skip()?;
    text.get(start..cursor.bytes_read()).filter(|record| record.starts_with('{'))?;
    let mut at: Option<Millis> = None;
    while cursor.byte(b'}').is_none() {
        cursor.byte(b',')?;
        let key = cursor.plain()?;
        cursor.byte(b':')?;
        match key {
            "time_extracted" => set_once(&mut at, cursor.text_instant()?)?,
            "type" | "stream" | "record" | "schema" | "value" | "manifest" | "bookmarks" => return None,
            _ => cursor.skip()?,
        }
    }
    cursor.expect_end()?;
    let kind = Kind::Record(Record {
        stream: Name::plain(Cow::Borrowed(stream)),
        measure: None,
        partial: false,
        not_numbers: 0,
    });
    Some(Message::new(at, None, kind))
}
