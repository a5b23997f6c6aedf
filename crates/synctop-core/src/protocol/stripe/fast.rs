//! Fast path for the most frequent kinds of lines: one pass, no tree.
//!
//! Fills the same [`super::wire`] types as the slow path, so that their meaning is decided in one
//! place. `None`: an unusual line, left to the slow path.

use super::state::StateData;
use super::wire::{Derived, LogData, LogLine, ProgressLine, ProgressStream, StreamStatus, TotalsLine};
use super::{Generation, KINDS, attribute};
use crate::protocol::lenient::{Entries, Flag, LenientSpan, Logged, Maybe, Num, Seq, Spans, Text, When};
use crate::protocol::message::{Checkpoint, Dialect, Kind, Message, Name, Range, Record};
use crate::protocol::scan::cursor::{LineCursor, once};
use crate::protocol::time::Millis;
use std::borrow::Cow;

/// The message of a line; `only` is the generation whose kinds are known, where it is not all of
/// them.
pub(in crate::protocol) fn message(text: &str, only: Option<Generation>) -> Option<Message<'_>> {
    if only.is_none()
        && let Some(message) = usual(text)
    {
        return Some(message);
    }
    let mut cursor = LineCursor::new(text);
    cursor.literal("{\"type\":")?;
    let kind = cursor.plain()?;
    if only.is_some_and(|generation| !generation.has(kind)) {
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
            "_ts" => once(&mut at, cursor.instant()?)?,
            "_emitted_by" => once(&mut from, cursor.string()?)?,
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
                once(&mut payload, read)?;
            }
            // A stream at the top is of another protocol.
            _ if matches!(key, "type" | "stream") || KINDS.contains(&key) => return None,
            _ => cursor.skip()?,
        }
    }
    cursor.ended()?;
    attribute(payload.as_mut()?, from.as_deref());
    Some(Message {
        at: at.or(emitted_at),
        from: from.or(logger),
        dialect: Some(Dialect::Stripe),
        firm: true,
        kind: payload?,
    })
}

/// The kinds that most lines of a big log are, with their fields in the usual order.
fn usual(text: &str) -> Option<Message<'_>> {
    let mut cursor = LineCursor::new(text);
    if cursor.literal("{\"type\":\"record\",\"record\":{\"stream\":").is_some() {
        let stream = cursor.plain()?;
        cursor.literal(",\"data\":")?;
        cursor.skip()?;
        cursor.literal(",\"emitted_at\":")?;
        let emitted_at = cursor.instant()?;
        cursor.byte(b'}')?;
        let (from, at) = tail(&mut cursor)?;
        let kind = Kind::Record(Record { stream: Name::plain(Cow::Borrowed(stream)), measure: None, partial: false });
        return Some(Message { at: at.or(Some(emitted_at)), from, dialect: Some(Dialect::Stripe), firm: true, kind });
    }
    let mut kind = if cursor
        .literal("{\"type\":\"source_state\",\"source_state\":{\"state_type\":\"stream\",\"stream\":")
        .is_some()
    {
        let stream = Some(Name::plain(Cow::Borrowed(cursor.plain()?)));
        cursor.literal(",\"data\":")?;
        let state = StateData::usual(&mut cursor)?;
        cursor.byte(b'}')?;
        Kind::Checkpoint(Checkpoint { stream, state, ..Checkpoint::default() })
    } else if cursor.literal("{\"type\":\"log\",\"log\":{\"level\":").is_some() {
        let level = Text(Some(Cow::Borrowed(cursor.plain()?)));
        cursor.literal(",\"message\":")?;
        let message = Text(Some(cursor.string()?));
        // With data there is a logger's name in it: the general way.
        cursor.byte(b'}')?;
        Kind::Log(Box::new(LogLine { level, message, ..LogLine::default() }.log()))
    } else {
        let begin = "{\"type\":\"trace\",\"trace\":{\"trace_type\":\"stream_status\",\"stream_status\":{\"stream\":";
        cursor.literal(begin)?;
        let stream = Text(Some(Cow::Borrowed(cursor.plain()?)));
        cursor.literal(",\"status\":")?;
        let status = Text(Some(Cow::Borrowed(cursor.plain()?)));
        let said = if cursor.literal(",\"range_complete\":").is_some() {
            StreamStatus { stream, status, range_complete: Maybe(Some(span(&mut cursor)?)), ..StreamStatus::default() }
        } else {
            cursor.literal(",\"cumulative_record_count\":")?;
            let cumulative_record_count = Num(Some(cursor.whole()?));
            cursor.literal(",\"run_record_count\":")?;
            let run_record_count = Num(Some(cursor.whole()?));
            StreamStatus { stream, status, cumulative_record_count, run_record_count, ..StreamStatus::default() }
        };
        cursor.literal("}}")?;
        Kind::Stream(Box::new(said.claim(true)?))
    };
    let (from, at) = tail(&mut cursor)?;
    attribute(&mut kind, from.as_deref());
    Some(Message { at, from, dialect: Some(Dialect::Stripe), firm: true, kind })
}

