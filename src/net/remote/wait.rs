//! Waits for a condition: long-polls `/wait` if the service supports it, otherwise polls with
//! exponential backoff.

use super::client::{Ask, Capabilities, Client, ClientError, WITHIN};
use crate::net::{jitter, now};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::backoff::Backoff;
use synctop_core::fleet::condition::{Condition, Holds};
use synctop_core::fleet::{Fleet, Pipeline, Watched};
use synctop_core::protocol::time;

/// The longest that the service is asked to wait at once.
const AT_ONCE: Duration = Duration::from_secs(25);

/// The shortest time that an answer is given.
const SHORTEST: Duration = Duration::from_millis(500);

/// Shortest answer time of a real long poll.
const HELD: Duration = Duration::from_millis(200);

/// Time to try a service that was never reached.
const FIRST_CONTACT: Duration = Duration::from_secs(5);

/// Options of a wait.
#[derive(Debug, Clone)]
pub struct WaitOptions {
    pub conditions: Vec<Condition>,
    /// One of them is enough.
    pub any: bool,
    /// For all targets together; none: as long as it takes. Zero looks once.
    pub timeout: Option<Duration>,
    /// Without any progress for so long it is given up.
    pub stall: Option<Duration>,
    /// Time a pipeline may take to appear.
    pub create_within: Duration,
    /// Cursor: events up to it are ignored.
    pub after: Option<String>,
}

/// Result of a wait.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitResult {
    Reached,
    /// It ended elsewhere: it cannot come to be so by itself.
    Elsewhere,
    TimedOut,
    /// No progress for so long.
    Stalled(Duration),
    Absent,
    Failed(ClientError),
    /// The waiting user left.
    Detached,
}

/// Result of one wait.
#[derive(Debug, Clone)]
pub struct Waited {
    pub target: String,
    pub came: WaitResult,
    pub last: Option<Pipeline>,
    pub waited: Duration,
    /// It is parked although its service does not report it.
    pub inferred: bool,
    /// The streams that there are, where one that is waited for is none of them.
    pub streams: Option<Vec<String>>,
}

impl Waited {
    /// Doubts about its last run, as sentences.
    #[must_use]
    pub fn doubts(&self) -> &[Arc<str>] {
        self.last.as_ref().map(|it| it.found.doubts.as_slice()).unwrap_or_default()
    }

    /// Returns the class of this result; `strict`: a doubt counts as a failure.
    #[must_use]
    pub fn class(&self, strict: bool) -> ResultClass {
        match &self.came {
            WaitResult::Reached if strict && !self.doubts().is_empty() => ResultClass::Failed,
            WaitResult::Reached => ResultClass::Done,
            WaitResult::Elsewhere => ResultClass::Failed,
            WaitResult::TimedOut | WaitResult::Stalled(_) => ResultClass::Unfinished,
            WaitResult::Absent => ResultClass::NotFound,
            WaitResult::Failed(trouble) => trouble.class(),
            WaitResult::Detached => ResultClass::Interrupted,
        }
    }

    /// The position to go on from.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.last.as_ref().and_then(|it| it.cursor.as_deref())
    }

    /// JSON for stdout: the fields of the service's own wait, and more. The same shape for every
    /// result.
    #[must_use]
    pub fn json(&self, wish: &WaitOptions, resume_hint: Option<&str>) -> Value {
        let last = self.last.as_ref();
        let fault = last.and_then(|it| it.reason.as_ref().or(it.faults.first()));
        let conditions: Vec<_> = wish.conditions.iter().map(ToString::to_string).collect();
        json!({
            "id": self.target, "target": self.target, "for": conditions.join(if wish.any { " or " } else { " and " }),
            "status": last.map(|it| it.status.as_str()), "desired_status": last.map(|it| it.desired.as_str()),
            "reached": self.came == WaitResult::Reached,
            "timed_out": matches!(self.came, WaitResult::TimedOut | WaitResult::Stalled(_)), "stalled": matches!(self.came, WaitResult::Stalled(_)),
            "reason": fault.map(|it| json!({
                "message": it.message, "failure_type": it.failure_type, "next": it.next, "since": it.since.map(time::iso),
            })),
            "doubts": self.doubts(),
            "fingerprint": fault.map(|it| it.fingerprint.as_ref()), "parked_inferred": self.inferred,
            "retry": last.and_then(|it| it.retry.as_ref()).map(|it| json!({
                "at": it.at.map(time::iso), "attempt": it.attempt, "message": it.message,
            })),
            "error": match &self.came {
                WaitResult::Failed(trouble) => trouble.words().into(),
                WaitResult::Absent => format!("there is no pipeline {}", self.target).into(),
                _ => Value::Null,
            },
            "timeout": wish.timeout.map(|it| it.as_secs_f64()),
            "waited_ms": u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX), "streams": self.streams,
            "cursor": self.cursor(), "resume_hint": resume_hint,
        })
    }
}

