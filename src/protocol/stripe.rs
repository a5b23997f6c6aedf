//! Stripe's sync-engine: one envelope, three generations.
//!
//! * `trace`: statuses, totals and errors inside `trace`; cumulative and attempt counts side by side; "complete" runs ahead of
//!   the checkpoints behind it; `eof.reason`.
//! * `progress`: `stream_status` and a full-replacement `progress` at the top level; counts that go on or start again
//!   (it depends on a run id which is not in the output); `eof.status` and `has_more`.
//! * `start`/`end`: a design without an engine yet; `progress` with `terminal` and an error list.
//!
//! Shapes and surprises: the recordings of published engines of 2026-11-20.

use super::lenient::{Entries, Flag, Maybe, Num, Seq, Span, Text, When};
use super::message::{
    Checkpoint, Counts, End, EndWord, Failure, Kind, Level, Log, Message, Name, ProgressReport, Retry, State, Status,
    StreamClaim, StreamReport, Where,
};
use serde::Deserialize;
use std::borrow::Cow;

/// The kinds of every generation; an envelope of any other kind is unknown.
pub(super) const KINDS: [&str; 14] = [
    "catalog",
    "record",
    "source_state",
    "trace",
    "stream_status",
    "progress",
    "connection_status",
    "log",
    "control",
    "spec",
    "eof",
    "start",
    "end",
    "source_input",
];

/// Which generation printed a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    Trace,
    Progress,
    StartEnd,
}

