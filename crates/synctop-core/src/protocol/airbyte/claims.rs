//! Claims of Airbyte's messages.

use super::measure::measure;
use super::wire::{
    AirbyteEnvelope, AirbyteLog, AirbyteTrace, Descriptor, ErrorTrace, SourceStatus, StateMessage, StatusReason,
    StatusTrace,
};
use crate::protocol::adapter::Message;
use crate::protocol::failure::CAUSED_BY;
use crate::protocol::lenient::{Maybe, Text};
use crate::protocol::message::{
    Activity, Checkpoint, EmittedState, ErrorLevel, Estimate, Failure, Kind, Level, Log, Name, ProcessEvent, Record,
    Status, StreamClaim, StreamCursor,
};
use crate::protocol::scan::identity::Identity;
use std::borrow::Cow;

/// Message types; an envelope of any other type is unknown.
const KINDS: [&str; 9] =
    ["RECORD", "STATE", "LOG", "TRACE", "CONTROL", "SPEC", "CATALOG", "CONNECTION_STATUS", "DESTINATION_CATALOG"];

/// Generic error message of the connector development kit; the internal message has the cause.
const GENERIC_MESSAGE: &str = "Something went wrong in the connector. See the logs for more details.";

/// Prefix of the kit's final error that repeats the errors of the streams (`AbstractSource.read`).
/// Its type is always config_error, for any cause.
const ROLL_UP: &str = "During the sync, the following streams did not sync successfully";
/// Internal message of the same error in a concurrent read.
const ROLL_UP_INTERNAL: &str = "Concurrent read failure";

/// Prefix of the kit's log line at the start of a sync.
const SYNC_START: &str = "Starting syncing";
/// Prefix of the kit's log lines at the end of a stream and of the sync.
const SYNC_END: &str = "Finished syncing";

/// True if this protocol has messages of that type.
pub(super) fn has_type(kind: &str) -> bool {
    KINDS.contains(&kind)
}

/// Decodes a line; `None` if its payload does not match its type. Such a line is unknown.
pub(super) fn message(text: &str) -> Option<Message<'_>> {
    let envelope = serde_json::from_str::<AirbyteEnvelope>(text).ok()?;
    let mut at = None;
    let kind = match envelope.kind.0.as_deref()? {
        "RECORD" => {
            let record = envelope.record.0?;
            at = record.emitted_at.0;
            let stream = Name::with_namespace(record.namespace.0, record.stream.0?);
            Kind::Record(Record {
                stream,
                measure: record.data.map(|data| measure(data.get())),
                partial: false,
                not_numbers: 0,
            })
        }
        "STATE" => {
            let failures = envelope.source_status.0.and_then(source_failure).into_iter().collect();
            Kind::Checkpoint(Box::new(Checkpoint { failures, ..checkpoint(envelope.state.0?) }))
        }
        "LOG" => Kind::Log(Box::new(log(envelope.log.0?))),
        "TRACE" => {
            let trace = envelope.trace.0?;
            at = trace.emitted_at.0;
            trace_kind(trace)?
        }
        "CONTROL" => {
            at = envelope.control.0?.emitted_at.0;
            Kind::Note("control")
        }
        "SPEC" => envelope.spec.0.map(|_| Kind::Answer)?,
        "CATALOG" => {
            let streams = envelope.catalog.0?.streams.0?;
            Kind::AvailableStreams(streams.into_iter().filter_map(name).collect())
        }
        "CONNECTION_STATUS" => {
            let connection = envelope.connection.0?;
            let ok = match connection.status.0.as_deref() {
                Some("SUCCEEDED") => Some(true),
                Some("FAILED") => Some(false),
                _ => None,
            };
            Kind::Connection { ok, message: connection.message.0.or(connection.status.0) }
        }
        "DESTINATION_CATALOG" => envelope.destination_catalog.0.map(|_| Kind::Note("destination_catalog"))?,
        _ => return None,
    };
    Some(Message::new(at, None, kind))
}

fn name(descriptor: Maybe<Descriptor>) -> Option<Name> {
    let descriptor = descriptor.0?;
    Some(Name::with_namespace(descriptor.namespace.0, descriptor.name.0?))
}

