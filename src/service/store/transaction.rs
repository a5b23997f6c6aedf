//! Interface of both stores: the operations of a transaction, and the rows that they read.

use crate::service::alerts::cause::Incident;
use crate::service::model::{StoredPipeline, Task};
use crate::util::sqlite::StoreError;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use synctop_core::protocol::Millis;

/// Retention of idempotency keys.
pub(super) const KEY_RETENTION: Millis = 48 * 3600 * 1000;

/// Number of runs that are kept per pipeline.
pub(super) const MAX_TASKS: u64 = 1_000;

/// Number of entries that are kept in the action log.
pub(super) const MAX_ACTIONS: u64 = 100_000;

/// Callback that runs after the commit.
pub(super) type OnCommit = Box<dyn FnOnce() + Send>;

/// Sends the result of a write, or the error of a failed commit, to its caller.
pub(super) type WriteReply = Box<dyn FnOnce(Option<&StoreError>) + Send>;

/// Queued write: runs in the transaction, or receives the error that prevents it. Returns true if
/// its changes are to be committed.
pub(super) type WriteJob = Box<dyn FnOnce(Result<&mut Tx, StoreError>) -> (bool, WriteReply) + Send>;

/// Read: runs in a transaction that changes nothing, or receives the error that prevents it.
pub(super) type ReadJob = Box<dyn FnOnce(Result<&mut dyn Transaction, StoreError>) + Send>;

/// Database of a store.
pub(super) trait Backend: Send + Sync {
    /// Queues a write; waits while the queue is full. A job that cannot be queued is dropped.
    fn write(&self, job: WriteJob) -> BoxFuture<'_, ()>;

    /// Runs or queues a read. A job that cannot be queued is dropped.
    fn read(&self, job: ReadJob) -> BoxFuture<'_, ()>;

    /// Refuses further writes and waits until the queued ones are finished.
    fn close(&self);
}

/// Queries and changes of one transaction.
///
/// # Errors
/// Each operation returns a [`StoreError`] if the database fails. The transaction is undone then.
pub trait Transaction {
    /// Returns the pipeline with this id. In a write, no other write changes it until the commit.
    fn pipeline(&mut self, id: &str) -> Result<Option<StoredPipeline>, StoreError>;

    /// Returns all pipelines, in order of their ids.
    fn pipelines(&mut self) -> Result<Vec<PipelineRow>, StoreError>;

    /// Returns the incarnation of a new pipeline.
    fn next_incarnation(&mut self) -> Result<u64, StoreError>;

    /// Stores a new or changed pipeline. False if another pipeline of this name was created at the
    /// same time.
    fn put_pipeline(&mut self, pipeline: &StoredPipeline) -> Result<bool, StoreError>;

    /// Deletes a pipeline and records the deletion.
    fn delete_pipeline(&mut self, id: &str, incarnation: u64) -> Result<(), StoreError>;

    /// True if a pipeline of this name was deleted.
    fn is_deleted(&mut self, id: &str) -> Result<bool, StoreError>;

    /// Deletes the runs and the records of pipelines that were deleted, if older than `before`, and expired
    /// idempotency keys.
    fn prune_expired(&mut self, before: Millis) -> Result<(), StoreError>;

    /// Returns the stored state of a pipeline.
    fn state(&mut self, id: &str) -> Result<StoredState, StoreError>;

    fn put_state(&mut self, id: &str, state: &StoredState) -> Result<(), StoreError>;

    /// Returns the run with this task id. A damaged one counts as missing, so that its pipeline
    /// goes on.
    fn task(&mut self, id: &str) -> Result<Option<Task>, StoreError>;

    /// Returns the runs with these task ids by id.
    fn tasks_of_page(&mut self, ids: &[String]) -> Result<HashMap<String, Task>, StoreError> {
        let mut found = HashMap::new();
        for id in ids {
            found.extend(self.task(id)?.map(|task| (id.clone(), task)));
        }
        Ok(found)
    }

    /// Returns the engine states of these pipelines by pipeline.
    fn states_of_page(&mut self, ids: &[String]) -> Result<HashMap<String, String>, StoreError> {
        let mut found = HashMap::new();
        for id in ids {
            found.extend(self.state(id)?.state.map(|state| (id.clone(), state)));
        }
        Ok(found)
    }

