//! Runtime and signal handlers of a program with a screen.

use crate::app::diagnostics;
use crate::app::shell::Shell;
use crate::app::term::signals::{self, Signals};
use crate::app::term::terminal_session::TerminalSession;
use crate::net::source::child::Engine;
use crate::views::Look;
use std::io;
use std::sync::{Arc, OnceLock};

/// Runtime with installed signal handlers. Created before an engine is started, because a signal
/// has to stop the engine.
pub struct Session {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) signals: Signals,
    /// Engine that the watchdog stops.
    pub(crate) engine: Arc<OnceLock<Engine>>,
}

impl Session {
    /// Installs the signal handlers.
    ///
    /// # Errors
    /// Returns the system's error if the runtime, a handler or the watchdog thread cannot be
    /// created.
    pub fn new() -> io::Result<Self> {
        let runtime = signals::runtime()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::install_handlers()?
        };
        let engine = Arc::default();
        signals::watchdog(Arc::clone(&engine))?;
        Ok(Self { runtime, signals, engine })
    }

    /// Takes the terminal over, and shows a text, if there is one, until a screen opens.
    ///
    /// # Errors
    /// Returns the system's error if there is no terminal to draw on.
    pub fn open_terminal(self, presentation: Presentation, text: Option<&str>) -> io::Result<OpenTerminal> {
        let Presentation { look, ask, mouse } = presentation;
        let Self { runtime, signals, .. } = self;
        let wake = diagnostics::install();
        let inside = runtime.enter();
        let mut session = TerminalSession::take(signals, mouse, ask, look.depth)?;
        drop(inside);
        if let Some(text) = text {
            session.terminal.draw(|buffer, area| {
                if let Some(row) = area.rows().nth(usize::from(area.height / 2)) {
                    buffer.set_stringn(row.x + 2, row.y, text, row.width.saturating_sub(2).into(), look.plain());
                }
            })?;
        }
        Ok(OpenTerminal { runtime, shell: Shell::new(session, look, ask, mouse, wake) })
    }
}

/// Presentation of a screen.
#[derive(Clone, Copy)]
pub struct Presentation {
    pub look: Look,
    /// True if the theme is chosen by the terminal's background color, which is queried.
    pub ask: bool,
    pub mouse: bool,
}

/// Terminal that was taken over, for a screen. Dropping it gives the terminal back.
pub struct OpenTerminal {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) shell: Shell,
}
