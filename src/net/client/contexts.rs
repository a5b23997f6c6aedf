//! Named services (contexts) from a TOML file. The file refers to tokens and never contains them.

use crate::util::secret_ref::{SecretRef, SecretRefError};
use reqwest::Url;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use synctop_core::protocol::clean::typed;
use synctop_core::protocol::{mask, quantity};

/// Sample configuration with all settings.
pub const SAMPLE: &str = include_str!("../../../assets/config.toml");

/// Maximum duration of a command that prints a token.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// Maximum bytes that are read of a token.
const LONGEST_TOKEN: u64 = 16 * 1024;

/// Colors that a context can have.
pub const COLORS: [&str; 5] = ["red", "yellow", "green", "blue", "magenta"];

/// Contents of the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contexts {
    /// Name of the default context.
    pub context: Option<String>,
    pub contexts: BTreeMap<String, Context>,
    /// Path of the file if an option names it.
    #[serde(skip)]
    pub named: Option<PathBuf>,
}

/// Named service of the configuration file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    pub url: String,
    #[serde(default, deserialize_with = "reference")]
    pub token: Option<Reference>,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub write: bool,
    /// Written `colour` by version 0.1.0.
    #[serde(alias = "colour")]
    pub color: Option<String>,
    #[serde(default, deserialize_with = "maybe_span")]
    pub poll: Option<Duration>,
    #[serde(default)]
    pub allow_http: bool,
    /// PEM file of the only authorities whose certificates are accepted.
    pub ca: Option<PathBuf>,
}

/// Place of a token: environment variable, file or command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Secret(SecretRef),
    /// Program and arguments; the first line of the output is the token.
    Command(Vec<String>),
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Secret(secret) => secret.fmt(f),
            Self::Command(words) => write!(f, "command {}", words.first().map_or("", String::as_str)),
        }
    }
}

/// Secret token; `Debug` masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Trims and validates a token.
    ///
    /// # Errors
    /// Returns [`TokenError::NoToken`] if it is empty or not printable ASCII without spaces.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NoToken);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the secret text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(mask::MASK)
    }
}

/// Reason that a token cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the reference holds no token: it is empty, or has more than one word")]
    NoToken,
    #[error(transparent)]
    Secret(#[from] SecretRefError),
    #[error("it is empty")]
    NoCommand,
    #[error("it cannot be started: {0}")]
    NotStarted(String),
    #[error("it did not end within 30 s")]
    TimedOut,
    #[error("it failed ({0})")]
    Failed(String),
    #[error("it printed no text")]
    NoOutput,
    /// Error of the reference at this place.
    #[error("{0}: {1}")]
    In(String, Box<TokenError>),
}

/// Reason that an address is invalid or not allowed; starts with the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0} is no address: {1}. It is like http://127.0.0.1:4020")]
    Invalid(String, String),
    #[error(
        "{0} is not on this machine, and without TLS others can read the token on the way: use https, or allow it \
         (allow_http = true, in its context or profile)"
    )]
    Insecure(String),
    #[error("{0}: {1}: is neither http: nor https:")]
    Scheme(String, String),
    #[error("{0}: an address must not contain a password, which others can read: refer to a token in a context")]
    Password(String),
}

/// Mistake in the configuration of contexts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// Unknown name, and the known ones as text.
    #[error("there is no context {0:?}{1}")]
    Unknown(String, String),
    #[error("context: there is no context {0:?}{1}")]
    UnknownDefault(String, String),
    #[error("contexts.{0}: {1}")]
    Address(String, AddressError),
    #[error("contexts.{0}: there is no color {1:?} (choose {colors})", colors = COLORS.join(", "))]
    UnknownColor(String, String),
    #[error("contexts.{0}: it is read_only or write, not both")]
    ReadOnlyAndWrite(String),
    #[error("the token of context {0}: {1}")]
    Token(String, TokenError),
}

