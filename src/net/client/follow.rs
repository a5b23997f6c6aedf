//! Run of one pipeline as a feed: its live output if the service streams events, otherwise its
//! state after each change.

use crate::net::client::http::{Capabilities, Client, ClientError, ServiceRequest, chunk};
use crate::net::source::event::Event;
use crate::util::sys::{jitter, now};
use memchr::memmem;
use serde_json::Value;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime};
use synctop_core::backoff::Backoff;
use synctop_core::fleet::Pipeline;
use synctop_core::protocol::LineFramer;

/// Requested interval of heartbeats, in seconds.
const HEARTBEAT: u64 = 5;

/// Silence after which a connection is considered dead.
const DEAD_AFTER: Duration = Duration::from_secs(3 * HEARTBEAT);

/// Default interval for polling the state of a pipeline.
const STATE_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum bytes that are buffered until the end of a line.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Marker of lines that the service itself emits.
const SERVICE_MARKER: &str = "\"_emitted_by\":\"synctop/service\"";

/// Error: the receiver of the events is gone.
struct ReceiverGone;

/// Follows the pipeline until the receiver is gone or the pipeline is deleted.
pub async fn follow(client: Arc<Client>, id: String, capabilities: Capabilities, events: SyncSender<Event>) {
    let _ = if capabilities.events { lines(&client, &id, &events).await } else { states(&client, &id, &events).await };
}