/// Progress reports of a wait.
pub enum News<'a> {
    /// Something of it changed, or its service answers again.
    Seen(&'a Pipeline),
    /// Its service does not answer; once, until it does.
    Silent(&'a ClientError),
}

/// Waits for one pipeline; `tell` receives news.
pub async fn wait(
    client: Arc<Client>,
    target: String,
    wish: WaitOptions,
    deadline: Option<Instant>,
    mut tell: impl FnMut(News),
) -> Waited {
    let begun = Instant::now();
    let mut waited = Waited {
        target: target.clone(),
        came: WaitResult::TimedOut,
        last: None,
        waited: Duration::ZERO,
        inferred: false,
        streams: None,
    };
    let (mut pace, mut told) = (Backoff::default(), false);
    let capabilities = loop {
        let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        let within = left.map_or(WITHIN, |left| left.clamp(SHORTEST, WITHIN));
        let asked =
            tokio::time::timeout(within, client.capabilities()).await.unwrap_or(Err(ClientError::Silent(within)));
        let trouble = match asked {
            Ok(capabilities) => break capabilities,
            Err(trouble) => trouble,
        };
        // Before anything was known of it there is nothing that could have broken off: it is given
        // a few seconds.
        let given_up = !matches!(trouble, ClientError::Refused { .. }) && begun.elapsed() > FIRST_CONTACT;
        let once = wish.timeout == Some(Duration::ZERO);
        if once || given_up || !trouble.is_retryable() || left.is_some_and(|left| left.is_zero()) {
            (waited.came, waited.waited) = (WaitResult::Failed(trouble), begun.elapsed());
            return waited;
        }
        if !std::mem::replace(&mut told, true) {
            tell(News::Silent(&trouble));
        }
        tokio::time::sleep(pace.wait(trouble.retry_after(), left, jitter())).await;
    };
    let mut one =
        One { client, wish, capabilities, fleet: Fleet::default(), known: None, streams: None, begun, deadline };
    waited.came = one.go(&target, &mut tell).await;
    let watched = one.fleet.pipelines.get(target.as_str());
    waited.inferred = watched.is_some_and(|it| it.inferred(now()));
    waited.last = watched.map(|it| it.pipeline.clone());
    waited.streams = one.streams;
    waited.waited = begun.elapsed();
    waited
}

struct One {
    client: Arc<Client>,
    wish: WaitOptions,
    capabilities: Capabilities,
    fleet: Fleet,
    /// The run that is watched, and the checkpoints it had when the wait began.
    known: Option<(String, u64)>,
    /// The streams that there are, where one that is waited for is none of them.
    streams: Option<Vec<String>>,
    begun: Instant,
    deadline: Option<Instant>,
}

impl One {
    async fn go(&mut self, id: &str, tell: &mut impl FnMut(News)) -> WaitResult {
        let mut pace = Backoff::default();
        let mut moved = Instant::now();
        let mut evidence = None;
        let once = self.wish.timeout == Some(Duration::ZERO);
        let mut came_once = false;
        let (mut heard, mut silent) = (self.begun, false);
        loop {
            let over = once || self.deadline.is_some_and(|it| Instant::now() >= it);
            let mut trouble = None;
            match self.look(id).await {
                Ok(()) => {
                    came_once = true;
                    heard = Instant::now();
                    if std::mem::take(&mut silent) {
                        evidence = None;
                    }
                    let Some(watched) = self.fleet.pipelines.get(id).cloned() else { continue };
                    let here = Some(format!("{:?} {}", watched.pipeline.evidence(), watched.pipeline.status.as_str()));
                    if here != evidence {
                        tell(News::Seen(&watched.pipeline));
                        pace.reset();
                        (moved, evidence) = (Instant::now(), here);
                    }
                    match self.judge(Some(&watched)).await {
                        Ok(Holds::Yes) => return WaitResult::Reached,
                        Ok(Holds::Never) => return WaitResult::Elsewhere,
                        Ok(Holds::NotYet) => {}
                        // It is gone: the next look decides the meaning.
                        Err(found) if found.absent() => {}
                        Err(found) => trouble = Some(found),
                    }
                }
                Err(found) if found.absent() => {
                    self.fleet.remove(id);
                    if self.judge(None).await == Ok(Holds::Yes) {
                        return WaitResult::Reached;
                    }
                    // One that was there, and is gone, was deleted.
                    if came_once {
                        return WaitResult::Elsewhere;
                    }
                    let created = self.wish.conditions.contains(&Condition::Created);
                    if !created && self.begun.elapsed() >= self.wish.create_within {
                        return WaitResult::Absent;
                    }
                    moved = Instant::now();
                }
                Err(found) => trouble = Some(found),
            }
            // A service that does not answer is no pipeline that takes its time; one that answered
            // just now is.
            let lost = over && (!came_once || heard.elapsed() >= WITHIN);
            if let Some(found) = trouble.take_if(|found| lost || !found.is_retryable()) {
                return WaitResult::Failed(match found {
                    ClientError::Silent(time) => ClientError::Silent(time.max(heard.elapsed())),
                    found => found,
                });
            }
            if let (Some(found), false) = (&trouble, silent) {
                silent = true;
                tell(News::Silent(found));
            }
            if over {
                return WaitResult::TimedOut;
            }
            match self.wish.stall.filter(|stall| moved.elapsed() >= *stall) {
                // Without an answer of the service, movement is unknown.
                Some(_) if trouble.is_some() => moved = Instant::now(),
                Some(stall) => return WaitResult::Stalled(stall),
                None => {}
            }
            let left = self.left(moved);
            if trouble.is_none() && came_once && self.capabilities.wait {
                let asked = Instant::now();
                match self.hold(id, left).await {
                    Ok(Some(Holds::Yes)) => {
                        // Current state, for the reader of the answer.
                        let _ = self.look(id).await;
                        return WaitResult::Reached;
                    }
                    // Its time is over: it is looked at once more.
                    Ok(Some(Holds::NotYet)) if asked.elapsed() >= HELD => continue,
                    // One that answers at once is not asked in a hurry.
                    Ok(_) => {}
                    // It is gone: the next look decides the meaning.
                    Err(found) if found.absent() => {}
                    Err(found) if found.is_retryable() => {
                        if !std::mem::replace(&mut silent, true) {
                            tell(News::Silent(&found));
                        }
                        trouble = Some(found);
                    }
                    Err(ClientError::Refused { status: 410, .. }) => self.wish.after = None,
                    Err(found) => return WaitResult::Failed(found),
                }
            }
            let wait = pace.wait(trouble.as_ref().and_then(ClientError::retry_after), left, jitter());
            tokio::time::sleep(wait.max(Duration::from_millis(20))).await;
        }
    }

    /// Reads the pipeline; not beyond the deadline.
    async fn look(&mut self, id: &str) -> Result<(), ClientError> {
        let left = self.deadline.map(|it| it.saturating_duration_since(Instant::now()));
        let within = left.map_or(WITHIN, |left| left.clamp(SHORTEST, WITHIN));
        let told = tokio::time::timeout(within, self.client.pipeline(id, true)).await;
        let told = told.unwrap_or(Err(ClientError::Silent(within)))?;
        self.fleet.take_one(told, now()).map_err(ClientError::Odd)
    }

    /// The time that is left until something has to be decided.
    fn left(&self, moved: Instant) -> Option<Duration> {
        let until_deadline = self.deadline.map(|it| it.saturating_duration_since(Instant::now()));
        let until_stall = self.wish.stall.map(|stall| stall.saturating_sub(moved.elapsed()));
        let within = self.wish.create_within;
        let until_created = within.checked_sub(self.begun.elapsed()).filter(|_| self.fleet.pipelines.is_empty());
        [until_deadline, until_stall, until_created].into_iter().flatten().min()
    }

    /// Long-polls the service until the condition holds, is out of reach, or times out; if the
    /// service supports the condition.
    async fn hold(&mut self, id: &str, left: Option<Duration>) -> Result<Option<Holds>, ClientError> {
        let [one] = self.wish.conditions.as_slice() else { return Ok(None) };
        let Some(condition) = one.for_server() else { return Ok(None) };
        let time = left.map_or(AT_ONCE, |left| left.min(AT_ONCE)).max(Duration::from_millis(1));
        let answer = self.at_server(id, &condition, time).await?;
        Ok(Some(self.answered(&answer)))
    }

    async fn at_server(&self, id: &str, condition: &str, time: Duration) -> Result<Value, ClientError> {
        let mut ask = Ask { person: true, ..Ask::get(&["pipelines", id, "wait"]) };
        ask = ask
            .with("for", condition)
            .with("timeout", if time.is_zero() { "0".into() } else { time.as_secs_f64().to_string() });
        if let Some(after) = &self.wish.after {
            ask = ask.with("after", after);
        }
        ask.within = time + WITHIN / 5;
        self.client.ask(ask).await
    }

    /// Evaluates a condition by the service, which knows streams by name and the order of cursors.
    async fn asked(&mut self, id: &str, condition: &Condition) -> Result<Holds, ClientError> {
        let Some(condition) = condition.for_server() else { return Ok(Holds::NotYet) };
        let answer = self.at_server(id, &condition, Duration::ZERO).await?;
        Ok(self.answered(&answer))
    }

    async fn judge(&mut self, watched: Option<&Watched>) -> Result<Holds, ClientError> {
        let pipeline = watched.map(|it| &it.pipeline);
        let inferred = watched.is_some_and(|it| it.inferred(now()));
        let mut checkpoints = 0;
        if let Some(pipeline) = pipeline {
            let has = pipeline.found.checkpoints.unwrap_or(0);
            let run = pipeline.run.as_ref().map(|run| run.key.to_string()).unwrap_or_default();
            // Another run counts from nothing.
            match &mut self.known {
                Some((known, from)) if *known != run => (*known, *from) = (run, 0),
                Some(_) => {}
                None => self.known = Some((run, has)),
            }
            checkpoints = self.known.as_ref().map_or(0, |(_, from)| *from);
        }
        let mut all = Vec::new();
        self.streams = None;
        for condition in self.wish.conditions.clone() {
            let holds = condition.holds(pipeline, checkpoints, inferred);
            self.streams = pipeline.and_then(|it| condition.others(it)).or(self.streams.take());
            // Events up to the caller's own cursor end nothing, and count from there.
            let by_position = self.wish.after.is_some() && (holds == Holds::Never || condition == Condition::Progress);
            let ask = matches!(condition, Condition::Stream(..)) || by_position;
            all.push(match pipeline {
                Some(pipeline) if self.capabilities.wait && ask => match self.asked(&pipeline.id, &condition).await {
                    Err(ClientError::Refused { status: 410, .. }) if self.wish.after.is_some() => {
                        // Events before that cursor are unknown.
                        self.wish.after = None;
                        self.asked(&pipeline.id, &condition).await?
                    }
                    asked => asked?,
                },
                _ => holds,
            });
        }
        let any = |what: Holds| all.contains(&what);
        Ok(match self.wish.any {
            true if any(Holds::Yes) => Holds::Yes,
            true if any(Holds::NotYet) => Holds::NotYet,
            true => Holds::Never,
            false if any(Holds::Never) => Holds::Never,
            false if any(Holds::NotYet) => Holds::NotYet,
            false => Holds::Yes,
        })
    }

    /// Evaluates an answer of the service's own wait.
    fn answered(&mut self, answer: &Value) -> Holds {
        if let Some(names) = answer.get("streams").and_then(Value::as_array) {
            self.streams = Some(names.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect());
        }
        let is = |name: &str| answer.get(name).and_then(Value::as_bool) == Some(true);
        match (is("reached"), is("timed_out")) {
            (true, _) => Holds::Yes,
            (false, true) => Holds::NotYet,
            (false, false) => Holds::Never,
        }
    }
}
