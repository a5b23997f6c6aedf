//! Drawing. Each pane has its own file with one draw function. Views read a [`Screen`] and write
//! cells into a buffer; they do not change any other state.
//!
//! ```text
//!  header   source, attempt, link, clock          header.rs
//!  verdict  SYNCING 04:31  3 ERRORED ...
//!  why/next                                       (if there is trouble, or after the end)
//!  totals   records, rates, history
//!  ranges   coverage, time left, checkpoints
//! +-- streams.rs --------------------+- errors.rs ---+
//! |  groups, trouble first           +- doubts.rs ---+   (side by side from 110 columns on,
//! |                                  +- log.rs ------+    otherwise stacked)
//! +----------------------------------+ diagnostics.rs+
//!  scrubber.rs the whole log as a line     (in a replay, and when a feed is rewound)
//!  footer.rs   keys, prompt, toast
//! ```
//!
//! Only `screen.rs` divides the area. A new pane needs a file, a rectangle in `screen.rs`, a
//! variant of `state::Pane`, snapshots, and a binding in `action.rs`, which also adds it to the
//! help.

pub mod action;
mod bars;
mod columns;
mod diagnostics;
mod doubts;
pub mod errors;
pub mod fleet;
mod footer;
pub mod format;
mod header;
mod help;
mod inline;
pub mod log;
mod palette;
mod pen;
mod ranges;
pub mod rows;
mod screen;
mod scrubber;
mod sheet;
mod sheets;
pub mod state;
mod streams;
mod theme;
mod waiting;

pub use doubts::items as doubt_items;
pub use inline::inline;
pub use screen::draw;
pub use state::{Hits, Pane, Screen, Scrub, Ui};
pub use theme::{ASCII, Depth, Glyphs, Look, Theme, UNICODE};
