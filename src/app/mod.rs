//! The full-screen program: terminal, keys, and the event loop that joins them with the feed.
//!
//! ```text
//! select! { biased; signals, keys, snapshots, diagnostics, timer }
//!    Event -> Action (keys.rs) -> update(&mut Ui, ...) -> Vec<Effect> (update.rs)
//!    run.rs performs the effects; time_travel.rs and playback.rs show an earlier instant
//!    dirty? -> views::draw -> only the cells that changed (terminal.rs)
//! ```
//!
//! `fleet/` is the same for the pipelines of a service. It shares the terminal session, signals and
//! keys, and lends the session to the run screen that a user opens.

mod background;
mod clipboard;
mod detect;
mod diagnostics;
mod fleet;
mod inline;
mod input;
mod keys;
mod playback;
mod run;
mod signals;
mod terminal;
mod time_travel;
mod typing;
mod update;

pub use detect::{GlyphChoice, ThemeChoice, look};
pub use fleet::{FleetEnded, FleetOptions};
pub use inline::{Inline, InlineMode};
pub use playback::{ReplayStart, SPEEDS};
pub use run::{Options, ScreenEnd, Session};
pub use signals::{on_termination, runtime};
pub use update::{Effect, update};
