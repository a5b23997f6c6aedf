//! Next steps for an operator, as types; rendered here for every place that shows them.

use crate::format::{names, plural};
use crate::protocol::error_text::http_status;
use crate::protocol::shell::{NOT_EXECUTABLE, NOT_FOUND};
use crate::protocol::{Remedy, remedy};
use crate::reduce::{ErrorGroup, Progress};
use std::fmt;
use std::sync::Arc;

/// Maximum bytes of a message that every place shows whole.
const SHORT_MESSAGE: usize = 100;

/// Place that shows advice: it decides on keys and on the words for a repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Text of a command, without a screen.
    Shell,
    /// Screen of a run, with its keys.
    Screen,
    /// Run of a pipeline, which its service starts.
    Pipeline,
    /// Parked pipeline: a resume starts a new run, and failed streams are retried.
    ParkedPipeline,
}

/// Way to repeat the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The same run continues.
    Continue,
    /// A new run: on a resume of the same run, engines leave out streams that failed.
    NewRun,
}

impl Repeat {
    fn text(self, audience: Audience) -> &'static str {
        match (self, audience) {
            (_, Audience::ParkedPipeline) | (Self::Continue, Audience::Pipeline) => "resume it",
            (Self::Continue, _) => "start it again",
            (Self::NewRun, _) => "start a NEW run",
        }
    }
}

/// Words of a full disk, in lower case as all of these.
const DISK: &[&str] = &["no space left on device", "errno 28", "enospc", "disk full", "disk quota exceeded"];

/// Words of too little memory.
const MEMORY: &[&str] = &[
    "out of memory",
    "too little memory",
    "memoryerror",
    "outofmemory",
    "oomkilled",
    "heap limit",
    "java heap space",
    "cannot allocate memory",
];

/// Words of a missing file.
const PATH: &[&str] = &["no such file", "filenotfound", "could not locate"];

/// Words of a configuration that is incomplete or invalid.
const CONFIGURATION: &[&str] = &[
    "invalid config",
    "config validation",
    "configuration is invalid",
    "required property",
    "missing config",
    "config is missing",
    "not valid against the spec",
    "invalid configuration",
];

/// Words of a stream that the source does not have.
const STREAM: &[&str] = &["may not have this stream", "not found in", "unknown stream", "not available in the source"];

/// Words of a limit on requests.
const QUOTA: &[&str] = &["rate limit", "ratelimit", "too many requests", "quota exceeded", "throttl"];

/// Words of a refused login.
const AUTH: &[&str] = &[
    "api key",
    "unauthorized",
    "unauthenticated",
    "invalid_grant",
    "invalid_token",
    "bad credentials",
    "token expired",
    "expired token",
    "authentication failed",
    "incorrect username or password",
    "login failed",
];

/// Words of a missing permission.
const PERMISSION: &[&str] = &["permission", "forbidden", "access denied", "not authorized", "insufficient privileges"];

/// Words of a schema that does not fit.
const SCHEMA: &[&str] = &[
    "not in the catalog",
    "not present in the catalog",
    "schema",
    "no such column",
    "unknown column",
    "validationerror",
    "validation error",
    "invalidrecord",
];

/// Words of an unreachable host.
const NETWORK: &[&str] = &[
    "econnrefused",
    "connect ",
    "etimedout",
    "enotfound",
    "connection refused",
    "connection reset",
    "reset by peer",
    "lost connection",
    "timed out",
    "name resolution",
    "name or service not known",
    "getaddrinfo",
    "unknownhost",
    "no route to host",
    "network is unreachable",
    "connection to",
];

/// Returns the HTTP status in a text of a client library: `401 client error`, `status code 403`.
fn status_in(lower: &str) -> Option<u16> {
    const AFTER: [&str; 8] = [
        " client error",
        " server error",
        " unauthorized",
        " forbidden",
        " not found",
        " too many requests",
        " bad gateway",
        " service unavailable",
    ];
    const BEFORE: [&str; 7] =
        ["response code: ", "status code ", "status code: ", "error-code: ", "http ", "http/1.1 ", "status "];
    let code = |at: usize| lower.get(at..at + 3)?.parse::<u16>().ok().filter(|code| (400..600).contains(code));
    let before = BEFORE.iter().flat_map(|word| lower.match_indices(word).map(move |(at, _)| at + word.len()));
    let after = AFTER.iter().flat_map(|word| lower.match_indices(word).filter_map(|(at, _)| at.checked_sub(3)));
    before.chain(after).find_map(code)
}

