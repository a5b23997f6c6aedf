//! Canonical message: the claims of an engine, in terms that all protocols share.

use super::time::Millis;
use std::borrow::Cow;

/// Claim of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    /// Requested streams. Starts an attempt.
    Catalog(Vec<Name<'a>>),
    /// Available streams of a source, requested or not.
    AvailableStreams(Vec<Name<'a>>),
    Record(Record<'a>),
    /// Deletion of an object of this stream at the source. It does not count as a record.
    Deletion(Name<'a>),
    /// Records of this stream in files, without their number.
    UncountedRecords(Name<'a>),
    Checkpoint(Checkpoint<'a>),
    Stream(Box<StreamClaim<'a>>),
    /// Estimate of the total, as reported by the engine.
    Estimate(Box<Estimate<'a>>),
    /// Increments of counts, reported beside the records.
    Metered(Box<Metered<'a>>),
    Progress(Box<ProgressReport<'a>>),
    Failure(Box<Failure<'a>>),
    /// Result of a connection test.
    Connection {
        /// `None` for an unknown status.
        ok: Option<bool>,
        message: Option<Cow<'a, str>>,
    },
    Log(Box<Log<'a>>),
    End(Box<End<'a>>),
    /// Announcement that the engine stops on request.
    Stopping,
    /// Answer to a command other than a sync, such as a specification.
    Answer,
    /// Known message without a claim (control, spec, source_input).
    Note(&'static str),
}

/// Identity of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<'a> {
    pub namespace: Option<Cow<'a, str>>,
    pub name: Cow<'a, str>,
}

impl<'a> Name<'a> {
    /// Creates a name without a namespace.
    #[must_use]
    pub fn plain(name: Cow<'a, str>) -> Self {
        Self { namespace: None, name }
    }

    /// Creates a name in a namespace; an empty one counts as none.
    #[must_use]
    pub fn with_namespace(namespace: Option<Cow<'a, str>>, name: Cow<'a, str>) -> Self {
        Self { namespace: namespace.filter(|space| !space.is_empty()), name }
    }

    /// Copies the borrowed parts.
    #[must_use]
    pub fn into_owned(self) -> Name<'static> {
        let own = |text: Cow<str>| Cow::Owned(text.into_owned());
        Name { namespace: self.namespace.map(own), name: own(self.name) }
    }

    /// Returns the name for display: `public.users`.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        match &self.namespace {
            None => Cow::Borrowed(&self.name),
            Some(space) => Cow::Owned(format!("{space}.{}", self.name)),
        }
    }

    /// Returns a unique string for lookups.
    #[must_use]
    pub fn key(&self) -> Cow<'_, str> {
        match &self.namespace {
            None => Cow::Borrowed(&self.name),
            Some(space) => Cow::Owned(format!("{space}\u{1f}{}", self.name)),
        }
    }
}

/// Claimed count, by scope. `running` is an engine's own counter, which may restart in a new
/// attempt; the reducer detects that, as Prometheus does for a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub attempt: Option<u64>,
    pub cumulative: Option<u64>,
    pub running: Option<u64>,
}

impl Counts {
    /// Creates a claim of an engine's own counter.
    #[must_use]
    pub fn running(value: Option<u64>) -> Self {
        Self { running: value, ..Self::default() }
    }

    /// True if a count of any scope was reported.
    #[must_use]
    pub fn said(&self) -> bool {
        self.attempt.is_some() || self.cumulative.is_some() || self.running.is_some()
    }
}

/// Status of a stream.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
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
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Time range `[gte, lt)` in milliseconds. Without `gte` it starts at the beginning, and coverage
/// is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Range {
    pub gte: Option<Millis>,
    pub lt: Option<Millis>,
}

/// Record line.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    pub stream: Name<'a>,
    /// Length of the data as JSON in UTF-16 units, which Airbyte calls bytes; `None` in other
    /// protocols.
    pub measure: Option<u64>,
    /// True if the line was too long to store, so that fields after the data (a namespace) are
    /// unknown.
    pub partial: bool,
}

/// `source_state` or STATE line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint<'a> {
    /// Absent for a global state.
    pub stream: Option<Name<'a>>,
    pub state: State<'a>,
    /// Emitted state, for protocols whose destination returns states.
    pub handed: Option<Box<EmittedState<'a>>>,
    /// True if a destination emitted it after its rows. It may then follow the source's own
    /// "complete".
    pub late: bool,
}

/// State that a source emits, and that a destination returns once everything before it is durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmittedState<'a> {
    /// Streams of a global or complete state.
    pub streams: Vec<StreamCursor<'a>>,
    /// True if the complete state is repeated each time, so that it is a checkpoint of the streams
    /// whose part changed.
    pub whole: bool,
    /// Current stream of the source, if reported.
    pub current: Option<Name<'a>>,
    /// Hash of the state. A destination returns a state with the same hash.
    pub id: u64,
    /// Records since the previous state, as counted by the source.
    pub records: Option<u64>,
    /// True if a destination returned it.
    pub committed: bool,
}

/// Position of one stream in a state.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamCursor<'a> {
    pub stream: Name<'a>,
    /// Hash of the position.
    pub id: u64,
}

/// Estimated total of a stream, or of the whole sync if `stream` is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate<'a> {
    pub stream: Option<Name<'a>>,
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
}

/// Increments of counts, reported beside the records of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Metered<'a> {
    pub stream: Name<'a>,
    pub records: Option<u64>,
    pub requests: Option<u64>,
    /// True for the measured duration of one request.
    pub timed_request: bool,
    /// True for a count of the destination, false for one of the source, if known.
    pub loaded: Option<bool>,
    /// Id of the reporting process. Distinguishes a tap and a target that write to one pipe.
    pub process: Option<u64>,
    /// True if the name is that of an endpoint or job, which is usually the name of the stream.
    pub is_inferred_name: bool,
    /// Run that the counts belong to.
    pub run_id: Option<Cow<'a, str>>,
}

