//! Runtime and signal handlers of a program with a screen.

use crate::app::term::signals::{self, Signals};
use crate::net::source::child::Engine;
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
}
