//! Client side of a run: the request of each call, the state stored from its answer, and the
//! decision to call again. Pure: `drive.rs` performs the calls.

use crate::engine::backfill::call_result::{CallAnswer, CallEnd};
use crate::engine::backfill::run_state::{RunState, StoredRisk, streams_of};
use crate::engine::failure_type::FailureType;
use crate::engine::raw_json::{Fields, fields, find, raw};
use crate::net::source::engine_http::CallOutcome;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use synctop_core::ResultClass;
use synctop_core::backoff::retry_delay;
use synctop_core::protocol::{EndReason, Millis, Risk};

/// Maximum accepted `Retry-After` of an answer.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Consecutive successful calls without progress after which the run fails: the engine may report
/// `has_more` forever.
const MAX_CALLS_WITHOUT_PROGRESS: u32 = 5;

/// The same bound for batch calls, which complete whole streams or nothing.
const MAX_BATCH_CALLS_WITHOUT_PROGRESS: u32 = 2;

/// Checkpoints above the limit that count as in flight, not as an ignored limit.
const STATE_LIMIT_TOLERANCE: u64 = 20;

/// Advice for an unreachable host or database.
const UNREACHABLE_ADVICE: &str = "Check that the source and the destination are up and reachable.";

/// Key of client data in the state, beside the engine's sections; never sent to the engine.
const CLIENT_KEY: &str = "synctop";

/// Options of a backfill.
#[derive(Debug, Clone, Default)]
pub struct BackfillOptions {
    pub pipeline: Value,
    /// Maximum seconds of a call.
    pub time_limit: Option<f64>,
    /// Maximum checkpoints of a call.
    pub state_limit: Option<u64>,
    /// Maximum consecutive failures without progress that are retried.
    pub retries: u32,
    /// True if the state is stored.
    pub kept: bool,
    /// True if calls return only an end message, without checkpoints (`/pipeline_sync_batch`).
    pub batch: bool,
}

/// Step after a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Call again after this delay. The text is the reason of the delay.
    Again(Duration, Option<String>),
    Done(BackfillResult),
}

/// Result of a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackfillResult {
    /// The engine reports that nothing is left; its messages have the outcome.
    Through,
    /// The user stopped the run.
    Stopped,
    /// The run cannot continue.
    Failed(BackfillError),
}

/// Error that ends a backfill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct BackfillError {
    pub class: ResultClass,
    /// Reason and next step, as sentences.
    pub sentence: String,
}

impl BackfillResult {
    /// Creates the result of a run that cannot continue.
    #[must_use]
    pub fn failed(class: ResultClass, sentence: String) -> Self {
        Self::Failed(BackfillError { class, sentence })
    }
}

/// Run of a backfill, from the first call to the last.
#[derive(Debug)]
pub struct Backfill {
    options: BackfillOptions,
    kept: RunState,
    run_id: String,
    /// Answer of the running or last call.
    call: CallAnswer,
    /// Calls of the run, including those of earlier processes.
    pub attempts: u64,
    /// Consecutive failures without progress.
    failures: u32,
    /// Consecutive successful calls without progress.
    calls_without_progress: u32,
    /// True once nothing is left to read.
    done: bool,
    /// True if the engine ignores the checkpoint limit.
    limit_ignored: bool,
}

/// Sections of a state, one of which is required.
const STATE_SECTIONS: [&str; 4] = [CLIENT_KEY, "source", "engine", "sync_run"];

/// State from which no run can continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunStateError {
    /// Syntax error, with its position.
    #[error("{0}")]
    Json(String),
    #[error("it is not a JSON object")]
    NoObject,
    #[error("it has none of the sections {}", STATE_SECTIONS.join(", "))]
    NoSection,
}

