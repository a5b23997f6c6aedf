//! Masks secrets before texts are stored, so that no screen, log, JSON or export can show them.

mod arguments;
mod open;
mod pattern;
mod rules;
mod text;

pub use arguments::arguments;
pub use open::OpenSecret;
pub use pattern::MASK;
pub use text::{is_secret_field, json, secrets};