/// Sends an event. A full channel makes the caller wait, and through it the service.
async fn send(events: &SyncSender<Event>, mut event: Event) -> Result<(), ReceiverGone> {
    loop {
        match events.try_send(event) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(ReceiverGone),
            Err(TrySendError::Full(back)) => event = back,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Position in the events of the service.
struct EventPosition {
    /// Last cursor that the service reported.
    cursor: Option<String>,
    /// Number of lines received after the cursor. A new connection repeats them.
    after: u64,
    /// Number of repeated lines still to skip.
    skip: u64,
    framer: LineFramer,
    /// Delay before a new connection, requested by the service.
    back_after: Option<Duration>,
}

impl Default for EventPosition {
    fn default() -> Self {
        let framer = LineFramer::with_limit(MAX_LINE_BYTES);
        Self { cursor: None, after: 0, skip: 0, framer, back_after: None }
    }
}

impl EventPosition {
    /// Applies received bytes. Returns new lines for the receiver, and notices.
    fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
        let whole = self.framer.take_complete(bytes);
        let (mut fresh, mut notices) = (Vec::new(), Vec::new());
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            let own = memmem::find(line, SERVICE_MARKER.as_bytes())
                .map(|_| serde_json::from_slice::<Value>(line).unwrap_or_default());
            let kind = own.as_ref().and_then(|it| it.get("type")).and_then(Value::as_str);
            match (kind, &own) {
                (Some("heartbeat"), Some(own)) => {
                    // A heartbeat may arrive among repeated lines: the rest is still skipped.
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
                // Made by the service for this connection: not counted, because not in the log.
                (Some("progress" | "eof"), Some(_)) => fresh.extend_from_slice(line),
                _ => {
                    // A piece of a line that is too long counts with its last one.
                    let ended = u64::from(line.ends_with(b"\n"));
                    self.after += ended;
                    if self.skip > 0 {
                        self.skip -= ended;
                        continue;
                    }
                    fresh.extend_from_slice(line);
                }
            }
        }
        (fresh, notices)
    }

    /// Prepares for a new connection, which starts at the cursor and repeats the lines after it.
    fn broke(&mut self) {
        self.framer.clear();
        // Add: the connection may have broken before all repeated lines arrived.
        self.skip += std::mem::take(&mut self.after);
    }
}

/// Streams the events of the pipeline.
async fn lines(client: &Client, id: &str, events: &SyncSender<Event>) -> Result<(), ReceiverGone> {
    let mut place = EventPosition::default();
    let mut backoff = Backoff::default();
    loop {
        let from = place.cursor.clone().unwrap_or_else(|| "run".into());
        let ask = ServiceRequest::get(&["pipelines", id, "events"]);
        let ask = ask.with("from", from).with("heartbeat", HEARTBEAT.to_string());
        let client_error = match client.follow(ask).await {
            Ok(mut response) => {
                send(events, Event::CaughtUp(None)).await?;
                loop {
                    match chunk(&mut response, DEAD_AFTER).await {
                        Ok(Some(bytes)) => {
                            backoff.reset();
                            let (fresh, notices) = place.take(&bytes);
                            for notice in notices {
                                send(events, Event::Notice(notice)).await?;
                            }
                            if !fresh.is_empty() {
                                send(events, Event::Bytes(fresh, None)).await?;
                            }
                        }
                        Ok(None) => break ClientError::Broke("the service closed the connection".into()),
                        Err(client_error) => break client_error,
                    }
                }
            }
            Err(client_error) => client_error,
        };
        place.broke();
        if client_error.absent() {
            send(events, Event::Notice("the pipeline was deleted".into())).await?;
            return send(events, Event::End(None)).await;
        }
        if let ClientError::Refused { status: 410, .. } = &client_error {
            // The service does not store lines after the cursor any more: continue from now.
            send(events, Event::Notice("a gap: lines in between are not stored any more".into())).await?;
            place = EventPosition { cursor: Some("now".into()), ..EventPosition::default() };
        }
        send(events, Event::Down(client_error.to_string())).await?;
        let asked = place.back_after.take().or(client_error.retry_after());
        tokio::time::sleep(backoff.wait(asked, None, jitter())).await;
    }
}

/// Polls the state of the pipeline.
async fn states(client: &Client, id: &str, events: &SyncSender<Event>) -> Result<(), ReceiverGone> {
    let every = client.place.poll.unwrap_or(STATE_INTERVAL);
    let mut backoff = Backoff::default();
    let mut before: Option<Pipeline> = None;
    let about = format!("this service has no events: its state is read every {} s", every.as_secs_f64());
    send(events, Event::Notice(about)).await?;
    let mut down = None;
    loop {
        match client.pipeline(id, false).await {
            Ok(told) => match Pipeline::read(told, now(), before.as_ref()) {
                Ok(pipeline) => {
                    backoff.reset();
                    let told =
                        pipeline.lines().filter(|lines| before.as_ref().and_then(Pipeline::lines) != Some(lines));
                    match told {
                        Some(lines) => send(events, Event::Bytes(lines.as_bytes().to_vec(), None)).await?,
                        None if before.is_none() => {
                            let text = format!(
                                "it reports {} and no run: none exists, or it reports none",
                                pipeline.status.as_str()
                            );
                            send(events, Event::Notice(text)).await?;
                        }
                        None => {}
                    }
                    // The age of the first data comes from the end time that the engine reports.
                    let written = pipeline.run.as_ref().and_then(|run| run.ended_at).filter(|_| before.is_none());
                    let written = written.and_then(|at| u64::try_from(at).ok());
                    if down.take().is_some() || before.is_none() {
                        let written = written.map(|at| SystemTime::UNIX_EPOCH + Duration::from_millis(at));
                        send(events, Event::CaughtUp(written)).await?;
                    }
                    before = Some(pipeline);
                    tokio::time::sleep(every.mul_f64(0.9 + jitter() * 0.2)).await;
                }
                Err(why) => {
                    let why = why.to_string();
                    send(events, Event::Down(why.clone())).await?;
                    down = Some(why);
                    tokio::time::sleep(backoff.wait(None, None, jitter())).await;
                }
            },
            Err(client_error) if client_error.absent() => {
                send(events, Event::Notice("the pipeline was deleted".into())).await?;
                return send(events, Event::End(None)).await;
            }
            Err(client_error) => {
                let words = client_error.to_string();
                if down.as_ref() != Some(&words) {
                    send(events, Event::Down(words.clone())).await?;
                    down = Some(words);
                }
                tokio::time::sleep(backoff.wait(client_error.retry_after(), None, jitter())).await;
            }
        }
    }
}

/// Downloads the log of a run into a file.
///
/// # Errors
/// Returns the request's error, or [`ClientError::Broke`] if the file cannot be written.
pub async fn saved(client: &Client, id: &str, number: u64, into: &mut std::fs::File) -> Result<(), ClientError> {
    let number = number.to_string();
    let ask = ServiceRequest { person: true, ..ServiceRequest::get(&["pipelines", id, "runs", &number, "log"]) };
    let mut response = client.follow(ask).await?;
    while let Some(bytes) = chunk(&mut response, DEAD_AFTER).await? {
        into.write_all(&bytes).map_err(|error| ClientError::Broke(format!("the log cannot be written: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(cursor: &str) -> String {
        format!("{{\"type\":\"heartbeat\",\"heartbeat\":{{\"cursor\":\"{cursor}\"}},{SERVICE_MARKER}}}\n")
    }

    #[test]
    fn reconnecting_neither_repeats_nor_loses_a_line() {
        let mut place = EventPosition::default();
        let mut all = Vec::new();
        let mut take = |place: &mut EventPosition, text: &str| all.extend(place.take(text.as_bytes()).0);
        take(&mut place, &format!("one\ntwo\n{}three\nfo", heartbeat("c2")));
        place.broke();
        // The connection continues at c2 and repeats "three".
        take(&mut place, "three\n");
        take(&mut place, "four\nfive\n");
        place.broke();
        // It breaks before all repeated lines arrive, and then before any line arrives.
        take(&mut place, "three\n");
        place.broke();
        place.broke();
        take(&mut place, &format!("three\n{}four\nfive\n{}six\n", heartbeat("c3"), heartbeat("c5")));
        place.broke();
        take(&mut place, "six\nseven\n");
        assert_eq!(String::from_utf8(all).unwrap(), "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
        assert_eq!(place.cursor.as_deref(), Some("c5"));
    }
}
