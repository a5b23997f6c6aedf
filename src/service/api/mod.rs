//! HTTP API of the service.
//!
//! ```text
//! router.rs  routes of assets/openapi.json   guard.rs  authentication, body    app.rs  shared state, responses
//! access.rs  tokens, rates    readers.rs, waits.rs  open at once    body.rs  fields of a request
//! check, events, list, nodes, pipelines, runs, wait, webhooks, why: one file per group of operations
//! ```

mod access;
mod app;
mod body;
mod check;
mod events;
mod guard;
mod list;
mod nodes;
mod pipelines;
mod readers;
mod router;
mod runs;
mod wait;
mod waits;
mod webhooks;
mod why;

pub use access::Access;
pub use app::{App, Peer};
pub use guard::{BODY_BUDGET_KB, EVENT_BUDGET_KB};
pub use readers::Readers;
pub use router::router;
pub use waits::Waits;
