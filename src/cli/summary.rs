//! `synctop summary FILE|-`: prints the summary of a saved log.

use crate::cli::args::{FeedArgs, FormatArg, SummaryArgs};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::print;
use crate::cli::output::print_error;
use crate::cli::replay::open;
use crate::net::source::error::SourceError;
use crate::net::source::ingest::RewindData;
use crate::net::source::sidecar::Sidecar;
use crate::net::timeline::byte_store::ByteStore;
use crate::net::timeline::indexer::{Indexer, SavedLog, read};
use crate::net::timeline::seek::Seeker;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use synctop_core::ResultClass;
use synctop_core::protocol::{Decoder, clean, time};
use synctop_core::reduce::history::LogPosition;
use synctop_core::reduce::{Outcome, Progress, Target, outcome, target};
use synctop_core::report::lead_up::lead_up_text;
use synctop_core::report::prometheus::summary_metrics;

pub(super) fn summary(args: &SummaryArgs, feed: &FeedArgs) -> Result<u8, CommandError> {
    let logs = open(&args.files, "summary")?;
    let name = match args.files.as_slice() {
        [one] => one.display().to_string(),
        _ => "these files".to_owned(),
    };
    let decoder = feed.decoder();
    if let Some(place) = &args.around {
        return around(place, logs, args, &name, &decoder);
    }
    let mut progress = Progress::new(&decoder);
    let mut place = None;
    let read = match &args.at {
        None => read(logs, args.beside.read()?, &mut progress, &decoder),
        Some(at) => {
            let (known, end, read) = progress_at(at, logs, args.beside.read()?, &decoder)?;
            let at = known.last_at.map_or_else(|| "before any time".to_owned(), time::iso);
            let line = synctop_core::format::count(known.input.lines);
            place = Some((
                format!("at {at}, line {line} of {}\n", synctop_core::format::count(end.input.lines)),
                end.input.messages,
            ));
            progress = known;
            read
        }
    };
    let progress = &progress;
    let format = args.format.unwrap_or(if args.json { FormatArg::Json } else { FormatArg::Text });
    if format == FormatArg::Json {
        print(&format!("{}\n", clean::json(to_json(&synctop_core::report::summary(progress))?)))?;
    } else if format == FormatArg::Prometheus {
        print(&summary_metrics(&synctop_core::report::summary(progress)))?;
    } else if !args.quiet {
        if let Some((words, _)) = &place {
            print(words)?;
        }
        print(&synctop_core::report::report(progress))?;
    }
    if let Err(error) = read {
        return Err(SourceError::of(&name, &error).into());
    }
    // Text on stderr and an exit code may tell the outcome.
    let told = progress.dialect.is_some() || outcome(progress) != Outcome::Unknown;
    if progress.input.messages == 0 && !told && place.is_none_or(|(_, messages)| messages == 0) {
        if !args.quiet && format == FormatArg::Text {
            print_error(&format!(
                "Nothing in {name} was understood. Is it the NDJSON of an engine? --dialect overrides the guess."
            ));
        }
        return Ok(exit::BAD_DATA);
    }
    Ok(exit::of_outcome(progress, args.strict))
}

/// Prints the lead-up of a position: the 60 seconds before it, per stream. The exit code is 0 unless
/// the log cannot be read.
fn around(
    text: &str,
    logs: Vec<SavedLog>,
    args: &SummaryArgs,
    name: &str,
    decoder: &Decoder,
) -> Result<u8, CommandError> {
    let (mut seeker, target, read, _) = seeker_at("--around", text, logs, args.beside.read()?, decoder)?;
    let lead_up = seeker.lead_up(target, None).map_err(|error| SourceError::of("the log", &error))?;
    if args.json {
        print(&format!("{}\n", clean::json(to_json(&lead_up)?)))?;
    } else {
        let line = lead_up.end.line.map(synctop_core::format::count).unwrap_or_default();
        let at = lead_up.end.at.map(|at| format!(" at {}", time::iso(at))).unwrap_or_default();
        let stream = lead_up.stream.as_deref().map(|stream| format!(", stream {stream}")).unwrap_or_default();
        print(&format!("the 60 s before line {line}{at}{stream}\n{}", lead_up_text(&lead_up)))?;
    }
    if let Err(error) = read {
        return Err(SourceError::of(name, &error).into());
    }
    Ok(exit::DONE)
}

/// Formats an object as JSON: over several lines on a terminal.
fn to_json(object: &impl serde::Serialize) -> Result<String, CommandError> {
    let text =
        if io::stdout().is_terminal() { serde_json::to_string_pretty(object) } else { serde_json::to_string(object) };
    text.map_err(|error| CommandError {
        sentence: format!("Cannot write the summary: {error}."),
        class: ResultClass::Output,
    })
}

/// Returns a seeker of a log, a position in it, the result of reading the log, and the progress at
/// its end.
///
/// # Errors
///
/// Returns a usage error if `text`, the value of `flag`, is not a position of this log.
fn seeker_at(
    flag: &str,
    text: &str,
    logs: Vec<SavedLog>,
    sidecar_files: Sidecar,
    decoder: &Decoder,
) -> Result<(Seeker, Target, io::Result<()>, Progress), CommandError> {
    let past = RewindData { store: Arc::new(ByteStore::default()), ..RewindData::default() };
    let mut indexer = Indexer::new(Arc::clone(&past.store), Arc::clone(&past.history));
    let read = indexer.run(logs, sidecar_files, decoder);
    let place = target(text, &past.history.lock(), LogPosition::default());
    let place = place.map_err(|why| CommandError::usage(format!("{flag} {text}: {why}")))?;
    Ok((Seeker::new(past.store, past.history, *decoder), place, read, indexer.progress))
}

/// Returns the progress at a position of a log, the progress at its end, and the result of reading
/// the log.
///
/// # Errors
///
/// Returns a usage error if `text` is not a position of this log.
fn progress_at(
    text: &str,
    logs: Vec<SavedLog>,
    sidecar_files: Sidecar,
    decoder: &Decoder,
) -> Result<(Progress, Progress, io::Result<()>), CommandError> {
    let (mut seeker, place, read, end) = seeker_at("--at", text, logs, sidecar_files, decoder)?;
    seeker.go(place).map_err(|error| SourceError::of("the log", &error))?;
    let at = seeker.progress();
    let at = if at.input.bytes == end.input.bytes { end.clone() } else { at.clone() };
    Ok((at, end, read))
}
