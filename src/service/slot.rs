//! Live pipeline of a service: its published state, its log and its notifications.

use crate::service::changes::ChangeList;
use crate::service::engines::Engines;
use crate::service::log::PipelineLog;
use crate::service::model::{Cursor, PipelineConfig, StoredPipeline, Task};
use crate::service::run_measures::RunMeasures;
use crate::service::secrets::{KnownSecrets, ReferenceError, References};
use crate::util::sys::{lock, now};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use synctop_core::protocol::SERVICE_EMITTER;
use synctop_core::protocol::{Status, time};
use synctop_core::reduce::Progress;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// Live state of a pipeline's run.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// Total checkpoints of the pipeline.
    pub checkpoints: u64,
    /// Task id of the run.
    pub task: Option<String>,
    /// State of that run; `None` if its log was not read since the service started.
    pub progress: Option<Arc<Progress>>,
    /// Log position that `progress` covers.
    pub position: u64,
    /// Facts of the run as the node that runs it has stored them.
    pub shared: Option<Arc<SharedRun>>,
}

/// Facts of a run on another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRun {
    /// Task id of the run.
    pub task: String,
    /// Finished streams of all streams, such as `3/7`.
    pub progress: Option<String>,
    /// Totals of the run.
    pub totals: Option<Value>,
}

impl RunFacts {
    /// Returns the state of the run with this task id.
    #[must_use]
    pub fn of(&self, task: Option<&String>) -> Option<&Arc<Progress>> {
        self.progress.as_ref().filter(|_| task.is_some() && self.task.as_ref() == task)
    }
}

/// Observation of a run on another node, shared by its readers; ends with the last one.
pub struct Observer(pub(super) AbortHandle);

impl Drop for Observer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Live pipeline: published state, log and notifications.
pub struct Slot {
    pub id: String,
    pub incarnation: u64,
    /// Last committed pipeline; `None` once deleted.
    pub status: watch::Sender<Option<Arc<StoredPipeline>>>,
    pub facts: watch::Sender<RunFacts>,
    pub log: PipelineLog,
    /// Notification of new live events.
    pub inputs: Notify,
    /// True once the service ends.
    ending: watch::Receiver<bool>,
    /// True while the reconciler has to stop at a safe point, because another node is to run the
    /// pipeline.
    pub(super) stopping: watch::Sender<bool>,
    /// Task of the reconciler on this node.
    pub(super) reconciler: Mutex<Option<AbortHandle>>,
    /// Held by the reconciler: a new one waits until an aborted one has gone.
    pub(super) running: tokio::sync::Mutex<()>,
    /// Id of the node that runs the pipeline, as this node last read it.
    pub(super) node: Mutex<Option<String>>,
    /// Version of the lease that was read last: an older reading changes nothing.
    pub(super) lease_version: AtomicU64,
    /// Observation of a run on another node.
    pub(super) observer: Mutex<Weak<Observer>>,
    /// True if the facts have changed since they were shared with other nodes.
    pub(super) has_new_facts: AtomicBool,
    /// Time of the last output of the engine; 0 if unknown.
    pub(super) moved_at: AtomicI64,
    /// Facts of the last finished run.
    pub(super) measures: Mutex<RunMeasures>,
    changes: Arc<ChangeList>,
    /// Held while a change is published: changes come from requests and from other nodes.
    publishing: Mutex<()>,
    /// Secrets of the configuration that was resolved last, and those before it.
    secrets: Mutex<Option<(Arc<PipelineConfig>, Arc<KnownSecrets>)>>,
}

