//! Fast path for the most frequent kinds of lines: one pass, no tree.
//!
//! Fills the same [`super::wire`] types as the slow path, so that both share the code that
//! interprets them. Returns `None` for any other line, which is left to the slow path.

use super::kinds::{Generation, KINDS, apply_emitter};
use super::spans::{span, spans};
use super::state::StateData;
use super::wire::{Derived, LogData, LogLine, ProgressLine, ProgressStream, StreamStatus, TotalsLine};
use crate::protocol::adapter::Message;
use crate::protocol::lenient::{Entries, Flag, LenientInstant, LenientRanges, Logged, Maybe, Num, Seq, Text};
use crate::protocol::message::{Checkpoint, Kind, Level, Log, Name, Record};
use crate::protocol::scan::cursor::{LineCursor, set_once};
use crate::protocol::time::Millis;
use std::borrow::Cow;

/// Decodes a line; `None` if it needs the slow path. `only` restricts the known kinds to those of
/// one generation.
pub(super) fn message(text: &str, only: Option<Generation>) -> Option<Message<'_>> {
    if only.is_none()
        && let Some(message) = in_usual_order(text)
    {
        return Some(message);
    }
    let mut cursor = LineCursor::new(text);
    cursor.literal("{\"type\":")?;
    let kind = cursor.plain()?;
    let is_frequent = matches!(kind, "record" | "source_state" | "stream_status" | "trace" | "progress" | "log");
    if !is_frequent || only.is_some_and(|generation| !generation.has_kind(kind)) {
        return None;
    }
    let (mut at, mut from, mut payload) = (None, None, None);
    let mut emitted_at = None;
    let mut logger = None;
    loop {
        if cursor.byte(b'}').is_some() {
            break;
        }
        cursor.byte(b',')?;
        let key = cursor.plain()?;
        cursor.byte(b':')?;
        match key {
            "_ts" => set_once(&mut at, cursor.instant()?)?,
            "_emitted_by" => set_once(&mut from, cursor.string()?)?,
            _ if key == kind => {
                let read = match kind {
                    "record" => record(&mut cursor, &mut emitted_at)?,
                    "source_state" => source_state(&mut cursor)?,
                    "stream_status" => Kind::Stream(Box::new(stream_status(&mut cursor)?.claim(false)?)),
                    "trace" => trace(&mut cursor)?,
                    "progress" => Kind::Progress(Box::new(progress(&mut cursor)?.report())),
                    "log" => log(&mut cursor, &mut logger)?,
                    _ => return None,
                };
                set_once(&mut payload, read)?;
            }
            // Only other protocols have a stream at the top level.
            _ if matches!(key, "type" | "stream") || KINDS.contains(&key) => return None,
            _ => cursor.skip()?,
        }
    }
    cursor.expect_end()?;
    apply_emitter(payload.as_mut()?, from.as_deref());
    Some(Message::new(at.or(emitted_at), from.or(logger), payload?).stamped(at.is_some()))
}

