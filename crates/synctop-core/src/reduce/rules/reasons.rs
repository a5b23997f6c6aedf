//! Words of the log at the end of a run: warnings that name the reason of a missing stream, errors
//! that no message reported, and failures that a state reports.

use crate::protocol::python::is_exception;
use crate::protocol::{ErrorLevel, Failure, Line, Name, Status, is_generic_error};
use crate::reduce::rules::failures::NO_LINE;
use crate::reduce::state::input::Exit;
use crate::reduce::state::progress::Progress;
use crate::reduce::state::stream::Stream;
use std::sync::Arc;

/// Words of a stream that was left out, in lower case as all of these.
const LEFT_OUT: [&str; 13] = [
    "skip",
    "unavailable",
    "not available",
    "403",
    "forbidden",
    "not found",
    "permission",
    "denied",
    "exclude",
    "excluding",
    "no access",
    "unauthorized",
    "not accessible",
];

/// Words of a record or a stream that failed.
const FAILED: [&str; 9] =
    ["fail", "error", "refus", "reject", "invalid", "could not", "cannot", "unable", "not be processed"];

/// Words of a refusal: a stream that is named without quotes was left out only with one of them.
const REFUSED: [&str; 9] =
    ["unavailable", "not available", "403", "forbidden", "not found", "permission", "denied", "access", "unauthorized"];

/// Whole words for a record or row, and parts of words for its loss.
const ROWS: [&str; 7] = ["record", "records", "row", "rows", "line", "lines", "json"];
const LOST: [&str; 6] = ["skipping", "skipped", "dropp", "discard", "ignoring", "left out"];

fn has_any(lower: &str, words: &[&str]) -> bool {
    words.iter().any(|word| lower.contains(word))
}

/// True if a text has this name as a word of its own. Short names are words of the language.
pub(crate) fn names_word(text: &str, name: &str) -> bool {
    const SHORTEST: usize = 3;
    let edge = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-')));
    name.len() >= SHORTEST
        && text.match_indices(name).any(|(at, word)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
            edge(before) && edge(after)
        })
}

/// Returns the names in `stream 'orders'`, `stream orders` and `stream(s): orders, users`.
fn named_streams(text: &str) -> Vec<&str> {
    const COMMON: [&str; 10] = ["was", "is", "has", "was.", "that", "because", "due", "with", "for", "and"];
    let lower = text.to_ascii_lowercase();
    let starts_word = |at: &usize| !lower.get(..*at).is_some_and(|before| before.ends_with(char::is_alphanumeric));
    let after = |word: &&str| lower.match_indices(word).map(|(at, _)| at).find(starts_word).map(|at| at + word.len());
    let Some(at) = ["stream(s)", "streams", "stream"].iter().find_map(after) else { return Vec::new() };
    let rest = text.get(at..).unwrap_or_default().trim_start_matches([':', ' ']);
    if let Some(quote) = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"' | '`')) {
        let name = rest.get(1..).and_then(|rest| rest.split_once(quote)).map(|(name, _)| name);
        return name.into_iter().filter(|name| !name.is_empty()).collect();
    }
    if !has_any(&lower, &REFUSED) {
        return Vec::new();
    }
    let is_list = lower.contains("stream(s)") || lower.contains("streams");
    let end = rest.find([':', '.', ';', '(']).unwrap_or(rest.len());
    let mut names = Vec::new();
    for part in rest.get(..end).unwrap_or_default().split(", ") {
        let name = part.split(' ').next().unwrap_or_default();
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if name.is_empty() || !is_name || COMMON.contains(&name) {
            break;
        }
        names.push(name);
        if !is_list {
            break;
        }
    }
    names
}

/// True if a warning reports rows that were left out.
pub(crate) fn loses_rows(text: &str) -> bool {
    let lower = text.to_lowercase();
    let names_rows = lower.split(|c: char| !c.is_alphanumeric()).any(|word| ROWS.contains(&word));
    names_rows && has_any(&lower, &LOST) && named_streams(text).is_empty()
}

