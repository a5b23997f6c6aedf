//! `synctop` is top for data syncs: a full-screen dashboard over the NDJSON that sync engines
//! print, and the same reducer without a screen.
//!
//! Data flow:
//!
//! ```text
//!  file | stdin | child                                  keys, mouse, resize, signals
//!       bytes (256 KiB chunks)                                     |
//!    net/<source>  --bounded channel-->  crate::net::source::ingest thread        |
//!                                     protocol: line -> Message    |
//!                                     progress.apply(line)         |
//!                                     Arc<Progress> <= 30 Hz       |
//!                                                  \\               /
//!                          crate::app::run::app   select! { biased; signals, keys, snapshots, timer }
//!                                     Event -> Action -> update(&mut Ui, &Screen) -> Vec<Effect>
//!                                             | dirty?
//!                          crate::views::draw(buffer, area, &Screen)
//! ```
//!
//! An earlier instant takes the same path: `net::seek` reduces the log again from a snapshot of
//! `synctop_core::reduce::history`, and `app::playback` holds the clock.
//!
//! Pipelines of a service: `net::remote` polls it, [`fleet`] holds the rules, `app::fleet` and
//! `views::fleet` are the screen.
//!
//! Imports point one way: [`cli`] -> [`app`] -> [`views`], [`net`] -> [`fleet`] -> [`progress`] ->
//! [`protocol`], and `service` -> [`engine`] -> [`net`]. [`protocol`], [`progress`] and [`fleet`]
//! are pure: no clock, no I/O, no screen. `tests/layering.rs` enforces this.

pub mod app;
pub mod cli;
pub mod engine;
pub mod net;
mod service;
mod util;
pub mod views;
