//! The tests of the service with its store in PostgreSQL: one suite for both stores.
//!
//! `common::serve` starts each service of this program with a database of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]
#![allow(clippy::duplicate_mod, reason = "the suites are programs of their own, too")]

#[path = "service.rs"]
mod service;
#[path = "service_alerts.rs"]
mod service_alerts;
#[path = "service_corners.rs"]
mod service_corners;
#[path = "service_crash.rs"]
mod service_crash;
#[path = "service_engines.rs"]
mod service_engines;
#[path = "service_wait.rs"]
mod service_wait;
