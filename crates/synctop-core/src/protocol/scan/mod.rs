//! Bytes and JSON text without a protocol: lines, tokens, validation, hashes, repair.
//!
//! ```text
//! framer.rs    bytes to complete lines
//! lines.rs     bytes to lines to decode  cursor.rs    one line, token by token
//! skip.rs      skips a value             simd.rs      skips 64 bytes at a time
//! validate.rs  validates in pieces       identity.rs  canonical hash of a value
//! repair.rs    repairs escapes           token.rs     strings, numbers, literals
//! ```

pub(super) mod cursor;
pub mod framer;
pub(super) mod identity;
pub mod lines;
pub(super) mod repair;
mod simd;
mod skip;
mod token;
pub mod validate;
