//! Events of a pipeline: lines of its runs from any stored position, then live.
//!
//! A reader consists of a log position, and the log is read on demand. A follower that falls too
//! far behind gets a `gap` line and a snapshot of the run, and continues from there.

use crate::engine::tracker::wire::{TotalsRow, progress_payload, run_status};
use crate::service::api::app::{ApiResult, App, Shared, lines};
use crate::service::api::body::{self, Query};
use crate::service::api::readers::ReaderPermit;
use crate::service::api::wait::cursor;
use crate::service::log::{Piece, Reader};
use crate::service::model::{Cursor, Task};
use crate::service::observer::{catch_up, observe};
use crate::service::problem::Problem;
use crate::service::slot::{Observer, Slot, deleted_payload, line};
use crate::util::sys::random_below;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use synctop_core::protocol::EndReason;
use synctop_core::protocol::{LineFramer, SERVICE_EMITTER};
use synctop_core::reduce::Progress;
use tokio::sync::watch;

/// Maximum bytes per read.
const CHUNK: usize = 64 * 1024;

/// Default interval of heartbeats, in seconds.
const HEARTBEAT: u64 = 10;

/// Response stream of `GET /pipelines/{id}/events`.
struct Follower {
    app: Arc<App>,
    slot: Arc<Slot>,
    reader: Reader,
    tail: watch::Receiver<u64>,
    heartbeat: Duration,
    /// True if the stream continues with live lines; false if it ends with the stored ones.
    follow: bool,
    /// Time of the last heartbeat.
    last_heartbeat: Instant,
    /// True once the reader reached the end of the log.
    live: bool,
    /// Line to send first.
    first: Option<String>,
    /// Only complete lines are sent.
    framer: LineFramer,
    finished: bool,
    _observer: Option<Arc<Observer>>,
    _permit: ReaderPermit,
}

impl Follower {
    fn cursor(&self) -> Option<String> {
        let pipeline = self.slot.pipeline()?;
        Some(
            Cursor { position: self.reader.at() - self.framer.pending() as u64, ..self.slot.cursor(&pipeline) }
                .to_string(),
        )
    }

