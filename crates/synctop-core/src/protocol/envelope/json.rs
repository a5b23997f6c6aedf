//! JSON envelopes of log collectors. An envelope is opened if it has the payload and a field that
//! only this collector writes, because programs log objects with `message` and `time` too.

use super::opened::{Clock, Opened, Output};
use crate::protocol::lenient::{LenientInstant, Maybe, Text};
use crate::protocol::time;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Docker splits lines at this length; a part has no newline.
const DOCKER_PART: usize = 16 * 1024;

/// Slack of that length, because a part does not end inside a character.
const CHARACTER: usize = 4;

/// Fields of all envelopes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields<'a> {
    /// Docker's json-file driver, Fluent Bit, Fluentd, FireLens.
    #[serde(borrow)]
    log: Text<'a>,
    #[serde(borrow)]
    stream: Text<'a>,
    #[serde(borrow)]
    logtag: Text<'a>,
    #[serde(borrow)]
    source: Text<'a>,
    #[serde(borrow)]
    time: Text<'a>,
    #[serde(borrow)]
    date: Text<'a>,
    #[serde(borrow)]
    container_id: Text<'a>,
    #[serde(borrow)]
    container_name: Text<'a>,
    kubernetes: Maybe<Nothing>,
    #[serde(borrow)]
    ecs_cluster: Text<'a>,
    #[serde(borrow)]
    partial_message: Text<'a>,
    #[serde(borrow)]
    partial_last: Text<'a>,
    /// journald.
    #[serde(borrow, rename = "MESSAGE")]
    journal_message: Option<&'a RawValue>,
    #[serde(borrow, rename = "__REALTIME_TIMESTAMP")]
    journal_time: Text<'a>,
    #[serde(borrow, rename = "_SYSTEMD_UNIT")]
    unit: Text<'a>,
    #[serde(borrow, rename = "SYSLOG_IDENTIFIER")]
    identifier: Text<'a>,
    /// Google Cloud Logging.
    #[serde(borrow, rename = "textPayload")]
    text_payload: Text<'a>,
    #[serde(borrow, rename = "jsonPayload")]
    json_payload: Option<&'a RawValue>,
    #[serde(borrow, rename = "logName")]
    log_name: Text<'a>,
    #[serde(borrow, rename = "insertId")]
    insert_id: Text<'a>,
    resource: Maybe<Nothing>,
    /// Datadog, CloudWatch, Vector, Logstash.
    #[serde(borrow)]
    message: Text<'a>,
    timestamp: LenientInstant,
    #[serde(rename = "@timestamp")]
    at_timestamp: LenientInstant,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    #[serde(borrow)]
    ddsource: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, rename = "_id")]
    archive_id: Text<'a>,
    #[serde(borrow)]
    service: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    source_type: Text<'a>,
    #[serde(borrow, rename = "logStreamName")]
    log_stream: Text<'a>,
    #[serde(borrow, rename = "eventId")]
    event_id: Text<'a>,
    #[serde(rename = "ingestionTime")]
    ingestion: LenientInstant,
    /// Loki.
    #[serde(borrow)]
    line: Text<'a>,
    labels: Maybe<Nothing>,
    /// Azure.
    #[serde(borrow, rename = "Log")]
    azure_log: Text<'a>,
    #[serde(borrow, rename = "TimeStamp")]
    azure_time: Text<'a>,
    /// Airflow's JSON log.
    #[serde(borrow)]
    event: Text<'a>,
    #[serde(borrow)]
    logger: Text<'a>,
}

/// Any object; its fields are not needed.
#[derive(Debug, Default, Deserialize)]
struct Nothing {}

/// `attributes` of an event of Datadog. Its own `attributes` are the fields of a JSON line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attributes<'a> {
    #[serde(borrow)]
    message: Text<'a>,
    timestamp: LenientInstant,
    #[serde(borrow)]
    service: Text<'a>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
}

/// Payload of Google Cloud Logging whose line was no JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    event: Text<'a>,
}

