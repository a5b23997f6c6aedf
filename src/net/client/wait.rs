//! Waits for a condition: long-polls `/wait` if the service supports it, otherwise polls with
//! exponential backoff.

use crate::net::client::http::{Capabilities, Client, ClientError, REQUEST_TIMEOUT, ServiceRequest};
use crate::util::sys::{jitter, now};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::backoff::Backoff;
use synctop_core::fleet::condition::{Condition, Holds};
use synctop_core::fleet::wire::WaitBody;
use synctop_core::fleet::{Fleet, Pipeline, Watched};
use synctop_core::protocol::time;

/// Maximum duration of one long poll.
const MAX_LONG_POLL: Duration = Duration::from_secs(25);

/// Minimum timeout of a request.
const MIN_REQUEST_TIMEOUT: Duration = Duration::from_millis(500);

/// Minimum duration of a real long poll. A service that answers sooner is polled with backoff.
const MIN_LONG_POLL: Duration = Duration::from_millis(200);

/// Time for which a service that never answered is retried.
const FIRST_CONTACT_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of a wait.
#[derive(Debug, Clone)]
pub struct WaitOptions {
    pub conditions: Vec<Condition>,
    /// True if one of the conditions is enough.
    pub any: bool,
    /// Timeout of all targets together. `None` waits forever; zero checks once.
    pub timeout: Option<Duration>,
    /// Time without progress after which the wait ends.
    pub stall: Option<Duration>,
    /// Maximum time until a pipeline exists.
    pub create_within: Duration,
    /// Cursor up to which events are ignored.
    pub after: Option<String>,
}

/// Result of a wait.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitResult {
    Reached,
    /// The pipeline is in another final state: the condition will not hold without an action.
    EndedElsewhere,
    TimedOut,
    /// No progress for this duration.
    Stalled(Duration),
    /// The pipeline does not exist.
    Absent,
    Failed(ClientError),
    /// The user interrupted the wait.
    Detached,
}

/// Result of the wait for one pipeline, with its last state.
#[derive(Debug, Clone)]
pub struct Waited {
    pub target: String,
    pub result: WaitResult,
    pub last: Option<Pipeline>,
    pub waited: Duration,
    /// True if the pipeline is parked although its service does not report that.
    pub inferred: bool,
    /// Existing streams, if a condition names a stream that does not exist.
    pub streams: Option<Vec<String>>,
}

impl Waited {
    /// Returns the doubts about the last run, as sentences.
    #[must_use]
    pub fn doubts(&self) -> &[Arc<str>] {
        self.last.as_ref().map(|it| it.found.doubts.as_slice()).unwrap_or_default()
    }

    /// Returns the class of this result; `strict`: a doubt counts as a failure.
    #[must_use]
    pub fn class(&self, strict: bool) -> ResultClass {
        match &self.result {
            WaitResult::Reached if strict && !self.doubts().is_empty() => ResultClass::Failed,
            WaitResult::Reached => ResultClass::Done,
            WaitResult::EndedElsewhere => ResultClass::Failed,
            WaitResult::TimedOut | WaitResult::Stalled(_) => ResultClass::Unfinished,
            WaitResult::Absent => ResultClass::NotFound,
            WaitResult::Failed(client_error) => client_error.class(),
            WaitResult::Detached => ResultClass::Interrupted,
        }
    }

    /// Returns the cursor from which another wait can continue.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.last.as_ref().and_then(|it| it.cursor.as_deref())
    }

    /// Returns the JSON for stdout: the fields of the service's `/wait`, and more. Every result has
    /// the same fields.
    #[must_use]
    pub fn json(&self, options: &WaitOptions, resume_hint: Option<&str>) -> Value {
        let last = self.last.as_ref();
        let fault = last.and_then(|it| it.reason.as_ref().or(it.faults.first()));
        let conditions: Vec<_> = options.conditions.iter().map(ToString::to_string).collect();
        json!({
            "id": self.target, "target": self.target, "for": conditions.join(if options.any { " or " } else { " and " }),
            "status": last.map(|it| it.status.as_str()), "desired_status": last.map(|it| it.desired.as_str()),
            "reached": self.result == WaitResult::Reached,
            "timed_out": matches!(self.result, WaitResult::TimedOut | WaitResult::Stalled(_)), "stalled": matches!(self.result, WaitResult::Stalled(_)),
            "reason": fault.map(|it| json!({
                "message": it.message, "failure_type": it.failure_type, "next": it.next, "since": it.since.map(time::iso),
            })),
            "doubts": self.doubts(),
            "fingerprint": fault.map(|it| it.fingerprint.as_ref()), "parked_inferred": self.inferred,
            "retry": last.and_then(|it| it.retry.as_ref()).map(|it| json!({
                "at": it.at.map(time::iso), "attempt": it.attempt, "message": it.message,
            })),
            "error": match &self.result {
                WaitResult::Failed(client_error) => client_error.to_string().into(),
                WaitResult::Absent => format!("there is no pipeline {}", self.target).into(),
                _ => Value::Null,
            },
            "timeout": options.timeout.map(|it| it.as_secs_f64()),
            "waited_ms": u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX), "streams": self.streams,
            "cursor": self.cursor(), "resume_hint": resume_hint,
        })
    }
}

