//! Store in an SQLite file with a single writer thread. Queued writes share a commit (WAL,
//! `synchronous=FULL`).

use crate::service::alerts::cause::Incident;
use crate::service::model::{StoredPipeline, Task};
use crate::service::store::transaction::{
    Backend, DamagedTask, KEY_RETENTION, MAX_ACTIONS, MAX_TASKS, OnCommit, PipelineRow, ReadJob, StoredAction,
    StoredState, Transaction, Tx, WriteJob, WriteReply, read_task, readable,
};
use crate::service::store::transfer::{ExportRecord, FORMAT, StoreFinding, TransferError, Writer};
use crate::util::sqlite::{self, StoreError};
use crate::util::sys::{lock, now, steady_now};
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use serde_json::Value;
use std::path::Path;
use std::sync::Mutex;
use synctop_core::protocol::Millis;
use tokio::sync::mpsc;

/// File of the database in the data folder.
pub const DATABASE: &str = "synctop.db";

/// Schema migrations. Each runs in its own transaction and upgrades a store by one version.
const MIGRATIONS: [&str; 2] = ["
    CREATE TABLE pipelines (id TEXT PRIMARY KEY, incarnation INTEGER NOT NULL UNIQUE, doc TEXT NOT NULL) STRICT;
    CREATE TABLE incarnations (last INTEGER NOT NULL) STRICT;
    INSERT INTO incarnations VALUES (0);
    CREATE TABLE states (pipeline TEXT PRIMARY KEY REFERENCES pipelines (id) ON DELETE CASCADE,
        state TEXT, checkpoints INTEGER NOT NULL DEFAULT 0, call_from INTEGER) STRICT;
    CREATE TABLE tasks (id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, incarnation INTEGER NOT NULL, number INTEGER NOT NULL,
        over INTEGER NOT NULL, created_at INTEGER NOT NULL, doc TEXT NOT NULL) STRICT;
    CREATE INDEX tasks_of_pipeline ON tasks (pipeline, incarnation, number);
    CREATE TABLE idempotency (key TEXT NOT NULL, scope TEXT NOT NULL, request TEXT NOT NULL, answer TEXT NOT NULL,
        at INTEGER NOT NULL, PRIMARY KEY (key, scope)) STRICT;
    CREATE TABLE inputs (seq INTEGER PRIMARY KEY AUTOINCREMENT, pipeline TEXT NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
        at INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE INDEX inputs_of_pipeline ON inputs (pipeline, seq);
    CREATE TABLE deleted (id TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
    CREATE TABLE actions (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, client TEXT NOT NULL, action TEXT NOT NULL,
        pipeline TEXT, detail TEXT) STRICT;
    CREATE INDEX actions_of_pipeline ON actions (pipeline, seq);
", "
    CREATE TABLE incidents (key TEXT PRIMARY KEY, due INTEGER, doc TEXT NOT NULL) STRICT;
"];

/// Maximum queued writes; further writers wait.
const QUEUE_LENGTH: usize = 1024;

/// Maximum writes in one commit.
const MAX_BATCH: usize = 256;

/// SQLite file with its writer thread and a connection for reading.
pub(super) struct Sqlite {
    writer: Mutex<Option<mpsc::Sender<WriteJob>>>,
    reader: Mutex<Connection>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Sqlite {
    /// Opens the database in `folder`, created if missing.
    ///
    /// # Errors
    /// Returns a [`StoreError`] if it cannot be opened or has a later version.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(DATABASE);
        let connection = sqlite::open(&path, &MIGRATIONS)?;
        let reader =
            Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        reader.busy_timeout(sqlite::LOCK_TIMEOUT)?;
        let (sender, mut works) = mpsc::channel(QUEUE_LENGTH);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || write(connection, &mut works))
            .map_err(|error| StoreError::Sql(error.to_string()))?;
        Ok(Self { writer: Mutex::new(Some(sender)), reader: Mutex::new(reader), thread: Mutex::new(Some(thread)) })
    }
}

impl Backend for Sqlite {
    fn write(&self, job: WriteJob) -> BoxFuture<'_, ()> {
        let writer = lock(&self.writer).clone();
        Box::pin(async move {
            if let Some(writer) = writer {
                let _ = writer.send(job).await;
            }
        })
    }

    fn read(&self, job: ReadJob) -> BoxFuture<'_, ()> {
        // A read takes less time than handing it to a thread.
        job(Ok(&mut Rows(&lock(&self.reader))));
        Box::pin(std::future::ready(()))
    }

    fn close(&self) {
        drop(lock(&self.writer).take());
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

/// Writer thread: commits queued writes in batches until the queue is closed.
fn write(mut connection: Connection, works: &mut mpsc::Receiver<WriteJob>) {
    while let Some(first) = works.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = works.try_recv()
        {
            batch.push(next);
        }
        commit(&mut connection, batch);
    }
    // The checkpoint moves everything into one file.
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    let _ = connection.close();
}

/// Commits a batch, publishes it, and sends the results to the callers.
fn commit(connection: &mut Connection, batch: Vec<WriteJob>) {
    let mut answers = Vec::new();
    let mut callbacks = Vec::new();
    let failed = apply_batch(connection, batch, &mut answers, &mut callbacks).err();
    match &failed {
        None => callbacks.into_iter().for_each(|callback| callback()),
        Some(error) => tracing::error!(target: "service", "{error}"),
    }
    for answer in answers {
        answer(failed.as_ref());
    }
}

/// Runs a batch of writes in one transaction, each in its own savepoint.
fn apply_batch(
    connection: &mut Connection,
    batch: Vec<WriteJob>,
    answers: &mut Vec<WriteReply>,
    callbacks: &mut Vec<OnCommit>,
) -> Result<(), StoreError> {
    let mut broken = None;
    let mut tx = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(tx) => tx,
        Err(error) => {
            let error = StoreError::from(error);
            answers.extend(batch.into_iter().map(|work| work(Err(error.clone())).1));
            return Err(error);
        }
    };
    for work in batch {
        // A full disk ends the transaction: later statements would be committed one by one.
        if tx.is_autocommit() && broken.is_none() {
            broken = Some(StoreError::Sql("the transaction broke off".into()));
        }
        let point = match &broken {
            Some(error) => Err(error.clone()),
            None => tx.savepoint().map_err(StoreError::from),
        };
        match point {
            Err(error) => answers.push(work(Err(error)).1),
            Ok(mut point) => {
                let mut rows = Rows(&point);
                let mut part = Tx::new(&mut rows);
                // A panic in one write must not end the writer thread. Its caller gets an error.
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(Ok(&mut part))));
                let own = std::mem::take(&mut part.callbacks);
                let stays = match done {
                    Ok((stays, answer)) => {
                        answers.push(answer);
                        stays
                    }
                    Err(_) => false,
                };
                if stays {
                    callbacks.extend(own);
                    point.commit()?;
                } else if point.rollback().is_err() {
                    broken = Some(StoreError::Sql("a part could not be taken back".into()));
                }
            }
        }
    }
    if let Some(error) = broken {
        return Err(error);
    }
    tx.commit()?;
    Ok(())
}

