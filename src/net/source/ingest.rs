//! Reduces bytes to [`Progress`] and publishes at most 30 snapshots per second. One thread owns the
//! `Progress`; the others read snapshots, which share unchanged parts.

use crate::net::source::event::{Event, FileOrigin};
use crate::net::timeline::byte_store::{ByteStore, SideEvent};
use crate::net::timeline::keep::SharedHistory;
use parking_lot::{Mutex, MutexGuard};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};
use synctop_core::protocol::Decoder;
use synctop_core::protocol::catalog::Catalog;
use synctop_core::reduce::history::History;
use synctop_core::reduce::{Exit, Link, Progress, Reducer};
use tokio::sync::watch;

/// Minimum time between two snapshots.
pub const BETWEEN_SNAPSHOTS: Duration = Duration::from_millis(33);

/// Reducer of one live input, and its data for rewinding.
#[derive(Debug, Default)]
pub struct Ingest {
    reducer: Reducer,
    past: Option<RewindData>,
}

/// Rewind data of a feed.
#[derive(Debug, Clone)]
pub struct RewindData {
    pub store: Arc<ByteStore>,
    pub history: SharedHistory,
}

impl Default for RewindData {
    fn default() -> Self {
        Self { store: Arc::new(ByteStore::bounded()), history: Arc::new(Mutex::new(History::new())) }
    }
}

impl RewindData {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }
}

impl Ingest {
    #[must_use]
    pub fn new(decoder: Decoder) -> Self {
        Self { reducer: Reducer::new(decoder), past: None }
    }

    /// Returns the state after the last complete line.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.reducer.progress
    }

    /// Stores the input for rewinding.
    #[must_use]
    pub fn with_rewind_data(mut self, past: RewindData) -> Self {
        self.past = Some(past);
        self
    }

    /// Declares the streams that the input will contain.
    pub fn expect(&mut self, catalog: &Arc<Catalog>) {
        self.reducer.progress.expect_streams(catalog);
        if let Some(past) = &self.past {
            past.store.expect(catalog);
        }
    }

    /// Applies an event of a source.
    pub fn take(&mut self, event: Event) {
        take(event, self, &mut Snapshot::default());
    }

    /// Applies the next bytes of the input.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { reducer, past } = self;
        let mut history = past.as_ref().map(RewindData::history);
        reducer.push_with(bytes, |progress| {
            if let Some(history) = &mut history {
                history.note(progress, false);
                MutexGuard::bump(history);
            }
        });
        let progress = &reducer.progress;
        let due = history.is_some_and(|history| history.due(progress));
        if let Some(past) = past.as_ref().filter(|_| due) {
            crate::net::timeline::keep::keep_snapshot(&past.history, progress, past.store.sides());
        }
    }

    /// Stores the next bytes for rewinding, by their place in a file if `origin` names it, and
    /// applies them.
    fn push_from(&mut self, bytes: &[u8], origin: Option<&FileOrigin>) {
        if let Some(past) = &self.past {
            let before = (past.store.kept_from(), past.store.broken().is_some());
            match origin {
                Some(FileOrigin { file, at }) => past.store.file(file, *at, bytes.len() as u64),
                None => past.store.spool(bytes),
            }
            let now = past.store.kept_from();
            if now > before.0 {
                // Older data were dropped: the first usable snapshot is the current state.
                crate::net::timeline::keep::keep_snapshot(&past.history, &self.reducer.progress, past.store.sides());
                past.history().forget_before(now);
            }
            if let Some(why) = past.store.broken().filter(|_| !before.1) {
                self.side(SideEvent::Notice(format!("the past cannot be stored for rewinding: {why}")));
            }
        }
        self.push(bytes);
    }

    /// Applies and stores an event between two lines.
    fn side(&mut self, side: SideEvent) {
        side.apply(&mut self.reducer.progress);
        if let Some(past) = &self.past {
            let before = past.store.kept_from();
            past.store.side(self.reducer.progress.input.bytes, side);
            let now = past.store.kept_from();
            if now > before {
                crate::net::timeline::keep::keep_snapshot(&past.history, &self.reducer.progress, past.store.sides());
                past.history().forget_before(now);
            }
        }
    }

    /// Drops the stored bytes, which cannot be read again.
    fn drop_stored(&mut self) {
        if let Some(past) = &self.past {
            crate::net::timeline::keep::keep_snapshot(&past.history, &self.reducer.progress, past.store.sides());
            past.history().forget_before(self.reducer.progress.input.bytes);
            past.store.drop_stored();
        }
    }

    /// Ends the current line: the next bytes do not continue it.
    pub fn break_line(&mut self) {
        let Self { reducer, past } = self;
        reducer.break_line(|progress| {
            if let Some(past) = past {
                past.history().note(progress, false);
            }
        });
    }

    /// Ends the input.
    pub fn finish(&mut self, exit: Option<Exit>) {
        self.break_line();
        if let Some(past) = &self.past {
            past.history().finish(&self.reducer.progress, exit);
        }
        self.reducer.finish(exit);
    }
}

