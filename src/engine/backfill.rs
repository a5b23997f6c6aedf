//! Client side of a run: the request of each call, the state kept from its answer, and the decision
//! to call again. Pure: `drive.rs` calls.

use super::answer::{CallAnswer, CallEnd};
use super::classify::FailureType;
use super::raw_json::{Fields, fields, find, raw, take_object};
use crate::net::http::CallOutcome;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use synctop_core::format::names;
use synctop_core::protocol::{CLIENT, EndWord, Millis, Risk, State, source_state, time};

/// The first wait after a failure, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that an answer may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Consecutive successful calls without progress: an engine that reports "more" forever.
const FRUITLESS: u32 = 5;

/// The same of calls without checkpoints, which bring whole streams or nothing.
const FRUITLESS_BATCH: u32 = 2;

/// Checkpoints beyond a limit that an engine may still have on their way.
const FEW: u64 = 20;

/// Next step where a host or a database cannot be reached.
const OTHER_SIDE: &str = "See that the other side is up and can be reached.";

/// Key of client data in the state, beside the engine's sections; never sent to the engine.
const OURS: &str = "synctop";

/// Options of a backfill.
#[derive(Debug, Clone, Default)]
pub struct BackfillOptions {
    pub pipeline: Value,
    /// Seconds of a call.
    pub time_limit: Option<f64>,
    /// Checkpoints of a call.
    pub state_limit: Option<u64>,
    /// Failures in a row without any progress between them, before it is given up.
    pub retries: u32,
    /// The state is kept somewhere.
    pub kept: bool,
    /// Calls answer one end and no checkpoints (`/pipeline_sync_batch`).
    pub batch: bool,
}

/// Step after a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Call again, after this time; why it is not at once.
    Again(Duration, Option<String>),
    Done(BackfillResult),
}

/// Result of a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackfillResult {
    /// The engine reports that nothing is left; its messages have the outcome.
    Through,
    /// It cannot continue: a sentence with the reason and the next step; the exit code.
    Failed(String, u8),
}

/// A run from the first call to the last.
#[derive(Debug)]
pub struct Backfill {
    wish: BackfillOptions,
    /// The engine's sections.
    state: Fields,
    run_id: String,
    call: CallAnswer,
    /// Calls of the whole run, those before this start too.
    pub attempts: u64,
    failures: u32,
    fruitless: u32,
    done: bool,
    uncounted: u64,
    /// Streams whose rows may be missing, until a new run of them.
    at_risk: BTreeMap<String, KeptRisk>,
    /// Some of them are not in the log yet.
    risk_news: bool,
    /// Streams that a limit cut in the last call, whose end cannot show the unread rows.
    cut: Vec<String>,
    /// A stream was set back to its last checkpoint, or to the state that was sent, and has
    /// something left.
    set_back: bool,
    /// A stream of the kept state has something left that trying again may bring.
    left: bool,
    /// The engine takes no notice of the limit of checkpoints.
    limit_ignored: bool,
}

/// Risk of missing rows of a stream, as stored in the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeptRisk {
    pub kind: Risk,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The run went on from the last checkpoint.
    #[serde(default)]
    pub kept: bool,
}

