//! The full screen of a run, as commands start and leave it.

use crate::app::{self, GlyphChoice, Options, ScreenEnd, SizesFile, ThemeChoice};
use crate::cli::args::{FeedArgs, GlyphsArg, LookArgs, ThemeArg};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::print;
use crate::net;
use crate::net::source::child::Engine;
use crate::net::source::ingest::RewindData;
use crate::views::Theme;
use std::io::{self, IsTerminal};
use synctop_core::ResultClass;
use synctop_core::report::text;

/// True if there is a terminal to draw on and one to read keys from.
pub(super) fn screen_possible() -> bool {
    io::stdout().is_terminal() && (io::stdin().is_terminal() || std::fs::File::open("/dev/tty").is_ok())
}

/// Checks that there is a terminal to draw on and one to read keys from.
///
/// # Errors
///
/// Returns a usage error that suggests `text`, a command that prints the same as text.
pub(super) fn need_a_terminal(text: &str) -> Result<(), CommandError> {
    if !io::stdout().is_terminal() {
        return Err(CommandError::usage(format!(
            "The dashboard needs a terminal, and stdout is not one. For text: {text}"
        )));
    }
    if !io::stdin().is_terminal() && std::fs::File::open("/dev/tty").is_err() {
        return Err(CommandError::usage(format!("There is no terminal to read keys from. For text: {text}")));
    }
    Ok(())
}

/// Shows a feed until the user leaves, then prints a short summary and returns the exit code.
#[expect(clippy::too_many_arguments, reason = "arguments of the commands and the opened source")]
pub(super) fn show(
    session: app::Session,
    source: String,
    engine: Option<Engine>,
    events: std::sync::mpsc::Receiver<net::Event>,
    look: &LookArgs,
    feed: &FeedArgs,
    child_saved: Option<bool>,
    panic_for_test: Option<String>,
    strict: bool,
) -> Result<u8, CommandError> {
    let decoder = feed.decoder();
    let past = RewindData::default();
    let snapshots = net::spawn_ingest(decoder, events, past.clone())?;
    let (mouse, sizes) = (!look.no_mouse, SizesFile::open(look.fresh));
    let (look, ask) = resolve_look(look);
    let (replay, size) = (None, None);
    let options = Options {
        source,
        look,
        ask,
        mouse,
        engine,
        child_saved,
        past,
        decoder,
        replay,
        size,
        nested: false,
        sizes,
        panic_for_test,
    };
    leave(session.run(options, snapshots), true, strict)
}

/// Resolves theme and glyphs. The second value is true if the terminal has to be queried for its
/// background color.
pub(super) fn resolve_look(look: &LookArgs) -> (crate::views::Look, bool) {
    let theme = match look.theme {
        ThemeArg::Auto => ThemeChoice::Auto,
        ThemeArg::Dark => ThemeChoice::Theme(Theme::Dark),
        ThemeArg::Light => ThemeChoice::Theme(Theme::Light),
        ThemeArg::Mono => ThemeChoice::Theme(Theme::Mono),
        ThemeArg::ColorblindDark => ThemeChoice::Theme(Theme::ColorblindDark),
        ThemeArg::ColorblindLight => ThemeChoice::Theme(Theme::ColorblindLight),
    };
    let glyphs = match look.glyphs {
        GlyphsArg::Auto => GlyphChoice::Auto,
        GlyphsArg::Unicode => GlyphChoice::Unicode,
        GlyphsArg::Blocks => GlyphChoice::Blocks,
        GlyphsArg::Ascii => GlyphChoice::Ascii,
    };
    app::look(theme, glyphs)
}

/// Prints a short summary after the screen has closed and returns the exit code. With `live`, an
/// engine's own exit code has priority.
pub(super) fn leave(ended: io::Result<ScreenEnd>, live: bool, strict: bool) -> Result<u8, CommandError> {
    let ended = ended.map_err(|error| CommandError {
        sentence: format!("Cannot use this terminal: {error}. For text: synctop summary FILE"),
        class: ResultClass::Output,
    })?;
    if ended.panicked {
        return Ok(exit::BUG);
    }
    if ended.unread && ended.signal.is_none() {
        print("quit before the log was read to its end: the outcome is unknown\n")?;
        return Ok(exit::code(ResultClass::Unfinished));
    }
    if ended.signal != Some(1) {
        print(&text::brief(&ended.progress, ended.leaving))?;
    }
    Ok(ended.signal.map_or_else(|| exit::of_feed(&ended.progress, live, strict), exit::signal))
}
