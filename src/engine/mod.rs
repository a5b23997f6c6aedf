//! Producers of NDJSON: simulator, progress stage, backfill client.
mod answer;
pub mod api;
pub mod backfill;
pub mod call;
pub mod classify;
pub mod drive;
pub mod generator;
pub mod line_framer;
pub mod raw_json;
pub mod rows;
pub mod scenario;
pub mod serve;
pub mod simulated;
pub mod source;
pub mod state;
pub mod tracker;
