//! Decoder and reducer of the NDJSON that data sync engines print. Pure: no clock, no I/O, no
//! threads.
//!
//! ```text
//! bytes -> protocol::Splitter -> protocol::Decoder -> reduce::Progress -> report::{summary, verdict}
//! JSON of a pipeline service ----------------------> fleet::Fleet      -> groups, inbox, results
//! ```
//!
//! | module | subject |
//! | --- | --- |
//! | [`protocol`] | lines of NDJSON to claims; one adapter per protocol |
//! | [`reduce`] | claims to [`reduce::Progress`]: outcome, doubts, errors, rates, history |
//! | [`report`] | verdict, summary as JSON and text, changes between two looks |
//! | [`fleet`] | pipelines of a service: groups, error inbox, verified actions |
//! | [`format`](mod@format) | numbers, times and lists for people |
//! | [`backoff`] | delays between retries, rate limiter |

#![warn(missing_docs)]

pub mod backoff;
pub mod fleet;
pub mod format;
pub mod protocol;
pub mod reduce;
pub mod report;
mod result_class;

/// Tests the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use result_class::ResultClass;
