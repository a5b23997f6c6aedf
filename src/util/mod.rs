//! Helpers below all other parts.

pub(crate) mod sqlite;
pub mod sys;
