//! `GET /pipelines/{id}/why`: the reasons that a pipeline runs or does not.

use crate::service::api::app::{ApiResult, App, Shared, ok};
use crate::service::api::body;
use crate::service::model::{StoredPipeline, Task};
use crate::service::problem::Problem;
use crate::service::slot::Slot;
use crate::service::store::StoredAction;
use crate::util::sys::now;
use axum::extract::{Path, State};
use serde_json::Value;
use synctop_core::fleet::wire::{TaskState, WhyBody, WhyKind, WhyReason};
use synctop_core::fleet::{DesiredStatus, PipelineStatus};
use synctop_core::protocol::{Millis, time};

/// Maximum entries of the action log in which the pause is searched.
const MAX_SEARCHED_ACTIONS: usize = 200;

/// `GET /pipelines/{id}/why`
pub async fn why(State(app): Shared, Path(id): Path<String>) -> ApiResult {
    let slot = body::pipeline(&app.service, &id).await?;
    let pipeline = slot.pipeline().ok_or_else(|| Problem::no_pipeline(&id))?;
    let task = match pipeline.task.clone() {
        Some(task) => app.service.store.read(move |it| it.task(&task)).await?,
        None => None,
    };
    let paused = pipeline.life.desired == DesiredStatus::Paused;
    let actions = if paused {
        let id = id.clone();
        app.service.store.read(move |it| it.actions(Some(&id), u64::MAX, MAX_SEARCHED_ACTIONS)).await?
    } else {
        Vec::new()
    };
    let reasons = reasons(&app, &slot, &pipeline, task.as_ref(), &actions);
    let is_running = task.as_ref().is_some_and(|task| task.state == TaskState::Running)
        && reasons.iter().all(|reason| reason.kind.as_deref() == Some(WhyKind::Running.as_str()));
    let status = Some(pipeline.life.status().as_str().into());
    Ok(ok(&WhyBody { id: Some(id.into()), status, is_running: Some(is_running), reasons }))
}

fn reason(kind: WhyKind, message: impl Into<String>) -> WhyReason {
    WhyReason { kind: Some(kind.as_str().into()), message: message.into(), ..WhyReason::default() }
}

/// Returns the reason that no node runs a pipeline; `None` if one does, or the service has one node.
pub fn unassigned(app: &App, slot: &Slot, pipeline: &StoredPipeline) -> Option<String> {
    let peers = app.service.peers.as_ref()?;
    if peers.name_of(slot).is_some() {
        return None;
    }
    let labels = pipeline.config.required_labels();
    Some(if labels.is_empty() {
        "no node has taken it yet".to_owned()
    } else {
        format!("no node has taken it: it requires the labels {}", labels.join(", "))
    })
}

/// Returns the reasons, the one that has to go first.
fn reasons(
    app: &App,
    slot: &Slot,
    pipeline: &StoredPipeline,
    task: Option<&Task>,
    actions: &[StoredAction],
) -> Vec<WhyReason> {
    let mut all = Vec::new();
    if pipeline.life.desired == DesiredStatus::Deleted {
        all.push(reason(WhyKind::Deleting, "it is being deleted"));
    }
    match pipeline.life.status() {
        PipelineStatus::Error => {
            let parked = pipeline.reason.as_ref();
            let message = parked.map_or_else(|| "it is parked".into(), |it| format!("it is parked: {}", it.message));
            all.push(WhyReason { since: parked.map(|it| it.since), ..reason(WhyKind::Parked, message) });
        }
        PipelineStatus::Paused => all.push(paused(actions, "it is paused")),
        _ if pipeline.life.desired == DesiredStatus::Paused => {
            all.push(paused(actions, "it is to be paused: its call comes to a checkpoint first"));
        }
        _ => {}
    }
    let peers = app.service.peers.as_ref();
    all.extend(unassigned(app, slot, pipeline).map(|why| reason(WhyKind::NoNode, why)));
    let retry = pipeline.retry.as_ref().filter(|retry| retry.at > now());
    if let Some(retry) = retry
        && pipeline.life.desired == DesiredStatus::Active
    {
        all.push(WhyReason {
            until: Some(retry.at),
            ..reason(WhyKind::Backoff, format!("it retries: {}", retry.message))
        });
    }
    match task {
        Some(task) if task.state == TaskState::Pending && retry.is_none() && all.is_empty() => {
            // Only its own node knows whether an engine is free.
            let is_elsewhere = slot.fence().is_none();
            if is_elsewhere || app.service.permits.available_permits() == 0 {
                let most = app.service.config.limits.runs;
                let may = if is_elsewhere { "begins within seconds, or waits" } else { "waits" };
                let message = format!("its run {may} for its turn: a node runs {most} engines at once");
                all.push(WhyReason { since: Some(task.created_at), ..reason(WhyKind::RunLimit, message) });
            }
        }
        Some(task) if all.is_empty() => {
            let on = peers.and_then(|peers| peers.name_of(slot)).map_or_else(String::new, |node| format!(" on {node}"));
            all.push(WhyReason { since: task.started_at, ..reason(WhyKind::Running, format!("its run is open{on}")) });
        }
        _ => {}
    }
    if all.is_empty() && pipeline.life.status() == PipelineStatus::Ready {
        all.push(idle(pipeline));
    }
    if all.is_empty() {
        all.push(reason(WhyKind::Starting, "it begins within seconds"));
    }
    all
}

/// Reason of a pipeline with nothing left to read.
fn idle(pipeline: &StoredPipeline) -> WhyReason {
    match pipeline.schedule() {
        Some((schedule, plan)) => {
            let next = schedule.next_begin(&pipeline.id, plan);
            let message = format!("nothing is left to read: its schedule starts the next run at {}", time::iso(next));
            WhyReason { until: Some(next), ..reason(WhyKind::Schedule, message) }
        }
        None => reason(WhyKind::Idle, "nothing is left to read, and it has no schedule: a request starts a run"),
    }
}

/// Reason of a pause, with the client that requested it.
fn paused(actions: &[StoredAction], message: &str) -> WhyReason {
    let desired = |it: &StoredAction, when: &str| {
        let status = it.detail.as_ref().and_then(|detail| detail.pointer(&format!("/{when}/desired_status")));
        status.and_then(Value::as_str).map(str::to_owned)
    };
    let is_pause = |it: &&StoredAction| {
        desired(it, "after").as_deref() == Some("paused") && desired(it, "before").as_deref() != Some("paused")
    };
    let found = actions.iter().find(is_pause);
    let by = found.map(|it| it.client.clone());
    let since: Option<Millis> = found.map(|it| it.at);
    let message = by.as_ref().map_or_else(|| message.to_owned(), |by| format!("{message}, by {by}"));
    WhyReason { by, since, ..reason(WhyKind::Paused, message) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn kinds_are_those_of_the_document() {
        let document: Value = serde_json::from_str(include_str!("../../../assets/openapi.json")).unwrap();
        let schema = &document["components"]["schemas"]["Why"]["properties"]["reasons"]["items"];
        let kinds: Vec<_> = WhyKind::iter().map(WhyKind::as_str).collect();
        assert_eq!(schema["properties"]["kind"]["enum"], serde_json::json!(kinds));
    }
}
