//! Result of one call of an engine: checkpoints, end, failures.

use crate::engine::failure_type::FailureType;
use crate::engine::raw_json::{Fields, fields, find};
use crate::net::source::engine_http::title;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use synctop_core::protocol::LineFramer;
use synctop_core::protocol::{
    Decoded, Decoder, End, EndReason, ErrorLevel, Failure, Kind, Line, LineEnd, Message, Millis, Name, ProgressReport,
    Status, mask,
};

/// Result of one call, collected from the lines of its answer.
#[derive(Debug, Default)]
pub(crate) struct CallAnswer {
    /// Position key of the run before the call.
    pub(crate) position_key: String,
    pub(crate) messages: u64,
    pub(crate) end: Option<CallEnd>,
    /// Message of the last transient failure.
    pub(crate) transient: Option<String>,
    /// Streams that reported an error.
    pub(crate) failed: BTreeMap<String, StreamFailure>,
    /// Streams whose last status is complete.
    pub(crate) completed: BTreeSet<String>,
    /// Number of checkpoints.
    pub(crate) states: u64,
    /// Reason of the source's last retry.
    pub(crate) retrying: Option<String>,
    /// Message of a failure without a stream; true if it is transient.
    pub(crate) global: Option<(String, bool)>,
    /// Title of an HTML page in the answer.
    pub(crate) page: Option<String>,
    /// True if the body broke off in the middle of a line.
    pub(crate) torn: bool,
    /// Data of the last checkpoint of each stream.
    pub(crate) checkpoints: Fields,
    /// Data of the last global checkpoint.
    pub(crate) checkpoint: Option<Box<RawValue>>,
    /// Upper bound of the run's ranges.
    pub(crate) ceiling: Option<Millis>,
    /// Last progress report (progress generation).
    pub(crate) progress: Option<Box<RawValue>>,
    /// Last status of each stream (trace generation).
    pub(crate) streams: BTreeMap<String, Value>,
    /// Last global progress (trace generation).
    pub(crate) totals: Option<Value>,
    decoder: Decoder,
    lines: LineFramer,
}

/// Failure types of a stream's errors. One error may be reported by several messages, only one of
/// them with its type.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamFailure {
    has_transient: bool,
    has_permanent: bool,
}

impl StreamFailure {
    /// True if all typed errors are transient, and there is at least one.
    pub(crate) fn is_retryable(self) -> bool {
        self.has_transient && !self.has_permanent
    }
}

/// End message of a call.
#[derive(Debug, Clone)]
pub(crate) struct CallEnd {
    pub(crate) word: EndReason,
    pub(crate) has_more: Option<bool>,
    /// True if its state cannot show unread rows behind a limit.
    pub(crate) hides_unread_rows: bool,
    /// State returned with the end message.
    pub(crate) state: Option<Fields>,
}