impl Generation {
    /// Whether this generation has messages of that kind.
    pub(super) fn has(self, kind: &str) -> bool {
        match kind {
            "trace" => self == Self::Trace,
            "catalog" | "spec" => self != Self::StartEnd,
            "stream_status" | "progress" => self != Self::Trace,
            "eof" => self != Self::StartEnd,
            "start" | "end" => self == Self::StartEnd,
            _ => true,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(rename = "_ts")]
    at: When,
    #[serde(borrow, rename = "_emitted_by")]
    from: Text<'a>,
    #[serde(borrow)]
    record: Maybe<Record<'a>>,
    #[serde(borrow)]
    source_state: Maybe<SourceState<'a>>,
    #[serde(borrow)]
    trace: Maybe<Trace<'a>>,
    #[serde(borrow)]
    stream_status: Maybe<StreamStatus<'a>>,
    #[serde(borrow)]
    progress: Maybe<Progress<'a>>,
    #[serde(borrow)]
    connection_status: Maybe<Connection<'a>>,
    #[serde(borrow)]
    log: Maybe<LogLine<'a>>,
    #[serde(borrow)]
    catalog: Maybe<Catalog<'a>>,
    #[serde(borrow)]
    eof: Maybe<Eof<'a>>,
    #[serde(borrow)]
    start: Maybe<Start<'a>>,
    #[serde(borrow)]
    end: Maybe<Eof<'a>>,
    control: Maybe<Nothing>,
    spec: Maybe<Nothing>,
    source_input: Maybe<Nothing>,
}

#[derive(Debug, Default, Deserialize)]
struct Nothing {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    stream: Text<'a>,
    emitted_at: When,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SourceState<'a> {
    #[serde(borrow)]
    stream: Text<'a>,
    #[serde(borrow)]
    data: Maybe<StateData<'a>>,
}

/// A source's state of one stream: `status` and `backfill` in the trace generation, `remaining` in the progress generation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StateData<'a> {
    #[serde(borrow)]
    status: Text<'a>,
    backfill: Maybe<Backfill>,
    accounted_range: Maybe<Span>,
    remaining: Seq<Maybe<Span>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Backfill {
    range: Maybe<Span>,
    completed: Seq<Maybe<Span>>,
    in_flight: Seq<Maybe<Span>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Trace<'a> {
    #[serde(borrow)]
    trace_type: Text<'a>,
    #[serde(borrow)]
    stream_status: Maybe<StreamStatus<'a>>,
    global_progress: Maybe<Totals>,
    #[serde(borrow)]
    error: Maybe<TraceError<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TraceError<'a> {
    #[serde(borrow)]
    failure_type: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    stack_trace: Text<'a>,
    #[serde(borrow)]
    stream: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamStatus<'a> {
    #[serde(borrow)]
    stream: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    cumulative_record_count: Num,
    run_record_count: Num,
    time_range: Maybe<Span>,
    range_complete: Maybe<Span>,
    #[serde(borrow)]
    error: Text<'a>,
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    errors: Seq<Maybe<TraceError<'a>>>,
}

/// `global_progress` of the trace generation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Totals {
    elapsed_ms: Num,
    cumulative_elapsed_ms: Num,
    run_record_count: Num,
    cumulative_record_count: Num,
    request_count: Num,
    cumulative_request_count: Num,
    state_checkpoint_count: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Progress<'a> {
    started_at: When,
    elapsed_ms: Num,
    derived: Maybe<Derived>,
    #[serde(borrow)]
    streams: Entries<'a, Maybe<ProgressStream<'a>>>,
    #[serde(borrow)]
    errors: Seq<Maybe<ListedError<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Derived {
    total_record_count: Num,
    total_state_count: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProgressStream<'a> {
    #[serde(borrow)]
    status: Text<'a>,
    state_count: Num,
    record_count: Num,
    total_range: Maybe<Span>,
    completed_ranges: Seq<Maybe<Span>>,
    #[serde(borrow)]
    message: Text<'a>,
    terminal: Flag,
    insert_count: Num,
    update_count: Num,
    delete_count: Num,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListedError<'a> {
    #[serde(borrow)]
    error_level: Text<'a>,
    #[serde(borrow)]
    failure_type: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    stream: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connection<'a> {
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LogLine<'a> {
    #[serde(borrow)]
    level: Text<'a>,
    #[serde(borrow)]
    message: Text<'a>,
    #[serde(borrow)]
    data: Maybe<LogData<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LogData<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    stream: Text<'a>,
    #[serde(borrow)]
    label: Text<'a>,
    attempt: Num,
    max_retries: Num,
    delay_ms: Num,
    status: Num,
    #[serde(borrow)]
    error_message: Text<'a>,
    #[serde(borrow)]
    err: Text<'a>,
    #[serde(borrow, rename = "configuredStreams")]
    configured_streams: Seq<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Catalog<'a> {
    #[serde(borrow)]
    streams: Seq<Maybe<CatalogStream<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CatalogStream<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    stream: Maybe<InnerStream<'a>>,
}

/// A configured catalog may wrap each stream once more.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InnerStream<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Start<'a> {
    #[serde(borrow)]
    configured_catalog: Maybe<Catalog<'a>>,
}

/// `eof` of both generations, and `end`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Eof<'a> {
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    has_more: Flag,
    elapsed_ms: Num,
    #[serde(borrow)]
    state: Maybe<Returned<'a>>,
    #[serde(borrow)]
    ending_state: Maybe<Returned<'a>>,
    global_progress: Maybe<Totals>,
    #[serde(borrow)]
    stream_progress: Entries<'a, Maybe<StreamStatus<'a>>>,
    #[serde(borrow)]
    run_progress: Maybe<Progress<'a>>,
    #[serde(borrow)]
    request_progress: Maybe<Progress<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Returned<'a> {
    #[serde(borrow)]
    source: Maybe<ReturnedSource<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReturnedSource<'a> {
    #[serde(borrow)]
    streams: Entries<'a, Maybe<StateData<'a>>>,
}

