//! One NDJSON line -> canonical [`Message`]. Pure: no clock, no I/O, no runtime.
//!
//! An adapter (one folder per protocol) turns the output of an engine into *claims*: a count with
//! its scope, a status, an end, a failure, a checkpoint, a range, a log. Nothing here weighs a
//! claim; [`crate::reduce`] does, and knows no protocol.
//!
//! ```text
//! bytes -> lines::Splitter -> decode::Decoder -> Decoded::{Message, Raw, Unknown, Malformed}
//!                                  |- singer/  (taps, targets; what they log; Meltano's log)
//!                                  |- airbyte/ (sources, destinations)
//!                                  |- stripe/  (trace, progress, start/end generations)
//!                                  `- */fast.rs (usual lines in one walk: cursor.rs, skip.rs, simd.rs)
//! a line of stderr -> heard -> Message
//! ```
//!
//! Adapters keep no state, so that lines can be decoded in parallel. Facts that need earlier lines
//! (the stream of a state, the echo of a destination) are claimed in general terms and weighed by
//! the reducer.

mod airbyte;
pub mod catalog;
pub mod clean;
pub mod decode;
pub mod error_text;
mod lenient;
pub mod mask;
pub mod message;
pub mod quantity;
pub mod scan;
mod singer;
mod stripe;
pub mod time;

pub use decode::{Decoded, Decoder, RawLine, Reading};
pub use message::{
    Activity, AtRisk, Checkpoint, Counts, Dialect, EmittedState, End, EndWord, Estimate, Failure, Kind, KnownPosition,
    Level, Log, LogContext, Message, Metered, Name, Position, ProcessWord, ProgressReport, ProtocolTraits, Range,
    Record, Retry, Risk, State, Status, StreamClaim, StreamCursor, StreamReport, Where,
};
pub use scan::lines::{HEAD, LINE_LIMIT, Line, LineEnd, Splitter};
pub use scan::validate::Validator;
pub use stripe::{CLIENT, source_state};
pub use time::Millis;

/// True for a destination's logger, false for a source's, if its name shows it.
#[must_use]
pub fn is_destination(logger: &str) -> Option<bool> {
    singer::is_destination(logger)
}

/// The stream that a logger goes by, if it goes by one.
#[must_use]
pub fn stream_of(logger: &str) -> Option<&str> {
    singer::stream_of(logger)
}

/// Message of a stderr line, if it is more than words for people.
#[must_use]
pub fn heard(line: &str) -> Option<Message<'_>> {
    singer::spoken(line)
}
