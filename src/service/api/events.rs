//! Events of a pipeline: lines of its runs from any stored position, then live.
//!
//! A reader has a position in the log and nothing else; the log is read on demand. A follower that
//! falls too far behind gets the gap and a snapshot of the run as one message, and continues from
//! now.

use super::body::{self, Query};
use super::wait::cursor;
use super::{Answer, App, Shared, lines};
use crate::engine::tracker::wire::{TotalsRow, progress_payload, run_word};
use crate::service::log::{Piece, Reader};
use crate::service::model::{Cursor, Task};
use crate::service::problem::Problem;
use crate::service::registry::{SERVICE, Slot, line};
use crate::service::{store, throw};
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use serde_json::{Map, Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use synctop_core::protocol::EndWord;
use synctop_core::reduce::Progress;
use tokio::sync::watch;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// Interval of heartbeats without other output.
const HEARTBEAT: u64 = 10;

/// Readers at work.
#[derive(Clone)]
pub struct Readers {
    most: usize,
    open: Arc<AtomicUsize>,
}

/// One of them, until it is dropped.
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Readers {
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub fn enter(&self) -> Result<Permit, Problem> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(&self.open));
        if before >= self.most {
            let sentence = format!("{before} follow events, which is the most that the service takes");
            return Err(Problem::new(429, "too_many_readers", sentence).after(5));
        }
        Ok(permit)
    }
}

/// One who follows.
struct Follower {
    app: Arc<App>,
    slot: Arc<Slot>,
    reader: Reader,
    tail: watch::Receiver<u64>,
    heartbeat: Duration,
    /// True if it follows the log; false if it ends at the stored end.
    follow: bool,
    /// Time and position of the last heartbeat.
    beaten: Instant,
    /// He was at the end once: from then on he is live.
    live: bool,
    /// Line to send first.
    first: Option<String>,
    /// A line that is not whole yet: only whole ones are handed on.
    partial: Vec<u8>,
    over: bool,
    _permit: Permit,
}

impl Follower {
    fn cursor(&self) -> Option<String> {
        let pipeline = self.slot.pipeline()?;
        Some(Cursor { position: self.reader.at - self.partial.len() as u64, ..self.slot.cursor(&pipeline) }.to_string())
    }

