//! Rows of the stream list: groups with trouble first, streams within a group by the sort column.
//! Rows are indices only; text is built for visible rows.

use crate::views::filter::Filter;
use crate::views::run::state::{Chosen, Column, Pane, RunInput, RunUi};
use crate::views::run::stream_group::StreamGroup;
use std::collections::HashMap;
use std::sync::Arc;
use strum::VariantArray as _;
use synctop_core::protocol::Status;
use synctop_core::reduce::{ONE_MINUTE, Progress, Stream, key_of, stall_verdict, waiting};

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
            Some(Chosen::Stream(key)) => self.rows.iter().position(|row| match row {
                Row::Stream(at, _) => screen.progress.streams.get(*at as usize).is_some_and(|s| is(s, key)),
                _ => false,
            }),
            _ => None,
        };
        let first = || self.rows.iter().position(|row| matches!(row, Row::Stream(..)));
        found.or_else(first).unwrap_or(0)
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

fn is(stream: &Stream, key: &str) -> bool {
    match &stream.namespace {
        None => *stream.name == *key,
        Some(_) => key_of(stream) == key,
    }
}

/// Returns the group of a stream at this moment.
#[must_use]
pub fn group_of(stream: &Stream, screen: &RunInput) -> StreamGroup {
    match stream.status {
        _ if stream.details.failed_in.is_some() => StreamGroup::Errored,
        Status::Errored => StreamGroup::Errored,
        Status::NotStarted => StreamGroup::Pending,
        Status::Completed => StreamGroup::Completed,
        Status::Skipped => StreamGroup::Skipped,
        Status::Started => match screen.stall_clock() {
            Some(now) if stall_verdict(stream, now).is_some() => StreamGroup::Stalled,
            _ => StreamGroup::Started,
        },
    }
}

/// Builds the list.
#[must_use]
pub fn rows(screen: &RunInput, ui: &RunUi) -> Rows {
    let progress = screen.progress;
    let filter = &ui.list(Pane::Streams).filter;
    let mut groups: [Vec<u32>; 6] = Default::default();
    let mut counts = [0; 6];
    for at in progress.name_order() {
        let Some(stream) = progress.streams.get(*at as usize) else { continue };
        let found = group_of(stream, screen);
        let group = found as usize;
        if let Some(count) = counts.get_mut(group) {
            *count += 1;
        }
        if let Some(list) = groups.get_mut(group)
            && (!filter.active() || is_kept(filter, stream, found, screen))
        {
            list.push(*at);
        }
    }
    let kept_of = groups.each_ref().map(Vec::len);
    let kept = kept_of.iter().sum();
    let mut rows = Vec::with_capacity(kept + 16);
    for (group, mut list) in StreamGroup::VARIANTS.iter().copied().zip(groups) {
        if list.is_empty() {
            continue;
        }
        sort(&mut list, screen, ui);
        if group == StreamGroup::Errored {
            join_causes(&mut list, progress);
        }
        rows.push(Row::Head(group));
        if ui.folded(group) && !filter.active() {
            continue;
        }
        for (index, at) in list.iter().enumerate() {
            rows.push(Row::Stream(*at, group));
            let stream = progress.streams.get(*at as usize);
            let next = list.get(index + 1).and_then(|at| progress.streams.get(*at as usize));
            if stream.is_some_and(|stream| has_note(stream, next, group, screen)) {
                rows.push(Row::Note(*at, group));
            }
        }
    }
    Rows { rows, counts, kept_of, kept }
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
fn has_note(stream: &Arc<Stream>, next: Option<&Arc<Stream>>, group: StreamGroup, screen: &RunInput) -> bool {
    match group {
        // Silence of the whole feed is shown once, at the top.
        StreamGroup::Stalled => screen.silent().is_none(),
        StreamGroup::Started => screen.stall_clock().is_some_and(|now| waiting(stream, now).is_some()),
        StreamGroup::Errored => {
            stream.details.failed_group.is_some()
                && next.is_none_or(|next| next.details.failed_group != stream.details.failed_group)
        }
        _ => false,
    }
}

/// Moves streams with the same error next to the first of them, so that one next step stands below
/// all of them.
fn join_causes(list: &mut [u32], progress: &Progress) {
    let mut first: HashMap<u64, usize> = HashMap::new();
    let cause = |at: u32| progress.streams.get(at as usize).and_then(|stream| stream.details.failed_group);
    for (place, at) in list.iter().enumerate() {
        if let Some(cause) = cause(*at) {
            first.entry(cause).or_insert(place);
        }
    }
    let places: HashMap<u32, usize> = list.iter().copied().zip(0..).collect();
    let own = |at: &u32| places.get(at).copied().unwrap_or(0);
    list.sort_by_key(|at| cause(*at).and_then(|cause| first.get(&cause).copied()).unwrap_or_else(|| own(at)));
}

fn sort(list: &mut [u32], screen: &RunInput, ui: &RunUi) {
    let progress = screen.progress;
    let number = |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
    #[expect(clippy::cast_possible_truncation, reason = "only the order matters")]
    let scaled = |value: Option<f64>| value.map_or(-1, |value| (value * 1e6) as i64);
    let now = screen.now.unwrap_or(0);
    let key = |stream: &Stream| match ui.sort {
        Column::Name => 0,
        Column::Records => number(stream.records.cumulative),
        Column::Attempt => number(stream.records.attempt),
        Column::Rate => scaled(stream.rate.per_second(ONE_MINUTE, now)),
        Column::Checkpoint => stream.details.last_checkpoint_at.map_or(i64::MIN, |at| -at),
        Column::Coverage => scaled(progress.share(stream)),
        Column::Errors => number(Some(stream.details.errors)),
    };
    if ui.sort != Column::Name {
        // For numbers, larger first.
        list.sort_by_cached_key(|at| {
            std::cmp::Reverse(progress.streams.get(*at as usize).map_or(i64::MIN, |s| key(s)))
        });
    }
    if ui.reversed {
        list.reverse();
    }
}
