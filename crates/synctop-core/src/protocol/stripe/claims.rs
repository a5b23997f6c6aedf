//! Claims of Stripe's messages, shared by the fast and the slow path.

use super::kinds::apply_emitter;
use super::state::StateData;
use super::wire::{
    CatalogLine, Envelope, Eof, ListedError, LogLine, ProgressLine, ProgressStream, Returned, RiskLine, StreamStatus,
    TotalsLine, Trace, TraceError,
};
use crate::protocol::adapter::Message;
use crate::protocol::lenient::{Num, Seq, Text};
use crate::protocol::message::{
    AtRisk, Checkpoint, Counts, End, EndReason, ErrorLevel, Failure, Kind, Level, Log, LogContext, Name,
    ProgressReport, Record, Retry, Risk, State, Status, StreamClaim, StreamReport,
};
use std::borrow::Cow;

/// Emitter (`_emitted_by`) of the lines that the pipeline service adds to an engine's.
pub const SERVICE_EMITTER: &str = "synctop/service";

/// Emitter (`_emitted_by`) of the lines that `backfill` adds to an engine's.
pub const CLIENT_EMITTER: &str = "synctop/backfill";

/// Parses the state of a source in one stream; `None` if it is not a JSON object.
#[must_use]
pub fn source_state(data: &str) -> Option<State<'_>> {
    serde_json::from_str::<StateData>(data).ok().map(StateData::into_state)
}

/// Decodes an envelope; `None` if its payload does not match its kind. Such a line is unknown.
pub(super) fn message(envelope: Envelope) -> Option<Message> {
    let mut at = envelope.at.0;
    let is_stamped = at.is_some();
    let mut from = envelope.from.0;
    let mut kind = match envelope.kind.0.as_deref()? {
        "record" => {
            let record = envelope.record.0?;
            at = at.or(record.emitted_at.0);
            let stream = Name::plain(record.stream.0?);
            if record.deleted.0 == Some(true) {
                Kind::Deletion(stream)
            } else {
                Kind::Record(Record { stream, measure: None, partial: false, not_numbers: 0 })
            }
        }
        "source_state" => {
            let state = envelope.source_state.0?;
            Kind::Checkpoint(Box::new(Checkpoint {
                stream: state.stream.0.map(Name::plain),
                state: state.data.0.map(StateData::into_state).unwrap_or_default(),
                ..Checkpoint::default()
            }))
        }
        "trace" => trace(envelope.trace.0?)?,
        "stream_status" => Kind::Stream(Box::new(envelope.stream_status.0?.claim(false)?)),
        "progress" => Kind::Progress(Box::new(envelope.progress.0?.report())),
        "connection_status" => {
            let connection = envelope.connection_status.0?;
            Kind::Connection { ok: connection_succeeded(connection.status.0.as_deref()), message: connection.message.0 }
        }
        "log" => {
            let mut log = envelope.log.0?;
            if !matches!(from.as_deref(), Some(CLIENT_EMITTER | SERVICE_EMITTER)) {
                // Only synctop's own lines may report rows at risk.
                log.data.0.iter_mut().for_each(|data| data.at_risk.0 = None);
            }
            from = from.or_else(|| log.data.0.as_mut().and_then(|data| data.name.0.take()));
            Kind::Log(Box::new(log.log()))
        }
        "catalog" => Kind::Catalog(envelope.catalog.0?.names()),
        "start" => Kind::Catalog(envelope.start.0?.configured_catalog.0.map(CatalogLine::names).unwrap_or_default()),
        "eof" => Kind::End(Box::new(envelope.eof.0?.end())),
        "end" => Kind::End(Box::new(envelope.end.0?.end())),
        "control" => envelope.control.0.map(|_| Kind::Note("control"))?,
        "spec" => envelope.spec.0.map(|_| Kind::Note("spec"))?,
        "source_input" => envelope.source_input.0.map(|_| Kind::Note("source_input"))?,
        "pipeline" | "heartbeat" | "gap" if from.as_deref() == Some(SERVICE_EMITTER) => Kind::Note("service"),
        _ => return None,
    };
    apply_emitter(&mut kind, from.as_deref());
    match kind {
        Kind::Note("service") => Some(Message::shared(at, from, kind).stamped(is_stamped)),
        kind => Some(Message::new(at, from, kind).stamped(is_stamped)),
    }
}