    /// The next bytes; `None`: that was all.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first.into()));
        }
        loop {
            if self.over {
                return None;
            }
            let end = *self.tail.borrow_and_update();
            let behind = end.saturating_sub(self.reader.at);
            if self.live
                && behind > self.app.service.config.limits.behind
                && let Some(skipped) = self.skip(end)
            {
                return Some(Ok(skipped.into()));
            }
            match self.reader.next(CHUNK) {
                Ok(Piece::Bytes(bytes)) => {
                    self.partial.extend_from_slice(&bytes);
                    let Some(end) = memchr::memrchr(b'\n', &self.partial).map(|at| at + 1) else { continue };
                    let rest = self.partial.split_off(end);
                    let mut whole = std::mem::replace(&mut self.partial, rest);
                    // Also during constant output: a client that disconnects knows its position.
                    if self.beaten.elapsed() >= self.heartbeat {
                        whole.extend(self.beat(None).into_bytes());
                    }
                    return Some(Ok(whole.into()));
                }
                Ok(Piece::Gone(kept)) => {
                    let from = self.cursor();
                    let bytes = kept.saturating_sub(self.reader.at);
                    self.partial.clear();
                    self.reader = self.slot.log.reader(kept);
                    let gap =
                        json!({"from": from, "to": self.cursor(), "bytes": bytes, "why": "it is not kept any more"});
                    return Some(Ok(line("gap", &gap).into()));
                }
                Ok(Piece::End) => {}
                Err(error) => return Some(Err(error)),
            }
            if self.slot.log.over() || !self.follow {
                self.over = true;
                return self.cursor().map(|_| Ok(self.beat(None).into()));
            }
            if !std::mem::replace(&mut self.live, true) {
                return Some(Ok(self.beat(None).into()));
            }
            tokio::select! {
                changed = self.tail.changed() => {
                    if changed.is_err() { self.over = true; }
                }
                () = tokio::time::sleep(self.heartbeat) => return Some(Ok(self.beat(None).into())),
                () = self.app.service.ends() => {
                    self.over = true;
                    let wait = 2_000 + throw(6_000);
                    return Some(Ok(self.beat(Some(wait)).into()));
                }
            }
        }
    }

    /// A sign of life: the place he is at, and when to come back if the service ends.
    fn beat(&mut self, back_after: Option<u64>) -> String {
        self.beaten = Instant::now();
        let mut beat = Map::new();
        beat.insert("cursor".into(), self.cursor().into());
        beat.extend(back_after.map(|wait| ("reconnect_after_ms".to_owned(), wait.into())));
        line("heartbeat", &Value::Object(beat))
    }

    /// Skips lines for a reader that fell behind: returns the gap and a snapshot. `None`: the
    /// reader has everything.
    fn skip(&mut self, end: u64) -> Option<String> {
        let from = self.cursor();
        let before = self.reader.at - self.partial.len() as u64;
        // The snapshot ends here; later lines follow it.
        let facts = self.slot.facts.borrow().clone();
        let last = self.slot.pipeline().and_then(|it| it.last.clone());
        let known = facts.of(last.as_ref());
        let to = known.map_or(end, |_| facts.position.min(end));
        if to <= before {
            return None;
        }
        let bytes = to.saturating_sub(before);
        self.partial.clear();
        self.reader = self.slot.log.reader(to);
        let gap = json!({"from": from, "to": self.cursor(), "bytes": bytes, "why": "the reader was too slow: a snapshot follows"});
        let mut text = line("gap", &gap);
        if let Some(progress) = known {
            text.push_str(&snapshot(progress));
        }
        Some(text)
    }
}

/// State of a run as one message of an engine.
fn snapshot(progress: &Progress) -> String {
    let rows = progress.streams_by_name().map(|stream| TotalsRow {
        name: &stream.name,
        status: stream.status,
        states: stream.checkpoints,
        records: stream.records.cumulative.unwrap_or(0),
        total: stream.total_range,
        ranges: &stream.ranges,
        errors: &[],
        reason: stream.message.as_deref(),
    });
    let end = progress.attempt.end.as_ref();
    let word = run_word(end.and_then(|end| match end.word {
        EndWord::Complete | EndWord::Unsaid => Some(true),
        EndWord::Failed => Some(false),
        _ => None,
    }));
    let began = progress.attempt.started_at.or(progress.first_at).unwrap_or(0);
    let counts = (progress.cumulative_records().unwrap_or(0), progress.checkpoints);
    let all = json!(progress_payload(rows, began, progress.attempt_elapsed().unwrap_or(0), counts, word));
    let mut text = line("progress", &all);
    if let Some(end) = end {
        text.push_str(&line("eof", &json!({"status": word, "has_more": end.has_more, "run_progress": all})));
    }
    text
}

fn body_of(follower: Follower) -> Body {
    Body::from_stream(futures_util::stream::unfold(follower, |mut follower| async move {
        let next = follower.next().await?;
        Some((next, follower))
    }))
}

