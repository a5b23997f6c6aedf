//! Logs of taps and targets: metrics, levels, and errors that are reported nowhere else.
//!
//! * singer-python: `LEVEL text`, `INFO METRIC: {…}`.
//! * singer-sdk: `2026-11-20 08:35:12,786 | LEVEL    | logger | text`, with columns of another width in each version;
//!   or, with a structured formatter, one JSON object a line with `metric_info` and `exception`.

use super::loggers::is_destination_logger;
use crate::protocol::adapter::Message;
use crate::protocol::lenient::{Entries, LenientInstant, Maybe, Num, Seq, Text};
use crate::protocol::message::{
    Activity, ErrorLevel, Failure, Kind, Level, Log, Metered, Name, ProcessEvent, Status, StreamClaim,
};
use crate::protocol::time;
use serde::Deserialize;
use std::borrow::Cow;

/// Marker of a metric in a line of text.
const METRIC: &str = "METRIC: ";

/// Prefix of singer-sdk's line at the start of a stream.
const STREAM_START: &str = "Beginning sync of '";

/// Line of singer-python taps at the start of a sync.
const SYNC_START: &str = "Starting sync";

/// Prefix of singer-sdk's line after a signal stopped it. Its exit code is 0 then.
const SHUTDOWN: &str = "Gracefully shutting down";

/// Line of Meltano after SIGTERM.
pub(super) const TERMINATED: &str = "The process was terminated";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metric<'a> {
    #[serde(borrow)]
    metric: Text<'a>,
    value: Num,
    #[serde(borrow)]
    tags: Maybe<Tags<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tags<'a> {
    #[serde(borrow)]
    stream: Text<'a>,
    #[serde(borrow)]
    endpoint: Text<'a>,
    #[serde(borrow)]
    job_type: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    database: Text<'a>,
    #[serde(borrow)]
    schema: Text<'a>,
    #[serde(borrow)]
    table: Text<'a>,
    pid: Num,
}

impl<'a> Metric<'a> {
    /// Converts the metric to a claim. `loaded` is true for a target's metric, false for a tap's,
    /// if known; `run_id` is the run of its line.
    pub(super) fn kind(self, loaded: Option<bool>, run_id: Option<Cow<'a, str>>) -> Option<Kind<'a>> {
        let tags = self.tags.0.unwrap_or_default();
        // Taps of singer-python have no `stream` tag: they name endpoint or job after the stream.
        let job =
            || tags.job_type.0.as_deref().and_then(|job| job.strip_prefix("sync_")).map(|name| name.to_owned().into());
        // Taps of databases tag the table; they name their streams `database-table`.
        let table =
            tags.table.0.as_deref().map(|table| match tags.schema.0.as_deref().or(tags.database.0.as_deref()) {
                Some(space) => Cow::Owned(format!("{space}-{table}")),
                None => Cow::Owned(table.to_owned()),
            });
        let stream = tags.stream.0.clone().or_else(|| tags.endpoint.0.clone()).or(table).or_else(job).map(Name::plain);
        let process = tags.pid.0;
        let is_inferred_name = tags.stream.0.is_none();
        let counted = |records, requests, timed_request| {
            let stream = stream.clone()?;
            let counts = Metered {
                stream,
                records,
                requests,
                timed_request,
                loaded,
                process,
                is_inferred_name,
                run_id: run_id.clone(),
            };
            Some(Kind::Metered(Box::new(counts)))
        };
        let metric = self.metric.0?;
        Some(match metric.as_ref() {
            "record_count" => counted(self.value.0, None, false).unwrap_or(Kind::Note("metric")),
            "http_request_count" => counted(None, self.value.0, false).unwrap_or(Kind::Note("metric")),
            "http_request_duration" => counted(None, None, true).unwrap_or(Kind::Note("metric")),
            "sync_duration" | "job_duration" => {
                let status = match tags.status.0.as_deref() {
                    Some("succeeded") => Some(Status::Completed),
                    Some("failed") => Some(Status::Errored),
                    _ => None,
                };
                match (stream, status) {
                    (Some(stream), Some(status)) if loaded != Some(true) => Kind::Stream(Box::new(StreamClaim {
                        status: Some(status),
                        is_inferred_name,
                        ..StreamClaim::of(stream)
                    })),
                    _ => Kind::Note("metric"),
                }
            }
            _ => Kind::Note("metric"),
        })
    }
}

/// Decodes the metric in a line of text, after any prefix.
pub(super) fn metric(text: &str) -> Option<Message<'_>> {
    let at = memchr::memmem::find(text.as_bytes(), METRIC.as_bytes())?;
    let before = text.get(..at)?;
    let json = text.get(at + METRIC.len()..)?.trim_end();
    if !json.starts_with('{') {
        return None;
    }
    let metric = serde_json::from_str::<Metric>(json).ok()?;
    // In a log of tap and target, only the plugin's name identifies the side.
    let loaded = before.split([' ', '|']).find_map(is_destination_logger);
    // Meltano's text starts with an instant. A local time without a zone is not used.
    let at = before.split(' ').next().filter(|word| word.ends_with('Z')).and_then(time::parse);
    let kind = metric.kind(loaded, None)?;
    Some(Message::logged(at, None, kind))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JsonLog<'a> {
    #[serde(borrow)]
    level: Text<'a>,
    #[serde(borrow)]
    logger_name: Text<'a>,
    ts: LenientInstant,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    metric_info: Maybe<Metric<'a>>,
    #[serde(borrow)]
    exception: Maybe<Exception<'a>>,
    #[serde(borrow)]
    app_name: Text<'a>,
    #[serde(borrow)]
    extra: Entries<'a, serde::de::IgnoredAny>,
}

