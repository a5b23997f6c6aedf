//! FeedChanges of pipelines and leases since a position, in the order of no particular clock.
//!
//! A position is the oldest transaction that was open when it was taken: every later change has
//! that number or a greater one. A change may be read twice, and none is missed.

use crate::service::store::postgres::session::{DatabaseSession, count, signed};
use crate::service::store::transaction::PipelineRow;
use crate::util::sqlite::StoreError;

/// Lease of a pipeline, with the facts of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    pub incarnation: u64,
    /// Node that runs the pipeline.
    pub node: Option<String>,
    pub fence: u64,
    pub log_end: u64,
    /// First stored position of the log.
    pub kept_from: u64,
    pub checkpoints: u64,
    pub task: Option<String>,
    pub progress: Option<String>,
    pub totals: Option<String>,
    /// Number of changes of the lease.
    pub version: u64,
}

/// Changes since a position.
pub struct FeedChanges {
    /// Id, incarnation and revision of each changed pipeline.
    pub pipelines: Vec<(String, u64, u64)>,
    pub leases: Vec<LeaseRow>,
    /// Id and incarnation of each deleted pipeline.
    pub deleted: Vec<(String, u64)>,
    /// Position for the next call.
    pub position: String,
}

fn lease(row: &tokio_postgres::Row) -> LeaseRow {
    LeaseRow {
        incarnation: count(row.get(0)),
        node: row.get(1),
        fence: count(row.get(2)),
        log_end: count(row.get(3)),
        kept_from: count(row.get(4)),
        checkpoints: count(row.get(5)),
        task: row.get(6),
        progress: row.get(7),
        totals: row.get(8),
        version: count(row.get(9)),
    }
}

/// Returns the changes since a position; all pipelines and leases for `"0"`.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn since(session: &mut DatabaseSession, position: &str) -> Result<FeedChanges, StoreError> {
    let next = session.query("SELECT pg_snapshot_xmin(pg_current_snapshot())::text", &[])?;
    let next: String = next.first().map_or_else(|| position.to_owned(), |row| row.get(0));
    let changed = session
        .query("SELECT id, incarnation, revision FROM pipelines WHERE changed >= $1::text::xid8", &[&position])?;
    let leases = session.query(
        "SELECT incarnation, node, fence, log_end, kept_from, checkpoints, task, progress, totals, version
         FROM leases WHERE changed >= $1::text::xid8",
        &[&position],
    )?;
    let deleted = session.query("SELECT id, incarnation FROM deleted WHERE changed >= $1::text::xid8", &[&position])?;
    Ok(FeedChanges {
        pipelines: changed.iter().map(|row| (row.get(0), count(row.get(1)), count(row.get(2)))).collect(),
        leases: leases.iter().map(lease).collect(),
        deleted: deleted.iter().map(|row| (row.get(0), count(row.get(1)))).collect(),
        position: next,
    })
}

/// Returns pipelines by their incarnations, each with its lease.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn pipelines(
    session: &mut DatabaseSession,
    incarnations: &[u64],
) -> Result<Vec<(PipelineRow, LeaseRow)>, StoreError> {
    let incarnations: Vec<i64> = incarnations.iter().copied().map(signed).collect();
    let rows = session.query(
        "SELECT incarnation, node, fence, log_end, kept_from, checkpoints, task, progress, totals, version, id, doc
         FROM pipelines JOIN leases USING (incarnation) WHERE incarnation = ANY($1)",
        &[&incarnations],
    )?;
    Ok(rows.iter().map(pipeline_with_lease).collect())
}

/// Returns the pipeline with this id and its lease.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn pipeline(session: &mut DatabaseSession, id: &str) -> Result<Option<(PipelineRow, LeaseRow)>, StoreError> {
    let rows = session.query(
        "SELECT incarnation, node, fence, log_end, kept_from, checkpoints, task, progress, totals, version, id, doc
         FROM pipelines JOIN leases USING (incarnation) WHERE id = $1",
        &[&id],
    )?;
    Ok(rows.first().map(pipeline_with_lease))
}

fn pipeline_with_lease(row: &tokio_postgres::Row) -> (PipelineRow, LeaseRow) {
    let document: &str = row.get(11);
    (PipelineRow::read(row.get(10), count(row.get(0)), document.as_bytes()), lease(row))
}
