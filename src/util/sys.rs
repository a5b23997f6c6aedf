//! Clock, random values, locks and paths: the helpers that every part needs.

use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use synctop_core::protocol::Millis;

/// Returns the current time in milliseconds since 1970, UTC. The clock may be set: durations are
/// measured by [`steady_now`] or an instant.
#[must_use]
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(0).saturating_add(clock_offset())
}

/// Returns a time in milliseconds since 1970 that never jumps while the program runs: the clock at
/// its first use, and the time since then. Ages are differences of it.
#[must_use]
pub fn steady_now() -> Millis {
    static START: LazyLock<(Millis, Millis)> = LazyLock::new(|| (now(), uptime()));
    let (at, started) = *START;
    at.saturating_add(uptime().saturating_sub(started))
}

/// Returns [`steady_now`] as a time of the system.
#[must_use]
pub fn steady_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(steady_now()).unwrap_or(0))
}

/// Returns the milliseconds of a clock that cannot be set and that counts the time of a suspended
/// machine too.
fn uptime() -> Millis {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}

/// Returns the error of the clock that a test of a debug build asks for, in milliseconds: the text
/// of the file that `SYNCTOP_TEST_CLOCK` names.
fn clock_offset() -> Millis {
    #[cfg(debug_assertions)]
    {
        static FILE: LazyLock<Option<std::ffi::OsString>> = LazyLock::new(|| std::env::var_os("SYNCTOP_TEST_CLOCK"));
        let text = FILE.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
    #[cfg(not(debug_assertions))]
    0
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

/// Returns the FNV-1a hash of some bytes: the same on every machine.
#[must_use]
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
