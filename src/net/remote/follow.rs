//! Run of one pipeline as a feed: its live output, if the service streams it; otherwise its state
//! after each change.

use super::client::{Ask, Capabilities, Client, ClientError, chunk};
use crate::net::{Event, jitter, now};
use memchr::memmem;
use serde_json::Value;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime};
use synctop_core::backoff::Backoff;
use synctop_core::fleet::Pipeline;

/// Seconds between two signs of life that the service is asked for, and the silence after which the
/// connection is taken for dead.
const HEARTBEAT: u64 = 5;
const DEAD: Duration = Duration::from_secs(3 * HEARTBEAT);

/// Default interval of reading a state.
const EVERY: Duration = Duration::from_secs(5);

/// Bytes of a line that are waited for.
const LONGEST_LINE: usize = 64 << 20;

/// Emitter of lines that are not an engine's.
const SERVICE: &str = "\"_emitted_by\":\"synctop/service\"";

/// The reader is gone.
struct Gone;

/// Follows the pipeline until the reader is gone or the pipeline is deleted.
pub async fn follow(client: Arc<Client>, id: String, capabilities: Capabilities, events: SyncSender<Event>) {
    let _ = if capabilities.events { lines(&client, &id, &events).await } else { states(&client, &id, &events).await };
}

/// Hands on; a reader that is slow makes us wait, and with us the service.
async fn hand_on(events: &SyncSender<Event>, mut event: Event) -> Result<(), Gone> {
    loop {
        match events.try_send(event) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(Gone),
            Err(TrySendError::Full(back)) => event = back,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Position in the events of the service.
#[derive(Default)]
struct Place {
    /// Last reported position, and the number of lines after it: they are repeated with it, and
    /// skipped.
    cursor: Option<String>,
    after: u64,
    skip: u64,
    partial: Vec<u8>,
    back_after: Option<Duration>,
}

impl Place {
    /// Takes received bytes; returns new data for the reader, and notices.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
        self.partial.extend_from_slice(bytes);
        let end = match memchr::memrchr(b'\n', bytes) {
            Some(_) => memchr::memrchr(b'\n', &self.partial).map_or(0, |at| at + 1),
            // A line without an end is handed on in pieces.
            None if self.partial.len() > LONGEST_LINE => self.partial.len(),
            None => return Default::default(),
        };
        let rest = self.partial.split_off(end);
        let whole = std::mem::replace(&mut self.partial, rest);
        let (mut fresh, mut notices) = (Vec::new(), Vec::new());
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            let own = memmem::find(line, SERVICE.as_bytes())
                .map(|_| serde_json::from_slice::<Value>(line).unwrap_or_default());
            let kind = own.as_ref().and_then(|it| it.get("type")).and_then(Value::as_str);
            match (kind, &own) {
                (Some("heartbeat"), Some(own)) => {
                    // It may arrive in the middle of repeated lines: the rest is still skipped.
                    if let Some(cursor) = own.pointer("/heartbeat/cursor").and_then(Value::as_str) {
                        (self.cursor, self.after) = (Some(cursor.to_owned()), 0);
                    }
                    let wait = own.pointer("/heartbeat/reconnect_after_ms").and_then(Value::as_u64);
                    self.back_after = wait.map(Duration::from_millis);
                }
                (Some("gap"), Some(own)) => {
                    let why = own.pointer("/gap/why").and_then(Value::as_str).unwrap_or_default();
                    let bytes = own.pointer("/gap/bytes").and_then(Value::as_u64).unwrap_or(0);
                    notices.push(format!("a gap of {} bytes: {why}", synctop_core::format::count(bytes)));
                    if let Some(cursor) = own.pointer("/gap/to").and_then(Value::as_str) {
                        (self.cursor, self.after, self.skip) = (Some(cursor.to_owned()), 0, 0);
                    }
                }
                // State of the run, made by the service for this reader: it is not in the log.
                (Some("progress" | "eof"), Some(_)) => fresh.extend_from_slice(line),
                _ if self.skip > 0 => {
                    self.skip -= 1;
                    self.after += 1;
                }
                _ => {
                    self.after += 1;
                    fresh.extend_from_slice(line);
                }
            }
        }
        (fresh, notices)
    }

    /// The connection is lost: the next one starts at the last position, and later lines are
    /// repeated.
    fn broke(&mut self) {
        self.partial.clear();
        // Also where it broke before all of that had come again.
        self.skip += std::mem::take(&mut self.after);
    }
}

