//! Command line. Each command has its own file, which connects arguments to the library.

mod args;
mod backfill;
mod config;
mod connect;
mod exit;
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

use crate::engine::backfill::BackfillError;
use crate::engine::state;
use crate::net::SourceError;
use clap::FromArgMatches;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use synctop_core::ResultClass;

/// Error of a command: a sentence that names the next step, and the class that decides its exit code.
pub(crate) struct CommandError {
    pub sentence: String,
    pub class: ResultClass,
}

impl CommandError {
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), class: ResultClass::Usage }
    }

    /// Error of a file that cannot be written and was passed as the value of `flag`.
    pub fn unwritable(path: &Path, flag: &str, error: &io::Error) -> Self {
        let path = path.display();
        Self {
            sentence: format!("Cannot write {path}: {error}. Name another file after {flag}."),
            class: ResultClass::Output,
        }
    }

    pub fn unwritable_stdout(error: &dyn std::fmt::Display) -> Self {
        Self { sentence: format!("Cannot write stdout: {error}."), class: ResultClass::Output }
    }

    pub fn no_state(path: &Path, error: &dyn std::fmt::Display) -> Self {
        let path = path.display();
        Self {
            sentence: format!(
                "{path} is not a state file of an engine: {error}. Pass another file, or omit the option to start anew."
            ),
            class: ResultClass::BadData,
        }
    }
}

impl From<BackfillError> for CommandError {
    fn from(error: BackfillError) -> Self {
        Self { sentence: sentence(&error.sentence), class: error.class }
    }
}

impl From<SourceError> for CommandError {
    fn from(error: SourceError) -> Self {
        Self { sentence: error.to_string(), class: error.class() }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self { sentence: format!("{error}."), class: ResultClass::Output }
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
                return ExitCode::from(exit::of_error(&mistyped));
            }
            let code = if error.use_stderr() { exit::USAGE } else { exit::DONE };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match dispatch(args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            print_error(&failure.sentence);
            ExitCode::from(exit::of_error(&failure))
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
            class: ResultClass::BadData,
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
