//! Applies batches of lines to [`Progress`]: the same result as line by line, faster. Work that is
//! independent of earlier lines (decoding, fingerprints of log lines) is done when a batch is built,
//! possibly on another thread; the rest when it is applied.

use crate::protocol::python::Traceback;
use crate::protocol::{Counts, Decoded, Decoder, Dialect, Kind, Line, Message, Millis, Name, Origin, RawLine, Record};
use crate::reduce::past::history::GAP_MS;
use crate::reduce::rules::notes::{Note, RetryReason, log_note};
use crate::reduce::state::input::Anomaly;
use crate::reduce::state::progress::{Counters, Progress};
use crate::reduce::state::rates::{BUCKET_MS, Rates};
use crate::reduce::state::stream::Stream;
use std::borrow::Cow;
use std::sync::Arc;

/// Maximum number of steps of a batch: a chunk of very short lines is several batches.
const MAX_STEPS: usize = 8_192;

/// Decoded lines in order. Consecutive records of one stream are folded to their times, and
/// consecutive equal lines of text to their number.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    steps: Vec<Step<'a>>,
    /// Messages of the steps, in order. They are apart because steps are moved often.
    messages: Vec<Message<'a>>,
    /// Records of the steps, in order, and their times.
    records: Vec<Records<'a>>,
    times: Vec<Option<Millis>>,
    /// Feed texts of the steps that are log lines, in order.
    notes: Vec<Note<'a>>,
    retry_reason: RetryReason,
    /// Time of the last record.
    clock: Option<Millis>,
}

#[derive(Debug)]
enum Step<'a> {
    Records,
    /// A line with nothing but a message.
    Message(Line<'a>),
    /// Another decoded line.
    Other(Line<'a>, Box<Decoded<'a>>),
    /// A line of text, and the number of consecutive lines with the same bytes.
    Raw(Line<'a>, RawLine<'a>, u64),
    /// A line that needs repair: decoded when it is applied.
    Slow(Line<'a>),
}

/// Consecutive record lines of one stream.
#[derive(Debug)]
struct Records<'a> {
    name: Name<'a>,
    from: Option<Cow<'a, str>>,
    /// Protocol, and true if the times are those of the engine itself.
    kind: (Option<Dialect>, bool),
    /// First of the lines, and the measure of its data.
    first: Line<'a>,
    measure: Option<u64>,
    /// Bytes of all lines.
    bytes: u64,
    /// Measure of the data of all lines after the first.
    rest: Option<u64>,
    count: usize,
}

impl<'a> Batch<'a> {
    /// Takes the first lines of `bytes` into a batch: all of them, unless they are many and short.
    /// A rest after the last newline counts as the last line of the input.
    #[must_use]
    pub fn take_lines(decoder: &Decoder, bytes: &mut &'a [u8]) -> Self {
        Self::default().take_more(decoder, bytes)
    }

    /// Takes the first lines of `bytes` into an empty batch, as [`Self::take_lines`] does.
    #[must_use]
    pub fn take_more(mut self, decoder: &Decoder, bytes: &mut &'a [u8]) -> Self {
        let taken = decoder.each(bytes, |line, message| {
            match message {
                Some(message) => self.message(line, message),
                None => self.other(line, decoder.decode_slowly(&line)),
            }
            self.steps.len() < MAX_STEPS
        });
        *bytes = bytes.get(taken..).unwrap_or_default();
        self
    }

    /// Empties an applied batch, so that its memory serves for other bytes.
    #[must_use]
    pub fn recycle<'b>(self) -> Batch<'b> {
        // Collecting nothing from a vector reuses its memory; only the lifetime differs.
        fn emptied<T, U>(all: Vec<T>) -> Vec<U> {
            all.into_iter().map_while(|_| None).collect()
        }
        let Self { steps, messages, records, mut times, notes, retry_reason, clock: _ } = self;
        times.clear();
        Batch {
            steps: emptied(steps),
            messages: emptied(messages),
            records: emptied(records),
            times,
            notes: emptied(notes),
            retry_reason,
            clock: None,
        }
    }

