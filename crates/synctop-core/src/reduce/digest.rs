//! Figures of all streams in compact form, for screens that show them many times a second. A digest
//! is brought up to date from the changed streams alone; a pass over it reads memory in order.

use crate::protocol::{Millis, Status};
use crate::reduce::stall;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::rates::ONE_MINUTE;
use crate::reduce::state::stream::Stream;
use crate::reduce::state::streams::Streams;

/// Digest of all streams of a state.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    /// Streams of the state that the digest describes.
    basis: Streams,
    states: Vec<StreamState>,
    figures: Vec<StreamFigures>,
}

/// State of a stream, as far as it depends on the stream alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamState {
    /// Latest status.
    pub status: Status,
    /// True if it failed, in any status.
    pub has_failed: bool,
    /// True if its source retries a request.
    pub is_retrying: bool,
    /// True if it has not moved since its last retry.
    pub is_held_by_retry: bool,
    /// True if it has a range that is not read completely.
    pub has_open_range: bool,
    /// True if the engine estimated its total.
    pub(crate) has_estimate: bool,
    /// True if it may have a doubt, in addition to those at the end of a run.
    pub(crate) may_have_doubt: bool,
    /// True if it may have a doubt once the run has ended.
    pub(crate) may_have_doubt_at_end: bool,
    /// True if rows or ranges of it may be missing.
    pub(crate) is_at_risk: bool,
    /// True if it started for the first time.
    pub(crate) is_first_start: bool,
    /// Time after which its silence is a stall, unless it changes before; the maximum if none is.
    pub stalled_after: Millis,
    /// Time until which it waits for a retry; the minimum if it does not wait.
    pub waits_until: Millis,
    /// Time of its start; the minimum if it is unknown.
    pub(crate) started_at: Millis,
    /// Read share of its ranges, 0 to 1; not a number if it is unknown.
    coverage: f64,
    /// Share that earlier attempts read.
    pub(crate) coverage_before: f64,
}

/// Figures of a stream by which lists are sorted and summed; -1 if unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamFigures {
    /// Records of all attempts.
    pub records: i64,
    /// Records of the last attempt.
    pub attempt: i64,
    /// Records that a destination has confirmed.
    pub committed: i64,
    /// Errors.
    pub errors: i64,
    /// Time of the last checkpoint.
    pub last_checkpoint_at: Millis,
    /// Id of the error group of its failure.
    pub failed_group: Option<u64>,
    /// Records per second over a minute; negative if unknown.
    rate: f64,
    /// Time after which the rate is unknown.
    rate_until: Millis,
}

impl StreamState {
    /// Returns the read share of its ranges, 0 to 1; `None` if it is unknown.
    #[must_use]
    pub fn coverage(&self) -> Option<f64> {
        Some(self.coverage).filter(|share| !share.is_nan())
    }

    fn of(stream: &Stream) -> Self {
        let details = &stream.details;
        let has_range = details.covered.total.is_some();
        let is_undelivered = stream.seen > 0 && details.committed.get().unwrap_or(0) < stream.marked;
        let differs = |count: Option<u64>| count.is_some_and(|count| count != stream.counted) && stream.counted > 0;
        let is_asked = stream.asked && stream.status == Status::NotStarted;
        let is_started = stream.status == Status::Started;
        Self {
            status: stream.status,
            has_failed: details.failed_in.is_some(),
            is_retrying: details.retry.is_some() && is_started,
            is_held_by_retry: is_started
                && details
                    .retry
                    .as_ref()
                    .is_some_and(|retry| stream.last_sign_at.get().is_none_or(|at| at <= retry.last_at)),
            has_open_range: stream.has_ranges_left() || (has_range && (details.failed_in.is_some() || is_started)),
            has_estimate: details.estimate.is_some(),
            may_have_doubt: stream.overwritten || details.miscounted.is_some() || stream.may_count_twice(),
            may_have_doubt_at_end: (stream.reported && differs(stream.records.attempt.get()))
                || differs(details.metered)
                || is_undelivered
                || is_asked,
            is_at_risk: stream.is_at_risk(),
            is_first_start: stream.is_new_since(Millis::MIN),
            stalled_after: stall::due(stream),
            waits_until: stall::waits_until(stream),
            started_at: stream.started_at.get().unwrap_or(Millis::MIN),
            coverage: stream.coverage().unwrap_or(f64::NAN),
            coverage_before: if has_range { stream.coverage_before() } else { 0.0 },
        }
    }
}

impl StreamFigures {
    /// Returns the records per second over the last minute; `None` if they are unknown.
    #[must_use]
    pub fn rate(&self, now: Millis) -> Option<f64> {
        (self.rate >= 0.0 && now <= self.rate_until).then_some(self.rate)
    }

    fn of(stream: &Stream) -> Self {
        let number = |count: Option<u64>| count.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        let reported_at = stream.rate.last_at().unwrap_or(Millis::MIN);
        Self {
            records: number(stream.records.cumulative.get()),
            attempt: number(stream.records.attempt.get()),
            committed: number(stream.details.committed.get()),
            errors: number(Some(stream.details.errors)),
            last_checkpoint_at: stream.details.last_checkpoint_at.get().unwrap_or(-1),
            failed_group: stream.details.failed_group,
            // The rate of a window that ends with the last report does not depend on the time.
            rate: stream.rate.per_second(ONE_MINUTE, reported_at).unwrap_or(-1.0),
            rate_until: reported_at.saturating_add(ONE_MINUTE),
        }
    }
}

