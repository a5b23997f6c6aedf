//! Link state of the feed, independent of its content.

use super::Exit;
use std::sync::Arc;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing came yet.
    #[default]
    Waiting,
    /// It can be read; it may be quiet.
    Live,
    /// Nothing more will come; how the engine's process ended, where we ran it.
    Ended(Option<Exit>),
    /// It cannot be read, for this reason.
    Down(Arc<str>),
}
