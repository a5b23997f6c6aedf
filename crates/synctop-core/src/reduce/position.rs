//! Source position at the last checkpoint of a stream. Stored as received and parsed on demand,
//! because all but the last of a stream are soon replaced.

use crate::protocol::{KnownPosition, Millis, Position};
use std::fmt;
use std::sync::OnceLock;

/// Bytes of a state that is kept unread; a longer one is read at once.
const UNREAD_MAX: usize = 64 * 1024;

/// A state is that of a checkpoint, or one that the end returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateOf {
    Checkpoint,
    End,
}

/// Milliseconds of a stream's total range that its source still has to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Remainder {
    #[default]
    Untold,
    /// As reported by its last checkpoint.
    AtCheckpoint,
    /// Unknown where a range has an open end.
    Told(Option<Millis>),
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(from = "Option<KnownPosition>", into = "Option<KnownPosition>")]
pub(super) struct KeptPosition {
    /// Empty if `known` is complete.
    unread: String,
    known: OnceLock<Option<KnownPosition>>,
}

impl KeptPosition {
    pub(super) fn assign(&mut self, position: &Position) {
        self.unread.clear();
        self.known = match position {
            Position::Unread(json) if json.len() <= UNREAD_MAX => {
                self.unread.push_str(json);
                OnceLock::new()
            }
            position => OnceLock::from(position.known()),
        };
    }

    pub(super) fn known(&self) -> Option<KnownPosition> {
        *self.known.get_or_init(|| Position::Unread(self.unread.as_str()).known())
    }
}

/// A copy is for a snapshot: it holds no text.
impl Clone for KeptPosition {
    fn clone(&self) -> Self {
        self.known().into()
    }
}

impl From<Option<KnownPosition>> for KeptPosition {
    fn from(known: Option<KnownPosition>) -> Self {
        Self { unread: String::new(), known: OnceLock::from(known) }
    }
}

impl From<KeptPosition> for Option<KnownPosition> {
    fn from(kept: KeptPosition) -> Self {
        kept.known()
    }
}

impl PartialEq for KeptPosition {
    fn eq(&self, other: &Self) -> bool {
        self.known() == other.known()
    }
}

impl fmt::Debug for KeptPosition {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.known().fmt(f)
    }
}
