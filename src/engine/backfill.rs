//! The client's side of a run: what to call an engine with, what to keep of its answer, and whether to call again. Pure: `drive.rs` calls.

use super::classify::FailureType;
use crate::net::http::How;
use crate::progress::text::duration;
use crate::protocol::{Decoded, Decoder, EndWord, Kind, Line, Name, State, mask};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The first wait after a failure, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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

/// What one call brought.
#[derive(Debug, Default)]
struct Call {
    checkpoints: u64,
    records: bool,
    end: Option<Ended>,
    /// Streams with a failure that may pass, and whether one that cannot pass has no stream.
    transient: bool,
    global: Option<String>,
    /// The last line that was no message looked like a page.
    page: Option<String>,
    messages: u64,
    /// The end of the body was in the middle of a line.
    torn: bool,
    progress: Option<Value>,
    streams: BTreeMap<String, Value>,
    totals: Option<Value>,
}

#[derive(Debug, Clone)]
struct Ended {
    word: EndWord,
    has_more: Option<bool>,
    /// A stream's returned state says that something is left of it, and no error.
    left: bool,
}

/// A run from the first call to the last.
#[derive(Debug)]
pub struct Backfill {
    wish: Wish,
    state: Option<Value>,
    run_id: String,
    decoder: Decoder,
    call: Call,
    /// Calls of the whole run, those before this start too.
    pub attempts: u64,
    failures: u32,
    fruitless: u32,
    done: bool,
}

