//! Drawing. Each pane has its own file with one draw function. Views read a [`Screen`] and write
//! cells into a buffer; they do not change any other state.
//!
//! ```text
//!  header   source, attempt, link, clock          run/header.rs
//!  verdict  SYNCING 04:31  3 ERRORED ...
//!  why/next                                       (if there is trouble, or after the end)
//!  totals   records, rates, history
//!  ranges   coverage, time left, checkpoints
//! +-- streams.rs --------------------+- errors.rs ---+
//! |  groups, trouble first           +- doubts.rs ---+   (side by side from 110 columns on,
//! |                                  +- log.rs ------+    otherwise stacked)
//! +----------------------------------+ diagnostics.rs+
//!  timeline.rs the whole log as a line     (in a replay, and when a feed is rewound)
//!  footer.rs   keys, prompt, toast
//! ```
//!
//! Only `run/screen.rs` divides the area. A new pane needs a file, a rectangle there, a variant of
//! `Pane`, snapshots, and a binding in `action.rs`, which also adds it to the
//! help.

pub mod action;
pub mod fleet;
pub mod hits;
pub mod run;
pub mod widgets;

pub use hits::Hits;
pub use run::doubts::items as doubt_items;
pub use run::inline::inline;
pub use run::screen::draw;
pub use run::state::{Pane, Screen, Scrub, Ui};
pub use widgets::theme::{ASCII, Depth, Glyphs, Look, Theme, UNICODE};
