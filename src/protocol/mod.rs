//! One NDJSON line -> canonical [`Message`]. Pure: no clock, no I/O, no runtime.
//!
//! An adapter (one file a dialect) turns what an engine wrote into what it *claims*: a count with its
//! scope, a status, an end, a failure, a checkpoint, a range, a log. Nothing here weighs a claim;
//! [`crate::progress`] does, and knows no dialect.
//!
//! ```text
//! bytes -> lines::Splitter -> decode::Decoder -> Decoded::{Message, Raw, Unknown, Malformed}
//!                                  |- stripe/ (trace, progress, start/end generations)
//!                                  `- stripe/fast.rs (usual lines in one walk: cursor.rs, skip.rs, simd.rs)
//! ```

pub mod clean;
mod cursor;
pub mod decode;
mod lenient;
pub mod lines;
pub mod mask;
mod mend;
pub mod message;
pub mod quantity;
mod simd;
mod skip;
mod stripe;
pub mod time;
pub mod validate;

pub use decode::{Decoded, Decoder, Dialect, RawLine};
pub use lines::{HEAD, LINE_LIMIT, Line, LineEnd, Splitter};
pub use message::{
    Checkpoint, Counts, End, EndWord, Failure, Kind, Level, Log, Message, Name, ProgressReport, Range, Retry, State,
    Status, StreamClaim, StreamReport, Where,
};
pub use time::Millis;
pub use validate::Validator;
