//! `synctop replay FILE...`: replays saved logs on the run screen.

use crate::app::{Options, ReplayStart, Session, SizesFile};
use crate::cli::args::{FeedArgs, LookArgs, ReplayArgs};
use crate::cli::error::CommandError;
use crate::cli::screen::{leave, need_a_terminal, resolve_look};
use crate::net::source::error::SourceError;
use crate::net::timeline::indexer::{self, Indexing, SavedLog};
use std::io::{self, IsTerminal};

pub(super) fn replay(args: &ReplayArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, CommandError> {
    if let Some(text) = &args.at
        && let Err(why) = synctop_core::reduce::place(text)
    {
        return Err(CommandError::usage(format!("--at {text}: {why}")));
    }
    let logs = open(&args.files, "replay")?;
    let beside = args.beside.read()?;
    let first = args.files.first().map(|file| file.display().to_string()).unwrap_or_default();
    need_a_terminal(&format!("synctop summary {first}"))?;
    let session = Session::new()?;
    let decoder = feed.decoder();
    let source = match args.files.as_slice() {
        [one] if one.as_os_str() == "-" => "stdin".to_owned(),
        [one] => one.display().to_string(),
        [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
        [] => String::new(),
    };
    let Indexing { past, snapshots, size, broken } = indexer::spawn(logs, beside, decoder)?;
    let start = ReplayStart {
        at: args.at.clone(),
        speed: args.speed,
        paused: args.paused || args.at.is_some(),
        skip: args.skip_gaps,
    };
    let (mouse, sizes) = (!look.no_mouse, SizesFile::open(look.fresh));
    let (look, ask) = resolve_look(look);
    let (engine, panic_for_test) = (None, None);
    let child_saved = None;
    let options = Options {
        source,
        look,
        ask,
        mouse,
        engine,
        child_saved,
        past,
        decoder,
        replay: Some(start),
        size,
        nested: false,
        sizes,
        panic_for_test,
    };
    let code = leave(session.run(options, snapshots), false, false)?;
    match broken.get() {
        // The readable part was shown; the rest is reported as in `summary`.
        Some(error) => Err(SourceError::Unreadable("the log".into(), error.to_string()).into()),
        None => Ok(code),
    }
}

/// Opens all log files. `command` is named in the hint if stdin is a terminal.
pub(super) fn open(files: &[std::path::PathBuf], command: &str) -> Result<Vec<SavedLog>, CommandError> {
    if files.iter().any(|file| file.as_os_str() == "-") && io::stdin().is_terminal() {
        let sentence = format!("stdin is a terminal. Pipe a log into it, or name a file: synctop {command} FILE");
        return Err(CommandError::usage(sentence));
    }
    files.iter().map(|file| SavedLog::open(file).map_err(CommandError::from)).collect()
}
