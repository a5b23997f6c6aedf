//! Command as an engine: the call on stdin, messages on stdout, stderr in the service's log;
//! terminated with its whole process group.

use super::engines::EngineAction;
use super::secrets::Known;
use crate::net::http::CallOutcome;
use crate::net::lock;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use synctop_core::protocol::clean;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Notify;

/// Bytes of a command's output that are read at once.
const CHUNK: usize = 64 * 1024;

/// The last words of a command's stderr that are kept for its reason.
const LAST_WORDS: usize = 400;

/// Runs a command: the call on its stdin, its messages on its stdout.
#[expect(clippy::too_many_arguments, reason = "all of one call")]
pub async fn run(
    command: &[String],
    children: &Path,
    (pipeline, action, body): (&str, EngineAction, &str),
    known: &Known,
    stall: Duration,
    grace: Duration,
    stop: &Notify,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> CallOutcome {
    let Some((program, arguments)) = command.split_first() else {
        return CallOutcome::Unreachable("it has no command".into());
    };
    let spawned = tokio::process::Command::new(program)
        .args(arguments)
        .env("SYNCTOP_ACTION", action.as_str())
        // The service's own variables are withheld.
        .env_remove("SYNCTOP_TOKEN")
        .env_remove("SYNCTOP_READ_TOKEN")
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
    let group = Group::of(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)), children);
    if let Some(mut stdin) = child.stdin.take() {
        tokio::spawn(async move {
            // One that does not read it ends without it.
            let _ = stdin.write_all(format!("{body}\n").as_bytes()).await;
        });
    }
    let heard = child
        .stderr
        .take()
        .map(|stderr| tokio::spawn(listen(stderr, pipeline.to_owned(), known.clone(), Arc::clone(&words))));
    let mut how = None;
    if let Some(mut stdout) = child.stdout.take() {
        let mut buffer = vec![0; CHUNK];
        while how.is_none() {
            let read = tokio::select! {
                biased;
                () = stop.notified() => Err(CallOutcome::Stopped),
                () = tokio::time::sleep(stall) => Err(CallOutcome::Silent(stall)),
                read = stdout.read(&mut buffer) => Ok(read),
            };
            match read {
                Err(why) => how = Some(why),
                Ok(Ok(0)) => break,
                Ok(Err(error)) => how = Some(CallOutcome::Broke(error.to_string())),
                Ok(Ok(length)) => {
                    if each(buffer.get(..length).unwrap_or_default()).is_break() {
                        how = Some(CallOutcome::Stopped);
                    }
                }
            }
        }
    }
    // Its output is over, or it is to end: it has a while for it.
    if how.is_some() {
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
    // Its descendants end with it.
    group.signal(Signal::KILL);
    if let Some(heard) = heard {
        let _ = tokio::time::timeout(grace, heard).await;
    }
    if let Some(how) = how {
        return how;
    }
    match ended {
        Some(status) if status.success() => CallOutcome::Ended,
        Some(status) => {
            let words = lock(&words).trim().to_owned();
            let said = if words.is_empty() { String::new() } else { format!("; its last words: {words}") };
            CallOutcome::Exited(format!("{program} ended with {}{said}", exit(status)))
        }
        None => CallOutcome::Broke(format!("{program} is gone")),
    }
}

fn exit(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".into(),
    }
}

/// A process and its descendants; killed when dropped.
struct Group {
    leader: Option<Pid>,
    /// Its file among those of the children.
    file: Option<PathBuf>,
}

impl Group {
    fn of(leader: Option<Pid>, children: &Path) -> Self {
        let file = leader.map(|pid| children.join(pid.as_raw_nonzero().to_string()));
        if let (Some(pid), Some(file)) = (leader, &file) {
            let _ = std::fs::write(file, began(pid).unwrap_or_default());
        }
        Self { leader, file }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.leader {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Start time of a process in ticks since boot: a reused process id has another one. Field 22 of
/// proc_pid_stat(5).
fn began(pid: Pid) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

/// Ends the commands that a service which was killed has left: they would write beside those of
/// this one.
pub fn end_left_over(children: &Path) {
    for entry in std::fs::read_dir(children).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        let then = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if let Some(pid) = pid.filter(|pid| !then.is_empty() && began(*pid).as_ref() == Some(&then)) {
            tracing::warn!(target: "service", "an engine of a service that was killed is ended: process {}", pid.as_raw_nonzero());
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = std::fs::remove_file(entry.path());
    }
}

/// A command's stderr, into our own log; its last words are kept.
async fn listen(stderr: tokio::process::ChildStderr, pipeline: String, known: Known, words: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(16 * 1024).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = known.mask(text.trim_end());
        let text = clean::line(&text);
        if !text.is_empty() {
            tracing::info!(target: "engine", "{pipeline}: {text}");
            *lock(&words) = synctop_core::format::short(&text, LAST_WORDS);
        }
    }
}
