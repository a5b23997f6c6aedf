//! Calls an engine as `backfill.rs` decides, and passes its answers on.

use super::backfill::{Backfill, BackfillResult, Next};
use super::raw_json::{Fields, raw};
use super::state;
use crate::net::{http, jitter, now, random_id};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;
use synctop_core::format::duration;
use tokio::sync::Notify;

/// Receiver of the output.
pub trait Taker {
    /// Bytes of an answer, as they arrive. `Break`: the reader is gone.
    fn bytes(&mut self, bytes: &[u8]) -> ControlFlow<()>;

    /// Something about the calls that is not in their answers.
    fn notice(&mut self, text: &str);

    /// Nothing comes until the next call, and why.
    fn down(&mut self, why: &str);
}

/// Target of the calls, and the maximum silence.
pub struct Drive {
    pub url: reqwest::Url,
    pub stall: Option<Duration>,
    pub state: Option<PathBuf>,
    /// One call, whatever comes of it.
    pub once: bool,
    /// The calls answer one end as a JSON object.
    pub batch: bool,
}

/// Calls until nothing is left, or it is given up. The state is kept after each call. `stop` ends
/// it early.
///
/// # Errors
/// If the state cannot be stored: rows would be read again.
pub async fn drive(
    drive: &Drive,
    run: &mut Backfill,
    taker: &mut dyn Taker,
    stop: &Notify,
) -> io::Result<BackfillResult> {
    let client = match http::client(&drive.url) {
        Ok(client) => client,
        Err(error) => {
            let next = "Install the system's certificates (ca-certificates), or name a file of them in SSL_CERT_FILE";
            return Ok(BackfillResult::Failed(format!("an https address cannot be trusted here: {error}. {next}"), 70));
        }
    };
    let mut url = drive.url.clone();
    url.query_pairs_mut().extend_pairs(run.query());
    let mut ignored = false;
    taker.notice(&match run.attempts {
        0 => format!("run {}", run.run_id()),
        1 => format!("run {} goes on after 1 call", run.run_id()),
        before => format!("run {} goes on after {before} calls", run.run_id()),
    });
    loop {
        let body = run.begin();
        say_risk(run, taker);
        let mut last = b'\n';
        let mut unkept = None;
        let mut answer = Vec::new();
        let mut kept = drive.state.is_none() || run.attempts > 1;
        let how = http::call(&client, url.clone(), body, drive.stall, stop, |bytes| {
            if !std::mem::replace(&mut kept, true) {
                // The run has begun, and is the same run also for who is killed in its first call.
                let begun = drive.state.as_ref().filter(|path| !path.exists());
                unkept = begun.and_then(|path| state::write(path, &run.to_keep()).err());
            }
            if drive.batch {
                // One object, which is a message only when it is whole.
                answer.extend_from_slice(bytes);
                return if answer.len() > LARGEST_END { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            }
            run.push(bytes);
            last = bytes.last().copied().unwrap_or(last);
            taker.bytes(bytes)
        })
        .await;
        if answer.len() > LARGEST_END {
            let why = format!("its answer is longer than {} MB, which is no end message", LARGEST_END >> 20);
            return Ok(BackfillResult::Failed(why, 2));
        }
        if drive.batch && matches!(how, http::CallOutcome::Ended) {
            let line = end_line(&answer);
            run.push(&line);
            let _ = taker.bytes(&line);
        }
        if let Some(error) = unkept {
            return Err(error);
        }
        run.cut();
        if last != b'\n' {
            // The next answer does not go on with this line.
            let _ = taker.bytes(b"\n");
        }
        let next = run.over(&how, jitter());
        say_risk(run, taker);
        if run.limit_ignored() && !std::mem::replace(&mut ignored, true) {
            taker.notice("this engine ignores --state-limit on /pipeline_sync; --batch calls the route that knows it");
        }
        if let Some(path) = drive.state.as_ref().filter(|path| run.has_state() || path.exists()) {
            state::write(path, &run.to_keep())?;
        }
        match next {
            Next::Done(verdict) => {
                return Ok(verdict);
            }
            // More, or nothing new: of one call its own end is the answer.
            Next::Again(..) if drive.once => return Ok(BackfillResult::Through),
            Next::Again(wait, why) => {
                if let Some(why) = why {
                    let millis = u64::try_from(wait.as_millis()).unwrap_or(0);
                    taker.down(&format!("{why}; calling again in {}", duration(millis / 100 * 100)));
                }
                tokio::select! {
                    biased;
                    () = stop.notified() => return Ok(BackfillResult::Failed("stopped".into(), 2)),
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// Bytes of an end that is answered as one object.
const LARGEST_END: usize = 64 << 20;

/// Logs the streams at risk when they change.
fn say_risk(run: &mut Backfill, taker: &mut dyn Taker) {
    if let Some(line) = run.risk_line(now()) {
        let _ = taker.bytes(line.as_bytes());
    }
}

/// The end of a batch call (a bare `EofPayload`) as the line that `/pipeline_sync` ends with.
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

/// The name of a new run.
#[must_use]
pub fn fresh_id() -> String {
    random_id("run")
}
