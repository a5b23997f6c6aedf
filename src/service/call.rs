//! One call of an engine for a pipeline: passes the output to the log, the reducer and the state;
//! stops at a checkpoint on request.

use crate::engine::backfill::retry_loop::Backfill;
use crate::engine::failure_type::FailureType;
use crate::net::source::engine_http::CallOutcome;
use crate::service::bounded_lines::{BoundedLines, skipped_line};
use crate::service::engine_action::EngineAction;
use crate::service::engines::EngineCall;
use crate::service::lifecycle::Todo;
use crate::service::log::Piece;
use crate::service::model::{StoredPipeline, Task};
use crate::service::problem::Problem;
use crate::service::registry::Service;
use crate::service::secrets::KnownSecrets;
use crate::service::slot::Slot;
use crate::service::transitions::wait_until;
use crate::util::sys::{lock, now};
use serde_json::Value;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synctop_core::protocol::{Decoder, Millis};
use synctop_core::reduce::Progress;
use synctop_core::reduce::Reducer;
use synctop_core::report::verdict;
use tokio::sync::Notify;

/// Minimum interval between published states of a run.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);

/// Timeout of setup and teardown.
const PREPARATION_TIMEOUT: Duration = Duration::from_secs(600);

/// Maximum bytes per read of a log.
const CHUNK: usize = 256 * 1024;

/// Reason that a call was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The pipeline is no longer desired to sync.
    Unwanted,
    Canceled,
    /// The run exceeds the maximum of its schedule.
    Overlong,
    /// The service shuts down.
    Ending,
}

/// Reduced state of a run, published as its output arrives.
pub(super) struct CallProgress {
    slot: Arc<Slot>,
    reducer: Reducer,
    /// Checkpoints of the pipeline that the reduced lines do not include.
    before: u64,
    /// Task id of the run; `None` for a call with live events.
    task: Option<String>,
    /// True if the state changed since it was last published.
    dirty: bool,
}

impl CallProgress {
    /// Creates the state of a run, before its log is read.
    pub fn of_run(slot: &Arc<Slot>, task: &Task) -> Self {
        Self::new(slot, task.checkpoints_before, Some(task.id.clone()))
    }

    /// Creates the state of a call with live events, which belongs to no run.
    pub fn of_live_events(slot: &Arc<Slot>, before: u64) -> Self {
        Self::new(slot, before, None)
    }

    fn new(slot: &Arc<Slot>, before: u64, task: Option<String>) -> Self {
        Self { slot: Arc::clone(slot), reducer: Reducer::new(Decoder::default()), before, task, dirty: false }
    }

    /// Raises the checkpoints to the stored count, which includes those of pruned log segments.
    pub fn raise_checkpoints_to(&mut self, checkpoints: u64) {
        self.before += checkpoints.saturating_sub(self.checkpoints());
    }

    /// Returns the total checkpoints of the pipeline.
    pub fn checkpoints(&self) -> u64 {
        self.before + self.reducer.progress.counters.checkpoints
    }

    /// Returns a copy of the reduced state.
    pub fn progress(&self) -> Progress {
        self.reducer.progress.clone()
    }

    /// Returns the outcome as a sentence.
    pub fn headline(&self) -> String {
        let mut progress = self.progress();
        progress.close(None);
        verdict(&progress).headline.to_string()
    }

    /// Reduces output of the engine.
    fn take_output(&mut self, lines: &[u8]) {
        self.slot.moved_at.store(now(), Ordering::Relaxed);
        self.take(lines);
    }

    fn take(&mut self, lines: &[u8]) {
        self.reducer.push(lines);
        self.dirty = true;
    }

    /// Appends a line of the service to the log and reduces it.
    ///
    /// # Errors
    /// Returns the error of the log file.
    pub fn append_line(&mut self, line: &str) -> std::io::Result<()> {
        self.slot.log.append(line.as_bytes())?;
        self.take(line.as_bytes());
        self.publish();
        Ok(())
    }

    /// Publishes the current state, which covers the log up to its end.
    pub fn publish(&self) {
        // Another node may have taken over.
        if self.slot.fence().is_none() {
            return;
        }
        let checkpoints = self.checkpoints();
        let position = self.slot.log.end();
        self.slot.facts.send_modify(|facts| {
            facts.checkpoints = checkpoints;
            if self.task.is_some() {
                facts.task.clone_from(&self.task);
                facts.progress = Some(Arc::new(self.reducer.progress.clone()));
                facts.position = position;
            }
        });
        self.slot.note_facts();
    }

    /// Reduces a run's part of the log.
    pub async fn read_log(&mut self, from: u64, to: Option<u64>) -> Result<(), Problem> {
        let mut reader = self.slot.log.reader(from);
        let slot = Arc::clone(&self.slot);
        loop {
            let room =
                to.map_or(CHUNK, |to| usize::try_from(to.saturating_sub(reader.at())).unwrap_or(CHUNK).min(CHUNK));
            if room == 0 {
                break;
            }
            match reader.next(room).await.map_err(|error| unreadable(&slot, &error))? {
                // A long read must not block other tasks of the runtime.
                Piece::Bytes(bytes) => tokio::task::block_in_place(|| self.take(&bytes)),
                Piece::Gone(at) => {
                    self.reducer.break_line(|_| {});
                    reader.seek(at);
                }
                Piece::End => break,
            }
        }
        Ok(())
    }

