//! Engine as a child process: its stdout is the feed, its stderr goes to the reducer and to the
//! diagnostics, its exit status is part of the outcome.

use crate::net::source::error::SourceError;
use crate::net::source::event::Event;
use crate::net::source::pipe;
use crate::util::process_tag::{ProcessTag, start_guard};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use synctop_core::protocol::mask;
use synctop_core::reduce::Exit;

/// Maximum time between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(5);

/// Maximum wait for the remaining output after the child ended, if its process group is empty.
const OUTPUT_WAIT: Duration = Duration::from_secs(2);

/// Input of the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChildInput {
    /// The stdin of synctop if it is piped, otherwise an idle terminal: engines treat an empty
    /// input that is no terminal as an empty list of work.
    #[default]
    Auto,
    Null,
    Inherit,
}

/// Handle of a started engine.
#[derive(Debug, Clone)]
pub struct Engine {
    group: Option<Pid>,
    gone: Arc<AtomicBool>,
    tag: ProcessTag,
    /// Input of the process that ends descendants which outlive synctop.
    _guard: Option<Arc<ChildStdin>>,
}

impl Engine {
    /// True while the child runs, or a descendant holds its output open.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.gone.load(Ordering::Acquire)
    }

    /// Sends SIGTERM, and SIGKILL after [`GRACE`]. Blocks until the engine is gone, at most
    /// two seconds longer.
    pub fn stop(&self) {
        self.signal(Signal::TERM);
        // A stopped process handles SIGTERM only after it continues.
        self.signal(Signal::CONT);
        let asked = Instant::now();
        while self.runs() && asked.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(20));
        }
        if self.runs() {
            self.signal(Signal::KILL);
            let killed = Instant::now();
            while self.runs() && killed.elapsed() < OUTPUT_WAIT {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Sends a signal to the process group of the child and to its other descendants, unless the
    /// engine is gone.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group.filter(|_| self.runs()) {
            let _ = kill_process_group(group, signal);
            self.tag.signal_outside(group, signal);
        }
    }
}

