//! Simulated engine, served over HTTP by `serve.rs` and in process by the pipeline service.

use crate::engine::simulator::call::{Call, CallError, Outlet, call};
use crate::engine::simulator::list_api::Api;
use crate::engine::simulator::rows::RowFile;
use crate::engine::simulator::scenario::{Fault, Scenario};
use crate::engine::tracker::memory::Memory;
use crate::engine::tracker::wire::WireGeneration;
use crate::util::sys::{lock, now};
use axum::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use synctop_core::protocol::{Millis, time};
use tokio::sync::mpsc;

/// Maximum queued chunks of a slow client; at the bound the engine waits.
const MAX_QUEUED_CHUNKS: usize = 16;

/// Interval of checks for a disconnected client.
const DISCONNECT_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Simulated engine with its list API, which persists across calls.
pub struct Simulated {
    api: Arc<Mutex<Api>>,
    form: WireGeneration,
    /// Multiple of real time; `None` is unlimited.
    pace: Option<f64>,
    rows: Option<RowFile>,
    /// Simulated clock. With a pace other than 1 it differs from the machine's; the next call
    /// continues from it.
    clock: AtomicI64,
}

/// Limits of one call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CallerLimits {
    time_limit: Option<f64>,
    state_limit: Option<u64>,
    #[serde(alias = "sync_run_id")]
    run_id: Option<String>,
}

/// Body of a call: `{pipeline, state?, run_id?, time_limit?, state_limit?, stdin?}`.
#[derive(Debug, Deserialize)]
pub struct CallRequest {
    pipeline: Pipeline,
    #[serde(default)]
    state: Value,
    #[serde(flatten)]
    limits: CallerLimits,
    /// Live events, as `source_input` messages.
    #[serde(default)]
    stdin: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Pipeline {
    source: Party,
    destination: Party,
    streams: Option<Vec<Asked>>,
}

#[derive(Debug, Deserialize)]
struct Party {
    r#type: String,
    #[serde(flatten)]
    config: serde_json::Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    name: String,
}

/// Reason of a refused call.
#[derive(Debug)]
pub enum Refused {
    /// Invalid body: a sentence, or a list of issues.
    Invalid(Value),
    /// No thread could be started.
    Busy(String),
}

impl CallRequest {
    /// Reads the body of a call.
    ///
    /// # Errors
    /// Returns the list of issues with which published engines answer.
    pub fn read(value: Value) -> Result<Self, Value> {
        let issue = |message: String| json!([{"code": "invalid_type", "path": ["pipeline"], "message": message}]);
        if !value.get("pipeline").is_some_and(Value::is_object) {
            return Err(issue("Invalid input: expected object, received undefined".to_owned()));
        }
        serde_json::from_value(value).map_err(|error| issue(format!("Invalid input: {error}")))
    }

    /// Returns the message with which the simulated API rejects the key, if it does. A key that
    /// contains `bad` or `revoked` is rejected, every other one accepted.
    fn key_refused(&self) -> Option<String> {
        let source = &self.pipeline.source;
        let key = source.config.get(&source.r#type)?.get("api_key")?.as_str()?;
        if !["bad", "revoked"].iter().any(|word| key.contains(word)) {
            return None;
        }
        let last: String = key.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
        Some(format!(
            "Invalid API Key provided: sk_test_****{last} [GET /v1/account (401)] {{request-id=req_00000000000001}}"
        ))
    }
}

impl CallerLimits {
    /// Combines the limits of the body with those of the query; the body has precedence.
    fn or(self, query: Self) -> Result<Self, Value> {
        let limits = Self {
            time_limit: self.time_limit.or(query.time_limit),
            state_limit: self.state_limit.or(query.state_limit),
            run_id: self.run_id.or(query.run_id),
        };
        let bad = |path: &str| {
            let message = "Too small: expected number to be >0";
            Err(json!([{"code": "too_small", "path": [path], "message": message}]))
        };
        match limits {
            Self { time_limit: Some(limit), .. } if !(limit > 0.0 && limit <= 1e9) => bad("time_limit"),
            Self { state_limit: Some(0), .. } => bad("state_limit"),
            limits => Ok(limits),
        }
    }
}

impl Simulated {
    /// Creates an engine. `pace`: multiple of real time, `None` is unlimited. `rows`: file for the
    /// rows of the destination.
    #[must_use]
    pub fn new(scenario: Scenario, form: WireGeneration, pace: Option<f64>, rows: Option<RowFile>) -> Self {
        Self { api: Arc::new(Mutex::new(Api::new(scenario))), form, pace, rows, clock: AtomicI64::new(0) }
    }

    /// Replaces the faults of source and destination, also for a running call.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        lock(&self.api).set_faults(faults);
    }