    /// Passes the log from a position on to a `Backfill`.
    pub async fn replay(&self, from: u64, run: &mut Backfill) -> Result<(), Problem> {
        let mut reader = self.slot.log.reader(from);
        loop {
            match reader.next(CHUNK).await.map_err(|error| unreadable(&self.slot, &error))? {
                Piece::Bytes(bytes) => run.push(&bytes),
                Piece::End => return Ok(()),
                Piece::Gone(_) => {
                    let error = std::io::Error::other("a part of it is no longer stored");
                    return Err(unreadable(&self.slot, &error));
                }
            }
        }
    }
}

/// Sleeps for this time; `None` never returns.
async fn sleep_for(seconds: Option<f64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds)).await,
        None => std::future::pending().await,
    }
}

fn unreadable(slot: &Slot, error: &std::io::Error) -> Problem {
    Problem::new(500, "log_unreadable", format!("the log of pipeline {} cannot be read: {error}", slot.id))
}

/// Call of an engine for a pipeline.
pub(super) struct RunCall<'c> {
    pub service: &'c Arc<Service>,
    pub slot: &'c Arc<Slot>,
    pub pipeline: &'c Arc<StoredPipeline>,
    /// Secrets that are masked in the output.
    pub known: &'c KnownSecrets,
    pub action: EngineAction,
    pub body: String,
    /// Limits that are sent to the engine: seconds and checkpoints.
    pub limits: (Option<f64>, Option<u64>),
    /// Time at which the run exceeds the maximum of its schedule.
    pub overlong_at: Option<Millis>,
}

