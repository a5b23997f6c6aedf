//! Services elsewhere: pipelines of a service, and work that any HTTP API does for us.
//!
//! ```text
//! contexts.rs  which services there are, by name     client.rs  one service: its address, its token, its budget of requests
//!   watch.rs   one poller for the whole fleet --watch--> Seen       open.rs   the run of one pipeline, as a feed
//!   act.rs     baseline, send, watch, verdict; many with a canary   wait.rs   until it is so
//!   tasks.rs   submit, poll, result: runs of pipelines, and profile.rs any API that a file describes
//! memory.rs    what is remembered between starts: errors, and who did what
//! ```

pub mod act;
pub mod calls;
pub mod client;
pub mod contexts;
pub mod memory;
pub mod open;
pub mod profile;
pub mod tasks;
pub mod wait;
pub mod watch;

pub use client::{Ask, Capabilities, Client, ClientError};
pub use contexts::{Contexts, ServiceAddress};
pub use memory::StateDb;