/// Reads the failure of a source beside its state.
fn source_failure(status: SourceStatus<'_>) -> Option<Failure<'_>> {
    if status.status.0.as_deref() != Some("ERRORED") {
        return None;
    }
    let summary = status.message.0.and_then(|message| message.summary.0);
    let text = summary.unwrap_or(Cow::Borrowed("the source reports an error beside its state"));
    // The source goes on: the states behind this one settle its streams.
    Some(Failure { is_final: false, ..Failure::of(ErrorLevel::Stream, None, text) })
}

fn checkpoint(state: StateMessage) -> Checkpoint {
    let records = state.source.0.and_then(|stats| stats.record_count.0);
    let count = records.unwrap_or(u64::MAX);
    let committed = state.destination.0.is_some();
    if let Some(global) = state.global.0 {
        let mut id = Identity(1).and(global.shared_state.0);
        let mut streams = Vec::new();
        for state in global.stream_states.0.unwrap_or_default().into_iter().filter_map(|state| state.0) {
            let Some(stream) = name(state.stream_descriptor) else { continue };
            id = id.and(Identity::of_text(&stream.key()).0).and(state.stream_state.0);
            streams.push(StreamCursor { stream, id: state.stream_state.0 });
        }
        let handed = EmittedState { streams, id: id.and(count).0, records, committed, ..EmittedState::default() };
        return Checkpoint { handed: Some(handed.into()), ..Checkpoint::default() };
    }
    let (stream, id) = match state.stream.0 {
        Some(state) => (name(state.stream_descriptor), state.stream_state),
        None => (None, state.data.unwrap_or_default()),
    };
    let of = stream.as_ref().map_or(2, |stream| Identity::of_text(&stream.key()).0);
    let handed = EmittedState { id: id.and(of).and(count).0, records, committed, ..EmittedState::default() };
    Checkpoint { stream, handed: Some(handed.into()), ..Checkpoint::default() }
}

fn log(line: AirbyteLog) -> Log {
    let word = line.level.0.unwrap_or_default();
    let message = line.message.0.unwrap_or_default();
    let message = match line.stack_trace.0.filter(|stack| !message.contains(stack.as_ref())) {
        Some(stack) => Cow::Owned(format!("{message}\n{stack}")),
        None => message,
    };
    let context = process_word(&message).map(|word| Box::new(word.context()));
    // Older kits end with the text of an exception that has none.
    if message.lines().next().is_some_and(|first| first.trim() == "None") {
        return Log { message, context, ..Log::default() };
    }
    let (level, fatal) = (Level::from(&*word), word.eq_ignore_ascii_case("FATAL"));
    let message = if level >= Level::Error { with_root_cause(message) } else { message };
    Log { level, message, fatal, context, ..Log::default() }
}

/// Reads the kit's log lines at the start of a sync, at the end of a stream and at the end of the
/// source (`AbstractSource.read`).
fn process_word(message: &str) -> Option<ProcessEvent<'static>> {
    if message.starts_with(SYNC_START) {
        return Some(ProcessEvent::Starts);
    }
    message.strip_prefix(SYNC_END).map(|name| ProcessEvent::Finishes(name.trim().to_owned().into()))
}

fn trace_kind(trace: AirbyteTrace) -> Option<Kind> {
    Some(match trace.kind.0.as_deref()? {
        "STREAM_STATUS" => Kind::Stream(Box::new(status(trace.stream_status.0?)?)),
        "ERROR" => Kind::Failure(Box::new(failure(trace.error.0?))),
        "ESTIMATE" => {
            let estimate = trace.estimate.0?;
            // The estimate of a whole sync has a name too (such as `*`), but no stream.
            let stream = match estimate.kind.0.as_deref()? {
                "STREAM" => Some(Name::with_namespace(estimate.namespace.0, estimate.name.0?)),
                "SYNC" => None,
                _ => return None,
            };
            let (rows, bytes) = (estimate.row_estimate.0, estimate.byte_estimate.0);
            Kind::Estimate(Box::new(Estimate { stream, rows, bytes }))
        }
        "ANALYTICS" => {
            let analytics = trace.analytics.0?;
            let value = analytics.value.0.map(|value| format!(" = {value}")).unwrap_or_default();
            let message = format!("analytics: {}{value}", analytics.kind.0.unwrap_or_default());
            Kind::Log(Box::new(Log { message: message.into(), ..Log::default() }))
        }
        _ => return None,
    })
}