    /// Checks whether source and destination are reachable.
    #[must_use]
    pub fn check(&self, call_request: &CallRequest) -> Vec<Value> {
        let at = time::iso(now());
        let (source, destination) = (&call_request.pipeline.source.r#type, &call_request.pipeline.destination.r#type);
        let status = match call_request.key_refused() {
            Some(message) => json!({"status": "failed", "message": message}),
            None => json!({"status": "succeeded"}),
        };
        vec![
            json!({"type": "connection_status", "connection_status": status, "_emitted_by": format!("source/{source}"), "_ts": at}),
            json!({"type": "connection_status", "connection_status": {"status": "succeeded"}, "_emitted_by": format!("destination/{destination}"), "_ts": at}),
        ]
    }

    /// Prepares source and destination.
    #[must_use]
    pub fn setup(&self, call_request: &CallRequest) -> Vec<Value> {
        if let Some(message) = call_request.key_refused() {
            return vec![json!({"type": "log", "log": {"level": "error", "message": message}})];
        }
        let streams = lock(&self.api).scenario().streams.len();
        let message = format!("Creating schema \"simulated\" ({streams} streams)");
        vec![json!({
            "type": "log", "log": {"level": "info", "message": message},
            "_emitted_by": "destination/simulated", "_ts": time::iso(now()),
        })]
    }

    /// Starts a call on a thread. The receiver gets its lines at the configured pace, and an error
    /// if the engine crashes. Dropping the receiver ends the call.
    ///
    /// # Errors
    /// Returns [`Refused::Invalid`] for an invalid state or limit, and [`Refused::Busy`] if no
    /// thread can be started.
    pub fn sync(
        self: &Arc<Self>,
        call_request: CallRequest,
        query: CallerLimits,
        records: bool,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>, Refused> {
        let refused = call_request.key_refused();
        let memory = Memory::read(&call_request.state.to_string())
            .map_err(|error| Refused::Invalid(format!("state: {error}").into()))?;
        let limits = call_request.limits.or(query).map_err(Refused::Invalid)?;
        let call = Call {
            form: self.form,
            memory,
            streams: call_request.pipeline.streams.map(|all| all.into_iter().map(|it| it.name).collect()),
            run_id: limits.run_id,
            time_limit_ms: limits
                .time_limit
                .map(|it| u64::try_from(Duration::from_secs_f64(it).as_millis()).unwrap_or(u64::MAX)),
            state_limit: limits.state_limit,
            begin: now().max(self.clock.load(Ordering::Relaxed)),
            records,
            raw: false,
            refused,
            inputs: call_request.stdin,
        };
        let (sender, chunks) = mpsc::channel::<io::Result<Bytes>>(MAX_QUEUED_CHUNKS);
        let engine = Arc::clone(self);
        let thread = std::thread::Builder::new().name("engine".into());
        thread.spawn(move || engine.run(call, &sender)).map_err(|error| Refused::Busy(error.to_string()))?;
        Ok(chunks)
    }

    fn run(&self, options: Call, sender: &mpsc::Sender<io::Result<Bytes>>) {
        let _guard = PanicGuard(sender);
        let mut outlet = Client {
            began: Instant::now(),
            begin: options.begin,
            pace: self.pace,
            rows: self.rows.as_ref(),
            clock: &self.clock,
            sender,
        };
        let broke = match call(&self.api, options, &mut outlet) {
            Ok(called) if called.outcome.is_some() => return,
            Ok(_) => io::Error::new(io::ErrorKind::UnexpectedEof, "the engine crashed, as the scenario specifies"),
            Err(error @ CallError::NoSuchStream(..)) => io::Error::new(io::ErrorKind::InvalidInput, error.to_string()),
            Err(CallError::Io(error)) => error,
        };
        // The error breaks the response body, so that the client notices the failure.
        let _ = sender.blocking_send(Err(broke));
    }
}

/// Guard that breaks the response body if the engine panics, as a crash of a process would.
struct PanicGuard<'b>(&'b mpsc::Sender<io::Result<Bytes>>);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.blocking_send(Err(io::Error::other("the engine panicked")));
        }
    }
}

/// Outlet to a client that receives output at its simulated time and may disconnect.
struct Client<'c> {
    began: Instant,
    begin: Millis,
    pace: Option<f64>,
    rows: Option<&'c RowFile>,
    clock: &'c AtomicI64,
    sender: &'c mpsc::Sender<io::Result<Bytes>>,
}

impl Outlet for Client<'_> {
    fn write_lines(&mut self, at: Millis, lines: &[u8]) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone");
        if let Some(speed) = self.pace {
            let due = Duration::from_millis(u64::try_from(at - self.begin).unwrap_or(0)).div_f64(speed);
            while let Some(wait) = due.checked_sub(self.began.elapsed()).filter(|wait| !wait.is_zero()) {
                if self.sender.is_closed() {
                    return Err(gone());
                }
                std::thread::sleep(wait.min(DISCONNECT_CHECK_INTERVAL));
            }
        }
        self.clock.fetch_max(at, Ordering::Relaxed);
        self.sender.blocking_send(Ok(Bytes::copy_from_slice(lines))).map_err(|_| gone())
    }

    fn rows(&mut self, api: &Api, stream: usize, objects: Range<u64>) -> io::Result<()> {
        self.rows.map_or(Ok(()), |rows| rows.add(api, stream, objects))
    }
}
