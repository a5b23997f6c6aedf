//! Stripe's sync-engine: one envelope, three generations.
//!
//! * `trace`: statuses, totals and errors inside `trace`; both cumulative and attempt counts;
//!   "complete" precedes the last checkpoints of a stream; `eof.reason`.
//! * `progress`: `stream_status` and `progress` at the top level, the latter replacing its
//!   predecessor; counts that continue or restart in a new attempt (this depends on a run id that
//!   is not in the output); `eof.status` and `has_more`.
//! * `start`/`end`: a design without an engine yet; `progress` with `terminal` and an error list.
//!
//! The formats come from recordings of published engines of 2026-11-20.

mod adapter;
mod claims;
mod fast;
mod head;
mod kinds;
mod spans;
mod state;
mod wire;

pub use adapter::PROTOCOL;
pub use claims::{CLIENT_EMITTER, SERVICE_EMITTER, source_state};