/// Starts the engine in its own process group.
///
/// # Errors
/// Returns [`SourceError::Spawn`] if it cannot be started.
pub fn spawn(command: &[String], input: ChildInput, events: SyncSender<Event>) -> Result<Engine, SourceError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(SourceError::Spawn("nothing".into(), "no command was given".into()));
    };
    let failed = |error: std::io::Error| SourceError::Spawn(program.clone(), error.to_string());
    let stdin = stdin_for(input).map_err(failed)?;
    let tag = ProcessTag::random();
    let (variable, value) = tag.variable();
    let mut child = Command::new(program)
        .args(arguments)
        .env(variable, value)
        .stdin(stdin.child)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let engine = Engine {
        group: i32::try_from(child.id()).ok().and_then(Pid::from_raw),
        gone: Arc::new(AtomicBool::new(false)),
        _guard: start_guard(&tag).map(Arc::new),
        tag,
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout_ended = Arc::new(AtomicBool::new(false));
    let set_stdout_ended = stdout_ended.clone();
    let stderr_ended = Arc::new(AtomicBool::new(false));
    let set_stderr_ended = stderr_ended.clone();
    let feed = events.clone();
    thread("read", move || {
        if let Some(mut stdout) = stdout
            && let Err(error) = pipe::pump(&mut stdout, &feed)
        {
            let _ = feed.send(Event::Down(format!("the engine's output: {error}")));
        }
        set_stdout_ended.store(true, Ordering::Release);
    })
    .map_err(failed)?;
    let stderr_events = events.clone();
    thread("stderr", move || {
        if let Some(stderr) = stderr {
            diagnostics(stderr, &stderr_events);
        }
        set_stderr_ended.store(true, Ordering::Release);
    })
    .map_err(failed)?;
    let (gone, group) = (engine.gone.clone(), engine.group);
    thread("wait", move || {
        let _terminal = stdin.ours;
        let exit = wait(&mut child);
        let died = Instant::now();
        let mut noticed = false;
        // The output ends once every writer is gone: descendants may outlive the child.
        while !stdout_ended.load(Ordering::Acquire) {
            let late = died.elapsed() >= OUTPUT_WAIT;
            if late && group.is_none_or(|group| test_kill_process_group(group).is_err()) {
                break;
            }
            if late && !std::mem::replace(&mut noticed, true) {
                let text = "the engine ended, but a process that it started holds its output open: still reading";
                let _ = events.send(Event::Notice(text.into()));
            }
            std::thread::sleep(Duration::from_millis(if late { 100 } else { 5 }));
        }
        gone.store(true, Ordering::Release);
        while !stderr_ended.load(Ordering::Acquire) && died.elapsed() < OUTPUT_WAIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = events.send(Event::End(exit));
    })
    .map_err(failed)?;
    Ok(engine)
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

/// Waits for the child and returns its exit code or signal.
fn wait(child: &mut Child) -> Option<Exit> {
    let status = child.wait().ok()?;
    status.code().map(Exit::Code).or_else(|| status.signal().map(Exit::Signal))
}

/// Stdin of a child.
struct Stdin {
    child: Stdio,
    /// Controlling end of a terminal made for the child; dropping it hangs up.
    ours: Option<std::os::fd::OwnedFd>,
}

fn stdin_for(input: ChildInput) -> std::io::Result<Stdin> {
    let piped_in = !rustix::termios::isatty(rustix::stdio::stdin());
    match input {
        ChildInput::Null => Ok(Stdin { child: Stdio::null(), ours: None }),
        // The child is in another process group: reading from this terminal would stop it.
        ChildInput::Inherit if !piped_in => Err(std::io::Error::other(
            "its stdin would be this terminal, whose keys synctop reads. Pipe something in, or leave --stdin out",
        )),
        ChildInput::Inherit => Ok(Stdin { child: Stdio::inherit(), ours: None }),
        ChildInput::Auto if piped_in => Ok(Stdin { child: Stdio::inherit(), ours: None }),
        ChildInput::Auto => {
            use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
            let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
            grantpt(&ours)?;
            unlockpt(&ours)?;
            let name = ptsname(&ours, Vec::new())?;
            let theirs = rustix::fs::open(
                name,
                rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY,
                rustix::fs::Mode::empty(),
            )?;
            Ok(Stdin { child: Stdio::from(theirs), ours: Some(ours) })
        }
    }
}

/// Maximum bytes read as one line of stderr; the rest of a longer line becomes further lines.
const STDERR_LINE: u64 = 64 * 1024;

/// Sends each line of stderr as an event, and logs it as a diagnostic.
fn diagnostics(stderr: impl std::io::Read, events: &SyncSender<Event>) {
    use std::io::Read;
    let mut stderr = BufReader::new(stderr);
    let (mut line, mut secret) = (Vec::new(), mask::OpenSecret::default());
    loop {
        line.clear();
        match stderr.by_ref().take(STDERR_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        // Unmasked: masking may break JSON. The consumer masks before it stores.
        let _ = events.send(Event::Stderr(text.to_owned()));
        diagnose(if secret.covers(text) { mask::MASK } else { text });
    }
}

/// Logs a line of stderr for the log pane, masked, with a level guessed from its words.
pub(crate) fn diagnose(line: &str) {
    let text = mask::secrets(line);
    let text = synctop_core::protocol::clean::line(&text);
    let lower = text.to_ascii_lowercase();
    let within = text.starts_with(' ');
    if !within
        && ["error", "fatal", "panic", "exception", "critical", "traceback"].iter().any(|word| lower.contains(word))
    {
        tracing::error!(target: "engine", "{text}");
    } else if !within && (lower.contains("warn") || lower.contains("retry")) {
        tracing::warn!(target: "engine", "{text}");
    } else {
        tracing::info!(target: "engine", "{text}");
    }
}
