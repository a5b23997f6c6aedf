//! Stall detection by the stream's own rhythm. A stall ends with the next sign of life.

use crate::protocol::{Millis, Status};
use crate::reduce::state::gaps::FLOOR_MS;
use crate::reduce::state::stream::Stream;

/// Excessive silence of a started stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// Milliseconds since the last sign of life, or since the start if it is later.
    pub silent_ms: Millis,
    /// Median gap between signs of life, if known.
    pub usual_ms: Option<Millis>,
}

/// Announced wait of a source before a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// True if a rate limit (HTTP 429) causes the wait.
    pub rate_limited: bool,
    /// Milliseconds until the next retry; `None` if unknown.
    pub left_ms: Option<Millis>,
    /// Time waited so far, in milliseconds, if known.
    pub for_ms: Option<Millis>,
}

/// Returns the wait of a stream for its next retry at this moment.
#[must_use]
pub fn waiting(stream: &Stream, now: Millis) -> Option<Waiting> {
    if let Some(limited) = &stream.details.limited
        && stream.status == Status::Started
    {
        let left_ms = limited.until.map(|until| until.saturating_sub(now)).filter(|left| *left > 0);
        return Some(Waiting { rate_limited: true, left_ms, for_ms: limited.since.map(|since| (now - since).max(0)) });
    }
    let retry = stream.details.retry.as_ref()?;
    let left_ms = retry.until.saturating_sub(now);
    let alive_since = stream.last_sign_at.get().is_some_and(|at| at > retry.last_at);
    (stream.status == Status::Started && left_ms > 0 && !alive_since).then_some(Waiting {
        rate_limited: retry.status == Some(429),
        left_ms: Some(left_ms),
        for_ms: None,
    })
}

/// Returns the stall of a started stream without a checkpoint or record for longer than max(60 s, 3
/// x p95 of its own gaps). Waiting for a retry does not count.
#[must_use]
pub fn verdict(stream: &Stream, now: Millis) -> Option<Stall> {
    // Most streams moved a moment ago: their other details need no look.
    let sign = stream.last_sign_at.get().max(stream.started_at.get())?;
    if now.saturating_sub(sign) <= FLOOR_MS || now <= due(stream) {
        return None;
    }
    Some(Stall { silent_ms: now - sign, usual_ms: stream.details.gaps.quantile(0.5) })
}

/// Returns the time after which the silence of a stream is a stall, unless it changes before; the
/// maximum if it never is.
#[must_use]
pub(crate) fn due(stream: &Stream) -> Millis {
    let sign = stream.last_sign_at.get().max(stream.started_at.get());
    let Some(sign) = sign.filter(|_| stream.status == Status::Started && stream.details.limited.is_none()) else {
        return Millis::MAX;
    };
    let until = stream.details.retry.as_ref().map_or(sign, |retry| retry.until.max(sign));
    let threshold = FLOOR_MS.max(3 * stream.details.gaps.quantile(0.95).unwrap_or(0));
    until.saturating_add(threshold)
}

/// Returns the time until which a stream waits for its next retry; the minimum if it does not wait.
#[must_use]
pub(crate) fn waits_until(stream: &Stream) -> Millis {
    match &stream.details.retry {
        _ if stream.status != Status::Started => Millis::MIN,
        _ if stream.details.limited.is_some() => Millis::MAX,
        Some(retry) if stream.last_sign_at.get().is_none_or(|at| at <= retry.last_at) => retry.until,
        Some(_) | None => Millis::MIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::Retrying;

    fn moving(gap: Millis) -> Stream {
        let mut stream = Stream::named("charges");
        stream.status = Status::Started;
        for beat in 0..40 {
            stream.sign_of_life(Some(beat * gap));
        }
        stream
    }

    #[test]
    fn the_threshold_is_a_minute_or_the_streams_own_rhythm() {
        let quick = moving(2_000);
        assert_eq!(verdict(&quick, 78_000 + 60_000), None);
        assert_eq!(verdict(&quick, 78_000 + 60_001), Some(Stall { silent_ms: 60_001, usual_ms: Some(2_000) }));
        let slow = moving(45_000);
        let last = 39 * 45_000;
        assert_eq!(verdict(&slow, last + 3 * 45_000), None);
        assert!(verdict(&slow, last + 3 * 45_000 + 1).is_some());
    }

    #[test]
    fn times_of_stalls_and_waits_agree_with_their_verdicts() {
        let retry = |last_at, until| Some(Retrying { count: 1, last_at, until, ..Retrying::default() });
        for gap in [1_000, 45_000] {
            for retry in [None, retry(30_000, 200_000), retry(3_000_000, 3_100_000)] {
                let mut stream = moving(gap);
                stream.details.retry = retry;
                for now in (0..4_000_000).step_by(9_973) {
                    assert_eq!(verdict(&stream, now).is_some(), now > due(&stream));
                    assert_eq!(waiting(&stream, now).is_some(), now < waits_until(&stream));
                }
            }
        }
    }

    #[test]
    fn waiting_for_a_retry_suspends_it_and_life_ends_it() {
        let mut stream = moving(1_000);
        stream.details.retry =
            Some(Retrying { status: Some(429), count: 3, last_at: 100_000, until: 200_000, ..Retrying::default() });
        assert_eq!(verdict(&stream, 190_000), None);
        assert_eq!(
            waiting(&stream, 190_000),
            Some(Waiting { rate_limited: true, left_ms: Some(10_000), for_ms: None })
        );
        assert_eq!(verdict(&stream, 250_000), None);
        assert!(verdict(&stream, 261_000).is_some());
        stream.sign_of_life(Some(261_500));
        assert_eq!(verdict(&stream, 262_000), None);
        stream.status = Status::Completed;
        assert_eq!(verdict(&stream, 900_000), None);
    }
}
