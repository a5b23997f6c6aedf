//! Access to streams by index that keeps the totals over all streams consistent.

use crate::protocol::{Name, mask};
use crate::reduce::state::input::Anomaly;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Stream;
use crate::reduce::state::sums::Sums;
use crate::reduce::state::tally::Tally;
use std::sync::Arc;

impl Progress {
    /// Returns the index of a stream; adds the stream if it is unknown.
    pub(crate) fn place(&mut self, name: &Name) -> usize {
        let same = |stream: &Arc<Stream>| {
            *stream.name == *name.name && stream.namespace.as_deref() == name.namespace.as_deref()
        };
        if self.streams.get(self.lookup.last_stream).is_some_and(same) {
            return self.lookup.last_stream;
        }
        let key = name.key();
        if let Some(at) = self.lookup.index.get(key.as_ref()) {
            self.lookup.last_stream = *at;
            return *at;
        }
        let at = self.streams.len();
        let mut stream = Stream::named(&mask::secrets(&name.name));
        if let Some(space) = &name.namespace {
            stream.namespace = Some(mask::secrets(space).into());
            stream.label = mask::secrets(&name.label()).into();
        } else {
            stream.label = Arc::clone(&stream.name);
        }
        self.streams.push(Arc::new(stream));
        Arc::make_mut(&mut self.lookup.index).insert(key.into(), at);
        let order = (name.name.as_ref(), name.namespace.as_deref());
        let streams = &self.streams;
        let by_name = Arc::make_mut(&mut self.lookup.by_name);
        let slot = by_name.partition_point(|at| {
            streams.get(*at as usize).is_some_and(|s| (s.name.as_ref(), s.namespace.as_deref()) < order)
        });
        by_name.insert(slot, u32::try_from(at).unwrap_or(u32::MAX));
        self.lookup.last_stream = at;
        at
    }

    /// Returns the index of a stream that a message is about. A stream that is missing from the
    /// catalog is an anomaly.
    pub(crate) fn place_of_message(&mut self, name: &Name) -> usize {
        let at = self.place(name);
        if self.attempt.catalog && self.streams.get(at).is_some_and(|stream| !stream.in_catalog) {
            self.change(at, |stream| stream.in_catalog = true);
            let shown = self.streams.get(at).map(|stream| stream.label.clone());
            self.anomaly(Anomaly::UnknownStream, shown);
        }
        at
    }

    /// Changes one stream and updates the sums over all streams.
    pub(crate) fn change<R>(&mut self, at: usize, change: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let stream = Arc::make_mut(self.streams.get_mut(at)?);
        let (before, status) = (stream.records, stream.status);
        let result = change(stream);
        self.counters.sums.moved(&before, &stream.records);
        self.counters.transitions += u64::from(status != stream.status);
        Some(result)
    }

    /// Recomputes the sums after changes of many streams.
    pub(crate) fn recount(&mut self) {
        self.counters.sums = Sums::default();
        for stream in &self.streams {
            self.counters.sums.moved(&Tally::default(), &stream.records);
        }
    }

    /// Reports the stream's count to its rate. An unchanged count is a report too: its rate is
    /// zero, not unknown.
    pub(crate) fn count_stream(&mut self, at: usize) {
        let now = self.last_at;
        if let Some(stream) = self.streams.get_mut(at).map(Arc::make_mut)
            && let (Some(at), Some(count)) = (now, stream.records.cumulative)
        {
            stream.rate.report(at, count);
        }
    }

    pub(crate) fn count_total(&mut self) {
        if let (Some(at), Some(count)) = (self.last_at, self.cumulative_records()) {
            self.counters.rate.report(at, count);
        }
    }
}
