//! Pipeline of a service: synctop's own service, which reports reasons and times, or the published
//! one, whose state has to be interpreted. The same reducer reads an engine's report
//! from either service.

use super::wire::{
    DesiredStatus, DoubtTotals, ErrorTotals, PipelineBody, PipelineStatus, ReasonBody, RunTotals, TaskBody, TaskState,
    Word,
};
use crate::format::names;
use crate::protocol::error_text::core;
use crate::protocol::{Decoder, ErrorLevel, Millis, Splitter, mask, time};
use crate::reduce::{Outcome, Progress, doubts, fingerprint, outcome, standing};
use crate::report::{Advice, Audience};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of errors, and of doubts, that are read from one pipeline.
const MAX_FAULTS: usize = 20;

/// Error of a pipeline that is not resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineFault {
    /// Hash of the message without its particulars.
    pub fingerprint: Arc<str>,
    /// Error message with secrets masked.
    pub message: Arc<str>,
    /// Failure type, such as `auth_error`.
    pub failure_type: Option<Arc<str>>,
    /// Streams with the error; empty if it concerns the entire pipeline.
    pub streams: Vec<Arc<str>>,
    /// Next step for an operator.
    pub next: Option<Arc<str>>,
    /// Time since which the error exists, if known.
    pub since: Option<Millis>,
}

impl PipelineFault {
    /// Reads a reason of parking; `None` if it has no message.
    fn of_reason(reason: ReasonBody) -> Option<Self> {
        let message = reason.message?;
        Some(Self {
            fingerprint: fingerprint_of(reason.fingerprint, &message),
            failure_type: reason.failure_type,
            streams: reason.stream.into_iter().collect(),
            next: reason.next,
            since: reason.since,
            message,
        })
    }

    /// Reads an error of a run; `None` if it has no message.
    fn of_error(error: ErrorTotals) -> Option<Self> {
        let message = error.message?;
        Some(Self {
            fingerprint: fingerprint_of(error.fingerprint, &message),
            failure_type: error.failure_type,
            streams: error.streams,
            next: error.next,
            since: error.last_at,
            message,
        })
    }

    /// Failure type such as `auth_error`, or `error` if it is unclassified.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.failure_type.as_deref().unwrap_or("error")
    }

    /// Essential part of the message, for an operator.
    #[must_use]
    pub fn core(&self) -> String {
        core(&self.message)
    }
}

/// Planned automatic retry.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedRetry {
    /// Time of the retry, if known.
    pub at: Option<Millis>,
    /// Number of failures so far.
    pub attempt: u64,
    /// Error of the last failure.
    pub message: Arc<str>,
}

/// Last run of a pipeline, running or ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// Id of the task, if the service has tasks.
    pub task: Option<Arc<str>>,
    /// Number of the run, if the service counts runs.
    pub number: Option<u64>,
    /// Key that distinguishes runs of this pipeline.
    pub key: Arc<str>,
    /// Task state on the wire: PENDING, RUNNING, ...; `None` for a service without tasks.
    pub state: Option<Arc<str>>,
    /// True while the run has not ended.
    pub open: bool,
    /// Ended streams of all streams: `3/7`.
    pub share: Option<Arc<str>>,
    /// Headline of the result, or the reason of a failure.
    pub message: Option<Arc<str>>,
    /// Start of the run.
    pub started_at: Option<Millis>,
    /// End of the run; for a service that reports progress only, the time of the report.
    pub ended_at: Option<Millis>,
}

/// Counts and outcome of the last run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunFindings {
    /// Name of the outcome (see [`Outcome`]).
    pub outcome: Option<Arc<str>>,
    /// Records of all attempts, if known.
    pub records: Option<u64>,
    /// Records per second over the last minute, if known.
    pub per_second: Option<f64>,
    /// Coverage, 0 to 1, of the streams whose range is known so far.
    pub coverage: Option<f64>,
    /// True if more streams may follow: the coverage of all streams is then at most `coverage`.
    pub more_streams: bool,
    /// Checkpoints of the run, if known.
    pub checkpoints: Option<u64>,
    /// Number of streams.
    pub streams: u64,
    /// Number of streams per status.
    pub by_status: BTreeMap<Arc<str>, u64>,
    /// Doubts about the outcome, as sentences.
    pub doubts: Vec<Arc<str>>,
}