/// Rows of the database as one transaction sees them.
struct Rows<'c>(&'c Connection);

impl Rows<'_> {
    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        Ok(self.0.prepare_cached(sql)?.execute(params)?)
    }
}

impl Transaction for Rows<'_> {
    fn pipeline(&mut self, id: &str) -> Result<Option<StoredPipeline>, StoreError> {
        let sql = "SELECT doc FROM pipelines WHERE id = ?1";
        let text: Option<String> = self.0.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
        Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
    }

    fn pipelines(&mut self) -> Result<Vec<PipelineRow>, StoreError> {
        let mut all = self.0.prepare("SELECT id, incarnation, CAST(doc AS BLOB) FROM pipelines ORDER BY id")?;
        let found = all.query_map([], |row| {
            let doc: Vec<u8> = row.get(2)?;
            Ok(PipelineRow::read(row.get(0)?, row.get(1)?, &doc))
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn next_incarnation(&mut self) -> Result<u64, StoreError> {
        self.run("UPDATE incarnations SET last = last + 1", [])?;
        Ok(self.0.query_row("SELECT last FROM incarnations", [], |row| row.get(0))?)
    }

    fn put_pipeline(&mut self, pipeline: &StoredPipeline) -> Result<bool, StoreError> {
        let doc = readable::<StoredPipeline>(pipeline)?;
        self.run(
            "INSERT INTO pipelines (id, incarnation, doc) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET doc = ?3",
            params![pipeline.id, pipeline.incarnation, doc],
        )?;
        Ok(true)
    }

    fn delete_pipeline(&mut self, id: &str, incarnation: u64) -> Result<(), StoreError> {
        if self.run("DELETE FROM pipelines WHERE id = ?1 AND incarnation = ?2", params![id, incarnation])? == 0 {
            return Ok(());
        }
        self.run("INSERT OR REPLACE INTO deleted (id, at) VALUES (?1, ?2)", params![id, steady_now()])?;
        Ok(())
    }

    fn is_deleted(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.0.prepare_cached("SELECT 1 FROM deleted WHERE id = ?1")?.exists([id])?)
    }

    fn prune_expired(&mut self, before: Millis) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM tasks WHERE created_at < ?1 AND NOT EXISTS
                 (SELECT 1 FROM pipelines WHERE id = tasks.pipeline AND pipelines.incarnation = tasks.incarnation)",
            [before],
        )?;
        self.run("DELETE FROM deleted WHERE at < ?1", [before])?;
        Ok(())
    }

    fn state(&mut self, id: &str) -> Result<StoredState, StoreError> {
        let sql = "SELECT state, checkpoints, call_from FROM states WHERE pipeline = ?1";
        let found = self.0.prepare_cached(sql)?.query_row([id], |row| {
            Ok(StoredState { state: row.get(0)?, checkpoints: row.get(1)?, call_from: row.get(2)? })
        });
        Ok(found.optional()?.unwrap_or_default())
    }

    fn put_state(&mut self, id: &str, kept: &StoredState) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO states (pipeline, state, checkpoints, call_from) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (pipeline) DO UPDATE SET state = ?2, checkpoints = ?3, call_from = ?4",
            params![id, kept.state, kept.checkpoints, kept.call_from],
        )?;
        Ok(())
    }

    fn task(&mut self, id: &str) -> Result<Option<Task>, StoreError> {
        let sql = "SELECT CAST(doc AS BLOB) FROM tasks WHERE id = ?1";
        let text: Option<Vec<u8>> = self.0.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| read_task(id, &text)))
    }

    fn tasks(
        &mut self,
        pipeline: &str,
        incarnation: u64,
        before: u64,
        limit: usize,
    ) -> Result<Vec<Result<Task, DamagedTask>>, StoreError> {
        let sql = "SELECT CAST(doc AS BLOB), id, number FROM tasks WHERE pipeline = ?1 AND incarnation = ?2 AND number < ?3 ORDER BY number DESC LIMIT ?4";
        let mut all = self.0.prepare_cached(sql)?;
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let found = all.query_map(params![pipeline, incarnation, before, limit], |row| {
            let (doc, id, number): (Vec<u8>, String, u64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(serde_json::from_slice(&doc).map_err(|_| DamagedTask { id, number }))
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn put_task(&mut self, task: &Task) -> Result<(), StoreError> {
        let doc = readable::<Task>(task)?;
        self.run(
            "INSERT INTO tasks (id, pipeline, incarnation, number, over, created_at, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET over = ?5, doc = ?7",
            params![task.id, task.pipeline, task.incarnation, task.number, task.state.is_finished(), task.created_at, doc],
        )?;
        if task.state.is_finished() {
            self.run(
                "DELETE FROM tasks WHERE pipeline = ?1 AND incarnation = ?2 AND over AND number + ?4 <= ?3",
                params![task.pipeline, task.incarnation, task.number, MAX_TASKS],
            )?;
        }
        Ok(())
    }

    fn stored_answer(&mut self, key: &str, scope: &str) -> Result<Option<(String, String)>, StoreError> {
        self.run("DELETE FROM idempotency WHERE at < ?1", [steady_now() - KEY_RETENTION])?;
        let mut found =
            self.0.prepare_cached("SELECT request, answer FROM idempotency WHERE key = ?1 AND scope = ?2")?;
        Ok(found.query_row([key, scope], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    fn put_answer(&mut self, key: &str, scope: &str, request: &str, answer: &str) -> Result<(), StoreError> {
        self.run(
            "INSERT OR REPLACE INTO idempotency (key, scope, request, answer, at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![key, scope, request, answer, steady_now()],
        )?;
        Ok(())
    }

    fn put_input(&mut self, pipeline: &str, body: &str) -> Result<(u64, u64), StoreError> {
        self.run("INSERT INTO inputs (pipeline, at, body) VALUES (?1, ?2, ?3)", params![pipeline, now(), body])?;
        let sql = "SELECT count(*), coalesce(sum(length(body)), 0) FROM inputs WHERE pipeline = ?1";
        Ok(self.0.prepare_cached(sql)?.query_row([pipeline], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    fn inputs(&mut self, pipeline: &str, limit: usize) -> Result<Vec<(u64, String)>, StoreError> {
        let mut all =
            self.0.prepare_cached("SELECT seq, body FROM inputs WHERE pipeline = ?1 ORDER BY seq LIMIT ?2")?;
        let found = all.query_map(params![pipeline, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn drop_inputs(&mut self, pipeline: &str, upto: u64) -> Result<(), StoreError> {
        self.run("DELETE FROM inputs WHERE pipeline = ?1 AND seq <= ?2", params![pipeline, upto])?;
        Ok(())
    }

    fn log_action(
        &mut self,
        client: &str,
        action: &str,
        pipeline: Option<&str>,
        detail: Option<&Value>,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO actions (at, client, action, pipeline, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![now(), client, action, pipeline, detail.map(Value::to_string)],
        )?;
        self.run("DELETE FROM actions WHERE seq <= (SELECT max(seq) FROM actions) - ?1", [MAX_ACTIONS])?;
        Ok(())
    }

    fn actions(&mut self, pipeline: Option<&str>, before: u64, limit: usize) -> Result<Vec<StoredAction>, StoreError> {
        let sql = "SELECT seq, at, client, action, pipeline, detail FROM actions
                   WHERE (?1 IS NULL OR pipeline = ?1) AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
        let mut all = self.0.prepare_cached(sql)?;
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let found = all.query_map(params![pipeline, before, limit], |row| {
            let detail: Option<String> = row.get(5)?;
            Ok(StoredAction {
                seq: row.get(0)?,
                at: row.get(1)?,
                client: row.get(2)?,
                action: row.get(3)?,
                pipeline: row.get(4)?,
                detail: detail.and_then(|detail| serde_json::from_str(&detail).ok()),
            })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn incident(&mut self, key: &str) -> Result<Option<Incident>, StoreError> {
        let sql = "SELECT doc FROM incidents WHERE key = ?1";
        let text: Option<String> = self.0.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    fn incidents(&mut self) -> Result<Vec<(String, Incident)>, StoreError> {
        let mut all = self.0.prepare_cached("SELECT key, doc FROM incidents ORDER BY key")?;
        let found = all.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        let rows: Vec<(String, String)> = found.collect::<rusqlite::Result<_>>()?;
        Ok(rows.into_iter().filter_map(|(key, doc)| Some((key, serde_json::from_str(&doc).ok()?))).collect())
    }

    fn due_incidents(&mut self, now: Millis) -> Result<Vec<String>, StoreError> {
        let mut all = self.0.prepare_cached("SELECT key FROM incidents WHERE due <= ?1 ORDER BY due LIMIT 100")?;
        let found = all.query_map([now], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn put_incident(&mut self, key: &str, incident: &Incident) -> Result<(), StoreError> {
        if incident.is_done() {
            self.run("DELETE FROM incidents WHERE key = ?1", [key])?;
            return Ok(());
        }
        self.run(
            "INSERT OR REPLACE INTO incidents (key, due, doc) VALUES (?1, ?2, ?3)",
            params![key, incident.due(), serde_json::to_string(incident)?],
        )?;
        Ok(())
    }

    /// The lock of the data folder is the lease of all pipelines.
    fn require_lease(&mut self, _incarnation: u64, _fence: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn log_end(&mut self, _incarnation: u64) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

/// Writes all records of the database in `folder` except its logs.
///
/// # Errors
/// Returns the error of the database or of the output.
pub(super) fn export(
    folder: &Path,
    writer: &mut Writer<impl std::io::Write>,
) -> Result<Vec<StoredPipeline>, TransferError> {
    let connection = sqlite::open(&folder.join(DATABASE), &MIGRATIONS)?;
    let last_incarnation = connection.query_row("SELECT last FROM incarnations", [], |row| row.get(0));
    let last_incarnation = last_incarnation.map_err(StoreError::from)?;
    let synctop = env!("CARGO_PKG_VERSION").into();
    writer.write(&ExportRecord::Header { format: FORMAT, synctop, last_incarnation })?;
    let mut rows = Rows(&connection);
    let mut all = Vec::new();
    for row in rows.pipelines()? {
        let pipeline = row.pipeline.map_err(|error| TransferError::Damaged(format!("pipeline {}: {error}", row.id)))?;
        writer.write(&ExportRecord::Pipeline { pipeline: Box::new(pipeline.clone()) })?;
        let StoredState { state, checkpoints, call_from } = rows.state(&pipeline.id)?;
        writer.write(&ExportRecord::State { pipeline: pipeline.id.clone(), state, checkpoints, call_from })?;
        all.push(pipeline);
    }
    each_row(
        &connection,
        "SELECT doc FROM tasks ORDER BY incarnation, number",
        |row| {
            let task: String = row.get(0)?;
            Ok(serde_json::from_str(&task).map(|task| ExportRecord::Task { task: Box::new(task) }))
        },
        writer,
    )?;
    each_row(
        &connection,
        "SELECT key, scope, request, answer, at FROM idempotency ORDER BY at",
        |row| {
            let (key, scope, request, answer) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Ok(ExportRecord::Answer { key, scope, request, answer, at: row.get(4)? }))
        },
        writer,
    )?;
    each_row(
        &connection,
        "SELECT pipeline, at, body FROM inputs ORDER BY seq",
        |row| Ok(Ok(ExportRecord::Input { pipeline: row.get(0)?, at: row.get(1)?, body: row.get(2)? })),
        writer,
    )?;
    each_row(
        &connection,
        "SELECT id, at FROM deleted ORDER BY id",
        |row| Ok(Ok(ExportRecord::Deleted { id: row.get(0)?, at: row.get(1)? })),
        writer,
    )?;
    each_row(
        &connection,
        "SELECT at, client, action, pipeline, detail FROM actions ORDER BY seq",
        |row| {
            let detail: Option<String> = row.get(4)?;
            let detail = detail.and_then(|detail| serde_json::from_str(&detail).ok());
            Ok(Ok(ExportRecord::Action {
                at: row.get(0)?,
                client: row.get(1)?,
                action: row.get(2)?,
                pipeline: row.get(3)?,
                detail,
            }))
        },
        writer,
    )?;
    for (key, incident) in rows.incidents()? {
        writer.write(&ExportRecord::Incident { key, incident: Box::new(incident) })?;
    }
    Ok(all)
}

/// Writes the record of each row of a query.
fn each_row(
    connection: &Connection,
    sql: &str,
    record: impl Fn(&rusqlite::Row) -> rusqlite::Result<serde_json::Result<ExportRecord>>,
    writer: &mut Writer<impl std::io::Write>,
) -> Result<(), TransferError> {
    let mut statement = connection.prepare(sql).map_err(StoreError::from)?;
    let rows = statement.query_map([], record).map_err(StoreError::from)?;
    for row in rows {
        let record = row.map_err(StoreError::from)?.map_err(|error| TransferError::Damaged(error.to_string()))?;
        writer.write(&record)?;
    }
    Ok(())
}

/// Import into a new database, in one transaction.
pub(super) struct FileImport {
    connection: Connection,
}

impl FileImport {
    /// Creates the database in `folder`.
    ///
    /// # Errors
    /// Returns [`TransferError::NotEmpty`] if it has pipelines or actions already.
    pub(super) fn begin(folder: &Path) -> Result<Self, TransferError> {
        let connection = sqlite::open(&folder.join(DATABASE), &MIGRATIONS)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM pipelines) OR EXISTS (SELECT 1 FROM actions)";
        if connection.query_row(sql, [], |row| row.get(0)).map_err(StoreError::from)? {
            return Err(TransferError::NotEmpty);
        }
        connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from)?;
        Ok(Self { connection })
    }

    /// Stores a record that belongs into the database.
    ///
    /// # Errors
    /// Returns the error of the database.
    pub(super) fn put(&self, record: ExportRecord) -> Result<(), StoreError> {
        let mut rows = Rows(&self.connection);
        match record {
            ExportRecord::Header { last_incarnation, .. } => {
                rows.run("UPDATE incarnations SET last = ?1", [last_incarnation])?;
            }
            ExportRecord::Pipeline { pipeline } => {
                rows.put_pipeline(&pipeline)?;
            }
            ExportRecord::State { pipeline, state, checkpoints, call_from } => {
                rows.put_state(&pipeline, &StoredState { state, checkpoints, call_from })?;
            }
            ExportRecord::Task { task } => rows.put_task(&task)?,
            ExportRecord::Answer { key, scope, request, answer, at } => {
                let sql = "INSERT INTO idempotency (key, scope, request, answer, at) VALUES (?1, ?2, ?3, ?4, ?5)";
                rows.run(sql, params![key, scope, request, answer, at])?;
            }
            ExportRecord::Input { pipeline, at, body } => {
                rows.run("INSERT INTO inputs (pipeline, at, body) VALUES (?1, ?2, ?3)", params![pipeline, at, body])?;
            }
            ExportRecord::Deleted { id, at } => {
                rows.run("INSERT INTO deleted (id, at) VALUES (?1, ?2)", params![id, at])?;
            }
            ExportRecord::Action { at, client, action, pipeline, detail } => {
                rows.run(
                    "INSERT INTO actions (at, client, action, pipeline, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![at, client, action, pipeline, detail.map(|it| it.to_string())],
                )?;
            }
            ExportRecord::Incident { key, incident } => rows.put_incident(&key, &incident)?,
            ExportRecord::Log { .. } | ExportRecord::End { .. } => {}
        }
        Ok(())
    }

    /// Commits the import.
    ///
    /// # Errors
    /// Returns the error of the database; nothing is stored then.
    pub(super) fn commit(self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?)
    }
}

/// Checks the database in `folder`, and that all its documents can be read. Returns its pipelines.
///
/// # Errors
/// Returns a [`StoreError`] if it cannot be opened.
pub(super) fn check(folder: &Path, findings: &mut Vec<StoreFinding>) -> Result<Vec<StoredPipeline>, StoreError> {
    let connection = sqlite::open(&folder.join(DATABASE), &MIGRATIONS)?;
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if integrity != "ok" {
        findings.push(StoreFinding { pipeline: None, sentence: format!("the database is damaged: {integrity}") });
    }
    let mut all = Vec::new();
    for row in Rows(&connection).pipelines()? {
        match row.pipeline {
            Ok(pipeline) => all.push(pipeline),
            Err(error) => {
                let sentence = format!("its stored data cannot be read: {error}");
                findings.push(StoreFinding { pipeline: Some(row.id), sentence });
            }
        }
    }
    let mut tasks = connection.prepare("SELECT id, pipeline, doc FROM tasks")?;
    let mut rows = tasks.query([])?;
    while let Some(row) = rows.next()? {
        let doc: String = row.get(2)?;
        if let Err(error) = serde_json::from_str::<Task>(&doc) {
            let sentence = format!("its run {} cannot be read: {error}", row.get::<_, String>(0)?);
            findings.push(StoreFinding { pipeline: row.get(1)?, sentence });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::store::Store;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_failed_write_is_undone_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        runtime().block_on(async {
            let noted = |client: &'static str, fail: bool| {
                store.write(move |tx| {
                    tx.log_action(client, "x", None, None)?;
                    if fail { Err(StoreError::Closed) } else { Ok(()) }
                })
            };
            let (a, b, c) = tokio::join!(noted("a", false), noted("b", true), noted("c", false));
            assert!(a.is_ok() && b.is_err() && c.is_ok());
        });
        let clients: Vec<_> = runtime()
            .block_on(store.read(|it| it.actions(None, u64::MAX, 9)))
            .unwrap()
            .into_iter()
            .map(|it| it.client)
            .collect();
        assert_eq!(clients, ["c", "a"]);
        store.close();
        assert!(runtime().block_on(store.write(|_| Ok::<_, StoreError>(()))).is_err());
    }

    #[test]
    fn an_old_store_is_brought_up_to_date_and_a_later_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("synctop.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute("INSERT INTO actions (at, client, action) VALUES (1, 'old', 'created')", []).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(runtime().block_on(store.read(|it| it.actions(None, u64::MAX, 9))).unwrap().len(), 1);
        store.close();
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("newer synctop wrote the store (version 999"), "{error}");
    }
}
