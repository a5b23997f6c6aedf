//! Lines in envelopes and behind prefixes: joins their parts, and applies their clock.

use crate::protocol::envelope::{Opened, Output};
use crate::protocol::{Decoded, Decoder, LINE_LIMIT, Level, Line, LineEnd};
use crate::reduce::state::feed::{FEED_LINE, FeedOrigin, cut};
use crate::reduce::state::parts::Part;
use crate::reduce::state::progress::Progress;

impl Progress {
    /// Applies a line that had an envelope or a prefix; `end` is that of the line around it.
    pub(crate) fn wrapped(&mut self, opened: Opened, end: LineEnd, decoder: &Decoder) {
        self.wrapped_once(opened, end, decoder, false);
    }

    /// Applies an opened line; `is_joined` if it was itself in the joined parts of a line.
    fn wrapped_once(&mut self, opened: Opened, end: LineEnd, decoder: &Decoder, is_joined: bool) {
        let pending = self.parts.take(opened.output);
        if opened.continues {
            let mut part = pending.unwrap_or_default();
            part.text.push_str(&opened.text);
            self.input.parts += 1;
            if part.text.len() > LINE_LIMIT {
                return self.part_lost(&part);
            }
            return self.parts.put(opened.output, part);
        }
        let mut scratch = String::new();
        if let Some(mut part) = pending {
            let start = part.text.len();
            part.text.push_str(&opened.text);
            let decoded = decoder.decode(&whole(&part.text, end), &mut scratch);
            let is_whole = matches!(decoded, Decoded::Message { glued: None, .. });
            drop(decoded);
            // A program that was killed inside a line leaves a part that nothing continues.
            if is_whole || !decoder.is_message(&opened.text) {
                self.input.joined += u64::from(!is_joined);
                let line = whole(&part.text, end);
                let mut scratch = String::new();
                return match decoder.decode(&line, &mut scratch) {
                    // The parts may hold a line with an envelope or prefix of its own.
                    Decoded::Wrapped(inner) if !is_joined => self.wrapped_once(*inner, end, decoder, true),
                    decoded => self.opened(&line, decoded, &opened),
                };
            }
            part.text.truncate(start);
            self.part_lost(&part);
        }
        self.input.joined += u64::from(opened.is_enveloped && !is_joined);
        let line = whole(&opened.text, end);
        self.opened(&line, decoder.decode(&line, &mut scratch), &opened);
    }

    /// Applies the decoded text of an opened line.
    fn opened(&mut self, line: &Line, decoded: Decoded, opened: &Opened) {
        match decoded {
            Decoded::Message { mut message, glued } => {
                let has_timed_records = self.context.has_timed_records || message.at.is_some();
                opened.set_time(&mut message);
                self.context.has_outer_time = !message.is_stamped;
                self.classified(line, Decoded::Message { message, glued }, None);
                self.context.has_outer_time = false;
                self.context.has_timed_records &= has_timed_records;
            }
            // More layers than are opened.
            Decoded::Wrapped(inner) => {
                self.input.raw += 1;
                self.note(Level::Info, FeedOrigin::Raw, None, None, &inner.text);
            }
            other => {
                self.see_time(opened.clock.map(|clock| clock.at));
                if let (Some(Output::Stderr), Decoded::Raw(raw)) = (opened.output, &other) {
                    self.keep_last_words(&raw.text);
                }
                self.classified(line, other, None);
            }
        }
    }

    /// Counts parts of a line whose end never came as one malformed line.
    fn part_lost(&mut self, part: &Part) {
        self.input.parts -= 1;
        self.input.malformed += 1;
        let text = format!("parts of a line whose end is missing: {}", cut(&part.text, FEED_LINE));
        self.note(Level::Warn, FeedOrigin::Malformed, None, None, &text);
    }

    /// Ends the input inside parts of a line.
    pub(crate) fn end_parts(&mut self) {
        for part in self.parts.drain() {
            self.part_lost(&part);
            self.input.truncated_line = true;
        }
    }
}

fn whole(text: &str, end: LineEnd) -> Line<'_> {
    Line::whole(text.as_bytes(), end)
}
