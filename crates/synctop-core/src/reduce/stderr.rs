//! Parser of an engine's stderr. The last lines of every engine are stored in case it dies. In
//! protocols that report errors and counts on stderr, those are parsed.

use super::Progress;
use super::errors::{ErrorPlace, TEXT_KEPT};
use super::feed::{FEED_LINE, FeedOrigin, cut};
use crate::protocol::{
    Failure, Kind, Level, Line, LineEnd, Metered, Name, Status, StreamClaim, Where, clean, heard, is_destination, mask,
    stream_of,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// Maximum number of stored last lines.
const TAIL_LINES: usize = 20;

/// Maximum number of lines buffered until the protocol is known, and of held-back facts about
/// unknown streams.
const MAX_BUFFERED_LINES: usize = 1_000;
const MAX_HELD_FACTS: usize = 10_000;

/// First line of a Python traceback, and separators between two chained tracebacks.
const TRACEBACK_START: &str = "Traceback (most recent call last)";
const TRACEBACK_SEPARATORS: [&str; 2] =
    ["During handling of the above exception", "The above exception was the direct cause"];

/// Last line of an interrupted Python program.
const INTERRUPT: &str = "KeyboardInterrupt";

/// State of the stderr parser.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct StderrParser {
    /// State of the current traceback.
    traceback: Traceback,
    text: String,
    /// Error group that the traceback belongs to.
    group: Option<u64>,
    /// Last error-level line before the traceback.
    error: Option<Arc<str>>,
    /// True if the traceback follows a logged error.
    caught: bool,
    /// True while a message beside the feed (a log line, not a protocol message) is applied.
    pub(super) is_beside_feed: bool,
    /// True while a line of a separate pipe is parsed, whose order relative to the feed is unknown.
    pub(super) is_separate_pipe: bool,
    /// True while held-back facts are applied.
    is_releasing_facts: bool,
    /// Loggers of a tap and of a target that were seen, and the id of the first process with
    /// counts.
    tap: bool,
    target: bool,
    first: Option<u64>,
    /// Lines received before the protocol was known.
    early: VecDeque<Box<str>>,
    /// Facts about streams that the feed has not named yet.
    held: Vec<(Box<str>, HeldFact)>,
}

/// Fact about a stream that was reported beside the feed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) enum HeldFact {
    /// Number of records, and the id of the reporting process.
    Records(u64, Option<u64>),
    Status(Status),
}

/// State of a Python traceback, line by line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Traceback {
    #[default]
    None,
    Open,
    /// The exception line ended it. A chained traceback may follow.
    Raised,
}

impl StderrParser {
    /// Forgets the processes of the attempt before.
    pub(super) fn forget_processes(&mut self) {
        (self.tap, self.target, self.first) = (false, false, None);
    }

    /// Resets the traceback.
    fn clear(&mut self) {
        self.traceback = Traceback::None;
        self.text.clear();
        self.group = None;
        self.error = None;
    }
}

impl Traceback {
    /// True if a line belongs to the traceback; advances its state.
    pub(super) fn accepts_line(&mut self, line: &str) -> bool {
        let between = TRACEBACK_SEPARATORS.iter().any(|words| line.starts_with(words));
        let taken = line.starts_with(TRACEBACK_START) || (*self != Self::None && (between || line.trim().is_empty()));
        let within = *self == Self::Open;
        *self = match *self {
            Self::None | Self::Raised if line.starts_with(TRACEBACK_START) => Self::Open,
            Self::Raised if between => Self::Open,
            Self::Raised if line.trim().is_empty() => Self::Raised,
            Self::Open if taken || line.starts_with([' ', '\t']) => Self::Open,
            Self::Open => Self::Raised,
            Self::None | Self::Raised => Self::None,
        };
        taken || within
    }
}

impl Progress {
    /// True if the process that reports counts beside the feed is a target. Two processes on one
    /// pipe differ by their id, and the tap comes first.
    pub(super) fn is_target_process(&mut self, process: Option<u64>) -> bool {
        let heard = &mut self.stderr_parser;
        let Some(process) = process else { return false };
        (heard.target && !heard.tap) || *heard.first.get_or_insert(process) != process
    }

