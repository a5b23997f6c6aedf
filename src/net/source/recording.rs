//! Plays the built-in recording: two eventful minutes of a real engine.

use crate::net::source::event::Event;
use std::io::{BufRead, BufReader};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use synctop_core::protocol::{Millis, time};

/// Compressed recording with rate limits, server errors, dropped requests, a refused stream and two
/// attempts.
static RECORDING: &[u8] = include_bytes!("../../../assets/recording.ndjson.zst");

/// Starts a thread that plays the recording `speed` times as fast as it was recorded.
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub fn spawn(speed: f64, events: SyncSender<Event>) -> std::io::Result<()> {
    std::thread::Builder::new().name("recording".into()).spawn(move || {
        if let Err(error) = play(speed, &events) {
            let _ = events.send(Event::Down(format!("the built-in recording: {error}")));
        }
        let _ = events.send(Event::End(None));
    })?;
    Ok(())
}

fn play(speed: f64, events: &SyncSender<Event>) -> std::io::Result<()> {
    let mut lines = BufReader::new(zstd::stream::read::Decoder::new(RECORDING)?);
    let started = Instant::now();
    let mut first: Option<Millis> = None;
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Some(at) = instant(&line) {
            let since = u64::try_from(at - *first.get_or_insert(at)).unwrap_or(0);
            let due = Duration::from_millis(since).div_f64(speed);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        if events.send(Event::Bytes(line, None)).is_err() {
            return Ok(());
        }
    }
}

/// Returns the time of a line from its last `_ts` field.
fn instant(line: &[u8]) -> Option<Millis> {
    const FIELD: &[u8] = b"\"_ts\":\"";
    let at = memchr::memmem::rfind(line, FIELD)? + FIELD.len();
    let text = std::str::from_utf8(line.get(at..at + 24)?).ok()?;
    time::parse(text)
}
