//! Simulated engine over HTTP, with the routes of the published engines (recordings of 2026-11-20):
//! `GET /health`, `POST /pipeline_check`, `/pipeline_setup`, `/pipeline_teardown`,
//! `/pipeline_sync`, `/pipeline_read`.
//!
//! The body of a call is `{pipeline, state?, run_id?, time_limit?, state_limit?}` (progress
//! generation), or the limits and `sync_run_id` are in the query (trace generation); the trace
//! generation's `x-pipeline` and `x-state` headers are read if there is no body.

use crate::engine::simulator::engine::{CallRequest, CallerLimits, Refused, Simulated};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Maximum bytes of a request body. States of large runs have some megabytes.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Serves until the process ends. `ready` receives the bound address and returns false to stop.
///
/// # Errors
/// Returns the I/O error if the address cannot be bound.
pub fn run(address: SocketAddr, engine: Simulated, ready: impl FnOnce(SocketAddr) -> bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        if !ready(listener.local_addr()?) {
            return Ok(());
        }
        // Sends each checkpoint immediately.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router(engine)).await
    })
}

fn router(engine: Simulated) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/pipeline_check", post(check))
        .route("/pipeline_setup", post(setup))
        .route("/pipeline_teardown", post(teardown))
        .route("/pipeline_sync", post(sync))
        .route("/pipeline_read", post(read))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::new(engine))
}

async fn health() -> Response {
    json_answer(StatusCode::OK, &json!({"ok": true, "hostname": "simulated"}))
}

fn json_answer(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn bad_request(why: impl Into<Value>) -> Response {
    json_answer(StatusCode::BAD_REQUEST, &json!({"error": why.into()}))
}

/// Returns a response with one message per line.
fn lines(messages: &[Value]) -> Response {
    let mut text = messages.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    ([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

/// Reads a call from the body, or from the headers if there is no body.
#[expect(clippy::result_large_err, reason = "the error is the response to send")]
fn call_request(headers: &HeaderMap, body: &Bytes) -> Result<CallRequest, Response> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let value: Value = if body.is_empty() {
        let Some(pipeline) = header("x-pipeline") else { return Err(bad_request("x-pipeline header is required")) };
        let parsed = (
            serde_json::from_str::<Value>(pipeline),
            serde_json::from_str::<Value>(header("x-state").unwrap_or("null")),
        );
        let (Ok(pipeline), Ok(state)) = parsed else { return Err(bad_request("Malformed JSON in a header")) };
        json!({"pipeline": pipeline, "state": state})
    } else {
        serde_json::from_slice(body).map_err(|_| bad_request("Malformed JSON in request body"))?
    };
    CallRequest::read(value).map_err(bad_request)
}

async fn check(State(engine): State<Arc<Simulated>>, headers: HeaderMap, body: Bytes) -> Response {
    match call_request(&headers, &body) {
        Ok(call_request) => lines(&engine.check(&call_request)),
        Err(answer) => answer,
    }
}

async fn setup(State(engine): State<Arc<Simulated>>, headers: HeaderMap, body: Bytes) -> Response {
    match call_request(&headers, &body) {
        Ok(call_request) => lines(&engine.setup(&call_request)),
        Err(answer) => answer,
    }
}

async fn teardown(headers: HeaderMap, body: Bytes) -> Response {
    match call_request(&headers, &body) {
        Ok(_) => lines(&[]),
        Err(answer) => answer,
    }
}

async fn sync(
    State(engine): State<Arc<Simulated>>,
    query: Query<CallerLimits>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    run_call(&engine, query.0, &headers, &body, false).await
}

async fn read(
    State(engine): State<Arc<Simulated>>,
    query: Query<CallerLimits>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    run_call(&engine, query.0, &headers, &body, true).await
}

async fn run_call(
    engine: &Arc<Simulated>,
    query: CallerLimits,
    headers: &HeaderMap,
    body: &Bytes,
    records: bool,
) -> Response {
    let call_request = match call_request(headers, body) {
        Ok(call_request) => call_request,
        Err(answer) => return answer,
    };
    let mut chunks = match engine.sync(call_request, query, records) {
        Ok(chunks) => chunks,
        Err(Refused::Invalid(why)) => return bad_request(why),
        Err(Refused::Busy(why)) => return json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": why})),
    };
    // An invalid stream name is reported before the first line, so the status can still change.
    let first = match chunks.recv().await {
        Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => return bad_request(error.to_string()),
        first => first,
    };
    let rest = futures_util::stream::unfold((first, chunks), |(first, mut chunks)| async move {
        let next = match first {
            Some(first) => Some(first),
            None => chunks.recv().await,
        };
        next.map(|chunk| (chunk, (None, chunks)))
    });
    let body = Body::from_stream(rest);
    ([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}
