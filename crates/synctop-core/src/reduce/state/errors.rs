//! Errors, grouped by fingerprint. The number of groups is bounded; further errors are only
//! counted.

use crate::protocol::{ErrorLevel, Millis};
use crate::reduce::state::fingerprint;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Maximum number of groups. Occurrences of further ones are only counted.
pub const GROUPS_KEPT: usize = 200;

/// Maximum number of pairs of a group and a stream. Further streams of a group count together.
pub const HITS_KEPT: usize = 200_000;

/// Label under which errors of streams beyond a maximum number count together.
pub(crate) const OTHER_STREAMS: &str = "(streams beyond the limit)";

/// Maximum number of recent occurrences that a group stores with their place.
pub const PLACES_KEPT: usize = 20;

/// Maximum stored bytes of a message, a stack trace or a raw line.
pub const TEXT_KEPT: usize = 8 * 1024;

/// Errors of one level, failure type and fingerprint.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ErrorGroup {
    /// Identity: level, failure type and fingerprint.
    pub id: u64,
    /// Level as reported; errors of different levels are in different groups.
    pub level: ErrorLevel,
    /// Failure type on the wire, such as `auth_error`; `None` if not reported.
    pub failure_type: Option<Arc<str>>,
    /// Hash of the message without numbers, ids, timestamps, quoted values and URL paths.
    pub fingerprint: u64,
    /// Message of the latest occurrence.
    pub message: Arc<str>,
    /// Latest stack trace, after the internal message of the engine if it has one.
    pub stack: Option<Arc<str>>,
    /// Latest input line with the error, secrets masked; `None` if no line reported it.
    pub raw: Option<Arc<str>>,
    /// Number of occurrences in all streams and all attempts of the run.
    pub count: u64,
    /// Attempt of the latest occurrence.
    pub attempt: u32,
    /// True if a stream or the run ended with any of the occurrences.
    pub is_final: bool,
    /// Time of the first occurrence; `None` without times.
    pub first_at: Option<Millis>,
    /// Time of the latest occurrence; `None` without times.
    pub last_at: Option<Millis>,
    /// Occurrences by stream; those without a stream have the empty name.
    pub hits: BTreeMap<Arc<str>, Hit>,
    /// Latest occurrences, oldest first, at most `PLACES_KEPT`.
    pub places: VecDeque<ErrorPlace>,
    /// True if the error was not reported: it is the last error-level log line of a run that failed
    /// without a reported error.
    pub from_log: bool,
    /// True if a log line or a traceback reported it, and no message of the protocol.
    pub(crate) is_logged: bool,
}

/// Occurrences of a group in one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hit {
    /// Number of occurrences in all attempts of the run.
    pub count: u64,
    /// Attempt of the latest occurrence, from 1; 0 before the first attempt.
    pub attempt: u32,
    /// Occurrences in `attempt`.
    pub in_attempt: u64,
    /// True if the stream (or, without a stream, the run) ended with any of the occurrences.
    pub is_final: bool,
    /// True once the stream (or, without a stream, a later attempt) succeeded without this error.
    pub cleared: bool,
    /// Attempt of the latest occurrence that ended the stream or the run.
    pub(crate) final_in: u32,
    /// Attempt that cleared the error.
    pub(crate) cleared_in: u32,
}

/// One occurrence.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ErrorPlace {
    /// Line of the input, from 1.
    pub line: u64,
    /// Time of the latest message at the occurrence; `None` without times.
    pub at: Option<Millis>,
    /// Number of the attempt in the run, from 1; 0 before the first attempt.
    pub attempt: u32,
    /// Label of the stream; `None` for an error of the whole run.
    pub stream: Option<Arc<str>>,
}

impl ErrorGroup {
    /// Returns the names of the affected streams.
    pub fn streams(&self) -> impl Iterator<Item = &Arc<str>> {
        self.hits.keys().filter(|name| !name.is_empty())
    }

    /// True if the error is cleared in every stream, and for the run if it had no stream.
    #[must_use]
    pub fn cleared(&self) -> bool {
        self.hits.values().all(|hit| hit.cleared)
    }

    /// Returns the kind of the error: its failure type, otherwise its level.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.failure_type.as_deref().unwrap_or(match self.level {
            ErrorLevel::Global => "global",
            ErrorLevel::Stream => "error",
            ErrorLevel::Transient => "transient",
        })
    }

    /// True if the error is final, or of the whole run, and not cleared.
    #[must_use]
    pub fn stands(&self) -> bool {
        let stands = |hit: &Hit, stream: &str| hit.is_final || stream.is_empty() || self.is_logged;
        self.hits.iter().any(|(stream, hit)| !hit.cleared && stands(hit, stream))
    }

    /// True if the error stays until a person acts: config, auth and system errors, and an untyped
    /// failure of the whole run.
    #[must_use]
    pub fn permanent(&self) -> bool {
        is_permanent(self.failure_type.as_deref(), self.level)
    }
}

