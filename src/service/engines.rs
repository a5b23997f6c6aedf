//! Engines of pipelines with one interface: the simulated engine in this process, engines over
//! HTTP, and commands.

use crate::engine::simulator::engine::{CallRequest, CallerLimits, Refused, Simulated};
use crate::engine::simulator::scenario::{Fault, SCENARIOS, Scenario, ScenarioError};
use crate::engine::tracker::wire::WireGeneration;
use crate::net::source::engine_http::{self, CallOutcome};
use crate::service::command::{kill_leftovers, run};
use crate::service::config::{Config, EngineConfig, SIMULATED};
use crate::service::engine_action::EngineAction;
use crate::service::secrets::KnownSecrets;
use crate::util::sys::lock;
use serde_json::Value;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Call of an engine, and its pipeline.
pub struct EngineCall<'a> {
    pub pipeline: &'a str,
    pub engine: &'a str,
    pub action: EngineAction,
    /// JSON body of the call.
    pub body: String,
    /// Secrets in the body, to be masked in the engine's stderr.
    pub known: &'a KnownSecrets,
}

/// Engine of the configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("engines.{name}.url: {error}")]
    Url { name: String, error: String },
    #[error("engines.{name}: the HTTPS client cannot be created: {error}")]
    Client { name: String, error: String },
}

/// Fields of the configuration of the simulated engine.
const SIMULATED_FIELDS: [&str; 8] =
    ["scenario", "scenario_text", "seed", "speed", "generation", "api_key", "account_id", "webhook_secret"];

/// Source of a pipeline that no engine can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceConfigError {
    #[error("there is no engine {name:?} (the service has {known})")]
    NoEngine { name: String, known: String },
    #[error("source.simulated has no field {0} (it has {known})", known = SIMULATED_FIELDS.join(", "))]
    NoField(String),
    #[error("source.simulated.scenario: there is no scenario {0:?} (there are {known})", known = SCENARIOS.map(|it| it.0).join(", "))]
    NoScenario(String),
    #[error("source.simulated.scenario_text: {0}")]
    Scenario(#[from] ScenarioError),
    #[error("source.simulated.seed is a whole number")]
    Seed,
    #[error("source.simulated.speed is a number from 0.01 to 1000000, or 0 for as fast as it can")]
    Speed,
    #[error("source.simulated.generation is progress or trace")]
    Generation,
}

/// Engines of the service by name.
pub struct Engines {
    config: Arc<Config>,
    /// Folder with one file per running process group: after a crash the next service kills these.
    children: PathBuf,
    /// Simulated engines by pipeline, each with its configuration text; an engine keeps the state
    /// of its simulated API between calls.
    simulated: Mutex<HashMap<String, (String, Arc<Simulated>)>>,
    /// Faults of simulated pipelines instead of those of their scenario.
    faults: Mutex<HashMap<String, Vec<Fault>>>,
    clients: HashMap<String, (reqwest::Client, reqwest::Url)>,
}

impl Engines {
    /// Creates the engines of the configuration, and kills leftover commands of a killed service.
    ///
    /// # Errors
    /// Returns a sentence that names the engine whose URL is invalid or whose client fails.
    pub fn new(config: Arc<Config>, folder: &Path) -> Result<Self, EngineError> {
        let children = folder.join("children");
        let _ = std::fs::create_dir_all(&children);
        kill_leftovers(&children);
        let mut clients = HashMap::new();
        for (name, engine) in &config.engines {
            if let Some(url) = &engine.url {
                let url = reqwest::Url::parse(url)
                    .map_err(|error| EngineError::Url { name: name.clone(), error: error.to_string() })?;
                let client = engine_http::client(&url, None)
                    .map_err(|error| EngineError::Client { name: name.clone(), error: error.to_string() })?;
                clients.insert(name.clone(), (client, url));
            }
        }
        Ok(Self { config, children, simulated: Mutex::default(), faults: Mutex::default(), clients })
    }

    /// Returns the configuration of an engine; `None` for the simulated one and for unknown names.
    fn named(&self, name: &str) -> Option<&EngineConfig> {
        self.config.engines.get(name)
    }

    /// Returns the fields that an engine declares as secret.
    #[must_use]
    pub fn secret_fields(&self, name: &str) -> &[String] {
        self.named(name).map_or(&[], |engine| &engine.secrets)
    }