/// `GET /pipelines/{id}/events`
pub async fn events(State(app): Shared, Path(id): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["from", "follow", "heartbeat"])?;
    let slot = body::pipeline(&app.service, &id)?;
    let pipeline = slot.pipeline().ok_or_else(|| Problem::no_pipeline(&id))?;
    let follow = query.text("follow").is_none() || query.flag("follow")?;
    let heartbeat = Duration::from_secs(query.number("heartbeat", 1..=300)?.unwrap_or(HEARTBEAT));
    let tail = slot.log.tail();
    let mut first = None;
    let at = match query.text("from") {
        Some("start") => slot.log.kept_from(),
        // The last run from its begin, as far as it is kept.
        Some("run") => {
            let task = match &pipeline.last {
                Some(id) => app.service.store.read(|it| store::task(it, id))?,
                None => None,
            };
            task.map_or_else(|| slot.log.end(), |task| task.log.0).max(slot.log.kept_from())
        }
        Some(text) if text != "now" => {
            let cursor = cursor(&slot, &pipeline, text, "from")?;
            if cursor.position < slot.log.kept_from() {
                let sentence = "lines after this position are not stored any more: from=start returns the stored ones";
                let now = slot.cursor(&pipeline).to_string();
                return Err(Problem::new(410, "cursor_expired", sentence).with("cursor", now));
            }
            cursor.position
        }
        _ => {
            // A new reader gets the current state, and then events.
            let facts = slot.facts.borrow().clone();
            match facts.of(pipeline.task.as_ref()) {
                Some(progress) => {
                    first = Some(snapshot(progress));
                    facts.position
                }
                None => slot.log.end(),
            }
        }
    };
    let reader = slot.log.reader(at);
    let permit = app.readers.enter()?;
    let follower = Follower {
        app: Arc::clone(&app),
        reader,
        tail,
        heartbeat,
        follow,
        beaten: Instant::now(),
        live: false,
        first,
        partial: Vec::new(),
        over: false,
        _permit: permit,
        slot,
    };
    Ok(lines(body_of(follower)))
}

/// The lines of a run from its log, as long as it goes: those of its engine alone.
struct OfRun {
    app: Arc<App>,
    slot: Arc<Slot>,
    task: String,
    reader: Reader,
    tail: watch::Receiver<u64>,
    status: watch::Receiver<Option<Arc<crate::service::model::StoredPipeline>>>,
    to: Option<u64>,
    /// Without the lines of the service.
    engine_only: bool,
    partial: Vec<u8>,
    _permit: Permit,
}

impl OfRun {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(to) = self.to {
                let room = usize::try_from(to.saturating_sub(self.reader.at)).unwrap_or(CHUNK).min(CHUNK);
                if room == 0 {
                    return None;
                }
                match self.reader.next(room) {
                    Ok(Piece::Bytes(bytes)) => {
                        let bytes = self.own(bytes);
                        if bytes.is_empty() {
                            continue;
                        }
                        return Some(Ok(bytes.into()));
                    }
                    Ok(Piece::End) => return None,
                    Ok(Piece::Gone(_)) => return Some(Err(io::Error::other("it is not kept any more"))),
                    Err(error) => return Some(Err(error)),
                }
            }
            self.tail.borrow_and_update();
            let open = self.status.borrow_and_update().as_ref().is_some_and(|it| it.task.as_ref() == Some(&self.task));
            if !open {
                let task = self.app.service.store.read(|it| store::task(it, &self.task)).ok().flatten();
                self.to = Some(task.and_then(|task| task.log.1).unwrap_or_else(|| self.slot.log.end()));
                continue;
            }
            match self.reader.next(CHUNK) {
                Ok(Piece::Bytes(bytes)) => {
                    let bytes = self.own(bytes);
                    if !bytes.is_empty() {
                        return Some(Ok(bytes.into()));
                    }
                }
                Ok(Piece::Gone(at)) => self.reader.at = at,
                Err(error) => return Some(Err(error)),
                Ok(Piece::End) => {
                    tokio::select! {
                        _ = self.tail.changed() => {}
                        _ = self.status.changed() => {}
                        // Without an end the stream breaks off: the run continues with the next
                        // service.
                        () = self.app.service.ends() => return Some(Err(io::Error::other("the service ends"))),
                    }
                }
            }
        }
    }

    /// Whole lines, without those of the service.
    fn own(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if !self.engine_only {
            return bytes;
        }
        self.partial.extend_from_slice(&bytes);
        let Some(end) = memchr::memrchr(b'\n', &self.partial).map(|at| at + 1) else { return Vec::new() };
        let rest = self.partial.split_off(end);
        let whole = std::mem::replace(&mut self.partial, rest);
        let service = format!("\"_emitted_by\":\"{SERVICE}\"");
        let ours = |line: &&[u8]| memchr::memmem::find(line, service.as_bytes()).is_none();
        whole.split_inclusive(|byte| *byte == b'\n').filter(ours).flatten().copied().collect()
    }
}