impl Backfill {
    /// Begins a run, or goes on with the one of `state`. `fresh_id` names a new one.
    ///
    /// # Errors
    /// When the state is no JSON object.
    pub fn new(wish: Wish, state: Option<&str>, fresh_id: String) -> Result<Self, String> {
        let mut state: Option<Value> = match state {
            None => None,
            Some(text) => serde_json::from_str(text).map_err(|error| error.to_string())?,
        };
        if state.as_ref().is_some_and(|state| !state.is_object() && !state.is_null()) {
            return Err("it is no JSON object".into());
        }
        let ours = state.as_mut().and_then(Value::as_object_mut).and_then(|state| state.remove(OURS));
        let text = |key: &str| ours.as_ref().and_then(|ours| ours.get(key)?.as_str()).map(str::to_owned);
        let through = ours.as_ref().and_then(|ours| ours.get("done")?.as_bool()).unwrap_or(false);
        let of_engine = state.as_ref().and_then(|state| state.pointer("/sync_run/run_id")?.as_str()).map(str::to_owned);
        let attempts = ours.as_ref().and_then(|ours| ours.get("attempts")?.as_u64()).unwrap_or(0);
        // A run that is over is followed by another one, which goes on from what was read.
        let known = text("run_id").or(of_engine).filter(|_| !through);
        Ok(Self {
            wish,
            attempts: if known.is_some() { attempts } else { 0 },
            run_id: known.unwrap_or(fresh_id),
            state: state.filter(|state| state.as_object().is_some_and(|state| !state.is_empty())),
            decoder: Decoder::default(),
            call: Call::default(),
            failures: 0,
            fruitless: 0,
            done: false,
        })
    }

    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
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
        self.attempts += 1;
        self.call = Call::default();
        let mut body = json!({"pipeline": self.wish.pipeline, "run_id": self.run_id});
        if let Some(body) = body.as_object_mut() {
            if let Some(state) = &self.state {
                body.insert("state".into(), state.clone());
            }
            if let Some(limit) = self.wish.time_limit {
                body.insert("time_limit".into(), json!(limit));
            }
            if let Some(limit) = self.wish.state_limit {
                body.insert("state_limit".into(), json!(limit));
            }
        }
        body.to_string()
    }

    /// The query of each call, where the trace generation looks for its limits.
    #[must_use]
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("sync_run_id", self.run_id.clone())];
        query.extend(self.wish.time_limit.map(|limit| ("time_limit", limit.to_string())));
        query.extend(self.wish.state_limit.map(|limit| ("state_limit", limit.to_string())));
        query
    }

    /// Takes in a line of the answer.
    pub fn line(&mut self, line: &Line) {
        let mut scratch = String::new();
        let decoder = self.decoder;
        let message = match decoder.decode(line, &mut scratch) {
            Decoded::Message { message, .. } => message,
            Decoded::Raw(raw) => {
                let lower = raw.text.trim_start().to_ascii_lowercase();
                if lower.starts_with("<html") || lower.starts_with("<!doctype") {
                    let title = crate::net::http::title(&raw.text).unwrap_or("no title");
                    self.call.page = Some(title.to_owned());
                } else if self.call.page.as_deref() == Some("no title")
                    && let Some(title) = crate::net::http::title(&raw.text)
                {
                    self.call.page = Some(title.to_owned());
                }
                return;
            }
            Decoded::Malformed { torn } => {
                self.call.torn |= torn;
                return;
            }
            Decoded::Unknown { .. } => return,
        };
        self.call.messages += 1;
        let call = &mut self.call;
        match message.kind {
            Kind::Checkpoint(_) => {
                call.checkpoints += 1;
                self.merge(line);
            }
            Kind::Record(_) => call.records = true,
            Kind::Failure(failure) => {
                let kind = failure.failure_type.as_deref().map(FailureType::of_word);
                match (kind, &failure.stream) {
                    (Some(FailureType::Transient), _) => call.transient = true,
                    (_, None) => call.global = Some(mask::secrets(&failure.message).into_owned()),
                    _ => {}
                }
            }
            Kind::Connection { ok: Some(false), message } => {
                call.global = Some(mask::secrets(message.as_deref().unwrap_or("the connection failed")).into_owned());
            }
            Kind::End(end) => {
                let unfinished = |(_, state): &(Name, State)| state.done == Some(false) && state.failure.is_none();
                let left = end.states.as_ref().is_some_and(|states| states.iter().any(unfinished));
                let passing = |it: &crate::protocol::Failure| it.failure_type.as_deref() == Some("transient_error");
                call.transient |= end.errors.iter().any(passing);
                call.end = Some(Ended { word: end.word, has_more: end.has_more, left });
                self.ended(line);
            }
            Kind::Stream(_) | Kind::Progress(_) => self.remember(line),
            _ => {}
        }
    }

    /// The state that an end message returned.
    fn ended(&mut self, line: &Line) {
        let value: Value = serde_json::from_slice(line.bytes).unwrap_or_default();
        let inside = value.get("eof").or_else(|| value.get("end"));
        // The trace generation says `has_more` by its reason; a limit means it.
        let state = inside.and_then(|end| end.get("state").or_else(|| end.get("ending_state")));
        if let Some(state) = state.filter(|state| state.is_object()) {
            self.state = Some(state.clone());
        }
    }

    /// A checkpoint: what is kept if the end message never comes.
    fn merge(&mut self, line: &Line) {
        let value: Value = serde_json::from_slice(line.bytes).unwrap_or_default();
        let Some(checkpoint) = value.get("source_state") else { return };
        let data = checkpoint.get("data").cloned().unwrap_or_default();
        let state = self.state.get_or_insert_with(|| json!({}));
        let source = section(section(state, "source"), "streams");
        match checkpoint.get("stream").and_then(Value::as_str) {
            Some(stream) => drop(source.as_object_mut().map(|streams| streams.insert(stream.to_owned(), data))),
            None => *section(section(state, "source"), "global") = data,
        }
    }

    /// What the engine's own section of the state is made of, if the end message never comes.
    fn remember(&mut self, line: &Line) {
        let value: Value = serde_json::from_slice(line.bytes).unwrap_or_default();
        if let Some(progress) = value.get("progress") {
            self.call.progress = Some(progress.clone());
        } else if let Some(status) = value.pointer("/trace/stream_status") {
            if let Some(stream) = status.get("stream").and_then(Value::as_str) {
                self.call.streams.insert(stream.to_owned(), status.clone());
            }
        } else if let Some(totals) = value.pointer("/trace/global_progress") {
            self.call.totals = Some(totals.clone());
        }
    }

    /// A call without an end message: its checkpoints are kept, and its counts as far as it told them.
    fn complete_state(&mut self) {
        if self.call.end.is_some() || self.call.checkpoints == 0 {
            return;
        }
        let run_id = self.run_id.clone();
        let (progress, streams, totals) =
            (self.call.progress.take(), std::mem::take(&mut self.call.streams), self.call.totals.take());
        let state = self.state.get_or_insert_with(|| json!({}));
        section(section(state, "source"), "global");
        section(state, "destination");
        if let Some(progress) = progress {
            let run = section(state, "sync_run");
            if let Some(run) = run.as_object_mut() {
                run.insert("run_id".into(), run_id.into());
                run.insert("progress".into(), progress);
            }
            return;
        }
        let engine = section(state, "engine");
        for (name, status) in streams {
            if let (Some(known), Some(status)) =
                (section(section(engine, "streams"), &name).as_object_mut(), status.as_object())
            {
                let kept = ["status", "cumulative_record_count"];
                let kept = kept.iter().filter_map(|key| Some(((*key).to_owned(), status.get(*key)?.clone())));
                known.extend(kept.filter(|(_, value)| value != "range_complete"));
            }
        }
        section(engine, "streams");
        let global = section(engine, "global");
        if let (Some(global), Some(totals)) = (global.as_object_mut(), totals.as_ref().and_then(Value::as_object)) {
            global.extend(
                totals.iter().filter(|(key, _)| key.starts_with("cumulative_")).map(|(k, v)| (k.clone(), v.clone())),
            );
        }
    }

    /// The call is over. `dice` in 0..=1 spreads waits.
    pub fn over(&mut self, how: &How, dice: f64) -> Next {
        self.complete_state();
        let fruit = self.call.checkpoints > 0 || self.call.records;
        if fruit {
            self.failures = 0;
            self.fruitless = 0;
        }
        let next = self.decide(how, fruit, dice);
        self.done = matches!(next, Next::Done(Verdict::Through));
        next
    }

    fn decide(&mut self, how: &How, fruit: bool, dice: f64) -> Next {
        let end = self.call.end.clone();
        match (how, end) {
            (How::Stopped, _) => Next::Done(Verdict::Failed("stopped".into(), 2)),
            (How::Refused { status, says, retry_after }, _) => self.refused(*status, says, *retry_after, dice),
            (_, Some(end)) => self.after_end(&end, fruit, dice),
            (how, None) => {
                let why = self.without_end(how);
                if let Some(message) = self.call.global.clone() {
                    // An error without a stream was its last word: calling again will say the same.
                    return Next::Done(Verdict::Failed(format!("{message} ({why})"), 1));
                }
                let code = if matches!(how, How::Unreachable(_)) { 69 } else { 2 };
                self.failed(why, code, None, dice)
            }
        }
    }

    /// What the answer was cut short by, in a sentence.
    fn without_end(&self, how: &How) -> String {
        let torn = if self.call.torn { " in the middle of a line" } else { "" };
        match how {
            How::Broke(why) => format!("the connection broke{torn} before the end message: {why}"),
            How::Silent(silence) => {
                let silence = duration(u64::try_from(silence.as_millis()).unwrap_or(0));
                format!("the engine said nothing for {silence}")
            }
            How::Unreachable(why) => format!("the engine cannot be reached: {why}"),
            How::Page(title) => format!("a web page answered instead of an engine: {title}"),
            _ => match &self.call.page {
                Some(title) => format!("the answer ended in a web page: {title}"),
                None if self.call.messages == 0 && !self.call.torn => {
                    "the answer has no message of an engine in it".into()
                }
                None => format!("the answer ended{torn} without an end message"),
            },
        }
    }

    fn refused(&mut self, status: u16, says: &str, retry_after: Option<Duration>, dice: f64) -> Next {
        let says = if says.is_empty() { String::new() } else { format!(": {says}") };
        let why = format!("the engine answers HTTP {status}{says}");
        if FailureType::of_status(status) == FailureType::Transient {
            return self.failed(why, 69, retry_after, dice);
        }
        let (code, next) = match status {
            401 | 403 => (77, "See that you may call it."),
            404 => (4, "See that the address is that of an engine."),
            _ => (1, "Correct the pipeline."),
        };
        Next::Done(Verdict::Failed(format!("{why}. {next}"), code))
    }

    fn after_end(&mut self, end: &Ended, fruit: bool, dice: f64) -> Next {
        let more = end.has_more == Some(true) || matches!(end.word, EndWord::Limit | EndWord::StillStarted);
        match end.word {
            EndWord::Failed if self.call.global.is_some() => Next::Done(Verdict::Through),
            EndWord::Failed if more || (self.call.transient && end.left) => {
                self.failed("it ended with errors that may pass".into(), 1, None, dice)
            }
            _ if more && fruit => Next::Again(Duration::ZERO, None),
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

    fn failed(&mut self, why: String, code: u8, retry_after: Option<Duration>, dice: f64) -> Next {
        self.failures += 1;
        if self.failures > self.wish.retries {
            let times = if self.failures == 1 { String::new() } else { format!(", {} times in a row", self.failures) };
            let kept =
                if self.state.is_some() { " What was read is kept: the same command goes on from it." } else { "" };
            return Next::Done(Verdict::Failed(format!("{why}{times}.{kept}"), code));
        }
        Next::Again(retry_after.unwrap_or_else(|| wait(self.failures, dice)), Some(why))
    }

    /// The state to keep, with what only we know of the run beside the engine's own sections.
    #[must_use]
    pub fn to_keep(&self) -> Value {
        let mut state = self.state.clone().unwrap_or_else(|| Value::Object(Map::new()));
        if let Some(fields) = state.as_object_mut() {
            let ours = json!({"run_id": self.run_id, "attempts": self.attempts, "done": self.done});
            fields.insert(OURS.into(), ours);
        }
        state
    }
}

/// A part of a state, made where it is not there.
fn section<'v>(value: &'v mut Value, key: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(fields) => fields.entry(key.to_owned()).or_insert_with(|| json!({})),
        other => other,
    }
}

/// Doubling, and spread over its upper half so that many clients do not come back at once.
fn wait(failures: u32, dice: f64) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_WAIT);
    full.mul_f64(0.5 + 0.5 * dice.clamp(0.0, 1.0))
}