impl RunFindings {
    /// `61%`; with `at_most` in front if streams may follow that are not included yet.
    #[must_use]
    pub fn coverage_text(&self, at_most: &str) -> Option<String> {
        let bound = if self.more_streams { at_most } else { "" };
        self.coverage.map(|share| format!("{bound}{}", crate::format::percent(share)))
    }
}

/// State of a pipeline, without secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Name of the pipeline.
    pub id: Arc<str>,
    /// Type of the source; empty if it is not reported.
    pub source: Arc<str>,
    /// Type of the destination; empty if it is not reported.
    pub destination: Arc<str>,
    /// Status on the wire.
    pub status: Word<PipelineStatus>,
    /// Desired status on the wire.
    pub desired: Word<DesiredStatus>,
    /// Reason of parking, if the service reports one.
    pub reason: Option<PipelineFault>,
    /// Errors of the last run, the most severe first, including the reason.
    pub faults: Vec<PipelineFault>,
    /// Planned automatic retry.
    pub retry: Option<PlannedRetry>,
    /// Last run, open or ended.
    pub run: Option<Run>,
    /// Counts and outcome of the last run so far.
    pub found: RunFindings,
    /// Revision of the stored state, if the service counts revisions.
    pub revision: Option<u64>,
    /// Opaque position in the events from which reading continues.
    pub cursor: Option<Arc<str>>,
    /// Time of the last change, if the service reports it.
    pub updated_at: Option<Millis>,
    /// Planned begin of the next run, of a pipeline with a schedule.
    pub next_run_at: Option<Millis>,
    /// Time at which it is late, unless a run succeeds before.
    pub late_at: Option<Millis>,
    /// Name of the node that runs it, if the service has several.
    pub node: Option<Arc<str>>,
    /// Reason that no node runs it.
    pub unassigned: Option<Arc<str>>,
    /// Report of the service as JSON, with secrets masked.
    report: Arc<str>,
    /// Reduced state of an engine, for a service that reports only that state.
    read: Option<ReducedState>,
}

/// Reduced state of an engine, kept between reports.
#[derive(Debug, Clone, PartialEq)]
struct ReducedState {
    /// Canonical hash of the messages that were reduced last (see [`EngineLines::hash`]).
    messages: u64,
    /// The same as lines.
    text: Arc<str>,
    progress: Arc<Progress>,
}

/// Returns the fingerprint of an error, computed if its service reports none.
fn fingerprint_of(reported: Option<Arc<str>>, message: &str) -> Arc<str> {
    reported.unwrap_or_else(|| format!("{:016x}", fingerprint::of_error(message, None)).into())
}

/// Source or destination, of which only the type is read.
#[derive(Debug, Deserialize)]
struct Party {
    #[serde(rename = "type")]
    kind: Arc<str>,
}

impl Party {
    fn kind(party: Option<Self>) -> Arc<str> {
        party.map(|party| party.kind).unwrap_or_default()
    }
}

fn at(value: &Value, path: &str) -> Option<Millis> {
    time::parse(value.pointer(path)?.as_str()?)
}

/// Value that is no pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPipeline {
    /// The value has no `id`, or is no object.
    #[error("it has no id")]
    NoId,
    /// The pipeline of this id has no `status`.
    #[error("pipeline {0} has no status")]
    NoStatus(Arc<str>),
}

