//! Drawing of the fleet screen: the pipelines of a service.
//!
//! ```text
//! state.rs  types, input of a frame     model.rs  data derived from it, once a frame
//! action.rs  actions and keys           screen.rs  layout
//! ```

pub mod action;
pub mod actions;
pub mod bulk;
pub mod checklist;
mod confirm;
mod footer;
mod header;
pub mod inbox;
mod legend;
mod list;
pub mod model;
mod nodes;
mod preview;
pub mod rows;
mod screen;
mod sheets;
pub mod state;

pub use crate::views::fleet::confirm::fits;
pub use crate::views::fleet::model::FleetModel;
pub use crate::views::fleet::screen::draw;
pub use crate::views::fleet::state::{
    Armed, Confirm, FleetColumn, FleetFrame, FleetHits, FleetInput, FleetOverlay, FleetPane, FleetSheet, FleetTypes,
    FleetUi, NodeRows, RowKey, RunRow, RunRows, ServiceLink,
};