/// Exception, as singer-sdk's and Meltano's structured formatters write it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Exception<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    traceback: Seq<Maybe<Frame<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Frame<'a> {
    #[serde(borrow)]
    filename: Text<'a>,
    #[serde(borrow)]
    function: Text<'a>,
    lineno: Num,
    #[serde(borrow)]
    line: Text<'a>,
}

impl<'a> Exception<'a> {
    /// Converts the exception to a failure, its frames to Python's traceback text.
    pub(super) fn failure(self) -> Failure<'a> {
        let kind = self.kind.0.unwrap_or(Cow::Borrowed("exception"));
        let message = self.message.0.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| kind.clone());
        let frames = self.traceback.0.unwrap_or_default().into_iter().filter_map(|frame| frame.0);
        let mut stack = String::from("Traceback (most recent call last):\n");
        for frame in frames {
            let word = |text: &Text| text.0.as_deref().unwrap_or("?").to_owned();
            let (file, function) = (word(&frame.filename), word(&frame.function));
            stack.push_str(&format!("  File \"{file}\", line {}, in {function}\n", frame.lineno.0.unwrap_or(0)));
            if let Some(line) = frame.line.0 {
                stack.push_str(&format!("    {line}\n"));
            }
        }
        stack.push_str(&format!("{kind}: {message}"));
        Failure { stack: Some(stack.into()), ..Failure::of(ErrorLevel::Global, None, message) }
    }
}

/// Decodes a line of singer-sdk's structured log.
pub(super) fn json(text: &str) -> Option<Message<'_>> {
    let log = serde_json::from_str::<JsonLog>(text).ok()?;
    // Other programs log the remaining fields too, but neither `app_name` nor `extra`.
    if log.app_name.0.is_none() && log.extra.0.is_none() {
        return None;
    }
    let logger = log.logger_name.0?;
    let at = Some(log.ts.0?);
    let loaded = is_destination_logger(&logger);
    let kind = if let Some(metric) = log.metric_info.0 {
        metric.kind(loaded, None)?
    } else if let Some(failure) = log.exception.0.map(Exception::failure) {
        Kind::Failure(Box::new(failure))
    } else {
        log_kind(Level::from(log.level.0?.as_ref()), log.message.0?)
    };
    Some(Message::logged(at, Some(logger), kind))
}

/// True if a program announces in other words that a signal stops it.
fn is_shutdown(message: &str) -> bool {
    let lower = message.get(..message.len().min(80)).unwrap_or_default().to_ascii_lowercase();
    lower.starts_with("shutting down") || lower.contains("received sig") || lower.contains("gracefully")
}

/// Converts the text of a log line to a claim: shutdown, start of a stream, or plain log line.
pub(super) fn log_kind(level: Level, message: Cow<str>) -> Kind {
    if message.starts_with(SHUTDOWN) || message == TERMINATED || is_shutdown(&message) {
        return Kind::Stopping;
    }
    // The earliest sign that a stream has started.
    if let Some((name, _)) = message.strip_prefix(STREAM_START).and_then(|rest| rest.split_once('\'')) {
        let claim =
            StreamClaim { activity: Some(Activity::Moving), ..StreamClaim::of(Name::plain(name.to_owned().into())) };
        return Kind::Stream(Box::new(claim));
    }
    let context = (message.trim_end() == SYNC_START).then(|| Box::new(ProcessEvent::Starts.context()));
    Kind::Log(Box::new(Log { level, message, context, ..Log::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_after_any_prefix() {
        let metered = |text: &str| match metric(text)?.kind {
            Kind::Metered(metered) => {
                Some((metered.stream.name.to_string(), metered.records, metered.loaded == Some(true)))
            }
            _ => None,
        };
        let classic = r#"INFO METRIC: {"type": "counter", "metric": "record_count", "value": 300, "tags": {"endpoint": "users"}}"#;
        assert_eq!(metered(classic), Some(("users".into(), Some(300), false)));
        let older = r#"INFO METRIC: {"metric_type": "counter", "metric": "record_count", "value": 3, "tags": {"endpoint": "a"}}"#;
        assert_eq!(metered(older), Some(("a".into(), Some(3), false)));
        let meltano = r#"2026-11-20T08:38:06Z [info     ] target-demo  METRIC: {"metric":"record_count","value":7,"tags":{"stream":"b"}}"#;
        assert_eq!(metered(meltano), Some(("b".into(), Some(7), true)));
        let job = r#"INFO METRIC: {"metric":"job_duration","value":0.02,"tags":{"job_type":"sync_orders","status":"failed"}}"#;
        let Some(Kind::Stream(claim)) = metric(job).map(|message| message.kind) else { panic!("no claim") };
        assert_eq!((claim.stream.name.as_ref(), claim.status), ("orders", Some(Status::Errored)));
        assert!(metric("METRIC metric_name=record_count metric_value=0").is_none());
        assert!(metric("METRIC: {torn").is_none());
    }
}
