//! Scenario of the simulated source: its streams and faults, read from a small TOML file.

use crate::engine::failure_type::REFUSALS;
use serde::Deserialize;
use std::collections::BTreeSet;
use synctop_core::protocol::{Millis, time};

/// Built-in scenarios: name and text.
pub const SCENARIOS: [(&str, &str); 6] = [
    ("healthy", include_str!("../../../assets/scenarios/healthy.toml")),
    ("large", include_str!("../../../assets/scenarios/large.toml")),
    ("rate-limited", include_str!("../../../assets/scenarios/rate-limited.toml")),
    ("parked", include_str!("../../../assets/scenarios/parked.toml")),
    ("flaky", include_str!("../../../assets/scenarios/flaky.toml")),
    ("everything", include_str!("../../../assets/scenarios/everything.toml")),
];

/// Maximum records of a stream. Records are computed, not stored.
const MAX_RECORDS: u64 = 100_000_000;

/// Maximum streams of a scenario.
const MAX_STREAMS: usize = 10_000;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short description.
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub seed: u64,
    pub range: CreatedRange,
    /// True for a live key, which has twice the request rate.
    #[serde(default = "livemode")]
    pub livemode: bool,
    /// Request budget of the whole source. The default depends on the mode: 20 live, 10 test.
    requests_per_second: Option<u32>,
    #[serde(default = "max_concurrent_streams")]
    pub max_concurrent_streams: usize,
    /// Minimum and maximum latency of a request.
    #[serde(default = "latency_ms")]
    pub latency_ms: [u64; 2],
    /// Mean bytes of a record's data.
    #[serde(default = "record_size")]
    pub record_size: usize,
    #[serde(default)]
    pub calls: CallDefaults,
    #[serde(default)]
    pub destination: Destination,
    pub streams: Vec<ScenarioStream>,
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// Creation times of the objects.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreatedRange {
    #[serde(deserialize_with = "instant")]
    pub gte: Millis,
    #[serde(deserialize_with = "instant")]
    pub lt: Millis,
}

/// Default limits of a call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallDefaults {
    /// Seconds of one call.
    pub time_limit: Option<f64>,
    /// Checkpoints of one call.
    pub state_limit: Option<u64>,
    /// Seconds between two calls.
    pub pause: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Destination {
    /// Write rate of the destination; 0 is unlimited.
    pub rows_per_second: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioStream {
    pub name: String,
    pub records: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, strum::Display, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FaultKind {
    /// 429 with Retry-After.
    RateLimit,
    /// A 5xx status.
    ServerError,
    /// The connection breaks.
    Reset,
    /// The connection breaks in the middle of the answer.
    HalfBody,
    /// Refusal for which the stream is skipped.
    Refused,
    /// 403: the key may not read this stream.
    Denied,
    /// 400: the API rejects requests for this stream.
    BadRequest,
    /// 401 for every request.
    BadKey,
    /// The answer is late.
    Stall,
    /// The destination fails, which ends the call.
    DestinationError,
    /// The destination fails on a page of a stream, between its rows and its checkpoint, and on the
    /// rest of the stream in this call; the state of the end is ahead of the written rows (as in
    /// published engines, corpus `stripe-live`, README 5).
    DestinationOutage,
    /// The engine crashes in the middle of a line.
    Crash,
}

/// Fault that a scenario injects into the simulated source or destination.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: FaultKind,
    /// Stream that the fault is limited to.
    pub stream: Option<String>,
    /// Probability of a strike, from 0 to 1.
    pub chance: Option<f64>,
    /// Number of returned records (of the stream, or of all) before the first strike.
    pub after: Option<u64>,
    /// Maximum number of strikes. Unlimited by default for a permanent fault or with `chance`,
    /// otherwise one.
    pub times: Option<u32>,
    /// HTTP status of a server error.
    pub status: Option<u16>,
    /// Seconds of `Retry-After` in a 429.
    pub retry_after: Option<f64>,
    /// Seconds of a stall.
    pub seconds: Option<f64>,
    pub message: Option<String>,
    /// Name of the refusal, one of `REFUSALS`.
    pub refusal: Option<String>,
}

impl Fault {
    /// True if the fault has no limit of strikes by default.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        use FaultKind as K;
        matches!(self.kind, K::Refused | K::Denied | K::BadRequest | K::BadKey | K::DestinationError)
    }

    /// Returns the maximum number of strikes.
    #[must_use]
    pub fn max_strikes(&self) -> u32 {
        let default = if self.is_persistent() || self.chance.is_some() { u32::MAX } else { 1 };
        self.times.unwrap_or(default)
    }
}

fn livemode() -> bool {
    true
}

fn max_concurrent_streams() -> usize {
    5
}

fn latency_ms() -> [u64; 2] {
    [60, 240]
}

fn record_size() -> usize {
    400
}

