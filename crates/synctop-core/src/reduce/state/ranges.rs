//! Time ranges of a stream: merges the completed ones and computes the coverage.

use crate::protocol::{Millis, Range};

/// Maximum number of disjoint ranges of a stream. A further range is dropped and counted.
pub const RANGES_KEPT: usize = 4_096;

/// Merged, sorted, disjoint ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ranges {
    pub(crate) list: Vec<Range>,
    /// Dropped ranges.
    pub beyond: u64,
}

impl Ranges {
    /// Returns the ranges, sorted, disjoint and at most `RANGES_KEPT`.
    #[must_use]
    pub fn list(&self) -> &[Range] {
        &self.list
    }

    /// Adds a completed range and merges touching ones. Empty and reversed ranges are ignored.
    pub fn add(&mut self, range: Range) {
        if matches!((range.gte, range.lt), (Some(gte), Some(lt)) if gte >= lt) {
            return;
        }
        // Ranges that overlap or touch the new one have indexes from `from` up to `to`.
        let from = self.list.partition_point(|have| end(have) < begin(&range));
        let to = self.list.partition_point(|have| begin(have) <= end(&range));
        let mut merged = range;
        if let Some(touched) = self.list.get(from..to)
            && let (Some(first), Some(last)) = (touched.first(), touched.last())
        {
            merged.gte = if begin(first) < begin(&merged) { first.gte } else { merged.gte };
            merged.lt = if end(last) > end(&merged) { last.lt } else { merged.lt };
        } else if self.list.len() >= RANGES_KEPT {
            self.beyond += 1;
            return;
        }
        self.list.splice(from..to.max(from), [merged]);
    }

    /// Replaces the list by these ranges, merged.  Engines mostly list sorted and disjoint ranges,
    /// which are copied unchanged.
    pub fn assign(&mut self, ranges: &[Range]) {
        self.beyond = 0;
        self.list.clear();
        let whole = |range: &Range| !matches!((range.gte, range.lt), (Some(gte), Some(lt)) if gte >= lt);
        let apart = |pair: &[Range]| matches!(pair, [one, next] if end(one) < begin(next));
        if ranges.len() <= RANGES_KEPT && ranges.iter().all(whole) && ranges.windows(2).all(apart) {
            self.list.extend_from_slice(ranges);
            return;
        }
        for range in ranges {
            self.add(*range);
        }
    }

    /// Returns the completed share of the total, 0 to 1; `None` if the total has an open end.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn coverage(&self, total: Range) -> Option<f64> {
        let (gte, lt) = (total.gte?, total.lt?);
        if lt <= gte {
            return None;
        }
        let inside = |range: &Range| (end(range).min(lt) - begin(range).max(gte)).max(0);
        Some(self.list.iter().map(inside).sum::<Millis>() as f64 / (lt - gte) as f64)
    }
}

/// Returns the gaps of `[begin, end)` between these ranges, in order.
#[must_use]
pub fn gaps(begin: i64, end: i64, taken: impl IntoIterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut taken: Vec<_> = taken.into_iter().collect();
    taken.sort_unstable();
    let mut gaps = Vec::new();
    let mut from = begin;
    for (gte, lt) in taken.into_iter().chain([(end, end)]) {
        if from < gte.min(end) {
            gaps.push((from, gte.min(end)));
        }
        from = from.max(lt);
    }
    gaps
}

impl FromIterator<Range> for Ranges {
    fn from_iter<T: IntoIterator<Item = Range>>(ranges: T) -> Self {
        let mut merged = Self::default();
        merged.assign(&ranges.into_iter().collect::<Vec<_>>());
        merged
    }
}

pub(crate) fn begin(range: &Range) -> Millis {
    range.gte.unwrap_or(Millis::MIN / 4)
}

pub(crate) fn end(range: &Range) -> Millis {
    range.lt.unwrap_or(Millis::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn range(gte: Millis, lt: Millis) -> Range {
        Range { gte: Some(gte), lt: Some(lt) }
    }

    #[test]
    pub(crate) fn touching_ranges_become_one() {
        let merged: Ranges = [range(0, 10), range(20, 30), range(10, 20)].into_iter().collect();
        assert_eq!(merged.list(), [range(0, 30)]);
        assert_eq!(merged.coverage(range(0, 60)), Some(0.5));
        let open: Ranges = [Range { gte: None, lt: Some(5) }, range(3, 9)].into_iter().collect();
        assert_eq!(open.list(), [Range { gte: None, lt: Some(9) }]);
        assert_eq!(open.coverage(Range { gte: None, lt: Some(9) }), None);
    }

    proptest! {
        #[test]
        fn the_order_of_ranges_does_not_matter(mut parts in prop::collection::vec((0i64..60, 1i64..12), 0..24)) {
            let slow: Vec<bool> = (0..80).map(|at| parts.iter().any(|(from, len)| (*from..from + len).contains(&at))).collect();
            let merged: Ranges = parts.iter().map(|(from, len)| range(*from, from + len)).collect();
            for (at, covered) in slow.iter().enumerate() {
                let at = i64::try_from(at).unwrap();
                prop_assert_eq!(merged.list().iter().any(|r| (begin(r)..end(r)).contains(&at)), *covered);
            }
            prop_assert!(merged.list().windows(2).all(|pair| end(&pair[0]) < begin(&pair[1])));
            parts.reverse();
            let again: Ranges = parts.iter().map(|(from, len)| range(*from, from + len)).collect();
            prop_assert_eq!(merged, again);
        }
    }
}
