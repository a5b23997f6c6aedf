//! Middleware that checks the permission of a request and reads its body.

use crate::service::api::access::{Permission, check_host};
use crate::service::api::app::{App, Peer};
use crate::service::problem::Problem;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Timeout of a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum time that the rest of an oversized body is read and discarded.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum size of a live event in bytes.
const MAX_EVENT_BYTES: u64 = 1 << 20;

/// Maximum kilobytes of all request bodies with a token that are read at once.
pub const BODY_BUDGET_KB: usize = 128 * 1024;

/// Maximum kilobytes of all live events that are read at once. They are apart, because a signature is
/// checked only after its body was read.
pub const EVENT_BUDGET_KB: usize = 16 * 1024;

/// State of the middleware that guards an operation.
#[derive(Clone)]
pub struct Guard {
    pub app: Arc<App>,
    pub permission: Permission,
}

/// Middleware that checks the permission of a request and reads its body.
pub async fn guard(
    State(guard): State<Guard>,
    Extension(Peer(ip)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let checked = check_host(&request);
    match checked.and_then(|()| guard.app.access.authorize(request.headers(), guard.permission)) {
        // A read request is dropped when its client disconnects.
        Ok(()) if request.method().is_safe() => next.run(request).await,
        Ok(()) => match read_permitted_body(&guard, request).await {
            // A write request finishes even if its client disconnects.
            Ok((request, room)) => tokio::spawn(async move {
                let _room = room;
                next.run(request).await
            })
            .await
            .unwrap_or_else(|_| {
                Problem::new(500, "internal_error", "an internal error of the service: see its stderr").into_response()
            }),
            Err(problem) => problem.into_response(),
        },
        Err(problem) => {
            if problem.status == 401 {
                tracing::warn!(target: "service", "{ip}: {} {}: {}", request.method(), request.uri().path(), problem.code);
            }
            let mut response = problem.into_response();
            if response.status() == 401 {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

/// Reads the body of a client that may send one. A live event needs a signature, if its pipeline has
/// a secret, otherwise a token; both are required before any room is reserved for it.
async fn read_permitted_body(guard: &Guard, request: Request) -> Result<(Request, OwnedSemaphorePermit), Problem> {
    if guard.permission == Permission::Signed {
        let id = request.uri().path().rsplit('/').next().unwrap_or_default();
        let pipeline = guard.app.service.slot(id).and_then(|slot| slot.pipeline());
        let is_signed = pipeline.is_some_and(|it| it.signs_events());
        if !is_signed {
            guard.app.access.authorize(request.headers(), Permission::Write)?;
        } else if !request.headers().contains_key("stripe-signature") {
            return Err(Problem::new(400, "bad_signature", "the event has no Stripe-Signature"));
        }
    }
    read_body(guard, request).await
}

/// Reads the body within a timeout and within the memory limit of all bodies.
async fn read_body(guard: &Guard, request: Request) -> Result<(Request, OwnedSemaphorePermit), Problem> {
    let limits = &guard.app.service.config.limits;
    let most = if guard.permission == Permission::Signed { limits.body.min(MAX_EVENT_BYTES) } else { limits.body };
    let (parts, body) = request.into_parts();
    let declared = parts.headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    let too_large = || Problem::new(413, "body_too_large", format!("a body has at most {most} bytes here"));
    if declared.is_some_and(|declared| declared > most) {
        // A client reads the response only after it has sent its body: the body is read and
        // discarded.
        let mut stream = body.into_data_stream();
        let drain = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain).await;
        return Err(too_large());
    }
    let room = u32::try_from(declared.unwrap_or(most).div_ceil(1024)).unwrap_or(u32::MAX);
    let is_event = guard.permission == Permission::Signed;
    let budget = if is_event { &guard.app.events } else { &guard.app.bodies };
    let busy = || Problem::new(503, "busy", "the service is reading too many request bodies: retry later").after(2);
    let room = tokio::time::timeout(BODY_TIMEOUT, Arc::clone(budget).acquire_many_owned(room));
    let room = room.await.ok().and_then(Result::ok).ok_or_else(busy)?;
    let read = axum::body::to_bytes(body, usize::try_from(most).unwrap_or(usize::MAX));
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(bytes)) => Ok((Request::from_parts(parts, axum::body::Body::from(bytes)), room)),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(408, "body_too_slow", "the body did not come in time")),
    }
}
