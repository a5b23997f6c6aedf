//! Submitted work with an end: a run of a pipeline, or a task of any API that a profile describes.
//! One invocation never submits twice.

use super::client::{Ask, Client, ClientError, WITHIN};
use super::contexts::ServiceAddress;
use super::follow;
use super::profile::Profile;
use crate::net::jitter;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::backoff::Backoff;
use synctop_core::fleet::task::{RemoteTask, TaskPhase};
use synctop_core::protocol::{mask, time};

/// Default polling interval and timeout of a task.
pub const INTERVAL: Duration = Duration::from_secs(15);
pub const TIMEOUT: Duration = Duration::from_secs(600);

/// Time without an answer after which a submission is ambiguous.
const SUBMIT: Duration = Duration::from_secs(60);

/// Past runs used for the expected duration.
const PAST: &str = "20";

/// Runs of a pipeline.
pub struct Runs {
    pub client: Arc<Client>,
    pub pipeline: String,
}

impl Runs {
    /// Holds until the pipeline is ready again, or cannot come to be so; where the service can.
    async fn hold(&self, pipeline: &str, time: Duration) -> Option<Result<bool, ClientError>> {
        let capabilities = self.client.capabilities().await.ok()?;
        if !capabilities.wait || pipeline.is_empty() {
            return None;
        }
        let ask = Ask { person: true, within: time + WITHIN, ..Ask::get(&["pipelines", pipeline, "wait"]) };
        let answer = self.client.ask(ask.with("for", "ready").with("timeout", time.as_secs_f64().to_string())).await;
        // Reached, or over in another way: parked or paused. Only its time being over is no news.
        Some(answer.map(|told| told.get("timed_out").and_then(Value::as_bool) != Some(true)))
    }
}

/// API of tasks.
pub enum TaskApi {
    Runs(Runs),
    Profile(Box<Profile>),
}

/// Result of a submission.
pub enum Submitted {
    Task(RemoteTask),
    Refused(ClientError),
    /// Ambiguous submission, sent so often with one key.
    Unknown(ClientError, u32),
}

/// Result of a poll.
pub enum Polled {
    Over(RemoteTask),
    /// The time is over, and the task may go on.
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

    /// Submits. Without an answer it is repeated only if a key makes it the same submission.
    pub async fn submit(&self, key: &str, within: Duration) -> Submitted {
        let begun = Instant::now();
        let mut pace = Backoff::default();
        let keyed = match self {
            Self::Runs(_) => true,
            Self::Profile(profile) => profile.keyed(),
        };
        let mut sent = 0;
        loop {
            sent += 1;
            let time = within.min(SUBMIT).saturating_sub(begun.elapsed()).max(Duration::from_millis(500));
            let answer = tokio::time::timeout(time, self.submit_once(key)).await;
            let trouble = match answer.unwrap_or(Err(ClientError::Silent(time))) {
                Ok(task) => return Submitted::Task(task),
                Err(trouble) => trouble,
            };
            if !trouble.is_retryable() {
                return Submitted::Refused(trouble);
            }
            let maybe = trouble.may_have_been_applied();
            let left = within.min(SUBMIT).saturating_sub(begun.elapsed());
            let late = trouble.retry_after().is_some_and(|asked| asked > left);
            if left.is_zero() || late || (maybe && !keyed) || matches!(trouble, ClientError::Odd(_)) {
                return if maybe { Submitted::Unknown(trouble, sent) } else { Submitted::Refused(trouble) };
            }
            if matches!(trouble, ClientError::Unreachable(_)) && begun.elapsed() > Duration::from_secs(3) {
                return Submitted::Refused(trouble);
            }
            tokio::time::sleep(pace.wait(trouble.retry_after(), Some(left), jitter())).await;
        }
    }

