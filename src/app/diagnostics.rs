//! synctop's own log and an engine's stderr in tui-logger's ring; notifies the screen of new lines.

use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tui_logger::{LevelFilter, TuiTracingSubscriberLayer};

/// Notifies the loop of a new line.
struct Wake(Arc<Notify>);

impl<S: Subscriber> Layer<S> for Wake {
    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0.notify_one();
    }
}

static WAKE: OnceLock<Arc<Notify>> = OnceLock::new();

/// Wakes the loop although nothing was logged.
pub(super) fn wake() {
    if let Some(wake) = WAKE.get() {
        wake.notify_one();
    }
}

/// Installs it once for the process. tui-logger's own start is not used: it would wake every 10 ms.
pub(super) fn install() -> Arc<Notify> {
    WAKE.get_or_init(|| {
        let wake = Arc::new(Notify::new());
        tui_logger::set_default_level(LevelFilter::Debug);
        let subscriber = tracing_subscriber::registry().with(TuiTracingSubscriberLayer).with(Wake(wake.clone()));
        // A subscriber set by a test is fine too.
        let _ = tracing::subscriber::set_global_default(subscriber);
        wake
    })
    .clone()
}
