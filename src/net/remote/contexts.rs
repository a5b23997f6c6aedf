//! Named services: a TOML file. Tokens are referenced, never written into it.

use super::client::loopback;
use reqwest::Url;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use synctop_core::protocol::clean::typed;
use synctop_core::protocol::{mask, quantity};

/// Sample configuration with all settings.
pub const SAMPLE: &str = include_str!("../../../assets/config.toml");

/// Time a command has to print a token, and maximum length of a token.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);
const LONGEST_TOKEN: u64 = 16 * 1024;

/// Colours a context may have.
pub const COLOURS: [&str; 5] = ["red", "yellow", "green", "blue", "magenta"];

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contexts {
    /// The one that is taken where none is named.
    pub context: Option<String>,
    pub contexts: BTreeMap<String, Context>,
    /// The file, where it is not the usual one.
    #[serde(skip)]
    pub named: Option<PathBuf>,
}

/// A service in the file.
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
    pub colour: Option<String>,
    #[serde(default, deserialize_with = "maybe_span")]
    pub poll: Option<Duration>,
    #[serde(default)]
    pub allow_http: bool,
}

/// Reference to a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Env(String),
    File(PathBuf),
    Command(Vec<String>),
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Command(words) => write!(f, "command {}", words.first().map_or("", String::as_str)),
        }
    }
}

/// A token; it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// # Errors
    /// Why it cannot be sent; without it.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the reference holds no token: it is empty, or has more than one word".into());
        }
        Ok(Self(text.to_owned()))
    }

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

/// A service that can be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceAddress {
    /// Its context, where it has one.
    pub context: Option<String>,
    /// The file that has its context, where it is not the usual one.
    pub config: Option<PathBuf>,
    /// Display name of a service without a context.
    pub title: Option<String>,
    pub url: Url,
    pub token: Option<Token>,
    /// Nothing can be done to it.
    pub read_only: bool,
    /// Armed from the begin.
    pub write: bool,
    pub colour: Option<String>,
    pub poll: Option<Duration>,
    /// A task profile describes it, including the place of its token.
    pub profile: bool,
}

impl ServiceAddress {
    /// A service by its address. `allow_http`: its configuration allows to do without TLS, off this
    /// machine too.
    ///
    /// # Errors
    /// Reason that it is invalid, with the next step.
    pub fn of_url(text: &str, token: Option<Token>, allow_http: bool) -> Result<Self, String> {
        Ok(Self {
            context: None,
            config: None,
            title: None,
            url: address(text, allow_http)?,
            token,
            read_only: false,
            write: false,
            colour: None,
            poll: None,
            profile: false,
        })
    }

    /// Place of the token, for a message about a rejected one.
    #[must_use]
    pub fn whose_token(&self) -> String {
        match (&self.context, self.profile) {
            (_, true) => "See the token that the profile names.".into(),
            (Some(name), _) => {
                format!("Give context {name} a token that may do this (see synctop config show).")
            }
            (None, _) => "Put a token that may do this into SYNCTOP_TOKEN, or make a context for it.".into(),
        }
    }

    /// URL without its secrets. It identifies stored data: another token of the same service is the
    /// same service.
    #[must_use]
    pub fn shown(&self) -> String {
        mask::secrets(self.url.as_str().trim_end_matches('/')).into_owned()
    }

    /// Name of its context, otherwise its title, otherwise its host.
    #[must_use]
    pub fn name(&self) -> String {
        self.context.clone().or_else(|| self.title.clone()).unwrap_or_else(|| {
            let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{port}", self.url.host_str().unwrap_or_default())
        })
    }

    /// As it is typed: `--context NAME` or `--url URL`, and the configuration where that was named.
    #[must_use]
    pub fn argument(&self) -> String {
        let Some(name) = &self.context else { return format!("--url {}", typed(&self.shown())) };
        let config = self.config.as_ref().map(|path| format!("--config {} ", typed(&path.to_string_lossy())));
        format!("{}--context {}", config.unwrap_or_default(), typed(name))
    }
}

/// An address of a service; plain http only to this machine, or where that is allowed.
fn address(text: &str, allow_http: bool) -> Result<Url, String> {
    let shown = mask::secrets(text);
    let url = Url::parse(text)
        .map_err(|error| format!("{shown} is no address: {error}. It is like http://127.0.0.1:4020"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http || loopback(&url) => {}
        "http" => {
            return Err(format!(
                "{shown} is not on this machine, and without TLS everybody on the way can read along: use https, or allow it (allow_http = true, \
                 in its context or profile)"
            ));
        }
        other => return Err(format!("{shown}: {other}: is neither http: nor https:")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "{shown}: a token does not stand in an address, where everybody can read it: name it in a context"
        ));
    }
    Ok(url)
}

