//! Singer's and Meltano's protocol and their adapters.

use super::loggers::{is_destination_logger, stream_of_logger};
use super::{fast, feed, human, logs, meltano};
use crate::protocol::adapter::{Adapter, Message, PlatformLog, Protocol, ProtocolTraits};
use crate::protocol::head::Head;
use crate::protocol::message::{Checkpoint, ErrorLevel, Failure, Kind, Level, Log, Name, Record, Side};
use crate::protocol::python;
use crate::protocol::remedy::Remedy;
use crate::protocol::shell::ShellMessage;
use std::borrow::Cow;

const TRAITS: ProtocolTraits = ProtocolTraits {
    ends_with_process: true,
    states_may_follow_complete: true,
    stopped_exits_zero: true,
    errors_on_stderr: true,
    has_not_numbers: true,
    ..ProtocolTraits::DEFAULT
};

/// Singer taps and targets.
pub static PROTOCOL: Protocol =
    Protocol { name: "singer", family: "singer", traits: TRAITS, adapter: &Singer, variants: &[] };

/// Meltano's log of the taps and targets that it runs.
pub static MELTANO: Protocol = Protocol {
    name: "meltano",
    family: "singer",
    traits: ProtocolTraits { reports_end: true, ..TRAITS },
    adapter: &Meltano,
    variants: &[],
};

struct Singer;

impl Adapter for Singer {
    fn has_type(&self, kind: &str) -> bool {
        feed::has_type(kind)
    }

    fn decode<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        feed::message(line)
    }

    fn decode_fast<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        fast::message(line)
    }

    fn decode_head<'a>(&self, head: &Head<'a>, _length: u64) -> Option<Message<'a>> {
        // A stream at the top level distinguishes it from the other protocols.
        let stream = head.top_stream.clone().filter(|_| head.kind.as_deref().is_some_and(feed::has_type))?;
        let kind = match head.kind.as_deref()?.to_ascii_uppercase().as_str() {
            "RECORD" => {
                Kind::Record(Record { stream: Name::plain(stream), measure: None, partial: true, not_numbers: 0 })
            }
            "STATE" => Kind::Checkpoint(Box::new(Checkpoint::default())),
            _ => Kind::Note("read from its head"),
        };
        Some(Message::new(head.at, None, kind))
    }

    fn decode_text<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        // A metric in Meltano's log is of the plugin that the line names.
        logs::metric(line).filter(|_| !human::is_line(line))
    }

    /// Decodes a metric, a line of a structured log, or a line `LEVEL text`, which programs of any
    /// protocol may write.
    fn decode_stderr<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        if human::is_line(line) {
            return None;
        }
        if let Some(metric) = logs::metric(line) {
            return Some(metric);
        }
        if line.starts_with('{') {
            return logs::json(line);
        }
        if let Some(message) = ShellMessage::parse(line) {
            return Some(Message::shared(None, None, shell_kind(&message)));
        }
        let (word, logger, text) = python::split_text_line(line)?;
        let level = python::level(word)?;
        let kind = match word {
            // The specification asks callers to look for these: the tap ends with it.
            "CRITICAL" | "FATAL" => Kind::Failure(Box::new(Failure::of(ErrorLevel::Global, None, text.into()))),
            _ => logs::log_kind(level, text.into()),
        };
        Some(Message::shared(None, logger.map(Cow::Borrowed), kind))
    }

    fn is_generic_error(&self, message: &str) -> bool {
        message.starts_with(UNHANDLED) || ["Loader failed", "Extractor failed"].iter().any(|end| message.ends_with(end))
    }

    /// singer-sdk prints no exception if the reader of its output has ended.
    fn remedy(&self, message: &str) -> Option<Remedy> {
        message.starts_with(UNHANDLED).then_some(Remedy::CheckReader)
    }

    fn text_level(&self, line: &str) -> Option<Level> {
        python::level_of(line)
    }

    fn logger_side(&self, logger: &str) -> Option<Side> {
        let is_destination = is_destination_logger(logger)?;
        Some(if is_destination { Side::Destination } else { Side::Source })
    }

    fn logger_stream<'a>(&self, logger: &'a str) -> Option<&'a str> {
        stream_of_logger(logger)
    }
}

/// Prefix of singer-sdk's error behind which the exception stands.
const UNHANDLED: &str = "An unhandled error occurred while syncing";

/// A missing command fails at once. A killed one leaves the outcome to the streams.
fn shell_kind(message: &ShellMessage<'_>) -> Kind<'static> {
    match message {
        ShellMessage::Killed(_) => {
            Kind::Log(Box::new(Log { level: Level::Error, message: message.text(), ..Log::default() }))
        }
        _ => Kind::Failure(Box::new(Failure::of(ErrorLevel::Global, None, message.text()))),
    }
}

struct Meltano;

impl Adapter for Meltano {
    fn has_type(&self, _kind: &str) -> bool {
        false
    }

    fn decode<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        meltano::message(line)
    }

    fn decode_text<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        human::message(line)
    }

    fn decode_stderr<'a>(&self, line: &'a str) -> Option<Message<'a>> {
        if line.starts_with('{') { meltano::message(line) } else { human::message(line) }
    }

    /// The formats of `--log-format` that have too little structure, or another one in each version.
    fn platform_log(&self, line: &str) -> Option<PlatformLog> {
        let is_key_value = line.starts_with("timestamp='") && line.contains(" level='") && line.contains(" event=");
        let is_plain = line.starts_with("Meltano ") && line.contains(", Python ");
        (is_key_value || is_plain).then_some(PlatformLog {
            name: "Meltano's log in a format without messages",
            advice: "run it as `meltano --log-format json run ...`",
        })
    }

    fn owns_log_object(&self, has_text: &dyn Fn(&str) -> bool) -> bool {
        ["event", "level", "timestamp"].into_iter().all(has_text)
    }
}
