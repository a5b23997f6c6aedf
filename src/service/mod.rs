//! Embedded pipeline service: pipelines with a lifecycle in one store, synced by engines, behind an
//! HTTP API.
//!
//! ```text
//! server.rs -> api/ -> registry.rs (Service, Slot) -> store.rs --committed--> Slot::status -> api/wait.rs, reconciler.rs
//!                          reconciler.rs (one per pipeline) -> run.rs -> call.rs -> engines.rs, command.rs
//!                                                           lines -> log.rs -> api/events.rs;  reducer -> Slot::facts
//! lifecycle.rs  next transition      run_verdict.rs  ready, parked, again      model.rs  stored data      secrets.rs
//! ```

pub mod api;
mod call;
mod command;
pub mod config;
pub mod engines;
pub mod lifecycle;
pub mod log;
pub mod model;
pub mod problem;
pub(crate) mod reconciler;
pub mod registry;
pub mod run;
pub mod run_verdict;
pub mod secrets;
pub mod server;
pub mod store;

/// Random number below this bound: spreads the retries of clients.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a small one")]
pub(crate) fn random_below(below: u64) -> u64 {
    (jitter() * below as f64) as u64
}

/// Random number from 0 to 1.
pub(crate) fn jitter() -> f64 {
    crate::net::jitter()
}

/// Lowercase hexadecimal text of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}
