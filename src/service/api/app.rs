//! Shared state of the handlers, and their responses.

use crate::service::api::access::Access;
use crate::service::api::readers::Readers;
use crate::service::api::waits::Waits;
use crate::service::problem::Problem;
use crate::service::registry::Service;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use synctop_core::fleet::wire::Page;
use tokio::sync::Semaphore;

/// Shared state of the handlers.
pub struct App {
    pub service: Arc<Service>,
    pub access: Access,
    /// True if a proxy is the only client, and names the addresses of the clients.
    pub is_behind_proxy: bool,
    pub waits: Waits,
    pub readers: Readers,
    /// Memory for request bodies that are read at once, in kilobytes.
    pub bodies: Arc<Semaphore>,
    /// Memory for live events that are read at once, in kilobytes.
    pub events: Arc<Semaphore>,
}

pub(super) type Shared = State<Arc<App>>;

/// Address of the client.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = answer(status, &self.to_json());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// JSON response.
pub(super) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json!(body).to_string()).into_response()
}

/// JSON response with status 200.
pub(super) fn ok(body: &impl Serialize) -> Response {
    answer(StatusCode::OK, body)
}

/// Page of a list. `next` is the position of the next page; `None` on the last page.
pub(super) fn page<T: Serialize>(data: Vec<T>, next: Option<Value>) -> Response {
    ok(&Page { data, has_more: next.is_some(), next })
}

/// Streaming response of JSON lines.
pub(super) fn lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-cache")], body).into_response()
}

pub(super) type ApiResult = Result<Response, Problem>;

/// Error for a pipeline with an open run.
pub fn already_running(id: &str, task: &str) -> Problem {
    let sentence = format!("Pipeline {id} is already syncing: wait for the run, or cancel it (DELETE /tasks/{task})");
    Problem::new(409, "sync_running", sentence).with("task_id", task)
}