/// Screen model of a feed: progress and link state.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub progress: Arc<Progress>,
    pub link: Link,
    /// Time of the last line; for the existing data of a file, its modification time.
    pub last_line: Option<Instant>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { progress: Arc::default(), link: Link::Waiting, last_line: None }
    }
}

/// Starts the thread that decodes the output of a source. It ends with the source.
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub fn spawn_ingest(
    decoder: Decoder,
    events: mpsc::Receiver<Event>,
    past: RewindData,
) -> std::io::Result<watch::Receiver<Snapshot>> {
    let (sender, receiver) = watch::channel(Snapshot::default());
    let ingest = Ingest::new(decoder).with_rewind_data(past);
    std::thread::Builder::new().name("ingest".into()).spawn(move || run(ingest, &events, &sender))?;
    Ok(receiver)
}

fn run(mut ingest: Ingest, events: &mpsc::Receiver<Event>, snapshots: &watch::Sender<Snapshot>) {
    let mut now = Snapshot::default();
    let mut published: Option<Instant> = None;
    let mut dirty = false;
    loop {
        let event = match published.filter(|_| dirty) {
            // A change is not published yet: wait only until the next snapshot is due.
            Some(published) => match events.recv_timeout(BETWEEN_SNAPSHOTS.saturating_sub(published.elapsed())) {
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Ok(event) => Some(event),
            },
            None => match events.recv() {
                Err(mpsc::RecvError) => break,
                Ok(event) => Some(event),
            },
        };
        if let Some(event) = event {
            take(event, &mut ingest, &mut now);
            dirty = true;
        }
        if dirty && published.is_none_or(|published| published.elapsed() >= BETWEEN_SNAPSHOTS) {
            publish(&ingest, &now, snapshots);
            published = Some(Instant::now());
            dirty = false;
        }
    }
    if dirty {
        publish(&ingest, &now, snapshots);
    }
}

fn publish(ingest: &Ingest, now: &Snapshot, snapshots: &watch::Sender<Snapshot>) {
    snapshots.send_replace(Snapshot { progress: Arc::new(ingest.progress().clone()), ..now.clone() });
}

fn take(event: Event, ingest: &mut Ingest, now: &mut Snapshot) {
    match event {
        Event::Bytes(bytes, origin) => {
            let lines = ingest.progress().input.lines;
            ingest.push_from(&bytes, origin.as_ref());
            if ingest.progress().input.lines > lines || now.last_line.is_none() {
                now.last_line = Some(Instant::now());
            }
            if !matches!(now.link, Link::Ended(_)) {
                now.link = Link::Live;
            }
        }
        Event::CaughtUp(written) => {
            now.link = Link::Live;
            // The last line of an existing file is as old as the file's last change.
            if let Some(age) = written.and_then(|at| SystemTime::now().duration_since(at).ok())
                && ingest.progress().input.lines > 0
            {
                now.last_line = Instant::now().checked_sub(age).or(now.last_line);
            }
        }
        Event::Expect(catalog) => ingest.expect(&catalog),
        Event::Break { why, overwritten } => {
            ingest.break_line();
            tracing::info!(target: "synctop::file", "{why}");
            if overwritten {
                ingest.drop_stored();
            } else if let Some(past) = &ingest.past {
                // The store may drop the file before: this snapshot makes the new one reachable.
                crate::net::timeline::keep::keep_snapshot(&past.history, ingest.progress(), past.store.sides());
            }
            ingest.side(SideEvent::Cut(why));
        }
        Event::Notice(text) => {
            tracing::info!(target: "synctop::file", "{text}");
            ingest.side(SideEvent::Notice(text));
        }
        Event::Stderr(line) => {
            ingest.side(SideEvent::Stderr(line));
            // Some engines write only to stderr for a long time.
            if !ingest.progress().streams.is_empty() && now.link == Link::Waiting {
                now.link = Link::Live;
            }
            if now.link == Link::Live && ingest.progress().traits().errors_on_stderr {
                now.last_line = Some(Instant::now());
            }
        }
        Event::Down(why) => {
            tracing::warn!(target: "synctop::source", "{why}");
            ingest.side(SideEvent::Notice(why.clone()));
            now.link = Link::Down(why.into());
        }
        Event::End(exit) => {
            ingest.finish(exit);
            // An input that failed stays down; only an exit status shows that it ended.
            if exit.is_some() || !matches!(now.link, Link::Down(_)) {
                now.link = Link::Ended(exit);
            }
        }
    }
}
