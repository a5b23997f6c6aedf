//! Shared by the tests: recorded logs and their reduction.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Read;
use std::path::{Path, PathBuf};
use synctop::net::source::decompress;
use synctop::net::source::ingest::Ingest;
use synctop::net::source::sidecar::Sidecar;
use synctop::net::timeline::indexer::{SavedLog, read};
use synctop_core::protocol::Decoder;
use synctop_core::reduce::{Exit, Progress};
use synctop_core::report::{Summary, summary};

/// Logs in tests/fixtures as (folder, file).
pub fn fixtures() -> Vec<(String, PathBuf)> {
    logs_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"))
}

/// All recordings, if they are beside the clone.
pub fn corpus() -> Option<Vec<(String, PathBuf)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    root.is_dir().then(|| logs_below(&root))
}

fn logs_below(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for folder in ["stripe-trace", "stripe-trace/cli", "stripe-progress", "stripe-progress/cli", "stripe-live"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.contains(".ndjson") || name.contains(".stdout") {
                found.push((folder.to_owned(), path));
            }
        }
    }
    found.sort();
    found
}

/// A recorded run of a connector, a tap or a target.
pub struct Run {
    /// `airbyte/faker-read-small`
    pub name: String,
    pub log: PathBuf,
    /// Its stderr, unless the log itself is stderr.
    pub stderr: Option<PathBuf>,
    /// Exit code; `None` if it was not recorded.
    pub exit: Option<i32>,
}

/// Runs in the folders `airbyte` and `singer` below `root`, with or without a recorded exit code.
pub fn runs(root: &Path) -> Vec<Run> {
    let codes = std::fs::read_to_string(root.join("airbyte-singer-exit-codes.tsv")).unwrap();
    let code = |name: &str| {
        let line = codes.lines().find(|line| line.split('\t').next() == Some(name))?;
        line.split('\t').nth(1)?.split(' ').next()?.parse().ok()
    };
    let mut names = std::collections::BTreeMap::<String, (Option<PathBuf>, Option<PathBuf>)>::new();
    for folder in ["airbyte", "singer"] {
        for path in std::fs::read_dir(root.join(folder)).unwrap().flatten().map(|entry| entry.path()) {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let file = file.trim_end_matches(".zst");
            let (stem, kind) = file.rsplit_once('.').unwrap();
            let slot = names.entry(format!("{folder}/{stem}")).or_default();
            if kind == "stderr" { slot.1 = Some(path) } else { slot.0 = Some(path) }
        }
    }
    let run = |(name, (log, stderr)): (String, (Option<PathBuf>, Option<PathBuf>))| {
        let (log, stderr) = match log {
            Some(log) => (log, stderr),
            // Meltano logs to stderr only.
            None => (stderr.unwrap(), None),
        };
        Run { exit: code(&name), name, log, stderr }
    };
    names.into_iter().map(run).collect()
}

/// Every log of a connector, tap, target or other tool below a folder, including stderr.
pub fn logs_of_tools(root: &Path) -> Vec<PathBuf> {
    let folders = ["airbyte", "singer", "other"].into_iter().map(|folder| root.join(folder));
    let mut found: Vec<_> =
        folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().flatten()).map(|it| it.path()).collect();
    found.sort();
    found
}

/// The recordings of connectors, taps and targets beside this clone.
pub fn corpus_root() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    root.is_dir().then_some(root)
}

pub fn fixture_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

impl Run {
    pub fn beside(&self) -> Sidecar {
        let mut beside = Sidecar::default();
        beside.exit = self.exit.map(|code| match Exit::Code(code).signal() {
            Some(signal) => Exit::Signal(signal),
            None => Exit::Code(code),
        });
        if let Some(path) = &self.stderr {
            beside.stderr(std::fs::File::open(path).unwrap()).unwrap();
        }
        beside
    }

    /// Reduces the log with its stderr and exit code, as `synctop summary` does.
    pub fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        let saved = SavedLog::open(&self.log).unwrap();
        read(vec![saved], self.beside(), &mut progress, &Decoder::default()).unwrap();
        progress
    }
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Decompressed bytes of a fixture.
pub fn bytes(name: &str) -> Vec<u8> {
    unpack(&fixture(name))
}

pub fn unpack(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    decompress::open(file).unwrap().1.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reduces a whole log, including its end.
pub fn reduced(bytes: &[u8]) -> Progress {
    let mut ingest = Ingest::new(Decoder::default());
    ingest.push(bytes);
    ingest.finish(None);
    ingest.progress
}

/// Reduces the first `length` bytes of a log and leaves the input open.
pub fn open_after(bytes: &[u8], length: usize) -> Progress {
    let mut ingest = Ingest::new(Decoder::default());
    ingest.push(&bytes[..length.min(bytes.len())]);
    ingest.progress
}

pub fn summary_of(path: &Path) -> Summary {
    let mut ingest = Ingest::new(Decoder::default());
    let (_, mut input) = decompress::open(std::fs::File::open(path).unwrap()).unwrap();
    let mut chunk = vec![0; 1 << 18];
    loop {
        match input.read(&mut chunk).unwrap() {
            0 => break,
            length => ingest.push(&chunk[..length]),
        }
    }
    ingest.finish(None);
    summary(&ingest.progress)
}
