//! Drawing: one pane, one file, one function. Views read a [`Screen`] and write cells; they change
//! nothing.
//!
//! ```text
//!  header   source, attempt, link, clock          header.rs
//!  verdict  SYNCING 04:31  3 ERRORED ...
//!  why/next                                       (when something is wrong, or it ended)
//!  totals   records, rates, history
//!  ranges   coverage, time left, checkpoints
//! +-- streams.rs --------------------+- errors.rs ---+
//! |  groups, trouble first           +- doubts.rs ---+   (side by side from 110 columns,
//! |                                  +- log.rs ------+    one under the other below)
//! +----------------------------------+ diagnostics.rs+
//!  scrubber.rs the whole log as a line     (in a replay, and when a feed is rewound)
//!  footer.rs   keys, prompt, toast
//! ```
//!
//! Only `screen.rs` cuts rectangles. Adding a pane: its file, a place in `screen.rs`, a line in
//! `state::Pane`, its snapshots, and a line in the help through `action.rs`.

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