/// Warnings about rows that were left out.
pub(crate) struct RowsLeftOut {
    pub(crate) count: u64,
    /// Text of the first one.
    pub(crate) first: Arc<str>,
    /// Streams whose loggers warned.
    pub(crate) streams: Vec<Arc<str>>,
}

impl Progress {
    /// Applies failures that a state reports. One without a stream is of the stream that was
    /// syncing.
    pub(crate) fn failures_in_state(&mut self, failures: Vec<Failure>, line: &Line) {
        for failure in failures {
            let stream = failure.stream.clone().or_else(|| self.syncing_stream());
            let level = if stream.is_some() { failure.level } else { ErrorLevel::Global };
            let id = self.record_failure(Failure { level, stream, ..failure }, line);
            self.errors.mark_logged(id);
        }
    }

    fn syncing_stream(&self) -> Option<Name<'static>> {
        let at = self.find_key(self.context.syncing.as_deref()?)?;
        self.streams.get(at).map(|stream| stream.identity())
    }

    /// Settles the words of the log at the end of the process.
    pub(crate) fn apply_logged_words(&mut self) {
        self.apply_warnings();
        let done = self.exit == Some(Exit::Code(0))
            || self.attempt.end.as_ref().is_some_and(crate::reduce::state::attempt::Ended::claims_complete);
        let failed = self.attempt.program_exit.is_some() || self.was_stopped();
        if done && self.traits().errors_on_stderr && !failed {
            self.settle_logged_errors();
        }
    }

    /// Gives streams that are missing, skipped or failed in silence the warning that names them.
    fn apply_warnings(&mut self) {
        let texts: Vec<Arc<str>> = self.evidence.warned.kinds.iter().map(|kind| kind.text.clone()).collect();
        for text in texts {
            let lower = text.to_lowercase();
            if !has_any(&lower, &LEFT_OUT) {
                continue;
            }
            let named = |stream: &Arc<Stream>| names_word(&text, &stream.name);
            let mut named: Vec<usize> =
                self.streams.iter().enumerate().filter(|(_, stream)| named(stream)).map(|(at, _)| at).collect();
            // A stream that only a warning names as skipped was asked for.
            if named.is_empty() && lower.contains("skip") {
                for name in named_streams(&text) {
                    named.push(self.place(&Name::plain(name.to_owned().into())));
                }
                for at in &named {
                    self.change(*at, |stream| stream.asked = true);
                }
            }
            for at in named {
                self.explain_by_warning(at, &text);
            }
        }
    }

    fn explain_by_warning(&mut self, at: usize, text: &Arc<str>) {
        let now = self.last_at;
        let Some(stream) = self.streams.get(at) else { return };
        match stream.status {
            Status::NotStarted if stream.asked || stream.in_catalog => {
                self.change(at, |stream| {
                    stream.set_status(Status::Skipped, now);
                    stream.details.message = Some(text.clone());
                    stream.left_by_warning = true;
                });
            }
            Status::Skipped | Status::Errored if stream.reason_missing => {
                let (name, label, group) = (stream.identity(), stream.label.clone(), stream.details.failed_group);
                if let Some(id) = group
                    && self.errors.forget(id, &label)
                {
                    self.change(at, |stream| stream.details.errors = stream.details.errors.saturating_sub(1));
                }
                let failure = Failure::of(ErrorLevel::Stream, Some(name), text.to_string().into());
                self.record_failure(failure, &NO_LINE);
            }
            Status::Completed
                if stream.records.cumulative.get().unwrap_or(0) == 0 && stream.details.message.is_none() =>
            {
                self.change(at, |stream| stream.details.message = Some(text.clone()));
            }
            _ => {}
        }
    }

    /// Turns logged errors of a run that is done into errors of the streams that they name, and
    /// otherwise into a doubt. Where nothing was synced, they are the result.
    fn settle_logged_errors(&mut self) {
        let synced = self.counters.checkpoints > 0 || self.streams.iter().any(|stream| stream.took_part());
        if !synced {
            return;
        }
        let attempt = self.attempts.max(1);
        let whole: Vec<(u64, Arc<str>)> = self
            .errors
            .groups()
            .iter()
            .filter(|group| group.is_logged && group.hits.get("").is_some_and(|hit| hit.is_final && !hit.cleared))
            .filter(|group| !self.streams.iter().any(|stream| stream.details.failed_group == Some(group.id)))
            .map(|group| (group.id, group.message.clone()))
            .collect();
        for (id, text) in whole {
            self.errors.forget(id, "");
            self.evidence.logged.add_text(&text, attempt);
            self.attempt.last_message_failed = false;
        }
        let named: Vec<(usize, usize, Arc<str>)> = self
            .evidence
            .logged
            .kinds
            .iter()
            .enumerate()
            .filter(|(_, kind)| kind.attempt == attempt && has_any(&kind.text.to_lowercase(), &FAILED))
            .filter_map(|(number, kind)| {
                let at = self.streams.iter().position(|stream| names_word(&kind.text, &stream.name))?;
                // The exception behind a generic sentence has the cause.
                let next = || self.evidence.logged.kinds.get(number + 1).filter(|next| is_exception(&next.text));
                let better = is_generic_error(&kind.text).then(next).flatten();
                Some((number, at, better.unwrap_or(kind).text.clone()))
            })
            .collect();
        for (number, at, text) in named {
            let Some(name) = self.streams.get(at).map(|stream| stream.identity()) else { continue };
            let label = name.label().into_owned();
            // The error of the stream explains the line that names it.
            if let Some(kind) = self.evidence.logged.kinds.get_mut(number) {
                kind.streams.push(label.as_str().into());
            }
            if self.errors.has_text(&label, self.attempts, &text) || self.has_failure_in(&label, &text) {
                continue;
            }
            let failure = Failure::of(ErrorLevel::Stream, Some(name), text.to_string().into());
            let id = self.record_failure(Failure { is_final: false, ..failure }, &NO_LINE);
            self.errors.mark_logged(id);
        }
    }

    /// True if an error of the stream is quoted by this text.
    fn has_failure_in(&self, label: &str, text: &str) -> bool {
        const SHORTEST: usize = 8;
        self.errors.groups().iter().filter(|group| group.hits.contains_key(label)).any(|group| {
            let cause = group.message.split_once(": ").map_or(&*group.message, |(_, cause)| cause);
            cause.len() >= SHORTEST && text.contains(cause)
        })
    }

    /// Returns the warnings about rows that were left out.
    pub(crate) fn rows_left_out(&self) -> Option<RowsLeftOut> {
        let kinds = || self.evidence.warned.kinds.iter().filter(|kind| loses_rows(&kind.text));
        let first = kinds().next()?.text.clone();
        let mut streams: Vec<_> = kinds().flat_map(|kind| kind.streams.iter().cloned()).collect();
        streams.sort();
        streams.dedup();
        Some(RowsLeftOut { count: kinds().map(|kind| kind.count).sum(), first, streams })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refused_or_quoted_streams_are_named() {
        assert_eq!(named_streams("Skipping stream members: 403 Forbidden"), ["members"]);
        assert_eq!(named_streams("Stream 'members' was skipped"), ["members"]);
        assert_eq!(
            named_streams("no read access to the following stream(s): members, teams. Skipped."),
            ["members", "teams"]
        );
        for text in ["Skipping stream discovery", "Skipping upstream validation: 403", "Skipping stream because of 403"]
        {
            assert!(named_streams(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn rows_are_whole_words() {
        assert!(loses_rows("Skipping invalid JSON at a.jsonl:121"));
        assert!(loses_rows("2 records were dropped"));
        assert!(!loses_rows("Ignoring browser settings, deadline skipped"));
    }
}
