//! Source that is read to its end: standard input, a compressed file, the output of a child.

use super::{CHUNK, Event};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::BorrowedFd;
use std::io::{self, Read};
use std::sync::mpsc::SyncSender;

/// Reads to the end and hands on every chunk. Answers whether anybody still listens, or why reading
/// stopped.
///
/// # Errors
/// When reading fails; everything before it was handed on.
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

/// Bytes that a pipe into us may hold: fewer turns between its writer and us. The system's default
/// is 64 KiB, its bound 1 MiB.
const WIDE: usize = 1 << 20;

/// Standard input; a pipe is widened, if it is one.
#[must_use]
pub fn stdin() -> io::Stdin {
    let stdin = io::stdin();
    // Other descriptors stay as they are.
    let _ = rustix::pipe::fcntl_setpipe_size(&stdin, WIDE);
    stdin
}

/// Starts a thread that reads `input` (packed or not) to its end.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(input: impl Read + Send + 'static, what: String, events: SyncSender<Event>) -> io::Result<()> {
    std::thread::Builder::new().name("read".into()).spawn(move || to_its_end(input, &what, &events))?;
    Ok(())
}

/// Reads `input` (compressed or not) to its end, and returns its result.
pub fn to_its_end(input: impl Read + Send, what: &str, events: &SyncSender<Event>) {
    let read = super::decompress::open(input).and_then(|(_, mut unpacked)| pump(&mut *unpacked, events));
    if let Err(error) = read {
        // Earlier data stand; the reason is shown, and the summary reports truncated input.
        let _ = events.send(Event::Down(format!("{what}: {error}")));
    }
    let _ = events.send(Event::End(None));
}

/// Writes everything, also to a descriptor that another process made non-blocking.
///
/// # Errors
/// When it cannot be written.
pub fn write_all(to: BorrowedFd, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => ready(to, PollFlags::OUT),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Bytes that a pipe takes at once without blocking, when it takes any (`PIPE_BUF`, POSIX pipe(7)).
const ATOMIC: usize = 4096;

/// Writes everything while `go_on` agrees during stalls. Returns whether all was written.
///
/// # Errors
/// When it cannot be written.
pub fn write_while(to: BorrowedFd, bytes: &[u8], mut go_on: impl FnMut() -> bool) -> io::Result<bool> {
    for part in bytes.chunks(ATOMIC) {
        while !within(to, PollFlags::OUT, A_WHILE) {
            if !go_on() {
                return Ok(false);
            }
        }
        write_all(to, part)?;
    }
    Ok(true)
}

/// Reads available data, at least one byte before the end; waits also if another process made the
/// descriptor non-blocking.
///
/// # Errors
/// When it cannot be read.
pub fn read(from: BorrowedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(from, &mut *buffer) {
            Ok(length) => return Ok(length),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => ready(from, PollFlags::IN),
            Err(error) => return Err(error.into()),
        }
    }
}

/// True if data or the end of input is available within 100 ms.
#[must_use]
pub fn readable(from: BorrowedFd) -> bool {
    within(from, PollFlags::IN, A_WHILE)
}

/// Wait before asking whether to continue, in nanoseconds.
const A_WHILE: i64 = 100_000_000;

/// True if the descriptor is ready within this time. An interrupted wait counts as not ready: the
/// caller checks the reason.
fn within(descriptor: BorrowedFd, what: PollFlags, nanoseconds: i64) -> bool {
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    poll(&mut [PollFd::from_borrowed_fd(descriptor, what)], Some(&time)).is_ok_and(|ready| ready > 0)
}

fn ready(descriptor: BorrowedFd, what: PollFlags) {
    let _ = poll(&mut [PollFd::from_borrowed_fd(descriptor, what)], None);
}

/// Standard output; a pipe is widened, if it is one.
#[must_use]
pub fn stdout() -> BorrowedFd<'static> {
    let stdout = rustix::stdio::stdout();
    let _ = rustix::pipe::fcntl_setpipe_size(stdout, WIDE);
    stdout
}
