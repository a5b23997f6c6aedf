//! What one call of an engine brought: its checkpoints, its end, and what went wrong.

use super::classify::FailureType;
use super::raw::{Fields, fields, find};
use super::whole::WholeLines;
use crate::net::http::title;
use crate::protocol::{
    Decoded, Decoder, End, EndWord, Failure, Kind, Line, LineEnd, Message, Millis, Name, State, Status, mask,
};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What one call brought.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Where the run was before it.
    pub(super) mark: String,
    pub(super) messages: u64,
    pub(super) end: Option<Ended>,
    /// A failure that may pass was told.
    pub(super) transient: bool,
    /// Why the source last waited.
    pub(super) retrying: Option<String>,
    /// A failure that cannot pass and has no stream.
    pub(super) global: Option<String>,
    /// The title of a page among the lines.
    pub(super) page: Option<String>,
    /// The end of the body was in the middle of a line.
    pub(super) torn: bool,
    /// Checkpoints by stream, and the global one.
    pub(super) checkpoints: Fields,
    pub(super) checkpoint: Option<Box<RawValue>>,
    /// The upper bound of the run's ranges.
    pub(super) ceiling: Option<Millis>,
    /// What the engine told of its counts.
    pub(super) progress: Option<Box<RawValue>>,
    pub(super) streams: BTreeMap<String, Value>,
    pub(super) totals: Option<Value>,
    decoder: Decoder,
    lines: WholeLines,
}

#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) word: EndWord,
    pub(super) has_more: Option<bool>,
    /// A stream's returned state says that something is left of it, and no error.
    pub(super) left: bool,
    /// The state that came with it.
    pub(super) state: Option<Fields>,
}

impl Answer {
    /// Takes in bytes of the answer.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| self.line(line, LineEnd::Newline));
        self.lines = lines;
    }

    /// The answer is over.
    pub(super) fn cut(&mut self) {
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
                // All of it, also where the decoder had to mend it to read it, or read its head only.
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
            Decoded::Unknown { .. } => {}
        }
    }

    /// Takes in a message; `text` is all of its JSON.
    fn message(&mut self, message: Message, text: &str) {
        let call = self;
        call.messages += 1;
        match message.kind {
            Kind::Checkpoint(checkpoint) => {
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
            Kind::Failure(failure) => {
                let kind = failure.failure_type.as_deref().map(FailureType::of_word);
                match (kind, &failure.stream) {
                    (Some(FailureType::Transient), _) => call.transient = true,
                    (_, None) => call.global = Some(mask::secrets(&failure.message).into_owned()),
                    _ => {}
                }
            }
            Kind::Connection { ok: Some(false), message } => {
                call.global = Some(mask::secrets(message.as_deref().unwrap_or("the connection failed")).into_owned());
            }
            Kind::End(end) => {
                call.transient |= end.errors.iter().any(|it| it.failure_type.as_deref() == Some("transient_error"));
                call.end = Some(ended(&end, text));
            }
            Kind::Stream(claim) => {
                call.ceiling = call.ceiling.or(claim.total.and_then(|range| range.lt));
                if let Some(status) = value(text, &["trace", "stream_status"]) {
                    call.streams.insert(claim.stream.name.to_string(), status);
                }
            }
            Kind::Progress(_) => {
                call.progress = find(text, &["progress"]).or(call.progress.take());
                call.totals = value(text, &["trace", "global_progress"]).or(call.totals.take());
            }
            _ => {}
        }
    }
}

fn ended(end: &End, text: &str) -> Ended {
    // What ended with an error that does not pass is not left: only a new run tries it again.
    let passing = |name: &Name| {
        let transient = |error: &Failure| error.failure_type.as_deref() == Some("transient_error");
        end.errors.iter().any(|error| error.stream.as_ref() == Some(name) && transient(error))
    };
    let over = |name: &Name| {
        let reported = end.progress.streams.iter().find(|(it, _)| it == name);
        matches!(reported.and_then(|(_, report)| report.status), Some(Status::Errored | Status::Skipped))
            && !passing(name)
    };
    // Also one that never came to a checkpoint, and so is in no state.
    let completed = |name: &Name| {
        let reported = end.progress.streams.iter().find(|(it, _)| it == name);
        reported.is_some_and(|(_, report)| report.status == Some(Status::Completed))
    };
    let given_up =
        end.errors.iter().filter_map(|error| error.stream.as_ref()).any(|name| passing(name) && !completed(name));
    let unfinished =
        |(name, state): &(Name, State)| state.done == Some(false) && state.failure.is_none() && !over(name);
    let places = [["eof", "state"], ["eof", "ending_state"], ["end", "ending_state"], ["end", "state"]];
    Ended {
        word: end.word,
        has_more: end.has_more,
        left: given_up || end.states.as_ref().is_some_and(|states| states.iter().any(unfinished)),
        state: places.iter().find_map(|place| find(text, place)).and_then(|state| fields(&state)),
    }
}

fn value(text: &str, path: &[&str]) -> Option<Value> {
    serde_json::from_str(find(text, path)?.get()).ok()
}