impl RunCall<'_> {
    fn engine_call(&self) -> EngineCall<'_> {
        EngineCall {
            pipeline: &self.slot.id,
            engine: self.pipeline.config.engine(),
            action: self.action,
            body: self.body.clone(),
            known: self.known,
        }
    }

    /// Syncs, and returns the outcome of the call and the reason if it was stopped. An empty `task`
    /// is a call with live events.
    pub async fn sync(
        self,
        run: &mut Backfill,
        call_progress: &mut CallProgress,
        task: &str,
    ) -> (CallOutcome, Option<StopReason>) {
        let known = self.known;
        let stop = Notify::new();
        let stopping = AtomicBool::new(false);
        let live = task.is_empty();
        let call_progress = Mutex::new(call_progress);
        let mut lines = BoundedLines::default();
        let (mut masked, mut whole) = (Vec::new(), Vec::new());
        let mut log_error = None;
        // An engine that ignores a limit is stopped at the next checkpoint after twice the limit.
        let (time, states) = self.limits;
        let mut states_left = states.map(|limit| limit.saturating_mul(2));
        let overdue = AtomicBool::new(false);
        let call = self.service.engines.call(self.engine_call(), &stop, |bytes| {
            masked.clear();
            whole.clear();
            let mut checkpoints_seen = 0;
            let skipped = lines.push(bytes, |line| {
                whole.extend_from_slice(line);
                whole.push(b'\n');
                masked.extend_from_slice(&known.masked(line));
                masked.push(b'\n');
                checkpoints_seen += u64::from(memchr::memmem::find(line, b"\"source_state\"").is_some());
            });
            run.push(&whole);
            if skipped > 0 {
                masked.extend_from_slice(skipped_line(skipped).as_bytes());
            }
            if let Err(error) = self.slot.log.append(&masked) {
                log_error = Some(format!("the log of the run cannot be written: {error}"));
                return ControlFlow::Break(());
            }
            lock(&call_progress).take_output(&masked);
            if let Some(left) = &mut states_left {
                *left = left.saturating_sub(checkpoints_seen);
                if *left == 0 {
                    overdue.store(true, Ordering::Relaxed);
                    stopping.store(true, Ordering::Relaxed);
                }
            }
            if checkpoints_seen > 0 && stopping.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let mut stop_reason = None;
        let call_outcome = {
            let watch = async {
                tokio::select! {
                    why = self.wait_for_stop(task, live) => stop_reason = Some(why),
                    () = sleep_for(time.map(|limit| limit * 2.0)) => overdue.store(true, Ordering::Relaxed),
                }
                stopping.store(true, Ordering::Relaxed);
                tokio::time::sleep(self.service.config.calls.grace).await;
                stop.notify_one();
                std::future::pending::<()>().await;
            };
            let publish = async {
                loop {
                    tokio::time::sleep(PUBLISH_INTERVAL).await;
                    let mut call_progress = lock(&call_progress);
                    if std::mem::take(&mut call_progress.dirty) {
                        call_progress.publish();
                    }
                }
            };
            tokio::select! {
                call_outcome = call => call_outcome,
                () = watch => CallOutcome::Stopped,
                () = publish => CallOutcome::Stopped,
            }
        };
        masked.clear();
        lines.finish(|line| {
            run.push(line);
            // The newline separates an incomplete line from the next one.
            masked.extend_from_slice(&known.masked(line));
            masked.push(b'\n');
        });
        let _ = self.slot.log.append(&masked);
        let mut call_progress = lock(&call_progress);
        call_progress.take_output(&masked);
        call_progress.publish();
        if let Some(why) = log_error {
            return (CallOutcome::Broke(why), None);
        }
        // A call that ended by itself has no stop reason.
        let stopped = matches!(call_outcome, CallOutcome::Stopped);
        let stop_reason = stop_reason.filter(|_| stopped);
        if stopped && stop_reason.is_none() && overdue.load(Ordering::Relaxed) {
            let time = time.map(|limit| format!("{limit} s"));
            let states = states.map(|limit| format!("{limit} checkpoints"));
            let limits: Vec<_> = time.into_iter().chain(states).collect();
            return (CallOutcome::Overdue(limits.join(" and ")), None);
        }
        (call_outcome, stop_reason)
    }

    /// Waits until the call has to stop, and returns the reason.
    async fn wait_for_stop(&self, task: &str, live: bool) -> StopReason {
        let mut status = self.slot.status.subscribe();
        loop {
            let wanted = {
                let pipeline = status.borrow_and_update();
                let todo = pipeline.as_ref().map(|it| it.life.todo());
                if live { todo == Some(Todo::Live) } else { todo == Some(Todo::Sync) }
            };
            if !live {
                let id = task.to_owned();
                let found = self.service.store.read(move |it| it.task(&id)).await;
                if found.ok().flatten().is_some_and(|task| task.cancel) {
                    return StopReason::Canceled;
                }
            }
            if !wanted {
                return StopReason::Unwanted;
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return StopReason::Unwanted },
                () = self.slot.ends() => return StopReason::Ending,
                () = wait_until(self.overlong_at.unwrap_or(Millis::MAX)) => {
                    if self.overlong_at.is_some_and(|at| now() >= at) {
                        return StopReason::Overlong;
                    }
                }
            }
        }
    }

    /// Waits until another transition is due or the service shuts down.
    async fn wait_until_obsolete(&self) {
        let own = if self.action == EngineAction::Setup { Todo::SetUp } else { Todo::TearDown };
        let mut status = self.slot.status.subscribe();
        let other = status.wait_for(|it| it.as_ref().is_none_or(|it| it.life.todo() != own));
        tokio::select! {
            _ = other => {}
            () = self.slot.ends() => {}
        }
    }

    /// Sets up or tears down; `None` if another transition is due or the service shuts down.
    pub async fn prepare(self) -> Option<PreparationResult> {
        let stop = Notify::new();
        let known = self.known;
        let mut lines = BoundedLines::default();
        let mut reducer = Reducer::default();
        let (mut source, mut destination) = (None, None);
        let mut failed: Option<String> = None;
        let mut each = |line: &[u8]| {
            let masked = known.masked(line);
            let _ = self.slot.log.append(&[&masked, &b"\n"[..]].concat());
            reducer.push(&[&masked, &b"\n"[..]].concat());
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
        let call = self.service.engines.call(self.engine_call(), &stop, |bytes| {
            let skipped = lines.push(bytes, &mut each);
            if skipped > 0 {
                let _ = self.slot.log.append(skipped_line(skipped).as_bytes());
            }
            ControlFlow::Continue(())
        });
        let call_outcome = tokio::select! {
            call_outcome = call => call_outcome,
            () = self.wait_until_obsolete() => return None,
            () = tokio::time::sleep(PREPARATION_TIMEOUT) => CallOutcome::Overdue(format!("{} s", PREPARATION_TIMEOUT.as_secs())),
        };
        // The last line may have no newline.
        lines.finish(each);
        if let Some(why) = failed {
            let kind = synctop_core::protocol::error_text::http_status(&why).map(FailureType::of_status);
            return Some(PreparationResult::Failed(why, kind));
        }
        let standing = synctop_core::reduce::standing(&reducer.progress).first().map(|group| {
            let kind = group.failure_type.as_deref().map(FailureType::from);
            (group.message.to_string(), kind)
        });
        if let Some((why, kind)) = standing {
            return Some(PreparationResult::Failed(why, kind));
        }
        Some(match call_outcome {
            CallOutcome::Ended => PreparationResult::Succeeded(source, destination),
            CallOutcome::Stopped => return None,
            call_outcome => {
                let kind = match &call_outcome {
                    CallOutcome::Refused { status, .. } => Some(FailureType::of_status(*status)),
                    CallOutcome::Page(_) => Some(FailureType::Config),
                    CallOutcome::Exited(_) => None,
                    _ => Some(FailureType::Transient),
                };
                PreparationResult::Failed(known.mask(&call_outcome.to_string()), kind)
            }
        })
    }
}

/// Result of setup or teardown.
pub enum PreparationResult {
    /// New fields of the source and of the destination configuration.
    Succeeded(Option<Value>, Option<Value>),
    Failed(String, Option<FailureType>),
}
