//! The run screen.
//!
//! ```text
//! app.rs  event loop     input.rs  keys, mouse, typing     update.rs  actions to effects
//! playback.rs  clock of a replay     time_travel.rs  earlier instants     copy.rs  clipboard
//! ```

pub mod app;
pub(crate) mod copy;
pub(crate) mod input;
pub mod playback;
pub(crate) mod selection;
pub(crate) mod time_travel;
pub mod update;
