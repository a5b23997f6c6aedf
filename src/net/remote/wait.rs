//! Waiting until it is so: by the service's own wait where it has one, with a look of our own under it; else by asking, ever more rarely.

use super::client::{Ask, Client, Talks, Trouble};
use crate::fleet::condition::{Condition, Holds};
use crate::fleet::{Fleet, Pace, Pipeline, Watched};
use crate::net::{dice, now};
use crate::protocol::time;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest that the service is asked to wait at once.
const AT_ONCE: Duration = Duration::from_secs(25);

/// What is waited for, of each pipeline.
#[derive(Debug, Clone)]
pub struct Wish {
    pub conditions: Vec<Condition>,
    /// One of them is enough.
    pub any: bool,
    /// For all targets together; none: as long as it takes. Zero looks once.
    pub timeout: Option<Duration>,
    /// Without any progress for so long it is given up.
    pub stall: Option<Duration>,
    /// How long a pipeline may not be there yet.
    pub create_within: Duration,
    /// What is not newer than this position ends nothing but what is waited for.
    pub after: Option<String>,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Came {
    Reached,
    /// It ended elsewhere: it cannot come to be so by itself.
    Elsewhere,
    TimedOut,
    /// No progress for so long.
    Stalled(Duration),
    Absent,
    Failed(Trouble),
}

/// What came of one wait.
#[derive(Debug, Clone)]
pub struct Waited {
    pub target: String,
    pub came: Came,
    pub last: Option<Pipeline>,
    pub waited: Duration,
    /// It is parked, though its service does not say so.
    pub inferred: bool,
}

impl Waited {
    /// 0 reached; 1 ended elsewhere; 2 still running; 4 not there; 69, 77 as the trouble is.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match &self.came {
            Came::Reached => 0,
            Came::Elsewhere => 1,
            Came::TimedOut | Came::Stalled(_) => 2,
            Came::Absent => 4,
            Came::Failed(trouble) => trouble.exit_code(),
        }
    }

    /// The position to go on from.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.last.as_ref().and_then(|it| it.cursor.as_deref())
    }

    /// For stdout: as the service's own wait answers, and what it does not know. The same shape however it ended.
    #[must_use]
    pub fn json(&self, wish: &Wish, resume_hint: Option<&str>) -> Value {
        let last = self.last.as_ref();
        let fault = last.and_then(|it| it.reason.as_ref().or(it.faults.first()));
        let conditions: Vec<_> = wish.conditions.iter().map(ToString::to_string).collect();
        json!({
            "id": self.target, "target": self.target, "for": conditions.join(if wish.any { " or " } else { " and " }),
            "status": last.map(|it| it.status.word()), "desired_status": last.map(|it| it.desired.word()),
            "reached": self.came == Came::Reached,
            "timed_out": matches!(self.came, Came::TimedOut | Came::Stalled(_)), "stalled": matches!(self.came, Came::Stalled(_)),
            "reason": fault.map(|it| json!({
                "message": it.message, "failure_type": it.failure_type, "next": it.next, "since": it.since.map(time::iso),
            })),
            "fingerprint": fault.map(|it| it.fingerprint.as_ref()), "parked_inferred": self.inferred,
            "retry": last.and_then(|it| it.retry.as_ref()).map(|it| json!({
                "at": it.at.map(time::iso), "attempt": it.attempt, "message": it.message,
            })),
            "error": match &self.came {
                Came::Failed(trouble) => trouble.words().into(),
                Came::Absent => format!("there is no pipeline {}", self.target).into(),
                _ => Value::Null,
            },
            "timeout": wish.timeout.map(|it| it.as_secs_f64()),
            "waited_ms": u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX),
            "cursor": self.cursor(), "resume_hint": resume_hint,
        })
    }
}

