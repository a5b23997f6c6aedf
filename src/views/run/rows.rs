//! Rows of the stream list: groups with trouble first, streams within a group by the sort column.
//! Rows are indices only; text is built for visible rows.

use crate::views::filter::Filter;
use crate::views::run::state::{Chosen, Column, Pane, RunInput, RunUi};
use crate::views::run::stream_group::StreamGroup;
use std::collections::HashMap;
use std::sync::Arc;
use strum::VariantArray as _;
use synctop_core::protocol::{Millis, Status};
use synctop_core::reduce::{Digest, Progress, Stream, StreamFigures, StreamState, key_of, stall_verdict};

/// Row of the list. Numbers are indices into `progress.streams`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    Head(StreamGroup),
    Stream(u32, StreamGroup),
    /// Cause or next step below a stream.
    Note(u32, StreamGroup),
}

/// All rows of the list, with counts.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub rows: Vec<Row>,
    /// Streams by group, before filtering.
    pub counts: [usize; 6],
    /// Streams by group that the filter keeps; `kept` is their total.
    pub kept_of: [usize; 6],
    pub kept: usize,
    /// Group of each stream, by its index.
    groups: Vec<StreamGroup>,
}

impl Rows {
    #[must_use]
    pub fn count(&self, group: StreamGroup) -> usize {
        self.counts.get(group as usize).copied().unwrap_or(0)
    }

    /// Returns the position of the selected row, or of the first stream if nothing is selected or
    /// the selected row is gone.
    #[must_use]
    pub fn place(&self, screen: &RunInput, chosen: Option<&Chosen>) -> usize {
        let found = match chosen {
            Some(Chosen::Head(group)) => self.rows.iter().position(|row| *row == Row::Head(*group)),
            Some(Chosen::Stream(key)) => screen.progress.find_key(key).and_then(|chosen| {
                self.rows.iter().position(|row| matches!(row, Row::Stream(at, _) if *at as usize == chosen))
            }),
            _ => None,
        };
        let first = || self.rows.iter().position(|row| matches!(row, Row::Stream(..)));
        found.or_else(first).unwrap_or(0)
    }

    /// Returns the streams of a group, in the order of their names.
    pub fn of_group<'p>(&self, group: StreamGroup, progress: &'p Progress) -> impl Iterator<Item = &'p Arc<Stream>> {
        let is_of = move |at: &&u32| self.groups.get(**at as usize) == Some(&group);
        progress.name_order().iter().filter(is_of).filter_map(|at| progress.streams.get(*at as usize))
    }

    /// Returns the records of the streams of a group; `None` if there is no such count.
    #[must_use]
    pub fn records_of(&self, group: StreamGroup, digest: &Digest) -> Option<u64> {
        let of_group = self.groups.iter().zip(digest.figures()).filter(|(found, _)| **found == group);
        let known = of_group.filter_map(|(_, figures)| u64::try_from(figures.records).ok());
        known.reduce(u64::saturating_add)
    }

    /// Returns the identity of a row. A note has that of its stream.
    #[must_use]
    pub fn chosen(&self, screen: &RunInput, place: usize) -> Option<Chosen> {
        Some(match self.rows.get(place)? {
            Row::Head(group) => Chosen::Head(*group),
            Row::Stream(at, _) | Row::Note(at, _) => Chosen::Stream(key_of(screen.progress.streams.get(*at as usize)?)),
        })
    }
}

/// Returns the group of a stream at this moment.
#[must_use]
pub fn group_of(stream: &Stream, screen: &RunInput) -> StreamGroup {
    let is_stalled = || screen.stall_clock().is_some_and(|now| stall_verdict(stream, now).is_some());
    group(stream.status, stream.details.failed_in.is_some(), is_stalled)
}

fn group(status: Status, has_failed: bool, is_stalled: impl FnOnce() -> bool) -> StreamGroup {
    match status {
        _ if has_failed => StreamGroup::Errored,
        Status::Errored => StreamGroup::Errored,
        Status::NotStarted => StreamGroup::Pending,
        Status::Completed => StreamGroup::Completed,
        Status::Skipped => StreamGroup::Skipped,
        Status::Started if is_stalled() => StreamGroup::Stalled,
        Status::Started => StreamGroup::Started,
    }
}

/// Returns the group that [`group_of`] returns for a stream in this state.
fn group_of_state(state: &StreamState, now: Option<Millis>) -> StreamGroup {
    group(state.status, state.has_failed, || now.is_some_and(|now| now > state.stalled_after))
}

