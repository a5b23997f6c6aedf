//! The full-screen program: terminal, keys, and the event loop that joins them with the feed.
//!
//! ```text
//! select! { biased; signals, keys, snapshots, diagnostics, timer }
//!    Event -> Action (term/keys.rs) -> update(&mut Ui, ...) -> Vec<Effect> (run/update.rs)
//!    run/app.rs performs the effects; run/time_travel.rs and playback.rs show an earlier instant
//!    dirty? -> views::draw -> only the cells that changed (term/session.rs)
//! ```
//!
//! `fleet/` is the same for the pipelines of a service. It shares the terminal session, signals and
//! keys, and lends the session to the run screen that a user opens.

mod diagnostics;
mod effect;
mod fleet;
mod inline;
mod run;
pub(crate) mod term;
mod typing;

pub use effect::Effect;
pub use fleet::{FleetEnded, FleetOptions, OpenError};
pub use inline::{Inline, InlineMode};
pub use run::app::{Options, ScreenEnd, Session};
pub use run::playback::{ReplayStart, SPEEDS};
pub use run::update::update;
pub use term::capabilities::{GlyphChoice, ThemeChoice, look};
pub use term::signals::{on_termination, runtime};
