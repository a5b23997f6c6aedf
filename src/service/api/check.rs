//! Handlers of the engine actions check, setup and teardown.

use crate::net::source::engine_http::CallOutcome;
use crate::service::api::app::{ApiResult, App, Peer, Shared, already_running, lines};
use crate::service::api::body::{self, Query};
use crate::service::engine_action::EngineAction;
use crate::service::engines::EngineCall;
use crate::service::model::StoredPipeline;
use crate::service::problem::Problem;
use crate::service::reconciler::add_returned_config;
use crate::service::secrets::KnownSecrets;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use synctop_core::protocol::LineFramer;
use tokio::sync::Notify;

/// Maximum wait for a permit.
const MAX_PERMIT_WAIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Maximum bytes of an engine's output.
const MAX_OUTPUT_BYTES: usize = 4 << 20;

/// Output of an engine: parsed messages, and the lines for the client with secrets masked.
struct EngineOutput {
    messages: Vec<Value>,
    shown: Vec<Vec<u8>>,
}

/// Calls the engine of a pipeline and collects its output.
async fn call_engine(app: &App, pipeline: &StoredPipeline, action: EngineAction) -> Result<EngineOutput, Problem> {
    let name = pipeline.config.engine();
    let mut engine_output = EngineOutput { messages: Vec::new(), shown: Vec::new() };
    if !app.service.engines.can(name, action) {
        let message =
            format!("the engine {name} has no {}: see its actions in the service's configuration", action.as_str());
        engine_output
            .shown
            .push(crate::service::slot::line("log", &json!({"level": "info", "message": message})).into_bytes());
        return Ok(engine_output);
    }
    let fields = app.service.engines.secret_fields(name);
    let config = pipeline.config.resolved(&pipeline.id, &app.service.config.secrets, fields).await;
    let config = config.map_err(|why| Problem::new(400, "secret_missing", why))?;
    let known = KnownSecrets::of(&config, &pipeline.config.unresolved(&pipeline.id), fields);
    // These calls do not wait for runs, but their number is limited as well.
    let turn = tokio::time::timeout(MAX_PERMIT_WAIT, app.service.action_permits.acquire());
    let Ok(Ok(_permit)) = turn.await else {
        return Err(Problem::new(503, "busy", "the limit of concurrent engine calls is reached").after(5));
    };
    let body = json!({"pipeline": config}).to_string();
    let call = EngineCall { pipeline: &pipeline.id, engine: name, action, body, known: &known };
    let stop = Notify::new();
    let mut split = LineFramer::default();
    let mut length = 0;
    let mut each = |line: &[u8]| {
        if line.is_empty() {
            return;
        }
        engine_output.messages.extend(serde_json::from_slice::<Value>(line));
        let mut shown = known.masked(line).into_owned();
        shown.push(b'\n');
        engine_output.shown.push(shown);
        let message = engine_output.messages.last_mut().and_then(|it| it.pointer_mut("/connection_status/message"));
        if let Some(Value::String(message)) = message {
            *message = known.mask(message);
        }
    };
    let call_outcome = app
        .service
        .engines
        .call(call, &stop, |bytes| {
            length += bytes.len();
            split.push(bytes, &mut each);
            if length > MAX_OUTPUT_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await;
    split.finish(|line, _| each(line));
    let (status, code) = match &call_outcome {
        CallOutcome::Ended => return Ok(engine_output),
        CallOutcome::Stopped => {
            let sentence = format!("{name}: the output of the engine exceeds 4 MiB");
            return Err(Problem::new(502, "engine_failed", sentence));
        }
        CallOutcome::Refused { .. } => (502, "engine_refused"),
        CallOutcome::Unreachable(_) | CallOutcome::Page(_) => (502, "engine_unreachable"),
        CallOutcome::Silent(_) | CallOutcome::Overdue(_) => (504, "engine_silent"),
        CallOutcome::Broke(_) | CallOutcome::Exited(_) => (502, "engine_failed"),
    };
    Err(Problem::new(status, code, format!("{name}: {}", known.mask(&call_outcome.to_string()))))
}

/// Checks a pipeline with its engine before it is created.
///
/// # Errors
/// Returns the failed check, or the failure of the call.
pub async fn check_before_creation(app: &App, pipeline: &StoredPipeline) -> Result<(), Problem> {
    let engine_output = call_engine(app, pipeline, EngineAction::Check).await;
    // The simulated engine of a pipeline that is not created is dropped.
    let engine_output = engine_output.inspect_err(|_| app.service.engines.forget(&pipeline.id))?;
    for message in &engine_output.messages {
        let status = message.get("connection_status");
        if status.and_then(|it| it.get("status")).and_then(Value::as_str) != Some("failed") {
            continue;
        }
        let why = status.and_then(|it| it.get("message")).and_then(Value::as_str).unwrap_or("no more output");
        let why = synctop_core::protocol::mask::secrets(why);
        let (side, kind) = match message.get("_emitted_by").and_then(Value::as_str).and_then(|it| it.split_once('/')) {
            Some(("destination", kind)) => ("Destination", kind),
            Some((_, kind)) => ("Source", kind),
            None => ("Source", pipeline.config.engine()),
        };
        app.service.engines.forget(&pipeline.id);
        return Err(Problem::new(400, "check_failed", format!("{side} check failed ({kind}): {why}")));
    }
    Ok(())
}

/// Performs an engine action and returns the engine's output. Setup and teardown update the stored
/// configuration.
async fn perform(app: &Arc<App>, id: &str, query: Option<&str>, action: EngineAction, ip: IpAddr) -> ApiResult {
    let query = Query::read(query, &["only"])?;
    let only = query.one_of("only", &["source", "destination"])?;
    let slot = body::pipeline(&app.service, id).await?;
    let pipeline = slot.pipeline().ok_or_else(|| Problem::no_pipeline(id))?;
    if action == EngineAction::Teardown
        && let Some(task) = &pipeline.task
    {
        return Err(already_running(id, task));
    }
    let engine_output = call_engine(app, &pipeline, action).await?;
    if action != EngineAction::Check {
        let find =
            |name: &str| engine_output.messages.iter().find_map(|it| it.pointer(&format!("/control/{name}")).cloned());
        let (source, destination) = (find("source_config"), find("destination_config"));
        app.service
            .change(&slot, move |tx, pipeline| {
                let mut config = pipeline.config.as_ref().clone();
                add_returned_config(&mut config, source, destination);
                pipeline.config = Arc::new(config);
                Ok(tx.log_action(&ip.to_string(), action.as_str(), Some(&pipeline.id), None)?)
            })
            .await?;
    }
    let of = |line: &&Vec<u8>| {
        only.is_none_or(|only| {
            let message: Value = serde_json::from_slice(line).unwrap_or_default();
            let from = message.get("_emitted_by").and_then(Value::as_str).unwrap_or_default();
            from.is_empty() || from.split('/').next() == Some(only)
        })
    };
    let body: Vec<u8> = engine_output.shown.iter().filter(of).flatten().copied().collect();
    Ok(lines(Body::from(body)))
}

/// `POST /pipelines/{id}/check`
pub async fn check(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> ApiResult {
    perform(&app, &id, query.as_deref(), EngineAction::Check, ip).await
}

/// `POST /pipelines/{id}/setup`
pub async fn setup(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> ApiResult {
    perform(&app, &id, query.as_deref(), EngineAction::Setup, ip).await
}

/// `POST /pipelines/{id}/teardown`
pub async fn teardown(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> ApiResult {
    perform(&app, &id, query.as_deref(), EngineAction::Teardown, ip).await
}
