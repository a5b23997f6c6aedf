//! Opening of our SQLite files: permissions, durability, schema version.

use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Maximum wait for a lock of another process.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Reason that something cannot be stored or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be written: {0}")]
    Sql(String),
    #[error("the store is of a later version ({0}, this one knows {1}): run the synctop that wrote it")]
    Later(usize, usize),
    #[error("the store is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Sql(error.to_string())
    }
}

/// Opens the file, made where there is none, for its owner alone, and brings it to the last of
/// these versions, step by step, each step in a transaction of its own.
///
/// # Errors
/// When it cannot be opened or is of a later version.
pub fn open(path: &Path, migrations: &[&str]) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    restrict(path);
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Deleted rows may have contained secrets.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection, migrations)?;
    for beside in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        restrict(Path::new(&name));
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    loop {
        // Asked for under the lock: another process may be doing the same.
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: usize = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > migrations.len() {
            return Err(StoreError::Later(version, migrations.len()));
        }
        let Some(step) = migrations.get(version) else { return Ok(()) };
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", version + 1)?;
        tx.commit()?;
    }
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
}
