//! Seek to any instant of a log: restores the nearest snapshot and reduces the lines after it.

use crate::net::timeline::byte_store::ByteStore;
use crate::net::timeline::chunks::{Chunk, Chunks};
use crate::net::timeline::keep::SharedHistory;
use crate::net::timeline::parallel;
use memchr::memchr;
use parking_lot::MutexGuard;
use std::io::{self, Read};
use std::sync::Arc;
use synctop_core::protocol::{Decoder, Line, LineEnd};
use synctop_core::reduce::history::{History, LogPosition, Mark};
use synctop_core::reduce::lead_up::{self, LeadUp, LeadUpObserver};
use synctop_core::reduce::{Progress, Target};

/// Distance in bytes from which several threads reduce faster than one.
const PARALLEL_FROM: u64 = 1 << 20;

/// Relative move in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Number of lines; negative: back.
    Lines(i64),
    /// To the next mark of this kind (`true`), or to the one before (`false`).
    Mark(Mark, bool),
}

/// Progress at one place of a log, and its moves to other places.
pub struct Seeker {
    store: Arc<ByteStore>,
    history: SharedHistory,
    decoder: Decoder,
    progress: Progress,
    /// Number of side events of the store that `progress` contains.
    sides: usize,
    /// True if a jump went before the start of the stored data.
    short: bool,
    /// Observer of the lines of a lead-up.
    observer: Option<LeadUpObserver>,
}

/// Stop condition of reading line by line.
enum Until {
    /// After the last line that ends at or before this offset.
    Bytes(u64),
    /// After this line, counted from 1.
    Lines(u64),
    /// Before the first message after this time, in milliseconds.
    Time(i64),
    /// After the first line with such a mark, or at this offset.
    Mark(Mark, u64),
}

impl Seeker {
    /// Creates a seeker at the start of the log.
    #[must_use]
    pub fn new(store: Arc<ByteStore>, history: SharedHistory, decoder: Decoder) -> Self {
        let progress = store.initial_progress(&decoder);
        Self { store, history, decoder, progress, sides: 0, short: false, observer: None }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }

    /// Returns the progress at the current place.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// True if a jump went before the start of the stored data since the last call.
    pub fn fell_short(&mut self) -> bool {
        std::mem::take(&mut self.short)
    }

    /// Goes to a place, at most to the end of the data read so far.
    ///
    /// # Errors
    /// Returns an error if the bytes cannot be read again. The place then stays the same.
    pub fn go(&mut self, target: Target) -> io::Result<()> {
        self.restore_on_error(|seeker| seeker.try_go(target))
    }

    /// Restores the state if `walk` fails, because it may have stopped within a line.
    fn restore_on_error<T>(&mut self, walk: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let before = (self.progress.clone(), self.sides);
        let result = walk(self);
        if result.is_err() {
            (self.progress, self.sides) = before;
        }
        result
    }

    fn try_go(&mut self, target: Target) -> io::Result<()> {
        let end = self.history().end();
        match target {
            Target::Begin => self.restore_nearest(0),
            Target::End => self.restore_nearest(end.bytes).and_then(|()| self.reduce_to(end.bytes)),
            Target::Bytes(bytes) => {
                self.restore_nearest(bytes)?;
                let near = self.history().place_of_bytes(bytes).bytes;
                self.skip_to(near)?;
                self.walk(&Until::Bytes(bytes), end.bytes)
            }
            Target::Line(line) => {
                if self.progress.input.lines > line {
                    let near = self.history().place_of_line(line);
                    self.restore_nearest(near.bytes)?;
                }
                let near = self.history().place_of_line(line).bytes;
                self.skip_to(near)?;
                self.walk(&Until::Lines(line), end.bytes)
            }
            Target::Time(at) => {
                let near = self.history().place_of_time(at).bytes;
                if self.progress.last_at > Some(at) {
                    self.back_to(near)?;
                }
                self.skip_to(near)?;
                self.walk(&Until::Time(at), end.bytes)
            }
        }
    }

    /// Returns the lead-up of an instant: of the error that the line at `place` reports, or of the
    /// stream named `stream`. The place stays the same.
    ///
    /// # Errors
    /// Returns an error if the bytes cannot be read again.
    pub fn lead_up(&mut self, place: Target, stream: Option<Arc<str>>) -> io::Result<LeadUp> {
        let before = (self.progress.clone(), self.sides, self.short);
        let found = self.try_lead_up(place, stream);
        self.observer = None;
        (self.progress, self.sides, self.short) = before;
        found
    }

