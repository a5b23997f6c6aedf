//! Tasks: a run of a pipeline, or a task of any API that a profile describes. A submission is
//! repeated only if that cannot create a second task.

use crate::net::client::contexts::ServiceAddress;
use crate::net::client::follow;
use crate::net::client::http::{Client, ClientError, REQUEST_TIMEOUT, ServiceRequest};
use crate::net::client::task_profile::{Profile, SaveError};
use crate::util::sys::jitter;
use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::backoff::Backoff;
use synctop_core::fleet::PipelineStatus;
use synctop_core::fleet::requests::StartRun;
use synctop_core::fleet::task::{RemoteTask, TaskPhase};
use synctop_core::fleet::wire::{Page, PipelineBody, RunTotals, TaskBody, TaskState, WaitBody};
use synctop_core::protocol::mask;
use synctop_core::reduce::Outcome;

/// Default polling interval of a task.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// Default timeout of a task.
pub const TIMEOUT: Duration = Duration::from_secs(600);

/// Maximum time for submitting, with repetitions.
const SUBMIT: Duration = Duration::from_secs(60);

/// Maximum past runs that are used for the expected duration.
const PAST_RUNS: &str = "20";

/// Runs of one pipeline as tasks.
pub struct Runs {
    pub client: Arc<Client>,
    pub pipeline: String,
}

impl Runs {
    /// Long-polls the service until the pipeline is ready or cannot become ready, for at most
    /// `time`. Returns `None` if the service has no `/wait`, and `false` if the poll timed out.
    async fn hold(&self, pipeline: &str, time: Duration) -> Option<Result<bool, ClientError>> {
        let capabilities = self.client.capabilities().await.ok()?;
        if !capabilities.wait || pipeline.is_empty() {
            return None;
        }
        let ask = ServiceRequest {
            person: true,
            within: time + REQUEST_TIMEOUT,
            ..ServiceRequest::get(&["pipelines", pipeline, "wait"])
        };
        let answer = self.client.ask(ask.with("for", "ready").with("timeout", time.as_secs_f64().to_string())).await;
        // Ready, parked or paused is a change; only a timeout is none.
        Some(answer.map(|told| WaitBody::deserialize(&told).ok().and_then(|body| body.timed_out) != Some(true)))
    }
}

/// API that runs tasks.
pub enum TaskApi {
    Runs(Runs),
    Profile(Box<Profile>),
}

/// Result of a submission.
pub enum Submitted {
    Task(RemoteTask),
    Refused(ClientError),
    /// Ambiguous submission, and the number of requests sent with the same key.
    Unknown(ClientError, u32),
}

/// Result of polling.
pub enum Polled {
    Over(RemoteTask),
    /// The timeout is over; the task may still run.
    NotYet(Option<RemoteTask>),
    Failed(ClientError),
}

impl TaskApi {
    #[must_use]
    pub fn place(&self) -> &ServiceAddress {
        match self {
            Self::Runs(runs) => &runs.client.place,
            Self::Profile(profile) => &profile.client.place,
        }
    }

    /// Submits a task, for at most `within`. A request without an answer is repeated only if an
    /// idempotency key makes it the same submission.
    pub async fn submit(&self, key: &str, within: Duration) -> Submitted {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        let has_idempotency_key = match self {
            Self::Runs(_) => true,
            Self::Profile(profile) => profile.has_idempotency_key(),
        };
        let mut sent = 0;
        loop {
            sent += 1;
            let time = within.min(SUBMIT).saturating_sub(started.elapsed()).max(Duration::from_millis(500));
            let answer = tokio::time::timeout(time, self.submit_once(key)).await;
            let client_error = match answer.unwrap_or(Err(ClientError::Silent(time))) {
                Ok(task) => return Submitted::Task(task),
                Err(client_error) => client_error,
            };
            if !client_error.is_retryable() {
                return Submitted::Refused(client_error);
            }
            let maybe = client_error.may_have_been_applied();
            let left = within.min(SUBMIT).saturating_sub(started.elapsed());
            let late = client_error.retry_after().is_some_and(|asked| asked > left);
            if left.is_zero() || late || (maybe && !has_idempotency_key) || matches!(client_error, ClientError::Odd(_))
            {
                return if maybe { Submitted::Unknown(client_error, sent) } else { Submitted::Refused(client_error) };
            }
            if matches!(client_error, ClientError::Unreachable(_)) && started.elapsed() > Duration::from_secs(3) {
                return Submitted::Refused(client_error);
            }
            tokio::time::sleep(backoff.wait(client_error.retry_after(), Some(left), jitter())).await;
        }
    }

