//! `synctop backfill ENGINE_URL --pipeline FILE`, and `synctop http://engine/pipeline_sync`

use super::args::{BackfillArgs, FeedArgs, LookArgs, WatchArgs};
use super::tee::quiet_look;
use super::track::READER_GONE;
use super::watch::{need_a_terminal, show};
use super::{Failure, complain, exit};
use crate::app::{self, Inline, Tell, on_end};
use crate::engine::backfill::{Backfill, Verdict, Wish};
use crate::engine::drive::{Drive, Taker, drive, fresh_id};
use crate::engine::state;
use crate::net::{self, Event, Ingest, SourceError, lock, pipe};
use crate::progress::{self, Progress};
use crate::protocol::{Decoder, mask};
use reqwest::Url;
use serde_json::Value;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a call that is stopped may take to end, with its state kept.
const STOPPING: Duration = Duration::from_secs(3);

/// The route that a run is called at.
const ROUTE: &str = "/pipeline_sync";

pub(super) fn backfill(args: &BackfillArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, Failure> {
    let url = engine_url(&args.engine)?;
    let mut run = begin(
        &args.pipeline,
        args.state.as_deref(),
        Wish { time_limit: args.time_limit, state_limit: args.state_limit, retries: args.retries, ..Wish::default() },
    )?;
    if let Some(base) = &args.base_url {
        Url::parse(base).map_err(|error| Failure::usage(format!("--base-url {}: {error}.", shown(base))))?;
        run.base_url(base);
    }
    let calls = Drive { url, stall: args.stall_timeout, state: args.state.clone(), once: false };
    if args.watch {
        return watched(calls, run, &shown(&args.engine), look, feed);
    }
    beside(args, &calls, run, look, feed)
}

/// One call of an engine on the full screen.
pub(super) fn watch(url: &str, args: &WatchArgs, look: &LookArgs, feed: &FeedArgs) -> Result<u8, Failure> {
    let Some(pipeline) = &args.pipeline else {
        return Err(Failure::usage(format!(
            "An engine is called with a pipeline: synctop {url} --pipeline FILE. What was printed already is read from a pipe: \
             curl -sN ... | synctop"
        )));
    };
    let run = begin(pipeline, args.state.as_deref(), Wish::default())?;
    let stall = args.stall_timeout.or(Some(Duration::from_secs(300)));
    let calls = Drive { url: engine_url(url)?, stall, state: args.state.clone(), once: true };
    watched(calls, run, &shown(url), look, feed)
}

/// An address without what is secret in it.
fn shown(url: &str) -> String {
    mask::secrets(url).into_owned()
}

fn engine_url(text: &str) -> Result<Url, Failure> {
    let bad = |why: String| {
        Failure::usage(format!("{} is no address of an engine: {why}. It is like http://127.0.0.1:4010", shown(text)))
    };
    let mut url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(format!("{}: is not http:", url.scheme())));
    }
    if !url.path().ends_with(ROUTE) {
        let path = format!("{}{ROUTE}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

fn begin(pipeline: &Path, kept: Option<&Path>, wish: Wish) -> Result<Backfill, Failure> {
    let name = pipeline.display();
    let text = std::fs::read_to_string(pipeline).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::from(SourceError::Absent(name.to_string())),
        _ => SourceError::of(&name.to_string(), &error).into(),
    })?;
    let bad = |why: &str| Failure {
        sentence: format!(
            "{name} is no pipeline: {why}. It has {{\"source\":{{\"type\":...}},\"destination\":{{\"type\":...}}}}."
        ),
        code: exit::NOT_UNDERSTOOD,
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
        Some(path) => {
            state::read(path).map_err(|error| Failure::from(SourceError::of(&path.display().to_string(), &error)))?
        }
    };
    Backfill::new(Wish { pipeline, ..wish }, state.as_deref(), fresh_id()).map_err(|why| Failure {
        sentence: format!(
            "{} is no state of an engine: {why}. Name another file, or begin anew without it.",
            kept.unwrap_or(Path::new("-")).display()
        ),
        code: exit::NOT_UNDERSTOOD,
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn unkept(path: Option<&Path>, error: &io::Error) -> Failure {
    let name = path.map_or_else(|| "the state".to_owned(), |path| path.display().to_string());
    Failure { sentence: format!("Cannot write {name}: {error}. The old state is still there."), code: exit::FAILED }
}

// NDJSON on stdout, the display on stderr.

struct Beside<'b> {
    ingest: Ingest,
    shared: Arc<Mutex<Progress>>,
    inline: &'b Inline,
    signal: &'b AtomicI32,
    gone: Option<io::Error>,
}

impl Taker for Beside<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        // A reader that takes nothing holds the engine up, and not a signal.
        match pipe::write_while(rustix::stdio::stdout(), bytes, || self.signal.load(Ordering::Relaxed) == 0) {
            Ok(true) => {}
            Ok(false) => return ControlFlow::Break(()),
            Err(error) => {
                self.gone = Some(error);
                return ControlFlow::Break(());
            }
        }
        self.ingest.push(bytes);
        // What is shared of it is not copied.
        *lock(&self.shared) = self.ingest.progress.clone();
        ControlFlow::Continue(())
    }

    fn notice(&mut self, text: &str) {
        self.inline.notice(text);
    }
}

