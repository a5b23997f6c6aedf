//! Helpers below all other parts.

pub mod secret_ref;
pub(crate) mod sqlite;
pub mod sys;