    async fn submit_once(&self, key: &str) -> Result<RemoteTask, ClientError> {
        match self {
            Self::Runs(runs) => {
                let mut ask = ServiceRequest::of(Method::POST, &["pipelines", &runs.pipeline, "runs"])
                    .header("idempotency-key", key);
                ask.body = Some(json!(StartRun::default()));
                parse_run(runs.client.ask(ask).await?)
            }
            Self::Profile(profile) => profile.submit(key).await,
        }
    }

    /// Reads the state of a task once.
    ///
    /// # Errors
    /// Returns the request's error, or [`ClientError::Odd`] if the response is no task.
    pub async fn status(&self, id: &str) -> Result<RemoteTask, ClientError> {
        match self {
            Self::Runs(runs) => parse_run(
                runs.client.ask(ServiceRequest { person: true, ..ServiceRequest::get(&["tasks", id]) }).await?,
            ),
            Self::Profile(profile) => profile.status(id).await,
        }
    }

    /// Returns the durations of past successful runs in milliseconds; none for a profile.
    ///
    /// # Errors
    /// Returns the refusal if the pipeline does not exist. Other failures count as no past runs.
    pub async fn past(&self) -> Result<Vec<u64>, ClientError> {
        let Self::Runs(runs) = self else { return Ok(Vec::new()) };
        let ask = ServiceRequest { person: true, ..ServiceRequest::get(&["pipelines", &runs.pipeline, "runs"]) }
            .with("limit", PAST_RUNS);
        let reply = match runs.client.ask(ask).await {
            Ok(reply) => reply,
            Err(client_error) if client_error.absent() => return Err(client_error),
            Err(_) => return Ok(Vec::new()),
        };
        let runs = Page::<TaskBody<IgnoredAny>>::deserialize(&reply).map(|page| page.data).unwrap_or_default();
        let took = |run: TaskBody<IgnoredAny>| {
            let done = run.status.as_deref() == Some(TaskState::Succeeded.as_str());
            done.then_some(())?;
            u64::try_from(run.ended_at? - run.started_at?).ok()
        };
        Ok(runs.into_iter().filter_map(took).collect())
    }

    /// Polls a task every `interval` until it ends or the timeout is over. `emit` receives each
    /// state or error, and the elapsed seconds.
    pub async fn poll(
        &self,
        id: &str,
        submitted: Option<RemoteTask>,
        interval: Duration,
        timeout: Duration,
        mut emit: impl FnMut(Result<&RemoteTask, &ClientError>, u64),
    ) -> Polled {
        let started = Instant::now();
        let left = || timeout.saturating_sub(started.elapsed());
        let mut backoff = Backoff::with_max_delay(interval.max(Duration::from_secs(1)));
        let mut last = submitted;
        loop {
            let within = left().max(Duration::from_millis(200));
            let Ok(asked) = tokio::time::timeout(within, self.status(id)).await else { return Polled::NotYet(last) };
            let seconds = started.elapsed().as_secs();
            let wait = match asked {
                Ok(task) => {
                    emit(Ok(&task), seconds);
                    if task.state.is_finished() {
                        return Polled::Over(task);
                    }
                    last = Some(task);
                    backoff.reset();
                    interval
                }
                // The task may continue although polling fails.
                Err(client_error) if client_error.is_retryable() => {
                    emit(Err(&client_error), seconds);
                    let wait = backoff.wait(client_error.retry_after(), None, jitter());
                    if left() <= wait {
                        return if last.is_some() { Polled::NotYet(last) } else { Polled::Failed(client_error) };
                    }
                    wait
                }
                Err(client_error) => return Polled::Failed(client_error),
            };
            if left().is_zero() || (wait >= left() && left() < Duration::from_millis(50)) {
                return Polled::NotYet(last);
            }
            let pipeline = last.as_ref().and_then(RemoteTask::pipeline);
            self.wait_for_change(id, pipeline.unwrap_or_default(), wait.min(left())).await;
            if left().is_zero() {
                return match self.status(id).await {
                    // Read a last time: the task may just have ended.
                    Ok(task) if task.state.is_finished() => {
                        emit(Ok(&task), started.elapsed().as_secs());
                        Polled::Over(task)
                    }
                    Ok(task) => Polled::NotYet(Some(task)),
                    Err(_) => Polled::NotYet(last),
                };
            }
        }
    }