impl Backfill {
    /// Starts a run, or continues the run of `state`. `new_run_id`: id of a new run.
    ///
    /// # Errors
    /// Returns the reason if the state is not a JSON object or has none of the known sections.
    pub fn new(options: BackfillOptions, state: Option<&str>, new_run_id: String) -> Result<Self, RunStateError> {
        let mut state = match state {
            None => Fields::new(),
            Some(text) => {
                let all: Box<RawValue> =
                    serde_json::from_str(text).map_err(|error| RunStateError::Json(error.to_string()))?;
                let state = match all.get() {
                    "null" => Fields::new(),
                    _ => fields(&all).ok_or(RunStateError::NoObject)?,
                };
                if !state.is_empty() && !STATE_SECTIONS.iter().any(|key| state.contains_key(*key)) {
                    return Err(RunStateError::NoSection);
                }
                state
            }
        };
        let ours: Option<Value> = state.remove(CLIENT_KEY).and_then(|ours| serde_json::from_str(ours.get()).ok());
        let text = |key: &str| ours.as_ref().and_then(|ours| ours.get(key)?.as_str()).map(str::to_owned);
        let through = ours.as_ref().and_then(|ours| ours.get("done")?.as_bool()).unwrap_or(false);
        let attempts = ours.as_ref().and_then(|ours| ours.get("attempts")?.as_u64()).unwrap_or(0);
        let uncounted = ours.as_ref().and_then(|ours| ours.get("uncounted_calls")?.as_u64()).unwrap_or(0);
        let of_engine = find(raw(&state).get(), &["sync_run", "run_id"]);
        let of_engine = of_engine.and_then(|id| serde_json::from_str::<String>(id.get()).ok());
        // After a finished run a new one starts, which continues from its position.
        let known = text("run_id").or(of_engine).filter(|_| !through);
        let at_risk = ours.as_ref().and_then(|ours| serde_json::from_value(ours.get("at_risk")?.clone()).ok());
        let at_risk: BTreeMap<_, _> = at_risk.filter(|_| known.is_some()).unwrap_or_default();
        let kept = RunState {
            sections: state,
            uncounted: if known.is_some() { uncounted } else { 0 },
            has_unlogged_risks: !at_risk.is_empty(),
            at_risk,
            ..RunState::default()
        };
        Ok(Self {
            kept,
            limit_ignored: false,
            options,
            attempts: if known.is_some() { attempts } else { 0 },
            run_id: known.unwrap_or(new_run_id),
            call: CallAnswer::default(),
            failures: 0,
            calls_without_progress: 0,
            done: false,
        })
    }

    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Sets the id of the run.
    pub fn set_run_id(&mut self, run_id: String) {
        self.run_id = run_id;
    }

    /// Sets the pipeline of the following calls.
    pub fn set_pipeline(&mut self, pipeline: Value) {
        self.options.pipeline = pipeline;
    }

    /// Sets the limits of the following calls.
    pub fn set_limits(&mut self, time_limit: Option<f64>, state_limit: Option<u64>) {
        self.options.time_limit = time_limit;
        self.options.state_limit = state_limit;
    }

    /// Sets the base URL of the source's API.
    pub fn set_base_url(&mut self, url: &str) {
        let source = self.options.pipeline.get_mut("source").and_then(Value::as_object_mut);
        let Some(source) = source else { return };
        let kind = source.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let config = source.entry(kind).or_insert_with(|| json!({}));
        if let Some(config) = config.as_object_mut() {
            config.insert("base_url".into(), url.into());
        }
    }

    /// Starts an attempt and returns the body of its call, with the fields of both generations.
    pub fn begin(&mut self) -> String {
        self.begin_with(&[])
    }

