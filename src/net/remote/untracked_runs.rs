//! Runs of a service without tasks (the published one): each run is one call that lasts as long as
//! its response; a client that disconnects loses it.

use super::client::{Ask, Client, ClientError, chunk};
use crate::net::{Ingest, random_id};
use reqwest::Method;
use serde_json::Value;
use std::io::Write;
use std::time::Duration;
use synctop_core::protocol::{Decoder, mask};
use synctop_core::reduce::{Outcome, Progress, outcome};

/// The longest silence of a call: the published engine is silent for half a minute between retries.
const SILENCE: Duration = Duration::from_secs(120);

/// Calls that report "more" without progress.
const FRUITLESS: u32 = 5;

/// Calls until nothing is left. `seen` reads the state after each piece; `keep` receives all
/// output.
///
/// # Errors
/// Why a call came to no end.
pub async fn until_over(
    client: &Client,
    id: &str,
    fresh_run: bool,
    mut keep: Option<&mut std::fs::File>,
    seen: &mut impl FnMut(&Progress),
) -> Result<Progress, ClientError> {
    let mut ingest = Ingest::new(Decoder::default());
    let run_id = random_id("run");
    let mut fruitless = 0;
    let mut kept = Kept::default();
    loop {
        let before = ingest.progress.checkpoints;
        let mut ask = Ask { within: SILENCE, ..Ask::of(Method::POST, &["pipelines", id, "sync"]) };
        if fresh_run {
            ask = ask.with("run_id", run_id.clone());
        }
        let mut response = client.follow(ask).await?;
        let ended = loop {
            match chunk(&mut response, SILENCE).await {
                Ok(Some(bytes)) => {
                    if let Some(keep) = keep.as_deref_mut() {
                        kept.push(&bytes, keep).map_err(unkept)?;
                    }
                    ingest.push(&bytes);
                    seen(&ingest.progress);
                }
                ended => break ended,
            }
        };
        // The last line may have no end, and is one all the same.
        ingest.break_line();
        if let Some(keep) = keep.as_deref_mut() {
            kept.finish(keep).map_err(unkept)?;
        }
        ended?;
        fruitless = if ingest.progress.checkpoints > before { 0 } else { fruitless + 1 };
        if outcome(&ingest.progress) != Outcome::CutOff || fruitless >= FRUITLESS {
            ingest.finish(None);
            return Ok(ingest.progress);
        }
    }
}

/// Whole lines with secrets masked: the published engine prints its configuration with the keys.
#[derive(Default)]
struct Kept {
    partial: Vec<u8>,
}

impl Kept {
    fn push(&mut self, bytes: &[u8], to: &mut std::fs::File) -> std::io::Result<()> {
        self.partial.extend_from_slice(bytes);
        let Some(end) = memchr::memrchr(b'\n', &self.partial).map(|at| at + 1) else { return Ok(()) };
        let rest = self.partial.split_off(end);
        for line in std::mem::replace(&mut self.partial, rest).split_inclusive(|byte| *byte == b'\n') {
            to.write_all(&masked(line))?;
        }
        Ok(())
    }

    fn finish(&mut self, to: &mut std::fs::File) -> std::io::Result<()> {
        if self.partial.is_empty() { Ok(()) } else { self.push(b"\n", to) }
    }
}

fn unkept(error: std::io::Error) -> ClientError {
    ClientError::Broke(format!("the log cannot be kept: {error}"))
}

fn masked(line: &[u8]) -> Vec<u8> {
    let says = |word: &str| memchr::memmem::find(line, word.as_bytes()).is_some();
    // Fields of the source's own; a position in them may look like a token.
    if says("\"source_state\"") || says("\"ending_state\"") || says("\"eof\"") {
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
    fn what_is_kept_of_a_call_has_no_key_in_it() {
        let control = br#"{"type":"control","control":{"source_config":{"api_key":"sk_test_fake_ok","n":1}}}"#;
        let state = br#"{"type":"source_state","source_state":{"data":{"token":"next"}}}"#;
        let mut file = tempfile::tempfile().unwrap();
        let mut kept = Kept::default();
        kept.push(&control[..40], &mut file).unwrap();
        kept.push(&[&control[40..], b"\n", state].concat(), &mut file).unwrap();
        kept.finish(&mut file).unwrap();
        let mut text = String::new();
        std::io::Seek::rewind(&mut file).unwrap();
        std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        assert!(!text.contains("fake_ok") && text.contains("\"n\":1") && text.contains("\"token\":\"next\""), "{text}");
    }
}
