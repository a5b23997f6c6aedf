//! `GET /pipelines/{id}/wait`: long poll that answers when the condition holds, when it can no
//! longer hold, or at the timeout.
//!
//! Subscribes, reads, checks, then waits for a notification, with a slow poll of the store as a
//! fallback; reads once more at the timeout. So no change is missed between check and subscription,
//! and a timeout that coincides with the change reports the change.

use crate::service::api::app::{ApiResult, Peer, Shared, ok};
use crate::service::api::body::{self, Query};
use crate::service::api::waits::WaitPermit;
use crate::service::late_response::{MayBeLate, late};
use crate::service::model::{Cursor, ParkReason, StoredPipeline, StoredRetry};
use crate::service::observer::observe;
use crate::service::problem::Problem;
use crate::service::registry::Service;
use crate::service::slot::{Observer, RunFacts, Slot};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use std::sync::Arc;
use std::time::Duration;
use synctop_core::fleet::wire::WaitBody;
use synctop_core::fleet::{DesiredStatus, PipelineStatus};
use synctop_core::protocol::{Status as StreamStatus, quantity};
use tokio::sync::watch;
use tokio::time::Instant;

/// Default timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum timeout. Longer ones are reduced to it; the response contains the timeout in effect.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// Polling interval of the store, plus a jitter of up to one half.
const POLL: Duration = Duration::from_secs(5);

/// Maximum number of stream names in the response to a wait for an unknown stream.
const MAX_STREAM_NAMES: usize = 100;

/// Target of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitTarget {
    Status(PipelineStatus),
    /// Next checkpoint.
    Progress,
    NotParked,
    /// Status of a stream of the last run.
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

    /// True if the target is reached.
    fn reached(&self, pipeline: &StoredPipeline, facts: &RunFacts, checkpoints: u64) -> bool {
        let life = pipeline.life;
        match self {
            Self::Status(status) => life.status() == *status,
            Self::Progress => facts.checkpoints > checkpoints,
            Self::NotParked => life.status() != PipelineStatus::Error,
            Self::Stream(name, status) => {
                let progress = facts.of(pipeline.last.as_ref());
                progress.and_then(|it| it.stream(name)).is_some_and(|stream| stream.has_final_status(*status))
            }
        }
    }

    /// True if the target cannot be reached without action.
    fn is_unreachable(&self, pipeline: &StoredPipeline, facts: &RunFacts) -> bool {
        let life = pipeline.life;
        match life.status() {
            PipelineStatus::Error => *self != Self::NotParked && *self != Self::Status(PipelineStatus::Error),
            PipelineStatus::Paused => life.desired == DesiredStatus::Paused,
            // Nothing is read until a request arrives; live events still bring progress.
            PipelineStatus::Ready if life.desired == DesiredStatus::Active => match self {
                Self::Stream(name, status) => facts
                    .of(pipeline.last.as_ref())
                    .is_some_and(|run| run.stream(name).is_none_or(|stream| !stream.has_final_status(*status))),
                _ => false,
            },
            _ => false,
        }
    }

    /// Returns the stream names of the last run if the requested stream is none of them.
    fn known_streams(&self, pipeline: &StoredPipeline, facts: &RunFacts) -> Option<Vec<Arc<str>>> {
        let Self::Stream(name, _) = self else { return None };
        let run = facts.of(pipeline.last.as_ref())?;
        let run = Some(run).filter(|run| !run.streams.is_empty() && run.stream(name).is_none())?;
        Some(run.streams.iter().take(MAX_STREAM_NAMES).map(|stream| Arc::clone(&stream.name)).collect())
    }
}

/// Parses a timeout: seconds, or a number with a unit. `0` is no wait.
fn timeout(text: &str) -> Result<Duration, Problem> {
    if matches!(text, "0" | "0s" | "0m" | "0h") {
        return Ok(Duration::ZERO);
    }
    quantity::span(text).map_err(|what| Problem::invalid(&["timeout"], format!("expected {what}")))
}

