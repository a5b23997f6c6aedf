//! Fix for the cause of an error, without its wording.

/// Fix for the cause of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    CheckPath,
    CorrectConfiguration,
    GrantPermission,
    CheckKey,
    LowerRate,
    /// The source does not know the requested object.
    LeaveOutStream,
    SourceFailed,
    SourceRefuses,
    RestoreTable,
    /// The other side cannot be reached.
    CheckReachability,
    /// The failure may be transient.
    Retry,
    /// Nothing but the message is known.
    ReadMessage,
    /// Not even a message is known.
    FixCause,
}
