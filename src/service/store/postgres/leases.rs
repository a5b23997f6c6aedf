//! Nodes of a service, and leases: the node that runs a pipeline, and the fencing number that grows
//! with each take-over. Only the clock of the database counts.
//!
//! A node renews one row, which is the lease of all its pipelines. Once that row has expired it is
//! never renewed: the node registers again under another id.

use crate::service::store::postgres::session::{DatabaseSession, count, signed};
use crate::util::sqlite::StoreError;
use std::time::Duration;
use synctop_core::protocol::Millis;

/// Time after which a node that does not renew its lease loses its pipelines.
pub const LEASE_LENGTH: Duration = Duration::from_secs(15);

/// Retention of nodes that are gone.
const NODE_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Channel of the hints that something changed.
pub const CHANNEL: &str = "synctop_changes";

/// Node as it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Random id of this registration.
    pub id: String,
    pub name: String,
    /// Address of its HTTP API.
    pub address: String,
    /// Labels such as `region=eu`.
    pub labels: Vec<String>,
}

/// Node of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub id: String,
    pub name: String,
    pub address: String,
    pub version: String,
    pub labels: Vec<String>,
    pub is_alive: bool,
    pub is_draining: bool,
    pub started_at: Millis,
    pub seen_at: Millis,
    /// Pipelines that it runs, and those with an open run.
    pub pipelines: u64,
    pub running: u64,
}

/// Lease of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenLease {
    pub incarnation: u64,
    pub fence: u64,
    /// End of the pipeline's log.
    pub log_end: u64,
}

/// Pipelines with the same required labels: their number, those of this node, those that no living
/// node runs, and the living nodes with these labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelGroup {
    pub requires: Vec<String>,
    pub pipelines: u64,
    pub own: u64,
    pub free: u64,
    pub nodes: u64,
}

impl LabelGroup {
    /// Number of pipelines that this node should run: its share, rounded up.
    #[must_use]
    pub fn share(&self) -> u64 {
        self.pipelines.div_ceil(self.nodes.max(1))
    }
}

/// Length of a lease in milliseconds, as a parameter.
fn length() -> f64 {
    LEASE_LENGTH.as_secs_f64() * 1000.0
}

/// Registers a node, and returns its name: a second living node of a name gets a number after it.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn register(session: &mut DatabaseSession, node: &NodeIdentity) -> Result<String, StoreError> {
    let registered = session.query(
        "INSERT INTO nodes (id, name, address, version, labels, expires_at)
         SELECT $1, candidate, $3, $4, $5, clock_timestamp() + $6 * interval '1 ms'
         FROM (
             SELECT n, CASE n WHEN 1 THEN $2::text ELSE $2::text || '-' || n END AS candidate
             FROM generate_series(1, (SELECT count(*) + 1 FROM nodes)) n
         ) candidates
         WHERE NOT EXISTS (SELECT 1 FROM nodes WHERE name = candidate AND expires_at > clock_timestamp())
         ORDER BY n LIMIT 1
         RETURNING name",
        &[&node.id, &node.name, &node.address, &env!("CARGO_PKG_VERSION"), &node.labels, &length()],
    )?;
    let name = registered.first().map_or_else(|| node.name.clone(), |row| row.get(0));
    let retention = NODE_RETENTION.as_secs_f64();
    session.execute("DELETE FROM nodes WHERE expires_at < clock_timestamp() - $1 * interval '1 s'", &[&retention])?;
    Ok(name)
}

/// Renews the lease of a node. False if it has expired.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn renew(session: &mut DatabaseSession, id: &str) -> Result<bool, StoreError> {
    let renewed = session.execute(
        "UPDATE nodes SET seen_at = clock_timestamp(), expires_at = clock_timestamp() + $2 * interval '1 ms'
         WHERE id = $1 AND expires_at > clock_timestamp()",
        &[&id, &length()],
    )?;
    Ok(renewed > 0)
}

/// Marks a node that takes no more pipelines.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn drain(session: &mut DatabaseSession, id: &str) -> Result<(), StoreError> {
    session.execute("UPDATE nodes SET is_draining = true WHERE id = $1", &[&id])?;
    Ok(())
}

