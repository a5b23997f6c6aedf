//! Alerts: one message per cause and transition, to a webhook or a command.
//!
//! ```text
//! cause.rs     causes of a pipeline's trouble, and their incidents: pure
//! watch.rs     looks at the pipelines of this node, opens and closes incidents in the store
//! delivery.rs  sends due messages, retries them, and notes the result in the action log
//! ```
//!
//! An incident is the trouble of all pipelines with one cause. It is stored, so that it outlasts
//! restarts and moves between nodes, and so are the messages that are not delivered yet.

pub mod attempts;
pub mod cause;
pub mod delivery;
pub mod watch;
