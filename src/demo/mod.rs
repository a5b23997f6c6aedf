//! Demo: pipelines of the simulated engine with a history of two weeks, and incidents for as long as
//! it is open. Everything else is the real service, its store and its client.

pub mod history;
pub mod incidents;

use crate::engine::simulator::scenario::Fault;
use serde::Deserialize;

/// Pipelines and incidents of the demo, in TOML.
const PLAN: &str = include_str!("../../assets/demo.toml");

/// Content of the demo.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoPlan {
    pub pipelines: Vec<PlannedPipeline>,
    /// Faults that pipelines get in turn.
    pub incidents: Vec<Fault>,
}

/// State that the last run of the history left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A run starts with the demo.
    Running,
    Ready,
    Paused,
    Parked,
}

/// Pipeline with its history.
#[derive(Debug, Deserialize)]
pub struct PlannedPipeline {
    pub id: String,
    pub ends: Ending,
    /// Age of the last run at the start of the demo, in minutes.
    pub last_minutes: u32,
    /// Days ago on which the run failed.
    #[serde(default)]
    pub failed_days: Vec<u32>,
    /// Fault of those runs; without it, those of the scenario.
    pub past_fault: Option<Fault>,
    /// Configuration of the simulated source.
    #[serde(flatten)]
    pub simulated: toml::Table,
}

/// Error of the demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("assets/demo.toml: {0}")]
    Plan(#[from] Box<toml::de::Error>),
    #[error("{0}: {1}")]
    Source(String, crate::service::engines::SourceConfigError),
    #[error("{0}")]
    Engine(#[from] crate::engine::simulator::call::CallError),
    #[error(transparent)]
    Store(#[from] crate::util::sqlite::StoreError),
    #[error(transparent)]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl DemoPlan {
    /// Returns the plan of `assets/demo.toml`.
    ///
    /// # Errors
    /// Returns [`DemoError::Plan`] if it cannot be read.
    pub fn read() -> Result<Self, DemoError> {
        Ok(toml::from_str(PLAN).map_err(Box::new)?)
    }
}
