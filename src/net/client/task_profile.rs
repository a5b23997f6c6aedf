//! Profiles of asynchronous HTTP APIs: a TOML file describes submission and polling of a task, the
//! fields of a response, and the meaning of its status words.

use crate::net::client::contexts::{
    AddressError, Reference, ServiceAddress, Token, TokenError, TomlError, maybe_span, reference,
};
use crate::net::client::http::{Client, ClientError, ServiceRequest, chunk};
use crate::net::source::engine_http::HttpClientError;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use synctop_core::fleet::task::{RemoteTask, TaskPhase};
use synctop_core::protocol::{clean, mask, quantity};

/// Sample profiles, each with its name.
pub const SAMPLES: [(&str, &str); 2] = [
    ("video", include_str!("../../../assets/tasks/video.toml")),
    ("vm", include_str!("../../../assets/tasks/vm.toml")),
];

/// Placeholder of the task id in a path.
const TASK_ID: &str = "{task_id}";

/// Maximum silence while a result is downloaded.
const FETCH: Duration = Duration::from_secs(60);

/// Contents of a profile file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    #[serde(default)]
    pub title: Option<String>,
    pub base: String,
    #[serde(default, deserialize_with = "reference")]
    pub token: Option<Reference>,
    /// Header of the token [default: `authorization`, with the prefix `Bearer `].
    #[serde(default)]
    pub token_header: Option<String>,
    #[serde(default)]
    pub allow_http: bool,
    pub submit: Submit,
    pub status: StatusPath,
    #[serde(default)]
    pub wait: Option<WaitRule>,
    pub read: ResponsePointers,
    pub words: StatusWords,
    #[serde(default)]
    pub pace: TaskTiming,
    #[serde(default)]
    pub kinds: Option<KindTiming>,
    #[serde(default)]
    pub result: Option<ResultRule>,
}

/// Table `[submit]`: request that submits a task.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    pub path: String,
    #[serde(default)]
    pub method: Option<String>,
    /// Default body of a request.
    #[serde(default)]
    pub body: Option<toml::Table>,
    #[serde(default)]
    pub idempotency_header: Option<String>,
}

/// Table `[status]`: path that returns the status of a task.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusPath {
    pub path: String,
}

/// Table `[wait]`: path of the API's own long poll.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitRule {
    pub path: String,
    /// Maximum duration of a long poll.
    #[serde(default, deserialize_with = "maybe_span")]
    pub within: Option<Duration>,
}

/// Table `[read]`: JSON pointers to the fields of a response.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponsePointers {
    pub id: String,
    pub status: String,
    #[serde(default)]
    pub progress: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub fix: Option<String>,
    #[serde(default)]
    pub result: Option<String>,
}

/// Table `[words]`: status words of the API by phase.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusWords {
    pub pending: Vec<String>,
    pub running: Vec<String>,
    pub succeeded: Vec<String>,
    pub failed: Vec<String>,
}

/// Table `[pace]`: polling interval, timeout and expected duration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskTiming {
    #[serde(deserialize_with = "maybe_span")]
    pub interval: Option<Duration>,
    #[serde(deserialize_with = "maybe_span")]
    pub timeout: Option<Duration>,
    #[serde(deserialize_with = "maybe_span")]
    pub expected: Option<Duration>,
}

/// Table `[kinds]`: timing by the kind of a task.
#[derive(Debug, Clone, Deserialize)]
pub struct KindTiming {
    /// JSON pointer to the kind in the request.
    pub of: String,
    #[serde(flatten)]
    pub paces: BTreeMap<String, TaskTiming>,
}

/// Table `[result]`: download of the result.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultRule {
    /// Name of the file in the output folder.
    pub file: String,
    /// Hosts of results besides that of the API: a name, `*.example.com`, or `*`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Maximum size of a result in bytes.
    #[serde(default = "default_result_size", deserialize_with = "maximum_size")]
    pub max_size: u64,
}

/// Default of the maximum size of a result: 1 GiB.
fn default_result_size() -> u64 {
    1 << 30
}

