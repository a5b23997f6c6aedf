//! Diagnostics: synctop's own log and an engine's stderr in the ring buffer of tui-logger; wakes
//! the event loop for new lines.

use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tui_logger::{LevelFilter, TuiTracingSubscriberLayer};

/// Layer that wakes the event loop for each new line.
struct Wake(Arc<Notify>);

impl<S: Subscriber> Layer<S> for Wake {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.notify_one();
    }
}

/// Notifier of the event loop; set by [`install`].
static WAKE: OnceLock<Arc<Notify>> = OnceLock::new();

/// Wakes the event loop without a new line.
pub(super) fn wake() {
    if let Some(wake) = WAKE.get() {
        wake.notify_one();
    }
}

/// Installs the log once per process and returns the notifier of new lines. tui-logger's own
/// initializer is not used because it wakes every 10 ms.
pub(super) fn install() -> Arc<Notify> {
    WAKE.get_or_init(|| {
        let wake = Arc::new(Notify::new());
        tui_logger::set_default_level(LevelFilter::Debug);
        let subscriber = tracing_subscriber::registry().with(TuiTracingSubscriberLayer).with(Wake(wake.clone()));
        // A test may have set a subscriber before: that one stays.
        let _ = tracing::subscriber::set_global_default(subscriber);
        wake
    })
    .clone()
}
