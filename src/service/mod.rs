//! The embedded pipeline service: pipelines with a lifecycle, kept in one store, driven on engines, behind an HTTP API.
//!
//! ```text
//! listen.rs -> api/ -> hub.rs (Service, Slot) -> store.rs --committed--> Slot::status -> api/wait.rs, driver.rs
//!                          driver.rs (one a pipeline) -> run.rs -> call.rs -> engines.rs, command.rs
//!                                                           lines -> log.rs -> api/events.rs;  reducer -> Slot::facts
//! lifecycle.rs  what is to be done      judge.rs  ready, parked, again      model.rs  what is kept and shown      secrets.rs
//! ```

pub mod api;
mod call;
mod command;
pub mod config;
pub(crate) mod driver;
pub mod engines;
pub mod hub;
pub mod judge;
pub mod lifecycle;
pub mod listen;
pub mod log;
pub mod model;
pub mod problem;
pub mod run;
pub mod secrets;
pub mod store;

/// A number below this, another one each time: so that many clients do not come back at once.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a small one")]
pub(crate) fn throw(below: u64) -> u64 {
    (jitter() * below as f64) as u64
}

/// 0 to 1, another one each time.
pub(crate) fn jitter() -> f64 {
    crate::net::jitter()
}

/// Bytes as people compare them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}