    /// Holds a fact back until the feed names the stream, because the name may be that of an
    /// endpoint or belong to another run. Returns true if it was held back.
    pub(super) fn hold_until_named(&mut self, name: &Name, loose: bool, held: HeldFact) -> bool {
        if !self.stderr_parser.is_beside_feed || self.stderr_parser.is_releasing_facts {
            return false;
        }
        let named = self.stream(&name.key()).is_some_and(|stream| stream.in_feed);
        let others = || self.streams.iter().any(|stream| stream.in_feed);
        if named || !(loose || others()) {
            return false;
        }
        if self.stderr_parser.held.len() < MAX_HELD_FACTS {
            self.stderr_parser.held.push((name.key().into(), held));
        }
        true
    }

    /// Applies held-back facts of a stream that the feed has named.
    pub(super) fn apply_held_facts(&mut self, name: &Name) {
        if self.stderr_parser.held.is_empty() || self.stderr_parser.is_releasing_facts {
            return;
        }
        let key = name.key();
        let all = std::mem::take(&mut self.stderr_parser.held);
        let (mine, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(held, _)| **held == *key);
        self.stderr_parser.held = rest;
        for (_, held) in mine {
            self.apply_held_fact(name, held);
        }
    }

    fn apply_held_fact(&mut self, name: &Name, held: HeldFact) {
        let (stream, was) = (name.clone().into_owned(), self.stderr_parser.is_beside_feed);
        (self.stderr_parser.is_beside_feed, self.stderr_parser.is_releasing_facts) = (true, true);
        match held {
            HeldFact::Records(records, process) => self.metered(&Metered {
                stream,
                records: Some(records),
                requests: None,
                timed_request: false,
                loaded: None,
                process,
                loose: false,
                run_id: None,
            }),
            HeldFact::Status(status) => {
                let claim = StreamClaim { status: Some(status), ..StreamClaim::of(stream) };
                self.stream_claim(claim, &Line { bytes: &[], length: 0, end: LineEnd::Newline, huge: None });
            }
        }
        (self.stderr_parser.is_beside_feed, self.stderr_parser.is_releasing_facts) = (was, false);
    }

    /// Applies held-back facts at the end if the feed itself named no stream. Otherwise they
    /// concern none of its streams and are dropped.
    pub(super) fn release_held_facts(&mut self) {
        let held = std::mem::take(&mut self.stderr_parser.held);
        if self.streams.iter().any(|stream| stream.in_feed) {
            return;
        }
        for (key, held) in held {
            self.apply_held_fact(&Name::plain(String::from(key).into()), held);
        }
    }

    /// Parses the lines that were buffered until the protocol was known.
    pub(super) fn apply_buffered_lines(&mut self) {
        for line in std::mem::take(&mut self.stderr_parser.early) {
            self.parse_stderr_line_apart(&line);
        }
    }

    /// Applies a line that the engine wrote to stderr.
    pub fn stderr(&mut self, line: &str) {
        if !line.trim().is_empty() {
            if self.stderr_tail.len() >= TAIL_LINES {
                self.stderr_tail.pop_front();
            }
            self.stderr_tail.push_back(mask::secrets(cut(line, FEED_LINE)).into());
        }
        // Without a known protocol the line is buffered: an error in one protocol is nothing in
        // another.
        if self.dialect.is_none() && !self.closed {
            let Some(known) = heard(line).and_then(|message| message.dialect) else {
                if self.stderr_parser.early.len() >= MAX_BUFFERED_LINES {
                    self.stderr_parser.early.pop_front();
                }
                self.stderr_parser.early.push_back(mask::secrets(cut(line, TEXT_KEPT)).into());
                return;
            };
            // The line itself reveals the protocol.
            self.accepts_dialect(Some(known), false);
        }
        self.parse_stderr_line_apart(line);
    }

    fn parse_stderr_line_apart(&mut self, line: &str) {
        self.stderr_parser.is_separate_pipe = true;
        self.parse_stderr_line(line);
        self.stderr_parser.is_separate_pipe = false;
    }