    /// Like [`Self::begin`], with live events to process (`source_input` messages).
    pub fn begin_with(&mut self, inputs: &[Box<RawValue>]) -> String {
        self.attempts += 1;
        for stream in std::mem::take(&mut self.kept.cut_streams) {
            self.kept.mark_at_risk(&stream, StoredRisk { kind: Risk::ResumedAfterCut, rows: None, kept: false });
        }
        self.call = CallAnswer::default();
        self.call.position_key = self.position_key();
        let mut body = Fields::from([
            ("pipeline".to_owned(), raw(&self.options.pipeline)),
            ("run_id".to_owned(), raw(&self.run_id)),
        ]);
        if !self.kept.sections.is_empty() {
            body.insert("state".into(), raw(&self.kept.sections));
        }
        body.extend(self.options.time_limit.map(|limit| ("time_limit".to_owned(), raw(&limit))));
        body.extend(self.options.state_limit.map(|limit| ("state_limit".to_owned(), raw(&limit))));
        if !inputs.is_empty() {
            body.insert("stdin".into(), raw(&inputs));
        }
        raw(&body).get().to_owned()
    }

    /// Returns a key that changes only with the read position, not with counts or times.
    fn position_key(&self) -> String {
        match self.kept.sections.get("source") {
            // A batch call completes whole streams or nothing.
            _ if self.options.batch => raw(&streams_of(&self.kept.sections)).get().to_owned(),
            Some(source) => source.get().to_owned(),
            None => raw(&self.kept.sections).get().to_owned(),
        }
    }

