//! The full-screen program: terminal, keys, and the loop that joins them with the feed.
//!
//! ```text
//! select! { biased; signals, keys, snapshots, diagnostics, timer }
//!    Event -> Action (keys.rs) -> update(&mut Ui, ...) -> Vec<Effect> (update.rs) -> run.rs does them
//!    dirty? -> views::draw -> only the cells that changed (terminal.rs)
//! ```
//!
//! The same for many pipelines is `fleet/`: it shares the stage (terminal, signals, keys), and lends it to the run that is opened.

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
pub use inline::{Inline, Tell};
pub use playback::{SPEEDS, Start};
pub use run::{Options, ScreenEnd, Session};
pub use signals::{on_end, runtime};
pub use update::{Effect, update};
