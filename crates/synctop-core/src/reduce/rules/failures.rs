//! Records each error once, by stream and attempt.

use crate::protocol::{CAUSED_BY, ErrorLevel, Failure, Level, Line, LineEnd, Name, Status, mask};
use crate::reduce::state::errors::{ErrorPlace, Errors, OTHER_STREAMS, Occurrence, TEXT_KEPT};
use crate::reduce::state::feed::{FeedOrigin, cut};
use crate::reduce::state::progress::Progress;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Placeholder line for errors that no line reported.
pub(crate) const NO_LINE: Line = Line { bytes: &[], length: 0, end: LineEnd::Input, huge: None };

/// Message for a stream that failed without a reported error.
pub(crate) const SILENT_ERROR: &str = "the stream failed without an error message";

/// Message for a stream that failed without a start and without an error.
pub(crate) const UNAVAILABLE: &str =
    "it ended without a start and without an error: the source may not have this stream (any more)";

/// Maximum number of remembered listed errors beyond the group bound, so that a repeated list does
/// not count them again.
const LISTED_BEYOND: usize = 10_000;

/// Returns the stored text of an error's message, or a placeholder.
fn message_of(failure: &Failure) -> String {
    if failure.message.trim().is_empty() {
        return "(an error without a message)".to_owned();
    }
    kept(&failure.message, TEXT_KEPT)
}

/// Returns the stack trace, preceded by the engine's internal message.
fn with_internal<'f>(failure: &'f Failure) -> Option<Cow<'f, str>> {
    let internal = failure.internal.as_deref().filter(|text| !text.trim().is_empty() && *text != failure.message);
    match (internal, failure.stack.as_deref()) {
        (Some(internal), Some(stack)) => Some(format!("{internal}\n\n{stack}").into()),
        (Some(one), None) | (None, Some(one)) => Some(one.into()),
        (None, None) => None,
    }
}

/// Masks and bounds a text. It is masked before the final cut, which could remove the mark of a
/// secret.
fn kept(text: &str, limit: usize) -> String {
    let masked = mask::secrets(cut(text, limit * 2));
    cut(&masked, limit).to_owned()
}

impl Progress {
    pub(crate) fn clear_stream(&mut self, at: usize, name: &str) {
        self.errors.clear(name, self.attempts);
        self.change(at, |stream| {
            if stream.details.failed_in.is_some() || stream.details.failed_group.is_some() {
                let of_error = stream.details.failed_in.take().is_some();
                stream.details.failed_group = None;
                stream.details.message = stream.details.message.take().filter(|_| !of_error);
            }
        });
    }

    /// Applies a reported error and counts each occurrence.
    pub(crate) fn failure(&mut self, mut failure: Failure, line: &Line) {
        self.merge_with_fatal(&mut failure);
        if failure.stream.is_none() && failure.is_final {
            self.note_process_end(true);
        }
        for part in std::mem::take(&mut failure.parts) {
            self.explained_by_roll_up(part, line);
        }
        if failure.roll_up && self.streams.iter().any(|stream| stream.details.failed_in == Some(self.attempts)) {
            let text: Arc<str> = message_of(&failure).into();
            self.note(Level::Error, FeedOrigin::Log, None, None, &text);
            self.attempt.roll_up = Some(text);
            return;
        }
        if let Some(name) = &failure.stream
            && self.traits().first_status_is_final
            && self.stream(&name.key()).is_some_and(|stream| stream.status == Status::Completed && stream.terminal)
        {
            // The terminal status stands: a later error is only a warning.
            failure.is_final = false;
            let text = format!("an error after it was complete: {}", message_of(&failure));
            self.note(Level::Warn, FeedOrigin::Log, None, Some(&name.label()), &text);
        }
        match &failure.stream {
            Some(_) => self.stream_message(),
            None => self.attempt.last_message_failed = true,
        }
        let whole = failure.stream.is_none();
        // In protocols whose first terminal status stands, a final error already sets it.
        let ends = failure.stream.clone().filter(|_| failure.is_final && self.traits().first_status_is_final);
        let id = self.record_failure(failure, line);
        if let Some(at) = ends.and_then(|name| self.find(&name)) {
            let now = self.last_at;
            self.change(at, |stream| {
                if !stream.terminal && stream.ever_started {
                    stream.set_status(Status::Errored, now);
                }
            });
        }
        if whole && self.traits().errors_on_stderr {
            self.explains(id);
        }
    }

