//! One call of an engine for a pipeline: passes its output to the log, the reducer and the state;
//! stops at a checkpoint on request.

use super::engines::{EngineAction, EngineCall};
use super::lifecycle::Todo;
use super::log::Piece;
use super::model::{StoredPipeline, Task};
use super::problem::Problem;
use super::reconciler::Prepared;
use super::registry::{Service, Slot};
use super::secrets::Known;
use super::store;
use crate::engine::backfill::Backfill;
use crate::engine::classify::FailureType;
use crate::engine::line_framer::WholeLines;
use crate::net::http::CallOutcome;
use crate::net::{Ingest, lock};
use serde_json::Value;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::Progress;
use synctop_core::report::verdict;
use tokio::sync::Notify;

/// Minimum interval between published states of a run.
const BETWEEN: Duration = Duration::from_millis(50);

/// Timeout of setup and teardown.
const LONGEST_PREPARATION: Duration = Duration::from_secs(600);

/// Bytes of a log that are read at once.
const CHUNK: usize = 256 * 1024;

/// Reason that a call was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is wanted no more.
    Unwanted,
    Canceled,
    /// The service ends.
    Ending,
}

/// State of a run so far, as reduced.
pub(super) struct CallProgress {
    slot: Arc<Slot>,
    ingest: Ingest,
    before: u64,
    /// The run that it is; none for a call beside a run.
    task: Option<String>,
    dirty: bool,
}

impl CallProgress {
    /// Of a run that begins or goes on.
    pub fn begin(slot: &Arc<Slot>, task: &Task) -> Self {
        Self::new(slot, task.checkpoints_before, Some(task.id.clone()))
    }

    /// Of a call beside the run.
    pub fn begin_beside(slot: &Arc<Slot>, before: u64) -> Self {
        Self::new(slot, before, None)
    }

    fn new(slot: &Arc<Slot>, before: u64, task: Option<String>) -> Self {
        Self { slot: Arc::clone(slot), ingest: Ingest::new(Decoder::default()), before, task, dirty: false }
    }

    /// There were so many already, also where the log of them is not kept.
    pub fn at_least(&mut self, checkpoints: u64) {
        self.before += checkpoints.saturating_sub(self.checkpoints());
    }

    pub fn checkpoints(&self) -> u64 {
        self.before + self.ingest.progress.checkpoints
    }

    pub fn progress(&self) -> Progress {
        self.ingest.progress.clone()
    }

    /// Outcome in a sentence.
    pub fn headline(&self) -> String {
        let mut progress = self.progress();
        progress.close(None);
        verdict(&progress).headline
    }

    fn take(&mut self, lines: &[u8]) {
        self.ingest.push(lines);
        self.dirty = true;
    }

    /// Adds a line of our own to the log.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.slot.log.append(line.as_bytes())?;
        self.take(line.as_bytes());
        self.publish();
        Ok(())
    }

    /// Publishes the current state, which covers the whole log.
    pub fn publish(&self) {
        let checkpoints = self.checkpoints();
        let position = self.slot.log.end();
        self.slot.facts.send_modify(|facts| {
            facts.checkpoints = checkpoints;
            if self.task.is_some() {
                facts.task.clone_from(&self.task);
                facts.progress = Some(Arc::new(self.ingest.progress.clone()));
                facts.position = position;
            }
        });
    }

    /// Reads a run's part of the log.
    pub fn read_again(&mut self, from: u64, to: Option<u64>) -> Result<(), Problem> {
        // It may be long, and others are to be served meanwhile.
        tokio::task::block_in_place(|| self.read(from, to))
    }

    fn read(&mut self, from: u64, to: Option<u64>) -> Result<(), Problem> {
        let mut reader = self.slot.log.reader(from);
        let slot = Arc::clone(&self.slot);
        loop {
            let room = to.map_or(CHUNK, |to| usize::try_from(to.saturating_sub(reader.at)).unwrap_or(CHUNK).min(CHUNK));
            if room == 0 {
                break;
            }
            match reader.next(room).map_err(|error| unreadable(&slot, &error))? {
                Piece::Bytes(bytes) => self.take(&bytes),
                Piece::Gone(at) => reader.at = at,
                Piece::End => break,
            }
        }
        Ok(())
    }

    /// Replays the log from a position into a run.
    pub fn replay(&self, from: u64, run: &mut Backfill) -> Result<(), Problem> {
        let mut reader = self.slot.log.reader(from);
        while let Piece::Bytes(bytes) = reader.next(CHUNK).map_err(|error| unreadable(&self.slot, &error))? {
            run.push(&bytes);
        }
        Ok(())
    }
}