    /// Returns the next bytes; `None` at the end of the stream.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first.into()));
        }
        loop {
            if self.finished {
                return None;
            }
            let end = *self.tail.borrow_and_update();
            let behind = end.saturating_sub(self.reader.at());
            if self.live
                && behind > self.app.service.config.limits.behind
                && let Some(skipped) = self.skip_to_snapshot(end)
            {
                return Some(Ok(skipped.into()));
            }
            match self.reader.next(CHUNK).await {
                Ok(Piece::Bytes(bytes)) => {
                    let mut whole = self.framer.take_complete(&bytes);
                    if whole.is_empty() {
                        continue;
                    }
                    // Heartbeats during constant output let a client resume from a recent position.
                    if self.last_heartbeat.elapsed() >= self.heartbeat {
                        whole.extend(self.heartbeat_line(None).into_bytes());
                    }
                    return Some(Ok(whole.into()));
                }
                Ok(Piece::Gone(kept)) => {
                    let from = self.cursor();
                    let bytes = kept.saturating_sub(self.reader.at());
                    self.framer.clear();
                    self.reader.seek(kept);
                    let gap =
                        json!({"from": from, "to": self.cursor(), "bytes": bytes, "why": "it is no longer stored"});
                    return Some(Ok(line("gap", &gap).into()));
                }
                Ok(Piece::End) => {}
                Err(error) => return Some(Err(error)),
            }
            if self.slot.log.is_finished() || !self.follow {
                self.finished = true;
                // A log in a database ends with its pipeline.
                if self.slot.log.is_finished() && self.slot.log.as_file().is_none() {
                    return Some(Ok(line("pipeline", &deleted_payload(&self.slot.id)).into()));
                }
                return self.cursor().map(|_| Ok(self.heartbeat_line(None).into()));
            }
            if !std::mem::replace(&mut self.live, true) {
                return Some(Ok(self.heartbeat_line(None).into()));
            }
            tokio::select! {
                changed = self.tail.changed() => {
                    if changed.is_err() { self.finished = true; }
                }
                () = tokio::time::sleep(self.heartbeat) => return Some(Ok(self.heartbeat_line(None).into())),
                () = self.app.service.ends() => {
                    self.finished = true;
                    let wait = 2_000 + random_below(6_000);
                    return Some(Ok(self.heartbeat_line(Some(wait)).into()));
                }
            }
        }
    }

    /// Returns a heartbeat line: the cursor, and the reconnect delay in milliseconds if the service
    /// shuts down.
    fn heartbeat_line(&mut self, reconnect_after: Option<u64>) -> String {
        self.last_heartbeat = Instant::now();
        let mut heartbeat_line = Map::new();
        heartbeat_line.insert("cursor".into(), self.cursor().into());
        heartbeat_line.extend(reconnect_after.map(|wait| ("reconnect_after_ms".to_owned(), wait.into())));
        line("heartbeat", &Value::Object(heartbeat_line))
    }

    /// Skips lines for a reader that fell behind and returns the gap and a snapshot. `None` if the
    /// reader is not behind the snapshot.
    fn skip_to_snapshot(&mut self, end: u64) -> Option<String> {
        let from = self.cursor();
        let before = self.reader.at() - self.framer.pending() as u64;
        // The stream continues at the log position that the snapshot covers.
        let facts = self.slot.facts.borrow().clone();
        let last = self.slot.pipeline().and_then(|it| it.last.clone());
        let known = facts.of(last.as_ref());
        let to = known.map_or(end, |_| facts.position);
        // The facts of a run may be ahead of its stored lines, which may be lost: soon they are not.
        if to <= before || to > end {
            return None;
        }
        let bytes = to.saturating_sub(before);
        self.framer.clear();
        self.reader.seek(to);
        let gap = json!({"from": from, "to": self.cursor(), "bytes": bytes, "why": "the reader was too slow: a snapshot follows"});
        let mut text = line("gap", &gap);
        if let Some(progress) = known {
            text.push_str(&snapshot(progress));
        }
        Some(text)
    }
}

/// Returns the state of a run as the messages that an engine would emit.
fn snapshot(progress: &Progress) -> String {
    let rows = progress.streams_by_name().map(|stream| TotalsRow {
        name: &stream.name,
        status: stream.status,
        states: stream.details.checkpoints,
        records: stream.records.cumulative.get().unwrap_or(0),
        total: stream.details.covered.total,
        ranges: &stream.details.covered.completed,
        errors: &[],
        reason: stream.details.message.as_deref(),
    });
    let end = progress.attempt.end.as_ref();
    let word = run_status(end.and_then(|end| match end.word {
        EndReason::Complete | EndReason::Unsaid => Some(true),
        EndReason::Failed => Some(false),
        _ => None,
    }));
    let began = progress.attempt.started_at.or(progress.first_at).unwrap_or(0);
    let counts = (progress.cumulative_records().unwrap_or(0), progress.counters.checkpoints);
    let all = json!(progress_payload(rows, began, progress.attempt_elapsed().unwrap_or(0), counts, word));
    let mut text = line("progress", &all);
    if let Some(end) = end {
        text.push_str(&line("eof", &json!({"status": word, "has_more": end.has_more, "run_progress": all})));
    }
    text
}

fn follower_body(follower: Follower) -> Body {
    Body::from_stream(futures_util::stream::unfold(follower, |mut follower| async move {
        let next = follower.next().await?;
        Some((next, follower))
    }))
}

