//! Authentication, Host and Origin checks, rate limits.

use crate::service::problem::Problem;
use crate::util::sys::lock;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Version, header};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// Permission of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// No authentication.
    Public,
    Read,
    Write,
    /// Signature with the pipeline's secret; `Write` if the pipeline has none.
    Signed,
}

/// Converts a permission name of the OpenAPI document; an unknown name needs full access.
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

/// Number of addresses at which full token buckets are dropped.
const MAX_CLIENTS: usize = 10_000;

/// Access tokens, and a token bucket per client address.
pub struct Access {
    write: Option<String>,
    read: Option<String>,
    per_second: f64,
    /// True if the service speaks TLS, so that its own pages have https.
    is_https: bool,
    /// Remaining requests of each address, and the time of the last refill.
    left: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Access {
    /// Creates the access rules. Without tokens every client has full access, which is for loopback
    /// only. `per_second` is the request rate of one address.
    #[must_use]
    pub fn new(write: Option<String>, read: Option<String>, per_second: f64) -> Self {
        Self { write, read, per_second, is_https: false, left: Mutex::default() }
    }

    /// Sets the scheme of the service's own pages.
    #[must_use]
    pub fn with_https(self, is_https: bool) -> Self {
        Self { is_https, ..self }
    }

    /// Counts a request of a client against its rate limit.
    ///
    /// # Errors
    /// Returns 429 if the client exceeds its rate.
    pub fn count_request(&self, ip: IpAddr) -> Result<(), Problem> {
        let most = self.per_second * 2.0;
        let now = Instant::now();
        let mut all = lock(&self.left);
        if all.len() >= MAX_CLIENTS {
            // A full bucket is equivalent to a new one.
            all.retain(|_, (left, at)| *left + at.elapsed().as_secs_f64() * self.per_second < most);
        }
        if all.len() >= MAX_CLIENTS && !all.contains_key(&ip) {
            return Err(Problem::new(429, "rate_limited", "too many clients send requests").after(1));
        }
        let (left, at) = all.entry(ip).or_insert((most, now));
        *left = (*left + at.elapsed().as_secs_f64() * self.per_second).min(most);
        *at = now;
        if *left < 1.0 {
            let sentence = format!("more than {} requests per second from {ip}", self.per_second);
            return Err(Problem::new(429, "rate_limited", sentence).after(1));
        }
        *left -= 1.0;
        Ok(())
    }

    /// Returns the permission of the bearer token in the headers; `None` if the token is unknown.
    fn permission_of(&self, headers: &HeaderMap) -> Option<Permission> {
        if self.write.is_none() && self.read.is_none() {
            return Some(Permission::Write);
        }
        let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let bearer = |it: &[u8]| it.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
        let given = given.filter(|it| bearer(it)).and_then(|it| it.get(7..));
        let Some(given) = given else { return Some(Permission::Public) };
        let is = |token: &Option<String>| {
            // Comparison in constant time reveals nothing about the token.
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
    /// Returns 401 without a valid token, 403 if the permission is missing or if Host or Origin are
    /// not local.
    pub fn authorize(&self, headers: &HeaderMap, needed: Permission) -> Result<(), Problem> {
        let open = self.write.is_none() && self.read.is_none();
        if open {
            require_local(headers, self.is_https)?;
        }
        match (self.permission_of(headers), needed) {
            (_, Permission::Public | Permission::Signed) => Ok(()),
            (None, _) => Err(Problem::new(401, "bad_token", "the token is none of this service")),
            (Some(Permission::Public), _) => {
                Err(Problem::new(401, "token_required", "a bearer token is required in the authorization header"))
            }
            (Some(has), needed) if has >= needed => Ok(()),
            _ => Err(Problem::new(403, "not_allowed", "this token allows reading only")),
        }
    }
}

/// Requires a local Host and the same origin, so that web pages of other sites, also of other ports
/// of this machine, cannot use a service without a token.
fn require_local(headers: &HeaderMap, is_https: bool) -> Result<(), Problem> {
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let Some(host) = host.to_str().ok().filter(|host| is_local(host)) else {
        return Err(Problem::new(
            403,
            "bad_host",
            "without a token the service accepts only its loopback address as Host",
        ));
    };
    if is_same_origin(headers, host, is_https) {
        return Ok(());
    }
    Err(Problem::new(403, "bad_origin", "without a token, requests of foreign pages are rejected"))
}

/// True for the name or an address of this machine, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// True for a request of no page, or of a page of this service: the same scheme, host and port. A
/// browser says so in Sec-Fetch-Site; an older one sends the Origin alone. Whatever cannot be read
/// is foreign.
fn is_same_origin(headers: &HeaderMap, host: &str, is_https: bool) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => {
            let scheme: &[u8] = if is_https { b"https://" } else { b"http://" };
            origin.as_bytes().strip_prefix(scheme).is_some_and(|it| it == host.as_bytes())
        }
        (Some(_), Some(_)) => false,
    }
}

/// Checks the Host of a request (RFC 9112, section 3.2): exactly one, and the same in an absolute
/// target.
///
/// # Errors
/// Returns 400 if there is none, if there are several, or if they differ.
pub fn check_host(request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let sentence = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_10 => return Ok(()),
        (None, _) => "a request needs a Host",
        (Some(_), Some(_)) => "a request has one Host",
        (Some(host), None) => match request.uri().authority() {
            Some(authority) if authority.as_str().as_bytes() != host.as_bytes() => {
                "Host and target of the request differ"
            }
            _ => return Ok(()),
        },
    };
    Err(Problem::new(400, "bad_host", sentence))
}

