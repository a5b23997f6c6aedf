//! Logs in the database: chunks of lines by pipeline and position. The end of a log is a column of
//! its lease, so that an old fencing number can append nothing.

use crate::service::store::postgres::session::{DatabaseSession, count, signed};
use crate::util::sqlite::StoreError;
use std::collections::HashSet;
use std::time::Duration;

/// Maximum bytes of a chunk.
pub const MAX_CHUNK: usize = 64 * 1024;

/// Chunk of a log that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChunk {
    pub incarnation: u64,
    pub fence: u64,
    pub run: u64,
    /// Position of its first byte.
    pub start: u64,
    pub bytes: Vec<u8>,
}

impl NewChunk {
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Appends chunks to the logs of several pipelines, each in the order of its positions. Returns the
/// incarnations whose chunks are stored; the others belong to another node by now.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails: it is unknown then whether the chunks are stored,
/// and the same call may be repeated.
pub fn append(session: &mut DatabaseSession, chunks: &[NewChunk]) -> Result<HashSet<u64>, StoreError> {
    let mut ranges: Vec<(i64, i64, i64, i64)> = Vec::new();
    for chunk in chunks {
        let (incarnation, end) = (signed(chunk.incarnation), signed(chunk.end()));
        match ranges.last_mut() {
            Some(range) if range.0 == incarnation => range.3 = end,
            _ => ranges.push((incarnation, signed(chunk.fence), signed(chunk.start), end)),
        }
    }
    let incarnations: Vec<i64> = ranges.iter().map(|it| it.0).collect();
    let fences: Vec<i64> = ranges.iter().map(|it| it.1).collect();
    let starts: Vec<i64> = ranges.iter().map(|it| it.2).collect();
    let ends: Vec<i64> = ranges.iter().map(|it| it.3).collect();
    let of: Vec<i64> = chunks.iter().map(|it| signed(it.incarnation)).collect();
    let at: Vec<i64> = chunks.iter().map(|it| signed(it.start)).collect();
    let runs: Vec<i64> = chunks.iter().map(|it| signed(it.run)).collect();
    let bytes: Vec<&[u8]> = chunks.iter().map(|it| it.bytes.as_slice()).collect();
    let moved = session.query(
        // Locked in one order, as `leases::share_facts` does.
        "WITH locked AS MATERIALIZED (
             SELECT incarnation FROM leases WHERE incarnation = ANY($1) ORDER BY incarnation FOR NO KEY UPDATE),
         moved AS (
             UPDATE leases l SET log_end = i.ends, version = l.version + 1, changed = pg_current_xact_id()
             FROM locked JOIN unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[])
                 AS i(incarnation, fence, starts, ends) USING (incarnation)
             WHERE l.incarnation = i.incarnation AND l.fence = i.fence AND l.node IS NOT NULL AND l.log_end = i.starts
             RETURNING l.incarnation, l.fence),
         stored AS (
             INSERT INTO chunks (incarnation, start, run, fence, bytes)
             SELECT c.incarnation, c.start, c.run, moved.fence, c.bytes
             FROM unnest($5::int8[], $6::int8[], $7::int8[], $8::bytea[]) AS c(incarnation, start, run, bytes)
             JOIN moved USING (incarnation))
         SELECT incarnation FROM moved",
        &[&incarnations, &fences, &starts, &ends, &of, &at, &runs, &bytes],
    )?;
    let mut stored: HashSet<u64> = moved.iter().map(|row| count(row.get(0))).collect();
    if stored.len() < ranges.len() {
        // An earlier attempt whose answer was lost has stored them.
        let rows = session.query(
            "SELECT l.incarnation FROM leases l
             JOIN unnest($1::int8[], $2::int8[], $3::int8[]) AS i(incarnation, fence, ends)
             ON l.incarnation = i.incarnation AND l.fence = i.fence AND l.log_end = i.ends AND l.node IS NOT NULL",
            &[&incarnations, &fences, &ends],
        )?;
        stored.extend(rows.iter().map(|row| count(row.get(0))));
    }
    Ok(stored)
}

/// Returns stored chunks from a position on, at most `most`: first position and bytes of each.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn read(
    session: &mut DatabaseSession,
    incarnation: u64,
    at: u64,
    most: u64,
) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let rows = session.query(
        "SELECT start, bytes FROM chunks WHERE incarnation = $1 AND start > $2 AND start + octet_length(bytes) > $3
         ORDER BY start LIMIT $4",
        &[&signed(incarnation), &(signed(at) - MAX_CHUNK as i64), &signed(at), &signed(most)],
    )?;
    Ok(rows.iter().map(|row| (count(row.get(0)), row.get(1))).collect())
}

/// Deletes chunks that are older than `age`, and the oldest ones of each pipeline beyond `size`
/// bytes, but never the last one of an existing pipeline.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn prune(session: &mut DatabaseSession, age: Duration, size: u64) -> Result<(), StoreError> {
    session.execute(
        "WITH sized AS (
             SELECT incarnation, start, at, octet_length(bytes) AS length,
                 sum(octet_length(bytes)) OVER (PARTITION BY incarnation ORDER BY start DESC) AS newer
             FROM chunks),
         gone AS (
             DELETE FROM chunks c USING sized s
             WHERE c.incarnation = s.incarnation AND c.start = s.start
                 AND (s.at < clock_timestamp() - $1 * interval '1 s' OR s.newer > $2::int8)
                 AND (s.newer > s.length OR NOT EXISTS (SELECT 1 FROM leases WHERE leases.incarnation = c.incarnation))
             RETURNING c.incarnation, c.start + octet_length(c.bytes) AS ends),
         kept AS (SELECT incarnation, max(ends) AS kept_from FROM gone GROUP BY incarnation)
         UPDATE leases l SET kept_from = kept.kept_from, version = l.version + 1, changed = pg_current_xact_id()
         FROM kept WHERE l.incarnation = kept.incarnation",
        &[&age.as_secs_f64(), &signed(size)],
    )?;
    Ok(())
}
