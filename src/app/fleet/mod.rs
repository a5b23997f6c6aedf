//! The fleet screen.
//!
//! ```text
//! app.rs  event loop     input.rs  keys, mouse, typing     update.rs  actions of the screen
//! actions.rs  actions on pipelines, past runs              open.rs  lends the terminal to a run
//! ```

pub(crate) mod actions;
pub(crate) mod app;
pub(crate) mod input;
pub(crate) mod open;
pub(crate) mod update;

pub use app::{FleetEnded, FleetOptions, OpenError};