/// `,"_emitted_by":…,"_ts":…}` and the end of the line; either may be missing.
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
    cursor.ended()?;
    Some((from, at))
}

fn record<'a>(cursor: &mut LineCursor<'a>, emitted_at: &mut Option<Millis>) -> Option<Kind<'a>> {
    let mut stream = None;
    cursor.object(|cursor, key| match key {
        "stream" => once(&mut stream, cursor.string()?),
        "emitted_at" => once(emitted_at, cursor.instant()?),
        // A deletion is read the slow way.
        "recordDeleted" => None,
        _ => cursor.skip(),
    })?;
    Some(Kind::Record(Record { stream: Name::plain(stream?), measure: None, partial: false }))
}

fn source_state<'a>(cursor: &mut LineCursor<'a>) -> Option<Kind<'a>> {
    let (mut stream, mut data) = (None, None);
    cursor.object(|cursor, key| match key {
        "stream" => once(&mut stream, cursor.string()?),
        "data" => once(&mut data, StateData::fast(cursor)?),
        _ => cursor.skip(),
    })?;
    Some(Kind::Checkpoint(Checkpoint {
        stream: stream.map(Name::plain),
        state: data.unwrap_or_default(),
        ..Checkpoint::default()
    }))
}

pub(super) fn spans(cursor: &mut LineCursor) -> Option<Vec<Range>> {
    let mut all = Vec::new();
    cursor.array(|cursor| {
        all.extend(span(cursor)?.range());
        Some(())
    })?;
    Some(all)
}

#[inline]
pub(super) fn span(cursor: &mut LineCursor) -> Option<LenientSpan> {
    if let Some((gte, lt)) = cursor.range_of_texts().or_else(|| cursor.range_of_numbers()) {
        return Some(LenientSpan::new(When(Some(gte)), When(Some(lt))));
    }
    let (mut gte, mut lt) = (None, None);
    cursor.object(|cursor, key| match key {
        "gte" => once(&mut gte, cursor.instant()?),
        "lt" => once(&mut lt, cursor.instant()?),
        _ => cursor.skip(),
    })?;
    Some(LenientSpan::new(When(gte), When(lt)))
}

fn trace<'a>(cursor: &mut LineCursor<'a>) -> Option<Kind<'a>> {
    let (mut what, mut payload) = (None, None);
    cursor.object(|cursor, key| match (key, what) {
        ("trace_type", _) => once(&mut what, cursor.plain()?),
        ("stream_status", Some("stream_status")) => {
            let claim = stream_status(cursor)?.claim(true)?;
            once(&mut payload, Kind::Stream(Box::new(claim)))
        }
        ("global_progress", Some("global_progress")) => {
            once(&mut payload, Kind::Progress(Box::new(totals(cursor)?.report())))
        }
        ("progress", Some("progress")) => once(&mut payload, Kind::Progress(Box::new(totals(cursor)?.report()))),
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
        "stream" => once(&mut stream, cursor.string()?),
        "status" => once(&mut status, cursor.string()?),
        "cumulative_record_count" => once(&mut cumulative, cursor.whole()?),
        "run_record_count" => once(&mut run, cursor.whole()?),
        "time_range" => once(&mut time_range, span(cursor)?),
        "range_complete" => once(&mut range_complete, span(cursor)?),
        "error" => once(&mut error, cursor.string()?),
        "reason" => once(&mut reason, cursor.string()?),
        "errors" => None,
        _ => cursor.skip(),
    })?;
    Some(StreamStatus {
        stream: Text(stream),
        status: Text(status),
        cumulative_record_count: Num(cumulative),
        run_record_count: Num(run),
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
        Some((_, slot)) => once(slot, cursor.whole()?),
        None => cursor.skip(),
    })?;
    let [elapsed, cumulative_elapsed, run, cumulative, requests, cumulative_requests, checkpoints] = counts.map(Num);
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
        "started_at" => once(&mut started_at, cursor.instant()?),
        "elapsed_ms" => once(&mut elapsed, cursor.whole()?),
        "derived" => once(&mut derived, self::derived(cursor)?),
        "streams" => {
            let mut all = Vec::new();
            cursor.object(|cursor, name| {
                all.push((Cow::Borrowed(name), Maybe(Some(progress_stream(cursor)?))));
                Some(())
            })?;
            once(&mut streams, all)
        }
        // An empty list is one; errors are read the slow way.
        "errors" => {
            cursor.literal("[]")?;
            once(&mut errors, ())
        }
        _ => cursor.skip(),
    })?;
    Some(ProgressLine {
        started_at: When(started_at),
        elapsed_ms: Num(elapsed),
        derived: Maybe(derived),
        streams: Entries(streams),
        errors: Seq(None),
    })
}