impl Contexts {
    /// # Errors
    /// The mistake in the file, and its place.
    pub fn read(text: &str) -> Result<Self, String> {
        let all: Self = toml::from_str(text).map_err(|error| told(text, &error))?;
        if let Some(name) = all.context.as_ref().filter(|name| !all.contexts.contains_key(*name)) {
            return Err(format!("context: there is no context {name:?}{}", all.known()));
        }
        Ok(all)
    }

    /// Names, and the facts needed before a switch.
    #[must_use]
    pub fn shown(&self) -> Vec<(String, String)> {
        let about = |context: &Context| {
            let write = if context.write { ", armed from the start" } else { "" };
            format!("{}{}{write}", mask::secrets(&context.url), if context.read_only { ", read-only" } else { "" })
        };
        self.contexts.iter().map(|(name, context)| (name.clone(), about(context))).collect()
    }

    /// ` (there is a, b)`.
    #[must_use]
    pub fn known(&self) -> String {
        let names: Vec<_> = self.contexts.keys().map(String::as_str).collect();
        match names.as_slice() {
            [] => " (there is none yet: synctop config init makes a file for them)".into(),
            names => format!(" (there is {})", names.join(", ")),
        }
    }

    /// Validates a context; other contexts stay usable.
    ///
    /// # Errors
    /// The mistake.
    pub fn check(&self, name: &str) -> Result<(), String> {
        let context = self.contexts.get(name).ok_or_else(|| format!("there is no context {name:?}{}", self.known()))?;
        address(&context.url, context.allow_http).map_err(|why| format!("contexts.{name}: {why}"))?;
        if let Some(colour) = context.colour.as_deref().filter(|it| !COLOURS.contains(it)) {
            return Err(format!("contexts.{name}: there is no colour {colour:?} (there is {})", COLOURS.join(", ")));
        }
        if context.read_only && context.write {
            return Err(format!("contexts.{name}: it is read_only or write, not both"));
        }
        Ok(())
    }

    /// The service of a context, with its token.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub fn place(&self, name: &str) -> Result<ServiceAddress, String> {
        self.check(name)?;
        let context = self.contexts.get(name).ok_or_else(|| format!("there is no context {name:?}{}", self.known()))?;
        let token = context
            .token
            .as_ref()
            .map(Reference::find)
            .transpose()
            .map_err(|why| format!("the token of context {name}: {why}"))?;
        Ok(ServiceAddress {
            context: Some(name.to_owned()),
            config: self.named.clone(),
            read_only: context.read_only,
            write: context.write,
            colour: context.colour.clone(),
            poll: context.poll,
            ..ServiceAddress::of_url(&context.url, token, context.allow_http)?
        })
    }
}

/// Describes an error in a file by line; without the line itself, which may contain a secret.
pub(super) fn told(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let what = mask::secrets(error.message()).trim_end().to_owned();
    line.map_or_else(|| what.clone(), |line| format!("line {line}: {what}"))
}

/// Path of the file: `$XDG_CONFIG_HOME/synctop/config.toml`, otherwise
/// `~/.config/synctop/config.toml`.
#[must_use]
pub fn path() -> Option<PathBuf> {
    folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("config.toml"))
}

/// Folder of stored state: `$XDG_STATE_HOME/synctop`, otherwise `~/.local/state/synctop`.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

fn folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home))).map(|it| it.join("synctop"))
}

impl Reference {
    /// The token that stands there now.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(&self) -> Result<Token, String> {
        match self {
            Self::Env(name) => {
                let text =
                    std::env::var(name).map_err(|_| format!("there is no variable {name} in the environment"))?;
                Token::new(&text).map_err(|why| format!("env:{name}: {why}"))
            }
            Self::File(path) => {
                let text = read_short(path).map_err(|error| format!("{}: {error}", path.display()))?;
                Token::new(&text).map_err(|why| format!("{}: {why}", path.display()))
            }
            Self::Command(words) => {
                let name = words.first().map_or("", String::as_str);
                let text = run(words).map_err(|why| format!("{name}: {why}"))?;
                Token::new(&text).map_err(|why| format!("{name}: {why}"))
            }
        }
    }
}

