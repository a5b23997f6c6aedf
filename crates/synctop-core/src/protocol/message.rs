//! Canonical message: an engine's claims, in the terms of the field.

use super::time::Millis;
use std::borrow::Cow;

/// One understood line. Borrows from the line it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// `_ts`, `trace.emitted_at`, `time_extracted`, else `record.emitted_at`; milliseconds since
    /// 1970, UTC.
    pub at: Option<Millis>,
    /// Emitter (`_emitted_by`, or the logger's name).
    pub from: Option<Cow<'a, str>>,
    /// The protocol it is written in; `None` where it may stand in a feed of any.
    pub dialect: Option<Dialect>,
    /// It is a message of that protocol and nothing else; a line of a log may come from a library
    /// that others use too.
    pub firm: bool,
    pub kind: Kind<'a>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    /// The streams asked for; begins an attempt.
    Catalog(Vec<Name<'a>>),
    /// The streams that a source has; nothing is asked for with it.
    Offer(Vec<Name<'a>>),
    Record(Record<'a>),
    /// An object of this stream was deleted at the source: no record.
    Deletion(Name<'a>),
    /// Records of this stream in files; their number is not reported.
    Hidden(Name<'a>),
    Checkpoint(Checkpoint<'a>),
    Stream(Box<StreamClaim<'a>>),
    /// Estimate of the total, as reported by the engine.
    Estimate(Box<Estimate<'a>>),
    /// Counts reported beside the records, to be added up.
    Metered(Box<Metered<'a>>),
    Progress(Box<ProgressReport<'a>>),
    Failure(Box<Failure<'a>>),
    /// The result of reaching the source or the destination at all.
    Connection {
        /// `None`: an unknown word.
        ok: Option<bool>,
        message: Option<Cow<'a, str>>,
    },
    Log(Box<Log<'a>>),
    End(Box<End<'a>>),
    /// The engine was asked to stop, and does.
    Stopping,
    /// Answer to a command other than a sync (a specification, for example).
    Answer,
    /// Understood, and nothing in it for the reducer (control, spec, source_input).
    Note(&'static str),
}

/// A protocol.
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
pub enum Dialect {
    Stripe,
    Airbyte,
    Singer,
    /// Meltano's log of the Singer taps and targets that it runs.
    Meltano,
}

/// Traits of a protocol that hold for every feed. The reducer asks these, never the protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct ProtocolTraits {
    /// There is no end message: the end of the process is the end.
    pub ends_with_process: bool,
    /// The first terminal status of a stream is the one that counts.
    pub first_status_stands: bool,
    /// Checkpoints behind a stream's "complete" are nothing odd.
    pub late_states: bool,
    /// A run that is stopped from outside exits with 0, its open streams failed.
    pub stopped_exits_zero: bool,
    /// Its errors are reported on stderr.
    pub errors_on_stderr: bool,
    /// Its log reports the end: a log without one is cut, unless the exit of the process decides.
    pub says_end: bool,
}

impl Dialect {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    #[must_use]
    pub fn traits(self) -> &'static ProtocolTraits {
        const STRIPE: ProtocolTraits = ProtocolTraits {
            ends_with_process: false,
            first_status_stands: false,
            late_states: false,
            stopped_exits_zero: false,
            errors_on_stderr: false,
            says_end: false,
        };
        const AIRBYTE: ProtocolTraits =
            ProtocolTraits { ends_with_process: true, first_status_stands: true, late_states: true, ..STRIPE };
        const SINGER: ProtocolTraits = ProtocolTraits {
            ends_with_process: true,
            late_states: true,
            stopped_exits_zero: true,
            errors_on_stderr: true,
            ..STRIPE
        };
        const MELTANO: ProtocolTraits = ProtocolTraits { says_end: true, ..SINGER };
        match self {
            Self::Stripe => &STRIPE,
            Self::Airbyte => &AIRBYTE,
            Self::Singer => &SINGER,
            Self::Meltano => &MELTANO,
        }
    }

    /// True if both may stand in one feed: Meltano's log contains the output of taps and targets.
    #[must_use]
    pub fn goes_with(self, other: Self) -> bool {
        let family = |dialect| if dialect == Self::Meltano { Self::Singer } else { dialect };
        family(self) == family(other)
    }
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

    /// With a namespace, if it has one.
    #[must_use]
    pub fn spaced(namespace: Option<Cow<'a, str>>, name: Cow<'a, str>) -> Self {
        Self { namespace: namespace.filter(|space| !space.is_empty()), name }
    }

    /// On its own.
    #[must_use]
    pub fn into_owned(self) -> Name<'static> {
        let own = |text: Cow<str>| Cow::Owned(text.into_owned());
        Name { namespace: self.namespace.map(own), name: own(self.name) }
    }

    /// As people write it: `public.users`.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        match &self.namespace {
            None => Cow::Borrowed(&self.name),
            Some(space) => Cow::Owned(format!("{space}.{}", self.name)),
        }
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

/// Claimed count, by scope. `running` is an engine's own counter that may or may not restart in a
/// new attempt; the reducer finds out, as Prometheus does for a counter.
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

/// `[gte, lt)` in milliseconds. Without `gte`: from the beginning, and coverage is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Range {
    pub gte: Option<Millis>,
    pub lt: Option<Millis>,
}

/// A record line.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    pub stream: Name<'a>,
    /// UTF-16 units of its data as JSON, Airbyte's own "bytes"; `None` in other protocols.
    pub measure: Option<u64>,
    /// Its line was too long to store: fields behind the data (a namespace) are unknown.
    pub partial: bool,
}

/// A `source_state` or STATE line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint<'a> {
    /// Absent for a global state.
    pub stream: Option<Name<'a>>,
    pub state: State<'a>,
    /// Emitted state, for protocols whose destination returns states.
    pub handed: Option<Box<EmittedState<'a>>>,
    /// A destination hands it on after its rows: it may follow the source's own "complete".
    pub late: bool,
}

/// A state that a source hands out and a destination echoes when everything before it is durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmittedState<'a> {
    /// The streams of a global state, or of a whole one.
    pub streams: Vec<StreamCursor<'a>>,
    /// The whole state is repeated each time: it is a checkpoint of the streams whose part changed.
    pub whole: bool,
    /// Current stream of the source, if reported.
    pub current: Option<Name<'a>>,
    /// Identity of the state: an echo has the same.
    pub id: u64,
    /// Records since the state before, as the source counted them.
    pub records: Option<u64>,
    /// It comes from a destination.
    pub committed: bool,
}

/// One stream in a state.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamCursor<'a> {
    pub stream: Name<'a>,
    /// Identity of the position.
    pub id: u64,
}

/// Estimate of a stream, or of the whole sync.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate<'a> {
    pub stream: Option<Name<'a>>,
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
}

/// Counts reported beside the records. They are increments.
#[derive(Debug, Clone, PartialEq)]
pub struct Metered<'a> {
    pub stream: Name<'a>,
    pub records: Option<u64>,
    pub requests: Option<u64>,
    /// One request of which the time was taken.
    pub timed_request: bool,
    /// True for the destination's count, false for the source's, if known.
    pub loaded: Option<bool>,
    /// Reporting process: it distinguishes a tap and a target that write to one pipe.
    pub process: Option<u64>,
    /// The name is that of an endpoint or a job, which streams mostly go by.
    pub loose: bool,
    /// The run that it belongs to.
    pub run_id: Option<Cow<'a, str>>,
}

/// Source state of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State<'a> {
    /// True if nothing is left of the stream; `None` if the state does not say so.
    pub done: Option<bool>,
    /// Ranges it still has to read.
    pub left: u32,
    /// The failure type of a `*_error` status.
    pub failure: Option<Box<str>>,
    pub total: Option<Range>,
    pub completed: Option<Vec<Range>>,
    pub position: Position<'a>,
}

impl State<'_> {
    /// Milliseconds of its total range that are read.
    #[must_use]
    pub fn read(&self) -> Option<Millis> {
        let total = self.total?;
        Some(total.lt? - total.gte? - self.position.known()?.remaining.flatten()?)
    }
}

/// Position of a source in one stream.
#[derive(Debug, Clone, Default)]
pub enum Position<'a> {
    /// Unknown.
    #[default]
    Unknown,
    /// JSON of the state, to be read where it is asked for: all but the last of a stream are soon
    /// replaced.
    Unread(&'a str),
    Known(Box<KnownPosition>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KnownPosition {
    /// Equal for equal states; never 0.
    pub id: u64,
    /// Milliseconds left to read, if the state lists ranges; unknown if one of them has an open
    /// end.
    pub remaining: Option<Option<Millis>>,
    /// Rows that a client skips at most if it goes on from this state and the pages at its cursors
    /// were not written.
    pub page_rows: u32,
}

impl Position<'_> {
    #[must_use]
    pub fn known(&self) -> Option<KnownPosition> {
        match self {
            Self::Unknown => None,
            Self::Unread(json) => super::source_state(json)?.position.known(),
            Self::Known(known) => Some(**known),
        }
    }
}

impl PartialEq for Position<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.known() == other.known()
    }
}

