//! Shared by the tests: recorded logs, and what the library makes of them.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Read;
use std::path::{Path, PathBuf};
use synctop::net::{Ingest, decompress};
use synctop::progress::{Progress, Summary, summary};
use synctop::protocol::Decoder;

/// The copies in tests/fixtures: (folder, file).
pub fn fixtures() -> Vec<(String, PathBuf)> {
    logs_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"))
}

/// All recordings, where they stand beside the clone.
pub fn corpus() -> Option<Vec<(String, PathBuf)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    root.is_dir().then(|| logs_below(&root))
}

fn logs_below(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for folder in ["stripe-trace", "stripe-trace/cli", "stripe-progress", "stripe-progress/cli"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.contains(".ndjson") || name.contains(".stdout.") {
                found.push((folder.to_owned(), path));
            }
        }
    }
    found.sort();
    found
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The unpacked bytes of a fixture.
pub fn bytes(name: &str) -> Vec<u8> {
    unpack(&fixture(name))
}

pub fn unpack(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    decompress::open(file).unwrap().1.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Everything of a log, its end included.
pub fn reduced(bytes: &[u8]) -> Progress {
    let mut ingest = Ingest::new(Decoder::default());
    ingest.push(bytes);
    ingest.finish(None);
    ingest.progress
}

/// A log that is still open after so many bytes.
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