async fn after(seconds: Option<f64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds)).await,
        None => std::future::pending().await,
    }
}

fn unreadable(slot: &Slot, error: &std::io::Error) -> Problem {
    Problem::new(500, "log_unreadable", format!("the log of pipeline {} cannot be read: {error}", slot.id))
}

/// A call that is to be made.
pub(super) struct RunCall<'c> {
    pub service: &'c Arc<Service>,
    pub slot: &'c Arc<Slot>,
    pub pipeline: &'c Arc<StoredPipeline>,
    /// Its secrets.
    pub known: &'c Known,
    pub action: EngineAction,
    pub body: String,
    /// Seconds and checkpoints that the engine was given.
    pub limits: (Option<f64>, Option<u64>),
}

impl RunCall<'_> {
    fn ask(&self) -> EngineCall<'_> {
        EngineCall {
            pipeline: &self.slot.id,
            engine: self.pipeline.config.engine(),
            action: self.action,
            body: self.body.clone(),
            known: self.known,
        }
    }

    /// Syncs. Answers how the call ended, and why it was stopped if it was.
    pub async fn sync(self, run: &mut Backfill, came: &mut CallProgress, task: &str) -> (CallOutcome, Option<Cause>) {
        let known = self.known;
        let stop = Notify::new();
        let stopping = AtomicBool::new(false);
        let live = task.is_empty();
        let came = Mutex::new(came);
        let mut lines = WholeLines::default();
        let mut masked = Vec::new();
        let mut broken = None;
        // An engine that ignores its limit is stopped at a checkpoint, after twice its limit.
        let (time, states) = self.limits;
        let mut states_left = states.map(|limit| limit.saturating_mul(2));
        let overdue = AtomicBool::new(false);
        let call = self.service.engines.call(self.ask(), &stop, |bytes| {
            masked.clear();
            let mut safe = 0;
            lines.push(bytes, |line| {
                masked.extend_from_slice(&known.masked(line));
                masked.push(b'\n');
                safe += u64::from(memchr::memmem::find(line, b"\"source_state\"").is_some());
            });
            run.push(bytes);
            if let Err(error) = self.slot.log.append(&masked) {
                broken = Some(format!("the log of the run cannot be written: {error}"));
                return ControlFlow::Break(());
            }
            lock(&came).take(&masked);
            if let Some(left) = &mut states_left {
                *left = left.saturating_sub(safe);
                if *left == 0 {
                    overdue.store(true, Ordering::Relaxed);
                    stopping.store(true, Ordering::Relaxed);
                }
            }
            if safe > 0 && stopping.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let mut cause = None;
        let how = {
            let watch = async {
                tokio::select! {
                    why = self.unwanted(task, live) => cause = Some(why),
                    () = after(time.map(|limit| limit * 2.0)) => overdue.store(true, Ordering::Relaxed),
                }
                stopping.store(true, Ordering::Relaxed);
                tokio::time::sleep(self.service.config.calls.grace).await;
                stop.notify_one();
                std::future::pending::<()>().await;
            };
            let tell = async {
                loop {
                    tokio::time::sleep(BETWEEN).await;
                    let mut came = lock(&came);
                    if std::mem::take(&mut came.dirty) {
                        came.publish();
                    }
                }
            };
            tokio::select! {
                how = call => how,
                () = watch => CallOutcome::Stopped,
                () = tell => CallOutcome::Stopped,
            }
        };
        masked.clear();
        lines.finish(|line, _| {
            // A torn line stays as it is, and the next one is separate.
            masked.extend_from_slice(&known.masked(line));
            masked.push(b'\n');
        });
        let _ = self.slot.log.append(&masked);
        let mut came = lock(&came);
        came.take(&masked);
        came.publish();
        if let Some(why) = broken {
            return (CallOutcome::Broke(why), None);
        }
        // It came to its end by itself before it had to stop.
        let stopped = matches!(how, CallOutcome::Stopped);
        let cause = cause.filter(|_| stopped);
        if stopped && cause.is_none() && overdue.load(Ordering::Relaxed) {
            let time = time.map(|limit| format!("{limit} s"));
            let states = states.map(|limit| format!("{limit} checkpoints"));
            let limits: Vec<_> = time.into_iter().chain(states).collect();
            return (CallOutcome::Overdue(limits.join(" and ")), None);
        }
        (how, cause)
    }

    /// Returns when the call is wanted no more.
    async fn unwanted(&self, task: &str, live: bool) -> Cause {
        let mut status = self.slot.status.subscribe();
        loop {
            let wanted = {
                let pipeline = status.borrow_and_update();
                let todo = pipeline.as_ref().map(|it| it.life.todo());
                if live { todo == Some(Todo::Live) } else { todo == Some(Todo::Sync) }
            };
            let canceled = || self.service.store.read(|it| store::task(it, task));
            if !live && canceled().ok().flatten().is_some_and(|task| task.cancel) {
                return Cause::Canceled;
            }
            if !wanted {
                return Cause::Unwanted;
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return Cause::Unwanted },
                () = self.service.ends() => return Cause::Ending,
            }
        }
    }

    /// Returns when this is not to be done any more.
    async fn not_to_be_prepared(&self) {
        let own = if self.action == EngineAction::Setup { Todo::SetUp } else { Todo::TearDown };
        let mut status = self.slot.status.subscribe();
        let other = status.wait_for(|it| it.as_ref().is_none_or(|it| it.life.todo() != own));
        tokio::select! {
            _ = other => {}
            () = self.service.ends() => {}
        }
    }

    /// Sets up or tears down; `None`: it is not to be done any more.
    pub async fn prepare(self) -> Option<Prepared> {
        let stop = Notify::new();
        let known = self.known;
        let mut lines = WholeLines::default();
        let mut ingest = Ingest::default();
        let (mut source, mut destination) = (None, None);
        let mut failed: Option<String> = None;
        let mut each = |line: &[u8]| {
            let masked = known.masked(line);
            let _ = self.slot.log.append(&[&masked, &b"\n"[..]].concat());
            ingest.push(&[&masked, &b"\n"[..]].concat());
            let Ok(mut message) = serde_json::from_slice::<Value>(line) else { return };
            let mut control = |name: &str| message.pointer_mut(&format!("/control/{name}")).map(Value::take);
            source = control("source_config").or(source.take());
            destination = control("destination_config").or(destination.take());
            let text = |path: &str| message.pointer(path).and_then(Value::as_str);
            if text("/log/level") == Some("error") || text("/connection_status/status") == Some("failed") {
                let why = text("/connection_status/message").or(text("/log/message")).unwrap_or("it failed");
                failed.get_or_insert_with(|| known.mask(why));
            }
        };
        let call = self.service.engines.call(self.ask(), &stop, |bytes| {
            lines.push(bytes, &mut each);
            ControlFlow::Continue(())
        });
        let how = tokio::select! {
            how = call => how,
            // Something else is wanted meanwhile, or it takes too long.
            () = self.not_to_be_prepared() => return None,
            () = tokio::time::sleep(LONGEST_PREPARATION) => CallOutcome::Overdue(format!("{} s", LONGEST_PREPARATION.as_secs())),
        };
        // The last line may be without its newline.
        lines.finish(|line, _| each(line));
        if let Some(why) = failed {
            let kind = synctop_core::protocol::error_text::http_status(&why).map(FailureType::of_status);
            return Some(Prepared::Failed(why, kind));
        }
        let standing = synctop_core::reduce::standing(&ingest.progress).first().map(|group| {
            let kind = group.failure_type.as_deref().map(FailureType::from);
            (group.message.to_string(), kind)
        });
        if let Some((why, kind)) = standing {
            return Some(Prepared::Failed(why, kind));
        }
        Some(match how {
            CallOutcome::Ended => Prepared::Well(source, destination),
            CallOutcome::Stopped => return None,
            how => {
                let kind = match &how {
                    CallOutcome::Refused { status, .. } => Some(FailureType::of_status(*status)),
                    CallOutcome::Page(_) => Some(FailureType::Config),
                    CallOutcome::Exited(_) => None,
                    _ => Some(FailureType::Transient),
                };
                Prepared::Failed(known.mask(&how.words()), kind)
            }
        })
    }
}
