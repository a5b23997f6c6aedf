//! Values of claims that all protocols share: names, counts, statuses, ranges, levels.

use super::time::Millis;
use std::borrow::Cow;

/// Identity of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<'a> {
    /// Namespace, such as a database schema (Airbyte's `namespace`); `None` in Stripe and Singer.
    pub namespace: Option<Cow<'a, str>>,
    /// Name of the stream within its namespace, as on the wire.
    pub name: Cow<'a, str>,
}

impl<'a> Name<'a> {
    /// Creates a name without a namespace.
    #[must_use]
    pub fn plain(name: Cow<'a, str>) -> Self {
        Self { namespace: None, name }
    }

    /// Creates a name in a namespace; an empty one counts as none.
    #[must_use]
    pub fn with_namespace(namespace: Option<Cow<'a, str>>, name: Cow<'a, str>) -> Self {
        Self { namespace: namespace.filter(|space| !space.is_empty()), name }
    }

    /// Copies the borrowed parts.
    #[must_use]
    pub fn into_owned(self) -> Name<'static> {
        let own = |text: Cow<str>| Cow::Owned(text.into_owned());
        Name { namespace: self.namespace.map(own), name: own(self.name) }
    }

    /// Returns the name for display: `public.users`.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        match &self.namespace {
            None => Cow::Borrowed(&self.name),
            Some(space) => Cow::Owned(format!("{space}.{}", self.name)),
        }
    }

    /// Returns a unique string for lookups.
    #[must_use]
    pub fn key(&self) -> Cow<'_, str> {
        stream_key(self.namespace.as_deref(), &self.name)
    }
}

/// Separator of namespace and name in a key.
pub(crate) const KEY_SEPARATOR: char = '\u{1f}';

/// Returns the key of a stream for lookups.
pub(crate) fn stream_key<'n>(space: Option<&str>, name: &'n str) -> Cow<'n, str> {
    match space {
        None => Cow::Borrowed(name),
        Some(space) => Cow::Owned(format!("{space}{KEY_SEPARATOR}{name}")),
    }
}

/// Claimed count, by scope. `running` is an engine's own counter, which may restart in a new
/// attempt; the reducer detects that, as Prometheus does for a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Count of the current attempt alone, such as Stripe's `run_record_count`.
    pub attempt: Option<u64>,
    /// Count of all attempts of the run, such as Stripe's `cumulative_record_count`.
    pub cumulative: Option<u64>,
    /// The engine's own counter, such as Stripe's `record_count` in `progress.streams`.
    pub running: Option<u64>,
    /// True if a count was negative, and is left out.
    pub is_negative: bool,
}

impl Counts {
    /// Creates a claim of an engine's own counter.
    #[must_use]
    pub fn running(value: Option<u64>) -> Self {
        Self { running: value, ..Self::default() }
    }

    /// True if a count of any scope was reported.
    #[must_use]
    pub fn said(&self) -> bool {
        self.attempt.is_some() || self.cumulative.is_some() || self.running.is_some()
    }
}

/// Status of a stream.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// No start in this attempt, or Stripe's `not_started` or `pending`.
    #[default]
    NotStarted,
    /// Started and not finished: Stripe's `start`, `started` or `running`, Airbyte's `STARTED`.
    Started,
    /// Read to the end: Stripe's `complete`, Airbyte's `COMPLETE`, Singer's `succeeded`.
    Completed,
    /// Left out by the source (Stripe's `skip`), or deselected in the catalog.
    Skipped,
    /// Failed: Stripe's `error` or `*_error`, Airbyte's `INCOMPLETE`, Singer's `failed`.
    Errored,
}

impl Status {
    /// Returns the status in snake case, such as `not_started`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Time range `[gte, lt)` in milliseconds. Without `gte` it starts at the beginning, and coverage
/// is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Range {
    /// Start, included, in milliseconds since 1970 UTC; `None` for an open start.
    pub gte: Option<Millis>,
    /// End, excluded, in milliseconds since 1970 UTC; `None` for an open end.
    pub lt: Option<Millis>,
}

/// Level of an error on the wire.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum ErrorLevel {
    /// Error of the whole run.
    Global,
    /// Error of one stream.
    Stream,
    /// Temporary error: a retry may succeed without a change.
    Transient,
}

impl ErrorLevel {
    /// Returns the level in snake case, such as `global`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Level of a log line.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Finest level: `trace`, or a pino number below 20.
    Trace,
    /// Level `debug`, or a pino number from 20 to 29.
    Debug,
    /// Level `info`, and default for a missing or unknown level.
    #[default]
    Info,
    /// Level `warn` or `warning`, or a pino number from 40 to 49.
    Warn,
    /// Level `error`, `fatal` or `critical`, or a pino number from 50.
    Error,
}

impl Level {
    /// Returns the level in upper case, such as `WARN`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Reads an engine's name of a level, in any case. An unknown name is [`Level::Info`].
impl From<&str> for Level {
    fn from(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "warn" | "warning" => Self::Warn,
            "error" | "fatal" | "critical" => Self::Error,
            _ => Self::Info,
        }
    }
}

/// Side of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Source, such as a Singer tap (logger `tap-…`).
    Source,
    /// Destination, such as a Singer target (logger `target-…`).
    Destination,
}