    /// Returns the runs of a pipeline below number `before`, newest first.
    fn tasks(
        &mut self,
        pipeline: &str,
        incarnation: u64,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Result<Task, DamagedTask>>, StoreError>;

    fn put_task(&mut self, task: &Task) -> Result<(), StoreError>;

    /// Returns the request and the answer that are stored under an idempotency key. In a write, no
    /// other write uses the key until the commit.
    fn stored_answer(&mut self, key: &str, scope: &str) -> Result<Option<(String, String)>, StoreError>;

    /// Stores the answer of a request under its idempotency key.
    fn put_answer(&mut self, key: &str, scope: &str, request: &str, answer: &str) -> Result<(), StoreError>;

    /// Queues a live event; returns the number of queued events and their total length.
    fn put_input(&mut self, pipeline: &str, body: &str) -> Result<(u64, u64), StoreError>;

    /// Returns queued live events, oldest first: number and body.
    fn inputs(&mut self, pipeline: &str, limit: usize) -> Result<Vec<(u64, String)>, StoreError>;

    /// Removes the queued live events up to this number.
    fn drop_inputs(&mut self, pipeline: &str, upto: u64) -> Result<(), StoreError>;

    /// Appends an entry to the action log.
    fn log_action(
        &mut self,
        client: &str,
        action: &str,
        pipeline: Option<&str>,
        detail: Option<&Value>,
    ) -> Result<(), StoreError>;

    /// Returns action log entries below number `before`, newest first, of one pipeline or of all.
    fn actions(&mut self, pipeline: Option<&str>, before: u64, limit: usize) -> Result<Vec<StoredAction>, StoreError>;

    /// Returns the incident with this key. In a write, no other write changes it until the commit.
    fn incident(&mut self, key: &str) -> Result<Option<Incident>, StoreError>;

    /// Returns all incidents with their keys.
    fn incidents(&mut self) -> Result<Vec<(String, Incident)>, StoreError>;

    /// Returns the keys of incidents with a message that is due.
    fn due_incidents(&mut self, now: Millis) -> Result<Vec<String>, StoreError>;

    /// Stores an incident; one with nothing left to do is removed.
    fn put_incident(&mut self, key: &str, incident: &Incident) -> Result<(), StoreError>;

    /// Requires that this node runs the pipeline, and keeps it so until the commit.
    ///
    /// # Errors
    /// Returns [`StoreError::Fenced`] if another node has taken the pipeline over.
    fn require_lease(&mut self, incarnation: u64, fence: u64) -> Result<(), StoreError>;

    /// Returns the stored end of a pipeline's log; `None` if the store does not hold the log.
    fn log_end(&mut self, incarnation: u64) -> Result<Option<u64>, StoreError>;
}

/// Transaction of one write.
pub struct Tx<'c> {
    inner: &'c mut (dyn Transaction + 'c),
    pub(super) callbacks: Vec<OnCommit>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(inner: &'c mut (dyn Transaction + 'c)) -> Self {
        Self { inner, callbacks: Vec::new() }
    }

    /// Runs a callback after the commit, before any caller gets its result.
    pub fn on_commit(&mut self, callback: impl FnOnce() + Send + 'static) {
        self.callbacks.push(Box::new(callback));
    }

    /// Returns the pipeline if its incarnation is still the same.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if the database fails.
    pub fn this_pipeline(&mut self, id: &str, incarnation: u64) -> Result<Option<StoredPipeline>, StoreError> {
        Ok(self.pipeline(id)?.filter(|it| it.incarnation == incarnation))
    }
}

impl<'c> Deref for Tx<'c> {
    type Target = dyn Transaction + 'c;

    fn deref(&self) -> &Self::Target {
        self.inner
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.inner
    }
}

/// Stored state of a pipeline: engine state and checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredState {
    /// State in the form of `Backfill::to_stored_state`.
    pub state: Option<String>,
    /// Total checkpoints of the pipeline.
    pub checkpoints: u64,
    /// Log position at which the running call started: its checkpoints follow there after a crash.
    pub call_from: Option<u64>,
}

/// Entry of the action log.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAction {
    pub seq: u64,
    pub at: Millis,
    pub client: String,
    pub action: String,
    pub pipeline: Option<String>,
    pub detail: Option<Value>,
}

/// Row of a pipeline, which may be damaged.
pub struct PipelineRow {
    pub id: String,
    pub incarnation: u64,
    pub pipeline: Result<StoredPipeline, RowError>,
}

impl PipelineRow {
    /// Reads the document of a row.
    pub(super) fn read(id: String, incarnation: u64, document: &[u8]) -> Self {
        let pipeline = serde_json::from_slice::<StoredPipeline>(document).map_err(RowError::from);
        let fits = |it: &StoredPipeline| it.id == id && it.incarnation == incarnation;
        let pipeline = pipeline.and_then(|it| if fits(&it) { Ok(it) } else { Err(RowError::OtherId) });
        Self { id, incarnation, pipeline }
    }
}

/// Reason that a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("it has the data of another pipeline")]
    OtherId,
}

/// Row of a run that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedTask {
    pub id: String,
    pub number: u64,
}

/// Reads the document of a run. A damaged one is logged and counts as missing.
pub(super) fn read_task(id: &str, document: &[u8]) -> Option<Task> {
    let task = serde_json::from_slice(document);
    task.inspect_err(|error| tracing::error!(target: "service", "the run {id} cannot be read: {error}")).ok()
}

/// Serializes a document that can be read back.
pub(super) fn readable<T: serde::Serialize + serde::de::DeserializeOwned>(document: &T) -> Result<String, StoreError> {
    let text = serde_json::to_string(document)?;
    match serde_json::from_str::<T>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(StoreError::Unreadable(error.to_string())),
    }
}
