//! Command as an engine: reads the call on stdin, writes messages on stdout; its stderr goes to
//! the service's log. Terminated with its whole process group.

use crate::net::source::engine_http::CallOutcome;
use crate::service::engine_action::EngineAction;
use crate::service::secrets::KnownSecrets;
use crate::util::process_tag::ProcessTag;
use crate::util::sys::lock;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synctop_core::protocol::{clean, mask};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Notify;

/// Maximum bytes of a command's output per read.
const CHUNK: usize = 64 * 1024;

/// Maximum length of the last stderr line that is quoted in a failure.
const STDERR_TAIL: usize = 400;

/// Runs a command: writes the call to its stdin and passes its stdout to `each`. `stop`, or
/// silence for `stall`, ends it with TERM, and after twice `grace` with KILL.
#[expect(clippy::too_many_arguments, reason = "all of one call")]
pub async fn run(
    command: &[String],
    children: &Path,
    (pipeline, action, body): (&str, EngineAction, &str),
    known: &KnownSecrets,
    stall: Duration,
    grace: Duration,
    stop: &Notify,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> CallOutcome {
    let Some((program, arguments)) = command.split_first() else {
        return CallOutcome::Unreachable("it has no command".into());
    };
    let tag = ProcessTag::random();
    let (variable, value) = tag.variable();
    let spawned = tokio::process::Command::new(program)
        .args(arguments)
        .env(variable, value)
        .env("SYNCTOP_ACTION", action.as_str())
        // The service's own variables are withheld.
        .env_remove("SYNCTOP_TOKEN")
        .env_remove("SYNCTOP_READ_TOKEN")
        .env_remove("PGPASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return CallOutcome::Unreachable(format!("{program} cannot be started: {error}")),
    };
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        body.insert("action".into(), action.as_str().into());
    }
    let words = Arc::new(Mutex::new(String::new()));
    let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let group = ProcessGroup::new(leader, tag.clone(), children);
    if let Some(mut stdin) = child.stdin.take() {
        tokio::spawn(async move {
            // A command may ignore its stdin.
            let _ = stdin.write_all(format!("{body}\n").as_bytes()).await;
        });
    }
    let stderr_task = child
        .stderr
        .take()
        .map(|stderr| tokio::spawn(log_stderr(stderr, pipeline.to_owned(), known.clone(), Arc::clone(&words))));
    let mut stopped = None;
    if let Some(mut stdout) = child.stdout.take() {
        let mut buffer = vec![0; CHUNK];
        while stopped.is_none() {
            let read = tokio::select! {
                biased;
                () = stop.notified() => Err(CallOutcome::Stopped),
                () = tokio::time::sleep(stall) => Err(CallOutcome::Silent(stall)),
                read = stdout.read(&mut buffer) => Ok(read),
            };
            match read {
                Err(why) => stopped = Some(why),
                Ok(Ok(0)) => break,
                Ok(Err(error)) => stopped = Some(CallOutcome::Broke(error.to_string())),
                Ok(Ok(length)) => {
                    if each(buffer.get(..length).unwrap_or_default()).is_break() {
                        stopped = Some(CallOutcome::Stopped);
                    }
                }
            }
        }
    }
    // A command has `grace` to end after its output or after TERM.
    if stopped.is_some() {
        group.signal(Signal::TERM);
    }
    let mut ended = tokio::time::timeout(grace, child.wait()).await;
    if ended.is_err() {
        group.signal(Signal::TERM);
        ended = tokio::time::timeout(grace, child.wait()).await;
    }
    let ended = if let Ok(ended) = ended {
        ended.ok()
    } else {
        group.signal(Signal::KILL);
        child.wait().await.ok()
    };
    // Descendants must not outlive the command, also those with a session of their own.
    let _ = tokio::task::spawn_blocking(move || drop(group)).await;
    if let Some(stderr_task) = stderr_task {
        let _ = tokio::time::timeout(grace, stderr_task).await;
    }
    if let Some(stopped) = stopped {
        return stopped;
    }
    match ended {
        Some(status) if status.success() => CallOutcome::Ended,
        Some(status) => {
            let words = lock(&words).trim().to_owned();
            let quoted = if words.is_empty() { String::new() } else { format!("; its last words: {words}") };
            CallOutcome::Exited(format!("{program} ended with {}{quoted}", exit(status)))
        }
        None => CallOutcome::Broke(format!("{program} is gone")),
    }
}

/// Describes an exit status: exit code or signal.
fn exit(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".into(),
    }
}

/// Process group of a command; killed when dropped.
struct ProcessGroup {
    leader: Option<Pid>,
    tag: ProcessTag,
    /// File in the children folder that records the process.
    file: Option<PathBuf>,
}

impl ProcessGroup {
    fn new(leader: Option<Pid>, tag: ProcessTag, children: &Path) -> Self {
        let file = leader.map(|pid| children.join(pid.as_raw_nonzero().to_string()));
        if let (Some(pid), Some(file)) = (leader, &file) {
            let _ = std::fs::write(file, format!("{} {}", start_time(pid).unwrap_or_default(), tag.as_str()));
        }
        Self { leader, tag, file }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.leader {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.tag.kill();
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Start time of a process in ticks since boot, which distinguishes reused process ids. Field 22
/// of proc_pid_stat(5).
fn start_time(pid: Pid) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

/// Kills commands that a killed service left running: they would write to the same destinations as
/// the commands of this service.
pub fn kill_leftovers(children: &Path) {
    for entry in std::fs::read_dir(children).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        let recorded = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let (recorded, tag) = recorded.split_once(' ').unwrap_or((&recorded, ""));
        if !tag.is_empty() {
            ProcessTag::from_text(tag).kill();
        }
        if let Some(pid) = pid.filter(|pid| !recorded.is_empty() && start_time(*pid).as_deref() == Some(recorded)) {
            tracing::warn!(target: "service", "killed an engine left by a previous service: process {}", pid.as_raw_nonzero());
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = std::fs::remove_file(entry.path());
    }
}

/// Copies a command's stderr to the service's log, with secrets masked, and stores its last line in
/// `words`.
async fn log_stderr(
    stderr: tokio::process::ChildStderr,
    pipeline: String,
    known: KnownSecrets,
    words: Arc<Mutex<String>>,
) {
    let mut lines = BufReader::new(stderr);
    let (mut line, mut secret) = (Vec::new(), mask::OpenSecret::default());
    loop {
        line.clear();
        match (&mut lines).take(16 * 1024).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        let text = if secret.covers(text) { mask::MASK.into() } else { known.mask(text) };
        let text = clean::line(&text);
        if !text.is_empty() {
            tracing::info!(target: "engine", "{pipeline}: {text}");
            *lock(&words) = synctop_core::format::short(&text, STDERR_TAIL);
        }
    }
}