/// Timeout in the header `Prefer: wait=10` (RFC 7240, 4.3).
fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let prefer = headers.get("prefer")?.to_str().ok()?;
    let seconds = prefer.split([',', ';']).find_map(|part| part.trim().strip_prefix("wait="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Parses a cursor of this pipeline.
///
/// # Errors
/// Returns 400 if the text is no cursor, 410 if it does not belong to the stored pipeline.
pub fn cursor(slot: &Slot, pipeline: &StoredPipeline, text: &str, name: &str) -> Result<Cursor, Problem> {
    let cursor: Cursor = text.parse().map_err(|()| {
        Problem::invalid(&[name], "expected a cursor as the service gave it (events: or start, or now)")
    })?;
    // The cursor is of an earlier pipeline of that name, or the store was restored from a backup.
    if cursor.incarnation != slot.incarnation || cursor.revision > pipeline.revision || cursor.position > slot.log.end()
    {
        let sentence = "this position is no longer known: read the pipeline again and continue from its cursor";
        return Err(Problem::new(410, "cursor_expired", sentence).with("cursor", slot.cursor(pipeline).to_string()));
    }
    Ok(cursor)
}

/// `GET /pipelines/{id}/wait`
pub async fn wait(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    may_be_late: Option<Extension<MayBeLate>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> ApiResult {
    let query = Query::read(query.as_deref(), &["for", "timeout", "after"])?;
    let condition = query.text("for").unwrap_or("ready");
    let target = WaitTarget::read(condition)?;
    let requested_time = match query.text("timeout") {
        Some(text) => timeout(text)?,
        None => preferred(&headers).unwrap_or(DEFAULT_TIMEOUT),
    };
    let time = requested_time.min(MAX_TIMEOUT);
    let slot = body::pipeline(&app.service, &id).await?;
    let permit = app.waits.enter(ip)?;

    // Subscribing before reading misses no change.
    let mut status = slot.status.subscribe();
    let mut facts = slot.facts.subscribe();
    let pipeline = status.borrow_and_update().clone().ok_or_else(|| Problem::no_pipeline(&id))?;
    let after = query.text("after").map(|text| cursor(&slot, &pipeline, text, "after")).transpose()?;
    let current = facts.borrow_and_update().checkpoints;
    // After a crash the count may be below that of the cursor: the lost checkpoints are repeated.
    let checkpoints = after.map_or(current, |after| after.checkpoints.min(current));
    // The state of streams is in the log alone, if another node runs the pipeline.
    let observer = matches!(target, WaitTarget::Stream(..)).then(|| observe(&app.service, &slot)).flatten();
    let mut wait = OpenWait {
        _observer: observer,
        condition: condition.into(),
        service: Arc::clone(&app.service),
        slot,
        status,
        facts,
        pipeline,
        target,
        after: after.map(|after| after.revision),
        checkpoints,
        begun: Instant::now(),
        time,
        _permit: permit,
    };
    match wait.answer(time.is_zero()) {
        Some(body) => Ok(ok(&body)),
        None if may_be_late.is_some() => Ok(late(async move { wait.end().await.into_response() })),
        None => wait.end().await,
    }
}

/// Wait whose condition is not decided. Thousands of them may be open.
struct OpenWait {
    service: Arc<Service>,
    slot: Arc<Slot>,
    status: watch::Receiver<Option<Arc<StoredPipeline>>>,
    facts: watch::Receiver<RunFacts>,
    /// State of the pipeline as last checked.
    pipeline: Arc<StoredPipeline>,
    target: WaitTarget,
    /// Condition as in the request.
    condition: Box<str>,
    /// Revision at the cursor of the client.
    after: Option<u64>,
    checkpoints: u64,
    begun: Instant,
    time: Duration,
    _observer: Option<Arc<Observer>>,
    _permit: WaitPermit,
}

impl OpenWait {
    /// Waits until the condition is decided.
    async fn end(mut self) -> ApiResult {
        let deadline = self.begun + self.time;
        let needs_facts = matches!(self.target, WaitTarget::Progress | WaitTarget::Stream(..));
        loop {
            let poll = Instant::now() + POLL.mul_f64(1.0 + crate::util::sys::jitter() * 0.5);
            let mut last_check = false;
            tokio::select! {
                changed = self.status.changed() => {
                    if changed.is_err() { return Err(Problem::no_pipeline(&self.slot.id)); }
                }
                _ = self.facts.changed(), if needs_facts => {}
                () = tokio::time::sleep_until(poll.min(deadline)) => {
                    // At the deadline, checks once more: the change may coincide with it.
                    last_check = deadline <= poll;
                    if !last_check {
                        detect_missed(&self.service, &self.slot, &self.pipeline).await?;
                    }
                }
                () = self.service.ends() => {
                    let cursor = self.slot.cursor(&self.pipeline).to_string();
                    return Err(Problem::ending().with("cursor", cursor));
                }
            }
            let pipeline = self.status.borrow_and_update().clone();
            self.pipeline = pipeline.ok_or_else(|| Problem::no_pipeline(&self.slot.id))?;
            if let Some(body) = self.answer(last_check) {
                return Ok(ok(&body));
            }
        }
    }

    /// Returns the response if the condition holds or can no longer hold, or if it is the last check.
    fn answer(&mut self, last_check: bool) -> Option<WaitBody> {
        let known = self.facts.borrow_and_update().clone();
        let (pipeline, life) = (&*self.pipeline, self.pipeline.life);
        let reached = self.target.reached(pipeline, &known, self.checkpoints);
        // A state at the caller's cursor may precede the change that the caller waits for.
        let newer = self.after.is_none_or(|after| pipeline.revision > after);
        let ended = !reached && self.target.is_unreachable(pipeline, &known) && (newer || life.is_settled());
        (reached || ended || last_check).then(|| WaitBody {
            id: Some((&*self.slot.id).into()),
            condition: Some(self.condition.clone().into()),
            status: Some(life.status().as_str().into()),
            desired_status: Some(life.desired.as_str().into()),
            reason: pipeline.reason.as_ref().map(ParkReason::body),
            retry: pipeline.retry.as_ref().map(StoredRetry::body),
            reached: Some(reached),
            timed_out: Some(!reached && !ended),
            timeout: Some(self.time.as_secs_f64()),
            waited_ms: Some(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)),
            streams: self.target.known_streams(pipeline, &known),
            cursor: Some(self.slot.cursor(pipeline).to_string().into()),
        })
    }
}

/// Compares the stored with the published state and counts a missed notification.
async fn detect_missed(service: &Arc<Service>, slot: &Slot, seen: &StoredPipeline) -> Result<(), Problem> {
    let id = slot.id.clone();
    let kept = service.store.read(move |it| it.pipeline(&id)).await?;
    let newest = slot.pipeline();
    let behind = match (&kept, &newest) {
        (Some(kept), Some(newest)) => kept.incarnation == newest.incarnation && kept.revision > newest.revision,
        (None, Some(_)) => true,
        _ => false,
    };
    // A notification follows its commit at once: it was missed if the published state still is the
    // one that the wait saw.
    if behind && newest.as_deref() == Some(seen) {
        service.count_missed(slot);
        service.read_slot(&slot.id).await?;
    }
    Ok(())
}