async fn lines(client: &Client, id: &str, events: &SyncSender<Event>) -> Result<(), Gone> {
    let mut place = Place::default();
    let mut pace = Backoff::default();
    loop {
        let from = place.cursor.clone().unwrap_or_else(|| "run".into());
        let ask = Ask::get(&["pipelines", id, "events"]);
        let ask = ask.with("from", from).with("heartbeat", HEARTBEAT.to_string());
        let trouble = match client.follow(ask).await {
            Ok(mut response) => {
                hand_on(events, Event::CaughtUp(None)).await?;
                loop {
                    match chunk(&mut response, DEAD).await {
                        Ok(Some(bytes)) => {
                            pace.reset();
                            let (fresh, notices) = place.take(&bytes);
                            for notice in notices {
                                hand_on(events, Event::Notice(notice)).await?;
                            }
                            if !fresh.is_empty() {
                                hand_on(events, Event::Bytes(fresh, None)).await?;
                            }
                        }
                        Ok(None) => break ClientError::Broke("the service ended it".into()),
                        Err(trouble) => break trouble,
                    }
                }
            }
            Err(trouble) => trouble,
        };
        place.broke();
        if trouble.absent() {
            hand_on(events, Event::Notice("the pipeline is gone".into())).await?;
            return hand_on(events, Event::End(None)).await;
        }
        if let ClientError::Refused { status: 410, .. } = &trouble {
            // Lines after our position are not stored any more: the current state, and on from
            // there.
            hand_on(events, Event::Notice("a gap: lines in between are not stored any more".into())).await?;
            place = Place { cursor: Some("now".into()), ..Place::default() };
        }
        hand_on(events, Event::Down(trouble.words())).await?;
        let asked = place.back_after.take().or(trouble.retry_after());
        tokio::time::sleep(pace.wait(asked, None, jitter())).await;
    }
}

async fn states(client: &Client, id: &str, events: &SyncSender<Event>) -> Result<(), Gone> {
    let every = client.place.poll.unwrap_or(EVERY);
    let mut pace = Backoff::default();
    let mut before: Option<Pipeline> = None;
    let about = format!("this service has no events: its state is read every {} s", every.as_secs_f64());
    hand_on(events, Event::Notice(about)).await?;
    let mut down = None;
    loop {
        match client.pipeline(id, false).await {
            Ok(told) => match Pipeline::read(told, now(), before.as_ref()) {
                Ok(pipeline) => {
                    pace.reset();
                    let told =
                        pipeline.lines().filter(|lines| before.as_ref().and_then(Pipeline::lines) != Some(lines));
                    match told {
                        Some(lines) => hand_on(events, Event::Bytes(lines.as_bytes().to_vec(), None)).await?,
                        None if before.is_none() => {
                            let text = format!(
                                "it reports {} and no run: none exists, or it reports none",
                                pipeline.status.as_str()
                            );
                            hand_on(events, Event::Notice(text)).await?;
                        }
                        None => {}
                    }
                    // Initial data are as old as the engine's clock shows.
                    let written = pipeline.run.as_ref().and_then(|run| run.ended_at).filter(|_| before.is_none());
                    let written = written.and_then(|at| u64::try_from(at).ok());
                    if down.take().is_some() || before.is_none() {
                        let written = written.map(|at| SystemTime::UNIX_EPOCH + Duration::from_millis(at));
                        hand_on(events, Event::CaughtUp(written)).await?;
                    }
                    before = Some(pipeline);
                    tokio::time::sleep(every.mul_f64(0.9 + jitter() * 0.2)).await;
                }
                Err(why) => {
                    hand_on(events, Event::Down(why.clone())).await?;
                    down = Some(why);
                    tokio::time::sleep(pace.wait(None, None, jitter())).await;
                }
            },
            Err(trouble) if trouble.absent() => {
                hand_on(events, Event::Notice("the pipeline is gone".into())).await?;
                return hand_on(events, Event::End(None)).await;
            }
            Err(trouble) => {
                let words = trouble.words();
                if down.as_ref() != Some(&words) {
                    hand_on(events, Event::Down(words.clone())).await?;
                    down = Some(words);
                }
                tokio::time::sleep(pace.wait(trouble.retry_after(), None, jitter())).await;
            }
        }
    }
}

/// Fetches the log of a run into a file.
///
/// # Errors
/// Why it cannot be had.
pub async fn saved(client: &Client, id: &str, number: u64, into: &mut std::fs::File) -> Result<(), ClientError> {
    let number = number.to_string();
    let ask = Ask { person: true, ..Ask::get(&["pipelines", id, "runs", &number, "log"]) };
    let mut response = client.follow(ask).await?;
    while let Some(bytes) = chunk(&mut response, DEAD).await? {
        into.write_all(&bytes).map_err(|error| ClientError::Broke(format!("the log cannot be kept: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(cursor: &str) -> String {
        format!("{{\"type\":\"heartbeat\",\"heartbeat\":{{\"cursor\":\"{cursor}\"}},{SERVICE}}}\n")
    }

    #[test]
    fn a_broken_connection_gives_no_line_twice_and_loses_none() {
        let mut place = Place::default();
        let mut all = Vec::new();
        let mut take = |place: &mut Place, text: &str| all.extend(place.take(text.as_bytes()).0);
        take(&mut place, &format!("one\ntwo\n{}three\nfo", beat("c2")));
        place.broke();
        // From c2 on: three comes again.
        take(&mut place, "three\n");
        take(&mut place, "four\nfive\n");
        place.broke();
        // It breaks again before all of that came again, and once more before anything does.
        take(&mut place, "three\n");
        place.broke();
        place.broke();
        take(&mut place, &format!("three\n{}four\nfive\n{}six\n", beat("c3"), beat("c5")));
        place.broke();
        take(&mut place, "six\nseven\n");
        assert_eq!(String::from_utf8(all).unwrap(), "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
        assert_eq!(place.cursor.as_deref(), Some("c5"));
    }
}
