//! Parser of an engine's stderr. The last lines of every engine are stored in case it dies. In
//! protocols that report errors and counts on stderr, those are parsed.

use crate::protocol::python::{Traceback, is_broken_pipe, is_interrupt};
use crate::protocol::shell::ShellMessage;
use crate::protocol::{
    EndReason, ErrorLevel, Failure, Kind, Level, Line, LineEnd, Metered, Name, Side, StreamClaim, clean,
    decode_stderr_line, envelope, is_generic_error, logger_side, logger_stream, mask,
};
use crate::reduce::state::errors::{ErrorPlace, TEXT_KEPT};
use crate::reduce::state::feed::{FEED_LINE, FeedOrigin, cut};
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stderr::{HeldFact, MAX_BUFFERED_LINES, MAX_HELD_FACTS, TAIL_LINES};
use std::sync::Arc;

/// Last line of a command line program in Python that Ctrl-C stopped (click).
const ABORTED: &str = "Aborted!";

/// Exception that is the last line of a traceback drawn in a box.
const BROKEN_PIPE: &str = "BrokenPipeError";

fn is_error(kind: &Kind) -> bool {
    matches!(kind, Kind::Log(log) if log.level >= Level::Error)
}

impl Progress {
    /// Applies the sign that a program stops on request. It may have reported an end before.
    pub(crate) fn note_abort(&mut self) {
        self.attempt.stopping = true;
        if let Some(end) = &mut self.attempt.end
            && end.word == EndReason::Complete
        {
            end.word = EndReason::Aborted;
        }
    }

    /// True if the process that reports counts beside the feed is a target. Two processes on one
    /// pipe differ by their id, and the tap comes first.
    pub(crate) fn is_target_process(&mut self, process: Option<u64>) -> bool {
        let parser = &mut self.stderr.parser;
        let Some(process) = process else { return false };
        (parser.target && !parser.tap) || *parser.first.get_or_insert(process) != process
    }

    /// Holds a fact back until the feed names the stream, because the name may be that of an
    /// endpoint or belong to another run. Returns true if it was held back.
    pub(crate) fn hold_until_named(&mut self, name: &Name, is_inferred_name: bool, held: HeldFact) -> bool {
        if !self.stderr.parser.is_beside_feed || self.stderr.parser.is_releasing_facts {
            return false;
        }
        let named = self.stream(&name.key()).is_some_and(|stream| stream.in_feed);
        let others = || self.streams.iter().any(|stream| stream.in_feed);
        if named || !(is_inferred_name || others()) {
            return false;
        }
        if self.stderr.parser.held.len() < MAX_HELD_FACTS {
            self.stderr.parser.held.push((name.key().into(), held));
        }
        true
    }

    /// Applies held-back facts of a stream that the feed has named.
    pub(crate) fn apply_held_facts(&mut self, name: &Name) {
        if self.stderr.parser.held.is_empty() || self.stderr.parser.is_releasing_facts {
            return;
        }
        let key = name.key();
        let all = std::mem::take(&mut self.stderr.parser.held);
        let (mine, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(held, _)| **held == *key);
        self.stderr.parser.held = rest;
        for (_, held) in mine {
            self.apply_held_fact(name, held);
        }
    }

    fn apply_held_fact(&mut self, name: &Name, held: HeldFact) {
        let (stream, was) = (name.clone().into_owned(), self.stderr.parser.is_beside_feed);
        (self.stderr.parser.is_beside_feed, self.stderr.parser.is_releasing_facts) = (true, true);
        match held {
            HeldFact::Records(records, process) => self.metered(&Metered {
                stream,
                records: Some(records),
                requests: None,
                timed_request: false,
                loaded: None,
                process,
                is_inferred_name: false,
                run_id: None,
            }),
            HeldFact::Status(status) => {
                let claim = StreamClaim { status: Some(status), ..StreamClaim::of(stream) };
                self.stream_claim(claim, &Line { bytes: &[], length: 0, end: LineEnd::Newline, huge: None });
            }
        }
        (self.stderr.parser.is_beside_feed, self.stderr.parser.is_releasing_facts) = (was, false);
    }

    /// Applies held-back facts at the end if the feed itself named no stream. Otherwise they
    /// concern none of its streams and are dropped.
    pub(crate) fn release_held_facts(&mut self) {
        let held = std::mem::take(&mut self.stderr.parser.held);
        if self.streams.iter().any(|stream| stream.in_feed) {
            return;
        }
        for (key, held) in held {
            self.apply_held_fact(&Name::plain(String::from(key).into()), held);
        }
    }

    /// Parses the lines that were buffered until the protocol was known.
    pub(crate) fn apply_buffered_lines(&mut self) {
        for line in std::mem::take(&mut self.stderr.parser.early) {
            self.parse_stderr_line_apart(&line);
        }
    }

    /// Applies the log lines that stood before the first message of the feed. They count as
    /// messages now.
    pub(crate) fn apply_buffered_feed_lines(&mut self) {
        if !self.dialect_firm {
            return;
        }
        for line in std::mem::take(&mut self.stderr.parser.early_feed) {
            self.input.raw -= 1;
            self.input.messages += 1;
            self.parse_stderr_line(&line);
        }
    }

