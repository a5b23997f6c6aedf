//! Export, import and check of a store in PostgreSQL, each in one transaction.

use crate::service::archive::Archive;
use crate::service::store::postgres::chunks;
use crate::service::store::postgres::rows::DatabaseRows;
use crate::service::store::postgres::segments::StoredSegment;
use crate::service::store::postgres::session::{DatabaseSession, count, signed};
use crate::service::store::transaction::{StoredState, Transaction};
use crate::service::store::transfer::{ExportRecord, FORMAT, StoreFinding, TransferError, Writer, decode};
use std::collections::BTreeMap;
use std::io::Write;

/// Rows per query.
const PAGE: i64 = 1_000;

/// Writes all records of the store, as they are at one instant. Nodes may go on.
///
/// # Errors
/// Returns the error of the database or of the output.
pub fn export(
    session: &mut DatabaseSession,
    archive: Option<&Archive>,
    writer: &mut Writer<impl Write>,
) -> Result<(), TransferError> {
    session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let exported = export_rows(session, writer).and_then(|()| export_logs(session, archive, writer));
    session.roll_back();
    exported
}

/// Reads the pages of a query that begins behind a position, until one is empty.
fn pages(
    session: &mut DatabaseSession,
    sql: &'static str,
    mut each: impl FnMut(&tokio_postgres::Row) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let mut after: i64 = -1;
    loop {
        let rows = session.query(sql, &[&after, &PAGE])?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.get(0);
        for row in &rows {
            each(row)?;
        }
    }
}

fn export_rows(session: &mut DatabaseSession, writer: &mut Writer<impl Write>) -> Result<(), TransferError> {
    let last = session.query("SELECT last_value FROM incarnations", &[])?;
    let last_incarnation = last.first().map_or(0, |row| count(row.get(0)));
    let synctop = env!("CARGO_PKG_VERSION").into();
    writer.write(&ExportRecord::Header { format: FORMAT, synctop, last_incarnation })?;
    let damaged = |error: serde_json::Error| TransferError::Damaged(error.to_string());
    pages(
        session,
        "SELECT incarnation, doc, state, checkpoints, call_from, id, states.pipeline IS NOT NULL
         FROM pipelines LEFT JOIN states ON states.pipeline = id
         WHERE incarnation > $1 ORDER BY incarnation LIMIT $2",
        |row| {
            let pipeline = Box::new(serde_json::from_str(row.get(1)).map_err(damaged)?);
            writer.write(&ExportRecord::Pipeline { pipeline })?;
            if row.get(6) {
                let checkpoints = count(row.get(3));
                let call_from = row.get::<_, Option<i64>>(4).map(count);
                writer.write(&ExportRecord::State {
                    pipeline: row.get(5),
                    state: row.get(2),
                    checkpoints,
                    call_from,
                })?;
            }
            Ok(())
        },
    )?;
    let incarnations = session.query("SELECT DISTINCT incarnation FROM tasks ORDER BY incarnation", &[])?;
    for incarnation in incarnations {
        let incarnation: i64 = incarnation.get(0);
        let sql = "SELECT doc FROM tasks WHERE incarnation = $1 ORDER BY number";
        for row in session.query(sql, &[&incarnation])? {
            writer.write(&ExportRecord::Task { task: Box::new(serde_json::from_str(row.get(0)).map_err(damaged)?) })?;
        }
    }
    for row in session.query(
        "SELECT key, scope, request, answer, (extract(epoch FROM at) * 1000)::int8 FROM idempotency ORDER BY at",
        &[],
    )? {
        let (key, scope, request, answer) = (row.get(0), row.get(1), row.get(2), row.get(3));
        writer.write(&ExportRecord::Answer { key, scope, request, answer, at: row.get(4) })?;
    }
    pages(session, "SELECT seq, pipeline, at, body FROM inputs WHERE seq > $1 ORDER BY seq LIMIT $2", |row| {
        writer.write(&ExportRecord::Input { pipeline: row.get(1), at: row.get(2), body: row.get(3) })
    })?;
    for row in session.query("SELECT id, (extract(epoch FROM at) * 1000)::int8 FROM deleted ORDER BY id", &[])? {
        writer.write(&ExportRecord::Deleted { id: row.get(0), at: row.get(1) })?;
    }
    pages(
        session,
        "SELECT seq, at, client, action, pipeline, detail FROM actions WHERE seq > $1 ORDER BY seq LIMIT $2",
        |row| {
            let detail = row.get::<_, Option<&str>>(5).and_then(|detail| serde_json::from_str(detail).ok());
            let (client, action, pipeline) = (row.get(2), row.get(3), row.get(4));
            writer.write(&ExportRecord::Action { at: row.get(1), client, action, pipeline, detail })
        },
    )?;
    for (key, incident) in DatabaseRows::of_read(session).incidents()? {
        writer.write(&ExportRecord::Incident { key, incident: Box::new(incident) })?;
    }
    Ok(())
}

