//! Parts of logs in an object store, as the database refers to them.

use crate::service::store::postgres::session::{DatabaseSession, count, signed};
use crate::util::sqlite::StoreError;
use std::time::Duration;

/// Closed part of a log whose chunks are still in the database: of one run, and without an open one
/// behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedPart {
    pub pipeline: String,
    pub incarnation: u64,
    pub fence: u64,
    pub run: u64,
    pub start: u64,
    pub end: u64,
}

/// Part of a log in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSegment {
    pub incarnation: u64,
    pub start: u64,
    pub length: u64,
    pub path: String,
}

/// True if any part of a log is in the object store.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn exist(session: &mut DatabaseSession) -> Result<bool, StoreError> {
    let rows = session.query("SELECT EXISTS (SELECT 1 FROM segments)", &[])?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Returns closed parts of at most `size` bytes, older than `after` seconds, of the pipelines that a
/// node runs.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn closed(
    session: &mut DatabaseSession,
    node: &str,
    after: f64,
    size: u64,
    most: i64,
) -> Result<Vec<ClosedPart>, StoreError> {
    // The chunks of a run, numbered by the part that they belong to.
    let rows = session.query(
        "WITH parts AS (
             SELECT c.incarnation, c.run, c.start, c.start + octet_length(c.bytes) AS ends, c.at,
                 (c.start - min(c.start) OVER (PARTITION BY c.incarnation, c.run)) / $3::int8 AS part
             FROM chunks c JOIN leases l USING (incarnation) WHERE l.node = $1),
         grouped AS (
             SELECT incarnation, run, part, min(start) AS start, max(ends) AS ends, max(at) AS at
             FROM parts GROUP BY incarnation, run, part)
         SELECT p.id, g.incarnation, l.fence, g.run, g.start, g.ends
         FROM grouped g JOIN leases l USING (incarnation) JOIN pipelines p USING (incarnation)
         WHERE g.at < clock_timestamp() - $2 * interval '1 s'
             -- A few small objects instead of many.
             AND (g.ends - g.start >= 262144 OR g.at < clock_timestamp() - $2 * 60 * interval '1 s')
             -- The last part of an open run may grow.
             AND (l.task IS NULL OR g.ends < l.log_end OR g.ends - g.start >= $3::int8)
         ORDER BY g.incarnation, g.start LIMIT $4",
        &[&node, &after, &signed(size), &most],
    )?;
    Ok(rows
        .iter()
        .map(|row| ClosedPart {
            pipeline: row.get(0),
            incarnation: count(row.get(1)),
            fence: count(row.get(2)),
            run: count(row.get(3)),
            start: count(row.get(4)),
            end: count(row.get(5)),
        })
        .collect())
}

/// Returns the bytes of a range of a log: incarnation, first and last position.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn bytes(session: &mut DatabaseSession, (incarnation, start, end): (u64, u64, u64)) -> Result<Vec<u8>, StoreError> {
    let rows = session.query(
        "SELECT bytes FROM chunks WHERE incarnation = $1 AND start >= $2 AND start < $3 ORDER BY start",
        &[&signed(incarnation), &signed(start), &signed(end)],
    )?;
    Ok(rows.iter().flat_map(|row| row.get::<_, &[u8]>(0)).copied().collect())
}

/// Replaces the chunks of a part by its object. False if another node has taken over, or a chunk has
/// expired.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails; the chunks stay then.
pub fn replace(session: &mut DatabaseSession, part: &ClosedPart, size: u64, path: &str) -> Result<bool, StoreError> {
    let (incarnation, start, end) = (signed(part.incarnation), signed(part.start), signed(part.end));
    let replaced = session.query(
        "WITH owned AS (
             SELECT incarnation FROM leases WHERE incarnation = $1 AND fence = $2 AND node IS NOT NULL AND $4::bigint - $3::bigint = (
                 SELECT sum(octet_length(bytes)) FROM chunks WHERE incarnation = $1 AND start >= $3 AND start < $4)
             FOR SHARE),
         gone AS (
             DELETE FROM chunks c USING owned WHERE c.incarnation = owned.incarnation AND c.start >= $3 AND c.start < $4
             RETURNING octet_length(c.bytes) AS length),
         total AS (SELECT sum(length)::int8 AS length FROM gone)
         INSERT INTO segments (incarnation, start, length, run, size, path)
         SELECT $1, $3, total.length, $5, $6, $7 FROM total WHERE total.length IS NOT NULL RETURNING start",
        &[&incarnation, &signed(part.fence), &start, &end, &signed(part.run), &signed(size), &path],
    )?;
    Ok(!replaced.is_empty())
}

/// Returns the object that holds a position of a log.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn at(session: &mut DatabaseSession, incarnation: u64, at: u64) -> Result<Option<StoredSegment>, StoreError> {
    let rows = session.query(
        "SELECT start, length, path FROM segments WHERE incarnation = $1 AND start <= $2 AND start + length > $2
         ORDER BY start DESC LIMIT 1",
        &[&signed(incarnation), &signed(at)],
    )?;
    Ok(rows.first().map(|row| StoredSegment {
        incarnation,
        start: count(row.get(0)),
        length: count(row.get(1)),
        path: row.get(2),
    }))
}

/// Returns objects that are older than `age`, or beyond `size` bytes of their pipeline.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn expired(session: &mut DatabaseSession, age: Duration, size: u64) -> Result<Vec<StoredSegment>, StoreError> {
    let rows = session.query(
        "SELECT incarnation, start, length, path FROM (
             SELECT *, sum(size) OVER (PARTITION BY incarnation ORDER BY start DESC) AS newer FROM segments) AS sized
         WHERE at < clock_timestamp() - $1 * interval '1 s' OR newer > $2::int8 ORDER BY incarnation, start LIMIT 1000",
        &[&age.as_secs_f64(), &signed(size)],
    )?;
    Ok(rows
        .iter()
        .map(|row| StoredSegment {
            incarnation: count(row.get(0)),
            start: count(row.get(1)),
            length: count(row.get(2)),
            path: row.get(3),
        })
        .collect())
}

/// Forgets an object, and notes the next stored position of its log.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn forget(session: &mut DatabaseSession, segment: &StoredSegment) -> Result<(), StoreError> {
    let end = signed(segment.start + segment.length);
    session.execute(
        "WITH gone AS (DELETE FROM segments WHERE incarnation = $1 AND start = $2 RETURNING incarnation)
         UPDATE leases l SET kept_from = greatest(l.kept_from, $3), version = l.version + 1, changed = pg_current_xact_id()
         FROM gone WHERE l.incarnation = gone.incarnation",
        &[&signed(segment.incarnation), &signed(segment.start), &end],
    )?;
    Ok(())
}
