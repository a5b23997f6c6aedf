//! Clients of remote services: pipelines of a service, and tasks of any HTTP API.
//!
//! ```text
//! contexts.rs   named services                      client.rs    one service: address, token, rate limit
//!   watch.rs    poller of the fleet --watch--> FleetSnapshot  follow.rs    run of one pipeline as a feed
//!   actions.rs  baseline, send, watch, result        wait.rs      conditions
//!   tasks.rs    submit, poll, result                 profile.rs   task API described by a file
//! state_db.rs   error inbox and action log           untracked_runs.rs  runs of a service without tasks
//! ```

pub mod actions;
pub mod client;
pub mod contexts;
pub mod follow;
pub mod profile;
pub mod state_db;
pub mod tasks;
pub mod untracked_runs;
pub mod wait;
pub mod watch;

pub use client::{Capabilities, Client, ClientError, ServiceRequest};
pub use contexts::{Contexts, ServiceAddress};
pub use state_db::StateDb;
