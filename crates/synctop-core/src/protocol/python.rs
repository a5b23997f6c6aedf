//! Text that Python programs log: levels of the `logging` module, tracebacks, interrupts.

use super::message::Level;

/// First line of a Python traceback, and separators between two chained tracebacks.
const TRACEBACK_START: &str = "Traceback (most recent call last)";

const TRACEBACK_SEPARATORS: [&str; 2] =
    ["During handling of the above exception", "The above exception was the direct cause"];

/// Line around the traceback of a worker process (`concurrent.futures`, joblib).
const REMOTE_QUOTE: &str = "\"\"\"";

/// Last line of an interrupted Python program.
const INTERRUPT: &str = "KeyboardInterrupt";

/// True for the exception line of an interrupted program.
#[must_use]
pub fn is_interrupt(line: &str) -> bool {
    line.starts_with(INTERRUPT)
}

/// True for the exception of a program whose reader has exited.
#[must_use]
pub fn is_broken_pipe(text: &str) -> bool {
    text.contains("BrokenPipeError") || text.contains("[Errno 32] Broken pipe")
}

/// True for a line such as `KeyError: 'id'`: the class of an exception, and its text.
#[must_use]
pub fn is_exception(line: &str) -> bool {
    let class = line.split([':', ' ']).next().unwrap_or_default();
    let is_class = |name: &str| ["Error", "Exception", "Exit", "Timeout"].iter().any(|end| name.ends_with(end));
    is_class(class) && class.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
}

/// State of a Python traceback, line by line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Traceback {
    /// Outside a traceback.
    #[default]
    None,
    /// Inside a traceback, before its exception line.
    Open,
    /// The exception line ended it. A chained traceback may follow.
    Raised,
}

impl Traceback {
    /// True if a line belongs to the traceback; advances its state.
    pub fn accepts_line(&mut self, line: &str) -> bool {
        let between = TRACEBACK_SEPARATORS.iter().any(|words| line.starts_with(words));
        let is_blank = matches!(line.trim(), "" | REMOTE_QUOTE);
        let taken = line.starts_with(TRACEBACK_START) || (*self != Self::None && (between || is_blank));
        let within = *self == Self::Open;
        *self = match *self {
            Self::None | Self::Raised if line.starts_with(TRACEBACK_START) => Self::Open,
            Self::Raised if between => Self::Open,
            Self::Raised if is_blank => Self::Raised,
            Self::Open if taken || line.starts_with([' ', '\t']) => Self::Open,
            Self::Open => Self::Raised,
            Self::None | Self::Raised => Self::None,
        };
        taken || within
    }
}

/// Maximum length of an exception's text that is shown whole, in bytes.
const WHOLE_LENGTH: usize = 200;

/// Returns the core of an exception's text: the whole of a short one; of a wrapped system error its
/// class, the innermost error and the host, because libraries wrap `[Errno 111] Connection refused`
/// in sentences of their own.
#[must_use]
pub fn exception_core(text: &str) -> Option<String> {
    // Behind the name of the program that printed it.
    let (program, text) = match text.split_once(": ").filter(|(_, rest)| is_exception(rest)) {
        Some((program, rest)) if !is_exception(program) => (format!("{program}: "), rest),
        _ => (String::new(), text),
    };
    let wrapped = text.find("(Caused by ").and_then(|start| text.rfind("[Errno ").filter(|at| *at > start));
    let Some((before, inner)) = wrapped.and_then(|at| text.split_at_checked(at)) else {
        return (is_exception(text) && text.len() <= WHOLE_LENGTH).then(|| format!("{program}{text}"));
    };
    let class = before.split(": ").next().filter(|class| is_exception(class) && !class.contains('('));
    let class = class.map(|class| format!("{class}: ")).unwrap_or_default();
    let inner = inner.split(['"', '\'']).next().unwrap_or(inner).trim_end_matches([')', ' ']);
    let host = before.split_once("(host=").and_then(|(_, rest)| rest.split_once(')'));
    let host = host.map(|(host, _)| format!(" (host={host})")).unwrap_or_default();
    Some(format!("{program}{class}{inner}{host}"))
}

/// Splits a text line of singer-sdk or singer-python into level, logger and message.
pub fn split_text_line(text: &str) -> Option<(&str, Option<&str>, &str)> {
    if text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        let mut parts = text.splitn(4, " | ");
        let (_, level, logger, message) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        return Some((level.trim(), Some(logger.trim()), message));
    }
    let (level, message) = text.split_once(' ')?;
    Some((level, None, message))
}

/// Returns the level of a text line, if it has one.
#[must_use]
pub fn level_of(text: &str) -> Option<Level> {
    level(split_text_line(text)?.0)
}

/// Returns the level of an upper-case name of Python's `logging`; `None` for another word.
#[must_use]
pub fn level(word: &str) -> Option<Level> {
    Some(match word {
        "CRITICAL" | "FATAL" | "ERROR" => Level::Error,
        "WARNING" | "WARN" => Level::Warn,
        "INFO" => Level::Info,
        "DEBUG" => Level::Debug,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_text_lines_are_read() {
        assert_eq!(level_of("2026-11-20 08:35:13,892 | ERROR    | tap-demo  | 'rows' is missing"), Some(Level::Error));
        assert_eq!(level_of("CRITICAL HTTP 500"), Some(Level::Error));
        assert_eq!(level_of("Error in sys.excepthook:"), None);
        assert_eq!(level_of("2026-11-20 is a day"), None);
    }
}
