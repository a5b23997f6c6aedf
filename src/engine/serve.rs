//! The simulated engine over HTTP, with the wire of the published engines (recordings of 2026-11-20): `GET /health`, `POST /pipeline_check`,
//! `/pipeline_setup`, `/pipeline_teardown`, `/pipeline_sync`, `/pipeline_read`.
//!
//! The body of a call is `{pipeline, state?, run_id?, time_limit?, state_limit?}` (progress generation), or the limits and `sync_run_id`
//! are in the query (trace generation); the trace generation's `x-pipeline` and `x-state` headers are read where there is no body.

use super::api::Api;
use super::call::{Call, CallError, Outlet, call};
use super::rows::Rows;
use super::scenario::Scenario;
use super::tracker::memory::Memory;
use super::tracker::wire::Form;
use crate::net::now;
use crate::protocol::{Millis, time};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// States of large runs are some megabytes.
const LARGEST_BODY: usize = 64 << 20;

/// Writes that may wait for a slow client; then the engine waits.
const QUEUE: usize = 16;

/// How long it sleeps before it looks whether its client is still there.
const NAP: Duration = Duration::from_millis(50);

/// What is served.
pub struct Serving {
    pub scenario: Scenario,
    pub form: Form,
    /// `None`: as fast as the client takes it.
    pub pace: Option<f64>,
    pub rows: Option<Rows>,
}

struct Shared {
    api: Arc<Mutex<Api>>,
    form: Form,
    pace: Option<f64>,
    rows: Option<Rows>,
}

/// Serves until the process ends. `ready` is told the address.
///
/// # Errors
/// When the address cannot be listened on.
pub fn run(address: SocketAddr, serving: Serving, ready: impl FnOnce(SocketAddr) -> bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        if !ready(listener.local_addr()?) {
            return Ok(());
        }
        // A checkpoint is news: it does not wait for more to say.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router(serving)).await
    })
}

