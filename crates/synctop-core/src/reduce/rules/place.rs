//! Access to streams by index that keeps the totals over all streams consistent.

use crate::protocol::{Name, mask};
use crate::reduce::state::input::Anomaly;
use crate::reduce::state::lookup::{BEYOND, bounded_name};
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Stream;
use crate::reduce::state::sums::Sums;
use crate::reduce::state::tally::Tally;
use std::sync::Arc;

impl Progress {
    /// Returns the index of a stream; adds the stream if it is unknown. Beyond the maximum number
    /// of streams the index is that of no stream: changes have no effect.
    pub(crate) fn place(&mut self, name: &Name) -> usize {
        let same = |stream: &Arc<Stream>| {
            *stream.name == *name.name && stream.namespace.as_deref() == name.namespace.as_deref()
        };
        if self.streams.get(self.lookup.last_stream).is_some_and(same) {
            return self.lookup.last_stream;
        }
        if let Some(at) = self.find(name) {
            self.lookup.last_stream = at;
            return at;
        }
        if self.streams.len() >= self.lookup.max_streams {
            self.counters.beyond.mention();
            self.lookup.last_stream = BEYOND;
            return BEYOND;
        }
        let mut stream = Stream::named(&bounded_name(&mask::secrets(&name.name)));
        if let Some(space) = &name.namespace {
            let masked = mask::secrets(space);
            let space = bounded_name(&masked);
            // Most streams share the namespace of the one before.
            let shared = self.streams.last().and_then(|last| last.namespace.clone()).filter(|last| **last == *space);
            stream.namespace = Some(shared.unwrap_or_else(|| (&*space).into()));
            stream.label = format!("{space}.{}", stream.name).into();
        }
        let at = self.streams.len();
        self.streams.push(Arc::new(stream));
        let space = name.namespace.as_deref().map(bounded_name);
        self.lookup.add_last(&self.streams, space.as_deref(), &bounded_name(&name.name));
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

    /// Counts record lines of streams beyond the maximum number.
    pub(crate) fn count_beyond(&mut self, records: u64) {
        self.counters.beyond.records += records;
        self.counters.beyond.records_in_attempt += records;
        self.counters.sums.add(records, records);
    }

    /// Recomputes the sums after changes of many streams.
    pub(crate) fn recount(&mut self) {
        self.counters.sums = Sums::default();
        for stream in &self.streams {
            self.counters.sums.moved(&Tally::default(), &stream.records);
        }
        self.counters.sums.add(self.counters.beyond.records_in_attempt, self.counters.beyond.records);
    }

    /// Reports the stream's count to its rate. An unchanged count is a report too: its rate is
    /// zero, not unknown.
    pub(crate) fn count_stream(&mut self, at: usize) {
        let now = self.last_at;
        if let Some(stream) = self.streams.get_mut(at).map(Arc::make_mut)
            && let (Some(at), Some(count)) = (now, stream.records.cumulative.get())
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
