//! Embedded pipeline service: pipelines with a lifecycle in one store, synced by engines, behind an
//! HTTP API.
//!
//! ```text
//! server.rs -> api/ -> registry.rs (Service, Slot) -> store.rs --committed--> Slot::status -> api/wait.rs, reconciler.rs
//!                          reconciler.rs (one per pipeline) -> run.rs -> call.rs -> engines.rs, command.rs
//!                                                           lines -> log.rs -> api/events.rs;  reducer -> Slot::facts
//! server.rs -> connections.rs (limits), tls.rs (certificate), late_response.rs (waits outside hyper)
//! changes.rs    changed entries of lists
//! lifecycle.rs  next transition      run_verdict.rs  ready, parked, again      model.rs  stored data      secrets.rs
//! ```

pub mod alerts;
pub mod api;
pub mod archive;
mod bounded_lines;
mod call;
pub mod changes;
mod command;
pub mod config;
mod connections;
mod engine_action;
pub mod engines;
mod late_response;
pub mod lifecycle;
pub mod log;
mod metrics;
pub mod model;
pub mod node;
pub mod observer;
pub mod problem;
pub(crate) mod reconciler;
mod reconciler_state;
pub mod registry;
pub mod run;
mod run_measures;
pub mod run_verdict;
pub mod schedule;
pub mod secrets;
pub mod server;
pub mod slot;
pub mod store;
pub mod tls;
mod totals;
mod transitions;
