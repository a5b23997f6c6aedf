//! Clients of remote services: pipelines of a service, and tasks of any HTTP API.
//!
//! ```text
//! contexts.rs   named services                      http.rs      one service: address, token, rate limit
//! poller.rs     poller of the fleet --watch--> FleetSnapshot  follow.rs  run of one pipeline as a feed
//! actions.rs    baseline, send, watch, result       wait.rs      conditions
//! tasks.rs      submit, poll, result                task_profile.rs  task API described by a file
//! state_db.rs   error inbox and action log          untracked_runs.rs  runs of a service without tasks
//! ```

pub mod actions;
pub mod contexts;
pub mod follow;
pub mod http;
pub mod poller;
pub mod state_db;
pub mod task_profile;
pub mod tasks;
pub mod untracked_runs;
pub mod wait;

pub use contexts::{Contexts, ServiceAddress};
pub use http::{Capabilities, Client, ClientError, ServiceRequest};
pub use state_db::StateDb;
