//! Adds a protocol to the decoder: a table copier that prints one JSON object per event.
//!
//! ```text
//! {"event":"table_start","table":"users"}
//! {"event":"rows","table":"users","count":500}
//! {"event":"table_done","table":"users"}
//! {"event":"error","table":"orders","message":"permission denied"}
//! {"event":"finished","ok":true}
//! ```

use serde::Deserialize;
use synctop_core::protocol::{
    Adapter, Counts, Decoder, End, EndReason, ErrorLevel, Failure, Kind, Message, Name, Protocol, ProtocolTraits,
    Status, StreamClaim,
};
use synctop_core::reduce::Reducer;
use synctop_core::report::report;

/// The protocol: its name, its traits, its adapter.
pub static TABLE_COPY: Protocol = Protocol {
    name: "table-copy",
    family: "table-copy",
    traits: ProtocolTraits::DEFAULT,
    adapter: &TableCopy,
    variants: &[],
};

struct TableCopy;

#[derive(Deserialize)]
struct Event {
    event: String,
    #[serde(default)]
    table: Option<String>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    ok: bool,
}

impl Adapter for TableCopy {
    fn has_type(&self, _kind: &str) -> bool {
        false // Its lines have an `event` instead of a `type`.
    }

    fn decode<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        let event: Event = serde_json::from_str(line).ok()?;
        let table = || event.table.clone().map(|name| Name::plain(name.into()));
        let claim = |status, records| {
            let claim = StreamClaim { status, records, ..StreamClaim::of(table()?) };
            Some(Kind::Stream(Box::new(claim)))
        };
        let kind = match event.event.as_str() {
            "table_start" => claim(Some(Status::Started), Counts::default())?,
            "rows" => claim(None, Counts::running(event.count))?,
            "table_done" => claim(Some(Status::Completed), Counts::default())?,
            "error" => {
                let message = event.message.clone().unwrap_or_default();
                Kind::Failure(Box::new(Failure::of(ErrorLevel::Stream, table(), message.into())))
            }
            "finished" => {
                let (reason, text) = if event.ok { (EndReason::Complete, "ok") } else { (EndReason::Failed, "not ok") };
                Kind::End(Box::new(End { has_more: Some(false), ..End::of(reason, text) }))
            }
            _ => return None,
        };
        Some(Message::new(None, None, kind))
    }
}

/// Reduces a log of the protocol.
#[must_use]
pub fn reduce(log: &str) -> Reducer {
    let mut reducer = Reducer::new(Decoder::default().with_adapter(&TABLE_COPY));
    reducer.push(log.as_bytes());
    reducer.finish(None);
    reducer
}

#[allow(dead_code, reason = "a test includes this file")]
fn main() {
    let log = std::env::args().nth(1).and_then(|path| std::fs::read_to_string(path).ok());
    let log = log.unwrap_or_else(|| {
        concat!(
            "{\"event\":\"table_start\",\"table\":\"users\"}\n",
            "{\"event\":\"rows\",\"table\":\"users\",\"count\":500}\n",
            "{\"event\":\"table_done\",\"table\":\"users\"}\n",
            "{\"event\":\"finished\",\"ok\":true}\n",
        )
        .to_owned()
    });
    print!("{}", report(&reduce(&log).progress));
}
