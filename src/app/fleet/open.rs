//! Opens the run screen from the fleet screen: lends it the terminal session and takes the session
//! back.

use crate::app::fleet::screen::{FleetScreen, LogError};
use crate::app::run::playback::ReplayStart;
use crate::app::run::screen::{Options, RunScreen};
use crate::app::shell::{Flow, Shell};
use crate::net;
use crate::net::client::follow;
use crate::net::source::ingest::RewindData;
use crate::net::source::sidecar::Sidecar;
use crate::net::timeline::indexer::{self, SavedLog};
use crate::views::fleet::FleetSheet;
use crate::views::fleet::state::ChecklistStep;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

impl FleetScreen {
    /// Opens the run of a pipeline, live.
    pub(super) async fn open_run(&mut self, id: &Arc<str>, shell: &mut Shell) -> io::Result<Flow> {
        let Some(capabilities) = self.shown.capabilities else {
            shell.notice(&mut self.ui, "the service has not answered yet");
            return Ok(Flow::Continue);
        };
        let (sender, events) = net::channel();
        let watcher = Arc::clone(&self.options.watcher);
        let client = Arc::clone(&watcher.client);
        let following = self.options.background.spawn(follow::follow(client, id.to_string(), capabilities, sender));
        let past = RewindData::default();
        let snapshots = net::spawn_ingest(self.options.decoder, events, past.clone())?;
        let source = format!("{} > {id}", watcher.client.place.name());
        let options = self.nested(source, past, shell);
        watcher.set_hidden(true);
        let ended = self.run_nested(options, snapshots, shell).await;
        following.abort();
        watcher.set_hidden(false);
        ended
    }

    /// Replays the fetched log of a past run, from its end on its first error.
    pub(super) async fn replay(
        &mut self,
        id: &str,
        number: u64,
        log: Result<tempfile::NamedTempFile, LogError>,
        shell: &mut Shell,
    ) -> io::Result<Flow> {
        let log = match log {
            Ok(log) => log,
            Err(why) => {
                shell.notice(&mut self.ui, why.to_string());
                return Ok(Flow::Continue);
            }
        };
        // Another overlay was opened while the log was being fetched.
        let asked = self.fetching.take_if(|(of, wanted)| **of == *id && *wanted == number).is_some();
        if !asked || !matches!(self.ui.sheet(), Some(FleetSheet::Runs { id: open, .. }) if **open == *id) {
            return Ok(Flow::Continue);
        }
        let saved = match SavedLog::open(log.path()) {
            Ok(saved) => saved,
            Err(error) => {
                shell.notice(&mut self.ui, error.to_string());
                return Ok(Flow::Continue);
            }
        };
        let indexing = indexer::spawn(vec![saved], Sidecar::default(), self.options.decoder)?;
        let source = format!("{} > {id}, run {number}", self.options.watcher.client.place.name());
        let mut options = self.nested(source, indexing.past, shell);
        options.replay = Some(ReplayStart { at: Some("end".into()), speed: 1.0, paused: true, skip: true });
        options.size = indexing.size;
        self.ui.toast = None;
        self.options.watcher.set_hidden(true);
        let ended = self.run_nested(options, indexing.snapshots, shell).await;
        self.options.watcher.set_hidden(false);
        if let Some(error) = indexing.broken.get() {
            shell.notice(&mut self.ui, format!("the log could not be read to its end: {error}"));
        }
        ended
    }

    /// Returns the options of a run screen inside the fleet screen.
    fn nested(&self, source: String, past: RewindData, shell: &Shell) -> Options {
        Options {
            source,
            look: shell.look,
            ask: false,
            mouse: shell.mouse,
            engine: None,
            child_saved: None,
            past,
            decoder: self.options.decoder,
            replay: None,
            size: None,
            nested: true,
            sizes: self.options.sizes.clone(),
            panic_for_test: None,
        }
    }

    /// Runs the run screen in the shell of the fleet screen.
    async fn run_nested(
        &mut self,
        options: Options,
        snapshots: watch::Receiver<net::Snapshot>,
        shell: &mut Shell,
    ) -> io::Result<Flow> {
        let mut run = RunScreen::new(options, snapshots)?;
        let ended = shell.run(&mut run).await?;
        self.options.sizes.keep_run(run.ui.sizes);
        if run.has_read_lead_up {
            self.ui.own.tick(ChecklistStep::LeadUp);
        }
        Ok(if matches!(ended, Flow::ExitAll(_)) { ended } else { Flow::Continue })
    }
}