    /// Returns the engine names that a request may use.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        std::iter::once(SIMULATED).chain(self.config.engines.keys().map(String::as_str)).collect()
    }

    /// Returns the kind of an engine: `simulated`, `http` or `command`.
    #[must_use]
    pub fn kind(&self, name: &str) -> &'static str {
        match self.named(name) {
            Some(EngineConfig { url: Some(_), .. }) => "http",
            Some(_) => "command",
            None => "simulated",
        }
    }

    /// Returns the limits of a call: seconds and checkpoints.
    #[must_use]
    pub fn limits(&self, name: &str) -> (f64, u64) {
        let own = self.named(name);
        (
            own.and_then(|it| it.time_limit).unwrap_or(self.config.calls.time_limit),
            own.and_then(|it| it.state_limit).unwrap_or(self.config.calls.state_limit),
        )
    }

    /// True if the engine supports the action.
    #[must_use]
    pub fn can(&self, name: &str, action: EngineAction) -> bool {
        match self.named(name) {
            Some(EngineConfig { command: Some(_), actions, .. }) => {
                action == EngineAction::Sync || actions.iter().any(|it| it == action.as_str())
            }
            _ => true,
        }
    }

    /// Validates a source's configuration as far as possible without a call.
    ///
    /// # Errors
    /// Returns [`SourceConfigError::NoEngine`] if the service has no such engine, otherwise the
    /// mistake in the configuration of the simulated engine.
    pub fn validate(&self, source: &Value) -> Result<(), SourceConfigError> {
        let name = source.get("type").and_then(Value::as_str).unwrap_or_default();
        if name == SIMULATED {
            return scenario(source).map(drop);
        }
        match self.named(name) {
            Some(_) => Ok(()),
            None => Err(SourceConfigError::NoEngine { name: name.to_owned(), known: self.names().join(", ") }),
        }
    }

    /// Kills all running commands.
    pub fn kill_all(&self) {
        kill_leftovers(&self.children);
    }

    /// Drops the simulated engine of a pipeline.
    pub fn forget(&self, pipeline: &str) {
        lock(&self.simulated).remove(pipeline);
        lock(&self.faults).remove(pipeline);
    }

    /// Replaces the faults of a simulated pipeline, from its next request on.
    pub fn set_faults(&self, pipeline: &str, faults: Vec<Fault>) {
        if let Some((_, engine)) = lock(&self.simulated).get(pipeline) {
            engine.set_faults(faults.clone());
        }
        lock(&self.faults).insert(pipeline.to_owned(), faults);
    }

    fn simulated(&self, pipeline: &str, source: &Value) -> Result<Arc<Simulated>, SourceConfigError> {
        let mut kept = source.get(SIMULATED).cloned().unwrap_or_default();
        if let Some(kept) = kept.as_object_mut() {
            // Keys do not change the simulated account.
            kept.remove("api_key");
            kept.remove("webhook_secret");
        }
        let text = kept.to_string();
        let mut all = lock(&self.simulated);
        if let Some((of, engine)) = all.get(pipeline)
            && *of == text
        {
            return Ok(Arc::clone(engine));
        }
        let (mut scenario, form, pace) = scenario(source)?;
        if let Some(faults) = lock(&self.faults).get(pipeline) {
            scenario.faults.clone_from(faults);
        }
        let engine = Arc::new(Simulated::new(scenario, form, pace, None));
        all.insert(pipeline.to_owned(), (text, Arc::clone(&engine)));
        Ok(engine)
    }

    /// Calls the engine of a pipeline. `each` receives its output; `stop` ends the call.
    pub async fn call(
        &self,
        request: EngineCall<'_>,
        stop: &Notify,
        each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> CallOutcome {
        let EngineCall { pipeline, engine: name, action, body, known } = request;
        let stall = self.named(name).and_then(|it| it.stall_timeout).unwrap_or(self.config.calls.stall_timeout);
        if let Some((client, url)) = self.clients.get(name) {
            let mut url = url.clone();
            let path = url.path().trim_end_matches('/').trim_end_matches("/pipeline_sync").to_owned();
            url.set_path(&format!("{path}/pipeline_{}", action.as_str()));
            return engine_http::call(client, url, body, Some(stall), stop, each).await;
        }
        if let Some(command) = self.named(name).and_then(|it| it.command.as_deref()) {
            return run(
                command,
                &self.children,
                (pipeline, action, &body),
                known,
                stall,
                self.config.calls.grace,
                stop,
                each,
            )
            .await;
        }
        self.simulate(pipeline, action, &body, stall, stop, each).await
    }

    async fn simulate(
        &self,
        pipeline: &str,
        action: EngineAction,
        body: &str,
        stall: Duration,
        stop: &Notify,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> CallOutcome {
        let refused = |why: Value| CallOutcome::Refused {
            status: 400,
            says: crate::net::source::engine_http::says(&serde_json::json!({ "error": why }).to_string()),
            retry_after: None,
        };
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let source = value.pointer("/pipeline/source").cloned().unwrap_or_default();
        let engine = match self.simulated(pipeline, &source) {
            Ok(engine) => engine,
            Err(why) => return refused(why.to_string().into()),
        };
        let request = match CallRequest::read(value) {
            Ok(request) => request,
            Err(why) => return refused(why),
        };
        let messages = match action {
            EngineAction::Check => engine.check(&request),
            EngineAction::Setup => engine.setup(&request),
            EngineAction::Teardown => Vec::new(),
            EngineAction::Sync => {
                let mut chunks = match engine.sync(request, CallerLimits::default(), false) {
                    Ok(chunks) => chunks,
                    Err(Refused::Invalid(why)) => return refused(why),
                    Err(Refused::Busy(why)) => return CallOutcome::Unreachable(why),
                };
                loop {
                    let chunk = tokio::select! {
                        biased;
                        () = stop.notified() => return CallOutcome::Stopped,
                        () = tokio::time::sleep(stall) => return CallOutcome::Silent(stall),
                        chunk = chunks.recv() => chunk,
                    };
                    match chunk {
                        None => return CallOutcome::Ended,
                        Some(Ok(bytes)) => {
                            if each(&bytes).is_break() {
                                return CallOutcome::Stopped;
                            }
                        }
                        Some(Err(error)) if error.kind() == std::io::ErrorKind::InvalidInput => {
                            return refused(error.to_string().into());
                        }
                        Some(Err(error)) => return CallOutcome::Broke(error.to_string()),
                    }
                }
            }
        };
        for message in messages {
            if each(format!("{message}\n").as_bytes()).is_break() {
                return CallOutcome::Stopped;
            }
        }
        CallOutcome::Ended
    }
}

/// Returns the scenario of a simulated source.
///
/// # Errors
/// Returns the mistake in its configuration.
pub fn scenario_of(source: &Value) -> Result<Scenario, SourceConfigError> {
    Ok(scenario(source)?.0)
}

/// Reads the configuration of a simulated source: scenario, protocol generation, and speed (`None`
/// is without delays).
fn scenario(source: &Value) -> Result<(Scenario, WireGeneration, Option<f64>), SourceConfigError> {
    let config = source.get(SIMULATED).cloned().unwrap_or_else(|| Value::Object(serde_json::Map::default()));
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    if let Some(odd) =
        config.as_object().into_iter().flatten().map(|(key, _)| key).find(|it| !SIMULATED_FIELDS.contains(&it.as_str()))
    {
        return Err(SourceConfigError::NoField(odd.clone()));
    }
    let toml = match (text("scenario_text"), text("scenario").unwrap_or("healthy")) {
        (Some(toml), _) => toml,
        (None, name) => Scenario::named(name).ok_or_else(|| SourceConfigError::NoScenario(name.to_owned()))?,
    };
    let mut scenario = Scenario::read(toml)?;
    if let Some(seed) = config.get("seed") {
        scenario.seed = seed.as_u64().ok_or(SourceConfigError::Seed)?;
    }
    let pace = match config.get("speed") {
        None => Some(1.0),
        Some(speed) => match speed.as_f64() {
            Some(0.0) => None,
            Some(speed) if (0.01..=1e6).contains(&speed) => Some(speed),
            _ => {
                return Err(SourceConfigError::Speed);
            }
        },
    };
    let form = match text("generation").unwrap_or("progress") {
        "progress" => WireGeneration::Progress,
        "trace" => WireGeneration::Trace,
        _ => return Err(SourceConfigError::Generation),
    };
    Ok((scenario, form, pace))
}