/// Address of a service, with its token and settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceAddress {
    /// Name of its context, if it has one.
    pub context: Option<String>,
    /// Path of the configuration file if an option names it.
    pub config: Option<PathBuf>,
    /// Display name of a service without a context.
    pub title: Option<String>,
    pub url: Url,
    pub token: Option<Token>,
    /// True to disable all actions.
    pub read_only: bool,
    /// True to arm the screen from the start.
    pub write: bool,
    pub color: Option<String>,
    pub poll: Option<Duration>,
    /// PEM file of the only authorities whose certificates are accepted.
    pub ca: Option<PathBuf>,
    /// True if a task profile describes the service.
    pub profile: bool,
}

impl ServiceAddress {
    /// Creates the address of a service without a context. `allow_http` allows plain http to other
    /// machines.
    ///
    /// # Errors
    /// Returns the reason if the URL is invalid or not allowed, with the next step.
    pub fn of_url(text: &str, token: Option<Token>, allow_http: bool) -> Result<Self, AddressError> {
        Ok(Self {
            context: None,
            config: None,
            title: None,
            url: address(text, allow_http)?,
            token,
            read_only: false,
            write: false,
            color: None,
            poll: None,
            ca: None,
            profile: false,
        })
    }

    /// Returns the next step after a token was rejected.
    #[must_use]
    pub fn token_hint(&self) -> String {
        match (&self.context, self.profile) {
            (_, true) => "See the token that the profile names.".into(),
            (Some(name), _) => {
                format!("Give context {name} a token that may do this (see synctop config show).")
            }
            (None, _) => "Put a token that may do this into SYNCTOP_TOKEN, or make a context for it.".into(),
        }
    }

    /// Returns the URL without secrets. It identifies the service in stored data, whatever the
    /// token.
    #[must_use]
    pub fn shown(&self) -> String {
        mask::secrets(self.url.as_str().trim_end_matches('/')).into_owned()
    }

    /// Returns the display name: context, otherwise title, otherwise host and port.
    #[must_use]
    pub fn name(&self) -> String {
        self.context.clone().or_else(|| self.title.clone()).unwrap_or_else(|| {
            let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{port}", self.url.host_str().unwrap_or_default())
        })
    }

    /// Returns the command-line options that select the service: `--context NAME` or `--url URL`,
    /// after `--config PATH` if that was given.
    #[must_use]
    pub fn argument(&self) -> String {
        let Some(name) = &self.context else { return format!("--url {}", typed(&self.shown())) };
        let config = self.config.as_ref().map(|path| format!("--config {} ", typed(&path.to_string_lossy())));
        format!("{}--context {}", config.unwrap_or_default(), typed(name))
    }
}

/// Parses and validates the URL of a service. Plain http is valid only for this machine, or if
/// `allow_http` is set.
fn address(text: &str, allow_http: bool) -> Result<Url, AddressError> {
    let shown = mask::secrets(text).into_owned();
    let url = Url::parse(text).map_err(|error| AddressError::Invalid(shown.clone(), error.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http || loopback(&url) => {}
        "http" => {
            return Err(AddressError::Insecure(shown));
        }
        other => return Err(AddressError::Scheme(shown, other.to_owned())),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Password(shown));
    }
    Ok(url)
}

impl Contexts {
    /// Parses the configuration file.
    ///
    /// # Errors
    /// Returns the mistake in the file, with its line if known.
    pub fn read(text: &str) -> Result<Self, ContextError> {
        let all: Self = toml::from_str(text).map_err(|error| TomlError::of(text, &error))?;
        if let Some(name) = all.context.as_ref().filter(|name| !all.contexts.contains_key(*name)) {
            return Err(ContextError::UnknownDefault(name.clone(), all.known()));
        }
        Ok(all)
    }

    /// Returns the name of each context, with its URL and write mode.
    #[must_use]
    pub fn shown(&self) -> Vec<(String, String)> {
        let about = |context: &Context| {
            let write = if context.write { ", armed from the start" } else { "" };
            format!("{}{}{write}", mask::secrets(&context.url), if context.read_only { ", read-only" } else { "" })
        };
        self.contexts.iter().map(|(name, context)| (name.clone(), about(context))).collect()
    }

    /// Returns the known names for an error message, such as ` (there is a, b)`.
    #[must_use]
    pub fn known(&self) -> String {
        let names: Vec<_> = self.contexts.keys().map(String::as_str).collect();
        match names.as_slice() {
            [] => " (there is none yet: synctop config init creates a sample file)".into(),
            names => format!(" (there is {})", names.join(", ")),
        }
    }