impl Remedy {
    /// Returns the remedy for an error of this type with this message.
    #[must_use]
    pub fn of(failure_type: Option<&str>, text: &str) -> Self {
        let message = text.to_lowercase();
        let has = |word: &str| message.contains(word);
        if let Some(remedy) = remedy(text) {
            return remedy;
        }
        // The class of the text: the most specific words first.
        let any = |words: &[&str]| words.iter().any(|word| has(word));
        let status = http_status(text).or_else(|| status_in(&message));
        if any(DISK) {
            return Self::FreeDisk;
        }
        if any(MEMORY) {
            return Self::AddMemory;
        }
        if any(&["brokenpipe", "broken pipe"]) {
            return Self::CheckReader;
        }
        if has("already running") {
            return Self::WaitForOtherRun;
        }
        if has(NOT_FOUND) {
            return Self::InstallProgram;
        }
        if has(NOT_EXECUTABLE) {
            return Self::MakeExecutable;
        }
        if any(&["errno 30", "read-only file system"]) {
            return Self::WriteElsewhere;
        }
        if any(&["errno 24", "too many open files"]) {
            return Self::RaiseFileLimit;
        }
        if has("errno 13") {
            return Self::GrantFileAccess;
        }
        if any(PATH) {
            return Self::CheckPath;
        }
        match (failure_type, status) {
            (_, Some(429)) => Self::LowerRate,
            _ if any(QUOTA) => Self::LowerRate,
            (Some("auth_error"), _) | (_, Some(401)) => Self::CheckKey,
            _ if any(AUTH) => Self::CheckKey,
            (Some("config_error"), None) if !any(PERMISSION) => Self::CorrectConfiguration,
            (_, Some(403)) => Self::GrantPermission,
            _ if any(PERMISSION) => Self::GrantPermission,
            (Some("config_error"), _) => Self::CorrectConfiguration,
            (_, Some(404)) => Self::LeaveOutStream,
            (_, Some(500..)) => Self::SourceFailed,
            (_, Some(400..)) => Self::SourceRefuses,
            _ if has("does not exist") && any(&["relation", "table", "schema"]) => Self::RestoreTable,
            _ if any(&["jsondecodeerror", "not valid json", "unable to parse"]) => Self::CleanFeed,
            _ if any(CONFIGURATION) => Self::CorrectConfiguration,
            _ if any(STREAM) => Self::RefreshCatalog,
            _ if any(SCHEMA) => Self::CheckSchema,
            _ if any(NETWORK) => Self::CheckReachability,
            (Some("transient_error"), _) => Self::Retry,
            // A short message is shown whole everywhere.
            _ if text.len() <= SHORT_MESSAGE && !text.contains('\n') => Self::FixCause,
            _ => Self::ReadMessage,
        }
    }

    /// Returns the remedy and the repetition as a clause.
    #[must_use]
    pub fn text(self, repeat: Repeat, audience: Audience) -> String {
        let again = repeat.text(audience);
        // Reaching the other side or waiting helps every stream: the run continues.
        let once_more = Repeat::Continue.text(audience);
        match self {
            Self::CheckPath => format!("check the path, then {again}"),
            Self::GrantFileAccess => format!("give the process access to that file or folder, then {again}"),
            Self::InstallProgram => format!("install the command or correct PATH, then {again}"),
            Self::MakeExecutable => {
                format!("make the file executable (chmod +x), or correct its first line, then {again}")
            }
            Self::CheckReader => {
                format!("see whether the program that reads its output has ended, fix that, then {again}")
            }
            Self::WriteElsewhere => format!("make that file system writable or write elsewhere, then {again}"),
            Self::RaiseFileLimit => format!("raise the limit of open files (ulimit -n), then {again}"),
            Self::CleanFeed => {
                format!("find the program that prints text between the messages, then {again}")
            }
            Self::WaitForOtherRun => format!("wait until the other run has ended, then {once_more}"),
            Self::RefreshCatalog => format!("discover the streams again, correct the catalog, then {again}"),
            Self::CorrectConfiguration => format!("correct the configuration, then {again}"),
            Self::GrantPermission => format!("give the key that permission, then {again}"),
            Self::CheckKey => format!("check the key, then {again}"),
            Self::LowerRate => format!("wait, or lower the request rate, then {again}"),
            Self::LeaveOutStream => {
                "the source does not know this: leave the stream out, or see whether it is enabled".into()
            }
            Self::SourceFailed => format!("the source itself failed: see its status page, then {again}"),
            Self::SourceRefuses => format!("the source refuses the request: see the message, then {again}"),
            Self::RestoreTable => {
                format!("restore the table at the destination (or run setup again), then {again}")
            }
            Self::CheckSchema => {
                format!("compare the catalog with the tables of source and destination, then {again}")
            }
            Self::FreeDisk => format!("free space on that disk, then {again}"),
            Self::AddMemory => format!("give it more memory, or smaller batches, then {again}"),
            Self::CheckReachability => {
                format!("check that the other side is up and reachable, then {once_more}")
            }
            Self::Retry => {
                format!("it may be temporary: {once_more}, and check the other side if it recurs")
            }
            Self::ReadMessage if audience == Audience::Screen => {
                format!("open the error (Enter) for the full message; fix the cause; then {again}")
            }
            Self::ReadMessage => format!("read the full message, fix the cause, then {again}"),
            Self::FixCause => format!("fix the cause, then {again}"),
        }
    }
}

