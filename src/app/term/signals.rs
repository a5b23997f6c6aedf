//! Termination signals: handled from the start of the process, and effective even if the terminal
//! accepts no output.

use crate::app::term::session;
use crate::net::source::child::Engine;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Maximum time for the event loop to restore the terminal after a signal.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum time to exit after the terminal is restored; includes an engine's grace period.
const EXIT_TIMEOUT: Duration = Duration::from_secs(8);

/// Signal handlers of the event loop.
pub(crate) struct Signals {
    pub(crate) termination: TerminationSignals,
    pub(crate) stop: Signal,
    pub(crate) resume: Signal,
}

impl Signals {
    /// Installs the handlers. Requires a runtime.
    pub(crate) fn install_handlers() -> io::Result<Self> {
        let number = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Self {
            termination: TerminationSignals::install_handlers()?,
            stop: signal(number(rustix::process::Signal::TSTP))?,
            resume: signal(number(rustix::process::Signal::CONT))?,
        })
    }
}

/// Handlers of every signal whose default ends the process.
pub(crate) struct TerminationSignals(Vec<(i32, Signal)>);

impl TerminationSignals {
    /// Installs the handlers. Requires a runtime.
    pub(crate) fn install_handlers() -> io::Result<Self> {
        let kinds = [
            SignalKind::terminate(),
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
            SignalKind::alarm(),
        ];
        kinds.into_iter().map(|kind| Ok((kind.as_raw_value(), signal(kind)?))).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for a signal and returns its number.
    pub(crate) async fn next(&mut self) -> i32 {
        poll_fn(|context| {
            let mut received = self.0.iter_mut().filter_map(|(number, signal)| match signal.poll_recv(context) {
                Poll::Ready(_) => Some(*number),
                Poll::Pending => None,
            });
            received.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Creates a runtime on the current thread.
///
/// # Errors
/// Returns the system's error if the runtime cannot be created.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Starts the thread that ends the process after a signal if the event loop cannot: the loop may
/// hang in a write to a terminal that is not read, or not have started because opening a file
/// blocks.
pub(crate) fn watchdog(engine: Arc<OnceLock<Engine>>) -> io::Result<()> {
    let runtime = runtime()?;
    let mut termination = {
        let _inside = runtime.enter();
        TerminationSignals::install_handlers()?
    };
    std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        let number = runtime.block_on(termination.next());
        std::thread::sleep(RESTORE_TIMEOUT);
        if session::is_restored() {
            std::thread::sleep(EXIT_TIMEOUT);
        } else if let Some(engine) = engine.get().filter(|engine| engine.runs()) {
            engine.stop();
        }
        session::leave_raw_mode();
        std::process::exit(128 + number);
    })?;
    Ok(())
}

/// Starts a thread that waits for the first termination signal and calls `handler` with its number.
///
/// # Errors
/// Returns the system's error if the runtime, a handler or the thread cannot be created.
pub fn on_termination(handler: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let runtime = runtime()?;
    let mut termination = {
        let _inside = runtime.enter();
        TerminationSignals::install_handlers()?
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || handler(runtime.block_on(termination.next())))?;
    Ok(())
}