fn trace(trace: Trace) -> Option<Kind> {
    Some(match trace.trace_type.0.as_deref()? {
        "stream_status" => Kind::Stream(Box::new(trace.stream_status.0?.claim(true)?)),
        "global_progress" => Kind::Progress(Box::new(trace.global_progress.0?.report())),
        "progress" => Kind::Progress(Box::new(trace.progress.0?.report())),
        "error" => Kind::Failure(Box::new(trace.error.0?.failure(None))),
        "estimate" => Kind::Note("estimate"),
        _ => return None,
    })
}

/// True for an error of the destination: it names a table (corpus `stripe-live`, README 2). This
/// generation reports no emitter.
fn names_destination_table(text: &str) -> bool {
    text.contains(" (table=")
}

pub(super) fn connection_succeeded(word: Option<&str>) -> Option<bool> {
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
        // The generation before `trace` reports the failure type as status.
        word if word.ends_with("_error") => Status::Errored,
        _ => return None,
    })
}

impl<'a> StreamStatus<'a> {
    pub(super) fn claim(self, early: bool) -> Option<StreamClaim<'a>> {
        let records = self.counts();
        let word = self.status.0;
        // A finished range belongs to a started stream and is no new start.
        let reported = word.as_deref().filter(|word| *word != "range_complete");
        let known = reported.and_then(status);
        let odd = reported.is_some() && known.is_none();
        Some(StreamClaim {
            records,
            status: known,
            odd_status: if odd { word } else { None },
            from_destination: self.error.0.as_deref().is_some_and(names_destination_table),
            error: self.error.0,
            reason: self.reason.0,
            total: self.time_range.range(),
            completed: self.range_complete.range(),
            early,
            ..StreamClaim::of(Name::plain(self.stream.0?))
        })
    }

    fn counts(&self) -> Counts {
        scoped(self.run_record_count, self.cumulative_record_count)
    }
}

/// Returns the counts of an attempt and of all attempts.
fn scoped(attempt: Num, cumulative: Num) -> Counts {
    let is_negative = attempt.1 || cumulative.1;
    Counts { attempt: attempt.0, cumulative: cumulative.0, is_negative, ..Counts::default() }
}

/// Returns the engine's own counter.
fn running(count: Num) -> Counts {
    Counts { running: count.0, is_negative: count.1, ..Counts::default() }
}

impl TotalsLine {
    pub(super) fn report<'a>(&self) -> ProgressReport<'a> {
        ProgressReport {
            elapsed: scoped(self.elapsed_ms, self.cumulative_elapsed_ms),
            records: scoped(self.run_record_count, self.cumulative_record_count),
            requests: scoped(self.request_count, self.cumulative_request_count),
            checkpoints: self.state_checkpoint_count.0,
            ..ProgressReport::default()
        }
    }
}

impl<'a> TraceError<'a> {
    pub(super) fn failure(self, stream: Option<Name<'a>>) -> Failure<'a> {
        let stream = stream.or_else(|| self.stream.0.map(Name::plain));
        let transient = self.failure_type.0.as_deref() == Some("transient_error");
        let level = match &stream {
            None => ErrorLevel::Global,
            Some(_) if transient => ErrorLevel::Transient,
            Some(_) => ErrorLevel::Stream,
        };
        // Final, because this generation prints an error after its last retry.
        let message = self.message.0.unwrap_or_default();
        Failure {
            failure_type: self.failure_type.0,
            stack: self.stack_trace.0,
            from_destination: names_destination_table(&message),
            ..Failure::of(level, stream, message)
        }
    }
}

impl<'a> ProgressLine<'a> {
    pub(super) fn report(self) -> ProgressReport<'a> {
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
            elapsed: running(self.elapsed_ms),
            records: running(derived.total_record_count),
            requests: Counts::default(),
            checkpoints: derived.total_state_count.0,
            streams: streams.map(|(report, name)| (Name::plain(name), report)).collect(),
            errors,
        }
    }
}