/// Streams to read again, because rows of them may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadAgain {
    /// Streams whose end state is ahead of the last checkpoint.
    pub ahead: Vec<Arc<str>>,
    /// Streams that a limit cut.
    pub cut: Vec<Arc<str>>,
    /// True if the run has more to read.
    pub open: bool,
}

impl ReadAgain {
    /// Returns the streams of a run whose rows may be missing.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        let mut all =
            Self { open: progress.attempt.end.as_ref().is_some_and(|end| !end.claims_complete()), ..Self::default() };
        for stream in progress.streams_by_name() {
            if stream.details.ahead.is_some_and(|ahead| !ahead.kept) {
                all.ahead.push(Arc::clone(&stream.label));
            } else if stream.resumed_after_cut {
                all.cut.push(Arc::clone(&stream.label));
            }
        }
        all
    }
}

impl fmt::Display for ReadAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let ahead = names(&self.ahead);
        match (self.ahead.is_empty(), self.open) {
            (true, _) => {}
            (false, true) => {
                parts.push(format!("continue {ahead} from the last checkpoint, not from the final state"));
            }
            (false, false) => parts.push(format!("read {ahead} again from the last checkpoint or without a state")),
        }
        if !self.cut.is_empty() {
            parts.push(format!("read {} again without a state and without limits", names(&self.cut)));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Next step for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// Fix the cause of an error; then read streams again, if rows may be missing.
    Fix {
        /// Fix for the cause of the error.
        remedy: Remedy,
        /// Way to repeat the work after the fix.
        repeat: Repeat,
        /// Streams to read again after the fix; `None` if no rows may be missing.
        read_again: Option<ReadAgain>,
    },
    /// Rows of these streams may be missing.
    ReadAgain(ReadAgain),
    /// The rows at risk were read again.
    RowsReadAgain,
    /// The run succeeded without any stream, or without a requested one.
    CheckStreamNames,
    /// A resumed stream may count rows twice; nothing has to be done.
    CompareRowCounts,
    /// The engine logged errors that no reported error explains.
    CheckLoggedErrors,
    /// Number of doubts.
    SeeDoubts(usize),
    /// The exit code reports a failure without an error.
    SeeStderrOrLog,
    /// No error stands, and ranges may be left to read.
    SeeRangesLeft,
    /// The end has an unknown reason.
    SeeEngineLog,
    /// The engine would end the same way.
    CheckRequestedNames,
    /// Call the engine again, with the streams to read again.
    CallAgain(Option<ReadAgain>),
    /// Start again after an interruption: true if the engine emitted a state, and the records that
    /// are read again.
    Restart {
        /// True if the engine emitted a state to continue from.
        has_state: bool,
        /// Number of records after the last state, which are read again.
        records: u64,
    },
    /// The engine was aborted.
    StartWhenReady,
    /// stderr names the cause.
    FixAndSeeStderr,
    /// stderr names something else.
    SeeAllOfStderr,
    /// The input is the log of a platform: get a feed in this way.
    GetFeed(Arc<str>),
    /// Nothing in the input is a message.
    CheckInput,
    /// The feed cannot show how it ended.
    PassExitCodeOrStderr,
    /// Nothing is open, and only the exit code can decide the outcome.
    PassExitCode,
    /// The feed has more streams than the maximum number.
    RaiseMaxStreams,
    /// The input ended without an end message.
    SeeLogAndStart,
}

