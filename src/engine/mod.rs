//! Producers of NDJSON: the simulated engine, the progress stage (`track`) and the backfill client.
//!
//! ```text
//! simulator/  scenario -> list API <- source -> call -> engine, HTTP server      `simulate`
//! tracker/    stdin -> statuses and totals -> stdout                             `track`
//! backfill/   POST to an engine, result of a call, retries, state file           `backfill`
//! ```

pub mod backfill;
pub mod failure_type;
pub mod raw_json;
pub mod simulator;
pub mod tracker;
