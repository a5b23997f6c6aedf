//! What makes NDJSON.
pub mod classify;
pub mod simulate;
pub mod state;
pub mod tracker;