    /// Gives a stream that failed without a reason its part of a roll-up.
    fn explained_by_roll_up(&mut self, part: Failure, line: &Line) {
        let by_label =
            |name: &Name| self.streams.iter().find(|stream| *stream.label == *name.name).map(|it| it.identity());
        let Some(name) =
            part.stream.as_ref().map(|name| by_label(name).unwrap_or_else(|| self.resolve_by_name(name.clone())))
        else {
            return;
        };
        let Some(stream) = self.stream(&name.key()) else { return };
        let is_explained = stream.details.message.is_some() && !stream.reason_missing;
        if stream.details.failed_in == Some(self.attempts) && is_explained {
            return;
        }
        let (label, group) = (stream.label.clone(), stream.details.failed_group);
        if let Some(id) = group
            && self.errors.forget(id, &label)
            && let Some(at) = self.find(&name)
        {
            self.change(at, |stream| stream.details.errors = stream.details.errors.saturating_sub(1));
        }
        self.record_failure(Failure { stream: Some(name.into_owned()), ..part }, line);
    }

    /// Makes an error of the whole run the explanation of streams that failed without a reason, now
    /// and later.
    pub(crate) fn explains(&mut self, id: u64) {
        self.attempt.cause = Some(id);
        let Some(message) = self.errors.get(id).map(|group| group.message.clone()) else { return };
        let attempt = self.attempts;
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.unexplained) {
                self.change(at, |stream| stream.explain(attempt, id, message.clone()));
            }
        }
    }

    /// Applies an error reported by a stream's status, unless another message reported it before.
    pub(crate) fn status_failure(&mut self, failure: Failure, line: &Line) {
        let message = message_of(&failure);
        let stream = failure.stream.as_ref().map(|name| self.label_of_errors(name));
        let id = Errors::id(failure.level, failure.failure_type.as_deref(), &message, stream.as_deref());
        let first = self.errors.count_in_attempt(id, stream.as_deref(), self.attempts) == 0;
        if first && failure.stream.as_ref().is_some_and(|name| self.already_reported(name, &message)) {
            return self.stream_message();
        }
        self.failure(failure, line);
    }

    /// Returns the label under which errors of a stream count.
    fn label_of_errors(&self, name: &Name) -> String {
        match self.find(name).and_then(|at| self.streams.get(at)) {
            Some(stream) => stream.label.to_string(),
            None if self.streams.len() >= self.lookup.max_streams => OTHER_STREAMS.to_owned(),
            None => mask::secrets(&name.label()).into_owned(),
        }
    }

    /// True if the error was already reported: with the same text under another level or type, or,
    /// for a stream without a start, in an earlier attempt.
    fn already_reported(&self, name: &Name, message: &str) -> bool {
        let untouched = self.stream(&name.key()).is_some_and(|stream| stream.started_at.get().is_none());
        let stream = &self.label_of_errors(name);
        self.errors.has_text(stream, self.attempts, message)
            || untouched && self.errors.has_standing_text(stream, message)
    }

    /// Applies a repeated list of errors: each as often as the list contains it, once per attempt
    /// and stream.
    pub(crate) fn listed_failures(&mut self, list: Vec<Failure>, line: &Line) {
        let mut seen: HashMap<(u64, Option<String>), u64> = HashMap::new();
        for failure in list {
            let message = message_of(&failure);
            let stream = failure.stream.as_ref().map(|name| self.label_of_errors(name));
            let id = Errors::id(failure.level, failure.failure_type.as_deref(), &message, stream.as_deref());
            let nth = seen.entry((id, stream.clone())).or_default();
            *nth += 1;
            let stream = stream.as_deref();
            let here = self.errors.count_in_attempt(id, stream, self.attempts);
            let already_reported = here == 0
                && *nth == 1
                && failure.stream.as_ref().is_some_and(|name| self.already_reported(name, &message));
            // Beyond the group bound, an error that was listed before counts as already counted.
            let beyond = here == 0
                && self.errors.is_full()
                && self.errors.get(id).is_none()
                && self.evidence.listed_beyond.contains(&id);
            if here >= *nth || already_reported || beyond {
                continue;
            }
            if self.errors.is_full()
                && self.errors.get(id).is_none()
                && self.evidence.listed_beyond.len() < LISTED_BEYOND
            {
                self.evidence.listed_beyond.insert(id);
            }
            self.attempt.last_message_failed |= failure.stream.is_none();
            self.record_failure(failure, line);
        }
    }

    /// Records an error that only a stream's status or message reports.
    pub(crate) fn stream_failure(&mut self, name: &Name, failure_type: Option<&str>, text: &str, line: &Line) {
        let failure = Failure::of(ErrorLevel::Stream, Some(name.clone()), text.into());
        self.record_failure(Failure { failure_type: failure_type.map(Into::into), ..failure }, line);
    }

    /// Records a failure of a stream that nothing explains yet, with a placeholder as its message.
    pub(crate) fn silent_failure(&mut self, name: &Name, placeholder: &str, line: &Line) {
        self.stream_failure(name, None, placeholder, line);
        let at = self.place(name);
        self.change(at, |stream| stream.reason_missing = true);
    }

    pub(crate) fn record_failure(&mut self, failure: Failure, line: &Line) -> u64 {
        let keep = |text: &str| -> Arc<str> { kept(text, TEXT_KEPT).into() };
        let message: Arc<str> = message_of(&failure).into();
        // Only stored groups need the raw line.
        let raw = if self.errors.is_full() { &[][..] } else { line.bytes.get(..TEXT_KEPT * 2).unwrap_or(line.bytes) };
        let slot = failure.stream.as_ref().map(|name| self.place(name));
        // Errors of all streams beyond the maximum number count together.
        let stream = slot.map(|at| self.streams.get(at).map_or_else(|| OTHER_STREAMS.into(), |it| it.label.clone()));
        let id = self.errors.add(Occurrence {
            level: failure.level,
            failure_type: failure.failure_type.as_deref().map(|text| mask::secrets(text).into()),
            stream: stream.clone(),
            message: message.clone(),
            stack: with_internal(&failure).as_deref().map(keep),
            raw: (!raw.is_empty()).then(|| mask::secrets(&String::from_utf8_lossy(raw)).into()),
            is_final: failure.is_final,
            place: ErrorPlace { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream },
        });
        if let Some(slot) = slot {
            let attempt = self.attempts;
            self.change(slot, |stream| {
                stream.details.errors += 1;
                if failure.from_destination {
                    stream.destination_failed();
                }
                if failure.is_final {
                    (stream.details.failed_in, stream.details.failed_group) = (Some(attempt), Some(id));
                    stream.details.message = Some(message);
                    stream.reason_missing = false;
                }
            });
        }
        id
    }

    /// Merges a fatal log line with the error that repeats it. The error counts, with the line's
    /// traceback if it has none. First lines are compared: that of the log line with those of both
    /// wordings of the error.
    fn merge_with_fatal(&mut self, failure: &mut Failure) {
        // Only one of the two may have the stack trace with the root cause.
        let first = |text: &str| {
            let line = text.lines().next().unwrap_or_default();
            line.split(CAUSED_BY).next().unwrap_or_default().trim().to_owned()
        };
        let Some((text, _)) = &self.attempt.fatal else { return };
        let said = first(text);
        let mine = |wording: &str| mask::secrets(&first(wording)) == said.as_str();
        if mine(&failure.message) || failure.internal.as_deref().is_some_and(mine) {
            if failure.stack.is_none()
                && let Some((_, stack)) = text.split_once('\n')
            {
                failure.stack = Some(stack.to_owned().into());
            }
            self.attempt.fatal = None;
        }
    }

    pub(crate) fn connection(&mut self, ok: Option<bool>, message: Option<&str>, line: &Line) {
        let Some(ok) = ok else {
            let text = format!("unknown connection status: {}", message.unwrap_or("(no message)"));
            return self.note(Level::Warn, FeedOrigin::Unknown, None, None, &text);
        };
        self.attempt.connection = Some(ok);
        // Without a message the cause has to come from elsewhere.
        if let Some(message) = message.filter(|_| !ok) {
            let failure = Failure::of(ErrorLevel::Global, None, message.into());
            self.listed_failures(vec![failure], line);
        }
    }
}
