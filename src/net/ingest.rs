//! Bytes to [`Progress`], and at most 30 snapshots of it per second. One thread owns the
//! `Progress`; the others see snapshots that share unchanged parts.

use super::store::{ByteStore, Side};
use super::{Event, Origin, lock};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant, SystemTime};
use synctop_core::protocol::catalog::Catalog;
use synctop_core::protocol::{Decoder, Splitter};
use synctop_core::reduce::history::History;
use synctop_core::reduce::{Exit, Link, Progress};
use tokio::sync::watch;

/// Shortest time between two snapshots.
pub const BETWEEN_SNAPSHOTS: Duration = Duration::from_millis(33);

/// Lines into a [`Progress`].
#[derive(Debug, Default)]
pub struct Ingest {
    splitter: Splitter,
    decoder: Decoder,
    pub progress: Progress,
    past: Option<Past>,
}

/// Rewind data of a feed.
#[derive(Debug, Clone)]
pub struct Past {
    pub store: Arc<ByteStore>,
    pub history: Arc<Mutex<History>>,
}

impl Default for Past {
    fn default() -> Self {
        Self { store: Arc::new(ByteStore::bounded()), history: Arc::new(Mutex::new(History::new())) }
    }
}

impl Past {
    fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }
}

impl Ingest {
    #[must_use]
    pub fn new(decoder: Decoder) -> Self {
        Self { decoder, ..Self::default() }
    }

    /// Stores the input for rewinding.
    #[must_use]
    pub fn remembering(mut self, past: Past) -> Self {
        self.past = Some(past);
        self
    }

    /// These streams are to come.
    pub fn expect(&mut self, catalog: &Arc<Catalog>) {
        self.progress.expect_streams(catalog);
        if let Some(past) = &self.past {
            past.store.expect(catalog);
        }
    }

    /// An event of a source.
    pub fn take(&mut self, event: Event) {
        take(event, self, &mut Snapshot::default());
    }

    /// The next bytes of the input.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { splitter, decoder, progress, past } = self;
        let mut history = past.as_ref().map(Past::history);
        splitter.push(bytes, |line| {
            progress.apply(&line, decoder.decode(&line, &mut String::new()));
            if let Some(history) = &mut history {
                history.note(progress, false);
            }
        });
        let due = history.is_some_and(|history| history.due(progress));
        if let Some(past) = past.as_ref().filter(|_| due) {
            super::remember(&past.history, progress, past.store.sides());
        }
    }

    /// Bytes that stand in a file, from this place on.
    fn push_from(&mut self, bytes: &[u8], origin: Option<&Origin>) {
        if let Some(past) = &self.past {
            let before = (past.store.kept_from(), past.store.broken().is_some());
            match origin {
                Some(Origin { file, at }) => past.store.file(file, *at, bytes.len() as u64),
                None => past.store.spool(bytes),
            }
            let now = past.store.kept_from();
            if now > before.0 {
                // The stored data start later: the first snapshot is here.
                super::remember(&past.history, &self.progress, past.store.sides());
                past.history().forget_before(now);
            }
            if let Some(why) = past.store.broken().filter(|_| !before.1) {
                self.side(Side::Notice(format!("the past cannot be stored for rewinding: {why}")));
            }
        }
        self.push(bytes);
    }

    /// Something that happened to the input between two lines.
    fn side(&mut self, side: Side) {
        side.apply(&mut self.progress);
        if let Some(past) = &self.past {
            let before = past.store.kept_from();
            past.store.side(self.progress.input.bytes, side);
            let now = past.store.kept_from();
            if now > before {
                super::remember(&past.history, &self.progress, past.store.sides());
                past.history().forget_before(now);
            }
        }
    }

    /// The bytes that came so far cannot be read again.
    fn lose(&mut self) {
        if let Some(past) = &self.past {
            super::remember(&past.history, &self.progress, past.store.sides());
            past.history().forget_before(self.progress.input.bytes);
            past.store.lose();
        }
    }

    /// Ends the current line: the next bytes do not continue it.
    pub fn break_line(&mut self) {
        let Self { splitter, decoder, progress, past } = self;
        splitter.finish(|line| {
            progress.apply(&line, decoder.decode(&line, &mut String::new()));
            if let Some(past) = past {
                past.history().note(progress, false);
            }
        });
    }

    /// The input ended.
    pub fn finish(&mut self, exit: Option<Exit>) {
        self.break_line();
        if let Some(past) = &self.past {
            past.history().finish(&self.progress, exit);
        }
        self.progress.close(exit);
    }
}