/// Builds the list. The streams themselves are examined only for a filter: with many of them, most
/// of the time would be spent on waiting for memory.
#[must_use]
pub fn rows(screen: &RunInput, ui: &RunUi, digest: &Digest) -> Rows {
    let progress = screen.progress;
    let filter = &ui.list(Pane::Streams).filter;
    let now = screen.stall_clock();
    let groups: Vec<_> = digest.states().iter().map(|state| group_of_state(state, now)).collect();
    let mut lists: [Vec<u32>; 6] = Default::default();
    let mut counts = [0; 6];
    for group in &groups {
        if let Some(count) = counts.get_mut(*group as usize) {
            *count += 1;
        }
    }
    for at in progress.name_order() {
        let Some(group) = groups.get(*at as usize).copied() else { continue };
        let is_kept =
            || progress.streams.get(*at as usize).is_some_and(|stream| is_kept(filter, stream, group, screen));
        if let Some(list) = lists.get_mut(group as usize)
            && (!filter.active() || is_kept())
        {
            list.push(*at);
        }
    }
    let kept_of = lists.each_ref().map(Vec::len);
    let kept = kept_of.iter().sum();
    let mut rows = Vec::with_capacity(kept + 16);
    for (group, mut list) in StreamGroup::VARIANTS.iter().copied().zip(lists) {
        if list.is_empty() {
            continue;
        }
        sort(&mut list, screen, ui, digest);
        if group == StreamGroup::Errored {
            join_causes(&mut list, digest);
        }
        rows.push(Row::Head(group));
        if ui.folded(group) && !filter.active() {
            continue;
        }
        for (index, at) in list.iter().enumerate() {
            rows.push(Row::Stream(*at, group));
            if has_note(*at, list.get(index + 1), group, screen, digest) {
                rows.push(Row::Note(*at, group));
            }
        }
    }
    Rows { rows, counts, kept_of, kept, groups }
}

/// True if the filter keeps a stream, by all text of its row.
fn is_kept(filter: &Filter, stream: &Stream, group: StreamGroup, screen: &RunInput) -> bool {
    let error = stream.details.failed_group.and_then(|id| screen.progress.errors.get(id));
    let retry = stream.details.retry.as_ref();
    let status = retry.and_then(|retry| retry.status).map(|status| status.to_string());
    let searched_texts = [
        stream.namespace.as_deref(),
        Some(&stream.name),
        Some(&stream.label),
        Some(group.as_str()),
        error.map(|error| error.kind()),
        failure_message(stream, screen.progress),
        status.as_deref(),
        retry.and_then(|retry| retry.error.as_deref()),
    ];
    filter.keeps_any(searched_texts.into_iter().flatten())
}

/// Returns a stream's own error text. Its group may hold another stream's wording of the same error.
pub(crate) fn failure_message<'s>(stream: &'s Stream, progress: &'s Progress) -> Option<&'s str> {
    let of_group =
        || stream.details.failed_group.and_then(|id| progress.errors.get(id)).map(|group| group.message.as_ref());
    stream.details.message.as_deref().or_else(of_group)
}

/// True if a row has a note: the cause below each stalled or waiting stream, the next step below
/// the last of several streams with the same error.
fn has_note(at: u32, next: Option<&u32>, group: StreamGroup, screen: &RunInput, digest: &Digest) -> bool {
    match group {
        // Silence of the whole feed is shown once, at the top.
        StreamGroup::Stalled => screen.silent().is_none(),
        StreamGroup::Started => {
            let waits_until = digest.states().get(at as usize).map_or(Millis::MIN, |state| state.waits_until);
            screen.stall_clock().is_some_and(|now| now < waits_until)
        }
        StreamGroup::Errored => {
            let cause = cause(at, digest);
            cause.is_some() && next.is_none_or(|next| self::cause(*next, digest) != cause)
        }
        _ => false,
    }
}

/// Returns the error group of a stream's failure.
fn cause(at: u32, digest: &Digest) -> Option<u64> {
    digest.figures().get(at as usize)?.failed_group
}

/// Moves streams with the same error next to the first of them, so that one next step stands below
/// all of them.
fn join_causes(list: &mut [u32], digest: &Digest) {
    let mut first: HashMap<u64, usize> = HashMap::new();
    let cause = |at: u32| cause(at, digest);
    for (place, at) in list.iter().enumerate() {
        if let Some(cause) = cause(*at) {
            first.entry(cause).or_insert(place);
        }
    }
    let places: HashMap<u32, usize> = list.iter().copied().zip(0..).collect();
    let own = |at: &u32| places.get(at).copied().unwrap_or(0);
    list.sort_by_key(|at| cause(*at).and_then(|cause| first.get(&cause).copied()).unwrap_or_else(|| own(at)));
}

fn sort(list: &mut [u32], screen: &RunInput, ui: &RunUi, digest: &Digest) {
    let progress = screen.progress;
    #[expect(clippy::cast_possible_truncation, reason = "only the order matters")]
    let scaled = |value: Option<f64>| value.map_or(-1, |value| (value * 1e6) as i64);
    let now = screen.now.unwrap_or(0);
    let key = |at: u32, figures: &StreamFigures| match ui.sort {
        Column::Name => 0,
        Column::Records => figures.records,
        Column::Attempt => figures.attempt,
        Column::Rate => scaled(figures.rate(now)),
        Column::Checkpoint if figures.last_checkpoint_at < 0 => i64::MIN,
        Column::Checkpoint => -figures.last_checkpoint_at,
        Column::Coverage => {
            let coverage = digest.states().get(at as usize).and_then(StreamState::coverage);
            scaled(coverage.or_else(|| progress.streams.get(at as usize).and_then(|stream| progress.share(stream))))
        }
        Column::Errors => figures.errors,
    };
    if ui.sort != Column::Name {
        // For numbers, larger first.
        list.sort_by_cached_key(|at| {
            std::cmp::Reverse(digest.figures().get(*at as usize).map_or(i64::MIN, |figures| key(*at, figures)))
        });
    }
    if ui.reversed {
        list.reverse();
    }
}
