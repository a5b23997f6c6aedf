//! Producers of NDJSON: the simulated engine, the progress stage (`track`) and the backfill client.
//!
//! ```text
//! scenario.rs -> api.rs (list API) <- source/ -> call.rs -> simulated.rs, serve.rs    `simulate`
//! stdin -> tracker/ -> stdout; state.rs: file with the state of a run                 `track`
//! drive.rs -> POST to an engine -> answer.rs: result of a call; backfill.rs: retries  `backfill`
//! generator.rs  synthetic logs   rows.rs  rows written by the simulated destination
//! line_framer.rs  complete lines   raw_json.rs  opaque JSON   classify.rs  failure types
//! ```

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