    /// Waits until the next poll: with a long poll if the API supports it, otherwise by sleeping.
    async fn wait_for_change(&self, id: &str, pipeline: &str, wait: Duration) {
        let started = Instant::now();
        let held = match self {
            Self::Runs(runs) => runs.hold(pipeline, wait).await,
            Self::Profile(profile) => profile.hold(id, wait.max(Duration::from_secs(1))).await,
        };
        // An immediate answer without a change is no long poll: wait the full interval.
        let floor = match held {
            Some(Ok(true)) => Duration::from_millis(500).min(wait),
            _ => wait,
        };
        tokio::time::sleep(floor.saturating_sub(started.elapsed())).await;
    }

    /// Returns the pipeline of a task if it is parked now.
    pub async fn parked(&self, task: &RemoteTask) -> Option<String> {
        let Self::Runs(runs) = self else { return None };
        let pipeline = task.pipeline().unwrap_or(&runs.pipeline);
        let told = runs.client.pipeline(pipeline, true).await.ok()?;
        let body = PipelineBody::<IgnoredAny, IgnoredAny>::deserialize(&told).ok()?;
        (body.status.as_deref() == Some(PipelineStatus::Error.as_str())).then(|| pipeline.to_owned())
    }

    /// Stores the last response as `response.json` in `folder` and returns its path.
    ///
    /// # Errors
    /// Returns the reason if the file cannot be written.
    pub fn save_answer(task: &RemoteTask, folder: &Path) -> Result<PathBuf, SaveError> {
        let unwritten = |path: &Path, error: std::io::Error| SaveError::write(path, &error);
        std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, error))?;
        let answer = folder.join("response.json");
        let pretty = serde_json::to_string_pretty(&task.told).unwrap_or_default();
        std::fs::write(&answer, pretty + "\n").map_err(|error| unwritten(&answer, error))?;
        Ok(answer)
    }

    /// Stores the last response and the run's log or the result in `folder`. Returns the paths.
    ///
    /// # Errors
    /// Returns the reason if a file cannot be downloaded or written.
    pub async fn save(&self, task: &RemoteTask, folder: &Path) -> Result<Vec<PathBuf>, SaveError> {
        let mut files = vec![Self::save_answer(task, folder)?];
        match self {
            Self::Runs(runs) => {
                let number = task.run.as_ref().and_then(|run| run.number);
                let pipeline = task.pipeline().unwrap_or(&runs.pipeline);
                if let Some(number) = number {
                    let path = folder.join("run.ndjson");
                    let mut file = std::fs::File::create(&path).map_err(|error| SaveError::write(&path, &error))?;
                    follow::saved(&runs.client, pipeline, number, &mut file).await.map_err(SaveError::Log)?;
                    files.push(path);
                }
            }
            Self::Profile(profile) => files.extend(profile.fetch(task, folder).await?),
        }
        Ok(files)
    }
}

/// Reads a task from a run as the service reports it.
fn parse_run(mut told: Value) -> Result<RemoteTask, ClientError> {
    mask::json(&mut told);
    let body = TaskBody::<RunTotals>::deserialize(&told).ok();
    let Some((body, id, word)) = body.and_then(|body| {
        let (id, word) = (body.task_id.clone()?, body.status.clone()?);
        Some((body, id, word))
    }) else {
        return Err(ClientError::Odd("its answer is no task".into()));
    };
    let totals = body.result.as_ref();
    // A run with failed streams did not do all of its work: it counts as failed.
    let has_errors = totals.and_then(|totals| totals.outcome.as_deref()) == Some(Outcome::CompletedWithErrors.as_str());
    let state = match word.parse() {
        Ok(TaskState::Succeeded) if !has_errors => TaskPhase::Succeeded,
        Ok(TaskState::Succeeded | TaskState::Failed | TaskState::Canceled) => TaskPhase::Failed,
        Ok(TaskState::Pending) => TaskPhase::Pending,
        Ok(TaskState::Running) | Err(_) => TaskPhase::Running,
    };
    let first = totals.and_then(|totals| totals.errors.first()?.message.clone());
    let message = match (body.message.as_deref(), first.as_deref()) {
        // The first error is more specific than the run's message: show both.
        (Some(message), Some(first)) if !message.contains(first) => Some(format!("{message}: {first}")),
        (message, first) => message.or(first).map(str::to_owned),
    };
    Ok(RemoteTask {
        id: id.to_string(),
        state,
        progress: body.progress.as_deref().map(str::to_owned),
        fix: None,
        result_url: None,
        message,
        word: word.to_string(),
        run: Some(Box::new(body)),
        told,
    })
}
