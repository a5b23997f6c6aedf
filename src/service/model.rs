//! Stored pipelines and runs, and the bodies of answers with them.

use crate::service::lifecycle::Life;
use crate::service::schedule::{Plan, Schedule, ScheduleConfig};
use crate::service::secrets;
use crate::util::sys::now;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use synctop_core::fleet::DesiredStatus;
use synctop_core::fleet::requests::Labels;
use synctop_core::fleet::wire::{LogBytes, PipelineBody, ReasonBody, RetryBody, TaskBody, TaskState, Trigger};
use synctop_core::protocol::Millis;

/// Stored pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPipeline {
    pub id: String,
    /// Incarnation of the name: differs after a deletion. Counted over all pipelines.
    pub incarnation: u64,
    pub created_at: Millis,
    pub updated_at: Millis,
    /// Number of changes; part of every [`Cursor`].
    pub revision: u64,
    pub life: Life,
    pub config: Arc<PipelineConfig>,
    /// Reason of parking, or of a failing teardown.
    pub reason: Option<ParkReason>,
    /// Next automatic retry after a failure.
    pub retry: Option<StoredRetry>,
    /// Task id of the open run.
    pub task: Option<String>,
    /// Task id of the last run, open or finished.
    pub last: Option<String>,
    /// Run id that is sent to the engine; `None` if the next run gets a new one.
    pub run_id: Option<String>,
    /// Number of runs so far.
    pub runs: u64,
    /// Plan of its schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// End of the last run that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Millis>,
}

/// Requested configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PipelineConfig {
    pub source: Value,
    pub destination: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Value>,
    /// Labels of the nodes that may run it; none for all nodes.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub requires: Labels,
    /// Schedule of its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleConfig>,
}

/// Reason of a parked pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParkReason {
    /// Error message with secrets masked.
    pub message: String,
    pub failure_type: Option<String>,
    /// Failed stream; `None` if the error concerns the entire pipeline.
    pub stream: Option<String>,
    /// Hash of the message without its particulars: equal for errors that differ only in numbers,
    /// ids and names.
    pub fingerprint: String,
    pub since: Millis,
    /// Next step for an operator.
    pub next: String,
}

/// Next retry: its time, the number of consecutive failures, and the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredRetry {
    /// Planned time by the clock, for display.
    pub at: Millis,
    /// Delay in milliseconds, by which it is waited: the clock may be set.
    #[serde(default)]
    pub wait_ms: Option<u64>,
    pub attempt: u32,
    pub message: String,
}

/// Requested limits of each call of a run; `None` selects the engine's limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CallLimits {
    /// Maximum duration in seconds.
    pub time_limit: Option<f64>,
    /// Maximum number of checkpoints.
    pub state_limit: Option<u64>,
}

/// Stored run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: String,
    pub pipeline: String,
    pub incarnation: u64,
    /// Number among the pipeline's runs, from 1.
    pub number: u64,
    pub trigger: Trigger,
    pub state: TaskState,
    pub created_at: Millis,
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
    /// Run id that is sent to the engine.
    pub run_id: String,
    #[serde(default)]
    pub limits: CallLimits,
    /// True if the run discards the stored state and reads from the start.
    #[serde(default)]
    pub reset: bool,
    /// True once cancellation was requested.
    #[serde(default)]
    pub cancel: bool,
    /// Start and end of the run's messages in the pipeline's log; no end while the run is open.
    pub log: (u64, Option<u64>),
    /// True if the pipeline was ready before the run: cancellation makes it ready again.
    #[serde(default)]
    pub was_ready: bool,
    /// Checkpoints of the pipeline before this run.
    #[serde(default)]
    pub checkpoints_before: u64,
    pub calls: u64,
    /// Finished streams of all streams, such as `3/7`.
    pub progress: Option<String>,
    pub message: Option<String>,
    pub result: Option<Value>,
    /// Current totals of an open run; not stored.
    #[serde(skip)]
    pub so_far: Option<Value>,
}

