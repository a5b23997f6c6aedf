//! Embedded pipeline service: pipelines with a lifecycle in one store, synced by engines, behind an
//! HTTP API.
//!
//! ```text
//! server.rs -> api/ -> registry.rs (Service, Slot) -> store/ --committed--> Slot::status -> api/wait.rs, reconciler.rs
//!                          reconciler.rs (one per pipeline) -> run.rs -> call.rs -> engines.rs, command.rs
//!                                                           lines -> log/ -> api/events.rs;  reducer -> Slot::facts
//! server.rs -> connections.rs (limits), tls.rs (certificate), late_response.rs (waits outside hyper)
//! node/         leases, changes of other nodes      archive.rs  logs in an object store      alerts/, metrics.rs
//! data_folder.rs  lock      log_storage.rs  files or chunks      broken.rs  unreadable pipelines
//! changes.rs    changed entries of lists            schedule.rs  due times
//! lifecycle.rs  next transition      run_verdict.rs  ready, parked, again      model.rs  stored data      secrets.rs
//! ```

pub mod alerts;
pub mod api;
pub mod archive;
mod bounded_lines;
mod broken;
mod call;
pub mod changes;
mod command;
pub mod config;
mod connections;
pub mod data_folder;
mod engine_action;
pub mod engines;
mod late_response;
pub mod lifecycle;
pub mod log;
pub mod log_storage;
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
