//! One line's claims into [`Progress`].

use super::errors::{Occurrence, Place, TEXT_KEPT};
use super::feed::{FEED_LINE, FeedLine, Origin, cut};
use super::stream::{Retrying, Stream};
use super::text::duration;
use super::{Anomaly, Attempt, Errors, Exit, Progress, core};
use crate::protocol::{
    Checkpoint, Counts, Decoded, Failure, Kind, Level, Line, LineEnd, Log, Message, Millis, Name, ProgressReport,
    State, Status, StreamClaim, StreamReport, Where, mask,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The message of an error that has none.
const SILENT_ERROR: &str = "the stream ended with an error that says nothing";

/// Anomalies are kept by stream for so many streams; further ones are counted without a stream.
const ANOMALY_STREAMS: usize = 500;

/// Lines of an engine's stderr that are kept.
const STDERR_KEPT: usize = 20;

/// Asked-for streams remembered.
const ASKED_KEPT: usize = 10_000;

impl Progress {
    /// Takes in one line and what it was decoded to.
    pub fn apply(&mut self, line: &Line, decoded: Decoded) {
        self.input.lines += 1;
        self.input.bytes += line.length;
        match decoded {
            Decoded::Message { message, glued } => {
                self.input.messages += 1;
                if let Some(text) = glued {
                    self.note(Level::Info, Origin::Raw, None, None, text.trim_end());
                }
                self.message(message, line);
            }
            Decoded::Raw(raw) => {
                self.input.raw += 1;
                self.note(raw.level, Origin::Raw, None, None, &raw.text);
            }
            Decoded::Unknown { kind } => {
                self.input.unknown += 1;
                let text = format!("unknown message {kind}: {}", cut(&String::from_utf8_lossy(line.bytes), FEED_LINE));
                self.note(Level::Info, Origin::Unknown, None, None, &text);
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
                self.note(Level::Warn, Origin::Malformed, None, None, &format!("{what}: {head}"));
            }
        }
    }

    /// The input ended; `exit` is how the engine's process did, where we ran it.
    pub fn close(&mut self, exit: Option<Exit>) {
        self.closed = true;
        self.exit = exit;
        self.cause_from_log();
    }

    /// A message of any kind.
    fn message(&mut self, message: Message, line: &Line) {
        self.dialect = Some("stripe");
        if let Some(at) = message.at {
            self.first_at.get_or_insert(at);
            self.last_at = self.last_at.max(Some(at));
        }
        if let Some(from) = &message.from
            && self.emitters.len() < 8
            && !self.emitters.iter().any(|known| **known == **from)
        {
            self.emitters.push(from.as_ref().into());
        }
        // A log line in between does not part a start from the report that follows it.
        let start = if matches!(message.kind, Kind::Log(_)) { None } else { self.last_start.take() };
        match message.kind {
            Kind::Record(name) => self.record(&name),
            Kind::Checkpoint(checkpoint) => self.checkpoint(checkpoint),
            Kind::Stream(claim) => self.stream_claim(*claim, line),
            Kind::Progress(report) => {
                self.restarted_without_end(&report, start);
                self.progress(*report, line);
            }
            Kind::Failure(failure) => self.failure(*failure, line),
            Kind::Catalog(names) => self.catalog(&names),
            Kind::Connection { ok, message } => self.connection(ok, message.as_deref(), line),
            Kind::Log(log) => self.log(&log, message.from.as_deref()),
            Kind::End(end) => self.end(*end, line),
            Kind::Note(what) => {
                if what == "control" {
                    // A control message carries a configuration with secrets: that it came is all that is shown of it.
                    self.note(
                        Level::Info,
                        Origin::Log,
                        message.from.as_deref(),
                        None,
                        "control message (configuration not shown)",
                    );
                }
            }
        }
    }

    // Attempts.

    pub(super) fn begin_attempt(&mut self) {
        let first = self.attempts == 0;
        self.attempts += 1;
        self.attempt = Attempt {
            open: true,
            started_at: self.last_at,
            counters_known: first,
            // What was said of a connection before anything began belongs to this attempt.
            connection: if first { self.attempt.connection } else { None },
            ..Attempt::default()
        };
        if first {
            return;
        }
        let at = self.last_at;
        for stream in &mut self.streams {
            Arc::make_mut(stream).begin_attempt(at);
        }
        self.reported.begin_attempt();
        self.requests.begin_attempt();
        self.elapsed.begin_attempt();
        self.sum_attempt = 0;
        if let (Some(at), Some(count)) = (at, self.cumulative_records()) {
            self.rate.mark(at, count);
        }
    }

    /// A message about a stream came: without an attempt, or after an end, it begins one.
    fn stream_message(&mut self) {
        if !self.attempt.open {
            self.begin_attempt();
        }
        self.attempt.last_word_failed = false;
    }

    /// A new process without an end of the old one: a new start of its counters, no time elapsed, and counts that fell.
    fn restarted_without_end(&mut self, report: &ProgressReport, start: Option<(Arc<str>, bool)>) {
        let moved = report.started_at.is_some() && report.started_at != self.attempt.counters_since;
        let fresh = report.elapsed.running == Some(0);
        let fell = self.reported.fell(report.records) || report.checkpoints < self.engine_checkpoints;
        if self.attempts > 0
            && self.attempt.counters_since.is_some()
            && moved
            && fresh
            && fell
            && report.checkpoints.is_some()
        {
            // The start that came just before was this attempt's first, not a second one.
            if let Some((stream, true)) = &start {
                self.forget_anomaly(Anomaly::DuplicateStart, stream);
            }
            self.begin_attempt();
            if let Some(at) = start.and_then(|(stream, _)| self.index.get(stream.as_ref()).copied()) {
                let now = self.last_at;
                self.change(at, |stream| {
                    stream.resumed = stream.open_before;
                    stream.start_said = true;
                    stream.become_(Status::Started, now);
                });
            }
        }
    }

    // Streams.

    /// The place of a stream; a new one is made where it is not known yet.
    pub(super) fn place(&mut self, name: &Name) -> usize {
        if name.namespace.is_none()
            && self.streams.get(self.last_stream).is_some_and(|s| *s.name == *name.name && s.namespace.is_none())
        {
            return self.last_stream;
        }
        let key = name.key();
        if let Some(at) = self.index.get(key.as_ref()) {
            self.last_stream = *at;
            return *at;
        }
        let at = self.streams.len();
        let mut stream = Stream::named(&mask::secrets(&name.name));
        stream.namespace = name.namespace.as_deref().map(Into::into);
        self.streams.push(Arc::new(stream));
        Arc::make_mut(&mut self.index).insert(key.into(), at);
        let order = (name.name.as_ref(), name.namespace.as_deref());
        let streams = &self.streams;
        let by_name = Arc::make_mut(&mut self.by_name);
        let slot = by_name.partition_point(|at| {
            streams.get(*at as usize).is_some_and(|s| (s.name.as_ref(), s.namespace.as_deref()) < order)
        });
        by_name.insert(slot, u32::try_from(at).unwrap_or(u32::MAX));
        self.last_stream = at;
        at
    }

    /// The place of a stream that a message is about: where a catalog came, it should be in it.
    fn place_of_message(&mut self, name: &Name) -> usize {
        let at = self.place(name);
        if self.attempt.catalog && self.streams.get(at).is_some_and(|stream| !stream.in_catalog) {
            self.change(at, |stream| stream.in_catalog = true);
            let shown = self.streams.get(at).map(|stream| stream.name.clone());
            self.anomaly(Anomaly::UnknownStream, shown);
        }
        at
    }

    /// Changes one stream and keeps the sums over all of them true.
    pub(super) fn change<R>(&mut self, at: usize, change: impl FnOnce(&mut Stream) -> R) -> Option<R> {
        let stream = Arc::make_mut(self.streams.get_mut(at)?);
        let (attempt, cumulative) = (stream.records.attempt, stream.records.cumulative);
        let result = change(stream);
        let (now_attempt, now_cumulative) = (stream.records.attempt, stream.records.cumulative);
        if (attempt, cumulative) != (now_attempt, now_cumulative) {
            self.sum_known = true;
            self.sum_attempt =
                self.sum_attempt.saturating_add(now_attempt.unwrap_or(0)).saturating_sub(attempt.unwrap_or(0));
            self.sum_cumulative =
                self.sum_cumulative.saturating_add(now_cumulative.unwrap_or(0)).saturating_sub(cumulative.unwrap_or(0));
        }
        Some(result)
    }

    /// A range of a stream may have been completed: keeps the mean coverage true.
    fn ranges(&mut self, at: usize, change: impl FnOnce(&mut Stream)) {
        // Whole millionths, so that adding and taking away leaves no rest.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a million")]
        let share = |stream: &Stream| stream.coverage().map(|share| (share * 1e6) as u64);
        let Some(stream) = self.streams.get_mut(at).map(Arc::make_mut) else { return };
        let before = share(stream);
        change(stream);
        let now = share(stream);
        let (sum, count) = &mut self.coverage_shares;
        *sum = (*sum + now.unwrap_or(0)).saturating_sub(before.unwrap_or(0));
        *count = (*count + u32::from(now.is_some())).saturating_sub(u32::from(before.is_some()));
    }

    /// A count of this stream was reported or counted. One that is the same as before is a report too: its rate is zero, and known.
    fn count_stream(&mut self, at: usize) {
        let now = self.last_at;
        if let Some(stream) = self.streams.get_mut(at).map(Arc::make_mut)
            && let (Some(at), Some(count)) = (now, stream.records.cumulative)
        {
            stream.rate.report(at, count);
        }
    }

    fn count_total(&mut self) {
        if let (Some(at), Some(count)) = (self.last_at, self.cumulative_records()) {
            self.rate.report(at, count);
        }
    }

    fn catalog(&mut self, names: &[Name]) {
        self.begin_attempt();
        for at in 0..self.streams.len() {
            if self.streams.get(at).is_some_and(|stream| stream.in_catalog) {
                self.change(at, |stream| stream.in_catalog = false);
            }
        }
        for name in names {
            let at = self.place(name);
            self.change(at, |stream| stream.in_catalog = true);
        }
        // An empty list may be the head of one too long to hold, or of streams that nobody knew.
        self.attempt.catalog = !names.is_empty();
    }

    fn record(&mut self, name: &Name) {
        self.stream_message();
        let at = self.place_of_message(name);
        let now = self.last_at;
        self.change(at, |stream| {
            stream.counted += 1;
            if !stream.reported {
                stream.records.report(Counts { attempt: Some(stream.counted), ..Counts::default() });
            }
            stream.sign_of_life(now);
            if stream.status == Status::NotStarted {
                stream.become_(Status::Started, now);
            }
        });
        self.count_stream(at);
        self.count_total();
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        self.checkpoints += 1;
        self.last_checkpoint_at = self.last_at.or(self.last_checkpoint_at);
        let Some(name) = &checkpoint.stream else { return };
        self.stream_message();
        let at = self.place_of_message(name);
        let now = self.last_at;
        let odd = self.change(at, |stream| {
            stream.checkpoints += 1;
            stream.last_checkpoint_at = now.or(stream.last_checkpoint_at);
            let after_complete = stream.complete_said && !stream.early;
            let before_start = !stream.started_here() && !stream.complete_said;
            if before_start {
                stream.become_(Status::Started, now);
            }
            stream.sign_of_life(now);
            (before_start, after_complete, stream.name.clone())
        });
        if let Some((before_start, after_complete, name)) = odd {
            if before_start {
                self.anomaly(Anomaly::StateBeforeStart, Some(name.clone()));
            }
            if after_complete {
                self.anomaly(Anomaly::StateAfterComplete, Some(name));
            }
        }
        self.state_ranges(at, checkpoint.state);
    }

    /// The ranges that a source's state tells.
    pub(super) fn state_ranges(&mut self, at: usize, state: State) {
        if state.total.is_none() && state.completed.is_none() {
            return;
        }
        self.ranges(at, |stream| {
            stream.total_range = state.total.or(stream.total_range);
            if let Some(completed) = state.completed {
                stream.ranges = completed.into_iter().collect();
            }
        });
    }

    fn stream_claim(&mut self, claim: StreamClaim, line: &Line) {
        self.stream_message();
        let at = self.place_of_message(&claim.stream);
        let now = self.last_at;
        let attempt = self.attempts;
        if let Some(word) = &claim.odd_status {
            let text = format!("unknown stream status {word}");
            self.note(Level::Warn, Origin::Unknown, None, Some(&claim.stream.name), &text);
        }
        let counted = claim.records.said();
        let resumed = claim.records.attempt == Some(0) && claim.records.cumulative > Some(0);
        let outcome = self.change(at, |stream| {
            let mut doubled = false;
            match claim.status {
                Some(Status::Started) => {
                    doubled = stream.start_said && stream.status == Status::Started;
                    if !stream.start_said && (stream.open_before || resumed) {
                        stream.resumed = true;
                    }
                    stream.start_said = true;
                    stream.become_(Status::Started, now);
                }
                Some(Status::Completed) => {
                    stream.settling = claim.early && claim.records.said() && !stream.complete_said;
                    stream.complete_said = true;
                    stream.early = claim.early;
                    stream.become_(Status::Completed, now);
                }
                Some(Status::NotStarted) | None => {}
                Some(status) => drop(stream.become_(status, now)),
            }
            if claim.records.said() {
                stream.reported = true;
                stream.records.report(claim.records);
            }
            if let Some(text) = claim.error.as_ref().or(claim.reason.as_ref()) {
                stream.message = Some(mask::secrets(text).into());
            }
            (doubled, claim.status == Some(Status::Completed) && stream.made_up(attempt), stream.name.clone())
        });
        if let Some((doubled, clears, name)) = outcome {
            if doubled {
                self.anomaly(Anomaly::DuplicateStart, Some(name.clone()));
            }
            if claim.status == Some(Status::Started) {
                self.last_start = Some((name.clone(), doubled));
            }
            if clears {
                self.clear_stream(at, &name);
            }
        }
        if claim.total.is_some() || claim.completed.is_some() {
            self.ranges(at, |stream| {
                stream.total_range = claim.total.or(stream.total_range);
                if let Some(range) = claim.completed {
                    stream.ranges.add(range);
                }
            });
        }
        if claim.status == Some(Status::Errored) {
            self.failure(
                Failure {
                    level: Where::Stream,
                    failure_type: None,
                    stream: Some(claim.stream),
                    message: claim.error.or(claim.reason).unwrap_or(SILENT_ERROR.into()),
                    stack: None,
                    is_final: true,
                },
                line,
            );
        }
        if counted {
            self.count_stream(at);
            self.count_total();
        }
    }

    pub(super) fn progress(&mut self, report: ProgressReport, line: &Line) {
        if self.attempts == 0 {
            self.begin_attempt();
            self.attempt.counters_known = true;
        }
        if !self.attempt.counters_known && (report.records.running.is_some() || report.elapsed.running.is_some()) {
            self.attempt.counters_known = true;
            if self.counters_fell(&report) {
                self.reported.restart();
                self.elapsed.restart();
                for stream in &mut self.streams {
                    Arc::make_mut(stream).records.restart();
                }
            }
        }
        // A log that begins in the middle of a run of several attempts holds their counts before any sign of life.
        let theirs = report.checkpoints.filter(|count| *count > 0);
        let before = self.checkpoints == 0 && self.reported.cumulative.is_none() && !self.attempt.catalog;
        let resumed = self.attempts == 1 && before && theirs.is_some();
        if resumed {
            self.reported.resumed(report.records);
        }
        self.attempt.counters_since = report.started_at.or(self.attempt.counters_since);
        self.engine_checkpoints = report.checkpoints.or(self.engine_checkpoints);
        self.reported.report(report.records);
        self.requests.report(report.requests);
        if report.requests.attempt.is_none() {
            // Not said, and not worked out from a total either: an engine that does not count requests says 0 for ever.
            self.requests.attempt = None;
        }
        self.elapsed.report(report.elapsed);
        if !report.streams.is_empty() {
            self.attempt.last_word_failed = false;
        }
        // Before the streams, so that the error behind an errored status is known.
        self.listed_failures(report.errors, line);
        for (name, stream) in report.streams {
            self.stream_report(&name, stream, resumed, line);
        }
        self.count_total();
    }

    /// Whether any of the engine's own counters fell, so that all of them started again.
    fn counters_fell(&self, report: &ProgressReport) -> bool {
        self.reported.fell(report.records)
            || self.elapsed.fell(report.elapsed)
            || report.checkpoints.is_some_and(|now| Some(now) < self.engine_checkpoints)
            || report
                .streams
                .iter()
                .any(|(name, stream)| self.stream(&name.key()).is_some_and(|known| known.records.fell(stream.records)))
    }

    fn stream_report(&mut self, name: &Name, report: StreamReport, resumed: bool, line: &Line) {
        let at = self.place(name);
        let now = self.last_at;
        let attempt = self.attempts;
        let counted = report.records.said();
        let outcome = self.change(at, |stream| {
            match report.status {
                Some(Status::NotStarted) | None => {}
                Some(status) => {
                    let changed = stream.become_(status, now);
                    stream.complete_said |= changed && status == Status::Completed;
                }
            }
            let odd_status = report.odd_status.as_deref();
            let odd = odd_status.is_some() && odd_status != stream.odd_status.as_deref();
            stream.odd_status = odd_status.map(Into::into);
            if report.status == Some(Status::Completed) {
                stream.completed_message = report.message.as_deref().map(|text| mask::secrets(text).into());
            }
            if report.records.said() {
                stream.reported = true;
                if resumed {
                    stream.records.resumed(report.records);
                }
                stream.records.report(report.records);
                stream.resumed |= resumed && stream.status == Status::Started && stream.records.before() > 0;
            }
            if let Some(text) = &report.message
                && stream.message.as_deref() != Some(text)
            {
                stream.message = Some(mask::secrets(text).into());
            }
            stream.inserted = report.inserted.or(stream.inserted);
            stream.updated = report.updated.or(stream.updated);
            stream.deleted = report.deleted.or(stream.deleted);
            let clears = report.status == Some(Status::Completed) && stream.made_up(attempt);
            // Carried over from an earlier attempt it is no news; of this one nobody has said it yet.
            let news = stream.failed_in.is_none() || (stream.failed_in != Some(attempt) && stream.took_part());
            (clears, report.status == Some(Status::Errored) && news, odd, stream.name.clone())
        });
        if counted {
            self.count_stream(at);
        }
        let Some((clears, unheard, odd, name)) = outcome else { return };
        if odd {
            let word = report.odd_status.as_deref().unwrap_or_default();
            self.note(Level::Warn, Origin::Unknown, None, Some(&name), &format!("unknown stream status {word}"));
        }
        if clears {
            self.clear_stream(at, &name);
        }
        if unheard {
            self.stream_failure(&name, None, report.message.as_deref().unwrap_or(SILENT_ERROR), line);
        }
        let differs = self.streams.get(at).is_some_and(|stream| {
            report.total.is_some_and(|total| stream.total_range != Some(total))
                || report.completed.as_ref().is_some_and(|list| list.as_slice() != stream.ranges.list())
        });
        if differs {
            self.ranges(at, |stream| {
                stream.total_range = report.total.or(stream.total_range);
                if let Some(completed) = report.completed {
                    // A stream that goes on keeps what earlier attempts completed.
                    let before = if stream.resumed { stream.ranges_before.list() } else { &[] };
                    stream.ranges = completed.into_iter().chain(before.iter().copied()).collect();
                }
            });
        }
    }

    // Failures.

    fn clear_stream(&mut self, at: usize, name: &str) {
        self.errors.clear(name, self.attempts);
        self.change(at, |stream| (stream.failed_in, stream.failed_group) = (None, None));
    }

    /// An error that the engine said: counted each time.
    fn failure(&mut self, failure: Failure, line: &Line) {
        match &failure.stream {
            Some(_) => self.stream_message(),
            None => self.attempt.last_word_failed = true,
        }
        self.record_failure(failure, line);
    }

    /// Errors in a list that is said again and again: of each as many as the list has, once an attempt and stream.
    pub(super) fn listed_failures(&mut self, list: Vec<Failure>, line: &Line) {
        let mut seen: HashMap<(u64, Option<String>), u64> = HashMap::new();
        for failure in list {
            let message = mask::secrets(cut(&failure.message, TEXT_KEPT)).into_owned();
            let id = Errors::id(failure.level, failure.failure_type.as_deref(), &message);
            let stream = failure.stream.as_ref().map(|name| mask::secrets(&name.name).into_owned());
            let nth = seen.entry((id, stream.clone())).or_default();
            *nth += 1;
            let stream = stream.as_deref();
            let known = self.errors.known(id, stream, self.attempts) >= *nth
                || stream.is_some_and(|name| self.errors.has_text(name, self.attempts, &message));
            if !known {
                self.attempt.last_word_failed |= failure.stream.is_none();
                self.record_failure(failure, line);
            }
        }
    }

    /// An error that a stream's status or message tells, where nothing else did.
    pub(super) fn stream_failure(&mut self, name: &str, failure_type: Option<&str>, text: &str, line: &Line) {
        let failure = Failure {
            level: Where::Stream,
            failure_type: failure_type.map(Into::into),
            stream: Some(Name::plain(name.into())),
            message: text.into(),
            stack: None,
            is_final: true,
        };
        self.record_failure(failure, line);
    }

    fn record_failure(&mut self, failure: Failure, line: &Line) {
        let keep = |text: &str| -> Arc<str> { mask::secrets(cut(text, TEXT_KEPT)).into() };
        let message: Arc<str> = if failure.message.trim().is_empty() {
            "(an error without a message)".into()
        } else {
            keep(&failure.message)
        };
        let raw = line.bytes.get(..TEXT_KEPT * 2).unwrap_or(line.bytes);
        let slot = failure.stream.as_ref().map(|name| self.place(name));
        let stream = slot.and_then(|at| self.streams.get(at)).map(|stream| stream.name.clone());
        let id = self.errors.add(Occurrence {
            level: failure.level,
            failure_type: failure.failure_type.as_deref().map(|text| mask::secrets(text).into()),
            stream: stream.clone(),
            message: message.clone(),
            stack: failure.stack.as_deref().map(keep),
            raw: Some(mask::secrets(&String::from_utf8_lossy(raw)).into()),
            is_final: failure.is_final,
            place: Place { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream },
        });
        if let Some(slot) = slot {
            let attempt = self.attempts;
            self.change(slot, |stream| {
                stream.errors += 1;
                if failure.is_final {
                    (stream.failed_in, stream.failed_group) = (Some(attempt), Some(id));
                    stream.message = Some(message);
                }
            });
        }
    }

    fn connection(&mut self, ok: Option<bool>, message: Option<&str>, line: &Line) {
        let Some(ok) = ok else {
            let text = format!("connection status that nobody knows: {}", message.unwrap_or("(no message)"));
            return self.note(Level::Warn, Origin::Unknown, None, None, &text);
        };
        self.attempt.connection = Some(ok);
        // Without a message the cause has to come from elsewhere.
        if let Some(message) = message.filter(|_| !ok) {
            let failure = Failure {
                level: Where::Global,
                failure_type: None,
                stream: None,
                message: message.into(),
                stack: None,
                is_final: true,
            };
            self.listed_failures(vec![failure], line);
        }
    }

    // Logs.

    fn log(&mut self, log: &Log, from: Option<&str>) {
        for name in &log.asked {
            if self.asked.len() < ASKED_KEPT && !self.asked.iter().any(|known| **known == **name) {
                self.asked.push(name.as_ref().into());
            }
        }
        if let Some(retry) = &log.retry {
            self.retries += 1;
            let now = self.last_at.unwrap_or(0);
            let at = log.stream.as_deref().and_then(|name| self.index.get(name).copied());
            if let Some(at) = at {
                self.change(at, |stream| {
                    let count = stream.retry.as_ref().map_or(0, |retry| retry.count) + 1;
                    stream.retry = Some(Retrying {
                        status: retry.status,
                        count,
                        attempt: retry.attempt,
                        max: retry.max,
                        last_at: now,
                        until: now.saturating_add(Millis::try_from(retry.delay_ms).unwrap_or(0)),
                        error: retry.error.as_deref().map(|text| mask::secrets(cut(text, FEED_LINE)).into()),
                    });
                });
            }
        }
        // What is retried and why comes first: it is what a narrow pane has room for.
        let text = match &log.retry {
            Some(retry) => {
                let what = retry.status.map_or_else(|| "connection".to_owned(), |status| format!("HTTP {status}"));
                let of = retry.max.map(|max| format!("/{max}")).unwrap_or_default();
                let error = retry.error.as_deref().map(core).unwrap_or_default();
                let delay = duration(retry.delay_ms);
                format!("{what}, retry {}{of} in {delay}: {error} ({})", retry.attempt, log.message)
            }
            None => log.message.to_string(),
        };
        if log.level >= Level::Error && !log.message.trim().is_empty() {
            let place = Place { line: self.input.lines, at: self.last_at, attempt: self.attempts, stream: None };
            self.last_log_error = Some((mask::secrets(cut(&log.message, TEXT_KEPT)).into(), place));
        }
        self.note(log.level, Origin::Log, from, log.stream.as_deref(), &text);
    }

    /// Something that happened to the feed itself (a file was replaced, is gone, cannot be read).
    pub fn notice(&mut self, text: &str) {
        self.note(Level::Warn, Origin::Source, None, None, text);
    }

    /// A line that an engine of ours wrote to stderr; the last ones are kept for the case that it dies.
    pub fn stderr(&mut self, line: &str) {
        if self.stderr_tail.len() >= STDERR_KEPT {
            self.stderr_tail.pop_front();
        }
        self.stderr_tail.push_back(mask::secrets(cut(line, FEED_LINE)).into());
    }

    /// One line for the feed log, secrets masked.
    fn note(&mut self, level: Level, origin: Origin, from: Option<&str>, stream: Option<&str>, text: &str) {
        self.feed.push(FeedLine {
            line: self.input.lines,
            at: self.last_at,
            level,
            origin,
            from: from.map(Into::into),
            stream: stream.map(Into::into),
            text: mask::secrets(cut(if text.is_empty() { "(no message)" } else { text }, FEED_LINE)).into(),
            times: 1,
        });
    }

    // Anomalies.

    fn anomaly(&mut self, kind: Anomaly, stream: Option<Arc<str>>) {
        let key = (kind, stream);
        let room = self.anomalies.len() < ANOMALY_STREAMS || self.anomalies.contains_key(&key);
        *self.anomalies.entry(if room { key } else { (kind, None) }).or_default() += 1;
    }

    fn forget_anomaly(&mut self, kind: Anomaly, stream: &Arc<str>) {
        let key = (kind, Some(stream.clone()));
        if let Some(count) = self.anomalies.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.anomalies.remove(&key);
            }
        }
    }
}