/// Ends a registration: its pipelines are free.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn unregister(session: &mut DatabaseSession, id: &str) -> Result<(), StoreError> {
    session.execute(
        "UPDATE nodes SET expires_at = clock_timestamp() WHERE id = $1 AND expires_at > clock_timestamp()",
        &[&id],
    )?;
    let freed = session.execute(
        "UPDATE leases SET node = NULL, version = version + 1, changed = pg_current_xact_id() WHERE node = $1",
        &[&id],
    )?;
    if freed > 0 { notify(session) } else { Ok(()) }
}

/// Hints to all nodes that something changed.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn notify(session: &mut DatabaseSession) -> Result<(), StoreError> {
    session.execute("SELECT pg_notify($1, '')", &[&CHANNEL])?;
    Ok(())
}

/// Counts the pipelines by their required labels, those that this node may run alone.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn groups(session: &mut DatabaseSession, node: &NodeIdentity) -> Result<Vec<LabelGroup>, StoreError> {
    let rows = session.query(
        "WITH alive AS (SELECT id, labels, is_draining FROM nodes WHERE expires_at > clock_timestamp()),
         counted AS (
             SELECT p.requires, count(*) AS pipelines, count(*) FILTER (WHERE l.node = $1) AS own,
                 count(*) FILTER (WHERE l.node IS NULL OR NOT EXISTS (SELECT 1 FROM alive WHERE alive.id = l.node)) AS free
             FROM leases l JOIN pipelines p USING (incarnation) WHERE p.requires <@ $2 GROUP BY p.requires)
         SELECT requires, pipelines, own, free,
             (SELECT count(*) FROM alive WHERE NOT is_draining AND counted.requires <@ alive.labels) FROM counted",
        &[&node.id, &node.labels],
    )?;
    Ok(rows
        .iter()
        .map(|row| LabelGroup {
            requires: row.get(0),
            pipelines: count(row.get(1)),
            own: count(row.get(2)),
            free: count(row.get(3)),
            nodes: count(row.get(4)),
        })
        .collect())
}

/// Takes at most `most` free pipelines with these required labels, those with an open run first.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn take(
    session: &mut DatabaseSession,
    node: &NodeIdentity,
    requires: &[String],
    most: u64,
) -> Result<Vec<TakenLease>, StoreError> {
    let rows = session.query(
        "WITH alive AS (SELECT id FROM nodes WHERE expires_at > clock_timestamp()),
         free AS (
             SELECT l.incarnation FROM leases l JOIN pipelines p USING (incarnation)
             WHERE (l.node IS NULL OR NOT EXISTS (SELECT 1 FROM alive WHERE alive.id = l.node))
                 AND p.requires = $2 AND EXISTS (SELECT 1 FROM alive WHERE alive.id = $1)
             ORDER BY l.task IS NULL, l.incarnation LIMIT $3 FOR UPDATE OF l SKIP LOCKED)
         UPDATE leases l SET node = $1, fence = l.fence + 1, since = clock_timestamp(), version = l.version + 1,
             changed = pg_current_xact_id()
         FROM free WHERE l.incarnation = free.incarnation RETURNING l.incarnation, l.fence, l.log_end",
        &[&node.id, &requires, &signed(most)],
    )?;
    Ok(rows.iter().map(taken).collect())
}

/// Takes one new pipeline, if it is free and this node may run it.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn take_new(
    session: &mut DatabaseSession,
    node: &NodeIdentity,
    incarnation: u64,
) -> Result<Vec<TakenLease>, StoreError> {
    let rows = session.query(
        "UPDATE leases l SET node = $1, fence = l.fence + 1, since = clock_timestamp(), version = l.version + 1,
             changed = pg_current_xact_id()
         FROM pipelines p WHERE l.incarnation = $3 AND p.incarnation = l.incarnation AND l.node IS NULL
             AND p.requires <@ $2
             AND EXISTS (SELECT 1 FROM nodes WHERE id = $1 AND expires_at > clock_timestamp() AND NOT is_draining)
         RETURNING l.incarnation, l.fence, l.log_end",
        &[&node.id, &node.labels, &signed(incarnation)],
    )?;
    Ok(rows.iter().map(taken).collect())
}

fn taken(row: &tokio_postgres::Row) -> TakenLease {
    TakenLease { incarnation: count(row.get(0)), fence: count(row.get(1)), log_end: count(row.get(2)) }
}

