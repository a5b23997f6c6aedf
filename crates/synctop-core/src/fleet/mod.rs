//! Pipelines of one service: state, errors, common causes, verified actions. Pure: no clock, no
//! I/O; `net::client` makes the requests, `views::fleet` draws.
//!
//! ```text
//! JSON of a service --wire.rs, pipeline.rs--> Pipeline --watched.rs--> Fleet { Watched: times of observation and movement }
//!                                                  |- group.rs      group and reason: claim against evidence
//!                                                  |- inbox.rs      errors by fingerprint, with a memory   inbox_hits.rs  their pipelines, counted
//!                                                  |- condition.rs  conditions of `wait`
//!                                                  '- verify.rs     result of an action   bulk.rs  canary   action_record.rs
//! requests.rs  bodies of requests     task.rs  task of another API
//! ```

mod action_record;
pub mod bulk;
pub mod condition;
mod group;
pub mod inbox;
mod inbox_hits;
mod pipeline;
pub mod requests;
pub mod task;
pub mod verify;
mod watched;
pub mod wire;

pub use action_record::ActionRecord;
pub use group::{PipelineGroup, STALE_AFTER_MS, count_by_group};
pub use inbox::Inbox;
pub use pipeline::{NotAPipeline, Pipeline, PipelineFault, PlannedRetry, Run, RunFindings};
pub use watched::{AcceptedAction, Fleet, ListEntry, Watched};
pub use wire::{DesiredStatus, PipelineStatus, Word};
