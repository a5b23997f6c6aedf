//! Opens the program's SQLite files: permissions, durability, schema migrations.

use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Maximum wait for a database lock that another process holds.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Error of a database operation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the store cannot be written: {0}")]
    Sql(String),
    #[error("a newer synctop wrote the store (version {0}, supported: {1}): use that synctop")]
    Later(usize, usize),
    #[error("{0} is damaged, or no database: restore it from a backup, or move it away")]
    Damaged(String),
    #[error("the store is closed")]
    Closed,
    /// Address of the database, and the reason.
    #[error("the database {0} cannot be used: {1}")]
    Unreachable(String, String),
    #[error("the connection to the database broke during the commit: the change may have been stored; read it again")]
    Unknown,
    #[error("PostgreSQL {0} is too old: version 14 or later is needed")]
    OldServer(String),
    #[error("parts of the logs are in an archive: pass its address with --archive")]
    NeedsArchive,
    #[error("another node has taken over the pipeline")]
    Fenced,
    #[error("this cannot be stored, because it could not be read back: {0}")]
    Unreadable(String),
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

/// Opens or creates the file, readable by its owner only, and applies the missing `migrations`,
/// each in its own transaction.
///
/// # Errors
/// Returns [`StoreError::Damaged`] if the file is no database, [`StoreError::Sql`] if it cannot be
/// opened or migrated, and [`StoreError::Later`] if a later version of the program wrote it.
pub fn open(path: &Path, migrations: &[&str]) -> Result<Connection, StoreError> {
    open_or_migrate(path, migrations).map_err(|error| match error {
        OpenError::Sql(error) if matches!(error.sqlite_error_code(), Some(NotADatabase | DatabaseCorrupt)) => {
            StoreError::Damaged(path.display().to_string())
        }
        OpenError::Sql(error) => error.into(),
        OpenError::Store(error) => error,
    })
}

/// Error of opening a database, with the code of SQLite.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn open_or_migrate(path: &Path, migrations: &[&str]) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    restrict(path);
    connection.busy_timeout(LOCK_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Deleted rows may have contained secrets.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection, migrations)?;
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        restrict(Path::new(&name));
    }
    Ok(connection)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    loop {
        // Read the version under the lock: another process may be migrating too.
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: usize = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > migrations.len() {
            return Err(StoreError::Later(version, migrations.len()).into());
        }
        let Some(step) = migrations.get(version) else { return Ok(()) };
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", version + 1)?;
        tx.commit()?;
    }
}

/// Restricts a file to its owner. Errors are ignored.
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
}
