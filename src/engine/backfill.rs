//! The client's side of a run: what to call an engine with, what to keep of its answer, and whether to call again. Pure: `drive.rs` calls.

use super::answer::{Answer, Ended};
use super::classify::FailureType;
use super::raw::{Fields, fields, find, raw, take_object};
use crate::net::http::How;
use crate::protocol::{EndWord, time};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;

/// The first wait after a failure, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that an answer may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Calls in a row that end well and bring nothing: an engine that says "more" for ever.
const FRUITLESS: u32 = 5;

/// Where we keep what the engine does not: beside its own sections, never sent to it.
const OURS: &str = "synctop";

/// What the user wants.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub pipeline: Value,
    /// Seconds of a call.
    pub time_limit: Option<f64>,
    /// Checkpoints of a call.
    pub state_limit: Option<u64>,
    /// Failures in a row without any progress between them, before it is given up.
    pub retries: u32,
    /// The state is kept somewhere.
    pub kept: bool,
}

/// What to do after a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Call again, after this time; why it is not at once.
    Again(Duration, Option<String>),
    Done(Verdict),
}

/// How a backfill ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The engine says that nothing is left; what became of it is in its messages.
    Through,
    /// It cannot go on: the sentence says why and what next; the exit code.
    Failed(String, u8),
}

/// A run from the first call to the last.
#[derive(Debug)]
pub struct Backfill {
    wish: Wish,
    /// The engine's sections.
    state: Fields,
    run_id: String,
    call: Answer,
    /// Calls of the whole run, those before this start too.
    pub attempts: u64,
    failures: u32,
    fruitless: u32,
    done: bool,
    uncounted: u64,
}

