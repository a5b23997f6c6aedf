//! `synctop serve` as a separate process, and a client of it: plain HTTP/1.1 on sockets.
#![allow(dead_code, reason = "each test uses a part")]

#[path = "postgres.rs"]
pub mod postgres;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// True in the program that runs the tests of the service with PostgreSQL.
pub fn is_on_postgres() -> bool {
    env!("CARGO_CRATE_NAME") == "service_postgres"
}

/// Returns the first column of the first row of a query on the store of a folder.
pub fn query_store(folder: &Path, sql: &str) -> String {
    if let Some(url) = shared_store(folder) {
        let database = url.rsplit('/').next().unwrap();
        return cluster().query(database, sql).trim().to_owned();
    }
    let store = rusqlite::Connection::open(folder.join("data/synctop.db")).unwrap();
    store.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0)).map_or_else(
        |error| panic!("{sql}: {error}"),
        |value| match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => panic!("{sql}: {other:?}"),
        },
    )
}

/// Hexadecimal digits of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

/// Returns the cluster of this process.
fn cluster() -> &'static postgres::Postgres {
    static CLUSTER: std::sync::OnceLock<Option<postgres::Postgres>> = std::sync::OnceLock::new();
    CLUSTER.get_or_init(|| postgres::Postgres::start(true)).as_ref().expect("PostgreSQL is installed")
}

/// Returns the address of a folder's database in the cluster of this process; `None` for SQLite.
fn shared_store(folder: &Path) -> Option<String> {
    if !is_on_postgres() {
        return None;
    }
    let name = hex(folder.to_str()?.as_bytes());
    let name = name.get(name.len().saturating_sub(50)..).unwrap_or(&name);
    Some(cluster().database(&format!("d{name}")))
}

pub const WAIT_TIMEOUT: Duration = Duration::from_secs(40);

/// Service process that ends with the test.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(folder: &Path) -> Self {
        Self::with(folder, &["--secret-dir", folder.to_str().unwrap()], &[])
    }

    pub fn with(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(folder.join("stderr")).unwrap();
        let store = shared_store(folder);
        let mut child = Command::new(env!("CARGO_BIN_EXE_synctop"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"))
            .args(arguments)
            .args(store.iter().flat_map(|url| ["--store", url]))
            .env_remove("SYNCTOP_TOKEN")
            .env_remove("SYNCTOP_READ_TOKEN")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = || std::fs::read_to_string(folder.join("stderr")).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line:?}: {}", said()));
        Self { address: address.parse().unwrap(), child }
    }

    /// Starts a node of a service: nodes of one folder share its database.
    pub fn node(folder: &Path, name: &str, url: &str, arguments: &[&str]) -> Self {
        let own = folder.join(name);
        std::fs::create_dir_all(&own).unwrap();
        Self::with(
            &own,
            &[&["--store", url, "--node-name", name, "--secret-dir", folder.to_str().unwrap()], arguments].concat(),
            &[],
        )
    }

    /// Kills the service with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits. Returns the exit code.
    pub fn end(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    pub fn client(&self) -> Client {
        Client { address: self.address, headers: Vec::new() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub headers: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Asserts the status. Returns the body as JSON.
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}

impl Client {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends a request. Returns the stream of its answer.
    pub fn send(&self, method: &str, path: &str, body: &str) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(WAIT_TIMEOUT * 3))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }

    pub fn try_call(&self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        read_answer(self.send(method, path, body)?)
    }

    pub fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &body.to_string())
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call("PATCH", path, &body.to_string())
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, "")
    }

    /// Waits until a pipeline reaches `target`, at most 60 s. Returns the answer.
    pub fn wait(&self, id: &str, target: &str) -> Value {
        let answer = self.get(&format!("/pipelines/{id}/wait?for={target}&timeout=60s")).is(200);
        assert_eq!(answer["reached"], true, "{id} {target}: {answer}");
        answer
    }

    /// Polls a path until the condition holds. Returns the last answer.
    pub fn until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let now = self.get(path).json();
            if condition(&now) {
                return now;
            }
            assert!(began.elapsed() < WAIT_TIMEOUT, "{path}: {now}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Reads a whole answer.
///
/// # Errors
///
/// Returns an error if the connection breaks off.
pub fn read_answer(stream: TcpStream) -> std::io::Result<Answer> {
    let mut input = BufReader::new(stream);
    let (status, headers) = read_head(&mut input)?;
    let mut body = Vec::new();
    let chunked =
        headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked");
    if chunked {
        while let Some(chunk) = read_chunk(&mut input)? {
            body.extend(chunk);
        }
    } else {
        input.read_to_end(&mut body)?;
    }
    Ok(Answer { status, headers, body })
}

type Head = (u16, Vec<(String, String)>);

pub fn read_head(input: &mut impl BufRead) -> std::io::Result<Head> {
    let broken = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "no answer");
    let mut line = String::new();
    input.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or_else(broken)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Err(broken());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => return Ok((status, headers)),
        }
    }
}

