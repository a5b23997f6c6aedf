//! The terminal.
//!
//! ```text
//! session.rs  raw mode, alternate screen, changed cells     signals.rs  termination
//! keys.rs     names of keys     background_query.rs  dark or light     capabilities.rs  theme, glyphs
//! output.rs   text on stdout and stderr, safe for a terminal
//! ```

pub mod background_query;
pub mod capabilities;
pub mod keys;
pub(crate) mod output;
pub mod session;
pub mod signals;
pub(crate) mod terminal_session;
