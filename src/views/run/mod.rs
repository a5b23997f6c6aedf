//! The run screen: one pane, one file.

pub(crate) mod columns;
pub(crate) mod details;
pub(crate) mod diagnostics;
pub mod doubts;
pub mod errors;
pub(crate) mod footer;
pub(crate) mod header;
pub mod inline;
pub mod log;
pub(crate) mod ranges;
pub mod rows;
pub mod screen;
pub mod state;
pub mod stream_group;
pub(crate) mod streams;
pub(crate) mod timeline;
pub(crate) mod waiting;
