//! Applies one line to [`Progress`]: classifies it and dispatches its message to the rules.

use crate::protocol::python::Traceback;
use crate::protocol::{
    Decoded, Decoder, Dialect, Kind, Level, Line, LineEnd, Log, Message, Millis, Name, Origin, ProtocolTraits, clean,
    mask, platform_log, text_level,
};
use crate::reduce::rules::notes::Note;
use crate::reduce::state::clock::is_plausible;
use crate::reduce::state::errors::TEXT_KEPT;
use crate::reduce::state::feed::{FEED_LINE, FeedOrigin, cut};
use crate::reduce::state::input::{Anomaly, Exit};
use crate::reduce::state::progress::Progress;

/// True if a message does not show that the input is a feed: a log line that other programs write
/// too, or a message behind text that is no known prefix.
fn is_weak(message: &Message, glued: Option<&str>) -> bool {
    let is_text = |glue: &str| !clean::line(glue).trim().is_empty() && !glue.starts_with('{');
    message.origin == Origin::Log || glued.is_some_and(is_text)
}

impl Progress {
    /// Applies one line and its decoded form. `decoder` decodes lines that were wrapped.
    pub fn apply(&mut self, line: &Line, decoded: Decoded, decoder: &Decoder) {
        self.apply_noted(line, decoded, None, decoder);
    }

    /// Applies one line, with the prepared feed text if it is a log line.
    pub(crate) fn apply_noted(&mut self, line: &Line, decoded: Decoded, note: Option<Note>, decoder: &Decoder) {
        self.count_line(line);
        if let Decoded::Wrapped(opened) = decoded {
            return self.wrapped(*opened, line.end, decoder);
        }
        self.classified(line, decoded, note);
    }

    /// Applies a line with nothing but a message, with the prepared feed text if it is a log line.
    #[inline]
    pub(crate) fn apply_message(&mut self, line: &Line, message: Message, note: Option<Note>) {
        self.count_line(line);
        self.line_with_message(line, message, None, note);
    }

    #[inline]
    fn count_line(&mut self, line: &Line) {
        self.input.lines += 1;
        self.input.bytes += line.length;
    }

    /// Counts a line in its class, and applies it.
    #[inline]
    pub(crate) fn classified(&mut self, line: &Line, decoded: Decoded, note: Option<Note>) {
        match decoded {
            Decoded::Wrapped(_) => {}
            Decoded::Message { message, glued } => self.line_with_message(line, message, glued.as_deref(), note),
            Decoded::Raw(raw) if raw.of.is_some() && raw.of == self.dialect => {
                self.input.messages += 1;
                self.log(&Log { level: raw.level, message: raw.text, ..Log::default() }, None, None);
            }
            Decoded::Raw(mut raw) => {
                self.input.raw += 1;
                if self.evidence.secret.covers(&raw.text) {
                    raw.text = mask::MASK.into();
                }
                if self.input.messages == 0 && self.evidence.platform.is_none() {
                    let found = platform_log(&raw.text);
                    self.evidence.platform = found.map(|log| (log.name.into(), log.advice.into()));
                }
                if self.dialect.is_some_and(|dialect| dialect.traits().errors_on_stderr) {
                    // Stdout and stderr of the engine share this feed.
                    self.parse_stderr_line(&raw.text);
                } else if !self.append_traceback_line(&raw.text) {
                    if raw.level >= Level::Error {
                        self.evidence.last_raw_error = Some(mask::secrets(cut(&raw.text, FEED_LINE)).into());
                    }
                    self.note(raw.level, FeedOrigin::Raw, None, None, &raw.text);
                }
            }
            Decoded::Unknown { kind } => {
                self.input.unknown += 1;
                let text = format!("unknown message {kind}: {}", cut(&String::from_utf8_lossy(line.bytes), FEED_LINE));
                self.note(Level::Info, FeedOrigin::Unknown, None, None, &text);
            }
            Decoded::Malformed { torn } => {
                self.input.malformed += 1;
                self.input.truncated_line |= torn && line.end == LineEnd::Input;
                let head = String::from_utf8_lossy(line.bytes.get(..FEED_LINE).unwrap_or(line.bytes));
                let what = if torn {
                    "the input ends inside a line"
                } else {
                    "a line that looks like JSON and does not parse"
                };
                self.note(Level::Warn, FeedOrigin::Malformed, None, None, &format!("{what}: {head}"));
            }
        }
    }