impl Pipeline {
    /// Reads a report of a pipeline received at `now`. `before`: the report before it, for rates.
    ///
    /// # Errors
    /// Returns [`NotAPipeline`] if `id` or `status` is missing.
    pub fn read(mut told: Value, now: Millis, before: Option<&Self>) -> Result<Self, NotAPipeline> {
        let lines = EngineLines::of(&told, now);
        mask::json(&mut told);
        let body = PipelineBody::<Party, RunTotals>::deserialize(&told).map_err(|_| NotAPipeline::NoId)?;
        let id = body.id.ok_or(NotAPipeline::NoId)?;
        let status = body.status.ok_or_else(|| NotAPipeline::NoStatus(Arc::clone(&id)))?;
        let reason = body.reason.and_then(PipelineFault::of_reason);
        let mut pipeline = Self {
            source: Party::kind(body.source),
            destination: Party::kind(body.destination),
            status: Word::from(&*status),
            desired: Word::from(body.desired_status.as_deref().unwrap_or(DesiredStatus::Active.into())),
            faults: reason.iter().cloned().collect(),
            reason,
            retry: body.retry.map(|retry| PlannedRetry {
                at: retry.at,
                attempt: retry.attempt.unwrap_or(0),
                message: retry.message.unwrap_or_default(),
            }),
            run: None,
            found: RunFindings::default(),
            revision: body.revision,
            cursor: body.cursor,
            updated_at: body.updated_at,
            next_run_at: body.next_run_at,
            late_at: body.late_at,
            node: body.node,
            unassigned: body.unassigned,
            report: told.to_string().into(),
            read: None,
            id,
        };
        match (body.run, lines) {
            (Some(run), _) => pipeline.take_run(run),
            (None, Some(lines)) => pipeline.take_lines(lines, before),
            (None, None) => {}
        }
        Ok(pipeline)
    }

    /// Takes the last run from a service that reports results of runs.
    fn take_run(&mut self, run: TaskBody<RunTotals>) {
        let state = run.status.as_deref().and_then(|word| word.parse::<TaskState>().ok());
        let open = state.is_some_and(|state| !state.is_finished());
        self.run = Some(Run {
            key: run.task_id.clone().unwrap_or_default(),
            task: run.task_id,
            number: run.number,
            open,
            share: run.progress,
            message: run.message,
            started_at: run.started_at,
            ended_at: run.ended_at,
            state: run.status,
        });
        let Some(totals) = run.so_far.or(run.result) else { return };
        self.found = RunFindings {
            outcome: totals.outcome,
            records: totals.records.and_then(|records| records.cumulative),
            // A paused pipeline has an open run, and no engine.
            per_second: totals.records_per_second.filter(|_| open && self.status != PipelineStatus::Paused),
            coverage: totals.coverage,
            more_streams: open && totals.covers_all == Some(false),
            checkpoints: totals.checkpoints,
            streams: totals.streams.unwrap_or(0),
            by_status: totals.by_status.unwrap_or_default(),
            doubts: totals.doubts.into_iter().take(MAX_FAULTS).filter_map(doubt).collect(),
        };
        let audience = self.audience();
        for error in totals.errors.into_iter().take(MAX_FAULTS) {
            let stands = error.cleared != Some(true)
                && (error.is_final == Some(true) || error.level.as_deref() == Some(ErrorLevel::Global.as_str()));
            let mut fault = PipelineFault::of_error(error).filter(|_| stands);
            if let Some(fault) = fault.as_mut().filter(|it| it.next.is_none()) {
                let one_stream = !fault.streams.is_empty() && self.found.streams > 1;
                let advice = Advice::for_message(fault.failure_type.as_deref(), &fault.message, one_stream);
                fault.next = Some(advice.text(audience).into());
            }
            self.faults.extend(fault.filter(|it| self.faults.iter().all(|known| known.message != it.message)));
        }
    }

    /// Returns the audience of advice about this pipeline.
    fn audience(&self) -> Audience {
        if self.status == PipelineStatus::Error { Audience::ParkedPipeline } else { Audience::Pipeline }
    }

