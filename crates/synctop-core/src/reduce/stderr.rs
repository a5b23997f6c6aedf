//! Parser of an engine's stderr. The last lines of any engine are kept in case it dies; those of
//! protocols that report errors and counts there are read.

use super::Progress;
use super::errors::{ErrorPlace, TEXT_KEPT};
use super::feed::{FEED_LINE, FeedOrigin, cut};
use crate::protocol::{
    Failure, Kind, Level, Line, LineEnd, Metered, Name, Status, StreamClaim, Where, clean, heard, is_destination, mask,
    stream_of,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// Lines that are kept.
const KEPT: usize = 20;

/// Buffered lines until the protocol is known, and buffered facts of unknown streams.
const EARLY: usize = 1_000;
const HELD: usize = 10_000;

/// First line of a Python traceback, and lines between two of them.
const BEGIN: &str = "Traceback (most recent call last)";
const BETWEEN: [&str; 2] = ["During handling of the above exception", "The above exception was the direct cause"];

/// Last line of an interrupted Python program.
const INTERRUPT: &str = "KeyboardInterrupt";

/// State of the stderr parser.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct StderrParser {
    /// State of the current traceback, and its text so far.
    traceback: Traceback,
    text: String,
    /// The error it belongs to.
    group: Option<u64>,
    /// The last line of level error before it.
    error: Option<Arc<str>>,
    /// The traceback stands behind a logged error.
    caught: bool,
    /// The current message was logged beside the feed.
    pub(super) hearing: bool,
    /// It is written apart from the feed, so that its order relative to the feed is unknown.
    pub(super) apart: bool,
    /// Held-back messages are being applied.
    letting_go: bool,
    /// Loggers of a tap and of a target were seen; and the process with the first counts.
    tap: bool,
    target: bool,
    first: Option<u64>,
    /// Lines before the protocol was known.
    early: VecDeque<Box<str>>,
    /// Messages about streams that the feed has not named yet.
    held: Vec<(Box<str>, Held)>,
}

/// Fact about a stream, reported beside the feed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) enum Held {
    /// So many records, by this process.
    Records(u64, Option<u64>),
    Status(Status),
}

/// State of a Python traceback, line by line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Traceback {
    #[default]
    None,
    Open,
    /// Its last line came: the exception. Another may follow.
    Told,
}

impl StderrParser {
    /// Another attempt has other processes.
    pub(super) fn forget_processes(&mut self) {
        (self.tap, self.target, self.first) = (false, false, None);
    }

    /// Ends the traceback.
    fn clear(&mut self) {
        self.traceback = Traceback::None;
        self.text.clear();
        self.group = None;
        self.error = None;
    }
}

impl Traceback {
    /// True if a line belongs to the traceback; advances its state.
    pub(super) fn takes(&mut self, line: &str) -> bool {
        let between = BETWEEN.iter().any(|words| line.starts_with(words));
        let taken = line.starts_with(BEGIN) || (*self != Self::None && (between || line.trim().is_empty()));
        let within = *self == Self::Open;
        *self = match *self {
            Self::None | Self::Told if line.starts_with(BEGIN) => Self::Open,
            Self::Told if between => Self::Open,
            Self::Told if line.trim().is_empty() => Self::Told,
            Self::Open if taken || line.starts_with([' ', '\t']) => Self::Open,
            Self::Open => Self::Told,
            Self::None | Self::Told => Self::None,
        };
        taken || within
    }
}

impl Progress {
    /// True if a process that reports counts beside the feed is a target. Two processes on one pipe
    /// differ by their id: the tap comes first.
    pub(super) fn takes_for_target(&mut self, process: Option<u64>) -> bool {
        let heard = &mut self.stderr_parser;
        let Some(process) = process else { return false };
        (heard.target && !heard.tap) || *heard.first.get_or_insert(process) != process
    }

    /// True if a message beside the feed has to wait until the feed names the stream: the name may
    /// be that of an endpoint, or of another run.
    pub(super) fn held_back(&mut self, name: &Name, loose: bool, held: Held) -> bool {
        if !self.stderr_parser.hearing || self.stderr_parser.letting_go {
            return false;
        }
        let named = self.stream(&name.key()).is_some_and(|stream| stream.in_feed);
        let others = || self.streams.iter().any(|stream| stream.in_feed);
        if named || !(loose || others()) {
            return false;
        }
        if self.stderr_parser.held.len() < HELD {
            self.stderr_parser.held.push((name.key().into(), held));
        }
        true
    }

    /// Applies held-back facts of a stream that the feed named.
    pub(super) fn named(&mut self, name: &Name) {
        if self.stderr_parser.held.is_empty() || self.stderr_parser.letting_go {
            return;
        }
        let key = name.key();
        let all = std::mem::take(&mut self.stderr_parser.held);
        let (mine, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(held, _)| **held == *key);
        self.stderr_parser.held = rest;
        for (_, held) in mine {
            self.take_held(name, held);
        }
    }

