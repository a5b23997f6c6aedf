//! `CONNECTOR | synctop track | NEXT`

use super::args::{FormArg, TrackArgs};
use super::{CommandError, complain, exit, kept_in, text_of};
use crate::app::on_end;
use crate::engine::state;
use crate::engine::tracker::Tracker;
use crate::engine::tracker::memory::Memory;
use crate::engine::tracker::wire::Form;
use crate::net::{CHUNK, SourceError, now, pipe};
use memchr::{memchr, memrchr};
use serde_json::value::RawValue;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use synctop_core::protocol::{Decoded, Decoder, Kind, Line, LineEnd};

/// Time an interrupted engine or connector has to finish its output.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// A reader of the output that has gone ended us, as SIGPIPE ends `cat`.
pub(super) const READER_GONE: u8 = 128 + 13;

pub(super) fn track(args: &TrackArgs) -> Result<u8, CommandError> {
    if io::stdin().is_terminal() {
        return Err(CommandError::usage(
            "stdin is a terminal. Pipe a connector into it: connector | synctop track | next",
        ));
    }
    let memory = match &args.state {
        Some(path) => remembered(path)?,
        None => Memory::default(),
    };
    let mut tracker = Tracker::new(args.generation.form(), memory, now());
    let mut out = Vec::new();
    if let Some(path) = &args.catalog {
        let (names, payload) = catalog(path)?;
        tracker.catalog(&names, &payload, now(), &mut out);
    }
    let signal = Arc::new(AtomicI32::new(0));
    {
        let signal = Arc::clone(&signal);
        on_end(move |number| {
            signal.store(number, Ordering::Relaxed);
            // A reader that takes nothing does not keep us for ever.
            std::thread::sleep(LAST_WORDS * 2);
            std::process::exit(128 + number);
        })?;
    }
    let read = filter(&mut tracker, &mut out, &signal);
    let gone = match &read {
        Err(Broken::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => true,
        Err(Broken::Output(error)) => {
            return Err(CommandError::unwritable_stdout(error));
        }
        _ => false,
    };
    if gone {
        if args.state.is_some() {
            complain("The reader of the output has gone: the state file stays as it was, so that nothing is skipped.");
        }
        return Ok(READER_GONE);
    }
    let outcome = tracker.finish(None, now(), &mut out);
    if let Err(error) = pipe::write_all(rustix::stdio::stdout(), &out) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Ok(READER_GONE);
        }
        return Err(CommandError::unwritable_stdout(&error));
    }
    if let Some(path) = &args.state {
        keep(path, &tracker.state())?;
    }
    match read {
        Err(Broken::Input(error)) => Err(SourceError::Unreadable("stdin".into(), error.to_string()).into()),
        _ if signal.load(Ordering::Relaxed) > 0 => Ok(exit::signal(signal.load(Ordering::Relaxed))),
        _ if outcome.reason == "error" && tracker.memory().streams.is_empty() && !tracker.tracked() => {
            complain("Nothing in stdin was understood. Is it the output of a connector?");
            Ok(exit::NOT_UNDERSTOOD)
        }
        _ => Ok(0),
    }
}

enum Broken {
    Input(io::Error),
    Output(io::Error),
}

/// Passes lines on as they arrive, whole lines at a time.
fn filter(tracker: &mut Tracker, out: &mut Vec<u8>, signal: &AtomicI32) -> Result<(), Broken> {
    let _ = pipe::stdin();
    let (input, output) = (rustix::stdio::stdin(), pipe::stdout());
    let mut waiting: Vec<u8> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut interrupted: Option<Instant> = None;
    loop {
        if !out.is_empty() {
            pipe::write_all(output, out).map_err(Broken::Output)?;
            out.clear();
        }
        let came = pipe::readable(input);
        match signal.load(Ordering::Relaxed) {
            0 => {}
            // A connector that was interrupted with us still prints its last words.
            number if number == rustix::process::Signal::INT.as_raw() => {
                if interrupted.get_or_insert_with(Instant::now).elapsed() >= LAST_WORDS {
                    break;
                }
            }
            _ => break,
        }
        if !came {
            continue;
        }
        let length = pipe::read(input, &mut chunk).map_err(Broken::Input)?;
        if length == 0 {
            break;
        }
        let mut rest = chunk.get(..length).unwrap_or_default();
        let at = now();
        if !waiting.is_empty() {
            let Some(newline) = memchr(b'\n', rest) else {
                waiting.extend_from_slice(rest);
                continue;
            };
            waiting.extend_from_slice(rest.get(..newline).unwrap_or_default());
            tracker.line(&waiting, LineEnd::Newline, at, out);
            waiting.clear();
            rest = rest.get(newline + 1..).unwrap_or_default();
        }
        let whole = memrchr(b'\n', rest).map_or(0, |newline| newline + 1);
        let (lines, torn) = rest.split_at(whole);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            tracker.line(line.strip_suffix(b"\n").unwrap_or(line), LineEnd::Newline, at, out);
        }
        waiting.extend_from_slice(torn);
    }
    if !waiting.is_empty() {
        tracker.line(&waiting, LineEnd::Input, now(), out);
        // The next bytes are no part of it.
        if out.last().is_some_and(|byte| *byte != b'\n') {
            out.push(b'\n');
        }
    }
    Ok(())
}

/// Reads the state file.
pub(super) fn remembered(path: &Path) -> Result<Memory, CommandError> {
    let Some(text) = kept_in(path)? else { return Ok(Memory::default()) };
    Memory::read(&text).map_err(|error| CommandError::no_state(path, &error))
}

/// Keeps it there.
pub(super) fn keep(path: &Path, state: &RawValue) -> Result<(), CommandError> {
    state::write(path, state).map_err(|error| CommandError::unwritable(path, "--state", &error))
}

/// The streams of a catalog file: a catalog message, its payload, or a list of names.
fn catalog(path: &Path) -> Result<(Vec<String>, Box<RawValue>), CommandError> {
    let name = path.display();
    let text = text_of(path, "catalog")?;
    let bad = |why: &str| CommandError {
        sentence: format!(
            "{name} is no catalog: {why}. It has {{\"streams\":[{{\"name\":\"...\"}}]}}, or a list of names."
        ),
        code: exit::NOT_UNDERSTOOD,
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| bad(&error.to_string()))?;
    let payload = match &value {
        serde_json::Value::Array(names) => {
            let streams: Vec<_> = names
                .iter()
                .map(|it| if it.is_string() { serde_json::json!({ "name": it }) } else { it.clone() })
                .collect();
            serde_json::json!({ "streams": streams })
        }
        value => value.get("catalog").unwrap_or(value).clone(),
    };
    let payload = payload.to_string();
    let line = format!("{{\"type\":\"catalog\",\"catalog\":{payload}}}");
    let names = match Decoder::default().decode(&Line::whole(line.as_bytes(), LineEnd::Newline), &mut String::new()) {
        Decoded::Message { message, .. } => match message.kind {
            Kind::Catalog(names) => names.iter().map(|name| name.key().into_owned()).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    if names.is_empty() {
        return Err(bad("it names no stream"));
    }
    let payload = RawValue::from_string(payload).map_err(|error| bad(&error.to_string()))?;
    Ok((names, payload))
}

impl FormArg {
    pub(super) fn form(self) -> Form {
        match self {
            Self::Trace => Form::Trace,
            Self::Progress => Form::Progress,
        }
    }
}
