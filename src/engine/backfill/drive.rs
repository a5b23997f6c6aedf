//! Calls an engine as `backfill.rs` decides, and forwards its answers.

use crate::engine::backfill::retry_loop::{Backfill, BackfillResult, Next};
use crate::engine::backfill::state_file;
use crate::engine::raw_json::{Fields, raw};
use crate::net::source::engine_http;
use crate::util::sys::{jitter, now, random_id};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;
use synctop_core::ResultClass;
use synctop_core::format::duration;
use tokio::sync::Notify;

/// Receiver of the output of a backfill.
pub trait OutputSink {
    /// Receives bytes of an answer as they arrive. Returns `Break` if the reader has exited.
    fn bytes(&mut self, bytes: &[u8]) -> ControlFlow<()>;

    /// Receives a message about the calls that is not part of an answer.
    fn notice(&mut self, text: &str);

    /// Receives the reason that no bytes arrive until the next call.
    fn down(&mut self, why: &str);
}

/// Options of the calls.
pub struct Drive {
    /// Address of the engine's route.
    pub url: reqwest::Url,
    /// Maximum silence of an answer; `None` is unlimited.
    pub stall: Option<Duration>,
    /// State file.
    pub state: Option<PathBuf>,
    /// Makes a single call, regardless of its result.
    pub once: bool,
    /// Each call returns only an end message, as one JSON object.
    pub batch: bool,
}

/// Calls the engine until nothing is left to read or the run fails for good. Stores the state after
/// each call. `stop` ends the run early.
///
/// # Errors
/// Returns the I/O error if the state cannot be stored: rows would be read again.
pub async fn drive(
    drive: &Drive,
    run: &mut Backfill,
    sink: &mut dyn OutputSink,
    stop: &Notify,
) -> io::Result<BackfillResult> {
    let client = match engine_http::client(&drive.url, None) {
        Ok(client) => client,
        Err(error) => {
            let why = format!("an https address cannot be trusted here: {error}");
            return Ok(BackfillResult::failed(ResultClass::Output, why));
        }
    };
    let mut url = drive.url.clone();
    url.query_pairs_mut().extend_pairs(run.query());
    let mut ignored = false;
    sink.notice(&match run.attempts {
        0 => format!("run {}", run.run_id()),
        1 => format!("run {} continues after 1 call", run.run_id()),
        before => format!("run {} continues after {before} calls", run.run_id()),
    });
    loop {
        let body = run.begin();
        log_risk(run, sink);
        let mut last = b'\n';
        let mut store_error = None;
        let mut answer = Vec::new();
        let mut is_stored = drive.state.is_none() || run.attempts > 1;
        let outcome = engine_http::call(&client, url.clone(), body, drive.stall, stop, |bytes| {
            if !std::mem::replace(&mut is_stored, true) {
                // Stores the run id early, so that a process killed in its first call continues
                // the same run.
                let missing = drive.state.as_ref().filter(|path| !path.exists());
                store_error = missing.and_then(|path| state_file::write(path, &run.to_stored_state()).err());
            }
            if drive.batch {
                // The object can be parsed only once it is complete.
                answer.extend_from_slice(bytes);
                return if answer.len() > MAX_END_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            }
            run.push(bytes);
            last = bytes.last().copied().unwrap_or(last);
            sink.bytes(bytes)
        })
        .await;
        if answer.len() > MAX_END_BYTES {
            let why = format!("its answer is longer than {} MB, the maximum of an end message", MAX_END_BYTES >> 20);
            return Ok(BackfillResult::failed(ResultClass::Unfinished, why));
        }
        if drive.batch && matches!(outcome, crate::net::source::engine_http::CallOutcome::Ended) {
            let line = end_line(&answer);
            run.push(&line);
            let _ = sink.bytes(&line);
        }
        if let Some(error) = store_error {
            return Err(error);
        }
        run.cut();
        if last != b'\n' {
            // Prevents the next answer from continuing this line.
            let _ = sink.bytes(b"\n");
        }
        let next = run.over(&outcome, jitter());
        log_risk(run, sink);
        if run.limit_ignored() && !std::mem::replace(&mut ignored, true) {
            sink.notice("this engine ignores --state-limit on /pipeline_sync; --batch calls the route that knows it");
        }
        if let Some(path) = drive.state.as_ref().filter(|path| run.has_state() || path.exists()) {
            state_file::write(path, &run.to_stored_state())?;
        }
        match next {
            Next::Done(result) => return Ok(result),
            // A single call needs no further call: its own end message is the result.
            Next::Again(..) if drive.once => return Ok(BackfillResult::Through),
            Next::Again(wait, why) => {
                if let Some(why) = why {
                    let millis = u64::try_from(wait.as_millis()).unwrap_or(0);
                    sink.down(&format!("{why}; calling again in {}", duration(millis / 100 * 100)));
                }
                tokio::select! {
                    biased;
                    () = stop.notified() => return Ok(BackfillResult::Stopped),
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// Maximum bytes of an end message that is returned as one JSON object.
const MAX_END_BYTES: usize = 64 << 20;

/// Logs the streams at risk when they change.
fn log_risk(run: &mut Backfill, sink: &mut dyn OutputSink) {
    if let Some(line) = run.risk_line(now()) {
        let _ = sink.bytes(line.as_bytes());
    }
}

/// Converts the end of a batch call (a bare `EofPayload`) to the line that ends `/pipeline_sync`.
fn end_line(answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    match serde_json::from_str::<Fields>(&text) {
        Ok(end) if !end.contains_key("type") => {
            let line = Fields::from([("type".to_owned(), raw(&"eof")), ("eof".to_owned(), raw(&end))]);
            [raw(&line).get().as_bytes(), b"\n"].concat()
        }
        _ => [answer, b"\n"].concat(),
    }
}

/// Returns a random id for a new run.
#[must_use]
pub fn new_run_id() -> String {
    random_id("run")
}
