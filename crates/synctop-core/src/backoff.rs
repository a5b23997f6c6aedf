//! Polling backoff with jitter (a service's own hint comes first), and a rate limiter that reserves
//! a share for a person's actions.

// Lengths of time, and no clock.
use core::time::Duration;

/// The first wait, how it grows, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const GROWTH: f64 = 1.5;
pub const LONGEST: Duration = Duration::from_secs(15);

/// The longest wait that an answer may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Waits between two looks.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST, longest: LONGEST }
    }
}

impl Backoff {
    /// With another longest wait.
    #[must_use]
    pub fn up_to(longest: Duration) -> Self {
        Self { next: FIRST.min(longest), longest }
    }

    /// Something changed: more may come soon.
    pub fn reset(&mut self) {
        self.next = FIRST.min(self.longest);
    }

    /// Next delay. A delay requested by the service (`Retry-After`) has priority; neither exceeds
    /// the remaining time.
    pub fn wait(&mut self, asked: Option<Duration>, left: Option<Duration>, jitter: f64) -> Duration {
        let own = self.next.mul_f64(0.5 + jitter.clamp(0.0, 1.0) * 0.5);
        self.next = self.next.mul_f64(GROWTH).min(self.longest);
        // One that asks for no time at all (or for one that is over by its clock) is not asked in a
        // hurry.
        let wait = asked.map_or(own, |asked| asked.min(LONGEST_ASKED).max(own));
        left.map_or(wait, |left| wait.min(left))
    }
}

/// Requests that may be made: so many a second, twice as many at once. The clock is the caller's.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    per_second: f64,
    left: f64,
    at: Duration,
    /// Times of the requests of the last ten seconds.
    made: std::collections::VecDeque<Duration>,
}

/// Share of the rate reserved for a person's actions.
const FOR_PEOPLE: f64 = 0.2;

/// Window of the displayed rate.
const SHOWN_OVER: Duration = Duration::from_secs(10);

impl RateLimiter {
    #[must_use]
    pub fn new(per_second: f64) -> Self {
        Self { per_second, left: per_second * 2.0, at: Duration::ZERO, made: std::collections::VecDeque::new() }
    }

    /// Takes one at `now` (since any fixed origin), or returns the delay until it is available.
    /// `person`: a person waits for it.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&mut self, now: Duration, person: bool) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + passed * self.per_second).min(self.per_second * 2.0);
        let kept = if person { 0.0 } else { self.per_second * 2.0 * FOR_PEOPLE };
        if self.left - kept < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - (self.left - kept)) / self.per_second));
        }
        self.left -= 1.0;
        self.made.push_back(now);
        self.forget(now);
        Ok(())
    }

    fn forget(&mut self, now: Duration) {
        while self.made.front().is_some_and(|at| now.saturating_sub(*at) > SHOWN_OVER) {
            self.made.pop_front();
        }
    }

    /// Requests a second over the last ten seconds, and how many there may be.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    pub fn rate(&mut self, now: Duration) -> (f64, f64) {
        self.forget(now);
        (self.made.len() as f64 / SHOWN_OVER.as_secs_f64(), self.per_second)
    }
}