/// The message of an envelope; `None` where its payload is not what its kind promises (it is then unknown).
pub(super) fn message(envelope: Envelope) -> Option<Message> {
    let mut at = envelope.at.0;
    let mut from = envelope.from.0;
    let kind = match envelope.kind.0.as_deref()? {
        "record" => {
            let record = envelope.record.0?;
            at = at.or(record.emitted_at.0);
            Kind::Record(Name::plain(record.stream.0?))
        }
        "source_state" => {
            let state = envelope.source_state.0?;
            Kind::Checkpoint(Checkpoint {
                stream: state.stream.0.map(Name::plain),
                state: state.data.0.map(StateData::state).unwrap_or_default(),
            })
        }
        "trace" => trace(envelope.trace.0?)?,
        "stream_status" => Kind::Stream(Box::new(envelope.stream_status.0?.claim(false)?)),
        "progress" => Kind::Progress(Box::new(envelope.progress.0?.report())),
        "connection_status" => {
            let connection = envelope.connection_status.0?;
            Kind::Connection { ok: connected(connection.status.0.as_deref()), message: connection.message.0 }
        }
        "log" => {
            let mut log = envelope.log.0?;
            from = from.or_else(|| log.data.0.as_mut().and_then(|data| data.name.0.take()));
            Kind::Log(Box::new(log.log()))
        }
        "catalog" => Kind::Catalog(envelope.catalog.0?.names()),
        "start" => Kind::Catalog(envelope.start.0?.configured_catalog.0.map(Catalog::names).unwrap_or_default()),
        "eof" => Kind::End(Box::new(envelope.eof.0?.end())),
        "end" => Kind::End(Box::new(envelope.end.0?.end())),
        "control" => envelope.control.0.map(|_| Kind::Note("control"))?,
        "spec" => envelope.spec.0.map(|_| Kind::Note("spec"))?,
        "source_input" => envelope.source_input.0.map(|_| Kind::Note("source_input"))?,
        _ => return None,
    };
    Some(Message { at, from, kind })
}

fn trace(trace: Trace) -> Option<Kind> {
    Some(match trace.trace_type.0.as_deref()? {
        "stream_status" => Kind::Stream(Box::new(trace.stream_status.0?.claim(true)?)),
        "global_progress" => Kind::Progress(Box::new(trace.global_progress.0?.report())),
        "error" => Kind::Failure(Box::new(trace.error.0?.failure(None))),
        "estimate" => Kind::Note("estimate"),
        _ => return None,
    })
}

fn connected(word: Option<&str>) -> Option<bool> {
    match word {
        Some("succeeded") => Some(true),
        Some("failed") => Some(false),
        _ => None,
    }
}

fn status(word: &str) -> Option<Status> {
    Some(match word {
        "not_started" | "pending" => Status::NotStarted,
        "start" | "started" | "running" | "range_complete" => Status::Started,
        "complete" | "completed" => Status::Completed,
        "skip" | "skipped" => Status::Skipped,
        "error" | "errored" | "failed" => Status::Errored,
        _ => return None,
    })
}

impl<'a> StreamStatus<'a> {
    fn claim(self, early: bool) -> Option<StreamClaim<'a>> {
        let records = self.counts_of();
        let word = self.status.0;
        // A finished range is a fact about a started stream, not a new start.
        let said = word.as_deref().filter(|word| *word != "range_complete");
        let known = said.and_then(status);
        let odd = said.is_some() && known.is_none();
        Some(StreamClaim {
            records,
            stream: Name::plain(self.stream.0?),
            status: known,
            odd_status: if odd { word } else { None },
            error: self.error.0,
            reason: self.reason.0,
            total: self.time_range.range(),
            completed: self.range_complete.range(),
            early,
        })
    }

    fn counts_of(&self) -> Counts {
        Counts { attempt: self.run_record_count.0, cumulative: self.cumulative_record_count.0, running: None }
    }
}

impl Totals {
    fn report<'a>(&self) -> ProgressReport<'a> {
        let counts =
            |attempt: Num, cumulative: Num| Counts { attempt: attempt.0, cumulative: cumulative.0, running: None };
        ProgressReport {
            elapsed: counts(self.elapsed_ms, self.cumulative_elapsed_ms),
            records: counts(self.run_record_count, self.cumulative_record_count),
            requests: counts(self.request_count, self.cumulative_request_count),
            checkpoints: self.state_checkpoint_count.0,
            ..ProgressReport::default()
        }
    }
}

