//! Poller of a service's fleet, shared by all its views. If the service does not answer, the last
//! data stay.

use crate::net::client::http::{Capabilities, Client, ClientError, FleetList};
use crate::net::client::state_db::StateDb;
use crate::util::sys::{jitter, lock, now};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synctop_core::ResultClass;
use synctop_core::backoff::Backoff;
use synctop_core::fleet::{ActionRecord, Fleet, Inbox, Watched};
use synctop_core::protocol::{Millis, mask};
use tokio::sync::{Notify, watch};

/// Default polling interval of a list without states.
const LIST_INTERVAL: Duration = Duration::from_secs(2);

/// Default polling interval of a list with states, which is larger.
const LIST_INTERVAL_WITH_STATES: Duration = Duration::from_secs(5);

/// Factor of the interval while the list is not visible.
const HIDDEN_FACTOR: u32 = 4;

/// Maximum delay between two requests to a service that does not answer.
const MAX_UNREACHABLE_DELAY: Duration = Duration::from_secs(30);

/// Maximum actions that are shown.
const ACTIONS_KEPT: usize = 500;

/// Reason that no new data arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    pub why: String,
    /// Next step.
    pub next: String,
    /// True if the service refuses this user.
    pub denied: bool,
    /// Error sentence for the shell after the screen has closed.
    pub sentence: String,
    pub class: ResultClass,
    /// Time of the next attempt.
    pub again_at: Millis,
}

/// Screen model of a service.
#[derive(Debug, Clone, Default)]
pub struct FleetSnapshot {
    pub fleet: Arc<Fleet>,
    pub inbox: Arc<Inbox>,
    pub actions: Arc<Vec<ActionRecord>>,
    pub capabilities: Option<Capabilities>,
    pub down: Option<Down>,
    pub every: Duration,
    /// Requests per second, and their limit.
    pub rate: (f64, f64),
    /// Error of the state database, if data could not be stored or read.
    pub unkept: Option<String>,
}

/// Poller of one service, and its current model.
pub struct Watcher {
    pub client: Arc<Client>,
    pub memory: Arc<StateDb>,
    state: Mutex<FleetSnapshot>,
    seen: watch::Sender<FleetSnapshot>,
    wake: Notify,
    aside: AtomicBool,
}

