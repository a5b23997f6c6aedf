//! HTTP client of one service: rate-limited requests, and errors with their sentences and exit
//! codes.

use crate::net::client::contexts::ServiceAddress;
use crate::net::source::engine_http;
use crate::net::source::engine_http::HttpClientError;
use crate::util::sys::lock;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::backoff::RateLimiter;
use synctop_core::fleet::wire::ErrorBody;
use synctop_core::fleet::{ListEntry, NotAPipeline};
use synctop_core::format::duration;

/// Maximum requests per second to one service.
const PER_SECOND: f64 = 10.0;

/// Default timeout of a request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a response in bytes.
const LARGEST: usize = 256 << 20;

/// Pipelines per page of a list.
const PAGE: &str = "1000";

/// Maximum number of listed pipelines: a service could send pages without end.
const MAX_LISTED: usize = 500_000;

/// Optional capabilities of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// True if the service has `/wait`, a long poll for a condition.
    pub wait: bool,
    /// True if the service streams the output of runs.
    pub events: bool,
    /// True if runs are tasks that can be polled.
    pub tasks: bool,
    /// True if the service lists pipelines in pages, and without their states.
    pub pages: bool,
    /// True if the service lists the pipelines that changed since a position.
    pub changes: bool,
}

/// Answer to a request for a list of pipelines.
#[derive(Debug, Clone)]
pub enum FleetList {
    /// All pipelines.
    All(Vec<ListEntry>),
    /// Changed and removed pipelines since the answer before.
    Changes(Vec<ListEntry>, Vec<Arc<str>>),
}

/// Page of a list, as a service answers. Fields of a wrong type are absent.
#[derive(Deserialize)]
struct ListPage {
    data: Option<Vec<ListEntry>>,
    #[serde(default)]
    has_more: Value,
    #[serde(default)]
    changes: Value,
    #[serde(default)]
    removed: Value,
}

/// Interval of whole lists from a service that lists changes or tags its answers: a single read
/// that arrives late may have shown an earlier state again.
const WHOLE_LIST_INTERVAL: Duration = Duration::from_secs(120);

/// Maximum pages of changes that are read at once. Further ones follow with the next poll.
const MAX_CHANGE_PAGES: usize = 20;

/// Place in a service's list up to which a client knows it.
#[derive(Debug, Default)]
struct ListPosition {
    /// Position in the changes, of a service that lists them.
    changes: Option<String>,
    /// Tag of the last answer (`ETag`, RFC 9110, 8.8.3), of a service that sends one.
    tag: Option<String>,
    /// Time of the last whole list.
    read_at: Option<Instant>,
}

/// Request to a service.
#[derive(Debug, Clone)]
pub struct ServiceRequest {
    pub method: Method,
    /// Segments of the path, without escapes.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub body: Option<Value>,
    pub headers: Vec<(String, String)>,
    /// Timeout.
    pub within: Duration,
    /// True if a person waits for the answer: the request may use the reserved share of the rate.
    pub person: bool,
}

impl ServiceRequest {
    /// Creates a GET request with the default timeout, for which no person waits.
    #[must_use]
    pub fn get(path: &[&str]) -> Self {
        Self {
            method: Method::GET,
            path: path.iter().map(ToString::to_string).collect(),
            query: Vec::new(),
            body: None,
            headers: Vec::new(),
            within: REQUEST_TIMEOUT,
            person: false,
        }
    }

