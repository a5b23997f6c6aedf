//! Side effects of actions, performed by the event loop.

use crate::views::action::Travel;

/// Side effect of an action, performed by the event loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Quit,
    /// Quits immediately, even if an engine runs.
    Interrupt,
    Suspend,
    Redraw,
    NextTheme,
    ToggleMouse,
    /// True freezes the screen.
    Freeze(bool),
    Travel(Travel),
    /// Copies a text; the second value names it for the notice.
    Copy(String, &'static str),
}
