//! The reducer: folds messages into [`Progress`]. Pure and total: no clock, no I/O, no panic, and
//! no knowledge of a protocol.
//!
//! ```text
//! Decoded --apply.rs--> Progress { streams, total, errors, feed, anomalies, attempt }
//!   batch.rs      many lines at once             attempt.rs   start of an attempt, carried-over state
//!   runs.rs       runs within one log            claims.rs    catalog, records, checkpoints, reports
//!   failures.rs   errors, deduplicated           place.rs     streams and the totals over them
//!   notes.rs      feed log, retries, anomalies   end.rs       end message, compared with evidence
//!   process.rs    process exit without an end    commits.rs   states echoed by a destination
//!   estimates.rs  expected totals                stderr.rs    messages on an engine's stderr
//!   outcome.rs    outcome of the run             doubts.rs    claims without evidence
//!   stall.rs      stalled streams and reasons    verdict.rs   headline, cause, next step
//!   summary.rs    summary as JSON                text.rs      summary as text
//! history.rs  snapshots and marks for rewinding     pack.rs  compact encoding of a snapshot
//! target.rs   positions as users type them          axis.rs  timeline of a log
//! ```
//!
//! Adding a claim: a field in `protocol::message`, its decoding in the adapter, its rule in
//! `claims.rs` or `end.rs`, a line in `summary.rs`, and a golden.

mod apply;
mod attempt;
mod axis;
mod batch;
mod claims;
mod commits;
mod doubts;
mod end;
mod errors;
mod estimates;
mod failures;
pub mod feed;
pub mod fingerprint;
pub mod history;
mod link;
mod logged;
mod notes;
mod outcome;
mod pack;
mod place;
mod position;
mod process;
mod ranges;
mod rates;
mod runs;
mod stall;
mod stderr;
mod stream;
mod tally;
mod target;

pub use axis::Axis;
pub use batch::Batch;
pub use commits::Commits;
pub use doubts::{Doubt, DoubtKind, doubts, rows_may_be_missing};
pub use errors::{ErrorGroup, ErrorPlace, Errors, GROUPS_KEPT, Hit, standing};
pub use feed::{FEED_KEPT, Feed, FeedLine, FeedOrigin};
pub use link::Link;
pub(crate) use outcome::has_unreported_ending;
pub use outcome::{Outcome, open, outcome};
pub use pack::EncodedSnapshot;
pub use ranges::{Ranges, gaps};
pub use rates::{BUCKET_MS, BUCKETS, ONE_MINUTE, Rates, SHORTEST_MS, TEN_SECONDS};
pub use runs::{PastRun, PastRuns};
pub use stall::{Stall, Waiting, verdict as stall_verdict, waiting};
pub use stream::{Ahead, Retrying, Stream};
pub use tally::Tally;
pub use target::{Target, place, target};

use estimates::Estimated;
use stderr::StderrParser;

use crate::protocol::{Dialect, EndWord, Millis};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Lines and bytes of the input, each line in exactly one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Input {
    pub lines: u64,
    pub bytes: u64,
    pub messages: u64,
    pub raw: u64,
    pub unknown: u64,
    pub malformed: u64,
    pub truncated_line: bool,
    /// Lines that were joined from parts or unwrapped from an envelope.
    pub joined: u64,
}

/// Exit of a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// Irregularity in the order of messages.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum Anomaly {
    StateBeforeStart,
    StateAfterComplete,
    DuplicateStart,
    UnknownStream,
    RecordAfterComplete,
    CountShrank,
}

