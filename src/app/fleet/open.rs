//! Opens the run screen from the fleet screen: lends it the terminal session and takes the session
//! back.

use crate::app::fleet::app::{FleetApp, LogError};
use crate::app::run::app::{Options, RedrawReason, RunApp};
use crate::app::run::playback::ReplayStart;
use crate::net;
use crate::net::client::follow;
use crate::net::source::ingest::RewindData;
use crate::net::source::sidecar::Sidecar;
use crate::net::timeline::indexer::{self, SavedLog};
use crate::views::fleet::FleetOverlay;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

impl FleetApp {
    /// Opens the run of a pipeline, live. Returns the signal that ended the program, if any.
    pub(super) async fn open_run(&mut self, id: &Arc<str>) -> io::Result<Option<i32>> {
        let Some(capabilities) = self.shown.capabilities else {
            self.show_toast("the service has not answered yet");
            return Ok(None);
        };
        let (sender, events) = net::channel();
        let watcher = Arc::clone(&self.options.watcher);
        let client = Arc::clone(&watcher.client);
        let following = self.options.background.spawn(follow::follow(client, id.to_string(), capabilities, sender));
        let past = RewindData::default();
        let snapshots = net::spawn_ingest(self.options.decoder, events, past.clone())?;
        let source = format!("{} > {id}", watcher.client.place.name());
        let options = self.nested(source, past);
        watcher.set_hidden(true);
        let ended = self.run_nested(options, snapshots).await;
        following.abort();
        watcher.set_hidden(false);
        ended
    }

    /// Replays the fetched log of a past run. Returns the signal that ended the program, if any.
    pub(super) async fn replay(
        &mut self,
        id: &str,
        number: u64,
        log: Result<tempfile::NamedTempFile, LogError>,
    ) -> io::Result<Option<i32>> {
        let log = match log {
            Ok(log) => log,
            Err(why) => {
                self.show_toast(why.to_string());
                return Ok(None);
            }
        };
        // Another overlay was opened while the log was being fetched.
        let asked = self.fetching.take_if(|(of, wanted)| **of == *id && *wanted == number).is_some();
        if !asked || !matches!(self.ui.overlays.last(), Some(FleetOverlay::Runs { id: open, .. }) if **open == *id) {
            return Ok(None);
        }
        let saved = match SavedLog::open(log.path()) {
            Ok(saved) => saved,
            Err(error) => {
                self.show_toast(error.to_string());
                return Ok(None);
            }
        };
        let indexing = indexer::spawn(vec![saved], Sidecar::default(), self.options.decoder)?;
        let source = format!("{} > {id}, run {number}", self.options.watcher.client.place.name());
        let mut options = self.nested(source, indexing.past);
        options.replay = Some(ReplayStart { at: None, speed: 1.0, paused: false, skip: true });
        options.size = indexing.size;
        self.ui.toast = None;
        self.options.watcher.set_hidden(true);
        let ended = self.run_nested(options, indexing.snapshots).await;
        self.options.watcher.set_hidden(false);
        if let Some(error) = indexing.broken.get() {
            self.show_toast(format!("the log could not be read to its end: {error}"));
        }
        ended
    }

    /// Returns the options of a run screen inside the fleet screen.
    fn nested(&self, source: String, past: RewindData) -> Options {
        Options {
            source,
            look: self.options.look,
            ask: self.options.ask,
            mouse: self.options.mouse,
            engine: None,
            child_saved: None,
            past,
            decoder: self.options.decoder,
            replay: None,
            size: None,
            nested: true,
            panic_for_test: None,
        }
    }

    /// Runs the run screen in the terminal session of the fleet screen. Returns the signal that
    /// ended the program, if any.
    async fn run_nested(
        &mut self,
        options: Options,
        snapshots: watch::Receiver<net::Snapshot>,
    ) -> io::Result<Option<i32>> {
        let wake = Arc::clone(&self.wake);
        let mut app = RunApp::new(options, snapshots, &mut self.session)?;
        let ended = app.run_loop(&wake).await;
        let (look, mouse, ask) = (app.options.look, app.options.mouse, app.options.ask);
        drop(app);
        (self.options.look, self.options.mouse, self.options.ask) = (look, mouse, ask);
        self.request_redraw(RedrawReason::Key);
        ended
    }
}
