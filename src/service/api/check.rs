//! Engine calls besides syncing: check, setup, teardown.

use super::body::{self, Query};
use super::{Answer, App, Peer, Shared, lines};
use crate::engine::line_framer::WholeLines;
use crate::net::http::CallOutcome;
use crate::service::engines::{EngineAction, EngineCall};
use crate::service::model::StoredPipeline;
use crate::service::problem::Problem;
use crate::service::reconciler::take_over;
use crate::service::secrets::Known;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::Notify;

/// Maximum wait for a turn.
const TURN: std::time::Duration = std::time::Duration::from_secs(30);

/// Bytes of an answer that are handed on.
const MOST: usize = 4 << 20;

/// Answer of an engine: its lines, with secrets masked where they are shown.
struct Said {
    messages: Vec<Value>,
    shown: Vec<Vec<u8>>,
}

async fn ask(app: &App, pipeline: &StoredPipeline, action: EngineAction) -> Result<Said, Problem> {
    let name = pipeline.config.engine();
    let mut said = Said { messages: Vec::new(), shown: Vec::new() };
    if !app.service.engines.can(name, action) {
        let message =
            format!("the engine {name} has no {}: see its actions in the service's configuration", action.as_str());
        said.shown
            .push(crate::service::registry::line("log", &json!({"level": "info", "message": message})).into_bytes());
        return Ok(said);
    }
    let config = pipeline.config.resolved(&pipeline.id, &app.service.config.secrets);
    let config = config.map_err(|why| Problem::new(400, "secret_missing", why))?;
    let known = Known::of(&config, &pipeline.config.whole(&pipeline.id));
    // They are no runs, and do not wait for one; but there is an end to it too.
    let turn = tokio::time::timeout(TURN, app.service.asks.acquire());
    let Ok(Ok(_permit)) = turn.await else {
        return Err(Problem::new(503, "busy", "as many engines are asked as may be at once").after(5));
    };
    let body = json!({"pipeline": config}).to_string();
    let ask = EngineCall { pipeline: &pipeline.id, engine: name, action, body, known: &known };
    let stop = Notify::new();
    let mut split = WholeLines::default();
    let mut length = 0;
    let mut each = |line: &[u8]| {
        if line.is_empty() {
            return;
        }
        said.messages.extend(serde_json::from_slice::<Value>(line));
        let mut shown = known.masked(line).into_owned();
        shown.push(b'\n');
        said.shown.push(shown);
        let message = said.messages.last_mut().and_then(|it| it.pointer_mut("/connection_status/message"));
        if let Some(Value::String(message)) = message {
            *message = known.mask(message);
        }
    };
    let how = app
        .service
        .engines
        .call(ask, &stop, |bytes| {
            length += bytes.len();
            split.push(bytes, &mut each);
            if length > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await;
    split.finish(|line, _| each(line));
    let (status, code) = match &how {
        CallOutcome::Ended => return Ok(said),
        CallOutcome::Stopped => {
            let sentence = format!("{name}: the engine printed more than can be passed on");
            return Err(Problem::new(502, "engine_failed", sentence));
        }
        CallOutcome::Refused { .. } => (502, "engine_refused"),
        CallOutcome::Unreachable(_) | CallOutcome::Page(_) => (502, "engine_unreachable"),
        CallOutcome::Silent(_) | CallOutcome::Overdue(_) => (504, "engine_silent"),
        CallOutcome::Broke(_) | CallOutcome::Exited(_) => (502, "engine_failed"),
    };
    Err(Problem::new(status, code, format!("{name}: {}", known.mask(&how.words()))))
}

/// Errors of a pipeline to create, as reported by its engine.
pub async fn before_creation(app: &App, pipeline: &StoredPipeline) -> Result<(), Problem> {
    let said = ask(app, pipeline, EngineAction::Check).await;
    // Objects created for it are removed if it is not created.
    let said = said.inspect_err(|_| app.service.engines.forget(&pipeline.id))?;
    for message in &said.messages {
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

async fn asked(app: &Arc<App>, id: &str, query: Option<&str>, action: EngineAction, ip: IpAddr) -> Answer {
    let query = Query::read(query, &["only"])?;
    let only = query.one_of("only", &["source", "destination"])?;
    let slot = body::pipeline(&app.service, id)?;
    let pipeline = slot.pipeline().ok_or_else(|| Problem::no_pipeline(id))?;
    if action == EngineAction::Teardown
        && let Some(task) = &pipeline.task
    {
        return Err(super::runs::running(id, task));
    }
    let said = ask(app, &pipeline, action).await?;
    if action != EngineAction::Check {
        let find = |name: &str| said.messages.iter().find_map(|it| it.pointer(&format!("/control/{name}")).cloned());
        let (source, destination) = (find("source_config"), find("destination_config"));
        app.service
            .change(&slot, move |tx, pipeline| {
                let mut config = pipeline.config.as_ref().clone();
                take_over(&mut config, source, destination);
                pipeline.config = Arc::new(config);
                Ok(tx.note(&ip.to_string(), action.as_str(), Some(&pipeline.id), None)?)
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
    let body: Vec<u8> = said.shown.iter().filter(of).flatten().copied().collect();
    Ok(lines(Body::from(body)))
}

/// `POST /pipelines/{id}/check`
pub async fn check(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    asked(&app, &id, query.as_deref(), EngineAction::Check, ip).await
}

/// `POST /pipelines/{id}/setup`
pub async fn setup(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    asked(&app, &id, query.as_deref(), EngineAction::Setup, ip).await
}

/// `POST /pipelines/{id}/teardown`
pub async fn teardown(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    asked(&app, &id, query.as_deref(), EngineAction::Teardown, ip).await
}
