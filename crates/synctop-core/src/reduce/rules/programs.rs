//! Programs in the log of another one that runs them: their lines, and their exits.

use crate::protocol::python::{is_broken_pipe, is_exception};
use crate::protocol::{
    EndReason, ErrorLevel, Failure, Kind, Level, ProgramExit, Relayed, Side, Status, decode_stderr_line, envelope,
    is_generic_error, mask,
};
use crate::reduce::rules::failures::NO_LINE;
use crate::reduce::state::errors::TEXT_KEPT;
use crate::reduce::state::feed::cut;
use crate::reduce::state::input::signal_name;
use crate::reduce::state::progress::Progress;
use std::borrow::Cow;

/// Maximum stored bytes of a program's name.
const NAME_KEPT: usize = 200;

impl Progress {
    /// Applies a line that a program wrote to stderr.
    pub(crate) fn relayed(&mut self, program: Option<&str>, line: &Relayed) {
        if let Some(id) = &line.run_id {
            self.run_id(&mask::secrets(id));
        }
        let opened = envelope::open(&line.text);
        let text = opened.as_ref().map_or(&*line.text, |opened| &*opened.text);
        match line.side {
            Some(side) if is_exception(text) => {
                self.attempt.last_exceptions.set(side, mask::secrets(cut(text, TEXT_KEPT)).into());
            }
            // Without an exception, the last error that it logged.
            Some(side) => {
                if let Some(error) = logged_error(text) {
                    self.attempt.last_exceptions.set(side, mask::secrets(cut(&error, TEXT_KEPT)).into());
                }
            }
            None if is_broken_pipe(text) => {
                self.attempt.fallback = Some(mask::secrets(cut(text, TEXT_KEPT)).into());
            }
            None => {}
        }
        let parser = &mut self.stderr.parser;
        parser.switch_to(program.map(|name| cut(name, NAME_KEPT)));
        match line.side {
            Some(Side::Destination) => parser.target = true,
            Some(Side::Source) => parser.tap = true,
            None => {}
        }
        // Several programs start and end in one run.
        parser.is_separate_pipe = true;
        self.parse_stderr_line(text);
        let parser = &mut self.stderr.parser;
        parser.is_separate_pipe = false;
        parser.switch_to(None);
    }

    /// Applies the failed exit of a program. It is the cause if no exception is; a signal is one in
    /// any case, because a killed program prints no reason.
    pub(crate) fn program_exit(&mut self, exit: &ProgramExit) {
        if let Some(id) = &exit.run_id {
            self.run_id(&mask::secrets(id));
        }
        self.stream_message();
        let program = &exit.program;
        // The end of a block tells less than the line before it.
        if exit.code.is_none() && exit.side.is_none() && self.attempt.program_exit.is_some() {
            return;
        }
        let logged = self.evidence.last_log_error.as_ref().map(|(text, _)| text.to_string());
        let (text, is_signal) = match exit.code {
            Some(code) if code < 0 => (killed(program, code.saturating_neg()), true),
            Some(code @ 129..=192) => (killed(program, code - 128), true),
            Some(code) => (format!("the {program} exited with {code}"), false),
            None if exit.side.is_some() => (format!("the {program} failed"), false),
            None => {
                (exit.text.as_deref().map(reason).or(logged).unwrap_or_else(|| format!("the {program} failed")), false)
            }
        };
        self.attempt.program_exit = Some(mask::secrets(cut(&text, TEXT_KEPT)).into());
        // A line without the code comes before the one with it.
        if let Some(id) = self.attempt.exit_group.take() {
            self.errors.forget(id, "");
            self.attempt.cause = self.attempt.cause.filter(|cause| *cause != id);
        }
        if self.attempt.cause.is_some() && !is_signal {
            return;
        }
        let said = exit.side.filter(|_| !is_signal).and_then(|side| self.attempt.last_exceptions.get(side));
        let text = said.map_or_else(|| text.clone(), |said| format!("{text}: {said}"));
        self.attempt.last_message_failed = true;
        self.attempt.source_failed = exit.side == Some(Side::Source);
        let from_destination = exit.side == Some(Side::Destination);
        let failure = Failure { from_destination, ..Failure::of(ErrorLevel::Global, None, text.into()) };
        let id = self.record_failure(failure, &NO_LINE);
        self.attempt.exit_group = exit.code.is_none().then_some(id);
        self.explains(id);
    }

    /// Settles streams that only the log of the programs shows, once their run has ended. The only
    /// open stream failed with its source. A success covers the streams whose records are counted
    /// and whose state was stored.
    pub(crate) fn settle_programs(&mut self, end: EndReason) {
        if !self.traits().errors_on_stderr {
            return;
        }
        let open: Vec<usize> = self
            .streams
            .iter()
            .enumerate()
            .filter(|(_, stream)| stream.status == Status::Started && stream.seen == 0)
            .map(|(at, _)| at)
            .collect();
        match (end, &*open) {
            (EndReason::Failed, &[at]) if self.attempt.source_failed => self.fail_with_process(at),
            (EndReason::Complete, open) if self.counters.checkpoints > 0 => {
                let now = self.last_at;
                for at in open {
                    self.change(*at, |stream| {
                        if stream.records.cumulative.get().unwrap_or(0) > 0 {
                            stream.set_status(Status::Completed, now);
                        }
                    });
                }
            }
            _ => {}
        }
    }

    /// Makes the broken pipe of a program the cause of a failed run without any other.
    pub(crate) fn settle_fallback(&mut self) {
        let attempt = self.attempts;
        let explained = self.errors.groups().iter().any(|group| !group.cleared() && group.attempt == attempt);
        if let Some(text) = self.attempt.fallback.take().filter(|_| !explained) {
            let meaning = if is_exception(&text) { " (the program that reads the output has ended)" } else { "" };
            let failure = Failure::of(ErrorLevel::Global, None, format!("{text}{meaning}").into());
            let id = self.record_failure(failure, &NO_LINE);
            self.explains(id);
        }
    }
}

/// Returns the text of a line that is a logged error.
fn logged_error(text: &str) -> Option<Cow<'_, str>> {
    match decode_stderr_line(text)?.kind {
        Kind::Log(log) if log.level >= Level::Error && !is_generic_error(&log.message) => Some(log.message),
        Kind::Failure(failure) => Some(failure.message),
        _ => None,
    }
}

fn killed(program: &str, signal: i64) -> String {
    let name = i32::try_from(signal).ok().and_then(signal_name).map(|name| format!(" ({name})"));
    let why = if signal == 9 { "; too little memory is likely" } else { "" };
    format!("the {program} was killed by signal {signal}{}{why}", name.unwrap_or_default())
}

/// Returns the text in `RunnerError('Loader failed')`.
fn reason(text: &str) -> String {
    let inner = text.split_once("('").and_then(|(_, rest)| rest.strip_suffix("')"));
    inner.unwrap_or(text).to_owned()
}
