//! Seek to any instant of a log: restores the nearest snapshot and reduces the lines after it.

use super::chunks::{Chunk, Chunks};
use super::store::ByteStore;
use super::{lock, parallel};
use memchr::memchr;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard};
use synctop_core::protocol::{Decoded, Decoder, Line, LineEnd};
use synctop_core::reduce::history::{History, LogPosition, Mark};
use synctop_core::reduce::{Progress, Target};

/// From this distance on, two threads are quicker than one.
const FAR: u64 = 1 << 20;

/// Steps by which a log can be walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Lines(i64),
    Mark(Mark, bool),
}

/// Holds the progress of one place and goes to others.
pub struct Seeker {
    store: Arc<ByteStore>,
    history: Arc<Mutex<History>>,
    decoder: Decoder,
    progress: Progress,
    /// Number of the store's side events that are in `progress`.
    sides: usize,
    /// The last jump went before the stored data.
    short: bool,
}

/// End of reading line by line.
enum Until {
    /// Behind the last line that ends here or before.
    Bytes(u64),
    Lines(u64),
    /// Before the first message after this time.
    Time(i64),
    /// Behind the first line that brings such a mark, or here.
    Mark(Mark, u64),
}

impl Seeker {
    /// Stands at the begin.
    #[must_use]
    pub fn new(store: Arc<ByteStore>, history: Arc<Mutex<History>>, decoder: Decoder) -> Self {
        let progress = store.begin();
        Self { store, history, decoder, progress, sides: 0, short: false }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    /// State at the current place.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// True if a jump went before the start of the stored data since the last call.
    pub fn fell_short(&mut self) -> bool {
        std::mem::take(&mut self.short)
    }

    /// Goes to a place; behind the end of the read data, to that end.
    ///
    /// # Errors
    /// When the bytes cannot be read again.
    pub fn go(&mut self, target: Target) -> io::Result<()> {
        self.or_back(|seeker| seeker.go_on(target))
    }

    /// Restores the state if the walk fails: half a line may have been read.
    fn or_back<T>(&mut self, walk: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let before = (self.progress.clone(), self.sides);
        let result = walk(self);
        if result.is_err() {
            (self.progress, self.sides) = before;
        }
        result
    }

    fn go_on(&mut self, target: Target) -> io::Result<()> {
        let end = self.history().end();
        match target {
            Target::Begin => self.near(0),
            Target::End => self.near(end.bytes).and_then(|()| self.far(end.bytes)),
            Target::Bytes(bytes) => {
                self.near(bytes)?;
                let near = self.history().place_of_bytes(bytes).bytes;
                self.skip_to(near)?;
                self.walk(&Until::Bytes(bytes), end.bytes)
            }
            Target::Line(line) => {
                if self.progress.input.lines > line {
                    let near = self.history().place_of_line(line);
                    self.near(near.bytes)?;
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

    /// Steps on or back. Answers whether there was anything to step to.
    ///
    /// # Errors
    /// When the bytes cannot be read again.
    pub fn step(&mut self, step: Step) -> io::Result<bool> {
        self.or_back(|seeker| seeker.step_on(step))
    }

    fn step_on(&mut self, step: Step) -> io::Result<bool> {
        let here = LogPosition::of(&self.progress);
        match step {
            Step::Lines(count) => {
                let line = here.lines.saturating_add_signed(count);
                self.go_on(Target::Line(line))?;
                Ok(self.progress.input.lines != here.lines)
            }
            Step::Mark(kind, true) => {
                let end = self.history().end().bytes;
                let stretches: Vec<_> = self.history().stretches_after(here.bytes, kind).collect();
                let before = kind.count(&self.progress);
                for (begin, stop) in stretches {
                    self.skip_to(begin.bytes)?;
                    if kind.count(&self.progress) == before {
                        self.walk(&Until::Mark(kind, stop), end)?;
                    }
                    if kind.count(&self.progress) != before {
                        return Ok(true);
                    }
                }
                self.go_on(Target::Bytes(here.bytes))?;
                Ok(false)
            }
            Step::Mark(kind, false) => {
                let stretches: Vec<_> = self.history().stretches_before(here.bytes, kind).collect();
                for (begin, stop) in stretches {
                    self.back_to(begin.bytes)?;
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
                        self.go_on(Target::Bytes(place))?;
                        return Ok(true);
                    }
                }
                self.go_on(Target::Bytes(here.bytes))?;
                Ok(false)
            }
        }
    }

    /// The nearest snapshot before a place, unless where it stands is nearer.
    fn near(&mut self, bytes: u64) -> io::Result<()> {
        let here = self.progress.input.bytes;
        let kept_from = self.store.kept_from();
        let mut short = false;
        let (key, latest) = {
            let history = self.history();
            let mut key = history.key_before(bytes);
            let found = key.map_or(0, |key| key.at.bytes);
            if here <= bytes && here >= found && here >= kept_from && (here > 0 || found == 0) {
                if here == 0 && self.sides == 0 {
                    // Facts known before the first byte may have arrived since.
                    drop(history);
                    self.progress = self.store.begin();
                }
                return Ok(());
            }
            if found < kept_from {
                // Earlier data are gone: the first snapshot of the stored data.
                key = history.key_from(kept_from);
                let why = "the earlier part is not stored any more";
                short = key.ok_or_else(|| io::Error::other(why))?.at.bytes > bytes;
            }
            (key.cloned(), history.newest().cloned())
        };
        self.short |= short;
        (self.progress, self.sides) = match key.zip(latest) {
            Some((key, latest)) => {
                let opened = key.open(&latest);
                let progress =
                    opened.ok_or_else(|| io::Error::other("a snapshot cannot be read: please report this"))?;
                (progress, key.sides)
            }
            None => (self.store.begin(), 0),
        };
        Ok(())
    }

    /// A place that a mark is to be looked for behind.
    fn back_to(&mut self, bytes: u64) -> io::Result<()> {
        self.near(bytes)?;
        self.far(bytes)
    }

    /// On to a place that is known to lie between two lines, by the nearest snapshot if that is
    /// further.
    fn skip_to(&mut self, bytes: u64) -> io::Result<()> {
        if self.progress.input.bytes < bytes {
            self.near(bytes)?;
            self.far(bytes)?;
        }
        Ok(())
    }

    /// Reduces on to a place between two lines, with all threads where it is far.
    fn far(&mut self, bytes: u64) -> io::Result<()> {
        loop {
            let here = self.progress.input.bytes;
            let side = self.store.side_from(self.sides);
            let stop = side.as_ref().map_or(bytes, |(_, at, _)| (*at).min(bytes));
            if stop > here {
                let input = self.store.reader(here).take(stop - here);
                let workers = if stop - here >= FAR { parallel::workers() } else { 1 };
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

    /// Line by line, up to `end` at most, which lies between two lines.
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
                }
                _ => return Ok(()),
            }
        }
    }

    /// Line by line up to `stop`, which lies between two lines; answers whether it came there.
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

    /// Takes in one line, unless it lies behind the place; answers whether to go on.
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
        if let (Until::Time(until), Decoded::Message { message, .. }) = (until, &decoded)
            && message.at.max(self.progress.last_at).is_some_and(|at| at > *until)
        {
            return false;
        }
        let before = match until {
            Until::Mark(kind, _) => kind.count(&self.progress),
            _ => 0,
        };
        self.progress.apply(line, decoded);
        !matches!(until, Until::Mark(kind, _) if kind.count(&self.progress) != before)
    }
}