    /// Returns the batches of every line of `bytes`.
    pub fn all(decoder: &Decoder, mut bytes: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || (!bytes.is_empty()).then(|| Self::take_lines(decoder, &mut bytes)))
    }

    /// Builds a batch of one line of any length.
    #[must_use]
    pub fn of_line(decoder: &Decoder, line: Line<'a>) -> Self {
        let mut batch = Self::default();
        batch.other(line, decoder.decode_in_place(&line));
        batch
    }

    /// Takes a line that the fast path does not decode; `None` if it needs a repair.
    fn other(&mut self, line: Line<'a>, decoded: Option<Decoded<'a>>) {
        match decoded {
            Some(Decoded::Message { message, glued: None }) => self.message(line, message),
            Some(Decoded::Raw(raw)) => match self.steps.last_mut() {
                Some(Step::Raw(before, _, times)) if before.bytes == line.bytes && before.length == line.length => {
                    *times += 1;
                }
                _ => self.steps.push(Step::Raw(line, raw, 1)),
            },
            Some(decoded) => {
                if let Decoded::Message { message: Message { kind: Kind::Log(log), .. }, .. } = &decoded {
                    self.notes.push(log_note(log, &mut self.retry_reason));
                }
                self.steps.push(Step::Other(line, Box::new(decoded)));
            }
            None => self.steps.push(Step::Slow(line)),
        }
    }

    #[inline]
    fn message(&mut self, line: Line<'a>, message: Message<'a>) {
        match message {
            Message { at, from, dialect, origin: Origin::Protocol, is_stamped, kind: Kind::Record(record) }
                if !record.partial =>
            {
                self.record(at, from, (dialect, is_stamped), record, line);
            }
            message => {
                if let Kind::Log(log) = &message.kind {
                    self.notes.push(log_note(log, &mut self.retry_reason));
                }
                self.steps.push(Step::Message(line));
                self.messages.push(message);
            }
        }
    }

    fn record(
        &mut self,
        at: Option<Millis>,
        from: Option<Cow<'a, str>>,
        kind: (Option<Dialect>, bool),
        record: Record<'a>,
        line: Line<'a>,
    ) {
        // A silence separates two folds, so that `each` sees it. A record without a time counts at
        // the preceding time.
        let silent = self.clock.zip(at).is_some_and(|(before, at)| at.saturating_sub(before) >= GAP_MS);
        self.clock = at.or(self.clock);
        self.times.push(at);
        if let Some(Step::Records) = self.steps.last()
            && let Some(run) = self.records.last_mut()
            && run.name == record.stream
            && run.from == from
            && run.kind == kind
            && run.rest.is_some() == record.measure.is_some()
            && !silent
        {
            run.count += 1;
            run.bytes += line.length;
            if let (Some(rest), Some(units)) = (&mut run.rest, record.measure) {
                *rest += units;
            }
        } else {
            let (bytes, name, measure) = (line.length, record.stream, record.measure);
            let rest = measure.map(|_| 0);
            self.steps.push(Step::Records);
            self.records.push(Records { name, from, kind, first: line, measure, bytes, rest, count: 1 });
        }
    }
}

impl Progress {
    /// Applies a batch that was built with `decoder`, and empties it.
    pub fn apply_batch(&mut self, batch: &mut Batch, decoder: &Decoder) {
        self.apply_batch_with(batch, decoder, |_, _| ());
    }

    /// Applies a batch, empties it, and calls `each` after every line, and (with `true`) after consecutive
    /// records without a silence between them.
    pub fn apply_batch_with(&mut self, batch: &mut Batch, decoder: &Decoder, mut each: impl FnMut(&mut Self, bool)) {
        let mut times = batch.times.as_slice();
        let (mut messages, mut records) = (batch.messages.drain(..), batch.records.drain(..));
        let mut notes = batch.notes.drain(..);
        for step in batch.steps.drain(..) {
            let mut run = false;
            match step {
                Step::Records => {
                    let Some(records) = records.next() else { continue };
                    run = records.count > 1;
                    let (mine, rest) = times.split_at_checked(records.count).unwrap_or_default();
                    times = rest;
                    self.records(records, mine, &mut each);
                }
                Step::Raw(line, raw, times) => {
                    run = times > 1;
                    self.raw_lines(&line, &raw, times, decoder, &mut each);
                }
                Step::Message(line) => {
                    let Some(message) = messages.next() else { continue };
                    let note = if matches!(message.kind, Kind::Log(_)) { notes.next() } else { None };
                    self.apply_message(&line, message, note);
                }
                Step::Other(line, decoded) => {
                    let is_log =
                        matches!(&*decoded, Decoded::Message { message, .. } if matches!(message.kind, Kind::Log(_)));
                    let note = if is_log { notes.next() } else { None };
                    self.apply_noted(&line, *decoded, note, decoder);
                }
                Step::Slow(line) => {
                    let mut scratch = String::new();
                    let decoded = decoder.decode(&line, &mut scratch);
                    self.apply(&line, decoded, decoder);
                }
            }
            each(self, run);
        }
        batch.times.clear();
        batch.clock = None;
    }