/// Opens an envelope; `None` if the object is none that is known.
pub(super) fn open(line: &str) -> Option<Opened<'_>> {
    let mut fields = serde_json::from_str::<Fields>(line).ok()?;
    let time = fields.time.0.as_deref().and_then(time::parse);
    let stamp = fields.timestamp.0.or(fields.at_timestamp.0);
    let output = output_of(fields.stream.0.as_deref().or(fields.source.0.as_deref()));
    let of = |text: Cow<str>, at: Option<time::Millis>, output: Option<Output>| {
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        let clock = at.map(|at| Clock { at, is_zoned: true });
        Opened { text: text.into(), clock, output, continues: false, is_enveloped: true }
    };
    if let Some(log) = fields.log.0.take() {
        let from_docker = output.is_some() && fields.time.0.is_some();
        let collected = fields.container_id.0.is_some()
            || fields.container_name.0.is_some()
            || fields.kubernetes.0.is_some()
            || fields.ecs_cluster.0.is_some()
            || fields.logtag.0.is_some()
            || fields.date.0.is_some()
            || fields.at_timestamp.0.is_some();
        if !from_docker && !collected {
            return None;
        }
        let is = |flag: &Text, word: &str| flag.0.as_deref() == Some(word);
        let split = fields.logtag.0.as_deref() == Some("P")
            || (is(&fields.partial_message, "true") && !is(&fields.partial_last, "true"))
            // Collectors remove the newline, so its absence alone is no sign.
            || (from_docker && !collected && !log.ends_with('\n') && log.len() + CHARACTER > DOCKER_PART);
        let date = fields.date.0.as_deref().and_then(|date| seconds(date).or_else(|| time::parse(date)));
        return Some(Opened { continues: split, ..of(log, time.or(stamp).or(date), output) });
    }
    if let Some(text) = fields.journal_message.and_then(|message| journal_text(message.get())) {
        let known = fields.journal_time.0.is_some() || fields.unit.0.is_some() || fields.identifier.0.is_some();
        let micros = fields.journal_time.0.as_deref().and_then(|micros| micros.parse::<i64>().ok());
        return known.then(|| of(text, micros.map(|micros| micros / 1000), None));
    }
    let from_google = fields.log_name.0.is_some() || fields.insert_id.0.is_some() || fields.resource.0.is_some();
    if from_google && (fields.text_payload.0.is_some() || fields.json_payload.is_some()) {
        let output = fields.log_name.0.as_deref().and_then(|name| output_of(name.rsplit(['/', '%']).next()));
        let text = match (fields.text_payload.0.take(), fields.json_payload) {
            (Some(text), _) => text,
            (None, Some(payload)) => payload_text(payload.get())?,
            (None, None) => return None,
        };
        return Some(of(text, stamp, output));
    }
    if let Some(object) = fields.attributes.map(RawValue::get)
        && let Ok(attributes) = serde_json::from_str::<Attributes>(object)
    {
        let from_datadog = fields.id.0.is_some() || fields.archive_id.0.is_some() || attributes.service.0.is_some();
        let at = attributes.timestamp.0.or(stamp).or_else(|| fields.date.0.as_deref().and_then(time::parse));
        let line = attributes.attributes.map(RawValue::get).filter(|object| object.len() > 2);
        let text = attributes.message.0.or(fields.message.0.take()).filter(|text| !text.is_empty());
        // Fields of a JSON line are the attributes themselves in an archive.
        let own = fields.archive_id.0.is_some().then_some(object);
        let text = text.or_else(|| line.or(own).map(|object| Cow::Owned(object.to_owned())))?;
        return from_datadog.then(|| of(text, at, None));
    }
    if let Some(text) = fields.message.0.take() {
        let from_datadog = fields.ddsource.0.is_some()
            || (fields.archive_id.0.is_some() && (fields.service.0.is_some() || fields.status.0.is_some()));
        let from_cloudwatch =
            fields.log_stream.0.is_some() || fields.event_id.0.is_some() || fields.ingestion.0.is_some();
        let collected = (stamp.is_some() || time.is_some())
            && (fields.source_type.0.is_some()
                || fields.kubernetes.0.is_some()
                || fields.container_name.0.is_some()
                || output.is_some());
        let date = fields.date.0.as_deref().and_then(time::parse);
        return (from_datadog || from_cloudwatch || collected).then(|| of(text, stamp.or(time).or(date), output));
    }
    if let Some(text) = fields.line.0.take() {
        return fields.labels.0.is_some().then(|| of(text, stamp, None));
    }
    if let (Some(text), Some(at)) = (fields.azure_log.0.take(), fields.azure_time.0.as_deref()) {
        return Some(of(text, time::parse(at), None));
    }
    let from_airflow = fields.logger.0.as_deref().is_some_and(|logger| logger.starts_with("airflow"));
    if let Some(event) = fields.event.0.take().filter(|_| from_airflow) {
        let container = event.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map(|(_, text)| text.to_owned());
        return Some(of(container.map_or(event, Cow::Owned), stamp, None));
    }
    None
}

fn output_of(name: Option<&str>) -> Option<Output> {
    match name? {
        "stdout" | "2Fstdout" => Some(Output::Stdout),
        "stderr" | "2Fstderr" => Some(Output::Stderr),
        _ => None,
    }
}

/// Reads a field of journald: a string, or its bytes if it has control characters.
fn journal_text(value: &str) -> Option<Cow<'_, str>> {
    if value.starts_with('[') {
        let bytes = serde_json::from_str::<Vec<u8>>(value).ok()?;
        return Some(String::from_utf8_lossy(&bytes).into_owned().into());
    }
    serde_json::from_str::<Text>(value).ok()?.0.filter(|_| value.starts_with('"'))
}

/// Parses seconds since 1970 with a fraction, as Fluent Bit prints them.
fn seconds(text: &str) -> Option<time::Millis> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..1e11).contains(seconds))?;
    #[expect(clippy::cast_possible_truncation, reason = "within the range of instants")]
    Some((seconds * 1000.0).round() as time::Millis)
}

/// Returns the line of a `jsonPayload`: the object itself if the program printed it, otherwise its
/// `message`.
fn payload_text(object: &str) -> Option<Cow<'_, str>> {
    let payload = serde_json::from_str::<Payload>(object).ok()?;
    match (payload.kind.0.or(payload.event.0), payload.message.0) {
        (None, Some(message)) => Some(message),
        _ => Some(Cow::Borrowed(object)),
    }
}
