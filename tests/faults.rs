//! Faults of the machine: a full disk, a read-only disk, no free descriptors, closed standard streams,
//! damaged stores. Clocks that are set are in `attacks.rs` (H7), kills in `service_crash.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "common/serve.rs"]
mod serve;

use serde_json::json;
use serve::{Server, folder, simulated};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// File system of its own, which needs root.
struct Disk<'p>(&'p Path);

impl<'p> Disk<'p> {
    /// Mounts a small disk; `None` if this user may not.
    fn mount(path: &'p Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }

    fn read_only(&self) {
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(self.0).status().unwrap().success());
    }

    /// Fills the disk with a file.
    fn fill(&self) {
        let path = self.0.join("filler");
        let block = vec![b'x'; 4096];
        let mut file = std::fs::File::create(path).unwrap();
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Runs a line of bash with `$SYNCTOP`, within a minute.
fn shell(folder: &Path, line: &str) -> Output {
    Command::new("timeout")
        .args(["60", "bash", "-c", line])
        .current_dir(folder)
        .env("SYNCTOP", env!("CARGO_BIN_EXE_synctop"))
        .env_remove("SYNCTOP_TOKEN")
        .output()
        .unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

const LOG: &str = "{\"type\":\"RECORD\",\"stream\":\"users\",\"record\":{\"id\":1}}\n";

#[test]
fn full_disk_refuses_changes_and_loses_none() {
    let folder = folder();
    let Some(disk) = Disk::mount(folder.path()) else {
        return eprintln!("left out: mounting a small disk needs root");
    };
    let mut server = Server::start(folder.path());
    let client = server.client();
    let paused = |id: &str| {
        let mut wanted = simulated(id, json!({"speed": 0}));
        wanted["desired_status"] = "paused".into();
        wanted
    };
    client.post("/pipelines", &paused("pipe_before")).is(201);
    disk.fill();
    let mut kept = vec!["pipe_before".to_owned()];
    let mut refused = 0;
    for number in 0..400 {
        let id = format!("pipe_{number}");
        let answer = client.post("/pipelines", &paused(&id));
        match answer.status {
            201 => kept.push(id),
            503 => refused += 1,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!(refused > 0, "the disk was not full");
    client.get("/health").is(200);
    client.get("/pipelines/pipe_before").is(200);
    disk.free();
    // Space is enough to go on.
    let begin = Instant::now();
    while client.post("/pipelines", &paused("pipe_after")).status != 201 {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(100));
    }
    kept.push("pipe_after".into());
    server.kill();
    let server = Server::start(folder.path());
    for id in &kept {
        assert_eq!(server.client().get(&format!("/pipelines/{id}")).status, 200, "{id} was acknowledged");
    }
    // A copy on a full disk: the bytes pass through all the same, and the loss is reported.
    drop(server);
    disk.fill();
    let line = format!("printf '%s' '{}' | $SYNCTOP tee -q -o copy.ndjson", LOG.trim_end());
    let output = shell(folder.path(), &line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), LOG.trim_end());
    assert!(words(&output).contains("copy.ndjson"), "{:?}: {}", output.status.code(), words(&output));
    assert_eq!(output.status.code(), Some(70));
    drop(disk);
}

#[test]
fn read_only_disk_is_refused_with_a_sentence() {
    let folder = folder();
    let Some(disk) = Disk::mount(folder.path()) else {
        return eprintln!("left out: mounting a small disk needs root");
    };
    std::fs::write(folder.path().join("log"), LOG).unwrap();
    disk.read_only();
    let output = shell(folder.path(), "$SYNCTOP serve --listen 127.0.0.1:0 --data-dir data");
    assert_eq!(output.status.code(), Some(70), "{}", words(&output));
    assert!(words(&output).contains("Read-only"), "{}", words(&output));
    let output = shell(folder.path(), "$SYNCTOP tee -o copy < log");
    assert_eq!(output.status.code(), Some(70), "{}", words(&output));
    // Reading needs no writing.
    let output = shell(folder.path(), "$SYNCTOP summary log --exit-code 0");
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    drop(disk);
}

#[test]
fn l8_service_without_free_descriptors_waits_and_recovers() {
    let folder = folder();
    let command = "ulimit -n 64; exec $SYNCTOP serve --listen 127.0.0.1:0 --data-dir data >address 2>stderr";
    let mut child = Command::new("bash")
        .args(["-c", command])
        .current_dir(folder.path())
        .env("SYNCTOP", env!("CARGO_BIN_EXE_synctop"))
        .env_remove("SYNCTOP_TOKEN")
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let address = loop {
        let text = std::fs::read_to_string(folder.path().join("address")).unwrap_or_default();
        if let Some(address) = text.trim().strip_prefix("http://") {
            break address.parse::<std::net::SocketAddr>().unwrap();
        }
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    };
    let open: Vec<_> = (0..100).filter_map(|_| std::net::TcpStream::connect(address).ok()).collect();
    std::thread::sleep(Duration::from_secs(2));
    let log = std::fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert_eq!(log.matches("connections cannot be accepted").count(), 1, "{log}");
    drop(open);
    let client = serve::Client { address, headers: Vec::new() };
    let begin = Instant::now();
    while !client.try_call("GET", "/health", "").is_ok_and(|answer| answer.status == 200) {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn closed_standard_streams_give_a_documented_code() {
    let folder = folder();
    std::fs::write(folder.path().join("log"), LOG).unwrap();
    let mut wrong = Vec::new();
    for (line, code) in [
        ("$SYNCTOP summary log --exit-code 0 <&-", 0),
        ("$SYNCTOP summary log --exit-code 0 <>/dev/null >&0", 0),
        ("echo '{}' | $SYNCTOP tee >&-", 70),
        ("$SYNCTOP summary log --exit-code 0 2>&-", 0),
        ("$SYNCTOP summary --quiet log --exit-code 0 <&- >&- 2>&-", 0),
        ("$SYNCTOP summary - <&-", 65),
        ("$SYNCTOP tee <&-", 0),
        ("$SYNCTOP track <&-", 65),
        ("$SYNCTOP run -- cat log <&- 2>&-", 0),
        ("$SYNCTOP --version >/dev/full", 70),
        ("$SYNCTOP summary $'no-\\xff.ndjson'", 66),
        ("$SYNCTOP $'no-\\xff'", 64),
        ("$SYNCTOP missing.ndjson <&- >&- 2>&-", 64),
    ] {
        let output = shell(folder.path(), line);
        if output.status.code() != Some(code) {
            wrong.push(format!("{line}: {:?}, expected {code}: {}", output.status.code(), words(&output)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn damaged_stores_are_named_with_a_next_step() {
    let folder = folder();
    let noise: Vec<u8> = (0..20_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    // The database of a service.
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/synctop.db"), &noise).unwrap();
    let output = shell(folder.path(), "$SYNCTOP serve --listen 127.0.0.1:0 --data-dir data");
    assert_eq!(output.status.code(), Some(70), "{}", words(&output));
    assert!(words(&output).contains("synctop.db is damaged"), "{}", words(&output));
    assert_eq!(std::fs::read(folder.path().join("data/synctop.db")).unwrap(), noise, "it is not touched");
    // The error inbox beside a service that works.
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let server = Server::start(&other);
    std::fs::create_dir(folder.path().join("state")).unwrap();
    std::fs::write(folder.path().join("state/fleet.db"), &noise).unwrap();
    let line = format!("$SYNCTOP pipelines list --url http://{} --data-dir state", server.address);
    let output = shell(folder.path(), &line);
    assert_eq!(output.status.code(), Some(0), "a list needs no inbox: {}", words(&output));
    // The state of a backfill and of the progress stage.
    std::fs::write(folder.path().join("state.json"), &noise).unwrap();
    std::fs::write(folder.path().join("p.json"), "{\"source\":{\"type\":\"x\"},\"destination\":{\"type\":\"x\"}}")
        .unwrap();
    for line in [
        "$SYNCTOP backfill http://127.0.0.1:1 --pipeline p.json --state state.json",
        "echo '{}' | $SYNCTOP track --state state.json",
    ] {
        let output = shell(folder.path(), line);
        assert!(matches!(output.status.code(), Some(65 | 66)), "{line}: {}", words(&output));
        assert!(words(&output).contains("state.json"), "{line}: {}", words(&output));
        assert_eq!(std::fs::read(folder.path().join("state.json")).unwrap(), noise, "{line} keeps it");
    }
    // A compressed log.
    std::fs::write(folder.path().join("log.zst"), &noise).unwrap();
    let output = shell(folder.path(), "$SYNCTOP summary log.zst");
    assert!(matches!(output.status.code(), Some(65 | 66)), "{}", words(&output));
}
