//! Kinds of messages and generations of the engine.

use crate::protocol::message::Kind;

/// Kinds of all generations; an envelope of any other kind is unknown.
pub(super) const KINDS: [&str; 17] = [
    "catalog",
    "record",
    "source_state",
    "trace",
    "stream_status",
    "progress",
    "connection_status",
    "log",
    "control",
    "spec",
    "eof",
    "start",
    "end",
    "source_input",
    // Lines that synctop's pipeline service adds to those of an engine.
    "pipeline",
    "heartbeat",
    "gap",
];

/// Generation of the engine that printed a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    Trace,
    Progress,
    StartEnd,
}

impl Generation {
    /// True if this generation has messages of that kind.
    pub(super) fn has_kind(self, kind: &str) -> bool {
        match kind {
            "trace" => self == Self::Trace,
            "catalog" | "spec" => self != Self::StartEnd,
            "stream_status" | "progress" => self != Self::Trace,
            "eof" => self != Self::StartEnd,
            "start" | "end" => self == Self::StartEnd,
            _ => true,
        }
    }
}

/// Adds the facts that follow from the emitter: a source's status overtakes the rows before it, a
/// destination's checkpoint follows its rows, a destination's failure is its own.
#[inline]
pub(super) fn apply_emitter(kind: &mut Kind, from: Option<&str>) {
    match kind {
        Kind::Stream(claim) => claim.early |= from.is_some_and(|from| from.starts_with("source/")),
        Kind::Checkpoint(checkpoint) => checkpoint.late = from.is_some_and(|from| from.starts_with("destination/")),
        Kind::Failure(failure) => {
            failure.from_destination |= from.is_some_and(|from| from.starts_with("destination/"));
        }
        _ => {}
    }
}