/// Source state of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State<'a> {
    /// True if nothing is left of the stream; `None` if the state does not say so.
    pub done: Option<bool>,
    /// Number of ranges left to read.
    pub left: u32,
    /// The failure type of a `*_error` status.
    pub failure: Option<Box<str>>,
    pub total: Option<Range>,
    pub completed: Option<Vec<Range>>,
    pub position: Position<'a>,
}

impl State<'_> {
    /// Returns the length of the total range that is read, in milliseconds.
    #[must_use]
    pub fn read(&self) -> Option<Millis> {
        let total = self.total?;
        Some(total.lt? - total.gte? - self.position.known()?.remaining.flatten()?)
    }
}

/// Parser of a position, given by the adapter that kept its JSON.
pub type ParsePosition = fn(&str) -> Option<KnownPosition>;

/// Position of a source in one stream.
#[derive(Debug, Clone, Default)]
pub enum Position<'a> {
    #[default]
    Unknown,
    /// JSON of the state, parsed on demand, because most positions are soon replaced by the next.
    Unparsed(&'a str, ParsePosition),
    Known(Box<KnownPosition>),
}

/// Parsed position of a source in one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KnownPosition {
    /// Hash of the state; never 0.
    pub id: u64,
    /// Milliseconds left to read. The outer `None` means that the state lists no ranges, the inner
    /// one that a range has an open end.
    pub remaining: Option<Option<Millis>>,
    /// Maximum number of rows that a client skips if it continues from this state although the
    /// pages at its cursors were not written.
    pub page_rows: u32,
}

impl Position<'_> {
    /// Returns the parsed position, if any. Parses the JSON of an unparsed one on each call.
    #[must_use]
    pub fn known(&self) -> Option<KnownPosition> {
        match self {
            Self::Unknown => None,
            Self::Unparsed(json, parse) => parse(json),
            Self::Known(known) => Some(**known),
        }
    }
}

impl PartialEq for Position<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.known() == other.known()
    }
}

/// Claim about the lifecycle of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamClaim<'a> {
    pub stream: Name<'a>,
    pub status: Option<Status>,
    /// Status on the wire, if it is unknown.
    pub odd_status: Option<Cow<'a, str>>,
    pub records: Counts,
    pub error: Option<Cow<'a, str>>,
    pub reason: Option<Cow<'a, str>>,
    pub total: Option<Range>,
    pub completed: Option<Range>,
    /// True if the engine reports "complete" before the last checkpoints of the stream.
    pub early: bool,
    pub pace: Option<Activity>,
    /// True if the name is that of an endpoint or job, which is usually the name of the stream.
    pub is_inferred_name: bool,
    /// True if `error` is one of the destination, so that counted rows may not be written.
    pub from_destination: bool,
}