impl Anomaly {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The end message of an attempt.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ended {
    pub word: EndWord,
    pub reason: Option<Arc<str>>,
    pub has_more: Option<bool>,
    /// True if the end still reports "started" but no stream's state has anything left: there was
    /// nothing to do.
    pub up_to_date: bool,
    /// Time of the message.
    pub at: Option<Millis>,
}

impl Ended {
    /// True if the message claims that the sync is complete.
    #[must_use]
    pub fn claims_complete(&self) -> bool {
        self.has_more != Some(true)
            && match self.word {
                EndWord::Complete => true,
                EndWord::Unsaid => self.has_more == Some(false),
                _ => false,
            }
    }
}

/// State of the last attempt.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    /// True between the start and the end of the attempt.
    pub open: bool,
    pub started_at: Option<Millis>,
    pub end: Option<Ended>,
    /// Reported result of connecting to the source or destination.
    pub connection: Option<bool>,
    /// True if a catalog listed the requested streams.
    catalog: bool,
    /// True if the last message so far was a failure without a stream.
    last_message_failed: bool,
    /// True once it is known whether the engine's own counters restarted.
    counters_known: bool,
    /// Start time of the engine's counters, as reported. It moves until the engine counts.
    counters_since: Option<Millis>,
    /// True if the engine reported a status of any stream, so that a stream without one is
    /// unfinished.
    statuses: bool,
    /// True if the engine was asked to stop.
    pub stopping: bool,
    /// Final error that repeats the errors of the streams.
    pub roll_up: Option<Arc<str>>,
    /// Group id of the run's error that explains streams that failed without a reason.
    cause: Option<u64>,
    /// Fatal log line that no reported error has repeated yet, and its place.
    fatal: Option<(Arc<str>, ErrorPlace)>,
    /// Announcement that the engine's process ends.
    closing: Option<runs::Closing>,
}

/// Everything known about one input.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Protocol of the feed, decided by its first message.
    pub dialect: Option<Dialect>,
    /// True if a message, and not a log line, decided the dialect.
    dialect_firm: bool,
    pub input: Input,
    /// True once the input has ended.
    pub closed: bool,
    /// Exit of the engine's process, if known.
    pub exit: Option<Exit>,
    pub first_at: Option<Millis>,
    pub last_at: Option<Millis>,
    pub attempts: u32,
    pub attempt: Attempt,
    /// Earlier runs of this log.
    pub runs: PastRuns,
    /// Id of this run, if the engine reports one.
    run_id: Option<Arc<str>>,
    mark: runs::RunMark,
    /// Value of `last_at` before the message that is being applied.
    before_at: Option<Millis>,
    /// True from the start of another part of the log until its first message about a stream.
    new_part: bool,
    /// Encoded separately, as are `errors` and `feed` (see `pack.rs`).
    #[serde(skip)]
    pub streams: Vec<Arc<Stream>>,
    #[serde(skip)]
    index: Arc<HashMap<Box<str>, usize>>,
    /// Indexes into `streams`, sorted by name.
    #[serde(skip)]
    by_name: Arc<Vec<u32>>,
    /// Index of the stream that was looked up last; consecutive records mostly share a stream.
    last_stream: usize,
    /// Record counts as the engine reports them.
    pub reported: Tally,
    sums: place::Sums,
    pub requests: Tally,
    pub elapsed: Tally,
    pub checkpoints: u64,
    pub last_checkpoint_at: Option<Millis>,
    engine_checkpoints: Option<u64>,
    pub rate: Rates,
    #[serde(skip)]
    pub errors: Errors,
    /// Ids of listed errors beyond the bound that were already counted.
    listed_beyond: std::collections::HashSet<u64>,
    pub anomalies: BTreeMap<(Anomaly, Option<Arc<str>>), u64>,
    #[serde(skip)]
    pub feed: Feed,
    /// Last log line of level error: text and place.
    pub(crate) last_log_error: Option<(Arc<str>, ErrorPlace)>,
    /// Logged errors of this run that a reported error may explain.
    logged: logged::LoggedErrors,
    /// Streams that the caller requested, as the engine's log lists them.
    asked: Vec<Arc<str>>,
    /// Emitters of the feed (source and destination), from the envelope.
    pub emitters: Vec<Arc<str>>,
    /// Label of the stream that the previous message started, and whether it had already started.
    last_start: Option<(Arc<str>, bool)>,
    /// Last line of level error that was not a message.
    pub(crate) last_raw_error: Option<Arc<str>>,
    /// Last lines that a child engine wrote to stderr.
    pub stderr_tail: std::collections::VecDeque<Arc<str>>,
    /// True if a configured catalog declared the streams.
    configured: bool,
    /// True if a command other than a sync (a specification, a list of streams) was answered.
    pub answered: bool,
    /// States on their way to a destination, and their echoes.
    pub commits: Commits,
    /// Estimate of all streams, as reported by the engine.
    estimate: Estimated,
    /// Requests reported by metrics: sum of the counts, and number of timed requests.
    metered_requests: (u64, u64),
    /// Parser of stderr.
    stderr_parser: StderrParser,
    /// State of a traceback that stands as text between the messages.
    raw_traceback: stderr::Traceback,
    /// Retries of all streams.
    pub retries: u64,
    /// Status changes of all streams.
    pub transitions: u64,
}