impl Slot {
    /// Creates the view of a stored pipeline.
    pub(super) fn new(
        pipeline: Arc<StoredPipeline>,
        checkpoints: u64,
        log: PipelineLog,
        changes: Arc<ChangeList>,
        ending: watch::Receiver<bool>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: pipeline.id.clone(),
            incarnation: pipeline.incarnation,
            log,
            status: watch::channel(Some(pipeline)).0,
            facts: watch::channel(RunFacts { checkpoints, ..RunFacts::default() }).0,
            inputs: Notify::new(),
            ending,
            stopping: watch::channel(false).0,
            reconciler: Mutex::default(),
            running: tokio::sync::Mutex::default(),
            node: Mutex::default(),
            lease_version: AtomicU64::new(0),
            observer: Mutex::default(),
            has_new_facts: AtomicBool::new(false),
            moved_at: AtomicI64::new(0),
            measures: Mutex::default(),
            changes,
            publishing: Mutex::default(),
            secrets: Mutex::default(),
        })
    }

    /// Waits until the reconciler has to stop: the service ends, or another node is to run the
    /// pipeline.
    pub async fn ends(&self) {
        let (mut ending, mut stopping) = (self.ending.clone(), self.stopping.subscribe());
        tokio::select! {
            _ = ending.wait_for(|ending| *ending) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    /// True if a reconciler of this node has not ended.
    pub(super) fn has_reconciler(&self) -> bool {
        lock(&self.reconciler).as_ref().is_some_and(|task| !task.is_finished())
    }

    /// True if the reconciler has to stop.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        *self.ending.borrow() || *self.stopping.borrow()
    }

    /// Returns the fencing number of this node's lease; `None` if another node may run the pipeline.
    /// A service with one node has the number 0.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        match &self.log {
            PipelineLog::File(_) => Some(0),
            PipelineLog::Chunks(log) => log.fence(),
        }
    }

    /// Returns the configuration with resolved references, and its secrets.
    ///
    /// # Errors
    /// Returns the [`ReferenceError`] of the first reference that cannot be resolved.
    pub async fn resolved(
        &self,
        engines: &Engines,
        allowed: &References,
        pipeline: &StoredPipeline,
    ) -> Result<(Value, Arc<KnownSecrets>), ReferenceError> {
        let fields = engines.secret_fields(pipeline.config.engine());
        let config = pipeline.config.resolved(&pipeline.id, allowed, fields).await?;
        let mut known = KnownSecrets::of(&config, &pipeline.config.unresolved(&pipeline.id), fields);
        let mut kept = lock(&self.secrets);
        if let Some((_, before)) = &*kept {
            known = known.with(before);
        }
        let known = Arc::new(known);
        *kept = Some((Arc::clone(&pipeline.config), Arc::clone(&known)));
        Ok((config, known))
    }

    /// Returns the secrets of the pipeline, for answers that may contain them. Values that cannot be
    /// read now are unknown.
    pub async fn known_secrets(
        &self,
        engines: &Engines,
        allowed: &References,
        pipeline: &StoredPipeline,
    ) -> Arc<KnownSecrets> {
        if let Some((of, known)) = &*lock(&self.secrets)
            && Arc::ptr_eq(of, &pipeline.config)
        {
            return Arc::clone(known);
        }
        if let Ok((_, known)) = self.resolved(engines, allowed, pipeline).await {
            return known;
        }
        let config = pipeline.config.unresolved(&pipeline.id);
        let fields = engines.secret_fields(pipeline.config.engine());
        Arc::new(KnownSecrets::of(&config, &config, fields))
    }

    /// Returns the last committed pipeline; `None` once deleted.
    #[must_use]
    pub fn pipeline(&self) -> Option<Arc<StoredPipeline>> {
        self.status.borrow().clone()
    }

    /// Publishes a committed change: log, stderr and notifications. An earlier one than the published
    /// one changes nothing.
    pub(super) fn publish(&self, pipeline: Arc<StoredPipeline>) {
        let _publishing = lock(&self.publishing);
        let Some(before) = self.pipeline().filter(|before| before.revision < pipeline.revision) else { return };
        let before = &*before;
        if pipeline.runs > before.runs {
            self.log.begin_run(pipeline.runs);
        }
        if status_payload(before) != status_payload(&pipeline) {
            self.append_status(&pipeline);
            if self.fence().is_some() {
                log_change(before, &pipeline);
            }
        }
        self.status.send_if_modified(|published| {
            // A deletion is final.
            let is_there = published.is_some();
            if is_there {
                *published = Some(pipeline);
            }
            is_there
        });
        self.mark_changed();
    }

    /// Notes new facts of the run.
    pub fn note_facts(&self) {
        self.has_new_facts.store(true, Ordering::Relaxed);
        self.mark_changed();
    }

    /// Notes a visible change of the pipeline's entry in lists.
    pub fn mark_changed(&self) {
        self.changes.mark(&self.id);
    }

    /// Appends the status of the pipeline to its log, if this node runs it.
    pub(super) fn append_status(&self, pipeline: &StoredPipeline) {
        if self.fence().is_some() {
            self.append_line("pipeline", &status_payload(pipeline));
        }
    }

    /// Appends a line of the service to the log.
    pub fn append_line(&self, kind: &str, payload: &Value) {
        let line = line(kind, payload);
        if let Err(error) = self.log.append(line.as_bytes()) {
            tracing::error!(target: "service", "{}: the log cannot be written: {error}", self.id);
        }
    }

    /// Returns the cursor of the current end of the log.
    #[must_use]
    pub fn cursor(&self, pipeline: &StoredPipeline) -> Cursor {
        Cursor {
            incarnation: self.incarnation,
            revision: pipeline.revision,
            position: self.log.stored_end(),
            checkpoints: self.facts.borrow().checkpoints,
        }
    }
}

