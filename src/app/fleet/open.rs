//! Opens the run screen from the fleet: lends it the terminal session and takes the session back.

use super::super::playback::Start;
use super::super::run::{Options, RedrawReason, RunApp};
use super::FleetApp;
use crate::net::index::{self, Saved};
use crate::net::remote::follow;
use crate::net::sidecar::Sidecar;
use crate::net::{self, Past};
use crate::views::fleet::FleetOverlay;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

impl FleetApp {
    /// The run of a pipeline, live; `Some`: a signal ended it all.
    pub(super) async fn open_run(&mut self, id: &Arc<str>) -> io::Result<Option<i32>> {
        let Some(capabilities) = self.shown.capabilities else {
            self.say("the service has not answered yet");
            return Ok(None);
        };
        let (sender, events) = net::channel();
        let watcher = Arc::clone(&self.options.watcher);
        let client = Arc::clone(&watcher.client);
        let following = self.options.background.spawn(follow::follow(client, id.to_string(), capabilities, sender));
        let past = Past::default();
        let snapshots = net::spawn_ingest(self.options.decoder, events, past.clone())?;
        let source = format!("{} > {id}", watcher.client.place.name());
        let options = self.nested(source, past);
        watcher.set_aside(true);
        let ended = self.lend(options, snapshots).await;
        following.abort();
        watcher.set_aside(false);
        ended
    }

    /// A past run that was fetched, with a clock.
    pub(super) async fn replay(
        &mut self,
        id: &str,
        number: u64,
        log: Result<tempfile::NamedTempFile, String>,
    ) -> io::Result<Option<i32>> {
        let log = match log {
            Ok(log) => log,
            Err(why) => {
                self.say(why);
                return Ok(None);
            }
        };
        // The user moved on meanwhile.
        let asked = self.fetching.take_if(|(of, wanted)| **of == *id && *wanted == number).is_some();
        if !asked || !matches!(self.ui.overlays.last(), Some(FleetOverlay::Runs { id: open, .. }) if **open == *id) {
            return Ok(None);
        }
        let saved = match Saved::open(&log.path().to_path_buf()) {
            Ok(saved) => saved,
            Err(error) => {
                self.say(error.to_string());
                return Ok(None);
            }
        };
        let indexing = index::spawn(vec![saved], Sidecar::default(), self.options.decoder)?;
        let source = format!("{} > {id}, run {number}", self.options.watcher.client.place.name());
        let mut options = self.nested(source, indexing.past);
        options.replay = Some(Start { at: None, speed: 1.0, paused: false, skip: true });
        options.size = indexing.size;
        self.ui.toast = None;
        self.options.watcher.set_aside(true);
        let ended = self.lend(options, indexing.snapshots).await;
        self.options.watcher.set_aside(false);
        if let Some(error) = indexing.broken.get() {
            self.say(format!("the log could not be read to its end: {error}"));
        }
        ended
    }

    fn nested(&self, source: String, past: Past) -> Options {
        Options {
            source,
            look: self.options.look,
            ask: self.options.ask,
            mouse: self.options.mouse,
            engine: None,
            ours: None,
            past,
            decoder: self.options.decoder,
            replay: None,
            size: None,
            nested: true,
            panic_for_test: None,
        }
    }

    /// Lends the stage to the screen of one run.
    async fn lend(&mut self, options: Options, snapshots: watch::Receiver<net::Snapshot>) -> io::Result<Option<i32>> {
        let wake = Arc::clone(&self.wake);
        let mut app = RunApp::new(options, snapshots, &mut self.session)?;
        let ended = app.turn_round(&wake).await;
        let (look, mouse, ask) = (app.options.look, app.options.mouse, app.options.ask);
        drop(app);
        (self.options.look, self.options.mouse, self.options.ask) = (look, mouse, ask);
        self.due(RedrawReason::Key);
        ended
    }
}