fn router(serving: Serving) -> Router {
    let Serving { scenario, form, pace, rows } = serving;
    let shared = Arc::new(Shared { api: Arc::new(Mutex::new(Api::new(scenario))), form, pace, rows });
    Router::new()
        .route("/health", get(health))
        .route("/pipeline_check", post(check))
        .route("/pipeline_setup", post(setup))
        .route("/pipeline_teardown", post(teardown))
        .route("/pipeline_sync", post(sync))
        .route("/pipeline_read", post(read))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(shared)
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

/// A response of lines.
fn lines(messages: &[Value]) -> Response {
    let mut text = messages.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    ([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits {
    time_limit: Option<f64>,
    state_limit: Option<u64>,
    #[serde(alias = "sync_run_id")]
    run_id: Option<String>,
}

#[derive(Deserialize)]
struct Wish {
    pipeline: Pipeline,
    #[serde(default)]
    state: Value,
    #[serde(flatten)]
    limits: Limits,
}

#[derive(Deserialize)]
struct Pipeline {
    source: Party,
    destination: Party,
    streams: Option<Vec<Asked>>,
}

#[derive(Deserialize)]
struct Party {
    r#type: String,
}

#[derive(Deserialize)]
struct Asked {
    name: String,
}

/// The body, or the headers that stand for it.
#[expect(clippy::result_large_err, reason = "an answer is an answer")]
fn wish(headers: &HeaderMap, body: &Bytes) -> Result<Wish, Response> {
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
    let issue = |path: &[&str], message: String| {
        bad_request(json!([{"code": "invalid_type", "path": path, "message": message}]))
    };
    if !value.get("pipeline").is_some_and(Value::is_object) {
        let message = "Invalid input: expected object, received undefined".to_owned();
        return Err(issue(&["pipeline"], message));
    }
    let wish: Wish =
        serde_json::from_value(value).map_err(|error| issue(&["pipeline"], format!("Invalid input: {error}")))?;
    Ok(wish)
}

impl Limits {
    /// Those of the body, else those of the query.
    #[expect(clippy::result_large_err, reason = "an answer is an answer")]
    fn or(self, query: Self) -> Result<Self, Response> {
        let limits = Self {
            time_limit: self.time_limit.or(query.time_limit),
            state_limit: self.state_limit.or(query.state_limit),
            run_id: self.run_id.or(query.run_id),
        };
        let bad = |path: &str| {
            let message = "Too small: expected number to be >0";
            Err(bad_request(json!([{"code": "too_small", "path": [path], "message": message}])))
        };
        match limits {
            Self { time_limit: Some(limit), .. } if !(limit > 0.0 && limit <= 1e9) => bad("time_limit"),
            Self { state_limit: Some(0), .. } => bad("state_limit"),
            limits => Ok(limits),
        }
    }
}

async fn check(headers: HeaderMap, body: Bytes) -> Response {
    let wish = match wish(&headers, &body) {
        Ok(wish) => wish,
        Err(answer) => return answer,
    };
    let pipeline = wish.pipeline;
    let at = time::iso(now());
    let said = |from: String| json!({"type": "connection_status", "connection_status": {"status": "succeeded"}, "_emitted_by": from, "_ts": at});
    lines(&[
        said(format!("source/{}", pipeline.source.r#type)),
        said(format!("destination/{}", pipeline.destination.r#type)),
    ])
}

async fn setup(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(answer) = wish(&headers, &body) {
        return answer;
    }
    let streams = crate::net::lock(&shared.api).scenario().streams.len();
    let message = format!("Creating schema \"simulated\" ({streams} streams)");
    lines(&[json!({
        "type": "log", "log": {"level": "info", "message": message},
        "_emitted_by": "destination/simulated", "_ts": time::iso(now()),
    })])
}

async fn teardown(headers: HeaderMap, body: Bytes) -> Response {
    match wish(&headers, &body) {
        Ok(_) => lines(&[]),
        Err(answer) => answer,
    }
}

async fn sync(State(shared): State<Arc<Shared>>, query: Query<Limits>, headers: HeaderMap, body: Bytes) -> Response {
    called(shared, query.0, &headers, &body, false).await
}

async fn read(State(shared): State<Arc<Shared>>, query: Query<Limits>, headers: HeaderMap, body: Bytes) -> Response {
    called(shared, query.0, &headers, &body, true).await
}

async fn called(shared: Arc<Shared>, query: Limits, headers: &HeaderMap, body: &Bytes, records: bool) -> Response {
    let wish = match wish(headers, body) {
        Ok(wish) => wish,
        Err(answer) => return answer,
    };
    let memory = match Memory::read(&wish.state.to_string()) {
        Ok(memory) => memory,
        Err(error) => return bad_request(format!("state: {error}")),
    };
    let limits = match wish.limits.or(query) {
        Ok(limits) => limits,
        Err(answer) => return answer,
    };
    let call_wish = Call {
        form: shared.form,
        memory,
        streams: wish.pipeline.streams.map(|all| all.into_iter().map(|it| it.name).collect()),
        run_id: limits.run_id,
        time_limit_ms: limits
            .time_limit
            .map(|it| u64::try_from(Duration::from_secs_f64(it).as_millis()).unwrap_or(u64::MAX)),
        state_limit: limits.state_limit,
        begin: now(),
        records,
        raw: false,
    };
    let (sender, mut chunks) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    let spawned = std::thread::Builder::new().name("engine".into()).spawn(move || engine(&shared, call_wish, &sender));
    if let Err(error) = spawned {
        return json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": error.to_string()}));
    }
    // What is wrong with the wish is known before the first line.
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

/// A panic of the engine breaks the body off, as the death of a process would.
struct Broken<'b>(&'b mpsc::Sender<io::Result<Bytes>>);

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.blocking_send(Err(io::Error::other("the engine panicked")));
        }
    }
}

fn engine(shared: &Shared, wish: Call, sender: &mpsc::Sender<io::Result<Bytes>>) {
    let _guard = Broken(sender);
    let mut outlet =
        Client { began: Instant::now(), begin: wish.begin, pace: shared.pace, rows: shared.rows.as_ref(), sender };
    let broke = match call(&shared.api, wish, &mut outlet) {
        Ok(called) if called.outcome.is_some() => return,
        Ok(_) => io::Error::new(io::ErrorKind::UnexpectedEof, "the engine died, as the scenario has it"),
        Err(error @ CallError::NoSuchStream(..)) => io::Error::new(io::ErrorKind::InvalidInput, error.to_string()),
        Err(CallError::Io(error)) => error,
    };
    // The client is told by a body that breaks off.
    let _ = sender.blocking_send(Err(broke));
}

/// A client who takes what is said when its time has come, and may go away.
struct Client<'c> {
    began: Instant,
    begin: Millis,
    pace: Option<f64>,
    rows: Option<&'c Rows>,
    sender: &'c mpsc::Sender<io::Result<Bytes>>,
}

impl Outlet for Client<'_> {
    fn say(&mut self, at: Millis, lines: &[u8]) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone");
        if let Some(speed) = self.pace {
            let due = Duration::from_millis(u64::try_from(at - self.begin).unwrap_or(0)).div_f64(speed);
            while let Some(wait) = due.checked_sub(self.began.elapsed()).filter(|wait| !wait.is_zero()) {
                if self.sender.is_closed() {
                    return Err(gone());
                }
                std::thread::sleep(wait.min(NAP));
            }
        }
        self.sender.blocking_send(Ok(Bytes::copy_from_slice(lines))).map_err(|_| gone())
    }

    fn rows(&mut self, api: &Api, stream: usize, objects: Range<u64>) -> io::Result<()> {
        self.rows.map_or(Ok(()), |rows| rows.add(api, stream, objects))
    }
}
