//! `CONNECTOR | synctop track | NEXT`: turns raw connector messages into progress messages.

use crate::app::on_termination;
use crate::cli::args::{FormArg, TrackArgs};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::{read_state_file, read_text_file};
use crate::cli::output::print_error;
use crate::engine::backfill::state_file;
use crate::engine::tracker::Tracker;
use crate::engine::tracker::memory::Memory;
use crate::engine::tracker::wire::WireGeneration;
use crate::net::source::error::SourceError;
use crate::net::source::event::CHUNK;
use crate::net::source::pipe;
use crate::util::sys::now;
use serde_json::value::RawValue;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::protocol::{Decoded, Decoder, Kind, Line, LineEnd, LineFramer, MAX_LINE_BYTES};

/// Maximum time that an interrupted engine or connector has to finish its output.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn track(args: &TrackArgs) -> Result<u8, CommandError> {
    if io::stdin().is_terminal() {
        return Err(CommandError::usage(
            "stdin is a terminal. Pipe a connector into it: connector | synctop track | next",
        ));
    }
    if pipe::is_stdout_closed() {
        return Err(CommandError::unwritable_stdout(&"it is closed"));
    }
    let memory = match &args.state {
        Some(path) => read_memory(path)?,
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
        on_termination(move |number| {
            signal.store(number, Ordering::Relaxed);
            // A blocked reader must not prevent the exit.
            std::thread::sleep(DRAIN_TIMEOUT * 2);
            std::process::exit(128 + number);
        })?;
    }
    let read = filter(&mut tracker, &mut out, &signal);
    let gone = match &read {
        Err(FilterError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => true,
        Err(FilterError::Output(error)) => {
            return Err(CommandError::unwritable_stdout(error));
        }
        _ => false,
    };
    if gone {
        if args.state.is_some() {
            print_error(
                "The reader of the output has exited: the state file was not changed, so that nothing is skipped.",
            );
        }
        return Ok(exit::reader_gone());
    }
    let outcome = tracker.finish(None, now(), &mut out);
    if let Err(error) = pipe::write_all(rustix::stdio::stdout(), &out) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Ok(exit::reader_gone());
        }
        return Err(CommandError::unwritable_stdout(&error));
    }
    if let Some(path) = &args.state {
        write_state(path, &tracker.state())?;
    }
    match read {
        Err(FilterError::Input(error)) => Err(SourceError::Unreadable("stdin".into(), error.to_string()).into()),
        _ if signal.load(Ordering::Relaxed) > 0 => Ok(exit::signal(signal.load(Ordering::Relaxed))),
        _ if outcome.reason == "error" && tracker.memory().streams.is_empty() && !tracker.tracked() => {
            print_error("No line of stdin was understood. Is it the output of a connector?");
            Ok(exit::BAD_DATA)
        }
        _ => Ok(exit::DONE),
    }
}

/// Side of the filter that failed.
enum FilterError {
    Input(io::Error),
    Output(io::Error),
}

/// Reads stdin and writes the tracked messages to stdout as complete lines arrive, until the input
/// or a signal ends it.
fn filter(tracker: &mut Tracker, out: &mut Vec<u8>, signal: &AtomicI32) -> Result<(), FilterError> {
    let _ = pipe::stdin();
    let (input, output) = (rustix::stdio::stdin(), pipe::stdout());
    let mut framer = LineFramer::default();
    let mut skipped = 0;
    let mut chunk = vec![0; CHUNK];
    let mut interrupted: Option<Instant> = None;
    loop {
        if !out.is_empty() {
            pipe::write_all(output, out).map_err(FilterError::Output)?;
            out.clear();
        }
        let came = pipe::readable(input);
        match signal.load(Ordering::Relaxed) {
            0 => {}
            // A terminal interrupts the connector too: its last output is still read.
            number if number == rustix::process::Signal::INT.as_raw() => {
                if interrupted.get_or_insert_with(Instant::now).elapsed() >= DRAIN_TIMEOUT {
                    break;
                }
            }
            _ => break,
        }
        if !came {
            continue;
        }
        let length = pipe::read(input, &mut chunk).map_err(FilterError::Input)?;
        if length == 0 {
            break;
        }
        let at = now();
        let bytes = chunk.get(..length).unwrap_or_default();
        framer.push(bytes, |line| tracker.line(line, LineEnd::Newline, at, out));
        skipped += framer.take_skipped();
    }
    framer.finish(|line, end| {
        tracker.line(line, end, now(), out);
        // The unfinished line must not join the next line.
        if out.last().is_some_and(|byte| *byte != b'\n') {
            out.push(b'\n');
        }
    });
    skipped += framer.take_skipped();
    if skipped > 0 {
        let lines = synctop_core::format::plural(usize::try_from(skipped).unwrap_or(usize::MAX), "line");
        print_error(&format!("Passed over {lines} of more than {} MiB.", MAX_LINE_BYTES >> 20));
    }
    Ok(())
}

/// Reads the tracker memory from the state file; a missing file gives an empty memory.
pub(super) fn read_memory(path: &Path) -> Result<Memory, CommandError> {
    let Some(text) = read_state_file(path)? else { return Ok(Memory::default()) };
    Memory::read(&text).map_err(|error| CommandError::no_state(path, &error))
}

/// Writes the state file.
pub(super) fn write_state(path: &Path, state: &RawValue) -> Result<(), CommandError> {
    state_file::write(path, state).map_err(|error| CommandError::unwritable(path, "--state", &error))
}

/// Reads a catalog file: a catalog message, its payload, or a list of names. Returns the stream
/// names and the payload.
fn catalog(path: &Path) -> Result<(Vec<String>, Box<RawValue>), CommandError> {
    let name = path.display();
    let text = read_text_file(path, "catalog")?;
    let bad = |why: &str| CommandError {
        sentence: format!(
            "{name} is not a catalog: {why}. Expected {{\"streams\":[{{\"name\":\"...\"}}]}}, or a list of names."
        ),
        class: ResultClass::BadData,
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
    pub(super) fn form(self) -> WireGeneration {
        match self {
            Self::Trace => WireGeneration::Trace,
            Self::Progress => WireGeneration::Progress,
        }
    }
}