fn instant<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
    let text = String::deserialize(deserializer)?;
    time::parse(&text).ok_or_else(|| serde::de::Error::custom("expected a time such as \"2026-11-20T08:00:00Z\""))
}

/// Mistake in a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Syntax error or unknown field, with its position.
    #[error("{0}")]
    Toml(String),
    #[error("the range ends before it starts: gte must be before lt")]
    EmptyRange,
    #[error("it has {0} streams: it needs 1 to {MAX_STREAMS}")]
    StreamCount(usize),
    #[error("requests_per_second must be from 1 to 100000")]
    RequestsPerSecond,
    #[error("max_concurrent_streams must be at least 1")]
    NoConcurrency,
    #[error("latency_ms is [shortest, longest]")]
    Latency,
    #[error("record_size is at most 10000000 bytes")]
    RecordSize,
    #[error("in [calls] times are seconds, and a time_limit is more than 0")]
    CallTimes,
    #[error("in [calls] a state_limit is at least 1")]
    StateLimit,
    #[error("{0:?} cannot be the name of a stream")]
    StreamName(String),
    #[error("the stream {0} is listed twice")]
    StreamTwice(String),
    #[error("{0} has more than {MAX_RECORDS} records")]
    TooManyRecords(String),
    #[error("fault {number} ({kind}): {error}")]
    Fault { number: usize, kind: FaultKind, error: FaultError },
}

impl ScenarioError {
    fn toml(error: &toml::de::Error) -> Self {
        Self::Toml(error.to_string().trim_end().to_owned())
    }
}

/// Mistake in a fault of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    #[error("there is no stream {name} (there are {known})")]
    NoStream { name: String, known: String },
    #[error("chance is a share, from 0 to 1")]
    Chance,
    #[error("{0} does not apply to this kind of fault")]
    NotApplicable(&'static str),
    #[error("status is from 500 to 599")]
    Status,
    #[error("times are seconds, at most a day")]
    Times,
    #[error("it needs {0}")]
    Needs(&'static str),
    #[error("refusal is one of {0}")]
    Refusal(String),
}

impl Scenario {
    /// Returns the text of one of [`SCENARIOS`].
    #[must_use]
    pub fn named(name: &str) -> Option<&'static str> {
        SCENARIOS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// Reads a scenario.
    ///
    /// # Errors
    /// Returns the first mistake in the text.
    pub fn read(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError::toml(&error))?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), ScenarioError> {
        if self.range.gte >= self.range.lt {
            return Err(ScenarioError::EmptyRange);
        }
        if self.streams.is_empty() || self.streams.len() > MAX_STREAMS {
            return Err(ScenarioError::StreamCount(self.streams.len()));
        }
        if self.requests_per_second.is_some_and(|budget| budget == 0 || budget > 100_000) {
            return Err(ScenarioError::RequestsPerSecond);
        }
        if self.max_concurrent_streams == 0 {
            return Err(ScenarioError::NoConcurrency);
        }
        if self.latency_ms[0] > self.latency_ms[1] {
            return Err(ScenarioError::Latency);
        }
        if self.record_size > 10_000_000 {
            return Err(ScenarioError::RecordSize);
        }
        let seconds = |value: f64| (0.0..=1e9).contains(&value);
        if !seconds(self.calls.pause) || self.calls.time_limit.is_some_and(|limit| !seconds(limit) || limit == 0.0) {
            return Err(ScenarioError::CallTimes);
        }
        if self.calls.state_limit == Some(0) {
            return Err(ScenarioError::StateLimit);
        }
        let mut names = BTreeSet::new();
        for stream in &self.streams {
            let name = &stream.name;
            if name.is_empty() || name.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
                return Err(ScenarioError::StreamName(name.clone()));
            }
            if !names.insert(name.as_str()) {
                return Err(ScenarioError::StreamTwice(name.clone()));
            }
            if stream.records > MAX_RECORDS {
                return Err(ScenarioError::TooManyRecords(name.clone()));
            }
        }
        self.faults.iter().enumerate().try_for_each(|(at, fault)| {
            fault.check(&names).map_err(|error| ScenarioError::Fault { number: at + 1, kind: fault.kind, error })
        })
    }

    /// Returns the request budget of the whole source, in requests per second.
    #[must_use]
    pub fn budget(&self) -> u32 {
        self.requests_per_second.unwrap_or(if self.livemode { 20 } else { 10 })
    }

    /// Returns the number of concurrent segments of a stream's range if `streams` streams are read.
    #[must_use]
    pub fn segments(&self, streams: usize) -> usize {
        let effective = self.max_concurrent_streams.min(streams).max(1);
        (self.budget() as usize / effective).max(1)
    }
}