impl<'a> TraceError<'a> {
    fn failure(self, stream: Option<Name<'a>>) -> Failure<'a> {
        let stream = stream.or_else(|| self.stream.0.map(Name::plain));
        let transient = self.failure_type.0.as_deref() == Some("transient_error");
        Failure {
            level: match &stream {
                None => Where::Global,
                Some(_) if transient => Where::Transient,
                Some(_) => Where::Stream,
            },
            failure_type: self.failure_type.0,
            stream,
            message: self.message.0.unwrap_or_default(),
            stack: self.stack_trace.0,
            // Retries are over when this generation prints an error.
            is_final: true,
        }
    }
}

impl<'a> Progress<'a> {
    fn report(self) -> ProgressReport<'a> {
        let derived = self.derived.0.unwrap_or_default();
        let errors: Vec<Failure> = self
            .errors
            .0
            .unwrap_or_default()
            .into_iter()
            .filter_map(|error| error.0.map(ListedError::failure))
            .collect();
        let failed = |name: &str| {
            errors.iter().any(|e| e.is_final && e.stream.as_ref().is_some_and(|stream| stream.name == name))
        };
        let streams = self.streams.0.unwrap_or_default().into_iter();
        let streams = streams.filter_map(|(name, stream)| stream.0.map(|stream| (stream.report(failed(&name)), name)));
        ProgressReport {
            started_at: self.started_at.0,
            elapsed: Counts::running(self.elapsed_ms.0),
            records: Counts::running(derived.total_record_count.0),
            requests: Counts::default(),
            checkpoints: derived.total_state_count.0,
            streams: streams.map(|(report, name)| (Name::plain(name), report)).collect(),
            errors,
        }
    }
}

impl<'a> ProgressStream<'a> {
    fn report(self, failed: bool) -> StreamReport<'a> {
        let moving = self.state_count.0.unwrap_or(0) > 0 || self.record_count.0.unwrap_or(0) > 0;
        let said = self.status.0.as_deref().and_then(status);
        let odd_status = if said.is_none() { self.status.0 } else { None };
        let status = match (said, self.terminal.0) {
            (Some(status), _) => Some(status),
            (None, Some(true)) if failed => Some(Status::Errored),
            (None, Some(true)) => Some(Status::Completed),
            (None, Some(false)) if moving => Some(Status::Started),
            (None, _) => None,
        };
        StreamReport {
            status,
            odd_status,
            records: Counts::running(self.record_count.0),
            message: self.message.0.filter(|text| !text.is_empty()),
            total: self.total_range.range(),
            completed: self.completed_ranges.ranges(),
            inserted: self.insert_count.0,
            updated: self.update_count.0,
            deleted: self.delete_count.0,
        }
    }
}

impl<'a> ListedError<'a> {
    fn failure(self) -> Failure<'a> {
        let stream = self.stream.0.map(Name::plain);
        let level = match self.error_level.0.as_deref() {
            Some("global") => Where::Global,
            Some("transient") => Where::Transient,
            Some("stream") => Where::Stream,
            _ if stream.is_some() => Where::Stream,
            _ => Where::Global,
        };
        Failure {
            level,
            failure_type: self.failure_type.0,
            stream,
            message: self.message.0.unwrap_or_default(),
            stack: None,
            is_final: level != Where::Transient,
        }
    }
}

impl<'a> StateData<'a> {
    fn state(self) -> State<'a> {
        let failure = self.status.0.as_ref().filter(|word| word.ends_with("_error")).cloned();
        let backfill = self.backfill.0.unwrap_or_default();
        let by_status = self.status.0.as_deref().map(|word| matches!(word, "complete" | "completed"));
        let by_ranges = self.remaining.0.as_ref().map(Vec::is_empty);
        // Either of them says so.
        let done = by_status.max(by_ranges);
        let open = if done == Some(true) { 0 } else { backfill.in_flight.0.map_or(0, |ranges| ranges.len()) };
        State {
            done,
            left: self.remaining.0.map_or(open, |ranges| ranges.len()),
            failure,
            total: backfill.range.range().or_else(|| self.accounted_range.range()),
            completed: backfill.completed.ranges(),
        }
    }
}