    /// Parses a line of text from stderr or from the feed.
    pub(super) fn parse_stderr_line(&mut self, line: &str) {
        if self.dialect.is_some_and(|dialect| !dialect.traits().errors_on_stderr) {
            return;
        }
        let plain = clean::line(line);
        let Some(message) = heard(&plain) else { return self.unstructured(line) };
        if !self.accepts_dialect(message.dialect, false) {
            return;
        }
        let before = self.stderr_parser.error.take();
        self.stderr_parser.clear();
        match message.from.as_deref().and_then(is_destination) {
            Some(true) => self.stderr_parser.target = true,
            Some(false) => self.stderr_parser.tap = true,
            None => {}
        }
        let error = matches!(&message.kind, Kind::Log(log) if log.level >= Level::Error);
        if let Kind::Log(log) = &message.kind
            && error
        {
            let text: Arc<str> = mask::secrets(cut(&log.message, TEXT_KEPT)).into();
            self.stderr_parser.error = Some(text.clone());
            if let Some(at) = message.from.as_deref().and_then(stream_of).and_then(|name| self.index.get(name).copied())
            {
                self.change(at, |stream| stream.hint = Some(text));
            }
        }
        let failed = matches!(message.kind, Kind::Failure(_));
        let bytes = plain.as_bytes();
        let line = Line { bytes, length: bytes.len() as u64, end: LineEnd::Newline, huge: None };
        self.stderr_parser.is_beside_feed = true;
        self.message(message, &line, None);
        self.stderr_parser.is_beside_feed = false;
        if failed {
            self.stderr_parser.group = self.attempt.cause;
        }
        if error
            && let Some(before) = before
            && let Some((text, _)) = &mut self.last_log_error
        {
            // Two consecutive errors are one: the mistake and its consequence.
            *text = format!("{before}; {text}").into();
        }
    }

    fn unstructured(&mut self, line: &str) {
        let was = self.stderr_parser.traceback;
        if !self.stderr_parser.traceback.accepts_line(line) {
            self.stderr_parser.clear();
            if self.dialect.is_some() && !line.trim().is_empty() {
                self.note(Level::Info, FeedOrigin::Raw, None, None, line);
            }
            return;
        }
        if was == Traceback::None {
            self.stderr_parser.text.clear();
            // After a logged error the traceback belongs to that error, which the program may have
            // caught.
            self.stderr_parser.caught = self.stderr_parser.error.is_some();
            if let Some(error) = self.stderr_parser.error.take() {
                self.record_exception(&error);
            }
        }
        let room = TEXT_KEPT.saturating_sub(self.stderr_parser.text.len());
        if !self.stderr_parser.text.is_empty() && room > 0 {
            self.stderr_parser.text.push('\n');
        }
        self.stderr_parser.text.push_str(cut(line, room));
        // A secret may span several lines.
        self.stderr_parser.text = mask::secrets(&self.stderr_parser.text).into_owned();
        if self.stderr_parser.traceback == Traceback::Raised && was == Traceback::Open {
            self.note_process_end(!self.stderr_parser.caught);
            match self.stderr_parser.group {
                Some(_) => {}
                None if line.starts_with(INTERRUPT) => self.attempt.stopping = true,
                None => self.record_exception(line),
            }
        }
        if let Some(id) = self.stderr_parser.group {
            self.errors.set_stack(id, &self.stderr_parser.text);
        }
    }

    /// Records an error of the whole run from a traceback or an uncaught exception.
    fn record_exception(&mut self, message: &str) {
        let place = ErrorPlace { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream: None };
        self.last_log_error = Some((mask::secrets(cut(message, TEXT_KEPT)).into(), place));
        let bytes = message.as_bytes();
        let line = Line { bytes, length: bytes.len() as u64, end: LineEnd::Newline, huge: None };
        // An unknown engine reports its errors here too.
        let failure = Failure::of(Where::Global, None, message.to_owned().into());
        self.attempt.last_message_failed = true;
        let id = self.record_failure(failure, &line);
        self.stderr_parser.group = Some(id);
        self.explains(id);
    }

    /// Returns the most informative line of the engine's stderr: the last one about an error,
    /// otherwise the last one.
    #[must_use]
    pub fn last_words(&self) -> Option<&str> {
        let lines = || self.stderr_tail.iter().rev().map(AsRef::as_ref).filter(|line: &&str| !line.trim().is_empty());
        // An indented line belongs to the one before it.
        let begins = |line: &&str| !line.starts_with([' ', '\t']);
        // Common words carry no information.
        let dull = |line: &&str| line.contains("METRIC") || line.contains("| INFO ") || line.starts_with("INFO ");
        let tells = |line: &&str| {
            let lower = line.to_ascii_lowercase();
            ["error", "fatal", "panic", "exception", "denied", "refused", "not found"]
                .iter()
                .any(|word| lower.contains(word))
        };
        lines()
            .filter(begins)
            .find(tells)
            .or(self.last_raw_error.as_deref())
            .or_else(|| lines().filter(|line| !dull(line)).find(begins))
            .or_else(|| lines().next())
    }
}
