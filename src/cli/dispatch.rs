//! Entry of the program: parses the arguments, runs one command, returns its exit code.

use super::args::{Args, Command};
use super::error::CommandError;
use super::output::print_error;
use crate::app::term::output::err;
use crate::util::process_tag::{GUARD, guard};
use clap::FromArgMatches;
use std::path::Path;
use std::process::ExitCode;

/// Parses the arguments, runs the command and returns the exit code of the process.
#[must_use]
pub fn main() -> ExitCode {
    // Arguments may be no Unicode.
    let mut words = std::env::args_os().skip(1);
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if let (Some(GUARD), Some(tag)) = (first.to_str(), second.to_str()) {
        guard(tag);
        return ExitCode::SUCCESS;
    }
    let mut command = crate::cli::args::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let args = match matches.and_then(|it| Args::from_arg_matches(&it).map_err(|error| error.format(&mut command))) {
        Ok(args) => args,
        Err(error) => {
            if let Some(mistyped) = mistyped(&first.to_string_lossy()).filter(|_| error.use_stderr()) {
                print_error(&mistyped.sentence);
                return ExitCode::from(crate::cli::exit::of_error(&mistyped));
            }
            // An error quotes arguments; help is our own text.
            if error.use_stderr() {
                err(&error.render().to_string());
                return ExitCode::from(crate::cli::exit::USAGE);
            }
            let failed = match error.print() {
                Ok(()) => return ExitCode::from(crate::cli::exit::DONE),
                Err(failed) if failed.kind() == std::io::ErrorKind::BrokenPipe => {
                    return ExitCode::from(crate::cli::exit::DONE);
                }
                Err(failed) => CommandError::unwritable_stdout(&failed),
            };
            print_error(&failed.sentence);
            return ExitCode::from(crate::cli::exit::of_error(&failed));
        }
    };
    match dispatch(args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            print_error(&failure.sentence);
            ExitCode::from(crate::cli::exit::of_error(&failure))
        }
    }
}

/// Returns a usage error that suggests a command, if `word` resembles the name of a command and is
/// neither an option, a path nor an existing file.
fn mistyped(word: &str) -> Option<CommandError> {
    if word.starts_with('-') || word.contains(['/', '.', ':']) || Path::new(word).exists() {
        return None;
    }
    let meant = crate::cli::args::similar_command(word).filter(|name| name != word)?;
    Some(CommandError::usage(format!("There is no command and no file {word}. Did you mean synctop {meant}?")))
}

fn dispatch(args: Args) -> Result<u8, CommandError> {
    match args.command {
        None => match args.source.as_deref().filter(|_| !args.watch.retry).and_then(mistyped) {
            Some(error) => Err(error),
            None => crate::cli::watch::watch(args.source.as_deref(), &args.watch, &args.look, &args.feed),
        },
        Some(Command::Summary(summary)) => crate::cli::summary::summary(&summary, &args.feed),
        Some(Command::Replay(replay)) => crate::cli::replay::replay(&replay, &args.look, &args.feed),
        Some(Command::Run(run)) => crate::cli::run::run(&run, &args.look, &args.feed),
        Some(Command::Tee(tee)) => crate::cli::tee::tee(&tee, &args.look, &args.feed),
        Some(Command::Track(track)) => crate::cli::track::track(&track),
        Some(Command::Backfill(calls)) => crate::cli::backfill::backfill(&calls, &args.look, &args.feed),
        Some(Command::Serve(options)) => crate::cli::serve::serve(&options),
        Some(Command::Store(args)) => crate::cli::store::store(&args),
        Some(Command::Simulate(plan)) => crate::cli::simulate::simulate(&plan),
        Some(Command::Connect(to)) => crate::cli::connect::connect(&to, &args.look),
        Some(Command::Pipelines(verb)) => crate::cli::pipelines::pipelines(&verb),
        Some(Command::Wait(wish)) => crate::cli::wait::wait(&wish),
        Some(Command::Sync(run)) => crate::cli::sync::sync(&run),
        Some(Command::Task(task)) => crate::cli::sync::task(&task),
        Some(Command::Config(verb)) => crate::cli::config::config(&verb),
        Some(Command::Completions { shell }) => crate::cli::man::completions(shell),
        Some(Command::Man { command }) => crate::cli::man::man(command.as_deref()),
    }
}
