//! What makes NDJSON.
pub mod api;
pub mod classify;
pub mod generator;
pub mod scenario;
pub mod source;
pub mod state;
pub mod tracker;