fn beside(
    args: &BackfillArgs,
    calls: &Drive,
    mut run: Backfill,
    look: &LookArgs,
    feed: &FeedArgs,
) -> Result<u8, Failure> {
    let shared = Arc::new(Mutex::new(Progress::default()));
    let tell = args.show.tell();
    let inline = Inline::start(Arc::clone(&shared), tell, quiet_look(look), shown(&args.engine))?;
    let stop = Arc::new(Notify::new());
    let signal = Arc::new(AtomicI32::new(0));
    {
        let (stop, signal) = (Arc::clone(&stop), Arc::clone(&signal));
        on_end(move |number| {
            signal.store(number, Ordering::Relaxed);
            stop.notify_one();
            std::thread::sleep(STOPPING);
            std::process::exit(128 + number);
        })?;
    }
    let ingest = Ingest::new(Decoder::new(feed.dialect()));
    let mut taker = Beside { ingest, shared: Arc::clone(&shared), inline: &inline, signal: &signal, gone: None };
    let verdict = runtime()?.block_on(drive(calls, &mut run, &mut taker, &stop));
    let gone = taker.gone.take();
    taker.ingest.finish(None);
    let progress = taker.ingest.progress;
    *lock(&shared) = progress.clone();
    inline.end();
    if let Some(error) = gone {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Ok(READER_GONE);
        }
        return Err(Failure { sentence: format!("Cannot write stdout: {error}."), code: exit::FAILED });
    }
    let number = signal.load(Ordering::Relaxed);
    if number > 0 {
        if tell != Tell::Nothing && calls.state.is_some() {
            complain("Stopped. What was read is kept: the same command goes on from it.");
        }
        return Ok(u8::try_from(128 + number).unwrap_or(u8::MAX));
    }
    match verdict {
        Err(error) => Err(unkept(calls.state.as_deref(), &error)),
        Ok(Verdict::Failed(why, code)) => Err(Failure { sentence: capital(&why), code }),
        Ok(Verdict::Through) => Ok(match progress.input.messages {
            0 => exit::NOT_UNDERSTOOD,
            _ => progress::outcome(&progress).exit_code(),
        }),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

// The full screen.

struct Screened(SyncSender<Event>);

impl Taker for Screened {
    fn bytes(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        match self.0.send(Event::Bytes(bytes.to_vec(), None)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn notice(&mut self, text: &str) {
        let _ = self.0.send(Event::Notice(text.to_owned()));
    }
}

fn watched(calls: Drive, mut run: Backfill, name: &str, look: &LookArgs, feed: &FeedArgs) -> Result<u8, Failure> {
    need_a_terminal("FILE")?;
    if !io::stdout().is_terminal() {
        return Err(Failure::usage("The dashboard needs a terminal. Without --watch the messages are on stdout."));
    }
    let session = app::Session::new()?;
    let (sender, events) = net::channel();
    let stop = Arc::new(Notify::new());
    let state = calls.state.clone();
    let runtime = runtime()?;
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("calls".into()).spawn(move || {
        let verdict = runtime.block_on(drive(&calls, &mut run, &mut Screened(sender.clone()), &stopped));
        match &verdict {
            Ok(Verdict::Failed(why, _)) if why != "stopped" => drop(sender.send(Event::Down(why.clone()))),
            Err(error) => drop(sender.send(Event::Down(error.to_string()))),
            _ => {}
        }
        let _ = sender.send(Event::End(None));
        verdict
    })?;
    let code = show(session, name.to_owned(), None, events, look, feed, None);
    stop.notify_one();
    let asked = Instant::now();
    while !thread.is_finished() && asked.elapsed() < STOPPING {
        std::thread::sleep(Duration::from_millis(5));
    }
    let verdict = if thread.is_finished() { thread.join().ok() } else { None };
    match (code, verdict) {
        (Ok(_), Some(Err(error))) => Err(unkept(state.as_deref(), &error)),
        (Ok(_), Some(Ok(Verdict::Failed(why, code)))) if why != "stopped" => {
            Err(Failure { sentence: capital(&why), code })
        }
        (code, _) => code,
    }
}
