//! Pipelines of one service: state, trouble, common causes, verified actions. Pure: no clock, no
//! I/O; `net::remote` asks, `views::fleet` draws.
//!
//! ```text
//! JSON of a service --pipeline.rs--> Pipeline --watched.rs--> Fleet { Watched: when it was seen, when it last moved }
//!                                                  |- group.rs      which group, and why: claim against evidence
//!                                                  |- inbox.rs      errors of all of them, by fingerprint, with a memory
//!                                                  |- condition.rs  what a `wait` waits for
//!                                                  '- verify.rs     did it help?   bulk.rs  one, three, the rest    deed.rs  who did it
//! pace.rs  how often to ask     task.rs  work that somebody else does, as one line
//! ```

pub mod bulk;
pub mod condition;
mod deed;
mod group;
pub mod inbox;
mod pace;
mod pipeline;
pub mod task;
pub mod verify;
mod watched;

pub use deed::ActionRecord;
pub use group::{PipelineGroup, SILENT_MS, standing};
pub use inbox::Inbox;
pub use pace::{Backoff, RateLimiter};
pub use pipeline::{DesiredStatus, Found, Pipeline, PipelineFault, PipelineStatus, PlannedRetry, Run};
pub use watched::{Fleet, Sent, Watched};