    /// Applies a line that the engine wrote to stderr.
    pub fn stderr(&mut self, line: &str) {
        let opened = envelope::open(line);
        let line = opened.as_ref().map_or(line, |opened| &*opened.text);
        let line = if self.stderr.secret.covers(line) { mask::MASK } else { line };
        match ShellMessage::parse(line) {
            Some(message) => self.keep_last_words(&message.text()),
            None => self.keep_last_words(line),
        }
        // Without a known protocol the line is buffered: an error in one protocol is nothing in
        // another.
        if self.dialect.is_none() && !self.closed {
            let Some(known) = decode_stderr_line(line).and_then(|message| message.dialect) else {
                if self.stderr.parser.early.len() >= MAX_BUFFERED_LINES {
                    self.stderr.parser.early.pop_front();
                }
                self.stderr.parser.early.push_back(mask::secrets(cut(line, TEXT_KEPT)).into());
                return;
            };
            // The line itself reveals the protocol.
            self.accepts_dialect(Some(known), false);
        }
        self.parse_stderr_line_apart(line);
    }

    /// Stores a line of stderr in case the engine dies.
    pub(crate) fn keep_last_words(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.stderr.tail.len() >= TAIL_LINES {
            self.stderr.tail.pop_front();
        }
        self.stderr.tail.push_back(mask::secrets(cut(line, FEED_LINE)).into());
    }

    fn parse_stderr_line_apart(&mut self, line: &str) {
        self.stderr.parser.is_separate_pipe = true;
        self.parse_stderr_line(line);
        self.stderr.parser.is_separate_pipe = false;
    }

    /// Parses a line of text from stderr or from the feed.
    pub(crate) fn parse_stderr_line(&mut self, line: &str) {
        if self.dialect.is_some_and(|dialect| !dialect.traits().errors_on_stderr) {
            return;
        }
        let plain = clean::line(line);
        let Some(mut message) = decode_stderr_line(&plain) else { return self.unstructured(line) };
        if message.from.is_none() {
            message.from = self.stderr.parser.speaker.as_deref().map(|speaker| speaker.to_owned().into());
        }
        if !self.accepts_dialect(message.dialect, false) {
            return;
        }
        let before = self.stderr.parser.trace.error.take();
        // The last word of a program may only announce its end.
        if let (Kind::Failure(failure), Some(before)) = (&mut message.kind, &before)
            && is_generic_error(&failure.message)
        {
            failure.message = before.to_string().into();
        }
        // The line of another process on the same pipe may stand inside a traceback.
        let is_inside = self.stderr.parser.trace.state == Traceback::Open && !is_error(&message.kind);
        if !is_inside {
            self.stderr.parser.clear();
        }
        match message.from.as_deref().and_then(logger_side) {
            Some(Side::Destination) => self.stderr.parser.target = true,
            Some(Side::Source) => self.stderr.parser.tap = true,
            None => {}
        }
        let error = is_error(&message.kind);
        if let Kind::Log(log) = &message.kind
            && error
        {
            let text: Arc<str> = mask::secrets(cut(&log.message, TEXT_KEPT)).into();
            self.stderr.parser.trace.error = Some(text.clone());
            if let Some(at) = message.from.as_deref().and_then(logger_stream).and_then(|name| self.find_key(name)) {
                self.change(at, |stream| stream.details.hint = Some(text));
            }
        }
        let failed = matches!(message.kind, Kind::Failure(_));
        let bytes = plain.as_bytes();
        let line = Line { bytes, length: bytes.len() as u64, end: LineEnd::Newline, huge: None };
        // A log of several programs is itself the feed.
        self.stderr.parser.is_beside_feed = self.stderr.parser.speaker.is_none();
        self.message(message, &line, None);
        self.stderr.parser.is_beside_feed = false;
        if failed {
            self.stderr.parser.trace.group = self.attempt.cause;
        }
        if error
            && let Some(before) = before
            && let Some((text, _)) = &mut self.evidence.last_log_error
        {
            // Two consecutive errors are one: the mistake and its consequence.
            *text = format!("{before}; {text}").into();
        }
    }

