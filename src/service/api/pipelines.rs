//! Handlers that create, read, update and delete pipelines.

use crate::engine::backfill::retry_loop::{Backfill, BackfillOptions};
use crate::service::api::app::{ApiResult, App, Peer, Shared, answer, ok};
use crate::service::api::body::{self, Query};
use crate::service::api::check;
use crate::service::api::why::unassigned;
use crate::service::engines::SourceConfigError;
use crate::service::lifecycle::LifecycleEvent;
use crate::service::model::{PipelineConfig, StoredPipeline, Task};
use crate::service::problem::Problem;
use crate::service::registry::apply_event;
use crate::service::schedule::ScheduleConfig;
use crate::service::secrets;
use crate::service::slot::{Slot, live_task};
use crate::util::sys::now;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use synctop_core::fleet::requests::{CreatePipeline, UpdatePipeline, validate_id};
use synctop_core::fleet::wire::PipelineBody;
use synctop_core::fleet::{DesiredStatus, PipelineStatus};

/// Maximum time that a deletion waits for the teardown.
const TEARDOWN_WAIT: Duration = Duration::from_secs(5);

/// Maximum length of an idempotency key, as in Stripe's API.
const MAX_KEY_LENGTH: usize = 255;

/// Pipelines whose runs and states are read at once: a state may be large.
const READ_AT_ONCE: usize = 100;

/// Pipeline of a list, as it was when the list was read.
pub type ListedPipeline = (Arc<Slot>, Arc<StoredPipeline>);

/// Returns the body of a pipeline with its last run, and its state.
async fn pipeline_body(
    app: &App,
    slot: &Arc<Slot>,
    pipeline: &Arc<StoredPipeline>,
    with_state: bool,
) -> Result<PipelineBody<Value, Value>, Problem> {
    let mut bodies = pipeline_bodies(app, &[(Arc::clone(slot), Arc::clone(pipeline))], with_state).await?;
    bodies.pop().ok_or_else(|| Problem::no_pipeline(&pipeline.id))
}

/// Returns the bodies of pipelines with their last runs, and their states if requested.
pub async fn pipeline_bodies(
    app: &App,
    pipelines: &[ListedPipeline],
    with_state: bool,
) -> Result<Vec<PipelineBody<Value, Value>>, Problem> {
    let mut bodies = Vec::with_capacity(pipelines.len());
    for part in pipelines.chunks(READ_AT_ONCE) {
        let ids: Vec<String> = part.iter().map(|(slot, _)| slot.id.clone()).collect();
        let last: Vec<String> = part.iter().filter_map(|(_, pipeline)| pipeline.last.clone()).collect();
        let read = app.service.store.read(move |it| {
            // The runs first: a state is that of the end of its run, or a later one.
            let tasks = it.tasks_of_page(&last)?;
            Ok((tasks, if with_state { it.states_of_page(&ids)? } else { HashMap::new() }))
        });
        let (mut tasks, mut states) = read.await?;
        for (slot, pipeline) in part {
            let task = pipeline.last.as_ref().and_then(|last| tasks.remove(last));
            bodies.push(body_of(app, slot, pipeline, task, states.remove(&slot.id)).await);
        }
    }
    Ok(bodies)
}

async fn body_of(
    app: &App,
    slot: &Slot,
    pipeline: &StoredPipeline,
    task: Option<Task>,
    kept: Option<String>,
) -> PipelineBody<Value, Value> {
    let kept = kept.and_then(|kept| engine_sections(&kept));
    let task = task.map(|task| live_task(slot, task));
    let known = match &kept {
        Some(_) => slot.known_secrets(&app.service.engines, &app.service.config.secrets, pipeline).await,
        None => Arc::default(),
    };
    let fields = app.service.engines.secret_fields(pipeline.config.engine());
    let body = pipeline.body(kept.as_deref(), &known, fields, task.as_ref(), slot.cursor(pipeline));
    let node = app.service.peers.as_ref().and_then(|peers| peers.name_of(slot));
    let unassigned = unassigned(app, slot, pipeline).map(Into::into);
    PipelineBody { node, unassigned, ..body }
}

/// Returns the engine's sections of a stored state, without the service's own data.
pub fn engine_sections(kept: &str) -> Option<String> {
    let run = Backfill::new(BackfillOptions::default(), Some(kept), String::new()).ok()?;
    run.has_state().then(|| run.state().get().to_owned())
}

/// Reads the idempotency key of a request.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=MAX_KEY_LENGTH).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::invalid(&["Idempotency-Key"], format!("a key has 1 to {MAX_KEY_LENGTH} characters"))),
    }
}

/// Error for an idempotency key that was used for another request.
pub fn key_reused() -> Problem {
    Problem::new(422, "idempotency_key_reused", "the Idempotency-Key was used for another request: use a new one")
}

