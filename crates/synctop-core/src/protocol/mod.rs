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
//! a line of stderr -> decode_stderr_line -> Message
//! ```
//!
//! Adapters keep no state, so that lines can be decoded in parallel. Facts that depend on earlier
//! lines (the stream of a state, a state that a destination returns) are claimed in general terms
//! and resolved by the reducer.

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

pub use decode::{Decoded, Decoder, ProtocolSelection, RawLine};
pub use message::{
    Activity, AtRisk, Checkpoint, Counts, Dialect, EmittedState, End, EndReason, ErrorLevel, Estimate, Failure, Kind,
    KnownPosition, Level, Log, LogContext, Message, Metered, Name, Position, ProcessEvent, ProgressReport,
    ProtocolTraits, Range, Record, Retry, Risk, State, Status, StreamClaim, StreamCursor, StreamReport,
};
pub use scan::lines::{HEAD_LENGTH, LINE_LIMIT, Line, LineEnd, Splitter};
pub use scan::validate::Validator;
pub use stripe::{CLIENT, source_state};
pub use time::Millis;

/// Returns true for a destination's logger, false for a source's, `None` if the name shows neither.
#[must_use]
pub fn is_destination_logger(logger: &str) -> Option<bool> {
    singer::is_destination_logger(logger)
}

/// Returns the stream in a logger's name (`tap-demo.orders`), if it has one.
#[must_use]
pub fn stream_of_logger(logger: &str) -> Option<&str> {
    singer::stream_of_logger(logger)
}

/// Decodes a stderr line of a tap, target or Meltano; `None` if it has no known format.
#[must_use]
pub fn decode_stderr_line(line: &str) -> Option<Message<'_>> {
    singer::stderr_message(line)
}
