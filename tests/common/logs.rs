//! Recorded logs and their reduction, shared by the tests of both packages.
#![allow(dead_code, reason = "each test uses a part")]

use std::path::{Path, PathBuf};
use synctop_core::protocol::Decoder;
use synctop_core::reduce::{Exit, Progress, Reducer, StderrLog};
use synctop_core::report::{Summary, summary};

/// Root of the clone.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    if package.ends_with("crates/synctop-core") { package.ancestors().nth(2).unwrap() } else { package }
}

/// Logs in tests/fixtures as (folder, file).
pub fn fixtures() -> Vec<(String, PathBuf)> {
    logs_below(&root().join("tests/fixtures"))
}

/// All recordings, if they are beside the clone.
pub fn corpus() -> Option<Vec<(String, PathBuf)>> {
    let root = root().join("../shared/corpus");
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

/// Folders with recorded runs, one for each protocol that has an exit code, stderr or both beside
/// its log.
const RUN_FOLDERS: [&str; 2] = ["airbyte", "singer"];

/// Runs in [`RUN_FOLDERS`] below `root`, with or without a recorded exit code.
pub fn runs(root: &Path) -> Vec<Run> {
    let codes = std::fs::read_to_string(root.join("airbyte-singer-exit-codes.tsv")).unwrap();
    let code = |name: &str| {
        let line = codes.lines().find(|line| line.split('\t').next() == Some(name))?;
        line.split('\t').nth(1)?.split(' ').next()?.parse().ok()
    };
    let mut names = std::collections::BTreeMap::<String, (Option<PathBuf>, Option<PathBuf>)>::new();
    for folder in RUN_FOLDERS {
        for path in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten().map(|entry| entry.path()) {
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
    let root = root().join("../shared/corpus");
    root.is_dir().then_some(root)
}

pub fn fixture_root() -> PathBuf {
    root().join("tests/fixtures")
}

impl Run {
    /// Recorded exit.
    pub fn exit(&self) -> Option<Exit> {
        self.exit.map(Exit::of_shell)
    }

    /// Reduces the log with its stderr and exit code.
    pub fn reduced(&self) -> Progress {
        let mut reducer = Reducer::new(Decoder::default());
        if let Some(path) = &self.stderr {
            reducer = reducer.with_stderr(StderrLog::of(&unpack(path)));
        }
        reducer.push(&unpack(&self.log));
        reducer.finish(self.exit());
        reducer.progress
    }
}

pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// Decompressed bytes of a fixture.
pub fn bytes(name: &str) -> Vec<u8> {
    unpack(&fixture(name))
}

/// Bytes of a file, decompressed if it is a `.zst`.
pub fn unpack(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes }
}

/// Reduces a whole log, including its end.
pub fn reduced(bytes: &[u8]) -> Progress {
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push(bytes);
    reducer.finish(None);
    reducer.progress
}

/// Reduces the first `length` bytes of a log and leaves the input open.
pub fn open_after(bytes: &[u8], length: usize) -> Progress {
    let mut reducer = Reducer::new(Decoder::default());
    reducer.push(&bytes[..length.min(bytes.len())]);
    reducer.progress
}

/// Summary of a whole log.
pub fn summary_of(path: &Path) -> Summary {
    summary(&reduced(&unpack(path)))
}