impl CallAnswer {
    /// Appends bytes of the answer.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| self.line(line, LineEnd::Newline));
        self.lines = lines;
    }

    /// Ends the answer: decodes an unfinished last line.
    pub(crate) fn finish(&mut self) {
        let mut lines = std::mem::take(&mut self.lines);
        self.torn |= lines.finish(|line, end| self.line(line, end));
    }

    fn line(&mut self, bytes: &[u8], end: LineEnd) {
        let length = bytes.len() as u64 + u64::from(end == LineEnd::Newline);
        let line = Line { bytes, length, end, huge: None };
        let mut scratch = String::new();
        let decoder = self.decoder;
        match decoder.decode(&line, &mut scratch) {
            Decoded::Message { message, glued } => {
                // The complete original bytes: the decoder may have repaired the message.
                let whole = bytes.get(glued.map_or(0, |glue| glue.len())..).unwrap_or_default();
                self.message(message, std::str::from_utf8(whole).unwrap_or_default());
            }
            Decoded::Raw(text) => {
                let lower = text.text.trim_start().to_ascii_lowercase();
                if lower.starts_with("<html") || lower.starts_with("<!doctype") {
                    self.page = Some(title(&text.text).unwrap_or("no title").to_owned());
                } else if self.page.as_deref() == Some("no title")
                    && let Some(title) = title(&text.text)
                {
                    self.page = Some(title.to_owned());
                }
            }
            Decoded::Malformed { torn } => self.torn |= torn,
            Decoded::Wrapped(opened) => self.line(opened.text.as_bytes(), end),
            Decoded::Unknown { .. } => {}
        }
    }

    /// Applies a message; `text` is its complete JSON.
    fn message(&mut self, message: Message, text: &str) {
        let call = self;
        call.messages += 1;
        match message.kind {
            Kind::Checkpoint(checkpoint) => {
                call.states += 1;
                let total = checkpoint.state.total.and_then(|range| range.lt);
                call.ceiling = call.ceiling.or(total);
                match (&checkpoint.stream, find(text, &["source_state", "data"])) {
                    (Some(stream), Some(data)) => drop(call.checkpoints.insert(stream.name.to_string(), data)),
                    (None, Some(data)) => call.checkpoint = Some(data),
                    _ => {}
                }
            }
            Kind::Log(log) => {
                if let Some(retry) = log.retry {
                    let status = retry.status.map(|status| format!("HTTP {status}"));
                    let error = retry.error.map(|error| mask::secrets(&error).into_owned());
                    call.retrying = status.or(error).or(call.retrying.take());
                }
            }
            Kind::Failure(failure) => call.failure(&failure),
            Kind::Connection { ok: Some(false), message } => {
                let failure = Failure::of(ErrorLevel::Global, None, message.unwrap_or("the connection failed".into()));
                call.failure(&failure);
            }
            Kind::End(end) => {
                end.errors.iter().for_each(|failure| call.failure(failure));
                call.reported(&end.progress);
                call.end = Some(call_end(&end, text));
            }
            Kind::Stream(claim) => {
                call.status(&claim.stream, claim.status, claim.error.as_deref());
                call.ceiling = call.ceiling.or(claim.total.and_then(|range| range.lt));
                if let Some(status) = value(text, &["trace", "stream_status"]) {
                    call.streams.insert(claim.stream.name.to_string(), status);
                }
            }
            Kind::Progress(report) => {
                call.reported(&report);
                call.progress = find(text, &["progress"]).or(call.progress.take());
                call.totals = value(text, &["trace", "global_progress"]).or(call.totals.take());
            }
            _ => {}
        }
    }
}

impl CallAnswer {
    /// Applies a failure. It is transient if its type or a code in its message is, and permanent
    /// otherwise.
    fn failure(&mut self, failure: &Failure) {
        let text = mask::secrets(&failure.message).into_owned();
        let word = failure.failure_type.as_deref().map(FailureType::from);
        let quoted = FailureType::of_text(&failure.message);
        let is_retryable = [word, quoted].contains(&Some(FailureType::Transient));
        let known = word.or(quoted).is_some();
        if is_retryable {
            self.transient = Some(text.clone());
        }
        match &failure.stream {
            Some(stream) => {
                let seen = self.failed.entry(stream.name.to_string()).or_default();
                seen.has_transient |= is_retryable;
                seen.has_permanent |= known && !is_retryable;
            }
            None => self.global = Some((text, is_retryable)),
        }
    }

    fn status(&mut self, stream: &Name, status: Option<Status>, error: Option<&str>) {
        if status == Some(Status::Completed) {
            self.completed.insert(stream.name.to_string());
        } else if status.is_some() {
            self.completed.remove(stream.name.as_ref());
        }
        if status == Some(Status::Errored) || error.is_some() {
            self.failure(&Failure::of(
                ErrorLevel::Stream,
                Some(stream.clone()),
                error.unwrap_or_default().to_owned().into(),
            ));
        }
    }

    fn reported(&mut self, report: &ProgressReport) {
        report.errors.iter().for_each(|failure| self.failure(failure));
        for (name, stream) in &report.streams {
            let error = stream.message.as_deref().filter(|_| stream.status != Some(Status::Skipped));
            self.status(name, stream.status, error);
        }
    }
}

fn call_end(end: &End, text: &str) -> CallEnd {
    let places = [["eof", "state"], ["eof", "ending_state"], ["end", "ending_state"], ["end", "state"]];
    CallEnd {
        word: end.word,
        has_more: end.has_more,
        hides_unread_rows: end.hides_unread_rows,
        state: places.iter().find_map(|place| find(text, place)).and_then(|state| fields(&state)),
    }
}

fn value(text: &str, path: &[&str]) -> Option<Value> {
    serde_json::from_str(find(text, path)?.get()).ok()
}