fn derived(cursor: &mut LineCursor) -> Option<Derived> {
    let (mut records, mut states) = (None, None);
    cursor.object(|cursor, key| match key {
        "total_record_count" => once(&mut records, cursor.whole()?),
        "total_state_count" => once(&mut states, cursor.whole()?),
        _ => cursor.skip(),
    })?;
    Some(Derived { total_record_count: Num(records), total_state_count: Num(states) })
}

fn progress_stream<'a>(cursor: &mut LineCursor<'a>) -> Option<ProgressStream<'a>> {
    let (mut status, mut states, mut records, mut total, mut completed) = (None, None, None, None, None);
    let (mut message, mut terminal) = (None, None);
    let (mut inserted, mut updated, mut deleted) = (None, None, None);
    cursor.object(|cursor, key| match key {
        "status" => once(&mut status, cursor.string()?),
        "state_count" => once(&mut states, cursor.whole()?),
        "record_count" => once(&mut records, cursor.whole()?),
        "total_range" => once(&mut total, span(cursor)?),
        "completed_ranges" => once(&mut completed, spans(cursor)?),
        "message" => once(&mut message, cursor.string()?),
        "terminal" => {
            let flag = cursor.literal("true").map(|()| true).or_else(|| cursor.literal("false").map(|()| false))?;
            once(&mut terminal, flag)
        }
        "insert_count" => once(&mut inserted, cursor.whole()?),
        "update_count" => once(&mut updated, cursor.whole()?),
        "delete_count" => once(&mut deleted, cursor.whole()?),
        _ => cursor.skip(),
    })?;
    Some(ProgressStream {
        status: Text(status),
        state_count: Num(states),
        record_count: Num(records),
        total_range: Maybe(total),
        completed_ranges: Spans(completed),
        message: Text(message),
        terminal: Flag(terminal),
        insert_count: Num(inserted),
        update_count: Num(updated),
        delete_count: Num(deleted),
    })
}

fn log<'a>(cursor: &mut LineCursor<'a>, logger: &mut Option<Cow<'a, str>>) -> Option<Kind<'a>> {
    let (mut level, mut message, mut data) = (None, None, None);
    cursor.object(|cursor, key| match key {
        "level" => once(&mut level, cursor.string()?),
        "message" => once(&mut message, cursor.string()?),
        "data" => once(&mut data, log_data(cursor)?),
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
        "name" => once(&mut name, cursor.string_or_null()?),
        "stream" => once(&mut stream, cursor.string_or_null()?),
        "label" => once(&mut label, cursor.string_or_null()?),
        "error_message" => once(&mut error_message, cursor.string_or_null()?),
        "attempt" => once(&mut attempt, cursor.whole()?),
        "max_retries" => once(&mut max_retries, cursor.whole()?),
        "delay_ms" => once(&mut delay_ms, cursor.whole()?),
        "status" => once(&mut status, cursor.whole()?),
        "run_id" => once(&mut run_id, cursor.string_or_null()?),
        "err" | "error" | "failed_streams" | "configuredStreams" | "at_risk" => None,
        _ => cursor.skip(),
    })?;
    Some(LogData {
        name: Text(name.flatten()),
        stream: Text(stream.flatten()),
        label: Text(label.flatten()),
        attempt: Num(attempt),
        max_retries: Num(max_retries),
        delay_ms: Num(delay_ms),
        status: Num(status),
        error_message: Text(error_message.flatten()),
        run_id: Text(run_id.flatten()),
        err: Logged(None),
        error: Logged(None),
        failed_streams: Seq(None),
        at_risk: Seq(None),
        configured_streams: Seq(None),
    })
}
