//! `synctop backfill ENGINE_URL --pipeline FILE` and `synctop http://engine/pipeline_sync`: call an
//! engine over HTTP.

use crate::app::{self, Inline, InlineMode, on_termination};
use crate::cli::args::{BackfillArgs, FeedArgs, LookArgs, WatchArgs};
use crate::cli::error::CommandError;
use crate::cli::exit;
use crate::cli::files::{read_state_file, read_text_file};
use crate::cli::output::print_error;
use crate::cli::screen::show;
use crate::cli::tee::inline_look;
use crate::engine::backfill::drive::{Drive, OutputSink, drive, new_run_id};
use crate::engine::backfill::retry_loop::{Backfill, BackfillOptions, BackfillResult};
use crate::net;
use crate::net::source::event::Event;
use crate::net::source::pipe;
use crate::net::source::tee::CopyFile;
use crate::util::sys::lock;
use reqwest::Url;
use serde_json::Value;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use synctop_core::ResultClass;
use synctop_core::protocol::mask;
use synctop_core::reduce::Progress;
use synctop_core::reduce::Reducer;
use tokio::sync::Notify;

/// Maximum time that a stopped call has to end and store its state.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Route of a call that streams its messages.
const ROUTE: &str = "/pipeline_sync";

/// Route of a call that returns a single end message.
const BATCH_ROUTE: &str = "/pipeline_sync_batch";

pub(super) fn backfill(args: &BackfillArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, CommandError> {
    let url = engine_url(&args.engine, if args.batch { BATCH_ROUTE } else { ROUTE })?;
    if let Some(copy) = &args.output {
        for (other, what) in [(Some(&args.pipeline), "the pipeline"), (args.state.as_ref(), "the state")] {
            if other.is_some_and(|other| same(copy, other)) {
                return Err(CommandError::usage(format!(
                    "{} is {what}: pass another file for the copy.",
                    copy.display()
                )));
            }
        }
    }
    let mut run = prepare(
        &args.pipeline,
        args.state.as_deref(),
        BackfillOptions {
            time_limit: args.time_limit,
            state_limit: args.state_limit,
            retries: args.retries,
            batch: args.batch,
            ..BackfillOptions::default()
        },
    )?;
    if let Some(base) = &args.base_url {
        Url::parse(base).map_err(|error| CommandError::usage(format!("--base-url {}: {error}.", shown(base))))?;
        run.set_base_url(base);
    }
    let stall = args.stall_timeout;
    let calls = Drive { url, stall, state: args.state.clone(), once: false, batch: args.batch };
    if args.watch {
        return watched(calls, run, &engine_label(&args.engine), args.output.as_deref(), look, feed, args.strict);
    }
    run_inline(args, &calls, run, look, feed)
}

/// Makes one call to an engine and shows it on the run screen.
pub(super) fn watch(url: &str, args: &WatchArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, CommandError> {
    let Some(pipeline) = &args.pipeline else {
        return Err(CommandError::usage(format!(
            "A call of an engine needs a pipeline: synctop {url} --pipeline FILE. To watch the output of another call, pipe it: \
             curl -sN ... | synctop"
        )));
    };
    let run = prepare(pipeline, args.state.as_deref(), BackfillOptions::default())?;
    let stall = args.stall_timeout.or(Some(Duration::from_secs(300)));
    let url_of_call = engine_url(url, ROUTE)?;
    let calls = Drive { url: url_of_call, stall, state: args.state.clone(), once: true, batch: false };
    watched(calls, run, &engine_label(url), None, look, feed, false)
}

/// Masks the secrets of a URL.
fn shown(url: &str) -> String {
    mask::secrets(url).into_owned()
}

/// Returns the engine URL without secrets, scheme and route, as a short name for the screen.
fn engine_label(url: &str) -> String {
    let shown = shown(url);
    let short = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest);
    short.trim_end_matches('/').trim_end_matches(ROUTE).to_owned()
}

fn engine_url(text: &str, route: &str) -> Result<Url, CommandError> {
    let bad = |why: String| {
        CommandError::usage(format!(
            "{} is not the URL of an engine: {why}. Example: http://127.0.0.1:4010",
            shown(text)
        ))
    };
    if !text.contains("://") {
        return Err(bad("it starts with neither http:// nor https://".into()));
    }
    let mut url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(format!("{}: is not http:", url.scheme())));
    }
    if !url.path().ends_with(route) {
        let before = url.path().trim_end_matches('/');
        let before = before.strip_suffix(ROUTE).unwrap_or(before);
        let path = format!("{before}{route}");
        url.set_path(&path);
    }
    Ok(url)
}

/// True if both paths name the same file.
fn same(one: &Path, other: &Path) -> bool {
    // A missing file cannot be canonicalized: its folder is.
    let whole = |path: &Path| {
        std::fs::canonicalize(path)
            .ok()
            .or_else(|| Some(std::fs::canonicalize(crate::util::sys::folder(path)).ok()?.join(path.file_name()?)))
    };
    matches!((whole(one), whole(other)), (Some(one), Some(other)) if one == other)
}