    /// Counts and applies a line that has a message, alone or after the text `glued`.
    #[inline]
    pub(crate) fn line_with_message(&mut self, line: &Line, message: Message, glued: Option<&str>, note: Option<Note>) {
        // A metric or a quoted message alone does not make a feed of a text log.
        if !self.dialect_firm && is_weak(&message, glued) {
            return self.weak_message(line, &message);
        }
        if !self.accepts_dialect(message.dialect, message.origin == Origin::Protocol) {
            return self.foreign_message(&message);
        }
        self.input.messages += 1;
        self.evidence.raw_traceback = Traceback::None;
        if let Some(text) = glued {
            self.note(Level::Info, FeedOrigin::Raw, None, None, text.trim_end());
        }
        self.message(message, line, note);
    }

    /// Counts a line whose message does not show that the input is a feed.
    fn weak_message(&mut self, line: &Line, message: &Message) {
        self.input.raw += 1;
        let mut text = String::from_utf8_lossy(line.bytes);
        if self.evidence.secret.covers(&text) {
            text = mask::MASK.into();
        }
        if message.origin == Origin::Log {
            self.stderr.parser.buffer_feed_line(&mask::secrets(cut(&text, TEXT_KEPT)));
        }
        let level = text_level(&text).unwrap_or_default();
        self.note(level, FeedOrigin::Raw, None, None, &text);
    }

    /// Counts a message of another protocol than that of the feed.
    fn foreign_message(&mut self, message: &Message) {
        self.input.unknown += 1;
        let other = message.dialect.map_or("", Dialect::as_str);
        let text = format!("a message of another protocol ({other}); --dialect {other} reads these");
        self.note(Level::Info, FeedOrigin::Unknown, None, None, &text);
    }

    /// True if a message belongs to the protocol of this feed, which the first message decides.
    pub(crate) fn accepts_dialect(&mut self, dialect: Option<Dialect>, is_conclusive: bool) -> bool {
        let Some(dialect) = dialect else { return true };
        // A protocol recognized by a log line gives way to that of the first real message.
        if self.dialect.is_none() || (is_conclusive && !self.dialect_firm) {
            self.dialect = Some(dialect);
            self.dialect_firm = is_conclusive;
            self.apply_buffered_lines();
            self.apply_buffered_feed_lines();
        }
        self.dialect.is_some_and(|mine| mine.is_compatible_with(dialect))
    }