impl Fault {
    fn check(&self, streams: &BTreeSet<&str>) -> Result<(), FaultError> {
        use FaultKind as K;
        if let Some(name) = self.stream.as_deref().filter(|name| !streams.contains(name)) {
            let known: Vec<_> = streams.iter().take(8).copied().collect();
            return Err(FaultError::NoStream { name: name.to_owned(), known: known.join(", ") });
        }
        if self.chance.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err(FaultError::Chance);
        }
        let allowed = |field: &'static str, is_set: bool, kinds: &[K]| {
            if is_set && !kinds.contains(&self.kind) { Err(FaultError::NotApplicable(field)) } else { Ok(()) }
        };
        allowed("status", self.status.is_some(), &[K::ServerError])?;
        allowed("retry_after", self.retry_after.is_some(), &[K::RateLimit])?;
        allowed("seconds", self.seconds.is_some(), &[K::Stall])?;
        allowed("refusal", self.refusal.is_some(), &[K::Refused])?;
        if self.status.is_some_and(|status| !(500..600).contains(&status)) {
            return Err(FaultError::Status);
        }
        let seconds = |value: Option<f64>| value.is_none_or(|value| (0.0..=86_400.0).contains(&value));
        if !seconds(self.retry_after) || !seconds(self.seconds) {
            return Err(FaultError::Times);
        }
        match self.kind {
            K::Stall if self.seconds.is_none() => Err(FaultError::Needs("`seconds`")),
            K::Refused | K::Denied | K::BadRequest if self.stream.is_none() => Err(FaultError::Needs("a `stream`")),
            K::Refused => {
                let names: Vec<_> = REFUSALS.iter().map(|refusal| refusal.name).collect();
                match &self.refusal {
                    Some(name) if names.contains(&name.as_str()) => Ok(()),
                    _ => Err(FaultError::Refusal(names.join(", "))),
                }
            }
            K::RateLimit | K::ServerError | K::Reset | K::HalfBody | K::DestinationOutage
                if self.chance.is_none() && self.after.is_none() =>
            {
                Err(FaultError::Needs("a `chance` or an `after`"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_scenarios_parse() {
        for (name, text) in SCENARIOS {
            let scenario = Scenario::read(text).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(!scenario.title.is_empty(), "{name}");
        }
    }

    #[test]
    fn invalid_scenarios_name_the_error_and_its_place() {
        let good = "range = { gte = \"2024-01-01T00:00:00Z\", lt = \"2025-01-01T00:00:00Z\" }\n[[streams]]\nname = \"a\"\nrecords = 5\n";
        assert!(Scenario::read(good).is_ok());
        for (text, says) in [
            (String::new(), "missing field `range`"),
            (format!("sed = 1\n{good}"), "unknown field `sed`"),
            (good.replace("5\n", "\"five\"\n"), "line 4"),
            (good.replace("2024-01-01T00:00:00Z", "yesterday"), "expected a time such as"),
            (good.replace("2024", "2026"), "ends before it starts"),
            (format!("{good}[[streams]]\nname = \"a\"\nrecords = 5\n"), "listed twice"),
            (
                format!("{good}[[faults]]\nkind = \"reset\"\nstream = \"b\"\nchance = 0.1\n"),
                "there is no stream b (there are a)",
            ),
            (format!("{good}[[faults]]\nkind = \"reset\"\n"), "needs a `chance` or an `after`"),
            (format!("{good}[[faults]]\nkind = \"rests\"\n"), "unknown variant `rests`"),
            (format!("{good}[[faults]]\nkind = \"refused\"\nstream = \"a\"\n"), "refusal is one of testmode_only"),
            (format!("{good}[[faults]]\nkind = \"reset\"\nchance = 2.0\n"), "from 0 to 1"),
            (format!("{good}[[faults]]\nkind = \"crash\"\nseconds = 2.0\n"), "does not apply to this kind of fault"),
        ] {
            let why = Scenario::read(&text).expect_err(&text);
            let why = why.to_string();
            assert!(why.contains(says), "{why}\n-- does not say: {says}");
        }
    }

    #[test]
    fn segments_share_the_request_budget_as_in_the_published_source() {
        let mut scenario = Scenario::read(SCENARIOS[0].1).unwrap();
        // 20 requests a second: 20 streams 4, 3 streams 6, 1 stream 20; 10 a second: 20 streams 2,
        // 1 stream 10.
        for (rps, streams, segments) in [(20, 20, 4), (20, 3, 6), (20, 1, 20), (10, 20, 2), (10, 1, 10), (2, 5, 1)] {
            scenario.requests_per_second = Some(rps);
            assert_eq!(scenario.segments(streams), segments, "{rps} {streams}");
        }
        scenario.requests_per_second = None;
        assert_eq!((scenario.budget(), scenario.segments(1)), (20, 20));
        scenario.livemode = false;
        assert_eq!((scenario.budget(), scenario.segments(1), scenario.segments(20)), (10, 10, 2));
    }
}
