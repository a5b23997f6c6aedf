//! Everything known about one input.

use crate::protocol::mask::OpenSecret;
use crate::protocol::python::Traceback;
use crate::protocol::values::stream_key;
use crate::protocol::{Decoder, Dialect, Millis, Name};
use crate::reduce::state::attempt::Attempt;
use crate::reduce::state::clock::MessageClocks;
use crate::reduce::state::commits::Commits;
use crate::reduce::state::errors::{ErrorPlace, Errors};
use crate::reduce::state::estimate::Estimated;
use crate::reduce::state::feed::Feed;
use crate::reduce::state::input::{Anomaly, Exit, Input};
use crate::reduce::state::logged::LoggedErrors;
use crate::reduce::state::lookup::StreamLookup;
use crate::reduce::state::parts::Parts;
use crate::reduce::state::rates::{Rates, SHORTEST_MS};
use crate::reduce::state::runs::{PastRuns, RunMark};
use crate::reduce::state::stderr::StderrParser;
use crate::reduce::state::stream::Stream;
use crate::reduce::state::streams::Streams;
use crate::reduce::state::sums::Sums;
use crate::reduce::state::tally::Tally;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

/// Everything known about one input.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Protocol of the feed, decided by its first message. A snapshot keeps it beside its bytes.
    #[serde(skip)]
    pub dialect: Option<Dialect>,
    /// True if a message, and not a log line, decided the dialect.
    pub(crate) dialect_firm: bool,
    /// Lines and bytes of the input so far, over all runs.
    pub input: Input,
    /// True once the input has ended.
    pub closed: bool,
    /// Exit of the engine's process, if known.
    pub exit: Option<Exit>,
    /// Time of the first message of the current run; `None` without times.
    pub first_at: Option<Millis>,
    /// Time of the latest message, which never decreases; `None` without times.
    pub last_at: Option<Millis>,
    /// Number of attempts of the current run; 0 before its first message about a sync.
    pub attempts: u32,
    /// State of the last attempt, or of the messages before the first one.
    pub attempt: Attempt,
    /// Earlier runs of this log.
    pub runs: PastRuns,
    pub(crate) run: RunState,
    /// Encoded separately, as are the error groups and `feed` (see `pack.rs`).
    #[serde(skip)]
    pub streams: Streams,
    pub(crate) lookup: StreamLookup,
    /// Counts and rates of the current run over all streams.
    pub counters: Counters,
    /// Errors of the current run, grouped.
    #[serde(skip)]
    pub errors: Errors,
    /// Number of irregularities of the current run by kind and stream. Beyond 500 pairs, further
    /// ones are counted without a stream.
    pub anomalies: BTreeMap<(Anomaly, Option<Arc<str>>), u64>,
    pub(crate) evidence: ErrorEvidence,
    /// Newest log lines, raw lines and notices of the input, over all runs.
    #[serde(skip)]
    pub feed: Feed,
    /// Streams that the caller requested, as the log or a configured catalog names them.
    pub requested: RequestedStreams,
    /// Emitters of the feed (source and destination), from the envelope.
    pub emitters: Vec<Arc<str>>,
    /// States on their way to a destination, and their echoes.
    pub commits: Commits,
    /// Last lines of the engine's stderr, and the state of their parser.
    pub stderr: StderrState,
    pub(crate) context: MessageContext,
    pub(crate) parts: Parts,
}

/// Counters of the run, apart from those of its streams.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Record counts as the engine reports them.
    pub reported: Tally,
    /// Sums of the streams' record counts.
    pub(crate) sums: Sums,
    pub requests: Tally,
    /// Milliseconds of work.
    pub elapsed: Tally,
    pub checkpoints: u64,
    /// True once a checkpoint had the position of any stream.
    pub(crate) has_position: bool,
    pub last_checkpoint_at: Option<Millis>,
    /// The engine's own count of checkpoints.
    pub(crate) engine_checkpoints: Option<u64>,
    /// Records per second.
    pub rate: Rates,
    /// Estimate of all streams, as reported by the engine.
    pub(crate) estimate: Estimated,
    /// Requests reported by metrics: sum of the counts, and number of timed requests.
    pub(crate) metered_requests: (u64, u64),
    /// Retries of all streams.
    pub retries: u64,
    /// Status changes of all streams.
    pub transitions: u64,
    /// Streams beyond the maximum number.
    pub beyond: BeyondStreams,
}

/// Messages about streams beyond the maximum number, which have no state of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BeyondStreams {
    /// Times that messages named such a stream, in the current run.
    pub mentions: u64,
    /// Their `record` lines in the current run, which count in the totals.
    pub records: u64,
    /// Failures that their statuses report, in the last attempt.
    pub(crate) failed: u64,
    /// Part of `mentions` in the last attempt.
    mentions_in_attempt: u64,
    /// Part of `records` in the last attempt.
    pub(crate) records_in_attempt: u64,
}