/// Waits for one pipeline; `tell` hears when something of it changed.
pub async fn wait(
    client: Arc<Client>,
    target: String,
    wish: Wish,
    deadline: Option<Instant>,
    mut tell: impl FnMut(&Pipeline),
) -> Waited {
    let begun = Instant::now();
    let mut waited =
        Waited { target: target.clone(), came: Came::TimedOut, last: None, waited: Duration::ZERO, inferred: false };
    let talks = loop {
        match client.talks().await {
            Ok(talks) => break talks,
            Err(trouble)
                if trouble.passes()
                    && wish.timeout != Some(Duration::ZERO)
                    && deadline.is_none_or(|it| Instant::now() < it) =>
            {
                let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
                if !matches!(trouble, Trouble::Refused { .. }) && begun.elapsed() > Duration::from_secs(5) {
                    waited.came = Came::Failed(trouble);
                    return waited;
                }
                tokio::time::sleep(Pace::default().wait(trouble.retry_after(), left, dice())).await;
            }
            Err(trouble) => {
                waited.came = Came::Failed(trouble);
                waited.waited = begun.elapsed();
                return waited;
            }
        }
    };
    let mut one = One {
        client,
        wish,
        talks,
        fleet: Fleet::default(),
        checkpoints: None,
        known: None,
        begun,
        deadline,
        trouble: None,
    };
    waited.came = one.go(&target, &mut tell).await;
    let watched = one.fleet.pipelines.get(target.as_str());
    waited.inferred = watched.is_some_and(|it| it.inferred(now()));
    waited.last = watched.map(|it| it.pipeline.clone());
    waited.waited = begun.elapsed();
    waited
}

struct One {
    client: Arc<Client>,
    wish: Wish,
    talks: Talks,
    fleet: Fleet,
    /// Those it had when the wait began.
    checkpoints: Option<u64>,
    known: Option<(String, u64)>,
    begun: Instant,
    deadline: Option<Instant>,
    trouble: Option<Trouble>,
}

impl One {
    async fn go(&mut self, id: &str, tell: &mut impl FnMut(&Pipeline)) -> Came {
        let mut pace = Pace::default();
        let mut moved = Instant::now();
        let mut evidence = None;
        let once = self.wish.timeout == Some(Duration::ZERO);
        // What the service's own wait said of it: it knows streams by name.
        let mut told = None;
        let mut came_once = false;
        loop {
            let over = once || self.deadline.is_some_and(|it| Instant::now() >= it);
            let mut asked = None;
            match self.client.pipeline(id, true).await {
                Ok(value) => {
                    self.trouble = None;
                    came_once = true;
                    if let Err(why) = self.fleet.take_one(value, now()) {
                        return Came::Failed(Trouble::Odd(why));
                    }
                    let Some(watched) = self.fleet.pipelines.get(id).cloned() else { continue };
                    let here = Some(format!("{:?} {}", watched.pipeline.evidence(), watched.pipeline.status.word()));
                    if here != evidence {
                        tell(&watched.pipeline);
                        pace.reset();
                        (moved, evidence) = (Instant::now(), here);
                    }
                    match self.judge(Some(&watched), told) {
                        Holds::Yes => return Came::Reached,
                        Holds::Never => return Came::Elsewhere,
                        Holds::NotYet => {}
                    }
                }
                Err(trouble) if trouble.absent() => {
                    self.trouble = None;
                    self.fleet.remove(id);
                    let waits = self.wish.conditions.contains(&Condition::Created)
                        || self.begun.elapsed() < self.wish.create_within;
                    if self.judge(None, None) == Holds::Yes {
                        return Came::Reached;
                    }
                    // One that was there, and is gone, was deleted.
                    if came_once || !waits {
                        return if came_once { Came::Elsewhere } else { Came::Absent };
                    }
                }
                Err(trouble) if trouble.passes() && !once => {
                    asked = trouble.retry_after();
                    self.trouble = Some(trouble);
                }
                Err(trouble) => return Came::Failed(trouble),
            }
            if over {
                // The service that cannot be reached is no pipeline that takes its time.
                return self.trouble.take().map_or(Came::TimedOut, Came::Failed);
            }
            if let Some(stall) = self.wish.stall.filter(|stall| moved.elapsed() >= *stall) {
                return Came::Stalled(stall);
            }
            let left = self.deadline.map(|it| it.saturating_duration_since(Instant::now()));
            let until_stall = self.wish.stall.map(|stall| stall.saturating_sub(moved.elapsed()));
            let left = match (left, until_stall) {
                (Some(left), Some(stall)) => Some(left.min(stall)),
                (left, stall) => left.or(stall),
            };
            told = None;
            if self.trouble.is_none()
                && came_once
                && self.talks.wait
                && let Some(condition) = self.for_server()
            {
                match self.at_server(id, &condition, left).await {
                    Ok(value) => {
                        told = Some(value.get("reached").and_then(Value::as_bool).unwrap_or(false));
                        let again =
                            told == Some(false) && value.get("timed_out").and_then(Value::as_bool) == Some(false);
                        if !again {
                            continue;
                        }
                        // It says that it cannot come to be so; if that is not the last word, it is not asked in a hurry.
                        if let Some(came) = self.never(id).await {
                            return came;
                        }
                    }
                    Err(trouble) => asked = asked.or(trouble.retry_after()),
                }
            }
            let wait = pace.wait(asked, left, dice());
            tokio::time::sleep(wait.max(Duration::from_millis(20))).await;
        }
    }

