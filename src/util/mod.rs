//! Helpers below all other parts.

pub mod process_tag;
pub mod secret_ref;
pub(crate) mod sqlite;
pub mod sys;