impl Backfill {
    /// Begins a run, or goes on with the one of `state`. `fresh_id` names a new one.
    ///
    /// # Errors
    /// When the state is no JSON object.
    pub fn new(wish: Wish, state: Option<&str>, fresh_id: String) -> Result<Self, String> {
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
        // A run that is over is followed by another one, which goes on from what was read.
        let known = text("run_id").or(of_engine).filter(|_| !through);
        Ok(Self {
            wish,
            attempts: if known.is_some() { attempts } else { 0 },
            uncounted: if known.is_some() { uncounted } else { 0 },
            run_id: known.unwrap_or(fresh_id),
            state,
            call: Answer::default(),
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

    /// What is synced from the next call on.
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

    /// The body of the next call, which begins an attempt. Both generations find in it what they know.
    pub fn begin(&mut self) -> String {
        self.begin_with(&[])
    }

    /// The same for a call that takes in live events, as `source_input` messages.
    pub fn begin_with(&mut self, inputs: &[Box<RawValue>]) -> String {
        self.attempts += 1;
        self.call = Answer::default();
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

    /// Where the run is: what the source has still to read. Counts and clocks do not count.
    fn mark(&self) -> String {
        match self.state.get("source") {
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

    /// Keeps what the call returned, or what it told before it broke.
    fn keep(&mut self) {
        let returned = self.call.end.as_mut().and_then(|end| end.state.take());
        let streams = |state: &Fields| -> Fields {
            let mut source = state.get("source").and_then(|source| fields(source)).unwrap_or_default();
            take_object(&mut source, "streams").unwrap_or_default()
        };
        if let Some(state) = returned {
            let lost = state.contains_key("source")
                && streams(&state).is_empty()
                && !(streams(&self.state).is_empty() && self.call.checkpoints.is_empty());
            // A state without what was read is none: engines that fail early return such.
            if !state.is_empty() && !lost {
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

    /// The call is over. `dice` in 0..=1 spreads waits.
    pub fn over(&mut self, how: &How, dice: f64) -> Next {
        self.keep();
        // Only what the source need not read again is progress.
        let fruit = self.mark() != self.call.mark;
        if fruit {
            self.failures = 0;
            self.fruitless = 0;
        }
        let next = self.decide(how, fruit, dice);
        let left = self.call.end.as_ref().is_some_and(|end| end.left);
        self.done = matches!(next, Next::Done(Verdict::Through)) && !left;
        next
    }

    fn decide(&mut self, how: &How, fruit: bool, dice: f64) -> Next {
        let end = self.call.end.clone();
        match (how, end) {
            (How::Stopped, _) => Next::Done(Verdict::Failed("stopped".into(), 2)),
            (How::Refused { status, retry_after, .. }, _) => self.refused(*status, &how.words(), *retry_after, dice),
            (_, Some(end)) => self.after_end(&end, fruit, dice),
            (how, None) => {
                let (why, next) = self.without_end(how);
                if let Some(message) = self.call.global.clone() {
                    // An error without a stream was its last word: calling again will say the same.
                    return Next::Done(Verdict::Failed(format!("{message} ({why})"), 1));
                }
                let code = if matches!(how, How::Unreachable(_)) { 69 } else { 2 };
                self.failed(why, next, code, None, dice)
            }
        }
    }

    /// What the answer was cut short by, in a sentence; and what to do if it stays so.
    fn without_end(&self, how: &How) -> (String, &'static str) {
        let next = match how {
            How::Silent(_) => "See whether it still works, or give it longer with --stall-timeout.",
            How::Unreachable(_) => "See that it runs, and that the address is right.",
            How::Page(_) => "See that the address is that of an engine.",
            _ if self.call.messages == 0 && !self.call.torn => "See that the address is that of an engine.",
            _ => "See the engine's own log.",
        };
        (self.cut_short(how), next)
    }

    fn cut_short(&self, how: &How) -> String {
        let torn = if self.call.torn { " in the middle of a line" } else { "" };
        match how {
            How::Broke(why) => format!("the connection broke{torn} before the end message: {why}"),
            How::Exited(why) => format!("{why}{torn}"),
            How::Silent(_) | How::Unreachable(_) | How::Overdue(_) | How::Page(_) => how.words(),
            _ => match &self.call.page {
                Some(title) => format!("the answer ended in a web page: {title}"),
                None if self.call.messages == 0 && !self.call.torn => {
                    "the answer has no message of an engine in it".into()
                }
                None => format!("the answer ended{torn} without an end message"),
            },
        }
    }

    fn refused(&mut self, status: u16, why: &str, retry_after: Option<Duration>, dice: f64) -> Next {
        if FailureType::of_status(status) == FailureType::Transient {
            return self.failed(why.to_owned(), "See the engine's own log.", 69, retry_after, dice);
        }
        let (code, next) = match status {
            401 | 403 => (77, "See that you may call it."),
            404 => (4, "See that the address is that of an engine."),
            300..=399 => (1, "Name the engine's own address."),
            _ => (1, "Correct the pipeline."),
        };
        Next::Done(Verdict::Failed(format!("{why}. {next}"), code))
    }

    fn after_end(&mut self, end: &Ended, fruit: bool, dice: f64) -> Next {
        let more = end.has_more == Some(true) || matches!(end.word, EndWord::Limit | EndWord::StillStarted);
        match end.word {
            EndWord::Failed if self.call.global.is_some() => Next::Done(Verdict::Through),
            EndWord::Failed if more => {
                self.failed("it failed, and says that there is more".into(), "See the engine's own log.", 1, None, dice)
            }
            EndWord::Failed | EndWord::Complete | EndWord::Unsaid if !more && self.call.transient && end.left => {
                let why = "it ended with errors that may pass".to_owned();
                self.failed(why, "See the source's own status.", 1, None, dice)
            }
            _ if more && fruit => Next::Again(Duration::ZERO, None),
            // An outage at the source outlasts a short call: it is waited for as any other.
            _ if more && (self.call.retrying.is_some() || self.call.transient) => {
                let why = self.call.retrying.as_deref().unwrap_or("errors that may pass");
                let why = format!("the last call brought nothing, the source still tries again after {why}");
                self.failed(why, "See the source's own status, or give a call longer with --time-limit.", 2, None, dice)
            }
            _ if more => {
                self.fruitless += 1;
                if self.fruitless >= FRUITLESS {
                    let why = format!(
                        "{FRUITLESS} calls in a row brought nothing, and the engine still says that there is more"
                    );
                    return Next::Done(Verdict::Failed(format!("{why}. See its own log."), 2));
                }
                let wait = wait(self.fruitless, dice);
                Next::Again(wait, Some("the last call brought nothing".into()))
            }
            _ => Next::Done(Verdict::Through),
        }
    }

    fn failed(&mut self, why: String, next: &str, code: u8, retry_after: Option<Duration>, dice: f64) -> Next {
        self.failures += 1;
        if self.failures > self.wish.retries {
            let times = if self.failures == 1 { String::new() } else { format!(", {} times in a row", self.failures) };
            let kept = if self.wish.kept && !self.state.is_empty() {
                " What was read is kept: the same command goes on from it."
            } else {
                ""
            };
            return Next::Done(Verdict::Failed(format!("{why}{times}. {next}{kept}"), code));
        }
        let why = match self.wish.retries {
            // Who never gives up is told no bound.
            u32::MAX => why,
            most => format!("{why} ({} of {most})", self.failures),
        };
        let wait = retry_after.map_or_else(|| wait(self.failures, dice), |asked| asked.min(LONGEST_ASKED));
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

    /// Failures in a row without any progress between them.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Calls that broke after something was read, where the engine tells its counts with their end only.
    #[must_use]
    pub fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// The state to keep, with what only we know of the run beside the engine's own sections.
    #[must_use]
    pub fn to_keep(&self) -> Box<RawValue> {
        let mut all = self.state.clone();
        let mut ours = json!({"run_id": self.run_id, "attempts": self.attempts, "done": self.done});
        if let Some(ours) = ours.as_object_mut().filter(|_| self.uncounted > 0) {
            ours.insert("uncounted_calls".into(), self.uncounted.into());
        }
        all.insert(OURS.into(), raw(&ours));
        raw(&all)
    }
}

/// Changes a field that is an object; made where there is none.
fn edit(of: &mut Fields, key: &str, change: impl FnOnce(&mut Fields)) {
    let mut inner = of.get(key).and_then(|inner| fields(inner)).unwrap_or_default();
    change(&mut inner);
    of.insert(key.to_owned(), raw(&inner));
}

/// Doubling, and spread over its upper half so that many clients do not come back at once.
#[must_use]
pub fn wait(failures: u32, dice: f64) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    full.mul_f64(0.5 + 0.5 * dice.clamp(0.0, 1.0))
}