impl<'a> ProgressStream<'a> {
    pub(super) fn report(self, failed: bool) -> StreamReport<'a> {
        let moving = self.state_count.0.unwrap_or(0) > 0 || self.record_count.0.unwrap_or(0) > 0;
        let known = self.status.0.as_deref().and_then(status);
        let odd_status = if known.is_none() { self.status.0 } else { None };
        let status = match (known, self.terminal.0) {
            (Some(status), _) => Some(status),
            (None, Some(true)) if failed => Some(Status::Errored),
            (None, Some(true)) => Some(Status::Completed),
            (None, Some(false)) if moving => Some(Status::Started),
            (None, _) => None,
        };
        StreamReport {
            status,
            odd_status,
            records: running(self.record_count),
            from_destination: self.message.0.as_deref().is_some_and(names_destination_table),
            message: self.message.0.filter(|text| !text.is_empty()),
            total: self.total_range.range(),
            completed: self.completed_ranges.0,
            inserted: self.insert_count.0,
            updated: self.update_count.0,
            deleted: self.delete_count.0,
        }
    }
}

impl<'a> ListedError<'a> {
    pub(super) fn failure(self) -> Failure<'a> {
        let stream = self.stream.0.map(Name::plain);
        let level = match self.error_level.0.as_deref() {
            Some("global") => ErrorLevel::Global,
            Some("transient") => ErrorLevel::Transient,
            Some("stream") => ErrorLevel::Stream,
            _ if stream.is_some() => ErrorLevel::Stream,
            _ => ErrorLevel::Global,
        };
        let message = self.message.0.unwrap_or_default();
        Failure {
            failure_type: self.failure_type.0,
            is_final: level != ErrorLevel::Transient,
            from_destination: names_destination_table(&message),
            ..Failure::of(level, stream, message)
        }
    }
}

impl<'a> LogLine<'a> {
    pub(super) fn log(self) -> Log<'a> {
        let level = Level::from(self.level.0.as_deref().unwrap_or_default());
        let Some(data) = self.data.0 else {
            return Log { level, message: self.message.0.unwrap_or_default(), ..Log::default() };
        };
        let message = match self.message.0 {
            Some(text) if !text.is_empty() => text,
            _ => [&data.err.0, &data.error.0, &data.error_message.0]
                .into_iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default(),
        };
        // A retry is recognized by its fields, not by its text.
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
        let stream = data.stream.0.or_else(|| retry.as_ref().and(data.label.0).and_then(stream_in_label));
        let names = |list: Seq<Text<'a>>| list.0.unwrap_or_default().into_iter().filter_map(|name| name.0).collect();
        let at_risk = data.at_risk.0.unwrap_or_default().into_iter();
        let context = LogContext {
            error: data.error.0.or(data.err.0),
            failed_streams: names(data.failed_streams),
            run_id: data.run_id.0,
            at_risk: at_risk.filter_map(|one| one.0.and_then(RiskLine::claim)).collect(),
            process: None,
        };
        Log {
            level,
            message,
            stream,
            retry,
            asked: names(data.configured_streams),
            fatal: false,
            context: (context != LogContext::default()).then(|| context.into()),
        }
    }
}

