//! Drawing. Each pane has its own file with one draw function. Views read a [`ScreenFrame`] (model and
//! state) and write cells into a buffer; they do not change any other state.
//!
//! ```text
//! ui.rs      state of any screen: focus, lists, overlays     action.rs  tables of actions
//! hits.rs    targets of clicks                               filter.rs  filter of a list
//! widgets/   canvas, themes, list, columns, chart, sheet, help, palette, footer
//! run/       the run screen                                  fleet/     the fleet screen
//! ```
//!
//! A screen is a type with [`ScreenTypes`]. Only its `screen.rs` divides the area. A new pane needs
//! a file, a rectangle there, a variant of its pane type, rows in its model, snapshots, and a row in
//! its `action.rs`, which also adds it to the help.

pub mod action;
pub mod filter;
pub mod fleet;
pub mod hits;
pub mod run;
pub mod ui;
pub mod widgets;

pub use hits::Hits;
pub use run::inline::inline;
pub use run::model::RunModel;
pub use run::screen::draw;
pub use run::state::{Pane, RunFrame, RunInput, RunUi, Scrub};
pub use ui::{ScreenFrame, ScreenTypes, Ui};
pub use widgets::theme::{ASCII, BLOCKS, Depth, Glyphs, Look, Theme, UNICODE};
