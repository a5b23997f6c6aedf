//! Any asynchronous HTTP API, described by one TOML file: submission and polling of a task, fields
//! of an answer, meaning of its words.

use super::client::{Ask, Client, ClientError, chunk};
use super::contexts::{Reference, ServiceAddress, Token, maybe_span, reference, told};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use synctop_core::fleet::task::{RemoteTask, TaskPhase};
use synctop_core::protocol::mask;

/// The profiles to begin one's own with.
pub const SAMPLES: [(&str, &str); 2] = [
    ("video", include_str!("../../../assets/tasks/video.toml")),
    ("vm", include_str!("../../../assets/tasks/vm.toml")),
];

/// Placeholder of the task id in a path.
const TASK_ID: &str = "{task_id}";

/// Maximum silence while a result is fetched.
const FETCH: Duration = Duration::from_secs(60);

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
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
    pub status: At,
    #[serde(default)]
    pub wait: Option<HoldRule>,
    pub read: Read,
    pub words: Words,
    #[serde(default)]
    pub pace: Paces,
    #[serde(default)]
    pub kinds: Option<Kinds>,
    #[serde(default)]
    pub result: Option<Fetched>,
}

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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    pub path: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRule {
    pub path: String,
    /// Maximum hold time of the API.
    #[serde(default, deserialize_with = "maybe_span")]
    pub within: Option<Duration>,
}

