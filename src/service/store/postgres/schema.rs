//! Schema of the PostgreSQL store and its migrations: forward only, and safe while older nodes run.
//!
//! A migration first expands the schema, which older programs ignore; a later one removes the old
//! part and raises `oldest`, the first version of the program that still works with it.

use crate::service::store::postgres::session::{DatabaseSession, count, signed};
use crate::util::sqlite::StoreError;

/// Version of the schema that this program writes.
pub const VERSION: u64 = MIGRATIONS.len() as u64;

/// Oldest server: `pg_current_xact_id` came with 13, and 14 is the oldest one that is supported.
const OLDEST_SERVER: i32 = 140_000;

/// Number of the advisory lock of migrations: "synctop" as a number.
const MIGRATION_LOCK: i64 = 0x7379_6e63_746f_7000;

/// Migration: statements, and the oldest version of the program that works with the result.
struct Migration {
    statements: &'static str,
    oldest: u64,
}

/// Steps from one version to the next.
const MIGRATIONS: [Migration; 1] = [Migration { statements: VERSION_1, oldest: 1 }];

/// First version. Times are those of the database. `changed` is the transaction of the last change:
/// a reader asks for all changes since the oldest transaction that was open when it read before.
const VERSION_1: &str = r#"
CREATE TABLE pipelines (
    id text COLLATE "C" PRIMARY KEY,
    incarnation bigint NOT NULL UNIQUE,
    revision bigint NOT NULL,
    doc text NOT NULL,
    requires text[] NOT NULL DEFAULT '{}',
    changed xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX pipelines_changed ON pipelines (changed);
CREATE SEQUENCE incarnations;
CREATE TABLE nodes (
    id text PRIMARY KEY,
    name text NOT NULL,
    address text NOT NULL,
    version text NOT NULL,
    labels text[] NOT NULL,
    is_draining boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL);
CREATE TABLE leases (
    incarnation bigint PRIMARY KEY REFERENCES pipelines (incarnation) ON DELETE CASCADE,
    node text,
    fence bigint NOT NULL DEFAULT 0,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    log_end bigint NOT NULL DEFAULT 0,
    kept_from bigint NOT NULL DEFAULT 0,
    checkpoints bigint NOT NULL DEFAULT 0,
    task text,
    progress text,
    totals text,
    version bigint NOT NULL DEFAULT 0,
    changed xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX leases_changed ON leases (changed);
CREATE INDEX leases_of_node ON leases (node);
CREATE TABLE chunks (
    incarnation bigint NOT NULL,
    start bigint NOT NULL,
    run bigint NOT NULL,
    fence bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    bytes bytea NOT NULL,
    PRIMARY KEY (incarnation, start));
CREATE TABLE segments (
    incarnation bigint NOT NULL,
    start bigint NOT NULL,
    length bigint NOT NULL,
    run bigint NOT NULL,
    size bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    path text NOT NULL,
    PRIMARY KEY (incarnation, start));
CREATE TABLE states (
    pipeline text COLLATE "C" PRIMARY KEY REFERENCES pipelines (id) ON DELETE CASCADE,
    state text,
    checkpoints bigint NOT NULL DEFAULT 0,
    call_from bigint);
CREATE TABLE tasks (
    id text PRIMARY KEY,
    pipeline text NOT NULL,
    incarnation bigint NOT NULL,
    number bigint NOT NULL,
    over boolean NOT NULL,
    created_at bigint NOT NULL,
    doc text NOT NULL);
CREATE INDEX tasks_of_pipeline ON tasks (pipeline, incarnation, number);
CREATE TABLE idempotency (
    key text NOT NULL,
    scope text NOT NULL,
    request text NOT NULL,
    answer text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (key, scope));
CREATE INDEX idempotency_at ON idempotency (at);
CREATE TABLE inputs (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text COLLATE "C" NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    at bigint NOT NULL,
    body text NOT NULL);
CREATE INDEX inputs_of_pipeline ON inputs (pipeline, seq);
CREATE TABLE deleted (
    id text COLLATE "C" PRIMARY KEY,
    incarnation bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX deleted_changed ON deleted (changed);
CREATE TABLE incidents (key text PRIMARY KEY, due bigint, doc text NOT NULL);
CREATE TABLE actions (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    client text NOT NULL,
    action text NOT NULL,
    pipeline text,
    detail text);
CREATE INDEX actions_of_pipeline ON actions (pipeline, seq);
"#;

/// Version of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersion {
    /// Number of migrations that were applied; 0 for a database without a store.
    pub version: u64,
    /// Oldest version of the program that works with it.
    pub oldest: u64,
}

/// Refuses a server that is too old.
///
/// # Errors
/// Returns [`StoreError::OldServer`] with its version.
pub fn check_server(session: &mut DatabaseSession) -> Result<(), StoreError> {
    let rows =
        session.query("SELECT current_setting('server_version_num')::int4, current_setting('server_version')", &[])?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (number, name): (i32, String) = (row.get(0), row.get(1));
    if number < OLDEST_SERVER { Err(StoreError::OldServer(name)) } else { Ok(()) }
}

/// Returns the version of the store in the database.
///
/// # Errors
/// Returns a [`StoreError`] if the database fails.
pub fn version(session: &mut DatabaseSession) -> Result<SchemaVersion, StoreError> {
    let found = session.query("SELECT to_regclass('schema_version') IS NOT NULL", &[])?;
    if !found.first().is_some_and(|row| row.get(0)) {
        return Ok(SchemaVersion { version: 0, oldest: 0 });
    }
    let rows = session.query("SELECT version, oldest FROM schema_version", &[])?;
    let row = rows.first();
    Ok(SchemaVersion {
        version: row.map_or(0, |row| count(row.get(0))),
        oldest: row.map_or(0, |row| count(row.get(1))),
    })
}

/// Refuses a database that needs a newer program.
///
/// # Errors
/// Returns [`StoreError::Later`] with both versions.
pub fn check(found: SchemaVersion) -> Result<(), StoreError> {
    if found.oldest > VERSION {
        return Err(StoreError::Later(limited(found.oldest), limited(VERSION)));
    }
    Ok(())
}

fn limited(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Applies the missing migrations in one transaction, one node at a time. Returns the versions
/// before and after.
///
/// # Errors
/// Returns [`StoreError::Later`] if a newer program is needed, or the error of a statement; the
/// database is unchanged then.
pub fn migrate(session: &mut DatabaseSession) -> Result<(SchemaVersion, SchemaVersion), StoreError> {
    check_server(session)?;
    session.batch("BEGIN")?;
    let migrated = migrate_in_transaction(session);
    match &migrated {
        Ok(_) => session.batch("COMMIT")?,
        Err(_) => session.roll_back(),
    }
    migrated
}

fn migrate_in_transaction(session: &mut DatabaseSession) -> Result<(SchemaVersion, SchemaVersion), StoreError> {
    session.query("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK])?;
    let before = version(session)?;
    check(before)?;
    let mut after = before;
    if before.version == 0 {
        session.batch("CREATE TABLE schema_version (version bigint NOT NULL, oldest bigint NOT NULL)")?;
        session.batch("INSERT INTO schema_version VALUES (0, 0)")?;
    }
    for migration in MIGRATIONS.iter().skip(limited(before.version)) {
        session.batch(migration.statements)?;
        after = SchemaVersion { version: after.version + 1, oldest: migration.oldest };
    }
    if after != before {
        let (version, oldest) = (signed(after.version), signed(after.oldest));
        session.execute("UPDATE schema_version SET version = $1, oldest = $2", &[&version, &oldest])?;
    }
    Ok((before, after))
}