/// Screen model of a feed: progress and link state.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub progress: Arc<Progress>,
    pub link: Link,
    /// Time of the last line (for an existing file: its modification time).
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
/// When the system gives no thread.
pub fn spawn_ingest(
    decoder: Decoder,
    events: mpsc::Receiver<Event>,
    past: Past,
) -> std::io::Result<watch::Receiver<Snapshot>> {
    let (sender, receiver) = watch::channel(Snapshot::default());
    let ingest = Ingest::new(decoder).remembering(past);
    std::thread::Builder::new().name("ingest".into()).spawn(move || run(ingest, &events, &sender))?;
    Ok(receiver)
}

fn run(mut ingest: Ingest, events: &mpsc::Receiver<Event>, snapshots: &watch::Sender<Snapshot>) {
    let mut now = Snapshot::default();
    let mut shown: Option<Instant> = None;
    let mut dirty = false;
    loop {
        let event = match shown.filter(|_| dirty) {
            // Something is not shown yet: wait for more only until it may be.
            Some(shown) => match events.recv_timeout(BETWEEN_SNAPSHOTS.saturating_sub(shown.elapsed())) {
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
        if dirty && shown.is_none_or(|shown| shown.elapsed() >= BETWEEN_SNAPSHOTS) {
            publish(&ingest, &now, snapshots);
            shown = Some(Instant::now());
            dirty = false;
        }
    }
    if dirty {
        publish(&ingest, &now, snapshots);
    }
}

fn publish(ingest: &Ingest, now: &Snapshot, snapshots: &watch::Sender<Snapshot>) {
    snapshots.send_replace(Snapshot { progress: Arc::new(ingest.progress.clone()), ..now.clone() });
}

fn take(event: Event, ingest: &mut Ingest, now: &mut Snapshot) {
    match event {
        Event::Bytes(bytes, origin) => {
            let lines = ingest.progress.input.lines;
            ingest.push_from(&bytes, origin.as_ref());
            if ingest.progress.input.lines > lines || now.last_line.is_none() {
                now.last_line = Some(Instant::now());
            }
            if !matches!(now.link, Link::Ended(_)) {
                now.link = Link::Live;
            }
        }
        Event::CaughtUp(written) => {
            now.link = Link::Live;
            // A file that was there before: its last line is as old as the file.
            if let Some(age) = written.and_then(|at| SystemTime::now().duration_since(at).ok())
                && ingest.progress.input.lines > 0
            {
                now.last_line = Instant::now().checked_sub(age).or(now.last_line);
            }
        }
        Event::Expect(catalog) => ingest.expect(&catalog),
        Event::Break { why, overwritten } => {
            ingest.break_line();
            tracing::info!(target: "synctop::file", "{why}");
            if overwritten {
                ingest.lose();
            } else if let Some(past) = &ingest.past {
                // The file before may be let go of: the way to this one is from here.
                super::remember(&past.history, &ingest.progress, past.store.sides());
            }
            ingest.side(Side::Cut(why));
        }
        Event::Notice(text) => {
            tracing::info!(target: "synctop::file", "{text}");
            ingest.side(Side::Notice(text));
        }
        Event::Stderr(line) => {
            ingest.side(Side::Stderr(line));
            // Of some engines that is all that is heard for long.
            if !ingest.progress.streams.is_empty() && now.link == Link::Waiting {
                now.link = Link::Live;
            }
            if now.link == Link::Live && ingest.progress.traits().errors_on_stderr {
                now.last_line = Some(Instant::now());
            }
        }
        Event::Down(why) => {
            tracing::warn!(target: "synctop::source", "{why}");
            ingest.side(Side::Notice(why.clone()));
            now.link = Link::Down(why.into());
        }
        Event::End(exit) => {
            ingest.finish(exit);
            // An input that broke off did not end.
            if exit.is_some() || !matches!(now.link, Link::Down(_)) {
                now.link = Link::Ended(exit);
            }
        }
    }
}