/// JSON pointers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    pub pending: Vec<String>,
    pub running: Vec<String>,
    pub succeeded: Vec<String>,
    pub failed: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paces {
    #[serde(deserialize_with = "maybe_span")]
    pub interval: Option<Duration>,
    #[serde(deserialize_with = "maybe_span")]
    pub timeout: Option<Duration>,
    #[serde(deserialize_with = "maybe_span")]
    pub expected: Option<Duration>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Kinds {
    /// Path of the kind in the request.
    pub of: String,
    #[serde(flatten)]
    pub paces: BTreeMap<String, Paces>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetched {
    pub file: String,
}

/// An API that can be asked.
pub struct Profile {
    pub client: Arc<Client>,
    about: Description,
    token: Option<Token>,
    /// Request of the task.
    pub request: Value,
}

impl Description {
    /// # Errors
    /// The mistake in the file.
    pub fn read(text: &str) -> Result<Self, String> {
        let about: Self = toml::from_str(text).map_err(|error| told(text, &error))?;
        for (name, path) in [("status", Some(&about.status.path)), ("wait", about.wait.as_ref().map(|it| &it.path))] {
            if path.is_some_and(|path| !path.contains(TASK_ID)) {
                return Err(format!("{name}.path: it has no {TASK_ID} in it"));
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
            return Err(format!("read: {bad:?} is no JSON pointer: it is like \"/status\" or \"/data/id\""));
        }
        if about.words.succeeded.is_empty() || about.words.failed.is_empty() {
            return Err("words: the words for succeeded and failed are required, or the task would never end".into());
        }
        if let Some(file) =
            about.result.as_ref().map(|it| &it.file).filter(|it| it.contains('/') || it.starts_with('.'))
        {
            return Err(format!("result.file: {file:?} is to be a name in the folder that --output names"));
        }
        if let Some(method) = about.submit.method.as_ref().filter(|it| !matches!(it.as_str(), "POST" | "PUT")) {
            return Err(format!("submit.method: {method:?} is neither POST nor PUT"));
        }
        Ok(about)
    }
}

impl Profile {
    /// # Errors
    /// Why it cannot be asked.
    pub fn new(about: Description, request: Value) -> Result<Self, String> {
        let token = about
            .token
            .as_ref()
            .map(Reference::find)
            .transpose()
            .map_err(|why| format!("the token of the profile: {why}"))?;
        let mut place = ServiceAddress::of_url(&about.base, None, about.allow_http)?;
        place.title.clone_from(&about.title);
        place.profile = true;
        let mut whole = about
            .submit
            .body
            .clone()
            .map_or_else(|| Value::Object(serde_json::Map::new()), |it| serde_json::to_value(it).unwrap_or_default());
        if let (Some(whole), Some(own)) = (whole.as_object_mut(), request.as_object()) {
            whole.extend(own.clone());
        }
        Ok(Self { client: Arc::new(Client::new(place)?), about, token, request: whole })
    }

    /// Polling interval, timeout and expected duration: by the kind of the task, otherwise the
    /// general ones.
    #[must_use]
    pub fn paces(&self) -> Paces {
        let kind =
            self.about.kinds.as_ref().and_then(|kinds| kinds.paces.get(self.request.pointer(&kinds.of)?.as_str()?));
        let own = kind.copied().unwrap_or_default();
        let all = self.about.pace;
        Paces {
            interval: own.interval.or(all.interval),
            timeout: own.timeout.or(all.timeout),
            expected: own.expected.or(all.expected),
        }
    }

    fn ask(&self, method: Method, path: &str, id: &str) -> Ask {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<_> = path.trim_matches('/').split('/').map(|part| part.replace(TASK_ID, id)).collect();
        let mut ask = Ask { method, path: parts, ..Ask::of(Method::GET, &[]) };
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

    /// # Errors
    /// Why it was not taken.
    pub async fn submit(&self, key: &str) -> Result<RemoteTask, ClientError> {
        let method = if self.about.submit.method.as_deref() == Some("PUT") { Method::PUT } else { Method::POST };
        let mut ask = self.ask(method, &self.about.submit.path, "");
        if let Some(header) = &self.about.submit.idempotency_header {
            ask = ask.header(header, key);
        }
        ask.body = Some(self.request.clone());
        ask.within = Duration::from_secs(60);
        let told = self.client.ask(ask).await.map_err(|it| self.said(it))?;
        self.task(told, None)
    }

    /// A refusal in the API's own words, where its answer has them.
    fn said(&self, trouble: ClientError) -> ClientError {
        let ClientError::Refused { status, code, says, retry_after, json } = trouble else { return trouble };
        let text = |pointer: &Option<String>| json.pointer(pointer.as_deref()?)?.as_str().map(str::to_owned);
        let (message, fix) = (text(&self.about.read.message), text(&self.about.read.fix));
        let words: Vec<_> = message.into_iter().chain(fix).collect();
        let says = if words.is_empty() { says } else { mask::secrets(&words.join("; ")).into_owned() };
        ClientError::Refused { status, code, says, retry_after, json }
    }

    /// True if an ambiguous submission may be repeated.
    #[must_use]
    pub fn keyed(&self) -> bool {
        self.about.submit.idempotency_header.is_some()
    }

    /// # Errors
    /// Why it is not known.
    pub async fn status(&self, id: &str) -> Result<RemoteTask, ClientError> {
        let asked = self.client.ask(self.ask(Method::GET, &self.about.status.path, id)).await;
        let told = asked.map_err(|it| self.said(it))?;
        self.task(told, Some(id))
    }

    /// Holds until something is so, where the API can: whether it may be.
    pub async fn hold(&self, id: &str, left: Duration) -> Option<Result<bool, ClientError>> {
        let wait = self.about.wait.as_ref()?;
        let mut ask = self.ask(Method::GET, &wait.path, id);
        ask.within = wait.within.unwrap_or(Duration::from_secs(35)).min(left.max(Duration::from_millis(1)));
        Some(match self.client.ask(ask).await {
            // Or its time is over, or ours.
            Ok(_) | Err(ClientError::Silent(_) | ClientError::Refused { status: 408 | 504, .. }) => Ok(true),
            Err(trouble) => Err(trouble),
        })
    }

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
        // Many answer a submission with the id only.
        let word = said.clone().unwrap_or_else(|| "submitted".into());
        let words = &self.about.words;
        let among = |all: &[String]| all.iter().any(|it| it.eq_ignore_ascii_case(&word));
        let (state, known) = match () {
            () if among(&words.succeeded) => (TaskPhase::Succeeded, true),
            () if among(&words.failed) => (TaskPhase::Failed, true),
            () if among(&words.running) => (TaskPhase::Running, true),
            () if among(&words.pending) || said.is_none() => (TaskPhase::Pending, true),
            // Polling continues: an unknown word ends nothing.
            () => (TaskPhase::Running, false),
        };
        let progress = maybe(&read.progress);
        let message = maybe(&read.message).map(|it| mask::secrets(&it).into_owned());
        let fix = maybe(&read.fix);
        let result_url = maybe(&read.result);
        let unknown = (!known).then(|| format!("the profile does not know the status {word:?}: add it to [words]"));
        mask::json(&mut told);
        Ok(RemoteTask { id: found, state, progress, message: message.or(unknown), fix, result_url, told, word })
    }

    /// Fetches the result into `folder`; its file.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn fetch(&self, task: &RemoteTask, folder: &Path) -> Result<Option<PathBuf>, String> {
        let Some(result) = &self.about.result else { return Ok(None) };
        let Some(url) = &task.result_url else {
            let at = self.about.read.result.as_deref().unwrap_or("any place ([read] result is not set)");
            return if task.state == TaskPhase::Succeeded {
                Err(format!("its answer has no address of a result at {at}"))
            } else {
                Ok(None)
            };
        };
        let base = &self.client.place.url;
        let url = base.join(url).map_err(|error| format!("its result has a bad address: {error}"))?;
        // A key goes only to its API.
        let own = url.origin() == base.origin();
        let mut place = ServiceAddress::of_url(url.as_str(), None, self.about.allow_http)?;
        place.profile = true;
        place.token = self.token.clone().filter(|_| own && self.about.token_header.is_none());
        let client = Client::new(place)?;
        let mut response =
            client.follow(Ask { within: FETCH, ..Ask::of(Method::GET, &[]) }).await.map_err(|it| it.words())?;
        let path = folder.join(&result.file);
        let unwritten = |error: std::io::Error| format!("{}: {error}", path.display());
        // Half a film does not stand there as if it were one.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unwritten)?;
        while let Some(bytes) = chunk(&mut response, FETCH).await.map_err(|trouble| trouble.words())? {
            use std::io::Write;
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
    fn the_samples_can_be_read_and_mistakes_are_told() {
        for (_, text) in SAMPLES {
            Description::read(text).unwrap();
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
            let why = Description::read(&text.replace(from, to)).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }
}
