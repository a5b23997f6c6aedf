//! Exit codes of all commands: the only place with their numbers.
//!
//! Results and errors have a [`ResultClass`]; [`code`] maps it. The numbers follow sysexits.h (64
//! to 77), Rust (101 for a panic) and shells (128 + signal).

use crate::cli::error::CommandError;
use synctop_core::ResultClass;
use synctop_core::reduce::{Exit, Outcome, Progress, doubts, outcome};

/// The work is done.
pub const DONE: u8 = code(ResultClass::Done);

/// Nothing in the input was understood.
pub const BAD_DATA: u8 = code(ResultClass::BadData);

/// A part of the program panicked.
pub const BUG: u8 = code(ResultClass::Bug);

/// The command line is invalid.
pub const USAGE: u8 = code(ResultClass::Usage);

/// Number of SIGPIPE: the reader of the output has exited.
const SIGPIPE: i32 = 13;

/// Returns the exit code of a class.
pub const fn code(class: ResultClass) -> u8 {
    match class {
        ResultClass::Done => 0,
        ResultClass::Failed => 1,
        ResultClass::Unfinished => 2,
        ResultClass::Mixed => 3,
        ResultClass::NotFound => 4,
        ResultClass::Usage => 64,
        ResultClass::BadData => 65,
        ResultClass::NoInput => 66,
        ResultClass::Unavailable => 69,
        ResultClass::Output => 70,
        ResultClass::NotAllowed => 77,
        ResultClass::Bug => 101,
        ResultClass::Interrupted => 130,
    }
}

/// Returns the exit code of an outcome. With `strict`, a doubt turns 0 into 1.
pub fn of_outcome(progress: &Progress, strict: bool) -> u8 {
    match outcome(progress).class() {
        ResultClass::Done if strict && !doubts(progress).is_empty() => code(ResultClass::Failed),
        class => code(class),
    }
}

/// Returns the exit code of a feed. With `live`, a failing code of the engine (128 + signal) comes
/// first, because engines exit with 0 on failure.
pub fn of_feed(progress: &Progress, live: bool, strict: bool) -> u8 {
    match progress.exit.filter(|_| live) {
        Some(Exit::Code(code)) if code != 0 => u8::try_from(code).unwrap_or(u8::MAX),
        Some(Exit::Signal(number)) => signal(number),
        _ if progress.dialect.is_none()
            && progress.errors.groups().is_empty()
            && progress.input.messages == 0
            && (progress.closed || progress.input.lines > 0)
            && matches!(outcome(progress), Outcome::Unknown | Outcome::Running) =>
        {
            BAD_DATA
        }
        _ => of_outcome(progress, strict),
    }
}

/// Returns the exit code of an error.
pub fn of_error(error: &CommandError) -> u8 {
    code(error.class)
}

/// Returns the exit code of a process that a signal ended, as shells report it (128 + number).
pub fn signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

/// Returns the exit code of a command whose reader has exited, as SIGPIPE ends `cat`.
pub fn reader_gone() -> u8 {
    signal(SIGPIPE)
}