pub(crate) fn is_permanent(failure_type: Option<&str>, level: ErrorLevel) -> bool {
    match failure_type {
        Some("config_error" | "auth_error" | "system_error") => true,
        Some(_) => false,
        None => level == ErrorLevel::Global,
    }
}

/// Error occurrence to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    pub level: ErrorLevel,
    pub failure_type: Option<Arc<str>>,
    pub stream: Option<Arc<str>>,
    pub message: Arc<str>,
    pub stack: Option<Arc<str>>,
    pub raw: Option<Arc<str>>,
    pub is_final: bool,
    pub place: ErrorPlace,
}

/// Errors of the current run in at most [`GROUPS_KEPT`] groups.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Errors {
    pub(crate) groups: Vec<Arc<ErrorGroup>>,
    pub(crate) index: Arc<HashMap<u64, usize>>,
    /// All occurrences.
    pub total: u64,
    /// Occurrences of groups beyond the bound.
    pub beyond: u64,
    /// Last attempts in which an error beyond the bound occurred: a permanent one of the whole run;
    /// any.
    pub(crate) beyond_permanent: Option<u32>,
    pub(crate) beyond_attempt: Option<u32>,
}

impl Errors {
    /// Returns the groups in order of their first occurrence in the log.
    #[must_use]
    pub fn groups(&self) -> &[Arc<ErrorGroup>] {
        &self.groups
    }

