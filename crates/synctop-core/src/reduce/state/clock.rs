//! Times of messages, without those that cannot be right.

use crate::protocol::Millis;

/// Maximum step of a feed's clock that a single message makes.
const MAX_STEP: Millis = 366 * 86_400_000;

/// Maximum time of a message, 2200-01-01: later ones are sentinels such as the year 9999.
const MAX_TIME: Millis = 7_258_118_400_000;

/// Clocks of a feed: a wrapped log has the engine's own times beside those of its wrapping.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct MessageClocks {
    stamped: MessageClock,
    other: MessageClock,
}

impl MessageClocks {
    /// Returns the clock of messages with or without the time of the engine itself.
    pub(crate) fn of(&mut self, is_stamped: bool) -> &mut MessageClock {
        if is_stamped { &mut self.stamped } else { &mut self.other }
    }
}

/// Times of messages from one clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct MessageClock {
    /// Latest time.
    last: Option<Millis>,
    /// Time far ahead of `last`, until another message confirms it.
    far: Option<Millis>,
}

/// True unless the time is before 1970, or a sentinel.
pub(crate) fn is_plausible(at: Millis) -> bool {
    (0..MAX_TIME).contains(&at)
}

impl MessageClock {
    /// Ends the input. Returns true if a time is left out.
    pub(crate) fn end(&mut self) -> bool {
        self.far.take().is_some()
    }

    /// Advances the clock to the time of a message. Returns the time if it counts now, and true if
    /// a time is left out.
    pub(crate) fn advance(&mut self, at: Millis) -> (Option<Millis>, bool) {
        if !is_plausible(at) {
            return (None, true);
        }
        let far = self.far.take();
        if self.last.is_some_and(|last| at.saturating_sub(last) > MAX_STEP) {
            let is_confirmed = far.is_some_and(|far| at.abs_diff(far) <= MAX_STEP.unsigned_abs());
            if !is_confirmed {
                self.far = Some(at);
                return (None, far.is_some());
            }
            self.last = Some(at);
            return (Some(at), false);
        }
        self.last = self.last.max(Some(at));
        (Some(at), far.is_some())
    }
}
