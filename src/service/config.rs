//! Configuration of the service: a TOML file. Engines are defined only there: a request selects a
//! name, never a command.

use crate::service::alerts::cause::AlertEvent;
use crate::service::archive::ARCHIVE_AFTER;
use crate::service::log::LogRetention;
use crate::service::secrets::References;
use crate::util::secret_ref::SecretRef;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use synctop_core::fleet::requests::{Labels, is_label};
use synctop_core::protocol::quantity;

/// Sample configuration: all settings with their defaults.
pub const SAMPLE: &str = include_str!("../../assets/serve.toml");

/// Name of the built-in engine.
pub const SIMULATED: &str = "simulated";

/// Configuration of the service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Listen address, unless the command line sets it.
    pub listen: Option<std::net::SocketAddr>,
    pub data_dir: Option<PathBuf>,
    /// File with the token of full access.
    pub token_file: Option<PathBuf>,
    /// File with the token of read access.
    pub read_token_file: Option<PathBuf>,
    /// Certificate chain and private key of TLS, PEM files.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// Allows plain HTTP off loopback.
    pub insecure_http: bool,
    /// Declares that only a proxy reaches the port.
    pub behind_proxy: bool,
    pub store: StoreConfig,
    pub archive: ArchiveConfig,
    pub node: NodeConfig,
    pub limits: Limits,
    pub calls: Calls,
    pub logs: Logs,
    pub secrets: References,
    pub alert: Vec<AlertConfig>,
    pub engines: BTreeMap<String, EngineConfig>,
}

/// Database that several nodes share.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Address such as `postgres://synctop@db.example/synctop`; none for a file in the data folder.
    pub url: Option<String>,
    /// Reference to its password: `file:/PATH` or `env:NAME`.
    pub password: Option<String>,
}

/// Object store of closed parts of the logs, for a database that several nodes share.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveConfig {
    /// Address such as `file:///mnt/synctop`; without it the logs stay in the database.
    pub url: Option<String>,
    /// Age at which a closed part moves to it; a small one waits sixty times as long.
    #[serde(deserialize_with = "span")]
    pub after: Duration,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self { url: None, after: ARCHIVE_AFTER }
    }
}

/// This node of several.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// Name in the list of nodes; the name of the machine by default.
    pub name: Option<String>,
    /// Address at which people reach it, for the list of nodes.
    pub address: Option<String>,
    pub labels: Labels,
}

/// Target of alerts: a webhook or a command.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertConfig {
    /// Name in the action log; the address or the program by default.
    pub name: Option<String>,
    /// Events that are sent.
    pub on: Vec<AlertEvent>,
    /// Address that gets a POST: `text` for a chat such as Slack, and `synctop` for programs.
    pub webhook: Option<String>,
    /// Reference to the key of the signature in `X-Synctop-Signature`: `file:/PATH` or `env:NAME`.
    pub secret: Option<String>,
    /// Program and arguments; it gets the same JSON on stdin.
    pub command: Option<Vec<String>>,
}

impl AlertConfig {
    /// Returns the name of the target, without the path of an address, which may be secret.
    #[must_use]
    pub fn target(&self) -> String {
        let host = || {
            let url = reqwest::Url::parse(self.webhook.as_deref()?).ok()?;
            url.host_str().map(str::to_owned)
        };
        let program = || self.command.as_ref()?.first().cloned();
        self.name.clone().or_else(host).or_else(program).unwrap_or_default()
    }
}

/// Concurrency limits.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Maximum concurrent runs; further ones wait in order.
    pub runs: usize,
    /// Maximum number of pipelines.
    pub pipelines: usize,
    /// Maximum open waits.
    pub waits: usize,
    /// Maximum open waits of one address, other than loopback.
    pub waits_per_client: usize,
    /// Maximum readers of events.
    pub streams: usize,
    /// Maximum open connections.
    pub connections: usize,
    /// Maximum open connections of one address.
    pub connections_per_client: usize,
    /// Maximum request rate of one address; a burst may have twice as many.
    pub requests_per_second: f64,
    /// Maximum size of a request body in bytes.
    #[serde(deserialize_with = "size")]
    pub body: u64,
    /// Maximum queued live events of one pipeline.
    pub inputs: u64,
    /// Maximum bytes that a live reader may lag behind before it gets a snapshot.
    #[serde(deserialize_with = "size")]
    pub behind: u64,
}

/// Default limits of each call of an engine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    /// Maximum duration in seconds.
    pub time_limit: f64,
    /// Maximum number of checkpoints.
    pub state_limit: u64,
    /// Maximum time without output.
    #[serde(deserialize_with = "span")]
    pub stall_timeout: Duration,
    /// Maximum time to the next checkpoint when a call is stopped, and to the end of a command
    /// after TERM.
    #[serde(deserialize_with = "span")]
    pub grace: Duration,
}