/// A message about one stream's lifecycle.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamClaim<'a> {
    pub stream: Name<'a>,
    pub status: Option<Status>,
    /// Unknown status word, kept for the log.
    pub odd_status: Option<Cow<'a, str>>,
    pub records: Counts,
    pub error: Option<Cow<'a, str>>,
    pub reason: Option<Cow<'a, str>>,
    pub total: Option<Range>,
    pub completed: Option<Range>,
    /// This engine reports "complete" before the checkpoints behind it are through.
    pub early: bool,
    pub pace: Option<Activity>,
    /// The name is that of an endpoint or a job, which streams mostly go by.
    pub loose: bool,
    /// Its error is the destination's: rows that were counted may not be written.
    pub from_destination: bool,
}

impl Metered<'_> {
    /// On its own, and whose it is.
    #[must_use]
    pub fn into_owned(self, loaded: Option<bool>) -> Metered<'static> {
        Metered {
            stream: self.stream.into_owned(),
            records: self.records,
            requests: self.requests,
            timed_request: self.timed_request,
            loaded,
            process: self.process,
            loose: self.loose,
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
    /// Owned copy of a claim with a status only.
    #[must_use]
    pub fn into_owned(self) -> StreamClaim<'static> {
        StreamClaim {
            status: self.status,
            pace: self.pace,
            loose: self.loose,
            ..StreamClaim::of(self.stream.into_owned())
        }
    }

    /// Empty claim.
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
            loose: false,
            from_destination: false,
        }
    }
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
    /// Unknown status word.
    pub odd_status: Option<Cow<'a, str>>,
    pub records: Counts,
    pub message: Option<Cow<'a, str>>,
    /// Its message is an error of the destination.
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
pub enum Where {
    Global,
    Stream,
    Transient,
}

