//! Messages of a shell about the commands that it runs: a missing one, one that is no program, one
//! that a signal killed (dash, bash, busybox, zsh).

use std::borrow::Cow;

/// Message of a shell about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellMessage<'a> {
    /// The command does not exist.
    NotFound(&'a str),
    /// The file of the command cannot be executed.
    NotExecutable(&'a str),
    /// A signal killed a command; its name as the shell prints it.
    Killed(&'static str),
}

/// Signals, by the words of shells.
const SIGNALS: [(&str, &str); 4] = [
    ("Killed", "signal 9 (SIGKILL); too little memory is likely"),
    ("Terminated", "signal 15 (SIGTERM)"),
    ("Segmentation fault", "signal 11 (SIGSEGV)"),
    ("Aborted", "signal 6 (SIGABRT)"),
];

impl<'a> ShellMessage<'a> {
    /// Parses a line of stderr; `None` if no shell prints such a line.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let killed = |text: &str| {
            let text = text.trim_end_matches(" (core dumped)");
            SIGNALS.iter().find(|(word, _)| *word == text).map(|(_, signal)| Self::Killed(signal))
        };
        if let Some(found) = killed(line) {
            return Some(found);
        }
        let (shell, rest) = line.split_once(": ")?;
        let name = shell.rsplit('/').next().unwrap_or(shell);
        if !matches!(name, "sh" | "bash" | "dash" | "zsh" | "ash" | "-bash" | "-sh") {
            return None;
        }
        // `sh: 1: text`, `bash: line 1: text`.
        let is_number = |text: &str| text.trim_start_matches("line ").bytes().all(|byte| byte.is_ascii_digit());
        let rest = rest.split_once(": ").filter(|(number, _)| is_number(number)).map_or(rest, |(_, rest)| rest);
        if let Some(command) = rest.strip_prefix("command not found: ") {
            return Some(Self::NotFound(command));
        }
        let Some((command, said)) = rest.rsplit_once(": ") else {
            // `bash: line 1: 1234 Killed    tap | target`.
            let (id, said) = rest.trim_start().split_once(' ')?;
            let word = said.trim_start().split("  ").next()?;
            return killed(word).filter(|_| id.bytes().all(|byte| byte.is_ascii_digit()));
        };
        match said {
            "not found" | "command not found" => Some(Self::NotFound(command)),
            "Permission denied" | "Exec format error" => Some(Self::NotExecutable(command)),
            "cannot execute" | "cannot execute: required file not found" => Some(Self::NotExecutable(command)),
            _ if command.ends_with(": bad interpreter") => {
                Some(Self::NotExecutable(command.trim_end_matches(": bad interpreter")))
            }
            _ => None,
        }
    }

    /// Returns the message as an error.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::NotFound(command) => format!("{command}: {NOT_FOUND}").into(),
            Self::NotExecutable(command) => format!("{command}: {NOT_EXECUTABLE}").into(),
            Self::Killed(signal) => format!("a program of the command {KILLED} {signal}").into(),
        }
    }
}

/// Words of a killed command.
pub(crate) const KILLED: &str = "was killed by";

/// Ends of the texts, by which the remedies are found.
pub(crate) const NOT_FOUND: &str = "command not found";
pub(crate) const NOT_EXECUTABLE: &str = "the file cannot be executed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_shells_are_parsed() {
        for line in [
            "sh: 1: tap-x: not found",
            "bash: line 1: tap-x: command not found",
            "bash: tap-x: command not found",
            "/bin/sh: tap-x: not found",
            "zsh: command not found: tap-x",
        ] {
            assert_eq!(ShellMessage::parse(line), Some(ShellMessage::NotFound("tap-x")), "{line}");
        }
        assert_eq!(ShellMessage::parse("sh: 1: ./x: Permission denied"), Some(ShellMessage::NotExecutable("./x")));
        for line in ["Killed", "bash: line 1:  4711 Killed                  tap | target"] {
            assert!(matches!(ShellMessage::parse(line), Some(ShellMessage::Killed(_))), "{line}");
        }
        assert!(matches!(ShellMessage::parse("Segmentation fault (core dumped)"), Some(ShellMessage::Killed(_))));
        for line in ["tap-x: not found", "INFO Killed", "sh: 1: echo", "Terminated early", ""] {
            assert_eq!(ShellMessage::parse(line), None, "{line}");
        }
    }
}
