//! Sources that are read to their end: standard input, a compressed file, the output of a child.

use crate::net::source::event::{CHUNK, Event};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::BorrowedFd;
use std::io::{self, Read};
use std::sync::mpsc::SyncSender;

/// Reads to the end and sends every chunk. Returns `false` if the receiver is gone.
///
/// # Errors
/// Returns the read error; all data before it were sent.
pub fn pump(input: &mut dyn Read, events: &SyncSender<Event>) -> io::Result<bool> {
    loop {
        let mut chunk = vec![0; CHUNK];
        let length = match input.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        chunk.truncate(length);
        if length < CHUNK / 4 {
            chunk.shrink_to_fit();
        }
        if events.send(Event::Bytes(chunk, None)).is_err() {
            return Ok(false);
        }
    }
}

/// Requested pipe capacity in bytes. Fewer context switches than with the system's default of
/// 64 KiB; 1 MiB is its usual maximum.
const PIPE_SIZE: usize = 1 << 20;

/// Returns standard input. If it is a pipe, its capacity is increased.
#[must_use]
pub fn stdin() -> io::Stdin {
    let stdin = io::stdin();
    // Fails for other descriptors, which need no capacity.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdin, PIPE_SIZE);
    stdin
}

/// Starts a thread that reads `input` (compressed or not) to its end.
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub fn spawn(input: impl Read + Send + 'static, what: String, events: SyncSender<Event>) -> io::Result<()> {
    std::thread::Builder::new().name("read".into()).spawn(move || pump_to_end(input, &what, &events))?;
    Ok(())
}

/// Reads `input` (compressed or not) to its end and sends its chunks, a possible error and the end
/// as events. `what` names the input.
pub fn pump_to_end(input: impl Read + Send, what: &str, events: &SyncSender<Event>) {
    let read = crate::net::source::decompress::open(input).and_then(|(_, mut unpacked)| pump(&mut *unpacked, events));
    if let Err(error) = read {
        // Earlier data stay; the reason is shown, and the summary reports truncated input.
        let _ = events.send(Event::Down(format!("{what}: {error}")));
    }
    let _ = events.send(Event::End(None));
}

/// Writes everything, also to a descriptor that another process made non-blocking.
///
/// # Errors
/// Returns the write error.
pub fn write_all(to: BorrowedFd, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => wait_until_ready(to, PollFlags::OUT),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Bytes that a writable pipe accepts without blocking (`PIPE_BUF`, see pipe(7)).
const ATOMIC: usize = 4096;

/// Writes everything. While the descriptor is not writable, calls `go_on` every 100 ms and stops if
/// it returns `false`. Returns `true` if everything was written.
///
/// # Errors
/// Returns the write error.
pub fn write_while(to: BorrowedFd, bytes: &[u8], mut go_on: impl FnMut() -> bool) -> io::Result<bool> {
    for part in bytes.chunks(ATOMIC) {
        while !is_ready_within(to, PollFlags::OUT, READY_TIMEOUT_NS) {
            if !go_on() {
                return Ok(false);
            }
        }
        write_all(to, part)?;
    }
    Ok(true)
}

/// Reads available data; returns 0 at the end only. Waits for data also if another process made the
/// descriptor non-blocking.
///
/// # Errors
/// Returns the read error.
pub fn read(from: BorrowedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(from, &mut *buffer) {
            Ok(length) => return Ok(length),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => wait_until_ready(from, PollFlags::IN),
            Err(error) => return Err(error.into()),
        }
    }
}

/// True if data or the end of input is available within 100 ms.
#[must_use]
pub fn readable(from: BorrowedFd) -> bool {
    is_ready_within(from, PollFlags::IN, READY_TIMEOUT_NS)
}

/// Maximum wait for a descriptor, in nanoseconds.
const READY_TIMEOUT_NS: i64 = 100_000_000;

/// True if the descriptor is ready within this time. An interrupted wait counts as not ready, so
/// that the caller can react to the signal.
fn is_ready_within(descriptor: BorrowedFd, what: PollFlags, nanoseconds: i64) -> bool {
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    poll(&mut [PollFd::from_borrowed_fd(descriptor, what)], Some(&time)).is_ok_and(|ready| ready > 0)
}

fn wait_until_ready(descriptor: BorrowedFd, what: PollFlags) {
    let _ = poll(&mut [PollFd::from_borrowed_fd(descriptor, what)], None);
}

/// True if the caller closed standard output: the runtime then opens `/dev/null` for reading and
/// writing in its place, and everything written would be lost.
#[must_use]
pub fn is_stdout_closed() -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let Ok(null) = std::fs::metadata("/dev/null") else { return false };
    let is_null = rustix::fs::fstat(rustix::stdio::stdout())
        .is_ok_and(|found| found.st_rdev == null.rdev() && null.file_type().is_char_device());
    let mode = rustix::fs::fcntl_getfl(rustix::stdio::stdout()).map(|flags| flags & rustix::fs::OFlags::RWMODE);
    is_null && mode == Ok(rustix::fs::OFlags::RDWR)
}

/// Returns standard output. If it is a pipe, its capacity is increased.
#[must_use]
pub fn stdout() -> BorrowedFd<'static> {
    let stdout = rustix::stdio::stdout();
    let _ = rustix::pipe::fcntl_setpipe_size(stdout, PIPE_SIZE);
    stdout
}
