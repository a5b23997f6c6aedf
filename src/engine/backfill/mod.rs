//! Client of an engine: calls it until nothing is left.
//!
//! ```text
//! drive.rs  the calls     retry_loop.rs  retries, delays     run_state.rs  state and risks
//! call_result.rs  answer of one call     state_file.rs  state of a run, replaced atomically
//! ```

pub(crate) mod call_result;
pub mod drive;
pub mod retry_loop;
mod run_state;
pub mod state_file;