impl Progress {
    /// Returns the streams, sorted by name.
    #[must_use]
    pub fn streams_by_name(&self) -> impl ExactSizeIterator<Item = &Arc<Stream>> {
        self.by_name.iter().filter_map(|at| self.streams.get(*at as usize)).collect::<Vec<_>>().into_iter()
    }

    /// Returns indexes into [`Self::streams`], sorted by name.
    #[must_use]
    pub fn name_order(&self) -> &[u32] {
        &self.by_name
    }

    #[must_use]
    pub fn stream(&self, key: &str) -> Option<&Arc<Stream>> {
        self.index.get(key).and_then(|at| self.streams.get(*at))
    }

    /// Returns the records of the last attempt: the larger of the engine's own total and the sum of
    /// the streams.
    #[must_use]
    pub fn attempt_records(&self) -> Option<u64> {
        self.reported.attempt.max(self.sums.attempt())
    }

    /// Returns the records of all attempts.
    #[must_use]
    pub fn cumulative_records(&self) -> Option<u64> {
        self.reported.cumulative.max(self.sums.cumulative())
    }

    /// Returns the request count. A count of 0 despite records is unknown: the engine does not
    /// count requests.
    #[must_use]
    pub fn known_requests(&self, count: Option<u64>) -> Option<u64> {
        count.filter(|count| *count > 0 || self.cumulative_records().unwrap_or(0) == 0)
    }

    /// Returns the mean coverage of the streams whose total is known, 0 to 1.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0_u32);
        for share in self.streams.iter().filter_map(|stream| stream.coverage()) {
            (sum, count) = (sum + share, count + 1);
        }
        (count > 0).then(|| sum / f64::from(count))
    }

    /// True if the coverage includes all expected streams: a catalog named them, and each has a
    /// total.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.attempt.catalog && self.covered_streams() == self.streams.len()
    }

    /// Returns the number of streams in the mean coverage.
    #[must_use]
    pub fn covered_streams(&self) -> usize {
        self.streams.iter().filter(|stream| stream.coverage().is_some()).count()
    }

    /// Returns the records that the engine had counted at the start of a log that starts in the
    /// middle of an attempt.
    #[must_use]
    pub fn joined_at(&self) -> Option<u64> {
        self.reported.joined()
    }

    /// Returns the milliseconds since the run started, as reported by the engine or by the
    /// messages' times.
    #[must_use]
    pub fn run_elapsed(&self) -> Option<u64> {
        let by_time = self.first_at.zip(self.last_at).and_then(|(from, to)| u64::try_from(to - from).ok());
        self.elapsed.cumulative.filter(|elapsed| *elapsed > 0).or(by_time)
    }

    /// Returns the mean records per second of the run; `None` if it took less than a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn mean_rate(&self) -> Option<f64> {
        let elapsed = self.run_elapsed().filter(|elapsed| *elapsed >= SHORTEST_MS.unsigned_abs())?;
        Some(self.cumulative_records()? as f64 * 1000.0 / elapsed as f64)
    }

    /// Returns the milliseconds since the last attempt started, as reported by the engine or by the
    /// messages' times.
    #[must_use]
    pub fn attempt_elapsed(&self) -> Option<u64> {
        let since = self.attempt.started_at.or(self.first_at.filter(|_| self.attempts == 1));
        let by_time = since.zip(self.last_at).and_then(|(from, to)| u64::try_from(to - from).ok());
        self.elapsed.attempt.filter(|elapsed| *elapsed > 0).or(by_time)
    }

    /// True if the log has times.
    #[must_use]
    pub fn timed(&self) -> bool {
        self.last_at.is_some()
    }
}

/// Returns the key by which a stream is looked up (see [`crate::protocol::Name::key`]).
#[must_use]
pub fn key_of(stream: &Stream) -> String {
    match &stream.namespace {
        None => stream.name.to_string(),
        Some(space) => format!("{space}\u{1f}{}", stream.name),
    }
}