/// Decodes the most frequent kinds of lines, with their fields in the usual order.
fn in_usual_order(text: &str) -> Option<Message<'_>> {
    let mut cursor = LineCursor::new(text);
    cursor.literal("{\"type\":\"")?;
    if cursor.literal("record\",\"record\":{\"stream\":").is_some() {
        let stream = cursor.plain()?;
        cursor.literal(",\"data\":")?;
        cursor.skip()?;
        cursor.literal(",\"emitted_at\":")?;
        let emitted_at = cursor.instant()?;
        cursor.byte(b'}')?;
        let (from, at) = tail(&mut cursor)?;
        let kind = Kind::Record(Record {
            stream: Name::plain(Cow::Borrowed(stream)),
            measure: None,
            partial: false,
            not_numbers: 0,
        });
        return Some(Message::new(at.or(Some(emitted_at)), from, kind).stamped(at.is_some()));
    }
    let mut kind = if cursor.literal("source_state\",\"source_state\":{\"state_type\":\"stream\",\"stream\":").is_some()
    {
        let stream = Some(Name::plain(Cow::Borrowed(cursor.plain()?)));
        cursor.literal(",\"data\":")?;
        let state = StateData::usual(&mut cursor)?;
        cursor.byte(b'}')?;
        Kind::Checkpoint(Box::new(Checkpoint { stream, state, ..Checkpoint::default() }))
    } else if cursor.literal("log\",\"log\":{\"level\":").is_some() {
        let level = Level::from(cursor.plain()?);
        cursor.literal(",\"message\":")?;
        let message = cursor.string()?;
        // A log with data, which holds the logger's name, takes the general path.
        cursor.byte(b'}')?;
        Kind::Log(Box::new(Log { level, message, ..Log::default() }))
    } else {
        // In two parts, which are compared without a call.
        cursor.literal("trace\",\"trace\":{\"trace_type\":\"stream_status\",")?;
        cursor.literal("\"stream_status\":{\"stream\":")?;
        let stream = Text(Some(Cow::Borrowed(cursor.plain()?)));
        cursor.literal(",\"status\":")?;
        let status = Text(Some(Cow::Borrowed(cursor.plain()?)));
        let stream_status = if cursor.literal(",\"range_complete\":").is_some() {
            StreamStatus { stream, status, range_complete: Maybe(Some(span(&mut cursor)?)), ..StreamStatus::default() }
        } else {
            cursor.literal(",\"cumulative_record_count\":")?;
            let cumulative_record_count = Num::of(Some(cursor.unsigned()?));
            cursor.literal(",\"run_record_count\":")?;
            let run_record_count = Num::of(Some(cursor.unsigned()?));
            StreamStatus { stream, status, cumulative_record_count, run_record_count, ..StreamStatus::default() }
        };
        cursor.literal("}}")?;
        Kind::Stream(Box::new(stream_status.claim(true)?))
    };
    let (from, at) = tail(&mut cursor)?;
    apply_emitter(&mut kind, from.as_deref());
    Some(Message::new(at, from, kind).stamped(at.is_some()))
}

/// Reads the end of a line, `,"_emitted_by":…,"_ts":…}`. Both fields are optional. Returns emitter
/// and time.
fn tail<'a>(cursor: &mut LineCursor<'a>) -> Option<(Option<Cow<'a, str>>, Option<Millis>)> {
    let from = match cursor.literal(",\"_emitted_by\":") {
        Some(()) => Some(Cow::Borrowed(cursor.plain()?)),
        None => None,
    };
    let at = match cursor.literal(",\"_ts\":") {
        Some(()) => Some(cursor.instant()?),
        None => None,
    };
    cursor.byte(b'}')?;
    cursor.expect_end()?;
    Some((from, at))
}

fn record<'a>(cursor: &mut LineCursor<'a>, emitted_at: &mut Option<Millis>) -> Option<Kind<'a>> {
    let mut stream = None;
    cursor.object(|cursor, key| match key {
        "stream" => set_once(&mut stream, cursor.string()?),
        "emitted_at" => set_once(emitted_at, cursor.instant()?),
        // Deletions take the slow path.
        "recordDeleted" => None,
        _ => cursor.skip(),
    })?;
    Some(Kind::Record(Record { stream: Name::plain(stream?), measure: None, partial: false, not_numbers: 0 }))
}

fn source_state<'a>(cursor: &mut LineCursor<'a>) -> Option<Kind<'a>> {
    let (mut stream, mut data) = (None, None);
    cursor.object(|cursor, key| match key {
        "stream" => set_once(&mut stream, cursor.string()?),
        "data" => set_once(&mut data, StateData::fast(cursor)?),
        _ => cursor.skip(),
    })?;
    Some(Kind::Checkpoint(Box::new(Checkpoint {
        stream: stream.map(Name::plain),
        state: data.unwrap_or_default(),
        ..Checkpoint::default()
    })))
}

fn trace<'a>(cursor: &mut LineCursor<'a>) -> Option<Kind<'a>> {
    let (mut trace_type, mut payload) = (None, None);
    cursor.object(|cursor, key| match (key, trace_type) {
        ("trace_type", _) => set_once(&mut trace_type, cursor.plain()?),
        ("stream_status", Some("stream_status")) => {
            let claim = stream_status(cursor)?.claim(true)?;
            set_once(&mut payload, Kind::Stream(Box::new(claim)))
        }
        ("global_progress", Some("global_progress")) => {
            set_once(&mut payload, Kind::Progress(Box::new(totals(cursor)?.report())))
        }
        ("progress", Some("progress")) => set_once(&mut payload, Kind::Progress(Box::new(totals(cursor)?.report()))),
        ("stream_status" | "global_progress" | "progress" | "error", _) => None,
        _ => cursor.skip(),
    })?;
    payload
}

