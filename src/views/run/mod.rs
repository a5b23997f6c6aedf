//! The run screen: one pane, one file.
//!
//! ```text
//! state.rs  types, input of a frame     model.rs  data derived from it, once a frame
//! action.rs  actions and keys           screen.rs  layout
//! ```

pub mod action;
pub(crate) mod columns;
pub(crate) mod details;
pub(crate) mod diagnostics;
pub mod doubts;
pub mod errors;
pub(crate) mod footer;
pub(crate) mod header;
pub mod inline;
pub(crate) mod lead_up;
pub(crate) mod legend;
pub mod log;
pub mod model;
pub(crate) mod preview;
pub(crate) mod ranges;
pub mod rows;
pub mod screen;
pub mod state;
pub mod stream_group;
pub(crate) mod streams;
pub(crate) mod throughput;
pub(crate) mod timeline;
pub(crate) mod waiting;