/// `POST /pipelines`
pub async fn create(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    let query = Query::read(query.as_deref(), &["skip_check"])?;
    let skip_check = query.flag("skip_check")?;
    let key = idempotency_key(&headers)?;
    let fields = body::json(&body)?;
    let request = Value::Object(fields.clone()).to_string();
    if let Some(key) = &key {
        let (key, request) = (key.clone(), request.clone());
        let known =
            app.service.store.write(move |tx| tx.stored_answer(&key, "pipelines").map_err(Problem::from)).await?;
        if let Some((of, id)) = known {
            if of != digest(&request) {
                return Err(key_reused());
            }
            let slot = wait_for_slot(&app, &id).await?;
            let pipeline = slot.pipeline().ok_or_else(|| Problem::no_pipeline(&id))?;
            return Ok(answer(StatusCode::CREATED, &pipeline_body(&app, &slot, &pipeline, true).await?));
        }
    }
    let CreatePipeline { id, source, destination, streams, requires, schedule, desired_status } =
        CreatePipeline::read(fields)?;
    let id = id.unwrap_or_else(|| crate::util::sys::random_id("pipe"));
    app.service.engines.validate(&source).map_err(bad_source)?;
    let schedule = schedule.map(read_schedule).transpose()?;
    let config = PipelineConfig { source, destination, streams, requires, schedule };
    let mut pipeline = StoredPipeline::new(id, config);
    pipeline.plan_schedule(now());
    if app.service.read_slot(&pipeline.id).await?.is_some() {
        return Err(Problem::new(409, "pipeline_exists", format!("Pipeline {} already exists", pipeline.id)));
    }
    if !skip_check {
        check::check_before_creation(&app, &pipeline).await?;
    }
    apply_event(&mut pipeline, LifecycleEvent::Want(desired_status))?;
    let slot = app
        .service
        .create(pipeline, move |tx, pipeline| {
            if let Some(key) = key {
                // Another request may have used the same key since the check above.
                if let Some((of, id)) = tx.stored_answer(&key, "pipelines")? {
                    let same = of == digest(&request);
                    return Err(if same { Problem::new(409, "created_already", id) } else { key_reused() });
                }
                tx.put_answer(&key, "pipelines", &digest(&request), &pipeline.id)?;
            }
            Ok(tx.log_action(&ip.to_string(), "create", Some(&pipeline.id), None)?)
        })
        .await;
    let slot = match slot {
        Err(problem) if problem.code == "created_already" => wait_for_slot(&app, &problem.sentence).await?,
        made => made?,
    };
    let pipeline = slot.pipeline().ok_or_else(|| Problem::no_pipeline(&slot.id))?;
    Ok(answer(StatusCode::CREATED, &pipeline_body(&app, &slot, &pipeline, true).await?))
}

/// Reads the schedule of a request.
fn read_schedule(value: Value) -> Result<ScheduleConfig, Problem> {
    let invalid = |error: &dyn std::fmt::Display| Problem::invalid(&["schedule"], error.to_string());
    let config: ScheduleConfig = serde_json::from_value(value).map_err(|error| invalid(&error))?;
    config.read().map_err(|error| invalid(&error))?;
    Ok(config)
}

/// Error for a source with an unknown engine or an invalid configuration.
fn bad_source(error: SourceConfigError) -> Problem {
    let (code, path) = match error {
        SourceConfigError::NoEngine { .. } => ("unknown_engine", "type"),
        _ => ("invalid_request", "simulated"),
    };
    let issue = json!([{"path": ["source", path], "message": error.to_string()}]);
    Problem::new(400, code, error).with("issues", issue)
}

/// Waits until a pipeline that a concurrent request creates is registered; at most two seconds.
async fn wait_for_slot(app: &App, id: &str) -> Result<Arc<Slot>, Problem> {
    for _ in 0..100 {
        if let Some(slot) = app.service.read_slot(id).await? {
            return Ok(slot);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Problem::no_pipeline(id))
}

/// Returns a SHA-256 hash of a request, so that its secrets are not stored.
pub fn digest(request: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, request.as_bytes());
    crate::util::sys::hex(digest.as_ref())
}

/// `GET /pipelines/{id}`
pub async fn get(State(app): Shared, Path(id): Path<String>, RawQuery(query): RawQuery) -> ApiResult {
    let query = Query::read(query.as_deref(), &["state"])?;
    let with_state = query.text("state").is_none() || query.flag("state")?;
    if let Some(broken) = app.service.read_broken(&id).await? {
        return Ok(ok(&broken.body()));
    }
    let slot = body::pipeline(&app.service, &id).await?;
    let pipeline = slot.pipeline().ok_or_else(|| Problem::no_pipeline(&id))?;
    Ok(ok(&pipeline_body(&app, &slot, &pipeline, with_state).await?))
}

