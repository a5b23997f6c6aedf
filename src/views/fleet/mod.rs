//! The screen of many pipelines.
//!
//! ```text
//!  head.rs    which service, whether it answers, how old it is, whether things can be done; counts by group; why and what next
//! +-- list.rs (rows.rs) ----------------+- inbox.rs ---+
//! |  pipelines in groups, trouble first +- deeds.rs ---+   (side by side from 110 columns, one under the other below)
//! +-------------------------------------+- many.rs ----+
//!  footer.rs  keys, prompt, toast        confirm.rs, sheets.rs over it
//! ```

mod confirm;
pub mod deeds;
mod footer;
mod head;
pub mod inbox;
mod list;
mod many;
pub mod rows;
mod screen;
mod sheets;
pub mod state;

pub use confirm::fits;
pub use screen::draw;
pub use state::{
    Armed, Confirm, FleetColumn, FleetOverlay, FleetPane, FleetScreen, FleetUi, RowKey, RunRow, ServiceLink,
};
