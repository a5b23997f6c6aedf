//! Store of pipelines, runs, idempotency keys, live events and the action log: one interface, and
//! two implementations.
//!
//! ```text
//! Store::write(closure over Tx) --> Backend --> sqlite.rs    one file, one writer thread
//!                                           '-> postgres/    a server, used by several nodes
//! ```
//!
//! A write is a closure over one transaction and returns once its commit is on disk. Commits are
//! published before their writes return.

pub mod folder;
mod latency;
pub mod postgres;
mod sqlite;
mod transaction;
pub mod transfer;

pub use crate::util::sqlite::StoreError;
pub use latency::Latency;
pub use sqlite::DATABASE;
pub use transaction::{DamagedTask, PipelineRow, StoredAction, StoredState, Transaction, Tx};

use crate::service::store::postgres::session::Connector;
use crate::service::store::postgres::{Cluster, Postgres};
use crate::service::store::sqlite::Sqlite;
use crate::service::store::transaction::{Backend, ReadJob, WriteJob};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Store of a service. Dropping it lets the queued writes finish.
pub struct Store {
    backend: Box<dyn Backend>,
    writes: Latency,
    reads: Latency,
}

impl Store {
    /// Opens the store in `folder`, created if missing.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if it cannot be opened or has a later version.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self::of(Box::new(Sqlite::open(folder)?)))
    }

    /// Connects to a store in PostgreSQL, and applies the missing migrations. Returns the store, and
    /// its part that several nodes share.
    ///
    /// # Errors
    /// Returns [`StoreError::Unreachable`] if the server cannot be reached, [`StoreError::OldServer`]
    /// or [`StoreError::Later`] if server and program do not fit.
    pub fn connect(connector: &Arc<Connector>) -> Result<(Self, Arc<Cluster>), StoreError> {
        let database = Postgres::open(connector)?;
        let cluster = Arc::clone(&database.cluster);
        Ok((Self::of(Box::new(database)), cluster))
    }

    fn of(backend: Box<dyn Backend>) -> Self {
        Self { backend, writes: Latency::default(), reads: Latency::default() }
    }

    /// Returns the latency by kind of operation.
    #[must_use]
    pub fn latency(&self) -> [(&'static str, &Latency); 2] {
        [("read", &self.reads), ("write", &self.writes)]
    }

    /// Runs `work` in a transaction and returns its result after the commit. An error of `work`
    /// undoes its changes.
    ///
    /// # Errors
    /// Returns the error of `work`, or a [`StoreError`] if the commit fails.
    pub async fn write<T, E>(&self, work: impl FnOnce(&mut Tx) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: WriteJob = Box::new(move |tx| {
            let result = tx.map_err(E::from).and_then(work);
            let stays = result.is_ok();
            let reply = move |failed: Option<&StoreError>| {
                // A write is committed even if its caller was dropped.
                let _ = sender.send(match failed {
                    Some(error) if stays => Err(E::from(error.clone())),
                    _ => result,
                });
            };
            (stays, Box::new(reply))
        });
        let begun = Instant::now();
        self.backend.write(job).await;
        let result = receiver.await;
        self.writes.add(begun.elapsed());
        result.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Reads committed data.
    ///
    /// # Errors
    /// Returns the error of `work`, or a [`StoreError`] if the store cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let job: ReadJob = Box::new(move |tx| {
            let _ = sender.send(tx.and_then(work));
        });
        let begun = Instant::now();
        self.backend.read(job).await;
        let result = receiver.await;
        self.reads.add(begun.elapsed());
        result.unwrap_or(Err(StoreError::Closed))
    }

    /// Refuses further writes and waits until the queued ones are finished.
    pub fn close(&self) {
        self.backend.close();
    }
}