    /// Takes the last run from a service that reports its engine's state, as if the engine had
    /// printed it now.
    fn take_lines(&mut self, lines: EngineLines, before: Option<&Self>) {
        let known = before.and_then(|it| it.read.as_ref());
        let messages = lines.hash();
        let reading = match known {
            Some(known) if known.messages == messages => known.clone(),
            known => {
                let text = lines.text();
                // Another run starts from an empty progress: errors of the run before do not count
                // against it.
                let begun = |text: &str| engine_clock(text).map(|(from, _)| from);
                let same_run = known.filter(|it| begun(&text).is_some() && begun(&it.text) == begun(&text));
                let mut progress = same_run.map_or_else(Progress::default, |it| Progress::clone(&it.progress));
                let decoder = Decoder::default();
                Splitter::default().push(text.as_bytes(), |line| {
                    progress.apply(&line, decoder.decode(&line, &mut String::new()), &decoder);
                });
                ReducedState { messages, text: text.into(), progress: Arc::new(progress) }
            }
        };
        let progress = &*reading.progress;
        let result = outcome(progress);
        let now = progress.last_at.unwrap_or(0);
        let ended = result != Outcome::Running;
        let clock = engine_clock(&reading.text);
        let started_at = clock.map(|(from, _)| from);
        self.run = Some(Run {
            key: started_at.map_or_else(|| format!("{messages:016x}"), time::iso).into(),
            open: !ended,
            started_at,
            ended_at: clock.map(|(_, to)| to),
            share: (!progress.streams.is_empty()).then(|| share(progress).into()),
            ..Run::default()
        });
        let mut by_status = BTreeMap::<Arc<str>, u64>::new();
        for stream in &progress.streams {
            *by_status.entry(stream.status.as_str().into()).or_default() += 1;
        }
        self.found = RunFindings {
            outcome: Some(result.as_str().into()),
            records: progress.cumulative_records(),
            per_second: progress.counters.rate.per_second(crate::reduce::ONE_MINUTE, now).filter(|_| !ended),
            coverage: progress.coverage(),
            more_streams: !ended && !progress.covers_all(),
            checkpoints: Some(progress.counters.checkpoints.max(reported_checkpoints(&reading.text))),
            streams: progress.streams.len() as u64,
            by_status,
            doubts: doubts(progress).iter().take(MAX_FAULTS).map(|it| it.to_string().into()).collect(),
        };
        for group in standing(progress).into_iter().take(MAX_FAULTS) {
            self.faults.push(PipelineFault {
                fingerprint: format!("{:016x}", group.fingerprint).into(),
                message: Arc::clone(&group.message),
                failure_type: group.failure_type.clone(),
                streams: group.streams().cloned().collect(),
                next: Some(Advice::for_error(progress, group).text(self.audience()).into()),
                since: None,
            });
        }
        if self.status == PipelineStatus::Error {
            self.reason = self.faults.first().cloned();
        }
        self.read = Some(reading);
    }

    /// Report of the service, with secrets masked. It is stored as text, which takes a fraction of
    /// the memory.
    #[must_use]
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.report).unwrap_or_default()
    }

    /// Reduced state of the engine; `None` for a service that reports results of runs.
    #[must_use]
    pub fn progress(&self) -> Option<&Arc<Progress>> {
        self.read.as_ref().map(|it| &it.progress)
    }

    /// Reported state as lines of an engine, at the time of the report.
    #[must_use]
    pub fn lines(&self) -> Option<&Arc<str>> {
        self.read.as_ref().map(|it| &it.text)
    }

    /// True if the last run has this outcome.
    #[must_use]
    pub fn has_outcome(&self, outcome: Outcome) -> bool {
        self.found.outcome.as_deref() == Some(outcome.as_str())
    }

    /// True if the last run ended and succeeded, and the pipeline is not parked.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        let over = self.run.as_ref().is_some_and(|run| !run.open);
        over && self.has_outcome(Outcome::Succeeded) && self.status != PipelineStatus::Error
    }

    /// Returns the values that show progress: run, records, checkpoints, revision and share of
    /// streams.
    #[must_use]
    pub fn evidence(&self) -> (Option<&str>, Option<u64>, Option<u64>, Option<u64>, &str) {
        let run = self.run.as_ref();
        (
            run.map(|run| run.key.as_ref()),
            self.found.records,
            self.found.checkpoints,
            self.revision,
            run.and_then(|run| run.share.as_deref()).unwrap_or_default(),
        )
    }
}

