//! The embedded pipeline service.
pub mod api;
mod call;
pub mod config;
pub(crate) mod driver;
pub mod engines;
pub mod hub;
pub mod judge;
pub mod lifecycle;
pub mod listen;
pub mod log;
pub mod model;
pub mod problem;
pub mod secrets;
pub mod store;

/// 0 to 1, another one each time.
pub(crate) fn dice() -> f64 {
    crate::engine::drive::dice()
}