/// `GET /pipelines/{id}/events`
pub async fn events(State(app): Shared, Path(id): Path<String>, RawQuery(query): RawQuery) -> ApiResult {
    let query = Query::read(query.as_deref(), &["from", "follow", "heartbeat"])?;
    let slot = body::pipeline(&app.service, &id).await?;
    let pipeline = slot.pipeline().ok_or_else(|| Problem::no_pipeline(&id))?;
    let follow = query.text("follow").is_none() || query.flag("follow")?;
    let heartbeat = Duration::from_secs(query.number("heartbeat", 1..=300)?.unwrap_or(HEARTBEAT));
    let tail = slot.log.tail();
    let observer = observe(&app.service, &slot);
    let mut first = None;
    let at = match query.text("from") {
        Some("start") => slot.log.kept_from(),
        // The last run from its start, or from the first stored line.
        Some("run") => {
            let task = match pipeline.last.clone() {
                Some(id) => app.service.store.read(move |it| it.task(&id)).await?,
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
            // A new reader gets the current state first, then events.
            if observer.is_some() {
                catch_up(&slot).await;
            }
            let facts = slot.facts.borrow().clone();
            match facts.of(pipeline.task.as_ref()) {
                Some(progress) if facts.position <= slot.log.stored_end() => {
                    first = Some(snapshot(progress));
                    facts.position
                }
                _ => slot.log.stored_end(),
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
        last_heartbeat: Instant::now(),
        live: false,
        first,
        framer: LineFramer::default(),
        finished: false,
        _observer: observer,
        _permit: permit,
        slot,
    };
    Ok(lines(follower_body(follower)))
}

/// Response stream with the log of one run, until the run ends.
struct RunLogStream {
    app: Arc<App>,
    slot: Arc<Slot>,
    task: String,
    reader: Reader,
    tail: watch::Receiver<u64>,
    status: watch::Receiver<Option<Arc<crate::service::model::StoredPipeline>>>,
    to: Option<u64>,
    /// True if the service's own lines are left out.
    engine_only: bool,
    framer: LineFramer,
    _permit: ReaderPermit,
}

impl RunLogStream {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(to) = self.to {
                let room = usize::try_from(to.saturating_sub(self.reader.at())).unwrap_or(CHUNK).min(CHUNK);
                if room == 0 {
                    return None;
                }
                match self.reader.next(room).await {
                    Ok(Piece::Bytes(bytes)) => {
                        let bytes = self.filter_lines(bytes);
                        if bytes.is_empty() {
                            continue;
                        }
                        return Some(Ok(bytes.into()));
                    }
                    Ok(Piece::End) => return None,
                    Ok(Piece::Gone(_)) => return Some(Err(io::Error::other("it is no longer stored"))),
                    Err(error) => return Some(Err(error)),
                }
            }
            self.tail.borrow_and_update();
            let open = self.status.borrow_and_update().as_ref().is_some_and(|it| it.task.as_ref() == Some(&self.task));
            if !open {
                let id = self.task.clone();
                let task = self.app.service.store.read(move |it| it.task(&id)).await.ok().flatten();
                self.to = Some(task.and_then(|task| task.log.1).unwrap_or_else(|| self.slot.log.end()));
                continue;
            }
            match self.reader.next(CHUNK).await {
                Ok(Piece::Bytes(bytes)) => {
                    let bytes = self.filter_lines(bytes);
                    if !bytes.is_empty() {
                        return Some(Ok(bytes.into()));
                    }
                }
                Ok(Piece::Gone(at)) => {
                    self.framer.clear();
                    self.reader.seek(at);
                }
                Err(error) => return Some(Err(error)),
                Ok(Piece::End) => {
                    tokio::select! {
                        _ = self.tail.changed() => {}
                        _ = self.status.changed() => {}
                        // An error breaks the response off: the run continues after a restart.
                        () = self.app.service.ends() => return Some(Err(io::Error::other("the service ends"))),
                    }
                }
            }
        }
    }

    /// Returns the complete lines, without the service's own ones if `engine_only` is set.
    fn filter_lines(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if !self.engine_only {
            return bytes;
        }
        let whole = self.framer.take_complete(&bytes);
        let service = format!("\"_emitted_by\":\"{SERVICE_EMITTER}\"");
        let ours = |line: &&[u8]| memchr::memmem::find(line, service.as_bytes()).is_none();
        whole.split_inclusive(|byte| *byte == b'\n').filter(ours).flatten().copied().collect()
    }
}

/// Returns a response body with the output of a run's engine, until the run ends.
pub fn run_output(app: &Arc<App>, slot: &Arc<Slot>, task: &Task, permit: ReaderPermit) -> Body {
    let run = RunLogStream {
        _permit: permit,
        app: Arc::clone(app),
        slot: Arc::clone(slot),
        task: task.id.clone(),
        reader: slot.log.reader(task.log.0),
        tail: slot.log.tail(),
        status: slot.status.subscribe(),
        to: task.log.1,
        engine_only: true,
        framer: LineFramer::default(),
    };
    run_log_body(run)
}

fn run_log_body(run: RunLogStream) -> Body {
    Body::from_stream(futures_util::stream::unfold(run, |mut run| async move {
        let next = run.next().await?;
        Some((next, run))
    }))
}

/// Returns the payload of a run's last end message, with secrets masked.
pub async fn last_end_payload(slot: &Slot, task: &Task) -> Result<Option<Value>, Problem> {
    let unreadable = |error: io::Error| {
        Problem::new(500, "log_unreadable", format!("the log of pipeline {} cannot be read: {error}", slot.id))
    };
    let mut reader = slot.log.reader(task.log.0);
    let to = task.log.1.unwrap_or_else(|| slot.log.end());
    let mut split = LineFramer::default();
    let mut last = None;
    while reader.at() < to {
        let room = usize::try_from(to - reader.at()).unwrap_or(CHUNK).min(CHUNK);
        let bytes = match reader.next(room).await.map_err(unreadable)? {
            Piece::Bytes(bytes) => bytes,
            Piece::End => break,
            Piece::Gone(_) => return Err(unreadable(io::Error::other("a part of it is no longer stored"))),
        };
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

/// `GET /pipelines/{id}/runs/{number}/log`: the log of a run so far, to save or replay.
pub async fn run_log(State(app): Shared, Path((id, number)): Path<(String, String)>) -> ApiResult {
    let slot = body::pipeline(&app.service, &id).await?;
    let number: u64 = number.parse().map_err(|_| Problem::invalid(&["number"], "expected the number of a run"))?;
    let (name, incarnation) = (id.clone(), slot.incarnation);
    let found = app.service.store.read(move |it| it.tasks(&name, incarnation, number.saturating_add(1), 1)).await?;
    let task = found.into_iter().flatten().find(|task| task.number == number);
    let task = task.ok_or_else(|| Problem::new(404, "run_not_found", format!("Pipeline {id} has no run {number}")))?;
    if task.log.0 < slot.log.kept_from() && task.log.1 != Some(task.log.0) {
        let sentence = format!("the log of run {number} of pipeline {id} is no longer stored");
        return Err(Problem::new(410, "log_expired", sentence));
    }
    let to = Some(task.log.1.unwrap_or_else(|| slot.log.end()));
    let mut run = RunLogStream {
        _permit: app.readers.enter()?,
        app: Arc::clone(&app),
        task: task.id.clone(),
        reader: slot.log.reader(task.log.0),
        tail: slot.log.tail(),
        status: slot.status.subscribe(),
        to,
        engine_only: false,
        framer: LineFramer::default(),
        slot,
    };
    // A log that cannot be read is no empty one.
    let first = match run.next().await {
        Some(Err(error)) => {
            let sentence = format!("the log of run {number} of pipeline {id} cannot be read: {error}");
            return Err(Problem::new(503, "log_unreadable", sentence).after(5));
        }
        first => first,
    };
    let rest = futures_util::stream::unfold(run, |mut run| async move { Some((run.next().await?, run)) });
    Ok(lines(Body::from_stream(futures_util::stream::iter(first).chain(rest))))
}
