//! The fleet screen.
//!
//! ```text
//! screen.rs  service, background work     update.rs  actions to effects     confirm.rs  targets
//! perform.rs  effects on pipelines        open.rs    run screen of a pipeline
//! ```

mod confirm;
mod open;
mod perform;
mod screen;
pub(crate) mod update;

pub use crate::app::fleet::screen::{FleetEnded, FleetOptions, OpenError, SimulatedCauses};