/// Output of a run's engine, until the run is over.
pub fn of_run(app: &Arc<App>, slot: &Arc<Slot>, task: &Task, permit: Permit) -> Body {
    let run = OfRun {
        _permit: permit,
        app: Arc::clone(app),
        slot: Arc::clone(slot),
        task: task.id.clone(),
        reader: slot.log.reader(task.log.0),
        tail: slot.log.tail(),
        status: slot.status.subscribe(),
        to: task.log.1,
        engine_only: true,
        partial: Vec::new(),
    };
    stream_of(run)
}

fn stream_of(run: OfRun) -> Body {
    Body::from_stream(futures_util::stream::unfold(run, |mut run| async move {
        let next = run.next().await?;
        Some((next, run))
    }))
}

/// The payload of the last end message of a run, without secrets.
pub fn last_end(slot: &Slot, task: &Task) -> Result<Option<Value>, Problem> {
    let unreadable = |error: io::Error| {
        Problem::new(500, "log_unreadable", format!("the log of pipeline {} cannot be read: {error}", slot.id))
    };
    let mut reader = slot.log.reader(task.log.0);
    let to = task.log.1.unwrap_or_else(|| slot.log.end());
    let mut split = crate::engine::line_framer::WholeLines::default();
    let mut last = None;
    while reader.at < to {
        let room = usize::try_from(to - reader.at).unwrap_or(CHUNK).min(CHUNK);
        let Piece::Bytes(bytes) = reader.next(room).map_err(unreadable)? else { break };
        split.push(&bytes, |line| {
            if memchr::memmem::find(line, b"\"eof\"").is_some() || memchr::memmem::find(line, b"\"end\"").is_some() {
                let message: Value = serde_json::from_slice(line).unwrap_or_default();
                let kind = message.get("type").and_then(Value::as_str).filter(|kind| matches!(*kind, "eof" | "end"));
                let payload = kind.and_then(|kind| message.get(kind).cloned());
                last = payload.or(last.take());
            }
        });
    }
    Ok(last.map(|mut end| {
        crate::service::secrets::mask(&mut end);
        end
    }))
}

/// `GET /pipelines/{id}/runs/{number}/log`: all of a run, to be saved or replayed.
pub async fn run_log(State(app): Shared, Path((id, number)): Path<(String, String)>) -> Answer {
    let slot = body::pipeline(&app.service, &id)?;
    let number: u64 = number.parse().map_err(|_| Problem::invalid(&["number"], "expected the number of a run"))?;
    let found = app.service.store.read(|it| store::tasks(it, &id, slot.incarnation, number.saturating_add(1), 1))?;
    let task = found.into_iter().find(|task| task.number == number);
    let task = task.ok_or_else(|| Problem::new(404, "run_not_found", format!("Pipeline {id} has no run {number}")))?;
    if task.log.0 < slot.log.kept_from() && task.log.1 != Some(task.log.0) {
        let sentence = format!("the log of run {number} of pipeline {id} is not kept any more");
        return Err(Problem::new(410, "log_expired", sentence));
    }
    let to = Some(task.log.1.unwrap_or_else(|| slot.log.end()));
    let run = OfRun {
        _permit: app.readers.enter()?,
        app: Arc::clone(&app),
        task: task.id.clone(),
        reader: slot.log.reader(task.log.0),
        tail: slot.log.tail(),
        status: slot.status.subscribe(),
        to,
        engine_only: false,
        partial: Vec::new(),
        slot,
    };
    Ok(lines(stream_of(run)))
}