    /// Resolves a record without a known namespace to the only stream of that name, if there is
    /// exactly one.
    pub(crate) fn resolve_by_name<'a>(&self, name: Name<'a>) -> Name<'a> {
        let mut known = self.streams.iter().filter(|stream| *stream.name == *name.name);
        match (known.next(), known.next()) {
            (Some(one), None) => one.identity(),
            _ => name,
        }
    }

    /// Returns the traits of the feed's protocol.
    #[must_use]
    pub fn traits(&self) -> &'static ProtocolTraits {
        self.dialect.map_or(&ProtocolTraits::DEFAULT, Dialect::traits)
    }

    /// Closes the input. `exit` is the exit of the engine's process, if known.
    pub fn close(&mut self, exit: Option<Exit>) {
        self.closed = true;
        self.exit = exit;
        for is_stamped in [false, true] {
            if self.context.clocks.of(is_stamped).end() {
                self.anomaly(Anomaly::TimeJump, None);
            }
        }
        self.end_parts();
        self.settle_run();
        self.apply_process_end();
        self.cause_from_log();
    }

    /// Advances the clock of the feed, which never steps back, to the time of a prefix or envelope.
    pub(crate) fn see_time(&mut self, at: Option<Millis>) {
        if let Some(at) = at.filter(|at| is_plausible(*at)) {
            self.first_at.get_or_insert(at);
            self.last_at = self.last_at.max(Some(at));
        }
    }

    /// Advances the clock of the feed to the time of a message.
    pub(crate) fn see_message_time(&mut self, at: Option<Millis>, is_stamped: bool) {
        let Some(at) = at.filter(|_| !self.context.has_outer_time) else { return self.see_time(at) };
        let (at, is_odd) = self.context.clocks.of(is_stamped).advance(at);
        self.see_time(at);
        if is_odd {
            self.anomaly(Anomaly::TimeJump, None);
        }
    }

    /// Applies a message of any kind.
    pub(crate) fn message(&mut self, message: Message, line: &Line, note: Option<Note>) {
        self.context.before_at = self.last_at;
        self.see_message_time(message.at, message.is_stamped);
        if let Some(from) = &message.from
            && self.emitters.len() < 8
            && !self.emitters.iter().any(|known| **known == **from)
        {
            self.emitters.push(from.as_ref().into());
        }
        // A log line between a start and the report that follows it does not separate them.
        let start = if matches!(message.kind, Kind::Log(_)) { None } else { self.context.last_start.take() };
        match message.kind {
            Kind::Record(record) if record.partial => {
                let name = self.resolve_by_name(record.stream);
                self.record(&name, line.length, record.measure);
            }
            Kind::Record(record) => {
                self.context.has_timed_records |= message.at.is_some();
                self.record(&record.stream, line.length, record.measure);
                if record.not_numbers > 0 {
                    let stream = self.streams.get(self.lookup.last_stream).map(|stream| stream.label.clone());
                    self.anomaly_times(Anomaly::NotJsonNumber, stream, record.not_numbers.into());
                }
            }
            Kind::Deletion(name) => self.deletion(&name),
            Kind::UncountedRecords(name) => self.hidden(&name),
            Kind::Checkpoint(mut checkpoint) => {
                let failures = std::mem::take(&mut checkpoint.failures);
                self.checkpoint(*checkpoint);
                self.failures_in_state(failures, line);
            }
            Kind::Estimate(estimate) => self.estimate(&estimate),
            Kind::Metered(metered) => self.metered(&metered),
            Kind::Stream(claim) => self.stream_claim(*claim, line),
            Kind::Progress(report) => {
                self.reported_behind_end(&report);
                self.restarted_without_end(&report, start);
                self.progress(*report, line);
            }
            Kind::Failure(failure) => self.failure(*failure, line),
            Kind::Catalog(names) => self.catalog(&names),
            Kind::AvailableStreams(names) => self.offer(&names),
            Kind::Connection { ok, message } => self.connection(ok, message.as_deref(), line),
            Kind::Log(mut log) => {
                let is_covered = self.evidence.secret.covers(&log.message);
                if is_covered {
                    log.message = mask::MASK.into();
                }
                self.log(&log, message.from.as_deref(), note.filter(|_| !is_covered));
            }
            Kind::Relayed(relayed) => self.relayed(message.from.as_deref(), &relayed),
            Kind::ProgramExit(exit) => self.program_exit(&exit),
            Kind::End(end) => self.end(*end, line),
            Kind::Stopping => {
                self.note_abort();
                self.note(
                    Level::Warn,
                    FeedOrigin::Log,
                    message.from.as_deref(),
                    None,
                    "asked to stop: it ends before it is finished",
                );
            }
            Kind::Answer => self.requested.answered = true,
            Kind::Note(what) => {
                if what == "control" {
                    // A control message carries a configuration with secrets, so its content is not
                    // shown.
                    self.note(
                        Level::Info,
                        FeedOrigin::Log,
                        message.from.as_deref(),
                        None,
                        "control message (configuration not shown)",
                    );
                }
            }
        }
        self.context.before_at = None;
    }
}