impl Watcher {
    /// Starts polling, with the stored errors and actions as the first model. Requires a Tokio
    /// runtime.
    #[must_use]
    pub fn begin(client: Arc<Client>, memory: Arc<StateDb>) -> Arc<Self> {
        let every = client.place.poll.unwrap_or(LIST_INTERVAL);
        let mut first = FleetSnapshot { every, ..FleetSnapshot::default() };
        let read = memory.inbox().and_then(|mut inbox| {
            memory.prune(&mut inbox)?;
            Ok(inbox)
        });
        match read {
            Ok(inbox) => first.inbox = Arc::new(inbox),
            Err(error) => first.unkept = Some(error.to_string()),
        }
        let watcher = Arc::new(Self {
            seen: watch::channel(first.clone()).0,
            state: Mutex::new(first),
            client,
            memory,
            wake: Notify::new(),
            aside: AtomicBool::new(false),
        });
        watcher.read_actions();
        let own = Arc::downgrade(&watcher);
        tokio::spawn(async move {
            let mut backoff = Backoff::with_max_delay(MAX_UNREACHABLE_DELAY);
            // The task ends once the last owner drops the watcher.
            while let Some(watcher) = own.upgrade() {
                let wait = watcher.look(&mut backoff).await;
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = watcher.wake.notified() => {}
                }
            }
        });
        watcher
    }

    #[must_use]
    pub fn seen(&self) -> watch::Receiver<FleetSnapshot> {
        self.seen.subscribe()
    }

    /// Reads the list now.
    pub fn refresh(&self) {
        self.wake.notify_one();
    }

    /// Sets the list as hidden (`true`) or visible. Polling is slower while it is hidden.
    pub fn set_hidden(&self, aside: bool) {
        self.aside.store(aside, Ordering::Relaxed);
        if !aside {
            self.refresh();
        }
    }

    /// Runs work on a blocking thread, such as parsing JSON or writing a file. Returns `None` if it
    /// panics.
    pub async fn run_blocking<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> R + Send + 'static,
    ) -> Option<R> {
        let own = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&own)).await.ok()
    }

    /// Reads the list once. Returns the delay before the next request.
    async fn look(self: &Arc<Self>, backoff: &mut Backoff) -> Duration {
        let asked = lock(&self.state).fleet.order();
        match self.list().await {
            Ok((capabilities, list)) => {
                backoff.reset();
                let every = self.client.place.poll.unwrap_or(if capabilities.pages {
                    LIST_INTERVAL
                } else {
                    LIST_INTERVAL_WITH_STATES
                });
                let take = move |own: &Self| {
                    own.take_errors(|seen| {
                        (seen.capabilities, seen.down, seen.every) = (Some(capabilities), None, every);
                        let fleet = Arc::make_mut(&mut seen.fleet);
                        match list {
                            FleetList::All(entries) => fleet.take_list(&entries, asked, now()),
                            FleetList::Changes(entries, removed) => {
                                fleet.take_changes(&entries, &removed, asked, now())
                            }
                        }
                    });
                    own.read_others();
                    own.is_list_incomplete()
                };
                // Also after a panic.
                if self.run_blocking(take).await.unwrap_or(true) {
                    self.client.forget_list();
                }
                let every = if self.aside.load(Ordering::Relaxed) { every * HIDDEN_FACTOR } else { every };
                // With jitter, so that many screens do not poll at once.
                every.mul_f64(0.9 + jitter() * 0.2)
            }
            Err(client_error) => {
                let wait = backoff.wait(client_error.retry_after(), None, jitter());
                let again_at = now() + Millis::try_from(wait.as_millis()).unwrap_or(Millis::MAX / 2);
                tracing::warn!(target: "synctop::service", "{} {}", self.client.place.shown(), client_error.to_string());
                let place = &self.client.place;
                let (next, sentence, class) =
                    (client_error.next(place), client_error.message(place), client_error.class());
                let down = Down {
                    why: client_error.to_string(),
                    next,
                    denied: client_error.denied(),
                    sentence,
                    class,
                    again_at,
                };
                self.take(|seen| seen.down = Some(down));
                wait
            }
        }
    }

    /// True if the last list was not applied completely.
    fn is_list_incomplete(&self) -> bool {
        lock(&self.state).fleet.is_incomplete
    }

    async fn list(&self) -> Result<(Capabilities, FleetList), ClientError> {
        let capabilities = self.client.capabilities().await?;
        Ok((capabilities, self.client.list_changes(capabilities).await?))
    }

    /// Applies a pipeline that another part of the program read.
    pub fn take_one(&self, told: Value) {
        let Some(id) = told.get("id").and_then(Value::as_str).map(str::to_owned) else { return };
        self.take_errors(|seen| {
            let fleet = Arc::make_mut(&mut seen.fleet);
            let taken = fleet.take_one(told, now()).is_ok();
            fleet.pipelines.get(id.as_str()).filter(|_| taken).cloned().into_iter().collect()
        });
    }

    /// Removes a deleted pipeline.
    pub fn remove(&self, id: &str) {
        self.take(|seen| Arc::make_mut(&mut seen.fleet).remove(id));
    }

    /// Marks an action on a pipeline as accepted.
    pub fn sent(&self, id: &str, action: &str) {
        self.take(|seen| Arc::make_mut(&mut seen.fleet).sent(id, action, now()));
    }

    /// Toggles the acknowledgment of an error.
    pub fn acknowledge(&self, fingerprint: &str, who: &str, note: Option<&str>) {
        let mut item = None;
        let note = note.map(mask::secrets);
        let note = note.as_deref();
        self.take(|seen| item = Arc::make_mut(&mut seen.inbox).acknowledge(fingerprint, who, note, now()));
        self.keep(item.into_iter().collect(), true);
    }

    /// Reads the action log again.
    pub fn read_actions(&self) {
        if let Ok(actions) = self.memory.actions(ACTIONS_KEPT) {
            self.take(|seen| seen.actions = Arc::new(actions));
        }
    }

    /// Reads actions and acknowledgments that another process wrote, if there are any.
    fn read_others(&self) {
        if !self.memory.changed() {
            return;
        }
        self.read_actions();
        if let Ok(kept) = self.memory.inbox() {
            self.take(|seen| Arc::make_mut(&mut seen.inbox).merge_acknowledgments(&kept));
        }
    }

    /// Applies `change` to the model, adds errors of the pipelines that it returns to the inbox,
    /// closes resolved errors and stores the changed ones.
    fn take_errors(&self, change: impl FnOnce(&mut FleetSnapshot) -> Vec<Arc<Watched>>) {
        let mut items = Vec::new();
        self.take(|seen| {
            let at = now();
            let pipelines = change(seen);
            let inbox = Arc::make_mut(&mut seen.inbox);
            let mut changed: BTreeSet<_> = pipelines.iter().flat_map(|watched| inbox.observe(watched, at)).collect();
            // Before the first list, a missing pipeline is not known to be deleted.
            if seen.fleet.listed_at.is_some() {
                changed.extend(inbox.close_resolved(&seen.fleet.pipelines, at));
            }
            items.extend(changed.iter().filter_map(|it| inbox.items.get(it).cloned()));
        });
        self.keep(items, false);
    }

    /// Stores inbox items, and shows an error of storing.
    fn keep(&self, items: Vec<Arc<synctop_core::fleet::inbox::InboxItem>>, acked: bool) {
        if items.is_empty() {
            return;
        }
        let kept = self.memory.keep(&items, acked);
        if let Err(error) = &kept {
            tracing::warn!(target: "synctop::memory", "{error}");
        }
        let unkept = kept.err().map(|error| error.to_string());
        if lock(&self.state).unkept != unkept {
            self.take(|seen| seen.unkept = unkept);
        }
    }

    /// Changes the model and publishes it.
    fn take(&self, change: impl FnOnce(&mut FleetSnapshot)) {
        let mut state = lock(&self.state);
        change(&mut state);
        state.rate = self.client.rate();
        self.seen.send_replace(state.clone());
    }
}
