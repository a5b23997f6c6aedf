//! Command line. Each command has its own file, which connects arguments to the library.

mod args;
mod backfill;
mod config;
mod connect;
mod dispatch;
mod error;
mod exit;
mod files;
mod man;
mod output;
mod pipeline_actions;
mod pipelines;
mod remote_args;
mod replay;
mod run;
mod screen;
mod serve;
mod service;
mod simulate;
mod store;
mod summary;
mod sync;
mod task_poll;
mod tee;
mod track;
mod values;
mod wait;
mod watch;

pub use args::{Args, command};
pub use dispatch::main;
