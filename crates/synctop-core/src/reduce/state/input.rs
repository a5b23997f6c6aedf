//! Lines and bytes of the input, exit of a process, irregularities in the order of messages.

/// Lines and bytes of the input, each line in exactly one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Input {
    /// All lines: the sum of `messages`, `raw`, `unknown`, `malformed` and `parts`.
    pub lines: u64,
    /// Bytes of all lines, newlines included.
    pub bytes: u64,
    /// Lines that are messages of the protocol, its log lines included.
    pub messages: u64,
    /// Lines of text, or of JSON without an envelope.
    pub raw: u64,
    /// Messages of an unknown kind, or of another protocol than the feed.
    pub unknown: u64,
    /// Lines that look like JSON and do not parse, a torn last line included.
    pub malformed: u64,
    /// True if the last line has no newline and does not parse.
    pub truncated_line: bool,
    /// Lines that were put together from parts or taken out of an envelope.
    pub joined: u64,
    /// Lines that are continued by the next one; the summary counts the parts of a line once.
    pub parts: u64,
}

impl Input {
    /// Returns the number of lines, those put together from parts counted once.
    #[must_use]
    pub fn whole_lines(self) -> u64 {
        self.lines - self.parts
    }
}

/// Exit of a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    /// Exit code; 129 to 192 are 128 + signal, as a shell reports it.
    Code(i32),
    /// Signal that ended the process.
    Signal(i32),
}

/// Irregularity in the order of messages.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum Anomaly {
    /// Checkpoint of a stream before its start in the attempt.
    StateBeforeStart,
    /// Checkpoint of a stream after its "complete", in protocols where none may follow.
    StateAfterComplete,
    /// Reported start of a stream that is already started.
    DuplicateStart,
    /// Message about a stream that is missing from the catalog.
    UnknownStream,
    /// Record of a stream after its "complete", in protocols where none may follow.
    RecordAfterComplete,
    /// Reported record count of a stream that fell within an attempt.
    CountShrank,
    /// `NaN` or `Infinity` in a record, which is no JSON: strict destinations refuse the line.
    NotJsonNumber,
    /// Negative count, which is left out.
    NegativeCount,
    /// Time before 1970, or far ahead of those around it, which is left out.
    TimeJump,
}

impl Anomaly {
    /// Returns the name in the JSON, such as `duplicate_start`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Signals that end processes, by their number on Linux and macOS.
const SIGNALS: [(i32, &str); 8] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (6, "SIGABRT"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (15, "SIGTERM"),
];

/// Returns the name of a signal, such as `SIGKILL`; `None` if it is not one of the usual ones.
#[must_use]
pub fn signal_name(signal: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
}

impl Exit {
    /// Creates the exit that a shell reports as `code`: 128 + signal after a signal.
    #[must_use]
    pub fn of_shell(code: i32) -> Self {
        Self::Code(code).signal().map_or(Self::Code(code), Self::Signal)
    }

    /// Returns the signal that ended the process, also if a shell reports it as 128 + signal.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Signal(signal) => Some(signal),
            Self::Code(code @ 129..=192) => Some(code - 128),
            Self::Code(_) => None,
        }
    }

    /// Returns the exit code as a shell reports it: 128 + signal after a signal.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// True if the process ended by itself with a nonzero code.
    #[must_use]
    pub fn failed(self) -> bool {
        self.signal().is_none() && self != Self::Code(0)
    }
}