impl Where {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Failure<'a> {
    pub level: Where,
    pub failure_type: Option<Cow<'a, str>>,
    pub stream: Option<Name<'a>>,
    pub message: Cow<'a, str>,
    /// Engine's own words, if the message is written for users.
    pub internal: Option<Cow<'a, str>>,
    pub stack: Option<Cow<'a, str>>,
    /// Its stream or run ended with it.
    pub is_final: bool,
    /// It only repeats the errors of the streams.
    pub roll_up: bool,
    /// The destination failed, not the source.
    pub from_destination: bool,
}

impl<'a> Failure<'a> {
    /// A final one.
    #[must_use]
    pub fn of(level: Where, stream: Option<Name<'a>>, message: Cow<'a, str>) -> Self {
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

/// Level of an engine's name for it; an unknown name is information.
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

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log<'a> {
    pub level: Level,
    pub message: Cow<'a, str>,
    pub stream: Option<Cow<'a, str>>,
    pub retry: Option<Retry<'a>>,
    /// Streams that the caller asked for, where the engine logs its configuration.
    pub asked: Vec<Cow<'a, str>>,
    /// The engine ends with it; usually an error with the same text follows.
    pub fatal: bool,
    /// Of few lines: not in the line itself, which is moved often.
    pub context: Option<Box<LogContext<'a>>>,
}

/// Context of a log line: its run, and errors in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogContext<'a> {
    /// The error that the line is about, in the words of the error itself.
    pub error: Option<Cow<'a, str>>,
    /// Streams that failed, as a line about several of them lists them.
    pub failed_streams: Vec<Cow<'a, str>>,
    /// The run that it belongs to.
    pub run_id: Option<Cow<'a, str>>,
    /// Streams whose rows may be missing, as our own client or service knows from earlier logs of
    /// the run.
    pub at_risk: Vec<AtRisk<'a>>,
    pub process: Option<ProcessWord<'a>>,
}

/// A log line about the process of an engine whose protocol has no message for its begin and end.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessWord<'a> {
    Starts,
    /// It is through with this: a stream, or all of them where no stream goes by that name.
    Finishes(Cow<'a, str>),
}

impl<'a> ProcessWord<'a> {
    /// As the only word of a log line about its run.
    pub(super) fn context(self) -> LogContext<'a> {
        LogContext { process: Some(self), ..LogContext::default() }
    }
}

/// Reason that rows of a stream may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// The state of an end was ahead of the last checkpoint.
    StateAhead,
    /// A limit cut a call of an engine whose end state cannot show unread rows, and the run
    /// continued.
    ResumedAfterCut,
}

/// A stream whose rows may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct AtRisk<'a> {
    pub stream: Name<'a>,
    pub risk: Risk,
    /// Rows that may be missing at most, where that is known.
    pub rows: Option<u64>,
    /// The client went on from the last checkpoint, so that the rows are read again.
    pub kept: bool,
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

/// End word of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EndWord {
    Complete,
    Failed,
    Aborted,
    /// A limit: call again.
    Limit,
    /// The end message still reports "started".
    StillStarted,
    /// No word at all (a read, or the start/end design).
    Unsaid,
    /// Unknown word.
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
    /// The run that it ends, or a call of it.
    pub run_id: Option<Cow<'a, str>>,
    /// Its state cannot show unread rows behind a limit.
    pub blind: bool,
}