    fn get(&self, name: &str) -> Result<&Context, ContextError> {
        self.contexts.get(name).ok_or_else(|| ContextError::Unknown(name.to_owned(), self.known()))
    }

    /// Validates one context, so that a mistake in it leaves the others usable.
    ///
    /// # Errors
    /// Returns the mistake.
    pub fn check(&self, name: &str) -> Result<(), ContextError> {
        let context = self.get(name)?;
        address(&context.url, context.allow_http).map_err(|error| ContextError::Address(name.to_owned(), error))?;
        if let Some(color) = context.color.as_deref().filter(|it| !COLORS.contains(it)) {
            return Err(ContextError::UnknownColor(name.to_owned(), color.to_owned()));
        }
        if context.read_only && context.write {
            return Err(ContextError::ReadOnlyAndWrite(name.to_owned()));
        }
        Ok(())
    }

    /// Returns the service of a context, with its token.
    ///
    /// # Errors
    /// Returns the reason if the context is unknown or invalid, or its token cannot be read.
    pub fn place(&self, name: &str) -> Result<ServiceAddress, ContextError> {
        self.check(name)?;
        let context = self.get(name)?;
        let token = context
            .token
            .as_ref()
            .map(Reference::find)
            .transpose()
            .map_err(|error| ContextError::Token(name.to_owned(), error))?;
        Ok(ServiceAddress {
            context: Some(name.to_owned()),
            config: self.named.clone(),
            read_only: context.read_only,
            write: context.write,
            color: context.color.clone(),
            poll: context.poll,
            ca: context.ca.clone(),
            ..ServiceAddress::of_url(&context.url, token, context.allow_http)
                .map_err(|error| ContextError::Address(name.to_owned(), error))?
        })
    }
}

/// Mistake in a TOML file, with its line number but without the line, which may contain a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TomlError {
    line: Option<usize>,
    message: String,
}

impl std::error::Error for TomlError {}

impl std::fmt::Display for TomlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl TomlError {
    pub(crate) fn of(text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        Self { line, message: mask::secrets(error.message()).trim_end().to_owned() }
    }
}

/// Returns the default path of the configuration file: `$XDG_CONFIG_HOME/synctop/config.toml`,
/// otherwise `~/.config/synctop/config.toml`.
#[must_use]
pub fn path() -> Option<PathBuf> {
    folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("config.toml"))
}

/// Returns the folder of stored state: `$XDG_STATE_HOME/synctop`, otherwise
/// `~/.local/state/synctop`.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

fn folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home))).map(|it| it.join("synctop"))
}

impl Reference {
    /// Reads the token.
    ///
    /// # Errors
    /// Returns the reason if the source cannot be read or its text is no token.
    pub fn find(&self) -> Result<Token, TokenError> {
        let within = |place: String| move |error| TokenError::In(place, Box::new(error));
        match self {
            Self::Secret(secret) => Token::new(&secret.read()?).map_err(within(secret.to_string())),
            Self::Command(words) => {
                let name = words.first().map_or("", String::as_str);
                let text = run(words).map_err(within(name.to_owned()))?;
                Token::new(&text).map_err(within(name.to_owned()))
            }
        }
    }
}

/// Runs a command and returns the first line of its output. Its stdin is empty, because the
/// terminal may show the full screen.
fn run(words: &[String]) -> Result<String, TokenError> {
    let (program, arguments) = words.split_first().ok_or(TokenError::NoCommand)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| TokenError::NotStarted(error.to_string()))?;
    let stdout = child.stdout.take();
    // A descendant may hold the output open: a thread reads it, so that the wait has a limit.
    let (sender, output) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.map(|stdout| std::io::BufReader::new(stdout.take(LONGEST_TOKEN)).read_line(&mut text));
        let _ = sender.send(read.is_some_and(|read| read.is_ok()).then_some(text));
    });
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < COMMAND_WITHIN => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(TokenError::TimedOut);
            }
            Err(error) => return Err(TokenError::NotStarted(error.to_string())),
        }
    };
    if !status.success() {
        return Err(TokenError::Failed(status.to_string()));
    }
    let printed = output.recv_timeout(Duration::from_secs(1)).ok().flatten();
    printed.ok_or(TokenError::NoOutput)
}

