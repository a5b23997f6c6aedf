//! `ENGINE | synctop tee | NEXT`: passes the engine's output through, with progress on stderr.

use crate::app::{Inline, InlineMode, on_termination};
use crate::cli::args::{FeedArgs, LookArgs, ProgressArg, TeeArgs, ThemeArg};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::output::print_error;
use crate::cli::screen::resolve_look;
use crate::cli::track::DRAIN_TIMEOUT;
use crate::net::source::decompress;
use crate::net::source::error::SourceError;
use crate::net::source::pipe;
use crate::net::source::tee::{CopyFile, Stopped, TeeReader};
use crate::net::timeline::chunks::Chunks;
use crate::net::timeline::parallel::{self, Sink};
use crate::util::sys::lock;
use crate::views::{Depth, Look};
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::{Batch, Progress};

/// Message printed if a signal ends the command before the input ends.
const INTERRUPTED: &str = "INTERRUPTED: the rest of the input was not read";

/// Sink that reduces batches into a progress shared with the display.
struct Shared(Arc<Mutex<Progress>>);

impl Sink for Shared {
    fn take(&mut self, batch: &mut Batch, decoder: &Decoder) -> bool {
        lock(&self.0).apply_batch(batch, decoder);
        true
    }
}

pub(super) fn tee(args: &TeeArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, CommandError> {
    if io::stdin().is_terminal() {
        return Err(CommandError::usage("stdin is a terminal. Pipe an engine into it: engine | synctop tee | next"));
    }
    if pipe::is_stdout_closed() {
        return Err(CommandError::unwritable_stdout(&"it is closed"));
    }
    let copy_file = match &args.output {
        None => None,
        Some(path) => {
            let copy_file =
                CopyFile::create(path, false).map_err(|error| CommandError::unwritable(path, "-o", &error))?;
            Some(Arc::new(Mutex::new(copy_file)))
        }
    };
    let progress = Arc::new(Mutex::new(Progress::new(&feed.decoder())));
    if let Some(catalog) = args.catalog.read()? {
        lock(&progress).expect_streams(&catalog);
    }
    let inline = Inline::start(Arc::clone(&progress), args.show.tell(), inline_look(look), "stdin".into())?;
    let inline = Arc::new(Mutex::new(Some(inline)));
    let signal = Arc::new(AtomicI32::new(0));
    {
        let (signal, copy_file, inline) = (Arc::clone(&signal), copy_file.clone(), Arc::clone(&inline));
        on_termination(move |number| handle_signal(number, &signal, copy_file.as_deref(), &inline))?;
    }
    let stopped = Arc::new(Mutex::new(None));
    let read = reduce(TeeReader::new(copy_file.clone(), Arc::clone(&stopped)), feed, &progress);
    // Decoding stops at bytes that cannot be decompressed; the rest is still passed through.
    if read.is_err() && lock(&stopped).is_none() {
        let mut rest = TeeReader::new(copy_file.clone(), Arc::clone(&stopped));
        let _ = io::copy(&mut rest, &mut io::sink());
    }
    // Closing stdout lets the next command of the pipeline end before the terminal finishes
    // drawing.
    if let Ok(nowhere) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(nowhere);
    }
    let mut broken = None;
    if let Some(copy_file) = &copy_file {
        let mut copy_file = lock(copy_file);
        copy_file.finish();
        broken.clone_from(&copy_file.broken);
    }
    lock(&progress).close(None);
    let inline = lock(&inline).take();
    let interrupted = signal.load(Ordering::Relaxed) > 0;
    let cut = match &*lock(&stopped) {
        Some(Stopped::ReaderGone) => Some("READER GONE: the reader of the bytes has exited"),
        _ if interrupted => Some(INTERRUPTED),
        _ => None,
    };
    if let Some(inline) = inline {
        inline.end(cut);
    }
    if let (Some(why), Some(path)) = (broken, &args.output) {
        return Err(CommandError {
            sentence: format!("The copy in {} is incomplete: {why}.", path.display()),
            class: ResultClass::Output,
        });
    }
    let stopped = lock(&stopped).clone();
    match (stopped, signal.load(Ordering::Relaxed)) {
        (_, number) if number > 0 => Ok(exit::signal(number)),
        (Some(Stopped::ReaderGone), _) => Ok(exit::reader_gone()),
        (Some(Stopped::Output(why)), _) => Err(CommandError::unwritable_stdout(&why)),
        (Some(Stopped::Input(why)), _) => Err(SourceError::Unreadable("stdin".into(), why).into()),
        (None, _) => Ok(code(args, &lock(&progress), read)),
    }
}

fn code(args: &TeeArgs, progress: &Progress, read: io::Result<()>) -> u8 {
    if let Err(error) = read
        && args.show.tell() != InlineMode::Nothing
    {
        print_error(&format!("All bytes were passed through, but not all could be decoded: {error}."));
    }
    match args.exit_status {
        false => exit::DONE,
        true if progress.input.messages == 0 => exit::BAD_DATA,
        true => exit::of_outcome(progress, args.strict),
    }
}

fn reduce(input: TeeReader, feed: &FeedArgs, progress: &Arc<Mutex<Progress>>) -> io::Result<()> {
    let decoder = feed.decoder();
    let (_, input) = decompress::open(input)?;
    parallel::reduce(Chunks::new(input, 0).live(), &decoder, &mut Shared(Arc::clone(progress)), parallel::workers())
}

/// Handles a signal: passes the last output of an interrupted engine through, closes the copy and
/// exits.
fn handle_signal(number: i32, signal: &AtomicI32, copy_file: Option<&Mutex<CopyFile>>, inline: &Mutex<Option<Inline>>) {
    signal.store(number, Ordering::Relaxed);
    let asked = Instant::now();
    while number == rustix::process::Signal::INT.as_raw() && asked.elapsed() < DRAIN_TIMEOUT {
        std::thread::sleep(Duration::from_millis(20));
    }
    // A blocked copy delays the exit only for a limited time.
    let asked = Instant::now();
    while let Some(copy_file) = copy_file.filter(|_| asked.elapsed() < DRAIN_TIMEOUT) {
        if let Ok(mut copy_file) = copy_file.try_lock() {
            copy_file.finish();
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let inline = lock(inline).take();
    if let Some(inline) = inline {
        inline.end(Some(INTERRUPTED));
    }
    std::process::exit(128 + number);
}

/// Returns the look of inline progress. Its terminal cannot be queried for the background color, so
/// `auto` uses the sixteen standard colors, which suit dark and light.
pub(super) fn inline_look(args: &LookArgs) -> Look {
    let (look, _) = resolve_look(args);
    match args.theme {
        ThemeArg::Auto => Look { depth: Depth::Sixteen, ..look },
        _ => look,
    }
}

impl crate::cli::args::ShowArgs {
    pub(super) fn tell(&self) -> InlineMode {
        let terminal = io::stderr().is_terminal();
        match self.progress {
            _ if self.quiet => InlineMode::Nothing,
            ProgressArg::Never => InlineMode::End,
            ProgressArg::Always => InlineMode::InPlace,
            // Feed lines on the same terminal would break the drawing.
            ProgressArg::Auto if terminal && !io::stdout().is_terminal() => InlineMode::InPlace,
            ProgressArg::Auto => InlineMode::Changes,
        }
    }
}
