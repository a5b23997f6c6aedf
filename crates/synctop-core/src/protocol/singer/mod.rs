//! Singer: stdout of taps and targets, and their logs.
//!
//! A tap prints one object per line, with its stream at the top level; the case of `type` varies. A
//! target prints bare state values: everything before them is committed. stdout has no status,
//! error or end: those are logged on stderr (`logs.rs`, `meltano.rs`), as metrics and as text. The
//! formats come from recordings of singer-python, singer-sdk and Meltano of 2026-11-20.

mod adapter;
mod fast;
mod feed;
mod human;
mod loggers;
mod logs;
mod meltano;

pub use adapter::{MELTANO, PROTOCOL};
