//! Canonical message: the claims of an engine, in terms that all protocols share.

use super::time::Millis;
use std::borrow::Cow;

pub use super::checkpoint::{Checkpoint, EmittedState, KnownPosition, ParsePosition, Position, State, StreamCursor};
pub use super::failure::Failure;
pub use super::values::{Counts, ErrorLevel, Level, Name, Range, Side, Status};

/// Claim of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    /// Requested streams. Starts an attempt.
    Catalog(Vec<Name<'a>>),
    /// Available streams of a source, requested or not.
    AvailableStreams(Vec<Name<'a>>),
    /// Record line of a stream.
    Record(Record<'a>),
    /// Deletion of an object of this stream at the source. It does not count as a record.
    Deletion(Name<'a>),
    /// Records of this stream in files, without their number.
    UncountedRecords(Name<'a>),
    /// State of a source, emitted by it or returned by a destination.
    Checkpoint(Box<Checkpoint<'a>>),
    /// Status, counts, time ranges or activity of one stream.
    Stream(Box<StreamClaim<'a>>),
    /// Estimate of the total, as reported by the engine.
    Estimate(Box<Estimate<'a>>),
    /// Increments of counts, reported beside the records.
    Metered(Box<Metered<'a>>),
    /// Totals of the run, and reports on its streams.
    Progress(Box<ProgressReport<'a>>),
    /// Error of the run or of one stream.
    Failure(Box<Failure<'a>>),
    /// Result of a connection test.
    Connection {
        /// `None` for an unknown status.
        ok: Option<bool>,
        /// Message of the test; in Airbyte the status if there is no message.
        message: Option<Cow<'a, str>>,
    },
    /// Log line of the engine, including announced retries.
    Log(Box<Log<'a>>),
    /// Line that a program wrote to stderr, in the log of the program that runs it. The emitter of
    /// the message is the first of them.
    Relayed(Box<Relayed<'a>>),
    /// Exit of a program, in the log of the program that ran it.
    ProgramExit(Box<ProgramExit<'a>>),
    /// End message of an attempt.
    End(Box<End<'a>>),
    /// Announcement that the engine stops on request.
    Stopping,
    /// Answer to a command other than a sync, such as a specification.
    Answer,
    /// Known message without a claim (such as `control`, `source_input`, a metric), by its name.
    Note(&'static str),
}

/// Record line.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    /// Stream of the record, without a namespace if `partial` is true.
    pub stream: Name<'a>,
    /// Length of the data as JSON in UTF-16 units, which Airbyte calls bytes; `None` in other
    /// protocols.
    pub measure: Option<u64>,
    /// True if the line was too long to store, so that fields after the data (a namespace) are
    /// unknown.
    pub partial: bool,
    /// Number of `NaN`, `Infinity` and `-Infinity` in the line, which are no JSON.
    pub not_numbers: u32,
}

/// Estimated total of a stream, or of the whole sync if `stream` is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate<'a> {
    /// Stream of the estimate; `None` for Airbyte's type `SYNC`.
    pub stream: Option<Name<'a>>,
    /// Estimated records in total (Airbyte's `row_estimate`).
    pub rows: Option<u64>,
    /// Estimated size in total (Airbyte's `byte_estimate`), in the units of [`Record::measure`].
    pub bytes: Option<u64>,
}

/// Increments of counts, reported beside the records of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Metered<'a> {
    /// Stream of the counts: the metric's tag `stream`, otherwise its `endpoint` or `job_type`.
    pub stream: Name<'a>,
    /// Records since the previous such metric (Singer's `record_count`).
    pub records: Option<u64>,
    /// HTTP requests since the previous such metric (Singer's `http_request_count`).
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

/// Claim about the lifecycle of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamClaim<'a> {
    /// Stream of the claim, with the namespace of Airbyte's `stream_descriptor`, if any.
    pub stream: Name<'a>,
    /// New status; `None` if the claim has none, or one that is unknown.
    pub status: Option<Status>,
    /// Status on the wire, if it is unknown.
    pub odd_status: Option<Cow<'a, str>>,
    /// Records of the stream, in the scopes that the engine reports.
    pub records: Counts,
    /// Error of a failed stream (Stripe's `stream_status.error`).
    pub error: Option<Cow<'a, str>>,
    /// Reason of a skip (Stripe's `stream_status.reason`).
    pub reason: Option<Cow<'a, str>>,
    /// Time range to read (Stripe's `time_range`).
    pub total: Option<Range>,
    /// One range that is now read (Stripe's `range_complete`); earlier ones remain read.
    pub completed: Option<Range>,
    /// True if checkpoints of the stream may follow this status.
    pub early: bool,
    /// Activity of the stream, which implies its start; `None` if not reported.
    pub activity: Option<Activity>,
    /// True if the name is that of an endpoint or job, which is usually the name of the stream.
    pub is_inferred_name: bool,
    /// True if `error` is one of the destination, so that counted rows may not be written.
    pub from_destination: bool,
    /// True at the start and the end of a full table: behind its last record it is the end.
    pub is_table_edge: bool,
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
    /// Work without a rate limit, such as Airbyte's `RUNNING` or Singer's SCHEMA.
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
            activity: self.activity,
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
            activity: None,
            is_inferred_name: false,
            from_destination: false,
            is_table_edge: false,
        }
    }
}

/// Report on the whole run, with or without its streams.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgressReport<'a> {
    /// Start of the engine's counters (Stripe's `started_at`), in milliseconds since 1970 UTC.
    pub started_at: Option<Millis>,
    /// Duration of the work in milliseconds.
    pub elapsed: Counts,
    /// Records of all streams of the run.
    pub records: Counts,
    /// Requests to the source (Stripe's `request_count` and `cumulative_request_count`).
    pub requests: Counts,
    /// The engine's own count of checkpoints, used to detect a restart of its counters.
    pub checkpoints: Option<u64>,
    /// Reports on the streams, in the order of the message.
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
    /// Status on the wire, or as derived from Stripe's `terminal`; `None` if unknown.
    pub status: Option<Status>,
    /// Status on the wire, if it is unknown.
    pub odd_status: Option<Cow<'a, str>>,
    /// Records of the stream, in the scopes that the engine reports.
    pub records: Counts,
    /// Error or note of the stream (Stripe's `message`); `None` if empty.
    pub message: Option<Cow<'a, str>>,
    /// True if `message` is an error of the destination.
    pub from_destination: bool,
    /// Time range to read (Stripe's `total_range`).
    pub total: Option<Range>,
    /// All ranges that are read (Stripe's `completed_ranges`); `None` if not listed.
    pub completed: Option<Vec<Range>>,
    /// Rows inserted at the destination (Stripe's `insert_count`), if reported.
    pub inserted: Option<u64>,
    /// Rows updated at the destination (Stripe's `update_count`), if reported.
    pub updated: Option<u64>,
    /// Rows deleted at the destination (Stripe's `delete_count`), if reported.
    pub deleted: Option<u64>,
}

/// Line that a program wrote to stderr.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Relayed<'a> {
    /// The line.
    pub text: Cow<'a, str>,
    /// Side of the program, if known.
    pub side: Option<Side>,
    /// Run that the line belongs to.
    pub run_id: Option<Cow<'a, str>>,
}

/// Failed exit of a program.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgramExit<'a> {
    /// Kind of program, such as `loader`.
    pub program: Cow<'a, str>,
    /// Side of the program, if known.
    pub side: Option<Side>,
    /// Exit code; negative after a signal, as Python reports it. `None` if it was not reported.
    pub code: Option<i64>,
    /// Text of the program that ran it.
    pub text: Option<Cow<'a, str>>,
    /// Run that the line belongs to.
    pub run_id: Option<Cow<'a, str>>,
}

/// Log line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log<'a> {
    /// Level of the line; [`Level::Info`] if it has none that is known.
    pub level: Level,
    /// Text of the line, followed by Airbyte's `stack_trace`; empty if there is none.
    pub message: Cow<'a, str>,
    /// Stream in Stripe's `data.stream`, or in the label of a retried request.
    pub stream: Option<Cow<'a, str>>,
    /// Announced retry, if the line has Stripe's `data.attempt` and `data.delay_ms`.
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
    /// Start or end that the line announces.
    pub process: Option<ProcessEvent<'a>>,
}

/// Start or end that an engine logs, because its protocol has no message for it.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessEvent<'a> {
    /// Start of a sync ("Starting syncing …" of Airbyte, "Starting sync" of Singer).
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
    /// Stream by its plain name, in an entry of `data.at_risk`.
    pub stream: Name<'a>,
    /// Reason of the risk (`kind` of the entry).
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
    /// Number of the announced retry of the request, from 1.
    pub attempt: u64,
    /// Maximum number of retries of the request (Stripe's `data.max_retries`), if reported.
    pub max: Option<u64>,
    /// Delay before the retry in milliseconds.
    pub delay_ms: u64,
    /// Error that causes the retry (Stripe's `data.error_message`), if reported.
    pub error: Option<Cow<'a, str>>,
}

/// Reason of an end, as an engine claims it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EndReason {
    /// All work is done: Stripe's `complete` or `succeeded`, Meltano's `success`.
    Complete,
    /// The run failed: Stripe's `failed` or `error`, Meltano's `failure`.
    Failed,
    /// The run was stopped: Stripe's `aborted` or `cancelled`.
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
    /// Reason of the end, classified from `reason`.
    pub word: EndReason,
    /// Reason or status on the wire, verbatim.
    pub reason: Option<Cow<'a, str>>,
    /// True if data is left to read (Stripe's `has_more`, otherwise by `word`); `None` if unknown.
    pub has_more: Option<bool>,
    /// Returned state of the source by stream; `None` if no state was returned.
    pub states: Option<Vec<(Name<'a>, State<'a>)>>,
    /// Report on the run (Stripe's `run_progress` or `global_progress`), without its errors.
    pub progress: ProgressReport<'a>,
    /// Counts of the engine's process by stream, as running counts: it may have served one attempt
    /// or several.
    pub attempt: Option<ProgressReport<'a>>,
    /// Errors that the end message lists, in any of its reports.
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