/// Log retention per pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// Size of a segment in bytes at which the next one starts.
    #[serde(deserialize_with = "size")]
    pub segment: u64,
    /// Maximum size in bytes of the compressed segments.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Maximum age of a segment.
    #[serde(deserialize_with = "span")]
    pub age: Duration,
}

/// Engine with either a URL or a command.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Address of an HTTP engine, such as `http://127.0.0.1:4010`.
    pub url: Option<String>,
    /// Program and arguments. The program reads one JSON object (`{action, pipeline, state?, ...}`)
    /// from stdin and writes messages to stdout.
    pub command: Option<Vec<String>>,
    /// Fields of its configuration that hold secrets, besides those that say so by their name.
    pub secrets: Vec<String>,
    /// Actions besides syncing: `check`, `setup`, `teardown`. An engine by URL supports all of
    /// them.
    pub actions: Vec<String>,
    pub time_limit: Option<f64>,
    pub state_limit: Option<u64>,
    #[serde(deserialize_with = "maybe_span")]
    pub stall_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            runs: 16,
            pipelines: 10_000,
            waits: 1_000,
            waits_per_client: 8,
            streams: 500,
            connections: 4_000,
            connections_per_client: 1_000,
            requests_per_second: 500.0,
            body: 4 << 20,
            inputs: 10_000,
            behind: 4 << 20,
        }
    }
}

impl Default for Calls {
    /// As the published service calls its engine.
    fn default() -> Self {
        Self {
            time_limit: 10.0,
            state_limit: 100,
            stall_timeout: Duration::from_secs(120),
            grace: Duration::from_secs(5),
        }
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self { segment: 16 << 20, size: 256 << 20, age: Duration::from_secs(14 * 86400) }
    }
}

/// Mistake in a configuration of the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Syntax error or unknown setting, with its position.
    #[error("{0}")]
    Toml(String),
    #[error("engines.{0}: this name is reserved for the built-in engine: use another one")]
    Reserved(String),
    #[error("engines.{0}: a name has letters, digits, - and _")]
    EngineName(String),
    #[error("engines.{name}.url: {error}")]
    Url { name: String, error: String },
    #[error("engines.{name}.url: {scheme}: is not http:")]
    Scheme { name: String, scheme: String },
    #[error("engines.{0} needs a url or a command, and not both")]
    UrlOrCommand(String),
    #[error("engines.{name}.actions: {action} is none of {known}")]
    Action { name: String, action: String, known: String },
    #[error("engines.{0}.time_limit is a number of seconds")]
    TimeLimit(String),
    #[error("alert {0}: it needs a webhook (http or https) or a command, and not both")]
    Alert(String),
    #[error("alert {0}: on lists none of parked, failing, late, recovered")]
    NoEvents(String),
    #[error("alert {0}: secret is a reference, file:/PATH or env:NAME, and needs a webhook")]
    AlertSecret(String),
    #[error("alert {0}: another one has this name")]
    AlertTwice(String),
    #[error("node.labels.{0}: a label has 1 to 63 letters, digits, -, _, . and / in its name and its value")]
    Label(String),
    /// Setting whose value is below its minimum.
    #[error("{0} is too small")]
    TooSmall(&'static str),
}