impl Metered<'_> {
    /// Copies the borrowed parts and sets `loaded`.
    #[must_use]
    pub fn into_owned(self, loaded: Option<bool>) -> Metered<'static> {
        Metered {
            stream: self.stream.into_owned(),
            records: self.records,
            requests: self.requests,
            timed_request: self.timed_request,
            loaded,
            process: self.process,
            is_inferred_name: self.is_inferred_name,
            run_id: self.run_id.map(|id| Cow::Owned(id.into_owned())),
        }
    }
}

/// Activity of a started stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Moving,
    /// Held by a rate limit, until this time if reported.
    Limited(Option<Millis>),
}

impl<'a> StreamClaim<'a> {
    /// Copies a claim that has nothing but status, activity and stream. Other fields are dropped.
    #[must_use]
    pub fn into_owned(self) -> StreamClaim<'static> {
        StreamClaim {
            status: self.status,
            pace: self.pace,
            is_inferred_name: self.is_inferred_name,
            ..StreamClaim::of(self.stream.into_owned())
        }
    }

    /// Creates an empty claim about a stream.
    #[must_use]
    pub fn of(stream: Name<'a>) -> Self {
        Self {
            stream,
            status: None,
            odd_status: None,
            records: Counts::default(),
            error: None,
            reason: None,
            total: None,
            completed: None,
            early: false,
            pace: None,
            is_inferred_name: false,
            from_destination: false,
        }
    }
}

/// Report on the whole run, with or without its streams.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgressReport<'a> {
    pub started_at: Option<Millis>,
    /// Duration of the work in milliseconds.
    pub elapsed: Counts,
    pub records: Counts,
    pub requests: Counts,
    /// The engine's own count of checkpoints, used to detect a restart of its counters.
    pub checkpoints: Option<u64>,
    pub streams: Vec<(Name<'a>, StreamReport<'a>)>,
    /// All errors of the run so far: the list is repeated in each report.
    pub errors: Vec<Failure<'a>>,
}

impl ProgressReport<'_> {
    /// Removes the counts.
    #[must_use]
    pub fn without_counts(mut self) -> Self {
        (self.records, self.elapsed, self.requests) = Default::default();
        for (_, stream) in &mut self.streams {
            stream.records = Counts::default();
        }
        self
    }
}

/// Report on one stream in a report on the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamReport<'a> {
    pub status: Option<Status>,
    /// Status on the wire, if it is unknown.
    pub odd_status: Option<Cow<'a, str>>,
    pub records: Counts,
    pub message: Option<Cow<'a, str>>,
    /// True if `message` is an error of the destination.
    pub from_destination: bool,
    pub total: Option<Range>,
    pub completed: Option<Vec<Range>>,
    pub inserted: Option<u64>,
    pub updated: Option<u64>,
    pub deleted: Option<u64>,
}

/// Level of an error on the wire.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum ErrorLevel {
    Global,
    Stream,
    Transient,
}

impl ErrorLevel {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Error of a run or stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure<'a> {
    pub level: ErrorLevel,
    pub failure_type: Option<Cow<'a, str>>,
    pub stream: Option<Name<'a>>,
    pub message: Cow<'a, str>,
    /// Internal message of the engine, if `message` is written for users.
    pub internal: Option<Cow<'a, str>>,
    pub stack: Option<Cow<'a, str>>,
    /// True if the stream or run ended with this error.
    pub is_final: bool,
    /// True if it only repeats the errors of the streams.
    pub roll_up: bool,
    /// True if the destination failed, not the source.
    pub from_destination: bool,
}

impl<'a> Failure<'a> {
    /// Creates a final error without details.
    #[must_use]
    pub fn of(level: ErrorLevel, stream: Option<Name<'a>>, message: Cow<'a, str>) -> Self {
        Self {
            level,
            failure_type: None,
            stream,
            message,
            internal: None,
            stack: None,
            is_final: true,
            roll_up: false,
            from_destination: false,
        }
    }
}