impl<'a> RiskLine<'a> {
    pub(super) fn claim(self) -> Option<AtRisk<'a>> {
        let risk = match self.kind.0.as_deref()? {
            "state_ahead" => Risk::StateAhead,
            "resumed_after_cut" => Risk::ResumedAfterCut,
            _ => return None,
        };
        let stream = Name::plain(self.stream.0?);
        Some(AtRisk { stream, risk, rows: self.rows.0, kept: self.kept.0 == Some(true) })
    }
}

/// Returns the stream in a request's label: `payout` of `LIST /v1/payouts (payout)`.
fn stream_in_label(label: Cow<str>) -> Option<Cow<str>> {
    let (_, rest) = label.rsplit_once('(')?;
    let (name, _) = rest.split_once(')')?;
    (!name.is_empty()).then(|| Cow::Owned(name.to_owned()))
}

impl<'a> CatalogLine<'a> {
    pub(super) fn names(self) -> Vec<Name<'a>> {
        let streams = self.streams.0.unwrap_or_default().into_iter().filter_map(|stream| stream.0);
        streams
            .filter_map(|s| s.name.0.or_else(|| s.stream.0.and_then(|inner| inner.name.0)))
            .map(Name::plain)
            .collect()
    }
}

impl<'a> Eof<'a> {
    pub(super) fn end(self) -> End<'a> {
        // The hybrid generation reports both `reason` and `has_more`. Its state is the same whether
        // the rows before a limit were written or not.
        let hides_unread_rows = self.reason.0.is_some() && self.has_more.0.is_some();
        let reason = self.reason.0.or(self.status.0);
        let word = match reason.as_deref() {
            None => EndReason::Unsaid,
            Some("complete" | "completed" | "succeeded") => EndReason::Complete,
            Some("failed" | "error" | "errored") => EndReason::Failed,
            Some("aborted" | "cancelled" | "canceled") => EndReason::Aborted,
            Some("time_limit" | "state_limit") => EndReason::Limit,
            Some("started") => EndReason::StillStarted,
            Some(_) => EndReason::Unknown,
        };
        // The trace generation does not report `has_more`, so it is derived from the reason.
        let implied = match word {
            EndReason::Limit => Some(true),
            EndReason::Complete | EndReason::Failed | EndReason::Aborted => Some(false),
            EndReason::StillStarted | EndReason::Unsaid | EndReason::Unknown => None,
        };
        let Returned { source, sync_run, engine } = self.state.0.or(self.ending_state.0).unwrap_or_default();
        let run_id = sync_run.0.or_else(|| engine.0.and_then(|engine| engine.global.0)).and_then(|run| run.run_id.0);
        let returned = source.0.and_then(|source| source.streams.0);
        let states = returned.map(|streams| {
            let known = streams.into_iter().filter_map(|(name, data)| data.0.map(|data| (name, data)));
            known.map(|(name, data)| (Name::plain(name), data.into_state())).collect()
        });
        let mut attempt = self.request_progress.0.map(ProgressLine::report);
        let mut progress = match (self.run_progress.0, self.global_progress.0, &attempt) {
            (Some(run), _, _) => run.report(),
            (None, Some(totals), _) => totals.report(),
            // The attempt's report stands in for that of the run, without its counts, which have
            // the scope of the attempt.
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
                records: stream.counts(),
                ..StreamReport::default()
            };
            progress.streams.push((Name::plain(name), report));
        }
        progress.elapsed.attempt = progress.elapsed.attempt.or(self.elapsed_ms.0);
        // Errors that are listed in both reports count once.
        let listed = std::mem::take(&mut progress.errors);
        let attempt_errors = attempt.as_mut().map(|attempt| std::mem::take(&mut attempt.errors)).unwrap_or_default();
        errors.extend(if attempt_errors.len() >= listed.len() { attempt_errors } else { listed });
        let has_more = self.has_more.0.or(implied);
        End { word, reason, has_more, states, progress, attempt, errors, run_id, hides_unread_rows }
    }
}
