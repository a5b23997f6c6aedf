//! The terminal.
//!
//! ```text
//! session.rs  raw mode, alternate screen, changed cells     signals.rs  termination
//! keys.rs     names of keys     background_query.rs  dark or light     capabilities.rs  theme, glyphs
//! named_colors.rs  colors of terminals with 16 of them
//! output.rs   text on stdout and stderr, safe for a terminal
//! ```

pub mod background_query;
pub mod capabilities;
pub mod keys;
mod named_colors;
pub(crate) mod output;
pub mod session;
pub mod signals;
pub(crate) mod terminal_session;