fn status(trace: StatusTrace) -> Option<StreamClaim> {
    let mut claim = StreamClaim::of(name(trace.stream_descriptor)?);
    let reasons = trace.reasons.0.unwrap_or_default().into_iter().filter_map(|reason| reason.0);
    let limited = reasons.into_iter().find(|reason| reason.kind.0.as_deref() == Some("RATE_LIMITED"));
    match trace.status.0 {
        Some(word) => match word.as_ref() {
            "STARTED" => claim.status = Some(Status::Started),
            "RUNNING" => {
                let until = |limit: StatusReason| limit.rate_limited.0.and_then(|limit| limit.quota_reset.0);
                claim.activity = Some(limited.map_or(Activity::Moving, |limit| Activity::Limited(until(limit))));
            }
            "COMPLETE" => claim.status = Some(Status::Completed),
            "INCOMPLETE" => claim.status = Some(Status::Errored),
            _ => claim.odd_status = Some(word),
        },
        None => return None,
    }
    Some(claim)
}

/// Returns the text unless it is blank.
fn non_blank(text: Text) -> Option<Cow<str>> {
    text.0.filter(|text| !text.trim().is_empty())
}

fn failure(error: ErrorTrace) -> Failure {
    let stack = non_blank(error.stack_trace);
    let root = stack.as_deref().and_then(root_cause).map(str::to_owned);
    let (message, internal) = (non_blank(error.message), non_blank(error.internal_message));
    let stream = name(error.stream_descriptor);
    let roll_up = stream.is_none()
        && (internal.as_deref() == Some(ROLL_UP_INTERNAL)
            || message.as_deref().is_some_and(|text| text.starts_with(ROLL_UP)));
    // The platform treats a missing or unknown type as system_error.
    let failure_type = match error.failure_type.0 {
        Some(word) if matches!(word.as_ref(), "config_error" | "system_error" | "transient_error") => word,
        _ => Cow::Borrowed("system_error"),
    };
    let level = match &stream {
        None => ErrorLevel::Global,
        Some(_) if failure_type == "transient_error" => ErrorLevel::Transient,
        Some(_) => ErrorLevel::Stream,
    };
    let (message, internal) = match (message, internal) {
        (Some(message), Some(internal)) if message == GENERIC_MESSAGE => (internal, Some(message)),
        (Some(message), internal) => (message, internal),
        (None, internal) => (internal.unwrap_or_default(), None),
    };
    // A chain of Java ends with the exception that has the reason.
    let message = match root {
        Some(root) if !roll_up && !message.contains(&root) => Cow::Owned(format!("{message}{CAUSED_BY}{root}")),
        _ => message,
    };
    let parts = if roll_up { roll_up_parts(&message) } else { Vec::new() };
    Failure { failure_type: Some(failure_type), internal, stack, roll_up, parts, ..Failure::of(level, stream, message) }
}