    /// Creates a request for which a person waits.
    #[must_use]
    pub fn of(method: Method, path: &[&str]) -> Self {
        Self { method, person: true, ..Self::get(path) }
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Error of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientError {
    /// No connection; the reason.
    Unreachable(String),
    /// No complete response within this timeout.
    Silent(Duration),
    /// The response broke off; the reason.
    Broke(String),
    /// The response is not that of such a service; the difference.
    Odd(String),
    /// HTTP status other than success.
    Refused { status: u16, code: String, says: String, retry_after: Option<Duration>, json: Box<Value> },
}

/// Writes the error as a clause, without the service as its subject.
impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot be reached: {why}"),
            Self::Silent(time) => {
                write!(f, "no answer within {}", duration(u64::try_from(time.as_millis()).unwrap_or(0)))
            }
            Self::Broke(why) => write!(f, "the answer broke off: {why}"),
            Self::Odd(what) => write!(f, "does not answer as expected: {what}"),
            Self::Refused { status, says, .. } if says.is_empty() => write!(f, "answers HTTP {status}"),
            Self::Refused { status, says, .. } => write!(f, "answers HTTP {status}: {says}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<NotAPipeline> for ClientError {
    fn from(error: NotAPipeline) -> Self {
        Self::Odd(error.to_string())
    }
}

impl ClientError {
    /// True if a later request may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            _ => true,
        }
    }

    /// True if the service may have applied the request.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Broke(_) | Self::Odd(_) => true,
            // A gateway may have lost the response to a forwarded request. Requests refused with
            // 425 or 429 were not applied.
            Self::Refused { status, .. } => matches!(status, 408 | 500..),
            Self::Unreachable(_) => false,
        }
    }

    /// True if the resource does not exist.
    #[must_use]
    pub fn absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Returns the delay that the service requests (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns the class of this error.
    #[must_use]
    pub fn class(&self) -> ResultClass {
        match self {
            Self::Refused { status, .. } => match status {
                401 | 403 => ResultClass::NotAllowed,
                404 | 410 => ResultClass::NotFound,
                400 | 422 => ResultClass::Usage,
                408 | 425 | 429 | 500.. => ResultClass::Unavailable,
                _ => ResultClass::Failed,
            },
            _ => ResultClass::Unavailable,
        }
    }

    /// True if the service refuses this user.
    #[must_use]
    pub fn denied(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. })
    }

    /// Returns the next step for a user of `place`; empty if there is none.
    #[must_use]
    pub fn next(&self, place: &ServiceAddress) -> String {
        match self {
            Self::Unreachable(_) => "Check that the service is running and that the address is right.".into(),
            Self::Silent(_) | Self::Broke(_) => "Try again; if the error persists, see the service's log.".into(),
            Self::Odd(_) => {
                "See that the address is right: a pipeline service is like http://127.0.0.1:4020; an engine is called with --pipeline FILE."
                    .into()
            }
            Self::Refused { .. } if self.denied() => place.token_hint(),
            Self::Refused { status: 429, .. } => "Try again in a while.".into(),
            Self::Refused { status: 404, .. } if !place.profile => {
                format!("See synctop pipelines list {}.", place.argument())
            }
            Self::Refused { .. } => String::new(),
        }
    }

    /// Returns the error as a sentence for a user of `place`, with the next step.
    #[must_use]
    pub fn message(&self, place: &ServiceAddress) -> String {
        let next = self.next(place);
        // A reason that ends in `?` or `!` needs no full stop.
        let words = self.to_string();
        let words = words.trim_end_matches('.');
        let stop = if words.ends_with(['?', '!']) { "" } else { "." };
        format!("{} {words}{stop}{}{next}", place.shown(), if next.is_empty() { "" } else { " " })
    }
}

/// Client of one service.
pub struct Client {
    pub place: Arc<ServiceAddress>,
    http: reqwest::Client,
    limiter: Mutex<RateLimiter>,
    started: Instant,
    capabilities: OnceLock<Capabilities>,
    listed: Mutex<ListPosition>,
}

impl Client {
    /// Creates a client without connecting.
    ///
    /// # Errors
    /// Returns the reason if the client cannot be built, such as an https address on a system
    /// without root certificates.
    pub fn new(place: ServiceAddress) -> Result<Self, HttpClientError> {
        Ok(Self {
            http: engine_http::client(&place.url, place.ca.as_deref())?,
            place: Arc::new(place),
            limiter: Mutex::new(RateLimiter::new(PER_SECOND)),
            started: Instant::now(),
            capabilities: OnceLock::new(),
            listed: Mutex::default(),
        })
    }

