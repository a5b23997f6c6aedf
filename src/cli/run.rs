//! `synctop run -- ENGINE ARGS`: starts an engine and shows its feed.

use crate::app::term::output::err_line;
use crate::app::{self, Inline, InlineMode, on_termination};
use crate::cli::args::{FeedArgs, LookArgs, RunArgs};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::screen::{screen_possible, show};
use crate::cli::tee::inline_look;
use crate::net;
use crate::net::source::child::{self, ChildInput};
use crate::net::source::event::Event;
use crate::net::source::ingest::{BETWEEN_SNAPSHOTS, Ingest};
use crate::net::source::pipe;
use crate::util::sys::lock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use synctop_core::protocol::mask;
use synctop_core::reduce::Progress;

pub(super) fn run(args: &RunArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, CommandError> {
    if !screen_possible() {
        return without_screen(args, look, feed);
    }
    let catalog = args.catalog.read()?;
    // The session handles signals, so it comes first: a signal in between would orphan the engine.
    let session = app::Session::new()?;
    let (sender, events) = net::channel();
    if let Some(catalog) = catalog {
        let _ = sender.send(Event::Expect(catalog));
    }
    let engine = child::spawn(&args.engine, args.stdin.into(), sender)?;
    show(session, mask::arguments(&args.engine), Some(engine), events, look, feed, None, None, args.strict)
}

/// Runs the engine without a screen: copies its stdout to stdout, and writes its stderr and a line
/// for each change to stderr.
fn without_screen(args: &RunArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, CommandError> {
    let mut ingest = Ingest::new(feed.decoder());
    if let Some(catalog) = args.catalog.read()? {
        ingest.expect(&catalog);
    }
    let signal = Arc::new(AtomicI32::new(0));
    let (sender, events) = net::channel();
    let stdin = match ChildInput::from(args.stdin) {
        // With its own terminal the engine would expect a user who can type.
        ChildInput::Auto if rustix::termios::isatty(rustix::stdio::stdin()) => ChildInput::Null,
        stdin => stdin,
    };
    let engine = child::spawn(&args.engine, stdin, sender)?;
    {
        let (signal, engine) = (Arc::clone(&signal), engine.clone());
        // Stopping the engine ends its output, which ends the loop below.
        on_termination(move |number| {
            signal.store(number, Ordering::Relaxed);
            engine.stop();
        })?;
    }
    let shared = Arc::new(Mutex::new(Progress::default()));
    let inline =
        Inline::start(Arc::clone(&shared), InlineMode::Changes, inline_look(look), mask::arguments(&args.engine))?;
    let (mut gone, mut secret) = (None, mask::OpenSecret::default());
    let mut shown = Instant::now();
    let (mut ended, mut changed) = (false, false);
    while !ended {
        match events.recv_timeout(BETWEEN_SNAPSHOTS) {
            Ok(event) => {
                match &event {
                    Event::Bytes(bytes, _) if gone.is_none() => {
                        if let Err(error) = pipe::write_all(rustix::stdio::stdout(), bytes) {
                            gone = Some(error);
                            let engine = engine.clone();
                            // On a separate thread, because this loop must drain the output.
                            std::thread::Builder::new().name("stop".into()).spawn(move || engine.stop())?;
                        }
                    }
                    Event::Stderr(line) => {
                        err_line(&secret.mask(line));
                    }
                    Event::Notice(text) => inline.notice(text),
                    Event::Down(why) => inline.down(why),
                    Event::End(_) => ended = true,
                    _ => {}
                }
                ingest.take(event);
                changed = true;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => ended = true,
        }
        if changed && (ended || shown.elapsed() >= BETWEEN_SNAPSHOTS) {
            (shown, changed) = (Instant::now(), false);
            *lock(&shared) = ingest.progress().clone();
        }
    }
    let number = Some(signal.load(Ordering::Relaxed)).filter(|number| *number > 0);
    let cut = match (&gone, number) {
        (_, Some(_)) => Some("INTERRUPTED: the engine was stopped"),
        (Some(_), _) => Some("READER GONE: the engine was stopped"),
        _ => None,
    };
    inline.end(cut);
    match (number, gone) {
        (Some(number), _) => Ok(exit::signal(number)),
        (None, Some(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(exit::reader_gone()),
        (None, Some(error)) => Err(CommandError::unwritable_stdout(&error)),
        (None, None) => Ok(exit::of_feed(ingest.progress(), true, args.strict)),
    }
}
