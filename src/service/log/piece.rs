//! Part of a log, as a reader gets it.

/// Data at a reader's position.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The position is the current end of the log.
    End,
    /// The position was pruned, or its segment is damaged; contains the next stored position.
    Gone(u64),
}