    fn unstructured(&mut self, line: &str) {
        if line.trim() == ABORTED {
            self.note_abort();
        } else if self.stderr.parser.trace.state == Traceback::None && line.starts_with(BROKEN_PIPE) {
            self.attempt.fallback.get_or_insert_with(|| mask::secrets(cut(line, TEXT_KEPT)).into());
        }
        let was = self.stderr.parser.trace.state;
        if !self.stderr.parser.trace.state.accepts_line(line) {
            self.stderr.parser.clear();
            self.stderr.parser.trace.in_thread = line.starts_with("Exception in thread ");
            if self.dialect.is_some() && !line.trim().is_empty() {
                let speaker = self.stderr.parser.speaker.clone();
                self.note(Level::Info, FeedOrigin::Raw, speaker.as_deref(), None, line);
            }
            return;
        }
        if was == Traceback::None {
            self.stderr.parser.trace.text.clear();
            // After a logged error the traceback belongs to that error, which the program may have
            // caught.
            self.stderr.parser.trace.caught = self.stderr.parser.trace.error.is_some();
            // A generic sentence leaves the cause to the exception.
            if let Some(error) = self.stderr.parser.trace.error.take().filter(|error| !is_generic_error(error)) {
                self.record_exception(&error);
            }
        }
        let room = TEXT_KEPT.saturating_sub(self.stderr.parser.trace.text.len());
        if !self.stderr.parser.trace.text.is_empty() && room > 0 {
            self.stderr.parser.trace.text.push('\n');
        }
        self.stderr.parser.trace.text.push_str(cut(line, room));
        // A secret may span several lines.
        self.stderr.parser.trace.text = mask::secrets(&self.stderr.parser.trace.text).into_owned();
        if self.stderr.parser.trace.state == Traceback::Raised && was == Traceback::Open {
            self.note_process_end(!self.stderr.parser.trace.caught);
            match self.stderr.parser.trace.group {
                // The last exception of a chain is the one that ended the program.
                Some(id) if self.stderr.parser.trace.is_raised => {
                    self.errors.forget(id, "");
                    self.record_exception(line);
                }
                Some(_) => {}
                None if is_interrupt(line) => self.attempt.stopping = true,
                None => {
                    self.record_exception(line);
                    self.stderr.parser.trace.is_raised = self.stderr.parser.trace.group.is_some();
                }
            }
        }
        if let Some(id) = self.stderr.parser.trace.group {
            self.errors.set_stack(id, &self.stderr.parser.trace.text);
        }
    }

    /// Records an error of the whole run from a traceback or an uncaught exception.
    fn record_exception(&mut self, message: &str) {
        let speaker = self.stderr.parser.speaker.clone();
        let message = &speaker.map_or_else(|| message.to_owned(), |speaker| format!("{speaker}: {message}"));
        if is_broken_pipe(message) {
            // The reader of the program has died: this is the cause only without another one.
            self.attempt.fallback = Some(mask::secrets(cut(message, TEXT_KEPT)).into());
            return;
        }
        let in_thread = self.stderr.parser.trace.in_thread;
        let place = ErrorPlace { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream: None };
        self.evidence.last_log_error = Some((mask::secrets(cut(message, TEXT_KEPT)).into(), place));
        let bytes = message.as_bytes();
        let line = Line { bytes, length: bytes.len() as u64, end: LineEnd::Newline, huge: None };
        if let Some(id) = self.same_error(message) {
            self.stderr.parser.trace.group = Some(id);
            return;
        }
        // The exception explains the exit that was reported before it.
        if let Some(id) = self.attempt.exit_group.take() {
            self.errors.forget(id, "");
        }
        // An unknown engine reports its errors here too.
        let failure =
            Failure { is_final: !in_thread, ..Failure::of(ErrorLevel::Global, None, message.to_owned().into()) };
        self.attempt.last_message_failed |= !in_thread;
        let id = self.record_failure(failure, &line);
        self.errors.mark_logged(id);
        self.stderr.parser.trace.group = Some(id);
        self.explains(id);
    }

    /// Returns the error of the whole run in this attempt that reports the same as an exception: one
    /// quotes the other.
    fn same_error(&self, message: &str) -> Option<u64> {
        const SHORTEST: usize = 12;
        let cause = message.split_once(": ").map_or(message, |(_, cause)| cause).trim();
        let same = |group: &&Arc<crate::reduce::state::errors::ErrorGroup>| {
            let here = group.hits.get("").is_some_and(|hit| hit.attempt == self.attempts && !hit.cleared);
            here && cause.len() >= SHORTEST && *group.message != *message && group.message.contains(cause)
        };
        self.errors.groups().iter().find(same).map(|group| group.id)
    }

    /// Returns the most informative line of the engine's stderr: the last one about an error,
    /// otherwise the last one.
    #[must_use]
    pub fn last_words(&self) -> Option<&str> {
        let lines = || self.stderr.tail.iter().rev().map(AsRef::as_ref).filter(|line: &&str| !line.trim().is_empty());
        // An indented line belongs to the one before it.
        let begins = |line: &&str| !line.starts_with([' ', '\t']);
        // Common words carry no information.
        let dull = |line: &&str| line.contains("METRIC") || line.contains("| INFO ") || line.starts_with("INFO ");
        let tells = |line: &&str| {
            let lower = line.to_ascii_lowercase();
            let text = line.rsplit(" | ").next().unwrap_or(line);
            ["error", "fatal", "panic", "exception", "denied", "refused", "not found", "was killed by"]
                .iter()
                .any(|word| lower.contains(word))
                && !is_generic_error(text)
        };
        lines()
            .filter(begins)
            .find(tells)
            .or(self.evidence.last_raw_error.as_deref())
            .or_else(|| lines().filter(|line| !dull(line)).find(begins))
            .or_else(|| lines().next())
    }
}
