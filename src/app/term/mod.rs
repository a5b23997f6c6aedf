//! The terminal.
//!
//! ```text
//! session.rs  raw mode, alternate screen, changed cells     signals.rs  termination
//! keys.rs     names of keys     background_query.rs  dark or light     capabilities.rs  theme, glyphs
//! ```

pub mod background_query;
pub mod capabilities;
pub mod keys;
pub mod session;
pub mod signals;
