//! Gaps between the messages of a stream.

use crate::protocol::Millis;
use crate::reduce::state::rare::Ring;

/// Minimum silence of a stalled stream, in milliseconds.
pub const FLOOR_MS: Millis = 60_000;

/// Number of stored gaps per stream.
pub(crate) const GAPS_KEPT: usize = 32;

/// Last gaps between signs of life, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Gaps {
    ring: Ring<GAPS_KEPT>,
    count: u32,
}

impl Gaps {
    pub fn add(&mut self, gap: Millis) {
        let slot = self.count as usize % GAPS_KEPT;
        self.ring.set(slot, u32::try_from(gap.max(0)).unwrap_or(u32::MAX));
        self.count = self.count.wrapping_add(1).max(1);
    }

    /// Returns the gap that this share (0 to 1) of the stored gaps does not exceed.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "at most GAPS_KEPT"
    )]
    pub fn quantile(&self, share: f64) -> Option<Millis> {
        let kept = (self.count as usize).min(GAPS_KEPT);
        let mut sorted = [0; GAPS_KEPT];
        let sorted = sorted.get_mut(..kept)?;
        for (slot, gap) in sorted.iter_mut().enumerate() {
            *gap = self.ring.get(slot);
        }
        sorted.sort_unstable();
        let rank = (share * kept as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).map(|gap| Millis::from(*gap))
    }
}
