//! synctop's own log, and an engine's stderr, into tui-logger's ring; the screen is told that something came.

use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tui_logger::{LevelFilter, TuiTracingSubscriberLayer};

/// Tells the loop that a line came.
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
        // Somebody else's subscriber (in a test) is as good.
        let _ = tracing::subscriber::set_global_default(subscriber);
        wake
    })
    .clone()
}
