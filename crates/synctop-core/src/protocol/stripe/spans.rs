//! Time ranges on the fast path.

use crate::protocol::lenient::{LenientInstant, LenientRange};
use crate::protocol::message::Range;
use crate::protocol::scan::cursor::{LineCursor, set_once};

/// Length of a range such as `{"gte":"2026-11-20T08:31:18.003Z","lt":"2026-11-20T08:34:55.000Z"}` and its comma.
const RANGE_LENGTH: usize = 67;

pub(super) fn spans(cursor: &mut LineCursor) -> Option<Vec<Range>> {
    // A range has no brackets: their distance shows the number of ranges.
    let length = cursor.distance_to(b']').filter(|length| *length > 1).unwrap_or(0);
    let mut all = Vec::with_capacity(length.div_ceil(RANGE_LENGTH));
    cursor.array(|cursor| {
        all.extend(span(cursor)?.range());
        Some(())
    })?;
    Some(all)
}

#[inline]
pub(super) fn span(cursor: &mut LineCursor) -> Option<LenientRange> {
    if let Some((gte, lt)) = cursor.range_of_texts().or_else(|| cursor.range_of_numbers()) {
        return Some(LenientRange::new(LenientInstant(Some(gte)), LenientInstant(Some(lt))));
    }
    let (mut gte, mut lt) = (None, None);
    cursor.object(|cursor, key| match key {
        "gte" => set_once(&mut gte, cursor.instant()?),
        "lt" => set_once(&mut lt, cursor.instant()?),
        _ => cursor.skip(),
    })?;
    Some(LenientRange::new(LenientInstant(gte), LenientInstant(lt)))
}