    /// Returns the requests per second over the last ten seconds, and their limit.
    #[must_use]
    pub fn rate(&self) -> (f64, f64) {
        lock(&self.limiter).rate(self.started.elapsed())
    }

    /// Waits until the rate limit allows another request.
    async fn acquire(&self, person: bool) {
        loop {
            let taken = lock(&self.limiter).try_acquire(self.started.elapsed(), person);
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    fn request(&self, ask: &ServiceRequest) -> reqwest::RequestBuilder {
        let mut url = self.place.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&ask.path);
        }
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let mut request = self.http.request(ask.method.clone(), url);
        if let Some(token) = &self.place.token {
            request = request.bearer_auth(token.text());
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        match &ask.body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        }
    }

    /// Sends a request and reads the whole response; `Null` for an empty one.
    ///
    /// # Errors
    /// Returns [`ClientError`] if there is no response with a success status and JSON.
    pub async fn ask(&self, ask: ServiceRequest) -> Result<Value, ClientError> {
        let (body, _) = self.ask_body(ask).await?;
        if body.is_empty() { Ok(Value::Null) } else { parsed(&body) }
    }

    /// Sends a request and reads the whole response: its body, and its tag (`ETag`).
    async fn ask_body(&self, ask: ServiceRequest) -> Result<(Vec<u8>, Option<String>), ClientError> {
        self.acquire(ask.person).await;
        let within = ask.within;
        match tokio::time::timeout(within, answer(self.request(&ask))).await {
            Ok(answered) => answered,
            Err(_) => Err(ClientError::Silent(within)),
        }
    }