impl Config {
    /// Parses and validates a configuration.
    ///
    /// # Errors
    /// Returns a sentence that names the mistake and its position.
    pub fn read(text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|error| ConfigError::Toml(error.to_string().trim_end().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (name, engine) in &self.engines {
            if name == SIMULATED {
                return Err(ConfigError::Reserved(name.clone()));
            }
            let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(fine) {
                return Err(ConfigError::EngineName(name.clone()));
            }
            match (&engine.url, &engine.command) {
                (Some(url), None) => {
                    let url = reqwest::Url::parse(url)
                        .map_err(|error| ConfigError::Url { name: name.clone(), error: error.to_string() })?;
                    if !matches!(url.scheme(), "http" | "https") {
                        return Err(ConfigError::Scheme { name: name.clone(), scheme: url.scheme().to_owned() });
                    }
                }
                (None, Some(command)) if !command.is_empty() => {}
                _ => return Err(ConfigError::UrlOrCommand(name.clone())),
            }
            let known = ["check", "setup", "teardown"];
            if let Some(odd) = engine.actions.iter().find(|it| !known.contains(&it.as_str())) {
                return Err(ConfigError::Action { name: name.clone(), action: odd.clone(), known: known.join(", ") });
            }
            if engine.time_limit.is_some_and(|limit| !(limit > 0.0 && limit <= 1e6)) {
                return Err(ConfigError::TimeLimit(name.clone()));
            }
        }
        for (at, alert) in self.alert.iter().enumerate() {
            let name = match alert.target() {
                name if name.is_empty() => format!("{}", at + 1),
                name => name,
            };
            let is_http = |url: &String| {
                reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            };
            match (&alert.webhook, &alert.command) {
                (Some(url), None) if is_http(url) => {}
                (None, Some(command)) if !command.is_empty() => {}
                _ => return Err(ConfigError::Alert(name)),
            }
            if alert.on.is_empty() {
                return Err(ConfigError::NoEvents(name));
            }
            if let Some(secret) = &alert.secret
                && (SecretRef::parse(secret).is_none() || alert.webhook.is_none())
            {
                return Err(ConfigError::AlertSecret(name));
            }
            if self.alert.iter().take(at).any(|other| other.target() == name) {
                return Err(ConfigError::AlertTwice(name));
            }
        }
        if let Some((name, _)) = self.node.labels.iter().find(|(name, value)| !is_label(name) || !is_label(value)) {
            return Err(ConfigError::Label(name.clone()));
        }
        let limits = &self.limits;
        for (name, bad) in [
            ("limits.runs", limits.runs == 0),
            ("limits.waits", limits.waits == 0),
            ("limits.waits_per_client", limits.waits_per_client == 0),
            ("limits.connections", limits.connections == 0 || limits.connections_per_client == 0),
            ("limits.requests_per_second", limits.requests_per_second.is_nan() || limits.requests_per_second <= 0.0),
            ("limits.body", limits.body < 1024),
            ("calls.time_limit", !(self.calls.time_limit > 0.0 && self.calls.time_limit <= 1e6)),
            ("calls.state_limit", self.calls.state_limit == 0),
            ("logs.segment", self.logs.segment < 1024),
            ("archive.after", self.archive.after < Duration::from_secs(1)),
        ] {
            if bad {
                return Err(ConfigError::TooSmall(name));
            }
        }
        Ok(())
    }

    /// Returns the retention of the logs.
    #[must_use]
    pub fn log_retention(&self) -> LogRetention {
        LogRetention { segment: self.logs.segment, size: self.logs.size, age: self.logs.age }
    }
}

/// Number without a unit, or text with one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Quantity {
    Number(f64),
    Text(String),
}

impl Quantity {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    quantity::size(&Quantity::deserialize(deserializer)?.text()).map_err(serde::de::Error::custom)
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    quantity::span(&Quantity::deserialize(deserializer)?.text()).map_err(serde::de::Error::custom)
}

fn maybe_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    span(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_equals_the_defaults() {
        let mut sample = Config::read(SAMPLE).unwrap();
        assert_eq!(sample.listen.take().unwrap().to_string(), "127.0.0.1:4020");
        assert_eq!(sample, Config::default());
        // Commented settings are valid.
        let full: String = SAMPLE
            .lines()
            .map(|line| {
                line.strip_prefix('#')
                    .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
                    .unwrap_or(line)
            })
            .collect::<Vec<_>>()
            .join("\n");
        let full = Config::read(&full).unwrap();
        assert_eq!(full.engines.len(), 2);
        assert!(full.data_dir.is_some() && full.token_file.is_some() && full.secrets.dirs.len() == 1);
    }

    #[test]
    fn mistakes_are_reported_with_their_position() {
        let good = "listen = \"127.0.0.1:4020\"\n[calls]\nstall_timeout = \"2m\"\n[logs]\nsize = \"1GiB\"\n[engines.stripe]\nurl = \"http://127.0.0.1:4010\"\n[engines.tap]\ncommand = [\"tap\"]\n";
        let read = Config::read(good).unwrap();
        assert_eq!((read.logs.size, read.calls.stall_timeout), (1 << 30, Duration::from_secs(120)));
        for (text, says) in [
            (good.replace("listen", "lisen"), "unknown field `lisen`"),
            (good.replace("\"2m\"", "\"soon\""), "a time such as"),
            (good.replace("http:", "ftp:"), "ftp: is not http:"),
            (good.replace("stripe", "simulated"), "reserved for the built-in engine"),
            (good.replace("command = [\"tap\"]", "command = []"), "needs a url or a command"),
            (good.replace("[logs]", "[logs]\nsegment = 1"), "logs.segment is too small"),
        ] {
            let why = Config::read(&text).expect_err(&text);
            let why = why.to_string();
            assert!(why.contains(says), "{why}\n-- does not say: {says}");
        }
    }
}