    /// Returns the query of each call, which has the limits for the trace generation.
    #[must_use]
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("sync_run_id", self.run_id.clone())];
        query.extend(self.options.time_limit.map(|limit| ("time_limit", limit.to_string())));
        query.extend(self.options.state_limit.map(|limit| ("state_limit", limit.to_string())));
        query
    }

    /// Appends bytes of the answer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.call.push(bytes);
    }

    /// Ends the answer: decodes an unfinished last line.
    pub fn cut(&mut self) {
        self.call.finish();
    }

    /// Returns a log line with the streams at risk, if they changed. The reducer reads it.
    pub fn risk_line(&mut self, at: Millis) -> Option<String> {
        self.kept.risk_line(at)
    }

    /// Ends a call and returns the next step. `jitter` in `0..=1` spreads the delay before a retry.
    pub fn over(&mut self, outcome: &CallOutcome, jitter: f64) -> Next {
        self.kept.update(&mut self.call, &self.run_id);
        if let Some(limit) = self.options.state_limit.filter(|_| !self.options.batch) {
            self.limit_ignored |= self.call.states > limit.saturating_add(STATE_LIMIT_TOLERANCE);
        }
        // Rows that the source reads again in the next call are no progress.
        let has_progress = self.position_key() != self.call.position_key;
        if has_progress {
            self.failures = 0;
            self.calls_without_progress = 0;
        }
        let next = self.decide(outcome, has_progress, jitter);
        self.done = matches!(next, Next::Done(BackfillResult::Through)) && !self.kept.retryable_left;
        next
    }

    fn decide(&mut self, outcome: &CallOutcome, has_progress: bool, jitter: f64) -> Next {
        let end = self.call.end.clone();
        match (outcome, end) {
            (CallOutcome::Stopped, _) => Next::Done(BackfillResult::Stopped),
            (CallOutcome::Refused { status, retry_after, .. }, _) => {
                self.refused(*status, &outcome.to_string(), *retry_after, jitter)
            }
            (_, Some(end)) => self.after_end(&end, has_progress, jitter),
            (outcome, None) => {
                let (why, next) = self.without_end(outcome);
                match self.call.global.clone() {
                    // Another call would end with the same permanent error.
                    Some((message, false)) => {
                        return Next::Done(BackfillResult::failed(ResultClass::Failed, format!("{message} ({why})")));
                    }
                    Some((message, true)) => {
                        return self.failed(message, UNREACHABLE_ADVICE, ResultClass::Failed, None, jitter);
                    }
                    None => {}
                }
                let class = match outcome {
                    CallOutcome::Unreachable(_) => ResultClass::Unavailable,
                    _ => ResultClass::Unfinished,
                };
                self.failed(why, next, class, None, jitter)
            }
        }
    }

    /// Returns the reason of an incomplete answer, and the next step if the problem persists.
    fn without_end(&self, outcome: &CallOutcome) -> (String, &'static str) {
        let next = match outcome {
            CallOutcome::Silent(_) => "Check whether the engine still works, or raise --stall-timeout.",
            CallOutcome::Unreachable(_) => "Check that it is running and that the address is correct.",
            CallOutcome::Page(_) => "Check that the address is that of an engine.",
            _ if self.call.messages == 0 && !self.call.torn => "Check that the address is that of an engine.",
            _ => "See the engine's own log.",
        };
        (self.cut_short(outcome), next)
    }

    /// Returns the reason of an incomplete answer.
    fn cut_short(&self, outcome: &CallOutcome) -> String {
        let torn = if self.call.torn { " in the middle of a line" } else { "" };
        match outcome {
            CallOutcome::Broke(why) => format!("the connection broke{torn} before the end message: {why}"),
            CallOutcome::Exited(why) => format!("{why}{torn}"),
            CallOutcome::Silent(_) | CallOutcome::Unreachable(_) | CallOutcome::Overdue(_) | CallOutcome::Page(_) => {
                outcome.to_string()
            }
            _ => match &self.call.page {
                Some(title) => format!("the answer ended in a web page: {title}"),
                None if self.call.messages == 0 && !self.call.torn => {
                    "the answer has no message of an engine in it".into()
                }
                None => format!("the answer ended{torn} without an end message"),
            },
        }
    }

    /// Returns the step after an HTTP error status.
    fn refused(&mut self, status: u16, why: &str, retry_after: Option<Duration>, jitter: f64) -> Next {
        if FailureType::of_status(status) == FailureType::Transient {
            return self.failed(
                why.to_owned(),
                "See the engine's own log.",
                ResultClass::Unavailable,
                retry_after,
                jitter,
            );
        }
        let (class, next) = match status {
            401 | 403 => (ResultClass::NotAllowed, "Check that you are allowed to call it."),
            404 => (ResultClass::NotFound, "Check that the address is that of an engine."),
            300..=399 => (ResultClass::Failed, "Use the address to which the engine redirects."),
            _ => (ResultClass::Failed, "Correct the pipeline."),
        };
        Next::Done(BackfillResult::failed(class, format!("{why}. {next}")))
    }

    /// Returns the step after an end message.
    fn after_end(&mut self, end: &CallEnd, has_progress: bool, jitter: f64) -> Next {
        let stuck = end.word == EndReason::StillStarted && end.has_more == Some(false);
        let open = matches!(end.word, EndReason::Limit | EndReason::StillStarted) && !stuck;
        // An end with status "started" and no `has_more` is complete if its state has nothing left.
        let more = end.has_more == Some(true) || open || (stuck && self.kept.retryable_left);
        let transient = self.call.transient.clone().filter(|_| self.kept.retryable_left);
        match (&self.call.global, transient) {
            (Some((message, true)), _) => {
                let why = message.clone();
                return self.failed(why, UNREACHABLE_ADVICE, ResultClass::Failed, None, jitter);
            }
            (Some((_, false)), _) if end.word == EndReason::Failed => return Next::Done(BackfillResult::Through),
            // A transient error is retried if the engine itself would not continue.
            (_, Some(why)) if !more || end.word == EndReason::Failed => {
                let why = format!("it ended with transient errors: {why}");
                return self.failed(
                    why,
                    "See the source's or destination's own status.",
                    ResultClass::Failed,
                    None,
                    jitter,
                );
            }
            _ => {}
        }
        match end.word {
            EndReason::Failed if more => self.failed(
                "the engine failed and reports that more is left".into(),
                "See the engine's own log.",
                ResultClass::Failed,
                None,
                jitter,
            ),
            _ if more && has_progress => Next::Again(Duration::ZERO, None),
            _ if self.kept.set_back && has_progress => {
                let why = "the state of its end was ahead of its last checkpoint";
                Next::Again(Duration::ZERO, Some(why.into()))
            }
            // An outage at the source can outlast a short call; it is retried like other failures.
            _ if more && (self.call.retrying.is_some() || self.call.transient.is_some()) => {
                let why = self.call.retrying.as_deref().unwrap_or("transient errors");
                let why = format!("the last call made no progress, the source still retries after {why}");
                self.failed(
                    why,
                    "See the source's own status, or give a call longer with --time-limit.",
                    ResultClass::Unfinished,
                    None,
                    jitter,
                )
            }
            _ if more || self.kept.set_back => {
                self.calls_without_progress += 1;
                let most =
                    if self.options.batch { MAX_BATCH_CALLS_WITHOUT_PROGRESS } else { MAX_CALLS_WITHOUT_PROGRESS };
                if self.calls_without_progress >= most {
                    let next = if self.options.batch {
                        "No stream completed in one call: raise --state-limit or --time-limit, or call without --batch"
                    } else {
                        "See its own log"
                    };
                    let why = format!(
                        "{most} calls in a row made no progress, and the engine still reports that more is left. {next}."
                    );
                    return Next::Done(BackfillResult::failed(ResultClass::Unfinished, why));
                }
                let wait = retry_delay(self.calls_without_progress, jitter);
                Next::Again(wait, Some("the last call made no progress".into()))
            }
            _ => Next::Done(BackfillResult::Through),
        }
    }

    /// Counts a failure. Returns a retry after a delay, or the end of the run after too many.
    fn failed(
        &mut self,
        why: String,
        next: &str,
        class: ResultClass,
        retry_after: Option<Duration>,
        jitter: f64,
    ) -> Next {
        self.failures += 1;
        if self.failures > self.options.retries {
            let times = if self.failures == 1 { String::new() } else { format!(", {} times in a row", self.failures) };
            let kept = if self.options.kept && !self.kept.sections.is_empty() {
                " The state is stored: the same command continues from it."
            } else {
                ""
            };
            return Next::Done(BackfillResult::failed(class, format!("{why}{times}. {next}{kept}")));
        }
        let why = match self.options.retries {
            // Unlimited retries are not printed as a bound.
            u32::MAX => why,
            most => format!("{why} ({} of {most})", self.failures),
        };
        let wait = retry_after.map_or_else(|| retry_delay(self.failures, jitter), |asked| asked.min(MAX_RETRY_AFTER));
        Next::Again(wait, Some(why))
    }

    /// True if there is a state to store.
    #[must_use]
    pub fn has_state(&self) -> bool {
        !self.kept.sections.is_empty()
    }

    /// Returns the sections of the engine, without the client's own data.
    #[must_use]
    pub fn state(&self) -> Box<RawValue> {
        raw(&self.kept.sections)
    }

    /// True if a call had clearly more checkpoints than its limit.
    #[must_use]
    pub fn limit_ignored(&self) -> bool {
        self.limit_ignored
    }

    /// Returns the consecutive failures without progress.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the calls that broke after checkpoints, whose engine reports counts only at the end.
    #[must_use]
    pub fn uncounted(&self) -> u64 {
        self.kept.uncounted
    }

    /// Returns the state to store: the engine's sections and the client's own data about the run.
    #[must_use]
    pub fn to_stored_state(&self) -> Box<RawValue> {
        let mut all = self.kept.sections.clone();
        let mut ours = json!({"run_id": self.run_id, "attempts": self.attempts, "done": self.done});
        if let Some(ours) = ours.as_object_mut() {
            if self.kept.uncounted > 0 {
                ours.insert("uncounted_calls".into(), self.kept.uncounted.into());
            }
            if !self.kept.at_risk.is_empty() {
                ours.insert("at_risk".into(), json!(self.kept.at_risk));
            }
        }
        all.insert(CLIENT_KEY.into(), raw(&ours));
        raw(&all)
    }
}