fn stream_status<'a>(cursor: &mut LineCursor<'a>) -> Option<StreamStatus<'a>> {
    let (mut stream, mut status, mut error, mut reason) = (None, None, None, None);
    let (mut cumulative, mut run) = (None, None);
    let (mut time_range, mut range_complete) = (None, None);
    cursor.object(|cursor, key| match key {
        "stream" => set_once(&mut stream, cursor.string()?),
        "status" => set_once(&mut status, cursor.string()?),
        "cumulative_record_count" => set_once(&mut cumulative, cursor.unsigned()?),
        "run_record_count" => set_once(&mut run, cursor.unsigned()?),
        "time_range" => set_once(&mut time_range, span(cursor)?),
        "range_complete" => set_once(&mut range_complete, span(cursor)?),
        "error" => set_once(&mut error, cursor.string()?),
        "reason" => set_once(&mut reason, cursor.string()?),
        "errors" => None,
        _ => cursor.skip(),
    })?;
    Some(StreamStatus {
        stream: Text(stream),
        status: Text(status),
        cumulative_record_count: Num::of(cumulative),
        run_record_count: Num::of(run),
        time_range: Maybe(time_range),
        range_complete: Maybe(range_complete),
        error: Text(error),
        reason: Text(reason),
        errors: Seq(None),
    })
}

fn totals(cursor: &mut LineCursor) -> Option<TotalsLine> {
    let mut counts: [Option<u64>; 7] = [None; 7];
    let names = [
        "elapsed_ms",
        "cumulative_elapsed_ms",
        "run_record_count",
        "cumulative_record_count",
        "request_count",
        "cumulative_request_count",
        "state_checkpoint_count",
    ];
    cursor.object(|cursor, key| match names.iter().zip(&mut counts).find(|(name, _)| **name == key) {
        Some((_, slot)) => set_once(slot, cursor.unsigned()?),
        None => cursor.skip(),
    })?;
    let [elapsed, cumulative_elapsed, run, cumulative, requests, cumulative_requests, checkpoints] =
        counts.map(Num::of);
    Some(TotalsLine {
        elapsed_ms: elapsed,
        cumulative_elapsed_ms: cumulative_elapsed,
        run_record_count: run,
        cumulative_record_count: cumulative,
        request_count: requests,
        cumulative_request_count: cumulative_requests,
        state_checkpoint_count: checkpoints,
    })
}

fn progress<'a>(cursor: &mut LineCursor<'a>) -> Option<ProgressLine<'a>> {
    let (mut started_at, mut elapsed, mut derived, mut streams, mut errors) = (None, None, None, None, None);
    cursor.object(|cursor, key| match key {
        "started_at" => set_once(&mut started_at, cursor.instant()?),
        "elapsed_ms" => set_once(&mut elapsed, cursor.unsigned()?),
        "derived" => set_once(&mut derived, self::derived(cursor)?),
        "streams" => {
            let mut all = Vec::new();
            cursor.object(|cursor, name| {
                all.push((Cow::Borrowed(name), Maybe(Some(progress_stream(cursor)?))));
                Some(())
            })?;
            set_once(&mut streams, all)
        }
        // Lines with errors take the slow path.
        "errors" => {
            cursor.literal("[]")?;
            set_once(&mut errors, ())
        }
        _ => cursor.skip(),
    })?;
    Some(ProgressLine {
        started_at: LenientInstant(started_at),
        elapsed_ms: Num::of(elapsed),
        derived: Maybe(derived),
        streams: Entries(streams),
        errors: Seq(None),
    })
}

fn derived(cursor: &mut LineCursor) -> Option<Derived> {
    let (mut records, mut states) = (None, None);
    cursor.object(|cursor, key| match key {
        "total_record_count" => set_once(&mut records, cursor.unsigned()?),
        "total_state_count" => set_once(&mut states, cursor.unsigned()?),
        _ => cursor.skip(),
    })?;
    Some(Derived { total_record_count: Num::of(records), total_state_count: Num::of(states) })
}