/// Reads the pipeline and the state file, and creates the run.
fn prepare(pipeline_file: &Path, kept: Option<&Path>, options: BackfillOptions) -> Result<Backfill, CommandError> {
    let name = pipeline_file.display();
    let text = read_text_file(pipeline_file, "pipeline")?;
    let bad = |why: &str| CommandError {
        sentence: format!(
            "{name} is not a pipeline: {why}. Expected {{\"source\":{{\"type\":...}},\"destination\":{{\"type\":...}}}}."
        ),
        class: ResultClass::BadData,
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| bad(&error.to_string()))?;
    let pipeline = value.get("pipeline").unwrap_or(&value).clone();
    for part in ["source", "destination"] {
        if pipeline.get(part).and_then(|it| it.get("type")).and_then(Value::as_str).is_none() {
            return Err(bad(&format!("its {part} has no type")));
        }
    }
    let state = match kept {
        None => None,
        Some(path) if same(path, pipeline_file) => {
            return Err(CommandError::usage(format!("{name} is the pipeline: pass another file for the state.")));
        }
        Some(path) => read_state_file(path)?,
    };
    Backfill::new(BackfillOptions { pipeline, kept: kept.is_some(), ..options }, state.as_deref(), new_run_id())
        .map_err(|why| CommandError::no_state(kept.unwrap_or(Path::new("-")), &why))
}

/// Error of a state file that cannot be written.
fn state_write_error(path: Option<&Path>, error: &io::Error) -> CommandError {
    CommandError::unwritable(path.unwrap_or(Path::new("-")), "--state", error)
}

/// Creates the copy of all messages. With `append`, the copy of a continued run is extended.
fn open_copy(path: &Path, append: bool) -> Result<Arc<Mutex<CopyFile>>, CommandError> {
    let copy = CopyFile::create(path, append).map_err(|error| CommandError::unwritable(path, "-o", &error))?;
    Ok(Arc::new(Mutex::new(copy)))
}

/// Output of a run without the full screen: messages on stdout, progress on stderr.
struct Stdout<'b> {
    reducer: Reducer,
    shared: Arc<Mutex<Progress>>,
    inline: &'b Inline,
    signal: &'b AtomicI32,
    copy: Option<Arc<Mutex<CopyFile>>>,
    gone: Option<io::Error>,
}

impl Stdout<'_> {
    /// Runs `change` on the reducer while it holds the progress that the display shares.
    fn reduce(&mut self, change: impl FnOnce(&mut Reducer)) {
        let mut shared = lock(&self.shared);
        std::mem::swap(&mut self.reducer.progress, &mut shared);
        change(&mut self.reducer);
        std::mem::swap(&mut self.reducer.progress, &mut shared);
    }
}

impl OutputSink for Stdout<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        if let Some(copy) = &self.copy {
            lock(copy).write(bytes);
        }
        // A blocked reader makes the engine wait; a signal ends the write.
        match pipe::write_while(rustix::stdio::stdout(), bytes, || self.signal.load(Ordering::Relaxed) == 0) {
            Ok(true) => {}
            Ok(false) => return ControlFlow::Break(()),
            Err(error) => {
                self.gone = Some(error);
                return ControlFlow::Break(());
            }
        }
        self.reduce(|reducer| reducer.push(bytes));
        ControlFlow::Continue(())
    }

    fn notice(&mut self, text: &str) {
        self.inline.notice(text);
    }

    fn down(&mut self, why: &str) {
        self.inline.down(why);
    }
}