fn read_short(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST_TOKEN).read_to_string(&mut text)?;
    Ok(text)
}

/// Output of a command within its timeout. Its stdin is empty: the terminal may be a full screen.
fn run(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("it is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let stdout = child.stdout.take();
    // One that it leaves behind may hold its output open: it is not waited for.
    let (told, heard) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.map(|stdout| std::io::BufReader::new(stdout.take(LONGEST_TOKEN)).read_line(&mut text));
        let _ = told.send(read.is_some_and(|read| read.is_ok()).then_some(text));
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < COMMAND_WITHIN => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("it did not end within 30 s".into());
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    if !status.success() {
        return Err(format!("it failed ({status})"));
    }
    let printed = heard.recv_timeout(Duration::from_secs(1)).ok().flatten();
    printed.ok_or_else(|| "it printed no text".into())
}

pub(super) fn reference<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Reference>, D::Error> {
    use serde::de::Error;
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Text(String),
        Table { command: Vec<String> },
    }
    let expected = "expected \"env:NAME\", \"file:/PATH\" or { command = [\"program\", \"argument\"] }";
    let Ok(told) = Told::deserialize(from) else { return Err(D::Error::custom(expected)) };
    match told {
        Told::Table { command } if command.is_empty() => Err(D::Error::custom(expected)),
        Told::Table { command } => Ok(Some(Reference::Command(command))),
        Told::Text(text) => match (text.strip_prefix("env:"), text.strip_prefix("file:")) {
            (Some(name), _) if !name.is_empty() => Ok(Some(Reference::Env(name.to_owned()))),
            (_, Some(path)) if path.starts_with('/') => Ok(Some(Reference::File(path.into()))),
            // The rejected text may be the token itself: it is not repeated.
            _ => Err(D::Error::custom(format!("{expected}; a token itself does not stand in this file"))),
        },
    }
}

pub(super) fn maybe_span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    quantity::span(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_a_configuration_also_with_all_that_it_offers() {
        let all: String = SAMPLE
            .lines()
            .map(|line| line.strip_prefix('#').filter(|it| !it.starts_with([' ', '#'])).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let all = Contexts::read(&all.replace("write = false\n", "")).unwrap();
        assert_eq!(all.context.as_deref(), Some("local"));
        assert_eq!(all.contexts["production"].token, Some(Reference::Env("SYNC_TOKEN".into())));
        assert!(Contexts::read(SAMPLE).unwrap().context.is_none());
    }

    #[test]
    fn what_is_wrong_is_said_and_no_token_is_repeated() {
        let wrong = |text: &str| Contexts::read(text).and_then(|all| all.check("a")).unwrap_err();
        let of = |rest: &str| format!("[contexts.a]\n{rest}");
        let bare = wrong(&of("url = \"http://127.0.0.1:1\"\ntoken = 'abcdef-secret'"));
        assert!(bare.contains("does not stand in this file"), "{bare}");
        assert!(wrong(&of("url = 'http://example.com'")).contains("allow_http"));
        assert!(Contexts::read(&of("url = 'http://example.com'\nallow_http = true")).unwrap().check("a").is_ok());
        assert!(wrong(&of("url = 'https://me:secret99@example.com'")).contains("does not stand in an address"));
        assert!(wrong(&of("url = 'https://a'\ncolour = 'pink'")).contains("magenta"));
        assert!(wrong(&of("url = 'https://a'\nread_only = true\nwrite = true")).contains("not both"));
        assert!(wrong("context = 'b'\n[contexts.a]\nurl = 'https://a'").contains("there is a"));
        assert!(wrong(&of("url = 'https://a'\nsecret = 1")).contains("secret"));
    }

    #[test]
    fn a_token_is_found_where_it_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc123\n").unwrap();
        assert_eq!(Reference::File(file.path().into()).find().unwrap().text(), "abc123");
        let echo = |words: &[&str]| Reference::Command(words.iter().map(ToString::to_string).collect()).find();
        assert_eq!(echo(&["echo", "tok-1"]).unwrap().text(), "tok-1");
        assert!(echo(&["false"]).unwrap_err().contains("failed"));
        assert!(echo(&["echo", "two words"]).unwrap_err().contains("no token"));
        assert!(Reference::Env("SYNCTOP_NO_SUCH".into()).find().unwrap_err().contains("SYNCTOP_NO_SUCH"));
        assert_eq!(format!("{:?}", Token::new("hush").unwrap()), "***");
    }
}
