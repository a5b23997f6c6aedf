//! Side effects of actions, performed by the shell and by its screen.

/// Side effect of an action of a screen whose own effects are `E`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<E> {
    Quit,
    /// Quits immediately, even if something runs.
    Interrupt,
    Suspend,
    Redraw,
    NextTheme,
    ToggleMouse,
    /// Copies a text; the second value names it for the notice.
    Copy(String, &'static str),
    Own(E),
}