/// Runs the backfill without the full screen.
fn run_inline(
    args: &BackfillArgs,
    calls: &Drive,
    mut run: Backfill,
    look: &LookArgs,
    feed: &FeedArgs,
) -> Result<u8, CommandError> {
    let shared = Arc::new(Mutex::new(Progress::default()));
    let tell = args.show.tell();
    let inline = Inline::start(Arc::clone(&shared), tell, inline_look(look), engine_label(&args.engine))?;
    let stop = Arc::new(Notify::new());
    let signal = Arc::new(AtomicI32::new(0));
    {
        let (stop, signal) = (Arc::clone(&stop), Arc::clone(&signal));
        on_termination(move |number| {
            signal.store(number, Ordering::Relaxed);
            stop.notify_one();
            std::thread::sleep(STOP_TIMEOUT);
            std::process::exit(128 + number);
        })?;
    }
    let reducer = Reducer::new(feed.decoder());
    let copy = args.output.as_deref().map(|path| open_copy(path, run.attempts > 0)).transpose()?;
    let mut sink = Stdout {
        copy: copy.clone(),
        reducer,
        shared: Arc::clone(&shared),
        inline: &inline,
        signal: &signal,
        gone: None,
    };
    let verdict = app::runtime()?.block_on(drive(calls, &mut run, &mut sink, &stop));
    let gone = sink.gone.take();
    if let Some(copy) = &copy {
        lock(copy).finish();
    }
    sink.reduce(|reducer| reducer.finish(None));
    let progress = lock(&shared).clone();
    let stopped = signal.load(Ordering::Relaxed) > 0;
    inline.end(match &gone {
        Some(_) => Some("READER GONE: the reader of the messages has exited"),
        None if stopped => Some("STOPPED BY YOU"),
        None => None,
    });
    if let Some(broken) = copy.and_then(|copy| lock(&copy).broken.clone()) {
        print_error(&format!("The copy is incomplete: {broken}."));
    }
    // Printed last, below the progress, so that it stays visible.
    let short = match run.uncounted() {
        0 => None,
        1 => Some("a call".to_owned()),
        n => Some(format!("{n} calls")),
    };
    if let Some(calls) = short.filter(|_| tell != InlineMode::Nothing) {
        print_error(&format!(
            "The totals are incomplete: the records of {calls} that broke off are missing, because this engine reports them late."
        ));
    }
    if let Some(error) = gone {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Ok(exit::reader_gone());
        }
        return Err(CommandError::unwritable_stdout(&error));
    }
    let number = signal.load(Ordering::Relaxed);
    if number > 0 {
        if tell != InlineMode::Nothing && calls.state.as_ref().is_some_and(|path| path.exists()) {
            print_error("Stopped. The state is stored: the same command continues from it.");
        }
        return Ok(exit::signal(number));
    }
    match verdict {
        Err(error) => Err(state_write_error(calls.state.as_deref(), &error)),
        Ok(BackfillResult::Stopped) => Ok(exit::code(ResultClass::Unfinished)),
        Ok(BackfillResult::Failed(error)) => Err(error.into()),
        Ok(BackfillResult::Through) => Ok(match progress.input.messages {
            0 => exit::BAD_DATA,
            _ => exit::of_outcome(&progress, args.strict),
        }),
    }
}

/// Output of a run on the full screen: sends each event to the reducer thread.
struct ScreenSink {
    events: SyncSender<Event>,
    /// True if bytes arrived since the last failure.
    has_output: bool,
    copy: Option<Arc<Mutex<CopyFile>>>,
}

impl OutputSink for ScreenSink {
    fn bytes(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        if let Some(copy) = &self.copy {
            lock(copy).write(bytes);
        }
        self.has_output = true;
        match self.events.send(Event::Bytes(bytes.to_vec(), None)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn notice(&mut self, text: &str) {
        let _ = self.events.send(Event::Notice(text.to_owned()));
    }

    fn down(&mut self, why: &str) {
        self.has_output = false;
        let _ = self.events.send(Event::Down(why.to_owned()));
    }
}

fn watched(
    calls: Drive,
    mut run: Backfill,
    name: &str,
    copy: Option<&Path>,
    look: &LookArgs,
    feed: &FeedArgs,
    strict: bool,
) -> Result<u8, CommandError> {
    if !io::stdout().is_terminal() {
        return Err(CommandError::usage(if calls.once {
            "The dashboard needs a terminal. Without one: synctop backfill URL --pipeline FILE"
        } else {
            "The dashboard needs a terminal. Without --watch the messages are on stdout, with -o FILE in a file."
        }));
    }
    let copy = copy.map(|path| open_copy(path, run.attempts > 0)).transpose()?;
    let session = app::Session::new()?;
    let (sender, events) = net::channel();
    let stop = Arc::new(Notify::new());
    let state = calls.state.clone();
    let runtime = app::runtime()?;
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("calls".into()).spawn(move || {
        let mut screened = ScreenSink { events: sender.clone(), has_output: false, copy };
        let verdict = runtime.block_on(drive(&calls, &mut run, &mut screened, &stopped));
        if let Some(copy) = &screened.copy {
            lock(copy).finish();
        }
        let broken = match &verdict {
            Ok(BackfillResult::Failed(error)) => Some(error.sentence.clone()),
            Err(error) => Some(error.to_string()),
            _ => None,
        };
        // Without any bytes there is no feed that could end: the failure alone is shown.
        let ended = broken.is_none() || screened.has_output;
        if let Some(why) = broken {
            let _ = sender.send(Event::Down(why));
        }
        if ended {
            let _ = sender.send(Event::End(None));
        }
        verdict
    })?;
    let code = show(session, name.to_owned(), None, events, look, feed, Some(state.is_some()), None, strict);
    stop.notify_one();
    let asked = Instant::now();
    while !thread.is_finished() && asked.elapsed() < STOP_TIMEOUT {
        std::thread::sleep(Duration::from_millis(5));
    }
    let verdict = if thread.is_finished() { thread.join().ok() } else { None };
    match (code, verdict) {
        (Ok(_), Some(Err(error))) => Err(state_write_error(state.as_deref(), &error)),
        (Ok(_), Some(Ok(BackfillResult::Failed(error)))) => Err(error.into()),
        (code, _) => code,
    }
}
