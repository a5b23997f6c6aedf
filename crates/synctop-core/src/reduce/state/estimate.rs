//! Estimated totals.

/// Maximum share that an estimate reaches by itself.
pub(crate) const MAX_ESTIMATED_SHARE: f64 = 0.99;

/// Estimate of the whole sync.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Estimated {
    pub(crate) whole: Option<(Option<u64>, Option<u64>)>,
    pub(crate) by_stream: bool,
}
