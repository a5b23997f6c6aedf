//! One NDJSON line -> canonical [`Message`]. Pure: no clock, no I/O, no runtime.
//!
//! An [`Adapter`] (one folder per protocol) turns the output of an engine into *claims*: a count
//! with its scope, a status, an end, a failure, a checkpoint, a range, a log. Nothing here weighs a
//! claim; [`crate::reduce`] does, and knows no protocol.
//!
//! ```text
//! bytes -> lines::Splitter -> decode::Decoder -> Decoded::{Message, Raw, Unknown, Malformed}
//!                                  |- envelope/ (prefixes, envelopes) -> Decoded::Wrapped
//!                                  |- table.rs: all protocols, in the order of detection
//!                                  |- singer/  (taps, targets; their logs; Meltano's log)
//!                                  |- airbyte/ (sources, destinations)
//!                                  |- stripe/  (trace, progress, start/end generations)
//!                                  `- */fast.rs (usual lines in one pass: scan/)
//! a line of stderr -> decode_stderr_line -> Message
//! ```
//!
//! Adapters keep no state, so that lines can be decoded in parallel. Facts that depend on earlier
//! lines (the stream of a state, a state that a destination returns) are claimed in general terms
//! and resolved by the reducer.

pub mod adapter;
mod airbyte;
mod beginning;
pub mod catalog;
mod checkpoint;
pub mod clean;
pub mod decode;
pub mod envelope;
pub mod error_text;
mod failure;
mod foreign;
pub mod head;
mod lenient;
pub mod mask;
pub mod message;
pub mod python;
pub mod quantity;
mod remedy;
pub mod scan;
pub mod shell;
mod shorten;
mod singer;
pub mod stripe;
mod table;
pub mod time;
pub(crate) mod values;

pub use adapter::{Adapter, Dialect, Message, Origin, PlatformLog, Protocol, ProtocolTraits};
pub use beginning::begins_run;
pub use decode::{Decoded, Decoder, MAX_STREAMS, ProtocolSelection, RawLine};
pub(crate) use failure::CAUSED_BY;
pub use message::{
    Activity, AtRisk, Checkpoint, Counts, EmittedState, End, EndReason, ErrorLevel, Estimate, Failure, Kind,
    KnownPosition, Level, Log, LogContext, Metered, Name, ParsePosition, Position, ProcessEvent, ProgramExit,
    ProgressReport, Range, Record, Relayed, Retry, Risk, Side, State, Status, StreamClaim, StreamCursor, StreamReport,
};
pub use remedy::Remedy;
pub use scan::framer::{LineFramer, MAX_LINE_BYTES};
pub use scan::lines::{HEAD_LENGTH, LINE_LIMIT, Line, LineEnd, Splitter};
pub use scan::validate::Validator;
pub use stripe::{CLIENT_EMITTER, SERVICE_EMITTER, source_state};
pub use table::{
    PROTOCOLS, decode_stderr_line, is_generic_error, logger_side, logger_stream, platform_log, remedy, text_level,
};
pub use time::Millis;
