//! The full-screen program: terminal, keys, and the event loop that joins them with the data.
//!
//! ```text
//! shell.rs   select! { biased; signals, keys, the screen's own events, diagnostics, timer }
//!    Event -> Action (input.rs) -> update(&mut Ui, &Model, ...) -> Vec<Effect> (update.rs, and
//!    update.rs of each screen) -> performed by the shell, or by the screen
//!    dirty? -> views::draw -> only the cells that changed (term/session.rs)
//! ```
//!
//! `run/` and `fleet/` are screens; the fleet screen runs a run screen in the same shell.

mod diagnostics;
mod effect;
mod fleet;
mod inline;
pub(crate) mod input;
mod run;
mod session;
mod shell;
mod sizes;
pub(crate) mod term;
mod update;

pub use effect::Effect;
pub use fleet::update::{ConfirmedAction, FleetEffect};
pub use fleet::{FleetEnded, FleetOptions, OpenError, SimulatedCauses};
pub use inline::{Inline, InlineMode};
pub use run::playback::{ReplayStart, SPEEDS};
pub use run::screen::{Options, ScreenEnd};
pub use run::update::RunEffect;
pub use session::{OpenTerminal, Presentation, Session};
pub use sizes::SizesFile;
pub use term::capabilities::{GlyphChoice, ThemeChoice, look};
pub use term::signals::{on_termination, runtime};
pub use update::{Behavior, update};
