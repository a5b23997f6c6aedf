//! Source position at the last checkpoint of a stream. It is stored as received and parsed on
//! demand, because most checkpoints are soon replaced.

use crate::protocol::{KnownPosition, Millis, ParsePosition, Position};
use crate::reduce::state::rare::SharedDefault;
use std::fmt;
use std::sync::{LazyLock, OnceLock};

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

#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(from = "Option<KnownPosition>", into = "Option<KnownPosition>")]
pub(crate) struct KeptPosition {
    /// JSON of the position; empty if `known` is already set.
    pub(crate) unread: String,
    pub(crate) parse: Option<ParsePosition>,
    pub(crate) known: OnceLock<Option<KnownPosition>>,
}

impl KeptPosition {
    pub(crate) fn assign(&mut self, position: &Position) {
        self.unread.clear();
        self.known = match position {
            Position::Unparsed(json, parse) if json.len() <= UNREAD_MAX => {
                self.unread.push_str(json);
                self.parse = Some(*parse);
                OnceLock::new()
            }
            position => OnceLock::from(position.known()),
        };
    }

    pub(crate) fn known(&self) -> Option<KnownPosition> {
        *self.known.get_or_init(|| self.parse.and_then(|parse| parse(&self.unread)))
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
        Self { known: OnceLock::from(known), ..Self::default() }
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
