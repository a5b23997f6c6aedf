//! Airbyte's protocol and its adapter.

use super::{claims, fast};
use crate::protocol::adapter::{Adapter, Message, PlatformLog, Protocol, ProtocolTraits};
use crate::protocol::head::Head;
use crate::protocol::message::{Checkpoint, Kind, Level, Log, Name, Record};
use crate::protocol::python::exception_core;
use crate::protocol::shorten::first_statement;
use crate::protocol::time;

/// Airbyte connectors.
pub static PROTOCOL: Protocol = Protocol {
    name: "airbyte",
    family: "airbyte",
    traits: ProtocolTraits {
        ends_with_process: true,
        first_status_is_final: true,
        has_not_numbers: true,
        states_may_follow_complete: true,
        ..ProtocolTraits::DEFAULT
    },
    adapter: &Airbyte,
    variants: &[],
};

struct Airbyte;

impl Adapter for Airbyte {
    fn has_type(&self, kind: &str) -> bool {
        claims::has_type(kind)
    }

    fn decode<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        claims::message(line)
    }

    fn decode_fast<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        fast::message(line)
    }

    fn decode_head<'a>(&self, head: &Head<'a>, length: u64) -> Option<Message<'a>> {
        let kind = head.kind.as_ref().or(head.payload.as_ref())?;
        if head.top_stream.is_some() || !claims::has_type(kind) {
            return None;
        }
        let kind = match (kind.as_ref(), head.stream.clone()) {
            ("RECORD", Some(stream)) => {
                Kind::Record(Record { stream: Name::plain(stream), measure: None, partial: true, not_numbers: 0 })
            }
            ("STATE", _) => Kind::Checkpoint(Box::new(Checkpoint::default())),
            // The answer to a command that is no sync, whatever is in it.
            ("CATALOG" | "SPEC", _) => Kind::Answer,
            ("LOG", _) => {
                let level = Level::from(head.level.as_deref().unwrap_or_default());
                let message = format!("(a log line of {length} bytes)").into();
                Kind::Log(Box::new(Log { level, message, ..Log::default() }))
            }
            _ => Kind::Note("read from its head"),
        };
        Some(Message::new(head.at, None, kind))
    }

    /// `HTTP Status Code: 403. Error: Forbidden. You don't have …`, the form of the connector
    /// development kit.
    fn error_core(&self, message: &str) -> Option<String> {
        // The kit's sentence about a start is generic too.
        if let Some((_, error)) = message.strip_prefix(NOT_STARTED).and_then(|rest| rest.split_once(" Error: ")) {
            return Some(error.to_owned());
        }
        let exhausted = message.starts_with("Exhausted available request attempts");
        let Some((status, error)) = status_code(message) else {
            // The kit's sentence is generic: the cause is the exception behind it.
            let (_, exception) = message.split_once("Exception: ").filter(|_| exhausted)?;
            return Some(format!(
                "{} (retries exhausted)",
                exception_core(exception).unwrap_or_else(|| first_statement(exception).to_owned())
            ));
        };
        let note = if exhausted { ", retries exhausted" } else { "" };
        Some(format!("{error} (HTTP {status}{note})"))
    }

    /// `2024-08-09 02:51:00 source > Starting syncing`, the log of a job.
    fn platform_log(&self, line: &str) -> Option<PlatformLog> {
        const PROCESSES: [&str; 4] = ["source", "destination", "platform", "replication-orchestrator"];
        let (time, rest) = line.split_at_checked(20)?;
        let process = rest.split_once(" > ").map(|(process, _)| process.trim())?;
        let has_time = time.trim_end().len() == 19 && time::parse(time.trim_end()).is_some();
        (has_time && PROCESSES.contains(&process)).then_some(PlatformLog {
            name: "Airbyte's job log",
            advice: "run the connector itself (`read --config ... --catalog ...`) and give its stdout to synctop",
        })
    }

    fn http_status(&self, message: &str) -> Option<u16> {
        status_code(message).map(|(status, _)| status)
    }
}

/// Prefix of the kit's error before a sync has started.
const NOT_STARTED: &str = "Error starting the sync.";

/// Returns status and error of `HTTP Status Code: 403. Error: Forbidden. You don't have …`.
fn status_code(message: &str) -> Option<(u16, &str)> {
    let (_, rest) = message.split_once("HTTP Status Code: ")?;
    let (status, rest) = rest.split_once(". Error: ")?;
    let error = rest.split_once(". ").map_or(rest, |(first, _)| first);
    Some((status.parse().ok()?, error.trim_end_matches('.')))
}
