//! Tag in the environment of an engine, by which its descendants are found, also those with a session
//! of their own. A process that clears its environment is not found.

use crate::util::sys::random_id;
use rustix::process::{Pid, Signal, getpgid, kill_process};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Environment variable of the tag.
const VARIABLE: &str = "SYNCTOP_ENGINE_TAG";

/// Maximum bytes of the environment of a process that are searched.
const MAX_ENVIRONMENT: u64 = 1 << 20;

/// First argument of the process that ends what is left of an engine after the end of synctop.
pub const GUARD: &str = "__end-engine-with-parent";

/// Maximum time between SIGTERM and SIGKILL of the guard.
const GUARD_GRACE: Duration = Duration::from_secs(5);

/// Random tag of the processes of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessTag(String);

impl ProcessTag {
    /// Creates a random tag.
    #[must_use]
    pub fn random() -> Self {
        Self(random_id("engine"))
    }

    /// Creates a tag from its text.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the text of the tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the environment variable of a tagged process.
    #[must_use]
    pub fn variable(&self) -> (&'static str, &str) {
        (VARIABLE, &self.0)
    }

    /// Returns the processes with the tag; none where the system has no `/proc`.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        let wanted = format!("{VARIABLE}={}\0", self.0);
        let tagged = |pid: &Pid| {
            let mut environment = Vec::new();
            let file = std::fs::File::open(format!("/proc/{}/environ", pid.as_raw_nonzero()));
            let read = file.map(|file| file.take(MAX_ENVIRONMENT).read_to_end(&mut environment));
            read.is_ok() && memchr::memmem::find(&environment, wanted.as_bytes()).is_some()
        };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
        pids.filter(tagged).collect()
    }

    /// Sends a signal to all processes with the tag. Returns their number.
    pub fn signal(&self, signal: Signal) -> usize {
        let processes = self.processes();
        for pid in &processes {
            let _ = kill_process(*pid, signal);
        }
        processes.len()
    }

    /// Sends a signal to the processes with the tag that are not in a process group.
    pub fn signal_outside(&self, group: Pid, signal: Signal) {
        for pid in self.processes() {
            if getpgid(Some(pid)).is_ok_and(|its| its != group) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Kills all processes with the tag, also those that are started meanwhile.
    pub fn kill(&self) {
        for _ in 0..10 {
            if self.signal(Signal::KILL) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Starts a process that waits for the end of this one, also by SIGKILL, and then ends what is left
/// of the engine. The returned pipe stays open until then; `None` if it cannot be started.
#[must_use]
pub fn start_guard(tag: &ProcessTag) -> Option<ChildStdin> {
    let mut child = Command::new(own_program()?)
        .args([GUARD, tag.as_str()])
        // Neither signals of the terminal nor the end of an outer engine are for it.
        .process_group(0)
        .env_remove(VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()
}

/// Returns the file of this program. On Linux it is found also after an update replaced it.
fn own_program() -> Option<PathBuf> {
    if cfg!(target_os = "linux") { Some("/proc/self/exe".into()) } else { std::env::current_exe().ok() }
}

/// Body of the guard: waits for the end of its input, and ends the processes with the tag.
pub fn guard(tag: &str) {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let tag = ProcessTag::from_text(tag);
    tag.signal(Signal::TERM);
    tag.signal(Signal::CONT);
    let asked = Instant::now();
    while asked.elapsed() < GUARD_GRACE && !tag.processes().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    tag.kill();
}