/// Returns the leases of a node: incarnation and fencing number of each.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn of_node(session: &mut DatabaseSession, id: &str) -> Result<Vec<(u64, u64)>, StoreError> {
    let rows = session.query("SELECT incarnation, fence FROM leases WHERE node = $1", &[&id])?;
    Ok(rows.iter().map(|row| (count(row.get(0)), count(row.get(1)))).collect())
}

/// Gives up leases: incarnation and fencing number of each.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn release(session: &mut DatabaseSession, given_up: &[(u64, u64)]) -> Result<(), StoreError> {
    let incarnations: Vec<i64> = given_up.iter().map(|it| signed(it.0)).collect();
    let fences: Vec<i64> = given_up.iter().map(|it| signed(it.1)).collect();
    session.execute(
        "UPDATE leases l SET node = NULL, since = clock_timestamp(), version = l.version + 1,
             changed = pg_current_xact_id()
         FROM unnest($1::int8[], $2::int8[]) AS i(incarnation, fence)
         WHERE l.incarnation = i.incarnation AND l.fence = i.fence",
        &[&incarnations, &fences],
    )?;
    Ok(())
}

/// Returns all nodes, living ones first. An earlier registration of the same name is left out.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn nodes(session: &mut DatabaseSession) -> Result<Vec<NodeRow>, StoreError> {
    let rows = session.query(
        "SELECT id, name, address, version, labels, expires_at > clock_timestamp() AS is_alive, is_draining,
             (extract(epoch FROM started_at) * 1000)::int8, (extract(epoch FROM seen_at) * 1000)::int8,
             (SELECT count(*) FROM leases WHERE node = nodes.id),
             (SELECT count(*) FROM leases WHERE node = nodes.id AND task IS NOT NULL)
         FROM nodes WHERE expires_at > clock_timestamp() OR NOT EXISTS (
             SELECT 1 FROM nodes later WHERE later.name = nodes.name AND later.started_at > nodes.started_at)
         ORDER BY is_alive DESC, name, started_at",
        &[],
    )?;
    Ok(rows
        .iter()
        .map(|row| NodeRow {
            id: row.get(0),
            name: row.get(1),
            address: row.get(2),
            version: row.get(3),
            labels: row.get(4),
            is_alive: row.get(5),
            is_draining: row.get(6),
            started_at: row.get(7),
            seen_at: row.get(8),
            pipelines: count(row.get(9)),
            running: count(row.get(10)),
        })
        .collect())
}

/// Facts of a running pipeline that other nodes show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFacts {
    pub incarnation: u64,
    pub fence: u64,
    pub checkpoints: u64,
    /// Task id of the open run.
    pub task: Option<String>,
    /// Finished streams of all streams, such as `3/7`.
    pub progress: Option<String>,
    /// Totals of the run, as JSON.
    pub totals: Option<String>,
}

/// Stores the facts of running pipelines; those of a lease that was lost are ignored.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn share_facts(session: &mut DatabaseSession, all: &[SharedFacts]) -> Result<(), StoreError> {
    let incarnations: Vec<i64> = all.iter().map(|it| signed(it.incarnation)).collect();
    let fences: Vec<i64> = all.iter().map(|it| signed(it.fence)).collect();
    let checkpoints: Vec<i64> = all.iter().map(|it| signed(it.checkpoints)).collect();
    let tasks: Vec<&Option<String>> = all.iter().map(|it| &it.task).collect();
    let progress: Vec<&Option<String>> = all.iter().map(|it| &it.progress).collect();
    let totals: Vec<&Option<String>> = all.iter().map(|it| &it.totals).collect();
    session.execute(
        // Locked in one order, as `chunks::append` does.
        "WITH locked AS MATERIALIZED (
             SELECT incarnation FROM leases WHERE incarnation = ANY($1) ORDER BY incarnation FOR NO KEY UPDATE)
         UPDATE leases l SET checkpoints = i.checkpoints, task = i.task, progress = i.progress, totals = i.totals,
             version = l.version + 1, changed = pg_current_xact_id()
         FROM locked JOIN unnest($1::int8[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[])
             AS i(incarnation, fence, checkpoints, task, progress, totals) USING (incarnation)
         WHERE l.incarnation = i.incarnation AND l.fence = i.fence AND l.node IS NOT NULL",
        &[&incarnations, &fences, &checkpoints, &tasks, &progress, &totals],
    )?;
    Ok(())
}
