//! What makes NDJSON.

pub mod simulate;
