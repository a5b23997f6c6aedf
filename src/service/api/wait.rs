//! `GET /pipelines/{id}/wait`: long poll that answers when the condition holds, when it can no
//! longer hold, or at the timeout.
//!
//! Subscribes, reads, checks, then waits for a notification, with a slow poll of the store below
//! it; reads once more at the timeout. So nothing is missed between a check and a subscription, and
//! a timeout that coincides with the change reports the change.

use super::body::{self, Query};
use super::{Answer, Peer, Shared, ok};
use crate::net::lock;
use crate::service::lifecycle::{Desired, Status};
use crate::service::model::{Cursor, StoredPipeline};
use crate::service::problem::Problem;
use crate::service::registry::{RunFacts, Service, Slot};
use crate::service::store;
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synctop_core::protocol::Status as StreamStatus;
use synctop_core::protocol::quantity;
use tokio::time::Instant;

/// Default timeout.
const UNSAID: Duration = Duration::from_secs(60);

/// Longer timeouts are reduced to this, and the answer shows it.
const LONGEST: Duration = Duration::from_secs(300);

/// Polling interval of the store; half of it more, with jitter.
const POLL: Duration = Duration::from_secs(5);

/// Maximum names of streams listed for an unknown one.
const OTHERS: usize = 100;

/// Target of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitTarget {
    Status(Status),
    /// Another checkpoint.
    Progress,
    NotParked,
    /// A stream of the last run.
    Stream(String, StreamStatus),
}

impl WaitTarget {
    fn read(text: &str) -> Result<Self, Problem> {
        let bad = || {
            let sentence = "expected a status (setup, backfill, ready, paused, teardown, error), progress, not-parked or stream:NAME=STATUS \
                            (started, completed, skipped, errored)";
            Err(Problem::invalid(&["for"], sentence))
        };
        if let Some(stream) = text.strip_prefix("stream:") {
            let Some((name, status)) = stream.rsplit_once('=') else { return bad() };
            let all = [StreamStatus::Started, StreamStatus::Completed, StreamStatus::Skipped, StreamStatus::Errored];
            return match all.into_iter().find(|it| it.as_str() == status) {
                Some(status) if !name.is_empty() => Ok(Self::Stream(name.to_owned(), status)),
                _ => bad(),
            };
        }
        match text {
            "progress" => Ok(Self::Progress),
            "not-parked" => Ok(Self::NotParked),
            text => match text.strip_prefix("status=").unwrap_or(text).parse() {
                Ok(status) => Ok(Self::Status(status)),
                Err(_) => bad(),
            },
        }
    }

    fn reached(&self, pipeline: &StoredPipeline, facts: &RunFacts, checkpoints: u64) -> bool {
        let life = pipeline.life;
        match self {
            Self::Status(status) => life.status() == *status,
            Self::Progress => facts.checkpoints > checkpoints,
            Self::NotParked => life.status() != Status::Error,
            Self::Stream(name, status) => {
                let progress = facts.of(pipeline.last.as_ref());
                progress.and_then(|it| it.stream(name)).is_some_and(|stream| stream.has_final_status(*status))
            }
        }
    }

    /// True if the target cannot be reached without action.
    fn out_of_reach(&self, pipeline: &StoredPipeline, facts: &RunFacts) -> bool {
        let life = pipeline.life;
        match life.status() {
            Status::Error => *self != Self::NotParked && *self != Self::Status(Status::Error),
            Status::Paused => life.desired == Desired::Paused,
            // Nothing is read until a request arrives; live events still bring progress.
            Status::Ready if life.desired == Desired::Active => match self {
                Self::Stream(name, status) => facts
                    .of(pipeline.last.as_ref())
                    .is_some_and(|run| run.stream(name).is_none_or(|stream| !stream.has_final_status(*status))),
                _ => false,
            },
            _ => false,
        }
    }

    /// The streams that the last run has, where the one that is waited for is none of them.
    fn others(&self, pipeline: &StoredPipeline, facts: &RunFacts) -> Option<Vec<String>> {
        let Self::Stream(name, _) = self else { return None };
        let run = facts.of(pipeline.last.as_ref())?;
        let run = Some(run).filter(|run| !run.streams.is_empty() && run.stream(name).is_none())?;
        Some(run.streams.iter().take(OTHERS).map(|stream| stream.name.to_string()).collect())
    }
}

/// Waits that are open.
pub struct Waits {
    most: usize,
    of_client: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of them, until it is dropped.
struct Permit {
    ip: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

impl Waits {
    #[must_use]
    pub fn new(most: usize, of_client: usize) -> Self {
        Self { most, of_client, open: Arc::default() }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.open).values().sum()
    }

