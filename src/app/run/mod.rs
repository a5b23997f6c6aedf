//! The run screen.
//!
//! ```text
//! screen.rs  feed, engine, effects     update.rs  actions to effects     copy.rs  clipboard
//! playback.rs  clock of a replay       time_travel.rs  earlier instants
//! shown.rs   snapshot on screen, assessed once
//! ```

pub(crate) mod copy;
pub mod playback;
pub mod screen;
mod shown;
pub(crate) mod time_travel;
pub mod update;
