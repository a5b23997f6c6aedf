//! Shared by the tests: recorded logs, and their reduction as the commands read them.
#![allow(dead_code, unused_imports, reason = "each test uses a part")]

pub mod logs;

pub use logs::*;
use synctop::net::source::sidecar::Sidecar;
use synctop::net::timeline::indexer::{SavedLog, read};
use synctop_core::protocol::Decoder;
use synctop_core::reduce::Progress;

impl Run {
    /// Stderr and exit code beside the log.
    pub fn sidecar(&self) -> Sidecar {
        let mut sidecar = Sidecar { exit: self.exit(), ..Sidecar::default() };
        if let Some(path) = &self.stderr {
            sidecar.read_stderr(std::fs::File::open(path).unwrap()).unwrap();
        }
        sidecar
    }

    /// Reduces the log with its stderr and exit code, as `synctop summary` does.
    pub fn progress(&self) -> Progress {
        read_saved(&self.log, self.sidecar())
    }
}

/// Reduces a saved log as the commands read it.
pub fn read_saved(path: &std::path::Path, sidecar: Sidecar) -> Progress {
    let mut progress = Progress::default();
    read(vec![SavedLog::open(path).unwrap()], sidecar, &mut progress, &Decoder::default()).unwrap();
    progress
}
