//! Command line: one file per command, no logic of its own.

mod args;
mod backfill;
mod config;
mod connect;
mod man;
mod pipelines;
mod remote_args;
mod replay;
mod run;
mod serve;
mod service;
mod simulate;
mod summary;
mod sync;
mod task_poll;
mod tee;
mod track;
mod wait;
mod watch;

pub use args::{Args, command};

use crate::engine::state;
use crate::net::SourceError;
use clap::FromArgMatches;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Exit codes of every command that reports on work, besides those of an outcome (0, 1, 2).
pub(crate) mod exit {
    pub const USAGE: u8 = 64;
    pub const NOT_UNDERSTOOD: u8 = 65;
    pub const FAILED: u8 = 70;
    /// As Rust has it for a panic.
    pub const PANICKED: u8 = 101;

    /// Exit code of an outcome; `strict`: a doubt gives 1 where it would have been 0.
    pub fn of_outcome(progress: &synctop_core::reduce::Progress, strict: bool) -> u8 {
        let code = synctop_core::reduce::outcome(progress).exit_code();
        if code == 0 && strict && !synctop_core::reduce::doubts(progress).is_empty() { 1 } else { code }
    }

    /// Exit code of a death by signal, as shells report it.
    pub fn signal(number: i32) -> u8 {
        u8::try_from(128 + number).unwrap_or(u8::MAX)
    }
}

/// An error as a sentence with a next step, and its exit code.
pub(crate) struct CommandError {
    pub sentence: String,
    pub code: u8,
}

impl CommandError {
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: exit::USAGE }
    }

    /// A file that was named after `flag`.
    pub fn unwritable(path: &Path, flag: &str, error: &io::Error) -> Self {
        let path = path.display();
        Self { sentence: format!("Cannot write {path}: {error}. Name another file after {flag}."), code: exit::FAILED }
    }

    pub fn unwritable_stdout(error: &dyn std::fmt::Display) -> Self {
        Self { sentence: format!("Cannot write stdout: {error}."), code: exit::FAILED }
    }

    pub fn no_state(path: &Path, error: &dyn std::fmt::Display) -> Self {
        let path = path.display();
        Self {
            sentence: format!(
                "{path} is no state of an engine: {error}. Pass another file, or start fresh without it."
            ),
            code: exit::NOT_UNDERSTOOD,
        }
    }
}

impl From<SourceError> for CommandError {
    fn from(error: SourceError) -> Self {
        Self { sentence: error.to_string(), code: error.exit_code() }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self { sentence: format!("{error}."), code: exit::FAILED }
    }
}

/// Runs the command line; every exit code of the process passes through here.
#[must_use]
pub fn main() -> ExitCode {
    let mut command = args::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let args = match matches.and_then(|it| Args::from_arg_matches(&it).map_err(|error| error.format(&mut command))) {
        Ok(args) => args,
        Err(error) => {
            let first = std::env::args().nth(1).unwrap_or_default();
            if let Some(mistyped) = mistyped(&first).filter(|_| error.use_stderr()) {
                complain(&mistyped.sentence);
                return ExitCode::from(mistyped.code);
            }
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match dispatch(args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            complain(&failure.sentence);
            ExitCode::from(failure.code)
        }
    }
}

/// Error of a first word that is neither a file nor a command, and nearly a command.
fn mistyped(word: &str) -> Option<CommandError> {
    if word.starts_with('-') || word.contains(['/', '.', ':']) || Path::new(word).exists() {
        return None;
    }
    let meant = args::similar_command(word).filter(|name| name != word)?;
    Some(CommandError::usage(format!("There is no command and no file {word}. Did you mean synctop {meant}?")))
}

fn dispatch(args: Args) -> Result<u8, CommandError> {
    use args::Command;
    match args.command {
        None => match args.source.as_deref().filter(|_| !args.watch.retry).and_then(mistyped) {
            Some(error) => Err(error),
            None => watch::watch(args.source.as_deref(), &args.watch, &args.look, &args.feed),
        },
        Some(Command::Summary(summary)) => summary::summary(&summary, &args.feed),
        Some(Command::Replay(replay)) => replay::replay(&replay, &args.look, &args.feed),
        Some(Command::Run(run)) => run::run(&run, &args.look, &args.feed),
        Some(Command::Tee(tee)) => tee::tee(&tee, &args.look, &args.feed),
        Some(Command::Track(track)) => track::track(&track),
        Some(Command::Backfill(calls)) => backfill::backfill(&calls, &args.look, &args.feed),
        Some(Command::Serve(options)) => serve::serve(&options),
        Some(Command::Simulate(plan)) => simulate::simulate(&plan),
        Some(Command::Connect(to)) => connect::connect(&to, &args.look),
        Some(Command::Pipelines(verb)) => pipelines::pipelines(&verb),
        Some(Command::Wait(wish)) => wait::wait(&wish),
        Some(Command::Sync(run)) => sync::sync(&run),
        Some(Command::Task(task)) => sync::task(&task),
        Some(Command::Config(verb)) => config::config(&verb),
        Some(Command::Completions { shell }) => man::completions(shell),
        Some(Command::Man { command }) => man::man(command.as_deref()),
    }
}

/// Words as a sentence.
pub(crate) fn sentence(text: &str) -> String {
    let end = if text.ends_with('.') { "" } else { "." };
    // An address is written as it is.
    if text.split(' ').next().is_some_and(|first| first.contains("://")) {
        return format!("{text}{end}");
    }
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}{end}", chars.as_str())
}

/// Writes to stderr; when even that fails the exit code has to do.
pub(crate) fn complain(sentence: &str) {
    // A terminal or pipe that takes nothing does not keep us.
    let asked = std::time::Instant::now();
    let wait = || asked.elapsed() < std::time::Duration::from_secs(2);
    let _ = crate::net::pipe::write_while(rustix::stdio::stderr(), format!("synctop: {sentence}\n").as_bytes(), wait);
}

/// Text of a file of the kind `what`, for the error sentence.
pub(crate) fn text_of(path: &Path, what: &str) -> Result<String, CommandError> {
    let name = path.display().to_string();
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        // It is not waited for, as a feed would be.
        io::ErrorKind::NotFound => SourceError::Absent(name).into(),
        io::ErrorKind::InvalidData => {
            CommandError { sentence: format!("{name} is no {what}: it is no text."), code: exit::NOT_UNDERSTOOD }
        }
        _ => SourceError::of(&name, &error).into(),
    })
}

/// The text of a state file, if there is one yet; that it can be written is known before anything
/// is read.
pub(crate) fn kept_in(path: &Path) -> Result<Option<String>, CommandError> {
    state::check(path).map_err(|error| CommandError::unwritable(path, "--state", &error))?;
    state::read(path).map_err(|error| SourceError::of(&path.display().to_string(), &error).into())
}

/// Writes to stdout; a reader that has gone is no error, as for `cat`.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
