//! Storage of the logs of all pipelines: files in the data folder, or chunks in a database.

use crate::service::log::chunks::{ChunkLog, LogWriter};
use crate::service::log::{self, CompressionQueue, FileLog, LogRetention, PipelineLog};
use crate::service::store::postgres::Cluster;
use crate::util::sys::steady_time;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Storage of the logs.
pub enum LogStorage {
    /// Files in a folder; closed segments are compressed by one queue.
    Files { folder: PathBuf, compressor: CompressionQueue, retention: LogRetention },
    /// Chunks in a database; one thread writes those of all pipelines.
    Chunks(Arc<Cluster>, Arc<LogWriter>),
}

impl LogStorage {
    /// Creates the storage in a folder.
    ///
    /// # Errors
    /// Returns an error if the thread that compresses cannot be started.
    pub fn in_folder(folder: PathBuf, retention: LogRetention) -> io::Result<Self> {
        Ok(Self::Files { folder, compressor: log::compressor()?, retention })
    }

    /// Returns true if the logs are files of this process.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Files { .. })
    }

    /// Opens the log of a pipeline whose last run ended at `floor`.
    ///
    /// # Errors
    /// Returns an error if its folder cannot be created or read.
    pub fn open(&self, id: &str, incarnation: u64, floor: u64) -> io::Result<PipelineLog> {
        match self {
            Self::Files { folder, compressor, retention } => {
                let folder = folder.join(folder_name(id, incarnation));
                Ok(PipelineLog::File(FileLog::open(folder, *retention, compressor.clone(), floor)?))
            }
            Self::Chunks(cluster, writer) => {
                let log = ChunkLog::new(incarnation, (0, 0), Arc::clone(cluster), Arc::clone(writer));
                Ok(PipelineLog::Chunks(log))
            }
        }
    }

    /// Prunes expired data of files: `logs` are those of all pipelines.
    pub fn prune(&self, logs: &[Arc<FileLog>]) {
        let Self::Files { folder, retention, .. } = self else { return };
        let names: HashSet<_> = logs.iter().filter_map(|log| Some(log.folder().file_name()?.to_owned())).collect();
        log::prune_deleted(folder, retention.age, |name| names.contains(name));
        for log in logs {
            log.prune(steady_time());
        }
    }

    /// Removes the files of a deleted pipeline. A database removes its chunks with the pipeline.
    ///
    /// # Errors
    /// Returns an error if a file stays.
    pub async fn remove(&self, id: &str, incarnation: u64) -> io::Result<()> {
        let Self::Files { folder, .. } = self else { return Ok(()) };
        let folder = folder.join(folder_name(id, incarnation));
        match tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Stores the last lines, once all runs have ended.
    pub async fn close(&self) {
        if let Self::Chunks(_, writer) = self {
            let writer = Arc::clone(writer);
            let _ = tokio::task::spawn_blocking(move || writer.close()).await;
        }
    }
}

/// Returns the name of the folder of a pipeline.
fn folder_name(id: &str, incarnation: u64) -> String {
    format!("{id}.{incarnation}")
}