    fn try_lead_up(&mut self, place: Target, stream: Option<Arc<str>>) -> io::Result<LeadUp> {
        self.try_go(place)?;
        let (line, until) = (self.progress.input.lines, self.progress.last_at);
        let stream = stream.or_else(|| lead_up::stream_at(&self.progress));
        let start = match until {
            Some(until) => Target::Time(until - lead_up::WINDOW_MS - 1),
            None => Target::Line(line.saturating_sub(lead_up::WINDOW_LINES)),
        };
        self.try_go(start)?;
        let end = self.history().end().bytes;
        self.observer = Some(LeadUpObserver::new(stream, until, &self.progress));
        if let Some(until) = until {
            self.walk(&Until::Time(until - lead_up::HALF_MS), end)?;
        }
        if let Some(observer) = &mut self.observer {
            observer.middle(&self.progress);
        }
        self.walk(&Until::Lines(line), end)?;
        Ok(self.observer.take().map(|observer| observer.finish(&self.progress)).unwrap_or_default())
    }

    /// Shows the observer of a lead-up the progress.
    fn observe(&mut self) {
        if let Some(observer) = &mut self.observer {
            observer.note(&self.progress);
        }
    }

    /// Steps forward or back. Returns `false` if there is no such line or mark.
    ///
    /// # Errors
    /// Returns an error if the bytes cannot be read again. The place then stays the same.
    pub fn step(&mut self, step: Step) -> io::Result<bool> {
        self.restore_on_error(|seeker| seeker.try_step(step))
    }

    fn try_step(&mut self, step: Step) -> io::Result<bool> {
        let here = LogPosition::of(&self.progress);
        match step {
            Step::Lines(count) => {
                let line = here.lines.saturating_add_signed(count);
                self.try_go(Target::Line(line))?;
                Ok(self.progress.input.lines != here.lines)
            }
            Step::Mark(kind, true) => {
                let end = self.history().end().bytes;
                let stretches: Vec<_> = self.history().stretches_after(here.bytes, kind).collect();
                let before = kind.count(&self.progress);
                for (start, stop) in stretches {
                    self.skip_to(start.bytes)?;
                    if kind.count(&self.progress) == before {
                        self.walk(&Until::Mark(kind, stop), end)?;
                    }
                    if kind.count(&self.progress) != before {
                        return Ok(true);
                    }
                }
                self.try_go(Target::Bytes(here.bytes))?;
                Ok(false)
            }
            Step::Mark(kind, false) => {
                let stretches: Vec<_> = self.history().stretches_before(here.bytes, kind).collect();
                for (start, stop) in stretches {
                    self.back_to(start.bytes)?;
                    let mut found = None;
                    let stop = stop.min(here.bytes);
                    while self.progress.input.bytes < stop {
                        let before = kind.count(&self.progress);
                        self.walk(&Until::Mark(kind, stop), stop)?;
                        let place = self.progress.input.bytes;
                        if kind.count(&self.progress) == before || place >= here.bytes {
                            break;
                        }
                        found = Some(place);
                    }
                    if let Some(place) = found {
                        self.try_go(Target::Bytes(place))?;
                        return Ok(true);
                    }
                }
                self.try_go(Target::Bytes(here.bytes))?;
                Ok(false)
            }
        }
    }

    /// Restores the last snapshot at or before a place, unless the current place is nearer. If that
    /// part is not stored any more, restores the first snapshot of the stored data.
    fn restore_nearest(&mut self, bytes: u64) -> io::Result<()> {
        let here = self.progress.input.bytes;
        let kept_from = self.store.kept_from();
        let mut short = false;
        let (key, latest) = {
            let history = self.history();
            let mut key = history.key_before(bytes);
            let found = key.map_or(0, |key| key.at.bytes);
            if here <= bytes && here >= found && here >= kept_from && (here > 0 || found == 0) {
                if here == 0 && self.sides == 0 {
                    // The expected streams may have become known since.
                    drop(history);
                    self.progress = self.store.initial_progress(&self.decoder);
                }
                return Ok(());
            }
            if found < kept_from {
                // Earlier data are not stored any more: use the first snapshot of the stored data.
                key = history.key_from(kept_from);
                let why = "the earlier part is not stored any more";
                short = key.ok_or_else(|| io::Error::other(why))?.at.bytes > bytes;
            }
            (key.cloned(), history.newest_lookup().cloned())
        };
        self.short |= short;
        (self.progress, self.sides) = match key.zip(latest) {
            Some((key, latest)) => {
                let opened = key.open(&latest);
                let progress =
                    opened.ok_or_else(|| io::Error::other("a snapshot cannot be read: please report this"))?;
                (progress, key.sides)
            }
            None => (self.store.initial_progress(&self.decoder), 0),
        };
        Ok(())
    }

