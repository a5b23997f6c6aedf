//! Simulated engine: a list API in memory, its source, and the engine around it.

pub mod call;
pub mod engine;
pub mod generator;
pub mod list_api;
pub(crate) mod rng;
pub mod rows;
pub mod scenario;
pub mod serve;
pub mod source;
