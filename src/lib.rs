//! `synctop` is top for data syncs: a full-screen dashboard over the NDJSON that sync engines
//! print, and the same reducer without a screen. Protocols, reducer and reports are in
//! [`synctop_core`].
//!
//! ```text
//!  file | stdin | child                                  keys, mouse, resize, signals
//!       bytes (256 KiB chunks)                                     |
//!    net/source  --bounded channel-->  ingest thread               |
//!                                     Reducer: line -> Progress    |
//!                                     Arc<Progress> <= 30 Hz       |
//!                                                  \               /
//!                          app::shell  select! { biased; signals, keys, snapshots, timer }
//!                                     Event -> Action -> update(&mut Ui, &Model) -> Vec<Effect>
//!                                             | dirty?
//!                          views::draw(buffer, area, &Model) -> Hits
//! ```
//!
//! An earlier instant takes the same path: `net::timeline::seek` reduces the log again from a
//! snapshot of [`synctop_core::reduce::history`], and `app::run::playback` holds the clock.
//!
//! One shell runs both screens: `app::run` and `app::fleet` implement its `Screen`.
//!
//! Pipelines of a service: `net::client` polls it, [`synctop_core::fleet`] holds the rules,
//! `app::fleet` and `views::fleet` are the screen.
//!
//! Imports point one way: [`cli`] -> [`app`] -> [`views`], [`net`] -> [`synctop_core`], and `service`
//! -> [`engine`] -> [`net`]. `tests/layering.rs` enforces this.

pub mod app;
pub mod cli;
mod demo;
pub mod engine;
pub mod net;
mod service;
mod util;
pub mod views;