impl<'a> LogLine<'a> {
    fn log(self) -> Log<'a> {
        let data = self.data.0.unwrap_or_default();
        let level = Level::from_word(self.level.0.as_deref().unwrap_or_default());
        let message = match self.message.0 {
            Some(text) if !text.is_empty() => text,
            _ => data.err.0.clone().or_else(|| data.error_message.0.clone()).unwrap_or_default(),
        };
        // A retry is known by its fields, never by its words.
        let retry = match (data.attempt.0, data.delay_ms.0) {
            (Some(attempt), Some(delay_ms)) => Some(Retry {
                status: data.status.0.and_then(|status| u16::try_from(status).ok()),
                attempt,
                max: data.max_retries.0,
                delay_ms,
                error: data.error_message.0,
            }),
            _ => None,
        };
        let stream = data.stream.0.or_else(|| retry.as_ref().and(data.label.0).and_then(in_parentheses));
        let asked = data.configured_streams.0.unwrap_or_default().into_iter().filter_map(|name| name.0).collect();
        Log { level, message, stream, retry, asked }
    }
}

/// The stream in a request's label: `LIST /v1/payouts (payout)`.
fn in_parentheses(label: Cow<str>) -> Option<Cow<str>> {
    let (_, rest) = label.rsplit_once('(')?;
    let (name, _) = rest.split_once(')')?;
    (!name.is_empty()).then(|| Cow::Owned(name.to_owned()))
}

impl<'a> Catalog<'a> {
    fn names(self) -> Vec<Name<'a>> {
        let streams = self.streams.0.unwrap_or_default().into_iter().filter_map(|stream| stream.0);
        streams
            .filter_map(|s| s.name.0.or_else(|| s.stream.0.and_then(|inner| inner.name.0)))
            .map(Name::plain)
            .collect()
    }
}

impl<'a> Eof<'a> {
    fn end(self) -> End<'a> {
        let reason = self.reason.0.or(self.status.0);
        let word = match reason.as_deref() {
            None => EndWord::Unsaid,
            Some("complete" | "completed" | "succeeded") => EndWord::Complete,
            Some("failed" | "error" | "errored") => EndWord::Failed,
            Some("aborted" | "cancelled" | "canceled") => EndWord::Aborted,
            Some("time_limit" | "state_limit") => EndWord::Limit,
            Some("started") => EndWord::StillStarted,
            Some(_) => EndWord::Unknown,
        };
        // The trace generation does not say has_more; its limits mean it.
        let implied = match word {
            EndWord::Limit => Some(true),
            EndWord::Complete | EndWord::Failed | EndWord::Aborted => Some(false),
            EndWord::StillStarted | EndWord::Unsaid | EndWord::Unknown => None,
        };
        let returned = self.state.0.or(self.ending_state.0).and_then(|state| state.source.0).and_then(|s| s.streams.0);
        let states = returned.map(|streams| {
            let known = streams.into_iter().filter_map(|(name, data)| data.0.map(|data| (name, data)));
            known.map(|(name, data)| (Name::plain(name), data.state())).collect()
        });
        let mut attempt = self.request_progress.0.map(Progress::report);
        let mut progress = match (self.run_progress.0, self.global_progress.0, &attempt) {
            (Some(run), _, _) => run.report(),
            (None, Some(totals), _) => totals.report(),
            // The attempt's own report is all there is: everything of it but its counts, which have a scope of their own.
            (None, None, Some(attempt)) => attempt.clone().without_counts(),
            (None, None, None) => ProgressReport::default(),
        };
        let mut errors = Vec::new();
        for (name, stream) in self.stream_progress.0.unwrap_or_default() {
            let Some(mut stream) = stream.0 else { continue };
            for error in stream.errors.0.take().unwrap_or_default().into_iter().filter_map(|error| error.0) {
                errors.push(error.failure(Some(Name::plain(name.clone()))));
            }
            let report = StreamReport {
                status: stream.status.0.as_deref().and_then(status),
                records: stream.counts_of(),
                ..StreamReport::default()
            };
            progress.streams.push((Name::plain(name), report));
        }
        progress.elapsed.attempt = progress.elapsed.attempt.or(self.elapsed_ms.0);
        if let Some(attempt) = &mut attempt {
            errors.append(&mut attempt.errors);
        }
        errors.append(&mut progress.errors);
        End { word, reason, has_more: self.has_more.0.or(implied), states, progress, attempt, errors }
    }
}

