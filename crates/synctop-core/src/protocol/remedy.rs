//! Fix for the cause of an error, without its wording.

/// Fix for the cause of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Check a path: a file does not exist or cannot be located.
    CheckPath,
    /// Give the process access to a file or folder.
    GrantFileAccess,
    /// Install a program, or correct the search path: the command does not exist.
    InstallProgram,
    /// Make a file executable, or correct its interpreter.
    MakeExecutable,
    /// See whether the program that reads the output has ended.
    CheckReader,
    /// Write elsewhere: the file system is read-only.
    WriteElsewhere,
    /// Raise the limit of open files.
    RaiseFileLimit,
    /// Keep text out of the feed: a target received a line that is no message.
    CleanFeed,
    /// Wait until another run of the same pipeline has ended.
    WaitForOtherRun,
    /// Request the catalog again: the source may not have a stream any more.
    RefreshCatalog,
    /// Correct the configuration, for an error of type `config_error`.
    CorrectConfiguration,
    /// Give the key the permission that it lacks.
    GrantPermission,
    /// Check the API key, for an error of type `auth_error`, HTTP 401 or a text about the key.
    CheckKey,
    /// Wait or lower the request rate, for HTTP 429 or a text about a rate limit.
    LowerRate,
    /// The source does not know the requested object.
    LeaveOutStream,
    /// See the status page of the source, which failed itself: HTTP 500 and above.
    SourceFailed,
    /// See the message of the source, which refuses the request: another HTTP 4xx.
    SourceRefuses,
    /// Restore a table, relation or schema that does not exist at the destination.
    RestoreTable,
    /// The schema of source and destination differ, or a column is missing.
    CheckSchema,
    /// A disk or a quota of storage is full.
    FreeDisk,
    /// The memory of the machine or the container is too small.
    AddMemory,
    /// The other side cannot be reached.
    CheckReachability,
    /// The failure may be transient.
    Retry,
    /// Nothing but the message is known.
    ReadMessage,
    /// Not even a message is known.
    FixCause,
}