fn progress_stream<'a>(cursor: &mut LineCursor<'a>) -> Option<ProgressStream<'a>> {
    let (mut status, mut states, mut records, mut total, mut completed) = (None, None, None, None, None);
    let (mut message, mut terminal) = (None, None);
    let (mut inserted, mut updated, mut deleted) = (None, None, None);
    cursor.object(|cursor, key| match key {
        "status" => set_once(&mut status, cursor.string()?),
        "state_count" => set_once(&mut states, cursor.unsigned()?),
        "record_count" => set_once(&mut records, cursor.unsigned()?),
        "total_range" => set_once(&mut total, span(cursor)?),
        "completed_ranges" => set_once(&mut completed, spans(cursor)?),
        "message" => set_once(&mut message, cursor.string()?),
        "terminal" => {
            let flag = cursor.literal("true").map(|()| true).or_else(|| cursor.literal("false").map(|()| false))?;
            set_once(&mut terminal, flag)
        }
        "insert_count" => set_once(&mut inserted, cursor.unsigned()?),
        "update_count" => set_once(&mut updated, cursor.unsigned()?),
        "delete_count" => set_once(&mut deleted, cursor.unsigned()?),
        _ => cursor.skip(),
    })?;
    Some(ProgressStream {
        status: Text(status),
        state_count: Num::of(states),
        record_count: Num::of(records),
        total_range: Maybe(total),
        completed_ranges: LenientRanges(completed),
        message: Text(message),
        terminal: Flag(terminal),
        insert_count: Num::of(inserted),
        update_count: Num::of(updated),
        delete_count: Num::of(deleted),
    })
}

fn log<'a>(cursor: &mut LineCursor<'a>, logger: &mut Option<Cow<'a, str>>) -> Option<Kind<'a>> {
    let (mut level, mut message, mut data) = (None, None, None);
    cursor.object(|cursor, key| match key {
        "level" => set_once(&mut level, cursor.string()?),
        "message" => set_once(&mut message, cursor.string()?),
        "data" => set_once(&mut data, log_data(cursor)?),
        _ => cursor.skip(),
    })?;
    *logger = data.as_mut().and_then(|data: &mut LogData| data.name.0.take());
    Some(Kind::Log(Box::new(LogLine { level: Text(level), message: Text(message), data: Maybe(data) }.log())))
}

fn log_data<'a>(cursor: &mut LineCursor<'a>) -> Option<LogData<'a>> {
    let (mut name, mut stream, mut label, mut error_message) = (None, None, None, None);
    let (mut attempt, mut max_retries, mut delay_ms, mut status) = (None, None, None, None);
    let mut run_id = None;
    cursor.object(|cursor, key| match key {
        "name" => set_once(&mut name, cursor.string_or_null()?),
        "stream" => set_once(&mut stream, cursor.string_or_null()?),
        "label" => set_once(&mut label, cursor.string_or_null()?),
        "error_message" => set_once(&mut error_message, cursor.string_or_null()?),
        "attempt" => set_once(&mut attempt, cursor.unsigned()?),
        "max_retries" => set_once(&mut max_retries, cursor.unsigned()?),
        "delay_ms" => set_once(&mut delay_ms, cursor.unsigned()?),
        "status" => set_once(&mut status, cursor.unsigned()?),
        "run_id" => set_once(&mut run_id, cursor.string_or_null()?),
        "err" | "error" | "failed_streams" | "configuredStreams" | "at_risk" => None,
        _ => cursor.skip(),
    })?;
    Some(LogData {
        name: Text(name.flatten()),
        stream: Text(stream.flatten()),
        label: Text(label.flatten()),
        attempt: Num::of(attempt),
        max_retries: Num::of(max_retries),
        delay_ms: Num::of(delay_ms),
        status: Num::of(status),
        error_message: Text(error_message.flatten()),
        run_id: Text(run_id.flatten()),
        err: Logged(None),
        error: Logged(None),
        failed_streams: Seq(None),
        at_risk: Seq(None),
        configured_streams: Seq(None),
    })
}
