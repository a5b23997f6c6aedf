//! Authentication, Host and Origin checks, rate limits.

use super::{App, Peer};
use crate::net::lock;
use crate::service::problem::Problem;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tokio::sync::OwnedSemaphorePermit;

/// Permission of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing: everybody may.
    Public,
    Read,
    Write,
    /// A signature with the pipeline's own secret, else `Write`.
    Signed,
}

/// Permission of a name in the document; an unknown name needs full access.
impl From<&str> for Permission {
    fn from(name: &str) -> Self {
        match name {
            "public" => Self::Public,
            "read" => Self::Read,
            "signed" => Self::Signed,
            _ => Self::Write,
        }
    }
}

/// Timeout and maximum size of a body; maximum size of a live event.
const BODY_WITHIN: Duration = Duration::from_secs(30);
const DRAIN_WITHIN: Duration = Duration::from_secs(3);
const LARGEST_EVENT: u64 = 1 << 20;

/// Kilobytes of all bodies that are read at once.
pub const BODIES: usize = 128 * 1024;

/// Addresses whose rates are known.
const CLIENTS: usize = 10_000;

/// Tokens, and how often each client asked.
pub struct Access {
    write: Option<String>,
    read: Option<String>,
    per_second: f64,
    /// Requests that each address may still make, and when that was counted.
    left: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Access {
    /// Without tokens everybody who reaches it may do all, which is for loopback only.
    #[must_use]
    pub fn new(write: Option<String>, read: Option<String>, per_second: f64) -> Self {
        Self { write, read, per_second, left: Mutex::default() }
    }

    /// # Errors
    /// When a client asks too often.
    pub fn takes(&self, ip: IpAddr) -> Result<(), Problem> {
        let most = self.per_second * 2.0;
        let now = Instant::now();
        let mut all = lock(&self.left);
        if all.len() >= CLIENTS {
            // Who has all of it back is as one who never came.
            all.retain(|_, (left, at)| *left + at.elapsed().as_secs_f64() * self.per_second < most);
        }
        let (left, at) = all.entry(ip).or_insert((most, now));
        *left = (*left + at.elapsed().as_secs_f64() * self.per_second).min(most);
        *at = now;
        if *left < 1.0 {
            let sentence = format!("more than {} requests a second of {ip}", self.per_second);
            return Err(Problem::new(429, "rate_limited", sentence).after(1));
        }
        *left -= 1.0;
        Ok(())
    }

    /// Permission of the bearer of these headers; `None`: unknown token.
    fn of(&self, headers: &HeaderMap) -> Option<Permission> {
        if self.write.is_none() && self.read.is_none() {
            return Some(Permission::Write);
        }
        let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let bearer = |it: &[u8]| it.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        let given = given.filter(|it| bearer(it)).and_then(|it| it.get(7..));
        let Some(given) = given else { return Some(Permission::Public) };
        let is = |token: &Option<String>| {
            // In constant time, whatever was given.
            token.as_ref().is_some_and(|token| bool::from(token.as_bytes().ct_eq(given)))
        };
        let (write, read) = (is(&self.write), is(&self.read));
        if write {
            Some(Permission::Write)
        } else if read {
            Some(Permission::Read)
        } else {
            None
        }
    }

    /// Checks the headers against the needed permission.
    ///
    /// # Errors
    /// Why not: 401 or 403.
    pub fn allows(&self, headers: &HeaderMap, needed: Permission) -> Result<(), Problem> {
        let open = self.write.is_none() && self.read.is_none();
        if open {
            of_this_machine(headers)?;
        }
        match (self.of(headers), needed) {
            (_, Permission::Public | Permission::Signed) => Ok(()),
            (None, _) => Err(Problem::new(401, "bad_token", "the token is none of this service")),
            (Some(Permission::Public), _) => {
                Err(Problem::new(401, "token_required", "a bearer token is required in the authorization header"))
            }
            (Some(has), needed) if has >= needed => Ok(()),
            _ => Err(Problem::new(403, "not_allowed", "this token may look, and change nothing")),
        }
    }
}

/// Without a token only programs of this machine are heard, and no pages that a browser has from
/// elsewhere.
fn of_this_machine(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let local = |host: &str| {
        let host = host
            .rsplit_once(':')
            .map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    };
    if text(header::HOST).is_some_and(|host| !local(host)) {
        return Err(Problem::new(
            403,
            "bad_host",
            "without a token this service is asked by its loopback address only",
        ));
    }
    let foreign = |origin: &str| !origin.split_once("://").is_some_and(|(_, host)| local(host));
    if text(header::ORIGIN).is_some_and(foreign) {
        return Err(Problem::new(403, "bad_origin", "without a token, requests of foreign pages are rejected"));
    }
    Ok(())
}

/// Stands before an operation.
#[derive(Clone)]
pub struct Guard {
    pub app: Arc<App>,
    pub permission: Permission,
}

/// Lets those pass who may.
pub async fn guard(
    State(guard): State<Guard>,
    Extension(Peer(ip)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match guard.app.access.allows(request.headers(), guard.permission) {
        // Who only looks is forgotten when he leaves.
        Ok(()) if request.method().is_safe() => next.run(request).await,
        Ok(()) => match with_body(&guard, request).await {
            // A started operation is finished, whether the client waits or not.
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

/// Reads the body within a timeout; all bodies together have a bound, so that no client fills the
/// memory.
async fn with_body(guard: &Guard, request: Request) -> Result<(Request, OwnedSemaphorePermit), Problem> {
    let limits = &guard.app.service.config.limits;
    let most = if guard.permission == Permission::Signed { limits.body.min(LARGEST_EVENT) } else { limits.body };
    let (parts, body) = request.into_parts();
    let said = parts.headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    let too_large = || Problem::new(413, "body_too_large", format!("a body has at most {most} bytes here"));
    if said.is_some_and(|said| said > most) {
        // A client that still sends does not hear the answer: some of it is read for that, and
        // thrown away.
        let mut stream = body.into_data_stream();
        let drain = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = tokio::time::timeout(DRAIN_WITHIN, drain).await;
        return Err(too_large());
    }
    let room = u32::try_from(said.unwrap_or(most).div_ceil(1024)).unwrap_or(u32::MAX);
    let busy = || Problem::new(503, "busy", "too much is being read already").after(2);
    let room = tokio::time::timeout(BODY_WITHIN, Arc::clone(&guard.app.bodies).acquire_many_owned(room));
    let room = room.await.ok().and_then(Result::ok).ok_or_else(busy)?;
    let read = axum::body::to_bytes(body, usize::try_from(most).unwrap_or(usize::MAX));
    match tokio::time::timeout(BODY_WITHIN, read).await {
        Ok(Ok(bytes)) => Ok((Request::from_parts(parts, axum::body::Body::from(bytes)), room)),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(408, "body_too_slow", "the body did not come in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn who_may_look_may_not_change() {
        let access = Access::new(Some("w".repeat(20)), Some("r".repeat(20)), 10.0);
        let code = |token: Option<&str>, needed| {
            let token = token.map(|token| format!("Bearer {token}"));
            let all: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
            access.allows(&headers(&all), needed).map_err(|problem| problem.code)
        };
        let (write, read) = ("w".repeat(20), "r".repeat(20));
        for needed in [Permission::Read, Permission::Write] {
            assert_eq!(code(None, needed), Err("token_required"));
            assert_eq!(code(Some("w"), needed), Err("bad_token"));
            assert_eq!(code(Some(&write), needed), Ok(()));
        }
        assert_eq!(code(Some(&read), Permission::Read), Ok(()));
        assert_eq!(code(Some(&read), Permission::Write), Err("not_allowed"));
        assert_eq!(code(None, Permission::Public), Ok(()));
    }

    #[test]
    fn without_a_token_only_this_machine_is_heard() {
        let access = Access::new(None, None, 10.0);
        for (host, origin, fine) in [
            ("127.0.0.1:4020", None, true),
            ("localhost:4020", Some("http://localhost:3000"), true),
            ("[::1]:4020", None, true),
            ("evil.example:4020", None, false),
            ("127.0.0.1:4020", Some("https://evil.example"), false),
            ("127.0.0.1:4020", Some("null"), false),
        ] {
            let mut all = vec![("host", host)];
            all.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(access.allows(&headers(&all), Permission::Write).is_ok(), fine, "{host} {origin:?}");
        }
    }

    #[test]
    fn a_client_that_asks_too_often_waits() {
        let access = Access::new(None, None, 2.0);
        let (one, other): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        assert_eq!((0..9).filter(|_| access.takes(one).is_ok()).count(), 4);
        assert!(access.takes(other).is_ok());
    }
}