impl Digest {
    /// Creates the digest of a state.
    #[must_use]
    pub fn of(progress: &Progress) -> Self {
        Self::default().brought_to(progress)
    }

    /// Brings the digest to another state. That of a later state of the same input costs as much as
    /// streams have changed.
    #[must_use]
    pub fn brought_to(mut self, progress: &Progress) -> Self {
        let streams = &progress.streams;
        let (basis, known) = (std::mem::take(&mut self.basis), self.states.len().min(streams.len()));
        self.states.truncate(known);
        self.figures.truncate(known);
        for at in streams.changed_since(&basis) {
            let Some(stream) = streams.get(at) else { continue };
            let (state, figures) = (StreamState::of(stream), StreamFigures::of(stream));
            if let (Some(old_state), Some(old_figures)) = (self.states.get_mut(at), self.figures.get_mut(at)) {
                (*old_state, *old_figures) = (state, figures);
            } else {
                self.states.push(state);
                self.figures.push(figures);
            }
        }
        if known == streams.len() {
            // No stream was new: the room for more is given back.
            self.states.shrink_to_fit();
            self.figures.shrink_to_fit();
        }
        self.basis = streams.clone();
        self
    }

    /// Returns the states of all streams, by their index.
    #[must_use]
    pub fn states(&self) -> &[StreamState] {
        &self.states
    }

    /// Returns the figures of all streams, by their index.
    #[must_use]
    pub fn figures(&self) -> &[StreamFigures] {
        &self.figures
    }

    /// Returns the indexes of the streams with such a state.
    pub fn with<'d>(&'d self, is: impl Fn(&StreamState) -> bool + 'd) -> impl Iterator<Item = usize> + 'd {
        self.states.iter().enumerate().filter(move |(_, state)| is(state)).map(|(at, _)| at)
    }

    /// Returns the records that destinations have confirmed; `None` if there is no such count.
    #[must_use]
    pub fn committed(&self) -> Option<u64> {
        let known = self.figures.iter().filter_map(|figures| u64::try_from(figures.committed).ok());
        known.reduce(u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Decoder;
    use crate::reduce::{Reducer, doubts, doubts_among, stall_verdict};
    use proptest::prelude::*;

    fn line(kind: u8, stream: u8, second: u32) -> String {
        let at = format!("2026-11-20T08:{:02}:{:02}.000Z", second / 60 % 60, second % 60);
        let status = |status: &str, more: &str| {
            format!(
                r#"{{"type":"stream_status","stream_status":{{"stream":"s{stream}","status":"{status}"{more}}},"_ts":"{at}"}}"#
            )
        };
        let range = r#"{"gte":"2024-01-01T00:00:00Z","lt":"2024-01-11T00:00:00Z"}"#;
        let part = r#"{"gte":"2024-01-01T00:00:00Z","lt":"2024-01-04T00:00:00Z"}"#;
        match kind {
            0 => status("start", &format!(r#","time_range":{range}"#)),
            1 => status("range_complete", &format!(r#","range_complete":{part}"#)),
            2 => status("complete", ""),
            3 => status("error", r#","error":"no such table""#),
            4 => format!(
                r#"{{"type":"log","log":{{"level":"warn","message":"again","data":{{"stream":"s{stream}","attempt":1,"delay_ms":90000,"status":429}}}},"_ts":"{at}"}}"#
            ),
            5 => format!(
                r#"{{"type":"source_state","source_state":{{"stream":"s{stream}","data":{{"c":{second}}}}},"_ts":"{at}"}}"#
            ),
            6 => r#"{"type":"catalog","catalog":{"streams":[{"name":"s1"},{"name":"s2"},{"name":"s3"}]}}"#.to_owned(),
            7 => format!(r#"{{"type":"eof","eof":{{"reason":"complete","has_more":false}},"_ts":"{at}"}}"#),
            _ => format!(
                r#"{{"type":"record","record":{{"stream":"s{stream}","data":{{}},"emitted_at":"{at}"}},"_ts":"{at}"}}"#
            ),
        }
    }

    proptest! {
        /// A digest that follows the states is that of each state, and so are the doubts by it.
        #[test]
        fn digest_of_changes_is_that_of_the_state(
            lines in prop::collection::vec((0_u8..12, 0_u8..100, 0_u32..40), 1..300),
            every in 1_usize..40,
        ) {
            let (mut reducer, mut second) = (Reducer::new(Decoder::default()), 0);
            let mut digest = Digest::default();
            for chunk in lines.chunks(every) {
                for (kind, stream, after) in chunk {
                    second += after;
                    reducer.push((line(*kind, *stream, second) + "\n").as_bytes());
                }
                let progress = reducer.progress.clone();
                digest = digest.brought_to(&progress);
                let whole = Digest::of(&progress);
                prop_assert_eq!(&digest.figures, &whole.figures);
                prop_assert_eq!(format!("{:?}", digest.states), format!("{:?}", whole.states));
                prop_assert_eq!(doubts_among(&progress, &digest), doubts(&progress));
                let now = progress.last_at.unwrap_or(0) + 61_000;
                for (stream, state) in progress.streams.iter().zip(digest.states()) {
                    prop_assert_eq!(stall_verdict(stream, now).is_some(), now > state.stalled_after);
                    prop_assert_eq!(stream.coverage(), state.coverage());
                }
                for (stream, figures) in progress.streams.iter().zip(digest.figures()) {
                    prop_assert_eq!(stream.rate.per_second(ONE_MINUTE, now), figures.rate(now));
                }
                prop_assert_eq!(progress.committed(), digest.committed());
            }
        }
    }
}
