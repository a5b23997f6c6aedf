//! `synctop run -- ENGINE ARGS`

use super::Failure;
use super::args::{FeedArgs, LookArgs, RunArgs};
use super::watch::{need_a_terminal, show};
use crate::app;
use crate::net::{self, Event, child};

pub(super) fn run(args: &RunArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, Failure> {
    let catalog = args.catalog.read()?;
    need_a_terminal("synctop summary FILE (of the engine's output)")?;
    // Before the engine: a signal that came between would leave it behind.
    let session = app::Session::new()?;
    let (sender, events) = net::channel();
    if let Some(catalog) = catalog {
        let _ = sender.send(Event::Expect(catalog));
    }
    let engine = child::spawn(&args.engine, args.stdin.into(), sender)?;
    show(session, args.engine.join(" "), Some(engine), events, look, feed, None, None)
}