    fn enter(&self, ip: IpAddr) -> Result<Permit, Problem> {
        let mut open = lock(&self.open);
        let all: usize = open.values().sum();
        let own = open.get(&ip).copied().unwrap_or(0);
        if all >= self.most {
            let sentence = format!("{all} waits are open, which is the most that the service takes");
            return Err(Problem::new(429, "too_many_waits", sentence).after(5));
        }
        if own >= self.of_client {
            let sentence = format!("{ip} has {own} waits open, which is the most that one client may have");
            return Err(Problem::new(429, "too_many_waits", sentence).after(5));
        }
        *open.entry(ip).or_default() += 1;
        Ok(Permit { ip, open: Arc::clone(&self.open) })
    }
}

/// A time: seconds, or with a unit; `0` is none at all.
fn timeout(text: &str) -> Result<Duration, Problem> {
    if matches!(text, "0" | "0s" | "0m" | "0h") {
        return Ok(Duration::ZERO);
    }
    quantity::span(text).map_err(|what| Problem::invalid(&["timeout"], format!("expected {what}")))
}

/// `Prefer: wait=10` (RFC 7240, 4.3).
fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let prefer = headers.get("prefer")?.to_str().ok()?;
    let seconds = prefer.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Reads a cursor of this pipeline.
pub fn cursor(slot: &Slot, pipeline: &StoredPipeline, text: &str, name: &str) -> Result<Cursor, Problem> {
    let cursor: Cursor = text.parse().map_err(|()| {
        Problem::invalid(&[name], "expected a cursor as the service gave it (events: or start, or now)")
    })?;
    // Another pipeline of that name, or one that was put back to an older day.
    if cursor.incarnation != slot.incarnation || cursor.revision > pipeline.revision || cursor.position > slot.log.end()
    {
        let sentence = "this position is not known any more: read the pipeline again, and go on from its cursor";
        return Err(Problem::new(410, "cursor_expired", sentence).with("cursor", slot.cursor(pipeline).to_string()));
    }
    Ok(cursor)
}

/// `GET /pipelines/{id}/wait`
pub async fn wait(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(query.as_deref(), &["for", "timeout", "after"])?;
    let target = WaitTarget::read(query.text("for").unwrap_or("ready"))?;
    let asked = match query.text("timeout") {
        Some(text) => timeout(text)?,
        None => preferred(&headers).unwrap_or(UNSAID),
    };
    let time = asked.min(LONGEST);
    let begun = Instant::now();
    let slot = body::pipeline(&app.service, &id)?;
    let _permit = app.waits.enter(ip)?;

    // Subscribed before anything is read.
    let mut status = slot.status.subscribe();
    let mut facts = slot.facts.subscribe();
    let first = status.borrow_and_update().clone().ok_or_else(|| Problem::no_pipeline(&id))?;
    let after = query.text("after").map(|text| cursor(&slot, &first, text, "after")).transpose()?;
    let has = facts.borrow_and_update().checkpoints;
    // Work undone by a crash is repeated.
    let checkpoints = after.map_or(has, |after| after.checkpoints.min(has));
    let of_facts = matches!(target, WaitTarget::Progress | WaitTarget::Stream(..));

    let deadline = begun + time;
    let mut pipeline = first;
    let mut over = time.is_zero();
    loop {
        let known = facts.borrow_and_update().clone();
        let life = pipeline.life;
        let reached = target.reached(&pipeline, &known, checkpoints);
        // State before the caller's own cursor is ignored: the requested change is still to come.
        let newer = after.is_none_or(|after| pipeline.revision > after.revision);
        let ended = !reached && target.out_of_reach(&pipeline, &known) && (newer || life.agrees());
        if reached || ended || over {
            let timed_out = !reached && !ended;
            return Ok(ok(&json!({
                "id": id, "for": query.text("for").unwrap_or("ready"),
                "status": life.status(), "desired_status": life.desired,
                "reason": pipeline.reason.as_ref().map(crate::service::model::ParkReason::shown),
                "retry": pipeline.retry.as_ref().map(crate::service::model::StoredRetry::shown),
                "reached": reached, "timed_out": timed_out,
                "timeout": time.as_secs_f64(),
                "waited_ms": u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                "streams": target.others(&pipeline, &known),
                "cursor": slot.cursor(&pipeline).to_string(),
            })));
        }
        let poll = POLL.mul_f64(1.0 + super::super::jitter() * 0.5);
        tokio::select! {
            changed = status.changed() => {
                if changed.is_err() { return Err(Problem::no_pipeline(&id)); }
            }
            _ = facts.changed(), if of_facts => {}
            () = tokio::time::sleep_until(deadline) => {
                // Once more: it may just have come to be so.
                over = true;
            }
            () = tokio::time::sleep(poll) => look(&app.service, &slot, &pipeline)?,
            () = app.service.ends() => {
                let cursor = slot.cursor(&pipeline).to_string();
                return Err(Problem::ending().with("cursor", cursor));
            }
        }
        pipeline = status.borrow_and_update().clone().ok_or_else(|| Problem::no_pipeline(&id))?;
    }
}

/// Reads the store: equal to the published state, unless a notification was missed.
fn look(service: &Service, slot: &Slot, told: &StoredPipeline) -> Result<(), Problem> {
    let kept = service.store.read(|it| store::pipeline(it, &slot.id))?;
    let newest = slot.pipeline();
    let behind = match (&kept, &newest) {
        (Some(kept), Some(newest)) => kept.incarnation == newest.incarnation && kept.revision > newest.revision,
        (None, Some(_)) => true,
        _ => false,
    };
    // Notifications follow the commit at once: only a persistent difference was missed.
    if behind && newest.as_deref() == Some(told) {
        service.count_missed(slot);
    }
    Ok(())
}