/// Returns the address of the client that the nearest proxy names: the last one of X-Forwarded-For,
/// because a client may send the others itself.
#[must_use]
pub fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let text = last.rsplit(',').next()?.trim();
    let address = text.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()));
    address.map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_read_token_cannot_write() {
        let access = Access::new(Some("w".repeat(20)), Some("r".repeat(20)), 10.0);
        let code = |token: Option<&str>, needed| {
            let token = token.map(|token| format!("Bearer {token}"));
            let all: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
            access.authorize(&headers(&all), needed).map_err(|problem| problem.code)
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
    fn without_a_token_host_and_origin_must_be_local() {
        let access = Access::new(None, None, 10.0);
        for (host, origin, fine) in [
            ("127.0.0.1:4020", None, true),
            ("localhost:4020", Some("http://localhost:4020"), true),
            ("localhost:4020", Some("http://localhost:3000"), false),
            ("localhost:4020", Some("https://localhost:4020"), false),
            ("localhost:4020", Some("http://127.0.0.1:4020"), false),
            ("[::1]:4020", None, true),
            ("evil.example:4020", None, false),
            ("127.0.0.1:4020", Some("https://evil.example"), false),
            ("127.0.0.1:4020", Some("null"), false),
        ] {
            let mut all = vec![("host", host)];
            all.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(access.authorize(&headers(&all), Permission::Write).is_ok(), fine, "{host} {origin:?}");
        }
        for (site, fine) in [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)] {
            let all = headers(&[("host", "localhost:4020"), ("sec-fetch-site", site)]);
            assert_eq!(access.authorize(&all, Permission::Read).is_ok(), fine, "{site}");
        }
        let mut odd = headers(&[("host", "localhost:4020")]);
        odd.insert("origin", axum::http::HeaderValue::from_bytes(b"http://localhost:4020\xff").unwrap());
        assert!(access.authorize(&odd, Permission::Write).is_err());
    }

    #[test]
    fn a_client_above_its_rate_is_refused() {
        let access = Access::new(None, None, 2.0);
        let (one, other): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        assert_eq!((0..9).filter(|_| access.count_request(one).is_ok()).count(), 4);
        assert!(access.count_request(other).is_ok());
    }
}
