//! The embedded pipeline service.
pub mod config;
pub mod engines;
pub mod judge;
pub mod lifecycle;
pub mod log;
pub mod model;
pub mod problem;
pub mod secrets;
pub mod store;

/// 0 to 1, another one each time.
pub(crate) fn dice() -> f64 {
    crate::engine::drive::dice()
}
