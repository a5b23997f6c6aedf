//! Counts of attempts to deliver alerts.

use std::sync::atomic::{AtomicU64, Ordering};
use strum::VariantArray as _;

/// Result of an attempt to deliver a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum AttemptResult {
    Delivered,
    /// It is tried again.
    Failed,
    /// It failed, and is not tried again.
    GivenUp,
}

/// Counts of attempts of this process.
#[derive(Debug, Default)]
pub struct AlertAttempts([AtomicU64; AttemptResult::VARIANTS.len()]);

impl AlertAttempts {
    /// Counts an attempt.
    pub fn count(&self, result: AttemptResult) {
        if let Some(counter) = self.0.get(result as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the word and the number of each result.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        AttemptResult::VARIANTS
            .iter()
            .zip(&self.0)
            .map(|(result, count)| (result.into(), count.load(Ordering::Relaxed)))
    }
}
