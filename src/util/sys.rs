//! Clock, random values, locks and paths: the helpers that every part needs.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use synctop_core::protocol::Millis;

/// Returns the current time in milliseconds since 1970, UTC.
#[must_use]
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(0)
}

/// Returns a random number from 0 (inclusive) to 1 (exclusive).
pub(crate) fn jitter() -> f64 {
    fastrand::f64()
}

/// Returns a random identifier with the prefix `kind`.
#[must_use]
pub fn random_id(kind: &str) -> String {
    format!("{kind}_{:016x}", fastrand::u64(..))
}

/// Locks a mutex, ignoring poison: every update leaves the value consistent, and the thread that
/// joins reports the panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the folder of a path; `.` for a bare file name.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns a random number below a bound: spreads the retries of clients.
pub(crate) fn random_below(bound: u64) -> u64 {
    if bound == 0 { 0 } else { fastrand::u64(..bound) }
}

/// Returns the lowercase hexadecimal text of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