    /// The service says that it cannot come to be so by itself: it is looked at once more.
    async fn never(&mut self, id: &str) -> Option<Came> {
        let told = self.client.pipeline(id, true).await.ok()?;
        self.fleet.take_one(told, now()).ok()?;
        let watched = self.fleet.pipelines.get(id).cloned()?;
        Some(match self.judge(Some(&watched), None) {
            Holds::Yes => Came::Reached,
            _ => Came::Elsewhere,
        })
    }

    /// A single condition that the service can wait for.
    fn for_server(&self) -> Option<String> {
        match self.wish.conditions.as_slice() {
            [one] => one.for_server(),
            _ => None,
        }
    }

    async fn at_server(&self, id: &str, condition: &str, left: Option<Duration>) -> Result<Value, Trouble> {
        let time = left.map_or(AT_ONCE, |left| left.min(AT_ONCE)).max(Duration::from_millis(1));
        let mut ask = Ask { person: true, ..Ask::get(&["pipelines", id, "wait"]) };
        ask = ask.with("for", condition).with("timeout", time.as_secs_f64().to_string());
        if let Some(after) = &self.wish.after {
            ask = ask.with("after", after);
        }
        ask.within = time + Duration::from_secs(10);
        Ok(self.client.ask(ask).await?.json)
    }

    fn judge(&mut self, watched: Option<&Watched>, told: Option<bool>) -> Holds {
        let pipeline = watched.map(|it| &it.pipeline);
        let inferred = watched.is_some_and(|it| it.inferred(now()));
        if let Some(pipeline) = pipeline {
            let has = pipeline.found.checkpoints.unwrap_or(0);
            let run = pipeline.run.as_ref().map(|run| run.key.to_string()).unwrap_or_default();
            // Another run counts from nothing.
            match &mut self.known {
                Some((known, from)) if *known != run => (*known, *from) = (run, 0),
                Some(_) => {}
                None => self.known = Some((run, has)),
            }
            self.checkpoints = self.known.as_ref().map(|(_, from)| *from);
        }
        // A position is opaque: whether what is there is newer only the service knows.
        let older = self.wish.after.is_some() && self.talks.wait && self.for_server().is_some();
        let checkpoints = self.checkpoints.unwrap_or(0);
        let each =
            self.wish.conditions.iter().map(|condition| match condition.holds(pipeline, checkpoints, inferred) {
                _ if told == Some(true) => Holds::Yes,
                // What is not newer than the caller's own position ends nothing.
                Holds::Never if older => Holds::NotYet,
                holds => holds,
            });
        let all: Vec<_> = each.collect();
        let any = |what: Holds| all.contains(&what);
        if self.wish.any {
            if any(Holds::Yes) {
                Holds::Yes
            } else if any(Holds::NotYet) {
                Holds::NotYet
            } else {
                Holds::Never
            }
        } else if any(Holds::Never) {
            Holds::Never
        } else if any(Holds::NotYet) {
            Holds::NotYet
        } else {
            Holds::Yes
        }
    }
}
