//! Link state of the feed, independent of its content.

use crate::reduce::state::input::Exit;
use std::sync::Arc;

/// Link to a feed: readable, ended or not readable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Link {
    /// No input yet.
    #[default]
    Waiting,
    /// Readable, possibly quiet.
    Live,
    /// The input ended; exit of the engine's process, if synctop ran it.
    Ended(Option<Exit>),
    /// Not readable, for this reason.
    Down(Arc<str>),
}
