//! Handlers of runs: request, status, cancellation; and the single calls of the published service.

use crate::service::api::app::{ApiResult, App, Peer, Shared, already_running, answer, lines, ok, page};
use crate::service::api::body::{self, Query};
use crate::service::api::events;
use crate::service::api::pipelines::{digest, idempotency_key, key_reused};
use crate::service::lifecycle::{LifecycleEvent, Phase};
use crate::service::model::{CallLimits, Task};
use crate::service::problem::Problem;
use crate::service::registry::apply_event;
use crate::service::run::create_task;
use crate::service::secrets;
use crate::service::slot::{Slot, live_task};
use crate::service::store::DamagedTask;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use synctop_core::fleet::DesiredStatus;
use synctop_core::fleet::requests::StartRun;
use synctop_core::fleet::wire::{TaskBody, TaskState, Trigger};

const PAGE: u64 = 100;

/// Reads the options of a single call, which the published service has in the query.
fn run_of_query(query: Option<&str>) -> Result<StartRun, Problem> {
    let known = ["time_limit", "state_limit", "run_id", "reset_state", "force"];
    let query = Query::read(query, &known)?;
    let mut fields = Map::new();
    for key in ["time_limit", "state_limit"] {
        if let Some(text) = query.text(key) {
            let number: Value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
            fields.insert(key.into(), number);
        }
    }
    fields.extend(query.text("run_id").map(|id| ("run_id".to_owned(), id.into())));
    fields.insert("reset_state".into(), query.flag("reset_state")?.into());
    Ok(StartRun::read(fields)?)
}

/// Opens a run, or returns the run that an earlier request with the same key opened.
async fn open(
    app: &Arc<App>,
    slot: &Arc<Slot>,
    ip: IpAddr,
    trigger: Trigger,
    options: StartRun,
    key: Option<(String, String)>,
) -> Result<Task, Problem> {
    let log = slot.log.clone();
    let (_, task) = app
        .service
        .change(slot, move |tx, pipeline| {
            let scope = format!("runs of {}.{}", pipeline.id, pipeline.incarnation);
            if let Some((key, request)) = &key
                && let Some((of, task)) = tx.stored_answer(key, &scope)?
            {
                let known = tx.task(&task)?;
                return match known {
                    _ if of != *request => Err(key_reused()),
                    Some(task) => Ok(task),
                    None => Err(Problem::new(410, "task_expired", "the run of this key is no longer stored")),
                };
            }
            let was_ready = pipeline.life.phase == Phase::Ready;
            // The refusal of a paused pipeline takes precedence over that of an open run.
            apply_event(pipeline, LifecycleEvent::Run)?;
            if let Some(task) = &pipeline.task {
                return Err(already_running(&pipeline.id, task));
            }
            pipeline.retry = None;
            // A single call keeps the run id of the previous call; a requested run gets a new one.
            let run_id = options.run_id.or_else(|| pipeline.run_id.clone().filter(|_| trigger == Trigger::Sync));
            let limits = CallLimits { time_limit: options.time_limit, state_limit: options.state_limit };
            // Another node may write the log: then the database has its end.
            let end = tx.log_end(pipeline.incarnation)?.unwrap_or_else(|| log.end());
            let mut task = create_task(tx, pipeline, trigger, limits, run_id, end)?;
            (task.reset, task.was_ready) = (options.reset_state, was_ready);
            tx.put_task(&task)?;
            if let Some((key, request)) = &key {
                tx.put_answer(key, &scope, request, &task.id)?;
            }
            let detail = json!({"task_id": task.id, "trigger": trigger});
            tx.log_action(&ip.to_string(), "run", Some(&pipeline.id), Some(&detail))?;
            Ok(task)
        })
        .await?;
    Ok(task)
}

/// `POST /pipelines/{id}/runs`
pub async fn start(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let fields = body::json(&body)?;
    let request = digest(&Value::Object(fields.clone()).to_string());
    let options = StartRun::read(fields)?;
    let key = idempotency_key(&headers)?.map(|key| (key, request));
    let slot = body::pipeline(&app.service, &id).await?;
    let task = open(&app, &slot, ip, Trigger::Request, options, key).await?;
    let cursor = slot.pipeline().map(|pipeline| slot.cursor(&pipeline).to_string().into());
    Ok(answer(StatusCode::ACCEPTED, &TaskBody { cursor, ..task.body() }))
}

/// Opens a run of one call.
async fn open_single_call(
    app: &Arc<App>,
    id: &str,
    query: Option<&str>,
    ip: IpAddr,
) -> Result<(Arc<Slot>, Task), Problem> {
    let options = run_of_query(query)?;
    let slot = body::pipeline(&app.service, id).await?;
    let task = open(app, &slot, ip, Trigger::Sync, options, None).await?;
    Ok((slot, task))
}