/// Level of a log line.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
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
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Reads an engine's name of a level, in any case. An unknown name is [`Level::Info`].
impl From<&str> for Level {
    fn from(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "warn" | "warning" => Self::Warn,
            "error" | "fatal" | "critical" => Self::Error,
            _ => Self::Info,
        }
    }
}

/// Log line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log<'a> {
    pub level: Level,
    pub message: Cow<'a, str>,
    pub stream: Option<Cow<'a, str>>,
    pub retry: Option<Retry<'a>>,
    /// Requested streams, if the engine logs its configuration.
    pub asked: Vec<Cow<'a, str>>,
    /// True if the engine ends with this line. Usually an error with the same text follows.
    pub fatal: bool,
    /// Boxed, because few lines have a context and lines are moved often.
    pub context: Option<Box<LogContext<'a>>>,
}

/// Rare contents of a log line: its run, errors and process events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogContext<'a> {
    /// Text of the error that the line is about.
    pub error: Option<Cow<'a, str>>,
    /// Failed streams that the line lists.
    pub failed_streams: Vec<Cow<'a, str>>,
    /// Run that the line belongs to.
    pub run_id: Option<Cow<'a, str>>,
    /// Streams whose rows may be missing, as reported by synctop's client or service, which have
    /// seen the earlier calls of the run.
    pub at_risk: Vec<AtRisk<'a>>,
    pub process: Option<ProcessEvent<'a>>,
}

/// Start or end that an engine logs, because its protocol has no message for it.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessEvent<'a> {
    Starts,
    /// End of the stream with this name, or of the whole sync if no stream has this name.
    Finishes(Cow<'a, str>),
}

impl<'a> ProcessEvent<'a> {
    /// Creates a log context with nothing but this event.
    pub(super) fn context(self) -> LogContext<'a> {
        LogContext { process: Some(self), ..LogContext::default() }
    }
}

/// Reason that rows of a stream may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// The state in an end message was ahead of the last checkpoint.
    StateAhead,
    /// A limit cut off a call of an engine whose end state cannot show unread rows, and the run
    /// continued.
    ResumedAfterCut,
}

/// Stream whose rows may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct AtRisk<'a> {
    pub stream: Name<'a>,
    pub risk: Risk,
    /// Maximum number of missing rows, if known.
    pub rows: Option<u64>,
    /// True if the client continued from the last checkpoint, so that the rows are read again.
    pub kept: bool,
}

/// Announcement that a source waits before it retries a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retry<'a> {
    /// HTTP status; `None` if the connection failed.
    pub status: Option<u16>,
    pub attempt: u64,
    pub max: Option<u64>,
    pub delay_ms: u64,
    pub error: Option<Cow<'a, str>>,
}

/// Reason of an end, as an engine claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EndReason {
    Complete,
    Failed,
    Aborted,
    /// Cut off by a limit: call again.
    Limit,
    /// The end message still reports "started".
    StillStarted,
    /// No reason (a read, or the start/end design).
    Unsaid,
    /// Unknown reason.
    Unknown,
}

/// End of an attempt, as claimed by the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct End<'a> {
    pub word: EndReason,
    /// Reason or status on the wire, verbatim.
    pub reason: Option<Cow<'a, str>>,
    pub has_more: Option<bool>,
    /// Returned state of the source by stream; `None` if no state was returned.
    pub states: Option<Vec<(Name<'a>, State<'a>)>>,
    pub progress: ProgressReport<'a>,
    /// Counts of this attempt only, by stream.
    pub attempt: Option<ProgressReport<'a>>,
    pub errors: Vec<Failure<'a>>,
    /// Run that ends, or whose call ends.
    pub run_id: Option<Cow<'a, str>>,
    /// True if the returned state cannot show rows that a limit left unread.
    pub hides_unread_rows: bool,
}

impl<'a> End<'a> {
    /// Creates an end with a reason and nothing else.
    #[must_use]
    pub fn of(word: EndReason, reason: impl Into<Cow<'a, str>>) -> Self {
        Self {
            word,
            reason: Some(reason.into()),
            has_more: None,
            states: None,
            progress: ProgressReport::default(),
            attempt: None,
            errors: Vec::new(),
            run_id: None,
            hides_unread_rows: false,
        }
    }
}
