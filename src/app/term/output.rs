//! The one writer of text to standard output and standard error.
//!
//! Names, arguments, configurations and answers of services are untrusted: none of them may move
//! the cursor, set the title or reorder a line. So the text is cleaned here and not at each place
//! that prints a name. Feeds, which are passed on byte for byte, and pictures have writers of their
//! own; `tests/layering.rs` allows no other.

use crate::net::source::pipe;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use synctop_core::protocol::clean;

/// Maximum time that a blocked terminal or pipe delays the exit.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Writes text to standard output.
///
/// # Errors
/// Returns the write error, such as a full disk.
pub(crate) fn out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(clean::text(text).as_bytes()).and_then(|()| stdout.flush())
}

/// Writes text to standard error. A write error is ignored: the exit code still reports a failure.
pub(crate) fn err(text: &str) {
    let asked = Instant::now();
    let wait = || asked.elapsed() < MAX_WAIT;
    let _ = pipe::write_while(rustix::stdio::stderr(), clean::text(text).as_bytes(), wait);
}

/// Writes a line to standard error.
pub(crate) fn err_line(text: &str) {
    err(&format!("{text}\n"));
}