/// Writes the logs: those of the archive, then those of the database, which follow them.
fn export_logs(
    session: &mut DatabaseSession,
    archive: Option<&Archive>,
    writer: &mut Writer<impl Write>,
) -> Result<(), TransferError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TransferError::Read)?;
    for row in session.query("SELECT incarnation FROM leases ORDER BY incarnation", &[])? {
        let incarnation: i64 = row.get(0);
        let sql = "SELECT start, length, path, run FROM segments WHERE incarnation = $1 ORDER BY start";
        for row in session.query(sql, &[&incarnation])? {
            let archive = archive.ok_or(TransferError::NoArchive)?;
            let (start, length) = (count(row.get(0)), count(row.get(1)));
            let segment = StoredSegment { incarnation: count(incarnation), start, length, path: row.get(2) };
            let read = runtime.block_on(archive.read(&segment));
            let bytes = read.map_err(|error| TransferError::Archive(error.to_string()))?;
            writer.write(&ExportRecord::log(segment.incarnation, count(row.get(3)), start, &bytes))?;
        }
        let mut after: i64 = -1;
        loop {
            let rows = session.query(
                "SELECT start, run, bytes FROM chunks WHERE incarnation = $1 AND start > $2 ORDER BY start LIMIT 64",
                &[&incarnation, &after],
            )?;
            let Some(last) = rows.last() else { break };
            after = last.get(0);
            for row in &rows {
                let bytes: &[u8] = row.get(2);
                writer.write(&ExportRecord::log(count(incarnation), count(row.get(1)), count(row.get(0)), bytes))?;
            }
        }
    }
    Ok(())
}

/// Import into an empty store, in one transaction.
pub struct DatabaseImport<'s> {
    session: &'s mut DatabaseSession,
    /// First and last position of each log.
    logs: BTreeMap<u64, (u64, u64)>,
}

impl<'s> DatabaseImport<'s> {
    /// Begins an import.
    ///
    /// # Errors
    /// Returns [`TransferError::NotEmpty`] if the store has pipelines or actions.
    pub fn begin(session: &'s mut DatabaseSession) -> Result<Self, TransferError> {
        session.batch("BEGIN")?;
        let found = session
            .query("SELECT EXISTS (SELECT 1 FROM pipelines) OR EXISTS (SELECT 1 FROM actions)", &[])
            .map_err(TransferError::from);
        match found {
            Ok(rows) if rows.first().is_some_and(|row| row.get(0)) => {
                session.roll_back();
                Err(TransferError::NotEmpty)
            }
            Ok(_) => Ok(Self { session, logs: BTreeMap::new() }),
            Err(error) => {
                session.roll_back();
                Err(error)
            }
        }
    }

    /// Stores a record.
    ///
    /// # Errors
    /// Returns the error of the database, or the mistake in the record.
    pub fn put(&mut self, record: ExportRecord) -> Result<(), TransferError> {
        let session = &mut *self.session;
        match record {
            ExportRecord::Header { last_incarnation, .. } => {
                let next = signed(last_incarnation + 1);
                session.query("SELECT setval('incarnations', $1, false)", &[&next])?;
            }
            ExportRecord::Pipeline { pipeline } => {
                DatabaseRows::of_write(session).put_pipeline(&pipeline)?;
            }
            ExportRecord::State { pipeline, state, checkpoints, call_from } => {
                let state = StoredState { state, checkpoints, call_from };
                DatabaseRows::of_write(session).put_state(&pipeline, &state)?;
                session.execute(
                    "UPDATE leases SET checkpoints = $2 FROM pipelines p WHERE p.incarnation = leases.incarnation AND p.id = $1",
                    &[&pipeline, &signed(checkpoints)],
                )?;
            }
            ExportRecord::Task { task } => DatabaseRows::of_write(session).put_task(&task)?,
            ExportRecord::Answer { key, scope, request, answer, at } => {
                session.execute(
                    "INSERT INTO idempotency (key, scope, request, answer, at)
                     VALUES ($1, $2, $3, $4, to_timestamp($5::int8 / 1000.0))",
                    &[&key, &scope, &request, &answer, &at],
                )?;
            }
            ExportRecord::Input { pipeline, at, body } => {
                let sql = "INSERT INTO inputs (pipeline, at, body) VALUES ($1, $2, $3)";
                session.execute(sql, &[&pipeline, &at, &body])?;
            }
            ExportRecord::Deleted { id, at } => {
                session.execute(
                    "INSERT INTO deleted (id, incarnation, at) VALUES ($1, 0, to_timestamp($2::int8 / 1000.0))",
                    &[&id, &at],
                )?;
            }
            ExportRecord::Action { at, client, action, pipeline, detail } => {
                session.execute(
                    "INSERT INTO actions (at, client, action, pipeline, detail) VALUES ($1, $2, $3, $4, $5)",
                    &[&at, &client, &action, &pipeline, &detail.map(|it| it.to_string())],
                )?;
            }
            ExportRecord::Incident { key, incident } => {
                DatabaseRows::of_write(session).put_incident(&key, &incident)?;
            }
            ExportRecord::Log { incarnation, run, start, bytes } => {
                self.put_log(incarnation, run, start, &decode(&bytes)?)?;
            }
            ExportRecord::End { .. } => {}
        }
        Ok(())
    }