impl BeyondStreams {
    /// Counts a mention of such a stream.
    pub(crate) fn mention(&mut self) {
        self.mentions += 1;
        self.mentions_in_attempt += 1;
    }

    pub(crate) fn begin_attempt(&mut self) {
        *self = Self { mentions: self.mentions, records: self.records, ..Self::default() };
    }

    /// Removes the runs before the last attempt.
    pub(crate) fn start_run(&mut self) {
        (self.mentions, self.records) = (self.mentions_in_attempt, self.records_in_attempt);
    }
}

/// Time after its start during which a stream is new, in milliseconds.
const NEW_STREAM_MS: Millis = 60_000;

/// Mean coverage of the streams whose total is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanCoverage {
    /// Mean of the shares, 0 to 1.
    pub share: f64,
    /// Number of streams in the mean.
    pub streams: usize,
    /// Streams in it that started in the last minute, for the first time.
    new_streams: usize,
    /// Mean without these; `None` if there are no others.
    earlier: Option<f64>,
}

impl MeanCoverage {
    /// Returns the drop of the mean by its new streams, if they lower it by a percentage point or
    /// more.
    #[must_use]
    pub fn drop(&self) -> Option<CoverageDrop> {
        let before = self.earlier.filter(|before| before - self.share >= 0.01)?;
        Some(CoverageDrop { before, new_streams: self.new_streams })
    }
}

/// Drop of the mean coverage by streams that joined it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoverageDrop {
    /// Mean coverage of the other streams, 0 to 1.
    pub before: f64,
    /// Number of the new streams.
    pub new_streams: usize,
}

/// Identity and start of the current run.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct RunState {
    /// Id of this run, if the engine reports one.
    pub(crate) id: Option<Arc<str>>,
    /// Totals at its start.
    pub(crate) mark: RunMark,
}

/// Logged and listed errors that are no error groups yet.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ErrorEvidence {
    /// Ids of listed errors beyond the bound that were already counted.
    pub(crate) listed_beyond: HashSet<u64>,
    /// Last log line of level error: text and place.
    pub(crate) last_log_error: Option<(Arc<str>, ErrorPlace)>,
    /// Last line of level error that was not a message.
    pub(crate) last_raw_error: Option<Arc<str>>,
    /// Logged errors of this run that a reported error may explain.
    pub(crate) logged: LoggedErrors,
    /// Warnings of this run that may be the reason of a stream's absence.
    pub(crate) warned: LoggedErrors,
    /// Log of a platform that the first lines of text have the form of: its name, and the way to
    /// get a feed.
    pub(crate) platform: Option<(Arc<str>, Arc<str>)>,
    /// State of a traceback that stands as text between the messages.
    pub(crate) raw_traceback: Traceback,
    /// Secret of text or log lines that goes on in the next ones.
    pub(crate) secret: OpenSecret,
}

/// Streams that the caller requested, apart from the engine's own catalog.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RequestedStreams {
    /// Names that the engine's log lists.
    pub(crate) asked: Vec<Arc<str>>,
    /// True if a configured catalog declared the streams.
    pub(crate) configured: bool,
    /// True if a command other than a sync (a specification, a list of streams) was answered.
    pub answered: bool,
}

/// Stderr of the engine.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StderrState {
    /// Last lines that a child engine wrote.
    pub tail: VecDeque<Arc<str>>,
    /// Secret that goes on in the next lines.
    pub(crate) secret: OpenSecret,
    pub(crate) parser: StderrParser,
}

/// Facts about the message that is being applied and the one before it.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct MessageContext {
    /// Value of `last_at` before the message that is being applied.
    pub(crate) before_at: Option<Millis>,
    /// True from the start of another part of the log until its first message about a stream.
    pub(crate) new_part: bool,
    /// Label of the stream that the previous message started, and whether it had already started.
    pub(crate) last_start: Option<(Arc<str>, bool)>,
    /// Key of the stream that the source last began, by its description, first record or state.
    pub(crate) syncing: Option<Arc<str>>,
    /// True if records have a time of their own.
    pub(crate) has_timed_records: bool,
    /// True while a message is applied whose time may be that of its prefix or envelope.
    pub(crate) has_outer_time: bool,
    /// Times of the messages.
    pub(crate) clocks: MessageClocks,
}

impl Progress {
    /// Creates the progress of an input before its first line, with the decoder's maximum number of
    /// streams.
    #[must_use]
    pub fn new(decoder: &Decoder) -> Self {
        let mut progress = Self::default();
        progress.lookup.max_streams = decoder.max_streams();
        progress
    }

