//! Source position at the last checkpoint of a stream. It is stored as received and parsed on
//! demand, because most checkpoints are soon replaced.

use crate::protocol::{KnownPosition, Millis, ParsePosition, Position};
use crate::reduce::state::rare::SharedDefault;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Maximum bytes of a state that is stored unparsed; a longer one is parsed at once.
pub(crate) const UNREAD_MAX: usize = 64 * 1024;

/// Origin of a state: a checkpoint, or the end message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateOrigin {
    Checkpoint,
    End,
}

/// Remainder of a stream's total range that its source still has to read, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Remainder {
    #[default]
    Unreported,
    /// In the position of the last checkpoint, parsed on demand.
    AtCheckpoint,
    /// Reported by an end; `None` if a range has an open end.
    FromEnd(Option<Millis>),
}

/// Position of the last checkpoint. Its text is dropped once it is parsed: with a screen, most streams
/// have been looked at since their last checkpoint.
#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(from = "Option<KnownPosition>", into = "Option<KnownPosition>")]
pub(crate) struct KeptPosition(Mutex<Kept>);

enum Kept {
    /// JSON of the position.
    Unread(String, ParsePosition),
    Known(Option<KnownPosition>),
}

impl Default for Kept {
    fn default() -> Self {
        Self::Known(None)
    }
}

impl KeptPosition {
    pub(crate) fn assign(&mut self, position: &Position) {
        let kept = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        match (position, &mut *kept) {
            (Position::Unparsed(json, parse), Kept::Unread(text, by)) if json.len() <= UNREAD_MAX => {
                text.clear();
                text.push_str(json);
                *by = *parse;
            }
            (Position::Unparsed(json, parse), _) if json.len() <= UNREAD_MAX => {
                *kept = Kept::Unread((*json).to_owned(), *parse);
            }
            (position, _) => *kept = Kept::Known(position.known()),
        }
    }

    pub(crate) fn known(&self) -> Option<KnownPosition> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &*kept {
            Kept::Known(known) => return *known,
            Kept::Unread(text, parse) => parse(text),
        };
        *kept = Kept::Known(known);
        known
    }
}

impl SharedDefault for KeptPosition {
    fn shared() -> &'static Self {
        static DEFAULT: LazyLock<KeptPosition> = LazyLock::new(KeptPosition::default);
        &DEFAULT
    }
}

/// Clones are made for snapshots: they contain the parsed position, not the text.
impl Clone for KeptPosition {
    fn clone(&self) -> Self {
        self.known().into()
    }
}

impl From<Option<KnownPosition>> for KeptPosition {
    fn from(known: Option<KnownPosition>) -> Self {
        Self(Mutex::new(Kept::Known(known)))
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