/// Deserializes the reference to a token.
pub(crate) fn reference<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Reference>, D::Error> {
    use serde::de::Error;
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum RawReference {
        Text(String),
        Table { command: Vec<String> },
    }
    let expected = "expected \"env:NAME\", \"file:/PATH\" or { command = [\"program\", \"argument\"] }";
    let Ok(raw) = RawReference::deserialize(from) else { return Err(D::Error::custom(expected)) };
    match raw {
        RawReference::Table { command } if command.is_empty() => Err(D::Error::custom(expected)),
        RawReference::Table { command } => Ok(Some(Reference::Command(command))),
        // The message does not repeat the text, which may be the token itself.
        RawReference::Text(text) => SecretRef::parse(&text)
            .map(|secret| Some(Reference::Secret(secret)))
            .ok_or_else(|| D::Error::custom(format!("{expected}; do not write the token itself into this file"))),
    }
}

/// Deserializes a duration such as `30s`.
pub(crate) fn maybe_span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    quantity::span(&text).map(Some).map_err(serde::de::Error::custom)
}

/// True if the host is this machine, so that requests do not leave it.
#[must_use]
pub fn loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_valid_with_and_without_its_comments() {
        let all: String = SAMPLE
            .lines()
            .map(|line| line.strip_prefix('#').filter(|it| !it.starts_with([' ', '#'])).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let all = Contexts::read(&all.replace("write = false\n", "")).unwrap();
        assert_eq!(all.context.as_deref(), Some("local"));
        assert_eq!(all.contexts["production"].token, Some(Reference::Secret(SecretRef::Env("SYNC_TOKEN".into()))));
        assert!(Contexts::read(SAMPLE).unwrap().context.is_none());
    }

    #[test]
    fn mistakes_are_reported_without_repeating_a_token() {
        let wrong = |text: &str| Contexts::read(text).and_then(|all| all.check("a")).unwrap_err().to_string();
        let of = |rest: &str| format!("[contexts.a]\n{rest}");
        let bare = wrong(&of("url = \"http://127.0.0.1:1\"\ntoken = 'abcdef-secret'"));
        assert!(bare.contains("do not write the token itself"), "{bare}");
        assert!(wrong(&of("url = 'http://example.com'")).contains("allow_http"));
        assert!(Contexts::read(&of("url = 'http://example.com'\nallow_http = true")).unwrap().check("a").is_ok());
        assert!(wrong(&of("url = 'https://me:secret99@example.com'")).contains("must not contain a password"));
        assert!(wrong(&of("url = 'https://a'\ncolor = 'pink'")).contains("magenta"));
        assert!(wrong(&of("url = 'https://a'\ncolour = 'pink'")).contains("magenta"), "the spelling of 0.1.0");
        assert!(wrong(&of("url = 'https://a'\nread_only = true\nwrite = true")).contains("not both"));
        assert!(wrong("context = 'b'\n[contexts.a]\nurl = 'https://a'").contains("there is a"));
        assert!(wrong(&of("url = 'https://a'\nsecret = 1")).contains("secret"));
    }

    #[test]
    fn a_token_is_read_from_its_reference() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc123\n").unwrap();
        assert_eq!(Reference::Secret(SecretRef::File(file.path().into())).find().unwrap().text(), "abc123");
        let echo = |words: &[&str]| Reference::Command(words.iter().map(ToString::to_string).collect()).find();
        assert_eq!(echo(&["echo", "tok-1"]).unwrap().text(), "tok-1");
        assert!(
            matches!(echo(&["false"]).unwrap_err(), TokenError::In(_, error) if matches!(*error, TokenError::Failed(_)))
        );
        assert!(echo(&["echo", "two words"]).unwrap_err().to_string().contains("no token"));
        assert_eq!(
            Reference::Secret(SecretRef::Env("SYNCTOP_NO_SUCH".into())).find(),
            Err(TokenError::Secret(SecretRefError::NoVariable("SYNCTOP_NO_SUCH".into())))
        );
        assert_eq!(format!("{:?}", Token::new("hush").unwrap()), "***");
    }
}