/// Adds the root cause of the stack trace below a log message to its first line.
fn with_root_cause(message: Cow<'_, str>) -> Cow<'_, str> {
    let Some((first, stack)) = message.split_once('\n') else { return message };
    let raised = || stack.lines().next().filter(|_| first.contains(GENERIC_MESSAGE)).map(str::trim);
    match root_cause(stack).or_else(raised) {
        Some(root) if !root.is_empty() && !first.contains(root) => {
            Cow::Owned(format!("{first}{CAUSED_BY}{root}\n{stack}"))
        }
        _ => message,
    }
}

/// Returns the last `Caused by: …` of a Java stack trace.
fn root_cause(stack: &str) -> Option<&str> {
    let (_, rest) = stack.rsplit_once("Caused by: ")?;
    rest.lines().next().map(str::trim).filter(|cause| !cause.is_empty())
}

/// Splits a roll-up (`…: orders: HTTPError('403'), users: …`) into the errors of its streams. They
/// have no type: that of a roll-up is the same for any cause.
fn roll_up_parts(message: &str) -> Vec<Failure<'static>> {
    let Some(list) = message.strip_prefix(ROLL_UP).map(|rest| rest.trim_start_matches([' ', ':'])) else {
        return Vec::new();
    };
    // A name has no spaces and quotes; a comma inside the quotes of an error is no separator.
    let is_name = |name: &str| !name.is_empty() && !name.contains([' ', '\'', '"', '(', ')', '/']);
    let begins =
        |at: &usize| list.get(*at..).and_then(|rest| rest.split_once(": ")).is_some_and(|(name, _)| is_name(name));
    let starts: Vec<usize> = std::iter::once(0).chain(separators(list)).filter(begins).collect();
    let ends = starts.iter().skip(1).map(|at| at - 2).chain([list.len()]);
    let part = |(start, end): (&usize, usize)| {
        let (name, text) = list.get(*start..end)?.split_once(": ")?;
        let failure = Failure::of(
            ErrorLevel::Stream,
            Some(Name::plain(name.to_owned().into())),
            exception_text(text).to_owned().into(),
        );
        Some(failure)
    };
    starts.iter().zip(ends).filter_map(part).collect()
}

/// Returns the offsets behind each `, ` outside of a quoted argument, such as that of
/// `HTTPError('a, b')`.
fn separators(list: &str) -> Vec<usize> {
    let bytes = list.as_bytes();
    let (mut quote, mut found) = (None, Vec::new());
    for (at, byte) in bytes.iter().enumerate() {
        let next = bytes.get(at + 1);
        match quote {
            Some(open) if *byte == open && matches!(next, Some(b')' | b',')) => quote = None,
            Some(_) => {}
            None if matches!(byte, b'\'' | b'"') && at.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b'(') => {
                quote = Some(*byte);
            }
            None if *byte == b',' && next == Some(&b' ') => found.push(at + 2),
            None => {}
        }
    }
    found
}

/// Returns the text in Python's representation of an exception, such as `HTTPError('403')`.
fn exception_text(text: &str) -> &str {
    let text = text.trim();
    let inner = text.split_once('(').and_then(|(class, rest)| {
        let rest = rest.strip_suffix(')')?;
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let inner = rest.strip_prefix(quote)?.strip_suffix(quote)?;
        // A short text means nothing without its class: `KeyError('id')`.
        let is_class = class.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.');
        (is_class && inner.contains(' ')).then_some(inner)
    });
    inner.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_classified_by_fields_not_by_text() {
        let kind = |text| message(text).map(|message| message.kind);
        let limited = r#"{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1795163557591.585,"stream_status":
            {"stream_descriptor":{"name":"a","namespace":"n"},"status":"RUNNING","reasons":[{"type":"RATE_LIMITED","rate_limited":{"quota_reset":1795163559000}}]}}}"#;
        let Some(Kind::Stream(claim)) = kind(limited) else { panic!("no claim") };
        assert_eq!(claim.activity, Some(Activity::Limited(Some(1_795_163_559_000))));
        assert_eq!(claim.stream.label(), "n.a");
        assert_eq!(message(limited).and_then(|message| message.at), Some(1_795_163_557_591));
        for none in [
            r#"{"type":"RECORD","record":{"data":{}}}"#,
            r#"{"type":"record","record":{"stream":"a"}}"#,
            r#"{"type":"HEARTBEAT","heartbeat":{}}"#,
            r#"{"type":"LOG","log":"text"}"#,
            r#"{"type":"TRACE","trace":{"type":"NOVEL"}}"#,
        ] {
            assert_eq!(kind(none), None, "{none}");
        }
        let Some(Kind::Failure(crash)) = kind(
            r#"{"type":"TRACE","trace":{"type":"ERROR","error":{"message":"Something went wrong in the connector. See the logs for more details.","internal_message":"boom","failure_type":"odd"}}}"#,
        ) else {
            panic!("no failure")
        };
        assert_eq!((crash.message.as_ref(), crash.failure_type.as_deref()), ("boom", Some("system_error")));
        assert!(!crash.roll_up);
    }
}