impl Backfill {
    /// Begins a run, or goes on with the one of `state`. `fresh_id` names a new one.
    ///
    /// # Errors
    /// When the state is no JSON object.
    pub fn new(wish: BackfillOptions, state: Option<&str>, fresh_id: String) -> Result<Self, String> {
        let mut state = match state {
            None => Fields::new(),
            Some(text) => {
                let all: Box<RawValue> = serde_json::from_str(text).map_err(|error| error.to_string())?;
                let state = match all.get() {
                    "null" => Fields::new(),
                    _ => fields(&all).ok_or("it is no JSON object")?,
                };
                let known = [OURS, "source", "engine", "sync_run"];
                if !state.is_empty() && !known.iter().any(|key| state.contains_key(*key)) {
                    return Err(format!("it has none of the sections {}", known.join(", ")));
                }
                state
            }
        };
        let ours: Option<Value> = state.remove(OURS).and_then(|ours| serde_json::from_str(ours.get()).ok());
        let text = |key: &str| ours.as_ref().and_then(|ours| ours.get(key)?.as_str()).map(str::to_owned);
        let through = ours.as_ref().and_then(|ours| ours.get("done")?.as_bool()).unwrap_or(false);
        let attempts = ours.as_ref().and_then(|ours| ours.get("attempts")?.as_u64()).unwrap_or(0);
        let uncounted = ours.as_ref().and_then(|ours| ours.get("uncounted_calls")?.as_u64()).unwrap_or(0);
        let of_engine = find(raw(&state).get(), &["sync_run", "run_id"]);
        let of_engine = of_engine.and_then(|id| serde_json::from_str::<String>(id.get()).ok());
        // A finished run is followed by another one, which continues from its position.
        let known = text("run_id").or(of_engine).filter(|_| !through);
        let at_risk = ours.as_ref().and_then(|ours| serde_json::from_value(ours.get("at_risk")?.clone()).ok());
        let at_risk: BTreeMap<_, _> = at_risk.filter(|_| known.is_some()).unwrap_or_default();
        Ok(Self {
            risk_news: !at_risk.is_empty(),
            at_risk,
            cut: Vec::new(),
            set_back: false,
            left: false,
            limit_ignored: false,
            wish,
            attempts: if known.is_some() { attempts } else { 0 },
            uncounted: if known.is_some() { uncounted } else { 0 },
            run_id: known.unwrap_or(fresh_id),
            state,
            call: CallAnswer::default(),
            failures: 0,
            fruitless: 0,
            done: false,
        })
    }

    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// It is another run, or the one of this name.
    pub fn name(&mut self, run_id: String) {
        self.run_id = run_id;
    }

    /// Sets the pipeline of the following calls.
    pub fn pipeline(&mut self, pipeline: Value) {
        self.wish.pipeline = pipeline;
    }

    /// Limits from the next call on.
    pub fn limits(&mut self, time_limit: Option<f64>, state_limit: Option<u64>) {
        self.wish.time_limit = time_limit;
        self.wish.state_limit = state_limit;
    }

    /// Points the source at another endpoint of its API.
    pub fn base_url(&mut self, url: &str) {
        let source = self.wish.pipeline.get_mut("source").and_then(Value::as_object_mut);
        let Some(source) = source else { return };
        let kind = source.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let config = source.entry(kind).or_insert_with(|| json!({}));
        if let Some(config) = config.as_object_mut() {
            config.insert("base_url".into(), url.into());
        }
    }

    /// Body of the next call, which starts an attempt. Both generations find their fields in it.
    pub fn begin(&mut self) -> String {
        self.begin_with(&[])
    }

    /// The same for a call that takes in live events, as `source_input` messages.
    pub fn begin_with(&mut self, inputs: &[Box<RawValue>]) -> String {
        self.attempts += 1;
        for stream in std::mem::take(&mut self.cut) {
            self.risk(&stream, KeptRisk { kind: Risk::ResumedAfterCut, rows: None, kept: false });
        }
        self.call = CallAnswer::default();
        self.call.mark = self.mark();
        let mut body =
            Fields::from([("pipeline".to_owned(), raw(&self.wish.pipeline)), ("run_id".to_owned(), raw(&self.run_id))]);
        if !self.state.is_empty() {
            body.insert("state".into(), raw(&self.state));
        }
        body.extend(self.wish.time_limit.map(|limit| ("time_limit".to_owned(), raw(&limit))));
        body.extend(self.wish.state_limit.map(|limit| ("state_limit".to_owned(), raw(&limit))));
        if !inputs.is_empty() {
            body.insert("stdin".into(), raw(&inputs));
        }
        raw(&body).get().to_owned()
    }

    /// Fingerprint of the position of a run: unread ranges, without counts and clocks.
    fn mark(&self) -> String {
        match self.state.get("source") {
            // A batch call brings whole streams or nothing.
            _ if self.wish.batch => raw(&streams_of(&self.state)).get().to_owned(),
            Some(source) => source.get().to_owned(),
            None => raw(&self.state).get().to_owned(),
        }
    }

