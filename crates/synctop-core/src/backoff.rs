//! Backoff with jitter for polls, where a delay requested by the service has priority, and for
//! retries of an engine call; a rate limiter that reserves a share for a person's actions.

// Durations only: this module has no clock.
use core::time::Duration;

/// First delay.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Factor between two delays.
const GROWTH: f64 = 1.5;
/// Longest delay between two polls by default.
pub const MAX_POLL_DELAY: Duration = Duration::from_secs(15);

/// Longest delay before a failed engine call is repeated. It is longer than between polls, because
/// a call is work for the engine and its source.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// Longest delay that a service may request.
const MAX_REQUESTED_DELAY: Duration = Duration::from_secs(3600);

/// Exponential backoff between two polls.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_DELAY, longest: MAX_POLL_DELAY }
    }
}

impl Backoff {
    /// Creates a backoff with another longest delay.
    #[must_use]
    pub fn with_max_delay(longest: Duration) -> Self {
        Self { next: FIRST_DELAY.min(longest), longest }
    }

    /// Restarts with the first delay: after one change others may follow.
    pub fn reset(&mut self) {
        self.next = FIRST_DELAY.min(self.longest);
    }

    /// Returns the next delay. A longer delay that the service requests (`requested_delay`, from
    /// `Retry-After`) has priority, up to an hour. Never exceeds `remaining`. `jitter` is 0 to 1.
    pub fn wait(&mut self, requested_delay: Option<Duration>, remaining: Option<Duration>, jitter: f64) -> Duration {
        let own = self.next.mul_f64(0.5 + jitter.clamp(0.0, 1.0) * 0.5);
        self.next = self.next.mul_f64(GROWTH).min(self.longest);
        // A requested delay of zero (also one that is over by the service's clock) does not shorten
        // the own delay.
        let wait = requested_delay.map_or(own, |requested_delay| requested_delay.min(MAX_REQUESTED_DELAY).max(own));
        remaining.map_or(wait, |remaining| wait.min(remaining))
    }
}

/// Returns the delay before an engine call is repeated, after this number of consecutive failures:
/// it doubles from one second to [`MAX_RETRY_DELAY`], half of it random. `jitter` is 0 to 1.
#[must_use]
pub fn retry_delay(failures: u32, jitter: f64) -> Duration {
    let full = FIRST_DELAY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(MAX_RETRY_DELAY);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// Token bucket of requests: refilled at a rate per second, with a capacity of two seconds. The
/// caller supplies the clock.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    per_second: f64,
    /// Tokens in the bucket at the time `at`.
    tokens: f64,
    at: Duration,
    /// Times of the requests of the last ten seconds.
    recent: std::collections::VecDeque<Duration>,
}

/// Share of the rate reserved for a person's actions.
const RESERVED_SHARE: f64 = 0.2;

/// Window of the displayed rate.
const RATE_WINDOW: Duration = Duration::from_secs(10);

impl RateLimiter {
    /// Creates a full bucket.
    #[must_use]
    pub fn new(per_second: f64) -> Self {
        Self { per_second, tokens: per_second * 2.0, at: Duration::ZERO, recent: std::collections::VecDeque::new() }
    }

    /// Takes a token at `now` (since any fixed origin). `person`: a person waits for the request,
    /// which may use the reserved share.
    ///
    /// # Errors
    /// Returns the delay until a token is available.
    pub fn try_acquire(&mut self, now: Duration, person: bool) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second * 2.0);
        let reserved_tokens = if person { 0.0 } else { self.per_second * 2.0 * RESERVED_SHARE };
        if self.tokens - reserved_tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - (self.tokens - reserved_tokens)) / self.per_second));
        }
        self.tokens -= 1.0;
        self.recent.push_back(now);
        self.prune(now);
        Ok(())
    }

    /// Drops requests outside the window of the displayed rate.
    fn prune(&mut self, now: Duration) {
        while self.recent.front().is_some_and(|at| now.saturating_sub(*at) > RATE_WINDOW) {
            self.recent.pop_front();
        }
    }

    /// Returns the requests per second over the last ten seconds, and the limit per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    pub fn rate(&mut self, now: Duration) -> (f64, f64) {
        self.prune(now);
        (self.recent.len() as f64 / RATE_WINDOW.as_secs_f64(), self.per_second)
    }
}