    /// Returns the maximum number of streams.
    #[must_use]
    pub fn max_streams(&self) -> usize {
        self.lookup.max_streams
    }

    /// Returns the number of streams for display: `100,000+` if there are more than are stored.
    #[must_use]
    pub fn stream_total(&self) -> String {
        let more = if self.counters.beyond.mentions > 0 { "+" } else { "" };
        format!("{}{more}", crate::format::count(self.streams.len() as u64))
    }

    /// Returns the streams, sorted by name.
    #[must_use]
    pub fn streams_by_name(&self) -> impl ExactSizeIterator<Item = &Arc<Stream>> {
        self.name_order().iter().filter_map(|at| self.streams.get(*at as usize)).collect::<Vec<_>>().into_iter()
    }

    /// Returns indexes into [`Self::streams`], sorted by name.
    #[must_use]
    pub fn name_order(&self) -> &[u32] {
        self.lookup.order(&self.streams)
    }

    /// Returns the stream with this key (see [`key_of`]); `None` if it is unknown.
    #[must_use]
    pub fn stream(&self, key: &str) -> Option<&Arc<Stream>> {
        self.find_key(key).and_then(|at| self.streams.get(at))
    }

    /// Returns the index of a stream; `None` if it is unknown.
    pub(crate) fn find(&self, name: &Name) -> Option<usize> {
        self.lookup.find(&self.streams, name.namespace.as_deref(), &name.name)
    }

    /// Returns the index of the stream with this key.
    #[must_use]
    pub fn find_key(&self, key: &str) -> Option<usize> {
        self.lookup.find_key(&self.streams, key)
    }

    /// Returns the records of the last attempt: the larger of the engine's own total and the sum of
    /// the streams.
    #[must_use]
    pub fn attempt_records(&self) -> Option<u64> {
        self.counters.reported.attempt.get().max(self.counters.sums.attempt())
    }

    /// Returns the records of all attempts.
    #[must_use]
    pub fn cumulative_records(&self) -> Option<u64> {
        self.counters.reported.cumulative.get().max(self.counters.sums.cumulative())
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
        Some(self.mean_coverage()?.share)
    }

    /// Returns the mean coverage with the streams in it; `None` if no total is known.
    #[must_use]
    pub fn mean_coverage(&self) -> Option<MeanCoverage> {
        let since = self.new_since();
        Self::mean_of(self.streams.iter().map(|stream| (stream.coverage(), stream.is_new_since(since))))
    }

    /// Returns the time after which a stream that has started is new.
    pub(crate) fn new_since(&self) -> Millis {
        self.last_at.map_or(Millis::MAX, |last| last.saturating_sub(NEW_STREAM_MS))
    }

    /// Returns the mean of coverages, each with whether its stream is new.
    pub(crate) fn mean_of(coverages: impl Iterator<Item = (Option<f64>, bool)>) -> Option<MeanCoverage> {
        let (mut sum, mut sum_of_new) = (0.0, 0.0);
        let (mut streams, mut new_streams) = (0_u32, 0_u32);
        for (share, is_new) in coverages {
            let Some(share) = share else { continue };
            (sum, streams) = (sum + share, streams + 1);
            if is_new {
                (sum_of_new, new_streams) = (sum_of_new + share, new_streams + 1);
            }
        }
        let earlier = streams - new_streams;
        (streams > 0).then(|| MeanCoverage {
            share: sum / f64::from(streams),
            streams: streams as usize,
            new_streams: new_streams as usize,
            earlier: (earlier > 0).then(|| (sum - sum_of_new) / f64::from(earlier)),
        })
    }

    /// True if the coverage includes all expected streams: a catalog named them, and each has a
    /// total.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.attempt.catalog && self.counters.beyond.mentions == 0 && self.covered_streams() == self.streams.len()
    }

    /// Returns the number of streams in the mean coverage.
    #[must_use]
    pub fn covered_streams(&self) -> usize {
        self.mean_coverage().map_or(0, |coverage| coverage.streams)
    }

    /// Returns the records that the engine had counted at the start of a log that starts in the
    /// middle of an attempt.
    #[must_use]
    pub fn joined_at(&self) -> Option<u64> {
        self.counters.reported.joined()
    }

    /// Returns the milliseconds since the run started, as reported by the engine or by the
    /// messages' times.
    #[must_use]
    pub fn run_elapsed(&self) -> Option<u64> {
        let by_time = self.first_at.zip(self.last_at).and_then(|(from, to)| u64::try_from(to - from).ok());
        self.counters.elapsed.cumulative.get().filter(|elapsed| *elapsed > 0).or(by_time)
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
        self.counters.elapsed.attempt.get().filter(|elapsed| *elapsed > 0).or(by_time)
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
    stream_key(stream.namespace.as_deref(), &stream.name).into_owned()
}
