//! The canonical message: what an engine claims, in the words of the field.

use super::time::Millis;
use std::borrow::Cow;

/// One understood line. Borrows from the line it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// `_ts`, else `record.emitted_at`; milliseconds since 1970, UTC.
    pub at: Option<Millis>,
    /// Who wrote it (`_emitted_by`, or the logger's name).
    pub from: Option<Cow<'a, str>>,
    pub kind: Kind<'a>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    /// The streams asked for; begins an attempt.
    Catalog(Vec<Name<'a>>),
    Record(Name<'a>),
    Checkpoint(Checkpoint<'a>),
    Stream(Box<StreamClaim<'a>>),
    Progress(Box<ProgressReport<'a>>),
    Failure(Box<Failure<'a>>),
    /// The result of reaching the source or the destination at all.
    Connection {
        /// `None`: said in a word that nobody knows.
        ok: Option<bool>,
        message: Option<Cow<'a, str>>,
    },
    Log(Box<Log<'a>>),
    End(Box<End<'a>>),
    /// Understood, and nothing in it for the reducer (control, spec, source_input, estimate).
    Note(&'static str),
}

/// Identity of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<'a> {
    pub namespace: Option<Cow<'a, str>>,
    pub name: Cow<'a, str>,
}

impl<'a> Name<'a> {
    #[must_use]
    pub fn plain(name: Cow<'a, str>) -> Self {
        Self { namespace: None, name }
    }

    /// One string a stream can be looked up by.
    #[must_use]
    pub fn key(&self) -> Cow<'_, str> {
        match &self.namespace {
            None => Cow::Borrowed(&self.name),
            Some(space) => Cow::Owned(format!("{space}\u{1f}{}", self.name)),
        }
    }
}

/// A count as claimed, by scope. `running` is an engine's own counter of which it is not said whether
/// it starts again in a new attempt; the reducer finds out, as Prometheus does for a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub attempt: Option<u64>,
    pub cumulative: Option<u64>,
    pub running: Option<u64>,
}

impl Counts {
    #[must_use]
    pub fn running(value: Option<u64>) -> Self {
        Self { running: value, ..Self::default() }
    }

    #[must_use]
    pub fn said(&self) -> bool {
        self.attempt.is_some() || self.cumulative.is_some() || self.running.is_some()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Status {
    #[default]
    NotStarted,
    Started,
    Completed,
    Skipped,
    Errored,
}

impl Status {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Skipped => "skipped",
            Self::Errored => "errored",
        }
    }
}

/// `[gte, lt)` in milliseconds. Without `gte`: from the beginning, and coverage is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Range {
    pub gte: Option<Millis>,
    pub lt: Option<Millis>,
}

/// A `source_state` line.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint<'a> {
    /// Absent for a global state.
    pub stream: Option<Name<'a>>,
    pub state: State<'a>,
}

/// What a source says about one stream in the state it hands out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State<'a> {
    /// Whether nothing is left of the stream, if the state says so at all.
    pub done: Option<bool>,
    /// Ranges it still has to read.
    pub left: usize,
    /// The failure type of a `*_error` status.
    pub failure: Option<Cow<'a, str>>,
    pub total: Option<Range>,
    pub completed: Option<Vec<Range>>,
}

/// A message about one stream's lifecycle.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamClaim<'a> {
    pub stream: Name<'a>,
    pub status: Option<Status>,
    /// A status word that nobody knows, kept for the log.
    pub odd_status: Option<Cow<'a, str>>,
    pub records: Counts,
    pub error: Option<Cow<'a, str>>,
    pub reason: Option<Cow<'a, str>>,
    pub total: Option<Range>,
    pub completed: Option<Range>,
    /// This engine says "complete" before the checkpoints behind it are through.
    pub early: bool,
}

/// A report on the whole run, with or without its streams.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgressReport<'a> {
    pub started_at: Option<Millis>,
    /// Milliseconds of work.
    pub elapsed: Counts,
    pub records: Counts,
    pub requests: Counts,
    /// The engine's own count of checkpoints, to notice a restart of its counters.
    pub checkpoints: Option<u64>,
    pub streams: Vec<(Name<'a>, StreamReport<'a>)>,
    /// A full list, repeated in each report.
    pub errors: Vec<Failure<'a>>,
}

impl ProgressReport<'_> {
    /// Everything but the counts.
    #[must_use]
    pub fn without_counts(mut self) -> Self {
        (self.records, self.elapsed, self.requests) = Default::default();
        for (_, stream) in &mut self.streams {
            stream.records = Counts::default();
        }
        self
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamReport<'a> {
    pub status: Option<Status>,
    /// A status word that nobody knows.
    pub odd_status: Option<Cow<'a, str>>,
    pub records: Counts,
    pub message: Option<Cow<'a, str>>,
    pub total: Option<Range>,
    pub completed: Option<Vec<Range>>,
    pub inserted: Option<u64>,
    pub updated: Option<u64>,
    pub deleted: Option<u64>,
}

/// Where an error struck, as the wire says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Where {
    Global,
    Stream,
    Transient,
}

impl Where {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Stream => "stream",
            Self::Transient => "transient",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Failure<'a> {
    pub level: Where,
    pub failure_type: Option<Cow<'a, str>>,
    pub stream: Option<Name<'a>>,
    pub message: Cow<'a, str>,
    pub stack: Option<Cow<'a, str>>,
    /// Its stream or run ended with it.
    pub is_final: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Level {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl Level {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// From the words engines use; what nobody knows is information.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "warn" | "warning" => Self::Warn,
            "error" | "fatal" | "critical" => Self::Error,
            _ => Self::Info,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log<'a> {
    pub level: Level,
    pub message: Cow<'a, str>,
    pub stream: Option<Cow<'a, str>>,
    pub retry: Option<Retry<'a>>,
    /// Streams that the caller asked for, where the engine logs its configuration.
    pub asked: Vec<Cow<'a, str>>,
}

/// A source waits before it tries again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retry<'a> {
    /// HTTP status; absent when the connection itself failed.
    pub status: Option<u16>,
    pub attempt: u64,
    pub max: Option<u64>,
    pub delay_ms: u64,
    pub error: Option<Cow<'a, str>>,
}

/// How an engine says that it is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EndWord {
    Complete,
    Failed,
    Aborted,
    /// A limit: call again.
    Limit,
    /// The end message still says "started".
    StillStarted,
    /// No word at all (a read, or the start/end design).
    Unsaid,
    /// A word that nobody knows.
    Unknown,
}

#[derive(Debug, Clone, PartialEq)]
pub struct End<'a> {
    pub word: EndWord,
    /// The engine's last word, verbatim.
    pub reason: Option<Cow<'a, str>>,
    pub has_more: Option<bool>,
    /// The source's returned state by stream; `None` where no state came back.
    pub states: Option<Vec<(Name<'a>, State<'a>)>>,
    pub progress: ProgressReport<'a>,
    /// Counts of this attempt only, by stream.
    pub attempt: Option<ProgressReport<'a>>,
    pub errors: Vec<Failure<'a>>,
}
