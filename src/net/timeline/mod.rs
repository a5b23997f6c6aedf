//! Saved logs and rewinding.
//!
//! ```text
//! indexer.rs  a saved log, on all threads    chunks.rs  parallel.rs  its parts
//! byte_store.rs  bytes that can be read again, with events between lines
//! seek.rs     progress at an instant         rewind.rs  thread that seeks for the screen
//! keep.rs     snapshots for rewinding        segments.rs  parts of a rotated log
//! ```

pub mod byte_store;
pub mod chunks;
pub mod indexer;
pub mod keep;
pub mod parallel;
pub mod rewind;
pub mod seek;
pub mod segments;