fn maximum_size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    quantity::size(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

impl ResultRule {
    /// True if results may come from a host besides that of the API.
    fn allows(&self, host: &str) -> bool {
        self.hosts.iter().any(|allowed| match allowed.strip_prefix('*') {
            Some(end) => host.ends_with(end),
            None => host == allowed,
        })
    }
}

/// Client of the API that a profile describes, with one request.
pub struct Profile {
    pub client: Arc<Client>,
    about: ProfileFile,
    token: Option<Token>,
    /// Body of the submission.
    pub request: Value,
}

/// Mistake in a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error(transparent)]
    Toml(#[from] TomlError),
    #[error("{0}.path: it has no {TASK_ID} in it")]
    NoTaskId(&'static str),
    #[error("read: {0:?} is no JSON pointer: it is like \"/status\" or \"/data/id\"")]
    NoPointer(String),
    #[error("words: the words for succeeded and failed are required, or the task would never end")]
    NoEndWords,
    #[error("result.file: {0:?} must be a file name, which is created in the --output folder")]
    ResultFile(String),
    #[error("submit.method: {0:?} is neither POST nor PUT")]
    Method(String),
    #[error("the token of the profile: {0}")]
    Token(TokenError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

/// Result of a task that cannot be stored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SaveError {
    /// Place in the answer that has no address.
    #[error("its answer has no address of a result at {0}")]
    NoResult(String),
    #[error("its result has a bad address: {0}")]
    BadAddress(String),
    /// Host that the profile does not allow.
    #[error("its result is at {0}, which is not the API's host: add it to hosts in [result] of the profile")]
    ForeignHost(String),
    /// Maximum size in bytes.
    #[error("its result has more than {0} bytes: max_size in [result] of the profile is the limit")]
    TooLarge(String),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Client(#[from] HttpClientError),
    #[error("{0}")]
    Download(ClientError),
    #[error("the log of the run: {0}")]
    Log(ClientError),
    #[error("{}: {}", .0.display(), .1)]
    Write(PathBuf, String),
}

impl SaveError {
    /// Converts the error of writing `path`.
    pub(super) fn write(path: &Path, error: &std::io::Error) -> Self {
        Self::Write(path.to_owned(), error.to_string())
    }
}

impl ProfileFile {
    /// Parses and validates a profile.
    ///
    /// # Errors
    /// Returns the mistake in the file.
    pub fn read(text: &str) -> Result<Self, ProfileError> {
        let about: Self = toml::from_str(text).map_err(|error| TomlError::of(text, &error))?;
        for (name, path) in [("status", Some(&about.status.path)), ("wait", about.wait.as_ref().map(|it| &it.path))] {
            if path.is_some_and(|path| !path.contains(TASK_ID)) {
                return Err(ProfileError::NoTaskId(name));
            }
        }
        let read = &about.read;
        let pointers = [
            Some(&read.id),
            Some(&read.status),
            read.progress.as_ref(),
            read.message.as_ref(),
            read.fix.as_ref(),
            read.result.as_ref(),
        ];
        if let Some(bad) = pointers.into_iter().flatten().find(|it| !it.starts_with('/')) {
            return Err(ProfileError::NoPointer(bad.clone()));
        }
        if about.words.succeeded.is_empty() || about.words.failed.is_empty() {
            return Err(ProfileError::NoEndWords);
        }
        if let Some(file) =
            about.result.as_ref().map(|it| &it.file).filter(|it| it.contains('/') || it.starts_with('.'))
        {
            return Err(ProfileError::ResultFile(file.clone()));
        }
        if let Some(method) = about.submit.method.as_ref().filter(|it| !matches!(it.as_str(), "POST" | "PUT")) {
            return Err(ProfileError::Method(method.clone()));
        }
        Ok(about)
    }
}

impl Profile {
    /// Creates the client; fields of `request` replace those of the profile's default body.
    ///
    /// # Errors
    /// Returns the reason if the token is missing, the address is invalid, or the HTTP client
    /// cannot be built.
    pub fn new(about: ProfileFile, request: Value) -> Result<Self, ProfileError> {
        let token = about.token.as_ref().map(Reference::find).transpose().map_err(ProfileError::Token)?;
        let mut place = ServiceAddress::of_url(&about.base, None, about.allow_http)?;
        place.title.clone_from(&about.title);
        place.profile = true;
        let mut body = about
            .submit
            .body
            .clone()
            .map_or_else(|| Value::Object(serde_json::Map::new()), |it| serde_json::to_value(it).unwrap_or_default());
        if let (Some(body), Some(own)) = (body.as_object_mut(), request.as_object()) {
            body.extend(own.clone());
        }
        Ok(Self { client: Arc::new(Client::new(place)?), about, token, request: body })
    }

    /// Returns polling interval, timeout and expected duration: those of the task's kind, otherwise
    /// the general ones.
    #[must_use]
    pub fn paces(&self) -> TaskTiming {
        let kind =
            self.about.kinds.as_ref().and_then(|kinds| kinds.paces.get(self.request.pointer(&kinds.of)?.as_str()?));
        let own = kind.copied().unwrap_or_default();
        let all = self.about.pace;
        TaskTiming {
            interval: own.interval.or(all.interval),
            timeout: own.timeout.or(all.timeout),
            expected: own.expected.or(all.expected),
        }
    }

    fn ask(&self, method: Method, path: &str, id: &str) -> ServiceRequest {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<_> = path.trim_matches('/').split('/').map(|part| part.replace(TASK_ID, id)).collect();
        let mut ask = ServiceRequest { method, path: parts, ..ServiceRequest::of(Method::GET, &[]) };
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            ask = ask.with(name, value.replace(TASK_ID, id));
        }
        match (&self.token, &self.about.token_header) {
            (Some(token), Some(header)) => ask.header(header, token.text()),
            (Some(token), None) => ask.header("authorization", format!("Bearer {}", token.text())),
            (None, _) => ask,
        }
    }

    /// Submits the task with an idempotency key, if the profile names a header for it.
    ///
    /// # Errors
    /// Returns the request's error, or [`ClientError::Odd`] if the response has no task id.
    pub async fn submit(&self, key: &str) -> Result<RemoteTask, ClientError> {
        let method = if self.about.submit.method.as_deref() == Some("PUT") { Method::PUT } else { Method::POST };
        let mut ask = self.ask(method, &self.about.submit.path, "");
        if let Some(header) = &self.about.submit.idempotency_header {
            ask = ask.header(header, key);
        }
        ask.body = Some(self.request.clone());
        ask.within = Duration::from_secs(60);
        let told = self.client.ask(ask).await.map_err(|it| self.with_api_message(it))?;
        self.task(told, None)
    }

    /// Replaces the reason of a refusal by the API's own message, if the response contains one.
    fn with_api_message(&self, client_error: ClientError) -> ClientError {
        let ClientError::Refused { status, code, says, retry_after, json } = client_error else { return client_error };
        let text = |pointer: &Option<String>| json.pointer(pointer.as_deref()?)?.as_str().map(str::to_owned);
        let (message, fix) = (text(&self.about.read.message), text(&self.about.read.fix));
        let words: Vec<_> = message.into_iter().chain(fix).collect();
        let says = if words.is_empty() { says } else { mask::secrets(&words.join("; ")).into_owned() };
        ClientError::Refused { status, code, says, retry_after, json }
    }

    /// True if an ambiguous submission can be repeated, because it has an idempotency key.
    #[must_use]
    pub fn has_idempotency_key(&self) -> bool {
        self.about.submit.idempotency_header.is_some()
    }

    /// Reads the state of a task.
    ///
    /// # Errors
    /// Returns the request's error, or [`ClientError::Odd`] if the response has no status.
    pub async fn status(&self, id: &str) -> Result<RemoteTask, ClientError> {
        let asked = self.client.ask(self.ask(Method::GET, &self.about.status.path, id)).await;
        let told = asked.map_err(|it| self.with_api_message(it))?;
        self.task(told, Some(id))
    }

    /// Long-polls the API. Returns `None` if the profile describes no long poll, and `true` if the
    /// task may have changed.
    pub async fn hold(&self, id: &str, left: Duration) -> Option<Result<bool, ClientError>> {
        let wait = self.about.wait.as_ref()?;
        let mut ask = self.ask(Method::GET, &wait.path, id);
        ask.within = wait.within.unwrap_or(Duration::from_secs(35)).min(left.max(Duration::from_millis(1)));
        Some(match self.client.ask(ask).await {
            // A timeout of either side ends the poll like a change.
            Ok(_) | Err(ClientError::Silent(_) | ClientError::Refused { status: 408 | 504, .. }) => Ok(true),
            Err(client_error) => Err(client_error),
        })
    }

    /// Reads a task from a response; `id` is its id if it is known.
    fn task(&self, mut told: Value, id: Option<&str>) -> Result<RemoteTask, ClientError> {
        let read = &self.about.read;
        let text = |pointer: &str| match told.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let maybe = |pointer: &Option<String>| pointer.as_deref().and_then(text).filter(|it| !it.is_empty());
        let found = text(&read.id).or(id.map(str::to_owned));
        let Some(found) = found else {
            return Err(ClientError::Odd(format!("its answer has no id at {}", read.id)));
        };
        let said = text(&read.status);
        if said.is_none() && id.is_some() {
            return Err(ClientError::Odd(format!("its answer has no status at {}", read.status)));
        }
        // Many APIs answer a submission with the id only.
        let word = said.clone().unwrap_or_else(|| "submitted".into());
        let words = &self.about.words;
        let among = |all: &[String]| all.iter().any(|it| it.eq_ignore_ascii_case(&word));
        let (state, known) = match () {
            () if among(&words.succeeded) => (TaskPhase::Succeeded, true),
            () if among(&words.failed) => (TaskPhase::Failed, true),
            () if among(&words.running) => (TaskPhase::Running, true),
            () if among(&words.pending) || said.is_none() => (TaskPhase::Pending, true),
            // An unknown word does not end the polling.
            () => (TaskPhase::Running, false),
        };
        let progress = maybe(&read.progress);
        let message = maybe(&read.message).map(|it| mask::secrets(&it).into_owned());
        let fix = maybe(&read.fix);
        let result_url = maybe(&read.result);
        let unknown = (!known).then(|| format!("the profile does not know the status {word:?}: add it to [words]"));
        mask::json(&mut told);
        Ok(RemoteTask {
            id: found,
            state,
            progress,
            message: message.or(unknown),
            fix,
            result_url,
            run: None,
            told,
            word,
        })
    }

    /// Downloads the result into `folder` and returns its path; `None` if there is none.
    ///
    /// # Errors
    /// Returns the reason if a successful task names no result, or the result cannot be downloaded
    /// or written.
    pub async fn fetch(&self, task: &RemoteTask, folder: &Path) -> Result<Option<PathBuf>, SaveError> {
        let Some(result) = &self.about.result else { return Ok(None) };
        let Some(url) = &task.result_url else {
            let at = self.about.read.result.as_deref().unwrap_or("any place ([read] result is not set)");
            return if task.state == TaskPhase::Succeeded { Err(SaveError::NoResult(at.to_owned())) } else { Ok(None) };
        };
        let base = &self.client.place.url;
        let url = base.join(url).map_err(|error| SaveError::BadAddress(error.to_string()))?;
        // The token is sent only to the API's own origin.
        let own = url.origin() == base.origin();
        let host = url.host_str().unwrap_or_default();
        if url.host() != base.host() && !result.allows(host) {
            return Err(SaveError::ForeignHost(clean::line(host).into_owned()));
        }
        let mut place = ServiceAddress::of_url(url.as_str(), None, self.about.allow_http)?;
        place.profile = true;
        place.token = self.token.clone().filter(|_| own && self.about.token_header.is_none());
        let client = Client::new(place)?;
        let mut response = client
            .follow(ServiceRequest { within: FETCH, ..ServiceRequest::of(Method::GET, &[]) })
            .await
            .map_err(SaveError::Download)?;
        let path = folder.join(&result.file);
        let unwritten = |error: std::io::Error| SaveError::write(&path, &error);
        // A temporary file, so that a partial download never has the final name.
        let mut written = 0;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unwritten)?;
        while let Some(bytes) = chunk(&mut response, FETCH).await.map_err(SaveError::Download)? {
            use std::io::Write;
            written += bytes.len() as u64;
            if written > result.max_size {
                return Err(SaveError::TooLarge(synctop_core::format::count(result.max_size)));
            }
            file.write_all(&bytes).map_err(unwritten)?;
        }
        file.persist(&path).map_err(|error| unwritten(error.error))?;
        Ok(Some(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_valid_and_mistakes_are_reported() {
        for (_, text) in SAMPLES {
            ProfileFile::read(text).unwrap();
        }
        let (_, text) = SAMPLES[0];
        for (from, to, says) in [
            ("/videos/{task_id}", "/videos", "{task_id}"),
            ("\"/status\"", "\"status\"", "JSON pointer"),
            ("failed = [\"failed\", \"canceled\", \"moderated\"]", "", "never end"),
            ("\"video.mp4\"", "\"../x\"", "result.file"),
            ("\"POST\"", "\"GET\"", "neither POST nor PUT"),
            ("title", "titel", "titel"),
        ] {
            let why = ProfileFile::read(&text.replace(from, to)).unwrap_err().to_string();
            assert!(why.contains(says), "{why}");
        }
    }
}