    async fn submit_once(&self, key: &str) -> Result<RemoteTask, ClientError> {
        match self {
            Self::Runs(runs) => {
                let mut ask =
                    Ask::of(Method::POST, &["pipelines", &runs.pipeline, "runs"]).header("idempotency-key", key);
                ask.body = Some(json!({}));
                run(runs.client.ask(ask).await?)
            }
            Self::Profile(profile) => profile.submit(key).await,
        }
    }

    /// Asks after a task once.
    ///
    /// # Errors
    /// Why nothing is known of it.
    pub async fn status(&self, id: &str) -> Result<RemoteTask, ClientError> {
        match self {
            Self::Runs(runs) => run(runs.client.ask(Ask { person: true, ..Ask::get(&["tasks", id]) }).await?),
            Self::Profile(profile) => profile.status(id).await,
        }
    }

    /// Durations of past tasks in milliseconds, or the profile's own expectation.
    ///
    /// # Errors
    /// If the pipeline does not exist. Other failures count as no past runs.
    pub async fn past(&self) -> Result<Vec<u64>, ClientError> {
        let Self::Runs(runs) = self else { return Ok(Vec::new()) };
        let ask = Ask { person: true, ..Ask::get(&["pipelines", &runs.pipeline, "runs"]) }.with("limit", PAST);
        let reply = match runs.client.ask(ask).await {
            Ok(reply) => reply,
            Err(trouble) if trouble.absent() => return Err(trouble),
            Err(_) => return Ok(Vec::new()),
        };
        let took = |run: &Value| {
            let at = |name: &str| time::parse(run.get(name)?.as_str()?);
            let done = run.get("status").and_then(Value::as_str) == Some("SUCCEEDED");
            done.then_some(())?;
            u64::try_from(at("ended_at")? - at("started_at")?).ok()
        };
        Ok(reply.get("data").and_then(Value::as_array).into_iter().flatten().filter_map(took).collect())
    }

    /// Polls until it is over, every `interval`; `tell` receives each answer or failure.
    pub async fn poll(
        &self,
        id: &str,
        submitted: Option<RemoteTask>,
        interval: Duration,
        timeout: Duration,
        mut tell: impl FnMut(Result<&RemoteTask, &ClientError>, u64),
    ) -> Polled {
        let begun = Instant::now();
        let left = || timeout.saturating_sub(begun.elapsed());
        let mut pace = Backoff::up_to(interval.max(Duration::from_secs(1)));
        let mut last = submitted;
        loop {
            let within = left().max(Duration::from_millis(200));
            let Ok(asked) = tokio::time::timeout(within, self.status(id)).await else { return Polled::NotYet(last) };
            let seconds = begun.elapsed().as_secs();
            let wait = match asked {
                Ok(task) => {
                    tell(Ok(&task), seconds);
                    if task.state.over() {
                        return Polled::Over(task);
                    }
                    last = Some(task);
                    pace.reset();
                    interval
                }
                // A task that cannot be polled may continue anyway.
                Err(trouble) if trouble.is_retryable() => {
                    tell(Err(&trouble), seconds);
                    let wait = pace.wait(trouble.retry_after(), None, jitter());
                    if left() <= wait {
                        return if last.is_some() { Polled::NotYet(last) } else { Polled::Failed(trouble) };
                    }
                    wait
                }
                Err(trouble) => return Polled::Failed(trouble),
            };
            if left().is_zero() || (wait >= left() && left() < Duration::from_millis(50)) {
                return Polled::NotYet(last);
            }
            let pipeline = last.as_ref().and_then(|task| task.told.get("pipeline_id")).and_then(Value::as_str);
            self.rest(id, pipeline.unwrap_or_default(), wait.min(left())).await;
            if left().is_zero() {
                return match self.status(id).await {
                    // Once more: it may just have come to its end.
                    Ok(task) if task.state.over() => {
                        tell(Ok(&task), begun.elapsed().as_secs());
                        Polled::Over(task)
                    }
                    Ok(task) => Polled::NotYet(Some(task)),
                    Err(_) => Polled::NotYet(last),
                };
            }
        }
    }

