//! Termination signals: caught from the start, and effective even if the terminal accepts no
//! output.

use super::terminal;
use crate::net::child::Engine;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Maximum time to restore the terminal after a signal.
const STALLED: Duration = Duration::from_secs(2);

/// Maximum time to exit after that; includes an engine's grace period.
const LEAVING: Duration = Duration::from_secs(8);

/// Signals and terminal events of the loop. Requires a runtime.
pub(super) struct Signals {
    pub(super) enders: TerminationSignals,
    pub(super) stop: Signal,
    pub(super) resume: Signal,
}

impl Signals {
    pub(super) fn hear() -> io::Result<Self> {
        let number = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Self {
            enders: TerminationSignals::hear()?,
            stop: signal(number(rustix::process::Signal::TSTP))?,
            resume: signal(number(rustix::process::Signal::CONT))?,
        })
    }
}

/// Handlers of every signal whose default ends the process.
pub(super) struct TerminationSignals(Vec<(i32, Signal)>);

impl TerminationSignals {
    /// Has to be called in a runtime.
    pub(super) fn hear() -> io::Result<Self> {
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

    /// The number of the next one.
    pub(super) async fn next(&mut self) -> i32 {
        poll_fn(|context| {
            let mut came = self.0.iter_mut().filter_map(|(number, signal)| match signal.poll_recv(context) {
                Poll::Ready(_) => Some(*number),
                Poll::Pending => None,
            });
            came.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// One thread's runtime.
///
/// # Errors
/// When the system gives none.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Starts the thread that ends us when the loop cannot: it may hang in a write to a terminal that
/// is not read, or not have begun because a file cannot be opened.
pub(super) fn watchdog(engine: Arc<OnceLock<Engine>>) -> io::Result<()> {
    let runtime = runtime()?;
    let mut enders = {
        let _inside = runtime.enter();
        TerminationSignals::hear()?
    };
    std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        let number = runtime.block_on(enders.next());
        std::thread::sleep(STALLED);
        if terminal::given_back() {
            std::thread::sleep(LEAVING);
        } else if let Some(engine) = engine.get().filter(|engine| engine.runs()) {
            engine.stop();
        }
        terminal::leave_raw_mode();
        std::process::exit(128 + number);
    })?;
    Ok(())
}

/// Starts a thread that waits for the first terminating signal and prints it.
///
/// # Errors
/// When signals cannot be heard.
pub fn on_end(tell: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let runtime = runtime()?;
    let mut enders = {
        let _inside = runtime.enter();
        TerminationSignals::hear()?
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || tell(runtime.block_on(enders.next())))?;
    Ok(())
}
