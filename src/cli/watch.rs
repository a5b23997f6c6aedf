//! `synctop`, `synctop SOURCE` and `engine | synctop`: select the source and show it.

use crate::app;
use crate::cli::args::{FeedArgs, LookArgs, WatchArgs};
use crate::cli::error::CommandError;
use crate::cli::screen::{need_a_terminal, show};
use crate::net;
use crate::net::source::{file, pipe, recording};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

pub(super) fn watch(
    source: Option<&str>,
    args: &WatchArgs,
    look: &LookArgs,
    feed: &FeedArgs,
) -> Result<u8, CommandError> {
    let piped = !io::stdin().is_terminal();
    let source = match source {
        Some("-") | None if piped => "-",
        Some("-") => return Err(CommandError::usage("stdin is a terminal. Pipe an engine into it: engine | synctop")),
        // Most likely the expansion of an empty shell variable.
        Some("") => {
            return Err(CommandError::usage("SOURCE is empty. Name a file or a URL, or nothing at all for the demo."));
        }
        Some(source) => source,
        None => "",
    };
    if source.contains("://") {
        // A pipeline or the route marks an engine; any other URL is a service.
        let engine = args.pipeline.is_some() || source.trim_end_matches('/').ends_with("/pipeline_sync");
        return if engine {
            crate::cli::backfill::watch(source, args, look, feed)
        } else {
            crate::cli::connect::watch(source, look)
        };
    }
    if source.is_empty() && args.recording.is_none() {
        return crate::cli::connect::demo(args, look);
    }
    let catalog = args.catalog.read()?;
    need_a_terminal(&format!("synctop summary {}", if matches!(source, "" | "-") { "FILE" } else { source }))?;
    let session = app::Session::new()?;
    let (sender, events) = net::channel();
    if let Some(catalog) = catalog {
        let _ = sender.send(net::Event::Expect(catalog));
    }
    let started = |error: io::Error| CommandError::from(error);
    let name = match source {
        "" => {
            recording::spawn(args.recording.unwrap_or(1.0), sender).map_err(started)?;
            "built-in recording".to_owned()
        }
        "-" => {
            pipe::spawn(pipe::stdin(), "stdin".into(), sender).map_err(started)?;
            "stdin".to_owned()
        }
        path => {
            let from = if args.tail { file::StartAt::End } else { file::StartAt::Start };
            file::spawn(file::Follow { path: PathBuf::from(path), from, retry: args.retry }, sender)?;
            path.to_owned()
        }
    };
    show(session, name, None, events, look, feed, None, args.panic_for_test.clone(), false)
}