/// `POST /pipelines/{id}/sync`: streams the messages of one call. The call continues if the client
/// disconnects.
pub async fn sync(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> ApiResult {
    let permit = app.readers.enter()?;
    let (slot, task) = open_single_call(&app, &id, query.as_deref(), ip).await?;
    let mut response = lines(events::run_output(&app, &slot, &task, permit));
    if let Ok(id) = task.id.parse() {
        response.headers_mut().insert("x-task-id", id);
    }
    Ok(response)
}

/// `POST /pipelines/{id}/sync_batch`: makes one call and returns its result.
pub async fn sync_batch(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> ApiResult {
    let (slot, task) = open_single_call(&app, &id, query.as_deref(), ip).await?;
    let mut status = slot.status.subscribe();
    let open = |it: &Option<Arc<crate::service::model::StoredPipeline>>| {
        it.as_ref().is_some_and(|it| it.task.as_ref() == Some(&task.id))
    };
    tokio::select! {
        _ = status.wait_for(|it| !open(it)) => {}
        () = app.service.ends() => return Err(Problem::ending().with("task_id", task.id)),
    }
    let id = task.id;
    let task = read_task(&app, &id).await?;
    let end = events::last_end_payload(&slot, &task).await?;
    let Some(Value::Object(mut end)) = end else {
        let why = task.message.clone().unwrap_or_else(|| "the call ended without an end message".into());
        return Err(Problem::new(502, "sync_failed", why).with("task_id", task.id));
    };
    // The next call continues from the stored state, not from the one in the end message.
    let id = slot.id.clone();
    let kept = app.service.store.read(move |it| it.state(&id)).await?.state;
    let sections = kept.as_deref().and_then(super::pipelines::engine_sections);
    let known = match slot.pipeline() {
        Some(pipeline) => slot.known_secrets(&app.service.engines, &app.service.config.secrets, &pipeline).await,
        None => Arc::default(),
    };
    let shown = sections.map(|state| known.mask_values(&state).into_owned());
    if let Some(mut state) = shown.and_then(|state| serde_json::from_str::<Value>(&state).ok()) {
        secrets::mask(&mut state);
        end.insert("ending_state".into(), state);
    }
    if task.state == TaskState::Failed {
        end.insert("message".into(), task.message.clone().into());
    }
    end.insert("task_id".into(), task.id.into());
    Ok(ok(&Value::Object(end)))
}

/// Returns the run with this task id.
async fn read_task(app: &App, id: &str) -> Result<Task, Problem> {
    let name = id.to_owned();
    app.service.store.read(move |it| it.task(&name)).await?.ok_or_else(|| no_task(id))
}

fn no_task(id: &str) -> Problem {
    Problem::new(404, "task_not_found", format!("Task {id} not found"))
}

/// `GET /pipelines/{id}/runs`
pub async fn list(State(app): Shared, Path(id): Path<String>, RawQuery(query): RawQuery) -> ApiResult {
    let query = Query::read(query.as_deref(), &["limit", "before"])?;
    let limit = query.number("limit", 1..=1_000)?.unwrap_or(PAGE);
    let before = query.number("before", 1..=u64::MAX)?.unwrap_or(u64::MAX);
    let slot = body::pipeline(&app.service, &id).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX) + 1;
    let (name, incarnation) = (id.clone(), slot.incarnation);
    let mut found = app.service.store.read(move |it| it.tasks(&name, incarnation, before, most)).await?;
    let has_more = found.len() as u64 > limit;
    found.truncate(most - 1);
    let next = found.last().map(|task| task.as_ref().map_or_else(|damaged| damaged.number, |task| task.number));
    let body = |task: Result<Task, DamagedTask>| match task {
        Ok(task) => live_task(&slot, task).body(),
        Err(damaged) => damaged_task(&id, damaged),
    };
    let data = found.into_iter().map(body).collect();
    Ok(page(data, next.filter(|_| has_more).map(Value::from)))
}

/// Returns the entry of a run whose stored data cannot be read.
fn damaged_task(pipeline: &str, damaged: DamagedTask) -> TaskBody<Value> {
    TaskBody {
        task_id: Some(damaged.id.into()),
        pipeline_id: Some(pipeline.into()),
        number: Some(damaged.number),
        status: Some(TaskState::Failed.as_str().into()),
        message: Some("the stored data of this run cannot be read".into()),
        ..TaskBody::default()
    }
}

/// `GET /tasks/{task_id}`
pub async fn get(State(app): Shared, Path(id): Path<String>) -> ApiResult {
    let task = read_task(&app, &id).await?;
    let task = match app.service.read_slot(&task.pipeline).await? {
        Some(slot) => live_task(&slot, task),
        None => task,
    };
    Ok(ok(&task.body()))
}

/// `DELETE /tasks/{task_id}`: cancels a run at its next checkpoint. A finished run stays unchanged.
pub async fn cancel(State(app): Shared, Extension(Peer(ip)): Extension<Peer>, Path(id): Path<String>) -> ApiResult {
    let task = read_task(&app, &id).await?;
    if task.state.is_finished() {
        return Ok(ok(&task.body()));
    }
    let slot = app.service.read_slot(&task.pipeline).await?.ok_or_else(|| Problem::no_pipeline(&task.pipeline))?;
    let (_, task) = app
        .service
        .change(&slot, move |tx, pipeline| {
            let mut task = tx.task(&id)?.ok_or_else(|| no_task(&id))?;
            if !task.state.is_finished() && !task.cancel {
                let before = pipeline.life.desired;
                task.cancel = true;
                tx.put_task(&task)?;
                pipeline.retry = None;
                // Unless paused, a pipeline in backfill would open the next run at once.
                if !task.ready_if_canceled() && pipeline.life.desired != DesiredStatus::Deleted {
                    apply_event(pipeline, LifecycleEvent::Want(DesiredStatus::Paused))?;
                }
                // A new revision notifies the reconciler.
                pipeline.revision += 1;
                let detail = json!({
                    "task_id": id, "before": {"desired_status": before}, "after": {"desired_status": pipeline.life.desired},
                });
                tx.log_action(&ip.to_string(), "cancel", Some(&pipeline.id), Some(&detail))?;
            }
            Ok(task)
        })
        .await?;
    Ok(answer(StatusCode::ACCEPTED, &live_task(&slot, task).body()))
}