    /// Sends a request whose response is read in chunks. The timeout of `ask` applies to the head
    /// of the response only.
    ///
    /// # Errors
    /// Returns [`ClientError`] if there is no response with a success status.
    pub async fn follow(&self, ask: ServiceRequest) -> Result<reqwest::Response, ClientError> {
        self.acquire(ask.person).await;
        let sent = tokio::time::timeout(ask.within, self.request(&ask).send()).await;
        let response = sent.map_err(|_| ClientError::Silent(ask.within))?.map_err(|error| failed(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// Returns the capabilities of the service. A successful answer is stored.
    ///
    /// # Errors
    /// Returns [`ClientError`] if no pipeline service answers at the address.
    pub async fn capabilities(&self) -> Result<Capabilities, ClientError> {
        if let Some(known) = self.capabilities.get() {
            return Ok(*known);
        }
        let described = self.ask(ServiceRequest { person: true, ..ServiceRequest::get(&["openapi.json"]) }).await;
        let capabilities = match described {
            Ok(reply) => {
                let get = |path: &str| reply.pointer(&format!("/paths/{}/get", path.replace('/', "~1")));
                let has = |path: &str| get(path).is_some();
                let params =
                    get("/pipelines").and_then(|it| it.get("parameters")?.as_array().cloned()).unwrap_or_default();
                let param = |name: &str| params.iter().any(|it| it.get("name").and_then(Value::as_str) == Some(name));
                Capabilities {
                    wait: has("/pipelines/{id}/wait"),
                    events: has("/pipelines/{id}/events"),
                    tasks: has("/tasks/{task_id}") && has("/pipelines/{id}/runs"),
                    pages: param("after") && param("limit"),
                    changes: param("changes"),
                }
            }
            // A service without a description has no optional capability, if it is healthy.
            Err(ClientError::Refused { status: 404 | 405 | 501, .. } | ClientError::Odd(_)) => {
                self.ask(ServiceRequest { person: true, ..ServiceRequest::get(&["health"]) }).await?;
                Capabilities::default()
            }
            Err(client_error) => return Err(client_error),
        };
        Ok(*self.capabilities.get_or_init(|| capabilities))
    }

    /// Reads all pipelines, without their states if the service supports that.
    ///
    /// # Errors
    /// Returns the error of the first page that cannot be read.
    pub async fn list(&self, capabilities: Capabilities) -> Result<Vec<ListEntry>, ClientError> {
        Ok(self.list_since(capabilities, None).await?.unwrap_or_default())
    }

    /// Reads the pipelines, or the changes since the last call: of a service that lists changes,
    /// the changed ones; of one that tags its answers, nothing if the list is the same.
    ///
    /// # Errors
    /// Returns the error of the first page that cannot be read.
    pub async fn list_changes(&self, capabilities: Capabilities) -> Result<FleetList, ClientError> {
        let (position, tag) = {
            let mut listed = lock(&self.listed);
            if listed.read_at.is_none_or(|at| at.elapsed() >= WHOLE_LIST_INTERVAL) {
                *listed = ListPosition::default();
            }
            (listed.changes.clone(), listed.tag.clone())
        };
        if let Some(position) = position.filter(|_| capabilities.changes) {
            match self.changes_since(position).await {
                Err(ClientError::Refused { status: 410, .. }) => {}
                answer => return answer,
            }
        }
        match self.list_since(capabilities, tag).await? {
            Some(all) => Ok(FleetList::All(all)),
            None => Ok(FleetList::Changes(Vec::new(), Vec::new())),
        }
    }

    /// Reads the whole list next time: the last answer was not applied completely.
    pub fn forget_list(&self) {
        *lock(&self.listed) = ListPosition::default();
    }

    /// Reads the changed pipelines since a position.
    async fn changes_since(&self, mut position: String) -> Result<FleetList, ClientError> {
        let (mut entries, mut removed) = (BTreeMap::new(), BTreeSet::new());
        for page_number in 1.. {
            let ask = ServiceRequest::get(&["pipelines"]).with("limit", PAGE).with("state", "false");
            let (body, _) = self.ask_body(ask.with("changes", &position)).await?;
            let page: ListPage = parsed(&body)?;
            let (Some(data), Some(after)) = (page.data, page.changes.as_str()) else {
                return Err(ClientError::Odd("its changes have no data or no position".into()));
            };
            // A removal on this page is later than an entry on one before it.
            for id in page.removed.as_array().into_iter().flatten().filter_map(Value::as_str) {
                entries.remove(id);
                removed.insert(Arc::from(id));
            }
            entries.extend(data.into_iter().map(|entry| (Arc::<str>::from(entry.id()), entry)));
            let is_last = page.has_more != Value::Bool(true) || position == after || page_number >= MAX_CHANGE_PAGES;
            after.clone_into(&mut position);
            if is_last {
                break;
            }
        }
        lock(&self.listed).changes = Some(position);
        Ok(FleetList::Changes(entries.into_values().collect(), removed.into_iter().collect()))
    }

    /// Reads all pipelines; `None` if the service answers that the list with this tag is the last.
    async fn list_since(
        &self,
        capabilities: Capabilities,
        tag: Option<String>,
    ) -> Result<Option<Vec<ListEntry>>, ClientError> {
        let mut all = Vec::new();
        let (mut before, mut after): (Option<String>, Option<String>) = (None, None);
        let mut listed: Option<ListPosition> = None;
        loop {
            let mut ask = ServiceRequest::get(&["pipelines"]);
            if capabilities.pages {
                ask = ask.with("limit", PAGE).with("state", "false");
                if let Some(after) = after.take() {
                    ask = ask.with("after", after);
                }
            } else if let Some(tag) = &tag {
                ask.headers.push(("if-none-match".into(), tag.clone()));
            }
            let (body, tag) = match self.ask_body(ask).await {
                Err(ClientError::Refused { status: 304, .. }) => return Ok(None),
                answer => answer?,
            };
            let page: ListPage = parsed(&body)?;
            let Some(data) = page.data else { return Err(ClientError::Odd("its list has no data".into())) };
            // The position before the first page: changes while the others are read come again.
            listed.get_or_insert_with(|| ListPosition {
                changes: page.changes.as_str().map(str::to_owned),
                tag,
                read_at: Some(Instant::now()),
            });
            let more = page.has_more == Value::Bool(true);
            let last = data.last().map(|entry| entry.id().to_owned()).filter(|id| !id.is_empty());
            all.extend(data);
            if all.len() > MAX_LISTED {
                return Err(ClientError::Odd(format!("its list has more than {MAX_LISTED} pipelines")));
            }
            // Pages are in order of the ids: one that goes back would never end.
            let goes_on = |last: &String| before.as_ref().is_none_or(|before| last > before);
            let Some(last) = last.filter(|last| more && capabilities.pages && goes_on(last)) else {
                *lock(&self.listed) = listed.unwrap_or_default();
                return Ok(Some(all));
            };
            (before, after) = (Some(last.clone()), Some(last));
        }
    }

    /// Reads one pipeline.
    ///
    /// # Errors
    /// Returns the request's error, or [`ClientError::Odd`] if the response is not that pipeline.
    pub async fn pipeline(&self, id: &str, person: bool) -> Result<Value, ClientError> {
        let mut ask = ServiceRequest { person, ..ServiceRequest::get(&["pipelines", id]) };
        if self.capabilities.get().is_some_and(|capabilities| capabilities.pages) {
            ask = ask.with("state", "false");
        }
        let reply = self.ask(ask).await?;
        if reply.get("id").and_then(Value::as_str) == Some(id) {
            Ok(reply)
        } else {
            Err(ClientError::Odd("it answers with another pipeline, or none".into()))
        }
    }
}

/// Classifies an error of sending a request.
fn failed(error: &reqwest::Error) -> ClientError {
    if error.is_connect() {
        ClientError::Unreachable(engine_http::cause(error))
    } else {
        ClientError::Broke(engine_http::cause(error))
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(Vec<u8>, Option<String>), ClientError> {
    let response = request.send().await.map_err(|error| failed(&error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(refused(response).await);
    }
    let tag = response.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    Ok((read(response).await?, tag))
}

/// Parses the JSON of a response.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    match serde_json::from_slice(body) {
        Ok(json) => Ok(json),
        Err(error) => {
            let text = String::from_utf8_lossy(body);
            // Truncated JSON is a broken response, not the response of another server.
            if text.trim_start().starts_with(['{', '[']) && error.is_eof() {
                return Err(ClientError::Broke("its JSON is incomplete".into()));
            }
            Err(ClientError::Odd(engine_http::says(&text)))
        }
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if body.len() + bytes.len() > LARGEST => {
                return Err(ClientError::Odd(format!("an answer of more than {} MiB", LARGEST >> 20)));
            }
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) => return Ok(body),
            Err(error) => return Err(ClientError::Broke(engine_http::cause(&error))),
        }
    }
}

async fn refused(response: reqwest::Response) -> ClientError {
    let status = response.status().as_u16();
    let engine_http::AnswerSummary { says, retry_after, text } = engine_http::refusal(response).await;
    let json: Value = serde_json::from_str(&text).unwrap_or_default();
    let code = ErrorBody::deserialize(&json).ok().and_then(|body| body.code).unwrap_or_default().to_string();
    ClientError::Refused { status, code, says, retry_after, json: Box::new(json) }
}

/// Reads the next chunk of a response; `None` at its end. `within` is the maximum silence.
///
/// # Errors
/// Returns [`ClientError::Broke`] if the connection broke, and [`ClientError::Silent`] after the
/// maximum silence.
pub async fn chunk(
    response: &mut reqwest::Response,
    within: Duration,
) -> Result<Option<impl Deref<Target = [u8]>>, ClientError> {
    match tokio::time::timeout(within, response.chunk()).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(ClientError::Broke(engine_http::cause(&error))),
        Err(_) => Err(ClientError::Silent(within)),
    }
}