/// Returns the start of the run and the time of its report by the engine's own clock, the only
/// source of the report's age.
fn engine_clock(lines: &str) -> Option<(Millis, Millis)> {
    let first: Value = serde_json::from_str(lines.lines().next()?).ok()?;
    clock_of(first.get("progress")?)
}

/// Reads the same two times from a progress object.
fn clock_of(progress: &Value) -> Option<(Millis, Millis)> {
    let from = at(progress, "/started_at")?;
    Some((from, from.checked_add(progress.get("elapsed_ms")?.as_i64().filter(|it| *it >= 0)?)?))
}

/// Returns a doubt of a summary as one text: its streams and its message.
fn doubt(doubt: DoubtTotals) -> Option<Arc<str>> {
    let (message, streams) = (doubt.message?, doubt.streams);
    Some(if streams.is_empty() { message } else { format!("{}: {message}", names(&streams)).into() })
}

/// Ended streams of all streams: `3/7`.
fn share(progress: &Progress) -> String {
    use crate::protocol::Status::{Completed, Errored, Skipped};
    let over = progress.streams.iter().filter(|it| matches!(it.status, Completed | Skipped | Errored)).count();
    format!("{over}/{}", progress.streams.len())
}

/// State of a service without runs as the lines that its engine would have printed: the last
/// progress message (progress generation) or the last end message (trace generation).
struct EngineLines {
    /// Type and payload of each message.
    messages: Vec<(&'static str, Value)>,
    /// Time of the engine's own clock, otherwise of the report.
    at: Millis,
}

impl EngineLines {
    fn of(told: &Value, now: Millis) -> Option<Self> {
        let state = told.pointer("/sync_state/sync_run/progress").filter(|it| it.is_object());
        let end = told.get("progress").filter(|it| it.is_object());
        let at = state.and_then(clock_of).map_or(now, |(_, to)| to);
        let Some(progress) = state.filter(|it| it.get("derived").is_some()) else {
            return end.or(state).map(|end| Self { messages: vec![("eof", end.clone())], at });
        };
        let mut messages = vec![("progress", progress.clone())];
        let word = progress.pointer("/derived/status").and_then(Value::as_str).unwrap_or_default();
        if matches!(word, "succeeded" | "failed") || (word == "started" && is_up_to_date(told, progress)) {
            let state = told.get("sync_state");
            let end = json!({"status": word, "has_more": false, "run_progress": progress, "ending_state": state});
            messages.push(("eof", end));
        }
        Some(Self { messages, at })
    }

    /// Returns the canonical hash of the messages: the same in every process, without their time.
    fn hash(&self) -> u64 {
        let mut text = String::new();
        for (kind, payload) in &self.messages {
            text.push_str(kind);
            text.push_str(&payload.to_string());
        }
        fingerprint::of_text(&text)
    }

    /// Returns the lines with their time.
    fn text(&self) -> String {
        let line = |(kind, payload): &(&'static str, Value)| {
            json!({"type": kind, "_ts": time::iso(self.at), *kind: payload}).to_string() + "\n"
        };
        self.messages.iter().map(line).collect()
    }
}

/// True if nothing remained to be read: no stream was started, and the state of each stream lists
/// no remaining range.
fn is_up_to_date(told: &Value, progress: &Value) -> bool {
    let all = |object: Option<&Value>, holds: fn(&Value) -> bool| {
        object.and_then(Value::as_object).is_some_and(|all| !all.is_empty() && all.values().all(holds))
    };
    all(progress.get("streams"), |stream| stream.get("status").and_then(Value::as_str) == Some("not_started"))
        && all(told.pointer("/sync_state/source/streams"), |stream| {
            stream.get("remaining").and_then(Value::as_array).is_some_and(Vec::is_empty)
        })
}

/// Returns the number of checkpoints that a state reports; 0 if it reports none.
fn reported_checkpoints(text: &str) -> u64 {
    let told = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let count = |value: &Value| {
        value
            .pointer("/progress/derived/total_state_count")
            .or_else(|| value.pointer("/eof/global_progress/state_checkpoint_count"))
            .and_then(Value::as_u64)
    };
    told.filter_map(|value| count(&value)).max().unwrap_or(0)
}