/// What could be read from the head of a line over the limit.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) kind: Option<Cow<'a, str>>,
    pub(super) at: Option<super::time::Millis>,
    pub(super) from: Option<Cow<'a, str>>,
    /// The key of the payload, and of what lies in a `trace`.
    pub(super) payload: Option<Cow<'a, str>>,
    pub(super) inner: Option<Cow<'a, str>>,
    pub(super) stream: Option<Cow<'a, str>>,
    pub(super) status: Option<Cow<'a, str>>,
    pub(super) reason: Option<Cow<'a, str>>,
    pub(super) has_more: Option<bool>,
    pub(super) level: Option<Cow<'a, str>>,
    pub(super) message: Option<Cow<'a, str>>,
    pub(super) failure_type: Option<Cow<'a, str>>,
}

/// The message of a line whose head is all that is known of it; `length` is that of the whole line.
pub(super) fn message_of_head(head: Head, length: u64) -> Option<Message> {
    let kind = head.kind.or_else(|| head.payload.clone())?;
    if head.payload.as_ref() != Some(&kind) {
        return None;
    }
    let text =
        head.message.clone().unwrap_or_else(|| Cow::Owned(format!("(a line of {length} bytes, read from its head)")));
    let nothing = |known: &str| KINDS.into_iter().find(|kind| *kind == known).map(Kind::Note);
    let status = |stream: Cow<'_, str>, status, early| {
        let claim = StreamStatus {
            stream: Text(Some(stream.into_owned().into())),
            status: Text(status),
            ..StreamStatus::default()
        };
        claim.claim(early).map(|claim| Kind::Stream(Box::new(claim)))
    };
    let kind = match (kind.as_ref(), head.inner.as_deref(), head.stream) {
        ("record", _, Some(stream)) => Kind::Record(Name::plain(stream)),
        ("source_state", _, stream) => {
            Kind::Checkpoint(Checkpoint { stream: stream.map(Name::plain), state: State::default() })
        }
        ("stream_status", _, Some(stream)) => status(stream, head.status, false)?,
        ("trace", Some("stream_status"), Some(stream)) => status(stream, head.status, true)?,
        ("trace", Some("error"), stream) => {
            let error = TraceError {
                failure_type: Text(head.failure_type),
                message: Text(Some(text)),
                stream: Text(stream),
                ..TraceError::default()
            };
            Kind::Failure(Box::new(error.failure(None)))
        }
        ("connection_status", ..) => Kind::Connection { ok: connected(head.status.as_deref()), message: head.message },
        ("eof" | "end", ..) => {
            let end = Eof {
                reason: Text(head.reason),
                status: Text(head.status),
                has_more: Flag(head.has_more),
                ..Eof::default()
            };
            Kind::End(Box::new(end.end()))
        }
        ("log", ..) => Kind::Log(Box::new(Log {
            level: Level::from_word(head.level.as_deref().unwrap_or_default()),
            message: text,
            ..Log::default()
        })),
        ("catalog" | "start", ..) => Kind::Catalog(Vec::new()),
        (known, ..) => nothing(known)?,
    };
    Some(Message { at: head.at, from: head.from, kind })
}