    /// Applies consecutive lines with the same text. `each` sees all but the last, unless they only
    /// repeat it.
    fn raw_lines(
        &mut self,
        line: &Line,
        raw: &RawLine,
        times: u64,
        decoder: &Decoder,
        each: &mut impl FnMut(&mut Self, bool),
    ) {
        for number in 1..=times {
            let (before, was_closed) = (self.evidence.raw_traceback, self.evidence.secret.is_closed());
            self.apply_noted(line, Decoded::Raw(raw.clone()), None, decoder);
            if number == times {
                return;
            }
            // The second line has shown the effect of a repetition, if the text changes no state.
            let is_plain = was_closed
                && self.evidence.secret.is_closed()
                && raw.of.is_none()
                && !self.dialect.is_some_and(|dialect| dialect.traits().errors_on_stderr)
                && (before, self.evidence.raw_traceback) == (Traceback::None, Traceback::None);
            each(self, false);
            if is_plain && number > 1 {
                let rest = times - number;
                self.input.lines += rest;
                self.input.raw += rest;
                self.input.bytes += line.length * rest;
                self.feed.repeat(rest, self.input.lines);
                return;
            }
        }
    }

    /// Applies consecutive record lines of one stream. `each` sees the first one separately,
    /// because only the first can set a mark.
    fn records(&mut self, records: Records, times: &[Option<Millis>], each: &mut impl FnMut(&mut Self, bool)) {
        let Some((first, rest)) = times.split_first() else { return };
        let before = self.input.unknown;
        let (dialect, is_stamped) = records.kind;
        let record = Record { stream: records.name, measure: records.measure, partial: false, not_numbers: 0 };
        let message = Message {
            at: *first,
            from: records.from,
            dialect,
            origin: Origin::Protocol,
            is_stamped,
            kind: Kind::Record(record),
        };
        self.apply_message(&records.first, message, None);
        if rest.is_empty() {
            return;
        }
        let slot = self.lookup.last_stream;
        each(self, false);
        self.lookup.last_stream = slot;
        self.input.lines += rest.len() as u64;
        self.input.bytes += records.bytes - records.first.length;
        if self.input.unknown > before {
            // The first line is of another protocol than the feed, and so are the others.
            self.input.unknown += rest.len() as u64;
            self.feed.repeat(rest.len() as u64, self.input.lines);
            return;
        }
        self.context.has_timed_records |= rest.iter().any(Option::is_some);
        // An event between two lines may have ended the run.
        self.stream_message();
        self.input.messages += rest.len() as u64;
        let (count, bytes, measure) = (rest.len() as u64, records.bytes - records.first.length, records.rest);
        let late = self.traits().states_may_follow_complete && !self.traits().first_status_is_final;
        // The first record opened the attempt and started the stream, as the others need it.
        let Some(stream) = self.streams.get_mut(self.lookup.last_stream).map(Arc::make_mut) else {
            for at in rest {
                self.see_message_time(*at, is_stamped);
                self.counters.beyond.mention();
                self.count_beyond(1);
                self.count_total();
            }
            return;
        };
        stream.add_record_lines(count, bytes, measure);
        let after_complete = stream.complete_reported && !stream.early && !late;
        let label = after_complete.then(|| stream.label.clone());
        let (mut jumps, clock) = (0, self.context.clocks.of(is_stamped));
        let counters = &mut self.counters;
        let bucket = |at: Millis| at.div_euclid(BUCKET_MS);
        // Reports of one bucket of the rates have the same effect as the last of them: only the
        // first report in a bucket spreads its records over earlier ones.
        let mut unreported = 0;
        for at in rest {
            let before = self.last_at;
            if let Some(at) = at {
                let (at, is_odd) = clock.advance(*at);
                jumps += u64::from(is_odd);
                if let Some(at) = at {
                    self.first_at.get_or_insert(at);
                    self.last_at = self.last_at.max(Some(at));
                }
            }
            if unreported > 0 && self.last_at.map(bucket) != before.map(bucket) {
                counters.count_records(stream, std::mem::take(&mut unreported), before);
            }
            stream.sign_of_life(self.last_at);
            unreported += 1;
            let is_reported = |rate: &Rates| rate.last_at().map(bucket) == self.last_at.map(bucket);
            if !(is_reported(&stream.rate) && is_reported(&counters.rate)) {
                counters.count_records(stream, std::mem::take(&mut unreported), self.last_at);
            }
        }
        counters.count_records(stream, unreported, self.last_at);
        if jumps > 0 {
            self.anomaly_times(Anomaly::TimeJump, None, jumps);
        }
        if label.is_some() {
            self.anomaly_times(Anomaly::RecordAfterComplete, label, count);
        }
    }
}

impl Counters {
    /// Counts record lines of a stream, and reports the counts to the rates.
    fn count_records(&mut self, stream: &mut Stream, lines: u64, now: Option<Millis>) {
        if lines == 0 {
            return;
        }
        stream.counted += lines;
        if !stream.reported {
            let before = stream.records;
            stream.records.report(Counts { attempt: Some(stream.count_here()), ..Counts::default() });
            self.sums.moved(&before, &stream.records);
        }
        let Some(now) = now else { return };
        if let Some(count) = stream.records.cumulative.get() {
            stream.rate.report(now, count);
        }
        if let Some(count) = self.reported.cumulative.get().max(self.sums.cumulative()) {
            self.rate.report(now, count);
        }
    }
}