impl Advice {
    /// Returns the advice for an error of a run.
    #[must_use]
    pub fn for_error(progress: &Progress, group: &ErrorGroup) -> Self {
        use crate::protocol::ErrorLevel;
        let one_stream = group.level != ErrorLevel::Global && group.streams().count() > 0 && progress.streams.len() > 1;
        // If each process is a run of its own, starting again is enough.
        let one_stream = one_stream && !progress.traits().ends_with_process;
        Self::for_message(group.failure_type.as_deref(), &group.message, one_stream)
    }

    /// Returns the advice for an error of this type with this message. `one_stream`: other streams
    /// continued.
    #[must_use]
    pub fn for_message(failure_type: Option<&str>, text: &str, one_stream: bool) -> Self {
        let repeat = if one_stream { Repeat::NewRun } else { Repeat::Continue };
        Self::Fix { remedy: Remedy::of(failure_type, text), repeat, read_again: None }
    }

    /// Returns the advice to start an interrupted run again.
    #[must_use]
    pub fn restart(progress: &Progress) -> Self {
        let records = progress.streams.iter().map(|stream| stream.seen.saturating_sub(stream.marked)).sum();
        Self::Restart { has_state: progress.counters.checkpoints > 0, records }
    }

    /// Returns the advice as a clause.
    #[must_use]
    pub fn text(&self, audience: Audience) -> String {
        let again = Repeat::Continue.text(audience);
        match self {
            Self::Fix { remedy, repeat, read_again: None } => remedy.text(*repeat, audience),
            Self::Fix { remedy, repeat, read_again: Some(streams) } => {
                format!("{}; {streams}", remedy.text(*repeat, audience))
            }
            Self::ReadAgain(streams) => streams.to_string(),
            Self::RowsReadAgain => "nothing to do: the rows were read again from the last checkpoint".into(),
            Self::CheckStreamNames => "check the names of the streams that were asked for".into(),
            Self::CompareRowCounts => "nothing to do; compare row counts at the destination if they matter".into(),
            Self::CheckLoggedErrors => "look at the log for these errors, and at the row counts".into(),
            Self::SeeDoubts(number) => format!("look at {}", plural(*number, "doubt")),
            Self::SeeStderrOrLog => format!("see its stderr or its log, fix the cause, then {again}"),
            Self::SeeRangesLeft => "look at the ranges that are left, then start a new run".into(),
            Self::SeeEngineLog => "look at the engine's own log, then call it again with the state it returned".into(),
            Self::CheckRequestedNames => {
                "check the names of the requested streams; another call would fail the same way".into()
            }
            Self::CallAgain(None) => "call the engine again with the state it returned".into(),
            Self::CallAgain(Some(streams)) => format!("call the engine again; {streams}"),
            Self::Restart { has_state: false, .. } => format!("{again}: it emitted no state, so it starts fresh"),
            Self::Restart { records: 0, .. } => format!("{again} with its last state"),
            Self::Restart { records, .. } => {
                let records = plural(usize::try_from(*records).unwrap_or(usize::MAX), "record");
                format!("{again} with its last state; {records} behind that will be read again")
            }
            Self::StartWhenReady => format!("{again} with the last state when you are ready"),
            Self::FixAndSeeStderr if audience == Audience::Screen => {
                format!("fix the cause and {again}; 5 shows its stderr")
            }
            Self::SeeAllOfStderr if audience == Audience::Screen => {
                format!("fix that and {again}; 5 shows all it wrote to stderr")
            }
            Self::FixAndSeeStderr | Self::SeeAllOfStderr => {
                format!("fix the cause that its stderr names, then {again}")
            }
            Self::GetFeed(way) => way.to_string(),
            Self::CheckInput => "check that this is the engine's NDJSON output; its logs may be on stderr".into(),
            Self::PassExitCodeOrStderr => {
                "pass --exit-code N or --stderr FILE, or run the tap with `synctop run -- ...`".into()
            }
            Self::PassExitCode => "pass --exit-code N, or start the command with synctop run -- COMMAND".into(),
            Self::RaiseMaxStreams => "read it again with a larger --max-streams".into(),
            Self::SeeLogAndStart => format!("see the engine's stderr or log, then {again}"),
        }
    }
}