/// `PATCH /pipelines/{id}`: changes the desired state or the configuration.
pub async fn update(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult {
    validate_id(&id)?;
    let Some(slot) = app.service.read_slot(&id).await? else {
        if let Some(broken) = app.service.broken(&id) {
            return Err(broken.problem());
        }
        let name = id.clone();
        let was_there = app.service.store.read(move |it| it.is_deleted(&name)).await?;
        let deleted = Problem::new(409, "pipeline_deleted", "Pipeline is deleted — create a new pipeline instead");
        return Err(if was_there { deleted } else { Problem::no_pipeline(&id) });
    };
    let update = UpdatePipeline::read(body::json(&body)?, &id)?;
    let expected = match headers.get(header::IF_MATCH).map(|it| it.to_str().unwrap_or_default().trim_matches('"')) {
        None | Some("*") => None,
        Some(revision) => {
            let revision: Result<u64, _> = revision.parse();
            Some(revision.map_err(|_| Problem::invalid(&["If-Match"], "expected a revision"))?)
        }
    };
    if let Some(source) = &update.source {
        app.service.engines.validate(source).map_err(bad_source)?;
    }
    let schedule = update.schedule.clone().map(|schedule| schedule.map(read_schedule).transpose()).transpose()?;
    let client = ip.to_string();
    let engine = slot.pipeline().map(|it| it.config.engine().to_owned()).unwrap_or_default();
    let fields = app.service.engines.secret_fields(&engine).to_vec();
    let (pipeline, ()) = app
        .service
        .change(&slot, move |tx, pipeline| {
            if let Some(expected) = expected.filter(|it| *it != pipeline.revision) {
                let sentence = format!("Pipeline {} is at revision {}, not {expected}", pipeline.id, pipeline.revision);
                return Err(Problem::new(412, "revision_changed", sentence).with("revision", pipeline.revision));
            }
            let before = (pipeline.life.desired, pipeline.life.status());
            let changed = update.changes_config();
            let UpdatePipeline { source, destination, streams, requires, desired_status, .. } = update;
            if changed {
                if pipeline.life.desired == DesiredStatus::Deleted {
                    return Err(Problem::refused(&pipeline.id, crate::service::lifecycle::Refusal::Deleted));
                }
                let mut config = pipeline.config.as_ref().clone();
                for (own, new) in [(&mut config.source, source), (&mut config.destination, destination)] {
                    if let Some(mut new) = new {
                        secrets::unmask(&mut new, own, &fields)
                            .map_err(|needed| Problem::invalid(&[needed.secret.as_str()], needed.to_string()))?;
                        *own = new;
                    }
                }
                if let Some(streams) = streams {
                    config.streams = streams;
                }
                if let Some(requires) = requires {
                    config.requires = requires;
                }
                let reschedules = schedule.as_ref().is_some_and(|schedule| *schedule != config.schedule);
                if let Some(schedule) = schedule {
                    config.schedule = schedule;
                }
                pipeline.config = Arc::new(config);
                if reschedules {
                    pipeline.plan_schedule(now());
                }
            }
            if let Some(desired) = desired_status {
                apply_event(pipeline, LifecycleEvent::Want(desired))?;
                if desired == DesiredStatus::Active && before.1 == PipelineStatus::Error {
                    pipeline.reason = None;
                }
                // A request of a person skips the remaining backoff.
                pipeline.retry = None;
            }
            let detail = json!({
                "before": {"desired_status": before.0, "status": before.1},
                "after": {"desired_status": pipeline.life.desired, "status": pipeline.life.status()},
                "config_changed": changed, "revision": pipeline.revision,
            });
            Ok(tx.log_action(&client, "update", Some(&pipeline.id), Some(&detail))?)
        })
        .await?;
    Ok(ok(&pipeline_body(&app, &slot, &pipeline, true).await?))
}

/// `DELETE /pipelines/{id}`: responds after the teardown, or with 202 while the teardown continues.
pub async fn delete(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> ApiResult {
    let query = Query::read(query.as_deref(), &["force"])?;
    let force = query.flag("force")?;
    if let Some(broken) = app.service.read_broken(&id).await? {
        app.service.delete_broken(&broken, ip.to_string()).await?;
        return Ok(ok(&json!({"id": id, "deleted": true})));
    }
    let slot = body::pipeline(&app.service, &id).await?;
    let mut status = slot.status.subscribe();
    let client = ip.to_string();
    app.service
        .change(&slot, move |tx, pipeline| {
            apply_event(pipeline, LifecycleEvent::Want(DesiredStatus::Deleted))?;
            pipeline.retry = None;
            Ok(tx.log_action(&client, if force { "delete with force" } else { "delete" }, Some(&pipeline.id), None)?)
        })
        .await?;
    if force {
        app.service.remove(&slot).await?;
    }
    let gone = tokio::time::timeout(TEARDOWN_WAIT, status.wait_for(Option::is_none)).await.is_ok();
    if gone {
        return Ok(ok(&json!({"id": id, "deleted": true})));
    }
    Ok(answer(StatusCode::ACCEPTED, &json!({"id": id, "deleted": false, "status": "teardown"})))
}