    /// The query of each call, where the trace generation looks for its limits.
    #[must_use]
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("sync_run_id", self.run_id.clone())];
        query.extend(self.wish.time_limit.map(|limit| ("time_limit", limit.to_string())));
        query.extend(self.wish.state_limit.map(|limit| ("state_limit", limit.to_string())));
        query
    }

    /// Takes in bytes of the answer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.call.push(bytes);
    }

    /// The answer is over.
    pub fn cut(&mut self) {
        self.call.cut();
    }

    /// A stream is at risk from now on.
    fn risk(&mut self, stream: &str, risk: KeptRisk) {
        let known = self.at_risk.get(stream).copied();
        if known.is_none_or(|known| known.kind != Risk::StateAhead) {
            self.at_risk.insert(stream.to_owned(), risk);
            self.risk_news |= known.map(|known| known.kind) != Some(risk.kind);
        }
    }

    /// A log line on streams at risk that the log does not have yet; the reducer reads it.
    pub fn risk_line(&mut self, at: Millis) -> Option<String> {
        if !std::mem::take(&mut self.risk_news) {
            return None;
        }
        let streams: Vec<_> = self.at_risk.keys().collect();
        let message = format!("rows of {} may be missing", names(&streams));
        let all: Vec<_> = self
            .at_risk
            .iter()
            .map(|(stream, risk)| json!({"stream": stream, "kind": risk.kind, "rows": risk.rows, "kept": risk.kept}))
            .collect();
        let log = json!({"level": "warn", "message": message, "data": {"at_risk": all}});
        Some(json!({"type": "log", "log": log, "_emitted_by": CLIENT, "_ts": time::iso(at)}).to_string() + "\n")
    }

    /// Keeps the returned state, or the checkpoints of a call that broke.
    fn keep(&mut self) {
        let sent = streams_of(&self.state);
        self.keep_returned(&sent);
        self.read_on();
        let end = self.call.end.as_ref();
        let has_more = end.is_some_and(|end| end.has_more == Some(true) || end.word == EndWord::Limit);
        if end.is_some_and(|end| end.blind && has_more) {
            self.cut = self.open_streams();
        }
        if let Some(limit) = self.wish.state_limit.filter(|_| !self.wish.batch) {
            self.limit_ignored |= self.call.states > limit.saturating_add(FEW);
        }
    }

    /// Streams of the kept state with something left to read, that did not fail for good.
    fn open_streams(&self) -> Vec<String> {
        let kept = streams_of(&self.state);
        let open = |(name, data): (&String, &RawValue)| {
            let state = source_state(data.get())?;
            let failed = self.call.failed.get(name).is_some_and(|failure| !failure.is_retryable());
            (state.done == Some(false) && state.failure.is_none() && !failed).then(|| name.clone())
        };
        kept.iter().map(|(name, data)| (name, &**data)).filter_map(open).collect()
    }

    /// Lets the engine continue streams that its own sections call finished while the kept state
    /// does not.
    fn read_on(&mut self) {
        let open = self.open_streams();
        self.left = !open.is_empty()
            || self
                .call
                .failed
                .iter()
                .any(|(name, failure)| failure.is_retryable() && !self.call.completed.contains(name));
        let passing = |name: &String| self.call.failed.get(name).is_some_and(|failure| failure.is_retryable());
        let again: Vec<_> = open.into_iter().filter(|name| passing(name) || self.at_risk.contains_key(name)).collect();
        self.set_back =
            again.iter().any(|name| self.at_risk.get(name).is_some_and(|risk| risk.kind == Risk::StateAhead));
        for name in &again {
            for path in [&["sync_run", "progress", "streams"][..], &["engine", "streams"]] {
                edit_known(&mut self.state, path, name, |stream| {
                    let over = |word: &RawValue| {
                        matches!(word.get(), "\"completed\"" | "\"complete\"" | "\"errored\"" | "\"error\"")
                    };
                    if stream.get("status").is_some_and(|word| over(word)) {
                        stream.insert("status".into(), raw(&"started"));
                        // Ranges reported complete after the failure were not written.
                        for key in ["message", "completed_ranges"] {
                            stream.remove(key);
                        }
                    }
                });
            }
        }
    }

    /// State to continue from, stream by stream: the last checkpoint of the call; without one the
    /// state that was sent, unless the end returned the same. If a call has no checkpoints at all,
    /// a stream that completed without an error takes the end's state.
    fn keep_returned(&mut self, sent: &Fields) {
        let returned = self.call.end.as_mut().and_then(|end| end.state.take());
        if let Some(mut state) = returned {
            let mut ends = streams_of(&state);
            let lost = state.contains_key("source")
                && ends.is_empty()
                && !(sent.is_empty() && self.call.checkpoints.is_empty());
            // A state without a read position is none: engines that fail early return such.
            if !state.is_empty() && !lost {
                let lines = std::mem::take(&mut self.call.checkpoints);
                let checkpoints = !lines.is_empty();
                let mut kept = Fields::new();
                let names: BTreeSet<String> =
                    [&ends, sent, &lines].into_iter().flat_map(|fields| fields.keys().cloned()).collect();
                for name in names {
                    let end = ends.remove(&name);
                    let value = match (lines.get(&name), end) {
                        (Some(line), Some(end)) => {
                            let (before, after) = (state_of(line), state_of(&end));
                            if before.position != after.position {
                                let rows =
                                    after.position.known().map(|it| u64::from(it.page_rows)).filter(|rows| *rows > 0);
                                self.risk(&name, KeptRisk { kind: Risk::StateAhead, rows, kept: true });
                            }
                            Some(line.clone())
                        }
                        (Some(line), None) => Some(line.clone()),
                        (None, Some(end)) => {
                            let before = sent.get(&name);
                            let same =
                                before.is_some_and(|before| state_of(before).position == state_of(&end).position);
                            let whole = !checkpoints
                                && self.call.completed.contains(&name)
                                && !self.call.failed.contains_key(&name);
                            if same || whole { Some(end) } else { before.cloned() }
                        }
                        (None, None) => sent.get(&name).cloned(),
                    };
                    kept.extend(value.map(|value| (name, value)));
                }
                let global = self.call.checkpoint.take();
                if state.contains_key("source") || !kept.is_empty() || global.is_some() {
                    edit(&mut state, "source", |source| {
                        source.insert("streams".into(), raw(&kept));
                        source.extend(global.map(|global| ("global".to_owned(), global)));
                    });
                }
                self.state = state;
                return;
            }
        }
        let call = &mut self.call;
        if call.checkpoints.is_empty() && call.checkpoint.is_none() {
            return;
        }
        edit(&mut self.state, "source", |source| {
            edit(source, "streams", |streams| streams.append(&mut call.checkpoints));
            let global = call.checkpoint.take();
            source.extend(global.map(|global| ("global".to_owned(), global)));
            source.entry("global".into()).or_insert_with(|| raw(&json!({})));
        });
        self.state.entry("destination".into()).or_insert_with(|| raw(&json!({})));
        let ceiling = call.ceiling.map(|at| raw(&time::iso(at)));
        if let Some(progress) = call.progress.take() {
            edit(&mut self.state, "sync_run", |run| {
                run.insert("run_id".into(), raw(&self.run_id));
                run.insert("progress".into(), progress);
                if let Some(ceiling) = ceiling {
                    run.entry("time_ceiling".into()).or_insert(ceiling);
                }
            });
            return;
        }
        self.uncounted += 1;
        edit(&mut self.state, "engine", |engine| {
            edit(engine, "streams", |known| {
                for (name, status) in std::mem::take(&mut call.streams) {
                    edit(known, &name, |stream| {
                        for key in ["status", "cumulative_record_count"] {
                            let said = status.get(key).filter(|said| *said != "range_complete");
                            stream.extend(said.map(|said| (key.to_owned(), raw(said))));
                        }
                    });
                }
            });
            edit(engine, "global", |global| {
                let totals = call.totals.take().unwrap_or_default();
                let said = totals.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("cumulative_"));
                global.extend(said.map(|(key, count)| (key.clone(), raw(count))));
                if let Some(ceiling) = ceiling {
                    global.entry("time_ceiling".into()).or_insert(ceiling);
                }
            });
        });
    }

    /// Decides the next step after a call. `jitter` in 0..=1 spreads the delay before a retry.
    pub fn over(&mut self, how: &CallOutcome, jitter: f64) -> Next {
        self.keep();
        // Only rows that the source need not read again are progress.
        let fruit = self.mark() != self.call.mark;
        if fruit {
            self.failures = 0;
            self.fruitless = 0;
        }
        let next = self.decide(how, fruit, jitter);
        self.done = matches!(next, Next::Done(BackfillResult::Through)) && !self.left;
        next
    }

    fn decide(&mut self, how: &CallOutcome, fruit: bool, jitter: f64) -> Next {
        let end = self.call.end.clone();
        match (how, end) {
            (CallOutcome::Stopped, _) => Next::Done(BackfillResult::Failed("stopped".into(), 2)),
            (CallOutcome::Refused { status, retry_after, .. }, _) => {
                self.refused(*status, &how.words(), *retry_after, jitter)
            }
            (_, Some(end)) => self.after_end(&end, fruit, jitter),
            (how, None) => {
                let (why, next) = self.without_end(how);
                match self.call.global.clone() {
                    // An error without a stream was its last word: another call would return the
                    // same.
                    Some((message, false)) => {
                        return Next::Done(BackfillResult::Failed(format!("{message} ({why})"), 1));
                    }
                    Some((message, true)) => return self.failed(message, OTHER_SIDE, 1, None, jitter),
                    None => {}
                }
                let code = if matches!(how, CallOutcome::Unreachable(_)) { 69 } else { 2 };
                self.failed(why, next, code, None, jitter)
            }
        }
    }

    /// Reason that an answer was cut short, as a sentence, and the next step if it persists.
    fn without_end(&self, how: &CallOutcome) -> (String, &'static str) {
        let next = match how {
            CallOutcome::Silent(_) => "See whether it still works, or give it longer with --stall-timeout.",
            CallOutcome::Unreachable(_) => "See that it runs, and that the address is right.",
            CallOutcome::Page(_) => "See that the address is that of an engine.",
            _ if self.call.messages == 0 && !self.call.torn => "See that the address is that of an engine.",
            _ => "See the engine's own log.",
        };
        (self.cut_short(how), next)
    }

    fn cut_short(&self, how: &CallOutcome) -> String {
        let torn = if self.call.torn { " in the middle of a line" } else { "" };
        match how {
            CallOutcome::Broke(why) => format!("the connection broke{torn} before the end message: {why}"),
            CallOutcome::Exited(why) => format!("{why}{torn}"),
            CallOutcome::Silent(_) | CallOutcome::Unreachable(_) | CallOutcome::Overdue(_) | CallOutcome::Page(_) => {
                how.words()
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

    fn refused(&mut self, status: u16, why: &str, retry_after: Option<Duration>, jitter: f64) -> Next {
        if FailureType::of_status(status) == FailureType::Transient {
            return self.failed(why.to_owned(), "See the engine's own log.", 69, retry_after, jitter);
        }
        let (code, next) = match status {
            401 | 403 => (77, "See that you may call it."),
            404 => (4, "See that the address is that of an engine."),
            300..=399 => (1, "Name the engine's own address."),
            _ => (1, "Correct the pipeline."),
        };
        Next::Done(BackfillResult::Failed(format!("{why}. {next}"), code))
    }

    fn after_end(&mut self, end: &CallEnd, fruit: bool, jitter: f64) -> Next {
        let stuck = end.word == EndWord::StillStarted && end.has_more == Some(false);
        let open = matches!(end.word, EndWord::Limit | EndWord::StillStarted) && !stuck;
        // An end that still reports "started" is finished if its state has nothing left.
        let more = end.has_more == Some(true) || open || (stuck && self.left);
        let passing = self.call.transient.clone().filter(|_| self.left);
        match (&self.call.global, passing) {
            (Some((message, true)), _) => {
                let why = message.clone();
                return self.failed(why, OTHER_SIDE, 1, None, jitter);
            }
            (Some((_, false)), _) if end.word == EndWord::Failed => return Next::Done(BackfillResult::Through),
            // An error that may pass outlasts a call that brings nothing else.
            (_, Some(why)) if !more || end.word == EndWord::Failed => {
                let why = format!("it ended with errors that may pass: {why}");
                return self.failed(why, "See the source's or destination's own status.", 1, None, jitter);
            }
            _ => {}
        }
        match end.word {
            EndWord::Failed if more => self.failed(
                "it failed, and reports that more is left".into(),
                "See the engine's own log.",
                1,
                None,
                jitter,
            ),
            _ if more && fruit => Next::Again(Duration::ZERO, None),
            _ if self.set_back && fruit => {
                let why = "the state of its end was ahead of its last checkpoint";
                Next::Again(Duration::ZERO, Some(why.into()))
            }
            // An outage at the source outlasts a short call: it is waited for as any other.
            _ if more && (self.call.retrying.is_some() || self.call.transient.is_some()) => {
                let why = self.call.retrying.as_deref().unwrap_or("errors that may pass");
                let why = format!("the last call brought nothing, the source still tries again after {why}");
                self.failed(
                    why,
                    "See the source's own status, or give a call longer with --time-limit.",
                    2,
                    None,
                    jitter,
                )
            }
            _ if more || self.set_back => {
                self.fruitless += 1;
                let most = if self.wish.batch { FRUITLESS_BATCH } else { FRUITLESS };
                if self.fruitless >= most {
                    let next = if self.wish.batch {
                        "No stream completed in one call: raise --state-limit or --time-limit, or call without --batch"
                    } else {
                        "See its own log"
                    };
                    let why = format!(
                        "{most} calls in a row brought nothing, and the engine still reports that more is left. {next}."
                    );
                    return Next::Done(BackfillResult::Failed(why, 2));
                }
                let wait = wait(self.fruitless, jitter);
                Next::Again(wait, Some("the last call brought nothing".into()))
            }
            _ => Next::Done(BackfillResult::Through),
        }
    }

    fn failed(&mut self, why: String, next: &str, code: u8, retry_after: Option<Duration>, jitter: f64) -> Next {
        self.failures += 1;
        if self.failures > self.wish.retries {
            let times = if self.failures == 1 { String::new() } else { format!(", {} times in a row", self.failures) };
            let kept = if self.wish.kept && !self.state.is_empty() {
                " The state is stored: the same command continues from it."
            } else {
                ""
            };
            return Next::Done(BackfillResult::Failed(format!("{why}{times}. {next}{kept}"), code));
        }
        let why = match self.wish.retries {
            // Without a bound on retries none is printed.
            u32::MAX => why,
            most => format!("{why} ({} of {most})", self.failures),
        };
        let wait = retry_after.map_or_else(|| wait(self.failures, jitter), |asked| asked.min(LONGEST_ASKED));
        Next::Again(wait, Some(why))
    }

    /// There is something to keep.
    #[must_use]
    pub fn has_state(&self) -> bool {
        !self.state.is_empty()
    }

    /// The engine's sections alone, as they came.
    #[must_use]
    pub fn state(&self) -> Box<RawValue> {
        raw(&self.state)
    }

    /// The engine made more checkpoints in a call than it was given as their limit.
    #[must_use]
    pub fn limit_ignored(&self) -> bool {
        self.limit_ignored
    }

    /// Failures in a row without any progress between them.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Calls that broke after reading, whose engine reports counts only at their end.
    #[must_use]
    pub fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// State to store, with our own data about the run beside the engine's sections.
    #[must_use]
    pub fn to_keep(&self) -> Box<RawValue> {
        let mut all = self.state.clone();
        let mut ours = json!({"run_id": self.run_id, "attempts": self.attempts, "done": self.done});
        if let Some(ours) = ours.as_object_mut() {
            if self.uncounted > 0 {
                ours.insert("uncounted_calls".into(), self.uncounted.into());
            }
            if !self.at_risk.is_empty() {
                ours.insert("at_risk".into(), json!(self.at_risk));
            }
        }
        all.insert(OURS.into(), raw(&ours));
        raw(&all)
    }
}

fn state_of(data: &RawValue) -> State<'_> {
    source_state(data.get()).unwrap_or_default()
}

/// The streams of a state's source.
fn streams_of(state: &Fields) -> Fields {
    let mut source = state.get("source").and_then(|source| fields(source)).unwrap_or_default();
    take_object(&mut source, "streams").unwrap_or_default()
}

/// Changes the object `name` below a path, where it is there.
fn edit_known(of: &mut Fields, path: &[&str], name: &str, change: impl FnOnce(&mut Fields)) {
    let (key, rest) = path.split_first().map_or((name, None), |(key, rest)| (*key, Some(rest)));
    let Some(mut inner) = of.get(key).and_then(|inner| fields(inner)) else { return };
    match rest {
        Some(rest) => edit_known(&mut inner, rest, name, change),
        None => change(&mut inner),
    }
    of.insert(key.to_owned(), raw(&inner));
}

/// Changes a field that is an object; made where there is none.
fn edit(of: &mut Fields, key: &str, change: impl FnOnce(&mut Fields)) {
    let mut inner = of.get(key).and_then(|inner| fields(inner)).unwrap_or_default();
    change(&mut inner);
    of.insert(key.to_owned(), raw(&inner));
}

/// Doubling, and spread over its upper half so that many clients do not come back at once.
#[must_use]
pub fn wait(failures: u32, jitter: f64) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}