/// Progress report of a wait.
pub enum WaitReport<'a> {
    /// The pipeline changed, or its service answers again.
    Seen(&'a Pipeline),
    /// The service does not answer; reported once per outage.
    Silent(&'a ClientError),
}

/// Waits for one pipeline; `emit` receives progress reports.
pub async fn wait(
    client: Arc<Client>,
    target: String,
    options: WaitOptions,
    deadline: Option<Instant>,
    mut emit: impl FnMut(WaitReport),
) -> Waited {
    let started = Instant::now();
    let mut waited = Waited {
        target: target.clone(),
        result: WaitResult::TimedOut,
        last: None,
        waited: Duration::ZERO,
        inferred: false,
        streams: None,
    };
    let (mut backoff, mut told) = (Backoff::default(), false);
    let capabilities = loop {
        let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        let within = left.map_or(REQUEST_TIMEOUT, |left| left.clamp(MIN_REQUEST_TIMEOUT, REQUEST_TIMEOUT));
        let asked =
            tokio::time::timeout(within, client.capabilities()).await.unwrap_or(Err(ClientError::Silent(within)));
        let client_error = match asked {
            Ok(capabilities) => break capabilities,
            Err(client_error) => client_error,
        };
        // A service that never answered may have a wrong address: retry for a few seconds only.
        let given_up =
            !matches!(client_error, ClientError::Refused { .. }) && started.elapsed() > FIRST_CONTACT_TIMEOUT;
        let once = options.timeout == Some(Duration::ZERO);
        if once || given_up || !client_error.is_retryable() || left.is_some_and(|left| left.is_zero()) {
            (waited.result, waited.waited) = (WaitResult::Failed(client_error), started.elapsed());
            return waited;
        }
        if !std::mem::replace(&mut told, true) {
            emit(WaitReport::Silent(&client_error));
        }
        tokio::time::sleep(backoff.wait(client_error.retry_after(), left, jitter())).await;
    };
    let mut one = PipelineWait {
        client,
        options,
        capabilities,
        fleet: Fleet::default(),
        known: None,
        streams: None,
        started,
        deadline,
    };
    waited.result = one.go(&target, &mut emit).await;
    let watched = one.fleet.pipelines.get(target.as_str());
    waited.inferred = watched.is_some_and(|it| it.is_parking_inferred(now()));
    waited.last = watched.map(|it| it.pipeline.clone());
    waited.streams = one.streams;
    waited.waited = started.elapsed();
    waited
}

/// State of the wait for one pipeline.
struct PipelineWait {
    client: Arc<Client>,
    options: WaitOptions,
    capabilities: Capabilities,
    fleet: Fleet,
    /// Current run, and its checkpoints at the start of the wait (zero for a later run).
    known: Option<(String, u64)>,
    /// Existing streams, if a condition names a stream that does not exist.
    streams: Option<Vec<String>>,
    started: Instant,
    deadline: Option<Instant>,
}

impl PipelineWait {
    async fn go(&mut self, id: &str, emit: &mut impl FnMut(WaitReport)) -> WaitResult {
        let mut backoff = Backoff::default();
        let mut moved = Instant::now();
        let mut evidence = None;
        let once = self.options.timeout == Some(Duration::ZERO);
        let mut existed = false;
        let (mut answered_at, mut silent) = (self.started, false);
        loop {
            let over = once || self.deadline.is_some_and(|it| Instant::now() >= it);
            let mut client_error = None;
            match self.look(id).await {
                Ok(()) => {
                    existed = true;
                    answered_at = Instant::now();
                    if std::mem::take(&mut silent) {
                        evidence = None;
                    }
                    let Some(watched) = self.fleet.pipelines.get(id).cloned() else { continue };
                    let here = Some(format!("{:?} {}", watched.pipeline.evidence(), watched.pipeline.status.as_str()));
                    if here != evidence {
                        emit(WaitReport::Seen(&watched.pipeline));
                        backoff.reset();
                        (moved, evidence) = (Instant::now(), here);
                    }
                    match self.evaluate(Some(&watched)).await {
                        Ok(Holds::Yes) => return WaitResult::Reached,
                        Ok(Holds::Never) => return WaitResult::EndedElsewhere,
                        Ok(Holds::NotYet) => {}
                        // The pipeline was deleted meanwhile: the next read handles it.
                        Err(found) if found.absent() => {}
                        Err(found) => client_error = Some(found),
                    }
                }
                Err(found) if found.absent() => {
                    self.fleet.remove(id);
                    if self.evaluate(None).await == Ok(Holds::Yes) {
                        return WaitResult::Reached;
                    }
                    // The pipeline existed and was deleted.
                    if existed {
                        return WaitResult::EndedElsewhere;
                    }
                    let created = self.options.conditions.contains(&Condition::Created);
                    if !created && self.started.elapsed() >= self.options.create_within {
                        return WaitResult::Absent;
                    }
                    moved = Instant::now();
                }
                Err(found) => client_error = Some(found),
            }
            // At the deadline, a service that has not answered lately is a failure. If it answered
            // recently, the wait timed out.
            let lost = over && (!existed || answered_at.elapsed() >= REQUEST_TIMEOUT);
            if let Some(found) = client_error.take_if(|found| lost || !found.is_retryable()) {
                return WaitResult::Failed(match found {
                    ClientError::Silent(time) => ClientError::Silent(time.max(answered_at.elapsed())),
                    found => found,
                });
            }
            if let (Some(found), false) = (&client_error, silent) {
                silent = true;
                emit(WaitReport::Silent(found));
            }
            if over {
                return WaitResult::TimedOut;
            }
            match self.options.stall.filter(|stall| moved.elapsed() >= *stall) {
                // While the service does not answer, progress is unknown.
                Some(_) if client_error.is_some() => moved = Instant::now(),
                Some(stall) => return WaitResult::Stalled(stall),
                None => {}
            }
            let left = self.left(moved);
            if client_error.is_none() && existed && self.capabilities.wait {
                let asked = Instant::now();
                match self.long_poll(id, left).await {
                    Ok(Some(Holds::Yes)) => {
                        // Read the current state for the result.
                        let _ = self.look(id).await;
                        return WaitResult::Reached;
                    }
                    // The long poll timed out: read the state and poll again without a delay.
                    Ok(Some(Holds::NotYet)) if asked.elapsed() >= MIN_LONG_POLL => continue,
                    // An immediate answer is no long poll: delay the next request.
                    Ok(_) => {}
                    // The pipeline was deleted meanwhile: the next read handles it.
                    Err(found) if found.absent() => {}
                    Err(found) if found.is_retryable() => {
                        if !std::mem::replace(&mut silent, true) {
                            emit(WaitReport::Silent(&found));
                        }
                        client_error = Some(found);
                    }
                    Err(ClientError::Refused { status: 410, .. }) => self.options.after = None,
                    Err(found) => return WaitResult::Failed(found),
                }
            }
            let wait = backoff.wait(client_error.as_ref().and_then(ClientError::retry_after), left, jitter());
            tokio::time::sleep(wait.max(Duration::from_millis(20))).await;
        }
    }

    /// Reads the pipeline, with a timeout at the deadline.
    async fn look(&mut self, id: &str) -> Result<(), ClientError> {
        let left = self.deadline.map(|it| it.saturating_duration_since(Instant::now()));
        let within = left.map_or(REQUEST_TIMEOUT, |left| left.clamp(MIN_REQUEST_TIMEOUT, REQUEST_TIMEOUT));
        let told = tokio::time::timeout(within, self.client.pipeline(id, true)).await;
        let told = told.unwrap_or(Err(ClientError::Silent(within)))?;
        Ok(self.fleet.take_one(told, now())?)
    }

    /// Returns the time until the deadline, the stall limit or the creation limit, whichever is
    /// first.
    fn left(&self, moved: Instant) -> Option<Duration> {
        let until_deadline = self.deadline.map(|it| it.saturating_duration_since(Instant::now()));
        let until_stall = self.options.stall.map(|stall| stall.saturating_sub(moved.elapsed()));
        let within = self.options.create_within;
        let until_created = within.checked_sub(self.started.elapsed()).filter(|_| self.fleet.pipelines.is_empty());
        [until_deadline, until_stall, until_created].into_iter().flatten().min()
    }

    /// Long-polls the service until the condition holds, cannot hold, or the poll times out.
    /// Returns `None` for several conditions, or for one that the service does not support.
    async fn long_poll(&mut self, id: &str, left: Option<Duration>) -> Result<Option<Holds>, ClientError> {
        let [one] = self.options.conditions.as_slice() else { return Ok(None) };
        let Some(condition) = one.as_server_condition() else { return Ok(None) };
        let time = left.map_or(MAX_LONG_POLL, |left| left.min(MAX_LONG_POLL)).max(Duration::from_millis(1));
        let answer = self.request_wait(id, &condition, time).await?;
        Ok(Some(self.holds_by_answer(&answer)))
    }

    /// Requests `/wait` of the service, for at most `time`.
    async fn request_wait(&self, id: &str, condition: &str, time: Duration) -> Result<Value, ClientError> {
        let mut ask = ServiceRequest { person: true, ..ServiceRequest::get(&["pipelines", id, "wait"]) };
        ask = ask
            .with("for", condition)
            .with("timeout", if time.is_zero() { "0".into() } else { time.as_secs_f64().to_string() });
        if let Some(after) = &self.options.after {
            ask = ask.with("after", after);
        }
        ask.within = time + REQUEST_TIMEOUT / 5;
        self.client.ask(ask).await
    }

    /// Lets the service evaluate a condition: it knows the names of streams and the order of
    /// cursors.
    async fn evaluate_at_service(&mut self, id: &str, condition: &Condition) -> Result<Holds, ClientError> {
        let Some(condition) = condition.as_server_condition() else { return Ok(Holds::NotYet) };
        let answer = self.request_wait(id, &condition, Duration::ZERO).await?;
        Ok(self.holds_by_answer(&answer))
    }

    /// Evaluates all conditions for the current state; `None`: the pipeline does not exist.
    async fn evaluate(&mut self, watched: Option<&Watched>) -> Result<Holds, ClientError> {
        let pipeline = watched.map(|it| &it.pipeline);
        let inferred = watched.is_some_and(|it| it.is_parking_inferred(now()));
        let mut checkpoints = 0;
        if let Some(pipeline) = pipeline {
            let has = pipeline.found.checkpoints.unwrap_or(0);
            let run = pipeline.run.as_ref().map(|run| run.key.to_string()).unwrap_or_default();
            // The checkpoints of another run count from zero.
            match &mut self.known {
                Some((known, from)) if *known != run => (*known, *from) = (run, 0),
                Some(_) => {}
                None => self.known = Some((run, has)),
            }
            checkpoints = self.known.as_ref().map_or(0, |(_, from)| *from);
        }
        let mut all = Vec::new();
        self.streams = None;
        for condition in self.options.conditions.clone() {
            let holds = condition.holds(pipeline, checkpoints, inferred);
            self.streams = pipeline.and_then(|it| condition.other_streams(it)).or(self.streams.take());
            // Events up to the given cursor do not end the wait, and progress counts from it: only
            // the service knows the order of cursors.
            let by_cursor = self.options.after.is_some() && (holds == Holds::Never || condition == Condition::Progress);
            let ask = matches!(condition, Condition::Stream(..)) || by_cursor;
            all.push(match pipeline {
                Some(pipeline) if self.capabilities.wait && ask => {
                    match self.evaluate_at_service(&pipeline.id, &condition).await {
                        Err(ClientError::Refused { status: 410, .. }) if self.options.after.is_some() => {
                            // The service does not know the cursor any more: wait without it.
                            self.options.after = None;
                            self.evaluate_at_service(&pipeline.id, &condition).await?
                        }
                        found => found?,
                    }
                }
                _ => holds,
            });
        }
        let any = |what: Holds| all.contains(&what);
        Ok(match self.options.any {
            true if any(Holds::Yes) => Holds::Yes,
            true if any(Holds::NotYet) => Holds::NotYet,
            true => Holds::Never,
            false if any(Holds::Never) => Holds::Never,
            false if any(Holds::NotYet) => Holds::NotYet,
            false => Holds::Yes,
        })
    }

    /// Evaluates a response of the service's `/wait`.
    fn holds_by_answer(&mut self, answer: &Value) -> Holds {
        let Ok(body) = WaitBody::deserialize(answer) else { return Holds::Never };
        if let Some(names) = body.streams {
            self.streams = Some(names.iter().map(ToString::to_string).collect());
        }
        match (body.reached, body.timed_out) {
            (Some(true), _) => Holds::Yes,
            (_, Some(true)) => Holds::NotYet,
            _ => Holds::Never,
        }
    }
}
