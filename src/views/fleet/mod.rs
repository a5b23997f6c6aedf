//! Drawing of the fleet screen: the pipelines of a service.
//!
//! ```text
//!  header.rs  service, link, age of the data, write access; counts by group; cause and next step
//! +-- list.rs (rows.rs) ----------------+- inbox.rs ---+
//! |  pipelines in groups, trouble first +- actions.rs -+   (stacked below 110 columns)
//! +-------------------------------------+- bulk.rs ----+
//!  footer.rs  keys, prompt, toast        confirm.rs, sheets.rs above the panes
//! ```

pub mod actions;
mod bulk;
mod confirm;
mod footer;
mod header;
pub mod inbox;
mod list;
pub mod rows;
mod screen;
mod sheets;
pub mod state;

pub use crate::views::fleet::confirm::fits;
pub use crate::views::fleet::screen::draw;
pub use crate::views::fleet::state::{
    Armed, Confirm, FleetColumn, FleetOverlay, FleetPane, FleetScreen, FleetUi, RowKey, RunRow, RunRows, ServiceLink,
};
