//! Store in PostgreSQL, used by any number of nodes.
//!
//! ```text
//! session.rs   one connection, on a thread of its own       rows.rs    operations of a transaction
//! schema.rs    tables, migrations                           leases.rs  nodes, and who runs which pipeline
//! feed.rs      changes of all nodes since a position        chunks.rs  logs of runs
//! transfer.rs  export, import, check                          segments.rs  logs in an object store
//! ```
//!
//! `NOTIFY` is a hint and no more: each reader also polls.

pub mod chunks;
pub mod feed;
pub mod leases;
mod rows;
pub mod schema;
pub mod segments;
pub mod session;
pub mod transfer;

use crate::service::store::postgres::rows::DatabaseRows;
use crate::service::store::postgres::session::{Connector, DatabaseSession};
use crate::service::store::transaction::{Backend, ReadJob, Tx, WriteJob};
use crate::util::sqlite::StoreError;
use crate::util::sys::lock;
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Connections for writes, and for reads.
const WRITERS: usize = 4;
const READERS: usize = 4;

/// Maximum queued jobs of a pool; further callers wait.
const QUEUE_LENGTH: usize = 1024;

/// Minimum time between two hints of one node.
const HINT_INTERVAL: Duration = Duration::from_millis(100);

/// Job of a thread with a connection.
type Job = Box<dyn FnOnce(&mut DatabaseSession) + Send>;

/// Threads with a connection each.
struct Pool {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Pool {
    fn new(name: &str, size: usize, connector: &Arc<Connector>) -> Result<Self, StoreError> {
        let (sender, jobs) = mpsc::channel::<Job>(QUEUE_LENGTH);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::new();
        for number in 0..size {
            let mut session = DatabaseSession::new(Arc::clone(connector))?;
            let jobs = Arc::clone(&jobs);
            let thread = std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    let Some(job) = job else { return };
                    // A panic in one job must not end the thread. Its caller gets an error.
                    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut session))).is_err() {
                        session.roll_back();
                        session.disconnect();
                    }
                }
            });
            threads.push(thread.map_err(|error| StoreError::Sql(error.to_string()))?);
        }
        Ok(Self { jobs: Mutex::new(Some(sender)), threads: Mutex::new(threads) })
    }

    async fn run(&self, job: Job) {
        let jobs = lock(&self.jobs).clone();
        if let Some(jobs) = jobs {
            let _ = jobs.send(job).await;
        }
    }

    fn close(&self) {
        drop(lock(&self.jobs).take());
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

/// Part of the store that several nodes share: nodes, leases and logs.
pub struct Cluster {
    pub connector: Arc<Connector>,
    readers: Pool,
    hints: Hints,
}

/// Hints to other nodes, at a bounded rate: each one takes a lock of the whole database.
struct Hints {
    last: Mutex<Instant>,
    is_due: AtomicBool,
}

impl Hints {
    /// Sends a hint that something changed, or leaves it to the node's thread.
    fn give(&self, session: &mut DatabaseSession) {
        {
            let mut last = lock(&self.last);
            if last.elapsed() < HINT_INTERVAL {
                self.is_due.store(true, Ordering::Relaxed);
                return;
            }
            *last = Instant::now();
        }
        self.is_due.store(false, Ordering::Relaxed);
        // A hint that is lost costs a second: each node polls.
        let _ = leases::notify(session);
    }
}

impl Cluster {
    /// Hints to other nodes that something changed.
    pub fn give_hint(&self, session: &mut DatabaseSession) {
        self.hints.give(session);
    }

    /// Sends a hint that was left out because it followed another one too soon.
    pub fn give_late_hint(&self, session: &mut DatabaseSession) {
        if self.hints.is_due.load(Ordering::Relaxed) {
            self.hints.give(session);
        }
    }

    /// Runs statements outside the queue of writes.
    ///
    /// # Errors
    /// Returns the error of `work`, or [`StoreError::Closed`].
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut DatabaseSession) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move |session: &mut DatabaseSession| {
            let _ = sender.send(work(session));
        });
        self.readers.run(job).await;
        receiver.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Database on a server.
pub struct Postgres {
    writers: Pool,
    pub cluster: Arc<Cluster>,
}

impl Postgres {
    /// Connects, and applies the missing migrations.
    ///
    /// # Errors
    /// Returns [`StoreError::Unreachable`] if the server cannot be reached, [`StoreError::OldServer`]
    /// or [`StoreError::Later`] if server and program do not fit.
    pub fn open(connector: &Arc<Connector>) -> Result<Self, StoreError> {
        // A session has a runtime of its own, which must not start on a thread of another one.
        let first = Arc::clone(connector);
        let migrated = std::thread::scope(|scope| {
            scope
                .spawn(move || schema::migrate(&mut DatabaseSession::new(first)?))
                .join()
                .unwrap_or(Err(StoreError::Closed))
        });
        let (before, after) = migrated?;
        if before != after {
            tracing::info!(target: "service", "the store was migrated from version {} to {}", before.version, after.version);
        }
        let cluster = Cluster {
            connector: Arc::clone(connector),
            readers: Pool::new("store-read", READERS, connector)?,
            hints: Hints { last: Mutex::new(Instant::now()), is_due: AtomicBool::new(false) },
        };
        Ok(Self { writers: Pool::new("store-write", WRITERS, connector)?, cluster: Arc::new(cluster) })
    }
}

impl Backend for Postgres {
    fn write(&self, job: WriteJob) -> BoxFuture<'_, ()> {
        let cluster = Arc::clone(&self.cluster);
        Box::pin(self.writers.run(Box::new(move |session| {
            if transact(session, job) {
                cluster.give_hint(session);
            }
        })))
    }

    fn read(&self, job: ReadJob) -> BoxFuture<'_, ()> {
        Box::pin(self.cluster.readers.run(Box::new(move |session| match session.connect() {
            Ok(_) => job(Ok(&mut DatabaseRows::of_read(session))),
            Err(error) => job(Err(error)),
        })))
    }

    fn close(&self) {
        self.writers.close();
        self.cluster.readers.close();
    }
}

/// Runs a write in a transaction, and sends the result to its caller. True if it was committed.
fn transact(session: &mut DatabaseSession, job: WriteJob) -> bool {
    // A connection that broke while it was idle shows it at the first statement: nothing is lost.
    let begun = session.batch("BEGIN").or_else(|_| session.batch("BEGIN"));
    if let Err(error) = begun {
        let (_, reply) = job(Err(error.clone()));
        reply(Some(&error));
        return false;
    }
    let mut rows = DatabaseRows::of_write(session);
    let mut tx = Tx::new(&mut rows);
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(Ok(&mut tx))));
    let callbacks = std::mem::take(&mut tx.callbacks);
    let Ok((stays, reply)) = done else {
        session.roll_back();
        return false;
    };
    if !stays {
        session.roll_back();
        reply(None);
        return false;
    }
    let committed = session.batch("COMMIT");
    match &committed {
        Ok(()) => {
            for callback in callbacks {
                callback();
            }
            reply(None);
        }
        Err(StoreError::Unreachable(..)) => reply(Some(&StoreError::Unknown)),
        Err(error) => {
            session.roll_back();
            reply(Some(error));
        }
    }
    committed.is_ok()
}