    /// Returns the group with this id; `None` if it is unknown or beyond the bound.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Arc<ErrorGroup>> {
        self.index.get(&id).and_then(|at| self.groups.get(*at))
    }

    /// Returns the id of the group of an error, which is the same in every process.
    #[must_use]
    pub fn id(level: ErrorLevel, failure_type: Option<&str>, message: &str, stream: Option<&str>) -> u64 {
        let salt = fingerprint::of(failure_type.unwrap_or_default()).rotate_left(7) ^ level as u64;
        fingerprint::of_error(message, stream) ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Returns the occurrences of this error in this stream and attempt.
    pub(crate) fn count_in_attempt(&self, id: u64, stream: Option<&str>, attempt: u32) -> u64 {
        let hit = self.get(id).and_then(|group| group.hits.get(stream.unwrap_or_default()));
        hit.filter(|hit| hit.attempt == attempt).map_or(0, |hit| hit.in_attempt)
    }

    /// True if a stream has this text as an error of this attempt, at any level.
    pub(crate) fn has_text(&self, stream: &str, attempt: u32, message: &str) -> bool {
        let here = |group: &Arc<ErrorGroup>| group.hits.get(stream).is_some_and(|hit| hit.attempt == attempt);
        self.groups.iter().any(|group| here(group) && *group.message == *message)
    }

    /// True if a stream has this text as a standing error, of any attempt.
    pub(crate) fn has_standing_text(&self, stream: &str, message: &str) -> bool {
        let stands = |group: &Arc<ErrorGroup>| group.hits.get(stream).is_some_and(|hit| !hit.cleared);
        self.groups.iter().any(|group| stands(group) && *group.message == *message)
    }

    /// Records one occurrence and returns the group's id.
    pub(crate) fn add(&mut self, error: Occurrence) -> u64 {
        let stream = error.stream.as_deref();
        let fingerprint = fingerprint::of_error(&error.message, stream);
        let id = Self::id(error.level, error.failure_type.as_deref(), &error.message, stream);
        let (at, attempt) = (error.place.at, error.place.attempt);
        self.total += 1;
        self.reopen(error.stream.as_deref().unwrap_or_default(), attempt);
        let slot = match self.index.get(&id) {
            Some(slot) => *slot,
            None if self.groups.len() >= GROUPS_KEPT => {
                self.beyond += 1;
                self.beyond_attempt = Some(attempt);
                if error.stream.is_none() && is_permanent(error.failure_type.as_deref(), error.level) {
                    self.beyond_permanent = Some(attempt);
                }
                return id;
            }
            None => {
                Arc::make_mut(&mut self.index).insert(id, self.groups.len());
                self.groups.push(Arc::new(ErrorGroup {
                    id,
                    level: error.level,
                    failure_type: error.failure_type.clone(),
                    fingerprint,
                    message: error.message.clone(),
                    stack: None,
                    raw: None,
                    count: 0,
                    attempt,
                    is_final: false,
                    first_at: at,
                    last_at: at,
                    hits: BTreeMap::new(),
                    places: VecDeque::new(),
                    from_log: false,
                    is_logged: false,
                }));
                self.groups.len() - 1
            }
        };
        let stream = self.hit_label(slot, error.stream);
        let Some(group) = self.groups.get_mut(slot).map(Arc::make_mut) else { return id };
        group.count += 1;
        group.attempt = attempt;
        group.is_final |= error.is_final;
        group.first_at = group.first_at.or(at);
        group.last_at = at.or(group.last_at);
        group.message = error.message;
        group.stack = error.stack.or_else(|| group.stack.take());
        group.raw = error.raw.or_else(|| group.raw.take());
        let hit = group.hits.entry(stream).or_insert(Hit {
            count: 0,
            attempt,
            in_attempt: 0,
            is_final: false,
            final_in: 0,
            cleared: false,
            cleared_in: 0,
        });
        let before = if hit.attempt == attempt { hit.in_attempt } else { 0 };
        *hit = Hit {
            count: hit.count + 1,
            attempt,
            in_attempt: before + 1,
            is_final: hit.is_final || error.is_final,
            final_in: if error.is_final { attempt } else { hit.final_in },
            cleared: false,
            cleared_in: 0,
        };
        if group.places.len() >= PLACES_KEPT {
            group.places.pop_front();
        }
        group.places.push_back(error.place);
        id
    }

    /// Returns the label under which an error counts: that of its stream, within the bound.
    fn hit_label(&self, slot: usize, stream: Option<Arc<str>>) -> Arc<str> {
        let stream = stream.unwrap_or_default();
        let is_known = self.groups.get(slot).is_some_and(|group| group.hits.contains_key(&stream));
        let hits = || self.groups.iter().map(|group| group.hits.len()).sum::<usize>();
        if is_known || stream.is_empty() || hits() < HITS_KEPT { stream } else { OTHER_STREAMS.into() }
    }

    /// Removes the occurrences of a group in a stream, because a better error explains them.
    /// Returns true if there were any.
    pub(crate) fn forget(&mut self, id: u64, stream: &str) -> bool {
        let Some(slot) = self.index.get(&id).copied() else { return false };
        let Some(group) = self.groups.get_mut(slot).map(Arc::make_mut) else { return false };
        let Some(hit) = group.hits.remove(stream) else { return false };
        group.count -= hit.count;
        self.total -= hit.count;
        group.places.retain(|place| place.stream.as_deref() != Some(stream));
        if group.hits.is_empty() {
            self.groups.remove(slot);
            self.index = Arc::new(self.groups.iter().enumerate().map(|(at, group)| (group.id, at)).collect());
        }
        true
    }

    /// Makes the last error of the whole run final if none in the attempt is: the process failed.
    pub(crate) fn end_with_last(&mut self, attempt: u32) {
        let here = |hit: &Hit| hit.attempt == attempt && !hit.cleared;
        if self.groups.iter().any(|group| group.hits.values().any(|hit| here(hit) && hit.is_final)) {
            return;
        }
        let whole = |group: &&mut Arc<ErrorGroup>| group.hits.get("").is_some_and(here);
        if let Some(group) = self.groups.iter_mut().rev().find(whole).map(Arc::make_mut) {
            group.is_final = true;
            if let Some(hit) = group.hits.get_mut("") {
                (hit.is_final, hit.final_in) = (true, attempt);
            }
        }
    }

    /// True if no further groups can be stored.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.groups.len() >= GROUPS_KEPT
    }

    /// Returns two flags for errors beyond the bound in this attempt: any; a permanent one of the
    /// whole run.
    #[must_use]
    pub fn beyond_in(&self, attempt: u32) -> (bool, bool) {
        (self.beyond_attempt == Some(attempt), self.beyond_permanent == Some(attempt))
    }

    /// Marks errors of a stream (of the run, if the name is empty) from attempts before this one as
    /// cleared.
    pub(crate) fn clear(&mut self, stream: &str, attempt: u32) {
        for group in &mut self.groups {
            if group.hits.get(stream).is_some_and(|hit| !hit.cleared && hit.attempt < attempt)
                && let Some(hit) = Arc::make_mut(group).hits.get_mut(stream)
            {
                hit.cleared = true;
                hit.cleared_in = attempt;
            }
        }
    }

    /// Reopens errors that this attempt cleared: the stream failed in it after all.
    pub(crate) fn reopen(&mut self, stream: &str, attempt: u32) {
        for group in &mut self.groups {
            if group.hits.get(stream).is_some_and(|hit| hit.cleared && hit.cleared_in == attempt)
                && let Some(hit) = Arc::make_mut(group).hits.get_mut(stream)
            {
                hit.cleared = false;
            }
        }
    }

    /// Keeps only the errors of this attempt, the first one of another run. Returns the number of
    /// removed occurrences.
    pub(crate) fn start_run(&mut self, attempt: u32) -> u64 {
        let before = self.total;
        let mut kept = Vec::new();
        for mut group in std::mem::take(&mut self.groups) {
            let one = Arc::make_mut(&mut group);
            one.hits.retain(|_, hit| hit.attempt == attempt);
            one.places.retain(|place| place.attempt == attempt);
            for hit in one.hits.values_mut() {
                let is_final = hit.is_final && hit.final_in == attempt;
                *hit = Hit {
                    count: hit.in_attempt,
                    attempt: 1,
                    in_attempt: hit.in_attempt,
                    is_final,
                    final_in: 1,
                    cleared: false,
                    cleared_in: 0,
                };
            }
            one.is_final = one.hits.values().any(|hit| hit.is_final);
            one.places.iter_mut().for_each(|place| place.attempt = 1);
            one.count = one.hits.values().map(|hit| hit.count).sum();
            one.attempt = 1;
            one.first_at = one.places.front().and_then(|place| place.at);
            if one.count > 0 {
                kept.push(group);
            }
        }
        self.total = kept.iter().map(|group| group.count).sum();
        self.index = Arc::new(kept.iter().enumerate().map(|(at, group)| (group.id, at)).collect());
        self.groups = kept;
        self.beyond = 0;
        (self.beyond_permanent, self.beyond_attempt) = (None, None);
        before - self.total
    }

    /// Assigns errors from before the first attempt to it.
    pub(crate) fn assign_to_first_attempt(&mut self) {
        for group in self.groups.iter_mut().map(Arc::make_mut) {
            group.attempt = 1;
            group.hits.values_mut().for_each(|hit| (hit.attempt, hit.final_in) = (1, 1));
            group.places.iter_mut().for_each(|place| place.attempt = 1);
        }
    }

    /// Stores the traceback received so far.
    pub(crate) fn set_stack(&mut self, id: u64, stack: &str) {
        if let Some(group) = self.index.get(&id).copied().and_then(|slot| self.groups.get_mut(slot)) {
            Arc::make_mut(group).stack = Some(stack.into());
        }
    }

    /// Marks a group as logged beside the messages.
    pub(crate) fn mark_logged(&mut self, id: u64) {
        if let Some(group) = self.index.get(&id).copied().and_then(|slot| self.groups.get_mut(slot)) {
            Arc::make_mut(group).is_logged = true;
        }
    }

    /// Marks a group as taken from the log.
    pub(crate) fn mark_from_log(&mut self, id: u64) {
        if let Some(group) = self.index.get(&id).copied().and_then(|slot| self.groups.get_mut(slot)) {
            Arc::make_mut(group).from_log = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn error(message: &str, stream: &str, attempt: u32) -> Occurrence {
        Occurrence {
            level: ErrorLevel::Stream,
            failure_type: None,
            stream: Some(stream.into()),
            message: message.into(),
            stack: None,
            raw: None,
            is_final: true,
            place: ErrorPlace { line: 1, at: Some(1), attempt, stream: Some(stream.into()) },
        }
    }

    #[test]
    pub(crate) fn groups_are_bounded_and_what_is_beyond_is_counted() {
        let mut errors = Errors::default();
        for number in 0..1000u32 {
            let word: String = number.to_string().chars().map(|digit| char::from(digit as u8 + 49)).collect();
            errors.add(error(&format!("no {word} here"), "a", 1));
            errors.add(error("the same 17 times", "b", 1));
        }
        assert_eq!(errors.groups().len(), GROUPS_KEPT);
        assert_eq!((errors.total, errors.beyond), (2000, 801));
        let same = errors.get(Errors::id(ErrorLevel::Stream, None, "the same 9 times", Some("b"))).unwrap();
        assert_eq!((same.count, same.places.len()), (1000, PLACES_KEPT));
    }

    #[test]
    fn error_that_ended_an_earlier_run_may_be_transient_in_the_next() {
        let mut errors = Errors::default();
        let id = errors.add(error("no", "a", 1));
        errors.add(Occurrence { is_final: false, ..error("no", "a", 2) });
        assert!(errors.get(id).unwrap().is_final);
        assert_eq!(errors.start_run(2), 1);
        let group = errors.get(id).unwrap();
        assert!(!group.is_final && !group.hits["a"].is_final && !group.stands());
    }

    #[test]
    pub(crate) fn a_later_attempt_without_it_clears_it() {
        let mut errors = Errors::default();
        let id = errors.add(error("no", "a", 1));
        errors.clear("a", 1);
        assert!(errors.get(id).unwrap().stands());
        errors.clear("a", 2);
        assert!(errors.get(id).unwrap().cleared());
        errors.add(error("no", "a", 3));
        assert!(errors.get(id).unwrap().stands());
    }
}
