//! A private PostgreSQL cluster of Debian's package, run by an ordinary user and ended with its test.
#![allow(dead_code, reason = "each test uses a part")]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Ordinary user that runs the server if the tests run as root, which PostgreSQL refuses.
const UNPRIVILEGED: u32 = 65_534;

/// Superuser of the cluster.
const USER: &str = "synctop";

/// Script that runs a server until its stdin closes, also if this process is killed.
const GUARD: &str = r#""$@" & pid=$!; cat >/dev/null; kill -QUIT $pid; wait $pid"#;

/// Server with its data in a temporary folder.
pub struct Postgres {
    folder: PathBuf,
    child: Mutex<Option<Child>>,
    pub port: u16,
    /// True for a server of the whole process, which is never dropped.
    is_static: bool,
}

/// Returns the folder of the server's programs, the newest version first.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

impl Postgres {
    /// Starts a new cluster; `None` where PostgreSQL is not installed, which is said on stderr.
    /// `scripts/test` installs it.
    pub fn start(is_static: bool) -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("PostgreSQL is not installed: this test is left out (install the package postgresql)");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("synctop-pg").tempdir().unwrap();
        if is_root() {
            std::os::unix::fs::chown(folder.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        }
        let made = command(&programs.join("initdb"))
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", USER, "-D"])
            .arg(folder.path().join("data"))
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder: folder.keep(), child: Mutex::new(None), port, is_static };
        server.restart();
        Some(server)
    }

    /// Starts the server again, and waits until it accepts connections.
    pub fn restart(&self) {
        let programs = programs().unwrap();
        let data = self.folder.join("data");
        let guard = format!("{GUARD}; rm -rf {}", self.folder.display());
        let mut child = command(Path::new("sh"))
            .args(["-c", if self.is_static { &guard } else { GUARD }, "sh"])
            .arg(programs.join("postgres"))
            .stdin(Stdio::piped())
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "shared_buffers=64MB", "-c", "max_connections=200", "-c", "unix_socket_directories="])
            .arg("-D")
            .arg(&data)
            .stderr(std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            if self.psql("postgres", "SELECT 1").status.success() {
                break;
            }
            assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60), "{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        *self.child.lock().unwrap() = Some(child);
    }

    /// Stops the server as a power failure of its processes would: without a checkpoint.
    pub fn stop_immediately(&self) {
        let Some(mut child) = self.child.lock().unwrap().take() else { return };
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Creates a database unless it exists. Returns its address.
    pub fn database(&self, name: &str) -> String {
        let exists = self.query("postgres", &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'"));
        if exists.trim().is_empty() {
            self.query("postgres", &format!("CREATE DATABASE {name}"));
        }
        format!("postgres://{USER}@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs a query with psql. Returns its rows, one per line, with the columns separated by `|`.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn psql(&self, database: &str, sql: &str) -> Output {
        Command::new("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", USER, "-d", database, "-c", sql])
            .output()
            .unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop_immediately();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