    /// Goes to a place between two lines that may be before the current one.
    fn back_to(&mut self, bytes: u64) -> io::Result<()> {
        self.restore_nearest(bytes)?;
        self.reduce_to(bytes)
    }

    /// Goes forward to a place between two lines, from the nearest snapshot if that saves reading.
    fn skip_to(&mut self, bytes: u64) -> io::Result<()> {
        if self.progress.input.bytes < bytes {
            self.restore_nearest(bytes)?;
            self.reduce_to(bytes)?;
        }
        Ok(())
    }

    /// Reduces forward to a place between two lines, with several threads if it is far.
    fn reduce_to(&mut self, bytes: u64) -> io::Result<()> {
        loop {
            let here = self.progress.input.bytes;
            let side = self.store.side_from(self.sides);
            let stop = side.as_ref().map_or(bytes, |(_, at, _)| (*at).min(bytes));
            if stop > here {
                let input = self.store.reader(here).take(stop - here);
                let workers = if stop - here >= PARALLEL_FROM { parallel::workers() } else { 1 };
                parallel::reduce(Chunks::new(input, here), &self.decoder, &mut self.progress, workers)?;
                if self.progress.input.bytes == here {
                    return Ok(());
                }
            }
            match side {
                Some((number, at, side)) if at <= bytes => {
                    side.apply(&mut self.progress);
                    self.sides = number + 1;
                }
                _ if stop <= here || stop >= bytes => return Ok(()),
                _ => {}
            }
        }
    }

    /// Reduces line by line until the stop condition, at most to `end`, a place between two lines.
    fn walk(&mut self, until: &Until, end: u64) -> io::Result<()> {
        let end = if let Until::Mark(_, stop) = until { end.min(*stop) } else { end };
        loop {
            let side = self.store.side_from(self.sides);
            let stop = side.as_ref().map_or(end, |(_, at, _)| (*at).min(end));
            if stop > self.progress.input.bytes && !self.walk_lines(until, stop)? {
                return Ok(());
            }
            match side {
                Some((number, at, side)) if at <= end && self.progress.input.bytes >= at => {
                    side.apply(&mut self.progress);
                    self.sides = number + 1;
                    self.observe();
                }
                _ => return Ok(()),
            }
        }
    }

    /// Reduces line by line to `stop`, a place between two lines, and ignores side events. Returns
    /// `false` if the stop condition was met before.
    fn walk_lines(&mut self, until: &Until, stop: u64) -> io::Result<bool> {
        let here = self.progress.input.bytes;
        let mut chunks = Chunks::new(self.store.reader(here).take(stop - here), here);
        let mut chunk = Chunk::default();
        while chunks.next(&mut chunk)? {
            if let Some(line) = chunk.huge() {
                if !self.line(&line, until) {
                    return Ok(false);
                }
                continue;
            }
            let mut rest = chunk.bytes();
            while !rest.is_empty() {
                let (body, end, after) = match memchr(b'\n', rest) {
                    Some(at) => {
                        let (body, after) = rest.split_at_checked(at).unwrap_or_default();
                        (body, LineEnd::Newline, after.get(1..).unwrap_or_default())
                    }
                    None => (rest, LineEnd::Input, &[][..]),
                };
                if !self.line(&Line::whole(body, end), until) {
                    return Ok(false);
                }
                rest = after;
            }
        }
        Ok(true)
    }

    /// Applies one line, unless it is after the stop condition. Returns `true` to continue.
    fn line(&mut self, line: &Line, until: &Until) -> bool {
        if let Until::Bytes(bytes) = until
            && self.progress.input.bytes + line.length > *bytes
        {
            return false;
        }
        if matches!(until, Until::Lines(lines) if self.progress.input.lines >= *lines) {
            return false;
        }
        let mut scratch = String::new();
        let decoded = self.decoder.decode(line, &mut scratch);
        if let Until::Time(until) = until
            && let Some(at) = self.decoder.time(&decoded)
            && Some(at).max(self.progress.last_at).is_some_and(|at| at > *until)
        {
            return false;
        }
        let before = match until {
            Until::Mark(kind, _) => kind.count(&self.progress),
            _ => 0,
        };
        self.progress.apply(line, decoded, &self.decoder);
        self.observe();
        !matches!(until, Until::Mark(kind, _) if kind.count(&self.progress) != before)
    }
}
