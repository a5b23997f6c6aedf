//! Runs of a service without tasks (the published one): each call lasts as long as its response,
//! and a client that disconnects cannot find the run again.

use crate::net::client::http::{Client, ClientError, ServiceRequest, chunk};
use crate::util::sys::random_id;
use reqwest::Method;
use serde_json::Value;
use std::io::Write;
use std::time::Duration;
use synctop_core::protocol::{Decoder, LineFramer, mask};
use synctop_core::reduce::Reducer;
use synctop_core::reduce::{Outcome, Progress, outcome};

/// Maximum silence of a call: the published engine is silent for half a minute between retries.
const MAX_SILENCE: Duration = Duration::from_secs(120);

/// Consecutive cut-off calls without a new checkpoint after which the run is given up.
const MAX_CALLS_WITHOUT_PROGRESS: u32 = 5;

/// Calls the service until a call is not cut off. `seen` receives the progress after each chunk;
/// the masked output is appended to `keep`. `fresh_run` starts a new run.
///
/// # Errors
/// Returns the error of a call, or [`ClientError::Broke`] if `keep` cannot be written.
pub async fn call_until_done(
    client: &Client,
    id: &str,
    fresh_run: bool,
    mut keep: Option<&mut std::fs::File>,
    seen: &mut impl FnMut(&Progress),
) -> Result<Progress, ClientError> {
    let mut reducer = Reducer::new(Decoder::default());
    let run_id = random_id("run");
    let mut without_progress = 0;
    let mut kept = MaskingWriter::default();
    loop {
        let before = reducer.progress.counters.checkpoints;
        let mut ask =
            ServiceRequest { within: MAX_SILENCE, ..ServiceRequest::of(Method::POST, &["pipelines", id, "sync"]) };
        if fresh_run {
            ask = ask.with("run_id", run_id.clone());
        }
        let mut response = client.follow(ask).await?;
        let ended = loop {
            match chunk(&mut response, MAX_SILENCE).await {
                Ok(Some(bytes)) => {
                    if let Some(keep) = keep.as_deref_mut() {
                        kept.push(&bytes, keep).map_err(write_error)?;
                    }
                    reducer.push(&bytes);
                    seen(&reducer.progress);
                }
                ended => break ended,
            }
        };
        // The last line may lack its newline.
        reducer.break_line(|_| {});
        if let Some(keep) = keep.as_deref_mut() {
            kept.finish(keep).map_err(write_error)?;
        }
        ended?;
        without_progress = if reducer.progress.counters.checkpoints > before { 0 } else { without_progress + 1 };
        if outcome(&reducer.progress) != Outcome::CutOff || without_progress >= MAX_CALLS_WITHOUT_PROGRESS {
            reducer.finish(None);
            return Ok(reducer.progress);
        }
    }
}

/// Writer that masks secrets line by line: the published engine prints its configuration with keys.
#[derive(Default)]
struct MaskingWriter {
    framer: LineFramer,
}

impl MaskingWriter {
    fn push(&mut self, bytes: &[u8], to: &mut std::fs::File) -> std::io::Result<()> {
        let lines = self.framer.take_complete(bytes);
        lines.split_inclusive(|byte| *byte == b'\n').try_for_each(|line| to.write_all(&masked(line)))
    }

    fn finish(&mut self, to: &mut std::fs::File) -> std::io::Result<()> {
        if self.framer.pending() == 0 { Ok(()) } else { self.push(b"\n", to) }
    }
}

fn write_error(error: std::io::Error) -> ClientError {
    ClientError::Broke(format!("the log cannot be written: {error}"))
}

/// Returns a line without secrets. Lines with a state stay unchanged.
fn masked(line: &[u8]) -> Vec<u8> {
    let contains = |word: &str| memchr::memmem::find(line, word.as_bytes()).is_some();
    // A cursor in the state of a source may look like a token, and must stay usable.
    if contains("\"source_state\"") || contains("\"ending_state\"") || contains("\"eof\"") {
        return line.to_vec();
    }
    if let Ok(mut value) = serde_json::from_slice::<Value>(line) {
        mask::json(&mut value);
        return (value.to_string() + "\n").into_bytes();
    }
    mask::secrets(&String::from_utf8_lossy(line)).into_owned().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_saved_output_of_a_call_contains_no_key() {
        let control = br#"{"type":"control","control":{"source_config":{"api_key":"sk_test_fake_ok","n":1}}}"#;
        let state = br#"{"type":"source_state","source_state":{"data":{"token":"next"}}}"#;
        let mut file = tempfile::tempfile().unwrap();
        let mut kept = MaskingWriter::default();
        kept.push(&control[..40], &mut file).unwrap();
        kept.push(&[&control[40..], b"\n", state].concat(), &mut file).unwrap();
        kept.finish(&mut file).unwrap();
        let mut text = String::new();
        std::io::Seek::rewind(&mut file).unwrap();
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        assert!(!text.contains("fake_ok") && text.contains("\"n\":1") && text.contains("\"token\":\"next\""), "{text}");
    }
}