    fn take_held(&mut self, name: &Name, held: Held) {
        let (stream, was) = (name.clone().into_owned(), self.stderr_parser.hearing);
        (self.stderr_parser.hearing, self.stderr_parser.letting_go) = (true, true);
        match held {
            Held::Records(records, process) => self.metered(&Metered {
                stream,
                records: Some(records),
                requests: None,
                timed_request: false,
                loaded: None,
                process,
                loose: false,
                run_id: None,
            }),
            Held::Status(status) => {
                let claim = StreamClaim { status: Some(status), ..StreamClaim::of(stream) };
                self.stream_claim(claim, &Line { bytes: &[], length: 0, end: LineEnd::Newline, huge: None });
            }
        }
        (self.stderr_parser.hearing, self.stderr_parser.letting_go) = (was, false);
    }

    /// Applies held-back facts at the end: if the feed itself named no stream, they are all there
    /// is; otherwise they concern none of its streams.
    pub(super) fn let_go(&mut self) {
        let held = std::mem::take(&mut self.stderr_parser.held);
        if self.streams.iter().any(|stream| stream.in_feed) {
            return;
        }
        for (key, held) in held {
            self.take_held(&Name::plain(String::from(key).into()), held);
        }
    }

    /// Applies lines of stderr that came before the protocol was known.
    pub(super) fn apply_buffered_lines(&mut self) {
        for line in std::mem::take(&mut self.stderr_parser.early) {
            self.parse_stderr_line_apart(&line);
        }
    }

    /// A line that the engine wrote to stderr.
    pub fn stderr(&mut self, line: &str) {
        if !line.trim().is_empty() {
            if self.stderr_tail.len() >= KEPT {
                self.stderr_tail.pop_front();
            }
            self.stderr_tail.push_back(mask::secrets(cut(line, FEED_LINE)).into());
        }
        // Two pipes have no order between them: an error in one protocol is nothing in another.
        if self.dialect.is_none() && !self.closed {
            let Some(known) = heard(line).and_then(|message| message.dialect) else {
                if self.stderr_parser.early.len() >= EARLY {
                    self.stderr_parser.early.pop_front();
                }
                self.stderr_parser.early.push_back(mask::secrets(cut(line, TEXT_KEPT)).into());
                return;
            };
            // It reveals the protocol itself.
            self.speaks(Some(known), false);
        }
        self.parse_stderr_line_apart(line);
    }

    fn parse_stderr_line_apart(&mut self, line: &str) {
        self.stderr_parser.apart = true;
        self.parse_stderr_line(line);
        self.stderr_parser.apart = false;
    }

    /// Weighs a line of words, wherever it was written.
    pub(super) fn parse_stderr_line(&mut self, line: &str) {
        if self.dialect.is_some_and(|dialect| !dialect.traits().errors_on_stderr) {
            return;
        }
        let plain = clean::line(line);
        let Some(message) = heard(&plain) else { return self.unstructured(line) };
        if !self.speaks(message.dialect, false) {
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
        self.stderr_parser.hearing = true;
        self.message(message, &line, None);
        self.stderr_parser.hearing = false;
        if failed {
            self.stderr_parser.group = self.attempt.cause;
        }
        if error
            && let Some(before) = before
            && let Some((text, _)) = &mut self.last_log_error
        {
            // Two errors in a row are one: the mistake, and its consequence.
            *text = format!("{before}; {text}").into();
        }
    }

    fn unstructured(&mut self, line: &str) {
        let was = self.stderr_parser.traceback;
        if !self.stderr_parser.traceback.takes(line) {
            self.stderr_parser.clear();
            if self.dialect.is_some() && !line.trim().is_empty() {
                self.note(Level::Info, FeedOrigin::Raw, None, None, line);
            }
            return;
        }
        if was == Traceback::None {
            self.stderr_parser.text.clear();
            // Behind a logged error it is that error's, and the program may have caught it.
            self.stderr_parser.caught = self.stderr_parser.error.is_some();
            if let Some(error) = self.stderr_parser.error.take() {
                self.raised(&error);
            }
        }
        let room = TEXT_KEPT.saturating_sub(self.stderr_parser.text.len());
        if !self.stderr_parser.text.is_empty() && room > 0 {
            self.stderr_parser.text.push('\n');
        }
        self.stderr_parser.text.push_str(cut(line, room));
        // A secret may stand on several lines.
        self.stderr_parser.text = mask::secrets(&self.stderr_parser.text).into_owned();
        if self.stderr_parser.traceback == Traceback::Told && was == Traceback::Open {
            self.process_ends(!self.stderr_parser.caught);
            match self.stderr_parser.group {
                Some(_) => {}
                None if line.starts_with(INTERRUPT) => self.attempt.stopping = true,
                None => self.raised(line),
            }
        }
        if let Some(id) = self.stderr_parser.group {
            self.errors.set_stack(id, &self.stderr_parser.text);
        }
    }

    /// The whole run failed with this.
    fn raised(&mut self, message: &str) {
        let place = ErrorPlace { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream: None };
        self.last_log_error = Some((mask::secrets(cut(message, TEXT_KEPT)).into(), place));
        let bytes = message.as_bytes();
        let line = Line { bytes, length: bytes.len() as u64, end: LineEnd::Newline, huge: None };
        // An unknown engine reports its errors here too.
        let failure = Failure::of(Where::Global, None, message.to_owned().into());
        self.attempt.last_word_failed = true;
        let id = self.record_failure(failure, &line);
        self.stderr_parser.group = Some(id);
        self.explains(id);
    }

    /// Most informative line of an engine's stderr: the last one about an error, otherwise the last
    /// one.
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