/// Position in the events of a pipeline: incarnation, revision, log position and checkpoints.
/// Opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub incarnation: u64,
    pub revision: u64,
    pub position: u64,
    pub checkpoints: u64,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:x}-{:x}-{:x}", self.incarnation, self.revision, self.position, self.checkpoints)
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-').map(|part| u64::from_str_radix(part, 16).map_err(|_| ()));
        let mut next = || parts.next().unwrap_or(Err(()));
        let cursor = Self { incarnation: next()?, revision: next()?, position: next()?, checkpoints: next()? };
        if parts.next().is_some() { Err(()) } else { Ok(cursor) }
    }
}

impl PipelineConfig {
    /// Returns the name of the engine.
    #[must_use]
    pub fn engine(&self) -> &str {
        self.source.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the labels of the nodes that may run it, such as `region=eu`, in order.
    #[must_use]
    pub fn required_labels(&self) -> Vec<String> {
        self.requires.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Returns the configuration as one JSON object, with unresolved references.
    #[must_use]
    pub fn unresolved(&self, id: &str) -> Value {
        let mut all = json!({"id": id, "source": self.source, "destination": self.destination});
        if let Some(all) = all.as_object_mut() {
            all.extend(self.streams.clone().map(|streams| ("streams".to_owned(), streams)));
        }
        all
    }

    /// Returns the configuration for an engine, with resolved references. `fields` are those that
    /// the engine declares as secret.
    ///
    /// # Errors
    /// Returns the [`ReferenceError`](secrets::ReferenceError) of the first reference that cannot
    /// be resolved.
    pub async fn resolved(
        &self,
        id: &str,
        allowed: &secrets::References,
        fields: &[String],
    ) -> Result<Value, secrets::ReferenceError> {
        secrets::resolve(self.unresolved(id), allowed, fields).await
    }
}

impl StoredPipeline {
    /// Creates a pipeline in its initial state, with desired state active.
    #[must_use]
    pub fn new(id: String, config: PipelineConfig) -> Self {
        let at = now();
        Self {
            id,
            incarnation: 0,
            created_at: at,
            updated_at: at,
            revision: 1,
            life: Life::default(),
            config: Arc::new(config),
            reason: None,
            retry: None,
            task: None,
            last: None,
            run_id: None,
            runs: 0,
            plan: None,
            last_success: None,
        }
    }

    /// Returns the schedule and its plan.
    #[must_use]
    pub fn schedule(&self) -> Option<(Schedule, Plan)> {
        let schedule = self.config.schedule.as_ref()?.read().ok()?;
        Some((schedule, self.plan?))
    }

    /// Returns the time at which it is late, unless a run succeeds before; `None` without a schedule,
    /// and while it is paused.
    #[must_use]
    pub fn late_at(&self) -> Option<Millis> {
        let (schedule, plan) = self.config.schedule.as_ref().zip(self.plan)?;
        Some(plan.late_at(schedule.late_after())).filter(|_| self.life.desired == DesiredStatus::Active)
    }

    /// Plans the schedule of the configuration from now on.
    pub fn plan_schedule(&mut self, now: Millis) {
        let schedule = self.config.schedule.as_ref().and_then(|schedule| schedule.read().ok());
        self.plan = schedule.and_then(|schedule| schedule.plan(now));
    }

    /// True if live events need a signature with the pipeline's secret.
    #[must_use]
    pub fn signs_events(&self) -> bool {
        self.config.source.get(self.config.engine()).is_some_and(|it| it.get("webhook_secret").is_some())
    }

    /// Returns the body of an answer, with secrets masked. `state` is the last one that the engine
    /// returned, `known` are the pipeline's secrets, and `fields` are those that its engine declares.
    #[must_use]
    pub fn body(
        &self,
        state: Option<&str>,
        known: &secrets::KnownSecrets,
        fields: &[String],
        task: Option<&Task>,
        cursor: Cursor,
    ) -> PipelineBody<Value, Value> {
        let PipelineConfig { source, destination, streams, requires, schedule } = self.config.as_ref().clone();
        let planned = self.schedule();
        let masked = |mut value: Value| {
            secrets::mask_config(&mut value, fields);
            value
        };
        // A retry whose time has passed is already in progress.
        let retry = self.retry.as_ref().filter(|retry| retry.at > now());
        PipelineBody {
            id: Some(self.id.as_str().into()),
            source: Some(masked(source)),
            destination: Some(masked(destination)),
            streams: streams.map(masked),
            requires: (!requires.is_empty()).then(|| json!(requires)),
            schedule: schedule.map(|schedule| json!(schedule)),
            next_run_at: planned.as_ref().map(|(schedule, plan)| schedule.next_begin(&self.id, *plan)),
            unassigned: None,
            late_at: self.late_at(),
            node: None,
            desired_status: Some(self.life.desired.as_str().into()),
            status: Some(self.life.status().as_str().into()),
            sync_state: state.and_then(|state| serde_json::from_str(&known.mask_values(state)).ok()).map(masked),
            created_at: Some(self.created_at),
            updated_at: Some(self.updated_at),
            revision: Some(self.revision),
            cursor: Some(cursor.to_string().into()),
            reason: self.reason.as_ref().map(ParkReason::body),
            retry: retry.map(StoredRetry::body),
            run: task.map(Task::body),
        }
    }
}

impl ParkReason {
    /// Returns the body of an answer.
    #[must_use]
    pub fn body(&self) -> ReasonBody {
        ReasonBody {
            message: Some(self.message.as_str().into()),
            failure_type: self.failure_type.as_deref().map(Into::into),
            stream: self.stream.as_deref().map(Into::into),
            fingerprint: Some(self.fingerprint.as_str().into()),
            since: Some(self.since),
            next: Some(self.next.as_str().into()),
        }
    }
}

impl StoredRetry {
    /// Plans a retry after a delay.
    #[must_use]
    pub fn after(wait: std::time::Duration, attempt: u32, message: String) -> Self {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let at = now().saturating_add(Millis::try_from(wait_ms).unwrap_or(Millis::MAX));
        Self { at, wait_ms: Some(wait_ms), attempt, message }
    }

    /// Returns the body of an answer.
    #[must_use]
    pub fn body(&self) -> RetryBody {
        RetryBody { at: Some(self.at), attempt: Some(self.attempt.into()), message: Some(self.message.as_str().into()) }
    }
}

impl Task {
    /// True if the pipeline becomes ready again when this run is canceled: it was ready before, and
    /// the run did not discard its state.
    #[must_use]
    pub fn ready_if_canceled(&self) -> bool {
        self.was_ready && !self.reset
    }

    /// Cancels the run because its pipeline is deleted. `log` is the end of its log.
    pub fn cancel_for_deletion(&mut self, log: u64) {
        self.state = TaskState::Canceled;
        self.ended_at = Some(now());
        self.log.1 = Some(log);
        self.message = Some("the pipeline was deleted".into());
    }

    /// Returns the body of an answer.
    #[must_use]
    pub fn body(&self) -> TaskBody<Value> {
        TaskBody {
            task_id: Some(self.id.as_str().into()),
            pipeline_id: Some(self.pipeline.as_str().into()),
            number: Some(self.number),
            trigger: Some(self.trigger),
            status: Some(self.state.as_str().into()),
            progress: self.progress.as_deref().map(Into::into),
            message: self.message.as_deref().map(Into::into),
            result: self.result.clone(),
            run_id: Some(self.run_id.as_str().into()),
            calls: Some(self.calls),
            cancel_requested: Some(self.cancel),
            created_at: Some(self.created_at),
            started_at: self.started_at,
            ended_at: self.ended_at,
            log: Some(LogBytes { from: self.log.0, to: self.log.1 }),
            so_far: self.so_far.clone(),
            cursor: None,
        }
    }
}
