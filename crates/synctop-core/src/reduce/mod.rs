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
pub(crate) use outcome::untold;
pub use outcome::{Outcome, open, outcome};
pub use pack::Packed;
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
    /// Lines that were put together or taken out of an envelope.
    pub joined: u64,
}

/// Exit of a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// Oddity in the order of messages.
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
    /// It still reports "started", and its state has nothing left in any stream: there was nothing
    /// to do.
    pub up_to_date: bool,
    /// Time of the message.
    pub at: Option<Millis>,
}

impl Ended {
    /// It claims that everything was done.
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

/// The last attempt.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Attempt {
    /// Begun and not ended.
    pub open: bool,
    pub started_at: Option<Millis>,
    pub end: Option<Ended>,
    /// Reported result of connecting to source or destination.
    pub connection: Option<bool>,
    /// Streams asked for, where a catalog came.
    catalog: bool,
    /// A failure without a stream was the last word so far.
    last_word_failed: bool,
    /// It is known whether the engine's own counters restarted.
    counters_known: bool,
    /// The engine's own start of its counters, which moves until it counts.
    counters_since: Option<Millis>,
    /// The engine reported a status of some stream, so that a stream without one is unfinished.
    statuses: bool,
    /// It was asked to stop.
    pub stopping: bool,
    /// Error that repeats the streams' errors, and its place.
    pub roll_up: Option<Arc<str>>,
    /// The error of the whole run that explains the streams that failed without a word.
    cause: Option<u64>,
    /// Last log line before an end, not yet repeated by an error.
    fatal: Option<(Arc<str>, ErrorPlace)>,
    /// Words announced the end of its process.
    closing: Option<runs::Closing>,
}

/// Everything known of one input.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Protocol of the feed, decided by its first message.
    pub dialect: Option<Dialect>,
    /// It was decided by a message, not by a log line.
    dialect_firm: bool,
    pub input: Input,
    /// The input ended (nothing more will come).
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
    /// The time before the message that is taken in.
    before_at: Option<Millis>,
    /// Another part of the log has begun, and no message about a stream came in it yet.
    new_part: bool,
    /// Packed by themselves, as are errors and feed (`pack.rs`).
    #[serde(skip)]
    pub streams: Vec<Arc<Stream>>,
    #[serde(skip)]
    index: Arc<HashMap<Box<str>, usize>>,
    /// Places in `streams`, by name.
    #[serde(skip)]
    by_name: Arc<Vec<u32>>,
    /// The stream of the last record, because records come in runs.
    last_stream: usize,
    /// As the engine reports them.
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
    /// Listed errors beyond the bound that were counted already.
    listed_beyond: std::collections::HashSet<u64>,
    pub anomalies: BTreeMap<(Anomaly, Option<Arc<str>>), u64>,
    #[serde(skip)]
    pub feed: Feed,
    /// The last log line of level error: text and place.
    pub(crate) last_log_error: Option<(Arc<str>, ErrorPlace)>,
    /// Logged errors of this run, which a reported error may explain.
    logged: logged::LoggedErrors,
    /// Streams that the caller asked for and the engine never spoke of.
    asked: Vec<Arc<str>>,
    /// Emitters of the feed: source and destination, from the envelope.
    pub emitters: Vec<Arc<str>>,
    /// The start that came just before: of which stream, and whether it had started already.
    last_start: Option<(Arc<str>, bool)>,
    /// The last line of level error that was no message.
    pub(crate) last_raw_error: Option<Arc<str>>,
    /// The last lines that an engine of ours wrote to stderr.
    pub stderr_tail: std::collections::VecDeque<Arc<str>>,
    /// The streams were declared from outside.
    configured: bool,
    /// A command that is no sync (a specification, a list of streams) was answered.
    pub answered: bool,
    /// States on their way to a destination, and their echoes.
    pub commits: Commits,
    /// Estimate of all streams, as reported by the engine.
    estimate: Estimated,
    /// Reported requests: counts added up, and those with a duration.
    metered_requests: (u64, u64),
    /// Parser of stderr.
    stderr_parser: StderrParser,
    /// One between the messages, as text.
    raw_traceback: stderr::Traceback,
    /// Retries in all streams.
    pub retries: u64,
    /// Changes of a stream's status.
    pub transitions: u64,
}

impl Progress {
    /// Streams by name.
    #[must_use]
    pub fn streams_by_name(&self) -> impl ExactSizeIterator<Item = &Arc<Stream>> {
        self.by_name.iter().filter_map(|at| self.streams.get(*at as usize)).collect::<Vec<_>>().into_iter()
    }

    /// Places in [`Self::streams`], ordered by name.
    #[must_use]
    pub fn name_order(&self) -> &[u32] {
        &self.by_name
    }

    #[must_use]
    pub fn stream(&self, key: &str) -> Option<&Arc<Stream>> {
        self.index.get(key).and_then(|at| self.streams.get(*at))
    }

    /// Records of the last attempt: the larger of the engine's own total and the sum of the
    /// streams.
    #[must_use]
    pub fn attempt_records(&self) -> Option<u64> {
        self.reported.attempt.max(self.sums.attempt())
    }

    /// Records of all attempts.
    #[must_use]
    pub fn cumulative_records(&self) -> Option<u64> {
        self.reported.cumulative.max(self.sums.cumulative())
    }

    /// A request count; 0 beside records is an engine that does not count.
    #[must_use]
    pub fn known_requests(&self, count: Option<u64>) -> Option<u64> {
        count.filter(|count| *count > 0 || self.cumulative_records().unwrap_or(0) == 0)
    }

    /// Mean coverage of the streams whose total is known, 0 to 1.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0_u32);
        for share in self.streams.iter().filter_map(|stream| stream.coverage()) {
            (sum, count) = (sum + share, count + 1);
        }
        (count > 0).then(|| sum / f64::from(count))
    }

    /// True if the coverage includes all streams to come: a catalog named them, and each has a
    /// total.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.attempt.catalog && self.covered_streams() == self.streams.len()
    }

    /// Number of streams in the mean coverage.
    #[must_use]
    pub fn covered_streams(&self) -> usize {
        self.streams.iter().filter(|stream| stream.coverage().is_some()).count()
    }

    /// Records that the engine had counted when the log begins, where it begins in the middle of an
    /// attempt.
    #[must_use]
    pub fn joined_at(&self) -> Option<u64> {
        self.reported.joined()
    }

    /// Milliseconds since the run started, as reported by the engine or by the messages' times.
    #[must_use]
    pub fn run_elapsed(&self) -> Option<u64> {
        let by_time = self.first_at.zip(self.last_at).and_then(|(from, to)| u64::try_from(to - from).ok());
        self.elapsed.cumulative.filter(|elapsed| *elapsed > 0).or(by_time)
    }

    /// Records of the run per second of it; unknown where it took less than a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn mean_rate(&self) -> Option<f64> {
        let elapsed = self.run_elapsed().filter(|elapsed| *elapsed >= SHORTEST_MS.unsigned_abs())?;
        Some(self.cumulative_records()? as f64 * 1000.0 / elapsed as f64)
    }

    /// Milliseconds since the last attempt started, as reported by the engine or by the messages'
    /// times.
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

/// The key a stream is looked up by (see [`crate::protocol::Name::key`]).
#[must_use]
pub fn key_of(stream: &Stream) -> String {
    match &stream.namespace {
        None => stream.name.to_string(),
        Some(space) => format!("{space}\u{1f}{}", stream.name),
    }
}