    /// Waits; where the API can hold a request until something happens, with that.
    async fn rest(&self, id: &str, pipeline: &str, wait: Duration) {
        let begun = Instant::now();
        let held = match self {
            Self::Runs(runs) => runs.hold(pipeline, wait).await,
            Self::Profile(profile) => profile.hold(id, wait.max(Duration::from_secs(1))).await,
        };
        // One that answers at once though nothing happened is not asked in a hurry.
        let floor = match held {
            Some(Ok(true)) => Duration::from_millis(500).min(wait),
            _ => wait,
        };
        tokio::time::sleep(floor.saturating_sub(begun.elapsed())).await;
    }

    /// The pipeline of a task, where that is parked now.
    pub async fn parked(&self, task: &RemoteTask) -> Option<String> {
        let Self::Runs(runs) = self else { return None };
        let pipeline = task.told.get("pipeline_id").and_then(Value::as_str).unwrap_or(&runs.pipeline);
        let told = runs.client.pipeline(pipeline, true).await.ok()?;
        (told.get("status").and_then(Value::as_str) == Some("error")).then(|| pipeline.to_owned())
    }

    /// Keeps the answer in `folder`: its file.
    ///
    /// # Errors
    /// Why it cannot be kept.
    pub fn save_answer(task: &RemoteTask, folder: &Path) -> Result<PathBuf, String> {
        let unwritten = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, error))?;
        let answer = folder.join("response.json");
        let pretty = serde_json::to_string_pretty(&task.told).unwrap_or_default();
        std::fs::write(&answer, pretty + "\n").map_err(|error| unwritten(&answer, error))?;
        Ok(answer)
    }

    /// Stores the result in `folder`: the answer, and the run's log or the result. Returns the
    /// files.
    ///
    /// # Errors
    /// Why it cannot be kept.
    pub async fn save(&self, task: &RemoteTask, folder: &Path) -> Result<Vec<PathBuf>, String> {
        let mut files = vec![Self::save_answer(task, folder)?];
        match self {
            Self::Runs(runs) => {
                let number = task.told.get("number").and_then(Value::as_u64);
                let pipeline = task.told.get("pipeline_id").and_then(Value::as_str).unwrap_or(&runs.pipeline);
                if let Some(number) = number {
                    let path = folder.join("run.ndjson");
                    let mut file =
                        std::fs::File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                    follow::saved(&runs.client, pipeline, number, &mut file)
                        .await
                        .map_err(|it| format!("the log of the run: {}", it.words()))?;
                    files.push(path);
                }
            }
            Self::Profile(profile) => files.extend(profile.fetch(task, folder).await?),
        }
        Ok(files)
    }
}

/// Run as reported by the service.
fn run(mut told: Value) -> Result<RemoteTask, ClientError> {
    mask::json(&mut told);
    let text = |path: &str| told.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let (Some(id), Some(word)) = (text("/task_id"), text("/status")) else {
        return Err(ClientError::Odd("its answer is no task".into()));
    };
    let state = match word.as_str() {
        "SUCCEEDED" => TaskPhase::Succeeded,
        "FAILED" | "CANCELED" => TaskPhase::Failed,
        "PENDING" => TaskPhase::Pending,
        _ => TaskPhase::Running,
    };
    // A run that left a stream out is not done: its errors show it.
    let outcome = text("/result/outcome");
    let state = if state == TaskPhase::Succeeded && outcome.as_deref() == Some("completed_with_errors") {
        TaskPhase::Failed
    } else {
        state
    };
    let first = text("/result/errors/0/message");
    let message = match (text("/message"), first) {
        // The error says more than the engine's word.
        (Some(message), Some(first)) if !message.contains(&first) => Some(format!("{message}: {first}")),
        (message, first) => message.or(first),
    };
    Ok(RemoteTask { id, state, progress: text("/progress"), fix: None, result_url: None, message, word, told })
}