/// The next chunk of a chunked body; `None` at its end.
pub fn read_chunk(input: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let broken = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the body broke off");
    let mut line = String::new();
    input.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim_end(), 16).map_err(|_| broken())?;
    let mut chunk = vec![0; length + 2];
    input.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok((length > 0).then_some(chunk))
}

/// Reader of an open NDJSON body.
pub struct Lines {
    input: BufReader<TcpStream>,
    partial: Vec<u8>,
}

impl Lines {
    pub fn of(stream: TcpStream) -> Self {
        let mut input = BufReader::new(stream);
        let (status, _) = read_head(&mut input).unwrap();
        assert_eq!(status, 200);
        Self { input, partial: Vec::new() }
    }

    /// The next line; `None` at the end of the body.
    pub fn next_line(&mut self) -> Option<Value> {
        self.next_raw().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// The next line unparsed, with its newline.
    pub fn next_raw(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.partial.iter().position(|byte| *byte == b'\n') {
                let rest = self.partial.split_off(at + 1);
                let line = std::mem::replace(&mut self.partial, rest);
                return Some(String::from_utf8(line).unwrap());
            }
            match read_chunk(&mut self.input).unwrap() {
                Some(chunk) => self.partial.extend(chunk),
                None => return None,
            }
        }
    }

    /// Reads up to the first line that meets the condition, and returns it.
    pub fn until(&mut self, condition: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.next_line().expect("the body ended");
            if condition(&line) {
                return line;
            }
        }
    }
}

/// Small simulated pipeline, unpaced.
pub fn quick(id: &str) -> Value {
    simulated(id, serde_json::json!({"speed": 0}))
}

pub fn simulated(id: &str, config: Value) -> Value {
    serde_json::json!({
        "id": id,
        "source": {"type": "simulated", "simulated": config},
        "destination": {"type": "simulated", "simulated": {}},
    })
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Starts a service with this configuration.
pub fn service(folder: &Path, config: &str) -> Server {
    let path = folder.join("config.toml");
    std::fs::write(&path, config).unwrap();
    Server::with(folder, &["--config", path.to_str().unwrap()], &[])
}

/// Pipeline on an engine of the configuration.
pub fn on(id: &str, engine: &str) -> Value {
    serde_json::json!({"id": id, "source": {"type": engine, engine: {}}, "destination": {"type": "x"}})
}

/// Writes a command engine: a Python script whose `text` follows the reading of its call.
pub fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/usr/bin/env python3\nimport json, os, signal, sys, time\ncall = json.loads(sys.stdin.readline())\ndef say(kind, **payload):\n    print(json.dumps({{'type': kind, kind: payload}}), flush=True)\n{text}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Scenario of one stream that is read in about two seconds at `speed` 1.
pub const SMALL: &str = r#"
latency_ms = [40, 60]
range = { gte = "2024-01-01T00:00:00Z", lt = "2025-01-01T00:00:00Z" }
[[streams]]
name = "customer"
records = 700
"#;

/// Scenario with two streams that are read in about half a second at `speed` 1.
pub const TWO_STREAMS: &str = r#"
latency_ms = [40, 60]
range = { gte = "2024-01-01T00:00:00Z", lt = "2025-01-01T00:00:00Z" }
[[streams]]
name = "customer"
records = 700
[[streams]]
name = "charge"
records = 300
"#;
