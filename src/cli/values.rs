//! Parsers of argument values, with their errors.

use std::path::PathBuf;
use strum::VariantArray as _;
use synctop_core::fleet::PipelineGroup;
use synctop_core::protocol::quantity::{QuantityError, span};

/// Expected form of an argument that was not understood; completes clap's sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgError {
    #[error("a number from 0.01 to 1000000")]
    Speed,
    #[error("one of {0}")]
    OneOf(String),
    #[error("a copy is written plain or as .zst")]
    Gzip,
    #[error("a whole number from 1")]
    Count,
    #[error("an address such as 127.0.0.1:4020 or [::1]:4020")]
    Address,
    #[error("a number of seconds, more than 0")]
    Seconds,
    #[error("{0}, 0 or never")]
    Timeout(QuantityError),
}

impl ArgError {
    /// Lists the accepted values.
    fn one_of(known: impl IntoIterator<Item = impl ToString>) -> Self {
        Self::OneOf(known.into_iter().map(|it| it.to_string()).collect::<Vec<_>>().join(", "))
    }
}

/// Timeout of a wait; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitLimit(pub Option<std::time::Duration>);

pub(super) fn speed(text: &str) -> Result<f64, ArgError> {
    text.parse::<f64>().ok().filter(|speed| (0.01..=1e6).contains(speed)).ok_or(ArgError::Speed)
}

pub(super) fn replay_speed(text: &str) -> Result<f64, ArgError> {
    let known = crate::app::SPEEDS;
    let asked = text.trim_end_matches('x').parse::<f64>().ok();
    asked.filter(|speed| known.contains(speed)).ok_or_else(|| ArgError::one_of(known))
}

pub(super) fn copy(text: &str) -> Result<PathBuf, ArgError> {
    match std::path::Path::new(text).extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Err(ArgError::Gzip),
        _ => Ok(text.into()),
    }
}

pub(super) fn at_least_one(text: &str) -> Result<u64, ArgError> {
    text.parse().ok().filter(|number| *number > 0).ok_or(ArgError::Count)
}

pub(super) fn address(text: &str) -> Result<std::net::SocketAddr, ArgError> {
    let plain = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    plain.as_deref().unwrap_or(text).parse().map_err(|_| ArgError::Address)
}

pub(super) fn seconds(text: &str) -> Result<f64, ArgError> {
    text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 1e9).ok_or(ArgError::Seconds)
}

pub(super) fn group(text: &str) -> Result<PipelineGroup, ArgError> {
    let all = PipelineGroup::VARIANTS;
    all.iter()
        .copied()
        .find(|it| it.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| ArgError::one_of(all.iter().map(|it| it.as_str().to_lowercase())))
}

pub(super) fn limit(text: &str) -> Result<WaitLimit, ArgError> {
    match text {
        "0" | "0s" => Ok(WaitLimit(Some(std::time::Duration::ZERO))),
        "never" => Ok(WaitLimit(None)),
        text => span(text).map(|it| WaitLimit(Some(it))).map_err(ArgError::Timeout),
    }
}
