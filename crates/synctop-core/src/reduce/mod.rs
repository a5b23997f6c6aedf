//! The reducer: folds messages into [`Progress`]. Pure and total: no clock, no I/O, no panic, and
//! no knowledge of a protocol.
//!
//! ```text
//! Decoded --rules/apply.rs--> Progress (state/progress.rs)
//!
//! rules/  changes by a message                   state/  parts of Progress
//!   batch.rs      many lines at once               attempt.rs  commits.rs   errors.rs   estimate.rs
//!   attempt.rs    start of an attempt              feed.rs     gaps.rs      input.rs    logged.rs
//!   runs.rs       runs within one log              outcome.rs  position.rs  progress.rs ranges.rs
//!   claims.rs     catalog, records, reports        rates.rs    runs.rs      stderr.rs   stream.rs
//!   place.rs      streams, totals over them        sums.rs     tally.rs     fingerprint.rs
//!   commits.rs    states echoed by a destination
//!   failures.rs   errors, deduplicated           past/  rewinding
//!   logged.rs     logged errors                    history.rs  snapshots and marks
//!   notes.rs      feed log, retries, anomalies     pack.rs     encoding of a snapshot
//!   estimates.rs  expected totals                  axis.rs     timeline of a log
//!   stderr.rs     messages on stderr               target.rs   positions as users type them
//!   end.rs        end message, against evidence
//!   process.rs    process exit without an end    outcome.rs  doubts.rs  stall.rs   conclusions
//! ```
//!
//! Adding a claim: a field in `protocol::message`, its decoding in the adapter, its rule in
//! `rules/claims.rs` or `rules/end.rs`, a line in `report/summary.rs`, and a golden.

mod digest;
mod doubts;
mod outcome;
mod past;
mod reducer;
mod rules;
mod stall;
mod state;
mod stderr_log;

pub use digest::{Digest, StreamFigures, StreamState};
pub use doubts::{Doubt, DoubtKind, Finding, doubts, rows_may_be_missing};
pub(crate) use doubts::{doubts_among, nothing_synced};
pub(crate) use outcome::has_unreported_ending;
pub use outcome::{open, outcome, standing};
pub use past::axis::{Axis, Target};
pub use past::history;
pub use past::lead_up;
pub use past::pack::{EncodedSnapshot, SnapshotBase};
pub use past::target::{TargetError, place, target};
pub use reducer::Reducer;
pub use rules::batch::Batch;
pub use stall::{Stall, Waiting, verdict as stall_verdict, waiting};
pub use state::attempt::{Attempt, Ended};
pub use state::commits::Commits;
pub use state::errors::{ErrorGroup, ErrorPlace, Errors, GROUPS_KEPT, Hit};
pub use state::feed::{self, FEED_KEPT, Feed, FeedLine, FeedOrigin};
pub use state::fingerprint;
pub use state::input::{Anomaly, Exit, Input, signal_name};
pub use state::link::Link;
pub use state::outcome::Outcome;
pub use state::progress::{CoverageDrop, MeanCoverage, Progress, key_of};
pub use state::ranges::{Ranges, gaps};
pub use state::rates::{BUCKET_MS, BUCKETS, ONE_MINUTE, Rates, SHORTEST_MS, TEN_SECONDS};
pub use state::runs::{PastRun, PastRuns};
pub use state::stream::{Ahead, Assumed, Retrying, Stream};
pub use state::streams::Streams;
pub use state::tally::Tally;
pub use stderr_log::StderrLog;
