//! Announcements: the status of a stream with the totals.

use crate::engine::tracker::raw_message::RawMessage;
use crate::engine::tracker::wire::{self, Announcement, Totals, WireGeneration};
use crate::engine::tracker::{RATE_WINDOW_MS, Tracker};
use synctop_core::protocol::{ProgressReport, Status};

impl Tracker {
    /// Replaces a progress report of the source by the tracker's totals.
    pub(super) fn report(&mut self, report: &ProgressReport, received: &RawMessage, out: &mut Vec<u8>) {
        received.write_prefix(out);
        let before = self.requests_before.unwrap_or(0);
        let reported = report.requests.attempt.or_else(|| Some(report.requests.cumulative?.saturating_sub(before)));
        // A source that reports 0 requests together with records does not count them.
        if let Some(requests) = reported.filter(|requests| *requests > 0 || self.records == 0) {
            let requests = requests.max(self.requests.unwrap_or(0));
            self.requests = Some(requests);
            self.memory.requests = Some(before.saturating_add(requests));
        }
        // Keeps the displayed counts up to date between transitions.
        self.totals(out);
    }

    /// Computes the totals of the attempt and of the run at this instant.
    pub(super) fn current_totals(&mut self) -> Totals {
        let elapsed = u64::try_from(self.now - self.began).unwrap_or(0);
        self.memory.elapsed_ms = self.elapsed_before.saturating_add(elapsed);
        self.window.push_back((self.now, self.records));
        while self.window.len() > 2 && self.window.get(1).is_some_and(|(at, _)| *at <= self.now - RATE_WINDOW_MS) {
            self.window.pop_front();
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let window = match self.window.front() {
            Some((at, records)) if *at < self.now => (self.records - records) as f64 * 1000.0 / (self.now - at) as f64,
            _ => 0.0,
        };
        Totals {
            attempt_records: self.records,
            records: self.memory.records(),
            attempt_requests: self.requests,
            requests: self.memory.requests,
            attempt_elapsed: elapsed,
            elapsed: self.memory.elapsed_ms,
            attempt_states: self.states,
            states: self.memory.checkpoints,
            window,
        }
    }

    /// Announces the status of a stream (or a completed range), then the totals.
    pub(super) fn announce_stream(
        &mut self,
        stream: &str,
        range: Option<synctop_core::protocol::Range>,
        out: &mut Vec<u8>,
    ) {
        let (Some(current), Some(kept)) = (self.current.get_mut(stream), self.memory.streams.get(stream)) else {
            return;
        };
        current.announced_records = current.records;
        let announcement = Announcement {
            stream,
            status: kept.status,
            range,
            uncounted: false,
            attempt: current.records,
            cumulative: kept.records,
            total: kept.total,
            error: kept.errors.last().filter(|_| kept.status == Status::Errored),
            reason: kept.reason.as_deref(),
        };
        wire::status(out, self.form, &announcement, self.now);
        self.totals(out);
    }

    /// Writes the totals, as a trace or as a progress message.
    pub(super) fn totals(&mut self, out: &mut Vec<u8>) {
        let totals = self.current_totals();
        match self.form {
            WireGeneration::Trace => wire::totals(out, &totals, self.now),
            WireGeneration::Progress => wire::line(out, "progress", &self.progress(None, false), self.now),
        }
    }

    /// Returns the progress payload of the run, or of this attempt alone if `attempt`.
    pub(super) fn progress(&self, ended: Option<bool>, attempt: bool) -> wire::ProgressPayload<'_> {
        let rows = self.memory.streams.iter().filter_map(|(name, kept)| {
            let current = self.current.get(name)?;
            let announced = current.started || current.is_finished;
            (if attempt { announced } else { announced || !kept.is_blank() }).then(|| wire::TotalsRow {
                name,
                status: kept.status,
                states: if attempt { current.states } else { kept.states },
                records: if attempt { current.records } else { kept.records },
                total: kept.total,
                ranges: &kept.ranges,
                errors: &kept.errors,
                reason: kept.reason.as_deref(),
            })
        });
        let (elapsed, counts, started) = if attempt {
            (self.memory.elapsed_ms.saturating_sub(self.elapsed_before), (self.records, self.states), self.began)
        } else {
            let started = self.memory.started_at.unwrap_or(self.began);
            (self.memory.elapsed_ms, (self.memory.records(), self.memory.checkpoints), started)
        };
        wire::progress_payload(rows, started, elapsed, counts, wire::run_status(ended))
    }
}
