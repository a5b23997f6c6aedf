//! Command line. Each command has its own file, which connects arguments to the library.

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

/// Exit codes shared by the commands, in addition to those of an outcome (0, 1, 2).
pub(crate) mod exit {
    /// Wrong usage.
    pub const USAGE: u8 = 64;
    /// Nothing in the input was understood.
    pub const NOT_UNDERSTOOD: u8 = 65;
    /// Failure of the program itself, such as an output that cannot be written.
    pub const FAILED: u8 = 70;
    /// Panic of the program, the same code as Rust's own.
    pub const PANICKED: u8 = 101;

    /// Returns the exit code of an outcome. With `strict`, a doubt turns 0 into 1.
    pub fn of_outcome(progress: &synctop_core::reduce::Progress, strict: bool) -> u8 {
        let code = synctop_core::reduce::outcome(progress).exit_code();
        if code == 0 && strict && !synctop_core::reduce::doubts(progress).is_empty() { 1 } else { code }
    }

    /// Returns the exit code of a process that a signal ended, as shells report it (128 + number).
    pub fn signal(number: i32) -> u8 {
        u8::try_from(128 + number).unwrap_or(u8::MAX)
    }
}

/// Error of a command: a sentence that names the next step, and the exit code.
pub(crate) struct CommandError {
    pub sentence: String,
    pub code: u8,
}

impl CommandError {
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: exit::USAGE }
    }

    /// Error of a file that cannot be written and was passed as the value of `flag`.
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
                "{path} is not a state file of an engine: {error}. Pass another file, or omit the option to start anew."
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

/// Parses the arguments, runs the command and returns the exit code of the process.
#[must_use]
pub fn main() -> ExitCode {
    let mut command = args::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let args = match matches.and_then(|it| Args::from_arg_matches(&it).map_err(|error| error.format(&mut command))) {
        Ok(args) => args,
        Err(error) => {
            let first = std::env::args().nth(1).unwrap_or_default();
            if let Some(mistyped) = mistyped(&first).filter(|_| error.use_stderr()) {
                print_error(&mistyped.sentence);
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
            print_error(&failure.sentence);
            ExitCode::from(failure.code)
        }
    }
}

/// Returns a usage error that suggests a command, if `word` resembles the name of a command and is
/// neither an option, a path nor an existing file.
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

/// Capitalizes the first letter of `text` and adds a final period.
pub(crate) fn sentence(text: &str) -> String {
    let end = if text.ends_with('.') { "" } else { "." };
    // Capitalizing a URL would change it.
    if text.split(' ').next().is_some_and(|first| first.contains("://")) {
        return format!("{text}{end}");
    }
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}{end}", chars.as_str())
}

/// Writes a message to stderr. A write error is ignored: the exit code still reports the failure.
pub(crate) fn print_error(sentence: &str) {
    // A blocked terminal or pipe delays the exit by at most two seconds.
    let asked = std::time::Instant::now();
    let wait = || asked.elapsed() < std::time::Duration::from_secs(2);
    let _ = crate::net::pipe::write_while(rustix::stdio::stderr(), format!("synctop: {sentence}\n").as_bytes(), wait);
}

/// Reads a text file. `what` names the kind of the file in the error message.
///
/// # Errors
///
/// Returns a [`CommandError`] if the file is missing, unreadable or not UTF-8.
pub(crate) fn read_text_file(path: &Path, what: &str) -> Result<String, CommandError> {
    let name = path.display().to_string();
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        // Not `Missing`: it suggests to wait for a feed, and this file is not waited for.
        io::ErrorKind::NotFound => SourceError::Absent(name).into(),
        io::ErrorKind::InvalidData => CommandError {
            sentence: format!("{name} is not a {what}: it is not UTF-8 text."),
            code: exit::NOT_UNDERSTOOD,
        },
        _ => SourceError::of(&name, &error).into(),
    })
}

/// Returns the text of a state file, or `None` if it does not exist yet. Checks first that the
/// file can be written, so that the command fails before it reads any input.
pub(crate) fn read_state_file(path: &Path) -> Result<Option<String>, CommandError> {
    state::check(path).map_err(|error| CommandError::unwritable(path, "--state", &error))?;
    state::read(path).map_err(|error| SourceError::of(&path.display().to_string(), &error).into())
}

/// Writes to stdout. A broken pipe is not an error.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