/// Logs a change on stderr.
fn log_change(before: &StoredPipeline, now: &StoredPipeline) {
    let id = &now.id;
    let (was, is) = (before.life.status().as_str(), now.life.status().as_str());
    match (&now.reason, &now.retry) {
        (Some(reason), _) if before.reason.as_ref() != Some(reason) => {
            tracing::warn!(target: "service", "{id}: {is}: {}; {}", reason.message, reason.next);
        }
        (_, Some(retry)) if before.retry.as_ref() != Some(retry) => {
            tracing::warn!(target: "service", "{id}: retries at {}: {}", time::iso(retry.at), retry.message);
        }
        _ if was != is => tracing::info!(target: "service", "{id}: {was} -> {is}"),
        _ => {}
    }
}

/// Returns the payload of a `pipeline` line: the status of a pipeline.
pub(super) fn status_payload(pipeline: &StoredPipeline) -> Value {
    json!({
        "id": pipeline.id,
        "desired_status": pipeline.life.desired.as_str(),
        "status": pipeline.life.status().as_str(),
        "reason": pipeline.reason.as_ref().map(super::model::ParkReason::body),
        "retry": pipeline.retry.as_ref().map(super::model::StoredRetry::body),
        "task_id": pipeline.task,
    })
}

/// Returns the payload of the last `pipeline` line of a deleted pipeline.
pub(super) fn deleted_payload(id: &str) -> Value {
    json!({"id": id, "desired_status": "deleted", "status": "deleted"})
}

/// Returns a log line of the service.
#[must_use]
pub fn line(kind: &str, payload: &Value) -> String {
    format!("{}\n", json!({"type": kind, kind: payload, "_emitted_by": SERVICE_EMITTER, "_ts": time::iso(now())}))
}

/// Returns finished streams of all streams, such as `3/7`.
#[must_use]
pub fn finished_streams(progress: &Progress) -> String {
    let finished = |status: Status| matches!(status, Status::Completed | Status::Skipped | Status::Errored);
    let done = progress.streams.iter().filter(|stream| finished(stream.status)).count();
    format!("{done}/{}", progress.streams.len())
}

/// Adds the current totals to an open run.
#[must_use]
pub fn live_task(slot: &Slot, mut task: Task) -> Task {
    if task.state.is_finished() {
        return task;
    }
    let facts = slot.facts.borrow();
    if let Some(progress) = facts.of(Some(&task.id)) {
        task.progress = Some(finished_streams(progress));
        task.so_far = Some(crate::service::totals::totals(progress));
    } else if let Some(shared) = facts.shared.as_ref().filter(|shared| shared.task == task.id) {
        task.progress.clone_from(&shared.progress);
        task.so_far.clone_from(&shared.totals);
    }
    drop(facts);
    task
}