    fn put_log(&mut self, incarnation: u64, run: u64, start: u64, bytes: &[u8]) -> Result<(), TransferError> {
        let mut at = start;
        for chunk in bytes.chunks(chunks::MAX_CHUNK) {
            self.session.execute(
                "INSERT INTO chunks (incarnation, start, run, fence, bytes) VALUES ($1, $2, $3, 0, $4)",
                &[&signed(incarnation), &signed(at), &signed(run), &chunk],
            )?;
            at += chunk.len() as u64;
        }
        let range = self.logs.entry(incarnation).or_insert((start, at));
        *range = (range.0.min(start), range.1.max(at));
        Ok(())
    }

    /// Commits the import.
    ///
    /// # Errors
    /// Returns the error of the database; nothing is stored then.
    pub fn commit(self) -> Result<(), TransferError> {
        for (incarnation, (from, end)) in &self.logs {
            self.session.execute(
                "UPDATE leases SET kept_from = $2, log_end = $3 WHERE incarnation = $1",
                &[&signed(*incarnation), &signed(*from), &signed(*end)],
            )?;
        }
        Ok(self.session.batch("COMMIT")?)
    }

    /// Undoes the import.
    pub fn abort(self) {
        self.session.roll_back();
    }
}

/// Checks that all documents can be read and that all logs are whole.
///
/// # Errors
/// Returns the error of the database.
pub fn check(session: &mut DatabaseSession, archive: Option<&Archive>) -> Result<Vec<StoreFinding>, TransferError> {
    let mut findings = Vec::new();
    for row in DatabaseRows::of_read(session).pipelines()? {
        if let Err(error) = row.pipeline {
            findings.push(StoreFinding {
                pipeline: Some(row.id),
                sentence: format!("its stored data cannot be read: {error}"),
            });
        }
    }
    for row in session.query("SELECT id, pipeline, doc FROM tasks", &[])? {
        let read: Result<crate::service::model::Task, _> = serde_json::from_str(row.get(2));
        if let Err(error) = read {
            let sentence = format!("its run {} cannot be read: {error}", row.get::<_, &str>(0));
            findings.push(StoreFinding { pipeline: row.get(1), sentence });
        }
    }
    let gaps = session.query(
        "SELECT p.id, it.start, it.ends FROM (
             SELECT incarnation, start, lag(start + length) OVER w AS ends, lag(fence) OVER w AS before, fence
             FROM (SELECT incarnation, start, octet_length(bytes)::int8 AS length, fence FROM chunks
                 UNION ALL SELECT incarnation, start, length, NULL FROM segments) AS parts WINDOW w AS (PARTITION BY incarnation ORDER BY start)) AS it
         JOIN pipelines p USING (incarnation) WHERE it.ends <> it.start OR it.before > it.fence ORDER BY 1, 2",
        &[],
    )?;
    for row in gaps {
        let (start, ends): (i64, i64) = (row.get(1), row.get(2));
        let sentence = format!("its log is not whole: bytes {ends} to {start}");
        findings.push(StoreFinding { pipeline: row.get(0), sentence });
    }
    let ends = session.query(
        "SELECT p.id, l.log_end, l.kept_from, c.first, c.last FROM leases l JOIN pipelines p USING (incarnation)
         LEFT JOIN (SELECT incarnation, min(start) AS first, max(ends) AS last
             FROM (SELECT incarnation, start, start + octet_length(bytes) AS ends FROM chunks
                 UNION ALL SELECT incarnation, start, start + length FROM segments) AS parts
             GROUP BY incarnation) AS c USING (incarnation)
         WHERE coalesce(c.last, l.kept_from) <> l.log_end OR coalesce(c.first, l.kept_from) <> l.kept_from ORDER BY 1",
        &[],
    )?;
    for row in ends {
        let sentence = format!("its log ends at byte {}, and not where its lines end", row.get::<_, i64>(1));
        findings.push(StoreFinding { pipeline: row.get(0), sentence });
    }
    check_archive(session, archive, &mut findings)?;
    Ok(findings)
}

/// Reads each part of a log that is in the archive.
fn check_archive(
    session: &mut DatabaseSession,
    archive: Option<&Archive>,
    findings: &mut Vec<StoreFinding>,
) -> Result<(), TransferError> {
    let rows = session.query(
        "SELECT p.id, s.incarnation, s.start, s.length, s.path
         FROM segments s JOIN pipelines p USING (incarnation) ORDER BY 1, 3",
        &[],
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TransferError::Read)?;
    for row in rows {
        let archive = archive.ok_or(TransferError::NoArchive)?;
        let (incarnation, start, length) = (count(row.get(1)), count(row.get(2)), count(row.get(3)));
        let segment = StoredSegment { incarnation, start, length, path: row.get(4) };
        if let Err(error) = runtime.block_on(archive.read(&segment)) {
            let sentence = format!("its log is not whole: bytes {start} to {}: {error}", start + length);
            findings.push(StoreFinding { pipeline: row.get(0), sentence });
        }
    }
    Ok(())
}
