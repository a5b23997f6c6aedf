//! Router, built from the routes and permissions of `assets/openapi.json`, so that code and
//! document cannot differ.

use crate::service::api::access::{Permission, forwarded_for};
use crate::service::api::app::{App, Peer, Shared, ok, page};
use crate::service::api::guard;
use crate::service::metrics::ApiLoad;
use crate::service::problem::Problem;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use strum::VariantArray as _;

/// OpenAPI document, as served at `/openapi.json`.
pub const OPENAPI: &str = include_str!("../../../assets/openapi.json");

/// Operation of the OpenAPI document.
#[derive(Debug, Clone)]
pub struct Operation {
    pub path: String,
    pub method: String,
    pub id: String,
    pub permission: Permission,
}

/// Returns the operations of the OpenAPI document.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(OPENAPI).unwrap_or_default();
    let mut all = Vec::new();
    for (path, methods) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let text = |key: &str| operation.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            if text("operationId").is_empty() {
                continue;
            }
            all.push(Operation {
                path: path.clone(),
                method: method.to_ascii_uppercase(),
                permission: Permission::from(text("x-permission").as_str()),
                id: text("operationId"),
            });
        }
    }
    all
}

/// Returns the handler of an operation; `None` if the operation is unknown.
fn handler(id: &str, method: MethodFilter) -> Option<MethodRouter<Arc<App>>> {
    Some(match id {
        "health" => on(method, health),
        "metrics" => on(method, metrics),
        "openapi" => on(method, openapi),
        "engines" => on(method, engines),
        "listNodes" => on(method, crate::service::api::nodes::list),
        "listPipelines" => on(method, crate::service::api::list::list),
        "createPipeline" => on(method, crate::service::api::pipelines::create),
        "getPipeline" => on(method, crate::service::api::pipelines::get),
        "updatePipeline" => on(method, crate::service::api::pipelines::update),
        "deletePipeline" => on(method, crate::service::api::pipelines::delete),
        "syncPipeline" => on(method, crate::service::api::runs::sync),
        "syncPipelineBatch" => on(method, crate::service::api::runs::sync_batch),
        "checkPipeline" => on(method, crate::service::api::check::check),
        "setupPipeline" => on(method, crate::service::api::check::setup),
        "teardownPipeline" => on(method, crate::service::api::check::teardown),
        "waitForPipeline" => on(method, crate::service::api::wait::wait),
        "explainPipeline" => on(method, crate::service::api::why::why),
        "followPipeline" => on(method, crate::service::api::events::events),
        "listRuns" => on(method, crate::service::api::runs::list),
        "startRun" => on(method, crate::service::api::runs::start),
        "getRunLog" => on(method, crate::service::api::events::run_log),
        "getTask" => on(method, crate::service::api::runs::get),
        "cancelTask" => on(method, crate::service::api::runs::cancel),
        "receiveEvent" => on(method, crate::service::api::webhooks::receive),
        "listActions" => on(method, crate::service::api::list::actions),
        _ => return None,
    })
}

/// Operation of the OpenAPI document without a handler, which is a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no handler for {method} {path}")]
pub struct NoHandler {
    method: String,
    path: String,
}

/// Builds the router from the OpenAPI document.
///
/// # Errors
/// Returns [`NoHandler`] if an operation of the document has no handler.
pub fn router(app: &Arc<App>) -> Result<Router, NoHandler> {
    let mut router = Router::new();
    for operation in operations() {
        let method = axum::http::Method::from_bytes(operation.method.as_bytes());
        let method = method.ok().and_then(|method| MethodFilter::try_from(method).ok());
        let handler = method.and_then(|method| handler(&operation.id, method));
        let handler =
            handler.ok_or_else(|| NoHandler { method: operation.method.clone(), path: operation.path.clone() })?;
        let guard = guard::Guard { app: Arc::clone(app), permission: operation.permission };
        router = router.route(&operation.path, handler.layer(from_fn_with_state(guard, guard::guard)));
    }
    Ok(router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Arc::clone(app), limit_rate))
        // The guard applies the limit when it reads the body.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(app)))
}

/// Applies the request rate limit of a client; refuses all requests during shutdown.
async fn limit_rate(
    State(app): Shared,
    Extension(Peer(ip)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let named = app.is_behind_proxy.then(|| forwarded_for(request.headers())).flatten();
    let ip = named.unwrap_or(ip);
    request.extensions_mut().insert(Peer(ip));
    if *app.service.ending.borrow() {
        return Problem::ending().into_response();
    }
    match app.access.count_request(ip) {
        Ok(()) => as_json(next.run(request).await),
        Err(problem) => problem.into_response(),
    }
}

/// Converts error responses of the framework to the JSON error format.
fn as_json(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if status.is_success() || kind.starts_with(b"application/") {
        return response;
    }
    Problem::new(status.as_u16(), "invalid_request", "the request cannot be read: see /openapi.json").into_response()
}

async fn no_route(request: Request) -> Problem {
    Problem::new(404, "no_such_route", format!("there is no {}: see /openapi.json", request.uri().path()))
}

async fn no_method(request: Request) -> Problem {
    let sentence =
        format!("method {} is not supported by {}: see /openapi.json", request.method(), request.uri().path());
    Problem::new(405, "method_not_allowed", sentence)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn health(State(app): Shared, headers: HeaderMap) -> Response {
    let service = &app.service;
    let slots = service.slots_after("");
    let mut by_status = serde_json::Map::new();
    for &status in synctop_core::fleet::PipelineStatus::VARIANTS {
        let count = slots.iter().filter_map(|slot| slot.pipeline()).filter(|it| it.life.status() == status).count();
        by_status.insert(status.as_str().into(), count.into());
    }
    // The name of the machine is for clients with a token.
    let hostname = app.access.authorize(&headers, Permission::Read).ok().map(|()| hostname());
    ok(&json!({
        "ok": true, "hostname": hostname,
        "service": "synctop", "version": env!("CARGO_PKG_VERSION"),
        "pipelines": by_status,
        "running": service.config.limits.runs.saturating_sub(service.permits.available_permits()),
        "waits": app.waits.count(),
        "readers": app.readers.count(),
        "missed_changes": service.missed.load(Ordering::Relaxed),
    }))
}

/// Metrics in the text format of Prometheus.
async fn metrics(State(app): Shared) -> Result<Response, Problem> {
    let load = ApiLoad { waits: app.waits.count(), readers: app.readers.count() };
    let text = crate::service::metrics::metrics(&app.service, load).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

async fn engines(State(app): Shared) -> Response {
    let names = app.service.engines.names();
    let all: Vec<_> = names.iter().map(|name| json!({"name": name, "kind": app.service.engines.kind(name)})).collect();
    page(all, None)
}
