//! Runs of a service that has no tasks (the published one): each is a call that lasts as long as its answer, and who leaves loses it.

use super::client::{Ask, Client, Trouble};
use crate::net::{Ingest, fresh};
use crate::progress::{Outcome, Progress, outcome};
use crate::protocol::Decoder;
use reqwest::Method;
use std::io::Write;
use std::time::Duration;

/// The longest silence of a call: the published engine is silent for half a minute between retries.
const SILENCE: Duration = Duration::from_secs(120);

/// Calls that say "more" without bringing anything.
const FRUITLESS: u32 = 5;

/// Calls until nothing is left. `seen` looks at what is known after each piece; `keep` gets all that came.
///
/// # Errors
/// Why a call came to no end.
pub async fn until_over(
    client: &Client,
    id: &str,
    fresh_run: bool,
    mut keep: Option<&mut std::fs::File>,
    seen: &mut impl FnMut(&Progress),
) -> Result<Progress, Trouble> {
    let mut ingest = Ingest::new(Decoder::default());
    let run_id = fresh("run");
    let mut fruitless = 0;
    loop {
        let before = ingest.progress.checkpoints;
        let mut ask = Ask { within: SILENCE, ..Ask::of(Method::POST, &["pipelines", id, "sync"]) };
        if fresh_run {
            ask = ask.with("run_id", run_id.clone());
        }
        let mut response = client.follow(ask).await?;
        loop {
            match tokio::time::timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    if let Some(keep) = keep.as_deref_mut() {
                        keep.write_all(&bytes)
                            .map_err(|error| Trouble::Broke(format!("the log cannot be kept: {error}")))?;
                    }
                    ingest.push(&bytes);
                    seen(&ingest.progress);
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(Trouble::Broke(crate::net::http::cause(&error))),
                Err(_) => return Err(Trouble::Silent(SILENCE)),
            }
        }
        ingest.break_line();
        fruitless = if ingest.progress.checkpoints > before { 0 } else { fruitless + 1 };
        if outcome(&ingest.progress) != Outcome::CutOff || fruitless >= FRUITLESS {
            ingest.finish(None);
            return Ok(ingest.progress);
        }
    }
}
